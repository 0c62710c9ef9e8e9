"""The daily look: what has become unsound latches spending off and is said; silence is not."""

import asyncio
from collections.abc import Callable, Collection
from types import SimpleNamespace

import pytest

from bot.clock import Clock
from bot.core.decision import Alert, AlertSeverity
from bot.core.events import AccountMode, Command
from bot.exchange.live.findings import Finding, Standing
from bot.exchange.ports import Unreachable
from bot.journal.codec import from_json
from bot.journal.port import Kind
from bot.rehearsal.loop import run_virtual
from bot.runtime.recheck import DAY_MS, HELD_MS, HOUR_MS, SILENT_MS, recheck, watch_endings
from bot.testing.builders import SYMBOL, position
from bot.testing.scripted import Script
from tests.runtime.paper import World, world

FINE = (Finding("key", Standing.FINE, "may trade"),)
WITHDRAWS = (Finding("key", Standing.REFUSED, "the key can withdraw"),)
PORTFOLIO = (Finding("account", Standing.UNSUPPORTED, "portfolio margin"),)
UNVERIFIED = (Finding("key", Standing.UNVERIFIED, "nobody knows what the key may"),)


def live(
    *answers: tuple[Finding, ...] | Unreachable,
    days: float = 1.5,
    mode: AccountMode = AccountMode.ACTIVE,
    observe: Callable[[str], None] = lambda why: None,
    accept: bool = False,
) -> tuple[AccountMode, list[str], int]:
    """Guard for some days; the mode then, what was said of it, and how often was looked."""
    script: Script[tuple[Finding, ...]] = Script(*answers)

    async def examine() -> tuple[Finding, ...]:
        return script.next()

    async def main() -> tuple[AccountMode, list[str], int]:
        async with world((0, 50_000), (int(days * 86_400), 50_000)) as here:
            async with here.guarding() as guard, asyncio.TaskGroup() as tasks:
                guard.tell(Command(mode, "a test says so", here.clock.now_ms()))
                clock = here.clock
                assert isinstance(clock, Clock)
                looking = tasks.create_task(
                    recheck(examine, guard, observe, clock, accept_unverified=accept)
                )
                await here.clock.sleep_ms(int(days * DAY_MS))
                looking.cancel()
                ended = guard.state.mode
            return ended, await _said(here), script.asked

    return run_virtual(main())


async def _said(here: World) -> list[str]:
    rows = [row for row in await here.journal.rows(0) if row.entry.kind is Kind.ALERT]
    alerts = [from_json(row.entry.body, Alert) for row in rows]
    noted = [each.severity is AlertSeverity.WARNING for each in alerts]
    assert noted == [each.kind == "noted" for each in alerts]
    assert {each.severity for each in alerts} <= {AlertSeverity.WARNING, AlertSeverity.CRITICAL}
    return [each.text for each in alerts]


def test_what_is_as_it_was_says_nothing() -> None:
    assert live(FINE) == (AccountMode.ACTIVE, [], 1)


def test_a_key_that_has_learnt_to_withdraw_ends_spending_loudly() -> None:
    mode, said, _ = live(WITHDRAWS)
    assert mode is AccountMode.NO_SPEND
    assert said == ["the key can withdraw"]


def test_an_account_that_has_become_of_another_kind_is_only_watched() -> None:
    why: list[str] = []
    mode, said, _ = live(PORTFOLIO, observe=why.append)
    assert why == ["portfolio margin"]
    assert said == ["portfolio margin: it is only watched, and nothing is sent for it"]
    assert mode is AccountMode.ACTIVE


def test_what_a_human_should_know_is_said_and_changes_nothing() -> None:
    mode, said, _ = live((*FINE, Finding("clock", Standing.NOTED, "2 s ahead")))
    assert (mode, said) == (AccountMode.ACTIVE, ["2 s ahead"])


def test_what_a_human_holds_stays_on_hold() -> None:
    assert live(WITHDRAWS, mode=AccountMode.HOLD)[0] is AccountMode.HOLD


@pytest.mark.parametrize("accept", [True, False])
def test_the_unverified_counts_unless_the_user_answers_for_it(accept: bool) -> None:
    mode, said, _ = live(UNVERIFIED, accept=accept)
    assert (mode is AccountMode.ACTIVE) is accept
    assert bool(said) is not accept


def test_a_look_without_an_answer_proves_nothing_and_is_taken_again_within_the_hour() -> None:
    gone = Unreachable("nobody there")
    mode, said, looked = live(gone, gone, WITHDRAWS, days=1 + 2.5 * HOUR_MS / DAY_MS)
    assert (mode, said, looked) == (AccountMode.NO_SPEND, ["the key can withdraw"], 3)


ENDING = Finding("contract", Standing.NOTED, "BTC is settled on Friday")


def held(
    *answers: tuple[Finding, ...] | Unreachable, for_ms: int, opened_after_ms: int = 0
) -> tuple[list[str], list[int]]:
    """
    Watch for some time what ends; what was said, and when was asked of `SYMBOL`.

    The position is seen only after a while.
    """
    script: Script[tuple[Finding, ...]] = Script(*answers)
    asked_after_ms: list[int] = []
    said: list[Alert] = []

    async def main() -> None:
        clock = Clock(0)

        async def endings(symbols: Collection[str]) -> tuple[Finding, ...]:
            assert set(symbols) == {SYMBOL}
            asked_after_ms.append(clock.now_ms())
            return script.next()

        seen = SimpleNamespace(state=SimpleNamespace(positions=()), announce=said.append)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch_endings(endings, seen, clock))  # type: ignore[arg-type]
            await clock.sleep_ms(opened_after_ms)
            seen.state = SimpleNamespace(positions=(position(),))
            await clock.sleep_ms(for_ms)
            watching.cancel()

    run_virtual(main())
    assert all(each.severity is AlertSeverity.CRITICAL for each in said)
    return [each.text for each in said], asked_after_ms


def test_a_contract_that_ends_is_said_and_nothing_is_latched() -> None:
    async def endings(symbols: Collection[str]) -> tuple[Finding, ...]:
        assert set(symbols) == {SYMBOL}
        return (ENDING,)

    async def main() -> None:
        async with world((0, 50_000), (60, 50_000)) as here:
            async with here.guarding() as guard, asyncio.TaskGroup() as tasks:
                assert isinstance(here.clock, Clock)
                watching = tasks.create_task(watch_endings(endings, guard, here.clock))
                await here.clock.sleep_ms(HELD_MS + 1_000)
                watching.cancel()
                assert guard.state.mode is AccountMode.ACTIVE
            assert await _said(here) == ["BTC is settled on Friday"]

    run_virtual(main())


def test_it_is_asked_about_every_hour_and_said_once_a_day() -> None:
    said, asked = held((ENDING,), for_ms=DAY_MS - HOUR_MS)
    assert len(asked) in (23, 24)
    assert len(said) == 1
    said, _ = held((ENDING,), for_ms=DAY_MS + HOUR_MS)
    assert len(said) == 2


def test_one_that_is_newly_held_is_asked_about_within_seconds() -> None:
    said, asked = held((ENDING,), opened_after_ms=95_000, for_ms=30_000)
    assert len(said) == 1
    assert 95_000 <= asked[0] <= 95_000 + HELD_MS


def test_no_answer_is_none_and_it_is_asked_again_soon() -> None:
    said, asked = held(Unreachable("nobody there"), (ENDING,), for_ms=90_000)
    assert len(said) == 1
    assert asked[1] - asked[0] == SILENT_MS + HELD_MS
