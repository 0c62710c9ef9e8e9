"""
Close part of a position, reduce-only; of cross positions, where it relieves most for its cost.

Cross positions share a wallet: closing part of one leaves more of it for the rest, so distance
grows. The leg whose close takes most stressed loss away per unit of cost comes first; of a long
and a short of one symbol what the larger has beyond the smaller, then as much of both. An isolated
position on a venue that releases margin pro rata does not get farther from liquidation by a
smaller size: there a target distance cannot be reached, and `trim_and_refund` is the verb.
"""

from dataclasses import dataclass
from typing import TypeAlias

from bot.core.model import MarginMode, MarginOnReduce
from bot.core.sizing import (
    AlreadyThere,
    CannotReach,
    LegClose,
    close_to_reach,
    closes_to_reach,
    share_to_close,
    shares_to_close,
)
from bot.core.strategy import (
    BookView,
    Nothing,
    PositionView,
    Proposal,
    Reduce,
    Severity,
    View,
    unmoved,
)
from bot.core.units import Ratio

SEVERITY = Severity.REDUCE
WORKS_ON = frozenset({MarginMode.ISOLATED, MarginMode.CROSS})


@dataclass(frozen=True, slots=True)
class ToDistance:
    """As much as brings the liquidation distance to a target."""

    to: Ratio
    """Liquidation distance that is reached afterwards."""


@dataclass(frozen=True, slots=True)
class Fraction:
    """A share of what is open."""

    fraction: Ratio
    """Share of the quantity to close, up to the quantity step."""


Params: TypeAlias = ToDistance | Fraction


def propose(view: View, params: Params) -> Proposal:
    """Close what the target or the share asks for."""
    match view, params:
        case BookView(), ToDistance(to):
            found = closes_to_reach(view.book, view.ranked, view.close_prices, to)
            return Reduce(found) if isinstance(found, tuple) else unmoved(found)
        case BookView(ranked=ranked), Fraction(fraction):
            return Reduce(shares_to_close(ranked, fraction))
        case PositionView(), ToDistance(to):
            return _to_distance(view, to)
        case PositionView(), Fraction(fraction):
            quantity = share_to_close(view.instrument, view.position, fraction)
            return Reduce((LegClose(view.position.key, quantity),))
        case _:
            raise AssertionError("every pair of a view and a way to say how much is handled above")


def _to_distance(view: PositionView, to: Ratio) -> Proposal:
    if view.position.margin_mode is MarginMode.CROSS:
        return Nothing("cannot be reached by one cross position: a step on it names a fraction")
    if view.instrument.rules.margin_on_reduce is MarginOnReduce.PRO_RATA:
        return Nothing(
            "cannot be reached: the venue releases margin with the part that is closed, which "
            "leaves liquidation where it is (trim_and_refund puts it back)"
        )
    found = close_to_reach(view.instrument, view.position, view.mark_price, view.close_price, to)
    if isinstance(found, AlreadyThere | CannotReach):
        return unmoved(found)
    return Reduce((LegClose(view.position.key, found),))
