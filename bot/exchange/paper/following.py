"""
Prices of another exchange as they come: a path that nobody knows ahead, and that may fall silent.

While it is silent the way to the paper exchange is down too: nothing is filled, and nobody is
liquidated, at a price that is not known. Once it speaks again its prices have travelled there in
a straight line, and what lies on the way is met, as between any two points of a path.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Self, assert_never

from bot.core.events import FundingReported, MarkPrice
from bot.exchange.paper.faults import Delivery, RequestLost, Travels, Trip
from bot.exchange.paper.prices import Clock, FundingTerm, PathItem, PricePoint
from bot.exchange.ports import Quoted

SILENT_MS = 10_000
"""A contract whose mark price is older than this has none."""

TIMEOUT_MS = 3_000


class Followed:
    """
    The path of what has been taken so far, and the `Network` that is down while it is silent.

    As an iterator it ends where nothing more has come, and goes on when something has.
    """

    def __init__(
        self, symbols: Iterable[str], announced: Mapping[str, FundingTerm], clock: Clock
    ) -> None:
        """Follow `symbols`; `announced` are the bills that the exchange knows of by now."""
        self._newest_ms = dict.fromkeys(symbols, -SILENT_MS)
        self._bills = dict(announced)
        self._clock = clock
        self._come: deque[PathItem] = deque()
        self._news = asyncio.Event()

    @property
    def timeout_ms(self) -> int:
        """How long a caller waits for a reply."""
        return TIMEOUT_MS

    @property
    def unheard_of(self) -> list[str]:
        """The contracts that have no mark price at the moment."""
        now_ms = self._clock.now_ms()
        return [name for name, at_ms in self._newest_ms.items() if now_ms - at_ms >= SILENT_MS]

    def take(self, quoted: Quoted) -> None:
        """Add what the other exchange has just said."""
        match quoted:
            case MarkPrice(symbol, price, received_at_ms):
                self._newest_ms[symbol] = received_at_ms
                # The other exchange's trades are not followed: last is where the mark is.
                self._come.append(PricePoint(received_at_ms, symbol, price, price))
            case FundingReported():
                self._take_bill(quoted)
            case _:
                assert_never(quoted)
        self._news.set()

    async def news(self) -> None:
        """Wait until something has come since this last returned."""
        await self._news.wait()
        self._news.clear()

    def __iter__(self) -> Self:
        """Itself."""
        return self

    def __next__(self) -> PathItem:
        """What came first and has not been asked for."""
        if not self._come:
            raise StopIteration
        return self._come.popleft()

    def read(self) -> Trip:
        """The fate of one read."""
        return RequestLost() if self.unheard_of else Travels(0, 0)

    def request(self) -> Trip:
        """The fate of one write."""
        return self.read()

    def notice(self) -> Delivery:
        """Every notice arrives."""
        return Delivery.DELIVERED

    def stops_refused(self, at_ms: int) -> bool:
        """Stops are taken."""
        return False

    def _take_bill(self, told: FundingReported) -> None:
        """
        Announce the bill, if it is new and its time has not come.

        The other exchange's clock may be ahead of ours: a bill whose time has not come here gives
        way to none that is later. And ours may be ahead: one whose time has come is over.
        """
        at_ms = told.received_at_ms
        term = FundingTerm(at_ms, told.symbol, told.rate, told.next_at_ms, told.interval_ms)
        known = self._bills.get(told.symbol)
        if told.next_at_ms <= at_ms:
            return
        if known is not None:
            if at_ms < known.next_at_ms < told.next_at_ms:
                return
            if _terms(known) == _terms(term):
                return
        self._bills[told.symbol] = term
        self._come.append(term)


def _terms(term: FundingTerm) -> tuple[object, ...]:
    """What it says, whenever it was said."""
    return term.rate, term.next_at_ms, term.interval_ms
