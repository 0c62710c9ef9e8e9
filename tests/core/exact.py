"""
Margin arithmetic of the tests, in exact fractions and bracket by bracket.

It shares facts with the guard and no formula: no deductions, no root of a tier, only sums.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from bot.core.cross import Book, Leg
from bot.core.model import (
    CloseFee,
    ContractKind,
    HedgeRequirement,
    Instrument,
    MaintenanceAt,
    MarginMode,
    Position,
    Side,
    TierMeasure,
)
from bot.core.units import Quantity

BISECTIONS = 110


def gain(instrument: Instrument, position: Position, price: Fraction) -> Fraction:
    """Unrealised profit at `price`: in quote, or in base by what the face value buys."""
    size, entry = Fraction(position.quantity), Fraction(position.entry_price)
    linear = instrument.kind is ContractKind.LINEAR
    moved = size * (price - entry) if linear else size / entry - size / price
    return moved if position.side is Side.LONG else -moved


def worth(instrument: Instrument, position: Position, price: Fraction) -> Fraction:
    """Value of the position at `price`, in the settle currency."""
    size = Fraction(position.quantity)
    return size * price if instrument.kind is ContractKind.LINEAR else size / price


def fee_to_close(instrument: Instrument, position: Position, price: Fraction) -> Fraction:
    """What the venue counts for closing the position, the mark being at `price`."""
    fee = Fraction(instrument.taker_fee)
    match instrument.rules.close_fee:
        case CloseFee.NONE:
            return Fraction(0)
        case CloseFee.MARK:
            return worth(instrument, position, price) * fee
        case CloseFee.BANKRUPTCY:
            # Where the margin pays the loss and this very fee.
            entry, size = Fraction(position.entry_price), Fraction(position.quantity)
            sign, margin = position.side.sign, Fraction(position.isolated_margin)
            if position.margin_mode is MarginMode.CROSS:
                at_entry = worth(instrument, position, entry)
                up = sign if instrument.kind is ContractKind.LINEAR else -sign
                return at_entry * (1 - up / Fraction(position.leverage)) * fee
            if instrument.kind is ContractKind.LINEAR:
                bust = (entry - sign * margin / size) / (1 - sign * fee)
                return max(bust, Fraction(0)) * size * fee
            spent = size / entry + sign * margin
            return size * fee * spent / (size * (1 + sign * fee)) if spent > 0 else Fraction(0)


def required(instrument: Instrument, position: Position, price: Fraction) -> Fraction:
    """
    What the venue demands at the mark price `price`: each bracket at its own rate.

    A table without deductions has the whole position at the rate of the bracket it is in.
    """
    at_mark = instrument.rules.maintenance_at is MaintenanceAt.MARK
    valued = worth(instrument, position, price if at_mark else Fraction(position.entry_price))
    by_value = instrument.rules.tier_measure is TierMeasure.VALUE
    size = valued if by_value else Fraction(position.quantity)
    total = Fraction(0)
    if all(tier.deduction == 0 for tier in instrument.tiers):
        within = [tier for tier in instrument.tiers if Fraction(tier.floor) < size]
        total = valued * Fraction((within or instrument.tiers)[-1].rate)
    else:
        for tier in instrument.tiers:
            top = size if tier.cap == Decimal("Infinity") else min(size, Fraction(tier.cap))
            total += max(top - Fraction(tier.floor), Fraction(0)) * Fraction(tier.rate)
    return total + fee_to_close(instrument, position, price)


def surplus(instrument: Instrument, position: Position, price: Fraction) -> Fraction:
    """Margin balance of an isolated position less what is demanded."""
    balance = Fraction(position.isolated_margin) + gain(instrument, position, price)
    return balance - required(instrument, position, price)


def shared_surplus(book: Book, shock: Fraction) -> Fraction:
    """What a wallet with its cross positions has beyond the demand, after a common shock."""
    total = Fraction(book.wallet_balance)
    for coin in book.pledges:
        factor = max(1 - Fraction(coin.beta) * shock, Fraction(0))
        total += Fraction(coin.amount) * Fraction(coin.mark_price) * factor
    for leg in book.legs:
        total += gain(leg.instrument, leg.position, _shocked(leg, shock))
    for symbol in {leg.position.symbol for leg in book.legs}:
        legs = [leg for leg in book.legs if leg.position.symbol == symbol]
        total -= _required_together(legs, shock)
    return total


def _shocked(leg: Leg, shock: Fraction) -> Fraction:
    moved = Fraction(leg.beta) * shock
    factor = 1 - moved if leg.position.side is Side.LONG else 1 + moved
    return Fraction(leg.mark_price) * max(factor, Fraction(0))


def _required_together(legs: list[Leg], shock: Fraction) -> Fraction:
    """Of one leg what it requires, of two what the venue's rule makes of them."""
    each = [required(leg.instrument, leg.position, _shocked(leg, shock)) for leg in legs]
    rule = legs[0].instrument.rules.hedge_requirement
    if len(legs) == 1 or rule is HedgeRequirement.BOTH_LEGS:
        return sum(each, Fraction(0))
    one, other = legs
    surplus_size = one.position.quantity - other.position.quantity
    if rule is HedgeRequirement.LARGER_LEG:
        return max(each) if surplus_size == 0 else each[0 if surplus_size > 0 else 1]
    larger = one if surplus_size > 0 else other
    net = replace(larger.position, quantity=Quantity(abs(surplus_size)))
    return required(larger.instrument, net, _shocked(larger, shock))


def joint_distance(book: Book) -> Fraction | None:
    """The least shock from -1 on that leaves no surplus, by bisection; None if there is none."""
    betas = [Fraction(leg.beta) for leg in book.legs if leg.beta > 0]
    shorts = any(leg.position.side is Side.SHORT and leg.beta > 0 for leg in book.legs)
    low, high = Fraction(-1), max([1 / beta for beta in betas], default=Fraction(1))
    if shared_surplus(book, low) <= 0:
        return low
    while shorts and shared_surplus(book, high) > 0:
        high *= 2
    if shared_surplus(book, high) > 0:
        return None
    return bisected(lambda shock: shared_surplus(book, shock) > 0, low, high)


def bisected(holds: Callable[[Fraction], bool], low: Fraction, high: Fraction) -> Fraction:
    """Where `holds` ends, between `low`, where it does, and `high`, where it does not."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return high
