"""
KuCoin's answers as it documents them, answers that nobody should believe, and recipes held
against ccxt's own.

Shapes are those of the venue's specification (`documented`), of client libraries (`test-fixture`)
or of ccxt's comments, which do not say whether they were met; figures that check a formula are the
venue's, others ours. Nothing here was met by us but what our own loopback `captured`.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any

import ccxt.async_support
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bot.clock import system_wall_ms
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, NoWorseThan, PlaceStop
from bot.core.margin import LiquidatesAt, liquidation, tiers_are_continuous
from bot.core.metrics import settle_liquidation
from bot.core.model import NO_FILL, Fill, MarginMode, NotReported, PositionMode, Reported, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.live.calls import Call, Heard, Unreadable
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Ground, Irrelevant, Listed, Marked, StreamEnded
from bot.exchange.ports import Accepted, AccountChanged, OrderAbsent, OrderFound, Refused, Unsure
from bot.exchange.venues import kucoin_account as account
from bot.exchange.venues import kucoin_market as market
from bot.exchange.venues import kucoin_orders as orders
from bot.exchange.venues.capabilities import MATRIX
from bot.exchange.venues.kucoin_refusals import REFUSED
from tests.exchange.venues.capture import golden
from tests.exchange.venues.kucoin_desk import BILL, CONTRACT, KEY, NAME, TIERS, KucoinDesk
from tests.exchange.venues.stage import BTC, Asked

D = Decimal
LISTED = Listed(
    {NAME: BTC, "ETHUSDTM": "ETH/USDT:USDT"}, {NAME: D("0.001"), "ETHUSDTM": D("0.01")}
)

# `documented`: an isolated row of the venue's list, figures and all, but that nothing is added.
LONG = {
    "id": "500000000000988255",
    "symbol": NAME,
    "autoDeposit": False,
    "crossMode": False,
    "maintMarginReq": 0.004,
    "riskLimit": 25000,
    "realLeverage": 6.0,
    "currentQty": 1,
    "isOpen": True,
    "markPrice": 120009.57,
    "markValue": 120.00957,
    "posCost": 120.0164,
    "posMargin": 20.0027333373,
    "posMaint": 0.552044022,
    "maintMargin": 19.9959033373,
    "unrealisedPnl": -0.00683,
    "avgEntryPrice": 120016.4,
    "liquidationPrice": 100475.86,
    "bankruptPrice": 100013.67,
    "settleCurrency": "USDT",
    "isInverse": False,
    "marginMode": "ISOLATED",
    "positionSide": "BOTH",
    "leverage": 6.0,
}
SHORT = LONG | {"currentQty": -2, "liquidationPrice": 139000.5, "posMargin": 40.5}
SHORT |= {"markValue": -240.01914}
# ccxt keeps a row of hedge mode: a side with a name, cross, without what isolated rows have.
CROSS = {
    "id": "600000000001260912",
    "symbol": NAME,
    "crossMode": True,
    "maintMarginReq": 0.0040000133,
    "currentQty": 1,
    "isOpen": True,
    "markPrice": 96985.6,
    "markValue": 96.9856,
    "posMargin": 4.84928,
    "unrealisedPnl": 0.0088,
    "avgEntryPrice": 96976.8,
    "liquidationPrice": 52351.69,
    "settleCurrency": "USDT",
    "isInverse": False,
    "marginMode": "CROSS",
    "positionSide": "LONG",
    "leverage": 20,
}
# The sums of the venue's push of a wallet (`documented`), in the fields of the answer to a read.
MONEY = {
    "accountEquity": 81.273621258,
    "unrealisedPNL": 0.2007,
    "marginBalance": 81.072921258,
    "positionMargin": 36.80984008,
    "orderMargin": 18.1188,
    "frozenFunds": 0,
    "availableBalance": 26.144281178,
    "currency": "USDT",
    "riskRatio": 0,
    "maxWithdrawAmount": 26.144281178,
}
# `test-fixture`, but for the type, the trigger and whom it closes.
STOP = {
    "id": "622076e79f12700001f84138",
    "symbol": NAME,
    "type": "market",
    "side": "sell",
    "price": "0",
    "size": 1,
    "value": "0",
    "dealValue": "0",
    "dealSize": 0,
    "stop": "down",
    "stopPriceType": "MP",
    "stopTriggered": None,
    "stopPrice": "110000.5",
    "leverage": "20",
    "closeOrder": False,
    "clientOid": "lg1",
    "isActive": True,
    "cancelExist": False,
    "settleCurrency": "USDT",
    "status": "open",
    "filledSize": 0,
    "reduceOnly": True,
}


def exact(json_like: Any) -> Any:
    """As it is parsed from the wire: numbers exact."""
    return json.loads(json.dumps(json_like), parse_float=Decimal)


def done(data: Any) -> Any:
    return exact({"code": "200000", "data": data})


def paged(items: list[Any], pages: int = 1) -> Any:
    count = {"currentPage": 1, "pageSize": 200, "totalNum": len(items), "totalPage": pages}
    return done(count | {"items": items})


def snapshot(
    held: list[Any], waiting: list[Any] | None = None, money: Any = MONEY, mode: int = 0
) -> Any:
    terms, state = [done({"positionMode": mode})], [done(money), done(held)]
    return account.snapshot_of(terms, state, [paged(waiting or [])], LISTED, 5)


# -- reads ---------------------------------------------------------------------------------


def test_a_long_a_short_and_a_flat_row_are_read_in_base() -> None:
    flat = LONG | {"symbol": "NOUSDTM", "currentQty": 0, "positionSide": "?"}
    eth = SHORT | {"symbol": "ETHUSDTM", "markValue": -2400.1914}
    seen = snapshot([LONG, flat, eth])
    long, short = seen.positions
    assert seen.position_mode is PositionMode.ONE_WAY
    assert (long.symbol, long.side, long.quantity) == (BTC, Side.LONG, D("0.001"))
    assert (short.symbol, short.side, short.quantity) == ("ETH/USDT:USDT", Side.SHORT, D("0.02"))
    assert (long.entry_price, long.leverage) == (D("120016.4"), D(6))
    assert (long.margin_mode, long.isolated_margin) == (MarginMode.ISOLATED, D("20.0027333373"))
    assert long.liquidation == Reported(Price(D("100475.86")))
    assert not seen.garbled


def test_the_wallet_is_the_equity_without_profit_and_without_what_positions_hold() -> None:
    """The venue's own sums: two positions hold 36.80984008 of 81.072921258."""
    half = D("18.40492004")
    rows = [
        LONG | {"posMargin": float(half)},
        SHORT | {"symbol": "ETHUSDTM", "markValue": -2400.1914, "posMargin": 18.40492004},
    ]
    seen = snapshot(rows)
    assert seen.wallet_balance == D("81.072921258") - 2 * half
    assert seen.free == D("26.144281178")
    assert snapshot([], money=MONEY | {"availableBalance": -3}).free == 0


def test_a_row_from_before_there_was_a_hedge_mode_is_read_by_its_sign() -> None:
    old = {name: each for name, each in SHORT.items() if name != "positionSide"}
    assert [each.side for each in snapshot([old]).positions] == [Side.SHORT]


@pytest.mark.parametrize("lots", [1, -1])
def test_in_hedge_mode_the_name_is_the_side_whatever_the_sign_of_a_short(lots: int) -> None:
    short = CROSS | {"positionSide": "SHORT", "currentQty": lots, "liquidationPrice": 130000}
    seen = snapshot([CROSS, short], mode=1)
    assert seen.position_mode is PositionMode.HEDGE
    assert [each.side for each in seen.positions] == [Side.LONG, Side.SHORT]
    assert [each.quantity for each in seen.positions] == [D("0.001"), D("0.001")]
    assert {each.margin_mode for each in seen.positions} == {MarginMode.CROSS}
    assert {each.isolated_margin for each in seen.positions} == {D(0)}


@pytest.mark.parametrize(
    ("odd", "mode"),
    [
        ({"positionSide": "LONG", "currentQty": -1}, 1),
        ({"positionSide": "BOTH"}, 1),
        ({"positionSide": "LONG"}, 0),
        ({"positionSide": "up"}, 1),
        ({"marginMode": ""}, 0),
        ({"posMargin": 0}, 0),
        ({"markValue": 1200.0957}, 0),
        ({"markValue": 12.000957}, 0),
        ({"avgEntryPrice": None}, 0),
        ({"symbol": "NOUSDTM"}, 0),
    ],
)
def test_a_row_that_contradicts_itself_or_the_account_is_told_as_garbled(
    odd: dict[str, Any], mode: int
) -> None:
    seen = snapshot([LONG | odd], mode=mode)
    assert (seen.positions, len(seen.garbled)) == ((), 1)


@pytest.mark.parametrize("blank", [0, 0.0, -1, None, "", "NaN"])
def test_no_liquidation_price_is_no_report(blank: object) -> None:
    (position,) = snapshot([LONG | {"liquidationPrice": blank}]).positions
    assert position.liquidation == NotReported()


def test_the_venues_liquidation_price_comes_out_of_our_rules_to_the_cent() -> None:
    """`documented`: 100475.86, at 0.4 % and a fee of 0.06 %."""
    contract = CONTRACT | {"multiplier": 0.001, "takerFeeRate": 6.0e-4}
    listed = market.instrument_of([done(contract), done(TIERS)], LISTED, NAME)
    (position,) = snapshot([LONG]).positions
    ours = liquidation(listed, position)
    assert isinstance(ours, LiquidatesAt)
    assert abs(ours.price - D("100475.86")) < D("0.01")
    assert settle_liquidation(listed, position) == (LiquidatesAt(Price(D("100475.86"))), False)


def test_a_level_that_was_set_higher_counts_by_the_price_that_the_venue_reports() -> None:
    """The level is the user's: 0.5 % for a value that fits into 0.4 %."""
    contract = CONTRACT | {"multiplier": 0.001, "takerFeeRate": 6.0e-4}
    listed = market.instrument_of([done(contract), done(TIERS)], LISTED, NAME)
    (position,) = snapshot([LONG | {"liquidationPrice": 100577.0}]).positions
    assert settle_liquidation(listed, position)[0] == LiquidatesAt(Price(D(100_577)))


# -- stops ---------------------------------------------------------------------------------


def test_a_stop_on_the_mark_that_closes_is_read_with_our_id_or_the_venues() -> None:
    seen = snapshot([LONG], [STOP, STOP | {"clientOid": None, "size": 3}])
    ours, theirs = seen.stops
    assert (ours.client_id, ours.symbol, ours.side) == ("lg1", BTC, Side.LONG)
    assert (ours.quantity, ours.trigger_price, ours.reduce_only) == (
        D("0.001"), D("110000.5"), True,
    )  # fmt: skip
    assert (theirs.client_id, theirs.quantity) == ("622076e79f12700001f84138", D("0.003"))


def test_a_stop_that_closes_whatever_is_there_is_one_of_all_of_it() -> None:
    whole = STOP | {"closeOrder": True, "reduceOnly": False, "side": "", "size": 0, "stop": "up"}
    (stop,) = snapshot([SHORT], [whole]).stops
    assert (stop.side, stop.quantity) == (Side.SHORT, D("0.002"))


@pytest.mark.parametrize(
    "odd",
    [
        {"stopPriceType": "TP"},
        {"stopPriceType": "IP"},
        {"type": "limit"},
        {"reduceOnly": False},
        {"side": "buy"},
        {"stop": "up"},
        {"stop": "up", "side": "buy"},
        {"symbol": "ETHUSDTM"},
        {"symbol": "NOUSDTM"},
        {"positionSide": "SHORT"},
        {"size": 0},
        {"stopPrice": None},
    ],
)
def test_what_does_not_stop_this_position_at_its_mark_is_no_stop_of_it(odd: Any) -> None:
    seen = snapshot([LONG], [STOP | odd]).stops
    assert [stop for stop in seen if (stop.symbol, stop.side) == (BTC, Side.LONG)] == []


def test_a_stop_that_no_position_is_left_for_is_seen_too() -> None:
    (stop,) = snapshot([], [STOP]).stops
    assert (stop.client_id, stop.side, stop.quantity) == ("lg1", Side.LONG, D("0.001"))
    assert snapshot([], [STOP | {"symbol": "NOUSDTM"}]).stops == ()


def test_a_page_that_may_not_be_all_is_no_read() -> None:
    with pytest.raises(Unreadable, match="page"):
        snapshot([LONG], [STOP] * 200)
    with pytest.raises(Unreadable, match="totalPage"):
        account.stop_names([paged([STOP], pages=2)])
    assert account.stop_names([paged([STOP, {"symbol": 7}])]) == {NAME}


# -- contracts -----------------------------------------------------------------------------


def test_only_linear_perpetuals_in_usdt_are_listed_and_bitcoin_has_its_name() -> None:
    contracts = [
        CONTRACT | {"multiplier": 0.001},
        CONTRACT | {"symbol": "XBTUSDCM", "quoteCurrency": "USDC", "settleCurrency": "USDC"},
        CONTRACT | {"symbol": "XBTUSDM", "isInverse": True},
        CONTRACT | {"symbol": "XBTMH26", "type": "FFICSX"},
        CONTRACT | {"symbol": "SOLUSDTM", "baseCurrency": "SOL", "expireDate": 1900000000000},
        CONTRACT | {"symbol": "BADUSDTM", "multiplier": 0},
        {"symbol": 7},
    ]
    listed = market.listing_of(done(contracts))
    assert listed.symbols == {NAME: BTC, "SOLUSDTM": "SOL/USDT:USDT"}
    assert listed.sizes[NAME] == D("0.001")
    assert listed.endings == {"SOLUSDTM": 1_900_000_000_000}


def test_a_contract_is_in_base_and_its_largest_order_is_one_at_market() -> None:
    contract = CONTRACT | {"multiplier": 0.001}
    listed = market.instrument_of([done(contract), done(TIERS)], LISTED, NAME)
    assert (listed.quantity_step, listed.quantity_min) == (D("0.001"), D("0.001"))
    assert (listed.quantity_max, listed.stops_max) == (D(100), 200)
    assert tiers_are_continuous(listed)
    older = {name: each for name, each in contract.items() if name != "marketMaxOrderQty"}
    listed = market.instrument_of([done(older), done(TIERS)], LISTED, NAME)
    assert listed.quantity_max == D(1000)


@pytest.mark.parametrize(
    ("contract", "tiers"),
    [
        ({"multiplier": 0.01}, TIERS),
        ({"symbol": "ETHUSDTM"}, TIERS),
        ({"tickSize": 0}, TIERS),
        ({}, []),
        ({}, [TIERS[1], TIERS[1]]),
        ({}, [TIERS[0], TIERS[1] | {"maintainMargin": 0.001}]),
    ],
)
def test_rules_that_contradict_are_no_rules(contract: Any, tiers: list[Any]) -> None:
    answers = [done(CONTRACT | {"multiplier": 0.001} | contract), done(tiers)]
    with pytest.raises(Unreadable):
        market.instrument_of(answers, LISTED, NAME)


# -- proofs --------------------------------------------------------------------------------

PLACE = PlaceStop(BTC, Side.LONG, Quantity(D("0.001")), Price(D(110_000)))
CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D("0.001")))
CANCEL = CancelStop(BTC, Side.LONG, "lg0")
ADD = AddMargin(BTC, Side.LONG, Money(D("1.25")))
NAMED = {"orderId": "234125150956625920", "clientOid": "id1"}
# `documented`: the answer to margin names neither mode nor side.
ADDED = {name: each for name, each in LONG.items() if name not in ("marginMode", "positionSide")}


def reply(action: Action, body: Any, status: int = 200) -> object:
    return orders.reply_of(Heard(status, {}, json.dumps(body)), action, "id1", LISTED)


def envelope(data: Any) -> dict[str, Any]:
    return {"code": "200000", "data": data}


@pytest.mark.parametrize(
    ("action", "data"),
    [(PLACE, NAMED), (CLOSE, NAMED), (CANCEL, {"clientOid": "lg0"}), (ADD, ADDED)],
)
def test_an_answer_proves_itself_or_nothing(action: Action, data: Any) -> None:
    assert reply(action, envelope(data)) == Accepted()
    assert isinstance(reply(action, envelope(data), 502), Unsure)
    for each in (None, {}, [], True, "0.1", [data], {**data, "clientOid": "x", "symbol": "x"}):
        assert isinstance(reply(action, envelope(each)), Unsure), each
    for code in (200000, "200", "", None):
        assert isinstance(reply(action, envelope(data) | {"code": code}), Unsure), code


def test_success_without_a_position_is_how_the_venue_says_that_there_is_none() -> None:
    """ccxt keeps it: the code of success, and words."""
    met = {"code": "200000", "msg": "Position does not exist"}
    assert isinstance(reply(ADD, met), Unsure)


@pytest.mark.parametrize(
    "odd", [{"currentQty": -1}, {"currentQty": 0}, {"symbol": "ETHUSDTM"}, {"crossMode": True}]
)
def test_margin_of_another_position_proves_nothing(odd: Any) -> None:
    assert isinstance(reply(ADD, envelope(ADDED | odd)), Unsure)


@pytest.mark.parametrize("code", REFUSED)
def test_codes_of_the_list_are_proof(code: str) -> None:
    for status in (200, 400, 429):
        assert isinstance(reply(PLACE, {"code": code, "msg": "no"}, status), Refused)


@pytest.mark.parametrize(
    "code", ["500000", "100002", "300010", "300018", "408000", "126038", "400", "999999", 300009]
)
def test_other_codes_prove_nothing(code: object) -> None:
    assert isinstance(reply(CLOSE, {"code": code, "msg": "no"}), Unsure)


@pytest.mark.parametrize(
    ("action", "met"),
    [
        (CLOSE, {"msg": "No open positions to close.", "code": "300009"}),
        (PLACE, {"code": "429000", "msg": "Too many requests. User-level rate limit exceeded."}),
        (CANCEL, {"code": "100004", "msg": "Order is in not cancelable state"}),
        (PLACE, {"code": "400002", "msg": "Invalid KC-API-TIMESTAMP"}),
    ],
)
def test_refusals_that_others_keep_are_refusals(action: Action, met: Any) -> None:
    """`test-fixture`, and one `recorded`: the second."""
    assert isinstance(reply(action, met, 400), Refused)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just("200000"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["code", "msg", "data", "clientOid", "orderId", "symbol"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@given(JUNK, st.sampled_from([200, 400, 502]), st.sampled_from([ADD, PLACE, CANCEL, CLOSE]))
def test_junk_is_no_success(body: Any, status: int, action: Action) -> None:
    assert not isinstance(reply(action, body, status), Accepted)


# -- evidence ------------------------------------------------------------------------------

# `documented`, as one that has filled.
ORDER = STOP | {
    "id": "250444645610336256",
    "stop": "",
    "stopPriceType": "",
    "stopPrice": None,
    "clientOid": "id1",
    "size": 2,
    "dealSize": 2,
    "dealValue": "240.002",
    "avgDealPrice": "120001",
    "status": "done",
}
NONE = {"msg": "error.getOrder.orderNotExist", "code": "100001"}


def heard(body: Any, status: int = 200) -> Heard:
    return Heard(status, {}, json.dumps(body, default=float))


def look(order: Any, waiting: list[Any] | None = None, client_id: str = "id1") -> object:
    answers = [heard(order, 400 if order is NONE else 200), heard(paged(waiting or []))]
    return orders.order_of(answers, client_id, NAME, LISTED)


def test_an_order_is_told_with_the_average_of_its_fills() -> None:
    fill = Fill(Quantity(D("0.002")), Price(D(120_001)))
    assert look(envelope(ORDER)) == OrderFound("id1", resting=False, filled=fill)
    part = envelope(ORDER | {"status": "open"})
    assert look(part) == OrderFound("id1", resting=True, filled=fill)
    ended = envelope(ORDER | {"dealSize": 0, "avgDealPrice": "0"})
    assert look(ended) == OrderFound("id1", resting=False, filled=NO_FILL)
    stop = envelope(STOP)
    assert look(stop, client_id="lg1") == OrderFound("lg1", resting=True, filled=NO_FILL)


@pytest.mark.parametrize(
    "odd",
    [
        {"status": "match"},
        {"clientOid": "id2"},
        {"symbol": "ETHUSDTM"},
        {"avgDealPrice": "0"},
        {"dealSize": None},
    ],
)
def test_an_order_that_is_another_or_half_told_is_no_read(odd: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        look(envelope(ORDER | odd))


def test_only_the_code_and_the_words_for_it_are_absence_and_only_if_it_waits_nowhere() -> None:
    assert look(NONE) == OrderAbsent()
    assert look(NONE, [STOP]) == OrderAbsent()
    waits = OrderFound("lg1", resting=True, filled=NO_FILL)
    assert look(NONE, [STOP], "lg1") == waits
    for body in (NONE | {"msg": "There are invalid parameters"}, NONE | {"code": "500000"}, {}):
        with pytest.raises(Unreadable):
            look(body)
    with pytest.raises(Unreadable, match="502"):
        orders.order_of([heard(NONE), heard(paged([]), 502)], "id1", NAME, LISTED)


# -- prices and streams --------------------------------------------------------------------


def test_marks_come_with_their_bills_and_a_bad_one_hides_no_mark() -> None:
    """What a contract calls the time of its next bill is how long it is until then."""
    contracts = done([CONTRACT, {"symbol": 5}, {}, CONTRACT | {"symbol": "ETHUSDTM"}])
    marks = market.marks_of((contracts, done(BILL), done({})), LISTED)
    expected = Marked(BTC, Price(D(60_000)), Ratio(D("0.0001")), 1_900_000_800_000)
    assert marks == (expected, Marked("ETH/USDT:USDT", Price(D(60_000)), Ratio(D(0)), 0))
    assert market.interval_of(done(BILL), NAME) == 28_800_000


@pytest.mark.parametrize("odd", ["XBTUSDTM", "XBTUSDTMFPI8H", ".XBTUSDTM", ""])
def test_a_bill_of_no_contract_that_is_named_is_none(odd: str) -> None:
    (mark,) = market.marks_of((done([CONTRACT]), done(BILL | {"symbol": odd})), LISTED)
    assert (mark.price, mark.rate, mark.next_at_ms) == (D(60_000), D(0), 0)


def test_a_frame_brings_the_mark_of_its_contract_and_nothing_else() -> None:
    """As a client has its fields (docs-new/3470272w0); of the ticker it keeps a whole frame."""
    frame = {"T": "mark-price.FUTURES", "P": 1, "d": {"s": NAME, "mp": "60000.1", "ip": "1"}}
    assert market.mark_frame(frame, LISTED) == (Marked(BTC, Price(D("60000.1")), Ratio(D(0)), 0),)
    ticker = {"T": "ticker.SPOT", "P": 1768206966101166007, "d": {"s": NAME, "l": "90968.2"}}
    for other in (ticker, {"id": "1", "result": True}, {"id": "1", "type": "pong"}, {}):
        assert market.mark_frame(other, LISTED) == ()
    elsewhere = {"T": "mark-price.FUTURES", "d": {"s": "NOUSDTM", "mp": "1"}}
    assert market.mark_frame(elsewhere, LISTED) == ()
    with pytest.raises(Unreadable):
        market.mark_frame(frame | {"d": {"s": NAME, "mp": "0"}}, LISTED)


def test_each_contract_is_asked_for_by_name_on_the_stream_of_marks() -> None:
    opening = market.marks_opening([NAME, "ETHUSDTM"], 0)
    assert opening.url == "wss://x-push-futures.kucoin.com"
    asked = [json.loads(text) for text in opening.asks]
    assert [each["symbol"] for each in asked] == [NAME, "ETHUSDTM"]
    assert {(each["action"], each["channel"], each["tradeType"]) for each in asked} == {
        ("subscribe", "mark-price", "FUTURES")
    }
    assert len({each["id"] for each in asked}) == 2


def test_bars_are_hours_that_are_over_whatever_their_order() -> None:
    """`test-fixture`: a time, open, high, low, close and volume."""
    hour = 3_600_000
    candles = [[at * hour, 1, 3, 0.5, 2 + at, 0] for at in (3, 1, 2)]
    bars = market.bars_of(done(candles), BTC, 3 * hour + 5).bars
    assert [(each.high, each.low) for each in bars] == [(D(3), D("0.5"))] * 2
    assert [each.close for each in bars] == [D(3), D(4)]
    assert market.bars_call(NAME).parameters == {"symbol": NAME, "granularity": "60"}
    many = [[at * hour, 1, 3, 0.5, 2, 0] for at in range(500)]
    assert len(market.bars_of(done(many), BTC, 499 * hour).bars) == 168


def test_the_stream_of_an_account_is_opened_with_its_token_and_no_key() -> None:
    keys = Credentials(SecretStr("a-key"), SecretStr("a-secret"), SecretStr("a-phrase"))
    server = {"endpoint": "wss://ws-api-futures.kucoin.com/", "pingInterval": 18000}
    answer = done({"token": "a+b/c==", "instanceServers": [server]})
    opening = account.account_opening([answer], keys, 7)
    assert opening.url == "wss://ws-api-futures.kucoin.com/?token=a%2Bb%2Fc%3D%3D&connectId=7"
    topics = {json.loads(each)["topic"] for each in opening.asks}
    assert topics == {
        "/contract/positionAll",
        "/contractMarket/tradeOrders",
        "/contractMarket/advancedOrders",
    }
    assert not any("a-secret" in each or "a-key" in each for each in (opening.url, *opening.asks))


@pytest.mark.parametrize(
    "odd",
    [
        {"instanceServers": []},
        {"instanceServers": [{"endpoint": "ws://elsewhere"}]},
        {"instanceServers": None},
        {"token": ""},
    ],
)
def test_a_token_without_a_place_for_it_opens_nothing(odd: Any) -> None:
    keys = Credentials(SecretStr("k"), SecretStr("s"), SecretStr("p"))
    good = {"token": "t", "instanceServers": [{"endpoint": "wss://there"}]}
    with pytest.raises(Unreadable):
        account.account_opening([done(good | odd)], keys, 7)


POSITION = {"topic": f"/contract/position:{NAME}", "subject": "position.change"}


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        # `documented`
        (POSITION | {"data": {"currentQty": 1, "changeReason": "positionChange"}}, AccountChanged),
        ({"topic": "/contractMarket/advancedOrders", "data": {"type": "open"}}, AccountChanged),
        ({"topic": f"/contractMarket/tradeOrders:{NAME}", "data": {}}, AccountChanged),
        # `test-fixture`
        (POSITION | {"data": {"currentQty": 1, "changeReason": "liquidation"}}, AccountChanged),
        (POSITION | {"subject": "position.settlement", "data": {"qty": 100}}, AccountChanged),
        (POSITION | {"data": {"markPrice": 1, "changeReason": "markPriceChange"}}, Irrelevant),
        (POSITION | {"data": {"currentQty": 1, "changeReason": "markPriceChange"}}, Irrelevant),
        (POSITION | {"data": {"markPrice": 7947.83}}, Irrelevant),
        ({"topic": "/contractAccount/wallet", "data": {}}, Irrelevant),
        ({"id": "1", "type": "welcome"}, Irrelevant),
        ({"id": "1", "type": "ack"}, Irrelevant),
        ({"id": "1", "type": "pong"}, Irrelevant),
        ({"id": "1", "type": "error", "code": 415, "data": "type is not supported"}, StreamEnded),
    ],
)
def test_frames_ring_or_end_the_stream_and_a_moving_mark_is_no_alarm(
    frame: Any, expected: type
) -> None:
    assert isinstance(account.account_frame(frame, LISTED, 5), expected)


# -- before the start ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("permission", "mode", "position", "expected"),
    [
        ("General,Futures", "CLASSIC", {}, ""),
        ("General, Spot, Margin, Earn, Futures", "CLASSIC", {"autoDeposit": False}, ""),
        ("General,Spot", "CLASSIC", {}, "without Futures"),
        ("General,Futures,Withdrawal", "CLASSIC", {}, "Withdrawal"),
        ("General,Futures,Transfer", "CLASSIC", {}, "Transfer"),
        ("General,Futures,InnerTransfer", "CLASSIC", {}, "InnerTransfer"),
        ("General,Futures,SomethingNew", "CLASSIC", {}, "SomethingNew"),
        ("General,Futures", "UNIFIED", {}, "UNIFIED"),
        ("General,Futures", "CLASSIC", {"autoDeposit": True}, "auto-margin"),
        ("General,Futures", "CLASSIC", {"autoDeposit": True, "currentQty": 0}, ""),
    ],
)
def test_a_key_or_account_that_cannot_be_guarded_is_refused(
    permission: str, mode: str, position: Any, expected: str
) -> None:
    key = done(KEY | {"permission": permission})
    answers = [key, done({"selfAccountMode": mode}), done([LONG | position])]
    found = (*account.refusals(answers), *account.unsupported(answers))
    assert len(found) == (1 if expected else 0)
    assert expected in " ".join(found)
    assert account.unproven(answers) == ()


def test_cross_margin_is_not_among_what_the_adapter_can() -> None:
    """`documented`: of a classic account its requirement is a continuous value, not a table."""
    assert MATRIX["kucoin"].margin_modes == {MarginMode.ISOLATED}


STATE = [done(MONEY), done([LONG])]
READS: Mapping[str, tuple[Any, Callable[[Any], object]]] = {
    "snapshot": (
        [done({"positionMode": 0}), *STATE, paged([STOP])],
        lambda it: account.snapshot_of(it[:1], it[1:3], it[3:], LISTED, 5),
    ),
    "names": (
        [done([LONG]), paged([STOP])],
        lambda it: (account.held_names([None, it[0]]), account.stop_names([it[1]])),
    ),
    "rules": (
        [done(CONTRACT | {"multiplier": 0.001}), done(TIERS)],
        lambda it: market.instrument_of(it, LISTED, NAME),
    ),
    "listing": (done([CONTRACT]), market.listing_of),
    "interval": (done(BILL), lambda it: market.interval_of(it, NAME)),
    "marks": ([done([CONTRACT]), done(BILL)], lambda it: market.marks_of(it, LISTED)),
    "bars": (
        done([[3_600_000, 1, 3, 0.5, 2, 0]]),
        lambda it: market.bars_of(it, BTC, 9_000_000),
    ),
    "mark frame": (
        {"T": "mark-price.FUTURES", "d": {"s": NAME, "mp": "1"}},
        lambda it: market.mark_frame(it, LISTED),
    ),
    "account frame": (
        POSITION | {"data": {"currentQty": 1, "changeReason": "x"}},
        lambda it: account.account_frame(it, LISTED, 5),
    ),
    "order": (
        [envelope(ORDER), paged([])],
        lambda it: orders.order_of([heard(each) for each in it], "id1", NAME, LISTED),
    ),
    "stop": (
        [NONE, paged([STOP])],
        lambda it: orders.order_of([heard(each) for each in it], "lg1", NAME, LISTED),
    ),
    "time": (done(1_732_519_690_123), market.time_of),
    "before the start": (
        [done(KEY), done({"selfAccountMode": "CLASSIC"}), done([LONG])],
        account.refusals,
    ),
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
        "KC-API-KEY": "a-key",
        "KC-API-PASSPHRASE": "a-phrase",
        "KC-API-TIMESTAMP": str(system_wall_ms()),
        "KC-API-SIGN": "x",
    }
    asked = Asked("GET", "/api/v1/positions", {"currency": "USDT"}, headers, None)
    assert KucoinDesk().answer(asked).json["code"] == "400005"


# -- recipes -------------------------------------------------------------------------------


def test_no_recipe_can_open_or_trigger_on_the_last_price_or_be_of_another_margin() -> None:
    kept = golden("kucoin")
    assert len(kept) == 20
    for name, sent in kept.items():
        body, is_long, is_hedge = sent["body"], " long:" in name, name.startswith("hedge")
        side = {"positionSide": "LONG" if is_long else "SHORT"} if is_hedge else {}
        if "cancel" in name:
            assert (sent["method"], body, sent["query"]) == ("DELETE", None, {"symbol": NAME})
            assert sent["path"].endswith("/orders/client-order/lgresting0000000000000000ab")
            continue
        assert (sent["method"], sent["query"]) == ("POST", {})
        assert {key: each for key, each in body.items() if key == "positionSide"} == side
        if "margin" in name:
            assert sent["path"].endswith("/position/margin/deposit-margin")
            named = {"symbol": NAME, "margin": "25.756", "bizNo": "lgabcd0123456789abcdefghij"}
            assert body == named | side
            continue
        assert sent["path"] == "/api/v1/orders"
        assert (body["side"], body["reduceOnly"]) == ("sell" if is_long else "buy", True)
        assert body["marginMode"] == "ISOLATED"
        assert body["leverage"] == 1
        assert not {"closeOrder", "forceHold", "qty", "valueQty"} & body.keys()
        if "stop" in name:
            trigger = ("down", "57000") if is_long else ("up", "63000")
            assert (body["stop"], body["stopPrice"]) == trigger
            assert (body["type"], body["stopPriceType"], body["size"]) == ("market", "MP", 1000)
        else:
            assert not {"stop", "stopPrice", "stopPriceType"} & body.keys()
            within = ("limit", "IOC") if "within" in name else ("market", None)
            assert (body["type"], body.get("timeInForce")) == within
            assert body["size"] == 471


@pytest.mark.parametrize("action", [PLACE, CLOSE])
def test_an_order_of_a_cross_position_says_so(action: Action) -> None:
    """No policy for it is taken, but the venue would take isolated for what is not said."""
    ground = Ground(PositionMode.HEDGE, (), (done(MONEY), done([CROSS])))
    call = orders.write_call(action, "id1", LISTED, ground)
    assert isinstance(call, Call)
    assert (call.parameters["marginMode"], call.parameters["positionSide"]) == ("CROSS", "LONG")


@pytest.mark.parametrize(
    ("action", "held", "why"),
    [
        (CLOSE, [], "position"),
        (PLACE, [SHORT], "position"),
        (PLACE, [LONG | {"symbol": "ETHUSDTM"}], "position"),
        (PLACE, [LONG | {"marginMode": "?"}], "position"),
        (ClosePosition(BTC, Side.LONG, Quantity(D("0.0015"))), [LONG], "whole lots"),
    ],
)
def test_without_the_position_or_with_part_of_a_lot_nothing_is_sent(
    action: Action, held: list[Any], why: str
) -> None:
    ground = Ground(PositionMode.ONE_WAY, (), (done(MONEY), done(held)))
    answer = orders.write_call(action, "id1", LISTED, ground)
    assert isinstance(answer, Refused)
    assert answer.code == "NOT_SENT"
    assert why in answer.text


@given(
    st.integers(1, 10**6), st.sampled_from(["1000", "10", "1", "0.1", "0.01", "0.001", "0.00001"])
)
def test_a_quantity_is_sent_as_the_lots_that_it_is_made_of_or_not_at_all(
    lots: int, size: str
) -> None:
    listed = Listed({NAME: BTC}, {NAME: D(size)})
    ground = Ground(PositionMode.ONE_WAY, (), (done(MONEY), done([LONG])))
    call = orders.write_call(
        ClosePosition(BTC, Side.LONG, Quantity(lots * D(size))), "id1", listed, ground
    )
    assert isinstance(call, Call)
    assert call.parameters["size"] == lots
    part = ClosePosition(BTC, Side.LONG, Quantity((lots + D("0.5")) * D(size)))
    assert isinstance(orders.write_call(part, "id1", listed, ground), Refused)


def of_ccxt(**how: Any) -> dict[str, Any]:
    """What ccxt's own class would put into an order, without sending it."""
    client = ccxt.async_support.kucoinfutures({"timeout_on_exit": 0})
    client.set_markets(
        [
            {
                "id": NAME, "symbol": BTC, "base": "BTC", "quote": "USDT", "settle": "USDT",
                "baseId": "XBT", "quoteId": "USDT", "settleId": "USDT", "type": "swap",
                "spot": False, "margin": False, "swap": True, "future": False, "option": False,
                "active": True, "contract": True, "linear": True, "inverse": False,
                "contractSize": 0.001, "precision": {"amount": 1, "price": 0.1},
                "limits": {"amount": {}, "price": {}, "cost": {}, "leverage": {}}, "info": {},
            }
        ]
    )  # fmt: skip
    try:
        built = client.create_contract_order_request(
            BTC, how.pop("kind", "market"), how.pop("side"), 1, how.pop("price", None), how
        )
    finally:
        asyncio.run(client.close())
    assert isinstance(built, dict)
    return built


@pytest.mark.parametrize("mode", PositionMode)
@pytest.mark.parametrize("side", Side)
def test_ours_differs_from_ccxts_recipe_only_where_a_table_says_so(
    mode: PositionMode, side: Side
) -> None:
    """docs/recipes-kucoin.md: it sends no margin mode unless told."""
    is_hedge = mode is PositionMode.HEDGE
    row = LONG | {"positionSide": side.upper()} if is_hedge else LONG
    row |= {"currentQty": side.sign}
    ground = Ground(mode, (), (done(MONEY), done([row])))
    closing = "sell" if side is Side.LONG else "buy"
    told = {"side": closing, "clientOid": "id1", "reduceOnly": True, "marginMode": "ISOLATED"}
    told |= {"hedged": is_hedge}
    of = (BTC, side, Quantity(D("0.001")))
    for ours, theirs in (
        (PlaceStop(*of, Price(D(110_000))), told | {"stopLossPrice": 110_000}),
        (ClosePosition(*of), told),
        (
            ClosePosition(*of, NoWorseThan(Price(D(110_000)))),
            told | {"kind": "limit", "price": 110_000, "timeInForce": "IOC"},
        ),
    ):
        call = orders.write_call(ours, "id1", LISTED, ground)
        assert isinstance(call, Call)
        assert call.parameters == of_ccxt(**theirs)
        bare = {name: each for name, each in theirs.items() if name != "marginMode"}
        assert "marginMode" not in of_ccxt(**bare)
