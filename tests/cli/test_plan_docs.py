"""Every figure that docs/plan.md prints of its own comes out of the code."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from pathlib import Path

import pytest

from bot.core import checklist as limits
from bot.core.margin import LiquidatesAt, funding_payment, liquidation, tier_of
from bot.core.model import Instrument, MaintenanceAt, Position, Side
from bot.core.planning import Edge, gain_to_recover, kelly
from bot.core.units import Money, Price, Ratio
from bot.exchange.venues import binanceusdm
from bot.testing import builders as build
from tests.cli.test_exits import ROOT, liqguard

D = Decimal
PAGE = (ROOT / "docs/plan.md").read_text(encoding="utf-8")
FLAT = build.instrument()
AT_ENTRY = build.instrument(maintenance_at=MaintenanceAt.ENTRY)


def table(title: str) -> list[list[str]]:
    """The cells below a heading, without the head of their table."""
    _, section = PAGE.split(f"# {title}\n")
    section = section.split("\n#")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def money(value: Decimal, places: int = 2) -> str:
    return f"{value:,.{places}f}"


def percent(share: Decimal, places: int = 1) -> str:
    return f"{share * 100:.{places}f} %"


def levered(leverage: int, side: Side = Side.LONG) -> Position:
    margin = 50_000 / D(leverage)
    return replace(build.position(side=side, margin=margin), leverage=D(leverage))


def price(instrument: Instrument, position: Position) -> Price:
    settled = liquidation(instrument, position)
    assert isinstance(settled, LiquidatesAt)
    return settled.price


def lost(position: Position, at: Price) -> Decimal:
    """The loss when it is liquidated, as a share of the initial margin."""
    moved = position.side.sign * (position.entry_price - at) * position.quantity
    return moved / position.isolated_margin


def liquidations() -> Iterator[list[str]]:
    cases = chain(((each, Side.LONG) for each in (5, 10, 20, 50, 100)), [(10, Side.SHORT)])
    for leverage, side in cases:
        position = levered(leverage, side)
        entry, mark = price(AT_ENTRY, position), price(FLAT, position)
        yield [
            f"{side} {leverage}x",
            percent(1 / D(leverage)),
            money(entry, 0),
            money(mark),
            percent(side.sign * (50_000 - mark) / 50_000, 2),
            percent(lost(position, mark)),
        ]


def leverages() -> Iterator[list[str]]:
    for leverage in (20, 10, 5, 2):
        position = build.position(quantity=5, entry_price=2_000, margin=10_000 / D(leverage))
        away = (2_000 - price(FLAT, position)) / 2_000
        yield [f"{leverage}x", money(position.isolated_margin, 0), percent(away, 2)]


def compressions() -> Iterator[list[str]]:
    listed = binanceusdm.instruments()["BTC/USDT:USDT"]
    for quantity in (1, 10, 100, 1_000):
        notional = Money(D(60_000) * quantity)
        tier = tier_of(listed, notional)
        maintenance = notional * tier.rate - tier.deduction
        yield [
            str(quantity),
            money(notional, 0),
            f"{tier.leverage_max:f}x",
            percent(tier.rate, 2),
            money(maintenance, 0),
            percent(maintenance / notional, 2),
        ]


def bills() -> Iterator[list[str]]:
    for leverage in (5, 10, 50, 100):
        position = levered(leverage)
        paid = funding_payment(FLAT, position, Price(D(50_000)), Ratio(D("0.0005")))
        share = paid / position.isolated_margin
        yield [f"{leverage}x", percent(share, 2), percent(3 * share, 2)]


def recoveries() -> Iterator[list[str]]:
    for drawdown in ("0.10", "0.20", "0.25", "0.50", "0.75", "0.90"):
        yield [percent(D(drawdown), 0), percent(gain_to_recover(Ratio(D(drawdown))))]


def kellys() -> Iterator[list[str]]:
    for win_rate, payoff in (("0.55", "1.5"), ("0.50", "1.5"), ("0.40", "2"), ("0.40", "1.5")):
        full = kelly(Edge(Ratio(D(win_rate)), D(payoff)))
        shares = [percent(full * part, 2) for part in (D(1), D("0.5"), D("0.25"))]
        yield [percent(D(win_rate), 0), payoff, *(shares if full > 0 else [shares[0], "-", "-"])]


TABLES = {
    "Where it is liquidated": liquidations,
    "Less leverage binds more margin": leverages,
    "Larger is allowed less leverage": compressions,
    "Funding": bills,
    "Drawdowns": recoveries,
    "Kelly": kellys,
}


@pytest.mark.parametrize("title", TABLES)
def test_a_table_is_what_the_code_computes(title: str) -> None:
    assert table(title) == list(TABLES[title]())


@pytest.mark.parametrize(
    ("title", "figure"),
    [
        *(("Where it is liquidated", figure) for figure in (
            "40,250", "45,250", "47,750", "49,250", "49,750", "54,750", "45,226.13", "4.52 %",
        )),
        *(("Funding", figure) for figure in ("2.50 %", "7.50 %")),
        *(("Drawdowns", figure) for figure in ("100.0 %", "300.0 %")),
        ("Kelly", "25.00 %"),
    ],
)  # fmt: skip
def test_the_figures_of_the_articles_that_hold_are_there(title: str, figure: str) -> None:
    assert figure in chain.from_iterable(table(title))


def test_the_formula_that_gate_prints_is_the_one_at_entry() -> None:
    """(maintenance margin - position margin + entry x quantity x size) / (quantity x size)."""
    for leverage in (5, 10, 20, 50, 100):
        position = levered(leverage)
        worth = position.entry_price * position.quantity
        printed = (worth * D("0.005") - position.isolated_margin + worth) / position.quantity
        assert printed == price(AT_ENTRY, position)


def test_the_limits_are_those_of_the_checklist() -> None:
    prose = " ".join(" ".join(row) for row in table("The checklist"))
    for said in (
        f"{limits.DAILY_MOVES_MIN} sigma of a day",
        f"{limits.DAILY_MOVES_CALM} sigmas",
        f"{limits.ROOM_ATRS_CALM} ATR, or {percent(limits.ROOM_CALM, 0)} where",
        f"nearer to the entry than {limits.STOP_ATRS_CALM} ATR",
        f"more than {percent(limits.FUNDING_CALM, 0)} of the margin",
        f"{percent(limits.JOINT_MAX, 0)} of equity or more",
        f"more than {percent(limits.JOINT_CALM, 0)}",
        f"more than {limits.KELLY_CALM} of it",
    ):
        assert said in prose


def test_every_check_is_in_the_page() -> None:
    names = set(re.findall(r'name(?:, \w+)* = "([\w ]+)"', Path(limits.__file__).read_text()))
    assert len(names) == 7
    assert {row[0] for row in table("The checklist")} == names | {"one more long"}


def test_the_example_is_what_the_command_prints(tmp_path: Path) -> None:
    (example, *_) = re.findall(r"(?:^    .*\n)(?:^    .*\n|^\n)*", PAGE, re.MULTILINE)
    command, shown = example.split("\n\n", 1)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:2] == ["liqguard", "plan"]
    found = liqguard(tmp_path, *words[1:])
    assert found.returncode == 4, found.stderr

    def lines(text: str) -> list[str]:
        return [line.strip() for line in text.splitlines() if line.strip()]

    assert lines(shown) == lines(found.stdout)
