"""
Orders as the venue keeps them: plain ones, and conditional ones of the algo service.

A record here is what is told about an order. What a fill does to money is the machine's alone.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from bot.core.model import Side
from bot.core.units import ZERO, Quantity
from bot.exchange.paper.wire.listing import id_of, text


class Direction(StrEnum):
    """Which way an order trades."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def closes(self) -> Side:
        """The side of the positions that it reduces."""
        return Side.SHORT if self is Direction.BUY else Side.LONG

    @property
    def opens(self) -> Side:
        """The side of the positions that it opens or grows."""
        return Side.LONG if self is Direction.BUY else Side.SHORT


def closing(side: Side) -> Direction:
    """The direction that closes positions of `side`."""
    return Direction.SELL if side is Side.LONG else Direction.BUY


class PlainType(StrEnum):
    """What the plain order endpoint takes."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"


class AlgoType(StrEnum):
    """What the algo endpoint takes here."""

    STOP = "STOP"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"

    @property
    def is_stop(self) -> bool:
        """Whether it waits for a price that went against the position, not for it."""
        return self in (AlgoType.STOP, AlgoType.STOP_MARKET)

    @property
    def becomes(self) -> PlainType:
        """The order that it sends once triggered."""
        is_market = self in (AlgoType.STOP_MARKET, AlgoType.TAKE_PROFIT_MARKET)
        return PlainType.MARKET if is_market else PlainType.LIMIT


class TimeInForce(StrEnum):
    """How long a limit order waits."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"


class WorkingType(StrEnum):
    """Which price triggers a conditional order."""

    MARK_PRICE = "MARK_PRICE"
    CONTRACT_PRICE = "CONTRACT_PRICE"


class Status(StrEnum):
    """What became of a plain order."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self in (Status.NEW, Status.PARTIALLY_FILLED)


class AlgoStatus(StrEnum):
    """What became of a conditional order."""

    NEW = "NEW"
    CANCELED = "CANCELED"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"


@dataclass(slots=True)
class Order:
    """A plain order. `price` is 0 for a market order."""

    order_id: int
    client_id: str
    symbol: str
    direction: Direction
    type: PlainType
    quantity: Quantity
    price: Decimal
    time_in_force: TimeInForce
    reduce_only: bool
    close_position: bool
    created_ms: int
    updated_ms: int
    status: Status = Status.NEW
    filled: Decimal = ZERO
    paid: Decimal = ZERO
    """The sum of quantity x price of its fills."""

    @property
    def rest(self) -> Decimal:
        """What is not filled."""
        return self.quantity - self.filled

    @property
    def average(self) -> Decimal:
        """The average price of its fills, 0 without any."""
        return self.paid / self.filled if self.filled else ZERO

    def add_fill(self, quantity: Decimal, price: Decimal, at_ms: int) -> None:
        """Book a fill."""
        self.filled += quantity
        self.paid += quantity * price
        self.updated_ms = at_ms
        self.status = Status.FILLED if self.rest == ZERO else Status.PARTIALLY_FILLED

    def end(self, status: Status, at_ms: int) -> None:
        """It fills no more."""
        self.status = status
        self.updated_ms = at_ms

    def shown(self) -> dict[str, Any]:
        """The order as its endpoints answer it."""
        return {
            "orderId": self.order_id,
            "symbol": id_of(self.symbol),
            "status": self.status.value,
            "clientOrderId": self.client_id,
            "price": text(self.price),
            "avgPrice": text(self.average),
            "origQty": text(self.quantity),
            "executedQty": text(self.filled),
            "cumQty": text(self.filled),
            "cumQuote": text(self.paid),
            "timeInForce": self.time_in_force.value,
            "type": self.type.value,
            "reduceOnly": self.reduce_only,
            "closePosition": self.close_position,
            "side": self.direction.value,
            "positionSide": "BOTH",
            "stopPrice": "0",
            "workingType": WorkingType.CONTRACT_PRICE.value,
            "priceProtect": False,
            "origType": self.type.value,
            "priceMatch": "NONE",
            "selfTradePreventionMode": "NONE",
            "goodTillDate": 0,
            "time": self.created_ms,
            "updateTime": self.updated_ms,
        }

    def pushed(self, execution: str, fill: "Trade | None", at_ms: int) -> dict[str, Any]:
        """The order in an ORDER_TRADE_UPDATE, with the fill that it tells of, if any."""
        return {
            "e": "ORDER_TRADE_UPDATE",
            "E": at_ms,
            "T": at_ms,
            "o": {
                "s": id_of(self.symbol),
                "c": self.client_id,
                "S": self.direction.value,
                "o": self.type.value,
                "f": self.time_in_force.value,
                "q": text(self.quantity),
                "p": text(self.price),
                "ap": text(self.average),
                "sp": "0",
                "x": execution,
                "X": self.status.value,
                "i": self.order_id,
                "l": text(fill.quantity) if fill else "0",
                "z": text(self.filled),
                "L": text(fill.price) if fill else "0",
                "N": "USDT",
                "n": text(fill.fee) if fill else "0",
                "T": at_ms,
                "t": fill.trade_id if fill else 0,
                "b": "0",
                "a": "0",
                "m": False,
                "R": self.reduce_only,
                "wt": WorkingType.CONTRACT_PRICE.value,
                "ot": self.type.value,
                "ps": "BOTH",
                "cp": self.close_position,
                "rp": text(fill.profit) if fill else "0",
                "pP": False,
                "si": 0,
                "ss": 0,
                "V": "NONE",
                "pm": "NONE",
                "gtd": 0,
            },
        }


@dataclass(slots=True)
class AlgoOrder:
    """
    A conditional order. `quantity` is 0 where it closes whatever position there is.

    `in_machine`: a reduce-only stop-market on the mark price is met by the machine in the order of
    the price's way; all others are looked at after each of its steps.
    """

    algo_id: int
    client_id: str
    symbol: str
    direction: Direction
    type: AlgoType
    quantity: Quantity
    trigger_price: Decimal
    price: Decimal
    time_in_force: TimeInForce
    working_type: WorkingType
    reduce_only: bool
    close_position: bool
    in_machine: bool
    created_ms: int
    updated_ms: int
    status: AlgoStatus = AlgoStatus.NEW
    order_id: int = 0
    triggered_ms: int = 0
    filled: Decimal = ZERO
    average: Decimal = ZERO

    @property
    def machine_id(self) -> str:
        """Its name in the machine, which knows no second use of a client id."""
        return f"algo-{self.algo_id}"

    def is_reached(self, price: Decimal) -> bool:
        """Whether `price` triggers it."""
        falls = self.type.is_stop is (self.direction is Direction.SELL)
        return price <= self.trigger_price if falls else price >= self.trigger_price

    def end(self, status: AlgoStatus, at_ms: int) -> None:
        """It changes its state."""
        self.status = status
        self.updated_ms = at_ms

    def shown(self) -> dict[str, Any]:
        """The order as the algo endpoints answer it."""
        return {
            "algoId": self.algo_id,
            "clientAlgoId": self.client_id,
            "algoType": "CONDITIONAL",
            "orderType": self.type.value,
            "symbol": id_of(self.symbol),
            "side": self.direction.value,
            "positionSide": "BOTH",
            "timeInForce": self.time_in_force.value,
            "quantity": text(self.quantity),
            "algoStatus": self.status.value,
            "actualOrderId": str(self.order_id or ""),
            "actualPrice": text(self.average),
            "actualQty": text(self.filled),
            "triggerPrice": text(self.trigger_price),
            "price": text(self.price),
            "icebergQuantity": None,
            "tpTriggerPrice": "0.000",
            "tpPrice": "0.000",
            "slTriggerPrice": "0.000",
            "slPrice": "0.000",
            "tpOrderType": "",
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "workingType": self.working_type.value,
            "priceMatch": "NONE",
            "closePosition": self.close_position,
            "priceProtect": False,
            "reduceOnly": self.reduce_only,
            "createTime": self.created_ms,
            "updateTime": self.updated_ms,
            "triggerTime": self.triggered_ms,
            "goodTillDate": 0,
        }

    def pushed(self, at_ms: int) -> dict[str, Any]:
        """The order in an ALGO_UPDATE."""
        return {
            "e": "ALGO_UPDATE",
            "T": at_ms,
            "E": at_ms,
            "o": {
                "caid": self.client_id,
                "aid": self.algo_id,
                "at": "CONDITIONAL",
                "o": self.type.value,
                "s": id_of(self.symbol),
                "S": self.direction.value,
                "ps": "BOTH",
                "f": self.time_in_force.value,
                "q": text(self.quantity),
                "X": self.status.value,
                "ai": str(self.order_id or ""),
                "ap": text(self.average),
                "aq": text(self.filled),
                "act": self.type.becomes.value if self.order_id else "0",
                "tp": text(self.trigger_price),
                "p": text(self.price),
                "V": "EXPIRE_MAKER",
                "wt": self.working_type.value,
                "pm": "NONE",
                "cp": self.close_position,
                "pP": False,
                "R": self.reduce_only,
                "tt": self.triggered_ms,
                "gtd": 0,
            },
        }


@dataclass(frozen=True, slots=True)
class Trade:
    """A fill, as the account's history has it."""

    trade_id: int
    order_id: int
    symbol: str
    direction: Direction
    quantity: Decimal
    price: Decimal
    fee: Decimal
    profit: Decimal
    at_ms: int

    def shown(self) -> dict[str, Any]:
        """A row of GET userTrades."""
        return {
            "buyer": self.direction is Direction.BUY,
            "commission": text(self.fee),
            "commissionAsset": "USDT",
            "id": self.trade_id,
            "maker": False,
            "orderId": self.order_id,
            "price": text(self.price),
            "qty": text(self.quantity),
            "quoteQty": text(self.quantity * self.price),
            "realizedPnl": text(self.profit),
            "side": self.direction.value,
            "positionSide": "BOTH",
            "symbol": id_of(self.symbol),
            "time": self.at_ms,
        }


@dataclass(frozen=True, slots=True)
class Income:
    """A row of the account's history of money."""

    kind: str
    symbol: str
    amount: Decimal
    at_ms: int
    transaction_id: int
    trade_id: str

    def shown(self) -> dict[str, Any]:
        """A row of GET income."""
        return {
            "symbol": id_of(self.symbol),
            "incomeType": self.kind,
            "income": text(self.amount),
            "asset": "USDT",
            "time": self.at_ms,
            "info": self.kind,
            "tranId": self.transaction_id,
            "tradeId": self.trade_id,
        }
