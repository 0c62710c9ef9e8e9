"""
Ingredients that a seed has or has not by a stream of that ingredient's own.

What one of them draws shifts nothing else: a seed without it is what it was before there was it.
The word in each stream's name is chosen so that the seeds which are known to see a planted bug are
without (`python -m tests.sim.words` looks for such words).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

Stream = Callable[[str], Random]
"""A random stream by its name, always the same one."""


@dataclass(frozen=True, slots=True)
class Ingredient:
    """Which share of the seeds have it, and the word in the names of its streams."""

    share: float
    word: str


VARIANTS: Mapping[str, Ingredient] = {
    "no_margin_history": Ingredient(0.15, "13"),
    "recorded": Ingredient(0.2, "5011"),
}
"""What a seed may be about where nothing goes wrong."""

MISHAPS: Mapping[str, Ingredient] = {
    "garbled": Ingredient(0.05, "11"),
    "stops_unread": Ingredient(0.05, "0"),
    "lacking": Ingredient(0.0, "0"),
    "prices_late": Ingredient(0.05, "20"),
    "notices_late": Ingredient(0.05, "24"),
    "maintenance": Ingredient(0.05, "8"),
    "venue_jumps": Ingredient(0.05, "8"),
    "wall_jumps": Ingredient(0.05, "0"),
    "commits_fails": Ingredient(0.04, "9"),
    "append_fails": Ingredient(0.04, "2"),
    "bot_reenters": Ingredient(0.04, "2"),
    "delisted": Ingredient(0.03, "13"),
    "margin_mode": Ingredient(0.03, "20"),
    "position_mode": Ingredient(0.02, "3"),
    "rival": Ingredient(0.03, "1"),
    "deleveraged": Ingredient(0.04, "9"),
}
"""What goes wrong, but where nothing does."""

INGREDIENTS: Mapping[str, Ingredient] = {**VARIANTS, **MISHAPS}

FORCED_ONLY = frozenset(kind for kind, each in INGREDIENTS.items() if not each.share)
"""Those that no seed has unless it is told to: what is to mend them is still under way."""

LATE_MAX_MS = 3_000
"""A price or a notice comes at most so much late: within the age that no policy allows for."""


def streams_of(seed: int) -> Stream:
    """The random streams of a seed."""
    return lambda name: Random(f"{seed}:{name}")


def own_stream(stream: Stream, kind: str, what: str) -> Random:
    """What an ingredient draws its `what` from."""
    return stream(f"{kind} {INGREDIENTS[kind].word}: {what}")


def draw_ingredients(stream: Stream, *, calm: bool) -> frozenset[str]:
    """Those of a seed, of which nothing goes wrong in a `calm` one."""
    return frozenset(
        kind
        for kind, each in INGREDIENTS.items()
        if own_stream(stream, kind, "whether").random() < each.share
        and not (calm and kind in MISHAPS)
    )
