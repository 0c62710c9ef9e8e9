"""What `run --mode paper` and `replay` open, from their options or from a file of positions."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bot import app as process
from bot.cli.options import refuse_options
from bot.core.model import Side
from bot.core.policy import Policy
from bot.core.units import Money
from bot.rehearsal.cache import find_bars
from bot.rehearsal.positions import Asked
from bot.rehearsal.setups import ByMargin, Entry, Opening, Setup
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.exchange.live.connection import Egress


def openings_of(
    context: typer.Context, policy: Policy, data: str | None, positions: Path | None, cache: Path
) -> tuple[Opening, ...]:
    """What --data with its options, or the file of --positions, says is opened."""
    asked = asked_for(context, policy, (data, None, positions), cache)
    if asked.entries:
        raise typer.BadParameter("expected data in it, was symbol", param_hint="--positions")
    return asked.openings


def asked_for(
    context: typer.Context,
    policy: Policy,
    named: tuple[str | None, str | None, Path | None],
    cache: Path,
) -> Asked:
    """What --data or --symbol with its options, or the file of --positions, says is opened."""
    side, leverage, margin = (context.params[name] for name in ("side", "leverage", "margin"))
    if side not in list(Side):
        raise typer.BadParameter(f"expected long or short, was {side!r}", param_hint="--side")
    match named:
        case str() as data, None, None:
            bars = find_bars(data, cache)
            opening = Opening(
                bars=bars,
                instrument=process.contract_of(policy.venue, bars),
                side=Side(side),
                leverage=leverage,
                size=ByMargin(Money(margin)),
            )
            return Asked(openings=(opening,))
        case None, str() as symbol, None:
            entry = Entry(symbol, Side(side), leverage, ByMargin(Money(margin)))
            return Asked(entries=(entry,))
        case None, None, Path() as file:
            refuse_options(context, "in the file of --positions", "side", "leverage", "margin")
            return process.positions_in(
                file, policy.venue, policy.settle, lambda text: find_bars(text, cache)
            )
        case _:
            has_symbol = "symbol" in context.params
            expected = "--data, --symbol" if has_symbol else "either --data"
            raise typer.BadParameter(f"expected {expected} or --positions")


def run_paper(
    context: typer.Context,
    policy_file: Path,
    policy: Policy,
    asked: Asked,
    settings: Settings,
    hearers: process.Audience,
) -> process.Ended:
    """Guard positions on the paper exchange, on recorded prices or at those of now."""
    reserve, wire = Money(context.params["reserve"]), context.params["wire"]
    if asked.openings:
        refuse_options(context, "only at a venue's prices, live or --symbol", "wire")
        setup = Setup(
            asked.openings,
            reserve,
            context.params["entry_at_ms"],
            position_mode=policy.position_mode,
        )
        speed = context.params["speed"]
        return process.run_paper(policy_file, setup, settings.state_dir, speed, hearers)
    from bot import live_paper
    from bot.exchange.live.connection import Internet, Loopback

    refuse_options(context, "only with --data", "speed", "entry_at_ms")
    route = Internet() if wire is None else Loopback(wire)
    return live_paper.run_live_paper(
        policy_file,
        asked.entries,
        reserve,
        settings.state_dir,
        route,
        hearers,
        egress=egress_of(settings),
    )


def egress_of(settings: Settings) -> "Egress":
    """From where requests leave, and where guards of this user on the same address meet."""
    from bot.exchange.live.connection import Egress

    return Egress(settings.state_dir / "addresses", settings.second_address)
