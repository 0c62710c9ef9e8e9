"""
What KuCoin's USDT perpetuals are: its clock, contracts, tiers, marks and bars.

`documented`: the venue's own specification (2025-11) and pages. It counts in lots of a contract,
calls bitcoin XBT, and keeps a chart of traded prices alone. Marks are pushed by its newer public
stream, which needs no token; of what is in it clients tell. Two traps: `nextFundingRateTime` of a
contract is no time but how long it is until then, and a funding rate has a name of its own.
"""

import json as text_json
from collections.abc import Iterator, Mapping, Sequence

import structlog

from bot.core.events import BarsReported
from bot.core.model import BAR_MS, BARS_MAX, ContractKind, Instrument, RiskTier
from bot.core.units import ZERO, Price, Quantity, Ratio
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.dialect import Listed, Marked, Opening, Pace, TooMany
from bot.exchange.live.reading import Row, closed_bars, rows
from bot.exchange.venues.capabilities import MATRIX
from bot.exchange.venues.kucoin import RULES
from bot.exchange.venues.tiers import Bracket, continuous

log = structlog.get_logger()

ccxt_id = "kucoinfutures"
read_weight_per_minute = 4_000
"""2000 in 30 s of an address, and as many of an account: counted here as if all were one."""

too_many = TooMany()
write_pace = Pace(100, 10)
"""Of weight 2 to 4: half of the 2000 in 30 s that an account has: `documented`."""

used_weight_header = ""
"""It tells what is left of its 30 s, not what was used."""

_COIN = "USDT"
_PUBLIC = "futuresPublic"
_SUCCESS = "200000"
_PERPETUAL = "FFWCSX"
_BASES = {"XBT": "BTC"}
_HOURS_MAX = 24
_CANDLE = 5
_STREAM = "wss://x-push-futures.kucoin.com"
_MARKS = "mark-price"
_PING = '{"id":"1","type":"ping"}'


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """The venue's clock."""
    return Call(_PUBLIC, "GET", "timestamp", {}, weight=2)


def time_of(json: Json) -> int:
    """Its milliseconds."""
    data_of(json, "timestamp")
    return Row(json, "timestamp").integer("data")


def data_of(json: Json, where: str) -> Json:
    """What an answer is about; raises `Unreadable` for one that says that it failed."""
    row = Row(json, where)
    if row.text("code") != _SUCCESS:
        raise Unreadable(f"{where}: expected code {_SUCCESS}, was {row.raw('code')!r}")
    return row.raw("data")


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts, with their marks."""
    return Call(_PUBLIC, "GET", "contracts/active", {}, weight=3)


def listing_of(json: Json) -> Listed:
    """Linear perpetuals in USDT by the venue's id; one that cannot be read hides no other."""
    symbols, sizes, endings = {}, {}, {}
    for row in rows(data_of(json, "contracts"), "contracts"):
        try:
            if not _is_ours(row):
                continue
            name, base = row.text("symbol"), row.text("baseCurrency")
            sizes[name] = row.above_zero("multiplier")
            symbols[name] = f"{_BASES.get(base, base)}/{_COIN}:{_COIN}"
            if row.has("expireDate") and row.raw("expireDate") is not None:
                endings[name] = row.integer("expireDate")
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))
    return Listed(symbols, sizes, endings)


def _is_ours(row: Row) -> bool:
    kind = (row.raw("type"), row.raw("quoteCurrency"), row.raw("settleCurrency"))
    return kind == (_PERPETUAL, _COIN, _COIN) and not row.flag("isInverse")


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules and levels of one contract."""
    of = {"symbol": name}
    return (
        Call(_PUBLIC, "GET", "contracts/{symbol}", of, weight=3),
        Call(_PUBLIC, "GET", "contracts/risk-limit/{symbol}", of, weight=5),
    )


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract, in base, with the fee of an account without discounts."""
    row = _contract(jsons[0], name)
    size = listed.size_of(name, row.above_zero("multiplier"))
    lot = row.above_zero("lotSize") * size
    # The one of market orders is newer than the specification: where it is not told, the other.
    most = "marketMaxOrderQty" if row.has("marketMaxOrderQty") else "maxOrderQty"
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=_COIN,
        tick_size=Price(row.above_zero("tickSize")),
        quantity_step=Quantity(lot),
        quantity_min=Quantity(lot),
        taker_fee=Ratio(row.number("takerFeeRate")),
        tiers=_tiers(jsons[1], name),
        rules=RULES,
        quantity_max=Quantity(row.above_zero(most) * size),
        stops_max=MATRIX["kucoin"].stops_max,
    )


def _contract(json: Json, name: str) -> Row:
    row = Row(data_of(json, f"contract.{name}"), f"contract.{name}")
    if row.raw("symbol") != name:
        raise row.wrong("symbol", name)
    return row


def _tiers(json: Json, name: str) -> tuple[RiskTier, ...]:
    """
    Levels of value, joined as if each slice were at its own rate.

    The venue has the whole position at the rate of one level, which the account's user may have
    set higher than its value (`documented`, for isolated margin): that is in the liquidation price
    which it reports. Of two prices the nearer counts.
    """
    where = f"risk-limit.{name}"
    found = rows(data_of(json, where), where)
    table = [
        Bracket(
            row.above_zero("maxRiskLimit"),
            row.above_zero("maintainMargin"),
            row.above_zero("maxLeverage"),
        )
        for row in sorted(found, key=lambda row: row.integer("level"))
    ]
    return continuous(table, where)


def interval_call(name: str) -> Call:
    """The contract's next bill."""
    return Call(_PUBLIC, "GET", "funding-rate/{symbol}/current", {"symbol": name}, weight=2)


def interval_of(json: Json, name: str) -> int:
    """Its funding interval."""
    row = _bill(json)
    interval_ms = row.integer("granularity")
    if not 0 < interval_ms <= _HOURS_MAX * BAR_MS:
        raise row.wrong("granularity", "milliseconds of a day")
    return interval_ms


def _bill(json: Json) -> Row:
    return Row(data_of(json, "funding-rate"), "funding-rate")


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """Marks of all contracts, and the bills of these."""
    return (listing_call(), *(interval_call(name) for name in names))


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """The readable ones; one bad row hides no other."""
    bills: dict[str, tuple[Ratio, int]] = {}
    for json in jsons[1:]:
        try:
            row = _bill(json)
            bill = Ratio(row.number("value")), row.integer("fundingTime")
            bills[_billed(row)] = bill
        except Unreadable as e:
            log.warning("bill.unreadable", reason=str(e))
    return _marked(rows(data_of(jsons[0], "contracts"), "contracts"), listed, bills)


def _billed(row: Row) -> str:
    """The contract of a funding rate: ".XBTUSDTMFPI8H" is that of XBTUSDTM."""
    told = row.text("symbol")
    name, mark, _ = told.removeprefix(".").rpartition("FPI")
    if not told.startswith(".") or not mark:
        raise row.wrong("symbol", "the name of a funding rate")
    return name


def _marked(
    found: Iterator[Row], listed: Listed, bills: Mapping[str, tuple[Ratio, int]]
) -> tuple[Marked, ...]:
    marks = []
    for row in found:
        try:
            name = row.text("symbol")
            if name in listed.symbols:
                price = Price(row.above_zero("markPrice"))
                bill = bills.get(name, (Ratio(ZERO), 0))
                marks.append(Marked(listed.symbols[name], price, *bill))
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the marks of these contracts are pushed."""
    asks = [
        {
            "id": str(at),
            "action": "subscribe",
            "channel": _MARKS,
            "tradeType": "FUTURES",
            "symbol": name,
        }
        for at, name in enumerate(names)
    ]
    return Opening(_STREAM, tuple(text_json.dumps(each) for each in asks), ping=_PING)


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked]:
    """The mark of a frame, without the next bill; none if it is about something else."""
    frame = Row(json, "frame")
    if not frame.has("T") or frame.text("T").partition(".")[0] != _MARKS:
        return ()
    row = Row(frame.raw("d"), "frame.d")
    name = row.text("s")
    if name not in listed.symbols:
        return ()
    return (Marked(listed.symbols[name], Price(row.above_zero("mp")), Ratio(ZERO), 0),)


def bars_call(name: str) -> Call:
    """
    The newest hours of the last price, the one that is not over yet among them.

    The venue keeps no chart of its mark price. It answers with the newest 500 at most.
    """
    asked = {"symbol": name, "granularity": str(BAR_MS // 60_000)}
    return Call(_PUBLIC, "GET", "kline/query", asked, weight=3)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them; a week at most."""
    data = data_of(json, "kline")
    if not isinstance(data, list):
        raise Unreadable(f"kline: expected a list, was {data!r}")
    charted = sorted((_candle(each) for each in data), key=lambda each: each[0])
    return closed_bars(charted[-BARS_MAX - 1 :], symbol, received_at_ms)


def _candle(json: Json) -> tuple[int, Row]:
    if not isinstance(json, list) or len(json) < _CANDLE:
        raise Unreadable(f"kline: expected a time and four prices, was {json!r}")
    at, _, high, low, close = json[:_CANDLE]
    row = Row({"at": at, "high": high, "low": low, "close": close}, "kline")
    return row.integer("at"), row
