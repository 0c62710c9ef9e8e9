"""
What it costs when a position gets smaller at its holder's wish, and what its funding costs.

Money that leaves an account is booked on the other side in the same breath, so that nothing is
created or lost.
"""

from dataclasses import replace

from bot.core.model import Fill, MarginMode, MarginOnReduce, Side
from bot.core.units import ZERO, Money, Price, Quantity
from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import (
    NO_ORDER,
    NOTHING,
    AccountBook,
    Books,
    Cause,
    Ended,
    FundingPaid,
    OrderState,
    Realised,
    slot_of,
)
from bot.exchange.paper.joint import cross
from bot.exchange.paper.orders import sent_by
from bot.exchange.paper.trading import fill


def holds(book: AccountBook, symbol: str, side: Side) -> bool:
    """Whether the account has an open position of that side."""
    held = book.holdings.get(slot_of(book, symbol, side))
    return held is not None and held.side is side


def reduce(
    books: Books, book: AccountBook, slot: str, quantity: Quantity, cause: Cause, client_id: str
) -> Fill:
    """Close `quantity`, which there is, of the position at market; what was filled."""
    held = book.holdings[slot]
    filled = fill(books, held.symbol, held.side, quantity)
    fee = fee_of(books, held.symbol, filled)
    close_at(books, book, slot, filled, fee=fee, cause=cause, client_id=client_id)
    return filled


def fee_of(books: Books, symbol: str, filled: Fill) -> Money:
    """The taker's fee of a fill, rounded up. Nobody trades for less here, makers neither."""
    instrument = books.instruments[symbol]
    worth = arithmetic.value(instrument, filled.quantity, filled.price)
    return arithmetic.money_up(worth * instrument.taker_fee)


def close_at(
    books: Books,
    book: AccountBook,
    slot: str,
    filled: Fill,
    *,
    fee: Money,
    cause: Cause,
    client_id: str = NO_ORDER,
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
    book.history.append(
        Realised(
            books.at_ms,
            client_id,
            held.symbol,
            held.side,
            closed,
            price,
            profit,
            fee,
            shortfall,
            cause=cause,
        )
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
    book.history.append(FundingPaid(books.at_ms, held.symbol, held.side, amount, rate))


def end(books: Books, symbol: str, price: Price) -> list[str]:
    """
    End a contract: every position is closed at `price` without a fee, every order cancelled.

    The accounts that this concerns, in the order of their opening.
    """
    touched = []
    for account, book in books.accounts.items():
        slots = [slot for slot, held in book.holdings.items() if held.symbol == symbol]
        orders = orders_in(book, symbol)
        for client_id in orders:
            end_order(books, book, client_id, OrderState.CANCELLED)
        for slot in slots:
            whole = Fill(book.holdings[slot].quantity, price)
            close_at(books, book, slot, whole, fee=NOTHING, cause=Cause.SETTLEMENT)
        if slots or orders:
            touched.append(account)
    books.terms.pop(symbol, None)
    books.ended.append(symbol)
    return touched


def orders_in(book: AccountBook, symbol: str) -> list[str]:
    """The client ids of the orders that wait in a contract."""
    return [name for name, each in book.open_orders.items() if sent_by(each).symbol == symbol]


def end_order(books: Books, book: AccountBook, client_id: str, state: OrderState) -> None:
    """Take an order off the book, if it is there, and record what became of it."""
    book.open_orders.pop(client_id, None)
    book.orders[client_id] = replace(book.orders[client_id], state=state)
    book.history.append(Ended(books.at_ms, client_id, state))


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
