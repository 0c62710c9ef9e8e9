"""
Codes by which Bitunix says that it did nothing, one by one. All others prove nothing.

`documented`: its page of error codes. All come with HTTP 200. 10001 (network error), 20004,
30011 (abnormal order status), 30042 (the client id is known: then it was taken before) and 40004
(do not repeat) are missing on purpose.
"""

from collections.abc import Mapping

NOT_FOUND = "20007"
"""There is no such order."""

REFUSED: Mapping[str, str] = {
    # the gateway: before anything of the account is touched
    "403": "the key has no right to do this",
    "10002": "a parameter is wrong",
    "10003": "no key was named",
    "10004": "the key may not be used from this address",
    "10005": "more requests than the venue takes",
    "10006": "more requests than the venue takes",
    "10007": "the signature is wrong",
    "10008": "a parameter has a wrong value",
    # the account and the contract
    "20001": "there is no such contract",
    "20002": "the position would be larger than its risk limit",
    "20003": "there is too little free money",
    NOT_FOUND: "there is no such order",
    "20008": "the amount is too small, or more than there is",
    "20011": "the account may not trade",
    "20012": "the contract is not traded",
    "20013": "the account is about to be deleted",
    "20014": "the account was deleted",
    "20015": "the contract is not supported",
    # an order or a stop that the venue did not take
    "30001": "it might cause a liquidation",
    "30002": "the price is beyond the liquidation price",
    "30003": "the price is beyond the liquidation price",
    "30004": "there is no such position",
    "30005": "the trigger would be met at once",
    "30006": "neither a loss nor a profit was named to stop at",
    "30009": "the stop is below the entry price",
    "30010": "the stop is above the entry price",
    "30013": "the order is too large",
    "30014": "the price is too high",
    "30015": "the price is too low",
    "30016": "the order is too small",
    "30017": "the order is too small",
    "30018": "a reduce-only order without a position",
    "30019": "a reduce-only order would grow the position",
    "30022": "the trigger would be met at once",
    "30023": "the trigger would be met at once",
    "30024": "the trigger is beyond the liquidation price",
    "30025": "the trigger is beyond the liquidation price",
    "30028": "the trigger would be met at once",
    "30029": "the trigger would be met at once",
    "30030": "the trigger would be met at once",
    "30031": "the trigger would be met at once",
    "30038": "the stop is larger than the position",
    "30039": "the order is too large",
    "30040": "the account may not trade",
    "30041": "the trigger is not above zero",
}
