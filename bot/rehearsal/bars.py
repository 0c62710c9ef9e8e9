"""
Recorded bars: reading a price file, strictly.

A file that is not exactly what it claims to be is refused with one line that says where, what was
expected and what was found. Nothing is repaired, filled in or skipped: a rehearsal on invented
prices would prove nothing.
"""

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from importlib.resources import files
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TypeAlias

from bot.core.units import Price, Ratio
from bot.rehearsal.listing import NOT_LISTED, Listed, listing_of


class DataError(Exception):
    """A price file cannot be used. The message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Ohlc:
    """First, greatest, smallest and last price of a bar."""

    open: Price
    high: Price
    low: Price
    close: Price


@dataclass(frozen=True, slots=True)
class FundingSettled:
    """
    Funding was settled at the open of the bar: longs paid `rate` of notional to shorts.

    `interval_ms` is the distance to the settlement before: venues change it. For the first one
    of a file it is the distance to the second.
    """

    rate: Ratio
    interval_ms: int


@dataclass(frozen=True, slots=True)
class NoFunding:
    """No settlement is recorded for the bar."""


FundingSettlement: TypeAlias = FundingSettled | NoFunding


@dataclass(frozen=True, slots=True)
class Bar:
    """What the last price and the mark price did in the interval from `open_at_ms` on."""

    open_at_ms: int
    last: Ohlc
    mark: Ohlc
    funding: FundingSettlement


@dataclass(frozen=True, slots=True)
class Bars:
    """
    Bars of one symbol without a gap: at least two, each `interval_ms` after the one before.

    `symbol` is the unified name, BTC/USDT:USDT. Where `mark_is_recorded` is False the file has
    no mark price and every bar's `mark` is its `last`. `provenance` is what the file's comments
    say about its origin, or else its name.
    """

    venue: str
    symbol: str
    interval_ms: int
    mark_is_recorded: bool
    rows: tuple[Bar, ...]
    provenance: str
    listing: Listed = NOT_LISTED


_SCENARIOS = files("bot.rehearsal") / "scenarios"
_LAST = ("open", "high", "low", "close")
_MARK = ("mark_open", "mark_high", "mark_low", "mark")
_REQUIRED = ("ts_ms", *_LAST, "volume")
_HEADER = ",".join(_REQUIRED)
_KNOWN = frozenset({*_REQUIRED, *_MARK, "funding_rate"})
_AT_MS_DIGITS = 13
_INTERVAL_MS_MIN = 1_000
# Wider than any market, but finite: every price can be rounded and every path ends.
_PRICES = Decimal("1e-12"), Decimal("1e12")
_VOLUMES = Decimal(0), Decimal("1e24")
_FUNDING_RATES = Decimal(-1), Decimal(1)
_FILE_NAME = re.compile(r"([a-z0-9-]+)_([0-9A-Z]+(?:_PERP)?)(?:_.*)?")
_LINEAR_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD")


def scenario_names() -> tuple[str, ...]:
    """Names of the bundled recordings that `read_bars` knows."""
    return tuple(sorted(table.name.removesuffix(".csv") for table in _SCENARIOS.iterdir()))


def read_bars(source: str | Path) -> Bars:
    """
    Read the scenario called `source`, or the .csv, .csv.gz or .parquet file at that path.

    The columns are `ts_ms,open,high,low,close,volume[,mark,mark_open,mark_high,mark_low]
    [,funding_rate]` in any order: `ts_ms` is the bar's open in UTC milliseconds, `mark` the
    mark's close, `funding_rate` a fraction on bars that open with a settlement (two of them at
    least, or none) and empty elsewhere. Leading lines of a CSV may be `#` comments. Venue and
    symbol are in the file's name, VENUE_SYMBOL_anything.csv, or in the comments `# venue: ...`
    and `# symbol: ...`. A comment `# listing: {...}` has the contract's steps, fee and tiers, as
    `listing_json` writes them: in the settle currency, those of BTCUSD in BTC.

    Raises `DataError` for everything that is not so.
    """
    return bars_of(_sheet(source))


@dataclass(frozen=True, slots=True)
class Sheet:
    """
    A price file as it is written: cells of text under the names of their columns.

    `first_row` is the number of the first of `rows` in messages about `file`: of a CSV its line.
    `comments` and `listing` are what the file says besides.
    """

    file: str
    columns: tuple[str, ...]
    first_row: int
    rows: Sequence[Sequence[str]]
    comments: tuple[str, ...] = ()
    listing: Listed = NOT_LISTED


def bars_of(sheet: Sheet) -> Bars:
    """The bars of a sheet; raises `DataError`."""
    columns = _columns(sheet)
    parsed = [
        _bar(sheet.file, number, columns, cells)
        for number, cells in enumerate(sheet.rows, sheet.first_row)
    ]
    opens_at_ms = [bar.open_at_ms for bar, _ in parsed]
    interval_ms = _interval_ms(sheet.file, sheet.first_row, opens_at_ms)
    rows = _with_settlements(sheet.file, sheet.first_row, parsed)
    venue, symbol = _identity(sheet.file, sheet.comments)
    origin = (
        line for line in sheet.comments if not line.startswith(("venue:", "symbol:", "listing:"))
    )
    return Bars(
        venue=venue,
        symbol=symbol,
        interval_ms=interval_ms,
        mark_is_recorded="mark" in columns,
        rows=rows,
        provenance=" ".join(origin) or Path(sheet.file).name,
        listing=sheet.listing,
    )


def _sheet(source: str | Path) -> Sheet:
    if source in scenario_names():
        table = _SCENARIOS / f"{source}.csv"
        return _csv(table.name, table.read_text("utf-8"))
    file = str(source)
    try:
        if file.endswith(".parquet"):
            return _parquet(Path(source))
        data = Path(source).read_bytes()
    except FileNotFoundError:
        raise DataError(_not_found(file)) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: expected a readable file, was: {error}") from error
    if not file.endswith((".csv", ".csv.gz")):
        name = Path(file).name
        expected = "expected .csv, .csv.gz or .parquet at its end"
        raise DataError(f"{file}: name: {expected}, was {name!r}")
    try:
        text = (gzip.decompress(data) if file.endswith(".gz") else data).decode("utf-8-sig")
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{file}: expected a whole gzip file, was damaged: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: expected UTF-8 text, was: {error}") from error
    return _csv(file, text)


def _csv(file: str, text: str) -> Sheet:
    lines = text.splitlines()
    comments = tuple(line.lstrip("# ") for line in takewhile(lambda line: line[:1] == "#", lines))
    header_line = len(comments) + 1
    if header_line > len(lines):
        raise DataError(f"{file}:{header_line}: header: expected {_HEADER}, was nothing")
    columns = tuple(lines[header_line - 1].split(","))
    rows = [line.split(",") for line in lines[header_line:]]
    return Sheet(file, columns, header_line + 1, rows, comments, _listing(file, comments))


def _listing(file: str, comments: Sequence[str]) -> Listed:
    """What a CSV says of its contract, in a comment as a Parquet file keeps it."""
    said = [line.removeprefix("listing:") for line in comments if line.startswith("listing:")]
    if not said:
        return NOT_LISTED
    try:
        return listing_of(json.loads(said[0]))
    except ValueError as e:
        raise DataError(f"{file}: {e}") from e


def _parquet(path: Path) -> Sheet:
    # A heavy library, which only such a file needs.
    from bot.rehearsal.parquet import Unreadable, read_table  # noqa: PLC0415

    try:
        table = read_table(path)
        about = table.about
        listing = listing_of(about["listing"]) if "listing" in about else NOT_LISTED
    except (Unreadable, ValueError) as e:
        raise DataError(f"{path}: {e}") from e
    comments = tuple(f"{name}: {about[name]}" for name in ("venue", "symbol") if name in about)
    return Sheet(str(path), table.columns, 1, table.rows, comments, listing)


def _not_found(file: str) -> str:
    names = scenario_names()
    near = get_close_matches(_stem(file), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{file}: expected a file or a scenario ({', '.join(names)}), was neither{hint}"


def _stem(file: str) -> str:
    return re.split(r"\.csv|\.parquet", Path(file).name)[0]


def _columns(sheet: Sheet) -> tuple[str, ...]:
    columns = sheet.columns
    place = f"{sheet.file}:{sheet.first_row - 1}: "
    if columns[:1] == ("symbol",):
        raise DataError(f"{place}symbol: expected a file of one symbol, was a long file of many")
    for column in columns:
        if column not in _KNOWN:
            known = ", ".join(sorted(_KNOWN))
            raise DataError(f"{place}{column}: expected one of {known}, was unknown")
        if columns.count(column) > 1:
            raise DataError(f"{place}{column}: expected once, was there {columns.count(column)}x")
    wanted = _REQUIRED + (_MARK if any(column in columns for column in _MARK) else ())
    for column in wanted:
        if column not in columns:
            raise DataError(f"{place}{column}: expected this column, was missing")
    return columns


@dataclass(frozen=True, slots=True)
class _Row:
    """The cells of a line by column, and where the line is."""

    file: str
    number: int
    cells: dict[str, str]

    def wrong(self, column: str, expected: str) -> DataError:
        was = self.cells[column]
        return DataError(f"{self.file}:{self.number}: {column}: expected {expected}, was {was!r}")

    def open_at_ms(self) -> int:
        text = self.cells["ts_ms"]
        # Seconds and microseconds, the usual mistakes, have 10 and 16 digits.
        if not (len(text) == _AT_MS_DIGITS and text.isascii() and text.isdigit()):
            raise self.wrong("ts_ms", f"milliseconds since 1970, {_AT_MS_DIGITS} digits")
        return int(text)

    def number_within(self, column: str, low: Decimal, high: Decimal) -> Decimal:
        try:
            value = Decimal(self.cells[column])
            if low <= value <= high:
                return value
        except InvalidOperation:  # no number at all, or NaN, which has no order
            pass
        raise self.wrong(column, f"a number from {low:f} to {high:f}")

    def ohlc(self, columns: tuple[str, str, str, str]) -> Ohlc:
        prices = [Price(self.number_within(column, *_PRICES)) for column in columns]
        open_, high, low, close = prices
        if high < max(prices):
            raise self.wrong(columns[1], f"the greatest price of the bar, {max(prices)}")
        if low > min(prices):
            raise self.wrong(columns[2], f"the smallest price of the bar, {min(prices)}")
        return Ohlc(open_, high, low, close)


def _bar(
    file: str, number: int, columns: tuple[str, ...], cells: Sequence[str]
) -> tuple[Bar, Ratio | NoFunding]:
    """The bar of a row without its settlement, and the rate of that."""
    if len(cells) != len(columns):
        expected = f"{len(columns)} as in the header"
        raise DataError(f"{file}:{number}: cells: expected {expected}, was {len(cells)}")
    row = _Row(file, number, dict(zip(columns, cells, strict=True)))
    open_at_ms = row.open_at_ms()
    last = row.ohlc(_LAST)
    mark = row.ohlc(_MARK) if "mark" in columns else last
    row.number_within("volume", *_VOLUMES)
    bar = Bar(open_at_ms, last, mark, NoFunding())
    if row.cells.get("funding_rate", "") == "":
        return bar, NoFunding()
    return bar, Ratio(row.number_within("funding_rate", *_FUNDING_RATES))


def _with_settlements(
    file: str, first_line: int, parsed: list[tuple[Bar, Ratio | NoFunding]]
) -> tuple[Bar, ...]:
    """The bars with what was settled at their open."""
    settled = [index for index, (_, rate) in enumerate(parsed) if not isinstance(rate, NoFunding)]
    if len(settled) == 1:
        expected = "none, or two and more, as one does not say how often funding is settled"
        raise DataError(f"{file}:{first_line + settled[0]}: funding_rate: expected {expected}")
    at_ms = [parsed[index][0].open_at_ms for index in settled]
    distances = [after - before for before, after in pairwise(at_ms)]
    interval_ms = dict(zip(settled, [*distances[:1], *distances], strict=True))
    return tuple(
        bar
        if isinstance(rate, NoFunding)
        else replace(bar, funding=FundingSettled(rate, interval_ms[index]))
        for index, (bar, rate) in enumerate(parsed)
    )


def _interval_ms(file: str, first_line: int, opens_at_ms: list[int]) -> int:
    """The most common distance of two rows, once it is the distance of all."""
    if len(opens_at_ms) <= 1:
        raise DataError(f"{file}:{first_line}: rows: expected two or more, was {len(opens_at_ms)}")
    distances = [after - before for before, after in pairwise(opens_at_ms)]

    def wrong(index: int, expected: str) -> DataError:
        place = f"{file}:{first_line + index + 1}: ts_ms"
        return DataError(f"{place}: expected {expected}, was {opens_at_ms[index + 1]}")

    for index, distance in enumerate(distances):
        if distance == 0:
            raise wrong(index, "a new time, not that of the row before")
        if distance < 0:
            raise wrong(index, f"a time after that of the row before, {opens_at_ms[index]}")
    counts = Counter(distances)
    interval_ms = max(counts, key=lambda distance: (counts[distance], -distance))
    if interval_ms < _INTERVAL_MS_MIN:
        raise wrong(0, f"bars of {_INTERVAL_MS_MIN} ms or longer")
    for index, distance in enumerate(distances):
        if distance != interval_ms:
            due = opens_at_ms[index] + interval_ms
            raise wrong(index, f"no gap: {due}, {interval_ms} ms after the row before")
    return interval_ms


def _identity(file: str, comments: Sequence[str]) -> tuple[str, str]:
    """Venue and unified symbol, from the comments or else from the file's name."""
    name = _FILE_NAME.fullmatch(_stem(file))
    said = dict(zip(("venue", "symbol"), name.groups(), strict=True)) if name else {}
    for line in comments:
        key, colon, value = line.partition(":")
        if colon:
            said[key] = value.strip()
    if not {"venue", "symbol"} <= said.keys():
        form = "VENUE_SYMBOL_anything.csv, or '# venue: ...' and '# symbol: ...' on top"
        raise DataError(f"{file}: name: expected {form}, was {Path(file).name!r}")
    market = said["symbol"]
    for quote in _LINEAR_QUOTES:
        base = market.removesuffix(quote)
        if base not in ("", market):
            return said["venue"], f"{base}/{quote}:{quote}"
    coin = market.removesuffix("_PERP").removesuffix("USD")
    if market in (f"{coin}USD", f"{coin}USD_PERP") and coin:
        return said["venue"], f"{coin}/USD:{coin}"  # paid in the coin: an inverse contract
    expected = f"a symbol that ends with {', '.join(_LINEAR_QUOTES)}, or USD where the coin pays"
    raise DataError(f"{file}: symbol: expected {expected}, was {market!r}")
