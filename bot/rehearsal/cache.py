"""
The cache of fetched prices: a Parquet file for each month of a contract at an interval.

A file has the columns of every price file and can be replayed like one. Its metadata says which
times were asked for: a bar that is not there within them is a gap at the venue, one outside has
not been fetched.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from bot.rehearsal.bars import Bars, DataError, Sheet, bars_of, read_bars
from bot.rehearsal.listing import NOT_LISTED, Listed, Listing, listing_json, listing_of

INTERVALS_MS = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
}
"""No longer than an hour: funding is settled that often at some venues, at the open of a bar."""

COLUMNS = (
    "ts_ms", "open", "high", "low", "close", "volume",
    "mark", "mark_open", "mark_high", "mark_low", "funding_rate",
)  # fmt: skip
_MARK_AT = COLUMNS.index("mark")

Span: TypeAlias = tuple[int, int]
"""From a millisecond on, up to, not including, another."""

Cells: TypeAlias = tuple[str, ...]

_WANTED = re.compile(r"([a-z0-9]{1,40}):([0-9A-Z]{1,40}):([0-9a-z]{1,9}):(.{1,40})\.\.(.{1,40})")
_YEARS = range(2009, 2100)
_FORM = "VENUE:SYMBOL:INTERVAL:FROM..UNTIL, like binanceusdm:BTCUSDT:5m:2025-10-10..2025-10-12"


@dataclass(frozen=True, slots=True)
class Series:
    """Bars of one contract, `name` as its venue writes it, at an interval of `INTERVALS_MS`."""

    venue: str
    name: str
    interval: str

    @property
    def interval_ms(self) -> int:
        """How long a bar is."""
        return INTERVALS_MS[self.interval]

    def file(self, cache: Path, month: str) -> Path:
        """Where the bars of `month`, 2025-10, are kept."""
        series = f"{self.venue}_{self.name}_{self.interval}"
        return cache / series / f"{series}_{month}.parquet"


@dataclass(frozen=True, slots=True)
class Month:
    """What is kept of a month: the times that were asked for, and the rows that came, by time."""

    covered: tuple[Span, ...]
    rows: Mapping[int, Cells]
    listing: Listed


def months(span: Span) -> Iterator[tuple[str, Span]]:
    """The months of UTC that `span` touches, and what of it lies in each."""
    begins_ms, ends_ms = span
    while begins_ms < ends_ms:
        at = datetime.fromtimestamp(begins_ms / 1000, UTC)
        after = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
        until_ms = min(ends_ms, int(after.timestamp()) * 1000)
        yield f"{at:%Y-%m}", (begins_ms, until_ms)
        begins_ms = until_ms


def without(spans: Iterable[Span], span: Span) -> tuple[Span, ...]:
    """What of `span` none of `spans` covers, in the order of time."""
    at_ms, ends_ms = span
    left: list[Span] = []
    for begins_ms, over_ms in sorted(spans):
        if at_ms < begins_ms and at_ms < ends_ms:
            left.append((at_ms, min(begins_ms, ends_ms)))
        at_ms = max(at_ms, over_ms)
    if at_ms < ends_ms:
        left.append((at_ms, ends_ms))
    return tuple(left)


def united(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same time in as few spans as can be."""
    whole: list[Span] = []
    for begins_ms, ends_ms in sorted(spans):
        if whole and begins_ms <= whole[-1][1]:
            whole[-1] = whole[-1][0], max(whole[-1][1], ends_ms)
        else:
            whole.append((begins_ms, ends_ms))
    return tuple(whole)


def load_month(cache: Path, series: Series, month: str) -> Month:
    """What is kept of `month`; raises `DataError` for a file that is not as it was written."""
    # A heavy library, which only the cache and such files need.
    from bot.rehearsal.parquet import Unreadable, read_table  # noqa: PLC0415

    file = series.file(cache, month)
    try:
        table = read_table(file)
        covered = tuple((int(begins), int(ends)) for begins, ends in table.about["covered"])
        listing = listing_of(table.about["listing"])
        rows = {int(cells[0]): cells for cells in table.rows}
    except FileNotFoundError:
        return Month((), {}, NOT_LISTED)
    except (Unreadable, OSError, KeyError, TypeError, ValueError) as e:
        raise DataError(f"{file}: expected a month of the cache, was damaged ({e})") from e
    if table.columns != COLUMNS:
        raise DataError(f"{file}: expected the columns {','.join(COLUMNS)}, was others")
    return Month(covered, rows, listing)


def save_month(cache: Path, series: Series, month: str, kept: Month, listing: Listing) -> None:
    """Keep `kept`, as a whole or not at all. Raises `DataError` where that cannot be."""
    from bot.rehearsal.parquet import Table, write_table  # noqa: PLC0415 - as above

    about: dict[str, Any] = {
        "venue": series.venue,
        "symbol": series.name,
        "covered": [list(span) for span in kept.covered],
        "listing": listing_json(listing),
    }
    file = series.file(cache, month)
    rows = tuple(kept.rows[at_ms] for at_ms in sorted(kept.rows))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_table(file, Table(COLUMNS, rows, about))
    except OSError as e:
        raise DataError(f"{file}: expected to write the cache, was '{e.strerror}'") from e


def gaps(rows: Iterable[int], span: Span, interval_ms: int) -> tuple[Span, ...]:
    """The stretches of `span` in which no bar of `rows`, times of opening, lies."""
    return without(((at_ms, at_ms + interval_ms) for at_ms in rows), span)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A stretch of the cache that is named in a line: see `wanted`."""

    series: Series
    span: Span
    text: str


def find_bars(source: str, cache: Path) -> Bars:
    """
    The bars that `source` names: a stretch of the cache, a scenario or a price file.

    A stretch of the cache is VENUE:SYMBOL:INTERVAL:FROM..UNTIL. Raises `DataError`.
    """
    if not _WANTED.fullmatch(source) or Path(source).exists():
        return read_bars(source)
    return read_cached(wanted(source), cache)


def wanted(text: str) -> Wanted:
    """What the line `text` names; raises `DataError`."""
    found = _WANTED.fullmatch(text)
    if found is None:
        raise DataError(f"{text}: expected {_FORM}")
    venue, name, interval, begins, ends = found.groups()
    if interval not in INTERVALS_MS:
        raise DataError(f"{text}: expected an interval of {', '.join(INTERVALS_MS)}")
    try:
        span = moment_ms(begins), moment_ms(ends)
    except ValueError as e:
        raise DataError(f"{text}: expected {_FORM} ({e})") from e
    if span[0] >= span[1]:
        raise DataError(f"{text}: expected a time after the first, was {ends}")
    if any(at_ms % INTERVALS_MS[interval] for at_ms in span):
        raise DataError(f"{text}: expected times at which a bar of {interval} opens")
    return Wanted(Series(venue, name, interval), span, text)


def moment_ms(text: str) -> int:
    """
    Milliseconds since 1970 of a date or time as ISO 8601 writes it, UTC if it does not say.

    Raises `ValueError` for anything else, and for years in which there were no such markets.
    """
    at = datetime.fromisoformat(text)
    if at.year not in _YEARS:
        raise ValueError(f"a year from {_YEARS[0]} to {_YEARS[-1]}, not {at.year}")
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def read_cached(asked: Wanted, cache: Path) -> Bars:
    """The bars of a stretch of the cache; raises `DataError` where one of them is not there."""
    series, span = asked.series, asked.span
    covered: list[Span] = []
    rows: dict[int, Cells] = {}
    listing: Listed = NOT_LISTED
    for month, _ in months(span):
        kept = load_month(cache, series, month)
        covered.extend(kept.covered)
        rows |= kept.rows
        listing = kept.listing
    for begins_ms, ends_ms in without(covered, span):
        again = f"--from {iso(begins_ms)} --until {iso(ends_ms)}"
        fetch = f"data fetch --venue {series.venue} --symbol {series.name}"
        raise DataError(
            f"{asked.text}: expected fetched bars, was not fetched from {iso(begins_ms)} to "
            f"{iso(ends_ms)}: liqguard {fetch} --interval {series.interval} {again}"
        )
    marked = {at_ms: cells for at_ms, cells in rows.items() if cells[_MARK_AT]}
    for what, there in (("bars", rows), ("mark prices", marked)):
        for begins_ms, ends_ms in gaps(there, span, series.interval_ms):
            raise DataError(
                f"{asked.text}: expected {what} without a gap, was a gap at the venue from "
                f"{iso(begins_ms)} to {iso(ends_ms)}"
            )
    stretch = _stretch(marked, span, series.interval_ms)
    whole = bars_of(
        Sheet(
            file=asked.text,
            columns=COLUMNS,
            first_row=1,
            rows=stretch,
            comments=(f"venue: {series.venue}", f"symbol: {series.name}"),
            listing=listing,
        )
    )
    within = (row for row in whole.rows if span[0] <= row.open_at_ms < span[1])
    return replace(whole, rows=tuple(within), provenance=f"{asked.text}, fetched")


def _stretch(rows: Mapping[int, Cells], span: Span, interval_ms: int) -> Sequence[Cells]:
    """
    The rows around `span` that lie without a gap.

    More than asked for: how often funding is settled shows only from one settlement to the next.
    """
    begins_ms, ends_ms = span
    while begins_ms - interval_ms in rows:
        begins_ms -= interval_ms
    while ends_ms in rows:
        ends_ms += interval_ms
    return [rows[at_ms] for at_ms in range(begins_ms, ends_ms, interval_ms)]


def iso(at_ms: int) -> str:
    """A moment as `moment_ms` reads it."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{at:%Y-%m-%d}" if at_ms % 86_400_000 == 0 else f"{at:%Y-%m-%dT%H:%M}"
