"""
What the public side of each venue gives through ccxt, as data.

`tiers`: Binance's leverageBracket needs a key, `documented`; Bybit's risk limits are notional in
the settle currency, `documented`. A venue whose tiers count contracts is not listed here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublicSide:
    """How history is asked for: bars a request at most, and whether tiers are to be had."""

    bars_max: int
    tiers: bool


PUBLIC = {
    "binanceusdm": PublicSide(bars_max=1000, tiers=False),
    "bybit": PublicSide(bars_max=1000, tiers=True),
}
