"""Where positions are liquidated, worked out once for each: prices move more often."""

from decimal import Decimal
from operator import is_not

from bot.core.model import MarginMode
from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import AccountBook, Books, Holding
from bot.exchange.paper.joint import backing_coins
from bot.exchange.paper.tracks import Tracks, tracks_of


class Levels:
    """What was worked out of the holdings that were asked of last."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[tuple[str, str], tuple[Holding, Decimal]] = {}
        self._crossed: dict[str, tuple[list[Holding], dict[str, Decimal], Tracks]] = {}

    def of(self, books: Books, account: str, slot: str, held: Holding) -> Decimal:
        """The mark price at which an isolated holding is liquidated, unrounded."""
        known = self._known.get((account, slot))
        # A holding is never changed, only replaced: the same one has the same level.
        if known is not None and known[0] is held:
            return known[1]
        level = arithmetic.liquidation_price(
            books.instruments[held.symbol],
            held.side,
            held.quantity,
            held.entry_price,
            held.margin,
        )
        self._known[account, slot] = held, level
        return level

    def tracks(self, books: Books, account: str, book: AccountBook) -> Tracks:
        """The cross positions of an account, which are liquidated together."""
        holdings = [h for h in book.holdings.values() if h.margin_mode is MarginMode.CROSS]
        if not holdings:
            return []
        before, coins, tracks = self._crossed.get(account, ([], {}, []))
        backing = backing_coins(book)
        # As above: the same holdings are liquidated at the same place.
        if len(before) != len(holdings) or any(map(is_not, before, holdings)) or coins != backing:
            tracks = tracks_of(books, book)
            self._crossed[account] = holdings, backing.copy(), tracks
        return tracks
