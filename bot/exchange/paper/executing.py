"""
What orders get when their time comes, and what becomes of the rest of them.

What closes a position trades at the last price worsened by the slippage, and through the book
where there is one; what opens one, at the last price. What rests in the book trades at its limit,
whole. All pay the taker's fee. An order closes what is against it before it opens anything.
"""

from dataclasses import replace
from typing import assert_never

from bot.core.actions import AT_MARKET, AtMarket, Bound, NoWorseThan
from bot.core.model import Fill, Filled, MarginMode, NoFill
from bot.core.units import ZERO, Price, Quantity
from bot.exchange.paper import arithmetic, joint
from bot.exchange.paper.books import (
    AccountBook,
    Books,
    Cause,
    Entered,
    OrderState,
    Resting,
    Triggered,
    slot_of,
)
from bot.exchange.paper.growing import grow_position
from bot.exchange.paper.levels import Levels
from bot.exchange.paper.opening import Wanted, open_position
from bot.exchange.paper.orders import (
    CloseAll,
    Conditional,
    Direction,
    Effect,
    Limit,
    Order,
    Passage,
    RestingLimit,
    TimeInForce,
    has_passed,
    is_reducing,
    sent_by,
)
from bot.exchange.paper.settings import settings_of
from bot.exchange.paper.settling import close_at, end_order, fee_of, holds, reduce
from bot.exchange.paper.trading import available
from bot.exchange.ports import Accepted, Refused

NO_QUANTITY = Quantity(ZERO)


def held_against(book: AccountBook, order: Order | CloseAll) -> Quantity:
    """How much an order would close, were it large enough."""
    side = order.direction.closes
    if (isinstance(order, Order) and order.effect is Effect.OPEN) or not holds(
        book, order.symbol, side
    ):
        return NO_QUANTITY
    return book.holdings[slot_of(book, order.symbol, side)].quantity


def admit(books: Books, book: AccountBook, order: Order) -> Accepted | Refused:
    """Whether the positions, the orders that rest and the free money allow an order."""
    against = held_against(book, order)
    if order.effect is Effect.REDUCE:
        if not against:
            return no_position(order)
        reserved = _reserved(books, book, order)
        if reserved and reserved + min(order.quantity, against) > against:
            return Refused(
                "-4118",
                "ReduceOnly order failed: check your existing position and open orders.",
            )
    elif isinstance(reply := _admit_opening(books, book, order, against), Refused):
        return reply
    match order.pricing:
        case Limit(time_in_force=TimeInForce.GTX) if _is_good_enough(books, order):
            return Refused("-5022", "A post-only order would be filled at once.")
        case _:
            return Accepted()


def no_position(order: Order | CloseAll) -> Refused:
    """The refusal of an order that could only reduce, where nothing is to be reduced."""
    side = order.direction.closes
    return Refused("-2022", f"ReduceOnly order is rejected: no {side} position in {order.symbol}.")


def trade(
    books: Books,
    levels: Levels,
    account: str,
    client_id: str,
    order: Order,
    cause: Cause = Cause.CLOSE,
) -> None:
    """Fill what can be had now of an order that was admitted; the rest waits, or is over."""
    book = books.accounts[account]
    there = _available(books, book, order)
    closing = min(there, held_against(book, order))
    left = Quantity(order.quantity - there)
    if closing:
        slot = slot_of(book, order.symbol, order.direction.closes)
        fill = reduce(books, book, slot, Quantity(closing), cause, client_id)
        add_fill(book, client_id, fill)
    if opening := Quantity(there - closing):
        last = books.quotes[order.symbol].last
        if not _enter(books, levels, account, client_id, order, Fill(opening, last)):
            end_order(books, book, client_id, OrderState.EXPIRED)
            return
    if not left:
        end_order(books, book, client_id, OrderState.FILLED)
    elif _may_wait(book, order):
        _rest(books, book, client_id, replace(order, quantity=left))
    else:
        end_order(books, book, client_id, OrderState.EXPIRED)


def fill_resting(books: Books, levels: Levels, account: str, resting: RestingLimit) -> None:
    """Fill a limit order that the last price has come to, at its own price."""
    book, order, client_id = books.accounts[account], resting.left, resting.client_id
    del book.open_orders[client_id]
    closing = Quantity(min(order.quantity, held_against(book, order)))
    if closing:
        slot = slot_of(book, order.symbol, order.direction.closes)
        fill = Fill(closing, resting.price)
        fee = fee_of(books, order.symbol, fill)
        close_at(books, book, slot, fill, fee=fee, cause=Cause.CLOSE, client_id=client_id)
        add_fill(book, client_id, fill)
    rest = Quantity(order.quantity - closing)
    is_filled = not rest or (
        order.effect is not Effect.REDUCE
        and _enter(books, levels, account, client_id, order, Fill(rest, resting.price))
    )
    end_order(books, book, client_id, OrderState.FILLED if is_filled else OrderState.EXPIRED)


def trigger(books: Books, levels: Levels, account: str, waiting: Conditional) -> None:
    """Send what a conditional order has waited for: no more of a position than there is then."""
    book, client_id = books.accounts[account], waiting.client_id
    del book.open_orders[client_id]
    order = _sent(book, waiting.sends)
    if order.effect is Effect.REDUCE and not order.quantity:
        end_order(books, book, client_id, OrderState.EXPIRED)
        return
    book.history.append(Triggered(books.at_ms, client_id, order.quantity))
    # One that reduces is not held back by what else rests for its position.
    if order.effect is not Effect.REDUCE and isinstance(admit(books, book, order), Refused):
        end_order(books, book, client_id, OrderState.REJECTED)
        return
    trade(books, levels, account, client_id, order, Cause.STOP)


def displace(books: Books, book: AccountBook, order: Order) -> None:
    """Cancel the oldest that reduce, until what rests and `order` are no more than there is."""
    room = held_against(book, order) - order.quantity
    rivals = _rivals(book, order)
    while rivals and sum(_size(book, rivals[each]) for each in rivals) > room:
        oldest = next(iter(rivals))
        del rivals[oldest]
        end_order(books, book, oldest, OrderState.CANCELLED)


def add_fill(book: AccountBook, client_id: str, fill: Fill) -> None:
    """Count a fill towards what an order has filled."""
    record = book.orders[client_id]
    book.orders[client_id] = replace(record, filled=_sum(record.filled, fill))


def _sum(before: Filled, fill: Fill) -> Fill:
    match before:
        case NoFill():
            return fill
        case Fill(quantity, price):
            whole = Quantity(quantity + fill.quantity)
            paid = quantity * price + fill.quantity * fill.price
            return Fill(whole, Price(paid / whole))


def _sent(book: AccountBook, sends: Order | CloseAll) -> Order:
    against = held_against(book, sends)
    match sends:
        case CloseAll(symbol, direction):
            return Order(symbol, direction, Effect.REDUCE, against, AT_MARKET)
        case Order(effect=Effect.REDUCE, quantity=quantity):
            return replace(sends, quantity=Quantity(min(quantity, against)))
        case Order():
            return sends


def _available(books: Books, book: AccountBook, order: Order) -> Quantity:
    """What of an order could trade now, in the order's own terms."""
    against = min(order.quantity, held_against(book, order))
    there = min(against, available(books, order.symbol, order.direction.closes, _bound(order)))
    if there == against and order.effect is not Effect.REDUCE and _is_good_enough(books, order):
        there = order.quantity
    is_whole_or_nothing = (
        isinstance(order.pricing, Limit) and order.pricing.time_in_force is TimeInForce.FOK
    )
    if is_whole_or_nothing and there < order.quantity:
        return NO_QUANTITY
    return Quantity(there)


def _bound(order: Order) -> Bound:
    match order.pricing:
        case AtMarket():
            return AT_MARKET
        case Limit(price):
            return NoWorseThan(price)


def _is_good_enough(books: Books, order: Order) -> bool:
    """Whether the last price is within the order's limit."""
    match order.pricing:
        case AtMarket():
            return True
        case Limit(price):
            return has_passed(towards(order), books.quotes[order.symbol].last, price)
        case _:
            assert_never(order.pricing)


def towards(order: Order) -> Passage:
    """The way of the last price that fills a limit order."""
    return Passage.FALLS if order.direction is Direction.BUY else Passage.RISES


def _may_wait(book: AccountBook, order: Order) -> bool:
    return (
        isinstance(order.pricing, Limit)
        and order.pricing.time_in_force.waits
        and (order.effect is not Effect.REDUCE or held_against(book, order) > ZERO)
    )


def _rest(books: Books, book: AccountBook, client_id: str, left: Order) -> None:
    """Put what is left of a limit order into the book."""
    match left.pricing:
        case AtMarket():
            raise ValueError(f"{client_id}: expected a limit order, was one at market")
        case Limit(price):
            level, last = price, books.quotes[left.symbol].last
            if _is_good_enough(books, left):
                tick = books.instruments[left.symbol].tick_size
                step = -tick if towards(left) is Passage.FALLS else tick
                level = Price(last + step)
            book.open_orders[client_id] = RestingLimit(client_id, left, price, level)


def _enter(
    books: Books, levels: Levels, account: str, client_id: str, order: Order, fill: Fill
) -> bool:
    """Open a position or make one larger; whether rules and money still allow it."""
    book, symbol, side = books.accounts[account], order.symbol, order.direction.opens
    fee_share = books.instruments[symbol].taker_fee
    settings = settings_of(books, book, symbol)
    try:
        if holds(book, symbol, side):
            grow_position(
                books,
                account,
                symbol,
                side,
                fill.quantity,
                price=fill.price,
                entry_fee=fee_share,
            )
        else:
            wanted = Wanted(
                symbol,
                side,
                fill.quantity,
                fill.price,
                settings.leverage,
                fee_share,
                margin_mode=settings.margin_mode,
            )
            open_position(books, levels, account, wanted)
    except ValueError:
        # Admitted before, and forbidden by what has happened since: it expires, as on venues.
        return False
    fee = fee_of(books, symbol, fill)
    book.history.append(
        Entered(books.at_ms, client_id, symbol, side, fill.quantity, fill.price, fee)
    )
    add_fill(book, client_id, fill)
    return True


def _admit_opening(
    books: Books, book: AccountBook, order: Order, against: Quantity
) -> Accepted | Refused:
    """Whether what an order opens is worth enough, within its tier and paid for."""
    symbol, instrument = order.symbol, books.instruments[order.symbol]
    at = order.pricing.price if isinstance(order.pricing, Limit) else books.quotes[symbol].last
    least = books.limits.notional_min
    if arithmetic.value(instrument, order.quantity, at) < least:
        return Refused(
            "-4164",
            f"Order's notional must be no smaller than {least} (unless you choose reduce only).",
        )
    if order.quantity <= against:
        return Accepted()
    opened, side = Quantity(order.quantity - against), order.direction.opens
    there = NO_QUANTITY
    if holds(book, symbol, side):
        there = book.holdings[slot_of(book, symbol, side)].quantity
    settings = settings_of(books, book, symbol)
    tier = arithmetic.tier_held(instrument, Quantity(opened + there), at, at)
    if settings.leverage > tier.leverage_max:
        return Refused("-2027", "Exceeded the maximum allowable position at current leverage.")
    worth = arithmetic.value(instrument, opened, at)
    needed = arithmetic.money_up(worth / settings.leverage)
    needed = arithmetic.money_up(needed + worth * instrument.taker_fee)
    is_isolated = settings.margin_mode is MarginMode.ISOLATED
    free = joint.free(books, book) if is_isolated else joint.available(books, book)
    if needed > free:
        return Refused("-2019", f"Margin is insufficient: {needed} needed, {free} free.")
    return Accepted()


def _rivals(book: AccountBook, order: Order) -> dict[str, Order | CloseAll]:
    """The orders that rest for the position that `order` would reduce, the oldest first."""
    return {
        name: each
        for name, resting in book.open_orders.items()
        for each in (sent_by(resting),)
        if is_reducing(each) and (each.symbol, each.direction) == (order.symbol, order.direction)
    }


def _size(book: AccountBook, order: Order | CloseAll) -> Quantity:
    return held_against(book, order) if isinstance(order, CloseAll) else order.quantity


def _reserved(books: Books, book: AccountBook, order: Order) -> Quantity:
    """What of the position resting orders keep from another that would reduce it."""
    rivals = _rivals(book, order)
    match books.resting:
        case Resting.DISPLACE:
            return NO_QUANTITY
        case Resting.COEXIST:
            kept = [
                each
                for name, each in rivals.items()
                if isinstance(book.open_orders[name], RestingLimit)
            ]
        case Resting.RESERVE:
            kept = list(rivals.values())
    return Quantity(sum((_size(book, each) for each in kept), ZERO))
