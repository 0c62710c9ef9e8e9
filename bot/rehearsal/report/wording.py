"""Numbers and times as the report writes them: for reading, rounded, times in UTC."""

from datetime import UTC, datetime
from decimal import Decimal

DIGITS = 6
"""Significant digits of a price: more than any chart shows."""


def day(at_ms: int) -> str:
    """A date, like 12 March 2020."""
    moment = _utc(at_ms)
    return f"{moment.day} {moment:%B %Y}"


def clock(at_ms: int) -> str:
    """A time of day to the second."""
    return f"{_utc(at_ms):%H:%M:%S}"


def moment(at_ms: int) -> str:
    """Date and time to the second, UTC."""
    return f"{day(at_ms)}, {clock(at_ms)} UTC"


def iso(at_ms: int) -> str:
    """A moment for machines."""
    return f"{_utc(at_ms):%Y-%m-%dT%H:%M:%SZ}"


def money(amount: Decimal, coin: str) -> str:
    """An amount with separators: to the cent of a dollar, of another coin to a millionth."""
    return f"{amount:,.2f}" if "USD" in coin else f"{amount:,.6f}"


def price(value: Decimal) -> str:
    """A price to six digits, with separators, without zeros at its end."""
    return f"{Decimal(f'{value:.{DIGITS}g}').normalize():,f}"


def quantity(value: Decimal) -> str:
    """A quantity as exact as it is."""
    return f"{value.normalize():,f}"


def percent(share: Decimal) -> str:
    """A ratio as a percentage with two decimals."""
    return f"{share * 100:.2f}%"


def threshold(share: Decimal) -> str:
    """A ratio that a policy names: as many decimals as it needs."""
    return f"{(share * 100).normalize():f}%"


def base(symbol: str) -> str:
    """The coin of a unified symbol."""
    return symbol.split("/", maxsplit=1)[0]


def times(count: int) -> str:
    """How often, in words."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
