"""Longs pay shorts at the announced moment, and a bill alone can liquidate."""

from decimal import Decimal

import pytest

from bot.core.actions import ClosePosition, PlaceStop
from bot.core.events import Liquidated
from bot.core.model import MarginMode, Side
from bot.core.units import Price, Quantity, Ratio
from bot.exchange.paper.books import Cause
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import FundingTerm
from bot.exchange.ports import AccountChanged
from tests.exchange.paper.build import (
    ALICE,
    BTC,
    ENTRY,
    ETH,
    T0,
    D,
    contract,
    enter,
    machine_with,
    move,
    position_of,
    prices,
    reported,
    total,
)

LONG, SHORT, CROSS = Side.LONG, Side.SHORT, MarginMode.CROSS
HOUR_MS = 3_600_000


def term(
    rate: str, next_in_ms: int = HOUR_MS, *, at_ms: int = T0, symbol: str = BTC
) -> FundingTerm:
    return FundingTerm(at_ms, symbol, Ratio(D(rate)), T0 + next_in_ms, HOUR_MS)


def paid(machine: PaperMachine) -> list[Decimal]:
    return [each.amount for each in machine.funding(ALICE)]


@pytest.mark.parametrize(
    ("side", "rate", "amount"),
    [
        (LONG, "0.0005", "25"),
        (LONG, "-0.0005", "-25"),
        (SHORT, "0.0005", "-25"),
        (SHORT, "-0.0005", "25"),
    ],
)
def test_the_payer_pays_its_notional_times_the_rate_out_of_its_margin(
    side: Side, rate: str, amount: str
) -> None:
    machine = machine_with(contract())
    enter(machine, side)
    machine.announce(term(rate))
    move(machine, "50000", at_ms=T0 + HOUR_MS - 1)
    assert paid(machine) == []
    machine.take_notices()
    move(machine, "50000", at_ms=T0 + HOUR_MS)
    (payment,) = machine.funding(ALICE)
    assert (payment.at_ms, payment.symbol, payment.side) == (T0 + HOUR_MS, BTC, side)
    assert payment.amount == D(amount)
    assert payment.rate == D(rate)
    assert position_of(machine).isolated_margin == 5_000 - D(amount)
    assert machine.ledger().market == D(amount)
    assert machine.take_notices() == ((ALICE, AccountChanged()),)


def test_a_cross_position_pays_with_the_wallet() -> None:
    machine = machine_with(contract())
    enter(machine, SHORT, margin_mode=CROSS)
    machine.announce(term("-0.001"))
    move(machine, "50000", at_ms=T0 + HOUR_MS)
    assert machine.snapshot(ALICE, T0).wallet_balance == 9_950
    assert position_of(machine).isolated_margin == 0


@pytest.mark.parametrize(("side", "amount"), [(LONG, "0.00000334"), (SHORT, "-0.00000333")])
def test_a_payment_is_rounded_against_the_account(side: Side, amount: str) -> None:
    machine = machine_with(contract(), price="33333")
    enter(machine, side, quantity="0.001")
    machine.announce(term("0.0000001"))
    move(machine, "33333", at_ms=T0 + HOUR_MS)
    assert paid(machine) == [D(amount)]


def test_in_the_middle_of_a_move_the_mark_of_that_moment_counts() -> None:
    machine = machine_with(contract())
    enter(machine)
    machine.announce(term("0.001", 1_000))
    move(machine, "48000", at_ms=T0 + 4_000)
    (payment,) = machine.funding(ALICE)
    assert payment.at_ms == T0 + 1_000
    assert payment.amount == D("49.5")


def test_time_alone_brings_the_bill() -> None:
    """A request that arrives after the settlement finds it paid."""
    machine = machine_with(contract())
    enter(machine)
    machine.announce(term("0.001"))
    machine.handle(ALICE, ClosePosition(BTC, LONG, Quantity(D("0.5"))), "a", T0 + HOUR_MS + 5)
    assert paid(machine) == [D(50)]
    assert machine.realised(ALICE)[0].at_ms == T0 + HOUR_MS + 5


def test_who_closed_a_moment_before_pays_nothing_and_who_opened_then_pays_all() -> None:
    machine = machine_with(contract())
    enter(machine)
    machine.announce(term("0.001"))
    close = ClosePosition(BTC, LONG, Quantity(D(1)))
    machine.handle(ALICE, close, "a", T0 + HOUR_MS - 1)
    move(machine, "50000", at_ms=T0 + HOUR_MS)
    assert paid(machine) == []
    machine.announce(term("0.001", 2 * HOUR_MS, at_ms=T0 + HOUR_MS))
    move(machine, "50000", at_ms=T0 + 2 * HOUR_MS - 1)
    enter(machine)
    move(machine, "50000", at_ms=T0 + 2 * HOUR_MS)
    assert paid(machine) == [D(50)]


def test_a_bill_is_settled_once_and_the_next_term_says_when_it_comes_again() -> None:
    """A cadence that changes from an hour to half a minute; the replaced bill is never settled."""
    machine = machine_with(contract())
    enter(machine)
    machine.announce(term("0.001"))
    move(machine, "50000", at_ms=T0 + HOUR_MS)
    move(machine, "50000", at_ms=T0 + 3 * HOUR_MS)
    assert len(paid(machine)) == 1
    now_ms = machine.at_ms
    machine.announce(FundingTerm(now_ms, BTC, Ratio(D("0.001")), now_ms + HOUR_MS, HOUR_MS))
    machine.announce(FundingTerm(now_ms, BTC, Ratio(D("0.002")), now_ms + 30_000, 30_000))
    move(machine, "50000", at_ms=now_ms + 2 * HOUR_MS)
    assert paid(machine) == [D(50), D(100)]


def test_a_term_whose_moment_has_passed_is_an_error() -> None:
    machine = machine_with(contract())
    with pytest.raises(ValueError, match=f"BTCUSDT: expected a settlement after {T0}, was {T0}"):
        machine.announce(term("0.001", 0))


# -- bills that liquidate ---------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "is_liquidated"), [("0.0949", False), ("0.095", True)])
def test_a_bill_can_liquidate_without_a_price_move(rate: str, is_liquidated: bool) -> None:
    """Of 5,000, 250 are required: 4,745 leave more than that and 4,750 do not."""
    machine = machine_with(contract(rules=ENTRY))
    enter(machine)
    machine.announce(term(rate))
    machine.take_notices()
    move(machine, "50000", at_ms=T0 + 2 * HOUR_MS)
    notices = [notice for _, notice in machine.take_notices()]
    assert (Liquidated(BTC, LONG, Price(D(50_000)), T0 + HOUR_MS) in notices) is is_liquidated
    assert total(machine) == machine.ledger().deposited
    if is_liquidated:
        (realised,) = machine.realised(ALICE)
        assert realised.cause is Cause.LIQUIDATION
        assert realised.profit == -250
        assert machine.ledger().insurance_fund == 250


def test_a_bill_can_liquidate_a_cross_book() -> None:
    """Two at 50,000 require 500 of 10,000; ETH alone brings the bill."""
    machine = machine_with(contract(BTC, rules=ENTRY), contract(ETH, rules=ENTRY))
    for symbol in (BTC, ETH):
        enter(machine, symbol=symbol, leverage="20", margin_mode=CROSS)
    machine.announce(term("0.1899", symbol=ETH))
    machine.move(T0 + HOUR_MS, {})
    assert len(machine.snapshot(ALICE, T0).positions) == 2
    machine.announce(term("0.0001", 2 * HOUR_MS, at_ms=T0 + HOUR_MS, symbol=ETH))
    machine.move(T0 + 2 * HOUR_MS, {})
    assert machine.snapshot(ALICE, T0).positions == ()
    assert sum(each.profit for each in machine.realised(ALICE)) == -500


def test_a_bill_can_move_the_liquidation_price_past_a_price_that_only_rises() -> None:
    """At 46,000 safe by 774; the bill at that moment takes 2,300; then the price only rises."""
    machine = machine_with(contract())
    enter(machine)
    move(machine, "46000")
    machine.announce(term("0.05", 2_000, at_ms=T0 + 1_000))
    before = reported(machine)
    move(machine, "47000", at_ms=T0 + 11_000)
    assert before < 46_000
    (realised,) = machine.realised(ALICE)
    assert (realised.cause, realised.at_ms) == (Cause.LIQUIDATION, T0 + 2_000)


def test_margin_may_be_owed_while_a_profit_backs_it() -> None:
    """50x: 1,000 of margin, a bill of 1,200, and 10,000 of profit, half of it then closed."""
    machine = machine_with(contract())
    enter(machine, leverage="50")
    move(machine, "60000")
    machine.announce(term("0.02", at_ms=T0 + 1_000))
    machine.move(T0 + HOUR_MS, {})
    assert position_of(machine).isolated_margin == -200
    half = ClosePosition(BTC, LONG, Quantity(D("0.5")))
    machine.handle(ALICE, half, "a", machine.at_ms)
    assert position_of(machine).isolated_margin == -100
    assert machine.realised(ALICE)[0].shortfall == 0
    machine.handle(ALICE, half, "b", machine.at_ms)
    assert machine.snapshot(ALICE, T0).free == 10_000 + 10_000 - 1_200
    assert total(machine) == machine.ledger().deposited


def test_funding_comes_before_a_stop_of_the_same_moment() -> None:
    machine = machine_with(contract())
    enter(machine)
    stop = PlaceStop(BTC, LONG, Quantity(D(1)), Price(D(48_000)))
    machine.handle(ALICE, stop, "stop", T0)
    machine.announce(term("0.001", 1_000))
    machine.move(T0 + 1_000, {BTC: prices("48000")})
    assert paid(machine) == [D(48)]
    assert [each.cause for each in machine.realised(ALICE)] == [Cause.STOP]


def test_a_position_that_a_stop_closed_on_the_way_pays_nothing() -> None:
    machine = machine_with(contract())
    enter(machine)
    stop = PlaceStop(BTC, LONG, Quantity(D(1)), Price(D("48000.01")))
    machine.handle(ALICE, stop, "stop", T0)
    machine.announce(term("0.001", 1_000_000))
    machine.move(T0 + 1_000_000, {BTC: prices("48000")})
    assert paid(machine) == []


def test_fifty_times_leverage_loses_a_fortieth_of_its_margin_a_bill() -> None:
    """At 0.05 % of the notional, every eight hours, the price flat."""
    machine = machine_with(contract())
    enter(machine, leverage="50")
    margins = [position_of(machine).isolated_margin]
    for number in range(3):
        now_ms = machine.at_ms
        eight = now_ms + 8 * HOUR_MS
        machine.announce(FundingTerm(now_ms, BTC, Ratio(D("0.0005")), eight, 8 * HOUR_MS))
        move(machine, "50000", at_ms=eight)
        margins.append(position_of(machine).isolated_margin)
        assert len(paid(machine)) == number + 1
    assert margins == [1_000, 975, 950, 925]
