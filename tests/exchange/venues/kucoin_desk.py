"""
KuCoin's side of a stage: a classic account. Shapes of answers: `documented` (the venue's own
specification), the account's mode and the stream of marks as clients keep them. Figures are ours.
"""

import base64
import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from bot.clock import system_wall_ms
from bot.core.model import MarginMode, PositionMode
from bot.exchange.live.dialect import Dialect
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.venues.stage import KEYS, Asked, Book, D, Said

NAME = "XBTUSDTM"
LOT = D("0.0001")
CONTRACT = {
    "symbol": NAME,
    "rootSymbol": "USDT",
    "type": "FFWCSX",
    "firstOpenDate": 1585555200000,
    "expireDate": None,
    "settleDate": None,
    "baseCurrency": "XBT",
    "quoteCurrency": "USDT",
    "settleCurrency": "USDT",
    "maxOrderQty": 1000000,
    "marketMaxOrderQty": 100000,
    "maxPrice": 1000000.0,
    "lotSize": 1,
    "tickSize": 0.1,
    "multiplier": 0.0001,
    "initialMargin": 0.008,
    "maintainMargin": 0.004,
    "makerFeeRate": 2.0e-4,
    "takerFeeRate": 5.0e-4,
    "isDeleverage": True,
    "isQuanto": True,
    "isInverse": False,
    "fundingRateSymbol": ".XBTUSDTMFPI8H",
    "indexSymbol": ".KXBTUSDT",
    "status": "Open",
    "fundingFeeRate": 5.2e-5,
    "fundingRateGranularity": 28800000,
    "markPrice": 60000.0,
    "nextFundingRateTime": 17752926,
    "maxLeverage": 125,
    "supportCross": True,
}
ETH = CONTRACT | {"symbol": "ETHUSDTM", "baseCurrency": "ETH", "multiplier": 0.01}
TIERS = [
    {
        "symbol": NAME,
        "level": level,
        "maxRiskLimit": cap,
        "minRiskLimit": floor,
        "maxLeverage": leverage,
        "initialMargin": 0.008,
        "maintainMargin": rate,
    }
    for level, floor, cap, leverage, rate in (
        (1, 0, 1_000_000, 125, 0.004),
        (2, 1_000_000, 2_000_000, 100, 0.005),
    )
]
BILL = {
    "symbol": ".XBTUSDTMFPI8H",
    "granularity": 28800000,
    "timePoint": 1899999200000,
    "value": 1.0e-4,
    "predictedValue": 1.09e-4,
    "fundingRateCap": 0.003,
    "fundingRateFloor": -0.003,
    "period": 1,
    "fundingTime": 1900000800000,
}
KEY = {
    "remark": "guard",
    "apiKey": KEYS.key.get_secret_value(),
    "apiVersion": 3,
    "permission": "General,Futures",
    "createdAt": 1705001832000,
    "uid": 1,
    "isMaster": True,
}
TOKEN = "2neAiuYv+slash/and=equals=="


def done(data: Any) -> Said:
    """The envelope of success."""
    return Said(200, {"code": "200000", "data": data})


def failed(code: str, msg: str = "no") -> Said:
    """The envelope of failure."""
    return Said(200, {"code": code, "msg": msg})


def paged(items: list[Any]) -> Said:
    """A page of orders, the only one."""
    count = {"totalNum": len(items), "totalPage": 1 if items else 0}
    return done({"currentPage": 1, "pageSize": 200} | count | {"items": items})


class KucoinDesk:
    """Implements `Desk`."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.not_known = failed("500000", "Internal Server Error")
        self.code_unheard_of = failed("999999")
        self.tells_of_keys = True
        self.keeps_margin = False
        # What the venue says to a stop whose level has been met already is not known.
        self.proves = frozenset({"too much margin", "wrong side", "no such stop"})

    @property
    def dialect(self) -> Dialect:
        return DIALECTS["kucoin"]

    def is_write(self, asked: Asked) -> bool:
        return asked.method != "GET" and "bullet-" not in asked.path

    def answer(self, asked: Asked) -> Said:
        path = asked.path
        if (public := self._public(path)) is not None:
            return public
        if not is_signed(asked):
            return failed("400005", "Invalid KC-API-SIGN")
        return self._write(asked) if self.is_write(asked) else self._read(asked)

    def _public(self, path: str) -> Said | None:
        marked = CONTRACT | {"markPrice": float(self.book.mark)}
        contracts = {each["symbol"]: each for each in (marked, ETH)}
        name = path.rpartition("/")[2]
        match path.removeprefix("/api/v1/").split("/"):
            case ["timestamp"]:
                return done(system_wall_ms())
            case ["contracts", "active"]:
                return done([*contracts.values()])
            case ["contracts", "risk-limit", _]:
                return done([each | {"symbol": name} for each in TIERS])
            case ["contracts", _]:
                return done(contracts[name])
            case ["funding-rate", named, "current"]:
                return done(BILL | {"symbol": f".{named}FPI8H"})
            case ["kline", "query"]:
                return done([])
            case _:
                return None

    def _read(self, asked: Asked) -> Said:
        stops = [row for row in self.book.stops.values() if row["status"] == "open"]
        match asked.path:
            case "/api/v2/position/getPositionMode":
                is_hedge = self.book.position_mode is PositionMode.HEDGE
                return done({"positionMode": int(is_hedge)})
            case "/api/v1/account-overview":
                assert asked.query["currency"] == "USDT"
                return done(self._account())
            case "/api/v1/positions":
                assert asked.query["currency"] == "USDT"
                return done([self._position()] if self.book.quantity else [])
            case "/api/v1/stopOrders":
                named = asked.query.get("symbol", NAME)
                return paged([row for row in stops if row["symbol"] == named])
            case "/api/v1/orders/byClientOid":
                client_id = asked.query["clientOid"]
                found = self.book.orders.get(client_id) or self.book.stops.get(client_id)
                if found is None:
                    return failed("100001", "error.getOrder.orderNotExist")
                return done(found)
            case "/api/v1/bullet-private":
                server = {"endpoint": "wss://ws-api-futures.kucoin.com/", "encrypt": True}
                server |= {"protocol": "websocket", "pingInterval": 18000, "pingTimeout": 10000}
                return done({"token": TOKEN, "instanceServers": [server]})
            case "/api/v1/user/api-key":
                return done(KEY)
            case "/api/ua/v1/account/mode":
                return done({"selfAccountMode": "CLASSIC"})
            case _:
                return failed("404000", "Url Not Found")

    def _write(self, asked: Asked) -> Said:
        cancelled = asked.path.removeprefix("/api/v1/orders/client-order/")
        match asked.method, asked.path:
            case "POST", "/api/v1/position/margin/deposit-margin":
                return self._margin(asked.body)
            case "POST", "/api/v1/orders":
                assert asked.query == {}
                return self._stop(asked.body) if "stop" in asked.body else self._close(asked.body)
            case "DELETE", path if path != cancelled:
                assert asked.query == {"symbol": NAME}
                return self._cancel(cancelled)
            case _:
                return failed("404000", "Url Not Found")

    # -- by hand ---------------------------------------------------------------------------

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        self._rest(client_id, str(trigger), int(quantity / LOT))

    def resting(self) -> list[Decimal]:
        stops = self.book.stops.values()
        return [D(row["stopPrice"]) for row in stops if row["status"] == "open"]

    def trigger(self, client_id: str, price: Decimal) -> None:
        row = self.book.stops[client_id]
        row |= {"status": "done", "isActive": False, "stopTriggered": True}
        row |= {"dealSize": row["size"], "avgDealPrice": str(price)}
        self.book.quantity -= (row["size"] * LOT).copy_sign(self.book.quantity)

    def greet(self, text: str) -> list[str]:
        asked = json.loads(text)
        if asked.get("type") == "ping":
            return [json.dumps({"id": asked["id"], "type": "pong"})]
        if asked.get("action") == "subscribe":
            return [json.dumps({"id": asked["id"], "result": True})]
        assert asked["type"] == "subscribe"
        return [json.dumps({"id": asked["id"], "type": "ack"})]

    def changed(self) -> str:
        data = self._position() | {"changeReason": "positionChange"}
        frame = {"topic": f"/contract/position:{NAME}", "subject": "position.change"}
        return json.dumps(frame | {"type": "message", "channelType": "private", "data": data})

    def liquidated(self, price: Decimal) -> None:
        return None

    def marked(self, price: Decimal) -> str:
        data = {"s": NAME, "mp": str(price), "ip": "1", "oi": "6748176", "ts": system_wall_ms()}
        return json.dumps({"T": "mark-price.FUTURES", "P": "1768206966101166007", "d": data})

    def ended(self) -> str:
        return json.dumps({"id": "1", "type": "error", "code": 401, "data": "token is expired"})

    # -- what the account has --------------------------------------------------------------

    def _is_long(self) -> bool:
        return self.book.quantity > 0

    def _side(self) -> str:
        if self.book.position_mode is PositionMode.ONE_WAY:
            return "BOTH"
        return "LONG" if self._is_long() else "SHORT"

    def _is_cross(self) -> bool:
        return self.book.margin_mode is MarginMode.CROSS

    def _mode(self) -> str:
        return "CROSS" if self._is_cross() else "ISOLATED"

    def _account(self) -> dict[str, Any]:
        bound = D(0) if self._is_cross() else self.book.margin
        own = float(self.book.free + bound)
        return {
            "accountEquity": own,
            "unrealisedPNL": 0,
            "marginBalance": own,
            "positionMargin": float(bound),
            "orderMargin": 0,
            "frozenFunds": 0,
            "availableBalance": float(self.book.free),
            "currency": "USDT",
            "riskRatio": 0.01,
            "maxWithdrawAmount": float(self.book.free),
        }

    def _position(self) -> dict[str, Any]:
        book = self.book
        row = {
            "id": "500000000000988255",
            "symbol": NAME,
            "crossMode": self._is_cross(),
            "delevPercentage": 0.5,
            "openingTimestamp": 1729155616322,
            "currentTimestamp": system_wall_ms(),
            "currentQty": int(book.quantity / LOT),
            "currentCost": float(book.quantity * book.entry),
            "isOpen": True,
            "markPrice": float(book.mark),
            "markValue": float(book.quantity * book.mark),
            "posInit": float(book.margin),
            "posMargin": float(book.margin),
            "unrealisedPnl": 0.0,
            "avgEntryPrice": float(book.entry),
            "liquidationPrice": book.liquidation,
            "bankruptPrice": 0.0,
            "settleCurrency": "USDT",
            "isInverse": False,
            "marginMode": self._mode(),
            "positionSide": self._side(),
            "leverage": 10,
        }
        if self._is_cross():
            return row
        return row | {
            "autoDeposit": False,
            "maintMarginReq": 0.004,
            "riskLimit": 1_000_000,
            "realLeverage": 10,
            "posMaint": 24.0,
            "maintMargin": float(book.margin),
        }

    # -- what changes it -------------------------------------------------------------------

    def _margin(self, sent: Any) -> Said:
        assert sent["symbol"] == NAME
        assert 0 < len(sent["bizNo"]) <= 36
        assert sent.get("positionSide", "BOTH") == self._side()
        if self._is_cross():
            return failed("330005", "margin mode")
        amount = D(sent["margin"])
        if amount > self.book.free:
            return failed("300003", "Balance not enough")
        if not self.book.quantity:
            return Said(200, {"code": "200000", "msg": "Position does not exist"})
        self.book.free -= amount
        self.book.margin += amount
        told = {"marginMode", "positionSide", "leverage"}  # the answer's example has none of them
        return done({key: each for key, each in self._position().items() if key not in told})

    def _only_reduces(self, sent: Any) -> bool:
        """Whether it is an order that the venue takes, and of the position that there is."""
        assert sent["symbol"] == NAME
        assert isinstance(sent["size"], int)
        assert sent["reduceOnly"] is True
        assert sent["leverage"] == 1
        assert sent["marginMode"] == self._mode(), "else 330005"
        assert sent.get("positionSide", "BOTH") == self._side(), "else 330011"
        return bool(sent["side"] == ("sell" if self._is_long() else "buy"))

    def _stop(self, sent: Any) -> Said:
        assert self._only_reduces(sent)
        assert (sent["type"], sent["stopPriceType"]) == ("market", "MP")
        assert sent["stop"] == ("down" if self._is_long() else "up")
        price = D(sent["stopPrice"])
        if price >= self.book.mark if self._is_long() else price <= self.book.mark:
            return failed("300010", "not known")
        number = self._rest(sent["clientOid"], sent["stopPrice"], sent["size"])
        return done({"orderId": number, "clientOid": sent["clientOid"]})

    def _rest(self, client_id: str, trigger: str, lots: int) -> str:
        number = str(next(self.book.numbers))
        self.book.stops[client_id] = self._row(client_id, number) | {
            "side": "sell" if self._is_long() else "buy",
            "size": lots,
            "stop": "down" if self._is_long() else "up",
            "stopPriceType": "MP",
            "stopTriggered": False,
            "stopPrice": trigger,
        }
        return number

    def _row(self, client_id: str, number: str) -> dict[str, Any]:
        return {
            "id": number,
            "symbol": NAME,
            "type": "market",
            "price": "0",
            "value": "0",
            "dealValue": "0",
            "dealSize": 0,
            "stp": "",
            "timeInForce": "GTC",
            "postOnly": False,
            "hidden": False,
            "iceberg": False,
            "leverage": "1",
            "forceHold": False,
            "closeOrder": False,
            "visibleSize": 0,
            "clientOid": client_id,
            "remark": None,
            "tags": "",
            "isActive": True,
            "cancelExist": False,
            "settleCurrency": "USDT",
            "marginMode": self._mode(),
            "positionSide": self._side(),
            "avgDealPrice": "0",
            "filledSize": 0,
            "filledValue": "0",
            "status": "open",
            "reduceOnly": True,
        }

    def _cancel(self, client_id: str) -> Said:
        row = self.book.stops.get(client_id)
        if row is None or row["status"] != "open":
            return failed("100004", "Order is in not cancelable state")
        row |= {"status": "done", "isActive": False, "cancelExist": True}
        return done({"clientOid": client_id})

    def _close(self, sent: Any) -> Said:
        if not self._only_reduces(sent):
            return failed("300009", "No open positions to close.")
        lots = sent["size"]
        if sent["type"] == "limit":
            assert sent["timeInForce"] == "IOC"
            limit = D(sent["price"])
            if limit > D(59_970) if self._is_long() else limit < D(60_030):
                lots = 0
        self.book.quantity -= (lots * LOT).copy_sign(self.book.quantity)
        number = str(next(self.book.numbers))
        row = self._row(sent["clientOid"], number) | sent
        row |= {"status": "done", "isActive": False, "dealSize": lots}
        row |= {"avgDealPrice": "59970" if lots else "0", "stop": "", "stopPriceType": ""}
        self.book.orders[sent["clientOid"]] = row
        return done({"orderId": number, "clientOid": sent["clientOid"]})


def is_signed(asked: Asked) -> bool:
    """Whether the signature is that of the venue's page, over what came."""
    headers = {name.lower(): text for name, text in asked.headers.items()}
    at = headers.get("kc-api-timestamp", "0")
    if abs(int(at) - system_wall_ms()) > 5_000:
        return False
    query = "&".join(f"{name}={quote(text, safe='')}" for name, text in asked.query.items())
    body = "" if asked.body is None else json.dumps(asked.body, separators=(",", ":"))
    plain = at + asked.method + asked.path + (f"?{query}" if query else "") + body
    phrase = _signed(KEYS.passphrase.get_secret_value())
    named = headers["kc-api-key"], headers["kc-api-passphrase"]
    return named == (KEYS.key.get_secret_value(), phrase) and (
        headers["kc-api-sign"] == _signed(plain)
    )


def _signed(plain: str) -> str:
    secret = KEYS.secret.get_secret_value().encode()
    return base64.b64encode(hmac.new(secret, plain.encode(), hashlib.sha256).digest()).decode()
