"""
A million random positions against bisection, and a hundred thousand inverse ones solved for.

    python tests/core/million.py --positions 1000000 --solve 100000

Liquidation prices of linear and inverse longs and shorts, under every rule that venues differ in,
are compared with a bisection on balance less requirement that sums each bracket at its own rate,
in floats and without the guard's formulas. The solved amounts go through the exact checks of
`solving.py`. Prints what was covered; the first miss ends it with the seed that makes it again.
"""

import argparse
import sys
import time
from bisect import bisect_left
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))

from bot.core.margin import LiquidatesAt, NoLiquidation, liquidation
from bot.core.model import (
    CloseFee,
    ContractKind,
    Instrument,
    MaintenanceAt,
    MarginOnReduce,
    Position,
    Side,
    TierMeasure,
)
from bot.core.sizing import AtRatio, Target
from bot.core.units import Money, Price, Quantity, Ratio
from bot.testing import builders as build
from tests.core.solving import check_close, check_leverage, check_margin, check_transfer

D = Decimal
PER_INSTRUMENT = 100
PER_TASK = 10_000
NEARLY = 1e-9
"""Share of the price within which floats and decimals agree: far less than any tick."""


def market(random: Random, kind: ContractKind) -> tuple[Instrument, float, float]:
    """A contract with up to five brackets around a typical value, and its price and that value."""
    price = 10 ** random.uniform(-2, 5)
    value = 10 ** random.uniform(2, 7) / (price if kind is ContractKind.INVERSE else 1)
    measure = random.choice(list(TierMeasure))
    face = value * price if kind is ContractKind.INVERSE else value / price
    size = value if measure is TierMeasure.VALUE else face
    count = random.randint(1, 5)
    floors = sorted({D(f"{size * random.uniform(0.1, 3):.6g}") for _ in range(count - 1)})
    rates = sorted(D(random.randint(10, 1200)) / 10_000 for _ in range(len(floors) + 1))
    table = build.tiers(*zip([D(0), *floors], rates, strict=True))
    if measure is TierMeasure.QUANTITY:
        table = tuple(replace(tier, deduction=Money(D(0))) for tier in table)
    made = build.instrument(
        kind=kind,
        taker_fee=D(random.randint(0, 10)) / 10_000,
        maintenance_at=random.choice(list(MaintenanceAt)),
        close_fee=random.choice(list(CloseFee)),
        margin_step=random.choice(("0.00000001", "0.0001")),
        margin_on_reduce=random.choice(list(MarginOnReduce)),
        risk_tiers=table,
    )
    step = Quantity(D(1).scaleb(D(f"{face:.6g}").adjusted() - 3))
    rules = replace(made.rules, tier_measure=measure)
    return replace(made, quantity_step=step, quantity_min=step, rules=rules), price, face


def holding(random: Random, instrument: Instrument, price: float, face: float) -> Position:
    """A position of about that size from about that price, 1.2x to 150x."""
    entry = D(f"{price * random.uniform(0.8, 1.25):.6g}")
    quantity = D(f"{face * random.uniform(0.2, 3):.6g}")
    value = quantity / entry if instrument.kind is ContractKind.INVERSE else quantity * entry
    return build.position(
        side=random.choice(list(Side)),
        quantity=quantity,
        entry_price=entry,
        margin=D(f"{float(value) / 10 ** random.uniform(-0.1, 2.2):.9g}"),
    )


class Floats:
    """What a market requires, in floats, each slice of a bracket at its own rate."""

    def __init__(self, instrument: Instrument) -> None:
        rules = instrument.rules
        self.inverse = instrument.kind is ContractKind.INVERSE
        self.frozen = rules.maintenance_at is MaintenanceAt.ENTRY
        self.by_quantity = rules.tier_measure is TierMeasure.QUANTITY
        self.fee, self.fee_at = float(instrument.taker_fee), rules.close_fee
        self.floors = [float(tier.floor) for tier in instrument.tiers]
        self.rates = [float(tier.rate) for tier in instrument.tiers]
        slices = (
            (high - low) * rate
            for low, high, rate in zip(self.floors, self.floors[1:], self.rates, strict=False)
        )
        self.below = [0.0, *accumulate(slices)]

    def maintenance(self, value: float, quantity: float) -> float:
        """Of the whole value by its quantity's rate, or slice by slice."""
        if self.by_quantity:
            return value * self.rates[max(bisect_left(self.floors, quantity) - 1, 0)]
        number = max(bisect_left(self.floors, value) - 1, 0)
        return self.below[number] + (value - self.floors[number]) * self.rates[number]


def bisected(rules: Floats, position: Position) -> float | None:
    """The price at which nothing is to spare; None where every price leaves something."""
    quantity, entry = float(position.quantity), float(position.entry_price)
    margin, sign = float(position.isolated_margin), position.side.sign
    at_entry = quantity / entry if rules.inverse else quantity * entry
    frozen = rules.maintenance(at_entry, quantity)
    charged = 0.0
    if rules.fee_at is CloseFee.BANKRUPTCY:
        if rules.inverse:
            bust = (at_entry + sign * margin) / (1 + sign * rules.fee)
        else:
            bust = (at_entry - sign * margin) / (1 - sign * rules.fee)
        charged = max(bust, 0.0) * rules.fee
    moving_fee = rules.fee if rules.fee_at is CloseFee.MARK else 0.0

    def spare(price: float) -> float:
        value = quantity / price if rules.inverse else quantity * price
        gain = (at_entry - value if rules.inverse else value - at_entry) * sign
        needed = frozen if rules.frozen else rules.maintenance(value, quantity)
        return margin + gain - needed - charged - value * moving_fee

    safe, unsafe = (entry * 1e9, entry * 1e-9) if sign > 0 else (entry * 1e-9, entry * 1e9)
    if spare(unsafe) > 0:
        return None
    for _ in range(60):
        middle = (safe * unsafe) ** 0.5
        if spare(middle) > 0:
            safe = middle
        else:
            unsafe = middle
    for _ in range(20):
        middle = (safe + unsafe) / 2
        if spare(middle) > 0:
            safe = middle
        else:
            unsafe = middle
    return unsafe


def compare(task: tuple[int, int]) -> Counter[str]:
    """So many positions from one seed; what kinds there were."""
    seed, count = task
    random, seen = Random(seed), Counter[str]()
    for number in range(count):
        if number % PER_INSTRUMENT == 0:
            kind = random.choice(list(ContractKind))
            instrument, price, face = market(random, kind)
            rules = Floats(instrument)
        position = holding(random, instrument, price, face)
        expected = bisected(rules, position)
        match liquidation(instrument, position):
            case LiquidatesAt(found):
                # A price a billion times away is none to a bisection in floats.
                far = float(max(found / position.entry_price, position.entry_price / found))
                agrees = far > 1e8 or (
                    expected is not None and abs(float(found) - expected) <= expected * NEARLY
                )
                seen[f"{kind} {position.side}"] += 1
            case NoLiquidation():
                agrees = expected is None
                seen[f"{kind} {position.side} covered"] += 1
        if not agrees:
            raise SystemExit(
                f"seed {seed}, position {number}: expected {expected}, was "
                f"{liquidation(instrument, position)}\n{instrument}\n{position}"
            )
    return seen


def solve(task: tuple[int, int]) -> Counter[str]:
    """So many inverse positions from one seed, each solved for a target in every way."""
    seed, count = task
    random, seen = Random(-seed - 1), Counter[str]()
    for number in range(count):
        if number % PER_INSTRUMENT == 0:
            instrument, price, face = market(random, ContractKind.INVERSE)
        position = holding(random, instrument, price, face)
        mark = Price(position.entry_price * (1 + D(random.randint(-500, 500)) / 10_000))
        fill = Price(mark * (1 + D(random.randint(-100, 100)) / 10_000))
        to: Target = Ratio(D(random.randint(1, 600)) / 1000)
        if random.random() < 0.4:
            to = AtRatio(Ratio(D(random.randint(5, 95)) / 100))
        try:
            seen["margin " + check_margin(instrument, position, mark, to)] += 1
            seen["close " + check_close(instrument, position, mark, fill, to)] += 1
            seen["leverage " + check_leverage(instrument, position, to)] += 1
            if instrument.rules.close_fee is not CloseFee.BANKRUPTCY:
                seen["transfer " + check_transfer(instrument, position, mark, to)] += 1
        except AssertionError as e:
            raise SystemExit(
                f"solve seed {seed}, position {number}, target {to}, mark {mark}, fill {fill}: "
                f"{e}\n{instrument}\n{position}"
            ) from e
    return seen


def main() -> None:
    """Run both over all processors and print what was seen."""
    parser = argparse.ArgumentParser(description="A million positions against bisection.")
    parser.add_argument("--positions", type=int, default=1_000_000)
    parser.add_argument("--solve", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    asked = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        for work, wanted in ((compare, asked.positions), (solve, asked.solve)):
            began = time.perf_counter()
            per_task = min(PER_TASK, max(wanted // 20, 1))
            counts = [per_task] * (wanted // per_task)
            tasks = list(enumerate(counts, start=asked.first))
            total: Counter[str] = sum(pool.map(work, tasks), Counter())
            took = time.perf_counter() - began
            sys.stdout.write(f"{work.__name__}: {sum(counts)} positions, {took:.0f} s\n")
            for name, number in sorted(total.items()):
                sys.stdout.write(f"  {name}: {number}\n")


if __name__ == "__main__":
    main()
