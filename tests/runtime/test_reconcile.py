"""Reconcile: each action against each kind of evidence, and when absence is proof."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bot.core.actions import Action
from bot.core.events import (
    AccountReported,
    InstrumentsReported,
    IntentState,
    OutcomeReported,
)
from bot.core.model import NO_FILL, AccountSnapshot, Fill, Garbled, Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.ports import (
    NOT_TOLD,
    MarginChange,
    NoMarginHistory,
    NotTold,
    OrderAbsent,
    OrderFound,
    Unreachable,
)
from bot.rehearsal.loop import run_virtual
from bot.runtime.reconcile import (
    LAG_MS,
    ORDER_FENCE_MS,
    SECOND_READ_MS,
    SPEND_FENCE_MS,
)
from bot.testing.builders import SYMBOL, foreign_stop, position, snapshot
from bot.testing.scripted import ScriptedAccount
from tests.runtime.build import ADD, CANCEL, CLOSE, STOP, T0, D, Scene, intent, long_read

APPLIED, NOT_APPLIED = IntentState.APPLIED, IntentState.NOT_APPLIED
UNKNOWN, EXPIRED, PARTIAL = IntentState.UNKNOWN, IntentState.EXPIRED, IntentState.PARTIAL
GONE = Unreachable("no answer")
Write = Callable[[ScriptedAccount], None]


def found(filled: str, *, resting: bool = False) -> OrderFound:
    fill = Fill(Quantity(D(filled)), Price(D(50_000)))
    return OrderFound("intent-1", resting, fill if fill.quantity else NO_FILL)


def change(amount: str, *sides: Side) -> MarginChange:
    return MarginChange(SYMBOL, Money(D(amount)), T0, sides or tuple(Side))


def settle(
    action: Action,
    write: Write = lambda account: None,
    *,
    acknowledged: bool = False,
    told: OrderFound | NotTold = NOT_TOLD,
) -> Scene:
    async def main() -> Scene:
        scene = Scene()
        write(scene.account)
        reconciler = scene.reconciler()
        await reconciler.settle(intent(action), acknowledged=acknowledged, told=told)
        return scene

    return run_virtual(main())


def orders(*answers: OrderFound | OrderAbsent | Unreachable) -> Write:
    return lambda account: account.orders.write(*answers)


def reads(*answers: AccountSnapshot | Unreachable) -> Write:
    return lambda account: account.reads.write(*answers)


def margins(*answers: tuple[MarginChange, ...] | NoMarginHistory | Unreachable) -> Write:
    return lambda account: account.margins.write(*answers)


def all_of(*writes: Write) -> Write:
    def write(account: ScriptedAccount) -> None:
        for each in writes:
            each(account)

    return write


def applied(action: Action) -> Write:
    return all_of(margins((change("1000"),)), orders(order_of(action)))


def order_of(action: Action) -> OrderFound:
    return found("0", resting=True) if action is STOP else found("1")


@pytest.mark.parametrize(("filled", "state"), [("1", APPLIED), ("0.4", PARTIAL), ("0", EXPIRED)])
def test_what_the_answer_to_a_close_told_is_not_asked_for_but_the_account_is_read(
    filled: str, state: IntentState
) -> None:
    scene = settle(CLOSE, orders(GONE), acknowledged=True, told=found(filled))
    assert scene.outcomes() == [(250, state)]
    assert len(scene.at(AccountReported)) == 1


def test_a_close_that_was_not_over_when_it_was_answered_is_asked_for() -> None:
    scene = settle(CLOSE, orders(found("1")), told=found("0", resting=True))
    assert scene.outcomes() == [(250, APPLIED)]


def test_what_went_to_the_other_leg_of_a_hedge_is_no_proof_of_a_top_up() -> None:
    other = change("1000", Side.SHORT)
    assert settle(ADD, margins((other,))).outcomes()[-1][1] is NOT_APPLIED
    both = margins((other, change("1000", Side.LONG)))
    assert settle(ADD, both).outcomes() == [(250, APPLIED)]


@pytest.mark.parametrize(
    ("action", "evidence", "state", "says"),
    [
        (ADD, margins((change("1000"),)), APPLIED, "margin history"),
        (STOP, orders(found("0", resting=True)), APPLIED, "rests"),
        (STOP, orders(found("1")), APPLIED, "triggered and filled"),
        (STOP, orders(found("0")), EXPIRED, "taken off"),
        (CANCEL, reads(long_read()), APPLIED, "does not rest"),
        (CLOSE, orders(found("1")), APPLIED, "filled 1"),
        (CLOSE, orders(found("0.4")), PARTIAL, "filled 0.4 of 1"),
        (CLOSE, orders(found("0")), EXPIRED, "without a fill"),
    ],
)
@pytest.mark.parametrize("acknowledged", [True, False])
def test_evidence_of_the_effect_is_proof_at_the_first_look(
    action: Action, evidence: Write, state: IntentState, says: str, acknowledged: bool
) -> None:
    scene = settle(action, evidence, acknowledged=acknowledged)
    assert scene.outcomes() == [(250, state)]
    (event,) = [event for _, event in scene.published if isinstance(event, OutcomeReported)]
    assert says in event.detail
    assert event.intent_id == "intent-1"


@pytest.mark.parametrize("action", [ADD, STOP, CANCEL, CLOSE])
def test_a_fresh_read_of_the_account_comes_before_the_outcome(action: Action) -> None:
    scene = settle(action, applied(action))
    *before, last = [type(e) for _, e in scene.published if not isinstance(e, InstrumentsReported)]
    assert last is OutcomeReported
    assert before
    assert set(before) == {AccountReported}


def test_a_stop_that_a_read_shows_needs_no_other_proof() -> None:
    rests = replace(foreign_stop(position(), 46_000), client_id="intent-1")
    scene = settle(STOP, reads(snapshot([position()], [rests])))
    assert scene.outcomes() == [(250, APPLIED)]
    assert scene.account.orders.asked == 0


@pytest.mark.parametrize(
    ("action", "fence_ms"),
    [(ADD, SPEND_FENCE_MS), (STOP, ORDER_FENCE_MS), (CLOSE, ORDER_FENCE_MS)],
)
def test_absence_is_proof_only_in_two_reads_past_the_fence(action: Action, fence_ms: int) -> None:
    scene = settle(action)
    ((at_ms, state),) = scene.outcomes()
    assert state is NOT_APPLIED
    past = [read_ms for read_ms in scene.at(AccountReported) if read_ms >= fence_ms]
    assert len(past) >= 2
    assert past[-1] - past[0] >= SECOND_READ_MS
    assert at_ms == past[-1] < fence_ms + 3 * SECOND_READ_MS


def test_a_cancelled_stop_that_still_rests_past_the_fence_was_not_cancelled() -> None:
    held = position()
    scene = settle(
        CANCEL, reads(snapshot([held], [foreign_stop(held, 46_000, client_id="old-stop")]))
    )
    ((at_ms, state),) = scene.outcomes()
    assert state is NOT_APPLIED
    assert at_ms >= ORDER_FENCE_MS + SECOND_READ_MS


@pytest.mark.parametrize("looks", [1, 3, 5])
@pytest.mark.parametrize("action", [ADD, STOP, CLOSE])
def test_an_effect_that_appears_late_is_applied(action: Action, looks: int) -> None:
    late = all_of(
        margins(*[()] * looks, (change("1000"),)),
        orders(*[OrderAbsent()] * looks, order_of(action)),
    )
    assert [state for _, state in settle(action, late).outcomes()] == [APPLIED]


def test_an_effect_that_appears_between_the_two_reads_past_the_fence_is_applied() -> None:
    first_past = sum(at_ms < SPEND_FENCE_MS for at_ms in settle(ADD).at(AccountReported)) + 1
    scene = settle(ADD, margins(*[()] * first_past, (change("1000"),)))
    assert [state for _, state in scene.outcomes()] == [APPLIED]
    assert scene.outcomes()[0][0] > SPEND_FENCE_MS


def test_an_acknowledged_effect_that_lags_is_reported_unknown_once_and_then_settled() -> None:
    scene = settle(ADD, acknowledged=True)
    states = scene.outcomes()
    assert [state for _, state in states] == [UNKNOWN, NOT_APPLIED]
    assert LAG_MS <= states[0][0] < LAG_MS + 2_500


@pytest.mark.parametrize(
    "gone",
    [
        pytest.param(orders(*[GONE] * 40, found("1")), id="order"),
        pytest.param(all_of(reads(*[GONE] * 40, long_read()), orders(found("1"))), id="read"),
    ],
)
def test_reads_that_get_no_answer_prove_nothing_for_however_long(gone: Write) -> None:
    scene = settle(CLOSE, gone)
    assert [state for _, state in scene.outcomes()] == [APPLIED]
    assert scene.outcomes()[0][0] > 60_000


def test_unreachable_reads_are_not_the_second_read() -> None:
    fence_looks = sum(at_ms < ORDER_FENCE_MS for at_ms in settle(STOP).at(AccountReported))
    answers = [OrderAbsent()] * (fence_looks + 1) + [GONE] * 10 + [found("0", resting=True)]
    scene = settle(STOP, orders(*answers))
    assert [state for _, state in scene.outcomes()] == [APPLIED]


def test_margin_is_looked_for_from_the_venues_time_of_the_read_it_rests_on() -> None:
    scene = settle(ADD, margins((change("1000"),)))
    assert scene.account.asked_since_ms == [T0 - 700]


def test_another_amount_in_the_history_is_not_this_top_up() -> None:
    scene = settle(ADD, margins((change("250"),)))
    assert [state for _, state in scene.outcomes()] == [NOT_APPLIED]


def test_a_position_with_more_margin_contradicts_an_empty_history() -> None:
    late = all_of(reads(long_read("6000")), margins(*[()] * 18, (change("1000"),)))
    scene = settle(ADD, late)
    assert [state for _, state in scene.outcomes()] == [APPLIED]
    assert scene.outcomes()[0][0] > SPEND_FENCE_MS


def test_a_contradiction_that_stays_is_left_to_a_human() -> None:
    """Whoever moved the margin, the history will not tell of a top-up any more."""
    scene = settle(ADD, reads(long_read("6000")))
    ((at_ms, state),) = scene.outcomes()
    assert state is IntentState.HUMAN
    assert SPEND_FENCE_MS + LAG_MS <= at_ms <= SPEND_FENCE_MS + 2 * LAG_MS


NUMBERED = replace(ADD, amount=Money(D("999.9942")))


def test_a_margin_that_grew_by_the_very_amount_and_its_number_is_proof_without_a_history() -> None:
    """Before a history shows it: nobody else adds that much to the last digit."""
    scene = settle(NUMBERED, reads(long_read("5999.9942")))
    assert [state for _, state in scene.outcomes()] == [APPLIED]
    assert scene.outcomes()[0][0] < 1_000
    other = settle(NUMBERED, reads(long_read("5999.9943")))
    assert [state for _, state in other.outcomes()] == [IntentState.HUMAN]


@pytest.mark.parametrize(
    "shrunk",
    [
        pytest.param(snapshot([position(quantity="0.4")], taken_at_ms=T0), id="smaller"),
        pytest.param(snapshot(taken_at_ms=T0), id="gone"),
        pytest.param(
            replace(snapshot(taken_at_ms=T0), garbled=(Garbled(SYMBOL, "no number"),)),
            id="garbled",
        ),
    ],
)
def test_a_close_that_nobody_knows_of_is_not_disproved_while_the_position_shrank(
    shrunk: AccountSnapshot,
) -> None:
    """The order and the position contradict each other: a human looks, if nothing else tells."""
    scene = settle(CLOSE, reads(shrunk))
    ((at_ms, state),) = scene.outcomes()
    assert state is IntentState.HUMAN
    assert ORDER_FENCE_MS + LAG_MS <= at_ms <= ORDER_FENCE_MS + 2 * LAG_MS
    late = all_of(reads(shrunk), orders(*[OrderAbsent()] * 8, found("0.6")))
    assert [state for _, state in settle(CLOSE, late).outcomes()] == [PARTIAL]


def test_a_position_that_one_read_lacked_is_no_contradiction_once_it_is_back() -> None:
    scene = settle(CLOSE, reads(snapshot(taken_at_ms=T0), long_read()))
    assert [state for _, state in scene.outcomes()] == [NOT_APPLIED]


def test_a_contradiction_after_a_first_absence_is_no_second_absence() -> None:
    looks = sum(at_ms < SPEND_FENCE_MS for at_ms in settle(ADD).at(AccountReported)) + 1
    late = all_of(
        reads(*[long_read()] * looks, long_read("6000")),
        margins(*[()] * (looks + 2), (change("1000"),)),
    )
    assert [state for _, state in settle(ADD, late).outcomes()] == [APPLIED]


def test_less_than_half_of_the_amount_is_no_contradiction() -> None:
    scene = settle(ADD, reads(long_read("5499")))
    assert [state for _, state in scene.outcomes()] == [NOT_APPLIED]


@pytest.mark.parametrize(
    ("margin", "state"),
    [
        ("5000", NOT_APPLIED),
        ("5009.99", NOT_APPLIED),
        ("4990.01", NOT_APPLIED),
        ("6000", APPLIED),
        ("5300", APPLIED),  # 700 of it may have left with a close by hand
        ("4700", APPLIED),
    ],
)
def test_without_a_history_only_a_margin_that_stands_still_proves_absence(
    margin: str, state: IntentState
) -> None:
    scene = settle(ADD, all_of(margins(NoMarginHistory()), reads(long_read(margin))))
    assert [each for _, each in scene.outcomes()] == [state]
    if state is NOT_APPLIED:
        assert scene.outcomes()[0][0] >= SPEND_FENCE_MS + SECOND_READ_MS


def test_without_a_history_a_position_that_is_gone_has_taken_its_top_up_along() -> None:
    scene = settle(ADD, all_of(margins(NoMarginHistory()), reads(snapshot([], []))))
    assert [state for _, state in scene.outcomes()] == [APPLIED]


@pytest.mark.parametrize("action", [ADD, STOP, CLOSE])
def test_absence_is_no_proof_while_the_venue_may_still_accept_the_request(action: Action) -> None:
    def write(account: ScriptedAccount) -> None:
        account.request_life_ms = 60_000

    ((at_ms, state),) = settle(action, write).outcomes()
    assert state is NOT_APPLIED
    assert at_ms >= 61_000 + SECOND_READ_MS


def test_a_read_for_evidence_learns_the_rules_of_a_position_not_seen_before() -> None:
    """Else the guard knows of a position that it cannot measure, until the next read."""
    scene = settle(CLOSE, orders(found("1")))
    (learned,) = [each for _, each in scene.published if isinstance(each, InstrumentsReported)]
    assert [each.symbol for each in learned.instruments] == [SYMBOL]
