"""The live account against an exchange that liquidates, over sockets on which things go wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from itertools import product

import pytest
import pytest_asyncio

from bot.core.actions import (
    Action,
    AddMargin,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.events import Liquidated
from bot.core.model import NO_FILL, STOPS_MAX, Fill, Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.live import account as module
from bot.exchange.live import connection
from bot.exchange.live.lanes import Lane, Quiet
from bot.exchange.paper.wire.mishaps import WITHOUT_EFFECT, Mishap, MishapKind
from bot.exchange.ports import (
    Accepted,
    AccountChanged,
    Banned,
    Barred,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Refused,
    Throttled,
    Unreachable,
    Unsure,
)
from tests.exchange.live.wired import Wired, until, wired
from tests.exchange.wire.build import BTC, D

ADD = AddMargin(BTC, Side.LONG, Money(D("100.25")))
STOP = PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D(57_000)))
CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D("0.04")))
BOUNDED = ClosePosition(BTC, Side.LONG, Quantity(D("0.04")), NoWorseThan(Price(D(59_900))))


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a moment for answers that do not come; named before the account that is to have it."""
    monkeypatch.setattr(connection, "READ_TIMEOUT_MS", 2_000)
    monkeypatch.setattr(connection, "WRITE_TIMEOUT_MS", 1_000)


@pytest_asyncio.fixture
async def live() -> AsyncIterator[Wired]:
    async with wired() as made:
        yield made


async def test_a_snapshot_is_what_the_exchange_has(live: Wired) -> None:
    live.hand.stop("SELL", "57000", clientAlgoId="st0")
    seen = await live.account.snapshot()
    true = live.server.exchange.machine.snapshot("alice", seen.taken_at_ms)
    assert seen.positions == true.positions
    assert (seen.wallet_balance, seen.free) == (true.wallet_balance, true.free)
    assert seen.position_mode is true.position_mode
    assert [(each.client_id, each.trigger_price, each.reduce_only) for each in seen.stops] == [
        ("st0", D(57_000), True)
    ]


async def test_an_instrument_is_what_the_exchange_applies(live: Wired) -> None:
    (seen,) = await live.market.instruments((BTC,))
    assert seen.quantity_max == 1_000  # a limit of the wire, not of the machine behind it
    assert seen.stops_max == 10
    unlimited = replace(seen, quantity_max=Quantity(D("Infinity")), stops_max=STOPS_MAX)
    assert unlimited == live.server.exchange.machine.instruments[BTC]
    with pytest.raises(KeyError, match="NO/USDT"):
        await live.market.instruments(("NO/USDT:USDT",))


async def test_every_action_has_its_effect_and_leaves_evidence(live: Wired) -> None:
    before_ms = await live.account.server_time_ms()
    assert await live.account.send(ADD, "m1") == Accepted()
    changes = await live.account.margin_changes(BTC, before_ms)
    assert not isinstance(changes, NoMarginHistory)
    (change,) = changes
    assert change.amount == ADD.amount
    assert await live.account.send(STOP, "s1") == Accepted()
    assert await live.account.order(BTC, "s1") == OrderFound("s1", resting=True, filled=NO_FILL)
    assert isinstance(await live.account.send(CLOSE, "c1"), Accepted)
    closed = Fill(Quantity(D("0.04")), Price(D(59_970)))  # 5 bp below the last price
    assert await live.account.order(BTC, "c1") == OrderFound("c1", resting=False, filled=closed)
    assert await live.account.send(CancelStop(BTC, Side.LONG, "s1"), "x1") == Accepted()
    assert await live.account.order(BTC, "s1") == OrderFound("s1", resting=False, filled=NO_FILL)
    assert await live.account.order(BTC, "none") == OrderAbsent()
    (position,) = (await live.account.snapshot()).positions
    assert position.quantity == D("0.06")


async def test_a_bounded_close_does_not_wait(live: Wired) -> None:
    assert isinstance(await live.account.send(BOUNDED, "c1"), Accepted)
    too_good = ClosePosition(BTC, Side.LONG, Quantity(D("0.01")), NoWorseThan(Price(D(61_000))))
    assert isinstance(await live.account.send(too_good, "c2"), Accepted)
    assert await live.account.order(BTC, "c2") == OrderFound("c2", resting=False, filled=NO_FILL)


async def test_a_stop_that_has_triggered_tells_its_fill(live: Wired) -> None:
    await live.account.send(STOP, "s1")
    live.move(BTC, "56000")
    filled = Fill(Quantity(D("0.1")), Price(D("56971.5")))
    assert await live.account.order(BTC, "s1") == OrderFound("s1", resting=False, filled=filled)
    assert not (await live.account.snapshot()).positions


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (AddMargin(BTC, Side.LONG, Money(D(100_000))), "-2019"),
        (PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D(60_001))), "-2021"),
        (PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D("57000.05"))), "-4014"),
        (PlaceStop(BTC, Side.SHORT, Quantity(D("0.1")), Price(D(63_000))), "-2022"),
        (ClosePosition(BTC, Side.SHORT, Quantity(D("0.1"))), "-2022"),
        (ClosePosition(BTC, Side.LONG, Quantity(D("0.0001"))), "-4003"),
    ],
)
async def test_what_the_venue_proves_to_have_refused_is_refused(
    live: Wired, action: Action, code: str
) -> None:
    reply = await live.account.send(action, "r1")
    assert isinstance(reply, Refused)
    assert reply.code == code


async def test_that_there_is_nothing_to_cancel_proves_nothing(live: Wired) -> None:
    reply = await live.account.send(CancelStop(BTC, Side.LONG, "none"), "r1")
    assert isinstance(reply, Unsure)
    assert reply.reason.startswith("-2011")


async def test_a_duplicate_id_proves_nothing(live: Wired) -> None:
    assert await live.account.send(STOP, "s1") == Accepted()
    assert isinstance(await live.account.send(STOP, "s1"), Unsure)


KINDS = [kind for kind in MishapKind if kind is not MishapKind.LATE]
SAID_NO = {MishapKind.TOO_MANY_429: Refused, MishapKind.BANNED_418: Barred}
SMALL = Quantity(D("0.001"))

ACTIONS: dict[str, Callable[[str], Action]] = {
    "add margin": lambda _: AddMargin(BTC, Side.LONG, Money(D("1.25"))),
    "place stop": lambda _: PlaceStop(BTC, Side.LONG, SMALL, Price(D(57_000))),
    "cancel stop": lambda resting: CancelStop(BTC, Side.LONG, resting),
    "close": lambda _: ClosePosition(BTC, Side.LONG, SMALL),
    "close within": lambda _: ClosePosition(BTC, Side.LONG, SMALL, NoWorseThan(Price(D(59_900)))),
}


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize("name", ACTIONS)
async def test_no_unknown_outcome_is_taken_for_success_or_for_a_refusal(
    live: Wired, name: str
) -> None:
    for number, (kind, effect) in enumerate(product(KINDS, [True, False])):
        resting = f"resting{number}"
        live.hand.now_ms = live.clock.now_ms()
        live.hand.stop("SELL", "56000", "0.01", clientAlgoId=resting)
        before = live.server.exchange.machine.to_json()
        live.fault(kind, effect=effect, method=_method(name))
        reply = await live.account.send(ACTIONS[name](resting), f"f{number}")
        after = live.server.exchange.machine.to_json()
        has_effect = _essence(after) != _essence(before)
        assert has_effect is (effect and kind not in WITHOUT_EFFECT), kind
        assert isinstance(reply, SAID_NO.get(kind, Unsure)), (kind, effect, reply)
        assert not live.server.mishaps.ahead, "sent once, no more"
        assert isinstance(live.account._writes, Lane)
        live.account._writes._quiet = Quiet()
        live.hand.ask("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT")


def _method(name: str) -> str:
    return "DELETE" if name == "cancel stop" else "POST"


def _essence(machine: str) -> str:
    """The state without its time."""
    start, _, rest = machine.partition('"at_ms":')
    return start + rest.partition(",")[2].partition('"quotes"')[2].partition('"accounts"')[2]


QUICK = [kind for kind in KINDS if kind is not MishapKind.NO_REPLY]
"""Reads wait for an answer: once is enough."""


async def test_a_read_that_went_wrong_is_no_read(live: Wired) -> None:
    reads: tuple[Callable[[], Awaitable[object]], ...] = (
        live.account.snapshot,
        live.account.server_time_ms,
        lambda: live.account.order(BTC, "none"),
        lambda: live.account.margin_changes(BTC, 0),
        lambda: live.market.instruments(("ETH/USDT:USDT",)),
    )
    for kind, read in product(QUICK, reads):
        live.fault(kind, 6, method="GET")
        with pytest.raises(Unreachable):
            await read()
        live.server.mishaps.ahead.clear()
        live.account._reads._quiet = Quiet()


@pytest.mark.parametrize(
    "path",
    [
        "/fapi/v1/time",
        "/fapi/v3/positionRisk",
        "/fapi/v3/account",
        "/fapi/v1/symbolConfig",
        "/fapi/v1/accountConfig",
        "/fapi/v1/openAlgoOrders",
    ],
)
async def test_no_part_of_a_read_may_be_missing(live: Wired, path: str) -> None:
    mishap = Mishap(MishapKind.HTML_502, 99, has_effect=False, method="GET", path=path, delay_ms=0)
    live.server.mishaps.ahead.append(mishap)
    live.account._terms_read.at_ms = module.NEVER_MS
    with pytest.raises(Unreachable, match="502"):
        await live.account.snapshot()


@pytest.mark.parametrize("kind", [MishapKind.OBJECT_200, MishapKind.DROPPED, MishapKind.HTML_502])
async def test_a_stream_that_cannot_begin_is_lost(live: Wired, kind: MishapKind) -> None:
    live.fault(kind, 9)
    with pytest.raises(Unreachable):
        await live.account.stream(lambda _: None)


async def test_a_listen_key_is_kept_and_a_stream_that_cannot_keep_it_is_lost(
    live: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_ALIVE_MS", 200)
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(_lost(live))
        await until(lambda: live.server.hub.listeners)
        await live.clock.sleep_ms(1_000)
        assert not listening.done()
        live.server.exchange.expire_listen_keys("alice")
        assert await listening


@pytest.mark.usefixtures("impatience")
async def test_a_read_without_an_answer_is_no_read(live: Wired) -> None:
    live.fault(MishapKind.NO_REPLY, 9, method="GET")
    with pytest.raises(Unreachable, match="RequestTimeout"):
        await live.account.server_time_ms()


async def test_nothing_listens_means_nothing_was_sent(live: Wired) -> None:
    network = live.account._network
    network._port = 1  # nobody listens there
    with pytest.raises(Unreachable, match="ClientConnector"):
        await live.account.snapshot()


async def test_a_ban_silences_even_the_way_out_and_too_many_requests_only_reads(
    live: Wired,
) -> None:
    now_ms = live.clock.now_ms()
    live.fault(MishapKind.TOO_MANY_429, method="GET")
    with pytest.raises(Throttled, match="429") as throttled:
        await live.account.server_time_ms()
    assert 2_000 <= throttled.value.until_ms - now_ms < 2_500  # its Retry-After says 2 s
    with pytest.raises(Throttled, match="no reads until"):
        await live.account.server_time_ms()
    assert isinstance(await live.account.send(CLOSE, "c1"), Accepted)
    live.fault(MishapKind.BANNED_418, method="POST")
    assert isinstance(await live.account.send(CLOSE, "c2"), Barred)
    held = live.hand.positions()
    banned = await live.account.send(CLOSE, "c3")
    assert isinstance(banned, Barred)
    assert 1_000 <= banned.until_ms - live.clock.now_ms() <= 2_000
    with pytest.raises(Banned, match="banned"):
        await live.account.server_time_ms()
    assert live.hand.positions()[0]["positionAmt"] == held[0]["positionAmt"]


async def test_a_trickle_of_reads_goes_on_where_the_venue_wants_none(live: Wired) -> None:
    """For an endangered account; the feed of a calm one does not ask."""
    live.account._reads._quiet.reads_until_ms = live.clock.now_ms() + 60_000
    assert (await live.account.snapshot()).positions
    with pytest.raises(Throttled):
        await asyncio.gather(*(live.account.snapshot() for _ in range(20)))


async def test_notices_ring_and_name_a_liquidation(live: Wired) -> None:
    heard: list[Notice] = []
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(live.account.stream(heard.append))
        await until(lambda: live.server.hub.listeners)
        await live.account.send(ADD, "m1")
        await until(lambda: AccountChanged() in heard)
        live.move(BTC, "50000")
        await until(lambda: any(isinstance(each, Liquidated) for each in heard))
        listening.cancel()
    (gone,) = [each for each in heard if isinstance(each, Liquidated)]
    assert (gone.symbol, gone.side) == (BTC, Side.LONG)


@pytest.mark.parametrize("drift_ms", [-30_000, 30_000])
async def test_a_clock_that_has_drifted_is_followed_at_the_next_read(
    live: Wired, drift_ms: int
) -> None:
    for lane in (live.account._reads, live.account._writes):
        lane.follow_clock(drift_ms)
    drifted = await live.account.send(CLOSE, "c1")
    assert isinstance(drifted, Refused)
    assert drifted.code == "-1021"
    await live.account.snapshot()
    assert isinstance(await live.account.send(CLOSE, "c2"), Accepted)


async def test_a_stream_that_ends_is_lost(live: Wired) -> None:
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(_lost(live))
        await until(lambda: live.server.hub.listeners)
        live.server.hub.close_all()
        assert await listening


async def _lost(live: Wired) -> bool:
    try:
        await live.account.stream(lambda _: None)
    except Unreachable:
        return True
    return False


async def test_the_read_budget_holds_whatever_is_asked(live: Wired) -> None:
    for _ in range(8):
        await live.account.snapshot()
    used = int(live.server.exchange.limits.weigh("127.0.0.1", 0, live.clock.now_ms()))
    assert used < 300, "eight complete reads and the start are far from a minute's budget"


@pytest.mark.parametrize("junk", ["not json", "[]", '{"e": "ORDER_TRADE_UPDATE", "o": 7}'])
async def test_a_frame_that_cannot_be_read_is_an_alarm(live: Wired, junk: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(_lost(live))
        await until(lambda: live.server.hub.listeners)
        live.server.hub.listeners[0].put(junk)
        assert await listening
