"""
A file of positions to rehearse with, read as strictly as a policy.

`positions` is a list of mappings: `data` (a scenario or a price file) or, at the prices of now,
`symbol` (`BTC/USDT:USDT`), `side`, `leverage` (`10x`), `margin` (`1000 USDT`) or `quantity`
(`0.5 BTC`), and `margin_mode`. Nothing has a default. Amounts are in the coin of the policy's
`account.settle`; the quantity of an inverse contract is its face value (`20000 USD`).
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.core.model import Instrument, MarginMode, Side
from bot.core.units import ZERO, Money
from bot.policy.bind import bind_section
from bot.policy.casefile import CASE_KINDS, Coins, Leverage
from bot.policy.document import Absent, Cell, Unread, items_of
from bot.policy.loader import read_source
from bot.policy.problems import Place, Report
from bot.policy.tree import describe, read_tree
from bot.policy.values import Kind, Symbol, Unfit, amount_in
from bot.rehearsal.bars import Bars, DataError
from bot.rehearsal.listing import NoContract, unit_of
from bot.rehearsal.setups import ByMargin, ByQuantity, Entry, Opening, Size


@dataclass(frozen=True, slots=True)
class OpeningSection:
    """A position to open."""

    at: Place
    data: Cell[Bars] | Absent
    symbol: Cell[Symbol] | Absent
    side: Cell[Side]
    leverage: Cell[Leverage]
    margin: Cell[Money] | Absent
    quantity: Cell[Coins] | Absent
    margin_mode: Cell[MarginMode]


@dataclass(frozen=True, slots=True)
class PositionsSection:
    """A whole file."""

    at: Place
    positions: Cell[tuple[OpeningSection, ...]]


@dataclass(frozen=True, slots=True)
class Asked:
    """Positions to open: on recorded prices, or at those of now. One of both is empty."""

    openings: tuple[Opening, ...] = ()
    entries: tuple[Entry, ...] = ()


def read_positions(
    path: Path,
    find: Callable[[str], Bars],
    contract_of: Callable[[Bars], Instrument],
    settle: str,
) -> Asked:
    """
    The positions in the file, on the prices that `find` finds and of the contracts of those.

    Or on the prices of now, where the file names symbols: in all of its positions, or in none.
    `settle` is what all of them must pay in.

    Raises `PolicyError` with all that is wrong with the file.
    """
    source = read_source(path)
    report = Report(source)
    tree = read_tree(source.text, report)
    file = bind_section(PositionsSection, tree, report, _kinds(find, settle))
    openings, entries = list[Opening](), list[Entry]()
    with suppress(Unread):
        if not file.positions.value:
            report.add(file.positions.node.at, "at least one position", "none")
    for section in items_of(file.positions):
        with suppress(Unread):
            match section.data, section.symbol:
                case Cell() as data, Absent():
                    openings.append(_opening(section, data, contract_of, settle, report))
                case Absent(), Cell() as symbol:
                    entries.append(_entry(section, symbol, settle, report))
                case _:
                    given = "neither" if isinstance(section.data, Absent) else "both"
                    report.add(section.at, "either data or symbol", given)
    if openings and entries:
        report.add(file.positions.node.at, "data in all positions, or symbol in all", "both")
    report.raise_if_any()
    return Asked(tuple(openings), tuple(entries))


def _entry(section: OpeningSection, symbol: Cell[Symbol], settle: str, report: Report) -> Entry:
    name = symbol.value
    if name.rpartition(":")[2] != settle:
        expected = f"a contract that pays in {settle} (account.settle of the policy)"
        report.add(symbol.node.at, expected, f"'{name}'")
        raise Unread
    return Entry(
        symbol=name,
        side=section.side.value,
        leverage=section.leverage.value,
        size=_size(section, unit_of(name), report),
        margin_mode=section.margin_mode.value,
    )


def _opening(
    section: OpeningSection,
    data: Cell[Bars],
    contract_of: Callable[[Bars], Instrument],
    settle: str,
    report: Report,
) -> Opening:
    bars = data.value
    try:
        instrument = contract_of(bars)
    except NoContract as e:
        report.add(data.node.at, f"prices of {e.expected}", bars.symbol)
        raise Unread from e
    if instrument.settle != settle:
        expected = f"prices of a contract that pays in {settle} (account.settle of the policy)"
        report.add(data.node.at, expected, f"{bars.symbol}, which pays {instrument.settle}")
        raise Unread
    return Opening(
        bars=bars,
        instrument=instrument,
        side=section.side.value,
        leverage=section.leverage.value,
        size=_size(section, unit_of(bars.symbol), report),
        margin_mode=section.margin_mode.value,
    )


def _size(section: OpeningSection, unit: str, report: Report) -> Size:
    match section.margin, section.quantity:
        case Cell() as margin, Absent():
            if margin.value == ZERO:
                report.add(margin.node.at, "more than 0", describe(margin.node))
            return ByMargin(margin.value)
        case Absent(), Cell() as coins:
            if coins.value.coin != unit or coins.value.quantity == ZERO:
                report.add(coins.node.at, f"a quantity of {unit} above 0", describe(coins.node))
            return ByQuantity(coins.value.quantity)
        case _:
            given = "neither" if isinstance(section.margin, Absent) else "both"
            report.add(section.at, "either margin or quantity", given)
            raise Unread


def _kinds(find: Callable[[str], Bars], settle: str) -> Mapping[object, Kind[Any]]:
    def prices(text: str) -> Bars:
        try:
            return find(text)
        except DataError as e:
            raise Unfit(str(e)) from e

    kind = Kind("a scenario, a price file or fetched prices", prices, {"type": "string"})
    return {**CASE_KINDS, Bars: kind, Money: amount_in(settle)}
