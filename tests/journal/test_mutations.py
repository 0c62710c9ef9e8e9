"""Damaged journals are recovered or refused; `tests/journal/mutations.py` damages many more."""

import asyncio
from pathlib import Path

import pytest

from bot.journal.chain import EMPTY
from bot.journal.port import Entry, JournalDamaged, Kind, NoIntent
from bot.journal.sqlite import SqliteJournal
from tests.journal.mutations import (
    ACCOUNT,
    DAMAGES,
    FILES,
    Kept,
    Lost,
    Moment,
    Refused,
    make_moments,
    mutate,
    run_out,
    strike,
)

MUTATIONS = 180
STRUCK = 40
TAKEN = "alive_take_away"
FULL_DISKS = 30


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> list[Moment]:
    return make_moments(tmp_path_factory.mktemp("moments"))


def test_what_is_damaged_is_recovered_or_refused(moments: list[Moment], tmp_path: Path) -> None:
    fates = {seed: mutate(seed, moments, tmp_path) for seed in range(MUTATIONS)}
    assert {seed: fate for seed, fate in fates.items() if isinstance(fate[1], Lost)} == {}
    assert {name for name, _ in fates.values()} == {each.__name__ for each in DAMAGES}
    assert {type(fate) for _, fate in fates.values()} == {Kept, Refused}


def test_what_is_damaged_under_a_living_guard_is_recovered_or_refused(
    moments: list[Moment], tmp_path: Path
) -> None:
    fates = {seed: strike(seed, moments, tmp_path) for seed in range(STRUCK)}
    assert {seed: fate for seed, fate in fates.items() if isinstance(fate[1], Lost)} == {}
    assert {type(fate) for _, fate in fates.values()} == {Kept, Refused}


def test_a_log_that_is_deleted_under_a_living_guard_would_be_missed_in_silence_without_its_note(
    moments: list[Moment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutations see that loss too."""
    taken = next(seed for seed in range(100) if strike(seed, moments, tmp_path)[0] == TAKEN)
    assert isinstance(strike(taken, moments, tmp_path)[1], Refused)
    monkeypatch.setattr("bot.journal.sqlite.HeadNote.read", lambda note: EMPTY)
    assert isinstance(strike(taken, moments, tmp_path)[1], Lost)


def test_a_disk_that_takes_no_more_costs_nothing_that_was_acknowledged(
    moments: list[Moment], tmp_path: Path
) -> None:
    fates = {seed: run_out(seed, moments, tmp_path) for seed in range(FULL_DISKS)}
    assert {fate for _, fate in fates.values()} == {Kept()}
    assert len({name for name, _ in fates.values()}) == 2


def test_without_its_note_a_journal_whose_log_is_gone_forgets_in_silence(
    moments: list[Moment], tmp_path: Path
) -> None:
    """The mutations see a loss: this is what the note is for, and what deleting it means."""
    moment = moments[-1]
    for name in (FILES[0], FILES[3]):
        (tmp_path / name).write_bytes((moment.folder / name).read_bytes())

    async def open_and_count() -> int:
        journal = SqliteJournal.open(tmp_path / FILES[0], ACCOUNT)
        rows = await journal.rows(0)
        await journal.close()
        return len(rows)

    with pytest.raises(JournalDamaged, match="rows are lost"):
        asyncio.run(open_and_count())
    (tmp_path / FILES[3]).unlink()
    assert asyncio.run(open_and_count()) < len(moment.rows)


def test_a_note_that_lags_claims_less(tmp_path: Path) -> None:
    """As after a power cut: the rows were forced to disk, the note was not."""

    async def append(count: int) -> None:
        journal = SqliteJournal.open(tmp_path / FILES[0], ACCOUNT)
        for _ in range(count):
            await journal.append([Entry(Kind.STARTED, 0, "{}", NoIntent())])
        await journal.close()

    asyncio.run(append(1))
    note = (tmp_path / FILES[3]).read_bytes()
    asyncio.run(append(2))
    (tmp_path / FILES[3]).write_bytes(note)
    asyncio.run(append(1))
    assert (tmp_path / FILES[3]).read_bytes().startswith(b"00000000000000000004 ")


def test_a_note_whose_maker_was_killed_before_a_word_claims_nothing(tmp_path: Path) -> None:
    (tmp_path / FILES[3]).touch()
    asyncio.run(_make(tmp_path))


def test_a_note_that_is_none_is_refused(tmp_path: Path) -> None:
    asyncio.run(_make(tmp_path))
    (tmp_path / FILES[3]).write_bytes(b"\0" * 86)
    with pytest.raises(JournalDamaged, match="expected the newest row's hash"):
        asyncio.run(_make(tmp_path))


async def _make(folder: Path) -> None:
    await SqliteJournal.open(folder / FILES[0], ACCOUNT).close()
