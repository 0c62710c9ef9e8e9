"""
Margin arithmetic of one isolated linear position under risk tiers.

With s = +1 for a long and -1 for a short, q the quantity, E the entry price, B the isolated
margin and p the mark price:

    margin balance(p)      = B + s q (p - E)
    maintenance margin(p)  = q p rate - deduction          (valued at mark)
                           = q E rate - deduction          (valued at entry)
    requirement(p)         = maintenance margin + q p taker fee, where the venue adds it

The exchange liquidates where margin balance <= requirement. Source: the venues' published
formulas (Binance "liquidation price of USD-M futures", Gate, Bybit, Bitunix), which this one
equation reproduces; `tests/core/test_margin.py` holds their printed numbers.
"""

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TypeAlias

from bot.core.model import CloseFee, Instrument, MaintenanceAt, Position, RiskTier
from bot.core.units import ZERO, Money, Price, Ratio


@dataclass(frozen=True, slots=True)
class LiquidatesAt:
    """The exchange liquidates when the mark price reaches `price`."""

    price: Price


@dataclass(frozen=True, slots=True)
class LiquidatesTogether:
    """
    A cross position: liquidated when all cross positions of the account have moved together.

    Its own mark price is then at `price`. It moves by `per_distance` while the joint distance
    shrinks by one: its present mark price times its beta.
    """

    price: Price
    per_distance: Decimal


@dataclass(frozen=True, slots=True)
class NoLiquidation:
    """No mark price liquidates the position, and why that is so."""

    proof: str


Liquidation: TypeAlias = LiquidatesAt | LiquidatesTogether | NoLiquidation


def tier_of(instrument: Instrument, notional: Decimal) -> RiskTier:
    """The tier that a position of `notional` falls in; the last one is open-ended."""
    return next((tier for tier in instrument.tiers if notional <= tier.cap), instrument.tiers[-1])


def tiers_are_continuous(instrument: Instrument) -> bool:
    """Whether the maintenance margin is a continuous, rising function of notional."""
    tiers = instrument.tiers
    return (
        tiers[0].floor == ZERO
        and tiers[0].deduction == ZERO
        and not tiers[-1].cap.is_finite()
        and all(
            low.cap == high.floor
            and low.rate <= high.rate
            and low.cap * low.rate - low.deduction == high.floor * high.rate - high.deduction
            for low, high in pairwise(tiers)
        )
    )


def margin_balance(position: Position, price: Price) -> Money:
    """Isolated margin plus unrealised profit at `price`."""
    gain = position.side.sign * position.quantity * (price - position.entry_price)
    return Money(position.isolated_margin + gain)


def requirement(instrument: Instrument, position: Position, price: Price) -> Money:
    """Margin balance at or below which the venue liquidates at the mark price `price`."""
    notional = position.quantity * price
    match instrument.rules.maintenance_at:
        case MaintenanceAt.MARK:
            valued = notional
        case MaintenanceAt.ENTRY:
            valued = position.quantity * position.entry_price
    tier = tier_of(instrument, valued)
    return Money(valued * tier.rate - tier.deduction + notional * _close_fee(instrument))


def liquidation(instrument: Instrument, position: Position) -> LiquidatesAt | NoLiquidation:
    """
    The mark price where margin balance and requirement meet.

    Solved in every tier; the root that lies in its own tier counts. A continuous table has
    exactly one, or none for a long whose margin covers its whole entry value.
    """
    sign, quantity = position.side.sign, position.quantity
    fee = _close_fee(instrument)
    gap = position.isolated_margin - sign * quantity * position.entry_price
    match instrument.rules.maintenance_at:
        case MaintenanceAt.MARK:
            roots = [
                (gap + tier.deduction) / (quantity * (tier.rate + fee - sign))
                for tier in instrument.tiers
            ]
            inside = [
                root
                for root, tier in zip(roots, instrument.tiers, strict=True)
                if tier.floor <= quantity * root <= tier.cap
            ]
        case MaintenanceAt.ENTRY:
            valued = quantity * position.entry_price
            tier = tier_of(instrument, valued)
            inside = [(gap - valued * tier.rate + tier.deduction) / (quantity * (fee - sign))]
    reached = [root for root in inside if root > ZERO]
    if not reached:
        return NoLiquidation("the margin covers the whole entry value and the maintenance margin")
    return LiquidatesAt(Price(reached[0]))


def liquidation_distance(position: Position, mark: Price, price: Price) -> Ratio:
    """s (mark - liquidation) / mark: how far the mark may go against the position; signed."""
    return Ratio(position.side.sign * (mark - price) / mark)


def margin_at(instrument: Instrument, position: Position, price: Price) -> Money:
    """The isolated margin with which the position would be liquidated exactly at `price`."""
    gain = position.side.sign * position.quantity * (price - position.entry_price)
    return Money(requirement(instrument, position, price) - gain)


def funding_payment(position: Position, mark: Price, rate: Ratio) -> Money:
    """What a settlement at `rate` charges the position; negative where the position is paid."""
    return Money(position.side.sign * position.quantity * mark * rate)


def _close_fee(instrument: Instrument) -> Decimal:
    return instrument.taker_fee if instrument.rules.close_fee is CloseFee.MARK else ZERO
