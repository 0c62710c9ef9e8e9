"""The figures of a row, and where it is beside the frontier of plain stops."""

from math import isinf

import pytest

from bench.benefit.measures import Outcome, Summary, beside, summary_of, without_each


def outcomes(*left: float, event: str = "a") -> list[Outcome]:
    return [Outcome(event, each, each == 0) for each in left]


def row(worst: float, mean: float) -> Summary:
    return Summary(1, 0, mean, 0, 0, worst, (0, 0))


def test_the_figures_of_a_row() -> None:
    found = summary_of([*outcomes(*range(1, 21)), *outcomes(*[0.0] * 20, event="b")])
    assert (found.cases, found.liquidated) == (40, 20)
    assert (found.mean, found.median) == (210 / 40, 0.5)
    assert found.worst == 0
    assert found.events == (0, 10.5)


def test_the_geometric_mean_counts_nothing_as_one() -> None:
    assert summary_of(outcomes(0, 100)).geometric == pytest.approx(10)


def test_the_worst_are_one_in_twenty() -> None:
    assert summary_of(outcomes(*range(100, 140))).worst == 100.5


STOPS = [row(1000, 2500), row(1200, 2480), row(1400, 2400), row(1300, 2300)]


@pytest.mark.parametrize(
    ("worst", "line", "mixture"),
    [
        (1000, 2500, 2500),
        (1100, 2490, 2490),
        (1250, 2390, 2460),  # half way to a stop that is worse than a mixture of its neighbours
        (1300, 2300, 2440),
        (1400, 2400, 2400),
        (0, 2500, 2500),  # no stop is so bad: the least bad one counts
    ],
)
def test_a_row_is_held_to_stops_that_leave_as_much_in_the_worst_cases(
    worst: float, line: float, mixture: float
) -> None:
    found = beside(row(worst, 2450), STOPS)
    assert found.stops == pytest.approx(2450 - line)
    assert found.mixtures == pytest.approx(2450 - mixture)


def test_beyond_the_frontier_there_is_nothing_to_compare_with() -> None:
    found = beside(row(1401, 2450), STOPS)
    assert isinf(found.stops)
    assert isinf(found.mixtures)


def test_one_event_is_left_out_with_its_mirror_image() -> None:
    given = {"x": [*outcomes(1), *outcomes(2, event="a mirrored"), *outcomes(3, event="b")]}
    left = dict(without_each(given))
    assert [each.equity for each in left["a"]["x"]] == [3]
    assert [each.equity for each in left["b"]["x"]] == [1, 2]
