"""
Words by which Kraken's futures say that they did nothing, one by one. All others prove nothing.

`documented` (v3: the errors of an answer, and the statuses of an order within a good one). Missing
on purpose: Server Error, Unavailable and unknownError (the venue does not know),
nonceBelowThreshold and nonceDuplicate (no nonce is sent: whose request that answers is not clear),
notFound and filled (of a cancellation they do not say what became of the stop),
clientOrderIdAlreadyExist (an earlier send of it may have arrived), insufficientFunds and the other
errors of transfers, which are never sent, and whatever the venue makes up tomorrow.
"""

from collections.abc import Mapping

ERRORS: Mapping[str, str] = {
    "accountInactive": "the account is not active",
    "apiLimitExceeded": "more requests than the venue takes",
    "authenticationError": "the key or its signature is not accepted",
    "invalidArgument": "an argument is wrong",
    "Json Parse Error": "an argument is no JSON",
    "marketUnavailable": "the market is not available",
    "requiredArgumentMissing": "an argument is missing",
}
"""Of an answer whose `result` is `error`."""

STATUSES: Mapping[str, str] = {
    "clientOrderIdInvalid": "the client id is not valid",
    "clientOrderIdTooBig": "the client id is too long",
    "clientOrderIdTooLong": "the client id is too long",
    "fixedLeverageTooHigh": "the leverage of the isolated position is too high",
    "insufficientAvailableFunds": "there is too little money",
    "invalidOrderType": "the kind of order is wrong",
    "invalidPrice": "a price is wrong",
    "invalidSide": "the side is wrong",
    "invalidSize": "the size is wrong",
    "iocWouldNotExecute": "nobody offers at that price",
    "marketInactive": "the market is not active",
    "marketIsPostOnly": "the market takes only orders that wait",
    "marketSuspended": "the market is suspended",
    "maxPositionViolation": "the position would be too large",
    "outsidePriceCollar": "the price is out of the limits",
    "postWouldExecute": "the order would be filled at once",
    "selfFill": "it would meet an order of the same account",
    "tooManyOrders": "too many orders wait",
    "tooManySmallOrders": "too many small orders wait",
    "wouldCauseLiquidation": "it would cause a liquidation",
    "wouldIncreasePriceDislocation": "it would move the price out of the limits",
    "wouldNotReducePosition": "there is nothing that a reduce-only order could reduce",
    "wouldProcessAfterSpecifiedTime": "the request is too old",
}
"""Of an order in an answer whose `result` is `success`: `sendStatus.status`."""

REFUSED: Mapping[str, str] = {**ERRORS, **STATUSES}
"""All of them, for the page of faults."""
