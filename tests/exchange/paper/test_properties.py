"""Whatever happens in whatever order: money is conserved and the books can be put away."""

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias, assert_never

from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import (
    AT_MARKET,
    Action,
    AddMargin,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.model import AccountSnapshot, Fill, Filled, MarginMode, Position, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.arithmetic import MONEY_STEP
from bot.exchange.paper.books import NOTHING
from bot.exchange.paper.depth import OrderBook
from bot.exchange.paper.ladders import (
    BINANCE,
    GATE,
    HYPERLIQUID,
    OKX,
    WHOLE,
    Ladder,
    ShareFirst,
)
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import FundingTerm, Prices
from bot.exchange.ports import Accepted, OrderFound
from tests.exchange.paper.build import (
    ALICE,
    BOB,
    BTC,
    ENTRY,
    ETH,
    MARK_WITH_FEE,
    RETAINED,
    T0,
    THREE_TIERS,
    D,
    contract,
    machine_with,
    total,
)
from tests.exchange.paper.independent import Spare

XRP = "XRPUSDT"
SMALL_SHARES = replace(HYPERLIQUID, reduction=ShareFirst(Ratio(D("0.3")), Money(D(5_000)), 2_000))
"""As Hyperliquid, for accounts as small as these."""

SYMBOLS, ACCOUNTS = (BTC, ETH, XRP), (ALICE, BOB)
ISOLATED, CROSS = MarginMode.ISOLATED, MarginMode.CROSS


@dataclass(frozen=True)
class Open:
    account: str
    symbol: str
    side: Side
    quantity: Quantity
    leverage: Decimal
    margin_mode: MarginMode


@dataclass(frozen=True)
class Move:
    prices: dict[str, Prices]


@dataclass(frozen=True)
class Announce:
    """A settlement to come within a few steps."""

    symbol: str
    rate: Ratio
    after_ms: int


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


Step: TypeAlias = Open | Move | Announce | Ask | StopNear


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
    st.builds(ClosePosition, symbols, sides, quantities, st.builds(NoWorseThan, marks)),
)
opens = st.builds(
    Open, accounts, symbols, sides, quantities, numbers(2, 60, 0), st.sampled_from(MarginMode)
)
moves = st.builds(
    Move, st.dictionaries(symbols, st.builds(Prices, marks, marks), min_size=1, max_size=3)
)
asks = st.builds(Ask, accounts, actions, ids)
stops = st.builds(StopNear, accounts, symbols, quantities, numbers(1, 800, 4), ids)
bills = st.builds(Announce, symbols, numbers(-200, 200, 4), st.integers(1, 5_000))
journeys = st.lists(moves | stops | moves | asks | opens | bills, min_size=1, max_size=60)


ladders = st.sampled_from([GATE, BINANCE, OKX, HYPERLIQUID, SMALL_SHARES, WHOLE])
THIN = OrderBook(
    notional_calm=Money(D(20_000)),
    halving_move=Ratio(D("0.02")),
    memory_ms=5_500,
    refill_ms=7_000,
    reach=Ratio(D("0.03")),
)


def exchange(ladder: Ladder = GATE) -> PaperMachine:
    machine = machine_with(
        *(
            contract(symbol, rules=rules, table=THREE_TIERS, taker_fee="0.00055")
            for symbol, rules in zip(SYMBOLS, (RETAINED, MARK_WITH_FEE, ENTRY), strict=True)
        ),
        slippage="0.0013",
        depths={
            BTC: THIN,
            XRP: replace(THIN, notional_calm=Money(D(300_000)), reach=Ratio(D("0.005"))),
        },
        deposit="8000",
        ladder=ladder,
        fund="99.00000001",
    )
    machine.deposit(BOB, Money(D("7777.77777777")))
    for account, side in ((ALICE, Side.LONG), (BOB, Side.SHORT)):
        for symbol, leverage, mode in (
            (BTC, D(10), ISOLATED),
            (ETH, D(25), CROSS),
            (XRP, D(25), CROSS),
        ):
            take(machine, Open(account, symbol, side, Quantity(D("0.6")), leverage, mode))
    return machine


def take(machine: PaperMachine, step: Step) -> object:
    """One step, a second later; what was answered."""
    at_ms = machine.at_ms + 1_000
    match step:
        case Open(account, symbol, side, quantity, leverage, margin_mode):
            try:
                machine.open_position(
                    account,
                    symbol,
                    side,
                    quantity=quantity,
                    leverage=leverage,
                    at_ms=at_ms,
                    entry_fee=Ratio(D("0.00055")),
                    margin_mode=margin_mode,
                )
            except ValueError as e:
                return str(e)
        case Move(prices):
            machine.move(at_ms, prices)
        case Announce(symbol, rate, after_ms):
            machine.announce(FundingTerm(at_ms, symbol, rate, at_ms + after_ms, after_ms))
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


def positions(machine: PaperMachine, account: str) -> dict[str, Position]:
    return {each.symbol: each for each in machine.snapshot(account, machine.at_ms).positions}


def in_profit(machine: PaperMachine, snapshot: AccountSnapshot) -> set[str]:
    """Isolated symbols with a profit, and `wallet` if all cross positions together have one."""
    gains: dict[str, Decimal] = {}
    for each in snapshot.positions:
        name = each.symbol if each.margin_mode is ISOLATED else "wallet"
        mark = machine.quotes[each.symbol].mark
        gain = each.side.sign * each.quantity * (mark - each.entry_price)
        gains[name] = gains.get(name, D(0)) + gain
    return {name for name, gain in gains.items() if gain > 0}


@given(journeys, ladders)
def test_money_is_conserved_to_the_last_digit(journey: list[Step], ladder: Ladder) -> None:
    """
    And no wallet or margin is finer than money is, or below zero unless a profit backs it.
    """
    machine = exchange(ladder)
    for step in journey:
        take(machine, step)
        assert total(machine) == machine.ledger().deposited
        assert machine.ledger().insurance_fund >= 0
        for account in ACCOUNTS:
            snapshot = machine.snapshot(account, machine.at_ms)
            amounts = {each.symbol: each.isolated_margin for each in snapshot.positions}
            amounts["wallet"] = snapshot.wallet_balance
            assert all(amount % MONEY_STEP == 0 for amount in amounts.values())
            owing = {name for name, amount in amounts.items() if amount < 0}
            assert owing <= in_profit(machine, snapshot)
            assert 0 <= snapshot.free <= max(snapshot.wallet_balance, NOTHING)


@given(journeys, ladders)
def test_a_request_or_a_price_never_grows_or_flips_a_position(
    journey: list[Step], ladder: Ladder
) -> None:
    """Only opening makes a position, and nothing makes one larger."""
    machine = exchange(ladder)
    for step in journey:
        before = {name: positions(machine, name) for name in ACCOUNTS}
        take(machine, step)
        for account in ACCOUNTS:
            for symbol, now in positions(machine, account).items():
                if not isinstance(step, Open) or symbol in before[account]:
                    was = before[account][symbol]
                    assert now.side is was.side
                    assert now.margin_mode is was.margin_mode
                    assert now.entry_price == was.entry_price
                    assert now.quantity <= was.quantity


@given(journeys, ladders)
def test_equity_changes_by_what_was_realised(journey: list[Step], ladder: Ladder) -> None:
    """The record of profits, fees, covers and funding explains an account without positions."""
    machine = exchange(ladder)
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
    funding = sum((each.amount for each in machine.funding(ALICE)), D(0))
    assert machine.equity(ALICE) == before + change - funding


@given(journeys, ladders)
def test_nothing_reached_is_left_standing(journey: list[Step], ladder: Ladder) -> None:
    """After every step each stop lies ahead of the mark, each position and book above water."""
    machine = exchange(ladder)
    for step in journey:
        take(machine, step)
        for account in ACCOUNTS:
            snapshot = machine.snapshot(account, machine.at_ms)
            for stop in snapshot.stops:
                mark = machine.quotes[stop.symbol].mark
                assert stop.side.sign * (mark - stop.trigger_price) > 0
            crossed = Fraction(snapshot.wallet_balance)
            for held in snapshot.positions:
                spare = Spare(
                    machine.instruments[held.symbol],
                    held.side,
                    held.quantity,
                    held.entry_price,
                    held.isolated_margin,
                ).at(Fraction(machine.quotes[held.symbol].mark))
                if held.margin_mode is ISOLATED:
                    assert spare > 0
                else:
                    crossed += spare
            assert crossed > 0 or all(held.margin_mode is ISOLATED for held in snapshot.positions)


@given(journeys, st.integers(0, 40), ladders)
def test_a_machine_put_away_and_taken_out_has_the_same_future(
    journey: list[Step], at: int, ladder: Ladder
) -> None:
    machine = exchange(ladder)
    for step in journey[:at]:
        take(machine, step)
    machine.take_notices()
    twin = PaperMachine.from_json(machine.to_json())
    assert twin.to_json() == machine.to_json()
    for step in journey[at:]:
        assert take(twin, step) == take(machine, step)
    assert twin.to_json() == machine.to_json()
    assert twin.take_notices() == machine.take_notices()


@given(journeys, st.permutations(SYMBOLS), st.lists(marks, min_size=3, max_size=3), ladders)
def test_the_order_of_symbols_changes_nothing(
    journey: list[Step], order: list[str], ends: list[Price], ladder: Ladder
) -> None:
    """Two symbols that move at the same time do not know which came first."""
    one, other = exchange(ladder), exchange(ladder)
    for machine in (one, other):
        for step in journey:
            take(machine, step)
    at_ms = one.at_ms + 1_000
    prices = {symbol: Prices(end, end) for symbol, end in zip(SYMBOLS, ends, strict=True)}
    one.move(at_ms, prices)
    other.move(at_ms, {symbol: prices[symbol] for symbol in order})
    assert one.to_json() == other.to_json()
    assert one.take_notices() == other.take_notices()


@given(journeys, st.lists(st.builds(Prices, marks, marks), min_size=3, max_size=3))
def test_a_stop_over_half_way_points_is_the_same_line(
    journey: list[Step], ends: list[Prices]
) -> None:
    """Straight lines travelled in two halves give what they give in one."""
    whole, halves = exchange(), exchange()
    for machine in (whole, halves):
        for step in journey:
            take(machine, step)
    at_ms, starts = whole.at_ms, whole.quotes
    prices = dict(zip(SYMBOLS, ends, strict=True))
    half = {
        symbol: Prices(
            Price((starts[symbol].mark + end.mark) / 2),
            Price((starts[symbol].last + end.last) / 2),
        )
        for symbol, end in prices.items()
    }
    halves.move(at_ms + 1_000, half)
    for machine in (whole, halves):
        machine.move(at_ms + 2_000, prices)
        machine.take_notices()
    assert whole.ledger() == halves.ledger()
    for account in ACCOUNTS:
        assert whole.realised(account) == halves.realised(account)
        assert whole.funding(account) == halves.funding(account)
        assert whole.snapshot(account, T0) == halves.snapshot(account, T0)


@given(journeys, quantities, marks)
def test_a_bound_is_kept_and_what_it_keeps_out_is_not_filled(
    journey: list[Step], quantity: Quantity, bound: Price
) -> None:
    """The fill is no worse than the bound, no larger than asked, and the order is over."""
    machine = exchange()
    for step in journey:
        take(machine, step)
    for symbol, held in positions(machine, ALICE).items():
        if symbol not in positions(machine, ALICE):
            continue  # its cross book was liquidated when another of it was closed
        unbounded = PaperMachine.from_json(machine.to_json())
        close = ClosePosition(symbol, held.side, quantity, NoWorseThan(bound))
        filled = filled_by(machine, close)
        if isinstance(filled, Fill):
            assert 0 < filled.quantity <= min(quantity, held.quantity)
            assert held.side.sign * (filled.price - bound) >= 0
            at_market = filled_by(unbounded, replace(close, bound=AT_MARKET))
            assert isinstance(at_market, Fill)
            assert at_market.quantity == min(quantity, held.quantity)
            assert held.side.sign * (filled.price - at_market.price) >= 0


def filled_by(machine: PaperMachine, close: ClosePosition) -> Filled:
    """What a close of Alice's now gets; the order is over then."""
    client_id = f"bounded-{close.symbol}"
    assert machine.handle(ALICE, close, client_id, machine.at_ms) == Accepted()
    order = machine.order(ALICE, close.symbol, client_id)
    assert isinstance(order, OrderFound)
    assert not order.resting
    return order.filled
