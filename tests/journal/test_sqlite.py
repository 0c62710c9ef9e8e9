"""The SQLite journal: atomic, durable, one writer, and it knows its own files."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest

from bot.clock import Clock
from bot.core.events import IntentState
from bot.journal import sqlite as module
from bot.journal.chain import EMPTY, verify_chain
from bot.journal.port import (
    Entry,
    Head,
    IntentMoved,
    Journal,
    JournalDamaged,
    JournalUnavailable,
    Kind,
    NoIntent,
    NothingRecorded,
    Row,
)
from bot.journal.sqlite import SqliteJournal

ROOT = Path(__file__).parents[2]

WRITER = """
import asyncio, sys
from pathlib import Path
from bot.core.events import IntentState
from bot.journal.port import Entry, IntentMoved, Kind, NoIntent
from bot.journal.sqlite import SqliteJournal

async def write(path, rounds):
    journal = SqliteJournal.open(Path(path), "main")
    print("open", flush=True)
    for number in range(int(rounds)):
        moved = IntentMoved(f"i{number}", IntentState.PLANNED)
        head = await journal.append([
            Entry(Kind.DECISION, number, "decision" * 100, NoIntent()),
            Entry(Kind.INTENT, number, "{}", moved),
        ])
        print(head.sequence, head.hash, flush=True)

asyncio.run(write(*sys.argv[1:]))
"""


def decision(body: str, at_ms: int = 1) -> Entry:
    return Entry(Kind.DECISION, at_ms, body, NoIntent())


def moved(intent_id: str, state: IntentState) -> Entry:
    return Entry(Kind.INTENT, 2, "{}", IntentMoved(intent_id, state))


def start_writer(path: Path, rounds: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, path, str(rounds)],
        # Not the folder of the code: migrations are found wherever a guard is started.
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as anybody else sees it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@pytest.fixture(params=["file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "journal.db" if request.param == "file" else None


async def test_rows_come_back_as_they_were_appended(place: Path | None) -> None:
    journal: Journal = SqliteJournal.open(place, "main")
    entries = [
        decision('{"text":"\\u00e9"}', at_ms=-5),
        moved("a", IntentState.PLANNED),
        moved("b", IntentState.UNKNOWN),
        Entry(Kind.STOPPED, 2**62, "", NoIntent()),
    ]
    first = await journal.append(entries[:1])
    assert first.sequence == 1
    head = await journal.append(entries[1:])
    rows = await journal.rows(after=0)
    assert [row.entry for row in rows] == entries
    assert [row.sequence for row in rows] == [1, 2, 3, 4]
    assert head == Head(4, rows[-1].hash) == await verify_chain(journal)
    assert await journal.rows(after=2) == rows[2:]
    assert await journal.rows(after=4) == []
    assert await journal.append([]) == head
    await journal.close()


async def test_an_empty_journal_has_the_empty_head(place: Path | None) -> None:
    journal = SqliteJournal.open(place, "main")
    assert await verify_chain(journal) == await journal.append([]) == EMPTY
    assert await journal.last(Kind.DECISION) == NothingRecorded()


async def test_rows_after_one_that_never_was_are_damage() -> None:
    journal = SqliteJournal.open(None, "main")
    with pytest.raises(JournalDamaged, match="row 3: expected this row, was missing"):
        await journal.rows(after=3)


async def test_last_is_the_newest_of_its_kind(place: Path | None) -> None:
    journal = SqliteJournal.open(place, "main")
    await journal.append(
        [
            decision("1"),
            decision("2"),
            moved("a", IntentState.PREPARED),
            moved("a", IntentState.ACKED),
        ]
    )
    last = await journal.last(Kind.DECISION)
    assert isinstance(last, Row)
    assert (last.sequence, last.entry.body) == (2, "2")
    assert await journal.last(Kind.STARTED) == NothingRecorded()


async def test_a_text_is_kept_under_its_digest(place: Path | None) -> None:
    journal = SqliteJournal.open(place, "main")
    text = "name: größe\n"
    digest = await journal.keep(text)
    assert digest == sha256(text.encode()).hexdigest()
    assert await journal.keep(text) == digest
    assert await journal.kept(digest) == text
    with pytest.raises(JournalDamaged, match=f"expected the text of {EMPTY.hash}, was absent"):
        await journal.kept(EMPTY.hash)


async def test_journals_in_memory_are_strangers() -> None:
    one, other = SqliteJournal.open(None, "main"), SqliteJournal.open(None, "main")
    await one.append([decision("1")])
    digest = await one.keep("text")
    assert await other.rows(after=0) == []
    with pytest.raises(JournalDamaged):
        await other.kept(digest)


@pytest.mark.parametrize("state", IntentState)
async def test_every_intent_state_can_be_recorded(state: IntentState) -> None:
    journal = SqliteJournal.open(None, "main")
    await journal.append([moved("a", state)])
    (row,) = await journal.rows(after=0)
    assert row.entry.subject == IntentMoved("a", state)


@pytest.mark.parametrize(
    "bad",
    [
        moved("a", cast("Any", "bogus")),
        moved("a", cast("Any", None)),
        moved(cast("Any", None), IntentState.PREPARED),
        decision("1", at_ms=cast("Any", "soon")),
    ],
)
async def test_a_bad_entry_in_the_middle_writes_none(place: Path | None, bad: Entry) -> None:
    journal = SqliteJournal.open(place, "main")
    before = await journal.append([decision("1")])
    with pytest.raises(JournalUnavailable, match="journal of main: "):
        await journal.append([decision("2"), bad, decision("3")])
    assert await verify_chain(journal) == before
    after = await journal.append([decision("2")])
    assert (after.sequence, after) == (2, await verify_chain(journal))


async def test_a_full_store_takes_nothing_and_recovers() -> None:
    journal = SqliteJournal.open(None, "main")
    before = await journal.append([decision("1")])
    pages = journal._connection.exec_driver_sql("PRAGMA max_page_count = 1").scalar_one()
    journal._connection.rollback()
    for _ in range(2):
        with pytest.raises(JournalUnavailable, match="database or disk is full"):
            await journal.append([decision("2"), decision("x" * 100_000)])
    assert await verify_chain(journal) == before
    journal._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 100}")
    journal._connection.rollback()
    after = await journal.append([decision("2"), decision("x" * 100_000)])
    assert (after.sequence, after) == (3, await verify_chain(journal))


@pytest.mark.parametrize("change", ["UPDATE entries SET body = ''", "DELETE FROM entries"])
async def test_entries_are_only_ever_appended(tmp_path: Path, change: str) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal.open(path, "main")
    await journal.append([decision("1")])
    with raw(path) as other, pytest.raises(sqlite3.IntegrityError, match="only ever appended"):
        other.execute(change)


async def test_a_file_syncs_every_commit_to_its_log(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path / "journal.db", "main")
    pragmas = [
        journal._connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
        for name in ("journal_mode", "synchronous", "foreign_keys")
    ]
    assert pragmas == ["wal", 2, 1]


async def test_a_journal_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "journal #1?.db"
    journal = SqliteJournal.open(path, "main")
    await journal.append([decision("1")])
    await journal.close()
    await journal.close()
    with pytest.raises(JournalUnavailable):
        await journal.append([decision("2")])
    with pytest.raises(JournalUnavailable):
        await journal.rows(after=0)
    again = SqliteJournal.open(path, "main")
    head = await again.append([decision("2")])
    assert (head.sequence, head) == (2, await verify_chain(again))
    await again.close()


async def test_accounts_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for account in ("a", "b"):
        journal = SqliteJournal.open(path, account)
        await journal.append([decision(account)])
        await journal.close()
    heads = set()
    for account in ("a", "b"):
        reader = SqliteJournal.read(path, account)
        (row,) = await reader.rows(after=0)
        assert row.entry.body == account
        heads.add(await verify_chain(reader))
        await reader.close()
    assert len(heads) == 2


async def test_a_reader_follows_a_writer_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal.open(path, "main")
    reader = SqliteJournal.read(path, "main")
    assert await reader.rows(after=0) == []
    head = await journal.append([decision("1")])
    assert await verify_chain(reader) == head
    with pytest.raises(JournalUnavailable, match="readonly"):
        await reader.append([decision("2")])
    with pytest.raises(JournalUnavailable, match="readonly"):
        await reader.keep("text")
    assert await journal.append([decision("2")]) == await verify_chain(reader)


async def test_a_second_guard_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal.open(path, "main")
    with pytest.raises(JournalUnavailable, match=f"another guard holds the journal {path}"):
        SqliteJournal.open(path, "main")
    await journal.append([decision("1")])
    await journal.close()
    await SqliteJournal.open(path, "main").close()


async def test_a_writer_that_slipped_past_the_lock_stops_the_other(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal.open(path, "main")
    os.unlink(f"{path}.lock")
    intruder = SqliteJournal.open(path, "main")
    head = await intruder.append([decision("theirs")])
    for _ in range(2):
        with pytest.raises(JournalUnavailable, match="UNIQUE constraint failed"):
            await journal.append([decision("ours")])
    assert await verify_chain(journal) == head


def io_error() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


class Fails:
    """A connection whose transactions fail, before or after what they do is committed."""

    def __init__(self, plain: Any, *, after: bool) -> None:
        self._plain, self._after, self._left = plain, after, 1

    @contextmanager
    def begin(self) -> Iterator[None]:
        fails, self._left = self._left > 0, 0
        with self._plain.begin():
            yield
            if fails and not self._after:
                raise io_error()
        if fails:
            raise io_error()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)


@pytest.mark.parametrize(("after", "error"), [(False, JournalUnavailable), (True, JournalDamaged)])
async def test_rows_that_are_there_in_spite_of_a_failure_are_not_called_absent(
    place: Path | None, after: bool, error: type[Exception]
) -> None:
    journal = SqliteJournal.open(place, "main")
    await journal.append([decision("1")])
    journal._connection = cast(Any, Fails(journal._connection, after=after))
    with pytest.raises(error, match="disk I/O error"):
        await journal.append([decision("2"), decision("3")])
    assert len(await journal.rows(0)) == (3 if after else 1)


async def test_a_busy_store_is_unavailable_until_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal.open(path, "main")
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable, match="database is locked"):
            await journal.append([decision("1")])
        other.execute("ROLLBACK")
    assert (await journal.append([decision("1")])).sequence == 1


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_went_away_takes_no_more_rows(tmp_path: Path, replaced: bool) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal.open(path, "main")
    await journal.append([decision("1")])
    path.rename(tmp_path / "moved.db")
    if replaced:
        path.touch()
    with pytest.raises(JournalUnavailable, match=str(path)):
        await journal.append([decision("2")])
    with pytest.raises(JournalUnavailable, match=str(path)):
        await journal.keep("text")


@pytest.mark.parametrize("acknowledged", [0, 1, 5, 40])
async def test_kill_9_loses_nothing_that_was_acknowledged(
    tmp_path: Path, acknowledged: int
) -> None:
    path = tmp_path / "journal.db"
    with start_writer(path, rounds=100_000) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        with pytest.raises(JournalUnavailable, match="another guard holds"):
            SqliteJournal.open(path, "main")
        lines = [writer.stdout.readline() for _ in range(acknowledged)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGKILL
    journal = SqliteJournal.open(path, "main")
    rows = await journal.rows(after=0)
    assert len(rows) % 2 == 0
    assert len(rows) >= 2 * len(lines) >= 2 * acknowledged
    for line in lines:
        sequence, hash_ = line.split()
        assert rows[int(sequence) - 1].hash == hash_
    head = await journal.append([decision("after")])
    assert head == await verify_chain(journal)
    await journal.close()


def test_the_same_appends_give_the_same_head_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = set()
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        with start_writer(tmp_path / f"{seed}.db", rounds=3) as writer:
            assert writer.stdout is not None
            heads.add(writer.stdout.readlines()[-1])
    assert len(heads) == 1
    assert heads.pop().startswith("6 ")


@pytest.mark.parametrize("opened", [SqliteJournal.open, SqliteJournal.read])
def test_another_programs_files_are_refused_and_left_alone(tmp_path: Path, opened: Any) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, and longer than the header of one" * 40)
    database = tmp_path / "theirs.db"
    with raw(database) as theirs:
        theirs.execute("CREATE TABLE bookmarks (url TEXT)")
    before = [path.read_bytes() for path in (text, database)]
    with pytest.raises(JournalUnavailable, match=r"notes.txt: file is not a database"):
        opened(text, "main")
    with pytest.raises(JournalUnavailable, match="expected a journal of liqguard, was another"):
        opened(database, "main")
    assert [path.read_bytes() for path in (text, database)] == before


def test_a_missing_file_is_not_made_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with pytest.raises(JournalUnavailable, match="No such file or directory"):
        SqliteJournal.read(path, "main")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(JournalUnavailable, match="No such file or directory"):
        SqliteJournal.open(tmp_path / "no" / "journal.db", "main")
    with pytest.raises(JournalUnavailable, match="unable to open database file"):
        SqliteJournal.open(tmp_path, "main")


def test_importing_the_port_loads_no_database() -> None:
    program = "import sys, bot.journal.port; print('sqlalchemy' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


async def test_the_log_is_moved_into_the_file_after_a_row_and_never_before_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_BYTES_MAX", 60_000)
    monkeypatch.setattr(module, "TIDY_AFTER_S", 0.05)
    path = tmp_path / "journal.db"
    journal = SqliteJournal.open(path, "main")
    before = path.read_bytes()
    for number in range(5):
        await journal.append([decision(f"{number} {'x' * 50_000}")])
    assert path.read_bytes() == before
    await Clock(0).sleep_ms(200)
    assert len(path.read_bytes()) > len(before) + 5 * 50_000
    logged = Path(f"{path}-wal").stat().st_size
    await journal.append([decision("one more")])
    assert Path(f"{path}-wal").stat().st_size == logged  # it is written from its beginning again
    assert len(await journal.rows(0)) == 6


async def test_a_log_that_cannot_be_moved_takes_rows_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_BYTES_MAX", 0)
    monkeypatch.setattr(module, "TIDY_AFTER_S", 0.0)
    path = tmp_path / "journal.db"
    journal = SqliteJournal.open(path, "main")
    await journal.append([decision("1")])
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")
        await Clock(0).sleep_ms(20)
        other.execute("ROLLBACK")
    path.rename(path.with_suffix(".away"))
    await Clock(0).sleep_ms(20)
    path.with_suffix(".away").rename(path)
    await journal.append([decision("2")])
    await verify_chain(journal)


async def test_a_closed_journal_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_BYTES_MAX", 0)
    monkeypatch.setattr(module, "TIDY_AFTER_S", 0.0)
    journal = SqliteJournal.open(tmp_path / "journal.db", "main")
    await journal.append([decision("1")])
    await journal.close()
    await Clock(0).sleep_ms(20)
