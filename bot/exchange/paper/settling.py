"""
What it costs when a position gets smaller at its holder's wish, and what its funding costs.

Money that leaves an account is booked on the other side in the same breath, so that nothing is
created or lost.
"""

from dataclasses import replace

from bot.core.model import NO_FILL, Fill, Filled, MarginMode, MarginOnReduce, Side, StopOrder
from bot.core.units import ZERO, Money, Price, Quantity
from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import (
    NOTHING,
    AccountBook,
    Books,
    Cause,
    FundingPaid,
    OrderRecord,
    OrderState,
    Realised,
    slot_of,
)
from bot.exchange.paper.joint import cross
from bot.exchange.paper.trading import fill


def holds(book: AccountBook, symbol: str, side: Side) -> bool:
    """Whether the account has an open position of that side."""
    held = book.holdings.get(slot_of(book, symbol, side))
    return held is not None and held.side is side


def reduce(books: Books, book: AccountBook, slot: str, quantity: Quantity, cause: Cause) -> Fill:
    """
    Close up to `quantity` of the position at market; what was filled.

    The taker fee is rounded up.
    """
    held = book.holdings[slot]
    instrument = books.instruments[held.symbol]
    closed = Quantity(min(quantity, held.quantity))
    filled = fill(books, held.symbol, held.side, closed)
    worth = arithmetic.value(instrument, closed, filled.price)
    fee = arithmetic.money_up(worth * instrument.taker_fee)
    close_at(books, book, slot, filled, fee=fee, cause=cause)
    return filled


def close_at(
    books: Books, book: AccountBook, slot: str, filled: Fill, *, fee: Money, cause: Cause
) -> None:
    """Close what was filled of the position, at its price and for `fee`."""
    closed, price = filled.quantity, filled.price
    held = book.holdings[slot]
    instrument = books.instruments[held.symbol]
    profit = arithmetic.profit(instrument, held.side, closed, held.entry_price, price)
    match held.margin_mode:
        case MarginMode.ISOLATED:
            rule = instrument.rules.margin_on_reduce
            shortfall = _pay_out(book, slot, closed, Money(profit - fee), rule)
        case MarginMode.CROSS:
            shortfall = _settle_with_wallet(book, slot, closed, Money(profit - fee))
    books.market = Money(books.market - profit)
    books.fees = Money(books.fees + fee)
    cover(books, shortfall)
    book.realised.append(
        Realised(books.at_ms, held.symbol, held.side, closed, price, profit, fee, shortfall, cause)
    )


def pay_funding(books: Books, book: AccountBook, slot: str) -> None:
    """
    Settle the announced funding of a position that is open now, at the present mark price.

    An isolated position pays with its margin, a cross one with the wallet. The other side is
    everybody else, whether or not another account here holds it.
    """
    held = book.holdings[slot]
    instrument, rate = books.instruments[held.symbol], books.terms[held.symbol].rate
    mark = books.quotes[held.symbol].mark
    amount = arithmetic.funding_payment(instrument, held.side, held.quantity, mark, rate)
    match held.margin_mode:
        case MarginMode.ISOLATED:
            book.holdings[slot] = replace(held, margin=Money(held.margin - amount))
        case MarginMode.CROSS:
            book.wallet = Money(book.wallet - amount)
    books.market = Money(books.market + amount)
    book.funding.append(FundingPaid(books.at_ms, held.symbol, held.side, amount, rate))


def end(books: Books, symbol: str, price: Price) -> list[str]:
    """
    End a contract: every position is closed at `price` without a fee, every order cancelled.

    The accounts that this concerns, in the order of their opening.
    """
    touched = []
    for account, book in books.accounts.items():
        slots = [slot for slot, held in book.holdings.items() if held.symbol == symbol]
        stops = [stop for stop in book.stops.values() if stop.symbol == symbol]
        for stop in stops:
            retire(book, stop, OrderState.CANCELLED, NO_FILL)
        for slot in slots:
            whole = Fill(book.holdings[slot].quantity, price)
            close_at(books, book, slot, whole, fee=NOTHING, cause=Cause.SETTLEMENT)
        if slots or stops:
            touched.append(account)
    books.terms.pop(symbol, None)
    books.ended.append(symbol)
    return touched


def retire(book: AccountBook, stop: StopOrder, state: OrderState, filled: Filled) -> None:
    """Take a stop off the book and record what became of it."""
    del book.stops[stop.client_id]
    book.orders[stop.client_id] = OrderRecord(stop.symbol, state, filled)


def cover(books: Books, owed: Money) -> None:
    """
    Pay what an account cannot: out of the insurance fund, and beyond it out of others' profits.

    Those others are nobody in particular, as venues do not deleverage for a close.
    """
    paid = min(owed, books.insurance_fund)
    books.insurance_fund = Money(books.insurance_fund - paid)
    books.market = Money(books.market - (owed - paid))


def shrink(book: AccountBook, slot: str, closed: Quantity, margin: Money) -> None:
    """Leave the position without what was closed and with `margin`, or leave none."""
    held = book.holdings[slot]
    if closed == held.quantity:
        del book.holdings[slot]
    else:
        left = Quantity(held.quantity - closed)
        book.holdings[slot] = replace(held, quantity=left, margin=margin)


def _pay_out(
    book: AccountBook, slot: str, closed: Quantity, gain: Money, rule: MarginOnReduce
) -> Money:
    """
    Reduce an isolated position by what was closed with `gain`; the shortfall.

    Margin that the rule releases (rounded down) and the gain go to the wallet. What a loss is
    more than that, money of the wallet pays only where no margin is released; then the margin
    that stays, and then the insurance fund. So on release pro rata, and at the last close, an
    isolated position never costs more than its margin.
    """
    held = book.holdings[slot]
    if closed == held.quantity:
        released, in_wallet = held.margin, NOTHING
    else:
        match rule:
            case MarginOnReduce.PRO_RATA:
                released = arithmetic.money_down(held.margin * closed / held.quantity)
                in_wallet = NOTHING
            case MarginOnReduce.RETAINED:
                released, in_wallet = NOTHING, Money(max(book.wallet, NOTHING))
    payout, staying = released + gain, held.margin - released
    missing = max(-payout - in_wallet, ZERO)
    from_staying = min(missing, max(staying, ZERO))
    book.wallet = Money(book.wallet + payout + missing)
    shrink(book, slot, closed, Money(staying - from_staying))
    return Money(missing - from_staying)


def _settle_with_wallet(book: AccountBook, slot: str, closed: Quantity, gain: Money) -> Money:
    """
    Reduce a cross position by what was closed with `gain`, which the wallet gets; the shortfall.

    A wallet may owe while other cross positions back it. When none is left, what it owes the
    insurance fund has to pay.
    """
    book.wallet = Money(book.wallet + gain)
    shrink(book, slot, closed, NOTHING)
    if cross(book):
        return NOTHING
    owed = Money(max(-book.wallet, ZERO))
    book.wallet = Money(book.wallet + owed)
    return owed
