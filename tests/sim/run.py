"""
The simulation's command: `python tests/sim/run.py --seeds N --first n`.

Every seed is a whole crisis with the guard in it. A seed that breaks a promise is printed with
its last events and the one command that lives it through again.
"""

import argparse
import logging
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.sim.world import Result, run_seed

HOUR_MS = 3_600_000


def _run_quietly(seed: int) -> Result:
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    return run_seed(seed)


def main() -> int:
    """Run the seeds over two processes; 1 if any promise broke."""
    parser = argparse.ArgumentParser(description="Seeded crises, promises checked.")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    faults: Counter[str] = Counter()
    guarded_ms, failed = 0, 0
    with ProcessPoolExecutor(2) as pool:
        for result in pool.map(_run_quietly, range(asked.first, asked.first + asked.seeds)):
            faults.update(result.faults)
            guarded_ms += result.guarded_ms
            if result.violations:
                failed += 1
                lines = (f"seed {result.seed}", *result.violations[:3], *result.history)
                sys.stdout.write("\n  ".join(lines) + "\n")
                sys.stdout.write(f"  again: make sim SEEDS=1 FIRST={result.seed}\n")
    counted = ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
    sys.stdout.write(f"guarded hours: {guarded_ms / HOUR_MS:.1f}; {counted}\n")
    sys.stdout.write(f"{asked.seeds - failed} passed, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
