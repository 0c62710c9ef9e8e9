"""The things that go wrong, each at the seam where the real thing would."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import assert_never

from bot.clock import Clock
from bot.core.events import BarsReported, FundingReported, IntentState, MarkPrice
from bot.core.model import Instrument
from bot.exchange.paper.faults import Delivery, Faults, ReplyLost, RequestLost, Travels, Trip
from bot.exchange.paper.venue import PaperMarket
from bot.exchange.ports import Banned, Quoted
from bot.journal.port import (
    Entry,
    Found,
    Head,
    IntentMoved,
    Journal,
    JournalUnavailable,
    Kind,
    Row,
)
from tests.sim.mishaps import QUEUED_MAX_MS, Swarm, Windows
from tests.sim.observer import Observer


class SwarmFaults(Faults):
    """The paper exchange's faults until they stop, with blackouts, each counted."""

    def __init__(
        self, swarm: Swarm, random: Random, rarer: Random, clock: Clock, observer: Observer
    ) -> None:
        super().__init__(swarm.plan, random)
        self._swarm, self._clock, self._observer = swarm, clock, observer
        self._chance, self._rarer = random, rarer
        self.moves_margin = False
        """Whether the next request moves margin: such have a worse fate in some seeds."""

    def request(self) -> Trip:
        """The fate of one write."""
        if self._is_dark():
            return RequestLost()
        trip = self._trip() if self._is_on() else Travels(0, 0)
        match trip:
            case RequestLost():
                self._observer.disturbed("request_lost")
            case ReplyLost():
                self._observer.disturbed("reply_lost")
            case Travels(there_ms, back_ms) if there_ms or back_ms:
                self._observer.disturbed("request_late" if there_ms else "reply_late")
            case Travels():
                pass
        return trip

    def _trip(self) -> Trip:
        trip = super().request()
        if self.moves_margin:
            drawn = self._chance.random()
            if drawn < self._swarm.margin_lost:
                return RequestLost()
            if drawn < self._swarm.margin_lost + self._swarm.margin_reply_lost:
                return ReplyLost()
        return trip

    def read(self) -> Trip:
        """The fate of one read."""
        if self._is_dark():
            return RequestLost()
        trip = super().read() if self._is_on() else Travels(0, 0)
        if isinstance(trip, RequestLost):
            self._observer.disturbed("read_lost")
        elif self._happens(self._swarm.read_late):
            self._observer.disturbed("read_late")
            return Travels(0, self._rarer.randint(1, self.timeout_ms))
        return trip

    def queued_ms(self) -> int:
        """How long the venue keeps a request that moves margin waiting, 0 for not at all."""
        if (
            not self.moves_margin
            or self._is_dark()
            or not self._happens(self._swarm.margin_queued)
        ):
            return 0
        self._observer.disturbed("margin_queued")
        return self._rarer.randint(1, QUEUED_MAX_MS)

    def times_said(self) -> int:
        """How often a notice or a price is passed on that comes through."""
        return 2 if self._happens(self._swarm.said_twice) else 1

    def banned_until_ms(self) -> int:
        """Until when the venue answers nothing but that it does not answer; 0 where it does."""
        return self._ends_ms("banned")

    def throttled_until_ms(self) -> int:
        """Until when the venue wants no reads; 0 where it takes them."""
        return self._ends_ms("throttled")

    def _ends_ms(self, outage: str) -> int:
        until_ms = self._swarm.outages[outage].end(self._clock.now_ms())
        if until_ms:
            self._observer.disturbed(outage)
        return until_ms

    def _happens(self, chance: float) -> bool:
        return bool(chance) and self._is_on() and self._rarer.random() < chance

    def notice(self) -> Delivery:
        """The fate of one notice."""
        if self._is_dark():
            return Delivery.LOST
        delivery = super().notice() if self._is_on() else Delivery.DELIVERED
        if delivery is Delivery.LOST:
            self._observer.disturbed("notice_lost")
        elif delivery is Delivery.STREAM_BROKEN:
            self._observer.disturbed("stream_broken")
        return delivery

    def stops_refused(self, at_ms: int) -> bool:
        """Whether the stop endpoint refuses."""
        refused = self._swarm.outages["stops_down"].cover(at_ms) or (
            self._is_on() and super().stops_refused(at_ms)
        )
        if refused:
            self._observer.disturbed("stops_refused")
        return refused

    def refuse_stops(self, at_ms: int) -> bool:
        """Whether a stop that arrived at `at_ms` would be refused for sure."""
        by_chance = at_ms < self._stops_refused_until_ms
        return (by_chance and self._is_on()) or self._swarm.outages["stops_down"].cover(at_ms)

    def _is_on(self) -> bool:
        return self._clock.now_ms() < self._swarm.until_ms

    def _is_dark(self) -> bool:
        dark = self._swarm.outages["blackout"].cover(self._clock.now_ms())
        if dark:
            self._observer.disturbed("blackout")
        return dark


class StallingMarket:
    """
    A `MarketData` whose prices stop coming for a while, unnoticed: all, or those of `weak`.

    It tells the time of a settlement by the venue's clock.
    """

    def __init__(
        self,
        market: PaperMarket,
        faults: SwarmFaults,
        clock: Clock,
        weak: str,
        observer: Observer,
    ) -> None:
        swarm = observer.case.swarm
        self._market, self._faults, self._clock = market, faults, clock
        self._observer, self._skew_ms = observer, swarm.skew_ms
        self._stalls = (swarm.outages["market_stalled"], swarm.outages["blackout"])
        self._symbol_stalls, self._weak = swarm.outages["symbol_stalled"], weak

    async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
        """Rules of the named symbols."""
        self._refuse_banned()
        return await self._market.instruments(symbols)

    def _refuse_banned(self) -> None:
        if until_ms := self._faults.banned_until_ms():
            self._observer.told_of_ban(until_ms)
            raise Banned("this address is banned", until_ms)

    def latest(self) -> tuple[Quoted, ...]:
        """The newest prices and bills; none of those that do not come."""
        return tuple(self._told(each) for each in self._market.latest() if self._delivers(each))

    async def bars(self, symbol: str) -> BarsReported:
        """The newest closed bars."""
        self._refuse_banned()
        return await self._market.bars(symbol)

    async def stream(self, publish: Callable[[Quoted], None]) -> None:
        """Publish what comes, some of it twice."""

        def pass_on(quoted: Quoted) -> None:
            if self._delivers(quoted):
                for _ in range(self._faults.times_said()):
                    publish(self._told(quoted))

        await self._market.stream(pass_on)

    def _told(self, quoted: Quoted) -> Quoted:
        match quoted:
            case FundingReported(next_at_ms=at_ms):
                return replace(quoted, next_at_ms=at_ms + self._skew_ms)
            case MarkPrice():
                return quoted
        assert_never(quoted)

    def _delivers(self, quoted: Quoted) -> bool:
        now_ms = self._clock.now_ms()
        stalled, dark = self._stalls
        if stalled.cover(now_ms) or dark.cover(now_ms):
            self._observer.mark_withheld(quoted.symbol, "market_stalled")
            return False
        if quoted.symbol == self._weak and self._symbol_stalls.cover(now_ms):
            self._observer.mark_withheld(quoted.symbol, "symbol_stalled")
            return False
        if isinstance(quoted, MarkPrice):
            self._observer.mark_delivered(quoted.symbol, quoted.price)
        return True


class FailingJournal:
    """
    A `Journal` whose store fails for a while.

    An append lets others run before and after it, as a journal with a network in between would:
    the process can die on either side of the moment in which the rows become durable.
    """

    def __init__(self, journal: Journal, clock: Clock, down: Windows, observer: Observer) -> None:
        self._journal, self._clock, self._down = journal, clock, down
        self._observer = observer

    async def append(self, entries: Sequence[Entry]) -> Head:
        """Write all rows or none."""
        await self._clock.sleep_ms(0)
        self._fail_if_down()
        head = await self._journal.append(entries)
        self._observer.journal_works()
        for entry in entries:
            if entry.kind is Kind.DECISION:
                self._observer.decided_durably(entry.body)
            match entry.subject:
                case IntentMoved(intent_id, IntentState.PREPARED):
                    self._observer.became_durable(intent_id)
                case _:
                    pass
        await self._clock.sleep_ms(0)
        return head

    async def keep(self, text: str) -> str:
        """Store a text."""
        self._fail_if_down()
        return await self._journal.keep(text)

    async def kept(self, digest: str) -> str:
        """A stored text."""
        self._fail_if_down()
        return await self._journal.kept(digest)

    async def last(self, kind: Kind) -> Found:
        """The newest row of a kind."""
        self._fail_if_down()
        return await self._journal.last(kind)

    async def rows(self, after: int) -> Sequence[Row]:
        """All rows after a sequence."""
        self._fail_if_down()
        return await self._journal.rows(after)

    async def close(self) -> None:
        """Release the store."""
        await self._journal.close()

    def _fail_if_down(self) -> None:
        if self._down.cover(self._clock.now_ms()):
            self._observer.journal_failed()
            raise JournalUnavailable("simulated: the disk is full")
