"""Codes by which Binance USD-M says that it did nothing, one by one. All others prove nothing."""

from collections.abc import Mapping

from bot.exchange.venues.binance_codes import OF_BOTH

_DOCUMENTED = {
    -2017: "the API keys of this account are locked",
    -4087: "the account may only reduce",
    -4088: "the account cannot place orders at the moment",
    -4118: "resting orders that reduce have taken up the position already",
    -4131: "the other side's best price is outside PERCENT_PRICE",
    -4140: "the symbol is not open for this",
    -4141: "the symbol is closed",
    -4164: "the notional is below the least of an order that does not reduce",
    -4183: "the price is above the cap that the stop price sets",
    -4184: "the price is below the floor that the stop price sets",
    -4210: "the stop price is above the cap",
    -4211: "the stop price is below the floor",
    -4400: "quantitative rules violated: only orders that reduce are allowed",
    -4401: "rules of large positions violated: only orders that reduce are allowed",
    -4402: "not available in this region",
    -5028: "the request was older than recvWindow when it reached the matching engine",
}
"""`documented`: the venue's page of error codes of USD-M futures alone, snapshot of 2025."""

_SEEN = {
    -1122: "the status of the symbol is not valid",  # ccxt 4.5.90, its table of USD-M
    -4109: "the futures account is not active",  # notes of a client's authors on this venue
    -4117: "the stop order is triggering",  # ccxt 4.5.90, its table of USD-M
    -4130: "a stop that closes the whole position waits in this direction already",  # its answer
}
"""`recorded` by others, and on no page that was read. In the order of their codes."""

REFUSED: Mapping[int, str] = {**OF_BOTH, **_DOCUMENTED, **_SEEN}
"""What each code says that was not done. Any write."""
