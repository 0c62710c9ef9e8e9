"""The sockets of the wire exchange: clients on one loopback port, control on another."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import WSMsgType, web

from bot.exchange.paper.prices import Clock
from bot.exchange.paper.wire.bybit import routes as bybit
from bot.exchange.paper.wire.bybit.market import ticker_push
from bot.exchange.paper.wire.bybit.stream import take as take_bybit
from bot.exchange.paper.wire.control import Control
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.hub import Goodbye, Hub, Listener
from bot.exchange.paper.wire.mishaps import LOST, Mishap, MishapKind, Mishaps, disguised
from bot.exchange.paper.wire.request import Answer, Request
from bot.exchange.paper.wire.routes import answer

LOOPBACK = "127.0.0.1"
BYBIT_HEADERS = {"X-BAPI-API-KEY", "X-BAPI-TIMESTAMP", "X-BAPI-RECV-WINDOW", "X-BAPI-SIGN"}
HEARTBEAT_S = 180
SILENCE_MS = 120_000
"""How long a reply that never comes keeps its connection."""

PARTING_S = 0.5
"""How long handlers may take to end when the server stops."""

log = structlog.get_logger()


class WireServer:
    """Serves one exchange until it is left."""

    def __init__(self, exchange: WireExchange, clock: Clock, *, push_ms: int) -> None:
        """Mark prices are pushed every `push_ms`, and the exchange lives on at least as often."""
        self.exchange = exchange
        self.mishaps = Mishaps()
        self.hub = Hub()
        self._clock = clock
        self._push_ms = push_ms
        self._control = Control(exchange, self.mishaps, self.hub, self.publish)

    @asynccontextmanager
    async def serving(self, port: int, control_port: int) -> AsyncIterator[tuple[int, int]]:
        """Listen on loopback; the ports, which the system picks for 0. `OSError` if taken."""
        apps = (self._app(), self._control_app())
        runners = [web.AppRunner(app, shutdown_timeout=PARTING_S) for app in apps]
        try:
            for runner, number in zip(runners, (port, control_port), strict=True):
                await runner.setup()
                await web.TCPSite(runner, LOOPBACK, number).start()
            ports = tuple(runner.addresses[0][1] for runner in runners)
            async with asyncio.TaskGroup() as tasks:
                living = tasks.create_task(self._live())
                try:
                    yield ports[0], ports[1]
                finally:
                    living.cancel()
                    self.hub.close_all()
        finally:
            for runner in runners:
                await runner.cleanup()

    def publish(self) -> None:
        """Push the marks of this moment and what accounts are to be told."""
        now_ms = self.exchange.machine.at_ms
        self.hub.tell_marks(
            [self.exchange.mark_push(each, now_ms) for each in self.exchange.machine.quotes]
        )
        self.hub.tell_topics(
            [ticker_push(self.exchange, each, now_ms) for each in self.exchange.machine.quotes]
        )
        self._tell_accounts()

    async def _live(self) -> None:
        while True:
            self.exchange.advance(self._clock.now_ms())
            self.publish()
            await self._clock.sleep_ms(self._push_ms)

    def _tell_accounts(self) -> None:
        for account, event in self.exchange.take_outbox():
            self.hub.tell_account(account, event)

    # -- HTTP ------------------------------------------------------------------------------

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._listen(request)
        path, _, query = request.raw_path.partition("?")
        asked = Request(
            method=request.method,
            path=path,
            query=query,
            body=await request.text(),
            key=request.headers.get("X-MBX-APIKEY", ""),
            address=request.remote or LOOPBACK,
            headers={
                each: request.headers[each] for each in BYBIT_HEADERS if each in request.headers
            },
        )
        match self.mishaps.next(asked):
            case Mishap() as mishap:
                return await self._go_wrong(request, asked, mishap)
            case _:
                return _response(self._answer(asked))

    def _answer(self, asked: Request) -> Answer:
        is_bybit = asked.path.startswith(bybit.PREFIX)
        respond = bybit.answer if is_bybit else answer
        answered = respond(self.exchange, asked, self._clock.now_ms())
        self._tell_accounts()
        return answered

    async def _go_wrong(
        self, request: web.Request, asked: Request, mishap: Mishap
    ) -> web.StreamResponse:
        answered = self._answer(asked) if mishap.has_effect else Answer(200, "{}")
        log.info("mishap.met", kind=str(mishap.kind), path=asked.path, effect=mishap.has_effect)
        await self._clock.sleep_ms(mishap.delay_ms)
        if mishap.kind is MishapKind.LATE and not mishap.has_effect:
            answered = self._answer(asked)  # the request, not its answer, was under way so long
        if mishap.kind not in LOST:
            return _response(disguised(mishap.kind, answered))
        if mishap.kind is MishapKind.NO_REPLY:
            await self._clock.sleep_ms(SILENCE_MS)
        return await _lost(request, mishap.kind, answered)

    # -- WebSocket -------------------------------------------------------------------------

    async def _listen(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S)
        await socket.prepare(request)
        listener = self._listener(request)
        self.hub.listeners.append(listener)
        try:
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(_write(socket, listener))
                async for message in socket:
                    if message.type is WSMsgType.TEXT:
                        if request.path.startswith(bybit.PREFIX):
                            now_ms = self._clock.now_ms()
                            take_bybit(self.exchange, listener, message.data, now_ms)
                        else:
                            self._take(listener, message.data)
                writing.cancel()
        finally:
            self.hub.listeners.remove(listener)
        return socket

    def _listener(self, request: web.Request) -> Listener:
        """What a connection asks for by its address alone."""
        segments = request.path.strip("/").split("/")
        listener = Listener(combined="stream" in segments)
        after = segments[segments.index("ws") + 1 :] if "ws" in segments else []
        asked = [*after, *request.query.get("streams", "").split("/")]
        asked.append(request.query.get("listenKey", ""))
        self._subscribe(listener, [name for name in asked if name])
        return listener

    def _subscribe(self, listener: Listener, names: list[str]) -> None:
        for name in names:
            account = self.exchange.listener(name, self._clock.now_ms())
            if account is not None:
                listener.accounts[account] = name
            else:
                listener.streams.add(name)

    def _take(self, listener: Listener, text: str) -> None:
        try:
            asked = json.loads(text)
            number, method = asked.get("id"), asked["method"]
            names = [str(name) for name in asked.get("params", [])]
        except (ValueError, KeyError, TypeError, AttributeError):
            listener.put(json.dumps({"error": {"code": 2, "msg": "Invalid request"}}))
            return
        result: Any = None
        match method:
            case "SUBSCRIBE":
                self._subscribe(listener, names)
            case "UNSUBSCRIBE":
                listener.streams -= set(names)
            case "LIST_SUBSCRIPTIONS":
                result = sorted(listener.streams)
            case _:
                listener.put(json.dumps({"error": {"code": 2, "msg": f"Unknown method {method}"}}))
                return
        listener.put(json.dumps({"result": result, "id": number}))

    # -- control ---------------------------------------------------------------------------

    def _control_app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._order)
        return app

    async def _order(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        texts = dict(request.query)
        if body:
            try:
                sent = json.loads(body)
            except ValueError:
                sent = None
            if not isinstance(sent, dict):
                refused = {"error": "expected a JSON object as the body"}
                return web.json_response(refused, status=400)
            texts |= {name: _text(value) for name, value in sent.items()}
        self.exchange.advance(self._clock.now_ms())
        status, said = self._control.order(request.method, request.path, texts)
        self._tell_accounts()
        return web.json_response(said, status=status)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _response(answered: Answer) -> web.Response:
    headers = {"Content-Type": "application/json"} | answered.headers
    return web.Response(status=answered.status, body=answered.body.encode(), headers=headers)


async def _lost(request: web.Request, kind: MishapKind, answered: Answer) -> web.StreamResponse:
    """Break the connection off, after a part of the answer where the kind says so."""
    transport = request.transport
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    match kind:
        case MishapKind.CUT:
            body = answered.body.encode()
            response.content_length = len(body)
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
        case MishapKind.BAD_CHUNK:
            response.enable_chunked_encoding()
            await response.prepare(request)
            if transport is not None:
                transport.write(b"zz\r\nnot a chunk\r\n")
        case _:
            pass
    if transport is not None:
        transport.close()
    return response


async def _write(socket: web.WebSocketResponse, listener: Listener) -> None:
    while not isinstance(message := await listener.waiting.get(), Goodbye):
        await socket.send_str(message)
    await socket.close(code=1001)
