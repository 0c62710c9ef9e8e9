"""
What a key of Kraken's futures may ask and do: recipes of requests, strict parsers, proofs.

Recipes: `documented` (v3), and compared with what ccxt 4.5.90 puts on the wire. The account is the
multi-collateral wallet with dollars alone; its positions are cross. The venue tells neither the
margin of an isolated position nor any liquidation price over REST, and margin cannot be added to a
position. Stops and orders are in one list and carry our ids. A good answer may hold a refusal: its
`sendStatus` says what became of the order. No account of the venue has been met yet.
"""

import hmac
import json as text_json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
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
from bot.core.ids import born_at_ms
from bot.core.model import (
    NO_FILL,
    AccountSnapshot,
    Fill,
    Filled,
    MarginMode,
    NotReported,
    Position,
    PositionMode,
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
from bot.exchange.venues.krakenfutures_market import (
    ACCOUNTS,
    COIN,
    POSITIONS,
    STREAMS,
    named,
    told,
)
from bot.exchange.venues.krakenfutures_refusals import ERRORS, STATUSES

request_life_ms = 3_000
"""Each is sent with the moment before which it has to be processed: `documented`."""

_HTTP_OK = 200
_ANSWERS = frozenset({200, 400, 401, 403, 429})
"""Of these the words are the venue's own, whatever its doors add."""

_ORDERS = Call("private", "GET", "openorders", {}, weight=2)
_ORDER_WEIGHT = 4
"""The venue counts 10: of its 500 in 10 s half is for reads, and 25 orders make the other."""
_STOPS = frozenset({"stp", "stop"})
_TAKEN = frozenset({"placed", "partiallyFilled", "filled"})
_NOT_FILLED = "iocWouldNotExecute"
_WAITS = frozenset({"ENTERED_BOOK", "TRIGGER_PLACED"})
_FILLED = "FULLY_EXECUTED"
_OVER = frozenset({_FILLED, "CANCELLED", "REJECTED", "TRIGGER_ACTIVATION_FAILURE"})


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """Nothing: a position tells of itself whether it is isolated."""
    return ()


def state_calls() -> Sequence[Call]:
    """Money and positions."""
    return (ACCOUNTS, POSITIONS)


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    held = told(state[1], "openpositions").raw("openPositions")
    return frozenset(name.upper() for name in names_of(held, "openPositions", "symbol", "size"))


def stops_call(name: str) -> Call:
    """What waits in any contract: the venue tells it no other way."""
    return _ORDERS


def all_stops_call() -> Call:
    """What waits in any contract."""
    return _ORDERS


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return told_in(map(_waiting, stops), "openOrders", named)


def _waiting(json: Json) -> Json:
    return told(json, "openorders").raw("openOrders")


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """
    The account: dollars, less or with what funding has grown to and is not settled yet.

    Other coins that back it count as nothing; dollars of which there are less than none are owed.
    """
    wallet = _wallet(state[0])
    held = told(state[1], "openpositions").raw("openPositions")
    leverage = _leverage(held, wallet, listed)
    positions, garbled = sort_out(
        held,
        "openPositions",
        lambda row: _position(row, listed, leverage),
        lambda row: listed.symbols.get(named(row), named(row)),
    )
    for coin, row in _coins(wallet):
        if coin != COIN and row.number("quantity") < ZERO:
            raise row.wrong("quantity", "no debt in another coin")
    dollars = sum((row.number("quantity") for coin, row in _coins(wallet) if coin == COIN), ZERO)
    balance = dollars + wallet.number("unrealizedFunding")
    resting = {
        stop.client_id: stop
        for each in stops
        for stop in readable(_waiting(each), "openOrders", lambda row: _stop(row, listed))
    }
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=PositionMode.ONE_WAY,
        wallet_balance=Money(balance),
        free=Money(max(min(balance, wallet.number("availableMargin")), ZERO)),
        positions=positions,
        stops=tuple(resting.values()),
        garbled=garbled,
    )


def _wallet(json: Json) -> Row:
    accounts = Row(told(json, "accounts").raw("accounts"), "accounts")
    return Row(accounts.raw("flex"), "accounts.flex")


def _coins(wallet: Row) -> Iterator[tuple[str, Row]]:
    coins = wallet.raw("currencies")
    if not isinstance(coins, dict):
        raise wallet.wrong("currencies", "an object")
    for coin, each in coins.items():
        yield coin.upper(), Row(each, f"{wallet.where}.currencies.{coin}")


def _leverage(held: Json, wallet: Row, listed: Listed) -> Decimal:
    """Of all positions together, by the initial margin that is told for them; 1 of none."""

    def worth(row: Row) -> list[Decimal]:
        if named(row) not in listed.sizes:
            return []
        return [row.number("size") * listed.sizes[named(row)] * row.number("price")]

    value = sum(readable(held, "openPositions", worth), ZERO)
    margin = wallet.number("initialMargin")
    return value / margin if value > ZERO and margin > ZERO else Decimal(1)


def _position(row: Row, listed: Listed, leverage: Decimal) -> Position | NotOpen:
    name, contracts = named(row), row.number("size")
    if contracts == ZERO:
        return NOT_OPEN
    if name not in listed.sizes:
        raise row.wrong("symbol", "a linear perpetual that is listed")
    if _given(row, "maxFixedLeverage") is not None:
        raise row.wrong(
            "maxFixedLeverage", "none, as the margin of an isolated position is not told"
        )
    if _given(row, "pnlCurrency") not in (None, COIN):
        raise row.wrong("pnlCurrency", f"{COIN}: profit in another coin is not counted in full")
    return Position(
        symbol=listed.symbols[name],
        side=_side(row),
        quantity=Quantity(row.above_zero("size") * listed.sizes[name]),
        entry_price=Price(row.above_zero("price")),
        margin_mode=MarginMode.CROSS,
        isolated_margin=Money(ZERO),
        leverage=leverage,
        liquidation=NotReported(),
    )


def _given(row: Row, name: str) -> Json:
    """What is there, or None: the venue leaves out what there is none of, or says null."""
    return row.raw(name) if row.has(name) else None


def _side(row: Row) -> Side:
    try:
        return Side(row.text("side"))
    except ValueError as e:
        raise row.wrong("side", "long or short") from e


def _stop(row: Row, listed: Listed) -> list[StopOrder]:
    """A market order that waits for the mark price to go against a position, and only that."""
    if row.text("orderType") not in _STOPS or _given(row, "triggerSignal") != "mark":
        return []
    if _given(row, "limitPrice") not in (None, 0) and not born_at_ms(_client_id(row)):
        return []  # a guard's are sent without: a limit there is the venue's own bound
    name = named(row)
    if name not in listed.sizes:
        raise row.wrong("symbol", "a contract that is listed")
    number = row.text("order_id")
    return [
        StopOrder(
            symbol=listed.symbols[name],
            side=_closes(row),
            client_id=_client_id(row) or number,
            quantity=Quantity(row.above_zero("unfilledSize") * listed.sizes[name]),
            trigger_price=Price(row.above_zero("stopPrice")),
            reduce_only=row.flag("reduceOnly"),
        )
    ]


def _closes(row: Row) -> Side:
    """The side of the position that an order closes."""
    match row.raw("side"):
        case "sell":
            return Side.LONG
        case "buy":
            return Side.SHORT
        case _:
            raise row.wrong("side", "sell or buy")


def _client_id(row: Row) -> str:
    """Ours, under one of the names that the venue has for it; "" for an order without."""
    for name in ("cliOrdId", "cli_ord_id", "clientId"):
        if row.has(name) and row.raw(name) not in (None, ""):
            return row.text(name)
    return ""


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: stops are cancelled by our id."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action. Every order can only reduce."""
    name = listed.id_of(action.symbol)
    match action:
        case AddMargin():
            return Refused("NOT_SENT", "no margin can be added to a position: transfer or reduce")
        case CancelStop(target_client_id=target):
            return Call(
                "private", "POST", "cancelorder", {"cliOrdId": target}, weight=_ORDER_WEIGHT
            )
        case PlaceStop() | ClosePosition():
            sent = _kind(action) | {
                "symbol": name,
                "side": "sell" if action.side is Side.LONG else "buy",
                "size": f"{action.quantity / listed.sizes[name]:f}",
                "reduceOnly": "true",
                "cliOrdId": client_id,
            }
            return Call("private", "POST", "sendorder", sent, weight=_ORDER_WEIGHT)
    assert_never(action)


def _kind(action: PlaceStop | ClosePosition) -> dict[str, Json]:
    """A stop without a limit, at the mark price; at market the venue stays within 1 % of it."""
    match action:
        case PlaceStop(trigger_price=trigger):
            return {"orderType": "stp", "triggerSignal": "mark", "stopPrice": f"{trigger:f}"}
        case ClosePosition(bound=bound):
            pass
        case _:
            assert_never(action)
    match bound:
        case AtMarket():
            return {"orderType": "mkt"}
        case NoWorseThan(price):
            return {"orderType": "ioc", "limitPrice": f"{price:f}"}
    assert_never(bound)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """What an answer to a write proves. Whatever does not prove itself is Unsure."""
    try:
        answer = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if heard.status not in _ANSWERS:
            return Unsure(f"HTTP {heard.status}: {heard.text[:80]}")
        if answer.raw("result") == "error":
            error = answer.text("error")
            return Refused(error, ERRORS[error]) if error in ERRORS else Unsure(error)
        if answer.raw("result") != "success" or heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status}: {heard.text[:80]}")
        match action:
            case AddMargin():
                return Unsure("expected no answer to what cannot be sent")
            case CancelStop(target_client_id=target):
                return _cancelled(Row(answer.raw("cancelStatus"), "cancelStatus"), target)
            case PlaceStop() | ClosePosition():
                return _sent(Row(answer.raw("sendStatus"), "sendStatus"), action, client_id)
        assert_never(action)
    except Unreadable as e:
        return Unsure(str(e))


def _cancelled(row: Row, target: str) -> Reply:
    """
    That it is gone, or filled, does not say what became of the stop: it may have triggered.

    An answer without events names our id nowhere; what was asked for had no other order in it.
    """
    status = row.text("status")
    if status != "cancelled":
        return Unsure(status)
    row.text("order_id")
    named_ids = {each for each in map(_client_id, _orders(row)) if each}
    if not named_ids <= {target}:
        return Unsure(f"expected an echo of {target}, was {sorted(named_ids)}")
    return Accepted()


def _sent(row: Row, action: PlaceStop | ClosePosition, client_id: str) -> Reply:
    status = row.text("status")
    ids = {each for each in (_client_id(row), *map(_client_id, _orders(row))) if each}
    if status == _NOT_FILLED and isinstance(action, ClosePosition) and ids == {client_id}:
        row.text("order_id")
        return Accepted()  # it was taken, found nobody within its bound, and has ended
    if status in STATUSES:
        return Refused(status, STATUSES[status])
    if status not in _TAKEN:
        return Unsure(status)
    row.text("order_id")
    if ids != {client_id}:
        return Unsure(f"expected an echo of {client_id}, was {sorted(ids)}")
    for event in _events(row):
        if event.raw("type") == "REJECT":
            return Unsure(f"{status}, and rejected: {_given(event, 'reason')}")
        if isinstance(action, PlaceStop):
            _check_trigger(Row(event.raw("orderTrigger"), "orderTrigger"), action)
    return Accepted()


def _check_trigger(row: Row, action: PlaceStop) -> None:
    """That what rests is what was asked for; raises `Unreadable`."""
    if row.raw("triggerSignal") != "mark_price":
        raise row.wrong("triggerSignal", "mark_price")
    if row.number("triggerPrice") != action.trigger_price:
        raise row.wrong("triggerPrice", f"{action.trigger_price:f}")
    if row.raw("triggerSide") != f"trigger_{'below' if action.side is Side.LONG else 'above'}":
        raise row.wrong("triggerSide", "the side on which the position loses")
    if not row.flag("reduceOnly"):
        raise row.wrong("reduceOnly", "true")


def _events(row: Row) -> Iterator[Row]:
    if row.has("orderEvents"):
        yield from rows(row.raw("orderEvents"), f"{row.where}.orderEvents")


def _orders(row: Row) -> Iterator[Row]:
    """The orders that the events of an answer are about."""
    for event in _events(row):
        for name in ("order", "orderTrigger", "orderPriorExecution"):
            if _given(event, name) is not None:
                yield Row(event.raw(name), f"{event.where}.{name}")


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """
    What waits, what ended within the last five seconds by our id, and the last hundred fills.

    An order that ended unfilled before that is told by none of them, as if it had never been:
    either way nothing waits and nothing was filled. The venue's histories would tell, but have so
    small an allowance of their own that a few intents in doubt would use it up.
    """
    status = Call("private", "POST", "orders/status", {"cliOrdIds": client_id})
    return (_ORDERS, status, Call("private", "GET", "fills", {}, weight=2))


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say."""
    waiting, recent, fills = (_heard(each) for each in answers)
    filled = _filled(told(fills, "fills"), client_id, name, listed.sizes[name])
    for row in rows(_waiting(waiting), "openOrders"):
        if _client_id(row) == client_id:
            _check(row, "filledSize", name, filled, listed.sizes[name])
            return OrderFound(client_id, resting=True, filled=filled)
    for entry in rows(told(recent, "orders/status").raw("orders"), "orders"):
        row = Row(entry.raw("order"), f"{entry.where}.order")
        if _client_id(row) == client_id:
            status = entry.text("status")
            if status not in _WAITS | _OVER:
                raise entry.wrong("status", "a status that is known")
            if status == _FILLED and filled == NO_FILL:
                raise entry.wrong("status", "one whose fills are told")
            _check(row, "filled", name, filled, listed.sizes[name])
            return OrderFound(client_id, resting=status in _WAITS, filled=filled)
    if filled != NO_FILL:
        return OrderFound(client_id, resting=False, filled=filled)
    return OrderAbsent()


def _heard(heard: Heard) -> Json:
    if heard.status != _HTTP_OK:
        raise Unreadable(f"order: expected HTTP 200, was {heard.status}")
    return parse_json(heard.text)


def _check(row: Row, key: str, name: str, filled: Filled, size: Decimal) -> None:
    """That it is in its contract and all its fills are told: they may come a moment later."""
    if named(row) != name:
        raise row.wrong("symbol", name)
    seen = filled.quantity if isinstance(filled, Fill) else ZERO
    if _given(row, key) is not None and row.number(key) * size != seen:
        raise row.wrong(key, f"{seen:f}, as the fills make")


def _filled(answer: Row, client_id: str, name: str, size: Decimal) -> Filled:
    quantity, value = ZERO, ZERO
    for row in rows(answer.raw("fills"), "fills"):
        if _client_id(row) == client_id:
            if named(row) != name:
                raise row.wrong("symbol", name)
            quantity += row.above_zero("size")
            value += row.number("size") * row.above_zero("price")
    if quantity == ZERO:
        return NO_FILL
    return Fill(Quantity(quantity * size), Price(value / quantity))


def margin_call(name: str, since_ms: int) -> NoMarginHistory:
    """None: no position has a margin of its own."""
    return NoMarginHistory()


def margin_changes_of(json: Json, listed: Listed) -> tuple[MarginChange, ...]:
    """Never asked for."""
    raise Unreadable("margin: expected no history of it")


# -- the account's stream ------------------------------------------------------------------

_TOLD = ("open_orders", "fills")
_LIQUIDATES = frozenset({"liquidation", "partialLiquidation", "assignor"})
_DELEVERAGES = frozenset({"unwindBankrupt", "unwindCounterparty"})
_FAILED = frozenset({"alert", "error", "subscribed_failed"})


def account_calls() -> Sequence[Call]:
    """Nothing: the stream has a sign-in of its own."""
    return ()


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """Where the account's events are pushed: each kind is asked for with a signed challenge."""
    key = credentials.key.get_secret_value()

    def asks_of(json: Json) -> tuple[str, ...]:
        frame = Row(json, "frame")
        if not frame.has("event") or frame.raw("event") != "challenge":
            return ()
        challenge = frame.text("message")
        signed = {
            "api_key": key,
            "original_challenge": challenge,
            "signed_challenge": _signed(challenge, credentials),
        }
        return tuple(
            text_json.dumps({"event": "subscribe", "feed": each} | signed) for each in _TOLD
        )

    asked = {"event": "challenge", "api_key": key}
    return Opening(STREAMS, sign_in=text_json.dumps(asked), asks_of=asks_of)


def _signed(challenge: str, credentials: Credentials) -> str:
    secret = b64decode(credentials.secret.get_secret_value())
    return b64encode(hmac.digest(secret, sha256(challenge.encode()).digest(), "sha512")).decode()


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: its pings keep it."""
    return ()


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """What a frame is an alarm for. The kind of a fill tells whether it is the venue's doing."""
    frame = Row(json, "frame")
    if frame.has("event"):
        event = frame.text("event")
        return (
            StreamEnded(f"{event}: {_given(frame, 'message')}") if event in _FAILED else _NOTHING
        )
    feed = frame.text("feed")
    if feed not in _TOLD:
        return _NOTHING  # what was before is read, not heard
    if feed == "fills":
        for row in rows(frame.raw("fills"), "fills"):
            kind = row.text("fill_type")
            if kind in _LIQUIDATES | _DELEVERAGES:
                return _taken(row, kind, listed, received_at_ms)
    return AccountChanged()


_NOTHING = Irrelevant()


def _taken(row: Row, kind: str, listed: Listed, received_at_ms: int) -> Told:
    """What the venue took of a position with this fill."""
    name, price = row.text("instrument").upper(), Price(row.above_zero("price"))
    symbol = listed.symbols.get(name, name)
    side = Side.SHORT if row.flag("buy") else Side.LONG
    if kind in _LIQUIDATES:
        return Liquidated(symbol, side, price, received_at_ms)
    if name not in listed.sizes:
        return AccountChanged()
    quantity = Quantity(row.above_zero("qty") * listed.sizes[name])
    return AutoDeleveraged(symbol, side, quantity, price, received_at_ms)


# -- before the start ----------------------------------------------------------------------

_EQUITY_OFF_MAX = Decimal("0.01")


def check_calls() -> Sequence[Call]:
    """What has to be known before anything is guarded."""
    return (Call("auth", "GET", "api-keys/v3/check", {}), *state_calls())


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Why this key or account cannot be guarded, a sentence each."""
    key, _, _ = jsons
    return tuple(_of_key(Row(key, "check")))


def unsupported(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What makes it an account whose liquidation is not known, a sentence each."""
    _, accounts, held = jsons
    return (*_of_wallet(_wallet(accounts)), *_of_positions(held))


def _of_key(row: Row) -> Iterator[str]:
    allowed = Row(row.raw("permissions"), "check.permissions")
    if allowed.text("general") != "FULL_ACCESS":
        yield f"API key: expected one that may trade (general), was {allowed.raw('general')}"
    if allowed.text("transfer") not in ("NO_ACCESS", "READ_ONLY"):
        was = allowed.raw("transfer")
        yield f"API key: expected one that cannot withdraw (transfer), was {was}"


def _of_wallet(wallet: Row) -> Iterator[str]:
    others = sorted(
        coin for coin, row in _coins(wallet) if coin != COIN and row.number("quantity") != ZERO
    )
    if others:
        yield (
            f"account: expected no collateral but {COIN}, was {', '.join(others)}: what the venue "
            "counts of them is not told"
        )
    if _given(wallet, "portfolioMarginBreakdown") is not None:
        yield "account: portfolio margin is not supported: its requirement is not known"
    equity = wallet.number("marginEquity")
    made = wallet.number("balanceValue") + wallet.number("totalUnrealized")
    if not others and abs(equity - made) > abs(made) * _EQUITY_OFF_MAX:
        yield (
            f"account: expected a margin equity of {made:f}, as balance and profit make, was "
            f"{equity:f}"
        )


def _of_positions(json: Json) -> Iterator[str]:
    for row in rows(told(json, "openpositions").raw("openPositions"), "openPositions"):
        if _given(row, "maxFixedLeverage") is not None:
            yield f"{named(row)}: an isolated position is not supported: its margin is not told"
        if _given(row, "pnlCurrency") not in (None, COIN):
            yield f"{named(row)}: expected profit in {COIN}, was {row.raw('pnlCurrency')}"


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: the venue tells what a key may do."""
    return ()
