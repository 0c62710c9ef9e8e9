"""Live through ccxt, against the wire exchange: whole processes, and every fault on the way."""

import asyncio
import hashlib
import hmac
import json
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr

from bot.clock import Clock, system_wall_ms
from bot.core.model import Reported
from bot.exchange.live.connection import Loopback, connect
from bot.exchange.live.credentials import Credentials
from bot.exchange.paper.books import Cause
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.wire.mishaps import WITHOUT_EFFECT, Mishap, MishapKind
from bot.exchange.paper.wire.server import WireServer
from bot.exchange.venues.dialects import DIALECTS
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import parse_policy
from bot.runtime.assemble import assemble
from bot.runtime.verify import verify
from tests.e2e.test_process import POLICY, ROOT, liqguard, running, wait_for_log
from tests.exchange.wire.build import BTC, Client, D, exchange

LIVE = ["run", "--mode", "live", "--untested", "--no-alerts", "--policy", POLICY]
KEY = "paper-demo"
PATIENCE_S = 60
TOP_UP_AT = 56_300
"""3.7 % above the liquidation price of the position below: the top-up step of the policy."""


@dataclass(frozen=True, slots=True)
class Served:
    """A `paper serve` process, its client and its control port."""

    url: str
    control_url: str

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    def ask(self, method: str, path: str, **parameters: Any) -> Any:
        """A signed request of the account that is guarded."""
        text = urlencode({**parameters, "timestamp": system_wall_ms()})
        signed = (
            f"{text}&signature={hmac.new(b'paper', text.encode(), hashlib.sha256).hexdigest()}"
        )
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}{path}?{signed}", method=method, headers={"X-MBX-APIKEY": KEY}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return json.load(answer)

    def control(self, name: str, **parameters: Any) -> None:
        """A command to the control port."""
        body = json.dumps(parameters).encode()
        url = f"{self.control_url}/control/{name}"
        urllib.request.urlopen(url, data=body, timeout=10).close()  # noqa: S310 - loopback

    def open_long(self) -> None:
        """0.1 bitcoin from 60,000, isolated, tenfold: liquidated at 54,216.9."""
        self.ask("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
        self.ask("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=10)
        buy = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
        self.ask("POST", "/fapi/v1/order", **buy)

    def added(self) -> list[Any]:
        """The history of margin."""
        rows: list[Any] = self.ask("GET", "/fapi/v1/positionMargin/history", symbol="BTCUSDT")
        return rows

    def stops(self) -> list[Any]:
        """What waits."""
        rows: list[Any] = self.ask("GET", "/fapi/v1/openAlgoOrders")
        return rows

    def positions(self) -> list[Any]:
        """What is open."""
        rows: list[Any] = self.ask("GET", "/fapi/v3/positionRisk")
        return rows


@contextmanager
def served(state_dir: Path) -> Iterator[Served]:
    ports = ["--port", "0", "--control-port", "0"]
    with running(state_dir, ["paper", "serve", *ports, "--json"]) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        yield Served(said["url"], said["control"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


@contextmanager
def guarding(state_dir: Path, venue: Served) -> Iterator["subprocess.Popen[str]"]:
    with running(state_dir, [*LIVE, "--wire", venue.port]) as process:
        wait_for_log(process, "guard.started")
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield process


def test_a_guard_as_a_service_tells_systemd_that_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready, well, well, well, and stopping when it is asked to."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(PATIENCE_S)
        state_dir = tmp_path / "state"
        keep_keys(state_dir)
        with served(tmp_path / "venue") as venue:
            venue.open_long()
            monkeypatch.setenv("NOTIFY_SOCKET", address)
            monkeypatch.setenv("WATCHDOG_USEC", "1000000")
            with guarding(state_dir, venue) as guard:
                told = [listener.recv(64).decode() for _ in range(4)]
                assert told == ["READY=1", *["WATCHDOG=1"] * 3]
                guard.send_signal(signal.SIGTERM)
                assert guard.wait(timeout=20) == 0
                while told[-1] != "STOPPING=1":
                    told.append(listener.recv(64).decode())


def keep_keys(state_dir: Path) -> None:
    folder = state_dir / "credentials"
    folder.mkdir(parents=True)
    file = folder / "demo.json"
    file.write_text(json.dumps({"key": KEY, "secret": "paper"}), encoding="utf-8")
    file.chmod(0o600)


def until(holds: Any, what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S  # noqa: TID251 - other processes are waited for
    while not holds():
        assert time.monotonic() < end_s, what  # noqa: TID251 - as above
        time.sleep(0.1)


@pytest.mark.timeout(300)
def test_a_guard_killed_in_the_middle_of_a_top_up_spends_once_and_goes_on(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    keep_keys(state_dir)
    with served(tmp_path / "venue") as venue:
        venue.open_long()
        with guarding(state_dir, venue) as guard:
            until(venue.stops, "the standing stop")
            venue.control("fault", kind="no_reply", path="/fapi/v1/positionMargin", method="POST")
            venue.control("mark", symbol="BTCUSDT", price=TOP_UP_AT)
            until(venue.added, "the top-up")
            guard.send_signal(signal.SIGKILL)  # its reply has not come, and will not
            guard.wait(timeout=10)
        with guarding(state_dir, venue) as guard:
            until(lambda: _stop(venue) < float(venue.positions()[0]["markPrice"]), "a good stop")
            time.sleep(5)
            assert len(venue.added()) == 1
            venue.control("mark", symbol="BTCUSDT", price=52_500)
            until(lambda: not venue.positions(), "the way out")
            assert not venue.ask("GET", "/fapi/v1/forceOrders"), "it was not liquidated"
            guard.send_signal(signal.SIGTERM)
            assert guard.wait(timeout=30) == 0
            assert guard.stderr is not None
            assert KEY not in guard.stderr.read()
    assert "verified" in liqguard(state_dir, "journal", "verify", "--account", "demo").stdout
    for file in state_dir.glob("demo.db*"):
        assert KEY.encode() not in file.read_bytes()


def _stop(venue: Served) -> float:
    return max(float(each["triggerPrice"]) for each in venue.stops())


@pytest.mark.timeout(300)
def test_the_doctor_tells_a_sound_account_from_one_that_is_not(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    ask = ["doctor", "--policy", POLICY, "--json", "--wire"]
    missing = liqguard(state_dir, *ask, "1")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "expected the files" in missing.stderr
    keep_keys(state_dir)
    assert liqguard(state_dir, *ask, "1").returncode == 6
    with served(tmp_path / "venue") as venue:
        venue.open_long()
        sound = liqguard(state_dir, *ask, venue.port)
        assert sound.returncode == 0, sound.stdout + sound.stderr
        said = json.loads(sound.stdout)
        assert said["sound"]
        checks = {each["check"] for each in said["findings"]}
        assert checks == {"capabilities", "clock", "key and account", "account", "rules"}
        venue.ask("POST", "/fapi/v1/leverage", symbol="ETHUSDT", leverage=10)
        buy = {"symbol": "ETHUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
        venue.ask("POST", "/fapi/v1/order", **buy)
        cross = liqguard(state_dir, *ask[:-2], "--wire", venue.port)
        assert cross.returncode == 4
        assert "refused" in cross.stdout
        assert "ETH/USDT:USDT: expected isolated margin" in cross.stdout
        assert not venue.stops()


@pytest.mark.timeout(300)
def test_observe_sends_nothing(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    keep_keys(state_dir)
    with served(tmp_path / "venue") as venue:
        venue.open_long()
        arguments = ["run", "--mode", "observe", "--policy", POLICY, "--wire", venue.port]
        with running(state_dir, arguments) as guard:
            wait_for_log(guard, "intent.answered")
            venue.control("mark", symbol="BTCUSDT", price=TOP_UP_AT)
            wait_for_log(guard, "intent.answered")
            status = liqguard(state_dir, "status", "--account", "demo")
            assert "OBSERVE: nothing is sent" in status.stdout
            assert "spent 1h 0," in status.stdout
            guard.send_signal(signal.SIGTERM)
            assert guard.wait(timeout=30) == 0
        told = liqguard(state_dir, "explain", "--account", "demo").stdout
        assert "would have: " in told
        assert "withheld: observe: nothing is sent" in told
        assert "verified" in liqguard(state_dir, "journal", "verify", "--account", "demo").stdout
        assert not venue.stops()
        assert not venue.added()
        assert len(venue.ask("GET", "/fapi/v1/allOrders", symbol="BTCUSDT")) == 1


# -- every fault, each with a guard of its own ---------------------------------------------

FAULTS = [kind for kind in MishapKind if kind not in (*WITHOUT_EFFECT, MishapKind.LATE)]
TOP_UP_ONCE = {"/fapi/v1/positionMargin": 1}
A_WHILE_S = 5
"""Long enough for a second top-up to be on its way, were there one."""


@pytest.mark.timeout(300)
async def test_whatever_becomes_of_the_reply_a_top_up_is_spent_once(tmp_path: Path) -> None:
    """Breach, top-up whose reply goes wrong, and the stop that moves all the same."""
    async with AsyncExitStack() as stack:
        venues = [await _guarded(stack, kind, tmp_path) for kind in FAULTS]
        for hand, server in venues:
            hand.now_ms = system_wall_ms()
            hand.move(BTC, str(TOP_UP_AT))
            server.publish()
        # The stop has followed the margin, whatever became of the top-up's reply.
        await _until_all(venues, _stop_has_followed)
        await asyncio.sleep(A_WHILE_S)  # noqa: TID251 - guards of their own time are waited for
        for kind, (_, server) in zip(FAULTS, venues, strict=True):
            assert not server.mishaps.ahead, f"{kind} has been met"
            (change,) = server.exchange.machine.margin_changes("demo", BTC, 0)
            assert change.amount == D("185.05"), kind
    for kind in FAULTS:
        journal = SqliteJournal.read(tmp_path / f"{kind}.db", "demo")
        await verify(journal)
        await journal.close()


@pytest.mark.timeout(300)
async def test_whatever_becomes_of_the_request_the_way_out_is_taken(tmp_path: Path) -> None:
    """No stop is taken by the venue, and the guard's own close is lost on its way."""
    async with AsyncExitStack() as stack:
        venues = [
            await _guarded(stack, kind, tmp_path, {"/fapi/v1/order": 1}, has_effect=False)
            for kind in FAULTS
        ]
        for hand, server in venues:
            server.exchange.machine.refuse_stops = True
            hand.now_ms = system_wall_ms()
            hand.ask("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT")
            hand.move(BTC, "54500")  # 0.5 % above liquidation, within the floor of the policy
            server.publish()
        await _until_all(venues, lambda machine: bool(machine.realised("demo")))
        for kind, (_, server) in zip(FAULTS, venues, strict=True):
            assert not server.mishaps.ahead, f"{kind} has been met"
            causes = [each.cause for each in server.exchange.machine.realised("demo")]
            assert causes == [Cause.CLOSE], kind


TRIM = "      - { step: trim, below: 3.3%, for: 0s, do: partial_close, with: { fraction: 50% }, "
OUT = "      - { step: out,     below: 2.5%"
TRIM_AT = 54_000
"""3 % above the liquidation price after the top-up, and above the stop."""


@pytest.mark.timeout(300)
async def test_the_whole_course_is_run_under_every_fault_and_everything_happens_once(
    tmp_path: Path,
) -> None:
    """Breach, top-up, the stop that moves, trim: each of their replies goes wrong."""
    policy_text = (ROOT / POLICY).read_text(encoding="utf-8")
    assert OUT in policy_text
    policy_text = policy_text.replace(OUT, f"{TRIM}cooldown: 600s }}\n{OUT}")
    mishaps = {"/fapi/v1/positionMargin": 1, "/fapi/v1/algoOrder": 2, "/fapi/v1/order": 1}
    async with AsyncExitStack() as stack:
        venues = [
            await _guarded(
                stack,
                kind,
                tmp_path,
                mishaps,
                policy_text=policy_text,
            )
            for kind in FAULTS
        ]
        await _move_all(venues, TOP_UP_AT)
        await _until_all(venues, _old_stop_is_gone)
        await _move_all(venues, TRIM_AT)
        await _until_all(venues, _is_trimmed_and_stopped)
        await asyncio.sleep(A_WHILE_S)  # noqa: TID251 - guards of their own time are waited for
        for kind, (_, server) in zip(FAULTS, venues, strict=True):
            assert not server.mishaps.ahead, f"{kind} has been met"
            machine = server.exchange.machine
            assert len(machine.margin_changes("demo", BTC, 0)) == 1, kind
            assert [each.cause for each in machine.realised("demo")] == [Cause.CLOSE], kind
            assert _is_trimmed_and_stopped(machine), kind
    for kind in FAULTS:
        journal = SqliteJournal.read(tmp_path / f"{kind}.db", "demo")
        await verify(journal)
        await journal.close()


async def _move_all(venues: list[tuple[Client, WireServer]], price: int) -> None:
    for hand, server in venues:
        hand.now_ms = system_wall_ms()
        hand.move(BTC, str(price))
        server.publish()


def _is_trimmed_and_stopped(machine: PaperMachine) -> bool:
    """Half is left, and one stop of that size."""
    seen = machine.snapshot("demo", machine.at_ms)
    left, stopped = (
        [each.quantity for each in seen.positions],
        [each.quantity for each in seen.stops],
    )
    return left == stopped == [D("0.05")]


async def _until_all(
    venues: list[tuple[Client, WireServer]],
    holds: Callable[[PaperMachine], bool],
) -> None:
    """Wait until it holds on every venue; on which it does not, is said."""
    end_s = time.monotonic() + PATIENCE_S  # noqa: TID251 - guards of their own time are waited for
    while missing := [
        str(kind)
        for kind, (_, server) in zip(FAULTS, venues, strict=True)
        if not holds(server.exchange.machine)
    ]:
        assert time.monotonic() < end_s, missing  # noqa: TID251 - as above
        await asyncio.sleep(0.2)  # noqa: TID251 - as above


def _stop_has_followed(machine: PaperMachine) -> bool:
    seen = machine.snapshot("demo", machine.at_ms)
    (position,) = seen.positions
    assert isinstance(position.liquidation, Reported)
    liquidated_at = position.liquidation.price
    return any(liquidated_at < stop.trigger_price < D("54000") for stop in seen.stops)


def _old_stop_is_gone(machine: PaperMachine) -> bool:
    seen = machine.snapshot("demo", machine.at_ms)
    return bool(seen.stops) and all(stop.trigger_price < TRIM_AT for stop in seen.stops)


async def _guarded(
    stack: AsyncExitStack,
    kind: MishapKind,
    folder: Path,
    mishaps: Mapping[str, int] = TOP_UP_ONCE,
    *,
    has_effect: bool = True,
    policy_text: str = (ROOT / POLICY).read_text(encoding="utf-8"),
) -> tuple[Client, WireServer]:
    """A venue of its own with a guard, and faults for what is to come, so many a path."""
    clock = Clock(system_wall_ms())
    venue = exchange(clock.now_ms())
    server = WireServer(venue, clock, push_ms=500)
    hand = Client(venue, "demo", now_ms=clock.now_ms())
    hand.isolated()
    hand.order("BUY", "0.1")
    server.mishaps.ahead += [
        Mishap(kind, count, has_effect, "POST", path, 0) for path, count in mishaps.items()
    ]
    port, _ = await stack.enter_async_context(server.serving(0, 0))
    keys = Credentials(SecretStr(KEY), SecretStr("paper"))
    connection = await stack.enter_async_context(
        connect(DIALECTS["binanceusdm"], keys, Loopback(port), clock)
    )
    journal = SqliteJournal.open(folder / f"{kind}.db", "demo")
    policy = parse_policy(policy_text, "policy")
    guard = await assemble(policy, connection.market, connection.account, clock, journal)
    tasks = await stack.enter_async_context(asyncio.TaskGroup())
    tasks.create_task(guard.run())
    stack.callback(guard.stop)
    return hand, server
