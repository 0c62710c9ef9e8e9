"""
What it costs when a position gets smaller: reductions and liquidations, at the present prices.

Money that leaves an account is booked on the other side in the same breath, so that nothing is
created or lost.
"""

from dataclasses import replace

from bot.core.events import Liquidated
from bot.core.model import NO_FILL, Fill, Filled, MarginMode, MarginOnReduce, Side, StopOrder
from bot.core.units import ZERO, Money, Quantity
from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import (
    NOTHING,
    AccountBook,
    Books,
    Cause,
    FundingPaid,
    Holding,
    OrderRecord,
    OrderState,
    Realised,
)
from bot.exchange.paper.joint import cross
from bot.exchange.paper.trading import fill


def holds(book: AccountBook, symbol: str, side: Side) -> bool:
    """Whether the account has an open position of that side."""
    return symbol in book.holdings and book.holdings[symbol].side is side


def reduce(books: Books, book: AccountBook, symbol: str, quantity: Quantity, cause: Cause) -> Fill:
    """
    Close up to `quantity` of the position at market; what was filled.

    The taker fee is rounded up.
    """
    instrument, held = books.instruments[symbol], book.holdings[symbol]
    closed = Quantity(min(quantity, held.quantity))
    filled = fill(books, symbol, held.side, closed)
    price = filled.price
    profit = arithmetic.profit(held.side, closed, held.entry_price, price)
    fee = arithmetic.money_up(closed * price * instrument.taker_fee)
    match held.margin_mode:
        case MarginMode.ISOLATED:
            rule = instrument.rules.margin_on_reduce
            shortfall = _pay_out(book, symbol, closed, Money(profit - fee), rule)
        case MarginMode.CROSS:
            shortfall = _settle_with_wallet(book, symbol, closed, Money(profit - fee))
    books.market = Money(books.market - profit)
    books.fees = Money(books.fees + fee)
    books.insurance_fund = Money(books.insurance_fund - shortfall)
    book.realised.append(
        Realised(books.at_ms, symbol, held.side, closed, price, profit, fee, shortfall, cause)
    )
    return filled


def pay_funding(books: Books, book: AccountBook, symbol: str) -> None:
    """
    Settle the announced funding of a position that is open now, at the present mark price.

    An isolated position pays with its margin, a cross one with the wallet. The other side is
    everybody else, whether or not another account here holds it.
    """
    held, rate = book.holdings[symbol], books.terms[symbol].rate
    mark = books.quotes[symbol].mark
    amount = arithmetic.funding_payment(held.side, held.quantity, mark, rate)
    match held.margin_mode:
        case MarginMode.ISOLATED:
            book.holdings[symbol] = replace(held, margin=Money(held.margin - amount))
        case MarginMode.CROSS:
            book.wallet = Money(book.wallet - amount)
    books.market = Money(books.market + amount)
    book.funding.append(FundingPaid(books.at_ms, symbol, held.side, amount, rate))


def take_over(books: Books, book: AccountBook, symbol: str) -> Liquidated:
    """
    Liquidate an isolated position: the account loses it and its margin, at the bankruptcy price.

    The engine fills the position at market, free of fees. What
    that is better than the bankruptcy price the insurance fund gains, what it is worse the fund
    pays. In this version the fund may go below zero; there is no auto-deleveraging. All stops
    of the symbol are cancelled. The event's price is the mark price of that moment, to the tick
    as reported liquidation prices are.
    """
    held = book.holdings[symbol]
    profit = _fill_by_engine(books, symbol, held)
    books.insurance_fund = Money(books.insurance_fund + held.margin + profit)
    for stop in [stop for stop in book.stops.values() if stop.symbol == symbol]:
        retire(book, stop, OrderState.CANCELLED, NO_FILL)
    return _lose(books, book, symbol, held.margin)


def take_over_cross(books: Books, book: AccountBook) -> list[Liquidated]:
    """
    Liquidate an account's whole cross book: it loses all cross positions and its wallet.

    First every resting stop of the account is cancelled, those of isolated positions too; the
    positions themselves live on. Then the engine fills all cross positions as in `take_over`, and
    the insurance fund gains or pays what that leaves of the wallet.
    """
    for stop in list(book.stops.values()):
        retire(book, stop, OrderState.CANCELLED, NO_FILL)
    lost, held = _shared_loss(books, book), cross(book)
    profit = sum((_fill_by_engine(books, *each) for each in held.items()), ZERO)
    books.insurance_fund = Money(books.insurance_fund + book.wallet + profit)
    book.wallet = NOTHING
    return [_lose(books, book, symbol, loss) for symbol, loss in lost]


def _shared_loss(books: Books, book: AccountBook) -> list[tuple[str, Money]]:
    """What each cross position loses of the wallet, which is all of it, in order of symbols."""
    profits, notionals = {}, {}
    for symbol, held in sorted(cross(book).items()):
        mark = books.quotes[symbol].mark
        profits[symbol] = arithmetic.profit(held.side, held.quantity, held.entry_price, mark)
        notionals[symbol] = held.quantity * mark
    equity, whole = book.wallet + sum(profits.values()), sum(notionals.values())
    *others, final = profits
    losses = {
        symbol: Money(arithmetic.money_down(equity * notionals[symbol] / whole) - profits[symbol])
        for symbol in others
    }
    losses[final] = Money(book.wallet - sum(losses.values()))
    return list(losses.items())


def _fill_by_engine(books: Books, symbol: str, held: Holding) -> Money:
    """The profit that the liquidation engine's fill makes for whoever stood behind it."""
    price = fill(books, symbol, held.side, held.quantity).price
    profit = arithmetic.profit(held.side, held.quantity, held.entry_price, price)
    books.market = Money(books.market - profit)
    return profit


def _lose(books: Books, book: AccountBook, symbol: str, loss: Money) -> Liquidated:
    """Take the position off the account, which loses `loss` by it."""
    held = book.holdings.pop(symbol)
    book.realised.append(
        Realised(
            books.at_ms,
            symbol,
            held.side,
            held.quantity,
            arithmetic.bankruptcy_price(held.side, held.quantity, held.entry_price, loss),
            profit=Money(-loss),
            fee=NOTHING,
            shortfall=NOTHING,
            cause=Cause.LIQUIDATION,
        )
    )
    mark = books.quotes[symbol].mark
    shown = arithmetic.reported_price(books.instruments[symbol], held.side, mark)
    return Liquidated(symbol, held.side, shown, books.at_ms)


def retire(book: AccountBook, stop: StopOrder, state: OrderState, filled: Filled) -> None:
    """Take a stop off the book and record what became of it."""
    del book.stops[stop.client_id]
    book.orders[stop.client_id] = OrderRecord(stop.symbol, state, filled)


def _pay_out(
    book: AccountBook, symbol: str, closed: Quantity, gain: Money, rule: MarginOnReduce
) -> Money:
    """
    Reduce an isolated position by what was closed with `gain`; the shortfall.

    Margin that the rule releases (rounded down) and the gain go to the wallet. What a loss is
    more than that, money of the wallet pays only where no margin is released; then the margin
    that stays, and then the insurance fund. So on release pro rata, and at the last close, an
    isolated position never costs more than its margin.
    """
    held = book.holdings[symbol]
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
    _shrink(book, symbol, closed, Money(staying - from_staying))
    return Money(missing - from_staying)


def _settle_with_wallet(book: AccountBook, symbol: str, closed: Quantity, gain: Money) -> Money:
    """
    Reduce a cross position by what was closed with `gain`, which the wallet gets; the shortfall.

    A wallet may owe while other cross positions back it. When none is left, what it owes the
    insurance fund has to pay.
    """
    book.wallet = Money(book.wallet + gain)
    _shrink(book, symbol, closed, NOTHING)
    if cross(book):
        return NOTHING
    owed = Money(max(-book.wallet, ZERO))
    book.wallet = Money(book.wallet + owed)
    return owed


def _shrink(book: AccountBook, symbol: str, closed: Quantity, margin: Money) -> None:
    held = book.holdings[symbol]
    if closed == held.quantity:
        del book.holdings[symbol]
    else:
        left = Quantity(held.quantity - closed)
        book.holdings[symbol] = replace(held, quantity=left, margin=margin)
