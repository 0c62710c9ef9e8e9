"""Whatever happens in whatever order: money is conserved and the books can be put away."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias, assert_never

from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.model import Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.arithmetic import MONEY_STEP
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from tests.exchange.paper.build import (
    ALICE,
    BOB,
    BTC,
    ETH,
    MARK_WITH_FEE,
    T0,
    THREE_TIERS,
    D,
    contract,
    machine_with,
    total,
)
from tests.exchange.paper.independent import Spare

SYMBOLS, ACCOUNTS = (BTC, ETH), (ALICE, BOB)


@dataclass(frozen=True)
class Open:
    account: str
    symbol: str
    side: Side
    quantity: Quantity
    leverage: Decimal


@dataclass(frozen=True)
class Move:
    symbol: str
    mark: Price
    last: Price


@dataclass(frozen=True)
class Ask:
    account: str
    action: Action
    client_id: str


@dataclass(frozen=True)
class StopNear:
    """A stop on the position that is there, so far from the mark, from near to beyond reach."""

    account: str
    symbol: str
    quantity: Quantity
    away: Ratio
    client_id: str


Step: TypeAlias = Open | Move | Ask | StopNear


def numbers(low: int, high: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low, high).map(lambda whole: D(whole).scaleb(-places))


accounts, symbols, sides = map(st.sampled_from, (ACCOUNTS, SYMBOLS, list(Side)))
ids = st.sampled_from([f"id-{number}" for number in range(30)])
marks = numbers(4_500_000, 5_500_000, 2)
quantities = numbers(1, 700, 3)
actions = st.one_of(
    st.builds(AddMargin, symbols, sides, numbers(1, 30_000, 2)),
    st.builds(CancelStop, symbols, sides, ids),
    st.builds(ClosePosition, symbols, sides, quantities),
)
opens = st.builds(Open, accounts, symbols, sides, quantities, numbers(2, 60, 0))
moves = st.builds(Move, symbols, marks, marks)
asks = st.builds(Ask, accounts, actions, ids)
stops = st.builds(StopNear, accounts, symbols, quantities, numbers(1, 800, 4), ids)
journeys = st.lists(moves | stops | moves | asks | opens, min_size=1, max_size=60)


def exchange() -> PaperMachine:
    machine = machine_with(
        *(
            contract(symbol, rules=MARK_WITH_FEE, table=THREE_TIERS, taker_fee="0.00055")
            for symbol in SYMBOLS
        ),
        slippage="0.0013",
    )
    machine.deposit(BOB, Money(D("7777.77777777")))
    for account, side in ((ALICE, Side.LONG), (BOB, Side.SHORT)):
        for symbol, leverage in ((BTC, D(10)), (ETH, D(25))):
            take(machine, Open(account, symbol, side, Quantity(D("0.6")), leverage))
    return machine


def take(machine: PaperMachine, step: Step) -> object:
    """One step, a second later; what was answered."""
    at_ms = machine.at_ms + 1_000
    match step:
        case Open(account, symbol, side, quantity, leverage):
            try:
                machine.open_position(
                    account,
                    symbol,
                    side,
                    quantity=quantity,
                    leverage=leverage,
                    at_ms=at_ms,
                    entry_fee=Ratio(D("0.00055")),
                )
            except ValueError as e:
                return str(e)
        case Move(symbol, mark, last):
            machine.move(at_ms, {symbol: Prices(mark, last)})
        case Ask(account, action, client_id):
            return machine.handle(account, action, client_id, at_ms)
        case StopNear(account, symbol, quantity, away, client_id):
            for position in machine.snapshot(account, at_ms).positions:
                if position.symbol == symbol:
                    mark = machine.quotes[symbol].mark
                    trigger = Price(round(mark * (1 - position.side.sign * away), 2))
                    stop = PlaceStop(symbol, position.side, quantity, trigger)
                    return machine.handle(account, stop, client_id, at_ms)
        case _:
            assert_never(step)
    return None


@given(journeys)
def test_money_is_conserved_to_the_last_digit(journey: list[Step]) -> None:
    """And no wallet or margin is ever below zero or finer than money is."""
    machine = exchange()
    for step in journey:
        take(machine, step)
        assert total(machine) == machine.ledger().deposited
        for account in ACCOUNTS:
            snapshot = machine.snapshot(account, machine.at_ms)
            amounts = [snapshot.free, *(each.isolated_margin for each in snapshot.positions)]
            assert all(amount >= 0 and amount % MONEY_STEP == 0 for amount in amounts)


@given(journeys)
def test_equity_changes_by_what_was_realised(journey: list[Step]) -> None:
    """The record of realised profits, fees and covers explains an account without positions."""
    machine = exchange()
    before = machine.equity(ALICE)
    for step in journey:
        if not isinstance(step, Open):
            take(machine, step)
    for symbol in SYMBOLS:
        end = ClosePosition(symbol, Side.LONG, Quantity(D(1)))
        take(machine, Ask(ALICE, end, f"end-{symbol}"))
    assert machine.snapshot(ALICE, T0).positions == ()
    change = sum(
        (each.profit - each.fee + each.shortfall for each in machine.realised(ALICE)), D(0)
    )
    assert machine.equity(ALICE) == before + change


@given(journeys)
def test_nothing_reached_is_left_standing(journey: list[Step]) -> None:
    """After every step each stop lies ahead of the mark and each position above water."""
    machine = exchange()
    for step in journey:
        take(machine, step)
        for account in ACCOUNTS:
            snapshot = machine.snapshot(account, machine.at_ms)
            for stop in snapshot.stops:
                mark = machine.quotes[stop.symbol].mark
                assert stop.side.sign * (mark - stop.trigger_price) > 0
            for held in snapshot.positions:
                spare = Spare(
                    machine.instruments[held.symbol],
                    held.side,
                    held.quantity,
                    held.entry_price,
                    held.isolated_margin,
                )
                assert spare.at(Fraction(machine.quotes[held.symbol].mark)) > 0


@given(journeys, st.integers(0, 40))
def test_a_machine_put_away_and_taken_out_has_the_same_future(
    journey: list[Step], at: int
) -> None:
    machine = exchange()
    for step in journey[:at]:
        take(machine, step)
    machine.take_notices()
    twin = PaperMachine.from_json(machine.to_json())
    assert twin.to_json() == machine.to_json()
    for step in journey[at:]:
        assert take(twin, step) == take(machine, step)
    assert twin.to_json() == machine.to_json()
    assert twin.take_notices() == machine.take_notices()


@given(journeys, marks, marks)
def test_the_order_of_symbols_changes_nothing(
    journey: list[Step], btc_mark: Price, eth_mark: Price
) -> None:
    """Two symbols that move at the same time do not know which came first."""
    one, other = exchange(), exchange()
    for machine in (one, other):
        for step in journey:
            take(machine, step)
    at_ms = one.at_ms + 1_000
    btc, eth = (Prices(mark, mark) for mark in (btc_mark, eth_mark))
    one.move(at_ms, {BTC: btc, ETH: eth})
    other.move(at_ms, {ETH: eth, BTC: btc})
    assert one.to_json() == other.to_json()
    assert one.take_notices() == other.take_notices()


@given(journeys, marks, marks)
def test_a_stop_over_half_way_points_is_the_same_line(
    journey: list[Step], mark: Price, last: Price
) -> None:
    """A straight line travelled in two halves gives what it gives in one."""
    whole, halves = exchange(), exchange()
    for machine in (whole, halves):
        for step in journey:
            take(machine, step)
    start, at_ms = whole.quotes[BTC], whole.at_ms
    half = Prices(Price((start.mark + mark) / 2), Price((start.last + last) / 2))
    halves.move(at_ms + 1_000, {BTC: half})
    for machine in (whole, halves):
        machine.move(at_ms + 2_000, {BTC: Prices(mark, last)})
        machine.take_notices()
    assert whole.to_json() == halves.to_json()
