"""
Texts by which Hyperliquid says that it did nothing, one by one. All others prove nothing.

`documented`: its page of error responses, in the words of 2026, and that on signing for the two
that name an address (here `ADDRESS`); the sizes and the reference price as ccxt 4.5.90 keeps them.
The venue has no codes: a text is one of these whole, or nothing. Missing on purpose: that the
account has sent too many requests, that a nonce was used before, and that a request came too late,
whose words are not documented; what it says to an action of margin, which is not either; and that
an order to be filled at once met nobody, which was taken, and has ended.
"""

from collections.abc import Mapping

GONE = "Order was never placed, already canceled, or filled."
"""There is no such order: it may have been cancelled, or have triggered."""

UNFILLED = "Order could not immediately match against any resting orders."
"""It has ended without a fill."""

REFUSED: Mapping[str, str] = {
    # who asks
    "User or API Wallet ADDRESS does not exist.": "whoever signed it is not known",
    "Must deposit before performing actions. User: ADDRESS": "whoever signed it is not known",
    # an order that the venue did not take
    "Price must be divisible by tick size.": "the price is between two ticks",
    "Order must have minimum value of $10.": "the order is worth less than the least",
    "Order has invalid size.": "the size is between two steps",
    "Order has zero size.": "the size is nothing",
    "Insufficient margin to place order.": "there is too little money for the margin",
    "Reduce only order would increase position.": "a reduce-only order would grow the position",
    "Invalid TP/SL price.": "the trigger would be met at once",
    "No liquidity available for market order.": "nobody is there to trade with",
    "Order would increase open interest while open interest is capped": (
        "the contract takes no larger positions now"
    ),
    "Order rejected due to price more aggressive than oracle while at open interest cap": (
        "the price is beyond that of the oracle while the contract takes no larger positions"
    ),
    "Order would increase open interest too quickly": "the contract grows too fast",
    "Order price too far from oracle": "the price is too far from that of the oracle",
    "Order price cannot be more than 80% away from the reference price": (
        "the price is too far from the venue's"
    ),
    "Order would cause position to exceed margin tier limit at current leverage": (
        "the position would leave the tier of its leverage"
    ),
}
