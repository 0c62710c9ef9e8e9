"""
OKX's side of a stage. Shapes of answers: `documented` and `test-fixture` (v5, rows kept by client
libraries and in ccxt's source); figures are our own.
"""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from bot.clock import system_wall_ms
from bot.core.model import MarginMode, PositionMode
from bot.exchange.live.dialect import Dialect
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.venues.stage import PHRASE, Asked, Book, D, Said

CONTRACT = {
    "instType": "SWAP",
    "instId": "BTC-USDT-SWAP",
    "instFamily": "BTC-USDT",
    "uly": "BTC-USDT",
    "ctType": "linear",
    "ctVal": "0.01",
    "ctMult": "1",
    "ctValCcy": "BTC",
    "settleCcy": "USDT",
    "tickSz": "0.1",
    "lotSz": "0.01",
    "minSz": "0.01",
    "maxMktSz": "12000",
    "maxStopSz": "12000",
    "lever": "100",
    "state": "live",
    "expTime": "",
}
ETH = CONTRACT | {"instId": "ETH-USDT-SWAP", "ctValCcy": "ETH", "ctVal": "0.1"}
TIERS = [
    {"tier": "1", "minSz": "0", "maxSz": "100000000", "mmr": "0.004", "maxLever": "100"},
    {"tier": "2", "minSz": "100000000", "maxSz": "200000000", "mmr": "0.005", "maxLever": "66.66"},
]
CONFIG = {
    "acctLv": "2",
    "posMode": "net_mode",
    "perm": "read_only,trade",
    "roleType": "0",
    "autoLoan": False,
    "ctIsoMode": "automatic",
    "uid": "44705892343619584",
}
_SIZE = D("0.01")
_POSITION_MODES = {PositionMode.ONE_WAY: "net_mode", PositionMode.HEDGE: "long_short_mode"}
_OVER = ("filled", "canceled")


def done(*found: Any) -> Said:
    """The envelope of success."""
    return Said(200, {"code": "0", "msg": "", "data": list(found)})


def failed(code: str, text: str = "no", status: int = 200) -> Said:
    """An error of the whole request."""
    return Said(status, {"code": code, "msg": text, "data": []})


def failed_row(code: str, **row: str) -> Said:
    """A refusal: HTTP 200 and code 1, and the code that counts in the row."""
    told = {"sCode": code, "sMsg": "no"}
    return Said(200, {"code": "1", "msg": "", "data": [row | told]})


class OkxDesk:
    """Implements `Desk`."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.not_known = failed("50004", "Endpoint request timeout", 400)
        self.code_unheard_of = failed_row("51999", ordId="", clOrdId="id1")
        self.tells_of_keys, self.keeps_margin = True, False
        self.proves = frozenset({"too much margin", "would trigger at once", "wrong side"})

    @property
    def dialect(self) -> Dialect:
        return DIALECTS["okx"]

    def is_write(self, asked: Asked) -> bool:
        return asked.method != "GET"

    def answer(self, asked: Asked) -> Said:
        path = asked.path.removeprefix("/api/v5/")
        if path.startswith(("public/", "market/")):
            return self._public(path, asked.query)
        if "OK-ACCESS-SIGN" not in asked.headers:
            return failed("50106", status=401)
        if asked.headers.get("OK-ACCESS-PASSPHRASE") != PHRASE:
            return failed("50105", status=401)
        if self.is_write(asked):
            return self._write(path, asked.body)
        return self._read(path, asked.query)

    def _public(self, path: str, query: Any) -> Said:
        name = query.get("instId", "BTC-USDT-SWAP")
        match path:
            case "public/time":
                return done({"ts": str(system_wall_ms())})
            case "public/instruments":
                contracts = [CONTRACT, ETH]
                named = [each for each in contracts if each["instId"] == name]
                return done(*(named if "instId" in query else contracts))
            case "public/position-tiers":
                return done(*({**each, "instFamily": query["instFamily"]} for each in TIERS))
            case "public/mark-price":
                row = {"instType": "SWAP", "instId": "BTC-USDT-SWAP"}
                return done(row | {"markPx": str(self.book.mark), "ts": "1"})
            case "public/funding-rate":
                times = {"fundingTime": "1900000800000", "nextFundingTime": "1900029600000"}
                return done({"instId": name, "fundingRate": "0.0001"} | times)
            case _:
                return failed("50002")

    def _read(self, path: str, query: Any) -> Said:
        match path:
            case "account/config":
                return done(CONFIG | {"posMode": _POSITION_MODES[self.book.position_mode]})
            case "account/trade-fee":
                return done({"takerU": "-0.0005", "makerU": "-0.0002", "instType": "SWAP"})
            case "account/balance":
                return done({"totalEq": "1", "details": [self._coin()]})
            case "account/positions":
                return done(*self._legs())
            case "trade/order":
                return _looked_up(self.book.orders.values(), "clOrdId", query["clOrdId"])
            case "trade/order-algo":
                return _looked_up(self.book.stops.values(), "algoClOrdId", query["algoClOrdId"])
            case "trade/orders-algo-pending":
                return done(*(each for each in self.book.stops.values() if _waits(each)))
            case "trade/orders-history":
                return done(*(each for each in self.book.orders.values() if _is_over(each)))
            case _:
                return failed("50002")

    def _write(self, path: str, sent: Any) -> Said:
        match path:
            case "trade/order":
                return self._close(sent)
            case "trade/order-algo":
                return self._stop(sent)
            case "trade/cancel-algos":
                (one,) = sent
                return self._cancel(one["algoClOrdId"])
            case "account/position/margin-balance":
                return self._margin(sent)
            case _:
                return failed("50002")

    # -- by hand ---------------------------------------------------------------------------

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        is_long = self.book.quantity > 0
        sent = {
            "instId": "BTC-USDT-SWAP",
            "tdMode": str(self.book.margin_mode),
            "side": "sell" if is_long else "buy",
            "posSide": self._leg_name(),
            "sz": f"{quantity / _SIZE:f}",
            "slTriggerPx": str(trigger),
            "slTriggerPxType": "mark",
            "slOrdPx": "-1",
            "reduceOnly": True,
            "algoClOrdId": client_id,
        }
        self._rest(sent)

    def resting(self) -> list[Decimal]:
        return [D(each["slTriggerPx"]) for each in self.book.stops.values() if _waits(each)]

    def trigger(self, client_id: str, price: Decimal) -> None:
        (stop,) = [each for each in self.book.stops.values() if each["algoClOrdId"] == client_id]
        order = self._order({**stop, "clOrdId": ""}, "live") | {"algoId": stop["algoId"]}
        self.book.orders[order["ordId"]] = order
        self._fill(order, price)
        stop |= {"state": "effective", "ordIdList": [order["ordId"]]}

    def greet(self, text: str) -> list[str]:
        if text == "ping":
            return ["pong"]
        asked = json.loads(text)
        if asked["op"] == "login":
            (given,) = asked["args"]
            good = len(given["sign"]) == 44 and given["passphrase"] == PHRASE
            event, code = ("login", "0") if good else ("error", "60009")
            return [json.dumps({"event": event, "code": code, "msg": "", "connId": "a"})]
        return [json.dumps({"event": "subscribe", "arg": arg}) for arg in asked["args"]]

    def changed(self) -> str:
        return _pushed("balance_and_position", {"eventType": "filled", "posData": []})

    def liquidated(self, price: Decimal) -> str:
        row = {"instId": "BTC-USDT-SWAP", "category": "full_liquidation", "side": "sell"}
        fill = {"fillSz": "10", "fillPx": str(price), "posSide": "net", "state": "filled"}
        return _pushed("orders", row | fill)

    def marked(self, price: Decimal) -> str:
        row = {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "markPx": str(price), "ts": "1"}
        return _pushed("mark-price", row)

    def ended(self) -> str:
        said = "The connection will soon be closed for a service upgrade. Please reconnect."
        return json.dumps({"event": "notice", "code": "64008", "msg": said, "connId": "a"})

    # -- what the account has --------------------------------------------------------------

    def _coin(self) -> dict[str, Any]:
        free = str(self.book.free)
        is_cross = self.book.margin_mode is MarginMode.CROSS
        bound = D(0) if is_cross else self.book.margin
        return {
            "ccy": "USDT",
            "cashBal": free,
            "availEq": free,
            "availBal": free,
            "eq": str(self.book.free + bound),
            "isoEq": str(bound),
            "frozenBal": str(bound),
            "liab": "",
            "upl": "0",
        }

    def _leg_name(self) -> str:
        if self.book.position_mode is PositionMode.ONE_WAY:
            return "net"
        return "long" if self.book.quantity > 0 else "short"

    def _legs(self) -> list[dict[str, Any]]:
        book = self.book
        if not book.quantity:
            return []
        contracts = book.quantity / _SIZE
        is_net = book.position_mode is PositionMode.ONE_WAY
        is_cross = book.margin_mode is MarginMode.CROSS
        row = {
            "instType": "SWAP",
            "instId": "BTC-USDT-SWAP",
            "mgnMode": str(book.margin_mode),
            "posSide": self._leg_name(),
            "pos": f"{contracts if is_net else abs(contracts):f}",
            "availPos": "",
            "ccy": "USDT",
            "avgPx": str(book.entry),
            "markPx": str(book.mark),
            "lever": "10",
            "liqPx": book.liquidation,
            "margin": "" if is_cross else str(book.margin),
            "imr": "600" if is_cross else "",
            "mmr": "24",
            "mgnRatio": "11.7",
            "notionalUsd": str(abs(book.quantity) * book.mark * D("1.0005")),
            "upl": "0",
            "adl": "1",
        }
        return [row]

    # -- what changes it -------------------------------------------------------------------

    def _margin(self, sent: Any) -> Said:
        if sent["posSide"] != self._leg_name():
            return failed("51000", "Parameter posSide error")
        if self.book.margin_mode is MarginMode.CROSS:
            return failed("51010")
        amount = D(sent["amt"])
        if amount > self.book.free:
            return failed("59200")
        self.book.free -= amount
        self.book.margin += amount
        return done(sent | {"leverage": "", "ccy": "USDT"})

    def _is_for_ours(self, sent: Any) -> bool:
        named = (sent["tdMode"], sent.get("posSide", "net"))
        return named == (str(self.book.margin_mode), self._leg_name())

    def _stop(self, sent: Any) -> Said:
        price, falls = D(sent["slTriggerPx"]), sent["side"] == "sell"
        if not self._is_for_ours(sent):
            return failed_row("51000", algoId="", algoClOrdId=sent["algoClOrdId"])
        if price >= self.book.mark if falls else price <= self.book.mark:
            code = "51280" if falls else "51278"
            return failed_row(code, algoId="", algoClOrdId=sent["algoClOrdId"])
        row = self._rest(sent)
        told = {"algoId": row["algoId"], "algoClOrdId": row["algoClOrdId"], "clOrdId": ""}
        return done(told | {"sCode": "0", "sMsg": ""})

    def _rest(self, sent: Any) -> dict[str, Any]:
        number = str(next(self.book.numbers))
        row = {
            **sent,
            "algoId": number,
            "ordType": "conditional",
            "posSide": sent.get("posSide", "net"),
            "state": "live",
            "closeFraction": "",
            "reduceOnly": "true" if sent.get("reduceOnly") else "false",
            "ordIdList": [],
        }
        self.book.stops[number] = row
        return row

    def _cancel(self, client_id: str) -> Said:
        for row in self.book.stops.values():
            if row["algoClOrdId"] == client_id and _waits(row):
                row["state"] = "canceled"
                return done({"algoId": row["algoId"], "sCode": "0", "sMsg": ""})
        return failed_row("51400", algoId="", algoClOrdId=client_id)

    def _close(self, sent: Any) -> Said:
        sells = sent["side"] == "sell"
        is_reducing = sent.get("reduceOnly") is True or sent.get("posSide") in ("long", "short")
        if not self._is_for_ours(sent) or not is_reducing or sells is not (self.book.quantity > 0):
            return failed_row("51169", ordId="", clOrdId=sent["clOrdId"])
        row = self._order(sent, "canceled")
        price = D(sent["px"]) if "px" in sent else None
        if price is None or (price <= D(59_970) if sells else price >= D(60_030)):
            self._fill(row, D(59_970))
        self.book.orders[row["ordId"]] = row
        told = {"ordId": row["ordId"], "clOrdId": row["clOrdId"], "tag": ""}
        return done(told | {"sCode": "0", "sMsg": ""})

    def _fill(self, row: dict[str, Any], price: Decimal) -> None:
        self.book.quantity -= (D(row["sz"]) * _SIZE).copy_sign(self.book.quantity)
        row |= {"state": "filled", "accFillSz": row["sz"], "avgPx": str(price)}

    def _order(self, sent: Any, state: str) -> dict[str, Any]:
        return {
            "instId": sent["instId"],
            "ordId": str(next(self.book.numbers)),
            "clOrdId": sent["clOrdId"],
            "algoId": "",
            "algoClOrdId": "",
            "side": sent["side"],
            "sz": sent["sz"],
            "px": sent.get("px", ""),
            "state": state,
            "accFillSz": "0",
            "avgPx": "",
            "category": "normal",
        }


def _waits(row: Any) -> bool:
    return bool(row["state"] == "live")


def _is_over(row: Any) -> bool:
    return row["state"] in _OVER


def _looked_up(orders: Iterable[Any], key: str, name: str) -> Said:
    found = [each for each in orders if each[key] == name]
    return done(*found) if found else failed("51603", "Order does not exist")


def _pushed(channel: str, row: dict[str, Any]) -> str:
    return json.dumps({"arg": {"channel": channel, "uid": "1"}, "data": [row]})
