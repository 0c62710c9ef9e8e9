"""
The benefit table: what presets and simpler ways leave of 1,000 USDT of margin and as much reserve.

Every recorded window in the folder REAL_DATA_DIR, long and short, 3x to 20x, entered 24, 6 and 1
hours before its worst moment: `python bench/policies.py`, or `make bench ONLY=policies`. Some
windows or costs only: `--events 2020-03-12,2021-05-19 --mirrored`, `--slippage-bps 50
--latency-ms 2000`. Without the data it says so and does nothing.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from decimal import ROUND_DOWN, Decimal
from functools import cache
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console
from rich.progress import track

from bench.benefit.books import BookCase, Shared, book_cases
from bench.benefit.guarded import run_guarded_fast
from bench.benefit.measures import Outcome, Summary, beside, summary_of, without_each
from bench.benefit.plain import MARGIN, RESERVE, Costs, Plain, path_of
from bench.benefit.windows import HOUR_MS, Case, Window, bars_of, cases, data_folder, windows
from bot.core.model import Instrument
from bot.core.policy import Policy
from bot.core.units import Money, Ratio
from bot.exchange.venues.binanceusdm import instruments
from bot.logs import configure
from bot.policy.loader import load_policy, parse_policy
from bot.policy.preset import PRESETS, account_file
from bot.rehearsal.setups import STEP, ByMargin, Opening, Setup

BUFFERS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
BPS = 10_000
JOBS = 2
STEP_OF_BOOK = Ratio(Decimal("0.0025"))
"""Books take long, so their prices come in coarser steps."""

CENT = Decimal("0.01")

Found: TypeAlias = dict[str, list[Outcome]]
"""Outcomes by the way the position was looked after."""

_HEADER = (
    "| | cases | liquidated | mean | median | geometric | worst 5 % | means of events |",
    "|---|---:|---:|---:|---:|---:|---:|---:|",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the table is about."""

    folder: Path
    windows: tuple[Window, ...]
    leverages: tuple[int, ...]
    policies: tuple[str, ...]
    offsets_ms: tuple[int, ...]
    books: bool
    slippage_bps: int
    latency_ms: int


def main() -> None:
    """Run the cases over processes and print the table."""
    if "REAL_DATA_DIR" not in os.environ:
        sys.stdout.write("policies: REAL_DATA_DIR is not set, so there is nothing to run on\n")
        return
    asked, as_json = _asked()
    outcomes: dict[str, list[Outcome]] = {}
    with ProcessPoolExecutor(JOBS, mp_context=get_context("spawn"), initializer=_hush) as pool:
        done, parts = _begun(pool, asked)
        shown = Console(stderr=True)
        for part in track(done, "cases", parts, console=shown, transient=True):
            for name, found in part.items():
                outcomes.setdefault(name, []).extend(found)
    if as_json is not None:
        rows = {name: [asdict(each) for each in found] for name, found in outcomes.items()}
        as_json.write_text(json.dumps(rows), encoding="utf-8")
    lines = book_table(outcomes) if asked.books else table(outcomes, asked.policies)
    sys.stdout.write("\n".join(lines) + "\n")


def _begun(pool: Executor, asked: Asked) -> tuple[Iterator[Found], int]:
    """What comes back of all parts of the work, and how many they are."""
    if asked.books:
        books = list(book_cases(asked.folder, asked.windows, asked.leverages, asked.offsets_ms))
        return pool.map(_run_book, books, [asked] * len(books)), len(books)
    parts = _parts(asked)
    return pool.map(_run, parts, [asked] * len(parts)), len(parts)


def _asked() -> tuple[Asked, Path | None]:
    parser = argparse.ArgumentParser(description="What presets and plain stops leave.")
    parser.add_argument("--events", help="only these, with commas between")
    parser.add_argument("--kinds", default="crash,up,quiet", help="only windows of these kinds")
    parser.add_argument("--mirrored", action="store_true", help="their mirror images as well")
    parser.add_argument("--leverages", default="3,5,10,20", help="with commas between")
    parser.add_argument("--policies", default=",".join(PRESETS), help="presets or files")
    parser.add_argument("--books", action="store_true", help="several on one wallet instead")
    parser.add_argument("--hours", default="24,6,1", help="before the worst; with commas between")
    parser.add_argument("--only", default="", help="only windows with this in their file's name")
    parser.add_argument("--slippage-bps", type=int, default=5, help="worse than last by")
    parser.add_argument("--latency-ms", type=int, default=250, help="from a price to an effect")
    parser.add_argument("--json", type=Path, help="write every outcome to this file")
    given = parser.parse_args()
    folder = data_folder()
    chosen = [
        each
        for each in windows(folder)
        if each.kind in given.kinds.split(",") and given.only in each.file
    ]
    if given.events is not None:
        chosen = [each for each in chosen if each.event in given.events.split(",")]
    if given.mirrored:
        chosen += [replace(each, mirrored=True) for each in chosen]
    return Asked(
        folder=folder,
        windows=tuple(chosen),
        leverages=tuple(map(int, given.leverages.split(","))),
        policies=tuple(filter(None, given.policies.split(","))),
        offsets_ms=tuple(int(hours) * HOUR_MS for hours in given.hours.split(",")),
        books=given.books,
        slippage_bps=given.slippage_bps,
        latency_ms=given.latency_ms,
    ), given.json


def _parts(asked: Asked) -> list[tuple[Case, ...]]:
    """The cases of one window, side and entry together: they share their path."""
    every = cases(asked.folder, asked.windows, asked.leverages, asked.offsets_ms)
    shared = groupby(every, key=lambda case: (case.window, case.side, case.entry_at_ms))
    return [tuple(part) for _, part in shared]


def _run(part: tuple[Case, ...], asked: Asked) -> Found:
    """The outcomes of positions that share their path."""
    first = part[0]
    bars = bars_of(asked.folder, first.window)
    listed = instruments()[bars.symbol]
    rows = tuple(row for row in bars.rows if row.open_at_ms >= first.entry_at_ms)
    path, costs = path_of(rows, first.side), _costs(asked, listed)
    found: Found = {}
    lived: dict[tuple[str, int], Outcome] = {}  # near a window's begin entries may be the same
    for case in part:
        told, plain = case.window.told, Plain(path, case.side, case.leverage, listed, costs)
        ends = {
            "no guard": plain.unguarded(),
            "exchange adds margin": plain.auto_margin(),
            "knows the future": plain.foreseen(),
        } | {_stop(buffer): plain.stopped(buffer) for buffer in BUFFERS}
        for name, end in ends.items():
            found.setdefault(name, []).append(Outcome(told, end.equity, end.liquidated))
        opening = Opening(
            bars=replace(bars, rows=rows),
            instrument=listed,
            side=case.side,
            leverage=Decimal(case.leverage),
            size=ByMargin(Money(Decimal(MARGIN))),
        )
        for name in asked.policies:
            if (name, case.leverage) not in lived:
                lived[name, case.leverage] = _guarded(told, (opening,), case, name, asked)
            found.setdefault(_title(name), []).append(lived[name, case.leverage])
    return found


def _run_book(case: BookCase, asked: Asked) -> Found:
    """The outcomes of one book, by its shape too."""
    every = [bars_of(asked.folder, window) for window in case.windows]
    listed = [instruments()[bars.symbol] for bars in every]
    told, shared = case.windows[0].told, Shared(case, every, listed, _costs(asked, listed[0]))
    ends = {
        "no guard": shared.unguarded(),
        "knows the future": shared.foreseen(),
    } | {_stop(buffer): shared.stopped(buffer) for buffer in BUFFERS}
    found = {name: Outcome(told, end.equity, end.liquidated) for name, end in ends.items()}
    openings = tuple(
        Opening(
            bars=bars,
            instrument=rules,
            side=side,
            leverage=Decimal(case.leverage),
            size=ByMargin(Money(Decimal(MARGIN / len(every)).quantize(CENT, ROUND_DOWN))),
            margin_mode=mode,
        )
        for bars, rules, (_, side, mode) in zip(every, listed, case.shape.legs, strict=True)
    )
    for name in asked.policies:
        found[_title(name)] = _guarded(told, openings, case, name, asked)
    return {f"{case.shape.name}: {name}": [each] for name, each in found.items()}


def _guarded(
    told: str, openings: tuple[Opening, ...], case: Case | BookCase, name: str, asked: Asked
) -> Outcome:
    margins = sum(
        (each.size.margin for each in openings if isinstance(each.size, ByMargin)), Decimal(0)
    )
    setup = Setup(
        openings=openings,
        reserve=Money(Decimal(MARGIN + RESERVE) - margins),
        entry_at_ms=case.entry_at_ms,
        latency_ms=asked.latency_ms,
        slippage=Ratio(Decimal(asked.slippage_bps) / BPS),
        step=STEP if len(openings) == 1 else STEP_OF_BOOK,
    )
    fate = run_guarded_fast(setup, _policy(name)).fate
    return Outcome(told, float(fate.equity_final), bool(fate.taken))


def _costs(asked: Asked, listed: Instrument) -> Costs:
    return Costs(asked.slippage_bps / BPS, float(listed.taker_fee), funding=True)


def _stop(buffer: float) -> str:
    return f"stop {buffer:.0%}"


@cache
def _policy(name: str) -> Policy:
    if name in PRESETS:
        return parse_policy(account_file(name, name, "bench", "binanceusdm", "mixed"), name)
    return load_policy(Path(name))


def _title(name: str) -> str:
    return Path(name).stem


def _hush() -> None:
    """Let a worker say nothing: its results tell the story."""
    configure("json", "error", Path(os.devnull).open("w", encoding="utf-8"), is_terminal=False)  # noqa: SIM115 - for the life of the process


def table(outcomes: Mapping[str, Sequence[Outcome]], policies: Sequence[str]) -> Iterator[str]:
    """The rows as Markdown, and how every policy stands beside the frontier."""
    summaries = {name: summary_of(found) for name, found in outcomes.items()}
    yield from _HEADER
    for name, row in summaries.items():
        yield _row(name, row)
    yield ""
    yield "| mean above the plain stops with the same worst 5 % | all | leaving out one event |"
    yield "|---|---:|---|"
    for name in map(_title, policies):
        left_out = (f"{event} {_above(name, rest)}" for event, rest in without_each(outcomes))
        yield f"| {name} | {_above(name, outcomes)} | {', '.join(left_out)} |"


def book_table(outcomes: Mapping[str, Sequence[Outcome]]) -> Iterator[str]:
    """The rows of every shape of book as Markdown."""
    yield from _HEADER
    for name, found in outcomes.items():
        yield _row(name, summary_of(found))


def _above(name: str, outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """Above the line of stops, and in brackets above the best mixture of two of them."""
    if not outcomes[name]:
        return "-"
    stops = [summary_of(outcomes[_stop(buffer)]) for buffer in BUFFERS]
    found = beside(summary_of(outcomes[name]), stops)
    return f"{found.stops:+.0f} ({found.mixtures:+.0f})"


def _row(name: str, row: Summary) -> str:
    low, high = row.events
    return (
        f"| {name} | {row.cases:,} | {row.liquidated:,} | {row.mean:,.0f} | {row.median:,.0f} "
        f"| {row.geometric:,.0f} | {row.worst:,.0f} | {low:,.0f} to {high:,.0f} |"
    )


if __name__ == "__main__":
    main()
