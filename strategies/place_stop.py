"""
Move the protective stop nearer to the mark price while the position is in danger.

Every position has a standing stop (`protect:` in the policy). This verb tightens it earlier
than that, to the price where `room` of the liquidation distance is left; it never loosens it.
Use it above the steps that spend margin: it works with an empty wallet, and the exchange holds
the stop when the guard cannot act.
"""

from dataclasses import dataclass

from bot.core.model import MarginMode
from bot.core.sizing import price_at_distance
from bot.core.strategy import (
    BookView,
    Nothing,
    PositionView,
    Proposal,
    Severity,
    TightenStop,
    TightenStops,
    View,
)
from bot.core.units import ONE, ZERO, Ratio

SEVERITY = Severity.STOP
WORKS_ON = frozenset({MarginMode.ISOLATED, MarginMode.CROSS})


@dataclass(frozen=True, slots=True)
class Params:
    """Where the stop goes."""

    room: Ratio
    """Liquidation distance that is left where the stop triggers."""


def propose(view: View, params: Params) -> Proposal:
    """Tighten the stop, unless it is tight enough or has no place before liquidation."""
    match view:
        case BookView(liquidation_distance=distance) if params.room >= distance:
            return Nothing(f"{distance:.2%} is left, which is no room for a stop at that room")
        case BookView():
            return TightenStops(params.room)
        case PositionView():
            return _of_position(view, params)


def _of_position(view: PositionView, params: Params) -> Proposal:
    side = view.position.side
    if side.sign * params.room >= ONE:
        return Nothing("a long cannot be more than 100% from liquidation")
    trigger = price_at_distance(view.instrument, side, view.liquidation_price, params.room)
    if side.sign * (trigger - view.stop_price) <= ZERO:
        return Nothing(f"the stop at {view.stop_price:f} is tight enough")
    # Room is positive, so the trigger comes before liquidation wherever there is one.
    if trigger <= ZERO or side.sign * (view.mark_price - trigger) <= ZERO:
        return Nothing(f"a stop at {trigger:f} is not between mark and liquidation price")
    return TightenStop(trigger)
