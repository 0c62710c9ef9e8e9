"""
How fast the guard is, and how often it is not enough: `python tests/figures/run.py`.

`--breaches N`: so many times twenty positions breach at one moment, for each verb. `--crises N
--first n`: so many seeds of the simulation, with the guard and without. What each figure means is
in docs/crises.md. `make figures` runs both; the numbers are of the exchange's own history.
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.figures.breaches import VERBS, Breach, Truth, run
from tests.figures.fates import Fate, Naked, Why, fate_of

DAY_MS = 86_400_000
PACES = (60, 6)
"""Actions a minute that the policy allows; six is what the presets have."""

STAGES = (
    ("seen by the guard", "breached_ms", "seen_ms"),
    ("sent", "seen_ms", "sent_ms"),
    ("performed by the exchange", "sent_ms", "safer_ms"),
    ("verified", "safer_ms", "verified_ms"),
)


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that so large a share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


def speed(times: int) -> Iterator[str]:
    """The table of breach to verified safer, and where the time goes."""
    yield "| step | actions a minute | unanswered | p50 | p99 | never in time | liquidated |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    names = " | ".join(name for name, *_ in STAGES)
    stages = ["", f"| seconds, p50 / p99 | unanswered | {names} |"]
    stages.append("|---|---:|" + "---:|" * len(STAGES))
    naked: Counter[str] = Counter()
    for verb in VERBS:
        for pace in PACES if verb not in ("close", "stop") else PACES[:1]:
            for faulty in (False, True):
                truths = [run(number, verb, pace, faulty) for number in range(times)]
                every = [each for truth in truths for each in truth.breaches.values()]
                shown = "10 %" if faulty else "none"
                yield f"| {verb} | {pace} | {shown} | {_times(every)} |"
                stages.append(f"| {verb}, {pace} | {shown} | {' | '.join(_stages(every))} |")
                if faulty:
                    naked += _naked(truths)
    yield from stages
    held, first = naked["held"], naked["first"]
    yield ""
    yield f"Without a stop, of {held / DAY_MS:.1f} position-days with 10 % unanswered:"
    yield f"{naked['later'] * DAY_MS / held / 1000:.1f} s a position-day once a first one rested;"
    yield f"until the first one rested, {first / 1000 / naked['positions']:.1f} s a position."


def _naked(truths: Sequence[Truth]) -> Counter[str]:
    return Counter(
        held=sum(each.held_ms for each in truths),
        later=sum(each.naked_ms for each in truths),
        first=sum(each.naked_at_first_ms for each in truths),
        positions=sum(len(each.breaches) for each in truths),
    )


def _times(every: Sequence[Breach]) -> str:
    done = [each.verified_ms - each.breached_ms for each in every if each.verified_ms]
    never = sum(not each.verified_ms and not each.liquidated for each in every)
    lost = sum(each.liquidated for each in every)
    waits = [*done, *(float("inf"),) * (len(every) - len(done))]
    return " | ".join(
        [
            *(f"{percentile(waits, share) / 1000:.2f} s" for share in (0.5, 0.99)),
            f"{never}",
            f"{lost}",
        ]
    )


def _stages(every: Sequence[Breach]) -> Iterator[str]:
    for _, start, end in STAGES:
        took = [
            getattr(each, end) - getattr(each, start)
            for each in every
            if getattr(each, start) and getattr(each, end)
        ]
        shares = (f"{percentile(took, share) / 1000:.2f}" for share in (0.5, 0.99) if took)
        yield " / ".join(shares) or "none"


def fates(found: Iterable[Fate]) -> Iterator[str]:
    """The tables of those who were lost, and of time without a stop."""
    causes: Counter[Why] = Counter()
    naked: Counter[Naked] = Counter()
    total: Counter[str] = Counter()
    notes = []
    for fate in found:
        total["crises"] += 1
        total["positions"] += fate.positions
        total["alone"] += len(fate.lost_alone)
        total["crises alone"] += bool(fate.lost_alone)
        total["guarded"] += len(fate.lost_guarded)
        total["crises guarded"] += bool(fate.lost_guarded)
        total["only guarded"] += len(fate.lost_guarded.keys() - fate.lost_alone)
        total["in vain"] += len(fate.closed - fate.lost_alone)
        total["wrongful"] += len(fate.wrongful)
        total["held"] += fate.held_ms
        causes.update(fate.lost_guarded.values())
        naked.update(fate.naked_ms)
        notes += [f"seed {fate.seed}: {text}" for text in (*fate.wrongful, *fate.other)]
        notes += [
            f"seed {fate.seed}: {symbol} liquidated, {why}"
            for symbol, why in fate.lost_guarded.items()
            if why is Why.NONE
        ]
    per = 1000 / total["crises"]
    yield f"{total['crises']} crises, {total['positions']} positions; per 1,000 crises:"
    yield ""
    yield "| | without the guard | with it |"
    yield "|---|---:|---:|"
    for name, alone, guarded in (
        ("crises with a liquidation", "crises alone", "crises guarded"),
        ("positions liquidated (with the guard: missed saves)", "alone", "guarded"),
    ):
        yield f"| {name} | {total[alone] * per:.0f} | {total[guarded] * per:.1f} |"
    for why in Why:
        yield f"| missed, {why} | | {causes[why] * per:.1f} |"
    yield f"| liquidated only with the guard | | {total['only guarded'] * per:.1f} |"
    yield f"| wrongful closes | | {total['wrongful'] * per:.1f} |"
    yield f"| closed, and would have lived to the end | | {total['in vain'] * per:.0f} |"
    yield ""
    days = total["held"] / DAY_MS
    yield f"| without a proper stop, of {days:.1f} position-days | s a position-day |"
    yield "|---|---:|"
    for kind in Naked:
        yield f"| {kind} | {naked[kind] / 1000 / days:.1f} |"
    yield ""
    yield from notes


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="How fast the guard is, and how often too late.")
    parser.add_argument("--breaches", type=int, default=20, help="crises of twenty, each verb")
    parser.add_argument("--crises", type=int, default=200, help="seeds, with and without")
    parser.add_argument("--first", type=int, default=0, help="the first of these seeds")
    asked = parser.parse_args()
    if asked.breaches:
        _print(speed(asked.breaches))
    if asked.crises:
        _print(fates(map(fate_of, range(asked.first, asked.first + asked.crises))))
    return 0


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
