"""The independent calculation itself, against numbers worked out by hand."""

from math import inf
from pathlib import Path
from typing import Literal

import pytest

import bot.rehearsal
from tests.real.independent import Account, Tier, liquidation_price, unguarded

CRASH = Path(bot.rehearsal.__file__).parent / "scenarios" / "2020-03-12-btc.csv"
HOUR_MS = 3_600_000
MARCH_11_MS = 1583884800000
FLAT = [(inf, 0.004, 0.0)]
TIERS = [(50e3, 0.004, 0.0), (250e3, 0.005, 50.0), (1e6, 0.01, 1300.0), (inf, 0.025, 16300.0)]


def account(side: Literal["long", "short"], leverage: float) -> Account:
    return Account(side, leverage, margin=1000, reserve=0, quantity_step=1e-9, tiers=FLAT)


def _without_bills(file: Path, folder: Path) -> Path:
    lines = [line for line in file.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert lines[0].endswith(",funding_rate")
    bare = folder / "bare.csv"
    bare.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    return bare


@pytest.mark.parametrize(
    ("leverage", "price", "hour"),
    [
        # 7898.21 x 0.9 / 0.996; low of the mark on 12 March 09:00 7341.95, 10:00 5620.86
        (10, 7136.9367, 34),
        # 7898.21 x (2/3) / 0.996; 12 March 22:00 low 5722.93, 23:00 4448.37
        (3, 5286.6198, 47),
        # 7898.21 x (1/2) / 0.996; 13 March 01:00 low 4089.16 (last: 3950), 02:00 3801.83
        (2, 3964.9649, 50),
        # 7898.21 x (9/19) / 0.996: below the mark's low of 3801.83, though above last's of 3621.81
        (1.9, 3756.2825, None),
    ],
)
def test_a_long_in_march_2020(
    leverage: float, price: float, hour: int | None, tmp_path: Path
) -> None:
    unbilled = _without_bills(CRASH, tmp_path)
    fate = unguarded(unbilled, account("long", leverage), entry_at_ms=MARCH_11_MS)
    assert fate.entry_price == 7898.21
    assert fate.liquidation_price == pytest.approx(price, abs=1e-4)
    assert fate.liquidated_at_ms == (None if hour is None else MARCH_11_MS + hour * HOUR_MS)


def test_a_short_is_liquidated_in_the_bar_it_was_opened_in() -> None:
    """Entry 13 March 02:00 at 4062.95: 4062.95 x 1.2 / 1.004; that hour's high is 5234.19."""
    entry_at_ms = MARCH_11_MS + 50 * HOUR_MS
    fate = unguarded(CRASH, account("short", 5), entry_at_ms=entry_at_ms - 1)
    assert fate.entry_price == 4062.95
    assert fate.liquidation_price == pytest.approx(4856.1155, abs=1e-4)
    assert fate.liquidated_at_ms == entry_at_ms


def test_without_mark_columns_the_last_price_decides(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("ts_ms,open,high,low,close,volume\n1,100,100,91,95,0\n2,95,95,90,90,0\n")
    flat = [(inf, 0.01, 0.0)]  # 100 x 0.9 / 0.99 = 90.909...
    given = Account("long", 10, margin=100, reserve=7, quantity_step=0.5, tiers=flat)
    fate = unguarded(file, given, entry_at_ms=0)
    assert fate.liquidation_price == pytest.approx(90.9090909)
    assert (fate.liquidated_at_ms, fate.equity) == (2, 7)


def test_what_is_left_is_profit_and_all_money_at_the_last_mark(tmp_path: Path) -> None:
    """40 x 10 of 400.7 buy 10 of 40: 400 of notional, 40 of margin, 0.07 stay free."""
    file = tmp_path / "x.csv"
    file.write_text("ts_ms,open,high,low,close,volume\n1,40,41,39,41,0\n2,41,43,40,42,0\n")
    given = Account("long", 10, margin=40.07, reserve=7, quantity_step=1, tiers=FLAT)
    fate = unguarded(file, given, entry_at_ms=0)
    assert fate.equity == pytest.approx(40.07 + 7 + 10 * (42 - 40))
    assert fate.liquidation_price == pytest.approx(40 * 0.9 / 0.996)


@pytest.mark.parametrize(
    ("side", "rate", "price", "equity"),
    [
        # 100 x 10 = 1,000; the bill at the second bar's open of 98 is 1,000 x 0.98 x 1 % = 9.8:
        # (100 - 9.8 - 1,000) / (10 x -0.996)
        ("long", "0.01", 91.3454, 100 - 9.8 - 20),
        ("long", "-0.01", 89.3775, 100 + 9.8 - 20),
        # (100 + 9.8 + 1,000) / (10 x 1.004)
        ("short", "0.01", 110.5378, 100 + 9.8 + 20),
    ],
)
def test_bills_move_the_margin_and_with_it_the_level(
    tmp_path: Path, side: Literal["long", "short"], rate: str, price: float, equity: float
) -> None:
    file = tmp_path / "x.csv"
    rows = ["ts_ms,open,high,low,close,volume,funding_rate", f"1,100,100,98,98,0,{rate}"]
    file.write_text("\n".join([*rows, f"2,98,98,98,98,0,{rate}", "3,98,98,98,98,0,"]))
    given = Account(side, 10, margin=100, reserve=0, quantity_step=1, tiers=FLAT)
    fate = unguarded(file, given, entry_at_ms=0)
    assert fate.liquidation_price == pytest.approx(price, abs=1e-4)
    assert fate.equity == pytest.approx(equity)


def test_a_bill_alone_can_liquidate(tmp_path: Path) -> None:
    """Level after the bill 91.3454, as above; a mark of 91.2 is below it, and above 90.3614."""
    file = tmp_path / "x.csv"
    rows = ["ts_ms,open,high,low,close,volume,funding_rate", "1,100,100,91.2,91.2,0,"]
    file.write_text("\n".join([*rows, "2,91.2,92,91.2,92,0,0.01074561", "3,92,92,92,92,0,"]))
    given = Account("long", 10, margin=100, reserve=0, quantity_step=1, tiers=FLAT)
    assert unguarded(file, given, entry_at_ms=0).liquidated_at_ms == 2


@pytest.mark.parametrize(
    ("side", "price"),
    [
        # Notional 1,000,000, at the solution 907,777: third tier. 7898.21 x 0.8987 / 0.99
        ("long", 7169.8195),
        # At the solution 1,089,073: fourth tier. 7898.21 x 1.1163 / 1.025
        ("short", 8601.7286),
    ],
)
def test_the_tier_is_that_of_the_notional_at_the_liquidation_price(
    side: Literal["long", "short"], price: float
) -> None:
    found = liquidation_price(side, 1e6 / 7898.21, 7898.21, 100e3, TIERS)
    assert found == pytest.approx(price, abs=1e-3)


@pytest.mark.parametrize("tiers", [FLAT, TIERS])
def test_a_long_with_its_whole_value_as_margin_has_no_liquidation_price(tiers: list[Tier]) -> None:
    assert liquidation_price("long", 1, 100, 100, tiers) is None
