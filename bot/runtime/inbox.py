"""
The inbox: where everything that happens to a guard arrives, in order.

Only mark prices are coalesced (the newest of each symbol). Account events are never dropped one
by one: an inbox that is full gives up its account reads as a whole and says StreamLost.
"""

import asyncio
from collections import deque

from bot.clock import Clock
from bot.core.events import AccountReported, Event, MarkPrice, StreamLost

EVENTS_MAX = 1_000


class Inbox:
    """Events of one account, for its one writer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: deque[Event] = deque()
        self._marks: dict[str, MarkPrice] = {}
        self._arrived = asyncio.Event()

    def put(self, event: Event) -> None:
        """Deliver an event; never blocks."""
        if isinstance(event, MarkPrice):
            self._marks[event.symbol] = event
        elif len(self._events) >= EVENTS_MAX and isinstance(event, AccountReported):
            self._give_up_reads()
        else:
            self._events.append(event)
        self._arrived.set()

    async def wait(self, until_ms: int) -> None:
        """Return when something has arrived, or at `until_ms`."""
        loop, wait_s = asyncio.get_running_loop(), (until_ms - self._clock.now_ms()) / 1000
        timer = loop.call_later(max(wait_s, 0.0), self._arrived.set)
        try:
            await self._arrived.wait()
        finally:
            timer.cancel()

    def drain(self) -> list[Event]:
        """Take everything: the newest marks first, then account events in order."""
        self._arrived.clear()
        drained: list[Event] = [*self._marks.values(), *self._events]
        self._marks.clear()
        self._events.clear()
        return drained

    def _give_up_reads(self) -> None:
        kept = [event for event in self._events if not isinstance(event, AccountReported)]
        lost = StreamLost("the inbox was full", self._clock.now_ms())
        self._events = deque([*kept, lost])
