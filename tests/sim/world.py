"""One seed lived through: the guard's lives, the human, the prices, the exchange, the promises."""

import asyncio
import math
from contextvars import copy_context
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256

from bot.clock import Clock
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.model import AccountSnapshot, Position, Reported
from bot.core.units import Money, Price, Quantity, ceil_to, floor_to
from bot.exchange.paper.books import Cause
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.venue import PaperAccount, PaperMarket, PaperVenue
from bot.exchange.ports import Reply, Unreachable
from bot.journal.port import IntentMoved, JournalDamaged, JournalUnavailable, NoIntent
from bot.journal.sqlite import SqliteJournal
from bot.rehearsal.loop import run_virtual
from bot.runtime.assemble import assemble
from bot.runtime.guard import Guard
from bot.runtime.verify import verify
from tests.sim.case import ACCOUNT, Case, draw
from tests.sim.lives import LIFE, Life, make_task
from tests.sim.observer import ObservedMachine, Observer
from tests.sim.swarm import FailingJournal, StallingMarket, SwarmFaults

REST_MS = 1_000
"""A supervisor waits this long before it starts a process that could not start."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a seed. `digest` covers the journal and every request."""

    seed: int
    violations: tuple[str, ...]
    history: tuple[str, ...]
    faults: dict[str, int]
    guarded_ms: int
    digest: str


class WatchedAccount(PaperAccount):
    """The guard's side of the account: the observer sees what it sends."""

    observer: Observer
    clock: Clock

    async def send(self, action: Action, client_id: str) -> Reply:
        """Send, seen."""
        self.observer.sends(action, client_id, self.clock.now_ms())
        LIFE.get().sends()
        return await super().send(action, client_id)


def run_seed(seed: int) -> Result:
    """Live through one seed on a loop of its own."""
    return run_virtual(_World(draw(seed)).live(), math.inf)


class _World:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.observer = Observer(case)
        self.guards: list[Guard] = []

    async def live(self) -> Result:
        case, observer = self.case, self.observer
        asyncio.get_running_loop().set_task_factory(make_task)  # type: ignore[arg-type]
        clock = Clock(case.start.at_ms)
        machine = ObservedMachine([case.instrument], case.slippage)
        machine.observer = observer
        symbol = case.instrument.symbol
        machine.move(symbol, case.start.at_ms, case.start.mark, case.start.last)
        machine.deposit(ACCOUNT, case.deposit)
        machine.open_position(
            ACCOUNT,
            symbol,
            case.side,
            quantity=case.quantity,
            leverage=case.leverage,
            at_ms=case.start.at_ms,
        )
        stored = SqliteJournal.open(None, ACCOUNT)
        journal = FailingJournal(stored, clock, case.swarm.outages["journal_down"], observer)
        faults = SwarmFaults(case.swarm, case.stream("faults"), clock, observer)
        venue = PaperVenue(
            machine,
            case.path(),
            clock,
            latency_ms=case.latency_ms,
            store=MemoryOnly(),
            faults=faults,
        )
        async with venue, asyncio.TaskGroup() as tasks:
            human = tasks.create_task(self._human(venue, clock))
            living = tasks.create_task(self._lives(venue, clock, journal))
            await venue.run()
            human.cancel()
            if self.guards:
                self.guards[-1].stop()
            await living
        await self._judge(machine, stored)
        rows = await stored.rows(0)
        requests = "\n".join(f"{at_ms} {intent}" for intent, at_ms in observer.sent.items())
        return Result(
            case.seed,
            tuple(observer.violations),
            tuple(observer.history),
            dict(observer.faults),
            case.duration_ms,
            sha256((rows[-1].hash + requests).encode()).hexdigest() if rows else "",
        )

    async def _lives(self, venue: PaperVenue, clock: Clock, journal: FailingJournal) -> None:
        """Start the guard, again and again until the prices end."""
        random = self.case.stream("pauses")
        kills = list(self.case.swarm.kills)
        while not venue.ended:
            life = Life()
            context = copy_context()
            context.run(LIFE.set, life)
            process = context.run(
                asyncio.get_running_loop().create_task,
                self._one_life(venue, clock, journal),
            )
            life.begin(process)
            while kills and kills[0].at_ms <= clock.now_ms():
                kills.pop(0)
            if kills:
                wait_s = (kills[0].at_ms - clock.now_ms()) / 1000
                await asyncio.wait({process}, timeout=wait_s)
                if not process.done():
                    kill = kills.pop(0)
                    life.light(kill.resumptions, kill.after_send)
                    self.observer.disturbed("killed")
            await asyncio.wait({process})
            self._post_mortem(process, clock)
            await clock.sleep_ms(REST_MS if not life.is_over else random.randint(50, 20_000))

    async def _one_life(self, venue: PaperVenue, clock: Clock, journal: FailingJournal) -> None:
        account = WatchedAccount(venue, ACCOUNT)
        account.observer, account.clock = self.observer, clock
        market = StallingMarket(PaperMarket(venue), clock, self.case.swarm, self.observer)
        guard = await assemble(self.case.policy, market, account, clock, journal)
        self.guards.append(guard)
        if venue.ended:
            guard.stop()
        await guard.run()

    def _post_mortem(self, process: "asyncio.Task[None]", clock: Clock) -> None:
        if process.cancelled():
            return
        error = process.exception()
        if error is None:
            return
        expected = (JournalUnavailable, Unreachable, asyncio.CancelledError)
        _, unexpected = BaseExceptionGroup("process", [error]).split(expected)
        if unexpected is not None:
            self.observer.broke("0", clock.now_ms(), f"the guard crashed: {unexpected!r}")

    async def _human(self, venue: PaperVenue, clock: Clock) -> None:
        random = self.case.stream("human")
        for number, (at_ms, kind) in enumerate(self.case.swarm.human):
            await clock.sleep_until_ms(at_ms)
            share = random.uniform(0.1, 0.9)
            name = f"human{number}"

            def act(
                machine: PaperMachine,
                now_ms: int,
                kind: str = kind,
                name: str = name,
                share: float = share,
            ) -> None:
                for action in self._wish(kind, share, machine.snapshot(ACCOUNT, now_ms), machine):
                    reply = machine.handle(ACCOUNT, action, name, now_ms)
                    self.observer.note(now_ms, f"human {action}: {reply}")
                    self.observer.disturbed(kind)

            venue.at_now(act)

    def _wish(
        self, kind: str, share: float, snapshot: AccountSnapshot, machine: PaperMachine
    ) -> list[Action]:
        symbol, side = self.case.instrument.symbol, self.case.side
        if kind == "user_cancels":
            return [CancelStop(symbol, side, stop.client_id) for stop in snapshot.stops[:1]]
        if not snapshot.positions:
            return []
        (position,) = snapshot.positions
        step = self.case.instrument.quantity_step
        match kind:
            case "user_closes":
                return [ClosePosition(symbol, side, position.quantity)]
            case "user_closes_part":
                part = floor_to(position.quantity * _exact(share), step)
                return [ClosePosition(symbol, side, Quantity(part))] if part > 0 else []
            case "user_places":
                return [PlaceStop(symbol, side, position.quantity, self._near(position, machine))]
            case "user_adds":
                amount = floor_to(
                    snapshot.free * _exact(share),
                    self.case.instrument.rules.position_margin_step,
                )
                return [AddMargin(symbol, side, Money(amount))]
            case _:
                raise ValueError(kind)

    def _near(self, position: Position, machine: PaperMachine) -> Price:
        mark = machine.quotes[position.symbol].mark
        level = position.liquidation.price if isinstance(position.liquidation, Reported) else mark
        return Price(ceil_to((mark + level) / 2, self.case.instrument.tick_size))

    async def _judge(self, machine: PaperMachine, stored: SqliteJournal) -> None:
        case, observer = self.case, self.observer
        for guard in self.guards[-1:]:
            for intent in guard.state.intents.values():
                if intent.is_open and case.ends_at_ms - intent.planned_at_ms > 60_000:
                    observer.broke("5", case.ends_at_ms, f"{intent.id} is still {intent.state}")
        for row in await stored.rows(0):
            match row.entry.subject:
                case IntentMoved(intent_id, state):
                    observer.concluded(intent_id, state, row.entry.at_ms)
                case NoIntent():
                    pass
        try:
            await verify(stored)
        except JournalDamaged as e:
            observer.broke("11", case.ends_at_ms, str(e))
        liquidated = any(each.cause is Cause.LIQUIDATION for each in machine.realised(ACCOUNT))
        if liquidated:
            observer.disturbed("liquidated")
        if liquidated and not case.swarm.enabled:
            observer.broke("0", case.ends_at_ms, "liquidated although nothing went wrong")


def _exact(share: float) -> Decimal:
    return Decimal(str(round(share, 3)))
