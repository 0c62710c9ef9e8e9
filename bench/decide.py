"""
What a decision costs: of a position that nothing has changed, and of one that is judged anew.

Then of twenty that are in danger, of which one has moved. The ratios are the figures to keep; the
times are this machine's: `make bench ONLY=decide`.
"""

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from timeit import repeat

from bot.core.engine import decide
from bot.core.events import MarkPrice
from bot.core.state import AccountState
from bot.core.transitions import apply
from bot.core.units import Money, Price
from bot.policy.loader import load_policy
from bot.testing import builders as build

SYMBOL = "BTC/USDT:USDT"
NOW_MS = 1_000
DANGER_AT, STOP_AT = 47_500, "45914.9"
RUNS, TIMES = 7, 2_000
POLICY = load_policy(Path(__file__).parents[1] / "config" / "policies" / "demo.yaml")
PATIENT = replace(POLICY, guardrails=replace(POLICY.guardrails, loss_max=Money(Decimal(10**6))))
"""By it the stop rests where 1.5 % are left."""


def calm() -> AccountState:
    """A 10x long with its stop in place, judged and found calm."""
    position = build.position(SYMBOL)
    read = build.snapshot([position], [build.our_stop(position, 49_100)])
    state = build.account_state(
        read, {SYMBOL: 50_000}, now_ms=NOW_MS, instruments=[build.instrument(SYMBOL)]
    )
    state, decision = decide(state, POLICY, NOW_MS)
    if decision.approved or not state.memos:
        raise SystemExit("bench: expected a calm position, was one that is acted on")
    return state


def main() -> None:
    """Print the best of several runs for each, and their ratio."""
    state = calm()
    afresh = replace(state, memos={})
    mark = MarkPrice(SYMBOL, Price(Decimal(50_000)), NOW_MS + 1)

    def unchanged() -> None:
        decide(apply(state, mark), POLICY, NOW_MS + 1)

    def anew() -> None:
        decide(apply(afresh, mark), POLICY, NOW_MS + 1)

    best = {
        turn.__name__: min(repeat(turn, number=TIMES, repeat=RUNS)) / TIMES * 1e6
        for turn in (unchanged, anew)
    }
    for name, microseconds in best.items():
        sys.stdout.write(f"decide {name}: {microseconds:.1f} us\n")
    sys.stdout.write(f"unchanged / anew: {best['unchanged'] / best['anew']:.3f}\n")
    _of_twenty()


def in_danger() -> AccountState:
    """Twenty 10x longs whose stops rest, and are about to be tightened."""
    symbols = [f"C{number:02}/USDT:USDT" for number in range(20)]
    positions = [build.position(symbol) for symbol in symbols]
    read = build.snapshot(positions, [build.our_stop(each, STOP_AT) for each in positions])
    state = build.account_state(
        read,
        dict.fromkeys(symbols, DANGER_AT),
        now_ms=NOW_MS,
        instruments=[build.instrument(symbol) for symbol in symbols],
    )
    for _ in range(2):
        state, decision = decide(state, PATIENT, NOW_MS)
    if decision.approved or not decision.endangered or len(state.memos) < len(symbols):
        raise SystemExit("bench: expected twenty that wait, was something else")
    return state


def _of_twenty() -> None:
    state = in_danger()
    mark = MarkPrice("C07/USDT:USDT", Price(Decimal(DANGER_AT - 1)), NOW_MS + 1)

    def moved(before: AccountState) -> float:
        def turn() -> None:
            decide(apply(before, mark), PATIENT, NOW_MS + 1)

        return min(repeat(turn, number=100, repeat=RUNS)) / 100 * 1e6

    recalled, all_anew = moved(state), moved(replace(state, memos={}))
    sys.stdout.write(f"decide on twenty in danger, one moved: {recalled:.0f} us\n")
    sys.stdout.write(f"one moved / all anew: {recalled / all_anew:.3f}\n")


if __name__ == "__main__":
    main()
