"""
The public side of Binance's futures: contracts, risk tiers, mark prices and bars.

USD-M (fapi) and COIN-M (dapi) speak one protocol; what differs between them are values, in
`binanceusdm_market` and `binancecoinm_market`. Recipes and shapes: `documented`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

import structlog

from bot.core.events import BarsReported
from bot.core.model import (
    BARS_MAX,
    STOPS_MAX,
    ContractKind,
    Instrument,
    RiskTier,
    VenueRules,
)
from bot.core.units import ZERO, Money, Price, Quantity, Ratio
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.dialect import Listed, Marked, Opening, Pace, TooMany
from bot.exchange.live.reading import Row, closed_bars, rows

log = structlog.get_logger()

_NO_DELIVERY_MS = 4_100_000_000_000
"""A perpetual contract's delivery lies beyond it (in 2100), until it is to be taken off."""
_EIGHT_HOURS_MS = 8 * 3_600_000
_HOUR_MS = 3_600_000
_NONE: dict[str, str] = {}


_WRITES, _TOO_MANY = Pace(100, 10), TooMany()


@dataclass(frozen=True, slots=True)
class BinanceMarket:
    """
    One of the two, by its values: a `MarketDialect`.

    `public` and `private` are its APIs as ccxt names them, `brackets` is the one that has
    leverageBracket; `cap` is what that calls the upper edge of a tier: in the settle currency in
    either. `streams` is an address that the names of streams are put behind.
    """

    ccxt_id: str
    kind: ContractKind
    rules: VenueRules
    public: str
    private: str
    brackets: str
    cap: str
    streams: str
    read_weight_per_minute: int = 2_400
    """Of both together: an address that asks either has less for the other."""
    used_weight_header: str = "x-mbx-used-weight-1m"
    too_many: TooMany = _TOO_MANY
    write_pace: Pace = _WRITES
    """A third of the orders that USD-M takes of an account in 10 s, half of those of COIN-M."""

    # -- clock -----------------------------------------------------------------------------

    def time_call(self) -> Call:
        """The venue's clock."""
        return Call(self.public, "GET", "time", _NONE)

    def time_of(self, json: Json) -> int:
        """Its milliseconds."""
        return Row(json, "time").integer("serverTime")

    # -- contracts -------------------------------------------------------------------------

    def listing_call(self) -> Call:
        """All contracts."""
        return Call(self.public, "GET", "exchangeInfo", _NONE)

    def listing_of(self, json: Json) -> Listed:
        """Perpetual contracts by the venue's id, whatever asset they pay in."""
        found = [
            row
            for row in rows(Row(json, "exchangeInfo").raw("symbols"), "symbols")
            if row.raw("contractType") == "PERPETUAL"
        ]
        return Listed(
            {row.text("symbol"): _symbol(row) for row in found},
            self._sizes(found),
            endings={
                row.text("symbol"): row.integer("deliveryDate")
                for row in found
                if row.integer("deliveryDate") < _NO_DELIVERY_MS
            },
        )

    def _sizes(self, found: Iterable[Row]) -> Mapping[str, Decimal]:
        """The face value of a contract; nothing where quantities are in base."""
        match self.kind:
            case ContractKind.LINEAR:
                return {}
            case ContractKind.INVERSE:
                return {row.text("symbol"): row.above_zero("contractSize") for row in found}
        assert_never(self.kind)

    def _size_as_listed(self, row: Row, listed: Listed) -> Decimal:
        match self.kind:
            case ContractKind.LINEAR:
                return Decimal(1)
            case ContractKind.INVERSE:
                return listed.size_of(row.text("symbol"), row.above_zero("contractSize"))
        assert_never(self.kind)

    def instrument_calls(self, name: str) -> Sequence[Call]:
        """Rules, tiers and fee of one contract."""
        of = {"symbol": name}
        return (
            self.listing_call(),
            Call(self.brackets, "GET", "leverageBracket", of),
            Call(self.private, "GET", "commissionRate", of, weight=20),
        )

    def instrument_of(self, jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
        """The contract; its tiers with the venue's own deductions."""
        info, brackets, fees = jsons
        row = only(rows(Row(info, "exchangeInfo").raw("symbols"), "symbols"), "symbol", name)
        filters = {each.text("filterType"): each for each in rows(row.raw("filters"), name)}
        bracket = only(rows(brackets, "leverageBracket"), "symbol", name)
        for needed in ("PRICE_FILTER", "MARKET_LOT_SIZE", "LOT_SIZE"):
            if needed not in filters:
                raise Unreadable(f"{name}: expected a filter {needed}, was {sorted(filters)}")
        steps = [filters[each].above_zero("stepSize") for each in ("LOT_SIZE", "MARKET_LOT_SIZE")]
        market, size = filters["MARKET_LOT_SIZE"], self._size_as_listed(row, listed)
        stops_max = (
            filters["MAX_NUM_ALGO_ORDERS"].integer("limit")
            if "MAX_NUM_ALGO_ORDERS" in filters
            else STOPS_MAX
        )
        return Instrument(
            symbol=listed.symbols[name],
            kind=self.kind,
            settle=row.text("marginAsset"),
            tick_size=Price(filters["PRICE_FILTER"].above_zero("tickSize")),
            quantity_step=Quantity(max(steps) * size),
            quantity_min=Quantity(market.above_zero("minQty") * size),
            taker_fee=Ratio(Row(fees, "commissionRate").number("takerCommissionRate")),
            tiers=self._tiers(bracket),
            rules=self.rules,
            quantity_max=Quantity(market.above_zero("maxQty") * size),
            stops_max=stops_max,
        )

    def _tiers(self, bracket: Row) -> tuple[RiskTier, ...]:
        """A tier begins where the one before it ends."""
        where = f"{bracket.where}.brackets"
        table = sorted(
            rows(bracket.raw("brackets"), where), key=lambda row: row.above_zero(self.cap)
        )
        caps = [row.above_zero(self.cap) for row in table]
        if not caps or len(set(caps)) != len(caps):
            raise Unreadable(f"{where}: expected tiers of caps that rise, was {caps}")
        return tuple(
            RiskTier(
                floor=floor,
                cap=Decimal("Infinity") if row is table[-1] else cap,
                rate=Ratio(row.above_zero("maintMarginRatio")),
                deduction=Money(row.number("cum")),
                leverage_max=row.above_zero("initialLeverage"),
            )
            for floor, cap, row in zip((ZERO, *caps), caps, table, strict=False)
        )

    def interval_call(self, name: str) -> Call:
        """Contracts with another funding interval than eight hours."""
        return Call(self.public, "GET", "fundingInfo", _NONE)

    def interval_of(self, json: Json, name: str) -> int:
        """Eight hours, where the venue says nothing else."""
        told = [
            row.integer("fundingIntervalHours") * _HOUR_MS
            for row in rows(json, "fundingInfo")
            if row.raw("symbol") == name
        ]
        return told[0] if told else _EIGHT_HOURS_MS

    # -- prices ----------------------------------------------------------------------------

    def marks_calls(self, names: Sequence[str]) -> Sequence[Call]:
        """Mark prices and bills of all contracts."""
        return (Call(self.public, "GET", "premiumIndex", _NONE, weight=10),)

    def marks_of(self, jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
        """The readable ones; one bad row hides no other."""
        names = ("symbol", "markPrice", "lastFundingRate", "nextFundingTime")
        return _marked(rows(jsons[0], "premiumIndex"), listed, names)

    def bars_call(self, name: str) -> Call:
        """The newest hours of a mark price, the one that is not over yet among them."""
        asked = {"symbol": name, "interval": "1h", "limit": str(BARS_MAX + 1)}
        return Call(self.public, "GET", "markPriceKlines", asked, weight=2)

    def bars_of(self, json: Json, symbol: str, received_at_ms: int) -> BarsReported:
        """Those of them that are over, and have no gap behind them."""
        if not isinstance(json, list):
            raise Unreadable(f"markPriceKlines: expected a list, was {json!r:.80}")
        return closed_bars(map(_charted, json), symbol, received_at_ms)

    def marks_opening(self, names: Sequence[str], at_ms: int) -> Opening:
        """Where the marks of these contracts are pushed every second."""
        return Opening(self.streams + "/".join(f"{name.lower()}@markPrice@1s" for name in names))

    def mark_frame(self, json: Json, listed: Listed) -> Sequence[Marked]:
        """The mark of a frame; none if it is about something else."""
        frame = Row(json, "frame")
        if not frame.has("data"):
            return ()
        row = Row(frame.raw("data"), "frame.data")
        if row.raw("e") != "markPriceUpdate":
            return ()
        return _marked([row], listed, ("s", "p", "r", "T"))


def only(found: Iterable[Row], key: str, name: str) -> Row:
    """The one row that `key` gives this name; raises `Unreadable` where it is not one."""
    named = [each for each in found if each.has(key) and each.raw(key) == name]
    if len(named) != 1:
        raise Unreadable(f"{key}: expected one row of {name}, was {len(named)}")
    return named[0]


def _symbol(row: Row) -> str:
    return f"{row.text('baseAsset')}/{row.text('quoteAsset')}:{row.text('marginAsset')}"


def _charted(row: Json) -> tuple[int, Row]:
    match row:
        case [int(opens_at_ms), _, high, low, close, *_]:
            prices = {"high": high, "low": low, "close": close}
            return opens_at_ms, Row(prices, "markPriceKlines")
        case _:
            raise Unreadable(f"markPriceKlines: expected a row of a chart, was {row!r:.80}")


def _marked(
    found: Iterable[Row], listed: Listed, names: tuple[str, str, str, str]
) -> tuple[Marked, ...]:
    symbol, price, rate, next_at = names
    marks = []
    for row in found:
        try:
            name = row.text(symbol)
            if name in listed.symbols:
                marks.append(
                    Marked(
                        listed.symbols[name],
                        Price(row.above_zero(price)),
                        Ratio(row.number(rate)),
                        row.integer(next_at),
                    )
                )
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)
