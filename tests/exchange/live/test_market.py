"""Mark prices and funding: pushed, asked for after a silence, and never made up."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from bot.core.events import FundingReported, MarkPrice
from bot.core.units import Price, Ratio
from bot.exchange.live import market as module
from bot.exchange.live.dialect import Marked
from bot.exchange.live.market import FROZEN_MS
from bot.exchange.ports import Quoted
from tests.exchange.live.wired import Wired, until, wired
from tests.exchange.wire.build import BTC, D


@asynccontextmanager
async def watching(live: Wired) -> AsyncIterator[list[Quoted]]:
    """The market's stream while the block lasts."""
    heard: list[Quoted] = []
    async with asyncio.TaskGroup() as tasks:
        streaming = tasks.create_task(live.market.stream(heard.append))
        yield heard
        streaming.cancel()


def marks(heard: list[Quoted]) -> Iterator[object]:
    return (each.price for each in heard if isinstance(each, MarkPrice))


async def test_the_mark_follows_and_only_of_what_was_asked_for() -> None:
    async with wired() as live, watching(live) as heard:
        await live.market.instruments((BTC,))
        await until(lambda: D(60_000) in marks(heard))
        live.move(BTC, "61234")
        await until(lambda: D(61_234) in marks(heard))
        assert {each.symbol for each in heard} == {BTC}
        newest = [each for each in live.market.latest() if isinstance(each, MarkPrice)]
        assert [each.price for each in newest] == [D(61_234)]
        (bill,) = [each for each in live.market.latest() if isinstance(each, FundingReported)]
        assert (bill.rate, bill.interval_ms) == (D(0), 8 * 3_600_000)
        assert bill.next_at_ms > live.clock.now_ms()


async def test_an_hour_that_is_not_over_is_no_bar_yet() -> None:
    async with wired() as live:
        live.move(BTC, "61234")
        told = await live.market.bars(BTC)
        assert (told.symbol, told.bars, told.closed_at_ms) == (BTC, (), 0)


async def test_a_dropped_stream_is_dialled_again() -> None:
    async with wired() as live, watching(live) as heard:
        await live.market.instruments((BTC,))
        await until(lambda: live.server.hub.listeners)
        live.server.hub.close_all()
        await until(lambda: not live.server.hub.listeners)
        live.move(BTC, "59000")
        await until(lambda: D(59_000) in marks(heard))


async def test_a_silent_stream_is_left_and_prices_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SILENCE_S", 0.3)
    async with wired() as live, watching(live) as heard:
        await live.market.instruments((BTC,))
        await until(lambda: live.server.hub.listeners)
        live.server.hub.stalled = True
        live.move(BTC, "58000")
        await until(lambda: D(58_000) in marks(heard), patience_s=5)


JUNK = ("not json", "[]", "{}", '{"data": 7}', '{"data": {"e": "markPriceUpdate", "s": null}}')


async def test_frames_that_cannot_be_read_silence_no_stream() -> None:
    async with wired(push_ms=60_000) as live, watching(live) as heard:
        await live.market.instruments((BTC,))
        await until(lambda: live.server.hub.listeners)
        (listener,) = live.server.hub.listeners
        for junk in JUNK:
            listener.put(junk)
        live.move(BTC, "58000")
        await until(lambda: D(58_000) in marks(heard), patience_s=3)
        assert live.server.hub.listeners == [listener], "on the same connection"


ETH = "ETH/USDT:USDT"


def told(symbol: str, price: int) -> Marked:
    return Marked(symbol, Price(D(price)), Ratio(D(0)), 0)


async def test_a_mark_that_is_frozen_while_others_move_is_not_passed_on() -> None:
    """Its newest price keeps its age, so that what rests on it becomes Unknown."""
    async with wired() as live:
        await live.market.instruments((BTC, ETH))
        heard: list[Quoted] = []
        beginning_ms = live.clock.now_ms()
        frozen_at = range(0, FROZEN_MS + 1_000, 1_000)
        for number, passed_ms in enumerate(frozen_at):
            live.market._clock = At(beginning_ms + passed_ms)  # type: ignore[assignment]
            live.market._take([told(BTC, 60_000), told(ETH, 2_000 + number)], heard.append)
        bitcoin = [each for each in heard if each.symbol == BTC]
        assert len(bitcoin) == len(frozen_at) - 1
        newest = {each.symbol: each.received_at_ms for each in live.market.latest()}
        assert newest[BTC] < newest[ETH]
        live.market._take([told(BTC, 60_001)], heard.append)
        assert heard[-1].symbol == BTC  # it moves again


async def test_prices_that_stand_still_together_are_a_calm_market() -> None:
    async with wired() as live:
        await live.market.instruments((BTC, ETH))
        heard: list[Quoted] = []
        beginning_ms = live.clock.now_ms()
        for passed_ms in range(0, 3 * FROZEN_MS, 10_000):
            live.market._clock = At(beginning_ms + passed_ms)  # type: ignore[assignment]
            live.market._take([told(BTC, 60_000), told(ETH, 2_000)], heard.append)
        assert len(heard) == 2 * len(range(0, 3 * FROZEN_MS, 10_000))


class At:
    """A clock that stands still."""

    def __init__(self, at_ms: int) -> None:
        self._at_ms = at_ms

    def now_ms(self) -> int:
        return self._at_ms
