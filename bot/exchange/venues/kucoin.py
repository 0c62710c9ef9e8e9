"""
KuCoin's USDT perpetuals in a classic account: the venue's rules, as data.

Maintenance at the mark price with the taker fee of closing, as its own figures come out
(docs/margin.md). What a reduction does to margin and the step of a margin are `assumed`.
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
    maintenance_at=MaintenanceAt.MARK,
    close_fee=CloseFee.MARK,
    position_margin_step=Decimal("0.01"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
    liquidation_rounding=LiquidationRounding.TOWARDS_MARK,
)
