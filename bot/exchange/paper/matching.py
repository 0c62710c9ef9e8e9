"""
What moving prices meet: settlements of funding, liquidations and orders, in their order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias, assert_never

from bot.core.model import MarginMode
from bot.exchange.paper import joint
from bot.exchange.paper.books import Books, Quote
from bot.exchange.paper.depth import Traded, record
from bot.exchange.paper.executing import fill_resting, towards, trigger
from bot.exchange.paper.levels import Levels
from bot.exchange.paper.liquidating import liquidate
from bot.exchange.paper.orders import (
    AGAINST,
    Conditional,
    Passage,
    RestingLimit,
    TriggerBy,
    has_passed,
)
from bot.exchange.paper.prices import AsMark, Prices
from bot.exchange.paper.settling import pay_funding
from bot.exchange.paper.tracks import spent_at
from bot.exchange.paper.way import START, Way, price_of
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


_What: TypeAlias = _Settlement | _JointLiquidation | _Liquidation | Conditional | RestingLimit
"""What is met; an order is, where a price reaches its trigger or its level."""


@dataclass(frozen=True, slots=True)
class _Hit:
    """Something that the prices meet at a place on their way."""

    fraction: Fraction
    account: str
    what: _What


_Level: TypeAlias = tuple[str, TriggerBy, Passage, Decimal, _What]
"""A symbol's price of a kind, the way on which it comes to a level, and what is met there."""


def travel(
    books: Books, levels: Levels, at_ms: int, prices: Mapping[str, Prices]
) -> list[tuple[str, Notice]]:
    """
    Let the named prices travel in straight lines from now to `at_ms`; what is to be told to whom.

    Settlements, liquidations and orders are met in the order of the way, each with the state that
    the one before left. At the same place settlements come first, then account by account, in the
    order of their opening, liquidations and after them orders, these in the order of arrival:
    never does the order of `prices` matter. A symbol's first prices just appear. Without prices
    only time passes, and what an account has changed is settled at the present ones.
    """
    ends = books.quotes.copy()
    for symbol in sorted(prices):
        ends[symbol] = _quote(at_ms, prices[symbol])
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
        told += _meet(books, levels, hit)
    books.at_ms, books.quotes = at_ms, ends
    _record(books, prices)
    return told


def _quote(at_ms: int, prices: Prices) -> Quote:
    index = prices.mark if isinstance(prices.index, AsMark) else prices.index
    return Quote(at_ms, prices.mark, prices.last, index)


def _record(books: Books, prices: Mapping[str, Prices]) -> None:
    """Put the present last prices of the symbols that move on the tapes of their books."""
    for symbol, tape in books.tapes.items():
        if symbol in prices:
            record(tape, Traded(books.at_ms, books.quotes[symbol].last))


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
        for symbol, by, passage, level, what in _levels(books, levels, account):
            if has_passed(passage, price_of(books.quotes[symbol], by), level):
                yield _Hit(here, account, what)
            elif has_passed(passage, price_of(way.ends[symbol], by), level):
                # Present prices are rounded: what lies on `here` may seem to lie just before it.
                yield _Hit(max(here, way.where(symbol, by, level)), account, what)


def _levels(books: Books, levels: Levels, account: str) -> Iterator[_Level]:
    """Every price at which something happens to the account."""
    book = books.accounts[account]
    for slot, held in book.holdings.items():
        if held.margin_mode is MarginMode.ISOLATED:
            price = levels.of(books, account, slot, held)
            what = _Liquidation(slot)
            yield held.symbol, TriggerBy.MARK, AGAINST[held.side], price, what
    for order in book.open_orders.values():
        match order:
            case Conditional(_, at, sends):
                yield sends.symbol, at.by, at.passage, at.price, order
            case RestingLimit(_, left, _, level):
                yield left.symbol, TriggerBy.LAST, towards(left), level, order


def _meet(books: Books, levels: Levels, hit: _Hit) -> Iterator[tuple[str, Notice]]:
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
        case Conditional():
            trigger(books, levels, hit.account, hit.what)
        case RestingLimit():
            fill_resting(books, levels, hit.account, hit.what)
        case _:
            assert_never(hit.what)
    yield hit.account, AccountChanged()
