"""
Margin arithmetic of the tests, in exact fractions and bracket by bracket.

It shares facts with the guard and no formula: no deductions, no root of a tier, only sums.
"""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from bot.core.cross import Book
from bot.core.model import CloseFee, Instrument, MaintenanceAt, Position, Side

BISECTIONS = 110


def gain(position: Position, price: Fraction) -> Fraction:
    """Unrealised profit at `price`."""
    moved = price - Fraction(position.entry_price)
    return Fraction(position.quantity) * (moved if position.side is Side.LONG else -moved)


def required(instrument: Instrument, position: Position, price: Fraction) -> Fraction:
    """What the venue demands at the mark price `price`, each bracket at its own rate."""
    at_mark = instrument.rules.maintenance_at is MaintenanceAt.MARK
    valued = price if at_mark else Fraction(position.entry_price)
    notional = Fraction(position.quantity) * valued
    total = Fraction(0)
    for tier in instrument.tiers:
        top = notional if tier.cap == Decimal("Infinity") else min(notional, Fraction(tier.cap))
        total += max(top - Fraction(tier.floor), Fraction(0)) * Fraction(tier.rate)
    if instrument.rules.close_fee is CloseFee.MARK:
        total += Fraction(position.quantity) * price * Fraction(instrument.taker_fee)
    return total


def surplus(instrument: Instrument, position: Position, price: Fraction) -> Fraction:
    """Margin balance of an isolated position less what is demanded."""
    balance = Fraction(position.isolated_margin) + gain(position, price)
    return balance - required(instrument, position, price)


def shared_surplus(book: Book, shock: Fraction) -> Fraction:
    """What a wallet with its cross positions has beyond the demand, after a common shock."""
    total = Fraction(book.wallet_balance)
    for leg in book.legs:
        moved = Fraction(leg.beta) * shock
        factor = 1 - moved if leg.position.side is Side.LONG else 1 + moved
        price = Fraction(leg.mark_price) * max(factor, Fraction(0))
        total += gain(leg.position, price) - required(leg.instrument, leg.position, price)
    return total


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
