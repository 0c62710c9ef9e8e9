"""What is looked at before an account is guarded, against the exchange over the wire."""

import asyncio
import socket
from typing import Any

import aiohttp
import pytest

from bot.clock import Clock, system_wall_ms
from bot.exchange.live import connection as module
from bot.exchange.live.connection import Loopback, connect, reach, watch
from bot.exchange.live.credentials import NO_KEYS
from bot.exchange.live.findings import CheckFailed, Finding, Standing, blocking, require_sound
from bot.exchange.live.transport import Transport
from bot.exchange.paper.wire import routes
from bot.exchange.paper.wire.asked import Private
from bot.exchange.ports import Unreachable
from bot.exchange.venues import binance_market
from bot.exchange.venues.dialects import DIALECTS
from bot.exchange.venues.keyless import DOCUMENTS
from bot.rehearsal.loop import run_virtual
from tests.exchange.live.wired import ALICE, wired
from tests.exchange.wire.build import BTC

RESTRICTIONS = ("GET", "/sapi/v1/account/apiRestrictions")
FINE = Finding("x", Standing.FINE, "good")
UNVERIFIED = Finding("x", Standing.UNVERIFIED, "nobody knows")
REFUSED = Finding("x", Standing.REFUSED, "bad")


def withdrawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of every account may withdraw from now on."""
    private = routes.ENDPOINTS[RESTRICTIONS]
    assert isinstance(private, Private)
    handle = private.handle

    def may(*asked: Any) -> Any:
        return handle(*asked) | {"enableWithdrawals": True}

    changed = Private(private.weight, private.security, may)
    monkeypatch.setitem(routes.ENDPOINTS, RESTRICTIONS, changed)


def of_check(found: tuple[Finding, ...], check: str) -> list[Standing]:
    return [each.standing for each in found if each.check == check]


def test_whoever_lets_go_of_ccxt_waits_for_nothing() -> None:
    """Its quarter of a second is for connections of its own; it is given ours."""

    async def let_go() -> float:
        async with aiohttp.ClientSession() as network:
            await Transport("binanceusdm", NO_KEYS, network, 1_000).close()
        return asyncio.get_running_loop().time()

    assert run_virtual(let_go()) == 0


async def test_a_sound_account_is_told_to_be_sound() -> None:
    async with wired() as live, _reached(live.port, live.clock) as venue:
        found = await venue.examine()
        assert of_check(found, "clock") == [Standing.FINE]
        assert of_check(found, "key and account") == [Standing.FINE]
        assert await venue.endings({BTC}) == ()


async def test_a_key_that_can_withdraw_is_refused_and_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with wired() as live:
        withdrawing(monkeypatch)
        port = live.port
        with pytest.raises(CheckFailed, match="withdraw"):
            async with connect(DIALECTS["binanceusdm"], ALICE, Loopback(port), live.clock):
                pass
        async with _reached(port, live.clock) as venue:
            found = await venue.examine()
        assert of_check(found, "key and account") == [Standing.REFUSED]


async def test_a_clock_far_off_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wired() as live:
        monkeypatch.setattr(module, "CLOCK_OFF_MAX_MS", -1)
        port = live.port
        with pytest.raises(CheckFailed, match="clock: expected within"):
            async with connect(DIALECTS["binanceusdm"], ALICE, Loopback(port), live.clock):
                pass


@pytest.mark.parametrize(
    ("ahead_ms", "standing"),
    [
        (1_000, Standing.FINE),
        (1_001, Standing.NOTED),
        (-1_001, Standing.NOTED),
        (60_000, Standing.NOTED),
        (60_001, Standing.REFUSED),
    ],
)
async def test_a_clock_that_is_off_by_more_than_a_second_is_said(
    monkeypatch: pytest.MonkeyPatch, ahead_ms: int, standing: Standing
) -> None:
    async def measured(*_: object) -> int:
        return ahead_ms

    async with wired() as live, _reached(live.port, live.clock) as venue:
        monkeypatch.setattr(module, "_clock_ahead_ms", measured)
        (found,) = [each for each in await venue.examine() if each.check == "clock"]
    assert found.standing is standing
    assert f"{ahead_ms} ms ahead" in found.text


async def test_a_connection_carries_what_is_to_be_said_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with wired() as live:
        monkeypatch.setattr(module, "CLOCK_NOTED_MS", -1)
        async with connect(
            DIALECTS["binanceusdm"], ALICE, Loopback(live.port), live.clock
        ) as venue:
            (said,) = venue.noted
    assert said.startswith("clock: this machine's is ")


async def test_what_the_venue_takes_off_or_settles_is_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with wired() as live, _reached(live.port, live.clock) as venue:
        monkeypatch.setattr(binance_market, "_NO_DELIVERY_MS", 2**62)
        (ending,) = await venue.endings({BTC})
        (gone,) = await venue.endings({"NO/USDT:USDT"})
    assert ending == Finding(
        "contract", Standing.NOTED, f"{BTC}: the venue settles it on 2100-12-25 08:00 UTC"
    )
    assert "does not list it any more" in gone.text


def _reached(port: int, clock: Any) -> Any:
    return reach(DIALECTS["binanceusdm"], ALICE, Loopback(port), clock)


def test_what_is_unverified_blocks_until_the_user_answers_for_it() -> None:
    found = (FINE, UNVERIFIED)
    assert blocking(found, accept_unverified=False) == (UNVERIFIED,)
    require_sound(found, accept_unverified=True)
    for accept in (True, False):
        with pytest.raises(CheckFailed, match="bad"):
            require_sound((*found, REFUSED), accept_unverified=accept)


async def test_a_port_on_which_nobody_listens_is_named() -> None:
    clock, keyed = Clock(system_wall_ms()), DIALECTS["binanceusdm"]
    route = Loopback(unused_port())
    with pytest.raises(Unreachable, match=f"^127.0.0.1:{route.port}: time: "):
        async with reach(keyed, ALICE, route, clock):
            pass
    with pytest.raises(Unreachable, match=f"^127.0.0.1:{route.port}: exchangeInfo: "):
        async with watch(keyed.market, DOCUMENTS["binanceusdm"], route, clock):
            pass


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
