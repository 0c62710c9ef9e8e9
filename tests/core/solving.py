"""
What a solved amount must hold: the target is reached with it, and not with a step less.

All in the exact sums of exact.py, which share no formula with the guard.
"""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from bot.core.cross import Book, Leg
from bot.core.model import Instrument, MarginMode, MarginOnReduce, Position, Side
from bot.core.sizing import (
    AlreadyThere,
    AtRatio,
    CannotReach,
    Target,
    close_to_reach,
    leverage_to_keep,
    margin_to_reach,
    transfer_to_reach,
)
from bot.core.units import Money, Price, Quantity, Ratio
from tests.core.exact import gain, required, shared_surplus, surplus, worth

NOTHING = Fraction(1, 10**18)
"""Less than this of a position's value is no miss: the guard calculates with 28 digits."""


def short_of(instrument: Instrument, position: Position, mark: Price, to: Target) -> Fraction:
    """How much balance is missing at the target, negative where some is to spare."""
    match to:
        case AtRatio(ratio):
            at = Fraction(mark)
            balance = Fraction(position.isolated_margin) + gain(instrument, position, at)
            return required(instrument, position, at) - Fraction(ratio) * balance
        case distance:
            way = 1 - Fraction(distance) if position.side is Side.LONG else 1 + Fraction(distance)
            return -surplus(instrument, position, Fraction(mark) * way)


def check_margin(instrument: Instrument, position: Position, mark: Price, to: Target) -> str:
    """Enough margin, and not a step too much; what the answer was."""
    size = worth(instrument, position, Fraction(mark))
    match margin_to_reach(instrument, position, mark, to):
        case AlreadyThere():
            assert short_of(instrument, position, mark, to) <= size * NOTHING
            return "already"
        case CannotReach():
            assert not isinstance(to, AtRatio)
            assert position.side is Side.LONG
            assert to >= 1
            return "cannot"
        case amount:
            step = instrument.rules.position_margin_step
            assert amount % step == 0
            assert short_of(instrument, _with(position, amount), mark, to) <= size * NOTHING
            assert short_of(instrument, _with(position, amount - step), mark, to) > -size * NOTHING
            return "solved"


def check_close(
    instrument: Instrument, position: Position, mark: Price, fill: Price, to: Target
) -> str:
    """Enough closed, and not a step too much; nothing less than all where it cannot be."""
    size = worth(instrument, position, Fraction(mark))
    step = instrument.quantity_step

    def left_short(closed: Decimal) -> Fraction:
        rest = _after_close(instrument, position, closed, fill)
        return short_of(instrument, rest, mark, to)

    match close_to_reach(instrument, position, mark, fill, to):
        case AlreadyThere():
            assert short_of(instrument, position, mark, to) <= size * NOTHING
            return "already"
        case CannotReach():
            if not isinstance(to, AtRatio) and position.side is Side.LONG and to >= 1:
                return "cannot"
            for share in range(1, 20):
                part = Decimal(share) / 20 * position.quantity // step * step
                assert left_short(part) > -size * NOTHING
            return "cannot"
        case closed:
            assert closed % step == 0 or closed == position.quantity
            if closed == position.quantity:
                assert left_short(max(closed - 2 * step, Decimal(0))) > -size * NOTHING
                return "all"
            assert left_short(closed) <= size * NOTHING
            if closed > instrument.quantity_min:
                assert left_short(closed - step) > -size * NOTHING
            return "solved"


def check_leverage(instrument: Instrument, position: Position, to: Target) -> str:
    """With the margin of that leverage the target is kept, and not with that of a step more."""
    step = Decimal("0.01")
    entry = position.entry_price
    value = worth(instrument, position, Fraction(entry))

    def short_at(leverage: Decimal) -> Fraction:
        margin = value / Fraction(leverage)
        backed = replace(position, isolated_margin=Money(_up(margin)))
        return short_of(instrument, backed, entry, to)

    match leverage_to_keep(instrument, position, to, step):
        case CannotReach():
            if isinstance(to, AtRatio) or position.side is Side.SHORT or to < 1:
                assert short_at(Decimal(1)) > -value * NOTHING
            return "cannot"
        case leverage:
            assert short_at(leverage) <= value * NOTHING
            if leverage < max(tier.leverage_max for tier in instrument.tiers):
                assert leverage % step == 0
                assert short_at(leverage + step) > -value * NOTHING
            return "solved"


def check_transfer(instrument: Instrument, position: Position, mark: Price, to: Target) -> str:
    """Enough for a wallet that backs only this position, and not a step too much."""
    shared = replace(position, margin_mode=MarginMode.CROSS, isolated_margin=Money(Decimal(0)))
    leg = Leg(instrument, shared, mark, Ratio(Decimal(1)))
    book = Book(position.isolated_margin, (leg,))
    step = instrument.rules.position_margin_step
    size = worth(instrument, position, Fraction(mark))

    def missing(wallet: Decimal) -> Fraction:
        richer = replace(book, wallet_balance=Money(wallet))
        if isinstance(to, AtRatio):
            needed = required(instrument, shared, Fraction(mark))
            balance = Fraction(wallet) + gain(instrument, shared, Fraction(mark))
            return needed - Fraction(to.ratio) * balance
        return -shared_surplus(richer, Fraction(to))

    match transfer_to_reach(book, to, step):
        case AlreadyThere():
            assert missing(book.wallet_balance) <= size * NOTHING
            return "already"
        case CannotReach():
            return "cannot"
        case amount:
            assert missing(book.wallet_balance + amount) <= size * NOTHING
            assert missing(book.wallet_balance + amount - step) > -size * NOTHING
            return "solved"


def _with(position: Position, added: Decimal) -> Position:
    return replace(position, isolated_margin=Money(position.isolated_margin + added))


def _after_close(
    instrument: Instrument, position: Position, closed: Decimal, fill: Price
) -> Position:
    """The rest of a position once part of it was closed and what that freed was put back."""
    part = replace(position, quantity=Quantity(closed))
    margin = Fraction(position.isolated_margin)
    if instrument.rules.margin_on_reduce is MarginOnReduce.PRO_RATA and closed:
        fee = worth(instrument, part, Fraction(fill)) * Fraction(instrument.taker_fee)
        margin += gain(instrument, part, Fraction(fill)) - fee
    return replace(
        position,
        quantity=Quantity(position.quantity - closed),
        isolated_margin=Money(_up(margin)),
    )


def _up(amount: Fraction) -> Decimal:
    return Decimal(amount.numerator) / amount.denominator
