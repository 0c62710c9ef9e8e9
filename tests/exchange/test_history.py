"""History through ccxt's real class: right data in the end, or one line that says why not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from bot.clock import Clock
from bot.exchange.history import (
    ATTEMPTS,
    Contract,
    HistoryRefused,
    Kline,
    Settlement,
    VenueHistory,
    open_history,
)
from bot.exchange.ports import Unreachable
from tests.exchange.loopback import (
    HOUR_MS,
    MINUTE_MS,
    NOW_MS,
    Fault,
    Venue,
    close,
    cut,
    dropped,
    html,
    serving,
    status,
    text,
)

D = Decimal
BTC = "BTC/USDT:USDT"
DAY_MS = 24 * HOUR_MS
T0 = 1_699_920_000_000
"""14 November 2023, 00:00."""


class Patient(Clock):
    """Notes how long it was to wait, and does not."""

    def __init__(self) -> None:
        super().__init__(NOW_MS)
        self.waits_ms: list[int] = []

    async def sleep_ms(self, duration_ms: int) -> None:
        self.waits_ms.append(duration_ms)
        await super().sleep_ms(0)


@asynccontextmanager
async def asking(venue: Venue) -> AsyncIterator[tuple[VenueHistory, Patient]]:
    clock = Patient()
    async with serving(venue) as session:
        options = {"session": session, "timeout": 2000}
        async with open_history("binanceusdm", clock, options, lambda line: None) as history:
            yield history, clock


async def hour(history: VenueHistory) -> tuple[Kline, ...]:
    return await history.klines(BTC, "1m", (T0, T0 + HOUR_MS), mark=False)


def expected_hour() -> list[int]:
    return list(range(T0, T0 + HOUR_MS, MINUTE_MS))


async def test_a_contract_and_the_time_are_what_the_venue_says() -> None:
    async with asking(Venue()) as (history, _):
        assert await history.now_ms() == NOW_MS
        contract = await history.contract("BTCUSDT")
        assert contract == Contract(
            BTC, "BTCUSDT", D("0.1"), D("0.001"), D("0.001"), D("0.0005"), ()
        )
        assert contract == await history.contract("BTC/USDT:USDT")
        assert isinstance(contract.tick_size, Decimal)


async def test_bars_are_exact_and_only_those_asked_for() -> None:
    async with asking(Venue()) as (history, _):
        bars = await hour(history)
        assert [bar.open_at_ms for bar in bars] == expected_hour()
        price = D(close(T0)) / 10
        assert bars[0] == Kline(T0, price, price + 5, price - 5, price + 1, D("12.345"))
        (marked, *_) = await history.klines(BTC, "1m", (T0, T0 + HOUR_MS), mark=True)
        assert marked == Kline(T0, price, price + 4, price - 4, price + 1, D(0))


async def test_settlements_come_page_by_page() -> None:
    venue = Venue(settled_every_ms=HOUR_MS)
    async with asking(venue) as (history, _):
        settled = await history.settlements(BTC, (T0 - 20 * DAY_MS, T0))
    assert len(settled) == 480
    assert settled[0] == Settlement(T0 - 20 * DAY_MS + 7, D("0.000125"))
    assert len(venue.spans("fundingRate")) == 4  # 200, 200, 80 and none


@pytest.mark.parametrize(
    "fault",
    [
        dropped,
        cut,
        html(),
        html(502),
        html(524),
        status(503),
        text(""),
        text("null"),
        text('[[1699920000000,"NaN","1","1","1","1"]]'),
        text("[[NaN,1,1,1,1,1]]"),
        text('[[1699920000000,"1"]]'),
        text('{"a": 1}'),
        text("[1]"),
    ],
    ids=["dropped", "cut", "html", "html-502", "html-524", "503", "empty", "null", "NaN-text",
         "NaN", "short-row", "object", "number"],
)  # fmt: skip
async def test_a_bad_answer_is_asked_for_again(fault: Fault) -> None:
    venue = Venue(faults={("klines", 1): fault, ("klines", 2): fault})
    async with asking(venue) as (history, clock):
        assert [bar.open_at_ms for bar in await hour(history)] == expected_hour()
    # aiohttp asks once more by itself where a connection breaks.
    assert clock.waits_ms == ([1_000] if fault is dropped else [1_000, 2_000])


@pytest.mark.parametrize(
    "fault",
    [dropped, cut, html(), status(503), text("[1]")],
    ids=["dropped", "cut", "html", "503", "number"],
)
async def test_who_never_answers_well_is_unreachable(fault: Fault) -> None:
    venue = Venue(always={"klines": fault})
    async with asking(venue) as (history, clock):
        with pytest.raises(Unreachable, match=rf"^binanceusdm: {BTC} bars: .*, 6 times$") as e:
            await hour(history)
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 250
    assert venue.counts["klines"] == ATTEMPTS * (2 if fault is dropped else 1)
    assert clock.waits_ms == [1_000, 2_000, 4_000, 8_000, 16_000]


async def test_who_asks_for_patience_gets_it() -> None:
    venue = Venue(faults={("klines", 1): status(429, **{"Retry-After": "17"})})
    async with asking(venue) as (history, clock):
        assert len(await hour(history)) == 60
    assert clock.waits_ms == [17_000]


async def test_who_asks_for_hours_is_unreachable_at_once() -> None:
    venue = Venue(always={"klines": status(429, **{"Retry-After": "7200"})})
    async with asking(venue) as (history, clock):
        with pytest.raises(Unreachable, match="asks to come back in 7200 s"):
            await hour(history)
    assert (clock.waits_ms, venue.counts["klines"]) == ([], 1)


async def test_a_banned_address_sends_nothing_more() -> None:
    venue = Venue(always={"klines": status(418, **{"Retry-After": "120"})})
    async with asking(venue) as (history, clock):
        with pytest.raises(Unreachable, match=r"this address is banned for 120 s \(418\)"):
            await hour(history)
    assert (clock.waits_ms, venue.counts["klines"]) == ([], 1)


async def test_what_the_venue_has_not_is_said_at_once() -> None:
    async with asking(Venue()) as (history, clock):
        with pytest.raises(HistoryRefused, match=r"symbol: expected a linear .*, was 'NOPEUSDT'"):
            await history.contract("NOPEUSDT")
        assert clock.waits_ms == []
    no_such = text('{"code":-1121,"msg":"Invalid symbol."}')
    async with asking(Venue(always={"klines": no_such})) as (history, clock):
        with pytest.raises(HistoryRefused, match=r"bars: BadSymbol: .*Invalid symbol"):
            await hour(history)
        assert clock.waits_ms == []


async def test_a_venue_that_is_not_known_is_refused() -> None:
    with pytest.raises(HistoryRefused, match=r"venue: expected one of .*, was 'mtgox'"):
        async with open_history("mtgox", Patient(), {}, print):
            raise AssertionError("it was opened")


async def test_requests_are_throttled() -> None:
    venue = Venue()
    async with asking(venue) as (history, _):
        begun_s = asyncio.get_running_loop().time()
        for _ in range(11):
            await history.now_ms()
        assert asyncio.get_running_loop().time() - begun_s >= 2
