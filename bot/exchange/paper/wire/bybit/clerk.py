"""
The clerk of one account of this venue: what the machine did, as orders, executions and pushes.

The machine's history is read on from where it was left; every line of it changes rows here, and
is pushed to the topics of the user streams, and after it what positions and wallet have become.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import count
from typing import Any, assert_never

from bot.core.model import PositionKey
from bot.core.units import ZERO, Quantity
from bot.exchange.paper.books import (
    NO_ORDER,
    Cause,
    Ended,
    Entered,
    FundingPaid,
    Happened,
    OrderState,
    Realised,
    Triggered,
)
from bot.exchange.paper.orders import Direction, Order, closing
from bot.exchange.paper.wire.bybit.orders import (
    BybitOrder,
    Execution,
    PositionIdx,
    Status,
    idx_of,
)
from bot.exchange.paper.wire.bybit.views import empty_row, position_row, wallet_row
from bot.exchange.paper.wire.views import AccountView, PositionView

_KINDS = {
    Cause.LIQUIDATION: "BustTrade",
    Cause.DELEVERAGING: "AdlTrade",
    Cause.SETTLEMENT: "Settle",
}


class Clerk:
    """Keeps orders and executions, oldest first, and remembers what was told of positions."""

    def __init__(
        self,
        ids: "count[int]",
        tell: Callable[[dict[str, Any]], None],
        now_ms: Callable[[], int],
        told: AccountView,
    ) -> None:
        """Begin with what is known of the account; `tell` pushes."""
        self.orders: dict[str, BybitOrder] = {}
        self.executions: list[Execution] = []
        self._ids = ids
        self._tell = tell
        self._now_ms = now_ms
        self._told = told
        self._rows: dict[str, BybitOrder] = {}

    def add(self, order: BybitOrder) -> None:
        """An order that was taken."""
        self.orders[order.order_id] = self._rows[order.machine_id] = order
        self._push("order", [order.shown()])

    def learn(self, history: Iterable[Happened], seen: AccountView) -> None:
        """What happened, and the account after all of it."""
        for each in history:
            self._learn(each)
        self._tell_positions(seen)

    def _learn(self, happened: Happened) -> None:
        match happened:
            case Realised(client_id=client_id, side=side, cause=cause):
                # What others paid of a loss is no loss of the account's.
                direction, profit = closing(side), happened.profit + happened.shortfall
                if client_id == NO_ORDER:
                    self._execute(happened, direction, profit, _KINDS[cause])
                else:
                    self._fill(self._rows[client_id], happened, direction, profit)
            case Entered(client_id=client_id):
                order = self._rows[client_id]
                self._fill(order, happened, order.asked.direction, ZERO)
            case FundingPaid():
                self._fund(happened)
            case Triggered(at_ms, client_id, quantity):
                self._sent(self._rows[client_id], quantity, at_ms)
            case Ended():
                self._end(self._rows[happened.client_id], happened)
            case _:
                assert_never(happened)

    def _sent(self, order: BybitOrder, quantity: Quantity, at_ms: int) -> None:
        """What it waited for came: it is an order of `quantity` from now on."""
        asked = order.asked
        order.asked = Order(asked.symbol, asked.direction, asked.effect, quantity, asked.pricing)
        order.end(Status.NEW, at_ms)
        self._push("order", [order.shown()])

    def _end(self, order: BybitOrder, ended: Ended) -> None:
        match ended.state:
            case OrderState.REJECTED:
                order.end(Status.REJECTED, ended.at_ms)
            case OrderState.CANCELLED | OrderState.EXPIRED if order.status.is_open:
                waited = order.status is Status.UNTRIGGERED
                order.end(Status.DEACTIVATED if waited else Status.CANCELLED, ended.at_ms)
            case _:
                pass
        self._push("order", [order.shown()])

    def _fill(
        self, order: BybitOrder, row: Realised | Entered, direction: Direction, profit: Decimal
    ) -> None:
        order.add_fill(row.quantity, row.price, row.fee, row.at_ms)
        self._execute(row, direction, profit, "Trade", order.order_id, order.link_id)

    def _execute(
        self,
        row: Realised | Entered,
        direction: Direction,
        profit: Decimal,
        kind: str,
        *named: str,
    ) -> None:
        order_id, link_id = named or ("", "")
        self._record(
            Execution(
                execution_id=str(next(self._ids)),
                kind=kind,
                order_id=order_id,
                link_id=link_id,
                symbol=row.symbol,
                direction=direction,
                quantity=row.quantity,
                price=row.price,
                fee=row.fee,
                profit=profit,
                at_ms=row.at_ms,
            )
        )

    def _fund(self, paid: FundingPaid) -> None:
        """Funding shows as an execution, whose fee it is."""
        self._record(
            Execution(
                execution_id=str(next(self._ids)),
                kind="Funding",
                order_id="",
                link_id="",
                symbol=paid.symbol,
                direction=closing(paid.side),
                quantity=ZERO,
                price=ZERO,
                fee=paid.amount,
                profit=ZERO,
                at_ms=paid.at_ms,
            )
        )

    def _record(self, execution: Execution) -> None:
        self.executions.append(execution)
        self._push("execution", [execution.shown()])

    def _tell_positions(self, seen: AccountView) -> None:
        """Push the positions that are not as they were told last, and then the wallet."""
        before, now = _by_key(self._told), _by_key(seen)
        moved = seen.snapshot.wallet_balance != self._told.snapshot.wallet_balance
        self._told = seen
        changed = [each for key, each in now.items() if _differs(before.get(key), each)]
        rows = [position_row(each, self._now_ms()) for each in changed]
        legs = {(each.position.symbol, leg_of(each)) for each in now.values()}
        for gone in (each for key, each in before.items() if key not in now):
            symbol, idx = gone.position.symbol, leg_of(gone)
            if (symbol, idx) not in legs:
                leverage = gone.position.leverage
                rows.append(empty_row(gone.instrument, gone.mark, leverage, idx, self._now_ms()))
        if rows:
            self._push("position", [{"category": "linear", **row} for row in rows])
        if rows or moved:
            self._push("wallet", [wallet_row(seen)])

    def _push(self, topic: str, rows: list[dict[str, Any]]) -> None:
        self._tell(
            {
                "id": f"{topic}-{next(self._ids)}",
                "topic": topic,
                "creationTime": self._now_ms(),
                "data": rows,
            }
        )


def leg_of(held: PositionView) -> PositionIdx:
    """What the venue calls a position that is held."""
    return idx_of(held.mode, held.position.side)


def _by_key(seen: AccountView) -> dict[PositionKey, PositionView]:
    return {each.position.key: each for each in seen.positions}


def _differs(before: PositionView | None, now: PositionView) -> bool:
    if before is None:
        return True
    was, held = before.position, now.position
    return (was.quantity, was.entry_price, was.isolated_margin, was.leverage) != (
        held.quantity,
        held.entry_price,
        held.isolated_margin,
        held.leverage,
    )
