"""A device that fails to force what was written to disk, or to read it; and a whole old copy."""

import errno
import os
import shutil
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bot.journal.chain import verify_chain
from bot.journal.port import Entry, JournalDamaged, JournalUnavailable, Kind, NoIntent
from bot.journal.sqlite import SqliteJournal

ACCOUNT = "main"


def decision(body: str) -> Entry:
    return Entry(Kind.DECISION, 1, body, NoIntent())


def io_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


class Device:
    """What fails from now on: the next commits, before or after they are done, or any read."""

    commits_lost = 0
    commits_done = 0
    reads = False


class SickCursor(sqlite3.Cursor):
    """Reads nothing while the device cannot."""

    def execute(self, sql: str, *parameters: Any) -> "SickCursor":
        if Sick.device.reads and sql.startswith("SELECT"):
            raise io_error(sqlite3.SQLITE_IOERR_READ)
        super().execute(sql, *parameters)
        return self


class Sick(sqlite3.Connection):
    """
    As SQLite on a device that fails: a commit whose fsync fails is an error, done or not.

    One that is not done leaves its transaction open, as SQLite says that it may.
    """

    device: ClassVar[Device]
    changes_seen = 0

    def cursor(self, *arguments: Any) -> Any:
        return super().cursor(*arguments or (SickCursor,))

    def commit(self) -> None:
        writes, self.changes_seen = self.total_changes > self.changes_seen, self.total_changes
        if writes and self.device.commits_lost:
            self.device.commits_lost -= 1
            raise io_error(sqlite3.SQLITE_IOERR_FSYNC)
        super().commit()
        if writes and self.device.commits_done:
            self.device.commits_done -= 1
            raise io_error(sqlite3.SQLITE_IOERR_FSYNC)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    Sick.device = Device()
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Sick))
    return Sick.device


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def denied(*arguments: Any) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


async def bodies(path: Path) -> list[str]:
    journal = SqliteJournal.open(path, ACCOUNT)
    found = [row.entry.body for row in await journal.rows(0)]
    await journal.close()
    return found


# -- the rows ------------------------------------------------------------------------------------


async def test_a_row_whose_fsync_fails_is_not_acknowledged_and_the_next_follows_the_last(
    device: Device, path: Path
) -> None:
    journal = SqliteJournal.open(path, ACCOUNT)
    head = await journal.append([decision("1")])
    device.commits_lost = 2
    for _ in range(2):
        with pytest.raises(JournalUnavailable, match="disk I/O error"):
            await journal.append([decision("lost")])
    assert await verify_chain(journal) == head
    assert (await journal.append([decision("2")])).sequence == head.sequence + 1
    await journal.close()
    assert await bodies(path) == ["1", "2"]


async def test_a_row_that_is_there_though_its_fsync_failed_is_no_row_to_go_on_from(
    device: Device, path: Path
) -> None:
    """A log that was not forced may be gone tomorrow: only a fresh start can say."""
    journal = SqliteJournal.open(path, ACCOUNT)
    await journal.append([decision("1")])
    device.commits_done = 1
    with pytest.raises(JournalDamaged, match="disk I/O error, and yet row 2 is there"):
        await journal.append([decision("2")])


async def test_what_can_be_neither_forced_nor_read_is_unavailable_and_then_said(
    device: Device, path: Path
) -> None:
    journal = SqliteJournal.open(path, ACCOUNT)
    await journal.append([decision("1")])
    device.commits_done, device.reads = 1, True
    with pytest.raises(JournalUnavailable, match="disk I/O error"):
        await journal.append([decision("2")])
    with pytest.raises(JournalUnavailable, match="disk I/O error"):
        await journal.rows(0)
    device.reads = False
    with pytest.raises(JournalDamaged, match="and yet row 2 is there"):
        await journal.append([decision("2")])
    await journal.close()
    assert await bodies(path) == ["1", "2"]


async def test_a_journal_that_cannot_be_read_is_not_opened_nor_held(
    device: Device, path: Path
) -> None:
    journal = SqliteJournal.open(path, ACCOUNT)
    await journal.append([decision("1")])
    await journal.close()
    device.reads = True
    with pytest.raises(JournalUnavailable, match="disk I/O error"):
        SqliteJournal.open(path, ACCOUNT)
    device.reads = False
    assert await bodies(path) == ["1"]


# -- the note beside them ------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "pwrite", "pread"])
async def test_a_journal_whose_note_cannot_be_made_is_not_opened_nor_held(
    monkeypatch: pytest.MonkeyPatch, path: Path, call: str
) -> None:
    with monkeypatch.context() as sick:
        sick.setattr(os, call, denied)
        with pytest.raises(JournalUnavailable, match="Input/output error"):
            SqliteJournal.open(path, ACCOUNT)
    assert await bodies(path) == []


async def test_a_note_that_cannot_be_written_costs_no_row_and_claims_less(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    journal = SqliteJournal.open(path, ACCOUNT)
    await journal.append([decision("1")])
    note = path.with_name(f"{path.name}.{ACCOUNT}.head")
    before = note.read_bytes()
    with monkeypatch.context() as sick:
        sick.setattr(os, "pwrite", denied)
        assert (await journal.append([decision("2")])).sequence == 2
    assert note.read_bytes() == before
    assert (await journal.append([decision("3")])).sequence == 3
    assert note.read_bytes().startswith(b"00000000000000000003 ")
    await journal.close()
    assert await bodies(path) == ["1", "2", "3"]


# -- a whole old copy ----------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [False, True], ids=["killed", "closed"])
async def test_a_whole_old_copy_is_told_by_the_note_of_the_newer_one(
    tmp_path: Path, path: Path, closed: bool
) -> None:
    """Of the database and its log, as a backup puts them back; the note is of the newest row."""
    copy = tmp_path / "copy"
    copy.mkdir()
    journal = SqliteJournal.open(path, ACCOUNT)
    await journal.append([decision("1")])
    if closed:
        await journal.close()
    for each in tmp_path.glob("journal.db*"):
        if each.suffix not in (".lock", ".head"):
            shutil.copyfile(each, copy / each.name)
    if closed:
        journal = SqliteJournal.open(path, ACCOUNT)
    await journal.append([decision("2")])
    await journal.close()
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    for each in copy.iterdir():
        shutil.copyfile(each, tmp_path / each.name)
    with pytest.raises(
        JournalDamaged, match=r"expected row 2, .* the newest was 1: rows are lost"
    ):
        SqliteJournal.open(path, ACCOUNT)
    path.with_name(f"{path.name}.{ACCOUNT}.head").unlink()  # as the sentence says
    assert await bodies(path) == ["1"]
