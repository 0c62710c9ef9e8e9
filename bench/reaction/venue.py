"""
The venue of this bench: our wire exchange, behind a relay that looks at its watch.

The relay stands in front of the exchange's port, copies bytes and notes two moments: when it wrote
a mark price to the client, and when the whole of a signed order had come. What the exchange takes
to answer falls into neither. `time.perf_counter` is one clock for all processes of a machine.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import cast

from bench.reaction.terms import ACCOUNT, CALM_AT, ENTRY_AT, HELD, SYMBOLS
from bot.clock import Clock, system_wall_ms
from bot.core.model import Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.ladders import BINANCE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.server import LOOPBACK, WireServer
from bot.exchange.paper.wire.sources import ByHand
from bot.exchange.venues import binanceusdm

PUSH_MS = 1_000
DEPOSIT = Money(Decimal(10_000_000))
LEVERAGE = Decimal(10)
PATIENCE_S = 30

_COMPRESSION = b"Sec-WebSocket-Extensions"
_ORDER = b"POST /fapi/v1/order"
_SIGNED = re.compile(rb"signature=[0-9a-f]{64}")
_SYMBOL = re.compile(rb"symbol=([A-Z0-9]+)")
_MARK = re.compile(rb'"s":\s*"([A-Z0-9]+)"')


@dataclass(slots=True)
class Watch:
    """When marks went out and orders came in, by the venue's ids, since it was last reset."""

    marked_at: dict[str, float] = field(default_factory=dict)
    ordered_at: dict[str, float] = field(default_factory=dict)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def reset(self) -> None:
        """Forget everything."""
        self.marked_at.clear()
        self.ordered_at.clear()

    def mark(self, name: str) -> None:
        """The first mark price of a contract counts."""
        self.marked_at.setdefault(name, time.perf_counter())

    def order(self, name: str) -> None:
        """So does the first order."""
        self.ordered_at.setdefault(name, time.perf_counter())
        self.came.set()

    async def orders(self, names: set[str]) -> None:
        """Return when an order for each of these has come; `TimeoutError` in the end."""
        async with asyncio.timeout(PATIENCE_S):
            while not names <= self.ordered_at.keys():
                self.came.clear()
                await self.came.wait()


class _End(asyncio.Protocol):
    """One end of a relayed connection: what comes in is heard, and passed on."""

    def __init__(self, heard: Callable[[bytes], bytes]) -> None:
        self.heard = heard
        self.other: _End | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        data = self.heard(data)
        if self.other is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)

    def join(self, other: "_End") -> None:
        """Pass on from now, and what has come already."""
        self.other = other
        for data in self._early:
            other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


@dataclass(slots=True)
class Venue:
    """The exchange, its relay and its watch."""

    port: int
    server: WireServer
    hand: ByHand
    watch: Watch

    def breach(self, symbols: Iterable[str], price: int) -> None:
        """Let marks go there at once, and push them."""
        now_ms = self.server.exchange.advance(system_wall_ms())
        pushes = []
        for symbol in symbols:
            self.hand.move(symbol, Prices(Price(Decimal(price)), Price(Decimal(price))))
            pushes.append(self.server.exchange.mark_push(symbol, now_ms))
        self.server.hub.tell_marks(pushes)


@asynccontextmanager
async def venue() -> AsyncIterator[Venue]:
    """A fresh exchange with twenty tenfold longs of one account."""
    clock = Clock(system_wall_ms())
    machine = _machine(clock.now_ms())
    hand = ByHand(machine, Ratio(Decimal(0)))
    exchange = WireExchange(machine, hand, DEPOSIT)
    _open(exchange, clock.now_ms())
    server = WireServer(exchange, clock, push_ms=PUSH_MS)
    watch = Watch()
    async with server.serving(0, 0) as (inner, _):
        relay = await _relay(inner, watch)
        try:
            yield Venue(relay.sockets[0].getsockname()[1], server, hand, watch)
        finally:
            relay.close()


def _machine(now_ms: int) -> PaperMachine:
    terms = binanceusdm.instruments()["BTC/USDT:USDT"]
    listed = [replace(terms, symbol=symbol) for symbol in SYMBOLS]
    machine = PaperMachine(listed, Ratio(Decimal("0.0005")), ladder=BINANCE)
    _move(machine, now_ms, ENTRY_AT)
    return machine


def _open(exchange: WireExchange, now_ms: int) -> None:
    exchange.desk(ACCOUNT)
    for symbol in SYMBOLS:
        exchange.machine.open_position(
            ACCOUNT,
            symbol,
            Side.LONG,
            quantity=Quantity(Decimal(HELD)),
            leverage=LEVERAGE,
            at_ms=now_ms,
        )
    _move(exchange.machine, now_ms, CALM_AT)


def _move(machine: PaperMachine, now_ms: int, to: int) -> None:
    price = Price(Decimal(to))
    machine.move(now_ms, {symbol: Prices(price, price) for symbol in SYMBOLS})


async def _relay(inner: int, watch: Watch) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    opening: set[asyncio.Task[None]] = set()

    async def connect(near: _End) -> None:
        _, far = await loop.create_connection(lambda: _End(_hear_marks(watch)), LOOPBACK, inner)
        far.join(near)
        near.join(far)

    class Near(_End):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            task = loop.create_task(connect(self))
            opening.add(task)
            task.add_done_callback(opening.discard)

    return await loop.create_server(lambda: Near(_hear_orders(watch)), LOOPBACK, 0)


def _hear_marks(watch: Watch) -> Callable[[bytes], bytes]:
    def hear(data: bytes) -> bytes:
        if b"markPriceUpdate" in data:
            for name in _MARK.findall(data):
                watch.mark(name.decode())
        return data

    return hear


def _hear_orders(watch: Watch) -> Callable[[bytes], bytes]:
    """A request may come in pieces; it is whole with its signature. Marks are to stay readable."""
    waiting = b""

    def hear(data: bytes) -> bytes:
        nonlocal waiting
        waiting = waiting + data if waiting else data
        if not waiting.startswith(_ORDER):
            waiting = b""
        elif _SIGNED.search(waiting) and (found := _SYMBOL.search(waiting)):
            watch.order(found[1].decode())
            waiting = b""
        return data.replace(_COMPRESSION, b"X-Not-Asked") if _COMPRESSION in data else data

    return hear
