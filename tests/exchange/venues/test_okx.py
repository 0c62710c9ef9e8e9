"""
OKX's answers as the venue documents them, answers that nobody should believe, and recipes held
against ccxt's own.

Shapes are those that ccxt's source (`documented`) and client libraries (`test-fixture`) keep;
where a row was met by somebody (`recorded`) it says so. Figures are ours.
"""

import json
from decimal import Decimal
from typing import Any

import ccxt.async_support
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.events import AutoDeleveraged, Liquidated
from bot.core.margin import LiquidatesAt, liquidation, maintenance_margin
from bot.core.model import MarginMode, NotReported, Position, PositionMode, Reported, Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.calls import Heard, Unreadable
from bot.exchange.live.dialect import Ground, Irrelevant, Listed, Marked, StreamEnded
from bot.exchange.ports import (
    Accepted,
    AccountChanged,
    OrderAbsent,
    OrderFound,
    Refused,
    Unreachable,
    Unsure,
)
from bot.exchange.venues import okx_account, okx_market, okx_orders
from bot.exchange.venues.okx_refusals import REFUSED
from tests.exchange.venues.capture import golden
from tests.exchange.venues.okx_desk import CONFIG, CONTRACT, TIERS, OkxDesk
from tests.exchange.venues.stage import BTC, staged

D = Decimal
NAME = "BTC-USDT-SWAP"
LISTED = Listed(
    {NAME: BTC, "ETH-USDT-SWAP": "ETH/USDT:USDT"}, {NAME: D("0.01"), "ETH-USDT-SWAP": D("0.1")}
)

LONG = {
    "instType": "SWAP",
    "instId": NAME,
    "mgnMode": "isolated",
    "posSide": "net",
    "pos": "50",
    "ccy": "USDT",
    "avgPx": "50000",
    "markPx": "50500",
    "lever": "10",
    "liqPx": "45250.5",
    "margin": "2500",
    "imr": "",
    "mmr": "101",
    "mgnRatio": "11.731726509588816",
    "notionalUsd": "25260",
    "upl": "250",
}
# Without legs a short is a number below zero (`test-fixture`: "pos" -2 beside "availPos" 2).
SHORT = LONG | {"pos": "-50", "liqPx": "54700"}
# `documented`: a cross row whose liquidation price and margin are "".
CROSS = LONG | {"mgnMode": "cross", "margin": "", "liqPx": "", "imr": "2500"}
# `test-fixture`: the coin's equity is its cash and the equity of isolated positions, so that cash
# is without what those have.
USDT = {
    "ccy": "USDT",
    "cashBal": "94.42612990333333",
    "eq": "99.89469657000001",
    "isoEq": "5.468566666666667",
    "upl": "-0.0273",
    "availEq": "94.42612990333333",
    "liab": "",
}
STOP_ROW = {
    "algoId": "681096944655273984",
    "algoClOrdId": "lg1",
    "instId": NAME,
    "ordType": "conditional",
    "state": "live",
    "side": "sell",
    "posSide": "net",
    "sz": "50",
    "closeFraction": "",
    "slTriggerPx": "46000",
    "slTriggerPxType": "mark",
    "slOrdPx": "-1",
    "tdMode": "isolated",
    "reduceOnly": "true",
}


def enveloped(*found: Any) -> dict[str, Any]:
    return {"code": "0", "msg": "", "data": list(found)}


def snapshot(*legs: Any, config: Any = CONFIG, coins: Any = (USDT,), stops: Any = ()) -> Any:
    state = (enveloped(*legs), enveloped({"details": list(coins)}))
    return okx_account.snapshot_of((enveloped(config),), state, (enveloped(*stops),), LISTED, 1)


# -- the account ---------------------------------------------------------------------------


def test_positions_are_in_base_and_money_is_without_what_is_bound() -> None:
    seen = snapshot(LONG)
    (held,) = seen.positions
    assert (held.side, held.quantity, held.margin_mode) == (
        Side.LONG,
        D("0.5"),
        MarginMode.ISOLATED,
    )
    assert (held.isolated_margin, held.liquidation) == (D(2500), Reported(Price(D("45250.5"))))
    assert abs(D(USDT["cashBal"]) + D(USDT["isoEq"]) - D(USDT["eq"])) < D("0.000000001")
    assert seen.wallet_balance == seen.free == D(USDT["cashBal"])
    (short,) = snapshot(SHORT).positions
    assert (short.side, short.quantity) == (Side.SHORT, D("0.5"))


@pytest.mark.parametrize("told", ["", "0", "-1", None, "NaN", "--"])
def test_no_liquidation_price_is_no_report(told: Any) -> None:
    (held,) = snapshot(LONG | {"liqPx": told}).positions
    assert held.liquidation == NotReported()


def test_a_cross_position_has_no_margin_of_its_own() -> None:
    (held,) = snapshot(CROSS).positions
    assert (held.margin_mode, held.isolated_margin) == (MarginMode.CROSS, D(0))


def test_legs_are_told_by_their_name_and_sized_without_a_sign() -> None:
    hedged = CONFIG | {"posMode": "long_short_mode"}
    seen = snapshot(LONG | {"posSide": "long"}, LONG | {"posSide": "short"}, config=hedged)
    assert [each.side for each in seen.positions] == [Side.LONG, Side.SHORT]
    assert seen.position_mode is PositionMode.HEDGE


def test_what_is_not_ours_is_left_out() -> None:
    others = (
        LONG | {"pos": "0"},
        LONG | {"pos": ""},
        LONG | {"instId": "BTC-USD-SWAP", "ccy": "BTC"},
        LONG | {"instType": "FUTURES", "instId": "BTC-USDT-261225"},
    )
    assert len(snapshot(LONG, *others).positions) == 1


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (LONG | {"margin": ""}, "margin"),
        (LONG | {"margin": "0"}, "margin"),
        (LONG | {"lever": ""}, "lever"),
        (LONG | {"mgnMode": "cash"}, "mgnMode"),
        (LONG | {"posSide": ""}, "posSide"),
        (LONG | {"avgPx": ""}, "avgPx"),
        (LONG | {"pos": "NaN"}, "pos"),
        (LONG | {"instId": "NEW-USDT-SWAP"}, "listed"),
        (LONG | {"notionalUsd": "2526"}, "notionalUsd"),  # a tenth: another contract size
    ],
)
def test_what_a_position_stands_on_is_never_made_up(row: dict[str, Any], word: str) -> None:
    seen = snapshot(row)
    assert seen.positions == ()
    (garbled,) = seen.garbled
    assert word in garbled.reason


@pytest.mark.parametrize("kind", ["FUTURES", "MARGIN"])
def test_what_else_the_coin_backs_in_cross_margin_makes_it_no_read(kind: str) -> None:
    with pytest.raises(Unreadable, match="instType"):
        snapshot(LONG, CROSS | {"instType": kind, "instId": "BTC-USDT-261225"})


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"acctLv": "1"}, "acctLv"),
        ({"acctLv": "3"}, "acctLv"),
        ({"acctLv": "4"}, "acctLv"),
        ({"posMode": "odd"}, "posMode"),
    ],
)
def test_an_account_of_another_kind_is_no_read(changed: Any, word: str) -> None:
    with pytest.raises(Unreadable, match=word):
        snapshot(LONG, config=CONFIG | changed)


def test_a_wallet_that_is_not_told_or_is_owed_is_no_read() -> None:
    for name in ("cashBal", "availEq", "liab"):
        with pytest.raises(Unreadable, match=name):
            snapshot(coins=({key: value for key, value in USDT.items() if key != name},))
    with pytest.raises(Unreadable, match="debts"):
        snapshot(coins=(USDT | {"liab": "3"},))
    assert snapshot(coins=()).wallet_balance == 0


def test_the_same_side_twice_is_no_read() -> None:
    """A contract can have an isolated and a cross position at once."""
    with pytest.raises(Unreadable, match="several"):
        snapshot(LONG, CROSS)


def test_stops_are_those_that_protect_and_one_bad_row_hides_no_other() -> None:
    rows = (
        STOP_ROW,
        STOP_ROW | {"slTriggerPxType": "last"},
        STOP_ROW | {"slOrdPx": "45000"},
        STOP_ROW | {"slTriggerPx": "", "slTriggerPxType": "", "tpTriggerPx": "60000"},
        STOP_ROW | {"state": "pause"},
        STOP_ROW | {"tdMode": "cross"},  # works on the cross position, of which there is none
        STOP_ROW | {"posSide": "short"},  # opens a short
        STOP_ROW | {"slTriggerPx": "x"},
        {"algoId": "1"},
        STOP_ROW | {"algoClOrdId": "", "closeFraction": "1", "sz": ""},
        STOP_ROW | {"algoClOrdId": "opens", "reduceOnly": "false"},
        STOP_ROW | {"algoClOrdId": "leg", "posSide": "long", "reduceOnly": "false"},
        STOP_ROW | {"algoClOrdId": "short", "side": "buy"},
    )
    found = snapshot(LONG, stops=rows).stops
    assert [(each.client_id, each.side, each.quantity, each.reduce_only) for each in found] == [
        ("lg1", Side.LONG, D("0.5"), True),
        ("681096944655273984", Side.LONG, D("0.5"), True),
        ("opens", Side.LONG, D("0.5"), False),
        ("leg", Side.LONG, D("0.5"), True),
        ("short", Side.SHORT, D("0.5"), True),
    ]


def test_a_full_page_may_not_be_all() -> None:
    with pytest.raises(Unreadable, match="page"):
        snapshot(stops=(STOP_ROW,) * 100)
    with pytest.raises(Unreadable, match="page"):
        snapshot(*[LONG] * 100)


# -- contracts -----------------------------------------------------------------------------


def instrument(*tiers: Any) -> Any:
    answers = (enveloped(CONTRACT), enveloped(*(tiers or TIERS)), enveloped({"takerU": "-0.0005"}))
    return okx_market.instrument_of(answers, LISTED, NAME)


def test_contracts_are_linear_ones_in_the_coin_and_a_bad_one_hides_no_other() -> None:
    others = (
        {"instId": "X"},
        CONTRACT | {"instId": "BTC-USD-SWAP", "ctType": "inverse", "settleCcy": "BTC"},
        CONTRACT | {"instId": "Y-USDT-SWAP", "ctVal": "0"},
        CONTRACT | {"instId": "OLD-USDT-SWAP", "ctValCcy": "OLD", "expTime": "1900000000000"},
    )
    listed = okx_market.listing_of(enveloped(*others, CONTRACT))
    assert listed.symbols == {"OLD-USDT-SWAP": "OLD/USDT:USDT", NAME: BTC}
    assert listed.sizes == {"OLD-USDT-SWAP": D("0.01"), NAME: D("0.01")}
    assert listed.endings == {"OLD-USDT-SWAP": 1_900_000_000_000}


def test_the_whole_position_is_at_the_rate_of_its_tier() -> None:
    """
    `documented` (its tiers of 2026-05): 1,000 contracts of 0.01 at 0.4 %, up to 5,000 at 0.5 %.
    Without deductions ten bitcoin need 0.4 % and a hundredth more 0.5 % of all of it.
    """
    first = {"tier": "1", "minSz": "0", "maxSz": "1000", "mmr": "0.004", "maxLever": "100"}
    second = first | {"tier": "2", "maxSz": "5000", "mmr": "0.005", "maxLever": "66.66"}
    listed = instrument(second, first)
    margins = [
        maintenance_margin(
            listed,
            Position(
                BTC,
                Side.LONG,
                Quantity(D(quantity)),
                Price(D(50_000)),
                MarginMode.ISOLATED,
                Money(D(50_000)),
                D(10),
                NotReported(),
            ),
            Price(D(60_000)),
        )
        for quantity in ("10", "10.01")
    ]
    assert margins == [D(600_000) * D("0.004"), D(600_600) * D("0.005")]


@pytest.mark.parametrize("side", Side)
def test_our_liquidation_price_is_the_venues_formula(side: Side) -> None:
    """`documented`: there equity is what the rate and the fee demand at the mark price."""
    quantity, entry, margin = D("0.5"), D(50_000), D(2_500)
    position = Position(
        BTC,
        side,
        Quantity(quantity),
        Price(entry),
        MarginMode.ISOLATED,
        Money(margin),
        D(10),
        NotReported(),
    )
    sign = side.sign
    expected = (margin - sign * quantity * entry) / (quantity * (D("0.004") + D("0.0005") - sign))
    ours = liquidation(instrument(), position)
    assert isinstance(ours, LiquidatesAt)
    assert abs(ours.price - expected) < D("0.000001"), (ours.price, expected)


@pytest.mark.parametrize(
    ("tiers", "word"),
    [
        ((TIERS[0], TIERS[0]), "rising"),
        ((TIERS[0], TIERS[1] | {"mmr": "0.001"}), "rising"),
        ((TIERS[0] | {"maxSz": ""},), "maxSz"),
    ],
)
def test_tiers_that_make_no_table_are_none(tiers: Any, word: str) -> None:
    with pytest.raises(Unreadable, match=word):
        instrument(*tiers)


def test_the_interval_is_what_lies_between_two_bills() -> None:
    bill = {"instId": NAME, "fundingTime": "1703088000000", "nextFundingTime": "1703116800000"}
    assert okx_market.interval_of(enveloped(bill), NAME) == 8 * 3_600_000
    with pytest.raises(Unreadable, match="nextFundingTime"):
        okx_market.interval_of(enveloped(bill | {"nextFundingTime": "1703088000000"}), NAME)


# -- answers to writes ---------------------------------------------------------------------

ADD = AddMargin(BTC, Side.LONG, Money(D("25.756")))
STOP = PlaceStop(BTC, Side.LONG, Quantity(D("0.01")), Price(D(30_000)))
CANCEL = CancelStop(BTC, Side.LONG, "lg1")
CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D("0.6024")))
FINE = {"sCode": "0", "sMsg": ""}
PROOFS: list[tuple[Action, dict[str, Any]]] = [
    (ADD, {"instId": NAME, "posSide": "net", "type": "add", "amt": "25.756"}),
    (STOP, {"algoId": "12345689", "algoClOrdId": "id1"} | FINE),
    (CANCEL, {"algoId": "1234"} | FINE),
    (CLOSE, {"ordId": "312269865356374016", "clOrdId": "id1"} | FINE),
]
FREE = {"sMsg"}


def reply(action: Action, body: object, status: int = 200) -> object:
    text = body if isinstance(body, str) else json.dumps(body)
    return okx_orders.reply_of(Heard(status, {}, text), action, "id1", LISTED)


@pytest.mark.parametrize(("action", "row"), PROOFS, ids=lambda each: type(each).__name__)
def test_an_echo_is_a_proof_and_nothing_less(action: Action, row: dict[str, Any]) -> None:
    assert reply(action, enveloped(row)) == Accepted()
    for name in row.keys() - FREE:
        less = {other: value for other, value in row.items() if other != name}
        assert isinstance(reply(action, enveloped(less)), Unsure), name
        wrongs: tuple[object, ...] = (None, "", "-1", "x", [], True)
        for wrong in wrongs:
            assert isinstance(reply(action, enveloped(row | {name: wrong})), Unsure), (name, wrong)
    for status in (202, 400, 401, 403, 429, 502):
        assert isinstance(reply(action, enveloped(row), status), Unsure)
    for body in ({}, row, enveloped(), enveloped(row, row), enveloped(None), "<html>"):
        assert isinstance(reply(action, body), Unsure)
    assert isinstance(reply(action, enveloped(row) | {"code": "1"}), Unsure)


def test_margin_of_another_kind_is_no_proof() -> None:
    row = PROOFS[0][1]
    for other in ({"posSide": "short"}, {"type": "reduce"}, {"amt": "25"}, {"instId": "X"}):
        assert isinstance(reply(ADD, enveloped(row | other)), Unsure), other
    assert reply(ADD, enveloped(row | {"posSide": "long"})) == Accepted()
    renamed = PROOFS[2][1] | {"algoClOrdId": "other"}
    assert isinstance(reply(CANCEL, enveloped(renamed)), Unsure)


@pytest.mark.parametrize("code", REFUSED)
def test_codes_of_the_list_are_proof_wherever_they_stand(code: str) -> None:
    row = {"sCode": code, "sMsg": "no", "ordId": "", "clOrdId": "id1"}
    refused = Refused(code, "no")
    assert reply(CLOSE, {"code": "1", "msg": "", "data": [row]}) == refused
    # `test-fixture`: code 0, and a refusal in the row.
    assert reply(CLOSE, enveloped(row)) == refused
    assert reply(CLOSE, {"code": code, "msg": "no", "data": []}, 400) == refused
    assert isinstance(reply(CLOSE, {"code": code, "msg": "no", "data": []}, 502), Unsure)


@pytest.mark.parametrize("code", sorted(okx_orders.GONE))
def test_that_a_stop_is_gone_does_not_say_what_became_of_it(code: str) -> None:
    row = {"sCode": code, "sMsg": "?", "algoId": ""}
    assert isinstance(reply(CANCEL, {"code": "1", "msg": "", "data": [row]}), Unsure)


@pytest.mark.parametrize(
    "code", ["1", "2", "50001", "50004", "50013", "50026", "51011", "51016", "51410", "51999"]
)
def test_other_codes_prove_nothing(code: str) -> None:
    assert isinstance(reply(CLOSE, {"code": code, "msg": "?", "data": []}), Unsure)
    assert isinstance(reply(CLOSE, enveloped({"sCode": code, "sMsg": "?"})), Unsure)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "0", "id1", NAME]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["ordId", "clOrdId", "code", "sCode", "data", "msg"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)


@given(JUNK, st.sampled_from([200, 201, 400, 502]))
def test_junk_is_never_success(body: Any, status: int) -> None:
    assert isinstance(reply(CLOSE, body, status), Unsure)


@pytest.mark.parametrize("legs", [(), (SHORT,), (LONG | {"pos": "0"},)])
def test_an_order_for_no_known_position_is_not_sent(legs: Any) -> None:
    """Its margin mode is that of the position: a wrong one would work on another."""
    ground = Ground(PositionMode.ONE_WAY, (), (enveloped(*legs),))
    assert isinstance(okx_orders.write_call(CLOSE, "id1", LISTED, ground), Refused)
    assert isinstance(okx_orders.write_call(STOP, "id1", LISTED, ground), Refused)


def test_what_else_the_account_holds_never_keeps_a_close_from_being_sent() -> None:
    others = (CROSS | {"instType": "FUTURES", "instId": "BTC-USDT-261225"}, LONG)
    ground = Ground(PositionMode.ONE_WAY, (), (enveloped(*others),))
    assert not isinstance(okx_orders.write_call(CLOSE, "id1", LISTED, ground), Refused)


# -- evidence ------------------------------------------------------------------------------

NONE = Heard(200, {}, '{"code": "51603", "msg": "Order does not exist", "data": []}')
DONE = {
    "instId": NAME,
    "ordId": "680800019749904384",
    "clOrdId": "id1",
    "algoId": "",
    "state": "filled",
    "accFillSz": "50",
    "avgPx": "45990.5",
}
WENT = STOP_ROW | {"algoClOrdId": "id1", "state": "effective"}


def heard(*found: Any, status: int = 200) -> Heard:
    return Heard(status, {}, json.dumps(enveloped(*found)))


def look(plain: Heard = NONE, algo: Heard = NONE, history: Any = ()) -> object:
    return okx_orders.order_of((plain, algo, heard(*history)), "id1", NAME, LISTED)


def test_a_stop_that_triggered_tells_its_fill_by_the_order_that_it_made() -> None:
    assert look() == OrderAbsent()
    sent = DONE | {"clOrdId": "x", "algoId": WENT["algoId"]}
    found = look(algo=heard(WENT), history=[DONE, sent])
    assert found == look(plain=heard(DONE))
    assert isinstance(found, OrderFound)
    assert not found.resting
    with pytest.raises(Unreadable, match="algoId"):
        look(algo=heard(WENT), history=[DONE])


@pytest.mark.parametrize(
    ("state", "is_resting"),
    [("live", True), ("pause", True), ("canceled", False), ("order_failed", False)],
)
def test_a_stop_that_did_not_go_off_rests_or_is_over(state: str, is_resting: bool) -> None:
    found = look(algo=heard(WENT | {"state": state}))
    assert getattr(found, "resting", None) is is_resting


@pytest.mark.parametrize(
    "plain",
    [
        heard(DONE, status=502),
        heard(DONE | {"instId": "ETH-USDT-SWAP"}),
        heard(DONE | {"state": "odd"}),
        heard(DONE | {"avgPx": ""}),
        heard(DONE | {"clOrdId": "id11"}),
        heard(DONE, DONE),
        Heard(200, {}, '{"code": "50013", "msg": "busy", "data": []}'),
        Heard(200, {}, "<html>"),
    ],
)
def test_an_answer_about_something_else_is_no_evidence(plain: Heard) -> None:
    with pytest.raises(Unreadable):
        look(plain=plain)


# -- frames --------------------------------------------------------------------------------


def frame(channel: str, *found: Any) -> dict[str, Any]:
    return {"arg": {"channel": channel}, "data": list(found)}


TAKEN = {
    "instId": NAME,
    "category": "full_liquidation",
    "side": "sell",
    "fillSz": "0.5",
    "fillPx": "40000.0",
    "posSide": "long",
}


def test_what_the_venue_took_is_named_with_the_side_of_the_position() -> None:
    """`test-fixture`: who sells had a long; a deleveraging of a short buys."""
    row = TAKEN
    told = okx_account.account_frame(frame("orders", row), LISTED, 5)
    assert told == Liquidated(BTC, Side.LONG, Price(D("40000.0")), 5)
    assert okx_account.account_frame(frame("orders", row | {"fillSz": "0"}), LISTED, 5) == (
        AccountChanged()
    )
    taken = row | {"category": "adl", "side": "buy", "posSide": "short"}
    assert okx_account.account_frame(frame("orders", taken), LISTED, 5) == AutoDeleveraged(
        BTC, Side.SHORT, Quantity(D("0.005")), Price(D("40000.0")), 5
    )


@pytest.mark.parametrize(
    ("json", "told"),
    [
        (frame("orders", {"category": "normal"}), AccountChanged()),
        (frame("orders-algo", {}), AccountChanged()),
        (frame("balance_and_position", {}), AccountChanged()),
        (frame("liquidation-warning", {}), AccountChanged()),
        (frame("tickers", {}), Irrelevant()),
        ({"event": "login", "code": "0", "msg": "", "connId": "a"}, Irrelevant()),
        ({"event": "subscribe", "arg": {"channel": "orders"}}, Irrelevant()),
        ({"event": "channel-conn-count", "channel": "orders", "connCount": "1"}, Irrelevant()),
    ],
)
def test_other_frames_ring_or_say_nothing(json: Any, told: object) -> None:
    assert okx_account.account_frame(json, LISTED, 5) == told


@pytest.mark.parametrize(
    "frame", [{"event": "error", "code": "60009"}, {"event": "notice", "code": "64008"}]
)
def test_an_error_or_the_announcement_of_an_end_is_one(frame: Any) -> None:
    assert isinstance(okx_account.account_frame(frame, LISTED, 5), StreamEnded)


def test_marks_of_frames_are_those_of_listed_contracts() -> None:
    row = {"instType": "SWAP", "instId": NAME, "markPx": "200", "ts": "1"}
    (mark,) = okx_market.mark_frame(frame("mark-price", row, row | {"instId": "X"}), LISTED)
    assert isinstance(mark, Marked)
    assert (mark.symbol, mark.price, mark.next_at_ms) == (BTC, D(200), 0)
    assert okx_market.mark_frame(frame("tickers", row), LISTED) == ()
    assert (
        okx_market.mark_frame({"event": "subscribe", "arg": {"channel": "mark-price"}}, LISTED)
        == ()
    )


def test_one_bad_mark_hides_no_other() -> None:
    bill = {"instId": NAME, "fundingRate": "0.0001", "fundingTime": "1703088000000"}
    bad: list[Any] = [{"instId": NAME, "markPx": each} for each in ("0", "-1", None, "", "NaN")]
    good = {"instId": NAME, "markPx": "37985.6"}
    (mark,) = okx_market.marks_of((enveloped(*bad, good, {}), enveloped(bill)), LISTED)
    assert (mark.price, mark.rate, mark.next_at_ms) == (
        D("37985.6"),
        D("0.0001"),
        1_703_088_000_000,
    )


def test_bars_are_hours_of_the_mark_price_that_are_over() -> None:
    noon_ms = 1_600_000_000_000 // 3_600_000 * 3_600_000
    bars = [
        [str(noon_ms + hour * 3_600_000), "10", high, "9", "10.5", "1"]
        for hour, high in ((4, "14"), (3, "13"), (2, "12"), (0, "11"))
    ]
    call = okx_market.bars_call(NAME)
    assert (call.path, call.parameters["bar"]) == ("market/mark-price-candles", "1H")
    told = okx_market.bars_of(enveloped(*bars), BTC, noon_ms + 5 * 3_600_000 - 1)
    assert told.closed_at_ms == noon_ms + 4 * 3_600_000
    assert [str(bar.high) for bar in told.bars] == ["12", "13"]
    for odd in (enveloped([1, "2"]), {"code": "50013", "msg": "", "data": []}):
        with pytest.raises(Unreadable, match="chart"):
            okx_market.bars_of(odd, BTC, noon_ms)


# -- before the start ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"acctLv": "1"}, "spot"),
        ({"acctLv": "3"}, "multi-currency"),
        ({"acctLv": "4"}, "portfolio"),
        ({"perm": "read_only,withdraw,trade"}, "withdraw"),
        ({"perm": "read_only"}, "may trade"),
        ({"roleType": "1"}, "copy"),
    ],
)
def test_a_key_or_account_that_cannot_be_guarded_is_refused(changed: Any, word: str) -> None:
    rest = (enveloped(LONG), enveloped({"details": [USDT]}))
    good, wrong = ((enveloped(each), *rest) for each in (CONFIG, CONFIG | changed))
    assert okx_account.refusals(good) == okx_account.unsupported(good) == ()
    (sentence,) = (*okx_account.refusals(wrong), *okx_account.unsupported(wrong))
    assert word in sentence
    assert okx_account.unproven(()) == ()


# -- recipes -------------------------------------------------------------------------------


async def ccxts_own(side: str, amount: float, price: float | None, **extra: Any) -> Any:
    """The body that ccxt's `create_order` sends when it is asked in its own words."""
    client = ccxt.async_support.okx({"apiKey": "k", "secret": "s", "password": "p"})
    client.timeout_on_exit = 0
    client.options |= {"timeDifference": 0, "createOrder": "privatePostTradeOrder"}
    market = {
        "id": NAME, "symbol": BTC, "base": "BTC", "quote": "USDT", "settle": "USDT",
        "baseId": "BTC", "quoteId": "USDT", "settleId": "USDT", "type": "swap", "spot": False,
        "margin": False, "swap": True, "future": False, "option": False, "contract": True,
        "linear": True, "inverse": False, "contractSize": 0.01, "active": True,
        "precision": {"amount": 0.01, "price": 0.1}, "limits": {"amount": {"min": 0.01}},
        "info": {},
    }  # fmt: skip
    client.set_markets([market])
    sent: list[Any] = []

    async def fetch(url: str, method: str, headers: Any, body: Any) -> Any:
        if method == "POST":
            sent.append((url, json.loads(body)))
        return {"code": "0", "data": [{"ordId": "1", "sCode": "0"}]}

    client.fetch = fetch
    kind = "market" if price is None else "limit"
    await client.create_order(BTC, kind, side, amount, price, extra)
    await client.close()
    return sent[0]


@pytest.mark.parametrize("mode", PositionMode)
@pytest.mark.parametrize("margin_mode", MarginMode)
@pytest.mark.parametrize(
    ("name", "side", "amount", "price", "extra"),
    [
        ("long: close", "sell", 4.71, None, {}),
        ("short: close", "buy", 4.71, None, {}),
        ("long: close within", "sell", 4.71, 59900.5, {"timeInForce": "IOC"}),
        ("long: place stop", "sell", 10, None, {"stopLossPrice": 57000}),
        ("short: place stop", "buy", 10, None, {"stopLossPrice": 63000}),
    ],
)
async def test_orders_are_those_that_ccxt_makes_when_asked_rightly(  # noqa: PLR0917 - a case
    mode: PositionMode,
    margin_mode: MarginMode,
    name: str,
    side: str,
    amount: float,
    price: float | None,
    extra: Any,
) -> None:
    """An independent source, which calls the id of an algo order by its old name alone."""
    extra = dict(extra)
    if "stopLossPrice" in extra:
        extra["slTriggerPxType"] = "mark"
    client_id = "lgabcd0123456789abcdefghij"
    extra |= {"marginMode": str(margin_mode), "hedged": mode is PositionMode.HEDGE}
    url, body = await ccxts_own(
        side, amount, price, clientOrderId=client_id, reduceOnly=True, **extra
    )
    ours = golden("okx")[f"{mode} {margin_mode} {name}"]
    assert url.endswith(ours["path"])
    named = {"algoClOrdId": client_id} if "stop" in name else {}
    assert ours["body"] == body | named


def test_no_recipe_can_open_flip_or_trigger_on_the_last_price() -> None:
    for name, sent in golden("okx").items():
        body, is_long = sent["body"], " long:" in name
        if "cancel" in name:
            assert [sorted(each) for each in body] == [["algoClOrdId", "instId"]]
            continue
        is_hedge = name.startswith("hedge")
        leg = "long" if is_long else "short"
        if "margin" in name:
            assert (body["amt"], body["type"]) == ("25.756", "add")
            assert body["posSide"] == (leg if is_hedge else "net")
            continue
        assert body["tdMode"] == ("cross" if " cross " in name else "isolated")
        assert body["side"] == ("sell" if is_long else "buy")
        assert body.get("posSide") == (leg if is_hedge else None)
        assert (body.get("reduceOnly") is True) is not is_hedge
        assert body["clOrdId"].isalnum()
        assert len(body["clOrdId"]) <= 32
        is_stop = "stop" in name
        assert is_stop is (body.get("slTriggerPxType") == "mark") is (body.get("slOrdPx") == "-1")
        assert is_stop is (body["ordType"] == "conditional")


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
    assert isinstance(reply(action, enveloped(odd)), Accepted | Refused | Unsure)
    told = TAKEN | {data.draw(st.sampled_from(sorted(TAKEN))): data.draw(ODD)}
    try:
        okx_account.account_frame(frame("orders", told), LISTED, 5)
        okx_account.account_frame(odd, LISTED, 5)
    except Unreadable:
        return


class Locked(OkxDesk):
    """Lets nobody in."""

    def greet(self, text: str) -> list[str]:
        return [json.dumps({"event": "error", "code": "60009", "msg": "Login failed."})]


async def test_nothing_is_asked_of_a_stream_before_it_has_let_us_in() -> None:
    desk = OkxDesk()
    async with staged(desk) as live:
        live.stage.desk = Locked(desk.book)
        with pytest.raises(Unreachable, match="let us in"):
            await live.account.stream(lambda _: None)
        (login,) = live.stage.heard
        assert json.loads(login)["op"] == "login"
        assert "a-secret" not in login
