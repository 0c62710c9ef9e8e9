"""
Codes by which Binance COIN-M says that it did nothing, one by one. All others prove nothing.

Where USD-M has another code for the same, both are not one: since COIN-M was moved onto USD-M's
engine (June 2026) it may answer with those of USD-M, of which its papers say nothing. They are
Unknown here until an account has shown them.
"""

from collections.abc import Mapping

from bot.exchange.venues.binance_codes import OF_BOTH

_DOCUMENTED = {
    -4089: "only orders that reduce are allowed",
    -4090: "the account cannot place orders at the moment",
    -4112: "resting orders that reduce have taken up the position already",
    -4113: "the other side's best price is outside PERCENT_PRICE",
    -4151: "the price is above the cap that the stop price sets",
    -4152: "the price is below the floor that the stop price sets",
    -4154: "the stop price is above the cap",
    -4155: "the stop price is below the floor",
    -4178: "the notional is below the least of an order that does not reduce",
    -4188: "the request was older than recvWindow when it reached the matching engine",
    -4196: "only limit orders are supported",
}
"""`documented`: the venue's page of error codes of COIN-M futures alone, snapshot of 2025."""

REFUSED: Mapping[int, str] = {**OF_BOTH, **_DOCUMENTED}
"""What each code says that was not done. Any write."""
