"""The feed: how often it reads, what wakes it, and what it makes of a venue that fails."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from bot.core.events import (
    AccountReported,
    BarsReported,
    InstrumentsReported,
    Liquidated,
    OrderHeard,
    StreamLost,
)
from bot.core.model import BAR_MS, AccountSnapshot, Instrument, Side
from bot.core.units import Price
from bot.exchange.ports import AccountChanged, Banned, Throttled, Unreachable
from bot.journal.codec import to_json
from bot.journal.port import digest_of
from bot.rehearsal.loop import run_virtual
from bot.runtime.feed import (
    BARS_LAG_MS,
    BARS_LATE_MS,
    BARS_RETRY_MS,
    POLL_CALM_MS,
    POLL_ENDANGERED_MS,
    READ_SPACING_MS,
    RECONNECT_MS,
    RULES_MS,
    Feed,
)
from bot.testing.builders import SYMBOL, instrument, position, snapshot
from bot.testing.scripted import ScriptedAccount, ScriptedMarket
from tests.runtime.build import T0, D, Scene, long_read

Act = Callable[[Scene, Feed], Awaitable[None]]


def play(
    act: Act,
    *,
    read: AccountSnapshot | None = None,
    listed: Iterable[Instrument] = (instrument(), instrument("ETHUSDT")),
) -> Scene:
    """Run the feed beside `act`, and end both with it."""

    async def main() -> Scene:
        scene = Scene(read)
        market = ScriptedMarket(listed)
        feed = Feed(market, scene.account, scene.clock, scene.publish)
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(feed.run())
            await act(scene, feed)
            feeding.cancel()
        return scene

    return run_virtual(main())


async def nothing(scene: Scene, feed: Feed) -> None:
    await scene.clock.sleep_ms(100_000)


def intervals(times: list[int]) -> set[int]:
    return {later - earlier for earlier, later in pairwise(times)}


def test_a_calm_account_is_read_about_every_half_minute() -> None:
    times = play(nothing).at(AccountReported)
    assert len(times) == 3
    assert intervals(times) == {POLL_CALM_MS + READ_SPACING_MS}


def test_an_endangered_account_is_read_at_once_and_then_every_two_seconds() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        await scene.clock.sleep_ms(10_000)
        feed.pace(endangered=True, needs_read=False)
        await scene.clock.sleep_ms(10_000)

    times = play(act).at(AccountReported)
    assert times[0] == 10_000
    assert intervals(times) == {POLL_ENDANGERED_MS + READ_SPACING_MS}


def test_an_account_that_is_calm_again_is_read_seldom_again() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        feed.pace(endangered=True, needs_read=False)
        await scene.clock.sleep_ms(10_000)
        feed.pace(endangered=False, needs_read=False)
        await scene.clock.sleep_ms(100_000)

    times = play(act).at(AccountReported)
    late = [at_ms for at_ms in times if at_ms > 13_000]
    assert intervals(late) == {POLL_CALM_MS + READ_SPACING_MS}


def test_what_a_decision_needs_is_read_at_once_but_spaced() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        await scene.clock.sleep_ms(1_000)
        for _ in range(20):
            feed.pace(endangered=False, needs_read=True)
            await scene.clock.sleep_ms(100)

    times = play(act).at(AccountReported)
    assert times[0] == 1_000
    assert intervals(times) == {READ_SPACING_MS}


def test_a_repeated_pace_does_not_ask_for_a_read_each_time() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        for _ in range(100):
            feed.pace(endangered=True, needs_read=False)
            await scene.clock.sleep_ms(50)

    assert len(play(act).at(AccountReported)) <= 3


def test_a_notice_is_an_alarm_clock_for_a_read() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        await scene.clock.sleep_ms(5_000)
        scene.account.notify(AccountChanged())
        await scene.clock.sleep_ms(5_000)

    scene = play(act)
    assert scene.at(AccountReported) == [5_000]


def test_the_order_that_a_notice_names_is_published_and_the_account_read() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        await scene.clock.sleep_ms(5_000)
        scene.account.notify(AccountChanged("another's"))
        await scene.clock.sleep_ms(5_000)

    scene = play(act)
    (heard,) = [event for _, event in scene.published if isinstance(event, OrderHeard)]
    assert heard.client_id == "another's"
    assert scene.at(AccountReported) == [5_000]


def test_a_liquidation_is_published_and_the_account_read() -> None:
    gone = Liquidated(SYMBOL, Side.LONG, Price(D(45_000)), 7)

    async def act(scene: Scene, feed: Feed) -> None:
        await scene.clock.sleep_ms(5_000)
        scene.account.notify(gone)
        await scene.clock.sleep_ms(5_000)

    scene = play(act)
    assert (5_000, gone) in scene.published
    assert scene.at(AccountReported) == [5_000]


def test_a_lost_stream_is_said_then_read_then_connected_again() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        await scene.clock.sleep_ms(5_000)
        scene.account.notify(Unreachable("reset by peer"))
        await scene.clock.sleep_ms(RECONNECT_MS + 10)
        assert scene.account.streams == 2
        scene.account.notify(AccountChanged())
        await scene.clock.sleep_ms(5_000)

    scene = play(act)
    (lost,) = [event for _, event in scene.published if isinstance(event, StreamLost)]
    assert scene.at(StreamLost) == [5_000]
    assert lost.reason == "reset by peer"
    reads = [event for _, event in scene.published if isinstance(event, AccountReported)]
    assert reads[0].asked_at_ms >= lost.received_at_ms
    assert len(reads) == 2  # one after the loss, one after the notice on the new stream


def test_an_unreachable_account_is_asked_again_soon_and_the_feed_goes_on() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        gone = Unreachable("timed out")
        scene.account.reads.write(gone, gone, gone, long_read())
        feed.pace(endangered=False, needs_read=True)
        await scene.clock.sleep_ms(5_000)

    scene = play(act)
    assert scene.at(AccountReported) == [3 * READ_SPACING_MS]
    assert scene.account.reads.asked == 4


def test_a_read_says_when_it_was_asked_for() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        await feed.read()

    scene = play(act)
    (event,) = [event for _, event in scene.published if isinstance(event, AccountReported)]
    assert (event.asked_at_ms, event.received_at_ms) == (scene.clock.now_ms(),) * 2


SLOW_MS = 100


class Slow(ScriptedAccount):
    """Each read takes a while; `hung` ones never end."""

    hung = 0
    begun = 0

    async def snapshot(self) -> AccountSnapshot:
        begun_ms = self._clock.now_ms()
        self.begun += 1
        if self.begun <= self.hung:
            await asyncio.Event().wait()
        await self._clock.sleep_ms(SLOW_MS)
        return replace(await super().snapshot(), taken_at_ms=begun_ms)


def ask_at_once(
    count: int, read: AccountSnapshot | Unreachable, hung: int = 0
) -> tuple[Slow, list[AccountSnapshot | BaseException], int]:
    """Two reads are under way when so many more are asked for; when those were asked."""

    async def main() -> tuple[Slow, list[AccountSnapshot | BaseException], int]:
        scene = Scene()
        scene.account = account = Slow(scene.clock, long_read())
        account.reads.write(read)
        account.hung = hung
        feed = Feed(ScriptedMarket([instrument()]), account, scene.clock, scene.publish)

        async def wait() -> None:
            with suppress(Unreachable):
                await feed.read()

        async with asyncio.TaskGroup() as tasks:
            early = [tasks.create_task(wait()) for _ in range(2)]
            await scene.clock.sleep_ms(SLOW_MS // 2)
            asked_ms = scene.clock.now_ms()
            asked = (feed.read() for _ in range(count))
            found = await asyncio.gather(*asked, return_exceptions=True)
            for task in early:
                task.cancel()
        return account, found, asked_ms

    return run_virtual(main())


def test_reads_that_are_asked_for_at_once_are_few_and_none_began_before_it_was_asked_for() -> None:
    account, found, asked_ms = ask_at_once(20, long_read())
    assert len(found) == 20
    assert all(isinstance(e, AccountSnapshot) and e.taken_at_ms >= asked_ms for e in found)
    assert account.begun <= 4


def test_a_read_that_fails_fails_for_all_who_wait_for_it() -> None:
    account, found, _ = ask_at_once(20, Unreachable("down"))
    assert all(isinstance(each, Unreachable) for each in found)
    assert account.begun <= 4


def test_a_read_that_hangs_does_not_hold_up_the_others() -> None:
    account, found, _ = ask_at_once(20, long_read(), hung=1)
    assert all(isinstance(each, AccountSnapshot) for each in found)
    assert account.begun <= 4


def test_the_rules_of_a_new_symbol_are_learned_once_and_named_by_their_digest() -> None:
    async def main() -> None:
        scene = Scene()
        market = ScriptedMarket([instrument(), instrument("ETHUSDT")])
        feed = Feed(market, scene.account, scene.clock, scene.publish)
        await feed.read()
        await feed.read()
        scene.account.reads.write(snapshot([position(), position("ETHUSDT")]))
        await feed.read()
        first, second = [e for _, e in scene.published if isinstance(e, InstrumentsReported)]
        assert [each.symbol for each in first.instruments] == [SYMBOL]
        assert [each.symbol for each in second.instruments] == [SYMBOL, "ETHUSDT"]
        assert second.digest == digest_of(to_json(second.instruments, tuple[Instrument, ...]))

    run_virtual(main())


def test_a_symbol_that_the_venue_does_not_list_costs_the_others_nothing() -> None:
    async def main() -> None:
        scene = Scene(snapshot([position(), position("GONEUSDT")]))
        market = ScriptedMarket([instrument()])
        feed = Feed(market, scene.account, scene.clock, scene.publish)
        await feed.read()
        (event,) = [e for _, e in scene.published if isinstance(e, InstrumentsReported)]
        assert [each.symbol for each in event.instruments] == [SYMBOL]
        assert len(scene.at(AccountReported)) == 1
        assert set(feed.listed) == {SYMBOL}

    run_virtual(main())


@pytest.mark.parametrize("silent", ["ADAUSDT", "ETHUSDT"])
def test_rules_that_are_not_answered_for_are_said_and_cost_the_others_nothing(
    silent: str,
) -> None:
    others = {SYMBOL, "ADAUSDT", "ETHUSDT"} - {silent}

    class Market(ScriptedMarket):
        is_silent = True

        async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
            if silent in symbols and self.is_silent:
                raise Unreachable("no reply")
            return await super().instruments(symbols)

    async def main() -> None:
        scene = Scene(snapshot([position(each) for each in (SYMBOL, "ADAUSDT", "ETHUSDT")]))
        market = Market([instrument(each) for each in sorted(others | {silent})])
        feed = Feed(market, scene.account, scene.clock, scene.publish)
        with capture_logs() as logs:
            for _ in range(2):
                assert len((await feed.read()).positions) == 3
        *_, event = [e for _, e in scene.published if isinstance(e, InstrumentsReported)]
        assert {each.symbol for each in event.instruments} == others
        assert [each for each in logs if each["log_level"] == "critical"] == [
            {
                "event": "instrument.not_read",
                "log_level": "critical",
                "symbol": silent,
                "reason": "no reply",
            }
        ]
        assert set(feed.unread) == {silent}
        market.is_silent = False
        await feed.read()
        *_, event = [e for _, e in scene.published if isinstance(e, InstrumentsReported)]
        assert {each.symbol for each in event.instruments} == others | {silent}
        assert not feed.unread

    run_virtual(main())


def test_rules_do_not_wait_for_those_of_a_contract_that_nobody_answers_for() -> None:
    class Market(ScriptedMarket):
        async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
            if symbols == ("ETHUSDT",):
                await asyncio.Event().wait()
            return await super().instruments(symbols)

    async def main() -> None:
        scene = Scene(snapshot([position(), position("ETHUSDT")]))
        feed = Feed(Market([instrument()]), scene.account, scene.clock, scene.publish)
        await feed.read()
        (learnt_ms,) = [at for at, e in scene.published if isinstance(e, InstrumentsReported)]
        (read_ms,) = [at for at, e in scene.published if isinstance(e, AccountReported)]
        assert learnt_ms == read_ms

    run_virtual(main())


def test_a_contract_without_rules_is_asked_about_again_soon() -> None:
    asked: list[str] = []

    class Market(ScriptedMarket):
        async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
            asked.extend(symbols)
            raise Unreachable("no reply")

    async def main() -> None:
        scene = Scene()
        feed = Feed(Market([]), scene.account, scene.clock, scene.publish)
        await feed.read()
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_CALM_MS / 1000 / 2):
                await feed.run()

    run_virtual(main())
    assert len(asked) > 5


def test_no_more_rules_are_asked_for_once_the_venue_has_banned_the_address() -> None:
    asked: list[str] = []

    class Market(ScriptedMarket):
        async def instruments(self, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
            asked.extend(symbols)
            raise Banned("418", T0 + 60_000)

    async def main() -> None:
        scene = Scene(snapshot([position(), position("ETHUSDT")]))
        feed = Feed(Market([]), scene.account, scene.clock, scene.publish)
        with pytest.raises(Banned):
            await feed.read()

    run_virtual(main())
    assert asked == [SYMBOL]


def test_a_defect_in_the_stream_ends_the_feed() -> None:
    class Broken(ScriptedMarket):
        async def stream(self, publish: object) -> None:
            raise LookupError("a defect")

    async def main() -> None:
        scene = Scene()
        market = Broken([instrument()])
        await Feed(market, scene.account, scene.clock, scene.publish).run()

    with pytest.raises(ExceptionGroup) as raised:
        run_virtual(main())
    assert raised.group_contains(LookupError, match="a defect")


def test_a_banned_address_asks_nothing_until_the_ban_is_over() -> None:
    until_ms = T0 + 60_000

    async def act(scene: Scene, feed: Feed) -> None:
        feed.pace(endangered=True, needs_read=True)
        scene.account.reads.write(Banned("418", until_ms), long_read())
        scene.account.notify(Banned("418", until_ms))  # the stream would connect again
        for _ in range(59):
            await scene.clock.sleep_ms(1_000)
            feed.pace(endangered=True, needs_read=True)
        assert scene.account.reads.asked == 1
        assert scene.account.streams == 1
        await scene.clock.sleep_ms(3_000)
        assert scene.account.reads.asked > 1
        assert scene.account.streams == 2

    play(act)


def test_a_calm_account_is_not_read_while_the_venue_wants_no_reads() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        scene.account.reads.write(Throttled("429", T0 + 20_000), long_read())
        feed.pace(endangered=False, needs_read=True)
        await scene.clock.sleep_ms(10_000)
        feed.pace(endangered=False, needs_read=True)
        await scene.clock.sleep_ms(9_900)
        assert scene.account.reads.asked == 1
        await scene.clock.sleep_ms(2_000)
        assert scene.account.reads.asked == 2

    play(act)


def test_an_endangered_account_is_read_on_every_two_seconds_where_the_venue_wants_no_reads() -> (
    None
):
    async def act(scene: Scene, feed: Feed) -> None:
        scene.account.reads.write(Throttled("429", T0 + 60_000))
        feed.pace(endangered=False, needs_read=True)
        await scene.clock.sleep_ms(10_000)
        assert scene.account.reads.asked == 1
        feed.pace(endangered=True, needs_read=False)
        await scene.clock.sleep_ms(20_000)
        assert 7 <= scene.account.reads.asked <= 11

    play(act)


@pytest.mark.parametrize("forget", [False, True])
def test_rules_that_the_venue_has_changed_are_published_within_an_hour(forget: bool) -> None:
    fee = instrument(taker_fee="0.002")
    market = ScriptedMarket([instrument()])

    async def main() -> Scene:
        scene = Scene(long_read())
        feed = Feed(market, scene.account, scene.clock, scene.publish)
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(feed.run())
            await scene.clock.sleep_ms(RULES_MS + 60_000)
            if forget:
                market.listed.clear()
            else:
                market.listed[SYMBOL] = fee
            await scene.clock.sleep_ms(RULES_MS)
            feeding.cancel()
        return scene

    told = [
        each for _, each in run_virtual(main()).published if isinstance(each, InstrumentsReported)
    ]
    assert [each.instruments for each in told] == [(instrument(),), *([] if forget else [(fee,)])]


def charted(act: Act, *answers: BarsReported | Unreachable) -> tuple[Scene, int]:
    """Run the feed on a venue with these charts; and how often it was asked for them."""

    async def main() -> tuple[Scene, int]:
        scene = Scene()
        market = ScriptedMarket([instrument(), instrument("ETHUSDT")])
        market.charts.write(*answers)
        feed = Feed(market, scene.account, scene.clock, scene.publish)
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(feed.run())
            await act(scene, feed)
            feeding.cancel()
        return scene, market.charts.asked

    return run_virtual(main())


def closed(at_ms: int) -> BarsReported:
    return BarsReported("", at_ms, (), 0)


HOUR_BEFORE_MS = T0 // BAR_MS * BAR_MS


def test_bars_are_read_at_once_where_a_rule_asks_and_again_after_the_hour() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        feed.chart(frozenset({SYMBOL}))
        await scene.clock.sleep_ms(2 * BAR_MS)

    hours = [closed(HOUR_BEFORE_MS + number * BAR_MS) for number in range(3)]
    scene, asked = charted(act, *hours)
    begun_ms, second_ms, third_ms = scene.at(BarsReported)
    assert (asked, begun_ms) == (3, 0)
    assert T0 + second_ms == HOUR_BEFORE_MS + BAR_MS + BARS_LAG_MS
    assert third_ms == second_ms + BAR_MS
    assert {e.symbol for _, e in scene.published if isinstance(e, BarsReported)} == {SYMBOL}


def test_bars_that_nobody_asks_for_are_not_read() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        await scene.clock.sleep_ms(2 * BAR_MS)
        feed.chart(frozenset({SYMBOL}))
        await scene.clock.sleep_ms(1_000)
        feed.chart(frozenset())
        await scene.clock.sleep_ms(3 * BAR_MS)

    scene, asked = charted(act, closed(HOUR_BEFORE_MS + 2 * BAR_MS))
    assert (asked, len(scene.at(BarsReported))) == (1, 1)


def test_bars_that_could_not_be_read_are_asked_for_again_soon() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        feed.chart(frozenset({SYMBOL}))
        await scene.clock.sleep_ms(BARS_RETRY_MS)

    scene, asked = charted(act, Unreachable("reset"), closed(HOUR_BEFORE_MS))
    assert (asked, scene.at(BarsReported)) == (2, [BARS_RETRY_MS])


def test_a_venue_that_is_late_with_its_bar_is_asked_again_and_not_hammered() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        feed.chart(frozenset({SYMBOL}))
        await scene.clock.sleep_ms(4 * BARS_LATE_MS + 1_000)

    _, asked = charted(act, closed(HOUR_BEFORE_MS - BAR_MS))
    assert asked == 5


def test_another_symbol_is_read_as_soon_as_it_is_asked_for() -> None:
    async def act(scene: Scene, feed: Feed) -> None:
        feed.chart(frozenset({SYMBOL}))
        await scene.clock.sleep_ms(60_000)
        feed.chart(frozenset({SYMBOL, "ETHUSDT"}))
        await scene.clock.sleep_ms(60_000)

    scene, asked = charted(act, closed(HOUR_BEFORE_MS))
    symbols = [e.symbol for _, e in scene.published if isinstance(e, BarsReported)]
    assert (asked, symbols) == (2, [SYMBOL, "ETHUSDT"])
