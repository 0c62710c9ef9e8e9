"""
The trading desk of one account: what its requests do to the machine, and what it remembers.

The machine knows reduce-only market orders and mark-price stops. What it does not know waits
here: limit orders, and conditional orders of any other kind. They are looked at after every step
of the prices, and trade at the last price of that step.
"""

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any, assert_never

from bot.core.actions import (
    AT_MARKET,
    Action,
    AddMargin,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.model import MarginMode, Position
from bot.core.units import ZERO, Money, Price, Quantity
from bot.exchange.paper.arithmetic import money_up, tier_of
from bot.exchange.paper.books import Cause, Realised
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.wire.herald import Herald
from bot.exchange.paper.wire.intake import read_algo, read_order
from bot.exchange.paper.wire.listing import (
    ALGO_ORDERS_MAX,
    NOTIONAL_MIN,
    Listing,
    quantity_max,
)
from bot.exchange.paper.wire.orders import (
    AlgoOrder,
    AlgoStatus,
    Direction,
    Income,
    Order,
    PlainType,
    Status,
    TimeInForce,
    Trade,
    WorkingType,
    closing,
)
from bot.exchange.paper.wire.parameters import Parameters, malformed
from bot.exchange.paper.wire.refusal import Refusal, not_here, refusal_of
from bot.exchange.paper.wire.terms import TradingTerms
from bot.exchange.paper.wire.views import AccountView, notional_max, view
from bot.exchange.ports import MarginChange, OrderFound, Refused

_MOVED = {"code": 200, "msg": "Successfully modify position margin.", "type": 1}
_DONE = {"code": 200, "msg": "success"}


class Desk:
    """One account. Every method is called with the machine at the present moment."""

    def __init__(
        self,
        name: str,
        machine: PaperMachine,
        listing: Listing,
        ids: "count[int]",
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        """Trade for `name`, which has had its deposit; `tell` pushes to its user streams."""
        self.name = name
        self.terms = TradingTerms()
        self.orders: dict[int, Order] = {}
        self.algos: dict[int, AlgoOrder] = {}
        self.trades: list[Trade] = []
        self.incomes: list[Income] = []
        self._machine = machine
        self._listing = listing
        self._ids = ids
        self._tell = tell
        self._realised = len(machine.realised(name))
        self._funded = len(machine.funding(name))
        self._herald = Herald(self.view(), tell)

    # -- requests --------------------------------------------------------------------------

    def place(self, asked: Parameters) -> Order:
        """POST order."""
        order = read_order(asked, self._listing, self._ids, self._now_ms)
        if any(each.client_id == order.client_id for each in self.open_orders()):
            raise Refusal(-4116)
        self._check_room(order)
        self.orders[order.order_id] = order
        if order.time_in_force is TimeInForce.GTX and self._is_marketable(order):
            del self.orders[order.order_id]
            raise Refusal(-5022)
        self._tell(order.pushed("NEW", None, self._now_ms))
        try:
            self._trade(order)
        except Refusal:
            del self.orders[order.order_id]
            raise
        return order

    def place_algo(self, asked: Parameters) -> AlgoOrder:
        """POST algoOrder."""
        algo = read_algo(asked, self._listing, self._ids, self._now_ms)
        waiting = [each for each in self.open_algos() if each.symbol == algo.symbol]
        if any(each.client_id == algo.client_id for each in self.open_algos()):
            raise Refusal(-4116)
        if algo.close_position and any(
            each.close_position
            and each.direction is algo.direction
            and each.type.is_stop is algo.type.is_stop
            for each in waiting
        ):
            raise Refusal(-4130)
        if len(waiting) >= ALGO_ORDERS_MAX:
            raise Refusal(-4045)
        if algo.is_reached(self._price(algo)):
            raise Refusal(-2021)
        if algo.in_machine:
            # A stop may be larger than the position: what it fills is cut to that.
            most = Quantity(quantity_max(self._machine.instruments[algo.symbol]))
            self._perform(
                PlaceStop(
                    algo.symbol,
                    algo.direction.closes,
                    most if algo.close_position else algo.quantity,
                    Price(algo.trigger_price),
                ),
                algo.machine_id,
            )
        self.algos[algo.algo_id] = algo
        self._tell(algo.pushed(self._now_ms))
        return algo

    def cancel(self, order: Order) -> Order:
        """DELETE order."""
        if not order.status.is_open:
            raise Refusal(-2011)
        order.end(Status.CANCELED, self._now_ms)
        self._tell(order.pushed("CANCELED", None, self._now_ms))
        return order

    def cancel_algo(self, algo: AlgoOrder) -> AlgoOrder:
        """DELETE algoOrder."""
        if algo.status is not AlgoStatus.NEW:
            raise Refusal(-2011)
        if algo.in_machine:
            self._perform(
                CancelStop(algo.symbol, algo.direction.closes, algo.machine_id), algo.machine_id
            )
        algo.end(AlgoStatus.CANCELED, self._now_ms)
        self._tell(algo.pushed(self._now_ms))
        return algo

    def cancel_all(self, symbol: str) -> None:
        """DELETE allOpenOrders: plain ones only."""
        for order in [each for each in self.open_orders() if each.symbol == symbol]:
            self.cancel(order)

    def cancel_all_algos(self, symbol: str) -> None:
        """DELETE algoOpenOrders."""
        for algo in [each for each in self.open_algos() if each.symbol == symbol]:
            self.cancel_algo(algo)

    def move_margin(self, asked: Parameters) -> dict[str, Any]:
        """POST positionMargin."""
        instrument = self._listing.named(asked.text("symbol"))
        amount, kind = asked.decimal("amount"), asked.integer("type")
        if amount <= ZERO:
            raise Refusal(-4055)
        held = self._held(instrument.symbol)
        if not held:
            raise Refusal(-4054)
        if kind != 1:
            raise not_here("taking margin out of a position")
        (position,) = held
        self._perform(
            AddMargin(instrument.symbol, position.side, Money(amount)), f"margin-{next(self._ids)}"
        )
        return {**_MOVED, "amount": float(amount)}

    def set_leverage(self, asked: Parameters) -> dict[str, Any]:
        """POST leverage."""
        instrument = self._listing.named(asked.text("symbol"))
        leverage = Decimal(asked.integer("leverage"))
        if not 1 <= leverage <= instrument.tiers[0].leverage_max:
            raise Refusal(-4028, f"Leverage {leverage} is not valid")
        for position in self._held(instrument.symbol):
            reply = self._machine.set_leverage(
                self.name, instrument.symbol, position.side, leverage, self._now_ms
            )
            if isinstance(reply, Refused):
                raise refusal_of(reply)
        self.terms.set_leverage(instrument.symbol, leverage)
        self._tell(
            {
                "e": "ACCOUNT_CONFIG_UPDATE",
                "E": self._now_ms,
                "T": self._now_ms,
                "ac": {"s": asked.text("symbol"), "l": int(leverage)},
            }
        )
        return {
            "leverage": int(leverage),
            "maxNotionalValue": notional_max(instrument, leverage),
            "symbol": asked.text("symbol"),
        }

    def set_margin_type(self, asked: Parameters) -> dict[str, Any]:
        """POST marginType."""
        symbol = self._listing.named(asked.text("symbol")).symbol
        words = {"ISOLATED": MarginMode.ISOLATED, "CROSSED": MarginMode.CROSS}
        word = asked.text("marginType").upper()
        if word not in words:
            raise malformed("marginType")
        mode = words[word]
        if self.terms.multi_assets and mode is MarginMode.ISOLATED:
            raise Refusal(-4168)
        if self.terms.margin_mode(symbol) is mode:
            raise Refusal(-4046)
        if self._held(symbol):
            raise Refusal(-4048)
        waiting = [each.symbol for each in self.open_orders()]
        if symbol in [*waiting, *(each.symbol for each in self.open_algos())]:
            raise Refusal(-4047)
        self.terms.set_margin_mode(symbol, mode)
        return _DONE

    def set_dual(self, asked: Parameters) -> dict[str, Any]:
        """POST positionSide/dual."""
        wanted = asked.text("dualSidePosition").lower()
        if wanted not in ("true", "false"):
            raise malformed("dualSidePosition")
        if wanted == "false":
            raise Refusal(-4059)
        if self.open_orders() or self.open_algos():
            raise Refusal(-4067)
        if self.view().positions:
            raise Refusal(-4068)
        raise not_here("hedge mode")

    def set_multi_assets(self, asked: Parameters) -> dict[str, Any]:
        """POST multiAssetsMargin."""
        asked.text("multiAssetsMargin")
        wanted = asked.flag("multiAssetsMargin")
        if wanted and self.terms.any_isolated:
            raise Refusal(
                -4167,
                "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under "
                "isolated-margin mode.",
            )
        if wanted == self.terms.multi_assets:
            raise Refusal(-4171, "No need to change Multi-Assets Mode.")
        if wanted:
            raise not_here("margin in several assets")
        return _DONE

    # -- reads -----------------------------------------------------------------------------

    def view(self) -> AccountView:
        """The account now."""
        return view(self._machine, self.name)

    def open_orders(self) -> list[Order]:
        """Plain orders that may still fill, oldest first."""
        return [each for each in self.orders.values() if each.status.is_open]

    def open_algos(self) -> list[AlgoOrder]:
        """Conditional orders that wait, oldest first."""
        return [each for each in self.algos.values() if each.status is AlgoStatus.NEW]

    def find(self, asked: Parameters, otherwise: Refusal) -> Order:
        """The order that `orderId` or `origClientOrderId` names, the newest of that client id."""
        symbol = self._listing.named(asked.text("symbol")).symbol
        if asked.has("orderId"):
            found = [each for each in self.orders.values() if each.order_id == _id(asked)]
        elif asked.has("origClientOrderId"):
            name = asked.text("origClientOrderId")
            found = [each for each in self.orders.values() if each.client_id == name]
        else:
            raise Refusal(-1102, "Either 'origClientOrderId' or 'orderId' must be sent.")
        if not (found := [each for each in found if each.symbol == symbol]):
            raise otherwise
        return found[-1]

    def find_algo(self, asked: Parameters, otherwise: Refusal) -> AlgoOrder:
        """The conditional order that `algoId` or `clientAlgoId` names."""
        if asked.has("algoId"):
            number = asked.integer("algoId")
            found = [each for each in self.algos.values() if each.algo_id == number]
        elif asked.has("clientAlgoId"):
            name = asked.text("clientAlgoId")
            found = [each for each in self.algos.values() if each.client_id == name]
        else:
            raise Refusal(-1102, "Either 'algoId' or 'clientAlgoId' must be sent.")
        if not found:
            raise otherwise
        return found[-1]

    def margin_changes(self, symbol: str, since_ms: int) -> tuple[MarginChange, ...]:
        """Rows of GET positionMargin/history."""
        return self._machine.margin_changes(self.name, symbol, since_ms)

    # -- after the prices have moved -------------------------------------------------------

    def meet_prices(self) -> None:
        """Let what waits here trade, where the present prices allow it."""
        for algo in self.open_algos():
            if not algo.in_machine and algo.is_reached(self._price(algo)):
                self._trigger(algo)
        for order in self.open_orders():
            if self._is_marketable(order):
                try:
                    self._trade(order)
                except Refusal:
                    order.end(Status.EXPIRED, self._now_ms)
                    self._tell(order.pushed("EXPIRED", None, self._now_ms))
        self._herald.call_margin(self.view(), self._now_ms)

    def catch_up(self) -> None:
        """Learn what the machine did to the account by itself, and tell it."""
        met = [
            algo for algo in self.open_algos() if algo.in_machine and not self._found(algo).resting
        ]
        liquidated = False
        rows = self._machine.realised(self.name)[self._realised :]
        self._realised += len(rows)
        for row in rows:
            if row.cause is Cause.STOP:
                algo = next(each for each in met if _fits(each, row) and not each.order_id)
                self._stop_filled(algo, row)
            else:
                liquidated = True
                self._taken_over(row)
        for algo in met:
            if not algo.order_id:
                algo.end(AlgoStatus.CANCELED if liquidated else AlgoStatus.EXPIRED, self._now_ms)
                self._tell(algo.pushed(self._now_ms))
        paid = self._machine.funding(self.name)[self._funded :]
        self._funded += len(paid)
        for bill in paid:
            self._book("FUNDING_FEE", bill.symbol, -bill.amount, bill.at_ms, "")
        self._herald.tell_account(self.view(), "FUNDING_FEE" if paid else "ORDER", self._now_ms)

    def announce(self, reason: str) -> None:
        """Push the account if it has changed, with the venue's word for why."""
        self._herald.tell_account(self.view(), reason, self._now_ms)

    def pay_in(self, amount: Money) -> None:
        """A deposit from outside."""
        self._machine.deposit(self.name, amount)
        self._book("TRANSFER", "", amount, self._now_ms, "")
        self._herald.tell_account(self.view(), "DEPOSIT", self._now_ms)

    # -- inside ----------------------------------------------------------------------------

    @property
    def _now_ms(self) -> int:
        return self._machine.at_ms

    def _held(self, symbol: str) -> list[Position]:
        snapshot = self._machine.snapshot(self.name, self._now_ms)
        return [each for each in snapshot.positions if each.symbol == symbol]

    def _held_against(self, symbol: str, direction: Direction) -> Decimal:
        """How much a trade in `direction` could reduce."""
        held = self._held(symbol)
        return sum((each.quantity for each in held if each.side is direction.closes), ZERO)

    def _found(self, algo: AlgoOrder) -> OrderFound:
        found = self._machine.order(self.name, algo.symbol, algo.machine_id)
        if not isinstance(found, OrderFound):
            raise TypeError(f"{algo.machine_id}: expected the machine to know it")
        return found

    def _perform(self, action: Action, machine_id: str) -> None:
        reply = self._machine.handle(self.name, action, machine_id, self._now_ms)
        if isinstance(reply, Refused):
            raise refusal_of(reply)

    def _last(self, symbol: str) -> Price:
        return self._machine.quotes[symbol].last

    def _price(self, algo: AlgoOrder) -> Price:
        quote = self._machine.quotes[algo.symbol]
        return quote.mark if algo.working_type is WorkingType.MARK_PRICE else quote.last

    def _check_room(self, order: Order) -> None:
        """Refuse what the position, the resting orders or the least notional forbid."""
        held = self._held_against(order.symbol, order.direction)
        if order.reduce_only:
            if held == ZERO:
                raise Refusal(-2022)
            reserved = sum(
                each.rest
                for each in self.open_orders()
                if each is not order
                and each.reduce_only
                and each.symbol == order.symbol
                and each.direction is order.direction
            )
            if reserved and reserved + order.quantity > held:
                raise Refusal(-4118)
            return
        at = order.price or self._last(order.symbol)
        if order.quantity * at < NOTIONAL_MIN:
            raise Refusal(
                -4164,
                f"Order's notional must be no smaller than {NOTIONAL_MIN} "
                "(unless you choose reduce only).",
            )
        opened = order.quantity - held
        if opened > ZERO:
            self._check_margin(order, opened, at)

    def _check_margin(self, order: Order, quantity: Decimal, at: Decimal) -> None:
        """Refuse to open or add `quantity` at a price where tier or free money forbid it."""
        instrument = self._machine.instruments[order.symbol]
        opens = order.direction.opens
        held = [each for each in self._held(order.symbol) if each.side is opens]
        leverage = held[0].leverage if held else self.terms.leverage(order.symbol)
        notional = quantity * at
        whole = notional + sum((each.quantity * at for each in held), ZERO)
        if leverage > tier_of(instrument, whole).leverage_max:
            raise Refusal(-2027)
        needed = money_up(notional / leverage) + money_up(notional * instrument.taker_fee)
        if needed > self.view().snapshot.free:
            raise Refusal(-2019)

    def _is_marketable(self, order: Order) -> bool:
        if order.type is PlainType.MARKET:
            return True
        last = self._last(order.symbol)
        match order.direction:
            case Direction.BUY:
                return last <= order.price
            case Direction.SELL:
                return last >= order.price
        assert_never(order.direction)

    def _trade(self, order: Order) -> None:
        """Fill what can be filled now; what is left of an order that does not wait expires."""
        if self._is_marketable(order):
            self._reduce(order)
            if order.rest and order.reduce_only and not self._against(order):
                order.end(Status.EXPIRED, self._now_ms)
            elif order.rest and not order.reduce_only and not self._against(order):
                self._open(order)
        waits = order.time_in_force in (TimeInForce.GTC, TimeInForce.GTX)
        if order.status.is_open and not (order.type is PlainType.LIMIT and waits):
            order.end(Status.EXPIRED, self._now_ms)
        if order.status is Status.EXPIRED:
            self._tell(order.pushed("EXPIRED", None, self._now_ms))
        self._herald.tell_account(self.view(), "ORDER", self._now_ms)

    def _against(self, order: Order) -> Decimal:
        return self._held_against(order.symbol, order.direction)

    def _reduce(self, order: Order) -> None:
        quantity = min(order.rest, self._against(order))
        if quantity == ZERO:
            return
        bound = AT_MARKET if order.type is PlainType.MARKET else NoWorseThan(Price(order.price))
        closed = ClosePosition(order.symbol, order.direction.closes, Quantity(quantity), bound)
        self._perform(closed, f"close-{next(self._ids)}")
        rows = self._machine.realised(self.name)[self._realised :]
        if rows and rows[0].cause is Cause.CLOSE:
            # What came after it, if anything, is the venue's doing: `catch_up` tells it.
            self._realised += 1
            order.add_fill(rows[0].quantity, rows[0].price, rows[0].at_ms)
            self._traded(order, rows[0].quantity, rows[0].price, rows[0].fee, rows[0].profit)

    def _open(self, order: Order) -> None:
        instrument, price = self._machine.instruments[order.symbol], self._last(order.symbol)
        quantity = Quantity(order.rest)
        self._check_margin(order, quantity, price)
        try:
            if self._held(order.symbol):
                self._machine.grow_position(
                    self.name,
                    order.symbol,
                    order.direction.opens,
                    quantity=quantity,
                    at_ms=self._now_ms,
                    entry_fee=instrument.taker_fee,
                )
            else:
                self._machine.open_position(
                    self.name,
                    order.symbol,
                    order.direction.opens,
                    quantity=quantity,
                    leverage=self.terms.leverage(order.symbol),
                    at_ms=self._now_ms,
                    entry_fee=instrument.taker_fee,
                    margin_mode=self.terms.margin_mode(order.symbol),
                )
        except ValueError as e:
            raise Refusal(-2019, f"Margin is insufficient. ({e})") from e
        fee = money_up(quantity * price * instrument.taker_fee)
        order.add_fill(quantity, price, self._now_ms)
        self._traded(order, quantity, price, fee, ZERO)

    def _traded(
        self, order: Order, quantity: Decimal, price: Decimal, fee: Decimal, profit: Decimal
    ) -> None:
        """Record a fill that `order` has booked, and push it."""
        trade = Trade(
            trade_id=next(self._ids),
            order_id=order.order_id,
            symbol=order.symbol,
            direction=order.direction,
            quantity=quantity,
            price=price,
            fee=fee,
            profit=profit,
            at_ms=order.updated_ms,
        )
        self.trades.append(trade)
        name = str(trade.trade_id)
        is_venues = order.client_id.startswith("autoclose-")
        if profit:
            self._book("REALIZED_PNL", order.symbol, profit, trade.at_ms, name)
        if fee:
            kind = "INSURANCE_CLEAR" if is_venues else "COMMISSION"
            self._book(kind, order.symbol, -fee, trade.at_ms, name)
        execution = "CALCULATED" if is_venues else "TRADE"
        self._tell(order.pushed(execution, trade, self._now_ms))

    def _book(self, kind: str, symbol: str, amount: Decimal, at_ms: int, trade_id: str) -> None:
        self.incomes.append(Income(kind, symbol, amount, at_ms, next(self._ids), trade_id))

    def _stop_filled(self, algo: AlgoOrder, row: Realised) -> None:
        """The machine has met a stop: it became a market order, which filled."""
        algo.triggered_ms = row.at_ms
        order = self._market_order(algo, row.quantity)
        algo.end(AlgoStatus.TRIGGERED, row.at_ms)
        self._tell(algo.pushed(self._now_ms))
        self._tell(order.pushed("NEW", None, self._now_ms))
        order.add_fill(row.quantity, row.price, row.at_ms)
        self._traded(order, row.quantity, row.price, row.fee, row.profit)
        self._finish(algo, order)

    def _trigger(self, algo: AlgoOrder) -> None:
        """Send the order that a conditional order waiting here has for this price."""
        algo.triggered_ms = self._now_ms
        held = self._held_against(algo.symbol, algo.direction)
        quantity = held if algo.close_position else algo.quantity
        if (algo.close_position or algo.reduce_only) and held == ZERO:
            algo.end(AlgoStatus.EXPIRED, self._now_ms)
            self._tell(algo.pushed(self._now_ms))
            return
        order = self._market_order(algo, quantity)
        algo.end(AlgoStatus.TRIGGERED, self._now_ms)
        self._tell(algo.pushed(self._now_ms))
        try:
            self._check_room(order)
            self._trade(order)
        except Refusal:
            order.end(Status.EXPIRED, self._now_ms)
            algo.end(AlgoStatus.REJECTED, self._now_ms)
            self._tell(algo.pushed(self._now_ms))
            return
        self._finish(algo, order)

    def _market_order(self, algo: AlgoOrder, quantity: Decimal) -> Order:
        order = Order(
            order_id=next(self._ids),
            client_id=algo.client_id,
            symbol=algo.symbol,
            direction=algo.direction,
            type=algo.type.becomes,
            quantity=Quantity(quantity),
            price=algo.price,
            time_in_force=algo.time_in_force,
            reduce_only=algo.reduce_only or algo.close_position,
            close_position=algo.close_position,
            created_ms=algo.triggered_ms,
            updated_ms=algo.triggered_ms,
        )
        self.orders[order.order_id] = order
        algo.order_id = order.order_id
        return order

    def _finish(self, algo: AlgoOrder, order: Order) -> None:
        algo.filled, algo.average = order.filled, order.average
        algo.end(AlgoStatus.FINISHED, order.updated_ms)
        self._tell(algo.pushed(self._now_ms))

    def _taken_over(self, row: Realised) -> None:
        """The venue closed a position by itself: it shows as an order of the venue's."""
        order = Order(
            order_id=next(self._ids),
            client_id=f"autoclose-{row.at_ms}",
            symbol=row.symbol,
            direction=closing(row.side),
            type=PlainType.LIMIT,
            quantity=row.quantity,
            price=row.price,
            time_in_force=TimeInForce.IOC,
            reduce_only=True,
            close_position=False,
            created_ms=row.at_ms,
            updated_ms=row.at_ms,
        )
        self.orders[order.order_id] = order
        order.add_fill(row.quantity, row.price, row.at_ms)
        self._traded(order, row.quantity, row.price, row.fee, row.profit)


def _id(asked: Parameters) -> int:
    return asked.integer("orderId")


def _fits(algo: AlgoOrder, row: Realised) -> bool:
    """Whether the reduction may be this stop's."""
    return algo.symbol == row.symbol and algo.direction is closing(row.side)
