"""Changed payloads are read or refused; `make fuzz N=500000` reads many more."""

import pytest

from bot.exchange.venues.binanceusdm_market import MARKET
from tests.exchange.live.fuzz import ANSWERS, read

PAYLOADS = 4_000


def test_changed_payloads_are_read_or_refused() -> None:
    came = [read(number) for number in range(PAYLOADS)]
    assert {told for _, told in came} == {"read", "refused"}
    assert {name for name, _ in came} == {each.name for each in ANSWERS}


def test_every_answer_is_read_as_it_was_documented() -> None:
    for answer in ANSWERS:
        answer.parse(answer.payload)


def test_a_parser_that_trusts_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def trusting(json: object) -> object:
        return json["serverTime"]  # type: ignore[index]

    place = next(number for number, each in enumerate(ANSWERS) if each.parse == MARKET.time_of)
    trusted = [*ANSWERS]
    trusted[place] = type(ANSWERS[place])("time", ANSWERS[place].payload, trusting)
    monkeypatch.setattr("tests.exchange.live.fuzz.ANSWERS", tuple(trusted))
    assert any("raised" in read(number)[1] for number in range(500))
