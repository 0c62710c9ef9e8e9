"""May we: every limit at its edge, what counts as spent, and what a close waits for."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.actions import AT_MARKET, CancelStop, ClosePosition
from bot.core.events import TERMINAL, AccountMode, IntentState
from bot.core.guardrails import (
    Approved,
    Denial,
    Denied,
    Review,
    approve_stop,
    review_close,
    spent_since,
    still_counts,
    with_intent,
)
from bot.core.model import Position, Reported
from bot.core.policy import Guardrails
from bot.core.state import (
    DAY_MS,
    HOUR_MS,
    WITHHELD_MS,
    AccountRead,
    AccountState,
    Instruments,
    Intent,
    NotRead,
    Plain,
    StepMemory,
)
from bot.core.units import Price, Quantity
from bot.testing import builders as build
from tests.core.life import LONG, T0
from tests.core.rails import (
    CLOSE,
    EPISODE,
    MEMORY,
    OTHER,
    REASON,
    STOP,
    account,
    add,
    approved,
    denied,
    intent,
    request,
    top_up,
)


def close(state: AccountState, position: Position = LONG, holds: bool = False) -> Review:
    return review_close(request(state), position, holds, AT_MARKET)


# Budgets


def test_what_was_asked_is_approved_where_no_limit_binds() -> None:
    review = top_up(account(), asked="1234.56")
    assert isinstance(review, Approved)
    assert review.shrinks == ()
    assert review.intent == Intent(
        id=review.intent.id,
        key=LONG.key,
        action=add("1234.56"),
        purpose=Plain(),
        reason=REASON,
        episode=EPISODE,
        known_at_ms=T0 - 5,
        margin_before=LONG.isolated_margin,
        quantity_before=LONG.quantity,
        planned_at_ms=T0,
        state=IntentState.PLANNED,
        changed_at_ms=T0,
        detail="",
    )


@pytest.mark.parametrize("number", [0, 7, 99, 100, 1_234_567])
@pytest.mark.parametrize("step", ["0.0001", "0.000001", "0.01", "0.1"])
def test_the_last_digits_of_an_amount_are_the_number_of_its_intent(step: str, number: int) -> None:
    """A little less than asked, never more; where fractions of a cent are not taken, none."""
    rules = build.instrument(margin_step=step)
    state = replace(account(), intents_planned=number)
    state = replace(state, instruments=Instruments("", {rules.symbol: rules}))
    review = top_up(state, asked="1234.5678")
    assert isinstance(review, Approved)
    amount, smallest = approved(review), Decimal(step)
    assert amount <= Decimal("1234.5678")
    assert Decimal("1234.5678") - amount < 100 * smallest + smallest
    assert amount % smallest == 0
    if smallest <= Decimal("0.0001"):
        assert amount / smallest % 100 == number % 100
        assert Decimal("1234.5678") - amount <= Decimal("0.01")


@pytest.mark.parametrize("asked", [400, 500])
def test_a_limit_that_is_just_met_shrinks_nothing(asked: int) -> None:
    review = top_up(account(), build.guardrails(per_action=500), asked=asked)
    assert isinstance(review, Approved)
    assert approved(review) == asked
    assert review.shrinks == ()


@pytest.mark.parametrize(
    ("limits", "spent", "left", "limit"),
    [
        (build.guardrails(per_action=500), 0, 500, "per_action"),
        (build.guardrails(per_1h=500), 100, 400, "per_1h"),
        (build.guardrails(per_24h=500), 200, 300, "per_24h"),
        (build.guardrails(per_episode=500), 250, 250, "per_episode"),
        (build.guardrails(keep_free=9_800), 0, 200, "keep_free"),
    ],
)
def test_shrinks_are_recorded(limits: Guardrails, spent: int, left: int, limit: str) -> None:
    before = [intent(add(spent), episode=EPISODE)] if spent else []
    review = top_up(account(*before), limits)
    assert isinstance(review, Approved)
    assert approved(review) == left
    assert review.shrinks == (f"asked 1000, may be {left}, limit {limit}",)


def test_the_tightest_of_several_limits_binds() -> None:
    limits = build.guardrails(per_action=600, per_1h=500, per_24h=700, keep_free=9_500)
    assert approved(top_up(account(intent(add(50))), limits)) == 450


@pytest.mark.parametrize(
    ("limits", "window_ms"),
    [(build.guardrails(per_1h=100), HOUR_MS), (build.guardrails(per_24h=100), DAY_MS)],
    ids=["1h", "24h"],
)
def test_windows_roll(limits: Guardrails, window_ms: int) -> None:
    inside = account(intent(add(100), ago_ms=window_ms - 1))
    assert isinstance(top_up(inside, limits), Denied)
    assert approved(top_up(account(intent(add(100), ago_ms=window_ms)), limits)) == 100


def test_an_episode_counts_its_own_top_ups_only() -> None:
    limits = build.guardrails(per_episode=100, top_ups_per_episode=1)
    mine = intent(add(40), episode=EPISODE)
    denied(top_up(account(mine), limits), Denial.EXHAUSTED, "top_ups_per_episode")
    earlier = replace(mine, episode=EPISODE - 1)
    others = replace(mine, key=OTHER.key)
    assert approved(top_up(account(earlier, others), limits)) == 100


def test_an_episode_longer_than_a_day_still_counts_all_of_them() -> None:
    old = intent(add(40), ago_ms=2 * DAY_MS, episode=EPISODE)
    assert still_counts(old, MEMORY, T0)
    assert not still_counts(old, replace(MEMORY, in_episode=False), T0)
    assert not still_counts(replace(old, episode=EPISODE - 1), MEMORY, T0)


@pytest.mark.parametrize("state", IntentState)
def test_all_that_was_sent_is_spent_but_for_proven_absence(state: IntentState) -> None:
    spent = spent_since(account(intent(add(70), state=state)), T0 - HOUR_MS)
    absent = {IntentState.REJECTED, IntentState.NOT_APPLIED, IntentState.WITHHELD}
    assert spent == (0 if state in absent else 70)


def test_only_added_margin_is_spent() -> None:
    assert spent_since(account(intent(CLOSE), intent(STOP)), T0 - HOUR_MS) == 0


def test_budgets_are_of_the_account_not_of_a_position() -> None:
    elsewhere = replace(intent(add(70)), key=OTHER.key)
    limits = build.guardrails(per_1h=100)
    assert approved(top_up(account(elsewhere), limits)) == 30


@pytest.mark.parametrize(
    ("limits", "free", "limit"),
    [
        (build.guardrails(per_1h=100), 10_000, "per_1h"),
        (build.guardrails(per_24h=100), 10_000, "per_24h"),
        (build.guardrails(per_episode=100), 10_000, "per_episode"),
        (build.guardrails(keep_free=300), 300, "keep_free"),
        (build.guardrails(keep_free=300), 100, "keep_free"),
        (build.guardrails(per_action=9), 10_000, "per_action"),
    ],
)
def test_nothing_useful_left_is_exhausted(limits: Guardrails, free: int, limit: str) -> None:
    """The last case: 9 of 1,000 asked is less than the hundredth that helps."""
    state = account(intent(add(100), episode=EPISODE), free=free)
    found = denied(top_up(state, limits), Denial.EXHAUSTED, limit)
    assert "asked 1000" in found.text
    assert "-" not in found.text.split("may be")[1]


def test_a_hundredth_of_what_was_asked_is_useful() -> None:
    assert approved(top_up(account(), build.guardrails(per_action=10))) == 10


def test_amounts_are_cut_to_the_venues_step() -> None:
    assert approved(top_up(account(), build.guardrails(per_action="12.349"))) == Decimal("12.34")


# Waiting


@pytest.mark.parametrize("state", sorted(set(IntentState) - TERMINAL))
def test_one_spend_at_a_time_per_account(state: IntentState) -> None:
    elsewhere = replace(intent(add(1), state=state), key=OTHER.key)
    denied(top_up(account(elsewhere)), Denial.WAIT, "in_flight")


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_settled_spend_holds_up_nothing(state: IntentState) -> None:
    assert approved(top_up(account(intent(add(1), state=state)))) == 1_000


def test_nothing_is_added_while_the_position_is_being_closed() -> None:
    closing = intent(CLOSE, state=IntentState.PREPARED)
    denied(top_up(account(closing)), Denial.WAIT, "in_flight")
    elsewhere = replace(closing, key=OTHER.key)
    assert approved(top_up(account(elsewhere))) == 1_000


def test_cooldown() -> None:
    acted = replace(MEMORY, steps={REASON: StepMemory(acted_at_ms=T0 - 9_999)})
    found = denied(top_up(account(), memory=acted, cooldown_ms=10_000), Denial.WAIT, "cooldown")
    assert found.until_ms == T0 + 1
    over = replace(MEMORY, steps={REASON: StepMemory(acted_at_ms=T0 - 10_000)})
    assert approved(top_up(account(), memory=over, cooldown_ms=10_000)) == 1_000


def test_actions_per_minute_count_adds_and_closes_whatever_became_of_them() -> None:
    limits = build.guardrails(actions_per_1m=2)
    first = intent(CLOSE, ago_ms=59_999, state=IntentState.REJECTED)
    second = intent(add(1), ago_ms=30_000, state=IntentState.NOT_APPLIED)
    stop = intent(STOP, ago_ms=30_000)
    found = denied(top_up(account(first, second, stop), limits), Denial.WAIT, "actions_per_1m")
    assert found.until_ms == T0 + 1
    rolled = replace(first, planned_at_ms=T0 - 60_000)
    assert approved(top_up(account(rolled, second, stop), limits)) == 1_000


@pytest.mark.parametrize(
    ("read", "because"),
    [
        (NotRead(), "not been read"),
        (AccountRead(build.snapshot([LONG]), T0 - 5_001, T0 - 5_001), "older than 5000 ms"),
        (AccountRead(build.snapshot([LONG]), T0 - 1_000, T0), "missed"),
    ],
    ids=["none", "old", "before the loss"],
)
def test_spending_needs_a_read_that_is_fresh_and_complete(
    read: AccountRead | NotRead, because: str
) -> None:
    state = replace(account(), account=read, lost_at_ms=T0 - 1_000)
    if because != "missed":
        state = replace(state, lost_at_ms=T0 - 10_000)
    found = denied(top_up(state), Denial.WAIT, "age")
    assert because in found.text
    assert found.needs_read


def test_spending_needs_a_read_after_the_last_top_up() -> None:
    state = account(intent(add(1), ago_ms=40_000, changed_ago_ms=-1))
    found = denied(top_up(state, now_ms=T0 + 1), Denial.WAIT, "age")
    assert "since the last top-up" in found.text
    refused = intent(add(1), ago_ms=40_000, changed_ago_ms=-1, state=IntentState.REJECTED)
    assert approved(top_up(account(refused), now_ms=T0 + 1)) == 1_000


@pytest.mark.parametrize("mode", AccountMode)
def test_only_an_active_account_spends(mode: AccountMode) -> None:
    review = top_up(account(mode=mode))
    if mode is AccountMode.ACTIVE:
        assert approved(review) == 1_000
    else:
        assert "a test says so" in denied(review, Denial.EXHAUSTED, "mode").text


# A stop that could not move


def test_a_top_up_that_could_not_move_its_stop_is_refused() -> None:
    capped = build.guardrails(loss_max=2_000)
    denied(top_up(account(), capped), Denial.EXHAUSTED, "stop_blocked")
    users = (Price(Decimal(47_500)),)
    denied(top_up(account(), users=users), Denial.EXHAUSTED, "stop_blocked")
    assert approved(top_up(account(), users=(Price(Decimal(46_000)),))) == 1_000


def test_margin_beyond_the_whole_value_needs_no_stop() -> None:
    assert approved(top_up(account(free=100_000), asked=60_000)) == 60_000


def test_the_stop_that_moves_is_the_one_before_the_venues_price() -> None:
    near = build.position(liquidation=Reported(Price(Decimal(46_000))))
    assert approved(top_up(account(), position=near)) == 1_000


# The way out


@pytest.mark.parametrize(
    "state",
    [
        IntentState.PLANNED,
        IntentState.PREPARED,
        IntentState.ACKED,
    ],
)
def test_a_close_under_way_holds_up_another_of_the_same_position(state: IntentState) -> None:
    closing = intent(CLOSE, state=state)
    denied(
        close(account(closing)),
        Denial.WAIT,
        "in_flight",
    )
    elsewhere = replace(closing, key=OTHER.key)
    review = close(account(elsewhere))
    assert isinstance(review, Approved)
    assert review.intent.action == CLOSE


@pytest.mark.parametrize("state", sorted({*TERMINAL, IntentState.UNKNOWN}))
def test_a_close_that_ended_or_is_unknown_may_be_repeated_after_a_second(
    state: IntentState,
) -> None:
    """One that was withheld, by which nothing can have changed, after a minute."""
    again_ms = WITHHELD_MS if state is IntentState.WITHHELD else 1_000
    recent = intent(CLOSE, state=state, changed_ago_ms=again_ms - 1)
    found = denied(
        close(account(recent)),
        Denial.WAIT,
        "in_flight",
    )
    assert found.until_ms == T0 + 1
    over = replace(recent, changed_at_ms=T0 - again_ms)
    assert isinstance(close(account(over)), Approved)


def test_hold_is_the_only_mode_that_may_keep_a_close_back() -> None:
    held = close(account(), holds=True)
    denied(held, Denial.EXHAUSTED, "hold")


# Bookkeeping


def test_open_intents_and_the_last_minute_are_remembered() -> None:
    quiet = replace(MEMORY, in_episode=False)
    old_open = intent(STOP, ago_ms=2 * DAY_MS, state=IntentState.UNKNOWN)
    assert still_counts(old_open, quiet, T0)
    assert still_counts(intent(CLOSE, ago_ms=59_999), quiet, T0)
    assert not still_counts(intent(CLOSE, ago_ms=60_000), quiet, T0)
    assert still_counts(intent(add(1), ago_ms=DAY_MS - 1), quiet, T0)
    assert not still_counts(intent(add(1), ago_ms=DAY_MS), quiet, T0)
    refused = intent(add(1), ago_ms=HOUR_MS, state=IntentState.REJECTED)
    assert not still_counts(refused, quiet, T0)


def test_every_intent_has_an_id_of_its_own_and_remembers_the_margin_before() -> None:
    state = account()
    ids = set()
    for _ in range(3):
        one = approve_stop(request(state), CancelStop(LONG.symbol, LONG.side, "x"))
        ids.add(one.intent.id)
        assert one.intent.margin_before == LONG.isolated_margin
        state = with_intent(state, one)
    assert len(ids) == 3
    assert state.intents_planned == 3
    assert set(state.intents) == ids


def test_a_close_is_always_of_the_whole_position() -> None:
    half = replace(LONG, quantity=Quantity(Decimal("0.5")))
    review = close(account(), half)
    assert isinstance(review, Approved)
    assert isinstance(review.intent.action, ClosePosition)
    assert review.intent.action.quantity == Decimal("0.5")
