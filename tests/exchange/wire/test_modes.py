"""Hedge mode, several assets, transfers and stop-limits, as clients ask for them and see them."""

from dataclasses import replace
from typing import Any

import pytest

from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.books import Pledge
from bot.exchange.paper.ladders import BINANCE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.sources import ByHand
from bot.exchange.venues import binanceusdm
from tests.exchange.wire.build import BTC, NO_FUNDING, T0, Client, D, exchange, stop

ALGO = "/fapi/v1/algoOrder"
DUAL, MULTI = "/fapi/v1/positionSide/dual", "/fapi/v1/multiAssetsMargin"
TRANSFER = "/sapi/v1/asset/transfer"


@pytest.fixture
def client() -> Client:
    """Isolated margin at tenfold leverage."""
    made = Client(exchange())
    made.isolated()
    return made


@pytest.fixture
def hedged(client: Client) -> Client:
    """The same in hedge mode, long of 0.2 and short of 0.1."""
    client.ask("POST", DUAL, dualSidePosition=True)
    assert client.order("BUY", "0.2", positionSide="LONG")["status"] == "FILLED"
    assert client.order("SELL", "0.1", positionSide="SHORT")["status"] == "FILLED"
    return client


def legs(client: Client) -> dict[str, str]:
    return {each["positionSide"]: each["positionAmt"] for each in client.positions()}


# -- hedge mode -------------------------------------------------------------------------------


def test_in_hedge_mode_a_contract_has_two_positions(hedged: Client) -> None:
    assert hedged.ask("GET", DUAL) == {"dualSidePosition": True}
    assert hedged.ask("GET", "/fapi/v1/accountConfig")["dualSidePosition"] is True
    assert legs(hedged) == {"LONG": "0.2", "SHORT": "-0.1"}
    rows = hedged.account()["positions"]
    assert {each["positionSide"] for each in rows} == {"LONG", "SHORT"}
    assert hedged.order("SELL", "0.05", positionSide="LONG")["positionSide"] == "LONG"
    assert hedged.order("BUY", "0.1", positionSide="SHORT")["status"] == "FILLED"
    assert legs(hedged) == {"LONG": "0.15"}
    trades = hedged.ask("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")
    assert [each["positionSide"] for each in trades] == ["LONG", "SHORT", "LONG", "SHORT"]


def test_its_streams_tell_of_each_leg(hedged: Client) -> None:
    hedged.exchange.take_outbox()
    hedged.order("BUY", "0.1", positionSide="SHORT")
    (event,) = hedged.events("ACCOUNT_UPDATE")
    assert [(each["ps"], each["pa"]) for each in event["a"]["P"]] == [("SHORT", "0")]


@pytest.mark.parametrize(
    ("code", "more"),
    [
        (-4061, {}),
        (-4061, {"positionSide": "BOTH"}),
        (-4060, {"positionSide": "SIDEWAYS"}),
        (-1106, {"positionSide": "LONG", "reduceOnly": True}),
    ],
)
def test_an_order_has_to_name_its_leg(hedged: Client, code: int, more: dict[str, Any]) -> None:
    assert hedged.refused_order("BUY", "0.1", **more) == code


def test_a_leg_that_is_not_there_cannot_be_closed(client: Client) -> None:
    client.ask("POST", DUAL, dualSidePosition=True)
    assert client.refused_order("SELL", "0.1", positionSide="LONG") == -2022


def test_each_leg_has_its_stop_and_its_margin(hedged: Client) -> None:
    margin = "/fapi/v1/positionMargin"
    moved = {"symbol": "BTCUSDT", "amount": "50", "type": 1}
    assert hedged.code("POST", margin, **moved) == -4061
    hedged.ask("POST", margin, **moved, positionSide="SHORT")
    (row,) = hedged.ask("GET", f"{margin}/history", symbol="BTCUSDT")
    assert (row["positionSide"], row["amount"]) == ("SHORT", "50")
    wallets = {each["positionSide"]: each["isolatedWallet"] for each in hedged.positions()}
    assert D(wallets["SHORT"]) == 650
    assert hedged.stop("BUY", "62000", positionSide="SHORT")["positionSide"] == "SHORT"
    hedged.stop("SELL", "58000", positionSide="LONG")
    hedged.move(BTC, "62000")
    assert legs(hedged) == {"LONG": "0.2"}


@pytest.mark.parametrize(
    ("side", "leg", "more"),
    [
        ("BUY", "LONG", {"closePosition": True}),
        ("SELL", "SHORT", {"closePosition": True}),
        ("SELL", "LONG", {"closePosition": True, "quantity": "0.1"}),
    ],
)
def test_a_stop_of_a_leg_closes_all_of_that_leg_alone(
    hedged: Client, side: str, leg: str, more: dict[str, Any]
) -> None:
    """`documented`: closePosition in hedge mode, not against the other leg."""
    asked = stop(side, "58000" if side == "SELL" else "62000", positionSide=leg) | more
    if "quantity" not in more:
        del asked["quantity"]
    assert hedged.code("POST", ALGO, **asked) == -4136
    closing = stop("SELL", "58000", positionSide="LONG", closePosition=True)
    del closing["quantity"]
    hedged.ask("POST", ALGO, **closing)
    hedged.move(BTC, "57900")
    assert legs(hedged) == {"SHORT": "-0.1"}


def test_the_other_mode_refuses_what_is_meant_for_one(client: Client) -> None:
    """So that no order opens where the mode was changed between a read and a write."""
    client.order("BUY", "0.1")
    assert client.refused_order("SELL", "0.1", positionSide="LONG") == -4061
    assert client.code("POST", ALGO, **stop("SELL", "58000", positionSide="LONG")) == -4061
    margin = {"symbol": "BTCUSDT", "amount": "50", "type": 1, "positionSide": "LONG"}
    assert client.code("POST", "/fapi/v1/positionMargin", **margin) == -4061
    client.order("SELL", "0.1", reduceOnly=True)
    client.ask("POST", DUAL, dualSidePosition=True)
    assert client.refused_order("SELL", "0.1", reduceOnly=True) == -4061
    assert client.code("POST", ALGO, **stop("SELL", "58000")) == -4061


def test_the_mode_changes_only_where_nothing_is_open(hedged: Client) -> None:
    assert hedged.code("POST", DUAL, dualSidePosition=True) == -4059
    assert hedged.code("POST", DUAL, dualSidePosition=False) == -4068
    hedged.order("SELL", "0.2", positionSide="LONG")
    hedged.order("BUY", "0.1", positionSide="SHORT")
    resting = {"price": "50000", "timeInForce": "GTC", "positionSide": "LONG"}
    hedged.order("BUY", "0.1", "LIMIT", **resting)
    assert hedged.code("POST", DUAL, dualSidePosition=False) == -4067
    hedged.ask("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    hedged.ask("POST", DUAL, dualSidePosition=False)
    assert hedged.ask("GET", DUAL) == {"dualSidePosition": False}


def test_a_liquidated_leg_is_told_as_such(hedged: Client) -> None:
    hedged.move(BTC, "53000")
    assert legs(hedged) == {"SHORT": "-0.1"}
    (row,) = hedged.ask("GET", "/fapi/v1/forceOrders", symbol="BTCUSDT")
    assert (row["positionSide"], row["side"]) == ("LONG", "SELL")


# -- orders that wait -------------------------------------------------------------------------


def test_a_stop_limit_becomes_a_plain_order_that_rests(client: Client) -> None:
    """The mark triggers at 57,000 with last at 55,000: 56,500 is not to be had there."""
    client.order("BUY", "0.1")
    asked = stop("SELL", "57000", type="STOP", price="56500", timeInForce="GTC")
    client.ask("POST", ALGO, **asked, clientAlgoId="limited")
    source = client.exchange.source
    assert isinstance(source, ByHand)
    source.move(BTC, Prices(Price(D(57_000)), Price(D(55_000))))
    client.exchange.advance(T0)
    client.exchange.settle()
    assert client.ask("GET", "/fapi/v1/openAlgoOrders") == []
    (resting,) = client.ask("GET", "/fapi/v1/openOrders")
    assert (resting["status"], resting["price"], resting["clientOrderId"]) == (
        "NEW",
        "56500",
        "limited",
    )
    algo = client.ask("GET", ALGO, clientAlgoId="limited")
    assert (algo["algoStatus"], algo["actualOrderId"]) == ("TRIGGERED", str(resting["orderId"]))
    assert client.positions()
    client.move(BTC, "58000")
    assert not client.positions()
    algo = client.ask("GET", ALGO, clientAlgoId="limited")
    assert (algo["algoStatus"], D(algo["actualPrice"])) == ("FINISHED", D(56_500))


def test_what_a_stop_limit_has_sent_is_cancelled_as_a_plain_order(client: Client) -> None:
    client.order("BUY", "0.1")
    asked = stop("SELL", "57000", type="STOP", price="57500", timeInForce="GTC")
    placed = client.ask("POST", ALGO, **asked)
    client.move(BTC, "57000")
    assert client.code("DELETE", ALGO, algoId=placed["algoId"]) == -2011
    (resting,) = client.ask("GET", "/fapi/v1/openOrders")
    client.ask("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=resting["orderId"])
    assert client.ask("GET", "/fapi/v1/openOrders") == []
    assert client.positions()
    assert client.ask("GET", ALGO, algoId=placed["algoId"])["algoStatus"] == "FINISHED"


def test_a_liquidation_cancels_what_rests(client: Client) -> None:
    client.order("BUY", "0.1")
    client.order("SELL", "0.05", "LIMIT", price="65000", timeInForce="GTC", reduceOnly=True)
    client.stop("SELL", "40000")
    client.move(BTC, "53000")
    assert not client.positions()
    assert client.ask("GET", "/fapi/v1/openOrders") == []
    assert client.ask("GET", "/fapi/v1/openAlgoOrders") == []
    (plain,) = [
        each
        for each in client.ask("GET", "/fapi/v1/allOrders", symbol="BTCUSDT")
        if each["price"] == "65000"
    ]
    assert plain["status"] == "CANCELED"


def test_a_market_order_may_not_be_as_large_as_a_limit_order(client: Client) -> None:
    info = client.ask("GET", "/fapi/v1/exchangeInfo", symbol="BTCUSDT")
    sizes = {each["filterType"]: each for each in info["symbols"][0]["filters"]}
    assert D(sizes["MARKET_LOT_SIZE"]["maxQty"]) == 1_000
    assert D(sizes["LOT_SIZE"]["maxQty"]) == 10_000
    assert client.refused_order("BUY", "1000.001") == -4005
    limit = {"price": "30000", "timeInForce": "GTC"}
    assert client.refused_order("BUY", "1000.001", "LIMIT", **limit) in (-2027, -2019)
    assert client.refused_order("BUY", "10000.001", "LIMIT", **limit) == -4005


def test_a_contract_has_filters_of_its_own(client: Client) -> None:
    machine = client.exchange.machine
    narrow = replace(machine.instruments[BTC], quantity_max=Quantity(D(120)), stops_max=7)
    machine._books.instruments[BTC] = narrow
    info = client.ask("GET", "/fapi/v1/exchangeInfo")
    filters = {
        row["symbol"]: {each["filterType"]: each for each in row["filters"]}
        for row in info["symbols"]
    }
    assert filters["BTCUSDT"]["MARKET_LOT_SIZE"]["maxQty"] == "120"
    assert filters["BTCUSDT"]["MAX_NUM_ALGO_ORDERS"]["limit"] == 7
    assert D(filters["ETHUSDT"]["MARKET_LOT_SIZE"]["maxQty"]) == 1_000
    assert filters["ETHUSDT"]["MAX_NUM_ALGO_ORDERS"]["limit"] == 10
    assert client.refused_order("BUY", "120.001") == -4005


# -- transfers --------------------------------------------------------------------------------


def test_money_goes_from_the_spot_wallet_and_back(client: Client) -> None:
    into = {"type": "MAIN_UMFUTURE", "asset": "USDT"}
    out = {"type": "UMFUTURE_MAIN", "asset": "USDT"}
    client.ask("POST", TRANSFER, **into, amount="2500")
    assert D(client.account()["totalWalletBalance"]) == 12_500
    assert client.code("POST", TRANSFER, **into, amount="7500.01") == -5013
    client.ask("POST", TRANSFER, **out, amount="12500")
    assert D(client.account()["totalWalletBalance"]) == 0
    client.ask("POST", TRANSFER, **into, amount="20000")
    rows = client.ask("GET", "/fapi/v1/income", incomeType="TRANSFER")
    assert [D(each["income"]) for each in rows] == [2_500, -12_500, 20_000]
    history = client.ask("GET", TRANSFER, type="MAIN_UMFUTURE")
    assert (history["total"], history["rows"][1]["amount"]) == (2, "20000")
    reasons = [each["a"]["m"] for each in client.events("ACCOUNT_UPDATE")]
    assert reasons == ["DEPOSIT", "WITHDRAW", "DEPOSIT"]


def test_what_a_position_needs_stays(client: Client) -> None:
    client.ask("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="CROSSED")
    client.order("BUY", "0.5")
    out = {"type": "UMFUTURE_MAIN", "asset": "USDT"}
    free = D(client.account()["availableBalance"])
    assert client.code("POST", TRANSFER, **out, amount=free + D("0.01")) == -5013
    client.ask("POST", TRANSFER, **out, amount=free)
    assert D(client.account()["availableBalance"]) == 0
    assert client.code("POST", TRANSFER, **out | {"type": "MAIN_CMFUTURE"}, amount=1) == -9000


# -- several assets ---------------------------------------------------------------------------


def with_coins() -> Client:
    """Bitcoin counts 95 % of its worth; the account has 1,000 USDT and one of it."""
    listed = binanceusdm.instruments()
    machine = PaperMachine(
        [replace(listed[BTC])],
        Ratio(D(0)),
        ladder=BINANCE,
        pledges=[Pledge("BTC", Ratio(D("0.95")), BTC)],
    )
    machine.move(T0, {BTC: Prices(Price(D(60_000)), Price(D(60_000)))})
    client = Client(WireExchange(machine, ByHand(machine, NO_FUNDING), Money(D(1_000))))
    client.account()
    client.exchange.desk("alice").pay_in("BTC", D(1))
    return client


def test_without_an_asset_that_counts_there_is_no_such_mode(client: Client) -> None:
    assert client.code("POST", MULTI, multiAssetsMargin=False) == -4171
    assert client.code("POST", MULTI, multiAssetsMargin=True) == -9000


def test_in_multi_assets_mode_coins_carry_cross_positions() -> None:
    client = with_coins()
    assert D(client.account()["totalWalletBalance"]) == 1_000
    assert client.refused_order("BUY", "1") == -2019
    client.ask("POST", MULTI, multiAssetsMargin=True)
    assert client.ask("GET", MULTI) == {"multiAssetsMargin": True}
    seen = client.account()
    assert D(seen["totalWalletBalance"]) == 61_000
    assert D(seen["availableBalance"]) == 58_000
    assert [(each["asset"], each["walletBalance"]) for each in seen["assets"]][1] == ("BTC", "1")
    assert client.order("BUY", "1")["status"] == "FILLED"
    assert client.code("POST", MULTI, multiAssetsMargin=False) == -4169
    isolated = {"symbol": "BTCUSDT", "marginType": "ISOLATED"}
    assert client.code("POST", "/fapi/v1/marginType", **isolated) == -4168
