"""
`liqguard margin`: the liquidation price of cases that are given as JSON, for programs and people.

Answers are JSON numbers as the questions are, rounded to what a double holds.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from bot.cli.margin_case import CaseError, MaintenanceOnly, MarginCase, read_question
from bot.cli.show import console, short
from bot.core.cross import (
    Book,
    Leg,
    LiquidatesAfter,
    equity,
    faced,
    joint_liquidation,
    total_requirement,
)
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
from bot.core.model import CloseFee, LiquidationRounding, MarginMode
from bot.core.units import ONE, ZERO, Money, Ratio

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
    if case.against:
        return _solved_together(case)
    needed = requirement(instrument, position, mark)
    maintenance = maintenance_margin(instrument, position, mark)
    balance = margin_balance(instrument, position, mark) + case.others_required
    ratio = (needed + case.others_required) / balance if balance > ZERO else None
    return {
        "liquidation_price": _shown(case, liquidation_from(instrument, position, mark)),
        "maintenance_margin": float(needed if case.fee_shown else maintenance),
        "bankruptcy_price": _bust_shown(case, bankruptcy(instrument, case.unencumbered)),
        "margin_ratio": None if ratio is None else float(ratio),
    }


def _solved_together(case: MarginCase) -> dict[str, Any]:
    """Both legs of a symbol share one price, at which the wallet behind them is spent."""
    instrument = case.instrument
    legs = tuple(
        Leg(
            instrument,
            replace(leg, margin_mode=MarginMode.CROSS, isolated_margin=Money(ZERO)),
            case.mark_price,
            Ratio(ONE),
        )
        for leg in (case.position, *case.against)
    )
    book = faced(Book(case.position.isolated_margin, legs))
    needed = total_requirement(book)
    balance = equity(book) + case.others_required
    free = replace(instrument.rules, close_fee=CloseFee.NONE)
    unmargined = replace(
        instrument, rules=free, tiers=(replace(instrument.tiers[-1], rate=Ratio(ZERO)),)
    )
    bare = Book(
        case.unencumbered.isolated_margin,
        tuple(replace(leg, instrument=unmargined) for leg in legs),
    )
    return {
        "liquidation_price": _shown(case, _price_of(book)),
        "maintenance_margin": float(needed),
        "bankruptcy_price": _bust_shown(case, _price_of(faced(bare))),
        "margin_ratio": float((needed + case.others_required) / balance)
        if balance > ZERO
        else None,
    }


def _price_of(book: Book) -> LiquidatesAt | NoLiquidation:
    match joint_liquidation(book):
        case NoLiquidation() as none:
            return none
        case LiquidatesAfter(shock):
            price = book.legs[0].price_after(shock)
            return LiquidatesAt(price)


def _bust_shown(case: MarginCase, found: LiquidatesAt | NoLiquidation) -> float | None:
    """A bankruptcy price: a tick early is only what a liquidation price is shown."""
    rules = case.instrument.rules
    if rules.liquidation_rounding is not LiquidationRounding.ONE_TICK_EARLY:
        return _shown(case, found)
    return None if isinstance(found, NoLiquidation) else float(found.price)


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
