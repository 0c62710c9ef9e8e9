"""
Auto-deleveraging: whom the exchange makes close when its insurance fund cannot pay.

Of the accounts on the other side the one with the highest rank goes first:

    profit share x effective leverage where it has a profit, profit share / leverage where not

with the profit share of the value at entry, and the effective leverage the value at mark over what
would be left of the position's backing there. Source: BitMEX, Poloniex, Deepcoin (the same words),
Gate ("profit and leverage").
"""

from collections.abc import Iterator
from decimal import Decimal

from bot.core.events import AutoDeleveraged
from bot.core.model import Fill, MarginMode
from bot.core.units import ZERO, Price, Quantity
from bot.exchange.paper import arithmetic, joint
from bot.exchange.paper.books import (
    NOTHING,
    AccountBook,
    Books,
    Cause,
    Holding,
    OrderState,
)
from bot.exchange.paper.settling import close_at, end_order, orders_in


def deleverage(
    books: Books, liquidated: AccountBook, held: Holding, quantity: Quantity, price: Price
) -> Iterator[tuple[str, AutoDeleveraged]]:
    """
    Let `quantity` of the liquidated position be filled at `price` by those on the other side.

    Each closes without fee, at the tick against it, and its orders of the contract are cancelled.
    What none of the accounts here holds, everybody else does.
    """
    left = quantity
    for account, slot in _ranked(books, liquidated, held):
        if left <= ZERO:
            return
        book = books.accounts[account]
        victim = book.holdings[slot]
        closed = Quantity(min(victim.quantity, left))
        left = Quantity(left - closed)
        at = arithmetic.fill_price(books.instruments[victim.symbol], victim.side, price)
        close_at(books, book, slot, Fill(closed, at), fee=NOTHING, cause=Cause.DELEVERAGING)
        for client_id in orders_in(book, victim.symbol):
            end_order(books, book, client_id, OrderState.CANCELLED)
        yield (
            account,
            AutoDeleveraged(victim.symbol, victim.side, closed, at, books.at_ms),
        )


def _ranked(books: Books, liquidated: AccountBook, held: Holding) -> list[tuple[str, str]]:
    """Account and slot of every position on the other side, the first to be closed first."""
    found = [
        (-_rank(books, book, other), account, slot)
        for account, book in books.accounts.items()
        if book is not liquidated
        for slot, other in book.holdings.items()
        if other.symbol == held.symbol and other.side is not held.side
    ]
    return [(account, slot) for _, account, slot in sorted(found)]


def _rank(books: Books, book: AccountBook, held: Holding) -> Decimal:
    instrument, mark = books.instruments[held.symbol], books.quotes[held.symbol].mark
    worth = arithmetic.value(instrument, held.quantity, mark)
    paid = arithmetic.value(instrument, held.quantity, held.entry_price)
    profit = arithmetic.gain(instrument, held.side, held.quantity, held.entry_price, mark)
    match held.margin_mode:
        case MarginMode.ISOLATED:
            backed = held.margin + profit
        case MarginMode.CROSS:
            backed = share_of_equity(books, book, held)
    if backed <= ZERO:
        return Decimal("-Infinity")  # about to be liquidated itself
    leverage = worth / backed
    share = profit / paid
    return share * leverage if share > ZERO else share / leverage


def share_of_equity(books: Books, book: AccountBook, held: Holding) -> Decimal:
    """A cross position's part of the equity of all, by its value at mark."""
    legs = joint.legs_of(books, book.mode, joint.cross(book).values())
    worths = [_worth(books, leg.held) for leg in legs]
    backing = book.wallet + joint.pledged(books, book)
    return joint.equity(backing, legs, books.quotes) * _worth(books, held) / sum(worths)


def _worth(books: Books, held: Holding) -> Decimal:
    mark = books.quotes[held.symbol].mark
    return arithmetic.value(books.instruments[held.symbol], held.quantity, mark)
