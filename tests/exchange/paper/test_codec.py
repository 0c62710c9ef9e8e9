"""What was written reads back as it was; what was not is refused with its place."""

import json
from typing import Any

import pytest

from bot.exchange.paper.books import Books
from bot.exchange.paper.codec import decode, encode
from bot.exchange.paper.machine import PaperMachine
from tests.exchange.paper.test_store import busy_machine


def test_the_books_read_back_as_they_were_written() -> None:
    plain = json.loads(busy_machine().to_json())
    assert encode(decode(Books, plain, "exchange")) == plain


def test_equal_machines_give_equal_text() -> None:
    assert busy_machine().to_json() == busy_machine().to_json()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (
            ("accounts", "alice", "wallet"),
            5,
            "exchange.accounts.alice.wallet: expected str, was 5",
        ),
        (("fees",), "much", "exchange.fees: expected a number, was 'much'"),
        (("fees",), "NaN", "exchange.fees: expected a number, was 'NaN'"),
        (("at_ms",), "1", "exchange.at_ms: expected int, was '1'"),
        (("at_ms",), True, "exchange.at_ms: expected int, was True"),
        (("accounts",), [], "exchange.accounts: expected dict"),
        (
            ("quotes", "BTCUSDT"),
            {},
            "exchange.quotes.BTCUSDT: expected at_ms, mark, last, index, was ",
        ),
        (
            ("accounts", "alice", "holdings", "BTCUSDT", "side"),
            "up",
            "BTCUSDT.side: expected one of long, short, was 'up'",
        ),
        (
            ("instruments", "BTCUSDT", "tiers", 1, "rate"),
            None,
            r"tiers\[1\].rate: expected str, was None",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    path: tuple[str | int, ...], value: object, words: str
) -> None:
    plain: Any = json.loads(busy_machine().to_json())
    inner = plain
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ValueError, match=words):
        PaperMachine.from_json(json.dumps(plain))
