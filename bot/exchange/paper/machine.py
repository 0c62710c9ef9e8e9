"""
The paper exchange: a synchronous state machine that knows neither clock nor network.

Linear or inverse positions under risk tiers, isolated or cross, one-way or in hedge mode. Every
method that changes something takes the venue's time, which never goes back. What the changes mean
for accounts is collected as notices, for whoever drives the machine to take and deliver.

Long, as it is the one door to all that can happen here; every rule is in a room of its own.
"""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import assert_never

from bot.core.actions import (
    Action,
    AddMargin,
    AtMarket,
    Bound,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.model import (
    AccountSnapshot,
    ContractKind,
    Instrument,
    MarginMode,
    PositionMode,
    Side,
    StopOrder,
)
from bot.core.units import ZERO, Money, Price, Quantity, Ratio, floor_to
from bot.exchange.paper import (
    arithmetic,
    growing,
    joint,
    listing,
    matching,
    opening,
    placing,
    reading,
    requests,
    settling,
)
from bot.exchange.paper.books import (
    AccountBook,
    Books,
    FundingPaid,
    Happened,
    LadderStep,
    Ledger,
    OrderState,
    Pledge,
    Quote,
    Realised,
    Resting,
    Settings,
)
from bot.exchange.paper.codec import decode, encode
from bot.exchange.paper.depth import Depth
from bot.exchange.paper.ladders import GATE, Ladder
from bot.exchange.paper.levels import Levels
from bot.exchange.paper.orders import (
    AGAINST,
    CloseAll,
    Effect,
    Limit,
    OpenOrder,
    Order,
    OrderLimits,
    Pricing,
    TimeInForce,
    Trigger,
    TriggerBy,
    closing,
)
from bot.exchange.paper.prices import AsMark, FundingTerm, Prices
from bot.exchange.paper.settings import settings_of
from bot.exchange.ports import (
    Accepted,
    AccountChanged,
    MarginChange,
    Notice,
    OrderAbsent,
    OrderFound,
    Refused,
)

NO_FEE = Ratio(ZERO)

_ENDLESS_EVERYWHERE: dict[str, Depth] = {}
_STANDING: dict[str, Prices] = {}
"""No price moves: only time passes."""


class PaperMachine:
    """
    Accounts, positions, orders and money of one paper exchange.

    Anyone's order comes through `handle`: a human's differs from the guard's by its client id
    only. Unknown account and symbol names raise `KeyError`.
    """

    def __init__(
        self,
        instruments: Iterable[Instrument],
        slippage: Ratio,
        refuse_stops: bool = False,
        depths: Mapping[str, Depth] = _ENDLESS_EVERYWHERE,
        ladder: Ladder = GATE,
        pledges: Iterable[Pledge] = (),
    ) -> None:
        """
        Start empty. `slippage` is the share by which market orders fill worse than `last`.

        `depths` are the books that they walk through from there on; a symbol without one has no
        end of depth. `ladder` is how it liquidates; `pledges` are the coins that back cross
        positions. Raises `ValueError` for an instrument whose rules this exchange cannot apply,
        or which is settled in another currency than the others, `KeyError` for depth or a pledge
        of one that it does not list.
        """
        self._books = listing.empty_books(
            {instrument.symbol: instrument for instrument in instruments},
            slippage,
            depths,
            ladder,
            {pledge.coin: pledge for pledge in pledges},
        )
        self._books.refuse_stops = refuse_stops
        self._levels = Levels()
        self._notices: list[tuple[str, Notice]] = []

    @classmethod
    def from_json(cls, text: str) -> "PaperMachine":
        """The machine that `to_json` wrote. Raises `ValueError` for anything else."""
        books: Books = decode(Books, json.loads(text), "exchange")
        machine = cls(books.instruments.values(), books.slippage)
        machine._books = books
        return machine

    def to_json(self) -> str:
        """
        The whole state; equal states give equal text.

        Notices not yet taken are not in it: they die with the connection that waited for them.
        """
        return json.dumps(encode(self._books), separators=(",", ":"))

    # -- set-up ----------------------------------------------------------------------------

    def deposit(self, account: str, amount: Money) -> None:
        """Put money into the wallet of `account`, opening the account if need be."""
        _check_amount("deposit", amount)
        book = self._books.accounts.setdefault(account, AccountBook())
        book.wallet = Money(book.wallet + amount)
        self._books.deposited = Money(self._books.deposited + amount)
        self._tell(account, AccountChanged())

    def deposit_coin(self, account: str, coin: str, amount: Decimal) -> None:
        """Put a coin that counts as collateral into an account; raises `KeyError` for another."""
        _check_amount("deposit", amount)
        pledge, book = self._books.pledges[coin], self._books.accounts[account]
        deposited = self._books.coins_deposited
        if amount:
            book.coins[coin] = book.coins.get(pledge.coin, ZERO) + amount
            deposited[coin] = deposited.get(coin, ZERO) + amount
        self._tell(account, AccountChanged())

    def endow(self, amount: Money) -> None:
        """Put money into the insurance fund."""
        _check_amount("endow", amount)
        self._books.insurance_fund = Money(self._books.insurance_fund + amount)
        self._books.deposited = Money(self._books.deposited + amount)

    def quantity_for(self, symbol: str, margin: Money, leverage: Decimal) -> Quantity:
        """The largest quantity whose initial margin at the last price is within `margin`."""
        instrument, quote = self._books.instruments[symbol], self._books.quotes[symbol]
        match instrument.kind:
            case ContractKind.LINEAR:
                most = margin * leverage / quote.last
            case ContractKind.INVERSE:
                most = margin * leverage * quote.last
        return Quantity(floor_to(most, instrument.quantity_step))

    def open_position(
        self,
        account: str,
        symbol: str,
        side: Side,
        *,
        quantity: Quantity,
        leverage: Decimal,
        at_ms: int,
        entry_fee: Ratio = NO_FEE,
        margin_mode: MarginMode = MarginMode.ISOLATED,
    ) -> None:
        """
        Open a starting position at the current last price.

        Its initial margin is notional / leverage (rounded up), which must be free: an isolated
        position takes it out of the wallet, a cross one leaves it there. The notional's share
        `entry_fee` (rounded up) goes to the exchange. Raises `ValueError` when the rules or the
        wallet forbid it.
        """
        self._travel(at_ms, _STANDING)
        opening.open_position(
            self._books,
            self._levels,
            account,
            opening.Wanted(
                symbol,
                side,
                quantity,
                self._books.quotes[symbol].last,
                leverage,
                entry_fee,
                margin_mode=margin_mode,
            ),
        )
        self._tell(account, AccountChanged())
        self._travel(at_ms, _STANDING)

    def grow_position(
        self,
        account: str,
        symbol: str,
        side: Side,
        *,
        quantity: Quantity,
        at_ms: int,
        entry_fee: Ratio = NO_FEE,
    ) -> None:
        """Add to an open position at the last price; raises `ValueError` when it is forbidden."""
        self._travel(at_ms, _STANDING)
        last = self._books.quotes[symbol].last
        growing.grow_position(
            self._books, account, symbol, side, quantity, price=last, entry_fee=entry_fee
        )
        self._tell(account, AccountChanged())
        self._travel(at_ms, _STANDING)

    def set_position_mode(
        self, account: str, mode: PositionMode, at_ms: int
    ) -> Accepted | Refused:
        """Keep one position a symbol from now on, or a long and a short beside each other."""
        self._travel(at_ms, _STANDING)
        return requests.set_position_mode(self._books.accounts[account], mode)

    def set_margin_mode(
        self, account: str, symbol: str, mode: MarginMode, at_ms: int
    ) -> Accepted | Refused:
        """Change how what is opened next in a contract is backed."""
        self._travel(at_ms, _STANDING)
        book = self._books.accounts[account]
        return requests.set_margin_mode(self._books, book, symbol, mode)

    def set_leverage(
        self, account: str, symbol: str, leverage: Decimal, at_ms: int
    ) -> Accepted | Refused:
        """Change the leverage of a contract: of what is open, and of what is opened next."""
        self._travel(at_ms, _STANDING)
        book = self._books.accounts[account]
        return self._done(
            account, at_ms, requests.set_leverage(self._books, book, symbol, leverage)
        )

    def set_multi_assets(self, account: str, counts: bool, at_ms: int) -> Accepted | Refused:
        """Let the account's other coins back its cross positions, or not any more."""
        self._travel(at_ms, _STANDING)
        book = self._books.accounts[account]
        return self._done(account, at_ms, requests.set_multi_assets(self._books, book, counts))

    def withdraw(self, account: str, amount: Money, at_ms: int) -> Accepted | Refused:
        """Take money out of the wallet, as much as is free."""
        self._travel(at_ms, _STANDING)
        reply = requests.withdraw(self._books, self._books.accounts[account], amount)
        return self._done(account, at_ms, reply)

    # -- the world -------------------------------------------------------------------------

    def move(self, at_ms: int, prices: Mapping[str, Prices]) -> None:
        """
        Let the prices of the named symbols travel in straight lines from now until `at_ms`.

        All travel over the same time. Stops, liquidations and settlements of funding happen in the
        order in which they are met on the way, at the prices of their moment; the order of
        `prices` is of no matter.
        A symbol that is not named stays where it is; the first prices of a symbol just appear.
        """
        for symbol, to in prices.items():
            listed = self._books.instruments[symbol].symbol
            index = to.mark if isinstance(to.index, AsMark) else to.index
            if not (_is_price(to.mark) and _is_price(to.last) and _is_price(index)):
                raise ValueError(
                    f"{listed} at {at_ms}: expected prices above 0, was {to.mark}, {to.last}, "
                    f"{index}"
                )
        self._travel(at_ms, prices)

    def announce(self, term: FundingTerm) -> None:
        """
        From now on the next settlement of a symbol is that of `term`.

        Of a contract that has ended it is of no matter. Raises `ValueError` for one that is not
        ahead.
        """
        listed = self._books.instruments[term.symbol].symbol
        if term.next_at_ms <= term.at_ms:
            raise ValueError(
                f"{listed}: expected a settlement after {term.at_ms}, was {term.next_at_ms}"
            )
        self._travel(term.at_ms, _STANDING)
        if listed not in self._books.ended:
            self._books.terms[listed] = term

    def delist(self, symbol: str, price: Price, at_ms: int) -> None:
        """
        End a contract: whoever holds it is settled at `price`, and it is listed no more.

        Raises `ValueError` for a price that is none, or a contract that has ended before.
        """
        listed = self._books.instruments[symbol].symbol
        if listed in self._books.ended or not _is_price(price):
            raise ValueError(f"{listed}: expected a listed contract and a price, was {price}")
        self._travel(at_ms, _STANDING)
        for account in settling.end(self._books, listed, price):
            self._tell(account, AccountChanged())
        self._travel(at_ms, _STANDING)

    def handle(
        self, account: str, action: Action, client_id: str, at_ms: int
    ) -> Accepted | Refused:
        """
        Perform one request, or refuse it with a venue code.

        `client_id` names orders and must be new for the account; margin additions and cancels
        carry none and ignore it.
        """
        match action:
            case AddMargin():
                self._travel(at_ms, _STANDING)
                book = self._books.accounts[account]
                return self._done(account, at_ms, requests.add_margin(self._books, book, action))
            case PlaceStop(symbol, side, quantity, trigger_price):
                trigger = Trigger(trigger_price, TriggerBy.MARK, AGAINST[side])
                sends = _reducing(symbol, side, quantity, AtMarket())
                return self.place_conditional(account, trigger, sends, client_id, at_ms)
            case CancelStop(symbol, side, target):
                return self._cancel_stop(account, symbol, side, target, at_ms)
            case ClosePosition(symbol, side, quantity, bound):
                order = _reducing(symbol, side, quantity, bound)
                return self.place(account, order, client_id, at_ms)
            case _:
                assert_never(action)

    def place(self, account: str, order: Order, client_id: str, at_ms: int) -> Accepted | Refused:
        """Trade an order as far as it can be traded now; what is left of it rests, or is over."""
        self._travel(at_ms, _STANDING)
        reply = placing.place(self._books, self._levels, account, order, client_id)
        return self._done(account, at_ms, reply)

    def place_conditional(
        self, account: str, trigger: Trigger, sends: Order | CloseAll, client_id: str, at_ms: int
    ) -> Accepted | Refused:
        """Let an order wait for a price."""
        self._travel(at_ms, _STANDING)
        book = self._books.accounts[account]
        reply = placing.place_conditional(self._books, book, trigger, sends, client_id)
        return self._done(account, at_ms, reply)

    def cancel(self, account: str, client_id: str, at_ms: int) -> Accepted | Refused:
        """Take an order that waits off the book."""
        self._travel(at_ms, _STANDING)
        reply = placing.cancel(self._books, self._books.accounts[account], client_id)
        return self._done(account, at_ms, reply)

    @property
    def refuse_stops(self) -> bool:
        """Whether the stop endpoint refuses everything. Resting stops stay."""
        return self._books.refuse_stops

    @refuse_stops.setter
    def refuse_stops(self, refuse: bool) -> None:
        self._books.refuse_stops = refuse

    @property
    def resting(self) -> Resting:
        """What resting stops mean for other orders that would reduce their position."""
        return self._books.resting

    @resting.setter
    def resting(self, rule: Resting) -> None:
        self._books.resting = rule

    @property
    def limits(self) -> OrderLimits:
        """What the exchange takes of orders."""
        return self._books.limits

    @limits.setter
    def limits(self, limits: OrderLimits) -> None:
        self._books.limits = limits

    def take_notices(self) -> tuple[tuple[str, Notice], ...]:
        """What happened to which account since this was last called."""
        taken, self._notices = tuple(self._notices), []
        return taken

    # -- reads -----------------------------------------------------------------------------

    @property
    def at_ms(self) -> int:
        """The venue's time: the newest that any call has brought."""
        return self._books.at_ms

    @property
    def instruments(self) -> dict[str, Instrument]:
        """The contracts by symbol, those that have ended too."""
        return dict(self._books.instruments)

    @property
    def pledges(self) -> dict[str, Pledge]:
        """The coins that count as collateral, by their names."""
        return dict(self._books.pledges)

    @property
    def listed(self) -> dict[str, Instrument]:
        """The contracts that are traded, by symbol."""
        ended = self._books.ended
        return {each: rules for each, rules in self.instruments.items() if each not in ended}

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts that have had a deposit."""
        return frozenset(self._books.accounts)

    @property
    def terms(self) -> dict[str, FundingTerm]:
        """The settlement announced last, by symbol."""
        return dict(self._books.terms)

    @property
    def quotes(self) -> dict[str, Quote]:
        """The present prices by symbol."""
        return dict(self._books.quotes)

    def snapshot(self, account: str, at_ms: int) -> AccountSnapshot:
        """One complete read; liquidation prices rounded against the holder."""
        return reading.snapshot(self._books, self._levels, account, at_ms)

    def stops(self, account: str) -> tuple[StopOrder, ...]:
        """The account's resting stop-market orders on the mark price, oldest first."""
        return reading.stops(self._books.accounts[account])

    def open_orders(self, account: str) -> tuple[OpenOrder, ...]:
        """Every order of the account that waits, oldest first."""
        return tuple(self._books.accounts[account].open_orders.values())

    def position_mode(self, account: str) -> PositionMode:
        """Whether the account's contracts have one position each or two."""
        return self._books.accounts[account].mode

    def settings(self, account: str, symbol: str) -> Settings:
        """How the account trades a contract."""
        return settings_of(self._books, self._books.accounts[account], symbol)

    def available(self, account: str) -> Money:
        """What could become the initial margin of new cross positions."""
        return Money(max(ZERO, joint.available(self._books, self._books.accounts[account])))

    def coins(self, account: str) -> dict[str, Decimal]:
        """The account's balances of other coins, whether they count or not."""
        return dict(self._books.accounts[account].coins)

    def counts_coins(self, account: str) -> bool:
        """Whether the account's other coins back its cross positions."""
        return self._books.accounts[account].counts_coins

    def history(self, account: str, since: int) -> tuple[Happened, ...]:
        """What the account's orders and positions came to, oldest first, without `since` rows."""
        return tuple(self._books.accounts[account].history[since:])

    def order(self, account: str, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        """An order by its client id, whatever became of it."""
        record = self._books.accounts[account].orders.get(client_id)
        if record is None or record.symbol != symbol:
            return OrderAbsent()
        return OrderFound(client_id, record.state is OrderState.RESTING, record.filled)

    def margin_changes(self, account: str, symbol: str, since_ms: int) -> tuple[MarginChange, ...]:
        """Margin added to positions of `symbol` at or after `since_ms`, oldest first."""
        return tuple(
            change
            for change in self._books.accounts[account].margin_changes
            if change.symbol == symbol and change.at_ms >= since_ms
        )

    def realised(self, account: str) -> tuple[Realised, ...]:
        """Every reduction of the account's positions, oldest first."""
        history = self._books.accounts[account].history
        return tuple(each for each in history if isinstance(each, Realised))

    def funding(self, account: str) -> tuple[FundingPaid, ...]:
        """Every settlement of funding of the account, oldest first."""
        history = self._books.accounts[account].history
        return tuple(each for each in history if isinstance(each, FundingPaid))

    def liquidation(self, account: str) -> tuple[LadderStep, ...]:
        """Every step of every liquidation of the account, oldest first."""
        return tuple(self._books.accounts[account].liquidation)

    def equity(self, account: str) -> Money:
        """Wallet, position margins and unrealised profit at the mark price."""
        return reading.equity(self._books, self._books.accounts[account])

    def ledger(self) -> Ledger:
        """Where all money of the exchange is."""
        return reading.ledger(self._books)

    # -- inside ----------------------------------------------------------------------------

    def _cancel_stop(
        self, account: str, symbol: str, side: Side, target: str, at_ms: int
    ) -> Accepted | Refused:
        self._travel(at_ms, _STANDING)
        ours = {each.client_id: (each.symbol, each.side) for each in self.stops(account)}
        if ours.get(target) != (symbol, side):
            return placing.UNKNOWN_ORDER
        return self.cancel(account, target, at_ms)

    def _travel(self, at_ms: int, prices: Mapping[str, Prices]) -> None:
        if at_ms < self._books.at_ms:
            raise ValueError(f"time: expected {self._books.at_ms} or later, was {at_ms}")
        self._notices += matching.travel(self._books, self._levels, at_ms, prices)

    def _tell(self, account: str, notice: Notice) -> None:
        self._notices.append((account, notice))

    def _done(self, account: str, at_ms: int, reply: Accepted | Refused) -> Accepted | Refused:
        if isinstance(reply, Accepted):
            self._tell(account, AccountChanged())
            self._travel(at_ms, _STANDING)
        return reply


def _reducing(symbol: str, side: Side, quantity: Quantity, bound: Bound) -> Order:
    """The order by which a position is made smaller, at once."""
    match bound:
        case AtMarket():
            pricing: Pricing = bound
        case NoWorseThan(price):
            pricing = Limit(price, TimeInForce.IOC)
    return Order(symbol, closing(side), Effect.REDUCE, quantity, pricing)


def _check_amount(what: str, amount: Decimal) -> None:
    if amount < ZERO or not arithmetic.on_step(amount, arithmetic.MONEY_STEP):
        raise ValueError(f"{what}: expected a multiple of {arithmetic.MONEY_STEP}, was {amount}")


def _is_price(number: Decimal) -> bool:
    return number.is_finite() and number > ZERO
