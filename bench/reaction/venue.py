"""
The venue of this bench: our wire exchange, behind a relay that looks at its watch.

The relay stands in front of the exchange's port, copies bytes and notes two moments: when it wrote
a mark price to the client, and when the whole of a signed order had come. The exchange is a
process of its own, which gives way to the relay: what it takes to answer one order does not keep
the next one from being seen. `time.perf_counter` is one clock for all processes of a machine.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from bot.exchange.paper.wire.server import LOOPBACK

EXCHANGE = Path(__file__).with_name("exchange.py")
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
    awaited: frozenset[str] = frozenset()
    """Marks that are passed on when all of them have come: together, however slow the exchange."""
    held: dict["_End", bytes] = field(default_factory=dict)
    """What has come until then, by connection: some contenders have one for each contract."""

    def reset(self, awaited: Iterable[str]) -> None:
        """Forget everything, and wait for marks of these."""
        self.awaited = frozenset(awaited)
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

    def __init__(self, heard: Callable[["_End", bytes], bytes]) -> None:
        self.heard = heard
        self.other: _End | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.pass_on(self.heard(self, data))

    def pass_on(self, data: bytes) -> None:
        """To the other end, as soon as there is one."""
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
    """The exchange's process, its relay and its watch."""

    port: int
    process: asyncio.subprocess.Process
    watch: Watch

    def breach(self, symbols: Iterable[str], price: int) -> None:
        """Let marks go there at once, and push them."""
        self._ask({"symbols": list(symbols), "price": price})

    async def stops(self) -> int:
        """How many stops rest."""
        self._ask({"stops": True})
        return await _number(self.process)

    def _ask(self, what: object) -> None:
        into = cast("asyncio.StreamWriter", self.process.stdin)
        into.write(json.dumps(what).encode() + b"\n")


async def _number(process: asyncio.subprocess.Process) -> int:
    """What it prints next."""
    return int(await cast("asyncio.StreamReader", process.stdout).readline())


@asynccontextmanager
async def venue() -> AsyncIterator[Venue]:
    """A fresh exchange with twenty tenfold longs of one account."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXCHANGE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        watch = Watch()
        relay = await _relay(await _number(process), watch)
        try:
            yield Venue(relay.sockets[0].getsockname()[1], process, watch)
        finally:
            relay.close()
    finally:
        process.terminate()
        await process.wait()


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


def _hear_marks(watch: Watch) -> Callable[[_End, bytes], bytes]:
    def hear(end: _End, data: bytes) -> bytes:
        if end not in watch.held and b"markPriceUpdate" not in data:
            return data
        watch.held[end] = watch.held.get(end, b"") + data
        names = {name.decode() for each in watch.held.values() for name in _MARK.findall(each)}
        if watch.awaited <= names:
            for name in names:
                watch.mark(name)
            together, watch.held, watch.awaited = watch.held, {}, frozenset()
            for each, what in together.items():
                each.pass_on(what)
        return b""

    return hear


def _hear_orders(watch: Watch) -> Callable[[_End, bytes], bytes]:
    """A request may come in pieces; it is whole with its signature. Marks are to stay readable."""
    waiting = b""

    def hear(_: _End, data: bytes) -> bytes:
        nonlocal waiting
        waiting = waiting + data if waiting else data
        if not waiting.startswith(_ORDER):
            waiting = b""
        elif _SIGNED.search(waiting) and (found := _SYMBOL.search(waiting)):
            watch.order(found[1].decode())
            waiting = b""
        return data.replace(_COMPRESSION, b"X-Not-Asked") if _COMPRESSION in data else data

    return hear
