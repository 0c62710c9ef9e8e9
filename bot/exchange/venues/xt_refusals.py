"""
Codes by which XT says that it did nothing, one by one. All others prove nothing.

`documented`: its error pages, and the table that ccxt keeps. It tells of few.
"""

from collections.abc import Mapping

REFUSED: Mapping[str, str] = {
    # the gateway: before anything of the account is touched
    "403": "the signature is wrong",
    "429": "more requests than the venue takes",
    "AUTH_001": "no key was named",
    "AUTH_002": "the request has no date",
    "AUTH_003": "the request has no window",
    "AUTH_004": "the window is wrong",
    "AUTH_005": "no algorithm was named",
    "AUTH_006": "the algorithm is not known",
    "AUTH_007": "the request is not signed",
    "AUTH_101": "the key is not known",
    "AUTH_102": "the key is not active",
    "AUTH_103": "the signature is wrong",
    "AUTH_104": "the key may not be used from this address",
    "AUTH_105": "the request is too old",
    "AUTH_106": "the key has no right to do this",
    # futures
    "insufficient_balance": "there is too little free money",
    "symbol_not_support_trading_via_api": "the contract is not traded over the API",
    "open_order_min_nominal_value_limit": "the order is too small",
}
