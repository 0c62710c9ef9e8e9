"""What the venue says when it refuses: code, words and HTTP status, as Binance documents them."""

from bot.exchange.ports import Refused

BAD_REQUEST = 400
TEXTS = {
    -1000: "An unknown error occurred while processing the request.",
    -1003: "Too many requests; please use the websocket for live updates.",
    -1015: "Too many new orders; please slow down.",
    -1022: "Signature for this request is not valid.",
    -1100: "Illegal characters found in a parameter.",
    -1111: "Precision is over the maximum defined for this asset.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1121: "Invalid symbol.",
    -1125: "This listenKey does not exist.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -4003: "Quantity less than or equal to zero.",
    -4005: "Quantity greater than max quantity.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id is not valid.",
    -4028: "Leverage is not valid",
    -4045: "Reach max stop order limit.",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4049: "Add margin only support for isolated position.",
    -4051: "Isolated balance insufficient.",
    -4054: "Cannot add position margin: position is 0.",
    -4055: "Amount must be positive.",
    -4059: "No need to change position side.",
    -4060: "Invalid position side.",
    -4061: "Order's position side does not match user's setting.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4116: "ClientOrderId is duplicated.",
    -4118: "ReduceOnly Order Failed. Please check your existing position and open orders",
    -4120: (
        "Order type not supported for this endpoint. "
        "Please use the Algo Order API endpoints instead."
    ),
    -4130: (
        "An open stop or take profit order with GTE and closePosition in the direction is "
        "existing."
    ),
    -4161: "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    -4168: "Unable to adjust to isolated-margin mode under the Multi-Assets mode.",
    -5022: (
        "Due to the order could not be executed as maker, the Post Only order will be rejected. "
        "The order will not be recorded in the order history"
    ),
}
"""Source: the venue's list of error codes, as recorded and documented payloads show them."""

NOT_HERE = -9000
"""A code of our own, which no venue has: the paper exchange cannot do this."""


class Refusal(Exception):
    """A request that is not performed, with the answer that says so."""

    def __init__(
        self, code: int, text: str = "", status: int = BAD_REQUEST, retry_after_s: int = 0
    ) -> None:
        """Without `text` the venue's usual words for `code`."""
        super().__init__(code, text)
        self.code = code
        self.text = text or TEXTS[code]
        self.status = status
        self.retry_after_s = retry_after_s


def refusal_of(refused: Refused) -> Refusal:
    """The machine's refusal in the venue's words."""
    code = int(refused.code)
    return Refusal(code, TEXTS.get(code, refused.text))


def not_here(what: str) -> Refusal:
    """For what the venue could do and this exchange cannot: never a pretended answer."""
    return Refusal(NOT_HERE, f"The paper exchange cannot do this: {what}.")
