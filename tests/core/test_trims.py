"""
A trim and its refund, from the close over the fill to the margin that is back, or is not.

10x long of 1 from 50,000 with 5,000, 3.8 % from liquidation at 47,000. Of it 0.4 fill at 46,950:
a margin of 2,000 less a loss of 1,220 and a fee of 9.39 comes back, 770.61.
"""

from dataclasses import replace
from decimal import Decimal
from functools import partial

import pytest

from bot.core.actions import Action, AddMargin, ClosePosition, NoWorseThan
from bot.core.decision import AlertSeverity
from bot.core.events import TERMINAL, AccountMode, Command, IntentState, OutcomeReported
from bot.core.guardrails import Denial
from bot.core.model import NO_FILL, Fill, Filled, MarginMode, MarginOnReduce, Position, Side
from bot.core.policy import Step
from bot.core.promises import broken
from bot.core.state import (
    Instruments,
    Intent,
    Plain,
    Refund,
    RefundDue,
    Trim,
)
from bot.core.strategy import Close, Severity, TopUp, TrimAndRefund
from bot.core.transitions import (
    REFUND_MS,
    resumed,
)
from bot.core.units import Duration, Money, Price, Quantity
from bot.journal.codec import from_json, to_json
from bot.testing import builders as build
from strategies import trim_and_refund
from tests.core.books import cross
from tests.core.life import LONG, Life, below, ratio

FREED = Decimal("770.61")
REST = build.position(quantity="0.6", margin=3_000)
RESTORED = build.position(quantity="0.6", margin="3770.61")
FILL = Fill(Quantity(Decimal("0.4")), Price(Decimal(46_950)))
STOP = build.our_stop(LONG, "46624.9")

TRIM = build.step(
    "trim",
    below("0.04"),
    Severity.REDUCE,
    lambda view: TrimAndRefund(Quantity(Decimal("0.4"))),
    cooldown_ms=60_000,
)
ADD = build.step("add", below("0.06"), Severity.SPEND, lambda view: TopUp(Money(Decimal(100))))
OUT = build.step("out", below("0.039"), Severity.CLOSE, lambda view: Close())

POOR = build.guardrails(
    keep_free=10**6,
    per_action=0,
    per_1h=0,
    per_24h=0,
    per_episode=0,
    top_ups_per_episode=0,
    slippage_max="0.005",
)
"""No budget for a top-up: what is put back needs none."""


def trimmed(
    *steps: Step, filled: Filled = FILL, outcome: IntentState = IntentState.APPLIED
) -> Life:
    """The trim is sent and its outcome known; nothing was read since."""
    rules = build.rule(*(steps or (TRIM,)), hysteresis="0.001")
    life = Life(build.policy(rules, limits=POOR), stops=[STOP], mark=47_000)
    (close,) = life.decide()
    assert isinstance(close, ClosePosition)
    assert close.quantity == Decimal("0.4")
    life.wait(300)
    report(life, outcome, filled)
    return life


def report(life: Life, outcome: IntentState, filled: Filled = NO_FILL) -> None:
    life.happen(OutcomeReported(planned(life).id, outcome, "", life.now_ms, filled))


def look(life: Life, position: Position = REST, mark: build.Number = 47_000) -> list[Action]:
    """A little later: read, marked, decided. What is done, besides moving the stop."""
    life.wait(100)
    life.read(position, stops=[STOP])
    life.mark(mark)
    return [each for each in life.decide() if isinstance(each, AddMargin | ClosePosition)]


def back(amount: build.Number = FREED) -> AddMargin:
    return AddMargin(LONG.symbol, LONG.side, Money(Decimal(amount)))


def due(life: Life) -> RefundDue:
    (found,) = life.state.refunds.values()
    return found


def refusals(life: Life) -> list[tuple[Denial, str]]:
    return [(denied.kind, denied.limit) for denied in life.verdict.denied]


def planned(life: Life) -> Intent:
    (intent,) = [
        each.intent
        for each in life.decision.approved
        if isinstance(each.intent.action, AddMargin | ClosePosition)
    ]
    return intent


# From the trim to the refund


def test_a_trim_says_what_it_is_for() -> None:
    life = Life(build.policy(build.rule(TRIM), limits=POOR), stops=[STOP], mark=47_000)
    (close,) = life.decide()
    assert isinstance(close, ClosePosition)
    assert isinstance(close.bound, NoWorseThan)
    assert planned(life).purpose == Trim(LONG)
    assert planned(life).reason == "ladder/trim"
    assert life.state.refunds == {}


def test_the_fill_books_what_it_freed() -> None:
    life = trimmed()
    assert due(life) == RefundDue(LONG.key, Money(FREED), life.now_ms + REFUND_MS)


def test_what_a_short_frees() -> None:
    """Filled above its entry price: 2,000 less a loss of 1,200 and a fee of 10.6."""
    short = build.position(side=Side.SHORT)
    life = Life(build.policy(build.rule(TRIM), limits=POOR), short, stops=[], mark=53_000)
    life.decide()
    (trim,) = [
        each.intent for each in life.decision.approved if each.intent.purpose == Trim(short)
    ]
    fill = Fill(Quantity(Decimal("0.4")), Price(Decimal(53_000)))
    life.happen(OutcomeReported(trim.id, IntentState.APPLIED, "", life.now_ms, fill))
    assert due(life).amount == Decimal("789.40")


def test_what_is_freed_is_rounded_down_to_the_venues_step() -> None:
    coarse = build.instrument(margin_step=1)
    life = Life(
        build.policy(build.rule(TRIM), limits=POOR),
        stops=[STOP],
        mark=47_000,
        instruments=[coarse],
    )
    life.decide()
    report(life, IntentState.APPLIED, FILL)
    assert due(life).amount == 770


@pytest.mark.parametrize("outcome", sorted(TERMINAL))
def test_without_a_fill_nothing_is_due(outcome: IntentState) -> None:
    assert trimmed(outcome=outcome, filled=NO_FILL).state.refunds == {}


@pytest.mark.parametrize("outcome", sorted(set(IntentState) - TERMINAL))
def test_a_fill_counts_once_the_close_has_ended(outcome: IntentState) -> None:
    """What an order has filled so far may become more: it is booked whole at its end."""
    assert trimmed(outcome=outcome).state.refunds == {}


def test_where_margin_is_retained_nothing_is_freed() -> None:
    keeps = build.instrument(margin_on_reduce=MarginOnReduce.RETAINED)
    life = Life(
        build.policy(build.rule(TRIM), limits=POOR, stress=build.stress("0.05")),
        stops=[STOP],
        mark=47_000,
        instruments=[keeps],
    )
    life.decide()
    report(life, IntentState.APPLIED, FILL)
    assert life.state.refunds == {}


def test_a_fill_that_lost_more_than_its_margin_frees_nothing() -> None:
    ruin = replace(FILL, price=Price(Decimal(44_000)))
    assert trimmed(filled=ruin).state.refunds == {}


def test_the_refund_waits_for_a_read_and_then_goes_without_a_budget() -> None:
    life = trimmed()
    assert life.decide() == []
    assert refusals(life) == [(Denial.WAIT, "age")]
    assert life.decision.needs_read
    assert look(life) == [back()]
    (trim_id,) = life.state.refunds
    assert planned(life).purpose == Refund(trim_id)
    assert planned(life).margin_before == 3_000
    assert not planned(life).counts_as_spent
    assert broken(life.state, life.decision, life.policy) == ()
    (alert,) = life.decision.alerts
    assert "putting back 770.61 margin" in alert.text


def test_what_goes_back_is_limited_by_what_is_free_and_the_rest_follows() -> None:
    life = trimmed()
    life.free = 500
    assert look(life) == [back(500)]
    life.settle(IntentState.APPLIED)
    life.free = 0
    first = build.position(quantity="0.6", margin=3_500)
    assert look(life, first) == []
    assert (Denial.EXHAUSTED, "refund") in refusals(life)
    life.free = 10_000
    assert look(life, first) == [back("270.61")]
    life.settle(IntentState.APPLIED)
    assert look(life, RESTORED, 49_000) == []


def test_it_goes_back_once_however_often_one_looks() -> None:
    """The refund is due for five minutes, its intent settled for longer than one."""
    life = trimmed()
    assert look(life) == [back()]
    life.settle(IntentState.APPLIED)
    for _ in range(40):
        life.wait(20_000)
        assert look(life, RESTORED, 49_000) == []
        assert life.alerts == []
    assert life.state.refunds == {}


@pytest.mark.parametrize("mode", [each for each in AccountMode if each is not AccountMode.ACTIVE])
def test_it_goes_back_in_no_other_mode_than_active(mode: AccountMode) -> None:
    life = trimmed()
    life.happen(Command(mode, "a test says so", life.now_ms))
    assert look(life, mark=49_000) == []
    assert refusals(life) == [(Denial.EXHAUSTED, "mode")]
    life.happen(Command(AccountMode.ACTIVE, "again", life.now_ms))
    assert look(life, mark=49_000) == [back()]


def test_it_leaves_the_cross_positions_what_they_need() -> None:
    """
    A cross long of 100,000 on a wallet of 4,000, its stop at a room of 3 %: 3 % of it are lost
    there and 0.5 % of the rest needed: 3,485. A margin step is left, so 514.99 may go.
    """
    life = trimmed()
    beside = cross("ETHUSDT", quantity=50, entry_price=2_000)
    listed = {symbol: build.instrument(symbol) for symbol in (build.SYMBOL, "ETHUSDT")}
    life.state = replace(life.state, instruments=Instruments("both", listed))
    life.policy = replace(life.policy, margin_modes=frozenset(MarginMode))
    life.wait(100)
    life.free, life.wallet = 3_000, 4_000
    life.read(REST, beside, stops=[STOP, build.our_stop(beside, "1990.4")])
    life.mark(47_000)
    life.mark(2_000, "ETHUSDT")
    added = [action for action in life.decide() if isinstance(action, AddMargin)]
    assert added == [back("514.99")]


# While it is under way


def test_meanwhile_neither_a_second_trim_nor_a_top_up() -> None:
    life = trimmed(replace(TRIM, cooldown_ms=Duration(0)), ADD)
    life.policy = replace(life.policy, guardrails=build.guardrails(slippage_max="0.005"))
    assert life.decide() == []
    assert look(life) == [back()]
    for outcome in (IntentState.PREPARED, IntentState.UNKNOWN):
        report_all(life, outcome)
        assert look(life) == []
        assert refusals(life) == [(Denial.WAIT, "refund_due")]


def report_all(life: Life, outcome: IntentState) -> None:
    for intent in life.state.intents.values():
        life.happen(OutcomeReported(intent.id, outcome, "", life.now_ms))


def test_no_second_trim_while_the_first_one_s_margin_cannot_go_back() -> None:
    life = trimmed(replace(TRIM, cooldown_ms=Duration(0)))
    life.free = 0
    assert look(life) == []
    assert (Denial.WAIT, "refund_due") in refusals(life)
    life.free = 10_000
    assert look(life) == [back()]


def test_a_close_waits_for_no_refund() -> None:
    """Whether the refund could go now, waits for a read, or is under way."""
    ready = trimmed()
    ready.policy = replace(ready.policy, rules=(build.rule(TRIM, OUT),))
    (close,) = look(ready)
    assert isinstance(close, ClosePosition)
    assert close.quantity == Decimal("0.6")
    waiting = trimmed()
    waiting.policy = replace(waiting.policy, rules=(build.rule(TRIM, OUT),))
    waiting.wait(1_000)
    (close,) = waiting.decide()
    assert isinstance(close, ClosePosition)
    flying = trimmed()
    assert look(flying) == [back()]
    flying.policy = replace(flying.policy, rules=(build.rule(TRIM, OUT),))
    (close,) = look(flying)
    assert isinstance(close, ClosePosition)


def test_a_close_that_the_venue_refuses_lets_the_refund_go() -> None:
    life = trimmed()
    life.policy = replace(life.policy, rules=(build.rule(TRIM, OUT, hysteresis="0.001"),))
    (close,) = look(life)
    assert isinstance(close, ClosePosition)
    life.settle(IntentState.REJECTED)
    assert look(life) == [back()]


def test_a_close_of_the_whole_does_not_wait_for_a_part_that_is_under_way() -> None:
    """The way out is never blocked; reduce-only, the two can close no more than there is."""
    for outcome in (IntentState.PLANNED, IntentState.PREPARED, IntentState.UNKNOWN):
        life = trimmed(outcome=outcome, filled=NO_FILL)
        assert look(life, LONG) == []
        assert look(life, LONG, 45_800) == [ClosePosition(LONG.symbol, LONG.side, LONG.quantity)]
        life.settle(IntentState.PREPARED)
        assert look(life, LONG, 45_800) == []
        assert (Denial.WAIT, "in_flight") in refusals(life)


def test_the_floor_waits_for_nothing() -> None:
    life = trimmed()
    (close,) = look(life, mark=45_800)
    assert isinstance(close, ClosePosition)
    assert planned(life).reason == "protect/floor"


# Lost, found, refused, lapsed


def test_a_lost_refund_that_is_found_is_not_sent_again() -> None:
    life = trimmed()
    assert look(life) == [back()]
    report_all(life, IntentState.UNKNOWN)
    for _ in range(20):
        life.wait(2_000)
        assert look(life) == []
    report_all(life, IntentState.APPLIED)
    for _ in range(5):
        life.wait(60_000)
        assert look(life, RESTORED, 49_000) == []
        assert "refund_lapsed" not in life.alerts


def test_a_lost_refund_that_never_arrived_is_sent_again_under_a_new_id() -> None:
    life = trimmed()
    assert look(life) == [back()]
    first = planned(life)
    report_all(life, IntentState.UNKNOWN)
    life.wait(35_000)
    assert look(life) == []
    report_all(life, IntentState.NOT_APPLIED)
    assert look(life) == [back()]
    assert planned(life).id != first.id
    assert planned(life).purpose == first.purpose


def test_a_refused_refund_is_tried_again_after_five_seconds_and_holds_nobody_else_up() -> None:
    life = trimmed(TRIM, ADD)
    life.policy = replace(life.policy, guardrails=build.guardrails(slippage_max="0.005"))
    assert look(life) == [back()]
    life.settle(IntentState.REJECTED)
    refused_at_ms = life.now_ms
    assert look(life, mark=47_500) == [back(100)]
    life.settle(IntentState.NOT_APPLIED)
    assert look(life, mark=49_000) == []
    life.wait(refused_at_ms + 4_999 - life.now_ms - 100)
    assert look(life, mark=49_000) == []
    assert life.decision.wake_at_ms == refused_at_ms + 5_000
    life.wait(refused_at_ms + 5_000 - life.now_ms - 100)
    assert look(life, mark=49_000) == [back()]


def test_a_refund_that_could_not_go_back_in_time_is_said_once() -> None:
    life = trimmed()
    life.free = 0
    assert look(life, mark=49_000) == []
    expires_at_ms = due(life).expires_at_ms
    assert life.decision.wake_at_ms <= expires_at_ms
    life.wait(expires_at_ms - 1 - life.now_ms - 100)
    assert look(life, mark=49_000) == []
    assert life.alerts == []
    assert life.decision.wake_at_ms == expires_at_ms
    life.free = 10_000
    life.wait(1 - 100)
    assert look(life, mark=49_000) == []
    (alert,) = life.decision.alerts
    assert (alert.kind, alert.severity) == ("refund_lapsed", AlertSeverity.CRITICAL)
    assert "770.61" in alert.text
    assert look(life, mark=49_000) == []
    assert life.alerts == []


def test_a_position_that_is_gone_gets_nothing_back() -> None:
    life = trimmed()
    life.wait(100)
    life.read()
    assert life.decide() == []
    assert life.state.refunds  # one read may be wrong
    life.wait(2_000)
    life.read()
    assert life.decide() == []
    assert life.state.refunds == {}
    assert life.alerts == []


def test_more_back_than_was_freed_would_be_a_broken_promise() -> None:
    """Should a defect ever plan it, nothing of it is sent."""
    life = trimmed()
    look(life)
    (trim_id,) = life.state.refunds
    less = {trim_id: replace(due(life), amount=Money(FREED - Decimal("0.01")))}
    (sentence,) = broken(replace(life.state, refunds=less), life.decision, life.policy)
    assert "more margin would go back than a trim has freed" in sentence


# In parts


def test_a_trim_that_filled_in_part_is_refunded_and_goes_on_without_a_cooldown() -> None:
    """0.3 freed 577.9575; the 0.1 that are left are closed as soon as that is back."""
    part = Fill(Quantity(Decimal("0.3")), Price(Decimal(46_950)))
    life = trimmed(filled=part, outcome=IntentState.PARTIAL)
    rest = build.position(quantity="0.7", margin=3_500)
    assert look(life, rest) == [back("577.95")]
    life.settle(IntentState.APPLIED)
    more = build.position(quantity="0.7", margin="4077.95")
    (slice_,) = look(life, more, 46_100)
    assert isinstance(slice_, ClosePosition)
    assert slice_.quantity == Decimal("0.1")
    assert planned(life).purpose == Trim(more)
    report(life, IntentState.APPLIED, Fill(Quantity(Decimal("0.1")), Price(Decimal(46_100))))
    assert len(life.state.refunds) == 1  # the first has gone back
    # That was the whole of it: now the cooldown counts.
    last = build.position(quantity="0.6", margin=3_495)
    (refund,) = look(life, last, 46_100)
    assert isinstance(refund, AddMargin)
    life.settle(IntentState.APPLIED)
    assert look(life, last, 46_100) == []
    assert (Denial.WAIT, "cooldown") in refusals(life)


def test_a_trim_that_expired_unfilled_is_tried_again_at_once() -> None:
    life = trimmed(filled=NO_FILL, outcome=IntentState.EXPIRED)
    (again,) = look(life, LONG)
    assert isinstance(again, ClosePosition)
    assert again.quantity == Decimal("0.4")


def test_what_was_left_is_forgotten_when_the_step_clears() -> None:
    part = Fill(Quantity(Decimal("0.3")), Price(Decimal(46_950)))
    life = trimmed(filled=part, outcome=IntentState.PARTIAL)
    rest = build.position(quantity="0.7", margin=3_500)
    look(life, rest, 49_000)
    assert life.state.memory_of(LONG.key).steps["ladder/trim"].left == {}


def test_a_slice_is_never_larger_than_the_position() -> None:
    life = trimmed(filled=NO_FILL, outcome=IntentState.EXPIRED)
    (again,) = look(life, build.position(quantity="0.2", margin=1_000))
    assert isinstance(again, ClosePosition)
    assert again.quantity == Decimal("0.2")


def test_the_verb_itself_trims_to_its_target() -> None:
    """
    With its refund the rest is 7 % away: at 43,710 it loses 6,290 and needs 218.55 a coin.

    So (5,000 - (50,000 - F) c - 0.0005 F c) >= 6,508.55 (1 - c), F being the bound of the close.
    """
    verb = partial(trim_and_refund.propose, params=trim_and_refund.ToDistance(ratio("0.07")))
    life = Life(
        build.policy(build.rule(replace(TRIM, propose=verb)), limits=POOR),
        stops=[STOP],
        mark=47_000,
    )
    (close,) = life.decide()
    assert isinstance(close, ClosePosition)
    assert isinstance(close.bound, NoWorseThan)
    fill = close.bound.price
    needed = (Decimal("6508.55") - 5_000) / (
        Decimal("6508.55") - 50_000 + fill * Decimal("0.9995")
    )
    assert needed <= close.quantity < needed + Decimal("0.001")


# A restart in between


def restarted(life: Life) -> None:
    """The state as it is read back from the journal, by a process that has to look again."""
    text = to_json(life.state, type(life.state))
    read = from_json(text, type(life.state))
    assert read == replace(life.state, instruments=read.instruments)
    rules = life.state.instruments
    life.state = resumed(replace(read, instruments=rules), "policy", life.now_ms)


def test_a_restart_before_the_fill_is_known_books_it_afterwards() -> None:
    life = Life(build.policy(build.rule(TRIM), limits=POOR), stops=[STOP], mark=47_000)
    life.decide()
    restarted(life)
    (intent,) = life.state.intents.values()
    assert (intent.state, intent.purpose) == (IntentState.UNKNOWN, Trim(LONG))
    assert look(life, LONG) == []
    life.happen(OutcomeReported(intent.id, IntentState.APPLIED, "", life.now_ms, FILL))
    assert due(life).amount == FREED
    assert look(life) == [back()]


def test_a_restart_before_the_refund_does_not_lose_it() -> None:
    life = trimmed()
    restarted(life)
    assert look(life) == [back()]


def test_a_restart_with_the_refund_under_way_does_not_send_it_twice() -> None:
    life = trimmed()
    assert look(life) == [back()]
    restarted(life)
    for _ in range(20):
        life.wait(2_000)
        assert look(life) == []
    (refund,) = [
        each for each in life.state.intents.values() if each.purpose != Plain() and each.is_open
    ]
    life.happen(OutcomeReported(refund.id, IntentState.APPLIED, "", life.now_ms))
    restarted(life)
    for _ in range(10):
        life.wait(20_000)
        assert look(life, RESTORED, 49_000) == []


def test_a_restart_between_two_slices_goes_on_with_the_second() -> None:
    part = Fill(Quantity(Decimal("0.3")), Price(Decimal(46_950)))
    life = trimmed(filled=part, outcome=IntentState.PARTIAL)
    restarted(life)
    rest = build.position(quantity="0.7", margin=3_500)
    assert look(life, rest) == [back("577.95")]
    life.settle(IntentState.APPLIED)
    restarted(life)
    more = build.position(quantity="0.7", margin="4077.95")
    (slice_,) = look(life, more, 46_100)
    assert isinstance(slice_, ClosePosition)
    assert slice_.quantity == Decimal("0.1")
