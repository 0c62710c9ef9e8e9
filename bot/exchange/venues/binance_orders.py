"""
What is sent to Binance's futures to change something, and what an answer to it proves.

Conditional orders live in the algo service: of USD-M since 9 December 2025, of COIN-M since 30
June 2026 (-4120 elsewhere, `documented`). In hedge mode an order names the leg that it works on
and may carry no `reduceOnly` (-1106, `documented`): against its leg it can only reduce.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from bot.exchange.live.calls import Call, Heard, Unreadable, parse_json
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.live.reading import Row, filled_in, rests
from bot.exchange.ports import (
    NOT_TOLD,
    Accepted,
    NotTold,
    OrderAbsent,
    OrderFound,
    Refused,
    Reply,
    Unsure,
)

NOT_THERE = frozenset({-2013, -2011})
_HTTP_OK = 200

_STOP_OVER = frozenset({"CANCELED", "EXPIRED", "REJECTED"})
_STOP_WAITS = frozenset({"NEW", "TRIGGERING", "TRIGGERED"})
_WAITS = frozenset({"NEW", "PARTIALLY_FILLED"})
_OVER = frozenset({"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"})


@dataclass(frozen=True, slots=True)
class BinanceOrders:
    """
    What is sent to one of the two, by its values: an `OrderDialect`.

    `api` is its private one as ccxt names it; `refused` are the codes that prove that nothing was
    done.
    """

    api: str
    refused: Mapping[int, str]
    request_life_ms: int = 5_000

    # -- writes ----------------------------------------------------------------------------

    def ground_calls(self, action: Action, listed: Listed) -> Sequence[Call]:
        """Nothing: stops are cancelled by our own ids."""
        return ()

    def write_call(self, action: Action, client_id: str, listed: Listed, ground: Ground) -> Call:
        """The recipe of an action. Every order can only reduce."""
        name, mode = listed.id_of(action.symbol), ground.position_mode
        size = _size(listed, name)
        of = {"symbol": name}
        match action:
            case AddMargin(amount=amount):
                sent = of | _leg(action.side, mode) | {"amount": f"{amount:f}", "type": "1"}
                return Call(self.api, "POST", "positionMargin", sent)
            case PlaceStop(quantity=quantity, trigger_price=trigger):
                sent = of | {
                    "algoType": "CONDITIONAL",
                    "side": _closing(action.side),
                    "type": "STOP_MARKET",
                    "quantity": _counted(quantity, size),
                    "triggerPrice": f"{trigger:f}",
                    "workingType": "MARK_PRICE",
                    **_reducing(action.side, mode),
                    "clientAlgoId": client_id,
                    "newOrderRespType": "RESULT",
                }
                return Call(self.api, "POST", "algoOrder", sent)
            case CancelStop(target_client_id=target):
                return Call(self.api, "DELETE", "algoOrder", {"clientAlgoId": target})
            case ClosePosition(quantity=quantity, bound=bound):
                sent = of | {
                    "side": _closing(action.side),
                    "quantity": _counted(quantity, size),
                    **_reducing(action.side, mode),
                    "newClientOrderId": client_id,
                    "newOrderRespType": "RESULT",
                }
                match bound:
                    case AtMarket():
                        sent |= {"type": "MARKET"}
                    case NoWorseThan(price):
                        sent |= {"type": "LIMIT", "timeInForce": "IOC", "price": f"{price:f}"}
                    case _:
                        assert_never(bound)
                return Call(self.api, "POST", "order", sent)
        assert_never(action)

    def reply_of(self, heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
        """
        What an answer to a write proves. Whatever does not prove itself is Unsure.

        An HTTP client sends a DELETE again when its connection breaks: that there is nothing to
        cancel may be the answer to the second one.
        """
        name = listed.id_of(action.symbol)
        try:
            row = Row(parse_json(heard.text), f"HTTP {heard.status}")
            if row.has("code") and row.integer("code") < 0:
                code, text = row.integer("code"), str(row.raw("msg"))
                if code in self.refused:
                    return Refused(str(code), text)
                return Unsure(f"{code} {text}")
            if heard.status != _HTTP_OK:
                return Unsure(f"HTTP {heard.status} without a code")
            return _proof(row, action, client_id, name, _size(listed, name))
        except Unreadable as e:
            return Unsure(str(e))

    # -- evidence --------------------------------------------------------------------------

    def order_calls(self, name: str, client_id: str) -> Sequence[Call]:
        """An order in the plain book, and in the conditional one."""
        return (
            Call(self.api, "GET", "order", {"symbol": name, "origClientOrderId": client_id}),
            Call(self.api, "GET", "algoOrder", {"clientAlgoId": client_id}),
        )

    def order_of(
        self, answers: Sequence[Heard], client_id: str, name: str, listed: Listed
    ) -> OrderFound | OrderAbsent:
        """
        What the two books say. The conditional one counts where both know the id: once triggered,
        a stop leaves a plain order of its own name.
        """
        plain, conditional = (_found(each) for each in answers)
        size = _size(listed, name)
        if conditional is not None:
            return _stop_found(conditional, client_id, name, size)
        if plain is not None:
            return _order_found(plain, client_id, name, size)
        return OrderAbsent()


def _size(listed: Listed, name: str) -> Decimal:
    """What the venue counts as one, in our quantities."""
    return listed.sizes.get(name, Decimal(1))


def _closing(side: Side) -> str:
    """What closes a position of that side."""
    return "SELL" if side is Side.LONG else "BUY"


def _counted(quantity: Decimal, size: Decimal) -> str:
    return f"{quantity / size:f}"


def _leg(side: Side, mode: PositionMode) -> dict[str, str]:
    """Nothing in one-way mode, where both are one."""
    match mode:
        case PositionMode.ONE_WAY:
            return {}
        case PositionMode.HEDGE:
            return {"positionSide": side.name}
    assert_never(mode)


def _reducing(side: Side, mode: PositionMode) -> dict[str, str]:
    """By what an order is held to reduce. Each is refused by an account in the other mode."""
    return _leg(side, mode) or {"reduceOnly": "true"}


def _proof(row: Row, action: Action, client_id: str, name: str, size: Decimal) -> Reply:
    order: OrderFound | NotTold = NOT_TOLD
    expected: tuple[object, ...]
    echoed: tuple[object, ...]
    match action:
        case AddMargin(amount=amount):
            expected = (_HTTP_OK, 1, amount)
            echoed = (row.integer("code"), row.integer("type"), row.number("amount"))
        case PlaceStop():
            expected = (client_id, name, _closing(action.side))
            echoed = _echo(row, "algoId", "clientAlgoId")
        case CancelStop(target_client_id=target):
            expected = (_HTTP_OK, target)
            echoed = (row.integer("code"), row.text("clientAlgoId"))
        case ClosePosition():
            expected = (client_id, name, _closing(action.side))
            echoed = _echo(row, "orderId", "clientOrderId")
            order = _told(row, client_id, name, size)
        case _:
            assert_never(action)
    if echoed != expected:
        return Unsure(f"expected an echo of {expected}, was {echoed}")
    return Accepted(order=order)


def _told(row: Row, client_id: str, name: str, size: Decimal) -> OrderFound | NotTold:
    """
    What the answer to a close says of its fill.

    Source: Binance, "New Order": RESULT answers a market or an IOC order by its final state. Its
    own connector models it without the price since June 2026: one that has filled without a price
    told is asked for.
    """
    try:
        return _order_found(row, client_id, name, size)
    except Unreadable:
        return NOT_TOLD  # if it is taken, it will be asked for


def _echo(row: Row, number: str, client_id: str) -> tuple[str, str, str]:
    if row.integer(number) <= 0:
        raise row.wrong(number, "an order's number")
    return row.text(client_id), row.text("symbol"), row.text("side")


def _found(heard: Heard) -> Row | None:
    """The order of an answer, or None where the venue says that it knows none."""
    row = Row(parse_json(heard.text), f"HTTP {heard.status}")
    if row.has("code") and row.integer("code") < 0:
        if row.integer("code") in NOT_THERE:
            return None
        raise Unreadable(f"order: expected an order, was {row.raw('code')} {row.raw('msg')}")
    if heard.status != _HTTP_OK:
        raise Unreadable(f"order: expected HTTP 200, was {heard.status}")
    return row


def _stop_found(row: Row, client_id: str, name: str, size: Decimal) -> OrderFound:
    _check_named(row, "clientAlgoId", client_id, name)
    status = row.text("algoStatus")
    if status in _STOP_WAITS:
        return OrderFound(client_id, resting=True, filled=NO_FILL)
    if status in _STOP_OVER:
        return OrderFound(client_id, resting=False, filled=NO_FILL)
    if status != "FINISHED":
        raise row.wrong("algoStatus", "a status that is known")
    filled = filled_in(row, "actualQty", "actualPrice", size)
    return OrderFound(client_id, resting=False, filled=filled)


def _order_found(row: Row, client_id: str, name: str, size: Decimal) -> OrderFound:
    _check_named(row, "clientOrderId", client_id, name)
    filled = filled_in(row, "executedQty", "avgPrice", size)
    return OrderFound(client_id, resting=rests(row, "status", _WAITS, _OVER), filled=filled)


def _check_named(row: Row, key: str, client_id: str, name: str) -> None:
    if (row.raw(key), row.raw("symbol")) != (client_id, name):
        raise row.wrong(key, f"the order {client_id} of {name}")
