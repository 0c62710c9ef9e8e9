"""The rule of liquidation in exact fractions and without any solving: what the tests trust."""

from decimal import Decimal
from fractions import Fraction

from bot.core.model import Instrument, MaintenanceAt, Side


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
        """Positive while the position is safe."""
        rules = self._instrument.rules
        by_mark = rules.maintenance_at is MaintenanceAt.MARK
        needed = self._maintenance(self._quantity * (mark if by_mark else self._entry))
        if rules.close_fee_in_maintenance:
            needed += self._quantity * mark * Fraction(self._instrument.taker_fee)
        return self._margin + self._sign * self._quantity * (mark - self._entry) - needed

    def _maintenance(self, notional: Fraction) -> Fraction:
        """As if each slice of the notional paid the rate of its own tier."""
        due = Fraction(0)
        for tier in self._instrument.tiers:
            top = notional if tier.cap.is_infinite() else min(notional, Fraction(tier.cap))
            due += max(top - Fraction(tier.floor), Fraction(0)) * Fraction(tier.rate)
        return due
