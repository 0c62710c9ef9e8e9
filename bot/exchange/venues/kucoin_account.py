"""
A classic account on KuCoin for USDT perpetuals: what it holds, what waits in it, its stream.

Shapes: `documented` (the venue's specification of 2025-11 and its pages); hedge mode is newer than
that, and as the venue's own list of parameters and two clients have it. Orders and stops are both
with an id of ours, in whole lots. No account of the venue has been met yet. In the order of
`AccountDialect`.
"""

import json as text_json
from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import urlencode

from bot.core.model import AccountSnapshot, MarginMode, Position, PositionMode, Side, StopOrder
from bot.core.units import ZERO, Money, Price, Quantity
from bot.exchange.live.calls import Call, Json
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
from bot.exchange.venues.kucoin_market import data_of

_OF_USDT = {"currency": "USDT"}
PRIVATE = "futuresPrivate"
_PAGE = 200
"""Rows of a page at most: the venue says 200 on one page and 1000 on another."""

MARGIN_MODES = {"CROSS": MarginMode.CROSS, "ISOLATED": MarginMode.ISOLATED}
_CLOSES_AT = {"down": Side.LONG, "up": Side.SHORT}
_BOTH = "BOTH"
_SIZE_OFF_MAX = Decimal("0.2")
"""Of the worth told: the mark beside it may be of another moment."""
_PING = '{"id":"1","type":"ping"}'
_TOPICS = (
    "/contract/positionAll",
    "/contractMarket/tradeOrders",
    "/contractMarket/advancedOrders",
)
_TOLD = ("/contract/position", "/contractMarket/tradeOrders", "/contractMarket/advancedOrders")
_KEY_MAY = frozenset({"General", "Futures", "Spot", "Margin", "Earn", "Unified"})


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """The account's position mode, which it has for all contracts."""
    return (Call(PRIVATE, "GET", "position/getPositionMode", {}, weight=2),)


def state_calls() -> Sequence[Call]:
    """Money and positions."""
    return (
        Call(PRIVATE, "GET", "account-overview", _OF_USDT, weight=5),
        Call(PRIVATE, "GET", "positions", _OF_USDT, weight=2),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(held_in(state[1]), "positions", "symbol", "currentQty")


def held_in(json: Json) -> Json:
    return data_of(json, "positions")


def stops_call(name: str) -> Call:
    """What waits for a trigger in one contract."""
    return _stop_orders({"symbol": name})


def all_stops_call() -> Call:
    """What waits in any contract."""
    return _stop_orders({})


def _stop_orders(of: dict[str, str]) -> Call:
    return Call(PRIVATE, "GET", "stopOrders", {"pageSize": str(_PAGE)} | of, weight=6)


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return told_in(map(waiting_in, stops), "stopOrders", lambda row: row.text("symbol"))


def waiting_in(json: Json) -> list[Json]:
    """A page that is all there is: by its rows, and by the venue's own count of pages."""
    row = Row(data_of(json, "stopOrders"), "stopOrders")
    if row.integer("totalPage") > 1:
        raise row.wrong("totalPage", "one page")
    return page(row.raw("items"), "stopOrders", _PAGE)


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """The account. Its equity contains unrealised profit (`documented`); the wallet does not."""
    mode = _mode(Row(data_of(terms[0], "position mode"), "position mode"))
    positions, garbled = sort_out(
        held_in(state[1]),
        "positions",
        lambda row: _position(row, listed, mode),
        lambda row: listed.symbol_of(row.text("symbol")),
    )
    money = _money(state[0])
    bound = sum((each.isolated_margin for each in positions), ZERO)
    own = money.number("accountEquity") - money.number("unrealisedPNL")
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=mode,
        wallet_balance=Money(own - bound),
        free=Money(max(money.number("availableBalance"), ZERO)),
        positions=positions,
        stops=tuple(
            stop
            for each in stops
            for stop in readable(
                waiting_in(each), "stopOrders", lambda row: _stop(row, listed, positions)
            )
        ),
        garbled=garbled,
    )


def _money(json: Json) -> Row:
    row = Row(data_of(json, "account-overview"), "account-overview")
    if row.raw("currency") != _OF_USDT["currency"]:
        raise row.wrong("currency", _OF_USDT["currency"])
    return row


def _mode(row: Row) -> PositionMode:
    match row.integer("positionMode"):
        case 0:
            return PositionMode.ONE_WAY
        case 1:
            return PositionMode.HEDGE
        case _:
            pass
    raise row.wrong("positionMode", "0 (one-way) or 1 (hedge)")


def _position(row: Row, listed: Listed, mode: PositionMode) -> Position | NotOpen:
    lots = row.number("currentQty")
    if lots == ZERO:
        return NOT_OPEN
    name = row.text("symbol")
    if name not in listed.symbols:
        raise row.wrong("symbol", "a contract that is listed")
    if (_named_side(row) == _BOTH) is not (mode is PositionMode.ONE_WAY):
        raise row.wrong("positionSide", f"a side of {mode}, as the account's mode")
    margin_mode = row.meaning("marginMode", MARGIN_MODES)
    is_cross = margin_mode is MarginMode.CROSS
    quantity = abs(lots) * listed.sizes[name]
    worth = quantity * row.above_zero("markPrice")
    require_worth(row, "markValue", abs(row.number("markValue")), worth, _SIZE_OFF_MAX)
    return Position(
        symbol=listed.symbols[name],
        side=side_of(row),
        quantity=Quantity(quantity),
        entry_price=Price(row.above_zero("avgEntryPrice")),
        margin_mode=margin_mode,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("posMargin")),
        leverage=row.above_zero("leverage"),
        liquidation=liquidation_in(row, "liquidationPrice"),
    )


def _named_side(row: Row) -> str:
    """Rows of before there was a hedge mode do not name one."""
    return row.text("positionSide") if row.has("positionSide") else _BOTH


def side_of(row: Row) -> Side:
    """
    By its name, or in one-way mode by the sign of its lots.

    Whether the lots of a short have a sign in hedge mode is not known; those of a long have none.
    """
    lots = row.number("currentQty")
    match _named_side(row):
        case "BOTH" if lots != ZERO:
            return Side.LONG if lots > ZERO else Side.SHORT
        case "LONG" if lots > ZERO:
            return Side.LONG
        case "SHORT":
            return Side.SHORT
        case _:
            pass
    raise row.wrong("currentQty", "lots of the side that is named")


def _stop(row: Row, listed: Listed, positions: Sequence[Position]) -> list[StopOrder]:
    """
    A market order that waits for the mark price to close a position, and only that.

    Another's may close whatever is there, and then names neither side nor size.
    """
    if row.text("type") != "market" or row.raw("stopPriceType") != "MP":
        return []
    closes_all = row.flag("closeOrder")
    if not closes_all and not row.flag("reduceOnly"):
        return []
    side = row.meaning("stop", _CLOSES_AT)
    if not closes_all and row.text("side") != closing(side):
        return []  # it takes a profit
    if row.has("positionSide") and row.text("positionSide") not in (_BOTH, side.upper()):
        return []
    name = row.text("symbol")
    if name not in listed.symbols:
        return []
    of = (listed.symbols[name], side)
    if closes_all:
        sizes = [each.quantity for each in positions if (each.symbol, each.side) == of]
    else:
        sizes = [Quantity(row.above_zero("size") * listed.sizes[name])]
    return [
        StopOrder(
            symbol=of[0],
            side=side,
            client_id=row.given("clientOid") or row.text("id"),
            quantity=quantity,
            trigger_price=Price(row.above_zero("stopPrice")),
            reduce_only=True,
        )
        for quantity in sizes
    ]


def closing(side: Side) -> str:
    """The side of an order that closes a position."""
    return "sell" if side is Side.LONG else "buy"


margin_history = NoMarginHistory()
"""None: the venue's ledger is of profit and transfers."""


# -- the account's stream ------------------------------------------------------------------


def account_calls() -> Sequence[Call]:
    """A token, and where it is good."""
    return (Call(PRIVATE, "POST", "bullet-private", {}, weight=10),)


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """Where the account's events are pushed."""
    row = Row(data_of(answers[0], "bullet-private"), "bullet-private")
    servers = list(rows(row.raw("instanceServers"), "bullet-private.instanceServers"))
    if not servers:
        raise row.wrong("instanceServers", "a server")
    endpoint = servers[0].text("endpoint")
    if not endpoint.startswith("wss://"):
        raise servers[0].wrong("endpoint", "an address of wss")
    query = urlencode({"token": row.text("token"), "connectId": str(at_ms)})
    asks = [
        {"id": str(at), "type": "subscribe", "topic": topic, "privateChannel": True}
        for at, topic in enumerate(_TOPICS)
    ]
    texts = tuple(text_json.dumps(each | {"response": True}) for each in asks)
    return Opening(f"{endpoint}?{query}", texts, ping=_PING)


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: its pings keep it."""
    return ()


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """
    What a frame is an alarm for. At which price a position was liquidated is in no frame.

    A position is pushed with every move of its mark too: that is none.
    """
    frame = Row(json, "frame")
    if not frame.has("topic"):
        is_error = frame.has("type") and frame.raw("type") == "error"
        return StreamEnded(str(json)[:120]) if is_error else Irrelevant()
    topic = frame.text("topic")
    if not topic.startswith(_TOLD):
        return Irrelevant()
    if topic.startswith("/contract/position") and frame.raw("subject") == "position.change":
        data = Row(frame.raw("data"), "frame.data")
        reason = data.raw("changeReason") if data.has("changeReason") else ""
        if reason == "markPriceChange" or not data.has("currentQty"):
            return Irrelevant()
    return AccountChanged()


# -- before the start ----------------------------------------------------------------------


def check_calls() -> Sequence[Call]:
    """What has to be known before anything is guarded."""
    return (
        Call("private", "GET", "user/api-key", {}, weight=10),
        Call("utaPrivate", "GET", "account/mode", {}, weight=30),
        Call(PRIVATE, "GET", "positions", _OF_USDT, weight=2),
    )


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Why this key or account cannot be guarded, a sentence each."""
    key, _, held = jsons
    found = []
    allowed = {
        word.strip() for word in Row(data_of(key, "key"), "key").text("permission").split(",")
    }
    if "Futures" not in allowed:
        found.append("API key: expected one that may trade futures, was without Futures")
    found += [
        f"API key: expected one that moves no money out, was allowed to ({word})"
        for word in sorted(allowed - _KEY_MAY)
    ]
    found += readable(held_in(held), "positions", _refused)
    return tuple(found)


def unsupported(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What makes it an account whose liquidation is not known, a sentence each."""
    _, mode, _ = jsons
    kind = Row(data_of(mode, "account mode"), "account mode").text("selfAccountMode")
    return () if kind == "CLASSIC" else (f"account: expected a classic one, was {kind}",)


def _refused(row: Row) -> list[str]:
    if row.number("currentQty") == ZERO or not row.has("autoDeposit"):
        return []
    if not row.flag("autoDeposit"):
        return []
    return [f"{row.text('symbol')}: expected the venue's auto-margin to be off, was on"]


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: the venue tells what a key may do."""
    return ()
