"""A course moves all prices of a path together, from each moment that has an item to the next."""

from itertools import permutations

from bot.core.actions import PlaceStop
from bot.core.model import Side
from bot.core.units import Price, Quantity, Ratio
from bot.exchange.paper.course import Course
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import FundingTerm, PathItem, PricePoint
from bot.exchange.paper.timeline import PathEnded
from tests.exchange.paper.build import ALICE, BTC, ETH, T0, D, contract, enter, machine_with


def point(after_ms: int, mark: int, symbol: str = BTC) -> PricePoint:
    return PricePoint(T0 + after_ms, symbol, Price(D(mark)), Price(D(mark)))


def two_longs() -> PaperMachine:
    """Both at 50,000 with a stop at 49,000."""
    machine = machine_with(contract(BTC), contract(ETH), deposit="20000")
    for symbol in (BTC, ETH):
        enter(machine, leverage="5", symbol=symbol)
        stop = PlaceStop(symbol, Side.LONG, Quantity(D(1)), Price(D(49_000)))
        machine.handle(ALICE, stop, symbol, T0)
    return machine


def test_a_symbol_without_a_point_at_a_moment_is_where_its_line_is() -> None:
    """ETH falls 2,000 in 8 s; its stop is met after 4 s, between the points of BTC."""
    machine = two_longs()
    path: list[PathItem] = [point(each, 50_000) for each in (1_000, 3_000, 5_000)]
    course = Course(iter([*path, point(8_000, 48_000, ETH), point(8_000, 50_000)]), machine)
    assert course.upcoming() == path[0]
    assert course.advance(T0 + 3_500) == path[:2]
    assert machine.quotes[ETH].mark == 49_125
    assert course.advance(T0 + 8_000)[0] == path[2]
    assert [(each.symbol, each.at_ms) for each in machine.realised(ALICE)] == [(ETH, T0 + 4_000)]
    assert course.upcoming() == PathEnded()


def test_two_points_at_one_moment_are_an_arrival_and_a_jump() -> None:
    """The line goes to 49,500: the stop is met in the jump from there, not on a line to 48,000."""
    machine = two_longs()
    Course(iter([point(1_000, 49_500), point(1_000, 48_000)]), machine).advance(T0 + 1_000)
    assert [each.at_ms for each in machine.realised(ALICE)] == [T0 + 1_000]
    assert machine.quotes[BTC].mark == 48_000


def test_symbols_jump_together_in_whichever_order_a_moment_is_written() -> None:
    moment = [
        point(1_000, 49_500),
        point(1_000, 49_200, ETH),
        point(1_000, 44_000),
        point(1_000, 43_000, ETH),
    ]
    saved = set()
    for path in permutations(moment):
        symbols: dict[str, list[PricePoint]] = {BTC: [], ETH: []}
        for each in path:
            symbols[each.symbol].append(each)
        if all(rows == [m for m in moment if m.symbol == s] for s, rows in symbols.items()):
            machine = two_longs()
            Course(iter(path), machine).advance(T0 + 2_000)
            saved.add(machine.to_json())
    assert len(saved) == 1


def test_a_term_is_announced_at_its_moment_and_not_again_after_a_restart() -> None:
    machine = two_longs()
    term = FundingTerm(T0, BTC, Ratio(D("0.0001")), T0 + 500, 500)
    later = FundingTerm(T0 + 1_000, BTC, Ratio(D("0.0002")), T0 + 5_000, 4_000)
    path: list[PathItem] = [term, point(900, 50_000), later, point(2_000, 50_000)]
    course = Course(iter(path), machine)
    assert course.advance(T0 + 999) == path[:2]
    assert machine.terms == {BTC: term}
    again = Course(iter(path), PaperMachine.from_json(machine.to_json()))
    assert again.upcoming() == later
    assert again.advance(T0 + 3_000) == path[2:]
    assert again.machine.terms == {BTC: later}
    assert list(again.terms(T0 + 999)) == []
    assert list(again.terms(T0 + 1_000)) == [later]
