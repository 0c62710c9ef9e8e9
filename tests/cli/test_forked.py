"""A command that is forked does and says what one that is started does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.forked import ROOT, run_forked

QUICK = ["run", "--mode", "paper", "--policy", "config/policies/demo.yaml", "--speed", "1"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--help"], ""),
        (["bogus"], ""),
        (["check", "config/policies/demo.yaml", "--json"], ""),
        (["status", "--account", "demo"], ""),
        (["run", "--mode", "paper", "--policy", "config/policies/demo.yaml", "--data", "x"], ""),
        (["margin", "--json"], "[{}]"),
        (["margin"], "{"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_it_is_as_if_it_had_been_started(tmp_path: Path, arguments: list[str], text: str) -> None:
    environ = {**os.environ, "LIQGUARD_STATE_DIR": str(tmp_path)}
    started = subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        cwd=ROOT,
        env=environ,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    forked = run_forked(tuple(arguments), environ, text)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        started.returncode,
        started.stdout,
        started.stderr,
    )


def test_one_that_takes_too_long_is_ended_and_the_next_one_is_not_kept(tmp_path: Path) -> None:
    environ = {**os.environ, "LIQGUARD_STATE_DIR": str(tmp_path)}
    assert run_forked(("--help",), environ).returncode == 0
    with pytest.raises(TimeoutError):
        run_forked((*QUICK, "--data", "quiet-week-btc"), environ, timeout_s=1)
    assert run_forked(("status", "--account", "demo"), environ).returncode == 5
