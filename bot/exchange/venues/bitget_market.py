"""
What Bitget's USDT perpetuals are: its clock, contracts, tiers, marks and bars (v2).

The venue counts in base. In the order of `MarketDialect`.
"""

import json as text_json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import structlog

from bot.core.events import BarsReported
from bot.core.model import (
    BARS_MAX,
    ContractKind,
    Instrument,
    RiskTier,
)
from bot.core.units import ZERO, Price, Quantity, Ratio
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.dialect import Listed, Marked, Opening, Pace, TooMany
from bot.exchange.live.reading import (
    Row,
    closed_bars,
    rows,
)
from bot.exchange.venues.bitget import RULES
from bot.exchange.venues.capabilities import MATRIX
from bot.exchange.venues.tiers import Bracket, continuous

log = structlog.get_logger()

ccxt_id = "bitget"
read_weight_per_minute = 300
"""5 reads a second of the slowest endpoint: `documented`, counted here as if all were one."""

too_many = TooMany()
write_pace = Pace(10, 1)
"""Orders and stops of an account in a second: `documented`; margin is 5."""

used_weight_header = ""

COIN = "USDT"
OF_USDT = {"productType": "USDT-FUTURES"}
_PUBLIC, PRIVATE = "public.mix", "private.mix"
_MARKET = "v2/mix/market"
SUCCESS = "00000"
_HOUR_MS, _HOURS_MAX = 3_600_000, 24
_DIGITS_MAX = 18
_CANDLE = 5
STREAMS = "wss://ws.bitget.com/v2/ws"
PING, PONG = "ping", "pong"


def number_or_none(row: Row, name: str) -> Decimal | None:
    """A number above zero; none where it is missing, blank or zero."""
    if not row.has(name) or row.raw(name) in (None, ""):
        return None
    return row.above_zero(name) if row.number(name) != ZERO else None


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """The venue's clock."""
    return Call("public.common", "GET", "v2/public/time", {})


def time_of(json: Json) -> int:
    """Its milliseconds."""
    return Row(data_of(json, "time"), "time").integer("serverTime")


def data_of(json: Json, where: str) -> Json:
    """What an answer is about; raises `Unreadable` for one that says that it failed."""
    row = Row(json, where)
    if row.text("code") != SUCCESS:
        raise Unreadable(f"{where}: expected code {SUCCESS}, was {row.raw('code')!r}")
    return row.raw("data")


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts."""
    return Call(_PUBLIC, "GET", f"{_MARKET}/contracts", OF_USDT)


def listing_of(json: Json) -> Listed:
    """Perpetual contracts in USDT, and when one is taken off; a bad row hides no other."""
    symbols, endings = {}, {}
    for row in rows(data_of(json, "contracts"), "contracts"):
        try:
            if (row.raw("symbolType"), row.raw("quoteCoin")) == ("perpetual", COIN):
                name = row.text("symbol")
                symbols[name] = f"{row.text('baseCoin')}/{COIN}:{COIN}"
                if row.has("offTime") and (ends_at_ms := row.integer("offTime")) > 0:
                    endings[name] = ends_at_ms
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))
    return Listed(symbols, endings=endings)


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules and tiers of one contract."""
    of = OF_USDT | {"symbol": name}
    return (
        Call(_PUBLIC, "GET", f"{_MARKET}/contracts", of),
        Call(_PUBLIC, "GET", f"{_MARKET}/query-position-lever", of),
    )


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract, with the fee of an account without discounts."""
    found = list(rows(data_of(jsons[0], "contracts"), "contracts"))
    if len(found) != 1 or found[0].raw("symbol") != name:
        raise Unreadable(f"contracts: expected one row of {name}, was {len(found)}")
    (row,) = found
    digits = row.integer("pricePlace")
    if not 0 <= digits <= _DIGITS_MAX:
        raise row.wrong("pricePlace", "a number of digits")
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=COIN,
        tick_size=Price(row.above_zero("priceEndStep").scaleb(-digits)),
        quantity_step=Quantity(row.above_zero("sizeMultiplier")),
        quantity_min=Quantity(row.above_zero("minTradeNum")),
        taker_fee=Ratio(row.number("takerFeeRate")),
        tiers=_tiers(jsons[1], name),
        rules=RULES,
        quantity_max=Quantity(number_or_none(row, "maxMarketOrderQty") or Decimal("Infinity")),
        stops_max=MATRIX["bitget"].stops_max,
    )


def _tiers(json: Json, name: str) -> tuple[RiskTier, ...]:
    """Brackets of value; that they are progressive is as docs/margin.md says."""
    where = f"query-position-lever.{name}"
    found = rows(data_of(json, where), where)
    table = [
        Bracket(
            row.above_zero("endUnit"),
            row.above_zero("keepMarginRate"),
            row.above_zero("leverage"),
        )
        for row in sorted(found, key=lambda row: row.integer("level"))
    ]
    return continuous(table, where)


def interval_call(name: str) -> Call:
    """The contract's next bill."""
    return Call(_PUBLIC, "GET", f"{_MARKET}/current-fund-rate", OF_USDT | {"symbol": name})


def interval_of(json: Json, name: str) -> int:
    """Its funding interval; the venue tells it in hours."""
    row = _bill_row(json)
    hours = row.integer("fundingRateInterval")
    if not 0 < hours <= _HOURS_MAX:
        raise row.wrong("fundingRateInterval", "hours of a day")
    return hours * _HOUR_MS


def _bill_row(json: Json) -> Row:
    found = list(rows(data_of(json, "current-fund-rate"), "current-fund-rate"))
    if len(found) != 1:
        raise Unreadable(f"current-fund-rate: expected one row, was {len(found)}")
    return found[0]


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """Mark prices of all contracts, and the bills of these."""
    marks = Call(_PUBLIC, "GET", f"{_MARKET}/tickers", OF_USDT)
    return (marks, *(interval_call(name) for name in names))


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """The readable ones; one bad row hides no other."""
    bills: dict[str, tuple[Ratio, int]] = {}
    for json in jsons[1:]:
        try:
            row = _bill_row(json)
            bills[row.text("symbol")] = Ratio(row.number("fundingRate")), row.integer("nextUpdate")
        except Unreadable as e:
            log.warning("bill.unreadable", reason=str(e))
    return _marked(rows(data_of(jsons[0], "tickers"), "tickers"), "symbol", listed, bills)


def _marked(
    found: Iterator[Row],
    name_is: str,
    listed: Listed,
    bills: Mapping[str, tuple[Ratio, int]],
) -> tuple[Marked, ...]:
    marks = []
    for row in found:
        try:
            name = row.text(name_is)
            if name in listed.symbols:
                price = Price(row.above_zero("markPrice"))
                marks.append(
                    Marked(listed.symbols[name], price, *bills.get(name, (Ratio(ZERO), 0)))
                )
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)


def bars_call(name: str) -> Call:
    """The newest hours of the mark price, the one that is not over yet among them."""
    asked = {"symbol": name, "granularity": "1H", "kLineType": "MARK", "limit": str(BARS_MAX + 1)}
    return Call(_PUBLIC, "GET", f"{_MARKET}/candles", OF_USDT | asked)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them."""
    data = data_of(json, "candles")
    if not isinstance(data, list):
        raise Unreadable(f"candles: expected a list, was {data!r}")
    charted = sorted((_candle(each) for each in data), key=lambda each: each[0])
    return closed_bars(charted, symbol, received_at_ms)


def _candle(json: Json) -> tuple[int, Row]:
    if not isinstance(json, list) or len(json) < _CANDLE:
        raise Unreadable(f"candles: expected a time and four prices, was {json!r}")
    at, _, high, low, close = json[:_CANDLE]
    row = Row({"at": at, "high": high, "low": low, "close": close}, "candles")
    return row.integer("at"), row


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the tickers of these contracts are pushed."""
    asked = [channel("ticker") | {"instId": name} for name in names]
    return Opening(f"{STREAMS}/public", (text_of("subscribe", asked),), ping=PING, pong=PONG)


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked]:
    """The mark of a frame, without the next bill; none if it is about something else."""
    frame = Row(json, "frame")
    if not frame.has("data") or not frame.has("arg"):
        return ()
    if Row(frame.raw("arg"), "frame.arg").raw("channel") != "ticker":
        return ()
    return _marked(rows(frame.raw("data"), "frame.data"), "instId", listed, {})


def channel(name: str) -> dict[str, str]:
    """What a stream is asked for."""
    return {"instType": "USDT-FUTURES", "channel": name}


def text_of(word: str, parts: Sequence[Json]) -> str:
    """A text for a stream: one word and what it is about."""
    return text_json.dumps({"op": word, "args": list(parts)})
