"""More of an open position: what it costs, and the price that it then was entered at."""

from decimal import Decimal

from bot.core.model import ContractKind, Instrument, MarginMode, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper import arithmetic, joint
from bot.exchange.paper.books import NOTHING, Books, Holding, slot_of


def grow_position(
    books: Books,
    account: str,
    symbol: str,
    side: Side,
    quantity: Quantity,
    *,
    price: Price,
    entry_fee: Ratio,
) -> None:
    """
    Add to a position at `price`, on the terms that it was opened on.

    The entry price becomes the one at which all of it would have been worth what it was worth at
    entry. Raises `ValueError` where the tier of the whole or the free money forbids it.
    """
    book = books.accounts[account]
    instrument = books.instruments[symbol]
    slot = slot_of(book, symbol, side)
    held, where = book.holdings[slot], f"grow {symbol} {side} for {account}"
    whole = Quantity(held.quantity + quantity)
    tier = arithmetic.tier_held(instrument, whole, price, price)
    if held.leverage > tier.leverage_max:
        raise ValueError(
            f"{where}: expected leverage up to {tier.leverage_max} for {whole}, "
            f"was {held.leverage}"
        )
    worth = arithmetic.value(instrument, quantity, price)
    margin = arithmetic.money_up(worth / held.leverage)
    fee = arithmetic.money_up(worth * entry_fee)
    is_isolated = held.margin_mode is MarginMode.ISOLATED
    free = joint.free(books, book) if is_isolated else joint.available(books, book)
    if margin + fee > free:
        raise ValueError(f"{where}: expected free money of {margin + fee}, was {free}")
    bound = margin if is_isolated else NOTHING
    book.wallet = Money(book.wallet - bound - fee)
    books.fees = Money(books.fees + fee)
    book.holdings[slot] = Holding(
        symbol,
        side,
        whole,
        _average(instrument, held, quantity, price),
        held.margin_mode,
        Money(held.margin + bound),
        held.leverage,
    )


def _average(instrument: Instrument, held: Holding, quantity: Quantity, price: Price) -> Price:
    whole: Decimal = held.quantity + quantity
    match instrument.kind:
        case ContractKind.LINEAR:
            return Price((held.quantity * held.entry_price + quantity * price) / whole)
        case ContractKind.INVERSE:
            return Price(whole / (held.quantity / held.entry_price + quantity / price))
