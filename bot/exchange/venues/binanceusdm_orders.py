"""Binance USD-M, what is sent to it: the values by which it differs from COIN-M."""

from bot.exchange.venues.binance_orders import BinanceOrders
from bot.exchange.venues.binanceusdm_refusals import REFUSED

ORDERS = BinanceOrders(api="fapiPrivate", refused=REFUSED)
