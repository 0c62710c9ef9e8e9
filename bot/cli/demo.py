"""
The demo: the same recorded prices twice, without and with the guard, in one table.
"""

import json
from decimal import Decimal
from importlib.resources import files
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bot.app import instrument_for
from bot.cli.show import console, deed_json, deeds_table, percent, utc
from bot.core.model import Side
from bot.core.policy import Policy
from bot.core.units import Money
from bot.policy.loader import parse_policy
from bot.rehearsal.bars import read_bars
from bot.rehearsal.runs import Alive, Fate, Guarded, Setup, TakenOver, run_guarded, run_unguarded

SCENARIOS = (
    ("2020-03-12-btc", "12 March 2020: BTC fell by half in a day"),
    ("quiet-week-btc", "a quiet week of August 2023: nothing should happen"),
)
LEVERAGE = Decimal(10)
MARGIN = Money(Decimal(1000))
RESERVE = Money(Decimal(1000))


def demo_policy() -> Policy:
    """The policy that the demo runs: package data, the same as config/policies/demo.yaml."""
    text = files("bot.policy").joinpath("presets/demo.yaml").read_text(encoding="utf-8")
    return parse_policy(text, "demo.yaml")


def show_demo(as_json: bool) -> None:
    """Run every scenario of the demo and print what became of both accounts."""
    policy, out = demo_policy(), console()
    for name, title in SCENARIOS:
        bars = read_bars(name)
        setup = Setup(
            bars=bars,
            instrument=instrument_for(policy.venue, bars.symbol),
            side=Side.LONG,
            leverage=LEVERAGE,
            margin=MARGIN,
            reserve=RESERVE,
            entry_at_ms=0,
        )
        unguarded = run_unguarded(setup)
        guarded = _run_with_progress(setup, policy, title)
        if as_json:
            typer.echo(json.dumps(_result(name, unguarded, guarded)))
        else:
            _print(out, title, setup, unguarded, guarded)


def _run_with_progress(setup: Setup, policy: Policy, title: str) -> Guarded:
    begin_ms, end_ms = setup.bars.rows[0].open_at_ms, setup.bars.rows[-1].open_at_ms
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(title, total=end_ms - begin_ms)
        return run_guarded(
            setup,
            policy,
            lambda at_ms: progress.update(task, completed=at_ms - begin_ms),
        )


def _print(out: Console, title: str, setup: Setup, unguarded: Fate, guarded: Guarded) -> None:
    out.print(f"\n[bold]{title}[/bold]")
    out.print(
        f"{setup.instrument.symbol} {setup.side} {setup.leverage:f}x, margin {setup.margin:f} "
        f"USDT, {setup.reserve:f} USDT in reserve, from {utc(setup.bars.rows[0].open_at_ms)} UTC"
    )
    table = Table(show_edge=False, header_style="bold")
    for column in ("", "unguarded", "guarded"):
        table.add_column(column)
    rows = (
        ("liquidated", _outcome(unguarded), _outcome(guarded.fate)),
        (
            "closest distance",
            percent(unguarded.distance_min),
            percent(guarded.fate.distance_min),
        ),
        ("margin added", "-", f"{guarded.spent:f} USDT"),
        (
            "equity left",
            f"{unguarded.equity_final:.2f} USDT",
            f"{guarded.fate.equity_final:.2f} USDT",
        ),
    )
    for row in rows:
        table.add_row(*row)
    out.print(table)
    out.print()
    out.print(deeds_table(guarded.deeds))


def _outcome(fate: Fate) -> str:
    match fate.outcome:
        case Alive():
            return "no"
        case TakenOver(at_ms, price):
            return f"[red]{utc(at_ms)} at {price:.2f}[/red]"


def _fate_json(fate: Fate) -> dict[str, Any]:
    taken = fate.outcome if isinstance(fate.outcome, TakenOver) else None
    return {
        "liquidated": taken is not None,
        "liquidated_at_ms": None if taken is None else taken.at_ms,
        "liquidation_price": None if taken is None else f"{taken.price:f}",
        "final_equity": f"{fate.equity_final:f}",
        "min_distance": f"{fate.distance_min:f}",
    }


def _result(name: str, unguarded: Fate, guarded: Guarded) -> dict[str, Any]:
    return {
        "scenario": name,
        "unguarded": _fate_json(unguarded),
        "guarded": _fate_json(guarded.fate),
        "actions": [deed_json(deed) for deed in guarded.deeds],
        "spent": f"{guarded.spent:f}",
        "digest": guarded.digest,
    }
