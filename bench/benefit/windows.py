"""
The recorded windows, and the cases that the table is made of.

A case enters some hours before the worst moment of its window against the position. Windows are
those of the manifest in the folder REAL_DATA_DIR; which events a table is about is its caller's.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from bot.core.model import Side
from bot.core.units import Price, Ratio
from bot.rehearsal.bars import Bar, Bars, FundingSettled, Ohlc, read_bars

HOUR_MS = 3_600_000
OFFSETS_MS = (24 * HOUR_MS, 6 * HOUR_MS, HOUR_MS)
DIGITS = 10
"""Significant digits of a mirrored price."""


@dataclass(frozen=True, slots=True)
class Window:
    """A recorded window; `mirrored` has every return negated, and who pays whom of funding."""

    file: str
    event: str
    kind: str
    mirrored: bool = False

    @property
    def told(self) -> str:
        """The event as the table names it."""
        return f"{self.event} mirrored" if self.mirrored else self.event


@dataclass(frozen=True, slots=True)
class Case:
    """A position of 1,000 USDT of margin, entered at the first bar at or after `entry_at_ms`."""

    window: Window
    side: Side
    leverage: int
    offset_ms: int
    entry_at_ms: int


def data_folder() -> Path:
    """Where the recorded windows are. Ends the process where nobody said it."""
    text = os.environ.get("REAL_DATA_DIR")
    if not text or not (Path(text) / "manifest.json").is_file():
        raise SystemExit(f"REAL_DATA_DIR: expected a folder with a manifest.json, was {text!r}")
    return Path(text)


def windows(folder: Path) -> tuple[Window, ...]:
    """Every window of the manifest but the histories."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return tuple(
        Window(entry["file"], entry["event"], entry["kind"])
        for entry in manifest["klines"]
        if entry["kind"] != "history"
    )


def cases(
    folder: Path,
    chosen: Iterable[Window],
    leverages: Sequence[int],
    offsets_ms: Sequence[int] = OFFSETS_MS,
) -> Iterator[Case]:
    """The cases of the windows; none where the extreme is in the first bar."""
    for window in chosen:
        rows = bars_of(folder, window).rows
        for side in Side:
            worst = worst_of(rows, side)
            if worst is rows[0]:
                continue
            for offset_ms in offsets_ms:
                at_ms = worst.open_at_ms - offset_ms
                entry = next(row for row in rows if row.open_at_ms >= at_ms)
                for leverage in leverages:
                    yield Case(window, side, leverage, offset_ms, entry.open_at_ms)


def worst_of(rows: Sequence[Bar], side: Side) -> Bar:
    """The first bar with the mark price that is worst for `side`."""
    if side is Side.LONG:
        return min(rows, key=lambda row: row.mark.low)
    return max(rows, key=lambda row: row.mark.high)


@lru_cache(maxsize=16)
def bars_of(folder: Path, window: Window) -> Bars:
    """The bars of a window."""
    bars = read_bars(folder / window.file)
    return mirrored(bars) if window.mirrored else bars


def mirrored(bars: Bars) -> Bars:
    """
    The same bars with every return negated: p becomes a^2 / p, a being the first price.

    A fall by a half becomes a rise to the double. Longs receive what they paid.
    """
    anchor = bars.rows[0].last.open ** 2
    return replace(bars, rows=tuple(_mirrored(row, anchor) for row in bars.rows))


def _mirrored(bar: Bar, anchor: Decimal) -> Bar:
    match bar.funding:
        case FundingSettled(rate=rate) as settled:
            funding: Bar = replace(bar, funding=replace(settled, rate=Ratio(-rate)))
        case _:
            funding = bar
    return replace(funding, last=_turned(bar.last, anchor), mark=_turned(bar.mark, anchor))


def _turned(ohlc: Ohlc, anchor: Decimal) -> Ohlc:
    open_, high, low, close = (
        Price(_short(anchor / price)) for price in (ohlc.open, ohlc.low, ohlc.high, ohlc.close)
    )
    return Ohlc(open_, high, low, close)


def _short(price: Decimal) -> Decimal:
    return price.quantize(Decimal(1).scaleb(price.adjusted() - DIGITS + 1))
