"""
Units: one type a kind of number, so that a price is never added to a ratio unseen.

Every one is an exact `Decimal` at run time. Wall times and durations are plain `int`
milliseconds and say so in their names (`_at_ms`, `_ms`).
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NewType

Price = NewType("Price", Decimal)
"""Quote currency per one unit of base, e.g. 61,250.10 USDT per BTC."""

Quantity = NewType("Quantity", Decimal)
"""
Amount of base currency of a linear contract, face value in quote currency of an inverse one.

Never negative: direction is `Side`.
"""

Money = NewType("Money", Decimal)
"""Amount of the settle currency, e.g. USDT, or BTC where an inverse contract pays in it."""

Ratio = NewType("Ratio", Decimal)
"""A share of one: 0.12 is written `12%` in a policy."""

Duration = NewType("Duration", int)
"""Milliseconds, written `30s`, `10m`, `1h` in a policy."""

ZERO = Decimal(0)
ONE = Decimal(1)


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """`value` rounded down (towards minus infinity) to a multiple of `step`."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """`value` rounded up (towards plus infinity) to a multiple of `step`."""
    return (value / step).to_integral_value(ROUND_CEILING) * step
