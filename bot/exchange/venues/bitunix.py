"""
Bitunix's USDT perpetuals: the venue's rules, as data.

Maintenance at the entry price without a close fee: `documented` (as cited in docs/margin.md). What
a reduction does to margin and the step of a margin are `assumed`. The API tells of no fee: that
of an account without discounts is `documented` on the venue's page of fees.
"""

from decimal import Decimal
from typing import Final

from bot.core.model import CloseFee, MaintenanceAt, MarginOnReduce, VenueRules
from bot.core.units import Ratio

RULES = VenueRules(
    maintenance_at=MaintenanceAt.ENTRY,
    close_fee=CloseFee.NONE,
    position_margin_step=Decimal("0.01"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
)

TAKER_FEE: Final = Ratio(Decimal("0.0006"))
