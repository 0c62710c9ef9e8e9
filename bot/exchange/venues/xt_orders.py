"""
What is sent to XT to change something, and what an answer to it proves.

Recipes: `documented`, and compared with what ccxt 4.5.90 puts on the wire. An order names the side
that it works on: a sale of the long side can only close. Plans are cancelled by the venue's
number. In the order of `OrderDialect`.
"""

from collections.abc import Sequence
from decimal import Decimal
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
from bot.core.model import NO_FILL
from bot.exchange.live.calls import Call, Heard, Unreadable, parse_json
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.live.reading import Row, answer_of, filled_in, rests
from bot.exchange.ports import Accepted, OrderAbsent, OrderFound, Refused, Reply, Unsure, not_sent
from bot.exchange.venues.xt_account import PAGE, TRADE, USER, closing, items_of, stops_call
from bot.exchange.venues.xt_market import PRIVATE, code_of
from bot.exchange.venues.xt_refusals import REFUSED

request_life_ms = 60_000
"""`assumed`: futures requests carry a date and no window, and how old one may be is not told."""
_HTTP_OK = 200

_WAITS = frozenset({"NEW", "PARTIALLY_FILLED"})
_OVER = frozenset({"FILLED", "CANCELED", "PARTIALLY_CANCELED", "REJECTED", "EXPIRED"})
_STOP_WAITS = frozenset({"NOT_TRIGGERED", "TRIGGERING"})
_STOP_OVER = frozenset({"USER_REVOCATION", "PLATFORM_REVOCATION", "EXPIRED"})


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """What waits in the contract, to find the venue's number of a stop."""
    match action:
        case CancelStop():
            return (stops_call(listed.id_of(action.symbol)),)
        case AddMargin() | PlaceStop() | ClosePosition():
            return ()
    assert_never(action)


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action. Every order names the side of the position that it closes."""
    name = listed.id_of(action.symbol)
    of = {"symbol": name, "positionSide": action.side.upper()}
    match action:
        case AddMargin(amount=amount):
            sent = of | {"margin": f"{amount:f}", "type": "ADD"}
            return Call(PRIVATE, "POST", f"{USER}/position/margin", sent)
        case CancelStop(target_client_id=target):
            return _cancel(name, target, ground)
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            sent = of | {
                "orderSide": closing(action.side),
                "entrustType": "STOP_MARKET",
                "origQty": _contracts(quantity, listed.sizes[name]),
                "stopPrice": f"{trigger:f}",
                "timeInForce": "IOC",
                "triggerPriceType": "MARK_PRICE",
                "clientOrderId": client_id,
            }
            return Call(PRIVATE, "POST", f"{TRADE}/entrust/create-plan", sent)
        case ClosePosition(quantity=quantity, bound=bound):
            sent = of | {
                "orderSide": closing(action.side),
                "origQty": _contracts(quantity, listed.sizes[name]),
                "clientOrderId": client_id,
                **_bound(bound),
            }
            return Call(PRIVATE, "POST", f"{TRADE}/order/create", sent)
    assert_never(action)


def _bound(bound: AtMarket | NoWorseThan) -> dict[str, str]:
    match bound:
        case AtMarket():
            return {"orderType": "MARKET"}
        case NoWorseThan(price):
            return {"orderType": "LIMIT", "timeInForce": "IOC", "price": f"{price:f}"}
    assert_never(bound)


def _contracts(quantity: Decimal, size: Decimal) -> str:
    number = quantity / size
    whole = number.to_integral_value()
    return f"{whole if number == whole else number:f}"


def _cancel(name: str, target: str, ground: Ground) -> Call | Refused:
    numbers = [
        row.identity("entrustId")
        for row in items_of(ground.answers[0], "plan-list")
        if row.has("clientOrderId") and row.raw("clientOrderId") == target
    ]
    if len(numbers) != 1:
        return not_sent(f"expected one stop {target} in {name}, was {len(numbers)}")
    sent = {"entrustId": numbers[0]}
    return Call(PRIVATE, "POST", f"{TRADE}/entrust/cancel-plan", sent)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    The venue echoes nothing. A new order is proven by its number; margin and a cancel by the
    whole of the venue's envelope of success, after which their effect is looked for.
    """
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if code := code_of(row):
            return Refused(code, heard.text[:120]) if code in REFUSED else Unsure(heard.text[:120])
        if heard.status != _HTTP_OK or row.integer("returnCode") != 0:
            return Unsure(f"HTTP {heard.status} without a code")
        match action:
            case PlaceStop() | ClosePosition():
                row.identity("result")
            case AddMargin() | CancelStop():
                row.raw("result")
                row.raw("msgInfo")
            case _:
                assert_never(action)
    except Unreadable as e:
        return Unsure(str(e))
    return Accepted()


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order by our id, the last hundred that ended, and plans that wait or ended."""
    of, last = {"symbol": name}, {"symbol": name, "limit": str(PAGE)}
    named = of | {"clientOrderId": client_id, "page": "1", "size": str(PAGE)}
    return (
        Call(PRIVATE, "GET", f"{TRADE}/order/list", named),
        Call(PRIVATE, "GET", f"{TRADE}/order/list-history", last),
        stops_call(name),
        Call(PRIVATE, "GET", f"{TRADE}/entrust/plan-list-history", last),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. A stop that triggered tells its fill by the order that it made."""
    wheres = ("order/list", "order/list-history", "plan-list", "plan-list-history")
    named, ended, waiting, over = (
        items_of(answer_of(each, where), where)
        for each, where in zip(answers, wheres, strict=True)
    )
    size = listed.sizes[name]
    for row in named:
        row.raw("clientOrderId")  # else a filter that the venue ignored would look like absence
    for row in named + ended:
        if _is_ours(row, client_id):
            return _order_found(row, client_id, name, size)
    for row in waiting:
        if _is_ours(row, client_id):
            return OrderFound(client_id, resting=True, filled=NO_FILL)
    for row in over:
        if _is_ours(row, client_id):
            return _stop_found(row, named + ended, client_id, name, size)
    return OrderAbsent()


def _is_ours(row: Row, client_id: str) -> bool:
    return row.has("clientOrderId") and row.raw("clientOrderId") == client_id


def _order_found(row: Row, client_id: str, name: str, size: Decimal) -> OrderFound:
    if row.raw("symbol") != name:
        raise row.wrong("symbol", name)
    return OrderFound(
        client_id,
        resting=rests(row, "state", _WAITS, _OVER),
        filled=filled_in(row, "executedQty", "avgPrice", size),
    )


def _stop_found(
    row: Row, made: Sequence[Row], client_id: str, name: str, size: Decimal
) -> OrderFound:
    state = row.text("state")
    if state in _STOP_WAITS:
        return OrderFound(client_id, resting=True, filled=NO_FILL)
    if state in _STOP_OVER:
        return OrderFound(client_id, resting=False, filled=NO_FILL)
    if state != "TRIGGERED":
        raise row.wrong("state", "a state that is known")
    number = row.identity("entrustId")
    for order in made:
        if order.has("sourceId") and str(order.raw("sourceId")) == number:
            return _order_found(order, client_id, name, size)
    raise row.wrong("entrustId", "the source of an order among the last that ended")
