"""
ApeX Omni's answers as the venue documents them, answers that nobody should believe, and that
nothing is ever written to it.

Shapes are those of the venue's pages (`documented`), or of ccxt's fixtures (`recorded`) where it
is said. Figures are ours.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.app import LiveMode
from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.model import NO_FILL, Fill, MarginMode, NotReported, PositionMode, Side
from bot.core.units import Money, Price, Quantity
from bot.exchange.live.calls import Heard, Unreadable
from bot.exchange.live.connection import Loopback
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Irrelevant, Listed, StreamEnded
from bot.exchange.live.findings import CheckFailed, Standing, require_sound
from bot.exchange.live.numbered import NumberedAccount
from bot.exchange.ports import AccountChanged, OrderFound, Refused, Unreachable
from bot.exchange.venues import apex_account, apex_market, apex_orders
from bot.live import LiveKeys, _doctor, _lacks, account_of
from bot.policy.loader import parse_policy
from bot.policy.preset import account_file
from tests.exchange.venues.apex_desk import CONTRACT, ETH, ApexDesk
from tests.exchange.venues.bitunix_desk import BitunixDesk
from tests.exchange.venues.stage import KEYS, Book, staged

D = Decimal
BTC = "BTC/USDT:USDT"
LISTED = Listed({"BTC-USDT": BTC, "ETH-USDT": "ETH/USDT:USDT"})
LONG = {
    "isPrelaunch": False,
    "symbol": "BTC-USDT",
    "status": "",
    "side": "LONG",
    "size": "0.500",
    "entryPrice": "60000.00",
    "exitPrice": "",
    "createdAt": 1690366452416,
    "fee": "0.000000",
    "fundingFee": "0.000000",
    "lightNumbers": "",
    "customInitialMarginRate": "0",
}
FLAT = LONG | {"side": "SHORT", "size": "0.000", "entryPrice": "0.00"}
ETHS = LONG | {"symbol": "ETH-USDT", "side": "SHORT", "size": "2", "entryPrice": "3000"}
ACCOUNT = {
    "id": "3505225848",
    "contractAccount": {
        "takerFeeRate": "0.00050",
        "makerFeeRate": "0.00020",
        "status": "NORMAL",
        "unrealizePnlPriceType": "INDEX_PRICE",
    },
    "contractWallets": [{"balance": "-29000", "asset": "USDT"}, {"balance": "0", "token": "ETH"}],
    "experienceMoney": [{"availableAmount": "0.000000", "token": "USDT"}],
}
WORTH = {
    "totalEquityValue": "900.000000",
    "availableBalance": "100.000000",
    "initialMargin": "100.000000",
    "maintenanceMargin": "100.000000",
    "symbolToOraclePrice": {
        "BTC-USDT": {"oraclePrice": "59900", "createdTime": 124566},
        "ETH-USDT": {"oraclePrice": "2990", "createdTime": 124566},
    },
}
STOP = {
    "id": "588326929805869404",
    "clientId": "8086734464495621",
    "symbol": "BTC-USDT",
    "type": "STOP_MARKET",
    "side": "SELL",
    "size": "0.010",
    "triggerPrice": "59000",
    "triggerPriceType": "INDEX",
    "reduceOnly": True,
    "isPositionTpsl": False,
    "status": "UNTRIGGERED",
}
SYMBOLS = {"data": {"contractConfig": {"perpetualContract": [CONTRACT, ETH]}}}


def snapshot(*positions: Mapping[str, Any], stops: Any = (), worth: Any = WORTH) -> Any:
    state = ({"data": ACCOUNT | {"positions": list(positions)}}, worth)
    return apex_account.snapshot_of((SYMBOLS,), state, ({"orders": list(stops)},), LISTED, 7)


def test_an_account_is_one_wallet_whose_worth_less_profit_it_holds() -> None:
    """Whether `balance` is with what positions cost is not told: it plays no part."""
    seen = snapshot(LONG, FLAT, ETHS)
    long, short = seen.positions
    assert (long.symbol, long.side, long.quantity) == (BTC, Side.LONG, D("0.5"))
    assert (long.margin_mode, long.isolated_margin) == (MarginMode.CROSS, D(0))
    assert (short.side, short.entry_price) == (Side.SHORT, D(3_000))
    assert long.liquidation == short.liquidation == NotReported()
    assert seen.wallet_balance == 900 - (D("0.5") * -100 + 2 * 10)
    assert (seen.free, seen.position_mode) == (D(100), PositionMode.ONE_WAY)


def test_a_leverage_is_the_accounts_or_else_the_contracts_and_never_ccxts() -> None:
    assert snapshot(LONG).positions[0].leverage == D(20), "1 / 0.05: documented as the default"
    (position,) = snapshot(LONG | {"customInitialMarginRate": "0.1"}).positions
    assert position.leverage == D(10)


def test_private_answers_come_within_an_envelope_or_without() -> None:
    bare = apex_account.snapshot_of(
        (SYMBOLS,), (ACCOUNT | {"positions": [LONG]}, {"data": WORTH}), ({"data": []},), LISTED, 7
    )
    assert bare == snapshot(LONG)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("side", "BOTH"),
        ("size", "-1"),
        ("size", "NaN"),
        ("entryPrice", "0"),
        ("symbol", "NO-USDT"),
        ("customInitialMarginRate", None),
    ],
)
def test_what_a_position_stands_on_is_never_made_up(name: str, value: object) -> None:
    with pytest.raises(Unreadable, match=name):
        snapshot(LONG | {name: value})


def test_a_long_and_a_short_of_one_contract_are_no_read() -> None:
    with pytest.raises(Unreadable, match="a long and a short"):
        snapshot(LONG, LONG | {"side": "SHORT"})


def test_without_the_price_of_its_valuation_an_account_is_no_read() -> None:
    for worth in (
        WORTH | {"symbolToOraclePrice": {}},
        WORTH | {"symbolToOraclePrice": {"BTC-USDT": {"oraclePrice": "0"}}},
        WORTH | {"totalEquityValue": None},
        {"code": 20016, "msg": "no"},
    ):
        with pytest.raises(Unreadable):
            snapshot(LONG, worth=worth)


def test_stops_are_those_on_the_price_of_liquidation_and_one_bad_row_hides_no_other() -> None:
    rows = (
        STOP,
        STOP | {"id": "2", "triggerPriceType": "MARKET"},
        STOP | {"id": "3", "type": "TAKE_PROFIT_MARKET"},
        STOP | {"id": "4", "reduceOnly": False},
        STOP | {"id": "5", "status": "CANCELED"},
        STOP | {"id": "6", "triggerPrice": "0"},
        {"symbol": "BTC-USDT"},
        STOP | {"id": "7", "clientId": "", "side": "BUY"},
    )
    found = snapshot(LONG, stops=rows).stops
    assert [(each.client_id, each.side) for each in found] == [
        ("8086734464495621", Side.LONG),
        ("7", Side.SHORT),
    ]


# -- contracts -----------------------------------------------------------------------------


def rules(contract: Mapping[str, Any]) -> Any:
    symbols = {"data": {"contractConfig": {"perpetualContract": [contract, ETH]}}}
    return apex_market.instrument_of((symbols, {"data": ACCOUNT}), LISTED, "BTC-USDT")


def test_listed_steps_are_taken_whole_without_deductions() -> None:
    made = rules(CONTRACT)
    assert [(each.floor, each.rate, each.deduction) for each in made.tiers] == [
        (D(0), D("0.004"), D(0)),
        (D(1_000_000), D("0.005"), D(0)),
    ]
    assert [each.leverage_max for each in made.tiers] == [D(100), D(50)]
    assert (made.taker_fee, made.quantity_max) == (D("0.0005"), D(50))


@pytest.mark.parametrize("limits", [{}, {"positionSteps": None}, {"positionSteps": []}])
def test_without_a_list_steps_follow_the_rule(limits: dict[str, Any]) -> None:
    tiers = rules(CONTRACT | {"riskLimitConfig": limits}).tiers
    assert [(each.floor, each.rate) for each in tiers[:3]] == [
        (D(0), D("0.005")),
        (D(50_000), D("0.006")),
        (D(100_000), D("0.007")),
    ]
    assert len(tiers) == 101
    assert tiers[-1].cap == D("Infinity")
    assert max(each.rate for each in tiers) == D("0.105")


@pytest.mark.parametrize(
    "change",
    [
        {"riskLimitConfig": CONTRACT["riskLimitConfig"] | {"mmrSteps": ["0.004"]}},  # type: ignore[operator]
        {"riskLimitConfig": CONTRACT["riskLimitConfig"] | {"mmrSteps": ["0.005", "0.004"]}},  # type: ignore[operator]
        {"riskLimitConfig": CONTRACT["riskLimitConfig"] | {"mmrSteps": ["0", "0.004"]}},  # type: ignore[operator]
        {"riskLimitConfig": CONTRACT["riskLimitConfig"] | {"positionSteps": ["1", "2"]}},  # type: ignore[operator]
        {"riskLimitConfig": {}, "maxPositionValue": "1e12"},
        {"riskLimitConfig": {}, "incrementalPositionValue": "0"},
        {"riskLimitConfig": None},
    ],
)
def test_steps_that_make_no_ladder_are_none(change: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        rules(CONTRACT | change)


# -- prices --------------------------------------------------------------------------------

TICKER = {
    "symbol": "BTCUSDT",
    "lastPrice": "43511.50",
    "markPrice": "43513.50",
    "indexPrice": "40828.94",
    "oraclePrice": "21412.060000000002752512",
    "fundingRate": "0.1",
    "predictedFundingRate": "0.0000125",
    "nextFundingTime": "2022-08-26T08:00:00Z",
}


def test_the_price_is_that_by_which_the_venue_liquidates() -> None:
    bad = {"data": [TICKER | {"indexPrice": "0"}]}
    (mark,) = apex_market.marks_of((bad, {"data": [TICKER]}, {"code": 3}), LISTED)
    assert (mark.symbol, mark.price, mark.rate) == (BTC, D("40828.94"), D("0.0000125"))
    assert mark.next_at_ms == 1_661_500_800_000


@pytest.mark.parametrize("when", ["10:00:00", "", None, "2022-08-26T08:00:00", "soon", 5])
def test_a_bill_without_its_day_is_not_told(when: object) -> None:
    (mark,) = apex_market.marks_of(({"data": [TICKER | {"nextFundingTime": when}]},), LISTED)
    assert (mark.price, mark.next_at_ms) == (D("40828.94"), 0)


def test_a_frame_tells_what_has_changed() -> None:
    frame = {"topic": "instrumentInfo.H.BTCUSDT", "type": "delta", "data": TICKER}
    assert len(apex_market.mark_frame(frame, LISTED)) == 1
    for data in ({"symbol": "BTCUSDT", "lastPrice": "1"}, TICKER | {"symbol": "X"}):
        assert apex_market.mark_frame(frame | {"data": data}, LISTED) == []
    for other in ({"op": "pong", "args": ["1"]}, {"topic": "orderBook25.H.BTCUSDT"}):
        assert apex_market.mark_frame(other, LISTED) == ()


def test_time_is_told_in_seconds_or_in_milliseconds() -> None:
    assert apex_market.time_of({"data": {"time": 1648626529}}) == 1_648_626_529_000
    assert apex_market.time_of({"data": {"time": 1738837534454}}) == 1_738_837_534_454, "recorded"


def test_bars_are_hours_that_are_over_whatever_holds_them() -> None:
    noon_ms = 1_600_000_000 // 3_600 * 3_600_000
    rows = [
        {"t": str(noon_ms + hour * 3_600_000), "o": "10", "h": high, "l": "9", "c": "10.5"}
        for hour, high in ((4, "14"), (3, "13"), (2, "12"), (0, "11"))
    ]
    for data in (rows, {"BTCUSDT": rows}):  # the second is `recorded`
        told = apex_market.bars_of({"data": data}, BTC, noon_ms + 5 * 3_600_000 - 1)
        assert [str(bar.high) for bar in told.bars] == ["12", "13"]
    with pytest.raises(Unreadable, match="one contract"):
        apex_market.bars_of({"data": {"BTCUSDT": rows, "ETHUSDT": rows}}, BTC, noon_ms)


# -- evidence, streams, checks -------------------------------------------------------------

ORDER = {
    "id": "1234",
    "clientOrderId": "lg1",
    "symbol": "BTC-USDT",
    "status": "FILLED",
    "cumMatchFillSize": "0.5",
    "cumMatchFillValue": "30000.25",
}


def look(body: Any, status: int = 200) -> object:
    heard = Heard(status, {}, json.dumps(body))
    return apex_orders.order_of((heard,), "lg1", "BTC-USDT", LISTED)


def test_an_order_is_found_or_nothing_is_known_of_it() -> None:
    fill = Fill(Quantity(D("0.5")), Price(D("60000.5")))
    assert look({"data": ORDER}) == look(ORDER) == OrderFound("lg1", resting=False, filled=fill)
    waits = ORDER | {"status": "OPEN", "cumMatchFillSize": "0"}
    assert look(waits) == OrderFound("lg1", resting=True, filled=NO_FILL)
    for body in (
        {"code": 20016, "key": "ORDER_NOT_FOUND"},
        {},
        ORDER | {"clientOrderId": "lg2"},
        ORDER | {"symbol": "ETH-USDT"},
        ORDER | {"status": "NEW"},
    ):
        with pytest.raises(Unreadable):
            look(body)
    with pytest.raises(Unreadable, match="502"):
        look(ORDER, 502)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"type": "delta", "topic": "ws_zk_accounts_v3", "contents": {}}, AccountChanged),
        ({"type": "snapshot", "contents": {"positions": []}}, AccountChanged),
        ({"success": True, "ret_msg": ""}, Irrelevant),
        ({"op": "pong", "args": ["1"]}, Irrelevant),
        ({"op": "ping", "args": ["1"]}, Irrelevant),
        ({"success": False, "ret_msg": "login authority err"}, StreamEnded),
        ({"success": "yes"}, StreamEnded),
    ],
)
def test_frames_ring_or_end_the_stream(frame: Any, expected: type) -> None:
    assert isinstance(apex_account.account_frame(frame, LISTED, 5), expected)


def test_a_login_is_signed_as_the_venues_page_signs_it() -> None:
    keys = Credentials(SecretStr("k"), SecretStr("sAVch_qy"), SecretStr("Ri08"))
    opening = apex_account.account_opening((), keys, 1_647_502_440_973)
    login = json.loads(json.loads(opening.asks[0])["args"][0])
    key = base64.b64encode(b"sAVch_qy")
    digest = hmac.new(key, b"1647502440973GET/ws/accounts", hashlib.sha256).digest()
    assert login["signature"] == base64.b64encode(digest).decode()
    assert (login["passphrase"], login["timestamp"]) == ("Ri08", "1647502440973")
    assert "sAVch_qy" not in "".join(opening.asks)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"contractWallets": [{"balance": "1", "asset": "WETH"}]}, "WETH"),
        ({"contractWallets": [{"balance": "-1", "token": "USDC"}]}, "USDC"),
        ({"experienceMoney": [{"availableAmount": "5"}]}, "trial money"),
        ({"contractAccount": {"status": "BANNED"}}, "BANNED"),
    ],
)
def test_an_account_that_cannot_be_guarded_is_refused(change: dict[str, Any], word: str) -> None:
    good, wrong = ({"data": ACCOUNT}, WORTH), (ACCOUNT | change, WORTH)
    assert apex_account.refusals(good) == apex_account.unsupported(good) == ()
    (sentence,) = (*apex_account.refusals(wrong), *apex_account.unsupported(wrong))
    assert word in sentence


READS: dict[str, tuple[Any, Callable[[Any], object]]] = {
    "snapshot": (
        [{"data": ACCOUNT | {"positions": [LONG, FLAT]}}, WORTH, {"orders": [STOP]}, SYMBOLS],
        lambda it: apex_account.snapshot_of(it[3:], it[:2], it[2:3], LISTED, 7),
    ),
    "listing": (SYMBOLS, apex_market.listing_of),
    "rules": (
        [SYMBOLS, {"data": ACCOUNT}],
        lambda it: apex_market.instrument_of(it, LISTED, "BTC-USDT"),
    ),
    "interval": ({"data": [TICKER]}, lambda it: apex_market.interval_of(it, "BTC-USDT")),
    "marks": ({"data": [TICKER]}, lambda it: apex_market.marks_of((it,), LISTED)),
    "mark frame": (
        {"topic": "instrumentInfo.H.BTCUSDT", "data": TICKER},
        lambda it: apex_market.mark_frame(it, LISTED),
    ),
    "account frame": ({"topic": "x"}, lambda it: apex_account.account_frame(it, LISTED, 5)),
    "order": ({"data": ORDER}, look),
    "time": ({"data": {"time": 1648626529}}, apex_market.time_of),
    "before the start": ([{"data": ACCOUNT}, WORTH], apex_account.refusals),
}
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, "", "0", "NaN", "1e400", "abc", [], {}, [[]], [{}], "\x00",
)  # fmt: skip


def places(json: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every part."""
    if not isinstance(json, list | dict):
        return [at]
    names: Any = range(len(json)) if isinstance(json, list) else json
    return [at, *(way for each in names for way in places(json[each], (*at, each)))]


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

ACTIONS: tuple[Action, ...] = (
    AddMargin(BTC, Side.LONG, Money(D(1))),
    PlaceStop(BTC, Side.LONG, Quantity(D("0.1")), Price(D(57_000))),
    CancelStop(BTC, Side.LONG, "lg1"),
    ClosePosition(BTC, Side.LONG, Quantity(D("0.1"))),
)


async def test_nothing_is_ever_written_which_is_proof_that_nothing_was_done() -> None:
    async with staged(ApexDesk()) as live:
        for action in ACTIONS:
            reply = await live.account.send(action, "lg2")
            assert isinstance(reply, Refused)
            assert reply.code == "NOT_SENT"
            assert "zk signature" in reply.text
        assert not live.written()


@pytest.mark.parametrize("quantity", ["0.1", "-0.1"])
async def test_a_snapshot_is_what_the_venue_has(quantity: str) -> None:
    book = Book(margin_mode=MarginMode.CROSS, quantity=D(quantity), mark=D(59_000))
    async with staged(ApexDesk(book)) as live:
        live.desk.hand_stop("theirs", D(57_000), D("0.1"))
        seen = await live.account.snapshot()
    (position,) = seen.positions
    (stop,) = seen.stops
    assert position.quantity == D("0.1")
    assert position.side is stop.side is (Side.LONG if D(quantity) > 0 else Side.SHORT)
    assert position.leverage == D(10)
    assert (seen.wallet_balance, seen.free) == (D(4_400), D(4_400)), "without what is not won yet"


def policy_of(venue_name: str, margin_mode: str) -> Any:
    text = account_file("p.yaml", "balanced", "main", venue_name, margin_mode)
    return parse_policy(text, "p.yaml")


async def test_what_waits_in_two_contracts_is_asked_for_once() -> None:
    async with staged(ApexDesk(Book(quantity=D("0.1")))) as live:
        live.hand_stop("a", D(57_000), D("0.1"))
        (row,) = live.book.stops.values()
        live.book.stops["2"] = row | {"id": "2", "clientOrderId": "b", "symbol": "ETH-USDT"}
        for _ in range(2):  # at first it is looked for everywhere, then where something waits
            seen = await live.account.snapshot()
            assert [each.client_id for each in seen.stops] == ["a", "b"]


async def test_a_policy_is_refused_by_the_doctor_with_what_it_needs_and_why() -> None:
    policy = policy_of("apex", "cross")
    async with staged(ApexDesk()) as live:
        findings = await _doctor(policy, LiveKeys(KEYS, True), Loopback(live.port))
    refused = [each.text for each in findings if each.standing is Standing.REFUSED]
    assert refused.pop() == f"{BTC}: its risk tiers have jumps, not supported yet"
    assert len(refused) == 4
    for effect in ("bounded_close", "cancel_stop", "close", "place_stop"):
        assert any(f"needs {effect}, which" in text for text in refused), effect
    assert all("zk signature" in text for text in refused)
    with pytest.raises(CheckFailed):
        require_sound(_lacks(policy, LiveMode.LIVE), accept_unverified=True)


def test_it_may_be_observed_as_nothing_is_sent_then() -> None:
    require_sound(_lacks(policy_of("apex", "cross"), LiveMode.OBSERVE), accept_unverified=False)
    isolated = policy_of("apex", "isolated")
    with pytest.raises(CheckFailed, match="isolated"):
        require_sound(_lacks(isolated, LiveMode.OBSERVE), accept_unverified=False)


async def test_a_doctor_finds_a_bitunix_account_fine(tmp_path: Path) -> None:
    policy = policy_of("bitunix", "isolated")
    async with staged(BitunixDesk()) as live:
        findings = await _doctor(policy, LiveKeys(KEYS, True), Loopback(live.port))
        require_sound(findings, accept_unverified=True)
        account = account_of(policy, live.live, tmp_path)
    assert isinstance(account, NumberedAccount)
    assert (tmp_path / "main.stops.jsonl").exists(), "beside the journal"
    account._ledger.close()
    assert account_of(policy_of("gate", "isolated"), live.live, tmp_path) is live.live


async def test_a_read_without_the_passphrase_is_no_read() -> None:
    async with staged(ApexDesk()) as live:
        bare = Credentials(KEYS.key, KEYS.secret)
        with pytest.raises(Unreachable, match="AuthenticationError"):
            await _doctor(policy_of("apex", "cross"), LiveKeys(bare, True), Loopback(live.port))
