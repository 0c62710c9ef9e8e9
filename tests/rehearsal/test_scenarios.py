"""The bundled scenarios hold what is known of those days, and say what they are."""

from collections.abc import Callable
from dataclasses import astuple
from decimal import Decimal

import pytest

from bot.rehearsal.bars import Bar, Bars, FundingSettled, read_bars, scenario_names

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
MARCH_11_2020_MS = 1583884800000
MAY_18_2021_MS = 1621296000000
AUGUST_5_2023_MS = 1691193600000
MAY_7_2025_MS = 1746576000000

HOURLY = ["2020-03-12-btc", "2020-03-12-eth", "2020-03-12-xrp", "2021-05-19-eth", "quiet-week-btc"]
CONSTRUCTED = ["constructed-funding-bleed", "constructed-funding-shock"]


def settlements(bars: Bars) -> dict[int, Decimal]:
    return {
        bar.open_at_ms: bar.funding.rate
        for bar in bars.rows
        if isinstance(bar.funding, FundingSettled)
    }


def at(bars: Bars, at_ms: int) -> Bar:
    return next(bar for bar in bars.rows if bar.open_at_ms == at_ms)


def lowest_mark(bar: Bar) -> Decimal:
    return bar.mark.low


def lowest_last(bar: Bar) -> Decimal:
    return bar.last.low


def test_these_are_the_scenarios() -> None:
    assert set(scenario_names()) == {*HOURLY, *CONSTRUCTED, "2025-05-08-eth"}


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_says_what_it_is(name: str) -> None:
    bars = read_bars(name)
    assert bars.venue == "binanceusdm"
    assert "mark" in bars.provenance
    assert ("Constructed, not recorded" in bars.provenance) == ("constructed" in name)
    if name not in CONSTRUCTED:
        assert ", recorded: " in bars.provenance
        assert bars.symbol.split("/")[0].lower() == name.rsplit("-", 1)[1]
    assert bars.mark_is_recorded == (name in HOURLY)
    assert ("mark = last" in bars.provenance) == (name not in HOURLY)
    eight_hourly = [bar.open_at_ms for bar in bars.rows if bar.open_at_ms % (8 * HOUR_MS) == 0]
    assert list(settlements(bars)) == eight_hourly


@pytest.mark.parametrize("name", [*HOURLY, *CONSTRUCTED])
def test_bars_are_hourly_but_for_the_squeeze(name: str) -> None:
    assert read_bars(name).interval_ms == HOUR_MS


@pytest.mark.parametrize(
    ("name", "first_open", "last_low", "mark_low", "last_close", "cheapest"),
    [
        ("2020-03-12-btc", "7898.21", "3621.81", "3801.83058", "5179.192369", "-0.003"),
        ("2020-03-12-eth", "200.9", "84.23", "87.0929191", "122.4805682", "-0.00281778"),
        ("2020-03-12-xrp", "0.212", "0.1016", "0.10410983", "0.14591518", "-0.00432483"),
    ],
)
def test_the_crash_of_march_2020(
    name: str, first_open: str, last_low: str, mark_low: str, last_close: str, cheapest: str
) -> None:
    bars = read_bars(name)
    assert bars.rows[0].open_at_ms == MARCH_11_2020_MS
    assert len(bars.rows) == 4 * 24
    bottom = at(bars, MARCH_11_2020_MS + 50 * HOUR_MS)  # 13 March, 02:00 UTC
    assert bottom == min(bars.rows, key=lowest_last) == min(bars.rows, key=lowest_mark)
    assert bottom.last.low == Decimal(last_low)
    assert bottom.mark.low == Decimal(mark_low)
    assert bars.rows[0].last.open == Decimal(first_open)
    assert bars.rows[-1].mark.close == Decimal(last_close)
    # The cheapest hour for longs was 13 March, 08:00; BTC's rate met the venue's limit.
    assert min(settlements(bars).items(), key=lambda item: item[1]) == (
        MARCH_11_2020_MS + 56 * HOUR_MS,
        Decimal(cheapest),
    )


def test_the_three_of_march_2020_are_of_the_same_hours() -> None:
    hours = [
        [bar.open_at_ms for bar in read_bars(f"2020-03-12-{coin}").rows]
        for coin in ("btc", "eth", "xrp")
    ]
    assert hours[0] == hours[1] == hours[2]


def test_the_crash_of_may_2021_in_which_last_fell_a_fifth_below_mark() -> None:
    bars = read_bars("2021-05-19-eth")
    assert bars.rows[0].open_at_ms == MAY_18_2021_MS
    assert len(bars.rows) == 3 * 24
    bottom = at(bars, MAY_18_2021_MS + 37 * HOUR_MS)  # 19 May, 13:00 UTC
    assert bottom == min(bars.rows, key=lowest_last) == min(bars.rows, key=lowest_mark)
    assert (bottom.last.low, bottom.mark.low) == (Decimal("1400.73"), Decimal("1764.258181"))
    assert Decimal("-0.207") < bottom.last.low / bottom.mark.low - 1 < Decimal("-0.205")
    assert min(settlements(bars).values()) == Decimal("-0.00356332")


def test_the_rise_of_may_2025() -> None:
    bars = read_bars("2025-05-08-eth")
    assert bars.interval_ms == 15 * MINUTE_MS
    assert bars.rows[0].open_at_ms == MAY_7_2025_MS
    assert len(bars.rows) == 3 * 24 * 4
    assert bars.rows[0].last.open == Decimal("1816.23")
    top = max(bars.rows, key=lambda bar: bar.last.high)
    assert top.open_at_ms // HOUR_MS == MAY_7_2025_MS // HOUR_MS + 56  # 9 May, 08:00 UTC
    assert top.last.high == Decimal("2490.75")
    assert min(bar.last.low for bar in bars.rows) == Decimal(1786)
    assert bars.rows[-1].last.close == Decimal("2344.3")


def test_the_quiet_week() -> None:
    bars = read_bars("quiet-week-btc")
    assert bars.rows[0].open_at_ms == AUGUST_5_2023_MS
    assert len(bars.rows) == 6 * 24
    assert min(bar.last.low for bar in bars.rows) == Decimal("28682.3")
    assert max(bar.last.high for bar in bars.rows) == Decimal(30250)
    assert all(abs(bar.mark.close / bar.mark.open - 1) < Decimal("0.011") for bar in bars.rows)


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("constructed-funding-bleed", lambda _: Decimal("0.0005")),
        ("constructed-funding-shock", lambda hour: Decimal("-0.02" if hour == 32 else "0.0001")),
    ],
)
def test_a_constructed_price_does_not_move_and_its_bills_are_what_it_says(
    name: str, rate: Callable[[int], Decimal]
) -> None:
    bars = read_bars(name)
    assert len(bars.rows) == 3 * 24
    prices = [astuple(ohlc) for bar in bars.rows for ohlc in (bar.last, bar.mark)]
    assert set(prices) == {(Decimal(100_000),) * 4}
    begin_ms = bars.rows[0].open_at_ms
    assert settlements(bars) == {
        begin_ms + hour * HOUR_MS: rate(hour) for hour in range(0, 3 * 24, 8)
    }
