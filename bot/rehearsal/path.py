"""
Recorded bars as a path of prices and bills.

A bar says which prices were reached, not in which order or how fast. The path takes the order that
is worse for the account, and straight lines: a rehearsal must not flatter the guard.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from heapq import merge
from itertools import pairwise

from bot.core.model import Side
from bot.core.units import Price, Ratio
from bot.exchange.paper.prices import FundingTerm, PathItem, PricePoint
from bot.rehearsal.bars import Bar, Bars, DataError, FundingSettled, Ohlc


def in_common(recordings: Sequence[Bars], from_ms: int) -> tuple[Bars, ...]:
    """
    The bars of each symbol over the time that all of them cover, from `from_ms` on.

    It begins where bars of all open together and ends where bars of all close together, so
    that no symbol's price ever stands still for want of data. Raises `DataError` if there is no
    such time.
    """
    opens = [{row.open_at_ms for row in bars.rows} for bars in recordings]
    closes = [{row.open_at_ms + bars.interval_ms for row in bars.rows} for bars in recordings]
    ends_ms = max(set.intersection(*closes), default=from_ms)
    begins = (at_ms for at_ms in set.intersection(*opens) if from_ms <= at_ms < ends_ms)
    begins_ms = min(begins, default=ends_ms)
    if begins_ms >= ends_ms:
        raise DataError(_nothing_in_common(recordings, from_ms))
    return tuple(
        replace(
            bars,
            rows=tuple(
                row
                for row in bars.rows
                if begins_ms <= row.open_at_ms and row.open_at_ms + bars.interval_ms <= ends_ms
            ),
        )
        for bars in recordings
    )


def _nothing_in_common(recordings: Sequence[Bars], from_ms: int) -> str:
    spans = ", ".join(
        f"{bars.symbol} from {bars.rows[0].open_at_ms} to {bars.rows[-1].open_at_ms} "
        f"every {bars.interval_ms} ms"
        for bars in recordings
    )
    what = "a time before the data ends" if len(recordings) == 1 else "bars of a time in common"
    return f"entry: expected {what}, was {from_ms} with {spans}"


def book_path(
    legs: Iterable[tuple[Bars, Side]], step: Ratio, *, funding: bool
) -> Iterator[PathItem]:
    """
    The prices of several symbols, and with `funding` their bills, in the order of time.

    Every symbol's prices are ordered against its own position's side, as `price_path` says. What
    comes at the same moment keeps the order of `legs`, all prices before all bills.
    """
    positions = tuple(legs)
    prices = [price_path(bars, against, step) for bars, against in positions]
    bills = [funding_terms(bars) for bars, _ in positions] if funding else []
    return merge(*prices, *bills, key=lambda item: item.at_ms)


def funding_terms(bars: Bars) -> Iterator[FundingTerm]:
    """
    The recorded settlements of `bars`, each announced from the one before on.

    The first is announced at the open of the first bar; what was settled at that very moment
    is over. Venues publish the rate ahead as an estimate that moves until the settlement: here
    the announcement is the recorded rate from the start. After the last settlement nothing is
    announced, as nothing is known.
    """
    announced_ms = bars.rows[0].open_at_ms
    for row in bars.rows[1:]:
        if isinstance(row.funding, FundingSettled):
            yield FundingTerm(
                at_ms=announced_ms,
                symbol=bars.symbol,
                rate=row.funding.rate,
                next_at_ms=row.open_at_ms,
                interval_ms=row.funding.interval_ms,
            )
            announced_ms = row.open_at_ms


def price_path(bars: Bars, against: Side, step: Ratio) -> Iterator[PricePoint]:
    """
    The prices of `bars` over time, worst order first for a position whose side is `against`.

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
        corners = _corners(bar, bars, against)
        yield corners[0]
        for start, end in pairwise(corners):
            yield from _leg(start, end, step)


def _corners(bar: Bar, bars: Bars, against: Side) -> list[PricePoint]:
    interval_ms = bars.interval_ms
    offsets_ms = (0, interval_ms // 3, 2 * interval_ms // 3, interval_ms - 1)
    marks, lasts = _order(bar.mark, against), _order(bar.last, against)
    return [
        PricePoint(bar.open_at_ms + offset_ms, bars.symbol, mark, last)
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
