"""A path goes through every bar's prices in the order that is worse, in small enough steps."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.model import Side
from bot.core.units import Price, Ratio
from bot.exchange.paper.prices import FundingTerm, PathItem, PricePoint
from bot.rehearsal.bars import Bar, Bars, DataError, FundingSettled, NoFunding, Ohlc, read_bars
from bot.rehearsal.path import book_path, funding_terms, in_common, price_path

SYMBOL = "BTC/USDT:USDT"
OTHER = "ETH/USDT:USDT"
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


Corners = list[tuple[int, Fraction]]


def corners_of(prices: Ohlc, interval_ms: int, against: Side) -> Corners:
    """After how many milliseconds of a bar its price has to be where, in exact fractions."""
    low_first = against is Side.LONG
    extremes = (prices.low, prices.high) if low_first else (prices.high, prices.low)
    return list(
        zip(
            (0, interval_ms // 3, 2 * interval_ms // 3, interval_ms - 1),
            (Fraction(price) for price in (prices.open, *extremes, prices.close)),
            strict=True,
        )
    )


def on_leg(corners: Corners, offset_ms: int) -> Fraction:
    """Where the price has to be so long after the bar has begun, by the definition."""
    for (from_ms, start), (to_ms, end) in pairwise(corners):
        if from_ms <= offset_ms <= to_ms:
            return start + (end - start) * Fraction(offset_ms - from_ms, to_ms - from_ms)
    raise AssertionError(f"{offset_ms} is outside the bar")


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
    times = [point.at_ms for point in price_path(bars, against, step)]
    assert all(before < after for before, after in pairwise(times))
    assert times[0] == START_MS
    assert times[-1] == START_MS + len(bars.rows) * bars.interval_ms - 1


@given(recordings(), SIDES, STEPS)
def test_every_recorded_price_is_reached_and_none_beyond(
    bars: Bars, against: Side, step: Ratio
) -> None:
    for bar, points in by_bar(bars, price_path(bars, against, step)):
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
    for _, points in by_bar(bars, price_path(bars, against, step)):
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
    for bar, points in by_bar(bars, price_path(bars, against, step)):
        marks = corners_of(bar.mark, bars.interval_ms, against)
        lasts = corners_of(bar.last, bars.interval_ms, against)
        for before, after in pairwise(points):
            between_ms = (before.at_ms + after.at_ms) // 2
            share = Fraction(between_ms - before.at_ms, after.at_ms - before.at_ms)
            for start, end, corners in (
                (Fraction(before.mark), Fraction(after.mark), marks),
                (Fraction(before.last), Fraction(after.last), lasts),
            ):
                for at_ms, price in (
                    (between_ms, start + (end - start) * share),
                    (after.at_ms, end),
                ):
                    exact = on_leg(corners, at_ms - bar.open_at_ms)
                    assert abs(price - exact) <= ROUNDING * exact


@given(recordings(), STEPS)
def test_the_adverse_extreme_comes_first_and_a_short_sees_the_mirror(
    bars: Bars, step: Ratio
) -> None:
    for bar, points in by_bar(bars, price_path(bars, Side.LONG, step)):
        at = {point.at_ms - bar.open_at_ms: (point.mark, point.last) for point in points}
        assert at[bars.interval_ms // 3] == (bar.mark.low, bar.last.low)
        assert at[2 * bars.interval_ms // 3] == (bar.mark.high, bar.last.high)
    for bar, points in by_bar(bars, price_path(bars, Side.SHORT, step)):
        at = {point.at_ms - bar.open_at_ms: (point.mark, point.last) for point in points}
        assert at[bars.interval_ms // 3] == (bar.mark.high, bar.last.high)
        assert at[2 * bars.interval_ms // 3] == (bar.mark.low, bar.last.low)


def test_a_bar_worked_out_by_hand() -> None:
    """
    Last falls 100 -> 98 in 300 s: a step of 1 % of 100 takes 150 s, 1 % of 99 takes 148.5 s.

    Then it rises to 100 in 300 s: 1 % of 98 takes 147 s. The mark is flat and comes along.
    """
    bars = bars_of(900_000, (ohlc(100, 100, 98, 99), ohlc(50, 50, 50, 50)))
    path = list(price_path(bars, Side.LONG, Ratio(Decimal("0.01"))))
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
    path = list(price_path(bars_of(60_000, (flat, flat)), Side.SHORT, Ratio(Decimal(1))))
    assert [point.at_ms - START_MS for point in path] == [0, 20_000, 40_000, 59_999]


def test_a_tiny_price_keeps_its_digits() -> None:
    tiny = ohlc("0.0000012345678", "0.0000013", "0.0000012", "0.0000012345678")
    path = price_path(bars_of(60_000, (tiny, tiny)), Side.LONG, Ratio(Decimal("0.001")))
    between = next(point for point in path if point.at_ms > START_MS)
    assert len(between.mark.as_tuple().digits) >= 8


def test_close_and_next_open_are_a_jump_of_one_millisecond() -> None:
    bars = bars_of(
        60_000, (ohlc(5, 5, 5, 5), ohlc(5, 5, 5, 5)), (ohlc(9, 9, 9, 9), ohlc(8, 8, 8, 8))
    )
    path = list(price_path(bars, Side.LONG, Ratio(Decimal("0.001"))))
    close, open_ = path[3:5]
    assert (close.at_ms - START_MS, open_.at_ms - START_MS) == (59_999, 60_000)
    assert [close.last, close.mark, open_.last, open_.mark] == [5, 5, 9, 8]


def test_a_recorded_crash_in_steps_of_ten_basis_points() -> None:
    bars = read_bars("2020-03-12-btc")
    path = list(price_path(bars, Side.LONG, Ratio(Decimal("0.001"))))
    assert min(point.mark for point in path) == Decimal("3801.83058")
    assert min(point.last for point in path) == Decimal("3621.81")
    # The sum of all moves over 10 bp: finer would be waste, coarser would break the promise.
    assert 9_000 < len(path) < 11_500


HOUR_MS = 3_600_000
FLAT = ohlc(5, 5, 5, 5)


def hours(
    count: int, *, symbol: str = SYMBOL, begin_ms: int = START_MS, interval_ms: int = HOUR_MS
) -> Bars:
    """Flat bars of `symbol`."""
    flat = bars_of(interval_ms, *[(FLAT, FLAT)] * count)
    rows = (replace(row, open_at_ms=row.open_at_ms - START_MS + begin_ms) for row in flat.rows)
    return replace(flat, symbol=symbol, rows=tuple(rows))


def settled(bars: Bars, at_hours: dict[int, tuple[str, int]]) -> Bars:
    """`bars` with settlements: by hour their rate and the hours since the one before."""
    rows = list(bars.rows)
    for hour, (rate, distance) in at_hours.items():
        funding = FundingSettled(Ratio(Decimal(rate)), distance * HOUR_MS)
        rows[hour] = replace(rows[hour], funding=funding)
    return replace(bars, rows=tuple(rows))


CHANGING = {0: ("0.9", 8), 4: ("0.01", 8), 12: ("-0.02", 8), 16: ("0.03", 4), 17: ("0.04", 1)}


def test_each_settlement_is_announced_from_the_one_before_on() -> None:
    terms = list(funding_terms(settled(hours(20), CHANGING)))
    assert [
        ((term.at_ms - START_MS) // HOUR_MS, (term.next_at_ms - START_MS) // HOUR_MS)
        for term in terms
    ] == [(0, 4), (4, 12), (12, 16), (16, 17)]  # that of the first moment is over
    assert [str(term.rate) for term in terms] == ["0.01", "-0.02", "0.03", "0.04"]
    assert [term.interval_ms // HOUR_MS for term in terms] == [8, 8, 4, 1]
    assert {term.symbol for term in terms} == {SYMBOL}


def test_without_settlements_nothing_is_announced() -> None:
    assert not list(funding_terms(hours(20)))


def test_a_later_begin_knows_the_interval_still() -> None:
    bars = settled(hours(20), CHANGING)
    (late,) = in_common([bars], START_MS + 5 * HOUR_MS)
    first = next(funding_terms(late))
    assert (first.at_ms, first.next_at_ms) == (START_MS + 5 * HOUR_MS, START_MS + 12 * HOUR_MS)
    assert first.interval_ms == 8 * HOUR_MS


@given(recordings(), recordings(), SIDES, SIDES, STEPS)
def test_a_book_is_each_symbols_own_path_merged_in_time(
    bars: Bars, other: Bars, side: Side, other_side: Side, step: Ratio
) -> None:
    other = replace(other, symbol=OTHER)
    path = list(book_path([(bars, side), (other, other_side)], step, funding=True))
    assert all(before.at_ms <= after.at_ms for before, after in pairwise(path))
    assert [item for item in path if item.symbol == SYMBOL] == list(price_path(bars, side, step))
    assert [item for item in path if item.symbol == OTHER] == list(
        price_path(other, other_side, step)
    )


def test_at_one_moment_all_prices_come_before_all_bills() -> None:
    both = [
        (settled(hours(20), CHANGING), Side.LONG),
        (settled(hours(20, symbol=OTHER), CHANGING), Side.SHORT),
    ]

    def kinds(path: Iterator[PathItem]) -> dict[int, str]:
        moments = groupby(path, lambda item: item.at_ms)
        return {
            (at_ms - START_MS) // HOUR_MS: "".join(_kind(item) for item in items)
            for at_ms, items in moments
            if (at_ms - START_MS) % HOUR_MS == 0
        }

    step = Ratio(Decimal(1))
    expected = dict.fromkeys(range(20), "pP")
    assert kinds(book_path(both, step, funding=False)) == expected
    announced = dict.fromkeys((0, 4, 12, 16), "pPfF")
    assert kinds(book_path(both, step, funding=True)) == expected | announced


def _kind(item: PathItem) -> str:
    letter = {PricePoint: "p", FundingTerm: "f"}[type(item)]
    return letter if item.symbol == SYMBOL else letter.upper()


def span(bars: Bars) -> tuple[int, int]:
    """First open and last close, in minutes."""
    begin_ms, end_ms = bars.rows[0].open_at_ms, bars.rows[-1].open_at_ms + bars.interval_ms
    return (begin_ms - START_MS) // 60_000, (end_ms - START_MS) // 60_000


def test_a_book_lives_through_the_time_that_all_its_symbols_have() -> None:
    quarters = hours(
        18, symbol=OTHER, begin_ms=START_MS + HOUR_MS // 4, interval_ms=HOUR_MS // 4
    )  # 00:15 to 04:45
    both = in_common([hours(9), quarters], 0)
    assert [span(bars) for bars in both] == [(60, 240), (60, 240)]
    both = in_common([hours(9), quarters], START_MS + 90 * 60_000)
    assert [span(bars) for bars in both] == [(120, 240), (120, 240)]


def test_one_symbol_lives_from_the_first_bar_at_or_after_its_entry_to_the_end() -> None:
    (bars,) = in_common([hours(3)], START_MS + 1)
    assert span(bars) == (60, 180)
    assert in_common([hours(3)], 0) == (hours(3),)


@pytest.mark.parametrize(
    ("recordings", "from_ms", "words"),
    [
        ([hours(3)], START_MS + 3 * HOUR_MS, "expected a time before the data ends, was"),
        (
            [hours(3), hours(3, symbol=OTHER, begin_ms=START_MS + 3 * HOUR_MS)],
            0,
            f"in common, was 0 with {SYMBOL} from {START_MS} to {START_MS + 2 * HOUR_MS} every",
        ),
        ([hours(3), hours(3, symbol=OTHER, begin_ms=START_MS + 1)], 0, "a time in common"),
        ([hours(3), hours(2, symbol=OTHER)], START_MS + 2 * HOUR_MS, "a time in common"),
    ],
)
def test_a_book_without_a_time_in_common_is_one_line(
    recordings: list[Bars], from_ms: int, words: str
) -> None:
    with pytest.raises(DataError) as raised:
        in_common(recordings, from_ms)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_recorded_cross_book_of_march_2020() -> None:
    legs = [(read_bars(f"2020-03-12-{coin}"), Side.LONG) for coin in ("btc", "eth", "xrp")]
    path = list(book_path(legs, Ratio(Decimal("0.001")), funding=True))
    terms = [item for item in path if isinstance(item, FundingTerm)]
    assert len(terms) == 3 * 11
    assert {term.interval_ms for term in terms} == {8 * HOUR_MS}
    assert all(term.next_at_ms - term.at_ms == 8 * HOUR_MS for term in terms)
