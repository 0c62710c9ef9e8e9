"""The protocols of the live venues, by the venue's name in a policy."""

from collections.abc import Mapping

from bot.exchange.live.dialect import Dialect
from bot.exchange.venues import (
    apex_api,
    binanceusdm_api,
    bitget_api,
    bitunix_api,
    bybit_api,
    gate_api,
    hyperliquid_account,
    hyperliquid_market,
    okx_api,
    xt_api,
)

DIALECTS: Mapping[str, Dialect] = {
    "apex": Dialect(apex_api, apex_api),
    "binanceusdm": Dialect(binanceusdm_api, binanceusdm_api),
    "bitget": Dialect(bitget_api, bitget_api),
    "bitunix": Dialect(bitunix_api, bitunix_api),
    "bybit": Dialect(bybit_api, bybit_api),
    "gate": Dialect(gate_api, gate_api),
    "hyperliquid": Dialect(hyperliquid_market, hyperliquid_account),
    "okx": Dialect(okx_api, okx_api),
    "xt": Dialect(xt_api, xt_api),
}
