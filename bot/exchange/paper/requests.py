"""
What an account may ask for, and with which code it is refused.

The codes are Binance's. Time has been advanced and prices met before a request is looked at.
A quantity's minimum does not bind reduce-only orders: the way out is never blocked by dust.
"""

from dataclasses import replace
from decimal import Decimal

from bot.core.actions import (
    Action,
    AddMargin,
    AtMarket,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.model import NO_FILL, MarginMode, PositionMode, Side, StopOrder
from bot.core.units import ONE, ZERO, Money, Price, Quantity
from bot.exchange.paper import arithmetic, joint
from bot.exchange.paper.arithmetic import on_step
from bot.exchange.paper.books import (
    AccountBook,
    Books,
    Cause,
    OrderRecord,
    OrderState,
    Resting,
    slot_of,
)
from bot.exchange.paper.matching import reached
from bot.exchange.paper.settling import holds, reduce, retire
from bot.exchange.paper.trading import available
from bot.exchange.ports import Accepted, MarginChange, Refused

STOPS_MAX = 10
"""Stops that may rest on one symbol of an account at a time."""

STOPS_REFUSED = Refused("-4120", "Order type not supported for this endpoint.")
"""The answer of a stop endpoint that takes no stops any more."""

_DUPLICATE = Refused("-4116", "Client order id is duplicated.")


def add_margin(books: Books, book: AccountBook, action: AddMargin) -> Accepted | Refused:
    """Move free money into a position's margin and record the change."""
    if not holds(book, action.symbol, action.side):
        return _no_position(action)
    step = books.instruments[action.symbol].rules.position_margin_step
    if action.amount <= ZERO or not on_step(action.amount, step):
        return Refused(
            "-4055", f"Amount must be a positive multiple of {step}, was {action.amount}."
        )
    slot = slot_of(book, action.symbol, action.side)
    held, free = book.holdings[slot], joint.free(books, book)
    if held.margin_mode is MarginMode.CROSS:
        return Refused("-4049", "Add margin only support for isolated position.")
    if action.amount > free:
        return Refused("-2019", f"Margin is insufficient: {free} is free.")
    book.wallet = Money(book.wallet - action.amount)
    book.holdings[slot] = replace(held, margin=Money(held.margin + action.amount))
    book.margin_changes.append(MarginChange(action.symbol, action.amount, books.at_ms))
    return Accepted()


def place_stop(
    books: Books, book: AccountBook, action: PlaceStop, client_id: str
) -> Accepted | Refused:
    """Rest a stop. It may be larger than the position: what it fills is cut to that."""
    if books.refuse_stops:
        return STOPS_REFUSED
    if client_id in book.orders:
        return _DUPLICATE
    if not holds(book, action.symbol, action.side):
        return _no_position(action)
    instrument, mark = books.instruments[action.symbol], books.quotes[action.symbol].mark
    trigger = action.trigger_price
    if not _whole(action.quantity, instrument.quantity_step):
        return _off_step(action.quantity, instrument.quantity_step)
    if not _whole(trigger, instrument.tick_size):
        return _off_tick(trigger, instrument.tick_size)
    if reached(action.side, mark, trigger):
        return Refused("-2021", f"Order would immediately trigger: the mark price is {mark}.")
    resting = sum(stop.symbol == action.symbol for stop in book.stops.values())
    if resting >= STOPS_MAX:
        return Refused("-4045", f"Reach max stop order limit: {resting} rest.")
    if books.resting is Resting.DISPLACE:
        _displace(book, action.symbol, action.side, action.quantity)
    book.stops[client_id] = StopOrder(
        action.symbol, action.side, client_id, action.quantity, trigger, reduce_only=True
    )
    book.orders[client_id] = OrderRecord(action.symbol, OrderState.RESTING, NO_FILL)
    return Accepted()


def cancel_stop(book: AccountBook, action: CancelStop) -> Accepted | Refused:
    """Take a resting stop off the book."""
    stop = book.stops.get(action.target_client_id)
    if stop is None or (stop.symbol, stop.side) != (action.symbol, action.side):
        return Refused("-2011", "Unknown order sent.")
    retire(book, stop, OrderState.CANCELLED, NO_FILL)
    return Accepted()


def close(
    books: Books, book: AccountBook, action: ClosePosition, client_id: str
) -> Accepted | Refused:
    """
    Reduce a position now, by no more than there is of it and no more than its bound allows.

    What cannot be had within the bound is not filled and expires with the order, all of it too.
    """
    if client_id in book.orders:
        return _DUPLICATE
    if not holds(book, action.symbol, action.side):
        return _no_position(action)
    instrument = books.instruments[action.symbol]
    if not _whole(action.quantity, instrument.quantity_step):
        return _off_step(action.quantity, instrument.quantity_step)
    match action.bound:
        case NoWorseThan(price) if not _whole(price, instrument.tick_size):
            return _off_tick(price, instrument.tick_size)
        case AtMarket() | NoWorseThan():
            pass
    slot = slot_of(book, action.symbol, action.side)
    wanted = min(action.quantity, book.holdings[slot].quantity)
    match books.resting:
        case Resting.RESERVE if _reserved(book, action) + wanted > book.holdings[slot].quantity:
            return Refused(
                "-4118", "ReduceOnly order failed: check your existing position and open orders."
            )
        case Resting.DISPLACE:
            _displace(book, action.symbol, action.side, wanted)
        case Resting.RESERVE | Resting.COEXIST:
            pass
    there = min(wanted, available(books, action.symbol, action.side, action.bound))
    filled = reduce(books, book, slot, there, Cause.CLOSE) if there else NO_FILL
    state = OrderState.FILLED if there == wanted else OrderState.EXPIRED
    book.orders[client_id] = OrderRecord(action.symbol, state, filled)
    return Accepted()


def set_position_mode(book: AccountBook, mode: PositionMode) -> Accepted | Refused:
    """Change between one position a symbol and two; only of an account that has nothing open."""
    if mode is book.mode:
        return Refused("-4059", "No need to change position side.")
    if book.stops:
        return Refused("-4067", "Position side cannot be changed if there exists open orders.")
    if book.holdings:
        return Refused("-4068", "Position side cannot be changed if there exists position.")
    book.mode = mode
    return Accepted()


def set_leverage(
    books: Books, book: AccountBook, symbol: str, side: Side, leverage: Decimal
) -> Accepted | Refused:
    """
    Change the leverage of an open position: what a cross one binds of the wallet.

    An isolated one keeps its margin, and its leverage cannot be lowered.
    """
    if not holds(book, symbol, side):
        return Refused("-4061", f"There is no {side} position in {symbol}.")
    slot = slot_of(book, symbol, side)
    held, mark = book.holdings[slot], books.quotes[symbol].mark
    instrument = books.instruments[symbol]
    tier = arithmetic.tier_held(instrument, held.quantity, held.entry_price, mark)
    if leverage != int(leverage) or leverage < ONE:
        return Refused("-4028", f"Leverage {leverage} is not valid.")
    if leverage > tier.leverage_max:
        return Refused("-2027", "Exceeded the maximum allowable position at current leverage.")
    if held.margin_mode is MarginMode.ISOLATED and leverage < held.leverage:
        return Refused(
            "-4161", "Leverage reduction is not supported in Isolated Margin Mode with positions."
        )
    if held.margin_mode is MarginMode.CROSS:
        worth = arithmetic.value(instrument, held.quantity, mark)
        more = arithmetic.money_up(worth / leverage) - arithmetic.money_up(worth / held.leverage)
        if more > joint.available(books, book):
            return Refused("-2028", "Leverage is smaller than permitted: insufficient margin.")
    book.holdings[slot] = replace(held, leverage=leverage)
    return Accepted()


def withdraw(books: Books, book: AccountBook, amount: Money) -> Accepted | Refused:
    """Let money leave the exchange."""
    if amount <= ZERO or not on_step(amount, arithmetic.MONEY_STEP):
        return Refused("-4055", f"Amount must be positive, was {amount}.")
    if amount > (free := joint.free(books, book)):
        return Refused("-5013", f"Asset transfer failed: insufficient balance, {free} is free.")
    book.wallet = Money(book.wallet - amount)
    books.deposited = Money(books.deposited - amount)
    return Accepted()


def _stops_of(book: AccountBook, symbol: str, side: Side) -> list[StopOrder]:
    return [each for each in book.stops.values() if (each.symbol, each.side) == (symbol, side)]


def _reserved(book: AccountBook, action: ClosePosition) -> Decimal:
    """What of the position its resting stops are for."""
    stops = _stops_of(book, action.symbol, action.side)
    return sum((stop.quantity for stop in stops), ZERO)


def _displace(book: AccountBook, symbol: str, side: Side, quantity: Quantity) -> None:
    """Cancel the oldest stops until what rests and `quantity` are no more than the position."""
    room = book.holdings[slot_of(book, symbol, side)].quantity - quantity
    stops = _stops_of(book, symbol, side)
    while stops and sum(stop.quantity for stop in stops) > room:
        retire(book, stops.pop(0), OrderState.CANCELLED, NO_FILL)


def _whole(value: Decimal, step: Decimal) -> bool:
    return value > ZERO and on_step(value, step)


def _no_position(action: Action) -> Refused:
    return Refused(
        "-2022", f"ReduceOnly order is rejected: no {action.side} position in {action.symbol}."
    )


def _off_tick(price: Price, tick: Price) -> Refused:
    return Refused("-4014", f"Price must be a positive multiple of {tick}, was {price}.")


def _off_step(quantity: Quantity, step: Quantity) -> Refused:
    return Refused("-4003", f"Quantity must be a positive multiple of {step}, was {quantity}.")
