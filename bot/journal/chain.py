"""
The hash chain of a journal: how a row gets its hash, and how rows are checked.

A chain shows every change within it. It cannot show that its newest rows were cut off: for that
compare the `Head` with one that was noted elsewhere (a log line, an alert).
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from json import JSONEncoder
from typing import assert_never

from bot.journal.port import Entry, Head, IntentMoved, Journal, JournalDamaged, NoIntent, Row

EMPTY = Head(0, "0" * 64)
"""The head of a journal without rows."""

_ENCODER = JSONEncoder(separators=(",", ":"))


def columns(
    account: str, sequence: int, entry: Entry, previous_hash: str
) -> tuple[str | int | None, ...]:
    """What a row's hash covers, in the order of the table's columns."""
    match entry.subject:
        case NoIntent():
            intent: tuple[str | None, str | None] = (None, None)
        case IntentMoved(intent_id, state):
            intent = (intent_id, state)
        case never:
            assert_never(never)
    return (account, sequence, entry.at_ms, entry.kind, *intent, entry.body, previous_hash)


def row_hash(account: str, sequence: int, entry: Entry, previous_hash: str) -> str:
    """SHA-256 of the columns as a JSON array: quoting keeps neighbouring ones apart."""
    text = _ENCODER.encode(columns(account, sequence, entry, previous_hash))
    return sha256(text.encode("ascii")).hexdigest()


def extend(account: str, head: Head, entries: Iterable[Entry]) -> Iterator[Row]:
    """The rows that put `entries` after `head`."""
    previous_hash = head.hash
    for sequence, entry in enumerate(entries, head.sequence + 1):
        hash_ = row_hash(account, sequence, entry, previous_hash)
        yield Row(sequence, entry, previous_hash, hash_)
        previous_hash = hash_


def checked(account: str, row: Row) -> Row:
    """`row`, if its hash is its own; raises `JournalDamaged`."""
    expected = row_hash(account, row.sequence, row.entry, row.previous_hash)
    if row.hash != expected:
        raise damaged(account, row.sequence, f"expected the hash {expected}, was {row.hash}")
    return row


def follow(account: str, head: Head, rows: Iterable[Row]) -> Iterator[Row]:
    """`rows`, each checked to come right after the one before it, the first one after `head`."""
    for row in rows:
        expected = head.sequence + 1
        if row.sequence != expected:
            raise damaged(account, expected, f"expected this row, was row {row.sequence}")
        if row.previous_hash != head.hash:
            raise damaged(
                account, expected, f"expected it after {head.hash}, was {row.previous_hash}"
            )
        yield checked(account, row)
        head = Head(row.sequence, row.hash)


def damaged(account: str, sequence: int, why: str) -> JournalDamaged:
    """The error that names the first bad row."""
    return JournalDamaged(f"journal of {account}, row {sequence}: {why}")


async def verify_chain(journal: Journal) -> Head:
    """
    Follow the chain from its first row to its newest and return the newest.

    Raises `JournalDamaged` naming the first row that is missing, moved or changed: every
    engine reads its rows through `follow`.
    """
    rows = await journal.rows(after=0)
    return Head(rows[-1].sequence, rows[-1].hash) if rows else EMPTY
