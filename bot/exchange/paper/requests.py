"""
What an account may ask for besides orders, and with which code it is refused.

The codes are Binance's. Time has been advanced and prices met before a request is looked at.
"""

from dataclasses import replace
from decimal import Decimal

from bot.core.actions import AddMargin
from bot.core.model import MarginMode, PositionMode
from bot.core.units import ONE, ZERO, Money
from bot.exchange.paper import arithmetic, joint
from bot.exchange.paper.arithmetic import on_step
from bot.exchange.paper.books import AccountBook, Books, Holding, slot_of
from bot.exchange.paper.orders import sent_by
from bot.exchange.paper.settings import held_in, settings_of
from bot.exchange.paper.settling import holds
from bot.exchange.ports import Accepted, MarginChange, Refused


def add_margin(books: Books, book: AccountBook, action: AddMargin) -> Accepted | Refused:
    """Move free money into a position's margin and record the change."""
    if not holds(book, action.symbol, action.side):
        return Refused("-2022", f"There is no {action.side} position in {action.symbol}.")
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
    book.margin_changes.append(
        MarginChange(action.symbol, action.amount, books.at_ms, (action.side,))
    )
    return Accepted()


def set_position_mode(book: AccountBook, mode: PositionMode) -> Accepted | Refused:
    """Change between one position a symbol and two; only of an account that has nothing open."""
    if mode is book.mode:
        return Refused("-4059", "No need to change position side.")
    if book.open_orders:
        return Refused("-4067", "Position side cannot be changed if there exists open orders.")
    if book.holdings:
        return Refused("-4068", "Position side cannot be changed if there exists position.")
    book.mode = mode
    return Accepted()


def set_margin_mode(
    books: Books, book: AccountBook, symbol: str, mode: MarginMode
) -> Accepted | Refused:
    """Change how what is opened next is backed; only where nothing is open in the contract."""
    settings = settings_of(books, book, symbol)
    if book.counts_coins and books.pledges and mode is MarginMode.ISOLATED:
        return Refused(
            "-4168", "Unable to adjust to isolated-margin mode under the Multi-Assets mode."
        )
    if mode is settings.margin_mode:
        return Refused("-4046", "No need to change margin type.")
    if held_in(book, symbol):
        return Refused("-4048", "Margin type cannot be changed if there exists position.")
    if any(sent_by(each).symbol == symbol for each in book.open_orders.values()):
        return Refused("-4047", "Margin type cannot be changed if there exists open orders.")
    book.settings[symbol] = replace(settings, margin_mode=mode)
    return Accepted()


def set_leverage(
    books: Books, book: AccountBook, symbol: str, leverage: Decimal
) -> Accepted | Refused:
    """
    Change the leverage of a contract: of what is open, and of what is opened next.

    A cross position then binds another amount of the wallet. An isolated one keeps its margin,
    and its leverage cannot be lowered.
    """
    most = books.instruments[symbol].tiers[0].leverage_max
    if leverage != int(leverage) or not ONE <= leverage <= most:
        return Refused("-4028", f"Leverage {leverage} is not valid.")
    more = ZERO
    for held in held_in(book, symbol):
        if isinstance(reply := _check_leverage(books, held, leverage), Refused):
            return reply
        more += _bound(books, held, leverage) - _bound(books, held, held.leverage)
    if more > ZERO and more > joint.available(books, book):
        return Refused("-2028", "Leverage is smaller than permitted: insufficient margin.")
    book.settings[symbol] = replace(settings_of(books, book, symbol), leverage=leverage)
    for held in held_in(book, symbol):
        book.holdings[slot_of(book, symbol, held.side)] = replace(held, leverage=leverage)
    return Accepted()


def set_multi_assets(books: Books, book: AccountBook, counts: bool) -> Accepted | Refused:
    """Let other coins back the cross positions, or not any more."""
    if counts is book.counts_coins:
        return Refused("-4171", "No need to change Multi-Assets Mode.")
    if book.open_orders:
        return Refused("-4170", "Unable to adjust Multi-Assets Mode with open orders.")
    isolated = {
        *(each.margin_mode for each in book.holdings.values()),
        *(each.margin_mode for each in book.settings.values()),
    }
    if counts and MarginMode.ISOLATED in isolated:
        return Refused(
            "-4167",
            "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under "
            "isolated-margin mode.",
        )
    if book.wallet < ZERO:
        return Refused("-4172", "Unable to adjust Multi-Assets Mode with a negative wallet.")
    book.counts_coins = counts
    if not counts and joint.available(books, book) < ZERO:
        book.counts_coins = True
        return Refused("-4169", "Unable to adjust Multi-Assets Mode with insufficient margin.")
    return Accepted()


def withdraw(books: Books, book: AccountBook, amount: Money) -> Accepted | Refused:
    """Let money leave the exchange: no more than is free, so that nothing open is endangered."""
    if amount <= ZERO or not on_step(amount, arithmetic.MONEY_STEP):
        return Refused("-4055", f"Amount must be positive, was {amount}.")
    if amount > (free := joint.free(books, book)):
        return Refused("-5013", f"Asset transfer failed: insufficient balance, {free} is free.")
    book.wallet = Money(book.wallet - amount)
    books.deposited = Money(books.deposited - amount)
    return Accepted()


def _check_leverage(books: Books, held: Holding, leverage: Decimal) -> Accepted | Refused:
    instrument, mark = books.instruments[held.symbol], books.quotes[held.symbol].mark
    tier = arithmetic.tier_held(instrument, held.quantity, held.entry_price, mark)
    if leverage > tier.leverage_max:
        return Refused("-2027", "Exceeded the maximum allowable position at current leverage.")
    if held.margin_mode is MarginMode.ISOLATED and leverage < held.leverage:
        return Refused(
            "-4161", "Leverage reduction is not supported in Isolated Margin Mode with positions."
        )
    return Accepted()


def _bound(books: Books, held: Holding, leverage: Decimal) -> Money:
    """What a position binds of the wallet at that leverage: a cross one its initial margin."""
    if held.margin_mode is MarginMode.ISOLATED:
        return Money(ZERO)
    instrument, mark = books.instruments[held.symbol], books.quotes[held.symbol].mark
    return arithmetic.money_up(arithmetic.value(instrument, held.quantity, mark) / leverage)
