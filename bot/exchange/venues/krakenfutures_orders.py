"""
What is sent to Kraken's futures to change something, and what an answer to it proves.

Recipes: `documented` (v3), and compared with what ccxt 4.5.90 puts on the wire. Margin cannot be
added to a position. A good answer may hold a refusal: its `sendStatus` says what became of the
order. In the order of `OrderDialect`.
"""

from collections.abc import Iterator, Sequence
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
from bot.core.model import NO_FILL, Fill, Filled, Side
from bot.core.units import ZERO, Price, Quantity
from bot.exchange.live.calls import Call, Heard, Json, Unreadable, parse_json
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.live.reading import Row, answer_of, rows
from bot.exchange.ports import Accepted, OrderAbsent, OrderFound, Refused, Reply, Unsure, not_sent
from bot.exchange.venues.krakenfutures_account import ORDERS, client_id_of, given, waiting_in
from bot.exchange.venues.krakenfutures_market import named, told
from bot.exchange.venues.krakenfutures_refusals import ERRORS, STATUSES

request_life_ms = 3_000
"""Each is sent with the moment before which it has to be processed: `documented`."""

_HTTP_OK = 200
_ANSWERS = frozenset({200, 400, 401, 403, 429})
"""Of these the words are the venue's own, whatever its doors add."""
_ORDER_WEIGHT = 4
"""The venue counts 10: of its 500 in 10 s half is for reads, and 25 orders make the other."""
_TAKEN = frozenset({"placed", "partiallyFilled", "filled"})
_NOT_FILLED = "iocWouldNotExecute"
_WAITS = frozenset({"ENTERED_BOOK", "TRIGGER_PLACED"})
_FILLED = "FULLY_EXECUTED"
_OVER = frozenset({_FILLED, "CANCELLED", "REJECTED", "TRIGGER_ACTIVATION_FAILURE"})


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: stops are cancelled by our id."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action. Every order can only reduce."""
    name = listed.id_of(action.symbol)
    match action:
        case AddMargin():
            return not_sent("no margin can be added to a position: transfer or reduce")
        case CancelStop(target_client_id=target):
            return Call(
                "private", "POST", "cancelorder", {"cliOrdId": target}, weight=_ORDER_WEIGHT
            )
        case PlaceStop() | ClosePosition():
            sent = _kind(action) | {
                "symbol": name,
                "side": "sell" if action.side is Side.LONG else "buy",
                "size": f"{action.quantity / listed.sizes[name]:f}",
                "reduceOnly": "true",
                "cliOrdId": client_id,
            }
            return Call("private", "POST", "sendorder", sent, weight=_ORDER_WEIGHT)
    assert_never(action)


def _kind(action: PlaceStop | ClosePosition) -> dict[str, Json]:
    """A stop without a limit, at the mark price; at market the venue stays within 1 % of it."""
    match action:
        case PlaceStop(trigger_price=trigger):
            return {"orderType": "stp", "triggerSignal": "mark", "stopPrice": f"{trigger:f}"}
        case ClosePosition(bound=bound):
            pass
        case _:
            assert_never(action)
    match bound:
        case AtMarket():
            return {"orderType": "mkt"}
        case NoWorseThan(price):
            return {"orderType": "ioc", "limitPrice": f"{price:f}"}
    assert_never(bound)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """What an answer to a write proves. Whatever does not prove itself is Unsure."""
    try:
        answer = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if heard.status not in _ANSWERS:
            return Unsure(f"HTTP {heard.status}: {heard.text[:80]}")
        if answer.raw("result") == "error":
            error = answer.text("error")
            return Refused(error, ERRORS[error]) if error in ERRORS else Unsure(error)
        if answer.raw("result") != "success" or heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status}: {heard.text[:80]}")
        match action:
            case AddMargin():
                return Unsure("expected no answer to what cannot be sent")
            case CancelStop(target_client_id=target):
                return _cancelled(Row(answer.raw("cancelStatus"), "cancelStatus"), target)
            case PlaceStop() | ClosePosition():
                return _sent(Row(answer.raw("sendStatus"), "sendStatus"), action, client_id)
        assert_never(action)
    except Unreadable as e:
        return Unsure(str(e))


def _cancelled(row: Row, target: str) -> Reply:
    """
    That it is gone, or filled, does not say what became of the stop: it may have triggered.

    An answer without events names our id nowhere; what was asked for had no other order in it.
    """
    status = row.text("status")
    if status != "cancelled":
        return Unsure(status)
    row.text("order_id")
    named_ids = {each for each in map(client_id_of, _orders(row)) if each}
    if not named_ids <= {target}:
        return Unsure(f"expected an echo of {target}, was {sorted(named_ids)}")
    return Accepted()


def _sent(row: Row, action: PlaceStop | ClosePosition, client_id: str) -> Reply:
    status = row.text("status")
    ids = {each for each in (client_id_of(row), *map(client_id_of, _orders(row))) if each}
    if status == _NOT_FILLED and isinstance(action, ClosePosition) and ids == {client_id}:
        row.text("order_id")
        return Accepted()  # it was taken, found nobody within its bound, and has ended
    if status in STATUSES:
        return Refused(status, STATUSES[status])
    if status not in _TAKEN:
        return Unsure(status)
    row.text("order_id")
    if ids != {client_id}:
        return Unsure(f"expected an echo of {client_id}, was {sorted(ids)}")
    for event in _events(row):
        if event.raw("type") == "REJECT":
            return Unsure(f"{status}, and rejected: {given(event, 'reason')}")
        if isinstance(action, PlaceStop):
            _check_trigger(Row(event.raw("orderTrigger"), "orderTrigger"), action)
    return Accepted()


def _check_trigger(row: Row, action: PlaceStop) -> None:
    """That what rests is what was asked for; raises `Unreadable`."""
    if row.raw("triggerSignal") != "mark_price":
        raise row.wrong("triggerSignal", "mark_price")
    if row.number("triggerPrice") != action.trigger_price:
        raise row.wrong("triggerPrice", f"{action.trigger_price:f}")
    if row.raw("triggerSide") != f"trigger_{'below' if action.side is Side.LONG else 'above'}":
        raise row.wrong("triggerSide", "the side on which the position loses")
    if not row.flag("reduceOnly"):
        raise row.wrong("reduceOnly", "true")


def _events(row: Row) -> Iterator[Row]:
    if row.has("orderEvents"):
        yield from rows(row.raw("orderEvents"), f"{row.where}.orderEvents")


def _orders(row: Row) -> Iterator[Row]:
    """The orders that the events of an answer are about."""
    for event in _events(row):
        for name in ("order", "orderTrigger", "orderPriorExecution"):
            if given(event, name) is not None:
                yield Row(event.raw(name), f"{event.where}.{name}")


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """
    What waits, what ended within the last five seconds by our id, and the last hundred fills.

    An order that ended unfilled before that is told by none of them, as if it had never been:
    either way nothing waits and nothing was filled. The venue's histories would tell, but have so
    small an allowance of their own that a few intents in doubt would use it up.
    """
    status = Call("private", "POST", "orders/status", {"cliOrdIds": client_id})
    return (ORDERS, status, Call("private", "GET", "fills", {}, weight=2))


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say."""
    waiting, recent, fills = (answer_of(each, "order") for each in answers)
    filled = _filled(told(fills, "fills"), client_id, name, listed.sizes[name])
    for row in rows(waiting_in(waiting), "openOrders"):
        if client_id_of(row) == client_id:
            _check(row, "filledSize", name, filled, listed.sizes[name])
            return OrderFound(client_id, resting=True, filled=filled)
    for entry in rows(told(recent, "orders/status").raw("orders"), "orders"):
        row = Row(entry.raw("order"), f"{entry.where}.order")
        if client_id_of(row) == client_id:
            status = entry.text("status")
            if status not in _WAITS | _OVER:
                raise entry.wrong("status", "a status that is known")
            if status == _FILLED and filled == NO_FILL:
                raise entry.wrong("status", "one whose fills are told")
            _check(row, "filled", name, filled, listed.sizes[name])
            return OrderFound(client_id, resting=status in _WAITS, filled=filled)
    if filled != NO_FILL:
        return OrderFound(client_id, resting=False, filled=filled)
    return OrderAbsent()


def _check(row: Row, key: str, name: str, filled: Filled, size: Decimal) -> None:
    """That it is in its contract and all its fills are told: they may come a moment later."""
    if named(row) != name:
        raise row.wrong("symbol", name)
    seen = filled.quantity if isinstance(filled, Fill) else ZERO
    if given(row, key) is not None and row.number(key) * size != seen:
        raise row.wrong(key, f"{seen:f}, as the fills make")


def _filled(answer: Row, client_id: str, name: str, size: Decimal) -> Filled:
    quantity, value = ZERO, ZERO
    for row in rows(answer.raw("fills"), "fills"):
        if client_id_of(row) == client_id:
            if named(row) != name:
                raise row.wrong("symbol", name)
            quantity += row.above_zero("size")
            value += row.number("size") * row.above_zero("price")
    if quantity == ZERO:
        return NO_FILL
    return Fill(Quantity(quantity * size), Price(value / quantity))
