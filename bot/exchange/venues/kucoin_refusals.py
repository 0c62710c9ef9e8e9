"""
Codes by which KuCoin says that it did nothing, one by one. All others prove nothing.

`documented`: its tables of futures codes and of the gateway's; 330008 and 330012 as ccxt keeps
them. Missing on purpose are 500000 (the server), 100002 (its configuration), 300010 (the close
failed, and of how much is not said) and 300018 (the client id is known: then it was taken before).
"""

from collections.abc import Mapping

NOT_FOUND = ("100001", "error.getOrder.orderNotExist")
"""There is no such order: by both the code, which stands for more, and the words."""

REFUSED: Mapping[str, str] = {
    # the gateway: before anything of the account is touched
    "1015": "more requests than the venue takes",
    "40010": "the country is not served",
    "200002": "more requests than the venue takes",
    "400001": "the request is not signed",
    "400002": "the request is too old",
    "400003": "the key is not known",
    "400004": "the passphrase is wrong",
    "400005": "the signature is wrong",
    "400006": "the key may not be used from this address",
    "400007": "the key has no right to do this",
    "400008": "the key is of a version that is not taken any more",
    "400009": "the key is of another version",
    "400010": "the user may not",
    "400301": "the country is not served",
    "400303": "the user has to be verified first",
    "404000": "there is no such path",
    "411100": "the account is frozen",
    "415000": "the body is of a wrong kind",
    "429000": "more requests than the venue takes",
    # parameters
    "100001": "a parameter is wrong",
    "100003": "there is no such contract",
    "200003": "there is no such contract",
    "300000": "a parameter is wrong",
    "400100": "a parameter is wrong, or there is too little free money",
    # money
    "200005": "there is too little free money",
    "300003": "there is too little free money",
    # an order, a stop or a cancel that the venue did not take
    "100004": "there is no such order, or it is over",
    "300001": "too many orders rest",
    "300002": "orders are suspended",
    "300004": "too many stops wait",
    "300005": "the position would be too large",
    "300006": "the price is beyond bankruptcy",
    "300007": "the price is beyond liquidation",
    "300008": "nobody is on the other side",
    "300009": "there is no position",
    "300011": "the price is too high",
    "300012": "the price is too low",
    "300013": "nobody is on the other side",
    "300014": "the position is being liquidated",
    "300015": "the contract is being settled",
    "300016": "the leverage is too high",
    "300017": "the position is one of a contest",
    "330005": "the order is of another margin mode",
    "330008": "the position would be too large",
    "330011": "the order is of another position mode",
    "330012": "the order is of another position mode",
}
