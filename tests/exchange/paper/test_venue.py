"""Between guard and exchange lies a network: what it delays, loses, and never undoes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from random import Random

import pytest

from bot.clock import Clock
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.events import BarsReported, FundingReported, Liquidated, MarkPrice
from bot.core.model import NO_FILL, PriceBar, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.faults import FaultPlan, Faults
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import ClosedBars, FundingTerm, PathItem, PricePoint
from bot.exchange.paper.store import FileStore, MemoryOnly, Store
from bot.exchange.paper.venue import PaperAccount, PaperMarket, PaperVenue
from bot.exchange.ports import (
    Accepted,
    Account,
    AccountChanged,
    Barred,
    MarginChange,
    MarketData,
    Notice,
    OrderFound,
    Quoted,
    Refused,
    Unreachable,
    Unsure,
    Withheld,
)
from bot.rehearsal.loop import run_virtual
from tests.exchange.paper.build import ALICE, BTC, ETH, T0, D, contract, enter, machine_with, move

LATENCY_MS = 50
LINE = ((0, "50000"), (10_000, "49000"), (20_000, "40000"))
ADD = AddMargin(BTC, Side.LONG, Money(D(100)))
STOP = PlaceStop(BTC, Side.LONG, Quantity(D(1)), Price(D(48_000)))
CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D(1)))

Scene = Callable[[PaperVenue], Awaitable[None]]


def points(line: Iterable[tuple[int, str]], symbol: str = BTC) -> list[PricePoint]:
    return [PricePoint(T0 + at, symbol, Price(D(mark)), Price(D(mark))) for at, mark in line]


def long_machine() -> PaperMachine:
    machine = machine_with(contract())
    enter(machine)
    return machine


def play(
    scene: Scene,
    *,
    machine: PaperMachine | None = None,
    path: Iterable[PathItem] | None = None,
    plan: FaultPlan | None = None,
    seed: int = 0,
    store: Store | None = None,
) -> None:
    """Run a scene from T0 on, in virtual time; the venue's own `run` goes along."""

    async def main() -> None:
        clock = Clock(T0)
        venue = PaperVenue(
            machine or long_machine(),
            iter(points(LINE) if path is None else path),
            clock,
            latency_ms=LATENCY_MS,
            store=store or MemoryOnly(),
            faults=Faults(plan or FaultPlan(), Random(seed)),
        )
        async with venue:
            await scene(venue)

    run_virtual(main())


def passed_ms(venue: PaperVenue) -> int:
    return venue.clock.now_ms() - T0


def free(venue: PaperVenue) -> Money:
    return venue.at_now(lambda machine, _: machine.ledger().wallets)


# -- latency and time -------------------------------------------------------------------------


def test_a_request_takes_the_latency_twice_and_acts_in_between() -> None:
    async def scene(venue: PaperVenue) -> None:
        account: Account = PaperAccount(venue, ALICE)
        request = asyncio.ensure_future(account.send(ADD, "a"))
        await venue.clock.sleep_ms(LATENCY_MS - 1)
        assert free(venue) == 5_000
        await venue.clock.sleep_ms(2)
        assert free(venue) == 4_900
        assert await request == Accepted()
        assert passed_ms(venue) == 2 * LATENCY_MS
        changes = await account.margin_changes(BTC, T0)
        assert changes == (MarginChange(BTC, ADD.amount, T0 + LATENCY_MS, (Side.LONG,)),)

    play(scene)


def test_a_request_sees_the_prices_of_its_moment() -> None:
    """The line falls 0.1 a millisecond: at 950 ms the mark is 49,905, and 49,905 triggers."""

    async def scene(venue: PaperVenue) -> None:
        account = PaperAccount(venue, ALICE)
        await venue.clock.sleep_ms(950 - LATENCY_MS)
        too_high = PlaceStop(BTC, Side.LONG, Quantity(D(1)), Price(D("49905")))
        reply = await account.send(too_high, "a")
        assert isinstance(reply, Refused)
        assert reply.code == "-2021"
        assert await account.send(CLOSE, "b") == Accepted()
        # Arrived at 1,050 ms; sold at 49,895.
        assert free(venue) == 10_000 - 105

    play(scene)


def test_reads_are_of_one_latency_ago() -> None:
    async def scene(venue: PaperVenue) -> None:
        account = PaperAccount(venue, ALICE)
        snapshot = await account.snapshot()
        assert snapshot.taken_at_ms == T0 + LATENCY_MS
        assert passed_ms(venue) == 2 * LATENCY_MS
        assert snapshot.positions[0].quantity == 1
        assert await account.server_time_ms() == T0 + 3 * LATENCY_MS
        await account.send(STOP, "stop")
        found = await account.order(BTC, "stop")
        assert found == OrderFound("stop", resting=True, filled=NO_FILL)

    play(scene)


def test_a_stop_is_met_although_nobody_runs_or_asks() -> None:
    """The venue catches up with everything that happened since it was last asked."""

    async def scene(venue: PaperVenue) -> None:
        account = PaperAccount(venue, ALICE)
        await account.send(STOP, "stop")
        await venue.clock.sleep_ms(19_000)
        snapshot = await account.snapshot()
        assert (snapshot.positions, snapshot.stops) == ((), ())
        assert snapshot.free == 8_000

    play(scene)


def test_a_machine_moves_on_from_where_it_was() -> None:
    """After a restart at 5 s the path starts over and its past changes nothing."""
    machine = long_machine()
    move(machine, "49500", at_ms=T0 + 5_000)

    async def scene(venue: PaperVenue) -> None:
        await venue.clock.sleep_ms(7_500)
        venue.at_now(lambda machine, _: None)
        assert machine.quotes[BTC].mark == 49_250

    play(scene, machine=machine)


# -- market data ------------------------------------------------------------------------------


def test_the_latest_price_is_one_latency_old_and_received_now() -> None:
    async def scene(venue: PaperVenue) -> None:
        market: MarketData = PaperMarket(venue)
        assert market.latest() == ()
        await venue.clock.sleep_ms(1_000)
        now_ms = venue.clock.now_ms()
        assert market.latest() == (MarkPrice(BTC, Price(D(49_905)), now_ms),)
        venue.advance()
        assert market.latest() == (MarkPrice(BTC, Price(D(49_905)), now_ms),)

    play(scene)


def test_bars_are_those_closed_at_the_venue_and_travel_both_ways() -> None:
    bar = PriceBar(Price(D(3)), Price(D(1)), Price(D(2)))

    def charts(symbol: str, at_ms: int) -> ClosedBars:
        return ClosedBars(at_ms, (bar,) if symbol == BTC else ())

    async def scene(venue: PaperVenue) -> None:
        market: MarketData = PaperMarket(venue, charts)
        asked_ms = venue.clock.now_ms()
        told = await market.bars(BTC)
        way_ms = venue.latency_ms
        assert told == BarsReported(BTC, asked_ms + way_ms, (bar,), asked_ms + 2 * way_ms)
        assert (await PaperMarket(venue).bars(BTC)).bars == ()

    play(scene)


def test_the_stream_has_every_point_one_latency_late_and_ends_with_the_path() -> None:
    async def scene(venue: PaperVenue) -> None:
        seen: list[Quoted] = []
        market = PaperMarket(venue)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(venue.run())
            tasks.create_task(market.stream(seen.append))
        assert seen == [
            MarkPrice(BTC, Price(D(49_000)), T0 + 10_050),
            MarkPrice(BTC, Price(D(40_000)), T0 + 20_050),
        ]
        await market.stream(seen.append)
        assert len(seen) == 2

    play(scene)


def test_the_latest_price_just_after_a_point_is_from_before_it() -> None:
    async def scene(venue: PaperVenue) -> None:
        await venue.clock.sleep_ms(10_020)
        venue.advance()
        (latest,) = PaperMarket(venue).latest()
        assert latest == MarkPrice(BTC, Price(D(49_003)), T0 + 10_020)

    play(scene)


def test_the_next_bill_is_known_one_latency_after_it_was_announced_until_it_is_due() -> None:
    rate = Ratio(D("0.0005"))
    term = FundingTerm(T0 + 2_000, BTC, rate, T0 + 8_000, 3_600_000)
    first, *rest = points(LINE)

    async def scene(venue: PaperVenue) -> None:
        seen: list[Quoted] = []
        market = PaperMarket(venue)

        def bills() -> list[Quoted]:
            return [each for each in market.latest() if isinstance(each, FundingReported)]

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(venue.run())
            tasks.create_task(market.stream(seen.append))
            await venue.clock.sleep_ms(2_000 + LATENCY_MS - 1)
            assert bills() == []
            await venue.clock.sleep_ms(2)
            assert bills() == [
                FundingReported(BTC, rate, T0 + 8_000, 3_600_000, venue.clock.now_ms())
            ]
            await venue.clock.sleep_ms(6_000)
            assert bills() == []
        assert seen[0] == FundingReported(BTC, rate, T0 + 8_000, 3_600_000, T0 + 2_050)

    play(scene, path=[first, term, *rest])


def test_a_stream_that_is_left_hears_no_more() -> None:
    async def scene(venue: PaperVenue) -> None:
        stream = asyncio.ensure_future(PaperMarket(venue).stream(lambda _: None))
        await venue.clock.sleep_ms(1)
        assert len(venue.quoted._wires) == 1
        stream.cancel()
        await venue.clock.sleep_ms(1)
        assert venue.quoted._wires == []

    play(scene)


def test_instruments_are_read_by_name() -> None:
    async def scene(venue: PaperVenue) -> None:
        market = PaperMarket(venue)
        assert await market.instruments((BTC,)) == (contract(),)
        with pytest.raises(KeyError, match=ETH):
            await market.instruments((BTC, ETH))

    play(scene)


# -- notices ----------------------------------------------------------------------------------


def test_notices_arrive_one_latency_after_the_fact() -> None:
    """The liquidation price is 45,226.13; the last leg falls 0.9 a millisecond from 10 s on."""

    async def scene(venue: PaperVenue) -> None:
        seen: list[tuple[int, Notice]] = []
        stream = asyncio.ensure_future(
            PaperAccount(venue, ALICE).stream(lambda each: seen.append((passed_ms(venue), each)))
        )
        await PaperAccount(venue, ALICE).send(ADD, "a")
        await venue.run()
        await venue.clock.sleep_ms(LATENCY_MS + 1)
        stream.cancel()
        # The set-up is announced too, with the first request.
        assert seen[:-2] == [(100, AccountChanged())] * (len(seen) - 2)
        liquidated = Liquidated(BTC, Side.LONG, Price(D("45125.63")), T0 + 20_050)
        assert [each for _, each in seen[-2:]] == [liquidated, AccountChanged()]

    play(scene)


def test_a_lost_notice_is_lost_and_a_broken_stream_says_so() -> None:
    async def scene(venue: PaperVenue) -> None:
        account, seen = PaperAccount(venue, ALICE), list[Notice]()
        for number in range(40):
            stream = asyncio.ensure_future(account.stream(seen.append))
            await account.send(ADD, "")
            await venue.clock.sleep_ms(LATENCY_MS)
            if stream.done():
                with pytest.raises(Unreachable, match="stream broke"):
                    await stream
                return
            stream.cancel()
            assert len(seen) <= number
        raise AssertionError("the stream never broke")

    machine = long_machine()
    machine.take_notices()
    play(scene, machine=machine, plan=FaultPlan(notice_lost=0.9, stream_broken=0.1))


# -- lost and late ----------------------------------------------------------------------------


def test_a_lost_request_has_no_effect_and_is_unsure() -> None:
    async def scene(venue: PaperVenue) -> None:
        reply = await PaperAccount(venue, ALICE).send(ADD, "a")
        assert reply == Unsure("no reply within 3000 ms")
        assert passed_ms(venue) == 3_000
        await venue.clock.sleep_ms(20_000)
        assert venue.at_now(lambda machine, _: machine.margin_changes(ALICE, BTC, T0)) == ()

    play(scene, plan=FaultPlan(request_lost=1.0))


def test_a_lost_reply_is_unsure_and_had_its_effect() -> None:
    async def scene(venue: PaperVenue) -> None:
        reply = await PaperAccount(venue, ALICE).send(ADD, "a")
        assert reply == Unsure("no reply within 3000 ms")
        changes = await PaperAccount(venue, ALICE).margin_changes(BTC, T0)
        assert changes == (MarginChange(BTC, Money(D(100)), T0 + LATENCY_MS, (Side.LONG,)),)

    play(scene, plan=FaultPlan(reply_lost=1.0))


@pytest.mark.parametrize("late", ["request_late", "reply_late"])
def test_late_messages_are_answered_unsure_or_in_time(late: str) -> None:
    """
    Over many seeds: a late request acts late, even after its sender gave up, or is out of its
    window; a late reply has had its effect on time. Only what came back in time is proven.
    """
    outcomes = set()

    async def scene(venue: PaperVenue) -> None:
        reply = await PaperAccount(venue, ALICE).send(ADD, "a")
        replied_ms = passed_ms(venue)
        await venue.clock.sleep_ms(9_000 - replied_ms)
        changes = venue.at_now(lambda machine, _: machine.margin_changes(ALICE, BTC, T0))
        acted_ms = [change.at_ms - T0 for change in changes]
        match reply:
            case Accepted():
                assert replied_ms <= 3_000
                assert len(acted_ms) == 1
                assert acted_ms[0] <= replied_ms - LATENCY_MS
            case Unsure():
                assert replied_ms == 3_000
                assert all(at_ms <= 5_000 for at_ms in acted_ms)
            case Refused() | Barred() | Withheld():
                raise AssertionError("a request within 3 s cannot be out of its window")
        outcomes.add((type(reply), len(acted_ms)))

    for seed in range(40):
        play(scene, plan=FaultPlan(**{late: 1.0}), seed=seed)  # type: ignore[arg-type]
    refused = {(Unsure, 0)} if late == "request_late" else set()
    assert outcomes == {(Accepted, 1), (Unsure, 1)} | refused


def test_a_request_out_of_its_window_is_refused() -> None:
    """With a patient caller the refusal comes back."""

    async def scene(venue: PaperVenue) -> None:
        reply = await PaperAccount(venue, ALICE).send(ADD, "a")
        assert isinstance(reply, Refused if passed_ms(venue) > 5_050 else Accepted)
        assert not isinstance(reply, Refused) or reply.code == "-1021"
        replies.add(type(reply))

    replies: set[type] = set()
    for seed in range(20):
        play(scene, plan=FaultPlan(request_late=1.0, timeout_ms=20_000), seed=seed)
    assert replies == {Accepted, Refused}


def test_a_sender_that_dies_does_not_recall_its_request() -> None:
    async def scene(venue: PaperVenue) -> None:
        request = asyncio.ensure_future(PaperAccount(venue, ALICE).send(ADD, "a"))
        await venue.clock.sleep_ms(1)
        request.cancel()
        await venue.clock.sleep_ms(LATENCY_MS)
        assert free(venue) == 4_900

    play(scene)


def test_leaving_the_venue_waits_for_what_is_under_way() -> None:
    machine = long_machine()

    async def scene(venue: PaperVenue) -> None:
        request = asyncio.ensure_future(PaperAccount(venue, ALICE).send(ADD, "a"))
        await venue.clock.sleep_ms(1)
        assert not request.done()

    play(scene, machine=machine)
    assert machine.ledger().wallets == 4_900


def test_a_lost_read_is_unreachable() -> None:
    async def scene(venue: PaperVenue) -> None:
        with pytest.raises(Unreachable, match="no reply within 3000 ms"):
            await PaperAccount(venue, ALICE).snapshot()
        assert passed_ms(venue) == 3_000

    play(scene, plan=FaultPlan(read_lost=1.0))


def test_a_network_slower_than_the_timeout_never_answers() -> None:
    async def scene(venue: PaperVenue) -> None:
        with pytest.raises(Unreachable):
            await PaperAccount(venue, ALICE).snapshot()
        assert isinstance(await PaperAccount(venue, ALICE).send(ADD, "a"), Unsure)

    play(scene, plan=FaultPlan(timeout_ms=99))


def test_a_stop_endpoint_out_of_order_refuses_for_a_while() -> None:
    async def scene(venue: PaperVenue) -> None:
        account = PaperAccount(venue, ALICE)
        reply = await account.send(STOP, "a")
        assert isinstance(reply, Refused)
        assert reply.code == "-4120"
        assert await account.send(ADD, "") == Accepted()
        assert isinstance(await account.send(CancelStop(BTC, Side.LONG, "a"), "c"), Refused)

    play(scene, plan=FaultPlan(stops_refused=1.0))


# -- the store --------------------------------------------------------------------------------


class Recorder:
    """A store that remembers what was saved when."""

    def __init__(self) -> None:
        self.saved: list[str] = []

    def save(self, machine: PaperMachine) -> None:
        self.saved.append(machine.to_json())


@pytest.mark.parametrize(("action", "saves"), [(ADD, 1), (STOP, 1), (CLOSE, 1)])
def test_what_changed_is_stored_before_the_reply(action: Action, saves: int) -> None:
    store, machine = Recorder(), long_machine()
    machine.take_notices()

    async def scene(venue: PaperVenue) -> None:
        request = asyncio.ensure_future(PaperAccount(venue, ALICE).send(action, "a"))
        await venue.clock.sleep_ms(LATENCY_MS + 1)
        assert store.saved == [machine.to_json()]
        assert not request.done()
        assert await request == Accepted()
        await PaperAccount(venue, ALICE).snapshot()
        refused = AddMargin(BTC, Side.LONG, Money(D(99_999)))
        await PaperAccount(venue, ALICE).send(refused, "b")
        assert len(store.saved) == saves

    play(scene, machine=machine, store=store)


def test_a_move_that_changed_an_account_is_stored() -> None:
    store, machine = Recorder(), long_machine()
    machine.take_notices()

    async def scene(venue: PaperVenue) -> None:
        await venue.run()
        assert store.saved == [machine.to_json()]
        assert machine.snapshot(ALICE, T0).positions == ()

    play(scene, machine=machine, store=store)


def test_a_stored_venue_starts_again_where_it_was(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "exchange.json")

    async def first(venue: PaperVenue) -> None:
        assert await PaperAccount(venue, ALICE).send(STOP, "stop") == Accepted()

    async def second(venue: PaperVenue) -> None:
        await venue.clock.sleep_ms(LATENCY_MS)
        reply = await PaperAccount(venue, ALICE).send(STOP, "stop")
        assert isinstance(reply, Refused)
        assert reply.code == "-4116"

    play(first, store=store)
    loaded = store.load()
    assert isinstance(loaded, PaperMachine)

    play(second, machine=loaded, store=store)


def test_a_store_that_fails_ends_the_venue_loudly() -> None:
    class FullDisk:
        def save(self, machine: PaperMachine) -> None:
            raise OSError("no space left on device")

    async def scene(venue: PaperVenue) -> None:
        await PaperAccount(venue, ALICE).send(ADD, "a")

    with pytest.raises(OSError, match="no space left"):
        play(scene, store=FullDisk(), plan=FaultPlan(reply_lost=1.0))
