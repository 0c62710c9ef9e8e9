"""Where the prices of a wire exchange come from: recorded data, or a hand at the control port."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

from bot.core.units import Ratio
from bot.exchange.paper.course import Course
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import FundingTerm, PathItem, PricePoint, Prices
from bot.exchange.paper.timeline import PathEnded

FUNDING_INTERVAL_MS = 8 * 3_600_000


class Recorded:
    """Prices follow a path whose times are those of the exchange's clock."""

    def __init__(self, path: Iterator[PathItem], machine: PaperMachine) -> None:
        self._course = Course(path, machine)

    def steps(self, now_ms: int) -> Iterator[None]:
        """Live through the path until now, stopping after each of its items."""
        while not isinstance(item := self._course.upcoming(), PathEnded) and item.at_ms <= now_ms:
            self._course.advance(item.at_ms)
            yield
        self._course.advance(now_ms)
        self._course.forget(now_ms)
        yield


class ByHand:
    """Prices stand until they are moved; every eight hours funding of `rate` is settled."""

    def __init__(self, machine: PaperMachine, rate: Ratio) -> None:
        self._machine = machine
        self._rate = rate

    def steps(self, now_ms: int) -> Iterator[None]:
        """Let time pass."""
        self._machine.move(now_ms, {})
        yield
        terms = self._machine.terms
        for symbol in self._machine.quotes:
            if symbol not in terms or terms[symbol].next_at_ms <= now_ms:
                next_ms = now_ms - now_ms % FUNDING_INTERVAL_MS + FUNDING_INTERVAL_MS
                self._machine.announce(
                    FundingTerm(now_ms, symbol, self._rate, next_ms, FUNDING_INTERVAL_MS)
                )
        yield

    def move(self, symbol: str, prices: Prices) -> None:
        """Let the prices of a symbol go there, in a straight line and at once."""
        self._machine.move(self._machine.at_ms, {symbol: prices})


Source: TypeAlias = Recorded | ByHand


def retimed(
    path: Iterator[PathItem], begins_ms: int, at_ms: int, speed: float
) -> Iterator[PathItem]:
    """
    `path`, which begins at `begins_ms`, as if it began at `at_ms` and went `speed` times faster.

    Times stay in their order; funding intervals shrink as everything else does.
    """

    def moment(then_ms: int) -> int:
        return at_ms + round((then_ms - begins_ms) / speed)

    for item in path:
        match item:
            case PricePoint():
                yield replace(item, at_ms=moment(item.at_ms))
            case FundingTerm():
                announced_ms = moment(item.at_ms)
                yield replace(
                    item,
                    at_ms=announced_ms,
                    next_at_ms=max(announced_ms + 1, moment(item.next_at_ms)),
                    interval_ms=max(1, round(item.interval_ms / speed)),
                )
