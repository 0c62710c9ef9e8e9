"""The sockets themselves: faults on the way, streams that end, and the control port."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio

from bot.clock import Clock, system_wall_ms
from bot.exchange.paper.wire.hub import WAITING_MAX
from bot.exchange.paper.wire.mishaps import MishapKind
from bot.exchange.paper.wire.server import LOOPBACK, WireServer
from tests.exchange.wire.build import exchange

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
TIMEOUT = aiohttp.ClientTimeout(total=1)


@dataclass(frozen=True, slots=True)
class Wire:
    """A running server and a client without any library of the venue's."""

    server: WireServer
    port: int
    control_port: int
    http: aiohttp.ClientSession

    async def control(self, name: str, **parameters: Any) -> Any:
        """POST a command; what is said."""
        url = f"http://{LOOPBACK}:{self.control_port}/control/{name}"
        async with self.http.post(url, json=parameters) as response:
            return await response.json()

    async def order(self) -> str:
        """Buy; the body of the answer."""
        signed = urlencode(ORDER | {"timestamp": system_wall_ms()})
        mac = hmac.new(b"paper", signed.encode(), hashlib.sha256).hexdigest()
        url = f"http://{LOOPBACK}:{self.port}/fapi/v1/order"
        headers = {
            "X-MBX-APIKEY": "paper-alice",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = f"{signed}&signature={mac}"
        async with self.http.post(url, data=body, headers=headers, timeout=TIMEOUT) as response:
            return await response.text()

    @property
    def bought(self) -> bool:
        """Whether the order has had its effect."""
        return bool(self.server.exchange.desk("alice").view().positions)


@pytest_asyncio.fixture
async def wire() -> AsyncIterator[Wire]:
    clock = Clock(system_wall_ms())
    server = WireServer(exchange(clock.now_ms()), clock, push_ms=50)
    async with (
        server.serving(0, 0) as (port, control_port),
        aiohttp.ClientSession() as http,
    ):
        yield Wire(server, port, control_port, http)


async def test_a_fault_happens_as_often_as_it_was_asked_for(wire: Wire) -> None:
    await wire.control("fault", kind="html_502", count=2, effect=False)
    assert "Bad Gateway" in await wire.order()
    assert "Bad Gateway" in await wire.order()
    assert "orderId" in await wire.order()


async def test_a_fault_happens_to_what_it_was_meant_for(wire: Wire) -> None:
    await wire.control("fault", kind="html_502", path="/fapi/v1/algoOrder")
    await wire.control("fault", kind="html_502", method="GET")
    assert "orderId" in await wire.order()


@pytest.mark.parametrize("effect", [True, False])
@pytest.mark.parametrize("kind", [kind for kind in MishapKind if kind is not MishapKind.LATE])
async def test_no_fault_lets_the_true_answer_through(
    wire: Wire, kind: MishapKind, effect: bool
) -> None:
    await wire.control("fault", kind=kind.value, effect=effect)
    try:
        answered = await wire.order()
    except (aiohttp.ClientError, TimeoutError):
        answered = ""
    try:
        order = json.loads(answered, parse_constant=lambda word: word)
    except ValueError:
        order = None
    whole = isinstance(order, dict) and "orderId" in order and "price" in order
    assert not whole or "NaN" in answered
    assert wire.bought is effect


async def test_a_late_request_is_too_old_when_it_arrives(wire: Wire) -> None:
    await wire.control("fault", kind="late", delay_ms=100, effect=True)
    assert "orderId" in await wire.order()
    assert wire.bought


async def test_streams_can_be_dropped_and_stalled(wire: Wire) -> None:
    url = f"ws://{LOOPBACK}:{wire.port}/ws/btcusdt@markPrice@1s"
    async with wire.http.ws_connect(url) as socket:
        frame = await socket.receive_json(timeout=5)
        assert (frame["e"], frame["s"], frame["p"]) == (
            "markPriceUpdate",
            "BTCUSDT",
            "60000.00000000",
        )
        await wire.control("streams", do="stall")
        assert await _falls_silent(socket)
    async with wire.http.ws_connect(url) as socket:
        await wire.control("streams", do="resume")
        assert await socket.receive_json(timeout=5)
        await wire.control("streams", do="drop")
        while (message := await socket.receive(timeout=5)).type is not aiohttp.WSMsgType.CLOSE:
            pass
        assert message.data == 1001


async def test_a_combined_stream_names_each_frame(wire: Wire) -> None:
    url = f"ws://{LOOPBACK}:{wire.port}/stream?streams=ethusdt@markPrice"
    async with wire.http.ws_connect(url) as socket:
        frame = await socket.receive_json(timeout=5)
        assert frame["stream"] == "ethusdt@markPrice"
        assert frame["data"]["s"] == "ETHUSDT"


async def test_subscriptions_are_answered(wire: Wire) -> None:
    async with wire.http.ws_connect(f"ws://{LOOPBACK}:{wire.port}/ws") as socket:
        asked = {"method": "SUBSCRIBE", "params": ["!markPrice@arr"], "id": 7}
        await socket.send_json(asked)
        assert await socket.receive_json(timeout=5) == {"result": None, "id": 7}
        assert len(await socket.receive_json(timeout=5)) == 2
        await socket.send_str("what?")
        while "error" not in (said := await socket.receive_json(timeout=5)):
            pass
        assert said["error"]["msg"] == "Invalid request"


async def test_whoever_does_not_read_is_cut_off(wire: Wire) -> None:
    async with wire.http.ws_connect(f"ws://{LOOPBACK}:{wire.port}/ws/btcusdt@markPrice") as socket:
        await socket.receive_json(timeout=5)
        (listener,) = wire.server.hub.listeners
        for _ in range(WAITING_MAX + 1):
            listener.put("{}")
        assert listener.waiting.qsize() == 1
        while (message := await socket.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type is aiohttp.WSMsgType.CLOSE


async def test_every_command_of_the_help_is_performed(wire: Wire) -> None:
    url = f"http://{LOOPBACK}:{wire.control_port}"
    async with wire.http.get(f"{url}/control/help") as response:
        commands = (await response.json())["commands"]
    assert {"/control/mark", "/control/liquidate", "/control/funding", "/control/fault"} <= {
        each["path"] for each in commands
    }
    for each in commands:
        async with wire.http.request(each["method"], url + each["path"]) as response:
            assert response.status in (200, 400), each
            said = await response.json()
            if response.status == 400:
                assert each["parameters"], each
                assert said["error"]


async def test_the_control_port_says_what_it_expected(wire: Wire) -> None:
    assert "no such command" in (await wire.control("nothing"))["error"]
    assert "one of no_reply" in (await wire.control("fault", kind="x"))["error"]
    assert "none yet" in (await wire.control("liquidate", account="a", symbol="BTCUSDT"))["error"]
    assert "Invalid symbol" in (await wire.control("mark", symbol="XUSDT", price=1))["error"]
    assert "more than 0" in (await wire.control("mark", symbol="BTCUSDT", price=0))["error"]
    below = await wire.control("mark", symbol="BTCUSDT", price=60_000, index=-1)
    assert "more than 0" in below["error"]
    coin = await wire.control("deposit", account="amy", amount=1, asset="DOGE")
    assert "one of USDT, was 'DOGE'" in coin["error"]


async def test_the_control_port_pays_in_and_moves_the_index(wire: Wire) -> None:
    assert (await wire.control("deposit", account="amy", amount=5))["equity"] == "10005"
    await wire.control("mark", symbol="BTCUSDT", price=61_000, index=60_500)
    async with wire.http.get(f"http://{LOOPBACK}:{wire.control_port}/control/state") as response:
        seen = (await response.json())["prices"]["BTCUSDT"]
    assert seen == {"mark": "61000", "last": "61000", "index": "60500"}


async def _falls_silent(socket: aiohttp.ClientWebSocketResponse) -> bool:
    """Whether after what was under way nothing more comes, while the connection stays."""
    for _ in range(20):
        try:
            await socket.receive_json(timeout=0.4)
        except TimeoutError:
            return not socket.closed
    return False
