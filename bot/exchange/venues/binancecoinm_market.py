"""Binance COIN-M, its public side: the values by which it differs from USD-M."""

from bot.core.model import ContractKind
from bot.exchange.venues.binance_market import BinanceMarket
from bot.exchange.venues.binancecoinm import RULES

MARKET = BinanceMarket(
    ccxt_id="binancecoinm",
    kind=ContractKind.INVERSE,
    rules=RULES,
    public="dapiPublic",
    private="dapiPrivate",
    brackets="dapiPrivateV2",
    cap="qtyCap",
    streams="wss://dstream.binance.com/stream?streams=",
)
