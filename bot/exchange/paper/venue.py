"""
The paper exchange seen through a network: latency, lost messages, and prices that move in time.

The machine is advanced lazily: before anything is asked of it, it lives through the path up to
that moment. Requests belong to the venue once sent: they arrive although their sender is gone.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar, assert_never

import structlog

from bot.core.actions import Action, PlaceStop
from bot.core.events import (
    AutoDeleveraged,
    BarsReported,
    FundingReported,
    Liquidated,
    MarkPrice,
)
from bot.core.model import AccountSnapshot, Instrument
from bot.exchange.paper.course import Course
from bot.exchange.paper.faults import Delivery, Network, ReplyLost, RequestLost, Travels
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.placing import STOPS_REFUSED
from bot.exchange.paper.prices import (
    Charts,
    Clock,
    FundingTerm,
    PathItem,
    PricePoint,
    no_charts,
)
from bot.exchange.paper.store import Store
from bot.exchange.paper.telling import tell
from bot.exchange.paper.timeline import PathEnded, Upcoming
from bot.exchange.paper.wires import Topic
from bot.exchange.ports import (
    Accepted,
    AccountChanged,
    MarginChange,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Quoted,
    Refused,
    Reply,
    Unreachable,
    Unsure,
)

RECV_WINDOW_MS = 5_000
"""A request that arrives later than this after it was sent is refused."""

T = TypeVar("T")

log = structlog.get_logger()


class PaperVenue:
    """
    One exchange and the way to it. Use it as `async with`: requests under way live inside.

    Leaving waits until they have arrived, or cancels them when leaving by an exception. A
    failure of the store ends the block with that failure: an exchange cannot go on without.
    """

    def __init__(
        self,
        machine: PaperMachine,
        path: Iterator[PathItem],
        clock: Clock,
        *,
        latency_ms: int,
        store: Store,
        faults: Network,
    ) -> None:
        """
        Continue `machine` along `path`, from the prices that the machine has reached.

        `latency_ms` is what each message takes one way. The clock may not be behind the machine.
        """
        self.clock = clock
        self.faults = faults
        self.latency_ms = latency_ms
        self.quoted: Topic[Upcoming] = Topic(clock)
        self.ended = False
        self._store = store
        self._course = Course(path, machine)
        self._notices: dict[str, Topic[Notice]] = {}
        self._told = {each: len(machine.liquidation(each)) for each in machine.accounts}
        self._requests = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._requests.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._requests.__aexit__(kind, error, trace)
        except BaseExceptionGroup as e:
            # Nearly always one thing failed: the caller handles that, and need not know of groups.
            raise e.exceptions[0] if len(e.exceptions) == 1 else e from None

    async def run(self) -> None:
        """Live through the path, publishing each of its items; return at its end."""
        while not isinstance(item := self._course.upcoming(), PathEnded):
            await self.clock.sleep_ms(item.at_ms - self.clock.now_ms())
            self.advance()
        self.ended = True
        self.quoted.send(PathEnded(), self.clock.now_ms() + self.latency_ms)

    def advance(self) -> None:
        """Live through the path until now."""
        self.at_now(lambda machine, now_ms: None)

    def at_now(self, act: Callable[[PaperMachine, int], T]) -> T:
        """
        Let `act` read or change the machine at the prices and the time of this moment.

        What changed an account is stored before this returns, and announced. No network is in
        between: this is also how a simulation lets a human act by hand.
        """
        now_ms = self.clock.now_ms()
        machine = self._course.machine
        for item in self._course.advance(now_ms):
            self.quoted.send(item, item.at_ms + self.latency_ms)
        self._course.forget(now_ms - self.latency_ms)
        answer = act(machine, now_ms)
        if notices := machine.take_notices():
            self._store.save(machine)
            self._log_liquidations(machine, notices)
            for account, notice in notices:
                self.notices(account).send(notice, now_ms + self.latency_ms)
        return answer

    def _log_liquidations(
        self, machine: PaperMachine, notices: tuple[tuple[str, Notice], ...]
    ) -> None:
        for account in {name: None for name, told in notices if isinstance(told, Liquidated)}:
            steps = machine.liquidation(account)
            for line in tell(steps[self._told.get(account, 0) :]):
                log.warning("liquidation.stepped", account=account, step=line)
            self._told[account] = len(steps)

    def notices(self, account: str) -> Topic[Notice]:
        """What happens to `account`."""
        return self._notices.setdefault(account, Topic(self.clock))

    def seen(self) -> tuple[Quoted, ...]:
        """The mark prices and bills that have reached the other end of the line by now."""
        now_ms = self.clock.now_ms()
        then_ms = now_ms - self.latency_ms
        marks = (MarkPrice(each, at.mark, now_ms) for each, at in self._course.prices(then_ms))
        bills = (_bill(term, now_ms) for term in self._course.terms(then_ms))
        return (*marks, *bills)

    async def read(self, ask: Callable[[PaperMachine, int], T]) -> T:
        """An answer that travels both ways; raises `Unreachable` when none comes in time."""
        match self.faults.read():
            case Travels(there_ms, back_ms) if self._in_time(there_ms + back_ms):
                await self.clock.sleep_ms(self.latency_ms + there_ms)
                answer = self.at_now(ask)
                await self.clock.sleep_ms(self.latency_ms + back_ms)
                return answer
            case RequestLost() | ReplyLost() | Travels():
                await self.clock.sleep_ms(self.faults.timeout_ms)
                raise Unreachable(self._no_reply())

    async def write(self, act: Callable[[PaperMachine, int], Accepted | Refused]) -> Reply:
        """
        A request that travels both ways, refused when it arrives after its window.

        `Unsure` when no reply comes in time; the request may then still be under way.
        """
        trip, sent_at_ms = self.faults.request(), self.clock.now_ms()

        async def arrive(after_ms: int) -> Accepted | Refused:
            await self.clock.sleep_ms(after_ms)
            return self.at_now(in_window)

        def in_window(machine: PaperMachine, now_ms: int) -> Accepted | Refused:
            if now_ms - sent_at_ms > RECV_WINDOW_MS:
                return Refused("-1021", "Timestamp for this request is outside of the recvWindow.")
            return act(machine, now_ms)

        match trip:
            case Travels(there_ms, back_ms):
                arrival = self._requests.create_task(arrive(self.latency_ms + there_ms))
                if self._in_time(there_ms + back_ms):
                    reply = await asyncio.shield(arrival)
                    await self.clock.sleep_ms(self.latency_ms + back_ms)
                    return reply
            case ReplyLost():
                self._requests.create_task(arrive(self.latency_ms))
            case RequestLost():
                pass
            case _:
                assert_never(trip)
        await self.clock.sleep_ms(self.faults.timeout_ms)
        return Unsure(self._no_reply())

    def _in_time(self, delay_ms: int) -> bool:
        return 2 * self.latency_ms + delay_ms <= self.faults.timeout_ms

    def _no_reply(self) -> str:
        return f"no reply within {self.faults.timeout_ms} ms"


class PaperMarket:
    """The public side of a paper venue. Implements `MarketData`."""

    def __init__(self, venue: PaperVenue, charts: Charts = no_charts) -> None:
        """
        See the prices of `venue`, its latency late.

        `charts` are the bars of its mark prices, from before the path begins too.
        """
        self._venue = venue
        self._charts = charts

    async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
        """Rules of the named symbols; raises `KeyError` with the name that is not listed."""
        listed = await self._venue.read(lambda machine, _: machine.listed)
        return tuple(listed[symbol] for symbol in symbols)

    def latest(self) -> tuple[Quoted, ...]:
        """Mark price and next bill of every symbol one latency ago: received now."""
        return self._venue.seen()

    async def bars(self, symbol: str) -> BarsReported:
        """The newest closed bars of the mark price."""
        shown = await self._venue.read(lambda _, at_ms: self._charts(symbol, at_ms))
        now_ms = self._venue.clock.now_ms()
        return BarsReported(symbol, shown.closed_at_ms, shown.bars, now_ms)

    async def stream(self, publish: Callable[[Quoted], None]) -> None:
        """Publish every item of the path one latency after its time, until the path ends."""
        with self._venue.quoted.listen() as wire:
            if self._venue.ended:
                return
            while True:
                match await wire.receive():
                    case PricePoint(symbol=symbol, mark=mark):
                        publish(MarkPrice(symbol, mark, self._venue.clock.now_ms()))
                    case FundingTerm() as term:
                        publish(_bill(term, self._venue.clock.now_ms()))
                    case PathEnded():
                        return


class PaperAccount:
    """The private side of a paper venue: one account. Implements `Account`."""

    def __init__(self, venue: PaperVenue, name: str) -> None:
        """Speak for the account `name`, which has had its deposit."""
        self._venue = venue
        self._name = name

    @property
    def request_life_ms(self) -> int:
        """How long after its date a request that is under way is still accepted."""
        return RECV_WINDOW_MS

    async def snapshot(self) -> AccountSnapshot:
        """One complete read."""
        return await self._venue.read(lambda machine, at_ms: machine.snapshot(self._name, at_ms))

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        """Publish notices until cancelled; raises `Unreachable` when the stream breaks."""
        with self._venue.notices(self._name).listen() as wire:
            while True:
                notice = await wire.receive()
                match self._venue.faults.notice():
                    case Delivery.DELIVERED:
                        publish(_received(notice, self._venue.clock.now_ms()))
                    case Delivery.STREAM_BROKEN:
                        raise Unreachable("the account stream broke")
                    case Delivery.LOST:
                        pass

    async def send(self, action: Action, client_id: str) -> Reply:
        """Perform one action."""

        def handle(machine: PaperMachine, at_ms: int) -> Accepted | Refused:
            if isinstance(action, PlaceStop) and self._venue.faults.stops_refused(at_ms):
                return STOPS_REFUSED
            return machine.handle(self._name, action, client_id, at_ms)

        return await self._venue.write(handle)

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        """Look an order up by its client id, whatever became of it."""
        return await self._venue.read(
            lambda machine, _: machine.order(self._name, symbol, client_id)
        )

    async def margin_changes(
        self, symbol: str, since_ms: int
    ) -> tuple[MarginChange, ...] | NoMarginHistory:
        """Margin added to positions of `symbol` at or after the venue time `since_ms`."""
        return await self._venue.read(
            lambda machine, _: machine.margin_changes(self._name, symbol, since_ms)
        )

    async def server_time_ms(self) -> int:
        """The venue's clock."""
        return await self._venue.read(lambda _, at_ms: at_ms)


def _bill(term: FundingTerm, at_ms: int) -> FundingReported:
    return FundingReported(term.symbol, term.rate, term.next_at_ms, term.interval_ms, at_ms)


def _received(notice: Notice, at_ms: int) -> Notice:
    match notice:
        case Liquidated() | AutoDeleveraged():
            return replace(notice, received_at_ms=at_ms)
        case AccountChanged():
            return notice
        case _:
            assert_never(notice)
