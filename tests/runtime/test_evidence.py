"""The read that proves what an intent has done is the read that the next decision rests on."""

import asyncio

from bot.core.actions import Action, AddMargin, ClosePosition
from bot.core.events import AccountReported, Event, IntentState, OutcomeReported
from bot.core.model import AccountSnapshot
from bot.exchange.ports import Reply
from bot.rehearsal.loop import run_virtual
from bot.runtime.guard import Guard
from bot.testing.builders import ACCOUNT
from tests.runtime.build import T0, TEXT, policy
from tests.runtime.paper import LATENCY_MS, World, world

FALLS = ((20_000, 50_000), (20_001, 46_300), (10**8, 46_300))
"""After 20 s the mark is 2.3 % before liquidation, and stays there."""

SLIDES = ((20_000, 50_000), (20_001, 47_000), (10**8, 47_000))
"""3.8 % before it: margin is added."""

CLOSES = "{ step: out, below: 2.5%, for: 0s, do: close }"
TRIMS = CLOSES.replace("do: close", "do: partial_close, with: { fraction: 25% }, cooldown: 0s")
ADDS = "do: top_up, with: { to: 7% }, cooldown: 10s"


def watch(here: World, guard: Guard, kind: type[AddMargin | ClosePosition]) -> list[str]:
    """From now on, in order: reads as they begin, requests of `kind` and their proofs."""
    seen: list[str] = []
    account, reconciler = here.account, guard._reconciler
    read, send, publish = account.snapshot, account.send, reconciler._publish
    ids: set[str] = set()

    async def reading() -> AccountSnapshot:
        seen.append("read")
        return await read()

    async def sending(action: Action, client_id: str) -> Reply:
        if isinstance(action, kind):
            seen.append("sent")
            ids.add(client_id)
        return await send(action, client_id)

    def proving(event: Event) -> None:
        if isinstance(event, OutcomeReported) and event.intent_id in ids:
            seen.append("proved")
        publish(event)

    account.snapshot = reading  # type: ignore[method-assign]
    account.send = sending  # type: ignore[method-assign]
    reconciler._publish = proving
    return seen


def reads_after_proofs(seen: list[str]) -> list[int]:
    """How many reads began after each proof before the next request was sent."""
    return [
        seen[at : seen.index("sent", at)].count("read")
        for at, each in enumerate(seen)
        if each == "proved" and "sent" in seen[at:]
    ]


def test_a_part_close_follows_another_without_a_read_after_the_proof() -> None:
    async def main() -> None:
        async with world(*FALLS) as here:
            text = TEXT.replace(CLOSES, TRIMS)
            here.policy = policy(
                "\n".join(line for line in text.splitlines() if "step: top-up" not in line)
            )
            async with here.guarding() as guard:
                await here.wait_for(lambda: bool(here.machine.snapshot(ACCOUNT, T0).stops))
                seen = watch(here, guard, ClosePosition)
                await here.wait_for(lambda: len(here.sent(ClosePosition)) >= 3)
            assert reads_after_proofs(seen)[:2] == [0, 0]

    run_virtual(main())


def test_a_top_up_follows_another_without_a_read_after_the_proof() -> None:
    async def main() -> None:
        async with world(*SLIDES) as here:
            text = TEXT.replace("per_action: 1000 USDT", "per_action: 100 USDT")
            here.policy = policy(text.replace(ADDS, ADDS.replace("10s", "0s")))
            async with here.guarding() as guard:
                await here.wait_for(lambda: bool(here.machine.snapshot(ACCOUNT, T0).stops))
                seen = watch(here, guard, AddMargin)
                await here.wait_for(lambda: len(here.sent(AddMargin)) >= 2)
            assert reads_after_proofs(seen)[0] == 0

    run_virtual(main())


def test_no_read_that_began_before_the_answer_counts_as_the_proof() -> None:
    """Every proof rests on a read that was asked for after the venue had answered the request."""

    async def main() -> None:
        async with world(*FALLS) as here:
            here.policy = policy(TEXT)
            published: list[Event] = []
            guard = await here.guard()
            put = guard._inbox.put

            def putting(event: Event) -> None:
                published.append(event)
                put(event)

            for part in (guard._executor, guard._executor._reconciler, guard._feed):
                part._publish = putting
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(guard.run())
                await here.clock.sleep_ms(60_000)
                guard.stop()
            answered, reads, proofs = dict[str, int](), list[AccountReported](), 0
            for event in published:
                match event:
                    case AccountReported():
                        reads.append(event)
                    case OutcomeReported(intent_id, IntentState.ACKED, _, at_ms):
                        answered[intent_id] = at_ms
                    case OutcomeReported(intent_id, IntentState.APPLIED, _, at_ms):
                        proofs += 1
                        assert at_ms > answered[intent_id]
                        assert any(
                            each.asked_at_ms >= at_ms
                            and each.received_at_ms - each.asked_at_ms >= LATENCY_MS
                            for each in reads
                        )
                    case _:
                        pass
            assert proofs >= 3

    run_virtual(main())
