"""
What is sent to Bitunix to change something, and what an answer to it proves.

Recipes: `documented`. A stop names its position by the venue's number of that, and so does, in
hedge mode, a close. In the order of `OrderDialect`.
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
from bot.exchange.venues.bitunix_account import PAGE, side_of, stops_call, waiting_in
from bot.exchange.venues.bitunix_market import API, COIN, PRIVATE, code_of, data_of, one_of
from bot.exchange.venues.bitunix_refusals import NOT_FOUND, REFUSED

request_life_ms = 60_000
"""`assumed`: requests carry a date, and how old one may be is not told."""
_HTTP_OK = 200
_TRADES_PAGES = 2

_WAITS = frozenset({"INIT", "NEW", "PART_FILLED"})
_OVER = frozenset({"FILLED", "CANCELED", "PART_FILLED_CANCELED", "EXPIRED"})
_STOP_OVER = frozenset({"CANCELED", "SYSTEM_CANCELED", "FAILED", "EXPIRED"})


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: a position's number is in what was read last, and the way out waits for none."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """
    The recipe of an action.

    In hedge mode an order names the position that it closes, and its `side` is the side of the
    position: BUY closes a long (`documented`, against all habit). In one-way mode a `reduceOnly`
    sale closes a long.
    """
    name = listed.id_of(action.symbol)
    match action:
        case AddMargin(amount=amount):
            sent = {
                "symbol": name,
                "marginCoin": COIN,
                "amount": f"{amount:f}",
                "side": action.side.upper(),
            }
            return Call(PRIVATE, "POST", f"{API}/account/adjust_position_margin", sent)
        case CancelStop(target_client_id=target):
            if not target.isdecimal():
                return not_sent(f"expected a stop whose number is known, was {target}")
            sent = {"symbol": name, "orderId": target}
            return Call(PRIVATE, "POST", f"{API}/tpsl/cancel_order", sent)
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            number = _number_of(ground, name, action.side)
            if not number:
                return not_sent(f"expected a position in {name}, was none")
            sent = {
                "symbol": name,
                "positionId": number,
                "slPrice": f"{trigger:f}",
                "slStopType": "MARK_PRICE",
                "slOrderType": "MARKET",
                "slQty": f"{quantity:f}",
            }
            return Call(PRIVATE, "POST", f"{API}/tpsl/place_order", sent)
        case ClosePosition():
            return _close(action, client_id, name, ground)
    assert_never(action)


def _close(action: ClosePosition, client_id: str, name: str, ground: Ground) -> Call | Refused:
    is_long = action.side is Side.LONG
    of: dict[str, Json]
    match ground.position_mode:
        case PositionMode.ONE_WAY:
            of = {"side": "SELL" if is_long else "BUY", "reduceOnly": True}
        case PositionMode.HEDGE:
            number = _number_of(ground, name, action.side)
            if not number:
                return not_sent(f"expected a position in {name}, was none")
            side = "BUY" if is_long else "SELL"
            of = {"side": side, "tradeSide": "CLOSE", "positionId": number}
    sent = {"symbol": name, "qty": f"{action.quantity:f}", "clientId": client_id} | of
    return Call(PRIVATE, "POST", f"{API}/trade/place_order", sent | _bound(action.bound))


def _bound(bound: AtMarket | NoWorseThan) -> dict[str, str]:
    match bound:
        case AtMarket():
            return {"orderType": "MARKET"}
        case NoWorseThan(price):
            return {"orderType": "LIMIT", "effect": "IOC", "price": f"{price:f}"}
    assert_never(bound)


def _number_of(ground: Ground, name: str, side: Side) -> str:
    """The venue's number of a position; "" where it was not there at the last read."""

    def number(row: Row) -> list[str]:
        is_it = row.text("symbol") == name and row.number("qty") != ZERO and side_of(row) is side
        return [row.identity("positionId")] if is_it else []

    found = readable(data_of(ground.state[1], "positions"), "positions", number)
    return found[0] if found else ""


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    An order is proven by our id in its answer, a stop by a number, a cancel by the number that
    was sent; margin by the whole of the venue's envelope of success.
    """
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if (code := code_of(row)) != "0":
            return Refused(code, heard.text[:120]) if code in REFUSED else Unsure(heard.text[:120])
        if heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status} with the code of success")
        return _proof(row, action, client_id)
    except Unreadable as e:
        return Unsure(str(e))


def _proof(row: Row, action: Action, client_id: str) -> Reply:
    match action:
        case AddMargin():
            row.raw("data")
            row.text("msg")
            return Accepted()
        case PlaceStop():
            return Accepted(_answered(row).identity("orderId"))
        case CancelStop(target_client_id=target):
            is_it = _answered(row).identity("orderId") == target
            return Accepted() if is_it else Unsure("the answer is about another stop")
        case ClosePosition():
            made = _answered(row)
            made.identity("orderId")
            is_it = made.raw("clientId") == client_id
            return Accepted() if is_it else Unsure("the answer is about another order")
    assert_never(action)


def _answered(row: Row) -> Row:
    """What a write made: an object by the papers, met in a list by others."""
    data = row.raw("data")
    if isinstance(data, list) and len(data) == 1:
        (data,) = data
    return Row(data, f"{row.where}.data")


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """A stop by its number, waiting or over; else an order by our id, and the last fills."""
    if client_id.isdecimal():
        of = {"symbol": name, "limit": str(PAGE)}
        over = Call(PRIVATE, "GET", f"{API}/tpsl/get_history_orders", of)
        return (stops_call(name), over)
    detail = Call(PRIVATE, "GET", f"{API}/trade/get_order_detail", {"clientId": client_id})
    trades = (
        Call(
            PRIVATE,
            "GET",
            f"{API}/trade/get_history_trades",
            {"symbol": name, "limit": str(PAGE), "skip": str(PAGE * page)},
        )
        for page in range(_TRADES_PAGES)
    )
    return (detail, *trades)


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say."""
    jsons = [answer_of(each, "evidence") for each in answers]
    if client_id.isdecimal():
        return _stop_found(jsons, client_id)
    detail = Row(jsons[0], "order")
    if code_of(detail) == NOT_FOUND:
        return OrderAbsent()
    row = one_of(jsons[0], "order")
    if (row.raw("symbol"), row.raw("clientId")) != (name, client_id):
        raise row.wrong("clientId", client_id)
    filled = _filled(row, [each for json in jsons[1:] for each in _listed_in(json, "tradeList")])
    return OrderFound(client_id, resting=rests(row, "status", _WAITS, _OVER), filled=filled)


def _listed_in(json: Json, name: str) -> list[Row]:
    """The rows of a page: under `name` by the papers; a bare list was met too."""
    data = data_of(json, name)
    return list(rows(data if isinstance(data, list) else Row(data, name).raw(name), name))


def _filled(order: Row, trades: Sequence[Row]) -> Filled:
    """An order tells how much was filled, and its fills at what price: all of them, or none."""
    quantity = order.number("tradeQty")
    if quantity <= ZERO:
        return NO_FILL
    number = order.identity("orderId")
    own = [each for each in trades if str(each.raw("orderId")) == number]
    by_number = {each.identity("tradeId"): each for each in own}
    parts = [(each.above_zero("qty"), each.above_zero("price")) for each in by_number.values()]
    if sum((part for part, _ in parts), ZERO) != quantity:
        raise order.wrong("tradeQty", "what its fills come to")
    price = sum((part * at for part, at in parts), ZERO) / quantity
    return Fill(Quantity(quantity), Price(price))


def _stop_found(jsons: Sequence[Json], number: str) -> OrderFound | OrderAbsent:
    """
    A stop, waiting or over.

    No answer names the fills of one that has triggered: it is told at its trigger. What is asked
    of it is only whether it has filled; what came of that, the position tells.
    """
    if any(row.identity("id") == number for row in rows(waiting_in(jsons[0]), "tpsl")):
        return OrderFound(number, resting=True, filled=NO_FILL)
    for row in _listed_in(jsons[1], "orderList"):
        if not row.has("id") or str(row.raw("id")) != number:
            continue
        status = row.text("status").upper()
        if status == "FILLED":
            at = Fill(Quantity(row.above_zero("slQty")), Price(row.above_zero("slPrice")))
            return OrderFound(number, resting=False, filled=at)
        if status not in _STOP_OVER:
            raise row.wrong("status", "a status that is known")
        return OrderFound(number, resting=False, filled=NO_FILL)
    return OrderAbsent()
