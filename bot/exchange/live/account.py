"""
One account of a real venue. Implements `Account`.

Truth is what complete reads say; the stream is an alarm clock. An answer to a write proves itself
or it is `Unsure`; the one thing proven without an answer is that nothing was sent.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import aiohttp
import structlog

from bot.clock import Clock, system_wall_ms
from bot.core.actions import Action, PlaceStop
from bot.core.model import AccountSnapshot, PositionKey, PositionMode
from bot.core.units import ZERO, Quantity
from bot.exchange.live.asking import hear, read, read_all, venue_time_ms
from bot.exchange.live.calls import (
    Call,
    Heard,
    Hushed,
    Json,
    NotSent,
    Silent,
    Unreadable,
    parse_json,
)
from bot.exchange.live.contracts import Contracts
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import (
    Dialect,
    Ground,
    Irrelevant,
    Opening,
    StreamEnded,
)
from bot.exchange.live.lanes import Asks, Detour, Lane
from bot.exchange.live.sessions import Redials
from bot.exchange.live.transport import Network
from bot.exchange.ports import (
    Banned,
    Barred,
    MarginChange,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Refused,
    Reply,
    Unreachable,
    Unsure,
    not_sent,
)

READS_TRIED = 3
"""A read whose parts are not of one moment is made again so often."""

TERMS_MS = 30_000
"""How old what seldom changes may be: margin modes, leverages, the account's mode."""

SWEEP_MS = 60_000
"""How often waiting orders are looked for where neither a position nor an order was."""

CLOCK_TRIP_MAX_MS = 1_000
"""An answer that took longer does not tell the time well enough."""

SIZE_TURN = Decimal("1.5")
"""A position that has become so many times as large, or as small, is looked into."""

NEVER_MS = -(2**62)
HEARTBEAT_S = 10
CONNECT_S = 5
KEEP_ALIVE_MS = 20 * 60_000
PING_MS = 10_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Unread:
    """The account has not been read yet."""


@dataclass(slots=True)
class _TermsRead:
    at_ms: int
    held: frozenset[str]
    answers: Sequence[Json]


class LiveAccount:
    """Reads on one lane, writes on another; the clock is read over the writes' connection."""

    def __init__(
        self,
        dialect: Dialect,
        contracts: Contracts,
        credentials: Credentials,
        *,
        reads: Lane,
        writes: Lane | Detour,
        times: Asks,
        network: Network,
        clock: Clock,
    ) -> None:
        """Speak for the account of `credentials`, which the lanes sign with."""
        self._venue, self._dialect, self._orders = dialect.market, dialect.account, dialect.orders
        self._contracts = contracts
        self._credentials = credentials
        self._reads = reads
        self._writes = writes
        self._times = times
        self._network = network
        self._clock = clock
        self._terms_read = _TermsRead(NEVER_MS, frozenset(), ())
        self._swept_at_ms = NEVER_MS
        self._redials, self._dial_at_ms = Redials(), NEVER_MS
        self._waiting: frozenset[str] = frozenset()
        self._stopped_at_ms: dict[str, int] = {}
        """When a stop was sent last, by contract: it may rest where nothing is held any more."""
        self._quantities: Mapping[PositionKey, Quantity] = {}
        self._position_mode: PositionMode | _Unread = _Unread()
        self._state: Sequence[Json] = ()

    @property
    def request_life_ms(self) -> int:
        """How long after its date the venue may still accept a request that is under way."""
        return self._orders.request_life_ms

    async def snapshot(self) -> AccountSnapshot:
        """One complete read."""
        problem = ""
        for tried in range(READS_TRIED):
            at_ms = await self._follow_clock()
            state = await read_all(self._reads, self._dialect.state_calls())
            try:
                held = self._dialect.held_names(state)
                terms, stops = await self._terms(held), await self._stops(held)
                seen = self._seen(terms, state, stops, at_ms)
                if self._is_other(seen):
                    await self._contracts.renew()
                    seen = self._seen(terms, state, stops, at_ms)
            except Unreadable as e:
                problem = str(e)
                log.warning("account.unreadable", reason=problem)
                self._terms_read.at_ms = NEVER_MS
                await self._contracts.renew_if_due()
            else:
                known = set(self._contracts.listed.symbols.values())
                is_known = all(position.symbol in known for position in seen.positions)
                if seen.garbled and tried < READS_TRIED - 1:
                    # It may only have been opened, or changed, between two of the answers.
                    self._terms_read.at_ms = NEVER_MS
                    await self._contracts.renew_if_due()
                elif is_known or not await self._contracts.renew_if_due():
                    self._position_mode, self._state = seen.position_mode, state
                    self._quantities = {each.key: each.quantity for each in seen.positions}
                    return seen
                else:
                    problem = "a position in a contract that was not listed"
        raise Unreachable(problem)

    def _seen(
        self, terms: Sequence[Json], state: Sequence[Json], stops: Sequence[Json], at_ms: int
    ) -> AccountSnapshot:
        listed = self._contracts.listed
        return self._dialect.snapshot_of(terms, state, stops, listed, at_ms)

    def _is_other(self, seen: AccountSnapshot) -> bool:
        """
        Whether a position has come, or is of another size by half or more: it was traded, or its
        contract is of another size. Not every venue tells its worth, which would tell them apart.
        """
        if not self._contracts.listed.sizes or isinstance(self._position_mode, _Unread):
            return False  # what it is counted in has just been read
        return any(
            not was / SIZE_TURN < each.quantity < was * SIZE_TURN
            for each in seen.positions
            for was in [self._quantities.get(each.key, ZERO)]
        )

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        """Publish notices until cancelled; raises `Unreachable` when the stream is lost."""
        await self._clock.sleep_until_ms(self._dial_at_ms)
        begun_ms = self._clock.now_ms()
        try:
            await self._follow(publish)
        finally:
            now_ms = self._clock.now_ms()
            self._dial_at_ms = now_ms + self._redials.pause_ms(now_ms - begun_ms)

    async def _follow(self, publish: Callable[[Notice], None]) -> None:
        try:
            answers = await read_all(self._reads, self._dialect.account_calls())
            opening = self._dialect.account_opening(
                answers, self._credentials, self._clock.now_ms()
            )
            async with asyncio.timeout(CONNECT_S):
                socket = await self._network.ws_connect(opening.url, heartbeat=HEARTBEAT_S)
            try:
                for text in await self._asks(socket, opening, publish):
                    await socket.send_str(text)
                keeping = self._dialect.keep_calls(answers)
                await self._listen(socket, opening, keeping, publish)
            finally:
                await socket.close()
        except (aiohttp.ClientError, OSError, TimeoutError, Unreadable) as e:
            raise Unreachable(f"account stream: {type(e).__name__}") from e

    async def send(self, action: Action, client_id: str) -> Reply:
        """Perform one action."""
        call = await self._recipe(action, client_id)
        if not isinstance(call, Call):
            return call
        if isinstance(action, PlaceStop):
            self._stopped_at_ms[self._contracts.listed.id_of(action.symbol)] = self._clock.now_ms()
        match await self._writes.ask(call):
            case Heard() as heard:
                return self._orders.reply_of(heard, action, client_id, self._contracts.listed)
            case NotSent(reason):
                return not_sent(reason)
            case Hushed(reason, until_ms):
                return Barred(reason, until_ms)
            case Silent(reason):
                return Unsure(reason)

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        """Look an order of ours up, in the regular and in the conditional book."""
        name = self._contracts.listed.id_of(symbol)
        answers = [
            await hear(self._reads, call) for call in self._orders.order_calls(name, client_id)
        ]
        try:
            return self._orders.order_of(answers, client_id, name, self._contracts.listed)
        except Unreadable as e:
            raise Unreachable(str(e)) from e

    async def _recipe(self, action: Action, client_id: str) -> Call | Refused | Barred:
        """What to send. That it cannot be known is proof that nothing is sent."""
        if isinstance(self._position_mode, _Unread):
            return not_sent("the account has not been read yet")
        try:
            asked = [
                await read(self._writes, call)
                for call in self._orders.ground_calls(action, self._contracts.listed)
            ]
            ground = Ground(self._position_mode, asked, self._state)
            return self._orders.write_call(action, client_id, self._contracts.listed, ground)
        except Banned as e:
            return Barred(str(e), e.until_ms)
        except (Unreachable, Unreadable) as e:
            return not_sent(str(e))

    async def margin_changes(
        self, symbol: str, since_ms: int
    ) -> tuple[MarginChange, ...] | NoMarginHistory:
        """Margin added to positions of `symbol` at or after the venue time `since_ms`."""
        history = self._dialect.margin_history
        if isinstance(history, NoMarginHistory):
            return history
        call = history.call(self._contracts.listed.id_of(symbol), since_ms)
        try:
            return history.changes_of(await read(self._reads, call), self._contracts.listed)
        except Unreadable as e:
            raise Unreachable(str(e)) from e

    async def server_time_ms(self) -> int:
        """The venue's clock."""
        return await venue_time_ms(self._venue, self._times)

    async def _follow_clock(self) -> int:
        """The venue's time. Clocks drift: requests are dated by it from now on."""
        asked_ms = system_wall_ms()
        venue_ms = await self.server_time_ms()
        heard_ms = system_wall_ms()
        if heard_ms - asked_ms <= CLOCK_TRIP_MAX_MS:
            ahead_ms = (asked_ms + heard_ms) // 2 - venue_ms
            self._reads.follow_clock(ahead_ms)
            self._writes.follow_clock(ahead_ms)
        return venue_ms

    async def _terms(self, held: frozenset[str]) -> Sequence[Json]:
        """As read last, unless that is long ago or a position has been opened since."""
        known, now_ms = self._terms_read, self._clock.now_ms()
        if now_ms - known.at_ms > TERMS_MS or not held <= known.held:
            answers = await read_all(self._reads, self._dialect.terms_calls())
            self._terms_read = _TermsRead(now_ms, held, answers)
        return self._terms_read.answers

    async def _stops(self, held: frozenset[str]) -> Sequence[Json]:
        """
        What waits where a position is open, something waited or may; now and then everywhere.
        """
        now_ms = self._clock.now_ms()
        stopped = {
            name for name, at_ms in self._stopped_at_ms.items() if now_ms - at_ms <= SWEEP_MS
        }
        if now_ms - self._swept_at_ms > SWEEP_MS:
            found = await read_all(self._reads, [self._dialect.all_stops_call()])
            self._swept_at_ms = now_ms
        else:
            calls = list[Call]()
            for name in sorted(held | self._waiting | stopped):
                if (call := self._dialect.stops_call(name)) not in calls:
                    calls.append(call)  # some venues list all of them, whatever is asked for
            found = await read_all(self._reads, calls)
        self._waiting = self._dialect.stop_names(found)
        return found

    async def _listen(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        opening: Opening,
        keeping: Sequence[Call],
        publish: Callable[[Notice], None],
    ) -> None:
        """Until the stream is over: always by `Unreachable`. Keeps it open meanwhile."""
        kept_ms = pinged_ms = self._clock.now_ms()
        while True:
            now_ms = self._clock.now_ms()
            if now_ms >= kept_ms + KEEP_ALIVE_MS:
                await read_all(self._reads, keeping)
                kept_ms = now_ms
            if now_ms >= pinged_ms + PING_MS:
                if opening.ping:
                    await socket.send_str(opening.ping)
                pinged_ms = now_ms
            left_ms = min(kept_ms + KEEP_ALIVE_MS, pinged_ms + PING_MS) - now_ms
            try:
                async with asyncio.timeout(left_ms / 1000):
                    message = await socket.receive()
            except TimeoutError:
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise Unreachable(f"account stream: {message.type.name}")
            if opening.pong and message.data == opening.pong:
                continue
            if self._tell(message.data, publish):
                raise Unreachable("account stream: the venue has ended it")

    async def _asks(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        opening: Opening,
        publish: Callable[[Notice], None],
    ) -> tuple[str, ...]:
        """What to ask for, after the sign-in; `Unreachable` for any but a good answer to it."""
        if not opening.sign_in:
            return opening.asks
        await socket.send_str(opening.sign_in)
        async with asyncio.timeout(CONNECT_S):
            while True:
                message = await socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT or self._tell(message.data, publish):
                    raise Unreachable("account stream: the venue did not let us in")
                if asks := opening.asks or opening.asks_of(parse_json(message.data)):
                    return asks

    def _tell(self, text: str, publish: Callable[[Notice], None]) -> bool:
        """Publish what a frame tells; whether the stream is over."""
        try:
            told = self._dialect.account_frame(
                parse_json(text), self._contracts.listed, self._clock.now_ms()
            )
        except Unreadable as e:
            # An alarm that cannot be read is an alarm: the account is read anew.
            log.warning("frame.unreadable", reason=str(e))
            told = StreamEnded(str(e))
        match told:
            case StreamEnded():
                return True
            case Irrelevant():
                return False
            case notice:
                publish(notice)
                return False
