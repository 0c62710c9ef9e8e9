"""A machine driven along a path: what a venue on a network and a bare rehearsal have in common."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import assert_never

from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import FundingTerm, PathItem, PricePoint, Prices
from bot.exchange.paper.timeline import Timeline, Upcoming


class Course:
    """Lets a machine live through a path, from the prices that the machine has reached."""

    def __init__(self, path: Iterator[PathItem], machine: PaperMachine) -> None:
        """Begin where `machine` is; what it has lived through of `path` is passed over."""
        self.machine = machine
        self._symbols = len(machine.instruments)
        self._timeline = Timeline(path, machine.instruments, machine.quotes, machine.terms)

    def upcoming(self) -> Upcoming:
        """The first item of the path that is not passed yet."""
        return self._timeline.upcoming()

    def advance(self, at_ms: int) -> list[PathItem]:
        """
        Live through the path until `at_ms`, which never goes back; the items passed, in order.

        All prices move together from each moment that has an item to the next: a symbol without
        a point at that moment is where its line is.
        """
        passed = self._timeline.passed(at_ms)
        for moment_ms, items in groupby(passed, key=attrgetter("at_ms")):
            self._live_through(moment_ms, items)
        if self.machine.at_ms < at_ms:
            self.machine.move(at_ms, dict(self._timeline.prices(at_ms)))
        return passed

    def prices(self, at_ms: int) -> Iterator[tuple[str, Prices]]:
        """Where each symbol that had begun was at `at_ms`, as far back as not forgotten."""
        return self._timeline.prices(at_ms)

    def terms(self, at_ms: int) -> Iterator[FundingTerm]:
        """The settlements that were announced and still ahead at `at_ms`."""
        return self._timeline.terms(at_ms)

    def forget(self, before_ms: int) -> None:
        """Drop what only moments before `before_ms` need."""
        self._timeline.forget(before_ms)

    def _live_through(self, at_ms: int, items: Iterable[PathItem]) -> None:
        terms: list[FundingTerm] = []
        arrival: dict[str, Prices] = {}
        later: list[PricePoint] = []
        for item in items:
            match item:
                case PricePoint() if item.symbol not in arrival:
                    arrival[item.symbol] = Prices(item.mark, item.last, item.index)
                case PricePoint():
                    later.append(item)
                case FundingTerm():
                    terms.append(item)
                case _:
                    assert_never(item)
        if len(arrival) < self._symbols:
            arrival = dict(self._timeline.prices(at_ms)) | arrival
        self.machine.move(at_ms, arrival)
        for jump in _jumps(later):
            self.machine.move(at_ms, jump)
        for term in terms:
            self.machine.announce(term)


def _jumps(points: Sequence[PricePoint]) -> Iterator[dict[str, Prices]]:
    """Where the symbols with more than one point at a moment go, step by step and together."""
    while points:
        first = {point.symbol: point for point in reversed(points)}
        yield {name: Prices(at.mark, at.last, at.index) for name, at in first.items()}
        points = [point for point in points if first[point.symbol] is not point]
