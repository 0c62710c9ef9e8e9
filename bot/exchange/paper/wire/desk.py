"""
The trading desk of one account: it puts what clients ask for into the machine's words.

Whether it is allowed and what it does is the machine's alone. What came of it, the clerk records.
"""

from collections.abc import Callable
from decimal import Decimal
from itertools import count
from typing import Any

from bot.core.actions import AddMargin
from bot.core.model import MarginMode, Position, PositionMode
from bot.core.units import ZERO, Money
from bot.exchange.paper.books import FundingPaid
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.wire.clerk import Clerk
from bot.exchange.paper.wire.herald import Herald
from bot.exchange.paper.wire.intake import read_algo, read_order, read_position_side
from bot.exchange.paper.wire.listing import Listing
from bot.exchange.paper.wire.orders import (
    AlgoOrder,
    AlgoStatus,
    Order,
    PositionSide,
    position_side_of,
)
from bot.exchange.paper.wire.parameters import Parameters, malformed
from bot.exchange.paper.wire.purse import Moved, Purse, Way
from bot.exchange.paper.wire.refusal import Refusal, not_here, refusal_of
from bot.exchange.paper.wire.views import ASSET, AccountView, notional_max, view
from bot.exchange.ports import Accepted, Refused

_DONE = {"code": 200, "msg": "success"}
_MODES = {"ISOLATED": MarginMode.ISOLATED, "CROSSED": MarginMode.CROSS}


class Desk:
    """One account. Every method is called with the machine at the present moment."""

    def __init__(
        self,
        name: str,
        machine: PaperMachine,
        listing: Listing,
        ids: "count[int]",
        tell: Callable[[dict[str, Any]], None],
        deposit: Money,
    ) -> None:
        """
        Open `name` with `deposit` in its futures wallet and as much in its spot wallet.

        As on the venue it begins in one-way mode and with one asset. `tell` pushes to its user
        streams.
        """
        machine.deposit(name, deposit)
        machine.set_multi_assets(name, False, machine.at_ms)
        self.name = name
        self.clerk = Clerk(ids, tell)
        self.purse = Purse(deposit)
        self._machine = machine
        self._listing = listing
        self._ids = ids
        self._tell = tell
        self._heard = 0
        self._herald = Herald(self.view(), tell)

    # -- orders ----------------------------------------------------------------------------

    def place(self, asked: Parameters) -> Order:
        """POST order."""
        order = read_order(asked, self._listing, self.mode, self._ids, self._now_ms)
        if any(each.client_id == order.client_id for each in self.open_orders()):
            raise Refusal(-4116)
        self._proven(self._machine.place(self.name, order.asked(), order.machine_id, self._now_ms))
        self.clerk.add(order, self._now_ms)
        self.catch_up()
        return order

    def place_algo(self, asked: Parameters) -> AlgoOrder:
        """POST algoOrder."""
        algo = read_algo(asked, self._listing, self.mode, self._ids, self._now_ms)
        if any(each.client_id == algo.client_id for each in self.open_algos()):
            raise Refusal(-4116)
        self._proven(
            self._machine.place_conditional(
                self.name, algo.trigger(), algo.sends(), algo.machine_id, self._now_ms
            )
        )
        self.clerk.add_algo(algo, self._now_ms)
        self.catch_up()
        return algo

    def cancel(self, order: Order) -> Order:
        """DELETE order."""
        self._proven(self._machine.cancel(self.name, order.machine_id, self._now_ms))
        self.catch_up()
        return order

    def cancel_algo(self, algo: AlgoOrder) -> AlgoOrder:
        """DELETE algoOrder. What it has sent is a plain order, and not cancelled here."""
        if algo.status is not AlgoStatus.NEW:
            raise Refusal(-2011)
        self._proven(self._machine.cancel(self.name, algo.machine_id, self._now_ms))
        self.catch_up()
        return algo

    def cancel_all(self, symbol: str) -> None:
        """DELETE allOpenOrders: plain ones only."""
        for order in [each for each in self.open_orders() if each.symbol == symbol]:
            self.cancel(order)

    def cancel_all_algos(self, symbol: str) -> None:
        """DELETE algoOpenOrders."""
        for algo in [each for each in self.open_algos() if each.symbol == symbol]:
            self.cancel_algo(algo)

    # -- money and switches ----------------------------------------------------------------

    def move_margin(self, asked: Parameters) -> dict[str, Any]:
        """POST positionMargin."""
        instrument = self._listing.named(asked.text("symbol"))
        amount, kind = asked.decimal("amount"), asked.integer("type")
        if amount <= ZERO:
            raise Refusal(-4055)
        leg = read_position_side(asked, self.mode)
        if not (held := self._held(instrument.symbol, leg)):
            raise Refusal(-4054)
        if kind != 1:
            raise not_here("taking margin out of a position")
        (position,) = held
        added = AddMargin(instrument.symbol, position.side, Money(amount))
        name = f"margin-{next(self._ids)}"
        self._proven(self._machine.handle(self.name, added, name, self._now_ms))
        self.clerk.add_margin(instrument.symbol, leg, amount, self._now_ms)
        self._heard_of("MARGIN_TRANSFER")
        return {
            "code": 200,
            "msg": "Successfully modify position margin.",
            "type": 1,
            "amount": float(amount),
        }

    def set_leverage(self, asked: Parameters) -> dict[str, Any]:
        """POST leverage."""
        instrument = self._listing.named(asked.text("symbol"))
        leverage = Decimal(asked.integer("leverage"))
        self._proven(
            self._machine.set_leverage(self.name, instrument.symbol, leverage, self._now_ms)
        )
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
        if (word := asked.text("marginType").upper()) not in _MODES:
            raise malformed("marginType")
        self._proven(self._machine.set_margin_mode(self.name, symbol, _MODES[word], self._now_ms))
        return _DONE

    def set_dual(self, asked: Parameters) -> dict[str, Any]:
        """POST positionSide/dual."""
        asked.text("dualSidePosition")
        is_dual = asked.flag("dualSidePosition")
        mode = PositionMode.HEDGE if is_dual else PositionMode.ONE_WAY
        self._proven(self._machine.set_position_mode(self.name, mode, self._now_ms))
        return _DONE

    def set_multi_assets(self, asked: Parameters) -> dict[str, Any]:
        """POST multiAssetsMargin."""
        asked.text("multiAssetsMargin")
        wanted = asked.flag("multiAssetsMargin")
        if wanted and not self._machine.pledges:
            raise not_here("margin in several assets, for no other asset counts")
        self._proven(self._machine.set_multi_assets(self.name, wanted, self._now_ms))
        self._tell(
            {
                "e": "ACCOUNT_CONFIG_UPDATE",
                "E": self._now_ms,
                "T": self._now_ms,
                "ai": {"j": wanted},
            }
        )
        return _DONE

    def transfer(self, asked: Parameters) -> dict[str, Any]:
        """POST asset/transfer: between the spot wallet and the futures wallet."""
        way = asked.choice(Way, "type", not_here("transfers of this type"))
        if asked.text("asset") != ASSET:
            raise not_here("transfers of another asset")
        amount = Money(asked.decimal("amount"))
        match way:
            case Way.IN:
                self.purse.take(amount)
                self._machine.deposit(self.name, amount)
            case Way.OUT:
                self._proven(self._machine.withdraw(self.name, amount, self._now_ms))
                self.purse.put(amount)
        moved = Moved(next(self._ids), way, amount, self._now_ms)
        self.purse.record(moved)
        self.clerk.book("TRANSFER", "", moved.into_futures, self._now_ms)
        self._heard_of("DEPOSIT" if way is Way.IN else "WITHDRAW")
        return {"tranId": moved.transfer_id}

    def pay_in(self, asset: str, amount: Decimal) -> None:
        """A deposit from outside."""
        if asset != ASSET:
            self._machine.deposit_coin(self.name, asset, amount)
            return
        self._machine.deposit(self.name, Money(amount))
        self.clerk.book("TRANSFER", "", amount, self._now_ms)
        self._heard_of("DEPOSIT")

    # -- reads -----------------------------------------------------------------------------

    @property
    def mode(self) -> PositionMode:
        """Whether its contracts have one position each or two."""
        return self._machine.position_mode(self.name)

    @property
    def counts_coins(self) -> bool:
        """Whether it is in multi-assets mode."""
        return self._machine.counts_coins(self.name)

    def view(self) -> AccountView:
        """The account now."""
        return view(self._machine, self.name)

    def open_orders(self) -> list[Order]:
        """Plain orders that may still fill, oldest first."""
        return [each for each in self.clerk.orders.values() if each.status.is_open]

    def open_algos(self) -> list[AlgoOrder]:
        """Conditional orders that wait, oldest first."""
        return [each for each in self.clerk.algos.values() if each.status is AlgoStatus.NEW]

    def find(self, asked: Parameters, otherwise: Refusal) -> Order:
        """The order that `orderId` or `origClientOrderId` names, the newest of that client id."""
        symbol, orders = self._listing.named(asked.text("symbol")).symbol, self.clerk.orders
        if asked.has("orderId"):
            number = asked.integer("orderId")
            found = [each for each in orders.values() if each.order_id == number]
        elif asked.has("origClientOrderId"):
            name = asked.text("origClientOrderId")
            found = [each for each in orders.values() if each.client_id == name]
        else:
            raise Refusal(-1102, "Either 'origClientOrderId' or 'orderId' must be sent.")
        if not (found := [each for each in found if each.symbol == symbol]):
            raise otherwise
        return found[-1]

    def find_algo(self, asked: Parameters, otherwise: Refusal) -> AlgoOrder:
        """The conditional order that `algoId` or `clientAlgoId` names."""
        algos = self.clerk.algos
        if asked.has("algoId"):
            number = asked.integer("algoId")
            found = [each for each in algos.values() if each.algo_id == number]
        elif asked.has("clientAlgoId"):
            name = asked.text("clientAlgoId")
            found = [each for each in algos.values() if each.client_id == name]
        else:
            raise Refusal(-1102, "Either 'algoId' or 'clientAlgoId' must be sent.")
        if not found:
            raise otherwise
        return found[-1]

    # -- what the machine does by itself ---------------------------------------------------

    def catch_up(self) -> None:
        """Learn what the machine did to the account, and tell it."""
        happened = self._machine.history(self.name, self._heard)
        self._heard += len(happened)
        for each in happened:
            self.clerk.learn(each, self.mode, self._now_ms)
        is_funding = any(isinstance(each, FundingPaid) for each in happened)
        self._announce("FUNDING_FEE" if is_funding else "ORDER")

    def call_margin(self) -> None:
        """Warn of positions whose margin is nearly used up."""
        self._herald.call_margin(self.view(), self._now_ms)

    # -- inside ----------------------------------------------------------------------------

    @property
    def _now_ms(self) -> int:
        return self._machine.at_ms

    def _held(self, symbol: str, leg: PositionSide) -> list[Position]:
        snapshot = self._machine.snapshot(self.name, self._now_ms)
        return [
            each
            for each in snapshot.positions
            if each.symbol == symbol and position_side_of(self.mode, each.side) is leg
        ]

    def _heard_of(self, reason: str) -> None:
        """Push the account with the venue's word for why, then what else happened."""
        self._announce(reason)
        self.catch_up()

    def _announce(self, reason: str) -> None:
        self._herald.tell_account(self.view(), reason, self._now_ms)

    def _proven(self, reply: Accepted | Refused) -> None:
        if isinstance(reply, Refused):
            raise refusal_of(reply)
