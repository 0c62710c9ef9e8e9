"""
ApeX Omni's USDT perpetuals: the venue's rules, as data.

One wallet backs all positions. Maintenance is the whole value at the rate of its step, at the
index price, and no close fee is part of it: `documented`. What a reduction does to margin and the
step of a margin play no part in a shared wallet.
"""

from decimal import Decimal

from bot.core.model import CloseFee, MaintenanceAt, MarginOnReduce, VenueRules

RULES = VenueRules(
    maintenance_at=MaintenanceAt.MARK,
    close_fee=CloseFee.NONE,
    position_margin_step=Decimal("0.000001"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
)
"""The mark price of the core is the venue's index price: by that it values and liquidates."""
