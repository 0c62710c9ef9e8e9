"""
What is said of many ends: how many were liquidated, the means, the worst, and the frontier.

The frontier is that of plain stops: what they leave on average where they leave as much in the
worst twentieth of the cases.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from statistics import mean, median

WORST = 20
"""One in so many cases is among the worst."""

LEAST = 1.0
"""USDT: what nothing counts as in a geometric mean."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one case came to: what was left, in USDT, of which event."""

    event: str
    equity: float
    liquidated: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """Many outcomes; money in USDT. `events` is the least and the greatest mean of an event."""

    cases: int
    liquidated: int
    mean: float
    median: float
    geometric: float
    worst: float
    events: tuple[float, float]


def summary_of(outcomes: Sequence[Outcome]) -> Summary:
    """The figures of a row."""
    left = sorted(each.equity for each in outcomes)
    by_event: dict[str, list[float]] = {}
    for each in outcomes:
        by_event.setdefault(each.event, []).append(each.equity)
    means = [mean(each) for each in by_event.values()]
    return Summary(
        cases=len(left),
        liquidated=sum(each.liquidated for each in outcomes),
        mean=mean(left),
        median=median(left),
        geometric=exp(mean(log(max(each, LEAST)) for each in left)),
        worst=mean(left[: max(len(left) // WORST, 1)]),
        events=(min(means), max(means)),
    )


@dataclass(frozen=True, slots=True)
class Beside:
    """
    How far the mean of a row is above plain stops that leave as much in the worst cases.

    `stops`: above the line between the two stops that leave a little less and a little more;
    `mixtures`: above the best line between any two. Infinite where no stop leaves so much.
    """

    stops: float
    mixtures: float


def beside(row: Summary, stops: Iterable[Summary]) -> Beside:
    """The row beside plain stops. Where all of them leave more in the worst cases, that counts."""
    points = sorted((each.worst, each.mean) for each in stops)
    neighbours = pairwise([points[0], *points])
    line = (_between(low, high, row.worst) for low, high in neighbours if row.worst <= high[0])
    best = max(_between(low, high, row.worst) for low in points for high in points if low <= high)
    return Beside(row.mean - next(line, float("-inf")), row.mean - best)


def _between(low: tuple[float, float], high: tuple[float, float], worst: float) -> float:
    """The mean on the line between two stops at `worst`; the better one's below both."""
    if worst > high[0]:
        return float("-inf")
    if worst <= low[0]:
        return max(low[1], high[1])
    return low[1] + (high[1] - low[1]) * (worst - low[0]) / (high[0] - low[0])


def without_each(
    outcomes: Mapping[str, Sequence[Outcome]],
) -> Iterable[tuple[str, dict[str, tuple[Outcome, ...]]]]:
    """The same outcomes with one event left out, for every event; a mirror image goes with it."""
    events = {each.event.split()[0] for row in outcomes.values() for each in row}
    for event in sorted(events):
        yield (
            event,
            {
                name: tuple(each for each in row if each.event.split()[0] != event)
                for name, row in outcomes.items()
            },
        )
