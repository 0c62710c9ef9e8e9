"""
XT's answers as the venue documents them, answers that nobody should believe, and recipes held
against ccxt's own.

Shapes are those of the venue's pages and of the rows kept in ccxt 4.5.90's source
(`documented`); where a row is a client library's (`test-fixture`) it says so. Figures are ours.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import ccxt.async_support
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.model import MarginMode, NotReported, PositionMode, Reported, Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.calls import Heard, Unreadable
from bot.exchange.live.dialect import Irrelevant, Listed, StreamEnded
from bot.exchange.ports import Accepted, AccountChanged, OrderAbsent, Refused, Unsure
from bot.exchange.venues import xt_account, xt_market, xt_orders
from bot.exchange.venues.xt_refusals import REFUSED
from tests.exchange.venues.capture import golden
from tests.exchange.venues.xt_desk import CONTRACT, TIERS

D = Decimal
BTC = "BTC/USDT:USDT"
LISTED = Listed({"btc_usdt": BTC}, {"btc_usdt": D("0.0001")})

# `documented`: an isolated short, as ccxt's source keeps one.
SHORT = {
    "symbol": "btc_usdt",
    "positionType": "ISOLATED",
    "positionSide": "SHORT",
    "contractType": "PERPETUAL",
    "positionSize": "10",
    "entryPrice": "27060",
    "isolatedMargin": "1.0824",
    "autoMargin": False,
    "leverage": 25,
    "markPrice": "27050",
}
# `test-fixture`: numbers instead of texts.
CROSS = SHORT | {"positionType": "CROSSED", "positionSide": "LONG", "positionSize": 7}
BREAK = {"symbol": "btc_usdt", "positionSide": "SHORT", "breakPrice": "28020.5"}
# `documented`: the wallet's balance has the margins in it.
BALANCE = {
    "coin": "usdt",
    "walletBalance": "19.29849875",
    "isolatedMargin": "1.0824",
    "availableBalance": "18.2161",
}
PLAN = {
    "entrustId": "216300248132756992",
    "symbol": "btc_usdt",
    "entrustType": "STOP_MARKET",
    "orderSide": "BUY",
    "positionSide": "SHORT",
    "origQty": "10",
    "stopPrice": "27900",
    "triggerPriceType": "MARK_PRICE",
    "state": "NOT_TRIGGERED",
    "clientOrderId": "lg1",
}


def done(result: Any) -> dict[str, Any]:
    return {"returnCode": 0, "msgInfo": "success", "error": None, "result": result}


def snapshot(
    *positions: Mapping[str, Any],
    breaks: tuple[Mapping[str, Any], ...] = (BREAK,),
    plans: tuple[Mapping[str, Any], ...] = (),
    balance: Mapping[str, Any] = BALANCE,
) -> Any:
    money = done([{"coin": "btc"}, balance])
    state = (done(list(positions)), done(list(breaks)), money)
    return xt_account.snapshot_of((), state, (done({"items": list(plans)}),), LISTED, 7)


def test_an_isolated_short_binds_its_margin_and_has_the_price_of_its_own_side() -> None:
    other = BREAK | {"positionSide": "LONG", "breakPrice": "1"}
    seen = snapshot(SHORT, breaks=(other, BREAK))
    (position,) = seen.positions
    assert (position.symbol, position.side, position.quantity) == (BTC, Side.SHORT, D("0.001"))
    assert (position.isolated_margin, position.leverage) == (D("1.0824"), D(25))
    assert position.liquidation == Reported(Price(D("28020.5")))
    assert seen.wallet_balance == D("19.29849875") - D("1.0824")
    assert (seen.free, seen.position_mode) == (D("18.2161"), PositionMode.HEDGE)


def test_a_cross_position_binds_none() -> None:
    (position,) = snapshot(CROSS).positions
    assert (position.margin_mode, position.isolated_margin) == (MarginMode.CROSS, D(0))
    assert (position.side, position.quantity) == (Side.LONG, D("0.0007"))


@pytest.mark.parametrize(
    "breaks",
    [
        (),
        (BREAK | {"breakPrice": "0"},),
        (BREAK | {"breakPrice": 0},),
        (BREAK | {"breakPrice": None},),
        ({},),
        (BREAK | {"positionSide": "LONG"},),
        (BREAK | {"symbol": "eth_usdt"},),
    ],
)
def test_no_liquidation_price_is_no_report(breaks: tuple[dict[str, Any], ...]) -> None:
    (position,) = snapshot(SHORT, breaks=breaks).positions
    assert position.liquidation == NotReported()


def test_both_sides_of_a_contract_are_seen_and_flat_ones_are_not() -> None:
    flat = CROSS | {"positionSize": 0, "entryPrice": 0}
    seen = snapshot(SHORT, SHORT | {"positionSide": "LONG"}, flat)
    assert [each.side for each in seen.positions] == [Side.LONG, Side.SHORT]
    with pytest.raises(Unreadable, match="several"):
        snapshot(SHORT, SHORT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("positionSide", "BOTH"),
        ("positionType", ""),
        ("positionSize", "-10"),
        ("positionSize", "NaN"),
        ("isolatedMargin", "0"),
        ("entryPrice", None),
        ("leverage", 0),
        ("symbol", "no_usdt"),
    ],
)
def test_what_a_position_stands_on_is_never_made_up(name: str, value: object) -> None:
    seen = snapshot(SHORT | {name: value})
    assert seen.positions == ()
    (garbled,) = seen.garbled
    assert name in garbled.reason


@pytest.mark.parametrize("name", ["walletBalance", "availableBalance", "coin"])
def test_a_wallet_that_is_not_told_is_no_read(name: str) -> None:
    less = {key: value for key, value in BALANCE.items() if key != name}
    with pytest.raises(Unreadable):
        snapshot(balance=less)


def test_an_answer_that_says_that_it_failed_is_no_read() -> None:
    failed = {"returnCode": 1, "error": {"code": "403", "msg": "invalid signature"}}
    with pytest.raises(Unreadable, match="403"):
        xt_account.held_names((failed | {"result": None},))


def test_stops_are_those_that_protect_and_one_bad_row_hides_no_other() -> None:
    plans = (
        PLAN,
        PLAN | {"triggerPriceType": "LATEST_PRICE"},
        PLAN | {"entrustType": "STOP"},
        PLAN | {"entrustType": "TAKE_PROFIT_MARKET"},
        PLAN | {"orderSide": "SELL"},  # it opens
        PLAN | {"stopPrice": None},
        {"symbol": "btc_usdt"},
        PLAN | {"clientOrderId": ""},
    )
    found = snapshot(SHORT, plans=plans).stops
    assert [each.client_id for each in found] == ["lg1", "216300248132756992"]
    assert {(each.side, each.quantity, each.reduce_only) for each in found} == {
        (Side.SHORT, D("0.001"), True)
    }


def test_a_full_page_of_plans_may_not_be_all() -> None:
    with pytest.raises(Unreadable, match="page"):
        snapshot(SHORT, plans=(PLAN,) * 100)


def test_brackets_leave_no_jump() -> None:
    brackets = done({"symbol": "btc_usdt", "leverageBrackets": TIERS[::-1]})
    listed = xt_market.instrument_of((done([CONTRACT]), brackets), LISTED, "btc_usdt")
    assert [(each.floor, each.rate, each.deduction) for each in listed.tiers] == [
        (D(0), D("0.004"), D(0)),
        (D(1_000_000), D("0.005"), D(1_000)),
    ]
    twice = done({"symbol": "btc_usdt", "leverageBrackets": [TIERS[0], TIERS[0]]})
    with pytest.raises(Unreadable, match="rising"):
        xt_market.instrument_of((done([CONTRACT]), twice), LISTED, "btc_usdt")


@pytest.mark.parametrize("hours", [0, -8, 28800, "8.5", None])
def test_an_interval_that_is_no_hours_is_none(hours: object) -> None:
    with pytest.raises(Unreadable):
        xt_market.interval_of(done({"collectionInternal": hours}), "btc_usdt")


# -- answers to writes ---------------------------------------------------------------------

ADD = AddMargin(BTC, Side.SHORT, Money(D("25.756")))
STOP = PlaceStop(BTC, Side.SHORT, Quantity(D("0.001")), Price(D(27_900)))
CANCEL = CancelStop(BTC, Side.SHORT, "lg1")
CLOSE = ClosePosition(BTC, Side.SHORT, Quantity(D("0.001")))
OLD_STYLE = {"error": {"code": "", "msg": ""}, "msgInfo": "", "result": {}, "returnCode": 0}


def reply(action: Action, body: object, status: int = 200) -> object:
    text = body if isinstance(body, str) else json.dumps(body)
    return xt_orders.reply_of(Heard(status, {}, text), action, "id1", LISTED)


@pytest.mark.parametrize("action", [ADD, CANCEL], ids=["add", "cancel"])
@pytest.mark.parametrize("body", [done(None), OLD_STYLE], ids=["null", "old style"])
def test_a_whole_envelope_of_success_is_taken_at_its_word(
    action: Action, body: dict[str, Any]
) -> None:
    assert reply(action, body) == Accepted()
    for name in body:
        less = {other: value for other, value in body.items() if other != name}
        assert isinstance(reply(action, less), Unsure), name


@pytest.mark.parametrize("action", [STOP, CLOSE], ids=["stop", "close"])
def test_an_order_is_proven_by_its_number_alone(action: Action) -> None:
    assert reply(action, done("206410760006650176")) == Accepted()
    assert reply(action, done(206410760006650176)) == Accepted()
    nothings: tuple[object, ...] = (None, {}, "", "0", 0, -1, "x", [], True, 1.5)
    for nothing in nothings:
        assert isinstance(reply(action, done(nothing)), Unsure), nothing


@pytest.mark.parametrize("code", REFUSED)
def test_codes_of_the_list_are_proof(code: str) -> None:
    body = {"returnCode": 1, "msgInfo": "failure", "error": {"code": code}, "result": None}
    answer = reply(CLOSE, body)
    assert isinstance(answer, Refused)
    assert answer.code == code


@pytest.mark.parametrize("code", ["500", "502", "503", "", "invalid_params", 403, None])
def test_other_codes_prove_nothing(code: object) -> None:
    body = {"returnCode": 1, "msgInfo": "failure", "error": {"code": code}, "result": "123"}
    assert isinstance(reply(CLOSE, body), Unsure)


def test_the_words_of_the_spot_side_are_understood() -> None:
    assert isinstance(reply(CLOSE, {"rc": 1, "mc": "AUTH_103", "ma": []}), Refused)
    assert isinstance(reply(ADD, {"rc": 0, "mc": "SUCCESS", "result": "1"}), Unsure)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "0", "id1", "failure"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["returnCode", "error", "result", "msgInfo", "code", "rc"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)


@given(JUNK, st.sampled_from([200, 400, 502]), st.sampled_from([ADD, STOP, CANCEL, CLOSE]))
def test_junk_is_success_only_as_a_whole_envelope(body: Any, status: int, action: Action) -> None:
    answer = reply(action, body, status)
    if isinstance(answer, Accepted):
        assert status == 200
        assert body["returnCode"] in (0, "0", False)
        assert {"error", "msgInfo", "result"} <= body.keys() or isinstance(
            action, ClosePosition | PlaceStop
        )
        assert body["error"] is None or body["error"]["code"] == ""
    else:
        assert isinstance(answer, Unsure)


# -- evidence ------------------------------------------------------------------------------

ORDER = {
    "orderId": "1",
    "symbol": "btc_usdt",
    "clientOrderId": "id1",
    "sourceId": None,
    "executedQty": "10",
    "avgPrice": "27905.5",
    "state": "FILLED",
}


def heard(items: list[Any], status: int = 200) -> Heard:
    return Heard(status, {}, json.dumps(done({"items": items})))


def look(named: Heard | None = None, ended: Any = (), waiting: Any = (), over: Any = ()) -> object:
    lists = [heard(list(each)) for each in (ended, waiting, over)]
    return xt_orders.order_of((named or heard([]), *lists), "id1", "btc_usdt", LISTED)


def test_an_order_is_found_in_either_list() -> None:
    assert look() == OrderAbsent()
    assert look(heard([ORDER])) == look(ended=[ORDER])
    assert look(ended=[ORDER | {"clientOrderId": "other"}]) == OrderAbsent()


def test_a_list_that_does_not_tell_whose_orders_they_are_is_no_evidence() -> None:
    nameless = {key: value for key, value in ORDER.items() if key != "clientOrderId"}
    with pytest.raises(Unreadable, match="clientOrderId"):
        look(heard([nameless]))


def test_a_triggered_plan_without_its_order_is_no_evidence() -> None:
    with pytest.raises(Unreadable, match="entrustId"):
        look(over=[PLAN | {"clientOrderId": "id1", "state": "TRIGGERED"}])


@pytest.mark.parametrize(
    "named",
    [
        Heard(200, {}, '{"returnCode": 1, "error": {"code": "x"}, "result": null}'),
        heard([ORDER], 502),
        heard([ORDER | {"symbol": "eth_usdt"}]),
        heard([ORDER | {"state": "ODD"}]),
        Heard(502, {}, "<html>"),
    ],
)
def test_an_answer_about_something_else_is_no_evidence(named: Heard) -> None:
    with pytest.raises(Unreadable):
        look(named)


# -- frames --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        ({"topic": "order", "event": "order@1", "data": {}}, AccountChanged()),
        ({"topic": "notify", "event": "notify", "data": {}}, AccountChanged()),
        ({"topic": "ticker", "event": "ticker@btc_usdt", "data": {}}, Irrelevant()),
        ({"id": "1", "code": 0, "msg": "success"}, Irrelevant()),
    ],
)
def test_frames_ring_or_say_nothing(frame: Any, told: object) -> None:
    assert xt_account.account_frame(frame, LISTED, 5) == told


def test_a_key_that_is_over_ends_the_stream() -> None:
    told = xt_account.account_frame({"id": "123", "code": 401, "msg": "token expire"}, LISTED, 5)
    assert isinstance(told, StreamEnded)


def test_one_bad_mark_hides_no_other_and_one_bad_bill_no_mark() -> None:
    good = {"s": "btc_usdt", "p": "26999.5", "t": 1}
    bad = [good | {"p": each} for each in ("0", "-1", None, "NaN")]
    (mark,) = xt_market.marks_of((done([*bad, good, {}]), {"returnCode": 1}), LISTED)
    assert (mark.price, mark.next_at_ms) == (D("26999.5"), 0)


# -- before the start ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "position", "word"),
    [({"allowTrade": False}, {}, "trade"), ({}, {"autoMargin": True}, "auto-margin")],
)
def test_an_account_that_cannot_be_guarded_is_refused(
    account: dict[str, Any], position: dict[str, Any], word: str
) -> None:
    good = {"allowTrade": True}
    assert xt_account.refusals((done(good), done([SHORT]))) == ()
    (sentence,) = xt_account.refusals((done(good | account), done([SHORT | position])))
    assert word in sentence


# -- recipes -------------------------------------------------------------------------------


async def ccxts_own(side: str, amount: int, price: str | None, **extra: Any) -> Any:
    """The body that ccxt's `create_order` sends when it is asked in its own words."""
    client = ccxt.async_support.xt({"apiKey": "k", "secret": "s"})
    market = {
        "id": "btc_usdt", "symbol": BTC, "base": "BTC", "quote": "USDT", "settle": "USDT",
        "baseId": "btc", "quoteId": "usdt", "settleId": "usdt", "type": "swap", "spot": False,
        "margin": False, "swap": True, "future": False, "option": False, "contract": True,
        "linear": True, "inverse": False, "contractSize": 0.0001, "active": True,
        "precision": {"amount": 1, "price": 0.1}, "limits": {"amount": {"min": 1}}, "info": {},
    }  # fmt: skip
    client.set_markets([market])
    sent: list[Any] = []

    async def fetch(url: str, method: str, headers: Any, body: Any) -> Any:
        sent.append((url, json.loads(body)))
        return done("1")

    client.fetch = fetch
    kind = "market" if price is None else "limit"
    order_price = None if price is None else float(price)
    await client.create_order(BTC, kind, side, amount, order_price, extra | {"reduceOnly": True})
    await client.close()
    return sent[0]


MARK_STOP = {"triggerPriceType": "MARK_PRICE", "timeInForce": "IOC"}


@pytest.mark.parametrize(
    ("name", "side", "amount", "price", "extra"),
    [
        ("long: close", "sell", 471, None, {}),
        ("short: close", "buy", 471, None, {}),
        ("long: close within", "sell", 471, "59900.5", {"timeInForce": "IOC"}),
        ("long: place stop", "sell", 1000, None, MARK_STOP | {"triggerPrice": 57000}),
        ("short: place stop", "buy", 1000, None, MARK_STOP | {"triggerPrice": 63000}),
    ],
)
async def test_orders_are_those_that_ccxt_makes_when_asked_rightly(
    name: str, side: str, amount: int, price: str | None, extra: dict[str, Any]
) -> None:
    """An independent source. ccxt adds a `reduceOnly` that the venue does not know."""
    text = "lgabcd0123456789abcdefghij"
    url, body = await ccxts_own(side, amount, price, clientOrderId=text, **extra)
    ours = golden("xt")[f"hedge isolated {name}"]
    assert url.endswith(ours["path"])
    assert body.pop("reduceOnly") is True
    assert ours["body"] == body


def test_no_recipe_can_open_or_trigger_on_the_last_price_or_close_at_once() -> None:
    for name, sent in golden("xt").items():
        body, is_long = sent["body"], " long:" in name
        if "cancel" in name:
            assert body == {"entrustId": "36028797000000001"}
            continue
        assert body["positionSide"] == ("LONG" if is_long else "SHORT")
        if "margin" in name:
            assert (body["type"], body["margin"]) == ("ADD", "25.756")
            continue
        assert body["orderSide"] == ("SELL" if is_long else "BUY")
        assert body["origQty"] in ("1000", "471")
        is_stop = sent["path"].endswith("/entrust/create-plan")
        assert ("stop" in name) is is_stop
        assert "stopLossPrice" not in body
        if is_stop:
            assert body["triggerPriceType"] == "MARK_PRICE"
            assert body["entrustType"] == "STOP_MARKET"


def test_bars_are_hours_of_the_last_price_that_are_over_whatever_their_order() -> None:
    noon_ms = 1_600_000_000 // 3_600 * 3_600_000
    rows = [
        {"t": noon_ms + hour * 3_600_000, "o": "10", "h": high, "l": "9", "c": "10.5"}
        for hour, high in ((4, "14"), (3, "13"), (2, "12"), (0, "11"))
    ]
    call = xt_market.bars_call("btc_usdt")
    assert (call.parameters["symbol"], call.parameters["interval"]) == ("btc_usdt", "1h")
    told = xt_market.bars_of(done(rows), BTC, noon_ms + 5 * 3_600_000 - 1)
    assert told.closed_at_ms == noon_ms + 4 * 3_600_000
    assert [str(bar.high) for bar in told.bars] == ["12", "13"]
