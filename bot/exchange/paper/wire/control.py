"""
The control port: what a tester may do to the venue that no client could.

A command takes its parameters from the query or from a JSON object in the body. `/control/help`
is made from the table that performs them, so that it cannot lag behind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bot.core.model import NotReported
from bot.core.units import ZERO, Price, Ratio
from bot.exchange.paper.books import Resting
from bot.exchange.paper.prices import FundingTerm, Prices
from bot.exchange.paper.wire.admission import BAN_MS
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.hub import Hub
from bot.exchange.paper.wire.listing import id_of, text
from bot.exchange.paper.wire.mishaps import WITHOUT_EFFECT, Mishap, MishapKind, Mishaps
from bot.exchange.paper.wire.parameters import Parameters
from bot.exchange.paper.wire.refusal import Refusal
from bot.exchange.paper.wire.sources import FUNDING_INTERVAL_MS, ByHand
from bot.exchange.paper.wire.views import ASSET, view

LOOPBACK = "127.0.0.1"


class ControlRefused(Exception):
    """What was ordered cannot be done. One line."""


@dataclass(frozen=True, slots=True)
class Command:
    """An order that the control port takes."""

    method: str
    path: str
    parameters: dict[str, str]
    does: str
    perform: Callable[[Parameters], dict[str, Any]]


class Control:
    """Performs commands on an exchange that has been advanced to now."""

    def __init__(
        self,
        exchange: WireExchange,
        mishaps: Mishaps,
        hub: Hub,
        publish: Callable[[], None],
    ) -> None:
        self._exchange = exchange
        self._mishaps = mishaps
        self._hub = hub
        self._publish = publish
        kinds = " | ".join(MishapKind)
        symbol = "a contract, like BTCUSDT"
        self._commands = (
            Command("GET", "/control/help", {}, "This list.", self._help),
            Command(
                "GET", "/control/state", {}, "Prices, accounts and faults ahead.", self._state
            ),
            Command(
                "POST",
                "/control/mark",
                {
                    "symbol": symbol,
                    "price": "the mark price to move to",
                    "last": "the last price; as price unless sent",
                    "index": "the index price; as price unless sent",
                },
                "Move the prices of a contract in a straight line and at once; stops and "
                "liquidations on the way are met. Not while recorded data plays.",
                self._mark,
            ),
            Command(
                "POST",
                "/control/liquidate",
                {"account": "its name, of paper-<name>", "symbol": symbol},
                "Move the mark price to where the account's position is liquidated.",
                self._liquidate,
            ),
            Command(
                "POST",
                "/control/funding",
                {"symbol": symbol, "rate": "like 0.0005; longs pay it if above 0"},
                "Settle funding now.",
                self._funding,
            ),
            Command(
                "POST",
                "/control/deposit",
                {
                    "account": "its name",
                    "amount": "how much",
                    "asset": f"{ASSET} unless sent, or a coin that counts as collateral",
                },
                "Pay money, or a coin, into an account's wallet.",
                self._pay_in,
            ),
            Command(
                "POST",
                "/control/fault",
                {
                    "kind": kinds,
                    "count": "how many requests it happens to; 1 unless sent",
                    "method": "GET, POST, PUT or DELETE; any unless sent",
                    "path": "how the path begins; any unless sent",
                    "effect": "whether the request has its effect, true or false",
                    "delay_ms": "how long it takes; 0 unless sent",
                },
                "Let something go wrong with the next requests that fit.",
                self._fault,
            ),
            Command("DELETE", "/control/fault", {}, "Let nothing go wrong any more.", self._calm),
            Command(
                "POST",
                "/control/streams",
                {"do": "drop | stall | resume"},
                "Close all WebSockets, send nothing on them, or send again.",
                self._streams,
            ),
            Command(
                "POST",
                "/control/listen-keys/expire",
                {"account": "its name"},
                "Forget the account's listen keys.",
                self._expire,
            ),
            Command(
                "POST",
                "/control/stops",
                {"refuse": "true | false"},
                "Let the stop endpoint refuse everything, or take stops again.",
                self._stops,
            ),
            Command(
                "POST",
                "/control/resting",
                {"rule": " | ".join(Resting)},
                "What resting stops mean for a close: nothing, a refusal (-4118), or their end.",
                self._resting,
            ),
            Command(
                "POST",
                "/control/ban",
                {"address": f"an IP address; {LOOPBACK} unless sent", "ms": "for how long"},
                "Ban an address: everything is answered 418.",
                self._ban,
            ),
        )

    def order(self, method: str, path: str, texts: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Perform a command; the HTTP status and what is said."""
        for command in self._commands:
            if (command.method, command.path) == (method, path):
                try:
                    return 200, command.perform(Parameters(texts))
                except (ControlRefused, Refusal) as e:
                    said = e.text if isinstance(e, Refusal) else str(e)
                    return 400, {"error": said, "parameters": command.parameters}
        return 404, {"error": f"{method} {path}: no such command", **self._help(Parameters({}))}

    def _help(self, _: Parameters) -> dict[str, Any]:
        return {
            "commands": [
                {
                    "method": each.method,
                    "path": each.path,
                    "parameters": each.parameters,
                    "does": each.does,
                }
                for each in self._commands
            ]
        }

    def _state(self, _: Parameters) -> dict[str, Any]:
        machine = self._exchange.machine
        return {
            "time": machine.at_ms,
            "prices": {
                id_of(symbol): {
                    "mark": text(quote.mark),
                    "last": text(quote.last),
                    "index": text(quote.index),
                }
                for symbol, quote in machine.quotes.items()
            },
            "accounts": {
                name: {
                    "equity": text(machine.equity(name)),
                    "positions": [
                        each.risk_row(machine.at_ms) for each in view(machine, name).positions
                    ],
                }
                for name in self._exchange.accounts
            },
            "faults": [
                {"kind": each.kind.value, "left": each.left} for each in self._mishaps.ahead
            ],
            "listeners": len(self._hub.listeners),
            "topics": sorted({each for one in self._hub.listeners for each in one.streams}),
        }

    def _mark(self, asked: Parameters) -> dict[str, Any]:
        instrument = self._exchange.listing.named(asked.text("symbol"))
        mark = asked.decimal("price")
        last = asked.decimal("last") if asked.has("last") else mark
        index = asked.decimal("index") if asked.has("index") else mark
        self._move(instrument.symbol, mark, last, index)
        return self._prices(instrument.symbol)

    def _liquidate(self, asked: Parameters) -> dict[str, Any]:
        symbol = self._exchange.listing.named(asked.text("symbol")).symbol
        name = asked.text("account")
        if name not in self._exchange.accounts:
            known = ", ".join(self._exchange.accounts) or "none yet"
            raise ControlRefused(f"account: expected one of {known}, was {name!r}")
        held = [
            each.position
            for each in view(self._exchange.machine, name).positions
            if each.position.symbol == symbol
        ]
        if not held:
            raise ControlRefused(f"{name}: expected a position in {id_of(symbol)}, was none")
        liquidation = held[0].liquidation
        if isinstance(liquidation, NotReported):
            raise ControlRefused(f"{name}: no price of {id_of(symbol)} alone liquidates it")
        tick = self._exchange.machine.instruments[symbol].tick_size
        there = liquidation.price - held[0].side.sign * tick
        self._move(symbol, there, there, there)
        return self._prices(symbol)

    def _funding(self, asked: Parameters) -> dict[str, Any]:
        symbol, machine = (
            self._exchange.listing.named(asked.text("symbol")).symbol,
            self._exchange.machine,
        )
        now_ms = machine.at_ms
        rate = Ratio(asked.decimal("rate"))
        machine.announce(FundingTerm(now_ms, symbol, rate, now_ms + 1, FUNDING_INTERVAL_MS))
        self._exchange.advance(now_ms + 1)
        self._publish()
        return {"symbol": id_of(symbol), "rate": text(rate), "settled_at": now_ms + 1}

    def _pay_in(self, asked: Parameters) -> dict[str, Any]:
        name, amount = asked.text("account"), asked.decimal("amount")
        asset = asked.text("asset") if asked.has("asset") else ASSET
        known = (ASSET, *self._exchange.machine.pledges)
        if asset not in known:
            raise ControlRefused(f"asset: expected one of {', '.join(known)}, was {asset!r}")
        try:
            self._exchange.pay_in(name, asset, amount)
        except ValueError as e:
            raise ControlRefused(str(e)) from e
        return {"account": name, "equity": text(self._exchange.machine.equity(name))}

    def _fault(self, asked: Parameters) -> dict[str, Any]:
        expected = Refusal(-1102, f"kind: expected one of {', '.join(MishapKind)}")
        kind = asked.choice(MishapKind, "kind", expected)
        effect = asked.flag("effect") if asked.has("effect") else kind not in WITHOUT_EFFECT
        mishap = Mishap(
            kind=kind,
            left=asked.integer_or("count", 1),
            has_effect=effect,
            method=asked.text("method").upper() if asked.has("method") else "",
            path=asked.text("path") if asked.has("path") else "",
            delay_ms=asked.integer_or("delay_ms", 0),
        )
        if mishap.left < 1 or mishap.delay_ms < 0:
            raise ControlRefused("fault: expected a count above 0 and a delay_ms from 0 on")
        self._mishaps.ahead.append(mishap)
        return {"kind": kind.value, "left": mishap.left, "effect": effect}

    def _calm(self, _: Parameters) -> dict[str, Any]:
        self._mishaps.ahead.clear()
        return {"faults": []}

    def _streams(self, asked: Parameters) -> dict[str, Any]:
        match asked.text("do"):
            case "drop":
                self._hub.close_all()
            case "stall":
                self._hub.stalled = True
            case "resume":
                self._hub.stalled = False
            case other:
                raise ControlRefused(f"do: expected drop, stall or resume, was {other!r}")
        return {"listeners": len(self._hub.listeners), "stalled": self._hub.stalled}

    def _expire(self, asked: Parameters) -> dict[str, Any]:
        self._exchange.expire_listen_keys(asked.text("account"))
        return {"account": asked.text("account")}

    def _stops(self, asked: Parameters) -> dict[str, Any]:
        asked.text("refuse")
        self._exchange.machine.refuse_stops = asked.flag("refuse")
        return {"refuse": self._exchange.machine.refuse_stops}

    def _resting(self, asked: Parameters) -> dict[str, Any]:
        expected = Refusal(-1102, f"rule: expected one of {', '.join(Resting)}")
        self._exchange.machine.resting = asked.choice(Resting, "rule", expected)
        return {"rule": self._exchange.machine.resting.value}

    def _ban(self, asked: Parameters) -> dict[str, Any]:
        until_ms = self._exchange.machine.at_ms + asked.integer_or("ms", BAN_MS)
        address = asked.text("address") if asked.has("address") else LOOPBACK
        self._exchange.limits.ban(address, until_ms)
        return {"address": address, "until": until_ms}

    def _move(self, symbol: str, mark: Decimal, last: Decimal, index: Decimal) -> None:
        source = self._exchange.source
        if not isinstance(source, ByHand):
            raise ControlRefused(
                "prices come from recorded data: start without --data to move them"
            )
        if min(mark, last, index) <= ZERO:
            raise ControlRefused(f"price: expected more than 0, was {mark}, {last} and {index}")
        source.move(symbol, Prices(Price(mark), Price(last), Price(index)))
        self._exchange.advance(self._exchange.machine.at_ms)
        self._publish()

    def _prices(self, symbol: str) -> dict[str, Any]:
        quote = self._exchange.machine.quotes[symbol]
        return {"symbol": id_of(symbol), "mark": text(quote.mark), "last": text(quote.last)}
