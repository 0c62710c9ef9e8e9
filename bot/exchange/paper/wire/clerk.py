"""
The clerk of one account: what the machine did with its orders, as the venue's records have it.

The machine's history is read on from where it was left; every line of it changes rows here, and
is pushed to the user streams.
"""

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any, assert_never

from bot.core.model import PositionMode
from bot.core.units import ZERO
from bot.exchange.paper.books import (
    NO_ORDER,
    Ended,
    Entered,
    FundingPaid,
    Happened,
    OrderState,
    Realised,
    Triggered,
)
from bot.exchange.paper.orders import TimeInForce, closing
from bot.exchange.paper.wire.orders import (
    AlgoOrder,
    AlgoStatus,
    Income,
    MarginAdded,
    Order,
    PlainType,
    PositionSide,
    Status,
    Trade,
    position_side_of,
)

AUTOCLOSE = "autoclose-"
"""How the client ids of the venue's own orders begin."""

_ENDS = {
    OrderState.CANCELLED: Status.CANCELED,
    OrderState.EXPIRED: Status.EXPIRED,
    OrderState.REJECTED: Status.EXPIRED,
}
_ALGO_ENDS = {
    OrderState.CANCELLED: AlgoStatus.CANCELED,
    OrderState.EXPIRED: AlgoStatus.EXPIRED,
    OrderState.REJECTED: AlgoStatus.REJECTED,
}


class Clerk:
    """Keeps orders, conditional orders, trades and incomes, oldest first."""

    def __init__(self, ids: "count[int]", tell: Callable[[dict[str, Any]], None]) -> None:
        """Know nothing yet; `tell` pushes."""
        self.orders: dict[int, Order] = {}
        self.algos: dict[int, AlgoOrder] = {}
        self.trades: list[Trade] = []
        self.incomes: list[Income] = []
        self.margins: list[MarginAdded] = []
        self._ids = ids
        self._tell = tell
        self._rows: dict[str, Order] = {}
        self._algo_rows: dict[str, AlgoOrder] = {}

    def add(self, order: Order, now_ms: int) -> None:
        """An order that was taken."""
        self.orders[order.order_id] = self._rows[order.machine_id] = order
        self._tell(order.pushed("NEW", None, now_ms))

    def add_algo(self, algo: AlgoOrder, now_ms: int) -> None:
        """A conditional order that was taken."""
        self.algos[algo.algo_id] = self._algo_rows[algo.machine_id] = algo
        self._tell(algo.pushed(now_ms))

    def add_margin(self, symbol: str, leg: PositionSide, amount: Decimal, now_ms: int) -> None:
        """Margin that was moved into a position."""
        self.margins.append(MarginAdded(symbol, leg, amount, now_ms))

    def learn(self, happened: Happened, mode: PositionMode, now_ms: int) -> None:
        """One line of the history."""
        match happened:
            case Realised(client_id=client_id):
                is_venues = client_id == NO_ORDER
                order = self._taken(happened, mode) if is_venues else self._rows[client_id]
                self._fill(order, happened, happened.profit, now_ms)
                if happened.shortfall:
                    kind = "INSURANCE_CLEAR"
                    self.book(kind, happened.symbol, happened.shortfall, happened.at_ms)
            case Entered(client_id=client_id):
                self._fill(self._rows[client_id], happened, ZERO, now_ms)
            case FundingPaid():
                self.book("FUNDING_FEE", happened.symbol, -happened.amount, happened.at_ms)
            case Triggered(at_ms, client_id, quantity):
                algo = self._algo_rows[client_id]
                algo.triggered_ms = at_ms
                order = algo.sent(next(self._ids), quantity)
                algo.order_id = order.order_id
                algo.end(AlgoStatus.TRIGGERED, at_ms)
                self._tell(algo.pushed(now_ms))
                self.add(order, now_ms)
            case Ended():
                self._end(happened, now_ms)
            case _:
                assert_never(happened)

    def book(
        self, kind: str, symbol: str, amount: Decimal, at_ms: int, trade_id: str = ""
    ) -> None:
        """A change of the account's money."""
        self.incomes.append(Income(kind, symbol, amount, at_ms, next(self._ids), trade_id))

    def _end(self, ended: Ended, now_ms: int) -> None:
        if (order := self._rows.get(ended.client_id)) is not None and order.status.is_open:
            order.end(_ENDS[ended.state], ended.at_ms)
            self._tell(order.pushed(order.status.value, None, now_ms))
        if (algo := self._algo_rows.get(ended.client_id)) is not None:
            status = _ALGO_ENDS.get(ended.state, AlgoStatus.FINISHED)
            if order is not None and ended.state is not OrderState.REJECTED:
                status = AlgoStatus.FINISHED
                algo.filled, algo.average = order.filled, order.average
            algo.end(status, ended.at_ms)
            self._tell(algo.pushed(now_ms))

    def _taken(self, row: Realised, mode: PositionMode) -> Order:
        """The venue closed a position by itself: it shows as an order of the venue's."""
        order_id = next(self._ids)
        order = Order(
            order_id=order_id,
            machine_id=f"order-{order_id}",
            client_id=f"{AUTOCLOSE}{row.at_ms}",
            symbol=row.symbol,
            direction=closing(row.side),
            position_side=position_side_of(mode, row.side),
            type=PlainType.LIMIT,
            quantity=row.quantity,
            price=row.price,
            time_in_force=TimeInForce.IOC,
            reduce_only=True,
            close_position=False,
            created_ms=row.at_ms,
            updated_ms=row.at_ms,
        )
        self.orders[order_id] = order
        return order

    def _fill(self, order: Order, row: Realised | Entered, profit: Decimal, now_ms: int) -> None:
        """Record a fill, and push it."""
        order.add_fill(row.quantity, row.price, row.at_ms)
        trade = Trade(
            trade_id=next(self._ids),
            order_id=order.order_id,
            symbol=order.symbol,
            direction=order.direction,
            position_side=order.position_side,
            quantity=row.quantity,
            price=row.price,
            fee=row.fee,
            profit=profit,
            at_ms=row.at_ms,
        )
        self.trades.append(trade)
        name = str(trade.trade_id)
        is_venues = order.client_id.startswith(AUTOCLOSE)
        if profit:
            self.book("REALIZED_PNL", order.symbol, profit, trade.at_ms, name)
        if row.fee:
            kind = "INSURANCE_CLEAR" if is_venues else "COMMISSION"
            self.book(kind, order.symbol, -row.fee, trade.at_ms, name)
        self._tell(order.pushed("CALCULATED" if is_venues else "TRADE", trade, now_ms))
