"""
Bitget's protocol for USDT perpetuals of a classic account: recipes, parsers, proofs of refusal.

Recipes: `documented` (API v2), and compared with what ccxt 4.5.90 puts on the wire. The venue
counts in base. Stops are "loss plans" of a position, with a quantity and an id of ours. In hedge
mode the `side` of an order is that of the position: buy closes a long. No account of the venue
has been met yet. In the order of `AccountDialect`.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from decimal import Decimal
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
from bot.exchange.venues.bitget_market import (
    COIN,
    OF_USDT,
    PING,
    PONG,
    PRIVATE,
    STREAMS,
    SUCCESS,
    channel,
    data_of,
    number_or_none,
    text_of,
)
from bot.exchange.venues.bitget_refusals import NOT_FOUND, REFUSED

log = structlog.get_logger()
_ACCOUNT, _ORDER = "v2/mix/account", "v2/mix/order"
request_life_ms = 30_000
"""A request's date is good for 30 s: `documented`."""
_WITH_COIN = OF_USDT | {"marginCoin": COIN}
_HTTP_OK = 200
_PAGE = 100
_SECOND_MS = 1_000
_TOLD = ("orders", "orders-algo", "positions")

_LOSS = frozenset({"loss_plan", "pos_loss"})
_ORDER_OPEN = frozenset({"live", "partially_filled"})
_ORDER_OVER = frozenset({"filled", "canceled"})
_PLAN_OVER = frozenset({"cancelled", "fail_execute"})


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """The account's position mode, which it has for all contracts."""
    return (Call(PRIVATE, "GET", f"{_ACCOUNT}/account", _WITH_COIN | {"symbol": "BTCUSDT"}),)


def state_calls() -> Sequence[Call]:
    """Money and positions."""
    return (
        Call(PRIVATE, "GET", f"{_ACCOUNT}/accounts", OF_USDT),
        Call(PRIVATE, "GET", "v2/mix/position/all-position", _WITH_COIN),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(_held(state[1]), "positions", "symbol", "total")


def stops_call(name: str) -> Call:
    """What waits in one contract."""
    return _plans("pending", {"symbol": name})


def all_stops_call() -> Call:
    """What waits in any contract."""
    return _plans("pending", {})


def _plans(which: str, of: dict[str, str]) -> Call:
    asked = OF_USDT | {"planType": "profit_loss", "limit": str(_PAGE)} | of
    return Call(PRIVATE, "GET", f"{_ORDER}/orders-plan-{which}", asked)


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits; the venue's answers may be in small letters."""
    return told_in(map(_waiting, stops), "plans", lambda row: row.text("symbol").upper())


def _waiting(json: Json) -> list[Json]:
    return page(_entrusted(json), "plans", _PAGE)


def _entrusted(json: Json) -> Json:
    """A list of plans; null where there are none."""
    found = Row(data_of(json, "plans"), "plans").raw("entrustedList")
    return [] if found is None else found


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """The account. Its equity contains unrealised profit (`documented`); the wallet does not."""
    mode = _mode(Row(data_of(terms[0], "account"), "account"))
    held = _held(state[1])
    positions, garbled = sort_out(
        held,
        "positions",
        lambda row: _position(row, listed, mode),
        lambda row: listed.symbols.get(row.text("symbol"), row.text("symbol")),
    )
    money = _money(state[0])
    won = _unrealised(money, held)
    bound = sum((each.isolated_margin for each in positions), ZERO)
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=mode,
        wallet_balance=Money(money.number("accountEquity") - won - bound),
        free=Money(max(money.number("available"), ZERO)),
        positions=positions,
        stops=tuple(stop for each in stops for stop in _stops(each, listed, positions)),
        garbled=garbled,
    )


def _money(json: Json) -> Row:
    found = rows(data_of(json, "accounts"), "accounts")
    coins = [row for row in found if row.has("marginCoin") and row.raw("marginCoin") == COIN]
    if len(coins) != 1:
        raise Unreadable(f"accounts: expected one row of {COIN}, was {len(coins)}")
    return coins[0]


def _unrealised(money: Row, held: list[Json]) -> Decimal:
    """As told with the equity, or where that is blank by the positions."""
    names = ("crossedUnrealizedPL", "isolatedUnrealizedPL")
    if all(money.has(name) and money.raw(name) not in (None, "") for name in names):
        return sum((money.number(name) for name in names), ZERO)
    told = readable(held, "positions", lambda row: [row.number("unrealizedPL")])
    return sum(told, ZERO)


def _mode(row: Row) -> PositionMode:
    match row.raw("posMode"):
        case "one_way_mode":
            return PositionMode.ONE_WAY
        case "hedge_mode":
            return PositionMode.HEDGE
        case _:
            pass
    raise row.wrong("posMode", "one_way_mode or hedge_mode")


def _held(json: Json) -> list[Json]:
    """The list of positions; null where there are none."""
    data = data_of(json, "positions")
    if data is not None and not isinstance(data, list):
        raise Unreadable(f"positions: expected a list, was {data!r}")
    return data or []


def _position(row: Row, listed: Listed, mode: PositionMode) -> Position | NotOpen:
    if row.number("total") == ZERO:
        return NOT_OPEN
    if _mode(row) is not mode:
        raise row.wrong("posMode", f"{mode}, as the account's")
    name = row.text("symbol")
    if name not in listed.symbols:
        raise row.wrong("symbol", "a contract that is listed")
    is_cross = _is_cross(row)
    return Position(
        symbol=listed.symbols[name],
        side=_side(row),
        quantity=Quantity(row.above_zero("total")),
        entry_price=Price(row.above_zero("openPriceAvg")),
        margin_mode=MarginMode.CROSS if is_cross else MarginMode.ISOLATED,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("marginSize")),
        leverage=row.above_zero("leverage"),
        liquidation=_liquidation(row),
    )


def _side(row: Row) -> Side:
    match row.raw("holdSide"):
        case "long":
            return Side.LONG
        case "short":
            return Side.SHORT
        case _:
            pass
    raise row.wrong("holdSide", "long or short")


def _is_cross(row: Row) -> bool:
    match row.raw("marginMode"):
        case "crossed":
            return True
        case "isolated":
            return False
        case _:
            pass
    raise row.wrong("marginMode", "crossed or isolated")


def _liquidation(row: Row) -> LiquidationReport:
    """What it reports: zero or less is none (`documented`), and so is what cannot be read."""
    try:
        return Reported(Price(row.above_zero("liquidationPrice")))
    except Unreadable as e:
        log.info("liquidation_price.not_reported", reason=str(e))
        return NotReported()


def _stops(json: Json, listed: Listed, positions: Sequence[Position]) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark price to close a position, and only those.

    What cannot be read is another's. One of ours would be seen as missing, and placed.
    """
    return readable(_waiting(json), "plans", lambda row: _stop(row, listed, positions))


def _stop(row: Row, listed: Listed, positions: Sequence[Position]) -> list[StopOrder]:
    """A plan is of one position: of the side that it names, or in one-way mode the only one."""
    if row.text("planType") not in _LOSS or row.raw("triggerType") != "mark_price":
        return []
    if number_or_none(row, "executePrice") is not None:
        return []  # a limit order
    symbol = listed.symbols.get(row.text("symbol").upper())
    held = [each for each in positions if each.symbol == symbol and _is_of(row, each)]
    if len(held) != 1:
        return []
    quantity = number_or_none(row, "size") or held[0].quantity
    return [
        StopOrder(
            symbol=held[0].symbol,
            side=held[0].side,
            client_id=_client_id(row),
            quantity=Quantity(quantity),
            trigger_price=Price(row.above_zero("triggerPrice")),
            reduce_only=True,
        )
    ]


def _is_of(row: Row, position: Position) -> bool:
    match row.raw("posSide"):
        case "net":
            return True
        case "long":
            return position.side is Side.LONG
        case "short":
            return position.side is Side.SHORT
        case _:
            pass
    raise row.wrong("posSide", "long, short or net")


def _client_id(row: Row) -> str:
    """Ours, or for one placed without an id the venue's number."""
    given = row.raw("clientOid") if row.has("clientOid") else ""
    return given if isinstance(given, str) and given else row.identity("orderId")


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: a position's margin mode is in what was read last."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action."""
    name = listed.id_of(action.symbol)
    of: dict[str, Json] = _WITH_COIN | {"symbol": name}
    match action:
        case AddMargin(amount=amount):
            sent = of | {"holdSide": str(action.side), "amount": f"{amount:f}"}
            return Call(PRIVATE, "POST", f"{_ACCOUNT}/set-margin", sent)
        case CancelStop(target_client_id=target):
            # Without the list every stop of the contract would go.
            sent = of | {"planType": "loss_plan", "orderIdList": [{"clientOid": target}]}
            return Call(PRIVATE, "POST", f"{_ORDER}/cancel-plan-order", sent)
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            sent = of | {
                "planType": "loss_plan",
                "triggerPrice": f"{trigger:f}",
                "triggerType": "mark_price",
                "executePrice": "0",
                "holdSide": _held_as(action.side, ground.position_mode),
                "size": f"{quantity:f}",
                "clientOid": client_id,
            }
            return Call(PRIVATE, "POST", f"{_ORDER}/place-tpsl-order", sent)
        case ClosePosition():
            return _close(action, client_id, of, ground)
    assert_never(action)


def _held_as(side: Side, mode: PositionMode) -> str:
    """How a plan names its position: `documented`, otherwise in each mode."""
    match mode:
        case PositionMode.ONE_WAY:
            return "buy" if side is Side.LONG else "sell"
        case PositionMode.HEDGE:
            return str(side)
    assert_never(mode)


def _close(
    action: ClosePosition, client_id: str, of: dict[str, Json], ground: Ground
) -> Call | Refused:

    def mode_of(row: Row) -> list[str]:
        is_it = (row.text("symbol"), _side(row)) == (of["symbol"], action.side)
        return [row.text("marginMode")] if is_it and row.number("total") != ZERO else []

    margin_modes = readable(_held(ground.state[1]), "positions", mode_of)
    if len(margin_modes) != 1:
        return Refused("NOT_SENT", f"expected a position in {of['symbol']}, was none")
    is_long = action.side is Side.LONG
    how: dict[str, Json]
    match ground.position_mode:
        case PositionMode.ONE_WAY:
            how = {"side": "sell" if is_long else "buy", "reduceOnly": "YES"}
        case PositionMode.HEDGE:
            how = {"side": "buy" if is_long else "sell", "tradeSide": "close"}
    sent = of | {"marginMode": margin_modes[0], "size": f"{action.quantity:f}"}
    sent |= how | _bound(action.bound) | {"clientOid": client_id}
    return Call(PRIVATE, "POST", f"{_ORDER}/place-order", sent)


def _bound(bound: AtMarket | NoWorseThan) -> dict[str, str]:
    match bound:
        case AtMarket():
            return {"orderType": "market"}
        case NoWorseThan(price):
            return {"orderType": "limit", "force": "ioc", "price": f"{price:f}"}
    assert_never(bound)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    An order and a stop are proven by our id in their answer, a cancel by the id of its target;
    margin by the whole of the venue's envelope of success.
    """
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if (code := row.text("code")) != SUCCESS:
            return Refused(code, heard.text[:120]) if code in REFUSED else Unsure(heard.text[:120])
        if heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status} with the code of success")
        match action:
            case AddMargin():
                row.raw("data")
                row.raw("requestTime")
                is_it = row.text("msg") == "success"
            case PlaceStop() | ClosePosition():
                is_it = Row(row.raw("data"), f"{row.where}.data").raw("clientOid") == client_id
            case CancelStop(target_client_id=target):
                done = rows(Row(row.raw("data"), row.where).raw("successList"), row.where)
                is_it = [each.raw("clientOid") for each in done] == [target]
            case _:
                assert_never(action)
    except Unreadable as e:
        return Unsure(str(e))
    return Accepted() if is_it else Unsure("the answer is about something else")


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order by our id, and the plans that wait or are over."""
    of = {"symbol": name, "clientOid": client_id}
    return (
        Call(PRIVATE, "GET", f"{_ORDER}/detail", OF_USDT | of),
        _plans("pending", {"symbol": name}),
        _plans("history", of),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. The venue may answer that there is no order with another status."""
    detail, waiting, over = answers
    order = parse_json(detail.text)
    for each in (waiting, over):
        if each.status != _HTTP_OK:
            raise Unreadable(f"plans: expected HTTP 200, was {each.status}")
    if Row(order, "order").text("code") != NOT_FOUND:
        if detail.status != _HTTP_OK:
            raise Unreadable(f"order: expected HTTP 200, was {detail.status}")
        return _order_found(Row(data_of(order, "order"), "order"), client_id, name)
    for row in rows(_waiting(parse_json(waiting.text)), "plans"):
        if _is_ours(row, client_id):
            return OrderFound(client_id, resting=True, filled=NO_FILL)
    for row in rows(_entrusted(parse_json(over.text)), "plans"):
        if _is_ours(row, client_id):
            return _plan_found(row, client_id)
    return OrderAbsent()


def _is_ours(row: Row, client_id: str) -> bool:
    return row.has("clientOid") and row.raw("clientOid") == client_id


def _order_found(row: Row, client_id: str, name: str) -> OrderFound:
    if (row.raw("symbol"), row.raw("clientOid")) != (name, client_id):
        raise row.wrong("clientOid", client_id)
    state = row.text("state")
    if state not in _ORDER_OPEN | _ORDER_OVER:
        raise row.wrong("state", "a state that is known")
    filled: Filled = NO_FILL
    if (quantity := number_or_none(row, "baseVolume")) is not None:
        filled = Fill(Quantity(quantity), Price(row.above_zero("priceAvg")))
    return OrderFound(client_id, resting=state in _ORDER_OPEN, filled=filled)


def _plan_found(row: Row, client_id: str) -> OrderFound:
    """
    A stop that is over.

    The price of its fills is in no answer that names it: it is told at its trigger. What is asked
    of it is only whether it has filled; what came of that, the position tells.
    """
    status = row.text("planStatus")
    if status == "executed":
        quantity = number_or_none(row, "baseVolume") or row.above_zero("size")
        at = Fill(Quantity(quantity), Price(row.above_zero("triggerPrice")))
        return OrderFound(client_id, resting=False, filled=at)
    if status not in _PLAN_OVER:
        raise row.wrong("planStatus", "a status that is known")
    return OrderFound(client_id, resting=False, filled=NO_FILL)


def margin_call(name: str, since_ms: int) -> NoMarginHistory:
    """None: of bills with an amount of margin the sign and the field are not told."""
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

    Its time is in seconds: the venue's pages say both, its example and ccxt have seconds.
    """
    at_s = str(at_ms // _SECOND_MS)
    secret = credentials.secret.get_secret_value().encode()
    plain = f"{at_s}GET/user/verify".encode()
    named = {
        "apiKey": credentials.key.get_secret_value(),
        "passphrase": credentials.passphrase.get_secret_value(),
        "timestamp": at_s,
        "sign": base64.b64encode(hmac.new(secret, plain, hashlib.sha256).digest()).decode(),
    }
    asked = [channel(each) | {"instId": "default"} for each in _TOLD]
    return Opening(
        f"{STREAMS}/private",
        (text_of("subscribe", asked),),
        sign_in=text_of("login", [named]),
        ping=PING,
        pong=PONG,
    )


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: its pings keep it."""
    return ()


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """What a frame is an alarm for. That a position was liquidated is in no frame known."""
    frame = Row(json, "frame")
    if frame.has("event"):
        failed = frame.raw("event") == "error"
        return StreamEnded(str(json)[:120]) if failed else Irrelevant()
    if frame.has("data") and frame.has("arg"):
        channel = Row(frame.raw("arg"), "frame.arg").raw("channel")
        return AccountChanged() if channel in _TOLD else Irrelevant()
    return Irrelevant()


# -- before the start ----------------------------------------------------------------------


def check_calls() -> Sequence[Call]:
    """What has to be known before anything is guarded."""
    return state_calls()


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Why this key or account cannot be guarded, a sentence each."""
    return tuple(readable(_held(jsons[1]), "positions", _refused))


def unsupported(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What makes it an account whose liquidation is not known, a sentence each."""
    money = _money(jsons[0])
    found = []
    if money.has("assetMode") and money.raw("assetMode") == "union":
        found.append("account: expected one asset as margin, was several (assetMode)")
    found += [
        f"account: expected no {name}, as what it backs is not told"
        for name in ("coupon", "grant")
        if number_or_none(money, name) is not None
    ]
    return tuple(found)


def _refused(row: Row) -> list[str]:
    if not row.has("autoMargin") or row.raw("autoMargin") != "on" or row.number("total") == ZERO:
        return []
    return [f"{row.text('symbol')}: expected the venue's auto-margin to be off, was on"]


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What the venue does not tell about the key."""
    return ("API key: by what the venue tells that it can withdraw is not known",)
