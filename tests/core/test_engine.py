"""What the guard decides: the standing stop, the floor, the ladder, and what it may spend."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import AlertSeverity, Decision
from bot.core.engine import decide
from bot.core.events import (
    AccountMode,
    AccountReported,
    IntentState,
    MarkPrice,
    OutcomeReported,
    StreamLost,
)
from bot.core.guardrails import Denial
from bot.core.model import Position, Side, StopOrder
from bot.core.policy import Above, Below, Metric, Policy
from bot.core.state import AccountState
from bot.core.strategy import Close, Notify, Severity, TightenStop, TopUp
from bot.core.transitions import apply
from bot.core.units import Duration, Money, Price, Ratio
from bot.testing import builders as build

SYMBOL = build.SYMBOL
LONG = build.position()  # liquidation at 45,226.13, the stop 3 % before it at 46,624.9
GOOD_STOP = build.our_stop(LONG, "46624.9")
NOW = 1_000_000


def below(share: str) -> Below:
    return Below(Ratio(Decimal(share)))


def add(amount: int) -> TopUp:
    return TopUp(Money(Decimal(amount)))


WARN = build.step("warn", below("0.08"), Severity.ALERT, lambda view: Notify("near"))
SPEND = build.step("spend", below("0.06"), Severity.SPEND, lambda view: add(1000))
OUT = build.step("out", below("0.04"), Severity.CLOSE, lambda view: Close())


def account(
    mark: int | str = 50_000,
    *stops: StopOrder,
    position: Position = LONG,
    mode: AccountMode = AccountMode.ACTIVE,
    free: int = 10_000,
) -> AccountState:
    read = build.snapshot([position], stops or [GOOD_STOP], free=free)
    state = build.account_state(read, {}, now_ms=NOW, mode=mode)
    state = apply(state, AccountReported(read, NOW, NOW))
    return at(state, mark, NOW)


def at(state: AccountState, mark: int | str, now_ms: int) -> AccountState:
    return apply(state, MarkPrice(SYMBOL, Price(Decimal(mark)), now_ms))


def naked(state: AccountState) -> AccountState:
    read = build.snapshot([LONG], (), taken_at_ms=1)
    return apply(state, AccountReported(read, NOW, NOW))


def actions(decision: Decision) -> list[object]:
    return [approved.intent.action for approved in decision.approved]


def kinds(decision: Decision) -> set[type]:
    return {type(action) for action in actions(decision)}


def settled(state: AccountState, decision: Decision, outcome: IntentState) -> AccountState:
    for approved in decision.approved:
        event = OutcomeReported(approved.intent.id, outcome, "", decision.at_ms)
        state = apply(state, event)
    return state


# -- the standing stop -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", AccountMode)
def test_a_missing_stop_is_placed_in_every_mode(mode: AccountMode) -> None:
    _, decision = decide(naked(account(mode=mode)), build.policy(), NOW)
    (place,) = actions(decision)
    assert place == PlaceStop(SYMBOL, Side.LONG, LONG.quantity, Price(Decimal("46624.9")))


def test_a_good_stop_is_left_alone() -> None:
    assert actions(decide(account(), build.policy(), NOW)[1]) == []


@pytest.mark.parametrize(
    "stop",
    [
        build.our_stop(LONG, "45000"),
        build.our_stop(LONG, "46624.9", quantity="0.5"),
        build.our_stop(LONG, "46624.9", reduce_only=False),
    ],
    ids=["beyond liquidation", "half the size", "not reduce-only"],
)
def test_an_unsafe_stop_is_replaced_at_once_and_cancelled_only_afterwards(stop: StopOrder) -> None:
    state, decision = decide(account(50_000, stop), build.policy(), NOW)
    assert kinds(decision) == {PlaceStop}
    read = build.snapshot([LONG], [stop, GOOD_STOP], taken_at_ms=2)
    state = settled(state, decision, IntentState.APPLIED)
    state = apply(state, AccountReported(read, NOW + 1, NOW + 1))
    _, decision = decide(state, build.policy(), NOW + 1)
    assert actions(decision) == [CancelStop(SYMBOL, Side.LONG, stop.client_id)]


def test_a_small_drift_keeps_its_place_and_a_large_one_is_re_priced() -> None:
    near = build.our_stop(LONG, "46700")
    far = build.our_stop(LONG, "47500")
    assert actions(decide(account(50_000, near), build.policy(), NOW)[1]) == []
    assert kinds(decide(account(50_000, far), build.policy(), NOW)[1]) == {PlaceStop}


def test_a_stop_may_rest_on_a_stale_mark_but_not_on_an_old_read() -> None:
    state = naked(account())
    assert kinds(decide(state, build.policy(), NOW + 59_000)[1]) == {PlaceStop}
    assert kinds(decide(state, build.policy(), NOW + 61_000)[1]) == set()


def test_loss_max_and_the_users_own_stop_tighten_it() -> None:
    tight = build.policy(limits=build.guardrails(loss_max=2_000))
    (place,) = actions(decide(naked(account()), tight, NOW)[1])
    assert isinstance(place, PlaceStop)
    assert place.trigger_price == 48_000
    users = build.foreign_stop(LONG, "49000")
    state = account(50_000, users)
    (place,) = actions(decide(state, build.policy(), NOW)[1])
    assert isinstance(place, PlaceStop)
    assert place.trigger_price == 49_000


def test_foreign_stops_are_never_cancelled() -> None:
    users = build.foreign_stop(LONG, "46000")
    _, decision = decide(account(50_000, users, GOOD_STOP), build.policy(), NOW)
    assert actions(decision) == []


def test_an_orphan_is_cancelled_only_after_two_reads_two_seconds_apart() -> None:
    state = account()
    for seconds, expected in ((1, set()), (2, set()), (4, {CancelStop})):
        at_ms = NOW + seconds * 1000
        read = build.snapshot([], [GOOD_STOP], taken_at_ms=seconds)
        state = apply(state, AccountReported(read, at_ms, at_ms))
        state, decision = decide(state, build.policy(), at_ms)
        assert kinds(decision) == expected


def test_where_the_venue_refuses_the_stop_the_guard_stands_in_for_it() -> None:
    state, decision = decide(naked(account()), build.policy(), NOW)
    state = settled(state, decision, IntentState.REJECTED)
    state, decision = decide(state, build.policy(), NOW + 100)
    assert actions(decision) == []
    assert [alert.kind for alert in decision.alerts] == ["stop_refused"]
    _, decision = decide(at(state, 46_600, NOW + 200), build.policy(), NOW + 200)
    assert actions(decision) == [ClosePosition(SYMBOL, Side.LONG, LONG.quantity)]


def test_a_resting_stop_gets_three_seconds_to_fill() -> None:
    state, decision = decide(account(46_600), build.policy(), NOW)
    assert (actions(decision), decision.needs_read) == ([], True)
    assert decision.wake_at_ms == NOW + 3_000
    _, decision = decide(at(state, 46_600, NOW + 3_000), build.policy(), NOW + 3_000)
    assert kinds(decision) == {ClosePosition}


def test_a_position_that_stays_naked_is_alarmed() -> None:
    state, decision = decide(naked(account()), build.policy(), NOW)
    for at_ms in (NOW + 6_000, NOW + 15_000):
        state, decision = decide(at(state, 50_000, at_ms), build.policy(), at_ms)
    assert "naked" in {alert.kind for alert in decision.alerts}


# -- the floor ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", AccountMode)
@pytest.mark.parametrize("mark", [45_900, 45_226, 44_000], ids=["floor", "breached", "past"])
def test_below_the_floor_everything_is_closed_and_nothing_added(
    mode: AccountMode, mark: int
) -> None:
    ladder = build.policy(build.rule(SPEND))
    _, decision = decide(account(mark, mode=mode), ladder, NOW)
    assert ClosePosition(SYMBOL, Side.LONG, LONG.quantity) in actions(decision)
    assert AddMargin not in kinds(decision)


def test_hold_may_be_told_to_keep_even_then_but_says_so() -> None:
    keeps = build.policy(protection=build.protect(floor_in_hold=False))
    _, decision = decide(account(45_900, mode=AccountMode.HOLD), keeps, NOW)
    assert ClosePosition not in kinds(decision)
    assert "floor_held" in {alert.kind for alert in decision.alerts}


def test_hold_stops_the_ladder_from_closing() -> None:
    ladder = build.policy(build.rule(OUT), protection=build.protect(room="0.02"))
    stop = build.our_stop(LONG, "46149.2")
    assert kinds(decide(account(46_900, stop), ladder, NOW)[1]) == {ClosePosition}
    held = account(46_900, stop, mode=AccountMode.HOLD)
    assert kinds(decide(held, ladder, NOW)[1]) == set()


# -- the ladder --------------------------------------------------------------------------------


def test_the_deepest_firing_step_acts_and_milder_ones_are_inhibited() -> None:
    ladder = build.policy(build.rule(WARN, SPEND, OUT))
    _, decision = decide(account(48_900), ladder, NOW)
    assert [alert.kind for alert in decision.alerts] == ["step:ladder/warn"]
    _, decision = decide(account(47_800), ladder, NOW)
    assert actions(decision) == [AddMargin(SYMBOL, Side.LONG, Money(Decimal(1000)))]
    _, decision = decide(account(47_000), ladder, NOW)
    assert kinds(decision) == {ClosePosition}


def test_a_step_fires_after_for_and_clears_only_past_the_hysteresis() -> None:
    held = replace(OUT, threshold=below("0.06"), hold_ms=Duration(10_000))
    ladder = build.policy(build.rule(held))
    state, decision = decide(account(47_800), ladder, NOW)
    assert decision.wake_at_ms == NOW + 10_000
    state, decision = decide(at(state, 47_800, NOW + 9_999), ladder, NOW + 9_999)
    assert kinds(decision) == set()
    state, decision = decide(at(state, 47_800, NOW + 10_000), ladder, NOW + 10_000)
    assert kinds(decision) == {ClosePosition}
    state = settled(state, decision, IntentState.EXPIRED)
    state, decision = decide(at(state, 48_400, NOW + 12_000), ladder, NOW + 12_000)
    assert decision.positions[0].steps[0].phase == "firing"
    _, decision = decide(at(state, 48_700, NOW + 13_000), ladder, NOW + 13_000)
    assert decision.positions[0].steps[0].phase == "inactive"


def test_unknown_neither_fires_nor_clears_and_pauses_for_at_most_ten_seconds() -> None:
    held = replace(OUT, threshold=below("0.06"), hold_ms=Duration(30_000))
    ladder = build.policy(build.rule(held))
    state, _ = decide(account(47_800), ladder, NOW)
    state, decision = decide(state, ladder, NOW + 31_000)
    assert decision.positions[0].steps[0].phase == "unknown"
    assert kinds(decision) == set()
    state, decision = decide(at(state, 47_800, NOW + 31_000), ladder, NOW + 31_000)
    assert kinds(decision) == set()
    _, decision = decide(at(state, 47_800, NOW + 40_000), ladder, NOW + 40_000)
    assert kinds(decision) == {ClosePosition}


def test_a_margin_ratio_rule_watches_from_above() -> None:
    leave = replace(OUT, threshold=Above(Ratio(Decimal("0.15"))))
    ladder = build.policy(build.rule(leave, metric=Metric.MARGIN_RATIO))
    assert kinds(decide(account(47_000), ladder, NOW)[1]) == set()
    assert kinds(decide(account(46_500), ladder, NOW)[1]) == {ClosePosition}


def test_exhausted_is_said_once_and_hands_over_only_where_it_says_so() -> None:
    broke = build.guardrails(keep_free=10_000)
    stays = build.policy(build.rule(SPEND, OUT), limits=broke)
    state, decision = decide(account(47_800), stays, NOW)
    assert kinds(decision) == set()
    assert [alert.kind for alert in decision.alerts] == ["exhausted:keep_free"]
    _, again = decide(at(state, 47_790, NOW + 1_000), stays, NOW + 1_000)
    assert again.alerts == ()
    hands_over = build.policy(build.rule(replace(SPEND, then_next=True), OUT), limits=broke)
    assert kinds(decide(account(47_800), hands_over, NOW)[1]) == {ClosePosition}


def test_a_step_that_the_venue_refused_gives_way_to_a_milder_one() -> None:
    ladder = build.policy(build.rule(WARN, SPEND))
    state, decision = decide(account(47_800), ladder, NOW)
    state = settled(state, decision, IntentState.REJECTED)
    state, decision = decide(at(state, 47_790, NOW + 1_000), ladder, NOW + 1_000)
    assert actions(decision) == []
    assert [alert.kind for alert in decision.alerts] == ["step:ladder/warn"]


def test_a_firing_step_tightens_the_stop_and_lets_go_when_it_clears() -> None:
    tighten = build.step(
        "tight", below("0.06"), Severity.STOP, lambda view: TightenStop(Price(Decimal(47_500)))
    )
    ladder = build.policy(build.rule(tighten, OUT))
    _, decision = decide(account(47_800), ladder, NOW)
    (place,) = actions(decision)
    assert isinstance(place, PlaceStop)
    assert place.trigger_price == 47_500
    assert actions(decide(account(49_000), ladder, NOW)[1]) == []


# -- what may be spent -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "approved"),
    [
        ({"per_action": 400}, 400),
        ({"per_1h": 300}, 300),
        ({"per_24h": 200}, 200),
        ({"per_episode": 150}, 150),
        ({"keep_free": 9_900}, 100),
    ],
)
def test_every_budget_shrinks_and_the_shrink_is_recorded(
    limit: dict[str, int], approved: int
) -> None:
    ladder = build.policy(build.rule(SPEND), limits=build.guardrails(**limit))
    _, decision = decide(account(47_800), ladder, NOW)
    assert actions(decision) == [AddMargin(SYMBOL, Side.LONG, Money(Decimal(approved)))]
    (name,) = limit
    assert decision.approved[0].shrinks == (f"asked 1000, may be {approved}, limit {name}",)


@pytest.mark.parametrize(
    ("outcome", "left"),
    [
        (IntentState.APPLIED, 500),
        (IntentState.EXPIRED, 500),
        (IntentState.NOT_APPLIED, 1000),
    ],
)
def test_what_is_not_proven_absent_counts_as_spent(outcome: IntentState, left: int) -> None:
    ladder = build.policy(build.rule(SPEND), limits=build.guardrails(per_1h=1_500))
    state, decision = decide(account(47_800), ladder, NOW)
    later = NOW + 60_000
    state = settled(state, decision, outcome)
    read = build.snapshot([LONG], [GOOD_STOP], taken_at_ms=5)
    state = at(apply(state, AccountReported(read, later, later)), 47_800, later)
    _, decision = decide(state, ladder, later)
    assert actions(decision) == [AddMargin(SYMBOL, Side.LONG, Money(Decimal(left)))]


def test_budgets_roll() -> None:
    ladder = build.policy(build.rule(SPEND), limits=build.guardrails(per_1h=1_000))
    state, decision = decide(account(47_800), ladder, NOW)
    state = settled(state, decision, IntentState.APPLIED)
    for later, expected in ((NOW + 3_599_999, set()), (NOW + 3_600_000, {AddMargin})):
        read = build.snapshot([LONG], [GOOD_STOP], taken_at_ms=later)
        state = at(apply(state, AccountReported(read, later, later)), 47_800, later)
        state, decision = decide(state, ladder, later)
        assert kinds(decision) == expected


@pytest.mark.parametrize("state_of_first", [IntentState.ACKED, IntentState.UNKNOWN])
def test_an_unsettled_top_up_blocks_the_next_but_not_the_way_out(
    state_of_first: IntentState,
) -> None:
    ladder = build.policy(build.rule(SPEND, OUT))
    state, decision = decide(account(47_800), ladder, NOW)
    state = settled(state, decision, state_of_first)
    state, decision = decide(at(state, 47_790, NOW + 1_000), ladder, NOW + 1_000)
    assert kinds(decision) == set()
    assert decision.positions[0].denied[0].kind is Denial.WAIT
    _, decision = decide(at(state, 47_000, NOW + 2_000), ladder, NOW + 2_000)
    assert kinds(decision) == {ClosePosition}


def test_nothing_is_spent_on_old_data_or_after_lost_events() -> None:
    ladder = build.policy(build.rule(SPEND))
    state = at(account(47_800), 47_800, NOW + 5_001)
    _, decision = decide(state, ladder, NOW + 5_001)
    assert (kinds(decision), decision.needs_read) == (set(), True)
    lost = apply(account(47_800), StreamLost("reset", NOW))
    assert kinds(decide(lost, ladder, NOW)[1]) == set()


def test_cooldown_and_rate_hold_the_step() -> None:
    slow = build.policy(build.rule(replace(SPEND, cooldown_ms=Duration(20_000))))
    rare = build.policy(build.rule(SPEND), limits=build.guardrails(actions_per_1m=1))
    for ladder, until in ((slow, NOW + 20_000), (rare, NOW + 60_000)):
        state, decision = decide(account(47_800), ladder, NOW)
        state = settled(state, decision, IntentState.APPLIED)
        read = build.snapshot([LONG], [GOOD_STOP], taken_at_ms=9)
        state = apply(state, AccountReported(read, NOW + 1_000, NOW + 1_000))
        _, decision = decide(at(state, 47_800, NOW + 1_000), ladder, NOW + 1_000)
        assert kinds(decision) == set()
        assert decision.wake_at_ms == until


def test_a_top_up_whose_stop_could_not_move_is_refused() -> None:
    capped = build.policy(build.rule(SPEND), limits=build.guardrails(loss_max=2_500))
    stop = build.our_stop(LONG, "47500")
    _, decision = decide(account(47_800, stop), capped, NOW)
    assert kinds(decision) == set()
    assert [alert.kind for alert in decision.alerts] == ["exhausted:stop_blocked"]


@pytest.mark.parametrize("mode", [AccountMode.NO_SPEND, AccountMode.REDUCING, AccountMode.HOLD])
def test_only_an_active_account_spends(mode: AccountMode) -> None:
    ladder = build.policy(build.rule(SPEND))
    _, decision = decide(account(47_800, mode=mode), ladder, NOW)
    assert kinds(decision) == set()
    assert decision.alerts[0].severity is AlertSeverity.CRITICAL


# -- the machinery -----------------------------------------------------------------------------

MARKS = st.lists(
    st.tuples(st.integers(45_000, 52_000), st.integers(1, 40_000)), min_size=1, max_size=25
)
FULL = build.policy(
    build.rule(
        replace(WARN, hold_ms=Duration(5_000)),
        replace(SPEND, cooldown_ms=Duration(20_000)),
        replace(OUT, hold_ms=Duration(500)),
    ),
    limits=build.guardrails(per_action=700, per_1h=1_500, per_24h=2_000, loss_max=4_000),
)


def history(marks: list[tuple[int, int]], policy: Policy) -> list[tuple[AccountState, Decision]]:
    state, now_ms = account(), NOW
    lived = []
    for number, (mark, wait_ms) in enumerate(marks):
        now_ms += wait_ms
        if number % 3 != 2:
            state = at(state, mark, now_ms)
        if number % 2 == 0:
            read = build.snapshot([LONG], [GOOD_STOP], taken_at_ms=number)
            state = apply(state, AccountReported(read, now_ms, now_ms))
        before = state
        state, decision = decide(before, policy, now_ms)
        bare, again = decide(replace(before, memos={}), policy, now_ms)
        assert again == decision
        assert bare == state
        lived.append((state, decision))
        for approved in decision.approved:
            outcome = (IntentState.APPLIED, IntentState.UNKNOWN)[number % 2]
            event = OutcomeReported(approved.intent.id, outcome, "", now_ms)
            state = apply(state, event)
    return lived


@given(MARKS)
def test_memory_of_calm_changes_no_decision_and_no_budget_is_exceeded(
    marks: list[tuple[int, int]],
) -> None:
    lived = history(marks, FULL)
    added = [
        (decision.at_ms, action.amount)
        for _, decision in lived
        for action in actions(decision)
        if isinstance(action, AddMargin)
    ]
    assert sum(amount for _, amount in added) <= 2_000
    for at_ms, _ in added:
        window = [each for when, each in added if at_ms - 3_600_000 < when <= at_ms]
        assert sum(window) <= 1_500
    for _, decision in lived:
        ladder = [
            each for each in actions(decision) if isinstance(each, AddMargin | ClosePosition)
        ]
        assert len(ladder) <= 1
        for action in actions(decision):
            assert getattr(action, "side", Side.LONG) is Side.LONG
            assert getattr(action, "quantity", LONG.quantity) <= LONG.quantity


@given(MARKS, st.floats(0, 1))
def test_nothing_new_is_decided_before_the_wake_time(
    marks: list[tuple[int, int]], share: float
) -> None:
    for (state, decision), _ in pairwise([*history(marks, FULL), history(marks[:1], FULL)[0]]):
        if decision.approved or decision.alerts:
            continue
        horizon = min(decision.wake_at_ms, decision.at_ms + 4_000) - 1
        if horizon <= decision.at_ms:
            continue
        earlier = decision.at_ms + int((horizon - decision.at_ms) * share)
        _, again = decide(state, FULL, earlier)
        if all(
            verdict.measured == old.measured
            for verdict, old in zip(again.positions, decision.positions, strict=True)
        ):
            assert again.approved == ()


def test_a_late_outcome_and_an_older_read_change_nothing() -> None:
    state, decision = decide(naked(account()), build.policy(), NOW)
    state = settled(state, decision, IntentState.APPLIED)
    assert settled(state, decision, IntentState.UNKNOWN) == state
    older = build.snapshot([], (), taken_at_ms=-1)
    assert apply(state, AccountReported(older, NOW, NOW + 1)) == state
