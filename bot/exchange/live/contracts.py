"""
What a venue lists, once for its market and its accounts: one that learns it anew, all know it.

A venue may cut a contract in ten overnight, while a position in it is open: what is counted in
contracts is ten times as many then, and worth the same.
"""

from bot.clock import Clock
from bot.exchange.live.asking import read
from bot.exchange.live.calls import Unreadable
from bot.exchange.live.dialect import Listed, MarketDialect
from bot.exchange.live.lanes import Asks
from bot.exchange.ports import Unreachable

LISTING_MS = 60_000
"""How often the contracts may be asked for on a suspicion, which is a heavy read."""


class Contracts:
    """The newest listing that was read, and those that are gone from it."""

    def __init__(self, dialect: MarketDialect, listed: Listed, reads: Asks, clock: Clock) -> None:
        """Begin with `listed`, which has just been read."""
        self._dialect = dialect
        self._reads = reads
        self._clock = clock
        self._read_at_ms = clock.now_ms()
        self.listed = listed

    async def renew(self) -> Listed:
        """The contracts as they are listed now; raises `Unreachable`."""
        self._read_at_ms = self._clock.now_ms()
        newest = await listing(self._dialect, self._reads)
        self.listed = self.listed.renewed_by(newest)
        return newest

    async def renew_if_due(self) -> bool:
        """Ask for them, as one may be new, unless it was just done: whether it was."""
        if self._clock.now_ms() - self._read_at_ms <= LISTING_MS:
            return False
        await self.renew()
        return True


async def listing(dialect: MarketDialect, reads: Asks) -> Listed:
    """What the venue lists now; raises `Unreachable`."""
    try:
        return dialect.listing_of(await read(reads, dialect.listing_call()))
    except Unreadable as e:
        raise Unreachable(str(e)) from e
