"""How an account trades a symbol, whether it holds it or not."""

from bot.core.model import MarginMode
from bot.exchange.paper.books import LEVERAGE_AT_FIRST, AccountBook, Books, Holding, Settings


def settings_of(books: Books, book: AccountBook, symbol: str) -> Settings:
    """
    A position's own terms where there is one, what the account has set, or the venue's first.

    The venue begins with cross margin at twentyfold leverage, or at the most that the contract
    allows.
    """
    for held in held_in(book, symbol):
        return Settings(held.leverage, held.margin_mode)
    most = books.instruments[symbol].tiers[0].leverage_max
    at_first = Settings(min(LEVERAGE_AT_FIRST, most), MarginMode.CROSS)
    return book.settings.get(symbol, at_first)


def held_in(book: AccountBook, symbol: str) -> list[Holding]:
    """The account's positions in a contract: at most one, in hedge mode at most two."""
    return [held for held in book.holdings.values() if held.symbol == symbol]
