"""
Kraken's futures as a market: clock, contracts, levels of margin, mark prices and bars.

Shapes: `documented` (v3). Of its contracts the linear perpetuals of the multi-collateral wallet,
PF_*, in units of base. For each the venue tells levels of margin several times over, by platform
and kind of client, and not which of them an account has: the account's own maintenance margin
tells it, see decision 26.
"""

import json as text_json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from bot.core.events import BarsReported
from bot.core.model import BARS_MAX, ContractKind, Instrument, RiskTier, TierMeasure
from bot.core.units import ZERO, Money, Price, Quantity, Ratio
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.dialect import Listed, Marked, Opening, Pace, TooMany
from bot.exchange.live.reading import Row, closed_bars, readable, rows
from bot.exchange.venues.capabilities import MATRIX
from bot.exchange.venues.krakenfutures import RULES
from bot.exchange.venues.tiers import Bracket, continuous

ccxt_id = "bot.exchange.venues.krakenfutures_client.KrakenFutures"
read_weight_per_minute = 3_000
"""500 in 10 s, of which most private reads take 2; public ones are free: `documented`."""

too_many = TooMany(words=r'\{"result":\s*"error",.{0,80}"apiLimitExceeded"')
"""With HTTP 200: `documented`."""

write_pace = Pace(25, 10)
"""Of cost 10 each: half of the 500 in 10 s that an account has: `documented`."""

used_weight_header = ""
"""The venue tells nothing of what is used."""

COIN = "USD"
STREAMS = "wss://futures.kraken.com/ws/v1"
ACCOUNTS = Call("private", "GET", "accounts", {}, weight=2)
POSITIONS = Call("private", "GET", "openpositions", {}, weight=2)

_OURS = "PF_"
_COINS = {"XBT": "BTC", "XDG": "DOGE"}
"""The venue's own names of coins."""

_TAKER_FEE = Ratio(Decimal("0.0005"))
"""The highest of its schedule: `documented`. It calls its own answers about fees out of date."""

_HOUR_MS = 3_600_000
_MM_OFF_MAX, _MM_OFF_LEAST = Decimal("0.01"), Decimal("0.0001")


def told(json: Json, where: str) -> Row:
    """A good answer."""
    row = Row(json, where)
    if row.raw("result") != "success":
        raise row.wrong("result", "success")
    return row


def named(row: Row) -> str:
    """The contract of a row; older answers write it small."""
    return row.text("symbol").upper()


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """Whether a contract trades: a small answer, and as all of them it has the time."""
    return interval_call("PF_XBTUSD")


def time_of(json: Json) -> int:
    """Its milliseconds."""
    row = told(json, "status")
    try:
        at = datetime.fromisoformat(row.text("serverTime"))
    except ValueError as e:
        raise row.wrong("serverTime", "a moment") from e
    if at.tzinfo is None:
        raise row.wrong("serverTime", "a moment with its zone")
    return round(at.timestamp() * 1_000)


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts, with their levels of margin."""
    return Call("public", "GET", "instruments", {})


def listing_of(json: Json) -> Listed:
    """The linear perpetuals that are traded now; one that cannot be read hides no other."""
    found = readable(told(json, "instruments").raw("instruments"), "instruments", _traded)
    return Listed(
        {name: symbol for name, symbol, _ in found}, {name: size for name, _, size in found}
    )


def _traded(row: Row) -> list[tuple[str, str, Decimal]]:
    name = named(row)
    if not name.startswith(_OURS) or row.raw("type") != "flexible_futures":
        return []
    if row.raw("quote") != COIN or not row.flag("tradeable"):
        return []
    base = row.text("base")
    symbol = f"{_COINS.get(base, base)}/{COIN}:{COIN}"
    return [(name, symbol, row.above_zero("contractSize"))]


def instrument_calls(name: str) -> Sequence[Call]:
    """All contracts, and what the account holds and has to have for it."""
    return (listing_call(), ACCOUNTS, POSITIONS)


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract, of one in which something is held. The smallest quantity is the step."""
    contracts, accounts, held = jsons
    by_name = _by_name(contracts)
    if name not in by_name:
        raise Unreadable(f"instruments: expected {name}, was not there")
    row = by_name[name]
    size = listed.size_of(name, row.above_zero("contractSize"))
    tiers, measure = _tiers(by_name, accounts, held, name)
    step = Decimal(1).scaleb(-row.integer("contractValueTradePrecision")) * size
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=COIN,
        tick_size=Price(row.above_zero("tickSize")),
        quantity_step=Quantity(step),
        quantity_min=Quantity(step),
        taker_fee=_TAKER_FEE,
        tiers=tiers,
        rules=replace(RULES, tier_measure=measure),
        stops_max=MATRIX["krakenfutures"].stops_max,
    )


def _by_name(contracts: Json) -> Mapping[str, Row]:
    found = told(contracts, "instruments").raw("instruments")
    return {
        each.text("symbol").upper(): each
        for each in readable(found, "instruments", lambda row: [row] if named(row) else [])
    }


def interval_call(name: str) -> Call:
    """Whether the contract trades."""
    return Call("public", "GET", "instruments/{symbol}/status", {"symbol": name})


def interval_of(json: Json, name: str) -> int:
    """An hour: `documented`. Between them the bill grows bit by bit."""
    told(json, name)
    return _HOUR_MS


# -- levels of margin ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Level:
    """From a value of `floor` on these rates apply, of the value at the entry price."""

    floor: Decimal
    maintenance: Decimal
    initial: Decimal


_Table: TypeAlias = tuple[Level, ...]
_Form: TypeAlias = Callable[[_Table, str], tuple[RiskTier, ...]]


@dataclass(frozen=True, slots=True)
class _Held:
    quantity: Decimal
    price: Decimal

    @property
    def value(self) -> Decimal:
        return self.quantity * self.price


def _tiers(
    by_name: Mapping[str, Row], accounts: Json, held: Json, name: str
) -> tuple[tuple[RiskTier, ...], TierMeasure]:
    """
    Those by which the account's maintenance margin is what the venue says that it is.

    Of several that fit the strictest rates. None fits: the account is margined in a way that is
    not known, and there are no rules to guard it by. A rate for a whole position is that of a
    quantity, as its entry price is what it is, whatever the mark does.
    """
    wallet = Row(Row(told(accounts, "accounts").raw("accounts"), "accounts").raw("flex"), "flex")
    needed = wallet.number("maintenanceMargin")
    positions = _positions(by_name, held)
    if name not in positions:
        raise Unreadable(f"{name}: expected a position in it that tells its margins, was none")
    tables = {each: _schedules(by_name[each]) for each in positions}
    shared = set.intersection(*(set(each) for each in tables.values()))
    for form in FORMS:
        fitting = []
        for key in sorted(shared):
            asked = (
                _asked(form(tables[each][key], each), of.value) for each, of in positions.items()
            )
            if abs(sum(asked, ZERO) - needed) <= needed * _MM_OFF_MAX + _MM_OFF_LEAST:
                fitting.append(tables[name][key])
        if fitting and form is _whole:
            found = _whole(_strictest(fitting), name)
            return _by_quantity(found, positions[name].price), TierMeasure.QUANTITY
        if fitting:
            return form(_strictest(fitting), name), TierMeasure.VALUE
    raise Unreadable(
        f"{name}: expected levels of margin that ask {needed:f} for what is held, was none"
    )


def _by_quantity(tiers: Sequence[RiskTier], price: Decimal) -> tuple[RiskTier, ...]:
    return tuple(
        RiskTier(each.floor / price, each.cap / price, each.rate, Money(ZERO), each.leverage_max)
        for each in tiers
    )


def _positions(by_name: Mapping[str, Row], held: Json) -> Mapping[str, _Held]:
    """What is held in the wallet, by the contract."""
    found = {}
    for row in rows(told(held, "openpositions").raw("openPositions"), "openPositions"):
        name = named(row)
        if name.startswith(("PI_", "FI_")):
            continue  # those have wallets of their own
        if name not in by_name:
            raise row.wrong("symbol", "a contract that is listed")
        size = row.above_zero("size") * by_name[name].above_zero("contractSize")
        found[name] = _Held(size, row.above_zero("price"))
    return found


def _schedules(contract: Row) -> Mapping[str, _Table]:
    """The tables that the venue tells of a contract, by whom they are for."""
    found = {"professional": _table(contract, "marginLevels")}
    if contract.has("retailMarginLevels"):
        found["retail"] = _table(contract, "retailMarginLevels")
    if contract.has("marginSchedules"):
        where = f"{contract.where}.marginSchedules"
        platforms = contract.raw("marginSchedules")
        if not isinstance(platforms, dict):
            raise contract.wrong("marginSchedules", "an object")
        for platform, clients in platforms.items():
            of = Row(clients, f"{where}.{platform}")
            found |= {f"{platform}.{client}": _table(of, client) for client in clients}
    return found


def _table(row: Row, key: str) -> _Table:
    where = f"{row.where}.{key}"
    levels = [
        Level(
            each.number("numNonContractUnits"),
            each.above_zero("maintenanceMargin"),
            each.above_zero("initialMargin"),
        )
        for each in rows(row.raw(key), where)
    ]
    found = tuple(sorted(levels, key=lambda level: level.floor))
    if not found or found[0].floor != ZERO or len({each.floor for each in found}) != len(found):
        raise Unreadable(f"{where}: expected levels from 0 on, was {found}")
    return found


def _strictest(tables: Sequence[_Table]) -> _Table:
    floors = sorted({level.floor for table in tables for level in table})
    return tuple(
        Level(
            floor,
            max(_at(table, floor).maintenance for table in tables),
            max(_at(table, floor).initial for table in tables),
        )
        for floor in floors
    )


def _at(table: _Table, floor: Decimal) -> Level:
    return [level for level in table if level.floor <= floor][-1]


def _sliced(table: _Table, where: str) -> tuple[RiskTier, ...]:
    """Each slice of the value at the rate of its level."""
    caps = [*(level.floor for level in table[1:]), Decimal("Infinity")]
    brackets = [
        Bracket(cap, level.maintenance, 1 / level.initial)
        for cap, level in zip(caps, table, strict=True)
    ]
    return continuous(brackets, where)


def _whole(table: _Table, where: str) -> tuple[RiskTier, ...]:
    """The whole value at the rate of its level."""
    return tuple(
        RiskTier(tier.floor, tier.cap, tier.rate, Money(ZERO), tier.leverage_max)
        for tier in _sliced(table, where)
    )


FORMS: tuple[_Form, ...] = (_whole, _sliced)
"""How the rates of levels may be meant; the stricter one first."""


def _asked(tiers: Sequence[RiskTier], value: Decimal) -> Decimal:
    (tier,) = (each for each in tiers if each.floor < value <= each.cap)
    return value * tier.rate - tier.deduction


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """The tickers of all contracts; when the next bill is they do not tell."""
    return (Call("public", "GET", "tickers", {}),)


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """The readable ones; one bad row hides no other."""

    def marked(row: Row) -> list[Marked]:
        name = named(row)
        if name not in listed.symbols:
            return []
        price = Price(row.above_zero("markPrice"))
        return [Marked(listed.symbols[name], price, Ratio(ZERO), 0)]

    return readable(told(jsons[0], "tickers").raw("tickers"), "tickers", marked)


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the tickers of these contracts are pushed, about every second."""
    asked = {"event": "subscribe", "feed": "ticker", "product_ids": list(names)}
    return Opening(STREAMS, (text_json.dumps(asked),))


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked]:
    """The mark of a frame and the next bill, as a rate; none if it is about something else."""
    frame = Row(json, "frame")
    if not frame.has("feed") or frame.raw("feed") != "ticker":
        return ()
    name = frame.text("product_id").upper()
    if name not in listed.symbols:
        return ()
    rate, next_at_ms = Ratio(ZERO), 0
    if frame.has("relative_funding_rate") and frame.has("next_funding_rate_time"):
        rate = Ratio(frame.number("relative_funding_rate"))
        next_at_ms = frame.integer("next_funding_rate_time")
    price = Price(frame.above_zero("markPrice"))
    return (Marked(listed.symbols[name], price, rate, next_at_ms),)


def bars_call(name: str) -> Call:
    """The newest hours of a mark price, the one that is not over yet among them."""
    asked = {"price_type": "mark", "symbol": name, "interval": "1h", "count": str(BARS_MAX + 1)}
    return Call("charts", "GET", "{price_type}/{symbol}/{interval}", asked)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them."""
    candles = rows(Row(json, "candles").raw("candles"), "candles")
    charted = ((row.integer("time"), row) for row in candles)
    return closed_bars(charted, symbol, received_at_ms)
