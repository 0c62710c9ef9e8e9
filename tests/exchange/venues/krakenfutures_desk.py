"""
Kraken's side of a stage: its multi-collateral wallet, with one cross position. Shapes of answers:
`documented` (v3); figures are our own. Its papers do not say that the fills of a stop that went
off carry its client id, nor what becomes of one whose trigger is met already: here it goes off.
"""

import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from hmac import digest
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from bot.clock import system_wall_ms
from bot.exchange.live.dialect import Dialect
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.venues.stage import BASE64_KEYS, KEY, Asked, Book, D, Said

LEVELS = [
    {"numNonContractUnits": 0, "initialMargin": 0.008, "maintenanceMargin": 0.004},
    {"numNonContractUnits": 1000000, "initialMargin": 0.01, "maintenanceMargin": 0.005},
]
RETAIL = [{"numNonContractUnits": 0, "initialMargin": 0.5, "maintenanceMargin": 0.25}]
CONTRACT = {
    "symbol": "PF_XBTUSD",
    "pair": "BTC:USD",
    "base": "BTC",
    "quote": "USD",
    "type": "flexible_futures",
    "tickSize": 0.1,
    "contractSize": 1,
    "tradeable": True,
    "impactMidSize": 1,
    "maxPositionSize": 10000,
    "marginLevels": LEVELS,
    "retailMarginLevels": RETAIL,
    "marginSchedules": {"europa": {"retail": RETAIL, "professional": LEVELS}},
    "contractValueTradePrecision": 4,
    "fundingRateCoefficient": 24,
    "postOnly": False,
    "tradfi": False,
}
ETH = CONTRACT | {"symbol": "PF_ETHUSD", "pair": "ETH:USD", "base": "ETH"}
INVERSE = CONTRACT | {"symbol": "PI_XBTUSD", "type": "futures_inverse"}
INDEX = {"symbol": "in_xbtusd", "type": "spot index", "tradeable": False}

_API = "/derivatives/api/v3/"
_CHECK = "/api/auth/v1/api-keys/v3/check"
CHALLENGE = "c100b894-1729-464d-ace1-52dbce11db42"


def good(**parts: Any) -> Said:
    """An answer that is one."""
    return Said(200, {"result": "success", "serverTime": now(), **parts})


def bad(error: str) -> Said:
    """An error, as the venue words it."""
    return Said(200, {"result": "error", "error": error, "serverTime": now()})


def now() -> str:
    """As the venue writes the time."""
    at = datetime.fromtimestamp(system_wall_ms() / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class KrakenDesk:
    """Implements `Desk`."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.not_known = bad("unknownError")
        self.code_unheard_of = good(sendStatus={"status": "somethingNew"}, cancelStatus={})
        self.tells_of_keys, self.keeps_margin = True, False
        self.proves = frozenset({"too much margin", "wrong side"})
        self.permissions = {"general": "FULL_ACCESS", "transfer": "NO_ACCESS"}
        self.fills: list[dict[str, Any]] = []

    @property
    def dialect(self) -> Dialect:
        return DIALECTS["krakenfutures"]

    def is_write(self, asked: Asked) -> bool:
        return asked.path in (f"{_API}sendorder", f"{_API}cancelorder")

    def answer(self, asked: Asked) -> Said:
        match asked.method, asked.path.removeprefix(_API).split("/"):
            case "GET", ["instruments"]:
                return good(instruments=[CONTRACT, INVERSE, INDEX, ETH])
            case "GET", ["instruments", "PF_XBTUSD" | "PF_ETHUSD", "status"]:
                return good(tradeable=True, experiencingDislocation=False)
            case "GET", ["tickers"]:
                row = {"symbol": "PF_XBTUSD", "markPrice": float(self.book.mark)}
                index = {"symbol": "in_xbtusd", "last": 21088}
                return good(tickers=[index, row | {"tag": "perpetual", "fundingRate": 6.0}])
            case _:
                return self._private(asked) if is_signed(asked) else bad("authenticationError")

    def _private(self, asked: Asked) -> Said:
        if asked.path == _CHECK:
            return Said(200, {"apiKey": KEY, "permissions": self.permissions})
        match asked.method, asked.path.removeprefix(_API):
            case "GET", "accounts":
                return good(accounts={"cash": {"type": "cashAccount"}, "flex": self._flex()})
            case "GET", "openpositions":
                return good(openPositions=self._positions())
            case "GET", "openorders":
                return good(openOrders=self._waiting())
            case "GET", "fills":
                return good(fills=self.fills)
            case "POST", "orders/status":
                return good(orders=self._recent(asked.query["cliOrdIds"]))
            case "POST", "sendorder":
                return self._send(dict(asked.query))
            case "POST", "cancelorder":
                return self._cancel(asked.query["cliOrdId"])
            case _:
                return bad("notFound")

    # -- by hand ---------------------------------------------------------------------------

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        self._rest(client_id, trigger, quantity, "sell" if self.book.quantity > 0 else "buy")

    def resting(self) -> list[Decimal]:
        return [D(str(each["stopPrice"])) for each in self._waiting()]

    def trigger(self, client_id: str, price: Decimal) -> None:
        (stop,) = (each for each in self.book.stops.values() if each["cliOrdId"] == client_id)
        stop["state"] = "FULLY_EXECUTED"
        size = D(str(stop["unfilledSize"]))
        self._fill(stop["order_id"], client_id, stop["side"], size, price)

    def greet(self, text: str) -> list[str]:
        asked = json.loads(text)
        if asked["event"] == "challenge":
            hello = json.dumps({"event": "info", "version": 1})
            return [hello, json.dumps({"event": "challenge", "message": CHALLENGE})]
        if asked["feed"] != "ticker":
            if asked["signed_challenge"] != signed(sha256(CHALLENGE.encode()).digest()):
                return [self.ended()]
            snapshot = {"feed": f"{asked['feed']}_snapshot", asked["feed"]: []}
            return [json.dumps(asked | {"event": "subscribed"}), json.dumps(snapshot)]
        return [json.dumps({"event": "subscribed", "feed": "ticker"})]

    def changed(self) -> str:
        gone = {"order_id": "x", "is_cancel": True, "reason": "full_fill"}
        return json.dumps({"feed": "open_orders"} | gone)

    def liquidated(self, price: Decimal) -> str:
        row = {"instrument": "PF_XBTUSD", "buy": False, "qty": 0.1, "price": float(price)}
        row |= {"fill_type": "liquidation", "order_id": "x", "seq": 1}
        return json.dumps({"feed": "fills", "username": "x", "fills": [row]})

    def marked(self, price: Decimal) -> str:
        told = {"feed": "ticker", "product_id": "PF_XBTUSD", "markPrice": float(price)}
        bill = {"funding_rate": 6.0, "relative_funding_rate": 0.0001}
        next_at_ms = (system_wall_ms() // 3_600_000 + 1) * 3_600_000
        return json.dumps(told | bill | {"next_funding_rate_time": next_at_ms})

    def ended(self) -> str:
        return json.dumps({"event": "error", "message": "Invalid challenge"})

    # -- what the account has --------------------------------------------------------------

    def _flex(self) -> dict[str, Any]:
        book = self.book
        value = abs(book.quantity) * book.entry
        won = book.quantity * (book.mark - book.entry)
        free = float(book.free)
        coin = {"quantity": free, "value": free, "collateral": free, "available": free}
        return {
            "type": "multiCollateralMarginAccount",
            "currencies": {"USD": coin, "XBT": dict.fromkeys(coin, 0)},
            "balanceValue": free,
            "portfolioValue": float(book.free + won),
            "collateralValue": free,
            "initialMargin": float(value * D("0.008")),
            "initialMarginWithOrders": float(value * D("0.008")),
            "maintenanceMargin": float(value * D("0.004")),
            "pnl": float(won),
            "unrealizedFunding": 0,
            "totalUnrealized": float(won),
            "totalUnrealizedAsMargin": float(won),
            "marginEquity": float(book.free + won),
            "availableMargin": free,
        }

    def _positions(self) -> list[dict[str, Any]]:
        book = self.book
        row = {
            "side": "long" if book.quantity > 0 else "short",
            "symbol": "PF_XBTUSD",
            "price": float(book.entry),
            "fillTime": now(),
            "size": float(abs(book.quantity)),
            "unrealizedFunding": None,
            "pnlCurrency": "USD",
            "maxFixedLeverage": None,
        }
        return [row] if book.quantity else []

    def _waiting(self) -> list[dict[str, Any]]:
        return [each for each in self.book.stops.values() if each["state"] == "TRIGGER_PLACED"]

    def _recent(self, client_id: str) -> list[dict[str, Any]]:
        return [
            {
                "order": {
                    "type": "TRIGGER_ORDER" if "stopPrice" in each else "ORDER",
                    "orderId": each["order_id"],
                    "cliOrdId": client_id,
                    "symbol": "PF_XBTUSD",
                    "filled": sum(
                        fill["size"] for fill in self.fills if fill["cliOrdId"] == client_id
                    ),
                },
                "status": each["state"],
                "updateReason": None,
                "error": None,
            }
            for each in (*self.book.stops.values(), *self.book.orders.values())
            if each["cliOrdId"] == client_id
        ]

    # -- what changes it -------------------------------------------------------------------

    def _send(self, sent: dict[str, str]) -> Said:
        until = datetime.fromisoformat(sent["processBefore"]).timestamp() * 1000
        if not 0 < until - system_wall_ms() < 10_000:
            return self._refused("wouldProcessAfterSpecifiedTime")
        is_sell, size = sent["side"] == "sell", D(sent["size"])
        if sent["reduceOnly"] != "true":
            return bad("invalidArgument")
        if sent["orderType"] == "stp":
            return self._stop(sent, size)
        if self.book.quantity == 0 or is_sell is not (self.book.quantity > 0):
            return self._refused("wouldNotReducePosition")
        bound = D(sent["limitPrice"]) if sent["orderType"] == "ioc" else None
        price = D(59_970) if is_sell else D(60_030)
        number = self._number()
        of = {"order_id": number, "cliOrdId": sent["cliOrdId"]}
        order = {"orderId": number, "cliOrdId": sent["cliOrdId"], "symbol": "PF_XBTUSD"}
        if bound is not None and (price < bound if is_sell else price > bound):
            self.book.orders[number] = of | {"state": "REJECTED"}
            reason = {"type": "REJECT", "uid": number, "reason": "IOC_WOULD_NOT_EXECUTE"}
            return self._answered("iocWouldNotExecute", number, reason | {"order": order})
        self.book.orders[number] = of | {"state": "FULLY_EXECUTED"}
        self._fill(number, sent["cliOrdId"], sent["side"], size, price)
        event: dict[str, Any] = {"type": "EXECUTION", "orderPriorExecution": order}
        event |= {"price": float(price), "amount": float(size)}
        return self._answered("placed", number, event)

    def _stop(self, sent: dict[str, str], size: Decimal) -> Said:
        number = self._rest(sent["cliOrdId"], D(sent["stopPrice"]), size, sent["side"])
        assert sent["triggerSignal"] == "mark"
        beyond = D(sent["stopPrice"]) - self.book.mark
        if beyond >= 0 if sent["side"] == "sell" else beyond <= 0:
            self.trigger(sent["cliOrdId"], self.book.mark)
            order = {"orderId": number, "cliOrdId": sent["cliOrdId"], "symbol": "PF_XBTUSD"}
            event: dict[str, Any] = {"type": "EXECUTION", "orderPriorExecution": order}
            return self._answered("placed", number, event)
        side = "trigger_below" if sent["side"] == "sell" else "trigger_above"
        trigger = {
            "uid": number,
            "clientId": sent["cliOrdId"],
            "type": "ioc",
            "symbol": "PF_XBTUSD",
            "side": sent["side"],
            "quantity": float(size),
            "limitPrice": None,
            "triggerPrice": float(sent["stopPrice"]),
            "triggerSide": side,
            "triggerSignal": "mark_price",
            "reduceOnly": True,
        }
        return self._answered("placed", number, {"type": "PLACE", "orderTrigger": trigger})

    def _rest(self, client_id: str, trigger: Decimal, size: Decimal, side: str) -> str:
        number = self._number()
        self.book.stops[number] = {
            "order_id": number,
            "cliOrdId": client_id,
            "status": "untouched",
            "state": "TRIGGER_PLACED",
            "side": side,
            "orderType": "stop",
            "symbol": "PF_XBTUSD",
            "stopPrice": float(trigger),
            "filledSize": 0,
            "unfilledSize": float(size),
            "reduceOnly": True,
            "triggerSignal": "mark",
        }
        return number

    def _cancel(self, client_id: str) -> Said:
        for number, stop in self.book.stops.items():
            if stop["cliOrdId"] == client_id and stop["state"] == "TRIGGER_PLACED":
                stop["state"] = "CANCELLED"
                event = {"type": "CANCEL", "uid": number}
                of = {"uid": number, "clientId": client_id, "symbol": "PF_XBTUSD"}
                told = {"status": "cancelled", "order_id": number}
                return good(cancelStatus=told | {"orderEvents": [event | {"orderTrigger": of}]})
        return good(cancelStatus={"status": "notFound", "receivedTime": now()})

    def _fill(self, number: str, client_id: str, side: str, size: Decimal, price: Decimal) -> None:
        self.book.quantity += size if side == "buy" else -size
        fill: dict[str, Any] = {
            "fill_id": self._number(),
            "order_id": number,
            "cliOrdId": client_id,
        }
        fill |= {"symbol": "PF_XBTUSD", "side": side, "fillTime": now(), "fillType": "taker"}
        self.fills.insert(0, fill | {"size": float(size), "price": float(price)})

    def _refused(self, status: str) -> Said:
        return good(sendStatus={"status": status, "receivedTime": now(), "orderEvents": []})

    def _answered(self, status: str, number: str, event: dict[str, Any]) -> Said:
        told = {"order_id": number, "status": status, "receivedTime": now()}
        return good(sendStatus=told | {"orderEvents": [event]})

    def _number(self) -> str:
        return str(UUID(int=next(self.book.numbers)))


def is_signed(asked: Asked) -> bool:
    """Whether the signature is that of the venue's page, over what came."""
    path = asked.path.removeprefix("/derivatives")
    sent = urlencode(asked.query, quote_via=quote)
    return asked.headers.get("Authent") == signed(sha256((sent + path).encode()).digest())


def signed(hashed: bytes) -> str:
    """What the secret makes of a hash."""
    secret = b64decode(BASE64_KEYS.secret.get_secret_value())
    return b64encode(digest(secret, hashed, "sha512")).decode()
