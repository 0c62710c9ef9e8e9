"""
Hyperliquid's answers as the venue documents them, answers that nobody should believe, recipes held
against ccxt's own, and signatures against other people's vectors.

Shapes are those of the info and exchange pages (`documented`); where a row was `recorded` by the
venue's own client library, or is another's (`test-fixture`), it says so.
"""

import json
import re
from copy import deepcopy
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import product
from typing import Any

import ccxt
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
from bot.core.events import AutoDeleveraged, Liquidated
from bot.core.ids import Birth, client_id, part_id
from bot.core.margin import LiquidatesAt, liquidation
from bot.core.model import (
    NO_FILL,
    Fill,
    MarginMode,
    NotReported,
    Position,
    PositionKey,
    PositionMode,
    Reported,
    Side,
)
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.calls import Call, Heard, Unreadable
from bot.exchange.live.credentials import CredentialsError
from bot.exchange.live.dialect import Ground, Irrelevant, Listed, Marked, StreamEnded
from bot.exchange.ports import Accepted, AccountChanged, OrderAbsent, OrderFound, Refused, Unsure
from bot.exchange.venues import hyperliquid_account as venue
from bot.exchange.venues import hyperliquid_market as market
from bot.exchange.venues import hyperliquid_orders as orders
from bot.exchange.venues.hyperliquid_client import Hyperliquid
from bot.exchange.venues.hyperliquid_refusals import GONE, REFUSED, UNFILLED
from tests.exchange.venues.capture import golden
from tests.exchange.venues.hyperliquid_desk import (
    BILLS,
    COIN,
    ETH,
    META,
    OLD,
    HyperliquidDesk,
    action_hash,
)
from tests.exchange.venues.nicknames import own
from tests.exchange.venues.stage import HEX_KEYS, Book, staged
from tests.exchange.venues.test_guarded import CROSS_POLICY, at_work, until

D = Decimal
BTC = "BTC/USDC:USDC"
LISTED = market.listing_of(META)
ID = client_id(Birth("main", 1_764_000_000_000), PositionKey(BTC, Side.LONG), "stop", 1, 7)
CLOID = venue.cloid_of(ID)
ADDRESS = "0x" + "ab" * 20

# `test-fixture`: a client library's, of an isolated long and an isolated short in HYPE.
LONG = {
    "type": "oneWay",
    "position": {
        "coin": "HYPE",
        "szi": "2.0",
        "leverage": {"type": "isolated", "value": 10, "rawUsd": "-68.126246"},
        "entryPx": "37.829",
        "positionValue": "75.652",
        "unrealizedPnl": "-0.006",
        "returnOnEquity": "-0.0007930424",
        "liquidationPx": "35.8559189474",
        "marginUsed": "7.525754",
        "maxLeverage": 10,
    },
}
SHORT = {
    "type": "oneWay",
    "position": LONG["position"]  # type: ignore[operator]
    | {
        "szi": "-4.0",
        "leverage": {"type": "isolated", "value": 10, "rawUsd": "211.144417"},
        "entryPx": "47.9932",
        "unrealizedPnl": "0.0",
        "liquidationPx": "50.2724802381",
        "marginUsed": "19.171617",
    },
}


def state(*positions: Any, value: str = "75.781884", free: str = "75.781884") -> Any:
    return {
        "marginSummary": {"accountValue": "83.307638"},
        "crossMarginSummary": {"accountValue": value},
        "crossMaintenanceMarginUsed": "0.0",
        "withdrawable": free,
        "assetPositions": list(positions),
        "time": 1_754_467_216_357,
    }


def changed(entry: Any, **parts: Any) -> Any:
    return entry | {"position": entry["position"] | parts}


def snapshot(json: Any, *stops: Any) -> Any:
    return venue.snapshot_of((), (json,), (list(stops),), LISTED, 1)


# -- signatures ----------------------------------------------------------------------------

STOP_ACTION = {
    "type": "order",
    "orders": [
        {
            "a": 1,
            "b": True,
            "p": "100",
            "s": "100",
            "r": False,
            "t": {"trigger": {"isMarket": True, "triggerPx": "103", "tpsl": "sl"}},
        }
    ],
    "grouping": "na",
}
GTC = {"a": 1, "b": True, "p": "100", "s": "100", "r": False, "t": {"limit": {"tif": "Gtc"}}}
GTC_ACTION = {"type": "order", "orders": [GTC], "grouping": "na"}
CANCEL_ACTION = {
    "type": "cancelByCloid",
    "cancels": [{"asset": 1, "cloid": "0x00000000000000000000000000000001"}],
}
MARGIN_ACTION = {"type": "updateIsolatedMargin", "asset": 1, "isBuy": True, "ntli": 1_000_000}
VAULT = bytes.fromhex("1719884eb866cb12b2287399b15f7db5e7d775ea")


@pytest.mark.parametrize(
    ("action", "nonce", "vault", "expires", "expected"),
    [
        (
            STOP_ACTION,
            0,
            None,
            None,
            "430a86fb9876e901920d931f5bb20c9d011f6389bd179f39a73c09e6219adcad",
        ),
        (
            CANCEL_ACTION,
            1_234_567_890,
            None,
            None,
            "2c1e6813e12af52b1717b16b8e64a2d8e8973ece71376103bbcf5822f18a7b73",
        ),
        (
            MARGIN_ACTION,
            1_234_567_890,
            None,
            None,
            "5be15137e3fb09df29a2f9d1b339435b65ec9b48cd263b3aa39d2fed81352219",
        ),
        (
            GTC_ACTION,
            1_234_567_890,
            VAULT,
            1_234_567_890,
            "8a9dcb02b410e8b7d013eff256edd9e7e9cd1c6e56334c176bb954a335ec2e92",
        ),
    ],
    ids=["stop", "cancel", "margin", "with a last moment"],
)
def test_the_stage_hashes_actions_as_the_venue_does(
    action: Any, nonce: int, vault: bytes | None, expires: int | None, expected: str
) -> None:
    """Vectors of the venue's own library, as others keep them (`recorded`)."""
    assert action_hash(action, nonce, vault, expires).hex() == expected


def client() -> Hyperliquid:
    key, secret = HEX_KEYS.key.get_secret_value(), HEX_KEYS.secret.get_secret_value()
    return Hyperliquid({"apiKey": key, "secret": secret, "options": {"recvWindow": 3_000}})


async def test_ccxt_hashes_an_action_of_production_as_the_venue_does() -> None:
    """`recorded`: the venue's library, of an order that its production took in 2023."""
    order = GTC | {"a": 4, "p": "1670.1", "s": "0.0147", "t": {"limit": {"tif": "Ioc"}}}
    action = {"type": "order", "orders": [order], "grouping": "na"}
    ours = client()
    told = "0fcbeda5ae3c4950a548021552a4fea2226858c4453571bf3f24ba017eac2908"
    assert bytes(ours.action_hash(action, None, 1_677_777_606_040)).hex() == told
    await ours.close()


async def test_no_two_actions_have_one_nonce_and_each_has_a_last_moment() -> None:
    ours = client()
    ours.milliseconds = lambda: 1_764_000_000_000  # all within one
    bodies = [ours._signed(MARGIN_ACTION) for _ in range(20)]
    nonces = [each["nonce"] for each in bodies]
    assert nonces == sorted(set(nonces))
    assert {each["expiresAfter"] - each["nonce"] for each in bodies} == {3_000}
    await ours.close()


@pytest.mark.parametrize(
    ("key", "secret", "word"),
    [("a-key", "1c" * 32, "address"), (ADDRESS, "a-secret", "private key"), ("", "", "address")],
)
def test_keys_of_another_kind_are_told_in_a_sentence_without_them(
    key: str, secret: str, word: str
) -> None:
    with pytest.raises(CredentialsError, match=word) as caught:
        Hyperliquid({"apiKey": key, "secret": secret, "options": {"recvWindow": 3_000}})
    assert not secret or secret not in str(caught.value)


async def test_a_read_names_the_account_the_agent_or_nobody_and_times_count_from_now() -> None:
    ours = client()

    def body(call: Call) -> Any:
        return json.loads(
            ours.sign(call.path, call.api, call.method, dict(call.parameters))["body"]
        )

    role, _, _ = venue.check_calls()
    assert body(venue.state_calls()[0])["user"] == ADDRESS
    assert body(role)["user"] == ours.eth_get_address_from_private_key(ours.privateKey)
    assert "user" not in body(market.time_call())
    chart = body(market.bars_call("BTC"))["req"]
    assert chart["endTime"] - chart["startTime"] == 169 * 3_600_000
    await ours.close()


# -- names of orders -----------------------------------------------------------------------

IDS = st.from_regex("lg[a-z2-7]{24}", fullmatch=True)


@given(IDS)
def test_an_id_fits_whole_into_the_venues_and_comes_back(ours: str) -> None:
    cloid = venue.cloid_of(ours)
    assert re.fullmatch("0x[0-9a-f]{32}", cloid)
    assert venue.client_id_of(cloid) == ours


@given(st.from_regex("0x[0-9a-f]{32}", fullmatch=True))
def test_anybodys_number_comes_back_as_it_was(cloid: str) -> None:
    told = venue.client_id_of(cloid)
    assert told == cloid or venue.cloid_of(told) == cloid


@given(st.integers(0, 2**41), st.integers(0, 10**6))
def test_every_id_that_the_guard_makes_is_of_the_kind(at_ms: int, number: int) -> None:
    made = client_id(Birth("main", at_ms), PositionKey(BTC, Side.SHORT), "x", 1, number)
    for each in (made, part_id(made, 3)):
        assert venue.client_id_of(venue.cloid_of(each)) == each != venue.cloid_of(each)


def test_what_is_no_id_of_the_guard_is_not_sent() -> None:
    ground = Ground(PositionMode.ONE_WAY, ())
    stop = PlaceStop(BTC, Side.LONG, Quantity(D(1)), Price(D(50_000)))
    for action in (stop, CancelStop(BTC, Side.LONG, "7")):
        told = orders.write_call(action, "mine", LISTED, ground)
        assert isinstance(told, Refused)
        assert told.code == "NOT_SENT"


# -- prices and recipes --------------------------------------------------------------------


@given(
    st.decimals(D("0.000001"), D(9_999_999), allow_nan=False),
    st.integers(0, 6),
    st.sampled_from([ROUND_CEILING, ROUND_FLOOR]),
)
def test_a_price_has_five_figures_or_is_whole_and_no_more_decimals_than_it_may(
    price: Decimal, places: int, rounding: str
) -> None:
    text = orders._told(price, places, rounding)
    told = D(text)
    figures = len(told.normalize().as_tuple().digits)
    assert figures <= 5 or told == int(told)
    _, _, decimals = text.partition(".")
    assert len(decimals) <= places
    assert not decimals.endswith("0")
    assert abs(told - price) < market.tick(price, places)
    assert told >= price if rounding == ROUND_CEILING else told <= price


def sent(action: Action, *known: Any) -> Any:
    call = orders.write_call(action, ID, LISTED, Ground(PositionMode.ONE_WAY, known))
    assert isinstance(call, Call), call
    return call.parameters


@pytest.mark.parametrize(
    ("side", "bound", "expected"),
    [(Side.LONG, "59900.4", "59901"), (Side.SHORT, "60099.6", "60099")],
)
def test_a_bound_is_never_loosened_by_the_venues_grid(
    side: Side, bound: str, expected: str
) -> None:
    action = ClosePosition(BTC, side, Quantity(D("0.1")), NoWorseThan(Price(D(bound))))
    assert sent(action)["orders"][0]["p"] == expected


@pytest.mark.parametrize(
    ("side", "at", "trigger", "limit"),
    [(Side.LONG, "57000.2", "57001", "51300"), (Side.SHORT, "63000.7", "63000", "69301")],
)
def test_a_stop_moves_towards_the_mark_by_the_grid_and_may_fill_a_tenth_beyond(
    side: Side, at: str, trigger: str, limit: str
) -> None:
    order = sent(PlaceStop(BTC, side, Quantity(D("0.1")), Price(D(at))))["orders"][0]
    assert order["t"]["trigger"] == {"isMarket": True, "triggerPx": trigger, "tpsl": "sl"}
    assert order["p"] == limit


def test_a_close_at_any_price_reaches_from_the_price_of_now() -> None:
    held = changed(LONG, coin="BTC", szi="-0.5", positionValue="30500")
    close = ClosePosition(BTC, Side.SHORT, Quantity(D("0.1")))
    assert orders.ground_calls(close, LISTED) == venue.state_calls()
    assert sent(close, state(held))["orders"][0]["p"] == "65880"
    older = (state(held),)
    none = orders.write_call(close, ID, LISTED, Ground(PositionMode.ONE_WAY, (state(),), older))
    assert isinstance(none, Refused)


def test_margin_is_exact_or_not_sent() -> None:
    for amount, units in (("25.756", 25_756_000), ("0.5", 500_000), ("0.000001", 1)):
        action = sent(AddMargin(BTC, Side.SHORT, Money(D(amount))))
        assert (action["ntli"], action["isBuy"]) == (units, False)
    too_fine = AddMargin(BTC, Side.LONG, Money(D("0.0000015")))
    ground = Ground(PositionMode.ONE_WAY, ())
    assert isinstance(orders.write_call(too_fine, ID, LISTED, ground), Refused)


MARKET = {
    "id": "BTC",
    "symbol": BTC,
    "base": "BTC",
    "quote": "USDC",
    "settle": "USDC",
    "baseId": "1",
    "type": "swap",
    "swap": True,
    "spot": False,
    "contract": True,
    "linear": True,
    "precision": {"amount": 0.0001, "price": 0.01},
}


@pytest.mark.parametrize(
    ("name", "side", "kind", "price", "extra"),
    [
        (
            "isolated long: place stop",
            "SELL",
            "MARKET",
            "57000",
            {"stopLossPrice": "57000", "slippage": "0.1"},
        ),
        (
            "isolated short: place stop",
            "BUY",
            "MARKET",
            "63000",
            {"stopLossPrice": "63000", "slippage": "0.1"},
        ),
        ("cross long: close within", "SELL", "LIMIT", "59901", {"timeInForce": "ioc"}),
        ("isolated short: close", "BUY", "MARKET", "60000", {"slippage": "0.08"}),
    ],
)
def test_orders_are_those_that_ccxt_makes_when_asked_rightly(
    name: str, side: str, kind: str, price: str, extra: Any
) -> None:
    """An independent source; left alone ccxt lets a close grow a position, and slips by 5 %."""
    theirs = ccxt.hyperliquid()
    theirs.set_markets([MARKET])
    ours = golden("hyperliquid")[f"one_way {name}"]["body"]["action"]["orders"][0]
    wanted = extra | {"reduceOnly": True, "clientOrderId": ours["c"]}
    assert theirs.create_order_request(BTC, kind, side, ours["s"], price, wanted) == ours


def test_no_recipe_can_open_flip_wait_in_the_book_or_round_margin() -> None:
    for name, kept in golden("hyperliquid").items():
        action, is_long = kept["body"]["action"], " long:" in name
        assert kept["path"] == "/exchange"
        if "margin" in name:
            assert action["ntli"] == 25_756_000, "not rounded by the step of the quantity"
            assert action["isBuy"] is is_long
        elif "cancel" in name:
            assert action["type"] == "cancelByCloid"
        else:
            (order,) = action["orders"]
            assert list(order) == ["a", "b", "p", "s", "r", "t", "c"], "its order is signed"
            assert (action["grouping"], order["r"], order["b"]) == ("na", True, not is_long)
            kinds = {"trigger": "stop" in name, "limit": "close" in name}
            assert list(order["t"]) == [kind for kind, is_so in kinds.items() if is_so]
            assert order["t"].get("limit", {"tif": "Ioc"}) == {"tif": "Ioc"}
            assert re.fullmatch("0x[0-9a-f]{32}", order["c"])


# -- the account ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "side", "margin"), [(LONG, 1, "7.531754"), (SHORT, -1, "19.171617")]
)
def test_our_liquidation_price_is_the_venues(entry: Any, side: int, margin: str) -> None:
    """A position's margin without its profit, and the tiers, give back what the venue printed."""
    (held,) = snapshot(state(entry)).positions
    assert (held.symbol, held.side.sign, held.isolated_margin) == ("HYPE", side, D(margin))
    printed = held.liquidation
    assert isinstance(printed, Reported)
    ten = META | {"universe": [COIN | {"name": "HYPE", "maxLeverage": 10, "marginTableId": 10}]}
    contexts = [{"markPx": "37.8", "funding": "0"}]
    listed = market.listing_of(ten)
    fees = {"userCrossRate": "0.00045"}
    instrument = market.instrument_of([[ten, contexts], fees], listed, "HYPE")
    found = liquidation(instrument, held)
    assert isinstance(found, LiquidatesAt)
    assert abs(found.price - printed.price) < D("0.0000000001")


def test_a_wallet_is_what_a_recorded_cross_account_is_worth_less_its_profit() -> None:
    """
    `recorded` by the venue's client library, two of the positions: what was paid for them and the
    money besides is the same sum.
    """
    bitcoin = changed(
        LONG,
        coin="BTC",
        szi="-0.00785",
        entryPx="26951.0",
        leverage={"type": "cross", "value": 20},
        liquidationPx="173198.69592357",
        marginUsed="10.582271",
        positionValue="211.64542",
        unrealizedPnl="-0.08007",
    )
    ether = changed(
        LONG,
        coin="ETH",
        szi="0.1334",
        entryPx="1705.82",
        leverage={"type": "cross", "value": 20},
        liquidationPx=None,
        marginUsed="11.383755",
        positionValue="227.675114",
        unrealizedPnl="0.118726",
    )
    worth, raw = D("1182.312496"), D("1182.312496") - D("227.675114") + D("211.64542")
    seen = snapshot(state(bitcoin, ether, value=str(worth), free="1010.57173"))
    held = {each.symbol: each for each in seen.positions}
    assert [each.side for each in held.values()] == [Side.SHORT, Side.LONG]
    assert {each.margin_mode for each in held.values()} == {MarginMode.CROSS}
    assert {each.isolated_margin for each in held.values()} == {D(0)}
    assert held["ETH/USDC:USDC"].liquidation == NotReported()
    paid = raw - D("0.00785") * D("26951.0") + D("0.1334") * D("1705.82")
    assert abs(seen.wallet_balance - paid) < D("0.001")
    assert seen.free == D("1010.57173")


@pytest.mark.parametrize("told", [None, "", "0", "-1", "0.0", "NaN", True, []])
def test_no_liquidation_price_is_no_report(told: Any) -> None:
    (held,) = snapshot(state(changed(LONG, liquidationPx=told))).positions
    assert held.liquidation == NotReported()


@pytest.mark.parametrize(
    "entry",
    [
        LONG | {"type": "hedge"},
        changed(LONG, szi="many"),
        changed(LONG, entryPx="0"),
        changed(LONG, leverage={"type": "portfolio", "value": 10}),
        changed(LONG, leverage={"type": "isolated", "value": 10}),
        changed(LONG, leverage={"type": "cross", "value": 0}),
        changed(LONG, unrealizedPnl="?"),
    ],
)
def test_a_position_of_which_a_part_is_not_what_it_has_to_be_is_garbled(entry: Any) -> None:
    seen = snapshot(state(entry, changed(SHORT, coin="BTC")))
    assert [each.symbol for each in seen.garbled] == ["HYPE"]
    assert [each.symbol for each in seen.positions] == [BTC]


def test_what_is_free_is_no_more_than_is_there_and_a_profit_is_not_spent() -> None:
    cross = changed(LONG, leverage={"type": "cross", "value": 10}, unrealizedPnl="30")
    seen = snapshot(state(cross, value="100", free="90"))
    assert (seen.wallet_balance, seen.free) == (D(70), D(70))
    assert snapshot(state(value="-5", free="0")).free == D(0)


# -- stops ---------------------------------------------------------------------------------

# `recorded` by the venue's client library: an order that is not filled, with both of its exits.
SLEEPER = {
    "children": [],
    "coin": "INJ",
    "isPositionTpsl": False,
    "isTrigger": True,
    "limitPx": "9.1954",
    "oid": 3184595906,
    "orderType": "Stop Market",
    "origSz": "12.5",
    "reduceOnly": True,
    "side": "A",
    "sz": "12.5",
    "tif": None,
    "timestamp": 1700126022555,
    "triggerCondition": "Price below 9.995",
    "triggerPx": "9.995",
}
PARENT = SLEEPER | {
    "children": [SLEEPER],
    "isTrigger": False,
    "limitPx": "10.0",
    "oid": 3184595905,
    "orderType": "Limit",
    "reduceOnly": False,
    "side": "B",
    "tif": "Gtc",
    "triggerCondition": "N/A",
    "triggerPx": "0.0",
}


def test_a_stop_that_waits_for_another_order_protects_nothing_yet() -> None:
    assert snapshot(state(), SLEEPER, PARENT).stops == ()
    (awake,) = snapshot(state(), SLEEPER).stops
    assert (awake.symbol, awake.side, awake.client_id) == ("INJ", Side.LONG, "3184595906")
    assert (awake.quantity, awake.trigger_price) == (D("12.5"), D("9.995"))
    assert awake.reduce_only


@pytest.mark.parametrize(
    "other",
    [
        {"orderType": "Take Profit Market", "triggerCondition": "Price above 10.004"},
        {"orderType": "Stop Limit"},
        {"isTrigger": False},
        {"triggerCondition": "Price above 9.995"},
        {"side": "B"},
        {"isPositionTpsl": True, "sz": "0.0"},
        {"triggerPx": "0.0"},
        {"oid": None},
    ],
)
def test_what_is_no_stop_of_the_mark_is_none(other: dict[str, Any]) -> None:
    assert snapshot(state(), SLEEPER | other).stops == ()


def test_ours_is_known_by_its_id_and_a_positions_own_has_its_size() -> None:
    held = changed(LONG, coin="BTC")
    ours = SLEEPER | {"coin": "BTC", "cloid": CLOID}
    whole = SLEEPER | {"coin": "BTC", "oid": 9, "isPositionTpsl": True, "sz": "0.0"}
    first, second = snapshot(state(held), ours, whole).stops
    assert (first.client_id, first.quantity) == (ID, D("12.5"))
    assert (second.client_id, second.quantity) == ("9", D("2.0"))
    foreign = "0x" + "0" * 31 + "1"
    (third,) = snapshot(state(), ours | {"cloid": foreign}).stops
    assert third.client_id == foreign


def test_stops_are_swept_by_the_contracts_that_have_some() -> None:
    plain = PARENT | {"coin": "SOL"}
    assert venue.stop_names(([SLEEPER, plain, None, {"isTrigger": True}],)) == {"INJ"}


async def test_the_venue_is_asked_once_for_the_stops_of_all_contracts() -> None:
    def two(json: Any) -> Any:
        (first,) = json["assetPositions"]
        json["assetPositions"].append(changed(first, coin="ETH"))
        return json

    async with staged(HyperliquidDesk()) as live:
        live.stage.spoils.append((venue.state_calls(), two))
        before = len(live.stage.asked)
        seen = await live.account.snapshot()
        asked = [each.body["type"] for each in live.stage.asked[before:]]
    assert len(seen.positions) == 2
    assert asked.count("frontendOpenOrders") == 1


# -- contracts -----------------------------------------------------------------------------


def test_a_contract_keeps_its_number_whatever_stands_before_it() -> None:
    spoilt = META | {"universe": [OLD, None, {"name": 7}, COIN, ETH | {"szDecimals": 9}]}
    listed = market.listing_of(spoilt)
    assert (listed.symbols, listed.numbers) == ({"BTC": BTC}, {"BTC": 3})
    assert listed.price_places == {"BTC": 2}
    newer = Listed({"ETH": "E"}, numbers={"ETH": 4}, price_places={"ETH": 3})
    assert listed.renewed_by(newer).numbers == {"BTC": 3, "ETH": 4}


def bitcoin(table: Any, number: int = 56, most: int = 40, mark: str = "60000") -> Any:
    meta = META | {
        "universe": [COIN | {"maxLeverage": most, "marginTableId": number}],
        "marginTables": [[56, {"description": "", "marginTiers": table}]],
    }
    fees = {"userCrossRate": "0.00045"}
    jsons = ([meta, [{"markPx": mark, "funding": "0"}]], fees)
    return market.instrument_of(jsons, market.listing_of(meta), "BTC")


FORTY = [
    {"lowerBound": "0.0", "maxLeverage": 40},
    {"lowerBound": "150000000.0", "maxLeverage": 20},
]


def test_tiers_need_half_of_the_initial_margin_and_do_not_jump() -> None:
    """`documented`: its page on margin tiers, whose deduction of bitcoin is 1,875,000."""
    first, second = bitcoin(FORTY).tiers
    assert (first.rate, first.deduction, first.leverage_max) == (D("0.0125"), D(0), D(40))
    assert (second.rate, second.deduction) == (D("0.025"), D(1_875_000))
    assert (first.cap, second.cap) == (D(150_000_000), D("Infinity"))
    (only,) = bitcoin([], number=5, most=5).tiers
    assert (only.rate, only.cap) == (D("0.1"), D("Infinity"))


@pytest.mark.parametrize(
    ("table", "number", "most"),
    [
        (FORTY, 57, 40),
        (FORTY, 56, 50),
        (FORTY, 5, 10),
        ([], 56, 40),
        (FORTY[1:], 56, 20),
        ([FORTY[0], FORTY[0]], 56, 40),
    ],
)
def test_tiers_that_contradict_each_other_are_no_contract(
    table: Any, number: int, most: int
) -> None:
    with pytest.raises(Unreadable):
        bitcoin(table, number, most)


def test_a_grid_is_as_coarse_as_twice_the_mark_and_a_slice_as_small_as_the_least_cap() -> None:
    assert bitcoin(FORTY).tick_size == D(1)
    assert bitcoin(FORTY, mark="4999").tick_size == D("0.1")
    assert bitcoin(FORTY, mark="5001").tick_size == D(1)
    assert bitcoin(FORTY, mark="0.5").tick_size == D("0.01"), "six decimals with those of its size"
    assert bitcoin(FORTY).quantity_max == D(125)
    assert bitcoin([], number=5, most=5, mark="100").quantity_max == D(2_500)


@pytest.mark.parametrize("spoilt", [[], [None], [["BTC", [["HlPerp", None]]]], [["ETH", []]], {}])
def test_a_contract_without_a_bill_of_its_own_has_no_interval(spoilt: Any) -> None:
    with pytest.raises(Unreadable):
        market.interval_of(spoilt, "BTC")


def test_marks_and_bills_are_read_beside_those_that_cannot_be() -> None:
    good = {"markPx": "60000", "funding": "0.0001"}
    pair = [META, [good, good | {"markPx": "0"}, good]]
    (mark,) = market.marks_of([pair, BILLS], LISTED)
    assert mark == Marked("ETH/USDC:USDC", D(60_000), D("0.0001"), 1_900_000_800_000)  # type: ignore[arg-type]
    with pytest.raises(Unreadable):
        market.marks_of([[META, [good]], BILLS], LISTED)
    assert market.marks_of([[META, [good] * 3], []], LISTED)[0].next_at_ms == 0


def test_bars_are_of_hours_that_are_over() -> None:
    hour = 3_600_000
    candle = {
        "T": 1,
        "s": "BTC",
        "i": "1h",
        "o": "5",
        "c": "6",
        "h": "7",
        "l": "4",
        "v": "1",
        "n": 3,
    }
    rows = [candle | {"t": at * hour} for at in (1, 3, 4, 5)]
    found = market.bars_of(rows, BTC, 5 * hour + 5)
    assert (found.closed_at_ms, len(found.bars)) == (5 * hour, 2)
    assert (found.bars[0].high, found.bars[0].low, found.bars[0].close) == (D(7), D(4), D(6))


# -- what an answer proves -----------------------------------------------------------------

PLACE = PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D(57_000)))
CLOSE = ClosePosition(BTC, Side.LONG, Quantity(D("0.1")))
CANCEL = CancelStop(BTC, Side.LONG, ID)
ADD = AddMargin(BTC, Side.LONG, Money(D(1)))


def ok(kind: str, *statuses: Any) -> Any:
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": list(statuses)}}}


DEFAULT = {"status": "ok", "response": {"type": "default"}}
RESTING = {"resting": {"oid": 77738308, "cloid": CLOID}}
FILLED = {"filled": {"totalSz": "0.02", "avgPx": "1891.4", "oid": 77747314, "cloid": CLOID}}
UNKNOWN_WALLET = f"User or API Wallet {ADDRESS} does not exist."


@pytest.mark.parametrize(
    ("action", "answer", "expected"),
    [
        (PLACE, ok("order", RESTING), Accepted),
        (PLACE, ok("order", FILLED), Accepted),
        (CLOSE, ok("order", FILLED), Accepted),
        (CANCEL, ok("cancel", "success"), Accepted),
        (ADD, DEFAULT, Accepted),
        (CLOSE, ok("order", {"error": f"{UNFILLED} asset=1"}), Accepted),
        (PLACE, ok("order", {"error": f"{UNFILLED} asset=1"}), Unsure),
        (CLOSE, ok("order", RESTING), Unsure),
        (PLACE, ok("order", {"error": "Invalid TP/SL price. asset=1"}), Refused),
        (CLOSE, ok("order", {"error": "Reduce only order would increase position."}), Refused),
        (CLOSE, ok("order", {"error": "Insufficient margin to place order. asset=84"}), Refused),
        (PLACE, {"status": "err", "response": UNKNOWN_WALLET}, Refused),
        (ADD, {"status": "err", "response": UNKNOWN_WALLET}, Refused),
        (CANCEL, ok("cancel", {"error": f"{GONE} asset=1"}), Unsure),
        (PLACE, ok("order", {"error": "Invalid TP/SL price, or not. asset=1"}), Unsure),
        (PLACE, ok("order", {"error": "Invalid TP/SL price. asset=1 asset=2"}), Unsure),
        (ADD, {"status": "err", "response": "Too many cumulative requests sent (9 > 8)"}, Unsure),
        (PLACE, ok("order", "waitingForTrigger"), Unsure),
        (PLACE, ok("order", "success"), Unsure),
        (PLACE, ok("order"), Unsure),
        (PLACE, ok("order", RESTING, RESTING), Unsure),
        (PLACE, ok("order", {"resting": {"oid": 1}}), Unsure),
        (PLACE, ok("order", {"resting": {"cloid": CLOID}}), Unsure),
        (PLACE, ok("order", {"resting": {"oid": 1, "cloid": venue.cloid_of(own("x"))}}), Unsure),
        (PLACE, ok("cancel", "success"), Unsure),
        (PLACE, DEFAULT, Unsure),
        (CANCEL, DEFAULT, Unsure),
        (ADD, ok("order", RESTING), Unsure),
        (ADD, {"status": "ok"}, Unsure),
        (ADD, {"status": "unknownOid"}, Unsure),
        (PLACE, {"status": "err"}, Unsure),
        (PLACE, {"error": "Invalid TP/SL price."}, Unsure),
        (PLACE, [RESTING], Unsure),
    ],
)
def test_an_answer_proves_itself_or_nothing(action: Action, answer: Any, expected: type) -> None:
    reply = orders.reply_of(Heard(200, {}, json.dumps(answer)), action, ID, LISTED)
    assert isinstance(reply, expected), reply
    for status in (201, 422, 429, 500):
        other = orders.reply_of(Heard(status, {}, json.dumps(answer)), action, ID, LISTED)
        assert isinstance(other, Unsure)


def test_no_text_on_the_list_may_leave_something_done() -> None:
    assert not {GONE, UNFILLED} & REFUSED.keys()


# -- evidence ------------------------------------------------------------------------------

ORDER = {
    "coin": "BTC",
    "side": "A",
    "limitPx": "51300",
    "sz": "0.0",
    "oid": 91490942,
    "timestamp": 1724361546645,
    "isTrigger": False,
    "triggerPx": "0.0",
    "reduceOnly": True,
    "orderType": "Limit",
    "origSz": "0.3",
    "tif": "Ioc",
    "cloid": CLOID,
}
FILLS = [
    {"coin": "BTC", "px": "59970", "sz": "0.2", "oid": 91490942, "side": "A"},
    {"coin": "BTC", "px": "59940", "sz": "0.1", "oid": 91490942, "side": "A"},
    {"coin": "BTC", "px": "1", "sz": "9", "oid": 5, "side": "A"},
]


def looked_up(order: Any, status: str, fills: Any) -> Any:
    told = {"status": "order", "order": {"order": order, "status": status, "statusTimestamp": 1}}
    answers = [Heard(200, {}, json.dumps(each)) for each in (told, fills)]
    return orders.order_of(answers, ID, "BTC", LISTED)


def test_an_order_has_the_price_of_its_fills() -> None:
    filled = Fill(Quantity(D("0.3")), Price(D(59_960)))
    assert looked_up(ORDER, "filled", FILLS) == OrderFound(ID, resting=False, filled=filled)
    waits = ORDER | {"sz": "0.3"}
    assert looked_up(waits, "open", []) == OrderFound(ID, resting=True, filled=NO_FILL)
    assert looked_up(waits, "triggered", []).resting
    ended = looked_up(waits, "iocCancelRejected", FILLS[2:])
    assert ended == OrderFound(ID, resting=False, filled=NO_FILL)
    partly = looked_up(ORDER | {"sz": "0.1"}, "canceled", FILLS[:1])
    assert partly.filled == Fill(Quantity(D("0.2")), Price(D(59_970)))


@pytest.mark.parametrize(
    ("order", "status", "fills"),
    [
        (ORDER, "filled", FILLS[:1]),
        (ORDER, "filled", []),
        (ORDER | {"sz": "0.3"}, "open", FILLS),
        (ORDER, "vanished", FILLS),
        (ORDER | {"coin": "ETH"}, "filled", FILLS),
        (ORDER | {"cloid": None}, "filled", FILLS),
        (ORDER, "filled", {}),
        (ORDER, "filled", [None]),
    ],
)
def test_an_order_and_fills_that_do_not_agree_are_no_evidence(
    order: Any, status: str, fills: Any
) -> None:
    with pytest.raises(Unreadable):
        looked_up(order, status, fills)


def test_only_the_venues_own_word_says_that_there_is_no_order() -> None:
    def told(status: int, answer: Any) -> Any:
        heard = [Heard(status, {}, json.dumps(answer)), Heard(200, {}, "[]")]
        return orders.order_of(heard, ID, "BTC", LISTED)

    assert told(200, {"status": "unknownOid"}) == OrderAbsent()
    for status, answer in ((200, {"status": "lost"}), (200, {}), (404, {"status": "unknownOid"})):
        with pytest.raises(Unreadable):
            told(status, answer)


# -- the account's stream ------------------------------------------------------------------


def frame(**parts: Any) -> Any:
    fill = {"coin": "BTC", "px": "54321", "sz": "0.1", "side": "A", "dir": "Close Long", "oid": 1}
    data = {"user": ADDRESS, "fills": [fill | parts]}
    return {"channel": "userFills", "data": data}


def hit(user: str) -> Any:
    return {"liquidatedUser": user, "markPx": "54000", "method": "market"}


def heard(json: Any) -> Any:
    return venue.account_frame(json, LISTED, 5)


def test_a_fill_tells_whether_the_venue_took_the_position_and_from_whom() -> None:
    gone = heard(frame(liquidation=hit(ADDRESS.upper().replace("X", "x"))))
    assert gone == Liquidated(BTC, Side.LONG, Price(D(54_321)), 5)
    assert heard(frame(liquidation=hit("0x" + "cd" * 20))) == AccountChanged(), "another's"
    assert heard(frame(liquidation=None)) == AccountChanged()
    cut = heard(frame(dir="Auto-Deleveraging", side="B"))
    assert cut == AutoDeleveraged(BTC, Side.SHORT, Quantity(D("0.1")), Price(D(54_321)), 5)


def test_what_was_before_the_stream_is_no_news() -> None:
    old = frame(liquidation=hit(ADDRESS))
    old["data"]["isSnapshot"] = True
    for nothing in (old, {"channel": "pong"}, {"channel": "subscriptionResponse", "data": {}}):
        assert heard(nothing) == Irrelevant()
    for news in ("user", "orderUpdates", "userNonFundingLedgerUpdates"):
        assert heard({"channel": news, "data": []}) == AccountChanged()
    assert isinstance(heard({"channel": "error", "data": "Invalid subscription"}), StreamEnded)
    for bad in ({}, {"channel": "userFills"}, {"channel": "userFills", "data": {"fills": 1}}):
        with pytest.raises(Unreadable):
            heard(bad)


def test_a_mark_frame_is_of_a_contract_that_is_listed_or_nothing() -> None:
    told = {"coin": "BTC", "ctx": {"funding": "0.0000052974", "markPx": "80640.0", "midPx": None}}
    (mark,) = market.mark_frame({"channel": "activeAssetCtx", "data": told}, LISTED)
    assert mark == Marked(BTC, D(80_640), D(0), 0)  # type: ignore[arg-type]
    other = told | {"coin": "xyz:AAPL"}
    assert market.mark_frame({"channel": "activeAssetCtx", "data": other}, LISTED) == ()
    assert market.mark_frame({"channel": "pong"}, LISTED) == ()


# -- before the start ----------------------------------------------------------------------

OWN_AGENT = {"role": "agent", "data": {"user": ADDRESS}}
ASSET = {"user": ADDRESS, "coin": "BTC", "leverage": {"type": "cross", "value": 20}}


@pytest.mark.parametrize(
    ("role", "kept", "word"),
    [
        ({"role": "user"}, "disabled", "cannot withdraw, was that of a user"),
        ({"role": "missing"}, "disabled", "cannot withdraw, was that of a missing"),
        ({"role": "subAccount", "data": {"master": ADDRESS}}, "disabled", "cannot withdraw"),
        ({"role": "agent", "data": {"user": "0x" + "cd" * 20}}, "default", "was another's"),
        (OWN_AGENT, "unifiedAccount", "was unifiedAccount"),
        (OWN_AGENT, "portfolioMargin", "was portfolioMargin"),
        (OWN_AGENT, "dexAbstraction", "was dexAbstraction"),
    ],
)
def test_a_key_that_can_withdraw_and_an_account_of_another_kind_are_refused(
    role: Any, kept: str, word: str
) -> None:
    answers = [role, ASSET, kept]
    (told,) = (*venue.refusals(answers), *venue.unsupported(answers))
    assert word in told


def test_an_api_wallet_of_a_plain_account_is_fine() -> None:
    for kept in ("disabled", "default"):
        good = [OWN_AGENT, ASSET, kept]
        assert venue.refusals(good) == venue.unsupported(good) == ()
    assert venue.unproven([OWN_AGENT, ASSET, "disabled"]) == ()
    for spoilt in ([{}, ASSET, "disabled"], [OWN_AGENT, {}, "disabled"], [OWN_AGENT, ASSET, None]):
        with pytest.raises(Unreadable):
            (venue.refusals(spoilt), venue.unsupported(spoilt))


def test_every_position_is_the_one_that_the_vocabulary_knows() -> None:
    (held,) = snapshot(state(LONG)).positions
    assert held == Position(
        "HYPE",
        Side.LONG,
        Quantity(D("2.0")),
        Price(D("37.829")),
        MarginMode.ISOLATED,
        Money(D("7.531754")),
        D(10),
        Reported(Price(D("35.8559189474"))),
    )


# -- answers that nobody should send -------------------------------------------------------

JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, "", "0", "NaN", "1e400", "abc", "0x10", [], {}, [[]], [{}], [None],
    {"HlPerp": 1}, "é",
)  # fmt: skip

ANSWERS: dict[str, tuple[Any, Any]] = {
    "time": ({"specialStatuses": None, "time": 1764617438643}, market.time_of),
    "listing": (META, market.listing_of),
    "instrument": (
        [[META, [{"markPx": "60000", "funding": "0"}] * 3], {"userCrossRate": "0.00045"}],
        lambda it: market.instrument_of(it, LISTED, "BTC"),
    ),
    "interval": (BILLS, lambda it: market.interval_of(it, "BTC")),
    "marks": (
        [[META, [{"markPx": "60000", "funding": "0.0001"}] * 3], BILLS],
        lambda it: market.marks_of(it, LISTED),
    ),
    "bars": (
        [{"t": 3_600_000, "h": "7", "l": "4", "c": "6"}],
        lambda it: market.bars_of(it, BTC, 9_000_000),
    ),
    "mark frame": (
        {"channel": "activeAssetCtx", "data": {"coin": "BTC", "ctx": {"markPx": "80640.0"}}},
        lambda it: market.mark_frame(it, LISTED),
    ),
    "held": ([state(LONG, SHORT)], venue.held_names),
    "snapshot": (
        [state(LONG, changed(SHORT, coin="BTC")), [SLEEPER, PARENT, SLEEPER | {"cloid": CLOID}]],
        lambda it: venue.snapshot_of((), it[:1], it[1:], LISTED, 1),
    ),
    "stop names": ([[SLEEPER, PARENT]], venue.stop_names),
    "order": (
        [{"status": "order", "order": {"order": ORDER, "status": "filled"}}, FILLS],
        lambda it: orders.order_of(
            [Heard(200, {}, json.dumps(each)) for each in it], ID, "BTC", LISTED
        ),
    ),
    "stream": (frame(liquidation=hit(ADDRESS)), lambda it: venue.account_frame(it, LISTED, 5)),
    "checks": ([OWN_AGENT, ASSET, "disabled"], venue.refusals),
}
WRITES: dict[str, tuple[Action, Any]] = {
    "stop": (PLACE, ok("order", RESTING)),
    "close": (CLOSE, ok("order", FILLED)),
    "refused close": (CLOSE, ok("order", {"error": "Order has zero size. asset=1"})),
    "cancel": (CANCEL, ok("cancel", "success")),
    "margin": (ADD, DEFAULT),
    "whole": (ADD, {"status": "err", "response": UNKNOWN_WALLET}),
}


def spots(json: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part of `json`, but to itself."""
    parts = json.items() if isinstance(json, dict) else enumerate(json)
    ways = []
    for key, part in parts:
        ways.append((*path, key))
        if isinstance(part, dict | list):
            ways += spots(part, (*path, key))
    return ways


def spoilt(json: Any, way: tuple[Any, ...], junk: Any, *, is_gone: bool) -> Any:
    """`json` with another part at the end of `way`, or without it."""
    copy = deepcopy(json)
    place = copy
    for key in way[:-1]:
        place = place[key]
    if is_gone and isinstance(place, dict):
        del place[way[-1]]
    else:
        place[way[-1]] = junk
    return copy


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_changed_anywhere_is_read_or_unreadable(name: str) -> None:
    answer, parse = ANSWERS[name]
    parse(answer)
    outcomes = set()
    for way, junk in product(spots(answer), (*JUNK, "gone")):
        try:
            parse(spoilt(answer, way, junk, is_gone=junk == "gone"))
        except Unreadable:
            outcomes.add("unreadable")
        else:
            outcomes.add("read")
    assert "unreadable" in outcomes


@pytest.mark.parametrize("name", WRITES)
def test_an_answer_to_a_write_that_is_changed_where_it_counts_proves_nothing(name: str) -> None:
    action, answer = WRITES[name]

    def told(json_of: Any) -> Any:
        return orders.reply_of(Heard(200, {}, json.dumps(json_of)), action, ID, LISTED)

    good = told(answer)
    assert isinstance(good, Accepted | Refused)
    for way, junk in product(spots(answer), (*JUNK, "gone")):
        reply = told(spoilt(answer, way, junk, is_gone=junk == "gone"))
        aside = way[-1] in ("oid", "totalSz", "avgPx")
        assert isinstance(reply, Unsure) or (aside and reply == good), (way, junk, reply)


# -- a whole guard on one wallet -----------------------------------------------------------


async def test_a_short_on_one_wallet_is_stopped_and_closed_within_the_reach_of_its_mark() -> None:
    """What every venue owes to an isolated long is asked of all of them in `test_guarded`."""
    text = CROSS_POLICY.replace("VENUE", "hyperliquid").replace("MODE", "one_way")
    text = re.sub(r"USD\b", "USDC", text)
    book = Book(margin_mode=MarginMode.CROSS, quantity=D("-0.1"), liquidation="none")
    async with staged(HyperliquidDesk(book)) as live, at_work(live, text):
        await until(live.desk.resting)
        (trigger,) = live.desk.resting()
        assert book.mark < trigger < D(104_000)
        book.mark = D(103_300)
        await until(lambda: book.quantity == 0)
        await until(lambda: not live.desk.resting())
        closes = [each for each in live.written() if "Ioc" in str(each.body)]
    (order,) = closes[-1].body["action"]["orders"]
    assert (order["b"], order["r"]) == (True, True)
    assert D(103_300) < D(order["p"]) <= D(103_300) * D("1.08") + 1
