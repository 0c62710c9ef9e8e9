"""What this venue says when it refuses: a code in a body that came with HTTP 200."""

from bot.exchange.ports import Refused

OK = 0
NOT_HERE = -9000
"""A code of our own, which no venue has: the paper exchange cannot do this."""

TEXTS = {
    10001: "params error",
    10002: "invalid request, please check your server timestamp or recv_window param",
    10003: "API key is invalid.",
    10004: "error sign! please check your signature generation algorithm.",
    10017: "route not found",
    110001: "order not exists or too late to cancel",
    110007: "ab not enough for new order",
    110009: "The number of stop orders exceeds the maximum allowable limit",
    110013: "cannot set leverage gt maxLeverage by risk limit",
    110014: "Insufficient available balance to add additional margin",
    110015: "The position is in cross margin mode",
    110016: "The requested quantity of contracts exceeds the risk limit",
    110017: "Reduce-only rule not satisfied",
    110020: "Not allowed to have more than 500 active orders",
    110024: "You have an existing position, so the position mode cannot be switched",
    110025: "Position mode is not modified",
    110028: "You have existing open orders, so the position mode cannot be switched",
    110033: "You can't set margin without an open position",
    110043: "leverage not modified",
    110044: "Insufficient available margin",
    110072: "OrderLinkedID is duplicate",
    110092: "expect Rising, but trigger_price <= current",
    110093: "expect Falling, but trigger_price >= current",
    110094: "Order does not meet minimum order value",
    3400045: "Set margin mode failed",
}
"""Source: the venue's page of error codes, `documented`."""

_CODES = {
    "-2011": 110001,
    "-2019": 110007,
    "-2022": 110017,
    "-2025": 110020,
    "-2027": 110016,
    "-2028": 110044,
    "-4045": 110009,
    "-4046": 3400045,
    "-4047": 3400045,
    "-4048": 3400045,
    "-4049": 110015,
    "-4059": 110025,
    "-4067": 110028,
    "-4068": 110024,
    "-4116": 110072,
    "-4118": 110017,
    "-4161": NOT_HERE,
    "-4164": 110094,
}
"""The machine's codes, which are Binance's, in this venue's; what is not here is 10001."""


class BybitRefusal(Exception):
    """A request that is not performed, with the answer that says so."""

    def __init__(self, code: int, text: str = "") -> None:
        """Without `text` the venue's usual words for `code`."""
        super().__init__(code, text)
        self.code = code
        self.text = text or TEXTS[code]


def bybit_refusal(refused: Refused) -> BybitRefusal:
    """The machine's refusal in this venue's words."""
    if refused.code not in _CODES:
        return BybitRefusal(10001, refused.text)
    code = _CODES[refused.code]
    return BybitRefusal(code, TEXTS.get(code, refused.text))


def not_here(what: str) -> BybitRefusal:
    """For what the venue could do and this exchange cannot: never a pretended answer."""
    return BybitRefusal(NOT_HERE, f"The paper exchange cannot do this: {what}.")
