"""The user's policy in prices and distances, apart from the guard's reading of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bot.core.model import ContractKind, MarginMode
from bot.core.policy import Below, Metric, Rule, Step
from bot.core.strategy import Severity
from bot.policy.verbs import BoundVerb
from strategies import partial_close, place_stop, trim_and_refund
from tests.sim.case import Case
from tests.sim.truth import BILLS, Scene, Truth

BILL_ACT_MS = 610_000
"""So long before a settlement what it costs may be acted on: by any clock, and on the way."""

MARGIN = 1.01
"""Distances within one per cent of each other are the same."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A step that closes something: what it may close is up to `share`, whole beyond the rest."""

    rule: Rule
    step: Step
    share: float

    @property
    def crosses_at(self) -> float:
        """The value of the metric from which on the step may fire."""
        return float(self.step.threshold.value)

    @property
    def clears_at(self) -> float:
        """Where a firing step is off again."""
        slack = float(self.rule.hysteresis)
        return self.crosses_at + (slack if isinstance(self.step.threshold, Below) else -slack)


class Rules:
    """What the policy asks for, and what it does not."""

    def __init__(self, case: Case) -> None:
        self._case, self.policy = case, case.policy
        self._ticks = {each.symbol: float(each.instrument.tick_size) for each in case.openings}
        self._betas = {symbol: float(beta) for symbol, beta in case.betas.items()}
        self._inverse = frozenset(
            each.symbol for each in case.openings if each.instrument.kind is ContractKind.INVERSE
        )
        self.trims = frozenset(
            f"{rule.name}/{step.name}"
            for rule, step in self._steps()
            if isinstance(step.propose, BoundVerb) and step.verb == "trim_and_refund"
        )
        """The names of the steps that put back what they free."""
        self.reductions = frozenset(
            f"{rule.name}/{step.name}"
            for rule, step in self._steps()
            if step.severity is Severity.REDUCE
        )
        """The names of the steps that close a part."""

        self._cooldowns = {
            f"{rule.name}/{step.name}": step.cooldown_ms for rule, step in self._steps()
        }
        protect = self.policy.protect
        self._room, self._share = float(protect.room), float(protect.share)
        self._loss_max = float(self.policy.guardrails.loss_max)
        self._rooms = {mode: tuple(self._find_rooms(mode)) for mode in MarginMode}
        self._cuts = {mode: tuple(self._find_cuts(mode)) for mode in MarginMode}
        self._bill_steps = {
            mode: tuple(cut for cut in cuts if cut.rule.metric in BILLS)
            for mode, cuts in self._cuts.items()
        }

    def tick(self, symbol: str) -> float:
        """The smallest difference of two prices."""
        return self._ticks[symbol]

    def rounding(self, truth: Truth) -> float:
        """
        By how much a stop may be off by what is rounded: itself to a tick, and liquidation.

        What the venue says of that is a tick off, and `room` is left before it: L / (1 - room).
        """
        rooms = [self._room, *(room for _, room in self._rooms[truth.mode])]
        return self._ticks[truth.symbol] * (1 + 1 / (1 - max(rooms)))

    def cooldown_ms(self, reason: str) -> int:
        """How long a step waits after it has acted; what is no step does not."""
        return self._cooldowns.get(reason, 0)

    def stops_wanted(self, truth: Truth, level: float, users: tuple[float, ...]) -> list[float]:
        """Where the standing stop may belong: loosest first, then as steps tighten it."""
        return self.stops_beyond(self.least(truth, users), truth, level)

    def least(self, truth: Truth, users: tuple[float, ...]) -> float:
        """The price, times the sign, that neither `loss_max` nor these stops let it pass."""
        sign = truth.side.sign
        return max([sign * self._loss_cap(truth), *[sign * each for each in users]])

    def stops_beyond(self, least: float, truth: Truth, level: float) -> list[float]:
        """As `stops_wanted`, from what `least` said: that is the same for every level."""
        sign = truth.side.sign
        if level <= 0:
            return [sign * least]
        base = max(least, sign * self._with_room(truth, level, self._room))
        if self._share:
            base = max(base, sign * (level + self._share * (float(truth.entry) - level)))
        tighter = [
            max(base, sign * self._with_room(truth, level, room))
            for _, room in self._rooms[truth.mode]
        ]
        return [sign * base, *[sign * each for each in tighter]]

    def breaks_loss_cap(self, truth: Truth, quantity: float, at: float) -> bool:
        """Whether a stop at `at` would lose more than the user allows."""
        entry, sign = float(truth.entry), truth.side.sign
        inverse = truth.symbol in self._inverse
        move = 1 / at - 1 / entry if inverse else entry - at
        return sign * move * quantity > self._loss_max + 1e-6

    def _loss_cap(self, truth: Truth) -> float:
        """Where `loss_max` is lost; far away for a short that cannot lose so much."""
        sign, entry, quantity = truth.side.sign, float(truth.entry), float(truth.quantity)
        if truth.symbol not in self._inverse:
            return entry - sign * self._loss_max / quantity
        worth = quantity / entry + sign * self._loss_max
        return quantity / worth if worth > 0 else 1e12

    def asks_for_close(
        self,
        symbol: str,
        share: float,
        scenes: Iterable[Scene],
        least: float,
        users: tuple[float, ...],
    ) -> bool:
        """Whether anything in the policy asks to close that share of what was seen."""
        return any(self._asks(scene, symbol, share, least, users) for scene in scenes)

    def lets_at_market(
        self, symbol: str, scenes: Iterable[Scene], users: tuple[float, ...]
    ) -> bool:
        """Whether any price would do: below the floor, or past the level of the stop."""
        floor = float(self.policy.protect.floor) * MARGIN
        return any(
            view.distance < floor + self._slack(scene.truths[symbol])
            or self._is_past_stop(scene.truths[symbol], view.levels[symbol], users)
            for scene in scenes
            for view in scene.views[scene.truths[symbol].group]
        )

    def bill_steps(self, mode: MarginMode) -> tuple[Cut, ...]:
        """The steps that close something because of the next bill."""
        return self._bill_steps[mode]

    def cross_limits(self) -> Iterator[tuple[Metric, float]]:
        """What all cross positions together must keep when margin leaves the wallet."""
        yield Metric.LIQUIDATION_DISTANCE, self._room
        for rule, step in self._steps():
            if rule.metric.is_shared and rule.match.covers_mode(MarginMode.CROSS):
                yield rule.metric, Cut(rule, step, 0.0).clears_at

    def _asks(
        self, scene: Scene, symbol: str, share: float, least: float, users: tuple[float, ...]
    ) -> bool:
        truth = scene.truths[symbol]
        slack = self._slack(truth)
        cuts = [cut for cut in self._cuts[truth.mode] if share <= cut.share]
        near = self._nearest(truth.mode, cuts, least)
        ratios = [cut.clears_at for cut in cuts if cut.rule.metric is Metric.MARGIN_RATIO]
        for view in scene.views[truth.group]:
            if view.distance < near * MARGIN + slack:
                return True
            if any(view.ratio > ratio / MARGIN for ratio in ratios):
                return True
            if self._is_past_stop(truth, view.levels[symbol], users):
                return True
        return any(self._is_dear(cut, scene, symbol) for cut in cuts)

    def _nearest(self, mode: MarginMode, cuts: list[Cut], least: float) -> float:
        """Below this distance a close may be asked for, once it was as small as `least`."""
        limits = [self._room]
        limits += [room for threshold, room in self._rooms[mode] if least < threshold]
        limits += [
            cut.clears_at
            for cut in cuts
            if cut.rule.metric is Metric.LIQUIDATION_DISTANCE and least < cut.crosses_at * MARGIN
        ]
        return max(limits)

    def _is_dear(self, cut: Cut, scene: Scene, symbol: str) -> bool:
        """Whether the next bill is such that a step of a rule on it may act now."""
        if cut.rule.metric not in BILLS:
            return False
        return any(
            max((interval, day)[BILLS.index(cut.rule.metric)], 0.0) * MARGIN > cut.clears_at
            and next_ms - scene.at_ms <= BILL_ACT_MS
            for interval, day, next_ms in scene.costs[symbol]
        )

    def _is_past_stop(self, truth: Truth, level: float, users: tuple[float, ...]) -> bool:
        # The guard's level is on the tick that the mark meets first.
        loosest = self.stops_wanted(truth, level, users)[0]
        return truth.is_past(loosest + truth.side.sign * self._ticks[truth.symbol])

    def _with_room(self, truth: Truth, level: float, room: float) -> float:
        """The mark at which `room` is left: of a cross position, when all have moved together."""
        sign = truth.side.sign
        if truth.mode is MarginMode.CROSS:
            return level + sign * self._betas[truth.symbol] * float(truth.mark) * room
        return level / (1 - sign * room)

    def _find_rooms(self, mode: MarginMode) -> Iterator[tuple[float, float]]:
        """Below which distance a step tightens the stop to which room."""
        for rule, step in self._steps():
            assert isinstance(step.propose, BoundVerb)
            match step.propose.params:
                case place_stop.Params(room) if rule.match.covers_mode(mode):
                    # Of a rule on another metric: it may fire at any distance.
                    at = float(step.threshold.value) if _by_distance(rule) else 10.0
                    yield at, float(room)
                case _:
                    pass

    def _find_cuts(self, mode: MarginMode) -> Iterator[Cut]:
        for rule in self.policy.rules:
            if not rule.match.covers_mode(mode):
                continue
            for number, step in enumerate(rule.steps):
                share = _share_of(step)
                if step.then_next:
                    share = max(share, _share_of(rule.steps[number + 1]))
                if share > 0:
                    yield Cut(rule, step, share)

    def _steps(self) -> Iterator[tuple[Rule, Step]]:
        return ((rule, step) for rule in self.policy.rules for step in rule.steps)

    def _slack(self, truth: Truth) -> float:
        return 2 * self._ticks[truth.symbol] / float(truth.mark)


def _by_distance(rule: Rule) -> bool:
    return rule.metric is Metric.LIQUIDATION_DISTANCE


def _share_of(step: Step) -> float:
    """The largest share of a position that the step may close."""
    if step.severity is Severity.CLOSE:
        return 1.0
    if step.severity is not Severity.REDUCE:
        return 0.0
    assert isinstance(step.propose, BoundVerb)
    match step.propose.params:
        case partial_close.Fraction(fraction) | trim_and_refund.Fraction(fraction):
            return float(fraction)
        case _:
            return 1.0  # as much as the target takes, in a book whole positions
