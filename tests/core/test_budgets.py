"""Over any history of intents: no budget breaks, and the way out is never blocked."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.actions import AT_MARKET, AddMargin, ClosePosition
from bot.core.decision import Decision, NoBook
from bot.core.events import TERMINAL, AccountMode, IntentState
from bot.core.guardrails import (
    Approved,
    Denied,
    Review,
    approve_stop,
    review_close,
    with_intent,
)
from bot.core.policy import Guardrails
from bot.core.promises import broken
from bot.core.state import (
    DAY_MS,
    HOUR_MS,
    AccountState,
    Intent,
)
from bot.testing import builders as build
from tests.core.life import LONG, T0
from tests.core.rails import (
    CLOSE,
    EPISODE,
    OTHER,
    STOP,
    account,
    add,
    approved,
    intent,
    request,
    top_up,
)


@st.composite
def histories(draw: st.DrawFn) -> AccountState:
    """Up to a dozen intents of the last two days, of two positions, in any state."""
    times = st.integers(0, 2 * DAY_MS) | st.sampled_from(
        [0, 1, 999, 1_000, 59_999, 60_000, HOUR_MS - 1, HOUR_MS, DAY_MS - 1, DAY_MS]
    )
    intents = []
    for _ in range(draw(st.integers(0, 12))):
        ago_ms = draw(times)
        action = draw(
            st.one_of(
                st.integers(1, 600).map(add), st.just(CLOSE), st.just(STOP), st.just(add(300))
            )
        )
        made = intent(
            action,
            ago_ms=ago_ms,
            changed_ago_ms=draw(st.integers(0, ago_ms)),
            state=draw(st.one_of(st.sampled_from(sorted(TERMINAL)), st.sampled_from(IntentState))),
            episode=draw(st.sampled_from([EPISODE, EPISODE - 1])),
        )
        intents.append(replace(made, key=draw(st.sampled_from([LONG.key, OTHER.key]))))
    return account(*intents, free=draw(st.integers(0, 3_000)))


LIMITS = st.builds(
    build.guardrails,
    keep_free=st.integers(0, 2_000),
    per_action=st.integers(0, 1_000),
    per_1h=st.integers(0, 1_500),
    per_24h=st.integers(0, 3_000),
    per_episode=st.integers(0, 2_000),
    top_ups_per_episode=st.integers(0, 6),
    actions_per_1m=st.integers(1, 10),
)


def amounts(intents: Iterable[Intent]) -> Decimal:
    """An independent sum: everything added that was sent and is not proven absent."""
    total = Decimal(0)
    for each in intents:
        if isinstance(each.action, AddMargin) and each.state.value not in (
            "rejected",
            "not_applied",
            "withheld",
        ):
            total += each.action.amount
    return total


@settings(max_examples=300)
@given(state=histories(), limits=LIMITS, asked=st.integers(1, 2_000))
def test_what_is_approved_breaks_no_budget(
    state: AccountState, limits: Guardrails, asked: int
) -> None:
    review = top_up(state, limits, asked=asked)
    if isinstance(review, Denied):
        return
    amount = approved(review)
    after = with_intent(state, review)
    everything = list(after.intents.values())
    episode = [each for each in everything if each.key == LONG.key and each.episode == EPISODE]
    assert 0 < amount <= asked
    assert amount <= limits.top_up_per_action_max
    assert amount <= state.free - limits.keep_free
    hour = [each for each in everything if each.planned_at_ms > T0 - HOUR_MS]
    day = [each for each in everything if each.planned_at_ms > T0 - DAY_MS]
    assert amounts(hour) <= limits.top_up_1h_max
    assert amounts(day) <= limits.top_up_24h_max
    assert amounts(episode) <= limits.top_up_per_episode_max
    spends = [each for each in episode if amounts([each])]
    assert len(spends) <= limits.top_ups_per_episode_max
    under_way = [each for each in everything if each.is_open]
    assert sum(isinstance(each.action, AddMargin) for each in under_way) == 1
    minute = [
        each
        for each in everything
        if T0 - each.planned_at_ms < 60_000 and isinstance(each.action, AddMargin | ClosePosition)
    ]
    assert len(minute) <= limits.actions_1m_max
    assert bool(review.shrinks) is (amount < asked)
    policy = build.policy(limits=limits)
    assert broken(after, deciding(review), policy) == ()


@given(state=histories(), limits=LIMITS, asked=st.integers(1, 2_000))
def test_wider_limits_never_give_less(state: AccountState, limits: Guardrails, asked: int) -> None:
    tight, wide = top_up(state, limits, asked=asked), top_up(state, asked=asked)
    if isinstance(tight, Approved):
        assert approved(wide) >= approved(tight)


@settings(max_examples=100)
@given(data=st.data())
def test_the_way_out_is_never_blocked(data: st.DataObject) -> None:
    """
    Whatever was spent, refused, lost or forbidden: a full close goes out.

    It pauses for a second after one that has ended, and for a minute where nothing is ever sent.
    """
    state = data.draw(histories())
    closing = [
        each
        for each in state.intents.values()
        if isinstance(each.action, ClosePosition) and each.key == LONG.key
    ]
    under_way = any(
        (each.is_open and each.state is not IntentState.UNKNOWN)
        or T0 - each.changed_at_ms < (60_000 if each.state is IntentState.WITHHELD else 1_000)
        for each in closing
    )
    lost = replace(state, lost_at_ms=T0, mode=data.draw(st.sampled_from(AccountMode)))
    nothing = build.guardrails(
        per_action=0,
        per_1h=0,
        per_24h=0,
        per_episode=0,
        top_ups_per_episode=0,
        actions_per_1m=0,
        keep_free=10**9,
    )
    review = review_close(request(lost, nothing), LONG, holds=False, bound=AT_MARKET)
    assert isinstance(review, Denied) is under_way
    if isinstance(review, Approved):
        assert review.intent.action == CLOSE
    stop = approve_stop(request(lost, nothing), STOP)
    assert stop.intent.action == STOP


# Promises asserted in production


def deciding(*reviews: Review) -> Decision:
    return Decision(
        at_ms=T0,
        mode=AccountMode.ACTIVE,
        positions=(),
        book=NoBook(),
        approved=tuple(each for each in reviews if isinstance(each, Approved)),
        alerts=(),
        wake_at_ms=T0,
        endangered=False,
        needs_read=False,
    )


@pytest.mark.parametrize(
    ("ago_ms", "limits", "promise"),
    [
        (HOUR_MS - 1, build.guardrails(per_1h=1_050), "promise 3: more margin would be added in"),
        (DAY_MS - 1, build.guardrails(per_24h=1_050), "promise 3: more margin would be added in"),
    ],
)
def test_a_broken_budget_is_noticed_before_it_is_sent(
    ago_ms: int, limits: Guardrails, promise: str
) -> None:
    state = account(intent(add(100), ago_ms=ago_ms))
    review = top_up(state)
    assert isinstance(review, Approved)
    (sentence,) = broken(with_intent(state, review), deciding(review), build.policy(limits=limits))
    assert sentence.startswith(promise)


def test_two_top_ups_at_once_are_noticed() -> None:
    state = account()
    first = top_up(state)
    assert isinstance(first, Approved)
    second = Approved(replace(first.intent, id="second"), ())
    both = with_intent(with_intent(state, first), second)
    (sentence,) = broken(both, deciding(first, second), build.policy())
    assert sentence.startswith("promise 4")


def test_what_was_spent_before_the_policy_changed_breaks_nothing() -> None:
    state = account(intent(add(100)))
    close = review_close(request(state), LONG, holds=False, bound=AT_MARKET)
    none = build.policy(limits=build.guardrails(per_1h=0, per_24h=0))
    assert broken(state, deciding(close), none) == ()
