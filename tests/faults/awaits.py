"""
Every wait of the write path, met by every fault: `python tests/faults/awaits.py [--times N]`.

Each is a crisis of its own. Prints what broke, with the command that lives it through again, and
how much was covered; fails if a promise broke or a site was never reached.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.crisis import (
    NOT_APPLICABLE,
    WRITE_PATH,
    Calm,
    Fault,
    Injection,
    Outcome,
    applies,
    run_crisis,
)
from tests.faults.sites import Site, Waits, find_sites

_BANNED = "needs a ban, or a venue that wants no reads"
_CHARTS = "needs a rule on volatility: nothing is sent on what it brings alone"
_CLEARS = "needs a venue that counts stops against a close"
UNREACHED = {
    "alerts.heard.HeardJournal.close#0": "the last thing of a process: nothing is under way",
    "runtime.assemble._first_read#1": _BANNED,
    "runtime.assemble.assemble#2": _BANNED,
    "runtime.executor.Executor._clear_way#0": _CLEARS,
    "runtime.executor.Executor._clear_way#1": _CLEARS,
    "runtime.feed.Feed._chart#1": _CHARTS,
    "runtime.feed.Feed._chart#2": _CHARTS,
    "runtime.feed.Feed._chart#3": _CHARTS,
    "runtime.feed.Feed._hold_back#0": _BANNED,
    "runtime.feed.Feed._hold_back#1": _BANNED,
    "runtime.feed.Feed._listen#1": _BANNED,
    "runtime.feed.Feed._poll#3": _BANNED,
    "runtime.feed.Feed._poll#4": _BANNED,
    "runtime.feed.Feed._read_bars#0": _CHARTS,
    "runtime.feed.Feed._read_bars#1": _CHARTS,
    "runtime.gate.Gate.server_time_ms#0": "nothing asks for it through the gate",
    "runtime.reconcile.Reconciler.settle#3": _BANNED,
}
"""Sites that the crisis does not pass, and what it would need: they are not covered."""

EVENTS_SHOWN = 40


def injections(times: int) -> Iterator[Injection]:
    """Every fault at every site, at up to so many of the times that a calm crisis passes it."""
    calm = run_crisis(Calm())
    for site in find_sites(WRITE_PATH):
        passed = calm.passed_early[site] or calm.passed[site]
        for fault in Fault:
            if applies(site, fault):
                for occurrence in _spread(passed, times):
                    yield Injection(site, fault, occurrence)


def unreached() -> list[Site]:
    """The sites that a calm crisis does not pass, without those that are known."""
    passed = run_crisis(Calm()).passed
    return [
        site for site in find_sites(WRITE_PATH) if not passed[site] and site.place not in UNREACHED
    ]


def _spread(passed: int, times: int) -> list[int]:
    """Up to `times` of the numbers from 1 to `passed`: the last, the first, and between."""
    if passed <= times:
        return list(range(1, passed + 1))
    return [passed - each * (passed - 1) // max(times - 1, 1) for each in range(times)]


def main() -> int:
    """Meet them all over some processes; 1 if a promise broke or a site was not reached."""
    parser = argparse.ArgumentParser(description="Every wait of the write path x every fault.")
    parser.add_argument("--times", type=int, default=3, help="at how many passes of each site")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    parser.add_argument("--only", help="only injections whose name has this in it; tells all")
    asked = parser.parse_args()
    chosen = [each for each in injections(asked.times) if (asked.only or "") in str(each)]
    if asked.only:
        results = map(_teller(_print), chosen)
        return _report(chosen, results)
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        return _report(chosen, pool.map(_run, chosen))


def _run(injection: Injection) -> Outcome:
    # Deciding everything again takes as long as the crisis: only where the journal was met.
    return run_crisis(injection, replays=injection.site.waits is Waits.STORE)


def _teller(tell: Callable[[str], None]) -> Callable[[Injection], Outcome]:
    return lambda injection: run_crisis(injection, tell, replays=True)


def _report(chosen: list[Injection], outcomes: Iterator[Outcome]) -> int:
    failed = missed = 0
    covered: Counter[tuple[Site, Fault]] = Counter()
    for injection, outcome in zip(chosen, outcomes, strict=True):
        covered[injection.site, injection.fault] += outcome.struck
        missed += not outcome.struck
        if outcome.violations:
            failed += 1
            _print(f"FAILED: {injection}")
            for line in (*outcome.violations, *outcome.history[-EVENTS_SHOWN:]):
                _print(f"  {line}")
            _print(f"  again: .venv/bin/python tests/faults/awaits.py --only '{injection}'")
    sites = find_sites(WRITE_PATH)
    rows = [(site, fault) for site in sites for fault in Fault]
    possible = [(site, fault) for site, fault in rows if applies(site, fault)]
    _print(f"sites of the write path: {len(sites)}; site x fault: {len(rows)}")
    _print(f"  met: {sum(bool(covered[row]) for row in possible)} of {len(possible)} possible")
    for waits, why in NOT_APPLICABLE.items():
        cannot = sum(site.waits is waits and not applies(site, fault) for site, fault in rows)
        _print(f"  cannot be, {cannot} at {waits} sites: {why}")
    for where, why in UNREACHED.items():
        _print(f"  not reached, {where}: {why}")
    _print(f"crises: {len(chosen)}, {missed} in which the site was not passed so often")
    left = unreached()
    for site in left:
        _print(f"NOT REACHED: {site}")
    _print(f"{len(chosen) - failed} kept every promise, {failed} did not")
    return 1 if failed or left else 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
