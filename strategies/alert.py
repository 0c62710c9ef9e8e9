"""
Tell the human that a position came near liquidation, and do nothing else.

Use it as the mildest step of every ladder: it costs nothing, and it leaves time to act before
the guard does.
"""

from dataclasses import dataclass

from bot.core.margin import liquidation_distance
from bot.core.model import MarginMode, Position
from bot.core.sizing import round_early
from bot.core.strategy import BookView, Notify, PositionView, Proposal, Severity, View

SEVERITY = Severity.ALERT
WORKS_ON = frozenset({MarginMode.ISOLATED, MarginMode.CROSS})


@dataclass(frozen=True, slots=True)
class Params:
    """An alert needs nothing."""


def propose(view: View, params: Params) -> Proposal:
    """Say which position, how far it is from liquidation, and both prices."""
    match view:
        case BookView(book, distance):
            symbols = ", ".join(dict.fromkeys(leg.position.symbol for leg in book.legs))
            return Notify(f"together {distance:.2%} from liquidation: {symbols}")
        case PositionView(position=position):
            return Notify(_of_position(view, position))


def _of_position(view: PositionView, position: Position) -> str:
    distance = liquidation_distance(position, view.mark_price, view.liquidation_price)
    # Our own liquidation price has many digits; shown is the tick that the mark reaches first.
    liquidation = round_early(view.instrument, position.side, view.liquidation_price)
    return (
        f"{position.symbol} {position.side} is {distance:.2%} from liquidation "
        f"(mark price {view.mark_price:f}, liquidation price {liquidation:f})"
    )
