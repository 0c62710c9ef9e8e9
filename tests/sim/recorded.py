"""
Prices that were recorded: a slice of the scenarios that rehearsals use, made to pass faster.

Each hour of the record passes in less than a minute, in straight lines through the corners of its
bar, the one against the position first. Several positions live through the same hours, each on a
record of its own where there are so many. How far prices go is what was recorded, in shares of
where they began.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from random import Random

from bot.core.model import Side
from bot.core.units import Price
from bot.exchange.paper.prices import PricePoint
from bot.rehearsal.bars import Bar, Bars, Ohlc, read_bars
from tests.sim.prices import CALM_FIRST_S, Trend, Weather

EVENTS = (
    ("2020-03-12-btc", "2020-03-12-eth", "2020-03-12-xrp"),
    ("2021-05-19-eth",),
    ("2025-05-08-eth",),
    ("quiet-week-btc",),
)
"""The records of the same hours."""

BAR_S = (8, 40)
"""A recorded hour passes within so many seconds."""

NEAR_THE_WORST = 0.7
"""So many of the slices hold the hour of the widest range; the others begin anywhere."""


@dataclass(frozen=True, slots=True)
class _Course:
    """Where one symbol's prices are at which time: straight lines between the corners."""

    trend: Trend
    times_ms: Sequence[int]
    corners: Sequence[tuple[float, float]]
    """Mark and last, in shares of the price at the beginning."""

    def point(self, at_ms: int) -> PricePoint:
        """The prices at a moment, on the tick."""
        after = min(bisect_right(self.times_ms, at_ms), len(self.times_ms) - 1)
        start_ms, end_ms = self.times_ms[after - 1], self.times_ms[after]
        share = min(max((at_ms - start_ms) / (end_ms - start_ms), 0.0), 1.0)
        mark, last = (
            start + (end - start) * share
            for start, end in zip(self.corners[after - 1], self.corners[after], strict=True)
        )
        return PricePoint(
            at_ms, self.trend.instrument.symbol, self._on_tick(mark), self._on_tick(last)
        )

    def _on_tick(self, share: float) -> Price:
        tick = self.trend.instrument.tick_size
        return Price(Decimal(max(round(float(self.trend.start / tick) * share), 1)) * tick)


def recorded_path(
    random: Random, start_ms: int, duration_ms: int, weather: Weather
) -> Iterator[PricePoint]:
    """The points after the start, at which prices stand still for a while."""
    records = [_record(name) for name in random.choice(EVENTS)]
    most = min(len(each.rows) for each in records)
    bar_ms = max(random.randint(*BAR_S) * 1000, duration_ms // (most - 2))
    count = min(duration_ms // bar_ms + 1, most)
    first = _first(random, records[0], most, count)
    begins_ms = start_ms + round(CALM_FIRST_S * 1000)
    courses = [
        _course(
            trend,
            records[number % len(records)].rows[first : first + count],
            begins_ms,
            bar_ms,
        )
        for number, trend in enumerate(weather.trends)
    ]
    corners_ms, at_ms = courses[0].times_ms, start_ms
    while at_ms < start_ms + duration_ms:
        step_ms = max(1, round(weather.points_ms * random.uniform(0.5, 1.5)))
        ahead_ms = (each for each in corners_ms if at_ms < each < at_ms + step_ms)
        at_ms = next(ahead_ms, at_ms + step_ms)
        for course in courses:
            yield course.point(at_ms)


def _first(random: Random, record: Bars, most: int, count: int) -> int:
    """Where the slice begins."""
    begins = range(most - count + 1)
    if random.random() >= NEAR_THE_WORST:
        return random.choice(begins)
    worst = max(range(most), key=lambda at: record.rows[at].mark.high / record.rows[at].mark.low)
    return min(max(worst - random.randrange(count), 0), begins[-1])


def _course(trend: Trend, bars: Sequence[Bar], begins_ms: int, bar_ms: int) -> _Course:
    opens = (float(bars[0].mark.open), float(bars[0].last.open))
    times_ms, corners = [begins_ms - 1], [(1.0, 1.0)]
    for number, bar in enumerate(bars):
        marks, lasts = (_order(each, trend.against) for each in (bar.mark, bar.last))
        for at_ms, mark, last in zip(
            (0, bar_ms // 3, 2 * bar_ms // 3, bar_ms - 1), marks, lasts, strict=True
        ):
            times_ms.append(begins_ms + number * bar_ms + at_ms)
            corners.append((mark / opens[0], last / opens[1]))
    return _Course(trend, times_ms, corners)


def _order(ohlc: Ohlc, against: Side) -> tuple[float, ...]:
    """`against` is the side of the position that it hurts first."""
    extremes = (ohlc.low, ohlc.high) if against is Side.LONG else (ohlc.high, ohlc.low)
    return tuple(float(each) for each in (ohlc.open, *extremes, ohlc.close))


@lru_cache
def _record(name: str) -> Bars:
    return read_bars(name)
