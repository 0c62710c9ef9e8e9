"""Distance measured by volatility: against floats and bisection, and what a missing bar does."""

import math
import statistics
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import PlaceStop
from bot.core.events import BarsReported
from bot.core.funding import FundingUnknown
from bot.core.ladder import StepPhase, metric_value, symbols_to_chart
from bot.core.metrics import (
    BARS_AGE_MAX_MS,
    Known,
    TimeLeft,
    VolatilityUnknown,
    break_even_distance,
)
from bot.core.model import BAR_MS, ContractKind, MarginMode, PriceBar, Side
from bot.core.policy import Below, Metric, Policy, Rule, Step
from bot.core.state import BLANK, Phase
from bot.core.strategy import Notify, Severity
from bot.core.units import Money, Price
from bot.testing import builders as build
from strategies import place_stop, top_up
from tests.core.life import GOOD_STOP, LONG, T0, Life, ratio

D = Decimal
HOURS = 40
CLOSES = [D(50_000) + D(200) * ((-1) ** n) + n for n in range(HOURS)]
DAY_MS = 86_400_000

ATR, SIGMA = Metric.LIQUIDATION_DISTANCE_ATR, Metric.LIQUIDATION_DISTANCE_SIGMA
TIME = Metric.TIME_TO_LIQUIDATION


def bars(closes: list[Decimal]) -> tuple[PriceBar, ...]:
    """Each from the close before to its own, and 10 beyond on both sides."""
    return tuple(
        PriceBar(Price(max(a, b) + 10), Price(min(a, b) - 10), Price(b))
        for a, b in pairwise([closes[0], *closes])
    )


def rule_on(metric: Metric, *steps: Step, hysteresis: str = "0.5", after_ms: int = 60_000) -> Rule:
    return build.rule(
        *steps, name="swings", metric=metric, hysteresis=hysteresis, unknown_after_ms=after_ms
    )


def warn(level: str) -> Step:
    return build.step("warn", Below(D(level)), Severity.ALERT, lambda view: Notify("near"))


def add(level: str) -> Step:
    def propose(view: object) -> object:
        return top_up.propose(view, top_up.Params(ratio("0.2")))  # type: ignore[arg-type]

    return build.step("add", Below(D(level)), Severity.SPEND, propose, cooldown_ms=1_000)  # type: ignore[arg-type]


def tight(level: str) -> Step:
    def propose(view: object) -> object:
        return place_stop.propose(view, place_stop.Params(ratio("0.06")))  # type: ignore[arg-type]

    return build.step("tight", Below(D(level)), Severity.STOP, propose)  # type: ignore[arg-type]


def begun(policy: Policy, *, read_bars: bool = True, side: Side = Side.LONG) -> Life:
    position = build.position(side=side)
    stop = build.our_stop(position, GOOD_STOP.trigger_price if side is Side.LONG else "53000")
    life = Life(policy, position, stops=[stop])
    if read_bars:
        chart(life)
    return life


def chart(life: Life, closes: list[Decimal] = CLOSES, *, closed_at_ms: int = T0) -> None:
    life.happen(BarsReported(build.SYMBOL, closed_at_ms, bars(closes), life.now_ms))


def known(life: Life) -> Known:
    assert isinstance(life.verdict.measured, Known)
    return life.verdict.measured


def wilder(series: tuple[PriceBar, ...]) -> float:
    """Wilder's average by another way: the weights of an exponential mean, in floats."""
    ranges = [
        max(float(b.high), float(a.close)) - min(float(b.low), float(a.close))
        for a, b in pairwise(series)
    ]
    average = statistics.mean(ranges[:14])
    for each in ranges[14:]:
        average += (each - average) / 14
    return average


@pytest.mark.parametrize("side", Side)
def test_the_distance_in_atrs_and_sigmas_is_what_floats_say(side: Side) -> None:
    life = begun(build.policy(rule_on(ATR, warn("1"))), side=side)
    life.decide()
    price = 45226.1306 if side is Side.LONG else 54726.3682
    sigma = statistics.stdev(math.log(b / a) for a, b in pairwise(CLOSES)) * math.sqrt(24)
    atrs = abs(50_000 - price) / wilder(bars(CLOSES))
    sigmas = abs(math.log(50_000 / price)) / sigma
    assert float(metric_value(ATR, known(life))) == pytest.approx(atrs, abs=2e-4)  # type: ignore[arg-type]
    assert float(metric_value(SIGMA, known(life))) == pytest.approx(sigmas, abs=2e-4)  # type: ignore[arg-type]


def test_the_time_left_is_where_a_sigma_and_the_funding_meet_the_distance_by_bisection() -> None:
    life = begun(build.policy(rule_on(TIME, warn("1"))))
    life.bill("0.001", T0 + 3_600_000)
    life.decide()
    sigma = statistics.stdev(math.log(b / a) for a, b in pairwise(CLOSES)) * math.sqrt(24)
    distance = math.log(50_000 / 45_226.13065)
    # A day of bills takes 3 x 50 of the margin of 5,000: liquidation as the venue would have it.
    drift = distance - math.log(50_000 / ((50_000 - 4_850) / 0.995))
    low, high = 0.0, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        crossed = sigma * math.sqrt(middle) + drift * middle >= distance
        low, high = (low, middle) if crossed else (middle, high)
    found = metric_value(TIME, known(life))
    assert isinstance(found, Decimal)
    assert float(found) == pytest.approx(low * DAY_MS, rel=1e-6)


def test_without_the_next_bill_nobody_knows_the_time_but_the_distance_is_known() -> None:
    life = begun(build.policy(rule_on(TIME, warn("1"))))
    life.decide()
    assert isinstance(metric_value(TIME, known(life)), FundingUnknown)
    assert isinstance(metric_value(ATR, known(life)), Decimal)
    assert life.verdict.steps[0].phase is StepPhase.UNKNOWN


def test_a_bill_in_our_favour_buys_no_time() -> None:
    life = begun(build.policy(rule_on(TIME, warn("1"))))
    life.bill("0", T0 + 3_600_000)
    life.decide()
    even = metric_value(TIME, known(life))
    life.bill("-0.01", T0 + 3_600_000)
    life.decide()
    assert metric_value(TIME, known(life)) == even


def test_a_rule_fires_below_its_number_of_atrs_and_clears_by_its_hysteresis() -> None:
    atrs = (50_000 - 45_226.13) / wilder(bars(CLOSES))
    at = f"{atrs - 2:.2f}"  # fires when the price has lost two ATRs
    life = begun(build.policy(rule_on(ATR, warn(at))))
    for price, phase in (
        (50_000, StepPhase.INACTIVE),
        (50_000 - int(2.2 * wilder(bars(CLOSES))), StepPhase.FIRING),
        (50_000 - int(1.7 * wilder(bars(CLOSES))), StepPhase.FIRING),
        (50_000 - int(1.4 * wilder(bars(CLOSES))), StepPhase.INACTIVE),
    ):
        life.wait(1_000)
        life.mark(price)
        life.decide()
        assert life.verdict.steps[0].phase is phase, price


@pytest.mark.parametrize(
    ("closes", "why"),
    [
        (CLOSES[:14], "it takes 15 hourly bars, there are 14"),
        ([], "it takes 15 hourly bars, there are 0"),
    ],
)
def test_too_few_bars_are_unknown_and_neither_fire_nor_spend(
    closes: list[Decimal], why: str
) -> None:
    life = begun(build.policy(rule_on(ATR, warn("900"), add("800"))), read_bars=False)
    if closes:
        chart(life, closes)
    else:
        life.happen(BarsReported(build.SYMBOL, 0, (), T0))
    assert life.decide() == []
    assert metric_value(ATR, known(life)) == VolatilityUnknown(why)
    assert {step.phase for step in life.verdict.steps} == {StepPhase.UNKNOWN}


def test_a_price_that_stood_still_has_no_volatility_to_measure_by() -> None:
    flat = (PriceBar(Price(D(50_000)), Price(D(50_000)), Price(D(50_000))),) * 20
    life = begun(build.policy(rule_on(ATR, warn("900"))), read_bars=False)
    life.happen(BarsReported(build.SYMBOL, T0, flat, T0))
    life.decide()
    assert isinstance(metric_value(ATR, known(life)), VolatilityUnknown)


def test_old_bars_are_unknown_and_the_rule_says_so_after_its_own_time() -> None:
    life = begun(build.policy(rule_on(ATR, add("900"))))
    life.wait(BARS_AGE_MAX_MS + 1)
    refreshed(life)
    assert life.decide() == []
    assert life.verdict.steps[0].phase is StepPhase.UNKNOWN
    assert life.alerts == []
    assert life.decision.wake_at_ms <= life.now_ms + 60_000
    life.wait(60_000)
    refreshed(life)
    assert life.decide() == []
    assert life.alerts == ["blind:swings"]
    assert "swings is not judged: the newest bar ended more than 2 h ago" in (
        life.decision.alerts[0].text
    )
    chart(life, closed_at_ms=life.now_ms // BAR_MS * BAR_MS)
    assert life.decide() != []  # the bars are back, and the step that waited for them spends


def refreshed(life: Life) -> None:
    life.read(LONG, stops=[GOOD_STOP])
    life.mark(50_000)


def test_a_calm_verdict_is_not_kept_beyond_the_age_of_its_bars() -> None:
    life = begun(build.policy(rule_on(ATR, warn("1"))))
    life.decide()
    assert life.state.memos
    assert life.decision.wake_at_ms <= T0 + BARS_AGE_MAX_MS + 1
    chart(life, [each * 2 for each in CLOSES], closed_at_ms=T0 + BAR_MS)
    before = metric_value(ATR, known(life))
    life.wait(1_000)
    life.mark(50_000)
    life.decide()
    assert metric_value(ATR, known(life)) != before


def test_a_stop_that_a_step_tightened_stays_when_the_bars_are_lost() -> None:
    """Unknown clears no step, so what it tightened is not loosened behind its back."""
    life = begun(build.policy(rule_on(ATR, tight("900"))))
    (placed,) = life.decide()
    assert isinstance(placed, PlaceStop)
    tightened = build.our_stop(LONG, placed.trigger_price)
    life.wait(BARS_AGE_MAX_MS + 1)
    life.read(LONG, stops=[tightened])
    life.mark(50_000)
    assert life.decide() == []
    assert life.verdict.steps[0].phase is StepPhase.UNKNOWN
    assert life.state.memory_of(LONG.key).steps["swings/tight"].phase is Phase.FIRING


def test_bars_older_than_those_known_change_nothing() -> None:
    life = begun(build.policy(rule_on(ATR, warn("1"))))
    before = life.state
    chart(life, CLOSES[:20], closed_at_ms=T0 - BAR_MS)
    assert life.state is before


def test_bars_are_asked_for_where_a_rule_on_them_covers_a_position() -> None:
    eth = build.position("ETHUSDT")
    on_atr = build.policy(
        build.rule(warn("1"), metric=ATR, symbols=frozenset({build.SYMBOL})), build.rule(warn("1"))
    )
    assert symbols_to_chart(on_atr, (LONG, eth)) == {build.SYMBOL}
    assert symbols_to_chart(on_atr, (eth,)) == frozenset()
    assert symbols_to_chart(build.policy(build.rule(warn("1"))), (LONG, eth)) == frozenset()


def test_effective_leverage_is_the_notional_over_what_is_left() -> None:
    life = begun(build.policy())
    life.mark(48_000)
    life.decide()
    assert metric_value(Metric.EFFECTIVE_LEVERAGE, known(life)) == D(48_000) / 3_000


def test_cross_positions_have_one_effective_leverage_and_no_volatility() -> None:
    shared = build.position(margin=0, margin_mode=MarginMode.CROSS)
    other = build.position("ETHUSDT", Side.SHORT, margin=0, margin_mode=MarginMode.CROSS)
    rules = (build.instrument(), build.instrument("ETHUSDT"))
    policy = build.policy(
        build.rule(
            build.step("warn", Below(D(0)), Severity.ALERT, lambda view: Notify("")),
            metric=Metric.EFFECTIVE_LEVERAGE,
            margin_mode=MarginMode.CROSS,
        ),
        margin_modes=frozenset({MarginMode.CROSS}),
        stress=build.stress("0.2"),
    )
    life = Life(policy, shared, other, instruments=rules, wallet=20_000)
    life.mark(50_000, "ETHUSDT")
    life.decide()
    for verdict in life.decision.positions:
        assert isinstance(verdict.measured, Known)
        assert verdict.measured.effective_leverage == 5
        assert isinstance(verdict.measured.volatility, VolatilityUnknown)


@given(
    side=st.sampled_from(Side),
    kind=st.sampled_from(ContractKind),
    entry=st.integers(20_000, 80_000),
    mark=st.integers(20_000, 80_000),
    paid=st.integers(-50, 50),
)
def test_closing_at_the_break_even_price_is_even(
    side: Side, kind: ContractKind, entry: int, mark: int, paid: int
) -> None:
    """Profit less the fee of the close and the funding that was paid, in exact fractions."""
    inverse = kind is ContractKind.INVERSE
    quantity = 10_000 if inverse else 1
    cost = Decimal(paid) / (100_000 if inverse else 1)
    position = build.position(side=side, entry_price=entry, quantity=quantity)
    memory = replace(BLANK, funding_paid=Money(cost))
    instrument = build.instrument(kind=kind)
    away = break_even_distance(instrument, position, Price(D(mark)), memory)
    price = Fraction(mark) * (1 + side.sign * Fraction(away))
    fee = Fraction(instrument.taker_fee)
    if inverse:
        gain = side.sign * (Fraction(quantity, entry) - Fraction(quantity) / price)
        left = gain - Fraction(quantity) / price * fee - Fraction(cost)
        worth = Fraction(quantity, entry)
    else:
        gain = side.sign * quantity * (price - entry)
        left = gain - price * quantity * fee - Fraction(cost)
        worth = Fraction(quantity * entry)
    assert abs(left / worth) < Fraction(1, 10**20)


def test_the_time_left_of_what_nothing_liquidates_is_endless() -> None:
    rich = build.position(margin=60_000)
    life = Life(build.policy(rule_on(TIME, warn("1"))), rich)
    chart(life)
    life.decide()
    measured = known(life).volatility
    assert not isinstance(measured, VolatilityUnknown)
    assert measured.time == TimeLeft(D("Infinity"))
    assert life.verdict.steps[0].phase is StepPhase.INACTIVE
