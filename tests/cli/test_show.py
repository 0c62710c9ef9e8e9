"""What a trader reads of a run."""

from decimal import Decimal

import pytest
from rich.console import Console

from bot.cli.show import deed_sentence, deeds_table, short
from bot.core.model import Side
from bot.core.units import Price
from bot.rehearsal.deeds import Deed

D = Decimal
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def deed(
    at_s: int,
    verb: str,
    symbol: str = BTC,
    *,
    side: Side = Side.LONG,
    price: int = 0,
    proven: str = "applied",
) -> Deed:
    shown = Price(D(price)) if price else None
    return Deed(at_s * 1000, symbol, side, verb, D("0.5"), shown, f"rule/{verb}", proven)


def told(*deeds: Deed) -> list[str]:
    out = Console(width=120)
    with out.capture() as capture:
        out.print(deeds_table(deeds))
    return [" ".join(line.split()) for line in capture.get().splitlines()[1:]]


def test_a_stop_that_is_moved_again_and_again_is_one_row_of_its_newest_place() -> None:
    rows = told(
        deed(1, "place_stop", price=100),
        deed(2, "cancel_stop"),
        deed(3, "place_stop", price=101),
        deed(4, "top_up"),
        deed(5, "place_stop", price=90),
    )
    assert rows == [
        "1970-01-01 00:00:03 stop for 0.5 at 101 (2x) rule/place_stop applied",
        "1970-01-01 00:00:04 add 0.5 USDT margin rule/top_up applied",
        "1970-01-01 00:00:05 stop for 0.5 at 90 rule/place_stop applied",
    ]


def test_the_legs_of_a_pair_count_by_themselves_and_are_named() -> None:
    rows = told(
        deed(1, "place_stop", price=100),
        deed(2, "close", side=Side.SHORT, price=99),
        deed(3, "place_stop", price=101),
    )
    assert [row.split(" ", 2)[2] for row in rows] == [
        "short: close 0.5 at 99 rule/close applied",
        "long: stop for 0.5 at 101 (2x) rule/place_stop applied",
    ]


def test_each_symbol_counts_by_itself_and_is_named() -> None:
    rows = told(
        deed(1, "place_stop", price=100),
        deed(2, "place_stop", ETH, price=10),
        deed(3, "place_stop", price=101),
        deed(4, "close", ETH, price=9),
        deed(5, "place_stop", ETH, price=8),
    )
    assert [row.split(" ", 2)[2] for row in rows] == [
        "ETH: stop for 0.5 at 10 rule/place_stop applied",
        "BTC: stop for 0.5 at 101 (2x) rule/place_stop applied",
        "ETH: close 0.5 at 9 rule/close applied",
        "ETH: stop for 0.5 at 8 rule/place_stop applied",
    ]


def test_closes_that_found_no_price_count_up_and_those_that_did_never() -> None:
    rows = told(
        *(deed(at_s, "close", proven="expired") for at_s in (1, 2, 3)),
        deed(4, "close", price=9),
        deed(5, "close", price=8),
    )
    assert [row.split(" ", 2)[2] for row in rows] == [
        "close 0.5 at market (3x) rule/close expired",
        "close 0.5 at 9 rule/close applied",
        "close 0.5 at 8 rule/close applied",
    ]


def test_nothing_done_is_an_empty_table() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("price", "text"),
    [("7112.533510545", "7112.5335"), ("100000", "100000"), ("0.10410983", "0.10410983")],
)
def test_a_price_is_short_and_never_in_exponents(price: str, text: str) -> None:
    assert short(D(price)) == text


def test_margin_that_goes_back_is_told_from_margin_that_is_added() -> None:
    assert deed_sentence(deed(1, "refund")) == "put 0.5 USDT margin back"
    assert deed_sentence(deed(1, "top_up")) == "add 0.5 USDT margin"
