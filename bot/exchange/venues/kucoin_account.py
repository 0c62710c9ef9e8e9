"""
What a key may ask and do with a classic account for KuCoin's USDT perpetuals.

Recipes: `documented` (the venue's specification of 2025-11 and its pages), and compared with what
ccxt 4.5.90 puts on the wire; hedge mode is newer than the specification, and as the venue's own
list of parameters and two clients have it. Orders and stops are of one path, both with an id of
ours, in whole lots, and name the margin mode of their position: the venue takes isolated unless
told. No account of the venue has been met yet.
"""

import json as text_json
from collections.abc import Sequence
from decimal import Decimal
from typing import assert_never
from urllib.parse import urlencode

import structlog

from bot.core.actions import (
    Action,
    AddMargin,
    AtMarket,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
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
from bot.exchange.live.dialect import Ground, Irrelevant, Listed, Opening, StreamEnded, Told
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
from bot.exchange.venues.kucoin_market import data_of
from bot.exchange.venues.kucoin_refusals import NOT_FOUND, REFUSED

log = structlog.get_logger()

request_life_ms = 5_000
"""A request's date is good for 5 s: `documented`."""

_OF_USDT = {"currency": "USDT"}
_PRIVATE = "futuresPrivate"
_HTTP_OK = 200
_SUCCESS = "200000"
_PAGE = 200
"""Rows of a page at most: the venue says 200 on one page and 1000 on another."""

_ISOLATED, _CROSS = "ISOLATED", "CROSS"
_BOTH = "BOTH"
_SIZE_OFF_MAX = Decimal("0.2")
"""Of the worth told: the mark beside it may be of another moment."""
_ORDER_OPEN, _ORDER_OVER = "open", "done"
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
    return (Call(_PRIVATE, "GET", "position/getPositionMode", {}, weight=2),)


def state_calls() -> Sequence[Call]:
    """Money and positions."""
    return (
        Call(_PRIVATE, "GET", "account-overview", _OF_USDT, weight=5),
        Call(_PRIVATE, "GET", "positions", _OF_USDT, weight=2),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(_held(state[1]), "positions", "symbol", "currentQty")


def _held(json: Json) -> Json:
    return data_of(json, "positions")


def stops_call(name: str) -> Call:
    """What waits for a trigger in one contract."""
    return _stop_orders({"symbol": name})


def all_stops_call() -> Call:
    """What waits in any contract."""
    return _stop_orders({})


def _stop_orders(of: dict[str, str]) -> Call:
    return Call(_PRIVATE, "GET", "stopOrders", {"pageSize": str(_PAGE)} | of, weight=6)


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return told_in(map(_waiting, stops), "stopOrders", lambda row: row.text("symbol"))


def _waiting(json: Json) -> list[Json]:
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
        _held(state[1]),
        "positions",
        lambda row: _position(row, listed, mode),
        lambda row: listed.symbols.get(row.text("symbol"), row.text("symbol")),
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
                _waiting(each), "stopOrders", lambda row: _stop(row, listed, positions)
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
    is_cross = _is_cross(row)
    quantity = abs(lots) * listed.sizes[name]
    worth = quantity * row.above_zero("markPrice")
    if abs(abs(row.number("markValue")) - worth) > worth * _SIZE_OFF_MAX:
        raise row.wrong("markValue", f"about {worth:f}: a contract may have changed its size")
    return Position(
        symbol=listed.symbols[name],
        side=_side(row),
        quantity=Quantity(quantity),
        entry_price=Price(row.above_zero("avgEntryPrice")),
        margin_mode=MarginMode.CROSS if is_cross else MarginMode.ISOLATED,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("posMargin")),
        leverage=row.above_zero("leverage"),
        liquidation=_liquidation(row),
    )


def _named_side(row: Row) -> str:
    """Rows of before there was a hedge mode do not name one."""
    return row.text("positionSide") if row.has("positionSide") else _BOTH


def _side(row: Row) -> Side:
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


def _is_cross(row: Row) -> bool:
    match row.raw("marginMode"):
        case "CROSS":
            return True
        case "ISOLATED":
            return False
        case _:
            pass
    raise row.wrong("marginMode", f"{_CROSS} or {_ISOLATED}")


def _liquidation(row: Row) -> LiquidationReport:
    """What it reports: zero is none, and so is what cannot be read."""
    try:
        return Reported(Price(row.above_zero("liquidationPrice")))
    except Unreadable as e:
        log.info("liquidation_price.not_reported", reason=str(e))
        return NotReported()


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
    match row.raw("stop"):
        case "down":
            side = Side.LONG
        case "up":
            side = Side.SHORT
        case _:
            raise row.wrong("stop", "down or up")
    if not closes_all and row.text("side") != _closing(side):
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
            client_id=_client_id(row),
            quantity=quantity,
            trigger_price=Price(row.above_zero("stopPrice")),
            reduce_only=True,
        )
        for quantity in sizes
    ]


def _closing(side: Side) -> str:
    """The side of an order that closes a position."""
    return "sell" if side is Side.LONG else "buy"


def _client_id(row: Row) -> str:
    """Ours, or for one placed without an id the venue's."""
    given = row.raw("clientOid") if row.has("clientOid") else ""
    return given if isinstance(given, str) and given else row.text("id")


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: a position's margin mode is in what was read last."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action."""
    name = listed.id_of(action.symbol)
    match action:
        case AddMargin(amount=amount):
            sent = {"symbol": name, "margin": f"{amount:f}", "bizNo": client_id}
            sent |= _of_side(action.side, ground.position_mode)
            return Call(_PRIVATE, "POST", "position/margin/deposit-margin", sent)
        case CancelStop(target_client_id=target):
            named = {"clientOid": target, "symbol": name}
            return Call(_PRIVATE, "DELETE", "orders/client-order/{clientOid}", named)
        case PlaceStop(trigger_price=trigger):
            how: dict[str, Json] = {
                "type": "market",
                "stop": "down" if action.side is Side.LONG else "up",
                "stopPriceType": "MP",
                "stopPrice": f"{trigger:f}",
            }
            return _order(action, client_id, listed, ground, how)
        case ClosePosition(bound=bound):
            return _order(action, client_id, listed, ground, _bound(bound))
    assert_never(action)


def _of_side(side: Side, mode: PositionMode) -> dict[str, str]:
    match mode:
        case PositionMode.ONE_WAY:
            return {}
        case PositionMode.HEDGE:
            return {"positionSide": side.upper()}
    assert_never(mode)


def _order(
    action: PlaceStop | ClosePosition,
    client_id: str,
    listed: Listed,
    ground: Ground,
    how: dict[str, Json],
) -> Call | Refused:
    """
    An order that only reduces. Its leverage is left out, as it closes (`documented`).

    Without the position, or with a part of a lot, nothing is sent: a margin mode that was guessed
    is refused by the venue, and a size that was rounded is not the one that was decided on.
    """
    name, side = listed.id_of(action.symbol), action.side

    def mode_of(row: Row) -> list[str]:
        if row.text("symbol") != name or row.number("currentQty") == ZERO:
            return []
        return [_CROSS if _is_cross(row) else _ISOLATED] if _side(row) is side else []

    margin_modes = readable(_held(ground.state[1]), "positions", mode_of)
    if len(margin_modes) != 1:
        return Refused("NOT_SENT", f"expected a {side} position in {name}, was none")
    lots = action.quantity / listed.sizes[name]
    if lots != lots.to_integral_value():
        return Refused("NOT_SENT", f"expected whole lots of {name}, was {lots}")
    sent: dict[str, Json] = {
        "clientOid": client_id,
        "symbol": name,
        "side": _closing(side),
        "size": int(lots),
        "reduceOnly": True,
        "marginMode": margin_modes[0],
    }
    sent |= how | _of_side(side, ground.position_mode)
    return Call(_PRIVATE, "POST", "orders", sent)


def _bound(bound: AtMarket | NoWorseThan) -> dict[str, Json]:
    match bound:
        case AtMarket():
            return {"type": "market"}
        case NoWorseThan(price):
            return {"type": "limit", "timeInForce": "IOC", "price": f"{price:f}"}
    assert_never(bound)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    An order and a stop are proven by our id, a cancel by that of its target, margin by the
    position that the answer shows: "success" without one is how the venue says that there is none.
    """
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if (code := row.text("code")) != _SUCCESS:
            return Refused(code, heard.text[:120]) if code in REFUSED else Unsure(heard.text[:120])
        if heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status} with the code of success")
        data = Row(row.raw("data"), f"{row.where}.data")
        match action:
            case AddMargin():
                name = listed.id_of(action.symbol)
                is_isolated = not data.flag("crossMode")
                is_it = is_isolated and (data.text("symbol"), _side(data)) == (name, action.side)
            case PlaceStop() | ClosePosition():
                data.text("orderId")
                is_it = data.raw("clientOid") == client_id
            case CancelStop(target_client_id=target):
                is_it = data.raw("clientOid") == target
            case _:
                assert_never(action)
    except Unreadable as e:
        return Unsure(str(e))
    return Accepted() if is_it else Unsure("the answer is about something else")


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order or a stop by our id, and the stops that wait."""
    by_id = Call(_PRIVATE, "GET", "orders/byClientOid", {"clientOid": client_id}, weight=5)
    return (by_id, stops_call(name))


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. That there is none is told by a code, whatever the status."""
    order, waiting = answers
    if waiting.status != _HTTP_OK:
        raise Unreadable(f"stopOrders: expected HTTP 200, was {waiting.status}")
    row = Row(parse_json(order.text), "order")
    if not (row.has("msg") and (row.raw("code"), row.raw("msg")) == NOT_FOUND):
        if order.status != _HTTP_OK:
            raise Unreadable(f"order: expected HTTP 200, was {order.status}")
        found = Row(data_of(parse_json(order.text), "order"), "order")
        return _found(found, client_id, name, listed)
    for stop in rows(_waiting(parse_json(waiting.text)), "stopOrders"):
        if stop.has("clientOid") and stop.raw("clientOid") == client_id:
            return OrderFound(client_id, resting=True, filled=NO_FILL)
    return OrderAbsent()


def _found(row: Row, client_id: str, name: str, listed: Listed) -> OrderFound:
    if (row.raw("symbol"), row.raw("clientOid")) != (name, client_id):
        raise row.wrong("clientOid", client_id)
    status = row.text("status")
    if status not in (_ORDER_OPEN, _ORDER_OVER):
        raise row.wrong("status", f"{_ORDER_OPEN} or {_ORDER_OVER}")
    filled: Filled = NO_FILL
    if (lots := row.number("dealSize")) > ZERO:
        quantity = Quantity(lots * listed.sizes[name])
        filled = Fill(quantity, Price(row.above_zero("avgDealPrice")))
    return OrderFound(client_id, resting=status == _ORDER_OPEN, filled=filled)


def margin_call(name: str, since_ms: int) -> Call | NoMarginHistory:
    """None: the venue's ledger is of profit and transfers."""
    return NoMarginHistory()


def margin_changes_of(json: Json, listed: Listed) -> tuple[MarginChange, ...]:
    """Never asked for."""
    raise Unreadable("margin: expected no history of it")


# -- the account's stream ------------------------------------------------------------------


def account_calls() -> Sequence[Call]:
    """A token, and where it is good."""
    return (Call(_PRIVATE, "POST", "bullet-private", {}, weight=10),)


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
        Call(_PRIVATE, "GET", "positions", _OF_USDT, weight=2),
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
    found += readable(_held(held), "positions", _refused)
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
