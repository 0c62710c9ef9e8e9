"""
Codes by which Binance says, of either of its futures, that it did nothing.

Only codes that one of our writes can be answered by are here. Missing on purpose: -1000, -1001,
-1006, -1007 and -1016 (the venue does not say what became of the request, or not always), -1008
(throttled, from which orders that reduce are said to be exempt), -2020 (an order may have filled
in part), -4116 (an order of this id is open: an earlier send of it may have arrived), and whatever
the venue makes up tomorrow.
"""

from collections.abc import Mapping

OF_BOTH: Mapping[int, str] = {
    # Who asks, how often, and when. -1003 also comes with the statuses 429 and 418.
    -1002: "not authorised to execute this request",
    -1003: "too many requests, or the address is banned",
    -1015: "too many new orders",
    -1021: "the request is older than recvWindow, or from the future",
    -1022: "the signature is not valid",
    -2014: "the API key has another format",
    -2015: "the API key, the address or its permissions are not valid for this",
    -4192: "trading is forbidden in the cooling-off period",
    # How it is asked.
    -1014: "unsupported combination of order parameters",
    -1020: "this operation is not supported",
    -1100: "illegal characters in a parameter",
    -1101: "too many parameters, or one twice",
    -1102: "a mandatory parameter was missing, empty or malformed",
    -1103: "an unknown parameter",
    -1104: "not all parameters that were sent were read",
    -1105: "a parameter was empty",
    -1106: "a parameter was sent that is not required",
    -1111: "more digits than the asset has",
    -1114: "timeInForce was sent where it is not required",
    -1115: "timeInForce is not valid",
    -1116: "the type of order is not valid",
    -1117: "the side is not valid",
    -1118: "the new client order id was empty",
    -1121: "the symbol is not valid",
    -1128: "the combination of optional parameters is not valid",
    -1130: "the data of a parameter is not valid",
    -1136: "newOrderRespType is not valid",
    -4015: "the client order id is not valid",
    -4031: "the working type is not valid",
    -4060: "the position side is not valid",
    -4061: "the position side does not match the account's position mode",
    -4062: "reduceOnly has a value that is not valid here",
    -4120: "conditional orders belong to the algo service",
    # Prices and quantities.
    -4001: "the price is below 0",
    -4002: "the price is above the greatest",
    -4003: "the quantity is not above 0",
    -4004: "the quantity is below the least",
    -4005: "the quantity is above the greatest",
    -4006: "the stop price is below 0",
    -4007: "the stop price is above the greatest",
    -4013: "the price is below the least",
    -4014: "the price is no multiple of the tick size",
    -4016: "the price is above the cap that the mark price sets",
    -4023: "the quantity is no multiple of the step",
    -4024: "the price is below the floor that the mark price sets",
    # What is open, and the money behind it.
    -2010: "the new order is rejected",
    -2018: "the balance is insufficient",
    -2019: "the margin is insufficient",
    -2021: "the order would trigger at once",
    -2022: "the order that may only reduce is rejected",
    -2023: "the account is being liquidated",
    -2024: "the position is not sufficient",
    -2025: "as many orders are open as may be",
    -2026: "this type of order cannot be reduce-only",
    -2027: "above the greatest position at this leverage",
    -2028: "the leverage is lower than the margin balance permits",
    -4045: "as many stop orders are open as may be",
    -4049: "margin can be added to isolated positions only",
    -4050: "the cross balance is insufficient",
    -4051: "the isolated balance is insufficient",
    -4054: "margin cannot be added: there is no position",
    -4055: "the amount has to be above 0",
    -4142: "the stop order would trigger at once",
}
"""
`documented`: the pages of error codes of USD-M and of COIN-M futures, snapshots of 2025; -4120 of
COIN-M by the notice of its integration, June 2026.
"""
