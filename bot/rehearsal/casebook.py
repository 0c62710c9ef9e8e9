"""
The casebook: a user's policy tests lived through, closed loop, on the paper exchange.

What the guard does really changes the account: a top-up moves liquidation away, a close realises
its loss. Expectations are compared with the journal and with what the exchange holds.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal
from heapq import merge
from random import Random
from typing import assert_never

from bot.clock import Clock
from bot.core.events import BarsReported, Tick
from bot.core.margin import value
from bot.core.model import BAR_MS, AccountSnapshot, Instrument, MarginMode, PositionMode
from bot.core.policy import Policy
from bot.core.units import ZERO, Money, Price
from bot.exchange.paper.faults import FaultPlan, Faults, ReplyLost, RequestLost, Travels, Trip
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Charts, FundingTerm, PathItem, PricePoint, Prices
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.venue import PaperAccount, PaperMarket, PaperVenue
from bot.exchange.ports import Quoted
from bot.journal.sqlite import SqliteJournal
from bot.policy.casefile import (
    AtLeverage,
    Case,
    CaseFile,
    Fault,
    Given,
    NoData,
    OwnMargin,
)
from bot.rehearsal.charts import drawn_charts
from bot.rehearsal.claims import Failure, Lived, compare, read_life, steps_of
from bot.rehearsal.loop import run_virtual
from bot.rehearsal.setups import SLIPPAGE
from bot.runtime.assemble import StartRefused, assemble
from bot.runtime.guard import Guard

BEGINS_MS = 1_600_000_000_000
"""The moment that a case calls 0s, and means nothing else."""

ACCOUNT = "case"
AFTERWARDS_MS = 1_000
"""The prices stand still so long after the end, for requests under way to arrive."""

_UP = Context(prec=28, rounding=ROUND_UP)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one case. `fired` names the steps that fired in it."""

    case: Case
    failures: tuple[Failure, ...]
    fired: frozenset[str]


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of the cases of one policy. `untried` names the steps that fired in none."""

    cases: CaseFile
    verdicts: tuple[Verdict, ...]
    untried: tuple[str, ...]


def try_policy(
    cases: CaseFile,
    policy: Policy,
    instruments: Mapping[str, Instrument],
    wanted: re.Pattern[str],
) -> Trial:
    """Live through the cases whose names match `wanted`."""
    verdicts = tuple(
        try_case(case, policy, instruments) for case in cases.cases if wanted.search(case.name)
    )
    fired = frozenset[str]().union(*(verdict.fired for verdict in verdicts))
    steps = (f"{rule.name}/{step.name}" for rule in policy.rules for step in rule.steps)
    return Trial(cases, verdicts, tuple(step for step in steps if step not in fired))


def try_case(case: Case, policy: Policy, instruments: Mapping[str, Instrument]) -> Verdict:
    """Live through `case` under `policy` and compare. `instruments` are those of its symbols."""
    try:
        lived = run_virtual(_live(case, policy, instruments))
    except (StartRefused, ValueError) as e:
        failure = Failure(case.line, 0, "start", "a guarded account", "refused", str(e))
        return Verdict(case, (failure,), frozenset())
    failures: list[Failure] = []
    since_ms = -BEGINS_MS  # the guard starts a moment before the case
    for expectation in case.expectations:
        failures.extend(compare(expectation, lived, since_ms))
        if expectation.actions:
            since_ms = expectation.at_ms
    fired = {
        step.reason
        for recorded in lived.decisions
        for step in steps_of(recorded)
        if step.phase == "firing"
    }
    return Verdict(case, tuple(failures), frozenset(fired))


# -- living -------------------------------------------------------------------------------------


async def _live(case: Case, policy: Policy, instruments: Mapping[str, Instrument]) -> Lived:
    machine = PaperMachine([instruments[symbol] for symbol in case.prices], SLIPPAGE)
    _open(case, machine, policy.position_mode)
    clock = Clock(BEGINS_MS)
    journal = SqliteJournal.open(None, policy.account)
    venue = PaperVenue(
        machine,
        _path(case),
        clock,
        latency_ms=case.latency_ms,
        store=MemoryOnly(),
        faults=_CaseFaults(case.faults, clock),
    )
    samples: dict[int, AccountSnapshot] = {}

    async def sample() -> None:
        for expectation in case.expectations:
            # One more millisecond, so that what happens at the moment itself is seen.
            await clock.sleep_until_ms(BEGINS_MS + expectation.at_ms + 1)
            samples[expectation.at_ms] = venue.at_now(
                lambda machine, at_ms: machine.snapshot(ACCOUNT, at_ms)
            )

    async with venue:
        market = _GappyMarket(PaperMarket(venue, _charts(case)), case, clock)
        guard = await assemble(policy, market, PaperAccount(venue, ACCOUNT), clock, journal)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(guard.run())
            sampling = tasks.create_task(sample())
            ticking = tasks.create_task(_tick(case, guard, clock))
            await venue.run()
            await sampling
            await ticking
            guard.stop()
    lived = await read_life(journal, policy, machine.realised(ACCOUNT), samples, BEGINS_MS)
    await journal.close()
    return lived


async def _tick(case: Case, guard: Guard, clock: Clock) -> None:
    """Let the guard look at every sample at which a price feed is silent."""
    for index in range(max(len(series) for series in case.prices.values())):
        silent = [
            symbol
            for symbol, series in case.prices.items()
            if index < len(series) and isinstance(series[index], NoData)
        ]
        if silent:
            await clock.sleep_until_ms(BEGINS_MS + index * case.interval_ms)
            guard.tell(Tick(clock.now_ms()))


def _open(case: Case, machine: PaperMachine, mode: PositionMode) -> None:
    """Open the given positions at their entry prices; the prices of the case come after."""
    entries = {given.symbol: given.entry_price for given in case.positions}
    first = {symbol: _price(series[0]) for symbol, series in case.prices.items()}
    at_entry = {**first, **entries}
    begun_ms = BEGINS_MS - 1
    machine.move(begun_ms, {symbol: Prices(at, at) for symbol, at in at_entry.items()})
    worths = [
        value(machine.instruments[given.symbol], given.quantity, given.entry_price)
        for given in case.positions
    ]
    bound = list(zip(case.positions, worths, strict=True))
    margins = sum((_initial_margin(given, worth) for given, worth in bound), ZERO)
    own = sum((_own_margin(given, worth) for given, worth in bound), ZERO)
    # A cross position needs its initial margin free to be opened; the wallet is what it is.
    machine.deposit(ACCOUNT, Money(own + max(case.wallet, margins - own)))
    if mode is PositionMode.HEDGE:
        machine.set_position_mode(ACCOUNT, mode, begun_ms)
    for given, worth in bound:
        machine.open_position(
            ACCOUNT,
            given.symbol,
            given.side,
            quantity=given.quantity,
            leverage=_leverage(given, worth),
            margin_mode=given.margin_mode,
            at_ms=begun_ms,
        )


def _price(sample: Price | NoData) -> Price:
    if isinstance(sample, NoData):
        raise AssertionError("the reader has seen to it that a series begins with a price")  # noqa: TRY004
    return sample


def _leverage(given: Given, worth: Decimal) -> Decimal:
    """The leverage at which the initial margin of what is worth so much is the margin given."""
    match given.backing:
        case AtLeverage(leverage):
            return leverage
        case OwnMargin(margin):
            return _UP.divide(worth, margin)
    assert_never(given.backing)


def _initial_margin(given: Given, worth: Decimal) -> Decimal:
    match given.backing:
        case AtLeverage(leverage):
            exact = _UP.divide(worth, leverage)
            return exact.quantize(Decimal("0.00000001"), ROUND_UP)
        case OwnMargin(margin):
            return margin
    assert_never(given.backing)


def _own_margin(given: Given, worth: Decimal) -> Decimal:
    isolated = given.margin_mode is MarginMode.ISOLATED
    return _initial_margin(given, worth) if isolated else ZERO


def _path(case: Case) -> Iterator[PathItem]:
    lines = [_points(case, symbol) for symbol in case.prices]
    bills = [_terms(case, symbol) for symbol in case.funding]
    return merge(*lines, *bills, key=lambda item: item.at_ms)


def _points(case: Case, symbol: str) -> Iterator[PathItem]:
    series, lasts = case.prices[symbol], case.last_prices.get(symbol, ())
    newest = _price(series[0])
    for index, sample in enumerate(series):
        if isinstance(sample, NoData):
            continue
        newest = sample
        last = lasts[index] if index < len(lasts) else sample
        at_ms = BEGINS_MS + index * case.interval_ms
        yield PricePoint(at_ms, symbol, sample, sample if isinstance(last, NoData) else last)
    yield PricePoint(BEGINS_MS + case.duration_ms + AFTERWARDS_MS, symbol, newest, newest)


def _charts(case: Case) -> Charts:
    """What the case says of the hours before it, and its own hours."""
    return drawn_charts(
        {symbol: [*_history(case, symbol), *_met(case, symbol)] for symbol in case.prices}
    )


def _history(case: Case, symbol: str) -> Iterator[tuple[int, Price]]:
    """One price an hour, the last of them in the hour before the case begins."""
    history = case.history.get(symbol, ())
    for index, price in enumerate(history):
        yield BEGINS_MS - (len(history) - index) * BAR_MS, price


def _met(case: Case, symbol: str) -> Iterator[tuple[int, Price]]:
    for index, sample in enumerate(case.prices[symbol]):
        if not isinstance(sample, NoData):
            yield BEGINS_MS + index * case.interval_ms, sample


def _terms(case: Case, symbol: str) -> Iterator[PathItem]:
    plan = case.funding[symbol]
    at_ms, next_ms = BEGINS_MS, BEGINS_MS + plan.first_ms
    while at_ms < BEGINS_MS + case.duration_ms:
        yield FundingTerm(at_ms, symbol, plan.rate, next_ms, plan.interval_ms)
        at_ms, next_ms = next_ms, next_ms + plan.interval_ms


class _CaseFaults(Faults):
    """What goes wrong at the times that the case says, and at no other."""

    def __init__(self, faults: tuple[Fault, ...], clock: Clock) -> None:
        super().__init__(FaultPlan(), Random(0))  # noqa: S311 - never drawn from
        self._faults, self._clock = faults, clock

    def request(self) -> Trip:
        """The fate of one write."""
        if self._is_on("writes_lost"):
            return RequestLost()
        return ReplyLost() if self._is_on("writes_unknown") else Travels(0, 0)

    def read(self) -> Trip:
        """The fate of one read."""
        return RequestLost() if self._is_on("reads_lost") else Travels(0, 0)

    def stops_refused(self, at_ms: int) -> bool:
        """Whether the stop endpoint refuses."""
        return self._is_on("stops_refused")

    def _is_on(self, name: str) -> bool:
        passed_ms = self._clock.now_ms() - BEGINS_MS
        return any(
            fault.name == name and fault.from_ms <= passed_ms < fault.until_ms
            for fault in self._faults
        )


class _GappyMarket:
    """The market's public side, silent about a symbol where its series has no data."""

    def __init__(self, market: PaperMarket, case: Case, clock: Clock) -> None:
        self._market, self._case, self._clock = market, case, clock

    async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
        """Rules of the named symbols."""
        return await self._market.instruments(symbols)

    def latest(self) -> tuple[Quoted, ...]:
        """The newest of each symbol that is not silent now."""
        return tuple(each for each in self._market.latest() if not self._is_silent(each.symbol))

    async def bars(self, symbol: str) -> BarsReported:
        """The newest closed bars; a feed that is silent about prices still has those."""
        return await self._market.bars(symbol)

    async def stream(self, publish: Callable[[Quoted], None]) -> None:
        """Publish what comes while its symbol is not silent."""

        def pass_on(quoted: Quoted) -> None:
            if not self._is_silent(quoted.symbol):
                publish(quoted)

        await self._market.stream(pass_on)

    def _is_silent(self, symbol: str) -> bool:
        index = (self._clock.now_ms() - BEGINS_MS) // self._case.interval_ms
        series = self._case.prices[symbol]
        return 0 <= index < len(series) and isinstance(series[index], NoData)
