"""
How the known venues margin positions, as data: for what-if questions about any of them.

Each line is `documented` by the venue (its liquidation formula, as cited in docs/margin.md) or
`recorded` from its answers. Steps of money and what a reduction does to margin play no part here
and are `assumed`. A venue that the guard can trade on has a file of its own beside this one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from bot.core.model import (
    CloseFee,
    HedgeRequirement,
    Instrument,
    LiquidationRounding,
    MaintenanceAt,
    MarginOnReduce,
    TierMeasure,
    VenueRules,
)
from bot.exchange.venues import binanceusdm


@dataclass(frozen=True, slots=True)
class Margining:
    """
    The rules of a venue, and how it prints them.

    `deducts`: its risk tiers are progressive, each slice at its own rate; otherwise the whole
    position is at the rate of its tier. `fee_shown`: the maintenance margin that it shows
    contains the close fee. `listing`: the contracts whose tiers are known.
    """

    rules: VenueRules
    deducts: bool = True
    fee_shown: bool = False
    listing: Callable[[], Mapping[str, Instrument]] = dict


def _rules(
    maintenance_at: MaintenanceAt,
    close_fee: CloseFee = CloseFee.NONE,
    rounding: LiquidationRounding = LiquidationRounding.NONE,
    measure: TierMeasure = TierMeasure.VALUE,
    hedge: HedgeRequirement = HedgeRequirement.BOTH_LEGS,
) -> VenueRules:
    return VenueRules(
        maintenance_at=maintenance_at,
        close_fee=close_fee,
        position_margin_step=Decimal("0.00000001"),
        margin_on_reduce=MarginOnReduce.PRO_RATA,
        tier_measure=measure,
        liquidation_rounding=rounding,
        hedge_requirement=hedge,
    )


_MARK, _ENTRY = MaintenanceAt.MARK, MaintenanceAt.ENTRY
_AT_MARK, _AT_BUST = CloseFee.MARK, CloseFee.BANKRUPTCY
_EARLY, _LATE = LiquidationRounding.TOWARDS_MARK, LiquidationRounding.AWAY_FROM_MARK
_LARGER, _NET = HedgeRequirement.LARGER_LEG, HedgeRequirement.NET

UNKNOWN_VENUE: Final = Margining(_rules(_MARK, _AT_MARK))
"""What most venues do; the case says by its fee whether closing costs anything."""

_PLAIN = Margining(_rules(_MARK))
_OLDER = Margining(_rules(_ENTRY))

VENUES: Final = {
    "binance": replace(_PLAIN, listing=binanceusdm.instruments),
    "bitget": Margining(_rules(_MARK, _AT_MARK)),
    "bitmex": Margining(_rules(_ENTRY, _AT_BUST)),
    "bitunix": _OLDER,
    "blofin": Margining(_rules(_MARK, _AT_MARK)),
    "bybit": Margining(_rules(_ENTRY, _AT_BUST, _EARLY, hedge=_NET), fee_shown=True),
    "coinex": _OLDER,
    "deribit": _PLAIN,
    "dydx": Margining(_rules(_MARK), deducts=False),
    "edgex": Margining(_rules(_MARK, rounding=_LATE)),
    "gate": Margining(_rules(_MARK, _AT_MARK, hedge=_LARGER)),
    "htx": _PLAIN,
    "hyperliquid": _PLAIN,
    "krakenfutures": Margining(_rules(_ENTRY, hedge=_LARGER)),
    "kucoin": Margining(_rules(_MARK, _AT_MARK, _EARLY), deducts=False, fee_shown=True),
    "mcs": _OLDER,
    "mexc": _OLDER,
    "moonxbt": _OLDER,
    "okx": Margining(
        _rules(
            _MARK,
            _AT_MARK,
            LiquidationRounding.ONE_TICK_EARLY,
            TierMeasure.QUANTITY,
        ),
        deducts=False,
    ),
    "phemex": Margining(_rules(_MARK, _AT_MARK)),
    "toobit": _OLDER,
    "xt": Margining(_rules(_ENTRY, rounding=_EARLY)),
}
