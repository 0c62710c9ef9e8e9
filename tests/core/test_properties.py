"""What must hold in any life of an account: drawn event by event, decided after each."""

import copy
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.actions import AT_MARKET, Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.decision import Audited, BookVerdict, Decision
from bot.core.engine import decide
from bot.core.events import (
    TERMINAL,
    AccountMode,
    IntentState,
)
from bot.core.margin import NoLiquidation
from bot.core.metrics import Known
from bot.core.model import MarginMode, RestingStops
from bot.core.policy import Policy
from bot.core.promises import broken
from bot.core.protection import StopStatus, StopWanted
from bot.core.state import DAY_MS, HOUR_MS, AccountState, Plain, Refund, Trim
from bot.journal.codec import from_json, to_json
from tests.core.story import (
    OURS,
    PAIR_STORIES,
    PAIRED,
    POLICIES,
    STORIES,
    SYMBOLS,
    Story,
    read_back,
)


def actions(decision: Decision) -> list[Action]:
    return [approved.intent.action for approved in decision.approved]


LIVES = settings(max_examples=100)


@LIVES
@given(POLICIES, STORIES)
def test_deciding_is_pure_and_memos_change_nothing(
    policy: Policy, drawn: list[tuple[int, tuple[object, ...]]]
) -> None:
    story = Story(policy)
    for wait_ms, event in drawn:
        story.step(wait_ms, event)
        before = story.state
        copied = copy.deepcopy(before)
        bare_state, bare = decide(replace(before, memos={}), policy, story.now_ms)
        again_state, again = decide(before, policy, story.now_ms)
        decision = story.decide()
        assert (again_state, again) == (story.state, decision)
        assert decision == bare
        assert story.state == bare_state
        assert before == copied
        assert before.memos == copied.memos


@pytest.mark.timeout(600)  # of which five minutes are for making a failure smaller
@given(PAIRED, st.sampled_from(RestingStops), PAIR_STORIES)
def test_memos_change_no_byte_of_what_is_decided_on_a_pair(
    policy: Policy,
    resting_stops: RestingStops,
    drawn: list[tuple[int, tuple[object, ...]]],
) -> None:
    """
    In either position mode, also where resting orders reserve.

    `--hypothesis-profile=many` draws fifty times as many; 600 take 25 s.
    """
    story = Story(policy, resting_stops)
    for wait_ms, event in drawn:
        story.step(wait_ms, event)
        bare_state, bare = decide(replace(story.state, memos={}), policy, story.now_ms)
        decision = story.decide()
        assert to_json(decision, Decision) == to_json(bare, Decision)
        assert to_json(story.state, AccountState) == to_json(bare_state, AccountState)


@settings(max_examples=40)
@given(POLICIES, STORIES)
def test_a_state_read_back_from_the_journal_decides_the_same(
    policy: Policy, drawn: list[tuple[int, tuple[object, ...]]]
) -> None:
    """Byte for byte: what a restart or a replay begins with is nothing but what was written."""
    story = Story(policy)
    for wait_ms, event in drawn:
        story.step(wait_ms, event)
        read = read_back(story.state)
        assert read == story.state
        again_state, again = decide(read, policy, story.now_ms)
        decision = story.decide()
        assert again == decision
        assert to_json(again, Decision) == to_json(decision, Decision)
        assert from_json(to_json(decision, Decision), Decision) == decision
        assert to_json(again_state, AccountState) == to_json(story.state, AccountState)


@LIVES
@given(POLICIES, STORIES)
def test_no_action_exceeds_its_position_or_has_the_wrong_side(
    policy: Policy, drawn: list[tuple[int, tuple[object, ...]]]
) -> None:
    story = Story(policy)
    for wait_ms, event in drawn:
        story.step(wait_ms, event)
        held = {position.key: position for position in story.state.positions}
        stops = {stop.client_id: stop for stop in story.state.stops}
        for approved in story.decide().approved:
            key = approved.intent.key
            match approved.intent.action:
                case PlaceStop(symbol, side, quantity):
                    assert (symbol, side) == (key.symbol, key.side)
                    assert quantity == held[key].quantity
                case ClosePosition(symbol, side, quantity):
                    assert (symbol, side) == (key.symbol, key.side)
                    assert 0 < quantity <= held[key].quantity
                    in_part = approved.intent.reason.endswith(("/trim", "/less", "/share"))
                    assert in_part or quantity == held[key].quantity
                case AddMargin(symbol, side, amount):
                    assert (symbol, side) == (key.symbol, key.side)
                    assert held[key].margin_mode is MarginMode.ISOLATED
                    assert amount > 0
                case CancelStop(symbol, side, target):
                    assert target.startswith(OURS)
                    assert (stops[target].symbol, stops[target].side) == (symbol, side)


@LIVES
@given(POLICIES, STORIES)
def test_one_ladder_action_a_position_and_budgets_hold(
    policy: Policy, drawn: list[tuple[int, tuple[object, ...]]]
) -> None:
    story = Story(policy)
    spent: dict[str, tuple[int, Decimal]] = {}
    for wait_ms, event in drawn:
        story.step(wait_ms, event)
        for intent in story.state.intents.values():
            if intent.state in (IntentState.REJECTED, IntentState.NOT_APPLIED):
                spent.pop(intent.id, None)
        mode = story.state.mode
        decision = story.decide()
        deeds = [
            approved.intent
            for approved in decision.approved
            if isinstance(approved.intent.action, AddMargin | ClosePosition)
        ]
        assert len({intent.key for intent in deeds}) == len(deeds)
        for intent in deeds:
            if isinstance(intent.action, AddMargin):
                assert mode is AccountMode.ACTIVE
                if not isinstance(intent.purpose, Refund):
                    spent[intent.id] = (story.now_ms, intent.action.amount)
        rails = policy.guardrails
        for window_ms, most in ((HOUR_MS, rails.top_up_1h_max), (DAY_MS, rails.top_up_24h_max)):
            recent = [
                amount for at_ms, amount in spent.values() if at_ms > story.now_ms - window_ms
            ]
            assert sum(recent) <= most
        assert broken(story.state, decision, policy) == ()
        assert len(story.state.intents) == len({i.id for i in story.state.intents.values()})


@LIVES
@given(POLICIES, STORIES)
def test_no_more_goes_back_than_a_trim_has_freed(
    policy: Policy, drawn: list[tuple[int, tuple[object, ...]]]
) -> None:
    """By the fills of the story, over every refund that has not been proven absent."""
    story = Story(policy)
    returned: dict[str, tuple[str, Decimal]] = {}
    for wait_ms, event in drawn:
        story.step(wait_ms, event)
        for intent in story.state.intents.values():
            if intent.state in (IntentState.REJECTED, IntentState.NOT_APPLIED):
                returned.pop(intent.id, None)
        for approved in story.decide().approved:
            intent = approved.intent
            if isinstance(intent.purpose, Refund):
                assert isinstance(intent.action, AddMargin)
                returned[intent.id] = (intent.purpose.trim_id, intent.action.amount)
        for trim_id in {each for each, _ in returned.values()}:
            total = sum(amount for each, amount in returned.values() if each == trim_id)
            assert total <= story.freed[trim_id]


@LIVES
@given(POLICIES, STORIES)
def test_below_the_floor_the_way_out_is_taken_and_nothing_is_added(
    policy: Policy, drawn: list[tuple[int, tuple[object, ...]]]
) -> None:
    """Of an isolated position by itself, and of all cross ones together."""
    story = Story(policy)
    for wait_ms, event in drawn:
        story.step(wait_ms, event)
        decision = story.decide()
        held_back = story.state.mode is AccountMode.HOLD and not policy.protect.floor_in_hold
        in_book = decision.book.denied if isinstance(decision.book, BookVerdict) else ()
        for verdict in decision.positions:
            measured = verdict.measured
            if not isinstance(measured, Known):
                continue
            if not (measured.breached or measured.liquidation_distance < policy.protect.floor):
                continue
            deeds = [
                approved.intent.action
                for approved in decision.approved
                if approved.intent.key == verdict.position.key
                and isinstance(approved.intent.action, AddMargin | ClosePosition)
            ]
            isolated = verdict.position.margin_mode is MarginMode.ISOLATED
            refused = {denied.limit for denied in (verdict.denied if isolated else in_book)}
            if held_back:
                # Only standing in for a stop that did not do its duty is left to the guard.
                reasons = {each.intent.reason for each in decision.approved}
                assert not any(isinstance(deed, AddMargin) for deed in deeds)
                assert not deeds or "protect/watchdog" in reasons
            elif not deeds:
                assert refused == {"in_flight"}
            else:
                (close,) = deeds
                assert isinstance(close, ClosePosition)
                assert close.quantity == verdict.position.quantity
                assert close.bound == AT_MARKET


@LIVES
@given(POLICIES, STORIES)
def test_every_position_that_can_be_measured_has_a_stop_or_a_reason(
    policy: Policy, drawn: list[tuple[int, tuple[object, ...]]]
) -> None:
    """
    Where it belongs lies before liquidation. A safe one rests, is placed, under way or withheld,
    or the mark has passed its level, or the venue has just refused it.
    """
    story = Story(policy)
    for wait_ms, event in drawn:
        story.step(wait_ms, event)
        decision = story.decide()
        for verdict in decision.positions:
            measured, stop = verdict.measured, verdict.stop
            if not isinstance(measured, Known):
                continue
            assert isinstance(stop, Audited)
            if not isinstance(stop.target, StopWanted):
                assert isinstance(measured.liquidation, NoLiquidation)
                continue
            position, sign = verdict.position, verdict.position.side.sign
            trigger, mark = stop.target.trigger_price, measured.mark_price
            if not isinstance(measured.liquidation, NoLiquidation):
                assert sign * (trigger - measured.liquidation.price) > 0
            if stop.status is not StopStatus.MISSING or sign * (mark - trigger) <= 0:
                continue
            if position.key in story.state.lacked:
                continue  # most likely it is closed: a second read tells
            memory = story.state.memory_of(position.key)
            placed = any(
                isinstance(intent.action, PlaceStop)
                and intent.key == position.key
                and (
                    story.now_ms - intent.planned_at_ms < 5_000
                    or intent.state is IntentState.WITHHELD
                )
                for intent in story.state.intents.values()
            )
            assert placed or memory.stop_refusals


@LIVES
@given(POLICIES, STORIES)
def test_a_stop_that_is_placed_protects(
    policy: Policy, drawn: list[tuple[int, tuple[object, ...]]]
) -> None:
    story = Story(policy)
    for wait_ms, event in drawn:
        story.step(wait_ms, event)
        decision = story.decide()
        verdicts = {verdict.position.key: verdict for verdict in decision.positions}
        for approved in decision.approved:
            action = approved.intent.action
            if not isinstance(action, PlaceStop):
                continue
            verdict = verdicts[approved.intent.key]
            position, stop = verdict.position, verdict.stop
            assert isinstance(stop, Audited)
            assert stop.status in (StopStatus.MISSING, StopStatus.DRIFTED)
            assert isinstance(stop.target, StopWanted)
            sign = position.side.sign
            loss = position.quantity * sign * (position.entry_price - action.trigger_price)
            assert loss <= policy.guardrails.loss_max
            if isinstance(verdict.measured, Known):
                assert sign * (verdict.measured.mark_price - action.trigger_price) > 0
                distance = verdict.measured.liquidation_distance
                liquidated_at = verdict.measured.mark_price * (1 - sign * distance)
                assert sign * (action.trigger_price - liquidated_at) > 0


@LIVES
@given(POLICIES, STORIES, st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_before_the_wake_time_the_passing_of_time_changes_nothing(
    policy: Policy, drawn: list[tuple[int, tuple[object, ...]]], shares: list[float]
) -> None:
    """As long as the mark and the read are not older than what a top-up may rest on."""
    story = Story(policy)
    for wait_ms, event in drawn:
        story.step(wait_ms, event)
        settled = story.decide()
        for _ in range(4):
            if not settled.is_noteworthy:
                break
            settled = story.decide()
        assert not settled.approved
        last_ms = min(settled.wake_at_ms - 1, fresh_until_ms(story.state, policy))
        for share in shares:
            at_ms = story.now_ms + round((last_ms - story.now_ms) * share)
            if at_ms < story.now_ms:
                continue
            _, later = decide(story.state, policy, at_ms)
            assert later.approved == ()
            assert later.signature == settled.signature


def fresh_until_ms(state: AccountState, policy: Policy) -> int:
    received = [state.marks[symbol].received_at_ms for symbol in SYMBOLS if symbol in state.marks]
    account = getattr(state.account, "received_at_ms", 0)
    return min([*received, account]) + policy.guardrails.data_age_max_ms


@LIVES
@given(POLICIES, STORIES)
def test_intents_are_forgotten_only_when_they_are_settled(
    policy: Policy, drawn: list[tuple[int, tuple[object, ...]]]
) -> None:
    story = Story(policy)
    planned: set[str] = set()
    for wait_ms, event in drawn:
        story.step(wait_ms, event)
        before = story.state.intents
        decision = story.decide()
        new = {approved.intent.id for approved in decision.approved}
        assert not new & planned
        planned |= new
        for intent_id in before.keys() - story.state.intents.keys():
            assert before[intent_id].state in TERMINAL
        assert new <= story.state.intents.keys()


def test_the_stories_reach_what_they_are_about() -> None:
    """Every kind of action and denial occurs: a property over nothing proves nothing."""
    acted: set[type] = set()
    refused: set[str] = set()
    said: set[str] = set()
    reasons: set[str] = set()
    purposes: set[type] = set()
    modes: set[MarginMode] = set()
    recalled = parts = 0

    @settings(max_examples=400, database=None, derandomize=True)
    @given(POLICIES, STORIES)
    def live(policy: Policy, drawn: list[tuple[int, tuple[object, ...]]]) -> None:
        nonlocal recalled, parts
        story = Story(policy)
        for wait_ms, event in drawn:
            story.step(wait_ms, event)
            memos = story.state.memos
            decision = story.decide()
            recalled += any(story.state.memos.get(key) is memo for key, memo in memos.items())
            said.update(alert.kind for alert in decision.alerts)
            acted.update(type(action) for action in actions(decision))
            refused.update(d.limit for v in decision.positions for d in v.denied)
            if isinstance(decision.book, BookVerdict):
                refused.update(denied.limit for denied in decision.book.denied)
            for approved in decision.approved:
                reasons.add(approved.intent.reason.split("/")[1])
                purposes.add(type(approved.intent.purpose))
            modes.update(
                verdict.position.margin_mode
                for verdict in decision.positions
                if isinstance(verdict.measured, Known)
            )
            parts += any(
                step.left
                for memory in (story.state.book, *story.state.memories.values())
                for step in memory.steps.values()
            )

    live()
    assert acted == {AddMargin, CancelStop, ClosePosition, PlaceStop}
    assert refused >= {
        "in_flight",
        "mode",
        "age",
        "cooldown",
        "settlement",
        "cross_positions",
        "hold",
    }
    assert said >= {"unknown", "naked", "liquidated", "step:ladder/warn"}
    assert reasons >= {"trim", "less", "share", "add", "out", "floor", "watchdog", "stop"}
    assert purposes == {Plain, Trim, Refund}
    assert modes == set(MarginMode)
    assert parts > 5
    assert recalled > 50
