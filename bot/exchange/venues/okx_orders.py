"""
What is sent to OKX (v5) to change something, and what an answer to it proves.

Recipes: `documented`, and compared with what ccxt 4.5.90 puts on the wire. Every order names the
margin mode of its position, which the last read told. What a stop has sent when it triggered is
found by the stop's number. An answer with HTTP 200 and code 0 may hold a refusal in its row. In
the order of `OrderDialect`.
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
from bot.core.model import NO_FILL, PositionMode, Side
from bot.exchange.live.calls import Call, Heard, Json, Unreadable, parse_json
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.live.reading import Row, answer_of, filled_in, rests, rows
from bot.exchange.ports import Accepted, OrderAbsent, OrderFound, Refused, Reply, Unsure, not_sent
from bot.exchange.venues.okx_account import AT_MARKET, margin_mode_of, side_of, whole
from bot.exchange.venues.okx_market import PAGE, PRIVATE, SWAPS, row_of, rows_of, words_of
from bot.exchange.venues.okx_refusals import REFUSED

request_life_ms = 30_000
"""A request is good for half a minute after its date: `documented`. An order ends sooner by a
header of its own; stops, cancels and margin do not."""

GONE = frozenset({"51400", "51401", "51402", "51603"})
_NOT_THERE = "51603"
_HTTP_OK = 200
_REFUSES = frozenset({200, 400, 401})
"""Statuses that a refusal comes with; another, which a proxy may have made, proves nothing."""

_STOP_WAITS = frozenset({"live", "pause"})
_STOP_WENT = frozenset({"effective", "partially_effective", "partially_failed"})
_STOP_OVER = frozenset({"canceled", "order_failed"})
_WAITS = frozenset({"live", "partially_filled"})
_OVER = frozenset({"filled", "canceled", "mmp_canceled"})


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: the last read told the margin mode, and stops are cancelled by our own ids."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action. Every order can only reduce: by its flag, or by its leg."""
    name = listed.id_of(action.symbol)
    leg = _leg(action.side, ground.position_mode)
    match action:
        case AddMargin(amount=amount):
            sent = {"instId": name, "posSide": leg, "type": "add", "amt": f"{amount:f}"}
            return Call(PRIVATE, "POST", "account/position/margin-balance", sent)
        case CancelStop(target_client_id=target):
            sent = {"instId": name, "algoClOrdId": target}
            return Call(PRIVATE, "POST", "trade/cancel-algos", sent, is_batch=True)
        case PlaceStop(quantity=quantity) | ClosePosition(quantity=quantity):
            margin_mode = _held_in(ground, name, action.side)
            if margin_mode is None:
                return not_sent(f"no {action.side} position of {name} is known")
            order: dict[str, Json] = {
                "instId": name,
                "tdMode": margin_mode,
                "side": "sell" if action.side is Side.LONG else "buy",
                "sz": f"{quantity / listed.sizes[name]:f}",
                **_reducing(leg, ground.position_mode),
                "clOrdId": client_id,
            }
            return _order(action, client_id, order)
    assert_never(action)


def _order(action: PlaceStop | ClosePosition, client_id: str, order: dict[str, Json]) -> Call:
    match action:
        case PlaceStop(trigger_price=trigger):
            # The id's old name too: without it ccxt would make one up, and send that.
            sent = order | {
                "ordType": "conditional",
                "slTriggerPx": f"{trigger:f}",
                "slTriggerPxType": "mark",
                "slOrdPx": AT_MARKET,
                "algoClOrdId": client_id,
            }
            return Call(PRIVATE, "POST", "trade/order-algo", sent)
        case ClosePosition(bound=bound):
            return Call(PRIVATE, "POST", "trade/order", order | _bound(bound))
    assert_never(action)


def _bound(bound: AtMarket | NoWorseThan) -> dict[str, Json]:
    match bound:
        case AtMarket():
            return {"ordType": "market"}
        case NoWorseThan(price):
            return {"ordType": "ioc", "px": f"{price:f}"}
    assert_never(bound)


def _leg(side: Side, mode: PositionMode) -> str:
    return "net" if mode is PositionMode.ONE_WAY else str(side)


def _reducing(leg: str, mode: PositionMode) -> dict[str, Json]:
    """The flag is of net mode alone; an order against its leg can only reduce it."""
    match mode:
        case PositionMode.ONE_WAY:
            return {"reduceOnly": True}
        case PositionMode.HEDGE:
            return {"posSide": leg}
    assert_never(mode)


def _held_in(ground: Ground, name: str, side: Side) -> str | None:
    """The venue's word for how the position is backed that the last read told of."""
    for each in whole(ground.state[0], "positions"):
        if isinstance(each, dict) and each.get("instId") == name:
            row = Row(each, "positions")
            if row.raw("pos") not in ("", "0") and side_of(row) is side:
                return str(margin_mode_of(row))
    return None


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    Code 0 says that the answer has rows, code 1 too; what became of the order the row says.
    """
    try:
        json = parse_json(heard.text)
        answer = Row(json, f"HTTP {heard.status}")
        code = answer.text("code")
        if heard.status not in _REFUSES:
            return Unsure(f"HTTP {heard.status}: {code}")
        found = list(rows(answer.raw("data"), "data")) if answer.has("data") else []
        if code not in ("0", "1"):
            return _refusal(code, words_of(answer, "msg"), action)
        if len(found) != 1:
            return Unsure(f"{code}: expected one row, was {len(found)}")
        (row,) = found
        if row.has("sCode") and row.raw("sCode") != "0":
            return _refusal(row.text("sCode"), words_of(row, "sMsg"), action)
        if code != "0" or heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status}: {code} without a code of its own")
        return _proof(row, action, client_id, listed)
    except Unreadable as e:
        return Unsure(str(e))


def _refusal(code: str, text: str, action: Action) -> Reply:
    """
    What a code proves. That a stop to cancel is gone does not say what became of it: it may have
    been cancelled, or have triggered.
    """
    if code in REFUSED and not (isinstance(action, CancelStop) and code in GONE):
        return Refused(code, text)
    return Unsure(f"{code} {text}")


def _proof(row: Row, action: Action, client_id: str, listed: Listed) -> Reply:
    expected: tuple[object, ...]
    echoed: tuple[object, ...]
    match action:
        case AddMargin(side=side, amount=amount):
            legs = {_leg(side, mode) for mode in PositionMode}
            if row.text("posSide") not in legs:
                raise row.wrong("posSide", " or ".join(sorted(legs)))
            expected = (listed.id_of(action.symbol), "add", amount)
            echoed = (row.text("instId"), row.text("type"), row.number("amt"))
        case PlaceStop():
            row.identity("algoId")
            expected, echoed = (client_id, "0"), (row.raw("algoClOrdId"), row.raw("sCode"))
        case CancelStop(target_client_id=target):
            row.identity("algoId")
            named = row.raw("algoClOrdId") if row.has("algoClOrdId") else target
            expected, echoed = (target, "0"), (named, row.raw("sCode"))
        case ClosePosition():
            row.identity("ordId")
            expected, echoed = (client_id, "0"), (row.raw("clOrdId"), row.raw("sCode"))
        case _:
            assert_never(action)
    if echoed != expected:
        return Unsure(f"expected an echo of {expected}, was {echoed}")
    return Accepted()


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order by our id, an algo order by it, and the last hundred orders that ended."""
    ended = SWAPS | {"instId": name, "limit": str(PAGE)}
    return (
        Call(PRIVATE, "GET", "trade/order", {"instId": name, "clOrdId": client_id}),
        Call(PRIVATE, "GET", "trade/order-algo", {"algoClOrdId": client_id}),
        Call(PRIVATE, "GET", "trade/orders-history", ended),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. A stop that triggered tells its fill by the order that it made."""
    plain, algo, history = answers
    size = listed.sizes[name]
    for row in _found(algo, "algoClOrdId", client_id):
        return _stop_found(row, history, client_id, name, size)
    for row in _found(plain, "clOrdId", client_id):
        return _order_found(row, client_id, name, size)
    return OrderAbsent()


def _found(heard: Heard, key: str, client_id: str) -> list[Row]:
    """The order of an answer, or none where the venue says that it knows none."""
    answer = Row(parse_json(heard.text), f"HTTP {heard.status}")
    if answer.raw("code") == _NOT_THERE:
        return []
    row = row_of(answer_of(heard, "order"), "order")
    if row.raw(key) != client_id:
        raise row.wrong(key, client_id)
    return [row]


def _stop_found(row: Row, history: Heard, client_id: str, name: str, size: Decimal) -> OrderFound:
    _check_contract(row, name)
    state = row.text("state")
    if state in _STOP_WAITS:
        return OrderFound(client_id, resting=True, filled=NO_FILL)
    if state in _STOP_OVER:
        return OrderFound(client_id, resting=False, filled=NO_FILL)
    if state not in _STOP_WENT:
        raise row.wrong("state", "a state that is known")
    number = row.identity("algoId")
    for order in rows_of(answer_of(history, "orders-history"), "orders-history"):
        if order.raw("algoId") == number:
            return _order_found(order, client_id, name, size)
    raise row.wrong("algoId", "that of an order among the last that ended")


def _order_found(row: Row, client_id: str, name: str, size: Decimal) -> OrderFound:
    _check_contract(row, name)
    return OrderFound(
        client_id,
        resting=rests(row, "state", _WAITS, _OVER),
        filled=filled_in(row, "accFillSz", "avgPx", size),
    )


def _check_contract(row: Row, name: str) -> None:
    if row.raw("instId") != name:
        raise row.wrong("instId", name)
