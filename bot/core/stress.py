"""
Worst stressed loss: what an account loses when everything moves against it at once.

Every symbol moves by the policy's shock, times its beta, whichever way costs most: the legs of one
symbol move together, and what one gains the other loses. An isolated position loses its margin at
most; cross positions lose from one wallet.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from bot.core.cross import Leg
from bot.core.margin import margin_balance, profit, value
from bot.core.model import ContractKind, Instrument, MarginMode, Position, PositionKey, Side
from bot.core.policy import Stress
from bot.core.units import ONE, ZERO, Money, Price

LEFT = Decimal("1e-6")
"""Of an inverse contract's price this share is always left: at none it would owe endlessly."""


@dataclass(frozen=True, slots=True)
class Held:
    """A position at its mark price, with the rules that say what it is worth."""

    instrument: Instrument
    position: Position
    mark_price: Price


def worst_stressed_loss(holdings: Iterable[Held], stress: Stress) -> Money:
    """Loss of equity under the shock, in the settle currency."""
    by_symbol: dict[str, list[Held]] = {}
    for held in holdings:
        by_symbol.setdefault(held.position.symbol, []).append(held)
    return Money(sum((_loss(legs, stress) for legs in by_symbol.values()), ZERO))


def by_relief(
    legs: tuple[Leg, ...], fills: Mapping[PositionKey, Price], stress: Stress
) -> tuple[Leg, ...]:
    """
    Cross positions by the stressed loss that a close takes away per unit of what it costs.

    The cost of closing is the taker fee and the distance of the fill price from the mark price;
    of equals the larger notional comes first, then the symbol.
    """

    def rank(leg: Leg) -> tuple[Decimal, Decimal, str]:
        instrument, side, mark = leg.instrument, leg.position.side, leg.mark_price
        fill = fills[leg.position.key]
        cost = value(instrument, ONE, fill) * instrument.taker_fee
        cost += abs(profit(instrument, side, ONE, mark, fill))
        shocked = mark * (ONE - side.sign * stress.shock * leg.beta)
        relief = -_gain(instrument, side, ONE, mark, shocked)
        worth = relief / cost if cost > ZERO else relief * Decimal(10**9)
        return -worth, -value(instrument, leg.position.quantity, mark), leg.position.symbol

    return tuple(sorted(legs, key=rank))


def _loss(legs: list[Held], stress: Stress) -> Decimal:
    """What the legs of one symbol lose together, the way that costs most; nothing if none does."""
    losses = (sum((_loss_of(held, stress, hurt) for held in legs), ZERO) for hurt in Side)
    return max(ZERO, *losses)


def _loss_of(held: Held, stress: Stress, hurt: Side) -> Decimal:
    """What one position loses by the shock that hurts that side; negative where it gains."""
    instrument, position, mark = held.instrument, held.position, held.mark_price
    shocked = mark * (ONE - hurt.sign * stress.shock * stress.beta_of(position.symbol))
    loss = -_gain(instrument, position.side, position.quantity, mark, shocked)
    match position.margin_mode:
        case MarginMode.ISOLATED:
            return min(loss, max(margin_balance(instrument, position, mark), ZERO))
        case MarginMode.CROSS:
            return loss


def _gain(
    instrument: Instrument, side: Side, quantity: Decimal, mark: Price, shocked: Decimal
) -> Decimal:
    """What `quantity` gains where the price goes from `mark` to `shocked`, never below zero."""
    lowest = ZERO if instrument.kind is ContractKind.LINEAR else mark * LEFT
    return profit(instrument, side, quantity, mark, max(shocked, lowest))
