"""
Bybit's answers as the venue documents them, answers that nobody should believe, and recipes held
against ccxt's own.

Shapes are those of the v5 pages (`documented`); where a row is a client library's
(`test-fixture`), or was met by somebody (`recorded`), it says so. Figures are ours.
"""

import asyncio
import json
from decimal import Decimal
from typing import Any

import ccxt.async_support
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.events import AutoDeleveraged, Liquidated, MarkPrice
from bot.core.margin import LiquidatesAt, liquidation
from bot.core.model import MarginMode, NotReported, Position, PositionMode, Reported, Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.calls import Heard, Unreadable, parse_json
from bot.exchange.live.dialect import Irrelevant, Listed, Marked, StreamEnded, Unmoved
from bot.exchange.ports import Accepted, AccountChanged, OrderAbsent, Quoted, Refused, Unsure
from bot.exchange.venues import bybit_account, bybit_market, bybit_orders
from bot.exchange.venues.bybit_refusals import REFUSED
from tests.exchange.venues.bybit_desk import CONTRACT, KEY, TIERS, BybitDesk
from tests.exchange.venues.capture import golden
from tests.exchange.venues.stage import BTC, Book, staged

D = Decimal
LISTED = Listed({"BTCUSDT": BTC, "ETHUSDT": "ETH/USDT:USDT"})

LONG = {
    "positionIdx": 0,
    "symbol": "BTCUSDT",
    "side": "Buy",
    "size": "0.5",
    "avgPrice": "50000.00",
    "positionValue": "25000",
    "tradeMode": 0,
    "positionStatus": "Normal",
    "autoAddMargin": 0,
    "leverage": "10",
    "markPrice": "50500.00",
    "liqPrice": "45250.00",
    "bustPrice": "",
    "positionIM": "2513.5",
    "positionMM": "126.25",
    "positionBalance": "0",
}
SHORT = LONG | {"side": "Sell", "liqPrice": "54700.00"}
# A flat row, as the venue sends one for each leg that is empty; the second, in USDC, is a
# `test-fixture`: every number of it is "".
FLAT = LONG | {"side": "", "size": "0", "avgPrice": "0", "liqPrice": "", "positionIM": "0"}
BLANK = dict.fromkeys(LONG, "") | {"symbol": "BTCUSDT", "positionIdx": 0}
USDT = {
    "coin": "USDT",
    "equity": "6000",
    "walletBalance": "6000",
    "locked": "100",
    "borrowAmount": "0.0",
    "totalOrderIM": "50",
    "totalPositionIM": "2513.5",
    "totalPositionMM": "126.25",
    "unrealisedPnl": "-250",
    "bonus": "10",
    "marginCollateral": True,
    "collateralSwitch": True,
}
BITCOIN = USDT | {"coin": "BTC", "equity": "0.1", "totalPositionIM": "0"}
STOP_ROW = {
    "orderId": "a-1",
    "orderLinkId": "lg1",
    "symbol": "BTCUSDT",
    "price": "0",
    "qty": "0.5",
    "side": "Sell",
    "positionIdx": 0,
    "orderStatus": "Untriggered",
    "avgPrice": "",
    "cumExecQty": "0",
    "orderType": "Market",
    "stopOrderType": "Stop",
    "triggerPrice": "46000",
    "triggerDirection": 2,
    "triggerBy": "MarkPrice",
    "reduceOnly": True,
    "tpslMode": "",
}


def enveloped(*found: Any) -> dict[str, Any]:
    result = {"category": "linear", "list": list(found), "nextPageCursor": ""}
    return {"retCode": 0, "retMsg": "OK", "result": result}


def snapshot(
    *legs: Any,
    mode: str = "ISOLATED_MARGIN",
    coins: Any = (USDT,),
    stops: Any = (),
    probe: Any = (FLAT,),
) -> Any:
    info = {"retCode": 0, "result": {"marginMode": mode, "unifiedMarginStatus": 5}}
    state = (enveloped(*legs), enveloped({"accountType": "UNIFIED", "coin": list(coins)}))
    waiting = (enveloped(*stops),)
    return bybit_account.snapshot_of((info, enveloped(*probe)), state, waiting, LISTED, 1)


# -- the account ---------------------------------------------------------------------------


def test_an_isolated_position_has_the_margin_that_its_initial_margin_tells() -> None:
    seen = snapshot(LONG, FLAT, BLANK)
    (held,) = seen.positions
    assert (held.side, held.quantity, held.margin_mode) == (
        Side.LONG,
        D("0.5"),
        MarginMode.ISOLATED,
    )
    assert (held.isolated_margin, held.liquidation) == (D("2513.5"), Reported(Price(D("45250"))))
    # `documented`, of isolated margin: walletBalance - totalPositionIM - totalOrderIM - locked -
    # bonus is free.
    assert (seen.wallet_balance, seen.free) == (D("3486.5"), D("3326.5"))


def test_what_was_added_is_in_the_initial_margin_and_the_fee_beside_it_does_not_change() -> None:
    """
    `documented`: the answer to an addition of 0.01 (inverse, 12x, taker 0.06 %). Without it the
    margin is the value by the leverage and the fee of closing at bankruptcy, by the leverage too.
    """
    value, told = D("0.11033265"), D("0.01926611")
    fee = value * (1 + D(1) / 12) * D("0.0006")
    assert abs(value / 12 + fee + D("0.01") - told) < D("0.00000001")


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("added", [D(0), D(500)])
def test_our_liquidation_price_is_the_venues_formula(side: Side, added: Decimal) -> None:
    """
    `documented` (its page on isolated margin in the unified account, 2026-05): the initial margin
    without a fee is what the rate demands at the mark price, less the deduction, and what was
    added counts by the taker fee: 1 / (1 + fee) of an inverse long. Of a linear one, whose part of
    the page was not found, the sign is the other: `derived`.
    """
    info = (
        enveloped(CONTRACT),
        enveloped(*TIERS),
        enveloped({"symbol": "BTCUSDT", "takerFeeRate": "0.00055"}),
    )
    listed = bybit_market.instrument_of(info, LISTED, "BTCUSDT")
    quantity, entry, leverage, fee = D("0.5"), D(50_000), D(10), D("0.00055")
    sign = side.sign
    margin = quantity * entry / leverage * (1 + (leverage - sign) * fee) + added
    position = Position(
        BTC,
        side,
        Quantity(quantity),
        Price(entry),
        MarginMode.ISOLATED,
        Money(margin),
        leverage,
        NotReported(),
    )
    counted = added / (1 - sign * fee)
    expected = (sign * entry * quantity - entry * quantity / leverage - counted) / (
        quantity * (sign - D("0.004"))
    )
    ours = liquidation(listed, position)
    assert isinstance(ours, LiquidatesAt)
    assert abs(ours.price - expected) <= listed.tick_size, (ours.price, expected)


@pytest.mark.parametrize("told", ["", "0", "-1", "999999.00", None, "NaN"])
def test_no_liquidation_price_is_no_report(told: Any) -> None:
    (held,) = snapshot(SHORT | {"liqPrice": told}).positions
    assert held.liquidation == NotReported()


def test_a_cross_position_has_no_margin_of_its_own_and_a_loss_is_not_free() -> None:
    seen = snapshot(LONG, mode="REGULAR_MARGIN")
    (held,) = seen.positions
    assert (held.margin_mode, held.isolated_margin) == (MarginMode.CROSS, D(0))
    assert (seen.wallet_balance, seen.free) == (D(6000), D("3076.5"))


@pytest.mark.parametrize(
    ("coin", "word"),
    [
        (BITCOIN, "USDT alone"),
        (BITCOIN | {"equity": "0", "totalPositionIM": "0.01"}, "positions in USDT alone"),
        (BITCOIN | {"equity": "0", "borrowAmount": "0.2"}, "no debts"),
    ],
)
def test_a_cross_account_that_more_than_one_coin_backs_is_no_read(coin: Any, word: str) -> None:
    with pytest.raises(Unreadable, match=word):
        snapshot(LONG, mode="REGULAR_MARGIN", coins=(USDT, coin))
    assert snapshot(LONG, coins=(USDT, coin)).positions, "an isolated position is its own"


def test_a_coin_that_backs_nothing_is_nothing() -> None:
    idle = BITCOIN | {"collateralSwitch": False}
    assert snapshot(LONG, mode="REGULAR_MARGIN", coins=(USDT, idle)).positions


def test_both_legs_of_hedge_mode_are_seen_and_a_flat_account_tells_its_mode() -> None:
    long, short = LONG | {"positionIdx": 1}, SHORT | {"positionIdx": 2}
    seen = snapshot(long, short)
    assert [each.side for each in seen.positions] == [Side.LONG, Side.SHORT]
    assert seen.position_mode is PositionMode.HEDGE
    legs = (FLAT | {"positionIdx": 1}, FLAT | {"positionIdx": 2})
    assert snapshot(probe=legs).position_mode is PositionMode.HEDGE
    assert snapshot().position_mode is PositionMode.ONE_WAY
    assert snapshot(LONG, probe=legs).position_mode is PositionMode.ONE_WAY, "what is held tells"


# `recorded`: an open row in which everything but size and price is "", as portfolio margin or a
# demo account has it.
ALL_BLANK = LONG | dict.fromkeys(("leverage", "liqPrice", "positionIM", "positionMM"), "")


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (ALL_BLANK, "positionIM"),
        (LONG | {"positionIM": "0"}, "positionIM"),
        (LONG | {"leverage": ""}, "leverage"),
        (LONG | {"side": ""}, "side"),
        (LONG | {"side": "None"}, "side"),
        (LONG | {"positionIdx": 2}, "positionIdx"),
        (LONG | {"avgPrice": "0"}, "avgPrice"),
        (LONG | {"size": "NaN"}, "size"),
    ],
)
def test_what_a_position_stands_on_is_never_made_up(row: dict[str, Any], word: str) -> None:
    seen = snapshot(row)
    assert seen.positions == ()
    (garbled,) = seen.garbled
    assert word in garbled.reason


def test_positions_of_two_modes_are_no_read() -> None:
    with pytest.raises(Unreadable, match="positionIdx"):
        snapshot(LONG, SHORT | {"positionIdx": 2, "symbol": "ETHUSDT"})
    with pytest.raises(Unreadable, match="several"):
        snapshot(LONG, LONG)
    with pytest.raises(Unreadable, match="positionIdx"):
        snapshot(probe=())


@pytest.mark.parametrize("mode", ["PORTFOLIO_MARGIN", "", "NEW"])
def test_a_margin_mode_that_is_not_known_is_no_read(mode: str) -> None:
    with pytest.raises(Unreadable, match="marginMode"):
        snapshot(LONG, mode=mode)


@pytest.mark.parametrize("name", ["walletBalance", "totalPositionIM", "totalOrderIM", "locked"])
def test_a_wallet_that_is_not_told_is_no_read(name: str) -> None:
    with pytest.raises(Unreadable, match=name):
        snapshot(coins=({key: value for key, value in USDT.items() if key != name},))


def test_a_wallet_without_the_coin_is_empty() -> None:
    assert snapshot(coins=()).wallet_balance == 0


def test_an_error_in_the_envelope_is_no_read() -> None:
    failed = {"retCode": 10006, "retMsg": "Too many visits!", "result": {}}
    with pytest.raises(Unreadable, match="10006"):
        bybit_market.marks_of((failed,), LISTED)


def test_stops_are_those_that_protect_and_one_bad_row_hides_no_other() -> None:
    own = STOP_ROW | {"orderLinkId": "", "orderId": "own", "stopOrderType": "StopLoss", "qty": "0"}
    rows = (
        STOP_ROW,
        STOP_ROW | {"triggerBy": "LastPrice"},
        STOP_ROW | {"triggerBy": ""},
        STOP_ROW | {"orderType": "Limit"},
        STOP_ROW | {"triggerDirection": 1},  # sells when it rises: takes profit
        STOP_ROW | {"orderStatus": "Triggered"},
        STOP_ROW | {"triggerPrice": ""},
        {"symbol": "BTCUSDT"},
        own,
        own | {"side": "Buy", "triggerDirection": 1},  # of a short, of which there is none
        STOP_ROW | {"orderLinkId": "opens", "reduceOnly": False},
        STOP_ROW | {"orderLinkId": "short", "side": "Buy", "triggerDirection": 1},
    )
    found = snapshot(LONG, stops=rows).stops
    assert [(each.client_id, each.side, each.quantity, each.reduce_only) for each in found] == [
        ("lg1", Side.LONG, D("0.5"), True),
        ("own", Side.LONG, D("0.5"), True),
        ("opens", Side.LONG, D("0.5"), False),
        ("short", Side.SHORT, D("0.5"), True),
    ]


def test_a_full_page_may_not_be_all() -> None:
    with pytest.raises(Unreadable, match="page"):
        snapshot(stops=(STOP_ROW,) * 50)
    with pytest.raises(Unreadable, match="page"):
        snapshot(*[LONG] * 200)


# -- contracts -----------------------------------------------------------------------------


def test_a_contract_that_cannot_be_read_hides_no_other_and_an_ending_is_told() -> None:
    ends = CONTRACT | {"symbol": "OLDUSDT", "baseCoin": "OLD", "deliveryTime": "1900000000000"}
    others = (
        {"symbol": "XUSDT"},
        CONTRACT | {"symbol": "BTCPERP", "quoteCoin": "USDC", "settleCoin": "USDC"},
        CONTRACT | {"symbol": "BTC-26DEC26", "contractType": "LinearFutures"},
    )
    listed = bybit_market.listing_of(enveloped(*others, ends, CONTRACT))
    assert listed.symbols == {"OLDUSDT": "OLD/USDT:USDT", "BTCUSDT": BTC}
    assert listed.endings == {"OLDUSDT": 1_900_000_000_000}


@pytest.mark.parametrize(
    ("tiers", "word"),
    [
        ((), "rising"),
        ((TIERS[0], TIERS[0]), "rising"),
        ((TIERS[0] | {"maintenanceMargin": "0.4"}, TIERS[1]), "maintenanceMargin"),  # per cent
        ((TIERS[0], TIERS[1] | {"mmDeduction": "x"}), "mmDeduction"),
    ],
)
def test_tiers_that_make_no_table_are_none(tiers: Any, word: str) -> None:
    fees = enveloped({"symbol": "BTCUSDT", "takerFeeRate": "0.00055"})
    with pytest.raises(Unreadable, match=word):
        bybit_market.instrument_of(
            (enveloped(CONTRACT), enveloped(*tiers), fees), LISTED, "BTCUSDT"
        )


# -- answers to writes ---------------------------------------------------------------------

ADD = AddMargin(BTC, Side.LONG, Money(D("25.756")))
STOP = PlaceStop(BTC, Side.LONG, Quantity(D("0.01")), Price(D(30_000)))
CANCEL = CancelStop(BTC, Side.LONG, "lg1")
CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D("0.6024")))
TAKEN = {"orderId": "1321003749386327552", "orderLinkId": "id1"}
PROOFS: list[tuple[Action, dict[str, Any]]] = [
    (ADD, {"symbol": "BTCUSDT", "positionIdx": 0, "size": "0.5"}),
    (STOP, TAKEN),
    (CANCEL, TAKEN | {"orderLinkId": "lg1"}),
    (CLOSE, TAKEN),
]


def reply(action: Action, body: object, status: int = 200) -> object:
    text = body if isinstance(body, str) else json.dumps(body)
    return bybit_orders.reply_of(Heard(status, {}, text), action, "id1", LISTED)


def ok(result: object) -> dict[str, Any]:
    return {"retCode": 0, "retMsg": "OK", "result": result}


@pytest.mark.parametrize(("action", "result"), PROOFS, ids=lambda each: type(each).__name__)
def test_an_echo_is_a_proof_and_nothing_less(action: Action, result: dict[str, Any]) -> None:
    assert reply(action, ok(result)) == Accepted()
    for name in result:
        less = {other: value for other, value in result.items() if other != name}
        assert isinstance(reply(action, ok(less)), Unsure), name
        wrongs: tuple[object, ...] = (None, "", -1, "x", [], True)
        for wrong in wrongs:
            if (name, wrong) != ("orderId", "x"):
                odd = reply(action, ok(result | {name: wrong}))
                assert isinstance(odd, Unsure), (name, wrong)
    for status in (202, 400, 403, 429, 502):
        assert isinstance(reply(action, ok(result), status), Unsure)
    for body in ({}, result, ok({}), ok(None), {"retCode": "x", "result": result}, "<html>"):
        assert isinstance(reply(action, body), Unsure)


def test_the_margin_of_another_position_is_no_proof() -> None:
    row = PROOFS[0][1]
    for other in ({"positionIdx": 2}, {"symbol": "ETHUSDT"}, {"side": "Sell"}, {"size": "0"}):
        assert isinstance(reply(ADD, ok(row | other)), Unsure), other
    assert reply(ADD, ok(row | {"positionIdx": 1, "side": "Buy"})) == Accepted()


@pytest.mark.parametrize("code", REFUSED)
def test_codes_of_the_list_are_proof(code: int) -> None:
    refused = {"retCode": code, "retMsg": "no", "result": {}}
    assert reply(CLOSE, refused) == Refused(str(code), "no")
    assert isinstance(reply(CLOSE, refused, 502), Unsure)


@pytest.mark.parametrize("code", sorted(bybit_orders.GONE))
def test_that_a_stop_is_gone_does_not_say_what_became_of_it(code: int) -> None:
    assert isinstance(reply(CANCEL, {"retCode": code, "retMsg": "?", "result": {}}), Unsure)


@pytest.mark.parametrize(
    "code", [-1, 429, 5004, 10000, 10014, 10016, 40004, 110072, 110079, 110999]
)
def test_other_codes_prove_nothing(code: int) -> None:
    assert isinstance(reply(CLOSE, {"retCode": code, "retMsg": "?", "result": {}}), Unsure)


@pytest.mark.parametrize(
    "text",
    [
        "current position is zero, cannot fix reduce-only order qty",
        "Reduce-only rule not satisfied",
    ],
)
def test_one_code_with_two_texts_is_one_refusal(text: str) -> None:
    """`recorded`: both were answered with 110017."""
    assert reply(CLOSE, {"retCode": 110017, "retMsg": text, "result": {}}) == Refused(
        "110017", text
    )


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "id1", "BTCUSDT"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["orderId", "orderLinkId", "retMsg", "result", "list", "size"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)


@given(JUNK, st.sampled_from([200, 201, 400, 502]))
def test_junk_is_never_success(body: Any, status: int) -> None:
    assert isinstance(reply(CLOSE, body, status), Unsure)


# -- evidence ------------------------------------------------------------------------------

DONE = STOP_ROW | {
    "orderLinkId": "id1",
    "orderStatus": "Filled",
    "cumExecQty": "0.5",
    "avgPrice": "45990.5",
}


def heard(*found: Any, status: int = 200) -> Heard:
    return Heard(status, {}, json.dumps(enveloped(*found)))


def look(realtime: Heard, history: Heard) -> object:
    return bybit_orders.order_of((realtime, history), "id1", "BTCUSDT", LISTED)


def test_an_order_is_found_in_either_list_and_only_by_its_whole_name() -> None:
    assert look(heard(), heard()) == OrderAbsent()
    assert look(heard(DONE), heard()) == look(heard(), heard(DONE))
    assert look(heard(DONE | {"orderLinkId": "id11"}), heard()) == OrderAbsent()


@pytest.mark.parametrize(
    ("status", "is_resting"),
    [
        ("Untriggered", True),
        ("Triggered", True),
        ("New", True),
        ("PartiallyFilled", True),
        ("Filled", False),
        ("Cancelled", False),
        ("Rejected", False),
        ("Deactivated", False),
    ],
)
def test_every_status_rests_or_is_over(status: str, is_resting: bool) -> None:
    found = look(heard(DONE | {"orderStatus": status}), heard())
    assert getattr(found, "resting", None) is is_resting


@pytest.mark.parametrize(
    "realtime",
    [
        heard(DONE, status=502),
        heard(DONE | {"symbol": "ETHUSDT"}),
        heard(DONE | {"orderStatus": "odd"}),
        heard(DONE | {"avgPrice": ""}),
        Heard(200, {}, '{"retCode": 10016, "retMsg": "Server error.", "result": {}}'),
        Heard(200, {}, "<html>"),
    ],
)
def test_an_answer_about_something_else_is_no_evidence(realtime: Heard) -> None:
    with pytest.raises(Unreadable):
        look(realtime, heard())


# -- frames --------------------------------------------------------------------------------


def frame(topic: str, *found: Any) -> dict[str, Any]:
    return {"topic": topic, "id": "i-1", "creationTime": 1, "data": list(found)}


EXECUTION = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "execType": "Trade",
    "execPrice": "45850.5",
    "execQty": "0.2",
    "side": "Sell",
}


def test_what_the_venue_took_is_named_with_the_side_of_the_position() -> None:
    """Who sells had a long. A deleveraging is a `test-fixture`, a liquidation `documented`."""
    bust = bybit_account.account_frame(
        parse_json(
            json.dumps(frame("execution", EXECUTION, EXECUTION | {"execType": "BustTrade"}))
        ),
        LISTED,
        5,
    )
    assert bust == Liquidated(BTC, Side.LONG, Price(D("45850.5")), 5)
    taken = EXECUTION | {"execType": "AdlTrade", "side": "Buy"}
    assert bybit_account.account_frame(frame("execution", taken), LISTED, 5) == AutoDeleveraged(
        BTC, Side.SHORT, Quantity(D("0.2")), Price(D("45850.5")), 5
    )


@pytest.mark.parametrize(
    ("json", "told"),
    [
        (frame("execution", EXECUTION), AccountChanged()),
        (frame("order", {}), AccountChanged()),
        (frame("wallet", {}), AccountChanged()),
        ({"success": True, "ret_msg": "", "op": "auth", "conn_id": "c"}, Irrelevant()),
        ({"op": "pong", "req_id": "", "args": ["1"], "conn_id": "c"}, Irrelevant()),
        ({"retCode": 0, "retMsg": "OK", "op": "auth", "connId": "c"}, Irrelevant()),
    ],
)
def test_other_frames_ring_or_say_nothing(json: Any, told: object) -> None:
    assert bybit_account.account_frame(json, LISTED, 5) == told


@pytest.mark.parametrize(
    "refused",
    [
        {"op": "auth", "success": False, "retCode": 10003, "retMsg": "Invalid apikey"},
        {"op": "subscribe", "success": False, "ret_msg": "Invalid topic"},
        {"op": "auth", "retCode": 10003, "retMsg": "Invalid apikey"},
    ],
)
def test_a_sign_in_or_subscription_that_is_refused_ends_the_stream(refused: Any) -> None:
    assert isinstance(bybit_account.account_frame(refused, LISTED, 5), StreamEnded)


def test_a_frame_without_the_mark_says_that_it_has_not_moved() -> None:
    """`documented`: what is not in a message has not changed."""
    told = {"topic": "tickers.BTCUSDT", "type": "delta", "data": {"symbol": "BTCUSDT"}}
    assert bybit_market.mark_frame(told, LISTED) == (Unmoved(BTC),)
    moved = told | {"data": {"symbol": "BTCUSDT", "markPrice": "17217.33"}}
    (mark,) = bybit_market.mark_frame(moved, LISTED)
    assert isinstance(mark, Marked)
    assert (mark.symbol, mark.price, mark.next_at_ms) == (BTC, D("17217.33"), 0)
    for odd in ({"success": True, "op": "subscribe"}, told | {"topic": "kline.1.BTCUSDT"}):
        assert bybit_market.mark_frame(odd, LISTED) == ()
    other = {"symbol": "NOUSDT", "markPrice": "1"}
    assert bybit_market.mark_frame({**told, "data": other}, LISTED) == ()


def test_one_bad_mark_hides_no_other() -> None:
    bill = {"symbol": "BTCUSDT", "fundingRate": "0.0001", "nextFundingTime": "1900000800000"}
    bad: list[Any] = [{**bill, "markPrice": each} for each in ("0", "-1", None, "", "NaN")]
    (mark,) = bybit_market.marks_of(
        (enveloped(*bad, bill | {"markPrice": "37985.6"}, {}),), LISTED
    )
    assert (mark.price, mark.next_at_ms) == (D("37985.6"), 1_900_000_800_000)


def test_bars_are_hours_of_the_mark_price_that_are_over() -> None:
    noon_ms = 1_600_000_000_000 // 3_600_000 * 3_600_000
    bars = [
        [str(noon_ms + hour * 3_600_000), "10", high, "9", "10.5"]
        for hour, high in ((4, "14"), (3, "13"), (2, "12"), (0, "11"))
    ]
    call = bybit_market.bars_call("BTCUSDT")
    assert (call.path, call.parameters["interval"]) == ("v5/market/mark-price-kline", "60")
    told = bybit_market.bars_of(enveloped(*bars), BTC, noon_ms + 5 * 3_600_000 - 1)
    assert told.closed_at_ms == noon_ms + 4 * 3_600_000
    assert [str(bar.high) for bar in told.bars] == ["12", "13"]
    with pytest.raises(Unreadable, match="chart"):
        bybit_market.bars_of(enveloped([1, "2"]), BTC, noon_ms)


# -- before the start ----------------------------------------------------------------------


def checks(
    key: Any = KEY,
    status: int = 5,
    mode: str = "ISOLATED_MARGIN",
    leg: Any = LONG,
    coin: Any = USDT,
) -> tuple[str, ...]:
    info = ok({"marginMode": mode, "unifiedMarginStatus": status})
    answers = (ok(key), info, enveloped(leg), enveloped({"coin": [USDT, coin]}))
    return (*bybit_account.refusals(answers), *bybit_account.unsupported(answers))


def allowed(**groups: Any) -> dict[str, Any]:
    permissions: Any = KEY["permissions"]
    return KEY | {"permissions": permissions | groups}


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"key": KEY | {"readOnly": 1}}, "only reads"),
        ({"key": allowed(Wallet=["Withdraw"])}, "Withdraw"),
        ({"key": allowed(Wallet=["AccountTransfer"])}, "AccountTransfer"),
        ({"key": allowed(FiatBitPay=["FaitPayOrder"])}, "FaitPayOrder"),
        ({"key": allowed(ContractTrade=["Order"])}, "Position"),
        ({"status": 1}, "classic"),
        ({"status": 3}, "unified account 2.0"),
        ({"status": 4}, "unified account 2.0"),
        ({"mode": "PORTFOLIO_MARGIN"}, "PORTFOLIO_MARGIN"),
        ({"mode": "REGULAR_MARGIN", "coin": BITCOIN}, "USDT alone"),
        ({"leg": LONG | {"autoAddMargin": 1}}, "auto-margin"),
    ],
)
def test_a_key_or_account_that_cannot_be_guarded_is_refused(changed: Any, word: str) -> None:
    assert checks() == ()
    assert checks(status=6, mode="REGULAR_MARGIN") == ()
    (sentence,) = checks(**changed)
    assert word in sentence
    assert bybit_account.unproven(()) == ()


def test_permissions_that_are_not_told_as_a_list_are_no_proof() -> None:
    with pytest.raises(Unreadable, match="Wallet"):
        checks(key=allowed(Wallet="none"))


# -- recipes -------------------------------------------------------------------------------


async def ccxts_own(side: str, amount: float, price: float | None, **extra: Any) -> Any:
    """The body that ccxt's `create_order` sends when it is asked in its own words."""
    client = ccxt.async_support.bybit({"apiKey": "k", "secret": "s"})
    market = {
        "id": "BTCUSDT", "symbol": BTC, "base": "BTC", "quote": "USDT", "settle": "USDT",
        "baseId": "BTC", "quoteId": "USDT", "settleId": "USDT", "type": "swap", "spot": False,
        "margin": False, "swap": True, "future": False, "option": False, "contract": True,
        "linear": True, "inverse": False, "contractSize": 1, "active": True,
        "precision": {"amount": 0.0001, "price": 0.1}, "limits": {"amount": {"min": 0.0001}},
        "info": {},
    }  # fmt: skip
    client.set_markets([market])
    client.options["enableUnifiedMargin"], client.options["enableUnifiedAccount"] = False, True
    sent: list[Any] = []

    async def fetch(url: str, method: str, headers: Any, body: Any) -> Any:
        if method == "POST":
            sent.append((url, json.loads(body)))
        return {"retCode": 0, "result": {"orderId": "1"}}

    client.fetch = fetch
    kind = "market" if price is None else "limit"
    await client.create_order(BTC, kind, side, amount, price, extra)
    await client.close()
    return sent[0]


@pytest.mark.parametrize("mode", PositionMode)
@pytest.mark.parametrize(
    ("name", "side", "amount", "price", "extra"),
    [
        ("long: close", "sell", 0.0471, None, {}),
        ("short: close", "buy", 0.0471, None, {}),
        ("long: close within", "sell", 0.0471, 59900.5, {"timeInForce": "IOC"}),
        ("long: place stop", "sell", 0.1, None, {"stopLossPrice": 57000}),
        ("short: place stop", "buy", 0.1, None, {"stopLossPrice": 63000}),
    ],
)
async def test_orders_are_those_that_ccxt_makes_when_asked_rightly(
    mode: PositionMode, name: str, side: str, amount: float, price: float | None, extra: Any
) -> None:
    """An independent source. In hedge mode ccxt leaves `reduceOnly` out; the venue wants it."""
    if "stopLossPrice" in extra:
        extra = extra | {"triggerBy": "MarkPrice"}
    is_hedge = mode is PositionMode.HEDGE
    client_id = "lgabcd0123456789abcdefghij"
    url, body = await ccxts_own(
        side, amount, price, clientOrderId=client_id, reduceOnly=True, hedged=is_hedge, **extra
    )
    ours = golden("bybit")[f"{mode} isolated {name}"]
    assert url.endswith(ours["path"])
    assert ours["body"] == {"positionIdx": 0, "reduceOnly": True} | body


def test_no_recipe_can_open_flip_or_trigger_on_the_last_price() -> None:
    for name, sent in golden("bybit").items():
        body, is_long = sent["body"], " long:" in name
        assert body["category"] == "linear"
        if "cancel" in name:
            assert sent["path"] == "/v5/order/cancel"
            continue
        legs = {0} if name.startswith("one_way") else {1 if is_long else 2}
        assert {body["positionIdx"]} == legs
        if "margin" in name:
            assert body["margin"] == "25.756", "not rounded by the step of the quantity"
            continue
        assert body["reduceOnly"] is True
        assert body["side"] == ("Sell" if is_long else "Buy")
        assert len(body["orderLinkId"]) <= 36
        is_stop = "stop" in name
        assert is_stop is ("triggerPrice" in body) is (body.get("triggerBy") == "MarkPrice")
        assert is_stop is (body.get("triggerDirection") == (2 if is_long else 1))
        assert body["orderType"] == "Market" or body["timeInForce"] == "IOC"


def test_the_desk_refuses_what_the_venue_refuses() -> None:
    """The stage itself: a wrong leg is refused, so that a recipe for it could not pass."""
    desk = BybitDesk(Book(PositionMode.HEDGE))
    sent = {"category": "linear", "symbol": "BTCUSDT", "positionIdx": 0, "margin": "1"}
    assert desk._write("position/add-margin", sent).json["retCode"] == 10001


async def test_a_price_that_is_told_not_to_have_moved_stays_fresh() -> None:
    async with staged(BybitDesk()) as live:
        await live.market.instruments((BTC,))
        heard: list[Quoted] = []
        quiet = {"topic": "tickers.BTCUSDT", "type": "delta", "data": {"symbol": "BTCUSDT"}}
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
            streaming = tasks.create_task(live.market.stream(heard.append))
            while sum(isinstance(each, MarkPrice) for each in heard) < 3:
                await live.stage.push(json.dumps(quiet))
                await asyncio.sleep(0.05)  # noqa: TID251 - real sockets are waited for
            streaming.cancel()
    marks = [each for each in heard if isinstance(each, MarkPrice)]
    assert {each.price for each in marks} == {D(60_000)}
    assert marks[-1].received_at_ms > marks[0].received_at_ms


GARBAGE: list[Any] = [None, "", "x", "NaN", "1e400", -1, 0, True, [], {}, "-0", "0x1", [[]]]
ODD = st.sampled_from(GARBAGE)


@given(st.data())
def test_no_garbage_in_a_row_is_more_than_an_unreadable_one(data: st.DataObject) -> None:
    """Whatever stands in one place, nothing else than `Unreadable` comes out of it."""
    places: list[dict[str, Any]] = [{**LONG}, {**USDT}, {**STOP_ROW}]
    leg, coin, stop = places
    row = data.draw(st.sampled_from(places))
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(ODD)
    try:
        seen = snapshot(leg, coins=(coin,), stops=(stop, STOP_ROW))
    except Unreadable:
        return
    assert "lg1" in {each.client_id for each in seen.stops}, "one bad row hides no other"
    for position in seen.positions:
        assert position.quantity > 0
        assert position.isolated_margin > 0


@given(st.data())
def test_no_garbage_in_an_answer_or_a_frame_is_more_than_unsure(data: st.DataObject) -> None:
    action, good = data.draw(st.sampled_from(PROOFS))
    odd = good | {data.draw(st.sampled_from(sorted(good))): data.draw(ODD)}
    assert isinstance(reply(action, ok(odd)), Accepted | Refused | Unsure)
    told = EXECUTION | {data.draw(st.sampled_from(sorted(EXECUTION))): data.draw(ODD)}
    try:
        bybit_account.account_frame(frame("execution", told), LISTED, 5)
        bybit_account.account_frame(odd, LISTED, 5)
    except Unreadable:
        return
