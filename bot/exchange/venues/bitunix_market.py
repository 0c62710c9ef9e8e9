"""
What Bitunix's USDT perpetuals are: its clock, contracts, tiers, marks and bars.

The venue counts in base. In the order of `MarketDialect`.
"""

import json as text_json
from collections.abc import Sequence
from decimal import Decimal
from email.utils import parsedate_to_datetime

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
from bot.exchange.live.dialect import ByDate, Listed, Marked, Opening, Pace, TooMany
from bot.exchange.live.reading import (
    Row,
    closed_bars,
    rows,
)
from bot.exchange.venues.bitunix import RULES, TAKER_FEE
from bot.exchange.venues.capabilities import MATRIX
from bot.exchange.venues.tiers import Bracket, continuous

log = structlog.get_logger()

ccxt_id = "bot.exchange.venues.bitunix_client.Bitunix"
read_weight_per_minute = 600
"""10 reads a second of each endpoint: `documented`, counted here as if all were one."""

too_many = TooMany(words=r'\{"code":\s*"?1000[56]\b')
"""With HTTP 200, of an address and of an account: `documented`."""

write_pace = Pace(10, 1)
"""Orders and stops of an account in a second: `documented`; margin is 5."""

used_weight_header = ""

COIN = "USDT"
_PUBLIC, PRIVATE = "public", "private"
API = "api/v1/futures"
_HOUR_MS = 3_600_000
_HOURS_MAX = 24
SECOND_MS = 1_000
_PERCENT = 100
STREAMS = "wss://fapi.bitunix.com"
_DIGITS_MAX = 18


# -- clock ---------------------------------------------------------------------------------


def time_call() -> ByDate:
    """The venue has no clock to ask for; this is the lightest of its answers."""
    return ByDate(interval_call("BTCUSDT"))


def time_of(json: Json) -> int:
    """The middle of the second in which it answered."""
    row = Row(json, "time")
    data_of(row.raw("answer"), "time.answer")
    try:
        at = parsedate_to_datetime(row.text("date"))
    except ValueError as e:
        raise row.wrong("date", "a date of HTTP") from e
    return int(at.timestamp()) * SECOND_MS + SECOND_MS // 2


def data_of(json: Json, where: str) -> Json:
    """What an answer is about; raises `Unreadable` for one that says that it failed."""
    row = Row(json, where)
    if (code := code_of(row)) != "0":
        raise Unreadable(f"{where}: expected code 0, was {code!r}")
    return row.raw("data")


def code_of(row: Row) -> str:
    """The code of an answer, as it is compared and told."""
    return str(row.integer("code"))


def one_of(json: Json, where: str) -> Row:
    """The object of an answer: documented in a list of one, met without, or the other way."""
    data = data_of(json, where)
    if not isinstance(data, list):
        return Row(data, where)
    found = list(rows(data, where))
    if len(found) != 1:
        raise Unreadable(f"{where}: expected one object, was {len(found)}")
    return found[0]


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts."""
    return Call(_PUBLIC, "GET", f"{API}/market/trading_pairs", {})


def listing_of(json: Json) -> Listed:
    """
    Contracts that settle in USDT, by the venue's id; one that cannot be read hides no other.

    Those that are not traded now too: a position in one of them is seen, and the venue refuses.
    """
    symbols = {}
    for row in rows(data_of(json, "trading_pairs"), "trading_pairs"):
        try:
            if row.raw("quote") == COIN:
                symbols[row.text("symbol")] = f"{row.text('base')}/{COIN}:{COIN}"
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))
    return Listed(symbols)


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules and tiers of one contract."""
    pair = Call(_PUBLIC, "GET", f"{API}/market/trading_pairs", {"symbols": name})
    tiers = Call(_PUBLIC, "GET", f"{API}/position/get_position_tiers", {"symbol": name})
    return (pair, tiers)


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract, with the fee of an account without discounts."""
    row = one_of(jsons[0], "trading_pairs")
    if row.raw("symbol") != name:
        raise row.wrong("symbol", name)
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=COIN,
        tick_size=Price(_step(row, "quotePrecision")),
        quantity_step=Quantity(_step(row, "basePrecision")),
        quantity_min=Quantity(row.above_zero("minTradeVolume")),
        taker_fee=TAKER_FEE,
        tiers=_tiers(jsons[1], name),
        rules=RULES,
        quantity_max=Quantity(row.above_zero("maxMarketOrderVolume")),
        stops_max=MATRIX["bitunix"].stops_max,
    )


def _step(row: Row, name: str) -> Decimal:
    digits = row.integer(name)
    if not 0 <= digits <= _DIGITS_MAX:
        raise row.wrong(name, "a number of digits")
    return Decimal(1).scaleb(-digits)


def _tiers(json: Json, name: str) -> tuple[RiskTier, ...]:
    """
    Brackets of value. That they are progressive is `assumed`, as docs/margin.md says.

    Were they not, the venue would liquidate earlier: the price that it shows counts too.
    """
    where = f"position_tiers.{name}"
    found = rows(data_of(json, where), where)
    table = [
        Bracket(
            row.above_zero("endValue"),
            row.above_zero("maintenanceMarginRate"),
            row.above_zero("leverage"),
        )
        for row in sorted(found, key=lambda row: row.integer("level"))
    ]
    return continuous(table, where)


def interval_call(name: str) -> Call:
    """The contract's next bill."""
    return Call(_PUBLIC, "GET", f"{API}/market/funding_rate", {"symbol": name})


def interval_of(json: Json, name: str) -> int:
    """Its funding interval; the venue tells it in hours."""
    row = one_of(json, f"funding_rate.{name}")
    hours = row.integer("fundingInterval")
    if not 0 < hours <= _HOURS_MAX:
        raise row.wrong("fundingInterval", "hours of a day")
    return hours * _HOUR_MS


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """Mark prices and next bills of all contracts."""
    return (Call(_PUBLIC, "GET", f"{API}/market/funding_rate/batch", {}),)


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """
    The readable ones; one bad row hides no other, and a bad bill no mark.

    A rate is in percent: `recorded` by others, where the papers name no unit. Were it a share, a
    bill would count for a hundredth of what it is; read the other way a bill of nothing would
    look like one of a hundredth of the position, and close it.
    """
    marks = []
    for row in rows(data_of(jsons[0], "funding_rate"), "funding_rate"):
        try:
            name = row.text("symbol")
            if name in listed.symbols:
                price = Price(row.above_zero("markPrice"))
                marks.append(Marked(listed.symbols[name], price, *_bill(row)))
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)


def _bill(row: Row) -> tuple[Ratio, int]:
    try:
        return Ratio(row.number("fundingRate") / _PERCENT), row.integer("nextFundingTime")
    except Unreadable as e:
        log.warning("bill.unreadable", reason=str(e))
        return Ratio(ZERO), 0


def bars_call(name: str) -> Call:
    """The newest hours of the mark price, the one that is not over yet among them."""
    asked = {
        "symbol": name,
        "interval": "1h",
        "limit": str(BARS_MAX + 1),
        "type": "MARK_PRICE",
    }
    return Call(_PUBLIC, "GET", f"{API}/market/kline", asked)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them."""
    found = sorted(rows(data_of(json, "kline"), "kline"), key=lambda row: row.integer("time"))
    return closed_bars(((row.integer("time"), row) for row in found), symbol, received_at_ms)


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the marks of these contracts are pushed."""
    asked = [{"symbol": name, "ch": "price"} for name in names]
    return Opening(f"{STREAMS}/public/", (subscription_of(asked),), ping=ping_of(at_ms))


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked]:
    """The mark of a frame, without the next bill; none if it is about something else."""
    frame = Row(json, "frame")
    if not frame.has("ch") or frame.raw("ch") != "price":
        return ()
    name = frame.text("symbol")
    if name not in listed.symbols:
        return ()
    price = Price(Row(frame.raw("data"), "frame.data").above_zero("mp"))
    return (Marked(listed.symbols[name], price, Ratio(ZERO), 0),)


def subscription_of(asked: Sequence[Json]) -> str:
    """The text that asks a stream for what it shall tell."""
    return text_json.dumps({"op": "subscribe", "args": list(asked)})


def ping_of(at_ms: int) -> str:
    """What keeps a stream open, dated."""
    return text_json.dumps({"op": "ping", "ping": at_ms // SECOND_MS})
