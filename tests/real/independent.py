"""
What becomes of an unguarded isolated position, worked out without the project.

Plain floats and the venue's published equation; nothing here is imported from `bot`, so agreement
with a replay means something.
"""

import csv
import gzip
from math import floor
from pathlib import Path
from typing import Literal, NamedTuple

Tier = tuple[float, float, float]
"""Cap of the position's notional, maintenance margin rate, deduction."""


class Fate(NamedTuple):
    """
    The end of an unguarded position and its account.

    `liquidation_price` is the one at the end, after the bills until then, or None where no price
    above zero liquidates; `liquidated_at_ms` the open of the bar that reached it, or None.
    `equity` is that of the account: margin, reserve and unrealised profit at the last mark.
    """

    entry_price: float
    liquidation_price: float | None
    liquidated_at_ms: int | None
    equity: float


class Account(NamedTuple):
    """A position to enter with at most `margin`, and `reserve` beside it, which it cannot use."""

    side: Literal["long", "short"]
    leverage: float
    margin: float
    reserve: float
    quantity_step: float
    tiers: list[Tier]


def unguarded(
    file: Path, account: Account, entry_at_ms: int = 0, last_at_ms: int = 10**14
) -> Fate:
    """
    Enter at the open of the first bar from `entry_at_ms` on, then wait till `last_at_ms` is over.

    No fee or slippage: nothing is traded. A long pays quantity x mark x rate out of its margin
    wherever a bar after the first opens with a settlement, a short receives it. Bars count by the
    mark's prices, and by the last price's in a file without mark.
    """
    bars = [bar for bar in _rows(file) if entry_at_ms <= int(bar["ts_ms"]) <= last_at_ms]
    entry_price = float(bars[0]["open"])
    steps = account.margin * account.leverage / entry_price / account.quantity_step
    quantity = floor(steps + 1e-9) * account.quantity_step
    sign = 1 if account.side == "long" else -1
    deposit = account.margin + account.reserve
    held = quantity * entry_price / account.leverage
    spare = deposit - held

    def level() -> float | None:
        return liquidation_price(account.side, quantity, entry_price, held, account.tiers)

    first, adverse, last = _columns("mark_low" in bars[0], account.side)
    for number, bar in enumerate(bars):
        at_ms, rate = int(bar["ts_ms"]), bar.get("funding_rate", "")
        price = level()
        if price is not None and sign * (float(bar[first]) - price) <= 0:
            return Fate(entry_price, price, at_ms, spare)
        if rate and number:
            held -= sign * quantity * float(bar[first]) * float(rate)
            price = level()
        if price is not None and sign * (float(bar[adverse]) - price) <= 0:
            return Fate(entry_price, price, at_ms, spare)
    profit = sign * quantity * (float(bars[-1][last]) - entry_price)
    return Fate(entry_price, level(), None, spare + held + profit)


def _columns(has_mark: bool, side: str) -> tuple[str, str, str]:
    """The names of the open, of the price that is worst for `side`, and of the close."""
    adverse = "low" if side == "long" else "high"
    return ("mark_open", f"mark_{adverse}", "mark") if has_mark else ("open", adverse, "close")


def liquidation_price(
    side: Literal["long", "short"],
    quantity: float,
    entry_price: float,
    margin: float,
    tiers: list[Tier],
) -> float | None:
    """
    Where margin + unrealised profit = maintenance margin, maintenance valued at the mark.

    margin + s q (L - E) = q L rate - deduction, so with the tier that the notional q L falls into
    L = (margin + deduction - s q E) / (q (rate - s)). Of several solutions, which tiers without
    deductions have, the first one met counts.
    """
    sign = 1 if side == "long" else -1
    found = []
    floor = 0.0
    for cap, rate, deduction in tiers:
        price = (margin + deduction - sign * quantity * entry_price) / (quantity * (rate - sign))
        if floor < quantity * price <= cap:
            found.append(price)
        floor = cap
    return max(found, key=lambda price: sign * price, default=None)


def _rows(file: Path) -> list[dict[str, str]]:
    data = file.read_bytes()
    text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode()
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
