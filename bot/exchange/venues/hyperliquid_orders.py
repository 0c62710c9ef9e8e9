"""
What is sent to Hyperliquid to change something, and what an answer to it proves.

`documented` (exchange endpoint, 2026), signed by ccxt 4.5.90. There is no order at market: what
shall fill at any price has a limit as far away as the venue's own page puts it. Errors are texts
within an answer of success. In the order of `OrderDialect`.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
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
from bot.core.units import ONE, ZERO, Price, Quantity
from bot.exchange.live.calls import Call, Heard, Json, Unreadable, parse_json
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.live.reading import Row, answer_of, rests, rows
from bot.exchange.ports import Accepted, OrderAbsent, OrderFound, Refused, Reply, Unsure, not_sent
from bot.exchange.venues.hyperliquid_account import (
    CLOID,
    cloid_of,
    inner_of,
    positions_in,
    state_calls,
)
from bot.exchange.venues.hyperliquid_market import PRIVATE, info, tick
from bot.exchange.venues.hyperliquid_refusals import REFUSED, UNFILLED

request_life_ms = 5_000
"""Each names its last moment (`expiresAfter`), 3 s after its date; clocks may differ."""

_HTTP_OK = 200
_UNITS = Decimal(1_000_000)
"""Margin is told in millionths of a dollar."""

_CLOSE_REACH = Decimal("0.08")
"""How far from the mark what shall fill at any price may: the venue's own for closes."""

_STOP_REACH = Decimal("0.10")
"""And from its trigger a stop: the venue's own for stops at market."""

_WAITS = frozenset({"open", "triggered"})
_OVER = frozenset(
    {
        "filled",
        "canceled",
        "rejected",
        "marginCanceled",
        "vaultWithdrawalCanceled",
        "openInterestCapCanceled",
        "selfTradeCanceled",
        "reduceOnlyCanceled",
        "siblingFilledCanceled",
        "delistedCanceled",
        "liquidatedCanceled",
        "scheduledCancel",
        "tickRejected",
        "minTradeNtlRejected",
        "perpMarginRejected",
        "reduceOnlyRejected",
        "badAloPxRejected",
        "iocCancelRejected",
        "badTriggerPxRejected",
        "marketOrderNoLiquidityRejected",
        "positionIncreaseAtOpenInterestCapRejected",
        "positionFlipAtOpenInterestCapRejected",
        "tooAggressiveAtOpenInterestCapRejected",
        "openInterestIncreaseRejected",
        "insufficientSpotBalanceRejected",
        "oracleRejected",
        "perpMaxPositionRejected",
    }
)
"""What an order is: `documented`, the whole list."""


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """
    For a close at any price the mark as it is now: the last read may be of before the fall.

    All else needs nothing: stops are cancelled by our own ids, bounds are the guard's.
    """
    match action:
        case ClosePosition(bound=AtMarket()):
            return state_calls()
        case _:
            return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action. Every order can only reduce."""
    name = listed.id_of(action.symbol)
    number, places = listed.numbers[name], listed.price_places[name]
    match action:
        case AddMargin(side=side, amount=amount):
            if amount * _UNITS % ONE != ZERO:
                return not_sent(f"expected millionths of a dollar, was {amount}")
            units = {"isBuy": side is Side.LONG, "ntli": int(amount * _UNITS)}
            return _done({"type": "updateIsolatedMargin", "asset": number} | units)
        case CancelStop(target_client_id=target):
            if not CLOID.fullmatch(cloid := cloid_of(target)):
                return not_sent(f"{target}: expected an order with an id of a client")
            cancels = [{"asset": number, "cloid": cloid}]
            return _done({"type": "cancelByCloid", "cancels": cancels})
        case PlaceStop(side=side, quantity=quantity, trigger_price=trigger):
            limit = _reached(trigger, side, _STOP_REACH)
            at = {
                "isMarket": True,
                "triggerPx": _told(trigger, places, _closer[side]),
                "tpsl": "sl",
            }
            px = _told(limit, places, _farther[side])
            return _order(number, side, quantity, px, {"trigger": at}, client_id)
        case ClosePosition(side=side, quantity=quantity, bound=bound):
            match bound:
                case NoWorseThan(price):
                    px = _told(price, places, _closer[side])
                case AtMarket():
                    mark = _mark_in(ground.answers, name)
                    if mark is None:
                        return not_sent(f"there is no position in {name} to close")
                    px = _told(_reached(mark, side, _CLOSE_REACH), places, _farther[side])
                case _:
                    assert_never(bound)
            return _order(number, side, quantity, px, {"limit": {"tif": "Ioc"}}, client_id)
    assert_never(action)


_closer: Mapping[Side, str] = {Side.LONG: ROUND_CEILING, Side.SHORT: ROUND_FLOOR}
"""How prices below a long, or above a short, are rounded towards it."""

_farther: Mapping[Side, str] = {Side.LONG: ROUND_FLOOR, Side.SHORT: ROUND_CEILING}


def _reached(price: Decimal, side: Side, reach: Decimal) -> Decimal:
    return price * (ONE - side.sign * reach)


def _told(price: Decimal, places: int, rounding: str) -> str:
    """On the venue's grid, without zeros at its end: the venue signs what it makes of it."""
    step = tick(price, places)
    return _plain((price / step).quantize(ONE, rounding) * step)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _mark_in(state: Sequence[Json], name: str) -> Decimal | None:
    """At what price the venue values the position."""
    for entry in (entry for json in state for entry in positions_in(json)):
        try:
            row = Row(inner_of(entry), "position")
            if row.text("coin") == name and row.number("szi") != ZERO:
                return row.above_zero("positionValue") / abs(row.number("szi"))
        except Unreadable:
            continue
    return None


def _order(
    number: int, side: Side, quantity: Quantity, px: str, kind: Json, client_id: str
) -> Call | Refused:
    """The order of the parts is the signature's."""
    if not CLOID.fullmatch(cloid := cloid_of(client_id)):
        return not_sent(f"{client_id}: expected an id of a guard")
    order = {
        "a": number,
        "b": side is Side.SHORT,
        "p": px,
        "s": _plain(quantity),
        "r": True,
        "t": kind,
        "c": cloid,
    }
    return _done({"type": "order", "orders": [order], "grouping": "na"})


def _done(action: dict[str, Json]) -> Call:
    return Call(PRIVATE, "POST", "exchange", action)


_ANSWERS = {AddMargin: "default", CancelStop: "cancel", PlaceStop: "order", ClosePosition: "order"}
_ASSET = re.compile(r" asset=\d+$")
_ADDRESS = re.compile("0x[0-9a-f]{40}")


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """What an answer to a write proves. Whatever does not prove itself is Unsure."""
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status}")
        if row.raw("status") == "err":
            return _refusal(row.text("response"), action)
        if row.raw("status") != "ok":
            return Unsure(f"expected a status that is known, was {row.raw('status')!r:.80}")
        answer = Row(row.raw("response"), "response")
        if answer.raw("type") != _ANSWERS[type(action)]:
            return Unsure(f"expected an answer to {type(action).__name__}, was another")
        if isinstance(action, AddMargin):
            return Accepted()  # nothing of it is echoed: the position's margin is the evidence
        return _proof(answer, action, client_id)
    except Unreadable as e:
        return Unsure(str(e))


def _refusal(text: str, action: Action) -> Reply:
    """
    What a text proves. An order that nobody met was taken, and is in the books as ended. That a
    stop to cancel is gone does not say what became of it: that text is on no list.
    """
    said = _ADDRESS.sub("ADDRESS", _ASSET.sub("", text))
    if said == UNFILLED and isinstance(action, ClosePosition):
        return Accepted()
    if said in REFUSED:
        return Refused(said, text)
    return Unsure(text[:160])


def _proof(answer: Row, action: CancelStop | PlaceStop | ClosePosition, client_id: str) -> Reply:
    """The one status of what was asked; an order's echoes its id."""
    statuses = Row(answer.raw("data"), "response.data").raw("statuses")
    match statuses:
        case [{"error": str(text)}]:
            return _refusal(text, action)
        case ["success"] if isinstance(action, CancelStop):
            return Accepted()
        case [{"resting": dict(told)}] if isinstance(action, PlaceStop):
            return _echo(Row(told, "resting"), client_id)
        case [{"filled": dict(told)}]:
            return _echo(Row(told, "filled"), client_id)
        case _:
            return Unsure(f"expected one status that is known, was {statuses!r:.120}")


def _echo(row: Row, client_id: str) -> Reply:
    row.identity("oid")
    if row.raw("cloid") != cloid_of(client_id):
        return Unsure(f"expected an echo of {cloid_of(client_id)}, was {row.raw('cloid')}")
    return Accepted()


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """
    An order by our id, and the account's newest 2,000 fills, in which its prices are.

    These count one more for every 20 that there are, of which nothing is known before.
    """
    return (
        info(PRIVATE, "orderStatus", weight=2, oid=cloid_of(client_id)),
        info(PRIVATE, "userFills"),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say: the order and its fills have to agree, as either may lag behind."""
    told, fills = (answer_of(heard, "order") for heard in answers)
    found = Row(told, "orderStatus")
    if found.raw("status") == "unknownOid":
        return OrderAbsent()
    if found.raw("status") != "order":
        raise found.wrong("status", "order or unknownOid")
    outer = Row(found.raw("order"), "orderStatus.order")
    row = Row(outer.raw("order"), "orderStatus.order.order")
    if row.raw("cloid") != cloid_of(client_id) or row.raw("coin") != name:
        raise row.wrong("cloid", f"{client_id} in {name}")
    filled = _filled(fills, row.identity("oid"))
    quantity = filled.quantity if isinstance(filled, Fill) else ZERO
    if quantity != row.number("origSz") - row.number("sz"):
        raise row.wrong("sz", f"what is left of {row.raw('origSz')} after fills of {quantity}")
    return OrderFound(client_id, resting=rests(outer, "status", _WAITS, _OVER), filled=filled)


def _filled(fills: Json, number: str) -> Filled:
    quantity = value = ZERO
    for row in rows(fills, "userFills"):
        if row.identity("oid") == number:
            size = row.above_zero("sz")
            quantity, value = quantity + size, value + size * row.above_zero("px")
    return Fill(Quantity(quantity), Price(value / quantity)) if quantity else NO_FILL
