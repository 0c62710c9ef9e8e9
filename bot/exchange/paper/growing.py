"""More of an open position: what it costs, and the price that it then was entered at."""

from bot.core.model import ContractKind, MarginMode, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper import arithmetic, joint
from bot.exchange.paper.books import NOTHING, Books, Holding, slot_of


def grow_position(
    books: Books, account: str, symbol: str, side: Side, quantity: Quantity, entry_fee: Ratio
) -> None:
    """
    Add to a position at the last price, on the terms that it was opened on.

    The entry price becomes the average by quantity, as linear contracts are settled. Raises
    `ValueError` where the tier of the whole or the free money forbids it.
    """
    book = books.accounts[account]
    instrument, last = books.instruments[symbol], books.quotes[symbol].last
    slot = slot_of(book, symbol, side)
    held, where = book.holdings[slot], f"grow {symbol} {side} for {account}"
    if instrument.kind is not ContractKind.LINEAR:
        raise ValueError(f"{where}: expected a linear contract, was {instrument.kind}")
    whole = Quantity(held.quantity + quantity)
    tier = arithmetic.tier_held(instrument, whole, last, last)
    if held.leverage > tier.leverage_max:
        raise ValueError(
            f"{where}: expected leverage up to {tier.leverage_max} for {whole}, "
            f"was {held.leverage}"
        )
    margin = arithmetic.money_up(quantity * last / held.leverage)
    fee = arithmetic.money_up(quantity * last * entry_fee)
    is_isolated = held.margin_mode is MarginMode.ISOLATED
    free = joint.free(books, book) if is_isolated else joint.available(books, book)
    if margin + fee > free:
        raise ValueError(f"{where}: expected free money of {margin + fee}, was {free}")
    bound = margin if is_isolated else NOTHING
    entry_price = Price((held.quantity * held.entry_price + quantity * last) / whole)
    book.wallet = Money(book.wallet - bound - fee)
    books.fees = Money(books.fees + fee)
    book.holdings[slot] = Holding(
        symbol,
        side,
        whole,
        entry_price,
        held.margin_mode,
        Money(held.margin + bound),
        held.leverage,
    )
