"""
The planted bugs over more seeds: `python tests/sim/mutants.py --seeds N --first n [--only NAME]`.

Each is tried on the seed that is known to see it, then on the others, then on the tests that it
names, which alone see one that no seed can. Prints what catches it; one that survives them all is
listed at the end, with what was said instead, and fails.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import assert_never

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.sim.planted import MECHANISM, PLANTED, Caught, Failed, Survived, hunt


def main() -> int:
    """Hunt every planted bug over two processes; 1 if any survived."""
    parser = argparse.ArgumentParser(description="Planted bugs, each to be caught.")
    parser.add_argument("--seeds", type=int, default=50, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--only", action="append", help="only the bug of this name")
    asked = parser.parse_args()
    numbers = [
        number for number, each in enumerate(PLANTED) if not asked.only or each.name in asked.only
    ]
    tasks = [(number, asked.first, asked.first + asked.seeds) for number in numbers]
    survivors = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for number, found in zip(numbers, pool.map(_try, tasks), strict=True):
            planted = PLANTED[number]
            match found:
                case Caught(seed, said):
                    known = "" if seed == planted.seed else f", not by {planted.seed} any more"
                    _print(f"{planted.name}: seed {seed}{known}: {said[:120]}")
                case Failed(said):
                    _print(f"{planted.name}: no seed, but {said[:300]}")
                case Survived(seen):
                    survivors.append((planted, seen))
                    _print(f"{planted.name}: SURVIVED")
                case _:
                    assert_never(found)
    caught = len(numbers) - len(survivors)
    meant = sum(number >= len(MECHANISM) for number in numbers)
    _print(f"{caught} of {len(numbers)} planted bugs caught, {meant} of them of semantics")
    for planted, seen in survivors:
        _print(f"SURVIVED {asked.seeds} seeds: {planted.name}, breaks {sorted(planted.promises)}")
        for said in seen[:5]:
            _print(f"  {said[:160]}")
    return 1 if survivors else 0


def _try(task: tuple[int, int, int]) -> Caught | Failed | Survived:
    number, first, last = task
    planted = PLANTED[number]
    return hunt(planted, dict.fromkeys((planted.seed, *range(first, last))))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
