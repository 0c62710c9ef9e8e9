"""
Where the box is kept: a file beside the journal, replaced as a whole.

It is saved after a notice was taken in and after one was delivered. So a killed process may say
something again, and never leaves something unsaid.
"""

import os
from pathlib import Path
from typing import TypeAlias

from bot.alerts.box import Box
from bot.journal.codec import from_json, to_json
from bot.journal.port import JournalDamaged


class BoxDamaged(Exception):
    """The file of undelivered alerts is not what was written. One line for the user."""


class NothingKept:
    """There is no file yet."""


Kept: TypeAlias = Box | NothingKept


class BoxFile:
    """The box of one account in the file `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Kept:
        """What was saved; raises `BoxDamaged`, and `OSError` where it cannot be read."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return NothingKept()
        except UnicodeDecodeError as e:
            raise BoxDamaged(f"{self._path}: expected UTF-8 text") from e
        try:
            return from_json(text, Box)
        except JournalDamaged as e:
            raise BoxDamaged(f"{self._path}: {e}") from e

    def save(self, box: Box) -> None:
        """Replace the file, durably; raises `OSError` and leaves the old one where it fails."""
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(to_json(box, Box))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
