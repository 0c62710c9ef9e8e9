"""The independent calculation itself, against numbers worked out by hand."""

from math import inf
from pathlib import Path
from typing import Literal

import pytest

import bot.rehearsal
from tests.real.independent import Tier, liquidation_price, unguarded

CRASH = Path(bot.rehearsal.__file__).parent / "scenarios" / "2020-03-12-btc.csv"
HOUR_MS = 3_600_000
MARCH_11_MS = 1583884800000
FLAT = [(inf, 0.004, 0.0)]
TIERS = [(50e3, 0.004, 0.0), (250e3, 0.005, 50.0), (1e6, 0.01, 1300.0), (inf, 0.025, 16300.0)]


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
def test_a_long_in_march_2020(leverage: float, price: float, hour: int | None) -> None:
    fate = unguarded(
        CRASH, "long", leverage=leverage, margin=1000, entry_at_ms=MARCH_11_MS, tiers=FLAT
    )
    assert fate.entry_price == 7898.21
    assert fate.liquidation_price == pytest.approx(price, abs=1e-4)
    assert fate.liquidated_at_ms == (None if hour is None else MARCH_11_MS + hour * HOUR_MS)


def test_a_short_is_liquidated_in_the_bar_it_was_opened_in() -> None:
    """Entry 13 March 02:00 at 4062.95: 4062.95 x 1.2 / 1.004; that hour's high is 5234.19."""
    entry_at_ms = MARCH_11_MS + 50 * HOUR_MS
    fate = unguarded(
        CRASH, "short", leverage=5, margin=1000, entry_at_ms=entry_at_ms - 1, tiers=FLAT
    )
    assert fate.entry_price == 4062.95
    assert fate.liquidation_price == pytest.approx(4856.1155, abs=1e-4)
    assert fate.liquidated_at_ms == entry_at_ms


def test_without_mark_columns_the_last_price_decides(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("ts_ms,open,high,low,close,volume\n1,100,100,91,95,0\n2,95,95,90,90,0\n")
    flat = [(inf, 0.01, 0.0)]  # 100 x 0.9 / 0.99 = 90.909...
    fate = unguarded(file, "long", leverage=10, margin=100, entry_at_ms=0, tiers=flat)
    assert fate.liquidation_price == pytest.approx(90.9090909)
    assert fate.liquidated_at_ms == 2


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
