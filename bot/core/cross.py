"""
Margin arithmetic of all cross positions of an account: one wallet backs them together.

With W the wallet balance and, for every leg, s its side, q its quantity, E its entry price, m its
mark price and b its beta, a common adverse shock x moves each mark price to m (1 - s b x), never
below zero. Then

    equity(x)      = W + sum of s q (m (1 - s b x) - E)
    requirement(x) = sum of the legs' requirements at those prices

and the account is liquidated at the smallest x where equity <= requirement. The difference is
continuous and piecewise linear in x: it bends where a leg enters another risk tier and where a
mark price reaches zero. So the root is exact. Source: the venues liquidate a cross account on
the sum of maintenance margins (Binance, Gate, KuCoin, Hyperliquid); the common shock is ours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise

from bot.core.margin import NoLiquidation, profit, requirement, value
from bot.core.model import Instrument, MaintenanceAt, Position, PositionKey
from bot.core.units import ONE, ZERO, Money, Price, Quantity, Ratio

NEVER = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class Leg:
    """One cross position at its present mark price. `beta` weighs the common shock."""

    instrument: Instrument
    position: Position
    mark_price: Price
    beta: Ratio

    def price_after(self, shock: Decimal) -> Price:
        """The mark price after the common adverse `shock`."""
        moved = ONE - self.position.side.sign * self.beta * shock
        return Price(self.mark_price * max(moved, ZERO))


@dataclass(frozen=True, slots=True)
class Book:
    """The wallet balance and every cross position that it backs."""

    wallet_balance: Money
    legs: tuple[Leg, ...]

    def leg_of(self, key: PositionKey) -> Leg:
        """The leg of one position; raises `KeyError`."""
        for leg in self.legs:
            if leg.position.key == key:
                return leg
        raise KeyError(key)

    def after_close(self, key: PositionKey, quantity: Decimal, price: Price) -> "Book":
        """The book once `quantity` of a leg was closed at `price`, the taker fee paid."""
        leg = self.leg_of(key)
        position = leg.position
        gain = profit(leg.instrument, position.side, quantity, position.entry_price, price)
        fee = value(leg.instrument, quantity, price) * leg.instrument.taker_fee
        left = replace(position, quantity=Quantity(position.quantity - quantity))
        legs = (replace(each, position=left) if each is leg else each for each in self.legs)
        return Book(Money(self.wallet_balance + gain - fee), tuple(legs))


@dataclass(frozen=True, slots=True)
class LiquidatesAfter:
    """The smallest common adverse shock that liquidates the account; signed."""

    shock: Ratio


def equity(book: Book, shock: Decimal = ZERO) -> Money:
    """Wallet balance plus unrealised profit after the common adverse `shock`."""
    gains = (
        leg.position.side.sign
        * leg.position.quantity
        * (leg.price_after(shock) - leg.position.entry_price)
        for leg in book.legs
    )
    return Money(book.wallet_balance + sum(gains, ZERO))


def total_requirement(book: Book, shock: Decimal = ZERO) -> Money:
    """Equity at or below which the venue liquidates the account, after `shock`."""
    each = (requirement(leg.instrument, leg.position, leg.price_after(shock)) for leg in book.legs)
    return Money(sum(each, ZERO))


def spare(book: Book, shock: Decimal) -> Money:
    """Equity beyond the requirement after the common adverse `shock`."""
    return Money(equity(book, shock) - total_requirement(book, shock))


def joint_liquidation(book: Book) -> LiquidatesAfter | NoLiquidation:
    """
    The joint distance of the book: the signed shock where its spare money is gone.

    Negative where it is gone already: so far the marks would have to come back.
    """
    borders = sorted({border for leg in book.legs for border in _bends(leg)})
    if spare(book, ZERO) > ZERO:
        ahead = [ZERO, *(border for border in borders if border > ZERO)]
        reached = first_root(lambda shock: -spare(book, shock), ahead)
        if reached == NEVER:
            return NoLiquidation("the wallet covers the whole loss of all positions together")
        return LiquidatesAfter(Ratio(reached))
    behind = [ZERO, *(-border for border in reversed(borders) if border < ZERO)]
    back = first_root(lambda recovery: spare(book, -recovery), behind)
    return LiquidatesAfter(Ratio(max(-back, -ONE)))


def first_root(rising: Callable[[Decimal], Decimal], borders: list[Decimal]) -> Decimal:
    """
    The smallest x from the first of `borders` on where `rising` reaches zero, or `NEVER`.

    `rising` is continuous and linear between the ascending borders and beyond the last of them.
    """
    if rising(borders[0]) >= ZERO:
        return borders[0]
    for low, high in pairwise(borders):
        below, above = rising(low), rising(high)
        if above >= ZERO:
            return low + (high - low) * below / (below - above)
    last = borders[-1]
    below, slope = rising(last), rising(last + ONE) - rising(last)
    return last - below / slope if slope > ZERO else NEVER


def _bends(leg: Leg) -> Iterable[Decimal]:
    """The shocks at which the spare money of a leg bends."""
    sign, mark, quantity = leg.position.side.sign, leg.mark_price, leg.position.quantity
    if ZERO in (leg.beta, quantity):
        return
    gone = ONE / leg.beta
    yield sign * (gone if gone * leg.beta >= ONE else gone.next_plus())  # no price is left
    match leg.instrument.rules.maintenance_at:
        case MaintenanceAt.MARK:
            for tier in leg.instrument.tiers:
                if tier.cap.is_finite():
                    yield sign * (ONE - tier.cap / (quantity * mark)) / leg.beta
        case MaintenanceAt.ENTRY:
            pass
