"""The simulation itself: it passes, is deterministic, and catches bugs planted on purpose."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.accounts import Kind, draw_kind
from tests.sim.case import draw
from tests.sim.ingredients import FORCED_ONLY, INGREDIENTS, draw_ingredients, streams_of
from tests.sim.planted import PLANTED, UNSEEN, Caught, Failed, Planted, Survived, hunt
from tests.sim.words import CI_SEEDS
from tests.sim.world import run_seed

ROOT = Path(__file__).parents[2]
QUICK = tuple(
    each for each in PLANTED if each.seed != UNSEEN and draw_kind(each.seed) is Kind.ALONE
)
"""Those that one isolated position is enough to see; `make mutants` hunts them all."""

OTHERS = range(0, 40, 2)


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_the_promises_hold(seed: int) -> None:
    assert run_seed(seed).violations == ()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("planted", QUICK, ids=lambda planted: planted.name)
def test_a_planted_bug_is_caught(planted: Planted) -> None:
    """By a promise that it breaks; the seed that is known to see it comes first."""
    found = hunt(planted, (planted.seed, *OTHERS))
    assert isinstance(found, Caught), found


def test_the_seeds_of_every_build_have_every_ingredient() -> None:
    had = {kind for seed in CI_SEEDS for kind in draw(seed).swarm.enabled}
    assert had >= INGREDIENTS.keys() - FORCED_ONLY


def test_the_seeds_that_are_known_to_see_a_bug_have_no_ingredient() -> None:
    for seed in sorted({each.seed for each in PLANTED}):
        assert not draw_ingredients(streams_of(seed), calm=False), seed


def test_a_seed_without_an_ingredient_is_what_it_was_before_there_was_one() -> None:
    """What is drawn for it comes out of streams of its own."""
    plain, forced = draw(2), draw(2, INGREDIENTS.keys() - {"maintenance"})
    assert plain.swarm.enabled & INGREDIENTS.keys() == frozenset()
    assert (plain.policy_text, plain.weather, plain.swarm.plan, plain.swarm.kills) == (
        forced.policy_text,
        forced.weather,
        forced.swarm.plan,
        forced.swarm.kills,
    )
    assert set(plain.swarm.human) <= set(forced.swarm.human)


@pytest.mark.parametrize(
    "planted", [each for each in PLANTED if each.tests], ids=lambda planted: planted.name
)
def test_a_planted_bug_that_hardly_any_seed_sees_fails_a_test(planted: Planted) -> None:
    assert isinstance(hunt(planted, ()), Failed)
    for test in planted.tests:
        test()  # without the bug it passes


def test_a_bug_that_no_seed_sees_survives() -> None:
    harmless = Planted(lambda patch: None, frozenset({"6"}), 6)
    assert hunt(harmless, [harmless.seed]) == Survived(())


@pytest.mark.timeout(600)
def test_a_seed_is_the_same_in_every_process() -> None:
    """Journal and requests, byte for byte, however the process hashes strings."""
    script = (
        "from tests.sim.world import run_seed\n"
        "for seed in range(3000, 3050): print(seed, run_seed(seed, replays=False).digest)"
    )
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    )
    said, again = first.communicate()[0].splitlines(), second.communicate()[0].splitlines()
    assert len(said) == 50
    assert said == again


def test_a_broken_promise_is_printed_with_the_command_that_lives_it_through_again() -> None:
    script = (
        "from pytest import MonkeyPatch\n"
        "from tests.sim import plants_mechanism, run\n"
        "plants_mechanism.never_place_a_stop(MonkeyPatch())\n"
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
