"""What an account's user streams are told of its money: changes, and margins nearly used up."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from bot.core.model import Position, Side
from bot.exchange.paper.wire.listing import text
from bot.exchange.paper.wire.views import ASSET, AccountView, Leg

MARGIN_CALL_RATIO = Decimal("0.8")
"""The margin ratio from which a position is called. `assumed`."""


class Herald:
    """Remembers what was told last, and tells what is different."""

    def __init__(self, told: AccountView, tell: Callable[[dict[str, Any]], None]) -> None:
        """Begin with what is known; `tell` pushes."""
        self._told = told
        self._tell = tell
        self._called: set[Leg] = set()

    def tell_account(self, seen: AccountView, reason: str, now_ms: int) -> None:
        """Push balances and the positions that are not as they were last told."""
        told = self._told
        before = {each.leg: each for each in told.positions}
        rows = [
            each.pushed_row()
            for each in seen.positions
            if each.leg not in before or _facts(before[each.leg].position) != _facts(each.position)
        ]
        still = {each.leg for each in seen.positions}
        rows += [
            {**each.pushed_row(), "pa": "0", "ep": "0", "bep": "0", "up": "0", "iw": "0"}
            for key, each in before.items()
            if key not in still
        ]
        cross = seen.snapshot.wallet_balance
        if not rows and cross == told.snapshot.wallet_balance:
            return
        self._told = seen
        moved = cross - told.snapshot.wallet_balance
        balance = {
            "a": ASSET,
            "wb": text(seen.wallet_balance),
            "cw": text(cross),
            "bc": text(moved) if reason != "ORDER" else "0",
        }
        self._tell(
            {
                "e": "ACCOUNT_UPDATE",
                "E": now_ms,
                "T": now_ms,
                "a": {"m": reason, "B": [balance], "P": rows},
            }
        )

    def call_margin(self, seen: AccountView, now_ms: int) -> None:
        """Warn once of every position whose margin is nearly used up."""
        backing = seen.snapshot.wallet_balance + sum(
            each.unrealised for each in seen.positions if each.is_cross
        )
        needed = sum(each.maintenance_margin for each in seen.positions if each.is_cross)
        for each in seen.positions:
            key = each.leg
            balance, need = (
                (backing, needed)
                if each.is_cross
                else (each.isolated_margin, each.maintenance_margin)
            )
            if need < MARGIN_CALL_RATIO * balance:
                self._called.discard(key)
            elif key not in self._called:
                self._called.add(key)
                self._tell(
                    {
                        "e": "MARGIN_CALL",
                        "E": now_ms,
                        "cw": text(seen.snapshot.wallet_balance),
                        "p": [each.called_row()],
                    }
                )


def _facts(position: Position) -> tuple[Side, Decimal, Decimal, Decimal]:
    return (
        position.side,
        position.quantity,
        position.entry_price,
        position.isolated_margin,
    )
