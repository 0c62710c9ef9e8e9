"""
Codes by which Bybit says that it did nothing, one by one. All others prove nothing.

`documented` (v5, page of error codes). Missing on purpose: 10000 and 10016 (the server timed out
or failed), 429 (too much load), 10014 and 110072 (a duplicate: an earlier send of it may have
arrived), 110079 and 40004 (the order is being worked on), 110005 and 110035 (the position is being
worked on), -1 and -2015, and whatever the venue makes up tomorrow.
"""

from collections.abc import Mapping

REFUSED: Mapping[int, str] = {
    # who asks, how often, and when
    10001: "a parameter is wrong",
    10002: "the request is older than recvWindow, or from the future",
    10003: "the API key is not valid",
    10004: "the signature is wrong",
    10005: "the key has no right to do this",
    10006: "more requests than the venue takes",
    10007: "the user is not known",
    10008: "the user is banned",
    10009: "not available from this region",
    10010: "the key may not be used from this address",
    10017: "there is no such path",
    10024: "compliance rules forbid it",
    10027: "trading is banned",
    10028: "for unified accounts alone",
    10029: "the key may not trade this contract",
    33004: "the API key has expired",
    100028: "not for unified accounts",
    # an order that the venue did not take
    110001: "there is no such order",
    110003: "the price is out of the permitted range",
    110004: "there is too little money",
    110006: "there is too little money for the margin",
    110007: "there is too little free money",
    110008: "the order has ended before",
    110009: "too many stops wait",
    110010: "the order was cancelled before",
    110012: "there is too little free money",
    110017: "a reduce-only order would not reduce the position",
    110019: "the order's number is not valid",
    110020: "too many orders wait",
    110023: "only orders that reduce are taken",
    110032: "the order is not valid",
    110034: "there is no position",
    110037: "the contract is not among the user's",
    110040: "the order would cause a liquidation",
    110042: "only orders that reduce are taken before delivery",
    110045: "there is too little money",
    110049: "a price is no number",
    110057: "a conditional order carries terms of a position's own stop",
    110063: "the contract is being settled",
    110066: "trading is not possible now",
    110067: "not for unified accounts",
    110069: "not for customers of loans",
    110074: "the contract is not traded yet",
    110088: "for unified accounts alone",
    110092: "a trigger that shall be risen to is below the price",
    110093: "a trigger that shall be fallen to is above the price",
    110094: "the order is worth less than the least",
    110095: "no orders during the opening auction",
    110098: "no such orders during the opening auction",
    110099: "no stops during the opening auction",
    110103: "only orders that do not fill at once are taken now",
    110118: "there is no price for an order at market",
    110120: "the price is below the limit",
    110121: "the price is above the limit",
    110123: "the terms of trading have not been agreed to",
    110124: "trading is restricted for a cooling-off period",
    110125: "the terms of the contract have not been agreed to",
    110132: "not available in this region",
    # a margin that the venue did not move
    110011: "the adjustment would cause a liquidation",
    110014: "there is too little free money to add as margin",
    110015: "a cross position has no margin of its own",
    110027: "the margin is as it was",
    110033: "there is no position to set margin of",
    110044: "there is too little free margin",
    110046: "the adjustment would cause a liquidation",
    110077: "not in portfolio margin",
    110078: "more margin than can be moved",
}
