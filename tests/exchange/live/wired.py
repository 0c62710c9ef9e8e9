"""A live account connected to the wire exchange over real sockets, and the machine behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from bot.clock import Clock, system_wall_ms
from bot.exchange.live.account import LiveAccount
from bot.exchange.live.connection import Loopback, connect
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.market import LiveMarket
from bot.exchange.paper.wire.mishaps import WITHOUT_EFFECT, Mishap, MishapKind
from bot.exchange.paper.wire.server import WireServer
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.wire.build import Client, exchange

ALICE = Credentials(SecretStr("paper-alice"), SecretStr("paper"))


@dataclass(frozen=True, slots=True)
class Wired:
    """Both ends of the wire."""

    server: WireServer
    market: LiveMarket
    account: LiveAccount
    clock: Clock
    hand: Client
    """Trades on the same account by hand, past the sockets."""
    port: int

    def fault(
        self, kind: MishapKind, count: int = 1, *, effect: bool = True, method: str = ""
    ) -> None:
        """Let the next requests go wrong."""
        has_effect = effect and kind not in WITHOUT_EFFECT
        ahead = self.server.mishaps.ahead
        ahead.append(Mishap(kind, count, has_effect, method, "/fapi", 0))

    def move(self, symbol: str, price: str) -> None:
        """Let the prices go there, and push what that does."""
        self.hand.now_ms = self.clock.now_ms()
        self.hand.move(symbol, price)
        self.server.publish()


@asynccontextmanager
async def wired(push_ms: int = 100, keys: Credentials = ALICE) -> AsyncIterator[Wired]:
    """Alice (or whose `keys`) with a long of 0.1 bitcoin from 60,000, isolated, at tenfold."""
    clock = Clock(system_wall_ms())
    venue = exchange(clock.now_ms())
    server = WireServer(venue, clock, push_ms=push_ms)
    name = keys.key.get_secret_value().removeprefix("paper-")
    hand = Client(venue, name, keys.secret.get_secret_value(), now_ms=clock.now_ms())
    hand.isolated()
    hand.order("BUY", "0.1")
    async with (
        server.serving(0, 0) as (port, _),
        connect(DIALECTS["binanceusdm"], keys, Loopback(port), clock) as venue_side,
    ):
        await venue_side.account.snapshot()
        yield Wired(server, venue_side.market, venue_side.account, clock, hand, port)


async def until(holds: object, patience_s: float = 10) -> None:
    """Wait until the function `holds` says so."""
    assert callable(holds)
    async with asyncio.timeout(patience_s):
        while not holds():  # noqa: ASYNC110 - real sockets are waited for
            await asyncio.sleep(0.01)  # noqa: TID251 - in real time
