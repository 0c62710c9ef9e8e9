"""
OKX's USDT perpetuals: the venue's rules, as data.

Maintenance and the fee of closing at the mark price; tiers in contracts, the whole position at the
rate of its tier, so that the demand jumps at a border; the price shown for an isolated position is
a tick early: `documented` and reproduced from recorded rows (as cited in docs/margin.md). The step
of a margin and what a reduction does to it are `assumed`.
"""

from decimal import Decimal

from bot.core.model import (
    CloseFee,
    LiquidationRounding,
    MaintenanceAt,
    MarginOnReduce,
    TierMeasure,
    VenueRules,
)

RULES = VenueRules(
    maintenance_at=MaintenanceAt.MARK,
    close_fee=CloseFee.MARK,
    position_margin_step=Decimal("0.01"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
    tier_measure=TierMeasure.QUANTITY,
    liquidation_rounding=LiquidationRounding.ONE_TICK_EARLY,
)
