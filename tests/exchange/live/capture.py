"""
What each write puts on the wire to Binance USD-M: method, path and parameters, in their order.

`python -m tests.exchange.live.capture` writes the golden file anew; read the difference.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from bot.clock import Clock, system_wall_ms
from bot.core.model import MarginMode, PositionMode, Side
from bot.exchange.live.account import LiveAccount
from bot.exchange.live.connection import Loopback, connect
from bot.exchange.paper.wire.server import WireServer
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.live.wired import ALICE
from tests.exchange.venues.capture import actions
from tests.exchange.wire.build import Client, exchange

GOLDEN = Path(__file__).parent / "golden" / "binanceusdm.json"
CLIENT_ID = "lgabcd0123456789abcdefghij"
RESTING = "lgresting0000000000000000ab"


class Recorder(WireServer):
    """Keeps every request that changes something, as it came."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.written: list[dict[str, Any]] = []

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if request.method != "GET" and not path.endswith("/listenKey"):
            sent = {"query": query, "body": await request.text()}
            self.written.append(
                {
                    "method": request.method,
                    "path": path,
                    "content type": request.headers.get("Content-Type", ""),
                    "key sent as header": request.headers.get("X-MBX-APIKEY", "") != "",
                    **{where: _named(text) for where, text in sent.items()},
                }
            )
        return await super()._handle(request)


def _named(text: str) -> list[str]:
    """Its parameters in their order; what differs from moment to moment by its name alone."""
    moment = ("timestamp", "signature")
    pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
    return [name if name in moment else f"{name}={value}" for name, value in pairs]


async def captured() -> dict[str, Any]:
    """Everything that is written, by position mode, margin mode, side and recipe."""
    found: dict[str, Any] = {}
    for mode, margin_mode, side in product(reversed(PositionMode), MarginMode, Side):
        async with _account(mode, margin_mode, side) as (server, account):
            for name, action in actions(side).items():
                before = len(server.written)
                await account.send(action, CLIENT_ID)
                (found[f"{mode} {margin_mode} {side}: {name}"],) = server.written[before:]
    return found


@asynccontextmanager
async def _account(
    mode: PositionMode, margin_mode: MarginMode, side: Side
) -> AsyncIterator[tuple[Recorder, LiveAccount]]:
    """Alice with a position, and a stop on it."""
    clock = Clock(system_wall_ms())
    venue = exchange(clock.now_ms())
    server = Recorder(venue, clock, push_ms=500)
    hand = Client(venue, now_ms=clock.now_ms())
    if margin_mode is MarginMode.ISOLATED:
        hand.isolated()
    is_hedged = mode is PositionMode.HEDGE
    hand.ask("POST", "/fapi/v1/positionSide/dual", dualSidePosition=is_hedged)
    leg = {"positionSide": side.name} if is_hedged else {}
    hand.order("BUY" if side is Side.LONG else "SELL", "0.1", **leg)
    away = {Side.LONG: ("SELL", "56000"), Side.SHORT: ("BUY", "64000")}[side]
    hand.stop(*away, "0.01", clientAlgoId=RESTING, **leg)
    async with (
        server.serving(0, 0) as (port, _),
        connect(DIALECTS["binanceusdm"], ALICE, Loopback(port), clock) as live,
    ):
        await live.account.snapshot()
        yield server, live.account


def golden() -> dict[str, Any]:
    """What was kept."""
    kept: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return kept


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(asyncio.run(captured()), indent=1) + "\n", encoding="utf-8")
