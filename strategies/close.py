"""
Close the whole position, reduce-only; of cross positions, all of them.

Use it as the deepest step of a ladder: a loss that you choose is smaller than a liquidation.
"""

from dataclasses import dataclass

from bot.core.model import MarginMode
from bot.core.strategy import Close, Proposal, Severity, View

SEVERITY = Severity.CLOSE
WORKS_ON = frozenset({MarginMode.ISOLATED, MarginMode.CROSS})


@dataclass(frozen=True, slots=True)
class Params:
    """A close needs nothing: it is always the whole position."""


def propose(view: View, params: Params) -> Proposal:
    """Close, whatever there is."""
    return Close()
