"""What market orders get at the present prices, and what they leave of the book."""

from decimal import Decimal

from bot.core.actions import AtMarket, Bound, NoWorseThan
from bot.core.model import Fill, Side
from bot.core.units import ONE, ZERO, Price, Quantity, floor_to
from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import Books
from bot.exchange.paper.depth import (
    PERCENT,
    Endless,
    OrderBook,
    Traded,
    dig,
    hole_now,
    notional_now,
)

ANY = Quantity(Decimal("Infinity"))
NONE = Quantity(ZERO)


def available(books: Books, symbol: str, side: Side, bound: Bound) -> Quantity:
    """How much of a `side` position could be closed now within `bound`, in whole steps."""
    match bound:
        case AtMarket():
            return ANY
        case NoWorseThan(limit):
            return _available(books, symbol, side, limit)


def fill(books: Books, symbol: str, side: Side, quantity: Quantity) -> Fill:
    """
    Close `quantity` of a `side` position at market.

    The best price is the last one worsened by the slippage. From there an order walks through
    what rests in the book, beyond its hole; what is not there it gets at the book's reach. The
    average price is rounded to the tick against the closer.
    """
    price, hole = _walk(books, symbol, side, quantity)
    if isinstance(books.depths[symbol], OrderBook):
        dig(books.tapes[symbol], side, books.at_ms, hole)
    return Fill(quantity, price)


def priced(books: Books, symbol: str, side: Side, quantity: Quantity) -> Price:
    """The price at which `fill` would close `quantity` now."""
    price, _ = _walk(books, symbol, side, quantity)
    return price


def _walk(books: Books, symbol: str, side: Side, quantity: Quantity) -> tuple[Price, Decimal]:
    """The average price, and how deep the hole is then."""
    best = _best(books, symbol, side)
    average, end = best, ZERO
    match books.depths[symbol]:
        case Endless():
            pass
        case OrderBook() as book:
            tape, per_share = books.tapes[symbol], _per_share(books, symbol, book, best)
            begin = min(hole_now(book, tape, side, books.at_ms), book.reach)
            walked = min(quantity, (book.reach - begin) * per_share)
            end = begin + walked / per_share
            given = walked * (begin + end) / 2 + (quantity - walked) * book.reach
            average = best * (ONE - side.sign * given / quantity)
    return arithmetic.fill_price(books.instruments[symbol], side, average), end


def _available(books: Books, symbol: str, side: Side, limit: Price) -> Quantity:
    best = _best(books, symbol, side)
    instrument = books.instruments[symbol]
    match books.depths[symbol]:
        case Endless():
            price = arithmetic.fill_price(instrument, side, best)
            return ANY if side.sign * (price - limit) >= ZERO else NONE
        case OrderBook() as book:
            share = side.sign * (best - limit) / best
            if share >= book.reach:
                return ANY
            begin = hole_now(book, books.tapes[symbol], side, books.at_ms)
            there = (share - begin) * _per_share(books, symbol, book, best)
            return Quantity(max(ZERO, floor_to(there, instrument.quantity_step)))


def _best(books: Books, symbol: str, side: Side) -> Decimal:
    return books.quotes[symbol].last * (ONE - side.sign * books.slippage)


def _per_share(books: Books, symbol: str, book: OrderBook, best: Decimal) -> Decimal:
    """The quantity that rests in one whole share of the price, were it as dense everywhere."""
    now = Traded(books.at_ms, books.quotes[symbol].last)
    return notional_now(book, books.tapes[symbol], now) / PERCENT / best
