"""Binance COIN-M's answers as documented and recorded, and a guard on one of its accounts."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import (
    Action,
    AddMargin,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.margin import LiquidatesAt, liquidation
from bot.core.model import (
    NO_FILL,
    ContractKind,
    Fill,
    MarginMode,
    NotReported,
    PositionMode,
    Reported,
    Side,
)
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.calls import Heard, Unreadable
from bot.exchange.live.dialect import Ground, Listed
from bot.exchange.ports import Accepted, OrderFound, Refused, Unsure
from bot.exchange.venues import binanceusdm_refusals
from bot.exchange.venues.binancecoinm_account import account_of
from bot.exchange.venues.binancecoinm_market import MARKET
from bot.exchange.venues.binancecoinm_orders import ORDERS
from bot.exchange.venues.binancecoinm_refusals import REFUSED
from bot.exchange.venues.dialects import DIALECTS, WALLETS
from bot.live import _dialect_of
from bot.policy.loader import parse_policy
from tests.exchange.venues.binance_desk import BinanceDesk, Product
from tests.exchange.venues.capture import golden
from tests.exchange.venues.stage import KEYS, Book, D, FaultKind, Scene, staged
from tests.exchange.venues.test_guarded import at_work, margins, until

BTC, ETH = "BTC/USD:BTC", "ETH/USD:ETH"
NAMES = {"BTCUSD_PERP": BTC, "ETHUSD_PERP": ETH}
LISTED = Listed(NAMES, {"BTCUSD_PERP": D(100), "ETHUSD_PERP": D(10)})
ACCOUNT = account_of("BTC")

# `recorded` by others: an isolated long (a comment in ccxt 4.5.90, parse_position_risk).
LONG_ROW = {
    "symbol": "BTCUSD_PERP",
    "positionAmt": "2",
    "entryPrice": "37643.10000021",
    "markPrice": "38103.05510455",
    "unRealizedProfit": "0.00006413",
    "liquidationPrice": "25119.97445760",
    "leverage": "2",
    "maxQty": "1500",
    "marginType": "isolated",
    "isolatedMargin": "0.00274471",
    "isAutoAddMargin": "false",
    "positionSide": "BOTH",
    "notionalValue": "0.00524892",
    "isolatedWallet": "0.00268058",
}
# Our own figures in the same form.
CROSS_SHORT = LONG_ROW | {
    "symbol": "ETHUSD_PERP",
    "positionAmt": "-30",
    "entryPrice": "2500",
    "markPrice": "2400",
    "liquidationPrice": "0",
    "leverage": "20",
    "marginType": "cross",
    "isolatedMargin": "0",
    "isolatedWallet": "0",
    "notionalValue": "-0.12500000",
}
FLAT = LONG_ROW | {"positionAmt": "0", "markPrice": "0.00000000", "notionalValue": "0"}
ONE_WAY, HEDGE = {"dualSidePosition": False}, {"dualSidePosition": True}
STOP_ROW = {
    "algoId": 7,
    "clientAlgoId": "ours",
    "orderType": "STOP_MARKET",
    "symbol": "BTCUSD_PERP",
    "side": "SELL",
    "positionSide": "BOTH",
    "quantity": "2",
    "triggerPrice": "26000.0",
    "workingType": "MARK_PRICE",
    "closePosition": False,
    "reduceOnly": True,
}


def wallet(asset: str, balance: str, free: str) -> dict[str, str]:
    """`documented`: a row of the assets of GET account."""
    return {"asset": asset, "crossWalletBalance": balance, "availableBalance": free}


def account(*rows: Mapping[str, Any]) -> dict[str, Any]:
    """GET account; its positions tell no isolated wallet in the manual's example."""
    assets = [wallet("BTC", "0.00241969", "0.002"), wallet("ETH", "1.5", "1.25")]
    told = ("symbol", "positionAmt", "positionSide", "leverage", "entryPrice")
    return {
        "assets": assets,
        "positions": [{name: row[name] for name in told} for row in rows],
        "canTrade": True,
    }


def snapshot(
    *rows: Mapping[str, Any],
    stops: tuple[Mapping[str, Any], ...] = (),
    mode: Mapping[str, Any] = ONE_WAY,
    coin: str = "BTC",
) -> Any:
    state = (list(rows), account(*rows))
    return account_of(coin).snapshot_of((mode,), state, (list(stops),), LISTED, 7)


def test_a_position_is_its_face_value_and_its_margin_is_in_the_coin() -> None:
    (position,) = snapshot(LONG_ROW, FLAT).positions
    assert (position.symbol, position.side, position.quantity) == (BTC, Side.LONG, D(200))
    assert (position.margin_mode, position.leverage) == (MarginMode.ISOLATED, D(2))
    assert position.isolated_margin == D("0.00268058")
    assert position.liquidation == Reported(Price(D("25119.97445760")))


def test_its_liquidation_price_is_the_one_that_the_venue_gives() -> None:
    """The tier of the recorded position was not recorded: 0.4 % is what bitcoin's first has."""
    (position,) = snapshot(LONG_ROW).positions
    ours = liquidation(instrument(), position)
    assert isinstance(ours, LiquidatesAt)
    assert abs(ours.price - D("25119.97445760")) < D("1e-7")


def test_a_short_on_the_wallet_has_no_margin_of_its_own() -> None:
    seen = snapshot(CROSS_SHORT, coin="ETH")
    (position,) = seen.positions
    assert (position.symbol, position.side, position.quantity) == (ETH, Side.SHORT, D(300))
    assert (position.margin_mode, position.isolated_margin) == (MarginMode.CROSS, D(0))
    assert position.liquidation == NotReported()
    assert (seen.wallet_balance, seen.free) == (D("1.5"), D("1.25"))


def test_every_coin_has_its_wallet_and_the_policy_says_which_is_meant() -> None:
    for coin, balance in (("BTC", "0.00241969"), ("ETH", "1.5")):
        seen = snapshot(LONG_ROW, CROSS_SHORT, coin=coin)
        assert (seen.wallet_balance, len(seen.positions)) == (D(balance), 2)
    with pytest.raises(Unreadable, match="one row of USDT"):
        snapshot(LONG_ROW, coin="USDT")
    assert WALLETS["binancecoinm"]("BTC") == DIALECTS["binancecoinm"]
    assert WALLETS["binancecoinm"]("ETH") != DIALECTS["binancecoinm"]


def test_the_two_legs_of_hedge_mode() -> None:
    short = LONG_ROW | {"positionAmt": "-1", "positionSide": "SHORT", "notionalValue": "-0.002625"}
    seen = snapshot(LONG_ROW | {"positionSide": "LONG"}, short, mode=HEDGE)
    assert seen.position_mode is PositionMode.HEDGE
    assert [(each.side, each.quantity) for each in seen.positions] == [
        (Side.LONG, D(200)),
        (Side.SHORT, D(100)),
    ]


@pytest.mark.parametrize("value", ["0.0524892", "11788.66626667", "0", "", None, "NaN"])
def test_a_contract_whose_size_may_have_changed_is_garbled(value: object) -> None:
    seen = snapshot(LONG_ROW | {"notionalValue": value}, CROSS_SHORT)
    assert [each.symbol for each in seen.positions] == [ETH]
    assert "notionalValue" in seen.garbled[0].reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("positionAmt", "x"),
        ("marginType", "ISOLATED"),
        ("leverage", "0"),
        ("isolatedWallet", ""),
        ("entryPrice", "0.0"),
        ("symbol", "BTCUSD_261225"),
        ("positionSide", "SHORT"),
    ],
)
def test_what_a_position_stands_on_is_never_made_up(name: str, value: object) -> None:
    """A contract that ends has no size here: its position is told of as garbled."""
    rows = (LONG_ROW | {name: value}, CROSS_SHORT)
    beside = account(CROSS_SHORT, LONG_ROW | ({name: value} if name == "symbol" else {}))
    seen = ACCOUNT.snapshot_of((ONE_WAY,), (list(rows), beside), ([],), LISTED, 7)
    assert [each.symbol for each in seen.positions] == [ETH]
    assert len(seen.garbled) == 1


def test_positions_that_changed_between_two_answers_are_no_read() -> None:
    state = ([LONG_ROW], account(LONG_ROW | {"positionAmt": "3"}))
    with pytest.raises(Unreadable, match="changed between"):
        ACCOUNT.snapshot_of((ONE_WAY,), state, ([],), LISTED, 7)


def test_stops_are_counted_in_contracts() -> None:
    rows = (
        STOP_ROW,
        STOP_ROW | {"clientAlgoId": "all", "closePosition": True, "quantity": "0"},
        STOP_ROW | {"clientAlgoId": "unlisted", "symbol": "BTCUSD_261225"},
        STOP_ROW | {"clientAlgoId": "last", "workingType": "CONTRACT_PRICE"},
    )
    stops = snapshot(LONG_ROW, stops=rows).stops
    assert [(each.client_id, each.quantity) for each in stops] == [
        ("ours", D(200)),
        ("all", D(200)),
    ]


# -- contracts -----------------------------------------------------------------------------

# `recorded` by others: the row of BTCUSD_PERP in exchangeInfo, September 2026, and cut.
PERPETUAL = {
    "symbol": "BTCUSD_PERP",
    "pair": "BTCUSD",
    "contractType": "PERPETUAL",
    "deliveryDate": 4133404800000,
    "contractStatus": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USD",
    "marginAsset": "BTC",
    "contractSize": 100,
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "1000", "tickSize": "0.1"},
        {"filterType": "LOT_SIZE", "stepSize": "1", "minQty": "1", "maxQty": "1000000"},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": "1", "minQty": "1", "maxQty": "60000"},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 20},
    ],
}
QUARTERLY = PERPETUAL | {"symbol": "BTCUSD_261225", "contractType": "CURRENT_QUARTER"}
# `documented`, with a second tier of ours: the lower edge has a name with a typing error.
BRACKETS: list[dict[str, Any]] = [
    {
        "symbol": "BTCUSD_PERP",
        "brackets": [
            {
                "bracket": 1,
                "initialLeverage": 125,
                "qtyCap": 50,
                "qtylFloor": 0,
                "maintMarginRatio": 0.004,
                "cum": 0,
            },
            {
                "bracket": 2,
                "initialLeverage": 100,
                "qtyCap": 100,
                "qtylFloor": 50,
                "maintMarginRatio": 0.005,
                "cum": 0.05,
            },
        ],
    }
]
FEES = {"makerCommissionRate": "0.00015", "takerCommissionRate": "0.00040"}


def parsed(payload: object) -> Any:
    """As it is after a strict parser: numbers exact."""
    return json.loads(json.dumps(payload), parse_float=D)


def instrument(brackets: object = BRACKETS) -> Any:
    answers = [parsed(each) for each in ({"symbols": [QUARTERLY, PERPETUAL]}, brackets, FEES)]
    return MARKET.instrument_of(answers, LISTED, "BTCUSD_PERP")


def test_a_contract_counts_its_face_value_and_its_tiers_are_in_the_coin() -> None:
    btc = instrument()
    assert (btc.symbol, btc.kind, btc.settle) == (BTC, ContractKind.INVERSE, "BTC")
    assert (btc.quantity_step, btc.quantity_min, btc.quantity_max) == (100, 100, 6_000_000)
    assert (btc.tick_size, btc.taker_fee, btc.stops_max) == (D("0.1"), D("0.0004"), 20)
    assert [(each.floor, each.cap, each.rate, each.deduction) for each in btc.tiers] == [
        (D(0), D(50), D("0.004"), D(0)),
        (D(50), D("Infinity"), D("0.005"), D("0.05")),
    ]


def test_perpetual_contracts_alone_are_listed_with_their_sizes() -> None:
    listed = MARKET.listing_of(parsed({"symbols": [QUARTERLY, PERPETUAL]}))
    assert (listed.symbols, listed.sizes) == ({"BTCUSD_PERP": BTC}, {"BTCUSD_PERP": D(100)})
    assert listed.endings == {}


@pytest.mark.parametrize("size", [None, 0, "", -100, "NaN"])
def test_a_contract_of_no_size_is_no_listing(size: object) -> None:
    with pytest.raises(Unreadable, match="contractSize"):
        MARKET.listing_of({"symbols": [PERPETUAL | {"contractSize": size}]})


@pytest.mark.parametrize("caps", [(50, 50), ("", 100), (None, 100), (0, 100)])
def test_tiers_that_do_not_rise_are_no_tiers(caps: tuple[object, object]) -> None:
    (row,) = BRACKETS
    table = [{**each, "qtyCap": cap} for each, cap in zip(row["brackets"], caps, strict=True)]
    with pytest.raises(Unreadable):
        instrument([{"symbol": "BTCUSD_PERP", "brackets": table}])


def test_marks_of_contracts_that_end_are_left_out() -> None:
    """`documented`: they have no funding rate, but an empty one."""
    ends = {"symbol": "BTCUSD_261225", "markPrice": "30000", "lastFundingRate": ""}
    goes_on = {"symbol": "BTCUSD_PERP", "markPrice": "11029.69574559"}
    bills = {"lastFundingRate": "0.00071003", "nextFundingTime": 1596096000000}
    (mark,) = MARKET.marks_of(([ends | {"nextFundingTime": 0}, goes_on | bills],), LISTED)
    assert (mark.symbol, mark.price, mark.rate) == (BTC, D("11029.69574559"), D("0.00071003"))


# -- writes --------------------------------------------------------------------------------

ADD = AddMargin(BTC, Side.LONG, Money(D("0.00123456")))
STOP = PlaceStop(BTC, Side.LONG, Quantity(D(200)), Price(D("26000.5")))
CANCEL = CancelStop(BTC, Side.LONG, "other")
CLOSE = ClosePosition(BTC, Side.SHORT, Quantity(D(100)))
BOUNDED = ClosePosition(BTC, Side.LONG, Quantity(D(300)), NoWorseThan(Price(D(25_900))))

RECIPES: list[tuple[Action, str, str, dict[str, str]]] = [
    (
        ADD,
        "POST",
        "positionMargin",
        {"symbol": "BTCUSD_PERP", "amount": "0.00123456", "type": "1"},
    ),
    (
        STOP,
        "POST",
        "algoOrder",
        {
            "algoType": "CONDITIONAL",
            "symbol": "BTCUSD_PERP",
            "side": "SELL",
            "type": "STOP_MARKET",
            "quantity": "2",
            "triggerPrice": "26000.5",
            "workingType": "MARK_PRICE",
            "reduceOnly": "true",
            "clientAlgoId": "id1",
            "newOrderRespType": "RESULT",
        },
    ),
    (CANCEL, "DELETE", "algoOrder", {"clientAlgoId": "other"}),
    (
        CLOSE,
        "POST",
        "order",
        {
            "symbol": "BTCUSD_PERP",
            "side": "BUY",
            "type": "MARKET",
            "quantity": "1",
            "reduceOnly": "true",
            "newClientOrderId": "id1",
            "newOrderRespType": "RESULT",
        },
    ),
    (
        BOUNDED,
        "POST",
        "order",
        {
            "symbol": "BTCUSD_PERP",
            "side": "SELL",
            "type": "LIMIT",
            "timeInForce": "IOC",
            "price": "25900",
            "quantity": "3",
            "reduceOnly": "true",
            "newClientOrderId": "id1",
            "newOrderRespType": "RESULT",
        },
    ),
]


@pytest.mark.parametrize(("action", "method", "path", "parameters"), RECIPES, ids=repr)
@pytest.mark.parametrize("mode", PositionMode)
def test_recipes_are_in_contracts_and_only_reduce(
    action: Action, method: str, path: str, parameters: dict[str, str], mode: PositionMode
) -> None:
    call = ORDERS.write_call(action, "id1", LISTED, Ground(mode, ()))
    expected = dict(parameters)
    if mode is PositionMode.HEDGE and action != CANCEL:
        expected.pop("reduceOnly", None)
        expected["positionSide"] = "SHORT" if action.side is Side.SHORT else "LONG"
    assert (call.api, call.method, call.path) == ("dapiPrivate", method, path)
    assert dict(call.parameters) == expected


def test_no_recipe_can_open_flip_or_trigger_on_the_last_price() -> None:
    for name, sent in golden("binancecoinm").items():
        named = sent["query"] if sent["body"] is None else sent["body"]
        leg = "LONG" if " long:" in name else "SHORT"
        is_hedge = name.startswith("hedge")
        if "cancel" in name:
            assert (sent["method"], sent["path"]) == ("DELETE", "/dapi/v1/algoOrder")
            assert set(named) == {"clientAlgoId", "recvWindow"}
            continue
        assert named.get("positionSide") == (leg if is_hedge else None), name
        if "margin" in name:
            assert (sent["path"], named["amount"]) == ("/dapi/v1/positionMargin", "25.756")
            continue
        assert named.get("reduceOnly") == (None if is_hedge else "true"), name
        assert named["side"] == ("SELL" if leg == "LONG" else "BUY"), name
        assert "closePosition" not in named
        if "stop" in name:
            assert sent["path"] == "/dapi/v1/algoOrder", "no market order in its place"
            assert (named["type"], named["workingType"]) == ("STOP_MARKET", "MARK_PRICE")
            assert "price" not in named
        else:
            assert sent["path"] == "/dapi/v1/order"


def test_the_margin_mode_changes_no_request() -> None:
    kept = golden("binancecoinm")
    for name, sent in kept.items():
        assert sent == kept[name.replace(" isolated ", " cross ")]


def reply(action: Action, body: object, status: int = 200) -> object:
    return ORDERS.reply_of(Heard(status, {}, json.dumps(body)), action, "id1", LISTED)


def test_a_placed_order_is_proven_without_the_price_that_is_told_no_more() -> None:
    """`documented`, June 2026: neither avgPrice nor cumBase is in the answer any more."""
    echo = {"orderId": 9, "clientOrderId": "id1", "symbol": "BTCUSD_PERP", "side": "BUY"}
    assert reply(CLOSE, echo) == Accepted()
    assert isinstance(reply(CLOSE, echo | {"symbol": "BTCUSDT"}), Unsure)


@pytest.mark.parametrize("action", [ADD, STOP, CANCEL, CLOSE, BOUNDED], ids=repr)
def test_a_code_is_proof_only_when_the_table_names_it(action: Action) -> None:
    for code in range(-9_999, 0):
        answered = reply(action, {"code": code, "msg": "no"}, 400)
        expected = Refused(str(code), "no") if code in REFUSED else Unsure(f"{code} no")
        assert answered == expected


def test_what_one_engine_says_is_not_taken_for_what_the_other_means() -> None:
    """-4087 is an invalid pair here, and there an account that may only reduce."""
    for code in (-4087, -4088, -4116, -4118, -4131, -4164, -4183, -4210, -5028):
        assert code not in REFUSED
    for code in (-4089, -4112, -4113, -4151, -4154, -4178, -4188):
        assert code in REFUSED
        assert code not in binanceusdm_refusals.REFUSED


def test_fills_are_face_value() -> None:
    none = Heard(400, {}, '{"code": -2013, "msg": "Order does not exist."}')
    order = {"clientOrderId": "id1", "symbol": "BTCUSD_PERP", "status": "FILLED"}
    plain = Heard(200, {}, json.dumps(order | {"executedQty": "2", "avgPrice": "26000.5"}))
    filled = Fill(Quantity(D(200)), Price(D("26000.5")))
    found = ORDERS.order_of((plain, none), "id1", "BTCUSD_PERP", LISTED)
    assert found == OrderFound("id1", False, filled)
    stop = STOP_ROW | {"clientAlgoId": "id1", "algoStatus": "FINISHED"}
    done = Heard(200, {}, json.dumps(stop | {"actualQty": "1", "actualPrice": "25990.1"}))
    found = ORDERS.order_of((plain, done), "id1", "BTCUSD_PERP", LISTED)
    assert found == OrderFound("id1", False, Fill(Quantity(D(100)), Price(D("25990.1"))))
    waits = Heard(200, {}, json.dumps(stop | {"algoStatus": "NEW"}))
    found = ORDERS.order_of((none, waits), "id1", "BTCUSD_PERP", LISTED)
    assert found == OrderFound("id1", True, NO_FILL)


@given(st.integers(1, 10**7), st.sampled_from(["10", "100", "0.0001", "1", "25"]))
def test_what_goes_out_in_contracts_comes_back_as_the_same_face_value(
    contracts: int, size: str
) -> None:
    listed = Listed(NAMES, {"BTCUSD_PERP": D(size), "ETHUSD_PERP": D(1)})
    quantity = Quantity(contracts * D(size))
    action = ClosePosition(BTC, Side.LONG, quantity)
    call = ORDERS.write_call(action, "id1", listed, Ground(PositionMode.ONE_WAY, ()))
    assert call.parameters["quantity"] == str(contracts)
    order = {"clientOrderId": "id1", "symbol": "BTCUSD_PERP", "status": "FILLED"}
    told = order | {"executedQty": call.parameters["quantity"], "avgPrice": "26000.5"}
    none = Heard(400, {}, '{"code": -2013, "msg": "Order does not exist."}')
    answers = (Heard(200, {}, json.dumps(told)), none)
    found = ORDERS.order_of(answers, "id1", "BTCUSD_PERP", listed)
    assert found == OrderFound("id1", False, Fill(quantity, Price(D("26000.5"))))
    value = quantity / D("38103.05510455")
    row = LONG_ROW | {"positionAmt": str(contracts), "notionalValue": f"{value:.8f}"}
    seen = ACCOUNT.snapshot_of((ONE_WAY,), ([row], account(row)), ([],), listed, 7)
    if value > D("0.00001"):  # eight places tell less than a hundredth of a smaller one
        assert [each.quantity for each in seen.positions] == [quantity]


JUNK: tuple[Any, ...] = (
    None,
    True,
    "",
    "NaN",
    "Infinity",
    "-1",
    "0",
    "1e400",
    10**30,
    [],
    {},
    "BOTH",
    "2",
    "26000",
)


@given(st.sampled_from(sorted(LONG_ROW)), st.sampled_from(JUNK))
def test_a_changed_row_is_told_as_it_is_or_as_garbled_and_never_as_another_position(
    name: str, junk: Any
) -> None:
    """But for the two that nothing else in the row can be held against: margin and leverage."""
    row = LONG_ROW | {name: junk}
    try:
        seen = ACCOUNT.snapshot_of(
            (ONE_WAY,), ([row, CROSS_SHORT], account(LONG_ROW, CROSS_SHORT)), ([],), LISTED, 7
        )
    except Unreadable:
        return
    assert ETH in {each.symbol for each in seen.positions}
    for position in seen.positions:
        if position.symbol != ETH:
            (clean,) = snapshot(LONG_ROW).positions
            assert (position.symbol, position.side, position.quantity) == (
                clean.symbol,
                clean.side,
                clean.quantity,
            )


def test_margin_that_was_added_is_in_the_history() -> None:
    """`documented`: a row of positionMargin/history."""
    row = {"amount": "23.36332311", "asset": "BTC", "symbol": "BTCUSD_PERP", "type": 1}
    rows = [row | {"time": 1578047897183, "positionSide": "BOTH"}, row | {"type": 2, "time": 1}]
    (change,) = ACCOUNT.margin_changes_of(rows, LISTED)
    assert (change.symbol, change.amount) == (BTC, D("23.36332311"))


# -- before the start, and streams ---------------------------------------------------------

KEY = {"enableFutures": True, "enableWithdrawals": False}


@pytest.mark.parametrize(
    ("key", "can_trade", "position", "word"),
    [
        ({"enableWithdrawals": True}, True, {}, "withdraw"),
        ({"enableFutures": False}, True, {}, "trade futures"),
        ({"enablePortfolioMarginTrading": True}, True, {}, "portfolio margin"),
        ({}, False, {}, "can trade"),
        ({}, True, {"isAutoAddMargin": "true"}, "BTCUSD_PERP: expected the venue's auto-margin"),
    ],
)
def test_a_key_or_account_that_cannot_be_guarded_is_refused(
    key: dict[str, bool], can_trade: bool, position: dict[str, str], word: str
) -> None:
    answers = (KEY | key, {"canTrade": can_trade}, [LONG_ROW | position])
    (sentence,) = (*ACCOUNT.refusals(answers), *ACCOUNT.unsupported(answers))
    assert word in sentence


def test_a_good_key_and_account_are_fine() -> None:
    good = (KEY, account(LONG_ROW), [LONG_ROW, FLAT])
    assert ACCOUNT.refusals(good) == ACCOUNT.unsupported(good) == ()
    assert ACCOUNT.unproven(()) == ()


def test_streams_are_those_of_coins() -> None:
    marks = MARKET.marks_opening(["BTCUSD_PERP", "ETHUSD_PERP"], 0)
    names = "btcusd_perp@markPrice@1s/ethusd_perp@markPrice@1s"
    assert marks.url == f"wss://dstream.binance.com/stream?streams={names}"
    key = ({"listenKey": "abc"},)
    assert ACCOUNT.account_opening(key, KEYS, 0).url == "wss://dstream.binance.com/ws/abc"


def test_a_process_speaks_of_the_wallet_that_its_policy_names() -> None:
    text = POLICY.replace("MODE", "hedge")
    for coin in ("BTC", "ETH"):
        policy = parse_policy(text.replace("BTC", coin), "policy.yaml")
        assert _dialect_of(policy) == WALLETS["binancecoinm"](coin)


# -- a guard, in coins ---------------------------------------------------------------------

REAL = Product("binancecoinm", "USD", "_PERP", D(100), "1", "qtyCap")
POLICY = """
schema: liqguard/v1
account:
  { name: main, venue: binancecoinm, settle: BTC, margin_mode: isolated, position_mode: MODE }
protect: { stop: { room: 1.5% }, floor: 0.7%, floor_in_hold: close, unknown_after: 60s }
guardrails:
  keep_free: 0 BTC
  top_up: { per_action: 0.01 BTC, per_1h: 0.01 BTC, per_24h: 0.01 BTC, per_episode: 0.01 BTC }
  top_ups_per_episode: 3
  actions_per_1m: 60
  data_max_age: 5s
  loss_max: 0.03 BTC
  slippage_max: 100 bps
rules:
  - rule: ladder
    match: { symbols: any, side: any, margin_mode: isolated }
    watch: liquidation_distance
    hysteresis: 0.5%
    ladder:
      - { step: top-up, below: 6%, for: 0s, do: top_up, with: { to: 8% }, cooldown: 1s }
      - { step: out, below: 2.5%, for: 0s, do: close }
stress: { shock: 25%, betas: { "BTC/USD:BTC": 1x } }
"""


@asynccontextmanager
async def guarded(mode: PositionMode) -> AsyncIterator[Scene]:
    """60 contracts of 100 dollars, long from 60,000 on a hundredth of a bitcoin."""
    book = Book(mode, liquidation="0", quantity=D(6_000), margin=D("0.01"), free=D("0.05"))
    async with staged(BinanceDesk(book, REAL)) as live, at_work(live, _policy(mode)):
        yield live


def _policy(mode: PositionMode) -> str:
    return POLICY.replace("MODE", mode)


@pytest.mark.parametrize("mode", PositionMode)
async def test_a_stop_rests_coins_are_added_the_stop_moves_and_at_last_it_closes(
    mode: PositionMode,
) -> None:
    """
    Liquidated at 6,024 / 0.11 = 54,763.6. At 57,000 that is 3.9 %; 8 % leaves it at 52,440,
    which takes 6,024 / 52,440 - 0.11 = 0.00487414 coins.
    """
    async with guarded(mode) as live:
        await until(live.desk.resting)
        (first,) = live.desk.resting()
        assert D(54_763) < first < D(57_000)
        live.book.mark = D(57_000)
        await until(lambda: live.book.margin > D("0.01"))
        added = live.book.margin - D("0.01")
        assert abs(added - D("0.00487414")) < D("0.00000002")
        await until(lambda: len(live.book.stops) > 1 and len(live.desk.resting()) == 1)
        assert live.desk.resting()[0] < first
        assert {each["quantity"] for each in live.book.stops.values()} == {"60"}
        live.book.mark = D(52_900)
        await until(lambda: live.book.quantity == 0)
    assert margins(live.written()) == 1
    assert live.book.free == D("0.05") - added


@pytest.mark.parametrize("kind", [FaultKind.DROPPED, FaultKind.HTML_200, FaultKind.NOT_KNOWN])
async def test_a_top_up_whose_answer_is_lost_is_found_in_the_history(kind: FaultKind) -> None:
    async with guarded(PositionMode.HEDGE) as live:
        await until(live.desk.resting)
        with live.fault(kind, 1, effect=True, writes=True):
            live.book.mark = D(57_000)
            await until(lambda: live.book.margin > D("0.01"))
            await asyncio.sleep(4)  # noqa: TID251 - time enough to send another
        assert margins(live.written()) == 1
