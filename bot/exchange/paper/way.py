"""Straight ways of all prices from one moment to the next, and where on them something lies."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil

from bot.core.units import Price
from bot.exchange.paper.books import Quote
from bot.exchange.paper.orders import TriggerBy

START, END = Fraction(0), Fraction(1)


@dataclass(frozen=True, slots=True)
class Way:
    """
    From `starts` to `ends` every price travels in a straight line, all over the same time.

    Both name every symbol that has a price; one that stands still has the same one in both. A
    place on the way is a fraction of it: 0 is the start, 1 the end.
    """

    start_ms: int
    end_ms: int
    starts: Mapping[str, Quote]
    ends: Mapping[str, Quote]

    def where(self, symbol: str, by: TriggerBy, level: Decimal) -> Fraction:
        """Where a price of a symbol that moves is at `level`."""
        start = Fraction(price_of(self.starts[symbol], by))
        return (Fraction(level) - start) / (Fraction(price_of(self.ends[symbol], by)) - start)

    def mark(self, symbol: str, fraction: Fraction) -> Price:
        """The mark price of a symbol at a place."""
        return _between(self.starts[symbol].mark, self.ends[symbol].mark, fraction)

    def at_time(self, at_ms: int) -> Fraction:
        """Where a way that takes its time is at `at_ms`."""
        return Fraction(at_ms - self.start_ms, self.end_ms - self.start_ms)

    def when_ms(self, fraction: Fraction) -> int:
        """The time at a place. A broken millisecond is rounded up."""
        return self.start_ms + ceil((self.end_ms - self.start_ms) * fraction)

    def quotes(self, fraction: Fraction) -> dict[str, Quote]:
        """All prices at a place."""
        at_ms = self.when_ms(fraction)
        return {
            symbol: Quote(
                at_ms,
                _between(start.mark, self.ends[symbol].mark, fraction),
                _between(start.last, self.ends[symbol].last, fraction),
                _between(start.index, self.ends[symbol].index, fraction),
            )
            for symbol, start in self.starts.items()
        }


def price_of(quote: Quote, by: TriggerBy) -> Price:
    """The price that triggers."""
    if by is TriggerBy.MARK:  # nearly always: prices move more often than anything else
        return quote.mark
    return quote.last if by is TriggerBy.LAST else quote.index


def _between(start: Price, end: Price, fraction: Fraction) -> Price:
    # Multiplied before divided: a price that has an exact decimal value gets it.
    return Price(start + (end - start) * fraction.numerator / fraction.denominator)
