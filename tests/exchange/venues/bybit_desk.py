"""
Bybit's side of a stage. Shapes of answers: `documented` (v5, pages of 2026-07); figures are our
own. The whole exchange, which liquidates, is in `bot.exchange.paper.wire.bybit`: this one only
answers, so that one contract can be asked of every venue.
"""

import json
from decimal import Decimal
from typing import Any

from bot.clock import system_wall_ms
from bot.core.model import MarginMode, PositionMode
from bot.exchange.live.dialect import Dialect
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.venues.stage import Asked, Book, D, Said

CONTRACT = {
    "symbol": "BTCUSDT",
    "symbolId": 5,
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "settleCoin": "USDT",
    "launchTime": "1585526400000",
    "deliveryTime": "0",
    "deliveryFeeRate": "",
    "priceScale": "2",
    "leverageFilter": {"minLeverage": "1", "maxLeverage": "125.00", "leverageStep": "0.01"},
    "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
    "lotSizeFilter": {
        "maxOrderQty": "1190.000",
        "minOrderQty": "0.0001",
        "qtyStep": "0.0001",
        "postOnlyMaxOrderQty": "1190.000",
        "maxMktOrderQty": "500.000",
        "minNotionalValue": "5",
    },
    "unifiedMarginTrade": True,
    "fundingInterval": 480,
    "copyTrading": "both",
    "isPreListing": False,
    "preListingInfo": None,
}
ETH = CONTRACT | {"symbol": "ETHUSDT", "baseCoin": "ETH"}
TIERS = [
    {
        "id": 1,
        "symbol": "BTCUSDT",
        "riskLimitValue": "1000000",
        "maintenanceMargin": "0.004",
        "initialMargin": "0.008",
        "isLowestRisk": 1,
        "maxLeverage": "125.00",
        "mmDeduction": "",
    },
    {
        "id": 2,
        "symbol": "BTCUSDT",
        "riskLimitValue": "2000000",
        "maintenanceMargin": "0.005",
        "initialMargin": "0.01",
        "isLowestRisk": 0,
        "maxLeverage": "100.00",
        "mmDeduction": "1000",
    },
]
KEY = {
    "id": "13770661",
    "readOnly": 0,
    "permissions": {
        "ContractTrade": ["Order", "Position"],
        "Spot": [],
        "Wallet": [],
        "Options": [],
        "Derivatives": ["DerivativesTrade"],
        "Exchange": [],
        "FiatP2P": [],
    },
    "ips": ["192.0.2.1"],
    "type": 1,
    "uta": 1,
}
_MODES = {MarginMode.ISOLATED: "ISOLATED_MARGIN", MarginMode.CROSS: "REGULAR_MARGIN"}


def done(result: Any) -> Said:
    """The envelope of success."""
    said = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}}
    return Said(200, said | {"time": system_wall_ms()})


def failed(code: int, text: str = "no") -> Said:
    """The envelope of failure, with HTTP 200."""
    said = {"retCode": code, "retMsg": text, "result": {}, "retExtInfo": {}}
    return Said(200, said | {"time": system_wall_ms()})


def listed(found: list[Any]) -> Said:
    """A page of rows."""
    return done({"category": "linear", "list": found, "nextPageCursor": ""})


class BybitDesk:
    """Implements `Desk`."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.not_known = failed(10016, "Server error.")
        self.code_unheard_of = failed(110999)
        self.tells_of_keys, self.keeps_margin = True, False
        self.proves = frozenset({"too much margin", "would trigger at once", "wrong side"})

    @property
    def dialect(self) -> Dialect:
        return DIALECTS["bybit"]

    def is_write(self, asked: Asked) -> bool:
        return asked.method != "GET"

    def answer(self, asked: Asked) -> Said:
        path = asked.path.removeprefix("/v5/")
        if path.startswith("market/"):
            return self._public(path.removeprefix("market/"), asked.query)
        if "X-BAPI-SIGN" not in asked.headers:
            return failed(10004)
        if self.is_write(asked):
            return self._write(path, asked.body)
        return self._read(path, asked.query)

    def _public(self, path: str, query: Any) -> Said:
        match path:
            case "time":
                now_ms = system_wall_ms()
                return done({"timeSecond": str(now_ms // 1000), "timeNano": f"{now_ms}000000"})
            case "instruments-info":
                contracts = [CONTRACT, ETH]
                named = [each for each in contracts if each["symbol"] == query.get("symbol")]
                return listed(named if "symbol" in query else contracts)
            case "risk-limit":
                return listed([each | {"symbol": query["symbol"]} for each in TIERS])
            case "tickers":
                return listed([self._ticker()])
            case _:
                return failed(10017)

    def _read(self, path: str, query: Any) -> Said:
        match path:
            case "user/query-api":
                return done(KEY)
            case "account/info":
                mode = _MODES[self.book.margin_mode]
                return done({"marginMode": mode, "unifiedMarginStatus": 6})
            case "account/fee-rate":
                fees = {"takerFeeRate": "0.0005", "makerFeeRate": "0.0002"}
                return done({"list": [{"symbol": query["symbol"]} | fees]})
            case "account/wallet-balance":
                return done({"list": [{"accountType": "UNIFIED", "coin": [self._coin()]}]})
            case "position/list":
                return listed(self._legs(with_empty="symbol" in query))
            case "order/realtime" | "order/history":
                return listed(self._orders(query))
            case _:
                return failed(10017)

    def _write(self, path: str, sent: Any) -> Said:
        assert sent["category"] == "linear"
        match path:
            case "order/create":
                return self._stop(sent) if "triggerPrice" in sent else self._close(sent)
            case "order/cancel":
                return self._cancel(sent["orderLinkId"])
            case "position/add-margin":
                return self._margin(sent)
            case _:
                return failed(10017)

    # -- by hand ---------------------------------------------------------------------------

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        is_long = self.book.quantity > 0
        sent = {
            "symbol": "BTCUSDT",
            "side": "Sell" if is_long else "Buy",
            "orderType": "Market",
            "qty": str(quantity),
            "triggerPrice": str(trigger),
            "triggerDirection": 2 if is_long else 1,
            "triggerBy": "MarkPrice",
            "positionIdx": self._idx(),
            "reduceOnly": True,
            "orderLinkId": client_id,
        }
        self.book.stops[client_id] = self._row(sent, "Untriggered")

    def resting(self) -> list[Decimal]:
        stops = self.book.stops.values()
        return [D(each["triggerPrice"]) for each in stops if each["orderStatus"] == "Untriggered"]

    def trigger(self, client_id: str, price: Decimal) -> None:
        self._fill(self.book.stops[client_id], price)

    def greet(self, text: str) -> list[str]:
        asked = json.loads(text)
        said = {"success": True, "ret_msg": "", "op": asked["op"], "conn_id": "c-1"}
        if asked["op"] == "auth" and len(asked["args"][2]) != 64:
            return [json.dumps(said | {"success": False, "ret_msg": "Params Error"})]
        return [json.dumps(said | ({"ret_msg": "pong"} if asked["op"] == "ping" else {}))]

    def changed(self) -> str:
        row = {"symbol": "BTCUSDT", "side": "Buy", "size": "0.09", "entryPrice": "60000.1"}
        return self._pushed("position", row | {"positionIM": "540.25", "liqPrice": "0"})

    def liquidated(self, price: Decimal) -> str:
        row = {"category": "linear", "symbol": "BTCUSDT", "execType": "BustTrade", "side": "Sell"}
        return self._pushed("execution", row | {"execQty": "0.1", "execPrice": str(price)})

    def marked(self, price: Decimal) -> str:
        row = {"symbol": "BTCUSDT", "markPrice": str(price), "bid1Price": "1"}
        return json.dumps({"topic": "tickers.BTCUSDT", "type": "delta", "data": row, "ts": 1})

    def ended(self) -> str:
        return json.dumps({"success": False, "ret_msg": "Invalid topic", "op": "subscribe"})

    # -- what the account has --------------------------------------------------------------

    def _coin(self) -> dict[str, Any]:
        is_cross = self.book.margin_mode is MarginMode.CROSS
        bound = D(0) if is_cross else self.book.margin
        return {
            "coin": "USDT",
            "equity": str(self.book.free + bound),
            "walletBalance": str(self.book.free + bound),
            "locked": "0",
            "borrowAmount": "0.0",
            "totalOrderIM": "0",
            "totalPositionIM": str(bound),
            "totalPositionMM": "24",
            "unrealisedPnl": "0",
            "bonus": "0",
            "marginCollateral": True,
            "collateralSwitch": True,
        }

    def _idx(self) -> int:
        if self.book.position_mode is PositionMode.ONE_WAY:
            return 0
        return 1 if self.book.quantity > 0 else 2

    def _legs(self, *, with_empty: bool) -> list[dict[str, Any]]:
        held = [self._leg()] if self.book.quantity else []
        if not with_empty:
            return held
        one_way = self.book.position_mode is PositionMode.ONE_WAY
        idxs = {0} if one_way else {1, 2}
        empty = {"symbol": "BTCUSDT", "side": "", "size": "0", "liqPrice": ""}
        free = idxs - {each["positionIdx"] for each in held}
        return held + [empty | {"positionIdx": idx} for idx in sorted(free)]

    def _leg(self) -> dict[str, Any]:
        book = self.book
        return {
            "positionIdx": self._idx(),
            "riskId": 1,
            "riskLimitValue": "1000000",
            "symbol": "BTCUSDT",
            "side": "Buy" if book.quantity > 0 else "Sell",
            "size": str(abs(book.quantity)),
            "avgPrice": str(book.entry),
            "positionValue": str(abs(book.quantity) * book.mark),
            "tradeMode": 0,
            "positionStatus": "Normal",
            "autoAddMargin": 0,
            "leverage": "10",
            "markPrice": str(book.mark),
            "liqPrice": book.liquidation,
            "bustPrice": "",
            "positionIM": str(book.margin),
            "positionMM": "24",
            "positionBalance": "0",
            "unrealisedPnl": "0",
        }

    def _ticker(self) -> dict[str, Any]:
        bill = {"fundingRate": "0.0001", "nextFundingTime": "1900000800000"}
        return {"symbol": "BTCUSDT", "markPrice": str(self.book.mark), "lastPrice": "1"} | bill

    def _orders(self, query: Any) -> list[Any]:
        orders = [*self.book.orders.values(), *self.book.stops.values()]
        if "orderLinkId" in query:
            return [each for each in orders if each["orderLinkId"] == query["orderLinkId"]]
        return [each for each in orders if each["orderStatus"] == "Untriggered"]

    # -- what changes it -------------------------------------------------------------------

    def _margin(self, sent: Any) -> Said:
        if sent["positionIdx"] != self._idx():
            return failed(10001, "position idx not match position mode")
        if self.book.margin_mode is MarginMode.CROSS:
            return failed(110015)
        amount = D(sent["margin"])
        if amount > self.book.free:
            return failed(110014)
        self.book.free -= amount
        self.book.margin += amount
        return done({"category": "linear"} | self._leg())

    def _stop(self, sent: Any) -> Said:
        price, falls = D(sent["triggerPrice"]), sent["triggerDirection"] == 2
        if price >= self.book.mark if falls else price <= self.book.mark:
            return failed(110093 if falls else 110092)
        row = self._row(sent, "Untriggered")
        self.book.stops[sent["orderLinkId"]] = row
        return self._taken(row)

    def _cancel(self, client_id: str) -> Said:
        stop = self.book.stops.get(client_id)
        if stop is None or stop["orderStatus"] != "Untriggered":
            return failed(110001, "order not exists or too late to cancel")
        stop |= {"orderStatus": "Deactivated", "cancelType": "CancelByUser"}
        return self._taken(stop)

    def _close(self, sent: Any) -> Said:
        sells = sent["side"] == "Sell"
        if not sent["reduceOnly"] or sells is not (self.book.quantity > 0):
            return failed(110017, "current position is zero, cannot fix reduce-only order qty")
        row = self._row(sent, "Cancelled")
        price = D(sent["price"]) if "price" in sent else None
        if price is None or (price <= D(59_970) if sells else price >= D(60_030)):
            self._fill(row, D(59_970))
        self.book.orders[row["orderId"]] = row
        return self._taken(row)

    def _fill(self, row: dict[str, Any], price: Decimal) -> None:
        quantity = D(row["qty"])
        self.book.quantity -= quantity.copy_sign(self.book.quantity)
        filled = {"cumExecQty": str(quantity), "avgPrice": str(price), "leavesQty": "0"}
        row |= {"orderStatus": "Filled"} | filled

    def _row(self, sent: Any, status: str) -> dict[str, Any]:
        return {
            "orderId": f"00000000-0000-4000-8000-{next(self.book.numbers):020d}",
            "orderLinkId": sent["orderLinkId"],
            "symbol": sent["symbol"],
            "side": sent["side"],
            "orderType": sent["orderType"],
            "price": sent.get("price", "0"),
            "qty": sent["qty"],
            "positionIdx": sent["positionIdx"],
            "orderStatus": status,
            "cancelType": "UNKNOWN",
            "rejectReason": "EC_NoError",
            "avgPrice": "",
            "cumExecQty": "0",
            "leavesQty": "0",
            "timeInForce": sent.get("timeInForce", "IOC"),
            "stopOrderType": "Stop" if "triggerPrice" in sent else "",
            "triggerPrice": sent.get("triggerPrice", ""),
            "triggerDirection": sent.get("triggerDirection", 0),
            "triggerBy": sent.get("triggerBy", ""),
            "reduceOnly": sent["reduceOnly"],
            "closeOnTrigger": False,
            "tpslMode": "",
        }

    def _taken(self, row: Any) -> Said:
        return done({"orderId": row["orderId"], "orderLinkId": row["orderLinkId"]})

    def _pushed(self, topic: str, row: dict[str, Any]) -> str:
        told = {"id": "i-1", "topic": topic, "creationTime": system_wall_ms()}
        return json.dumps(told | {"data": [row]})
