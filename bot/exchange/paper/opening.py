"""Where a position comes from, and where it would end."""

from dataclasses import dataclass
from decimal import Decimal

from bot.core.model import MarginMode, Side
from bot.core.units import ZERO, Money, Price, Quantity, Ratio
from bot.exchange.paper import arithmetic, joint
from bot.exchange.paper.books import NOTHING, AccountBook, Books, Holding, slot_of
from bot.exchange.paper.levels import Levels


@dataclass(frozen=True, slots=True)
class Wanted:
    """A position to open at `price`. `entry_fee` is a share of its notional."""

    symbol: str
    side: Side
    quantity: Quantity
    price: Price
    leverage: Decimal
    entry_fee: Ratio
    margin_mode: MarginMode


def open_position(books: Books, levels: Levels, account: str, wanted: Wanted) -> None:
    """Open a position at the present prices; raises `ValueError` when it is forbidden."""
    book, symbol, side = books.accounts[account], wanted.symbol, wanted.side
    quantity, leverage, price = wanted.quantity, wanted.leverage, wanted.price
    instrument, quote = books.instruments[symbol], books.quotes[symbol]
    slot, where = slot_of(book, symbol, side), f"open {symbol} {side} for {account}"
    if symbol in books.ended:
        raise ValueError(f"{where}: expected a listed contract, has ended")
    if slot in book.holdings:
        raise ValueError(f"{where}: expected no position, was {book.holdings[slot].side}")
    step, least = instrument.quantity_step, instrument.quantity_min
    if quantity < least or not arithmetic.on_step(quantity, step):
        raise ValueError(
            f"{where}: expected a quantity from {least} in steps of {step}, was {quantity}"
        )
    notional = arithmetic.value(instrument, quantity, price)
    tier = arithmetic.tier_held(instrument, quantity, price, price)
    if not ZERO < leverage <= tier.leverage_max:
        raise ValueError(
            f"{where}: expected leverage up to {tier.leverage_max} for a notional of "
            f"{notional}, was {leverage}"
        )
    margin = arithmetic.money_up(notional / leverage)
    fee = arithmetic.money_up(notional * wanted.entry_fee)
    is_isolated = wanted.margin_mode is MarginMode.ISOLATED
    free = joint.free(books, book) if is_isolated else joint.available(books, book)
    if margin + fee > free:
        raise ValueError(
            f"{where}: expected free money of {margin + fee} for margin and fee, was {free}"
        )
    bound = margin if is_isolated else NOTHING
    held = Holding(symbol, side, quantity, price, wanted.margin_mode, bound, leverage)
    wallet = Money(book.wallet - fee)
    if not _is_clear(books, book, held, wallet):
        level = level_of(books, levels, account, held, wallet)
        raise ValueError(
            f"{where}: expected a mark price clear of the liquidation price {level}, "
            f"was {quote.mark}"
        )
    book.wallet = Money(book.wallet - bound - fee)
    books.fees = Money(books.fees + fee)
    book.holdings[slot] = held


def level_of(books: Books, levels: Levels, account: str, held: Holding, wallet: Money) -> Decimal:
    """
    Where a position, open or about to be, is liquidated if no other mark moves; unrounded.

    `wallet` is what then backs it where it is a cross one.
    """
    book = books.accounts[account]
    match held.margin_mode:
        case MarginMode.ISOLATED:
            slot = slot_of(book, held.symbol, held.side)
            return levels.of(books, account, slot, held)
        case MarginMode.CROSS:
            others = [each for each in joint.cross(book).values() if each is not held]
            return joint.displayed_price(books, book, (*others, held), wallet, held)


def _is_clear(books: Books, book: AccountBook, held: Holding, wallet: Money) -> bool:
    """Whether the position, and what would be liquidated with it, is safe at the marks."""
    match held.margin_mode:
        case MarginMode.ISOLATED:
            backing, together = Decimal(held.margin), [held]
        case MarginMode.CROSS:
            backing = wallet + joint.pledged(books, book)
            together = [*joint.cross(book).values(), held]
    return joint.spare(backing, joint.legs_of(books, book.mode, together), books.quotes) > ZERO
