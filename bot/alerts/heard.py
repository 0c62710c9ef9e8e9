"""A journal that says when it was written to, so that nobody has to look again and again."""

import asyncio
from collections.abc import Sequence

from bot.journal.port import Entry, Found, Head, Journal, Kind, Row


class HeardJournal:
    """The journal `inner`; sets `written` after every attempt to append, a vain one as well."""

    def __init__(self, inner: Journal, written: asyncio.Event) -> None:
        self._inner = inner
        self._written = written

    async def append(self, entries: Sequence[Entry]) -> Head:
        """Write all rows or none; durable on return."""
        try:
            return await self._inner.append(entries)
        finally:
            self._written.set()

    async def keep(self, text: str) -> str:
        """Store `text` under its digest and return that."""
        return await self._inner.keep(text)

    async def kept(self, digest: str) -> str:
        """The text kept under `digest`."""
        return await self._inner.kept(digest)

    async def last(self, kind: Kind) -> Found:
        """The newest row of a kind."""
        return await self._inner.last(kind)

    async def rows(self, after: int) -> Sequence[Row]:
        """All rows with a sequence greater than `after`, in order."""
        return await self._inner.rows(after)

    async def close(self) -> None:
        """Release the store."""
        await self._inner.close()
