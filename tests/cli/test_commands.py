"""Every command from outside: its help, its JSON, and one line instead of a stack trace."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from bot.cli.exits import Exit, report_errors
from bot.journal.port import JournalUnavailable
from tests.cli.test_exits import QUIET, ROOT, RUN, assert_refused, liqguard

COMMANDS = [
    ["init"], ["check"], ["test"], ["schema"], ["demo"], ["run"], ["replay"], ["plan"],
    ["status"], ["alerts"], ["hold"], ["resume"], ["explain"], ["margin"], ["doctor"], ["venues"],
    ["journal"], ["journal", "verify"], ["data"], ["data", "fetch"],
]  # fmt: skip
CRASH = [*RUN, "2020-03-12-btc", "--entry-at-ms", "1584007200000", "--speed", "1000000000"]
VERIFY = ["journal", "verify", "--account", "demo"]
EXPLAIN = ["explain", "--account", "demo"]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a run through the crash, and what the run said at its end."""
    state_dir = tmp_path_factory.mktemp("lived")
    ended = liqguard(state_dir, *CRASH, "--json")
    assert ended.returncode == 0, ended.stderr
    return state_dir, json.loads(ended.stdout)


def copy_of(lived: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    for file in lived[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_says_what_a_command_does(tmp_path: Path, command: list[str]) -> None:
    found = liqguard(tmp_path / "state", *command, "--help")
    assert (found.returncode, found.stderr) == (0, "")
    assert f"liqguard {' '.join(command)}" in found.stdout.replace("python -m bot", "liqguard")
    assert not (tmp_path / "state").exists()


def test_help_lists_every_command(tmp_path: Path) -> None:
    found = liqguard(tmp_path, "--help")
    assert all(f" {command[0]} " in found.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", [[], ["journal"]], ids=["liqguard", "journal"])
def test_without_a_command_the_help_comes_and_that_is_usage(
    tmp_path: Path, command: list[str]
) -> None:
    found = liqguard(tmp_path, *command)
    assert (found.returncode, found.stderr) == (2, "")
    assert "Usage" in found.stdout


LIVE = ["run", "--mode", "observe", "--policy", "config/policies/demo.yaml"]
SENDS = ["run", "--mode", "live", *LIVE[3:]]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["check"], 2, "Missing argument"),
        (["status"], 2, "Missing option '--account'"),
        (["hold", "--account", "demo"], 2, "Missing option '--reason'"),
        ([*EXPLAIN, "--row", "first"], 2, "--row"),
        ([*QUIET, "--mode", "live"], 2, "--data: expected only with --mode paper"),
        ([*QUIET, "--mode", "dry"], 2, "expected live, observe or paper, was 'dry'"),
        ([*QUIET, "--wire", "8900"], 2, "expected only at a venue's prices"),
        ([*LIVE, "--wire", "8900"], 3, "keys of demo: expected the files"),
        (SENDS, 2, "expected a port of `liqguard paper serve`"),
        ([*SENDS, "--untried", "--no-alerts"], 3, "keys of demo: expected the files"),
        ([*SENDS, "--untried"], 2, "--alerts: expected a file that says who is told what"),
        ([*SENDS, "--wire", "8900"], 2, "--alerts: expected a file that says who is told what"),
        ([*LIVE, "--no-alerts", "--alerts", "a.yaml"], 2, "expected a file or --no-alerts"),
        ([*LIVE, "--untried"], 2, "--untried: expected only with --mode live on the venue"),
        ([*LIVE, "--wire", "8900", "--untried"], 2, "--untried: expected only with --mode live"),
        ([*LIVE, "--untested"], 2, "--untested: expected only with --mode live"),
        ([*QUIET, "--untested"], 2, "--untested: expected only with --mode live"),
        ([*QUIET, "--untried"], 2, "--untried: expected only with --mode live on the venue"),
        (["paper", "serve", "--speed", "9"], 2, "--speed: expected only with --data"),
        (["paper", "serve", "--data", "nothing"], 3, "expected a file or a scenario"),
        ([*QUIET, "--speed", "0"], 2, "--speed"),
        ([*QUIET, "--speed", "nan"], 2, "--speed"),
        ([*QUIET, "--margin", "much"], 2, "expected a number, was 'much'"),
        ([*QUIET, "--margin", "1e300"], 2, "expected a number up to 1000000000000"),
        ([*QUIET, "--leverage", "inf"], 2, "expected a number above 0, was 'inf'"),
        ([*QUIET, "--reserve", "-1"], 2, "expected a number above 0, was '-1'"),
        ([*QUIET, "--margin", "0.001"], 3, "expected a quantity from 0.001"),
        ([*QUIET, "--nonsense"], 2, "No such option"),
        ([*QUIET, "--positions", "book.yaml"], 2, "expected --data, --symbol or --positions"),
        ([*RUN[:-1]], 2, "expected --data, --symbol or --positions"),
        ([*RUN[:-1], "--symbol", "X", "--speed", "9"], 2, "--speed: expected only with --data"),
        ([*QUIET, "--symbol", "X"], 2, "expected --data, --symbol or --positions"),
        ([*RUN[:-1], "--positions", "book.yaml"], 3, "book.yaml:1:1: policy: expected a readable"),
        (
            [*RUN[:-1], "--positions", "b.yaml", "--side", "short"],
            2,
            "for --side: expected in",
        ),
        (
            [*RUN[:-1], "--positions", "b.yaml", "--margin", "9"],
            2,
            "for --margin: expected in",
        ),
        ([*RUN, "2020-03-12-bct"], 3, "did you mean 2020-03-12-btc?"),
        ([*RUN, "/nowhere/at-all.csv"], 3, "expected a file or a scenario"),
        ([*RUN, "pyproject.toml"], 3, "expected .csv, .csv.gz or .parquet at its end"),
        (["hold", "--account", "demo", "--reason", "x"], 5, "no guard answers"),
        (["resume", "--account", "demo", "--reason", "x"], 5, "no guard answers"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    assert_refused(liqguard(tmp_path / "state", *arguments), code, words)
    assert not (tmp_path / "state").exists()


def test_a_missing_policy_is_one_line(tmp_path: Path) -> None:
    arguments = ["run", "--mode", "paper", "--policy", "no.yaml", "--data", "quiet-week-btc"]
    assert_refused(liqguard(tmp_path, *arguments), 3, "no.yaml:1:1: policy: expected a readable")


def test_a_run_on_a_bad_policy_says_where_it_is_bad(tmp_path: Path) -> None:
    text = (ROOT / "config" / "policies" / "demo.yaml").read_text(encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace("floor: 0.7%", "floor: -0.7%"), encoding="utf-8")
    arguments = ["run", "--mode", "paper", "--policy", str(file), "--data", "quiet-week-btc"]
    found = liqguard(tmp_path, *arguments)
    assert (found.returncode, found.stdout) == (3, "")
    place, source, caret = found.stderr.splitlines()
    assert place.startswith(f"{file}:13:10: protect.floor: expected a ratio")
    assert source.startswith("      floor: -0.7%  ")
    assert caret.rstrip("^") == " " * 13


def test_an_unknown_symbol_is_one_line_with_the_known_ones(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(
        "# venue: binanceusdm\n# symbol: NOPEUSDT\nts_ms,open,high,low,close,volume\n"
        "1700000000000,10,11,9,10,1\n1700003600000,10,11,9,10,1\n",
        encoding="utf-8",
    )
    found = liqguard(tmp_path / "state", *RUN, str(file))
    assert_refused(found, 3, "NOPE/USDT:USDT: expected a known contract")
    assert "BTC/USDT:USDT" in found.stderr


@pytest.mark.parametrize("below", ["", "/below"])
def test_a_state_folder_that_cannot_be_is_one_line(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("in the way")
    found = liqguard(Path(f"{tmp_path}/file{below}"), *QUIET)
    assert_refused(found, 3, "LIQGUARD_STATE_DIR: expected a folder")


def test_a_reserve_of_nothing_is_one(tmp_path: Path) -> None:
    found = liqguard(tmp_path, *QUIET, "--reserve", "0.00", "--entry-at-ms", "99999999999999")
    assert_refused(found, 3, "expected a time before the data ends")


@pytest.mark.parametrize("other", [["--margin", "900"], ["--side", "short"], ["--leverage", "9"]])
def test_a_folder_with_another_run_is_refused_and_kept(
    lived: tuple[Path, dict[str, Any]], tmp_path: Path, other: list[str]
) -> None:
    state_dir = copy_of(lived, tmp_path)
    before = (state_dir / "demo.paper.json").read_bytes()
    assert_refused(liqguard(state_dir, *CRASH, *other), 3, "other data or another position")
    assert (state_dir / "demo.paper.json").read_bytes() == before


def _forget_the_name(state_dir: Path) -> None:
    (state_dir / "demo.paper.run").unlink()


def _spoil_the_name(state_dir: Path) -> None:
    (state_dir / "demo.paper.run").write_bytes(b"\xff{")


@pytest.mark.parametrize("spoil", [_forget_the_name, _spoil_the_name])
def test_a_saved_exchange_of_unknown_origin_is_refused(
    lived: tuple[Path, dict[str, Any]], tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    state_dir = copy_of(lived, tmp_path)
    spoil(state_dir)
    assert_refused(liqguard(state_dir, *CRASH), 3, "other data or another position")


def test_a_damaged_exchange_is_one_line(
    lived: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    state_dir = copy_of(lived, tmp_path)
    file = state_dir / "demo.paper.json"
    file.write_bytes(file.read_bytes().replace(b'"wallet":"', b'"wallet":"9', 1))
    assert_refused(liqguard(state_dir, *CRASH), 3, "demo.paper.json:1: expected")


def test_a_run_ends_with_its_actions_as_json(lived: tuple[Path, dict[str, Any]]) -> None:
    _, ended = lived
    assert set(ended) == {"at_ms", "equity", "positions", "actions", "digest"}
    assert float(ended["equity"]) > 0
    for action in ended["actions"]:
        told = {"at_ms", "symbol", "side", "verb", "amount", "price", "reason", "outcome"}
        assert set(action) == told
        assert action["amount"] == str(action["amount"])
    assert {"place_stop", "top_up"} <= {action["verb"] for action in ended["actions"]}


def test_verify_says_what_it_checked(lived: tuple[Path, dict[str, Any]]) -> None:
    state_dir, ended = lived
    shown = json.loads(liqguard(state_dir, *VERIFY, "--json").stdout)
    assert set(shown) == {"rows", "decisions", "intents", "digest"}
    assert shown["digest"] == ended["digest"]
    assert shown["intents"] == sum(a["verb"] != "stop_filled" for a in ended["actions"])
    spoken = liqguard(state_dir, *VERIFY)
    assert spoken.stdout.startswith(f"verified: {shown['rows']} rows, {shown['decisions']} dec")


def test_a_damaged_journal_is_unsafe_and_named(
    lived: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    state_dir = copy_of(lived, tmp_path)
    with sqlite3.connect(state_dir / "demo.db") as database:
        for (name,) in database.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE entries SET at_ms = at_ms + 1 WHERE sequence = 7")
    database.close()
    assert_refused(liqguard(state_dir, *VERIFY), 4, "journal of demo, row 7: expected the hash")
    assert_refused(liqguard(state_dir, *EXPLAIN), 4, "row 7")


def test_what_is_no_journal_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "demo.db").write_text("not a database, but a text that is long enough" * 50)
    for arguments in (VERIFY, EXPLAIN, QUIET):
        found = liqguard(tmp_path, *arguments)
        assert_refused(found, 3, "demo.db")


def test_explain_tells_a_decision_in_words_and_in_json(
    lived: tuple[Path, dict[str, Any]],
) -> None:
    state_dir, ended = lived
    newest = json.loads(liqguard(state_dir, *EXPLAIN, "--json").stdout)
    assert set(newest) == {"row", "state", "decision", "now_ms", "outcomes"}
    approved = [each["intent"]["id"] for each in newest["decision"]["approved"]]
    assert list(newest["outcomes"]) == approved
    added = next(each for each in ended["actions"] if each["verb"] == "top_up")
    row = _row_at(state_dir, added["at_ms"])
    told = liqguard(state_dir, *EXPLAIN, "--row", str(row))
    assert told.returncode == 0
    assert f"row {row} at 2020-03-12" in told.stdout
    assert f"did: added {added['amount']} USDT margin to BTC/USDT:USDT, because" in told.stdout
    assert "liquidation_distance" in told.stdout
    assert "fires below 4.00%" in told.stdout
    assert "step liquidation-ladder/top-up (line" in told.stdout
    assert "stop: rests" in told.stdout
    assert "shrunk: asked" in told.stdout


def _row_at(state_dir: Path, at_ms: int) -> int:
    """The row of that time which decided something."""
    database = sqlite3.connect(state_dir / "demo.db")
    query = "SELECT sequence, body FROM entries WHERE kind = 'decision' AND at_ms = ?"
    found = database.execute(query, (at_ms,)).fetchall()
    database.close()
    (sequence,) = (row for row, body in found if json.loads(body)["decision"]["approved"])
    assert isinstance(sequence, int)
    return sequence


@pytest.mark.parametrize("row", ["1", "100000", "-3"])
def test_explain_names_rows_that_there_are(lived: tuple[Path, dict[str, Any]], row: str) -> None:
    assert_refused(liqguard(lived[0], *EXPLAIN, "--row", row), 3, "expected a decision row, like")


def test_check_says_every_file_and_fails_if_one_does(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("schema: liqguard/v2\n", encoding="utf-8")
    good = "config/policies/demo.yaml"
    spoken = liqguard(tmp_path, "check", str(bad), good)
    assert spoken.returncode == 3
    assert spoken.stdout == f"{good}: fine, 1 rule with 4 steps\n"
    assert spoken.stderr.startswith(
        f"{bad}:1:1: account: expected a mapping of name, venue, margin_mode, position_mode, "
        "credentials, settle, was missing\n    schema: liqguard/v2\n    ^\n"
    )
    found = liqguard(tmp_path, "check", str(bad), good, "--json")
    first, second = map(json.loads, found.stdout.splitlines())
    assert (found.returncode, found.stderr) == (3, "")
    assert first["file"] == str(bad)
    assert first["problems"][-1] == {
        "file": str(bad),
        "line": 1,
        "column": 9,
        "path": "schema",
        "expected": "liqguard/v1",
        "was": "'liqguard/v2'",
        "source": "schema: liqguard/v2",
    }
    assert (second["account"], len(second["digest"])) == ("demo", 64)
    assert (second["problems"], second["lints"]) == ([], [])


def test_check_fails_on_a_danger_and_not_on_a_warning(tmp_path: Path) -> None:
    text = (ROOT / "config" / "policies" / "demo.yaml").read_text(encoding="utf-8")
    danger, warning, invalid = (tmp_path / name for name in ("d.yaml", "w.yaml", "i.yaml"))
    danger.write_text(text.replace("slippage_max: 50 bps", "slippage_max: 2%"), encoding="utf-8")
    warning.write_text(text.replace("for: 30s, do: alert", "for: 1h, do: alert"), encoding="utf-8")
    invalid.write_text("schema: liqguard/v2\n", encoding="utf-8")
    found = liqguard(tmp_path, "check", str(danger))
    assert (found.returncode, found.stdout) == (4, f"{danger}: 1 danger, 1 rule with 4 steps\n")
    assert found.stderr.startswith(f"{danger}:12:17: protect.stop.room: danger: a stop that")
    assert found.stderr.splitlines()[2] == f"    {' ' * 16}^"
    found = liqguard(tmp_path, "check", str(warning), "--json")
    (lint,) = json.loads(found.stdout)["lints"]
    assert (found.returncode, found.stderr) == (0, "")
    assert (lint["level"], lint["name"], lint["line"]) == ("warning", "too-slow", 34)
    assert liqguard(tmp_path, "check", str(danger), str(invalid)).returncode == 3


def test_check_judges_a_policy_by_what_is_held(tmp_path: Path) -> None:
    held = tmp_path / "held.yaml"
    position = (
        "{ symbol: X, side: long, quantity: 1 X, entry_price: 9000 USDT, margin_mode: isolated, "
        "margin: 100 USDT }"
    )
    text = f"wallet: 1000 USDT\npositions:\n  - {position}\n"
    held.write_text(text, encoding="utf-8")
    check = ["check", "config/policies/demo.yaml", "--positions", str(held)]
    assert_refused(
        liqguard(tmp_path, *check), 3, "X: expected a contract that binanceusdm is known"
    )
    known = text.replace("symbol: X", "symbol: BTC/USDT:USDT").replace("1 X", "1 BTC")
    held.write_text(known, encoding="utf-8")
    found = liqguard(tmp_path, *check)
    assert found.returncode == 4
    assert "BTC/USDT:USDT isolated long is 0.71% from liquidation" in found.stderr
    assert_refused(liqguard(tmp_path, *check[:2], "--positions", "none.yaml"), 3, "none.yaml:1:1:")


def test_init_makes_a_file_that_check_finds_nothing_against(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    make = [
        "init",
        str(file),
        "--account",
        "mine",
        "--preset",
        "patient",
        "--margin-mode",
        "cross",
    ]
    made = liqguard(tmp_path, *make)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith(f"{file}: made from patient; set its amounts")
    assert liqguard(tmp_path, "check", str(file)).stdout.startswith(f"{file}: fine, 2 rules with")
    text = file.read_bytes()
    assert_refused(liqguard(tmp_path, *make), 2, "expected to make a file, was 'File exists'")
    assert file.read_bytes() == text
    other = str(tmp_path / "other.yaml")
    found = liqguard(tmp_path, "init", other, "--account", "mine", "--json")
    assert json.loads(found.stdout) == {"file": other, "account": "mine", "preset": "balanced"}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--account", "x", "--preset", "brave"], 2, "expected conservative, balanced, patient"),
        (["--account", "X"], 3, "account.name: expected 1 to 32 of a-z, 0-9 and -, was 'X'"),
        ([], 2, "Missing option"),
    ],
)
def test_init_makes_nothing_of_a_mistake(
    tmp_path: Path, options: list[str], code: int, words: str
) -> None:
    file = tmp_path / "mine.yaml"
    found = liqguard(tmp_path, "init", str(file), *options)
    assert (found.returncode, found.stdout) == (code, "")
    assert words in found.stderr
    assert not file.exists()


def test_schema_prints_the_file_that_is_checked_in(tmp_path: Path) -> None:
    found = liqguard(tmp_path, "schema")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == (ROOT / "config/policy.schema.json").read_text(encoding="utf-8")


def test_the_policies_of_the_demo_are_fine(tmp_path: Path) -> None:
    presets = sorted(str(file) for file in (ROOT / "bot/policy/presets").glob("demo*.yaml"))
    assert len(presets) == 3
    found = liqguard(tmp_path, "check", *presets)
    assert (found.returncode, found.stderr) == (0, "")


def reported(error: Exception) -> tuple[int, str]:
    stream = StringIO()
    with pytest.raises(SystemExit) as left, report_errors(stream):
        raise error
    assert isinstance(left.value.code, int)
    return left.value.code, stream.getvalue()


def test_what_failed_alone_among_tasks_is_reported_as_itself() -> None:
    full = JournalUnavailable("journal x: disk full")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [full])])
    assert reported(full) == reported(group) == (Exit.INVALID, "journal x: disk full\n")


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(LookupError), report_errors(StringIO()):
        raise LookupError("a defect")
    with pytest.raises(ExceptionGroup), report_errors(StringIO()):
        raise ExceptionGroup("two", [LookupError("a"), JournalUnavailable("b")])


def test_an_interrupted_command_says_nothing_and_leaves_130() -> None:
    with pytest.raises(SystemExit) as left, report_errors(StringIO()):
        raise KeyboardInterrupt
    assert left.value.code == 130


def test_the_commands_start_without_what_they_do_not_need(tmp_path: Path) -> None:
    """A real start, which the others are not."""
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bot", "check", "config/policies/demo.yaml"],
        cwd=ROOT,
        env={**os.environ, "LIQGUARD_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rsplit("|", 1)[-1].strip() for line in found.stderr.splitlines()}
    assert "bot.policy.loader" in loaded
    assert loaded.isdisjoint({"ccxt", "sqlalchemy", "numpy", "bot.app"})
