"""
Hyperliquid's public side: its clock, contracts, tiers, marks, bills and bars. Strict parsers.

`documented` (info endpoint, 2026), asked through ccxt 4.5.90. Perpetuals of the venue's own dex in
USDC; those of others' dexes (HIP-3) have wallets of their own and are not read. Every read is a
POST that says by its `type` what is wanted. In the order of `MarketDialect`.
"""

import json as text_json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import structlog

from bot.core.events import BarsReported
from bot.core.model import BAR_MS, BARS_MAX, ContractKind, Instrument, RiskTier
from bot.core.units import ONE, ZERO, Price, Quantity, Ratio
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.dialect import Listed, Marked, Opening, Pace, TooMany, Unmoved
from bot.exchange.live.reading import Row, closed_bars, rows
from bot.exchange.venues.capabilities import MATRIX
from bot.exchange.venues.hyperliquid import RULES
from bot.exchange.venues.tiers import Bracket, continuous

log = structlog.get_logger()

ccxt_id = "bot.exchange.venues.hyperliquid_client.Hyperliquid"
read_weight_per_minute = 1_200
too_many = TooMany()
write_pace = Pace(100, 10)
"""Half of the 1200 a minute that an address has: `documented`."""

used_weight_header = ""
"""The venue tells of what the account has used, in an answer of its own, not of the address."""

STREAM = "wss://api.hyperliquid.xyz/ws"
PING = '{"method": "ping"}'

PUBLIC, PRIVATE, AGENT = "public", "private", "agent"

_COIN = "USDC"
_PLACES = 6
"""Decimals of a price and of a size together, at most: `documented`."""

_FIGURES = 5
"""Significant figures of a price, unless it is a whole number: `documented`."""

_LEVERAGE_OF_TABLES = 50
"""A margin table below this number has one tier of so much leverage: `documented`."""

_MARKET_ORDER_MAX = ((25, 15_000_000), (20, 5_000_000), (10, 2_000_000), (1, 500_000))
"""The most leverage of a contract, and what one order at market in it may be worth: `documented`,
of two figures for the first the smaller one."""

_HOUR_MS = 3_600_000


def info(api: str, kind: str, weight: int = 20, **wanted: Json) -> Call:
    """A read of the `kind`."""
    return Call(api, "POST", "info", {"type": kind} | wanted, weight=weight)


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """The venue's status, which is dated."""
    return info(PUBLIC, "exchangeStatus", weight=2)


def time_of(json: Json) -> int:
    """Its milliseconds."""
    return Row(json, "exchangeStatus").integer("time")


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts, those among them that are not traded any more: their places are numbers."""
    return info(PUBLIC, "meta")


def listing_of(json: Json) -> Listed:
    """Perpetuals that are traded, by their coins; one that cannot be read hides no other."""
    symbols, numbers, places = dict[str, str](), dict[str, int](), dict[str, int]()
    for number, row in _universe(json):
        try:
            if row.has("isDelisted") and row.raw("isDelisted"):
                continue
            name, places_of_it = row.text("name"), _places(row)
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))
        else:
            symbols[name] = f"{name}/{_COIN}:{_COIN}"
            numbers[name], places[name] = number, places_of_it
    return Listed(symbols, numbers=numbers, price_places=places)


def _universe(json: Json) -> Iterator[tuple[int, Row]]:
    """The contracts that are objects, and the number of each."""
    meta = Row(json, "meta")
    listed = meta.raw("universe")
    if not isinstance(listed, list):
        raise meta.wrong("universe", "a list")
    for number, each in enumerate(listed):
        try:
            yield number, Row(each, f"meta.universe[{number}]")
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))


def _places(row: Row) -> int:
    places = row.integer("szDecimals")
    if not 0 <= places <= _PLACES:
        raise row.wrong("szDecimals", f"0 to {_PLACES}")
    return _PLACES - places


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules, tiers and marks of all contracts, and the account's own fee."""
    return (info(PUBLIC, "metaAndAssetCtxs"), info(PRIVATE, "userFees"))


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """
    The contract, at its present price: of that is how fine a price may be.

    It is taken for twice the mark, so that the trigger of a short is on the grid too.
    """
    contracts, fees = jsons
    meta, contexts = _pair(contracts)
    number, row = _contract(meta, name)
    mark = Row(contexts[number], f"contexts[{number}]").above_zero("markPx")
    tiers = _tiers(meta, row)
    step = ONE.scaleb(-row.integer("szDecimals"))
    worth = next(most for least, most in _MARKET_ORDER_MAX if tiers[0].leverage_max >= least)
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=_COIN,
        tick_size=Price(tick(2 * mark, _places(row))),
        quantity_step=Quantity(step),
        quantity_min=Quantity(step),
        taker_fee=Ratio(Row(fees, "userFees").number("userCrossRate")),
        tiers=tiers,
        rules=RULES,
        quantity_max=Quantity(worth / (2 * mark) // step * step),
        stops_max=MATRIX["hyperliquid"].stops_max,
    )


def tick(price: Decimal, places: int) -> Decimal:
    """The distance of two prices about `price`, of a contract whose prices have `places`."""
    return ONE.scaleb(max(min(price.adjusted() - _FIGURES + 1, 0), -places))


def _pair(json: Json) -> tuple[Json, list[Json]]:
    """Contracts, and what is told of each in the same order."""
    match json:
        case [{"universe": list(listed)} as meta, list(told)] if len(listed) == len(told):
            return meta, told
        case _:
            raise Unreadable(f"metaAndAssetCtxs: expected one for each contract, was {json!r:.80}")


def _contract(meta: Json, name: str) -> tuple[int, Row]:
    named = [
        (number, row)
        for number, row in _universe(meta)
        if row.has("name") and row.raw("name") == name
    ]
    if len(named) != 1:
        raise Unreadable(f"meta: expected one row of {name}, was {len(named)}")
    return named[0]


def _tiers(meta: Json, row: Row) -> tuple[RiskTier, ...]:
    """Half of the initial margin at the most leverage of each tier, without jumps."""
    table = _table(meta, row)
    floors, leverages = [floor for floor, _ in table], [most for _, most in table]
    if not floors or floors[0] != ZERO or floors != sorted(set(floors)):
        raise row.wrong("marginTableId", f"a table of rising tiers, which {table} is not")
    if leverages[0] != row.above_zero("maxLeverage"):
        raise row.wrong("maxLeverage", f"that of the first tier of {table}")
    caps = [*floors[1:], Decimal("Infinity")]
    brackets = [
        Bracket(cap, ONE / (2 * most), most) for cap, most in zip(caps, leverages, strict=True)
    ]
    return continuous(brackets, f"{row.where}.tiers")


def _table(meta: Json, row: Row) -> list[tuple[Decimal, Decimal]]:
    """From what value on how much leverage; a table that is not told has one tier."""
    most, number = row.above_zero("maxLeverage"), row.integer("marginTableId")
    tables = Row(meta, "meta").raw("marginTables")
    if not isinstance(tables, list):
        raise row.wrong("marginTableId", "one of a list of tables")
    for entry in tables:
        match entry:
            case [int(told), table] if told == number:
                found = rows(
                    Row(table, f"marginTables.{number}").raw("marginTiers"),
                    f"marginTables.{number}",
                )
                return [
                    (each.number("lowerBound"), each.above_zero("maxLeverage")) for each in found
                ]
            case _:
                pass
    if number >= _LEVERAGE_OF_TABLES or number != most:
        raise row.wrong("marginTableId", "a table that is told")
    return [(ZERO, most)]


def interval_call(name: str) -> Call:
    """The next bills, here and elsewhere."""
    return info(PUBLIC, "predictedFundings")


def interval_of(json: Json, name: str) -> int:
    """How often the contract settles: an hour, `documented`, where the bill does not say."""
    bill = _bills(json).get(name)
    if bill is None:
        raise Unreadable(f"predictedFundings: expected a bill of {name}, was none")
    if not bill.has("fundingIntervalHours"):
        return _HOUR_MS
    return int(bill.above_zero("fundingIntervalHours") * _HOUR_MS)


def _bills(json: Json) -> dict[str, Row]:
    """The venue's own next bill of each coin."""
    if not isinstance(json, list):
        raise Unreadable(f"predictedFundings: expected a list, was {json!r:.80}")
    found = {}
    for entry in json:
        match entry:
            case [str(name), list(venues)]:
                bills = [told[1] for told in venues if _is_own(told)]
                if bills:
                    found[name] = Row(bills[0], f"predictedFundings.{name}")
            case _:
                log.warning("bill.unreadable", reason=f"{entry!r:.80}")
    return found


def _is_own(told: Any) -> bool:
    match told:
        case ["HlPerp", dict()]:
            return True
        case _:
            return False


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """Mark prices of all contracts, and when they settle next."""
    return (info(PUBLIC, "metaAndAssetCtxs"), info(PUBLIC, "predictedFundings"))


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """
    The readable ones; one bad row hides no other.

    The rate is that of the running hour, on the value at the oracle's price: `documented`.
    """
    meta, contexts = _pair(jsons[0])
    bills = _bills(jsons[1])
    marks = []
    for number, row in _universe(meta):
        try:
            name = row.text("name")
            if name not in listed.symbols:
                continue
            context = Row(contexts[number], f"contexts[{number}]")
            bill = bills.get(name)
            marks.append(
                Marked(
                    listed.symbols[name],
                    Price(context.above_zero("markPx")),
                    Ratio(context.number("funding")),
                    0 if bill is None else bill.integer("nextFundingTime"),
                )
            )
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)


def bars_call(name: str) -> Call:
    """
    The newest hours, the one that is not over yet among them: of trades.

    The venue draws no chart of its mark. Times count from the venue's (see the client).
    """
    wanted = {"coin": name, "interval": "1h", "startTime": -(BARS_MAX + 1) * BAR_MS}
    return info(PUBLIC, "candleSnapshot", weight=23, req=wanted)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them; told the oldest first."""
    charted = (
        (row.integer("t"), Row(_named(row), row.where)) for row in rows(json, "candleSnapshot")
    )
    return closed_bars(charted, symbol, received_at_ms)


def _named(row: Row) -> dict[str, Json]:
    return {"high": row.raw("h"), "low": row.raw("l"), "close": row.raw("c")}


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where what these contracts are at is pushed."""
    return Opening(
        STREAM,
        tuple(subscription(type="activeAssetCtx", coin=name) for name in names),
        ping=PING,
    )


def subscription(**wanted: str) -> str:
    """The text that asks a stream for something."""
    return text_json.dumps({"method": "subscribe", "subscription": wanted})


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked | Unmoved]:
    """The mark of a frame, without the next bill; none if it is about something else."""
    frame = Row(json, "frame")
    if not frame.has("channel") or frame.raw("channel") != "activeAssetCtx":
        return ()
    told = Row(frame.raw("data"), "frame.data")
    if (name := told.text("coin")) not in listed.symbols:
        return ()
    mark = Row(told.raw("ctx"), "frame.data.ctx").above_zero("markPx")
    return (Marked(listed.symbols[name], Price(mark), Ratio(ZERO), 0),)
