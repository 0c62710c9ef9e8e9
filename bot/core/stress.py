"""
Worst stressed loss: what an account loses when everything moves against it at once.

Every symbol moves by the policy's shock, times its beta, against its position. An isolated
position loses its margin at most; cross positions lose from one wallet.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from bot.core.cross import Leg
from bot.core.model import MarginMode, Position, PositionKey
from bot.core.policy import Stress
from bot.core.units import ZERO, Money, Price


def worst_stressed_loss(positions: Iterable[tuple[Position, Price]], stress: Stress) -> Money:
    """Loss of equity under the shock, over positions at their mark prices."""
    return Money(sum((_loss(position, mark, stress) for position, mark in positions), ZERO))


def by_relief(
    legs: tuple[Leg, ...], fills: Mapping[PositionKey, Price], stress: Stress
) -> tuple[Leg, ...]:
    """
    Cross positions by the stressed loss that a close takes away per unit of what it costs.

    The cost of closing is the taker fee and the distance of the fill price from the mark price;
    of equals the larger notional comes first, then the symbol.
    """

    def rank(leg: Leg) -> tuple[Decimal, Decimal, str]:
        fill, mark = fills[leg.position.key], leg.mark_price
        cost = fill * leg.instrument.taker_fee + abs(mark - fill)
        relief = stress.shock * leg.beta * mark
        worth = relief / cost if cost > ZERO else relief * Decimal(10**9)
        return -worth, -leg.position.quantity * mark, leg.position.symbol

    return tuple(sorted(legs, key=rank))


def _loss(position: Position, mark: Price, stress: Stress) -> Decimal:
    loss = position.quantity * mark * stress.shock * stress.beta_of(position.symbol)
    match position.margin_mode:
        case MarginMode.ISOLATED:
            gained = position.side.sign * position.quantity * (mark - position.entry_price)
            return min(loss, max(position.isolated_margin + gained, ZERO))
        case MarginMode.CROSS:
            return loss
