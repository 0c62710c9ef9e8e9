"""
Bitget's answers as others keep them, answers that nobody should believe, and recipes held against
what ccxt sends.

Shapes are those of the venue's pages (`documented`) or of a client library (`test-fixture`), as
kept by others; an error of margin was met (`recorded`). Figures are ours unless it is said.
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
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.model import NO_FILL, Fill, MarginMode, NotReported, PositionMode, Reported, Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.calls import Heard, Unreadable
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Ground, Irrelevant, Listed, Marked, StreamEnded
from bot.exchange.ports import Accepted, AccountChanged, OrderAbsent, OrderFound, Refused, Unsure
from bot.exchange.venues import bitget_account, bitget_market, bitget_orders
from bot.exchange.venues.bitget_refusals import REFUSED
from tests.exchange.venues.bitget_desk import CONTRACT, TIERS, BitgetDesk
from tests.exchange.venues.capture import golden
from tests.exchange.venues.stage import Asked

D = Decimal
BTC = "BTC/USDT:USDT"
LISTED = Listed({"BTCUSDT": BTC})

# `test-fixture`; the venue tells of unrealised profit by blanks, or by null (`documented`).
ACCOUNT = {
    "marginCoin": "USDT",
    "locked": "0.31876482",
    "available": "1000.5",
    "crossedMaxAvailable": "1000.5",
    "accountEquity": "1060.5",
    "unrealizedPL": "",
    "coupon": "0",
    "crossedUnrealizedPL": None,
    "isolatedUnrealizedPL": None,
}
# `documented`: the figures of the venue's example, but for the margin.
LONG = {
    "marginCoin": "USDT",
    "symbol": "BTCUSDT",
    "holdSide": "long",
    "openDelegateSize": "0",
    "marginSize": "50",
    "available": "0.002",
    "locked": "0",
    "total": "0.002",
    "leverage": "20",
    "achievedProfits": "0",
    "openPriceAvg": "37355.5",
    "marginMode": "isolated",
    "posMode": "hedge_mode",
    "unrealizedPL": "0.03",
    "liquidationPrice": "31725.023602417",
    "keepMarginRate": "0.004",
    "markPrice": "37370.5",
    "marginRatio": "0.029550120396",
    "cTime": "1700807507275",
}
SHORT = LONG | {"holdSide": "short", "liquidationPrice": "41725", "marginSize": "10"}
# The page of plans, in its own small letters (`test-fixture`).
STOP = {
    "planType": "loss_plan",
    "symbol": "btcusdt",
    "size": "0.002",
    "orderId": "123",
    "clientOid": "lg1",
    "price": "0",
    "triggerPrice": "35000",
    "triggerType": "mark_price",
    "executePrice": "0",
    "planStatus": "live",
    "side": "sell",
    "posSide": "long",
    "marginCoin": "usdt",
    "tradeSide": "close",
    "posMode": "hedge_mode",
    "orderType": "market",
}


def done(data: Any) -> dict[str, Any]:
    return {"code": "00000", "msg": "success", "requestTime": 1700807810221, "data": data}


def plans(found: list[Any] | None) -> dict[str, Any]:
    return done({"entrustedList": found, "endId": None})


def snapshot(
    held: list[Any], waiting: list[Any] | None = None, money: Any = ACCOUNT, mode: str = "hedge"
) -> Any:
    terms = [done(ACCOUNT | {"posMode": f"{mode}_mode"})]
    state = [done([money]), done(held)]
    return bitget_account.snapshot_of(terms, state, [plans(waiting)], LISTED, 5)


# -- reads ---------------------------------------------------------------------------------


def test_both_sides_are_read_and_the_wallet_is_what_no_position_holds() -> None:
    seen = snapshot([LONG, SHORT])
    long, short = seen.positions
    assert seen.position_mode is PositionMode.HEDGE
    assert (long.side, short.side) == (Side.LONG, Side.SHORT)
    assert (long.quantity, long.entry_price, long.leverage) == (D("0.002"), D("37355.5"), D(20))
    assert (long.margin_mode, long.isolated_margin) == (MarginMode.ISOLATED, D(50))
    assert long.liquidation == Reported(Price(D("31725.023602417")))
    assert seen.free == D("1000.5")
    assert seen.wallet_balance == D("1060.5") - D("0.06") - D(60)


def test_unrealised_profit_told_with_the_equity_is_taken_from_it() -> None:
    money = ACCOUNT | {"crossedUnrealizedPL": "-20", "isolatedUnrealizedPL": "3"}
    assert snapshot([LONG, SHORT], money=money).wallet_balance == D("1060.5") + 17 - 60


def test_a_cross_position_has_no_margin_of_its_own() -> None:
    (position,) = snapshot([LONG | {"marginMode": "crossed"}]).positions
    assert (position.margin_mode, position.isolated_margin) == (MarginMode.CROSS, D(0))


@pytest.mark.parametrize("blank", ["0", "-1", "-0.5", "", None, "NaN", -2, [], {}])
def test_a_liquidation_price_of_zero_or_less_is_none(blank: object) -> None:
    (position,) = snapshot([LONG | {"liquidationPrice": blank}]).positions
    assert position.liquidation == NotReported()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total", "x"),
        ("total", "-1"),
        ("openPriceAvg", "0"),
        ("marginSize", ""),
        ("marginMode", "fixed"),
        ("holdSide", "net"),
        ("posMode", "one_way_mode"),
        ("leverage", None),
        ("symbol", "NEWUSDT"),
    ],
)
def test_what_a_position_stands_on_is_never_made_up(name: str, value: object) -> None:
    seen = snapshot([LONG | {name: value}, SHORT])
    assert [each.side for each in seen.positions] == [Side.SHORT]
    assert len(seen.garbled) == 1


def test_two_positions_on_one_side_are_no_read() -> None:
    with pytest.raises(Unreadable, match="one on each side"):
        snapshot([LONG, LONG])


def test_stops_are_those_that_protect_and_one_bad_row_hides_no_other() -> None:
    others = [
        STOP | {"planType": "profit_plan"},
        STOP | {"triggerType": "fill_price"},
        STOP | {"executePrice": "34000"},
        STOP | {"posSide": "other"},
        STOP | {"triggerPrice": "x"},
        STOP | {"symbol": "ethusdt"},
    ]
    whole = STOP | {"planType": "pos_loss", "size": "", "clientOid": "", "orderId": "9"}
    ours, theirs = snapshot([LONG], [*others, STOP, whole]).stops
    assert (ours.client_id, ours.side, ours.trigger_price) == ("lg1", Side.LONG, D(35_000))
    assert (ours.symbol, ours.quantity, ours.reduce_only) == (BTC, D("0.002"), True)
    assert (theirs.client_id, theirs.quantity) == ("9", D("0.002"))
    one_way = LONG | {"posMode": "one_way_mode"}
    (stop,) = snapshot([one_way], [STOP | {"posSide": "net"}], mode="one_way").stops
    assert stop == ours


@pytest.mark.parametrize("held", [[], [LONG]])
def test_a_stop_of_a_leg_that_is_not_held_is_seen_as_one_of_that_leg(held: list[Any]) -> None:
    (stop,) = snapshot(held, [STOP | {"posSide": "short"}]).stops
    assert (stop.client_id, stop.side, stop.quantity) == ("lg1", Side.SHORT, D("0.002"))
    assert snapshot(held, [STOP | {"posSide": "short", "size": ""}]).stops == ()


@pytest.mark.parametrize(("side", "closes"), [("sell", Side.LONG), ("buy", Side.SHORT)])
def test_a_stop_of_one_way_mode_is_seen_without_its_position(side: str, closes: Side) -> None:
    """`assumed`: what a plan without a leg closes, its side tells."""
    (stop,) = snapshot([], [STOP | {"posSide": "net", "side": side}], mode="one_way").stops
    assert (stop.client_id, stop.side, stop.quantity) == ("lg1", closes, D("0.002"))


def test_a_full_page_of_stops_may_not_be_all() -> None:
    with pytest.raises(Unreadable, match="page"):
        snapshot([LONG], [STOP] * 100)


def test_an_answer_that_says_that_it_failed_is_no_read() -> None:
    state = [{"code": "40015", "msg": "", "requestTime": 1595698564931, "data": None}, done([])]
    with pytest.raises(Unreadable, match="40015"):
        bitget_account.snapshot_of(
            [done(ACCOUNT | {"posMode": "hedge_mode"})], state, [], LISTED, 5
        )


def test_rules_are_exact_and_brackets_leave_no_jump() -> None:
    """`test-fixture`: the contract and the brackets, but for the largest market order."""
    row = CONTRACT | {"minTradeNum": "0.01", "sizeMultiplier": "0.01", "takerFeeRate": "0.0006"}
    ends = [("1", "50000", "0.004", "125"), ("2", "200000", "0.005", "100")]
    names = ("level", "endUnit", "keepMarginRate", "leverage")
    tiers = [dict(zip(names, each, strict=True)) for each in reversed(ends)]
    it = bitget_market.instrument_of([done([row]), done(tiers)], LISTED, "BTCUSDT")
    assert (it.tick_size, it.quantity_step, it.quantity_min) == (D("0.1"), D("0.01"), D("0.01"))
    assert (it.taker_fee, it.quantity_max) == (D("0.0006"), D(220))
    row.pop("maxMarketOrderQty")  # as in the venue's older answers
    it = bitget_market.instrument_of([done([row]), done(tiers)], LISTED, "BTCUSDT")
    assert it.quantity_max == D("Infinity")
    first, second = it.tiers
    assert (first.floor, first.rate, first.deduction) == (D(0), D("0.004"), D(0))
    assert (second.floor, second.rate, second.deduction) == (D(50_000), D("0.005"), D(50))


def test_contracts_of_other_coins_are_not_listed_and_a_bad_one_hides_no_other() -> None:
    odd = [
        CONTRACT | {"symbol": "BTCPERP", "quoteCoin": "USDC"},
        CONTRACT | {"symbol": "BTCUSDT260626", "symbolType": "delivery"},
        CONTRACT | {"symbol": ""},
        CONTRACT | {"symbol": "OLDUSDT", "baseCoin": "OLD", "offTime": "1800000000000"},
    ]
    found = bitget_market.listing_of(done([*odd, CONTRACT]))
    assert found.symbols == {"BTCUSDT": BTC, "OLDUSDT": "OLD/USDT:USDT"}
    assert found.endings == {"OLDUSDT": 1_800_000_000_000}


@pytest.mark.parametrize("hours", ["0", "-8", "25", "8.5", None])
def test_an_interval_that_is_no_hours_is_none(hours: object) -> None:
    with pytest.raises(Unreadable):
        bitget_market.interval_of(done([BILL | {"fundingRateInterval": hours}]), "BTCUSDT")


# -- writes --------------------------------------------------------------------------------

ADD = AddMargin(BTC, Side.LONG, Money(D("25.756")))
PLACE = PlaceStop(BTC, Side.LONG, Quantity(D("0.002")), Price(D(35_000)))
CANCEL = CancelStop(BTC, Side.LONG, "lg0")
CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D("0.002")))
NAMED = {"orderId": "121212121212", "clientOid": "id1"}
GONE = {"successList": [{"orderId": "1", "clientOid": "lg0"}], "failureList": []}
PROOFS: list[tuple[Action, Any]] = [(ADD, ""), (PLACE, NAMED), (CANCEL, GONE), (CLOSE, NAMED)]


def reply(action: Action, body: object, status: int = 200) -> object:
    return bitget_orders.reply_of(Heard(status, {}, json.dumps(body)), action, "id1", LISTED)


@pytest.mark.parametrize(("action", "data"), PROOFS)
def test_an_answer_proves_itself_whole_or_not_at_all(action: Action, data: Any) -> None:
    whole = done(data)
    assert reply(action, whole) == Accepted()
    assert isinstance(reply(action, whole, 502), Unsure)
    for name in whole:
        without = {key: each for key, each in whole.items() if key != name}
        if name in ("code", "data") or action is ADD:
            assert isinstance(reply(action, without), Unsure), name


@pytest.mark.parametrize("action", [PLACE, CANCEL, CLOSE])
@pytest.mark.parametrize(
    "data",
    [
        "",
        None,
        {},
        [],
        NAMED | {"clientOid": "other"},
        {"successList": [], "failureList": [{"clientOid": "lg0", "errorMsg": "no"}]},
        {"successList": [{"clientOid": "other"}], "failureList": []},
        {"successList": [*GONE["successList"], {"clientOid": "other"}], "failureList": []},
    ],
)
def test_success_about_nothing_or_about_another_proves_nothing(action: Action, data: Any) -> None:
    assert isinstance(reply(action, done(data)), Unsure)


@pytest.mark.parametrize("code", REFUSED)
def test_codes_of_the_list_are_proof(code: str) -> None:
    assert isinstance(reply(PLACE, {"code": code, "msg": "no", "data": None}, 400), Refused)


def test_a_refusal_that_was_met_is_one() -> None:
    """`recorded` by others."""
    met = {"code": "40754", "msg": "balance not enough", "requestTime": 1689363604542}
    assert isinstance(reply(ADD, met | {"data": None}, 400), Refused)


@pytest.mark.parametrize(
    "code",
    ["40010", "40910", "40015", "40725", "45001", "40908", "43059", "43118", "45034", 40754],
)
def test_other_codes_prove_nothing(code: object) -> None:
    assert isinstance(reply(CLOSE, {"code": code, "msg": "no", "data": None}, 400), Unsure)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just("00000"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["code", "msg", "data", "clientOid", "successList", "requestTime"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@given(JUNK, st.sampled_from([200, 400, 502]), st.sampled_from([ADD, PLACE, CANCEL, CLOSE]))
def test_junk_is_success_only_as_a_whole_envelope(body: Any, status: int, action: Action) -> None:
    if isinstance(reply(action, body, status), Accepted):
        assert (status, body["code"], action) == (200, "00000", ADD)
        assert {"msg", "data", "requestTime"} <= body.keys()
        assert body["msg"] == "success"


# -- evidence ------------------------------------------------------------------------------

ORDER = {
    "symbol": "BTCUSDT",
    "size": "0.5",
    "orderId": "11111",
    "clientOid": "id1",
    "baseVolume": "0.5",
    "priceAvg": "60000.5",
    "state": "filled",
    "side": "buy",
}
NONE = {"code": "40109", "msg": "cannot be found", "requestTime": 1, "data": None}


def heard(body: Any, status: int = 200) -> Heard:
    return Heard(status, {}, json.dumps(body))


def look(order: Any, waiting: list[Any] | None = None, over: list[Any] | None = None) -> object:
    answers = (heard(order, 400 if order is NONE else 200), heard(plans(waiting)))
    return bitget_orders.order_of(
        [*answers, heard(plans(over))], order_id(order), "BTCUSDT", LISTED
    )


def order_id(order: Any) -> str:
    return "lg1" if order is NONE else "id1"


def test_an_order_is_told_with_the_average_of_its_fills() -> None:
    fill = Fill(Quantity(D("0.5")), Price(D("60000.5")))
    assert look(done(ORDER)) == OrderFound("id1", resting=False, filled=fill)
    part = done(ORDER | {"state": "partially_filled"})
    assert look(part) == OrderFound("id1", resting=True, filled=fill)
    for state, rests in (("live", True), ("canceled", False)):
        none = done(ORDER | {"state": state, "baseVolume": "0", "priceAvg": ""})
        assert look(none) == OrderFound("id1", resting=rests, filled=NO_FILL)


@pytest.mark.parametrize(
    "odd",
    [{"state": "new"}, {"clientOid": "id2"}, {"symbol": "ETHUSDT"}, {"priceAvg": ""}],
)
def test_an_order_that_is_another_or_half_told_is_no_read(odd: dict[str, str]) -> None:
    with pytest.raises(Unreadable):
        look(done(ORDER | odd))


def test_only_the_code_for_it_is_absence() -> None:
    assert look(NONE) == OrderAbsent()
    for code in ("40015", "00000", "40001"):
        with pytest.raises(Unreadable):
            look({"code": code, "msg": "", "requestTime": 1, "data": None})
    answers = [heard(NONE, 400), heard(plans(None), 502), heard(plans(None))]
    with pytest.raises(Unreadable):
        bitget_orders.order_of(answers, "lg1", "BTCUSDT", LISTED)


def test_a_stop_waits_is_over_or_has_fired() -> None:
    assert look(NONE, [STOP]) == OrderFound("lg1", resting=True, filled=NO_FILL)
    for status in ("cancelled", "fail_execute"):
        over = look(NONE, [], [STOP | {"planStatus": status}])
        assert over == OrderFound("lg1", resting=False, filled=NO_FILL)
    fired = Fill(Quantity(D("0.002")), Price(D(35_000)))
    over = look(NONE, None, [STOP | {"planStatus": "executed"}])
    assert over == OrderFound("lg1", resting=False, filled=fired)
    with pytest.raises(Unreadable, match="planStatus"):
        look(NONE, [], [STOP | {"planStatus": "executing"}])


# -- prices and streams --------------------------------------------------------------------

# `documented`
BILL = {
    "symbol": "BTCUSDT",
    "fundingRate": "-0.000013",
    "fundingRateInterval": "8",
    "nextUpdate": "1745510400000",
    "minFundingRate": "-0.003",
    "maxFundingRate": "0.003",
}
# `test-fixture`
TICKER = {
    "action": "snapshot",
    "arg": {"instType": "USDT-FUTURES", "channel": "ticker", "instId": "BTCUSDT"},
    "data": [
        {
            "instId": "BTCUSDT",
            "lastPr": "27000.5",
            "fundingRate": "0.000010",
            "nextFundingTime": "1695722400000",
            "markPrice": "27000.0",
            "symbol": "BTCUSDT",
        }
    ],
    "ts": 1695715383039,
}


def test_marks_come_with_their_bills_and_a_bad_one_hides_no_mark() -> None:
    marks = done([{"symbol": "BTCUSDT", "markPrice": "27000.0"}, {"symbol": 5}, {}])
    expected = Marked(BTC, Price(D(27_000)), D("-0.000013"), 1_745_510_400_000)  # type: ignore[arg-type]
    assert bitget_market.marks_of((marks, done([BILL])), LISTED) == (expected,)
    (bare,) = bitget_market.marks_of(
        (marks, done([{"symbol": "BTCUSDT", "fundingRate": "0.1"}])), LISTED
    )
    assert (bare.price, bare.rate) == (D(27_000), D(0))


def test_a_frame_brings_the_mark_of_its_contract_and_nothing_else() -> None:
    (mark,) = bitget_market.mark_frame(TICKER, LISTED)
    assert (mark.symbol, mark.price, mark.next_at_ms) == (BTC, D(27_000), 0)
    assert not bitget_market.mark_frame({"event": "subscribe", "arg": TICKER["arg"]}, LISTED)
    assert not bitget_market.mark_frame(TICKER | {"arg": {"channel": "books"}}, LISTED)


def test_bars_are_hours_of_the_mark_price_that_are_over_whatever_their_order() -> None:
    hour = 3_600_000
    candles = [[str(at * hour), "1", "3", "0.5", str(2 + at), "0", "0"] for at in (3, 1, 2)]
    bars = bitget_market.bars_of(done(candles), BTC, 3 * hour + 5).bars
    assert [each.close for each in bars] == [D(3), D(4)]
    assert bitget_market.bars_call("BTCUSDT").parameters["kLineType"] == "MARK"


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"event": "error", "code": 30005, "msg": "error"}, StreamEnded),
        ({"event": "login", "code": 0}, Irrelevant),
        ({"event": "subscribe", "arg": {"channel": "positions"}}, Irrelevant),
        ({"arg": {"channel": "positions"}, "data": []}, AccountChanged),
        ({"arg": {"channel": "orders-algo"}, "data": [{}]}, AccountChanged),
        ({"arg": {"channel": "ticker"}, "data": [{}]}, Irrelevant),
        ({}, Irrelevant),
    ],
)
def test_frames_ring_or_end_the_stream(frame: Any, expected: type) -> None:
    assert isinstance(bitget_account.account_frame(frame, LISTED, 5), expected)


def test_a_login_is_signed_in_seconds_and_the_secret_is_not_in_it() -> None:
    """The signature was made by hand: `openssl dgst -sha256 -hmac a-secret -binary | base64`."""
    keys = Credentials(SecretStr("a-key"), SecretStr("a-secret"), SecretStr("a-phrase"))
    opening = bitget_account.account_opening((), keys, 1_732_519_690_123)
    (asked,) = opening.asks
    assert "a-secret" not in opening.sign_in
    (named,) = json.loads(opening.sign_in)["args"]
    assert named == {
        "apiKey": "a-key",
        "passphrase": "a-phrase",
        "timestamp": "1732519690",
        "sign": SIGN,
    }
    channels = {each["channel"] for each in json.loads(asked)["args"]}
    assert channels == {"orders", "orders-algo", "positions"}


SIGN = "lsdzMbericu/DsdbUe5LGPRk8RamSi+H8Kd1GmNnQBI="


# -- before the start ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("money", "position", "expected"),
    [
        ({}, {}, ""),
        ({"assetMode": "single", "grant": "", "coupon": "0"}, {"autoMargin": "off"}, ""),
        ({"assetMode": "union"}, {}, "several"),
        ({"coupon": "5"}, {}, "coupon"),
        ({"grant": "0.1"}, {}, "grant"),
        ({}, {"autoMargin": "on"}, "auto-margin"),
    ],
)
def test_an_account_that_cannot_be_guarded_is_refused(
    money: Any, position: Any, expected: str
) -> None:
    answers = [done([ACCOUNT | money]), done([LONG | position])]
    found = (*bitget_account.refusals(answers), *bitget_account.unsupported(answers))
    assert len(found) == (1 if expected else 0)
    assert expected in " ".join(found)


READS: Mapping[str, tuple[Any, Callable[[Any], object]]] = {
    "snapshot": (
        [done(ACCOUNT | {"posMode": "hedge_mode"}), done([ACCOUNT]), done([LONG]), plans([STOP])],
        lambda it: bitget_account.snapshot_of(it[:1], it[1:3], it[3:], LISTED, 5),
    ),
    "names": (
        [done([LONG]), plans([STOP])],
        lambda it: (bitget_account.held_names([None, it[0]]), bitget_account.stop_names([it[1]])),
    ),
    "rules": (
        [done([CONTRACT]), done(TIERS)],
        lambda it: bitget_market.instrument_of(it, LISTED, "BTCUSDT"),
    ),
    "listing": (done([CONTRACT]), bitget_market.listing_of),
    "interval": (done([BILL]), lambda it: bitget_market.interval_of(it, "BTCUSDT")),
    "marks": (
        [done([{"symbol": "BTCUSDT", "markPrice": "1"}]), done([BILL])],
        lambda it: bitget_market.marks_of(it, LISTED),
    ),
    "bars": (
        done([["3600000", "1", "3", "0.5", "2", "0", "0"]]),
        lambda it: bitget_market.bars_of(it, BTC, 9_000_000),
    ),
    "mark frame": (TICKER, lambda it: bitget_market.mark_frame(it, LISTED)),
    "account frame": (
        {"event": "x", "arg": {"channel": "orders"}, "data": []},
        lambda it: bitget_account.account_frame(it, LISTED, 5),
    ),
    "order": (
        [done(ORDER), plans([]), plans([])],
        lambda it: bitget_orders.order_of([heard(each) for each in it], "id1", "BTCUSDT", LISTED),
    ),
    "stop": (
        [NONE, plans(None), plans([STOP | {"planStatus": "executed"}])],
        lambda it: bitget_orders.order_of([heard(each) for each in it], "lg1", "BTCUSDT", LISTED),
    ),
    "time": (done({"serverTime": "1732519690123"}), bitget_market.time_of),
    "before the start": ([done([ACCOUNT]), done([LONG])], bitget_account.refusals),
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


def test_a_request_that_is_not_signed_as_the_page_says_is_refused_by_the_desk() -> None:
    """That the stage judges signatures at all."""
    headers = {
        "ACCESS-KEY": "a-key",
        "ACCESS-PASSPHRASE": "a-phrase",
        "ACCESS-TIMESTAMP": str(system_wall_ms()),
        "ACCESS-SIGN": "x",
    }
    query = {"productType": "USDT-FUTURES"}
    asked = Asked("GET", "/api/v2/mix/account/accounts", query, headers, None)
    assert BitgetDesk().answer(asked).json["code"] == "40009"


# -- recipes -------------------------------------------------------------------------------


def test_no_recipe_can_open_or_trigger_on_the_last_price_or_cancel_all() -> None:
    kept = golden("bitget")
    assert len(kept) == 40
    for name, sent in kept.items():
        body, is_long, is_hedge = sent["body"], " long:" in name, name.startswith("hedge")
        assert sent["query"] == {}
        assert body["symbol"] == "BTCUSDT"
        if "cancel" in name:
            assert sent["path"].endswith("/order/cancel-plan-order")
            assert body["planType"] == "loss_plan"
            assert body["orderIdList"] == [{"clientOid": "lgresting0000000000000000ab"}]
        elif "margin" in name:
            side = "long" if is_long else "short"
            assert (body["amount"], body["holdSide"]) == ("25.756", side)
        elif "stop" in name:
            assert sent["path"].endswith("/order/place-tpsl-order")
            held = {True: ("long", "short"), False: ("buy", "sell")}[is_hedge]
            assert body["holdSide"] == held[not is_long]
            assert (body["planType"], body["triggerType"]) == ("loss_plan", "mark_price")
            assert (body["size"], body["executePrice"]) == ("0.1", "0")
        else:
            assert sent["path"].endswith("/order/place-order")
            assert body["marginMode"] == ("crossed" if " cross " in name else "isolated")
            assert not any(each.startswith("preset") for each in body)
            if is_hedge:
                assert (body["side"], body["tradeSide"]) == ("buy" if is_long else "sell", "close")
            else:
                closes = "sell" if is_long else "buy"
                assert (body["side"], body["reduceOnly"]) == (closes, "YES")
            within = ("limit", "ioc") if "within" in name else ("market", None)
            assert (body["orderType"], body.get("force")) == within


def test_without_the_position_no_close_is_sent() -> None:
    """It says in which margin mode it is: one guessed might open another."""
    ground = Ground(PositionMode.HEDGE, (), (done([ACCOUNT]), done([SHORT])))
    answer = bitget_orders.write_call(CLOSE, "id1", LISTED, ground)
    assert isinstance(answer, Refused)
    assert answer.code == "NOT_SENT"
