"""The protocols of the live venues, by the venue's name in a policy."""

from collections.abc import Callable, Mapping

from bot.exchange.live.dialect import Dialect
from bot.exchange.venues import (
    apex_account,
    apex_market,
    binancecoinm_account,
    binancecoinm_market,
    binanceusdm_account,
    binanceusdm_market,
    bitget_account,
    bitget_market,
    bitunix_account,
    bitunix_market,
    bybit_account,
    bybit_market,
    gate_account,
    gate_market,
    hyperliquid_account,
    hyperliquid_market,
    krakenfutures_account,
    krakenfutures_market,
    kucoin_account,
    kucoin_market,
    okx_account,
    okx_market,
    xt_account,
    xt_market,
)


def _of_coin(coin: str) -> Dialect:
    return Dialect(binancecoinm_market.MARKET, binancecoinm_account.account_of(coin))


WALLETS: Mapping[str, Callable[[str], Dialect]] = {"binancecoinm": _of_coin}
"""Of the venues that have a wallet for each coin: how they speak of that of a named one."""

DIALECTS: Mapping[str, Dialect] = {
    "apex": Dialect(apex_market, apex_account),
    "binancecoinm": _of_coin("BTC"),
    "binanceusdm": Dialect(binanceusdm_market.MARKET, binanceusdm_account.ACCOUNT),
    "bitget": Dialect(bitget_market, bitget_account),
    "bitunix": Dialect(bitunix_market, bitunix_account),
    "bybit": Dialect(bybit_market, bybit_account),
    "gate": Dialect(gate_market, gate_account),
    "krakenfutures": Dialect(krakenfutures_market, krakenfutures_account),
    "kucoin": Dialect(kucoin_market, kucoin_account),
    "hyperliquid": Dialect(hyperliquid_market, hyperliquid_account),
    "okx": Dialect(okx_market, okx_account),
    "xt": Dialect(xt_market, xt_account),
}
