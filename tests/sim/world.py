"""One seed lived through: the guard's lives, the human, the prices, the exchange, the promises."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

import structlog

from bot.clock import Clock
from bot.core.actions import Action
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import PathItem, Prices
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.venue import PaperMarket
from bot.exchange.ports import Accepted, Account, MarketData, Refused, Unreachable
from bot.journal.port import JournalDamaged, JournalUnavailable
from bot.journal.sqlite import SqliteJournal
from bot.rehearsal.loop import run_virtual
from bot.runtime.assemble import StartRefused, assemble
from bot.runtime.guard import Guard
from tests.sim.afterwards import judge_journal
from tests.sim.case import ACCOUNT, Case, draw
from tests.sim.coverage import variants_of
from tests.sim.human import Human
from tests.sim.ingredients import own_stream
from tests.sim.line import ObservedAccount, QueueingVenue
from tests.sim.lives import LIFE, Life, make_task
from tests.sim.mishaps import SKEW_MAX_MS
from tests.sim.observer import Observer
from tests.sim.rival import IS_RIVAL, Rival
from tests.sim.swarm import FailingJournal, StallingMarket, SwarmFaults

MODES = frozenset({"margin_mode", "position_mode"})
"""A guard does not start where the account is not as the policy says."""

RESTART_MS = 1_000
"""A supervisor waits this long before it starts a process that could not start."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a seed. `digest` covers the journal and every request."""

    seed: int
    violations: tuple[str, ...]
    history: tuple[str, ...]
    faults: dict[str, int]
    deeds: dict[str, int]
    rules: dict[str, int]
    variants: frozenset[str]
    guarded_ms: int
    digest: str


class ObservedMachine(PaperMachine):
    """The paper exchange with the observer at its side."""

    observer: Observer

    def move(self, at_ms: int, prices: Mapping[str, Prices]) -> None:
        """Move, then look."""
        super().move(at_ms, prices)
        self.observer.look()

    def handle(
        self, account: str, action: Action, client_id: str, at_ms: int
    ) -> Accepted | Refused:
        """Handle a request, then look."""
        before, wallet = self.observer.eyes.truths(), self.observer.wallet
        reply = super().handle(account, action, client_id, at_ms)
        self.observer.changed()
        if client_id in self.observer.requests:
            self.observer.handled(client_id, before, wallet, reply)
        self.observer.look()
        return reply


def run_seed(
    seed: int, tell: Callable[[str], None] = lambda line: None, *, replays: bool = True
) -> Result:
    """
    Live through one seed on a loop of its own; `tell` hears every event.

    `replays`: decide everything that the journal tells of once more, which takes as long again.
    """
    return run_case(draw(seed), tell, replays=replays)


def run_case(
    case: Case, tell: Callable[[str], None] = lambda line: None, *, replays: bool = True
) -> Result:
    """Live through a case, as `run_seed` does."""
    return run_virtual(_World(case, tell, replays).live())


class _World:
    def __init__(self, case: Case, tell: Callable[[str], None], replays: bool) -> None:
        self._case, self._tell, self._replays = case, tell, replays

    async def live(self) -> Result:
        """From the start to the end of the prices, or to the first broken promise."""
        case = self._case
        loop = asyncio.get_running_loop()
        loop.set_task_factory(make_task)  # type: ignore[arg-type]
        clock = Clock(case.starts_at_ms)
        machine = ObservedMachine(case.listed.values(), case.slippage, depths=case.depths)
        machine.resting = case.resting
        observer = machine.observer = Observer(case, clock, machine, self._tell)
        open_positions(case, machine)
        faults = SwarmFaults(
            case.swarm, case.stream("faults"), case.stream("rarer faults"), clock, observer
        )
        observer.stops_are_refused = faults.refuse_stops
        stored = SqliteJournal.open(None, ACCOUNT)
        journal = FailingJournal(stored, clock, case.swarm.outages["journal_down"], observer)
        venue = QueueingVenue(
            machine,
            self._path(observer),
            clock,
            latency_ms=case.latency_ms,
            store=MemoryOnly(),
            faults=faults,
        )
        with logged(observer):
            async with venue, asyncio.TaskGroup() as tasks:
                keeper = Keeper(case, venue, clock, journal, observer)
                by_hand = Human(case, venue, clock, keeper.guards, observer)
                human = tasks.create_task(by_hand.live())
                bot = tasks.create_task(by_hand.reopen())
                rivalling = [
                    tasks.create_task(Rival(case, venue, clock, observer).live())
                    for _ in case.swarm.enabled & {"rival"}
                ]
                keeping = tasks.create_task(keeper.keep())
                reaping = tasks.create_task(keeper.reap())
                await venue.run()
                human.cancel()
                bot.cancel()
                for task in rivalling:
                    task.cancel()
                reaping.cancel()
                keeper.finish()
                await keeping
        rows = await stored.rows(0)
        if not observer.violations:
            await judge_journal(stored, rows, observer, self._replays)
        await stored.close()
        requests = "\n".join(
            f"{each.client_id} {each.sent_at_ms} {each.action} {each.arrived_at_ms}"
            for each in observer.requests.values()
        )
        head = rows[-1].hash if rows else ""
        return Result(
            case.seed,
            tuple(observer.violations),
            tuple(observer.history),
            dict(observer.faults),
            dict(observer.deeds),
            dict(observer.rules_acted),
            variants_of(case),
            observer.up_ms,
            sha256(f"{head}\n{requests}".encode()).hexdigest(),
        )

    def _path(self, observer: Observer) -> Iterator[PathItem]:
        for item in self._case.path():
            if observer.violations:
                return
            yield item


class _Wall(Clock):
    """The wall clock of a process, which is ahead of the world's."""

    def __init__(self, world: Clock, offset_ms: int) -> None:
        super().__init__(world.now_ms())
        self._world, self._offset_ms = world, offset_ms

    def now_ms(self) -> int:
        """Wall time now."""
        return self._world.now_ms() + self._offset_ms


class Keeper:
    """
    Keeps the guard's process running, and kills it when its hour has come.

    A process that ends by an error that it `forgives` is started again like one that was killed.
    """

    def __init__(
        self,
        case: Case,
        venue: QueueingVenue,
        clock: Clock,
        journal: FailingJournal,
        observer: Observer,
        forgives: Callable[[BaseException], bool] = lambda error: False,
    ) -> None:
        self._case, self._venue, self._clock = case, venue, clock
        self._journal, self._observer, self._forgives = journal, observer, forgives
        self._life = Life()
        self.guards: list[Guard] = []
        """The one that runs, if any does,"""
        self.context = copy_context()
        """and where its tasks belong to."""

    async def keep(self) -> None:
        """Start the guard, again and again until the prices end."""
        random = self._case.stream("pauses")
        walls = own_stream(self._case.stream, "wall_jumps", "lives")
        while not self._venue.ended:
            self._life = life = Life()
            if "wall_jumps" in self._case.swarm.enabled:
                self._observer.offset_ms = walls.randint(-SKEW_MAX_MS, SKEW_MAX_MS)
                self._observer.occurred("wall_jumps")
            self.context = context = copy_context()
            context.run(LIFE.set, life)
            loop = asyncio.get_running_loop()
            process = context.run(loop.create_task, self._one_life())
            life.begin(process)
            await asyncio.wait({process})
            self._observer.ended(was_killed=life.is_over)
            self._post_mortem(process)
            self.guards.clear()
            await self._clock.sleep_ms(self.pause_ms(random) if life.is_over else RESTART_MS)

    async def reap(self) -> None:
        """Kill the process that runs at each of the appointed times, if there is one."""
        for kill in self._case.swarm.kills:
            await self._clock.sleep_until_ms(kill.at_ms)
            self._life.light(kill.resumptions, kill.after_send)

    def finish(self) -> None:
        """The prices have ended: let the guard stop as on SIGTERM."""
        for guard in self.guards:
            guard.stop()

    def pause_ms(self, random: Random) -> int:
        """How long nobody notices that it was killed."""
        pause_ms = round(1000 * random.choice((0.05, 1, 5, 20, 60)) * random.uniform(0.5, 1.5))
        return min(pause_ms, self._case.duration_ms // 8)

    def sides(self) -> tuple[MarketData, Account]:
        """The venue as a new life of the guard meets it."""
        weak = self._case.openings[-1].symbol
        market = StallingMarket(
            PaperMarket(self._venue), self._venue.faults, self._clock, weak, self._observer
        )
        return market, ObservedAccount(self._venue, self._observer)

    async def _one_life(self) -> None:
        market, account = self.sides()
        clock = _Wall(self._clock, self._observer.offset_ms)
        guard = await assemble(self._case.policy, market, account, clock, self._journal)
        self.guards.append(guard)
        self._observer.began(guard)
        self._observer.born_ms = guard.state.birth.at_ms
        if self._venue.ended:
            guard.stop()
        await guard.run()

    def _post_mortem(self, process: "asyncio.Task[None]") -> None:
        error = asyncio.CancelledError() if process.cancelled() else process.exception()
        if self._life.is_over:
            self._observer.disturbed("killed")
            return
        if error is None:
            return
        could_not_start = not self.guards and isinstance(error, JournalUnavailable | Unreachable)
        if self._journal.lies and all(isinstance(each, JournalDamaged) for each in leaves(error)):
            self._observer.disturbed("ended_by_the_store")
        elif isinstance(error, StartRefused) and self._case.swarm.enabled & MODES:
            self._observer.disturbed("start_refused")
        elif could_not_start or self._forgives(error):
            self._observer.disturbed("could_not_start")
        else:
            self._observer.broke("0", f"the guard crashed: {error!r} {_causes(error)}")


def leaves(error: BaseException) -> Iterator[BaseException]:
    """What a group of errors comes to."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def _causes(error: BaseException) -> list[str]:
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return [f"{each!r} {_causes(each)}" for each in inner]


def open_positions(case: Case, machine: PaperMachine) -> None:
    at_ms = case.starts_at_ms
    machine.move(at_ms, {each.symbol: Prices(each.price, each.price) for each in case.openings})
    machine.deposit(ACCOUNT, case.deposit)
    for each in case.openings:
        machine.open_position(
            ACCOUNT,
            each.symbol,
            each.side,
            quantity=each.quantity,
            leverage=each.leverage,
            at_ms=at_ms,
            margin_mode=each.margin_mode,
        )


@contextmanager
def logged(observer: Observer) -> Iterator[None]:
    """What the guard logs goes to the observer, and nowhere else."""

    def pass_on(_logger: Any, method: str, event: Any) -> Any:
        if IS_RIVAL.get():
            observer.note(f"the other guard: {event['event']}")
        else:
            observer.logged(method, event)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[pass_on],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
