"""Contracts and prices as this venue shows them to everybody."""

from typing import Any

from bot.core.model import Instrument
from bot.exchange.paper.orders import OrderLimits
from bot.exchange.paper.wire.exchange import Settled, WireExchange
from bot.exchange.paper.wire.listing import CAP_DISPLAYED, id_of, text

HOUR_MS = 3_600_000


def time_row(now_ms: int) -> dict[str, Any]:
    """GET market/time."""
    return {"timeSecond": str(now_ms // 1_000), "timeNano": str(now_ms * 1_000_000)}


def contract_row(instrument: Instrument, limits: OrderLimits) -> dict[str, Any]:
    """A row of GET instruments-info."""
    base, _, quote = instrument.symbol.partition(":")[0].partition("/")
    tick, step = text(instrument.tick_size), instrument.quantity_step
    return {
        "symbol": id_of(instrument.symbol),
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": base,
        "quoteCoin": quote,
        "settleCoin": instrument.settle,
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": "2",
        "leverageFilter": {
            "minLeverage": "1",
            "maxLeverage": text(instrument.tiers[0].leverage_max),
            "leverageStep": "1",
        },
        "priceFilter": {"minPrice": tick, "maxPrice": "1000000000", "tickSize": tick},
        "lotSizeFilter": {
            "maxOrderQty": text(step * limits.steps_max),
            "maxMktOrderQty": text(limits.market_max(instrument)),
            "minOrderQty": text(instrument.quantity_min),
            "qtyStep": text(step),
            "minNotionalValue": text(limits.notional_min),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "copyTrading": "none",
    }


def ticker_row(exchange: WireExchange, symbol: str) -> dict[str, Any]:
    """A row of GET tickers, and the data of the tickers topic."""
    quote, (rate, next_ms) = exchange.machine.quotes[symbol], exchange.bill(symbol)
    return {
        "symbol": id_of(symbol),
        "lastPrice": text(quote.last),
        "indexPrice": text(quote.index),
        "markPrice": text(quote.mark),
        "fundingRate": text(rate),
        "nextFundingTime": str(next_ms),
        "bid1Price": text(quote.last),
        "bid1Size": "0",
        "ask1Price": text(quote.last),
        "ask1Size": "0",
    }


def ticker_push(exchange: WireExchange, symbol: str, now_ms: int) -> dict[str, Any]:
    """A frame of the tickers topic: always whole."""
    return {
        "topic": f"tickers.{id_of(symbol)}",
        "type": "snapshot",
        "data": ticker_row(exchange, symbol),
        "cs": now_ms,
        "ts": now_ms,
    }


def tier_rows(instrument: Instrument) -> list[dict[str, Any]]:
    """Rows of GET risk-limit: one for each tier."""
    return [
        {
            "id": number,
            "symbol": id_of(instrument.symbol),
            "riskLimitValue": text(tier.cap) if tier.cap.is_finite() else str(CAP_DISPLAYED),
            "maintenanceMargin": text(tier.rate),
            "initialMargin": text(1 / tier.leverage_max),
            "isLowestRisk": int(number == 1),
            "maxLeverage": text(tier.leverage_max),
            "mmDeduction": text(tier.deduction),
        }
        for number, tier in enumerate(instrument.tiers, 1)
    ]


INTERVALS = {
    "1": "1m",
    "3": "3m",
    "5": "5m",
    "15": "15m",
    "30": "30m",
    "60": "1h",
    "120": "2h",
    "240": "4h",
    "360": "6h",
    "720": "12h",
    "D": "1d",
}
"""Lengths of bars, in the words of the other dialect."""


def mark_bars(
    exchange: WireExchange, symbol: str, interval: str, span: tuple[int, int, int]
) -> list[list[str]]:
    """Rows of GET mark-price-kline, the newest first."""
    rows = exchange.candles(symbol, of_mark=True).rows(interval, *span)
    return [[str(each) for each in row[:5]] for row in reversed(rows)]


def fee_row(instrument: Instrument) -> dict[str, Any]:
    """A row of GET fee-rate."""
    return {
        "symbol": id_of(instrument.symbol),
        "takerFeeRate": text(instrument.taker_fee),
        "makerFeeRate": "0.0002",
    }


def bill_row(settled: Settled) -> dict[str, Any]:
    """A row of GET funding/history."""
    return {
        "symbol": id_of(settled.term.symbol),
        "fundingRate": text(settled.term.rate),
        "fundingRateTimestamp": str(settled.term.next_at_ms),
    }
