"""Binance USD-M's answers as the venue documents them, and answers that nobody should believe."""

import json
from collections.abc import Mapping
from decimal import Decimal
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
from bot.core.events import Liquidated
from bot.core.model import (
    NO_FILL,
    Fill,
    MarginMode,
    NotReported,
    PositionMode,
    Reported,
    Side,
)
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.calls import Heard, Unreadable, parse_json
from bot.exchange.live.dialect import Ground, Irrelevant, Listed, StreamEnded
from bot.exchange.ports import (
    NOT_TOLD,
    Accepted,
    AccountChanged,
    NotTold,
    OrderFound,
    Refused,
    Unsure,
)
from bot.exchange.venues.binance_orders import NOT_THERE
from bot.exchange.venues.binanceusdm_account import ACCOUNT
from bot.exchange.venues.binanceusdm_market import MARKET
from bot.exchange.venues.binanceusdm_orders import ORDERS
from bot.exchange.venues.binanceusdm_refusals import REFUSED

D = Decimal
LISTED = Listed({"BTCUSDT": "BTC/USDT:USDT", "ADAUSDT": "ADA/USDT:USDT"})
BTC, ADA = "BTC/USDT:USDT", "ADA/USDT:USDT"

# `documented`: a cross position of one-way mode, as in the manual of positionRisk v3.
CROSS_ROW = {
    "symbol": "ADAUSDT",
    "positionSide": "BOTH",
    "positionAmt": "30",
    "entryPrice": "0.385",
    "breakEvenPrice": "0.385077",
    "markPrice": "0.41047590",
    "unRealizedProfit": "0.76427700",
    "liquidationPrice": "0",
    "isolatedMargin": "0",
    "notional": "12.31427700",
    "marginAsset": "USDT",
    "isolatedWallet": "0",
    "initialMargin": "0.61571385",
    "maintMargin": "0.08004280",
    "positionInitialMargin": "0.61571385",
    "openOrderInitialMargin": "0",
    "adl": 2,
    "bidNotional": "0",
    "askNotional": "0",
    "updateTime": 1720736417660,
}
SHORT_ROW = CROSS_ROW | {
    "symbol": "BTCUSDT",
    "positionAmt": "-0.010",
    "entryPrice": "60000",
    "liquidationPrice": "65123.45",
    "isolatedWallet": "61.5",
}
FLAT_ROW = CROSS_ROW | {"symbol": "BTCUSDT", "positionAmt": "0.000", "entryPrice": "0.0"}
CONFIGS = [
    {"symbol": "ADAUSDT", "marginType": "CROSSED", "isAutoAddMargin": False, "leverage": 20},
    {"symbol": "BTCUSDT", "marginType": "ISOLATED", "isAutoAddMargin": False, "leverage": 10},
]
ONE_WAY = {"dualSidePosition": False, "multiAssetsMargin": False, "canTrade": True}
STOP_ROW = {
    "algoId": 2148627,
    "clientAlgoId": "MRumok0dkhrP4kCm12AHaB",
    "algoType": "CONDITIONAL",
    "orderType": "STOP_MARKET",
    "symbol": "BTCUSDT",
    "side": "BUY",
    "positionSide": "BOTH",
    "timeInForce": "GTC",
    "quantity": "0.010",
    "algoStatus": "NEW",
    "triggerPrice": "64000.0",
    "price": "0.000",
    "workingType": "MARK_PRICE",
    "closePosition": False,
    "reduceOnly": True,
}


def account(*rows: Mapping[str, Any]) -> dict[str, Any]:
    """GET account with these positions beside 126.72 USDT and some other asset."""
    money = {"asset": "USDT", "crossWalletBalance": "126.72", "availableBalance": "100.5"}
    return {"assets": [{"asset": "BNB"}, money], "positions": list(rows)}


def snapshot(
    *rows: Mapping[str, Any],
    stops: tuple[Mapping[str, Any], ...] = (),
    mode: Mapping[str, Any] = ONE_WAY,
) -> Any:
    """What is read of these positions and stops."""
    state = (list(rows), account(*rows))
    return ACCOUNT.snapshot_of((CONFIGS, mode), state, (list(stops),), LISTED, 7)


def test_positions_come_with_side_mode_and_liquidation() -> None:
    seen = snapshot(CROSS_ROW, SHORT_ROW)
    ada, btc = seen.positions
    assert (ada.symbol, ada.side, ada.quantity) == (ADA, Side.LONG, D(30))
    assert (ada.margin_mode, ada.isolated_margin) == (MarginMode.CROSS, D(0))
    assert (ada.leverage, ada.liquidation) == (D(20), NotReported())
    assert (btc.side, btc.quantity, btc.entry_price) == (Side.SHORT, D("0.01"), D(60_000))
    assert (btc.margin_mode, btc.isolated_margin) == (MarginMode.ISOLATED, D("61.5"))
    assert btc.liquidation == Reported(Price(D("65123.45")))
    assert (seen.wallet_balance, seen.free) == (D("126.72"), D("100.5"))
    assert seen.position_mode is PositionMode.ONE_WAY


def test_flat_rows_are_no_positions() -> None:
    assert snapshot(FLAT_ROW).positions == ()


@pytest.mark.parametrize("none", ["0", "", None, "-1", "NaN", "0.00000000", {}, True])
def test_no_liquidation_price_has_many_spellings(none: object) -> None:
    (position,) = snapshot(SHORT_ROW | {"liquidationPrice": none}).positions
    assert position.liquidation == NotReported()


@pytest.mark.parametrize("name", ["positionAmt", "entryPrice", "isolatedWallet"])
@pytest.mark.parametrize("value", ["", None, "NaN", "Infinity", "1e400", True, [], "abc"])
def test_what_a_position_stands_on_is_never_made_up(name: str, value: object) -> None:
    seen = snapshot(CROSS_ROW, SHORT_ROW | {name: value})
    assert [each.symbol for each in seen.positions] == [ADA]
    (garbled,) = seen.garbled
    assert garbled.symbol == BTC
    assert name in garbled.reason


@pytest.mark.parametrize("name", ["positionAmt", "isolatedWallet", "symbol"])
def test_a_position_of_account_that_cannot_be_read_costs_no_other(name: str) -> None:
    beside = account(CROSS_ROW, SHORT_ROW)
    spoilt = [
        {**row, name: None} if row["symbol"] == "BTCUSDT" else row for row in beside["positions"]
    ]
    parts: Any = ([CROSS_ROW, SHORT_ROW], {**beside, "positions": spoilt})
    seen = ACCOUNT.snapshot_of((CONFIGS, ONE_WAY), parts, ([],), LISTED, 7)
    assert [each.symbol for each in seen.positions] == [ADA]
    assert [each.symbol for each in seen.garbled] == [BTC]


def test_hedge_mode_is_seen() -> None:
    legs = (SHORT_ROW | {"positionSide": "SHORT"},)
    seen = snapshot(*legs, mode=ONE_WAY | {"dualSidePosition": True})
    assert seen.position_mode is PositionMode.HEDGE


# `documented`: the two legs of a contract in hedge mode, as in the manual of positionRisk v3.
LONG_LEG = SHORT_ROW | {
    "positionSide": "LONG",
    "positionAmt": "0.020",
    "isolatedWallet": "121.5",
    "liquidationPrice": "54321.5",
}
SHORT_LEG = SHORT_ROW | {"positionSide": "SHORT"}
HEDGE = ONE_WAY | {"dualSidePosition": True}


def test_a_contract_has_two_legs_in_hedge_mode_each_with_its_margin() -> None:
    seen = snapshot(LONG_LEG, SHORT_LEG, mode=HEDGE)
    assert [(each.side, each.quantity, each.isolated_margin) for each in seen.positions] == [
        (Side.LONG, D("0.02"), D("121.5")),
        (Side.SHORT, D("0.01"), D("61.5")),
    ]
    assert [each.liquidation for each in seen.positions] == [
        Reported(Price(D("54321.5"))),
        Reported(Price(D("65123.45"))),
    ]


@pytest.mark.parametrize("wrong", ["SHORT", "", None, "NET", 1])
def test_a_leg_whose_name_and_sign_disagree_is_told_as_garbled(wrong: object) -> None:
    seen = snapshot(LONG_LEG | {"positionSide": wrong}, CROSS_ROW, mode=HEDGE)
    assert [each.symbol for each in seen.positions] == [ADA]
    assert "positionSide" in seen.garbled[0].reason


def test_a_stop_of_a_leg_reduces_it_whatever_is_said_and_one_that_grows_it_is_none() -> None:
    """`documented`: reduceOnly is never sent in hedge mode, and answered as false."""
    of_short = STOP_ROW | {"positionSide": "SHORT", "reduceOnly": False}
    orders = (
        of_short | {"clientAlgoId": "short"},
        of_short | {"clientAlgoId": "long", "positionSide": "LONG", "side": "SELL"},
        of_short | {"clientAlgoId": "grows", "side": "SELL"},
        of_short | {"clientAlgoId": "all", "closePosition": True, "quantity": "0"},
    )
    stops = snapshot(LONG_LEG, SHORT_LEG, stops=orders, mode=HEDGE).stops
    assert [(each.client_id, each.side, each.reduce_only) for each in stops] == [
        ("short", Side.SHORT, True),
        ("long", Side.LONG, True),
        ("all", Side.SHORT, True),
    ]
    assert stops[2].quantity == D("0.01")


def test_a_change_between_two_parts_of_a_read_is_no_read() -> None:
    before, after = SHORT_ROW, SHORT_ROW | {"isolatedWallet": "161.5"}
    parts: Any = ([before], account(after))
    with pytest.raises(Unreadable, match="changed between"):
        ACCOUNT.snapshot_of((CONFIGS, ONE_WAY), parts, ([],), LISTED, 7)


def test_a_wallet_that_is_not_told_is_no_read() -> None:
    parts: Any = ([], {"assets": [{"asset": "BNB"}], "positions": []})
    with pytest.raises(Unreadable, match="USDT"):
        ACCOUNT.snapshot_of((CONFIGS, ONE_WAY), parts, ([],), LISTED, 7)


def test_stops_are_those_that_protect() -> None:
    rows = (
        STOP_ROW,
        STOP_ROW | {"clientAlgoId": "tp", "orderType": "TAKE_PROFIT_MARKET"},
        STOP_ROW | {"clientAlgoId": "last", "workingType": "CONTRACT_PRICE"},
        STOP_ROW | {"clientAlgoId": "opens", "reduceOnly": False},
        STOP_ROW | {"clientAlgoId": "all", "closePosition": True, "quantity": "0"},
        STOP_ROW | {"clientAlgoId": "orphan", "closePosition": True, "side": "SELL"},
    )
    found = {each.client_id: each for each in snapshot(SHORT_ROW, stops=rows).stops}
    assert set(found) == {"MRumok0dkhrP4kCm12AHaB", "opens", "all"}
    ours = found["MRumok0dkhrP4kCm12AHaB"]
    assert (ours.symbol, ours.side, ours.quantity) == (BTC, Side.SHORT, D("0.010"))
    assert (ours.trigger_price, ours.reduce_only) == (D("64000.0"), True)
    assert not found["opens"].reduce_only
    assert (found["all"].quantity, found["all"].reduce_only) == (D("0.01"), True)


def test_a_position_that_is_told_twice_in_one_part_is_no_read() -> None:
    parts: Any = ([SHORT_ROW, SHORT_ROW], account(SHORT_ROW))
    with pytest.raises(Unreadable, match="several"):
        ACCOUNT.snapshot_of((CONFIGS, ONE_WAY), parts, ([],), LISTED, 7)


@pytest.mark.parametrize("wrong", [None, [], {}, "PORTFOLIO", 7])
def test_the_terms_of_a_contract_that_is_not_held_are_nothing_to_the_others(wrong: object) -> None:
    configs = [CONFIGS[0] | {"marginType": wrong, "leverage": wrong}, CONFIGS[1]]
    parts: Any = ([SHORT_ROW], account(SHORT_ROW))
    (position,) = ACCOUNT.snapshot_of((configs, ONE_WAY), parts, ([],), LISTED, 7).positions
    assert position.symbol == BTC
    seen = ACCOUNT.snapshot_of((configs[:1], ONE_WAY), parts, ([],), LISTED, 7)
    assert [each.symbol for each in seen.garbled] == [BTC]


@pytest.mark.parametrize("name", ["side", "quantity", "triggerPrice", "clientAlgoId"])
def test_a_bad_stop_costs_no_other_its_stop(name: str) -> None:
    bad = STOP_ROW | {"symbol": "ADAUSDT", name: None}
    assert len(snapshot(SHORT_ROW, stops=(bad, STOP_ROW)).stops) == 1
    assert len(snapshot(SHORT_ROW, stops=(STOP_ROW | {name: None}, STOP_ROW)).stops) == 1


def test_margin_that_was_added_to_a_contract_that_is_not_listed_has_its_own_name() -> None:
    row = {"symbol": "GONEUSDT", "amount": "1", "time": 1, "type": 1}
    (change,) = ACCOUNT.margin_changes_of([row], LISTED)
    assert change.symbol == "GONEUSDT"


@pytest.mark.parametrize(
    ("told", "sides"),
    [
        ({"positionSide": "LONG"}, (Side.LONG,)),
        ({"positionSide": "SHORT"}, (Side.SHORT,)),
        ({"positionSide": "BOTH"}, tuple(Side)),
        ({}, tuple(Side)),
    ],
)
def test_margin_that_was_added_names_its_leg_in_hedge_mode(
    told: dict[str, str], sides: tuple[Side, ...]
) -> None:
    """`documented`: a row of positionMargin/history."""
    row = {"symbol": "BTCUSDT", "amount": "1", "time": 1, "type": 1} | told
    (change,) = ACCOUNT.margin_changes_of([row], LISTED)
    assert change.sides == sides
    with pytest.raises(Unreadable, match="LONG, SHORT or BOTH"):
        ACCOUNT.margin_changes_of([row | {"positionSide": "long"}], LISTED)


# -- writes --------------------------------------------------------------------------------

ADD = AddMargin(BTC, Side.LONG, Money(D("25.756")))
STOP = PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D("57000.5")))
CANCEL = CancelStop(BTC, Side.LONG, "other")
CLOSE = ClosePosition(BTC, Side.SHORT, Quantity(D("0.1")))
BOUNDED = ClosePosition(BTC, Side.LONG, Quantity(D("1E-3")), NoWorseThan(Price(D("59900"))))

RECIPES: list[tuple[Action, str, str, dict[str, str]]] = [
    (ADD, "POST", "positionMargin", {"symbol": "BTCUSDT", "amount": "25.756", "type": "1"}),
    (
        STOP,
        "POST",
        "algoOrder",
        {
            "algoType": "CONDITIONAL",
            "symbol": "BTCUSDT",
            "side": "SELL",
            "type": "STOP_MARKET",
            "quantity": "0.1",
            "triggerPrice": "57000.5",
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
            "symbol": "BTCUSDT",
            "side": "BUY",
            "type": "MARKET",
            "quantity": "0.1",
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
            "symbol": "BTCUSDT",
            "side": "SELL",
            "type": "LIMIT",
            "timeInForce": "IOC",
            "price": "59900",
            "quantity": "0.001",
            "reduceOnly": "true",
            "newClientOrderId": "id1",
            "newOrderRespType": "RESULT",
        },
    ),
]


@pytest.mark.parametrize(("action", "method", "path", "parameters"), RECIPES, ids=repr)
def test_recipes_are_exact_and_only_reduce(
    action: Action, method: str, path: str, parameters: dict[str, str]
) -> None:
    call = ORDERS.write_call(action, "id1", LISTED, Ground(PositionMode.ONE_WAY, ()))
    assert (call.api, call.method, call.path) == ("fapiPrivate", method, path)
    assert dict(call.parameters) == parameters


@pytest.mark.parametrize(("action", "method", "path", "parameters"), RECIPES, ids=repr)
def test_in_hedge_mode_every_recipe_names_its_leg_and_none_says_reduce_only(
    action: Action, method: str, path: str, parameters: dict[str, str]
) -> None:
    """`documented`: positionSide must be sent there, reduceOnly cannot be (-4061, -1106)."""
    call = ORDERS.write_call(action, "id1", LISTED, Ground(PositionMode.HEDGE, ()))
    expected = {name: text for name, text in parameters.items() if name != "reduceOnly"}
    if action != CANCEL:
        expected["positionSide"] = "SHORT" if action.side is Side.SHORT else "LONG"
    assert (call.method, call.path, dict(call.parameters)) == (method, path, expected)


PROOFS: list[tuple[Action, dict[str, Any]]] = [
    (
        ADD,
        {"code": 200, "msg": "Successfully modify position margin.", "amount": 25.756, "type": 1},
    ),
    (
        STOP,
        {
            "algoId": 1,
            "clientAlgoId": "id1",
            "symbol": "BTCUSDT",
            "side": "SELL",
            "algoStatus": "NEW",
        },
    ),
    (CANCEL, {"algoId": 1, "clientAlgoId": "other", "code": "200", "msg": "success"}),
    (CLOSE, {"orderId": 1, "clientOrderId": "id1", "symbol": "BTCUSDT", "side": "BUY"}),
]


def reply(action: Action, body: object, status: int = 200) -> object:
    text = body if isinstance(body, str) else json.dumps(body)
    return ORDERS.reply_of(Heard(status, {}, text), action, "id1", LISTED)


@pytest.mark.parametrize(
    ("status", "quantity", "told"),
    [
        (
            "FILLED",
            "0.001",
            OrderFound("id1", False, Fill(Quantity(D("0.001")), Price(D(59_970)))),
        ),
        ("EXPIRED", "0.000", OrderFound("id1", resting=False, filled=NO_FILL)),
        ("NEW", "0.000", OrderFound("id1", resting=True, filled=NO_FILL)),
        ("NO SUCH STATUS", "0.001", NOT_TOLD),
        ("FILLED", "NaN", NOT_TOLD),
    ],
)
def test_a_proven_answer_to_a_close_tells_what_it_filled_if_it_can_be_read(
    status: str, quantity: str, told: object
) -> None:
    _, body = PROOFS[-1]
    result = {"status": status, "executedQty": quantity, "avgPrice": "59970.00"}
    answered = reply(CLOSE, body | result)
    assert isinstance(answered, Accepted)
    assert answered.order == told


@pytest.mark.parametrize(
    ("status", "quantity", "told"),
    [
        ("FILLED", "0.001", NOT_TOLD),
        ("EXPIRED", "0.000", OrderFound("id1", resting=False, filled=NO_FILL)),
    ],
)
def test_a_proven_answer_without_a_price_tells_only_what_met_nobody(
    status: str, quantity: str, told: OrderFound | NotTold
) -> None:
    """`documented`, June 2026: neither avgPrice nor cumQuote is in the answer any more."""
    _, body = PROOFS[-1]
    answered = reply(CLOSE, body | {"status": status, "executedQty": quantity})
    assert answered == Accepted(order=told)


@pytest.mark.parametrize(("action", "body"), PROOFS, ids=repr)
def test_an_echo_is_a_proof_and_nothing_less(action: Action, body: dict[str, Any]) -> None:
    assert reply(action, body) == Accepted()
    for name in body.keys() - {"msg", "algoStatus"}:
        if (name, action) == ("algoId", CANCEL):
            continue  # it is found by our id
        less = {other: value for other, value in body.items() if other != name}
        assert isinstance(reply(action, less), Unsure), name
        wrongs: tuple[object, ...] = (None, "", 0, -1, "x", [], 1e300)
        for wrong in wrongs:
            answered = reply(action, body | {name: wrong})
            assert isinstance(answered, Unsure | Refused), (name, wrong)
    assert isinstance(reply(action, body, status=502), Unsure)


WRITES = (ADD, STOP, CANCEL, CLOSE, BOUNDED)


@pytest.mark.parametrize("action", WRITES, ids=repr)
def test_a_code_is_proof_only_when_the_table_names_it(action: Action) -> None:
    for code in range(-9_999, 0):
        answered = reply(action, {"code": code, "msg": "no"}, 400)
        if code in REFUSED:
            assert answered == Refused(str(code), "no")
        else:
            assert isinstance(answered, Unsure), code


# What came of the request is not said, or it is said of something that was not asked for.
NO_PROOF = (
    *(-1, -1000, -1001, -1006, -1007, -1008, -1016, -1125, -2013, -2020, -4000, -4046, -4059),
    *(-4116, -4168, -4999, -5021, -5027, -9999),
)


@pytest.mark.parametrize("code", NO_PROOF)
def test_other_codes_prove_nothing(code: int) -> None:
    assert isinstance(reply(CLOSE, {"code": code, "msg": "?"}, 503), Unsure)


@pytest.mark.parametrize("code", sorted(NOT_THERE))
def test_nothing_to_cancel_may_be_the_doing_of_the_same_cancel(code: int) -> None:
    """aiohttp repeats a DELETE by itself when a kept connection breaks."""
    assert isinstance(reply(CANCEL, {"code": code, "msg": "Unknown order sent."}, 400), Unsure)


def test_every_refusal_is_told_by_its_meaning() -> None:
    for code, meaning in REFUSED.items():
        assert code < 0
        assert meaning == meaning.strip()
        assert not meaning.endswith(".")


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5_000, 5_000)
    | st.floats()
    | st.sampled_from(["", "id1", "BTCUSDT", "BUY", "NEW", "NaN", "1e400"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["code", "msg", "orderId", "clientOrderId", "symbol", "side", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)


@given(JUNK, st.sampled_from([200, 400, 403, 502, 524]))
def test_junk_is_never_success_and_refused_only_by_a_code(body: Any, status: int) -> None:
    match reply(CLOSE, body, status):
        case Accepted():
            assert status == 200
            assert body["orderId"] not in (None, 0, "")
            assert (body["clientOrderId"], body["symbol"], body["side"]) == (
                "id1",
                "BTCUSDT",
                "BUY",
            )
        case Refused(code):
            assert int(body["code"]) == int(code)
            assert int(code) in REFUSED
        case _:
            pass


@given(st.text(max_size=60))
def test_text_is_never_success(text: str) -> None:
    assert isinstance(reply(CLOSE, text), Unsure)


def test_numbers_are_exact_and_what_is_no_number_is_refused() -> None:
    assert parse_json('{"amount": 0.1}') == {"amount": D("0.1")}
    for text in ('{"a": NaN}', '{"a": Infinity}', "", "<html>", '{"a":', "[" * 100_000):
        with pytest.raises(Unreadable):
            parse_json(text)


# -- evidence ------------------------------------------------------------------------------

NONE = Heard(400, {}, '{"code": -2013, "msg": "Order does not exist."}')


def heard(body: object, status: int = 200) -> Heard:
    return Heard(status, {}, json.dumps(body))


def test_a_triggered_stop_counts_by_its_conditional_order() -> None:
    stop = STOP_ROW | {"clientAlgoId": "id1", "actualQty": "0.010", "actualPrice": "63990.5"}
    done = heard(stop | {"algoStatus": "FINISHED"})
    left = {
        "clientOrderId": "id1",
        "symbol": "BTCUSDT",
        "status": "FILLED",
        "executedQty": "0.010",
        "avgPrice": "63990.5",
    }
    expected = OrderFound("id1", False, Fill(Quantity(D("0.010")), Price(D("63990.5"))))
    assert ORDERS.order_of((heard(left), done), "id1", "BTCUSDT", LISTED) == expected
    assert ORDERS.order_of((heard(left), NONE), "id1", "BTCUSDT", LISTED) == expected
    waiting = heard(stop | {"algoStatus": "NEW"})
    assert ORDERS.order_of((NONE, waiting), "id1", "BTCUSDT", LISTED) == OrderFound(
        "id1", True, NO_FILL
    )


@pytest.mark.parametrize(
    "answer",
    [
        heard({"code": -1007, "msg": "Timeout"}, 408),
        heard({}),
        heard({"clientOrderId": "other", "symbol": "BTCUSDT", "status": "NEW"}),
        heard({"clientOrderId": "id1", "symbol": "ADAUSDT", "status": "NEW"}),
        heard({"clientOrderId": "id1", "symbol": "BTCUSDT", "status": "ODD"}),
        Heard(502, {}, "<html>"),
    ],
)
def test_an_answer_about_something_else_is_no_evidence(answer: Heard) -> None:
    with pytest.raises(Unreadable):
        ORDERS.order_of((answer, NONE), "id1", "BTCUSDT", LISTED)


# -- frames --------------------------------------------------------------------------------


def test_the_venues_own_orders_tell_of_liquidations() -> None:
    order = {"s": "BTCUSDT", "c": "autoclose-1", "S": "SELL", "X": "FILLED", "ap": "9910.12"}
    frame = {"e": "ORDER_TRADE_UPDATE", "o": order}
    told = ACCOUNT.account_frame(frame, LISTED, 5)
    assert told == Liquidated(BTC, Side.LONG, Price(D("9910.12")), 5)
    ours = frame | {"o": order | {"c": "lgabc"}}
    assert ACCOUNT.account_frame(ours, LISTED, 5) == AccountChanged("lgabc")


def test_other_frames_ring_or_end_or_say_nothing() -> None:
    assert ACCOUNT.account_frame({"e": "ACCOUNT_UPDATE"}, LISTED, 5) == AccountChanged()
    assert ACCOUNT.account_frame({"e": "TRADE_LITE"}, LISTED, 5) == Irrelevant()
    assert ACCOUNT.account_frame({"result": None, "id": 1}, LISTED, 5) == Irrelevant()
    ended = ACCOUNT.account_frame({"e": "listenKeyExpired"}, LISTED, 5)
    assert isinstance(ended, StreamEnded)


def test_one_bad_mark_hides_no_other() -> None:
    good = {
        "symbol": "BTCUSDT",
        "markPrice": "11793.63104562",
        "lastFundingRate": "0.00038246",
        "nextFundingTime": 1597392000000,
    }
    bad = [good | {"symbol": "ADAUSDT", "markPrice": each} for each in ("0", "-1", None, "NaN")]
    (mark,) = MARKET.marks_of(([*bad, good, {"x": 1}],), LISTED)
    assert (mark.symbol, mark.price, mark.rate) == (BTC, D("11793.63104562"), D("0.00038246"))


HOUR_MS = 3_600_000
NOON_MS = 1_600_000_000_000 // HOUR_MS * HOUR_MS


def kline(number: int, high: object = "11") -> list[object]:
    """A row of markPriceKlines, as the manual has it."""
    opens_at_ms = NOON_MS + number * HOUR_MS
    return [opens_at_ms, "10", high, "9", "10.5", "0", opens_at_ms + HOUR_MS - 1, "0", 60, "0"]


def test_the_hour_that_is_not_over_is_no_bar() -> None:
    call = MARKET.bars_call("BTCUSDT")
    assert (call.path, call.parameters["interval"]) == ("markPriceKlines", "1h")
    rows = [kline(0), kline(1, "12"), kline(2)]
    told = MARKET.bars_of(rows, BTC, NOON_MS + 3 * HOUR_MS - 1)
    assert told.closed_at_ms == NOON_MS + 2 * HOUR_MS
    assert [(bar.high, bar.low, bar.close) for bar in told.bars] == [
        (D(11), D(9), D("10.5")),
        (D(12), D(9), D("10.5")),
    ]


def test_bars_before_a_gap_are_left_out() -> None:
    told = MARKET.bars_of([kline(0), kline(2, "12")], BTC, NOON_MS + 9 * HOUR_MS)
    assert told.closed_at_ms == NOON_MS + 3 * HOUR_MS
    assert [bar.high for bar in told.bars] == [D(12)]


@pytest.mark.parametrize(
    "rows", [{}, [{}], [[1, "2"]], [kline(0, "0")], [kline(0, "NaN")], [kline(0, None)]]
)
def test_a_chart_that_is_none_is_unreadable(rows: object) -> None:
    with pytest.raises(Unreadable):
        MARKET.bars_of(rows, BTC, NOON_MS + 9 * HOUR_MS)


# -- before the start ----------------------------------------------------------------------

KEY = {"enableFutures": True, "enableWithdrawals": False, "permitsUniversalTransfer": False}


@pytest.mark.parametrize(
    ("key", "mode", "config", "word"),
    [
        ({"enableWithdrawals": True}, {}, {}, "withdraw"),
        ({"permitsUniversalTransfer": True}, {}, {}, "transfer"),
        ({"enableFutures": False}, {}, {}, "trade futures"),
        ({}, {"canTrade": False}, {}, "can trade"),
        ({"enablePortfolioMarginTrading": True}, {}, {}, "portfolio margin"),
        ({}, {"multiAssetsMargin": True}, {}, "multi-assets"),
        ({}, {}, {"isAutoAddMargin": True}, "auto-margin"),
    ],
)
def test_a_key_or_account_that_cannot_be_guarded_is_refused(
    key: dict[str, bool], mode: dict[str, bool], config: dict[str, bool], word: str
) -> None:
    answers = (KEY | key, ONE_WAY | mode, [CONFIGS[0] | config])
    (sentence,) = (*ACCOUNT.refusals(answers), *ACCOUNT.unsupported(answers))
    assert word in sentence


def test_a_good_key_and_account_are_fine() -> None:
    good = (KEY, ONE_WAY, CONFIGS)
    assert ACCOUNT.refusals(good) == ACCOUNT.unsupported(good) == ()


def test_a_contract_that_is_to_be_settled_says_when() -> None:
    row = {
        "symbol": "BTCUSDT",
        "contractType": "PERPETUAL",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "deliveryDate": 4133404800000,
    }
    gone = row | {"symbol": "ADAUSDT", "baseAsset": "ADA", "deliveryDate": 1796601600000}
    listed = MARKET.listing_of({"symbols": [row, gone]})
    assert listed.symbols == LISTED.symbols
    assert listed.endings == {"ADAUSDT": 1796601600000}
