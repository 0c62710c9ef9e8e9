"""
Bitunix's protocol for USDT perpetuals: recipes of requests, strict parsers, proofs of refusal.

Recipes: `documented`; no released ccxt knows the venue, so `bitunix_client` signs on its base. It
counts in base. Stops are "tpsl" orders of a position, known by the venue's number alone, so that a
`NumberedAccount` keeps which are ours. Its papers contradict what others have met: such places are
marked, and read as either. No account of the venue has been met by us. In the order of
`AccountDialect`.
"""

import hashlib
import json as text_json
from collections.abc import Sequence
from typing import assert_never

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
from bot.exchange.venues.bitunix_market import (
    API,
    COIN,
    PRIVATE,
    SECOND_MS,
    STREAMS,
    code_of,
    data_of,
    one_of,
    ping_of,
    subscription_of,
)
from bot.exchange.venues.bitunix_refusals import NOT_FOUND, REFUSED

log = structlog.get_logger()
request_life_ms = 60_000
"""`assumed`: requests carry a date, and how old one may be is not told."""
_HTTP_OK = 200
_PAGE = 100
_TRADES_PAGES = 2
_NONCE = 32

_TOLD = frozenset({"order", "position", "balance", "wallet", "tpsl", "tp_sl"})
"""Channels of the account; the venue's pages and others' clients name two of them differently."""

_ORDER_OPEN = frozenset({"INIT", "NEW", "PART_FILLED"})
_ORDER_OVER = frozenset({"FILLED", "CANCELED", "PART_FILLED_CANCELED", "EXPIRED"})
_STOP_OVER = frozenset({"CANCELED", "SYSTEM_CANCELED", "FAILED", "EXPIRED"})
_SIDES = {"LONG": Side.LONG, "BUY": Side.LONG, "SHORT": Side.SHORT, "SELL": Side.SHORT}
"""Of a position: LONG and SHORT are `documented`, BUY and SELL were met by others."""


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """Nothing: a position tells its own mode and leverage."""
    return ()


def state_calls() -> Sequence[Call]:
    """
    Money, and positions of this account alone.

    Margin that moves between the answers harms none: locked money has all margins in it.
    """
    own = {"includeSubAccounts": "false"}
    return (
        Call(PRIVATE, "GET", f"{API}/account", {"marginCoin": COIN}),
        Call(PRIVATE, "GET", f"{API}/position/get_pending_positions", own),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(data_of(state[1], "positions"), "positions", "symbol", "qty")


def stops_call(name: str) -> Call:
    """What waits in one contract."""
    asked = {"symbol": name, "limit": str(_PAGE)}
    return Call(PRIVATE, "GET", f"{API}/tpsl/get_pending_orders", asked)


def all_stops_call() -> Call:
    """What waits in any contract."""
    return Call(PRIVATE, "GET", f"{API}/tpsl/get_pending_orders", {"limit": str(_PAGE)})


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return told_in(map(_waiting, stops), "tpsl", lambda row: row.text("symbol"))


def _waiting(json: Json) -> list[Json]:
    return page(data_of(json, "tpsl"), "tpsl", _PAGE)


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """
    The account.

    `available` is without the profit of cross positions (`documented`); what they have lost is
    taken off what may be spent, as none of it can be.
    """
    account = one_of(state[0], "account")
    mode = _mode(account)
    held: dict[str, Position] = {}

    def position(row: Row) -> Position | NotOpen:
        if row.number("qty") == ZERO:
            return NOT_OPEN
        if _mode(row) is not mode:
            raise row.wrong("positionMode", f"{mode}, as the account's")
        found = held[row.identity("positionId")] = _position(row, listed)
        return found

    positions, garbled = sort_out(
        data_of(state[1], "positions"),
        "positions",
        position,
        lambda row: listed.symbols.get(row.text("symbol"), row.text("symbol")),
    )
    bound = sum((each.isolated_margin for each in positions), ZERO)
    available = account.number("available")
    locked = account.number("frozen") + account.number("margin")
    lost = min(account.number("crossUnrealizedPNL"), ZERO)
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=mode,
        wallet_balance=Money(available + locked - bound),
        free=Money(max(available + lost, ZERO)),
        positions=positions,
        stops=tuple(stop for each in stops for stop in _stops(each, held)),
        garbled=garbled,
    )


def _mode(row: Row) -> PositionMode:
    match row.raw("positionMode"):
        case "ONE_WAY":
            return PositionMode.ONE_WAY
        case "HEDGE":
            return PositionMode.HEDGE
        case _:
            pass
    raise row.wrong("positionMode", "ONE_WAY or HEDGE")


def _open(json: Json) -> list[Row]:
    found = rows(data_of(json, "positions"), "positions")
    return [row for row in found if row.number("qty") != ZERO]


def _position(row: Row, listed: Listed) -> Position:
    name = row.text("symbol")
    if name not in listed.symbols:
        raise row.wrong("symbol", "a contract that is listed")
    is_cross = _is_cross(row)
    return Position(
        symbol=listed.symbols[name],
        side=_side(row),
        quantity=Quantity(row.above_zero("qty")),
        entry_price=Price(row.above_zero("avgOpenPrice")),
        margin_mode=MarginMode.CROSS if is_cross else MarginMode.ISOLATED,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("margin")),
        leverage=row.above_zero("leverage"),
        liquidation=_liquidation(row),
    )


def _side(row: Row) -> Side:
    side = row.text("side")
    if side not in _SIDES:
        raise row.wrong("side", "LONG or SHORT")
    return _SIDES[side]


def _is_cross(row: Row) -> bool:
    match row.raw("marginMode"):
        case "CROSS":
            return True
        case "ISOLATION":
            return False
        case _:
            pass
    raise row.wrong("marginMode", "CROSS or ISOLATION")


def _liquidation(row: Row) -> LiquidationReport:
    """What it reports: zero or less is none (`documented`), and so is what cannot be read."""
    try:
        return Reported(Price(row.above_zero("liqPrice")))
    except Unreadable as e:
        log.info("liquidation_price.not_reported", reason=str(e))
        return NotReported()


def _stops(json: Json, held: dict[str, Position]) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark price to close a position, and only those.

    One that is not readable is another's, of a kind not known here; one of ours would be seen as
    missing, and placed.
    """
    return readable(_waiting(json), "tpsl", lambda row: _stop(row, held))


def _stop(row: Row, held: dict[str, Position]) -> list[StopOrder]:
    """The loss side of an order; without a quantity it is for the whole position."""
    position = held.get(row.identity("positionId"))
    if position is None or not _has(row, "slPrice") or not _is_of_mark(row):
        return []
    quantity = row.above_zero("slQty") if _has(row, "slQty") else position.quantity
    return [
        StopOrder(
            symbol=position.symbol,
            side=position.side,
            client_id=row.identity("id"),
            quantity=Quantity(quantity),
            trigger_price=Price(row.above_zero("slPrice")),
            reduce_only=True,
        )
    ]


def _has(row: Row, name: str) -> bool:
    return row.has(name) and row.raw(name) not in (None, "", "0", 0)


def _is_of_mark(row: Row) -> bool:
    """A market order on the mark price: MARK_PRICE is documented, MARK was met too."""
    kind = str(row.raw("slOrderType")).upper() if _has(row, "slOrderType") else "MARKET"
    return row.text("slStopType").upper() in {"MARK_PRICE", "MARK"} and kind == "MARKET"


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: a position's number is in what was read last, and the way out waits for none."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """
    The recipe of an action.

    In hedge mode an order names the position that it closes, and its `side` is the side of the
    position: BUY closes a long (`documented`, against all habit). In one-way mode a `reduceOnly`
    sale closes a long.
    """
    name = listed.id_of(action.symbol)
    match action:
        case AddMargin(amount=amount):
            sent = {
                "symbol": name,
                "marginCoin": COIN,
                "amount": f"{amount:f}",
                "side": action.side.upper(),
            }
            return Call(PRIVATE, "POST", f"{API}/account/adjust_position_margin", sent)
        case CancelStop(target_client_id=target):
            if not target.isdecimal():
                return Refused("NOT_SENT", f"expected a stop whose number is known, was {target}")
            sent = {"symbol": name, "orderId": target}
            return Call(PRIVATE, "POST", f"{API}/tpsl/cancel_order", sent)
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            number = _number_of(ground, name, action.side)
            if not number:
                return Refused("NOT_SENT", f"expected a position in {name}, was none")
            sent = {
                "symbol": name,
                "positionId": number,
                "slPrice": f"{trigger:f}",
                "slStopType": "MARK_PRICE",
                "slOrderType": "MARKET",
                "slQty": f"{quantity:f}",
            }
            return Call(PRIVATE, "POST", f"{API}/tpsl/place_order", sent)
        case ClosePosition():
            return _close(action, client_id, name, ground)
    assert_never(action)


def _close(action: ClosePosition, client_id: str, name: str, ground: Ground) -> Call | Refused:
    is_long = action.side is Side.LONG
    of: dict[str, Json]
    match ground.position_mode:
        case PositionMode.ONE_WAY:
            of = {"side": "SELL" if is_long else "BUY", "reduceOnly": True}
        case PositionMode.HEDGE:
            number = _number_of(ground, name, action.side)
            if not number:
                return Refused("NOT_SENT", f"expected a position in {name}, was none")
            side = "BUY" if is_long else "SELL"
            of = {"side": side, "tradeSide": "CLOSE", "positionId": number}
    sent = {"symbol": name, "qty": f"{action.quantity:f}", "clientId": client_id} | of
    return Call(PRIVATE, "POST", f"{API}/trade/place_order", sent | _bound(action.bound))


def _bound(bound: AtMarket | NoWorseThan) -> dict[str, str]:
    match bound:
        case AtMarket():
            return {"orderType": "MARKET"}
        case NoWorseThan(price):
            return {"orderType": "LIMIT", "effect": "IOC", "price": f"{price:f}"}
    assert_never(bound)


def _number_of(ground: Ground, name: str, side: Side) -> str:
    """The venue's number of a position; "" where it was not there at the last read."""

    def number(row: Row) -> list[str]:
        is_it = row.text("symbol") == name and row.number("qty") != ZERO and _side(row) is side
        return [row.identity("positionId")] if is_it else []

    found = readable(data_of(ground.state[1], "positions"), "positions", number)
    return found[0] if found else ""


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    An order is proven by our id in its answer, a stop by a number, a cancel by the number that
    was sent; margin by the whole of the venue's envelope of success.
    """
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if (code := code_of(row)) != "0":
            return Refused(code, heard.text[:120]) if code in REFUSED else Unsure(heard.text[:120])
        if heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status} with the code of success")
        return _proof(row, action, client_id)
    except Unreadable as e:
        return Unsure(str(e))


def _proof(row: Row, action: Action, client_id: str) -> Reply:
    match action:
        case AddMargin():
            row.raw("data")
            row.text("msg")
            return Accepted()
        case PlaceStop():
            return Accepted(_answered(row).identity("orderId"))
        case CancelStop(target_client_id=target):
            is_it = _answered(row).identity("orderId") == target
            return Accepted() if is_it else Unsure("the answer is about another stop")
        case ClosePosition():
            made = _answered(row)
            made.identity("orderId")
            is_it = made.raw("clientId") == client_id
            return Accepted() if is_it else Unsure("the answer is about another order")
    assert_never(action)


def _answered(row: Row) -> Row:
    """What a write made: an object by the papers, met in a list by others."""
    data = row.raw("data")
    if isinstance(data, list) and len(data) == 1:
        (data,) = data
    return Row(data, f"{row.where}.data")


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """A stop by its number, waiting or over; else an order by our id, and the last fills."""
    if client_id.isdecimal():
        of = {"symbol": name, "limit": str(_PAGE)}
        over = Call(PRIVATE, "GET", f"{API}/tpsl/get_history_orders", of)
        return (stops_call(name), over)
    detail = Call(PRIVATE, "GET", f"{API}/trade/get_order_detail", {"clientId": client_id})
    trades = (
        Call(
            PRIVATE,
            "GET",
            f"{API}/trade/get_history_trades",
            {"symbol": name, "limit": str(_PAGE), "skip": str(_PAGE * page)},
        )
        for page in range(_TRADES_PAGES)
    )
    return (detail, *trades)


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say."""
    for each in answers:
        if each.status != _HTTP_OK:
            raise Unreadable(f"evidence: expected HTTP 200, was {each.status}")
    jsons = [parse_json(each.text) for each in answers]
    if client_id.isdecimal():
        return _stop_found(jsons, client_id)
    detail = Row(jsons[0], "order")
    if code_of(detail) == NOT_FOUND:
        return OrderAbsent()
    row = one_of(jsons[0], "order")
    if (row.raw("symbol"), row.raw("clientId")) != (name, client_id):
        raise row.wrong("clientId", client_id)
    status = row.text("status")
    if status not in _ORDER_OPEN | _ORDER_OVER:
        raise row.wrong("status", "a status that is known")
    filled = _filled(row, [each for json in jsons[1:] for each in _listed_in(json, "tradeList")])
    return OrderFound(client_id, resting=status in _ORDER_OPEN, filled=filled)


def _listed_in(json: Json, name: str) -> list[Row]:
    """The rows of a page: under `name` by the papers; a bare list was met too."""
    data = data_of(json, name)
    return list(rows(data if isinstance(data, list) else Row(data, name).raw(name), name))


def _filled(order: Row, trades: Sequence[Row]) -> Filled:
    """An order tells how much was filled, and its fills at what price: all of them, or none."""
    quantity = order.number("tradeQty")
    if quantity <= ZERO:
        return NO_FILL
    number = order.identity("orderId")
    own = [each for each in trades if str(each.raw("orderId")) == number]
    by_number = {each.identity("tradeId"): each for each in own}
    parts = [(each.above_zero("qty"), each.above_zero("price")) for each in by_number.values()]
    if sum((part for part, _ in parts), ZERO) != quantity:
        raise order.wrong("tradeQty", "what its fills come to")
    price = sum((part * at for part, at in parts), ZERO) / quantity
    return Fill(Quantity(quantity), Price(price))


def _stop_found(jsons: Sequence[Json], number: str) -> OrderFound | OrderAbsent:
    """
    A stop, waiting or over.

    No answer names the fills of one that has triggered: it is told at its trigger. What is asked
    of it is only whether it has filled; what came of that, the position tells.
    """
    if any(row.identity("id") == number for row in rows(_waiting(jsons[0]), "tpsl")):
        return OrderFound(number, resting=True, filled=NO_FILL)
    for row in _listed_in(jsons[1], "orderList"):
        if not row.has("id") or str(row.raw("id")) != number:
            continue
        status = row.text("status").upper()
        if status == "FILLED":
            at = Fill(Quantity(row.above_zero("slQty")), Price(row.above_zero("slPrice")))
            return OrderFound(number, resting=False, filled=at)
        if status not in _STOP_OVER:
            raise row.wrong("status", "a status that is known")
        return OrderFound(number, resting=False, filled=NO_FILL)
    return OrderAbsent()


def margin_call(name: str, since_ms: int) -> NoMarginHistory:
    """None: the venue keeps no history of it."""
    return NoMarginHistory()


def margin_changes_of(json: Json, listed: Listed) -> tuple[MarginChange, ...]:
    """Never asked for."""
    raise Unreadable("margin: expected no history of it")


# -- the account's stream ------------------------------------------------------------------


def account_calls() -> Sequence[Call]:
    """Nothing: the stream is signed for itself."""
    return ()


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """
    Where the account's events are pushed, after a signed login.

    The two channels whose names are contradicted are asked for apart from the two that are sure.
    """
    at_s = at_ms // SECOND_MS
    key = credentials.key.get_secret_value()
    nonce = hashlib.sha256(str(at_ms).encode()).hexdigest()[:_NONCE]
    digest = hashlib.sha256(f"{nonce}{at_s}{key}".encode()).hexdigest()
    secret = credentials.secret.get_secret_value()
    sign = hashlib.sha256(f"{digest}{secret}".encode()).hexdigest()
    named = {"apiKey": key, "timestamp": at_s, "nonce": nonce, "sign": sign}
    login = text_json.dumps({"op": "login", "args": [named]})
    sure = subscription_of([{"ch": "order"}, {"ch": "position"}])
    others = subscription_of([{"ch": "balance"}, {"ch": "tpsl"}])
    return Opening(f"{STREAMS}/private/", (login, sure, others), ping=ping_of(at_ms))


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: its pings keep it."""
    return ()


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """
    What a frame is an alarm for. That a position was liquidated is in no frame known.

    How a login that failed is told is not: a frame about one with a code, or an error, is it.
    """
    frame = Row(json, "frame")
    if frame.has("ch") and str(frame.raw("ch")) in _TOLD:
        return AccountChanged()
    failed = frame.has("error") or (frame.has("code") and str(frame.raw("code")) != "0")
    if failed and (not frame.has("op") or frame.raw("op") != "subscribe"):
        return StreamEnded(str(json)[:120])
    return Irrelevant()


# -- before the start ----------------------------------------------------------------------


def check_calls() -> Sequence[Call]:
    """What has to be known before anything is guarded."""
    return state_calls()


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: the venue tells nothing of the key."""
    return ()


def unsupported(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What makes it an account whose liquidation is not known, a sentence each."""
    account = one_of(jsons[0], "account")
    found = []
    if account.number("bonus") != ZERO:
        found.append(
            "account: expected no bonus, as what it is worth as margin is not told, was "
            f"{account.number('bonus'):f}"
        )
    owners = {str(row.raw("subAccountId")) for row in _open(jsons[1]) if row.has("subAccountId")}
    if len(owners) > 1:
        found.append(f"account: expected the positions of one account, was {len(owners)}")
    return tuple(found)


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What the venue does not tell about the key."""
    return ("API key: the venue does not tell whether it can withdraw",)
