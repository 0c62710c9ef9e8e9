"""
What Gate's USDT perpetuals are: its clock, contracts, tiers, marks and bars (v4).

The venue counts in contracts; whole ones, but for those it marks as decimal. In the order of
`MarketDialect`.
"""

import json as text_json
from collections.abc import Iterable, Sequence
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
from bot.exchange.venues.capabilities import MATRIX
from bot.exchange.venues.gate import RULES
from bot.exchange.venues.tiers import Bracket, continuous

log = structlog.get_logger()

ccxt_id = "bot.exchange.venues.gate_client.Gate"
read_weight_per_minute = 1_200
"""200 reads in 10 s of each endpoint: `documented`, counted here as if all were one."""

too_many = TooMany()
write_pace = Pace(100, 10)
"""Half of what each endpoint takes of an account: `documented`."""

used_weight_header = ""
"""What is left is told per endpoint, not of the address."""

_SETTLE, COIN = "usdt", "USDT"
_PUBLIC, PRIVATE = "public.futures", "private.futures"
STREAMS = "wss://fx-ws.gateio.ws/v4/ws/usdt"
OF_USDT = {"settle": _SETTLE}
SECOND_MS = 1_000


def _ask(channel: str, at_ms: int, payload: list[str]) -> str:
    asked = {"time": at_ms // SECOND_MS, "channel": channel, "event": "subscribe"}
    return text_json.dumps(asked | {"payload": payload})


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """The venue's clock."""
    return Call("public.spot", "GET", "time", {})


def time_of(json: Json) -> int:
    """Its milliseconds."""
    return Row(json, "time").integer("server_time")


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts, with their marks and bills."""
    return Call(_PUBLIC, "GET", "{settle}/contracts", OF_USDT)


def listing_of(json: Json) -> Listed:
    """Linear perpetual contracts by the venue's id; one that cannot be read hides no other."""
    symbols, sizes = {}, {}
    for row in rows(json, "contracts"):
        try:
            if row.raw("type") == "direct":
                name = row.text("name")
                size = row.above_zero("quanto_multiplier")
                symbols[name], sizes[name] = _symbol(name), size
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))
    return Listed(symbols, sizes)


def _symbol(name: str) -> str:
    base, _, quote = name.rpartition("_")
    return f"{base}/{quote}:{COIN}"


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules, tiers and fee of one contract."""
    of = OF_USDT | {"contract": name}
    return (
        Call(_PUBLIC, "GET", "{settle}/contracts/{contract}", of),
        Call(_PUBLIC, "GET", "{settle}/risk_limit_tiers", of),
        Call(PRIVATE, "GET", "{settle}/fee", of),
    )


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract. Quantities are in base, whatever the venue counts in."""
    info, table, fees = jsons
    row = Row(info, name)
    if row.raw("name") != name:
        raise row.wrong("name", name)
    size = listed.size_of(name, row.above_zero("quanto_multiplier"))
    least = row.above_zero("order_size_min")
    step = least if _is_decimal(row) else Decimal(1)
    fee = Row(Row(fees, "fee").raw(name), f"fee.{name}")
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=COIN,
        tick_size=Price(row.above_zero("order_price_round")),
        quantity_step=Quantity(step * size),
        quantity_min=Quantity(least * size),
        taker_fee=Ratio(fee.number("taker_fee")),
        tiers=_tiers(table, name),
        rules=RULES,
        quantity_max=Quantity(_largest(row) * size),
        stops_max=MATRIX["gate"].stops_max,
    )


def _largest(row: Row) -> Decimal:
    """The most contracts of an order at market, where the venue tells that apart."""
    key = "market_order_size_max"
    if row.has(key) and row.number(key) > ZERO:
        return row.number(key)
    return row.above_zero("order_size_max")


def _is_decimal(row: Row) -> bool:
    """Whether the contract is traded in parts of one."""
    return row.has("enable_decimal") and row.flag("enable_decimal")


def _tiers(json: Json, name: str) -> tuple[RiskTier, ...]:
    """
    The tiers of one table, with the deductions that make it continuous.

    The venue's answer may repeat a tier; two that contradict each other are no table.
    """
    where = f"risk_limit_tiers.{name}"
    found: dict[int, Bracket] = {}
    for row in rows(json, where):
        bracket = Bracket(
            row.above_zero("risk_limit"),
            row.above_zero("maintenance_rate"),
            row.above_zero("leverage_max"),
        )
        if found.setdefault(row.integer("tier"), bracket) != bracket:
            raise row.wrong("tier", "one row of each tier")
    return continuous([found[tier] for tier in sorted(found)], where)


def interval_call(name: str) -> Call:
    """The contract, which tells how often it settles."""
    return instrument_calls(name)[0]


def interval_of(json: Json, name: str) -> int:
    """Its funding interval."""
    return Row(json, name).integer("funding_interval") * SECOND_MS


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """Mark prices and bills of all contracts."""
    return (listing_call(),)


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """The readable ones; one bad row hides no other."""
    return _marked(rows(jsons[0], "contracts"), listed, "name")


def bars_call(name: str) -> Call:
    """The newest hours of a mark price, the one that is not over yet among them."""
    asked = {"contract": f"mark_{name}", "interval": "1h", "limit": str(BARS_MAX + 1)}
    return Call(_PUBLIC, "GET", "{settle}/candlesticks", OF_USDT | asked)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them."""
    charted = (
        (
            row.integer("t") * SECOND_MS,
            Row({"high": row.raw("h"), "low": row.raw("l"), "close": row.raw("c")}, row.where),
        )
        for row in rows(json, "candlesticks")
    )
    return closed_bars(charted, symbol, received_at_ms)


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the marks of these contracts are pushed."""
    return Opening(STREAMS, (_ask("futures.tickers", at_ms, list(names)),))


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked]:
    """The marks of a frame, without the next bill; none if it is about something else."""
    frame = Row(json, "frame")
    if not frame.has("channel") or frame.raw("channel") != "futures.tickers":
        return ()
    if frame.raw("event") != "update":
        return ()
    return _marked(rows(frame.raw("result"), "tickers"), listed, "contract")


def _marked(found: Iterable[Row], listed: Listed, key: str) -> tuple[Marked, ...]:
    marks = []
    for row in found:
        try:
            name = row.text(key)
            if name in listed.symbols:
                next_s = row.integer("funding_next_apply") if row.has("funding_next_apply") else 0
                marks.append(
                    Marked(
                        listed.symbols[name],
                        Price(row.above_zero("mark_price")),
                        Ratio(row.number("funding_rate")),
                        next_s * SECOND_MS,
                    )
                )
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)
