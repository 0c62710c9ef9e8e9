"""The endpoints: what each costs, who may ask it, and what it answers."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from bot.core.model import Instrument
from bot.exchange.paper.wire.admission import account_of, check_signed
from bot.exchange.paper.wire.desk import Desk
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.listing import exchange_info, id_of, leverage_bracket, text
from bot.exchange.paper.wire.parameters import Parameters, read_parameters
from bot.exchange.paper.wire.refusal import Refusal
from bot.exchange.paper.wire.views import money, symbol_rows

ROWS_MAX = 1_000
ROWS_USUAL = 500
NEVER_MS = 2**62


@dataclass(frozen=True, slots=True)
class Request:
    """What came over the wire. `query` and `body` are as sent: signatures are over them."""

    method: str
    path: str
    query: str
    body: str
    key: str
    address: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was let in."""

    exchange: WireExchange
    parameters: Parameters
    now_ms: int

    def instruments(self) -> list[Instrument]:
        """The one that `symbol` names, or all."""
        listing = self.exchange.listing
        if self.parameters.has("symbol"):
            return [listing.named(self.parameters.text("symbol"))]
        return list(listing.by_id.values())

    def only(self) -> Instrument:
        """The one that `symbol` has to name."""
        return self.exchange.listing.named(self.parameters.text("symbol"))

    def answer_one_or_all(self, rows: list[Any]) -> Any:
        """One row where `symbol` was sent, else a list of all."""
        return rows[0] if self.parameters.has("symbol") else rows

    def span(self) -> tuple[int, int, int]:
        """startTime, endTime and limit."""
        limit = self.parameters.integer_or("limit", ROWS_USUAL)
        if not 1 <= limit <= ROWS_MAX * 1.5:
            raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
        since_ms = self.parameters.integer_or("startTime", 0)
        return since_ms, self.parameters.integer_or("endTime", NEVER_MS), limit


class Security(Enum):
    """What a request has to bring."""

    NONE = 0
    KEY = 1
    SIGNED = 2
    ORDER = 3
    """Signed, and counted as an order."""


Handler: TypeAlias = Callable[[Asked, Desk], Any]
PublicHandler: TypeAlias = Callable[[Asked], Any]


@dataclass(frozen=True, slots=True)
class Public:
    """An endpoint for everybody."""

    weight: int
    handle: PublicHandler


@dataclass(frozen=True, slots=True)
class Private:
    """An endpoint of an account."""

    weight: int
    security: Security
    handle: Handler


Endpoint: TypeAlias = Public | Private


def answer(exchange: WireExchange, request: Request, now_ms: int) -> Answer:
    """Perform a request at `now_ms`, to which the exchange is advanced first."""
    now_ms = exchange.advance(now_ms)
    headers: dict[str, str] = {}
    try:
        body = _perform(exchange, request, now_ms, headers)
    except Refusal as e:
        if e.retry_after_s:
            headers["Retry-After"] = str(e.retry_after_s)
        said = {"code": e.code, "msg": e.text}
        return Answer(e.status, json.dumps(said, ensure_ascii=False), headers)
    finally:
        exchange.settle()
    return Answer(200, json.dumps(body), headers)


def _perform(
    exchange: WireExchange, request: Request, now_ms: int, headers: dict[str, str]
) -> Any:
    endpoint = ENDPOINTS.get((request.method, request.path))
    weight = 1 if endpoint is None else endpoint.weight
    headers["X-MBX-USED-WEIGHT-1M"] = str(exchange.limits.weigh(request.address, weight, now_ms))
    asked = Asked(exchange, read_parameters(request.query, request.body), now_ms)
    match endpoint:
        case None:
            text = f"Path {request.path}, Method {request.method} is invalid"
            raise Refusal(-5000, text, status=404)
        case Public(handle=handle):
            return handle(asked)
        case Private(security=security, handle=handle_private):
            account = account_of(request.key)
            if security is not Security.KEY:
                check_signed(request.query, request.body, asked.parameters, now_ms)
            if security is Security.ORDER:
                short, long = exchange.limits.count_order(account, now_ms)
                headers["X-MBX-ORDER-COUNT-10S"] = str(short)
                headers["X-MBX-ORDER-COUNT-1M"] = str(long)
            return handle_private(asked, exchange.desk(account))


# -- public --------------------------------------------------------------------------------


def _exchange_info(asked: Asked) -> Any:
    return exchange_info(asked.instruments(), asked.now_ms)


def _premium(asked: Asked) -> Any:
    rows = [asked.exchange.premium(each.symbol, asked.now_ms) for each in asked.instruments()]
    return asked.answer_one_or_all(rows)


def _funding_rates(asked: Asked) -> Any:
    since_ms, until_ms, limit = asked.span()
    wanted = {each.symbol for each in asked.instruments()}
    rows = [
        {
            "symbol": id_of(each.term.symbol),
            "fundingTime": each.term.next_at_ms,
            "fundingRate": text(each.term.rate),
            "markPrice": money(each.mark),
        }
        for each in asked.exchange.settled
        if each.term.symbol in wanted and since_ms <= each.term.next_at_ms <= until_ms
    ]
    return rows[-limit:]


def _funding_info(asked: Asked) -> Any:
    hour_ms = 3_600_000
    return [
        {
            "symbol": id_of(term.symbol),
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": max(1, round(term.interval_ms / hour_ms)),
            "disclaimer": False,
        }
        for term in asked.exchange.machine.terms.values()
    ]


def _klines(asked: Asked, of_mark: bool) -> Any:
    since_ms, until_ms, limit = asked.span()
    candles = asked.exchange.candles(asked.only().symbol, of_mark)
    return candles.rows(asked.parameters.text("interval"), since_ms, until_ms, limit)


def _ticker_price(asked: Asked) -> Any:
    quotes = asked.exchange.machine.quotes
    rows = [
        {
            "symbol": id_of(each.symbol),
            "price": text(quotes[each.symbol].last),
            "time": asked.now_ms,
        }
        for each in asked.instruments()
    ]
    return asked.answer_one_or_all(rows)


def _ticker_day(asked: Asked) -> Any:
    quotes = asked.exchange.machine.quotes
    rows = []
    for instrument in asked.instruments():
        symbol = instrument.symbol
        minutes = asked.exchange.candles(symbol, of_mark=False).day(asked.now_ms)
        last = quotes[symbol].last
        opened = minutes[0].open
        rows.append(
            {
                "symbol": id_of(symbol),
                "priceChange": text(last - opened),
                "priceChangePercent": f"{(last / opened - 1) * 100:.3f}",
                "weightedAvgPrice": text(last),
                "lastPrice": text(last),
                "lastQty": "0",
                "openPrice": text(opened),
                "highPrice": text(max(each.high for each in minutes)),
                "lowPrice": text(min(each.low for each in minutes)),
                "volume": "0",
                "quoteVolume": "0",
                "openTime": minutes[0].open_ms,
                "closeTime": asked.now_ms,
                "firstId": 0,
                "lastId": 0,
                "count": 0,
            }
        )
    return asked.answer_one_or_all(rows)


# -- private -------------------------------------------------------------------------------


def _brackets(asked: Asked, _: Desk) -> Any:
    return [leverage_bracket(each) for each in asked.instruments()]


def _position_risk(asked: Asked, desk: Desk) -> Any:
    wanted = {each.symbol for each in asked.instruments()}
    views = [each for each in desk.view().positions if each.position.symbol in wanted]
    return [each.risk_row(asked.now_ms) for each in views]


def _position_risk_v2(asked: Asked, desk: Desk) -> Any:
    wanted = {each.symbol for each in asked.instruments()}
    views = [each for each in desk.view().positions if each.position.symbol in wanted]
    return [each.risk_row_v2(asked.now_ms) for each in views]


def _symbol_config(asked: Asked, desk: Desk) -> Any:
    return symbol_rows(asked.instruments(), desk.terms, desk.view().snapshot)


def _account_config(_: Asked, desk: Desk) -> Any:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": False,
        "dualSidePosition": False,
        "updateTime": 0,
        "multiAssetsMargin": desk.terms.multi_assets,
        "tradeGroupId": -1,
    }


def _orders(asked: Asked, desk: Desk) -> Any:
    since_ms, until_ms, limit = asked.span()
    symbol, first = asked.only().symbol, asked.parameters.integer_or("orderId", 0)
    rows = [
        each.shown()
        for each in desk.orders.values()
        if each.symbol == symbol
        and since_ms <= each.created_ms <= until_ms
        and each.order_id >= first
    ]
    return rows[-limit:]


def _algos(asked: Asked, desk: Desk) -> Any:
    since_ms, until_ms, limit = asked.span()
    symbol = asked.only().symbol
    rows = [
        each.shown()
        for each in desk.algos.values()
        if each.symbol == symbol and since_ms <= each.created_ms <= until_ms
    ]
    return rows[-limit:]


def _open_orders(asked: Asked, desk: Desk) -> Any:
    wanted = {each.symbol for each in asked.instruments()}
    return [each.shown() for each in desk.open_orders() if each.symbol in wanted]


def _open_algos(asked: Asked, desk: Desk) -> Any:
    wanted = {each.symbol for each in asked.instruments()}
    return [each.shown() for each in desk.open_algos() if each.symbol in wanted]


def _open_order(asked: Asked, desk: Desk) -> Any:
    order = desk.find(asked.parameters, Refusal(-2013))
    if not order.status.is_open:
        raise Refusal(-2013)
    return order.shown()


def _cancel_algo(asked: Asked, desk: Desk) -> Any:
    algo = desk.cancel_algo(desk.find_algo(asked.parameters, Refusal(-2011)))
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "code": "200",
        "msg": "success",
    }


def _cancel_all(asked: Asked, desk: Desk) -> Any:
    desk.cancel_all(asked.only().symbol)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def _cancel_all_algos(asked: Asked, desk: Desk) -> Any:
    desk.cancel_all_algos(asked.only().symbol)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def _trades(asked: Asked, desk: Desk) -> Any:
    since_ms, until_ms, limit = asked.span()
    symbol = asked.only().symbol
    rows = [
        each.shown()
        for each in desk.trades
        if each.symbol == symbol and since_ms <= each.at_ms <= until_ms
    ]
    return rows[-limit:]


def _income(asked: Asked, desk: Desk) -> Any:
    since_ms, until_ms, limit = asked.span()
    parameters = asked.parameters
    wanted = asked.only().symbol if parameters.has("symbol") else None
    kind = parameters.text("incomeType") if parameters.has("incomeType") else None
    rows = [
        each.shown()
        for each in desk.incomes
        if wanted in (None, each.symbol)
        and kind in (None, each.kind)
        and since_ms <= each.at_ms <= until_ms
    ]
    return rows[-limit:]


def _margin_history(asked: Asked, desk: Desk) -> Any:
    since_ms, until_ms, limit = asked.span()
    symbol = asked.only().symbol
    rows = [
        {
            "symbol": id_of(symbol),
            "type": 1,
            "deltaType": "USER_ADJUST",
            "amount": text(each.amount),
            "asset": "USDT",
            "time": each.at_ms,
            "positionSide": "BOTH",
        }
        for each in desk.margin_changes(symbol, since_ms)
        if each.at_ms <= until_ms
    ]
    return rows[-limit:]


def _force_orders(asked: Asked, desk: Desk) -> Any:
    since_ms, until_ms, limit = asked.span()
    rows = [
        each.shown()
        for each in desk.orders.values()
        if each.client_id.startswith("autoclose-") and since_ms <= each.created_ms <= until_ms
    ]
    return rows[-limit:]


def _move_margin(asked: Asked, desk: Desk) -> Any:
    moved = desk.move_margin(asked.parameters)
    desk.announce("MARGIN_TRANSFER")
    return moved


def _commission(asked: Asked, _: Desk) -> Any:
    instrument = asked.only()
    fee = text(instrument.taker_fee)
    named = id_of(instrument.symbol)
    return {"symbol": named, "makerCommissionRate": fee, "takerCommissionRate": fee}


def _restrictions(asked: Asked, _: Desk) -> Any:
    return {
        "ipRestrict": False,
        "createTime": asked.now_ms,
        "enableReading": True,
        "enableFutures": True,
        "enableWithdrawals": False,
        "enableInternalTransfer": False,
        "permitsUniversalTransfer": False,
        "enableSpotAndMarginTrading": False,
        "enableMargin": False,
        "enableVanillaOptions": False,
    }


def _listen(asked: Asked, desk: Desk) -> Any:
    return {"listenKey": asked.exchange.listen_key(desk.name, asked.now_ms)}


def _keep_listening(asked: Asked, desk: Desk) -> Any:
    asked.exchange.keep_alive(desk.name, asked.now_ms)
    return {"listenKey": asked.exchange.listen_key(desk.name, asked.now_ms)}


def _stop_listening(asked: Asked, desk: Desk) -> Any:
    asked.exchange.expire_listen_keys(desk.name)
    return {}


def _signed(weight: int, handle: Handler) -> Private:
    return Private(weight, Security.SIGNED, handle)


def _order(handle: Handler) -> Private:
    return Private(1, Security.ORDER, handle)


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "/fapi/v1/ping"): Public(1, lambda _: {}),
    ("GET", "/fapi/v1/time"): Public(1, lambda asked: {"serverTime": asked.now_ms}),
    ("GET", "/fapi/v1/exchangeInfo"): Public(1, _exchange_info),
    ("GET", "/fapi/v1/premiumIndex"): Public(1, _premium),
    ("GET", "/fapi/v1/fundingRate"): Public(1, _funding_rates),
    ("GET", "/fapi/v1/fundingInfo"): Public(1, _funding_info),
    ("GET", "/fapi/v1/klines"): Public(5, lambda asked: _klines(asked, of_mark=False)),
    ("GET", "/fapi/v1/markPriceKlines"): Public(5, lambda asked: _klines(asked, of_mark=True)),
    ("GET", "/fapi/v1/ticker/price"): Public(1, _ticker_price),
    ("GET", "/fapi/v2/ticker/price"): Public(1, _ticker_price),
    ("GET", "/fapi/v1/ticker/24hr"): Public(1, _ticker_day),
    ("GET", "/fapi/v1/leverageBracket"): _signed(1, _brackets),
    ("GET", "/fapi/v2/positionRisk"): _signed(5, _position_risk_v2),
    ("GET", "/fapi/v3/positionRisk"): _signed(5, _position_risk),
    ("GET", "/fapi/v3/account"): _signed(5, lambda asked, desk: desk.view().account(asked.now_ms)),
    ("GET", "/fapi/v2/account"): _signed(5, lambda asked, desk: desk.view().account(asked.now_ms)),
    ("GET", "/fapi/v3/balance"): _signed(
        5, lambda asked, desk: desk.view().balance(desk.name, asked.now_ms)
    ),
    ("GET", "/fapi/v2/balance"): _signed(
        5, lambda asked, desk: desk.view().balance(desk.name, asked.now_ms)
    ),
    ("GET", "/fapi/v1/accountConfig"): _signed(5, _account_config),
    ("GET", "/fapi/v1/symbolConfig"): _signed(5, _symbol_config),
    ("GET", "/fapi/v1/commissionRate"): _signed(20, _commission),
    ("POST", "/fapi/v1/order"): _order(lambda asked, desk: desk.place(asked.parameters).shown()),
    ("GET", "/fapi/v1/order"): _signed(
        1, lambda asked, desk: desk.find(asked.parameters, Refusal(-2013)).shown()
    ),
    ("DELETE", "/fapi/v1/order"): _signed(
        1, lambda asked, desk: desk.cancel(desk.find(asked.parameters, Refusal(-2011))).shown()
    ),
    ("GET", "/fapi/v1/openOrder"): _signed(1, _open_order),
    ("GET", "/fapi/v1/openOrders"): _signed(1, _open_orders),
    ("GET", "/fapi/v1/allOrders"): _signed(5, _orders),
    ("DELETE", "/fapi/v1/allOpenOrders"): _signed(1, _cancel_all),
    ("POST", "/fapi/v1/algoOrder"): _order(
        lambda asked, desk: desk.place_algo(asked.parameters).shown()
    ),
    ("GET", "/fapi/v1/algoOrder"): _signed(
        1, lambda asked, desk: desk.find_algo(asked.parameters, Refusal(-2013)).shown()
    ),
    ("DELETE", "/fapi/v1/algoOrder"): _signed(1, _cancel_algo),
    ("GET", "/fapi/v1/openAlgoOrders"): _signed(1, _open_algos),
    ("GET", "/fapi/v1/allAlgoOrders"): _signed(5, _algos),
    ("DELETE", "/fapi/v1/algoOpenOrders"): _signed(1, _cancel_all_algos),
    ("GET", "/fapi/v1/userTrades"): _signed(5, _trades),
    ("GET", "/fapi/v1/income"): _signed(30, _income),
    ("GET", "/fapi/v1/forceOrders"): _signed(20, _force_orders),
    ("POST", "/fapi/v1/positionMargin"): _signed(1, _move_margin),
    ("GET", "/fapi/v1/positionMargin/history"): _signed(1, _margin_history),
    ("POST", "/fapi/v1/leverage"): _signed(
        1, lambda asked, desk: desk.set_leverage(asked.parameters)
    ),
    ("POST", "/fapi/v1/marginType"): _signed(
        1, lambda asked, desk: desk.set_margin_type(asked.parameters)
    ),
    ("GET", "/fapi/v1/positionSide/dual"): _signed(30, lambda *_: {"dualSidePosition": False}),
    ("POST", "/fapi/v1/positionSide/dual"): _signed(
        1, lambda asked, desk: desk.set_dual(asked.parameters)
    ),
    ("GET", "/fapi/v1/multiAssetsMargin"): _signed(
        30, lambda _, desk: {"multiAssetsMargin": desk.terms.multi_assets}
    ),
    ("POST", "/fapi/v1/multiAssetsMargin"): _signed(
        1, lambda asked, desk: desk.set_multi_assets(asked.parameters)
    ),
    ("POST", "/fapi/v1/listenKey"): Private(1, Security.KEY, _listen),
    ("PUT", "/fapi/v1/listenKey"): Private(1, Security.KEY, _keep_listening),
    ("DELETE", "/fapi/v1/listenKey"): Private(1, Security.KEY, _stop_listening),
    ("GET", "/sapi/v1/account/apiRestrictions"): _signed(1, _restrictions),
    ("GET", "/sapi/v1/capital/config/getall"): _signed(10, lambda *_: []),
    ("GET", "/sapi/v1/margin/allPairs"): Private(1, Security.KEY, lambda *_: []),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): _signed(10, lambda *_: []),
}
