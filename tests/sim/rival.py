"""
Another guard on the same account: it was begun later, by somebody who had forgotten the first.

It has a journal of its own, so that it knows nothing of what the elder one has spent. Once it has
seen a stop of that one it adds no margin; both keep their stops.
"""

import asyncio
from contextvars import ContextVar, copy_context

from bot.clock import Clock
from bot.core.actions import Action, AddMargin, CancelStop, PlaceStop
from bot.core.model import AccountSnapshot
from bot.exchange.paper.venue import PaperAccount, PaperMarket
from bot.exchange.ports import Accepted, Reply, Unreachable
from bot.journal.sqlite import SqliteJournal
from bot.runtime.assemble import assemble
from tests.sim.case import ACCOUNT, Case
from tests.sim.ingredients import own_stream
from tests.sim.line import QueueingVenue
from tests.sim.lives import LIFE, Life
from tests.sim.observer import Observer
from tests.sim.requests import NEVER_MS
from tests.sim.watch import BACKOFF_MS, QUIET_MS

HEARD_MS = 1_000
RETRY_MS = 1_000
LOOKS_MS = 1_000

IS_RIVAL: ContextVar[bool] = ContextVar("is_rival", default=False)
"""Whether what runs belongs to this guard, and not to the one that is judged."""


class RivalAccount(PaperAccount):
    """The account as the other guard sees it, which holds that against what it may do."""

    def __init__(self, venue: QueueingVenue, observer: Observer) -> None:
        super().__init__(venue, ACCOUNT)
        self._faults, self._observer = venue.faults, observer
        self.is_younger = True
        """Whether the guard that is judged was there before it."""
        self.saw_at_ms = NEVER_MS
        """When it was first shown a stop of that one."""
        self.refused_at_ms = NEVER_MS
        """When a stop of its own was refused, or did not get through, last."""

    async def snapshot(self) -> AccountSnapshot:
        """Read, and remember what was seen of the other guard."""
        snapshot = await super().snapshot()
        if self.saw_at_ms == NEVER_MS and any(
            stop.client_id in self._observer.requests for stop in snapshot.stops
        ):
            self.saw_at_ms = self._observer.clock.now_ms()
        return snapshot

    async def send(self, action: Action, client_id: str) -> Reply:
        """Send, and hold it against what this guard may do."""
        observer, now_ms = self._observer, self._observer.clock.now_ms()
        observer.strangers.add(client_id)
        adds, knows = isinstance(action, AddMargin), self.saw_at_ms != NEVER_MS
        if adds and self.is_younger and knows and now_ms - self.saw_at_ms > HEARD_MS:
            observer.broke("two guards", f"the younger one spends: {action}")
        self._faults.moves_margin = adds
        reply = await super().send(action, client_id)
        observer.note(f"the other guard: {action}: {reply}")
        if not isinstance(action, PlaceStop | CancelStop):
            observer.disturbed("rival_acts")
            observer.user_spent_at_ms = now_ms
        elif isinstance(reply, Accepted):
            observer.occurred("rival_stops")
        elif isinstance(action, PlaceStop):
            self.refused_at_ms = observer.clock.now_ms()
        return reply


class Rival:
    """Begins that guard at its time, and looks whether it keeps its stops."""

    def __init__(self, case: Case, venue: QueueingVenue, clock: Clock, observer: Observer) -> None:
        self._case, self._venue, self._clock, self._observer = case, venue, clock, observer
        self._account = RivalAccount(venue, observer)
        self._bare_since_ms: dict[str, int] = {}
        self._began_at_ms = NEVER_MS

    async def live(self) -> None:
        """Guard from its beginning to the end of the prices."""
        when = own_stream(self._case.stream, "rival", "when")
        await self._clock.sleep_ms(round(self._case.duration_ms * when.uniform(0.1, 0.6)))
        context = copy_context()
        context.run(IS_RIVAL.set, True)
        context.run(LIFE.set, Life())
        loop = asyncio.get_running_loop()
        guarding = context.run(loop.create_task, self._guard())
        try:
            while not guarding.done():
                await self._clock.sleep_ms(LOOKS_MS)
                self._look()
            await guarding
        finally:
            guarding.cancel()

    async def _guard(self) -> None:
        journal = SqliteJournal.open(None, ACCOUNT)
        try:
            market = PaperMarket(self._venue)
            while True:
                try:
                    guard = await assemble(
                        self._case.policy, market, self._account, self._clock, journal
                    )
                    break
                except Unreachable:
                    await self._clock.sleep_ms(RETRY_MS)
            self._account.is_younger = guard.state.birth.at_ms > self._observer.born_ms
            self._began_at_ms = self._clock.now_ms()
            self._observer.occurred("rival")
            await guard.run()
        finally:
            await journal.close()

    def _look(self) -> None:
        """Each position that needs a stop has one of this guard too, once nothing hinders it."""
        observer, at_ms = self._observer, self._clock.now_ms()
        if self._began_at_ms == NEVER_MS:
            return
        scene = observer.scene()
        for symbol, truth in scene.truths.items():
            level = scene.real[truth.group].levels[symbol]
            has_one = bool(observer.proper_of(observer.strangers, truth, level))
            if has_one or not truth.can_reach(level) or truth.is_past(level):
                self._bare_since_ms.pop(symbol, None)
                continue
            since_ms = self._bare_since_ms.setdefault(symbol, at_ms)
            troubled_ms = max(since_ms, observer.disturbed_at_ms, self._began_at_ms)
            refused_ms = at_ms - self._account.refused_at_ms
            if at_ms - troubled_ms > QUIET_MS and refused_ms > BACKOFF_MS:
                self._bare_since_ms[symbol] = at_ms
                observer.broke("two guards", f"the younger one keeps no stop of {symbol}")
