"""
What it costs when a position gets smaller: reductions and liquidations, at the present prices.

Money that leaves an account is booked on the other side in the same breath, so that nothing is
created or lost.
"""

from dataclasses import replace

from bot.core.events import Liquidated
from bot.core.model import NO_FILL, Fill, Filled, Side, StopOrder
from bot.core.units import ZERO, Money, Quantity
from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import (
    NOTHING,
    AccountBook,
    Books,
    Cause,
    Holding,
    OrderRecord,
    OrderState,
    Realised,
)


def holds(book: AccountBook, symbol: str, side: Side) -> bool:
    """Whether the account has an open position of that side."""
    return symbol in book.holdings and book.holdings[symbol].side is side


def reduce(books: Books, book: AccountBook, symbol: str, quantity: Quantity, cause: Cause) -> Fill:
    """
    Close up to `quantity` of the position at market; what was filled.

    It fills at the last price worsened by the slippage, for the taker fee (rounded up). The
    closed share's margin (rounded down) with its profit goes back to the wallet. A loss
    beyond that share takes from the margin that stays, and beyond that from the insurance fund:
    an isolated position never costs more than its margin.
    """
    instrument, held = books.instruments[symbol], book.holdings[symbol]
    closed = Quantity(min(quantity, held.quantity))
    price = arithmetic.fill_price(instrument, held.side, books.quotes[symbol].last, books.slippage)
    profit = arithmetic.profit(held.side, closed, held.entry_price, price)
    fee = arithmetic.money_up(closed * price * instrument.taker_fee)
    released = _released(held, closed)
    payout, staying = released + profit - fee, held.margin - released
    missing = max(-payout, ZERO)
    from_staying = min(missing, staying)
    shortfall = missing - from_staying

    book.wallet = Money(book.wallet + max(payout, ZERO))
    books.market = Money(books.market - profit)
    books.fees = Money(books.fees + fee)
    books.insurance_fund = Money(books.insurance_fund - shortfall)
    if closed == held.quantity:
        del book.holdings[symbol]
    else:
        book.holdings[symbol] = replace(
            held,
            quantity=Quantity(held.quantity - closed),
            margin=Money(staying - from_staying),
        )
    book.realised.append(
        Realised(
            books.at_ms, symbol, held.side, closed, price, profit, fee, Money(shortfall), cause
        )
    )
    return Fill(closed, price)


def take_over(books: Books, book: AccountBook, symbol: str) -> Liquidated:
    """
    Liquidate: the account loses the position and its whole margin, at the bankruptcy price.

    The engine fills the position at the last price worsened by the slippage, free of fees. What
    that is better than the bankruptcy price the insurance fund gains, what it is worse the fund
    pays. In this version the fund may go below zero; there is no auto-deleveraging. All stops
    of the symbol are cancelled. The event's price is the mark price of that moment, to the tick
    as reported liquidation prices are.
    """
    instrument, held, quote = (
        books.instruments[symbol],
        book.holdings[symbol],
        books.quotes[symbol],
    )
    price = arithmetic.fill_price(instrument, held.side, quote.last, books.slippage)
    profit = arithmetic.profit(held.side, held.quantity, held.entry_price, price)
    books.market = Money(books.market - profit)
    books.insurance_fund = Money(books.insurance_fund + held.margin + profit)
    del book.holdings[symbol]
    for stop in [stop for stop in book.stops.values() if stop.symbol == symbol]:
        retire(book, stop, OrderState.CANCELLED, NO_FILL)
    book.realised.append(
        Realised(
            books.at_ms,
            symbol,
            held.side,
            held.quantity,
            arithmetic.bankruptcy_price(held.side, held.quantity, held.entry_price, held.margin),
            profit=Money(-held.margin),
            fee=NOTHING,
            shortfall=NOTHING,
            cause=Cause.LIQUIDATION,
        )
    )
    mark = arithmetic.reported_price(instrument, held.side, quote.mark)
    return Liquidated(symbol, held.side, mark, books.at_ms)


def retire(book: AccountBook, stop: StopOrder, state: OrderState, filled: Filled) -> None:
    """Take a stop off the book and record what became of it."""
    del book.stops[stop.client_id]
    book.orders[stop.client_id] = OrderRecord(stop.symbol, state, filled)


def _released(held: Holding, closed: Quantity) -> Money:
    """The closed share's margin."""
    if closed == held.quantity:
        return held.margin
    return arithmetic.money_down(held.margin * closed / held.quantity)
