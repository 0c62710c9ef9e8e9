"""
Rehearsals: the same recorded prices lived through twice from one start, without and with a guard.

Guarded runs use the very parts of a live account; time is virtual and the exchange is paper.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from bot.clock import Clock
from bot.core.actions import AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import Decision
from bot.core.events import OutcomeReported
from bot.core.guardrails import Denial
from bot.core.margin import liquidation_distance
from bot.core.model import Instrument, Reported, Side
from bot.core.policy import Policy
from bot.core.state import Intent
from bot.core.units import ONE, ZERO, Money, Price, Ratio
from bot.exchange.paper.books import Cause, Realised
from bot.exchange.paper.course import Course
from bot.exchange.paper.faults import no_faults
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import PricePoint, Prices
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.timeline import PathEnded
from bot.exchange.paper.venue import PaperAccount, PaperMarket, PaperVenue
from bot.journal.codec import from_json
from bot.journal.port import Journal, Kind
from bot.journal.sqlite import SqliteJournal
from bot.rehearsal.bars import Bars
from bot.rehearsal.loop import run_virtual
from bot.rehearsal.path import price_path
from bot.runtime.assemble import assemble
from bot.runtime.record import Recorded

SLIPPAGE = Ratio(Decimal("0.0005"))
STEP = Ratio(Decimal("0.001"))

FLAT_FOR_MS = 1_800_000
"""A rehearsal ends when the account has been flat for half an hour: nothing is left to happen."""


class SetupError(ValueError):
    """The position asked for cannot be opened on these prices. One line for the user."""


@dataclass(frozen=True, slots=True)
class Setup:
    """
    A position to rehearse with, opened at the open of the first bar at or after `entry_at_ms`.

    `margin` is the most that becomes its isolated margin, `reserve` the free money beside it.
    `latency_ms` is one way, `slippage` the share by which market orders fill worse than last,
    `step` how far a price moves between two points of the path.
    """

    bars: Bars
    instrument: Instrument
    side: Side
    leverage: Decimal
    margin: Money
    reserve: Money
    entry_at_ms: int
    latency_ms: int = 250
    slippage: Ratio = SLIPPAGE
    step: Ratio = STEP
    stops_refused: bool = False


@dataclass(frozen=True, slots=True)
class Alive:
    """The exchange did not take the position over."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """The exchange liquidated the position, when and at which bankruptcy price."""

    at_ms: int
    price: Price


@dataclass(frozen=True, slots=True)
class Fate:
    """
    How a run ended. `equity_final` = free money + margin + unrealised profit at mark.

    `distance_min` is the smallest liquidation distance seen while the position was open.
    """

    outcome: Alive | TakenOver
    equity_final: Money
    distance_min: Ratio


@dataclass(frozen=True, slots=True)
class Deed:
    """Something the guard did, or its stop did for it: what a trader reads in a report."""

    at_ms: int
    verb: str
    amount: Decimal
    price: Price | None
    reason: str
    proven: str


@dataclass(frozen=True, slots=True)
class Guarded:
    """A guarded run: how it ended, what was done, what was spent, and the journal's digest."""

    fate: Fate
    deeds: tuple[Deed, ...]
    spent: Money
    digest: str


ACCOUNT = "rehearsal"


def open_position(setup: Setup, machine: PaperMachine, account: str) -> Iterator[PricePoint]:
    """Open the position of `setup` on an empty `machine`, and the path from there on."""
    bars, symbol = setup.bars, setup.instrument.symbol
    rows = tuple(row for row in bars.rows if row.open_at_ms >= setup.entry_at_ms)
    if not rows:
        raise SetupError(f"entry: expected a time before the data ends, was {setup.entry_at_ms}")
    first = rows[0]
    machine.move(first.open_at_ms, {symbol: Prices(first.mark.open, first.last.open)})
    try:
        machine.deposit(account, Money(setup.margin + setup.reserve))
        machine.open_position(
            account,
            symbol,
            setup.side,
            quantity=machine.quantity_for(symbol, setup.margin, setup.leverage),
            leverage=setup.leverage,
            at_ms=first.open_at_ms,
        )
    except ValueError as e:
        raise SetupError(str(e)) from e
    return price_path(replace(bars, rows=rows), setup.side, setup.step)


def run_unguarded(setup: Setup) -> Fate:
    """Live through the prices with nobody watching."""
    machine = Observed([setup.instrument], setup.slippage, setup.stops_refused)
    course = Course(open_position(setup, machine, ACCOUNT), machine)
    while not isinstance(item := course.upcoming(), PathEnded):
        course.advance(item.at_ms)
        course.forget(item.at_ms)
        if machine.open_at_ms < item.at_ms:
            break  # flat: nothing is left to happen
    return machine.fate()


def _silent(at_ms: int) -> None:
    """Progress that nobody watches."""


def run_guarded(
    setup: Setup, policy: Policy, progress: Callable[[int], None] = _silent
) -> Guarded:
    """Live through the same prices with a guard; `progress` hears the time it has reached."""
    return run_virtual(_guarded(setup, policy, progress))


async def _guarded(setup: Setup, policy: Policy, progress: Callable[[int], None]) -> Guarded:
    machine = Observed([setup.instrument], setup.slippage, setup.stops_refused)
    path = open_position(setup, machine, ACCOUNT)
    clock = Clock(machine.at_ms)
    journal = SqliteJournal.open(None, policy.account)
    venue = PaperVenue(
        machine,
        _until_flat(machine, path, progress),
        clock,
        latency_ms=setup.latency_ms,
        store=MemoryOnly(),
        faults=no_faults(),
    )
    async with venue:
        guard = await assemble(
            policy,
            PaperMarket(venue),
            PaperAccount(venue, ACCOUNT),
            clock,
            journal,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(guard.run())
            await venue.run()
            guard.stop()
    deeds = await read_deeds(journal, machine.realised(ACCOUNT))
    spent = sum((deed.amount for deed in deeds if deed.verb == "top_up"), ZERO)
    rows = await journal.rows(0)
    await journal.close()
    return Guarded(machine.fate(), deeds, Money(spent), rows[-1].hash)


async def read_deeds(journal: Journal, realised: tuple[Realised, ...]) -> tuple[Deed, ...]:
    """What the journal says was done, with the fills that the exchange realised, in time order."""
    rows = await journal.rows(0)
    final = {
        moved.intent_id: moved
        for row in rows
        if row.entry.kind is Kind.INTENT
        for moved in (from_json(row.entry.body, OutcomeReported),)
    }
    deeds: list[Deed] = []
    for row in rows:
        if row.entry.kind is Kind.DECISION:
            decision = from_json(row.entry.body, Recorded).decision
            deeds.extend(_deed(approved.intent, decision, final) for approved in decision.approved)
    for fill in realised:
        if fill.cause is Cause.STOP:
            reason = "the resting stop triggered"
            deeds.append(
                Deed(fill.at_ms, "stop_filled", fill.quantity, fill.price, reason, "applied")
            )
    return tuple(sorted(deeds, key=lambda deed: deed.at_ms))


def _deed(intent: Intent, decision: Decision, final: dict[str, OutcomeReported]) -> Deed:
    verb, amount, price = _describe(intent.action)
    state = final[intent.id].state if intent.id in final else intent.state
    exhausted = [
        denied.limit
        for verdict in decision.positions
        if verdict.position.key == intent.key and not isinstance(intent.action, PlaceStop)
        for denied in verdict.denied
        if denied.kind is Denial.EXHAUSTED
    ]
    reason = " after ".join([intent.reason, *exhausted])
    return Deed(intent.planned_at_ms, verb, amount, price, reason, str(state))


def _describe(
    action: AddMargin | PlaceStop | CancelStop | ClosePosition,
) -> tuple[str, Decimal, Price | None]:
    match action:
        case AddMargin(amount=amount):
            return "top_up", amount, None
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            return "place_stop", quantity, trigger
        case CancelStop():
            return "cancel_stop", ZERO, None
        case ClosePosition(quantity=quantity):
            return "close", quantity, None


class Observed(PaperMachine):
    """A paper exchange that notes how near its account came to liquidation, at every price."""

    distance_min = Ratio(ONE)
    open_at_ms = 0

    def move(self, at_ms: int, prices: Mapping[str, Prices]) -> None:
        """Move, then look."""
        super().move(at_ms, prices)
        if ACCOUNT not in self.accounts:
            return
        for position in self.snapshot(ACCOUNT, at_ms).positions:
            self.open_at_ms = at_ms
            if isinstance(position.liquidation, Reported):
                mark = self.quotes[position.symbol].mark
                distance = liquidation_distance(position, mark, position.liquidation.price)
                self.distance_min = min(self.distance_min, distance)

    def fate(self) -> Fate:
        """How it ended, as far as the exchange has lived."""
        taken = [
            TakenOver(each.at_ms, each.price)
            for each in self.realised(ACCOUNT)
            if each.cause is Cause.LIQUIDATION
        ]
        return Fate(
            outcome=taken[0] if taken else Alive(),
            equity_final=self.equity(ACCOUNT),
            distance_min=Ratio(ZERO) if taken else self.distance_min,
        )


def _until_flat(
    machine: Observed, path: Iterator[PricePoint], progress: Callable[[int], None]
) -> Iterator[PricePoint]:
    """The points of `path` until nothing is left to happen."""
    for point in path:
        flat = not machine.snapshot(ACCOUNT, machine.at_ms).positions
        if flat and point.at_ms - machine.open_at_ms > FLAT_FOR_MS:
            return
        progress(point.at_ms)
        yield point
