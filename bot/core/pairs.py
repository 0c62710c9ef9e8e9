"""
Pairs: a cross long and a cross short of one symbol, stopped and closed as what they net to.

What one leg loses the other gains, so a move of their symbol costs the wallet what it costs the
excess: what the larger leg has beyond the smaller one. A stop of the whole larger leg would leave
the smaller one naked, a stop of the smaller one the larger. So the excess alone has a stop, as a
position of the entry price at which the two are even together:

    n = q - q',   E = (q e - q' e') / n      as   s n (p - E) = s q (p - e) - s q' (p - e')

with q and e of the larger leg, q' and e' of the smaller. E may be anything: two legs that have
locked in a loss are even at a price far away, or at none above zero. Source: the sum of the two
profits; linear contracts only. Decision 24 says why.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from bot.core.cross import Book, Leg
from bot.core.model import Instrument, MarginMode, Position
from bot.core.units import ZERO, Price, Quantity


@dataclass(frozen=True, slots=True)
class NotStopped:
    """No stop of this leg alone would help the account, and why."""

    proof: str


StoppedAs: TypeAlias = Position | NotStopped

HEDGES = NotStopped("it hedges the larger leg, whose excess has the stop")
HEDGED = NotStopped("the two legs hedge each other whole: closing one would leave the other naked")


def leg_against(position: Position, positions: Iterable[Position]) -> tuple[Position, ...]:
    """The cross leg of the symbol on the other side of a cross `position`, if there is one."""
    return tuple(
        each
        for each in positions
        if each.symbol == position.symbol
        and each.side is not position.side
        and MarginMode.CROSS is each.margin_mode is position.margin_mode
    )


def excess_of(position: Position, positions: Iterable[Position]) -> Quantity:
    """What of a cross position no other leg hedges; all of a lone one."""
    hedged = sum((each.quantity for each in leg_against(position, positions)), ZERO)
    return Quantity(max(position.quantity - hedged, ZERO))


def stopped_as(
    instrument: Instrument, position: Position, positions: Iterable[Position]
) -> StoppedAs:
    """What the standing stop of `position` has to close, as a position: all of a lone one."""
    for other in leg_against(position, positions):
        net = position.quantity - other.quantity
        if net <= ZERO:
            return HEDGES if net else HEDGED
        even = position.quantity * position.entry_price - other.quantity * other.entry_price
        # Less than the smallest order cannot be stopped: so much of the other leg goes naked.
        least = min(max(net, instrument.quantity_min), position.quantity)
        return replace(position, quantity=Quantity(least), entry_price=Price(even / net))
    return position


def stopped_legs(book: Book) -> tuple[Leg, ...]:
    """The legs of a book as what their stops have to close, without those that have none."""
    positions = [leg.position for leg in book.legs]
    found = [(leg, stopped_as(leg.instrument, leg.position, positions)) for leg in book.legs]
    return tuple(
        replace(leg, position=stopped) for leg, stopped in found if isinstance(stopped, Position)
    )
