"""
`liqguard data fetch`: what is fetched, said on a progress bar and in a line or an object each.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from bot.cli.show import progress_bar
from bot.clock import Clock, system_wall_ms
from bot.exchange.history import VenueHistory, open_history
from bot.rehearsal.cache import INTERVALS_MS, Span, iso
from bot.rehearsal.fetch import Fetched, fetch


def fetch_data(
    venue: str, symbols: Sequence[str], interval: str, span: Span, cache: Path, as_json: bool
) -> None:
    """
    Fetch the bars of `symbols` within `span` into `cache`, and say what is there.

    Raises `HistoryRefused`, `Unreachable`, `DataError`.
    """
    if interval not in INTERVALS_MS:
        expected = f"expected one of {', '.join(INTERVALS_MS)}, was {interval!r}"
        raise typer.BadParameter(expected, param_hint="--interval")
    if span[0] >= span[1]:
        expected = f"expected a time after --from, {iso(span[0])}, was {iso(span[1])}"
        raise typer.BadParameter(expected, param_hint="--until")
    for option, at_ms in (("--from", span[0]), ("--until", span[1])):
        if at_ms % INTERVALS_MS[interval]:
            expected = f"expected a time at which a bar of {interval} opens, was {iso(at_ms)}"
            raise typer.BadParameter(expected, param_hint=option)
    asyncio.run(_fetch_all(venue, symbols, interval, span, cache, as_json))


async def _fetch_all(
    venue: str, symbols: Sequence[str], interval: str, span: Span, cache: Path, as_json: bool
) -> None:
    clock = Clock(system_wall_ms())
    async with open_history(venue, clock, {}, _say) as history:
        for symbol in symbols:
            fetched = await _fetch_one(history, symbol, interval, span, cache)
            typer.echo(json.dumps(_json(fetched)) if as_json else _sentence(fetched))


async def _fetch_one(
    history: VenueHistory, symbol: str, interval: str, span: Span, cache: Path
) -> Fetched:
    with progress_bar(f"{symbol} {interval}", span[1] - span[0]) as advance:
        return await fetch(
            history, symbol, interval, span, cache, lambda at_ms: advance(at_ms - span[0])
        )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _json(fetched: Fetched) -> dict[str, Any]:
    return {
        "venue": fetched.series.venue,
        "symbol": fetched.symbol,
        "interval": fetched.series.interval,
        "from_ms": fetched.span[0],
        "until_ms": fetched.span[1],
        "bars": fetched.bars,
        "new": fetched.new,
        "gaps": [list(gap) for gap in fetched.gaps],
        "mark_gaps": [list(gap) for gap in fetched.mark_gaps],
        "settlements": fetched.settlements,
        "tiers": fetched.tiers,
        "files": [str(file) for file in fetched.files],
        "data": _name(fetched),
    }


def _sentence(fetched: Fetched) -> str:
    tiers = f"{fetched.tiers} tiers" if fetched.tiers else "no tiers (not public there)"
    bars = f"{fetched.bars} bars, {fetched.new} of them new"
    funding = f"{fetched.settlements} settlements of funding"
    lines = [f"{fetched.symbol} {fetched.series.interval}: {bars}, {funding}, {tiers}"]
    for what, gaps in (("bars", fetched.gaps), ("mark prices", fetched.mark_gaps)):
        lines += [
            f"  the venue has no {what} from {iso(begins_ms)} to {iso(ends_ms)}"
            for begins_ms, ends_ms in gaps
        ]
    return "\n".join([*lines, f"  liqguard replay --data {_name(fetched)} --policy ..."])


def _name(fetched: Fetched) -> str:
    """How a replay names it."""
    series, (begins_ms, ends_ms) = fetched.series, fetched.span
    span = f"{iso(begins_ms)}..{iso(ends_ms)}"
    return f"{series.venue}:{series.name}:{series.interval}:{span}"
