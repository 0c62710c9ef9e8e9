"""
The journal in SQLite: one file an account, or a private database in memory.

Statements run synchronously inside the coroutines, on one held connection: there is nothing to
await between a decision and its durability, and simulated time stays deterministic. A file is
in WAL mode with synchronous FULL: what `append` acknowledged survives a killed process and a
power cut. Rows are checked against the chain whenever they are read.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert

from bot.core.events import IntentState
from bot.journal.chain import EMPTY, checked, columns, damaged, extend, follow
from bot.journal.head_note import HeadNote
from bot.journal.port import (
    Entry,
    Found,
    Head,
    IntentMoved,
    JournalDamaged,
    JournalUnavailable,
    Kind,
    NoIntent,
    NothingRecorded,
    Row,
)
from bot.journal.sqlite_connect import (
    in_memory,
    store_errors,
    to_read,
    to_write,
    unmoved_check,
)

log = structlog.get_logger()

_ENTRIES = sa.table(
    "entries",
    sa.column("account", sa.Text),
    sa.column("sequence", sa.Integer),
    sa.column("at_ms", sa.Integer),
    sa.column("kind", sa.Text),
    sa.column("intent_id", sa.Text),
    sa.column("intent_state", sa.Text),
    sa.column("body", sa.Text),
    sa.column("previous_hash", sa.Text),
    sa.column("hash", sa.Text),
)
_TEXTS = sa.table("texts", sa.column("digest", sa.Text), sa.column("body", sa.Text))
_APPEND = str(sa.insert(_ENTRIES).compile(dialect=sqlite.dialect()))
"""Compiled once: what SQLAlchemy does for each statement takes as long as SQLite itself."""
_KEEP = insert(_TEXTS).on_conflict_do_nothing()


LOG_BYTES_MAX, TIDY_AFTER_S = 4_000_000, 0.1
"""
So much may be in the log ahead of the file; then it is moved there, a while after a row. SQLite
would do so before a request leaves: it takes ten times as long as the row itself.
"""

_PAGES_TOUCHED = 16_384
"""Written to the log at least, however short a row is: the pages of a table and its indices."""


class SqliteJournal:
    """A `Journal`: `open` it to write, `read` it to look on while a guard writes."""

    def __init__(
        self,
        account: str,
        head: Head,
        connection: sa.Connection,
        unmoved: Callable[[], None],
        note: Callable[[Head], None],
        held: ExitStack,
    ) -> None:
        """For `open` and `read`. Takes over `held`, which releases everything."""
        self._account = account
        self._head = head
        self._connection = connection
        self._unmoved = unmoved
        self._note = note
        self._held = held.pop_all()
        self._logged = 0
        self._tidying: asyncio.TimerHandle | None = None
        self._where = f"journal of {account}"

    @classmethod
    def open(cls, path: Path | None, account: str) -> Self:
        """
        The journal in `path` (None: a new one in memory), made or migrated where needed.

        Raises `JournalUnavailable` if another guard holds it, the file is something else, or
        the store fails; `JournalDamaged` if the newest row does not fit its hash, or the one that
        was acknowledged last is not there any more.
        """
        where = f"journal {path or 'in memory'}"
        with store_errors(where, JournalDamaged), ExitStack() as held:
            connection = in_memory(held) if path is None else to_write(path, held)
            if path is None:
                return cls(account, EMPTY, connection, _never_moved, _never_noted, held)
            note = HeadNote(path, account)
            held.callback(note.close)
            journal = cls(account, EMPTY, connection, unmoved_check(path), note.write, held)
            with journal._held:  # let go of everything if it is refused
                journal._head = journal._newest()
                journal._expect_noted(note)
                journal._held = journal._held.pop_all()
            return journal

    @classmethod
    def read(cls, path: Path, account: str) -> Self:
        """
        The journal in the existing file `path`, to look at only: no lock, no migration.

        Raises `JournalUnavailable` if the file is missing, something else or of another
        revision; `JournalDamaged` if SQLite cannot make sense of it.
        """
        with store_errors(f"journal {path}", JournalDamaged), ExitStack() as held:
            connection = to_read(path, held)
            # Its head is not asked for, so that a damaged newest row can be looked at as well;
            # nothing can be appended to a file that was opened to be read.
            return cls(account, EMPTY, connection, unmoved_check(path), _never_noted, held)

    async def append(self, entries: Sequence[Entry]) -> Head:
        """
        Write all rows or none, after the newest row this object knows of; durable on return.

        Raises `JournalUnavailable` if the store fails, is no longer where it was opened, or
        has been written to by another; `JournalDamaged` if it failed and has the rows all the
        same: how durable they are, and what follows from them, only a fresh start can say.
        """
        rows = list(extend(self._account, self._head, entries))
        if rows:
            try:
                with self._writing():
                    records = [_record(self._account, row) for row in rows]
                    self._connection.exec_driver_sql(_APPEND, records)
            except JournalUnavailable as e:
                if self._newest() == _head_of(rows[-1]):
                    raise JournalDamaged(f"{e}, and yet row {rows[-1].sequence} is there") from e
                raise
            self._head = _head_of(rows[-1])
            self._note_head()
            self._tidy_later(rows)
        return self._head

    async def keep(self, text: str) -> str:
        """Store `text` under its SHA-256 and return that digest. Durable on return."""
        digest = _digest(text)
        with self._writing():
            self._connection.execute(_KEEP, {"digest": digest, "body": text})
        return digest

    async def kept(self, digest: str) -> str:
        """The text kept under `digest`; raises `JournalDamaged` if absent or altered."""
        with self._reading():
            texts = self._connection.scalars(
                sa.select(_TEXTS.c.body).where(_TEXTS.c.digest == digest)
            ).all()
        if not texts or _digest(texts[0]) != digest:
            was = "altered" if texts else "absent"
            raise JournalDamaged(f"{self._where}: expected the text of {digest}, was {was}")
        return str(texts[0])

    async def last(self, kind: Kind) -> Found:
        """The newest row of a kind; raises `JournalDamaged` if it does not fit its hash."""
        with self._reading():
            query = _newest_first(self._account).where(_ENTRIES.c.kind == kind)
            return _found(self._connection, self._account, query)

    async def rows(self, after: int) -> Sequence[Row]:
        """
        All rows with a sequence greater than `after`, in order, as a chain without a gap.

        Raises `JournalDamaged` naming the first row that is missing, moved or changed, row
        `after` included unless it is 0; without a name where SQLite cannot read on at all.
        """
        with self._reading():
            head = EMPTY if after == 0 else self._head_at(after)
            query = _of(self._account).where(_ENTRIES.c.sequence > after)
            records = self._connection.execute(query.order_by(_ENTRIES.c.sequence))
            rows = (_row(self._account, record) for record in records)
            return list(follow(self._account, head, rows))

    async def close(self) -> None:
        """Release the store; a second time does nothing."""
        if self._tidying is not None:
            self._tidying.cancel()
        with store_errors(self._where, JournalUnavailable):
            self._held.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with store_errors(self._where, JournalUnavailable):
            self._unmoved()
            with self._connection.begin():
                yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with store_errors(self._where, JournalDamaged), self._connection.begin():
            yield

    def _tidy_later(self, rows: Sequence[Row]) -> None:
        self._logged += _PAGES_TOUCHED + sum(len(row.entry.body) for row in rows)
        if self._logged > LOG_BYTES_MAX and self._tidying is None:
            loop = asyncio.get_running_loop()
            self._tidying = loop.call_later(TIDY_AFTER_S, self._tidy)

    def _tidy(self) -> None:
        """Move the log into the file. Where that fails the rows are in the log, and durable."""
        self._logged, self._tidying = 0, None
        try:
            with store_errors(self._where, JournalUnavailable):
                self._connection.connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
        except JournalUnavailable as e:
            log.warning("journal.log_not_moved", reason=str(e))

    def _note_head(self) -> None:
        try:
            self._note(self._head)
        except OSError as e:
            # The rows are durable: an older note only claims less.
            log.warning("journal.head_not_noted", sequence=self._head.sequence, reason=str(e))

    def _expect_noted(self, note: HeadNote) -> None:
        noted = note.read()
        if noted.sequence > self._head.sequence:
            raise note.refuse(noted, f"the newest was {self._head.sequence}")
        if noted.sequence:
            with self._reading():
                was = self._head_at(noted.sequence)
            if was != noted:
                raise note.refuse(noted, f"was {was.hash}")
        self._note_head()

    def _newest(self) -> Head:
        with self._reading():
            newest = _found(self._connection, self._account, _newest_first(self._account))
        return _head_of(newest) if isinstance(newest, Row) else EMPTY

    def _head_at(self, sequence: int) -> Head:
        query = _of(self._account).where(_ENTRIES.c.sequence == sequence)
        row = _found(self._connection, self._account, query)
        if isinstance(row, NothingRecorded):
            raise damaged(self._account, sequence, "expected this row, was missing")
        return _head_of(row)


def _never_moved() -> None:
    """Memory stays where it is."""


def _never_noted(head: Head) -> None:
    """Nothing of it is acknowledged beyond the life of this process."""


def _of(account: str) -> sa.Select[Any]:
    return sa.select(_ENTRIES).where(_ENTRIES.c.account == account)


def _newest_first(account: str) -> sa.Select[Any]:
    return _of(account).order_by(_ENTRIES.c.sequence.desc())


def _record(account: str, row: Row) -> tuple[str | int | None, ...]:
    """In the order of the table's columns, as `columns` is."""
    return (*columns(account, row.sequence, row.entry, row.previous_hash), row.hash)


def _found(connection: sa.Connection, account: str, query: sa.Select[Any]) -> Found:
    """The first row of `query`, checked."""
    records = connection.execute(query.limit(1)).all()
    return checked(account, _row(account, records[0])) if records else NothingRecorded()


def _row(account: str, record: sa.Row[Any]) -> Row:
    """The row of a record; raises `JournalDamaged` if it does not parse."""
    try:
        subject = (
            NoIntent()
            if record.intent_id is None
            else IntentMoved(record.intent_id, IntentState(record.intent_state))
        )
        entry = Entry(Kind(record.kind), record.at_ms, record.body, subject)
    except ValueError as error:
        raise damaged(account, record.sequence, str(error)) from error
    return Row(record.sequence, entry, record.previous_hash, record.hash)


def _head_of(row: Row) -> Head:
    return Head(row.sequence, row.hash)


def _digest(text: str) -> str:
    # As the connection decodes: bytes that are no longer UTF-8 have a digest of their own.
    return sha256(text.encode(errors="surrogateescape")).hexdigest()
