"""Cross positions on one wallet, as tests name them."""

from decimal import Decimal

from bot.core.cross import Book, Leg
from bot.core.model import Instrument, MarginMode, Position, Side
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build


def cross(
    symbol: str,
    side: Side = Side.LONG,
    *,
    quantity: build.Number = 1,
    entry_price: build.Number = 100,
) -> Position:
    """A cross position: no margin of its own."""
    return build.position(
        symbol,
        side,
        quantity=quantity,
        entry_price=entry_price,
        margin=0,
        margin_mode=MarginMode.CROSS,
    )


def leg(
    position: Position,
    mark: build.Number,
    *,
    beta: build.Number = 1,
    instrument: Instrument | None = None,
) -> Leg:
    """`position` at a mark price, by default at a flat rate of 0.5 %."""
    rules = instrument or build.instrument(position.symbol)
    return Leg(rules, position, Price(Decimal(mark)), Ratio(Decimal(beta)))


def book(wallet: build.Number, *legs: Leg) -> Book:
    return Book(Money(Decimal(wallet)), legs)


def flat_rate(symbol: str, rate: build.Number, **rules: object) -> Instrument:
    """An instrument with one risk tier."""
    return build.instrument(symbol, risk_tiers=build.tiers((0, rate)), **rules)  # type: ignore[arg-type]
