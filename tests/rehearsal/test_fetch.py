"""Fetching into the cache: no bar twice, none missing unsaid, and on from where it stopped."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import Clock
from bot.core.units import Price, Quantity, Ratio
from bot.exchange import history
from bot.exchange.history import HistoryRefused, Kline, open_history
from bot.exchange.ports import Unreachable
from bot.exchange.venues.binanceusdm import RULES, instruments
from bot.rehearsal.bars import Bars, DataError, FundingSettled, read_bars
from bot.rehearsal.cache import (
    Span,
    find_bars,
    gaps,
    iso,
    moment_ms,
    months,
    united,
    wanted,
    without,
)
from bot.rehearsal.fetch import Fetched, complete, fetch
from bot.rehearsal.listing import Listing, NoContract, contract
from tests.exchange.loopback import (
    HOUR_MS,
    MINUTE_MS,
    NOW_MS,
    Bybit,
    Venue,
    close,
    dropped,
    serving,
    status,
)

D = Decimal
DAY_MS = 24 * HOUR_MS
NOV_1 = 1_698_796_800_000
"""1 November 2023, 00:00."""
DAY = (NOV_1, NOV_1 + DAY_MS)
EVERY_8_H = FundingSettled(Ratio(D("0.000125")), 8 * HOUR_MS)


@pytest.fixture(autouse=True)
def _unthrottled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "REQUESTS_PER_S", 1000)


class Hasty(Clock):
    """Does not wait."""

    async def sleep_ms(self, duration_ms: int) -> None:
        await super().sleep_ms(0)


def unheard(at_ms: int) -> None:
    """Progress that nobody watches."""


def fetched(
    venue: Venue,
    cache: Path,
    span: Span = DAY,
    interval: str = "1m",
    progress: Callable[[int], None] = unheard,
) -> Fetched:
    async def main() -> Fetched:
        async with (
            serving(venue) as session,
            open_history(
                "bybit" if isinstance(venue, Bybit) else "binanceusdm",
                Hasty(NOW_MS),
                {"session": session},
                lambda line: None,
            ) as opened,
        ):
            return await fetch(opened, "BTCUSDT", interval, span, cache, progress)

    return asyncio.run(main())


def named(span: Span, interval: str = "1m") -> str:
    return f"binanceusdm:BTCUSDT:{interval}:{iso(span[0])}..{iso(span[1])}"


def assert_whole(bars: Bars, span: Span, step_ms: int = MINUTE_MS) -> None:
    assert [bar.open_at_ms for bar in bars.rows] == list(range(*span, step_ms))
    for bar in bars.rows:
        price = D(close(bar.open_at_ms)) / 10
        assert (bar.last.open, bar.last.high) == (price, price + 5)
        assert (bar.mark.open, bar.mark.high, bar.mark.close) == (price, price + 4, price + 1)


def test_a_day_is_fetched_and_read_by_its_name_and_as_a_file(tmp_path: Path) -> None:
    venue = Venue()
    told = fetched(venue, tmp_path)
    assert (told.bars, told.new, told.gaps, told.mark_gaps) == (1440, 1440, (), ())
    assert (told.settlements, told.symbol) == (3, "BTC/USDT:USDT")
    assert venue.counts["klines"] == venue.counts["markPriceKlines"] == 2  # 1,000 and 440

    bars = find_bars(named(DAY), tmp_path)
    assert_whole(bars, DAY)
    assert (bars.venue, bars.symbol, bars.mark_is_recorded) == (
        "binanceusdm", "BTC/USDT:USDT", True,
    )  # fmt: skip
    settled = [bar.open_at_ms for bar in bars.rows if isinstance(bar.funding, FundingSettled)]
    assert settled == [NOV_1, NOV_1 + 8 * HOUR_MS, NOV_1 + 16 * HOUR_MS]
    assert bars.rows[0].funding == EVERY_8_H
    assert bars.listing == Listing(
        Price(D("0.1")), Quantity(D("0.001")), Quantity(D("0.001")), Ratio(D("0.0005")), ()
    )
    (file,) = told.files
    assert file.name == "binanceusdm_BTCUSDT_1m_2023-11.parquet"
    assert (read_bars(file).rows, read_bars(file).listing) == (bars.rows, bars.listing)


def test_tiers_come_with_the_prices_where_the_venue_publishes_them(tmp_path: Path) -> None:
    venue = Bybit(page=200)
    told = fetched(venue, tmp_path)
    assert (told.bars, told.settlements, told.tiers) == (1440, 3, 2)
    bars = find_bars(named(DAY).replace("binanceusdm", "bybit"), tmp_path)
    assert_whole(bars, DAY)
    held = contract(bars.symbol, bars.listing, {}, RULES)
    assert [tier.floor for tier in held.tiers] == [0, 2_000_000]
    assert [tier.rate for tier in held.tiers] == [D("0.005"), D("0.01")]
    assert [tier.leverage_max for tier in held.tiers] == [100, 50]
    assert [tier.deduction for tier in held.tiers] == [0, 10_000]
    assert (held.tick_size, held.quantity_step, held.settle) == (D("0.1"), D("0.001"), "USDT")


def test_prices_without_tiers_are_held_by_those_that_are_known(tmp_path: Path) -> None:
    fetched(Venue(), tmp_path)
    bars = find_bars(named(DAY), tmp_path)
    known = instruments()
    held = contract(bars.symbol, bars.listing, known, RULES)
    assert held.tiers == known["BTC/USDT:USDT"].tiers
    with pytest.raises(NoContract, match="expected a known contract"):
        contract(bars.symbol, bars.listing, {}, RULES)


def test_what_is_there_is_not_asked_for_again(tmp_path: Path) -> None:
    fetched(Venue(), tmp_path)
    venue = Venue()
    longer = (NOV_1 - HOUR_MS, NOV_1 + DAY_MS + HOUR_MS)
    told = fetched(venue, tmp_path, longer)
    assert (told.bars, told.new) == (1560, 120)
    assert venue.spans("klines") == [
        (longer[0], NOV_1 - 1),
        (DAY[1], longer[1] - 1),
    ]
    assert_whole(find_bars(named(longer), tmp_path), longer)
    assert fetched(venue, tmp_path, DAY).new == 0
    assert len(venue.spans("klines")) == 2


def test_an_interrupted_fetch_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The connection goes for good in the second page, and comes back the next day."""
    week = (NOV_1, NOV_1 + 7 * DAY_MS)
    broken = Venue(faults={("klines", number): dropped for number in range(2, 40)})
    with pytest.raises(Unreachable):
        fetched(broken, tmp_path, week)
    venue = Venue()
    told = fetched(venue, tmp_path, week)
    assert venue.spans("klines")[0][0] == NOV_1 + 1000 * MINUTE_MS
    assert (told.bars, told.new) == (7 * 1440, 7 * 1440 - 1000)
    assert_whole(find_bars(named(week), tmp_path), week)


def test_a_fetch_that_is_killed_between_two_requests_loses_no_page(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(at_ms: int) -> None:
        if at_ms > NOV_1 + 1500 * MINUTE_MS:
            raise Killed

    week = (NOV_1, NOV_1 + 7 * DAY_MS)
    with pytest.raises(Killed):
        fetched(Venue(), tmp_path, week, progress=kill)
    venue = Venue()
    assert fetched(venue, tmp_path, week).new == 7 * 1440 - 2000
    assert_whole(find_bars(named(week), tmp_path), week)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [
        "binanceusdm_BTCUSDT_1m_2023-11.parquet"
    ]


@pytest.mark.parametrize("page", [1, 7, 499])
def test_short_answers_leave_nothing_out(tmp_path: Path, page: int) -> None:
    span = (NOV_1, NOV_1 + (1000 if page == 499 else 30) * MINUTE_MS)
    told = fetched(Venue(page=page), tmp_path, span)
    assert (told.new, told.gaps) == ((span[1] - span[0]) // MINUTE_MS, ())


def test_a_gap_at_the_venue_is_told_and_asked_for_once_more(tmp_path: Path) -> None:
    gap = (NOV_1 + 2 * HOUR_MS, NOV_1 + 2 * HOUR_MS + 5 * MINUTE_MS)
    venue = Venue(bars=lambda at_ms: not gap[0] <= at_ms < gap[1])
    told = fetched(venue, tmp_path)
    assert (told.bars, told.gaps, told.mark_gaps) == (1435, (gap,), ())
    assert venue.spans("klines").count((gap[0], gap[1] - 1)) == 2
    with pytest.raises(DataError, match=r"a gap at the venue from 2023-11-01T02:00 to .*T02:05$"):
        find_bars(named(DAY), tmp_path)
    after = (gap[1], DAY[1])
    assert_whole(find_bars(named(after), tmp_path), after)
    assert fetched(venue, tmp_path).new == 0  # it is known, and not asked for again
    assert venue.spans("klines").count((gap[0], gap[1] - 1)) == 2


def test_missing_mark_prices_are_told_apart(tmp_path: Path) -> None:
    gap = (NOV_1, NOV_1 + HOUR_MS)
    venue = Venue(marks=lambda at_ms: at_ms >= gap[1])
    told = fetched(venue, tmp_path)
    assert (told.bars, told.gaps, told.mark_gaps) == (1440, (), (gap,))
    with pytest.raises(DataError, match="expected mark prices without a gap"):
        find_bars(named(DAY), tmp_path)
    with pytest.raises(DataError, match=r"parquet:1: mark_open: expected a number .*, was ''"):
        read_bars(told.files[0])


def test_one_settlement_in_what_is_read_still_says_how_often(tmp_path: Path) -> None:
    fetched(Venue(), tmp_path)
    short = (NOV_1 + 6 * HOUR_MS, NOV_1 + 9 * HOUR_MS)
    bars = find_bars(named(short), tmp_path)
    assert_whole(bars, short)
    settled = [bar.funding for bar in bars.rows if isinstance(bar.funding, FundingSettled)]
    assert settled == [EVERY_8_H]


def test_a_bar_that_is_not_closed_is_not_fetched(tmp_path: Path) -> None:
    begins_ms = moment_ms("2023-11-14T20:00")
    venue = Venue(interval_ms=HOUR_MS)
    told = fetched(venue, tmp_path, (begins_ms, begins_ms + DAY_MS), "1h")
    assert told.span == (begins_ms, moment_ms("2023-11-14T22:00"))  # it is 22:13
    assert told.bars == 2
    with pytest.raises(HistoryRefused, match="expected a time before 2023-11-14T22:00"):
        fetched(venue, tmp_path, (NOW_MS // HOUR_MS * HOUR_MS, NOW_MS + DAY_MS), "1h")


def test_months_and_years_are_files_of_their_own(tmp_path: Path) -> None:
    span = (moment_ms("2022-12-30"), moment_ms("2023-02-02"))
    told = fetched(Venue(interval_ms=HOUR_MS), tmp_path, span, "1h")
    assert [file.name[-15:-8] for file in told.files] == ["2022-12", "2023-01", "2023-02"]
    assert_whole(find_bars(named(span, "1h"), tmp_path), span, HOUR_MS)


def test_patience_is_kept_within_a_fetch(tmp_path: Path) -> None:
    late = {("klines", 2): status(429, **{"Retry-After": "3"}), ("fundingRate", 1): dropped}
    assert fetched(Venue(faults=late), tmp_path).bars == 1440


def test_settlements_between_bars_are_refused(tmp_path: Path) -> None:
    venue = Venue(settled_every_ms=7 * MINUTE_MS, interval_ms=HOUR_MS)
    with pytest.raises(DataError, match="settlements of funding when a bar of 1h opens"):
        fetched(venue, tmp_path, DAY, "1h")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 1000])
def test_a_damaged_cache_is_one_line(tmp_path: Path, content: bytes) -> None:
    (file,) = fetched(Venue(), tmp_path).files
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"2023-11.parquet: expected a month of the cache") as e:
        fetched(Venue(), tmp_path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("binanceusdm:BTCUSDT:2m:2023-11-01..2023-11-02", "expected an interval of 1m, 3m"),
        ("binanceusdm:BTCUSDT:1m:2023-11-01..2023-11-01", "expected a time after the first"),
        ("binanceusdm:BTCUSDT:1m:yesterday..2023-11-01", "Invalid isoformat string"),
        ("binanceusdm:BTCUSDT:1h:2023-11-01T00:30..2023-11-02", "a bar of 1h opens"),
        ("binanceusdm:BTCUSDT:1m:2023-10-31..2023-11-02", "was not fetched from 2023-10-31 to"),
        ("binanceusdm:XYZUSDT:1m:2023-11-01..2023-11-02", "was not fetched from 2023-11-01 to"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, text: str, reason: str) -> None:
    fetched(Venue(), tmp_path)
    with pytest.raises(DataError, match=reason) as e:
        find_bars(text, tmp_path)
    assert "\n" not in str(e.value)


def test_the_refusal_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(DataError) as e:
        find_bars("binanceusdm:BTCUSDT:1m:2023-11-01T06:00..2023-11-02", tmp_path)
    assert str(e.value).endswith(
        "liqguard data fetch --venue binanceusdm --symbol BTCUSDT --interval 1m "
        "--from 2023-11-01T06:00 --until 2023-11-02"
    )


def test_scenarios_and_files_are_found_as_ever(tmp_path: Path) -> None:
    assert find_bars("quiet-week-btc", tmp_path) == read_bars("quiet-week-btc")
    with pytest.raises(DataError, match="expected a file or a scenario"):
        find_bars("quiet-week", tmp_path)


# -- spans -----------------------------------------------------------------------------------

TIMES = st.integers(0, 60)
SPANS = st.tuples(TIMES, TIMES).map(sorted).map(lambda pair: (pair[0], pair[1] + 1))


def times(*spans: Span) -> set[int]:
    return {at for span in spans for at in range(*span)}


@given(st.lists(SPANS, max_size=6), SPANS)
def test_without_and_united_are_what_sets_say(spans: list[Span], span: Span) -> None:
    assert times(*without(spans, span)) == times(span) - times(*spans)
    assert times(*united(spans)) == times(*spans)
    assert list(united(spans)) == sorted(united(spans))
    assert all(before[1] < after[0] for before, after in pairwise(united(spans)))


@given(st.integers(1_300_000_000_000, 3_900_000_000_000), st.integers(1, 10**10))
def test_months_are_the_span_in_pieces(begins_ms: int, length_ms: int) -> None:
    pieces = list(months((begins_ms, begins_ms + length_ms)))
    assert pieces[0][1][0] == begins_ms
    assert pieces[-1][1][1] == begins_ms + length_ms
    for (name, piece), (after_name, after) in pairwise(pieces):
        assert piece[1] == after[0] == moment_ms(f"{after_name}-01")
        assert name < after_name


@given(st.sets(st.integers(0, 29)), st.integers(1, 8), st.data())
async def test_an_incomplete_venue_gives_all_that_it_has(
    there: set[int], page: int, data: st.DataObject
) -> None:
    """Whatever of its bars an answer holds, if it holds any: only what is nowhere stays out."""

    async def ask(span: Span) -> tuple[Kline, ...]:
        has = [at for at in range(*span) if at in there]
        some = data.draw(st.lists(st.sampled_from(has), min_size=1)) if has else []
        return tuple(Kline(at, D(1), D(1), D(1), D(1), D(1)) for at in some[:page])

    assert set(await complete(ask, (0, 30), 1)) == there
    assert times(*gaps(there, (0, 30), 1)) == set(range(30)) - there


def test_a_time_without_a_zone_is_utc() -> None:
    assert moment_ms("2023-11-01") == moment_ms("2023-11-01T00:00Z") == NOV_1
    assert moment_ms("2023-11-01T02:00+02:00") == NOV_1
    assert wanted(f"x:Y:1h:{iso(NOV_1)}..{iso(NOV_1 + HOUR_MS)}").span == (NOV_1, NOV_1 + HOUR_MS)
