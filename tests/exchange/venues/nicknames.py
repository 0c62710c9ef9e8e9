"""Short names in tests for ids of the guard's own kind, where a venue takes no others."""

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b

from bot.core.actions import Action, CancelStop
from bot.core.model import AccountSnapshot
from bot.exchange.ports import (
    Account,
    MarginChange,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Reply,
)


def own(nickname: str) -> str:
    """An id of the guard's kind: that of a nickname, or what is one already."""
    if re.fullmatch("lg[a-z2-7]{24}", nickname):
        return nickname
    digest = blake2b(nickname.encode(), digest_size=15).digest()
    return "lg" + base64.b32encode(digest).decode().lower()


class NicknamedAccount:
    """An `Account`, in nicknames."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._nicknames: dict[str, str] = {}

    @property
    def request_life_ms(self) -> int:
        return self._account.request_life_ms

    async def snapshot(self) -> AccountSnapshot:
        seen = await self._account.snapshot()
        stops = [
            replace(stop, client_id=self._nicknames.get(stop.client_id, stop.client_id))
            for stop in seen.stops
        ]
        return replace(seen, stops=tuple(stops))

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        await self._account.stream(publish)

    async def send(self, action: Action, client_id: str) -> Reply:
        if isinstance(action, CancelStop):
            action = replace(action, target_client_id=self._own(action.target_client_id))
        return await self._account.send(action, self._own(client_id))

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        found = await self._account.order(symbol, self._own(client_id))
        return replace(found, client_id=client_id) if isinstance(found, OrderFound) else found

    async def margin_changes(
        self, symbol: str, since_ms: int
    ) -> tuple[MarginChange, ...] | NoMarginHistory:
        return await self._account.margin_changes(symbol, since_ms)

    async def server_time_ms(self) -> int:
        return await self._account.server_time_ms()

    def _own(self, nickname: str) -> str:
        self._nicknames[own(nickname)] = nickname
        return own(nickname)
