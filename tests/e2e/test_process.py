"""The guard as a process: killed, interrupted, started twice, and as docker-compose runs it."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.store import FileStore
from bot.policy.loader import load_policy
from tests.cli.forked import run_forked

ROOT = Path(__file__).parents[2]
POLICY = "config/policies/demo.yaml"
CRASH_AT_MS = 1_584_007_200_000
"""2020-03-12T10:00Z: the hour in which BTC fell by a quarter."""

RUN = ["run", "--mode", "paper", "--policy", POLICY, "--data", "2020-03-12-btc"]
CRASH = [*RUN, "--entry-at-ms", str(CRASH_AT_MS)]
SETTLED_MS = 20_000


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bot", *arguments]


def environment(state_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIQGUARD")}
    return {**kept, "LIQGUARD_STATE_DIR": str(state_dir), "LIQGUARD_LOG_FORMAT": "json"}


@contextmanager
def running(state_dir: Path, arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        env=environment(state_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def liqguard(state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command beside the guard, or the last of its lives; all others are real starts."""
    return run_forked(arguments, environment(state_dir), timeout_s=100)


def saved(state_dir: Path) -> PaperMachine:
    machine = FileStore(state_dir / "demo.paper.json").load()
    assert isinstance(machine, PaperMachine)
    return machine


def wait_for_log(process: subprocess.Popen[str], event: str) -> None:
    """Return when `event` is logged, or when the process has ended."""
    assert process.stderr is not None
    for line in process.stderr:
        if f'"event": "{event}"' in line:
            return


def assert_protected(machine: PaperMachine) -> None:
    """The saved exchange has a proper stop for a position that has been open for a while."""
    snapshot = machine.snapshot("demo", machine.at_ms)
    if machine.at_ms < CRASH_AT_MS + SETTLED_MS:
        return
    for position in snapshot.positions:
        assert any(
            stop.reduce_only and stop.side is position.side and stop.quantity >= position.quantity
            for stop in snapshot.stops
        )


@pytest.mark.timeout(300)
def test_killed_at_ten_moments_nothing_is_doubled_naked_or_forgotten(tmp_path: Path) -> None:
    # Kills follow what is prepared, sent and settled; where nothing comes, time decides.
    moments = [
        ("intent.prepared", 0.0),
        ("guard.started", 0.3),
        ("intent.prepared", 0.005),
        ("intent.answered", 0.0),
        ("guard.started", 0.6),
        ("intent.prepared", 0.0),
        ("intent.settled", 0.0),
        ("intent.answered", 0.005),
        ("guard.started", 1.3),
        ("intent.prepared", 0.002),
    ]
    for event, delay_s in moments:
        with running(tmp_path, [*CRASH, "--speed", "90"]) as process:
            limit = threading.Timer(6, process.kill)
            limit.start()
            wait_for_log(process, event)
            time.sleep(delay_s)
            process.kill()
            limit.cancel()
            process.wait(timeout=30)
        assert_protected(saved(tmp_path))
    ended = liqguard(tmp_path, *CRASH, "--speed", "100000", "--json")
    assert ended.returncode == 0, ended.stderr
    actions = json.loads(ended.stdout)["actions"]
    applied = [
        Decimal(each["amount"])
        for each in actions
        if each["verb"] == "top_up" and each["outcome"] == "applied"
    ]
    machine = saved(tmp_path)
    moved = [change.amount for change in machine.margin_changes("demo", "BTC/USDT:USDT", 0)]
    assert moved == applied
    assert moved
    assert sum(moved) <= load_policy(ROOT / POLICY).guardrails.top_up_1h_max
    assert all(each.cause.value != "liquidation" for each in machine.realised("demo"))
    verified = liqguard(tmp_path, "journal", "verify", "--account", "demo", "--json")
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_valid_journal(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, [*CRASH, "--speed", "60"]) as process:
        wait_for_log(process, "intent.settled")
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "stopped at" in out
    verified = liqguard(tmp_path, "journal", "verify", "--account", "demo")
    assert verified.returncode == 0
    assert verified.stdout.startswith("verified:")


def test_a_second_guard_on_the_same_account_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, [*RUN, "--speed", "1"]) as process:
        wait_for_log(process, "guard.started")
        second = liqguard(tmp_path, *RUN, "--speed", "1")
        assert second.returncode == 3
        assert second.stderr.count("\n") == 1
        assert "another guard" in second.stderr
        assert status(tmp_path)["positions"]


def test_the_compose_service_runs_as_a_plain_process(tmp_path: Path) -> None:
    compose = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    arguments = compose["services"]["liqguard"]["command"]
    arguments = shlex.split(arguments) if isinstance(arguments, str) else list(arguments)
    with running(tmp_path, arguments) as process:
        wait_for_log(process, "intent.settled")
        (position,) = status(tmp_path)["positions"]
        assert position["symbol"] == "BTC/USDT:USDT"
        assert position["stop"] == "rests"
        assert Decimal(position["liquidation_distance"]) > 0


def test_a_human_holds_and_resumes(tmp_path: Path) -> None:
    with running(tmp_path, [*RUN, "--speed", "10"]) as process:
        wait_for_log(process, "guard.started")
        held = liqguard(tmp_path, "hold", "--account", "demo", "--reason", "lunch")
        assert held.returncode == 0
        assert status(tmp_path)["mode_reason"] == "lunch"
        process.send_signal(signal.SIGKILL)
    with running(tmp_path, [*RUN, "--speed", "10"]) as process:
        wait_for_log(process, "guard.started")
        assert status(tmp_path)["mode"] == "hold"
        liqguard(tmp_path, "resume", "--account", "demo", "--reason", "back")
        assert status(tmp_path)["mode"] == "active"


def test_a_hangup_reads_the_policy_again_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = (ROOT / POLICY).read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    run = [str(file) if each == POLICY else each for each in RUN]
    with running(tmp_path, [*run, "--speed", "10"]) as process:
        wait_for_log(process, "guard.started")
        file.write_text(text.replace("step: warn", "step: call"), encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        wait_for_log(process, "policy.loaded")
        assert "liquidation-ladder/call" in status(tmp_path)["positions"][0]["steps"]
        file.write_text("schema: liqguard/v1", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        wait_for_log(process, "policy.refused")
        assert "liquidation-ladder/call" in status(tmp_path)["positions"][0]["steps"]


def status(state_dir: Path) -> dict[str, Any]:
    answer = liqguard(state_dir, "status", "--account", "demo", "--json")
    assert answer.returncode == 0, answer.stderr
    shown: dict[str, Any] = json.loads(answer.stdout)
    return shown
