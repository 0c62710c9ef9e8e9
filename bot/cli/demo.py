"""
The demo: recorded prices lived through twice, without and with the guard, a table a story.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bot.app import instrument_for
from bot.cli.show import console, deed_json, deeds_table, percent, short, utc
from bot.core.model import MarginMode, Side
from bot.core.policy import Policy
from bot.core.units import Money
from bot.policy.loader import parse_policy
from bot.rehearsal.bars import read_bars
from bot.rehearsal.fates import Alive, Ending, Fate, TakenOver
from bot.rehearsal.runs import Guarded, run_guarded, run_unguarded
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


def show_demo(as_json: bool) -> None:
    """Run every story of the demo and print what became of both accounts."""
    out = console()
    for story in STORIES:
        setup = demo_setup(story)
        unguarded = run_unguarded(setup)
        guarded = _run_with_progress(story, setup)
        if as_json:
            typer.echo(json.dumps(_result(story, unguarded, guarded)))
        else:
            _print(out, story, setup, unguarded, guarded)


def _run_with_progress(story: Story, setup: Setup) -> Guarded:
    rows = setup.openings[0].bars.rows
    begin_ms, end_ms = rows[0].open_at_ms, rows[-1].open_at_ms
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(story.title, total=end_ms - begin_ms)
        return run_guarded(
            setup,
            demo_policy(story.policy),
            lambda at_ms: progress.update(task, completed=at_ms - begin_ms),
        )


def _print(out: Console, story: Story, setup: Setup, unguarded: Fate, guarded: Guarded) -> None:
    out.print(f"\n[bold]{story.title}[/bold]")
    out.print(_account(story, setup))
    table = Table(show_edge=False, header_style="bold")
    for column in ("", "unguarded", "guarded"):
        table.add_column(column)
    for alone, watched in zip(unguarded.endings, guarded.fate.endings, strict=True):
        table.add_row(f"{_base(alone)} {alone.key.side}", _outcome(alone), _outcome(watched))
    if story.margin_mode is MarginMode.CROSS:
        table.add_row("wallet", _wallet(unguarded), _wallet(guarded.fate))
    for name, alone_text, watched_text in _numbers(unguarded, guarded):
        table.add_row(name, alone_text, watched_text)
    out.print(table)
    out.print()
    out.print(deeds_table(guarded.deeds))


def _numbers(unguarded: Fate, guarded: Guarded) -> Iterator[tuple[str, str, str]]:
    fate = guarded.fate
    yield "closest distance", percent(unguarded.distance_min), percent(fate.distance_min)
    yield "margin added", "-", f"{guarded.spent:f} USDT"
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


def _outcome(ending: Ending) -> str:
    match ending.outcome:
        case Alive():
            return f"not liquidated, {ending.left:f} open" if ending.left else "closed in time"
        case TakenOver(at_ms, price):
            return f"[red]liquidated {utc(at_ms)} at {short(price)}[/red]"


def _wallet(fate: Fate) -> str:
    return "[red]lost[/red]" if fate.wallet_lost else "kept"


def _fate_json(fate: Fate) -> dict[str, Any]:
    first = min(fate.taken, key=lambda taken: taken.at_ms, default=None)
    return {
        "liquidated": first is not None,
        "liquidated_at_ms": None if first is None else first.at_ms,
        "liquidation_price": None if first is None else f"{first.price:f}",
        "final_equity": f"{fate.equity_final:f}",
        "min_distance": f"{fate.distance_min:f}",
        "funding_paid": f"{fate.funding_paid:f}",
        "wallet_lost": fate.wallet_lost,
        "positions": [_ending_json(ending) for ending in fate.endings],
    }


def _ending_json(ending: Ending) -> dict[str, Any]:
    taken = ending.outcome if isinstance(ending.outcome, TakenOver) else None
    return {
        "symbol": ending.key.symbol,
        "side": ending.key.side,
        "margin_mode": ending.margin_mode,
        "open": f"{ending.left:f}",
        "liquidated_at_ms": None if taken is None else taken.at_ms,
        "liquidation_price": None if taken is None else f"{taken.price:f}",
    }


def _result(story: Story, unguarded: Fate, guarded: Guarded) -> dict[str, Any]:
    return {
        "story": story.name,
        "scenarios": story.scenarios,
        "unguarded": _fate_json(unguarded),
        "guarded": _fate_json(guarded.fate),
        "actions": [deed_json(deed) for deed in guarded.deeds],
        "spent": f"{guarded.spent:f}",
        "digest": guarded.digest,
    }
