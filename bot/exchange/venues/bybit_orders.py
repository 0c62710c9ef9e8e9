"""
What is sent to Bybit (v5) to change something, and what an answer to it proves.

Recipes: `documented`, and compared with what ccxt 4.5.90 puts on the wire. An answer to an order
is an acknowledgement: what became of it the books tell. In the order of `OrderDialect`.
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
from bot.core.model import PositionMode, Side
from bot.core.units import Quantity
from bot.exchange.live.calls import Call, Heard, Json, Unreadable, parse_json
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.live.reading import Row, answer_of, filled_in, rests
from bot.exchange.ports import Accepted, OrderAbsent, OrderFound, Refused, Reply, Unsure
from bot.exchange.venues.bybit_account import SIDES, direction_of, idx_of
from bot.exchange.venues.bybit_market import LINEAR, PRIVATE, rows_of, words_of
from bot.exchange.venues.bybit_refusals import REFUSED

request_life_ms = 5_000
"""The venue takes a request for recvWindow, ours is 3 s, after its date, and 1 s before it."""

GONE = frozenset({110001, 110008, 110010})

_HTTP_OK = 200
_WAITS = frozenset({"New", "PartiallyFilled", "Untriggered", "Triggered"})
_OVER = frozenset({"Filled", "Cancelled", "Rejected", "Deactivated", "PartiallyFilledCanceled"})


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: stops are cancelled by our own ids."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action. Every order can only reduce, in hedge mode too."""
    of = LINEAR | {"symbol": listed.id_of(action.symbol)}
    leg: dict[str, Json] = {"positionIdx": idx_of(action.side, ground.position_mode)}
    match action:
        case AddMargin(amount=amount):
            sent = of | leg | {"margin": f"{amount:f}"}
            return Call(PRIVATE, "POST", "v5/position/add-margin", sent)
        case CancelStop(target_client_id=target):
            return Call(PRIVATE, "POST", "v5/order/cancel", of | {"orderLinkId": target})
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            sent = _closing(action.side, quantity, client_id) | {
                "orderType": "Market",
                "triggerPrice": f"{trigger:f}",
                "triggerDirection": direction_of(action.side),
                "triggerBy": "MarkPrice",
            }
            return Call(PRIVATE, "POST", "v5/order/create", of | leg | sent)
        case ClosePosition(quantity=quantity, bound=bound):
            sent = _closing(action.side, quantity, client_id) | _bound(bound)
            return Call(PRIVATE, "POST", "v5/order/create", of | leg | sent)
    assert_never(action)


def _closing(side: Side, quantity: Quantity, client_id: str) -> dict[str, Json]:
    return {
        "side": "Sell" if side is Side.LONG else "Buy",
        "qty": f"{quantity:f}",
        "reduceOnly": True,
        "orderLinkId": client_id,
    }


def _bound(bound: AtMarket | NoWorseThan) -> dict[str, Json]:
    match bound:
        case AtMarket():
            return {"orderType": "Market"}
        case NoWorseThan(price):
            return {"orderType": "Limit", "price": f"{price:f}", "timeInForce": "IOC"}
    assert_never(bound)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """What an answer to a write proves. Whatever does not prove itself is Unsure."""
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status}")
        code = row.integer("retCode")
        if code != 0:
            return _refusal(code, words_of(row), action)
        return _proof(Row(row.raw("result"), "result"), action, client_id, listed)
    except Unreadable as e:
        return Unsure(str(e))


def _refusal(code: int, text: str, action: Action) -> Reply:
    """
    What a code proves. That a stop to cancel is gone does not say what became of it: it may have
    been cancelled, or have triggered.
    """
    if code in REFUSED and not (isinstance(action, CancelStop) and code in GONE):
        return Refused(str(code), text)
    return Unsure(f"{code} {text}")


def _proof(row: Row, action: Action, client_id: str, listed: Listed) -> Reply:
    match action:
        case AddMargin(side=side):
            return _margin_proof(row, listed.id_of(action.symbol), side)
        case CancelStop(target_client_id=target):
            named = target
        case PlaceStop() | ClosePosition():
            named = client_id
        case _:
            assert_never(action)
    row.text("orderId")
    if row.raw("orderLinkId") != named:
        return Unsure(f"expected an echo of {named}, was {row.raw('orderLinkId')}")
    return Accepted()


def _margin_proof(row: Row, name: str, side: Side) -> Reply:
    """The position as it is now. Neither its side in one-way mode nor the amount is echoed."""
    legs = {idx_of(side, mode) for mode in PositionMode}
    if row.text("symbol") != name or row.integer("positionIdx") not in legs:
        return Unsure(f"expected the {side} position of {name}, was another")
    if row.has("side") and SIDES.get(row.text("side")) is not side:
        return Unsure(f"expected the {side} position of {name}, was {row.raw('side')}")
    row.above_zero("size")
    return Accepted()


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """
    An order by our id among those that wait and the last 500 that ended, and in the history.

    A conditional order keeps its name when it has triggered.
    """
    asked = LINEAR | {"symbol": name, "orderLinkId": client_id}
    return (
        Call(PRIVATE, "GET", "v5/order/realtime", asked),
        Call(PRIVATE, "GET", "v5/order/history", asked),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say; the history may lag behind the other."""
    found = [_named(heard, client_id) for heard in answers]
    for row in (row for each in found for row in each):
        return _order_found(row, client_id, name)
    return OrderAbsent()


def _named(heard: Heard, client_id: str) -> list[Row]:
    listed = rows_of(answer_of(heard, "order"), "order")
    return [row for row in listed if row.raw("orderLinkId") == client_id]


def _order_found(row: Row, client_id: str, name: str) -> OrderFound:
    if row.raw("symbol") != name:
        raise row.wrong("symbol", name)
    return OrderFound(
        client_id,
        resting=rests(row, "orderStatus", _WAITS, _OVER),
        filled=filled_in(row, "cumExecQty", "avgPrice"),
    )
