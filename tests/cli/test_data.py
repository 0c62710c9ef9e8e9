"""`liqguard data fetch` as a command, with ccxt kept on this machine; and a replay of it."""

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.cli import data, main
from bot.clock import Clock
from bot.exchange import history
from tests.cli.test_exits import ROOT, assert_refused, liqguard
from tests.exchange.loopback import LoopSession, Venue, html, served

DAY = ("--from", "2023-11-01", "--until", "2023-11-02")
ONE = ("--symbol", "BTCUSDT", "--interval", "1m", *DAY)
NAME = "binanceusdm:BTCUSDT:1m:2023-11-01..2023-11-02"
LATE = "binanceusdm:BTCUSDT:1m:2023-11-01T23:00..2023-11-02"
LATE_MS = 1698879600000


@contextmanager
def in_thread(venue: Venue) -> Iterator[int]:
    """The port of `venue`, which answers from a thread of its own."""
    loop, ports = asyncio.new_event_loop(), asyncio.Queue[int]()
    over = asyncio.Event()

    async def serve() -> None:
        async with served(venue) as port:
            ports.put_nowait(port)
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(ports.get(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


@contextmanager
def reaching(monkeypatch: pytest.MonkeyPatch, venue: Venue) -> Iterator[None]:
    """Let the command reach `venue`, and wait for nothing."""
    with in_thread(venue) as port:

        @asynccontextmanager
        async def opened(
            name: str, clock: Clock, options: Mapping[str, Any], say: Any
        ) -> AsyncIterator[history.VenueHistory]:
            async with (
                LoopSession(port) as session,
                history.open_history(name, clock, {**options, "session": session}, say) as found,
            ):
                yield found

        monkeypatch.setattr(data, "open_history", opened)
        monkeypatch.setattr(history, "WAIT_FIRST_MS", 1)
        yield


def run(monkeypatch: pytest.MonkeyPatch, cache: Path, *arguments: str) -> int:
    """The exit code of the command, run in this process."""
    for name in ("LIQGUARD_STATE_DIR", "LIQGUARD_CACHE_DIR"):
        monkeypatch.setenv(name, str(cache))
    monkeypatch.setattr(sys, "argv", ["liqguard", *arguments])
    with pytest.raises(SystemExit) as e:
        main()
    return int(e.value.code or 0)


def test_what_was_fetched_is_told_and_can_be_replayed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with reaching(monkeypatch, Venue()):
        assert run(monkeypatch, tmp_path, "data", "fetch", *ONE, "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert run(monkeypatch, tmp_path, "data", "fetch", *ONE) == 0
        said = capsys.readouterr().out
    (file,) = told.pop("files")
    assert told == {
        "venue": "binanceusdm",
        "symbol": "BTC/USDT:USDT",
        "interval": "1m",
        "from_ms": 1698796800000,
        "until_ms": 1698883200000,
        "bars": 1440,
        "new": 1440,
        "gaps": [],
        "mark_gaps": [],
        "settlements": 3,
        "tiers": 0,
        "data": NAME,
    }
    assert "1440 bars, 0 of them new, 3 settlements of funding, no tiers" in said
    assert f"liqguard replay --data {NAME} " in said

    results = []
    policy = ("--policy", str(ROOT / "config/policies/demo.yaml"))
    entry = ("--entry-at-ms", str(LATE_MS))
    for named in (LATE, file):
        asked = ("replay", "--data", named, *policy, *entry, "--json")
        found = liqguard(tmp_path, *asked, LIQGUARD_CACHE_DIR=str(tmp_path))
        assert found.returncode == 0, found.stderr
        results.append(json.loads(found.stdout))
    assert results[0] == results[1]
    assert not results[0]["guarded"]["liquidated"]
    cases = tmp_path / "cases.jsonl"
    case: dict[str, Any] = {
        "data": LATE,
        "venue": "binanceusdm",
        "symbol": "BTCUSDT",
        "side": "long",
    }
    amounts = {"leverage": 10, "margin": 1000, "reserve": 1000, "entry_at_ms": LATE_MS}
    cases.write_text(json.dumps(case | amounts) + "\n", encoding="utf-8")
    many = ("replay", "--cases", str(cases), *policy, "--json", "--jobs", "1")
    found = liqguard(tmp_path, *many, LIQGUARD_CACHE_DIR=str(tmp_path))
    assert json.loads(found.stdout) == results[0]


def test_gaps_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    venue = Venue(bars=lambda at_ms: at_ms >= 1698796800000 + 3_600_000)
    with reaching(monkeypatch, venue):
        assert run(monkeypatch, tmp_path, "data", "fetch", *ONE) == 0
    told = "  the venue has no bars from 2023-11-01 to 2023-11-01T01:00\n"
    assert told in capsys.readouterr().out


def test_a_venue_that_does_not_answer_is_one_line_and_code_6(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with reaching(monkeypatch, Venue(always={"klines": html()})):
        assert run(monkeypatch, tmp_path, "data", "fetch", *ONE, "--json") == 6
    found = capsys.readouterr()
    assert found.out == ""
    *waits, last = found.err.splitlines()
    assert len(waits) == history.ATTEMPTS - 1
    assert last == (
        "binanceusdm: BTC/USDT:USDT bars: BadResponse: expected JSON, was "
        "'<html><body>One moment, please</body></h', 6 times"
    )


def test_a_contract_that_is_not_listed_is_code_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with reaching(monkeypatch, Venue()):
        asked = ("data", "fetch", "--symbol", "NOPEUSDT", *DAY)
        assert run(monkeypatch, tmp_path, *asked) == 3
    assert "expected a linear perpetual contract of binanceusdm" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_code_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "binanceusdm_BTCUSDT_1m").touch()
    with reaching(monkeypatch, Venue()):
        assert run(monkeypatch, tmp_path, "data", "fetch", *ONE) == 3
    assert "expected a month of the cache" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([*DAY], 2, "Missing option '--symbol'"),
        (["--symbol", "BTCUSDT", "--from", "2023-11-01"], 2, "Missing option '--until'"),
        ([*ONE, "--until", "2023-10-01"], 2, "expected a time after --from, 2023-11-01"),
        ([*ONE, "--from", "lately"], 2, "expected a date or a time like"),
        ([*ONE, "--from", "2023-11-01T00:00:30"], 2, "at which a bar of 1m opens"),
        ([*ONE, "--interval", "1d"], 2, "expected one of 1m, 3m, 5m, 15m, 30m, 1h, was '1d'"),
        ([*ONE, "--venue", "mtgox"], 3, "venue: expected one of binanceusdm, bybit, was 'mtgox'"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    assert_refused(liqguard(tmp_path, "data", "fetch", *arguments), code, words)
