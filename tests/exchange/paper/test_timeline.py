"""A timeline knows the prices between the points of a path."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from bot.core.units import Price
from bot.exchange.paper.books import Quote
from bot.exchange.paper.prices import PricePoint, Prices
from bot.exchange.paper.timeline import PathEnded, Timeline
from tests.exchange.paper.build import BTC, ETH, D, contract

CONTRACTS = {BTC: contract(BTC), ETH: contract(ETH)}


def point(at_ms: int, mark: int, symbol: str = BTC, last: int | None = None) -> PricePoint:
    return PricePoint(at_ms, symbol, Price(D(mark)), Price(D(mark if last is None else last)))


def marks(timeline: Timeline, at_ms: int) -> dict[str, Decimal]:
    return {symbol: at.mark for symbol, at in timeline.prices(at_ms)}


def test_between_two_points_prices_lie_on_the_line() -> None:
    path = iter([point(0, 100, last=100), point(1_000, 200, last=300)])
    timeline = Timeline(path, CONTRACTS, {}, {})
    assert dict(timeline.prices(250)) == {BTC: Prices(Price(D(125)), Price(D(150)))}
    assert marks(timeline, 0) == {BTC: 100}
    assert marks(timeline, 1_000) == {BTC: 200}
    assert marks(timeline, 9_000) == {BTC: 200}


def test_a_price_in_between_is_rounded_to_a_hundredth_of_a_tick() -> None:
    timeline = Timeline(iter([point(0, 100), point(3, 101)]), CONTRACTS, {}, {})
    assert marks(timeline, 1) == {BTC: D("100.3333")}


def test_a_symbol_has_no_price_before_its_first_point() -> None:
    path = iter([point(100, 10), point(200, 20), point(200, 5, ETH), point(300, 30)])
    timeline = Timeline(path, CONTRACTS, {}, {})
    assert marks(timeline, 99) == {}
    assert marks(timeline, 150) == {BTC: 15}
    assert marks(timeline, 250) == {BTC: 25, ETH: 5}


def test_each_point_is_passed_once_and_in_order() -> None:
    points = [point(0, 1), point(0, 2, ETH), point(10, 3), point(10, 4, ETH), point(20, 5)]
    timeline = Timeline(iter(points), CONTRACTS, {}, {})
    assert list(timeline.passed(10)) == points[:4]
    assert timeline.upcoming() == points[4]
    assert list(timeline.passed(10)) == []
    assert list(timeline.passed(99)) == points[4:]
    assert timeline.upcoming() == PathEnded()


def test_two_points_at_one_moment_are_a_jump() -> None:
    path = iter([point(0, 100), point(100, 200), point(100, 50), point(200, 60)])
    timeline = Timeline(path, CONTRACTS, {}, {})
    assert marks(timeline, 99) == {BTC: 199}
    assert marks(timeline, 100) == {BTC: 50}
    assert marks(timeline, 150) == {BTC: 55}


def test_it_reads_no_further_than_it_must() -> None:
    read: list[int] = []

    def path() -> Iterator[PricePoint]:
        for at_ms in range(0, 1_000, 10):
            read.append(at_ms)
            yield point(at_ms, 1)

    timeline = Timeline(path(), CONTRACTS, {}, {})
    list(timeline.passed(100))
    assert read[-1] == 110


def test_what_has_begun_goes_on_from_where_it_was() -> None:
    """As after a restart: the path starts over, its past is passed over."""
    begun = {BTC: Quote(150, Price(D(300)), Price(D(300)), Price(D(300)))}
    timeline = Timeline(iter([point(0, 1), point(150, 2), point(250, 400)]), CONTRACTS, begun, {})
    assert marks(timeline, 200) == {BTC: 350}
    assert list(timeline.passed(200)) == []
    assert timeline.upcoming() == point(250, 400)


def test_the_past_can_be_forgotten() -> None:
    timeline = Timeline(iter([point(at, at + 1) for at in range(0, 60, 10)]), CONTRACTS, {}, {})
    list(timeline.passed(35))
    timeline.forget(25)
    assert marks(timeline, 25) == {BTC: 26}
    assert marks(timeline, 19) == {}


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([point(10, 1), point(9, 1)], "path: expected 10 or later, was 9"),
        ([point(10, 1, "XRP")], "path at 10: expected one of BTCUSDT, ETHUSDT, was XRP"),
    ],
)
def test_a_path_that_makes_no_sense_is_an_error(points: list[PricePoint], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(Timeline(iter(points), CONTRACTS, {}, {}).passed(99))
