"""
Kraken's answers as the venue documents them, answers that nobody should believe, and recipes held
against ccxt's own.

Shapes are those of its papers (`documented`); where a row is one that its stream pushed or a
client library keeps (`recorded`, `test-fixture`) it says so. Other figures are ours.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import ccxt.async_support
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bot.app import LiveMode
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, NoWorseThan, PlaceStop
from bot.core.events import AutoDeleveraged, Liquidated
from bot.core.ids import Birth, client_id
from bot.core.model import (
    NO_FILL,
    Fill,
    MaintenanceAt,
    MarginMode,
    NotReported,
    PositionKey,
    PositionMode,
    Side,
    TierMeasure,
)
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.calls import Call, Heard, Unreadable, parse_json
from bot.exchange.live.connection import Loopback, reach
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Ground, Irrelevant, Listed, StreamEnded
from bot.exchange.live.findings import CheckFailed, require_sound
from bot.exchange.live.transport import RECV_WINDOW_MS
from bot.exchange.ports import (
    Accepted,
    AccountChanged,
    OrderAbsent,
    OrderFound,
    Refused,
    Unreachable,
    Unsure,
)
from bot.exchange.venues import krakenfutures_account as venue
from bot.exchange.venues import krakenfutures_market as market
from bot.exchange.venues import krakenfutures_orders as orders
from bot.exchange.venues.krakenfutures import RULES
from bot.exchange.venues.krakenfutures_client import KrakenFutures
from bot.exchange.venues.krakenfutures_refusals import ERRORS, STATUSES
from bot.live import LiveKeys, _doctor, _lacks
from bot.policy.loader import parse_policy
from tests.exchange.venues.capture import golden
from tests.exchange.venues.krakenfutures_desk import (
    CONTRACT,
    ETH,
    INDEX,
    INVERSE,
    KrakenDesk,
)
from tests.exchange.venues.stage import BASE64_KEYS, Book, staged
from tests.exchange.venues.test_guarded import CROSS_POLICY, POLICY

D = Decimal
BTC = "BTC/USD:USD"
LISTED = Listed(
    {"PF_XBTUSD": BTC, "PF_ETHUSD": "ETH/USD:USD"}, {"PF_XBTUSD": D(1), "PF_ETHUSD": D(1)}
)

# `documented`: the wallet, with one coin alone.
WALLET: dict[str, Any] = {
    "type": "multiCollateralMarginAccount",
    "currencies": {"USD": {"quantity": 5000, "value": 5000, "collateral": 5000}},
    "balanceValue": 5000,
    "portfolioValue": 5040.5,
    "collateralValue": 5000,
    "initialMargin": 120,
    "initialMarginWithOrders": 120,
    "maintenanceMargin": 60,
    "pnl": 41,
    "unrealizedFunding": -0.5,
    "totalUnrealized": 40.5,
    "totalUnrealizedAsMargin": 40.5,
    "marginEquity": 5040.5,
    "availableMargin": 4920.5,
}
# `documented`: a cross position; the venue leaves out or nulls what there is none of.
LONG: dict[str, Any] = {
    "side": "long",
    "symbol": "PF_XBTUSD",
    "price": 60000,
    "fillTime": "2026-05-20T19:15:25.438Z",
    "size": 0.1,
    "unrealizedFunding": -0.5,
    "pnlCurrency": "USD",
    "maxFixedLeverage": None,
}
# `test-fixture`: a row of a client library, its contract written small.
SMALL = {
    "fillTime": "2022-04-20T19:15:25.438Z",
    "price": 2500,
    "side": "short",
    "size": 2,
    "symbol": "pf_ethusd",
    "unrealizedFunding": -0.0073428045972263895,
}
# `documented`: a stop; whether one without a limit has a field for it is not told.
STOP: dict[str, Any] = {
    "order_id": "59302619-41d2-4f0b-941f-7e7914760ad3",
    "cliOrdId": "lg1",
    "symbol": "PF_XBTUSD",
    "side": "sell",
    "orderType": "stop",
    "stopPrice": 57000.5,
    "unfilledSize": 0.1,
    "filledSize": 0,
    "status": "untouched",
    "reduceOnly": True,
    "triggerSignal": "mark",
}


def told(**parts: Any) -> Any:
    at = "2026-02-25T09:45:53.818Z"
    return json_of({"result": "success", "serverTime": at, **parts})


def json_of(answer: Any) -> Any:
    """As it would arrive: numbers are exact."""
    return parse_json(json.dumps(answer))


def state(
    *positions: Mapping[str, Any], wallet: Mapping[str, Any] = WALLET
) -> tuple[dict[str, Any], ...]:
    return told(accounts={"flex": wallet}), told(openPositions=list(positions))


def snapshot(
    *positions: Mapping[str, Any],
    stops: tuple[Mapping[str, Any], ...] = (),
    wallet: Mapping[str, Any] = WALLET,
) -> Any:
    waiting = told(openOrders=list(stops))
    return venue.snapshot_of((), state(*positions, wallet=wallet), (waiting,), LISTED, 7)


# -- the account ---------------------------------------------------------------------------


def test_a_wallet_of_dollars_backs_all_positions() -> None:
    seen = snapshot(LONG, SMALL)
    short, long = sorted(seen.positions, key=lambda each: each.side, reverse=True)
    assert (long.symbol, long.side, long.quantity) == (BTC, Side.LONG, D("0.1"))
    assert (short.symbol, short.side, short.quantity) == ("ETH/USD:USD", Side.SHORT, D(2))
    assert {each.margin_mode for each in seen.positions} == {MarginMode.CROSS}
    assert {each.isolated_margin for each in seen.positions} == {D(0)}
    assert {each.liquidation for each in seen.positions} == {NotReported()}
    assert {each.leverage for each in seen.positions} == {D(11_000) / D(120)}
    assert seen.position_mode is PositionMode.ONE_WAY
    assert seen.wallet_balance == D("4999.5"), "funding that is not settled counts already"
    assert seen.free == D("4920.5")


def test_profit_of_today_is_no_free_money() -> None:
    seen = snapshot(LONG, wallet=WALLET | {"availableMargin": 9_000})
    assert seen.free == seen.wallet_balance
    assert snapshot(LONG, wallet=WALLET | {"availableMargin": -1}).free == D(0)


def test_other_coins_count_as_nothing_and_a_debt_in_one_is_no_read() -> None:
    coins = {"USD": {"quantity": 5000}, "XBT": {"quantity": 0.1185308247, "value": 4998.72}}
    seen = snapshot(LONG, wallet=WALLET | {"currencies": coins})
    assert seen.wallet_balance == D("4999.5")
    owed = coins | {"EUR": {"quantity": -1}}
    with pytest.raises(Unreadable, match=r"EUR\.quantity: expected no debt"):
        snapshot(LONG, wallet=WALLET | {"currencies": owed})
    less = {"USD": {"quantity": -20}}
    assert snapshot(LONG, wallet=WALLET | {"currencies": less}).wallet_balance == D("-20.5")


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (LONG | {"maxFixedLeverage": 5}, "margin of an isolated position is not told"),
        (LONG | {"pnlCurrency": "BTC"}, "pnlCurrency"),
        (LONG | {"symbol": "FF_XBTUSD_261225"}, "symbol"),
        (LONG | {"symbol": "PI_XBTUSD"}, "symbol"),
        (LONG | {"side": "flat"}, "side"),
        (LONG | {"price": 0}, "price"),
        (LONG | {"size": -1}, "size"),
        (LONG | {"size": "NaN"}, "size"),
    ],
)
def test_what_cannot_be_judged_is_garbled_and_costs_no_other_row(
    row: dict[str, Any], word: str
) -> None:
    seen = snapshot(SMALL, row)
    assert [each.symbol for each in seen.positions] == ["ETH/USD:USD"]
    (garbled,) = seen.garbled
    assert word in garbled.reason
    assert not seen.tells_of(garbled.symbol)


@pytest.mark.parametrize("name", ["currencies", "unrealizedFunding", "availableMargin"])
def test_a_wallet_that_is_not_told_is_no_read(name: str) -> None:
    less = {key: value for key, value in WALLET.items() if key != name}
    with pytest.raises(Unreadable, match=name):
        snapshot(wallet=less)


def test_an_error_is_no_answer_to_a_read() -> None:
    wrong = {"result": "error", "error": "apiLimitExceeded"}
    with pytest.raises(Unreadable, match="result"):
        venue.snapshot_of((), (told(accounts={"flex": WALLET}), wrong), (), LISTED, 7)


def test_stops_are_market_orders_on_the_mark_and_one_bad_row_hides_no_other() -> None:
    unnamed = {key: value for key, value in STOP.items() if key != "cliOrdId"}
    on_last = STOP | {"triggerSignal": "last"}
    limited = STOP | {"limitPrice": 56000}
    profit = STOP | {"orderType": "take_profit"}
    plain = STOP | {"orderType": "lmt", "limitPrice": 61000}
    garbage = STOP | {"unfilledSize": "many"}
    for row in (on_last, limited, profit, plain, garbage):
        assert snapshot(LONG, stops=(row,)).stops == ()
    ours = STOP | {"limitPrice": None, "side": "buy", "symbol": "pf_xbtusd", "orderType": "stp"}
    seen = snapshot(LONG, stops=(garbage, unnamed, on_last, ours)).stops
    assert [(each.client_id, each.side) for each in seen] == [
        (STOP["order_id"], Side.LONG),
        ("lg1", Side.SHORT),
    ]
    assert {(each.trigger_price, each.quantity) for each in seen} == {(D("57000.5"), D("0.1"))}


def test_a_guards_stop_is_seen_whatever_limit_the_venue_lists_it_with() -> None:
    """That it may have one no paper says; unseen, another would be placed again and again."""
    ours = client_id(Birth("main", 1_772_012_753_818), PositionKey(BTC, Side.LONG), "stop", 1, 1)
    (seen,) = snapshot(LONG, stops=(STOP | {"cliOrdId": ours, "limitPrice": 56430.5},)).stops
    assert (seen.client_id, seen.trigger_price) == (ours, D("57000.5"))


def test_a_stop_that_is_in_several_answers_is_one() -> None:
    """The venue lists what waits in all contracts, whichever it is asked for."""
    waiting = told(openOrders=[STOP])
    seen = venue.snapshot_of((), state(LONG), (waiting, waiting), LISTED, 7)
    assert len(seen.stops) == 1
    assert venue.stop_names((waiting, waiting)) == {"PF_XBTUSD"}


# -- levels of margin ----------------------------------------------------------------------

HALF = {"numNonContractUnits": 0, "initialMargin": 0.1, "maintenanceMargin": 0.05}
SOME = [
    {"numNonContractUnits": 0, "initialMargin": 0.02, "maintenanceMargin": 0.01},
    {"numNonContractUnits": 500000, "initialMargin": 0.04, "maintenanceMargin": 0.02},
]
ROW = CONTRACT | {
    "marginLevels": SOME,
    "retailMarginLevels": [HALF],
    "marginSchedules": {"dlt": {"professional": SOME}, "europa": {"retail": [HALF]}},
}


def tiers_of(
    needed: object, *positions: Mapping[str, Any], row: Mapping[str, Any] = ROW
) -> list[tuple[object, ...]]:
    contracts = told(instruments=[INDEX, INVERSE, row, ETH | {"marginSchedules": {}}])
    wallet = WALLET | {"maintenanceMargin": needed}
    jsons = (contracts, *state(*positions, wallet=wallet))
    made = market.instrument_of(jsons, LISTED, "PF_XBTUSD")
    assert made.tiers[-1].cap == D("Infinity")
    assert [each.cap for each in made.tiers[:-1]] == [each.floor for each in made.tiers[1:]]
    is_of_value = made.rules.tier_measure is TierMeasure.VALUE
    entry = D(1) if is_of_value else D(str(positions[0]["price"]))
    return [(round(each.floor * entry, 9), each.rate, each.deduction) for each in made.tiers]


def test_the_accounts_own_margin_tells_which_levels_it_has() -> None:
    assert tiers_of(60, LONG) == [(0, D("0.01"), 0), (500_000, D("0.02"), 0)]
    assert tiers_of(300, LONG) == [(0, D("0.05"), 0)]


def test_the_margins_of_a_pushed_row_are_those_of_its_entry_price() -> None:
    """`recorded`: 0.5 LTC bought at 70.53, at a mark of 68.80433882446."""
    pushed = LONG | {"size": 0.5, "price": 70.53}
    assert tiers_of(0.35265, pushed)[0][1] == D("0.01")
    assert RULES.maintenance_at is MaintenanceAt.ENTRY
    with pytest.raises(Unreadable, match=r"expected levels of margin that ask 0\.344"):
        tiers_of(0.3440216941, pushed)  # what 1 % of its value at the mark would be


def test_a_large_position_tells_whether_a_level_is_for_all_of_it() -> None:
    """600,000 at entry: 2 % of it whole, or 1 % of 500,000 and 2 % of the rest."""
    large = LONG | {"size": 10}
    assert tiers_of(12_000, large) == [(0, D("0.01"), 0), (500_000, D("0.02"), 0)]
    assert tiers_of(7_000, large) == [(0, D("0.01"), 0), (500_000, D("0.02"), 5_000)]


def test_what_does_not_add_up_has_no_rules() -> None:
    for needed in (0, 59, 61, 120):
        with pytest.raises(Unreadable, match="expected levels of margin that ask"):
            tiers_of(needed, LONG)


def test_with_nothing_held_no_margin_tells_anything() -> None:
    with pytest.raises(Unreadable, match="expected a position in it"):
        tiers_of(0)
    with pytest.raises(Unreadable, match="expected a position in it"):
        tiers_of(20, SMALL)


def test_of_levels_that_fit_the_strictest_count() -> None:
    higher = [SOME[0], SOME[1] | {"initialMargin": 0.1, "maintenanceMargin": 0.05}]
    row = ROW | {"marginSchedules": {"dlt": {"professional": higher}}}
    assert tiers_of(60, LONG, row=row) == [(0, D("0.01"), 0), (500_000, D("0.05"), 0)]


def test_margins_of_inverse_contracts_are_in_wallets_of_their_own() -> None:
    inverse = LONG | {"symbol": "PI_XBTUSD", "size": 8000}
    assert tiers_of(60, LONG, inverse)[0][1] == D("0.01")
    with pytest.raises(Unreadable, match="symbol"):
        tiers_of(60, LONG, LONG | {"symbol": "FF_XBTUSD_261225"})


def test_all_positions_together_have_to_add_up() -> None:
    ether = SMALL | {"price": 2500}  # 5,000 at 0.4 %, or at 25 % of the retail levels
    contracts = told(instruments=[ROW, ETH | {"marginSchedules": {}}])

    def tiers(needed: object) -> list[Decimal]:
        jsons = (contracts, *state(LONG, ether, wallet=WALLET | {"maintenanceMargin": needed}))
        return [each.rate for each in market.instrument_of(jsons, LISTED, "PF_XBTUSD").tiers]

    assert tiers(80) == [D("0.01"), D("0.02")]
    assert tiers(1_550) == [D("0.05")]
    with pytest.raises(Unreadable, match="expected levels of margin that ask"):
        tiers(320)  # one of each kind


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (ROW | {"marginLevels": []}, "levels from 0 on"),
        (ROW | {"marginLevels": SOME[1:]}, "levels from 0 on"),
        (ROW | {"marginLevels": [SOME[0], SOME[0]]}, "levels from 0 on"),
        (ROW | {"marginLevels": [SOME[0], SOME[1] | {"maintenanceMargin": 0.001}]}, "rising"),
        (ROW | {"marginLevels": [SOME[0] | {"maintenanceMargin": 0}]}, "above 0"),
        (ROW | {"marginSchedules": []}, "an object"),
        ({key: value for key, value in ROW.items() if key != "marginLevels"}, "marginLevels"),
    ],
)
def test_levels_that_are_none_are_no_rules(row: dict[str, Any], word: str) -> None:
    with pytest.raises(Unreadable, match=word):
        tiers_of(60, LONG, row=row)


_floors = st.lists(
    st.integers(min_value=1, max_value=10**7), unique=True, min_size=0, max_size=4
).map(sorted)


@st.composite
def tables(draw: st.DrawFn) -> tuple[market.Level, ...]:
    floors = [0, *draw(_floors)]
    rates = sorted(
        draw(
            st.lists(
                st.decimals(D("0.001"), D("0.5"), places=3),
                min_size=len(floors),
                max_size=len(floors),
            )
        )
    )
    return tuple(
        market.Level(D(floor), rate, rate * 2) for floor, rate in zip(floors, rates, strict=True)
    )


@given(st.lists(tables(), min_size=1, max_size=3), st.decimals(D(1), D(10**8), places=2))
def test_the_strictest_levels_never_ask_less(
    several: list[tuple[market.Level, ...]], value: Decimal
) -> None:
    strict = market._strictest(several)
    for form in (market._whole, market._sliced):
        most = market._asked(form(strict, "x"), value)
        assert all(market._asked(form(each, "x"), value) <= most for each in several)
    whole, sliced = (market._asked(form(strict, "x"), value) for form in market.FORMS)
    assert sliced <= whole


@given(tables(), st.decimals(D(1), D(10**8), places=2))
def test_slices_are_what_one_adds_up_by_hand(
    table: tuple[market.Level, ...], value: Decimal
) -> None:
    by_hand = D(0)
    for at, level in enumerate(table):
        upper = table[at + 1].floor if at + 1 < len(table) else value
        by_hand += max(min(value, upper) - level.floor, D(0)) * level.maintenance
    assert market._asked(market._sliced(table, "x"), value) == by_hand


# -- contracts and prices ------------------------------------------------------------------


def test_linear_perpetuals_that_trade_are_listed() -> None:
    fixed = CONTRACT | {"symbol": "FF_XBTUSD_261225", "lastTradingTime": "2026-12-25T15:00:00Z"}
    off = CONTRACT | {"symbol": "PF_OLDUSD", "tradeable": False}
    old = ETH | {"symbol": "PF_DOGEUSD", "base": "XDG"}
    nothing = {"symbol": "PF_NONEUSD", "type": "flexible_futures"}
    rows = [INDEX, INVERSE, fixed, off, nothing, None, CONTRACT | {"base": "XBT"}, ETH, old]
    found = market.listing_of(told(instruments=rows))
    assert found.symbols == {**LISTED.symbols, "PF_DOGEUSD": "DOGE/USD:USD"}
    assert set(found.sizes.values()) == {D(1)}


def test_a_precision_below_nothing_is_a_step_of_thousands() -> None:
    """`test-fixture`: PF_PEPEUSD, in thousands of coins, at a tick of 1e-10."""
    pepe = CONTRACT | {
        "symbol": "PF_XBTUSD",
        "contractValueTradePrecision": -3,
        "tickSize": 1e-10,
    }
    jsons = (told(instruments=[pepe]), *state(LONG, wallet=WALLET | {"maintenanceMargin": 24}))
    made = market.instrument_of(jsons, LISTED, "PF_XBTUSD")
    assert (made.quantity_step, made.quantity_min) == (D(1000), D(1000))
    assert made.tick_size == D("1e-10")
    assert (made.settle, made.taker_fee) == ("USD", D("0.0005"))


def test_the_clock_is_in_every_answer() -> None:
    assert market.time_of(told()) == 1_772_012_753_818
    for wrong in ("soon", "2026-02-25T09:45:53.818", ""):
        with pytest.raises(Unreadable, match="serverTime"):
            market.time_of({"result": "success", "serverTime": wrong})
    with pytest.raises(Unreadable, match="result"):
        market.time_of({"result": "error", "serverTime": "2026-02-25T09:45:53.818Z"})


def test_a_pushed_ticker_tells_the_mark_and_the_hourly_rate() -> None:
    """`recorded`: the ticker of PF_ETHUSD, the funding rate both in dollars and as a rate."""
    frame = {
        "time": 1783587648112,
        "product_id": "PF_ETHUSD",
        "funding_rate": 0.032725177043125,
        "relative_funding_rate": 0.0000186711875,
        "next_funding_rate_time": 1783591200000,
        "feed": "ticker",
        "suspended": False,
        "tag": "perpetual",
        "markPrice": 1751.97553924942,
        "index": 1751.75,
        "last": 1751.7,
    }
    (mark,) = market.mark_frame(json_of(frame), LISTED)
    assert (mark.symbol, mark.price) == ("ETH/USD:USD", D("1751.97553924942"))
    assert (mark.rate, mark.next_at_ms) == (D("0.0000186711875"), 1783591200000)
    for other in ({"event": "info"}, frame | {"feed": "ticker_lite"}):
        assert market.mark_frame(json_of(other), LISTED) == ()
    for wrong in (0, "", None, -1):
        with pytest.raises(Unreadable, match="markPrice"):
            market.mark_frame(json_of(frame | {"markPrice": wrong}), LISTED)


def test_bars_are_of_the_mark_price_and_over() -> None:
    hour = 3_600_000
    candles = [
        {
            "time": at * hour,
            "open": "1",
            "high": str(9 + at),
            "low": "1",
            "close": "5",
            "volume": 0,
        }
        for at in (1, 3, 4, 5)
    ]
    seen = market.bars_of({"candles": candles}, BTC, 5 * hour + 1)
    assert [each.high for each in seen.bars] == [D(12), D(13)], "behind the gap, and over"
    assert seen.closed_at_ms == 5 * hour
    call = market.bars_call("PF_XBTUSD")
    assert call.parameters["price_type"] == "mark"


# -- recipes -------------------------------------------------------------------------------


def test_every_order_reduces_on_the_right_side_and_every_stop_is_on_the_mark() -> None:
    for name, sent in golden("krakenfutures").items():
        if name.endswith("add margin"):
            assert isinstance(sent, str), "nothing is sent"
            continue
        of = sent["query"]
        assert (sent["method"], sent["body"]) == ("POST", None)
        if name.endswith("cancel stop"):
            assert list(of) == ["cliOrdId"]
            continue
        assert of["reduceOnly"] == "true", name
        assert of["side"] == ("sell" if " long:" in name else "buy"), name
        if name.endswith("place stop"):
            assert (of["orderType"], of["triggerSignal"]) == ("stp", "mark")
            assert "limitPrice" not in of, "it goes off at market"
        else:
            assert of["orderType"] == ("ioc" if name.endswith("within") else "mkt")
            assert "stopPrice" not in of


CCXT: dict[str, tuple[Action, tuple[object, ...], dict[str, object]]] = {
    "stop": (
        PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D(57_000))),
        ("market", "sell", 0.1, None),
        {"stopLossPrice": 57_000, "triggerSignal": "mark", "reduceOnly": True},
    ),
    "close": (
        ClosePosition(BTC, Side.SHORT, Quantity(D("0.04"))),
        ("market", "buy", 0.04, None),
        {"reduceOnly": True},
    ),
    "close within": (
        ClosePosition(BTC, Side.LONG, Quantity(D("0.04")), NoWorseThan(Price(D("59900.5")))),
        ("limit", "sell", 0.04, 59_900.5),
        {"reduceOnly": True, "timeInForce": "ioc"},
    ),
}


@pytest.mark.parametrize("name", CCXT)
async def test_orders_are_those_of_ccxt_asked_in_the_right_words(name: str) -> None:
    action, arguments, parameters = CCXT[name]
    ours = orders.write_call(action, "lg1", LISTED, Ground(PositionMode.ONE_WAY, ()))
    assert isinstance(ours, Call)
    exchange = ccxt.async_support.krakenfutures()
    exchange.set_markets([market_of_ccxt()])
    kind, side, amount, price = arguments
    theirs = exchange.create_order_request(
        BTC, kind, side, amount, price, parameters | {"clientOrderId": "lg1"}
    )
    await exchange.close()
    plain = {key: "true" if value is True else str(value) for key, value in theirs.items()}
    assert plain == ours.parameters


async def test_without_its_own_word_ccxt_would_rest_a_stop_on_the_last_price() -> None:
    exchange = ccxt.async_support.krakenfutures()
    exchange.set_markets([market_of_ccxt()])
    unified = {"stopLossPrice": 57_000, "triggerPriceType": "mark"}
    theirs = exchange.create_order_request(BTC, "market", "sell", 0.1, None, unified)
    await exchange.close()
    assert theirs["triggerSignal"] == "last"


def market_of_ccxt() -> dict[str, Any]:
    return {
        "id": "PF_XBTUSD",
        "symbol": BTC,
        "base": "BTC",
        "quote": "USD",
        "settle": "USD",
        "type": "swap",
        "spot": False,
        "swap": True,
        "contract": True,
        "linear": True,
        "precision": {"amount": 0.0001, "price": 0.1},
        "limits": {},
    }


def signed_at(path: str, **options: object) -> str:
    keys = {"apiKey": "a", "secret": BASE64_KEYS.secret.get_secret_value()}
    exchange = KrakenFutures(keys | {"options": {"recvWindow": RECV_WINDOW_MS, **options}})
    exchange.milliseconds = lambda: 1_772_012_753_818
    try:
        return str(exchange.sign(path, ["private"], "POST", {"cliOrdId": "x"})["url"])
    finally:
        asyncio.run(exchange.close())


def test_an_order_ends_three_seconds_after_its_date_by_the_venues_clock() -> None:
    until = "processBefore=2026-02-25T09%3A45%3A56.818Z"
    for path in ("sendorder", "cancelorder"):
        assert until in signed_at(path)
    assert "09%3A45%3A51.818Z" in signed_at("sendorder", timeDifference=5_000)
    assert "processBefore" not in signed_at("orders/status")
    assert orders.request_life_ms == RECV_WINDOW_MS


async def test_a_secret_that_is_none_is_an_account_that_cannot_be_reached() -> None:
    keys = replace(BASE64_KEYS, secret=SecretStr("a-secret"))
    async with staged(KrakenDesk(Book())) as live:
        dialect = live.desk.dialect
        async with reach(dialect, keys, Loopback(live.port), live.clock) as connection:
            with pytest.raises(Unreachable, match="AuthenticationError"):
                await connection.examine()


async def test_a_request_that_is_too_old_when_it_arrives_is_refused() -> None:
    async with staged(KrakenDesk(Book())) as live:
        live.live._writes.follow_clock(60_000)
        stop = PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D(57_000)))
        reply = await live.send(stop, "s1")
        assert isinstance(reply, Refused)
        assert reply.code == "wouldProcessAfterSpecifiedTime"
        assert live.book.stops == {}


# -- what an answer proves -----------------------------------------------------------------

PLACE = PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D(57_000)))
CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D("0.1")))
CANCEL = CancelStop(BTC, Side.LONG, "lg0")
TRIGGER = {
    "uid": "x",
    "clientId": "lg1",
    "type": "ioc",
    "symbol": "PF_XBTUSD",
    "side": "sell",
    "quantity": 0.1,
    "limitPrice": None,
    "triggerPrice": 57000,
    "triggerSide": "trigger_below",
    "triggerSignal": "mark_price",
    "reduceOnly": True,
}


def reply(answer: Any, action: Action, status: int = 200) -> Any:
    return orders.reply_of(Heard(status, {}, json.dumps(answer)), action, "lg1", LISTED)


def sent(status: str, *events: Mapping[str, Any], **parts: Any) -> dict[str, Any]:
    of = {"order_id": "179f9af8", "status": status, "orderEvents": list(events), **parts}
    return {"result": "success", "sendStatus": of, "serverTime": "2026-02-25T09:45:53.818Z"}


def placed(**parts: Any) -> dict[str, Any]:
    return sent("placed", {"type": "PLACE", "orderTrigger": TRIGGER | parts})


def test_a_stop_is_taken_when_what_rests_is_what_was_asked_for() -> None:
    assert reply(placed(), PLACE) == Accepted()
    assert reply(sent("placed", cliOrdId="lg1"), PLACE) == Accepted(), "no events are told of"
    for other in (
        {"clientId": "another"},
        {"clientId": None},
        {"triggerSignal": "last_price"},
        {"triggerSignal": "unknown"},  # `test-fixture`
        {"triggerPrice": 56000},
        {"triggerSide": "trigger_above"},
        {"reduceOnly": False},
    ):
        assert isinstance(reply(placed(**other), PLACE), Unsure), other
    rejected = sent("placed", {"type": "REJECT", "reason": "X", "orderTrigger": TRIGGER})
    assert isinstance(reply(rejected, PLACE), Unsure)
    plain = {"type": "PLACE", "order": {"cliOrdId": "lg1"}}
    assert isinstance(reply(sent("placed", plain), PLACE), Unsure), "an order in its place"


def test_a_close_is_taken_when_its_id_comes_back() -> None:
    """`documented`: what is executed at once names the order as it was before."""
    event = {"type": "EXECUTION", "price": 59970, "amount": 0.1}
    ours = event | {"orderPriorExecution": {"cliOrdId": "lg1"}, "orderPriorEdit": None}
    for status in ("placed", "partiallyFilled", "filled"):
        assert reply(sent(status, ours), CLOSE) == Accepted()
        assert isinstance(reply(sent(status, ours), CLOSE, status=400), Unsure)
    for anothers in ({"cliOrdId": "another"}, {"cliOrdId": None}):
        other = sent("placed", event | {"orderPriorExecution": anothers})
        assert isinstance(reply(other, CLOSE), Unsure)
    both = sent("placed", ours, cliOrdId="another")
    assert isinstance(reply(both, CLOSE), Unsure)


def test_a_close_that_found_nobody_has_been_taken_and_has_ended() -> None:
    event = {"type": "REJECT", "uid": "x", "reason": "IOC_WOULD_NOT_EXECUTE"}
    ours = sent("iocWouldNotExecute", event | {"order": {"cliOrdId": "lg1"}})
    assert reply(ours, CLOSE) == Accepted()
    assert reply(sent("iocWouldNotExecute"), CLOSE) == Refused(
        "iocWouldNotExecute", STATUSES["iocWouldNotExecute"]
    )


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_a_good_answer_may_hold_a_refusal(status: str) -> None:
    expected = Refused(status, STATUSES[status])
    assert reply(sent(status), PLACE) == expected
    assert reply(sent(status), CLOSE) == expected


@pytest.mark.parametrize(
    "status",
    [
        "clientOrderIdAlreadyExist",
        "notFound",
        "cancelled",
        "edited",
        "orderForEditNotFound",
        "requiredArgumentMissing",
        "",
        "PLACED",
        "tomorrow",
    ],
)
def test_other_statuses_prove_nothing(status: str) -> None:
    for action in (PLACE, CLOSE):
        assert isinstance(reply(sent(status, cliOrdId="lg1"), action), Unsure)


@pytest.mark.parametrize("error", sorted(ERRORS))
def test_errors_that_are_known_are_refusals(error: str) -> None:
    answer = {"result": "error", "error": error, "serverTime": "2026-02-08T18:58:16.273Z"}
    for action in (PLACE, CLOSE, CANCEL):
        assert reply(answer, action) == Refused(error, ERRORS[error])
        assert isinstance(reply(answer, action, status=500), Unsure)


@pytest.mark.parametrize(
    "answer",
    [
        {"result": "error", "error": "unknownError"},
        {"result": "error", "error": "Server Error"},
        {"result": "error", "error": "Unavailable"},
        {"result": "error", "error": "nonceDuplicate"},
        {"result": "error", "error": "notFound"},
        {"result": "error", "errors": [{"code": 11, "message": "invalid order type"}]},
        {"result": "maybe", "error": "invalidArgument"},
        {"error": "invalidArgument"},
        {"result": "success"},
        {"result": "success", "sendStatus": None, "cancelStatus": []},
    ],
)
def test_other_errors_prove_nothing(answer: dict[str, Any]) -> None:
    for action in (PLACE, CLOSE, CANCEL):
        assert isinstance(reply(answer, action), Unsure)


def cancelled(status: str, **parts: Any) -> dict[str, Any]:
    return {"result": "success", "cancelStatus": {"status": status, "order_id": "x", **parts}}


def test_a_cancellation_is_proven_by_its_word_and_no_other_name() -> None:
    assert reply(cancelled("cancelled"), CANCEL) == Accepted()
    ours = [{"type": "CANCEL", "uid": "x", "orderTrigger": {"clientId": "lg0"}}]
    assert reply(cancelled("cancelled", orderEvents=ours), CANCEL) == Accepted()
    other = [{"type": "CANCEL", "uid": "x", "order": {"cliOrdId": "lg9"}}]
    assert isinstance(reply(cancelled("cancelled", orderEvents=other), CANCEL), Unsure)


@pytest.mark.parametrize("status", ["notFound", "filled", "wouldNotReducePosition", ""])
def test_a_stop_that_is_gone_may_have_gone_off(status: str) -> None:
    assert isinstance(reply(cancelled(status), CANCEL), Unsure)


def test_margin_is_never_sent() -> None:
    add = AddMargin(BTC, Side.LONG, Money(D(1)))
    ground = Ground(PositionMode.ONE_WAY, ())
    refused = orders.write_call(add, "lg1", LISTED, ground)
    assert isinstance(refused, Refused)
    assert refused.code == "NOT_SENT"
    assert isinstance(reply(placed(), add), Unsure)


@given(st.text(), st.sampled_from([200, 400, 401, 403, 429, 500, 502]))
def test_no_text_is_taken_for_success(text: str, status: int) -> None:
    for action in (PLACE, CLOSE, CANCEL):
        assert isinstance(orders.reply_of(Heard(status, {}, text), action, "lg1", LISTED), Unsure)


# -- evidence ------------------------------------------------------------------------------

FILL = {
    "fill_id": "f1",
    "symbol": "PF_XBTUSD",
    "side": "sell",
    "order_id": "x",
    "cliOrdId": "lg1",
    "fillTime": "2026-02-25T09:45:53.818Z",
    "fillType": "taker",
}


PART = FILL | {"size": 0.03, "price": 60000}


def found(
    waiting: list[Any] | None = None,
    recent: list[Any] | None = None,
    fills: list[Any] | None = None,
) -> Any:
    answers = (
        told(openOrders=waiting or []),
        told(orders=recent or []),
        told(fills=fills or []),
    )
    heard = [Heard(200, {}, json.dumps(each, default=float)) for each in answers]
    return orders.order_of(heard, "lg1", "PF_XBTUSD", LISTED)


def recent(status: str, **parts: Any) -> dict[str, Any]:
    order = {"orderId": "x", "cliOrdId": "lg1", "symbol": "PF_XBTUSD", **parts}
    return {"order": order, "status": status, "updateReason": None, "error": None}


def test_what_no_list_knows_is_absent() -> None:
    assert found() == OrderAbsent()
    others = found([STOP | {"cliOrdId": "lg2"}], [recent("CANCELLED", cliOrdId=None)])
    assert others == OrderAbsent()


def test_fills_are_added_up_with_their_average_price() -> None:
    """`documented` names the id `cliOrdId`, a client library's row `cli_ord_id`."""
    old = {key: value for key, value in FILL.items() if key != "cliOrdId"}
    rows = [
        FILL | {"size": 0.03, "price": 60000},
        old | {"cli_ord_id": "lg1", "size": 0.01, "price": 59960},
        FILL | {"cliOrdId": "lg2", "size": 9, "price": 1},
        FILL | {"cliOrdId": None, "size": 9, "price": 1},
    ]
    filled = Fill(Quantity(D("0.04")), Price(D(59_990)))
    assert found(fills=rows) == OrderFound("lg1", resting=False, filled=filled)
    assert found(recent=[recent("FULLY_EXECUTED")], fills=rows) == OrderFound(
        "lg1", resting=False, filled=filled
    )
    partly = STOP | {"filledSize": 0.04}
    assert found(waiting=[partly], fills=rows) == OrderFound("lg1", resting=True, filled=filled)


@pytest.mark.parametrize(
    ("status", "resting"),
    [
        ("ENTERED_BOOK", True),
        ("TRIGGER_PLACED", True),
        ("CANCELLED", False),
        ("REJECTED", False),
        ("TRIGGER_ACTIVATION_FAILURE", False),
    ],
)
def test_what_ended_just_now_is_told(status: str, resting: bool) -> None:
    expected = OrderFound("lg1", resting=resting, filled=NO_FILL)
    assert found(recent=[recent(status)]) == expected


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({"recent": [recent("FULLY_EXECUTED")]}, "fills"),  # they come a moment later
        ({"recent": [recent("SOMETHING")]}, "status"),
        ({"recent": [recent("CANCELLED", filled=0.01)]}, "filled"),
        (
            {"recent": [recent("FULLY_EXECUTED", filled=0.04)], "fills": [PART]},
            "filled: expected 0.03, as the fills make",
        ),
        ({"waiting": [STOP], "fills": [PART]}, "filledSize"),
        ({"recent": [recent("CANCELLED", symbol="PF_ETHUSD")]}, "symbol"),
        ({"waiting": [STOP | {"symbol": "PF_ETHUSD"}]}, "symbol"),
        ({"fills": [FILL | {"symbol": "PF_ETHUSD", "size": 1, "price": 1}]}, "symbol"),
        ({"fills": [FILL | {"size": 0, "price": 1}]}, "size"),
        ({"fills": [FILL | {"size": 1, "price": "x"}]}, "price"),
    ],
)
def test_what_contradicts_itself_is_no_evidence(parts: dict[str, Any], word: str) -> None:
    with pytest.raises(Unreadable, match=word):
        found(**parts)


# -- streams -------------------------------------------------------------------------------


def test_a_challenge_is_signed_as_the_venues_own_example() -> None:
    """`documented`: its example of a secret and of what that makes of a challenge."""
    secret = (
        "7zxMEF5p/Z8l2p2U7Ghv6x14Af+Fx+92tPgUdVQ748FOIrEoT9bgT+bTRfXc5pz8na+hL/QdrCVG7bh9KpT0eMTm"
    )
    keys = Credentials(SecretStr("a-key"), SecretStr(secret))
    opening = venue.account_opening((), keys, 0)
    assert json.loads(opening.sign_in) == {"event": "challenge", "api_key": "a-key"}
    assert opening.asks_of({"event": "info", "version": 1}) == ()
    challenge = "c100b894-1729-464d-ace1-52dbce11db42"
    asks = [
        json.loads(each) for each in opening.asks_of({"event": "challenge", "message": challenge})
    ]
    assert [each["feed"] for each in asks] == ["open_orders", "fills"]
    for each in asks:
        assert each["original_challenge"] == challenge
        assert each["signed_challenge"] == (
            "4JEpF3ix66GA2B+ooK128Ift4XQVtc137N9yeg4Kqsn9PI0Kpzbysl9M1IeCEdjg0zl00wkVqcsnG4bmnlMb3A=="
        )
        assert secret not in json.dumps(each)


async def test_a_stream_that_does_not_let_us_in_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(KrakenDesk(Book())) as live:
        live.live._credentials = replace(BASE64_KEYS, secret=SecretStr("b3RoZXI="))
        with pytest.raises(Unreachable, match="ended"):
            await live.account.stream(lambda _: None)
        error = json.dumps({"event": "error", "message": "Json Error"})
        monkeypatch.setattr(live.desk, "greet", lambda _: [error])
        with pytest.raises(Unreachable, match="let us in"):
            await live.account.stream(lambda _: None)


def fills(kind: str, **parts: Any) -> Any:
    """`test-fixture`: a fill as the stream tells it."""
    row = {"instrument": "PF_XBTUSD", "buy": False, "qty": 0.5, "price": 54321.5}
    return json_of({"feed": "fills", "fills": [row | {"fill_type": kind, **parts}]})


def frame(json: Any) -> Any:
    return venue.account_frame(json, LISTED, 9)


def test_a_fill_tells_what_the_venue_took() -> None:
    price = Price(D("54321.5"))
    for kind in ("liquidation", "partialLiquidation", "assignor"):
        assert frame(fills(kind)) == Liquidated(BTC, Side.LONG, price, 9)
        assert frame(fills(kind, buy=True)) == Liquidated(BTC, Side.SHORT, price, 9)
    for kind in ("unwindBankrupt", "unwindCounterparty"):
        taken = AutoDeleveraged(BTC, Side.LONG, Quantity(D("0.5")), price, 9)
        assert frame(fills(kind)) == taken
        assert frame(fills(kind, instrument="PI_XBTUSD")) == AccountChanged()
    for kind in ("maker", "taker", "assignee", "tomorrow"):
        assert frame(fills(kind)) == AccountChanged()


def test_frames_ring_end_the_stream_or_say_nothing() -> None:
    gone = {"feed": "open_orders", "order_id": "x", "is_cancel": True, "reason": "full_fill"}
    assert frame(gone) == AccountChanged()
    for quiet in (
        {"event": "subscribed", "feed": "fills"},
        {"event": "info", "version": 1},
        {"feed": "fills_snapshot", "fills": []},
        {"feed": "heartbeat", "time": 1},
    ):
        assert frame(quiet) == Irrelevant()
    for bad in ("alert", "error", "subscribed_failed"):
        assert isinstance(frame({"event": bad, "message": "Bad request"}), StreamEnded)
    odd_ones: list[Any] = [{}, [], None, {"feed": 7}]
    for odd in odd_ones:
        with pytest.raises(Unreadable):
            frame(odd)


# -- before the start ----------------------------------------------------------------------

KEY = {"apiKey": "a", "permissions": {"general": "FULL_ACCESS", "transfer": "NO_ACCESS"}}


def refusals(
    *positions: Mapping[str, Any],
    key: Mapping[str, Any] = KEY,
    wallet: Mapping[str, Any] = WALLET,
) -> tuple[str, ...]:
    answers = (json_of(key), *state(*positions, wallet=wallet))
    return (*venue.refusals(answers), *venue.unsupported(answers))


def test_dollars_cross_positions_and_a_key_that_cannot_withdraw_are_guarded() -> None:
    assert refusals(LONG, SMALL) == ()
    nothing = WALLET | {"currencies": {**WALLET["currencies"], "XBT": {"quantity": 0}}}
    assert refusals(LONG, wallet=nothing) == ()


@pytest.mark.parametrize(
    ("general", "transfer", "word"),
    [
        ("READ_ONLY", "NO_ACCESS", "may trade"),
        ("NO_ACCESS", "NO_ACCESS", "may trade"),
        ("FULL_ACCESS", "FULL_ACCESS", "cannot withdraw"),
        ("FULL_ACCESS", "TOMORROW", "cannot withdraw"),
    ],
)
def test_a_key_is_refused_by_what_it_may(general: str, transfer: str, word: str) -> None:
    key = {"permissions": {"general": general, "transfer": transfer}}
    (sentence,) = refusals(key=key)
    assert word in sentence
    with pytest.raises(Unreadable, match="transfer"):
        refusals(key={"permissions": {"general": general}})


def test_an_account_that_cannot_be_judged_is_refused_with_a_sentence() -> None:
    coins = WALLET | {"currencies": {**WALLET["currencies"], "EUR": {"quantity": 7}}}
    (sentence,) = refusals(wallet=coins)
    assert "expected no collateral but USD, was EUR" in sentence
    (sentence,) = refusals(wallet=WALLET | {"portfolioMarginBreakdown": {"netPortfolioDelta": 0}})
    assert "portfolio margin is not supported" in sentence
    (sentence,) = refusals(wallet=WALLET | {"marginEquity": 4_000})
    assert "expected a margin equity of 5040.5" in sentence
    (sentence,) = refusals(LONG | {"maxFixedLeverage": 5})
    assert "an isolated position is not supported" in sentence
    (sentence,) = refusals(LONG | {"pnlCurrency": "ETH"})
    assert "expected profit in USD, was ETH" in sentence


async def test_a_doctor_finds_a_cross_account_of_dollars_fine() -> None:
    text = CROSS_POLICY.replace("VENUE", "krakenfutures").replace("MODE", "one_way")
    policy = parse_policy(text, "p.yaml")
    async with staged(KrakenDesk(Book())) as live:
        keys = LiveKeys(BASE64_KEYS, accept_unverified=False)
        findings = await _doctor(policy, keys, Loopback(live.port))
    require_sound(findings, accept_unverified=False)
    assert any("2 tiers, taker fee 0.0005" in each.text for each in findings)


def test_a_policy_that_adds_margin_is_refused_with_the_reason() -> None:
    text = POLICY.replace("VENUE", "krakenfutures").replace("MODE", "one_way")
    with pytest.raises(CheckFailed) as raised:
        require_sound(_lacks(parse_policy(text, "p.yaml"), LiveMode.LIVE), accept_unverified=False)
    for lacking in ("add_margin", "isolated"):
        assert f"needs {lacking}, which its adapter cannot: the margin of" in str(raised.value)


GARBAGE: list[Any] = [None, "", "x", "NaN", "1e400", -1, 0, True, [], {}, "-0", 10**20, [[]]]
JUNK = st.sampled_from(GARBAGE)


@given(st.data())
def test_no_garbage_is_more_than_an_unreadable_answer(data: st.DataObject) -> None:
    """Whatever stands in a field, all is read or refused, and no other row is lost."""
    row = data.draw(st.sampled_from([LONG, STOP, WALLET, ROW]))
    name = data.draw(st.sampled_from(sorted(row)))
    spoilt = row | {name: data.draw(JUNK)}
    try:
        if row is LONG:
            seen = snapshot(SMALL, spoilt)
            assert "ETH/USD:USD" in {each.symbol for each in seen.positions}
        elif row is STOP:
            seen = snapshot(LONG, stops=(spoilt, STOP | {"cliOrdId": "lg2"}))
            assert "lg2" in {each.client_id for each in seen.stops}
        elif row is WALLET:
            snapshot(LONG, wallet=spoilt)
            refusals(LONG, wallet=spoilt)
        else:
            tiers_of(60, LONG, row=spoilt)
    except Unreadable:
        assert row is not STOP


@given(st.data())
def test_no_garbage_in_an_answer_or_a_frame_is_more_than_unsure(data: st.DataObject) -> None:
    trigger = TRIGGER | {data.draw(st.sampled_from(sorted(TRIGGER))): data.draw(JUNK)}
    event: dict[str, Any] = {"type": "PLACE", "orderTrigger": trigger}
    event |= {data.draw(st.sampled_from(["type", "order", "none"])): data.draw(JUNK)}
    status: dict[str, Any] = {"order_id": "x", "status": "placed", "orderEvents": [event]}
    status |= {data.draw(st.sampled_from(["status", "cliOrdId", "none"])): data.draw(JUNK)}
    for action in (PLACE, CLOSE, CANCEL):
        answer = {"result": "success", "sendStatus": status, "cancelStatus": status}
        assert isinstance(reply(answer, action), Accepted | Refused | Unsure)
    told_of = fills("liquidation")
    (row,) = told_of["fills"]
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(JUNK)
    try:
        frame(told_of)
        frame(event)
    except Unreadable:
        return
