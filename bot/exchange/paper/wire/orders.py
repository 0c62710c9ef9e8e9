"""
Orders as the venue keeps them: plain ones, and conditional ones of the algo service.

A record here is what is told about an order. What a fill does to money is the machine's alone.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from bot.core.actions import AT_MARKET
from bot.core.model import PositionMode, Side
from bot.core.units import ZERO, Price, Quantity
from bot.exchange.paper import orders
from bot.exchange.paper.orders import (
    CloseAll,
    Direction,
    Effect,
    Limit,
    Passage,
    TimeInForce,
    Trigger,
    TriggerBy,
)
from bot.exchange.paper.wire.listing import id_of, text


class PositionSide(StrEnum):
    """Which position of a contract an order is for: the only one, or a leg of hedge mode."""

    BOTH = "BOTH"
    LONG = "LONG"
    SHORT = "SHORT"

    def effect(self, direction: Direction, is_reduce_only: bool) -> Effect:
        """What an order may do. Against its leg it reduces, whatever else is said."""
        match self:
            case PositionSide.BOTH:
                return Effect.REDUCE if is_reduce_only else Effect.NET
            case PositionSide.LONG:
                return Effect.OPEN if direction is Direction.BUY else Effect.REDUCE
            case PositionSide.SHORT:
                return Effect.OPEN if direction is Direction.SELL else Effect.REDUCE


def position_side_of(mode: PositionMode, side: Side) -> PositionSide:
    """What the venue calls a position of that side."""
    return PositionSide.BOTH if mode is PositionMode.ONE_WAY else PositionSide[side.name]


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


class WorkingType(StrEnum):
    """Which price triggers a conditional order."""

    MARK_PRICE = "MARK_PRICE"
    CONTRACT_PRICE = "CONTRACT_PRICE"

    @property
    def by(self) -> TriggerBy:
        """The price of that name."""
        return TriggerBy.MARK if self is WorkingType.MARK_PRICE else TriggerBy.LAST


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
    """A plain order. `price` is 0 for a market order; `machine_id` is its name in the machine."""

    order_id: int
    machine_id: str
    client_id: str
    symbol: str
    direction: Direction
    position_side: PositionSide
    type: PlainType
    quantity: Quantity
    price: Price
    time_in_force: TimeInForce
    reduce_only: bool
    close_position: bool
    created_ms: int
    updated_ms: int
    status: Status = Status.NEW
    filled: Decimal = ZERO
    paid: Decimal = ZERO
    """The sum of quantity x price of its fills."""

    def asked(self) -> orders.Order:
        """The order as the machine takes it."""
        effect = self.position_side.effect(self.direction, self.reduce_only)
        pricing: orders.Pricing = AT_MARKET
        if self.type is PlainType.LIMIT:
            pricing = Limit(self.price, self.time_in_force)
        return orders.Order(self.symbol, self.direction, effect, self.quantity, pricing)

    @property
    def average(self) -> Decimal:
        """The average price of its fills, 0 without any."""
        return self.paid / self.filled if self.filled else ZERO

    def add_fill(self, quantity: Decimal, price: Decimal, at_ms: int) -> None:
        """Book a fill."""
        self.filled += quantity
        self.paid += quantity * price
        self.updated_ms = at_ms
        is_filled = self.filled == self.quantity
        self.status = Status.FILLED if is_filled else Status.PARTIALLY_FILLED

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
            "positionSide": self.position_side.value,
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
                "ps": self.position_side.value,
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
    """A conditional order. `quantity` is 0 where it closes whatever position there is."""

    algo_id: int
    client_id: str
    symbol: str
    direction: Direction
    position_side: PositionSide
    type: AlgoType
    quantity: Quantity
    trigger_price: Price
    price: Price
    time_in_force: TimeInForce
    working_type: WorkingType
    reduce_only: bool
    close_position: bool
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

    def trigger(self) -> Trigger:
        """What it waits for."""
        falls = self.type.is_stop is (self.direction is Direction.SELL)
        passage = Passage.FALLS if falls else Passage.RISES
        return Trigger(self.trigger_price, self.working_type.by, passage)

    def sends(self) -> orders.Order | CloseAll:
        """What it sends once triggered."""
        if self.close_position:
            return CloseAll(self.symbol, self.direction)
        return self.sent(0, self.quantity).asked()

    def sent(self, order_id: int, quantity: Quantity) -> Order:
        """The plain order of `quantity` that it becomes."""
        return Order(
            order_id=order_id,
            machine_id=self.machine_id,
            client_id=self.client_id,
            symbol=self.symbol,
            direction=self.direction,
            position_side=self.position_side,
            type=self.type.becomes,
            quantity=quantity,
            price=self.price,
            time_in_force=self.time_in_force,
            reduce_only=self.reduce_only or self.close_position,
            close_position=self.close_position,
            created_ms=self.triggered_ms,
            updated_ms=self.triggered_ms,
        )

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
            "positionSide": self.position_side.value,
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
                "ps": self.position_side.value,
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
    position_side: PositionSide
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
            "positionSide": self.position_side.value,
            "symbol": id_of(self.symbol),
            "time": self.at_ms,
        }


@dataclass(frozen=True, slots=True)
class MarginAdded:
    """Margin that was moved into a position."""

    symbol: str
    position_side: PositionSide
    amount: Decimal
    at_ms: int

    def shown(self) -> dict[str, Any]:
        """A row of GET positionMargin/history."""
        return {
            "symbol": id_of(self.symbol),
            "type": 1,
            "deltaType": "USER_ADJUST",
            "amount": text(self.amount),
            "asset": "USDT",
            "time": self.at_ms,
            "positionSide": self.position_side.value,
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
