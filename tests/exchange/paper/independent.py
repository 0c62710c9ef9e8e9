"""The rule of liquidation in exact fractions, solved by bisection alone: what the tests trust."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from bot.core.model import CloseFee, Instrument, MaintenanceAt, Side


class Spare:
    """Margin balance minus requirement of a position, as a function of the mark price."""

    def __init__(
        self,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        entry: Decimal,
        margin: Decimal,
    ) -> None:
        self._instrument, self._sign = instrument, side.sign
        self._quantity, self._entry = Fraction(quantity), Fraction(entry)
        self._margin = Fraction(margin)

    def at(self, mark: Fraction) -> Fraction:
        """Positive while the position is safe; linear legs of one account just add up."""
        rules = self._instrument.rules
        by_mark = rules.maintenance_at is MaintenanceAt.MARK
        needed = self._maintenance(self._quantity * (mark if by_mark else self._entry))
        if rules.close_fee is CloseFee.MARK:
            needed += self._quantity * mark * Fraction(self._instrument.taker_fee)
        return self._margin + self._sign * self._quantity * (mark - self._entry) - needed

    def _maintenance(self, notional: Fraction) -> Fraction:
        """As if each slice of the notional paid the rate of its own tier."""
        due = Fraction(0)
        for tier in self._instrument.tiers:
            top = notional if tier.cap.is_infinite() else min(notional, Fraction(tier.cap))
            due += max(top - Fraction(tier.floor), Fraction(0)) * Fraction(tier.rate)
        return due


def first_spent(spare: Callable[[Fraction], Fraction]) -> Fraction | None:
    """
    The share of a way at which a concave `spare` that begins positive is used up.

    Concave it is where no tier's rate is below the one before: then it is used up at the end or
    never was.
    """
    if spare(Fraction(1)) > 0:
        return None
    safe, spent = Fraction(0), Fraction(1)
    for _ in range(90):
        middle = (safe + spent) / 2
        if spare(middle) > 0:
            safe = middle
        else:
            spent = middle
    return spent
