"""What orders get, when, and with which code they are refused; the same of switches."""

from dataclasses import replace

import pytest

from bot.core.actions import AT_MARKET, ClosePosition, NoWorseThan, PlaceStop
from bot.core.model import NO_FILL, Fill, MarginMode, PositionMode, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.books import Cause, Ended, Entered, OrderState, Pledge, Triggered
from bot.exchange.paper.depth import OrderBook
from bot.exchange.paper.ladders import WHOLE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.orders import (
    CloseAll,
    Direction,
    Effect,
    Limit,
    Order,
    OrderLimits,
    Passage,
    RestingLimit,
    TimeInForce,
    Trigger,
    TriggerBy,
)
from bot.exchange.paper.prices import Prices
from bot.exchange.ports import Accepted, OrderFound, Refused
from tests.exchange.paper.build import (
    ALICE,
    BTC,
    ETH,
    T0,
    THREE_TIERS,
    D,
    contract,
    enter,
    machine_with,
    move,
    position_of,
    prices,
    total,
)

BUY, SELL = Direction.BUY, Direction.SELL
REDUCE, OPEN, NET = Effect.REDUCE, Effect.OPEN, Effect.NET
GTC, IOC, FOK, GTX = TimeInForce
MARK, LAST, INDEX = TriggerBy
FALLS, RISES = Passage
HEDGE = PositionMode.HEDGE


def order(
    direction: Direction, quantity: str = "1", effect: Effect = REDUCE, symbol: str = BTC
) -> Order:
    return Order(symbol, direction, effect, Quantity(D(quantity)), AT_MARKET)


def limit(
    direction: Direction,
    price: str,
    quantity: str = "1",
    effect: Effect = REDUCE,
    waits: TimeInForce = GTC,
) -> Order:
    return replace(order(direction, quantity, effect), pricing=Limit(Price(D(price)), waits))


def trigger(price: str, by: TriggerBy = MARK, passage: Passage = FALLS) -> Trigger:
    return Trigger(Price(D(price)), by, passage)


def code(reply: Accepted | Refused) -> str:
    return reply.code if isinstance(reply, Refused) else "accepted"


def place(machine: PaperMachine, asked: Order, name: str = "o") -> str:
    return code(machine.place(ALICE, asked, name, machine.at_ms))


def wait(machine: PaperMachine, when: Trigger, sends: Order | CloseAll, name: str = "c") -> str:
    return code(machine.place_conditional(ALICE, when, sends, name, machine.at_ms))


def found(machine: PaperMachine, name: str = "o") -> OrderFound:
    order = machine.order(ALICE, BTC, name)
    assert isinstance(order, OrderFound)
    return order


def filled(quantity: str, price: str) -> Fill:
    return Fill(Quantity(D(quantity)), Price(D(price)))


def end_of(machine: PaperMachine, name: str = "o") -> OrderState:
    (ended,) = [
        each.state
        for each in machine.history(ALICE, 0)
        if isinstance(each, Ended) and each.client_id == name
    ]
    return ended


def is_flat(machine: PaperMachine) -> bool:
    return not machine.snapshot(ALICE, machine.at_ms).positions


# -- triggers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("by", TriggerBy)
@pytest.mark.parametrize("moved", TriggerBy)
def test_a_stop_is_triggered_by_its_own_price_and_by_no_other(
    by: TriggerBy, moved: TriggerBy
) -> None:
    machine = machine_with(contract())
    enter(machine)
    assert wait(machine, trigger("48000", by), order(SELL)) == "accepted"
    there = {MARK: D(50_000), LAST: D(50_000), INDEX: D(50_000)} | {moved: D(47_000)}
    to = Prices(Price(there[MARK]), Price(there[LAST]), Price(there[INDEX]))
    machine.move(T0 + 1_000, {BTC: to})
    assert is_flat(machine) is (moved is by)


def test_the_index_price_is_the_mark_price_where_nobody_gives_one() -> None:
    machine = machine_with(contract())
    enter(machine)
    assert wait(machine, trigger("48000", INDEX), order(SELL)) == "accepted"
    move(machine, "49000", "44000")
    assert machine.quotes[BTC].index == 49_000
    assert not is_flat(machine)
    move(machine, "48000", "51000", at_ms=T0 + 2_000)
    assert is_flat(machine)


def test_a_trigger_on_last_fills_where_last_was_on_the_way_there() -> None:
    """Halfway to 40,000 the mark is at 49,500: the stop fills at its trigger, not at the end."""
    machine = machine_with(contract())
    enter(machine)
    assert wait(machine, trigger("45000", LAST), order(SELL)) == "accepted"
    move(machine, "49000", "40000")
    (row,) = machine.realised(ALICE)
    assert (row.price, row.cause, row.client_id, row.at_ms) == (
        D(45_000),
        Cause.STOP,
        "c",
        T0 + 500,
    )


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (trigger("50000"), "-2021"),
        (trigger("49999.99"), "accepted"),
        (trigger("50000", LAST), "accepted"),
        (trigger("51000", LAST), "-2021"),
        (trigger("48999.99", INDEX), "accepted"),
        (trigger("49000", INDEX), "-2021"),
        (trigger("50000", MARK, RISES), "-2021"),
        (trigger("50000.01", MARK, RISES), "accepted"),
        (trigger("50000.001", MARK, RISES), "-4014"),
    ],
)
def test_what_would_trigger_at_once_is_refused(when: Trigger, expected: str) -> None:
    machine = machine_with(contract())
    enter(machine)
    to = Prices(Price(D(50_000)), Price(D(51_000)), Price(D(49_000)))
    machine.move(T0, {BTC: to})
    assert wait(machine, when, order(SELL)) == expected


def test_a_take_profit_waits_for_the_other_way() -> None:
    machine = machine_with(contract())
    enter(machine)
    assert wait(machine, trigger("52000", MARK, RISES), order(SELL, "0.4")) == "accepted"
    move(machine, "48000")
    assert position_of(machine).quantity == 1
    move(machine, "53000", at_ms=T0 + 2_000)
    assert position_of(machine).quantity == D("0.6")
    assert machine.snapshot(ALICE, T0).stops == (), "a take-profit protects nobody"


def test_a_stop_order_may_open_a_position() -> None:
    machine = machine_with(contract())
    assert wait(machine, trigger("51000", LAST, RISES), order(BUY, "1", NET)) == "accepted"
    move(machine, "50500", "52000")
    assert position_of(machine).entry_price == 51_000
    assert Triggered(T0 + 500, "c", Quantity(D(1))) in machine.history(ALICE, 0)


def test_a_stop_larger_than_the_position_sends_an_order_of_its_size() -> None:
    machine = machine_with(contract())
    enter(machine)
    assert wait(machine, trigger("48000"), order(SELL, "7")) == "accepted"
    move(machine, "48000")
    assert end_of(machine, "c") is OrderState.FILLED
    assert Triggered(T0 + 1_000, "c", Quantity(D(1))) in machine.history(ALICE, 0)


def test_what_a_trigger_sends_may_be_refused_then() -> None:
    """10,000 is not enough for ten bitcoin at the venue's first leverage of 20."""
    machine = machine_with(contract())
    assert wait(machine, trigger("51000", LAST, RISES), order(BUY, "10", NET)) == "accepted"
    move(machine, "51000")
    assert is_flat(machine)
    assert end_of(machine, "c") is OrderState.REJECTED


# -- stop-limits ------------------------------------------------------------------------------


def test_a_stop_limit_that_gaps_stays_resting_while_the_price_falls_away() -> None:
    """
    The mark triggers at 48,000, where last is at 46,000: the limit of 47,500 is out of reach.

    It fills at its own price when last comes back, whatever the mark does meanwhile.
    """
    machine = machine_with(contract(), ladder=WHOLE)
    enter(machine, leverage="5")
    assert wait(machine, trigger("48000"), limit(SELL, "47500")) == "accepted"
    move(machine, "48000", "46000")
    assert found(machine, "c") == OrderFound("c", True, NO_FILL)
    assert machine.snapshot(ALICE, T0).stops == ()
    move(machine, "44000", at_ms=T0 + 2_000)
    assert found(machine, "c").resting
    assert position_of(machine).quantity == 1
    move(machine, "44000", "47499.99", at_ms=T0 + 3_000)
    assert found(machine, "c").resting
    move(machine, "44000", "48000", at_ms=T0 + 4_000)
    assert found(machine, "c") == OrderFound("c", False, filled("1", "47500"))


def test_a_stop_limit_that_is_never_reached_again_does_not_save_from_liquidation() -> None:
    machine = machine_with(contract(), ladder=WHOLE)
    enter(machine)
    assert wait(machine, trigger("48000"), limit(SELL, "47500")) == "accepted"
    move(machine, "48000", "46000")
    move(machine, "45000", at_ms=T0 + 2_000)
    assert [each.cause for each in machine.realised(ALICE)] == [Cause.LIQUIDATION]
    assert end_of(machine, "c") is OrderState.CANCELLED


def test_in_a_thin_book_a_limit_takes_what_is_there_and_rests_for_the_rest() -> None:
    """100,000 within 1 %: down to 49,750 half of it, which is a little over 1 BTC of 2."""
    book = OrderBook(Money(D(100_000)), Ratio(D("0.5")), 60_000, 10_000, Ratio(D("0.05")))
    machine = machine_with(contract(), depths={BTC: book}, deposit="100000")
    enter(machine, quantity="2")
    assert place(machine, limit(SELL, "49750", "2")) == "accepted"
    # By hand: 0.5 % of depth at 100,000 a per cent is 50,000 of notional, at 50,000 each 1.000.
    first = found(machine)
    assert first.resting
    assert first.filled == filled("1", "49875")
    (resting,) = machine.open_orders(ALICE)
    assert isinstance(resting, RestingLimit)
    assert (resting.left.quantity, resting.level) == (D(1), D("50000.01"))
    machine.move(T0 + 60_000, {})
    assert found(machine).filled == first.filled, "the book refills, the order is not its taker"
    move(machine, "50000.01", at_ms=T0 + 61_000)
    assert found(machine) == OrderFound("o", False, filled("2", "49812.5"))


# -- closing all ------------------------------------------------------------------------------


def test_one_stop_and_one_take_profit_may_close_all_of_a_position() -> None:
    machine = machine_with(contract())
    enter(machine)
    whole = CloseAll(BTC, SELL)
    assert wait(machine, trigger("48000"), whole, "stop") == "accepted"
    assert wait(machine, trigger("47000"), whole, "second") == "-4130"
    assert wait(machine, trigger("47000", LAST), whole, "third") == "-4130"
    assert wait(machine, trigger("52000", MARK, RISES), whole, "profit") == "accepted"
    assert wait(machine, trigger("47000"), order(SELL), "sized") == "accepted"
    assert code(machine.cancel(ALICE, "stop", T0)) == "accepted"
    assert wait(machine, trigger("47000"), whole, "again") == "accepted"


def test_in_hedge_mode_each_leg_has_a_stop_that_closes_all() -> None:
    machine = machine_with(contract())
    assert code(machine.set_position_mode(ALICE, HEDGE, T0)) == "accepted"
    enter(machine)
    enter(machine, Side.SHORT, "0.5")
    assert wait(machine, trigger("48000"), CloseAll(BTC, SELL), "long") == "accepted"
    assert wait(machine, trigger("52000", MARK, RISES), CloseAll(BTC, BUY), "s") == "accepted"
    assert wait(machine, trigger("47000"), CloseAll(BTC, SELL), "second") == "-4130"
    move(machine, "48000")
    assert position_of(machine).side is Side.SHORT


def test_a_stop_that_closes_all_has_the_size_of_what_there_is_then() -> None:
    machine = machine_with(contract())
    enter(machine)
    assert wait(machine, trigger("48000"), CloseAll(BTC, SELL)) == "accepted"
    assert place(machine, order(BUY, "0.2", NET), "more") == "accepted"
    assert place(machine, order(SELL, "0.5"), "less") == "accepted"
    (stop,) = machine.snapshot(ALICE, T0).stops
    assert (stop.quantity, stop.reduce_only) == (D("0.7"), True)
    move(machine, "48000")
    assert is_flat(machine)
    assert found(machine, "c").filled == filled("0.7", "48000")


def test_without_a_position_it_is_refused_and_afterwards_it_expires() -> None:
    machine = machine_with(contract())
    assert wait(machine, trigger("48000"), CloseAll(BTC, SELL)) == "-2022"
    enter(machine)
    assert wait(machine, trigger("48000"), CloseAll(BTC, SELL)) == "accepted"
    assert place(machine, order(SELL)) == "accepted"
    move(machine, "48000")
    assert end_of(machine, "c") is OrderState.EXPIRED


# -- limit orders -----------------------------------------------------------------------------


def test_a_limit_order_fills_at_its_price_however_far_the_price_goes() -> None:
    machine = machine_with(contract(taker_fee="0.001"))
    assert place(machine, limit(BUY, "49000", "1", NET)) == "accepted"
    move(machine, "48900", "49000.01")
    assert found(machine).resting, "the mark price fills no limit order"
    move(machine, "48000", at_ms=T0 + 2_000)
    assert position_of(machine).entry_price == 49_000
    (entered,) = [each for each in machine.history(ALICE, 0) if isinstance(each, Entered)]
    assert (entered.price, entered.fee, entered.client_id) == (D(49_000), D(49), "o")
    assert end_of(machine) is OrderState.FILLED


def test_a_resting_order_is_met_before_the_liquidation_that_lies_behind_it() -> None:
    """On one straight way: what sells at 46,000 does, before 45,226.14 liquidates."""
    machine = machine_with(contract(), slippage="0.001")
    enter(machine)
    assert wait(machine, trigger("46500"), limit(SELL, "46000")) == "accepted"
    move(machine, "44000")
    (row,) = machine.realised(ALICE)
    assert (row.cause, row.price) == (Cause.STOP, D("46453.5"))


@pytest.mark.parametrize(
    ("waits", "price", "expected", "got"),
    [
        (IOC, "49000", "accepted", False),
        (IOC, "50000", "accepted", True),
        (FOK, "49000", "accepted", False),
        (FOK, "50000", "accepted", True),
        (GTX, "49000", "accepted", False),
        (GTX, "50000", "-5022", False),
    ],
)
def test_how_long_an_order_waits(waits: TimeInForce, price: str, expected: str, got: bool) -> None:
    machine = machine_with(contract())
    assert place(machine, limit(BUY, price, "1", NET, waits)) == expected
    assert is_flat(machine) is not got
    rests = bool(machine.open_orders(ALICE))
    assert rests is (waits is GTX and expected == "accepted")


def test_whole_or_nothing_is_nothing_where_the_book_is_too_thin() -> None:
    book = OrderBook(Money(D(100_000)), Ratio(D("0.5")), 60_000, 10_000, Ratio(D("0.05")))
    machine = machine_with(contract(), depths={BTC: book}, deposit="100000")
    enter(machine, quantity="2")
    assert place(machine, limit(SELL, "49750", "1.001", waits=FOK), "f") == "accepted"
    assert (found(machine, "f").filled, end_of(machine, "f")) == (NO_FILL, OrderState.EXPIRED)
    assert place(machine, limit(SELL, "49750", "1", waits=FOK), "g") == "accepted"
    assert end_of(machine, "g") is OrderState.FILLED


def test_an_order_larger_than_what_it_is_against_turns_the_position() -> None:
    """And binds margin for the new side at the contract's leverage and mode."""
    machine = machine_with(contract())
    enter(machine)
    assert place(machine, order(SELL, "1.5", NET)) == "accepted"
    held = position_of(machine)
    assert (held.side, held.quantity, held.margin_mode) == (
        Side.SHORT,
        D("0.5"),
        MarginMode.CROSS,
    )
    assert found(machine).filled == filled("1.5", "50000")


def test_a_reduce_only_limit_order_is_cut_to_what_is_left_of_the_position() -> None:
    machine = machine_with(contract())
    enter(machine)
    assert place(machine, limit(SELL, "52000", "0.8")) == "accepted"
    move(machine, "51000")
    assert code(machine.set_position_mode(ALICE, HEDGE, machine.at_ms)) == "-4067"
    stop = PlaceStop(BTC, Side.LONG, Quantity(D("0.5")), Price(D(50_500)))
    assert machine.handle(ALICE, stop, "stop", machine.at_ms) == Accepted()
    move(machine, "50500", at_ms=T0 + 2_000)
    assert position_of(machine).quantity == D("0.5")
    move(machine, "52000", at_ms=T0 + 3_000)
    assert found(machine) == OrderFound("o", False, filled("0.5", "52000"))
    assert end_of(machine) is OrderState.EXPIRED


def test_a_resting_reduce_only_limit_order_keeps_its_part_from_a_close() -> None:
    machine = machine_with(contract())
    enter(machine)
    assert place(machine, limit(SELL, "52000", "0.6")) == "accepted"

    def close(quantity: str, name: str) -> str:
        action = ClosePosition(BTC, Side.LONG, Quantity(D(quantity)))
        return code(machine.handle(ALICE, action, name, machine.at_ms))

    assert close("0.401", "a") == "-4118"
    assert place(machine, limit(SELL, "53000", "0.401"), "b") == "-4118"
    assert close("0.4", "c") == "accepted"
    assert close("0.001", "d") == "-4118"
    assert wait(machine, trigger("48000"), order(SELL, "0.6"), "stop") == "accepted"
    move(machine, "48000")
    assert is_flat(machine), "what is triggered is not held back"


# -- what the exchange takes ------------------------------------------------------------------

LIMITS = OrderLimits(
    steps_max=D(3_000),
    market_steps_max=D(500),
    notional_min=Money(D(100)),
    conditional_symbol_max=2,
    conditional_account_max=3,
    resting_symbol_max=2,
)


def limited() -> PaperMachine:
    """At most 0.5 at market and 3 in all, from 100 USDT on; a position of 1 in each contract."""
    machine = machine_with(contract(), contract(ETH), deposit="100000")
    machine.limits = LIMITS
    enter(machine)
    enter(machine, symbol=ETH)
    return machine


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (order(SELL, "0.5"), "accepted"),
        (order(SELL, "0.501"), "-4005"),
        (order(BUY, "0.501", NET), "-4005"),
        (limit(SELL, "49000", "1", waits=IOC), "accepted"),
        (limit(BUY, "49000", "3", NET), "accepted"),
        (limit(BUY, "49000", "3.001", NET), "-4005"),
        (limit(BUY, "49999", "0.002", NET), "-4164"),
        (limit(BUY, "50000", "0.002", NET), "accepted"),
        (order(BUY, "0.001", NET), "-4164"),
        (order(SELL, "0.001"), "accepted"),
        (order(SELL, "0.0005"), "-4003"),
        (limit(SELL, "49000.001"), "-4014"),
        (order(BUY, "0.1", OPEN), "-4061"),
    ],
)
def test_orders_have_a_size_and_a_worth(asked: Order, expected: str) -> None:
    machine = limited()
    before = machine.to_json()
    assert place(machine, asked) == expected
    assert (machine.to_json() == before) is (expected != "accepted")


def test_what_a_contract_allows_binds_where_it_is_less() -> None:
    narrow = replace(contract(), quantity_max=Quantity(D("0.2")), stops_max=1)
    machine = machine_with(narrow, contract(ETH), deposit="100000")
    machine.limits = replace(LIMITS, market_steps_max=D(5_000))
    enter(machine, quantity="0.2")
    enter(machine, symbol=ETH)
    assert place(machine, order(SELL, "0.1")) == "accepted"
    assert place(machine, order(BUY, "0.201", NET), "large") == "-4005"
    assert place(machine, limit(BUY, "49000", "1", NET), "limit") == "accepted"
    for name, expected in (("a", "accepted"), ("b", "-4045")):
        assert wait(machine, trigger("48000"), order(SELL, "0.1"), name) == expected


def test_in_hedge_mode_an_order_names_its_leg() -> None:
    machine = machine_with(contract())
    assert code(machine.set_position_mode(ALICE, HEDGE, T0)) == "accepted"
    assert place(machine, order(BUY, "1", NET)) == "-4061"
    assert place(machine, order(BUY, "1", OPEN), "long") == "accepted"
    assert place(machine, order(SELL, "0.5", OPEN), "short") == "accepted"
    held = {each.side: each.quantity for each in machine.snapshot(ALICE, T0).positions}
    assert held == {Side.LONG: D(1), Side.SHORT: D("0.5")}


def test_a_close_too_large_for_one_order_is_refused_and_in_slices_it_is_not() -> None:
    machine = limited()
    whole = ClosePosition(BTC, Side.LONG, Quantity(D(1)))
    assert code(machine.handle(ALICE, whole, "whole", T0)) == "-4005"
    bounded = replace(whole, bound=NoWorseThan(Price(D(49_000))))
    assert code(machine.handle(ALICE, bounded, "bounded", T0)) == "accepted"


def test_so_many_conditional_orders_rest_in_a_contract_and_in_the_account() -> None:
    machine = limited()
    for name, symbol in (("a", BTC), ("b", BTC), ("c", ETH)):
        assert wait(machine, trigger("48000"), order(SELL, "0.1", symbol=symbol), name) == (
            "accepted"
        )
    assert wait(machine, trigger("47000"), order(SELL, "0.1"), "d") == "-4045"
    assert wait(machine, trigger("47000"), order(SELL, "0.1", symbol=ETH), "e") == "-4045"
    assert code(machine.cancel(ALICE, "a", T0)) == "accepted"
    assert wait(machine, trigger("47000"), order(SELL, "0.1", symbol=ETH), "e") == "accepted"
    assert wait(machine, trigger("46000"), order(SELL, "0.1", symbol=ETH), "f") == "-4045"


def test_so_many_limit_orders_rest_in_a_contract() -> None:
    machine = limited()
    for name in ("a", "b"):
        assert place(machine, limit(BUY, "40000", "0.01", NET), name) == "accepted"
    assert place(machine, limit(BUY, "40000", "0.01", NET), "c") == "-2025"
    assert place(machine, order(SELL, "0.1"), "d") == "accepted"


def test_an_order_needs_margin_at_the_leverage_of_its_contract() -> None:
    """10,000 at the 20x of the beginning hold 4 BTC at 50,000."""
    machine = machine_with(contract())
    assert place(machine, order(BUY, "4.001", NET)) == "-2019"
    assert code(machine.set_leverage(ALICE, BTC, D(25), T0)) == "accepted"
    assert place(machine, order(BUY, "4.001", NET)) == "accepted"
    assert position_of(machine).leverage == 25


def test_an_order_may_not_grow_into_a_tier_that_forbids_its_leverage() -> None:
    """At 50x 250,000 may be held, which 5.1 BTC are more than."""
    machine = machine_with(contract(table=THREE_TIERS), deposit="100000")
    assert code(machine.set_leverage(ALICE, BTC, D(50), T0)) == "accepted"
    assert place(machine, order(BUY, "4", NET), "first") == "accepted"
    assert place(machine, order(BUY, "1.1", NET), "second") == "-2027"
    assert place(machine, order(BUY, "1", NET), "third") == "accepted"


def test_no_order_outlives_what_it_would_reduce_when_that_is_liquidated() -> None:
    """Gate cancels nothing of an isolated position: but what could only close it is over."""
    machine = machine_with(contract())
    enter(machine)
    assert place(machine, limit(SELL, "52000", "0.5"), "reduces") == "accepted"
    assert place(machine, limit(BUY, "40000", "0.01", NET), "opens") == "accepted"
    move(machine, "45000")
    assert is_flat(machine)
    assert [each.client_id for each in machine.open_orders(ALICE)] == ["opens"]


# -- switches ---------------------------------------------------------------------------------


def test_the_margin_mode_of_a_contract_changes_only_where_nothing_is_open_in_it() -> None:
    machine = machine_with(contract(), contract(ETH))
    isolated, cross = MarginMode.ISOLATED, MarginMode.CROSS

    def switch(mode: MarginMode, symbol: str = BTC) -> str:
        return code(machine.set_margin_mode(ALICE, symbol, mode, machine.at_ms))

    assert switch(cross) == "-4046"
    assert switch(isolated) == "accepted"
    assert place(machine, limit(BUY, "49000", "1", NET)) == "accepted"
    assert switch(cross) == "-4047"
    assert switch(isolated, ETH) == "accepted"
    move(machine, "49000")
    assert switch(cross) == "-4048"
    assert position_of(machine).margin_mode is isolated
    assert machine.ledger().margins == 2_450
    assert place(machine, order(SELL, "1"), "out") == "accepted"
    assert switch(cross) == "accepted"


def with_coins() -> PaperMachine:
    machine = PaperMachine(
        [contract()], Ratio(D(0)), pledges=[Pledge("BTC", Ratio(D("0.9")), BTC)]
    )
    machine.deposit(ALICE, Money(D(1_000)))
    machine.deposit_coin(ALICE, "BTC", D(1))
    machine.move(T0, {BTC: prices("50000")})
    return machine


def test_coins_back_cross_positions_as_long_as_the_account_lets_them() -> None:
    """1,000 and a coin that counts 45,000: without it 1 BTC at 20x is not to be had."""
    machine = with_coins()

    def switch(counts: bool) -> str:
        return code(machine.set_multi_assets(ALICE, counts, machine.at_ms))

    assert switch(True) == "-4171"
    assert code(machine.set_margin_mode(ALICE, BTC, MarginMode.ISOLATED, T0)) == "-4168"
    assert switch(False) == "accepted"
    assert place(machine, order(BUY, "1", NET)) == "-2019"
    assert machine.snapshot(ALICE, T0).collateral == ()
    assert code(machine.set_margin_mode(ALICE, BTC, MarginMode.ISOLATED, T0)) == "accepted"
    assert switch(True) == "-4167"
    assert code(machine.set_margin_mode(ALICE, BTC, MarginMode.CROSS, T0)) == "accepted"
    assert switch(True) == "accepted"
    assert place(machine, order(BUY, "1", NET)) == "accepted"
    assert switch(False) == "-4169"
    assert place(machine, limit(SELL, "52000")) == "-4116"
    assert place(machine, limit(SELL, "52000"), "rests") == "accepted"
    assert switch(False) == "-4170"


def test_a_coin_that_does_not_count_saves_nobody_and_is_not_taken() -> None:
    machine = with_coins()
    assert code(machine.set_multi_assets(ALICE, False, T0)) == "accepted"
    assert place(machine, order(BUY, "0.3", NET)) == "accepted"
    move(machine, "40000")
    assert [each.cause for each in machine.realised(ALICE)] == [Cause.LIQUIDATION]
    assert machine.ledger().coins["BTC"].held == 1
    assert total(machine) == machine.ledger().deposited


def test_money_that_a_position_needs_cannot_be_taken_out() -> None:
    """1 BTC at 10x binds 5,000 of the wallet's 10,000, and a loss of 1,000 as much again."""
    machine = machine_with(contract())
    enter(machine, margin_mode=MarginMode.CROSS)
    move(machine, "49000")
    # Bound at mark: 4,900; lost: 1,000.
    assert code(machine.withdraw(ALICE, Money(D("4100.01")), machine.at_ms)) == "-5013"
    assert code(machine.withdraw(ALICE, Money(D("4100")), machine.at_ms)) == "accepted"
