"""Paper at a venue's prices of now, without a key: the wire exchange stands in for the venue."""

import asyncio
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from bot.clock import Clock, system_wall_ms
from bot.core.model import PositionMode, Reported, Side
from bot.core.units import Money
from bot.exchange.live.connection import Loopback, watch
from bot.exchange.paper.books import Cause
from bot.exchange.paper.following import SILENT_MS, Followed
from bot.exchange.paper.ladders import WHOLE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.store import MemoryOnly
from bot.exchange.paper.venue import PaperVenue
from bot.exchange.paper.wire.server import WireServer
from bot.exchange.venues.dialects import DIALECTS
from bot.exchange.venues.keyless import DOCUMENTS
from bot.live_paper import SharedMarket, live_on
from bot.rehearsal.setups import SLIPPAGE, ByMargin, Entry, open_positions
from tests.e2e.test_process import POLICY, ROOT, liqguard, running, saved, status, wait_for_log
from tests.e2e.test_wire import TOP_UP_AT, Served, served, until
from tests.exchange.live.wired import until as soon
from tests.exchange.wire.build import BTC, Client, exchange

RUN = ["run", "--mode", "paper", "--policy", POLICY, "--symbol", BTC]


@contextmanager
def guarding(state_dir: Path, venue: Served) -> Iterator["subprocess.Popen[str]"]:
    with running(state_dir, [*RUN, "--wire", venue.port]) as process:
        wait_for_log(process, "guard.started")
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield process


def margins(state_dir: Path) -> list[Decimal]:
    """What was added to the position, by the exchange's books."""
    return [each.amount for each in saved(state_dir).margin_changes("demo", BTC, 0)]


def resting(state_dir: Path) -> list[Decimal]:
    machine = saved(state_dir)
    return [each.trigger_price for each in machine.snapshot("demo", machine.at_ms).stops]


@pytest.mark.timeout(300)
def test_a_policy_is_lived_at_the_venue_s_prices_through_a_death(tmp_path: Path) -> None:
    """Breach, top-up, the stop that moves; killed, begun again, and stopped out on the way."""
    state_dir = tmp_path / "state"
    with served(tmp_path / "venue") as venue:
        with guarding(state_dir, venue) as guard:
            until(lambda: resting(state_dir), "the standing stop")
            (first,) = resting(state_dir)
            venue.control("mark", symbol="BTCUSDT", price=TOP_UP_AT)
            until(lambda: margins(state_dir), "the top-up")
            until(lambda: len(resting(state_dir)) == 1 and resting(state_dir)[0] < first, "a move")
            guard.send_signal(signal.SIGKILL)
            guard.wait(timeout=10)
        spent = margins(state_dir)
        with guarding(state_dir, venue) as guard:
            (position,) = status(state_dir)["positions"]
            assert position["stop"] == "rests"
            guard.send_signal(signal.SIGKILL)
            guard.wait(timeout=10)
        venue.control("mark", symbol="BTCUSDT", price=53_000)
        with guarding(state_dir, venue) as guard:
            # Nobody saw the price fall: it went there in a straight line, and met the stop.
            until(lambda: saved(state_dir).realised("demo"), "the stop")
            guard.send_signal(signal.SIGTERM)
            out, _ = guard.communicate(timeout=30)
        assert guard.returncode == 0
        assert "0 open" in out
    machine = saved(state_dir)
    assert [each.cause for each in machine.realised("demo")] == [Cause.STOP]
    assert margins(state_dir) == spent
    assert "verified" in liqguard(state_dir, "journal", "verify", "--account", "demo").stdout


@pytest.mark.timeout(300)
def test_where_no_price_comes_nothing_happens_and_then_it_goes_on(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with served(tmp_path / "venue") as venue, guarding(state_dir, venue) as guard:
        until(lambda: resting(state_dir), "the standing stop")
        venue.control("streams", do="stall")
        venue.control("fault", kind="html_502", count=10_000, path="/fapi")
        wait_for_log(guard, "account.unreachable")
        (position,) = status(state_dir)["positions"]
        assert position["mark_age_ms"] >= SILENT_MS, "the guard sees how old the price is"
        # Far below the stop and liquidation, and back, while nobody can know of it.
        venue.control("mark", symbol="BTCUSDT", price=40_000)
        time.sleep(5)
        venue.control("mark", symbol="BTCUSDT", price=TOP_UP_AT)
        assert saved(state_dir).realised("demo") == ()
        venue.control("streams", do="resume")
        calm(venue)
        until(lambda: margins(state_dir), "the top-up")
        assert saved(state_dir).realised("demo") == ()
        guard.send_signal(signal.SIGTERM)
        assert guard.wait(timeout=30) == 0


def calm(venue: Served) -> None:
    """Let nothing go wrong any more."""
    url = f"{venue.control_url}/control/fault"
    request = urllib.request.Request(url, method="DELETE")  # noqa: S310 - loopback
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - loopback


async def test_who_has_no_guard_is_liquidated_at_the_venue_s_mark() -> None:
    clock = Clock(system_wall_ms())
    hand = Client(exchange(clock.now_ms()), now_ms=clock.now_ms())
    server = WireServer(hand.exchange, clock, push_ms=100)

    def move(price: Decimal) -> None:
        hand.now_ms = clock.now_ms()
        hand.move(BTC, str(price))
        server.publish()

    async with (
        server.serving(0, 0) as (port, _),
        watch(
            DIALECTS["binanceusdm"].market, DOCUMENTS["binanceusdm"], Loopback(port), clock
        ) as watched,
    ):
        market = watched.market
        machine = PaperMachine(await market.instruments((BTC,)), SLIPPAGE, ladder=WHOLE)
        followed = Followed([BTC], {}, clock)
        shared = SharedMarket(market, machine.instruments, followed)
        venue = PaperVenue(
            machine, followed, clock, latency_ms=1, store=MemoryOnly(), faults=followed
        )
        async with asyncio.TaskGroup() as tasks:
            streaming = tasks.create_task(market.stream(shared.tell))
            living = tasks.create_task(live_on(venue, followed, MemoryOnly()))
            await soon(lambda: BTC in machine.quotes)
            entry = Entry(BTC, Side.LONG, Decimal(10), ByMargin(Money(Decimal(600))))
            mode, reserve = PositionMode.ONE_WAY, Money(Decimal(0))
            venue.at_now(lambda at, _: open_positions([entry], reserve, mode, at, "alice"))
            (position,) = machine.snapshot("alice", machine.at_ms).positions
            assert isinstance(position.liquidation, Reported)
            there = position.liquidation.price
            move(there + 10)
            await soon(lambda: machine.quotes[BTC].mark == there + 10)
            assert machine.realised("alice") == ()
            move(Decimal(there - 10))
            await soon(lambda: machine.realised("alice"))
            assert [each.cause for each in machine.realised("alice")] == [Cause.LIQUIDATION]
            streaming.cancel()
            living.cancel()


@pytest.mark.timeout(120)
def test_what_cannot_be_watched_is_one_sentence(tmp_path: Path) -> None:
    policy = tmp_path / "apex.yaml"
    text = (ROOT / POLICY).read_text(encoding="utf-8")
    policy.write_text(text.replace("venue: binanceusdm", "venue: apex"), encoding="utf-8")
    nowhere = liqguard(tmp_path / "state", *RUN, "--wire", "1")
    assert (nowhere.returncode, nowhere.stdout) == (6, "")
    assert nowhere.stderr.count("\n") == 1
    other = [str(policy) if each == POLICY else each for each in RUN]
    refused = liqguard(tmp_path / "state", *other, "--wire", "1")
    assert refused.returncode == 3
    assert "expected one whose contracts are known without a key" in refused.stderr
    with served(tmp_path / "venue") as venue:
        unlisted = liqguard(tmp_path / "state", *RUN[:-1], "NOPE/USDT:USDT", "--wire", venue.port)
        assert unlisted.returncode == 3
        assert unlisted.stderr == ("NOPE/USDT:USDT: expected a contract that binanceusdm lists\n")
