"""The endpoints of this venue: who may ask them, and what they answer."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from bot.core.model import Instrument, PositionMode
from bot.exchange.paper.wire.asked import Route
from bot.exchange.paper.wire.bybit import market
from bot.exchange.paper.wire.bybit.asked import Fields, account_of, check_signed, read_fields
from bot.exchange.paper.wire.bybit.desk import BybitDesk
from bot.exchange.paper.wire.bybit.refusal import OK, BybitRefusal
from bot.exchange.paper.wire.bybit.views import wallet_row
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.listing import id_of
from bot.exchange.paper.wire.refusal import Refusal
from bot.exchange.paper.wire.request import Answer, Request

PREFIX = "/v5/"
NEVER_MS = 2**62
ROWS_USUAL = 50
ROWS_MAX = 1_000
BARS_USUAL = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was let in."""

    exchange: WireExchange
    fields: Fields
    now_ms: int

    def symbols(self) -> set[str]:
        """The contract that `symbol` names, or all."""
        return {each.symbol for each in self.fields.instruments()}

    def span(self) -> tuple[int, int, int]:
        """startTime, endTime and limit."""
        fields = self.fields
        limit = fields.integer_or("limit", ROWS_USUAL)
        if not 1 <= limit <= ROWS_MAX:
            raise BybitRefusal(10001, "params error: limit invalid")
        return fields.integer_or("startTime", 0), fields.integer_or("endTime", NEVER_MS), limit


Handler: TypeAlias = Callable[[Asked, BybitDesk], Any]
PublicHandler: TypeAlias = Callable[[Asked], Any]


def answer(exchange: WireExchange, request: Request, now_ms: int) -> Answer:
    """Perform a request at `now_ms`, to which the exchange is advanced first."""
    now_ms = exchange.advance(now_ms)
    code, text, result = OK, "OK", {}
    try:
        exchange.limits.weigh(request.address, 1, now_ms)
        result = _perform(exchange, request, now_ms)
    except BybitRefusal as e:
        code, text = e.code, e.text
    except Refusal as e:  # too many requests, in the words of the other dialect
        return Answer(e.status, json.dumps({"retCode": 10006, "retMsg": e.text, "result": {}}))
    finally:
        exchange.settle()
    said = {"retCode": code, "retMsg": text, "result": result, "retExtInfo": {}, "time": now_ms}
    return Answer(200, json.dumps(said))


def _perform(exchange: WireExchange, request: Request, now_ms: int) -> Any:
    route = request.method, request.path
    fields = read_fields(request.method, request.query, request.body, exchange.listing)
    asked = Asked(exchange, fields, now_ms)
    if route in PUBLIC:
        return PUBLIC[route](asked)
    if route not in PRIVATE:
        return _not_found(request)
    account = account_of(request.headers.get("X-BAPI-API-KEY", ""))
    payload = request.query if request.method == "GET" else request.body
    check_signed(request.headers, payload, now_ms)
    return PRIVATE[route](asked, exchange.bybit_desk(account))


def _not_found(request: Request) -> Any:
    raise BybitRefusal(10017, f"Path {request.path}, method {request.method} is not here")


def _listed(rows: list[Any], **more: Any) -> dict[str, Any]:
    return {"category": "linear", "list": rows, "nextPageCursor": ""} | more


# -- public --------------------------------------------------------------------------------


def _contracts(asked: Asked) -> Any:
    category = asked.fields.text("category")
    instruments: list[Instrument] = []
    if category == "linear" and not asked.fields.optional("status"):
        instruments = asked.fields.instruments()
    rows = [market.contract_row(each, asked.exchange.machine.limits) for each in instruments]
    return _listed(rows, category=category)


def _tickers(asked: Asked) -> Any:
    rows = [market.ticker_row(asked.exchange, each.symbol) for each in asked.fields.instruments()]
    return _listed(rows)


def _tiers(asked: Asked) -> Any:
    return _listed([row for each in asked.fields.instruments() for row in market.tier_rows(each)])


def _bills(asked: Asked) -> Any:
    since_ms, until_ms, limit = asked.span()
    rows = [
        market.bill_row(each)
        for each in reversed(asked.exchange.settled)
        if each.term.symbol in asked.symbols() and since_ms <= each.term.next_at_ms <= until_ms
    ]
    return _listed(rows[:limit])


def _mark_bars(asked: Asked) -> Any:
    instrument = asked.fields.instrument()
    interval = asked.fields.choice("interval", market.INTERVALS)
    fields = asked.fields
    span = (
        fields.integer_or("start", 0),
        fields.integer_or("end", NEVER_MS),
        fields.integer_or("limit", BARS_USUAL),
    )
    rows = market.mark_bars(asked.exchange, instrument.symbol, interval, span)
    return {"category": "linear", "symbol": id_of(instrument.symbol), "list": rows}


# -- private -------------------------------------------------------------------------------


def _position_list(asked: Asked, desk: BybitDesk) -> Any:
    named = bool(asked.fields.optional("symbol"))
    return _listed([*desk.position_rows(asked.fields.instruments(), with_empty=named)])


def _wallet(_: Asked, desk: BybitDesk) -> Any:
    return {"list": [wallet_row(desk.view())]}


def _account_info(_: Asked, desk: BybitDesk) -> Any:
    return {
        "marginMode": desk.margin_mode,
        "unifiedMarginStatus": 6,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
        "dcpStatus": "OFF",
        "timeWindow": 0,
        "smpGroup": 0,
        "updatedTime": "0",
        "positionMode": "hedge" if desk.mode is PositionMode.HEDGE else "one_way",
    }


def _key_info(*_: Any) -> Any:
    return {
        "readOnly": 0,
        "permissions": {"ContractTrade": ["Order", "Position"], "Wallet": []},
        "ips": ["*"],
        "unified": 0,
        "uta": 1,
    }


def _fees(asked: Asked, _: BybitDesk) -> Any:
    return {"list": [market.fee_row(each) for each in asked.fields.instruments()]}


def _create(asked: Asked, desk: BybitDesk) -> Any:
    order = desk.place(asked.fields)
    return {"orderId": order.order_id, "orderLinkId": order.link_id}


def _cancel(asked: Asked, desk: BybitDesk) -> Any:
    order = desk.find(asked.fields)
    desk.cancel(order)
    return {"orderId": order.order_id, "orderLinkId": order.link_id}


def _cancel_all(asked: Asked, desk: BybitDesk) -> Any:
    cancelled = desk.cancel_all(asked.symbols())
    rows = [{"orderId": each.order_id, "orderLinkId": each.link_id} for each in cancelled]
    return {"list": rows, "success": "1"}


def _open_orders(asked: Asked, desk: BybitDesk) -> Any:
    """Those that may still fill; one that is named whatever became of it."""
    return _listed([each.shown() for each in _orders(asked, desk, only_open=True)])


def _past_orders(asked: Asked, desk: BybitDesk) -> Any:
    return _listed([each.shown() for each in reversed(_orders(asked, desk, only_open=False))])


def _orders(asked: Asked, desk: BybitDesk, only_open: bool) -> list[Any]:
    order_id, link_id = (asked.fields.optional(name) for name in ("orderId", "orderLinkId"))
    kind, status = asked.fields.optional("orderFilter"), asked.fields.optional("orderStatus")
    is_named, symbols = bool(order_id or link_id), asked.symbols()
    found = [
        each
        for each in desk.clerk.orders.values()
        if each.asked.symbol in symbols
        and (each.status.is_open or is_named or not only_open)
        and order_id in ("", each.order_id)
        and link_id in ("", each.link_id)
        and (not kind or (kind == "StopOrder") is each.is_conditional)
        and status in ("", each.status.value)
    ]
    return found[-asked.span()[2] :]


def _executions(asked: Asked, desk: BybitDesk) -> Any:
    since_ms, until_ms, limit = asked.span()
    symbols, kind = asked.symbols(), asked.fields.optional("execType")
    order_id = asked.fields.optional("orderId")
    rows = [
        each.shown()
        for each in reversed(desk.clerk.executions)
        if each.symbol in symbols
        and since_ms <= each.at_ms <= until_ms
        and order_id in ("", each.order_id)
        and kind in ("", each.kind)
    ]
    return _listed(rows[:limit])


def _done(perform: Callable[[BybitDesk, Fields], None]) -> Handler:
    def handle(asked: Asked, desk: BybitDesk) -> Any:
        perform(desk, asked.fields)
        return {}

    return handle


PUBLIC: dict[Route, PublicHandler] = {
    ("GET", "/v5/market/time"): lambda asked: market.time_row(asked.now_ms),
    ("GET", "/v5/market/instruments-info"): _contracts,
    ("GET", "/v5/market/tickers"): _tickers,
    ("GET", "/v5/market/risk-limit"): _tiers,
    ("GET", "/v5/market/funding/history"): _bills,
    ("GET", "/v5/market/mark-price-kline"): _mark_bars,
}
PRIVATE: dict[Route, Handler] = {
    ("GET", "/v5/user/query-api"): _key_info,
    ("GET", "/v5/asset/coin/query-info"): lambda *_: {"rows": []},
    ("GET", "/v5/account/info"): _account_info,
    ("GET", "/v5/account/wallet-balance"): _wallet,
    ("GET", "/v5/account/fee-rate"): _fees,
    ("POST", "/v5/account/set-margin-mode"): _done(BybitDesk.set_margin_mode),
    ("GET", "/v5/position/list"): _position_list,
    ("POST", "/v5/position/set-leverage"): _done(BybitDesk.set_leverage),
    ("POST", "/v5/position/switch-mode"): _done(BybitDesk.switch_mode),
    ("POST", "/v5/position/trading-stop"): _done(BybitDesk.set_trading_stop),
    ("POST", "/v5/position/add-margin"): lambda asked, desk: desk.add_margin(asked.fields),
    ("POST", "/v5/order/create"): _create,
    ("POST", "/v5/order/cancel"): _cancel,
    ("POST", "/v5/order/cancel-all"): _cancel_all,
    ("GET", "/v5/order/realtime"): _open_orders,
    ("GET", "/v5/order/history"): _past_orders,
    ("GET", "/v5/execution/list"): _executions,
}
