"""Prices and time as the paper exchange takes them: both are handed in, never looked up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bot.core.model import PriceBar
from bot.core.units import Price, Ratio


@dataclass(frozen=True, slots=True)
class AsMark:
    """Nobody said where the index price is: it is where the mark price is."""


AS_MARK = AsMark()


@dataclass(frozen=True, slots=True)
class Prices:
    """
    Where a symbol is: `mark` liquidates and triggers stops, at `last` it was traded.

    `index` is what the mark price follows; it only triggers orders that ask for it.
    """

    mark: Price
    last: Price
    index: Price | AsMark = AS_MARK


@dataclass(frozen=True, slots=True)
class PricePoint:
    """
    Where the prices of one symbol are at one moment.

    Between two points of a symbol its prices travel in straight lines.
    """

    at_ms: int
    symbol: str
    mark: Price
    last: Price
    index: Price | AsMark = AS_MARK


@dataclass(frozen=True, slots=True)
class FundingTerm:
    """
    From `at_ms` on the venue announces the next bill of a symbol.

    At `next_at_ms` longs pay `rate` of their notional at mark to shorts; `interval_ms` is the
    present distance of two settlements. Without a new term nothing is settled after that.
    """

    at_ms: int
    symbol: str
    rate: Ratio
    next_at_ms: int
    interval_ms: int


PathItem: TypeAlias = PricePoint | FundingTerm
"""What a path is made of. Its items are ordered by `at_ms`, over all symbols."""


@dataclass(frozen=True, slots=True)
class ClosedBars:
    """
    Bars of a mark price, each of `BAR_MS`, oldest first, without a gap.

    The newest of them ended at `closed_at_ms`.
    """

    closed_at_ms: int
    bars: tuple[PriceBar, ...]


Charts: TypeAlias = Callable[[str, int], ClosedBars]
"""The newest `BARS_MAX` bars of a symbol that had closed at a time, or as many as there were."""


def no_charts(symbol: str, at_ms: int) -> ClosedBars:
    """A venue that keeps no bars."""
    return ClosedBars(0, ())


class Clock(Protocol):
    """Wall time in milliseconds. A simulation's own, or the real one."""

    def now_ms(self) -> int:
        """The time now."""

    async def sleep_ms(self, ms: int, /) -> None:
        """Return once `ms` milliseconds have passed; at once when `ms` is not positive."""
