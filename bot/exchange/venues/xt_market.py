"""
What XT's USDT perpetuals are: its clock, contracts, tiers, marks and bars.

The venue counts in contracts. In the order of `MarketDialect`.
"""

import json as text_json
from collections.abc import Iterable, Mapping, Sequence

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
from bot.exchange.venues.capabilities import MATRIX
from bot.exchange.venues.tiers import Bracket, continuous
from bot.exchange.venues.xt import RULES

log = structlog.get_logger()

ccxt_id = "xt"
read_weight_per_minute = 600
too_many = TooMany()
write_pace = Pace(10, 1)
"""As clients keep it: a call of theirs every 100 ms. `assumed`."""

used_weight_header = ""
_PUBLIC, PRIVATE = "public.linear", "private.linear"
_MARKET = "future/market/v1/public"
_HOUR_MS = 3_600_000
_HOURS_MAX = 24
STREAMS = "wss://fstream.xt.com/ws"
PING, PONG = "ping", "pong"


def asking_for(asked: list[str], at_ms: int) -> str:
    """The text that asks a stream for what it shall tell."""
    return text_json.dumps({"method": "SUBSCRIBE", "id": str(at_ms), "params": asked})


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """The venue's clock, of its spot side: the futures side has none."""
    return Call("public.spot", "GET", "time", {})


def time_of(json: Json) -> int:
    """Its milliseconds."""
    return Row(Row(json, "time").raw("result"), "time.result").integer("serverTime")


def result_of(json: Json, where: str) -> Json:
    """What an answer is about; raises `Unreadable` for one that says that it failed."""
    row = Row(json, where)
    if row.integer("returnCode") != 0 or code_of(row):
        raise Unreadable(f"{where}: expected returnCode 0, was {code_of(row)!r}")
    return row.raw("result")


def code_of(row: Row) -> str:
    """The code of an error: "" where there is none, in any of the venue's ways to say so."""
    if row.has("mc"):
        return row.text("mc")
    error = row.raw("error")
    if error is None:
        return ""
    code = Row(error, f"{row.where}.error").raw("code")
    if not isinstance(code, str):
        raise row.wrong("error", "an object with a code")
    return code


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts."""
    return Call(_PUBLIC, "GET", f"{_MARKET}/symbol/list", {})


def listing_of(json: Json) -> Listed:
    """Linear perpetual contracts by the venue's id; one that cannot be read hides no other."""
    symbols, sizes = {}, {}
    for row in rows(result_of(json, "symbols"), "symbols"):
        try:
            if (row.raw("contractType"), row.raw("underlyingType")) == ("PERPETUAL", "U_BASED"):
                name, size = row.text("symbol"), row.above_zero("contractSize")
                base, quote = row.text("baseCoin").upper(), row.text("quoteCoin").upper()
                symbols[name], sizes[name] = f"{base}/{quote}:{quote}", size
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))
    return Listed(symbols, sizes)


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules and tiers of one contract."""
    tiers = Call(_PUBLIC, "GET", f"{_MARKET}/leverage/bracket/detail", {"symbol": name})
    return (listing_call(), tiers)


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract, with the fee of an account without discounts."""
    named = [
        row
        for row in rows(result_of(jsons[0], "symbols"), "symbols")
        if row.has("symbol") and row.raw("symbol") == name
    ]
    if len(named) != 1:
        raise Unreadable(f"symbols: expected one row of {name}, was {len(named)}")
    (row,) = named
    size = listed.size_of(name, row.above_zero("contractSize"))
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=row.text("quoteCoin").upper(),
        tick_size=Price(row.above_zero("minStepPrice")),
        quantity_step=Quantity(size.scaleb(-row.integer("quantityPrecision"))),
        quantity_min=Quantity(row.above_zero("minQty") * size),
        taker_fee=Ratio(row.number("takerFee")),
        tiers=_tiers(jsons[1], name),
        rules=RULES,
        stops_max=MATRIX["xt"].stops_max,
    )


def _tiers(json: Json, name: str) -> tuple[RiskTier, ...]:
    """
    Brackets of value. That they are progressive is `assumed`, as docs/margin.md says.

    Were they not, the venue would liquidate earlier: the price that it shows counts too.
    """
    where = f"leverageBrackets.{name}"
    found = rows(Row(result_of(json, where), where).raw("leverageBrackets"), where)
    table = [
        Bracket(
            row.above_zero("maxNominalValue"),
            row.above_zero("maintMarginRate"),
            row.above_zero("maxLeverage"),
        )
        for row in sorted(found, key=lambda row: row.integer("bracket"))
    ]
    return continuous(table, where)


def interval_call(name: str) -> Call:
    """The contract's next bill."""
    return Call(_PUBLIC, "GET", f"{_MARKET}/q/funding-rate", {"symbol": name})


def interval_of(json: Json, name: str) -> int:
    """Its funding interval; the venue tells it in hours."""
    row = Row(result_of(json, "funding-rate"), f"funding-rate.{name}")
    hours = row.integer("collectionInternal")
    if not 0 < hours <= _HOURS_MAX:
        raise row.wrong("collectionInternal", "hours of a day")
    return hours * _HOUR_MS


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """Mark prices of all contracts, and the bills of these."""
    marks = Call(_PUBLIC, "GET", f"{_MARKET}/q/mark-price", {})
    return (marks, *(interval_call(name) for name in names))


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """The readable ones; one bad row hides no other."""
    bills: dict[str, tuple[Ratio, int]] = {}
    for json in jsons[1:]:
        try:
            row = Row(result_of(json, "funding-rate"), "funding-rate")
            rate = Ratio(row.number("fundingRate"))
            bills[row.text("symbol")] = rate, row.integer("nextCollectionTime")
        except Unreadable as e:
            log.warning("bill.unreadable", reason=str(e))
    return _marked(rows(result_of(jsons[0], "mark-price"), "mark-price"), listed, bills)


def bars_call(name: str) -> Call:
    """
    The newest hours of the last price, the one that is not over yet among them.

    The venue tells of no chart of its mark price.
    """
    asked = {"symbol": name, "interval": "1h", "limit": str(BARS_MAX + 1)}
    return Call(_PUBLIC, "GET", f"{_MARKET}/q/kline", asked)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them."""
    found = sorted(rows(result_of(json, "kline"), "kline"), key=lambda row: row.integer("t"))
    charted = (
        (
            row.integer("t"),
            Row({"high": row.raw("h"), "low": row.raw("l"), "close": row.raw("c")}, row.where),
        )
        for row in found
    )
    return closed_bars(charted, symbol, received_at_ms)


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the marks of these contracts are pushed every second."""
    asked = [f"mark_price@{name}" for name in names]
    return Opening(f"{STREAMS}/market", (asking_for(asked, at_ms),), ping=PING, pong=PONG)


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked]:
    """The mark of a frame, without the next bill; none if it is about something else."""
    frame = Row(json, "frame")
    if not frame.has("topic") or frame.raw("topic") != "mark_price":
        return ()
    return _marked([Row(frame.raw("data"), "frame.data")], listed, {})


def _marked(
    found: Iterable[Row], listed: Listed, bills: Mapping[str, tuple[Ratio, int]]
) -> tuple[Marked, ...]:
    marks = []
    for row in found:
        try:
            name = row.text("s")
            if name in listed.symbols:
                rate, next_at_ms = bills.get(name, (Ratio(ZERO), 0))
                price = Price(row.above_zero("p"))
                marks.append(Marked(listed.symbols[name], price, rate, next_at_ms))
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)
