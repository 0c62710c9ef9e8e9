"""
Bitget's side of a stage: a classic account. Shapes of answers: `documented` (API v2, the venue's
pages as others keep them). Figures are our own.
"""

import base64
import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any

from bot.clock import system_wall_ms
from bot.core.model import MarginMode, PositionMode
from bot.exchange.live.dialect import Dialect
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.venues.stage import KEYS, Asked, Book, D, Said

CONTRACT = {
    "symbol": "BTCUSDT",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "buyLimitPriceRatio": "0.05",
    "sellLimitPriceRatio": "0.05",
    "feeRateUpRatio": "0.005",
    "makerFeeRate": "0.0002",
    "takerFeeRate": "0.0005",
    "openCostUpRatio": "0.01",
    "supportMarginCoins": ["USDT"],
    "minTradeNum": "0.0001",
    "priceEndStep": "1",
    "volumePlace": "4",
    "pricePlace": "1",
    "sizeMultiplier": "0.0001",
    "symbolType": "perpetual",
    "minTradeUSDT": "5",
    "maxSymbolOrderNum": "200",
    "maxProductOrderNum": "400",
    "maxPositionNum": "150",
    "symbolStatus": "normal",
    "offTime": "-1",
    "limitOpenTime": "-1",
    "deliveryTime": "",
    "minLever": "1",
    "maxLever": "125",
    "posLimit": "0.05",
    "fundInterval": "8",
    "maxMarketOrderQty": "220",
    "maxOrderQty": "1200",
}
ETH = CONTRACT | {"symbol": "ETHUSDT", "baseCoin": "ETH"}
TIERS = [
    {
        "symbol": "BTCUSDT",
        "level": level,
        "startUnit": start,
        "endUnit": end,
        "leverage": leverage,
        "keepMarginRate": rate,
    }
    for level, start, end, leverage, rate in (
        ("1", "0", "1000000", "125", "0.004"),
        ("2", "1000000", "2000000", "100", "0.005"),
    )
]
_API = "/api/v2/"
_MIX = _API + "mix/"


def done(data: Any) -> Said:
    """The envelope of success."""
    said = {"code": "00000", "msg": "success", "requestTime": system_wall_ms()}
    return Said(200, said | {"data": data})


def failed(code: str, msg: str = "no") -> Said:
    """The envelope of failure."""
    said = {"code": code, "msg": msg, "requestTime": system_wall_ms(), "data": None}
    return Said(400, said)


def entrusted(found: list[Any]) -> Said:
    """A page of plans: null where there is none (`documented`)."""
    return done({"entrustedList": found or None, "endId": None})


class BitgetDesk:
    """Implements `Desk`."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.not_known = failed("40010", "Request timed out")
        self.code_unheard_of = failed("59999")
        self.tells_of_keys = self.keeps_margin = False
        self.proves = frozenset({"too much margin", "would trigger at once", "wrong side"})

    @property
    def dialect(self) -> Dialect:
        return DIALECTS["bitget"]

    def is_write(self, asked: Asked) -> bool:
        return asked.method != "GET"

    def answer(self, asked: Asked) -> Said:
        if asked.path == _API + "public/time":
            return done({"serverTime": str(system_wall_ms())})
        path = asked.path.removeprefix(_MIX)
        if path.startswith("market/"):
            return self._public(path.removeprefix("market/"), asked)
        if not is_signed(asked):
            return failed("40009", "sign signature error")
        return self._write(path, asked.body) if self.is_write(asked) else self._read(path, asked)

    def _public(self, path: str, asked: Asked) -> Said:
        assert asked.query["productType"] == "USDT-FUTURES"
        named = asked.query.get("symbol", "")
        match path:
            case "contracts":
                return done([each for each in (CONTRACT, ETH) if named in ("", each["symbol"])])
            case "query-position-lever":
                return done([each | {"symbol": named} for each in TIERS])
            case "tickers":
                return done([{"symbol": "BTCUSDT", "markPrice": str(self.book.mark)}])
            case "current-fund-rate":
                bill = {"symbol": named, "fundingRate": "0.0001", "fundingRateInterval": "8"}
                limits = {"minFundingRate": "-0.003", "maxFundingRate": "0.003"}
                return done([bill | limits | {"nextUpdate": "1900000800000"}])
            case _:
                return failed("40404")

    def _read(self, path: str, asked: Asked) -> Said:
        assert asked.query["productType"] == "USDT-FUTURES"
        stops = self.book.stops.values()
        match path:
            case "account/account":
                return done(self._account() | {"posMode": self._mode()})
            case "account/accounts":
                return done([self._account()])
            case "position/all-position":
                return done([self._position()] if self.book.quantity else [])
            case "order/orders-plan-pending":
                assert asked.query["planType"] == "profit_loss"
                return entrusted([row for row in stops if row["planStatus"] == "live"])
            case "order/orders-plan-history":
                assert asked.query["planType"] == "profit_loss"
                over = [row for row in stops if row["planStatus"] != "live"]
                wanted = asked.query["clientOid"]
                return entrusted([row for row in over if row["clientOid"] == wanted])
            case "order/detail":
                found = self.book.orders.get(asked.query["clientOid"])
                return (
                    failed("40109", "The data of the order cannot be found")
                    if (found is None)
                    else done(found)
                )
            case _:
                return failed("40404")

    def _write(self, path: str, sent: Any) -> Said:
        assert (sent["productType"], sent["marginCoin"]) == ("USDT-FUTURES", "USDT")
        match path:
            case "account/set-margin":
                return self._margin(sent)
            case "order/place-tpsl-order":
                return self._stop(sent)
            case "order/cancel-plan-order":
                return self._cancel(sent)
            case "order/place-order":
                return self._close(sent)
            case _:
                return failed("40404")

    # -- by hand ---------------------------------------------------------------------------

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        self._rest(client_id, str(trigger), str(quantity))

    def resting(self) -> list[Decimal]:
        stops = self.book.stops.values()
        return [D(row["triggerPrice"]) for row in stops if row["planStatus"] == "live"]

    def trigger(self, client_id: str, price: Decimal) -> None:
        row = self.book.stops[client_id]
        row |= {"planStatus": "executed", "executeOrderId": "8"}
        self.book.quantity -= D(row["size"]).copy_sign(self.book.quantity)

    def greet(self, text: str) -> list[str]:
        if text == "ping":
            return ["pong"]
        asked = json.loads(text)
        if asked["op"] == "login":
            return (
                [json.dumps({"event": "login", "code": 0})]
                if (_is_login(asked["args"][0]))
                else [self.ended()]
            )
        return [json.dumps({"event": asked["op"], "arg": each}) for each in asked["args"]]

    def changed(self) -> str:
        row = {"instId": "BTCUSDT", "holdSide": "long", "total": "0.09", "marginSize": "540.2"}
        return _pushed("positions", "default", row)

    def liquidated(self, price: Decimal) -> None:
        return None

    def marked(self, price: Decimal) -> str:
        row = {"instId": "BTCUSDT", "lastPr": "1", "markPrice": str(price), "fundingRate": "0.1"}
        return _pushed("ticker", "BTCUSDT", row)

    def ended(self) -> str:
        return json.dumps({"event": "error", "code": 30005, "msg": "Invalid request"})

    # -- what the account has --------------------------------------------------------------

    def _is_long(self) -> bool:
        return self.book.quantity > 0

    def _mode(self) -> str:
        is_hedge = self.book.position_mode is PositionMode.HEDGE
        return "hedge_mode" if is_hedge else "one_way_mode"

    def _account(self) -> dict[str, Any]:
        is_cross = self.book.margin_mode is MarginMode.CROSS
        bound = D(0) if is_cross else self.book.margin
        return {
            "marginCoin": "USDT",
            "locked": "0",
            "available": str(self.book.free),
            "crossedMaxAvailable": str(self.book.free),
            "isolatedMaxAvailable": str(self.book.free),
            "maxTransferOut": str(self.book.free),
            "accountEquity": str(self.book.free + bound),
            "usdtEquity": str(self.book.free + bound),
            "crossedRiskRate": "0",
            "unrealizedPL": "0",
            "coupon": "0",
            "grant": "",
            "crossedUnrealizedPL": "0",
            "isolatedUnrealizedPL": "0",
            "assetMode": "single",
        }

    def _position(self) -> dict[str, Any]:
        book = self.book
        is_cross = book.margin_mode is MarginMode.CROSS
        return {
            "marginCoin": "USDT",
            "symbol": "BTCUSDT",
            "holdSide": "long" if self._is_long() else "short",
            "openDelegateSize": "0",
            "marginSize": str(book.margin),
            "available": str(abs(book.quantity)),
            "locked": "0",
            "total": str(abs(book.quantity)),
            "leverage": "10",
            "achievedProfits": "0",
            "openPriceAvg": str(book.entry),
            "marginMode": "crossed" if is_cross else "isolated",
            "posMode": self._mode(),
            "unrealizedPL": "0",
            "liquidationPrice": book.liquidation,
            "keepMarginRate": "0.004",
            "markPrice": str(book.mark),
            "marginRatio": "0.02",
            "breakEvenPrice": "60001",
            "totalFee": "",
            "takeProfit": "",
            "stopLoss": "",
            "takeProfitId": "",
            "stopLossId": "",
            "deductedFee": "0.1",
            "cTime": "1691382137448",
            "assetMode": "single",
            "uTime": "1691382137448",
            "autoMargin": "off",
        }

    # -- what changes it -------------------------------------------------------------------

    def _margin(self, sent: Any) -> Said:
        if self.book.margin_mode is MarginMode.CROSS:
            return failed("40875")
        assert sent["holdSide"] == ("long" if self._is_long() else "short")
        amount = D(sent["amount"])
        if amount > self.book.free:
            return failed("40754", "balance not enough")
        self.book.free -= amount
        self.book.margin += amount
        return done("")

    def _stop(self, sent: Any) -> Said:
        assert (sent["planType"], sent["triggerType"]) == ("loss_plan", "mark_price")
        assert sent["executePrice"] == "0", "at market"
        assert sent["holdSide"] == self._held_as()
        price = D(sent["triggerPrice"])
        if price >= self.book.mark if self._is_long() else price <= self.book.mark:
            return failed("40836" if self._is_long() else "40834")
        if D(sent["size"]) > abs(self.book.quantity):
            return failed("40891")
        number = self._rest(sent["clientOid"], sent["triggerPrice"], sent["size"])
        return done({"orderId": number, "clientOid": sent["clientOid"]})

    def _held_as(self) -> str:
        if self.book.position_mode is PositionMode.HEDGE:
            return "long" if self._is_long() else "short"
        return "buy" if self._is_long() else "sell"

    def _rest(self, client_id: str, trigger: str, quantity: str) -> str:
        number = str(next(self.book.numbers))
        is_hedge = self.book.position_mode is PositionMode.HEDGE
        side = "long" if self._is_long() else "short"
        self.book.stops[client_id] = {
            "planType": "loss_plan",
            "symbol": "btcusdt",  # as the page's own example has it
            "size": quantity,
            "orderId": number,
            "clientOid": client_id,
            "price": "0",
            "callbackRatio": "",
            "triggerPrice": trigger,
            "triggerType": "mark_price",
            "executePrice": "0",
            "planStatus": "live",
            "side": "sell" if self._is_long() else "buy",
            "posSide": side if is_hedge else "net",
            "marginCoin": "USDT",
            "marginMode": "isolated",
            "enterPointSource": "api",
            "tradeSide": "close" if is_hedge else "sell_single",
            "posMode": self._mode(),
            "orderType": "market",
        }
        return number

    def _cancel(self, sent: Any) -> Said:
        assert sent["planType"] == "loss_plan"
        ((_, client_id),) = sent["orderIdList"][0].items()
        row = self.book.stops.get(client_id, {"planStatus": "cancelled"})
        if row["planStatus"] != "live":
            gone = {"orderId": "", "clientOid": client_id, "errorMsg": "not exist"}
            return done({"successList": [], "failureList": [gone]})
        row |= {"planStatus": "cancelled"}
        gone = {"orderId": row["orderId"], "clientOid": client_id}
        return done({"successList": [gone], "failureList": []})

    def _close(self, sent: Any) -> Said:
        if self.book.position_mode is PositionMode.HEDGE:
            assert sent["tradeSide"] == "close"
            assert "reduceOnly" not in sent
            closes_long = sent["side"] == "buy"
        else:
            assert sent["reduceOnly"] == "YES"
            assert "tradeSide" not in sent
            closes_long = sent["side"] == "sell"
        is_cross = self.book.margin_mode is MarginMode.CROSS
        assert sent["marginMode"] == ("crossed" if is_cross else "isolated")
        if closes_long is not self._is_long():
            return failed("22002", "No position to close")
        traded, state = D(sent["size"]), "filled"
        if sent["orderType"] == "limit":
            assert sent["force"] == "ioc"
            limit = D(sent["price"])
            if limit > D(59_970) if closes_long else limit < D(60_030):
                traded, state = D(0), "canceled"
        self.book.quantity -= traded.copy_sign(self.book.quantity)
        return done(self._order(sent, traded, state))

    def _order(self, sent: Any, traded: Decimal, state: str) -> dict[str, str]:
        number = {"orderId": str(next(self.book.numbers)), "clientOid": sent["clientOid"]}
        self.book.orders[sent["clientOid"]] = {
            **sent,
            **number,
            "baseVolume": str(traded),
            "priceAvg": "59970" if traded else "",
            "state": state,
            "posMode": self._mode(),
        }
        return number


def is_signed(asked: Asked) -> bool:
    """Whether the signature is that of the venue's page, over what came."""
    headers = {name.lower(): text for name, text in asked.headers.items()}
    at = headers.get("access-timestamp", "0")
    if abs(int(at) - system_wall_ms()) > 5_000:
        return False
    query = "&".join(f"{name}={text}" for name, text in sorted(asked.query.items()))
    body = "" if asked.body is None else json.dumps(asked.body, separators=(",", ":"))
    plain = at + asked.method + asked.path + (f"?{query}" if query else "") + body
    named = headers["access-key"], headers["access-passphrase"]
    ours = KEYS.key.get_secret_value(), KEYS.passphrase.get_secret_value()
    return named == ours and headers["access-sign"] == _signed(plain)


def _is_login(named: Any) -> bool:
    assert abs(int(named["timestamp"]) - system_wall_ms() // 1000) < 5, "in seconds"
    assert named["passphrase"] == KEYS.passphrase.get_secret_value()
    return bool(named["sign"] == _signed(f"{named['timestamp']}GET/user/verify"))


def _signed(plain: str) -> str:
    secret = KEYS.secret.get_secret_value().encode()
    return base64.b64encode(hmac.new(secret, plain.encode(), hashlib.sha256).digest()).decode()


def _pushed(channel: str, of: str, row: Any) -> str:
    arg = {"instType": "USDT-FUTURES", "channel": channel, "instId": of}
    return json.dumps({"action": "snapshot", "arg": arg, "data": [row], "ts": system_wall_ms()})
