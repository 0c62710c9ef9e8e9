"""Told until it is taken: whatever channels, processes and the journal do. In virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from bot.alerts.box import empty
from bot.alerts.notice import AtOnce
from bot.alerts.outbox import RETRY_MS_MAX, Outbox
from bot.alerts.store import BoxFile
from bot.clock import Clock
from bot.rehearsal.loop import run_virtual
from tests.alerts.build import INFO, T0, Recorder, Script, failure, notice


class House(NamedTuple):
    script: Script
    outbox: Outbox
    clock: Clock
    phone: Recorder
    mail: Recorder


def live(tmp_path: Path, act: Callable[[House], Awaitable[None]]) -> House:
    """Start, act, stop in order."""

    async def main() -> House:
        clock = Clock(T0)
        script, phone, mail = Script(), Recorder(clock), Recorder(clock)
        outbox = script.outbox(clock, tmp_path / "box.json", {"phone": phone, "mail": mail})
        house = House(script, outbox, clock, phone, mail)
        await script.start(notice("started", severity=INFO, weight=AtOnce()))
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(outbox.run())
            await clock.sleep_ms(1)
            await act(house)
            outbox.finish()
            await asyncio.wait([telling], timeout=0.1)
            telling.cancel()
        return house

    return run_virtual(main())


def test_start_actions_and_stop_are_told_as_they_come(tmp_path: Path) -> None:
    async def act(house: House) -> None:
        await house.clock.sleep_ms(999)
        await house.script.say(failure("refused", 1_000))
        await house.clock.sleep_ms(1_000)
        await house.script.say(notice("stopped", 2_000, severity=INFO, weight=AtOnce()))

    house = live(tmp_path, act)
    assert [(at_ms, told.text) for at_ms, told in house.mail.taken] == [
        (0, "started"), (1_000, "refused"), (2_000, "stopped"),
    ]  # fmt: skip
    assert house.phone.texts == ["refused"]


def test_a_dead_channel_is_tried_ever_more_rarely_and_told_all_in_the_end(
    tmp_path: Path,
) -> None:
    async def act(house: House) -> None:
        house.phone.fails = True
        await house.script.say(notice("warned", 1))
        await house.clock.sleep_ms(3_600_000)
        (phone, mail) = house.outbox.standing()
        assert (phone.waiting, phone.oldest_at_ms, phone.trouble) == (1, T0 + 1, "made to fail")
        assert (mail.waiting, mail.trouble) == (0, "")
        house.phone.fails = False
        await house.clock.sleep_ms(RETRY_MS_MAX)

    house = live(tmp_path, act)
    waits = [after - before for before, after in pairwise(house.phone.attempts)]
    assert waits[:4] == [1_000, 2_000, 4_000, 8_000]
    assert set(waits[9:]) == {RETRY_MS_MAX}
    assert house.phone.texts == ["warned"]
    assert house.outbox.standing()[0].waiting == 0


def test_a_channel_that_hangs_holds_up_nobody_else(tmp_path: Path) -> None:
    async def act(house: House) -> None:
        house.phone.hangs = True
        for number in range(3):
            await house.script.say(failure(f"{number}", number))
            await house.clock.sleep_ms(1)

    house = live(tmp_path, act)
    assert house.mail.texts == ["started", "0", "1", "2"]
    assert house.phone.taken == []


def test_something_graver_wakes_a_channel_that_waits(tmp_path: Path) -> None:
    async def act(house: House) -> None:
        house.phone.fails = True
        await house.script.say(notice("warned"))
        await house.clock.sleep_ms(1_800_000)
        house.phone.fails = False
        await house.script.say(failure("refused", 1_800_000))
        await house.clock.sleep_ms(1)

    assert live(tmp_path, act).phone.texts == ["refused", "warned"]


def test_what_was_not_delivered_is_told_by_the_next_process(tmp_path: Path) -> None:
    async def fails(house: House) -> None:
        house.phone.fails = True
        await house.script.say(failure("refused"))
        await house.clock.sleep_ms(10_000)

    async def idle(house: House) -> None:
        await house.clock.sleep_ms(1)

    first = live(tmp_path, fails)
    assert first.phone.texts == []
    # A journal of its own: only the file carries what was not told.
    assert live(tmp_path, idle).phone.texts == ["refused"]
    assert live(tmp_path, idle).phone.texts == []


def test_what_one_process_warned_of_the_next_does_not_repeat(tmp_path: Path) -> None:
    async def warn(house: House) -> None:
        await house.script.say(notice("warned", 60_000))
        await house.clock.sleep_ms(1)

    assert live(tmp_path, warn).phone.texts == ["warned"]
    assert live(tmp_path, warn).phone.texts == []


def test_a_journal_that_takes_nothing_is_told_of_and_only_once(tmp_path: Path) -> None:
    async def act(house: House) -> None:
        script = house.script
        cry = script.entry(failure("the journal takes no rows"))
        script.spooled.append(cry)
        script.written.set()  # as a vain append does
        await house.clock.sleep_ms(10)
        assert house.phone.texts == ["the journal takes no rows"]
        script.written.set()
        await house.clock.sleep_ms(10)
        script.spooled.clear()
        await script.journal.append([cry])  # it takes rows again
        await house.clock.sleep_ms(10)

    assert live(tmp_path, act).phone.texts == ["the journal takes no rows"]


def test_a_long_spool_is_not_read_again_and_again(tmp_path: Path) -> None:
    async def act(house: House) -> None:
        script = house.script
        before = script.reads
        for number in range(50):
            script.spooled.append(script.entry(failure(f"{number}", number)))
            script.written.set()
            await house.clock.sleep_ms(1)
        assert script.reads - before == 50
        script.spooled[:] = [script.entry(failure("after a while"))]
        script.written.set()
        await house.clock.sleep_ms(1)

    assert len(live(tmp_path, act).phone.texts) == 51


def test_history_from_before_the_first_alerts_is_not_told(tmp_path: Path) -> None:
    async def main() -> list[str]:
        clock = Clock(T0)
        script, mail = Script(), Recorder(clock)
        await script.start(failure("long ago"))
        await script.say(failure("long ago, too"))
        await script.start(failure("now"))
        outbox = script.outbox(clock, tmp_path / "box.json", {"phone": mail, "mail": mail})
        outbox.finish()
        await outbox.run()
        return sorted(set(mail.texts))

    assert run_virtual(main()) == ["now"]


@pytest.mark.parametrize("text", ["", "{", '{"read_to": 1}', "\ud800"])
def test_a_damaged_file_is_no_reason_to_be_silent(tmp_path: Path, text: str) -> None:
    (tmp_path / "box.json").write_bytes(text.encode(errors="surrogatepass"))

    async def act(house: House) -> None:
        await house.script.say(failure("refused"))
        await house.clock.sleep_ms(1)

    assert live(tmp_path, act).phone.texts == ["refused"]


def test_the_file_of_another_journal_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    BoxFile(tmp_path / "box.json").save(empty(read_to=1_000))

    async def act(house: House) -> None:
        await house.script.say(failure("refused"))
        await house.clock.sleep_ms(1)

    assert live(tmp_path, act).phone.texts == ["refused"]


def test_where_nothing_can_be_kept_it_is_told_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "box.new").mkdir()  # nobody can write there

    async def act(house: House) -> None:
        await house.script.say(failure("refused"))
        await house.clock.sleep_ms(1)

    assert live(tmp_path, act).phone.texts == ["refused"]


def test_a_defect_in_what_is_said_does_not_end_what_is_done(tmp_path: Path) -> None:
    async def act(house: House) -> None:
        house.outbox._read = broken
        await house.script.say(failure("refused"))
        await house.clock.sleep_ms(1)
        assert "defect" in house.outbox.standing()[0].trouble

    async def broken(entry: object) -> tuple[()]:
        raise RuntimeError("made to")

    live(tmp_path, act)


def test_without_channels_there_is_nothing_to_do(tmp_path: Path) -> None:
    async def main() -> None:
        script = Script()
        await script.start(failure("now"))
        await script.outbox(Clock(T0), tmp_path / "box.json", {}).run()

    run_virtual(main())
    assert not (tmp_path / "box.json").exists()


def test_a_row_is_read_when_the_requests_that_it_names_have_left(tmp_path: Path) -> None:
    reads_by_then: list[int] = []

    async def act(house: House) -> None:
        before = house.script.reads

        async def request() -> None:
            await house.clock.sleep_ms(0)  # as a request that is made, and leaves in the next turn
            reads_by_then.append(house.script.reads - before)

        await house.script.say(failure("refused", 1))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(request())
        await house.clock.sleep_ms(1)
        reads_by_then.append(house.script.reads - before)

    live(tmp_path, act)
    assert reads_by_then == [0, 1]
