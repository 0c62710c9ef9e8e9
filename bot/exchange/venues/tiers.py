"""Risk tiers of venues that tell caps and rates, but not what they deduct."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from bot.core.model import RiskTier
from bot.core.units import ZERO, Money, Ratio
from bot.exchange.live.calls import Unreadable


@dataclass(frozen=True, slots=True)
class Bracket:
    """One row: up to `cap` a position's value is at `rate`."""

    cap: Decimal
    rate: Decimal
    leverage_max: Decimal


def continuous(table: Sequence[Bracket], where: str) -> tuple[RiskTier, ...]:
    """
    The tiers of rising brackets, with the deductions that leave no jump between them.

    The last one has no cap. Raises `Unreadable` for brackets that do not rise.
    """
    caps, rates = [each.cap for each in table], [each.rate for each in table]
    if not table or caps != sorted(set(caps)) or rates != sorted(rates):
        raise Unreadable(f"{where}: expected rising brackets, was {table}")
    tiers: list[RiskTier] = []
    floor, deduction, rate_before = ZERO, ZERO, ZERO
    for each in table:
        deduction += floor * (each.rate - rate_before)
        cap = Decimal("Infinity") if each is table[-1] else each.cap
        tiers.append(RiskTier(floor, cap, Ratio(each.rate), Money(deduction), each.leverage_max))
        floor, rate_before = each.cap, each.rate
    return tuple(tiers)
