"""
What is liquidated together: an isolated position alone, or all cross positions of an account.

With W what backs them and, for each position, the direction d, the worth v and the worth at entry
V of `arithmetic`, they are liquidated as soon as

    W + sum of d (v - V)  <=  sum of requirements

All marks count as they are at that moment; the price that is displayed for one cross position
keeps the others where they are. W is an isolated position's margin, or the wallet. Of a cross
long and a short of one contract the venue's rules say what they need together. Source: the
formulas the venues publish (Binance, Hyperliquid, OKX; Gate and Kraken for the larger leg).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from bot.core.model import ContractKind, HedgeRequirement, Instrument, MarginMode, PositionMode
from bot.core.units import ZERO, Money, Quantity
from bot.exchange.paper import arithmetic
from bot.exchange.paper.arithmetic import Terms
from bot.exchange.paper.books import AccountBook, Books, Holding, Quote
from bot.exchange.paper.way import END, START, Way

_FINEST = Fraction(1, 2**40)
"""Where inverse contracts bend the way, a place on it is told to this part of it."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A position and how much of it has a requirement: less than all where a hedge counts."""

    instrument: Instrument
    held: Holding
    charged: Quantity


def cross(book: AccountBook) -> dict[str, Holding]:
    """The account's cross positions by slot, in the order of their opening."""
    return {
        slot: held for slot, held in book.holdings.items() if held.margin_mode is MarginMode.CROSS
    }


def legs_of(books: Books, mode: PositionMode, holdings: Iterable[Holding]) -> list[Leg]:
    """Positions that are liquidated together, each with what of it needs margin."""
    legs = [Leg(books.instruments[held.symbol], held, held.quantity) for held in holdings]
    match mode:
        case PositionMode.ONE_WAY:
            return legs
        case PositionMode.HEDGE:
            return [_hedged(books, leg, legs) for leg in legs]


def spare(backing: Decimal, legs: Iterable[Leg], quotes: Mapping[str, Quote]) -> Decimal:
    """Equity minus requirement at the present marks; not positive is spent."""
    return backing + sum(
        gain_at(leg, mark) - required_at(leg, mark)
        for leg in legs
        for mark in (quotes[leg.held.symbol].mark,)
    )


def equity(backing: Decimal, legs: Iterable[Leg], quotes: Mapping[str, Quote]) -> Decimal:
    """What backs the positions, with their profits and losses at the present marks."""
    return backing + sum(gain_at(leg, quotes[leg.held.symbol].mark) for leg in legs)


def gain_at(leg: Leg, mark: Decimal) -> Decimal:
    """The position's unrealised profit, not rounded."""
    held = leg.held
    return arithmetic.gain(leg.instrument, held.side, held.quantity, held.entry_price, mark)


def required_at(leg: Leg, mark: Decimal) -> Decimal:
    """What the charged part of the position needs."""
    if not leg.charged:
        return ZERO
    worth = arithmetic.value(leg.instrument, leg.charged, mark)
    needed = _terms(leg, mark)
    return worth * needed.rate + needed.constant


def displayed_price(
    books: Books, mode: PositionMode, holdings: Iterable[Holding], wallet: Decimal, shown: Holding
) -> Decimal:
    """
    Where the cross position `shown`, one of `holdings`, is liquidated if no other mark moves.

    A long and a short of one contract move together and share one price, the nearer of two.
    Not above zero or infinite where there is none.
    """
    legs = legs_of(books, mode, holdings)
    here = [leg for leg in legs if leg.held.symbol == shown.symbol]
    elsewhere = [leg for leg in legs if leg.held.symbol != shown.symbol]
    backing = spare(wallet, elsewhere, books.quotes)
    match here:
        case [leg]:
            return arithmetic.liquidation_price_of(
                leg.instrument,
                shown.side,
                shown.quantity,
                shown.entry_price,
                margin=_own_margin(leg),
                backing=backing,
            )
        case _:
            return _nearest(here, backing, books.quotes[shown.symbol].mark)


def free(books: Books, book: AccountBook) -> Money:
    """
    What the wallet would let go: less the initial margins of cross positions and their loss.

    Initial margins are notional at mark / leverage, rounded up; a profit does not count.
    """
    unrealised, bound = ZERO, ZERO
    for held in cross(book).values():
        instrument, mark = books.instruments[held.symbol], books.quotes[held.symbol].mark
        unrealised += arithmetic.profit(
            instrument, held.side, held.quantity, held.entry_price, mark
        )
        worth = arithmetic.value(instrument, held.quantity, mark)
        bound += arithmetic.money_up(worth / held.leverage)
    return Money(max(ZERO, book.wallet + min(ZERO, unrealised) - bound))


class Track:
    """A leg along whose way its line is remembered, for as long as it keeps its tier."""

    __slots__ = ("_constant", "_high", "_low", "_weight", "leg")

    def __init__(self, leg: Leg) -> None:
        """Know nothing yet."""
        self.leg = leg
        self._low, self._high = Decimal("Infinity"), ZERO
        self._weight, self._constant = ZERO, ZERO

    def line(self, mark: Decimal) -> tuple[Decimal, Decimal]:
        """A linear leg's profit minus requirement as weight x mark + constant, around `mark`."""
        if not self._low <= mark <= self._high:
            self._find(mark)
        return self._weight, self._constant

    def is_straight(self, start: Decimal, end: Decimal) -> bool:
        """Whether the leg keeps one line between these mark prices."""
        self.line(start)
        return self._low <= end <= self._high

    def _find(self, mark: Decimal) -> None:
        leg, held = self.leg, self.leg.held
        sign, quantity, charged = held.side.sign, held.quantity, leg.charged
        self._weight, self._constant = sign * quantity, -sign * quantity * held.entry_price
        self._low, self._high = ZERO, Decimal("Infinity")
        if not charged:
            return
        tier = arithmetic.tier_held(leg.instrument, charged, held.entry_price, mark)
        needed = _terms(leg, mark)
        self._weight -= charged * needed.rate
        self._constant -= needed.constant
        if not arithmetic.is_tier_fixed(leg.instrument):
            self._low, self._high = tier.floor / charged, tier.cap / charged


def tracks_of(books: Books, book: AccountBook) -> list[Track]:
    """The account's cross positions, to be asked again and again where they are spent."""
    return [Track(leg) for leg in legs_of(books, book.mode, cross(book).values())]


def spent_at(tracks: list[Track], wallet: Decimal, way: Way, here: Fraction) -> Iterator[Fraction]:
    """The first place from `here` on where the cross book is to be liquidated, if there is any."""
    if not tracks:
        return
    legs = [track.leg for track in tracks]
    if not all(leg.instrument.kind is ContractKind.LINEAR for leg in legs):
        yield from _searched(wallet, legs, way, here, END)
    elif here != START or not _is_safe(tracks, wallet, way):
        yield from _straight(tracks, wallet, way, here)


def _is_safe(tracks: list[Track], backing: Decimal, way: Way) -> bool:
    """Whether nothing happens on a whole way without borders: nearly always, and quick to tell."""
    start = end = Decimal(backing)
    for track in tracks:
        symbol = track.leg.held.symbol
        mark_start, mark_end = way.starts[symbol].mark, way.ends[symbol].mark
        if not track.is_straight(mark_start, mark_end):
            return False
        weight, constant = track.line(mark_start)
        start += weight * mark_start + constant
        end += weight * mark_end + constant
    return start > ZERO and end > ZERO


def _straight(
    tracks: list[Track], backing: Decimal, way: Way, here: Fraction
) -> Iterator[Fraction]:
    """
    The place of linear contracts, exactly.

    What is spare is linear in the fraction of the way between the places where a position
    changes its tier.
    """
    borders = sorted(
        place for track in tracks for place in _borders(track.leg, way) if place > here
    )
    low = here
    for high in (*borders, END):
        middle = (low + high) / 2
        share = Decimal(middle.numerator) / middle.denominator
        start, slope = Decimal(backing), ZERO
        for track in tracks:
            symbol = track.leg.held.symbol
            mark_start, mark_end = way.starts[symbol].mark, way.ends[symbol].mark
            weight, constant = track.line(mark_start + (mark_end - mark_start) * share)
            start += weight * mark_start + constant
            slope += weight * (mark_end - mark_start)
        exact_start, exact_slope = Fraction(start), Fraction(slope)
        if exact_start + exact_slope * low <= 0:
            yield low
            return
        if exact_start + exact_slope * high <= 0:
            yield -exact_start / exact_slope
            return
        low = high


def _searched(
    backing: Decimal, legs: list[Leg], way: Way, low: Fraction, high: Fraction
) -> Iterator[Fraction]:
    """
    The place where contracts bend the way: halves are left out where nothing can happen.

    Profit and requirement of a position both go one way with its mark, so between two places
    they are between what they are there.
    """
    least = backing
    for leg in legs:
        marks = [way.mark(leg.held.symbol, place) for place in (low, high)]
        least += min(gain_at(leg, mark) for mark in marks)
        least -= max(required_at(leg, mark) for mark in marks)
    if least > ZERO:
        return
    if high - low <= _FINEST:
        yield low
        return
    middle = (low + high) / 2
    for place in _searched(backing, legs, way, low, middle):
        yield place
        return
    yield from _searched(backing, legs, way, middle, high)


def _hedged(books: Books, leg: Leg, legs: list[Leg]) -> Leg:
    """The leg with what of it is charged beside the other one of its contract."""
    for other in legs:
        if other.held.symbol == leg.held.symbol and other is not leg:
            mine, theirs = leg.held.quantity, other.held.quantity
            larger = (mine, leg.held.side) > (theirs, other.held.side)
            match leg.instrument.rules.hedge_requirement:
                case HedgeRequirement.BOTH_LEGS:
                    return leg
                case HedgeRequirement.LARGER_LEG:
                    charged = mine if larger else ZERO
                case HedgeRequirement.NET:
                    charged = max(mine - theirs, ZERO)
            return Leg(leg.instrument, leg.held, Quantity(charged))
    return leg


def _nearest(legs: list[Leg], backing: Decimal, mark: Decimal) -> Decimal:
    """
    The nearest price at which legs of one contract are spent.

    Everything is linear in the worth of one unit, between the worths at which a leg passes a
    border of its tiers.
    """
    instrument, one = legs[0].instrument, Quantity(Decimal(1))
    unit = arithmetic.value(instrument, one, mark)
    borders = {
        tier.cap / leg.charged
        for leg in legs
        for tier in instrument.tiers[:-1]
        if leg.charged and not arithmetic.is_tier_fixed(instrument)
    }
    edges = [ZERO, *sorted(borders), Decimal("Infinity")]
    found = []
    for low, high in pairwise(edges):
        inside = low + 1 if high.is_infinite() else (low + high) / 2
        constant, weight = backing, ZERO
        for leg in legs:
            way = arithmetic.direction(instrument, leg.held.side)
            paid = arithmetic.value(instrument, leg.held.quantity, leg.held.entry_price)
            constant, weight = constant - way * paid, weight + way * leg.held.quantity
            if leg.charged:
                needed = _terms(leg, arithmetic.price_at(instrument, one, inside))
                constant, weight = constant - needed.constant, weight - leg.charged * needed.rate
        if weight and low < -constant / weight <= high:
            found.append(-constant / weight)
    if not found:
        return ZERO
    return arithmetic.price_at(instrument, one, min(found, key=lambda each: abs(each - unit)))


def _own_margin(leg: Leg) -> Decimal:
    """What its bankruptcy is reckoned from: a cross position's is its initial margin (Bybit)."""
    held = leg.held
    if held.margin_mode is MarginMode.ISOLATED:
        return held.margin
    return arithmetic.value(leg.instrument, leg.charged, held.entry_price) / held.leverage


def _terms(leg: Leg, mark: Decimal) -> Terms:
    held, instrument = leg.held, leg.instrument
    tier = arithmetic.tier_held(instrument, leg.charged, held.entry_price, mark)
    return arithmetic.terms_in(
        instrument, tier, held.side, leg.charged, held.entry_price, _own_margin(leg)
    )


def _borders(leg: Leg, way: Way) -> Iterator[Fraction]:
    """Where on the way the notional at mark of a linear leg passes a border of its tiers."""
    start, end = way.starts[leg.held.symbol].mark, way.ends[leg.held.symbol].mark
    low, high = sorted((leg.charged * start, leg.charged * end))
    if arithmetic.is_tier_fixed(leg.instrument):
        return
    for tier in leg.instrument.tiers[:-1]:
        if low < tier.cap < high:
            border = Fraction(tier.cap) / Fraction(leg.charged)
            yield (border - Fraction(start)) / (Fraction(end) - Fraction(start))
