"""Charts: whole hours, nothing from the future, and no hour that the data does not fill."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.model import BAR_MS, BARS_MAX, PriceBar
from bot.core.units import Price
from bot.exchange.paper.prices import ClosedBars
from bot.rehearsal.bars import Bar, Bars, NoFunding, Ohlc
from bot.rehearsal.charts import drawn_charts, recorded_charts

D = Decimal
MINUTE_MS = 60_000
NOON_MS = 1_600_000_000_000 // BAR_MS * BAR_MS
SYMBOL = "BTC/USDT:USDT"


def recording(first_ms: int, count: int, interval_ms: int = MINUTE_MS) -> Bars:
    """Each bar is higher than the one before, and its mark twice its last price."""

    def ohlc(index: int) -> Ohlc:
        return Ohlc(*(Price(D(1_000 + 10 * index + each)) for each in (1, 4, 0, 2)))

    def mark(index: int) -> Ohlc:
        one = ohlc(index)
        return Ohlc(*(Price(2 * each) for each in (one.open, one.high, one.low, one.close)))

    rows = tuple(
        Bar(first_ms + index * interval_ms, ohlc(index), mark(index), NoFunding())
        for index in range(count)
    )
    return Bars("binanceusdm", SYMBOL, interval_ms, True, rows, "a test")


def test_an_hour_of_a_recording_is_joined_of_its_marks_once_it_is_over() -> None:
    chart = recorded_charts([recording(NOON_MS, 180)])
    first = PriceBar(Price(D(2 * (1_590 + 4))), Price(D(2_000)), Price(D(2 * 1_592)))
    assert chart(SYMBOL, NOON_MS + BAR_MS - 1) == ClosedBars(0, ())
    assert chart(SYMBOL, NOON_MS + BAR_MS) == ClosedBars(NOON_MS + BAR_MS, (first,))
    assert chart(SYMBOL, NOON_MS + 2 * BAR_MS + 5).closed_at_ms == NOON_MS + 2 * BAR_MS
    assert len(chart(SYMBOL, NOON_MS + 2 * BAR_MS + 5).bars) == 2


def test_the_hour_that_a_recording_begins_in_is_not_whole() -> None:
    chart = recorded_charts([recording(NOON_MS + 17 * MINUTE_MS, 120)])
    assert chart(SYMBOL, NOON_MS + 2 * BAR_MS).bars[0].low == 2 * (1_000 + 10 * 43)
    assert len(chart(SYMBOL, NOON_MS + 9 * BAR_MS).bars) == 1


@pytest.mark.parametrize("interval_ms", [7 * MINUTE_MS, 24 * BAR_MS])
def test_bars_that_fill_no_hour_make_no_chart(interval_ms: int) -> None:
    first_ms = NOON_MS // interval_ms * interval_ms
    chart = recorded_charts([recording(first_ms, 300, interval_ms)])
    assert chart(SYMBOL, NOON_MS + 200 * BAR_MS) == ClosedBars(0, ())


def test_no_more_than_the_newest_are_shown() -> None:
    chart = recorded_charts([recording(NOON_MS, BARS_MAX + 40, BAR_MS)])
    shown = chart(SYMBOL, NOON_MS + (BARS_MAX + 20) * BAR_MS)
    assert len(shown.bars) == BARS_MAX
    assert shown.bars[-1].close == 2 * (1_002 + 10 * (BARS_MAX + 19))


@given(
    st.lists(st.tuples(st.integers(1, 3 * BAR_MS), st.integers(1, 99)), min_size=1, max_size=40),
    st.integers(0, 50 * BAR_MS),
)
def test_drawn_bars_go_on_from_each_other_without_a_gap_and_know_no_future(
    steps: list[tuple[int, int]], later_ms: int
) -> None:
    line, at_ms = [], NOON_MS
    for wait_ms, price in steps:
        at_ms += wait_ms
        line.append((at_ms, Price(D(price))))
    now_ms = NOON_MS + later_ms
    shown = drawn_charts({SYMBOL: line})(SYMBOL, now_ms)
    ends_ms = now_ms // BAR_MS * BAR_MS
    met = [(at, price) for at, price in line if at < ends_ms]
    if not met:
        assert shown == ClosedBars(0, ())
        return
    assert shown.closed_at_ms == ends_ms
    first_ms = met[0][0] // BAR_MS * BAR_MS
    assert len(shown.bars) == min((ends_ms - first_ms) // BAR_MS, BARS_MAX)
    assert shown.bars[-1].close == met[-1][1]
    for index, bar in enumerate(reversed(shown.bars)):
        end_ms = ends_ms - index * BAR_MS
        until = [price for at, price in met if at < end_ms]
        inside = [price for at, price in met if end_ms - BAR_MS <= at < end_ms]
        assert bar.close == until[-1]
        assert bar.low <= min([bar.close, *inside]) <= max([bar.close, *inside]) <= bar.high
