"""
What ApeX Omni's USDT perpetuals are: its clock, contracts, tiers, marks and bars (v3).

In the order of `MarketDialect`.
"""

import json as text_json
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

import structlog

from bot.core.events import BarsReported
from bot.core.model import (
    BARS_MAX,
    ContractKind,
    Instrument,
    RiskTier,
)
from bot.core.units import ZERO, Money, Price, Quantity, Ratio
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.dialect import Listed, Marked, Opening, Pace, TooMany
from bot.exchange.live.reading import Row, closed_bars, rows
from bot.exchange.venues.apex import RULES

log = structlog.get_logger()

ccxt_id = "apex"
read_weight_per_minute = 600
too_many = TooMany()
write_pace = Pace(10, 1)
"""Nothing is sent by this adapter."""

used_weight_header = ""

COIN = "USDT"
_PUBLIC, PRIVATE = "public", "private"
_SECOND_MS, _HOUR_MS = 1_000, 3_600_000
_SECONDS_MAX = 10**11
_STEPS_MAX = 1_000
STREAMS = "wss://quote.omni.apex.exchange"
_TOPIC = "instrumentInfo.H."


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """The venue's clock."""
    return Call(_PUBLIC, "GET", "v3/time", {})


def time_of(json: Json) -> int:
    """Its milliseconds: documented in seconds, met in milliseconds."""
    told = Row(data_of(json, "time"), "time").integer("time")
    return told * _SECOND_MS if told < _SECONDS_MAX else told


def data_of(json: Json, where: str) -> Json:
    """
    What an answer is about; raises `Unreadable` for one that says that it failed.

    Private answers are documented without an envelope and met within one.
    """
    row = Row(json, where)
    if row.has("code") and str(row.raw("code")) != "0":
        raise Unreadable(f"{where}: expected no code, was {row.raw('code')!r}")
    return row.raw("data") if row.has("data") else json


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts."""
    return Call(_PUBLIC, "GET", "v3/symbols", {})


def listing_of(json: Json) -> Listed:
    """Perpetual contracts that settle in USDT; one that cannot be read hides no other."""
    symbols = {}
    for row in _contracts(json):
        try:
            if row.raw("settleAssetId") == COIN:
                symbols[row.text("symbol")] = f"{row.text('baseTokenId')}/{COIN}:{COIN}"
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))
    return Listed(symbols)


def _contracts(json: Json) -> Iterator[Row]:
    config = Row(
        Row(data_of(json, "symbols"), "symbols").raw("contractConfig"), "symbols.contract"
    )
    return rows(config.raw("perpetualContract"), "symbols")


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules and steps of all contracts, and the account's own fee."""
    return (listing_call(), Call(PRIVATE, "GET", "v3/account", {}))


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract, with the account's own fee."""
    row = contract_of(jsons[0], name)
    account = Row(data_of(jsons[1], "account"), "account")
    fees = Row(account.raw("contractAccount"), "account.contractAccount")
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=COIN,
        tick_size=Price(row.above_zero("tickSize")),
        quantity_step=Quantity(row.above_zero("stepSize")),
        quantity_min=Quantity(row.above_zero("minOrderSize")),
        taker_fee=Ratio(fees.number("takerFeeRate")),
        tiers=_tiers(row),
        rules=RULES,
        quantity_max=Quantity(row.above_zero("maxOrderSize")),
    )


def contract_of(json: Json, name: str) -> Row:
    """The row of one contract; raises `Unreadable`."""
    named = [row for row in _contracts(json) if row.has("symbol") and row.raw("symbol") == name]
    if len(named) != 1:
        raise Unreadable(f"symbols: expected one row of {name}, was {len(named)}")
    return named[0]


def _tiers(row: Row) -> tuple[RiskTier, ...]:
    """
    The steps of value, the whole of it at its step's rate (`documented`): nothing is deducted.

    Listed one by one; where that list is empty, by the rule of a first step and equal ones after.
    """
    table = _listed_steps(row) or _ruled_steps(row)
    floors, rates = [floor for floor, _, _ in table], [rate for _, rate, _ in table]
    if floors != sorted(set(floors)) or floors[0] != ZERO or rates != sorted(rates):
        raise Unreadable(f"{row.where}: expected rising steps, was {table[:3]}")
    caps = [*floors[1:], Decimal("Infinity")]
    return tuple(
        RiskTier(floor, cap, Ratio(rate), Money(ZERO), 1 / initial)
        for (floor, rate, initial), cap in zip(table, caps, strict=True)
    )


def _listed_steps(row: Row) -> list[tuple[Decimal, Decimal, Decimal]]:
    limits = Row(row.raw("riskLimitConfig"), f"{row.where}.riskLimitConfig")
    if not limits.has("positionSteps") or not limits.raw("positionSteps"):
        return []
    floors, rates, initials = (
        [_number(each, limits.where) for each in _list(limits, name)]
        for name in ("positionSteps", "mmrSteps", "imrSteps")
    )
    if not len(floors) == len(rates) == len(initials) or min(rates + initials) <= ZERO:
        raise Unreadable(f"{limits.where}: expected a rate above 0 for each step, was otherwise")
    return list(zip(floors, rates, initials, strict=True))


def _list(row: Row, name: str) -> list[Json]:
    value = row.raw(name)
    if not isinstance(value, list):
        raise row.wrong(name, "a list")
    return value


def _number(json: Json, where: str) -> Decimal:
    return Row({"step": json}, where).number("step")


def _ruled_steps(row: Row) -> list[tuple[Decimal, Decimal, Decimal]]:
    first, each = (
        row.above_zero("baselinePositionValue"),
        row.above_zero("incrementalPositionValue"),
    )
    rate, more = (
        row.above_zero("maintenanceMarginRate"),
        row.number("incrementalMaintenanceMarginRate"),
    )
    initial, initial_more = (
        row.above_zero("initialMarginRate"),
        row.number("incrementalInitialMarginRate"),
    )
    most = row.above_zero("maxMaintenanceMarginRate")
    count = int((row.above_zero("maxPositionValue") - first) / each) + 1
    if not 0 <= count <= _STEPS_MAX:
        raise row.wrong("maxPositionValue", f"at most {_STEPS_MAX} steps")
    found = [(ZERO, rate, initial)]
    found += [
        (
            first + (number - 1) * each,
            min(rate + number * more, most),
            min(initial + number * initial_more, Decimal(1)),
        )
        for number in range(1, count + 1)
    ]
    return found


def interval_call(name: str) -> Call:
    """The contract's next bill."""
    return Call(_PUBLIC, "GET", "v3/ticker", {"symbol": _cross_name(name)})


def interval_of(json: Json, name: str) -> int:
    """An hour, of every contract: `documented`. What was answered has to be its ticker."""
    _ticker(json, name)
    return _HOUR_MS


def _cross_name(name: str) -> str:
    """What the public side calls a contract."""
    return name.replace("-", "")


def _ticker(json: Json, name: str) -> Row:
    found = list(rows(data_of(json, "ticker"), "ticker"))
    if len(found) != 1 or found[0].raw("symbol") != _cross_name(name):
        raise Unreadable(f"ticker: expected one row of {name}, was {len(found)}")
    return found[0]


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """A ticker of each."""
    return tuple(interval_call(name) for name in names)


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """The readable ones; one bad answer hides no other."""
    marks = []
    for json in jsons:
        try:
            for row in rows(data_of(json, "ticker"), "ticker"):
                marks += _marked(row, listed)
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)


def _marked(row: Row, listed: Listed) -> list[Marked]:
    """
    The index price, by which the venue values and liquidates (`documented`), and the next bill.

    A frame of what has changed may be without either.
    """
    named = {_cross_name(name): symbol for name, symbol in listed.symbols.items()}
    name = row.text("symbol")
    if name not in named or not row.has("indexPrice"):
        return []
    price = Price(row.above_zero("indexPrice"))
    return [Marked(named[name], price, *_bill(row))]


def _bill(row: Row) -> tuple[Ratio, int]:
    """What will be billed, and when: a time of day without its day tells no moment."""
    none = Ratio(ZERO), 0
    if not row.has("nextFundingTime") or not row.has("predictedFundingRate"):
        return none
    try:
        at = datetime.fromisoformat(row.text("nextFundingTime"))
        if at.tzinfo is None:
            return none
        return Ratio(row.number("predictedFundingRate")), int(at.timestamp()) * _SECOND_MS
    except (Unreadable, ValueError, OverflowError) as e:
        log.info("bill.not_told", reason=str(e))
        return none


def bars_call(name: str) -> Call:
    """The newest hours of the last price: the venue tells of no chart of its index price."""
    asked = {"symbol": _cross_name(name), "interval": "60", "limit": str(BARS_MAX + 1)}
    return Call(_PUBLIC, "GET", "v3/klines", asked)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them."""
    data = data_of(json, "klines")
    if isinstance(data, dict):
        if len(data) != 1:
            raise Unreadable(f"klines: expected one contract, was {len(data)}")
        (data,) = data.values()
    found = sorted(rows(data, "klines"), key=lambda row: row.integer("t"))
    charted = (
        (
            row.integer("t"),
            Row({"high": row.raw("h"), "low": row.raw("l"), "close": row.raw("c")}, row.where),
        )
        for row in found
    )
    return closed_bars(charted, symbol, received_at_ms)


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the tickers of these contracts are pushed."""
    asked = [f"{_TOPIC}{_cross_name(name)}" for name in names]
    url = f"{STREAMS}/realtime_public?v=2&timestamp={at_ms}"
    return Opening(url, (text_of("subscribe", asked),), ping=text_of("ping", [str(at_ms)]))


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked]:
    """The mark of a frame and the next bill; none if it is about something else."""
    frame = Row(json, "frame")
    if not frame.has("topic") or not str(frame.raw("topic")).startswith(_TOPIC):
        return ()
    return _marked(Row(frame.raw("data"), "frame.data"), listed)


def text_of(word: str, parts: Sequence[str]) -> str:
    """A text for a stream: one word and what it is about."""
    return text_json.dumps({"op": word, "args": list(parts)})
