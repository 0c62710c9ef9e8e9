"""
What is true on the exchange, and what the user's policy makes of it, in prices.

Liquidation prices are the exchange's own; everything else is derived here once more, apart from
the guard.
"""

from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from bot.core.model import Instrument, Side
from bot.core.policy import Above, Below, Policy, Rule, Step
from bot.core.strategy import Severity
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.arithmetic import liquidation_price
from bot.exchange.paper.books import Holding
from bot.policy.verbs import BoundVerb
from strategies import place_stop
from tests.exchange.paper.independent import Spare

MEMORY_MS = 75_000
"""The guard may stop and close on reads up to a minute old."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The position at one moment. `level` is its liquidation price."""

    at_ms: int
    mark: Price
    side: Side
    quantity: Quantity
    entry: Price
    margin: Money
    level: Decimal

    @property
    def distance(self) -> Decimal:
        """Signed share of the mark that is left until liquidation."""
        return self.distance_to(self.level)

    def distance_to(self, level: Decimal) -> Decimal:
        """The same for another liquidation price, that the guard may still believe in."""
        return self.side.sign * (self.mark - level) / self.mark


def truth_of(instrument: Instrument, symbol_mark: Price, held: Holding, at_ms: int) -> Truth:
    """The truth about a holding of the exchange."""
    level = liquidation_price(instrument, held.side, held.quantity, held.entry_price, held.margin)
    return Truth(
        at_ms, symbol_mark, held.side, held.quantity, held.entry_price, held.margin, level
    )


class Past:
    """The last minute of truths, each with the nearest level that the guard may have known."""

    def __init__(self) -> None:
        self._seen: deque[tuple[Truth, Decimal]] = deque()
        self.distance_least = Decimal(1)
        """Since the position was opened."""

    def begin(self) -> None:
        """A new position."""
        self._seen.clear()
        self.distance_least = Decimal(1)

    def add(self, truth: Truth, known_level: Decimal) -> None:
        """One more moment."""
        nearest = _nearer(truth.side, truth.level, known_level)
        self._seen.append((truth, nearest))
        self.distance_least = min(self.distance_least, truth.distance_to(nearest))
        while self._seen[0][0].at_ms < truth.at_ms - MEMORY_MS:
            self._seen.popleft()

    def worst(self, since_ms: int) -> tuple[Decimal, Truth]:
        """The least distance that the guard may have seen, and the most adverse truth."""
        recent = [each for each in self._seen if each[0].at_ms >= since_ms] or [self._seen[-1]]
        distance = min(truth.distance_to(level) for truth, level in recent)
        return distance, min((truth for truth, _ in recent), key=lambda t: t.side.sign * t.mark)

    def levels(self) -> list[Decimal]:
        """Every liquidation price that the guard may have decided on."""
        return [level for truth, nearest in self._seen for level in (truth.level, nearest)]


def _nearer(side: Side, first: Decimal, second: Decimal) -> Decimal:
    return max(first, second) if side is Side.LONG else min(first, second)


class Rules:
    """The user's policy for one instrument, in prices and distances."""

    def __init__(self, policy: Policy, instrument: Instrument) -> None:
        self.policy, self.instrument = policy, instrument
        self._rooms = [
            (_below(step), step.propose.params.room)
            for rule in policy.rules
            for step in rule.steps
            if isinstance(step.propose, BoundVerb)
            and isinstance(step.propose.params, place_stop.Params)
        ]

    def stops_wanted(
        self, truth: Truth, level: Decimal, quantity: Decimal, users: tuple[Decimal, ...]
    ) -> list[Decimal]:
        """Where the standing stop may belong: loosest first, then as steps tighten it."""
        side = truth.side
        loss_cap = truth.entry - side.sign * self.policy.guardrails.loss_max / quantity
        base = _price_at(side, level, self.policy.protect.room)
        for bound in (loss_cap, *users):
            base = _nearer(side, base, bound)
        return [base, *(_nearer(side, base, _price_at(side, level, r)) for _, r in self._rooms)]

    def breaks_loss_cap(self, entry: Decimal, side: Side, quantity: Decimal, at: Decimal) -> bool:
        """Whether a stop at `at` would lose more than the user allows."""
        return side.sign * (entry - at) * quantity > self.policy.guardrails.loss_max

    def excuses_close(self, past: Past, since_ms: int, users: tuple[Decimal, ...]) -> bool:
        """Whether anything in the policy asks for a close of what was seen since then."""
        distance, worst = past.worst(since_ms)
        ticks = 2 * self.instrument.tick_size / worst.mark
        if distance < self._deepest(past.distance_least) * Decimal("1.01") + ticks:
            return True
        stops = self.stops_wanted(worst, worst.level, worst.quantity, users)
        if any(worst.side.sign * (worst.mark - stop) <= 0 for stop in stops[:1]):
            return True
        return self._ratio_asks(worst)

    def _deepest(self, distance_least: Decimal) -> Decimal:
        """Below this distance a close may be asked for."""
        limits = [self.policy.protect.room]
        limits += [room for threshold, room in self._rooms if distance_least < threshold]
        for rule in self.policy.rules:
            for step in rule.steps:
                match step.threshold:
                    case Below(value) if distance_least < value and _may_close(rule, step):
                        limits.append(Ratio(value + rule.hysteresis))
                    case Below() | Above():
                        pass
        return max(limits)

    def _ratio_asks(self, truth: Truth) -> bool:
        spare = Spare(self.instrument, truth.side, truth.quantity, truth.entry, truth.margin)
        gain = truth.side.sign * truth.quantity * (truth.mark - truth.entry)
        balance = Fraction(truth.margin) + Fraction(gain)
        if balance <= 0:
            return True
        ratio = 1 - spare.at(Fraction(truth.mark)) / balance
        return any(
            ratio > Fraction(step.threshold.value - rule.hysteresis)
            for rule in self.policy.rules
            for step in rule.steps
            if isinstance(step.threshold, Above) and _may_close(rule, step)
        )


def _price_at(side: Side, level: Decimal, distance: Decimal) -> Decimal:
    """The mark that is `distance` away from `level`: s (p - L) / p = d solved for p."""
    return level / (1 - side.sign * distance)


def _below(step: Step) -> Decimal:
    match step.threshold:
        case Below(value):
            return value
        case Above():
            return Decimal("Infinity")  # of a rule on another metric: it may fire at any distance


def _may_close(rule: Rule, step: Step) -> bool:
    """Whether the step closes, or hands over to one that does."""
    if step.severity is Severity.CLOSE:
        return True
    deeper = rule.steps[rule.steps.index(step) + 1 :]
    return step.then_next and any(each.severity is Severity.CLOSE for each in deeper)
