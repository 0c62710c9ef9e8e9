"""What simpler ways than a guard come to: by hand, and as the paper exchange says."""

from dataclasses import replace

import pytest

from bench.benefit.plain import Costs, Plain, path_of
from bot.core.model import MarginMode, Side
from bot.rehearsal.bars import Bars, read_bars
from bot.rehearsal.runs import run_unguarded
from tests.bench.made import BTC, LISTED, bars_of, setup

FREE = Costs(slippage=0.0, fee=0.0, funding=False)
COSTLY = Costs(slippage=0.0005, fee=0.0005, funding=True)
# 0.2 BTC for 1,000 at 10x: liquidation at (10,000 - 1,000) / 0.2 / 0.996 = 45,180.7229
FALL = bars_of((50_000, 50_100, 47_000, 48_000), (48_000, 48_500, 44_000, 52_000))


def plain(bars: Bars, side: Side = Side.LONG, costs: Costs = FREE, leverage: float = 10) -> Plain:
    return Plain(path_of(bars.rows, side), side, leverage, LISTED[BTC], costs)


def test_the_exchange_takes_the_margin_and_leaves_the_reserve() -> None:
    end = plain(FALL).unguarded()
    assert (end.equity, end.liquidated) == (1000, True)


def test_who_is_not_liquidated_has_the_profit_at_the_end() -> None:
    end = plain(FALL, leverage=5).unguarded()
    assert (end.equity, end.liquidated) == (2000 + 0.1 * 2000, False)


def test_a_stop_leaves_its_share_of_the_way() -> None:
    """A quarter of 4,819.277 above liquidation: 46,385.542, 3,614.458 below entry."""
    end = plain(FALL).stopped(0.25)
    assert end.equity == pytest.approx(2000 - 0.2 * 3_614.458, abs=1e-3)
    assert not end.liquidated


def test_a_stop_pays_slippage_and_fee() -> None:
    """Filled at 46,385.542 x 0.9995 = 46,362.349; fee 0.05 % of 9,272.47."""
    end = plain(FALL, costs=COSTLY).stopped(0.25)
    assert end.equity == pytest.approx(2000 - 0.2 * 3_637.651 - 4.636, abs=1e-2)


def test_a_stop_fills_at_the_last_price_of_its_moment() -> None:
    """The mark is half way from 50,000 to 44,000 when last is half way from 50,000 to 40,000."""
    bars = bars_of((50_000, 50_000, 44_000, 50_000), lasts=[(50_000, 50_000, 40_000, 50_000)])
    level = 45_180.7229 + (50_000 - 45_180.7229) * 0.378  # 47,002.4: half way, nearly
    fill = 50_000 - (50_000 - level) / 6_000 * 10_000
    assert plain(bars).stopped(0.378).equity == pytest.approx(2000 - 0.2 * (50_000 - fill))


def test_no_fill_costs_more_than_the_margin() -> None:
    bars = bars_of((50_000, 50_000, 44_000, 50_000), lasts=[(50_000, 50_000, 30_000, 50_000)])
    assert plain(bars).stopped(0.05).equity == 1000


def test_the_adverse_extreme_comes_first() -> None:
    """A short of that bar meets the high before the low."""
    bars = bars_of((50_000, 56_000, 40_000, 41_000))
    assert plain(bars, Side.SHORT).unguarded().liquidated
    assert plain(bars, Side.LONG).unguarded().liquidated


def test_a_bill_brings_liquidation_nearer() -> None:
    """1 % of 10,000 leaves 900: liquidation at (10,000 - 900) / 0.2 / 0.996 = 45,682.73."""
    rows = [(50_000, 50_000, 50_000, 50_000), (50_000, 50_000, 45_500, 46_000)]
    free, billed = bars_of(*rows), bars_of(*rows, rates={0: "0", 1: "0.01"})
    costs = replace(FREE, funding=True)
    assert not plain(free, costs=costs).unguarded().liquidated
    assert plain(billed, costs=costs).unguarded().liquidated


def test_the_exchange_adds_margin_until_the_reserve_is_gone() -> None:
    """With 1,000 more liquidation is at 8,000 / 0.2 / 0.996 = 40,160.64."""
    assert plain(FALL).auto_margin().equity == 2400
    deeper = bars_of((50_000, 50_000, 40_000, 52_000))
    end = plain(deeper).auto_margin()
    assert (end.equity, end.liquidated) == (0, True)


def test_who_knows_the_future_leaves_at_once_or_stays() -> None:
    assert plain(FALL).foreseen() == plain(FALL).auto_margin()
    assert plain(bars_of((50_000, 50_000, 40_000, 41_000))).foreseen().equity == 2000


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("leverage", [2, 10])
def test_unguarded_it_ends_as_on_the_paper_exchange(side: Side, leverage: int) -> None:
    given = setup(("2020-03-12-btc", side, MarginMode.ISOLATED), leverage=leverage)
    fate = run_unguarded(given)
    bars = read_bars("2020-03-12-btc")
    end = Plain(path_of(bars.rows, side), side, leverage, LISTED[BTC], COSTLY).unguarded()
    assert end.liquidated == bool(fate.taken)
    assert float(fate.equity_final) == pytest.approx(end.equity, abs=0.05)
