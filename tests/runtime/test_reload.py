"""A running guard goes over to a new policy between two turns, or says why it does not."""

import asyncio
from pathlib import Path

import pytest

from bot.app import LiveMode, admit_any, reload
from bot.core.actions import ClosePosition
from bot.core.decision import Alert, AlertSeverity
from bot.core.events import PolicyLoaded
from bot.core.policy import Policy
from bot.journal.codec import from_json
from bot.journal.port import JournalUnavailable, Kind
from bot.live import require_possible
from bot.policy.loader import parse_policy
from bot.rehearsal.loop import run_virtual
from bot.runtime.guard import Guard, PolicyRefused
from bot.runtime.verify import verify
from tests.runtime.build import TEXT, policy
from tests.runtime.paper import World, decisions, world

EARLIER = (
    TEXT.replace("step: out, below: 2.5%", "step: out, below: 9%")
    .replace("step: top-up, below: 4%", "step: top-up, below: 9.1%")
    .replace("step: warn, below: 6%", "step: warn, below: 9.2%")
    .replace("to: 7%", "to: 12%")
)
"""Closes at a distance at which the old policy does nothing."""

CALM = ((0, 50_000), (5_000, 49_500))
"""8.6 % before liquidation: nothing fires by the old policy."""


def test_the_next_decision_follows_the_new_policy_and_is_on_record() -> None:
    async def main() -> None:
        async with world(*CALM) as here, here.guarding() as guard:
            await here.clock.sleep_ms(20_000)
            assert here.sent(ClosePosition) == []
            await guard.load(policy(EARLIER))
            await here.wait_for(lambda: bool(here.sent(ClosePosition)))
        rows = await here.journal.rows(0)
        (loaded,) = [row for row in rows if row.entry.kind is Kind.POLICY]
        digest = policy(EARLIER).digest
        assert from_json(loaded.entry.body, PolicyLoaded).digest == digest
        followed = {True: policy().digest, False: digest}
        for row, each in await decisions(here.journal):
            assert each.state.policy_digest == followed[row.sequence < loaded.sequence]
        await verify(here.journal)

    run_virtual(main())


def test_the_first_decision_by_it_is_written_though_it_changes_nothing() -> None:
    async def main() -> None:
        async with world(*CALM) as here, here.guarding() as guard:
            await here.clock.sleep_ms(20_000)
            same = TEXT.replace("top_ups_per_episode: 3", "top_ups_per_episode: 4")
            await guard.load(policy(same))
            await here.clock.sleep_ms(1_000)
        assert (await decisions(here.journal))[-1][1].state.policy_digest == policy(same).digest

    run_virtual(main())


def test_a_restart_goes_on_with_the_policy_of_its_file() -> None:
    async def main() -> None:
        async with world(*CALM) as here:
            async with here.guarding() as guard:
                await here.clock.sleep_ms(10_000)
                await guard.load(policy(TEXT.replace("cooldown: 10s", "cooldown: 11s")))
                await here.clock.sleep_ms(1_000)
            async with here.guarding():
                await here.clock.sleep_ms(1_000)
            last = (await decisions(here.journal))[-1][1]
            assert last.state.policy_digest == policy().digest
            await verify(here.journal)

    run_virtual(main())


async def refused(here: World, guard: Guard, text: str) -> str:
    with pytest.raises(PolicyRefused) as caught:
        await guard.load(policy(text))
    await here.clock.sleep_ms(1_000)
    assert guard.policy == policy()
    return str(caught.value)


def test_a_policy_of_another_account_is_refused_and_the_old_one_goes_on() -> None:
    async def main() -> None:
        async with world(*CALM) as here, here.guarding() as guard:
            sentence = await refused(here, guard, TEXT.replace("name: main", "name: other"))
            assert sentence == "account.name: expected main, was other"

    run_virtual(main())


def test_a_policy_that_does_not_expect_what_is_open_is_refused() -> None:
    cross = (
        TEXT.replace("margin_mode: isolated", "margin_mode: cross").replace(
            "do: top_up, with: { to: 7% }, cooldown: 10s", "do: alert"
        )
        + "stress: { shock: 20% }\n"
    )

    async def main() -> None:
        async with world(*CALM) as here, here.guarding() as guard:
            await here.clock.sleep_ms(1_000)
            assert "margin_mode" in await refused(here, guard, cross)

    run_virtual(main())


def test_one_that_needs_what_cannot_be_done_here_is_refused_loudly(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(EARLIER, encoding="utf-8")

    def admit(each: Policy) -> None:
        assert each == parse_policy(EARLIER, str(file))
        raise PolicyRefused("not here")

    async def main() -> None:
        async with world(*CALM) as here, here.guarding() as guard:
            await reload(guard, file, admit)
            await here.clock.sleep_ms(1_000)
            assert guard.policy == policy()
            rows = [row.entry for row in await here.journal.rows(0)]
            (alert,) = [from_json(each.body, Alert) for each in rows if each.kind is Kind.ALERT]
            assert (alert.kind, alert.severity) == ("policy", AlertSeverity.CRITICAL)
            assert "not here" in alert.text
            await reload(guard, file, admit_any)
            await here.clock.sleep_ms(1_000)
            assert guard.policy != policy()

    run_virtual(main())


@pytest.mark.parametrize(
    ("venue", "old", "new", "lacking"),
    [
        ("krakenfutures", "margin_mode: isolated", "margin_mode: isolated", "add_margin"),
        ("kucoin", "do: top_up, with: { to: 7% }, cooldown: 10s", "do: alert", "cross"),
    ],
)
def test_what_an_adapter_cannot_do_is_refused_at_a_reload_as_at_the_start(
    venue: str, old: str, new: str, lacking: str
) -> None:
    text = TEXT.replace("binanceusdm", venue).replace(old, new)
    if lacking == "cross":
        text = text.replace("margin_mode: isolated", "margin_mode: cross")
        text += "stress: { shock: 20% }\n"
    with pytest.raises(PolicyRefused, match=f"needs {lacking}, which its adapter cannot"):
        require_possible(parse_policy(text, "p.yaml"), LiveMode.LIVE)
    require_possible(policy(), LiveMode.LIVE)


def test_without_a_journal_that_keeps_its_text_the_old_one_goes_on() -> None:
    async def main() -> None:
        async with world(*CALM) as here:
            guard = await here.guard()
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(guard.run())
                await here.clock.sleep_ms(1_000)
                here.journal.is_broken = True
                with pytest.raises(JournalUnavailable):
                    await guard.load(policy(EARLIER))
                await here.clock.sleep_ms(1_000)
                assert guard.policy == policy()
                running.cancel()

    run_virtual(main())
