"""A path goes through every bar's prices in the order that is worse, in small enough steps."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import groupby, pairwise

from hypothesis import given
from hypothesis import strategies as st

from bot.core.model import Side
from bot.core.units import Price, Ratio
from bot.exchange.paper.prices import PricePoint
from bot.rehearsal.bars import Bar, Bars, NoFunding, Ohlc, read_bars
from bot.rehearsal.path import price_path

SYMBOL = "BTC/USDT:USDT"
START_MS = 1583971200000
ROUNDING = Fraction(1, 10**7)


def ohlc(*prices: str | int) -> Ohlc:
    return Ohlc(*(Price(Decimal(price)) for price in prices))


def bars_of(interval_ms: int, *rows: tuple[Ohlc, Ohlc]) -> Bars:
    """Bars from pairs of last and mark."""
    made = tuple(
        Bar(START_MS + index * interval_ms, last, mark, NoFunding())
        for index, (last, mark) in enumerate(rows)
    )
    return Bars("paper", SYMBOL, interval_ms, True, made, "made up")


def by_bar(bars: Bars, path: Iterator[PricePoint]) -> list[tuple[Bar, list[PricePoint]]]:
    """The points of each bar, which have to be there."""
    grouped = groupby(path, lambda point: (point.at_ms - START_MS) // bars.interval_ms)
    points = {index: list(group) for index, group in grouped}
    return [(bar, points[index]) for index, bar in enumerate(bars.rows)]


def on_leg(bar: Bar, interval_ms: int, against: Side, at_ms: int, mark: bool) -> Fraction:
    """Where the price has to be, by the definition and in exact fractions."""
    prices = bar.mark if mark else bar.last
    low_first = against is Side.LONG
    extremes = (prices.low, prices.high) if low_first else (prices.high, prices.low)
    corners = list(
        zip(
            (0, interval_ms // 3, 2 * interval_ms // 3, interval_ms - 1),
            (Fraction(price) for price in (prices.open, *extremes, prices.close)),
            strict=True,
        )
    )
    offset_ms = at_ms - bar.open_at_ms
    for (from_ms, start), (to_ms, end) in pairwise(corners):
        if from_ms <= offset_ms <= to_ms:
            return start + (end - start) * Fraction(offset_ms - from_ms, to_ms - from_ms)
    raise AssertionError(f"{at_ms} is outside the bar")


@st.composite
def ohlcs(draw: st.DrawFn, scale: Decimal) -> Ohlc:
    """Four consistent prices: from flat to a crash of nine tenths, up to 12 digits long."""
    digits = st.integers(10**11, 10**12 - 1) | st.integers(600, 700).map(lambda n: n * 10**9)
    prices = [draw(digits) * scale / 10**12 for _ in range(4)]
    first, second = prices[:2]
    return Ohlc(Price(first), Price(max(prices)), Price(min(prices)), Price(second))


@st.composite
def recordings(draw: st.DrawFn) -> Bars:
    scale = Decimal(10) ** draw(st.integers(-8, 6))
    interval_ms = draw(st.sampled_from([1_000, 1_001, 60_000, 3_600_000]))
    pairs = st.tuples(ohlcs(scale), ohlcs(scale))
    return bars_of(interval_ms, *draw(st.lists(pairs, min_size=1, max_size=2)))


SIDES = st.sampled_from(Side)
STEPS = st.sampled_from([Ratio(Decimal(step)) for step in ("0.005", "0.01", "0.04")])


@given(recordings(), SIDES, STEPS)
def test_times_strictly_increase_from_the_first_open_to_the_last_close(
    bars: Bars, against: Side, step: Ratio
) -> None:
    times = [point.at_ms for point in price_path(bars, SYMBOL, against, step)]
    assert all(before < after for before, after in pairwise(times))
    assert times[0] == START_MS
    assert times[-1] == START_MS + len(bars.rows) * bars.interval_ms - 1


@given(recordings(), SIDES, STEPS)
def test_every_recorded_price_is_reached_and_none_beyond(
    bars: Bars, against: Side, step: Ratio
) -> None:
    for bar, points in by_bar(bars, price_path(bars, SYMBOL, against, step)):
        for recorded, seen in (
            (bar.last, [point.last for point in points]),
            (bar.mark, [point.mark for point in points]),
        ):
            assert (seen[0], seen[-1]) == (recorded.open, recorded.close)
            assert (min(seen), max(seen)) == (recorded.low, recorded.high)


@given(recordings(), SIDES, STEPS)
def test_no_price_moves_more_than_a_step_between_two_points(
    bars: Bars, against: Side, step: Ratio
) -> None:
    for _, points in by_bar(bars, price_path(bars, SYMBOL, against, step)):
        for before, after in pairwise(points):
            moves = [
                abs(Fraction(after.mark) / Fraction(before.mark) - 1),
                abs(Fraction(after.last) / Fraction(before.last) - 1),
            ]
            finest = after.at_ms == before.at_ms + 1
            assert finest or max(moves) <= Fraction(step) + ROUNDING


@given(recordings(), SIDES, STEPS)
def test_every_point_and_every_line_between_two_points_is_on_a_leg(
    bars: Bars, against: Side, step: Ratio
) -> None:
    for bar, points in by_bar(bars, price_path(bars, SYMBOL, against, step)):
        for before, after in pairwise(points):
            between_ms = (before.at_ms + after.at_ms) // 2
            share = Fraction(between_ms - before.at_ms, after.at_ms - before.at_ms)
            for start, end, mark in (
                (Fraction(before.mark), Fraction(after.mark), True),
                (Fraction(before.last), Fraction(after.last), False),
            ):
                for at_ms, price in (
                    (between_ms, start + (end - start) * share),
                    (after.at_ms, end),
                ):
                    exact = on_leg(bar, bars.interval_ms, against, at_ms, mark)
                    assert abs(price - exact) <= ROUNDING * exact


@given(recordings(), STEPS)
def test_the_adverse_extreme_comes_first_and_a_short_sees_the_mirror(
    bars: Bars, step: Ratio
) -> None:
    for bar, points in by_bar(bars, price_path(bars, SYMBOL, Side.LONG, step)):
        at = {point.at_ms - bar.open_at_ms: (point.mark, point.last) for point in points}
        assert at[bars.interval_ms // 3] == (bar.mark.low, bar.last.low)
        assert at[2 * bars.interval_ms // 3] == (bar.mark.high, bar.last.high)
    for bar, points in by_bar(bars, price_path(bars, SYMBOL, Side.SHORT, step)):
        at = {point.at_ms - bar.open_at_ms: (point.mark, point.last) for point in points}
        assert at[bars.interval_ms // 3] == (bar.mark.high, bar.last.high)
        assert at[2 * bars.interval_ms // 3] == (bar.mark.low, bar.last.low)


def test_a_bar_worked_out_by_hand() -> None:
    """
    Last falls 100 -> 98 in 300 s: a step of 1 % of 100 takes 150 s, 1 % of 99 takes 148.5 s.

    Then it rises to 100 in 300 s: 1 % of 98 takes 147 s. The mark is flat and comes along.
    """
    bars = bars_of(900_000, (ohlc(100, 100, 98, 99), ohlc(50, 50, 50, 50)))
    path = list(price_path(bars, SYMBOL, Side.LONG, Ratio(Decimal("0.01"))))
    offsets = [(point.at_ms - START_MS, str(point.last)) for point in path]
    assert offsets == [
        (0, "100"),
        (150_000, "99.00000000"),
        (298_500, "98.01000000"),
        (300_000, "98"),
        (447_000, "98.98000000"),
        (595_470, "99.96980000"),
        (600_000, "100"),
        (899_999, "99"),
    ]
    assert all(point.mark == 50 and point.symbol == SYMBOL for point in path)


def test_a_flat_bar_has_its_four_corners_only() -> None:
    flat = ohlc(5, 5, 5, 5)
    path = list(price_path(bars_of(60_000, (flat, flat)), SYMBOL, Side.SHORT, Ratio(Decimal(1))))
    assert [point.at_ms - START_MS for point in path] == [0, 20_000, 40_000, 59_999]


def test_a_tiny_price_keeps_its_digits() -> None:
    tiny = ohlc("0.0000012345678", "0.0000013", "0.0000012", "0.0000012345678")
    path = price_path(bars_of(60_000, (tiny, tiny)), SYMBOL, Side.LONG, Ratio(Decimal("0.001")))
    between = next(point for point in path if point.at_ms > START_MS)
    assert len(between.mark.as_tuple().digits) >= 8


def test_close_and_next_open_are_a_jump_of_one_millisecond() -> None:
    bars = bars_of(
        60_000, (ohlc(5, 5, 5, 5), ohlc(5, 5, 5, 5)), (ohlc(9, 9, 9, 9), ohlc(8, 8, 8, 8))
    )
    path = list(price_path(bars, SYMBOL, Side.LONG, Ratio(Decimal("0.001"))))
    close, open_ = path[3:5]
    assert (close.at_ms - START_MS, open_.at_ms - START_MS) == (59_999, 60_000)
    assert [close.last, close.mark, open_.last, open_.mark] == [5, 5, 9, 8]


def test_a_recorded_crash_in_steps_of_ten_basis_points() -> None:
    bars = read_bars("2020-03-12-btc")
    path = list(price_path(bars, bars.symbol, Side.LONG, Ratio(Decimal("0.001"))))
    assert min(point.mark for point in path) == Decimal("3801.83058")
    assert min(point.last for point in path) == Decimal("3621.81")
    # The sum of all moves over 10 bp: finer would be waste, coarser would break the promise.
    assert 9_000 < len(path) < 11_500
