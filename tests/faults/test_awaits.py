"""Every wait of the write path: each site is met by a fault, and no promise breaks."""

import ast
import importlib
from pathlib import Path

import pytest

from tests.faults.awaits import UNREACHED, injections, unreached
from tests.faults.crisis import WRITE_PATH, Calm, Fault, Injection, run_crisis
from tests.faults.sites import UnknownSite, Waits, find_sites

ROOT = Path(__file__).parents[2]
STRIDE = 5
"""The least number of faults that a site can have: so each site is met at least once."""


def _chosen() -> list[Injection]:
    """One in so many, and one of each fault that none of them is."""
    every = list(injections(times=1))
    some = every[::STRIDE]
    left = set(Fault) - {each.fault for each in some}
    return some + [next(each for each in every if each.fault is fault) for fault in sorted(left)]


CHOSEN = _chosen()
ELSEWHERE = {
    "control": "answers questions, and decides and sends nothing",
    "heartbeat": "tells others that the guard lives",
    "recheck": "looks again at what was checked before the start",
    "notices": "tells humans what the journal says",
    "verify": "reads a journal at rest",
    "waiting": "what it waits for is what its callers do, whose sites are listed",
}
"""Modules of the runtime that wait, and are not of the write path."""


@pytest.mark.parametrize("injection", CHOSEN, ids=str)
def test_a_fault_at_a_wait_breaks_no_promise(injection: Injection) -> None:
    outcome = run_crisis(injection, replays=injection.site.waits is Waits.STORE)
    assert outcome.violations == (), "\n".join(outcome.history)
    assert outcome.struck


def test_the_crisis_does_everything_that_the_guard_can_do() -> None:
    outcome = run_crisis(Calm(), replays=True)
    assert outcome.violations == ()
    done = ("PlaceStop", "CancelStop", "AddMargin", "ClosePosition", "close fills", "stop fills")
    assert all(outcome.deeds[each] for each in done)


def test_every_site_is_reached_and_met_by_a_fault_and_every_fault_meets_one() -> None:
    assert unreached() == []
    known = {each for each in find_sites(WRITE_PATH) if each.place not in UNREACHED}
    assert {each.site for each in CHOSEN} == known
    assert {each.fault for each in CHOSEN} == set(Fault)


def test_every_module_of_the_runtime_that_waits_is_listed() -> None:
    waiting = set()
    for file in (ROOT / "bot/runtime").glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.Await | ast.AsyncWith) for node in ast.walk(tree)):
            waiting.add(f"bot.runtime.{file.stem}")
    assert waiting == {*WRITE_PATH, *(f"bot.runtime.{each}" for each in ELSEWHERE)} - {
        "bot.alerts.heard"
    }


@pytest.mark.parametrize(
    "source",
    [
        "async def run(self):\n    await self._somebody.elses()",
        "async def run(self):\n    async with somebody():\n        pass",
        "async def run(self, tasks):\n    tasks.create_task(self.run())",
        "async def run(self):\n    async for each in somebody():\n        pass",
    ],
)
def test_a_new_wait_of_no_known_kind_is_an_error(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_new_module.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    with pytest.raises(UnknownSite):
        find_sites(("a_new_module",))


def test_a_fault_is_seen_where_the_guard_has_nothing_against_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A guard that waits for ever, from its second life on, protects nobody any more."""
    monkeypatch.setattr("bot.runtime.waiting.READ_TIMEOUT_MS", 10**9)
    reads = next(each for each in find_sites(WRITE_PATH) if "_market.instruments" in each.text)
    assert run_crisis(Injection(reads, Fault.HANG, 4)).violations
