"""Everything the paper exchange remembers, as plain values. No behaviour, no formulas."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from bot.core.model import Filled, Instrument, MarginMode, PositionMode, Side
from bot.core.units import ZERO, Money, Price, Quantity, Ratio
from bot.exchange.paper.depth import Depth, Tape
from bot.exchange.paper.ladders import Ladder
from bot.exchange.paper.orders import ANY_SIZE, OpenOrder, OrderLimits
from bot.exchange.paper.prices import FundingTerm
from bot.exchange.ports import MarginChange

NOTHING = Money(ZERO)


@dataclass(frozen=True, slots=True)
class Quote:
    """The prices of one symbol at one moment."""

    at_ms: int
    mark: Price
    last: Price
    index: Price


@dataclass(frozen=True, slots=True)
class Holding:
    """
    An open position. `margin` excludes unrealised profit and loss.

    A cross position has no margin of its own: it is 0, the account's wallet backs it. Funding may
    take that of an isolated one below zero as long as its profit keeps it from liquidation.
    """

    symbol: str
    side: Side
    quantity: Quantity
    entry_price: Price
    margin_mode: MarginMode
    margin: Money
    leverage: Decimal


class OrderState(StrEnum):
    """What became of an order."""

    RESTING = "resting"
    FILLED = "filled"
    EXPIRED = "expired"
    """Its time was over before it was filled: nothing was left to reduce, or to be had."""
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    """It was conditional, and what it sent was refused."""


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """A line of the order history."""

    symbol: str
    state: OrderState
    filled: Filled


class Resting(StrEnum):
    """
    What resting stops mean for another order that would reduce their position.

    Resting reduce-only limit orders reserve what they are for under the first two as well.
    """

    COEXIST = "coexist"
    """Nothing: all of them may together be larger than the position."""
    RESERVE = "reserve"
    """A close of what they are for is refused (Binance, -4118)."""
    DISPLACE = "displace"
    """It cancels the older ones as far as it needs their part of the position (Bitget)."""


class Cause(StrEnum):
    """Why a position got smaller."""

    CLOSE = "close"
    STOP = "stop"
    LIQUIDATION = "liquidation"
    DELEVERAGING = "deleveraging"
    """Taken by the exchange to fill another account's liquidation."""
    SETTLEMENT = "settlement"
    """The contract ended."""


@dataclass(frozen=True, slots=True)
class Realised:
    """
    A reduction of a position.

    The account's money changed by `profit` - `fee` + `shortfall`, where `shortfall` is what
    others paid because the loss was larger than what backed it. A liquidation whose surplus the
    engine keeps is realised at the bankruptcy price, which here is unrounded; of cross positions,
    at prices at which they lose the wallet just so: what they had left at their marks is spread
    over them by notional. One whose surplus is returned is realised at the price of its fill,
    with the clearance fee. `client_id` is that of the order, empty for what the exchange did.
    """

    at_ms: int
    client_id: str
    symbol: str
    side: Side
    quantity: Quantity
    price: Price
    profit: Money
    fee: Money
    shortfall: Money
    cause: Cause


@dataclass(frozen=True, slots=True)
class FundingPaid:
    """A settlement of funding: the account's money changed by - `amount`."""

    at_ms: int
    symbol: str
    side: Side
    amount: Money
    rate: Ratio


@dataclass(frozen=True, slots=True)
class Entered:
    """An order opened a position or made one larger: the account's money changed by - `fee`."""

    at_ms: int
    client_id: str
    symbol: str
    side: Side
    quantity: Quantity
    price: Price
    fee: Money


@dataclass(frozen=True, slots=True)
class Triggered:
    """A conditional order met its price and sent an order of `quantity`."""

    at_ms: int
    client_id: str
    quantity: Quantity


@dataclass(frozen=True, slots=True)
class Ended:
    """An order is over; it is not `RESTING` any more."""

    at_ms: int
    client_id: str
    state: OrderState


Happened: TypeAlias = Realised | FundingPaid | Entered | Triggered | Ended


NO_ORDER = ""
"""In place of a client id: the exchange did it by itself."""

LEVERAGE_AT_FIRST = Decimal(20)


@dataclass(frozen=True, slots=True)
class Settings:
    """How an account trades a symbol: what holds for the position that it opens next."""

    leverage: Decimal
    margin_mode: MarginMode


class Rung(StrEnum):
    """What a step of a liquidation does to a position."""

    NETTED = "netted"
    """Closed at mark against the opposite position of its contract."""
    REDUCED = "reduced"
    TAKEN_OVER = "taken_over"


@dataclass(frozen=True, slots=True)
class Pledge:
    """
    Another coin that backs cross positions: its value times `weight`, one less the haircut.

    One coin is worth the mark price of `symbol`, which must be listed.
    """

    coin: str
    weight: Ratio
    symbol: str


@dataclass(frozen=True, slots=True)
class CollateralTaken:
    """
    A step of a liquidation before any position: coins were turned into the settle currency.

    The account got their counted value, `amount` x `mark` x weight; the haircut goes to the
    insurance fund. `equity` and `requirement` are as before it.
    """

    at_ms: int
    equity: Money
    requirement: Money
    coin: str
    amount: Decimal
    mark: Price
    received: Money


@dataclass(frozen=True, slots=True)
class OrdersCancelled:
    """
    The first step of a liquidation: orders that were resting, by client id.

    `equity` is the margin balance of what is liquidated and `requirement` what it needs, before.
    """

    at_ms: int
    equity: Money
    requirement: Money
    client_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PositionStep:
    """
    A step of a liquidation that makes a position smaller.

    `equity` and `requirement` are as before it. `price` is what the account got, `mark` the mark
    price. The insurance fund gained `to_fund`, or paid it when negative; `fee` was taken from the
    account; `deleveraged` of the quantity was filled by the accounts on the other side.
    """

    at_ms: int
    equity: Money
    requirement: Money
    rung: Rung
    symbol: str
    side: Side
    quantity: Quantity
    left: Quantity
    price: Price
    mark: Price
    fee: Money
    to_fund: Money
    deleveraged: Quantity


LadderStep: TypeAlias = OrdersCancelled | CollateralTaken | PositionStep


@dataclass(slots=True)
class AccountBook:
    """
    One account. `open_orders` and `orders` are by client id, in the order of their arrival.

    `holdings` are by their slot, see `slot_of`.

    `wallet` is the money that is bound to no isolated position. It may be below zero as long as
    cross positions are so far in profit that they are not liquidated.
    """

    mode: PositionMode = PositionMode.ONE_WAY
    wallet: Money = NOTHING
    coins: dict[str, Decimal] = field(default_factory=dict)
    """Balances of other coins, none of them zero."""
    holdings: dict[str, Holding] = field(default_factory=dict)
    settings: dict[str, Settings] = field(default_factory=dict)
    """Of the symbols for which the account has said how it trades them."""
    counts_coins: bool = True
    """Whether other coins back its cross positions (multi-assets mode)."""
    open_orders: dict[str, OpenOrder] = field(default_factory=dict)
    orders: dict[str, OrderRecord] = field(default_factory=dict)
    margin_changes: list[MarginChange] = field(default_factory=list)
    history: list[Happened] = field(default_factory=list)
    """What its orders and its positions came to, oldest first."""
    liquidation: list[LadderStep] = field(default_factory=list)
    whole_until_ms: int = 0
    """Until then a liquidation takes all of a position, where its ladder begins with a share."""


def slot_of(book: AccountBook, symbol: str, side: Side) -> str:
    """
    Where the account keeps a position of that side, be there one or not.

    In one-way mode a symbol has one slot for either side, in hedge mode one for each.
    """
    match book.mode:
        case PositionMode.ONE_WAY:
            return symbol
        case PositionMode.HEDGE:
            return f"{symbol} {side}"


@dataclass(slots=True)
class Books:
    """
    The whole exchange.

    `market` is the cash of everybody else: it receives the other side of every profit, so that
    `deposited` is at any time the sum of all other money in the books.
    """

    instruments: dict[str, Instrument]
    depths: dict[str, Depth]
    slippage: Ratio
    refuse_stops: bool
    ladder: Ladder
    pledges: dict[str, Pledge] = field(default_factory=dict)
    """The coins that count as collateral, by their names."""
    resting: Resting = Resting.COEXIST
    limits: OrderLimits = ANY_SIZE
    at_ms: int = 0
    quotes: dict[str, Quote] = field(default_factory=dict)
    terms: dict[str, FundingTerm] = field(default_factory=dict)
    """What was announced last of each symbol, be it settled or still ahead."""
    ended: list[str] = field(default_factory=list)
    """Contracts that are not traded any more."""
    tapes: dict[str, Tape] = field(default_factory=dict)
    """Of each symbol whose depth is an order book."""
    accounts: dict[str, AccountBook] = field(default_factory=dict)
    coins_deposited: dict[str, Decimal] = field(default_factory=dict)
    deposited: Money = NOTHING
    insurance_fund: Money = NOTHING
    """Never below zero: what it cannot pay, the profits of others do."""
    fees: Money = NOTHING
    market: Money = NOTHING


@dataclass(frozen=True, slots=True)
class Ledger:
    """
    Where the money is: the five after it add up to `deposited`, to the last digit.

    `coins` are what accounts hold of other coins, of what they have deposited of each.
    """

    deposited: Money
    wallets: Money
    margins: Money
    insurance_fund: Money
    fees: Money
    market: Money
    coins: Mapping[str, "CoinLedger"]


@dataclass(frozen=True, slots=True)
class CoinLedger:
    """What accounts have deposited and hold of a coin. The rest everybody else has bought."""

    deposited: Decimal
    held: Decimal
