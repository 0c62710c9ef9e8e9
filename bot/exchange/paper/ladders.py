"""
How a venue liquidates, as data: what it cancels, what it tries before a position is lost.

The steps are the same everywhere: cancel orders, net the long against the short of a contract,
reduce what is left, take over the rest. Venues differ in how they reduce, and in who keeps what
a slice sold better than its bankruptcy price. Sources are named at each variant.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from bot.core.units import ZERO, Money, Ratio


class Cancels(StrEnum):
    """Whose orders are cancelled first."""

    NOTHING = "nothing"
    CONTRACT = "contract"
    """Those of the contract."""
    ACCOUNT = "account"
    """All of the account."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Nothing is reduced: everything is taken over at once."""


@dataclass(frozen=True, slots=True)
class TiersDown:
    """Slice by slice the position falls by `tiers` risk tiers, as long as it is still spent."""

    tiers: int


@dataclass(frozen=True, slots=True)
class UntilCompliant:
    """
    One order as large as need be: afterwards the equity exceeds the requirement by `headroom`.

    Without a headroom the next tick would spend the position again.
    """

    headroom: Ratio


@dataclass(frozen=True, slots=True)
class ShareFirst:
    """
    Of a position worth more than `above` only this share goes first.

    Until `whole_ms` have passed since then, an order is for all of a position.
    """

    share: Ratio
    above: Money
    whole_ms: int


Reduction: TypeAlias = AtOnce | TiersDown | UntilCompliant | ShareFirst


@dataclass(frozen=True, slots=True)
class Keeps:
    """The engine keeps what a slice sells better than its bankruptcy price."""


@dataclass(frozen=True, slots=True)
class Returns:
    """
    The account gets that back, less a clearance fee on the value of what was sold.

    The fee is never more than what is left. Where the equity is below the share `backstop` of the
    requirement, everything is taken over at once and nothing is returned.
    """

    clearance_fee: Ratio
    backstop: Ratio


@dataclass(frozen=True, slots=True)
class Ladder:
    """The ladder of a venue. An isolated and a cross liquidation may cancel different orders."""

    cancels_isolated: Cancels
    cancels_cross: Cancels
    nets: bool
    """Whether cross long and short positions of a contract are offset first, at mark."""
    reduction: Reduction
    surplus: Keeps | Returns


GATE = Ladder(Cancels.NOTHING, Cancels.ACCOUNT, True, TiersDown(1), Keeps())
"""
As Gate and MEXC write: net, then down tier by tier, each slice at its bankruptcy price.

An isolated position's orders they cancel only where it refills its margin by itself, which the
guard requires to be off.
"""

BINANCE = Ladder(
    Cancels.CONTRACT,
    Cancels.ACCOUNT,
    False,
    UntilCompliant(Ratio(Decimal("0.25"))),
    Returns(Ratio(Decimal("0.0125")), Ratio(ZERO)),
)
"""
As Binance writes: cancel, one large order, stop when compliant; a fee on what was liquidated.

The headroom is assumed; the fee is within what its contracts list (1 % to 3 %).
"""

OKX = Ladder(Cancels.CONTRACT, Cancels.ACCOUNT, True, TiersDown(2), Keeps())
"""As OKX writes: offset pairs, two tiers down, and below the third tier everything."""

HYPERLIQUID = Ladder(
    Cancels.NOTHING,
    Cancels.NOTHING,
    False,
    ShareFirst(Ratio(Decimal("0.2")), Money(Decimal(100_000)), 30_000),
    Returns(Ratio(ZERO), Ratio(Decimal(2) / 3)),
)
"""
As Hyperliquid writes: a fifth of a large position first, and for 30 s after that all of it.

Below two thirds of the maintenance margin its backstop takes position and margin.
"""

WHOLE = Ladder(Cancels.CONTRACT, Cancels.ACCOUNT, False, AtOnce(), Keeps())
"""The harshest: whatever is spent is lost whole. What simple models of a liquidation assume."""
