"""
The demo: recorded prices lived through twice, without and with the guard, a table a story.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from bot.app import RunError, instrument_for
from bot.cli.replay import fate_json
from bot.cli.show import console, deed_json, deeds_table, percent, progress_bar, short, utc
from bot.core.model import MarginMode, PositionKey, Side
from bot.core.policy import Policy
from bot.core.units import Money
from bot.policy.loader import parse_policy
from bot.rehearsal.bars import read_bars
from bot.rehearsal.chronicle import live_through
from bot.rehearsal.fates import Ending, Fate, nobody
from bot.rehearsal.replay import Liquidation, Replay, replay
from bot.rehearsal.report.page import write_report
from bot.rehearsal.setups import ByMargin, Opening, Setup


@dataclass(frozen=True, slots=True)
class Story:
    """What the demo tells: positions of 1,000 USDT margin each, 1,000 USDT in reserve."""

    name: str
    title: str
    scenarios: tuple[str, ...]
    side: Side
    leverage: Decimal
    margin_mode: MarginMode
    policy: str
    entry_at_ms: int = 0


STORIES = (
    Story(
        "long-in-a-crash",
        "A long in a crash. 12 March 2020: BTC fell by half in a day",
        ("2020-03-12-btc",),
        Side.LONG,
        Decimal(10),
        MarginMode.ISOLATED,
        "demo",
    ),
    Story(
        "short-in-a-squeeze",
        "A short in a squeeze. 8 May 2025: ETH rose by a third in two days",
        ("2025-05-08-eth",),
        Side.SHORT,
        Decimal(10),
        MarginMode.ISOLATED,
        "demo",
    ),
    Story(
        "cross-book",
        "Three longs on one wallet. 12 March 2020: they fell together",
        ("2020-03-12-btc", "2020-03-12-eth", "2020-03-12-xrp"),
        Side.LONG,
        Decimal(10),
        MarginMode.CROSS,
        "demo-cross",
        entry_at_ms=1583971200000,  # 12 March 2020, 00:00 UTC
    ),
    Story(
        "funding-bleed",
        "A price that does not move, and 0.05 % of funding every 8 hours (constructed)",
        ("constructed-funding-bleed",),
        Side.LONG,
        Decimal(50),
        MarginMode.ISOLATED,
        "demo-funding",
    ),
    Story(
        "quiet-week",
        "A quiet week of August 2023: nothing should happen",
        ("quiet-week-btc",),
        Side.LONG,
        Decimal(10),
        MarginMode.ISOLATED,
        "demo",
    ),
)
MARGIN = Money(Decimal(1000))
RESERVE = Money(Decimal(1000))


def demo_policy(name: str) -> Policy:
    """A policy that the demo runs: package data. `demo` is the same as in config/policies."""
    text = files("bot.policy").joinpath(f"presets/{name}.yaml").read_text(encoding="utf-8")
    return parse_policy(text, f"{name}.yaml")


def demo_setup(story: Story) -> Setup:
    """The account of a story."""
    venue = demo_policy(story.policy).venue
    recordings = [read_bars(scenario) for scenario in story.scenarios]
    return Setup(
        openings=tuple(
            Opening(
                bars=bars,
                instrument=instrument_for(venue, bars.symbol),
                side=story.side,
                leverage=story.leverage,
                size=ByMargin(MARGIN),
                margin_mode=story.margin_mode,
            )
            for bars in recordings
        ),
        reserve=RESERVE,
        entry_at_ms=story.entry_at_ms,
    )


def show_demo(state_dir: Path, as_json: bool) -> None:
    """
    Run every story of the demo and print what became of both accounts.

    The first one is told by a page in `state_dir` as well. Raises `RunError` where that cannot be
    written.
    """
    out = console()
    page = state_dir / "demo.html"
    for story in STORIES:
        setup = demo_setup(story)
        is_told = story is STORIES[0]
        replayed = _lived(story, setup, page) if is_told else _replayed(story, setup)
        if as_json:
            report = str(page) if is_told else None
            typer.echo(json.dumps(_result(story, replayed) | {"report": report}))
        else:
            _print(out, story, setup, replayed)
    if not as_json:
        typer.echo(f"\nThe first of them as a page, to be opened in a browser:\nreport: {page}")


def _lived(story: Story, setup: Setup, page: Path) -> Replay:
    """Live through `story` and write its page."""
    begins_ms, spans_ms = _span(setup)
    with progress_bar(story.title, spans_ms) as advance:
        told = live_through(
            setup, demo_policy(story.policy), lambda at_ms: advance(at_ms - begins_ms)
        )
    try:
        page.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_report(page, told)
    except OSError as e:
        expected = f"LIQGUARD_STATE_DIR: expected to write {page}, was '{e.strerror}'"
        raise RunError(expected) from e
    return told.replayed


def _replayed(story: Story, setup: Setup) -> Replay:
    begins_ms, spans_ms = _span(setup)
    with progress_bar(story.title, spans_ms) as advance:
        return replay(
            setup,
            demo_policy(story.policy),
            lambda at_ms: advance(at_ms - begins_ms),
            nobody,
            nobody,
        )


def _span(setup: Setup) -> tuple[int, int]:
    """When the recording begins, and how long it is."""
    rows = setup.openings[0].bars.rows
    return rows[0].open_at_ms, rows[-1].open_at_ms - rows[0].open_at_ms


def _print(out: Console, story: Story, setup: Setup, replayed: Replay) -> None:
    out.print(f"\n[bold]{story.title}[/bold]")
    out.print(_account(story, setup))
    table = Table(show_edge=False, header_style="bold")
    for column in ("", "unguarded", "guarded"):
        table.add_column(column)
    unguarded, guarded = replayed.unguarded, replayed.guarded.fate
    for alone, watched in zip(unguarded.endings, guarded.endings, strict=True):
        table.add_row(
            f"{_base(alone)} {alone.key.side}",
            _outcome(alone, replayed.lost_unguarded),
            _outcome(watched, replayed.lost_guarded),
        )
    if story.margin_mode is MarginMode.CROSS:
        table.add_row("wallet", _wallet(unguarded), _wallet(guarded))
    for name, alone_text, watched_text in _numbers(replayed):
        table.add_row(name, alone_text, watched_text)
    out.print(table)
    out.print()
    out.print(deeds_table(replayed.guarded.deeds))


def _numbers(replayed: Replay) -> Iterator[tuple[str, str, str]]:
    unguarded, fate = replayed.unguarded, replayed.guarded.fate
    yield "closest distance", percent(unguarded.distance_min), percent(fate.distance_min)
    yield "margin added", "-", f"{replayed.guarded.spent:f} USDT"
    yield "funding paid", _usdt(unguarded.funding_paid), _usdt(fate.funding_paid)
    yield "equity left", _usdt(unguarded.equity_final), _usdt(fate.equity_final)


def _usdt(amount: Money) -> str:
    return f"{amount:.2f} USDT"


def _account(story: Story, setup: Setup) -> str:
    """The positions and the wallet in a line."""
    symbols = ", ".join(instrument.symbol.split("/")[0] for instrument in setup.instruments)
    each = " each" if len(setup.openings) > 1 else ""
    entered_ms = max(setup.entry_at_ms, setup.openings[0].bars.rows[0].open_at_ms)
    return (
        f"{symbols} {story.side} {story.leverage:f}x {story.margin_mode}, {MARGIN:f} USDT "
        f"margin{each}, {RESERVE:f} USDT in reserve, from {utc(entered_ms)} UTC"
    )


def _base(ending: Ending) -> str:
    return ending.key.symbol.split("/")[0]


def _outcome(ending: Ending, lost: Mapping[PositionKey, Liquidation]) -> str:
    if ending.key in lost:
        taken = lost[ending.key]
        return f"[red]liquidated {utc(taken.at_ms)} at {short(taken.price)}[/red]"
    return f"not liquidated, {ending.left:f} open" if ending.left else "closed in time"


def _wallet(fate: Fate) -> str:
    return "[red]lost[/red]" if fate.wallet_lost else "kept"


def _result(story: Story, replayed: Replay) -> dict[str, Any]:
    guarded = replayed.guarded
    return {
        "story": story.name,
        "scenarios": story.scenarios,
        "unguarded": fate_json(replayed.unguarded, replayed.first_unguarded)
        | _more_json(replayed.unguarded, replayed.lost_unguarded),
        "guarded": fate_json(guarded.fate, replayed.first_guarded)
        | _more_json(guarded.fate, replayed.lost_guarded),
        "actions": [deed_json(deed) for deed in guarded.deeds],
        "spent": f"{guarded.spent:f}",
        "digest": guarded.digest,
    }


def _more_json(fate: Fate, lost: Mapping[PositionKey, Liquidation]) -> dict[str, Any]:
    """What the demo says of a run besides what a replay says."""
    return {
        "funding_paid": f"{fate.funding_paid:f}",
        "wallet_lost": fate.wallet_lost,
        "positions": [_ending_json(ending, lost) for ending in fate.endings],
    }


def _ending_json(ending: Ending, lost: Mapping[PositionKey, Liquidation]) -> dict[str, Any]:
    taken = lost.get(ending.key)
    return {
        "symbol": ending.key.symbol,
        "side": ending.key.side,
        "margin_mode": ending.margin_mode,
        "open": f"{ending.left:f}",
        "liquidated_at_ms": None if taken is None else taken.at_ms,
        "liquidation_price": None if taken is None else f"{taken.price:f}",
    }
