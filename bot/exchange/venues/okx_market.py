"""
What OKX's USDT perpetuals are: its clock, contracts, tiers, marks and bars (v5).

The venue counts in contracts, and so do its tiers. In the order of `MarketDialect`.
"""

import json as text_json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise

import structlog

from bot.core.events import BarsReported
from bot.core.model import (
    ContractKind,
    Instrument,
    RiskTier,
)
from bot.core.units import ZERO, Money, Price, Quantity, Ratio
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.dialect import Listed, Marked, Opening, Pace, TooMany
from bot.exchange.live.reading import (
    Row,
    closed_bars,
    rows,
)
from bot.exchange.venues.capabilities import MATRIX
from bot.exchange.venues.okx import RULES

log = structlog.get_logger()

ccxt_id = "bot.exchange.venues.okx_client.Okx"
read_weight_per_minute = 600
"""5 to 20 requests in 2 s of each endpoint: `documented`, counted here as if all endpoints were
one that takes 20."""

too_many = TooMany()
write_pace = Pace(20, 2)
"""Stops, cancels and margin of an account in 2 s: `documented`; orders are 60."""

used_weight_header = ""
"""Nothing is told of what an address has used."""

_PUBLIC, PRIVATE = "public", "private"
STREAMS = "wss://ws.okx.com:8443/ws/v5"
PING, PONG = "ping", "pong"
COIN = "USDT"
SWAPS = {"instType": "SWAP"}
PAGE = 100


def data_of(json: Json, where: str) -> Json:
    """What an answer is about; raises `Unreadable` for an error."""
    row = Row(json, where)
    if row.raw("code") != "0":
        raise Unreadable(
            f"{where}: expected code 0, was {row.raw('code')!r}: {words_of(row, 'msg')}"
        )
    return row.raw("data")


def rows_of(json: Json, where: str) -> Iterator[Row]:
    """The rows of an answer; raises `Unreadable`."""
    return rows(data_of(json, where), where)


def words_of(row: Row, name: str) -> str:
    """What a row says in words, or nothing."""
    return str(row.raw(name)) if row.has(name) else ""


def row_of(json: Json, where: str) -> Row:
    """The only row of an answer; raises `Unreadable`."""
    found = list(rows_of(json, where))
    if len(found) != 1:
        raise Unreadable(f"{where}: expected one row, was {len(found)}")
    return found[0]


def _named(json: Json, where: str, name: str) -> Row:
    """The one row, which has to be of a contract."""
    row = row_of(json, where)
    if row.raw("instId") != name:
        raise row.wrong("instId", name)
    return row


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """The venue's clock."""
    return Call(_PUBLIC, "GET", "public/time", {})


def time_of(json: Json) -> int:
    """Its milliseconds."""
    return row_of(json, "time").integer("ts")


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All perpetual contracts."""
    return Call(_PUBLIC, "GET", "public/instruments", SWAPS)


def listing_of(json: Json) -> Listed:
    """Linear ones in USDT by the venue's id; one that cannot be read hides no other."""
    symbols, sizes, endings = {}, {}, {}
    for row in rows_of(json, "instruments"):
        try:
            if (row.raw("ctType"), row.raw("settleCcy")) == ("linear", COIN):
                name, size = row.text("instId"), _size_of(row)
                symbols[name], sizes[name] = f"{row.text('ctValCcy')}/{COIN}:{COIN}", size
                if row.has("expTime") and row.raw("expTime") != "":
                    endings[name] = row.integer("expTime")
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))
    return Listed(symbols, sizes, endings)


def _size_of(row: Row) -> Decimal:
    """What a contract is in base."""
    return row.above_zero("ctVal") * row.above_zero("ctMult")


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules, tiers and fee of one contract."""
    family = SWAPS | {"instFamily": name.removesuffix("-SWAP")}
    return (
        Call(_PUBLIC, "GET", "public/instruments", SWAPS | {"instId": name}),
        Call(_PUBLIC, "GET", "public/position-tiers", family | {"tdMode": "isolated"}),
        Call(PRIVATE, "GET", "account/trade-fee", family, weight=4),
    )


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract. Quantities are in base, whatever the venue counts in."""
    info, tiers, fees = jsons
    row = _named(info, "instruments", name)
    size = listed.size_of(name, _size_of(row))
    most = min(row.above_zero("maxMktSz"), row.above_zero("maxStopSz"))
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=COIN,
        tick_size=Price(row.above_zero("tickSz")),
        quantity_step=Quantity(row.above_zero("lotSz") * size),
        quantity_min=Quantity(row.above_zero("minSz") * size),
        # The venue tells what is paid as a number below zero.
        taker_fee=Ratio(max(-row_of(fees, "trade-fee").number("takerU"), ZERO)),
        tiers=_tiers(tiers, size, name),
        rules=RULES,
        quantity_max=Quantity(most * size),
        stops_max=MATRIX["okx"].stops_max,
    )


def _tiers(json: Json, size: Decimal, name: str) -> tuple[RiskTier, ...]:
    """In base, as the venue has them in contracts; without deductions: the demand jumps."""
    where = f"position-tiers.{name}"
    table = sorted(rows_of(json, where), key=lambda row: row.integer("tier"))
    caps = [row.above_zero("maxSz") * size for row in table]
    rates = [row.above_zero("mmr") for row in table]
    if not table or any(low >= high for low, high in pairwise(caps)) or rates != sorted(rates):
        raise Unreadable(f"{where}: expected rising tiers, was {caps} at {rates}")
    return tuple(
        RiskTier(
            floor=floor,
            cap=Decimal("Infinity") if row is table[-1] else cap,
            rate=Ratio(rate),
            deduction=Money(ZERO),
            leverage_max=row.above_zero("maxLever"),
        )
        for row, floor, cap, rate in zip(table, (ZERO, *caps), caps, rates, strict=False)
    )


def interval_call(name: str) -> Call:
    """The next two bills of a contract."""
    return Call(_PUBLIC, "GET", "public/funding-rate", {"instId": name})


def interval_of(json: Json, name: str) -> int:
    """What lies between them."""
    row = _named(json, "funding-rate", name)
    interval_ms = row.integer("nextFundingTime") - row.integer("fundingTime")
    if interval_ms <= 0:
        raise row.wrong("nextFundingTime", "a time after fundingTime")
    return interval_ms


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """Mark prices of all contracts, and the bill ahead of each that is watched."""
    marks = Call(_PUBLIC, "GET", "public/mark-price", SWAPS, weight=2)
    return (marks, *(interval_call(name) for name in names))


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """The readable ones; one bad row hides no other."""
    marks, *bills = jsons
    ahead = {row.text("instId"): row for bill in bills for row in rows_of(bill, "funding-rate")}
    found = []
    for row in rows_of(marks, "mark-price"):
        try:
            name = row.text("instId")
            if name in listed.symbols and name in ahead:
                found.append(
                    Marked(
                        listed.symbols[name],
                        Price(row.above_zero("markPx")),
                        Ratio(ahead[name].number("fundingRate")),
                        ahead[name].integer("fundingTime"),
                    )
                )
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(found)


def bars_call(name: str) -> Call:
    """The newest hours of a mark price, as many as the venue gives at once."""
    asked = {"instId": name, "bar": "1H", "limit": str(PAGE)}
    return Call(_PUBLIC, "GET", "market/mark-price-candles", asked)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them; told the newest first."""
    answer = Row(json, "mark-price-candles")
    charted = answer.raw("data")
    if answer.raw("code") != "0" or not isinstance(charted, list):
        raise Unreadable(f"mark-price-candles: expected a chart, was {charted!r:.80}")
    return closed_bars(map(_charted, reversed(charted)), symbol, received_at_ms)


def _charted(row: Json) -> tuple[int, Row]:
    match row:
        case [str(opens_at), _, high, low, close, *_] if opens_at.isdecimal():
            prices = {"high": high, "low": low, "close": close}
            return int(opens_at), Row(prices, "mark-price-candles")
        case _:
            raise Unreadable(f"mark-price-candles: expected a row of a chart, was {row!r:.80}")


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the marks of these contracts are pushed: as they move, or every ten seconds."""
    args = [{"channel": "mark-price", "instId": name} for name in names]
    asked = text_json.dumps({"op": "subscribe", "args": args})
    return Opening(f"{STREAMS}/public", (asked,), ping=PING, pong=PONG)


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked]:
    """The marks of a frame, without the next bill; none if it is about something else."""
    frame = Row(json, "frame")
    if channel_of(frame) != "mark-price" or not frame.has("data"):
        return ()
    found = []
    for row in rows(frame.raw("data"), "mark-price"):
        if (name := row.text("instId")) in listed.symbols:
            price = Price(row.above_zero("markPx"))
            found.append(Marked(listed.symbols[name], price, Ratio(ZERO), 0))
    return tuple(found)


def channel_of(frame: Row) -> str:
    """What a frame is about."""
    if not frame.has("arg"):
        return ""
    return Row(frame.raw("arg"), "frame.arg").text("channel")
