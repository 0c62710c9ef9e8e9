"""A contract ends: its positions are settled, its orders are gone, and nothing can be opened."""

import pytest

from bot.core.actions import PlaceStop
from bot.core.model import NO_FILL, MarginMode, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.books import Cause
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import FundingTerm
from bot.exchange.ports import Accepted, AccountChanged, OrderFound, Refused
from tests.exchange.paper.build import (
    ALICE,
    BOB,
    BTC,
    ETH,
    T0,
    D,
    contract,
    enter,
    machine_with,
    move,
    total,
)

LONG, SHORT = Side.LONG, Side.SHORT
END = Price(D(49_000))


def held_by_two() -> PaperMachine:
    machine = machine_with(contract(taker_fee="0.001"), contract(ETH))
    machine.deposit(BOB, Money(D(20_000)))
    enter(machine)
    enter(machine, SHORT, account=BOB, margin_mode=MarginMode.CROSS)
    enter(machine, account=BOB, symbol=ETH)
    stop = PlaceStop(BTC, LONG, Quantity(D(1)), Price(D(47_000)))
    assert machine.handle(ALICE, stop, "stop", T0) == Accepted()
    machine.take_notices()
    return machine


def test_everyone_is_settled_at_the_price_without_a_fee() -> None:
    machine = held_by_two()
    machine.delist(BTC, END, T0 + 1_000)
    assert machine.snapshot(ALICE, T0).positions == ()
    assert [each.symbol for each in machine.snapshot(BOB, T0).positions] == [ETH]
    assert machine.equity(ALICE) == 9_000
    assert machine.equity(BOB) == 21_000
    (realised,) = machine.realised(ALICE)
    assert (realised.cause, realised.price, realised.fee) == (Cause.SETTLEMENT, END, Money(D(0)))
    assert machine.order(ALICE, BTC, "stop") == OrderFound("stop", False, NO_FILL)
    told = machine.take_notices()
    assert told == ((ALICE, AccountChanged()), (BOB, AccountChanged()))
    assert total(machine) == 30_000


def test_after_its_end_nothing_of_it_can_be_had() -> None:
    machine = held_by_two()
    machine.announce(FundingTerm(T0, BTC, Ratio(D("0.01")), T0 + 5_000, 5_000))
    machine.delist(BTC, END, T0 + 1_000)
    with pytest.raises(ValueError, match="expected a listed contract, has ended"):
        enter(machine)
    with pytest.raises(ValueError, match="expected a listed contract and a price"):
        machine.delist(BTC, END, T0 + 1_000)
    machine.announce(FundingTerm(T0 + 1_000, BTC, Ratio(D("0.01")), T0 + 5_000, 5_000))
    assert machine.terms == {}
    stop = PlaceStop(BTC, LONG, Quantity(D(1)), Price(D(47_000)))
    refused = machine.handle(ALICE, stop, "again", T0 + 1_000)
    assert isinstance(refused, Refused)
    assert [*machine.listed] == [ETH]
    assert [*machine.instruments] == [BTC, ETH]
    move(machine, "10", at_ms=T0 + 9_000)
    assert PaperMachine.from_json(machine.to_json()).listed == machine.listed


def test_a_settlement_far_from_the_mark_can_cost_the_rest_of_the_wallet() -> None:
    """Bob's short is settled 16,000 above: the long that it hedged is liquidated at once."""
    machine = machine_with(contract(), contract(ETH), deposit="0")
    machine.deposit(BOB, Money(D(16_100)))
    enter(machine, SHORT, account=BOB, margin_mode=MarginMode.CROSS)
    enter(machine, account=BOB, symbol=ETH, margin_mode=MarginMode.CROSS)
    machine.delist(BTC, Price(D(66_000)), T0 + 1_000)
    assert [each.cause for each in machine.realised(BOB)] == [Cause.SETTLEMENT, Cause.LIQUIDATION]
    assert machine.equity(BOB) == 0
    assert total(machine) == 16_100
