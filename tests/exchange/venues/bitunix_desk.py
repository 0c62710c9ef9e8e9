"""
Bitunix's side of a stage. Shapes of answers: `documented` (the venue's pages, as others keep
them), but where it is said: rows and lists that were `recorded` by others. Figures are our own.
"""

import hashlib
import json
from decimal import Decimal
from typing import Any

from bot.clock import system_wall_ms
from bot.core.model import MarginMode, PositionMode
from bot.exchange.live.dialect import Dialect
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.venues.stage import KEYS, Asked, Book, D, Said

PAIR = {
    "symbol": "BTCUSDT",
    "base": "BTC",
    "quote": "USDT",
    "minTradeVolume": "0.0001",
    "maxLimitOrderVolume": "100",
    "maxMarketOrderVolume": "50",
    "basePrecision": 4,
    "quotePrecision": 1,
    "minLeverage": 1,
    "maxLeverage": 125,
    "symbolStatus": "OPEN",
    "isApiSupported": True,
}
ETH = PAIR | {"symbol": "ETHUSDT", "base": "ETH"}
COINS = PAIR | {"symbol": "BTCUSD", "quote": "USD"}
TIERS = [
    {
        "symbol": "BTCUSDT",
        "level": level,
        "startValue": start,
        "endValue": end,
        "leverage": leverage,
        "maintenanceMarginRate": rate,
    }
    for level, start, end, leverage, rate in (
        (1, "0", "1000000", 125, "0.004"),
        (2, "1000000", "2000000", 100, "0.005"),
    )
]
POSITION = "19848247723672"
_API = "/api/v1/futures/"


def done(data: Any) -> Said:
    """The envelope of success."""
    return Said(200, {"code": 0, "data": data, "msg": "Success"})


def failed(code: int, msg: str = "no") -> Said:
    """The envelope of failure, with HTTP 200."""
    return Said(200, {"code": code, "data": None, "msg": msg})


class BitunixDesk:
    """Implements `Desk`."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.trades: list[dict[str, Any]] = []
        self.not_known = failed(10001, "Network Error")
        self.code_unheard_of = failed(59999)
        self.tells_of_keys = self.keeps_margin = False
        self.proves = frozenset(
            {"too much margin", "would trigger at once", "wrong side", "no such stop"}
        )

    @property
    def dialect(self) -> Dialect:
        return DIALECTS["bitunix"]

    def is_write(self, asked: Asked) -> bool:
        return asked.method != "GET"

    def answer(self, asked: Asked) -> Said:
        path = asked.path.removeprefix(_API)
        if path.startswith("market/") or path.endswith("get_position_tiers"):
            return self._public(path, asked)
        if not is_signed(asked):
            return failed(10007, "Sign signature error")
        return self._write(path, asked.body) if self.is_write(asked) else self._read(path, asked)

    def _public(self, path: str, asked: Asked) -> Said:
        bill = {
            "markPrice": str(self.book.mark),
            "lastPrice": str(self.book.mark),
            "fundingRate": "0.01",
            "fundingInterval": 8,
            "nextFundingTime": "1900000800000",
            "maxFundingRate": "0.3",
            "minFundingRate": "-0.3",
        }
        match path:
            case "market/trading_pairs":
                named = asked.query.get("symbols", "")
                pairs = [PAIR, ETH, COINS]
                return done([each for each in pairs if named in ("", each["symbol"])])
            case "position/get_position_tiers":
                return done(TIERS)
            case "market/funding_rate":
                return done(bill | {"symbol": asked.query["symbol"]})  # an object: `recorded`
            case "market/funding_rate/batch":
                return done([bill | {"symbol": "BTCUSD"}, bill | {"symbol": "BTCUSDT"}])
            case _:
                return failed(10002)

    def _read(self, path: str, asked: Asked) -> Said:
        match path:
            case "account":
                return done([self._account()])
            case "position/get_pending_positions":
                assert asked.query["includeSubAccounts"] == "false"
                return done([self._position()] if self.book.quantity else [])
            case "tpsl/get_pending_orders":
                return done([row for row in self.book.stops.values() if "status" not in row])
            case "tpsl/get_history_orders":
                over = [row for row in self.book.stops.values() if "status" in row]
                return done({"orderList": over, "total": len(over)})
            case "trade/get_order_detail":
                wanted = asked.query["clientId"]
                found = [o for o in self.book.orders.values() if o["clientId"] == wanted]
                return done(found[0]) if found else failed(20007, "Order not found")
            case "trade/get_history_trades":
                page = self.trades if asked.query["skip"] == "0" else []
                return done({"tradeList": page, "total": len(self.trades)})
            case _:
                return failed(10002)

    def _write(self, path: str, sent: Any) -> Said:
        match path:
            case "account/adjust_position_margin":
                return self._margin(sent)
            case "tpsl/place_order":
                return self._stop(sent)
            case "tpsl/cancel_order":
                return self._cancel(sent)
            case "trade/place_order":
                return self._close(sent)
            case _:
                return failed(10002)

    # -- by hand ---------------------------------------------------------------------------

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        self._rest(str(trigger), str(quantity))

    def resting(self) -> list[Decimal]:
        return [D(row["slPrice"]) for row in self.book.stops.values() if "status" not in row]

    def trigger(self, client_id: str, price: Decimal) -> None:
        (row,) = [each for each in self.book.stops.values() if "status" not in each]
        row |= {"status": "FILLED", "triggerTime": system_wall_ms()}
        self._fill("", D(row["slQty"]), price)

    def greet(self, text: str) -> list[str]:
        asked = json.loads(text)
        if asked["op"] == "ping":
            return [json.dumps({"op": "ping", "pong": asked["ping"], "ping": 1_732_519_690})]
        if asked["op"] == "login" and not _is_login(asked["args"][0]):
            return [self.ended()]
        return [json.dumps({"op": asked["op"], "data": {"result": True}})]

    def changed(self) -> str:
        data = {
            "event": "UPDATE",
            "positionId": POSITION,
            "symbol": "BTCUSDT",
            "side": "LONG",
            "qty": "0.09",
            "margin": "600",
        }
        return json.dumps({"ch": "position", "ts": system_wall_ms(), "data": data})

    def liquidated(self, price: Decimal) -> None:
        return None

    def marked(self, price: Decimal) -> str:
        data = {
            "mp": str(price),
            "ip": "60001",
            "fr": "0.013461",
            "ft": "2024-12-04T11:00:00Z",
            "nft": "2024-12-04T12:00:00Z",
        }
        told = {"ch": "price", "symbol": "BTCUSDT", "ts": system_wall_ms(), "data": data}
        return json.dumps(told)

    def ended(self) -> str:
        return json.dumps({"op": "login", "code": 10007, "msg": "Sign signature error"})

    # -- what the account has --------------------------------------------------------------

    def _is_long(self) -> bool:
        return self.book.quantity > 0

    def _account(self) -> dict[str, Any]:
        bound = D(0) if self.book.margin_mode is MarginMode.CROSS else self.book.margin
        return {
            "marginCoin": "USDT",
            "available": str(self.book.free),
            "frozen": "0",
            "margin": str(bound),
            "transfer": str(self.book.free),
            "positionMode": self.book.position_mode.upper(),
            "crossUnrealizedPNL": "0",
            "isolationUnrealizedPNL": "0",
            "bonus": "0",
        }

    def _position(self) -> dict[str, Any]:
        book = self.book
        is_cross = book.margin_mode is MarginMode.CROSS
        return {
            "positionId": POSITION,
            "symbol": "BTCUSDT",
            "qty": str(abs(book.quantity)),
            "entryValue": str(abs(book.quantity) * book.entry),
            "side": "BUY" if self._is_long() else "SELL",  # `recorded`
            "positionMode": book.position_mode.upper(),
            "marginMode": "CROSS" if is_cross else "ISOLATION",
            "leverage": 10,
            "fee": "0.1",
            "funding": "-0.2",
            "realizedPNL": "0",
            "margin": str(book.margin),
            "unrealizedPNL": "0",
            "liqPrice": book.liquidation,
            "marginRate": "0.01",
            "avgOpenPrice": str(book.entry),
            "ctime": "1691382137448",
            "mtime": "1691382137448",
        }

    # -- what changes it -------------------------------------------------------------------

    def _margin(self, sent: Any) -> Said:
        assert sent["marginCoin"] == "USDT"
        if self.book.margin_mode is MarginMode.CROSS:
            return failed(10002)
        assert sent["side"] == ("LONG" if self._is_long() else "SHORT")
        amount = D(sent["amount"])
        if amount > self.book.free:
            return failed(20003, "Insufficient balance")
        self.book.free -= amount
        self.book.margin += amount
        return done("")

    def _stop(self, sent: Any) -> Said:
        if sent["positionId"] != POSITION:
            return failed(30004)
        assert (sent["slStopType"], sent["slOrderType"]) == ("MARK_PRICE", "MARKET")
        price = D(sent["slPrice"])
        if price >= self.book.mark if self._is_long() else price <= self.book.mark:
            return failed(30029, "SL price must be less than mark price:")
        if D(sent["slQty"]) > abs(self.book.quantity):
            return failed(30038)
        number = self._rest(sent["slPrice"], sent["slQty"])
        return done([{"orderId": number, "clientId": None}])  # a list: `recorded`

    def _rest(self, trigger: str, quantity: str) -> str:
        number = str(next(self.book.numbers))
        self.book.stops[number] = {
            "id": number,
            "positionId": POSITION,
            "symbol": "BTCUSDT",
            "base": "BTC",
            "quote": "USDT",
            "tpPrice": None,
            "tpStopType": None,
            "slPrice": trigger,
            "slStopType": "MARK_PRICE",
            "slOrderType": "MARKET",
            "slOrderPrice": None,
            "tpQty": None,
            "slQty": quantity,
        }
        return number

    def _cancel(self, sent: Any) -> Said:
        row = self.book.stops.get(sent["orderId"], {"status": "CANCELED"})
        if "status" in row:
            return failed(20007, "Order not found, please try it later")
        row |= {"status": "CANCELED"}
        return done({"orderId": sent["orderId"]})

    def _close(self, sent: Any) -> Said:
        if self.book.position_mode is PositionMode.HEDGE:
            assert sent["tradeSide"] == "CLOSE"
            assert "reduceOnly" not in sent
            closes_long = sent["side"] == "BUY"
            if sent["positionId"] != POSITION or closes_long is not self._is_long():
                return failed(20008, "Insufficient amount")
        else:
            assert sent["reduceOnly"] is True
            assert "tradeSide" not in sent
            closes_long = sent["side"] == "SELL"
            if closes_long is not self._is_long():
                return failed(30019)
        if sent["orderType"] == "LIMIT":
            assert sent["effect"] == "IOC"
            limit = D(sent["price"])
            if limit > D(59_970) if closes_long else limit < D(60_030):
                return done(self._order(sent, "0", "CANCELED"))
        made = self._order(sent, sent["qty"], "FILLED")
        self._fill(made["orderId"], D(sent["qty"]), D(59_970))
        return done(made)

    def _order(self, sent: Any, traded: str, status: str) -> dict[str, str]:
        number = str(next(self.book.numbers))
        self.book.orders[number] = {
            "price": "0",
            **sent,
            "orderId": number,
            "tradeQty": traded,
            "status": status,
            "ctime": system_wall_ms(),
        }
        return {"orderId": number, "clientId": sent["clientId"]}

    def _fill(self, order: str, quantity: Decimal, price: Decimal) -> None:
        """In two parts, as a market order may be."""
        self.book.quantity -= quantity.copy_sign(self.book.quantity)
        for part in (quantity / 4, quantity * 3 / 4):
            number = str(next(self.book.numbers))
            self.trades.append(
                {
                    "tradeId": number,
                    "orderId": order or number,
                    "symbol": "BTCUSDT",
                    "qty": str(part),
                    "price": str(price),
                    "reduceOnly": True,
                    "roleType": "TAKER",
                }
            )


def is_signed(asked: Asked) -> bool:
    """Whether the signature is that of the venue's page, over what came."""
    query = "".join(f"{name}{text}" for name, text in sorted(asked.query.items()))
    body = "" if asked.body is None else json.dumps(asked.body, separators=(",", ":"))
    headers = {name.lower(): text for name, text in asked.headers.items()}
    key = KEYS.key.get_secret_value()
    if headers.get("api-key") != key or abs(int(headers["timestamp"]) - system_wall_ms()) > 5_000:
        return False
    plain = headers["nonce"] + headers["timestamp"] + key + query + body
    return headers["sign"] == _twice(plain)


def _is_login(named: Any) -> bool:
    plain = f"{named['nonce']}{named['timestamp']}{named['apiKey']}"
    assert abs(named["timestamp"] - system_wall_ms() // 1000) < 5, "in seconds"
    return bool(named["sign"] == _twice(plain))


def _twice(plain: str) -> str:
    digest = hashlib.sha256(plain.encode()).hexdigest()
    secret = KEYS.secret.get_secret_value()
    return hashlib.sha256((digest + secret).encode()).hexdigest()
