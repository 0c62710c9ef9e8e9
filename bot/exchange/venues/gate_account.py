"""
Gate's protocol for USDT perpetuals: recipes of requests, strict parsers, proofs of refusal.

Recipes: `documented` (API v4), and compared with what ccxt 4.5.90 puts on the wire. The venue
counts in contracts; whole ones, but for those it marks as decimal. Conditional orders are
`price_orders`, which answer with a number alone and are cancelled by it. Margin that moves into
a position is in no history. No account of the venue has been met yet.
In the order of `AccountDialect`.
"""

import hashlib
import hmac
import json as text_json
from collections.abc import Sequence
from decimal import Decimal
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
from bot.core.events import Liquidated
from bot.core.model import (
    NO_FILL,
    AccountSnapshot,
    Fill,
    Filled,
    LiquidationReport,
    MarginMode,
    NotReported,
    Position,
    PositionKey,
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
from bot.exchange.venues.gate_market import COIN, OF_USDT, PRIVATE, SECOND_MS, STREAMS
from bot.exchange.venues.gate_refusals import REFUSED

request_life_ms = 60_000
"""A signature is good for a minute: `documented`."""

NOT_THERE = frozenset({"ORDER_NOT_FOUND"})
GONE = NOT_THERE | {"ORDER_FINISHED"}
_TAKEN = frozenset({200, 201})
_MARK = 1
"""`price_type` of a trigger: 0 is the last price, 2 the index price."""

_FALLS_TO, _RISES_TO = 2, 1
"""`rule` of a trigger."""

_PAGE = 100
"""Rows that a list has at most, unless more are asked for: `documented`."""

_NEVER_LIQUIDATED = Decimal(99_999_999)
_SIZE_OFF_MAX = Decimal("0.01")
_OURS = "t-"
_LIQUIDATES = "futures.liquidates"


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """Nothing: a position tells its own mode and leverage."""
    return ()


def state_calls() -> Sequence[Call]:
    """
    Positions and money.

    Margin that moves between the two answers harms neither: `total` has all margins in it.
    """
    return (
        Call(PRIVATE, "GET", "{settle}/positions", OF_USDT | {"holding": "true"}),
        Call(PRIVATE, "GET", "{settle}/accounts", OF_USDT),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(page(state[0], "positions", _PAGE), "positions", "contract", "size")


def stops_call(name: str) -> Call:
    """What waits in one contract."""
    return Call(PRIVATE, "GET", "{settle}/price_orders", _waiting(name))


def all_stops_call() -> Call:
    """What waits in any contract."""
    return Call(PRIVATE, "GET", "{settle}/price_orders", OF_USDT | {"status": "open"})


def _waiting(name: str) -> dict[str, str]:
    return OF_USDT | {"status": "open", "contract": name}


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""

    def name(row: Row) -> str:
        return Row(row.raw("initial"), f"{row.where}.initial").text("contract")

    return told_in(stops, "price_orders", name)


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """The account. `total` is the balance without unrealised profit, margins included."""
    positions, garbled = sort_out(
        page(state[0], "positions", _PAGE),
        "positions",
        lambda row: _position(row, listed),
        lambda row: listed.symbols.get(row.text("contract"), row.text("contract")),
    )
    account = Row(state[1], "accounts")
    if account.text("currency").upper() != COIN:
        raise account.wrong("currency", COIN)
    bound = sum((each.isolated_margin for each in positions), ZERO)
    is_hedged = account.flag("in_dual_mode")
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=PositionMode.HEDGE if is_hedged else PositionMode.ONE_WAY,
        wallet_balance=Money(account.number("total") - bound),
        free=Money(max(account.number("available"), ZERO)),
        positions=positions,
        stops=tuple(stop for each in stops for stop in _stops(each, listed, positions)),
        garbled=garbled,
    )


def _position(row: Row, listed: Listed) -> Position | NotOpen:
    name, contracts = row.text("contract"), row.number("size")
    if contracts == ZERO:
        return NOT_OPEN
    if name not in listed.sizes:
        raise row.wrong("contract", "a contract that is listed")
    side = Side.LONG if contracts > ZERO else Side.SHORT
    if row.raw("mode") not in ("single", f"dual_{side}"):
        raise row.wrong("mode", f"single or dual_{side}")
    quantity = abs(contracts) * listed.sizes[name]
    value = quantity * row.above_zero("mark_price")
    if abs(row.number("value") - value) > value * _SIZE_OFF_MAX:
        raise row.wrong("value", f"about {value:f}: a contract may have changed its size")
    is_cross = _is_cross(row)
    return Position(
        symbol=listed.symbols[name],
        side=side,
        quantity=Quantity(quantity),
        entry_price=Price(row.above_zero("entry_price")),
        margin_mode=MarginMode.CROSS if is_cross else MarginMode.ISOLATED,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("margin")),
        leverage=_cross_leverage(row) if is_cross else row.above_zero("leverage"),
        liquidation=_liquidation(row),
    )


def _is_cross(row: Row) -> bool:
    """
    Leverage 0 says cross, in `leverage` or, in older answers, in `lever`.

    Newer ones may put the real leverage of a cross position into `lever`, beside the mode.
    """
    if row.has("pos_margin_mode"):
        match row.raw("pos_margin_mode"):
            case "cross":
                return True
            case "isolated":
                return False
            case _:
                raise row.wrong("pos_margin_mode", "cross or isolated")
    if row.has("leverage"):
        return row.number("leverage") == ZERO
    if row.number("lever") != ZERO:
        raise row.wrong("lever", "0, or leverage beside it")
    return True


def _cross_leverage(row: Row) -> Decimal:
    """Its limit, where one is set; the most that the tier allows where none is."""
    limit = row.number("cross_leverage_limit")
    return limit if limit > ZERO else row.above_zero("leverage_max")


def _liquidation(row: Row) -> LiquidationReport:
    """Nothing readable above zero and below what the venue writes for never is a report."""
    try:
        price = row.above_zero("liq_price")
    except Unreadable:
        return NotReported()
    return Reported(Price(price)) if price < _NEVER_LIQUIDATED else NotReported()


def _stops(orders: Json, listed: Listed, positions: tuple[Position, ...]) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark price to go against a position, and only those.

    One that cannot be read is left out. Were it ours it would be missing, and placed again.
    """
    whole = page(orders, "price_orders", _PAGE)
    return readable(whole, "price_orders", lambda row: _stop(row, listed, positions))


def _stop(row: Row, listed: Listed, positions: tuple[Position, ...]) -> list[StopOrder]:
    order = Row(row.raw("initial"), f"{row.where}.initial")
    trigger = Row(row.raw("trigger"), f"{row.where}.trigger")
    name, contracts = order.text("contract"), _contracts(order)
    if name not in listed.sizes:
        raise order.wrong("contract", "a contract that is listed")
    if trigger.integer("price_type") != _MARK or order.number("price") != ZERO:
        return []
    side = Side.LONG if trigger.integer("rule") == _FALLS_TO else Side.SHORT
    key = PositionKey(listed.symbols[name], side)
    held = [each for each in positions if each.key == key]
    closes_all = contracts == ZERO
    if closes_all and not held:
        return []
    if not closes_all and (contracts < ZERO) is not (side is Side.LONG):
        return []  # it takes profit, or opens
    quantity = held[0].quantity if closes_all else abs(contracts) * listed.sizes[name]
    return [
        StopOrder(
            symbol=key.symbol,
            side=key.side,
            client_id=_client_id(order, row),
            quantity=Quantity(quantity),
            trigger_price=Price(trigger.above_zero("price")),
            reduce_only=closes_all or _only_reduces(order),
        )
    ]


def _contracts(order: Row) -> Decimal:
    """With a sign. Decimal contracts have an amount instead."""
    if order.has("amount") and order.raw("amount") not in (None, ""):
        return order.number("amount")
    return order.number("size")


def _only_reduces(order: Row) -> bool:
    names = ("is_reduce_only", "reduce_only", "is_close", "close")
    return any(order.has(name) and order.flag(name) for name in names)


def _client_id(order: Row, row: Row) -> str:
    """Ours, or for one placed without an id the venue's number."""
    given = order.raw("text") if order.has("text") else ""
    if isinstance(given, str) and given.startswith(_OURS):
        return given.removeprefix(_OURS)
    return row.identity("id")


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
    """The recipe of an action. Every order can only reduce; a sign tells buys from sells."""
    name = listed.id_of(action.symbol)
    match action:
        case AddMargin(side=side, amount=amount):
            return _margin(name, side, amount, ground)
        case CancelStop(target_client_id=target):
            return _cancel(name, target, ground)
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            size = _size(quantity, action.side, listed.sizes[name])
            closes_long = action.side is Side.LONG
            sent = OF_USDT | {
                "initial": {
                    "contract": name,
                    **_sized(size, "amount"),
                    "price": "0",
                    "tif": "ioc",
                    "reduce_only": True,
                    "text": _OURS + client_id,
                },
                "trigger": {
                    "strategy_type": 0,
                    "price_type": _MARK,
                    "price": f"{trigger:f}",
                    "rule": _FALLS_TO if closes_long else _RISES_TO,
                },
            }
            return Call(PRIVATE, "POST", "{settle}/price_orders", sent)
        case ClosePosition(quantity=quantity, bound=bound):
            size = _size(quantity, action.side, listed.sizes[name])
            sent = OF_USDT | {
                "contract": name,
                **_sized(size, "size"),
                "price": _bound(bound),
                "tif": "ioc",
                "reduce_only": True,
                "text": _OURS + client_id,
            }
            return Call(PRIVATE, "POST", "{settle}/orders", sent)
    assert_never(action)


def _bound(bound: AtMarket | NoWorseThan) -> str:
    match bound:
        case AtMarket():
            return "0"
        case NoWorseThan(price):
            return f"{price:f}"
    assert_never(bound)


def _size(quantity: Decimal, side: Side, contract: Decimal) -> Decimal:
    """Contracts: negative to close a long, positive to close a short."""
    return -side.sign * quantity / contract


def _sized(size: Decimal, decimal_name: str) -> dict[str, Json]:
    """Whole contracts are a number, parts of one a text under a name of its own."""
    if size == size.to_integral_value():
        return {"size": int(size)}
    return {decimal_name: f"{size:f}"}


def _margin(name: str, side: Side, amount: Decimal, ground: Ground) -> Call:
    sent = OF_USDT | {"contract": name, "change": f"{amount:f}"}
    match ground.position_mode:
        case PositionMode.ONE_WAY:
            return Call(PRIVATE, "POST", "{settle}/positions/{contract}/margin", sent)
        case PositionMode.HEDGE:
            path = "{settle}/dual_comp/positions/{contract}/margin"
            return Call(PRIVATE, "POST", path, sent | {"dual_side": f"dual_{side}"})
    assert_never(ground.position_mode)


def _cancel(name: str, target: str, ground: Ground) -> Call | Refused:
    numbers = [
        row.identity("id")
        for row in rows(page(ground.answers[0], "price_orders", _PAGE), "price_orders")
        if Row(row.raw("initial"), f"{row.where}.initial").raw("text") == _OURS + target
    ]
    if len(numbers) != 1:
        return Refused("NOT_SENT", f"expected one stop {target} in {name}, was {len(numbers)}")
    of = OF_USDT | {"order_id": numbers[0]}
    return Call(PRIVATE, "DELETE", "{settle}/price_orders/{order_id}", of)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """What an answer to a write proves. Whatever does not prove itself is Unsure."""
    try:
        json = parse_json(heard.text)
        if isinstance(json, dict) and "label" in json:
            return _refusal(Row(json, f"HTTP {heard.status}"), action)
        if heard.status not in _TAKEN:
            return Unsure(f"HTTP {heard.status} without a label")
        return _proof(json, action, client_id, listed)
    except Unreadable as e:
        return Unsure(str(e))


def _refusal(row: Row, action: Action) -> Reply:
    """
    What a label proves. That a stop to cancel is gone does not say what became of it: it may have
    been cancelled, or have triggered.
    """
    label = row.text("label")
    text = "".join(str(row.raw(name)) for name in ("message", "detail") if row.has(name))
    if label in REFUSED and not (isinstance(action, CancelStop) and label in GONE):
        return Refused(label, text)
    return Unsure(f"{label} {text}")


def _proof(json: Json, action: Action, client_id: str, listed: Listed) -> Reply:
    name = listed.id_of(action.symbol)
    expected: tuple[object, ...]
    echoed: tuple[object, ...]
    match action:
        case AddMargin(side=side):
            return _margin_proof(json, name, side)
        case PlaceStop():
            # The answer is the order's number and nothing else.
            Row(json, "price_order").identity("id")
            return Accepted()
        case CancelStop(target_client_id=target):
            row = Row(json, "price_order")
            order = Row(row.raw("initial"), "price_order.initial")
            expected = (_OURS + target, name)
            echoed = (order.text("text"), order.text("contract"))
            row.identity("id")
        case ClosePosition(quantity=quantity):
            row = Row(json, "order")
            size = _size(quantity, action.side, listed.sizes[name])
            expected = (_OURS + client_id, name, size)
            echoed = (row.text("text"), row.text("contract"), row.number("size"))
            row.identity("id")
        case _:
            assert_never(action)
    if echoed != expected:
        return Unsure(f"expected an echo of {expected}, was {echoed}")
    return Accepted()


def _margin_proof(json: Json, name: str, side: Side) -> Reply:
    """The position as it is now; in hedge mode both legs. The amount is not echoed."""
    legs = list(rows(json, "positions")) if isinstance(json, list) else [Row(json, "position")]
    for leg in legs:
        if leg.text("contract") != name:
            raise leg.wrong("contract", name)
        if leg.number("size") * side.sign > ZERO and leg.number("margin") > ZERO:
            return Accepted()
    return Unsure(f"expected the {side} position of {name}, was {len(legs)} others")


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """
    An order by our id, the last hundred that ended, and conditional ones that wait or ended.

    The venue forgets our id of a plain order within minutes; the list remembers it.
    """
    of, ended = OF_USDT, OF_USDT | {"contract": name, "status": "finished"}
    return (
        Call(PRIVATE, "GET", "{settle}/orders/{order_id}", of | {"order_id": _OURS + client_id}),
        Call(PRIVATE, "GET", "{settle}/orders", ended | {"limit": str(_PAGE)}),
        stops_call(name),
        Call(PRIVATE, "GET", "{settle}/price_orders", ended | {"limit": str(_PAGE)}),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. A stop that triggered tells its fill by the order that it made."""
    named, ended, waiting, over = answers
    made = _listed_rows(ended, "orders")
    size = listed.sizes[name]
    for row in _named(named) + made:
        if row.raw("text") == _OURS + client_id:
            return _order_found(row, client_id, name, size)
    for row in _listed_rows(waiting, "price_orders"):
        if _is_ours(row, client_id):
            return OrderFound(client_id, resting=True, filled=NO_FILL)
    for row in _listed_rows(over, "price_orders"):
        if _is_ours(row, client_id):
            return _stop_found(row, made, client_id, name, size)
    return OrderAbsent()


def _named(heard: Heard) -> list[Row]:
    """The order of an answer, or none where the venue says that it knows none."""
    row = Row(parse_json(heard.text), f"HTTP {heard.status}")
    if row.has("label"):
        if row.raw("label") in NOT_THERE:
            return []
        raise row.wrong("label", "an order")
    if heard.status not in _TAKEN:
        raise Unreadable(f"order: expected HTTP 200, was {heard.status}")
    return [row]


def _listed_rows(heard: Heard, where: str) -> list[Row]:
    if heard.status not in _TAKEN:
        raise Unreadable(f"{where}: expected HTTP 200, was {heard.status}")
    return list(rows(parse_json(heard.text), where))


def _is_ours(row: Row, client_id: str) -> bool:
    order = Row(row.raw("initial"), f"{row.where}.initial")
    return order.has("text") and order.raw("text") == _OURS + client_id


def _order_found(row: Row, client_id: str, name: str, size: Decimal) -> OrderFound:
    if row.raw("contract") != name:
        raise row.wrong("contract", name)
    status = row.text("status")
    if status not in ("open", "finished"):
        raise row.wrong("status", "a status that is known")
    return OrderFound(client_id, resting=status == "open", filled=_filled(row, size))


def _stop_found(
    row: Row, made: Sequence[Row], client_id: str, name: str, size: Decimal
) -> OrderFound:
    if row.raw("finish_as") != "succeeded":
        return OrderFound(client_id, resting=False, filled=NO_FILL)
    number = row.identity("trade_id")
    for order in made:
        if order.identity("id") == number:
            return _order_found(order, client_id, name, size)
    raise row.wrong("trade_id", "an order among the last that ended")


def _filled(row: Row, size: Decimal) -> Filled:
    contracts = abs(row.number("size")) - abs(row.number("left"))
    if contracts <= ZERO:
        return NO_FILL
    return Fill(Quantity(contracts * size), Price(row.above_zero("fill_price")))


def margin_call(name: str, since_ms: int) -> NoMarginHistory:
    """None: the account's book has only what comes into the account and leaves it."""
    return NoMarginHistory()


def margin_changes_of(json: Json, listed: Listed) -> tuple[MarginChange, ...]:
    """Never asked for."""
    raise Unreadable("margin: expected no history of it")


# -- the account's stream ------------------------------------------------------------------


_TOLD = ("positions", "orders", "autoorders", "liquidates", "auto_deleverages")


def account_calls() -> Sequence[Call]:
    """The account, which tells the user's number."""
    return (Call(PRIVATE, "GET", "{settle}/accounts", OF_USDT),)


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """Where the account's events are pushed, each kind asked for with a signature."""
    user = Row(answers[0], "accounts").identity("user")
    asks = [_signed_ask(f"futures.{each}", at_ms, [user, "!all"], credentials) for each in _TOLD]
    asks.append(_signed_ask("futures.balances", at_ms, [user], credentials))
    return Opening(STREAMS, tuple(asks))


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: it lasts as long as its socket."""
    return ()


def _signed_ask(channel: str, at_ms: int, payload: list[str], credentials: Credentials) -> str:
    at_s = at_ms // SECOND_MS
    signed = f"channel={channel}&event=subscribe&time={at_s}".encode()
    secret = credentials.secret.get_secret_value().encode()
    asked = {
        "time": at_s,
        "channel": channel,
        "event": "subscribe",
        "payload": payload,
        "auth": {
            "method": "api_key",
            "KEY": credentials.key.get_secret_value(),
            "SIGN": hmac.new(secret, signed, hashlib.sha512).hexdigest(),
        },
    }
    return text_json.dumps(asked)


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """What a frame is an alarm for. A liquidation names the position that it ended."""
    frame = Row(json, "frame")
    if frame.has("type") and frame.raw("type") == "service_upgrade":
        return StreamEnded("the venue restarts its streams")
    if frame.has("error") and frame.raw("error") is not None:
        return StreamEnded(f"{frame.raw('channel')}: {frame.raw('error')}")
    if not frame.has("event") or frame.raw("event") != "update":
        return Irrelevant()
    if frame.raw("channel") == _LIQUIDATES:
        for row in rows(frame.raw("result"), _LIQUIDATES):
            name = row.text("contract")
            return Liquidated(
                listed.symbols.get(name, name),
                Side.LONG if row.number("size") > ZERO else Side.SHORT,
                Price(row.above_zero("fill_price")),
                received_at_ms,
            )
    return AccountChanged()


# -- before the start ----------------------------------------------------------------------


def check_calls() -> Sequence[Call]:
    """What has to be known before anything is guarded."""
    return (
        Call("private.account", "GET", "detail", {}),
        Call(PRIVATE, "GET", "{settle}/accounts", OF_USDT),
    )


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: the venue tells nothing of what the key may do."""
    return ()


def unsupported(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What makes it an account whose liquidation is not known, a sentence each."""
    detail, account = Row(jsons[0], "account/detail"), Row(jsons[1], "accounts")
    key = Row(detail.raw("key"), "account/detail.key")
    found = []
    if key.integer("mode") != 1:
        found.append("API key: expected one of a classic account, was of a unified one")
    if account.has("margin_mode") and account.integer("margin_mode") != 0:
        found.append("account: a unified account is not supported: other coins back it too")
    if account.has("enable_credit") and account.flag("enable_credit"):
        found.append("account: portfolio margin is not supported: its requirement is not known")
    if account.has("enable_tiered_mm") and not account.flag("enable_tiered_mm"):
        found.append("account: expected tiered maintenance margin to be on, was off")
    return tuple(found)


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What the venue does not tell about the key."""
    return ("API key: the venue does not tell whether it can withdraw",)
