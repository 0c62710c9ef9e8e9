"""
What moving prices meet: settlements of funding, liquidations and resting stops, in their order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias, assert_never

from bot.core.model import NO_FILL, MarginMode, Side, StopOrder
from bot.core.units import Price
from bot.exchange.paper import joint
from bot.exchange.paper.books import AccountBook, Books, Cause, OrderState, Quote, slot_of
from bot.exchange.paper.depth import Traded, record
from bot.exchange.paper.levels import Levels
from bot.exchange.paper.liquidating import liquidate
from bot.exchange.paper.prices import Prices
from bot.exchange.paper.settling import holds, pay_funding, reduce, retire
from bot.exchange.paper.tracks import spent_at
from bot.exchange.paper.way import START, Way
from bot.exchange.ports import AccountChanged, Notice


@dataclass(frozen=True, slots=True)
class _Settlement:
    """The announced moment at which a position pays or gets funding."""

    symbol: str


@dataclass(frozen=True, slots=True)
class _Liquidation:
    """The mark price reached an isolated position's liquidation price."""

    slot: str


@dataclass(frozen=True, slots=True)
class _JointLiquidation:
    """The equity of the cross positions is down to their requirements."""


@dataclass(frozen=True, slots=True)
class _Trigger:
    """The mark price reached a stop's trigger."""

    stop: StopOrder


_What: TypeAlias = _Settlement | _JointLiquidation | _Liquidation | _Trigger


@dataclass(frozen=True, slots=True)
class _Hit:
    """Something that the prices meet at a place on their way."""

    fraction: Fraction
    account: str
    what: _What


def travel(
    books: Books, levels: Levels, at_ms: int, prices: Mapping[str, Prices]
) -> list[tuple[str, Notice]]:
    """
    Let the named prices travel in straight lines from now to `at_ms`; what is to be told to whom.

    Settlements, liquidations and stops are met in the order of the way, each with the state that
    the one before left. At the same place settlements come first, then account by account, in the
    order of their opening, liquidations and after them stops, these in the order of placement:
    never does the order of `prices` matter. A symbol's first prices just appear. Without prices
    only time passes, and what an account has changed is settled at the present ones.
    """
    ends = books.quotes.copy()
    for symbol in sorted(prices):
        ends[symbol] = Quote(at_ms, prices[symbol].mark, prices[symbol].last)
    if len(books.quotes) < len(ends):
        books.quotes = ends | books.quotes
    here, way = START, Way(books.at_ms, at_ms, books.quotes, ends)
    _record(books, prices)
    told: list[tuple[str, Notice]] = []
    due = _due(books, way)
    while hits := [*due, *_hits(books, levels, way, here)]:
        hit = min(hits, key=lambda each: each.fraction)
        here, due = hit.fraction, [each for each in due if each is not hit]
        books.at_ms, books.quotes = way.when_ms(here), way.quotes(here)
        told += _meet(books, hit)
    books.at_ms, books.quotes = at_ms, ends
    _record(books, prices)
    return told


def _record(books: Books, prices: Mapping[str, Prices]) -> None:
    """Put the present last prices of the symbols that move on the tapes of their books."""
    for symbol, tape in books.tapes.items():
        if symbol in prices:
            record(tape, Traded(books.at_ms, books.quotes[symbol].last))


def reached(side: Side, mark: Price, level: Decimal) -> bool:
    """Whether `mark` went against a `side` position as far as `level`, or further."""
    match side:
        case Side.LONG:
            return mark <= level
        case Side.SHORT:
            return mark >= level


def _due(books: Books, way: Way) -> list[_Hit]:
    """The settlements on the way, for every account: who holds nothing then settles nothing."""
    return [
        _Hit(way.at_time(term.next_at_ms), account, _Settlement(symbol))
        for symbol, term in sorted(books.terms.items())
        if way.start_ms < term.next_at_ms <= way.end_ms
        for account in books.accounts
    ]


def _hits(books: Books, levels: Levels, way: Way, here: Fraction) -> Iterator[_Hit]:
    """What is met between `here`, where the books are, and the end; the first to meet first."""
    for account, book in books.accounts.items():
        for place in spent_at(levels.tracks(books, account, book), book.wallet, way, here):
            yield _Hit(place, account, _JointLiquidation())
        for symbol, side, level, what in _levels(books, levels, account):
            if reached(side, books.quotes[symbol].mark, level):
                yield _Hit(here, account, what)
            elif reached(side, way.ends[symbol].mark, level):
                # Present marks are rounded: what lies on `here` may seem to lie just before it.
                yield _Hit(max(here, way.where(symbol, level)), account, what)


def _levels(
    books: Books, levels: Levels, account: str
) -> Iterator[tuple[str, Side, Decimal, _What]]:
    """Every mark price at which something happens to the account, and against which side."""
    book = books.accounts[account]
    for slot, held in book.holdings.items():
        if held.margin_mode is MarginMode.ISOLATED:
            level = levels.of(books, account, slot, held)
            yield held.symbol, held.side, level, _Liquidation(slot)
    for stop in book.stops.values():
        yield stop.symbol, stop.side, stop.trigger_price, _Trigger(stop)


def _meet(books: Books, hit: _Hit) -> Iterator[tuple[str, Notice]]:
    book = books.accounts[hit.account]
    match hit.what:
        case _Settlement(symbol):
            held = [slot for slot, each in book.holdings.items() if each.symbol == symbol]
            for slot in held:
                pay_funding(books, book, slot)
            if not held:
                return
        case _JointLiquidation():
            slots = tuple(joint.cross(book))
            yield from liquidate(books, hit.account, slots, MarginMode.CROSS)
        case _Liquidation(slot):
            yield from liquidate(books, hit.account, (slot,), MarginMode.ISOLATED)
        case _Trigger(stop):
            _trigger(books, book, stop)
        case _:
            assert_never(hit.what)
    yield hit.account, AccountChanged()


def _trigger(books: Books, book: AccountBook, stop: StopOrder) -> None:
    if holds(book, stop.symbol, stop.side):
        slot = slot_of(book, stop.symbol, stop.side)
        filled = reduce(books, book, slot, stop.quantity, Cause.STOP)
        retire(book, stop, OrderState.FILLED, filled)
    else:
        retire(book, stop, OrderState.EXPIRED, NO_FILL)
