"""A mistake is one line on standard error and a documented exit code; results stay clean."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.forked import run_forked

ROOT = Path(__file__).parents[2]
RUN = ["run", "--mode", "paper", "--policy", "config/policies/demo.yaml", "--data"]
QUIET = [*RUN, "quiet-week-btc"]
HEADER = "# venue: binanceusdm\n# symbol: BTCUSDT\nts_ms,open,high,low,close,volume\n"
ROWS = [f"{1_700_000_000_000 + hour * 3_600_000},10,11,9,10,1" for hour in range(4)]


def liqguard(
    state_dir: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIQGUARD")}
    return run_forked(arguments, {**kept, "LIQGUARD_STATE_DIR": str(state_dir), **environment})


def assert_refused(found: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    assert (found.returncode, found.stdout) == (code, "")
    assert found.stderr.count("\n") == 1, found.stderr
    assert words in found.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["bogus"], 2, "No such command 'bogus'"),
        (["run"], 2, "Missing option"),
        ([*QUIET, "--margin", "-5"], 2, "expected a number above 0, was '-5'"),
        ([*QUIET, "--margin", "0"], 2, "expected a number above 0, was '0'"),
        ([*QUIET, "--leverage", "nan"], 2, "expected a number above 0, was 'nan'"),
        ([*QUIET, "--side", "up"], 2, "expected long or short, was 'up'"),
        ([*QUIET, "--leverage", "500"], 3, "expected leverage up to 100"),
        ([*QUIET, "--entry-at-ms", "99999999999999"], 3, "expected a time before the data ends"),
        ([*RUN, "quiet-week"], 3, "did you mean quiet-week-btc?"),
        (["check", "nope.yaml"], 3, "nope.yaml:1:1: policy: expected a readable file"),
        (["status", "--account", "demo"], 5, "no guard answers"),
        (["explain", "--account", "demo"], 3, "demo.db"),
        (["journal", "verify", "--account", "demo"], 3, "demo.db"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    assert_refused(liqguard(tmp_path / "state", *arguments), code, words)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([ROWS[0], ROWS[1], ROWS[3]], "expected no gap"),
        ([ROWS[0], ROWS[1], ROWS[1], ROWS[2]], ":6: ts_ms:"),
        ([ROWS[1], ROWS[0], ROWS[2]], ":5: ts_ms:"),
        ([ROWS[0], ROWS[1].replace(",9,", ",nan,"), ROWS[2]], "was 'nan'"),
        ([ROWS[0], ROWS[1].replace(",9,", ",-9,"), ROWS[2]], "was '-9'"),
    ],
    ids=["gap", "duplicate", "unordered", "NaN", "negative"],
)
def test_bad_rows_name_their_place(tmp_path: Path, rows: list[str], words: str) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    assert_refused(liqguard(tmp_path, *RUN, str(file)), 3, words)


def test_an_unknown_setting_is_an_error(tmp_path: Path) -> None:
    found = liqguard(tmp_path, "status", "--account", "demo", LIQGUARD_STATEDIR="x")
    assert_refused(found, 3, "did you mean LIQGUARD_STATE_DIR?")


def test_every_error_of_a_policy_comes_at_once(tmp_path: Path) -> None:
    text = (ROOT / "config" / "policies" / "demo.yaml").read_text(encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace("4%", "0.04").replace("hysteresis", "hysterisis"))
    found = liqguard(tmp_path, "check", str(file))
    assert found.returncode == 3
    assert [line.startswith(str(file)) for line in found.stderr.splitlines()] == [
        *(True, False, False),
    ] * 3
    assert "did you mean 'hysteresis'?" in found.stderr


def test_json_is_for_programs(tmp_path: Path) -> None:
    found = liqguard(tmp_path, "check", "config/policies/demo.yaml", "--json")
    assert found.returncode == 0
    assert json.loads(found.stdout)["account"] == "demo"
