"""What became of an intent is found out by evidence, and nothing is ever sent twice."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest

from bot.clock import Clock
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.events import AccountReported, Event, IntentState, OutcomeReported
from bot.core.guardrails import Approved
from bot.core.model import AccountSnapshot, Side
from bot.core.state import Intent
from bot.core.units import Money, Price
from bot.exchange.ports import MarginChange, OrderFound, Refused, Reply, Unsure
from bot.rehearsal.loop import run_virtual
from bot.runtime.executor import Executor
from bot.runtime.reconcile import Reconciler
from bot.testing import builders as build
from bot.testing.scripted import ScriptedAccount

LONG = build.position()
TOP_UP = AddMargin(build.SYMBOL, Side.LONG, Money(Decimal(250)))
STOP = PlaceStop(build.SYMBOL, Side.LONG, LONG.quantity, Price(Decimal(46_000)))
CLOSE = ClosePosition(build.SYMBOL, Side.LONG, LONG.quantity)
HISTORY = MarginChange(build.SYMBOL, Money(Decimal(250)), 10)
Change = Callable[[ScriptedAccount], None]


def intent(action: Action) -> Intent:
    return Intent(
        id="lgtest",
        key=LONG.key,
        action=action,
        reason="ladder/step",
        episode=1,
        known_at_ms=5,
        margin_before=LONG.isolated_margin,
        planned_at_ms=0,
        state=IntentState.PREPARED,
        changed_at_ms=0,
        detail="",
    )


def live(
    action: Action,
    *replies: Reply,
    read: AccountSnapshot | None = None,
    change: tuple[int, Change] = (0, lambda account: None),
) -> tuple[ScriptedAccount, list[tuple[int, IntentState]], list[Event]]:
    """Perform `action` against a script; `change` alters the venue at its time."""

    async def main() -> tuple[ScriptedAccount, list[Event]]:
        clock, events = Clock(0), list[Event]()
        account = ScriptedAccount(read or build.snapshot([LONG]), list(replies))
        at_ms, alter = change

        def publish(event: Event) -> None:
            events.append(event)

        reconciler = Reconciler(account, clock, publish)
        executor = Executor(account, reconciler, clock, publish)

        async def later() -> None:
            await clock.sleep_ms(at_ms)
            alter(account)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(later())
            await executor.perform(Approved(intent(action), ()))
        return account, events

    account, events = run_virtual(main())
    outcomes = [
        (event.received_at_ms, event.state)
        for event in events
        if isinstance(event, OutcomeReported)
    ]
    return account, outcomes, events


@pytest.mark.parametrize("reply", [Unsure("timeout"), Refused("-2019", "no money")])
def test_nothing_is_ever_sent_twice(reply: Reply) -> None:
    account, _, _ = live(TOP_UP, reply)
    assert account.sent == [(TOP_UP, "lgtest")]


def test_an_unsure_top_up_is_absent_only_past_the_fence_and_in_two_reads() -> None:
    _, outcomes, _ = live(TOP_UP, Unsure("timeout"))
    assert outcomes[0] == (0, IntentState.UNKNOWN)
    at_ms, state = outcomes[-1]
    assert state is IntentState.NOT_APPLIED
    assert at_ms >= 30_000 + 2_000


def test_an_unsure_top_up_that_appears_late_is_found() -> None:
    appears = (20_000, lambda account: account.margins.append(HISTORY))
    _, outcomes, _ = live(TOP_UP, Unsure("timeout"), change=appears)
    assert outcomes[-1][1] is IntentState.APPLIED


def test_an_older_margin_change_is_no_evidence() -> None:
    older = MarginChange(build.SYMBOL, Money(Decimal(250)), 4)
    added = (0, lambda account: account.margins.append(older))
    _, outcomes, _ = live(TOP_UP, Unsure("timeout"), change=added)
    assert outcomes[-1][1] is IntentState.NOT_APPLIED


def test_margin_that_rose_without_a_trace_in_the_history_is_not_called_absent() -> None:
    grown = build.snapshot([build.position(margin=5_250)])
    shows = (60_000, lambda account: account.margins.append(HISTORY))
    _, outcomes, _ = live(TOP_UP, Unsure("timeout"), read=grown, change=shows)
    assert [state for _, state in outcomes] == [IntentState.UNKNOWN, IntentState.APPLIED]
    assert outcomes[-1][0] >= 60_000


def test_an_acknowledged_effect_that_does_not_show_becomes_unknown() -> None:
    _, outcomes, _ = live(TOP_UP)
    assert [state for _, state in outcomes] == [
        IntentState.ACKED,
        IntentState.UNKNOWN,
        IntentState.NOT_APPLIED,
    ]


def found(resting: bool, filled: str) -> Change:
    order = OrderFound("lgtest", resting, build.position(quantity=filled).quantity)
    return lambda account: account.orders.update(lgtest=order)


@pytest.mark.parametrize(
    ("action", "change", "state"),
    [
        (STOP, found(resting=True, filled="0"), IntentState.APPLIED),
        (STOP, found(resting=False, filled="1"), IntentState.APPLIED),
        (STOP, found(resting=False, filled="0"), IntentState.EXPIRED),
        (CLOSE, found(resting=False, filled="1"), IntentState.APPLIED),
        (CLOSE, found(resting=False, filled="0.4"), IntentState.PARTIAL),
        (CLOSE, found(resting=False, filled="0"), IntentState.EXPIRED),
        (CancelStop(build.SYMBOL, Side.LONG, "gone"), lambda account: None, IntentState.APPLIED),
    ],
)
def test_the_order_book_says_what_became_of_an_order(
    action: Action, change: Change, state: IntentState
) -> None:
    _, outcomes, events = live(action, Unsure("timeout"), change=(0, change))
    assert outcomes[-1][1] is state
    # The account is read afresh before the outcome counts.
    assert isinstance(events[-2], AccountReported)


def test_unreachable_reads_prove_nothing() -> None:
    def blind(account: ScriptedAccount) -> None:
        account.reads_fail = True

    def sees(account: ScriptedAccount) -> None:
        account.reads_fail = False
        account.margins.append(HISTORY)

    async def heal(account: ScriptedAccount, clock: Clock) -> None:
        await clock.sleep_ms(120_000)
        sees(account)

    async def main() -> list[Event]:
        clock, events = Clock(0), list[Event]()
        account = ScriptedAccount(build.snapshot([LONG]), [Unsure("timeout")])
        blind(account)
        reconciler = Reconciler(account, clock, events.append)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(heal(account, clock))
            await reconciler.settle(intent(TOP_UP), acknowledged=False)
        return events

    events = run_virtual(main())
    (outcome,) = [event for event in events if isinstance(event, OutcomeReported)]
    assert outcome.state is IntentState.APPLIED
    assert outcome.received_at_ms >= 120_000
