"""The heartbeat: told while decisions are sound, silent otherwise, over a real line."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from bot.clock import Clock, system_wall_ms
from bot.rehearsal.loop import run_virtual
from bot.runtime.heartbeat import PUSH_MS, SOUND_MS, Push, Watchdog, beat, watchdog_of
from tests.runtime.build import T0


class Counted:
    """A pulse that notes when it was told what."""

    every_ms = 10_000

    def __init__(self) -> None:
        self.told: list[str] = []

    def begin(self) -> None:
        self.told.append("begin")

    def beat(self) -> None:
        self.told.append("beat")

    def end(self) -> None:
        self.told.append("end")


async def beating(pulse: Counted, clock: Clock, sound_at_ms: list[int], for_ms: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(beat((pulse,), lambda: sound_at_ms[0], clock))
        await clock.sleep_ms(for_ms)
        task.cancel()


def test_it_beats_while_decisions_are_sound_and_ends_with_the_guard() -> None:
    pulse = Counted()

    async def main() -> None:
        await beating(pulse, Clock(T0), [T0], 25_000)

    run_virtual(main())
    assert pulse.told == ["begin", "beat", "beat", "beat", "end"]


def test_it_is_silent_once_no_decision_was_sound_for_a_minute_and_beats_again_after_one() -> None:
    pulse, sound = Counted(), [T0]

    async def main() -> None:
        clock = Clock(T0)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(beat((pulse,), lambda: sound[0], clock))
            await clock.sleep_ms(SOUND_MS + 300_000)
            silent = pulse.told.count("beat")
            sound[0] = clock.now_ms()
            await clock.sleep_ms(10_001)
            assert silent == SOUND_MS // 10_000 + 1
            assert pulse.told.count("beat") > silent
            task.cancel()

    run_virtual(main())


@contextmanager
def monitor(status: int) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/ping/secret", asked
        server.shutdown()
        thread.join()


def test_a_push_asks_for_the_monitors_url() -> None:
    with monitor(200) as (url, asked):
        push = Push(url)
        push.beat()
        assert push._thread is not None
        push._thread.join()
        assert asked == ["/ping/secret"]


def test_a_monitor_that_fails_is_no_failure_of_the_guard_and_its_url_is_not_told(
    capsys: object,
) -> None:
    with monitor(500) as (url, asked):
        for each in (url, "http://127.0.0.1:1/ping/secret"):
            push = Push(each)
            push.beat()
            assert push._thread is not None
            push._thread.join()
        assert asked == ["/ping/secret"]
    out = capsys.readouterr()  # type: ignore[attr-defined]
    assert out.out.count("heartbeat.failed") == 2
    assert "secret" not in out.out + out.err


def test_systemd_is_told_ready_watchdog_and_stopping(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(5)
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000"}
        (watchdog,) = watchdog_of(environ)
        assert watchdog.every_ms == 10

        async def main() -> None:
            clock = Clock(system_wall_ms())
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(beat((watchdog,), clock.now_ms, clock))
                await clock.sleep_ms(35)
                task.cancel()

        asyncio.run(main())
        told = [listener.recv(64).decode()]
        while told[-1] != "STOPPING=1":
            told.append(listener.recv(64).decode())
        assert told[0] == "READY=1"
        assert told.count("WATCHDOG=1") >= 2
        assert set(told) == {"READY=1", "WATCHDOG=1", "STOPPING=1"}


def test_a_process_that_systemd_has_not_started_has_no_watchdog() -> None:
    assert watchdog_of({"PATH": "/bin"}) == ()
    (idle,) = watchdog_of({"NOTIFY_SOCKET": "@abstract"})
    assert idle.every_ms == PUSH_MS


def test_a_socket_that_is_gone_is_no_failure_of_the_guard(tmp_path: Path) -> None:
    Watchdog(str(tmp_path / "nobody"), 1_000).beat()
