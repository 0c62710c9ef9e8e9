"""
What Bybit's USDT perpetuals are: its clock, contracts, tiers, marks and bars (v5).

In the order of `MarketDialect`.
"""

import json as text_json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise

import structlog

from bot.core.events import BarsReported
from bot.core.model import (
    BARS_MAX,
    ContractKind,
    Instrument,
    RiskTier,
)
from bot.core.units import ONE, ZERO, Money, Price, Quantity, Ratio
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.dialect import Listed, Marked, Opening, Pace, TooMany, Unmoved
from bot.exchange.live.reading import (
    Row,
    closed_bars,
    page,
    rows,
)
from bot.exchange.venues.bybit import RULES
from bot.exchange.venues.capabilities import MATRIX

log = structlog.get_logger()

ccxt_id = "bybit"
read_weight_per_minute = 1_200
"""600 requests in 5 s of an address and 5 to 50 a second of each endpoint: `documented`, counted
here as if all endpoints were one that takes 20."""

too_many = TooMany(frozenset({403}), r'\{"retCode":\s*10006\b')
"""403 to an address, 10006 with HTTP 200 to an account: `documented`."""

write_pace = Pace(10, 1)
"""Of an account, of each endpoint, in a second: `documented`; newer kinds may send twice that."""

used_weight_header = ""
"""What is left is told per endpoint, not of the address."""

_PUBLIC, PRIVATE = "public", "private"
STREAMS = "wss://stream.bybit.com/v5"
PING = '{"op": "ping"}'
COIN = "USDT"
LINEAR = {"category": "linear"}
_CONTRACTS_MAX = 1_000
_MINUTE_MS = 60_000
_NANOS_OF_A_MS = 1_000_000


def result_of(json: Json, where: str) -> Row:
    """What the envelope of an answer holds; raises `Unreadable` for an error."""
    row = Row(json, where)
    if row.integer("retCode") != 0:
        raise Unreadable(f"{where}: expected retCode 0, was {row.raw('retCode')}: {words_of(row)}")
    return Row(row.raw("result"), where)


def words_of(row: Row) -> str:
    """What an answer says in words, or nothing."""
    return str(row.raw("retMsg")) if row.has("retMsg") else ""


def rows_of(json: Json, where: str) -> Iterator[Row]:
    """The list of an answer; raises `Unreadable`."""
    return rows(result_of(json, where).raw("list"), where)


def _only(json: Json, where: str, name: str) -> Row:
    """The one row of a contract."""
    named = [
        row for row in rows_of(json, where) if row.has("symbol") and row.raw("symbol") == name
    ]
    if len(named) != 1:
        raise Unreadable(f"{where}: expected one row of {name}, was {len(named)}")
    return named[0]


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """The venue's clock."""
    return Call(_PUBLIC, "GET", "v5/market/time", {})


def time_of(json: Json) -> int:
    """Its milliseconds."""
    return int(result_of(json, "time").identity("timeNano")) // _NANOS_OF_A_MS


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts: fewer than a page."""
    asked = LINEAR | {"limit": str(_CONTRACTS_MAX)}
    return Call(_PUBLIC, "GET", "v5/market/instruments-info", asked)


def listing_of(json: Json) -> Listed:
    """Perpetuals in USDT by the venue's id; one that cannot be read hides no other."""
    symbols, endings = {}, {}
    listed = result_of(json, "instruments-info").raw("list")
    for row in rows(page(listed, "instruments-info", _CONTRACTS_MAX), "instruments-info"):
        try:
            if (row.raw("contractType"), row.raw("settleCoin")) == ("LinearPerpetual", COIN):
                name, ends_at_ms = row.text("symbol"), row.integer("deliveryTime")
                symbols[name] = f"{row.text('baseCoin')}/{row.text('quoteCoin')}:{COIN}"
                if ends_at_ms > 0:
                    endings[name] = ends_at_ms
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))
    return Listed(symbols, endings=endings)


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules, tiers and fee of one contract."""
    of = LINEAR | {"symbol": name}
    return (
        interval_call(name),
        Call(_PUBLIC, "GET", "v5/market/risk-limit", of),
        Call(PRIVATE, "GET", "v5/account/fee-rate", of, weight=4),
    )


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract, its tiers with the venue's own deductions."""
    info, limits, fees = jsons
    row = _only(info, "instruments-info", name)
    prices = Row(row.raw("priceFilter"), f"{name}.priceFilter")
    lots = Row(row.raw("lotSizeFilter"), f"{name}.lotSizeFilter")
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=COIN,
        tick_size=Price(prices.above_zero("tickSize")),
        quantity_step=Quantity(lots.above_zero("qtyStep")),
        quantity_min=Quantity(lots.above_zero("minOrderQty")),
        taker_fee=Ratio(_only(fees, "fee-rate", name).number("takerFeeRate")),
        tiers=_tiers(limits, name),
        rules=RULES,
        quantity_max=Quantity(lots.above_zero("maxMktOrderQty")),
        stops_max=MATRIX["bybit"].stops_max,
    )


def _tiers(json: Json, name: str) -> tuple[RiskTier, ...]:
    where = f"risk-limit.{name}"
    table = sorted(
        (row for row in rows_of(json, where) if row.text("symbol") == name),
        key=lambda row: row.above_zero("riskLimitValue"),
    )
    caps = [row.number("riskLimitValue") for row in table]
    if not table or any(low >= high for low, high in pairwise(caps)):
        raise Unreadable(f"{where}: expected rising limits, was {caps}")
    return tuple(
        RiskTier(
            floor=floor,
            cap=Decimal("Infinity") if row is table[-1] else cap,
            rate=_rate(row),
            deduction=Money(_deduction(row)),
            leverage_max=row.above_zero("maxLeverage"),
        )
        for row, floor, cap in zip(table, (ZERO, *caps), caps, strict=False)
    )


def _rate(row: Row) -> Ratio:
    """A fraction; older answers have a percentage, which is more than any leverage can bear."""
    rate = row.above_zero("maintenanceMargin")
    if rate >= ONE / row.above_zero("maxLeverage"):
        raise row.wrong("maintenanceMargin", "a fraction below that of the most leverage")
    return Ratio(rate)


def _deduction(row: Row) -> Decimal:
    """Empty in the first tier."""
    return ZERO if row.raw("mmDeduction") == "" else row.number("mmDeduction")


def interval_call(name: str) -> Call:
    """The contract, which tells how often it settles."""
    return Call(_PUBLIC, "GET", "v5/market/instruments-info", LINEAR | {"symbol": name})


def interval_of(json: Json, name: str) -> int:
    """Its funding interval."""
    return _only(json, "instruments-info", name).integer("fundingInterval") * _MINUTE_MS


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """Mark prices and bills of all contracts."""
    return (Call(_PUBLIC, "GET", "v5/market/tickers", LINEAR),)


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """The readable ones; one bad row hides no other."""
    marks = []
    for row in rows_of(jsons[0], "tickers"):
        try:
            name = row.text("symbol")
            if name in listed.symbols:
                marks.append(
                    Marked(
                        listed.symbols[name],
                        Price(row.above_zero("markPrice")),
                        Ratio(row.number("fundingRate")),
                        row.integer("nextFundingTime"),
                    )
                )
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)


def bars_call(name: str) -> Call:
    """The newest hours of a mark price, the one that is not over yet among them."""
    asked = LINEAR | {"symbol": name, "interval": "60", "limit": str(BARS_MAX + 1)}
    return Call(_PUBLIC, "GET", "v5/market/mark-price-kline", asked)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them; told the newest first."""
    charted = result_of(json, "mark-price-kline").raw("list")
    if not isinstance(charted, list):
        raise Unreadable(f"mark-price-kline: expected a list, was {charted!r:.80}")
    return closed_bars(map(_charted, reversed(charted)), symbol, received_at_ms)


def _charted(row: Json) -> tuple[int, Row]:
    match row:
        case [str(opens_at), _, high, low, close, *_] if opens_at.isdecimal():
            prices = {"high": high, "low": low, "close": close}
            return int(opens_at), Row(prices, "mark-price-kline")
        case _:
            raise Unreadable(f"mark-price-kline: expected a row of a chart, was {row!r:.80}")


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the tickers of these contracts are pushed, several times a second."""
    asked = {"op": "subscribe", "args": [f"tickers.{name}" for name in names]}
    return Opening(f"{STREAMS}/public/linear", (text_json.dumps(asked),), ping=PING)


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked | Unmoved]:
    """
    The mark of a frame, without the next bill; none if it is about something else.

    A frame has what has changed: `documented`, of what is not in it that it has not.
    """
    frame = Row(json, "frame")
    topic = frame.raw("topic") if frame.has("topic") else ""
    if not isinstance(topic, str) or not topic.startswith("tickers."):
        return ()
    row = Row(frame.raw("data"), "frame.data")
    if (name := row.text("symbol")) not in listed.symbols:
        return ()
    if not row.has("markPrice"):
        return (Unmoved(listed.symbols[name]),)
    return (Marked(listed.symbols[name], Price(row.above_zero("markPrice")), Ratio(ZERO), 0),)
