"""
The journal: an append-only, hash-chained record of what the guard decided, meant and achieved.

Rows are keyed (account, sequence); each carries the hash of the row before it. A decision and
its intents are durable in one append before a byte is sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Protocol, TypeAlias

from bot.core.events import IntentState


class JournalUnavailable(Exception):
    """The store did not take a row, or cannot be read. Nothing may be spent."""


class JournalDamaged(Exception):
    """A row does not fit the hash of the row before it, or does not parse."""


class Kind(StrEnum):
    """What a row records."""

    STARTED = "started"
    DECISION = "decision"
    INTENT = "intent"
    POLICY = "policy"
    ALERT = "alert"
    """What the guard itself has to say; what a decision says is in its row."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class NoIntent:
    """The row speaks of no single intent."""


@dataclass(frozen=True, slots=True)
class IntentMoved:
    """The row records that an intent entered `state`."""

    intent_id: str
    state: IntentState


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A row to be written. `body` is canonical JSON, `at_ms` the guard's wall time.

    `subject` says which intent the row moved, for rows of kind INTENT.
    """

    kind: Kind
    at_ms: int
    body: str
    subject: NoIntent | IntentMoved


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it stands in the journal. `hash` covers everything else in it."""

    sequence: int
    entry: Entry
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """The newest row's sequence and hash; sequence 0 and 64 zeros before the first."""

    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class NothingRecorded:
    """There is no row of the kind asked for."""


Found: TypeAlias = Row | NothingRecorded


def digest_of(text: str) -> str:
    """What names a kept text: its SHA-256."""
    return sha256(text.encode()).hexdigest()


class Journal(Protocol):
    """One account's journal. Every method raises `JournalUnavailable` when the store fails."""

    async def append(self, entries: Sequence[Entry]) -> Head:
        """Write all rows or none; durable on return."""

    async def keep(self, text: str) -> str:
        """Store `text` under its `digest_of` and return that. Durable on return."""

    async def kept(self, digest: str) -> str:
        """The text kept under `digest`; raises `JournalDamaged` if absent or altered."""

    async def last(self, kind: Kind) -> Found:
        """The newest row of a kind."""

    async def rows(self, after: int) -> Sequence[Row]:
        """All rows with a sequence greater than `after`, in order."""

    async def close(self) -> None:
        """Release the store."""
