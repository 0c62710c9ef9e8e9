"""Binance USD-M, its public side: the values by which it differs from COIN-M."""

from bot.core.model import ContractKind
from bot.exchange.venues.binance_market import BinanceMarket
from bot.exchange.venues.binanceusdm import RULES

MARKET = BinanceMarket(
    ccxt_id="binanceusdm",
    kind=ContractKind.LINEAR,
    rules=RULES,
    public="fapiPublic",
    private="fapiPrivate",
    brackets="fapiPrivate",
    cap="notionalCap",
    streams="wss://fstream.binance.com/market/stream?streams=",
)
