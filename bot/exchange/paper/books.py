"""Everything the paper exchange remembers, as plain values. No behaviour, no formulas."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from bot.core.model import Filled, Instrument, MarginMode, Side, StopOrder
from bot.core.units import ZERO, Money, Price, Quantity, Ratio
from bot.exchange.paper.depth import Depth, Tape
from bot.exchange.paper.prices import FundingTerm
from bot.exchange.ports import MarginChange

NOTHING = Money(ZERO)


@dataclass(frozen=True, slots=True)
class Quote:
    """The prices of one symbol at one moment."""

    at_ms: int
    mark: Price
    last: Price


@dataclass(frozen=True, slots=True)
class Holding:
    """
    An open position. `margin` excludes unrealised profit and loss.

    A cross position has no margin of its own: it is 0, the account's wallet backs it. Funding may
    take that of an isolated one below zero as long as its profit keeps it from liquidation.
    """

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


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """A line of the order history."""

    symbol: str
    state: OrderState
    filled: Filled


class Cause(StrEnum):
    """Why a position got smaller."""

    CLOSE = "close"
    STOP = "stop"
    LIQUIDATION = "liquidation"


@dataclass(frozen=True, slots=True)
class Realised:
    """
    A reduction of a position.

    The account's money changed by `profit` - `fee` + `shortfall`, where `shortfall` is what the
    insurance fund paid because the loss was larger than what backed it. A liquidation is realised
    at the bankruptcy price, which here is unrounded; of cross positions taken over together, at
    prices at which they lose the wallet just so: what they had left at their marks is spread over
    them by notional.
    """

    at_ms: int
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


@dataclass(slots=True)
class AccountBook:
    """
    One account. `stops` and `orders` are by client id, in the order of their arrival.

    `wallet` is the money that is bound to no isolated position. It may be below zero as long as
    cross positions are so far in profit that they are not liquidated.
    """

    wallet: Money = NOTHING
    holdings: dict[str, Holding] = field(default_factory=dict)
    stops: dict[str, StopOrder] = field(default_factory=dict)
    orders: dict[str, OrderRecord] = field(default_factory=dict)
    margin_changes: list[MarginChange] = field(default_factory=list)
    realised: list[Realised] = field(default_factory=list)
    funding: list[FundingPaid] = field(default_factory=list)


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
    at_ms: int = 0
    quotes: dict[str, Quote] = field(default_factory=dict)
    terms: dict[str, FundingTerm] = field(default_factory=dict)
    """What was announced last of each symbol, be it settled or still ahead."""
    tapes: dict[str, Tape] = field(default_factory=dict)
    """Of each symbol whose depth is an order book."""
    accounts: dict[str, AccountBook] = field(default_factory=dict)
    deposited: Money = NOTHING
    insurance_fund: Money = NOTHING
    fees: Money = NOTHING
    market: Money = NOTHING


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where the money is: the last five add up to `deposited`, to the last digit."""

    deposited: Money
    wallets: Money
    margins: Money
    insurance_fund: Money
    fees: Money
    market: Money
