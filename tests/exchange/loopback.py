"""
A venue's public side on this machine: what Binance answers, with faults where a test wants them.

ccxt's real class asks it, through a session that keeps every request on 127.0.0.1.
"""

import asyncio
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000
"""14 November 2023, 22:13:20: what the venue's clock shows."""

Fault = Callable[[web.Request], web.StreamResponse]
"""Answers in place of the venue, or raises."""


@dataclass
class Venue:
    """
    What the venue has, and what has been asked of it.

    `bars` and `marks` say whether there is a bar that opens then; `page` is the most that an
    answer holds. The fault of number n meets the n-th request (from 1) for a path.
    """

    interval_ms: int = MINUTE_MS
    page: int = 1000
    bars: Callable[[int], bool] = lambda at_ms: True
    marks: Callable[[int], bool] = lambda at_ms: True
    settled_every_ms: int = 8 * HOUR_MS
    faults: dict[tuple[str, int], Fault] = field(default_factory=dict)
    always: dict[str, Fault] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rpartition("/")[2]
        self.asked.append((path, dict(request.query)))
        self.counts[path] += 1
        fault = self.always.get(path) or self.faults.get((path, self.counts[path]))
        if fault is not None:
            return fault(request)
        return web.json_response(self._rows(path, request.query))

    def spans(self, path: str) -> list[tuple[int, int]]:
        """What was asked for, from and until."""
        return [
            (int(query["startTime"]), int(query["endTime"]))
            for asked, query in self.asked
            if asked == path
        ]

    def _rows(self, path: str, query: Mapping[str, str]) -> Any:
        match path:
            case "time":
                return {"serverTime": NOW_MS}
            case "exchangeInfo":
                return {"symbols": [LISTED]}
            case "klines":
                return [last(at_ms) for at_ms in self._times(query, self.bars)]
            case "markPriceKlines":
                return [mark(at_ms) for at_ms in self._times(query, self.marks)]
            case "fundingRate":
                return self._settlements(query)
            case _:
                raise web.HTTPNotFound

    def _times(self, query: Mapping[str, str], has: Callable[[int], bool]) -> list[int]:
        assert query["symbol"] == "BTCUSDT"
        begins_ms, ends_ms = int(query["startTime"]), int(query["endTime"])
        first_ms = -(-begins_ms // self.interval_ms) * self.interval_ms
        there = [at for at in range(first_ms, ends_ms + 1, self.interval_ms) if has(at)]
        return there[: min(self.page, int(query["limit"]))]

    def _settlements(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        begins_ms, ends_ms = int(query["startTime"]), int(query["endTime"])
        every_ms = self.settled_every_ms
        first_ms = begins_ms // every_ms * every_ms
        late = [at_ms + 7 for at_ms in range(first_ms, ends_ms, every_ms)]
        return [
            {"symbol": "BTCUSDT", "fundingTime": at_ms, "fundingRate": "0.00012500"}
            for at_ms in late
            if begins_ms <= at_ms <= ends_ms
        ][: int(query["limit"])]


def close(at_ms: int) -> int:
    """A price that tells its time: 30,000 and the minutes since some day, in tenths."""
    return 300_000 + (at_ms // MINUTE_MS) % 10_000


def last(at_ms: int) -> list[Any]:
    price = close(at_ms) / 10
    cells = [f"{price:.2f}", f"{price + 5:.2f}", f"{price - 5:.2f}", f"{price + 1:.2f}", "12.345"]
    return [at_ms, *cells, at_ms + 59_999, "0", 1, "0", "0", "0"]


def mark(at_ms: int) -> list[Any]:
    price = close(at_ms) / 10
    cells = [f"{price:.8f}", f"{price + 4:.8f}", f"{price - 4:.8f}", f"{price + 1:.8f}", "0"]
    return [at_ms, *cells, at_ms + 59_999, "0", 60, "0", "0", "0"]


LISTED = {
    "symbol": "BTCUSDT",
    "pair": "BTCUSDT",
    "contractType": "PERPETUAL",
    "deliveryDate": 4_133_404_800_000,
    "onboardDate": 1_569_398_400_000,
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "pricePrecision": 2,
    "quantityPrecision": 3,
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.1", "maxPrice": "9e6", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
    ],
    "orderTypes": ["LIMIT", "MARKET"],
    "timeInForce": ["GTC"],
}


def status(code: int, **headers: str) -> Fault:
    """The venue refuses with this code."""
    body = '{"code":-1003,"msg":"Too many requests."}'
    return lambda request: web.Response(
        status=code, text=body, headers=headers, content_type="application/json"
    )


def html(code: int = 200) -> Fault:
    """A page that something between us and the venue made."""
    page = "<html><body>One moment, please</body></html>"
    return lambda request: web.Response(status=code, text=page, content_type="text/html")


def text(body: str) -> Fault:
    """Just this, as JSON."""
    return lambda request: web.Response(text=body, content_type="application/json")


def dropped(request: web.Request) -> web.StreamResponse:
    """The connection breaks before an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


class Cut(web.Response):
    """An answer that ends in its middle."""

    async def write_eof(self, data: Any = b"") -> None:
        assert self._req is not None
        assert self._req.transport is not None
        self._req.transport.abort()


def cut(request: web.Request) -> web.StreamResponse:
    response = Cut(text="[[1,", content_type="application/json")
    response.content_length = 1000
    return response


with warnings.catch_warnings(action="ignore"):  # aiohttp discourages what is done here

    class LoopSession(aiohttp.ClientSession):
        """Keeps ccxt's addresses, and sends to a port of this machine whatever goes there."""

        def __init__(self, port: int) -> None:
            super().__init__()
            self._port = port

        async def _request(self, method: str, str_or_url: Any, **given: Any) -> Any:
            given.pop("ssl", None)
            url = URL(str(str_or_url), encoded=True)
            local = f"http://127.0.0.1:{self._port}{url.raw_path_qs}"
            return await super()._request(method, URL(local, encoded=True), **given)


@asynccontextmanager
async def served(venue: Venue) -> AsyncIterator[int]:
    """The port at which `venue` answers."""
    app = web.Application()
    app.router.add_get("/{path:.*}", venue.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await asyncio.wait_for(runner.cleanup(), 5)


@asynccontextmanager
async def serving(venue: Venue) -> AsyncIterator[LoopSession]:
    """A session to `venue`."""
    async with served(venue) as port:
        session = LoopSession(port)
        async with session:
            yield session


class Bybit(Venue):
    """The same prices in the words of Bybit: newest first, within an envelope, with tiers."""

    def _rows(self, path: str, query: Mapping[str, str]) -> Any:
        rows: list[Any]
        begins, ends = query.get("start", ""), query.get("end", "")
        asked = {**query, "startTime": begins, "endTime": ends}
        match path:
            case "time":
                return envelope({"timeNano": f"{NOW_MS}000000"}) | {"time": NOW_MS}
            case "instruments-info":
                listed = [] if "status" in query else [BYBIT_LISTED]
                return envelope({"category": "linear", "list": listed})
            case "kline":
                rows = [last(at_ms)[:6] for at_ms in self._times(asked, self.bars)]
            case "mark-price-kline":
                rows = [mark(at_ms)[:5] for at_ms in self._times(asked, self.marks)]
            case "history":
                times = {"startTime": query["startTime"], "endTime": query["endTime"]}
                rows = [
                    {
                        "symbol": "BTCUSDT",
                        "fundingRate": each["fundingRate"],
                        "fundingRateTimestamp": str(each["fundingTime"]),
                    }
                    for each in self._settlements(times | {"limit": query["limit"]})
                ]
            case "risk-limit":
                return envelope({"category": "linear", "list": BYBIT_TIERS})
            case _:
                raise web.HTTPNotFound
        written = [[str(cell) for cell in row] if isinstance(row, list) else row for row in rows]
        return envelope({"category": "linear", "symbol": "BTCUSDT", "list": written[::-1]})


def envelope(result: Any) -> dict[str, Any]:
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": NOW_MS}


BYBIT_LISTED = {
    "symbol": "BTCUSDT",
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "settleCoin": "USDT",
    "launchTime": "1585526400000",
    "deliveryTime": "0",
    "deliveryFeeRate": "",
    "priceScale": "2",
    "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
    "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
    "lotSizeFilter": {
        "maxOrderQty": "1190.000",
        "minOrderQty": "0.001",
        "qtyStep": "0.001",
        "minNotionalValue": "5",
    },
    "unifiedMarginTrade": True,
    "fundingInterval": 480,
}
BYBIT_TIERS = [
    {
        "id": number,
        "symbol": "BTCUSDT",
        "riskLimitValue": cap,
        "maintenanceMargin": rate,
        "initialMargin": "0.01",
        "isLowestRisk": int(number == 1),
        "maxLeverage": leverage,
    }
    for number, (cap, rate, leverage) in enumerate(
        (("2000000", "0.005", "100.00"), ("4000000", "0.01", "50.00")), start=1
    )
]
