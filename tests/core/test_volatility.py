"""
ATR and sigma against a worked table and against the standard library; times by substitution.
"""

import math
import re
import statistics
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.model import PriceBar, Side
from bot.core.units import Price, Ratio
from bot.core.volatility import (
    ATR_BARS,
    TooFewBars,
    average_true_range,
    joined,
    log_distance,
    sigma_of,
    sigma_over,
    time_to_liquidation,
)

D = Decimal
DAY_MS, HOUR_MS = 86_400_000, 3_600_000

# StockCharts' worked example of the ATR (QQQ from 1 April 2010), as bukosabino/ta 41c1a8eb keeps
# it in test/data/cs-atr.csv: high, low, close. Its first range is high - low of the first day,
# which a close before within that day leaves as it is.
BEFORE = "48.20 48.20 48.20"
QQQ = """
    48.70 47.79 48.16  | 48.72 48.14 48.61 | 48.90 48.39 48.75 | 48.87 48.37 48.63
    48.82 48.24 48.74  | 49.05 48.635 49.03 | 49.20 48.94 49.07 | 49.35 48.86 49.32
    49.92 49.50 49.91  | 50.19 49.87 50.13 | 50.12 49.20 49.53 | 49.66 48.90 49.50
    49.88 49.43 49.75  | 50.19 49.725 50.03 | 50.36 49.26 50.31 | 50.57 50.09 50.52
    50.65 50.30 50.41  | 50.43 49.21 49.34
"""
PUBLISHED = ["0.555", "0.5939285714", "0.5857908163", "0.5689486152", "0.6154522855"]


def bar(high: Decimal, low: Decimal, close: Decimal) -> PriceBar:
    return PriceBar(Price(high), Price(low), Price(close))


def bars_of(table: str) -> list[PriceBar]:
    cells = re.split(r"[|\n]", table.strip())
    return [bar(*map(D, cell.split())) for cell in cells]


def closes(*prices: str) -> list[PriceBar]:
    return [bar(D(price), D(price), D(price)) for price in prices]


@st.composite
def walks(draw: st.DrawFn) -> list[PriceBar]:
    made = []
    for _ in range(draw(st.integers(ATR_BARS + 1, 40))):
        low = draw(st.decimals("1", "1000", places=2))
        high = low + draw(st.decimals("0.01", "50", places=2))
        made.append(bar(high, low, draw(st.sampled_from([low, high, (low + high) / 2]))))
    return made


@pytest.mark.parametrize("day", range(14, 19))
def test_the_average_is_the_published_one(day: int) -> None:
    bars = bars_of(BEFORE) + bars_of(QQQ)[:day]
    atr = average_true_range(bars)
    assert atr == pytest.approx(D(PUBLISHED[day - 14]), abs=D("1e-10"))


def test_a_gap_is_part_of_the_range() -> None:
    still = closes(*["100"] * 15)
    leapt = [*still[:-1], bar(D(121), D(120), D(120))]
    assert average_true_range(still) == 0
    assert average_true_range(leapt) == D(21) / 14


@pytest.mark.parametrize("count", [0, 1, ATR_BARS])
def test_too_few_bars_are_said_to_be_too_few(count: int) -> None:
    assert average_true_range(closes(*["100"] * count)) == TooFewBars(15, count)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_one_return_has_no_deviation(count: int) -> None:
    assert sigma_of(closes(*["100"] * count)) == TooFewBars(3, count)


@given(walks())
def test_measures_agree_with_plain_floats(bars: list[PriceBar]) -> None:
    returns = [math.log(after.close / before.close) for before, after in pairwise(bars)]
    sigma = sigma_of(bars)
    assert not isinstance(sigma, TooFewBars)
    assert float(sigma) == pytest.approx(statistics.stdev(returns), rel=1e-9, abs=1e-12)
    ranges = [
        float(max(after.high - after.low, abs(after.high - before.close),
                  abs(after.low - before.close)))
        for before, after in pairwise(bars)
    ]  # fmt: skip
    smoothed = statistics.fmean(ranges[:14])
    for each in ranges[14:]:
        smoothed += (each - smoothed) / 14
    atr = average_true_range(bars)
    assert not isinstance(atr, TooFewBars)
    assert float(atr) == pytest.approx(smoothed, rel=1e-9)


@given(walks(), st.integers(1, 7))
def test_joined_bars_are_whole_and_end_with_the_newest(bars: list[PriceBar], size: int) -> None:
    made = joined(bars, size)
    assert len(made) == len(bars) // size
    newest = bars[-size:]
    assert made[-1] == bar(
        max(each.high for each in newest), min(each.low for each in newest), bars[-1].close
    )


def test_sigma_grows_with_the_root_of_time() -> None:
    assert sigma_over(Ratio(D("0.01")), HOUR_MS, 4 * HOUR_MS) == D("0.02")
    assert sigma_over(Ratio(D("0.03")), DAY_MS, DAY_MS // 9) == pytest.approx(D("0.01"))


def test_the_log_distance_is_signed_and_near_the_plain_one() -> None:
    near = log_distance(Side.LONG, Price(D(60_000)), Price(D(59_400)))
    assert near == pytest.approx(D("0.01005"), abs=D("0.00001"))
    assert log_distance(Side.SHORT, Price(D(60_000)), Price(D(59_400))) == -near
    doubled = log_distance(Side.SHORT, Price(D(100)), Price(D(200)))
    assert float(doubled) == pytest.approx(math.log(2))


SHARES = st.decimals("0.0001", "3", places=4)


@given(SHARES, SHARES, st.decimals("0", "3", places=4))
def test_after_the_time_one_sigma_and_the_funding_are_the_distance(
    distance: Decimal, sigma: Decimal, drift: Decimal
) -> None:
    time = time_to_liquidation(distance, Ratio(sigma), drift)
    assert sigma * time.sqrt() + drift * time == pytest.approx(distance, rel=D("1e-15"))


def test_without_funding_three_sigmas_take_nine_days() -> None:
    assert time_to_liquidation(D("0.09"), Ratio(D("0.03")), D(0)) == 9
    assert time_to_liquidation(D("0.09"), Ratio(D("0.03")), D("0.01")) < 9


def test_what_is_liquidated_already_has_no_time() -> None:
    assert time_to_liquidation(D(0), Ratio(D("0.03")), D(0)) == 0
    assert time_to_liquidation(D("-0.01"), Ratio(D("0.03")), D(0)) == 0
