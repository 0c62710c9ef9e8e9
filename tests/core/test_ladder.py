"""When a step fires: only on Known, only after `for`, and clears only past the hysteresis."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.funding import FundingUnknown
from bot.core.ladder import (
    NO_WAKE_MS,
    PAUSE_MAX_MS,
    Evaluation,
    StepPhase,
    deepest_first,
    evaluate,
    has_cleared,
    is_crossed,
    steps_for,
)
from bot.core.margin import LiquidatesAt
from bot.core.metrics import NO_BARS, Known, Measured, Unknown
from bot.core.model import Side
from bot.core.policy import Above, Metric, Rule, Step
from bot.core.state import BLANK, PositionMemory
from bot.core.strategy import Close, Notify, Severity
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build
from tests.core.life import LONG, T0, below


def seen(distance: str = "0.5", ratio: str = "0") -> Known:
    """A measurement of which a ladder reads only distance and ratio."""
    return Known(
        mark_price=Price(Decimal(50_000)),
        liquidation=LiquidatesAt(Price(Decimal(45_000))),
        liquidation_distance=Ratio(Decimal(distance)),
        margin_balance=Money(Decimal(5_000)),
        maintenance_margin=Money(Decimal(250)),
        margin_ratio=Ratio(Decimal(ratio)),
        breached=False,
        disputed=False,
        effective_leverage=Decimal(10),
        break_even_distance=Ratio(Decimal(0)),
        volatility=NO_BARS,
        funding=FundingUnknown("a test says so"),
    )


def one(hold_ms: int = 0, hysteresis: str = "0.01") -> Rule:
    """Fires below 5 %."""
    rung = build.step("out", below("0.05"), Severity.CLOSE, lambda view: Close(), hold_ms=hold_ms)
    return build.rule(rung, hysteresis=hysteresis)


class Ladder:
    """A ladder advanced from measurement to measurement."""

    def __init__(self, *rules: Rule) -> None:
        self.policy = build.policy(*rules)
        self.memory: PositionMemory = BLANK

    def at(self, second: float, measured: Measured) -> Evaluation:
        now_ms = T0 + round(second * 1000)
        evaluation = evaluate(steps_for(self.policy, LONG), self.memory, measured, now_ms)
        self.memory = evaluation.memory
        return evaluation

    def phase(self, second: float, measured: Measured) -> StepPhase:
        (verdict,) = self.at(second, measured).verdicts
        return verdict.phase


INACTIVE, PENDING, FIRING = StepPhase.INACTIVE, StepPhase.PENDING, StepPhase.FIRING
UNKNOWN = StepPhase.UNKNOWN
FAR, NEAR = seen("0.2"), seen("0.04")


def blind(second: float) -> Unknown:
    return Unknown("the mark price is old", T0 + round(second * 1000))


def test_without_for_a_step_fires_at_once() -> None:
    ladder = Ladder(one())
    assert ladder.phase(0, FAR) is INACTIVE
    evaluation = ladder.at(1, NEAR)
    assert [step.name for _, step in evaluation.firing] == ["out"]
    assert evaluation.verdicts[0].reason == "ladder/out"


def test_the_threshold_itself_is_not_crossed() -> None:
    assert Ladder(one()).phase(0, seen("0.05")) is INACTIVE
    assert not is_crossed(Above(Ratio(Decimal("0.8"))), Ratio(Decimal("0.8")))
    assert is_crossed(Above(Ratio(Decimal("0.8"))), Ratio(Decimal("0.81")))


def test_for_must_pass_while_it_stays_crossed() -> None:
    ladder = Ladder(one(hold_ms=10_000))
    evaluation = ladder.at(0, NEAR)
    assert evaluation.wake_at_ms == T0 + 10_000
    assert ladder.phase(9.999, NEAR) is PENDING
    assert ladder.phase(10, NEAR) is FIRING


def test_for_begins_anew_when_it_was_not_crossed_in_between() -> None:
    ladder = Ladder(one(hold_ms=10_000))
    ladder.at(0, NEAR)
    assert ladder.phase(5, seen("0.051")) is INACTIVE
    assert ladder.phase(6, NEAR) is PENDING
    assert ladder.phase(15, NEAR) is PENDING
    assert ladder.phase(16, NEAR) is FIRING


def test_it_clears_only_past_threshold_and_hysteresis() -> None:
    ladder = Ladder(one())
    ladder.at(0, NEAR)
    assert ladder.phase(1, seen("0.0599")) is FIRING
    assert ladder.phase(2, seen("0.06")) is INACTIVE
    assert ladder.phase(3, seen("0.055")) is INACTIVE
    assert has_cleared(Above(Ratio(Decimal("0.8"))), Ratio(Decimal("0.1")), Ratio(Decimal("0.7")))
    assert not has_cleared(
        Above(Ratio(Decimal("0.8"))), Ratio(Decimal("0.1")), Ratio(Decimal("0.71"))
    )


def test_unknown_neither_fires_nor_clears() -> None:
    ladder = Ladder(one())
    ladder.at(0, NEAR)
    evaluation = ladder.at(1, blind(1))
    assert (evaluation.firing, evaluation.wake_at_ms) == ((), NO_WAKE_MS)
    assert evaluation.verdicts[0].phase is UNKNOWN
    assert ladder.phase(2, seen("0.055")) is FIRING


def test_unknown_does_not_fire_what_was_not_crossed_before_or_after() -> None:
    ladder = Ladder(one(hold_ms=10_000))
    ladder.at(0, FAR)
    ladder.at(1, blind(1))
    assert ladder.phase(100, FAR) is INACTIVE
    assert ladder.phase(101, NEAR) is PENDING


def test_unknown_pauses_for_from_when_it_began() -> None:
    """Crossed at 0, blind from 4 to 9: five seconds of ten have passed at 10."""
    ladder = Ladder(one(hold_ms=10_000))
    ladder.at(0, NEAR)
    ladder.at(6, blind(4))
    evaluation = ladder.at(9, NEAR)
    assert evaluation.verdicts[0].phase is PENDING
    assert evaluation.wake_at_ms == T0 + 15_000
    assert ladder.phase(14.999, NEAR) is PENDING
    assert ladder.phase(15, NEAR) is FIRING


def test_unknown_pauses_for_at_most_ten_seconds_a_time() -> None:
    ladder = Ladder(one(hold_ms=30_000))
    ladder.at(0, NEAR)
    ladder.at(1, blind(1))
    ladder.at(20, blind(19))
    assert ladder.phase(35, NEAR) is PENDING
    assert ladder.phase(39.999, NEAR) is PENDING
    assert ladder.phase(40, NEAR) is FIRING


def test_pauses_add_up() -> None:
    ladder = Ladder(one(hold_ms=10_000))
    ladder.at(0, NEAR)
    for start in (1, 4):
        ladder.at(start, blind(start))
        ladder.at(start + 2, NEAR)
    assert ladder.phase(13.999, NEAR) is PENDING
    assert ladder.phase(14, NEAR) is FIRING


def test_rules_that_do_not_cover_a_position_are_silent() -> None:
    other = build.rule(*one().steps, symbols=frozenset({"ETHUSDT"}))
    shorts = build.rule(*one().steps, side=Side.SHORT)
    assert Ladder(other, shorts).at(0, NEAR).verdicts == ()
    mine = build.rule(*one().steps, symbols=frozenset({build.SYMBOL}), side=Side.LONG)
    assert len(Ladder(mine).at(0, NEAR).firing) == 1


def test_each_rule_watches_its_own_metric() -> None:
    ratio = build.step("ratio", Above(Ratio(Decimal("0.5"))), Severity.CLOSE, lambda view: Close())
    ladder = Ladder(one(), build.rule(ratio, name="ratio", metric=Metric.MARGIN_RATIO))
    firing = ladder.at(0, seen("0.2", "0.6")).firing
    assert [rule.name for rule, _ in firing] == ["ratio"]


def test_the_deepest_verb_comes_first_and_the_later_in_the_file_among_equals() -> None:
    def rung(name: str, severity: Severity) -> Step:
        return build.step(name, below("0.05"), severity, lambda view: Notify(name))

    first = build.rule(rung("warn", Severity.ALERT), rung("add", Severity.SPEND), name="first")
    second = build.rule(rung("warn", Severity.ALERT), rung("more", Severity.SPEND), name="second")
    third = build.rule(rung("out", Severity.CLOSE), rung("tight", Severity.STOP), name="third")
    ordered = deepest_first(Ladder(third, first, second).at(0, NEAR).firing)
    assert [f"{rule.name}/{step.name}" for rule, step in ordered] == [
        "third/out",
        "second/more",
        "first/add",
        "third/tight",
        "second/warn",
        "first/warn",
    ]


# Properties over any series of measurements

SERIES = st.lists(
    st.tuples(
        st.integers(0, 15_000),
        st.sampled_from(["unknown", "0.03", "0.0499", "0.05", "0.055", "0.06", "0.2"]),
    ),
    min_size=1,
    max_size=40,
)


class Clock:
    """What a step of `one()` should be, by a clock that the test keeps itself."""

    def __init__(self, hold_ms: int) -> None:
        self.hold_ms = hold_ms
        self.waited_ms = 0
        self.blind_ms = 0
        self.is_blind = self.is_crossed = self.fires = False

    def pass_time(self, passed_ms: int) -> None:
        if self.is_blind:
            self.blind_ms += passed_ms
        elif self.is_crossed:
            self.waited_ms += passed_ms

    def see(self, distance: Decimal) -> StepPhase:
        if self.is_crossed:
            self.waited_ms += max(self.blind_ms - PAUSE_MAX_MS, 0)
        self.is_blind, self.blind_ms = False, 0
        if self.fires and distance < Decimal("0.06"):
            return FIRING
        self.fires = False
        if distance >= Decimal("0.05"):
            self.is_crossed, self.waited_ms = False, 0
            return INACTIVE
        self.is_crossed = True
        if self.waited_ms < self.hold_ms:
            return PENDING
        self.fires, self.is_crossed, self.waited_ms = True, False, 0
        return FIRING


@settings(max_examples=300)
@given(SERIES, st.sampled_from([0, 1, 3_000, 10_000, 25_000]))
def test_a_step_never_fires_early_nor_late(series: list[tuple[int, str]], hold_ms: int) -> None:
    ladder, clock = Ladder(one(hold_ms=hold_ms)), Clock(hold_ms)
    now_ms = T0
    for passed_ms, value in series:
        now_ms += passed_ms
        clock.pass_time(passed_ms)
        second = (now_ms - T0) / 1000
        if value == "unknown":
            clock.is_blind = True
            assert ladder.phase(second, Unknown("old", now_ms)) is UNKNOWN
        else:
            assert ladder.phase(second, seen(value)) is clock.see(Decimal(value))


@given(SERIES, st.sampled_from([1, 3_000, 25_000]))
def test_the_wake_time_is_exactly_when_a_pending_step_fires(
    series: list[tuple[int, str]], hold_ms: int
) -> None:
    ladder = Ladder(one(hold_ms=hold_ms))
    now_ms = T0
    for passed_ms, value in series:
        now_ms += passed_ms
        measured = Unknown("old", now_ms) if value == "unknown" else seen(value)
        evaluation = ladder.at((now_ms - T0) / 1000, measured)
        if evaluation.wake_at_ms == NO_WAKE_MS:
            assert evaluation.verdicts[0].phase is not PENDING
            continue
        wake_ms = evaluation.wake_at_ms
        assert wake_ms > now_ms
        steps, memory = steps_for(ladder.policy, LONG), evaluation.memory
        assert evaluate(steps, memory, measured, wake_ms).firing
        assert not evaluate(steps, memory, measured, wake_ms - 1).firing


@given(SERIES)
def test_an_unchanged_memory_is_the_very_same(series: list[tuple[int, str]]) -> None:
    """So that an unchanged position costs next to nothing."""
    ladder = Ladder(one(hold_ms=3_000))
    now_ms = T0
    for passed_ms, value in series:
        now_ms += passed_ms
        before = ladder.memory
        ladder.at((now_ms - T0) / 1000, seen("0.2" if value == "unknown" else value))
        assert (ladder.memory == before) == (ladder.memory is before)


def test_the_ten_seconds_are_those_of_the_design() -> None:
    assert PAUSE_MAX_MS == 10_000


@pytest.mark.parametrize("phase", StepPhase)
def test_phases_read_as_in_the_glossary(phase: StepPhase) -> None:
    assert str(phase) in {"inactive", "pending", "firing", "unknown"}
