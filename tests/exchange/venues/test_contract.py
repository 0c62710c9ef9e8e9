"""What every venue's adapter owes, over sockets on which things go wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import product

import pytest

from bot.core.actions import (
    Action,
    AddMargin,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.events import FundingReported, Liquidated, MarkPrice
from bot.core.model import (
    NO_FILL,
    Fill,
    LiquidationReport,
    MarginMode,
    NotReported,
    PositionMode,
    Reported,
    Side,
)
from bot.core.units import Money, Price, Quantity
from bot.exchange.live import contracts
from bot.exchange.live.connection import Loopback, connect
from bot.exchange.live.dialect import Listed
from bot.exchange.live.findings import CheckFailed
from bot.exchange.ports import (
    NOT_TOLD,
    Accepted,
    AccountChanged,
    NoMarginHistory,
    Notice,
    OrderAbsent,
    OrderFound,
    Quoted,
    Refused,
    Unreachable,
    Unsure,
)
from bot.exchange.venues.capabilities import MATRIX, Effect
from tests.exchange.venues.conftest import MODES, READERS
from tests.exchange.venues.stage import BTC, KEYS, Book, D, Desk, FaultKind, Scene, staged

ADD = AddMargin(BTC, Side.LONG, Money(D("100.25")))
STOP = PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D(57_000)))
CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D("0.04")))
BOUNDED = ClosePosition(BTC, Side.LONG, Quantity(D("0.04")), NoWorseThan(Price(D(59_900))))
TOO_GOOD = ClosePosition(BTC, Side.LONG, Quantity(D("0.01")), NoWorseThan(Price(D(61_000))))
FILLED = Fill(Quantity(D("0.04")), Price(D(59_970)))

of_all = pytest.mark.parametrize("venue", READERS)
"""Also owed by those that only read."""

FEES = {"bitunix": D("0.0006")}
"""Where a venue's fee is not in its answers."""

BORDERS = {"krakenfutures": D(1_000_000) / D(60_000)}
"""Where the second tier begins: there a value that is told as a quantity at the entry price."""

BOUND = frozenset({"bitunix"})
"""Where a stop is of a position, and nobody can say which side it closes without one."""

TELL_NO_LIQUIDATION = frozenset({"krakenfutures"})
"""Venues that give no liquidation price in an answer."""

TICKS = {"hyperliquid": D(1)}
"""Where a price has at most five figures."""

INTERVALS = {"apex": 1, "hyperliquid": 1, "krakenfutures": 1}
"""Hours between bills, where these are not eight."""

TOLD_AT_TRIGGER = frozenset({"bitget", "bitunix"})
"""Venues none of whose answers names the fills of a stop."""


def desk(venue: str, book: Book | None = None) -> Desk:
    return READERS[venue](book or Book())


@pytest.mark.parametrize(
    ("book", "side", "mode"),
    [
        (Book(), Side.LONG, MarginMode.ISOLATED),
        (Book(quantity=D("-0.1"), liquidation="65000.5"), Side.SHORT, MarginMode.ISOLATED),
        (Book(margin_mode=MarginMode.CROSS), Side.LONG, MarginMode.CROSS),
        (
            Book(quantity=D("-0.1"), margin_mode=MarginMode.CROSS, liquidation="65000.5"),
            Side.SHORT,
            MarginMode.CROSS,
        ),
        (Book(position_mode=PositionMode.HEDGE), Side.LONG, MarginMode.ISOLATED),
        (
            Book(position_mode=PositionMode.HEDGE, quantity=D("-0.1"), liquidation="65000.5"),
            Side.SHORT,
            MarginMode.ISOLATED,
        ),
    ],
    ids=["long", "short", "cross long", "cross short", "hedge long", "hedge short"],
)
async def test_a_snapshot_is_what_the_venue_has(
    venue: str, book: Book, side: Side, mode: MarginMode
) -> None:
    if book.position_mode not in MODES[venue]:
        (only,) = MODES[venue]
        book = replace(book, position_mode=only)
    if mode not in MATRIX[venue].margin_modes:
        (mode,) = MATRIX[venue].margin_modes
        book = replace(book, margin_mode=mode)
    async with staged(desk(venue, book)) as live:
        seen = await live.account.snapshot()
    (position,) = seen.positions
    assert (position.symbol, position.side, position.margin_mode) == (live.symbol, side, mode)
    assert (position.quantity, position.entry_price) == (D("0.1"), D(60_000))
    is_cross = mode is MarginMode.CROSS
    assert position.isolated_margin == (D(0) if is_cross else D(600))
    assert is_cross or position.leverage == D(10)
    if venue in TELL_NO_LIQUIDATION:
        assert position.liquidation == NotReported()
    else:
        assert position.liquidation == Reported(Price(D(book.liquidation)))
    assert (seen.wallet_balance, seen.free) == (D(4_400), D(4_400))
    assert seen.position_mode is book.position_mode


@of_all
async def test_no_position_is_flat(venue: str) -> None:
    async with staged(desk(venue, Book(quantity=D(0), margin=D(0)))) as live:
        seen = await live.account.snapshot()
    assert seen.positions == ()
    assert seen.wallet_balance == D(4_400)


@pytest.mark.parametrize("blank", ["0", "", "-1", "NaN", "none"])
async def test_no_liquidation_price_is_no_report(venue: str, blank: str) -> None:
    async with staged(desk(venue, Book(liquidation=blank))) as live:
        (position,) = (await live.account.snapshot()).positions
    expected: LiquidationReport = NotReported()
    assert position.liquidation == expected


@of_all
async def test_quantities_are_in_base_whatever_the_venue_counts(venue: str) -> None:
    async with staged(desk(venue)) as live:
        (listed,) = await live.market.instruments((live.symbol,))
        assert (listed.quantity_step, listed.quantity_min) == (D("0.0001"), D("0.0001"))
        fee = FEES.get(venue, D("0.0005"))
        assert (listed.tick_size, listed.taker_fee) == (TICKS.get(venue, D("0.1")), fee)
        assert [(each.floor, each.rate) for each in listed.tiers] == [
            (D(0), D("0.004")),
            (BORDERS.get(venue, D(1_000_000)), D("0.005")),
        ]
        assert listed.tiers[-1].cap == D("Infinity")
        with pytest.raises(KeyError, match="NO/USDT"):
            await live.market.instruments(("NO/USDT:USDT",))


async def test_every_action_has_its_effect_and_leaves_evidence(venue: str) -> None:
    async with staged(desk(venue)) as live:
        added = await live.send(ADD, "m1")
        (position,) = (await live.account.snapshot()).positions
        if Effect.ADD_MARGIN in MATRIX[venue].effects:
            assert added == Accepted()
            assert position.isolated_margin == D("700.25")
        else:
            assert isinstance(added, Refused)
            assert (added.code, live.written()) == ("NOT_SENT", [])
        changes = await live.account.margin_changes(live.symbol, 0)
        if live.desk.keeps_margin:
            assert isinstance(changes, tuple)
            assert [each.amount for each in changes] == [D("100.25")]
        else:
            assert changes == NoMarginHistory()
        assert await live.send(STOP, "s1") == Accepted()
        (stop,) = (await live.account.snapshot()).stops
        assert (stop.client_id, stop.side, stop.quantity) == ("s1", Side.LONG, D("0.1"))
        assert (stop.trigger_price, stop.reduce_only) == (D(57_000), True)
        resting = OrderFound("s1", resting=True, filled=NO_FILL)
        assert await live.order("s1") == resting
        closed = OrderFound("c1", resting=False, filled=FILLED)
        assert await tells_at_most(live, CLOSE, closed)
        assert await live.order("c1") == closed
        assert await live.send(CancelStop(BTC, Side.LONG, "s1"), "x1") == Accepted()
        over = OrderFound("s1", resting=False, filled=NO_FILL)
        assert await live.order("s1") == over
        assert await live.order("none") == OrderAbsent()
        seen = await live.account.snapshot()
        assert [each.quantity for each in seen.positions] == [D("0.06")]
        assert seen.stops == ()


async def test_a_stop_is_seen_though_its_position_was_gone_before_any_read_had_it(
    venue: str,
) -> None:
    async with staged(desk(venue)) as live:
        await live.send(STOP, "s1")
        live.book.quantity = D(0)
        seen = await live.account.snapshot()
        assert seen.positions == ()
        rests = [] if venue in BOUND else ["s1"]
        assert [stop.client_id for stop in seen.stops] == rests
        if venue in BOUND:  # what is left shows again with the next position
            live.book.quantity = D("0.1")
            seen = await live.account.snapshot()
            assert [stop.client_id for stop in seen.stops] == ["s1"]


async def tells_at_most(live: Scene, close: ClosePosition, order: OrderFound) -> bool:
    """Whether a close is accepted, and its answer tells what a look-up does, or nothing."""
    reply = await live.send(close, order.client_id)
    return isinstance(reply, Accepted) and reply.order in (order, NOT_TOLD)


async def test_a_bounded_close_does_not_wait(venue: str) -> None:
    async with staged(desk(venue)) as live:
        assert await tells_at_most(live, BOUNDED, OrderFound("c1", resting=False, filled=FILLED))
        ended = OrderFound("c2", resting=False, filled=NO_FILL)
        assert await tells_at_most(live, TOO_GOOD, ended)
        assert await live.order("c2") == ended
        assert live.book.quantity == D("0.06")


async def test_a_stop_that_has_triggered_tells_its_fill(venue: str) -> None:
    async with staged(desk(venue)) as live:
        assert await live.send(STOP, "s1") == Accepted()
        live.desk.trigger("s1", D("56971.5"))
        at = D(57_000) if venue in TOLD_AT_TRIGGER else D("56971.5")
        filled = Fill(Quantity(D("0.1")), Price(at))
        expected = OrderFound("s1", resting=False, filled=filled)
        assert await live.order("s1") == expected
        assert not (await live.account.snapshot()).positions


REFUSED: dict[str, Action] = {
    "too much margin": AddMargin(BTC, Side.LONG, Money(D(100_000))),
    "would trigger at once": PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D(60_001))),
    "wrong side": ClosePosition(BTC, Side.SHORT, Quantity(D("0.1"))),
    "no such stop": CancelStop(BTC, Side.LONG, "none"),
}


GO_OFF = frozenset({"krakenfutures"})
"""Venues of which no paper says that they refuse a stop whose trigger is met already."""


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_is_one_where_a_known_code_proves_it(venue: str, name: str) -> None:
    async with staged(desk(venue)) as live:
        before = live.book.essence()
        reply = await live.send(REFUSED[name], "r1")
        assert isinstance(reply, Refused if name in live.desk.proves else Unsure), reply
        went_off = venue in GO_OFF and name == "would trigger at once"
        assert (live.book.essence() == before) is not went_off


ACTIONS: dict[str, Action] = {
    "add margin": AddMargin(BTC, Side.LONG, Money(D("1.25"))),
    "place stop": PlaceStop(BTC, Side.LONG, Quantity(D("0.001")), Price(D(57_000))),
    "cancel stop": CancelStop(BTC, Side.LONG, "resting"),
    "close": ClosePosition(BTC, Side.LONG, Quantity(D("0.001"))),
    "close within": ClosePosition(
        BTC, Side.LONG, Quantity(D("0.001")), NoWorseThan(Price(D(59_900)))
    ),
}


@pytest.mark.parametrize("name", ACTIONS)
async def test_no_unknown_outcome_is_taken_for_success_or_for_a_refusal(
    venue: str, name: str
) -> None:
    if name == "add margin" and Effect.ADD_MARGIN not in MATRIX[venue].effects:
        return  # nothing is sent: see above
    async with staged(desk(venue)) as live:
        for number, (kind, effect) in enumerate(product(FaultKind, [True, False])):
            live.stage.desk = desk(venue)
            live.hand_stop("resting", D(56_000), D("0.01"))
            before, sent = live.book.essence(), len(live.written())
            with live.fault(kind, 9, effect=effect, writes=True):
                reply = await live.send(ACTIONS[name], f"f{number}")
            assert isinstance(reply, Unsure), (kind, effect, reply)
            assert (live.book.essence() != before) is effect, kind
            assert len(live.written()) == sent + 1, "sent once, no more"


@pytest.mark.parametrize("name", ACTIONS)
async def test_a_code_that_is_on_no_list_proves_nothing(venue: str, name: str) -> None:
    if name == "add margin" and Effect.ADD_MARGIN not in MATRIX[venue].effects:
        return  # nothing is sent: see above
    async with staged(desk(venue)) as live:
        live.hand_stop("resting", D(56_000), D("0.01"))
        live.stage.odd = live.desk.code_unheard_of
        reply = await live.send(ACTIONS[name], "id1")
    assert isinstance(reply, Unsure), reply


QUICK = [kind for kind in FaultKind if kind is not FaultKind.NO_REPLY]


@of_all
async def test_a_read_that_went_wrong_is_no_read(venue: str) -> None:
    async with staged(desk(venue)) as live:
        reads: tuple[Callable[[], Awaitable[object]], ...] = (
            live.account.snapshot,
            live.account.server_time_ms,
            lambda: live.order("none"),
            lambda: live.market.instruments((live.symbol.replace("BTC", "ETH"),)),
        )
        for kind, read in product(QUICK, reads):
            with live.fault(kind, 99, writes=False), pytest.raises(Unreachable):
                await read()


async def test_no_ground_to_send_from_means_that_nothing_was_sent(venue: str) -> None:
    async with staged(desk(venue)) as live:
        live.hand_stop("resting", D(56_000), D("0.01"))
        with live.fault(FaultKind.HTML_502, 99, writes=False):
            reply = await live.send(ACTIONS["cancel stop"], "x1")
        if isinstance(reply, Refused):
            assert reply.code == "NOT_SENT"
            assert not live.written()
        else:
            assert reply == Accepted(), "it needs no ground"


@of_all
async def test_a_key_of_which_the_venue_tells_too_little_needs_the_users_word(venue: str) -> None:
    async with staged(desk(venue)) as live:
        if live.desk.tells_of_keys:
            return
        with pytest.raises(CheckFailed, match="withdraw"):
            async with connect(live.desk.dialect, KEYS, Loopback(live.port), live.clock):
                pass


@of_all
async def test_a_contract_listed_since_the_start_is_learnt(
    venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contracts, "LISTING_MS", -1)
    async with staged(desk(venue)) as live:
        live.live._contracts.listed = Listed({}, {})
        (position,) = (await live.account.snapshot()).positions
    assert position.symbol == live.symbol


# -- streams -------------------------------------------------------------------------------


@asynccontextmanager
async def listening(live: Scene) -> AsyncIterator[list[Notice | Unreachable]]:
    heard: list[Notice | Unreachable] = []

    async def listen() -> None:
        try:
            await live.account.stream(heard.append)
        except Unreachable as e:
            heard.append(e)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(listen())
        await until(lambda: live.stage.sockets)
        yield heard
        task.cancel()


async def until(holds: Callable[[], object], patience_s: float = 5) -> None:
    async with asyncio.timeout(patience_s):
        while not holds():  # noqa: ASYNC110 - real sockets are waited for
            await asyncio.sleep(0.01)  # noqa: TID251 - in real time


@of_all
async def test_a_push_rings_and_names_a_liquidation(venue: str) -> None:
    async with staged(desk(venue)) as live, listening(live) as heard:
        await live.stage.push(live.desk.changed())
        await until(lambda: AccountChanged() in heard)
        frame = live.desk.liquidated(D(54_321))
        if frame is not None:
            await live.stage.push(frame)
            await until(lambda: any(isinstance(each, Liquidated) for each in heard))
            (gone,) = [each for each in heard if isinstance(each, Liquidated)]
            assert (gone.symbol, gone.side, gone.price) == (live.symbol, Side.LONG, D(54_321))


@of_all
async def test_a_stream_that_ends_is_lost(venue: str) -> None:
    async with staged(desk(venue)) as live:
        async with listening(live) as heard:
            await live.stage.sockets[0].close()
            await until(lambda: any(isinstance(each, Unreachable) for each in heard))
        frame = live.desk.ended()
        if frame is not None:
            await until(lambda: not live.stage.sockets)
            async with listening(live) as heard:
                await live.stage.push(frame)
                await until(lambda: any(isinstance(each, Unreachable) for each in heard))


@of_all
@pytest.mark.parametrize("frame", ["", "{", "<html>", "[]", "null", '{"channel": 1, "x": NaN}'])
async def test_a_frame_that_cannot_be_read_is_an_alarm(venue: str, frame: str) -> None:
    async with staged(desk(venue)) as live, listening(live) as heard:
        await live.stage.push(frame)
        await until(lambda: any(isinstance(each, Unreachable) for each in heard))


@of_all
async def test_the_mark_follows_and_the_bill_is_told(venue: str) -> None:
    async with staged(desk(venue)) as live:
        await live.market.instruments((live.symbol,))
        heard: list[Quoted] = []
        async with asyncio.TaskGroup() as tasks:
            streaming = tasks.create_task(live.market.stream(heard.append))
            await until(lambda: D(60_000) in _marks(heard))
            await until(lambda: live.stage.sockets)
            await live.stage.push(live.desk.marked(D("59123.4")))
            await until(lambda: D("59123.4") in _marks(heard))
            streaming.cancel()
        (bill,) = [each for each in live.market.latest() if isinstance(each, FundingReported)]
        hours = INTERVALS.get(venue, 8)
        assert (bill.rate, bill.interval_ms) == (D("0.0001"), hours * 3_600_000)
        assert bill.next_at_ms > live.clock.now_ms()
        assert {each.symbol for each in heard} == {live.symbol}


def _marks(heard: list[Quoted]) -> list[object]:
    return [each.price for each in heard if isinstance(each, MarkPrice)]
