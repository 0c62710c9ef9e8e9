"""
Guards on one machine that leave it by the same address, and what one of them knows for all.

A venue counts requests by address, and bans an address: two guards within half of what it allows
would be at all of it, and one that does not hear of another's ban makes it longer. Each has a file
of its own, which it alone writes and holds a lock on that dies with it, so that nobody ever waits
for anybody. What cannot be read is ignored, and said: a guard then knows what it knows itself.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import structlog

from bot.exchange.live.lanes import Quiet

LOOK_MS = 250
"""How soon one heeds what another was told."""

QUIET_MAX_MS = 3 * 24 * 3_600_000
"""The longest ban that a venue speaks of (Binance: three days). Whoever says more is mistaken."""

FORGOTTEN_S = 60
"""So old are files of the dead that are swept up, once nothing in them counts any more."""

_ENDING = ".lane"
_LENGTH_MAX = 200

log = structlog.get_logger()


class Neighbours:
    """Our place among them: in `quiet` is what they were told, and how many we are."""

    def __init__(self, folder: Path, quiet: Quiet, now_ms: Callable[[], int]) -> None:
        """Take a place in `folder`; without one, say so and stay alone."""
        self._folder = folder
        self._quiet = quiet
        self._now_ms = now_ms
        self._said: set[str] = set()
        self._told = (0, 0)
        self._place = -1
        self._name = ""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._place, made = tempfile.mkstemp(dir=folder, suffix=".new")
            fcntl.flock(self._place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._name = Path(made).with_suffix(_ENDING).name
            Path(made).rename(folder / self._name)  # seen by others once it is locked
        except OSError as e:
            self._say(str(folder), e)
        self.look()

    def look(self) -> None:
        """Tell what we know, learn what others do, and count those that live."""
        try:
            self._tell()
            others = [name for name in os.listdir(self._folder) if name.endswith(_ENDING)]
        except OSError as e:
            self._say(str(self._folder), e)
            self._quiet.guards = 1
            return
        alive = 0
        for name in others:
            if name != self._name:
                try:
                    alive += self._learn(self._folder / name)
                except FileNotFoundError:
                    continue  # swept up meanwhile
                except (OSError, ValueError) as e:
                    self._say(name, e)
        if alive + 1 != self._quiet.guards:
            log.info("address.shared", guards=alive + 1)
        self._quiet.guards = alive + 1

    def leave(self) -> None:
        """Give the place up; what was told there stays for those that come."""
        if self._place >= 0:
            with suppress(OSError):
                self._tell()
            os.close(self._place)
            self._place = -1

    def _tell(self) -> None:
        known = (self._quiet.reads_until_ms, self._quiet.all_until_ms)
        if known != self._told and self._place >= 0:
            os.pwrite(self._place, written(*known), 0)
            self._told = known

    def _learn(self, path: Path) -> bool:
        """Heed what one was told; whether it lives."""
        place = os.open(path, os.O_RDONLY)
        try:
            lives = _is_locked(place)
            text = os.pread(place, _LENGTH_MAX, 0)
            age_s = self._now_ms() / 1000 - os.fstat(place).st_mtime
        finally:
            os.close(place)
        try:
            reads_until_ms, all_until_ms = self._read(text) if text else (0, 0)
        except ValueError as e:
            self._say(path.name, e)
            reads_until_ms = all_until_ms = 0
        self._quiet.heed(reads_until_ms, all_until_ms)
        over = max(reads_until_ms, all_until_ms) < self._now_ms()
        if not lives and over and age_s > FORGOTTEN_S:
            path.unlink()
        return lives

    def _read(self, text: bytes) -> tuple[int, int]:
        """Raises `ValueError` for what nobody has written, or nobody can have been told."""
        reads_until_ms, all_until_ms, _ = (int(each) for each in text.split(b" "))
        if text != written(reads_until_ms, all_until_ms):
            raise ValueError(f"expected a line as it was written, was {text!r}")
        if max(reads_until_ms, all_until_ms) > self._now_ms() + QUIET_MAX_MS:
            raise ValueError(f"expected quiet of days at most, was until {text!r}")
        return reads_until_ms, all_until_ms

    def _say(self, name: str, problem: Exception) -> None:
        """Once for each name: what another was told is not known here."""
        if name not in self._said:
            self._said.add(name)
            log.error("neighbours.unreadable", name=name, reason=str(problem))


def written(reads_until_ms: int, all_until_ms: int) -> bytes:
    """What one was told: a line of one length for all, whose sum shows where it is half one."""
    line = f"{reads_until_ms:020d} {all_until_ms:020d}"
    return f"{line} {crc32(line.encode()):010d}".encode()


def _is_locked(place: int) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
