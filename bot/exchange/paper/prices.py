"""Prices and time as the paper exchange takes them: both are handed in, never looked up."""

from dataclasses import dataclass
from typing import Protocol

from bot.core.units import Price


@dataclass(frozen=True, slots=True)
class PricePoint:
    """
    Where the prices of one symbol are at one moment.

    Between two points of a symbol `mark` and `last` travel in a straight line. A path is
    ordered by `at_ms`, over all its symbols.
    """

    at_ms: int
    symbol: str
    mark: Price
    last: Price


class Clock(Protocol):
    """Wall time in milliseconds. A simulation's own, or the real one."""

    def now_ms(self) -> int:
        """The time now."""

    async def sleep_ms(self, ms: int, /) -> None:
        """Return once `ms` milliseconds have passed; at once when `ms` is not positive."""
