"""
Crises with the guard and without it: who was liquidated, and whether that was anybody's fault.

A crisis is a seed of the simulation with all that goes wrong in it, but without its user: nobody
acts by hand, so that the same prices can be lived through by the same positions alone. What is
told is the exchange's; the guard's own log counts only for why it did not spend.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum

from bot.clock import Clock
from bot.exchange.paper.books import Cause as FillCause
from bot.exchange.paper.course import Course
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.store import MemoryOnly
from bot.journal.sqlite import SqliteJournal
from bot.rehearsal.loop import run_virtual
from tests.sim.case import ACCOUNT, Case, draw
from tests.sim.line import QueueingVenue
from tests.sim.lives import make_task
from tests.sim.mishaps import HUMAN, MEDDLING
from tests.sim.observer import Observer
from tests.sim.swarm import FailingJournal, SwarmFaults
from tests.sim.truth import Scene, Truth
from tests.sim.world import Keeper, ObservedMachine, logged, open_positions

REACTION_MS = 2_000
"""With the round trip and a price, what the guard needs at its best, in a network that works."""

RECENT_MS = 65_000
"""What has gone wrong so lately still counts: a read is trusted for up to a minute."""

BY_HAND = frozenset((*HUMAN, *MEDDLING, "user_reenters"))


class Why(StrEnum):
    """Why a position was liquidated although it was guarded; the first that holds."""

    GAP = "gap"
    """The price jumped past the stop, faster than anybody reacts."""
    BAN = "ban"
    """The venue had banned the guard's address."""
    DEAD = "guard dead"
    """The guard's process had been killed, and nobody had started it again."""
    OUTAGE = "outage"
    """The network or the prices were away, or the store took no rows."""
    VENUE = "venue down"
    """The venue took no stops, or left requests unanswered."""
    THIN = "thin book"
    """The stop or the close filled in time, far from the mark."""
    BUDGET = "budget"
    """The guard had said that a budget is used up."""
    NONE = "no reason found"


_OUTAGES = ("blackout", "market_stalled", "symbol_stalled", "journal_down", "could_not_start")
_UNANSWERED = ("stops_refused", "request_lost", "request_late", "reply_lost", "reply_late",
               "read_lost", "read_late", "margin_queued", "notice_lost", "stream_broken",
               "throttled")  # fmt: skip


class Naked(StrEnum):
    """What was the case while a position had no proper stop."""

    AT_FIRST = "before its first stop"
    DEAD = "while the guard was dead"
    VENUE = "within a minute of a refused stop"
    TROUBLE = "within a minute of something else that went wrong"
    CALM = "with nothing wrong"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one crisis."""

    seed: int
    positions: int
    lost_alone: frozenset[str]
    """The positions that are liquidated without the guard,"""
    lost_guarded: dict[str, Why]
    """and with it."""
    closed: frozenset[str]
    """Those that the guard or its stop closed whole, without a liquidation."""
    wrongful: tuple[str, ...]
    """Closes that the policy did not ask for."""
    other: tuple[str, ...]
    """Other promises that broke."""
    held_ms: int
    naked_ms: dict[Naked, int]
    """Of `held_ms`, the time without a proper stop, by what was the case."""


class Witness(Observer):
    """An observer that also writes down how each position fared."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lost: dict[str, Why] = {}
        self.held_ms = 0
        self.naked_ms: Counter[Naked] = Counter()
        self._troubled_ms: dict[str, int] = {}
        self._exhausted: set[str] = set()
        self._near_since_ms: dict[str, int] = {}
        self._had_stop: set[str] = set()
        self._standing: dict[str, Naked | None] = {}
        """How each open position stood at the last look."""
        self._looked_ms = 0
        self._seen: Scene
        self._filled = 0

    def disturbed(self, kind: str) -> None:
        """A fault really occurred."""
        self._troubled_ms[kind] = self.clock.now_ms()
        super().disturbed(kind)

    def logged(self, method: str, event: dict[str, object]) -> None:
        """The guard logged something."""
        if str(event.get("kind", "")).startswith("exhausted"):
            self._exhausted.add(str(event["subject"]).partition(" ")[0])
        super().logged(method, event)

    def scene(self) -> Scene:
        """Everything as it is at this moment, kept for this look."""
        self._seen = super().scene()
        return self._seen

    def look(self) -> None:
        """Prices moved, or an account changed."""
        super().look()
        if ACCOUNT not in self.machine.accounts:
            return
        passed_ms = self.machine.at_ms - (self._looked_ms or self.machine.at_ms)
        self._looked_ms = self.machine.at_ms
        for naked in self._standing.values():
            self.held_ms += passed_ms
            if naked is not None:
                self.naked_ms[naked] += passed_ms
        realised = self.machine.realised(ACCOUNT)
        for fill in realised[self._filled :]:
            if fill.cause is FillCause.LIQUIDATION:
                self.lost.setdefault(fill.symbol, self._why(fill.symbol))
        self._filled = len(realised)
        self._standing = {
            symbol: self._stands(truth, self._seen.real[truth.group].levels[symbol])
            for symbol, truth in self._seen.truths.items()
        }
        room = float(self.case.policy.protect.room)
        for symbol, truth in self._seen.truths.items():
            if self._seen.real[truth.group].distance > room:
                self._near_since_ms.pop(symbol, None)
            else:
                self._near_since_ms.setdefault(symbol, self.machine.at_ms)

    def _stands(self, truth: Truth, level: float) -> Naked | None:
        if self.proper_stops(truth, level):
            self._had_stop.add(truth.symbol)
            return None
        if truth.symbol not in self._had_stop:
            return Naked.AT_FIRST
        if not self.life:
            return Naked.DEAD
        if self.stops_are_refused(self.machine.at_ms) or self._is_recent("stops_refused"):
            return Naked.VENUE
        if self._is_recent(*_OUTAGES, *_UNANSWERED, "banned", "killed"):
            return Naked.TROUBLE
        return Naked.CALM

    def _why(self, symbol: str) -> Why:
        near_ms = self.machine.at_ms - self._near_since_ms.get(symbol, self.machine.at_ms)
        best_ms = REACTION_MS + 2 * self.case.latency_ms + self.case.weather.points_ms * 3 // 2
        if near_ms <= best_ms and self._standing.get(symbol) is None:
            return Why.GAP
        causes = {
            Why.BAN: self._is_recent("banned"),
            Why.DEAD: not self.life or self._is_recent("killed"),
            Why.OUTAGE: self._is_recent(*_OUTAGES),
            Why.VENUE: self._is_recent(*_UNANSWERED),
            Why.GAP: near_ms <= best_ms,
            Why.THIN: bool(self.case.depths),
            Why.BUDGET: symbol in self._exhausted,
        }
        return next((why for why, holds in causes.items() if holds), Why.NONE)

    def _is_recent(self, *kinds: str) -> bool:
        now_ms = self.clock.now_ms()
        return any(
            kind in self._troubled_ms and now_ms - self._troubled_ms[kind] <= RECENT_MS
            for kind in kinds
        )


def fate_of(seed: int) -> Fate:
    """Live through the crisis of a seed, with the guard and without."""
    drawn = draw(seed)
    calm = replace(drawn.swarm, human=(), enabled=drawn.swarm.enabled - BY_HAND)
    case = replace(drawn, swarm=calm)
    witness = run_virtual(_guarded(case))
    open_ = set(witness.eyes.truths())
    closed = frozenset(each.symbol for each in case.openings) - open_ - witness.lost.keys()
    wrongful = [each for each in witness.violations if "wrongful close" in each]
    return Fate(
        seed=seed,
        positions=len(case.openings),
        lost_alone=_alone(case),
        lost_guarded=witness.lost,
        closed=closed,
        wrongful=tuple(wrongful),
        other=tuple(each for each in witness.violations if each not in wrongful),
        held_ms=witness.held_ms,
        naked_ms=dict(witness.naked_ms),
    )


def _alone(case: Case) -> frozenset[str]:
    machine = PaperMachine(case.listed.values(), case.slippage, depths=case.depths)
    open_positions(case, machine)
    Course(case.path(), machine).advance(case.ends_at_ms)
    return frozenset(
        fill.symbol for fill in machine.realised(ACCOUNT) if fill.cause is FillCause.LIQUIDATION
    )


async def _guarded(case: Case) -> Witness:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(make_task)  # type: ignore[arg-type]
    clock = Clock(case.starts_at_ms)
    machine = ObservedMachine(case.listed.values(), case.slippage, depths=case.depths)
    machine.resting = case.resting
    witness = Witness(case, clock, machine, lambda line: None)
    machine.observer = witness
    open_positions(case, machine)
    faults = SwarmFaults(
        case.swarm, case.stream("faults"), case.stream("rarer faults"), clock, witness
    )
    witness.stops_are_refused = faults.refuse_stops
    stored = SqliteJournal.open(None, ACCOUNT)
    journal = FailingJournal(stored, clock, case.swarm.outages["journal_down"], witness)
    venue = QueueingVenue(
        machine,
        case.path(),
        clock,
        latency_ms=case.latency_ms,
        store=MemoryOnly(),
        faults=faults,
    )
    with logged(witness):
        async with venue, asyncio.TaskGroup() as tasks:
            keeper = Keeper(case, venue, clock, journal, witness)
            keeping = tasks.create_task(keeper.keep())
            reaping = tasks.create_task(keeper.reap())
            await venue.run()
            reaping.cancel()
            keeper.finish()
            await keeping
    await stored.close()
    return witness
