"""When the insurance fund is empty the most profitable on the other side are made to close."""

from decimal import Decimal

import pytest

from bot.core.actions import PlaceStop
from bot.core.events import AutoDeleveraged, Liquidated
from bot.core.model import NO_FILL, MarginMode, PositionMode, Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.paper.books import Cause, PositionStep
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.ports import Accepted, AccountChanged, OrderFound
from tests.exchange.paper.build import (
    ALICE,
    BOB,
    BTC,
    ENTRY,
    ETH,
    T0,
    D,
    contract,
    enter,
    machine_with,
    move,
    prices,
    total,
)

LONG, SHORT = Side.LONG, Side.SHORT
AARON = "aaron"


def three(fund: str = "0") -> PaperMachine:
    """Alice is long 1 from 50,000 on 5,000; Bob and Aaron are short 0.6, at 20x and at 5x."""
    machine = machine_with(contract(rules=ENTRY), deposit="5000", fund=fund)
    enter(machine)
    for account, leverage in ((AARON, "5"), (BOB, "20")):
        machine.deposit(account, Money(D(10_000)))
        enter(machine, SHORT, "0.6", leverage, account=account)
    machine.take_notices()
    return machine


def crash(machine: PaperMachine, last: str = "44000") -> None:
    """Alice is spent at 45,250 and bankrupt at 45,000; trades are done far below."""
    machine.move(T0 + 1_000, {BTC: prices("45250", last)})


def held(machine: PaperMachine, account: str) -> Decimal:
    return sum((each.quantity for each in machine.snapshot(account, T0).positions), D(0))


def test_the_first_of_the_ranking_closes_at_the_bankruptcy_price() -> None:
    """Bob and Aaron made the same 9.5 %, Bob on four times the leverage: his 0.6 go first."""
    machine = three()
    stop = PlaceStop(BTC, SHORT, Quantity(D("0.6")), Price(D(51_000)))
    assert machine.handle(BOB, stop, "bobs", T0) == Accepted()
    machine.take_notices()
    crash(machine)
    assert held(machine, ALICE) == held(machine, BOB) == 0
    assert held(machine, AARON) == D("0.2")
    (step,) = machine.liquidation(ALICE)
    assert isinstance(step, PositionStep)
    assert (step.deleveraged, step.price) == (Quantity(D(1)), Price(D(45_000)))
    assert step.to_fund == 0
    (bobs,) = machine.realised(BOB)
    assert (bobs.cause, bobs.price, bobs.quantity) == (
        Cause.DELEVERAGING,
        Price(D(45_000)),
        Quantity(D("0.6")),
    )
    assert machine.equity(BOB) == 10_000 + D("0.6") * 5_000
    assert machine.order(BOB, BTC, "bobs") == OrderFound("bobs", False, NO_FILL)
    taken = [each for each in machine.take_notices() if isinstance(each[1], AutoDeleveraged)]
    assert taken == [
        (BOB, AutoDeleveraged(BTC, SHORT, Quantity(D("0.6")), Price(D(45_000)), T0 + 1_000)),
        (AARON, AutoDeleveraged(BTC, SHORT, Quantity(D("0.4")), Price(D(45_000)), T0 + 1_000)),
    ]
    assert machine.ledger().insurance_fund == 0
    assert total(machine) == 25_000


def test_a_fund_that_can_pay_deleverages_nobody() -> None:
    machine = three(fund="1000")
    crash(machine)
    assert held(machine, BOB) == held(machine, AARON) == D("0.6")
    assert machine.ledger().insurance_fund == 0


def test_a_fund_pays_for_as_much_as_it_can() -> None:
    """A loss of 1,000 and 250.5 in the fund: 0.25 are sold at market, the others fill 0.75."""
    machine = three(fund="250.5")
    crash(machine)
    assert held(machine, BOB) == 0
    assert held(machine, AARON) == D("0.45")
    assert machine.ledger().insurance_fund == D("0.5")
    (step,) = machine.liquidation(ALICE)
    assert isinstance(step, PositionStep)
    assert (step.deleveraged, step.to_fund) == (Quantity(D("0.75")), Money(D(-250)))
    assert total(machine) == machine.ledger().deposited


def test_who_has_no_profit_is_ranked_last() -> None:
    """Bob went short at 45,300 and has a loss; Aaron's profit goes before, at any leverage."""
    machine = machine_with(contract(rules=ENTRY), deposit="5000")
    enter(machine)
    machine.deposit(AARON, Money(D(60_000)))
    enter(machine, SHORT, "1", "1", account=AARON)
    machine.deposit(BOB, Money(D(10_000)))
    move(machine, "45260", "45230")
    enter(machine, SHORT, "1", "50", account=BOB)
    machine.move(T0 + 2_000, {BTC: prices("45250", "44000")})
    assert held(machine, BOB) == 1
    assert held(machine, AARON) == 0


def test_what_nobody_here_holds_the_market_takes() -> None:
    """Alice alone: she loses her margin and no more, and all that others made is 5,000."""
    machine = machine_with(contract(rules=ENTRY), deposit="5000")
    enter(machine)
    crash(machine, "30000")
    assert machine.equity(ALICE) == 0
    assert machine.ledger().insurance_fund == 0
    assert machine.ledger().market == 5_000


def test_a_hedge_that_is_taken_leaves_the_other_leg_naked() -> None:
    """Bob is hedged in cross: without his short a fall that was nothing to him liquidates him."""
    machine = machine_with(contract(rules=ENTRY), contract(ETH, rules=ENTRY), deposit="5000")
    enter(machine)
    machine.deposit(BOB, Money(D(6_000)))
    enter(machine, SHORT, "1", "20", account=BOB, margin_mode=MarginMode.CROSS)
    enter(machine, LONG, "1", "20", account=BOB, symbol=ETH, margin_mode=MarginMode.CROSS)
    machine.move(T0 + 1_000, {BTC: prices("45250", "44000"), ETH: prices("45250")})
    assert [each.symbol for each in machine.snapshot(BOB, T0).positions] == [ETH]
    assert machine.equity(BOB) == 6_000 + 5_000 - 4_750
    machine.move(T0 + 2_000, {BTC: prices("38000"), ETH: prices("38000")})
    assert machine.equity(BOB) == 0


def test_the_one_who_is_liquidated_is_not_made_to_fill_himself() -> None:
    """In hedge mode Alice has a profitable short of the same contract, isolated: it stays."""
    machine = machine_with(contract(rules=ENTRY), deposit="20000")
    assert machine.set_position_mode(ALICE, PositionMode.HEDGE, T0) == Accepted()
    enter(machine)
    enter(machine, SHORT, "0.5")
    crash(machine)
    assert [each.side for each in machine.snapshot(ALICE, T0).positions] == [SHORT]


@pytest.mark.parametrize("order", [(ALICE, BOB), (BOB, ALICE)])
def test_notices_reach_everyone_whom_it_concerns(order: tuple[str, str]) -> None:
    machine = machine_with(contract(rules=ENTRY), deposit="0")
    for account in order:
        machine.deposit(account, Money(D(5_000)))
        enter(machine, LONG if account is ALICE else SHORT, account=account)
    machine.take_notices()
    crash(machine)
    told: dict[str, list[type]] = {ALICE: [], BOB: []}
    for account, notice in machine.take_notices():
        told[account].append(type(notice))
    assert told == {ALICE: [Liquidated, AccountChanged], BOB: [AutoDeleveraged]}
