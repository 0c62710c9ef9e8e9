"""How an account wants to trade: leverage and margin mode of each symbol, and its modes."""

from dataclasses import dataclass, field
from decimal import Decimal

from bot.core.model import MarginMode

LEVERAGE_AT_FIRST = Decimal(20)


@dataclass(slots=True)
class TradingTerms:
    """Cross margin at twentyfold leverage until the account says otherwise, as on the venue."""

    _leverages: dict[str, Decimal] = field(default_factory=dict)
    _modes: dict[str, MarginMode] = field(default_factory=dict)
    multi_assets: bool = False

    def leverage(self, symbol: str) -> Decimal:
        """The leverage of what is opened next."""
        return self._leverages.get(symbol, LEVERAGE_AT_FIRST)

    def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        """Change it."""
        self._leverages[symbol] = leverage

    def margin_mode(self, symbol: str) -> MarginMode:
        """The margin mode of what is opened next."""
        return self._modes.get(symbol, MarginMode.CROSS)

    def set_margin_mode(self, symbol: str, mode: MarginMode) -> None:
        """Change it."""
        self._modes[symbol] = mode

    @property
    def any_isolated(self) -> bool:
        """Whether some symbol is set to isolated margin."""
        return MarginMode.ISOLATED in self._modes.values()
