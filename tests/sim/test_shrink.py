"""The shrinker: what it leaves breaks the same promise, and nothing of it can be left out."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim import plants_mechanism
from tests.sim.case import draw
from tests.sim.shrink import NothingBroken, Shrunk, mishaps_of, shrink, with_only
from tests.sim.world import run_case

ROOT = Path(__file__).parents[2]
SEED = 68
"""In which a user puts the guard on hold, it is killed, and much else happens."""


@pytest.mark.timeout(300)
def test_a_hold_and_a_kill_are_left_of_a_bug_that_needs_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plants_mechanism.forget_the_hold_on_restart(monkeypatch)
    shrunk = shrink(SEED)
    assert isinstance(shrunk, Shrunk)
    assert shrunk.promise == "7"
    assert shrunk.drawn > 4
    assert sorted(name.partition("@")[0] for name in shrunk.kept) == ["kill", "user_holds"]
    for name in shrunk.kept:
        rest = [each for each in shrunk.kept if each != name]
        assert run_case(with_only(draw(SEED), rest)).violations == ()
    done = _run_planted(shrunk.command)
    assert done.returncode == 1
    assert shrunk.said in done.stdout


def _run_planted(command: str) -> subprocess.CompletedProcess[str]:
    """What the printed command does where the bug is."""
    script = (
        "from pytest import MonkeyPatch\n"
        "from tests.sim import plants_mechanism, run\n"
        "plants_mechanism.forget_the_hold_on_restart(MonkeyPatch())\n"
        f"import shlex, sys; sys.argv = shlex.split({command!r})[1:]\n"
        "sys.exit(run.main())"
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_case_with_all_its_mishaps_is_the_case() -> None:
    case = draw(SEED)
    assert with_only(case, mishaps_of(case)) == case


def test_a_case_without_mishaps_has_none() -> None:
    assert mishaps_of(with_only(draw(SEED), ())) == ()


def test_what_a_seed_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing in it is called kill@1"):
        with_only(draw(SEED), ("kill@1.000",))


def test_a_seed_that_breaks_nothing_is_not_shrunk() -> None:
    assert shrink(1000) == NothingBroken()
