"""
A day of a live guard, in minutes: frames, reads, reconnects, renewed keys, bills, and things that
go wrong. Nothing may grow, and no stream may be stuck.

    make day HOURS=24
    python -m tests.faults.day --hours 24 --paper

The guard is the process of `run --mode live`, whole, with ccxt's class, real sockets and its
journal on disk; with `--paper` it is `run --mode paper` at that venue's prices, without a key. The
venue is the wire exchange. Both live on one event loop whose time is compressed, and so do the
wall clock that requests are dated by and the one that reads are throttled by: a second is a second
to everybody, and takes as long as the work in it.
"""

import argparse
import asyncio
import gc
import os
import selectors
import signal
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from asyncio_throttle import throttler
from ccxt.base.exchange import BaseExchange
from pydantic import SecretStr

from bot import live, live_paper
from bot.app import NOBODY, LiveMode
from bot.clock import Clock
from bot.core.model import Reported, Side
from bot.core.units import Money, Price, Ratio
from bot.exchange.live import account, connection
from bot.exchange.live.connection import Loopback
from bot.exchange.live.credentials import Credentials
from bot.exchange.paper.books import FundingPaid
from bot.exchange.paper.ladders import BINANCE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.hub import Goodbye, Listener
from bot.exchange.paper.wire.mishaps import WITHOUT_EFFECT, Mishap, MishapKind
from bot.exchange.paper.wire.request import Answer, Request
from bot.exchange.paper.wire.server import WireServer
from bot.exchange.paper.wire.sources import ByHand
from bot.exchange.venues import binanceusdm
from bot.logs import configure
from bot.rehearsal.setups import ByMargin, Entry
from bot.runtime.control import ask, socket_path
from tests.exchange.wire.build import BTC, ETH, Client

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "config" / "policies" / "demo.yaml"
ACCOUNT = "demo"
START_MS = 1_700_000_000_000
GRACE_S = 0.0003
"""How long a socket may take, in truth, to show what was written to its other end."""

HOUR_MS = 3_600_000
KEYS = Credentials(SecretStr(f"paper-{ACCOUNT}"), SecretStr("paper"))

STEP_MS = 5_000
"""How often the prices move."""

LOOK_MS = 10_000
"""How often the guard is asked how it is, over its socket."""

STUCK_MS = 40_000
"""
A mark price older than this is that of a stream that nobody misses: 5 s of silence, a second's
wait, reads of 5 s that may get no answer a few times, and as much again where two mishaps meet.
"""

NAKED_MS = 60_000
"""As long a position may have no stop: its request, or the proof of it, may have met a mishap."""

STALL_MS = 90_000
"""How long streams say nothing, now and then, and are not closed."""

KEYLESS_MS = 25 * 60_000
"""A key to listen with that is gone is noticed when it is renewed, every 20 minutes."""

DEAF_MS = 60_000
"""How long an alarm of the account may take to bring a read: a calm account is read in 30 s."""

READ_KINDS = tuple(
    kind
    for kind in MishapKind
    if kind not in WITHOUT_EFFECT and kind is not MishapKind.THROTTLED_1008
)
VENUE = ("bot/exchange/paper/", "tests/")
WARM_UP_H = 2
BLOCKS_PER_H_MAX = 2_500
"""
Blocks of memory that may be more after an hour. The venue keeps four bars a minute, of some five
blocks each: 1,200. An object a frame would be 7,000 more.
"""

PER_HOUR_MAX = {"blocks": BLOCKS_PER_H_MAX, "rss_kib": 2_048}
"""By how much it may grow an hour. Resident memory goes by pages: blocks tell of a leak first."""

IN_ALL_MAX = {"tasks": 8, "files": 10}
"""
By how much from the end of the warm-up to the end of the day: what is in flight at a full hour
differs by a few, and one that is left behind at each reconnect is some twenty more in a day.
"""

UNITS = {"blocks": "", "rss_kib": " KiB", "tasks": "", "files": ""}


class PatientSelector(selectors.SelectSelector):
    """
    Lets time pass once no socket has anything more to say, and then to the next timer at once.

    `rehearsal.loop` does not wait for sockets at all: there a reply would take as long as it is
    to the next timer.
    """

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        ready = super().select(GRACE_S)
        if not ready and timeout is not None:
            self.now_s += timeout
        return ready


class CompressedLoop(asyncio.SelectorEventLoop):
    """`time()` is how long the timers of this loop have waited, together."""

    def __init__(self) -> None:
        self._patient = PatientSelector()
        super().__init__(self._patient)

    def time(self) -> float:
        return self._patient.now_s


@dataclass(slots=True)
class Measured:
    """How much memory there is to an hour."""

    hour: int
    rss_kib: int
    blocks: int
    tasks: int
    files: int


@dataclass(slots=True)
class Diary:
    """What was seen of a day."""

    counts: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    measured: list[Measured] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    oldest_mark_ms: int = 0
    grown: list[str] = field(default_factory=list)


class CountingServer(WireServer):
    """The wire exchange, which counts what it is asked."""

    def __init__(self, exchange: WireExchange, clock: Clock, diary: Diary) -> None:
        super().__init__(exchange, clock, push_ms=1_000)
        self._diary = diary

    def _answer(self, asked: Request) -> Answer:
        self._diary.paths[f"{asked.method} {asked.path}"] += 1
        return super()._answer(asked)


class Day:
    """The venue, its weather, and whoever looks at the guard meanwhile."""

    def __init__(self, hours: int, seed: int, *, trace: bool, paper: bool) -> None:
        self.diary = Diary()
        self._paper = paper
        self._hours = hours
        self._random = Random(seed)
        self._trace = trace

    async def live(self, folder: Path) -> None:
        """All of it."""
        self.clock = Clock(START_MS)
        machine = PaperMachine(
            [binanceusdm.instruments()[each] for each in (BTC, ETH)],
            Ratio(Decimal("0.0005")),
            ladder=BINANCE,
        )
        begin = {BTC: Decimal(60_000), ETH: Decimal(3_000)}
        machine.move(START_MS, {each: Prices(Price(at), Price(at)) for each, at in begin.items()})
        source = ByHand(machine, Ratio(Decimal("0.0001")))
        venue = WireExchange(machine, source, Money(Decimal(100_000)))
        self.server = CountingServer(venue, self.clock, self.diary)
        self.hand = Client(venue, ACCOUNT, now_ms=START_MS)
        self.folder = folder
        self._reopen()
        async with self.server.serving(0, 0) as (port, _), asyncio.TaskGroup() as tasks:
            guarding = tasks.create_task(self._paper_run(port) if self._paper else self._run(port))
            while not socket_path(folder, ACCOUNT).exists():
                await self.clock.sleep_ms(100)
            others = [
                tasks.create_task(each)
                for each in (
                    self._prices(),
                    self._mishaps(),
                    self._look(),
                    *([] if self._paper else [self._look_at_account(), self._alarms()]),
                )
            ]
            await self._measure()
            for each in others:
                each.cancel()
            os.kill(os.getpid(), signal.SIGTERM)
            await guarding

    async def _run(self, port: int) -> None:
        keys = live.LiveKeys(KEYS, accept_unverified=False)
        route = Loopback(port)
        await live._run_live(POLICY, keys, self.folder, LiveMode.LIVE, route, NOBODY)

    async def _paper_run(self, port: int) -> None:
        margin = ByMargin(Money(Decimal(1_000)))
        entries = tuple(Entry(each, Side.LONG, Decimal(10), margin) for each in (BTC, ETH))
        reserve, route = Money(Decimal(1_000)), Loopback(port)
        ended = await live_paper._run(POLICY, entries, reserve, self.folder, route, NOBODY)
        self.diary.counts["deeds on paper"] = len(ended.deeds)
        self.diary.counts["open on paper"] = ended.positions

    # -- weather ---------------------------------------------------------------------------

    async def _prices(self) -> None:
        """A walk that comes back to where it began, and a slump of bitcoin every two hours."""
        home = {BTC: Decimal(60_000), ETH: Decimal(3_000)}
        at = dict(home)
        slump_ms = START_MS + HOUR_MS // 2
        while True:
            await self.clock.sleep_ms(STEP_MS)
            for symbol, begun in home.items():
                step = Decimal(self._random.gauss(0, 0.0003)).quantize(Decimal("0.000001"))
                back = (begun - at[symbol]) / begun / 200
                at[symbol] = (at[symbol] * (1 + step + back)).quantize(Decimal("0.1"))
                self._move(symbol, at[symbol])
            if self.clock.now_ms() >= slump_ms:
                slump_ms += 2 * HOUR_MS
                at[BTC] = await self._slump(at[BTC])
            self._reopen()

    async def _slump(self, price: Decimal) -> Decimal:
        """To where the policy tops up, in a minute, and back."""
        held = [each for each in self._held() if each.symbol == BTC]
        if held and isinstance(held[0].liquidation, Reported):
            bottom = (held[0].liquidation.price * Decimal("1.038")).quantize(Decimal("0.1"))
            for part in (*range(1, 13), *[12] * 4, *range(11, -1, -1)):
                await self.clock.sleep_ms(STEP_MS)
                there = price + (bottom - price) * part / 12
                self._move(BTC, there.quantize(Decimal("0.1")))
            self.diary.counts["slumps"] += 1
        return price

    async def _mishaps(self) -> None:
        """Every few minutes of every third hour something happens to answers, streams or keys."""
        hub, number = self.server.hub, 0
        while True:
            passed_ms = self.clock.now_ms() - START_MS
            if passed_ms // HOUR_MS % 3:
                self.server.mishaps.ahead.clear()
                await self.clock.sleep_ms(HOUR_MS - passed_ms % HOUR_MS)
                continue
            await self.clock.sleep_ms(self._random.randrange(60_000, 300_000))
            number += 1
            match number % 6:
                case 0:
                    hub.close_all()
                    self.diary.counts["streams dropped"] += 1
                case 1:
                    hub.stalled = True
                    await self.clock.sleep_ms(STALL_MS)
                    hub.stalled = False
                    self.diary.counts["streams stalled"] += 1
                case 2 if number % 4 == 0:
                    self.server.exchange.expire_listen_keys(ACCOUNT)
                    self.diary.counts["listen keys expired"] += 1
                case _:
                    kind = self._random.choice(READ_KINDS)
                    count = self._random.randrange(1, 4)
                    method = self._random.choice(("GET", "POST"))
                    ahead = self.server.mishaps.ahead
                    ahead.append(Mishap(kind, count, True, method, "/fapi", 1_500))
                    self.diary.counts["answers gone wrong"] += count

    async def _alarms(self) -> None:
        """Money comes in, which is told on the account's stream: the account is read soon."""
        asked = "GET /fapi/v3/account"
        while True:
            await self.clock.sleep_ms(601_000)
            self.hand.now_ms = self.clock.now_ms()
            before, at_ms = self.diary.paths[asked], self.clock.now_ms()
            self.server.exchange.pay_in(ACCOUNT, "USDT", Decimal(1))
            self.server.publish()
            while self.diary.paths[asked] == before:
                if self.clock.now_ms() - at_ms > DEAF_MS:
                    self._wrong("an alarm brought no read")
                    break
                await self.clock.sleep_ms(100)
            self.diary.counts["alarms"] += 1

    # -- what is looked at -----------------------------------------------------------------

    async def _look(self) -> None:
        while True:
            await self.clock.sleep_ms(LOOK_MS)
            told = await ask(socket_path(self.folder, ACCOUNT), {"ask": "status"})
            self.diary.counts["looks"] += 1
            for position in told["positions"]:
                symbol, age_ms = position["symbol"], position.get("mark_age_ms", 0)
                self.diary.oldest_mark_ms = max(self.diary.oldest_mark_ms, age_ms)
                if age_ms > STUCK_MS:
                    self._wrong(f"{symbol}: the mark is {age_ms} ms old")

    async def _look_at_account(self) -> None:
        naked_since: dict[str, int] = {}
        heard_ms = self.clock.now_ms()
        while True:
            await self.clock.sleep_ms(LOOK_MS)
            now_ms = self.clock.now_ms()
            if self._listens():
                heard_ms = now_ms
            elif now_ms - heard_ms > KEYLESS_MS:
                self._wrong("no key to listen with is alive")
            stopped = {each.symbol for each in self._stops()}
            for position in self._held():
                if position.symbol in stopped:
                    naked_since.pop(position.symbol, None)
                elif now_ms - naked_since.setdefault(position.symbol, now_ms) > NAKED_MS:
                    self._wrong(f"{position.symbol}: without a stop")

    async def _measure(self) -> None:
        """Once an hour, at rest."""
        for hour in range(1, self._hours + 1):
            await self.clock.sleep_until_ms(START_MS + hour * HOUR_MS)
            gc.collect()
            rss_kib = int(Path("/proc/self/statm").read_text().split()[1]) * 4
            files = len(os.listdir("/proc/self/fd"))
            tasks = len(asyncio.all_tasks())
            blocks = sys.getallocatedblocks()
            self.diary.measured.append(Measured(hour, rss_kib, blocks, tasks, files))
            print(self.diary.measured[-1], flush=True)  # noqa: T201 - a report
            if self._trace and hour == 1:
                tracemalloc.start()  # what goes round is known by the end of the warm-up
            if self._trace and hour == WARM_UP_H:
                before = tracemalloc.take_snapshot()
        if self._trace:
            gc.collect()
            grown = tracemalloc.take_snapshot().compare_to(before, "filename")
            self.diary.grown = [str(each) for each in grown[:25]]
            for whose, is_venue in (("the venue and its prices", True), ("all else", False)):
                more = sum(
                    each.size_diff
                    for each in grown
                    if any(part in each.traceback[0].filename for part in VENUE) is is_venue
                )
                self.diary.grown.append(f"{whose}: {more / 1024:+,.0f} KiB")

    # -- shorthand -------------------------------------------------------------------------

    def _wrong(self, sentence: str) -> None:
        hours = (self.clock.now_ms() - START_MS) / HOUR_MS
        self.diary.wrong.append(f"{hours:.3f} h: {sentence}")

    def _move(self, symbol: str, price: Decimal) -> None:
        self.hand.now_ms = max(self.clock.now_ms(), self.server.exchange.machine.at_ms)
        self.hand.move(symbol, str(price))

    def _held(self) -> Any:
        machine = self.server.exchange.machine
        return machine.snapshot(ACCOUNT, machine.at_ms).positions

    def _stops(self) -> Any:
        machine = self.server.exchange.machine
        return machine.snapshot(ACCOUNT, machine.at_ms).stops

    def _listens(self) -> bool:
        exchange, now_ms = self.server.exchange, self.clock.now_ms()
        keys = {key for each in self.server.hub.listeners for key in each.accounts.values()}
        return any(exchange.listener(key, now_ms) is not None for key in keys)

    def _reopen(self) -> None:
        """What was closed is opened again."""
        self.hand.now_ms = max(self.clock.now_ms(), self.server.exchange.machine.at_ms)
        open_now = {each.symbol for each in self._held()} if self.server.exchange.accounts else ()
        for name, symbol, side, quantity in (
            ("BTCUSDT", BTC, Side.LONG, "0.1"),
            ("ETHUSDT", ETH, Side.SHORT, "1"),
        ):
            if symbol in open_now:
                continue
            self.hand.isolated(symbol=name)
            buys = "BUY" if side is Side.LONG else "SELL"
            order = {"symbol": name, "side": buys, "type": "MARKET", "quantity": quantity}
            self.hand.ask("POST", "/fapi/v1/order", **order)
            self.diary.counts["positions opened"] += 1
            self.hand.answers.clear()


@contextmanager
def compressed(diary: Diary) -> Iterator[None]:
    """Let every clock that a live guard reads be the loop's, and count the frames."""

    def now_s() -> float:
        return asyncio.get_running_loop().time()

    def wall_ms() -> int:
        return START_MS + round(now_s() * 1000)

    put = Listener.put

    def counted(listener: Listener, message: str | Goodbye) -> None:
        if isinstance(message, str):
            diary.counts["frames"] += 1
        put(listener, message)

    with ExitStack() as stack:
        for module in (live, live_paper, account, connection):
            stack.enter_context(patch.object(module, "system_wall_ms", wall_ms))
        stack.enter_context(patch.object(BaseExchange, "milliseconds", staticmethod(wall_ms)))
        clock = SimpleNamespace(monotonic=now_s)
        stack.enter_context(patch.object(throttler, "time", clock))
        stack.enter_context(patch.object(Listener, "put", counted))
        yield


def slope(measured: list[Measured], name: str) -> float:
    """How much more of it there is after an hour, by least squares."""
    hours = [each.hour for each in measured]
    values = [getattr(each, name) for each in measured]
    middle, level = sum(hours) / len(hours), sum(values) / len(values)
    spread = sum((hour - middle) ** 2 for hour in hours)
    together = zip(hours, values, strict=True)
    return float(sum((hour - middle) * (value - level) for hour, value in together) / spread)


def grown(measured: list[Measured]) -> list[str]:
    """What has become more than it may, a sentence each; of one hour nothing can be said."""
    if len(measured) < 2:
        return []
    hours = measured[-1].hour - measured[0].hour
    slopes = {name: slope(measured, name) for name in UNITS}
    return [
        *(
            f"{name}: expected at most {most} more an hour, was {slopes[name]:,.1f}"
            for name, most in PER_HOUR_MAX.items()
            if slopes[name] > most
        ),
        *(
            f"{name}: expected at most {most} more in {hours} h, was {slopes[name] * hours:,.1f}"
            for name, most in IN_ALL_MAX.items()
            if slopes[name] * hours > most
        ),
    ]


def report(day: Day, hours: int) -> int:
    """Print what was seen; 0 if nothing grew and nothing was stuck."""
    diary, machine = day.diary, day.server.exchange.machine
    settled = Counter(
        type(each).__name__
        for each in machine.history(ACCOUNT, 0)
        if isinstance(each, FundingPaid)
    )
    paths = diary.paths
    diary.counts["requests"] = sum(paths.values())
    diary.counts["bills paid"] = settled["FundingPaid"]
    diary.counts["listen keys made"] = paths["POST /fapi/v1/listenKey"]
    diary.counts["listen keys renewed"] = paths["PUT /fapi/v1/listenKey"]
    diary.counts["account reads"] = paths["GET /fapi/v3/account"]
    diary.counts["stops placed"] = paths["POST /fapi/v1/algoOrder"]
    diary.counts["margin added"] = paths["POST /fapi/v1/positionMargin"]
    causes = Counter(str(each.cause) for each in machine.realised(ACCOUNT))
    for name, count in sorted((diary.counts + causes).items()):
        print(f"{count:>9,}  {name}")  # noqa: T201 - a report
    print(f"oldest mark: {diary.oldest_mark_ms / 1000:.1f} s")  # noqa: T201 - as above
    settled_in = [each for each in diary.measured if each.hour >= min(WARM_UP_H, hours - 2)]
    for name, unit in UNITS.items():
        if len(settled_in) > 1:
            print(f"{name}: {slope(settled_in, name):+,.1f}{unit} an hour")  # noqa: T201
    for line in diary.grown:
        print(line)  # noqa: T201 - as above
    diary.wrong += grown(settled_in)
    for sentence in diary.wrong:
        print(f"WRONG  {sentence}")  # noqa: T201 - as above
    print(f"{hours} h lived through, {len(diary.wrong)} wrong")  # noqa: T201 - as above
    return bool(diary.wrong)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--hours", type=int, default=24)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--trace", action="store_true", help="what grew, by file; slow")
    asked.add_argument("--paper", action="store_true", help="on paper at these prices")
    options = asked.parse_args()
    day = Day(options.hours, options.seed, trace=options.trace, paper=options.paper)
    with (
        tempfile.TemporaryDirectory() as folder,
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        compressed(day.diary),
        asyncio.Runner(loop_factory=CompressedLoop) as runner,
    ):
        configure("json", "error", nowhere, is_terminal=False)
        runner.run(day.live(Path(folder)))
    return report(day, options.hours)


if __name__ == "__main__":
    sys.exit(main())
