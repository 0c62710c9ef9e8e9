"""Guards on one address: what one was told all heed; together they ask no more than one may."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.clock import system_wall_ms
from bot.core.actions import ClosePosition
from bot.core.model import Side
from bot.core.units import Quantity
from bot.exchange.live import lanes
from bot.exchange.live.asking import hear
from bot.exchange.live.calls import Call, Hushed
from bot.exchange.live.connection import Connection, Egress, Loopback, follow, reach
from bot.exchange.live.lanes import Quiet, read_pace
from bot.exchange.live.neighbours import FORGOTTEN_S, QUIET_MAX_MS, Neighbours, written
from bot.exchange.ports import Accepted, Barred, Throttled, Unreachable
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.live.wired import ALICE, Wired, until, wired
from tests.exchange.wire.build import BTC, D

CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D("0.01")))
MARKET = DIALECTS["binanceusdm"].market


@pytest.fixture
def places() -> Iterator[list[Neighbours]]:
    """Places that are given up in the end."""
    taken: list[Neighbours] = []
    yield taken
    for each in taken:
        each.leave()


@asynccontextmanager
async def guards(live: Wired, folder: Path, *second: str) -> AsyncIterator[list[Connection]]:
    """Two of them, which follow each other."""
    dialect, route = DIALECTS["binanceusdm"], Loopback(live.port)
    egress = Egress(folder, *second)
    async with (
        reach(dialect, ALICE, route, live.clock, egress) as one,
        reach(dialect, ALICE, route, live.clock, egress) as other,
        asyncio.TaskGroup() as tasks,
    ):
        following = [
            tasks.create_task(follow(each.neighbours, live.clock)) for each in (one, other)
        ]
        yield [one, other]
        for each in following:
            each.cancel()


async def test_a_ban_that_one_met_silences_the_other(tmp_path: Path) -> None:
    async with wired() as live, guards(live, tmp_path) as (one, other):
        await one.account.snapshot()
        await other.account.snapshot()
        live.server.exchange.limits.ban("127.0.0.1", live.clock.now_ms() + 60_000)
        with pytest.raises(Unreachable, match="HTTP 418"):
            await one.account.server_time_ms()
        await until(lambda: other.reads._quiet.all_until_ms > live.clock.now_ms())
        live.server.exchange.limits.ban("127.0.0.1", 0)  # whatever is sent from now on passes
        assert isinstance(await other.account.send(CLOSE, "c1"), Barred)
        assert isinstance(await other.reads.ask(MARKET.listing_call()), Hushed)


async def test_two_ask_no_more_than_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "START_SHARE", 0)
    monkeypatch.setattr(lanes, "READ_SHARE", 0.3)
    budget = read_pace(MARKET.read_weight_per_minute).count
    call = Call("fapiPublic", "GET", "time", {})
    async with wired() as live, guards(live, tmp_path) as both:
        await until(lambda: all(each.reads._quiet.guards == 2 for each in both))
        heard: list[object] = []

        async def ask(connection: Connection) -> None:
            heard.append(await hear(connection.reads, call))

        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(ask(each)) for each in both for _ in range(budget)]
            await live.clock.sleep_ms(1_000)
            for each in asking:
                each.cancel()
        assert budget // 2 <= len(heard) <= budget


def place(folder: Path, taken: list[Neighbours]) -> Quiet:
    quiet = Quiet()
    taken.append(Neighbours(folder, quiet, system_wall_ms))
    return quiet


def test_the_living_are_counted(tmp_path: Path, places: list[Neighbours]) -> None:
    quiets = [place(tmp_path, places) for _ in range(3)]
    for each in places:
        each.look()
    assert [each.guards for each in quiets] == [3, 3, 3]
    places.pop().leave()
    for each in places:
        each.look()
    assert [each.guards for each in quiets[:2]] == [2, 2]


def test_what_is_known_outlives_who_knew_it(tmp_path: Path, places: list[Neighbours]) -> None:
    quiet = place(tmp_path, places)
    quiet.all_until_ms = system_wall_ms() + 60_000
    places.pop().leave()
    later = place(tmp_path, places)
    assert later.all_until_ms == quiet.all_until_ms
    assert later.guards == 1


_LIVES = """
import sys, time
from pathlib import Path
from bot.clock import system_wall_ms
from bot.exchange.live.lanes import Quiet
from bot.exchange.live.neighbours import Neighbours
place = Neighbours(Path(sys.argv[1]), Quiet(), system_wall_ms)
print("here", flush=True)
time.sleep(60)
"""


def test_who_is_killed_counts_no_more(tmp_path: Path, places: list[Neighbours]) -> None:
    program = [sys.executable, "-c", _LIVES, str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "here\n"
        quiet = place(tmp_path, places)
        assert quiet.guards == 2
        other.kill()
    places[0].look()
    assert quiet.guards == 1


def test_files_of_the_dead_are_swept_up(tmp_path: Path, places: list[Neighbours]) -> None:
    place(tmp_path, places)
    places.pop().leave()
    (left,) = tmp_path.iterdir()
    place(tmp_path, places)
    assert left.exists()
    long_ago = system_wall_ms() / 1000 - FORGOTTEN_S - 1
    os.utime(left, (long_ago, long_ago))
    places[0].look()
    assert not left.exists()


@pytest.mark.parametrize("kind", ["junk", "torn", "far ahead", "long", "not text"])
def test_what_cannot_be_read_silences_nobody_and_is_said_once(
    tmp_path: Path, places: list[Neighbours], kind: str
) -> None:
    now_ms = system_wall_ms()
    good, other = (
        written(now_ms + 60_000, now_ms + 60_000),
        written(now_ms + 10**6, now_ms + 10**6),
    )
    texts = {
        "junk": b"{}",
        "torn": other[:30] + good[30:],
        "far ahead": written(0, now_ms + 2 * QUIET_MAX_MS),
        "long": good * 100,
        "not text": b"\xff\xfe\x00",
    }
    (tmp_path / "other.lane").write_bytes(texts[kind])
    with capture_logs() as logs:
        quiet = place(tmp_path, places)
        places[0].look()
    assert (quiet.reads_until_ms, quiet.all_until_ms, quiet.guards) == (0, 0, 1)
    assert [each["event"] for each in logs] == ["neighbours.unreadable"]
    (tmp_path / "other.lane").write_bytes(good)
    places[0].look()
    assert quiet.all_until_ms == now_ms + 60_000


def test_without_a_folder_a_guard_is_alone_and_says_so(
    tmp_path: Path, places: list[Neighbours]
) -> None:
    (tmp_path / "file").write_text("")
    with capture_logs() as logs:
        quiet = place(tmp_path / "file", places)
        quiet.all_until_ms = system_wall_ms() + 1_000
        places[0].look()
    assert quiet.guards == 1
    assert [each["event"] for each in logs] == ["neighbours.unreadable"]


# -- a second address ----------------------------------------------------------------------


async def test_a_close_leaves_by_the_second_address_while_the_first_is_banned(
    tmp_path: Path,
) -> None:
    async with wired() as live, guards(live, tmp_path, "127.0.0.2") as (one, _):
        await one.account.snapshot()
        limits = live.server.exchange.limits
        limits.ban("127.0.0.1", live.clock.now_ms() + 60_000)
        for _ in range(2):
            with pytest.raises(Throttled):
                await one.account.server_time_ms()
        assert isinstance(await one.account.send(CLOSE, "c1"), Accepted)
        limits.ban("127.0.0.2", live.clock.now_ms() + 60_000)
        assert isinstance(await one.account.send(CLOSE, "c2"), Barred)


@pytest.mark.parametrize("second", ["127.0.0.2", "192.0.2.1"], ids=["banned", "not ours"])
async def test_what_does_not_pass_there_is_sent_from_the_first(
    tmp_path: Path, second: str
) -> None:
    async with wired() as live, guards(live, tmp_path, second) as (one, _):
        await one.account.snapshot()
        live.server.exchange.limits.ban("127.0.0.2", live.clock.now_ms() + 60_000)
        assert isinstance(await one.account.send(CLOSE, "c1"), Accepted)
        assert isinstance(await one.account.send(CLOSE, "c2"), Accepted)
        await one.account.snapshot()
