"""`liqguard test`: verdicts for people, programs and build servers, and the gate before live."""

import json
import os
import subprocess
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

from tests.cli.forked import run_forked

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "config" / "policies" / "demo.yaml"

CASES = """\
schema: liqguard/v1
policy: mine.yaml
tests:
  - name: calm
    interval: 1s
    given:
      wallet: 1000 USDT
      positions:
        - symbol: BTC/USDT:USDT
          side: long
          quantity: 0.2 BTC
          entry_price: 50000 USDT
          margin_mode: isolated
          margin: 1000 USDT
    prices: { "BTC/USDT:USDT": 50000x20 }
    expect:
      - { at: end, actions: [place_stop], liquidated: false }
"""
WRONG = CASES.replace("[place_stop]", "[top_up 250 USDT]")


def liqguard(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_forked(arguments, os.environ, timeout_s=100)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    policy = tmp_path / "mine.yaml"
    policy.write_text(DEMO.read_text(encoding="utf-8"), encoding="utf-8")
    return policy


def write(mine: Path, cases: str) -> Path:
    beside = mine.with_name("mine_test.yaml")
    beside.write_text(cases, encoding="utf-8")
    return beside


def test_passing_cases_are_a_line_each(mine: Path) -> None:
    beside = write(mine, CASES)
    for file in (mine, beside):  # a policy stands for the tests beside it
        done = liqguard("test", str(file))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{beside}:4: calm: ok\n1 passed, 0 failed\n"


def test_a_failed_case_says_what_when_and_why(mine: Path) -> None:
    beside = write(mine, WRONG)
    done = liqguard("test", str(beside), "--diff")
    assert done.returncode == 4
    first, second, why, *diff, last = done.stdout.splitlines()
    assert first == f"{beside}:4: calm: FAILED"
    assert second == (
        f"  {beside}:17: at 20s: actions: expected top_up 250 USDT, was place_stop 45868.9 USDT"
    )
    assert why.startswith("    why: as decided ")
    assert "distance 9.64%" in why
    assert "    - top_up 250 USDT" in diff
    assert last == "0 passed, 1 failed"


def test_programs_get_json_and_build_servers_junit(mine: Path, tmp_path: Path) -> None:
    beside = write(mine, WRONG)
    report = tmp_path / "junit.xml"
    done = liqguard("test", str(beside), "--json", "--junit", str(report))
    assert done.returncode == 4
    (case,) = json.loads(done.stdout)["cases"]
    assert case["name"] == "calm"
    assert not case["passed"]
    (failure,) = case["failures"]
    assert (failure["line"], failure["at_ms"], failure["claim"]) == (17, 20_000, "actions")
    suite = parse(report).getroot()[0]  # noqa: S314 - written a moment ago by ourselves
    assert suite.attrib["failures"] == "1"
    assert suite[0][0].tag == "failure"


def test_coverage_names_the_steps_that_no_case_fired(mine: Path) -> None:
    done = liqguard("test", str(write(mine, CASES)), "--coverage")
    assert "steps that fired in no case: liquidation-ladder/warn, " in done.stdout


def test_only_matching_cases_run(mine: Path) -> None:
    done = liqguard("test", str(write(mine, WRONG)), "--run", "nothing like it")
    assert (done.returncode, done.stdout) == (0, "0 passed, 0 failed\n")


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        (
            CASES.replace("actions:", "states: { liquidation-ladder/wran: firing }, actions:"),
            "liquidation-ladder/warn",
        ),
        (CASES.replace("BTC/USDT:USDT", "NIL/USDT:USDT").replace("BTC", "NIL"), "NIL/USDT:USDT"),
        (CASES.replace("50000x20", "50000xx20"), "cannot read '50000xx20'"),
        (CASES.replace("policy: mine.yaml", "policy: other.yaml"), "other.yaml"),
    ],
)
def test_what_cannot_be_tried_is_named(mine: Path, cases: str, words: str) -> None:
    done = liqguard("test", str(write(mine, cases)))
    assert (done.returncode, done.stdout) == (3, "")
    assert words in done.stderr


def test_live_needs_passing_tests_or_to_be_told_otherwise(mine: Path) -> None:
    live = ["run", "--mode", "live", "--policy", str(mine), "--data", "quiet-week-btc"]
    nowhere = liqguard("run", "--mode", "live", "--policy", "nowhere.yaml")
    assert (nowhere.returncode, nowhere.stdout) == (3, "")
    assert "nowhere.yaml:1:1: policy: expected a readable" in nowhere.stderr
    untested = liqguard(*live)
    assert untested.returncode == 4
    assert "expected tests in" in untested.stderr
    write(mine, WRONG)
    failing = liqguard(*live)
    assert failing.returncode == 4
    assert "expected its tests to pass, was 1 failed: calm" in failing.stderr
    write(mine, CASES)
    for allowed in (live, [*live, "--untested"]):  # the adapters themselves come later
        assert liqguard(*allowed).returncode == 2
