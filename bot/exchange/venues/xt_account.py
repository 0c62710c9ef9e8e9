"""
XT's protocol for USDT perpetuals: recipes of requests, strict parsers, proofs of refusal.

Recipes: `documented`, and compared with what ccxt 4.5.90 puts on the wire. An account always has
a long and a short side of a contract, and an order names the side that it works on: a sale of the
long side can only close. The venue counts in contracts. Conditional orders are "plans", cancelled
by the venue's number. Margin that moves into a position is in no history. No account of the venue
has been met yet. In the order of `AccountDialect`.
"""

from collections.abc import Mapping, Sequence
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
from bot.exchange.venues.xt_market import (
    PING,
    PONG,
    PRIVATE,
    STREAMS,
    asking_for,
    code_of,
    result_of,
)
from bot.exchange.venues.xt_refusals import REFUSED

log = structlog.get_logger()
_TRADE, _USER = "future/trade/v1", "future/user/v1"
request_life_ms = 60_000
"""`assumed`: futures requests carry a date and no window, and how old one may be is not told."""

_COIN = "usdt"
_HTTP_OK = 200
_PAGE = 100
_TOLD = ("order", "position", "balance", "trade", "notify")

_ORDER_OPEN = frozenset({"NEW", "PARTIALLY_FILLED"})
_ORDER_OVER = frozenset({"FILLED", "CANCELED", "PARTIALLY_CANCELED", "REJECTED", "EXPIRED"})
_PLAN_WAITS = frozenset({"NOT_TRIGGERED", "TRIGGERING"})
_PLAN_OVER = frozenset({"USER_REVOCATION", "PLATFORM_REVOCATION", "EXPIRED"})


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """Nothing: a position tells its own mode and leverage."""
    return ()


def state_calls() -> Sequence[Call]:
    """
    Positions, their liquidation prices, and money.

    Margin that moves between the answers harms none: the wallet's balance has all margins in it.
    """
    return (
        Call(PRIVATE, "GET", f"{_USER}/position/list", {}),
        Call(PRIVATE, "GET", f"{_USER}/position/break-list", {}),
        Call(PRIVATE, "GET", f"{_USER}/balance/list", {}),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(result_of(state[0], "positions"), "positions", "symbol", "positionSize")


def stops_call(name: str) -> Call:
    """What waits in one contract."""
    return Call(PRIVATE, "GET", f"{_TRADE}/entrust/plan-list", _waiting() | {"symbol": name})


def all_stops_call() -> Call:
    """What waits in any contract."""
    return Call(PRIVATE, "GET", f"{_TRADE}/entrust/plan-list", _waiting())


def _waiting() -> dict[str, str]:
    return {"state": "NOT_TRIGGERED", "page": "1", "size": str(_PAGE)}


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return told_in(map(_listed_items, stops), "plan-list", lambda row: row.text("symbol"))


def _listed_items(json: Json) -> Json:
    return Row(result_of(json, "plan-list"), "plan-list").raw("items")


def _items(json: Json, where: str) -> list[Row]:
    return list(rows(Row(result_of(json, where), where).raw("items"), where))


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """The account."""
    prices = _break_prices(state[1])
    positions, garbled = sort_out(
        result_of(state[0], "positions"),
        "positions",
        lambda row: _position(row, listed, prices),
        lambda row: listed.symbols.get(row.text("symbol"), row.text("symbol")),
    )
    balances = rows(result_of(state[2], "balances"), "balances")
    coins = [row for row in balances if row.has("coin") and row.raw("coin") == _COIN]
    if len(coins) != 1:
        raise Unreadable(f"balances: expected one row of {_COIN}, was {len(coins)}")
    bound = sum((each.isolated_margin for each in positions), ZERO)
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=PositionMode.HEDGE,
        wallet_balance=Money(coins[0].number("walletBalance") - bound),
        free=Money(max(coins[0].number("availableBalance"), ZERO)),
        positions=positions,
        stops=tuple(stop for each in stops for stop in _stops(each, listed)),
        garbled=garbled,
    )


def _break_prices(json: Json) -> dict[tuple[str, Side], LiquidationReport]:
    """Liquidation prices by contract and side. A row that cannot be read reports none."""
    found: dict[tuple[str, Side], LiquidationReport] = {}
    for row in rows(result_of(json, "break-list"), "break-list"):
        try:
            price = Price(row.above_zero("breakPrice"))
            found[row.text("symbol"), _side(row)] = Reported(price)
        except Unreadable as e:
            log.info("liquidation_price.not_reported", reason=str(e))
    return found


def _position(
    row: Row, listed: Listed, prices: Mapping[tuple[str, Side], LiquidationReport]
) -> Position | NotOpen:
    if row.number("positionSize") == ZERO:
        return NOT_OPEN
    name, side = row.text("symbol"), _side(row)
    if name not in listed.sizes:
        raise row.wrong("symbol", "a contract that is listed")
    is_cross = _is_cross(row)
    return Position(
        symbol=listed.symbols[name],
        side=side,
        quantity=Quantity(row.above_zero("positionSize") * listed.sizes[name]),
        entry_price=Price(row.above_zero("entryPrice")),
        margin_mode=MarginMode.CROSS if is_cross else MarginMode.ISOLATED,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("isolatedMargin")),
        leverage=row.above_zero("leverage"),
        liquidation=prices.get((name, side), NotReported()),
    )


def _side(row: Row) -> Side:
    match row.raw("positionSide"):
        case "LONG":
            return Side.LONG
        case "SHORT":
            return Side.SHORT
        case _:
            pass
    raise row.wrong("positionSide", "LONG or SHORT")


def _is_cross(row: Row) -> bool:
    match row.raw("positionType"):
        case "CROSSED":
            return True
        case "ISOLATED":
            return False
        case _:
            pass
    raise row.wrong("positionType", "CROSSED or ISOLATED")


def _stops(json: Json, listed: Listed) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark price to close a position, and only those.

    One that cannot be read is left out. Were it ours it would be missing, and placed again.
    """
    items = page(_listed_items(json), "plan-list", _PAGE)
    return readable(items, "plan-list", lambda row: _stop(row, listed))


def _stop(row: Row, listed: Listed) -> list[StopOrder]:
    kind = (row.raw("entrustType"), row.raw("triggerPriceType"))
    name, side = row.text("symbol"), _side(row)
    if kind != ("STOP_MARKET", "MARK_PRICE") or row.raw("orderSide") != _closing(side):
        return []
    if name not in listed.sizes:
        raise row.wrong("symbol", "a contract that is listed")
    return [
        StopOrder(
            symbol=listed.symbols[name],
            side=side,
            client_id=_client_id(row),
            quantity=Quantity(row.above_zero("origQty") * listed.sizes[name]),
            trigger_price=Price(row.above_zero("stopPrice")),
            reduce_only=True,
        )
    ]


def _client_id(row: Row) -> str:
    """Ours, or for one placed without an id the venue's number."""
    given = row.raw("clientOrderId") if row.has("clientOrderId") else ""
    return given if isinstance(given, str) and given else row.identity("entrustId")


def _closing(side: Side) -> str:
    return "SELL" if side is Side.LONG else "BUY"


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """What waits in the contract, to find the venue's number of a stop."""
    match action:
        case CancelStop():
            return (stops_call(listed.id_of(action.symbol)),)
        case AddMargin() | PlaceStop() | ClosePosition():
            return ()
    assert_never(action)


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action. Every order names the side of the position that it closes."""
    name = listed.id_of(action.symbol)
    of = {"symbol": name, "positionSide": action.side.upper()}
    match action:
        case AddMargin(amount=amount):
            sent = of | {"margin": f"{amount:f}", "type": "ADD"}
            return Call(PRIVATE, "POST", f"{_USER}/position/margin", sent)
        case CancelStop(target_client_id=target):
            return _cancel(name, target, ground)
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            sent = of | {
                "orderSide": _closing(action.side),
                "entrustType": "STOP_MARKET",
                "origQty": _contracts(quantity, listed.sizes[name]),
                "stopPrice": f"{trigger:f}",
                "timeInForce": "IOC",
                "triggerPriceType": "MARK_PRICE",
                "clientOrderId": client_id,
            }
            return Call(PRIVATE, "POST", f"{_TRADE}/entrust/create-plan", sent)
        case ClosePosition(quantity=quantity, bound=bound):
            sent = of | {
                "orderSide": _closing(action.side),
                "origQty": _contracts(quantity, listed.sizes[name]),
                "clientOrderId": client_id,
                **_bound(bound),
            }
            return Call(PRIVATE, "POST", f"{_TRADE}/order/create", sent)
    assert_never(action)


def _bound(bound: AtMarket | NoWorseThan) -> dict[str, str]:
    match bound:
        case AtMarket():
            return {"orderType": "MARKET"}
        case NoWorseThan(price):
            return {"orderType": "LIMIT", "timeInForce": "IOC", "price": f"{price:f}"}
    assert_never(bound)


def _contracts(quantity: Decimal, size: Decimal) -> str:
    number = quantity / size
    whole = number.to_integral_value()
    return f"{whole if number == whole else number:f}"


def _cancel(name: str, target: str, ground: Ground) -> Call | Refused:
    numbers = [
        row.identity("entrustId")
        for row in _items(ground.answers[0], "plan-list")
        if row.has("clientOrderId") and row.raw("clientOrderId") == target
    ]
    if len(numbers) != 1:
        return Refused("NOT_SENT", f"expected one stop {target} in {name}, was {len(numbers)}")
    sent = {"entrustId": numbers[0]}
    return Call(PRIVATE, "POST", f"{_TRADE}/entrust/cancel-plan", sent)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    The venue echoes nothing. A new order is proven by its number; margin and a cancel by the
    whole of the venue's envelope of success, after which their effect is looked for.
    """
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if code := code_of(row):
            return Refused(code, heard.text[:120]) if code in REFUSED else Unsure(heard.text[:120])
        if heard.status != _HTTP_OK or row.integer("returnCode") != 0:
            return Unsure(f"HTTP {heard.status} without a code")
        match action:
            case PlaceStop() | ClosePosition():
                row.identity("result")
            case AddMargin() | CancelStop():
                row.raw("result")
                row.raw("msgInfo")
            case _:
                assert_never(action)
    except Unreadable as e:
        return Unsure(str(e))
    return Accepted()


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order by our id, the last hundred that ended, and plans that wait or ended."""
    of, last = {"symbol": name}, {"symbol": name, "limit": str(_PAGE)}
    named = of | {"clientOrderId": client_id, "page": "1", "size": str(_PAGE)}
    return (
        Call(PRIVATE, "GET", f"{_TRADE}/order/list", named),
        Call(PRIVATE, "GET", f"{_TRADE}/order/list-history", last),
        stops_call(name),
        Call(PRIVATE, "GET", f"{_TRADE}/entrust/plan-list-history", last),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. A stop that triggered tells its fill by the order that it made."""
    wheres = ("order/list", "order/list-history", "plan-list", "plan-list-history")
    named, ended, waiting, over = (
        _heard_items(each, where) for each, where in zip(answers, wheres, strict=True)
    )
    size = listed.sizes[name]
    for row in named:
        row.raw("clientOrderId")  # else a filter that the venue ignored would look like absence
    for row in named + ended:
        if _is_ours(row, client_id):
            return _order_found(row, client_id, name, size)
    for row in waiting:
        if _is_ours(row, client_id):
            return OrderFound(client_id, resting=True, filled=NO_FILL)
    for row in over:
        if _is_ours(row, client_id):
            return _plan_found(row, named + ended, client_id, name, size)
    return OrderAbsent()


def _heard_items(heard: Heard, where: str) -> list[Row]:
    if heard.status != _HTTP_OK:
        raise Unreadable(f"{where}: expected HTTP 200, was {heard.status}")
    return _items(parse_json(heard.text), where)


def _is_ours(row: Row, client_id: str) -> bool:
    return row.has("clientOrderId") and row.raw("clientOrderId") == client_id


def _order_found(row: Row, client_id: str, name: str, size: Decimal) -> OrderFound:
    if row.raw("symbol") != name:
        raise row.wrong("symbol", name)
    state = row.text("state")
    if state not in _ORDER_OPEN | _ORDER_OVER:
        raise row.wrong("state", "a state that is known")
    return OrderFound(client_id, resting=state in _ORDER_OPEN, filled=_filled(row, size))


def _plan_found(
    row: Row, made: Sequence[Row], client_id: str, name: str, size: Decimal
) -> OrderFound:
    state = row.text("state")
    if state in _PLAN_WAITS:
        return OrderFound(client_id, resting=True, filled=NO_FILL)
    if state in _PLAN_OVER:
        return OrderFound(client_id, resting=False, filled=NO_FILL)
    if state != "TRIGGERED":
        raise row.wrong("state", "a state that is known")
    number = row.identity("entrustId")
    for order in made:
        if order.has("sourceId") and str(order.raw("sourceId")) == number:
            return _order_found(order, client_id, name, size)
    raise row.wrong("entrustId", "the source of an order among the last that ended")


def _filled(row: Row, size: Decimal) -> Filled:
    contracts = row.number("executedQty")
    if contracts <= ZERO:
        return NO_FILL
    return Fill(Quantity(contracts * size), Price(row.above_zero("avgPrice")))


def margin_call(name: str, since_ms: int) -> NoMarginHistory:
    """None: the account's bills have only what comes into the account and leaves it."""
    return NoMarginHistory()


def margin_changes_of(json: Json, listed: Listed) -> tuple[MarginChange, ...]:
    """Never asked for."""
    raise Unreadable("margin: expected no history of it")


# -- the account's stream ------------------------------------------------------------------


def account_calls() -> Sequence[Call]:
    """A key to listen with."""
    return (Call(PRIVATE, "GET", f"{_USER}/user/listen-key", {}),)


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """Where the account's events are pushed, each kind asked for with the key."""
    key = result_of(answers[0], "listen-key")
    if not isinstance(key, str) or not key:
        raise Unreadable("listen-key: expected a text")
    asked = [f"{each}@{key}" for each in _TOLD]
    return Opening(f"{STREAMS}/user", (asking_for(asked, at_ms),), ping=PING, pong=PONG)


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: when the key is over the venue says so, and the stream begins anew."""
    return ()


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """What a frame is an alarm for. That a position was liquidated is in no frame known."""
    frame = Row(json, "frame")
    if frame.has("code"):
        code = frame.integer("code")
        return Irrelevant() if code == 0 else StreamEnded(f"{code} {frame.raw('msg')}")
    if frame.has("topic") and frame.raw("topic") in _TOLD:
        return AccountChanged()
    return Irrelevant()


# -- before the start ----------------------------------------------------------------------


def check_calls() -> Sequence[Call]:
    """What has to be known before anything is guarded."""
    return (
        Call(PRIVATE, "GET", f"{_USER}/account/info", {}),
        Call(PRIVATE, "GET", f"{_USER}/position/list", {}),
    )


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Why this key or account cannot be guarded, a sentence each."""
    account = Row(result_of(jsons[0], "account"), "account")
    found = []
    if not account.flag("allowTrade"):
        found.append("account: expected one that can trade, was not (allowTrade)")
    found += [
        f"{row.text('symbol')}: expected the venue's auto-margin to be off, was on"
        for row in rows(result_of(jsons[1], "positions"), "positions")
        if row.number("positionSize") != ZERO and row.flag("autoMargin")
    ]
    return tuple(found)


def unsupported(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: there is one kind of account."""
    return ()


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What the venue does not tell about the key."""
    return ("API key: the venue does not tell whether it can withdraw",)
