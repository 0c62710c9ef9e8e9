"""
Volatility: how far a price goes by itself, and a distance to liquidation measured by that.

    true range = max(high, close before) - min(low, close before)
    ATR        = the mean of the first n true ranges, then (ATR before (n - 1) + true range) / n
    sigma      = sample standard deviation of ln(close / close before)

Sources: J. W. Wilder, New Concepts in Technical Trading Systems (1978), for the true range and
its smoothed average; sigma is the close-to-close estimator. It is carried to other durations by
the square root of time, which takes returns as independent of each other. In a crash they are
not: what follows from sigma is how far a calm market goes, never how far a market can go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TypeAlias

from bot.core.model import BAR_MS, PriceBar, Side
from bot.core.units import ZERO, Price, Ratio

ATR_BARS = 14
"""Over so many true ranges Wilder smooths."""

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class TooFewBars:
    """The bars do not reach for the measure: how many it needs, and how many there are."""

    needed: int
    given: int


@dataclass(frozen=True, slots=True)
class Volatility:
    """The ATR of a symbol's hours and the sigma of its days, of bars up to `closed_at_ms`."""

    atr: Price
    sigma_day: Ratio
    closed_at_ms: int


@dataclass(frozen=True, slots=True)
class NoVolatility:
    """The bars up to `closed_at_ms` give no measure, and why."""

    reason: str
    closed_at_ms: int


Swings: TypeAlias = Volatility | NoVolatility


def swings_of(bars: Sequence[PriceBar], closed_at_ms: int) -> Swings:
    """What hourly bars, the newest of which ended at `closed_at_ms`, say of a symbol."""
    atr, sigma = average_true_range(bars), sigma_of(bars)
    if isinstance(atr, TooFewBars) or isinstance(sigma, TooFewBars):
        reason = f"it takes {ATR_BARS + 1} hourly bars, there are {len(bars)}"
        return NoVolatility(reason, closed_at_ms)
    if atr <= ZERO or sigma <= ZERO:
        return NoVolatility(f"the price did not move in {len(bars)} hours", closed_at_ms)
    return Volatility(atr, sigma_over(sigma, BAR_MS, DAY_MS), closed_at_ms)


def joined(bars: Sequence[PriceBar], size: int) -> tuple[PriceBar, ...]:
    """Every `size` bars as one; what is left over is at the beginning, and left out."""
    first = len(bars) % size
    groups = (bars[at : at + size] for at in range(first, len(bars), size))
    return tuple(
        PriceBar(
            high=max(bar.high for bar in group),
            low=min(bar.low for bar in group),
            close=group[-1].close,
        )
        for group in groups
    )


def average_true_range(bars: Sequence[PriceBar]) -> Price | TooFewBars:
    """The ATR after the last of `bars`, which are at least one more than `ATR_BARS`."""
    ranges = [_true_range(before, bar) for before, bar in pairwise(bars)]
    if len(ranges) < ATR_BARS:
        return TooFewBars(ATR_BARS + 1, len(bars))
    average = sum(ranges[:ATR_BARS], ZERO) / ATR_BARS
    for each in ranges[ATR_BARS:]:
        average = (average * (ATR_BARS - 1) + each) / ATR_BARS
    return Price(average)


def sigma_of(bars: Sequence[PriceBar]) -> Ratio | TooFewBars:
    """Sigma of one bar's log return, over at least three bars."""
    returns = [(bar.close / before.close).ln() for before, bar in pairwise(bars)]
    if len(returns) <= 1:
        return TooFewBars(3, len(bars))
    mean = sum(returns, ZERO) / len(returns)
    squares = sum(((each - mean) ** 2 for each in returns), ZERO)
    return Ratio((squares / (len(returns) - 1)).sqrt())


def sigma_over(sigma: Ratio, interval_ms: int, duration_ms: int) -> Ratio:
    """What `sigma` of one interval is over a duration."""
    return Ratio(sigma * (Decimal(duration_ms) / interval_ms).sqrt())


def log_distance(side: Side, mark: Price, liquidation: Price) -> Decimal:
    """
    s ln(mark / liquidation): the distance as a log return, as sigma is one; signed.

    Close to the plain liquidation distance while that is small.
    """
    return side.sign * (mark / liquidation).ln()


def time_to_liquidation(distance: Decimal, sigma: Ratio, drift: Decimal) -> Decimal:
    """
    The duration after which an adverse move of one sigma, with what funding took, is `distance`.

    In the unit of time for which `sigma`, above 0, and `drift`, 0 or above, hold; `distance` and
    `drift` as log returns. The t with sigma sqrt(t) + drift t = distance, from the quadratic in
    sqrt(t) in the form that also holds without drift.
    """
    if distance <= ZERO:
        return ZERO
    root = (sigma**2 + 4 * drift * distance).sqrt()
    return (2 * distance / (sigma + root)) ** 2


def _true_range(before: PriceBar, bar: PriceBar) -> Decimal:
    return max(bar.high, before.close) - min(bar.low, before.close)
