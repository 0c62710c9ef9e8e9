"""
Funding: what the next settlement costs, when its bill counts, and when a rule on it may act.

Costs are shares of the margin: at 50x a rate of 0.05 % is 2.5 % of it, three times a day 7.5 %.
"""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.actions import AT_MARKET, AddMargin, ClosePosition
from bot.core.decision import Audited
from bot.core.events import AccountReported, FundingReported, IntentState
from bot.core.funding import (
    ACT_MS,
    NET_MS,
    SETTLE_LAG_MS,
    FundingCost,
    FundingUnknown,
    bill_ahead,
    funding_cost,
)
from bot.core.guardrails import Denial
from bot.core.ladder import StepPhase
from bot.core.metrics import Known
from bot.core.model import MarginMode, Position, Side
from bot.core.policy import Metric, Step
from bot.core.state import HOUR_MS
from bot.core.strategy import Close, Notify, Severity
from bot.core.units import Money, Price, Ratio
from bot.testing import builders as build
from tests.core.life import T0, Life, above, below, ratio

LONG, SHORT = Side.LONG, Side.SHORT
FIFTY = build.position(margin=1_000)  # 1 at 50,000; liquidated at 49,246.23
FIFTY_SHORT = build.position(side=SHORT, margin=1_000)
MINUTE_MS = 60_000
CALM = build.policy(protection=build.protect(room="0.005", floor="0.002"))


def alive(
    position: Position = FIFTY,
    *steps: Step,
    metric: Metric = Metric.FUNDING_COST_INTERVAL,
    hysteresis: str = "0.001",
) -> Life:
    """A position at its entry price, its stop in place, under a rule on what funding costs."""
    rules = (build.rule(*steps, metric=metric, hysteresis=hysteresis),) if steps else ()
    life = Life(replace(CALM, rules=rules), position)
    place(life, position)
    return life


def place(life: Life, position: Position) -> None:
    """Let the stop that is wanted rest."""
    life.decide()
    (target,) = [each.stop for each in life.decision.positions]
    assert isinstance(target, Audited)
    trigger = getattr(target.target, "trigger_price", None)
    assert trigger is not None
    life.settle(IntentState.APPLIED)
    keep(life, position, trigger)


def keep(life: Life, position: Position, trigger: Decimal | None = None) -> None:
    """A fresh read and mark that changed nothing."""
    stops = [build.our_stop(position, trigger)] if trigger is not None else life.state.stops
    life.read(position, stops=stops)
    life.mark(life.state.marks[build.SYMBOL].price)


def pass_to(life: Life, at_ms: int, position: Position) -> None:
    """Let time pass to `at_ms`, the account and its mark price as they are."""
    life.wait(at_ms - life.now_ms)
    keep(life, position)


def cost(life: Life, position: Position = FIFTY, mark: build.Number = 50_000) -> FundingCost:
    memory = life.state.memory_of(position.key)
    found = funding_cost(life.state, position, Price(Decimal(mark)), memory, life.now_ms)
    assert isinstance(found, FundingCost)
    return found


def known(life: Life) -> Known:
    assert isinstance(life.verdict.measured, Known)
    return life.verdict.measured


def ahead(life: Life, position: Position = FIFTY) -> Money:
    return bill_ahead(life.state, position, Price(Decimal(50_000)), life.now_ms)


# Costs


@pytest.mark.parametrize(
    ("position", "rate", "hours", "payment", "interval", "day"),
    [
        (FIFTY, "0.0005", 8, "25", "0.025", "0.075"),
        (FIFTY, "0.0005", 4, "25", "0.025", "0.15"),
        (FIFTY, "0.0005", 1, "25", "0.025", "0.6"),
        (FIFTY, "-0.0005", 8, "-25", "-0.025", "-0.075"),
        (FIFTY_SHORT, "0.0005", 8, "-25", "-0.025", "-0.075"),
        (FIFTY_SHORT, "-0.02", 8, "1000", "1", "3"),
        # A cross position has no margin: what counts is its initial one, at 10x a tenth.
        (
            build.position(margin=0, margin_mode=MarginMode.CROSS),
            "0.0005",
            8,
            "25",
            "0.005",
            "0.015",
        ),
    ],
)
def test_what_the_next_settlement_costs(
    *, position: Position, rate: str, hours: int, payment: str, interval: str, day: str
) -> None:
    life = Life(CALM, position)
    life.bill(rate, T0 + HOUR_MS, interval_ms=hours * HOUR_MS)
    found = cost(life, position)
    assert found.next_payment == Decimal(payment)
    assert found.next_at_ms == T0 + HOUR_MS
    assert found.interval == Decimal(interval)
    assert found.day == Decimal(day)
    assert found.episode == 0


def test_the_bill_follows_the_mark_price() -> None:
    life = Life(CALM, FIFTY)
    life.bill("0.0005", T0 + HOUR_MS)
    assert cost(life, mark=40_000).next_payment == 20


def test_what_is_not_known() -> None:
    life = Life(CALM, FIFTY)
    memory, mark = life.state.memory_of(FIFTY.key), Price(Decimal(50_000))
    for at_ms in (None, T0 - 1, T0):
        if at_ms is not None:
            life.bill("0.0005", at_ms)
        found = funding_cost(life.state, FIFTY, mark, memory, T0)
        assert isinstance(found, FundingUnknown), at_ms
        assert "next settlement" in found.reason
    life.bill("0.0005", T0 + 1)


def test_of_no_margin_a_bill_is_more_than_any_share() -> None:
    life = Life(CALM, FIFTY)
    memory, mark = life.state.memory_of(FIFTY.key), Price(Decimal(50_000))
    for rate, share in (("0.0005", "Infinity"), ("-0.0005", "0")):
        life.bill(rate, T0 + HOUR_MS)
        found = funding_cost(life.state, build.position(margin=0), mark, memory, T0)
        assert isinstance(found, FundingCost)
        assert found.interval == found.day == Decimal(share)


def settle(life: Life, rate: str, at_ms: int, hours: int = 8) -> None:
    """The settlement that was next is over, and the venue names the one after it."""
    life.now_ms = at_ms - hours * HOUR_MS + 500
    life.bill(rate, at_ms, interval_ms=hours * HOUR_MS)


def in_episode(life: Life) -> None:
    memory = replace(life.state.memory_of(FIFTY.key), in_episode=True, episode=T0)
    life.state = replace(life.state, memories={FIFTY.key: memory})


def test_an_episode_adds_up_what_was_paid_and_received() -> None:
    life = Life(CALM, FIFTY)
    in_episode(life)
    life.bill("0.0005", T0 + HOUR_MS)
    assert cost(life).episode == 0
    settle(life, "0.001", T0 + 9 * HOUR_MS)
    assert cost(life).episode == Decimal("0.025")
    settle(life, "-0.0005", T0 + 17 * HOUR_MS)
    assert cost(life).episode == Decimal("0.075")
    settle(life, "0.0001", T0 + 25 * HOUR_MS)
    assert cost(life).episode == Decimal("0.05")


def test_what_was_paid_before_an_episode_counts_to_it() -> None:
    """Else a rule on that cost alone would never begin one."""
    out = build.step("out", below("0.02"), Severity.CLOSE, lambda view: Close())
    life = Life(replace(CALM, rules=(build.rule(out),)), FIFTY)
    life.bill("0.0005", T0 + HOUR_MS)
    settle(life, "0.001", T0 + 9 * HOUR_MS)
    keep(life, FIFTY)
    life.decide()
    assert life.state.memory_of(FIFTY.key).in_episode
    assert cost(life).episode == Decimal("0.025")


# What the venue says of its settlements


def test_a_revised_rate_replaces_the_old_one_and_charges_nothing() -> None:
    life = Life(CALM, FIFTY)
    in_episode(life)
    life.bill("0.0005", T0 + HOUR_MS)
    life.bill("0.001", T0 + HOUR_MS)
    assert cost(life).next_payment == 50
    assert cost(life).episode == 0


def test_the_same_word_again_is_no_news() -> None:
    """The very same value, so that a calm position stays calm."""
    life = Life(CALM, FIFTY)
    life.bill("0.0005", T0 + HOUR_MS)
    before = life.state
    life.wait(1_000)
    life.bill("0.0005", T0 + HOUR_MS)
    assert life.state is before


def test_a_settlement_that_is_brought_forward_counts_from_now_on() -> None:
    """A venue that goes over from every eight hours to every hour announces an earlier one."""
    life = Life(CALM, FIFTY)
    in_episode(life)
    life.bill("0.0005", T0 + 5 * HOUR_MS)
    life.wait(MINUTE_MS)
    life.bill("0.0005", T0 + HOUR_MS, interval_ms=HOUR_MS)
    assert cost(life).next_at_ms == T0 + HOUR_MS
    assert cost(life).day == Decimal("0.6")
    assert cost(life).episode == 0
    settle(life, "0.0005", T0 + 2 * HOUR_MS, hours=1)
    assert cost(life).episode == Decimal("0.025")


def test_a_settlement_that_is_put_off_is_not_paid() -> None:
    life = Life(CALM, FIFTY)
    in_episode(life)
    life.bill("0.0005", T0 + HOUR_MS, interval_ms=HOUR_MS)
    life.wait(MINUTE_MS)
    life.bill("0.0005", T0 + 5 * HOUR_MS)
    assert cost(life).episode == 0
    assert cost(life).next_at_ms == T0 + 5 * HOUR_MS
    life.wait(HOUR_MS - MINUTE_MS - NET_MS)
    assert ahead(life) == 0


def test_a_late_word_of_a_settlement_that_is_over_charges_nothing_twice() -> None:
    """Right after a settlement some of a venue's servers still name it as the next."""
    life = Life(CALM, FIFTY)
    in_episode(life)
    life.bill("0.0005", T0 + HOUR_MS)
    settle(life, "0.001", T0 + 9 * HOUR_MS)
    before = life.state
    life.bill("0.0005", T0 + HOUR_MS)
    assert life.state is before
    life.bill("0.001", T0 + 9 * HOUR_MS)
    assert cost(life).episode == Decimal("0.025")


@pytest.mark.parametrize("early_ms", [-2_000, 2_000])
def test_clocks_that_differ_a_little_change_none_of_that(early_ms: int) -> None:
    """By our clock the venue names the next settlement just before or after this one is due."""
    life = Life(CALM, FIFTY)
    in_episode(life)
    life.bill("0.0005", T0 + HOUR_MS)
    life.wait(HOUR_MS - early_ms)
    life.bill("0.0005", T0 + 9 * HOUR_MS)
    assert ahead(life) == 25  # no read shows it yet
    life.bill("0.0005", T0 + HOUR_MS)
    life.bill("0.0005", T0 + 9 * HOUR_MS)
    assert cost(life).episode == Decimal("0.025")


def test_news_that_is_overtaken_is_dropped() -> None:
    life = Life(CALM, FIFTY)
    life.bill("0.0005", T0 + HOUR_MS)
    older = FundingReported(build.SYMBOL, ratio("0.01"), T0 + HOUR_MS, 8 * HOUR_MS, T0 - 1)
    life.happen(older)
    assert cost(life).next_payment == 25


# The bill that is ahead


def test_a_bill_counts_from_five_minutes_before_until_a_read_shows_it() -> None:
    life = Life(CALM, FIFTY)
    at_ms = T0 + HOUR_MS
    life.bill("0.0005", at_ms)

    def read_taken(taken_at_ms: int) -> None:
        read = build.snapshot([FIFTY], taken_at_ms=taken_at_ms)
        life.happen(AccountReported(read, life.now_ms, life.now_ms))

    for now_ms, counted in (
        (at_ms - NET_MS - 1, 0),
        (at_ms - NET_MS, 25),
        (at_ms, 25),
        (at_ms + 5_000, 25),
    ):
        life.wait(now_ms - life.now_ms)
        assert ahead(life) == counted, now_ms - at_ms
    life.bill("0.001", at_ms + 8 * HOUR_MS)
    assert ahead(life) == 25
    read_taken(at_ms - 1)
    assert ahead(life) == 25
    read_taken(at_ms)  # by the venue's own time: what it shows must not count twice
    assert ahead(life) == 0
    life.wait(8 * HOUR_MS - NET_MS)
    assert ahead(life) == 50


def test_two_settlements_that_no_read_shows_count_both() -> None:
    life = Life(CALM, FIFTY)
    life.bill("0.0005", T0 + HOUR_MS, interval_ms=HOUR_MS)
    settle(life, "0.001", T0 + 2 * HOUR_MS, hours=1)
    life.wait(HOUR_MS - NET_MS)
    assert ahead(life) == 75


@pytest.mark.parametrize(("position", "rate"), [(FIFTY, "-0.01"), (FIFTY_SHORT, "0.01")])
def test_a_bill_in_our_favour_is_not_counted_on(position: Position, rate: str) -> None:
    life = Life(CALM, position)
    life.bill(rate, T0 + NET_MS)
    assert ahead(life, position) == 0
    life.decide()
    assert known(life).margin_balance == 1_000


def test_the_distance_is_net_of_the_bill() -> None:
    """975 of margin left: liquidated where 975 - (50,000 - p) = 0.005 p."""
    life = Life(CALM, FIFTY)
    life.bill("0.0005", T0 + NET_MS)
    life.decide()
    expected = 1 - Decimal(49_025) / Decimal("0.995") / 50_000
    assert known(life).liquidation_distance == pytest.approx(expected, abs=Decimal("1e-20"))
    assert known(life).margin_balance == 975
    assert known(life).margin_ratio == Decimal(250) / 975
    assert not known(life).breached


def test_two_percent_against_fifty_times_is_a_breach_before_it_is_paid() -> None:
    """The bill takes the whole margin: the floor closes, five minutes before the settlement."""
    life = Life(CALM, FIFTY_SHORT)
    at_ms = T0 + HOUR_MS
    life.bill("-0.02", at_ms)
    place(life, FIFTY_SHORT)
    pass_to(life, at_ms - NET_MS - 1, FIFTY_SHORT)
    assert life.decide() == []
    assert life.decision.wake_at_ms == life.now_ms + 1
    pass_to(life, at_ms - NET_MS, FIFTY_SHORT)
    assert life.decide() == [ClosePosition(build.SYMBOL, SHORT, FIFTY_SHORT.quantity, AT_MARKET)]
    assert known(life).breached
    assert life.decision.approved[0].intent.reason == "protect/floor"


def test_the_joint_distance_is_net_of_every_legs_bill() -> None:
    """1,000 - 50,000 x - 25 = 0.005 * 50,000 (1 - x)."""
    shared = build.position(margin=0, margin_mode=MarginMode.CROSS)
    policy = replace(CALM, margin_modes=frozenset(MarginMode))
    life = Life(policy, shared, wallet=1_000, free=0)
    life.bill("0.0005", T0 + NET_MS)
    life.decide()
    expected = Decimal(725) / Decimal(49750)
    assert known(life).liquidation_distance == pytest.approx(expected, abs=Decimal("1e-20"))
    assert known(life).margin_balance == 975


# Rules on what it costs

OUT = build.step("out", above("0.02"), Severity.CLOSE, lambda view: Close())
WARN = build.step("warn", above("0.01"), Severity.ALERT, lambda view: Notify("funding"))
AT_MS = T0 + HOUR_MS


def phase(life: Life) -> StepPhase:
    return life.verdict.steps[0].phase


def needs_read(life: Life) -> bool:
    return life.decision.needs_read


def closes(life: Life) -> bool:
    return any(isinstance(action, ClosePosition) for action in life.decide())


@pytest.mark.parametrize(
    ("metric", "at"),
    [(Metric.FUNDING_COST_INTERVAL, "0.02"), (Metric.FUNDING_COST_24H, "0.07")],
)
def test_a_step_that_acts_waits_for_the_minutes_before_the_settlement(
    metric: Metric, at: str
) -> None:
    life = alive(FIFTY, replace(OUT, threshold=above(at)), metric=metric)
    life.bill("0.0005", AT_MS)
    keep(life, FIFTY)
    assert not closes(life)
    (denied,) = life.verdict.denied
    assert (denied.kind, denied.limit, denied.until_ms) == (
        Denial.WAIT,
        "settlement",
        AT_MS - ACT_MS,
    )
    assert phase(life) is StepPhase.FIRING
    assert not life.state.memory_of(FIFTY.key).in_episode
    assert not life.decision.endangered
    pass_to(life, AT_MS - ACT_MS - 1, FIFTY)
    assert not closes(life)
    assert life.decision.wake_at_ms == AT_MS - ACT_MS
    pass_to(life, AT_MS - ACT_MS, FIFTY)
    assert closes(life)
    assert life.decision.approved[0].intent.reason == "ladder/out"
    assert life.state.memory_of(FIFTY.key).in_episode


def test_an_alert_does_not_wait() -> None:
    life = alive(FIFTY, WARN, OUT)
    life.bill("0.00025", AT_MS)
    keep(life, FIFTY)
    assert life.decide() == []
    assert life.alerts == ["step:ladder/warn"]


def test_a_step_on_what_the_episode_has_cost_acts_at_once() -> None:
    life = alive(FIFTY, OUT, metric=Metric.FUNDING_COST_EPISODE)
    in_episode(life)
    life.bill("0.0005", AT_MS)
    settle(life, "0.0005", AT_MS + 8 * HOUR_MS)
    keep(life, FIFTY)
    assert closes(life)


@pytest.mark.parametrize("position", [FIFTY, FIFTY_SHORT])
@pytest.mark.parametrize(
    "metric", [Metric.FUNDING_COST_INTERVAL, Metric.FUNDING_COST_24H, Metric.FUNDING_COST_EPISODE]
)
def test_nothing_is_done_about_a_bill_in_our_favour(position: Position, metric: Metric) -> None:
    """However large: the same step closes as soon as the sign is the other."""
    sign = position.side.sign
    for rate, acts in ((-sign * Decimal("0.05"), False), (sign * Decimal("0.0006"), True)):
        life = alive(position, OUT, metric=metric)
        life.bill(f"{rate:f}", AT_MS)
        pass_to(life, AT_MS - ACT_MS, position)
        acted = closes(life)
        assert acted is (acts and metric is not Metric.FUNDING_COST_EPISODE)


def test_a_step_clears_where_the_rate_turns_in_our_favour() -> None:
    life = alive(FIFTY, OUT, hysteresis="0.019")
    life.bill("0.0005", AT_MS)
    keep(life, FIFTY)
    life.decide()
    assert phase(life) is StepPhase.FIRING
    pass_to(life, AT_MS - ACT_MS, FIFTY)
    life.bill("-0.00001", AT_MS)
    assert not closes(life)
    assert phase(life) is StepPhase.INACTIVE


def test_an_unknown_bill_neither_fires_nor_clears() -> None:
    life = alive(FIFTY, OUT)
    life.decide()
    assert phase(life) is StepPhase.UNKNOWN
    life.bill("0.0005", AT_MS)
    keep(life, FIFTY)
    life.decide()
    assert phase(life) is StepPhase.FIRING
    # Settled, and the venue has not said what comes next: nothing is done, nothing forgotten.
    pass_to(life, AT_MS + SETTLE_LAG_MS, FIFTY)
    assert not closes(life)
    assert phase(life) is StepPhase.UNKNOWN
    life.bill("0.0004", AT_MS + 8 * HOUR_MS)  # at 2 % exactly not beyond it: only not cleared
    keep(life, FIFTY)
    life.decide()
    assert phase(life) is StepPhase.FIRING
    life.bill("0.0003", AT_MS + 8 * HOUR_MS)
    life.decide()
    assert phase(life) is StepPhase.INACTIVE


def test_an_unknown_bill_blinds_no_other_rule() -> None:
    life = alive(FIFTY, OUT)
    near = build.rule(
        build.step("near", below("0.05"), Severity.CLOSE, lambda view: Close()), name="distance"
    )
    life.policy = replace(life.policy, rules=(*life.policy.rules, near))
    keep(life, FIFTY)
    assert closes(life)
    assert life.decision.approved[0].intent.reason == "distance/near"


# Looking again


def test_a_calm_memo_does_not_sleep_through_a_settlement() -> None:
    """Nothing moves but time: at each of the moments the position is judged anew."""
    life = alive(FIFTY)
    life.bill("0.0005", AT_MS)
    keep(life, FIFTY)
    life.decide()
    assert life.state.memos
    balances = []
    for at_ms in (AT_MS - ACT_MS, AT_MS - NET_MS, AT_MS, AT_MS + SETTLE_LAG_MS):
        for early_ms in (1, 0):
            pass_to(life, at_ms - early_ms, FIFTY)
            life.decide()
            balances.append(known(life).margin_balance)
            assert life.decision.wake_at_ms > life.now_ms
            if early_ms:
                assert life.decision.wake_at_ms == at_ms
    assert balances == [1_000, 1_000, 1_000, 975, 975, 1_000, 1_000, 1_000]


def test_a_settlement_asks_for_a_read_until_one_shows_it() -> None:
    life = alive(FIFTY)
    life.bill("0.0005", AT_MS)
    pass_to(life, AT_MS, FIFTY)
    life.decide()
    assert not needs_read(life)
    assert life.decision.wake_at_ms == AT_MS + SETTLE_LAG_MS
    life.wait(SETTLE_LAG_MS)
    life.mark(50_000)
    life.decide()
    assert needs_read(life)
    paid = replace(FIFTY, isolated_margin=Money(Decimal(975)))
    life.read(paid, stops=life.state.stops)
    life.decide()
    assert not needs_read(life)
    assert known(life).margin_balance == 975
    assert not any(isinstance(a, AddMargin) for a in life.decide())


def test_new_terms_are_judged_at_once() -> None:
    life = alive(FIFTY, WARN)
    life.bill("0.0001", AT_MS)
    keep(life, FIFTY)
    life.decide()
    assert life.state.memos
    life.bill("0.0005", AT_MS)
    life.decide()
    assert life.alerts == ["step:ladder/warn"]


def test_the_ratio_of_a_day_follows_the_interval() -> None:
    for hours, expected in ((8, "0.075"), (2, "0.3")):
        life = alive(FIFTY, metric=Metric.FUNDING_COST_24H)
        life.bill("0.0005", AT_MS, interval_ms=hours * HOUR_MS)
        assert cost(life).day == Ratio(Decimal(expected))
