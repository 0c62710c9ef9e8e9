"""The protocols of the live venues, by the venue's name in a policy."""

from collections.abc import Callable, Mapping

from bot.exchange.live.dialect import Dialect
from bot.exchange.venues import (
    apex_account,
    apex_market,
    apex_orders,
    binancecoinm_account,
    binancecoinm_market,
    binancecoinm_orders,
    binanceusdm_account,
    binanceusdm_market,
    binanceusdm_orders,
    bitget_account,
    bitget_market,
    bitget_orders,
    bitunix_account,
    bitunix_market,
    bitunix_orders,
    bybit_account,
    bybit_market,
    bybit_orders,
    gate_account,
    gate_market,
    gate_orders,
    hyperliquid_account,
    hyperliquid_market,
    hyperliquid_orders,
    krakenfutures_account,
    krakenfutures_market,
    krakenfutures_orders,
    kucoin_account,
    kucoin_market,
    kucoin_orders,
    okx_account,
    okx_market,
    okx_orders,
    xt_account,
    xt_market,
    xt_orders,
)


def _of_coin(coin: str) -> Dialect:
    return Dialect(
        binancecoinm_market.MARKET,
        binancecoinm_account.account_of(coin),
        binancecoinm_orders.ORDERS,
    )


WALLETS: Mapping[str, Callable[[str], Dialect]] = {"binancecoinm": _of_coin}
"""Of the venues that have a wallet for each coin: how they speak of that of a named one."""

DIALECTS: Mapping[str, Dialect] = {
    "apex": Dialect(apex_market, apex_account, apex_orders),
    "binancecoinm": _of_coin("BTC"),
    "binanceusdm": Dialect(
        binanceusdm_market.MARKET, binanceusdm_account.ACCOUNT, binanceusdm_orders.ORDERS
    ),
    "bitget": Dialect(bitget_market, bitget_account, bitget_orders),
    "bitunix": Dialect(bitunix_market, bitunix_account, bitunix_orders),
    "bybit": Dialect(bybit_market, bybit_account, bybit_orders),
    "gate": Dialect(gate_market, gate_account, gate_orders),
    "krakenfutures": Dialect(krakenfutures_market, krakenfutures_account, krakenfutures_orders),
    "kucoin": Dialect(kucoin_market, kucoin_account, kucoin_orders),
    "hyperliquid": Dialect(hyperliquid_market, hyperliquid_account, hyperliquid_orders),
    "okx": Dialect(okx_market, okx_account, okx_orders),
    "xt": Dialect(xt_market, xt_account, xt_orders),
}
