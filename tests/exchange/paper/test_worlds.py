"""Whatever kind of exchange it is and whatever is done on it: money, safety and the store hold."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import AT_MARKET, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.model import ContractKind, HedgeRequirement, MarginMode, PositionMode, Side
from bot.core.units import Money, Price, Quantity, Ratio, floor_to
from bot.exchange.paper.books import CollateralTaken, Pledge, PositionStep, Resting
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
from bot.exchange.paper.orders import (
    CloseAll,
    Conditional,
    Direction,
    Effect,
    Limit,
    Order,
    Passage,
    RestingLimit,
    TimeInForce,
    Trigger,
    TriggerBy,
    has_passed,
)
from bot.exchange.paper.prices import FundingTerm
from bot.exchange.paper.way import price_of
from bot.exchange.ports import OrderFound
from tests.exchange.paper.build import (
    ALICE,
    BOB,
    BTC,
    ETH,
    MARK,
    MARK_WITH_FEE,
    T0,
    THREE_TIERS,
    D,
    contract,
    prices,
    tiers,
    total,
)

ACCOUNTS, SYMBOLS = (ALICE, BOB), (BTC, ETH)
IN_COINS = tiers(("0.3", "0.004", "125"), ("1", "0.01", "50"), last=("0.05", "10"))
SMALL_SHARES = replace(HYPERLIQUID, reduction=ShareFirst(Ratio(D("0.3")), Money(D("0.1")), 3_000))
START = D(50_000)


@dataclass(frozen=True)
class World:
    """What kind of exchange, and which rules."""

    kind: ContractKind
    mode: PositionMode
    requirement: HedgeRequirement
    ladder: Ladder
    resting: Resting

    def unit(self, dollars: int) -> Quantity:
        """A quantity worth about that many dollars."""
        if self.kind is ContractKind.INVERSE:
            return Quantity(D(dollars))
        return Quantity(floor_to(dollars / START, D("0.001")) or D("0.001"))

    def money(self, dollars: int) -> Money:
        """An amount of the settle currency worth about that many dollars."""
        if self.kind is ContractKind.INVERSE:
            return Money(round(dollars / START, 8))
        return Money(D(dollars))


worlds = st.builds(
    World,
    st.sampled_from(ContractKind),
    st.sampled_from(PositionMode),
    st.sampled_from(HedgeRequirement),
    st.sampled_from([GATE, BINANCE, OKX, HYPERLIQUID, SMALL_SHARES, WHOLE]),
    st.sampled_from(Resting),
)

Step = Callable[[World, PaperMachine], None]
dollars = st.integers(50, 60_000)
accounts, symbols, sides = map(st.sampled_from, (ACCOUNTS, SYMBOLS, list(Side)))
percents = st.integers(-16, 16)


def exchange(world: World) -> PaperMachine:
    """Two accounts with money, a little in the fund, and both sides of both contracts open."""
    linear = world.kind is ContractKind.LINEAR
    table = THREE_TIERS if linear else IN_COINS
    machine = PaperMachine(
        [
            contract(
                symbol,
                rules=replace(rules, hedge_requirement=world.requirement),
                table=table,
                taker_fee="0.0006",
                kind=world.kind,
            )
            for symbol, rules in ((BTC, MARK_WITH_FEE), (ETH, MARK))
        ],
        Ratio(D("0.001")),
        ladder=world.ladder,
        pledges=[Pledge("BTC", Ratio(D("0.9")), BTC)] if linear else [],
    )
    machine.endow(world.money(70))
    machine.resting = world.resting
    machine.move(T0, {BTC: prices(START), ETH: prices(START)})
    for account in ACCOUNTS:
        machine.deposit(account, world.money(9_000))
        if world.mode is PositionMode.HEDGE:
            machine.set_position_mode(account, world.mode, T0)
        if linear:
            machine.deposit_coin(account, "BTC", D("0.03"))
    for number, account in enumerate(ACCOUNTS):
        side, other = list(Side)[number], list(Side)[1 - number]
        open_one(account, BTC, side, 30_000, 20, MarginMode.ISOLATED)(world, machine)
        open_one(account, ETH, side, 80_000, 45, MarginMode.CROSS)(world, machine)
        if world.mode is PositionMode.HEDGE:
            open_one(account, ETH, other, 25_000, 45, MarginMode.CROSS)(world, machine)
    return machine


def open_one(
    account: str, symbol: str, side: Side, size: int, leverage: int, mode: MarginMode
) -> Step:
    def step(world: World, machine: PaperMachine) -> None:
        # Refused with the reason where the rules or the wallet forbid it; nothing has changed.
        with suppress(ValueError):
            machine.open_position(
                account,
                symbol,
                side,
                quantity=world.unit(size),
                leverage=D(leverage),
                at_ms=machine.at_ms,
                entry_fee=Ratio(D("0.0006")),
                margin_mode=mode,
            )

    return step


def move(by: dict[str, tuple[int, int]]) -> Step:
    """Mark so many percent from the start, last above it and the index as much below."""

    def step(_: World, machine: PaperMachine) -> None:
        to = {
            symbol: replace(
                prices(START * (100 + mark) / 100, START * (100 + mark + away) / 100),
                index=Price(START * (100 + mark - away) / 100),
            )
            for symbol, (mark, away) in by.items()
        }
        machine.move(machine.at_ms + 1_000, to)

    return step


def bill(symbol: str, thousandths: int) -> Step:
    def step(_: World, machine: PaperMachine) -> None:
        rate, at_ms = Ratio(D(thousandths) / 1_000), machine.at_ms
        machine.announce(FundingTerm(at_ms, symbol, rate, at_ms + 500, 500))

    return step


def ask(account: str, symbol: str, side: Side, size: int, what: int, client: int) -> Step:
    def step(world: World, machine: PaperMachine) -> None:
        at_ms, name = machine.at_ms, f"id-{client}"
        mark = machine.quotes[symbol].mark
        trigger = Price(floor_to(mark * (1 - side.sign * D(size) / 900_000), D("0.01")))
        match what:
            case 0:
                action = AddMargin(symbol, side, Money(floor_to(world.money(size), D("0.01"))))
                machine.handle(account, action, name, at_ms)
            case 1:
                stop = PlaceStop(symbol, side, world.unit(size), trigger)
                machine.handle(account, stop, name, at_ms)
            case 2:
                machine.handle(account, CancelStop(symbol, side, name), name, at_ms)
            case 3:
                close = ClosePosition(symbol, side, world.unit(size))
                machine.handle(account, close, name, at_ms)
            case 4:
                machine.set_leverage(account, symbol, D(1 + size % 60), at_ms)
            case _:
                machine.withdraw(account, world.money(size // 20), at_ms)

    return step


def order(
    account: str,
    symbol: str,
    *,
    direction: Direction,
    effect: Effect,
    size: int,
    away: int,
    waits: TimeInForce | None,
    client: int,
) -> Step:
    """An order at market, or at a limit so many thousandths of the mark price from it."""

    def step(world: World, machine: PaperMachine) -> None:
        mark = machine.quotes[symbol].mark
        limit = Price(floor_to(mark * (1_000 + away) / 1_000, D("0.01")))
        pricing = AT_MARKET if waits is None else Limit(limit, waits)
        asked = Order(symbol, direction, effect, world.unit(size), pricing)
        machine.place(account, asked, f"id-{client}", machine.at_ms)

    return step


def conditional(
    account: str,
    symbol: str,
    *,
    direction: Direction,
    sends: Effect | None,
    size: int,
    by: TriggerBy,
    passage: Passage,
    limited: bool,
    client: int,
) -> Step:
    """One that waits on its side of the present price, for all of a position where unspecified."""

    def step(world: World, machine: PaperMachine) -> None:
        quote = machine.quotes[symbol]
        way = -1 if passage is Passage.FALLS else 1
        price = floor_to(price_of(quote, by) * (1 + way * D(size) / 900_000), D("0.01"))
        trigger = Trigger(Price(price), by, passage)
        asked: Order | CloseAll = CloseAll(symbol, direction)
        if sends is not None:
            # Such a limit is a little worse than the trigger, or already out of reach.
            limit = Price(floor_to(price * (D(1) + D(client - 10) / 1_000), D("0.01")))
            pricing = Limit(limit, TimeInForce.GTC) if limited else AT_MARKET
            asked = Order(symbol, direction, sends, world.unit(size), pricing)
        machine.place_conditional(account, trigger, asked, f"id-{client}", machine.at_ms)

    return step


def switch(account: str, symbol: str, mode: MarginMode, what: int, client: int) -> Step:
    def step(_: World, machine: PaperMachine) -> None:
        match what:
            case 0:
                machine.set_margin_mode(account, symbol, mode, machine.at_ms)
            case 1:
                counts = mode is MarginMode.CROSS
                machine.set_multi_assets(account, counts, machine.at_ms)
            case _:
                machine.cancel(account, f"id-{client}", machine.at_ms)

    return step


def delist(symbol: str, percent: int, chance: int) -> Step:
    """Seldom: after it not much is left to happen."""

    def step(_: World, machine: PaperMachine) -> None:
        if symbol in machine.listed and chance == 0:
            machine.delist(symbol, Price(START * (100 + percent) / 100), machine.at_ms)

    return step


opens = st.builds(
    open_one, accounts, symbols, sides, dollars, st.integers(2, 60), st.sampled_from(MarginMode)
)
moves = st.builds(
    move, st.dictionaries(symbols, st.tuples(percents, st.integers(-3, 3)), min_size=1)
)
bills = st.builds(bill, symbols, st.integers(-30, 30))
asks = st.builds(ask, accounts, symbols, sides, dollars, st.integers(0, 5), st.integers(0, 20))
clients, directions = st.integers(0, 20), st.sampled_from(Direction)
orders = st.builds(
    order,
    accounts,
    symbols,
    direction=directions,
    effect=st.sampled_from(Effect),
    size=dollars,
    away=st.integers(-60, 60),
    waits=st.sampled_from([None, *TimeInForce]),
    client=clients,
)
conditionals = st.builds(
    conditional,
    accounts,
    symbols,
    direction=directions,
    sends=st.sampled_from([None, *Effect]),
    size=dollars,
    by=st.sampled_from(TriggerBy),
    passage=st.sampled_from(Passage),
    limited=st.booleans(),
    client=clients,
)
switches = st.builds(
    switch, accounts, symbols, st.sampled_from(MarginMode), st.integers(0, 2), clients
)
ends = st.builds(delist, symbols, percents, st.integers(0, 9))
journeys = st.lists(
    st.one_of(
        moves,
        asks,
        moves,
        opens,
        bills,
        orders,
        moves,
        conditionals,
        switches,
        orders,
        conditionals,
        ends,
    ),
    min_size=1,
    max_size=40,
)


@given(worlds, journeys)
def test_no_money_is_made_or_lost_and_nobody_owes(world: World, journey: list[Step]) -> None:
    """
    To the last digit, and the fund is never below zero.

    What an account has, with its coins and profits, is never below zero: what it cannot pay the
    fund does, or whoever is deleveraged.
    """
    machine = exchange(world)
    for step in journey:
        step(world, machine)
        ledger = machine.ledger()
        assert total(machine) == ledger.deposited
        assert ledger.insurance_fund >= 0
        for coin in ledger.coins.values():
            assert 0 <= coin.held <= coin.deposited
        for account in ACCOUNTS:
            assert machine.equity(account) >= 0
            snapshot = machine.snapshot(account, machine.at_ms)
            assert 0 <= snapshot.free <= max(snapshot.wallet_balance, D(0))
    told = machine.to_json()
    assert PaperMachine.from_json(told).to_json() == told


@given(worlds, journeys)
def test_nothing_that_a_price_has_reached_waits(world: World, journey: list[Step]) -> None:
    """And every order that waits is known as such, every other is over."""
    machine = exchange(world)
    for step in journey:
        step(world, machine)
        quotes = machine.quotes
        for account in ACCOUNTS:
            waiting = machine.open_orders(account)
            for each in waiting:
                match each:
                    case Conditional(_, at, sends):
                        price = price_of(quotes[sends.symbol], at.by)
                        assert not has_passed(at.passage, price, at.price)
                    case RestingLimit(_, left, _, level):
                        last = quotes[left.symbol].last
                        is_buy = left.direction is Direction.BUY
                        assert last > level if is_buy else last < level
                        assert left.quantity > 0
            names = {each.client_id for each in waiting}
            for number in range(21):
                for symbol in SYMBOLS:
                    found = machine.order(account, symbol, f"id-{number}")
                    if isinstance(found, OrderFound):
                        assert found.resting is (f"id-{number}" in names)


@given(worlds, journeys)
def test_the_record_explains_every_change_of_money(world: World, journey: list[Step]) -> None:
    """
    Wallet and margins change by what was realised, paid as funding, and got for coins.

    Entry fees and withdrawals apart, which the ledger knows.
    """
    machine = exchange(world)

    def money() -> Decimal:
        ledger = machine.ledger()
        return ledger.wallets + ledger.margins

    def explained() -> Decimal:
        """Closing fees are an account's loss by its record, and the exchange's by its ledger."""
        ledger, known = machine.ledger(), D(0)
        for account in ACCOUNTS:
            for each in machine.realised(account):
                known += each.profit - each.fee + each.shortfall
            known -= sum((each.amount for each in machine.funding(account)), D(0))
            for step in machine.liquidation(account):
                if isinstance(step, CollateralTaken):
                    known += step.received
        closing = sum(
            (each.fee for account in ACCOUNTS for each in machine.realised(account)), D(0)
        )
        clearance = sum(
            (
                step.fee
                for account in ACCOUNTS
                for step in machine.liquidation(account)
                if isinstance(step, PositionStep)
            ),
            D(0),
        )
        entry = ledger.fees - (closing - clearance)
        return known - entry + ledger.deposited

    apart = money() - explained()
    for step in journey:
        step(world, machine)
        assert money() - explained() == apart


@given(worlds, journeys, st.tuples(percents, percents))
def test_the_order_of_symbols_changes_nothing(
    world: World, journey: list[Step], to: tuple[int, int]
) -> None:
    one, other = exchange(world), exchange(world)
    for machine in (one, other):
        for step in journey:
            step(world, machine)
    there = {
        symbol: prices(START * (100 + percent) / 100)
        for symbol, percent in zip(SYMBOLS, to, strict=True)
    }
    one.move(one.at_ms + 1_000, there)
    other.move(other.at_ms + 1_000, dict(reversed(there.items())))
    assert one.to_json() == other.to_json()
    assert one.take_notices() == other.take_notices()
