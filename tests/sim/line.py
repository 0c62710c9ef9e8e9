"""The guard's line to the exchange: seen by the observer, and with a will of its own."""

from collections.abc import Callable
from contextvars import Context
from dataclasses import replace
from typing import assert_never

from bot.core.actions import Action, AddMargin
from bot.core.events import AutoDeleveraged, Liquidated
from bot.core.model import AccountSnapshot
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.venue import PaperAccount, PaperVenue
from bot.exchange.ports import (
    Accepted,
    AccountChanged,
    Banned,
    Barred,
    MarginChange,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Refused,
    Reply,
    Throttled,
    Unreachable,
    Unsure,
)
from tests.sim import reads
from tests.sim.case import ACCOUNT
from tests.sim.ingredients import own_stream
from tests.sim.lives import LIFE
from tests.sim.observer import Observer
from tests.sim.requests import NEVER_MS
from tests.sim.swarm import MAINTAINED, SwarmFaults, later

BANNED = "-1003 Way too many requests; this address is banned."
THROTTLED = "-1003 Too many requests."
MAINTENANCE = Refused("50001", "The system is being maintained.")
UNSURE = 0.5
"""So many of the maintained venues answer a request with what proves nothing."""

GARBLED = 0.15
"""So many of the reads have a row that nobody can read, in a seed where some do."""


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
        self._swarm, self._offset_ms = observer.case.swarm, observer.offset_ms
        is_unsure = own_stream(observer.case.stream, "maintenance", "reply").random() < UNSURE
        self._maintained = Unsure(MAINTAINED) if is_unsure else MAINTENANCE

    async def snapshot(self) -> AccountSnapshot:
        """Read, seen."""
        await self._pass()
        snapshot = self._as_shown(await super().snapshot())
        self._observer.read_delivered(snapshot)
        skew_ms = self._swarm.skewed_ms(snapshot.taken_at_ms)
        return replace(snapshot, taken_at_ms=snapshot.taken_at_ms + skew_ms)

    def _as_shown(self, read: AccountSnapshot) -> AccountSnapshot:
        if read.positions and self._faults.strikes("garbled", GARBLED):
            self._observer.disturbed("garbled")
            read = reads.garbled(read, self._faults.own("garbled"))
        if read.positions and self._faults.strikes("lacking", GARBLED):
            self._observer.disturbed("lacking")
            read = reads.lacking(read, self._faults.own("lacking"))
        if read.stops and self._faults.strikes("stops_unread", GARBLED):
            self._observer.disturbed("stops_unread")
            read = reads.without_a_stop(read, self._faults.own("stops_unread"))
        return read

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        """Publish notices, some of them twice, some late; none while the venue is maintained."""
        if self._faults.is_maintained():
            raise Unreachable(MAINTAINED)

        def pass_on(notice: Notice) -> None:
            for _ in range(self._faults.times_said()):
                publish(_received(notice, self._venue.clock.now_ms() + self._offset_ms))

        def pass_on_in_time(notice: Notice) -> None:
            if self._faults.is_maintained():
                return
            if late_ms := self._faults.late_ms("notices_late"):
                later(late_ms, pass_on, notice, self._observer)
            else:
                pass_on(notice)

        await super().stream(pass_on_in_time)

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
            return Barred(BANNED, until_ms + self._offset_ms)
        if self._faults.is_maintained():
            await self._venue.clock.sleep_ms(2 * self._venue.latency_ms)
            return self._maintained
        self._faults.moves_margin = isinstance(action, AddMargin)
        return await super().send(action, client_id)

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        """Look an order up."""
        await self._pass()
        return await super().order(symbol, client_id)

    async def margin_changes(
        self, symbol: str, since_ms: int
    ) -> tuple[MarginChange, ...] | NoMarginHistory:
        """Margin added since a moment of the venue's clock, if the venue tells of it."""
        if "no_margin_history" in self._swarm.enabled:
            self._observer.occurred("no_margin_history")
            return NoMarginHistory()
        await self._pass()
        changes = await super().margin_changes(symbol, NEVER_MS)
        assert not isinstance(changes, NoMarginHistory)
        told = (
            replace(each, at_ms=each.at_ms + self._swarm.skewed_ms(each.at_ms)) for each in changes
        )
        return tuple(each for each in told if each.at_ms >= since_ms)

    async def _pass(self) -> None:
        self._observer.asks()
        if until_ms := self._faults.banned_until_ms():
            await self._venue.clock.sleep_ms(2 * self._venue.latency_ms)
            self._observer.told_of_ban(until_ms)
            raise Banned(BANNED, until_ms + self._offset_ms)
        if until_ms := self._faults.throttled_until_ms():
            await self._venue.clock.sleep_ms(2 * self._venue.latency_ms)
            raise Throttled(THROTTLED, until_ms + self._offset_ms)
        if self._faults.is_maintained():
            await self._venue.clock.sleep_ms(2 * self._venue.latency_ms)
            raise Unreachable(MAINTAINED)


def _received(notice: Notice, at_ms: int) -> Notice:
    match notice:
        case Liquidated() | AutoDeleveraged():
            return replace(notice, received_at_ms=at_ms)
        case AccountChanged():
            return notice
    assert_never(notice)
