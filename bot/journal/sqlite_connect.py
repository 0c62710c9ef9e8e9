"""How a SQLite journal is opened: whose file it is, who may write to it, its revision."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from bot.journal.port import JournalDamaged, JournalUnavailable

APPLICATION_ID = 0x4C514744
"""How migration 0001 marks a journal's file: "LQGD"."""

REVISION = "0002"
"""The newest revision in `migrations/`; a file that has it is opened without loading Alembic."""

BUSY_TIMEOUT_S = 0.25
"""How long a statement waits for another process before the journal counts as unavailable."""

_UNMADE = "0000"


def to_write(path: Path, held: ExitStack) -> sa.Connection:
    """
    The file as a journal of the newest revision, made or migrated where needed.

    It is locked against other guards and released by closing `held`; the system unlocks the
    file of a process that died.
    """
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    held.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise JournalUnavailable(f"another guard holds the journal {path}") from error
    raw = _file(path, "rwc", held)
    revision = _revision(raw, path)
    if revision > REVISION:
        raise _not_as(path, f"revision {REVISION} or older", revision)
    # Only now: another program's database is left as it was.
    mode = raw.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise _not_as(path, "a file system that can do WAL", mode)
    raw.execute("PRAGMA wal_autocheckpoint = 0")  # the journal does it between two rows
    connection = held.enter_context(_engine(lambda: raw).connect())
    if revision < REVISION:
        _upgrade(connection)
    return connection


def to_read(path: Path, held: ExitStack) -> sa.Connection:
    """The existing file as a journal of the newest revision, without a lock."""
    os.stat(path)
    raw = _file(path, "ro", held)
    revision = _revision(raw, path)
    if revision != REVISION:
        raise _not_as(path, f"revision {REVISION}", revision)
    return held.enter_context(_engine(lambda: raw).connect())


def in_memory(held: ExitStack) -> sa.Connection:
    """A new journal that nobody else sees and that ends with `held`."""
    return held.enter_context(_memory_engine().connect())


def unmoved_check(path: Path) -> Callable[[], None]:
    """
    A check that `path` is still the file it is now.

    SQLite goes on writing to a file that was deleted or replaced: those rows would be lost.
    """
    opened = os.stat(path)

    def check() -> None:
        if not os.path.samestat(opened, os.stat(path)):
            raise _not_as(path, "the file that was opened", "another one")

    return check


@contextmanager
def store_errors(
    where: str, when_corrupt: type[JournalDamaged] | type[JournalUnavailable]
) -> Iterator[None]:
    """Turns what SQLite and the system raise into the journal's errors, in one line."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        code = cause.sqlite_errorcode if isinstance(cause, sqlite3.Error) else sqlite3.SQLITE_OK
        raised = when_corrupt if code & 0xFF == sqlite3.SQLITE_CORRUPT else JournalUnavailable
        raise raised(f"{where}: {str(cause).partition(chr(10))[0]}") from error


def _not_as(path: Path, expected: str, was: str) -> JournalUnavailable:
    return JournalUnavailable(f"journal {path}: expected {expected}, was {was}")


def _file(path: Path, mode: str, held: ExitStack) -> sqlite3.Connection:
    raw = _sqlite(f"{path.absolute().as_uri()}?mode={mode}")
    held.callback(raw.close)
    return raw


def _sqlite(database: str) -> sqlite3.Connection:
    raw = sqlite3.connect(database, BUSY_TIMEOUT_S, isolation_level=None, uri=True)
    raw.execute("PRAGMA foreign_keys = ON")
    raw.execute("PRAGMA synchronous = FULL")
    # A flipped bit must reach the hash check, not fail as text that is not UTF-8.
    raw.text_factory = lambda text: text.decode(errors="surrogateescape")
    return raw


def _revision(raw: sqlite3.Connection, path: Path) -> str:
    """The revision of a journal, `_UNMADE` for an empty file."""
    application_id = raw.execute("PRAGMA application_id").fetchone()[0]
    if application_id == APPLICATION_ID:
        return str(raw.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    tables = raw.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if (application_id, tables) != (0, 0):
        raise _not_as(path, "a journal of liqguard", "another program's database")
    return _UNMADE


def _engine(connect: Callable[[], sqlite3.Connection]) -> sa.Engine:
    """An engine whose transactions are SQLite's own, so that a migration is all or nothing."""
    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _upgrade(connection: sa.Connection) -> None:
    # Imported here because Alembic takes longer to load than all else at the start of a guard.
    from bot.journal.migrations import upgrade  # noqa: PLC0415

    with connection.begin():
        upgrade(connection)


@cache
def _memory_engine() -> sa.Engine:
    """An engine of which every connection is a fresh copy of one migrated database."""
    template = _sqlite(":memory:")
    migrated = _sqlite(":memory:")
    with _engine(lambda: migrated).connect() as connection:
        _upgrade(connection)
        migrated.backup(template)

    def copy() -> sqlite3.Connection:
        raw = _sqlite(":memory:")
        template.backup(raw)
        return raw

    return _engine(copy)
