"""
Binance COIN-M: the venue's rules, as data. Every contract is read from the venue.

Contracts are counted in whole ones of a face value in dollars (100 of bitcoin, 10 of others);
margin, profit and fees are in the coin, of which every account has a wallet each.
Maintenance at the mark, tiers in the coin with the venue's deductions: `documented` (its FAQ on
liquidation), and the liquidation price of a `recorded` position comes out to its eighth place.
Margin to eight places: `documented` (assets of the account). What a close does to the margin of an
isolated position is that of USD-M, `assumed`.
"""

from decimal import Decimal

from bot.core.model import CloseFee, MaintenanceAt, MarginOnReduce, VenueRules

RULES = VenueRules(
    maintenance_at=MaintenanceAt.MARK,
    close_fee=CloseFee.NONE,
    position_margin_step=Decimal("0.00000001"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
)
