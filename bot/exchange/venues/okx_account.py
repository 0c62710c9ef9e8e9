"""
OKX's protocol (v5) for USDT perpetuals of a futures account: recipes, strict parsers, proofs.

Recipes: `documented`, and compared with what ccxt 4.5.90 puts on the wire. The venue counts in
contracts, and so do its tiers. Every order names the margin mode of its position, which the last
read told. Stops are algo orders, with an id of ours of their own; what one has sent when it
triggered is found by it. An answer with HTTP 200 and code 0 may hold a refusal in its row. How
bills of margin are asked for by time its papers contradict: that history is not used. No account
has been met yet. In the order of `AccountDialect`.
"""

import hmac
import json as text_json
from base64 import b64encode
from collections.abc import Sequence
from decimal import Decimal
from hashlib import sha256
from typing import assert_never

from bot.core.actions import (
    Action,
    AddMargin,
    AtMarket,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.events import AutoDeleveraged, Liquidated
from bot.core.model import (
    NO_FILL,
    AccountSnapshot,
    Fill,
    Filled,
    LiquidationReport,
    MarginMode,
    NotReported,
    Position,
    PositionMode,
    Reported,
    Side,
    StopOrder,
)
from bot.core.units import ZERO, Money, Price, Quantity
from bot.exchange.live.calls import Call, Heard, Json, Unreadable, parse_json
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import (
    Ground,
    Irrelevant,
    Listed,
    Opening,
    StreamEnded,
    Told,
)
from bot.exchange.live.reading import (
    NOT_OPEN,
    NotOpen,
    Row,
    names_of,
    page,
    readable,
    rows,
    sort_out,
    told_in,
)
from bot.exchange.ports import (
    Accepted,
    AccountChanged,
    MarginChange,
    NoMarginHistory,
    OrderAbsent,
    OrderFound,
    Refused,
    Reply,
    Unsure,
)
from bot.exchange.venues.okx_market import (
    COIN,
    PAGE,
    PING,
    PONG,
    PRIVATE,
    STREAMS,
    SWAPS,
    channel_of,
    data_of,
    row_of,
    rows_of,
    words_of,
)
from bot.exchange.venues.okx_refusals import REFUSED

request_life_ms = 30_000
"""A request is good for half a minute after its date: `documented`."""

GONE = frozenset({"51400", "51401", "51402", "51603"})
_NOT_THERE = "51603"
_HTTP_OK = 200
_REFUSES = frozenset({200, 400, 401})
"""Statuses that a refusal comes with; another, which a proxy may have made, proves nothing."""

_FUTURES = "2"
"""`acctLv`: 1 is spot, 2 futures (once single-currency), 3 multi-currency, 4 portfolio margin."""

_LEADS = "1"
"""`roleType` of one whose trades others copy."""

_MARGIN_MODES = {"isolated": MarginMode.ISOLATED, "cross": MarginMode.CROSS}
_POSITION_MODES = {"net_mode": PositionMode.ONE_WAY, "long_short_mode": PositionMode.HEDGE}
_SIZE_OFF_MAX = Decimal("0.2")
"""The venue tells the value in dollars, not in the coin."""

_ALGO_WAITS = frozenset({"live", "pause"})
_ALGO_WENT = frozenset({"effective", "partially_effective", "partially_failed"})
_ALGO_OVER = frozenset({"canceled", "order_failed"})
_OPEN = frozenset({"live", "partially_filled"})
_OVER = frozenset({"filled", "canceled", "mmp_canceled"})
_AT_MARKET = "-1"


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """The account's mode, which seldom changes."""
    return (Call(PRIVATE, "GET", "account/config", {}, weight=4),)


def state_calls() -> Sequence[Call]:
    """Positions of every kind, and money: what is bound in isolated positions is in neither."""
    return (
        Call(PRIVATE, "GET", "account/positions", {}, weight=2),
        Call(PRIVATE, "GET", "account/balance", {"ccy": COIN}, weight=2),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(_ours(state[0]), "positions", "instId", "pos")


def stops_call(name: str) -> Call:
    """What waits in one contract."""
    return _waiting({"instId": name})


def all_stops_call() -> Call:
    """What waits in any contract."""
    return _waiting({})


def _waiting(of: dict[str, str]) -> Call:
    asked = SWAPS | {"ordType": "conditional", "limit": str(PAGE)} | of
    return Call(PRIVATE, "GET", "trade/orders-algo-pending", asked)


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    lists = (_whole(each, "algo-pending") for each in stops)
    return told_in(lists, "algo-pending", lambda row: row.text("instId"))


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """The account. `cashBal` is without the money of isolated positions (`test-fixture`)."""
    position_mode = _mode(row_of(terms[0], "account/config"))
    positions, garbled = sort_out(
        _ours(state[0]),
        "positions",
        lambda row: _position(row, listed),
        lambda row: listed.symbols.get(row.text("instId"), row.text("instId")),
    )
    wallet, free = _money(state[1])
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=position_mode,
        wallet_balance=wallet,
        free=free,
        positions=positions,
        stops=tuple(stop for each in stops for stop in _stops(each, listed, positions)),
        garbled=garbled,
    )


def _mode(config: Row) -> PositionMode:
    """Whether it has legs; an account of another kind than ours is no read."""
    if config.raw("acctLv") != _FUTURES:
        raise config.wrong("acctLv", f"{_FUTURES}, a futures account")
    told = config.text("posMode")
    if told not in _POSITION_MODES:
        raise config.wrong("posMode", "net_mode or long_short_mode")
    return _POSITION_MODES[told]


def _ours(json: Json) -> list[Json]:
    """
    The rows of perpetuals that the coin settles, and whatever cannot be told to be another's.

    What else the coin backs makes its margin unknown: no read. Positions in other coins, and
    isolated ones of other kinds, are not ours.
    """
    found = []
    for each in _whole(json, "positions"):
        row = each if isinstance(each, dict) else {}
        if row.get("pos") in ("", "0") or row.get("ccy", COIN) != COIN:
            continue
        if row.get("instType", "SWAP") == "SWAP":
            found.append(each)
        elif row.get("mgnMode") != "isolated":
            kind = row.get("instType")
            raise Unreadable(
                f"positions.instType: expected SWAP of what {COIN} backs in cross margin, "
                f"was {kind!r}"
            )
    return found


def _whole(json: Json, where: str) -> list[Json]:
    return page(data_of(json, where), where, PAGE)


def _position(row: Row, listed: Listed) -> Position | NotOpen:
    if row.number("pos") == ZERO:
        return NOT_OPEN
    name, contracts = row.text("instId"), row.number("pos")
    if name not in listed.sizes:
        raise row.wrong("instId", "a contract that is listed")
    mode = _margin_mode(row)
    quantity = abs(contracts) * listed.sizes[name]
    worth = quantity * row.above_zero("markPx")
    if abs(row.number("notionalUsd") - worth) > worth * _SIZE_OFF_MAX:
        about = f"about {worth:f}: a contract may have changed its size"
        raise row.wrong("notionalUsd", about)
    is_cross = mode is MarginMode.CROSS
    return Position(
        symbol=listed.symbols[name],
        side=_side(row),
        quantity=Quantity(quantity),
        entry_price=Price(row.above_zero("avgPx")),
        margin_mode=mode,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("margin")),
        leverage=row.above_zero("lever"),
        liquidation=_liquidation(row),
    )


def _margin_mode(row: Row) -> MarginMode:
    told = row.text("mgnMode")
    if told not in _MARGIN_MODES:
        raise row.wrong("mgnMode", "isolated or cross")
    return _MARGIN_MODES[told]


def _side(row: Row) -> Side:
    """By its leg; without legs by the sign."""
    match row.raw("posSide"):
        case "long":
            return Side.LONG
        case "short":
            return Side.SHORT
        case "net":
            return Side.LONG if row.number("pos") > ZERO else Side.SHORT
        case _:
            pass
    raise row.wrong("posSide", "long, short or net")


def _liquidation(row: Row) -> LiquidationReport:
    """Nothing readable above zero is no report: it says nothing about safety."""
    try:
        return Reported(Price(row.above_zero("liqPx")))
    except Unreadable:
        return NotReported()


def _money(json: Json) -> tuple[Money, Money]:
    """What is bound to no isolated position, and what of it is free."""
    coins = list(rows(row_of(json, "balance").raw("details"), "balance.details"))
    found = [row for row in coins if row.raw("ccy") == COIN]
    if not found:
        return Money(ZERO), Money(ZERO)
    (row,) = found
    if row.raw("liab") not in ("", "0") and row.number("liab") != ZERO:
        raise row.wrong("liab", "no debts")
    return Money(row.number("cashBal")), Money(max(row.number("availEq"), ZERO))


def _stops(orders: Json, listed: Listed, positions: tuple[Position, ...]) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark price to go against a position, and only those.

    One that cannot be read is left out. Were it ours it would be missing, and placed again.
    """
    found = _whole(orders, "algo-pending")
    return readable(found, "algo-pending", lambda row: _stop(row, listed, positions))


def _stop(row: Row, listed: Listed, positions: tuple[Position, ...]) -> list[StopOrder]:
    """The stop; none if it waits for another price, or works on what has another margin mode."""
    told = (row.raw("slTriggerPxType"), row.raw("slOrdPx"), row.raw("state"))
    if told != ("mark", _AT_MARKET, "live"):
        return []
    name = row.text("instId")
    if name not in listed.sizes:
        raise row.wrong("instId", "a contract that is listed")
    sells, leg = row.raw("side") == "sell", row.raw("posSide")
    side = Side.LONG if sells else Side.SHORT
    if leg not in ("net", "", str(side)):
        return []  # it opens
    symbol, tied = listed.symbols[name], row.text("tdMode")
    held = [each for each in positions if (each.symbol, each.side) == (symbol, side)]
    if any(str(each.margin_mode) != tied for each in held):
        return []
    closes_all = row.has("closeFraction") and row.raw("closeFraction") == "1"
    if closes_all and not held:
        return []
    contracts = ZERO if closes_all else row.above_zero("sz")
    return [
        StopOrder(
            symbol=symbol,
            side=side,
            client_id=words_of(row, "algoClOrdId") or row.identity("algoId"),
            quantity=held[0].quantity if closes_all else Quantity(contracts * listed.sizes[name]),
            trigger_price=Price(row.above_zero("slTriggerPx")),
            reduce_only=closes_all or leg == str(side) or row.flag("reduceOnly"),
        )
    ]


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: the last read told the margin mode, and stops are cancelled by our own ids."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action. Every order can only reduce: by its flag, or by its leg."""
    name = listed.id_of(action.symbol)
    leg = _leg(action.side, ground.position_mode)
    match action:
        case AddMargin(amount=amount):
            sent = {"instId": name, "posSide": leg, "type": "add", "amt": f"{amount:f}"}
            return Call(PRIVATE, "POST", "account/position/margin-balance", sent)
        case CancelStop(target_client_id=target):
            sent = {"instId": name, "algoClOrdId": target}
            return Call(PRIVATE, "POST", "trade/cancel-algos", sent, is_batch=True)
        case PlaceStop(quantity=quantity) | ClosePosition(quantity=quantity):
            margin_mode = _held_in(ground, name, action.side)
            if margin_mode is None:
                return Refused("NOT_SENT", f"no {action.side} position of {name} is known")
            order: dict[str, Json] = {
                "instId": name,
                "tdMode": margin_mode,
                "side": "sell" if action.side is Side.LONG else "buy",
                "sz": f"{quantity / listed.sizes[name]:f}",
                **_reducing(leg, ground.position_mode),
                "clOrdId": client_id,
            }
            return _order(action, client_id, order)
    assert_never(action)


def _order(action: PlaceStop | ClosePosition, client_id: str, order: dict[str, Json]) -> Call:
    match action:
        case PlaceStop(trigger_price=trigger):
            # The id's old name too: without it ccxt would make one up, and send that.
            sent = order | {
                "ordType": "conditional",
                "slTriggerPx": f"{trigger:f}",
                "slTriggerPxType": "mark",
                "slOrdPx": _AT_MARKET,
                "algoClOrdId": client_id,
            }
            return Call(PRIVATE, "POST", "trade/order-algo", sent)
        case ClosePosition(bound=bound):
            return Call(PRIVATE, "POST", "trade/order", order | _priced(bound))
    assert_never(action)


def _priced(bound: AtMarket | NoWorseThan) -> dict[str, Json]:
    match bound:
        case AtMarket():
            return {"ordType": "market"}
        case NoWorseThan(price):
            return {"ordType": "ioc", "px": f"{price:f}"}
    assert_never(bound)


def _leg(side: Side, mode: PositionMode) -> str:
    return "net" if mode is PositionMode.ONE_WAY else str(side)


def _reducing(leg: str, mode: PositionMode) -> dict[str, Json]:
    """The flag is of net mode alone; an order against its leg can only reduce it."""
    match mode:
        case PositionMode.ONE_WAY:
            return {"reduceOnly": True}
        case PositionMode.HEDGE:
            return {"posSide": leg}
    assert_never(mode)


def _held_in(ground: Ground, name: str, side: Side) -> str | None:
    """The venue's word for how the position is backed that the last read told of."""
    for each in _whole(ground.state[0], "positions"):
        if isinstance(each, dict) and each.get("instId") == name:
            row = Row(each, "positions")
            if row.raw("pos") not in ("", "0") and _side(row) is side:
                return str(_margin_mode(row))
    return None


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    Code 0 says that the answer has rows, code 1 too; what became of the order the row says.
    """
    try:
        json = parse_json(heard.text)
        answer = Row(json, f"HTTP {heard.status}")
        code = answer.text("code")
        if heard.status not in _REFUSES:
            return Unsure(f"HTTP {heard.status}: {code}")
        found = list(rows(answer.raw("data"), "data")) if answer.has("data") else []
        if code not in ("0", "1"):
            return _refusal(code, words_of(answer, "msg"), action)
        if len(found) != 1:
            return Unsure(f"{code}: expected one row, was {len(found)}")
        (row,) = found
        if row.has("sCode") and row.raw("sCode") != "0":
            return _refusal(row.text("sCode"), words_of(row, "sMsg"), action)
        if code != "0" or heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status}: {code} without a code of its own")
        return _proof(row, action, client_id, listed)
    except Unreadable as e:
        return Unsure(str(e))


def _refusal(code: str, text: str, action: Action) -> Reply:
    """
    What a code proves. That a stop to cancel is gone does not say what became of it: it may have
    been cancelled, or have triggered.
    """
    if code in REFUSED and not (isinstance(action, CancelStop) and code in GONE):
        return Refused(code, text)
    return Unsure(f"{code} {text}")


def _proof(row: Row, action: Action, client_id: str, listed: Listed) -> Reply:
    expected: tuple[object, ...]
    echoed: tuple[object, ...]
    match action:
        case AddMargin(side=side, amount=amount):
            legs = {_leg(side, mode) for mode in PositionMode}
            if row.text("posSide") not in legs:
                raise row.wrong("posSide", " or ".join(sorted(legs)))
            expected = (listed.id_of(action.symbol), "add", amount)
            echoed = (row.text("instId"), row.text("type"), row.number("amt"))
        case PlaceStop():
            row.identity("algoId")
            expected, echoed = (client_id, "0"), (row.raw("algoClOrdId"), row.raw("sCode"))
        case CancelStop(target_client_id=target):
            row.identity("algoId")
            named = row.raw("algoClOrdId") if row.has("algoClOrdId") else target
            expected, echoed = (target, "0"), (named, row.raw("sCode"))
        case ClosePosition():
            row.identity("ordId")
            expected, echoed = (client_id, "0"), (row.raw("clOrdId"), row.raw("sCode"))
        case _:
            assert_never(action)
    if echoed != expected:
        return Unsure(f"expected an echo of {expected}, was {echoed}")
    return Accepted()


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order by our id, an algo order by it, and the last hundred orders that ended."""
    ended = SWAPS | {"instId": name, "limit": str(PAGE)}
    return (
        Call(PRIVATE, "GET", "trade/order", {"instId": name, "clOrdId": client_id}),
        Call(PRIVATE, "GET", "trade/order-algo", {"algoClOrdId": client_id}),
        Call(PRIVATE, "GET", "trade/orders-history", ended),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. A stop that triggered tells its fill by the order that it made."""
    plain, algo, history = answers
    size = listed.sizes[name]
    for row in _found(algo, "algoClOrdId", client_id):
        return _stop_found(row, history, client_id, name, size)
    for row in _found(plain, "clOrdId", client_id):
        return _order_found(row, client_id, name, size)
    return OrderAbsent()


def _found(heard: Heard, key: str, client_id: str) -> list[Row]:
    """The order of an answer, or none where the venue says that it knows none."""
    answer = Row(parse_json(heard.text), f"HTTP {heard.status}")
    if answer.raw("code") == _NOT_THERE:
        return []
    if heard.status != _HTTP_OK:
        raise Unreadable(f"order: expected HTTP 200, was {heard.status}")
    row = row_of(parse_json(heard.text), "order")
    if row.raw(key) != client_id:
        raise row.wrong(key, client_id)
    return [row]


def _stop_found(row: Row, history: Heard, client_id: str, name: str, size: Decimal) -> OrderFound:
    _check_contract(row, name)
    state = row.text("state")
    if state in _ALGO_WAITS:
        return OrderFound(client_id, resting=True, filled=NO_FILL)
    if state in _ALGO_OVER:
        return OrderFound(client_id, resting=False, filled=NO_FILL)
    if state not in _ALGO_WENT:
        raise row.wrong("state", "a state that is known")
    number = row.identity("algoId")
    if history.status != _HTTP_OK:
        raise Unreadable(f"orders-history: expected HTTP 200, was {history.status}")
    for order in rows_of(parse_json(history.text), "orders-history"):
        if order.raw("algoId") == number:
            return _order_found(order, client_id, name, size)
    raise row.wrong("algoId", "that of an order among the last that ended")


def _order_found(row: Row, client_id: str, name: str, size: Decimal) -> OrderFound:
    _check_contract(row, name)
    state = row.text("state")
    if state not in _OPEN | _OVER:
        raise row.wrong("state", "a state that is known")
    return OrderFound(client_id, resting=state in _OPEN, filled=_filled(row, size))


def _check_contract(row: Row, name: str) -> None:
    if row.raw("instId") != name:
        raise row.wrong("instId", name)


def _filled(row: Row, size: Decimal) -> Filled:
    contracts = row.number("accFillSz")
    if contracts == ZERO:
        return NO_FILL
    return Fill(Quantity(contracts * size), Price(row.above_zero("avgPx")))


def margin_call(name: str, since_ms: int) -> NoMarginHistory:
    """None that is used: the venue has bills of it, and how to ask for them is not clear."""
    return NoMarginHistory()


def margin_changes_of(json: Json, listed: Listed) -> tuple[MarginChange, ...]:
    """Never asked for."""
    raise Unreadable("margin: expected no history of it")


# -- the account's stream ------------------------------------------------------------------


_TOLD = (
    {"channel": "balance_and_position"},
    {"channel": "orders", "instType": "SWAP"},
    {"channel": "orders-algo", "instType": "SWAP"},
    {"channel": "liquidation-warning", "instType": "SWAP"},
)
_SECOND_MS = 1_000
_LIQUIDATES = frozenset({"full_liquidation", "partial_liquidation"})


def account_calls() -> Sequence[Call]:
    """Nothing: a stream is signed in to with the key itself."""
    return ()


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """Where the account's events are pushed, after a sign-in."""
    at_s = str(at_ms // _SECOND_MS)
    secret = credentials.secret.get_secret_value().encode()
    signature = hmac.new(secret, f"{at_s}GET/users/self/verify".encode(), sha256).digest()
    login = {
        "apiKey": credentials.key.get_secret_value(),
        "passphrase": credentials.passphrase.get_secret_value(),
        "timestamp": at_s,
        "sign": b64encode(signature).decode(),
    }
    return Opening(
        f"{STREAMS}/private",
        (text_json.dumps({"op": "subscribe", "args": list(_TOLD)}),),
        sign_in=text_json.dumps({"op": "login", "args": [login]}),
        ping=PING,
        pong=PONG,
    )


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: it lasts as long as its socket."""
    return ()


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """What a frame is an alarm for. The category of an order tells whether it is the venue's."""
    frame = Row(json, "frame")
    if frame.has("event"):
        if frame.raw("event") in ("error", "notice"):
            return StreamEnded(f"{frame.raw('event')}: {words_of(frame, 'code')}")
        return Irrelevant()
    channel = channel_of(frame)
    if channel not in {each["channel"] for each in _TOLD}:
        return Irrelevant()
    if channel == "orders":
        for row in rows(frame.raw("data"), "orders"):
            if (told := _taken(row, listed, received_at_ms)) is not None:
                return told
    return AccountChanged()


def _taken(row: Row, listed: Listed, received_at_ms: int) -> Told | None:
    """What the venue took of a position with this fill, if it is the one who did."""
    category = words_of(row, "category")
    if category not in _LIQUIDATES and category != "adl":
        return None
    if row.raw("fillSz") in ("", "0") or row.number("fillSz") == ZERO:
        return None
    name, price = row.text("instId"), Price(row.above_zero("fillPx"))
    symbol = listed.symbols.get(name, name)
    side = Side.LONG if row.text("side") == "sell" else Side.SHORT
    if category in _LIQUIDATES:
        return Liquidated(symbol, side, price, received_at_ms)
    if name not in listed.sizes:
        return AccountChanged()
    quantity = Quantity(row.above_zero("fillSz") * listed.sizes[name])
    return AutoDeleveraged(symbol, side, quantity, price, received_at_ms)


# -- before the start ----------------------------------------------------------------------


def check_calls() -> Sequence[Call]:
    """What has to be known before anything is guarded."""
    return (*terms_calls(), *state_calls())


_KINDS = {"1": "a spot one", "3": "a multi-currency one", "4": "one of portfolio margin"}


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Why this key or account cannot be guarded, a sentence each."""
    config = row_of(jsons[0], "account/config")
    found = []
    allowed = config.text("perm").split(",")
    if "trade" not in allowed:
        found.append(f"API key: expected one that may trade, was {config.raw('perm')}")
    if "withdraw" in allowed:
        found.append("API key: expected one that cannot withdraw, was allowed to (perm)")
    return tuple(found)


def unsupported(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What makes it an account whose liquidation is not known, a sentence each."""
    config = row_of(jsons[0], "account/config")
    level = config.text("acctLv")
    if level != _FUTURES:
        kind = _KINDS.get(level, f"of level {level}")
        found = [f"account: expected a futures account (acctLv 2), was {kind}"]
    else:
        _ours(jsons[1])
        _money(jsons[2])
        found = []
    if config.has("roleType") and config.raw("roleType") == _LEADS:
        found.append("account: one whose trades others copy is not supported")
    return tuple(found)


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: the venue tells what a key may do."""
    return ()
