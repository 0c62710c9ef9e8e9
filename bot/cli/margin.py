"""
`liqguard margin`: the liquidation price of cases that are given as JSON, for programs and people.

Answers are JSON numbers as the questions are, rounded to what a double holds.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from bot.cli.margin_case import CaseError, MaintenanceOnly, MarginCase, read_question
from bot.cli.show import console, short
from bot.core.margin import (
    LiquidatesAt,
    NoLiquidation,
    as_shown,
    bankruptcy,
    liquidation_from,
    maintenance_margin,
    margin_balance,
    requirement,
)
from bot.core.units import ZERO

COLUMNS = ("liquidation_price", "maintenance_margin", "bankruptcy_price", "margin_ratio")


def answers(text: str) -> Iterator[dict[str, Any]]:
    """
    The answer of every case in `text`, in its order: one object or a list of them.

    Raises `CaseError` for what is no JSON at all.
    """
    try:
        given = json.loads(
            text, parse_float=Decimal, parse_int=Decimal, parse_constant=_not_a_number
        )
    except (ValueError, RecursionError) as e:
        raise CaseError(f"expected JSON on standard input, was: {e}") from e
    for case in given if isinstance(given, list) else [given]:
        yield _answer(case)


def _not_a_number(text: str) -> Decimal:
    """NaN and Infinity are no JSON; the case that has one is refused, and not the others."""
    return Decimal(text.replace("Infinity", "inf"))


def show_answers(text: str, as_json: bool) -> bool:
    """Print the answers; whether any case could be done."""
    found = list(answers(text))
    if as_json:
        for answer in found:
            typer.echo(json.dumps(answer))
    else:
        console().print(_table(found))
    return any("error" not in answer for answer in found)


def _answer(given: object) -> dict[str, Any]:
    named = given.get("id") if isinstance(given, dict) else None
    case_id = named if isinstance(named, str) else None
    try:
        match read_question(given):
            case MaintenanceOnly(maintenance):
                return {"id": case_id, "maintenance_margin": float(maintenance)}
            case MarginCase() as case:
                return {"id": case_id} | _solved(case)
    except CaseError as e:
        return {"id": case_id, "error": str(e)}


def _solved(case: MarginCase) -> dict[str, Any]:
    instrument, position, mark = case.instrument, case.position, case.mark_price
    needed = requirement(instrument, position, mark)
    maintenance = maintenance_margin(instrument, position, mark)
    balance = margin_balance(instrument, position, mark) + case.others_required
    ratio = (needed + case.others_required) / balance if balance > ZERO else None
    return {
        "liquidation_price": _shown(case, liquidation_from(instrument, position, mark)),
        "maintenance_margin": float(needed if case.fee_shown else maintenance),
        "bankruptcy_price": _shown(case, bankruptcy(instrument, case.unencumbered)),
        "margin_ratio": None if ratio is None else float(ratio),
    }


def _shown(case: MarginCase, found: LiquidatesAt | NoLiquidation) -> float | None:
    """A price as the venue prints it, null where there is none."""
    match found:
        case NoLiquidation():
            return None
        case LiquidatesAt(price):
            return float(as_shown(case.instrument, case.position, price))


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("case")
    for column in COLUMNS:
        table.add_column(column.replace("_", " "), justify="right")
    for answer in found:
        name = Text(answer["id"] or "-")  # text as it is: brackets are no markup here
        if "error" in answer:
            table.add_row(name, Text(answer["error"], style="red"))
        else:
            table.add_row(name, *(_cell(answer, column) for column in COLUMNS))
    return table


def _cell(answer: dict[str, Any], column: str) -> str:
    if column not in answer:
        return ""
    number = answer[column]
    if column == "margin_ratio":
        return "breached" if number is None or number >= 1 else f"{number:.4f}"
    return "none" if number is None else short(Decimal(repr(number)))
