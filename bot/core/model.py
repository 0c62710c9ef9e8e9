"""
Vocabulary: the things an account is made of, as the exchange reports them.

Facts only, no formulas: the guard and the paper exchange both import this module, and they
must not share arithmetic.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

from bot.core.units import Money, Price, Quantity, Ratio

_NO_LIMIT = Quantity(Decimal("Infinity"))

STOPS_MAX = 20
"""So many conditional orders are tried in a contract of a venue that names no limit."""


class Side(StrEnum):
    """Direction of a position."""

    LONG = "long"
    SHORT = "short"

    @property
    def sign(self) -> int:
        """+1 for a long, -1 for a short."""
        return 1 if self is Side.LONG else -1


class MarginMode(StrEnum):
    """Whether a position has margin of its own or shares the wallet."""

    ISOLATED = "isolated"
    CROSS = "cross"


class PositionMode(StrEnum):
    """Whether a symbol holds one net position or a long and a short beside each other."""

    ONE_WAY = "one_way"
    HEDGE = "hedge"


class ContractKind(StrEnum):
    """Whether profit is paid in the quote currency (linear) or in the base (inverse)."""

    LINEAR = "linear"
    INVERSE = "inverse"


class MaintenanceAt(StrEnum):
    """At which price a venue values the position for its maintenance margin."""

    MARK = "mark"
    ENTRY = "entry"


class CloseFee(StrEnum):
    """Whether the taker fee of closing counts into the requirement, and at which price."""

    NONE = "none"
    MARK = "mark"
    """On the value at the mark price (Gate, OKX, Bitget, KuCoin)."""
    BANKRUPTCY = "bankruptcy"
    """On the value at the bankruptcy price: an amount that no mark price changes (Bybit)."""


class TierMeasure(StrEnum):
    """What of a position a venue holds against the brackets of its risk tiers."""

    VALUE = "value"
    """Its value in the settle currency at the price at which maintenance is valued."""
    QUANTITY = "quantity"
    """Its own quantity, whatever the price (OKX: brackets in contracts)."""


class LiquidationRounding(StrEnum):
    """How a venue rounds the liquidation price that it shows."""

    NONE = "none"
    TOWARDS_MARK = "towards_mark"
    """To the tick that a mark going against the position reaches first."""
    AWAY_FROM_MARK = "away_from_mark"
    """To the tick that it reaches last."""
    ONE_TICK_EARLY = "one_tick_early"
    """Not at all, and one tick towards the mark is added (OKX, isolated)."""


class HedgeRequirement(StrEnum):
    """What a cross long and a short of one symbol need together, in hedge mode."""

    BOTH_LEGS = "both_legs"
    """The sum of both (Binance)."""
    LARGER_LEG = "larger_leg"
    """That of the leg of the larger value (Gate, Kraken)."""
    NET = "net"
    """That of what the larger leg has beyond the smaller (older Bybit)."""


class MarginOnReduce(StrEnum):
    """What closing part of an isolated position does to its margin."""

    PRO_RATA = "pro_rata"
    """The closed share's margin, with its profit or loss, goes back to the wallet."""
    RETAINED = "retained"
    """All margin stays with what is left; profit and loss are settled with the wallet."""


class RestingStops(StrEnum):
    """What resting reduce-only stops mean for a close of the position that they are for."""

    COEXIST = "coexist"
    """Nothing, as far as is known."""
    RESERVE = "reserve"
    """They have it refused (Binance, -4118), so ours are taken off the book just before it."""


@dataclass(frozen=True, slots=True)
class RiskTier:
    """
    A bracket of position size, in what `VenueRules.tier_measure` says.

    A position of value n whose measure m is in `floor` < m <= `cap` needs n * `rate` -
    `deduction` as maintenance margin, in the settle currency. The last tier of a table has an
    infinite `cap`. Whether a venue knows deductions is in its table: without, they are 0, and
    the requirement jumps at a border.
    """

    floor: Decimal
    cap: Decimal
    rate: Ratio
    deduction: Money
    leverage_max: Decimal


@dataclass(frozen=True, slots=True)
class VenueRules:
    """What differs between venues, as data."""

    maintenance_at: MaintenanceAt
    close_fee: CloseFee
    position_margin_step: Decimal
    """Smallest difference between two amounts of margin, in the settle currency."""
    margin_on_reduce: MarginOnReduce
    tier_measure: TierMeasure = TierMeasure.VALUE
    liquidation_rounding: LiquidationRounding = LiquidationRounding.NONE
    hedge_requirement: HedgeRequirement = HedgeRequirement.BOTH_LEGS
    resting_stops: RestingStops = RestingStops.COEXIST


@dataclass(frozen=True, slots=True)
class Instrument:
    """
    A perpetual contract and the venue's rules for it.

    Quantities of a linear contract are in base units, those of an inverse one are its face value
    in the quote currency. `settle` is what margin, profit and fees are paid in: quote for a
    linear contract, base for an inverse one. No order that fills at once may be for more than
    `quantity_max`: what is larger is closed in slices. No more than `stops_max` conditional
    orders may rest in the contract at a time.
    """

    symbol: str
    kind: ContractKind
    settle: str
    tick_size: Price
    quantity_step: Quantity
    quantity_min: Quantity
    taker_fee: Ratio
    tiers: tuple[RiskTier, ...]
    rules: VenueRules
    quantity_max: Quantity = _NO_LIMIT
    stops_max: int = STOPS_MAX


BAR_MS = 3_600_000
"""Volatility is measured on bars of an hour."""

BARS_MAX = 168
"""So many of the newest of them are read: a week."""


@dataclass(frozen=True, slots=True)
class PriceBar:
    """What a price did in one interval."""

    high: Price
    low: Price
    close: Price


@dataclass(frozen=True, slots=True)
class Reported:
    """A liquidation price that the venue itself gave."""

    price: Price


@dataclass(frozen=True, slots=True)
class NotReported:
    """The venue gave no liquidation price. It says nothing about safety."""


LiquidationReport: TypeAlias = Reported | NotReported


@dataclass(frozen=True, slots=True, order=True)
class PositionKey:
    """What identifies a position until it has been flat for ten minutes."""

    symbol: str
    side: Side


@dataclass(frozen=True, slots=True)
class Position:
    """
    An open position. `isolated_margin` excludes unrealised profit and loss.

    A cross position has no margin of its own: `isolated_margin` is 0, the wallet backs it. In
    hedge mode a symbol can hold a long and a short: their `key` tells them apart.
    """

    symbol: str
    side: Side
    quantity: Quantity
    entry_price: Price
    margin_mode: MarginMode
    isolated_margin: Money
    leverage: Decimal
    liquidation: LiquidationReport

    @property
    def key(self) -> PositionKey:
        """Identity of the position."""
        return _key(self.symbol, self.side)


@lru_cache(maxsize=4_096)
def _key(symbol: str, side: Side) -> PositionKey:
    """One object for each: keys are asked for at every step, and looked up by thousands."""
    return PositionKey(symbol, side)


@dataclass(frozen=True, slots=True)
class Fill:
    """What an order has filled so far, and the average price of it."""

    quantity: Quantity
    price: Price


@dataclass(frozen=True, slots=True)
class NoFill:
    """Nothing was filled."""


Filled: TypeAlias = Fill | NoFill

NO_FILL = NoFill()


@dataclass(frozen=True, slots=True)
class StopOrder:
    """
    A conditional market order resting on the exchange, triggered by the mark price.

    `side` is the side of the position it closes. Ours or a human's: `client_id` tells.
    """

    symbol: str
    side: Side
    client_id: str
    quantity: Quantity
    trigger_price: Price
    reduce_only: bool


@dataclass(frozen=True, slots=True)
class Collateral:
    """
    A balance of another coin that backs the cross positions beside the settle currency.

    `weight` is the share of its value that the venue counts, one less the haircut. The value of
    one coin in the settle currency is the mark price of `symbol`, which moves like any other.
    """

    coin: str
    balance: Decimal
    weight: Ratio
    symbol: str


@dataclass(frozen=True, slots=True)
class Garbled:
    """A position that the venue reports and nobody can read; `symbol` is empty if that neither."""

    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """
    One complete, consistent read of an account: what is not in it did not exist then.

    But for positions that are `garbled`: of those nothing is known, not even that they are open.

    `taken_at_ms` is the venue's time, used for ordering only. `wallet_balance` is the money of
    the settle currency that is bound to no isolated position: with the unrealised profit of the
    cross positions it is their margin balance. `free` is the part of it that the venue would
    let go as isolated margin: less the initial margin and the unrealised loss of the cross
    positions, the same as `wallet_balance` where there are none. `collateral` are the balances
    of other coins that count beside it; none in an account of one coin.
    """

    taken_at_ms: int
    position_mode: PositionMode
    wallet_balance: Money
    free: Money
    positions: tuple[Position, ...]
    stops: tuple[StopOrder, ...]
    collateral: tuple[Collateral, ...] = ()
    garbled: tuple[Garbled, ...] = ()

    def tells_of(self, symbol: str) -> bool:
        """Whether no position in `symbol` being in it means that there was none."""
        return all(each.symbol not in ("", symbol) for each in self.garbled)
