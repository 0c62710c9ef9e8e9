"""How much is asked, and that the way out waits for none of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest
import pytest_asyncio

from bot.clock import Clock, system_wall_ms
from bot.core.actions import ClosePosition
from bot.core.model import Side
from bot.core.units import Quantity
from bot.exchange.live import connection
from bot.exchange.live.asking import hear
from bot.exchange.live.calls import Call, Heard, Hushed
from bot.exchange.live.credentials import NO_KEYS
from bot.exchange.live.lanes import (
    ADDRESS_SHARE,
    ADDRESS_SHARE_MAX,
    READ_SHARE,
    READ_WINDOW_S,
    Lane,
    Quiet,
    read_pace,
)
from bot.exchange.live.loopback import LoopbackSession
from bot.exchange.live.transport import Transport
from bot.exchange.ports import Accepted, Unreachable
from bot.exchange.venues.binanceusdm_account import ACCOUNT
from bot.exchange.venues.binanceusdm_market import MARKET
from bot.exchange.venues.binanceusdm_orders import ORDERS
from bot.exchange.venues.dialects import DIALECTS
from bot.runtime.feed import POLL_CALM_MS
from tests.exchange.live.wired import Wired, wired
from tests.exchange.wire.build import BTC, D

ADDRESS = "127.0.0.1"
CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D("0.01")))


@pytest_asyncio.fixture
async def live() -> AsyncIterator[Wired]:
    async with wired() as made:
        yield made


def used(live: Wired, more: int = 0) -> int:
    """What the address has used of this minute; `more` is used by somebody else on it."""
    return live.server.exchange.limits.weigh(ADDRESS, more, live.clock.now_ms())


def reads() -> Sequence[Call]:
    return (
        MARKET.time_call(),
        MARKET.listing_call(),
        *MARKET.instrument_calls("BTCUSDT"),
        MARKET.interval_call("BTCUSDT"),
        *ACCOUNT.terms_calls(),
        *ACCOUNT.state_calls(),
        ACCOUNT.stops_call("BTCUSDT"),
        ACCOUNT.all_stops_call(),
        *ORDERS.order_calls("BTCUSDT", "none"),
        ACCOUNT.margin_call("BTCUSDT", 0),
        *MARKET.marks_calls(("BTCUSDT",)),
        *ACCOUNT.check_calls(),
        *ACCOUNT.account_calls(),
    )


async def test_no_read_costs_more_than_is_set_aside_for_it(live: Wired) -> None:
    for call in reads():
        before = used(live)
        await hear(live.account._reads, call)
        after = used(live)
        if after >= before:  # else a minute has begun
            assert after - before <= call.weight, call.path


def test_reads_have_half_of_the_budget_and_are_never_all_spent_at_once() -> None:
    allowed = read_pace(MARKET.read_weight_per_minute).count
    assert allowed * (60 // READ_WINDOW_S) <= MARKET.read_weight_per_minute * READ_SHARE


async def test_a_close_waits_for_no_read(live: Wired) -> None:
    async with asyncio.TaskGroup() as tasks:
        # Far more than the budget of a window: most of these wait for tens of seconds.
        polls = [
            tasks.create_task(hear(live.account._reads, ACCOUNT.all_stops_call()))
            for _ in range(100)
        ]
        await asyncio.sleep(0.2)  # noqa: TID251 - real sockets are waited for
        started_ms = live.clock.now_ms()
        assert isinstance(await live.account.send(CLOSE, "c1"), Accepted)
        assert live.clock.now_ms() - started_ms < 250
        assert any(not each.done() for each in polls)
        for each in polls:
            each.cancel()


async def test_reads_end_where_others_on_the_address_have_used_much_and_closes_go_on(
    live: Wired,
) -> None:
    if (passed_ms := live.clock.now_ms() % 60_000) > 45_000:
        await live.clock.sleep_ms(60_000 - passed_ms)  # else what is told would be of two minutes
    used(live, int(MARKET.read_weight_per_minute * ADDRESS_SHARE))
    await live.account.server_time_ms()  # whose answer tells of it
    assert live.account._reads._quiet.reads_until_ms > live.clock.now_ms()
    await live.account.server_time_ms()  # of those that trickle
    used(live, int(MARKET.read_weight_per_minute * (ADDRESS_SHARE_MAX - ADDRESS_SHARE)))
    await live.account.server_time_ms()  # whose answer tells of it
    with pytest.raises(Unreachable, match="no reads until"):
        await live.account.server_time_ms()
    assert isinstance(await live.account.send(CLOSE, "c1"), Accepted)
    quiet = live.account._reads._quiet
    assert 0 < quiet.reads_until_ms - live.clock.now_ms() <= 60_000
    assert quiet.reads_until_ms % 60_000 == 0
    assert not quiet.all_until_ms


PACES = {
    "apex": (10, 1),
    "binancecoinm": (100, 10),
    "binanceusdm": (100, 10),
    "bitget": (10, 1),
    "bitunix": (10, 1),
    "bybit": (10, 1),
    "gate": (100, 10),
    "hyperliquid": (100, 10),
    "krakenfutures": (25, 10),
    "kucoin": (100, 10),
    "okx": (20, 2),
    "xt": (10, 1),
}
"""What is sent at most, in so many seconds: at most what the venues' papers allow."""


@pytest.mark.parametrize("venue", DIALECTS)
async def test_writes_have_the_pace_of_their_venue(venue: str) -> None:
    market, network = DIALECTS[venue].market, LoopbackSession(1)
    transport = Transport("binanceusdm", NO_KEYS, network, 100)
    lane = connection._writes(market, transport, Clock(system_wall_ms()), Quiet())
    throttler = lane._throttler
    assert (throttler.rate_limit, throttler.period) == PACES[venue]
    await transport.close()
    await network.close()


SAID_TOO_MANY = [
    ("bybit", 200, '{"retCode":10006,"retMsg":"Too many visits!","result":{}}', 10),
    ("bybit", 403, "<html>access too frequent</html>", 60),
    ("bitunix", 200, '{"code":10005,"msg":"Too frequent"}', 10),
    ("bitunix", 200, '{"code": "10006", "msg": "Too frequent"}', 10),
    ("krakenfutures", 200, '{"result":"error","serverTime":"x","error":"apiLimitExceeded"}', 10),
    ("okx", 429, "{}", 60),
]
NOT_SO = [
    ("bybit", 200, '{"retCode":0,"result":{"list":[{"retCode":10006}]}}', 0),
    ("bybit", 200, '{"retCode":100060,"retMsg":"x"}', 0),
    ("okx", 403, "<html>", 0),
    ("bitunix", 200, '{"code":0,"data":[{"code":10005}]}', 0),
]


class Said:
    """A transport that is always told the same."""

    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self.asked = 0

    async def ask(self, call: Call) -> Heard:
        self.asked += 1
        return self.heard


@pytest.mark.parametrize(("venue", "status", "text", "quiet_s"), [*SAID_TOO_MANY, *NOT_SO])
async def test_too_many_requests_are_heeded_however_they_are_said(
    venue: str, status: int, text: str, quiet_s: int
) -> None:
    market, clock, quiet = DIALECTS[venue].market, Clock(system_wall_ms()), Quiet()
    said = Said(Heard(status, {}, text))
    transport = cast(Transport, said)
    reads = connection._reads(market, transport, clock, quiet, bans_all=True)
    writes = connection._writes(market, transport, clock, quiet)
    asked_ms = clock.now_ms()
    answer = await writes.ask(Call("private", "POST", "order", {}))
    assert answer == said.heard  # whose parser says what became of it
    assert quiet.reads_until_ms in range(
        asked_ms + 1_000 * quiet_s, clock.now_ms() + 1_000 * quiet_s + 1
    ) or not (quiet_s or quiet.reads_until_ms)
    assert isinstance(await reads.ask(market.listing_call()), Hushed if quiet_s else Heard)
    assert isinstance(await writes.ask(Call("private", "POST", "order", {})), Heard)


async def test_writes_have_an_instance_and_connections_of_their_own(live: Wired) -> None:
    assert isinstance(live.account._writes, Lane)
    reading, writing = live.account._reads._transport, live.account._writes._transport
    assert reading is not writing
    assert reading._ccxt is not writing._ccxt
    assert reading._ccxt.session is not writing._ccxt.session


async def test_an_instance_holds_nothing_that_grows(live: Wired) -> None:
    """So there is nothing to recycle, and no markets to share."""
    await live.account.snapshot()
    await live.account.send(CLOSE, "c1")
    for lane in (live.account._reads, live.account._writes):
        assert isinstance(lane, Lane)
        ccxt = lane._transport._ccxt
        assert not ccxt.markets
        assert not ccxt.orders
        assert not ccxt.positions
        assert not ccxt.clients
        assert not ccxt.enableRateLimit


async def test_a_write_finds_a_connection_open(live: Wired) -> None:
    """Since the last read: to dial one takes two or three ways to the venue and back."""
    writes = live.account._writes
    assert isinstance(writes, Lane)
    connector = writes._transport._ccxt.session._session.connector
    assert connector._keepalive_timeout * 1000 > 2 * POLL_CALM_MS
    ((open_one, *none),) = (list(each) for each in connector._conns.values())
    assert not none
    assert isinstance(await live.account.send(CLOSE, "c1"), Accepted)
    ((used, *none),) = (list(each) for each in connector._conns.values())
    assert not none
    assert used[0] is open_one[0]


async def test_the_clock_is_read_at_the_cost_of_the_reads(live: Wired) -> None:
    writes = live.account._writes
    assert isinstance(writes, Lane)
    given = len(writes._throttler._task_logs)
    used(live, int(MARKET.read_weight_per_minute * ADDRESS_SHARE_MAX))
    await live.account.server_time_ms()  # whose answer tells of it
    with pytest.raises(Unreachable, match="no reads until"):
        await live.account.server_time_ms()
    assert len(writes._throttler._task_logs) == given
