"""
What is sent to Gate to change something, and what an answer to it proves.

Recipes: `documented` (API v4), and compared with what ccxt 4.5.90 puts on the wire. Conditional
orders answer with a number alone and are cancelled by it. In the order of `OrderDialect`.
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
from bot.core.model import NO_FILL, Fill, Filled, PositionMode, Side
from bot.core.units import ZERO, Price, Quantity
from bot.exchange.live.calls import Call, Heard, Json, Unreadable, parse_json
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.live.reading import Row, page, rests, rows
from bot.exchange.ports import Accepted, OrderAbsent, OrderFound, Refused, Reply, Unsure, not_sent
from bot.exchange.venues.gate_account import FALLS_TO, MARK, OURS, PAGE, RISES_TO, stops_call
from bot.exchange.venues.gate_market import OF_USDT, PRIVATE
from bot.exchange.venues.gate_refusals import REFUSED

request_life_ms = 60_000
"""A signature is good for a minute: `documented`. An order ends sooner by a header of its own; of
stops, cancels and margin that is not documented."""

NOT_THERE = frozenset({"ORDER_NOT_FOUND"})
GONE = NOT_THERE | {"ORDER_FINISHED"}
_TAKEN = frozenset({200, 201})


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
    """The recipe of an action. Every order can only reduce; a sign tells buys from sells."""
    name = listed.id_of(action.symbol)
    match action:
        case AddMargin(side=side, amount=amount):
            return _margin(name, side, amount, ground)
        case CancelStop(target_client_id=target):
            return _cancel(name, target, ground)
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            size = _size(quantity, action.side, listed.sizes[name])
            closes_long = action.side is Side.LONG
            sent = OF_USDT | {
                "initial": {
                    "contract": name,
                    **_sized(size, "amount"),
                    "price": "0",
                    "tif": "ioc",
                    "reduce_only": True,
                    "text": OURS + client_id,
                },
                "trigger": {
                    "strategy_type": 0,
                    "price_type": MARK,
                    "price": f"{trigger:f}",
                    "rule": FALLS_TO if closes_long else RISES_TO,
                },
            }
            return Call(PRIVATE, "POST", "{settle}/price_orders", sent)
        case ClosePosition(quantity=quantity, bound=bound):
            size = _size(quantity, action.side, listed.sizes[name])
            sent = OF_USDT | {
                "contract": name,
                **_sized(size, "size"),
                "price": _bound(bound),
                "tif": "ioc",
                "reduce_only": True,
                "text": OURS + client_id,
            }
            return Call(PRIVATE, "POST", "{settle}/orders", sent)
    assert_never(action)


def _bound(bound: AtMarket | NoWorseThan) -> str:
    match bound:
        case AtMarket():
            return "0"
        case NoWorseThan(price):
            return f"{price:f}"
    assert_never(bound)


def _size(quantity: Decimal, side: Side, contract: Decimal) -> Decimal:
    """Contracts: negative to close a long, positive to close a short."""
    return -side.sign * quantity / contract


def _sized(size: Decimal, decimal_name: str) -> dict[str, Json]:
    """Whole contracts are a number, parts of one a text under a name of its own."""
    if size == size.to_integral_value():
        return {"size": int(size)}
    return {decimal_name: f"{size:f}"}


def _margin(name: str, side: Side, amount: Decimal, ground: Ground) -> Call:
    sent = OF_USDT | {"contract": name, "change": f"{amount:f}"}
    match ground.position_mode:
        case PositionMode.ONE_WAY:
            return Call(PRIVATE, "POST", "{settle}/positions/{contract}/margin", sent)
        case PositionMode.HEDGE:
            path = "{settle}/dual_comp/positions/{contract}/margin"
            return Call(PRIVATE, "POST", path, sent | {"dual_side": f"dual_{side}"})
    assert_never(ground.position_mode)


def _cancel(name: str, target: str, ground: Ground) -> Call | Refused:
    numbers = [
        row.identity("id")
        for row in rows(page(ground.answers[0], "price_orders", PAGE), "price_orders")
        if Row(row.raw("initial"), f"{row.where}.initial").raw("text") == OURS + target
    ]
    if len(numbers) != 1:
        return not_sent(f"expected one stop {target} in {name}, was {len(numbers)}")
    of = OF_USDT | {"order_id": numbers[0]}
    return Call(PRIVATE, "DELETE", "{settle}/price_orders/{order_id}", of)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """What an answer to a write proves. Whatever does not prove itself is Unsure."""
    try:
        json = parse_json(heard.text)
        if isinstance(json, dict) and "label" in json:
            return _refusal(Row(json, f"HTTP {heard.status}"), action)
        if heard.status not in _TAKEN:
            return Unsure(f"HTTP {heard.status} without a label")
        return _proof(json, action, client_id, listed)
    except Unreadable as e:
        return Unsure(str(e))


def _refusal(row: Row, action: Action) -> Reply:
    """
    What a label proves. That a stop to cancel is gone does not say what became of it: it may have
    been cancelled, or have triggered.
    """
    label = row.text("label")
    text = "".join(str(row.raw(name)) for name in ("message", "detail") if row.has(name))
    if label in REFUSED and not (isinstance(action, CancelStop) and label in GONE):
        return Refused(label, text)
    return Unsure(f"{label} {text}")


def _proof(json: Json, action: Action, client_id: str, listed: Listed) -> Reply:
    name = listed.id_of(action.symbol)
    expected: tuple[object, ...]
    echoed: tuple[object, ...]
    match action:
        case AddMargin(side=side):
            return _margin_proof(json, name, side)
        case PlaceStop():
            # The answer is the order's number and nothing else.
            Row(json, "price_order").identity("id")
            return Accepted()
        case CancelStop(target_client_id=target):
            row = Row(json, "price_order")
            order = Row(row.raw("initial"), "price_order.initial")
            expected = (OURS + target, name)
            echoed = (order.text("text"), order.text("contract"))
            row.identity("id")
        case ClosePosition(quantity=quantity):
            row = Row(json, "order")
            size = _size(quantity, action.side, listed.sizes[name])
            expected = (OURS + client_id, name, size)
            echoed = (row.text("text"), row.text("contract"), row.number("size"))
            row.identity("id")
        case _:
            assert_never(action)
    if echoed != expected:
        return Unsure(f"expected an echo of {expected}, was {echoed}")
    return Accepted()


def _margin_proof(json: Json, name: str, side: Side) -> Reply:
    """The position as it is now; in hedge mode both legs. The amount is not echoed."""
    legs = list(rows(json, "positions")) if isinstance(json, list) else [Row(json, "position")]
    for leg in legs:
        if leg.text("contract") != name:
            raise leg.wrong("contract", name)
        if leg.number("size") * side.sign > ZERO and leg.number("margin") > ZERO:
            return Accepted()
    return Unsure(f"expected the {side} position of {name}, was {len(legs)} others")


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """
    An order by our id, the last hundred that ended, and conditional ones that wait or ended.

    The venue forgets our id of a plain order within minutes; the list remembers it.
    """
    of, ended = OF_USDT, OF_USDT | {"contract": name, "status": "finished"}
    return (
        Call(PRIVATE, "GET", "{settle}/orders/{order_id}", of | {"order_id": OURS + client_id}),
        Call(PRIVATE, "GET", "{settle}/orders", ended | {"limit": str(PAGE)}),
        stops_call(name),
        Call(PRIVATE, "GET", "{settle}/price_orders", ended | {"limit": str(PAGE)}),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. A stop that triggered tells its fill by the order that it made."""
    named, ended, waiting, over = answers
    made = _listed_rows(ended, "orders")
    size = listed.sizes[name]
    for row in _named(named) + made:
        if row.raw("text") == OURS + client_id:
            return _order_found(row, client_id, name, size)
    for row in _listed_rows(waiting, "price_orders"):
        if _is_ours(row, client_id):
            return OrderFound(client_id, resting=True, filled=NO_FILL)
    for row in _listed_rows(over, "price_orders"):
        if _is_ours(row, client_id):
            return _stop_found(row, made, client_id, name, size)
    return OrderAbsent()


def _named(heard: Heard) -> list[Row]:
    """The order of an answer, or none where the venue says that it knows none."""
    row = Row(parse_json(heard.text), f"HTTP {heard.status}")
    if row.has("label"):
        if row.raw("label") in NOT_THERE:
            return []
        raise row.wrong("label", "an order")
    if heard.status not in _TAKEN:
        raise Unreadable(f"order: expected HTTP 200, was {heard.status}")
    return [row]


def _listed_rows(heard: Heard, where: str) -> list[Row]:
    if heard.status not in _TAKEN:
        raise Unreadable(f"{where}: expected HTTP 200, was {heard.status}")
    return list(rows(parse_json(heard.text), where))


def _is_ours(row: Row, client_id: str) -> bool:
    order = Row(row.raw("initial"), f"{row.where}.initial")
    return order.has("text") and order.raw("text") == OURS + client_id


def _order_found(row: Row, client_id: str, name: str, size: Decimal) -> OrderFound:
    if row.raw("contract") != name:
        raise row.wrong("contract", name)
    resting = rests(row, "status", {"open"}, {"finished"})
    return OrderFound(client_id, resting=resting, filled=_filled(row, size))


def _stop_found(
    row: Row, made: Sequence[Row], client_id: str, name: str, size: Decimal
) -> OrderFound:
    if row.raw("finish_as") != "succeeded":
        return OrderFound(client_id, resting=False, filled=NO_FILL)
    number = row.identity("trade_id")
    for order in made:
        if order.identity("id") == number:
            return _order_found(order, client_id, name, size)
    raise row.wrong("trade_id", "an order among the last that ended")


def _filled(row: Row, size: Decimal) -> Filled:
    contracts = abs(row.number("size")) - abs(row.number("left"))
    if contracts <= ZERO:
        return NO_FILL
    return Fill(Quantity(contracts * size), Price(row.above_zero("fill_price")))
