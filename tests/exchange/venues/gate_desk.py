"""
Gate's side of a stage. Shapes of answers: `documented` (API v4, its SDK's models), with the
positions' row as ccxt's source keeps it; figures are our own.
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
    "name": "BTC_USDT",
    "type": "direct",
    "quanto_multiplier": "0.0001",
    "maintenance_rate": "0.005",
    "mark_type": "index",
    "order_price_round": "0.1",
    "mark_price_round": "0.01",
    "order_size_min": 1,
    "order_size_max": 1000000,
    "enable_decimal": False,
    "in_delisting": False,
    "funding_rate": "0.0001",
    "funding_interval": 28800,
    "funding_next_apply": 1_900_000_800,
    "taker_fee_rate": "0.00075",
    "maker_fee_rate": "-0.00025",
}
ETH = CONTRACT | {"name": "ETH_USDT", "quanto_multiplier": "0.01", "order_price_round": "0.01"}
TIERS = [
    {"tier": 1, "risk_limit": "1000000", "maintenance_rate": "0.004", "leverage_max": "125"},
    {"tier": 2, "risk_limit": "2000000", "maintenance_rate": "0.005", "leverage_max": "100"},
]
FEES = {
    "BTC_USDT": {"taker_fee": "0.0005", "maker_fee": "0.0002"},
    "ETH_USDT": {"taker_fee": "0.0005", "maker_fee": "0.0002"},
}
_SIZE = D("0.0001")
_ROOT = "/api/v4/futures/usdt/"


class GateDesk:
    """Implements `Desk`."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.not_known = Said(500, {"label": "SERVER_ERROR", "message": "Internal server error"})
        self.tells_of_keys = self.keeps_margin = False
        self.proves = frozenset(
            {"too much margin", "would trigger at once", "wrong side", "no such stop"}
        )
        self.code_unheard_of = Said(400, {"label": "SOMETHING_NEW", "message": "?"})

    @property
    def dialect(self) -> Dialect:
        return DIALECTS["gate"]

    def is_write(self, asked: Asked) -> bool:
        return asked.method != "GET"

    def answer(self, asked: Asked) -> Said:
        if "SIGN" in asked.headers:
            return self._write(asked) if self.is_write(asked) else self._read(asked)
        match asked.path.removeprefix("/api/v4/").split("/"):
            case ["spot", "time"]:
                return Said(200, {"server_time": self._now_s() * 1000})
            case ["futures", "usdt", "contracts"]:
                return Said(200, [each | self._mark() for each in (CONTRACT, ETH)])
            case ["futures", "usdt", "contracts", name]:
                listed = {each["name"]: each for each in (CONTRACT, ETH)}
                return Said(200, listed[name] | self._mark())
            case ["futures", "usdt", "risk_limit_tiers"]:
                return Said(200, TIERS)
            case _:
                return Said(401, {"label": "MISSING_REQUIRED_HEADER", "message": "SIGN"})

    def _read(self, asked: Asked) -> Said:
        match asked.path.removeprefix("/api/v4/").removeprefix("futures/usdt/").split("/"):
            case ["account", "detail"]:
                return Said(200, {"user_id": 1666, "key": {"mode": 1}})
            case ["fee"]:
                return Said(200, FEES)
            case ["accounts"]:
                return Said(200, self._account())
            case ["positions"]:
                return Said(200, self._legs())
            case ["orders"]:
                return Said(200, list(self.book.orders.values()))
            case ["orders", number]:
                return self._order(number)
            case ["price_orders"]:
                return Said(200, self._waiting(asked.query["status"]))
            case _:
                return Said(404, {"label": "NOT_FOUND", "message": asked.path})

    def _write(self, asked: Asked) -> Said:
        match asked.method, asked.path.removeprefix(_ROOT).split("/"):
            case "POST", ["orders"]:
                return self._close(asked.body)
            case "POST", ["price_orders"]:
                return self._stop(asked.body)
            case "DELETE", ["price_orders", number]:
                return self._cancel(number)
            case "POST", ["positions", "BTC_USDT", "margin"]:
                return self._margin(asked, PositionMode.ONE_WAY)
            case "POST", ["dual_comp", "positions", "BTC_USDT", "margin"]:
                return self._margin(asked, PositionMode.HEDGE)
            case _:
                return Said(404, {"label": "NOT_FOUND", "message": asked.path})

    # -- by hand ---------------------------------------------------------------------------

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        size = -int(quantity.copy_sign(self.book.quantity) / _SIZE)
        order = {"contract": "BTC_USDT", "size": size, "price": "0", "tif": "ioc"}
        order |= {"text": f"t-{client_id}", "reduce_only": True}
        rule = 2 if size < 0 else 1
        self._rest(
            order, {"strategy_type": 0, "price_type": 1, "price": str(trigger), "rule": rule}
        )

    def resting(self) -> list[Decimal]:
        return [D(each["trigger"]["price"]) for each in self._waiting("open")]

    def trigger(self, client_id: str, price: Decimal) -> None:
        (stop,) = [
            each
            for each in self.book.stops.values()
            if each["initial"]["text"] == f"t-{client_id}"
        ]
        made = self._fill({**stop["initial"], "text": "ao-1"}, price)
        stop |= {"status": "finished", "finish_as": "succeeded", "trade_id": made["id"]}

    def greet(self, text: str) -> list[str]:
        asked = json.loads(text)
        said = {"channel": asked["channel"], "event": "subscribe", "time": self._now_s()}
        if asked["channel"] != "futures.tickers" and len(asked["auth"]["SIGN"]) != 128:
            error = {"code": 4, "message": "authentication fail"}
            return [json.dumps(said | {"error": error, "result": {"status": "fail"}})]
        return [json.dumps(said | {"error": None, "result": {"status": "success"}})]

    def changed(self) -> str:
        row = {"contract": "BTC_USDT", "size": "900", "entry_price": 60000.1, "margin": 540.25}
        return self._update("futures.positions", row)

    def liquidated(self, price: Decimal) -> str:
        row = {
            "contract": "BTC_USDT",
            "size": "1000",
            "fill_price": str(price),
            "order_size": -1000,
        }
        return self._update("futures.liquidates", row)

    def marked(self, price: Decimal) -> str:
        row = {"contract": "BTC_USDT", "last": "1", "mark_price": str(price)}
        return self._update("futures.tickers", row | {"funding_rate": "0.0002"})

    def ended(self) -> str:
        said = "The connection will soon be closed for a service upgrade. Please reconnect."
        return json.dumps({"type": "service_upgrade", "msg": said})

    # -- what the account has --------------------------------------------------------------

    def _account(self) -> dict[str, Any]:
        bound = D(0) if self.book.margin_mode is MarginMode.CROSS else self.book.margin
        return {
            "user": 1666,
            "currency": "USDT",
            "total": str(self.book.free + bound),
            "unrealised_pnl": "0",
            "position_margin": str(bound),
            "order_margin": "0",
            "available": str(self.book.free),
            "in_dual_mode": self.book.position_mode is PositionMode.HEDGE,
            "enable_credit": False,
            "enable_tiered_mm": True,
            "margin_mode": 0,
        }

    def _legs(self) -> list[dict[str, Any]]:
        row = self._leg()
        return [row] if row["size"] != "0" else []

    def _leg(self) -> dict[str, Any]:
        book = self.book
        is_cross = book.margin_mode is MarginMode.CROSS
        side = "dual_long" if book.quantity > 0 else "dual_short"
        return {
            "user": 1666,
            "contract": "BTC_USDT",
            "size": f"{book.quantity / _SIZE:f}".partition(".")[0],
            "leverage": "0" if is_cross else "10",
            "cross_leverage_limit": "0",
            "leverage_max": "125",
            "risk_limit": "1000000",
            "maintenance_rate": "0.004",
            "value": str(abs(book.quantity) * book.mark),
            "margin": str(book.margin),
            "entry_price": str(book.entry),
            "mark_price": str(book.mark),
            "liq_price": book.liquidation,
            "mode": side if book.position_mode is PositionMode.HEDGE else "single",
            "adl_ranking": 5,
            "pending_orders": 0,
            "close_order": None,
        }

    def _waiting(self, status: str) -> list[Any]:
        return [each for each in self.book.stops.values() if each["status"] == status]

    def _order(self, number: str) -> Said:
        for order in self.book.orders.values():
            if number in (order["text"], str(order["id"])):
                return Said(200, order)
        return Said(404, {"label": "ORDER_NOT_FOUND", "message": "Order not found"})

    # -- what changes it -------------------------------------------------------------------

    def _margin(self, asked: Asked, mode: PositionMode) -> Said:
        if mode is not self.book.position_mode:
            return Said(400, {"label": "POSITION_DUAL_MODE", "message": "dual"})
        if self.book.margin_mode is MarginMode.CROSS:
            return Said(400, {"label": "POSITION_CROSS_MARGIN", "message": "cross"})
        amount = D(asked.query["change"])
        if amount > self.book.free:
            return Said(400, {"label": "INSUFFICIENT_AVAILABLE", "message": "too little"})
        self.book.free -= amount
        self.book.margin += amount
        row = self._leg()
        if mode is PositionMode.HEDGE:
            return Said(200, [row, row | {"mode": "dual_short", "size": "0", "margin": "0"}])
        return Said(200, row)

    def _stop(self, sent: Any) -> Said:
        order, trigger = sent["initial"], sent["trigger"]
        price = D(trigger["price"])
        would = price >= self.book.mark if trigger["rule"] == 2 else price <= self.book.mark
        if would:
            label = "AUTO_TRIGGER_PRICE_LESS_LAST"
            return Said(400, {"label": label, "message": "invalid argument: Trigger.rule"})
        return Said(201, {"id": self._rest(order, trigger)})

    def _rest(self, order: dict[str, Any], trigger: dict[str, Any]) -> int:
        number = next(self.book.numbers)
        self.book.stops[str(number)] = {
            "id": number,
            "user": 1666,
            "initial": order | {"is_reduce_only": order["reduce_only"], "is_close": False},
            "trigger": trigger | {"expiration": 0},
            "create_time": self._now_s(),
            "status": "open",
            "trade_id": 0,
        }
        return number

    def _cancel(self, number: str) -> Said:
        stop = self.book.stops.get(number)
        if stop is None or stop["status"] != "open":
            return Said(404, {"label": "ORDER_NOT_FOUND", "message": "Order not found"})
        stop |= {"status": "finished", "finish_as": "cancelled"}
        return Said(200, stop)

    def _close(self, sent: Any) -> Said:
        size, price = D(str(sent["size"])), D(sent["price"])
        if not sent["reduce_only"] or size * self.book.quantity >= 0:
            return Said(400, {"label": "INCREASE_POSITION", "message": "increase position"})
        fills = price == 0 or (price <= D(59_970) if size < 0 else price >= D(60_030))
        order = self._fill(sent, D(59_970)) if fills else self._end(sent, sent["size"], "0")
        return Said(201, order)

    def _fill(self, sent: dict[str, Any], price: Decimal) -> dict[str, Any]:
        size = D(str(sent["size"]))
        self.book.quantity += size * _SIZE
        return self._end(sent, 0, str(price))

    def _end(self, sent: dict[str, Any], left: object, price: str) -> dict[str, Any]:
        number = next(self.book.numbers)
        order = {
            "id": number,
            "user": 1666,
            "contract": sent["contract"],
            "size": str(sent["size"]),
            "left": str(left),
            "price": sent["price"],
            "fill_price": price,
            "tif": "ioc",
            "text": sent["text"],
            "is_reduce_only": True,
            "is_close": False,
            "is_liq": False,
            "status": "finished",
            "finish_as": "ioc" if left else "filled",
        }
        self.book.orders[str(number)] = order
        return order

    def _mark(self) -> dict[str, str]:
        return {"mark_price": str(self.book.mark)}

    def _update(self, channel: str, row: dict[str, Any]) -> str:
        told = {"channel": channel, "event": "update", "time": self._now_s(), "error": None}
        return json.dumps(told | {"result": [row]})

    def _now_s(self) -> int:
        return system_wall_ms() // 1000
