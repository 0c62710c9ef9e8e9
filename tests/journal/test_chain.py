"""Tampering: whatever was changed in the file, the first bad row is named."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.events import IntentState
from bot.journal.chain import EMPTY, extend, follow, row_hash, verify_chain
from bot.journal.port import Entry, Head, IntentMoved, JournalDamaged, Kind, NoIntent, Row
from bot.journal.sqlite import SqliteJournal

COUNT = 12
PAGE = 4096


def entry(number: int) -> Entry:
    body = f"<{number}>" + "." * 3500
    if number % 2:
        return Entry(Kind.DECISION, number, body, NoIntent())
    return Entry(Kind.INTENT, number, body, IntentMoved(f"i{number}", IntentState.PREPARED))


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    journal = SqliteJournal.open(path, "main")
    await journal.append([entry(number) for number in range(1, COUNT + 1)])
    await journal.close()
    return path


def tamper(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER entries_no_update")
        connection.execute("DROP TRIGGER entries_no_delete")
        for statement in statements:
            connection.execute(statement)


async def verify(path: Path) -> None:
    journal = SqliteJournal.read(path, "main")
    try:
        await verify_chain(journal)
    finally:
        await journal.close()


def update(change: str, sequence: int) -> str:
    return f"UPDATE entries SET {change} WHERE sequence = {sequence}"  # noqa: S608


def delete(sequence: int) -> str:
    return f"DELETE FROM entries WHERE sequence = {sequence}"  # noqa: S608


TAMPERED = {
    "body": ([update("body = replace(body, '<4>', '<5>')", 4)], 4),
    "body of the newest": ([update("body = ''", 12)], 12),
    "time": ([update("at_ms = at_ms + 1", 1)], 1),
    "kind": ([update("kind = 'stopped'", 5)], 5),
    "unknown kind": ([update("kind = 'gossip'", 5)], 5),
    "intent id": ([update("intent_id = 'i5'", 4)], 4),
    "intent state": ([update("intent_state = 'applied'", 4)], 4),
    "no intent": ([update("intent_id = NULL, intent_state = NULL", 4)], 4),
    "previous hash": ([update("previous_hash = hash", 7)], 7),
    "hash": ([update("hash = previous_hash", 7)], 7),
    "account": ([update("account = 'other'", 2)], 2),
    "missing first": ([delete(1)], 1),
    "missing": ([delete(8)], 8),
    "missing, then changed": ([delete(3), update("body = ''", 9)], 3),
    "changed, then missing": ([update("body = ''", 3), delete(9)], 3),
    "missing and closed up": ([delete(11), update("sequence = 11", 12)], 11),
    "swapped": (
        [update("sequence = 99", 6), update("sequence = 6", 4), update("sequence = 4", 99)],
        4,
    ),
}


@pytest.mark.parametrize(("statements", "bad"), TAMPERED.values(), ids=TAMPERED)
async def test_the_first_bad_row_is_named(path: Path, statements: list[str], bad: int) -> None:
    await verify(path)
    tamper(path, *statements)
    with pytest.raises(JournalDamaged, match=rf"^journal of main, row {bad}: "):
        await verify(path)


async def test_a_row_with_a_hash_made_for_it_breaks_the_link_of_the_next(path: Path) -> None:
    journal = SqliteJournal.read(path, "main")
    row = (await journal.rows(after=0))[4]
    await journal.close()
    forged = row_hash("main", row.sequence, replace(row.entry, body=""), row.previous_hash)
    tamper(path, update(f"body = '', hash = '{forged}'", 5))
    with pytest.raises(JournalDamaged, match=r"row 6: expected it after"):
        await verify(path)


async def test_a_guard_does_not_start_on_a_changed_newest_row(path: Path) -> None:
    tamper(path, update("body = ''", COUNT))
    with pytest.raises(JournalDamaged, match=f"row {COUNT}: expected the hash"):
        SqliteJournal.open(path, "main")


async def test_a_guard_does_not_recover_from_a_changed_row(path: Path) -> None:
    tamper(path, update("body = ''", 11))
    journal = SqliteJournal.open(path, "main")
    with pytest.raises(JournalDamaged, match="row 11: "):
        await journal.last(Kind.DECISION)
    with pytest.raises(JournalDamaged, match="row 11: "):
        await journal.rows(after=11)
    with pytest.raises(JournalDamaged, match="row 11: "):
        await journal.rows(after=9)
    newest = await journal.last(Kind.INTENT)
    assert isinstance(newest, Row)
    assert newest.sequence == COUNT
    await journal.close()


@pytest.mark.parametrize("altered", ["'floor: 1%'", "CAST(x'66ff' AS TEXT)"])
async def test_an_altered_text_is_not_given_out(path: Path, altered: str) -> None:
    journal = SqliteJournal.open(path, "main")
    digest = await journal.keep("floor: 2%")
    await journal.close()
    tamper(path, f"UPDATE texts SET body = {altered}")  # noqa: S608
    journal = SqliteJournal.read(path, "main")
    with pytest.raises(JournalDamaged, match=f"expected the text of {digest}, was altered"):
        await journal.kept(digest)
    await journal.close()


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"<7>") + 100] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("bit", range(8))
async def test_a_flipped_bit_is_found(path: Path, bit: int) -> None:
    flip(path, bit)
    with pytest.raises(JournalDamaged, match=r"^journal of main, row 7: expected the hash"):
        await verify(path)


def blank_page_of_row_7(path: Path) -> None:
    content = bytearray(path.read_bytes())
    start = content.index(b"<7>") // PAGE * PAGE
    content[start : start + PAGE] = bytes(PAGE)
    path.write_bytes(content)


async def test_an_unreadable_page_is_found(path: Path) -> None:
    blank_page_of_row_7(path)
    with pytest.raises(JournalDamaged, match="journal of main: database disk image is malformed"):
        await verify(path)


@pytest.mark.parametrize("opened", [SqliteJournal.open, SqliteJournal.read])
def test_a_truncated_file_is_found(path: Path, opened: Any) -> None:
    os.truncate(path, path.stat().st_size - PAGE)
    with pytest.raises(JournalDamaged, match=f"^journal {path}: database disk image is malformed"):
        opened(path, "main")


def test_a_gap_is_damage_even_where_the_links_fit() -> None:
    rows = list(extend("main", EMPTY, [entry(1), entry(2)]))
    forged = extend("main", Head(3, rows[-1].hash), [entry(4)])
    with pytest.raises(JournalDamaged, match="row 3: expected this row, was row 4"):
        list(follow("main", EMPTY, [*rows, *forged]))


ENTRIES = st.builds(
    Entry,
    st.sampled_from(Kind),
    st.integers(),
    st.text(max_size=5),
    st.just(NoIntent())
    | st.builds(IntentMoved, st.text(max_size=3), st.sampled_from(IntentState)),
)


@given(entries=st.lists(ENTRIES, min_size=3, max_size=8), data=st.data())
def test_any_change_within_a_chain_is_found(entries: list[Entry], data: st.DataObject) -> None:
    rows = list(extend("main", EMPTY, entries))
    assert list(follow("main", EMPTY, rows)) == rows
    index = data.draw(st.integers(0, len(rows) - 2))
    other = data.draw(ENTRIES.filter(lambda entry: entry != rows[index].entry))
    changed = replace(rows[index], entry=other)
    swapped = [*rows[:index], rows[index + 1], rows[index], *rows[index + 2 :]]
    for broken in (
        [*rows[:index], changed, *rows[index + 1 :]],
        [*rows[:index], *rows[index + 1 :]],
        swapped,
    ):
        with pytest.raises(JournalDamaged, match=f"row {index + 1}: "):
            list(follow("main", EMPTY, broken))
    with pytest.raises(JournalDamaged, match="row 1: "):
        list(follow("other", EMPTY, rows))


@given(entry=ENTRIES, text=st.text(min_size=1, max_size=3))
def test_text_that_moves_to_a_neighbouring_field_changes_the_hash(entry: Entry, text: str) -> None:
    assert row_hash("a" + text, 1, entry, "b") != row_hash("a", 1, entry, text + "b")
    longer = replace(entry, body=entry.body + text)
    assert row_hash("a", 1, longer, "b") != row_hash("a", 1, entry, text + "b")
