"""The things that go wrong, each at the seam where the real thing would."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar, assert_never

from bot.clock import Clock
from bot.core.events import BarsReported, FundingReported, IntentState, MarkPrice
from bot.core.model import Instrument
from bot.exchange.paper.faults import Delivery, Faults, ReplyLost, RequestLost, Travels, Trip
from bot.exchange.paper.venue import PaperMarket
from bot.exchange.ports import Banned, Quoted, Unreachable
from bot.journal.port import (
    Entry,
    Found,
    Head,
    IntentMoved,
    Journal,
    JournalDamaged,
    JournalUnavailable,
    Kind,
    Row,
)
from tests.sim.ingredients import INGREDIENTS, LATE_MAX_MS, own_stream
from tests.sim.mishaps import QUEUED_MAX_MS, Swarm, Windows
from tests.sim.observer import Observer

MAINTAINED = "503 The system is being maintained."

T = TypeVar("T")

STORE_FAILS = 0.03
"""So many of the appends fail in a seed where some do."""

HALTED = 0.5
"""In so many of the maintained venues prices stop too."""

LATE = 0.15
"""So many of the prices or notices come late in a seed where some do."""


class SwarmFaults(Faults):
    """The paper exchange's faults until they stop, with blackouts, each counted."""

    def __init__(
        self, swarm: Swarm, random: Random, rarer: Random, clock: Clock, observer: Observer
    ) -> None:
        super().__init__(swarm.plan, random)
        self._swarm, self._clock, self._observer = swarm, clock, observer
        self._chance, self._rarer = random, rarer
        case = observer.case
        self._own = {kind: own_stream(case.stream, kind, "each") for kind in INGREDIENTS}
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

    def late_ms(self, kind: str) -> int:
        """How late a price or a notice comes that is passed on, by the ingredient `kind`."""
        if not self.strikes(kind, LATE):
            return 0
        self._observer.occurred(kind)
        return self._own[kind].randint(1, LATE_MAX_MS)

    def strikes(self, kind: str, chance: float) -> bool:
        """Whether the ingredient `kind` does so this time."""
        is_on = kind in self._swarm.enabled and self._is_on()
        return is_on and self._own[kind].random() < chance

    def own(self, kind: str) -> Random:
        """What an ingredient draws from each time."""
        return self._own[kind]

    def times_said(self) -> int:
        """How often a notice or a price is passed on that comes through."""
        return 2 if self._happens(self._swarm.said_twice) else 1

    def banned_until_ms(self) -> int:
        """Until when the venue answers nothing but that it does not answer; 0 where it does."""
        return self._ends_ms("banned")

    def is_maintained(self) -> bool:
        """Whether the venue is being maintained: it answers, but nothing is to be had."""
        return bool(self._ends_ms("maintenance"))

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


def later(late_ms: int, do: Callable[[T], None], what: T, observer: Observer) -> None:
    """Do it so much later, if the process lives that does it."""
    life = observer.life

    def if_alive() -> None:
        if observer.life == life:
            do(what)

    asyncio.get_running_loop().call_later(late_ms / 1000, if_alive)


class StallingMarket:
    """
    A `MarketData` whose prices stop coming for a while, unnoticed: all, or those of `weak`.

    It tells the time of a settlement by the venue's clock. Where some come late, what it tells is
    the last that came, which a newer one may have overtaken.
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
        self._offset_ms = observer.offset_ms
        self._lags = "prices_late" in swarm.enabled
        self._came: dict[tuple[type[Quoted], str], Quoted] = {}
        halts = own_stream(observer.case.stream, "maintenance", "prices").random() < HALTED
        self._stalls = (
            swarm.outages["market_stalled"],
            swarm.outages["blackout"],
            swarm.outages["maintenance"] if halts else Windows(),
        )
        self._symbol_stalls, self._weak = swarm.outages["symbol_stalled"], weak

    async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
        """Rules of the named symbols."""
        self._refuse()
        return await self._market.instruments(symbols)

    def _refuse(self) -> None:
        if until_ms := self._faults.banned_until_ms():
            self._observer.told_of_ban(until_ms)
            raise Banned("this address is banned", until_ms + self._offset_ms)
        if self._faults.is_maintained():
            raise Unreachable(MAINTAINED)

    def latest(self) -> tuple[Quoted, ...]:
        """The newest prices and bills; none of those that do not come."""
        if self._lags:
            for each in self._market.latest():  # what was there before the stream began
                self._came.setdefault((type(each), each.symbol), each)
            return tuple(self._told(each) for each in self._came.values() if self._delivers(each))
        return tuple(self._told(each) for each in self._market.latest() if self._delivers(each))

    async def bars(self, symbol: str) -> BarsReported:
        """The newest closed bars."""
        self._refuse()
        bars = await self._market.bars(symbol)
        return replace(bars, received_at_ms=bars.received_at_ms + self._offset_ms)

    async def stream(self, publish: Callable[[Quoted], None]) -> None:
        """Publish what comes, some of it twice, some late."""

        def pass_on(quoted: Quoted) -> None:
            for _ in range(self._faults.times_said()):
                if self._delivers(quoted):
                    self._came[type(quoted), quoted.symbol] = quoted
                    publish(self._told(quoted))

        def pass_on_in_time(quoted: Quoted) -> None:
            if late_ms := self._faults.late_ms("prices_late"):
                self._observer.mark_withheld(quoted.symbol)
                later(late_ms, pass_on, quoted, self._observer)
            else:
                pass_on(quoted)

        await self._market.stream(pass_on_in_time)

    def _told(self, quoted: Quoted) -> Quoted:
        """As the guard is told it: received now, with the time by the venue's clock."""
        at_ms = self._clock.now_ms() + self._offset_ms
        match quoted:
            case FundingReported(next_at_ms=next_at_ms):
                # A settlement has its place on the venue's calendar: no clock that jumps moves it.
                by_venue_ms = next_at_ms + self._skew_ms
                return replace(quoted, next_at_ms=by_venue_ms, received_at_ms=at_ms)
            case MarkPrice(received_at_ms=received_at_ms) if received_at_ms == at_ms:
                return quoted
            case MarkPrice():
                return replace(quoted, received_at_ms=at_ms)
        assert_never(quoted)

    def _delivers(self, quoted: Quoted) -> bool:
        now_ms = self._clock.now_ms()
        stalled, dark, halted = self._stalls
        if stalled.cover(now_ms) or dark.cover(now_ms) or halted.cover(now_ms):
            self._observer.disturbed("market_stalled")
            self._observer.mark_withheld(quoted.symbol)
            return False
        if quoted.symbol == self._weak and self._symbol_stalls.cover(now_ms):
            self._observer.disturbed("symbol_stalled")
            self._observer.mark_withheld(quoted.symbol)
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
        self._observer, self._swarm = observer, observer.case.swarm
        stream = observer.case.stream
        self._own = {
            kind: own_stream(stream, kind, "each") for kind in ("commits_fails", "append_fails")
        }
        self.lies = "commits_fails" in self._swarm.enabled
        """Whether it may take rows and say that it has failed."""

    async def append(self, entries: Sequence[Entry]) -> Head:
        """Write all rows or none."""
        await self._clock.sleep_ms(0)
        self._fail_if_down()
        if self._strikes("append_fails"):
            raise JournalUnavailable("simulated: an input or output error")
        head = await self._journal.append(entries)
        self._observer.journal_works()
        for sequence in range(head.sequence - len(entries) + 1, head.sequence + 1):
            self._observer.offsets_ms[sequence] = self._observer.offset_ms
        for entry in entries:
            if entry.kind is Kind.DECISION:
                self._observer.decided_durably(entry.body)
            match entry.subject:
                case IntentMoved(intent_id, IntentState.PREPARED):
                    self._observer.became_durable(intent_id)
                case _:
                    pass
        if self._strikes("commits_fails"):
            raise JournalDamaged("simulated: the disk failed, and yet the rows are there")
        await self._clock.sleep_ms(0)
        return head

    def _strikes(self, kind: str) -> bool:
        """Whether the store fails at this moment, in that way."""
        is_on = kind in self._swarm.enabled and self._clock.now_ms() < self._swarm.until_ms
        if not (is_on and self._own[kind].random() < STORE_FAILS):
            return False
        self._observer.disturbed(kind)
        if kind == "append_fails":
            self._observer.journal_failed()
        return True

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
