"""The guard's line to the exchange: seen by the observer, and with a will of its own."""

from collections.abc import Callable
from contextvars import Context
from dataclasses import replace

from bot.core.actions import Action, AddMargin
from bot.core.model import AccountSnapshot
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.venue import PaperAccount, PaperVenue
from bot.exchange.ports import (
    Accepted,
    Banned,
    Barred,
    MarginChange,
    Notice,
    OrderAbsent,
    OrderFound,
    Refused,
    Reply,
    Throttled,
    Unsure,
)
from tests.sim.case import ACCOUNT
from tests.sim.lives import LIFE
from tests.sim.observer import Observer
from tests.sim.swarm import SwarmFaults

BANNED = "-1003 Way too many requests; this address is banned."
THROTTLED = "-1003 Too many requests."


class QueueingVenue(PaperVenue):
    """A venue that takes some requests in time, says nothing, and performs them much later."""

    faults: SwarmFaults

    async def write(self, act: Callable[[PaperMachine, int], Accepted | Refused]) -> Reply:
        """A request that travels both ways, or waits inside the venue."""
        queued_ms = self.faults.queued_ms()
        if not queued_ms:
            return await super().write(act)
        # It belongs to the venue: it must not die with the life of the guard that sent it.
        Context().run(self._begin, act, queued_ms)
        await self.clock.sleep_ms(self.faults.timeout_ms)
        return Unsure(f"no reply within {self.faults.timeout_ms} ms")

    def _begin(self, act: Callable[[PaperMachine, int], Accepted | Refused], in_ms: int) -> None:
        self._requests.create_task(self._perform(act, in_ms))

    async def _perform(
        self, act: Callable[[PaperMachine, int], Accepted | Refused], queued_ms: int
    ) -> None:
        await self.clock.sleep_ms(self.latency_ms + queued_ms)
        self.at_now(act)


class ObservedAccount(PaperAccount):
    """
    The guard's side of the account: the observer sees what it asks and is told.

    The venue's clock is skewed, and an address that is banned is told so at once.
    """

    def __init__(self, venue: QueueingVenue, observer: Observer) -> None:
        super().__init__(venue, ACCOUNT)
        self._faults, self._observer = venue.faults, observer
        self._skew_ms = observer.case.swarm.skew_ms

    async def snapshot(self) -> AccountSnapshot:
        """Read, seen."""
        await self._pass()
        snapshot = await super().snapshot()
        self._observer.read_delivered(snapshot)
        return replace(snapshot, taken_at_ms=snapshot.taken_at_ms + self._skew_ms)

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        """Publish notices, some of them twice."""

        def pass_on(notice: Notice) -> None:
            for _ in range(self._faults.times_said()):
                publish(notice)

        await super().stream(pass_on)

    async def send(self, action: Action, client_id: str) -> Reply:
        """Send, seen."""
        self._observer.sends(action, client_id)
        LIFE.get().sends()
        reply = await self._answer(action, client_id)
        self._observer.replied(client_id, reply)
        return reply

    async def _answer(self, action: Action, client_id: str) -> Reply:
        if until_ms := self._faults.banned_until_ms():
            await self._venue.clock.sleep_ms(2 * self._venue.latency_ms)
            self._observer.told_of_ban(until_ms)
            return Barred(BANNED, until_ms)
        self._faults.moves_margin = isinstance(action, AddMargin)
        return await super().send(action, client_id)

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        """Look an order up."""
        await self._pass()
        return await super().order(symbol, client_id)

    async def margin_changes(self, symbol: str, since_ms: int) -> tuple[MarginChange, ...]:
        """Margin added since a moment of the venue's clock."""
        await self._pass()
        changes = await super().margin_changes(symbol, since_ms - self._skew_ms)
        return tuple(replace(each, at_ms=each.at_ms + self._skew_ms) for each in changes)

    async def _pass(self) -> None:
        self._observer.asks()
        if until_ms := self._faults.banned_until_ms():
            await self._venue.clock.sleep_ms(2 * self._venue.latency_ms)
            self._observer.told_of_ban(until_ms)
            raise Banned(BANNED, until_ms)
        if until_ms := self._faults.throttled_until_ms():
            await self._venue.clock.sleep_ms(2 * self._venue.latency_ms)
            raise Throttled(THROTTLED, until_ms)
