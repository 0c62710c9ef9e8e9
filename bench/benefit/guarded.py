"""
Guarded runs, fast: where nothing can happen the guard is not there.

The guard, its exchange and its journal are those of `liqguard replay`. Where all mark prices stay
clear of every threshold and stop for hours the guard is stopped, as a process is; the exchange
lives on through prices and bills; and before the next danger the guard starts again from its
journal. `tests/bench` holds such runs to whole ones.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

from bot.clock import Clock
from bot.core.cross import Book, Leg, spare
from bot.core.model import MarginMode, NotReported, Position, Reported, Side, StopOrder
from bot.core.policy import Above, Below, Metric, Policy
from bot.core.protection import distance_at_stop
from bot.core.strategy import Severity
from bot.core.units import ONE, ZERO, Price, Ratio
from bot.exchange.paper.faults import FaultPlan, Faults
from bot.exchange.paper.prices import FundingTerm, PathItem, Prices
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.venue import PaperAccount, PaperMarket, PaperVenue
from bot.journal.port import Journal
from bot.journal.sqlite import SqliteJournal
from bot.rehearsal.bars import Bar, FundingSettled, Ohlc
from bot.rehearsal.deeds import Deed, read_deeds
from bot.rehearsal.fates import ACCOUNT, Fate, Observed, nobody
from bot.rehearsal.loop import run_virtual
from bot.rehearsal.path import book_path, funding_terms, in_common
from bot.rehearsal.runs import REPLY_SLACK_MS
from bot.rehearsal.setups import Setup, open_account
from bot.runtime.assemble import assemble

QUIET_MS = 15 * 60_000
"""The guard leaves after so long with nothing near: every episode is over by then."""

AHEAD_MS = 2 * 3_600_000
"""The guard leaves where nothing comes near for so long."""

BEFORE_MS = 5 * 60_000
"""The guard is back so long before something comes near."""

BILL_MS = 15 * 60_000
"""The guard is back so long before a bill that matters."""

DEAR_SHARE = Decimal("0.8")
"""A bill comes near a threshold from this share of it on: until then prices may move."""

FLAT_FOR_MS = 120_000
"""A run ends when the account has been flat for so long."""

NEVER = 10**9

_FAR = {Side.LONG: Price(Decimal("1e-15")), Side.SHORT: Price(Decimal("1e15"))}


@dataclass(frozen=True, slots=True)
class Guarded:
    """What became of the account, and what was done for it."""

    fate: Fate
    deeds: tuple[Deed, ...]


def run_guarded_fast(setup: Setup, policy: Policy) -> Guarded:
    """The guarded run of `setup`, whose bars all have one interval."""
    return run_virtual(_Run(setup, policy).whole())


class _Run:
    """An account, its exchange and the bars that it lives through."""

    def __init__(self, setup: Setup, policy: Policy) -> None:
        self._legs = in_common([each.bars for each in setup.openings], setup.entry_at_ms)
        (self._interval_ms,) = {bars.interval_ms for bars in self._legs}
        self._sides = [opening.side for opening in setup.openings]
        self._opens = [row.open_at_ms for row in self._legs[0].rows]
        self._terms: dict[int, list[FundingTerm]] = {}
        for bars in self._legs:
            for term in funding_terms(bars):
                self._terms.setdefault(term.at_ms, []).append(term)
        self._rows = {bars.symbol: bars.rows for bars in self._legs}
        self._setup, self._policy = setup, policy
        self._machine = Observed(setup, nobody)
        self._near = {mode: _near(policy, mode) for mode in MarginMode}
        self._dear = {mode: _dear(policy, mode) for mode in MarginMode}
        self._at = 0
        """The bar at whose open the exchange was last."""

    async def whole(self) -> Guarded:
        """Guard from the first bar on, and be away wherever nothing can happen."""
        machine = self._machine
        open_account(self._setup, machine, ACCOUNT)
        journal = SqliteJournal.open(None, self._policy.account)
        clock = Clock(machine.at_ms)
        while self._at < len(self._opens):
            await self._guard(clock, journal)
            if machine.is_open and self._at < len(self._opens):
                self._leap()
                await clock.sleep_until_ms(machine.at_ms)
        deeds = await read_deeds(journal, machine.realised(ACCOUNT))
        await journal.close()
        return Guarded(machine.fate(), deeds)

    async def _guard(self, clock: Clock, journal: Journal) -> None:
        machine, setup = self._machine, self._setup
        plan = FaultPlan()
        waits_ms = max(plan.timeout_ms, 2 * setup.one_way_ms + REPLY_SLACK_MS)
        venue = PaperVenue(
            machine,
            self._until_quiet(),
            clock,
            latency_ms=setup.one_way_ms,
            store=MemoryOnly(),
            faults=Faults(replace(plan, timeout_ms=waits_ms), Random(0)),  # noqa: S311 - not drawn
        )
        async with venue:
            market, account = PaperMarket(venue), PaperAccount(venue, ACCOUNT)
            guard = await assemble(self._policy, market, account, clock, journal)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(guard.run())
                await venue.run()
                guard.stop()

    def _until_quiet(self) -> Iterator[PathItem]:
        """The path from the present bar on, until the guard may leave or nothing is left."""
        machine = self._machine
        legs = [replace(bars, rows=bars.rows[self._at :]) for bars in self._legs]
        indices = {at_ms: index for index, at_ms in enumerate(self._opens)}
        # The first time it only places stops; later it was called for a reason.
        near_ms = self._opens[self._at] if self._at else -QUIET_MS
        path = book_path(zip(legs, self._sides, strict=True), self._setup.step, funding=True)
        seen_ms = -1
        for item in path:
            if seen_ms in indices and seen_ms < item.at_ms and machine.is_open:
                # Every symbol is at the open of its bar.
                self._at = indices[seen_ms]
                ahead = self._next_near(self._at + AHEAD_MS // self._interval_ms + 1)
                if ahead == self._at:
                    near_ms = seen_ms + self._interval_ms
                if self._at and ahead == NEVER and seen_ms - near_ms >= QUIET_MS:
                    return
            if not machine.is_open and item.at_ms - machine.open_at_ms > FLAT_FOR_MS:
                break
            yield item
            seen_ms = item.at_ms
        self._at = len(self._opens)

    def _leap(self) -> None:
        """Live through bills without the guard, to shortly before something comes near."""
        ends = len(self._opens)
        while True:
            back = self._next_near(ends) - BEFORE_MS // self._interval_ms - 1
            ahead = next(
                (
                    index
                    for index in range(self._at + 1, min(back, ends))
                    if self._opens[index] in self._terms
                ),
                max(back, self._at),
            )
            if ahead >= ends:
                self._move(
                    self._opens[-1] + self._interval_ms - 1,
                    {
                        symbol: Prices(rows[-1].mark.close, rows[-1].last.close)
                        for symbol, rows in self._rows.items()
                    },
                )
                self._at = ends
                return
            if ahead > self._at:
                self._at = ahead
                self._move(
                    self._opens[ahead],
                    {
                        symbol: Prices(rows[ahead].mark.open, rows[ahead].last.open)
                        for symbol, rows in self._rows.items()
                    },
                )
            if ahead >= back:
                return

    def _move(self, at_ms: int, prices: dict[str, Prices]) -> None:
        self._machine.move(at_ms, prices)
        for term in self._terms.get(at_ms, ()):
            self._machine.announce(term)

    def _next_near(self, end: int) -> int:
        """The next bar in which a mark or a bill comes near, before `end`; or NEVER."""
        snapshot = self._machine.snapshot(ACCOUNT, self._machine.at_ms)
        alone = [
            (self._rows[each.symbol], each.side, self._level(each, snapshot.stops))
            for each in snapshot.positions
        ]
        cross = [each for each in snapshot.positions if each.margin_mode is MarginMode.CROSS]
        dear = [
            (self._rows[each.symbol], each.side.sign, self._dear_rate(each))
            for each in snapshot.positions
        ]
        for index in range(self._at, min(end, len(self._opens))):
            for rows, side, level in alone:
                if side.sign * (_worst(rows[index].mark, side) - level) <= ZERO:
                    return index
            if cross:
                book = Book(
                    snapshot.wallet_balance, tuple(self._leg(each, index) for each in cross)
                )
                stops = [distance_at_stop(self._policy.protect, leg) for leg in book.legs]
                if spare(book, max(self._near[MarginMode.CROSS], *stops)) <= ZERO:
                    return index
            if index > self._at and any(
                _is_dear(rows[index], sign, rate) for rows, sign, rate in dear
            ):
                return max(self._at, index - BILL_MS // self._interval_ms - 1)
        return NEVER

    def _level(self, position: Position, stops: Sequence[StopOrder]) -> Price:
        """The mark from which on the position's stop or a step of its own may have to act."""
        sign = position.side.sign
        levels = [stop.trigger_price for stop in stops if stop.symbol == position.symbol]
        if position.margin_mode is MarginMode.ISOLATED:
            match position.liquidation:
                case Reported(price):
                    near = self._near[MarginMode.ISOLATED]
                    levels.append(Price(price / (ONE - sign * near)))
                case NotReported():
                    pass
        return max(levels, key=lambda price: sign * price, default=_FAR[position.side])

    def _leg(self, position: Position, index: int) -> Leg:
        mark = _worst(self._rows[position.symbol][index].mark, position.side)
        instrument = self._machine.instruments[position.symbol]
        beta = self._policy.stress.beta_of(position.symbol)
        return Leg(instrument, position, mark, beta)

    def _dear_rate(self, position: Position) -> Decimal:
        """The funding rate from which on a bill may have something done."""
        notional = position.quantity * position.entry_price
        is_isolated = position.margin_mode is MarginMode.ISOLATED
        margin = position.isolated_margin if is_isolated else notional / position.leverage
        return self._dear[position.margin_mode] * margin / notional


def _worst(mark: Ohlc, side: Side) -> Price:
    return mark.low if side is Side.LONG else mark.high


def _is_dear(row: Bar, sign: int, rate: Decimal) -> bool:
    return isinstance(row.funding, FundingSettled) and sign * row.funding.rate >= rate


def _near(policy: Policy, mode: MarginMode) -> Ratio:
    """The liquidation distance from which on something beyond an alert may be done."""
    near = policy.protect.floor
    for rule in policy.rules:
        if not rule.match.covers_mode(mode):
            continue
        for step in rule.steps:
            match rule.metric, step.threshold:
                case Metric.LIQUIDATION_DISTANCE, Below(value):
                    if step.severity is not Severity.ALERT:
                        near = max(near, Ratio(value + rule.hysteresis))
                case Metric.FUNDING_COST_INTERVAL, Above():
                    pass
                case _:
                    raise ValueError(f"{rule.name}: nobody knows where {rule.metric} comes near")
    return near


def _dear(policy: Policy, mode: MarginMode) -> Ratio:
    """The share of the margin from which on a bill may have something done."""
    return min(
        (
            Ratio(step.threshold.value * DEAR_SHARE)
            for rule in policy.rules
            if rule.match.covers_mode(mode) and rule.metric is Metric.FUNDING_COST_INTERVAL
            for step in rule.steps
            if step.severity is not Severity.ALERT
        ),
        default=Ratio(ONE),
    )
