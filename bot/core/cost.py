"""
Cost: the price that a close may be paid for with.

A close is sent immediate-or-cancel with a bound: `slippage_max` worse than the mark price while
there is time. From twice the stop's room on the bound widens with the falling distance, until at
the floor any price will do; it never asks for less than the bankruptcy price.
"""

from bot.core.actions import AT_MARKET, Bound, NoWorseThan
from bot.core.margin import LiquidatesAt, LiquidatesTogether, NoLiquidation, bankruptcy
from bot.core.metrics import Known
from bot.core.model import Instrument, MarginMode, Position
from bot.core.policy import Policy
from bot.core.sizing import round_early
from bot.core.units import ONE, ZERO, Price, Ratio, ceil_to, floor_to


def close_bound(policy: Policy, instrument: Instrument, position: Position, known: Known) -> Bound:
    """How badly a close of `position` may fill now."""
    if known.breached or known.liquidation_distance <= policy.protect.floor:
        return AT_MARKET
    return NoWorseThan(close_price(policy, instrument, position, known))


def close_price(policy: Policy, instrument: Instrument, position: Position, known: Known) -> Price:
    """The worst price of such a close, on the tick."""
    sign, mark = position.side.sign, known.mark_price
    protect, slippage_max = policy.protect, policy.guardrails.slippage_max
    worst = _worst_price(instrument, position, known, slippage_max)
    widest = max(sign * (mark - worst) / mark, slippage_max)
    starts_at = 2 * protect.room
    urgency = (starts_at - known.liquidation_distance) / (starts_at - protect.floor)
    slippage = slippage_max + (widest - slippage_max) * max(urgency, ZERO)
    # On the tick beyond: one on this side of it may be better than the mark, and fill nothing.
    to_tick = floor_to if sign > 0 else ceil_to
    bound = to_tick(mark * (ONE - sign * slippage), instrument.tick_size)
    # Below the floor, and where bankruptcy is nearer than the slippage allowed, it is the bound.
    if sign * (bound - worst) < ZERO:
        return round_early(instrument, position.side, worst)
    return Price(bound)


def _worst_price(
    instrument: Instrument, position: Position, known: Known, slippage_max: Ratio
) -> Price:
    """Bankruptcy of an isolated position, liquidation of a cross one: no fill may be beyond."""
    sign = position.side.sign
    match position.margin_mode:
        case MarginMode.ISOLATED:
            match bankruptcy(instrument, position):
                case LiquidatesAt(price):
                    return price
                case NoLiquidation():
                    return Price(ZERO if sign > 0 else 2 * known.mark_price)
        case MarginMode.CROSS:
            match known.liquidation:
                case LiquidatesAt(price) | LiquidatesTogether(price):
                    return price
                case NoLiquidation():
                    return Price(known.mark_price * (ONE - sign * slippage_max))
