"""
What a venue tells of a contract only to who has a key, as an ordinary account would be told it.

Shapes are those that each venue's parser reads. Fees: Binance's and Bybit's are those of an
account without discounts, `documented`; OKX's is the one of ccxt's own table, Gate's the fixed
rate that its contracts carry, which is more than most pay: both `assumed`. Tiers of Binance are
the table of `binanceusdm`. The other venues tell all of it to anybody.
"""

from collections.abc import Mapping
from decimal import Decimal

from bot.core.model import RiskTier
from bot.exchange.live.calls import Json
from bot.exchange.live.keyless import Documents, NotTold
from bot.exchange.venues import binanceusdm

BYBIT_TAKER_FEE = "0.00055"
GATE_TAKER_FEE = "0.00075"
OKX_TAKER_FEE = "0.0005"

_BINANCE = binanceusdm.instruments()
_LAST_CAP = Decimal(10**15)
"""The last tier has no end, and a number has to stand there."""


def _binance_tiers(asked: Mapping[str, Json]) -> Json:
    known = {symbol.replace("/", "").partition(":")[0]: symbol for symbol in _BINANCE}
    if asked["symbol"] not in known:
        raise NotTold(
            f"{asked['symbol']}: expected a contract whose risk tiers are known without a key "
            f"({', '.join(sorted(known))})"
        )
    tiers = _BINANCE[known[asked["symbol"]]].tiers
    return [{"symbol": asked["symbol"], "brackets": [_bracket(tier) for tier in tiers]}]


def _bracket(tier: RiskTier) -> Json:
    return {
        "notionalFloor": f"{tier.floor:f}",
        "notionalCap": f"{min(tier.cap, _LAST_CAP):f}",
        "maintMarginRatio": f"{tier.rate:f}",
        "cum": f"{tier.deduction:f}",
        "initialLeverage": f"{tier.leverage_max:f}",
    }


def _binance_fee(asked: Mapping[str, Json]) -> Json:
    return {"takerCommissionRate": f"{binanceusdm.TAKER_FEE:f}"}


def _bybit_fee(asked: Mapping[str, Json]) -> Json:
    row = {"symbol": asked["symbol"], "takerFeeRate": BYBIT_TAKER_FEE}
    return {"retCode": 0, "result": {"list": [row]}}


def _gate_fee(asked: Mapping[str, Json]) -> Json:
    return {asked["contract"]: {"taker_fee": GATE_TAKER_FEE}}


def _okx_fee(asked: Mapping[str, Json]) -> Json:
    return {"code": "0", "data": [{"takerU": f"-{OKX_TAKER_FEE}"}]}


DOCUMENTS: Mapping[str, Documents] = {
    "binanceusdm": {"leverageBracket": _binance_tiers, "commissionRate": _binance_fee},
    "bitget": {},
    "bitunix": {},
    "bybit": {"v5/account/fee-rate": _bybit_fee},
    "gate": {"{settle}/fee": _gate_fee},
    "kucoin": {},
    "okx": {"account/trade-fee": _okx_fee},
    "xt": {},
}
"""The venues on whose prices paper can be run without a key, and what is documented of each."""
