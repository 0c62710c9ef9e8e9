"""What orders do on the wire, what is told about them, and with which codes they are refused."""

from decimal import Decimal

import pytest

from bot.core.units import Price, Ratio
from bot.exchange.paper.prices import FundingTerm, Prices
from tests.exchange.wire.build import BTC, T0, Client, D, exchange, stop

ORDER, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"


@pytest.fixture
def client() -> Client:
    """Isolated margin at tenfold leverage."""
    made = Client(exchange())
    made.isolated()
    return made


# -- the life of a position ----------------------------------------------------------------


def test_a_market_order_opens_an_isolated_position_and_its_close_ends_it(client: Client) -> None:
    opened = client.order("BUY", "0.1", newClientOrderId="in")
    assert (opened["status"], opened["executedQty"], opened["avgPrice"]) == (
        "FILLED",
        "0.1",
        "60000",
    )
    (row,) = client.positions()
    assert (row["positionAmt"], row["entryPrice"], row["isolatedWallet"]) == (
        "0.1",
        "60000",
        "600.00000000",
    )
    # By hand, first tier: (600 - 6000) / (0.1 x (0.004 - 1)) = 54216.867..., up to the tick.
    assert row["liquidationPrice"] == "54216.9"
    assert row["maintMargin"] == "24.00000000"
    closed = client.order("SELL", "0.5", reduceOnly=True)
    assert (closed["status"], closed["executedQty"], closed["origQty"]) == (
        "EXPIRED",
        "0.1",
        "0.5",
    )
    assert not client.positions()


def test_a_sale_opens_a_short_and_a_larger_purchase_turns_it(client: Client) -> None:
    client.order("SELL", "0.1")
    assert client.positions()[0]["positionAmt"] == "-0.1"
    client.order("BUY", "0.3")
    assert client.positions()[0]["positionAmt"] == "0.2"


def test_a_position_grows_at_the_average_price(client: Client) -> None:
    client.order("BUY", "0.1")
    client.move(BTC, "63000")
    client.order("BUY", "0.2")
    (row,) = client.positions()
    # By hand: (0.1 x 60000 + 0.2 x 63000) / 0.3 = 62000; margin 600 + 0.2 x 63000 / 10.
    assert (row["positionAmt"], row["entryPrice"], row["isolatedWallet"]) == (
        "0.3",
        "62000",
        "1860.00000000",
    )


def test_a_cross_position_leaves_the_wallet_whole() -> None:
    client = Client(exchange())
    client.order("BUY", "0.1")
    (row,) = client.positions()
    assert (row["isolatedMargin"], row["isolatedWallet"]) == ("0.00000000", "0")
    seen = client.account()
    assert seen["totalCrossWalletBalance"] == "9997.00000000"
    assert seen["totalPositionInitialMargin"] == "300.00000000"


def test_margin_can_be_added_and_is_in_the_history(client: Client) -> None:
    client.order("BUY", "0.1")
    said = client.ask("POST", "/fapi/v1/positionMargin", symbol="BTCUSDT", amount="100.25", type=1)
    assert said == {
        "code": 200,
        "msg": "Successfully modify position margin.",
        "amount": 100.25,
        "type": 1,
    }
    assert client.positions()[0]["isolatedWallet"] == "700.25000000"
    (row,) = client.ask("GET", "/fapi/v1/positionMargin/history", symbol="BTCUSDT")
    assert (row["amount"], row["time"]) == ("100.25", T0)
    (told,) = [event for event in client.events("ACCOUNT_UPDATE") if event["a"]["m"] != "ORDER"]
    assert told["a"]["m"] == "MARGIN_TRANSFER"
    assert told["a"]["P"][0]["iw"] == "700.25000000"


def test_a_position_is_liquidated_and_its_stops_with_it(client: Client) -> None:
    client.order("BUY", "0.1")
    client.stop("SELL", "50000")
    client.events("ORDER_TRADE_UPDATE")
    client.move(BTC, "54216.8")
    assert not client.positions()
    (order,) = client.ask("GET", "/fapi/v1/forceOrders")
    assert order["clientOrderId"].startswith("autoclose-")
    assert order["status"] == "FILLED"
    pushed = client.exchange.take_outbox()
    assert [
        (event["o"]["x"], event["o"]["X"], event["o"]["rp"])
        for _, event in pushed
        if event["e"] == "ORDER_TRADE_UPDATE"
    ] == [("CALCULATED", "FILLED", "-581.03000000")]  # 0.1 x (54189.7 - 60000): 5 bp worse
    (cleared,) = client.ask("GET", "/fapi/v1/income", incomeType="INSURANCE_CLEAR")
    assert cleared["income"] == "-18.97000000"  # the fee takes what was left of 600
    (gone,) = [event for _, event in pushed if event["e"] == "ACCOUNT_UPDATE"]
    assert gone["a"]["P"][0]["pa"] == "0"
    assert client.account()["totalWalletBalance"] == "9397.00000000"
    (row,) = client.ask("GET", "/fapi/v1/allAlgoOrders", symbol="BTCUSDT")
    assert row["algoStatus"] == "CANCELED"


def test_a_warning_comes_before_a_liquidation(client: Client) -> None:
    client.order("BUY", "0.1")
    client.move(BTC, "54500")
    assert not client.events("MARGIN_CALL")
    client.move(BTC, "54250")
    (called,) = client.events("MARGIN_CALL")
    assert called["p"][0]["s"] == "BTCUSDT"
    client.move(BTC, "54249")
    assert not client.events("MARGIN_CALL")


def test_funding_is_an_income_and_an_event(client: Client) -> None:
    client.order("BUY", "0.1")
    client.exchange.take_outbox()
    term = FundingTerm(T0, BTC, Ratio(D("0.001")), T0 + 10, 8)
    client.exchange.machine.announce(term)
    client.now_ms += 10
    (paid,) = client.ask("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")
    assert (paid["income"], paid["time"]) == ("-6.00000000", T0 + 10)
    (event,) = client.events("ACCOUNT_UPDATE")
    assert event["a"]["m"] == "FUNDING_FEE"
    (rate,) = client.ask("GET", "/fapi/v1/fundingRate", symbol="BTCUSDT")
    assert (rate["fundingRate"], rate["fundingTime"]) == ("0.001", T0 + 10)


# -- stops and orders that wait ------------------------------------------------------------


def test_a_mark_price_stop_rests_triggers_and_leaves_an_order(client: Client) -> None:
    client.order("BUY", "0.1")
    placed = client.stop("SELL", "57000", clientAlgoId="st1")
    assert (placed["algoStatus"], placed["orderType"]) == ("NEW", "STOP_MARKET")
    assert [row["clientAlgoId"] for row in client.ask("GET", "/fapi/v1/openAlgoOrders")] == ["st1"]
    client.move(BTC, "56000")
    assert not client.positions()
    done = client.ask("GET", ALGO, clientAlgoId="st1")
    # The stop is met on the way, at 57,000, and filled 5 bp worse.
    assert (done["algoStatus"], done["actualQty"], done["actualPrice"]) == (
        "FINISHED",
        "0.1",
        "56971.5",
    )
    order = client.ask("GET", ORDER, symbol="BTCUSDT", orderId=done["actualOrderId"])
    assert (order["status"], order["clientOrderId"]) == ("FILLED", "st1")
    assert [event["o"]["X"] for event in client.events("ALGO_UPDATE")] == [
        "NEW",
        "TRIGGERED",
        "FINISHED",
    ]


def test_a_last_price_stop_heeds_the_last_price(client: Client) -> None:
    client.order("BUY", "0.1")
    client.stop("SELL", "57000", workingType="CONTRACT_PRICE")
    client.exchange.machine.move(T0, {BTC: _prices("56000", "58000")})
    client.exchange.advance(T0)
    assert client.positions()
    client.exchange.machine.move(T0, {BTC: _prices("58000", "56000")})
    client.exchange.advance(T0)
    assert not client.positions()


def test_a_take_profit_waits_for_the_other_side(client: Client) -> None:
    client.order("BUY", "0.1")
    client.stop("SELL", "63000", type="TAKE_PROFIT_MARKET")
    client.move(BTC, "59000")
    assert client.positions()
    client.move(BTC, "63000")
    assert not client.positions()


def test_a_close_position_stop_closes_what_there_is_and_is_alone(client: Client) -> None:
    client.order("BUY", "0.1")
    whole = {"symbol": "BTCUSDT", "side": "SELL", "closePosition": True}
    asked = {"algoType": "CONDITIONAL", "type": "STOP_MARKET", "workingType": "MARK_PRICE"}
    placed = client.ask("POST", ALGO, **whole, **asked, triggerPrice="57000")
    assert (placed["quantity"], placed["closePosition"]) == ("0", True)
    assert client.code("POST", ALGO, **whole, **asked, triggerPrice="56000") == -4130
    other = asked | {"type": "TAKE_PROFIT_MARKET"}
    assert "algoId" in client.ask("POST", ALGO, **whole, **other, triggerPrice="63000")
    client.move(BTC, "57000")
    assert not client.positions()


def test_a_limit_order_waits_and_fills_at_its_price(client: Client) -> None:
    placed = client.order("BUY", "0.1", "LIMIT", price="59000", timeInForce="GTC")
    assert placed["status"] == "NEW"
    assert len(client.ask("GET", "/fapi/v1/openOrders")) == 1
    client.move(BTC, "58900")
    done = client.ask("GET", ORDER, symbol="BTCUSDT", orderId=placed["orderId"])
    assert (done["status"], done["avgPrice"]) == ("FILLED", "59000")
    assert client.positions()[0]["entryPrice"] == "59000"


def test_an_immediate_order_does_not_wait_and_a_maker_does_not_take(client: Client) -> None:
    ioc = client.order("BUY", "0.1", "LIMIT", price="59000", timeInForce="IOC")
    assert ioc["status"] == "EXPIRED"
    maker = {"price": "61000", "timeInForce": "GTX"}
    assert client.refused_order("BUY", "0.1", "LIMIT", **maker) == -5022
    assert not client.positions()


def test_orders_are_cancelled_each_in_its_own_book(client: Client) -> None:
    client.order("BUY", "0.1")
    client.order("SELL", "0.1", "LIMIT", price="65000", timeInForce="GTC")
    client.stop("SELL", "57000")
    client.ask("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    assert not client.ask("GET", "/fapi/v1/openOrders")
    assert client.ask("GET", "/fapi/v1/openAlgoOrders")
    client.ask("DELETE", "/fapi/v1/algoOpenOrders", symbol="BTCUSDT")
    assert not client.ask("GET", "/fapi/v1/openAlgoOrders")
    client.move(BTC, "56000")
    assert client.positions()


# -- refusals ------------------------------------------------------------------------------


def test_a_client_id_may_be_used_again_once_its_order_is_over(client: Client) -> None:
    client.order("BUY", "0.1", newClientOrderId="one")
    assert "orderId" in client.order("SELL", "0.05", newClientOrderId="one", reduceOnly=True)
    resting = {"price": "65000", "timeInForce": "GTC", "newClientOrderId": "two"}
    client.order("SELL", "0.01", "LIMIT", **resting)
    assert client.refused_order("SELL", "0.01", "LIMIT", **resting) == -4116
    client.stop("SELL", "57000", clientAlgoId="st")
    assert client.code("POST", ALGO, **stop("SELL", "57000", clientAlgoId="st")) == -4116


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        (-1121, {"symbol": "NONEUSDT"}),
        (-1117, {"side": "LONG"}),
        (-1116, {"type": "ICEBERG"}),
        (-4120, {"type": "STOP_MARKET"}),
        (-1102, {"quantity": ""}),
        (-1102, {"quantity": "NaN"}),
        (-1111, {"quantity": "0.1001"}),
        (-4003, {"quantity": "0"}),
        (-4005, {"quantity": "10001"}),
        (-4164, {"quantity": "0.001", "symbol": "ETHUSDT"}),
        (-2019, {"quantity": "3"}),
        (-2022, {"reduceOnly": True}),
        (-4061, {"positionSide": "LONG"}),
        (-4015, {"newClientOrderId": "no spaces"}),
        (-4015, {"newClientOrderId": "x" * 37}),
        (-1102, {"type": "LIMIT"}),
        (-4014, {"type": "LIMIT", "price": "59000.05", "timeInForce": "GTC"}),
        (-1115, {"type": "LIMIT", "price": "59000", "timeInForce": "EVER"}),
    ],
)
def test_orders_are_refused_with_the_venues_codes(
    client: Client, code: int, asked: dict[str, object]
) -> None:
    fine = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.1"}
    assert client.code("POST", ORDER, **fine | asked) == code
    assert not client.positions()
    assert not client.ask("GET", "/fapi/v1/openOrders")


def test_a_stop_beyond_the_price_would_trigger_at_once(client: Client) -> None:
    client.order("BUY", "0.1")
    assert client.code("POST", ALGO, **stop("SELL", "60000")) == -2021
    assert (
        client.code("POST", ALGO, **stop("SELL", "61000", workingType="CONTRACT_PRICE")) == -2021
    )


def test_a_reduce_only_stop_needs_a_position(client: Client) -> None:
    assert client.code("POST", ALGO, **stop("SELL", "57000")) == -2022


def test_resting_reduce_only_orders_reserve_the_position(client: Client) -> None:
    client.order("BUY", "0.1")
    resting = {"price": "65000", "timeInForce": "GTC", "reduceOnly": True}
    client.order("SELL", "0.05", "LIMIT", **resting)
    assert client.refused_order("SELL", "0.1", reduceOnly=True) == -4118
    assert client.order("SELL", "0.05", reduceOnly=True)["status"] == "FILLED"


def test_modes_are_changed_only_where_nothing_depends_on_them(client: Client) -> None:
    mode = "/fapi/v1/marginType"
    assert client.code("POST", mode, symbol="BTCUSDT", marginType="ISOLATED") == -4046
    client.order("BUY", "0.1", "LIMIT", price="59000", timeInForce="GTC")
    assert client.code("POST", mode, symbol="BTCUSDT", marginType="CROSSED") == -4047
    client.move(BTC, "59000")
    assert client.code("POST", mode, symbol="BTCUSDT", marginType="CROSSED") == -4048
    assert client.code("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=5) == -4161
    client.ask("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=20)
    (config,) = client.ask("GET", "/fapi/v1/symbolConfig", symbol="BTCUSDT")
    assert (config["leverage"], config["marginType"]) == (20, "ISOLATED")
    assert client.code("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=151) == -4028
    dual = "/fapi/v1/positionSide/dual"
    assert client.code("POST", dual, dualSidePosition=False) == -4059
    assert client.code("POST", dual, dualSidePosition=True) == -4068


def test_leverage_above_that_of_the_tier_is_refused(client: Client) -> None:
    client.ask("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=150)
    assert client.refused_order("BUY", "5.1") == -2027


def test_what_is_not_there_is_not_found(client: Client) -> None:
    assert client.code("GET", ORDER, symbol="BTCUSDT", orderId=1) == -2013
    assert client.code("DELETE", ORDER, symbol="BTCUSDT", origClientOrderId="x") == -2011
    assert client.code("GET", ALGO, clientAlgoId="x") == -2013
    assert client.code("DELETE", ALGO, algoId=1) == -2011
    assert (
        client.code("POST", "/fapi/v1/positionMargin", symbol="BTCUSDT", amount=1, type=1) == -4054
    )


def test_stops_are_capped(client: Client) -> None:
    client.order("BUY", "0.1")
    for at in range(10):
        client.stop("SELL", str(57_000 - at), "0.01")
    assert client.code("POST", ALGO, **stop("SELL", "56000", "0.01")) == -4045


def _prices(mark: str, last: str) -> Prices:
    return Prices(Price(Decimal(mark)), Price(Decimal(last)))
