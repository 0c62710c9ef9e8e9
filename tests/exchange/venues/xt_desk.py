"""
XT's side of a stage. Shapes of answers: `documented` (the venue's pages and the rows kept in
ccxt's source); that an order has the client's id and its plan's number is `assumed`. Figures are
our own.
"""

import json
from decimal import Decimal
from typing import Any

from bot.clock import system_wall_ms
from bot.core.model import MarginMode
from bot.exchange.live.dialect import Dialect
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.venues.stage import Asked, Book, D, Said

CONTRACT = {
    "id": 5,
    "symbol": "btc_usdt",
    "contractType": "PERPETUAL",
    "productType": "perpetual",
    "underlyingType": "U_BASED",
    "contractSize": "0.0001",
    "tradeSwitch": True,
    "state": 0,
    "baseCoin": "btc",
    "quoteCoin": "usdt",
    "quantityPrecision": 0,
    "pricePrecision": 1,
    "minStepPrice": "0.1",
    "minQty": "1",
    "minNotional": "5",
    "makerFee": "0.0004",
    "takerFee": "0.0005",
    "deliveryDate": 1669879634000,
}
ETH = CONTRACT | {"symbol": "eth_usdt", "baseCoin": "eth", "contractSize": "0.01"}
TIERS = [
    {"bracket": 1, "maxNominalValue": "1000000", "maintMarginRate": "0.004", "maxLeverage": "125"},
    {"bracket": 2, "maxNominalValue": "2000000", "maintMarginRate": "0.005", "maxLeverage": "100"},
]
_SIZE = D("0.0001")
_KEY = "3BC1D71D6CF96DA3458FC35B05B633351684511731128"


def done(result: Any) -> Said:
    """The envelope of success."""
    return Said(200, {"returnCode": 0, "msgInfo": "success", "error": None, "result": result})


def failed(code: str, msg: str = "no") -> Said:
    """The envelope of failure, with HTTP 200."""
    error = {"code": code, "msg": msg, "args": []}
    return Said(200, {"returnCode": 1, "msgInfo": "failure", "error": error, "result": None})


class XtDesk:
    """Implements `Desk`."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.not_known = failed("500", "system error")
        self.code_unheard_of = failed("something_new")
        self.tells_of_keys = self.keeps_margin = False
        self.proves = frozenset({"too much margin", "no such stop"})

    @property
    def dialect(self) -> Dialect:
        return DIALECTS["xt"]

    def is_write(self, asked: Asked) -> bool:
        return asked.method != "GET"

    def answer(self, asked: Asked) -> Said:
        if "xt-validate-signature" not in asked.headers:
            return self._public(asked)
        if self.is_write(asked):
            return self._write(asked.path, asked.body)
        return self._read(asked)

    def _public(self, asked: Asked) -> Said:
        match asked.path.removeprefix("/future/market/v1/public/"):
            case "/v4/public/time":
                time = {"serverTime": system_wall_ms()}
                return Said(200, {"rc": 0, "mc": "SUCCESS", "ma": [], "result": time})
            case "symbol/list":
                return done([CONTRACT, ETH])
            case "leverage/bracket/detail":
                return done({"symbol": asked.query["symbol"], "leverageBrackets": TIERS})
            case "q/mark-price":
                return done([{"s": "btc_usdt", "p": str(self.book.mark), "t": system_wall_ms()}])
            case "q/funding-rate":
                bill = {"symbol": asked.query["symbol"], "fundingRate": "0.0001"}
                ahead = {"nextCollectionTime": 1_900_000_800_000, "collectionInternal": 8}
                return done(bill | ahead)
            case _:
                return failed("AUTH_007")

    def _read(self, asked: Asked) -> Said:
        match asked.path.removeprefix("/future/"):
            case "user/v1/account/info":
                return done({"accountId": 1, "allowTrade": True, "state": 0})
            case "user/v1/user/listen-key":
                return done(_KEY)
            case "user/v1/position/list":
                return done(self._legs())
            case "user/v1/position/break-list":
                return done([self._break_row()] if self.book.quantity else [])
            case "user/v1/balance/list":
                return done([self._balance()])
            case "trade/v1/order/list":
                wanted = asked.query["clientOrderId"]
                orders = self.book.orders.values()
                return _page([each for each in orders if each["clientOrderId"] == wanted])
            case "trade/v1/order/list-history":
                return _page(list(self.book.orders.values()))
            case "trade/v1/entrust/plan-list":
                return _page(self._plans({"NOT_TRIGGERED"}))
            case "trade/v1/entrust/plan-list-history":
                return _page(self._plans({"TRIGGERED", "USER_REVOCATION"}))
            case _:
                return failed("404")

    def _write(self, path: str, sent: Any) -> Said:
        match path.removeprefix("/future/"):
            case "user/v1/position/margin":
                return self._margin(sent)
            case "trade/v1/entrust/create-plan":
                return self._plan(sent)
            case "trade/v1/entrust/cancel-plan":
                return self._cancel(sent["entrustId"])
            case "trade/v1/order/create":
                return self._close(sent)
            case _:
                return failed("404")

    # -- by hand ---------------------------------------------------------------------------

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        is_long = self.book.quantity > 0
        self._rest(
            {
                "symbol": "btc_usdt",
                "positionSide": "LONG" if is_long else "SHORT",
                "orderSide": "SELL" if is_long else "BUY",
                "entrustType": "STOP_MARKET",
                "origQty": str(int(quantity / _SIZE)),
                "stopPrice": str(trigger),
                "timeInForce": "IOC",
                "triggerPriceType": "MARK_PRICE",
                "clientOrderId": client_id,
            }
        )

    def resting(self) -> list[Decimal]:
        return [D(each["stopPrice"]) for each in self._plans({"NOT_TRIGGERED"})]

    def trigger(self, client_id: str, price: Decimal) -> None:
        (plan,) = [each for each in self.book.stops.values() if each["clientOrderId"] == client_id]
        plan |= {"state": "TRIGGERED"}
        self._fill({**plan, "clientOrderId": "", "sourceId": plan["entrustId"]}, price)

    def greet(self, text: str) -> list[str]:
        if text == "ping":
            return ["pong"]
        asked = json.loads(text)
        names = [each.partition("@") for each in asked["params"]]
        if any(key not in (_KEY, "btc_usdt") for _, _, key in names):
            return [json.dumps({"id": asked["id"], "code": 401, "msg": "token expire"})]
        return [json.dumps({"id": asked["id"], "code": 0, "msg": "success"}), "pong"]

    def changed(self) -> str:
        row = {"symbol": "btc_usdt", "positionSide": "LONG", "positionSize": "900"}
        return json.dumps({"topic": "position", "event": f"position@{_KEY}", "data": row})

    def liquidated(self, price: Decimal) -> None:
        return None

    def marked(self, price: Decimal) -> str:
        data = {"s": "btc_usdt", "p": str(price), "t": 123124124}
        return json.dumps({"topic": "mark_price", "event": "mark_price@btc_usdt", "data": data})

    def ended(self) -> str:
        return json.dumps({"id": "123", "code": 401, "msg": "token expire"})

    # -- what the account has --------------------------------------------------------------

    def _balance(self) -> dict[str, str]:
        bound = D(0) if self.book.margin_mode is MarginMode.CROSS else self.book.margin
        return {
            "coin": "usdt",
            "walletBalance": str(self.book.free + bound),
            "openOrderMarginFrozen": "0",
            "isolatedMargin": str(bound),
            "crossedMargin": "0",
            "availableBalance": str(self.book.free),
            "bonus": "0",
            "coupon": "0",
        }

    def _legs(self) -> list[dict[str, Any]]:
        book = self.book
        side = "LONG" if book.quantity > 0 else "SHORT"
        other = "SHORT" if side == "LONG" else "LONG"
        is_cross = book.margin_mode is MarginMode.CROSS
        leg = {
            "symbol": "btc_usdt",
            "positionType": "CROSSED" if is_cross else "ISOLATED",
            "positionSide": side,
            "contractType": "PERPETUAL",
            "positionSize": f"{abs(book.quantity) / _SIZE:f}".partition(".")[0],
            "closeOrderSize": "0",
            "entryPrice": str(book.entry),
            "isolatedMargin": "0" if is_cross else str(book.margin),
            "autoMargin": False,
            "leverage": 10,
            "markPrice": str(book.mark),
        }
        flat = {"positionSide": other, "positionSize": "0", "isolatedMargin": "0"}
        return [leg, leg | flat]

    def _break_row(self) -> dict[str, str]:
        side = "LONG" if self.book.quantity > 0 else "SHORT"
        row = {"symbol": "btc_usdt", "positionSide": side, "calMarkPrice": str(self.book.mark)}
        return row | {"breakPrice": self.book.liquidation}

    def _plans(self, states: set[str]) -> list[Any]:
        return [each for each in self.book.stops.values() if each["state"] in states]

    # -- what changes it -------------------------------------------------------------------

    def _margin(self, sent: Any) -> Said:
        if self.book.margin_mode is MarginMode.CROSS:
            return failed("invalid_position_type")
        assert sent["type"] == "ADD"
        assert sent["positionSide"] == self._legs()[0]["positionSide"]
        amount = D(sent["margin"])
        if amount > self.book.free:
            return failed("insufficient_balance", "insufficient balance")
        self.book.free -= amount
        self.book.margin += amount
        return done(None)

    def _plan(self, sent: Any) -> Said:
        price, sells = D(sent["stopPrice"]), sent["orderSide"] == "SELL"
        if price >= self.book.mark if sells else price <= self.book.mark:
            return failed("invalid_stop_price")
        return done(self._rest(sent))

    def _rest(self, sent: dict[str, Any]) -> str:
        number = str(next(self.book.numbers))
        closes_none = {"closePosition": None, "price": None}
        self.book.stops[number] = (
            sent
            | closes_none
            | {
                "entrustId": number,
                "state": "NOT_TRIGGERED",
                "createdTime": system_wall_ms(),
            }
        )
        return number

    def _cancel(self, number: str) -> Said:
        plan = self.book.stops.get(number)
        if plan is None or plan["state"] != "NOT_TRIGGERED":
            return failed("entrust_not_exist")
        plan |= {"state": "USER_REVOCATION"}
        return Said(
            200, {"error": {"code": "", "msg": ""}, "msgInfo": "", "result": {}, "returnCode": 0}
        )

    def _close(self, sent: Any) -> Said:
        sells = sent["orderSide"] == "SELL"
        if (sent["positionSide"] == "LONG") is not sells:
            return failed("opens")
        if sells is not (self.book.quantity > 0):
            return failed("invalid_quantity")
        if sent["orderType"] == "MARKET":
            return done(self._fill(sent, D(59_970)))
        limit = D(sent["price"])
        if limit <= D(59_970) if sells else limit >= D(60_030):
            return done(self._fill(sent, D(59_970)))
        return done(self._end(sent, "0", "0", "CANCELED"))

    def _fill(self, sent: dict[str, Any], price: Decimal) -> str:
        contracts = D(sent["origQty"])
        self.book.quantity -= contracts.copy_sign(self.book.quantity) * _SIZE
        return self._end(sent, str(contracts), str(price), "FILLED")

    def _end(self, sent: dict[str, Any], executed: str, price: str, state: str) -> str:
        number = str(next(self.book.numbers))
        self.book.orders[number] = (
            {"sourceId": None, "price": "0"}
            | sent
            | {
                "orderId": number,
                "executedQty": executed,
                "avgPrice": price,
                "state": state,
            }
        )
        return number


def _page(items: list[Any]) -> Said:
    return done({"items": items, "page": 1, "ps": 100, "total": len(items)})
