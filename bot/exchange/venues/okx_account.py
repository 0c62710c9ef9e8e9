"""
OKX's futures account (v5) for USDT perpetuals: what it holds, what waits in it, its stream.

Shapes: `documented`. The venue counts in contracts, and so do its tiers. Stops are algo orders,
with an id of ours of their own. How bills of margin are asked for by time its papers contradict:
that history is not used. No account has been met yet. In the order of `AccountDialect`.
"""

import hmac
import json as text_json
from base64 import b64encode
from collections.abc import Sequence
from decimal import Decimal
from hashlib import sha256

from bot.core.events import AutoDeleveraged, Liquidated
from bot.core.model import AccountSnapshot, MarginMode, Position, PositionMode, Side, StopOrder
from bot.core.units import ZERO, Money, Price, Quantity
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Irrelevant, Listed, Opening, StreamEnded, Told
from bot.exchange.live.reading import (
    NOT_OPEN,
    NotOpen,
    Row,
    liquidation_in,
    names_of,
    page,
    readable,
    require_worth,
    rows,
    sort_out,
    told_in,
)
from bot.exchange.ports import AccountChanged, NoMarginHistory
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
    words_of,
)

_FUTURES = "2"
"""`acctLv`: 1 is spot, 2 futures (once single-currency), 3 multi-currency, 4 portfolio margin."""

_LEADS = "1"
"""`roleType` of one whose trades others copy."""

_MARGIN_MODES = {"isolated": MarginMode.ISOLATED, "cross": MarginMode.CROSS}
_POSITION_MODES = {"net_mode": PositionMode.ONE_WAY, "long_short_mode": PositionMode.HEDGE}
_SIZE_OFF_MAX = Decimal("0.2")
"""The venue tells the value in dollars, not in the coin."""
AT_MARKET = "-1"


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
    lists = (whole(each, "algo-pending") for each in stops)
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
        lambda row: listed.symbol_of(row.text("instId")),
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
    return config.meaning("posMode", _POSITION_MODES)


def _ours(json: Json) -> list[Json]:
    """
    The rows of perpetuals that the coin settles, and whatever cannot be told to be another's.

    What else the coin backs makes its margin unknown: no read. Positions in other coins, and
    isolated ones of other kinds, are not ours.
    """
    found = []
    for each in whole(json, "positions"):
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


def whole(json: Json, where: str) -> list[Json]:
    return page(data_of(json, where), where, PAGE)


def _position(row: Row, listed: Listed) -> Position | NotOpen:
    if row.number("pos") == ZERO:
        return NOT_OPEN
    name, contracts = row.text("instId"), row.number("pos")
    if name not in listed.sizes:
        raise row.wrong("instId", "a contract that is listed")
    mode = margin_mode_of(row)
    quantity = abs(contracts) * listed.sizes[name]
    worth = quantity * row.above_zero("markPx")
    require_worth(row, "notionalUsd", row.number("notionalUsd"), worth, _SIZE_OFF_MAX)
    is_cross = mode is MarginMode.CROSS
    return Position(
        symbol=listed.symbols[name],
        side=side_of(row),
        quantity=Quantity(quantity),
        entry_price=Price(row.above_zero("avgPx")),
        margin_mode=mode,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("margin")),
        leverage=row.above_zero("lever"),
        liquidation=liquidation_in(row, "liqPx"),
    )


def margin_mode_of(row: Row) -> MarginMode:
    return row.meaning("mgnMode", _MARGIN_MODES)


def side_of(row: Row) -> Side:
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
    found = whole(orders, "algo-pending")
    return readable(found, "algo-pending", lambda row: _stop(row, listed, positions))


def _stop(row: Row, listed: Listed, positions: tuple[Position, ...]) -> list[StopOrder]:
    """The stop; none if it waits for another price, or works on what has another margin mode."""
    told = (row.raw("slTriggerPxType"), row.raw("slOrdPx"), row.raw("state"))
    if told != ("mark", AT_MARKET, "live"):
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


margin_history = NoMarginHistory()
"""None that is used: the venue has bills of it, and how to ask for them is not clear."""


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
    symbol = listed.symbol_of(name)
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
