"""
Where a paper exchange is kept, so that it survives the death of its process.

A save is complete or has not happened: the state goes to a file beside the real one, is forced
to disk, takes the real one's name, and the folder is forced to disk too.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from bot.exchange.paper.machine import PaperMachine

_FORMAT = "liqguard-paper-3"


class StoreDamaged(Exception):
    """A saved exchange does not read back. It is never taken for a fresh one."""


@dataclass(frozen=True, slots=True)
class NothingSaved:
    """There is no saved exchange."""


class Store(Protocol):
    """Keeps the newest state of an exchange."""

    def save(self, machine: PaperMachine) -> None:
        """Durable on return; raises `OSError` when the disk does not take it."""


class MemoryOnly:
    """Keeps nothing: for exchanges that die with their run."""

    def save(self, machine: PaperMachine) -> None:
        """Do nothing."""


class FileStore:
    """One file: a line with the format and the digest of the rest, then the state as JSON."""

    def __init__(self, path: Path) -> None:
        """Keep the exchange in `path`, in a folder that exists."""
        self._path = path
        self._beside = path.with_name(path.name + ".new")

    def load(self) -> PaperMachine | NothingSaved:
        """The saved exchange; raises `StoreDamaged` when there is a file but it is not whole."""
        try:
            saved = self._path.read_bytes()
        except FileNotFoundError:
            return NothingSaved()
        header, _, body = saved.partition(b"\n")
        expected = f"{_FORMAT} {sha256(body).hexdigest()}"
        if header != expected.encode():
            raise StoreDamaged(f"{self._path}:1: expected {expected!r}, was {header[:90]!r}")
        try:
            return PaperMachine.from_json(body.decode())
        except ValueError as e:
            raise StoreDamaged(f"{self._path}:2: {e}") from e

    def save(self, machine: PaperMachine) -> None:
        """Durable on return; raises `OSError` when the disk does not take it."""
        body = machine.to_json().encode()
        with self._beside.open("wb") as beside:
            beside.write(f"{_FORMAT} {sha256(body).hexdigest()}\n".encode() + body)
            beside.flush()
            os.fsync(beside.fileno())
        self._beside.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
