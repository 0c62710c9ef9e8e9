"""
A short crisis with everything in it that the guard does, and one fault at one of its waits.

Two isolated longs: one is stopped, tightened, topped up twice and closed in part as it falls; the
other is closed. The policy is loaded again and the process killed once on the way, so that
recovery is passed too. Then all is quiet, for long enough that everything must be as it should.
"""

import asyncio
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from random import Random
from typing import Any, assert_never
from unittest.mock import patch

import sqlalchemy as sa

from bot.alerts.heard import HeardJournal
from bot.clock import Clock
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.model import MarginMode, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.books import Resting
from bot.exchange.paper.faults import FaultPlan
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import PathItem, PricePoint
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.ports import (
    Accepted,
    Account,
    MarketData,
    Notice,
    Quoted,
    Refused,
    Reply,
    Unreachable,
    Unsure,
)
from bot.exchange.venues.binanceusdm import instruments
from bot.journal.port import JournalUnavailable
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import parse_policy
from bot.rehearsal.loop import run_virtual
from bot.runtime import feed
from tests.faults.sites import Site, Thunk, Waits, standing_between
from tests.sim.accounts import Kind, Opening
from tests.sim.afterwards import judge_journal
from tests.sim.case import ACCOUNT, START_MS, Case
from tests.sim.line import ObservedAccount, QueueingVenue
from tests.sim.lives import LIFE, make_task
from tests.sim.mishaps import Kill, Swarm, Windows
from tests.sim.observer import Observer
from tests.sim.prices import Weather
from tests.sim.requests import NEVER_MS
from tests.sim.swarm import FailingJournal, StallingMarket, SwarmFaults
from tests.sim.world import RESTART_MS, Keeper, ObservedMachine, logged, open_positions

D = Decimal

WRITE_PATH = (
    "bot.runtime.executor",
    "bot.runtime.reconcile",
    "bot.runtime.guard",
    "bot.runtime.inbox",
    "bot.runtime.feed",
    "bot.runtime.gate",
    "bot.runtime.record",
    "bot.runtime.assemble",
    "bot.alerts.heard",
)
"""What waits between a fact and its effect, above the ports."""

LATE_MS = 4_000
LONG_MS = 20_000
FOREVER_MS = 10**9
RELOADED_MS = 30_000
KILLED_MS = 34_000
EARLY_MS = 72_000
ENDS_MS = 150_000
AGAIN_MS = 10_000
"""A process that has ended runs again by then."""

LATENCY_MS = 20
RULES_MS = 15_000
"""A crisis is no hour long, after which the guard reads the contracts' rules again."""

BREAKS_AT = 5
NOT_REDUCING = Refused("-2022", "ReduceOnly Order is rejected.")
"""
What the first close of every crisis is told.

Besides, of the first top-up the reply is lost, and the user cancels the first stop at once.
"""

POLICY = """\
schema: liqguard/v1
account: { name: sim, venue: binanceusdm, margin_mode: isolated, position_mode: one_way }
protect: { stop: { room: 1.5% }, floor: 0.7%, floor_in_hold: close, unknown_after: 20s }
guardrails:
  keep_free: 100 USDT
  top_up: { per_action: 900 USDT, per_1h: 1700 USDT, per_24h: 1700 USDT, per_episode: 1700 USDT }
  top_ups_per_episode: 3
  actions_per_1m: 20
  data_max_age: 5s
  loss_max: 20000 USDT
  slippage_max: 50 bps
rules:
  - rule: ladder
    match: { symbols: any, side: any, margin_mode: isolated }
    watch: liquidation_distance
    hysteresis: 0.5%
    ladder:
      - { step: warn, below: 6%, for: 0s, do: alert }
      - { step: tight, below: 5%, for: 1s, do: place_stop, with: { room: 2% } }
      - { step: add, below: 4%, for: 1s, do: top_up, with: { to: 7% }, cooldown: 5s, then: next }
      - { step: trim, below: 3.2%, for: 0s, do: partial_close, with: { fraction: 20% },
          cooldown: 10s }
      - { step: out, below: 1.9%, for: 0s, do: close }
"""

_BTC, _ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
_CORNERS = {
    _BTC: ((0, 50_000), (8, 49_000), (14, 47_300), (20, 46_900), (30, 46_900), (36, 45_300),
           (50, 45_300), (56, 44_600), (60, 46_800), (148, 46_800), (150, 44_300)),
    _ETH: ((0, 2_000), (60, 1_980), (64, 1_835), (70, 1_850), (150, 1_850)),
}  # fmt: skip
"""
Seconds and prices; straight in between.

The last fall is for a request to be on its way when the guard is asked to stop.
"""


class Fault(StrEnum):
    """What happens at a site."""

    RAISE = "raise"
    """It is told so by the error that the port declares, and nothing was done."""
    RAISE_AFTER = "raise after"
    """It is told so, and yet it was done."""
    DEFECT = "defect"
    """An error that nobody has declared."""
    HANG = "hang"
    CANCEL = "cancel"
    """`CancelledError`, although nobody has asked for it: libraries have leaked it."""
    CANCEL_AFTER = "cancel after"
    KILL = "kill"
    KILL_AFTER = "kill after"
    DUPLICATE = "duplicate"
    LATE = "late"
    """Done in time, and told late."""
    LATE_REQUEST = "late request"
    """Done late, when nobody waits any more."""
    REORDER = "reorder"
    """Behind the next one of its kind."""


_ALWAYS = {Fault.DEFECT, Fault.CANCEL, Fault.CANCEL_AFTER, Fault.KILL, Fault.KILL_AFTER}
_APPLICABLE = {
    Waits.WRITE: _ALWAYS
    | {Fault.HANG, Fault.DUPLICATE, Fault.LATE, Fault.LATE_REQUEST, Fault.REORDER},
    Waits.READ: _ALWAYS
    | {Fault.RAISE, Fault.RAISE_AFTER, Fault.HANG, Fault.DUPLICATE, Fault.LATE, Fault.REORDER},
    Waits.STREAM: _ALWAYS | {Fault.HANG, Fault.DUPLICATE, Fault.LATE, Fault.REORDER},
    Waits.STORE: _ALWAYS | {Fault.RAISE, Fault.RAISE_AFTER, Fault.HANG, Fault.LATE},
    Waits.TIME: _ALWAYS | {Fault.HANG, Fault.LATE},
    Waits.OURS: _ALWAYS,
}
NOT_APPLICABLE = {
    Waits.WRITE: "a write answers, and never raises for what the network or the venue did",
    Waits.STREAM: "a stream is one call; what it brings is late, twice, or out of order",
    Waits.STORE: "one writer on one connection, inside the coroutine: in order, and each once",
    Waits.TIME: "the loop's own: it raises nothing, and there is no order in time",
    Waits.OURS: "what it waits for has sites of its own, and one continuation",
    Waits.READ: "a read has no effect that could be late",
}
"""Why the other faults do not happen at a site of this kind."""


def applies(site: Site, fault: Fault) -> bool:
    """Whether such a thing can happen there."""
    if fault is Fault.RAISE and site.text.startswith("self._account.stream"):
        return True
    return fault in _APPLICABLE[site.waits]


@dataclass(frozen=True, slots=True)
class Injection:
    """The fault that meets a site when it is passed for the `occurrence`-th time, from 1."""

    site: Site
    fault: Fault
    occurrence: int

    def __str__(self) -> str:
        """As a report names it."""
        return f"{self.fault} at {self.site}, time {self.occurrence}"


@dataclass(frozen=True, slots=True)
class Calm:
    """Nothing is injected."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a crisis. `passed` counts how often each site was waited at."""

    violations: tuple[str, ...]
    history: tuple[str, ...]
    passed: Counter[Site]
    passed_early: Counter[Site]
    """While things still happen; of what is passed only at the end, then."""
    struck: bool
    deeds: Counter[str]


@dataclass(frozen=True, slots=True)
class ScriptedCase(Case):
    """A case whose prices are written down."""

    def path(self) -> Iterator[PathItem]:
        """A point of each symbol every second while much happens, then every five."""
        # The guard's own clocks wake it as well: more points would only take longer.
        seconds = (*range(1, 75), *range(75, 148, 4), 148, 149.9, 150)
        for second in map(D, seconds):
            for symbol, corners in _CORNERS.items():
                price = Price(round(_between(corners, second), 1))
                yield PricePoint(START_MS + int(second * 1000), symbol, price, price)


def _between(corners: tuple[tuple[int, int], ...], second: Decimal) -> Decimal:
    for (from_s, start), (to_s, end) in pairwise(corners):
        if from_s <= second <= to_s:
            return D(start) + D(end - start) * (second - from_s) / (to_s - from_s)
    raise ValueError(f"no price is written down for second {second}")


def scripted_case() -> ScriptedCase:
    """The crisis."""
    openings = tuple(
        Opening(instruments()[symbol], Side.LONG, MarginMode.ISOLATED, D(10), Quantity(D(size)),
                Price(D(_CORNERS[symbol][0][1])), Ratio(D(1)))
        for symbol, size in ((_BTC, 1), (_ETH, 10))
    )  # fmt: skip
    return ScriptedCase(
        seed=0,
        kind=Kind.ALONE,
        openings=openings,
        deposit=Money(D(12_000)),
        slippage=Ratio(D("0.0002")),
        depths={},
        resting=Resting.COEXIST,
        latency_ms=LATENCY_MS,
        duration_ms=ENDS_MS,
        weather=Weather((), 1, 1_000, ()),
        billed=frozenset(),
        policy_text=POLICY,
        policy=parse_policy(POLICY, "the policy of the crisis"),
        swarm=Swarm(
            enabled=frozenset({"kill_after_send"}),
            until_ms=START_MS + ENDS_MS,
            plan=FaultPlan(),
            margin_lost=0.0,
            margin_reply_lost=0.0,
            margin_queued=0.0,
            read_late=0.0,
            said_twice=0.0,
            skew_ms=0,
            outages=defaultdict(Windows),
            kills=(Kill(START_MS + KILLED_MS, 0, after_send=True),),
            human=(),
        ),
    )


def run_crisis(
    injection: Injection | Calm,
    tell: Callable[[str], None] = lambda line: None,
    *,
    replays: bool = False,
) -> Outcome:
    """Live through the crisis with one fault in it; with `replays` the journal is verified too."""
    injector = Injector(injection)
    rules_read = patch.object(feed, "RULES_MS", RULES_MS)
    with rules_read, standing_between(WRITE_PATH, injector.between):
        return run_virtual(_live(injector, tell, replays))


class Injector:
    """Stands at every site, counts, and does the one thing at the one place."""

    def __init__(self, injection: Injection | Calm) -> None:
        self._injection = injection
        self.passed: Counter[Site] = Counter()
        self.passed_early: Counter[Site] = Counter()
        self.struck_at_ms = NEVER_MS
        self.deaths_forgiven = 1
        self.notices = 0
        self.sent: set[type[Action]] = set()
        self.next_write: Fault | None = None
        """What the account is to do with the next request,"""
        self.streams: dict[str, Fault] = {}
        """and with what a stream brings."""
        self._done: dict[Waits, asyncio.Event] = {each: asyncio.Event() for each in Waits}

    def begin(self, clock: Clock, observer: Observer, journal: SqliteJournal) -> None:
        """Know the world."""
        self._clock, self._observer, self._journal = clock, observer, journal

    async def between(self, site: Site, thunk: Thunk) -> Any:
        """Wait for it, or do the thing."""
        self.passed[site] += 1
        self.passed_early[site] += self._clock.now_ms() < START_MS + EARLY_MS
        match self._injection:
            case Injection(at, fault, occurrence) if (at, occurrence) == (site, self.passed[site]):
                self.struck_at_ms = self._clock.now_ms()
                self._observer.disturbed(str(self._injection))
                return await self._do(site, fault, thunk)
            case Injection() | Calm():
                result = await thunk()
                self._done[site.waits].set()
                return result

    def forgives(self, error: BaseException) -> bool:
        """Whether a process may end by it: once, by what is no declared error."""
        if self.struck_at_ms == NEVER_MS or not self.deaths_forgiven:
            return False
        self.deaths_forgiven -= 1
        return True

    def reopen(self) -> None:
        """What a new process does: begin after the newest row that is there."""
        self._journal._head = self._journal._newest()

    async def wait_for_next(self, waits: Waits) -> None:
        """Until another one of the kind is through, or it takes too long."""
        self._done[waits] = asyncio.Event()
        try:
            async with asyncio.timeout(LATE_MS / 1000):
                await self._done[waits].wait()
        except TimeoutError:
            pass

    async def _do(self, site: Site, fault: Fault, thunk: Thunk) -> Any:
        match fault:
            case Fault.RAISE:
                raise self._declared(site)
            case Fault.DEFECT:
                raise RuntimeError("injected")
            case Fault.CANCEL:
                raise asyncio.CancelledError("injected")
            case Fault.KILL:
                raise _death()
            case Fault.HANG:
                await self._clock.sleep_ms(
                    LONG_MS if site.waits in (Waits.TIME, Waits.STORE) else FOREVER_MS
                )
                return await thunk()
            case Fault.RAISE_AFTER:
                await self._perform_in_vain(site, thunk)
                raise self._declared(site)
            case Fault.CANCEL_AFTER:
                await thunk()
                raise asyncio.CancelledError("injected")
            case Fault.KILL_AFTER:
                await thunk()
                raise _death()
            case Fault.LATE | Fault.LATE_REQUEST | Fault.DUPLICATE | Fault.REORDER:
                return await self._disorder(site, fault, thunk)
            case _:
                assert_never(fault)

    async def _disorder(self, site: Site, fault: Fault, thunk: Thunk) -> Any:
        match site.waits:
            case Waits.WRITE:
                self.next_write = fault
                return await thunk()
            case Waits.STREAM:
                self.streams["market" if "_market" in site.text else "account"] = fault
                return await thunk()
            case _:
                pass
        result = await thunk()
        match fault:
            case Fault.DUPLICATE:
                return await thunk()
            case Fault.REORDER:
                await self.wait_for_next(site.waits)
            case _:
                await self._clock.sleep_ms(LATE_MS)
        return result

    def _declared(self, site: Site) -> Exception:
        if site.waits is not Waits.STORE:
            return Unreachable("injected")
        self._observer.journal_failed()
        return JournalUnavailable("injected")

    async def _perform_in_vain(self, site: Site, thunk: Thunk) -> None:
        """The effect is there, but not what the caller would have learnt by its success."""
        if site.waits is not Waits.STORE:
            await thunk()
            return
        self._observer.journal_failed()
        plain = self._journal._connection
        self._journal._connection = _FailsOnceCommitted(plain)  # type: ignore[assignment]
        try:
            await thunk()
        finally:
            self._journal._connection = plain


def _death() -> asyncio.CancelledError:
    LIFE.get().kill()
    return asyncio.CancelledError("the process died")


class _FailsOnceCommitted:
    """A connection to a store that reports an error after it has done its work, once."""

    def __init__(self, plain: sa.Connection) -> None:
        self._plain, self._failed = plain, False

    @contextmanager
    def begin(self) -> Iterator[None]:
        """A transaction that is committed, and then fails."""
        with self._plain.begin():
            yield
        if not self._failed:
            self._failed = True
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)


class FaultyAccount(ObservedAccount):
    """The guard's side of the account, below which a network does what it is told to."""

    def __init__(self, venue: QueueingVenue, observer: Observer, injector: Injector) -> None:
        super().__init__(venue, observer)
        self._injector = injector

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        """Publish notices as the fault has it. In every crisis the stream breaks once."""
        pass_on = _disordered(self._injector, "account", publish)

        def break_once(notice: Notice) -> None:
            self._injector.notices += 1
            if self._injector.notices == BREAKS_AT:
                raise Unreachable("the account stream broke")
            pass_on(notice)

        await super().stream(break_once)

    async def _answer(self, action: Action, client_id: str) -> Reply:
        fault, self._injector.next_write = self._injector.next_write, None
        inner = super()._answer
        is_first = type(action) not in self._injector.sent
        self._injector.sent.add(type(action))
        match action:
            case ClosePosition() if is_first:
                await self._venue.clock.sleep_ms(2 * LATENCY_MS)
                return NOT_REDUCING
            case AddMargin() if is_first and fault is None:
                await inner(action, client_id)
                return Unsure("the reply was lost")
            case PlaceStop() if is_first and fault is None:
                reply = await inner(action, client_id)
                self._venue.at_now(self._cancels(action, client_id))
                return reply
            case _:
                pass
        match fault:
            case None:
                return await inner(action, client_id)
            case Fault.DUPLICATE:
                first = await inner(action, client_id)
                # Margin has no id to be refused by, and TLS lets nobody repeat a request.
                return (
                    first
                    if isinstance(action, AddMargin)
                    else await self._again(action, client_id)
                )
            case Fault.LATE:
                reply = await inner(action, client_id)
                await self._venue.clock.sleep_ms(LATE_MS)
                return reply
            case _:
                # It belongs to the network now: it must not die with the life that sent it.
                Context().run(self._begin, fault, inner, action, client_id)
                await self._venue.clock.sleep_ms(LATE_MS)
                return Unsure("no reply")

    def _cancels(self, stop: PlaceStop, client_id: str) -> Callable[[PaperMachine, int], None]:
        def cancel(machine: PaperMachine, at_ms: int) -> None:
            self._observer.disturbed("user_cancels")
            target = CancelStop(stop.symbol, stop.side, client_id)
            machine.handle(ACCOUNT, target, f"human-{at_ms}", at_ms)

        return cancel

    async def _again(self, action: Action, client_id: str) -> Reply:
        def handle(machine: PaperMachine, at_ms: int) -> Accepted | Refused:
            return PaperMachine.handle(machine, ACCOUNT, action, client_id, at_ms)

        reply = await self._venue.write(handle)
        # As a dialect reads it: what is there already, or gone already, proves nothing.
        return reply if isinstance(reply, Accepted) else Unsure("the first one may have done it")

    def _begin(
        self,
        fault: Fault,
        inner: Callable[[Action, str], Awaitable[Reply]],
        action: Action,
        client_id: str,
    ) -> None:
        async def later() -> None:
            if fault is Fault.REORDER:
                await self._injector.wait_for_next(Waits.WRITE)
            else:
                await self._venue.clock.sleep_ms(LATE_MS)
            await inner(action, client_id)

        self._venue._requests.create_task(later())


class FaultyMarket(StallingMarket):
    """The public side, whose prices come as the fault has it."""

    injector: Injector

    async def stream(self, publish: Callable[[Quoted], None]) -> None:
        """Publish what comes."""
        await super().stream(_disordered(self.injector, "market", publish))


def _disordered(
    injector: Injector, name: str, publish: Callable[[Any], None]
) -> Callable[[Any], None]:
    held: list[Any] = []

    def pass_on(told: Any) -> None:
        match injector.streams.get(name):
            case None:
                publish(told)
            case Fault.DUPLICATE:
                publish(told)
                publish(told)
            case Fault.REORDER:
                held.append(told)
                if len(held) == 2:
                    publish(held.pop())
                    publish(held.pop())
            case _:
                asyncio.get_running_loop().call_later(LATE_MS / 1000, publish, told)

    return pass_on


class _FaultyKeeper(Keeper):
    injector: Injector

    def sides(self) -> tuple[MarketData, Account]:
        """The venue, with the fault in between."""
        self.injector.reopen()
        market, _ = super().sides()
        assert isinstance(market, StallingMarket)
        market.__class__ = FaultyMarket
        assert isinstance(market, FaultyMarket)
        market.injector = self.injector
        return market, FaultyAccount(self._venue, self._observer, self.injector)

    def pause_ms(self, random: Random) -> int:
        """Somebody looks after it."""
        return RESTART_MS

    async def reload(self) -> None:
        """Have the process that runs at the appointed time read its policy again."""
        await self._clock.sleep_until_ms(START_MS + RELOADED_MS)
        for guard in self.guards[:]:
            loading = self.context.run(
                asyncio.get_running_loop().create_task, guard.load(self._case.policy)
            )
            await asyncio.wait({loading})
            if loading.cancelled() or loading.exception() is not None:
                self._life.kill()  # an error of any task ends the process


async def _live(injector: Injector, tell: Callable[[str], None], replays: bool) -> Outcome:
    case = scripted_case()
    loop = asyncio.get_running_loop()
    loop.set_task_factory(make_task)  # type: ignore[arg-type]
    clock = Clock(case.starts_at_ms)
    machine = ObservedMachine(case.listed.values(), case.slippage, depths=case.depths)
    observer = machine.observer = Observer(case, clock, machine, tell)
    open_positions(case, machine)
    faults = SwarmFaults(case.swarm, case.stream("f"), case.stream("r"), clock, observer)
    stored = SqliteJournal.open(None, ACCOUNT)
    injector.begin(clock, observer, stored)
    heard = HeardJournal(stored, asyncio.Event())
    journal = FailingJournal(heard, clock, Windows(), observer)
    venue = QueueingVenue(
        machine,
        case.path(),
        clock,
        latency_ms=case.latency_ms,
        store=MemoryOnly(),
        faults=faults,
    )
    with logged(observer):
        async with venue, asyncio.TaskGroup() as tasks:
            keeper = _FaultyKeeper(case, venue, clock, journal, observer, injector.forgives)
            keeper.injector = injector
            keeping = tasks.create_task(keeper.keep())
            reaping = tasks.create_task(keeper.reap())
            reloading = tasks.create_task(keeper.reload())
            await venue.run()
            _judge_end(observer, injector.struck_at_ms)
            reaping.cancel()
            reloading.cancel()
            keeper.finish()
            await keeping
    if not observer.violations:
        await judge_journal(stored, await stored.rows(0), observer, replays)
    await stored.close()
    return Outcome(
        tuple(observer.violations),
        tuple(observer.history),
        injector.passed,
        injector.passed_early,
        injector.struck_at_ms != NEVER_MS,
        observer.deeds,
    )


def _judge_end(observer: Observer, struck_at_ms: int) -> None:
    """After so long a quiet the guard runs, and what is open rests on a stop."""
    if not observer.life and observer.clock.now_ms() - struck_at_ms > AGAIN_MS:
        observer.broke("5", "no guard runs at the end")
    scene = observer.scene()
    for symbol, truth in scene.truths.items():
        if not observer.proper_stops(truth, scene.real[truth.group].levels[symbol]):
            observer.broke("6", f"no stop of {symbol} rests at the end")
    if _ETH in scene.truths:
        observer.broke("4", f"{_ETH} was not closed")
