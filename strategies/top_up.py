"""
Add isolated margin until the position is `to` away from liquidation.

Use it where a fall is likely to pass and free money is at hand. It is limited by the
guardrails' budgets; it moves liquidation away and does not reduce the loss if the fall goes on,
so give the ladder a deeper step that works with an empty wallet.
"""

from dataclasses import dataclass

from bot.core.model import MarginMode
from bot.core.sizing import AlreadyThere, CannotReach, margin_to_reach
from bot.core.strategy import BookView, Nothing, Proposal, Severity, TopUp, View, unmoved
from bot.core.units import Ratio

SEVERITY = Severity.SPEND
WORKS_ON = frozenset({MarginMode.ISOLATED})


@dataclass(frozen=True, slots=True)
class Params:
    """How far to go."""

    to: Ratio
    """Liquidation distance that the position has afterwards."""


def propose(view: View, params: Params) -> Proposal:
    """Add what is missing to the target, rounded up to the venue's margin step."""
    if isinstance(view, BookView):
        return Nothing("cross positions share the wallet: there is no margin to add to")
    match margin_to_reach(view.instrument, view.position, view.mark_price, params.to):
        case (AlreadyThere() | CannotReach()) as found:
            return unmoved(found)
        case amount:
            return TopUp(amount)
