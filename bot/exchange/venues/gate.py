"""
Gate's USDT perpetuals: the venue's rules, as data.

Maintenance at the mark price with the taker fee of closing, tiers progressive since 2025-07-29:
`documented` (its formula page, as cited in docs/margin.md). What a reduction does to margin and
the step of a margin are `assumed`.
"""

from decimal import Decimal

from bot.core.model import (
    CloseFee,
    HedgeRequirement,
    MaintenanceAt,
    MarginOnReduce,
    VenueRules,
)

RULES = VenueRules(
    maintenance_at=MaintenanceAt.MARK,
    close_fee=CloseFee.MARK,
    position_margin_step=Decimal("0.01"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
    hedge_requirement=HedgeRequirement.LARGER_LEG,
)
