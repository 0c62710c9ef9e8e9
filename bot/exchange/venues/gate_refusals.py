"""
Labels by which Gate says that it did nothing, one by one. All others prove nothing.

`documented`. INTERNAL, SERVER_ERROR and TOO_BUSY are missing on purpose.
"""

from collections.abc import Mapping

REFUSED: Mapping[str, str] = {
    # the gateway: before anything of the account is touched
    "INVALID_PARAM_VALUE": "a parameter has a wrong value",
    "INVALID_PROTOCOL": "a parameter is of a wrong kind",
    "INVALID_ARGUMENT": "an argument is wrong",
    "INVALID_REQUEST_BODY": "the body cannot be read",
    "MISSING_REQUIRED_PARAM": "a parameter is missing",
    "BAD_REQUEST": "the request cannot be read",
    "INVALID_CONTENT_TYPE": "the body is of a wrong kind",
    "NOT_ACCEPTABLE": "the kind of answer asked for is not to be had",
    "METHOD_NOT_ALLOWED": "the path knows no such method",
    "NOT_FOUND": "there is no such path",
    "INVALID_CREDENTIALS": "the signature names no key",
    "INVALID_KEY": "the key is not known",
    "IP_FORBIDDEN": "the key may not be used from this address",
    "READ_ONLY": "the key may only read",
    "INVALID_SIGNATURE": "the signature is wrong",
    "MISSING_REQUIRED_HEADER": "a header is missing",
    "REQUEST_EXPIRED": "the request's date is a minute or more away",
    "ACCOUNT_LOCKED": "the account is locked",
    "FORBIDDEN": "the key has no right to do this",
    "TOO_MANY_REQUESTS": "more requests than the venue takes",
    # futures: an order or a margin that the venue did not take
    "USER_NOT_FOUND": "the user has no futures account",
    "CONTRACT_NOT_FOUND": "there is no such contract",
    "RISK_LIMIT_EXCEEDED": "the order would exceed the risk limit",
    "INSUFFICIENT_AVAILABLE": "there is too little free money",
    "LIQUIDATE_IMMEDIATELY": "it might cause a liquidation",
    "ORDER_NOT_FOUND": "there is no such order",
    "ORDER_NOT_OWNED": "the order is another's",
    "ORDER_FINISHED": "the order has ended before",
    "TOO_MANY_ORDERS": "too many orders wait",
    "POSITION_CROSS_MARGIN": "a cross position has no margin of its own",
    "POSITION_IN_LIQUIDATION": "the position is being liquidated",
    "POSITION_IN_CLOSE": "the position is being closed",
    "POSITION_EMPTY": "there is no position",
    "POSITION_NOT_FOUND": "there is no such position",
    "POSITION_DUAL_MODE": "not in hedge mode",
    "REMOVE_TOO_MUCH": "more margin than can be moved",
    "PRICE_TOO_DEVIATED": "the price is too far from the mark price",
    "SIZE_TOO_LARGE": "the order is too large",
    "SIZE_TOO_SMALL": "the order is too small",
    "PRICE_OVER_BANKRUPT": "a close beyond the bankruptcy price",
    "INCREASE_POSITION": "a reduce-only order would grow the position",
    "REDUCE_EXCEEDED": "a reduce-only order is larger than the leg, in hedge mode",
    "CONTRACT_IN_DELISTING": "the contract is being delisted",
    "AUTO_TRIGGER_PRICE_LESS_LAST": "the trigger would be met at once",
    "AUTO_TRIGGER_PRICE_GREATE_LAST": "the trigger would be met at once",
}
