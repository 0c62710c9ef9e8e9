"""
What prices do to positions: stops trigger, positions are reduced, liquidated and paid out.

Functions over one account's book; money that leaves it is booked on the other side in the same
breath, so that nothing is created or lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import TypeAlias, assert_never

from bot.core.events import Liquidated
from bot.core.model import NO_FILL, Fill, Filled, Side, StopOrder
from bot.core.units import ZERO, Money, Price, Quantity
from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import (
    NOTHING,
    AccountBook,
    Books,
    Cause,
    Holding,
    OrderRecord,
    OrderState,
    Quote,
    Realised,
)
from bot.exchange.ports import AccountChanged, Notice


@dataclass(frozen=True, slots=True)
class _Liquidation:
    """The mark price reached the position's liquidation price."""

    holding: Holding


@dataclass(frozen=True, slots=True)
class _Trigger:
    """The mark price reached a stop's trigger."""

    stop: StopOrder


_Hit: TypeAlias = _Liquidation | _Trigger


def walk(
    books: Books, book: AccountBook, symbol: str, start: Quote, end: Quote
) -> Iterator[Notice]:
    """
    Let the prices of `symbol` travel in a straight line and meet what lies on the way.

    Stops and the liquidation are met in price order, each with the state that the one before
    left; at the same price the liquidation comes first, then stops in the order of placement.
    `start` is passed again as `end` to settle a changed position at the present price.
    """
    here = start
    while hits := _hits(books, book, symbol, here.mark, end.mark):
        here, hit = min(
            ((_on_the_way(start, end, mark), hit) for mark, hit in hits),
            key=lambda each: abs(each[0].mark - start.mark),
        )
        match hit:
            case _Liquidation(holding):
                yield take_over(books, book, symbol, holding, here)
            case _Trigger(stop):
                _trigger(books, book, stop, here)
            case _:
                assert_never(hit)
        yield AccountChanged()


def reduce(
    books: Books, book: AccountBook, symbol: str, quantity: Quantity, *, quote: Quote, cause: Cause
) -> Fill:
    """
    Close up to `quantity` of the position at market; what was filled.

    It fills at the last price worsened by the slippage, for the taker fee (rounded up). The
    closed share's margin (rounded down) with its profit goes back to the free money. A loss
    beyond that share takes from the margin that stays, and beyond that from the insurance fund:
    an isolated position never costs more than its margin.
    """
    instrument, held = books.instruments[symbol], book.holdings[symbol]
    closed = Quantity(min(quantity, held.quantity))
    price = arithmetic.fill_price(instrument, held.side, quote.last, books.slippage)
    profit = arithmetic.profit(held.side, closed, held.entry_price, price)
    fee = arithmetic.money_up(closed * price * instrument.taker_fee)
    released = _released(held, closed)
    payout, staying = released + profit - fee, held.margin - released
    missing = max(-payout, ZERO)
    from_staying = min(missing, staying)
    shortfall = missing - from_staying

    book.free = Money(book.free + max(payout, ZERO))
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
            quote.at_ms, symbol, held.side, closed, price, profit, fee, Money(shortfall), cause
        )
    )
    return Fill(closed, price)


def take_over(
    books: Books, book: AccountBook, symbol: str, held: Holding, quote: Quote
) -> Liquidated:
    """
    Liquidate: the account loses the position and its whole margin, at the bankruptcy price.

    The engine fills the position at the last price worsened by the slippage, free of fees. What
    that is better than the bankruptcy price the insurance fund gains, what it is worse the fund
    pays. In this version the fund may go below zero; there is no auto-deleveraging. All stops
    of the symbol are cancelled. The event's price is the mark price of that moment, to the tick
    as reported liquidation prices are.
    """
    instrument = books.instruments[symbol]
    price = arithmetic.fill_price(instrument, held.side, quote.last, books.slippage)
    profit = arithmetic.profit(held.side, held.quantity, held.entry_price, price)
    books.market = Money(books.market - profit)
    books.insurance_fund = Money(books.insurance_fund + held.margin + profit)
    del book.holdings[symbol]
    for stop in [stop for stop in book.stops.values() if stop.symbol == symbol]:
        retire(book, stop, OrderState.CANCELLED, NO_FILL)
    book.realised.append(
        Realised(
            quote.at_ms,
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
    return Liquidated(symbol, held.side, mark, quote.at_ms)


def retire(book: AccountBook, stop: StopOrder, state: OrderState, filled: Filled) -> None:
    """Take a stop off the book and record what became of it."""
    del book.stops[stop.client_id]
    book.orders[stop.client_id] = OrderRecord(stop.symbol, state, filled)


def _trigger(books: Books, book: AccountBook, stop: StopOrder, quote: Quote) -> None:
    if holds(book, stop.symbol, stop.side):
        filled = reduce(books, book, stop.symbol, stop.quantity, quote=quote, cause=Cause.STOP)
        retire(book, stop, OrderState.FILLED, filled)
    else:
        retire(book, stop, OrderState.EXPIRED, NO_FILL)


def holds(book: AccountBook, symbol: str, side: Side) -> bool:
    """Whether the account has an open position of that side."""
    return symbol in book.holdings and book.holdings[symbol].side is side


def reached(side: Side, mark: Price, level: Decimal) -> bool:
    """Whether `mark` went against a `side` position as far as `level`, or further."""
    return side.sign * (mark - level) <= ZERO


def _hits(
    books: Books, book: AccountBook, symbol: str, here: Price, end: Price
) -> list[tuple[Price, _Hit]]:
    """What is met between the mark prices `here` and `end`, and at which mark price each."""
    levels: list[tuple[Side, Decimal, _Hit]] = []
    if symbol in book.holdings:
        held = book.holdings[symbol]
        level = arithmetic.liquidation_price(
            books.instruments[symbol], held.side, held.quantity, held.entry_price, held.margin
        )
        levels.append((held.side, level, _Liquidation(held)))
    levels.extend(
        (stop.side, stop.trigger_price, _Trigger(stop))
        for stop in book.stops.values()
        if stop.symbol == symbol
    )
    return [
        (here if reached(side, here, level) else Price(level), hit)
        for side, level, hit in levels
        if reached(side, end, level)
    ]


def _on_the_way(start: Quote, end: Quote, mark: Price) -> Quote:
    """The prices when the mark price is at `mark`. A broken millisecond is rounded up."""
    if mark == start.mark:
        return start
    # Multiplied before divided: a last price that has an exact decimal value gets it.
    way, whole = mark - start.mark, end.mark - start.mark
    last = start.last + (end.last - start.last) * way / whole
    passed_ms = ((end.at_ms - start.at_ms) * way / whole).to_integral_value(ROUND_CEILING)
    return Quote(start.at_ms + int(passed_ms), mark, Price(last))


def _released(held: Holding, closed: Quantity) -> Money:
    """The closed share's margin."""
    if closed == held.quantity:
        return held.margin
    return arithmetic.money_down(held.margin * closed / held.quantity)
