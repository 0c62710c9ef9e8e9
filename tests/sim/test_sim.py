"""The simulation itself: it passes, is deterministic, and catches bugs planted on purpose."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.core import act, guardrails, protection, sizing, upkeep
from bot.core import state as core_state
from bot.core.guardrails import Approved
from bot.core.model import Side
from bot.core.units import Ratio
from bot.exchange.ports import Unsure
from bot.runtime import record
from bot.runtime.executor import Executor
from bot.runtime.guard import Guard
from tests.sim.world import run_seed

ROOT = Path(__file__).parents[2]
SEEDS_MAX = 40
Plant = Callable[[pytest.MonkeyPatch], None]


def resend_on_unsure(patch: pytest.MonkeyPatch) -> None:
    send = Executor._send

    async def twice(self: Executor, approved: Approved) -> Any:
        reply = await send(self, approved)
        return await send(self, approved) if isinstance(reply, Unsure) else reply

    patch.setattr(Executor, "_send", twice)


def close_the_wrong_side(patch: pytest.MonkeyPatch) -> None:
    review = guardrails.review_close

    def flipped(*arguments: Any) -> Any:
        found = review(*arguments)
        if not isinstance(found, Approved):
            return found
        side = Side.SHORT if found.intent.action.side is Side.LONG else Side.LONG
        action = replace(found.intent.action, side=side)
        return replace(found, intent=replace(found.intent, action=action))

    patch.setattr(act, "review_close", flipped)


def forget_budgets_on_restart(patch: pytest.MonkeyPatch) -> None:
    resumed = core_state.resumed
    patch.setattr(record, "resumed", lambda *a: replace(resumed(*a), intents={}))


def place_stops_beyond_liquidation(patch: pytest.MonkeyPatch) -> None:
    at_distance = sizing.price_at_distance
    patch.setattr(
        protection,
        "price_at_distance",
        lambda instrument, side, level, room: at_distance(instrument, side, level, Ratio(-room)),
    )


def never_place_a_stop(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upkeep, "_place", lambda *arguments: None)


def send_without_a_row(patch: pytest.MonkeyPatch) -> None:
    async def skip(self: Guard, *arguments: Any) -> None:
        self._unwritten.clear()
        del arguments

    patch.setattr(Guard, "_make_durable", skip)


PLANTED: list[Plant] = [
    resend_on_unsure,
    close_the_wrong_side,
    forget_budgets_on_restart,
    place_stops_beyond_liquidation,
    never_place_a_stop,
    send_without_a_row,
]


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_the_promises_hold(seed: int) -> None:
    assert run_seed(seed).violations == ()


@pytest.mark.timeout(200)
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_caught(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert any(run_seed(seed).violations for seed in range(SEEDS_MAX))


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
