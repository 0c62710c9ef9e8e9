"""The listed contracts in the venue's words: names, filters, risk tiers."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from bot.core.model import Instrument
from bot.core.units import ZERO, Money
from bot.exchange.paper.arithmetic import on_step
from bot.exchange.paper.orders import OrderLimits
from bot.exchange.paper.wire.admission import ORDERS_1M_MAX, ORDERS_10S_MAX, WEIGHT_MAX
from bot.exchange.paper.wire.refusal import Refusal

ORDER_LIMITS = OrderLimits(
    steps_max=Decimal(10**7),
    market_steps_max=Decimal(10**6),
    notional_min=Money(Decimal(5)),
)
"""
What the venue takes of orders where the contract says nothing narrower. `assumed`: it has a size
of its own for each, and a least notional of 5 to 100, which no contract of ours carries.
"""

CAP_DISPLAYED = 10**15
"""What the venue's format has in place of the infinite cap of the last tier."""


class Listing:
    """Instruments by the venue's ids: BTCUSDT for BTC/USDT:USDT."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self.by_id = {id_of(each.symbol): each for each in instruments}

    def named(self, name: str) -> Instrument:
        """The instrument of a venue id; -1121 where there is none."""
        if name not in self.by_id:
            raise Refusal(-1121)
        return self.by_id[name]


def id_of(symbol: str) -> str:
    """The venue's id of a unified symbol."""
    return symbol.partition(":")[0].replace("/", "")


def text(value: Decimal) -> str:
    """A number as the venue writes it: no exponent."""
    return f"{value:f}"


def exchange_info(instruments: Iterable[Instrument], now_ms: int) -> dict[str, Any]:
    """GET exchangeInfo."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_MAX),
            _limit("ORDERS", "MINUTE", 1, ORDERS_1M_MAX),
            _limit("ORDERS", "SECOND", 10, ORDERS_10S_MAX),
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "0"}],
        "symbols": [_symbol(each) for each in instruments],
    }


def _limit(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {
        "rateLimitType": kind,
        "interval": interval,
        "intervalNum": number,
        "limit": limit,
    }


def _symbol(instrument: Instrument) -> dict[str, Any]:
    base, _, quote = instrument.symbol.partition(":")[0].partition("/")
    tick, limits = text(instrument.tick_size), ORDER_LIMITS
    return {
        "symbol": base + quote,
        "pair": base + quote,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": base,
        "quoteAsset": quote,
        "marginAsset": instrument.settle,
        "pricePrecision": _places(instrument.tick_size),
        "quantityPrecision": _places(instrument.quantity_step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.000000",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": "1000000000",
                "tickSize": tick,
            },
            _lot_size("LOT_SIZE", instrument, instrument.quantity_step * limits.steps_max),
            _lot_size("MARKET_LOT_SIZE", instrument, limits.market_max(instrument)),
            {"filterType": "MAX_NUM_ORDERS", "limit": limits.resting_symbol_max},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": limits.conditional_max(instrument)},
            {"filterType": "MIN_NOTIONAL", "notional": text(limits.notional_min)},
        ],
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _lot_size(kind: str, instrument: Instrument, most: Decimal) -> dict[str, str]:
    return {
        "filterType": kind,
        "stepSize": text(instrument.quantity_step),
        "maxQty": text(most),
        "minQty": text(instrument.quantity_min),
    }


def _places(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def leverage_bracket(instrument: Instrument) -> dict[str, Any]:
    """One row of GET leverageBracket."""
    return {
        "symbol": id_of(instrument.symbol),
        "notionalCoef": 1.0,
        "brackets": [
            {
                "bracket": number,
                "initialLeverage": int(tier.leverage_max),
                "notionalCap": int(tier.cap) if tier.cap.is_finite() else CAP_DISPLAYED,
                "notionalFloor": int(tier.floor),
                "maintMarginRatio": float(tier.rate),
                "cum": float(tier.deduction),
            }
            for number, tier in enumerate(instrument.tiers, 1)
        ],
    }


def check_steps(instrument: Instrument, quantity: Decimal) -> None:
    """Refuse a quantity that is not above zero or off its step."""
    if quantity <= ZERO or quantity < instrument.quantity_min:
        raise Refusal(-4003)
    if not on_step(quantity, instrument.quantity_step):
        raise Refusal(-1111)


def check_tick(instrument: Instrument, price: Decimal) -> None:
    """Refuse a price that is not above zero or off its tick."""
    if price <= ZERO or not on_step(price, instrument.tick_size):
        raise Refusal(-4014)
