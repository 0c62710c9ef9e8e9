"""The matrix of what the adapters of live venues can do, as a table or as JSON."""

import json
from collections.abc import Iterable

import typer
from rich.table import Table

from bot.cli.show import console
from bot.exchange.venues.capabilities import MATRIX, Capabilities, Effect

_SIDE_BY_SIDE = 4


def show_venues(as_json: bool) -> None:
    """Print the matrix: a venue a column, a few side by side."""
    if as_json:
        rows = [{"venue": name, **facts(row)} for name, row in MATRIX.items()]
        typer.echo(json.dumps(rows))
        return
    venues = tuple(MATRIX)
    for at in range(0, len(venues), _SIDE_BY_SIDE):
        names = venues[at : at + _SIDE_BY_SIDE]
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("", *names):
            table.add_column(column, overflow="fold")
        columns = [answers(MATRIX[name]) for name in names]
        for question, said in zip(questions(), zip(*columns, strict=True), strict=True):
            table.add_row(question, *said)
        console().print(table, "")


def facts(row: Capabilities) -> dict[str, object]:
    """A row as plain JSON values."""
    return {
        "effects": {effect: effect in row.effects for effect in Effect},
        "margin_modes": sorted(row.margin_modes),
        "position_modes": sorted(row.position_modes),
        "stop_replacement": row.replacement,
        "margin_evidence": row.margin_evidence,
        "key_report": row.key_report,
        "client_id": row.client_id,
        "stop_name": row.stop_name,
        "stop_request": row.stop_request,
        "stop_trigger": row.stop_trigger,
        "stops_max": row.stops_max,
        "stops_told": row.stops_told,
        "hedge_close": list(row.hedge_close),
        "why_not": row.why_not,
        "refused_accounts": list(row.refused_accounts),
        "tried": row.tried,
    }


def questions() -> tuple[str, ...]:
    """What is told of each venue."""
    return (
        *(effect.replace("_", " ") for effect in Effect),
        "margin modes",
        "position modes",
        "stop replaced by",
        "added margin shown by",
        "key's rights told",
        "client id",
        "own stops known by",
        "stop's request",
        "stop's trigger on the mark",
        "stops in a contract",
        "a long closed in hedge mode",
        "refused accounts",
        "tried on",
    )


def answers(row: Capabilities) -> tuple[str, ...]:
    """What is told of a venue, in the order of `questions`."""
    return (
        *("yes" if effect in row.effects else "no" for effect in Effect),
        _listed(row.margin_modes),
        _listed(row.position_modes),
        row.replacement,
        row.margin_evidence,
        row.key_report,
        row.client_id,
        row.stop_name,
        row.stop_request,
        row.stop_trigger,
        _stops(row),
        ", ".join(row.hedge_close) or "no hedge mode",
        _listed(row.refused_accounts) or "none known",
        row.tried,
    )


def _stops(row: Capabilities) -> str:
    if Effect.PLACE_STOP not in row.effects:
        return "none"
    return f"{row.stops_max}, {row.stops_told}"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
