"""Observing: everything of a live account is read, and nothing is sent."""

from collections.abc import Callable

from bot.core.actions import Action
from bot.core.model import AccountSnapshot
from bot.exchange.ports import (
    Account,
    MarginChange,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Reply,
    Withheld,
)


class ObservedAccount:
    """An `Account` whose writes stay here, for as long as there is a reason."""

    def __init__(self, account: Account, why: str = "") -> None:
        """Read through `account`; send nothing, because of `why`. Without a reason all is sent."""
        self._account = account
        self._why = why

    @property
    def why(self) -> str:
        """Why nothing is sent; empty if all is."""
        return self._why

    def observe(self, why: str) -> None:
        """Send nothing from now on."""
        self._why = why

    @property
    def request_life_ms(self) -> int:
        """How long after its date the venue may still accept a request that is under way."""
        return self._account.request_life_ms

    async def send(self, action: Action, client_id: str) -> Reply:
        """Send it, or say why nothing is sent."""
        if self._why:
            return Withheld(self._why)
        return await self._account.send(action, client_id)

    async def snapshot(self) -> AccountSnapshot:
        """One complete read."""
        return await self._account.snapshot()

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        """Publish notices until cancelled; raises `Unreachable` when the stream is lost."""
        await self._account.stream(publish)

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        """Look an order of ours up."""
        return await self._account.order(symbol, client_id)

    async def margin_changes(
        self, symbol: str, since_ms: int
    ) -> tuple[MarginChange, ...] | NoMarginHistory:
        """Margin added to positions of `symbol` at or after the venue time `since_ms`."""
        return await self._account.margin_changes(symbol, since_ms)

    async def server_time_ms(self) -> int:
        """The venue's clock."""
        return await self._account.server_time_ms()
