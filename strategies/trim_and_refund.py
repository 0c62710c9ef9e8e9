"""
Close part of an isolated position and put the margin that this frees back into the rest.

It works with an empty wallet and spends nothing: what goes back is at most what came out, less
the loss and the fee of the closed part. Distance grows, because less size stands on nearly the
same margin; so does the margin that a funding bill is compared with. Use it between the steps
that top up and the one that closes everything.
"""

from dataclasses import dataclass
from typing import TypeAlias

from bot.core.model import MarginMode
from bot.core.sizing import AlreadyThere, CannotReach, close_to_reach, share_to_close
from bot.core.strategy import (
    BookView,
    Nothing,
    Proposal,
    Severity,
    TrimAndRefund,
    View,
    unmoved,
)
from bot.core.units import Ratio

SEVERITY = Severity.REDUCE
WORKS_ON = frozenset({MarginMode.ISOLATED})


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
    """Close what the target or the share asks for; the refund follows the fill."""
    if isinstance(view, BookView):
        return Nothing("cross positions have no margin of their own to put back")
    match params:
        case ToDistance(to):
            found = close_to_reach(
                view.instrument, view.position, view.mark_price, view.close_price, to
            )
            if isinstance(found, AlreadyThere | CannotReach):
                return unmoved(found)
            return TrimAndRefund(found)
        case Fraction(fraction):
            share = share_to_close(view.instrument, view.position, fraction)
            return TrimAndRefund(share)
