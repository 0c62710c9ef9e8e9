"""
Kraken's multi-collateral USD perpetuals: the venue's rules, as data.

One wallet backs all cross positions. Margins are rates of the position's value at its entry price:
`documented` (its margin schedule) and seen in a row that its stream pushed, where they are 2 % and
1 % of that to the last digit. No close fee is part of them. Whether the rate of a level is that of
the whole position or of what is in the level its papers do not tell: the account's own figure has
to decide, and with it how a position is measured. The step of a margin and what a reduction does
to it play no part in a shared wallet.
"""

from decimal import Decimal

from bot.core.model import CloseFee, MaintenanceAt, MarginOnReduce, VenueRules

RULES = VenueRules(
    maintenance_at=MaintenanceAt.ENTRY,
    close_fee=CloseFee.NONE,
    position_margin_step=Decimal("0.000001"),
    margin_on_reduce=MarginOnReduce.PRO_RATA,
)
