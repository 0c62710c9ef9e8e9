"""
Orders as they come in: what is wrong with them, and with which code they are refused.

The codes are Binance's. Time has been advanced and prices met before an order is looked at. A
quantity's minimum does not bind reduce-only orders: the way out is never blocked by dust.
"""

from dataclasses import replace
from decimal import Decimal

from bot.core.actions import AtMarket
from bot.core.model import NO_FILL, PositionMode
from bot.core.units import ZERO, Price, Quantity
from bot.exchange.paper.arithmetic import on_step
from bot.exchange.paper.books import AccountBook, Books, OrderRecord, OrderState, Resting
from bot.exchange.paper.executing import (
    admit,
    displace,
    held_against,
    no_position,
    trade,
)
from bot.exchange.paper.levels import Levels
from bot.exchange.paper.orders import (
    CloseAll,
    Conditional,
    Effect,
    Limit,
    Order,
    RestingLimit,
    Trigger,
    has_passed,
    is_reducing,
    sent_by,
)
from bot.exchange.paper.settling import end_order
from bot.exchange.paper.way import price_of
from bot.exchange.ports import Accepted, Refused

STOPS_REFUSED = Refused("-4120", "Order type not supported for this endpoint.")
"""The answer of a stop endpoint that takes no stops any more."""

UNKNOWN_ORDER = Refused("-2011", "Unknown order sent.")

_FOREIGN = {PositionMode.ONE_WAY: Effect.OPEN, PositionMode.HEDGE: Effect.NET}
"""What no order can want to do in a mode."""

_DUPLICATE = Refused("-4116", "Client order id is duplicated.")


def place(
    books: Books, levels: Levels, account: str, order: Order, client_id: str
) -> Accepted | Refused:
    """Trade an order as far as it can be traded now; what is left of it rests, or is over."""
    book = books.accounts[account]
    if isinstance(reply := _check(books, book, order, client_id), Refused):
        return reply
    if isinstance(order.pricing, Limit):
        limits = [each for each in _resting_in(book, order.symbol) if _is_limit(each)]
        if len(limits) >= books.limits.resting_symbol_max:
            return Refused("-2025", f"Reach max open order limit: {len(limits)} rest.")
    if isinstance(reply := admit(books, book, order), Refused):
        return reply
    if books.resting is Resting.DISPLACE and order.effect is Effect.REDUCE:
        wanted = Quantity(min(order.quantity, held_against(book, order)))
        displace(books, book, replace(order, quantity=wanted))
    book.orders[client_id] = OrderRecord(order.symbol, OrderState.RESTING, NO_FILL)
    trade(books, levels, account, client_id, order)
    return Accepted()


def place_conditional(
    books: Books, book: AccountBook, trigger: Trigger, sends: Order | CloseAll, client_id: str
) -> Accepted | Refused:
    """Let an order wait for a price. One that reduces may be larger than what it reduces."""
    if books.refuse_stops:
        return STOPS_REFUSED
    if isinstance(reply := _check(books, book, sends, client_id), Refused):
        return reply
    quote, tick = books.quotes[sends.symbol], books.instruments[sends.symbol].tick_size
    if not _whole(trigger.price, tick):
        return _off_tick(trigger.price, tick)
    price = price_of(quote, trigger.by)
    if has_passed(trigger.passage, price, trigger.price):
        return Refused(
            "-2021", f"Order would immediately trigger: the {trigger.by} price is {price}."
        )
    waiting = Conditional(client_id, trigger, sends)
    if any(_is_twin(waiting, each) for each in book.open_orders.values()):
        return Refused(
            "-4130",
            "An open stop or take profit order with GTE and closePosition in the direction is "
            "existing.",
        )
    if isinstance(reply := _check_slots(books, book, sends.symbol), Refused):
        return reply
    if books.resting is Resting.DISPLACE and isinstance(sends, Order) and is_reducing(sends):
        displace(books, book, sends)
    book.open_orders[client_id] = waiting
    book.orders[client_id] = OrderRecord(sends.symbol, OrderState.RESTING, NO_FILL)
    return Accepted()


def cancel(books: Books, book: AccountBook, client_id: str) -> Accepted | Refused:
    """Take an order off the book."""
    if client_id not in book.open_orders:
        return UNKNOWN_ORDER
    end_order(books, book, client_id, OrderState.CANCELLED)
    return Accepted()


def _check(
    books: Books, book: AccountBook, order: Order | CloseAll, client_id: str
) -> Accepted | Refused:
    """What can be wrong with an order whatever else there is."""
    if client_id in book.orders:
        return _DUPLICATE
    if is_reducing(order) and not held_against(book, order):
        return no_position(order)
    match order:
        case CloseAll():
            return Accepted()
        case Order(effect=effect) if effect is _FOREIGN[book.mode]:
            return Refused("-4061", "Order's position side does not match user's setting.")
        case Order(quantity=quantity, pricing=pricing):
            return _check_figures(books, order.symbol, quantity, pricing)


def _check_figures(
    books: Books, symbol: str, quantity: Quantity, pricing: AtMarket | Limit
) -> Accepted | Refused:
    instrument, limits = books.instruments[symbol], books.limits
    step = instrument.quantity_step
    if not _whole(quantity, step):
        return Refused("-4003", f"Quantity must be a positive multiple of {step}, was {quantity}.")
    match pricing:
        case AtMarket():
            most = limits.market_max(instrument)
        case Limit(price):
            most = Quantity(limits.steps_max * step)
            if not _whole(price, instrument.tick_size):
                return _off_tick(price, instrument.tick_size)
    if quantity > most:
        return Refused("-4005", f"Quantity greater than max quantity {most}, was {quantity}.")
    return Accepted()


def _check_slots(books: Books, book: AccountBook, symbol: str) -> Accepted | Refused:
    """Whether one more conditional order may rest."""
    here = sum(not _is_limit(each) for each in _resting_in(book, symbol))
    everywhere = sum(not _is_limit(each) for each in book.open_orders.values())
    most = books.limits.conditional_max(books.instruments[symbol])
    if here >= most or everywhere >= books.limits.conditional_account_max:
        return Refused(
            "-4045", f"Reach max stop order limit: {here} rest here, {everywhere} in all."
        )
    return Accepted()


def _resting_in(book: AccountBook, symbol: str) -> list[Conditional | RestingLimit]:
    return [each for each in book.open_orders.values() if sent_by(each).symbol == symbol]


def _is_limit(resting: Conditional | RestingLimit) -> bool:
    return isinstance(resting, RestingLimit)


def _is_twin(one: Conditional, other: Conditional | RestingLimit) -> bool:
    """Whether both close all of a position, and wait for the same way of the price."""
    return (
        isinstance(other, Conditional)
        and isinstance(one.sends, CloseAll)
        and one.sends == other.sends
        and one.trigger.passage is other.trigger.passage
    )


def _whole(value: Decimal, step: Decimal) -> bool:
    return value > ZERO and on_step(value, step)


def _off_tick(price: Price, tick: Price) -> Refused:
    return Refused("-4014", f"Price must be a positive multiple of {tick}, was {price}.")
