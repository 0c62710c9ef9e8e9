"""What a guard refuses to start on, and that it says so in a sentence."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest

from bot.core.decision import Alert
from bot.core.model import (
    AccountSnapshot,
    Instrument,
    MarginMode,
    PositionMode,
)
from bot.core.policy import Policy
from bot.exchange.ports import Banned, Throttled, Unreachable
from bot.journal.codec import from_json
from bot.journal.port import Head, JournalUnavailable, Kind
from bot.rehearsal.loop import run_virtual
from bot.runtime.assemble import StartRefused, assemble
from bot.testing.builders import SYMBOL, instrument, position, snapshot
from bot.testing.scripted import ScriptedMarket
from tests.runtime.build import T0, FragileJournal, Scene, policy

IS_HEDGED = (
    "expected position mode one_way, as account.position_mode of the policy says, was hedge"
)
IS_CROSS = "expected isolated margin, as account.margin_mode of the policy says, was cross"


def start(
    read: AccountSnapshot | Unreachable,
    listed: Iterable[Instrument] = (instrument(),),
    *,
    broken: bool = False,
) -> list[Kind]:
    """Assemble a guard; the kinds of the rows that its journal has then."""

    async def main() -> list[Kind]:
        scene, journal = Scene(), FragileJournal()
        journal.is_broken = broken
        scene.account.reads.write(read)
        try:
            market = ScriptedMarket(listed)
            await assemble(policy(), market, scene.account, scene.clock, journal)
        finally:
            assert scene.account.sent == []
            rows = await journal.rows(0)
        return [row.entry.kind for row in rows]

    return run_virtual(main())


def test_an_account_that_can_be_guarded_starts_with_a_row() -> None:
    assert start(snapshot([position()])) == [Kind.STARTED]


def test_an_account_without_positions_is_guarded() -> None:
    assert start(snapshot()) == [Kind.STARTED]


@pytest.mark.parametrize(
    ("read", "listed", "sentence"),
    [
        pytest.param(
            snapshot([position(margin_mode=MarginMode.CROSS)]),
            [instrument()],
            f"BTCUSDT: {IS_CROSS}",
            id="cross",
        ),
        pytest.param(
            snapshot([position()], position_mode=PositionMode.HEDGE),
            [instrument()],
            f"account: {IS_HEDGED}",
            id="hedge",
        ),
        pytest.param(
            snapshot([position()]),
            [instrument(settle="BTC")],
            "BTCUSDT: it pays in BTC, the amounts of the policy are in USDT (account.settle)",
            id="another coin",
        ),
        pytest.param(
            snapshot([position()]), [], "BTCUSDT: the venue gives no rules for it", id="unlisted"
        ),
        pytest.param(
            snapshot([position(), position("ETHUSDT", margin_mode=MarginMode.CROSS)]),
            [instrument(), instrument("ETHUSDT")],
            f"ETHUSDT: {IS_CROSS}",
            id="one of two",
        ),
    ],
)
def test_what_is_not_supported_is_refused_in_a_sentence(
    read: AccountSnapshot, listed: list[Instrument], sentence: str
) -> None:
    with pytest.raises(StartRefused) as refused:
        start(read, listed)
    assert str(refused.value) == sentence


def test_every_position_that_is_refused_gets_its_line() -> None:
    crosses = [position(symbol, margin_mode=MarginMode.CROSS) for symbol in (SYMBOL, "ETHUSDT")]
    with pytest.raises(StartRefused) as refused:
        start(snapshot(crosses), [instrument(), instrument("ETHUSDT")])
    assert str(refused.value).splitlines() == [
        f"BTCUSDT: {IS_CROSS}",
        f"ETHUSDT: {IS_CROSS}",
    ]


def test_an_account_that_cannot_be_read_is_not_guarded() -> None:
    with pytest.raises(Unreachable, match="timed out"):
        start(Unreachable("timed out"))


def test_a_start_goes_on_as_long_as_it_learns_the_rules_of_more_contracts() -> None:
    """Twenty positions on a line of which a tenth gets no answer: else it would never start."""
    symbols = [f"S{number:02}USDT" for number in range(20)]

    class Market(ScriptedMarket):
        asked = 0

        async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
            self.asked += 1
            if self.asked % 7 == 3:
                raise Unreachable("no reply")
            return await super().instruments(symbols)

    async def main() -> int:
        scene = Scene(snapshot([position(each) for each in symbols]))
        market = Market([instrument(each) for each in symbols])
        await assemble(policy(), market, scene.account, scene.clock, FragileJournal())
        return market.asked

    assert run_virtual(main()) == 23


@pytest.mark.parametrize("refusal", [Throttled, Banned])
def test_a_start_asks_nothing_before_the_venue_wants_to_be_asked_again(
    refusal: type[Throttled] | type[Banned],
) -> None:
    """The next process would not know of it, and its questions would make a ban of it."""
    until_ms = T0 + 60_000
    asked_ms: list[int] = []

    async def main() -> None:
        scene = Scene(snapshot([position()]))

        class Market(ScriptedMarket):
            async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
                asked_ms.append(scene.clock.now_ms())
                if len(asked_ms) == 1:
                    raise refusal("not now", until_ms)
                return await super().instruments(symbols)

        market = Market([instrument()])
        await assemble(policy(), market, scene.account, scene.clock, FragileJournal())

    run_virtual(main())
    assert len(asked_ms) == 2
    assert asked_ms[1] >= until_ms


def test_a_start_that_learns_nothing_more_ends() -> None:
    class Market(ScriptedMarket):
        async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
            if symbols == ("ETHUSDT",):
                raise Unreachable("no reply")
            return await super().instruments(symbols)

    async def main() -> None:
        scene = Scene(snapshot([position(), position("ETHUSDT")]))
        market = Market([instrument(), instrument("ETHUSDT")])
        with pytest.raises(Unreachable):
            await assemble(policy(), market, scene.account, scene.clock, FragileJournal())

    run_virtual(main())


def test_without_a_journal_nothing_starts() -> None:
    with pytest.raises(JournalUnavailable, match="the disk is full"):
        start(snapshot([position()]), broken=True)


def test_a_refused_start_leaves_no_row() -> None:
    async def main() -> Head:
        scene, journal = Scene(), FragileJournal()
        scene.account.reads.write(snapshot([position(margin_mode=MarginMode.CROSS)]))
        market = ScriptedMarket([instrument()])
        with pytest.raises(StartRefused):
            await assemble(policy(), market, scene.account, scene.clock, journal)
        return await journal.append([])

    assert run_virtual(main()).sequence == 0


def again(second: Policy) -> list[str]:
    """What is said by a guard of an account that has gone over to cross since it was guarded."""

    async def main() -> list[str]:
        journal = FragileJournal()
        for by, mode in ((policy(), MarginMode.ISOLATED), (second, MarginMode.CROSS)):
            scene = Scene(snapshot([position(margin_mode=mode)]))
            market = ScriptedMarket([instrument()])
            guard = await assemble(by, market, scene.account, scene.clock, journal)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(guard.run())
            await scene.clock.sleep_ms(100)
            guard.stop()
        rows = [row for row in await journal.rows(0) if row.entry.kind is Kind.ALERT]
        return [from_json(row.entry.body, Alert).text for row in rows]

    return run_virtual(main())


def test_an_account_that_changed_under_its_policy_is_guarded_on_and_alarmed() -> None:
    assert f"BTCUSDT: {IS_CROSS}" in again(policy())


def test_one_that_another_policy_does_not_fit_is_refused() -> None:
    with pytest.raises(StartRefused, match="expected isolated margin"):
        again(replace(policy(), digest="of another policy"))
