"""Where on a way an account's cross book is spent: what moves its equity, followed leg by leg."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from bot.core.model import ContractKind
from bot.core.units import ZERO
from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import AccountBook, Books, Holding
from bot.exchange.paper.joint import (
    Leg,
    backing_coins,
    coins_worth,
    cross,
    displayed_price,
    gain_at,
    legs_of,
    price_alone,
    required_at,
    terms_at,
)
from bot.exchange.paper.way import END, START, Way

_FINEST = Fraction(1, 2**40)
"""Where inverse contracts bend the way, a place on it is told to this part of it."""


class Track:
    """A leg along whose way its line is remembered, for as long as it keeps its tier."""

    __slots__ = ("_constant", "_high", "_low", "_weight", "is_linear", "leg", "symbol")

    def __init__(self, leg: Leg) -> None:
        """Know nothing yet."""
        self.leg = leg
        self.symbol = leg.held.symbol
        self.is_linear = leg.instrument.kind is ContractKind.LINEAR
        self._low, self._high = Decimal("Infinity"), ZERO
        self._weight, self._constant = ZERO, ZERO

    def line(self, mark: Decimal) -> tuple[Decimal, Decimal]:
        """A linear leg's profit minus requirement as weight x mark + constant, around `mark`."""
        if not self._low <= mark <= self._high:
            self._find(mark)
        return self._weight, self._constant

    def spare(self, mark: Decimal) -> Decimal:
        """Its profit minus its requirement."""
        if self.is_linear:
            weight, constant = self.line(mark)
            return weight * mark + constant
        return gain_at(self.leg, mark) - required_at(self.leg, mark)

    def is_straight(self, start: Decimal, end: Decimal) -> bool:
        """Whether the leg keeps one line between these mark prices."""
        self.line(start)
        return self._low <= end <= self._high

    def borders(self, start: Decimal, end: Decimal) -> Iterator[Fraction]:
        """Where between these mark prices the notional of a linear leg passes a tier's border."""
        charged, instrument = self.leg.charged, self.leg.instrument
        low, high = sorted((charged * start, charged * end))
        if arithmetic.is_tier_fixed(instrument):
            return
        for tier in instrument.tiers[:-1]:
            if low < tier.cap < high:
                border = Fraction(tier.cap) / Fraction(charged)
                yield (border - Fraction(start)) / (Fraction(end) - Fraction(start))

    def least(self, start: Decimal, end: Decimal) -> Decimal:
        """
        No more than its profit minus its requirement is anywhere between these mark prices.

        Both go one way with the mark, so each is between what it is at the two.
        """
        gains = (gain_at(self.leg, start), gain_at(self.leg, end))
        return min(gains) - max(required_at(self.leg, start), required_at(self.leg, end))

    def _find(self, mark: Decimal) -> None:
        leg, held = self.leg, self.leg.held
        sign, quantity, charged = held.side.sign, held.quantity, leg.charged
        self._weight, self._constant = sign * quantity, -sign * quantity * held.entry_price
        self._low, self._high = ZERO, Decimal("Infinity")
        if not charged:
            return
        tier = arithmetic.tier_held(leg.instrument, charged, held.entry_price, mark)
        needed = terms_at(leg, mark)
        self._weight -= charged * needed.rate
        self._constant -= needed.constant
        if not arithmetic.is_tier_fixed(leg.instrument):
            self._low, self._high = tier.floor / charged, tier.cap / charged


@dataclass(frozen=True, slots=True)
class CoinTrack:
    """A coin that is collateral: a line too, which no tier bends."""

    symbol: str
    counted: Decimal
    is_linear: bool = True

    def line(self, mark: Decimal) -> tuple[Decimal, Decimal]:
        """What it counts, as weight x mark + constant."""
        return self.counted, ZERO

    def spare(self, mark: Decimal) -> Decimal:
        """What it counts."""
        return self.counted * mark

    def is_straight(self, start: Decimal, end: Decimal) -> bool:
        """Whether it keeps one line between these mark prices."""
        return True

    def borders(self, start: Decimal, end: Decimal) -> Iterator[Fraction]:
        """No border."""
        return iter(())

    def least(self, start: Decimal, end: Decimal) -> Decimal:
        """The least that it counts between these mark prices."""
        return self.counted * min(start, end)


Tracks: TypeAlias = list[Track | CoinTrack]


def tracks_of(books: Books, book: AccountBook) -> Tracks:
    """What makes an account's cross equity move, to be asked again and again."""
    legs = legs_of(books, book.mode, cross(book).values())
    coins = sorted({books.pledges[coin].symbol for coin in backing_coins(book)})
    return [
        *(Track(leg) for leg in legs),
        *(CoinTrack(symbol, coins_worth(books, book, symbol)) for symbol in coins),
    ]


def displayed_prices(
    books: Books, book: AccountBook, tracks: Tracks
) -> Iterator[tuple[Holding, Decimal]]:
    """Where each cross position would be liquidated if no other mark moved; unrounded."""
    if not tracks:
        return
    spares = [track.spare(books.quotes[track.symbol].mark) for track in tracks]
    equity = book.wallet + sum(spares)
    symbols = [track.symbol for track in tracks]
    for track, spare in zip(tracks, spares, strict=True):
        if isinstance(track, CoinTrack):
            continue
        held = track.leg.held
        if symbols.count(track.symbol) == 1:
            yield held, price_alone(track.leg, equity - spare)
        else:
            together = cross(book).values()
            yield held, displayed_price(books, book, together, book.wallet, held)


def spent_at(tracks: Tracks, wallet: Decimal, way: Way, here: Fraction) -> Iterator[Fraction]:
    """The first place from `here` on where the cross book is to be liquidated, if there is any."""
    if not tracks:
        return
    if not all(track.is_linear for track in tracks):
        yield from _searched(tracks, wallet, way, here, END)
    elif here != START or not _is_safe(tracks, wallet, way):
        yield from _straight(tracks, wallet, way, here)


def _is_safe(tracks: Tracks, backing: Decimal, way: Way) -> bool:
    """Whether nothing happens on a whole way without borders: nearly always, and quick to tell."""
    start = end = Decimal(backing)
    for track in tracks:
        mark_start, mark_end = way.starts[track.symbol].mark, way.ends[track.symbol].mark
        if not track.is_straight(mark_start, mark_end):
            return False
        weight, constant = track.line(mark_start)
        start += weight * mark_start + constant
        end += weight * mark_end + constant
    return start > ZERO and end > ZERO


def _straight(tracks: Tracks, backing: Decimal, way: Way, here: Fraction) -> Iterator[Fraction]:
    """
    The place where all is linear, exactly.

    What is spare is linear in the fraction of the way between the places where a position
    changes its tier.
    """
    marks = [(way.starts[each.symbol].mark, way.ends[each.symbol].mark) for each in tracks]
    moving = list(zip(tracks, marks, strict=True))
    borders = sorted(
        place for track, (start, end) in moving for place in track.borders(start, end)
    )
    low = here
    for high in (*(place for place in borders if place > here), END):
        middle = (low + high) / 2
        share = Decimal(middle.numerator) / middle.denominator
        spare_start, slope = Decimal(backing), ZERO
        for track, (start, end) in moving:
            weight, constant = track.line(start + (end - start) * share)
            spare_start += weight * start + constant
            slope += weight * (end - start)
        exact_start, exact_slope = Fraction(spare_start), Fraction(slope)
        if exact_start + exact_slope * low <= 0:
            yield low
            return
        if exact_start + exact_slope * high <= 0:
            yield -exact_start / exact_slope
            return
        low = high


def _searched(
    tracks: Tracks, backing: Decimal, way: Way, low: Fraction, high: Fraction
) -> Iterator[Fraction]:
    """The place where contracts bend the way: halves where nothing can happen are left out."""
    least = backing + sum(
        track.least(way.mark(track.symbol, low), way.mark(track.symbol, high)) for track in tracks
    )
    if least > ZERO:
        return
    if high - low <= _FINEST:
        yield low
        return
    middle = (low + high) / 2
    for place in _searched(tracks, backing, way, low, middle):
        yield place
        return
    yield from _searched(tracks, backing, way, middle, high)
