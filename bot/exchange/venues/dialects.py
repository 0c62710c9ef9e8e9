"""The protocols of the live venues, by the venue's name in a policy."""

from collections.abc import Callable, Mapping

from bot.exchange.live.dialect import Dialect
from bot.exchange.venues import (
    apex_api,
    binancecoinm_account,
    binancecoinm_market,
    binanceusdm_account,
    binanceusdm_market,
    bitget_api,
    bitunix_api,
    bybit_api,
    gate_api,
    hyperliquid_account,
    hyperliquid_market,
    krakenfutures_account,
    krakenfutures_market,
    kucoin_account,
    kucoin_market,
    okx_api,
    xt_api,
)


def _of_coin(coin: str) -> Dialect:
    return Dialect(binancecoinm_market.MARKET, binancecoinm_account.account_of(coin))


WALLETS: Mapping[str, Callable[[str], Dialect]] = {"binancecoinm": _of_coin}
"""Of the venues that have a wallet for each coin: how they speak of that of a named one."""

DIALECTS: Mapping[str, Dialect] = {
    "apex": Dialect(apex_api, apex_api),
    "binancecoinm": _of_coin("BTC"),
    "binanceusdm": Dialect(binanceusdm_market.MARKET, binanceusdm_account.ACCOUNT),
    "bitget": Dialect(bitget_api, bitget_api),
    "bitunix": Dialect(bitunix_api, bitunix_api),
    "bybit": Dialect(bybit_api, bybit_api),
    "gate": Dialect(gate_api, gate_api),
    "krakenfutures": Dialect(krakenfutures_market, krakenfutures_account),
    "kucoin": Dialect(kucoin_market, kucoin_account),
    "hyperliquid": Dialect(hyperliquid_market, hyperliquid_account),
    "okx": Dialect(okx_api, okx_api),
    "xt": Dialect(xt_api, xt_api),
}
