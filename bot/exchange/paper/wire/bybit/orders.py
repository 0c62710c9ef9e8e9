"""Orders and executions of this venue: a conditional order and what it sends are one to it."""

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, TypeAlias

from bot.core.actions import AT_MARKET, AtMarket
from bot.core.model import PositionMode, Side
from bot.core.units import ZERO, Price
from bot.exchange.paper.orders import (
    CloseAll,
    Direction,
    Limit,
    Order,
    Passage,
    Pricing,
    TimeInForce,
    Trigger,
    TriggerBy,
)
from bot.exchange.paper.wire.listing import id_of, text
from bot.exchange.paper.wire.orders import PositionSide

SIDES = {"Buy": Direction.BUY, "Sell": Direction.SELL}
WAITS = {
    "GTC": TimeInForce.GTC,
    "IOC": TimeInForce.IOC,
    "FOK": TimeInForce.FOK,
    "PostOnly": TimeInForce.GTX,
}
TRIGGERS = {
    "LastPrice": TriggerBy.LAST,
    "MarkPrice": TriggerBy.MARK,
    "IndexPrice": TriggerBy.INDEX,
}
PASSAGES = {"1": Passage.RISES, "2": Passage.FALLS}


class PositionIdx(IntEnum):
    """Which position of a contract is meant."""

    ONE_WAY = 0
    LONG = 1
    SHORT = 2

    @property
    def position_side(self) -> PositionSide:
        """The same in the other dialect, which knows what an order of it may do."""
        return (PositionSide.BOTH, PositionSide.LONG, PositionSide.SHORT)[self]


def idx_of(mode: PositionMode, side: Side) -> PositionIdx:
    """What the venue calls a position of that side."""
    if mode is PositionMode.ONE_WAY:
        return PositionIdx.ONE_WAY
    return PositionIdx.LONG if side is Side.LONG else PositionIdx.SHORT


class Status(StrEnum):
    """What became of an order."""

    UNTRIGGERED = "Untriggered"
    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    DEACTIVATED = "Deactivated"
    REJECTED = "Rejected"

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self in (Status.UNTRIGGERED, Status.NEW, Status.PARTIALLY_FILLED)


@dataclass(frozen=True, slots=True)
class AtOnce:
    """The order waits for no price."""


When: TypeAlias = AtOnce | Trigger


class Kind(StrEnum):
    """What a conditional order is to the venue; empty for a plain one."""

    PLAIN = ""
    STOP = "Stop"
    STOP_LOSS = "StopLoss"
    """It closes all of a position that goes wrong. A position has at most one."""
    TAKE_PROFIT = "TakeProfit"
    """The same of one that goes right."""


@dataclass(slots=True)
class BybitOrder:
    """An order, plain or conditional. `machine_id` is its name in the machine."""

    order_id: str
    link_id: str
    idx: PositionIdx
    asked: Order
    when: When
    reduce_only: bool
    kind: Kind
    created_ms: int
    updated_ms: int
    status: Status
    reject_reason: str = "EC_NoError"
    filled: Decimal = ZERO
    paid: Decimal = ZERO
    """The sum of quantity x price of its fills."""
    fees: Decimal = ZERO

    @property
    def machine_id(self) -> str:
        """Its name in the machine."""
        return f"bybit-{self.order_id}"

    @property
    def sends(self) -> Order | CloseAll:
        """What the machine is to trade: all of a position, where it is a position's own."""
        if self.kind in (Kind.STOP_LOSS, Kind.TAKE_PROFIT):
            return CloseAll(self.asked.symbol, self.asked.direction)
        return self.asked

    @property
    def is_conditional(self) -> bool:
        """Whether it waits, or has waited, for a price."""
        return isinstance(self.when, Trigger)

    def add_fill(self, quantity: Decimal, price: Decimal, fee: Decimal, at_ms: int) -> None:
        """Book a fill."""
        self.filled += quantity
        self.paid += quantity * price
        self.fees += fee
        is_filled = self.filled == self.asked.quantity
        self.end(Status.FILLED if is_filled else Status.PARTIALLY_FILLED, at_ms)

    def end(self, status: Status, at_ms: int) -> None:
        """It changes its state."""
        self.status = status
        self.updated_ms = at_ms

    def shown(self) -> dict[str, Any]:
        """A row of GET order/realtime, and of the order topic."""
        left = self.asked.quantity - self.filled if self.status.is_open else ZERO
        price, waits = _limit(self.asked.pricing)
        return {
            "category": "linear",
            "orderId": self.order_id,
            "orderLinkId": self.link_id,
            "blockTradeId": "",
            "symbol": id_of(self.asked.symbol),
            "price": text(price),
            "qty": text(self.asked.quantity),
            "side": side_of(self.asked.direction),
            "isLeverage": "",
            "positionIdx": int(self.idx),
            "orderStatus": self.status.value,
            "createType": "CreateByUser",
            "cancelType": "UNKNOWN",
            "rejectReason": self.reject_reason,
            "avgPrice": text(self.paid / self.filled) if self.filled else "",
            "leavesQty": text(left),
            "leavesValue": text(left * price),
            "cumExecQty": text(self.filled),
            "cumExecValue": text(self.paid),
            "cumExecFee": text(self.fees),
            "timeInForce": waits,
            "orderType": "Market" if isinstance(self.asked.pricing, AtMarket) else "Limit",
            "stopOrderType": self.kind.value,
            "orderIv": "",
            **_trigger_row(self.when),
            "takeProfit": "",
            "stopLoss": "",
            "tpTriggerBy": "",
            "slTriggerBy": "",
            "reduceOnly": self.reduce_only,
            "closeOnTrigger": False,
            "tpslMode": "UNKNOWN",
            "smpType": "None",
            "smpGroup": 0,
            "smpOrderId": "",
            "placeType": "",
            "createdTime": str(self.created_ms),
            "updatedTime": str(self.updated_ms),
        }


@dataclass(frozen=True, slots=True)
class Execution:
    """A fill, or what else moved money of a position, as the account's history has it."""

    execution_id: str
    kind: str
    order_id: str
    link_id: str
    symbol: str
    direction: Direction
    quantity: Decimal
    price: Decimal
    fee: Decimal
    profit: Decimal
    at_ms: int

    def shown(self) -> dict[str, Any]:
        """A row of GET execution/list, and of the execution topic."""
        return {
            "category": "linear",
            "symbol": id_of(self.symbol),
            "orderId": self.order_id,
            "orderLinkId": self.link_id,
            "side": side_of(self.direction),
            "orderPrice": text(self.price),
            "orderQty": text(self.quantity),
            "leavesQty": "0",
            "orderType": "UNKNOWN" if self.kind != "Trade" else "Market",
            "stopOrderType": "UNKNOWN",
            "execFee": text(self.fee),
            "feeCurrency": "USDT",
            "execId": self.execution_id,
            "execPrice": text(self.price),
            "execQty": text(self.quantity),
            "execType": self.kind,
            "execValue": text(self.quantity * self.price),
            "execPnl": text(self.profit),
            "execTime": str(self.at_ms),
            "isMaker": False,
            "seq": 0,
        }


def side_of(direction: Direction) -> str:
    """The venue's word."""
    return direction.value.capitalize()


def read_pricing(is_market: bool, price: Decimal, waits: TimeInForce) -> Pricing:
    """How an order is priced."""
    return AT_MARKET if is_market else Limit(Price(price), waits)


def _limit(pricing: Pricing) -> tuple[Decimal, str]:
    match pricing:
        case AtMarket():
            return ZERO, "IOC"
        case Limit(price, waits):
            return price, next(word for word, each in WAITS.items() if each is waits)


def _trigger_row(when: When) -> dict[str, Any]:
    match when:
        case AtOnce():
            return {"triggerPrice": "", "triggerDirection": 0, "triggerBy": ""}
        case Trigger(price, by, passage):
            return {
                "triggerPrice": text(price),
                "triggerDirection": 1 if passage is Passage.RISES else 2,
                "triggerBy": next(word for word, each in TRIGGERS.items() if each is by),
            }
