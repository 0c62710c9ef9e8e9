"""
The whole venue behind the wire, without a socket and without a clock: every call brings the time.

All times are those of the clients' world, so that signatures and ages can be checked; recorded
prices are moved into it (see `sources.retimed`).
"""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any

from bot.core.units import ZERO, Money, Price, Ratio
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import FundingTerm
from bot.exchange.paper.wire.admission import Limits
from bot.exchange.paper.wire.bybit.desk import BybitDesk
from bot.exchange.paper.wire.candles import Candles
from bot.exchange.paper.wire.desk import Desk
from bot.exchange.paper.wire.listing import ORDER_LIMITS, Listing, id_of, text
from bot.exchange.paper.wire.refusal import Refusal
from bot.exchange.paper.wire.sources import Source
from bot.exchange.paper.wire.views import money

LISTEN_KEY_MS = 60 * 60_000
"""How long a listenKey lives without being renewed."""

FIRST_ID = 1_000_001


@dataclass(frozen=True, slots=True)
class Settled:
    """A settlement of funding that has been."""

    term: FundingTerm
    mark: Price


class WireExchange:
    """Accounts by API key on one machine, with what the machine does not remember."""

    def __init__(self, machine: PaperMachine, source: Source, deposit: Money) -> None:
        """Every account begins with `deposit` in its wallet."""
        machine.limits = ORDER_LIMITS
        self.machine = machine
        self.source = source
        self.limits = Limits()
        self.settled: list[Settled] = []
        self._deposit = deposit
        self._ids = count(FIRST_ID)
        self._desks: dict[str, Desk] = {}
        self._bybit_desks: dict[str, BybitDesk] = {}
        self._outbox: list[tuple[str, dict[str, Any]]] = []
        self._marks: defaultdict[str, Candles] = defaultdict(Candles)
        self._lasts: defaultdict[str, Candles] = defaultdict(Candles)
        self._terms: dict[str, FundingTerm] = {}
        self._past: set[FundingTerm] = set()
        self._listen_keys: dict[str, tuple[str, int]] = {}

    @property
    def listing(self) -> Listing:
        """The contracts that have a price."""
        quotes = self.machine.quotes
        return Listing(each for each in self.machine.instruments.values() if each.symbol in quotes)

    def advance(self, now_ms: int) -> int:
        """Live until now, or stay where a hurrying hand has brought the time; the time then."""
        for _ in self.source.steps(max(now_ms, self.machine.at_ms)):
            self._after_step()
        return self.machine.at_ms

    def settle(self) -> None:
        """Tell every account what the machine has done to it since this was last called."""
        for account in sorted({account for account, _ in self.machine.take_notices()}):
            if account in self._desks:
                self._desks[account].catch_up()
            elif account in self._bybit_desks:
                self._bybit_desks[account].catch_up()

    def desk(self, account: str) -> Desk:
        """The desk of an account, which is opened when it is first asked for."""
        if account not in self._desks:
            self._desks[account] = Desk(
                account,
                self.machine,
                self.listing,
                self._ids,
                lambda event: self._outbox.append((account, event)),
                self._deposit,
            )
        return self._desks[account]

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts that have been opened."""
        return (*self._desks, *self._bybit_desks)

    def bybit_desk(self, account: str) -> BybitDesk:
        """The desk of an account of the other dialect, opened when it is first asked for."""
        if account not in self._bybit_desks:
            self._bybit_desks[account] = BybitDesk(
                account,
                self.machine,
                self._ids,
                lambda event: self._outbox.append((account, event)),
                self._deposit,
            )
        return self._bybit_desks[account]

    def pay_in(self, account: str, asset: str, amount: Decimal) -> None:
        """A deposit from outside. Raises `ValueError` for an amount that is none."""
        if account in self._bybit_desks:
            self._bybit_desks[account].pay_in(asset, amount)
        else:
            self.desk(account).pay_in(asset, amount)

    def take_outbox(self) -> list[tuple[str, dict[str, Any]]]:
        """What is to be pushed to whose user streams."""
        taken, self._outbox = self._outbox, []
        return taken

    # -- public data -----------------------------------------------------------------------

    def candles(self, symbol: str, of_mark: bool) -> Candles:
        """The bars of a symbol."""
        return (self._marks if of_mark else self._lasts)[symbol]

    def premium(self, symbol: str, now_ms: int) -> dict[str, Any]:
        """A row of GET premiumIndex."""
        quote, (rate, next_ms) = self.machine.quotes[symbol], self.bill(symbol)
        return {
            "symbol": id_of(symbol),
            "markPrice": money(quote.mark),
            "indexPrice": money(quote.index),
            "estimatedSettlePrice": money(quote.index),
            "lastFundingRate": text(rate),
            "interestRate": "0.00010000",
            "nextFundingTime": next_ms,
            "time": now_ms,
        }

    def mark_push(self, symbol: str, now_ms: int) -> dict[str, Any]:
        """A frame of the mark price stream."""
        quote, (rate, next_ms) = self.machine.quotes[symbol], self.bill(symbol)
        return {
            "e": "markPriceUpdate",
            "E": now_ms,
            "s": id_of(symbol),
            "p": money(quote.mark),
            "i": money(quote.index),
            "P": money(quote.index),
            "r": text(rate),
            "T": next_ms,
        }

    def bill(self, symbol: str) -> tuple[Ratio, int]:
        """Rate and time of the next settlement; no rate and 0 where none is announced."""
        term = self.machine.terms.get(symbol)
        if term is None or term.next_at_ms <= self.machine.at_ms:
            return Ratio(ZERO), 0
        return term.rate, term.next_at_ms

    # -- listen keys -----------------------------------------------------------------------

    def listen_key(self, account: str, now_ms: int) -> str:
        """The account's key, made or kept alive."""
        key = f"paper{account}0listen0key"
        self._listen_keys[key] = account, now_ms + LISTEN_KEY_MS
        return key

    def keep_alive(self, account: str, now_ms: int) -> None:
        """Renew the account's key."""
        for key, (owner, ends_ms) in self._listen_keys.items():
            if owner == account and ends_ms > now_ms:
                self._listen_keys[key] = account, now_ms + LISTEN_KEY_MS
                return
        raise Refusal(-1125)

    def expire_listen_keys(self, account: str) -> None:
        """Forget the account's keys."""
        for key, (owner, _) in list(self._listen_keys.items()):
            if owner == account:
                del self._listen_keys[key]

    def listener(self, key: str, now_ms: int) -> str | None:
        """The account that a living listenKey stands for."""
        account, ends_ms = self._listen_keys.get(key, ("", 0))
        return account if ends_ms > now_ms else None

    # -- inside ----------------------------------------------------------------------------

    def _after_step(self) -> None:
        self.settle()
        for desk in self._desks.values():
            desk.call_margin()
        at_ms, terms = self.machine.at_ms, self.machine.terms
        for symbol, quote in self.machine.quotes.items():
            self._marks[symbol].record(at_ms, quote.mark)
            self._lasts[symbol].record(at_ms, quote.last)
        # A term may have been announced and settled within the step, or settled and replaced.
        for symbol in terms.keys() | self._terms.keys():
            for term in dict.fromkeys(t[symbol] for t in (self._terms, terms) if symbol in t):
                if term.next_at_ms <= at_ms and term not in self._past:
                    self._past.add(term)
                    mark = self.machine.quotes[symbol].mark
                    self.settled.append(Settled(term, mark))
        self._terms = terms
