"""
The paper exchange: a synchronous state machine that knows neither clock nor network.

One-way, linear positions under risk tiers, isolated or cross. Every method that changes something
takes the venue's time, which never goes back. What the changes mean for accounts is collected as
notices, for whoever drives the machine to take and deliver.
"""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import assert_never

from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.model import (
    AccountSnapshot,
    Instrument,
    MarginMode,
    NotReported,
    Position,
    PositionMode,
    Reported,
    Side,
)
from bot.core.units import ONE, ZERO, Money, Quantity, Ratio, floor_to
from bot.exchange.paper import arithmetic, joint, matching, requests
from bot.exchange.paper.books import (
    NOTHING,
    AccountBook,
    Books,
    FundingPaid,
    Holding,
    Ledger,
    OrderState,
    Quote,
    Realised,
)
from bot.exchange.paper.codec import decode, encode
from bot.exchange.paper.depth import ENDLESS, Depth, OrderBook, Tape
from bot.exchange.paper.levels import Levels
from bot.exchange.paper.prices import FundingTerm, Prices
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
    ) -> None:
        """
        Start empty. `slippage` is the share by which market orders fill worse than `last`.

        `depths` are the books that they walk through from there on; a symbol without one has no
        end of depth. Raises `ValueError` for an instrument whose rules this exchange cannot
        apply, `KeyError` for depth of one that it does not list.
        """
        listed = {instrument.symbol: instrument for instrument in instruments}
        for instrument in listed.values():
            arithmetic.check_listing(instrument)
        if not ZERO <= slippage < ONE:
            raise ValueError(f"slippage: expected a share from 0 to below 1, was {slippage}")
        self._books = Books(listed, dict.fromkeys(listed, ENDLESS), slippage, refuse_stops)
        for symbol, depth in depths.items():
            self._books.depths[listed[symbol].symbol] = depth
        self._books.tapes = {
            symbol: Tape(depth.memory_ms)
            for symbol, depth in self._books.depths.items()
            if isinstance(depth, OrderBook)
        }
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
        if amount < ZERO or not arithmetic.on_step(amount, arithmetic.MONEY_STEP):
            raise ValueError(
                f"deposit: expected a multiple of {arithmetic.MONEY_STEP}, was {amount}"
            )
        book = self._books.accounts.setdefault(account, AccountBook())
        book.wallet = Money(book.wallet + amount)
        self._books.deposited = Money(self._books.deposited + amount)
        self._tell(account, AccountChanged())

    def quantity_for(self, symbol: str, margin: Money, leverage: Decimal) -> Quantity:
        """The largest quantity whose initial margin at the last price is within `margin`."""
        instrument, quote = self._books.instruments[symbol], self._books.quotes[symbol]
        return Quantity(floor_to(margin * leverage / quote.last, instrument.quantity_step))

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
        books, book = self._books, self._books.accounts[account]
        instrument, quote = books.instruments[symbol], books.quotes[symbol]
        where = f"open {symbol} {side} for {account}"
        if symbol in book.holdings:
            raise ValueError(f"{where}: expected no position, was {book.holdings[symbol].side}")
        step, least = instrument.quantity_step, instrument.quantity_min
        if quantity < least or not arithmetic.on_step(quantity, step):
            raise ValueError(
                f"{where}: expected a quantity from {least} in steps of {step}, was {quantity}"
            )
        notional = quantity * quote.last
        leverage_max = arithmetic.tier_of(instrument, notional).leverage_max
        if not ZERO < leverage <= leverage_max:
            raise ValueError(
                f"{where}: expected leverage up to {leverage_max} for a notional of "
                f"{notional}, was {leverage}"
            )
        margin = arithmetic.money_up(notional / leverage)
        fee = arithmetic.money_up(notional * entry_fee)
        if margin + fee > (free := joint.free(books, book)):
            raise ValueError(
                f"{where}: expected free money of {margin + fee} for margin and fee, was {free}"
            )
        match margin_mode:
            case MarginMode.ISOLATED:
                bound, backing = margin, margin
            case MarginMode.CROSS:
                bound, backing = NOTHING, Money(joint.backing(books, book, symbol) - fee)
        level = arithmetic.liquidation_price(instrument, side, quantity, quote.last, backing)
        if matching.reached(side, quote.mark, level):
            raise ValueError(
                f"{where}: expected a mark price clear of the liquidation price {level}, "
                f"was {quote.mark}"
            )
        book.wallet = Money(book.wallet - bound - fee)
        books.fees = Money(books.fees + fee)
        book.holdings[symbol] = Holding(side, quantity, quote.last, margin_mode, bound, leverage)
        self._tell(account, AccountChanged())
        self._travel(at_ms, _STANDING)

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
            if not (_is_price(to.mark) and _is_price(to.last)):
                raise ValueError(
                    f"{listed} at {at_ms}: expected prices above 0, was {to.mark}, {to.last}"
                )
        self._travel(at_ms, prices)

    def announce(self, term: FundingTerm) -> None:
        """
        From now on the next settlement of a symbol is that of `term`.

        Raises `ValueError` for one that is not ahead.
        """
        listed = self._books.instruments[term.symbol].symbol
        if term.next_at_ms <= term.at_ms:
            raise ValueError(
                f"{listed}: expected a settlement after {term.at_ms}, was {term.next_at_ms}"
            )
        self._travel(term.at_ms, _STANDING)
        self._books.terms[listed] = term

    def handle(
        self, account: str, action: Action, client_id: str, at_ms: int
    ) -> Accepted | Refused:
        """
        Perform one request, or refuse it with a venue code.

        `client_id` names orders and must be new for the account; margin additions and cancels
        carry none and ignore it.
        """
        self._travel(at_ms, _STANDING)
        book = self._books.accounts[account]
        match action:
            case AddMargin():
                reply = requests.add_margin(self._books, book, action)
            case PlaceStop():
                reply = requests.place_stop(self._books, book, action, client_id)
            case CancelStop():
                reply = requests.cancel_stop(book, action)
            case ClosePosition():
                reply = requests.close(self._books, book, action, client_id)
            case _:
                assert_never(action)
        if isinstance(reply, Accepted):
            self._tell(account, AccountChanged())
            self._travel(at_ms, _STANDING)
        return reply

    @property
    def refuse_stops(self) -> bool:
        """Whether the stop endpoint refuses everything. Resting stops stay."""
        return self._books.refuse_stops

    @refuse_stops.setter
    def refuse_stops(self, refuse: bool) -> None:
        self._books.refuse_stops = refuse

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
        """The listed contracts by symbol."""
        return dict(self._books.instruments)

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
        book = self._books.accounts[account]
        return AccountSnapshot(
            taken_at_ms=at_ms,
            position_mode=PositionMode.ONE_WAY,
            wallet_balance=book.wallet,
            free=joint.free(self._books, book),
            positions=tuple(
                self._position(account, *each) for each in sorted(book.holdings.items())
            ),
            stops=tuple(book.stops.values()),
        )

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
        return tuple(self._books.accounts[account].realised)

    def funding(self, account: str) -> tuple[FundingPaid, ...]:
        """Every settlement of funding of the account, oldest first."""
        return tuple(self._books.accounts[account].funding)

    def equity(self, account: str) -> Money:
        """Wallet, position margins and unrealised profit at the mark price."""
        book = self._books.accounts[account]
        return Money(
            book.wallet
            + sum(
                held.margin
                + arithmetic.profit(
                    held.side, held.quantity, held.entry_price, self._books.quotes[symbol].mark
                )
                for symbol, held in book.holdings.items()
            )
        )

    def ledger(self) -> Ledger:
        """Where all money of the exchange is."""
        books, accounts = self._books, self._books.accounts.values()
        margins = (held.margin for book in accounts for held in book.holdings.values())
        return Ledger(
            deposited=books.deposited,
            wallets=Money(sum((book.wallet for book in accounts), ZERO)),
            margins=Money(sum(margins, ZERO)),
            insurance_fund=books.insurance_fund,
            fees=books.fees,
            market=books.market,
        )

    # -- inside ----------------------------------------------------------------------------

    def _travel(self, at_ms: int, prices: Mapping[str, Prices]) -> None:
        if at_ms < self._books.at_ms:
            raise ValueError(f"time: expected {self._books.at_ms} or later, was {at_ms}")
        self._notices += matching.travel(self._books, self._levels, at_ms, prices)

    def _tell(self, account: str, notice: Notice) -> None:
        self._notices.append((account, notice))

    def _position(self, account: str, symbol: str, held: Holding) -> Position:
        books, instrument = self._books, self._books.instruments[symbol]
        match held.margin_mode:
            case MarginMode.ISOLATED:
                level = self._levels.of(books, account, symbol, held)
            case MarginMode.CROSS:
                backing = joint.backing(books, books.accounts[account], symbol)
                level = arithmetic.liquidation_price(
                    instrument, held.side, held.quantity, held.entry_price, backing
                )
        price = arithmetic.reported_price(instrument, held.side, level)
        return Position(
            symbol=symbol,
            side=held.side,
            quantity=held.quantity,
            entry_price=held.entry_price,
            margin_mode=held.margin_mode,
            isolated_margin=held.margin,
            leverage=held.leverage,
            liquidation=Reported(price) if level > ZERO else NotReported(),
        )


def _is_price(number: Decimal) -> bool:
    return number.is_finite() and number > ZERO
