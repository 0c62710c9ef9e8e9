"""Liquidation prices of isolated positions, each worked out once: prices move more often."""

from decimal import Decimal

from bot.exchange.paper import arithmetic
from bot.exchange.paper.books import Books, Holding


class Levels:
    """What `arithmetic.liquidation_price` says of the holdings that it was asked of last."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[tuple[str, str], tuple[Holding, Decimal]] = {}

    def of(self, books: Books, account: str, symbol: str, held: Holding) -> Decimal:
        """The mark price at which an isolated holding is liquidated, unrounded."""
        known = self._known.get((account, symbol))
        # A holding is never changed, only replaced: the same one has the same level.
        if known is not None and known[0] is held:
            return known[1]
        level = arithmetic.liquidation_price(
            books.instruments[symbol], held.side, held.quantity, held.entry_price, held.margin
        )
        self._known[account, symbol] = held, level
        return level
