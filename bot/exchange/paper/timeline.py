"""A path read ahead: its items in order, its prices at any moment, also between its points."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TypeAlias, assert_never

from bot.core.model import Instrument
from bot.core.units import Price
from bot.exchange.paper.books import Quote
from bot.exchange.paper.prices import AS_MARK, AsMark, FundingTerm, PathItem, PricePoint, Prices

_GRID = Decimal(100)
"""Prices between two points are rounded (half to even) to this part of a tick."""


@dataclass(frozen=True, slots=True)
class PathEnded:
    """The path has no more items; the prices stay where they are."""


Upcoming: TypeAlias = PathItem | PathEnded


class Timeline:
    """
    Reads a path ahead, as far as the next point of every symbol that it has met.

    So a symbol whose points end long before the path does makes it read the whole path.
    """

    def __init__(
        self,
        path: Iterator[PathItem],
        instruments: Mapping[str, Instrument],
        begun: Mapping[str, Quote],
        announced: Mapping[str, FundingTerm],
    ) -> None:
        """
        Begin at the prices `begun` and the terms `announced`, of each symbol.

        What the path has at or before those is passed over.
        """
        self._path = path
        self._grids = {each.symbol: each.tick_size / _GRID for each in instruments.values()}
        self._begun_ms = {symbol: quote.at_ms for symbol, quote in begun.items()}
        self._lines: dict[str, deque[PricePoint]] = {
            symbol: deque([PricePoint(quote.at_ms, symbol, quote.mark, quote.last, quote.index)])
            for symbol, quote in begun.items()
        }
        self._announced_ms = {symbol: term.at_ms for symbol, term in announced.items()}
        self._terms = {symbol: deque([term]) for symbol, term in announced.items()}
        self._known_to_ms = min(self._begun_ms.values(), default=-1)
        self._ahead: deque[PathItem] = deque()
        self._read_to_ms = 0

    def upcoming(self) -> Upcoming:
        """The first item that is not passed yet."""
        if not self._ahead:
            self._read()
        return self._ahead[0] if self._ahead else PathEnded()

    def passed(self, at_ms: int) -> list[PathItem]:
        """The items up to `at_ms` in order, each only once."""
        self._read_past(at_ms)
        items = []
        while self._ahead and self._ahead[0].at_ms <= at_ms:
            items.append(self._ahead.popleft())
        return items

    def prices(self, at_ms: int) -> Iterator[tuple[str, Prices]]:
        """Where the line of each symbol is at `at_ms`, for those that have begun by then."""
        self._read_past(at_ms)
        for symbol, line in self._lines.items():
            if line[0].at_ms <= at_ms:
                yield symbol, _on_line(line, at_ms, self._grids[symbol])

    def terms(self, at_ms: int) -> Iterator[FundingTerm]:
        """What was announced of each symbol's next settlement, as of `at_ms`, if it is ahead."""
        self._read_past(at_ms)
        for terms in self._terms.values():
            for term in reversed(terms):
                if term.at_ms <= at_ms:
                    if term.next_at_ms > at_ms:
                        yield term
                    break

    def forget(self, before_ms: int) -> None:
        """Drop what only moments before `before_ms` need."""
        for line in self._lines.values():
            while len(line) > 1 and line[1].at_ms <= before_ms:
                line.popleft()
        for terms in self._terms.values():
            while len(terms) > 1 and terms[1].at_ms <= before_ms:
                terms.popleft()

    def _read_past(self, at_ms: int) -> None:
        while self._known_to_ms <= at_ms and self._read():
            pass

    def _read(self) -> bool:
        for item in self._path:
            if item.symbol not in self._grids:
                raise ValueError(
                    f"path at {item.at_ms}: expected one of {', '.join(self._grids)}, "
                    f"was {item.symbol}"
                )
            if item.at_ms < self._read_to_ms:
                raise ValueError(f"path: expected {self._read_to_ms} or later, was {item.at_ms}")
            self._read_to_ms = item.at_ms
            if self._is_new(item):
                self._ahead.append(item)
                return True
        return False

    def _is_new(self, item: PathItem) -> bool:
        """Remember the item, unless the exchange has lived through it before."""
        match item:
            case PricePoint():
                if item.at_ms <= self._begun_ms.get(item.symbol, -1):
                    return False
                self._lines.setdefault(item.symbol, deque()).append(item)
                self._known_to_ms = min(line[-1].at_ms for line in self._lines.values())
            case FundingTerm():
                if item.at_ms <= self._announced_ms.get(item.symbol, -1):
                    return False
                self._terms.setdefault(item.symbol, deque()).append(item)
            case _:
                assert_never(item)
        return True


def _on_line(line: deque[PricePoint], at_ms: int, grid: Decimal) -> Prices:
    for low, high in pairwise(line):
        if low.at_ms < at_ms < high.at_ms:
            passed_ms, length_ms = at_ms - low.at_ms, high.at_ms - low.at_ms
            mark = low.mark + (high.mark - low.mark) * passed_ms / length_ms
            last = low.last + (high.last - low.last) * passed_ms / length_ms
            if isinstance(low.index, AsMark) and isinstance(high.index, AsMark):
                return Prices(_to_grid(mark, grid), _to_grid(last, grid), AS_MARK)
            start, end = _index(low), _index(high)
            index = start + (end - start) * passed_ms / length_ms
            return Prices(_to_grid(mark, grid), _to_grid(last, grid), _to_grid(index, grid))
    at = next(point for point in reversed(line) if point.at_ms <= at_ms)
    return Prices(at.mark, at.last, at.index)


def _index(point: PricePoint) -> Price:
    return point.mark if isinstance(point.index, AsMark) else point.index


def _to_grid(price: Decimal, grid: Decimal) -> Price:
    return Price((price / grid).to_integral_value() * grid)
