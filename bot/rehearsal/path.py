"""
Recorded bars as a price path.

A bar says which prices were reached, not in which order or how fast. The path takes the order that
is worse for the account, and straight lines: a rehearsal must not flatter the guard.
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise

from bot.core.model import Side
from bot.core.units import Price, Ratio
from bot.exchange.paper.prices import PricePoint
from bot.rehearsal.bars import Bar, Bars, Ohlc


def price_path(bars: Bars, symbol: str, against: Side, step: Ratio) -> Iterator[PricePoint]:
    """
    The prices of `bars` over time, worst order first for an account whose net side is `against`.

    Each bar runs in three straight legs of a third of the interval each: open, the extreme
    adverse to `against` (the low for a long), the other extreme, close. At every moment mark and
    last are the same fraction of the leg between their own corners. The close is one
    millisecond before the next bar's open, so the difference between the two is a jump.

    A point comes at every corner, with the recorded prices, and in between whenever mark or last
    is about to have moved by more than `step` since the last point, or a millisecond later where
    prices are faster than that. Times strictly increase. Every point lies on its leg, to 8
    decimals or 8 significant digits, whichever is finer, and never outside the bar.
    """
    for bar in bars.rows:
        corners = _corners(bar, bars.interval_ms, symbol, against)
        yield corners[0]
        for start, end in pairwise(corners):
            yield from _leg(start, end, step)


def _corners(bar: Bar, interval_ms: int, symbol: str, against: Side) -> list[PricePoint]:
    offsets_ms = (0, interval_ms // 3, 2 * interval_ms // 3, interval_ms - 1)
    marks, lasts = _order(bar.mark, against), _order(bar.last, against)
    return [
        PricePoint(bar.open_at_ms + offset_ms, symbol, mark, last)
        for offset_ms, mark, last in zip(offsets_ms, marks, lasts, strict=True)
    ]


def _order(ohlc: Ohlc, against: Side) -> tuple[Price, Price, Price, Price]:
    extremes = (ohlc.low, ohlc.high) if against is Side.LONG else (ohlc.high, ohlc.low)
    return (ohlc.open, *extremes, ohlc.close)


def _leg(start: PricePoint, end: PricePoint, step: Ratio) -> Iterator[PricePoint]:
    """The points after `start`, up to and including `end`."""
    length_ms = end.at_ms - start.at_ms
    mark_move, last_move = end.mark - start.mark, end.last - start.last
    point = start
    while True:
        mark_wait_ms = _wait_ms(point.mark, mark_move, length_ms, step)
        last_wait_ms = _wait_ms(point.last, last_move, length_ms, step)
        at_ms = point.at_ms + max(1, min(mark_wait_ms, last_wait_ms))
        if at_ms >= end.at_ms:
            yield end
            return
        fraction = Decimal(at_ms - start.at_ms) / length_ms
        mark = _between(start.mark, end.mark, fraction)
        last = _between(start.last, end.last, fraction)
        point = PricePoint(at_ms, start.symbol, mark, last)
        yield point


def _wait_ms(price: Price, move: Decimal, length_ms: int, step: Ratio) -> int:
    """How long a price that makes `move` in `length_ms` stays within `step` of `price`."""
    return int(price * step * length_ms / abs(move)) if move else length_ms


def _between(start: Price, end: Price, fraction: Decimal) -> Price:
    exact = start + (end - start) * fraction
    rounded = exact.quantize(Decimal(1).scaleb(min(-8, exact.adjusted() - 7)))
    # A recorded extreme can have more digits than that: rounding must not go beyond it.
    return Price(min(max(rounded, min(start, end)), max(start, end)))
