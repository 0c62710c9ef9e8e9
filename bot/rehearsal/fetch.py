"""
Fetching history into the cache: page by page, each kept before the next one is asked for.

What was fetched is not asked for again, so that an interrupted fetch goes on where it stopped. A
bar that does not come is asked for once more by itself; only then it is a gap at the venue.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from bot.core.units import Price, Quantity, Ratio
from bot.exchange.history import Contract, HistoryRefused, Kline, VenueHistory
from bot.rehearsal.bars import DataError
from bot.rehearsal.cache import (
    Cells,
    Month,
    Series,
    Span,
    gaps,
    iso,
    load_month,
    months,
    save_month,
    united,
    without,
)
from bot.rehearsal.listing import Listing, tiers_of

MINUTE_MS = 60_000
LATE_MS = 5_000
"""Venues stamp a settlement some milliseconds after the minute that it belongs to."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """
    What is in the cache now of one contract.

    `span` is what was asked for as far as its bars are closed. `bars` are there of it, `new` ones
    came now. `gaps` are stretches for which the venue has no bars, `mark_gaps` those where bars
    have no mark price; `settlements` of funding lie in it.
    """

    series: Series
    symbol: str
    span: Span
    files: tuple[Path, ...]
    bars: int
    new: int
    gaps: tuple[Span, ...]
    mark_gaps: tuple[Span, ...]
    settlements: int
    tiers: int


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the rows of a series come from and go to."""

    history: VenueHistory
    contract: Contract
    series: Series
    cache: Path
    listing: Listing


async def fetch(
    history: VenueHistory,
    named: str,
    interval: str,
    span: Span,
    cache: Path,
    progress: Callable[[int], None],
) -> Fetched:
    """
    Fetch the bars of the contract called `named` that open within `span` and are closed.

    `progress` hears the time that the cache has reached. Raises `HistoryRefused`, `Unreachable`,
    `DataError`.
    """
    contract = await history.contract(named)
    series = Series(history.venue, contract.name, interval)
    now_ms = await history.now_ms()
    closed_ms = now_ms - now_ms % series.interval_ms
    span = span[0], min(span[1], closed_ms)
    if span[0] >= span[1]:
        raise HistoryRefused(f"from: expected a time before {iso(closed_ms)}, was {iso(span[0])}")
    source = _Source(history, contract, series, cache, _listing(contract))
    new = 0
    for month, part in months(span):
        new += await _fetch_month(source, month, part, progress)
    return _summary(source, span, new)


def _listing(contract: Contract) -> Listing:
    rows = [(tier.cap, tier.maintenance_margin_rate, tier.leverage_max) for tier in contract.tiers]
    try:
        tiers = tiers_of(rows)
    except ValueError as e:
        raise DataError(f"{contract.symbol}: {e}") from e
    return Listing(
        tick_size=Price(contract.tick_size),
        quantity_step=Quantity(contract.quantity_step),
        quantity_min=Quantity(contract.quantity_min),
        taker_fee=Ratio(contract.taker_fee),
        tiers=tiers,
    )


async def _fetch_month(
    source: _Source, month: str, span: Span, progress: Callable[[int], None]
) -> int:
    """Fetch what is missing of `span`, which lies in `month`; how many bars came."""
    series, new = source.series, 0
    kept = load_month(source.cache, series, month)
    page_ms = source.history.bars_max * series.interval_ms
    for begins_ms, ends_ms in without(kept.covered, span):
        rates = await _rates(source, (begins_ms, ends_ms))
        for at_ms in range(begins_ms, ends_ms, page_ms):
            page = at_ms, min(at_ms + page_ms, ends_ms)
            rows = await _rows(source, page, rates)
            kept = Month(united([*kept.covered, page]), {**kept.rows, **rows}, source.listing)
            save_month(source.cache, series, month, kept, source.listing)
            new += len(rows)
            progress(page[1])
    progress(span[1])
    return new


async def _rates(source: _Source, span: Span) -> dict[int, Decimal]:
    """The rates of the settlements within `span`, by the minute that they belong to."""
    rates: dict[int, Decimal] = {}
    for settled in await source.history.settlements(source.contract.symbol, span):
        late_ms = settled.at_ms % MINUTE_MS
        at_ms = settled.at_ms - late_ms
        if late_ms > LATE_MS or at_ms % source.series.interval_ms:
            raise DataError(
                f"{source.contract.symbol}: expected settlements of funding when a bar of "
                f"{source.series.interval} opens, was {settled.at_ms}; fetch shorter bars"
            )
        rates[at_ms] = settled.rate
    return rates


async def _rows(source: _Source, page: Span, rates: dict[int, Decimal]) -> dict[int, Cells]:
    """The rows of a page, which all have a last price."""
    last = await _bars(source, page, mark=False)
    mark = await _bars(source, page, mark=True)
    return {at_ms: _cells(bar, mark.get(at_ms), rates.get(at_ms)) for at_ms, bar in last.items()}


async def _bars(source: _Source, page: Span, *, mark: bool) -> dict[int, Kline]:
    """All bars of a page that the venue has."""
    interval_ms = source.series.interval_ms

    async def ask(span: Span) -> tuple[Kline, ...]:
        history, symbol = source.history, source.contract.symbol
        return await history.klines(symbol, source.series.interval, span, mark=mark)

    found = await complete(ask, page, interval_ms)
    for at_ms in found:
        if at_ms % interval_ms:
            expected = f"bars that open every {source.series.interval}"
            raise DataError(f"{source.contract.symbol}: expected {expected}, was {at_ms}")
    return found


async def complete(
    ask: Callable[[Span], Awaitable[tuple[Kline, ...]]], page: Span, interval_ms: int
) -> dict[int, Kline]:
    """
    All bars of `page`, though an answer may hold fewer than there are.

    What is missing is asked for by itself until that brings nothing, twice.
    """
    found: dict[int, Kline] = {}
    doubted: set[Span] = set()
    open_spans = [page]
    while open_spans:
        span = open_spans.pop()
        came = {bar.open_at_ms: bar for bar in await ask(span)}
        found |= came
        if came:
            open_spans.extend(gaps(came, span, interval_ms))
        elif span not in doubted:
            doubted.add(span)
            open_spans.append(span)
    return found


def _cells(last: Kline, mark: Kline | None, rate: Decimal | None) -> Cells:
    prices = (last.open, last.high, last.low, last.close, last.volume)
    marks = () if mark is None else (mark.close, mark.open, mark.high, mark.low)
    return (
        str(last.open_at_ms),
        *(f"{number:f}" for number in prices),
        *((f"{number:f}" for number in marks) if marks else ("", "", "", "")),
        "" if rate is None else f"{rate:f}",
    )


def _summary(source: _Source, span: Span, new: int) -> Fetched:
    series = source.series
    rows: dict[int, Cells] = {}
    files: list[Path] = []
    for month, _ in months(span):
        files.append(series.file(source.cache, month))
        rows |= load_month(source.cache, series, month).rows
    within = {at_ms: cells for at_ms, cells in rows.items() if span[0] <= at_ms < span[1]}
    marked = [at_ms for at_ms, cells in within.items() if cells[6]]
    lost = gaps(within, span, series.interval_ms)
    unmarked = gaps(marked, span, series.interval_ms)
    return Fetched(
        series=series,
        symbol=source.contract.symbol,
        span=span,
        files=tuple(files),
        bars=len(within),
        new=new,
        gaps=lost,
        mark_gaps=tuple(part for whole in unmarked for part in without(lost, whole)),
        settlements=sum(1 for cells in within.values() if cells[-1]),
        tiers=len(source.contract.tiers),
    )
