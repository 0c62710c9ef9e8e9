"""`liqguard run --alerts`: a real process tells a real web server, or says why it cannot."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.receiver import Receiver, receiving
from tests.cli.test_exits import QUIET, ROOT, RUN, assert_refused, liqguard

FALL = (8_000, 7_900, 7_800, 7_600, 7_300, 7_000)
"""From hour to hour: far enough for a 10x long."""
FAST = ["--speed", "1000000000"]
FILE = str(ROOT / "config/alerts.yaml")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as here:
        yield here


def urls(receiver: Receiver) -> dict[str, str]:
    return {"PHONE_URL": receiver.url, "MAIL_URL": receiver.url}


def texts(receiver: Receiver) -> list[str]:
    return [each["message"] for each in receiver.received]


@pytest.fixture
def crash(tmp_path: Path) -> list[str]:
    """The command that guards a long through hourly bars that fall."""
    file = tmp_path / "binanceusdm_BTCUSDT_made-up.csv"
    rows = ["ts_ms,open,high,low,close,volume"]
    for index, (first, last) in enumerate(pairwise(FALL)):
        at_ms = 1_583_971_200_000 + index * 3_600_000
        rows.append(f"{at_ms},{first},{first},{last},{last},1")
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return [*RUN, str(file), *FAST]


def ran(command: list[str], state_dir: Path, *more: str, **environ: str) -> dict[str, Any]:
    found = liqguard(state_dir, *command, "--json", *more, **environ)
    assert found.returncode == 0, found.stderr
    assert "a-made-up-word" not in found.stdout + found.stderr
    ended: dict[str, Any] = json.loads(found.stdout)
    return ended


def test_a_crash_is_told_and_changes_nothing(
    crash: list[str], tmp_path: Path, receiver: Receiver
) -> None:
    silent = ran(crash, tmp_path / "silent")
    told = ran(crash, tmp_path / "told", "--alerts", FILE, **urls(receiver))
    assert told == silent
    said = texts(receiver)
    assert "the guard has started" in said
    assert any(text.startswith("closing ") for text in said)
    assert any(text.startswith("the guard has stopped") for text in said)
    closes = [text for text in said if text.startswith("closing ")]
    assert len(closes) == 2 * len(set(closes)), "what is critical goes to both channels"


def test_what_a_dead_channel_did_not_take_is_kept_and_told_the_next_time(
    crash: list[str], tmp_path: Path, receiver: Receiver
) -> None:
    receiver.status = 500
    ran(crash, tmp_path, "--alerts", FILE, **urls(receiver))
    assert receiver.received == []
    kept = (tmp_path / "demo.alerts.json").read_text(encoding="utf-8")
    assert "closing " in kept
    assert "a-made-up-word" not in kept
    receiver.status = 200
    ran(crash, tmp_path, "--alerts", FILE, **urls(receiver))
    said = texts(receiver)
    assert any(text.startswith("closing ") for text in said)
    assert said.count("the guard has started") == 2


def test_status_shows_what_is_undelivered(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 500
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", *QUIET, "--alerts", FILE],
        cwd=ROOT,
        env={"PATH": "", "LIQGUARD_STATE_DIR": str(tmp_path), **urls(receiver)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until_s = time.perf_counter() + 60
        while True:
            found = liqguard(tmp_path, "status", "--account", "demo", "--json")
            shown = json.loads(found.stdout) if found.returncode == 0 else {}
            channels = shown.get("alerts", {"channels": []})["channels"]
            mail = [each for each in channels if each["channel"] == "mail" and each["trouble"]]
            if mail:
                break
            assert time.perf_counter() < until_s
        assert mail[0]["undelivered"] >= 1
        assert mail[0]["trouble"] == "the service did not take it"
        page = liqguard(tmp_path, "status", "--account", "demo").stdout
        assert "alerts undelivered: " in page
        assert "mail 1 (the service did not take it)" in page
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_a_channel_without_its_url_is_refused_before_anything_runs(tmp_path: Path) -> None:
    found = liqguard(tmp_path / "state", *QUIET, "--alerts", FILE, MAIL_URL="json://localhost")
    assert_refused(found, 3, "channel phone: expected its apprise URL in PHONE_URL, was unset")
    assert not (tmp_path / "state").exists()


def test_a_file_that_is_wrong_is_refused(tmp_path: Path) -> None:
    found = liqguard(tmp_path / "state", *QUIET, "--alerts", "nope.yaml")
    assert_refused(found, 3, "nope.yaml:1:1: policy: expected a readable file")


def test_the_file_is_shown_without_its_urls(tmp_path: Path) -> None:
    page = liqguard(tmp_path, "alerts", FILE)
    assert (page.returncode, page.stderr) == (0, "")
    rows = [" ".join(line.split()) for line in page.stdout.splitlines()]
    assert rows == [
        "channel URL in is told",
        "phone PHONE_URL warning, critical",
        "mail MAIL_URL info, critical",
    ]
    shown = json.loads(liqguard(tmp_path, "alerts", FILE, "--json").stdout)
    assert shown["repeat_ms"] == 1_800_000
    assert shown["channels"][0] == {
        "channel": "phone", "url_env": "PHONE_URL", "told": ["warning", "critical"],
    }  # fmt: skip


def test_every_channel_can_be_tried(tmp_path: Path, receiver: Receiver) -> None:
    found = liqguard(tmp_path, "alerts", FILE, "--send", **urls(receiver))
    assert (found.returncode, found.stdout) == (0, "phone: delivered\nmail: delivered\n")
    assert texts(receiver) == ["this is a test: nothing has happened"] * 2
    dead = {**urls(receiver), "PHONE_URL": "json://127.0.0.1:1"}
    found = liqguard(tmp_path, "alerts", FILE, "--send", "--json", **dead)
    tried = [json.loads(line) for line in found.stdout.splitlines()]
    assert found.returncode == 6
    assert [each["delivered"] for each in tried] == [False, True]
