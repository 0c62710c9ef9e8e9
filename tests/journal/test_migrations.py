"""The schema: one history, applied whole or not at all."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from bot.journal.migrations import upgrade
from bot.journal.port import JournalUnavailable
from bot.journal.sqlite import SqliteJournal
from bot.journal.sqlite_connect import APPLICATION_ID, REVISION, _engine, _sqlite


def upgrade_to(connection: sa.Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "bot.journal:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def set_revision(path: Path, revision: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def test_the_newest_revision_is_the_one_that_the_journal_expects() -> None:
    config = Config()
    config.set_main_option("script_location", "bot.journal:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


async def test_a_new_file_has_the_schema_of_the_newest_revision(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await SqliteJournal.open(path, "main").close()
    with closing(sqlite3.connect(path)) as connection:
        columns = connection.execute("PRAGMA table_xinfo(entries)").fetchall()
        keys = connection.execute("PRAGMA index_info(sqlite_autoindex_entries_1)").fetchall()
        by_intent = connection.execute("PRAGMA index_info(entries_by_intent)").fetchall()
        strict = dict(connection.execute("SELECT name, strict FROM pragma_table_list"))
        mark = connection.execute("PRAGMA application_id").fetchone()
    assert [(name, type_, not_null) for _, name, type_, not_null, *_ in columns] == [
        ("account", "TEXT", 1),
        ("sequence", "INTEGER", 1),
        ("at_ms", "INTEGER", 1),
        ("kind", "TEXT", 1),
        ("intent_id", "TEXT", 0),
        ("intent_state", "TEXT", 0),
        ("body", "TEXT", 1),
        ("previous_hash", "TEXT", 1),
        ("hash", "TEXT", 1),
    ]
    assert [name for *_, name in keys] == ["account", "sequence"]
    assert [name for *_, name in by_intent] == ["account", "intent_id"]
    assert strict["entries"] == strict["texts"] == 1
    assert mark == (APPLICATION_ID,)


def test_an_interrupted_migration_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    engine = _engine(lambda: _sqlite(path.as_uri()))
    with engine.connect() as connection:
        with connection.begin() as transaction:
            upgrade(connection)
            assert sa.inspect(connection).has_table("entries")
            transaction.rollback()
        assert sa.inspect(connection).get_table_names() == []
    SqliteJournal.open(path, "main")


async def test_a_journal_of_another_revision_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await SqliteJournal.open(path, "main").close()
    set_revision(path, "0000")
    with pytest.raises(JournalUnavailable, match=f"expected revision {REVISION}, was 0000"):
        SqliteJournal.read(path, "main")
    set_revision(path, "9999")
    with pytest.raises(JournalUnavailable, match=f"expected revision {REVISION}, was 9999"):
        SqliteJournal.read(path, "main")
    with pytest.raises(JournalUnavailable, match=f"{REVISION} or older, was 9999"):
        SqliteJournal.open(path, "main")


def test_a_journal_of_the_first_revision_keeps_every_row(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    engine = _engine(lambda: _sqlite(path.as_uri()))
    with engine.connect() as connection, connection.begin():
        upgrade_to(connection, "0001")
        connection.exec_driver_sql(
            "INSERT INTO entries VALUES ('main', 1, 5, 'started', NULL, NULL, '{}', '', 'h'), "
            "('main', 2, 6, 'intent', 'i', 'rejected', '{}', 'h', 'k')"
        )
        before = connection.exec_driver_sql("SELECT * FROM entries").fetchall()
    with engine.connect() as connection, connection.begin():
        upgrade(connection)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT * FROM entries").fetchall() == before
        for change in ("DELETE FROM entries", "UPDATE entries SET body = ''"):
            with pytest.raises(sqlite3.IntegrityError, match="only ever appended"):
                raw.execute(change)
        with pytest.raises(sqlite3.IntegrityError, match="intent_state_known"):
            raw.execute(
                "INSERT INTO entries VALUES ('main', 3, 6, 'intent', 'i', 'odd', '{}', 'k', 'l')"
            )
