"""
The way out, cleared: what stands in the way of a close, and what of it a venue takes.

Nothing here may refuse a close. It says which stops go off the book before it, and makes a
quantity one that is not refused. Decision 12 says why.
"""

from collections.abc import Mapping
from decimal import Decimal

from bot.core.actions import ClosePosition, PlaceStop
from bot.core.events import IntentState
from bot.core.kept import kept
from bot.core.model import Position, PositionKey, RestingStops, StopOrder
from bot.core.state import AccountState, Intent
from bot.core.units import ZERO, Quantity, floor_to


def in_the_way(state: AccountState, key: PositionKey) -> tuple[str, ...]:
    """
    The stops of guards, at rest or on their way, that would have a close refused: client ids.

    Those of another guard of the account are among them, as they may be of this one's own past,
    and would keep it from getting out.
    """
    if not _stops_reserve(state, key):
        return ()
    guards, _ = _stops_of(state, key)
    on_the_way = (
        intent.id
        for intent in state.intents.values()
        if isinstance(intent.action, PlaceStop)
        and intent.key == key
        and (intent.is_open or state.is_unseen(intent))
    )
    return tuple(sorted({*(stop.client_id for stop in guards), *on_the_way}))


def closable(state: AccountState, position: Position) -> Quantity:
    """
    What of the position a close may be for: what the stops of others leave of it.

    Theirs are not ours to cancel. Where they are for all of it, the venue itself shall say no.
    """
    if not _stops_reserve(state, position.key):
        return position.quantity
    _, others = _stops_of(state, position.key)
    left = position.quantity - sum((stop.quantity for stop in others), ZERO)
    return Quantity(left) if left > ZERO else position.quantity


def sendable(state: AccountState, position: Position, quantity: Decimal) -> Quantity:
    """
    A quantity that a venue takes: no dust, none that leaves dust, not more than it takes at once.

    A slice that is less than the smallest order becomes that, and a close that would leave less
    than that takes it along: neither could be closed afterwards.
    """
    instrument = state.instruments.by_symbol[position.symbol]
    whole, least = closable(state, position), instrument.quantity_min
    quantity = max(quantity, min(least, whole))
    if whole - quantity < least:
        quantity = whole
    most = floor_to(instrument.quantity_max, instrument.quantity_step)
    return Quantity(min(quantity, most))


def _stops_of(state: AccountState, key: PositionKey) -> tuple[list[StopOrder], list[StopOrder]]:
    """The resting stops of a position: those of guards, and those of others."""
    stops = [stop for stop in state.stops if (stop.symbol, stop.side) == (key.symbol, key.side)]
    guards = [stop for stop in stops if state.is_guards(stop)]
    return guards, [stop for stop in stops if stop not in guards]


def _stops_reserve(state: AccountState, key: PositionKey) -> bool:
    """
    Whether resting stops would have a close of the position refused.

    So they do where the venue's rules say it. Rules may be wrong: where it has just refused a
    close, for whatever reason, the next one does not come with our stops in its way.
    """
    rules = state.instruments.by_symbol[key.symbol].rules
    return rules.resting_stops is RestingStops.RESERVE or key in _refused_a_close(state.intents)


@kept(most=1)
def _refused_a_close(intents: Mapping[str, Intent]) -> frozenset[PositionKey]:
    """The positions of which a close has just been refused."""
    return frozenset(
        intent.key
        for intent in intents.values()
        if intent.state is IntentState.REJECTED and isinstance(intent.action, ClosePosition)
    )
