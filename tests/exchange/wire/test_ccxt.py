"""ccxt's own unmodified Binance USD-M class trades on the wire, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import ccxt.pro
import pytest
import pytest_asyncio

from bot.clock import Clock, system_wall_ms
from bot.exchange.live.loopback import LoopbackSession
from bot.exchange.paper.wire.server import LOOPBACK, WireServer
from tests.exchange.wire.build import BTC, ETH, exchange

PATIENCE_S = 10


@dataclass(frozen=True, slots=True)
class Venue:
    """A running server, and a way to its control port."""

    port: int
    control_port: int
    http: aiohttp.ClientSession

    async def control(self, path: str, **parameters: Any) -> dict[str, Any]:
        """POST a command; what is said."""
        url = f"http://{LOOPBACK}:{self.control_port}/control/{path}"
        async with self.http.post(url, json=parameters) as response:
            said: dict[str, Any] = await response.json()
            assert response.status == 200, said
            return said


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[Venue]:
    """The exchange at today's time, on ports of the system's choice."""
    clock = Clock(system_wall_ms())
    server = WireServer(exchange(clock.now_ms()), clock, push_ms=100)
    async with (
        server.serving(0, 0) as (port, control_port),
        aiohttp.ClientSession() as http,
    ):
        yield Venue(port, control_port, http)


@pytest_asyncio.fixture
async def client(venue: Venue) -> AsyncIterator[Any]:
    """A trader on isolated margin at tenfold leverage. Its limiter would only slow the tests."""
    session = LoopbackSession(venue.port)
    options = {"apiKey": "paper-alice", "secret": "paper", "session": session, "timeout": 3_000}
    trader = ccxt.pro.binanceusdm({**options, "enableRateLimit": False})
    await trader.load_markets()
    await trader.set_margin_mode("isolated", BTC)
    await trader.set_leverage(10, BTC)
    yield trader
    await trader.close()
    await session.close()


async def soon(awaitable: Any) -> Any:
    """Its result within the patience of a test."""
    async with asyncio.timeout(PATIENCE_S):
        return await awaitable


STOP = {"stopLossPrice": 57_000, "reduceOnly": True, "workingType": "MARK_PRICE"}


async def test_it_trades_adds_margin_and_is_stopped_out(client: Any, venue: Venue) -> None:
    order = await client.create_order(BTC, "market", "buy", 0.1)
    assert (order["status"], order["filled"], order["average"]) == ("closed", 0.1, 60_000)
    (position,) = await client.fetch_positions()
    assert position["side"] == "long"
    assert position["marginMode"] == "isolated"
    assert position["liquidationPrice"] == 54_216.9
    await client.create_order(BTC, "market", "sell", 0.1, None, {**STOP, "clientOrderId": "s1"})
    added = await client.add_margin(BTC, 100)
    assert added["amount"] == 100
    (row,) = await client.fetch_margin_adjustment_history(BTC)
    assert row["amount"] == 100
    (position,) = await client.fetch_positions()
    assert position["collateral"] == 700
    assert len(await client.fetch_open_orders(BTC, params={"trigger": True})) == 1
    await venue.control("mark", symbol="BTCUSDT", price=56_900)
    assert await client.fetch_positions() == []
    stop = await client.fetch_order("0", BTC, {"trigger": True, "clientAlgoId": "s1"})
    assert stop["status"] == "closed"
    trades = await client.fetch_my_trades(BTC)
    assert [(each["side"], each["amount"]) for each in trades] == [("buy", 0.1), ("sell", 0.1)]


async def test_it_sees_its_position_liquidated_on_its_streams(client: Any, venue: Venue) -> None:
    await client.create_order(BTC, "market", "buy", 0.1)
    orders = asyncio.ensure_future(client.watch_orders())
    positions = asyncio.ensure_future(client.watch_positions())
    await _until_listening(venue, 1)
    await venue.control("liquidate", account="alice", symbol="BTCUSDT")
    (order,) = await soon(orders)
    assert order["clientOrderId"].startswith("autoclose-")
    assert order["status"] == "closed"
    pushed = await soon(positions)
    if pushed[0]["contracts"]:  # the first answer may be the snapshot from before
        pushed = await soon(client.watch_positions())
    assert pushed[0]["contracts"] == 0
    assert await client.fetch_positions() == []
    assert len(await client.fetch_my_liquidations(BTC)) == 1


async def test_it_watches_the_mark_price(client: Any, venue: Venue) -> None:
    first = await soon(client.watch_mark_price(BTC))
    assert first["markPrice"] == 60_000
    await venue.control("mark", symbol="BTCUSDT", price=61_234)
    while (await soon(client.watch_mark_price(BTC)))["markPrice"] != 61_234:
        pass


@pytest.mark.parametrize(
    ("code", "error", "order"),
    [
        ("-4164", ccxt.InvalidOrder, (ETH, "market", "buy", 0.001, None, {})),
        ("-2022", ccxt.InvalidOrder, (ETH, "market", "sell", 1, None, {"reduceOnly": True})),
        ("-2019", ccxt.InsufficientFunds, (ETH, "market", "buy", 900, None, {})),
        (
            "-2021",
            ccxt.OrderImmediatelyFillable,
            (BTC, "market", "sell", 0.1, None, {**STOP, "stopLossPrice": 60_500}),
        ),
        (
            "-4116",
            ccxt.InvalidOrder,
            (BTC, "market", "sell", 0.1, None, {**STOP, "clientOrderId": "a"}),
        ),
        (
            "-4118",
            ccxt.OperationRejected,
            (BTC, "market", "sell", 0.1, None, {"reduceOnly": True}),
        ),
        (
            "-4130",
            ccxt.ExchangeError,
            (BTC, "market", "sell", None, None, {"stopLossPrice": 56_000, "closePosition": True}),
        ),
    ],
)
async def test_it_is_refused_by_its_own_error_map(
    client: Any, code: str, error: type[Exception], order: Any
) -> None:
    await client.create_order(BTC, "market", "buy", 0.1)
    await client.create_order(BTC, "market", "sell", 0.1, None, {**STOP, "clientOrderId": "a"})
    await client.create_order(BTC, "limit", "sell", 0.05, 65_000, {"reduceOnly": True})
    whole = {"stopLossPrice": 57_000, "closePosition": True}
    await client.create_order(BTC, "market", "sell", None, None, whole)
    with pytest.raises(error, match=code):
        await client.create_order(*order)


async def test_an_order_that_never_was_is_not_found(client: Any) -> None:
    with pytest.raises(ccxt.OrderNotFound, match="-2013"):
        await client.fetch_order("1", BTC)
    with pytest.raises(ccxt.OrderNotFound, match="-2013"):
        await client.fetch_order("1", BTC, {"trigger": True})
    with pytest.raises(ccxt.OrderNotFound, match="-2011"):
        await client.cancel_order("1", BTC)


async def test_it_trades_both_legs_of_hedge_mode(client: Any, venue: Venue) -> None:
    await client.set_position_mode(True)
    for side, leg, amount in (("buy", "LONG", 0.2), ("sell", "SHORT", 0.1)):
        await client.create_order(BTC, "market", side, amount, None, {"positionSide": leg})
    positions = {each["side"]: each for each in await client.fetch_positions()}
    assert {side: each["contracts"] for side, each in positions.items()} == {
        "long": 0.2,
        "short": 0.1,
    }
    assert all(each["hedged"] for each in positions.values())
    stop = {"stopLossPrice": 57_000, "positionSide": "LONG", "workingType": "MARK_PRICE"}
    await client.create_order(BTC, "market", "sell", 0.2, None, stop)
    with pytest.raises(ccxt.ExchangeError, match="-4067"):
        await client.set_position_mode(False)
    await venue.control("mark", symbol="BTCUSDT", price=57_000)
    (left,) = await client.fetch_positions()
    assert (left["side"], left["contracts"]) == ("short", 0.1)
    with pytest.raises(ccxt.ExchangeError, match="-4061"):
        await client.create_order(BTC, "market", "buy", 0.1)
    gone = (BTC, "market", "sell", 0.1, None, {"positionSide": "LONG"})
    with pytest.raises(ccxt.InvalidOrder, match="-2022"):
        await client.create_order(*gone)


async def test_its_stop_limit_gaps_and_stays(client: Any, venue: Venue) -> None:
    await client.create_order(BTC, "market", "buy", 0.1)
    gap = {"stopLossPrice": 57_000, "reduceOnly": True, "workingType": "MARK_PRICE"}
    await client.create_order(BTC, "limit", "sell", 0.1, 56_500, gap)
    await venue.control("mark", symbol="BTCUSDT", price=56_900, last=55_000)
    (order,) = await client.fetch_open_orders(BTC)
    assert (order["price"], order["filled"], order["reduceOnly"]) == (56_500, 0, True)
    assert len(await client.fetch_positions()) == 1
    await venue.control("mark", symbol="BTCUSDT", price=56_900)
    assert await client.fetch_positions() == []
    done = await client.fetch_order(order["id"], BTC)
    assert (done["status"], done["average"]) == ("closed", 56_500)


async def test_it_moves_money_in_and_out(client: Any) -> None:
    await client.transfer("USDT", 500, "spot", "linear")
    assert (await client.fetch_balance())["USDT"]["total"] == 10_500
    with pytest.raises(ccxt.ExchangeError, match="-5013"):
        await client.transfer("USDT", 20_000, "linear", "spot")
    await client.transfer("USDT", 10_500, "linear", "spot")
    assert (await client.fetch_balance())["USDT"]["total"] == 0


async def test_its_clock_and_its_secret_are_checked(client: Any) -> None:
    client.nonce = lambda: client.milliseconds() - 60_000
    with pytest.raises(ccxt.InvalidNonce, match="-1021"):
        await client.fetch_balance()
    client.nonce = client.milliseconds
    client.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError, match="-1022"):
        await client.fetch_balance()


async def test_a_market_day_can_be_asked_for(client: Any) -> None:
    ticker = await client.fetch_ticker(BTC)
    assert ticker["last"] == 60_000
    rate = await client.fetch_funding_rate(BTC)
    assert rate["markPrice"] == 60_000
    candles = await client.fetch_ohlcv(BTC, "1m")
    assert candles[-1][4] == 60_000
    tiers = await client.fetch_leverage_tiers([BTC])
    assert tiers[BTC][0]["maintenanceMarginRate"] == 0.004
    balance = await client.fetch_balance()
    assert balance["USDT"]["total"] == 10_000


async def _until_listening(venue: Venue, count: int) -> None:
    url = f"http://{LOOPBACK}:{venue.control_port}/control/state"
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with venue.http.get(url) as response:
                if (await response.json())["listeners"] >= count:
                    return
