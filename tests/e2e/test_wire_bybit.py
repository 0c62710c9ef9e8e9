"""Live through ccxt, in Bybit's words: whole processes, and every fault on the way."""

import asyncio
import hashlib
import hmac
import json
import signal
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr

from bot.clock import Clock, system_wall_ms
from bot.core.model import Reported, Side
from bot.exchange.live.connection import Loopback, connect
from bot.exchange.live.credentials import Credentials
from bot.exchange.paper.books import Cause
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.wire.bybit.routes import answer
from bot.exchange.paper.wire.mishaps import Mishap, MishapKind
from bot.exchange.paper.wire.request import Request
from bot.exchange.paper.wire.server import WireServer
from bot.exchange.venues.dialects import DIALECTS
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import parse_policy
from bot.runtime.assemble import assemble
from bot.runtime.verify import verify
from tests.e2e.test_process import POLICY, ROOT, liqguard, running, wait_for_log
from tests.e2e.test_wire import (
    A_WHILE_S,
    FAULTS,
    KEY,
    PATIENCE_S,
    TOP_UP_AT,
    TRIM_AT,
    keep_keys,
    served,
    until,
)
from tests.exchange.wire.build import BTC, Client, D, exchange

ACCOUNT = "bybit:demo"
OUT = "      - { step: out,     below: 2.5%"
TRIM = "      - { step: trim, below: 3.3%, for: 0s, do: partial_close, with: { fraction: 50% }, "


def policy_text() -> str:
    """The demo policy, on this venue, with a step that trims."""
    text = (ROOT / POLICY).read_text(encoding="utf-8")
    assert OUT in text
    text = text.replace("venue: binanceusdm", "venue: bybit")
    return text.replace(OUT, f"{TRIM}cooldown: 600s }}\n{OUT}")


def signed(method: str, path: str, **fields: Any) -> Request:
    """A request of the account that is guarded, signed as the venue's manual says."""
    sent = {"category": "linear"} | fields
    query = urlencode(sent) if method == "GET" else ""
    body = json.dumps(sent) if method == "POST" else ""
    at = str(system_wall_ms())
    text = f"{at}{KEY}5000{query}{body}"
    headers = {
        "X-BAPI-API-KEY": KEY,
        "X-BAPI-TIMESTAMP": at,
        "X-BAPI-RECV-WINDOW": "5000",
        "X-BAPI-SIGN": hmac.new(b"paper", text.encode(), hashlib.sha256).hexdigest(),
    }
    return Request(method, path, query, body, "", "127.0.0.1", headers)


def over_http(url: str, request: Request) -> Any:
    """Its answer, by a server of another process."""
    asked = urllib.request.Request(  # noqa: S310 - loopback
        f"{url}{request.path}?{request.query}",
        data=request.body.encode() or None,
        method=request.method,
        headers=request.headers,
    )
    with urllib.request.urlopen(asked, timeout=10) as heard:  # noqa: S310 - loopback
        said = json.load(heard)
    assert said["retCode"] == 0, said
    return said["result"]


Opening: TypeAlias = tuple[tuple[str, dict[str, Any]], ...]

OPENING: Opening = (
    ("/v5/account/set-margin-mode", {"setMarginMode": "ISOLATED_MARGIN"}),
    (
        "/v5/position/set-leverage",
        {"symbol": "BTCUSDT", "buyLeverage": "10", "sellLeverage": "10"},
    ),
    (
        "/v5/order/create",
        {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.1"},
    ),
)
"""A long of 0.1 bitcoin from 60,000, isolated, tenfold: liquidated at 54,216.9."""


@pytest.mark.timeout(300)
def test_a_guard_tops_up_moves_its_stop_trims_and_goes_out_in_bybits_words(
    tmp_path: Path,
) -> None:
    state_dir, file = tmp_path / "state", tmp_path / "policy.yaml"
    keep_keys(state_dir)
    file.write_text(policy_text(), encoding="utf-8")
    with served(tmp_path / "venue") as venue:
        for path, fields in OPENING:
            over_http(venue.url, signed("POST", path, **fields))

        def rows(path: str, **fields: Any) -> list[Any]:
            found = over_http(venue.url, signed("GET", path, **fields))["list"]
            assert isinstance(found, list)
            return found

        def held() -> list[Any]:
            return rows("/v5/position/list", settleCoin="USDT")

        def stops() -> list[Decimal]:
            found = rows("/v5/order/realtime", symbol="BTCUSDT", orderFilter="StopOrder")
            assert {each["triggerBy"] for each in found} <= {"MarkPrice"}
            return [D(each["triggerPrice"]) for each in found]

        doctor = liqguard(
            state_dir, "doctor", "--policy", str(file), "--json", "--wire", venue.port
        )
        assert json.loads(doctor.stdout)["sound"], doctor.stdout
        live = ["run", "--mode", "live", "--untested", "--no-alerts", "--policy", str(file)]
        live += ["--wire", venue.port]
        with running(state_dir, live) as guard:
            wait_for_log(guard, "guard.started")
            until(stops, "the standing stop")
            (first,) = stops()
            venue.control("mark", symbol="BTCUSDT", price=TOP_UP_AT)
            until(lambda: D(held()[0]["positionIM"]) > 600, "the top-up")
            added = D(held()[0]["positionIM"]) - 600
            until(lambda: len(stops()) == 1 and stops()[0] < first, "the stop that moves")
            venue.control("mark", symbol="BTCUSDT", price=TRIM_AT)
            until(lambda: D(held()[0]["size"]) == D("0.05"), "the trim")
            venue.control("mark", symbol="BTCUSDT", price=52_500)
            until(lambda: not held(), "the way out")
            guard.send_signal(signal.SIGTERM)
            assert guard.wait(timeout=30) == 0
            assert guard.stderr is not None
            assert KEY not in guard.stderr.read()
        assert 0 < added <= 250
        executed = {each["execType"] for each in rows("/v5/execution/list", symbol="BTCUSDT")}
        assert executed == {"Trade"}, "it was not liquidated"
    assert "verified" in liqguard(state_dir, "journal", "verify", "--account", "demo").stdout
    for journal in state_dir.glob("demo.db*"):
        assert KEY.encode() not in journal.read_bytes()


# -- every fault, each with a guard of its own ---------------------------------------------

Venues = list[tuple[Client, WireServer]]
MISHAPS = {"/v5/position/add-margin": 1, "/v5/order/create": 3, "/v5/order/cancel": 1}
"""The first stop, the top-up, the stop that moves, the old one's end, and the trim."""


@pytest.mark.timeout(300)
async def test_the_whole_course_is_run_under_every_fault_and_everything_happens_once(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        venues = [await _guarded(stack, kind, tmp_path) for kind in FAULTS]
        await _until_all(venues, lambda machine: bool(_seen(machine).stops))
        _move_all(venues, TOP_UP_AT)
        await _until_all(venues, _old_stop_is_gone)
        _move_all(venues, TRIM_AT)
        await _until_all(venues, _is_trimmed_and_stopped)
        await asyncio.sleep(A_WHILE_S)  # noqa: TID251 - guards of their own time are waited for
        for kind, (_, server) in zip(FAULTS, venues, strict=True):
            assert not server.mishaps.ahead, f"{kind} has been met"
            machine = server.exchange.machine
            (change,) = machine.margin_changes(ACCOUNT, BTC, 0)
            assert 0 < change.amount <= 250, kind
            assert [each.cause for each in machine.realised(ACCOUNT)] == [Cause.CLOSE], kind
            assert _is_trimmed_and_stopped(machine), kind
    for kind in FAULTS:
        journal = SqliteJournal.read(tmp_path / f"{kind}.db", "demo")
        await verify(journal)
        await journal.close()


def _seen(machine: PaperMachine) -> Any:
    return machine.snapshot(ACCOUNT, machine.at_ms)


def _old_stop_is_gone(machine: PaperMachine) -> bool:
    stops = _seen(machine).stops
    return bool(stops) and all(stop.trigger_price < TRIM_AT for stop in stops)


def _is_trimmed_and_stopped(machine: PaperMachine) -> bool:
    """Half is left, and one stop of that size."""
    seen = _seen(machine)
    left = [each.quantity for each in seen.positions]
    return left == [each.quantity for each in seen.stops] == [D("0.05")]


def _move_all(venues: Venues, price: int) -> None:
    for hand, server in venues:
        hand.now_ms = system_wall_ms()
        hand.move(BTC, str(price))
        server.publish()


async def _until_all(venues: Venues, holds: Callable[[PaperMachine], bool]) -> None:
    """Wait until it holds on every venue; on which it does not, is said."""
    end_s = time.monotonic() + PATIENCE_S  # noqa: TID251 - guards of their own time are waited for
    while missing := [
        str(kind)
        for kind, (_, server) in zip(FAULTS, venues, strict=True)
        if not holds(server.exchange.machine)
    ]:
        assert time.monotonic() < end_s, missing  # noqa: TID251 - as above
        await asyncio.sleep(0.2)  # noqa: TID251 - as above


async def _guarded(
    stack: AsyncExitStack, kind: MishapKind, folder: Path
) -> tuple[Client, WireServer]:
    """A venue of its own with a guard, and faults for what is to come, so many a path."""
    mishaps = [Mishap(kind, count, True, "POST", path, 0) for path, count in MISHAPS.items()]
    return await _at_work(stack, folder / f"{kind}.db", OPENING, policy_text(), mishaps)


async def _at_work(
    stack: AsyncExitStack,
    file: Path,
    opening: Opening,
    text: str,
    mishaps: Iterable[Mishap] = (),
) -> tuple[Client, WireServer]:
    clock = Clock(system_wall_ms())
    venue = exchange(clock.now_ms())
    server = WireServer(venue, clock, push_ms=500)
    for path, fields in opening:
        said = json.loads(answer(venue, signed("POST", path, **fields), clock.now_ms()).body)
        assert said["retCode"] == 0, said
    server.mishaps.ahead += mishaps
    port, _ = await stack.enter_async_context(server.serving(0, 0))
    keys = Credentials(SecretStr(KEY), SecretStr("paper"))
    connection = await stack.enter_async_context(
        connect(DIALECTS["bybit"], keys, Loopback(port), clock)
    )
    journal = SqliteJournal.open(file, "demo")
    policy = parse_policy(text, "policy")
    guard = await assemble(policy, connection.market, connection.account, clock, journal)
    tasks = await stack.enter_async_context(asyncio.TaskGroup())
    tasks.create_task(guard.run())
    stack.callback(guard.stop)
    return Client(venue, "demo", now_ms=clock.now_ms()), server


# -- other modes ---------------------------------------------------------------------------

_LEVERAGE = ("/v5/position/set-leverage", OPENING[1][1])


def _market(side: str, quantity: str, leg: int) -> tuple[str, dict[str, Any]]:
    order = {"symbol": "BTCUSDT", "side": side, "orderType": "Market", "qty": quantity}
    return "/v5/order/create", order | {"positionIdx": leg}


async def _until(server: WireServer, holds: Callable[[Any], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds(_seen(server.exchange.machine)):  # noqa: ASYNC110 - as below
            await asyncio.sleep(0.1)  # noqa: TID251 - a guard of its own time is waited for


@pytest.mark.timeout(120)
async def test_both_legs_of_a_hedge_have_their_stops_and_only_the_one_in_need_gets_margin(
    tmp_path: Path,
) -> None:
    opening = (
        OPENING[0],
        ("/v5/position/switch-mode", {"symbol": "BTCUSDT", "mode": 3}),
        _LEVERAGE,
        _market("Buy", "0.1", 1),
        _market("Sell", "0.05", 2),
    )
    text = policy_text().replace("position_mode: one_way", "position_mode: hedge")
    text += '\nstress: { shock: 25%, betas: { "BTC/USDT:USDT": 1x } }\n'
    async with AsyncExitStack() as stack:
        hand, server = await _at_work(stack, tmp_path / "a.db", opening, text)
        await _until(server, lambda seen: len(seen.stops) == 2)
        sized = {each.side: each.quantity for each in _seen(server.exchange.machine).stops}
        assert sized == {Side.LONG: D("0.1"), Side.SHORT: D("0.05")}
        _move_all([(hand, server)], TOP_UP_AT)
        await _until(server, lambda seen: seen.positions[0].isolated_margin > 600)
        await asyncio.sleep(A_WHILE_S)  # noqa: TID251 - as above
        long, short = _seen(server.exchange.machine).positions
        assert (long.side, short.side) == (Side.LONG, Side.SHORT)
        assert (short.quantity, short.isolated_margin) == (D("0.05"), D(300))
        assert len(server.exchange.machine.margin_changes(ACCOUNT, BTC, 0)) == 1


@pytest.mark.timeout(120)
async def test_a_cross_account_has_its_stop_and_goes_out_before_it_is_liquidated(
    tmp_path: Path,
) -> None:
    opening = (_LEVERAGE, _market("Buy", "1", 0))
    text = (ROOT / "config/policies/cross.yaml").read_text(encoding="utf-8")
    text = text.replace("venue: binanceusdm", "venue: bybit").replace("name: cross", "name: demo")
    async with AsyncExitStack() as stack:
        hand, server = await _at_work(stack, tmp_path / "a.db", opening, text)
        await _until(server, lambda seen: len(seen.stops) == 1)
        (position,) = _seen(server.exchange.machine).positions
        assert isinstance(position.liquidation, Reported)
        (stop,) = _seen(server.exchange.machine).stops
        assert position.liquidation.price < stop.trigger_price < D(60_000)
        _move_all([(hand, server)], 50_700)
        await _until(server, lambda seen: not seen.positions)
        causes = {each.cause for each in server.exchange.machine.realised(ACCOUNT)}
        assert Cause.LIQUIDATION not in causes
