"""
What is sent to Bitget to change something, and what an answer to it proves.

Recipes: `documented` (API v2), and compared with what ccxt 4.5.90 puts on the wire. In hedge mode
the `side` of an order is that of the position: buy closes a long. In the order of `OrderDialect`.
"""

from collections.abc import Sequence
from typing import assert_never

from bot.core.actions import (
    Action,
    AddMargin,
    AtMarket,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.model import NO_FILL, Fill, Filled, PositionMode, Side
from bot.core.units import ZERO, Price, Quantity
from bot.exchange.live.calls import Call, Heard, Json, Unreadable, parse_json
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.live.reading import Row, answer_of, readable, rests, rows
from bot.exchange.ports import Accepted, OrderAbsent, OrderFound, Refused, Reply, Unsure, not_sent
from bot.exchange.venues.bitget_account import (
    ACCOUNT,
    ORDER,
    WITH_COIN,
    entrusted_in,
    held_in,
    plans_call,
    side_of,
    waiting_in,
)
from bot.exchange.venues.bitget_market import OF_USDT, PRIVATE, SUCCESS, data_of, number_or_none
from bot.exchange.venues.bitget_refusals import NOT_FOUND, REFUSED

request_life_ms = 30_000
"""A request's date is good for 30 s: `documented`."""
_HTTP_OK = 200
_WAITS = frozenset({"live", "partially_filled"})
_OVER = frozenset({"filled", "canceled"})
_STOP_OVER = frozenset({"cancelled", "fail_execute"})


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: a position's margin mode is in what was read last."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action."""
    name = listed.id_of(action.symbol)
    of: dict[str, Json] = WITH_COIN | {"symbol": name}
    match action:
        case AddMargin(amount=amount):
            sent = of | {"holdSide": str(action.side), "amount": f"{amount:f}"}
            return Call(PRIVATE, "POST", f"{ACCOUNT}/set-margin", sent)
        case CancelStop(target_client_id=target):
            # Without the list every stop of the contract would go.
            sent = of | {"planType": "loss_plan", "orderIdList": [{"clientOid": target}]}
            return Call(PRIVATE, "POST", f"{ORDER}/cancel-plan-order", sent)
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            sent = of | {
                "planType": "loss_plan",
                "triggerPrice": f"{trigger:f}",
                "triggerType": "mark_price",
                "executePrice": "0",
                "holdSide": _held_as(action.side, ground.position_mode),
                "size": f"{quantity:f}",
                "clientOid": client_id,
            }
            return Call(PRIVATE, "POST", f"{ORDER}/place-tpsl-order", sent)
        case ClosePosition():
            return _close(action, client_id, of, ground)
    assert_never(action)


def _held_as(side: Side, mode: PositionMode) -> str:
    """How a plan names its position: `documented`, otherwise in each mode."""
    match mode:
        case PositionMode.ONE_WAY:
            return "buy" if side is Side.LONG else "sell"
        case PositionMode.HEDGE:
            return str(side)
    assert_never(mode)


def _close(
    action: ClosePosition, client_id: str, of: dict[str, Json], ground: Ground
) -> Call | Refused:

    def mode_of(row: Row) -> list[str]:
        is_it = (row.text("symbol"), side_of(row)) == (of["symbol"], action.side)
        return [row.text("marginMode")] if is_it and row.number("total") != ZERO else []

    margin_modes = readable(held_in(ground.state[1]), "positions", mode_of)
    if len(margin_modes) != 1:
        return not_sent(f"expected a position in {of['symbol']}, was none")
    is_long = action.side is Side.LONG
    how: dict[str, Json]
    match ground.position_mode:
        case PositionMode.ONE_WAY:
            how = {"side": "sell" if is_long else "buy", "reduceOnly": "YES"}
        case PositionMode.HEDGE:
            how = {"side": "buy" if is_long else "sell", "tradeSide": "close"}
    sent = of | {"marginMode": margin_modes[0], "size": f"{action.quantity:f}"}
    sent |= how | _bound(action.bound) | {"clientOid": client_id}
    return Call(PRIVATE, "POST", f"{ORDER}/place-order", sent)


def _bound(bound: AtMarket | NoWorseThan) -> dict[str, str]:
    match bound:
        case AtMarket():
            return {"orderType": "market"}
        case NoWorseThan(price):
            return {"orderType": "limit", "force": "ioc", "price": f"{price:f}"}
    assert_never(bound)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    An order and a stop are proven by our id in their answer, a cancel by the id of its target;
    margin by the whole of the venue's envelope of success.
    """
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if (code := row.text("code")) != SUCCESS:
            return Refused(code, heard.text[:120]) if code in REFUSED else Unsure(heard.text[:120])
        if heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status} with the code of success")
        match action:
            case AddMargin():
                row.raw("data")
                row.raw("requestTime")
                is_it = row.text("msg") == "success"
            case PlaceStop() | ClosePosition():
                is_it = Row(row.raw("data"), f"{row.where}.data").raw("clientOid") == client_id
            case CancelStop(target_client_id=target):
                done = rows(Row(row.raw("data"), row.where).raw("successList"), row.where)
                is_it = [each.raw("clientOid") for each in done] == [target]
            case _:
                assert_never(action)
    except Unreadable as e:
        return Unsure(str(e))
    return Accepted() if is_it else Unsure("the answer is about something else")


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order by our id, and the plans that wait or are over."""
    of = {"symbol": name, "clientOid": client_id}
    return (
        Call(PRIVATE, "GET", f"{ORDER}/detail", OF_USDT | of),
        plans_call("pending", {"symbol": name}),
        plans_call("history", of),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. The venue may answer that there is no order with another status."""
    detail, waiting, over = answers
    order = parse_json(detail.text)
    plans, ended = (answer_of(each, "plans") for each in (waiting, over))
    if Row(order, "order").text("code") != NOT_FOUND:
        found = data_of(answer_of(detail, "order"), "order")
        return _order_found(Row(found, "order"), client_id, name)
    for row in rows(waiting_in(plans), "plans"):
        if _is_ours(row, client_id):
            return OrderFound(client_id, resting=True, filled=NO_FILL)
    for row in rows(entrusted_in(ended), "plans"):
        if _is_ours(row, client_id):
            return _stop_found(row, client_id)
    return OrderAbsent()


def _is_ours(row: Row, client_id: str) -> bool:
    return row.has("clientOid") and row.raw("clientOid") == client_id


def _order_found(row: Row, client_id: str, name: str) -> OrderFound:
    if (row.raw("symbol"), row.raw("clientOid")) != (name, client_id):
        raise row.wrong("clientOid", client_id)
    filled: Filled = NO_FILL
    if (quantity := number_or_none(row, "baseVolume")) is not None:
        filled = Fill(Quantity(quantity), Price(row.above_zero("priceAvg")))
    return OrderFound(client_id, resting=rests(row, "state", _WAITS, _OVER), filled=filled)


def _stop_found(row: Row, client_id: str) -> OrderFound:
    """
    A stop that is over.

    The price of its fills is in no answer that names it: it is told at its trigger. What is asked
    of it is only whether it has filled; what came of that, the position tells.
    """
    status = row.text("planStatus")
    if status == "executed":
        quantity = number_or_none(row, "baseVolume") or row.above_zero("size")
        at = Fill(Quantity(quantity), Price(row.above_zero("triggerPrice")))
        return OrderFound(client_id, resting=False, filled=at)
    if status not in _STOP_OVER:
        raise row.wrong("planStatus", "a status that is known")
    return OrderFound(client_id, resting=False, filled=NO_FILL)
