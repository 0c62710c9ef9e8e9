"""
The desk of one account of this venue: it puts what clients ask for into the machine's words.

Whether it is allowed and what it does is the machine's alone. What came of it, the clerk records.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from typing import Any, assert_never

from bot.core.actions import AT_MARKET, AddMargin
from bot.core.model import Instrument, MarginMode, PositionMode
from bot.core.units import ZERO, Money, Price, Quantity
from bot.exchange.paper.arithmetic import on_step
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.orders import (
    AGAINST,
    Effect,
    Order,
    Passage,
    TimeInForce,
    Trigger,
    TriggerBy,
    closing,
    has_passed,
)
from bot.exchange.paper.way import price_of
from bot.exchange.paper.wire.bybit.asked import Fields
from bot.exchange.paper.wire.bybit.clerk import Clerk, leg_of
from bot.exchange.paper.wire.bybit.orders import (
    PASSAGES,
    SIDES,
    TRIGGERS,
    WAITS,
    AtOnce,
    BybitOrder,
    Kind,
    PositionIdx,
    Status,
    When,
    read_pricing,
)
from bot.exchange.paper.wire.bybit.refusal import BybitRefusal, bybit_refusal, not_here
from bot.exchange.paper.wire.bybit.views import empty_row, position_row
from bot.exchange.paper.wire.listing import text
from bot.exchange.paper.wire.views import ASSET, AccountView, PositionView, view
from bot.exchange.ports import Accepted, Refused

_MODES = {"ISOLATED_MARGIN": MarginMode.ISOLATED, "REGULAR_MARGIN": MarginMode.CROSS}
_POSITION_MODES = {"0": PositionMode.ONE_WAY, "3": PositionMode.HEDGE}


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
        self._machine = machine
        self._ids = ids
        self._heard = 0
        self.clerk = Clerk(ids, tell, lambda: machine.at_ms, self.view())

    # -- requests --------------------------------------------------------------------------

    def place(self, asked: Fields) -> BybitOrder:
        """POST order/create. An order that would take although it may not is cancelled at once."""
        order = self._read(asked)
        if order.link_id and any(each.link_id == order.link_id for each in self._open()):
            raise BybitRefusal(110072)
        match reply := self._send(order):
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
        self._take(order)
        return order

    def set_trading_stop(self, asked: Fields) -> None:
        """POST position/trading-stop: a position's own stop and take-profit, set or taken off."""
        if asked.optional("tpslMode") not in ("", "Full"):
            raise not_here("a stop for a part of a position: place a conditional order")
        symbol, idx = asked.instrument().symbol, self._idx(asked)
        held = [each for each in self.held(symbol) if leg_of(each) is idx]
        if not held:
            raise BybitRefusal(10001, "can not set tp/sl/ts for zero position")
        against = AGAINST[held[0].position.side]
        with_it = Passage.RISES if against is Passage.FALLS else Passage.FALLS
        wanted = [
            self._own(asked, held[0], Kind.STOP_LOSS, "stopLoss", "slTriggerBy", against),
            self._own(asked, held[0], Kind.TAKE_PROFIT, "takeProfit", "tpTriggerBy", with_it),
        ]
        for kind, orders in wanted:
            for old in [each for each in self._open() if _is_own(each, symbol, idx, kind)]:
                self.cancel(old)
            for order in orders:
                self._proven(self._send(order))
                self._take(order)

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
        held = [each for each in self.held(instrument.symbol) if leg_of(each) is idx]
        if not held:
            raise BybitRefusal(110033)
        added = AddMargin(instrument.symbol, held[0].position.side, Money(amount))
        name = f"margin-{next(self._ids)}"
        reply = self._machine.handle(self.name, added, name, self._now_ms)
        if isinstance(reply, Refused):
            raise BybitRefusal(110014) if reply.code == "-2019" else bybit_refusal(reply)
        self.catch_up()
        (now,) = [each for each in self.held(instrument.symbol) if leg_of(each) is idx]
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

    def pay_in(self, asset: str, amount: Decimal) -> None:
        """A deposit from outside."""
        if asset == ASSET:
            self._machine.deposit(self.name, Money(amount))
        else:
            self._machine.deposit_coin(self.name, asset, amount)
        self.catch_up()

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
            held = {leg_of(each): each for each in self.held(symbol)}
            for idx in idxs:
                if idx in held:
                    yield position_row(held[idx], self._now_ms) | self._own_levels(symbol, idx)
                elif with_empty:
                    mark = self._machine.quotes[symbol].mark
                    leverage = self._machine.settings(self.name, symbol).leverage
                    yield empty_row(instrument, mark, leverage, idx, self._now_ms)

    def find(self, asked: Fields) -> BybitOrder:
        """The order that `orderId` or `orderLinkId` names, the newest of that link id."""
        names = asked.optional("orderId"), asked.optional("orderLinkId")
        if not any(names):
            raise BybitRefusal(10001, "params error: orderId or orderLinkId is required")
        found = [each for each in self.clerk.orders.values() if _is_named(each, *names)]
        if not found:
            raise BybitRefusal(110001)
        return found[-1]

    # -- what the machine does by itself ---------------------------------------------------

    def catch_up(self) -> None:
        """Learn what the machine did to the account, and tell it."""
        happened = self._machine.history(self.name, self._heard)
        self._heard += len(happened)
        self.clerk.learn(happened, self.view())

    # -- inside ----------------------------------------------------------------------------

    @property
    def _now_ms(self) -> int:
        return self._machine.at_ms

    def _open(self) -> list[BybitOrder]:
        return [each for each in self.clerk.orders.values() if each.status.is_open]

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
        kind = Kind.STOP if isinstance(when, Trigger) else Kind.PLAIN
        return self._new(order, when, kind, idx, asked.optional("orderLinkId"))

    def _send(self, order: BybitOrder) -> Accepted | Refused:
        name, at_ms = order.machine_id, self._now_ms
        match order.when:
            case AtOnce():
                return self._machine.place(self.name, order.asked, name, at_ms)
            case Trigger():
                return self._machine.place_conditional(
                    self.name, order.when, order.sends, name, at_ms
                )
        assert_never(order.when)

    def _take(self, order: BybitOrder) -> None:
        """It was taken; what the machine has done with it by now comes after."""
        self.clerk.add(order)
        self.catch_up()

    def _own_levels(self, symbol: str, idx: PositionIdx) -> dict[str, str]:
        """Where a position's own stop and take-profit are, as its row has them."""
        names = {Kind.STOP_LOSS: "stopLoss", Kind.TAKE_PROFIT: "takeProfit"}
        return {
            name: text(order.when.price)
            for kind, name in names.items()
            for order in self._open()
            if _is_own(order, symbol, idx, kind) and isinstance(order.when, Trigger)
        }

    def _own(
        self, asked: Fields, held: PositionView, kind: Kind, price: str, by: str, way: Passage
    ) -> tuple[Kind, list[BybitOrder]]:
        """
        What is to become of a position's own order of a kind: none, a new one.

        Not sent leaves the old one, whose kind is then not named. Whatever would be refused is
        refused here, before the old one is cancelled.
        """
        if not asked.optional(price):
            return Kind.PLAIN, []
        level = asked.decimal(price)
        if level == ZERO:
            return kind, []
        symbol, side = held.position.symbol, held.position.side
        trigger = Trigger(Price(level), asked.choice(by, TRIGGERS | {"": TriggerBy.LAST}), way)
        base = price_of(self._machine.quotes[symbol], trigger.by)
        if not on_step(level, held.instrument.tick_size) or level < ZERO:
            raise BybitRefusal(10001, f"params error: {price} invalid")
        if has_passed(way, base, level) or self._machine.refuse_stops:
            raise BybitRefusal(10001, f"{price}:{level} is on the wrong side of base_price:{base}")
        order = Order(
            symbol, closing(side), Effect.REDUCE, held.position.quantity, pricing=AT_MARKET
        )
        return kind, [self._new(order, trigger, kind, leg_of(held), "")]

    def _new(
        self, order: Order, when: When, kind: Kind, idx: PositionIdx, link_id: str
    ) -> BybitOrder:
        number = next(self._ids)
        return BybitOrder(
            order_id=f"00000000-0000-4000-8000-{number:012d}",
            link_id=link_id,
            idx=idx,
            asked=order,
            when=when,
            reduce_only=order.effect is Effect.REDUCE,
            kind=kind,
            created_ms=self._now_ms,
            updated_ms=self._now_ms,
            status=Status.NEW if isinstance(when, AtOnce) else Status.UNTRIGGERED,
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


def _is_own(order: BybitOrder, symbol: str, idx: PositionIdx, kind: Kind) -> bool:
    """Whether it is a position's own order of a kind."""
    is_there = (order.asked.symbol, order.idx) == (symbol, idx)
    return is_there and kind is not Kind.PLAIN and order.kind is kind


def _is_named(order: BybitOrder, order_id: str, link_id: str) -> bool:
    return order.order_id == order_id if order_id else order.link_id == link_id
