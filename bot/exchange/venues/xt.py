"""
XT's USDT perpetuals: the venue's rules, as data.

Maintenance at the entry price, a liquidation price rounded towards the mark: `documented` (as
cited in docs/margin.md). The rest is `assumed`.
"""

from decimal import Decimal

from bot.core.model import (
    CloseFee,
    LiquidationRounding,
    MaintenanceAt,
    MarginOnReduce,
    VenueRules,
)

RULES = VenueRules(
    maintenance_at=MaintenanceAt.ENTRY,
    close_fee=CloseFee.NONE,
    position_margin_step=Decimal("0.01"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
    liquidation_rounding=LiquidationRounding.TOWARDS_MARK,
)
