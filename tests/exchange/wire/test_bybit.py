"""ccxt's own unmodified Bybit class trades on the same exchange, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import ccxt.pro
import pytest
import pytest_asyncio

from bot.exchange.live.loopback import LoopbackSession
from tests.exchange.wire.build import BTC, ETH
from tests.exchange.wire.test_ccxt import PATIENCE_S, Venue, soon, venue

__all__ = ["venue"]

STOP = {"stopLossPrice": 57_000, "triggerBy": "MarkPrice"}
ACKNOWLEDGED = {"acknowledged": True}


@pytest_asyncio.fixture
async def client(venue: Venue) -> AsyncIterator[Any]:
    """A trader on isolated margin at tenfold leverage. Its limiter would only slow the tests."""
    session = LoopbackSession(venue.port)
    options = {"apiKey": "paper-alice", "secret": "paper", "session": session, "timeout": 3_000}
    trader = ccxt.pro.bybit({**options, "enableRateLimit": False})
    await trader.load_markets()
    await trader.set_margin_mode("isolated")
    await trader.set_leverage(10, BTC)
    yield trader
    await trader.close()
    await session.close()


async def test_it_trades_adds_margin_and_is_stopped_out(client: Any, venue: Venue) -> None:
    placed = await client.create_order(BTC, "market", "buy", 0.1)
    order = await client.fetch_order(placed["id"], BTC, ACKNOWLEDGED)
    assert (order["status"], order["filled"], order["average"]) == ("closed", 0.1, 60_000)
    (position,) = await client.fetch_positions()
    assert (position["side"], position["contracts"], position["leverage"]) == ("long", 0.1, 10)
    assert position["liquidationPrice"] == 54_216.9
    await client.create_order(BTC, "market", "sell", 0.1, None, {**STOP, "clientOrderId": "s1"})
    (stop,) = await client.fetch_open_orders(BTC)
    assert (stop["clientOrderId"], stop["triggerPrice"], stop["reduceOnly"]) == (
        "s1",
        57_000,
        True,
    )
    added = await client.privatePostV5PositionAddMargin(
        {"category": "linear", "symbol": "BTCUSDT", "margin": "100"}
    )
    assert added["result"]["positionBalance"] == "700.00000000"
    await venue.control("mark", symbol="BTCUSDT", price=56_900)
    assert await client.fetch_positions() == []
    done = await client.fetch_order(stop["id"], BTC, ACKNOWLEDGED)
    assert (done["status"], done["filled"]) == ("closed", 0.1)
    trades = await client.fetch_my_trades(BTC)
    assert [(each["side"], each["amount"]) for each in trades] == [("buy", 0.1), ("sell", 0.1)]


async def test_it_sees_its_position_liquidated_on_its_streams(client: Any, venue: Venue) -> None:
    await client.create_order(BTC, "market", "buy", 0.1)
    (snapshot,) = await soon(client.watch_positions())
    assert snapshot["contracts"] == 0.1
    positions = asyncio.ensure_future(client.watch_positions())
    trades = asyncio.ensure_future(client.watch_my_trades())
    await _until_following(venue, {"position", "execution"})
    await venue.control("liquidate", account="bybit:alice", symbol="BTCUSDT")
    (trade,) = await soon(trades)
    assert (trade["side"], trade["amount"], trade["info"]["execType"]) == (
        "sell",
        0.1,
        "BustTrade",
    )
    (pushed,) = await soon(positions)
    assert pushed["contracts"] == 0
    assert await client.fetch_positions() == []


async def test_it_watches_prices_and_orders(client: Any, venue: Venue) -> None:
    ticker = await soon(client.watch_ticker(BTC))
    assert (ticker["last"], ticker["markPrice"]) == (60_000, 60_000)
    orders = asyncio.ensure_future(client.watch_orders())
    await _until_following(venue, {"order"})
    await client.create_order(BTC, "limit", "buy", 0.1, 59_000)
    (order,) = await soon(orders)
    assert (order["status"], order["price"]) == ("open", 59_000)
    await venue.control("mark", symbol="BTCUSDT", price=58_900)
    while (order := (await soon(client.watch_orders()))[-1])["status"] != "closed":
        pass
    assert (order["filled"], order["average"]) == (0.1, 59_000)


async def test_its_stop_limit_gaps_and_stays(client: Any, venue: Venue) -> None:
    await client.create_order(BTC, "market", "buy", 0.1)
    await client.create_order(BTC, "limit", "sell", 0.1, 56_500, STOP)
    await venue.control("mark", symbol="BTCUSDT", price=56_900, last=55_000)
    (order,) = await client.fetch_open_orders(BTC)
    assert (order["price"], order["filled"], order["info"]["orderStatus"]) == (56_500, 0, "New")
    assert len(await client.fetch_positions()) == 1
    await venue.control("mark", symbol="BTCUSDT", price=56_900)
    assert await client.fetch_positions() == []


async def test_an_index_price_triggers_what_waits_for_it(client: Any, venue: Venue) -> None:
    await client.create_order(BTC, "market", "buy", 0.1)
    on_index = STOP | {"triggerBy": "IndexPrice"}
    await client.create_order(BTC, "market", "sell", 0.1, None, on_index)
    await venue.control("mark", symbol="BTCUSDT", price=56_900, last=56_900, index=58_000)
    assert len(await client.fetch_positions()) == 1
    await venue.control("mark", symbol="BTCUSDT", price=58_000, last=58_000, index=57_000)
    assert await client.fetch_positions() == []


async def test_it_trades_both_legs_of_hedge_mode(client: Any) -> None:
    await client.set_position_mode(True)
    for side, amount in (("buy", 0.2), ("sell", 0.1)):
        await client.create_order(BTC, "market", side, amount, None, {"hedged": True})
    positions = {each["side"]: each for each in await client.fetch_positions()}
    assert {side: each["contracts"] for side, each in positions.items()} == {
        "long": 0.2,
        "short": 0.1,
    }
    with pytest.raises(ccxt.BadRequest, match="110024"):
        await client.set_position_mode(False)
    closing = {"hedged": True, "reduceOnly": True}
    await client.create_order(BTC, "market", "sell", 0.2, None, closing)
    (left,) = await client.fetch_positions()
    assert (left["side"], left["contracts"]) == ("short", 0.1)


async def test_a_positions_own_stop_is_replaced_and_closes_all_of_it(
    client: Any, venue: Venue
) -> None:
    stop = {"category": "linear", "symbol": "BTCUSDT", "slTriggerBy": "MarkPrice"}

    async def set_stop(**levels: str) -> None:
        await client.privatePostV5PositionTradingStop(stop | levels)

    with pytest.raises(ccxt.BadRequest, match="zero position"):
        await set_stop(stopLoss="57000")
    await client.create_order(BTC, "market", "buy", 0.1)
    await set_stop(stopLoss="57000", takeProfit="65000")
    await set_stop(stopLoss="58000")
    with pytest.raises(ccxt.BadRequest, match="wrong side"):
        await set_stop(stopLoss="60000")
    waiting = {each["info"]["stopOrderType"]: each for each in await client.fetch_open_orders(BTC)}
    assert {kind: each["triggerPrice"] for kind, each in waiting.items()} == {
        "StopLoss": 58_000,
        "TakeProfit": 65_000,
    }
    (position,) = await client.fetch_positions()
    assert (position["stopLossPrice"], position["takeProfitPrice"]) == (58_000, 65_000)
    await set_stop(takeProfit="0")
    assert len(await client.fetch_open_orders(BTC)) == 1
    await client.create_order(BTC, "market", "buy", 0.2)
    await venue.control("mark", symbol="BTCUSDT", price=58_000)
    assert await client.fetch_positions() == []
    (done,) = [each for each in await client.fetch_closed_orders(BTC) if each["triggerPrice"]]
    assert (done["filled"], done["status"]) == (0.3, "closed")


@pytest.mark.parametrize(
    ("code", "error", "order"),
    [
        ("110094", ccxt.InvalidOrder, (ETH, "market", "buy", 0.001, None, {})),
        ("110017", ccxt.InvalidOrder, (ETH, "market", "sell", 1, None, {"reduceOnly": True})),
        ("110007", ccxt.InsufficientFunds, (ETH, "market", "buy", 900, None, {})),
        (
            "110093",
            ccxt.InvalidOrder,
            (BTC, "market", "sell", 0.1, None, {**STOP, "stopLossPrice": 60_500}),
        ),
        (
            "110092",
            ccxt.InvalidOrder,
            (BTC, "market", "sell", 0.1, None, {"takeProfitPrice": 59_000}),
        ),
        (
            "110072",
            ccxt.InvalidOrder,
            (BTC, "market", "sell", 0.1, None, {**STOP, "clientOrderId": "a"}),
        ),
        ("110017", ccxt.InvalidOrder, (BTC, "market", "sell", 0.1, None, {"reduceOnly": True})),
        ("10001", ccxt.BadRequest, (BTC, "market", "buy", 0.1, None, {"positionIdx": 1})),
    ],
)
async def test_it_is_refused_by_its_own_error_map(
    client: Any, code: str, error: type[Exception], order: Any
) -> None:
    await client.create_order(BTC, "market", "buy", 0.1)
    await client.create_order(BTC, "market", "sell", 0.1, None, {**STOP, "clientOrderId": "a"})
    await client.create_order(BTC, "limit", "sell", 0.05, 65_000, {"reduceOnly": True})
    with pytest.raises(error, match=code):
        await client.create_order(*order)


async def test_what_a_maker_would_take_is_cancelled_not_refused(client: Any) -> None:
    maker = await client.create_order(BTC, "limit", "buy", 0.1, 61_000, {"postOnly": True})
    order = await client.fetch_order(maker["id"], BTC, ACKNOWLEDGED)
    assert (order["status"], order["filled"]) == ("canceled", 0)
    assert order["info"]["rejectReason"] == "EC_PostOnlyWillTakeLiquidity"
    assert await client.fetch_positions() == []


async def test_an_order_that_never_was_is_not_found(client: Any) -> None:
    with pytest.raises(ccxt.OrderNotFound, match="110001"):
        await client.cancel_order("1", BTC)
    with pytest.raises(ccxt.OrderNotFound):
        await client.fetch_open_order("1", BTC)


async def test_switches_are_refused_where_something_is_open(client: Any) -> None:
    with pytest.raises(ccxt.BadRequest, match="110043"):
        await client.set_leverage(10, BTC)
    with pytest.raises(ccxt.NoChange, match="110025"):
        await client.set_position_mode(False)
    await client.create_order(ETH, "limit", "buy", 1, 2_000)
    with pytest.raises(ccxt.ExchangeError, match="3400045"):
        await client.set_margin_mode("cross")
    info = await client.privateGetV5AccountInfo()
    assert info["result"]["marginMode"] == "ISOLATED_MARGIN", "of none, not of some"
    with pytest.raises(ccxt.BadRequest, match="110028"):
        await client.set_position_mode(True)
    await client.cancel_all_orders(ETH)
    await client.set_margin_mode("cross")
    info = await client.privateGetV5AccountInfo()
    assert info["result"]["marginMode"] == "REGULAR_MARGIN"


async def test_its_clock_its_key_and_its_secret_are_checked(client: Any) -> None:
    client.nonce = lambda: client.milliseconds() - 60_000
    with pytest.raises(ccxt.InvalidNonce, match="10002"):
        await client.fetch_positions()
    client.nonce = client.milliseconds
    client.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError, match="10004"):
        await client.fetch_positions()
    client.apiKey, client.secret = "else", "paper"
    with pytest.raises(ccxt.AuthenticationError, match="10003"):
        await client.fetch_positions()


async def test_a_deposit_is_seen_on_its_stream(client: Any, venue: Venue) -> None:
    balance = asyncio.ensure_future(client.watch_balance())
    await _until_following(venue, {"wallet"})
    await venue.control("deposit", account="bybit:alice", amount=5)
    assert (await soon(balance))["USDT"]["total"] == 10_005


async def test_a_market_can_be_asked_for(client: Any) -> None:
    ticker = await client.fetch_ticker(BTC)
    assert (ticker["last"], ticker["markPrice"]) == (60_000, 60_000)
    balance = await client.fetch_balance()
    assert balance["USDT"]["total"] == 10_000
    (first, *_) = await client.fetch_market_leverage_tiers(BTC)
    assert first["maintenanceMarginRate"] == 0.004
    assert client.markets[BTC]["limits"]["cost"]["min"] == 5
    assert set(client.symbols) == {BTC, ETH}


async def test_both_dialects_share_the_venue_and_no_account(client: Any, venue: Venue) -> None:
    """One mark liquidates a trader of each; neither sees the other's positions."""
    session = LoopbackSession(venue.port)
    options = {"apiKey": "paper-alice", "secret": "paper", "session": session}
    other = ccxt.pro.binanceusdm({**options, "enableRateLimit": False})
    try:
        await client.create_order(BTC, "market", "buy", 0.1)
        assert await other.fetch_positions() == []
        await other.set_margin_mode("isolated", BTC)
        await other.set_leverage(20, BTC)
        await other.create_order(BTC, "market", "buy", 0.2)
        assert [each["contracts"] for each in await client.fetch_positions()] == [0.1]
        await venue.control("mark", symbol="BTCUSDT", price=54_000)
        assert await other.fetch_positions() == []
        assert await client.fetch_positions() == []
    finally:
        await other.close()
        await session.close()


async def _until_following(venue: Venue, topics: set[str]) -> None:
    """Until every topic has a listener."""
    url = f"http://127.0.0.1:{venue.control_port}/control/state"
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with venue.http.get(url) as response:
                if topics <= set((await response.json())["topics"]):
                    return
