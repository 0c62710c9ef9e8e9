"""
Why nothing is sent to ApeX Omni, and how an order there is looked up.

Every order needs a zk signature of a library that ccxt does not bring, and margin cannot be moved
into a position. In the order of `OrderDialect`.
"""

from collections.abc import Sequence

from bot.core.actions import Action
from bot.core.model import NO_FILL, Fill, Filled
from bot.core.units import ZERO, Price, Quantity
from bot.exchange.live.calls import Call, Heard
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.live.reading import Row, answer_of, rests
from bot.exchange.ports import OrderAbsent, OrderFound, Refused, Reply, Unsure, not_sent
from bot.exchange.venues.apex_account import client_id_of
from bot.exchange.venues.apex_market import PRIVATE, data_of

request_life_ms = 60_000
"""`assumed`: nothing is written."""

WHY_NOT = (
    "an order needs a zk signature of a library that ccxt does not bring, and margin cannot be "
    "moved into a position"
)
_WAITS = frozenset({"PENDING", "OPEN", "UNTRIGGERED"})
_OVER = frozenset({"FILLED", "CANCELED", "EXPIRED"})


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Refused:
    """No recipe: nothing is sent, which is proof."""
    return not_sent(WHY_NOT)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """Never heard, as nothing is sent: it would prove nothing."""
    return Unsure(heard.text[:120])


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order by its client's id."""
    return (Call(PRIVATE, "GET", "v3/order-by-client-order-id", {"id": client_id}),)


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. By which code the venue tells that there is none is not known."""
    (heard,) = answers
    row = Row(data_of(answer_of(heard, "order"), "order"), "order")
    if row.raw("symbol") != name or client_id_of(row) != client_id:
        raise row.wrong("symbol", f"order {client_id} in {name}")
    return OrderFound(client_id, resting=rests(row, "status", _WAITS, _OVER), filled=_filled(row))


def _filled(row: Row) -> Filled:
    quantity = row.number("cumMatchFillSize")
    if quantity <= ZERO:
        return NO_FILL
    return Fill(Quantity(quantity), Price(row.above_zero("cumMatchFillValue") / quantity))
