"""
What becomes of an unguarded isolated position, worked out without the project.

Plain floats and the venue's published equation; nothing here is imported from `bot`, so agreement
with a replay means something.
"""

import csv
import gzip
from pathlib import Path
from typing import Literal, NamedTuple

Tier = tuple[float, float, float]
"""Cap of the position's notional, maintenance margin rate, deduction."""


class Fate(NamedTuple):
    """
    The end of an unguarded position.

    `liquidation_price` is None where no price above zero liquidates it, `liquidated_at_ms` (the
    open of the first bar that reached that price) where the data never does.
    """

    entry_price: float
    liquidation_price: float | None
    liquidated_at_ms: int | None


def unguarded(
    file: Path,
    side: Literal["long", "short"],
    *,
    leverage: float,
    margin: float,
    entry_at_ms: int,
    tiers: list[Tier],
) -> Fate:
    """
    Enter with `margin` at the open of the first bar at or after `entry_at_ms`, then wait.

    No fee, funding or slippage. Bars count from the entry bar on, by the mark's low or high, and
    by the last price's in a file without mark.
    """
    bars = [bar for bar in _rows(file) if int(bar["ts_ms"]) >= entry_at_ms]
    entry_price = float(bars[0]["open"])
    quantity = margin * leverage / entry_price
    price = liquidation_price(side, quantity, entry_price, margin, tiers)
    if price is None:
        return Fate(entry_price, None, None)
    prefix = "mark_" if "mark_low" in bars[0] else ""
    for bar in bars:
        low, high = float(bar[prefix + "low"]), float(bar[prefix + "high"])
        if low <= price if side == "long" else high >= price:
            return Fate(entry_price, price, int(bar["ts_ms"]))
    return Fate(entry_price, price, None)


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
