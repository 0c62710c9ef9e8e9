"""`run --positions`: a book of several positions as a process, killed, and refused where wrong."""

import json
import threading
import time
from pathlib import Path

import pytest

from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.store import FileStore
from tests.e2e.test_process import CRASH_AT_MS, liqguard, running, wait_for_log

ACCOUNT = "demo-cross"
POLICY = "bot/policy/presets/demo-cross.yaml"
BOOK = """positions:
  - { data: 2020-03-12-btc, side: long, leverage: 10x, margin: 1000 USDT, margin_mode: cross }
  - { data: 2020-03-12-eth, side: long, leverage: 10x, quantity: 50 ETH,  margin_mode: cross }
  - { data: 2020-03-12-xrp, side: long, leverage: 10x, margin: 1000 USDT, margin_mode: cross }
"""
SETTLED_MS = 20_000


def command(file: Path, *more: str) -> list[str]:
    run = ["run", "--mode", "paper", "--policy", POLICY, "--positions", str(file)]
    return [*run, "--entry-at-ms", str(CRASH_AT_MS), *more]


def written(folder: Path, text: str = BOOK) -> Path:
    file = folder / "book.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def saved(state_dir: Path) -> PaperMachine:
    machine = FileStore(state_dir / f"{ACCOUNT}.paper.json").load()
    assert isinstance(machine, PaperMachine)
    return machine


def assert_protected(machine: PaperMachine) -> None:
    """Each position that has been open for a while has a stop of its whole size."""
    snapshot = machine.snapshot(ACCOUNT, machine.at_ms)
    if machine.at_ms < CRASH_AT_MS + SETTLED_MS:
        return
    for position in snapshot.positions:
        assert any(
            stop.reduce_only and stop.symbol == position.symbol and stop.side is position.side
            for stop in snapshot.stops
        )


@pytest.mark.timeout(300)
def test_a_cross_book_killed_again_and_again_keeps_its_wallet(tmp_path: Path) -> None:
    state_dir, file = tmp_path / "state", written(tmp_path)
    moments = [
        ("intent.prepared", 0.0),
        ("guard.started", 0.5),
        ("intent.answered", 0.0),
        ("intent.settled", 0.002),
        ("intent.prepared", 0.005),
        ("guard.started", 1.0),
    ]
    for event, delay_s in moments:
        with running(state_dir, command(file, "--speed", "60")) as process:
            limit = threading.Timer(6, process.kill)
            limit.start()
            wait_for_log(process, event)
            time.sleep(delay_s)
            process.kill()
            limit.cancel()
            process.wait(timeout=30)
        assert_protected(saved(state_dir))
    ended = liqguard(state_dir, *command(file, "--speed", "100000", "--json"))
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert {action["symbol"] for action in told["actions"]} == {
        f"{coin}/USDT:USDT" for coin in ("BTC", "ETH", "XRP")
    }
    machine = saved(state_dir)
    assert all(each.cause.value != "liquidation" for each in machine.realised(ACCOUNT))
    assert float(told["equity"]) > 1000
    verified = liqguard(state_dir, "journal", "verify", "--account", ACCOUNT)
    assert verified.returncode == 0, verified.stderr
    # The folder belongs to this book alone.
    other = written(tmp_path, BOOK.replace("50 ETH", "51 ETH"))
    refused = liqguard(state_dir, *command(other))
    assert refused.returncode == 3
    assert "other data or another position" in refused.stderr
