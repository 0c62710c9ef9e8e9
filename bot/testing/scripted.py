"""
A scripted account: an exchange whose every answer the test has written down.

It implements `bot.exchange.ports.Account`. What is not set answers like an empty, healthy venue.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from bot.core.actions import Action
from bot.core.model import AccountSnapshot
from bot.exchange.ports import (
    Accepted,
    MarginChange,
    Notice,
    OrderAbsent,
    OrderFound,
    Reply,
    Unreachable,
)


@dataclass(slots=True)
class ScriptedAccount:
    """`sent` lists what was sent. `reads_fail` makes every read raise `Unreachable`."""

    read: AccountSnapshot
    replies: list[Reply] = field(default_factory=list)
    orders: dict[str, OrderFound] = field(default_factory=dict)
    margins: list[MarginChange] = field(default_factory=list)
    reads_fail: bool = False
    sent: list[tuple[Action, str]] = field(default_factory=list)

    async def snapshot(self) -> AccountSnapshot:
        """The snapshot that is set."""
        self._fail_if_told()
        return self.read

    async def stream(self, publish: Callable[[Notice], None]) -> None:
        """Nothing happens."""

    async def send(self, action: Action, client_id: str) -> Reply:
        """The next scripted reply, `Accepted` when none is left."""
        self.sent.append((action, client_id))
        return self.replies.pop(0) if self.replies else Accepted()

    async def order(self, symbol: str, client_id: str) -> OrderFound | OrderAbsent:
        """The order that is set under `client_id`."""
        self._fail_if_told()
        return self.orders.get(client_id, OrderAbsent())

    async def margin_changes(self, symbol: str, since_ms: int) -> tuple[MarginChange, ...]:
        """The changes that are set, from `since_ms` on."""
        self._fail_if_told()
        return tuple(change for change in self.margins if change.at_ms >= since_ms)

    async def server_time_ms(self) -> int:
        """The time of the snapshot."""
        return self.read.taken_at_ms

    def _fail_if_told(self) -> None:
        if self.reads_fail:
            raise Unreachable("scripted")
