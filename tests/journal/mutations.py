"""
A damaged journal is recovered or refused: `python tests/journal/mutations.py --count N --first n`.

A journal with real rows is stopped at some moment, as by kill -9; then its files are damaged as
disks, copies and people do it; then it is opened as a guard opens it. Or it is damaged under a
guard that goes on writing and then dies. Either every row that was acknowledged is still there,
or the journal is refused by one of its two errors. Never anything else: a row that is gone is a
budget forgotten.

The files are kept in memory where the system has a place for that (`/dev/shm`), so that a mutation
costs what SQLite costs and not what the disk does.
"""

import argparse
import asyncio
import resource
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias, cast

sys.path.insert(0, str(Path(__file__).parents[2]))

from bot.core.events import IntentState
from bot.journal.port import (
    Entry,
    Head,
    IntentMoved,
    JournalDamaged,
    JournalUnavailable,
    Kind,
    NoIntent,
    Row,
)
from bot.journal.sqlite import SqliteJournal

ACCOUNT = "main"
MOMENTS = 24
"""So many times the growing journal is copied, the newest rows still in its log."""

PAGE = 4096
SECTOR = 512
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
FILES = ("journal.db", "journal.db-wal", "journal.db-shm", f"journal.db.{ACCOUNT}.head")


@dataclass(frozen=True, slots=True)
class Moment:
    """The files of a journal as a kill leaves them, and the rows that it had acknowledged."""

    folder: Path
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """Every acknowledged row is there."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It is said that something is wrong, and what."""

    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The journal opens, and something else is in it than was acknowledged."""

    how: str


Fate: TypeAlias = Kept | Refused | Lost
FATES = [each.__name__.lower() for each in (Kept, Refused, Lost)]


def make_moments(folder: Path) -> list[Moment]:
    """A journal of decisions and intents, copied again and again while it grows."""
    return asyncio.run(_grow(folder))


async def _grow(folder: Path) -> list[Moment]:
    live = folder / "live"
    live.mkdir()
    journal = SqliteJournal.open(live / FILES[0], ACCOUNT)
    random = Random(7)
    moments = []
    for number in range(MOMENTS):
        if number % 6 == 0:
            await journal.keep(f"rules {number}" * 300)
        for each in range(random.randint(1, 3)):
            await journal.append(list(_entries(random, 10 * number + each)))
        copy = folder / f"moment-{number}"
        shutil.copytree(live, copy, ignore=shutil.ignore_patterns("*.lock"))
        moments.append(Moment(copy, tuple(await journal.rows(0))))
    await journal.close()
    return moments


def _entries(random: Random, number: int) -> Iterator[Entry]:
    body = '{"decision":"' + random.randbytes(random.randint(500, 6_000)).hex() + '"}'
    yield Entry(Kind.DECISION, number, body, NoIntent())
    moved = IntentMoved(f"i{number}", IntentState.PREPARED)
    yield Entry(Kind.INTENT, number, '{"intent":"' + "x" * 200 + '"}', moved)


# -- damage --------------------------------------------------------------------------------------


def flip_bits(random: Random, folder: Path, older: Sequence[Moment]) -> None:
    """Some bits of one file are others."""
    path = _a_file(random, folder)
    data = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 1, 8, 200))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def cut_off(random: Random, folder: Path, older: Sequence[Moment]) -> None:
    """A file ends too early."""
    path = _a_file(random, folder)
    size = path.stat().st_size
    left = random.choice((random.randrange(size), size // PAGE * PAGE - PAGE, 0))
    with path.open("r+b") as file:
        file.truncate(max(left, 0))


def tear(random: Random, folder: Path, older: Sequence[Moment]) -> None:
    """A write that was under way has reached some sectors: others hold zeros, or what was."""
    path = _a_file(random, folder)
    data = bytearray(path.read_bytes())
    earlier = random.choice(older).folder / path.name
    before = earlier.read_bytes() if earlier.exists() and random.random() < 0.5 else b""
    for _ in range(random.choice((1, 1, 4))):
        unit = random.choice((SECTOR, PAGE))
        at = random.randrange(len(data)) // unit * unit
        old = before[at : at + unit].ljust(unit, b"\0")[: len(data) - at]
        data[at : at + unit] = old[: len(data[at : at + unit])]
    path.write_bytes(data)


def take_away(random: Random, folder: Path, older: Sequence[Moment]) -> None:
    """One of the files is not there, as after a copy of only some of them."""
    _a_file(random, folder, but=FILES[3]).unlink()


def put_back(random: Random, folder: Path, older: Sequence[Moment]) -> None:
    """
    Some of the files come from an older copy.

    All of them, with the note beside, would be that older journal: nothing here could tell.
    """
    copy = random.choice(older).folder
    for name in random.choice((FILES[:1], FILES[1:2], FILES[:2], FILES[:3])):
        if (copy / name).exists():
            shutil.copyfile(copy / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def join(random: Random, folder: Path, older: Sequence[Moment]) -> None:
    """Something is written behind the end of a file."""
    with _a_file(random, folder).open("ab") as file:
        file.write(random.randbytes(random.choice((1, SECTOR, PAGE, 3 * PAGE))))


Damage: TypeAlias = Callable[[Random, Path, Sequence[Moment]], None]
DAMAGES: tuple[Damage, ...] = (flip_bits, cut_off, tear, take_away, put_back, join)


def _a_file(random: Random, folder: Path, but: str = "") -> Path:
    # Without the index of a log that is in use: whoever reads it beyond its end is killed by the
    # system, and that is a death as any other.
    is_alive = (folder / f"{FILES[0]}.lock").exists()
    spared = {but, FILES[2] if is_alive else ""}
    there = [folder / each for each in FILES if each not in spared and (folder / each).exists()]
    return random.choice([each for each in there if each.stat().st_size])


# -- judgement -----------------------------------------------------------------------------------


def mutate(seed: int, moments: Sequence[Moment], scratch: Path) -> tuple[str, Fate]:
    """Damage a copy of one moment, and open it as a guard does; what was done, and its fate."""
    random = Random(f"journal {seed}")
    moment = random.choice(moments)
    folder = scratch / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(moment.folder, folder)
    damage = random.choice(DAMAGES)
    damage(random, folder, [each for each in moments if len(each.rows) <= len(moment.rows)])
    return damage.__name__, asyncio.run(_fate(folder, [row.entry for row in moment.rows]))


async def _fate(folder: Path, told: Sequence[Entry]) -> Fate:
    """What becomes of the rows `told`, which were acknowledged, when the journal is opened."""
    try:
        journal = SqliteJournal.open(folder / FILES[0], ACCOUNT)
    except (JournalDamaged, JournalUnavailable) as e:
        return Refused(str(e))
    try:
        last = [await journal.last(kind) for kind in (Kind.DECISION, Kind.INTENT)]
        rows = list(await journal.rows(0))
        if [row.entry for row in rows] != told or last != rows[-2:]:
            return Lost(f"{len(told)} rows were acknowledged, {len(rows)} are there")
        await journal.append([Entry(Kind.STARTED, 0, "{}", NoIntent())])
        if list(await journal.rows(0))[:-1] != rows:
            return Lost("a new row has changed older ones")
    except (JournalDamaged, JournalUnavailable) as e:
        return Refused(str(e))
    finally:
        await journal.close()
    return Kept()


def strike(seed: int, moments: Sequence[Moment], scratch: Path) -> tuple[str, Fate]:
    """Damage the files under a guard that writes on, if it can, and is killed after that."""
    random = Random(f"alive {seed}")
    moment = random.choice(moments)
    folder = scratch / "alive"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(moment.folder, folder)
    damage = random.choice((flip_bits, cut_off, tear, take_away, join))
    older = [each for each in moments if len(each.rows) <= len(moment.rows)]
    fate = asyncio.run(_struck(random, folder, moment, lambda: damage(random, folder, older)))
    return f"alive_{damage.__name__}", fate


async def _struck(
    random: Random, folder: Path, moment: Moment, damage: Callable[[], None]
) -> Fate:
    journal = SqliteJournal.open(folder / FILES[0], ACCOUNT)
    told: list[Entry] = []
    blow = random.randrange(3)
    for number in range(4):
        if number == blow:
            damage()
        entries = list(_entries(random, 1_000 + number))
        try:
            await journal.append(entries)
        except JournalUnavailable:
            continue  # a guard goes on without spending, and tries again
        except JournalDamaged:
            break  # a guard ends
        told += entries
    killed = folder.with_name("killed")
    shutil.rmtree(killed, ignore_errors=True)
    shutil.copytree(folder, killed, ignore=shutil.ignore_patterns("*.lock"))
    with suppress(JournalDamaged, JournalUnavailable):
        await journal.close()
    return await _fate(killed, [*(row.entry for row in moment.rows), *told])


# -- a disk that is full or fails ----------------------------------------------------------------


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Writes beyond it fail in the system, which SQLite calls an I/O error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def run_out(seed: int, moments: Sequence[Moment], scratch: Path) -> tuple[str, Fate]:
    """Let the disk take no more at some byte of an append, and then take it again."""
    random = Random(f"disk {seed}")
    moment = random.choice(moments)
    folder = scratch / "full"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(moment.folder, folder)
    run = random.choice((_out_of_pages, _out_of_bytes))
    return run.__name__.strip("_"), asyncio.run(run(random, folder, moment))


async def _out_of_bytes(random: Random, folder: Path, moment: Moment) -> Fate:
    journal = SqliteJournal.open(folder / FILES[0], ACCOUNT)
    size = (folder / FILES[1]).stat().st_size if (folder / FILES[1]).exists() else 0
    with no_file_larger_than(size + random.randrange(20_000)):
        told, head = await _append_until_it_fails(random, journal)
    return await _afterwards(journal, folder, moment, told, head)


async def _out_of_pages(random: Random, folder: Path, moment: Moment) -> Fate:
    journal = SqliteJournal.open(folder / FILES[0], ACCOUNT)
    sqlite = cast(sqlite3.Connection, journal._connection.connection.driver_connection)
    (pages,) = sqlite.execute("PRAGMA page_count").fetchone()
    sqlite.execute(f"PRAGMA max_page_count = {pages + random.randrange(6)}")
    told, head = await _append_until_it_fails(random, journal)
    sqlite.execute("PRAGMA max_page_count = 1000000")
    return await _afterwards(journal, folder, moment, told, head)


async def _append_until_it_fails(
    random: Random, journal: SqliteJournal
) -> tuple[list[Entry], Head]:
    told: list[Entry] = []
    head = journal._head
    for number in range(60):
        entries = list(_entries(random, 1_000 + number))
        try:
            head = await journal.append(entries)
        except JournalUnavailable:
            return told, head
        told += entries
    raise AssertionError("the disk never became full")


async def _afterwards(
    journal: SqliteJournal, folder: Path, moment: Moment, told: list[Entry], head: Head
) -> Fate:
    """What was acknowledged is there, the rest is not, and the next row is taken."""
    next_one = Entry(Kind.STARTED, 0, "{}", NoIntent())
    if (await journal.append([next_one])).sequence != head.sequence + 1:
        return Lost("the next row does not follow the last one that was acknowledged")
    await journal.close()
    again = SqliteJournal.open(folder / FILES[0], ACCOUNT)
    entries = [row.entry for row in await again.rows(0)]
    await again.close()
    expected = [*(row.entry for row in moment.rows), *told, next_one]
    return Kept() if entries == expected else Lost(f"{len(expected)} rows, {len(entries)} left")


def main() -> int:
    """Damage it so many times; 1 if anything was lost in silence."""
    parser = argparse.ArgumentParser(description="Damaged journals: recovered or refused.")
    parser.add_argument("--count", type=int, default=2_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    asked = parser.parse_args()
    fates: dict[str, Counter[str]] = defaultdict(Counter)
    bad = 0
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        moments = make_moments(Path(folder))
        for seed in range(asked.first, asked.first + asked.count):
            trial = (run_out, strike, mutate, mutate, mutate)[seed % 5]
            try:
                name, fate = trial(seed, moments, Path(folder))
            except Exception as e:  # noqa: BLE001 - every other error is a finding, and is told
                name, fate = trial.__name__, Lost(f"{type(e).__name__}: {e}")
            fates[name][type(fate).__name__.lower()] += 1
            if isinstance(fate, Lost):
                bad += 1
                _print(f"LOST: {name}, seed {seed}: {fate.how}")
    for name, found in sorted(fates.items()):
        _print(f"{name}: {', '.join(f'{found[fate]} {fate}' for fate in FATES)}")
    _print(f"{asked.count} mutations, {bad} lost something in silence (SQLite {_VERSION})")
    return 1 if bad else 0


_VERSION = sqlite3.sqlite_version


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
