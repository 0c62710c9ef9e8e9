"""
The gate in front of an account: while its address is banned nothing leaves the house.

Whoever is answered so first tells the guard, which pages a human; the others are told here.
"""

from collections.abc import Callable

from bot.clock import Clock
from bot.core.actions import Action
from bot.core.events import AddressBanned, Event
from bot.core.model import AccountSnapshot
from bot.exchange.ports import (
    Account,
    Banned,
    Barred,
    MarginChange,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Reply,
)


class Gate:
    """An `Account` that asks its venue nothing while that has banned this address."""

    def __init__(
        self,
        account: Account,
        clock: Clock,
        publish: Callable[[Event], None],
        banned_until_ms: int,
    ) -> None:
        """Closed until `banned_until_ms`, as an earlier process may have been told."""
        self._account = account
        self._clock = clock
        self._publish = publish
        self._banned_until_ms = banned_until_ms

    @property
    def request_life_ms(self) -> int:
        """How long after its date the venue may still accept a request that is under way."""
        return self._account.request_life_ms

    async def snapshot(self) -> AccountSnapshot:
        """One complete read."""
        self._pass()
        try:
            return await self._account.snapshot()
        except Banned as e:
            self._close(e.until_ms, str(e))
            raise

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        """Publish notices until cancelled; raises `Unreachable` when the stream is lost."""
        self._pass()
        try:
            await self._account.stream(publish)
        except Banned as e:
            self._close(e.until_ms, str(e))
            raise

    async def send(self, action: Action, client_id: str) -> Reply:
        """Perform one action."""
        if self._clock.now_ms() < self._banned_until_ms:
            return Barred("not sent: this address is banned", self._banned_until_ms)
        reply = await self._account.send(action, client_id)
        if isinstance(reply, Barred):
            self._close(reply.until_ms, reply.text)
        return reply

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        """Look an order of ours up."""
        self._pass()
        try:
            return await self._account.order(symbol, client_id)
        except Banned as e:
            self._close(e.until_ms, str(e))
            raise

    async def margin_changes(
        self, symbol: str, since_ms: int
    ) -> tuple[MarginChange, ...] | NoMarginHistory:
        """Margin added to positions of `symbol` at or after the venue time `since_ms`."""
        self._pass()
        try:
            return await self._account.margin_changes(symbol, since_ms)
        except Banned as e:
            self._close(e.until_ms, str(e))
            raise

    async def server_time_ms(self) -> int:
        """The venue's clock."""
        self._pass()
        try:
            return await self._account.server_time_ms()
        except Banned as e:
            self._close(e.until_ms, str(e))
            raise

    def _pass(self) -> None:
        if self._clock.now_ms() < self._banned_until_ms:
            raise Banned("not asked: this address is banned", self._banned_until_ms)

    def _close(self, until_ms: int, reason: str) -> None:
        self._banned_until_ms = max(self._banned_until_ms, until_ms)
        self._publish(AddressBanned(until_ms, reason, self._clock.now_ms()))
