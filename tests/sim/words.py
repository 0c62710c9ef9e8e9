"""
Finds the words in the names of the ingredients' streams: `python -m tests.sim.words`.

A seed that is known to see a planted bug is to be without every ingredient, so that it goes on
seeing it, and some of the seeds of every build are to be with it. A word is a number; the first
one that does both is printed.
"""

import sys
from itertools import count
from random import Random

from tests.sim.ingredients import FORCED_ONLY, INGREDIENTS
from tests.sim.planted import PLANTED

CI_SEEDS = range(100)
"""Those of every build."""

AT_LEAST = 3
"""In a seed in which nothing goes wrong there is none of them."""


def word_for(kind: str, share: float, seeds: frozenset[int]) -> str:
    """The first word under which none of the seeds has the ingredient."""

    def has(word: str, seed: int) -> bool:
        return Random(f"{seed}:{kind} {word}: whether").random() < share

    return next(
        word
        for word in map(str, count())
        if not any(has(word, seed) for seed in seeds)
        and sum(has(word, seed) for seed in CI_SEEDS) >= AT_LEAST
    )


def main() -> None:
    """Print a word for each ingredient whose own one does not do any more."""
    seeds = frozenset(each.seed for each in PLANTED)
    for kind in sorted(INGREDIENTS.keys() - FORCED_ONLY):
        each = INGREDIENTS[kind]
        sys.stdout.write(f"{kind}: {word_for(kind, each.share, seeds)}, is {each.word}\n")


if __name__ == "__main__":
    main()
