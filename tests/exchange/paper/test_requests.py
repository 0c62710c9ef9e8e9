"""Each refusal has its code, changes nothing, and comes before the ones after it."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.actions import (
    Action,
    AddMargin,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.model import Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.requests import STOPS_MAX
from bot.exchange.ports import Accepted, Refused
from tests.exchange.paper.build import ALICE, BTC, ETH, D, contract, enter, machine_with

LONG, SHORT = Side.LONG, Side.SHORT


def add(amount: str, side: Side = LONG, symbol: str = BTC) -> AddMargin:
    return AddMargin(symbol, side, Money(D(amount)))


def stop(
    trigger: str = "48000", quantity: str = "1", side: Side = LONG, symbol: str = BTC
) -> PlaceStop:
    return PlaceStop(symbol, side, Quantity(D(quantity)), Price(D(trigger)))


def close(quantity: str = "1", side: Side = LONG, symbol: str = BTC) -> ClosePosition:
    return ClosePosition(symbol, side, Quantity(D(quantity)))


def within(price: str) -> ClosePosition:
    return replace(close(), bound=NoWorseThan(Price(D(price))))


def code(machine: PaperMachine, action: Action, client_id: str = "new") -> str:
    """The code of the refusal, or `accepted`."""
    match machine.handle(ALICE, action, client_id, machine.at_ms):
        case Refused(code):
            return code
        case Accepted():
            return "accepted"


def opened(side: Side = LONG) -> PaperMachine:
    """5,000 free, a position of 1 at 50,000, a stop `known`."""
    machine = machine_with(contract(), contract(ETH))
    enter(machine, side)
    trigger = "47000" if side is LONG else "53000"
    assert code(machine, stop(trigger, "0.1", side), "known") == "accepted"
    return machine


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (add("5000"), "accepted"),
        (add("5000.01"), "-2019"),
        (add("0"), "-4055"),
        (add("-1"), "-4055"),
        (add("0.001"), "-4055"),
        (add("1", SHORT), "-2022"),
        (add("1", symbol=ETH), "-2022"),
        (add("1", symbol="NONE"), "-2022"),
        (stop(), "accepted"),
        (stop(quantity="100"), "accepted"),
        (stop("49999.99"), "accepted"),
        (stop("50000"), "-2021"),
        (stop("50001"), "-2021"),
        (stop("48000.001"), "-4014"),
        (stop("0"), "-4014"),
        (stop("-1"), "-4014"),
        (stop(quantity="0.0001"), "-4003"),
        (stop(quantity="0"), "-4003"),
        (stop(side=SHORT), "-2022"),
        (stop(symbol=ETH), "-2022"),
        (CancelStop(BTC, LONG, "known"), "accepted"),
        (CancelStop(BTC, LONG, "unknown"), "-2011"),
        (CancelStop(BTC, SHORT, "known"), "-2011"),
        (CancelStop(ETH, LONG, "known"), "-2011"),
        (close(), "accepted"),
        (close("0.001"), "accepted"),
        (close("2"), "accepted"),
        (close("0.0005"), "-4003"),
        (within("49000.01"), "accepted"),
        (within("50000.01"), "accepted"),
        (within("49000.001"), "-4014"),
        (within("0"), "-4014"),
        (within("-1"), "-4014"),
        (close("0"), "-4003"),
        (close(side=SHORT), "-2022"),
        (close(symbol=ETH), "-2022"),
    ],
)
def test_a_request_is_accepted_or_refused_by_its_code(action: Action, expected: str) -> None:
    machine = opened()
    before = machine.to_json()
    machine.take_notices()
    assert code(machine, action) == expected
    assert (machine.to_json() == before) is (expected != "accepted")
    assert (machine.take_notices() == ()) is (expected != "accepted")


@pytest.mark.parametrize(
    ("trigger", "expected"), [("50000.01", "accepted"), ("50000", "-2021"), ("49999", "-2021")]
)
def test_a_shorts_stop_lies_above_the_mark(trigger: str, expected: str) -> None:
    assert code(opened(SHORT), stop(trigger, side=SHORT)) == expected


def test_a_position_smaller_than_the_minimum_can_still_be_closed() -> None:
    instrument = contract()
    machine = machine_with(instrument)
    enter(machine, quantity="0.002")
    assert code(machine, close("0.001"), "first") == "accepted"
    assert code(machine, close("0.001"), "second") == "accepted"


@pytest.mark.parametrize(
    "action", [stop("48000"), stop("0", "0", SHORT), close(), close("0", SHORT)]
)
def test_a_resting_client_id_is_a_duplicate_whatever_else_is_wrong(action: Action) -> None:
    assert code(opened(), action, "known") == "-4116"


def test_a_client_id_stays_taken_when_its_order_is_done() -> None:
    machine = opened()
    assert code(machine, CancelStop(BTC, LONG, "known")) == "accepted"
    assert code(machine, stop(), "known") == "-4116"
    assert code(machine, close("0.1"), "close") == "accepted"
    assert code(machine, close("0.1"), "close") == "-4116"


def test_margin_additions_have_no_client_id() -> None:
    machine = opened()
    assert [code(machine, add("10"), "same") for _ in range(2)] == ["accepted"] * 2
    assert machine.ledger().margins == 5_020


def test_a_refused_client_id_is_free_again() -> None:
    machine = opened()
    assert code(machine, stop("50000"), "again") == "-2021"
    assert code(machine, stop("48000"), "again") == "accepted"


def test_only_so_many_stops_rest_on_a_symbol() -> None:
    machine = opened()
    for number in range(1, STOPS_MAX):
        assert code(machine, stop(), f"stop-{number}") == "accepted"
    assert code(machine, stop(), "one-more") == "-4045"
    assert code(machine, CancelStop(BTC, LONG, "known")) == "accepted"
    assert code(machine, stop(), "one-more") == "accepted"


def test_a_refusing_stop_endpoint_refuses_stops_and_nothing_else() -> None:
    machine = opened()
    machine.refuse_stops = True
    assert code(machine, stop()) == "-4120"
    assert code(machine, stop(), "known") == "-4120"
    assert code(machine, add("1")) == "accepted"
    assert code(machine, CancelStop(BTC, LONG, "known")) == "accepted"
    assert code(machine, close()) == "accepted"


def test_the_text_of_a_refusal_says_what_was_wrong() -> None:
    machine = opened()
    refused = machine.handle(ALICE, add("5000.01"), "new", machine.at_ms)
    assert refused == Refused(
        "-2019", f"Margin is insufficient: {Decimal('5000.00000000')} is free."
    )
