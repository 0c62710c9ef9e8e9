"""Binance COIN-M, what is sent to it: the values by which it differs from USD-M."""

from bot.exchange.venues.binance_orders import BinanceOrders
from bot.exchange.venues.binancecoinm_refusals import REFUSED

ORDERS = BinanceOrders(api="dapiPrivate", refused=REFUSED)
