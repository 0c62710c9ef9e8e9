"""
Sizing: how much brings a position to a target, rounded to the safe side.

Where the target cannot be reached the answer says why; it is never a smaller target.
"""

from dataclasses import dataclass
from decimal import Decimal

from bot.core.margin import margin_at
from bot.core.model import Instrument, Position, Side
from bot.core.units import ONE, ZERO, Money, Price, Ratio, ceil_to, floor_to


@dataclass(frozen=True, slots=True)
class CannotReach:
    """No amount reaches the target."""

    reason: str


def price_at_distance(
    instrument: Instrument, side: Side, liquidation: Price, distance: Ratio
) -> Price:
    """
    The mark price at which `distance` to `liquidation` is left, on the tick, rounded early.

    From s (p - L) / p = d follows p = L / (1 - s d). Early is up for a long and down for a short.
    """
    exact = liquidation / (ONE - side.sign * distance)
    return round_early(instrument, side, exact)


def round_early(instrument: Instrument, side: Side, price: Decimal) -> Price:
    """`price` on the tick that a falling (long) or rising (short) mark reaches first."""
    to_tick = ceil_to if side is Side.LONG else floor_to
    return Price(to_tick(price, instrument.tick_size))


def margin_to_reach(
    instrument: Instrument, position: Position, mark: Price, distance: Ratio
) -> Money | CannotReach:
    """
    Isolated margin to add so that at `mark` the liquidation distance is at least `distance`.

    Rounded up to the venue's margin step. Exact under tiers: the margin is a function of the
    liquidation price, which the target names.
    """
    target = Price(mark * (ONE - position.side.sign * distance))
    if target <= ZERO:
        return CannotReach(f"a long cannot be more than 100% from liquidation, asked {distance:%}")
    missing = margin_at(instrument, position, target) - position.isolated_margin
    if missing <= ZERO:
        return CannotReach(f"the distance is already {distance:%} or more")
    return Money(ceil_to(missing, instrument.rules.position_margin_step))
