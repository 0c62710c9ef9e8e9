"""
Vocabulary: the effects a guard can have on an account, as a closed union.

An action names everything that a venue needs, so that a port only has to translate it.
"""

from dataclasses import dataclass
from typing import TypeAlias

from bot.core.model import Side
from bot.core.units import Money, Price, Quantity


@dataclass(frozen=True, slots=True)
class AddMargin:
    """Move `amount` of free wallet money into the isolated margin of a position."""

    symbol: str
    side: Side
    amount: Money


@dataclass(frozen=True, slots=True)
class PlaceStop:
    """Rest a reduce-only market order that triggers when the mark price reaches it."""

    symbol: str
    side: Side
    quantity: Quantity
    trigger_price: Price


@dataclass(frozen=True, slots=True)
class CancelStop:
    """Cancel one of our own resting stops."""

    symbol: str
    side: Side
    target_client_id: str


@dataclass(frozen=True, slots=True)
class AtMarket:
    """Any price will do."""


@dataclass(frozen=True, slots=True)
class NoWorseThan:
    """Immediate or cancel: what cannot be filled at `price` or better is not filled."""

    price: Price


Bound: TypeAlias = AtMarket | NoWorseThan

AT_MARKET = AtMarket()


@dataclass(frozen=True, slots=True)
class ClosePosition:
    """Sell (or buy back) `quantity` now, reduce-only: it can never open or flip."""

    symbol: str
    side: Side
    quantity: Quantity
    bound: Bound = AT_MARKET


Action: TypeAlias = AddMargin | PlaceStop | CancelStop | ClosePosition
