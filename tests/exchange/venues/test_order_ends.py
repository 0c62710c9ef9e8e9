"""A close on OKX and Gate ends three seconds after its date, by the venue's clock."""

import asyncio
from typing import Any

import pytest

from bot.core.actions import ClosePosition
from bot.core.model import Side
from bot.core.units import Quantity
from bot.exchange.live.transport import RECV_WINDOW_MS
from bot.exchange.ports import Accepted
from bot.exchange.venues.gate_client import Gate
from bot.exchange.venues.okx_client import Okx
from tests.exchange.venues.conftest import DESKS
from tests.exchange.venues.stage import BTC, Book, D, staged

AT_MS = 1_772_012_753_818
GATE = ["private", "futures"]
OF_ORDERS = [(Okx, ["private"], "trade/order", "expTime")]
OF_ORDERS += [(Gate, GATE, "{settle}/orders", "x-gate-exptime")]
OF_OTHERS = [
    (Okx, ["private"], "POST", "trade/order-algo", "expTime"),
    (Okx, ["private"], "GET", "trade/order", "expTime"),
    (Gate, GATE, "POST", "{settle}/price_orders", "x-gate-exptime"),
    (Gate, GATE, "GET", "{settle}/orders", "x-gate-exptime"),
]


def headers(kind: Any, api: list[str], method: str, path: str, **options: object) -> Any:
    keys = {"apiKey": "a", "secret": "b", "password": "c"}
    exchange = kind(keys | {"options": {"recvWindow": RECV_WINDOW_MS, **options}})
    exchange.milliseconds = lambda: AT_MS
    try:
        return exchange.sign(path, api, method, {"settle": "usdt"})["headers"]
    finally:
        asyncio.run(exchange.close())


@pytest.mark.parametrize(("kind", "api", "path", "name"), OF_ORDERS)
def test_an_order_ends_by_the_venues_clock(
    kind: Any, api: list[str], path: str, name: str
) -> None:
    ends = int(headers(kind, api, "POST", path)[name])
    assert ends == AT_MS + 3_000
    ahead = headers(kind, api, "POST", path, timeDifference=5_000)
    assert int(ahead[name]) == AT_MS - 2_000


@pytest.mark.parametrize(("kind", "api", "method", "path", "name"), OF_OTHERS)
def test_what_the_papers_do_not_name_goes_without(
    kind: Any, api: list[str], method: str, path: str, name: str
) -> None:
    assert name not in headers(kind, api, method, path)


@pytest.mark.parametrize(("venue", "name"), [("okx", "exptime"), ("gate", "x-gate-exptime")])
async def test_a_close_says_so_on_the_wire(venue: str, name: str) -> None:
    async with staged(DESKS[venue](Book())) as live:
        close = ClosePosition(BTC, Side.LONG, Quantity(D("0.01")))
        assert isinstance(await live.send(close, "lq1"), Accepted)
        (sent,) = live.written()
    told = {each.lower(): text for each, text in sent.headers.items()}
    assert abs(int(told[name]) - live.clock.now_ms() - RECV_WINDOW_MS) < 2_000
