"""What is written to Binance's futures, against ccxt's own classes when they are asked rightly."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import ccxt.async_support
import pytest

from bot.core.actions import Action, AddMargin, ClosePosition, NoWorseThan, PlaceStop
from bot.core.model import PositionMode, Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.calls import Call
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.venues.stage import D

CLIENT_ID = "lgabcd0123456789abcdefghij"
OF_THE_MOMENT = frozenset({"timestamp", "recvWindow", "signature"})
SYMBOLS = {"binanceusdm": "BTC/USDT:USDT", "binancecoinm": "BTC/USD:BTC"}
NAMES = {"binanceusdm": "BTCUSDT", "binancecoinm": "BTCUSD_PERP"}
SIZES = {"binanceusdm": D(1), "binancecoinm": D(100)}
"""Of what the venue counts as one."""


async def ccxts_own(venue: str, method: str, *asked: Any, **extra: Any) -> tuple[str, str, Any]:
    """Method, path and parameters that a unified call of ccxt puts on the wire."""
    client = getattr(ccxt.async_support, venue)({"apiKey": "k", "secret": "s"})
    client.timeout_on_exit = 0
    is_inverse = venue == "binancecoinm"
    market = {
        "id": NAMES[venue], "symbol": SYMBOLS[venue], "base": "BTC", "baseId": "BTC",
        "quote": "USD" if is_inverse else "USDT", "quoteId": "USD" if is_inverse else "USDT",
        "settle": "BTC" if is_inverse else "USDT", "settleId": "BTC" if is_inverse else "USDT",
        "type": "swap", "spot": False, "margin": False, "swap": True, "future": False,
        "option": False, "contract": True, "linear": not is_inverse, "inverse": is_inverse,
        "contractSize": 100 if is_inverse else 1, "active": True,
        "precision": {"amount": 1 if is_inverse else 0.0001, "price": 0.1},
        "limits": {"amount": {"min": 0.0001}}, "info": {
            "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET"],
        },
    }  # fmt: skip
    client.set_markets([market])
    sent: list[Any] = []

    async def fetch(url: str, method: str, headers: Any, body: Any) -> Any:
        parts = urlsplit(url)
        pairs = parse_qsl(body or parts.query)
        sent.append((method, parts.path, {k: v for k, v in pairs if k not in OF_THE_MOMENT}))
        return {"orderId": 1, "algoId": 1, "code": 200, "amount": 1, "type": 1}

    client.fetch = fetch
    await getattr(client, method)(SYMBOLS[venue], *asked, extra)
    await client.close()
    return sent[-1]  # type: ignore[no-any-return]


def ours(venue: str, action: Action, mode: PositionMode) -> tuple[str, str, Any]:
    """The same of our recipe."""
    listed = Listed({NAMES[venue]: SYMBOLS[venue]}, {NAMES[venue]: SIZES[venue]})
    call = DIALECTS[venue].orders.write_call(action, CLIENT_ID, listed, Ground(mode, ()))
    assert isinstance(call, Call)
    root = {"fapiPrivate": "/fapi/v1/", "dapiPrivate": "/dapi/v1/"}[call.api]
    return call.method, root + call.path, dict(call.parameters)


LONG, SHORT = Side.LONG, Side.SHORT
BOUND = NoWorseThan(Price(D("59900.5")))


@pytest.mark.parametrize("venue", SYMBOLS)
@pytest.mark.parametrize("mode", PositionMode)
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("kind", ["market", "limit", "stop"])
async def test_orders_are_those_that_ccxt_makes_when_asked_rightly(
    venue: str, mode: PositionMode, side: Side, kind: str
) -> None:
    """An independent source, also of what hedge mode takes: it leaves `reduceOnly` out there."""
    symbol, quantity = SYMBOLS[venue], Quantity(D(3) * SIZES[venue])
    action: Action = ClosePosition(symbol, side, quantity)
    price, extra = None, dict[str, Any]()
    match kind:
        case "limit":
            action = ClosePosition(symbol, side, quantity, BOUND)
            price, extra = 59900.5, {"timeInForce": "IOC"}
        case "stop":
            trigger = 57000 if side is LONG else 63000
            action = PlaceStop(symbol, side, quantity, Price(D(trigger)))
            extra = {"stopLossPrice": trigger, "workingType": "MARK_PRICE"}
        case _:
            pass
    theirs = await ccxts_own(
        venue,
        "create_order",
        "limit" if kind == "limit" else "market",
        "sell" if side is LONG else "buy",
        3,
        price,
        clientOrderId=CLIENT_ID,
        reduceOnly=True,
        hedged=mode is PositionMode.HEDGE,
        **extra,
    )
    assert ours(venue, action, mode) == theirs


@pytest.mark.parametrize("venue", SYMBOLS)
async def test_margin_goes_where_ccxt_sends_it_but_whole(venue: str) -> None:
    """ccxt cuts the amount by the step of the quantity: 25.756 coins become 25."""
    method, path, named = await ccxts_own(venue, "add_margin", 25.756, positionSide="SHORT")
    action = AddMargin(SYMBOLS[venue], SHORT, Money(D("25.756")))
    assert ours(venue, action, PositionMode.HEDGE) == (method, path, {**named, "amount": "25.756"})
    if venue == "binancecoinm":
        assert named["amount"] == "25"
