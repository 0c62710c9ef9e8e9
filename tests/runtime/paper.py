"""A guard of a 10x long on the paper exchange, whose journal and requests leave one trace."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from bot.clock import Clock
from bot.core.actions import Action
from bot.core.events import IntentState, OutcomeReported
from bot.core.model import AccountSnapshot, RestingStops, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.faults import no_faults
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import PricePoint, Prices
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.venue import PaperAccount, PaperMarket, PaperVenue
from bot.exchange.ports import (
    MarginChange,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Reply,
    Unsure,
)
from bot.journal.codec import from_json
from bot.journal.port import Entry, Head, IntentMoved, Journal, Kind, Row
from bot.runtime.assemble import assemble
from bot.runtime.guard import Guard
from bot.runtime.record import Recorded
from bot.testing.builders import ACCOUNT, SYMBOL, instrument
from tests.runtime.build import T0, D, FragileJournal, policy

LATENCY_MS = 50
END_MS = 10**9


class TracedJournal(FragileJournal):
    """Writes into `trace` which intents became durable."""

    def __init__(self, trace: list[str]) -> None:
        super().__init__()
        self._trace = trace

    async def append(self, entries: Sequence[Entry]) -> Head:
        head = await super().append(entries)
        for entry in entries:
            match entry.subject:
                case IntentMoved(intent_id, IntentState.PREPARED):
                    self._trace.append(f"durable {intent_id}")
                case _:
                    pass
        return head


class TracedAccount:
    """
    The account of a paper exchange that writes what is sent into `trace`.

    `lose_replies` lets requests arrive and nobody hear of it; to actions of the kind `silent`
    there is never a reply.
    """

    silent: type[Action] | None = None

    def __init__(self, venue: PaperVenue, trace: list[str]) -> None:
        self._inner = PaperAccount(venue, ACCOUNT)
        self._venue = venue
        self._trace = trace
        self.sent: list[tuple[Action, str]] = []
        self.lose_replies = False

    @property
    def request_life_ms(self) -> int:
        return self._inner.request_life_ms

    async def snapshot(self) -> AccountSnapshot:
        return await self._inner.snapshot()

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        await self._inner.stream(publish)

    async def send(self, action: Action, client_id: str) -> Reply:
        self._trace.append(f"sent {client_id}")
        self.sent.append((action, client_id))
        reply = await self._inner.send(action, client_id)
        if self.silent is not None and isinstance(action, self.silent):
            await self._venue.clock.sleep_ms(END_MS)
        return Unsure("the reply was lost") if self.lose_replies else reply

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        return await self._inner.order(symbol, client_id)

    async def margin_changes(
        self, symbol: str, since_ms: int
    ) -> tuple[MarginChange, ...] | NoMarginHistory:
        return await self._inner.margin_changes(symbol, since_ms)

    async def server_time_ms(self) -> int:
        return await self._inner.server_time_ms()


def long_machine(said: RestingStops = RestingStops.COEXIST) -> PaperMachine:
    """
    A 10x long of one bitcoin from 50,000, with 5,000 free; liquidated at 45,226.13.

    `said` is what the venue's rules tell of its resting stops.
    """
    listed = instrument()
    listed = replace(listed, rules=replace(listed.rules, resting_stops=said))
    machine = PaperMachine([listed], Ratio(D("0.0005")))
    machine.move(T0, {SYMBOL: Prices(Price(D(50_000)), Price(D(50_000)))})
    machine.deposit(ACCOUNT, Money(D(10_000)))
    machine.open_position(
        ACCOUNT, SYMBOL, Side.LONG, quantity=Quantity(D(1)), leverage=D(10), at_ms=T0
    )
    machine.take_notices()
    return machine


class World:
    """An exchange with one traced account; its guards come and go."""

    def __init__(self, machine: PaperMachine, venue: PaperVenue) -> None:
        self.trace: list[str] = []
        self.clock = venue.clock
        self.machine = machine
        self.venue = venue
        self.journal = TracedJournal(self.trace)
        self.account = TracedAccount(venue, self.trace)
        self.policy = policy()

    async def guard(self) -> Guard:
        clock = self.clock
        assert isinstance(clock, Clock)
        return await assemble(
            self.policy, PaperMarket(self.venue), self.account, clock, self.journal
        )

    @asynccontextmanager
    async def guarding(self) -> AsyncIterator[Guard]:
        """A guard runs during the block and is stopped in order at its end."""
        guard = await self.guard()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(guard.run())
            yield guard
            guard.stop()

    async def guard_until(self, met: Callable[[], bool], *, longest_ms: int = 120_000) -> None:
        """Run a guard, and end it like kill -9 at the first moment at which `met` holds."""
        guard = await self.guard()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(guard.run())
            await self.wait_for(met, longest_ms=longest_ms)
            task.cancel()

    async def wait_for(self, met: Callable[[], bool], *, longest_ms: int = 120_000) -> None:
        """Look every millisecond until `met` holds."""
        until_ms = self.clock.now_ms() + longest_ms
        while not met():
            assert self.clock.now_ms() < until_ms, "what was waited for did not come"
            await self.clock.sleep_ms(1)

    def sent(self, kind: type[Action]) -> list[Action]:
        return [action for action, _ in self.account.sent if isinstance(action, kind)]

    @property
    def margins(self) -> list[Money]:
        """Every addition to the position's margin, as the exchange booked it."""
        changes = self.machine.margin_changes(ACCOUNT, SYMBOL, 0)
        return [change.amount for change in changes]


async def moved(journal: Journal) -> list[OutcomeReported]:
    """What the journal says about intents, in order."""
    rows = await journal.rows(0)
    return [from_json(r.entry.body, OutcomeReported) for r in rows if r.entry.kind is Kind.INTENT]


async def decisions(journal: Journal) -> list[tuple[Row, Recorded]]:
    """The decision rows, in order."""
    rows = await journal.rows(0)
    return [(r, from_json(r.entry.body, Recorded)) for r in rows if r.entry.kind is Kind.DECISION]


@asynccontextmanager
async def world(
    *corners: tuple[int, int], said: RestingStops = RestingStops.COEXIST
) -> AsyncIterator[World]:
    """A world whose price passes `corners` (milliseconds from T0, price) and then stays."""
    async with world_of(long_machine(said), *corners) as here:
        yield here


@asynccontextmanager
async def world_of(machine: PaperMachine, *corners: tuple[int, int]) -> AsyncIterator[World]:
    """The same around an exchange that a test has made."""
    path = [
        PricePoint(T0 + at_ms, SYMBOL, Price(D(price)), Price(D(price)))
        for at_ms, price in (*corners, (END_MS, corners[-1][1]))
    ]
    venue = PaperVenue(
        machine,
        iter(path),
        Clock(T0),
        latency_ms=LATENCY_MS,
        store=MemoryOnly(),
        faults=no_faults(),
    )
    async with venue, asyncio.TaskGroup() as tasks:
        prices = tasks.create_task(venue.run())
        yield World(machine, venue)
        prices.cancel()
