"""
Hourly bars of mark prices, as a venue would show them, from what a rehearsal lives through.

Nothing is shown before its hour is over.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise

from bot.core.model import BAR_MS, BARS_MAX, PriceBar
from bot.core.units import Price
from bot.exchange.paper.prices import Charts, ClosedBars, no_charts
from bot.rehearsal.bars import Bars


def recorded_charts(recordings: Iterable[Bars]) -> Charts:
    """The charts of recordings: all that is in them, from before a position's entry too."""
    by_symbol = {bars.symbol: bars for bars in recordings}
    return lambda symbol, at_ms: _recorded(by_symbol[symbol], at_ms)


def _recorded(bars: Bars, at_ms: int) -> ClosedBars:
    """Whole hours; none where the bars do not fill an hour exactly."""
    first_ms, interval_ms = bars.rows[0].open_at_ms, bars.interval_ms
    ends_ms = min(at_ms, first_ms + len(bars.rows) * interval_ms) // BAR_MS * BAR_MS
    begins_ms = max(ends_ms - BARS_MAX * BAR_MS, -(-first_ms // BAR_MS) * BAR_MS)
    if BAR_MS % interval_ms or first_ms % interval_ms or begins_ms >= ends_ms:
        return no_charts(bars.symbol, at_ms)
    size = BAR_MS // interval_ms
    first, end = (begins_ms - first_ms) // interval_ms, (ends_ms - first_ms) // interval_ms
    hours = (bars.rows[index : index + size] for index in range(first, end, size))
    joined = tuple(
        PriceBar(
            high=max(row.mark.high for row in rows),
            low=min(row.mark.low for row in rows),
            close=rows[-1].mark.close,
        )
        for rows in hours
    )
    return ClosedBars(ends_ms, joined)


def drawn_charts(lines: Mapping[str, Sequence[tuple[int, Price]]]) -> Charts:
    """The charts of prices that were met at given times, in their order; none goes back."""
    return lambda symbol, at_ms: _drawn(lines.get(symbol, ()), at_ms)


def _drawn(line: Sequence[tuple[int, Price]], at_ms: int) -> ClosedBars:
    """Where an hour has no price of its own the price stood still."""
    ends_ms = at_ms // BAR_MS * BAR_MS
    hours = [
        (hour, [price for _, price in points])
        for hour, points in groupby(line, key=lambda point: point[0] // BAR_MS)
    ]
    bars: list[PriceBar] = []
    for (hour, prices), (following, _) in pairwise([*hours, (ends_ms // BAR_MS, [])]):
        if (hour + 1) * BAR_MS > ends_ms:
            break
        met = [bars[-1].close, *prices] if bars else prices
        bars.append(PriceBar(max(met), min(met), prices[-1]))
        still = min(following, ends_ms // BAR_MS) - hour - 1
        bars.extend([PriceBar(prices[-1], prices[-1], prices[-1])] * still)
    return ClosedBars(ends_ms, tuple(bars[-BARS_MAX:])) if bars else no_charts("", at_ms)
