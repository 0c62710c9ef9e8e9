"""
The simulation's command: `python tests/sim/run.py --seeds N --first n`, or `--seed n -v`.

Every seed is a whole crisis with the guard in it. A seed that breaks a promise is printed with
its last events and the one command that lives it through again.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.sim.world import Result, run_seed

HOUR_MS = 3_600_000
EVENTS_SHOWN = 25


def main() -> int:
    """Run the seeds over two processes; 1 if any promise broke."""
    parser = argparse.ArgumentParser(description="Seeded crises, promises checked.")
    parser.add_argument("--seeds", type=int, default=50, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, action="append", help="only this one")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every event")
    asked = parser.parse_args()
    seeds = asked.seed or range(asked.first, asked.first + asked.seeds)
    if len(seeds) == 1:
        return _report(map(_teller(asked.verbose), seeds))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return _report(pool.map(run_seed, seeds))


def _teller(verbose: bool) -> Callable[[int], Result]:
    def run(seed: int) -> Result:
        return run_seed(seed, _print) if verbose else run_seed(seed)

    return run


def _report(results: Iterable[Result]) -> int:
    faults: Counter[str] = Counter()
    deeds: Counter[str] = Counter()
    guarded_ms, passed, failed = 0, 0, 0
    for result in results:
        faults.update(result.faults)
        deeds.update(result.deeds)
        guarded_ms += result.guarded_ms
        if not result.violations:
            passed += 1
            continue
        failed += 1
        _print(f"seed {result.seed} FAILED")
        for line in (*result.violations, *result.history[-EVENTS_SHOWN:]):
            _print(f"  {line}")
        _print(f"  again: .venv/bin/python tests/sim/run.py --seed {result.seed} -v")
    _print(f"simulated guard-hours: {guarded_ms / HOUR_MS:.1f}")
    _print(f"faults: {_counted(faults)}")
    _print(f"done: {_counted(deeds)}")
    _print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())) or "none"


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
