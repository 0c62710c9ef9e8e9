"""The executor: every reply means one thing, and nothing is ever sent twice."""

import asyncio
from dataclasses import replace

import pytest

from bot.core.actions import Action, NoWorseThan
from bot.core.events import AccountReported, IntentState, OutcomeReported
from bot.core.guardrails import Approved
from bot.core.model import NO_FILL
from bot.core.units import Price, Quantity
from bot.exchange.ports import (
    Accepted,
    OrderAbsent,
    OrderFound,
    Refused,
    Reply,
    Unreachable,
    Unsure,
    Withheld,
)
from bot.rehearsal.loop import run_virtual
from bot.runtime.executor import WRITE_TIMEOUT_MS, Executor
from bot.testing.scripted import Silence
from tests.runtime.build import ADD, CANCEL, CLOSE, STOP, D, Scene, approved

ACTIONS = [ADD, STOP, CANCEL, CLOSE]
RESTS = OrderFound("intent-1", resting=True, filled=NO_FILL)


def perform(reply: Reply | Silence, action: Action, *orders: OrderFound | OrderAbsent) -> Scene:
    async def main() -> Scene:
        scene = Scene()
        scene.account.replies.write(reply)
        scene.account.orders.write(*orders or (OrderAbsent(),))
        reconciler = scene.reconciler()
        executor = Executor(scene.account, reconciler, scene.clock, scene.publish)
        await executor.perform(approved(action))
        return scene

    return run_virtual(main())


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "reply",
    [Accepted(), Refused("-2021", "would trigger"), Unsure("502"), Withheld("observe"), Silence()],
)
def test_an_intent_is_sent_once_under_its_id_whatever_the_reply(
    reply: Reply | Silence, action: Action
) -> None:
    scene = perform(reply, action)
    assert scene.account.sent == [(action, "intent-1")]


def test_accepted_is_acknowledged_and_then_proven() -> None:
    scene = perform(Accepted(), STOP, RESTS)
    assert [state for _, state in scene.outcomes()] == [IntentState.ACKED, IntentState.APPLIED]
    assert scene.outcomes()[0][0] == 0


def test_refused_is_rejected_with_the_venues_words_and_the_account_is_read() -> None:
    scene = perform(Refused("-2021", "Order would immediately trigger."), STOP)
    (event,) = [event for _, event in scene.published if isinstance(event, OutcomeReported)]
    assert event.state is IntentState.REJECTED
    assert event.detail == "-2021 Order would immediately trigger."
    assert scene.at(AccountReported) == [0]


def test_a_refusal_stands_when_the_account_cannot_be_read_after_it() -> None:
    async def main() -> Scene:
        scene = Scene()
        scene.account.replies.write(Refused("-1", "no"))
        scene.account.reads.write(Unreachable("gone"))
        reconciler = scene.reconciler()
        executor = Executor(scene.account, reconciler, scene.clock, scene.publish)
        await executor.perform(approved(ADD))
        return scene

    assert run_virtual(main()).outcomes() == [(0, IntentState.REJECTED)]


def test_unsure_is_unknown_until_the_evidence_is_in() -> None:
    scene = perform(Unsure("502 Bad Gateway"), STOP, RESTS)
    assert [state for _, state in scene.outcomes()] == [IntentState.UNKNOWN, IntentState.APPLIED]
    first = next(event for _, event in scene.published if isinstance(event, OutcomeReported))
    assert first.detail == "502 Bad Gateway"


def test_no_reply_in_time_is_unknown_not_refused_and_not_repeated() -> None:
    scene = perform(Silence(), ADD)
    assert scene.outcomes()[0] == (WRITE_TIMEOUT_MS, IntentState.UNKNOWN)
    assert scene.outcomes()[-1][1] is IntentState.NOT_APPLIED
    assert len(scene.account.sent) == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_withheld_is_over_at_once_and_nobody_looks_for_it(action: Action) -> None:
    scene = perform(Withheld("observe: nothing is sent"), action)
    assert scene.outcomes() == [(0, IntentState.WITHHELD)]
    assert scene.at(AccountReported) == []


def test_a_part_whose_way_is_still_cleared_is_not_sent_after_all_of_it_was() -> None:
    """Its cancel gets no answer for a second; meanwhile the whole position is closed."""
    half = replace(CLOSE, quantity=Quantity(CLOSE.quantity / 2))
    part = approved(half)
    part = replace(part, intent=replace(part.intent, clears=("their-stop",)))
    whole = approved(CLOSE)
    whole = replace(whole, intent=replace(whole.intent, id="intent-2"))

    async def main(first: Approved, second: Approved) -> Scene:
        scene = Scene()
        scene.account.replies.write(Silence(), Accepted())
        executor = Executor(scene.account, scene.reconciler(), scene.clock, scene.publish)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(executor.perform(first))
            await scene.clock.sleep_ms(500)
            tasks.create_task(executor.perform(second))
        return scene

    scene = run_virtual(main(part, whole))
    assert [sent for sent, _ in scene.account.sent[1:]] == [CLOSE]
    assert [
        event.state
        for _, event in scene.published
        if isinstance(event, OutcomeReported) and event.intent_id == "intent-1"
    ] == [IntentState.REJECTED]

    # One that may not fill at its price takes nothing from one at any price.
    bounded = replace(CLOSE, quantity=CLOSE.quantity, bound=NoWorseThan(Price(D(1))))
    whole_bounded = replace(whole, intent=replace(whole.intent, action=bounded))
    scene = run_virtual(main(part, whole_bounded))
    assert [sent for sent, _ in scene.account.sent[1:]] == [bounded, half]

    # A smaller one takes nothing from it, and all of it is never held back.
    tiny = replace(CLOSE, quantity=Quantity(CLOSE.quantity / 4))
    smaller = replace(whole, intent=replace(whole.intent, action=tiny))
    waiting = replace(part, intent=replace(part.intent, action=CLOSE))
    for first, second in ((part, smaller), (waiting, whole)):
        scene = run_virtual(main(first, second))
        closes = [sent for sent, _ in scene.account.sent[1:]]
        assert closes == [second.intent.action, first.intent.action]
