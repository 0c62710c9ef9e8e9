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
from bot.core.model import NO_FILL, MarginMode, PositionMode, Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.paper.books import Resting
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.orders import ANY_SIZE
from bot.exchange.ports import Accepted, OrderFound, Refused
from tests.exchange.paper.build import (
    ALICE,
    BTC,
    ETH,
    T0,
    D,
    contract,
    enter,
    machine_with,
    move,
    position_of,
)

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
    for number in range(1, ANY_SIZE.conditional_symbol_max):
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


# -- resting orders and the position that they are for ---------------------------------------


def test_resting_stops_reserve_the_position_against_a_close() -> None:
    """Half of it is reserved: the other half can be closed, and all of it once none rests."""
    machine = machine_with(contract())
    machine.resting = Resting.RESERVE
    enter(machine)
    assert code(machine, stop(quantity="0.5"), "half") == "accepted"
    assert code(machine, close("0.501"), "more") == "-4118"
    assert code(machine, close("0.5"), "rest") == "accepted"
    assert code(machine, close("0.5"), "reserved") == "-4118"
    assert code(machine, CancelStop(BTC, LONG, "half")) == "accepted"
    assert code(machine, close("0.5"), "free") == "accepted"
    assert machine.snapshot(ALICE, T0).positions == ()


def test_a_close_displaces_the_oldest_stops_that_are_in_its_way() -> None:
    """Stops of 0.3, 0.3 and 0.2 rest on 1: a close of 0.4 needs 0.2 of theirs, the first goes."""
    machine = machine_with(contract())
    machine.resting = Resting.DISPLACE
    enter(machine)
    for client_id, quantity in (("oldest", "0.3"), ("older", "0.3"), ("newest", "0.2")):
        assert code(machine, stop(quantity=quantity), client_id) == "accepted"
    assert code(machine, close("0.4"), "close") == "accepted"
    assert [each.client_id for each in machine.snapshot(ALICE, T0).stops] == ["older", "newest"]
    assert machine.order(ALICE, BTC, "oldest") == OrderFound("oldest", False, NO_FILL)


def test_a_new_stop_displaces_the_old_one_that_it_would_replace() -> None:
    machine = machine_with(contract())
    machine.resting = Resting.DISPLACE
    enter(machine)
    assert code(machine, stop(), "old") == "accepted"
    assert code(machine, stop("48500"), "new") == "accepted"
    assert [each.client_id for each in machine.snapshot(ALICE, T0).stops] == ["new"]


# -- switches and transfers -------------------------------------------------------------------


def reply_code(reply: Accepted | Refused) -> str:
    return reply.code if isinstance(reply, Refused) else "accepted"


def test_the_position_mode_changes_only_where_nothing_is_open() -> None:
    machine = opened()
    hedge, one_way = PositionMode.HEDGE, PositionMode.ONE_WAY
    assert reply_code(machine.set_position_mode(ALICE, one_way, T0)) == "-4059"
    assert reply_code(machine.set_position_mode(ALICE, hedge, T0)) == "-4067"
    assert code(machine, CancelStop(BTC, LONG, "known")) == "accepted"
    assert reply_code(machine.set_position_mode(ALICE, hedge, T0)) == "-4068"
    assert code(machine, close()) == "accepted"
    assert reply_code(machine.set_position_mode(ALICE, hedge, T0)) == "accepted"
    assert machine.snapshot(ALICE, T0).position_mode is hedge


def test_in_hedge_mode_each_side_has_its_own_orders_and_closes() -> None:
    machine = machine_with(contract(), deposit="20000")
    assert machine.set_position_mode(ALICE, PositionMode.HEDGE, T0) == Accepted()
    enter(machine)
    enter(machine, SHORT, "0.5")
    assert code(machine, stop("48000"), "long") == "accepted"
    assert code(machine, stop("52000", "0.5", SHORT), "short") == "accepted"
    assert code(machine, add("100", SHORT)) == "accepted"
    assert code(machine, close("0.5", SHORT), "closes") == "accepted"
    (left,) = machine.snapshot(ALICE, T0).positions
    assert (left.side, left.quantity, left.isolated_margin) == (LONG, D(1), D(5_000))
    move(machine, "53000", at_ms=T0 + 1_000)
    assert machine.order(ALICE, BTC, "short") == OrderFound("short", False, NO_FILL)
    move(machine, "47000", at_ms=T0 + 2_000)
    assert machine.snapshot(ALICE, T0).positions == ()


@pytest.mark.parametrize(
    ("mode", "leverage", "expected"),
    [
        (MarginMode.ISOLATED, "20", "accepted"),
        (MarginMode.ISOLATED, "5", "-4161"),
        (MarginMode.ISOLATED, "126", "-4028"),
        (MarginMode.ISOLATED, "0", "-4028"),
        (MarginMode.ISOLATED, "10.5", "-4028"),
        (MarginMode.CROSS, "20", "accepted"),
        (MarginMode.CROSS, "5", "accepted"),
        (MarginMode.CROSS, "4", "-2028"),
    ],
)
def test_leverage_changes_as_far_as_tier_and_wallet_allow(
    mode: MarginMode, leverage: str, expected: str
) -> None:
    """An isolated margin stays; 10,000 bind 50,000 of a cross position at 5x."""
    machine = machine_with(contract())
    enter(machine, margin_mode=mode)
    before = position_of(machine)
    reply = machine.set_leverage(ALICE, BTC, D(leverage), T0)
    assert reply_code(reply) == expected
    changed = D(leverage) if expected == "accepted" else D(10)
    assert position_of(machine) == replace(before, leverage=changed)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("5000", "accepted"), ("5000.00000001", "-5013"), ("0", "-4055"), ("-1", "-4055")],
)
def test_what_is_free_can_be_withdrawn(amount: str, expected: str) -> None:
    machine = opened()
    before = machine.ledger()
    assert reply_code(machine.withdraw(ALICE, Money(D(amount)), T0)) == expected
    after = machine.ledger()
    moved = D(amount) if expected == "accepted" else D(0)
    assert before.wallets - after.wallets == before.deposited - after.deposited == moved
