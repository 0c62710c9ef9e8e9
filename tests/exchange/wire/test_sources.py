"""Recorded prices on the wire: in the clients' time, faster, and met in their order."""

from collections.abc import Iterator

import pytest

from bot.cli.paper import Moved, Played, make_exchange
from bot.core.units import Money, Price, Ratio
from bot.exchange.paper.ladders import BINANCE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import FundingTerm, PathItem, PricePoint
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.sources import Recorded, retimed
from bot.exchange.venues import binanceusdm
from tests.exchange.wire.build import BTC, DEPOSIT, T0, Client, D

THEN = 1_584_000_000_000
HOUR = 3_600_000


def path() -> Iterator[PathItem]:
    """An hour at 60,000, one bill on the way, and a fall to 50,000 within the next hour."""
    yield PricePoint(THEN, BTC, Price(D(60_000)), Price(D(60_000)))
    yield FundingTerm(THEN, BTC, Ratio(D("0.001")), THEN + HOUR // 2, 8 * HOUR)
    yield PricePoint(THEN + HOUR, BTC, Price(D(60_000)), Price(D(60_000)))
    yield PricePoint(THEN + 2 * HOUR, BTC, Price(D(50_000)), Price(D(50_000)))


def played(speed: float) -> Client:
    machine = PaperMachine([binanceusdm.instruments()[BTC]], Ratio(D("0.0005")), ladder=BINANCE)
    source = Recorded(retimed(path(), THEN, T0, speed), machine)
    client = Client(WireExchange(machine, source, DEPOSIT))
    client.isolated()
    client.order("BUY", "0.1")
    return client


@pytest.mark.parametrize("speed", [1, 60, 1000])
def test_what_was_recorded_happens_so_much_sooner(speed: float) -> None:
    client = played(speed)
    client.now_ms = T0 + round(1.5 * HOUR / speed)
    (row,) = client.positions()
    assert D(row["markPrice"]) == pytest.approx(D(55_000), rel=D("0.0001"))
    (paid,) = client.ask("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")
    assert (paid["income"], paid["time"]) == (
        "-6.00000000",
        pytest.approx(T0 + HOUR / 2 / speed, abs=1),
    )
    client.now_ms = T0 + round(2 * HOUR / speed)
    assert not client.positions()
    (order,) = client.ask("GET", "/fapi/v1/forceOrders")
    assert T0 + 1.5 * HOUR / speed < order["time"] < client.now_ms


def test_after_the_end_prices_stand_and_requests_go_on() -> None:
    client = played(60)
    client.now_ms = T0 + HOUR
    assert client.ask("GET", "/fapi/v1/premiumIndex", symbol="BTCUSDT")["markPrice"].startswith(
        "50000"
    )
    assert client.order("BUY", "0.1")["status"] == "FILLED"


def test_a_scenario_is_played_from_its_name() -> None:
    made = make_exchange(Played("2020-03-12-btc", 1000), T0, Money(D(1_000)))
    made.advance(T0 + 60_000)
    assert set(made.machine.quotes) == {BTC}
    by_hand = make_exchange(Moved(), T0, Money(D(1_000)))
    assert by_hand.machine.quotes[BTC].mark == D(60_000)
