"""
Bitget's USDT perpetuals: the venue's rules, as data.

Maintenance at the mark price with the taker fee of closing: `documented` (its formula page, as
cited in docs/margin.md). What a reduction does to margin and the step of a margin are `assumed`.
"""

from decimal import Decimal

from bot.core.model import CloseFee, MaintenanceAt, MarginOnReduce, VenueRules

RULES = VenueRules(
    maintenance_at=MaintenanceAt.MARK,
    close_fee=CloseFee.MARK,
    position_margin_step=Decimal("0.01"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
)
