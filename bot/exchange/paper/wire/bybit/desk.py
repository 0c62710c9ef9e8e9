"""
The desk of one account of this venue: requests in the machine's words, and what came of them.

The machine allows and performs. Its history, read on from where it was left, becomes orders and
executions here, and is pushed to the topics of the user streams.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from typing import Any, assert_never

from bot.core.actions import AddMargin
from bot.core.model import Instrument, MarginMode, PositionKey, PositionMode
from bot.core.units import ZERO, Money, Price, Quantity
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
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.orders import (
    Direction,
    Order,
    Passage,
    TimeInForce,
    Trigger,
    TriggerBy,
    closing,
)
from bot.exchange.paper.wire.bybit.asked import Fields
from bot.exchange.paper.wire.bybit.orders import (
    PASSAGES,
    SIDES,
    TRIGGERS,
    WAITS,
    AtOnce,
    BybitOrder,
    Execution,
    PositionIdx,
    Status,
    When,
    idx_of,
    read_pricing,
)
from bot.exchange.paper.wire.bybit.refusal import BybitRefusal, bybit_refusal, not_here
from bot.exchange.paper.wire.bybit.views import empty_row, position_row, wallet_row
from bot.exchange.paper.wire.views import AccountView, PositionView, view
from bot.exchange.ports import Accepted, Refused

_MODES = {"ISOLATED_MARGIN": MarginMode.ISOLATED, "REGULAR_MARGIN": MarginMode.CROSS}
_POSITION_MODES = {"0": PositionMode.ONE_WAY, "3": PositionMode.HEDGE}
_KINDS = {
    Cause.LIQUIDATION: "BustTrade",
    Cause.DELEVERAGING: "AdlTrade",
    Cause.SETTLEMENT: "Settle",
}


class BybitDesk:
    """One account. Every method is called with the machine at the present moment."""

    def __init__(
        self,
        name: str,
        machine: PaperMachine,
        ids: "count[int]",
        tell: Callable[[dict[str, Any]], None],
        deposit: Money,
    ) -> None:
        """Open `name` with `deposit`, in cross margin and one-way mode; `tell` pushes."""
        machine.deposit(name, deposit)
        machine.set_multi_assets(name, False, machine.at_ms)
        self.name = name
        self.orders: dict[str, BybitOrder] = {}
        self.executions: list[Execution] = []
        self._machine = machine
        self._ids = ids
        self._tell = tell
        self._heard = 0
        self._rows: dict[str, BybitOrder] = {}
        self._told = self.view()

    # -- requests --------------------------------------------------------------------------

    def place(self, asked: Fields) -> BybitOrder:
        """POST order/create. An order that would take although it may not is cancelled at once."""
        order = self._read(asked)
        if order.link_id and any(each.link_id == order.link_id for each in self._open()):
            raise BybitRefusal(110072)
        match order.when:
            case AtOnce():
                reply = self._machine.place(self.name, order.asked, order.machine_id, self._now_ms)
            case Trigger():
                reply = self._machine.place_conditional(
                    self.name, order.when, order.asked, order.machine_id, self._now_ms
                )
            case _:
                assert_never(order.when)
        match reply:
            case Refused("-5022"):
                order.end(Status.CANCELLED, self._now_ms)
                order.reject_reason = "EC_PostOnlyWillTakeLiquidity"
            case Refused("-2021"):
                rising = isinstance(order.when, Trigger) and order.when.passage is Passage.RISES
                raise BybitRefusal(110092 if rising else 110093)
            case Refused():
                raise bybit_refusal(reply)
            case Accepted():
                pass
        self.orders[order.order_id] = self._rows[order.machine_id] = order
        self._push("order", [order.shown()])
        self.catch_up()
        return order

    def cancel(self, order: BybitOrder) -> None:
        """POST order/cancel."""
        self._proven(self._machine.cancel(self.name, order.machine_id, self._now_ms))
        self.catch_up()

    def cancel_all(self, symbols: set[str]) -> list[BybitOrder]:
        """POST order/cancel-all: plain and conditional ones."""
        waiting = [each for each in self._open() if each.asked.symbol in symbols]
        for order in waiting:
            self.cancel(order)
        return waiting

    def add_margin(self, asked: Fields) -> dict[str, Any]:
        """POST position/add-margin."""
        instrument, amount = asked.instrument(), asked.decimal("margin")
        if amount < ZERO:
            raise not_here("taking margin out of a position")
        idx = self._idx(asked)
        held = [each for each in self.held(instrument.symbol) if self._idx_of(each) is idx]
        if not held:
            raise BybitRefusal(110033)
        added = AddMargin(instrument.symbol, held[0].position.side, Money(amount))
        name = f"margin-{next(self._ids)}"
        reply = self._machine.handle(self.name, added, name, self._now_ms)
        if isinstance(reply, Refused):
            raise BybitRefusal(110014) if reply.code == "-2019" else bybit_refusal(reply)
        self.catch_up()
        (now,) = [each for each in self.held(instrument.symbol) if self._idx_of(each) is idx]
        return {"category": "linear", **position_row(now, self._now_ms)}

    def set_leverage(self, asked: Fields) -> None:
        """POST position/set-leverage: one for both sides."""
        symbol = asked.instrument().symbol
        leverage, other = asked.decimal("buyLeverage"), asked.decimal("sellLeverage")
        if leverage != other:
            raise not_here("another leverage for each side")
        if self._machine.settings(self.name, symbol).leverage == leverage:
            raise BybitRefusal(110043)
        reply = self._machine.set_leverage(self.name, symbol, leverage, self._now_ms)
        if isinstance(reply, Refused):
            raise BybitRefusal(110013) if reply.code == "-2027" else bybit_refusal(reply)
        self.catch_up()

    def set_margin_mode(self, asked: Fields) -> None:
        """POST account/set-margin-mode: of all contracts; where anything is open, of none."""
        if (word := asked.text("setMarginMode")) not in _MODES:
            raise not_here(f"margin mode {word}")
        if self._open() or self.view().positions:
            raise BybitRefusal(3400045)
        for symbol in self._machine.listed:
            if self._machine.settings(self.name, symbol).margin_mode is not _MODES[word]:
                self._proven(
                    self._machine.set_margin_mode(self.name, symbol, _MODES[word], self._now_ms)
                )

    def switch_mode(self, asked: Fields) -> None:
        """POST position/switch-mode: of all contracts, whichever is named."""
        if (word := asked.text("mode")) not in _POSITION_MODES:
            raise BybitRefusal(10001, f"params error: mode {word}")
        mode = _POSITION_MODES[word]
        self._proven(self._machine.set_position_mode(self.name, mode, self._now_ms))

    # -- reads -----------------------------------------------------------------------------

    @property
    def mode(self) -> PositionMode:
        """Whether its contracts have one position each or two."""
        return self._machine.position_mode(self.name)

    @property
    def margin_mode(self) -> str:
        """The venue's word for how all its contracts are backed."""
        modes = {self._machine.settings(self.name, each).margin_mode for each in self.listed}
        return "ISOLATED_MARGIN" if modes == {MarginMode.ISOLATED} else "REGULAR_MARGIN"

    @property
    def listed(self) -> dict[str, Instrument]:
        """The contracts that are traded."""
        return self._machine.listed

    def view(self) -> AccountView:
        """The account now."""
        return view(self._machine, self.name)

    def held(self, symbol: str) -> list[PositionView]:
        """Its positions in a contract."""
        return [each for each in self.view().positions if each.position.symbol == symbol]

    def position_rows(self, instruments: list[Instrument], with_empty: bool) -> Iterator[Any]:
        """Rows of GET position/list; those in which nothing is held too, where asked for."""
        one_way = self.mode is PositionMode.ONE_WAY
        idxs = [PositionIdx.ONE_WAY] if one_way else [PositionIdx.LONG, PositionIdx.SHORT]
        for instrument in instruments:
            symbol = instrument.symbol
            held = {self._idx_of(each): each for each in self.held(symbol)}
            for idx in idxs:
                if idx in held:
                    yield position_row(held[idx], self._now_ms)
                elif with_empty:
                    mark = self._machine.quotes[symbol].mark
                    leverage = self._machine.settings(self.name, symbol).leverage
                    yield empty_row(instrument, mark, leverage, idx, self._now_ms)

    def find(self, asked: Fields) -> BybitOrder:
        """The order that `orderId` or `orderLinkId` names, the newest of that link id."""
        names = asked.optional("orderId"), asked.optional("orderLinkId")
        if not any(names):
            raise BybitRefusal(10001, "params error: orderId or orderLinkId is required")
        found = [each for each in self.orders.values() if _is_named(each, *names)]
        if not found:
            raise BybitRefusal(110001)
        return found[-1]

    # -- what the machine does by itself ---------------------------------------------------

    def catch_up(self) -> None:
        """Learn what the machine did to the account, and tell it."""
        happened = self._machine.history(self.name, self._heard)
        self._heard += len(happened)
        for each in happened:
            self._learn(each)
        self._tell_positions()

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

    # -- inside ----------------------------------------------------------------------------

    @property
    def _now_ms(self) -> int:
        return self._machine.at_ms

    def _open(self) -> list[BybitOrder]:
        return [each for each in self.orders.values() if each.status.is_open]

    def _idx_of(self, held: PositionView) -> PositionIdx:
        return idx_of(held.mode, held.position.side)

    def _idx(self, asked: Fields) -> PositionIdx:
        """The position that is meant, which has to fit the account's mode."""
        word = asked.optional("positionIdx") or "0"
        if word not in ("0", "1", "2"):
            raise BybitRefusal(10001, f"params error: positionIdx {word}")
        idx = PositionIdx(int(word))
        if (idx is PositionIdx.ONE_WAY) is not (self.mode is PositionMode.ONE_WAY):
            raise BybitRefusal(10001, "position idx not match position mode")
        return idx

    def _read(self, asked: Fields) -> BybitOrder:
        instrument, idx = asked.instrument(), self._idx(asked)
        direction = asked.choice("side", SIDES)
        is_market = asked.choice("orderType", {"Market": True, "Limit": False})
        waits = TimeInForce.GTC
        if asked.optional("timeInForce"):
            waits = asked.choice("timeInForce", WAITS)
        price = ZERO if is_market else asked.decimal("price")
        reduce_only = asked.flag("reduceOnly")
        effect = idx.position_side.effect(direction, reduce_only)
        order = Order(
            instrument.symbol,
            direction,
            effect,
            Quantity(asked.decimal("qty")),
            read_pricing(is_market, price, waits),
        )
        when = _when(asked)
        number = next(self._ids)
        return BybitOrder(
            order_id=f"00000000-0000-4000-8000-{number:012d}",
            link_id=asked.optional("orderLinkId"),
            idx=idx,
            asked=order,
            when=when,
            reduce_only=reduce_only,
            created_ms=self._now_ms,
            updated_ms=self._now_ms,
            status=Status.NEW if isinstance(when, AtOnce) else Status.UNTRIGGERED,
        )

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

    def _tell_positions(self) -> None:
        """Push the positions that are not as they were told last, and then the wallet."""
        before, now = _by_key(self._told), _by_key(view_now := self.view())
        moved = view_now.snapshot.wallet_balance != self._told.snapshot.wallet_balance
        self._told = view_now
        changed = [each for key, each in now.items() if _differs(before.get(key), each)]
        rows = [position_row(each, self._now_ms) for each in changed]
        legs = {(each.position.symbol, self._idx_of(each)) for each in now.values()}
        for gone in (each for key, each in before.items() if key not in now):
            symbol, idx = gone.position.symbol, self._idx_of(gone)
            if (symbol, idx) not in legs:
                leverage = gone.position.leverage
                rows.append(empty_row(gone.instrument, gone.mark, leverage, idx, self._now_ms))
        if rows:
            self._push("position", [{"category": "linear", **row} for row in rows])
        if rows or moved:
            self._push("wallet", [wallet_row(view_now)])

    def _push(self, topic: str, rows: list[dict[str, Any]]) -> None:
        self._tell(
            {
                "id": f"{topic}-{next(self._ids)}",
                "topic": topic,
                "creationTime": self._now_ms,
                "data": rows,
            }
        )

    def _proven(self, reply: Accepted | Refused) -> None:
        if isinstance(reply, Refused):
            raise bybit_refusal(reply)


def _when(asked: Fields) -> When:
    if not asked.optional("triggerPrice"):
        return AtOnce()
    by = asked.choice("triggerBy", TRIGGERS | {"": TriggerBy.LAST})
    passage = asked.choice("triggerDirection", PASSAGES)
    return Trigger(Price(asked.decimal("triggerPrice")), by, passage)


def _is_named(order: BybitOrder, order_id: str, link_id: str) -> bool:
    return order.order_id == order_id if order_id else order.link_id == link_id


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
