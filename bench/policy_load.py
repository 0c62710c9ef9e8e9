"""
How long reading a policy file takes, by its size: `python bench/policy_load.py [files]`.

The files are those of the loader's fuzz. No row may show a slowest file of more than twenty times
its median; `make fuzz` holds every file to that.
"""

import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.policy.fuzz import Read, read

FILES = 2_000
BOUNDS = (500, 1_000, 2_000, 3_000, 4_000, 8_000, 16_000, 32_000, 10**9)


def main() -> None:
    """Read the files one after the other and print a row for each range of sizes."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    reads = [read(number) for number in range(files)]
    sys.stdout.write("characters     files   median ms   slowest ms   times\n")
    lower = 0
    for upper in BOUNDS:
        _row(f"up to {upper}", [each for each in reads if lower <= each.size < upper])
        lower = upper
    _row("all", reads)


def _row(name: str, reads: list[Read]) -> None:
    if reads:
        usual = median(each.taken_ns for each in reads) / 1e6
        slowest = max(each.taken_ns for each in reads) / 1e6
        row = f"{name:16}{len(reads):4}{usual:12.2f}{slowest:13.2f}{slowest / usual:8.1f}"
        sys.stdout.write(f"{row}\n")


if __name__ == "__main__":
    main()
