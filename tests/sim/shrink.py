"""
The shrinker: of all that goes wrong in a seed, the little that its broken promise needs.

Delta debugging (Zeller and Hildebrandt, 2002) over what the seed has drawn: each kind of fault
that strikes by chance, and each single outage, kill and deed of a user. What is left is
1-minimal: without any one of it the promise holds. The prices stay as they are, and a run ends
at the first broken promise anyway.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.exchange.paper.faults import FaultPlan
from tests.sim.case import Case, draw
from tests.sim.ingredients import INGREDIENTS
from tests.sim.mishaps import NETWORK, OTHER, Windows
from tests.sim.world import Result, run_case

BY_CHANCE = ("margin_lost", "margin_queued", "read_late", "said_twice", "skewed")
OWN = tuple(kind for kind in INGREDIENTS if kind != "maintenance")
"""Besides those of the network."""

WEATHER = frozenset(OTHER) - {"margin_lost", "stops_down_for_good", "user_reenters"}
"""Part of the prices and the book: they stay."""

JOURNAL = "11"
"""The promise that only a replay of the journal can break."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The mishaps that are enough, by name, out of `drawn`, for a seed to break `promise`."""

    seed: int
    promise: str
    drawn: int
    kept: tuple[str, ...]
    said: str

    @property
    def command(self) -> str:
        """What lives it through again."""
        names = ",".join(self.kept)
        return f'.venv/bin/python tests/sim/run.py --seed {self.seed} --only "{names}" -v'


@dataclass(frozen=True, slots=True)
class NothingBroken:
    """The seed keeps every promise."""


def mishaps_of(case: Case) -> tuple[str, ...]:
    """Names of all that goes wrong in a case."""
    swarm, start_ms = case.swarm, case.starts_at_ms
    names = [kind for kind in (*NETWORK, *BY_CHANCE, *OWN) if kind in swarm.enabled]
    for kind, windows in swarm.outages.items():
        names += [_at(kind, first_ms, start_ms) for first_ms, _ in windows.spans]
    names += [_at("kill", kill.at_ms, start_ms) for kill in swarm.kills]
    names += [_at(kind, at_ms, start_ms) for at_ms, kind in swarm.human]
    return tuple(dict.fromkeys(names))


def with_only(case: Case, names: Sequence[str]) -> Case:
    """The case in which nothing else goes wrong. Raises `ValueError` for what it does not know."""
    if unknown := sorted(set(names) - set(mishaps_of(case))):
        raise ValueError(f"seed {case.seed}: nothing in it is called {', '.join(unknown)}")
    swarm, start_ms, kept = case.swarm, case.starts_at_ms, frozenset(names)
    outages = {
        kind: Windows(
            tuple(span for span in windows.spans if _at(kind, span[0], start_ms) in kept)
        )
        for kind, windows in swarm.outages.items()
    }
    kinds = {name.partition("@")[0] for name in kept}
    kinds |= {kind for kind in swarm.enabled if kind.startswith("kill_") and "kill" in kinds}
    if "stops_down" in kinds:
        kinds.add("stops_down_for_good")
    return replace(
        case,
        swarm=replace(
            swarm,
            enabled=swarm.enabled & (kinds | WEATHER),
            plan=_plan_with(swarm.plan, kept),
            outages=outages,
            kills=tuple(kill for kill in swarm.kills if _at("kill", kill.at_ms, start_ms) in kept),
            jumps=swarm.jumps if "venue_jumps" in kept else (),
            human=tuple(deed for deed in swarm.human if _at(deed[1], deed[0], start_ms) in kept),
            **_chances(kept),
        ),
    )


def shrink(seed: int) -> Shrunk | NothingBroken:
    """Find what of a seed is enough to break the promise that all of it breaks."""
    case = draw(seed)
    drawn = mishaps_of(case)
    whole = run_case(case)
    if not whole.violations:
        return NothingBroken()
    promise = _broken(whole)
    said = whole.violations[0]

    def breaks(names: Sequence[str]) -> bool:
        nonlocal said
        result = run_case(with_only(case, names), replays=promise == JOURNAL)
        if not result.violations or _broken(result) != promise:
            return False
        said = result.violations[0]
        return True

    kept = _least(drawn, breaks)
    return Shrunk(seed, promise, len(drawn), tuple(kept), said)


def _least(names: Sequence[str], breaks: Callable[[Sequence[str]], bool]) -> Sequence[str]:
    """A part of the names that `breaks`, of which no single one can be left out."""
    if breaks(()):
        return ()
    parts = 2
    while len(names) > 1:
        size = -(-len(names) // parts)
        slices = [names[start : start + size] for start in range(0, len(names), size)]
        rests = [[name for name in names if name not in part] for part in slices]
        fewer = next((each for each in (*slices, *rests) if len(each) and breaks(each)), None)
        if fewer is not None and len(fewer) < len(names):
            parts = 2 if any(fewer is each for each in slices) else max(parts - 1, 2)
            names = fewer
        elif size == 1:
            break
        else:
            parts = min(2 * parts, len(names))
    return names


def _broken(result: Result) -> str:
    """The promise that broke first."""
    return result.violations[0].removeprefix("promise ").partition(" at ")[0]


def _at(kind: str, at_ms: int, start_ms: int) -> str:
    return f"{kind}@{(at_ms - start_ms) / 1000:.3f}"


def _plan_with(plan: FaultPlan, kept: frozenset[str]) -> FaultPlan:
    off: dict[str, Any] = {kind: 0.0 for kind in NETWORK if kind not in kept}
    return replace(plan, **off)


def _chances(kept: frozenset[str]) -> dict[str, Any]:
    """What is to be changed of a swarm for it to lack the others that strike by chance."""
    off: dict[str, Any] = {kind: 0 for kind in BY_CHANCE if kind not in kept}
    if "margin_lost" in off:
        off["margin_reply_lost"] = 0
    if "skewed" in off:
        off["skew_ms"] = off.pop("skewed")
    return off
