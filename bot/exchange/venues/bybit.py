"""
Bybit's USDT perpetuals: the venue's rules, as data.

Maintenance at the mark price in the unified account since 2025-09, with the fee of closing at the
bankruptcy price: `documented` (its pages on the new calculation of margin and on liquidation in
isolated mode, 2025-09 and 2026-05; older pages value it at the entry price). Margin has up to four
decimals: `documented` (add-margin); ours has two, which is a step of both. What the legs of a
hedge need together in cross is not told since; the larger demand is `assumed`, and so is what a
reduction does to margin.
"""

from decimal import Decimal

from bot.core.model import (
    CloseFee,
    HedgeRequirement,
    LiquidationRounding,
    MaintenanceAt,
    MarginOnReduce,
    VenueRules,
)

RULES = VenueRules(
    maintenance_at=MaintenanceAt.MARK,
    close_fee=CloseFee.BANKRUPTCY,
    position_margin_step=Decimal("0.01"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
    liquidation_rounding=LiquidationRounding.TOWARDS_MARK,
    hedge_requirement=HedgeRequirement.BOTH_LEGS,
)
