"""
Which row a journal acknowledged last, noted beside it.

SQLite drops the rows of a write-ahead log that is cut, torn, flipped or gone without a word: to
it, that is what a crash leaves. A copy of an older file reads as if nothing had happened since.
The note makes either show. It is written after the row is durable and not forced to disk: after
a power cut it may name an older row, which claims less, and never a newer one.
"""

import os
from pathlib import Path

from bot.journal.chain import EMPTY
from bot.journal.port import Head, JournalDamaged

_LENGTH = 20 + 1 + 64 + 1


class HeadNote:
    """The note of one account's journal in a file."""

    def __init__(self, path: Path, account: str) -> None:
        """Beside the journal `path`, made if it is not there. Raises `OSError`."""
        self._path = path.with_name(f"{path.name}.{account}.head")
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        if not os.fstat(self._file).st_size:  # new, or its maker was killed before a word
            self.write(EMPTY)
            os.fsync(self._file)  # so that a power cut leaves no note of nothing but zeros

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def write(self, head: Head) -> None:
        """Note the newest row. Raises `OSError`."""
        os.pwrite(self._file, f"{head.sequence:020} {head.hash}\n".encode(), 0)

    def read(self) -> Head:
        """The row that was noted; raises `JournalDamaged` for what is no note."""
        noted = os.pread(self._file, _LENGTH + 1, 0).decode("ascii", errors="replace")
        sequence, _, hash_ = noted.removesuffix("\n").partition(" ")
        if len(noted) != _LENGTH or not (sequence.isdecimal() and hash_.isalnum()):
            raise JournalDamaged(f"{self._path}: expected the newest row's hash, was {noted!r}")
        return Head(int(sequence), hash_)

    def refuse(self, noted: Head, was: str) -> JournalDamaged:
        """The error for a journal that does not have the row that was noted."""
        return JournalDamaged(
            f"{self._path}: expected row {noted.sequence}, as it was acknowledged, {was}: rows "
            "are lost. Put back all files of one moment; to go on without these rows, delete "
            "this file: what they spent is then forgotten"
        )
