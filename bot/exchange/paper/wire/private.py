"""What an account may ask: its orders, its positions, its money, its streams."""

from typing import Any

from bot.core.model import PositionMode
from bot.exchange.paper.wire.asked import Asked, Handler, Private, Route, Security
from bot.exchange.paper.wire.clerk import AUTOCLOSE
from bot.exchange.paper.wire.desk import Desk
from bot.exchange.paper.wire.listing import id_of, leverage_bracket, text
from bot.exchange.paper.wire.refusal import Refusal
from bot.exchange.paper.wire.views import symbol_rows


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
    return symbol_rows(asked.instruments(), asked.exchange.machine, desk.name)


def _account_config(_: Asked, desk: Desk) -> Any:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": False,
        "dualSidePosition": desk.mode is PositionMode.HEDGE,
        "updateTime": 0,
        "multiAssetsMargin": desk.counts_coins,
        "tradeGroupId": -1,
    }


def _orders(asked: Asked, desk: Desk) -> Any:
    since_ms, until_ms, limit = asked.span()
    symbol, first = asked.only().symbol, asked.parameters.integer_or("orderId", 0)
    rows = [
        each.shown()
        for each in desk.clerk.orders.values()
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
        for each in desk.clerk.algos.values()
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
        for each in desk.clerk.trades
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
        for each in desk.clerk.incomes
        if wanted in (None, each.symbol)
        and kind in (None, each.kind)
        and since_ms <= each.at_ms <= until_ms
    ]
    return rows[-limit:]


def _margin_history(asked: Asked, desk: Desk) -> Any:
    since_ms, until_ms, limit = asked.span()
    symbol = asked.only().symbol
    rows = [
        each.shown()
        for each in desk.clerk.margins
        if each.symbol == symbol and since_ms <= each.at_ms <= until_ms
    ]
    return rows[-limit:]


def _force_orders(asked: Asked, desk: Desk) -> Any:
    since_ms, until_ms, limit = asked.span()
    rows = [
        each.shown()
        for each in desk.clerk.orders.values()
        if each.client_id.startswith(AUTOCLOSE) and since_ms <= each.created_ms <= until_ms
    ]
    return rows[-limit:]


def _transfers(asked: Asked, desk: Desk) -> Any:
    since_ms, until_ms, limit = asked.span()
    kind = asked.parameters.text("type")
    rows = [
        each.shown()
        for each in desk.purse.moved
        if each.way.value == kind and since_ms <= each.at_ms <= until_ms
    ]
    return {"total": len(rows), "rows": rows[-limit:]}


def _leg_mode(_: Asked, desk: Desk) -> Any:
    return {"dualSidePosition": desk.mode is PositionMode.HEDGE}


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


PRIVATE: dict[Route, Private] = {
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
    ("POST", "/fapi/v1/positionMargin"): _signed(
        1, lambda asked, desk: desk.move_margin(asked.parameters)
    ),
    ("GET", "/fapi/v1/positionMargin/history"): _signed(1, _margin_history),
    ("POST", "/fapi/v1/leverage"): _signed(
        1, lambda asked, desk: desk.set_leverage(asked.parameters)
    ),
    ("POST", "/fapi/v1/marginType"): _signed(
        1, lambda asked, desk: desk.set_margin_type(asked.parameters)
    ),
    ("GET", "/fapi/v1/positionSide/dual"): _signed(30, _leg_mode),
    ("POST", "/fapi/v1/positionSide/dual"): _signed(
        1, lambda asked, desk: desk.set_dual(asked.parameters)
    ),
    ("GET", "/fapi/v1/multiAssetsMargin"): _signed(
        30, lambda _, desk: {"multiAssetsMargin": desk.counts_coins}
    ),
    ("POST", "/fapi/v1/multiAssetsMargin"): _signed(
        1, lambda asked, desk: desk.set_multi_assets(asked.parameters)
    ),
    ("POST", "/fapi/v1/listenKey"): Private(1, Security.KEY, _listen),
    ("PUT", "/fapi/v1/listenKey"): Private(1, Security.KEY, _keep_listening),
    ("DELETE", "/fapi/v1/listenKey"): Private(1, Security.KEY, _stop_listening),
    ("POST", "/sapi/v1/asset/transfer"): _signed(
        1, lambda asked, desk: desk.transfer(asked.parameters)
    ),
    ("GET", "/sapi/v1/asset/transfer"): _signed(1, _transfers),
    ("GET", "/sapi/v1/account/apiRestrictions"): _signed(1, _restrictions),
    ("GET", "/sapi/v1/capital/config/getall"): _signed(10, lambda *_: []),
    ("GET", "/sapi/v1/margin/allPairs"): Private(1, Security.KEY, lambda *_: []),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): _signed(10, lambda *_: []),
}
