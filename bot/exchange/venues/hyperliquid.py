"""
Hyperliquid's perpetuals in USDC: the venue's rules, as data.

Maintenance at the mark price, half of the initial margin at the most leverage of the tier, less
the deduction that leaves no jump, without a close fee: `documented` (its pages on liquidations and
margin tiers; six of its own liquidation prices come out to nine digits, docs/margin.md). Margin
moves in millionths of a dollar: `documented` (updateIsolatedMargin). What a reduction does to
margin is `assumed`. There is no hedge mode.
"""

from decimal import Decimal

from bot.core.model import CloseFee, MaintenanceAt, MarginOnReduce, VenueRules

RULES = VenueRules(
    maintenance_at=MaintenanceAt.MARK,
    close_fee=CloseFee.NONE,
    position_margin_step=Decimal("0.000001"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
)
