"""
Mark prices and funding of a real venue, once for all its accounts. Implements `MarketData`.

The stream is watched by its own clock: a second of silence is usual, five are a dead connection,
whatever the socket says. Before every new connection prices are asked for once.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import structlog

from bot.clock import Clock
from bot.core.events import BarsReported, FundingReported, MarkPrice
from bot.core.model import Instrument
from bot.core.units import ZERO, Price, Ratio
from bot.exchange.live.asking import read, read_all
from bot.exchange.live.calls import Json, Unreadable, parse_json
from bot.exchange.live.contracts import Contracts
from bot.exchange.live.dialect import Marked, MarketDialect, Resized, Unmoved
from bot.exchange.live.lanes import Asks
from bot.exchange.live.sessions import Redials
from bot.exchange.live.transport import Network
from bot.exchange.ports import Quoted, Unreachable

SILENCE_S = 5
FROZEN_MS = 120_000
FROZEN_MOVES = 60
"""A mark that stays the same for so long while others have moved so often is none any more."""

IDLE_MS = 500
PING_MS = 10_000
POLL_MS = 60_000
"""Some venues push the mark alone: the next bill is asked for."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Still:
    """A price since it came, and how often those of others have changed meanwhile."""

    price: Price
    since_ms: int
    moves_elsewhere: int = 0
    is_told: bool = False


class LiveMarket:
    """Knows the contracts that it was asked for, and watches their prices."""

    def __init__(
        self,
        dialect: MarketDialect,
        contracts: Contracts,
        *,
        reads: Asks,
        network: Network,
        clock: Clock,
    ) -> None:
        """Watch what `contracts` names."""
        self._dialect = dialect
        self._contracts = contracts
        self._intervals: dict[str, int] = {}
        self._reads = reads
        self._network = network
        self._clock = clock
        self._instruments: dict[str, Instrument] = {}
        self._latest: dict[tuple[str, type[Quoted]], Quoted] = {}
        self._still: dict[str, _Still] = {}
        self._redials = Redials()

    async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
        """Rules of the named symbols as they are now; raises `KeyError` with one not listed."""
        for symbol in symbols:
            self._instruments[symbol] = await self._instrument(symbol)
        return tuple(self._instruments[symbol] for symbol in symbols)

    def latest(self) -> tuple[Quoted, ...]:
        """The newest mark price and funding of each symbol that has any, without waiting."""
        return tuple(self._latest.values())

    async def bars(self, symbol: str) -> BarsReported:
        """The newest closed bars of the symbol's mark price."""
        json = await read(
            self._reads, self._dialect.bars_call(self._contracts.listed.id_of(symbol))
        )
        try:
            return self._dialect.bars_of(json, symbol, self._clock.now_ms())
        except Unreadable as e:
            raise Unreachable(str(e)) from e

    async def stream(self, publish: Callable[[Quoted], None]) -> None:
        """Publish mark prices and funding until cancelled."""
        while True:
            watched, begun_ms = self._watched(), self._clock.now_ms()
            if watched:
                try:
                    await self._poll(watched, publish)
                    await self._listen(watched, publish)
                except (Unreachable, aiohttp.ClientError, OSError, TimeoutError) as e:
                    log.warning("marks.lost", reason=f"{type(e).__name__}: {e}")
                    pause_ms = self._redials.pause_ms(self._clock.now_ms() - begun_ms)
                    await self._clock.sleep_ms(pause_ms)
            else:
                await self._clock.sleep_ms(IDLE_MS)

    async def _instrument(self, symbol: str) -> Instrument:
        name = self._contracts.listed.id_of(symbol)
        of_it, settling = self._dialect.instrument_calls(name), self._dialect.interval_call(name)
        calls = [*of_it] if settling in of_it else [*of_it, settling]
        answers = await read_all(self._reads, calls)
        try:
            interval_ms = self._dialect.interval_of(answers[calls.index(settling)], name)
            self._intervals[symbol] = interval_ms
            try:
                return self._ruled(answers[: len(of_it)], name)
            except Resized as e:
                log.warning("contract.resized", symbol=symbol, reason=str(e))
                await self._contracts.renew()
                return self._ruled(answers[: len(of_it)], name)
        except Unreadable as e:
            raise Unreachable(str(e)) from e

    def _ruled(self, answers: Sequence[Json], name: str) -> Instrument:
        return self._dialect.instrument_of(answers, self._contracts.listed, name)

    def _watched(self) -> tuple[str, ...]:
        return tuple(sorted(self._contracts.listed.id_of(symbol) for symbol in self._instruments))

    async def _poll(self, watched: tuple[str, ...], publish: Callable[[Quoted], None]) -> None:
        calls = self._dialect.marks_calls(watched)
        answers = [await read(self._reads, call) for call in calls]
        try:
            self._take(self._dialect.marks_of(answers, self._contracts.listed), publish)
        except Unreadable as e:
            raise Unreachable(str(e)) from e

    async def _listen(self, watched: tuple[str, ...], publish: Callable[[Quoted], None]) -> None:
        """Until the connection dies or falls silent, or other contracts are watched."""
        opening = self._dialect.marks_opening(watched, self._clock.now_ms())
        async with asyncio.timeout(SILENCE_S):
            socket = await self._network.ws_connect(opening.url, heartbeat=SILENCE_S)
        try:
            for text in opening.asks:
                await socket.send_str(text)
            asked_ms = pinged_ms = self._clock.now_ms()
            while watched == self._watched():
                now_ms = self._clock.now_ms()
                if now_ms >= asked_ms + POLL_MS:
                    with suppress(Unreachable):  # the marks go on
                        await self._poll(watched, publish)
                    asked_ms = now_ms
                if opening.ping and now_ms >= pinged_ms + PING_MS:
                    await socket.send_str(opening.ping)
                    pinged_ms = now_ms
                async with asyncio.timeout(SILENCE_S):
                    message = await socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    raise Unreachable(f"mark stream: {message.type.name}")
                with suppress(Unreadable):  # the next frame is a second away
                    frame = parse_json(message.data)
                    self._take(self._dialect.mark_frame(frame, self._contracts.listed), publish)
        finally:
            await socket.close()

    def _take(self, marks: Sequence[Marked | Unmoved], publish: Callable[[Quoted], None]) -> None:
        now_ms = self._clock.now_ms()
        for told in marks:
            each = self._repeated(told) if isinstance(told, Unmoved) else told
            if each is None or each.symbol not in self._instruments:
                continue
            if self._is_frozen(each, now_ms):
                continue
            quoted: list[Quoted] = [MarkPrice(each.symbol, each.price, now_ms)]
            if each.next_at_ms > 0:
                interval_ms = self._intervals[each.symbol]
                quoted.append(
                    FundingReported(each.symbol, each.rate, each.next_at_ms, interval_ms, now_ms)
                )
            for quote in quoted:
                self._latest[each.symbol, type(quote)] = quote
                publish(quote)

    def _repeated(self, told: Unmoved) -> Marked | None:
        """The price that is still the same, if one is known; the bill ahead is not told."""
        still = self._still.get(told.symbol)
        return None if still is None else Marked(told.symbol, still.price, Ratio(ZERO), 0)

    def _is_frozen(self, told: Marked, now_ms: int) -> bool:
        """
        Whether the venue repeats a price that has ceased to be one, while others move.

        Not published it grows old, and what rests on it is Unknown, as if none had come. One
        symbol alone cannot be told from a calm market.
        """
        still = self._still.get(told.symbol)
        if still is None or still.price != told.price:
            for other in self._still.values():
                other.moves_elsewhere += 1
            self._still[told.symbol] = _Still(told.price, now_ms)
            return False
        age_ms = now_ms - still.since_ms
        is_frozen = age_ms >= FROZEN_MS and still.moves_elsewhere >= FROZEN_MOVES
        if is_frozen and not still.is_told:
            still.is_told = True
            log.critical("mark.frozen", symbol=told.symbol, price=str(told.price), for_ms=age_ms)
        return is_frozen
