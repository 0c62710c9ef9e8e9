"""A start with many positions: none of them has a stop until the rules of all are known."""

from decimal import Decimal

import pytest
from pydantic import SecretStr

from bot.clock import Clock, system_wall_ms
from bot.core.units import Money, Price, Ratio
from bot.exchange.live.connection import Loopback, connect
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.lanes import Allowance, start_budget
from bot.exchange.paper.ladders import BINANCE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.server import WireServer
from bot.exchange.paper.wire.sources import ByHand
from bot.exchange.venues import binanceusdm
from bot.exchange.venues.dialects import DIALECTS
from bot.runtime.feed import Feed
from tests.exchange.wire.build import DEPOSIT, Client

KEYS = Credentials(SecretStr("paper-alice"), SecretStr("paper"))
START_MS_MAX = 8_000
"""It takes half a second; by the budget of a minute in small parts it was 20 s."""


async def test_the_rules_of_fifteen_contracts_are_known_within_seconds() -> None:
    clock = Clock(system_wall_ms())
    listed = binanceusdm.instruments()
    machine = PaperMachine(listed.values(), Ratio(Decimal(0)), ladder=BINANCE)
    one = Price(Decimal(100))
    machine.move(clock.now_ms(), dict.fromkeys(listed, Prices(one, one)))
    venue = WireExchange(machine, ByHand(machine, Ratio(Decimal(0))), Money(DEPOSIT * 10))
    hand = Client(venue, now_ms=clock.now_ms())
    for symbol in listed:
        name = symbol.replace("/", "").partition(":")[0]
        hand.isolated(symbol=name)
        buy = {"symbol": name, "side": "BUY", "type": "MARKET", "quantity": "10"}
        assert hand.ask("POST", "/fapi/v1/order", **buy)["symbol"] == name
    server = WireServer(venue, clock, push_ms=1_000)
    async with (
        server.serving(0, 0) as (port, _),
        connect(DIALECTS["binanceusdm"], KEYS, Loopback(port), clock) as connection,
    ):
        feed = Feed(connection.market, connection.account, clock, lambda event: None)
        begun_ms = clock.now_ms()
        snapshot = await feed.read()
        took_ms = clock.now_ms() - begun_ms
        assert {each.symbol for each in snapshot.positions} == set(listed) == set(feed.listed)
    assert took_ms <= START_MS_MAX


@pytest.mark.parametrize(
    ("venue", "expected"), [("binanceusdm", 480), ("bybit", 0), ("gate", 0), ("okx", 0)]
)
def test_a_venue_that_counts_in_seconds_gets_no_burst(venue: str, expected: int) -> None:
    market = DIALECTS[venue].market
    allowed = Allowance(market.read_weight_per_minute, market.used_weight_header, market.too_many)
    assert start_budget(allowed) == expected
