"""
What is sent to KuCoin to change something, and what an answer to it proves.

Recipes: `documented` (the venue's specification of 2025-11 and its pages), and compared with what
ccxt 4.5.90 puts on the wire. Orders and stops are of one path and name the margin mode of their
position: the venue takes isolated unless told. In the order of `OrderDialect`.
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
from bot.core.model import NO_FILL, PositionMode, Side
from bot.core.units import ZERO
from bot.exchange.live.calls import Call, Heard, Json, Unreadable, parse_json
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.live.reading import Row, answer_of, filled_in, readable, rests, rows
from bot.exchange.ports import Accepted, OrderAbsent, OrderFound, Refused, Reply, Unsure, not_sent
from bot.exchange.venues.kucoin_account import (
    MARGIN_MODES,
    PRIVATE,
    closing,
    held_in,
    side_of,
    stops_call,
    waiting_in,
)
from bot.exchange.venues.kucoin_market import data_of
from bot.exchange.venues.kucoin_refusals import NOT_FOUND, REFUSED

request_life_ms = 5_000
"""A request's date is good for 5 s: `documented`."""
_HTTP_OK = 200
_SUCCESS = "200000"
_LEVERAGE = 1


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: a position's margin mode is in what was read last."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action."""
    name = listed.id_of(action.symbol)
    match action:
        case AddMargin(amount=amount):
            sent = {"symbol": name, "margin": f"{amount:f}", "bizNo": client_id}
            sent |= _of_side(action.side, ground.position_mode)
            return Call(PRIVATE, "POST", "position/margin/deposit-margin", sent)
        case CancelStop(target_client_id=target):
            named = {"clientOid": target, "symbol": name}
            return Call(PRIVATE, "DELETE", "orders/client-order/{clientOid}", named)
        case PlaceStop(trigger_price=trigger):
            how: dict[str, Json] = {
                "type": "market",
                "stop": "down" if action.side is Side.LONG else "up",
                "stopPriceType": "MP",
                "stopPrice": f"{trigger:f}",
            }
            return _order(action, client_id, listed, ground, how)
        case ClosePosition(bound=bound):
            return _order(action, client_id, listed, ground, _bound(bound))
    assert_never(action)


def _of_side(side: Side, mode: PositionMode) -> dict[str, str]:
    match mode:
        case PositionMode.ONE_WAY:
            return {}
        case PositionMode.HEDGE:
            return {"positionSide": side.upper()}
    assert_never(mode)


def _order(
    action: PlaceStop | ClosePosition,
    client_id: str,
    listed: Listed,
    ground: Ground,
    how: dict[str, Json],
) -> Call | Refused:
    """
    An order that only reduces. Its leverage says nothing: decision 34.

    Without the position, or with a part of a lot, nothing is sent: a margin mode that was guessed
    is refused by the venue, and a size that was rounded is not the one that was decided on.
    """
    name, side = listed.id_of(action.symbol), action.side

    def mode_of(row: Row) -> list[str]:
        is_it = row.text("symbol") == name and row.number("currentQty") != ZERO
        word = row.text("marginMode")
        return [word] if is_it and word in MARGIN_MODES and side_of(row) is side else []

    margin_modes = readable(held_in(ground.state[1]), "positions", mode_of)
    if len(margin_modes) != 1:
        return not_sent(f"expected a {side} position in {name}, was none")
    lots = action.quantity / listed.sizes[name]
    if lots != lots.to_integral_value():
        return not_sent(f"expected whole lots of {name}, was {lots}")
    sent: dict[str, Json] = {
        "clientOid": client_id,
        "symbol": name,
        "side": closing(side),
        "size": int(lots),
        "reduceOnly": True,
        "marginMode": margin_modes[0],
        "leverage": _LEVERAGE,
    }
    sent |= how | _of_side(side, ground.position_mode)
    return Call(PRIVATE, "POST", "orders", sent)


def _bound(bound: AtMarket | NoWorseThan) -> dict[str, Json]:
    match bound:
        case AtMarket():
            return {"type": "market"}
        case NoWorseThan(price):
            return {"type": "limit", "timeInForce": "IOC", "price": f"{price:f}"}
    assert_never(bound)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    An order and a stop are proven by our id, a cancel by that of its target, margin by the
    position that the answer shows: "success" without one is how the venue says that there is none.
    """
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if (code := row.text("code")) != _SUCCESS:
            return Refused(code, heard.text[:120]) if code in REFUSED else Unsure(heard.text[:120])
        if heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status} with the code of success")
        data = Row(row.raw("data"), f"{row.where}.data")
        match action:
            case AddMargin():
                name = listed.id_of(action.symbol)
                is_isolated = not data.flag("crossMode")
                is_it = is_isolated and (data.text("symbol"), side_of(data)) == (name, action.side)
            case PlaceStop() | ClosePosition():
                data.text("orderId")
                is_it = data.raw("clientOid") == client_id
            case CancelStop(target_client_id=target):
                is_it = data.raw("clientOid") == target
            case _:
                assert_never(action)
    except Unreadable as e:
        return Unsure(str(e))
    return Accepted() if is_it else Unsure("the answer is about something else")


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order or a stop by our id, and the stops that wait."""
    by_id = Call(PRIVATE, "GET", "orders/byClientOid", {"clientOid": client_id}, weight=5)
    return (by_id, stops_call(name))


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. That there is none is told by a code, whatever the status."""
    order, waiting = answers
    stops = answer_of(waiting, "stopOrders")
    row = Row(parse_json(order.text), "order")
    if not (row.has("msg") and (row.raw("code"), row.raw("msg")) == NOT_FOUND):
        found = Row(data_of(answer_of(order, "order"), "order"), "order")
        return _order_found(found, client_id, name, listed)
    for stop in rows(waiting_in(stops), "stopOrders"):
        if stop.has("clientOid") and stop.raw("clientOid") == client_id:
            return OrderFound(client_id, resting=True, filled=NO_FILL)
    return OrderAbsent()


def _order_found(row: Row, client_id: str, name: str, listed: Listed) -> OrderFound:
    if (row.raw("symbol"), row.raw("clientOid")) != (name, client_id):
        raise row.wrong("clientOid", client_id)
    resting = rests(row, "status", {"open"}, {"done"})
    filled = filled_in(row, "dealSize", "avgDealPrice", listed.sizes[name])
    return OrderFound(client_id, resting=resting, filled=filled)
