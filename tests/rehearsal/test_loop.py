"""Virtual time: exact where it leaps, on schedule where it is paced, real sockets in between."""

import asyncio
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.clock import Clock
from bot.rehearsal.loop import Deadlock, VirtualTimeLoop, run_virtual

HANDS_MAX_S = 20.0
"""A shared machine is no stopwatch: only a hung loop takes so long."""


def now_s() -> float:
    return time.perf_counter()


def test_timers_fire_in_order_at_exact_times() -> None:
    fired: list[tuple[str, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def note(name: str) -> Callable[[], None]:
            return lambda: fired.append((name, loop.time()))

        loop.call_later(3.5, note("last"))
        loop.call_later(0.25, note("first"))
        loop.call_later(1.0, note("second"))
        await Clock(0).sleep_ms(4_000)
        fired.append(("main", loop.time()))

    run_virtual(main())
    assert fired == [("first", 0.25), ("second", 1.0), ("last", 3.5), ("main", 4.0)]


def test_what_is_due_at_the_same_time_runs_in_the_same_order_every_time() -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def wake(number: int) -> None:
            await Clock(0).sleep_ms(1_000)
            order.append(number)

        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(wake(number))
        return order

    order = run_virtual(main())
    assert sorted(order) == list(range(20))
    assert run_virtual(main()) == order


def test_a_week_passes_at_once() -> None:
    async def main() -> int:
        clock = Clock(0)
        await clock.sleep_ms(7 * 86_400_000)
        return clock.now_ms()

    started_s = now_s()
    assert run_virtual(main()) == 7 * 86_400_000
    assert now_s() - started_s < HANDS_MAX_S


def test_timeouts_obey() -> None:
    async def main() -> int:
        clock = Clock(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await clock.sleep_ms(30_001)
        assert clock.now_ms() == 30_000
        async with asyncio.timeout(30):
            await clock.sleep_ms(29_999)
        return clock.now_ms()

    assert run_virtual(main()) == 59_999


def test_a_wait_that_nothing_ends_is_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="never end"):
        run_virtual(main())


@pytest.mark.parametrize("speed", [math.inf, 1_000.0])
def test_an_exception_comes_out_as_it_is(speed: float) -> None:
    async def main() -> None:
        await Clock(0).sleep_ms(10)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run_virtual(main(), speed)


def test_the_result_comes_out() -> None:
    async def main() -> str:
        return "done"

    assert run_virtual(main()) == "done"


# asyncio complains when it collects a loop whose making failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("speed", [0, -1, math.nan])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed: expected a number above 0"):
        VirtualTimeLoop(speed)


def test_a_paced_run_keeps_its_schedule() -> None:
    async def main() -> tuple[int, float]:
        clock, started_s = Clock(0), now_s()
        for _ in range(20):
            await clock.sleep_ms(1_000)
        return clock.now_ms(), now_s() - started_s

    passed_ms, real_s = run_virtual(main(), 50.0)
    assert passed_ms == 20_000  # exact in market time, whatever the machine was busy with
    assert 0.9 * 20 / 50 <= real_s < HANDS_MAX_S


def test_a_paced_run_makes_up_for_time_that_it_spent_working() -> None:
    async def main() -> tuple[list[int], float]:
        clock, started_s = Clock(0), now_s()
        woken = []
        time.sleep(0.5)  # noqa: ASYNC251 - the work, which takes fifty market seconds
        for _ in range(50):
            await clock.sleep_ms(1_000)
            woken.append(clock.now_ms())
        return woken, now_s() - started_s

    woken, real_s = run_virtual(main(), 100.0)
    assert woken == [1_000 * number for number in range(1, 51)]
    assert real_s < HANDS_MAX_S


def test_paced_time_never_runs_ahead_of_its_schedule() -> None:
    async def main() -> list[float]:
        clock, started_s = Clock(0), now_s()
        ahead = []
        for _ in range(30):
            await clock.sleep_ms(500)
            ahead.append(clock.now_ms() / 1_000 / 100.0 - (now_s() - started_s))
        return ahead

    assert max(run_virtual(main(), 100.0)) < 0.05


@pytest.mark.parametrize("speed", [1.0, 100.0])
def test_a_signal_is_noticed_while_every_task_waits(speed: float) -> None:
    async def main() -> bool:
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, heard.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(heard.wait(), 3_600)
        return heard.is_set()

    started_s = now_s()
    assert run_virtual(main(), speed)
    assert now_s() - started_s < HANDS_MAX_S


@pytest.mark.parametrize("speed", [2.0, math.inf])
def test_a_socket_is_served_beside_the_timers(tmp_path: Path, speed: float) -> None:
    path = tmp_path / "s"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        writer.write(line.upper())
        await writer.drain()
        writer.close()

    async def main() -> bytes:
        server = await asyncio.start_unix_server(serve, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n")
        answer = await reader.readline()
        writer.close()
        server.close()
        return answer

    assert run_virtual(main(), speed) == b"HELLO\n"


def test_a_paced_wait_without_a_timer_goes_on_until_something_comes() -> None:
    async def main() -> int:
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        clock = Clock(0)
        loop.add_signal_handler(signal.SIGALRM, heard.set)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        await heard.wait()
        return clock.now_ms()

    assert run_virtual(main(), 100.0) >= 5_000  # a tenth of a real second is ten market seconds
