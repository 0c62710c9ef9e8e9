"""The rule of liquidation in exact fractions, solved by bisection alone: what the tests trust."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    MaintenanceAt,
    Side,
    TierMeasure,
)


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
        by_mark = self._instrument.rules.maintenance_at is MaintenanceAt.MARK
        needed = self._maintenance(self._value(mark if by_mark else self._entry))
        return self._margin + self._gain(mark) - needed - self._closing(mark)

    def _value(self, price: Fraction) -> Fraction:
        if self._instrument.kind is ContractKind.LINEAR:
            return self._quantity * price
        return self._quantity / price

    def _gain(self, mark: Fraction) -> Fraction:
        if self._instrument.kind is ContractKind.LINEAR:
            return self._sign * self._quantity * (mark - self._entry)
        return self._sign * self._quantity * (1 / self._entry - 1 / mark)

    def _closing(self, mark: Fraction) -> Fraction:
        fee = Fraction(self._instrument.taker_fee)
        match self._instrument.rules.close_fee:
            case CloseFee.NONE:
                return Fraction(0)
            case CloseFee.MARK:
                return self._value(mark) * fee
            case CloseFee.BANKRUPTCY:
                return self._bankrupt_value(fee) * fee

    def _bankrupt_value(self, fee: Fraction) -> Fraction:
        """Bisected: where margin and gain just pay the fee of closing there."""
        rising = (self._sign > 0) is (self._instrument.kind is ContractKind.LINEAR)
        entry = self._value(self._entry)
        low, high = Fraction(0), (entry + self._margin) * 4

        def left(value: Fraction) -> Fraction:
            return self._margin + (value - entry) * (1 if rising else -1) - value * fee

        if (left(low) > 0) is (left(high) > 0):
            return Fraction(0)
        for _ in range(150):
            middle = (low + high) / 2
            if (left(middle) > 0) is rising:
                high = middle
            else:
                low = middle
        return low

    def _maintenance(self, notional: Fraction) -> Fraction:
        """As if each slice of the notional paid the rate of its own tier, or all that of one."""
        due, tiers = Fraction(0), self._instrument.tiers
        if self._instrument.rules.tier_measure is TierMeasure.QUANTITY:
            (tier,) = (each for each in tiers if each.floor < self._quantity <= each.cap)
            return notional * Fraction(tier.rate) - Fraction(tier.deduction)
        for tier in tiers:
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
