"""Calm: an unchanged position costs next to nothing, and forgets nothing that is going on."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.actions import ClosePosition
from bot.core.decision import Decision
from bot.core.engine import decide
from bot.core.events import (
    AccountMode,
    Command,
    IntentState,
    OutcomeReported,
    StreamLost,
    Tick,
)
from bot.core.metrics import Unknown
from bot.core.model import MarginMode, PositionMode, Reported, Side
from bot.core.policy import Policy
from bot.core.state import AccountState, Intent, Plain
from bot.core.strategy import Close, Nothing, Notify, Severity, TightenStop, TopUp
from bot.core.units import Money, Price
from bot.journal.codec import to_json
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, Life, below


def calm() -> Life:
    life = Life(build.policy(), stops=[GOOD_STOP])
    life.decide()
    return life


def recalls(life: Life) -> bool:
    """Whether the next decision remembers its verdict instead of judging again."""
    before: AccountState = life.state
    life.decide()
    (memo,) = before.memos.values()
    return any(verdict is memo.verdict for verdict in life.decision.positions)


def test_an_unchanged_position_is_recalled() -> None:
    life = calm()
    for _ in range(3):
        life.wait(1_000)
        life.mark(50_000)
        assert recalls(life)
    life.read(build.position(), stops=[replace(GOOD_STOP)])
    life.happen(Tick(life.now_ms))
    life.happen(StreamLost("reset", life.now_ms))
    life.happen(Command(AccountMode.HOLD, "holiday", life.now_ms))
    assert recalls(life)
    assert life.decision.mode is AccountMode.HOLD


def test_a_recalled_position_wakes_with_its_alarm() -> None:
    life = calm()
    first = life.decision.wake_at_ms
    life.decide()
    assert life.decision.wake_at_ms == first == life.now_ms + 5_000 + 60_000


def test_what_cannot_be_guarded_any_more_is_not_recalled() -> None:
    """Another mode of the account, or a cross position against it: nobody can judge it then."""
    against = build.position(side=Side.SHORT, margin_mode=MarginMode.CROSS)
    for mode, others in ((PositionMode.HEDGE, ()), (PositionMode.ONE_WAY, (against,))):
        life = calm()
        life.position_mode = mode
        life.read(LONG, *others, stops=[GOOD_STOP])
        assert not recalls(life)
        verdict = life.decision.positions[0]
        assert isinstance(verdict.measured, Unknown)


def test_whatever_changes_is_judged_again() -> None:
    life = calm()
    life.mark("50000.1")
    assert not recalls(life)
    life = calm()
    life.read(build.position(margin=5_001), stops=[GOOD_STOP])
    assert not recalls(life)
    life = calm()
    life.read(LONG, stops=[GOOD_STOP, build.foreign_stop(LONG, 47_000)])
    assert not recalls(life)
    life = calm()
    life.wait(5_001)
    assert not recalls(life)


def test_a_disputed_liquidation_price_is_said_every_half_hour_though_nothing_moves() -> None:
    position = build.position(liquidation=Reported(Price(Decimal(44_000))))
    life = Life(build.policy(), position, stops=[GOOD_STOP])
    said = []
    for minute in range(65):
        life.decide()
        if "disputed" in life.alerts:
            said.append(minute)
        life.wait(60_000)
        life.read(position, stops=[GOOD_STOP])
        life.mark(50_000)
    assert said == [0, 30, 60]


def test_what_waits_to_act_is_recalled_in_danger_and_acts_when_it_is_time() -> None:
    out = build.step("out", below("0.05"), Severity.CLOSE, lambda view: Close(), hold_ms=60_000)
    life = Life(build.policy(build.rule(out)), stops=[GOOD_STOP], mark=47_500)
    life.decide()
    for _ in range(59):
        life.wait(1_000)
        life.mark(47_500)
        assert recalls(life)
        assert life.decision.endangered
    life.wait(1_000)
    life.mark(47_500)
    assert [type(action) for action in life.decide()] == [ClosePosition]


def test_what_is_past_its_stop_is_judged_every_time() -> None:
    life = Life(build.policy(), stops=[GOOD_STOP], mark=46_600)
    life.decide()
    assert life.state.memos == {}


def test_an_episode_that_goes_on_is_recalled_and_ends_ten_minutes_after_its_last_step() -> None:
    tighten = build.step(
        "tighten",
        below("0.06"),
        Severity.STOP,
        lambda view: TightenStop(Price(Decimal("46624.9"))),
    )
    life = Life(build.policy(build.rule(tighten)), stops=[GOOD_STOP], mark=47_500)
    for _ in range(20):
        life.decide()
        life.wait(1_000)
        life.mark(47_500)
    assert recalls(life)
    active_at_ms = life.now_ms
    assert life.state.memory_of(LONG.key).active_at_ms == active_at_ms
    life.mark(50_000)
    while life.decide() == [] and life.state.memory_of(LONG.key).in_episode:
        life.wait(1_000)
        life.mark(50_000)
        life.read(LONG, stops=[GOOD_STOP])
    assert life.now_ms == active_at_ms + 600_000


def test_a_close_that_another_leg_asked_for_is_not_overlooked() -> None:
    """It takes the stop of a calm position off the book, and changes nothing else of it."""
    life = calm()
    taken = Intent(
        id="of-the-other-leg",
        key=LONG.key,
        action=ClosePosition(LONG.symbol, LONG.side, LONG.quantity),
        purpose=Plain(),
        reason="protect/hedge",
        episode=0,
        known_at_ms=life.now_ms,
        margin_before=LONG.isolated_margin,
        quantity_before=LONG.quantity,
        planned_at_ms=life.now_ms,
        state=IntentState.ACKED,
        changed_at_ms=life.now_ms,
        detail="",
        clears=(GOOD_STOP.client_id,),
    )
    life.state = replace(life.state, intents={taken.id: taken})
    _, bare = decide(replace(life.state, memos={}), life.policy, life.now_ms)
    life.decide()
    assert to_json(life.decision, Decision) == to_json(bare, Decision)


@pytest.mark.parametrize("paid", ["100", "0E+3"])
def test_what_an_ended_episode_has_paid_is_not_recalled(paid: str) -> None:
    """
    Its last verdict counts it, and the next one does not any more.

    Nor what came to nothing: it has other digits than what was never paid.
    """
    life = Life(build.policy(), stops=[GOOD_STOP])
    life.bill("0.0001", life.now_ms + 7 * 3_600_000)
    life.decide()
    memory = replace(
        life.state.memory_of(LONG.key),
        in_episode=True,
        episode=life.now_ms,
        active_at_ms=life.now_ms,
        funding_paid=Money(Decimal(paid)),
    )
    life.state = replace(life.state, memories={LONG.key: memory}, memos={})
    life.wait(600_000)
    life.read(LONG, stops=[GOOD_STOP])
    life.mark(50_000)
    life.decide()
    assert not life.state.memory_of(LONG.key).in_episode
    life.wait(1_000)
    life.mark(50_000)
    _, bare = decide(replace(life.state, memos={}), life.policy, life.now_ms)
    life.decide()
    assert to_json(life.decision, Decision) == to_json(bare, Decision)


PRICES = st.sampled_from([50_000, 47_900, 47_500, 47_000, 46_600])
"""Few of them, so that many a decision finds all as it was."""

HAPPENINGS = st.lists(
    st.tuples(
        PRICES,
        st.sampled_from([0, 400, 1_000, 4_000, 70_000, 600_000]),
        st.sampled_from([*AccountMode, *IntentState, "read", "without stop", "funding", "", ""]),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(HAPPENINGS)
def test_what_is_recalled_is_byte_for_byte_what_would_be_judged(
    happenings: list[tuple[int, int, str]],
) -> None:
    life = Life(_ladder(), stops=[GOOD_STOP])
    sent: list[str] = []
    for mark, wait_ms, what in happenings:
        life.wait(wait_ms)
        life.mark(mark)
        match what:
            case AccountMode():
                life.happen(Command(what, "a test says so", life.now_ms))
            case IntentState():
                for intent_id in sent:
                    life.happen(OutcomeReported(intent_id, what, "", life.now_ms))
            case "read":
                life.read(LONG, stops=[GOOD_STOP])
            case "without stop":
                life.read(LONG)
            case "funding":
                life.bill("0.001", life.now_ms + 400_000)
            case _:
                pass
        before = life.state
        life.decide()
        state, decision = decide(replace(before, memos={}), life.policy, life.now_ms)
        assert to_json(life.decision, Decision) == to_json(decision, Decision)
        assert to_json(life.state, AccountState) == to_json(state, AccountState)
        sent += [approved.intent.id for approved in decision.approved]


def _ladder() -> Policy:
    return build.policy(
        build.rule(
            build.step("warn", below("0.07"), Severity.ALERT, lambda view: Notify("near")),
            build.step(
                "tighten",
                below("0.06"),
                Severity.STOP,
                lambda view: TightenStop(Price(Decimal("46624.9"))),
                hold_ms=2_000,
            ),
            build.step(
                "add",
                below("0.045"),
                Severity.SPEND,
                lambda view: TopUp(Money(Decimal(100))),
                hold_ms=3_000,
                cooldown_ms=5_000,
            ),
        ),
    )


def test_an_alert_alone_does_not_endanger() -> None:
    warn = build.step("warn", below("0.2"), Severity.ALERT, lambda view: Nothing("quiet"))
    life = Life(build.policy(build.rule(warn)), stops=[GOOD_STOP])
    life.decide()
    assert not life.decision.endangered
    assert life.state.memos == {}


def test_a_decision_on_calm_touches_nothing_but_what_it_must() -> None:
    life = calm()
    state, decision = decide(life.state, life.policy, life.now_ms)
    assert state is life.state
    assert not decision.is_noteworthy
    assert decision.signature == life.decision.signature
