"""
What is liquidated together, and what a slice of it does to all money involved.

A slice goes to the liquidation engine at the price at which its share of what backs it is lost,
and the engine sells it at market. What that is better the engine keeps for the insurance fund or
returns; what it is worse the fund pays. What the fund cannot pay for is not sold at market: the
accounts on the other side are made to close at the bankruptcy price. Every step is recorded.
"""

from dataclasses import dataclass
from decimal import Decimal

from bot.core.events import AutoDeleveraged, Liquidated
from bot.core.model import MarginMode
from bot.core.units import ZERO, Money, Price, Quantity, floor_to
from bot.exchange.paper import arithmetic, joint
from bot.exchange.paper.books import (
    NO_ORDER,
    NOTHING,
    Books,
    Cause,
    CollateralTaken,
    Holding,
    PositionStep,
    Realised,
    Rung,
    slot_of,
)
from bot.exchange.paper.deleveraging import deleverage, share_of_equity
from bot.exchange.paper.ladders import Keeps, Returns
from bot.exchange.paper.settling import cover, shrink
from bot.exchange.paper.trading import NONE, fill, priced


@dataclass(frozen=True, slots=True)
class _Sold:
    """What became of a slice: what the account got for it, and who else was made to close."""

    price: Price
    profit: Money
    fee: Money
    deleveraged: Quantity = NONE
    shortfall: Money = NOTHING


@dataclass(frozen=True, slots=True)
class _Before:
    """How things were before a step."""

    held: Holding
    equity: Money
    requirement: Money
    fund: Money


class Estate:
    """One isolated position, or all cross positions of an account, while it is liquidated."""

    def __init__(
        self, books: Books, account: str, slots: tuple[str, ...], margin_mode: MarginMode
    ) -> None:
        """The positions in `slots`, which are all of one margin mode."""
        self.books = books
        self.book = books.accounts[account]
        self.all = slots
        self.mode = margin_mode
        self.surplus = books.ladder.surplus
        self.touched: dict[str, Liquidated] = {}
        self.deleveraged: list[tuple[str, AutoDeleveraged]] = []

    # -- figures ---------------------------------------------------------------------------

    def slots(self) -> list[str]:
        """The positions that are left, in the order of symbols."""
        return sorted(slot for slot in self.all if slot in self.book.holdings)

    def by_requirement(self) -> list[str]:
        """The positions that are left, the one that needs most first."""
        legs = zip(self.slots(), self.legs(), strict=True)
        needs = {slot: joint.required_at(leg, self.mark(leg.held)) for slot, leg in legs}
        return sorted(needs, key=lambda slot: (-needs[slot], slot))

    def is_last(self, slot: str, quantity: Quantity) -> bool:
        """Whether nothing that the same money backs is left after it."""
        return self.slots() == [slot] and quantity == self.book.holdings[slot].quantity

    def is_spent(self) -> bool:
        """Whether what is left is to be liquidated at the present marks."""
        legs = self.legs()
        return bool(legs) and joint.spare(self.backing(), legs, self.books.quotes) <= ZERO

    def is_beyond_backstop(self) -> bool:
        """Whether so little is left that it is taken over, and nothing returned."""
        match self.surplus:
            case Keeps():
                return False
            case Returns(backstop=backstop):
                equity, requirement = self.figures()
                return equity < backstop * requirement

    def legs(self) -> list[joint.Leg]:
        """The positions that are left, as they count together."""
        holdings = [self.book.holdings[slot] for slot in self.slots()]
        return joint.legs_of(self.books, self.book.mode, holdings)

    def backing(self) -> Money:
        """The margin, or the wallet and what coins count, that backs them."""
        match self.mode:
            case MarginMode.CROSS:
                counted = arithmetic.money_down(joint.pledged(self.books, self.book))
                return Money(self.book.wallet + counted)
            case MarginMode.ISOLATED:
                (slot,) = self.all
                return self.book.holdings[slot].margin

    def figures(self) -> tuple[Money, Money]:
        """Equity and requirement, rounded down and up."""
        legs, quotes = self.legs(), self.books.quotes
        equity = joint.equity(self.backing(), legs, quotes)
        requirement = equity - joint.spare(self.backing(), legs, quotes)
        return arithmetic.money_down(equity), arithmetic.money_up(requirement)

    def clearance(self, held: Holding, quantity: Quantity, price: Price) -> Money:
        """What the ladder charges for selling so much at `price`, rounded up."""
        match self.surplus:
            case Keeps():
                return NOTHING
            case Returns(clearance_fee=share):
                instrument = self.books.instruments[held.symbol]
                return arithmetic.money_up(arithmetic.value(instrument, quantity, price) * share)

    def profit(self, held: Holding, quantity: Quantity, price: Price) -> Money:
        """What closing so much at `price` makes, rounded down."""
        instrument = self.books.instruments[held.symbol]
        return arithmetic.profit(instrument, held.side, quantity, held.entry_price, price)

    def worth(self, held: Holding) -> Decimal:
        """What the position is worth at mark."""
        instrument = self.books.instruments[held.symbol]
        return arithmetic.value(instrument, held.quantity, self.mark(held))

    def mark(self, held: Holding) -> Price:
        """The mark price of the position's contract."""
        return self.books.quotes[held.symbol].mark

    # -- slices ----------------------------------------------------------------------------

    def take_coins(self) -> None:
        """Turn the coins that back cross positions into money, each at what it counts."""
        books, book = self.books, self.book
        for coin, amount in sorted(joint.backing_coins(book).items()):
            equity, requirement = self.figures()
            pledge = books.pledges[coin]
            mark = books.quotes[pledge.symbol].mark
            paid = arithmetic.money_down(amount * mark)
            received = arithmetic.money_down(amount * mark * pledge.weight)
            del book.coins[coin]
            book.wallet = Money(book.wallet + received)
            books.market = Money(books.market - paid)
            books.insurance_fund = Money(books.insurance_fund + paid - received)
            book.liquidation.append(
                CollateralTaken(books.at_ms, equity, requirement, coin, amount, mark, received)
            )

    def slice(self, slot: str, quantity: Quantity, rung: Rung) -> None:
        """Take so much of a position off the account, as its ladder settles it."""
        before = self._before(slot)
        match self.surplus:
            case Returns() if not self.is_last(slot, quantity):
                sold = self._sell(slot, quantity)
            case Keeps() | Returns():
                sold = self._hand_over(slot, quantity)
        self._record(before, quantity, rung, sold)

    def _sell(self, slot: str, quantity: Quantity) -> _Sold:
        """Sell for the account, at market: what else backs it bears the loss and the fee."""
        books, held = self.books, self.book.holdings[slot]
        filled = fill(books, held.symbol, held.side, quantity)
        profit = self.profit(held, quantity, filled.price)
        fee = self.clearance(held, quantity, filled.price)
        books.market = Money(books.market - profit)
        books.insurance_fund = Money(books.insurance_fund + fee)
        self._give(slot, quantity, Money(profit - fee))
        return _Sold(filled.price, profit, fee)

    def _hand_over(self, slot: str, quantity: Quantity) -> _Sold:
        """Take the slice and what backs it off the account; the engine sells it."""
        books, held = self.books, self.book.holdings[slot]
        loss = self._loss(slot, quantity)
        bankruptcy = arithmetic.bankruptcy_price(
            books.instruments[held.symbol], held.side, quantity, held.entry_price, loss
        )
        price = priced(books, held.symbol, held.side, quantity)
        profit = self.profit(held, quantity, price)
        surplus = Money(loss + profit)
        sellable = quantity
        if surplus < -books.insurance_fund:
            sellable = self._payable(held, quantity, surplus)
        borne = arithmetic.money_up(loss * sellable / quantity)
        self._sell_for_fund(held, sellable, borne)
        if (rest := Quantity(quantity - sellable)) > ZERO:
            # Whoever closes at the bankruptcy price has less profit, by just this loss.
            books.market = Money(books.market + loss - borne)
            if bankruptcy > ZERO and bankruptcy.is_finite():
                self.deleveraged += deleverage(books, self.book, held, rest, Price(bankruptcy))
        match self.surplus:
            case Returns() if surplus > ZERO:
                fee = Money(min(surplus, self.clearance(held, quantity, price)))
                back = Money(surplus - fee)
                books.insurance_fund = Money(books.insurance_fund - back)
                self._give(slot, quantity, Money(back - loss))
                return _Sold(price, profit, fee)
            case Keeps() | Returns():
                self._give(slot, quantity, Money(-loss))
                return _Sold(Price(bankruptcy), Money(-loss), NOTHING, rest)

    def _sell_for_fund(self, held: Holding, quantity: Quantity, loss: Money) -> None:
        """Sell at market what the account lost `loss` by: the insurance fund gains or pays."""
        books = self.books
        if quantity > ZERO:
            price = fill(books, held.symbol, held.side, quantity).price
            profit = self.profit(held, quantity, price)
            books.market = Money(books.market - profit)
            books.insurance_fund = Money(books.insurance_fund + loss + profit)

    def _payable(self, held: Holding, quantity: Quantity, surplus: Money) -> Quantity:
        """What of a slice the insurance fund can pay for, in whole steps."""
        step = self.books.instruments[held.symbol].quantity_step
        # Less the digit that rounding a smaller profit down can cost.
        share = max(ZERO, self.books.insurance_fund - arithmetic.MONEY_STEP) / -surplus
        return Quantity(floor_to(quantity * share, step))

    def _loss(self, slot: str, quantity: Quantity) -> Money:
        """What the account loses by a slice: its share of what backs the position."""
        held = self.book.holdings[slot]
        if self.is_last(slot, quantity):
            return self.backing()
        part = quantity / held.quantity
        match held.margin_mode:
            case MarginMode.ISOLATED:
                return arithmetic.money_down(held.margin * part)
            case MarginMode.CROSS:
                share = share_of_equity(self.books, self.book, held) * part
                profit = self.profit(held, quantity, self.mark(held))
                return Money(arithmetic.money_down(share) - profit)

    def _give(self, slot: str, quantity: Quantity, amount: Money) -> None:
        """Make the position smaller, and give (or take) `amount` to what backs it."""
        held, book = self.book.holdings[slot], self.book
        match held.margin_mode:
            case MarginMode.CROSS:
                book.wallet = Money(book.wallet + amount)
                shrink(book, slot, quantity, NOTHING)
            case MarginMode.ISOLATED if quantity == held.quantity:
                book.wallet = Money(book.wallet + held.margin + amount)
                shrink(book, slot, quantity, NOTHING)
            case MarginMode.ISOLATED:
                shrink(book, slot, quantity, Money(held.margin + amount))

    def close_at_mark(self, slot: str, quantity: Quantity) -> None:
        """Close so much at mark: what a long and a short net."""
        before = self._before(slot)
        mark = self.mark(before.held)
        profit = self.profit(before.held, quantity, mark)
        self.books.market = Money(self.books.market - profit)
        self._give(slot, quantity, profit)
        owed = NOTHING
        if not self.slots():
            owed = Money(max(-self.book.wallet, ZERO))
            self.book.wallet = Money(self.book.wallet + owed)
            cover(self.books, owed)
        sold = _Sold(mark, profit, NOTHING, shortfall=owed)
        self._record(before, quantity, Rung.NETTED, sold)

    def _before(self, slot: str) -> _Before:
        equity, requirement = self.figures()
        held = self.book.holdings[slot]
        return _Before(held, equity, requirement, self.books.insurance_fund)

    def _record(self, before: _Before, quantity: Quantity, rung: Rung, sold: _Sold) -> None:
        book, books, held = self.book, self.books, before.held
        mark = self.mark(held)
        book.liquidation.append(
            PositionStep(
                at_ms=books.at_ms,
                equity=before.equity,
                requirement=before.requirement,
                rung=rung,
                symbol=held.symbol,
                side=held.side,
                quantity=quantity,
                left=Quantity(held.quantity - quantity),
                price=sold.price,
                mark=mark,
                fee=sold.fee,
                to_fund=Money(books.insurance_fund - before.fund),
                deleveraged=sold.deleveraged,
            )
        )
        book.history.append(
            Realised(
                books.at_ms,
                NO_ORDER,
                held.symbol,
                held.side,
                quantity,
                sold.price,
                sold.profit,
                sold.fee,
                sold.shortfall,
                cause=Cause.LIQUIDATION,
            )
        )
        shown = arithmetic.reported_price(books.instruments[held.symbol], held.side, mark)
        slot = slot_of(book, held.symbol, held.side)
        self.touched[slot] = Liquidated(held.symbol, held.side, shown, books.at_ms)
