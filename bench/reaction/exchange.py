"""
The exchange of this bench, in a process of its own: `python bench/reaction/exchange.py`.

It prints its port. Each line that it reads then is a JSON object: `symbols` and the `price` that
their marks go to, which is pushed; or `stops`, to which it prints how many rest.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.reaction.terms import ACCOUNT, CALM_AT, ENTRY_AT, HELD, SYMBOLS
from bot.clock import Clock, system_wall_ms
from bot.core.model import Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.ladders import BINANCE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.server import WireServer
from bot.exchange.paper.wire.sources import ByHand
from bot.exchange.venues import binanceusdm

PUSH_MS = 1_000
DEPOSIT = Money(Decimal(10_000_000))
LEVERAGE = Decimal(10)
GIVES_WAY = 5
"""By how much it is nicer than the relay, which looks at the watch, on the same processor."""


async def main() -> None:
    """Serve twenty tenfold longs of one account until the end of what is read."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # where the bench runs before all
    os.nice(GIVES_WAY)
    clock = Clock(system_wall_ms())
    machine = _machine(clock.now_ms())
    hand = ByHand(machine, Ratio(Decimal(0)))
    exchange = WireExchange(machine, hand, DEPOSIT)
    _open(exchange, clock.now_ms())
    server = WireServer(exchange, clock, push_ms=PUSH_MS)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with server.serving(0, 0) as (port, _):
        _say(port)
        while line := await lines.readline():
            asked = json.loads(line)
            if "stops" in asked:
                _say(len(machine.snapshot(ACCOUNT, 0).stops))
            else:
                _move_and_push(server, hand, asked["symbols"], asked["price"])


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _move_and_push(server: WireServer, hand: ByHand, symbols: Iterable[str], price: int) -> None:
    now_ms = server.exchange.advance(system_wall_ms())
    pushes = []
    for symbol in symbols:
        hand.move(symbol, Prices(Price(Decimal(price)), Price(Decimal(price))))
        pushes.append(server.exchange.mark_push(symbol, now_ms))
    server.hub.tell_marks(pushes)


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


if __name__ == "__main__":
    asyncio.run(main())
