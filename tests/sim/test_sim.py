"""The simulation itself: it passes, is deterministic, and catches bugs planted on purpose."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.planted import PLANTED, Plant
from tests.sim.world import run_seed

ROOT = Path(__file__).parents[2]
SEEDS_MAX = 40
SEEN_BY = {"take_unknown_for_not_applied": 46, "spend_what_is_to_be_kept_free": 68}
"""The seeds that see rare bugs: in the first ones what they need does not happen."""


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_the_promises_hold(seed: int) -> None:
    assert run_seed(seed).violations == ()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_caught(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    seeds = (SEEN_BY.get(plant.__name__, 0), *range(SEEDS_MAX))
    assert any(run_seed(seed).violations for seed in seeds)


def test_a_seed_is_the_same_in_every_process() -> None:
    script = (
        "from tests.sim.world import run_seed\n"
        "print([run_seed(seed).digest for seed in (3, 7, 11)])"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout.splitlines()[-1]
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_broken_promise_is_printed_with_the_command_that_lives_it_through_again() -> None:
    script = (
        "from pytest import MonkeyPatch\n"
        "from tests.sim import planted, run\n"
        "planted.never_place_a_stop(MonkeyPatch())\n"
        "import sys; sys.argv[1:] = ['--seed', '0']\n"
        "sys.exit(run.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert "seed 0 FAILED" in done.stdout
    assert "promise 6 at" in done.stdout
    assert "tests/sim/run.py --seed 0 -v" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed"
