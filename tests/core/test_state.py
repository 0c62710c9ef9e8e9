"""`apply` and `resumed`: what each event changes, and what it must not."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.actions import AddMargin, ClosePosition, PlaceStop
from bot.core.events import (
    TERMINAL,
    AccountMode,
    AccountReported,
    Command,
    InstrumentsReported,
    IntentState,
    Liquidated,
    MarkPrice,
    OutcomeReported,
    PolicyLoaded,
    StreamLost,
    Tick,
)
from bot.core.ids import Birth
from bot.core.model import Position, PositionKey, Side, StopOrder
from bot.core.state import (
    BLANK,
    GONE_MS,
    NEVER_MS,
    AccountRead,
    AccountState,
    Intent,
    NotRead,
    Phase,
    PositionMemory,
    StepMemory,
    newborn,
)
from bot.core.strategy import Close, Severity, TopUp
from bot.core.transitions import (
    apply,
    resumed,
)
from bot.core.units import Money, Price
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, T0, Life, below

KEY = LONG.key
BORN = newborn(Birth("main", T0), "policy")


def marked(price: int, at_ms: int) -> MarkPrice:
    return MarkPrice(build.SYMBOL, Price(Decimal(price)), at_ms)


def read(
    *positions: Position,
    taken_at_ms: int = 1,
    at_ms: int = T0,
    asked_ms: int | None = None,
    stops: tuple[StopOrder, ...] = (),
    free: int = 10_000,
) -> AccountReported:
    snapshot = build.snapshot(positions, stops, taken_at_ms=taken_at_ms, free=free)
    return AccountReported(snapshot, at_ms if asked_ms is None else asked_ms, at_ms)


def positions_of(state: AccountState) -> tuple[Position, ...]:
    assert isinstance(state.account, AccountRead)
    return state.positions


# Newborn


def test_before_the_first_event_nothing_is_known() -> None:
    assert BORN.mode is AccountMode.ACTIVE
    assert isinstance(BORN.account, NotRead)
    assert (BORN.positions, BORN.stops) == ((), ())
    assert BORN.free == 0
    assert BORN.known_at_ms == NEVER_MS
    assert BORN.memory_of(KEY) is BLANK


# Marks


def test_the_newest_mark_counts_and_one_received_earlier_does_not() -> None:
    state = apply(apply(BORN, marked(50_000, T0)), marked(49_000, T0 + 1))
    assert state.marks[build.SYMBOL].price == 49_000
    late = apply(state, marked(51_000, T0))
    assert late is state
    assert apply(state, marked(48_000, T0 + 1)).marks[build.SYMBOL].price == 48_000


def test_marks_of_other_symbols_stay() -> None:
    other = MarkPrice("ETHUSDT", Price(Decimal(2_000)), T0 - 1)
    state = apply(apply(BORN, marked(50_000, T0)), other)
    assert {symbol: mark.price for symbol, mark in state.marks.items()} == {
        build.SYMBOL: 50_000,
        "ETHUSDT": 2_000,
    }


# Reads


def test_a_read_replaces_the_account() -> None:
    state = apply(BORN, read(LONG, stops=(GOOD_STOP,), free=77, taken_at_ms=5))
    assert (state.positions, state.stops) == ((LONG,), (GOOD_STOP,))
    assert state.free == 77
    assert state.known_at_ms == 5
    flat = apply(apply(state, read(taken_at_ms=6)), read(taken_at_ms=7, at_ms=T0 + GONE_MS))
    assert (flat.positions, flat.stops) == ((), ())


def test_a_read_that_the_venue_took_earlier_is_ignored() -> None:
    state = apply(BORN, read(LONG, taken_at_ms=5))
    assert apply(state, read(taken_at_ms=4, asked_ms=T0, at_ms=T0 + 9_000)) is state
    assert apply(state, read(taken_at_ms=5, at_ms=T0 + 1)).lacked.keys() == {KEY}


def test_a_read_that_began_after_the_newest_is_newer_though_a_clock_was_put_back() -> None:
    state = apply(BORN, read(LONG, taken_at_ms=90_000))
    put_back = read(taken_at_ms=1, asked_ms=T0 + 1, at_ms=T0 + 80)
    assert apply(state, put_back).lacked.keys() == {KEY}


def test_equal_parts_of_a_new_read_keep_their_identity() -> None:
    other = build.position("ETHUSDT")
    state = apply(BORN, read(LONG, other, stops=(GOOD_STOP,)))
    changed = replace(other, isolated_margin=Money(Decimal(4_999)))
    later = apply(
        state, read(build.position(), changed, stops=(replace(GOOD_STOP),), taken_at_ms=2)
    )
    assert positions_of(later)[0] is LONG
    assert positions_of(later)[1] is changed
    assert later.stops is state.stops


def test_positions_and_stops_are_remembered_from_when_they_are_first_seen() -> None:
    orphan = build.our_stop(build.position("ETHUSDT"), 1_900)
    state = apply(BORN, read(LONG, stops=(orphan,)))
    assert state.memories[KEY] == BLANK
    assert state.memories[PositionKey("ETHUSDT", Side.LONG)].flat_since_ms == T0


def test_flat_is_counted_from_the_first_read_without_the_position() -> None:
    state = apply(BORN, read(LONG))
    for number, at_ms in enumerate((T0 + 1_000, T0 + 4_000), start=2):
        state = apply(state, read(taken_at_ms=number, at_ms=at_ms))
    memory = state.memories[KEY]
    assert (memory.flat_since_ms, memory.flat_surely) == (T0 + 1_000, True)
    back = apply(state, read(LONG, taken_at_ms=9, at_ms=T0 + 5_000)).memories[KEY]
    assert (back.flat_since_ms, back.flat_surely) == (NEVER_MS, False)


def test_a_position_that_comes_back_keeps_its_identity_but_no_stop_watch() -> None:
    timed = PositionMemory(
        steps={
            "a/pending": StepMemory(Phase.PENDING, T0, acted_at_ms=T0),
            "a/firing": StepMemory(Phase.FIRING, T0),
        },
        episode=T0,
        in_episode=True,
        active_at_ms=T0,
        flat_since_ms=T0,
        flat_surely=True,
        unknown_since_ms=T0,
        past_stop_since_ms=T0,
        naked_since_ms=T0,
        stop_refused_at_ms=T0,
        stop_refusals=3,
        alerted={"naked": T0},
    )
    state = replace(BORN, memories={KEY: timed})
    back = apply(state, read(LONG)).memories[KEY]
    assert back == PositionMemory(
        steps={
            "a/pending": StepMemory(Phase.INACTIVE, T0, acted_at_ms=T0),
            "a/firing": StepMemory(Phase.FIRING, T0),
        },
        episode=T0,
        in_episode=True,
        active_at_ms=T0,
        stop_refused_at_ms=T0,
        stop_refusals=3,
        reentered=True,
        reentries=1,
        alerted={"naked": T0},
    )


def test_time_without_a_position_does_not_count_to_for() -> None:
    held = build.step("out", below("0.2"), Severity.CLOSE, lambda view: Close(), hold_ms=30_000)
    life = Life(build.policy(build.rule(held)), stops=[GOOD_STOP])
    assert life.decide() == []
    life.wait(1_000)
    life.read_twice()
    life.decide()
    life.wait(300_000)
    life.read(LONG, stops=[GOOD_STOP])
    life.mark(50_000)
    assert life.decide() == []


# Losses


@pytest.mark.parametrize(
    "event",
    [
        StreamLost("reset", T0 + 50),
        Liquidated(build.SYMBOL, Side.LONG, Price(Decimal(45_000)), T0 + 50),
    ],
)
def test_what_may_have_been_missed_makes_older_reads_insufficient(
    event: StreamLost | Liquidated,
) -> None:
    life = Life(build.policy(build.rule(SPEND)), stops=[GOOD_STOP], mark=47_800)
    before = life.state
    life.happen(event)
    assert life.state.lost_at_ms == T0 + 50
    life.wait(100)
    assert life.decide() == []
    asked_before = build.snapshot([LONG], [GOOD_STOP], taken_at_ms=life.now_ms)
    life.happen(AccountReported(asked_before, T0 + 50, life.now_ms))
    assert life.decide() == []
    assert life.decision.needs_read
    life.happen(AccountReported(asked_before, T0 + 51, life.now_ms))
    (add,) = life.decide()
    assert isinstance(add, AddMargin)
    assert before.lost_at_ms < T0


def test_an_earlier_loss_does_not_undo_a_later_one() -> None:
    state = apply(apply(BORN, StreamLost("b", T0 + 9)), StreamLost("a", T0))
    assert state.lost_at_ms == T0 + 9
    event = Liquidated(build.SYMBOL, Side.LONG, Price(Decimal(45_000)), T0)
    assert apply(state, event).lost_at_ms == T0 + 9


def test_liquidations_queue_until_they_are_decided_on() -> None:
    life = Life(build.policy(), stops=[GOOD_STOP])
    event = Liquidated(build.SYMBOL, Side.LONG, Price(Decimal(45_000)), T0)
    life.happen(event)
    life.happen(event)
    waiting = life.state.liquidated
    assert waiting == (event, event)
    life.decide()
    assert life.alerts.count("liquidated") == 2
    assert not life.state.liquidated
    assert life.decision.needs_read


# Commands, policies, instruments, ticks


@pytest.mark.parametrize("mode", AccountMode)
def test_a_command_sets_the_mode_and_why(mode: AccountMode) -> None:
    state = apply(BORN, Command(mode, "holiday", T0))
    assert (state.mode, state.mode_reason) == (mode, "holiday")


def test_a_policy_and_instruments_end_what_was_remembered_of_calm() -> None:
    life = Life(build.policy(), stops=[GOOD_STOP])
    life.decide()
    assert life.state.memos
    loaded = apply(life.state, PolicyLoaded("other", T0))
    assert (loaded.policy_digest, loaded.memos) == ("other", {})
    listed = apply(life.state, InstrumentsReported("more", (build.instrument("ETHUSDT"),)))
    assert (listed.instruments.digest, listed.memos) == ("more", {})
    assert set(listed.instruments.by_symbol) == {"ETHUSDT"}


def test_a_tick_changes_nothing() -> None:
    assert apply(BORN, Tick(T0)) is BORN


# Outcomes

SPEND = build.step("add", below("0.06"), Severity.SPEND, lambda view: TopUp(Money(Decimal(1_000))))


def planned() -> Life:
    life = Life(build.policy(build.rule(SPEND)), stops=[GOOD_STOP], mark=47_800)
    life.decide()
    return life


def only(state: AccountState) -> Intent:
    (intent,) = state.intents.values()
    return intent


@pytest.mark.parametrize("outcome", IntentState)
def test_an_outcome_moves_an_open_intent(outcome: IntentState) -> None:
    life = planned()
    intent = only(life.state)
    life.happen(OutcomeReported(intent.id, outcome, "evidence", T0 + 7))
    assert only(life.state) == replace(
        intent, state=outcome, changed_at_ms=T0 + 7, detail="evidence"
    )


@pytest.mark.parametrize("first", sorted(TERMINAL))
@pytest.mark.parametrize("late", IntentState)
def test_nothing_moves_a_proven_intent(first: IntentState, late: IntentState) -> None:
    life = planned()
    intent = only(life.state)
    life.happen(OutcomeReported(intent.id, first, "", T0 + 7))
    before = life.state
    life.happen(OutcomeReported(intent.id, late, "", T0 + 8))
    assert life.state is before


def test_an_outcome_of_an_unknown_intent_changes_nothing() -> None:
    state = planned().state
    assert apply(state, OutcomeReported("never", IntentState.APPLIED, "", T0)) is state


def test_a_refused_step_is_remembered_and_other_outcomes_are_not() -> None:
    for outcome in IntentState:
        life = planned()
        life.happen(OutcomeReported(only(life.state).id, outcome, "", T0 + 7))
        remembered = life.state.memories[KEY].steps["ladder/add"].refused_at_ms
        assert remembered == (T0 + 7 if outcome is IntentState.REJECTED else NEVER_MS)


def test_refused_stops_are_counted_until_one_rests() -> None:
    life = Life(build.policy())
    for count in (1, 2):
        (place,) = life.decide()
        assert isinstance(place, PlaceStop)
        life.settle(IntentState.REJECTED)
        memory = life.state.memories[KEY]
        assert (memory.stop_refusals, memory.stop_refused_at_ms) == (count, life.now_ms)
        life.wait(60_000)
        life.read(LONG)
        life.mark(50_000)
    life.decide()
    life.settle(IntentState.EXPIRED)
    assert life.state.memories[KEY].stop_refusals == 2
    life.decide()
    life.settle(IntentState.APPLIED)
    assert life.state.memories[KEY].stop_refusals == 0


def test_a_refused_close_of_the_floor_belongs_to_no_step() -> None:
    life = Life(build.policy(), stops=[GOOD_STOP], mark=45_500)
    (close,) = life.decide()
    assert isinstance(close, ClosePosition)
    before = life.state.memories
    life.settle(IntentState.REJECTED)
    assert life.state.memories == before


# Resumed


def test_a_fresh_process_keeps_memory_and_intents_and_believes_no_facts() -> None:
    life = planned()
    life.state = replace(life.state, mode=AccountMode.NO_SPEND)
    intent = only(life.state)
    fresh = resumed(life.state, "newer", T0 + 99)
    assert isinstance(fresh.account, NotRead)
    assert (fresh.marks, fresh.memos, fresh.policy_digest) == ({}, {}, "newer")
    assert fresh.lost_at_ms == T0 + 99
    assert fresh.memories == life.state.memories
    assert fresh.intents_planned >= life.state.intents_planned
    assert fresh.mode is AccountMode.NO_SPEND
    assert only(fresh) == replace(
        intent,
        state=IntentState.UNKNOWN,
        changed_at_ms=T0 + 99,
        detail="the guard restarted",
    )


@pytest.mark.parametrize("terminal", sorted(TERMINAL - {IntentState.WITHHELD}))
def test_what_was_proven_stays_proven(terminal: IntentState) -> None:
    life = planned()
    life.settle(terminal)
    assert resumed(life.state, "policy", T0 + 99).intents == life.state.intents


def test_what_was_withheld_holds_nothing_up_in_the_next_process() -> None:
    life = planned()
    life.settle(IntentState.WITHHELD)
    assert resumed(life.state, "policy", T0 + 99).intents == {}


def test_after_a_restart_stops_and_closes_come_with_one_read_and_spending_with_proof() -> None:
    life = planned()
    life.state = resumed(life.state, "policy", life.now_ms)
    life.wait(100)
    life.happen(InstrumentsReported("i", (build.instrument(),)))
    life.read(LONG)
    life.mark(47_800)
    (place,) = life.decide()
    assert isinstance(place, PlaceStop)
    assert life.verdict.denied[0].limit == "in_flight"
    life.mark(45_500)
    (close,) = life.decide()
    assert isinstance(close, ClosePosition)


def test_budgets_are_remembered_over_a_restart() -> None:
    life = Life(
        build.policy(build.rule(SPEND), limits=build.guardrails(per_24h=1_500)),
        stops=[GOOD_STOP],
        mark=47_800,
    )
    life.decide()
    life.settle(IntentState.APPLIED)
    life.state = resumed(life.state, "policy", life.now_ms)
    life.wait(100)
    life.happen(InstrumentsReported("i", (build.instrument(),)))
    life.read(LONG, stops=[GOOD_STOP])
    life.mark(47_800)
    assert life.decide() == [AddMargin(build.SYMBOL, Side.LONG, Money(Decimal(500)))]
