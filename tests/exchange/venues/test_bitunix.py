"""
Bitunix's answers as its pages and others' notes have them, answers that nobody should believe,
and recipes held against the venue's own examples.

Shapes are those of the venue's pages (`documented`), or what others have met where these differ
(`recorded`), each said where it is used. Figures are ours.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bot.clock import system_wall_ms
from bot.core.actions import (
    Action,
    AddMargin,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
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
from bot.exchange.live.calls import Call, Heard, Unreadable
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import ByDate, Ground, Irrelevant, Listed, StreamEnded
from bot.exchange.ports import Accepted, AccountChanged, OrderAbsent, OrderFound, Refused, Unsure
from bot.exchange.venues import bitunix_account, bitunix_market, bitunix_orders
from bot.exchange.venues.bitunix_refusals import REFUSED
from tests.exchange.venues.bitunix_desk import PAIR, TIERS, BitunixDesk
from tests.exchange.venues.capture import golden
from tests.exchange.venues.stage import Asked, FaultKind, staged

D = Decimal
BTC = "BTC/USDT:USDT"
LISTED = Listed({"BTCUSDT": BTC})

# `documented`: numbers of the venue's that are longer than a float holds are texts.
ACCOUNT = {
    "marginCoin": "USDT",
    "available": "1000.5",
    "frozen": "20",
    "margin": "310",
    "transfer": "1000",
    "positionMode": "HEDGE",
    "crossUnrealizedPNL": "2",
    "isolationUnrealizedPNL": "0",
    "bonus": "0",
}
LONG = {
    "positionId": "12345678",
    "symbol": "BTCUSDT",
    "qty": "0.5",
    "entryValue": "30000",
    "side": "LONG",
    "positionMode": "HEDGE",
    "marginMode": "ISOLATION",
    "leverage": 100,
    "fee": "0.1",
    "funding": "-0.2",
    "realizedPNL": "102.9",
    "margin": "300",
    "unrealizedPNL": "1.5",
    "liqPrice": "59500.5",
    "marginRate": "0.01",
    "avgOpenPrice": "60000",
    "ctime": 1691382137448,
    "mtime": 1691382137448,
}
# `recorded`: BUY and SELL, as the order that opened it; times as texts.
SHORT = LONG | {"positionId": "12345679", "side": "SELL", "liqPrice": "60500", "margin": "10"}
STOP = {
    "id": "123",
    "positionId": "12345678",
    "symbol": "BTCUSDT",
    "base": "BTC",
    "quote": "USDT",
    "tpPrice": "70000",
    "tpStopType": "LAST_PRICE",
    "slPrice": "59700",
    "slStopType": "MARK_PRICE",
    "tpOrderType": "LIMIT",
    "tpOrderPrice": "70000",
    "slOrderType": "MARKET",
    "slOrderPrice": None,
    "tpQty": "0.01",
    "slQty": "0.5",
}


def done(data: Any) -> dict[str, Any]:
    return {"code": 0, "data": data, "msg": "Success"}


def snapshot(
    *positions: Mapping[str, Any],
    stops: tuple[Mapping[str, Any], ...] = (),
    account: Any = (ACCOUNT,),
) -> Any:
    money = list(account) if isinstance(account, tuple) else account
    state = (done(money), done(list(positions)))
    return bitunix_account.snapshot_of((), state, (done(list(stops)),), LISTED, 7)


def test_both_sides_are_read_whatever_word_names_them() -> None:
    seen = snapshot(LONG, SHORT)
    long, short = seen.positions
    assert (long.symbol, long.side, long.quantity) == (BTC, Side.LONG, D("0.5"))
    assert (short.side, short.isolated_margin, short.leverage) == (Side.SHORT, D(10), D(100))
    assert long.liquidation == Reported(Price(D("59500.5")))
    assert (long.margin_mode, long.isolated_margin) == (MarginMode.ISOLATED, D(300))
    assert seen.position_mode is PositionMode.HEDGE
    assert seen.wallet_balance == D("1000.5") + 20 + 310 - 310


def test_money_is_told_in_a_list_or_without_one() -> None:
    assert snapshot(LONG) == snapshot(LONG, account=ACCOUNT)
    with pytest.raises(Unreadable, match="one object"):
        snapshot(LONG, account=(ACCOUNT, ACCOUNT))


def test_what_cross_positions_have_lost_is_not_free_and_what_they_won_is_not_yet() -> None:
    cross = LONG | {"marginMode": "CROSS"}
    losing = snapshot(cross, account=ACCOUNT | {"crossUnrealizedPNL": "-100"})
    assert losing.free == D("900.5")
    assert losing.wallet_balance == D("1330.5"), "the loss is not in the wallet yet"
    assert snapshot(cross).free == D("1000.5")
    (position,) = losing.positions
    assert (position.margin_mode, position.isolated_margin) == (MarginMode.CROSS, D(0))


@pytest.mark.parametrize("blank", ["0", "-1", "-0.5", "", None, "NaN", -2, [], {}])
def test_a_liquidation_price_of_zero_or_less_is_none(blank: object) -> None:
    (position,) = snapshot(LONG | {"liqPrice": blank}).positions
    assert position.liquidation == NotReported()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("side", "BOTH"),
        ("side", []),
        ("marginMode", ""),
        ("positionMode", "ONE_WAY"),  # not as the account's
        ("qty", "-1"),
        ("qty", "NaN"),
        ("margin", "0"),
        ("avgOpenPrice", None),
        ("leverage", 0),
        ("symbol", "NOUSDT"),
        ("positionId", ""),
    ],
)
def test_what_a_position_stands_on_is_never_made_up(name: str, value: object) -> None:
    seen = snapshot(LONG | {name: value})
    assert seen.positions == ()
    (garbled,) = seen.garbled
    assert name in garbled.reason


def test_two_positions_on_one_side_are_no_read() -> None:
    for other in (LONG, LONG | {"positionId": "2"}):
        with pytest.raises(Unreadable, match="several"):
            snapshot(LONG, other)


def test_stops_are_those_that_protect_and_one_bad_row_hides_no_other() -> None:
    rows = (
        STOP,
        STOP | {"id": "124", "slStopType": "LAST_PRICE"},
        STOP | {"id": "125", "slOrderType": "LIMIT"},
        STOP | {"id": "126", "slPrice": None},  # a profit alone
        STOP | {"id": "127", "slPrice": "x"},
        {"symbol": "BTCUSDT"},
        STOP | {"id": "128", "positionId": "1"},  # of a position that is gone
        STOP | {"id": "129", "positionId": "12345679", "slQty": None},  # the whole position
        STOP | {"id": "130", "slStopType": "Mark", "slOrderType": "Market"},  # `recorded`
    )
    found = snapshot(LONG, SHORT, stops=rows).stops
    told = [(each.client_id, each.side, each.quantity, each.trigger_price) for each in found]
    assert told == [
        ("123", Side.LONG, D("0.5"), D(59_700)),
        ("129", Side.SHORT, D("0.5"), D(59_700)),
        ("130", Side.LONG, D("0.5"), D(59_700)),
    ]


def test_a_full_page_of_stops_may_not_be_all() -> None:
    with pytest.raises(Unreadable, match="page"):
        snapshot(LONG, stops=(STOP,) * 100)


def test_an_answer_that_says_that_it_failed_is_no_read() -> None:
    failed = {"code": 10006, "data": None, "msg": "Request too frequently"}
    with pytest.raises(Unreadable, match="10006"):
        bitunix_account.held_names((done([ACCOUNT]), failed))


def test_rules_are_exact_and_brackets_leave_no_jump() -> None:
    rules = bitunix_market.instrument_of((done([PAIR]), done(TIERS[::-1])), LISTED, "BTCUSDT")
    assert (rules.tick_size, rules.quantity_step) == (D("0.1"), D("0.0001"))
    assert rules.quantity_max == D(50), "of a market order"
    assert [(each.floor, each.rate, each.deduction) for each in rules.tiers] == [
        (D(0), D("0.004"), D(0)),
        (D(1_000_000), D("0.005"), D(1_000)),
    ]
    with pytest.raises(Unreadable, match="rising"):
        bitunix_market.instrument_of((done([PAIR]), done([TIERS[0], TIERS[0]])), LISTED, "BTCUSDT")
    for digits in (-1, 19, 10**14, "1.5", None):
        bad = PAIR | {"quotePrecision": digits}
        with pytest.raises(Unreadable, match="quotePrecision"):
            bitunix_market.instrument_of((done([bad]), done(TIERS)), LISTED, "BTCUSDT")


def test_contracts_of_other_coins_are_not_listed_and_a_bad_one_hides_no_other() -> None:
    usdc = PAIR | {"symbol": "BTCUSDC", "quote": "USDC"}
    assert bitunix_market.listing_of(done([{}, usdc, PAIR, {"quote": "USDT"}])).symbols == {
        "BTCUSDT": BTC
    }


# -- clock ---------------------------------------------------------------------------------


def test_the_clock_is_that_of_a_dated_answer_and_of_no_other() -> None:
    asking = bitunix_market.time_call()
    assert isinstance(asking, ByDate)
    date = "Sat, 28 Nov 2026 02:03:04 GMT"
    at_ms = 1_795_831_384_500
    assert bitunix_market.time_of({"date": date, "answer": done([])}) == at_ms
    for bad in ("", "yesterday", "2026-11-28"):
        with pytest.raises(Unreadable, match="date"):
            bitunix_market.time_of({"date": bad, "answer": done([])})
    page_of_a_proxy = {"error": "Please wait"}
    with pytest.raises(Unreadable, match="code"):
        bitunix_market.time_of({"date": date, "answer": page_of_a_proxy})


# -- answers to writes ---------------------------------------------------------------------

ADD = AddMargin(BTC, Side.LONG, Money(D("25.756")))
PLACE = PlaceStop(BTC, Side.LONG, Quantity(D("0.5")), Price(D(59_700)))
CANCEL = CancelStop(BTC, Side.LONG, "123")
CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D("0.5")))
PROOFS: tuple[tuple[Action, Any, Accepted], ...] = (
    (ADD, "", Accepted()),
    (PLACE, {"orderId": "11111"}, Accepted("11111")),
    (PLACE, [{"orderId": "11111", "clientId": None}], Accepted("11111")),  # `recorded`
    (CANCEL, {"orderId": "123"}, Accepted()),
    (CLOSE, {"orderId": "11111", "clientId": "id1"}, Accepted()),
)


def reply(action: Action, body: object, status: int = 200) -> object:
    text = body if isinstance(body, str) else json.dumps(body)
    return bitunix_orders.reply_of(Heard(status, {}, text), action, "id1", LISTED)


@pytest.mark.parametrize(("action", "data", "expected"), PROOFS)
def test_an_answer_proves_itself_whole_or_not_at_all(
    action: Action, data: Any, expected: Accepted
) -> None:
    body = done(data)
    assert reply(action, body) == expected
    for status in (201, 202, 404, 502):
        assert isinstance(reply(action, body, status), Unsure), status
    for name in ("code", "data"):
        less = {other: value for other, value in body.items() if other != name}
        assert isinstance(reply(action, less), Unsure), name


@pytest.mark.parametrize("action", [PLACE, CANCEL, CLOSE])
@pytest.mark.parametrize(
    "data",
    [
        None, "", "11111", {}, [], {"orderId": ""}, {"orderId": "0"}, {"orderId": None},
        {"orderId": True}, [{"orderId": "1"}, {"orderId": "2"}], {"clientId": "id1"},
        {"orderId": "124", "clientId": "id2"} , {"orderId": {}, "clientId": "id1"},
    ],
)  # fmt: skip
def test_success_about_nothing_or_about_another_proves_nothing(action: Action, data: Any) -> None:
    answer = reply(action, done(data))
    if action is PLACE and data == {"orderId": "124", "clientId": "id2"}:
        assert answer == Accepted("124"), "the venue echoes no id of a stop"
    else:
        assert isinstance(answer, Unsure)


@pytest.mark.parametrize("code", REFUSED)
def test_codes_of_the_list_are_proof(code: str) -> None:
    for told in (int(code), code):
        answer = reply(CLOSE, {"code": told, "data": None, "msg": "no"})
        assert isinstance(answer, Refused)
        assert answer.code == code


@pytest.mark.parametrize("code", [10001, 20004, 30011, 30042, 40004, 500, -1, "x", None, 0.5, {}])
def test_other_codes_prove_nothing(code: object) -> None:
    body = {"code": code, "data": {"orderId": "1", "clientId": "id1"}, "msg": "no"}
    assert isinstance(reply(CLOSE, body), Unsure)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "0", "id1", "123"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["code", "data", "msg", "orderId", "clientId"]), inner, max_size=5
        )
    ),
    max_leaves=8,
)


@given(JUNK, st.sampled_from([200, 400, 502]), st.sampled_from([ADD, PLACE, CANCEL, CLOSE]))
def test_junk_is_success_only_as_a_whole_envelope(body: Any, status: int, action: Action) -> None:
    answer = reply(action, body, status)
    if isinstance(answer, Accepted):
        assert status == 200
        assert body["code"] in (0, "0")
        if action is CLOSE:
            assert body["data"]["clientId"] == "id1"
    else:
        assert isinstance(answer, Unsure)


# -- evidence ------------------------------------------------------------------------------

ORDER = {
    "orderId": "11111",
    "clientId": "id1",
    "symbol": "BTCUSDT",
    "qty": "1",
    "tradeQty": "0.5",
    "price": "60000",
    "status": "FILLED",
    "reduceOnly": True,
}
TRADE = {"tradeId": "1", "orderId": "11111", "qty": "0.25", "price": "60000"}
OTHER = TRADE | {"tradeId": "2", "price": "60001"}


def heard(data: Any, status: int = 200) -> Heard:
    return Heard(status, {}, json.dumps(data))


def look(order: Any, *pages: list[Any]) -> object:
    lists = [done({"tradeList": each, "total": len(each)}) for each in (*pages, [], [])][:2]
    answers = [heard(each) for each in (order, *lists)]
    return bitunix_orders.order_of(answers, "id1", "BTCUSDT", LISTED)


def test_an_order_is_told_with_the_average_of_its_fills() -> None:
    fill = Fill(Quantity(D("0.5")), Price(D("60000.5")))
    expected = OrderFound("id1", resting=False, filled=fill)
    strange = TRADE | {"tradeId": "3", "orderId": "2"}
    assert look(done(ORDER), [strange, TRADE, OTHER]) == expected
    assert look(done([ORDER]), [TRADE], [OTHER, TRADE]) == expected, "pages may overlap"


def test_an_order_whose_fills_are_not_all_told_is_looked_for_again() -> None:
    several: tuple[tuple[list[Any], ...], ...] = (
        ([], [TRADE]),
        ([TRADE],),
        ([TRADE, OTHER, TRADE | {"tradeId": "9"}],),
    )
    for pages in several:
        with pytest.raises(Unreadable, match="tradeQty"):
            look(done(ORDER), *pages)


def test_what_waits_rests_and_what_ended_does_not() -> None:
    none = ORDER | {"tradeQty": "0"}
    for status in ("INIT", "NEW", "PART_FILLED"):
        found = OrderFound("id1", resting=True, filled=NO_FILL)
        assert look(done(none | {"status": status})) == found
    for status in ("CANCELED", "PART_FILLED_CANCELED", "EXPIRED"):
        found = OrderFound("id1", resting=False, filled=NO_FILL)
        assert look(done(none | {"status": status})) == found
    with pytest.raises(Unreadable, match="status"):
        look(done(none | {"status": "WAITING"}))


def test_only_the_code_for_it_is_absence() -> None:
    assert look({"code": 20007, "data": None, "msg": "Order not found"}) == OrderAbsent()
    for body in ({"code": 10001, "data": None}, done(None), done([]), {}):
        with pytest.raises(Unreadable):
            look(body)
    for wrong in ({"clientId": "id2"}, {"symbol": "ETHUSDT"}):
        with pytest.raises(Unreadable):
            look(done(ORDER | wrong))
    with pytest.raises(Unreadable, match="502"):
        bitunix_orders.order_of([heard(done(ORDER), 502)] * 3, "id1", "BTCUSDT", LISTED)


def stop(waiting: list[Any], over: Any) -> object:
    answers = [heard(done(waiting)), heard(done(over))]
    return bitunix_orders.order_of(answers, "123", "BTCUSDT", LISTED)


def test_a_stop_is_found_by_its_number() -> None:
    assert stop([STOP], []) == OrderFound("123", resting=True, filled=NO_FILL)
    over = {"orderList": [STOP | {"status": "FILLED"}], "total": 1}
    at_trigger = Fill(Quantity(D("0.5")), Price(D(59_700)))
    assert stop([], over) == OrderFound("123", resting=False, filled=at_trigger)
    for status in ("CANCELED", "SYSTEM_CANCELED", "FAILED"):
        found = OrderFound("123", resting=False, filled=NO_FILL)
        assert stop([], {"orderList": [STOP | {"status": status}]}) == found
    assert stop([], {"orderList": [STOP | {"id": "124"}]}) == OrderAbsent()
    with pytest.raises(Unreadable, match="status"):
        stop([], {"orderList": [STOP | {"status": "NEW"}]})


def test_an_order_is_asked_for_by_our_id_and_a_stop_by_its_number() -> None:
    detail, *trades = bitunix_orders.order_calls("BTCUSDT", "lgabc")
    assert (detail.path[-16:], detail.parameters) == ("get_order_detail", {"clientId": "lgabc"})
    assert [each.parameters["skip"] for each in trades] == ["0", "100"]
    assert [
        each.path.rpartition("/")[2] for each in bitunix_orders.order_calls("BTCUSDT", "123")
    ] == [
        "get_pending_orders",
        "get_history_orders",
    ]


# -- prices --------------------------------------------------------------------------------

MARK = {
    "symbol": "BTCUSDT",
    "markPrice": "60000",
    "lastPrice": "60001",
    "fundingRate": "-0.005776",
    "fundingInterval": 8,
    "nextFundingTime": "1770710400000",
}


def test_a_bill_is_in_percent_and_a_bad_one_hides_no_mark() -> None:
    """`recorded` by others: -0.005776 was -0.0057 % on the venue's page."""
    rows = [
        {},
        MARK,
        MARK | {"fundingRate": "x"},
        MARK | {"symbol": "NO"},
        MARK | {"markPrice": 0},
    ]
    good, no_bill = bitunix_market.marks_of((done(rows),), LISTED)
    assert (good.price, good.rate, good.next_at_ms) == (D(60_000), D("-0.00005776"), 1770710400000)
    assert (no_bill.price, no_bill.next_at_ms) == (D(60_000), 0)


@pytest.mark.parametrize("hours", [0, -8, 25, "8.5", None])
def test_an_interval_that_is_no_hours_is_none(hours: object) -> None:
    with pytest.raises(Unreadable):
        bitunix_market.interval_of(done(MARK | {"fundingInterval": hours}), "BTCUSDT")


def test_a_frame_brings_the_mark_of_its_contract_and_nothing_else() -> None:
    data = {"ip": "0.001", "mp": "10000", "fr": "0.013461", "nft": "2024-12-04T12:00:00Z"}
    frame = {"ch": "price", "symbol": "BTCUSDT", "ts": 1732178884994, "data": data}
    (mark,) = bitunix_market.mark_frame(frame, LISTED)
    assert (mark.symbol, mark.price, mark.next_at_ms) == (BTC, D(10_000), 0)
    for other in ({"op": "ping", "pong": 1, "ping": 2}, frame | {"symbol": "X"}, {"ch": "trade"}):
        assert bitunix_market.mark_frame(other, LISTED) == ()
    with pytest.raises(Unreadable, match="mp"):
        bitunix_market.mark_frame(frame | {"data": {"mp": "0"}}, LISTED)


def test_bars_are_hours_of_the_mark_price_that_are_over_whatever_their_order() -> None:
    noon_ms = 1_600_000_000 // 3_600 * 3_600_000
    rows = [
        {"time": noon_ms + hour * 3_600_000, "open": 10, "high": high, "low": 9, "close": 10.5}
        for hour, high in ((4, 14), (3, 13), (2, 12), (0, 11))
    ]
    call = bitunix_market.bars_call("BTCUSDT")
    assert (call.parameters["type"], call.parameters["interval"]) == ("MARK_PRICE", "1h")
    assert int(call.parameters["limit"]) <= 200, "the most that the venue gives"
    told = bitunix_market.bars_of(json.loads(json.dumps(done(rows)), parse_float=Decimal), BTC,
                         noon_ms + 5 * 3_600_000 - 1)  # fmt: skip
    assert told.closed_at_ms == noon_ms + 4 * 3_600_000
    assert [str(bar.high) for bar in told.bars] == ["12", "13"]


# -- streams -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"ch": "position", "ts": 1, "data": {"event": "CLOSE"}}, AccountChanged),
        ({"ch": "tp_sl", "data": {}}, AccountChanged),
        ({"ch": "wallet", "data": {}}, AccountChanged),
        ({"op": "ping", "pong": 1, "ping": 2}, Irrelevant),
        ({"op": "login", "data": {"result": True}}, Irrelevant),
        ({"op": "login", "code": 10007, "msg": "no"}, StreamEnded),
        ({"error": "login first"}, StreamEnded),
        ({"op": "subscribe", "code": 2, "msg": "no such channel"}, Irrelevant),
        ({"ch": []}, Irrelevant),
    ],
)
def test_frames_ring_or_end_the_stream(frame: Any, expected: type) -> None:
    assert isinstance(bitunix_account.account_frame(frame, LISTED, 5), expected)


def test_a_login_is_signed_in_seconds_and_the_secret_is_not_in_it() -> None:
    keys = Credentials(SecretStr("a-key"), SecretStr("a-secret"))
    opening = bitunix_account.account_opening((), keys, 1_747_402_389_123)
    login = json.loads(opening.asks[0])
    (named,) = login["args"]
    assert (login["op"], named["apiKey"]) == ("login", "a-key")
    assert named["timestamp"] == 1_747_402_389
    assert len(named["nonce"]) == 32
    # sha256(sha256(nonce + time + key) + secret), made with coreutils' sha256sum
    assert named["sign"] == SIGN
    assert "a-secret" not in "".join(opening.asks)
    assert len(opening.asks) < 5, "the venue takes five texts a second"


SIGN = "204432b95743f671f1d885048ed34673f58f14dc3ce24d11905c6473cc05af66"


# -- before the start ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "position", "word"),
    [({"bonus": "5"}, {}, "bonus"), ({}, {"subAccountId": 2}, "one account")],
)
def test_an_account_that_cannot_be_guarded_is_refused(
    account: dict[str, Any], position: dict[str, Any], word: str
) -> None:
    own = LONG | {"subAccountId": 1}
    assert bitunix_account.unsupported((done([ACCOUNT]), done([own]))) == ()
    wrong = (done([ACCOUNT | account]), done([own, own | position]))
    (sentence,) = bitunix_account.unsupported(wrong)
    assert word in sentence
    assert "withdraw" in bitunix_account.unproven(wrong)[0]


# -- junk in reads -------------------------------------------------------------------------

READS: dict[str, tuple[Any, Callable[[Any], object]]] = {
    "snapshot": (
        [done([ACCOUNT]), done([LONG, SHORT]), done([STOP])],
        lambda it: bitunix_account.snapshot_of((), it[:2], it[2:], LISTED, 7),
    ),
    "listing": (done([PAIR]), bitunix_market.listing_of),
    "rules": (
        [done([PAIR]), done(TIERS)],
        lambda it: bitunix_market.instrument_of(it, LISTED, "BTCUSDT"),
    ),
    "interval": (done(MARK), lambda it: bitunix_market.interval_of(it, "BTCUSDT")),
    "marks": (done([MARK]), lambda it: bitunix_market.marks_of((it,), LISTED)),
    "mark frame": (
        {"ch": "price", "symbol": "BTCUSDT", "data": {"mp": "1"}},
        lambda it: bitunix_market.mark_frame(it, LISTED),
    ),
    "account frame": (
        {"ch": "order", "op": "x", "code": 0},
        lambda it: bitunix_account.account_frame(it, LISTED, 5),
    ),
    "order": (
        [done(ORDER), done({"tradeList": [TRADE, OTHER]}), done([])],
        lambda it: bitunix_orders.order_of([heard(each) for each in it], "id1", "BTCUSDT", LISTED),
    ),
    "stop": (
        [done([STOP]), done({"orderList": [STOP | {"id": "124", "status": "FILLED"}]})],
        lambda it: bitunix_orders.order_of([heard(each) for each in it], "124", "BTCUSDT", LISTED),
    ),
    "time": (
        {"date": "Sat, 28 Nov 2026 02:03:04 GMT", "answer": done([])},
        bitunix_market.time_of,
    ),
    "before the start": ([done([ACCOUNT]), done([LONG])], bitunix_account.refusals),
}
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, "", "0", "NaN", "1e400", "abc", [], {}, [[]], [{}], "\x00",
)  # fmt: skip


def places(json: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part."""
    names: Any = range(len(json)) if isinstance(json, list) else json
    inner = [
        way for each in names for way in places(json[each], (*at, each))
    ] if isinstance(json, list | dict) else []  # fmt: skip
    return [at, *inner]


@pytest.mark.parametrize("name", READS)
def test_a_read_with_junk_anywhere_is_read_or_no_read_and_nothing_else(name: str) -> None:
    good, parse = READS[name]
    parse(good)
    for way in places(good)[isinstance(good, list) :]:
        for odd in ODD:
            changed = deepcopy([good])
            inner: Any = changed
            for step in (0, *way)[:-1]:
                inner = inner[step]
            inner[(0, *way)[-1]] = odd
            try:
                parse(changed[0])
            except Unreadable:
                continue


# -- over sockets --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FaultKind.DROPPED, FaultKind.HTML_502, FaultKind.NOT_KNOWN])
async def test_a_stop_whose_answer_was_lost_is_found_as_ours_and_can_be_cancelled(
    kind: FaultKind,
) -> None:
    async with staged(BitunixDesk()) as live:
        live.desk.hand_stop("theirs", D(57_000), D("0.1"))
        await live.account.snapshot()
        place = PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D(57_000)))
        with live.fault(kind, 1, effect=True, writes=True):
            assert isinstance(await live.account.send(place, "lg1"), Unsure)
        theirs, ours = (await live.account.snapshot()).stops
        assert theirs.client_id.isdecimal()
        assert ours.client_id == "lg1"
        cancel = CancelStop(BTC, Side.LONG, "lg1")
        assert await live.account.send(cancel, "lg2") == Accepted()
        (left,) = (await live.account.snapshot()).stops
        assert left == theirs


async def test_a_request_that_is_not_signed_as_the_page_says_is_refused_by_the_desk() -> None:
    """That the stage judges signatures at all."""
    desk = BitunixDesk()
    headers = {"api-key": "a-key", "nonce": "n", "timestamp": str(system_wall_ms()), "sign": "x"}
    asked = Asked("GET", "/api/v1/futures/account", {"marginCoin": "USDT"}, headers, None)
    assert desk.answer(asked).json["code"] == 10007


# -- recipes -------------------------------------------------------------------------------


def recipe(action: Action, mode: PositionMode) -> Any:
    rows = [each | {"positionMode": mode.upper()} for each in (LONG, SHORT)]
    ground = Ground(mode, (), (done([ACCOUNT]), done(rows)))
    return bitunix_orders.write_call(action, "id1", LISTED, ground)


def test_recipes_name_what_the_venues_own_examples_name() -> None:
    """
    `documented`: the requests on the venue's pages, without what is about profit.

    Of a stop `{symbol, positionId, slPrice, slStopType, slOrderType, slQty}`, of a margin
    `{symbol, amount, marginCoin, side}`, of a close in hedge mode side BUY for a long.
    """
    place = recipe(PLACE, PositionMode.HEDGE)
    assert place.path == "api/v1/futures/tpsl/place_order"
    names = {"symbol", "positionId", "slPrice", "slStopType", "slOrderType", "slQty"}
    assert place.parameters.keys() == names
    add = recipe(ADD, PositionMode.HEDGE)
    assert add.parameters == {
        "symbol": "BTCUSDT", "amount": "25.756", "marginCoin": "USDT", "side": "LONG",
    }  # fmt: skip
    for side, word in ((Side.LONG, "BUY"), (Side.SHORT, "SELL")):
        close = recipe(ClosePosition(BTC, side, Quantity(D("0.5"))), PositionMode.HEDGE)
        assert (close.parameters["side"], close.parameters["tradeSide"]) == (word, "CLOSE")
        assert (
            close.parameters["positionId"] == (LONG if side is Side.LONG else SHORT)["positionId"]
        )


def test_no_recipe_can_open_or_trigger_on_the_last_price_or_close_at_once() -> None:
    kept = golden("bitunix")
    assert len(kept) == 40
    for name, sent in kept.items():
        body, is_long, is_hedge = sent["body"], " long:" in name, name.startswith("hedge")
        assert sent["query"] == {}
        if "cancel" in name:
            assert body == {"symbol": "BTCUSDT", "orderId": "36028797000000001"}
        elif "margin" in name:
            assert (body["amount"], body["side"]) == ("25.756", "LONG" if is_long else "SHORT")
        elif "stop" in name:
            assert sent["path"].endswith("/tpsl/place_order")
            assert (body["slStopType"], body["slOrderType"]) == ("MARK_PRICE", "MARKET")
            assert body["slQty"] == "0.1"
        else:
            assert sent["path"].endswith("/trade/place_order")
            assert not any(each.startswith(("sl", "tp")) for each in body)
            if is_hedge:
                assert (body["tradeSide"], body["positionId"]) == ("CLOSE", "19848247723672")
                assert body["side"] == ("BUY" if is_long else "SELL")
            else:
                assert body["reduceOnly"] is True
                assert body["side"] == ("SELL" if is_long else "BUY")


@pytest.mark.parametrize("action", [PLACE, CLOSE], ids=["stop", "close"])
def test_without_the_position_nothing_that_needs_its_number_is_sent(action: Action) -> None:
    ground = Ground(PositionMode.HEDGE, (), (done([ACCOUNT]), done([SHORT])))
    answer = bitunix_orders.write_call(action, "id1", LISTED, ground)
    assert isinstance(answer, Refused)
    assert answer.code == "NOT_SENT"


def test_a_stop_whose_number_is_not_known_is_not_cancelled() -> None:
    answer = recipe(CancelStop(BTC, Side.LONG, "lgabc"), PositionMode.ONE_WAY)
    assert isinstance(answer, Refused)
    assert isinstance(recipe(CANCEL, PositionMode.ONE_WAY), Call)


def test_a_bound_is_immediate_or_cancel_and_exact() -> None:
    bound = NoWorseThan(Price(D("59900.50")))
    call = recipe(ClosePosition(BTC, Side.LONG, Quantity(D("1E-4")), bound), PositionMode.ONE_WAY)
    sent = call.parameters
    assert (sent["orderType"], sent["effect"], sent["price"]) == ("LIMIT", "IOC", "59900.50")
    assert sent["qty"] == "0.0001"
