"""
Contenders without a guard: `python bench/reaction/clients.py KIND PORT ROWS`.

Each listens to the marks, writes a row durably for every breach (fdatasync) and sells a part,
reduce-only. `blocking` is sockets and nothing else: the floor. `ccxt` is ccxt.pro with its limiter
off, `ccxt-default` as it comes. `queue-…` send one order behind a hundred polls, and print when.
"""

import asyncio
import hashlib
import hmac
import json
import os
import socket
import struct
import sys
import time
from contextlib import suppress
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parents[2]))

import ccxt.pro
from pydantic import SecretStr

from bench.reaction.terms import KEY, PART, SECRET, SYMBOLS, THRESHOLD, id_of
from bot.clock import Clock, system_wall_ms
from bot.core.actions import ClosePosition
from bot.core.model import Side
from bot.core.units import Quantity
from bot.exchange.live.connection import Loopback, connect
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.loopback import LOOPBACK, LoopbackSession
from bot.exchange.ports import Unreachable
from bot.exchange.venues.dialects import DIALECTS

ROW = b"a durable row of two hundred bytes".ljust(199) + b"\n"
LONGEST_HEAD, TWO_MORE_BYTES = 4, 126
"""Of a WebSocket frame: its head, and the length that stands for one in two more bytes."""

POLLS = 100
SETTLE_S = 3


def main() -> None:
    """Run until killed, or until the one order is sent."""
    kind, port, rows = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    with rows.open("ab", buffering=0) as file:
        match kind:
            case "blocking":
                _blocking(port, file.fileno())
            case "ccxt" | "ccxt-default":
                asyncio.run(_ccxt(port, file.fileno(), limiter=kind == "ccxt-default"))
            case "queue-ours":
                asyncio.run(_queue_ours(port))
            case "queue-ccxt" | "queue-ccxt-default":
                asyncio.run(_queue_ccxt(port, limiter=kind == "queue-ccxt-default"))
            case _:
                raise SystemExit(f"clients: expected a known kind, was {kind!r}")


def _keep(file: int) -> None:
    os.write(file, ROW)
    os.fdatasync(file)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


# -- blocking sockets ---------------------------------------------------------------------


def _blocking(port: int, file: int) -> None:
    orders = socket.create_connection((LOOPBACK, port))
    orders.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    marks = socket.create_connection((LOOPBACK, port))
    path = "/stream?streams=" + "/".join(f"{id_of(s).lower()}@markPrice@1s" for s in SYMBOLS)
    marks.sendall(
        f"GET {path} HTTP/1.1\r\nHost: venue\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    _, _, waiting = _read_head(marks)
    armed = dict.fromkeys((id_of(symbol) for symbol in SYMBOLS), True)
    _say("ready")
    while True:
        while (frame := _frame(waiting)) is None:
            waiting += _more(marks)
        text, waiting = frame
        mark = json.loads(text)["data"]
        name, is_breach = mark["s"], float(mark["p"]) <= THRESHOLD
        if is_breach and armed[name]:
            _keep(file)
            _sell(orders, name)
        armed[name] = not is_breach


def _frame(waiting: bytes) -> tuple[bytes, bytes] | None:
    """The first whole text frame from a server, shorter than 64 KiB, and what comes behind it."""
    if len(waiting) < LONGEST_HEAD:
        return None
    length, begins = waiting[1] & 0x7F, 2
    if length == TWO_MORE_BYTES:
        (length,), begins = struct.unpack_from(">H", waiting, 2), 4
    ends = begins + length
    return (waiting[begins:ends], waiting[ends:]) if len(waiting) >= ends else None


def _sell(orders: socket.socket, name: str) -> None:
    asked = {"symbol": name, "side": "SELL", "type": "MARKET", "quantity": PART}
    asked |= {"reduceOnly": "true", "recvWindow": "5000", "timestamp": str(system_wall_ms())}
    text = urlencode(asked)
    body = (
        f"{text}&signature={hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()}"
    )
    orders.sendall(
        f"POST /fapi/v1/order HTTP/1.1\r\nHost: venue\r\nX-MBX-APIKEY: {KEY}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    status, length, rest = _read_head(orders)
    while len(rest) < length:
        rest += _more(orders)
    if status != HTTPStatus.OK:
        raise SystemExit(f"clients: expected an order taken, was {status} {rest!r}")


def _read_head(connection: socket.socket) -> tuple[int, int, bytes]:
    """Status and length of an answer, and what has come behind its head."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += _more(connection)
    head, _, rest = heard.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), int(fields.get("content-length", "0")), rest


def _more(connection: socket.socket) -> bytes:
    if data := connection.recv(65_536):
        return data
    raise SystemExit(0)


# -- ccxt ---------------------------------------------------------------------------------


def _client(port: int, *, limiter: bool) -> Any:
    options = {"apiKey": KEY, "secret": SECRET, "session": LoopbackSession(port)}
    return ccxt.pro.binanceusdm({**options, **({} if limiter else {"enableRateLimit": False})})


async def _ccxt(port: int, file: int, *, limiter: bool) -> None:
    client = _client(port, limiter=limiter)
    await client.load_markets()

    async def watch(symbol: str) -> None:
        armed = True
        while True:
            mark = await client.watch_mark_price(symbol)
            is_breach = mark["markPrice"] <= THRESHOLD
            if is_breach and armed:
                _keep(file)
                await client.create_order(
                    symbol, "market", "sell", float(PART), None, {"reduceOnly": True}
                )
            armed = not is_breach

    async with asyncio.TaskGroup() as tasks:
        for symbol in SYMBOLS:
            tasks.create_task(watch(symbol))
        await asyncio.sleep(SETTLE_S)
        _say("ready")


async def _queue_ccxt(port: int, *, limiter: bool) -> None:
    client = _client(port, limiter=limiter)
    await client.load_markets()
    symbol = SYMBOLS[0]
    async with asyncio.TaskGroup() as tasks:
        for _ in range(POLLS):
            tasks.create_task(client.fetch_open_orders(symbol))
        await asyncio.sleep(0)
        _say(repr(time.perf_counter()))
        await client.create_order(
            symbol, "market", "sell", float(PART), None, {"reduceOnly": True}
        )
    await client.close()


async def _queue_ours(port: int) -> None:
    keys = Credentials(SecretStr(KEY), SecretStr(SECRET))
    clock = Clock(system_wall_ms())
    async with connect(DIALECTS["binanceusdm"], keys, Loopback(port), clock) as connection:
        symbol = SYMBOLS[0]
        await connection.market.instruments((symbol,))
        await connection.account.snapshot()  # without it nothing is sent
        part = ClosePosition(symbol, Side.LONG, Quantity(Decimal(PART)))

        async def poll() -> None:
            with suppress(Unreachable):  # it may be too many for the venue, which ends no order
                await connection.account.order(symbol, "absent")

        async with asyncio.TaskGroup() as tasks:
            for _ in range(POLLS):
                tasks.create_task(poll())
            await asyncio.sleep(0)
            _say(repr(time.perf_counter()))
            await connection.account.send(part, "lg-bench-1")


if __name__ == "__main__":
    main()
