"""
A venue on a port of this machine, for one account: answers as documented, and goes wrong.

What it answers is a `Desk`'s, one a venue; what happens to the answer on its way is the same for
all. ccxt's real class asks, with the venue's real addresses rewritten on the wire.
"""

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from aiohttp import WSMsgType, web
from pydantic import SecretStr

from bot.clock import Clock, system_wall_ms
from bot.core.actions import Action
from bot.core.model import MarginMode, PositionMode
from bot.exchange.live.account import LiveAccount
from bot.exchange.live.calls import Call
from bot.exchange.live.connection import Loopback, connect
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Dialect
from bot.exchange.live.market import LiveMarket
from bot.exchange.live.numbered import Ledger, NumberedAccount
from bot.exchange.ports import Account, OrderAbsent, OrderFound, Reply
from bot.exchange.venues.capabilities import MATRIX, StopName
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.venues.nicknames import NicknamedAccount

D = Decimal
BTC = "BTC/USDT:USDT"
KEY, SECRET, PHRASE = "canary-7f3a91-key", "canary+secret/5b1e=d0", "canary phrase 3c"
KEYS = Credentials(SecretStr(KEY), SecretStr(SECRET), SecretStr(PHRASE))
BASE64_KEYS = Credentials(SecretStr(KEY), SecretStr(b64encode(SECRET.encode()).decode()))
PRIVATE = "0x" + "c4a1" * 16
HEX_KEYS = Credentials(SecretStr("0x" + "Ab" * 20), SecretStr(PRIVATE))

SYMBOLS = {
    "binancecoinm": "BTC/USD:BTC",
    "hyperliquid": "BTC/USDC:USDC",
    "krakenfutures": "BTC/USD:USD",
}
"""The contract of bitcoin where it is not `BTC`."""

SIGNED_WITH = {"hyperliquid": HEX_KEYS, "krakenfutures": BASE64_KEYS}
"""The keys where they are not `KEYS`, as the venue has them of a kind."""

NICKNAMED = frozenset({"hyperliquid"})
"""Venues that take no ids but those of the guard's own kind."""

_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"


class FaultKind(StrEnum):
    """What the client gets instead of its answer; faults 2a of any venue."""

    NO_REPLY = "no reply"
    DROPPED = "dropped"
    CUT = "cut"
    BAD_CHUNK = "bad chunk"
    HTML_200 = "html 200"
    EMPTY_200 = "empty 200"
    NULL_200 = "null 200"
    OBJECT_200 = "object 200"
    NAN_200 = "nan 200"
    HTML_403 = "html 403"
    HTML_404 = "html 404"
    HTML_502 = "html 502"
    HTML_524 = "html 524"
    NOT_KNOWN = "the venue's own words for not knowing"


_INSTEAD = {
    FaultKind.HTML_200: (200, _PAGE.format("Please wait")),
    FaultKind.EMPTY_200: (200, ""),
    FaultKind.NULL_200: (200, "null"),
    FaultKind.OBJECT_200: (200, "{}"),
    FaultKind.HTML_403: (403, _PAGE.format("Forbidden")),
    FaultKind.HTML_404: (404, _PAGE.format("Not Found")),
    FaultKind.HTML_502: (502, _PAGE.format("Bad Gateway")),
    FaultKind.HTML_524: (524, _PAGE.format("A timeout occurred")),
}
_LOST = (FaultKind.NO_REPLY, FaultKind.DROPPED, FaultKind.CUT, FaultKind.BAD_CHUNK)
SILENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came: the body parsed where it is JSON, else as it is."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

    def is_of(self, call: Call) -> bool:
        """Whether `call` came as this."""
        pattern = re.sub(r"\{[^}]*\}", "[^/]+", call.path)
        is_there = self.method == call.method and bool(re.search(f"/{pattern}$", self.path))
        return is_there and self._kind() in ("", call.parameters.get("type"))

    def _kind(self) -> str:
        """What is read, where one address answers all reads."""
        is_read = self.path == "/info" and isinstance(self.body, dict)
        return str(self.body["type"]) if is_read else ""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    status: int
    json: Any

    @property
    def text(self) -> str:
        """As it is sent: numbers as the venue writes them."""
        return json.dumps(self.json)


@dataclass
class Book:
    """The account: one position in one contract of bitcoin, what waits, and what was ordered."""

    position_mode: PositionMode = PositionMode.ONE_WAY
    margin_mode: MarginMode = MarginMode.ISOLATED
    quantity: Decimal = Decimal("0.1")
    """In base; negative for a short."""
    entry: Decimal = Decimal(60_000)
    mark: Decimal = Decimal(60_000)
    margin: Decimal = Decimal(600)
    free: Decimal = Decimal(4_400)
    liquidation: str = "54321.5"
    stops: dict[str, Any] = field(default_factory=dict)
    """By the venue's number, those that wait or have ended."""
    orders: dict[str, Any] = field(default_factory=dict)
    numbers: Iterator[int] = field(
        default_factory=lambda: iter(range(36_028_797_000_000_001, 2**62))
    )

    def essence(self) -> str:
        """Everything that a write can change."""
        return repr((self.quantity, self.margin, self.free, self.stops, self.orders))


class Desk(Protocol):
    """One venue's side of a `Stage`."""

    @property
    def dialect(self) -> Dialect: ...
    @property
    def book(self) -> Book: ...
    @property
    def not_known(self) -> Said:
        """The venue's words for an outcome that it does not know."""

    @property
    def tells_of_keys(self) -> bool:
        """Whether the venue tells what a key may do."""

    @property
    def keeps_margin(self) -> bool:
        """Whether the venue keeps a history of margin that was added."""

    @property
    def proves(self) -> frozenset[str]:
        """Which refusals the venue proves by a code that is known: else they are Unsure."""

    @property
    def code_unheard_of(self) -> Said:
        """An error that is on no list."""

    def answer(self, asked: Asked) -> Said: ...
    def is_write(self, asked: Asked) -> bool: ...
    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        """Rest a stop that closes the position, past the sockets."""

    def resting(self) -> list[Decimal]:
        """The triggers of the stops that rest."""

    def trigger(self, client_id: str, price: Decimal) -> None:
        """Let a stop that rests meet its price and fill."""

    def greet(self, text: str) -> list[str]:
        """What a stream says to a text from the client."""

    def changed(self) -> str:
        """A frame by which the position changed."""

    def liquidated(self, price: Decimal) -> str | None:
        """A frame by which it was liquidated; None where the venue pushes none."""

    def marked(self, price: Decimal) -> str: ...
    def ended(self) -> str | None:
        """A frame by which the venue ends the stream of an account, if it has one."""


@dataclass
class Fault:
    kind: FaultKind
    left: int
    has_effect: bool
    of_writes: bool


class Stage:
    """The server."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.asked: list[Asked] = []
        self.faults: list[Fault] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.heard: list[str] = []
        self.odd: Said | None = None
        """What every write is answered, in place of being done."""
        self.spoils: list[tuple[Sequence[Call], Callable[[Any], Any]]] = []
        """What becomes of the answers to these reads on their way."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._listen(request)
        asked = await _read(request)
        self.asked.append(asked)
        is_write = self.desk.is_write(asked)
        for fault in self.faults:
            if fault.left and fault.of_writes is is_write:
                fault.left -= 1
                return await self._go_wrong(request, asked, fault)
        if is_write and self.odd is not None:
            return _sent(self.odd)
        said = self.desk.answer(asked)
        for calls, spoil in self.spoils:
            if any(asked.is_of(call) for call in calls):
                said = Said(said.status, spoil(json.loads(said.text)))
        return _sent(said)

    async def push(self, text: str) -> None:
        for socket in self.sockets:
            await socket.send_str(text)

    async def _go_wrong(
        self, request: web.Request, asked: Asked, fault: Fault
    ) -> web.StreamResponse:
        true = self.desk.answer(asked) if fault.has_effect else Said(200, {})
        match fault.kind:
            case FaultKind.NOT_KNOWN:
                return _sent(self.desk.not_known)
            case FaultKind.NAN_200:
                body = '{"price": NaN, ' + true.text.lstrip("{[")
                return web.Response(text=body, content_type="application/json")
            case kind if kind in _LOST:
                return await _lose(request, kind, true)
            case kind:
                status, body = _INSTEAD[kind]
                return web.Response(status=status, text=body, content_type="text/html")

    async def _listen(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self.heard.append(message.data)
                    for text in self.desk.greet(message.data):
                        await socket.send_str(text)
        finally:
            self.sockets.remove(socket)
        return socket


async def _read(request: web.Request) -> Asked:
    text = await request.text()
    try:
        body = json.loads(text) if text else None
    except ValueError:
        body = text
    return Asked(request.method, request.path, dict(request.query), dict(request.headers), body)


def _sent(said: Said) -> web.Response:
    return web.Response(status=said.status, text=said.text, content_type="application/json")


async def _lose(request: web.Request, kind: FaultKind, true: Said) -> web.StreamResponse:
    transport = request.transport
    assert transport is not None
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    match kind:
        case FaultKind.NO_REPLY:
            await asyncio.sleep(SILENCE_S)  # noqa: TID251 - in real time
        case FaultKind.CUT:
            body = true.text.encode()
            response.content_length = len(body)
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
        case FaultKind.BAD_CHUNK:
            response.enable_chunked_encoding()
            await response.prepare(request)
            transport.write(b"zz\r\nnot a chunk\r\n")
        case _:
            pass
    transport.close()
    return response


@dataclass(frozen=True, slots=True)
class Scene:
    """Both ends of the wire."""

    stage: Stage
    port: int
    account: Account
    """As the guard has it."""

    live: LiveAccount
    market: LiveMarket
    clock: Clock
    ledger: Ledger
    """Which stops are the guard's, where they carry no id; empty for all other venues."""

    @property
    def symbol(self) -> str:
        """The contract of bitcoin."""
        return SYMBOLS.get(venue_of(self.desk), BTC)

    async def send(self, action: Action, client_id: str) -> Reply:
        """Perform an action, whatever contract it names, in that of bitcoin."""
        return await self.account.send(replace(action, symbol=self.symbol), client_id)

    async def order(self, client_id: str) -> OrderFound | OrderAbsent:
        """Look an order in it up."""
        return await self.account.order(self.symbol, client_id)

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        """Rest a stop past the sockets, as if the guard had."""
        self.desk.hand_stop(client_id, trigger, quantity)
        if _is_numbered(self.desk):
            self.ledger.name(client_id, list(self.book.stops)[-1])

    @property
    def desk(self) -> Desk:
        return self.stage.desk

    @property
    def book(self) -> Book:
        return self.stage.desk.book

    @contextmanager
    def fault(
        self, kind: FaultKind, count: int, *, effect: bool = False, writes: bool
    ) -> Iterator[Fault]:
        """Let the next writes, or reads, go wrong within the block."""
        fault = Fault(kind, count, effect, writes)
        self.stage.faults.append(fault)
        yield fault
        self.stage.faults.remove(fault)

    def written(self) -> list[Asked]:
        """The writes so far."""
        return [each for each in self.stage.asked if self.desk.is_write(each)]


def venue_of(desk: Desk) -> str:
    """Its name in a policy."""
    (name,) = (name for name, dialect in DIALECTS.items() if dialect is desk.dialect)
    return name


def keys_of(desk: Desk) -> Credentials:
    """The keys of the account."""
    return SIGNED_WITH.get(venue_of(desk), KEYS)


def _is_numbered(desk: Desk) -> bool:
    return MATRIX[venue_of(desk)].stop_name is StopName.NUMBER


def _as_guarded(desk: Desk, live: LiveAccount, ledger: Ledger) -> Account:
    if _is_numbered(desk):
        return NumberedAccount(live, ledger)
    return NicknamedAccount(live) if venue_of(desk) in NICKNAMED else live


@asynccontextmanager
async def staged(desk: Desk) -> AsyncIterator[Scene]:
    """A live account connected to `desk`, once read."""
    stage = Stage(desk)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stage.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    clock = Clock(system_wall_ms())
    try:
        async with connect(
            desk.dialect, keys_of(desk), Loopback(port), clock, accept_unproven_key=True
        ) as venue:
            await venue.account.snapshot()
            live, ledger = venue.account, Ledger(None)
            yield Scene(
                stage, port, _as_guarded(desk, live, ledger), live, venue.market, clock, ledger
            )
    finally:
        await asyncio.wait_for(runner.cleanup(), 10)
