"""A wire exchange whose time stands still until a test moves it, and a client that signs."""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from bot.core.units import Money, Price, Ratio
from bot.exchange.paper.ladders import BINANCE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.request import Answer, Request
from bot.exchange.paper.wire.routes import answer
from bot.exchange.paper.wire.sources import ByHand
from bot.exchange.venues import binanceusdm

D = Decimal
T0 = 1_700_000_000_000
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
DEPOSIT = Money(D(10_000))
NO_FUNDING = Ratio(D(0))


def exchange(now_ms: int = T0) -> WireExchange:
    """Bitcoin at 60,000 and ether at 3,000, moved by hand, market orders 5 bp worse than last."""
    listed = binanceusdm.instruments()
    machine = PaperMachine([listed[BTC], listed[ETH]], Ratio(D("0.0005")), ladder=BINANCE)
    machine.move(
        now_ms,
        {
            BTC: Prices(Price(D(60_000)), Price(D(60_000))),
            ETH: Prices(Price(D(3_000)), Price(D(3_000))),
        },
    )
    return WireExchange(machine, ByHand(machine, NO_FUNDING), DEPOSIT)


@dataclass(slots=True)
class Client:
    """Speaks the protocol by itself: signatures are worked out here, from the venue's manual."""

    exchange: WireExchange
    name: str = "alice"
    secret: str = "paper"
    now_ms: int = T0
    answers: list[Answer] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"paper-{self.name}"

    def ask(self, method: str, path: str, **parameters: Any) -> Any:
        """A signed request; the parsed body of the answer."""
        signed = {"timestamp": self.now_ms, "recvWindow": 5_000} | parameters
        text = urlencode({name: _text(value) for name, value in signed.items()})
        mac = hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        text += f"&signature={mac}"
        in_query = method in ("GET", "DELETE")
        return self.send(method, path, text if in_query else "", "" if in_query else text)

    def send(self, method: str, path: str, query: str = "", body: str = "") -> Any:
        """A request as it is."""
        request = Request(method, path, query, body, self.key, "10.0.0.1")
        self.answers.append(answer(self.exchange, request, self.now_ms))
        return json.loads(self.answers[-1].body)

    def code(self, method: str, path: str, **parameters: Any) -> int:
        """The code that a signed request is refused with."""
        said = self.ask(method, path, **parameters)
        assert self.answers[-1].status >= 400, said
        return int(said["code"])

    def events(self, kind: str) -> list[Any]:
        """What was pushed to this account since this was last asked, of one kind."""
        pushed = self.exchange.take_outbox()
        return [event for name, event in pushed if name == self.name and event["e"] == kind]

    def move(self, symbol: str, price: str) -> None:
        """Let mark and last go there."""
        source = self.exchange.source
        assert isinstance(source, ByHand)
        source.move(symbol, Prices(Price(D(price)), Price(D(price))))
        self.exchange.advance(self.now_ms)

    # -- shorthand -------------------------------------------------------------------------

    def order(self, side: str, quantity: str, kind: str = "MARKET", **more: Any) -> Any:
        """POST order in bitcoin."""
        asked = {"symbol": "BTCUSDT", "side": side, "type": kind, "quantity": quantity} | more
        return self.ask("POST", "/fapi/v1/order", **asked)

    def refused_order(self, side: str, quantity: str, kind: str = "MARKET", **more: Any) -> int:
        """The code that such an order is refused with."""
        asked = {"symbol": "BTCUSDT", "side": side, "type": kind, "quantity": quantity} | more
        return self.code("POST", "/fapi/v1/order", **asked)

    def stop(self, side: str, trigger: str, quantity: str = "0.1", **more: Any) -> Any:
        """POST algoOrder in bitcoin: reduce-only, at market, on the mark price."""
        return self.ask("POST", "/fapi/v1/algoOrder", **stop(side, trigger, quantity, **more))

    def isolated(self, leverage: int = 10, symbol: str = "BTCUSDT") -> None:
        """Set isolated margin and leverage."""
        self.ask("POST", "/fapi/v1/marginType", symbol=symbol, marginType="ISOLATED")
        self.ask("POST", "/fapi/v1/leverage", symbol=symbol, leverage=leverage)

    def positions(self) -> list[Any]:
        """GET positionRisk."""
        rows: list[Any] = self.ask("GET", "/fapi/v3/positionRisk")
        return rows

    def account(self) -> dict[str, Any]:
        """GET account."""
        seen: dict[str, Any] = self.ask("GET", "/fapi/v3/account")
        return seen


def stop(side: str, trigger: str, quantity: str = "0.1", **more: Any) -> dict[str, Any]:
    """The parameters of a conditional order; a leg that is named is reduced by that alone."""
    reducing = {} if "positionSide" in more else {"reduceOnly": True}
    return {
        "algoType": "CONDITIONAL",
        "symbol": "BTCUSDT",
        "side": side,
        "type": "STOP_MARKET",
        "quantity": quantity,
        "triggerPrice": trigger,
        "workingType": "MARK_PRICE",
        **reducing,
    } | more


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
