"""The bundled recordings hold what is known of those days."""

from decimal import Decimal

import pytest

from bot.rehearsal.bars import Bars, FundingSettled, read_bars, scenario_names

HOUR_MS = 3_600_000
MARCH_11_2020_MS = 1583884800000
AUGUST_5_2023_MS = 1691193600000


def settlements(bars: Bars) -> dict[int, Decimal]:
    return {
        bar.open_at_ms: bar.funding.rate
        for bar in bars.rows
        if isinstance(bar.funding, FundingSettled)
    }


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_says_what_it_is(name: str) -> None:
    bars = read_bars(name)
    assert (bars.venue, bars.symbol) == ("binanceusdm", "BTC/USDT:USDT")
    assert bars.interval_ms == HOUR_MS
    assert bars.mark_is_recorded
    assert "recorded" in bars.provenance
    assert "mark" in bars.provenance
    eight_hourly = [bar.open_at_ms for bar in bars.rows if bar.open_at_ms % (8 * HOUR_MS) == 0]
    assert list(settlements(bars)) == eight_hourly


def test_the_crash_of_march_2020() -> None:
    bars = read_bars("2020-03-12-btc")
    assert bars.rows[0].open_at_ms == MARCH_11_2020_MS
    assert len(bars.rows) == 4 * 24
    bottom = min(bars.rows, key=lambda bar: bar.last.low)
    assert bottom.open_at_ms == MARCH_11_2020_MS + 50 * HOUR_MS  # 13 March, 02:00 UTC
    assert bottom.last.low == Decimal("3621.81")
    assert bottom.mark.low == Decimal("3801.83058")
    assert min(bar.mark.low for bar in bars.rows) == bottom.mark.low
    assert bars.rows[0].last.open == Decimal("7898.21")
    assert bars.rows[-1].mark.close == Decimal("5179.192369")
    # Shorts paid -0.3 %, the venue's limit, on 13 March at 08:00.
    assert min(settlements(bars).items(), key=lambda item: item[1]) == (
        MARCH_11_2020_MS + 56 * HOUR_MS,
        Decimal("-0.003"),
    )


def test_the_quiet_week() -> None:
    bars = read_bars("quiet-week-btc")
    assert bars.rows[0].open_at_ms == AUGUST_5_2023_MS
    assert len(bars.rows) == 6 * 24
    assert min(bar.last.low for bar in bars.rows) == Decimal("28682.3")
    assert max(bar.last.high for bar in bars.rows) == Decimal(30250)
    assert all(abs(bar.mark.close / bar.mark.open - 1) < Decimal("0.011") for bar in bars.rows)
