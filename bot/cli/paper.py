"""`liqguard paper serve`: the paper exchange on a loopback port, for any Binance USD-M client."""

import asyncio
import json
import signal
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

import typer

from bot import app as process
from bot.clock import Clock, system_wall_ms
from bot.core.model import Side
from bot.core.units import Money, Price, Ratio
from bot.exchange.paper.books import Pledge
from bot.exchange.paper.ladders import BINANCE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.server import LOOPBACK, WireServer
from bot.exchange.paper.wire.sources import ByHand, Recorded, retimed
from bot.rehearsal.bars import read_bars
from bot.rehearsal.path import book_path
from bot.rehearsal.setups import SLIPPAGE, STEP

VENUE = "binanceusdm"
BEGIN = {"BTC/USDT:USDT": "60000", "ETH/USDT:USDT": "3000", "SOL/USDT:USDT": "150"}
"""Where prices begin that nobody recorded."""

PLEDGES = tuple(
    Pledge(coin, Ratio(Decimal("0.95")), f"{coin}/USDT:USDT") for coin in ("BTC", "ETH")
)
"""What counts beside USDT in multi-assets mode. The haircut is `assumed`."""

FUNDING_RATE = Ratio(Decimal("0.0001"))
PUSH_MS = 1_000
PUSH_MIN_MS = 50


@dataclass(frozen=True, slots=True)
class Played:
    """Prices of a recording, `speed` times as fast as they were."""

    data: str
    speed: float


@dataclass(frozen=True, slots=True)
class Moved:
    """Prices that the control port moves."""


Feed: TypeAlias = Played | Moved


def serve(port: int, control_port: int, feed: Feed, deposit: Money, as_json: bool) -> None:
    """Serve until SIGTERM or SIGINT. Raises `OSError` for a port that is taken."""
    asyncio.run(_serve(port, control_port, feed, deposit, as_json))


async def _serve(port: int, control_port: int, feed: Feed, deposit: Money, as_json: bool) -> None:
    clock = Clock(system_wall_ms())
    push_ms = PUSH_MS
    if isinstance(feed, Played):
        push_ms = max(PUSH_MIN_MS, round(PUSH_MS / feed.speed))
    server = WireServer(make_exchange(feed, clock.now_ms(), deposit), clock, push_ms=push_ms)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with server.serving(port, control_port) as ports:
        urls = [f"http://{LOOPBACK}:{each}" for each in ports]
        if as_json:
            typer.echo(json.dumps({"url": urls[0], "control": urls[1]}))
        else:
            typer.echo(f"paper exchange (Binance USD-M) at {urls[0]}, control at {urls[1]}")
            typer.echo("API key paper-<name>, secret paper; what can be done to it: /control/help")
        await stopped.wait()


def make_exchange(feed: Feed, now_ms: int, deposit: Money) -> WireExchange:
    """A fresh exchange whose prices begin at `now_ms`."""
    match feed:
        case Played(data, speed):
            bars = read_bars(data)
            instrument = process.instrument_for(VENUE, bars.symbol)
            machine = PaperMachine([instrument], SLIPPAGE, ladder=BINANCE)
            path = book_path([(bars, Side.LONG)], STEP, funding=True)
            begins_ms = bars.rows[0].open_at_ms
            played = Recorded(retimed(path, begins_ms, now_ms, speed), machine)
            return WireExchange(machine, played, deposit)
        case Moved():
            listed = [process.instrument_for(VENUE, symbol) for symbol in BEGIN]
            machine = PaperMachine(listed, SLIPPAGE, ladder=BINANCE, pledges=PLEDGES)
            prices = {symbol: Price(Decimal(price)) for symbol, price in BEGIN.items()}
            machine.move(now_ms, {each: Prices(at, at) for each, at in prices.items()})
            return WireExchange(machine, ByHand(machine, FUNDING_RATE), deposit)
