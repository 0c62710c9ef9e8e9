"""
The simulation's command: `python tests/sim/run.py --seeds N --first n`.

One seed with all that happens: `--seed n -v`. What of it breaks its promise: `--shrink n`.

Every seed is a whole crisis with the guard in it. A seed that breaks a promise is printed with
its last events and the one command that lives it through again. At the end: what the seeds came
to, how long guards were simulated, and what that took.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.sim.case import draw
from tests.sim.coverage import Coverage
from tests.sim.ingredients import INGREDIENTS
from tests.sim.shrink import NothingBroken, Shrunk, shrink, with_only
from tests.sim.world import Result, run_case

DAY_MS, MINUTE_S = 86_400_000, 60
EVENTS_SHOWN = 25
REPLAYED_EVERY = 3

Timed = tuple[Result, float]
"""What became of a seed, and the seconds of one core that it took."""


def main() -> int:
    """Run the seeds over two processes; 1 if any promise broke."""
    parser = argparse.ArgumentParser(description="Seeded crises, promises checked.")
    parser.add_argument("--seeds", type=int, default=50, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, action="append", help="only this one")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every event")
    parser.add_argument("--with", dest="forced", help="ingredients of every seed, by commas")
    parser.add_argument("--only", help="of --seed: nothing goes wrong but these, by commas")
    parser.add_argument("--shrink", type=int, help="what of this seed breaks its promise")
    asked = parser.parse_args()
    if asked.shrink is not None:
        return _shrink(asked.shrink)
    forced = frozenset(asked.forced.split(",") if asked.forced else ())
    if unknown := sorted(forced - INGREDIENTS.keys()):
        parser.error(f"--with: expected some of {', '.join(INGREDIENTS)}, was {unknown}")
    seeds = asked.seed or range(asked.first, asked.first + asked.seeds)
    if len(seeds) == 1:
        return _report(map(_teller(asked.verbose, asked.only, forced), seeds), asked.forced)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return _report(
            pool.map(partial(_timed, forced), seeds, chunksize=min(10, 1 + len(seeds) // 20)),
            asked.forced,
        )


def _teller(verbose: bool, only: str | None, forced: frozenset[str]) -> Callable[[int], Timed]:
    def run(seed: int) -> Timed:
        case = draw(seed, forced)
        if only is not None:
            case = with_only(case, only.split(",") if only else ())
        return run_case(case, _print if verbose else lambda line: None), 0.0

    return run


def _shrink(seed: int) -> int:
    match shrink(seed):
        case Shrunk() as shrunk:
            _print(shrunk.said)
            _print(f"{len(shrunk.kept)} of {shrunk.drawn} mishaps are enough")
            _print(f"again: {shrunk.command}")
            return 1
        case NothingBroken():
            _print(f"seed {seed} breaks no promise")
            return 0


def _timed(forced: frozenset[str], seed: int) -> Timed:
    began_s = time.process_time()
    # Deciding everything again takes as long as it did at first, and is no matter of chance.
    result = run_case(draw(seed, forced), replays=seed % REPLAYED_EVERY == 0)
    return result, time.process_time() - began_s


def _report(results: Iterable[Timed], forced: str | None) -> int:
    coverage, again = Coverage(), f" --with {forced}" if forced else ""
    began_s, spent_s, failed = time.perf_counter(), 0.0, 0
    for result, took_s in results:
        coverage.add(result)
        spent_s += took_s
        if not result.violations:
            continue
        failed += 1
        _print(f"seed {result.seed} FAILED")
        for line in (*result.violations, *result.history[-EVENTS_SHOWN:]):
            _print(f"  {line}")
        _print(f"  again: .venv/bin/python tests/sim/run.py --seed {result.seed} -v{again}")
        _print(f"  what of it is needed: make shrink SEED={result.seed}")
    for line in coverage.lines():
        _print(line)
    days, minutes = coverage.guarded_ms / DAY_MS, (time.perf_counter() - began_s) / MINUTE_S
    _print(
        f"{coverage.seeds} crises in {minutes:.1f} minutes, {spent_s:.0f} s of one core: "
        f"{days / minutes:.1f} guard-days a minute"
    )
    _print(f"{coverage.seeds - failed} passed, {failed} failed")
    return 1 if failed else 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
