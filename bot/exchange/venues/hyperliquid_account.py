"""
Hyperliquid's account side: recipes, strict parsers, proofs. One-way alone, in USDC.

`documented` (info and exchange endpoints, 2026), signed by ccxt 4.5.90. Orders are known by a
number of 128 bits of ours, which holds our whole id. There is no order at market: what shall fill
at any price has a limit as far away as the venue's own page puts it. Stops are triggered by the
mark always. Errors are texts within an answer of success. In the order of `AccountDialect`.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
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
from bot.core.units import ONE, ZERO, Money, Price, Quantity
from bot.exchange.live.calls import Call, Heard, Json, Unreadable, parse_json
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Ground, Irrelevant, Listed, Opening, StreamEnded, Told
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
from bot.exchange.venues.hyperliquid_market import (
    AGENT,
    PING,
    PRIVATE,
    STREAM,
    info,
    subscription,
    tick,
)
from bot.exchange.venues.hyperliquid_refusals import REFUSED, UNFILLED

log = structlog.get_logger()

request_life_ms = 5_000
"""Each names its last moment (`expiresAfter`), 3 s after its date; clocks may differ."""

_HTTP_OK = 200
_UNITS = Decimal(1_000_000)
"""Margin is told in millionths of a dollar."""

_CLOSE_REACH = Decimal("0.08")
"""How far from the mark what shall fill at any price may: the venue's own for closes."""

_STOP_REACH = Decimal("0.10")
"""And from its trigger a stop: the venue's own for stops at market."""

_OPEN = frozenset({"open", "triggered"})
_OVER = frozenset(
    {
        "filled",
        "canceled",
        "rejected",
        "marginCanceled",
        "vaultWithdrawalCanceled",
        "openInterestCapCanceled",
        "selfTradeCanceled",
        "reduceOnlyCanceled",
        "siblingFilledCanceled",
        "delistedCanceled",
        "liquidatedCanceled",
        "scheduledCancel",
        "tickRejected",
        "minTradeNtlRejected",
        "perpMarginRejected",
        "reduceOnlyRejected",
        "badAloPxRejected",
        "iocCancelRejected",
        "badTriggerPxRejected",
        "marketOrderNoLiquidityRejected",
        "positionIncreaseAtOpenInterestCapRejected",
        "positionFlipAtOpenInterestCapRejected",
        "tooAggressiveAtOpenInterestCapRejected",
        "openInterestIncreaseRejected",
        "insufficientSpotBalanceRejected",
        "oracleRejected",
        "perpMaxPositionRejected",
    }
)
"""What an order is: `documented`, the whole list."""

_STANDARD = frozenset({"disabled", "default"})
"""
How an account's money is kept: each dex its own. `disabled` is `documented`; that an account which
was never asked (`default`) is one is how two client libraries read it.
"""

_PROBE = "BTC"


# -- names of orders -----------------------------------------------------------------------

_OURS = re.compile("lg[a-z2-7]{24}")
_CLOID = re.compile("0x[0-9a-f]{32}")
_TAG = "0x4c"


def cloid_of(client_id: str) -> str:
    """
    What the venue knows an order by: of our 26 letters the last 24, 120 bits, behind a byte.

    What is no id of ours stays as it is.
    """
    if not _OURS.fullmatch(client_id):
        return client_id
    return _TAG + base64.b32decode(client_id[2:].upper()).hex()


def client_id_of(cloid: str) -> str:
    """Our id, of a number that may be one; any other stays as it is."""
    if not _CLOID.fullmatch(cloid) or not cloid.startswith(_TAG):
        return cloid
    return "lg" + base64.b32encode(bytes.fromhex(cloid[len(_TAG) :])).decode().lower()


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """Nothing: a position tells its own, and there is one position mode."""
    return ()


def state_calls() -> Sequence[Call]:
    """Positions and money, of one moment."""
    return (info(PRIVATE, "clearinghouseState", weight=2),)


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    inner = [_inner(each) for each in _listed_positions(state[0])]
    return names_of(inner, "assetPositions", "coin", "szi")


def _listed_positions(json: Json) -> list[Json]:
    state = Row(json, "clearinghouseState")
    found = state.raw("assetPositions")
    if not isinstance(found, list):
        raise state.wrong("assetPositions", "a list")
    return found


def _inner(entry: Json) -> Json:
    return entry.get("position") if isinstance(entry, dict) else entry


def stops_call(name: str) -> Call:
    """What waits: the venue lists all of it."""
    return all_stops_call()


def all_stops_call() -> Call:
    """What waits in any contract."""
    return info(PRIVATE, "frontendOpenOrders")


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits for a price."""
    return told_in(
        ([row for row in _orders(each) if _is_trigger(row)] for each in stops),
        "frontendOpenOrders",
        lambda row: row.text("coin"),
    )


def _orders(json: Json) -> list[Json]:
    if not isinstance(json, list):
        raise Unreadable(f"frontendOpenOrders: expected a list, was {json!r:.80}")
    return json


def _is_trigger(row: Json) -> bool:
    return isinstance(row, dict) and row.get("isTrigger") is True


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """
    The account. Its cross value has the unrealised profit of the cross positions in it.

    That of one that cannot be read cannot be taken out of the wallet: no margin is moved then.
    """
    (json,) = state
    positions, garbled = sort_out(
        _listed_positions(json),
        "assetPositions",
        lambda row: _position(row, listed),
        lambda row: _symbol(Row(row.raw("position"), row.where), listed),
    )
    told = Row(json, "clearinghouseState")
    cross = Row(told.raw("crossMarginSummary"), "clearinghouseState.crossMarginSummary")
    wallet = cross.number("accountValue") - _won_in_cross(json)
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=PositionMode.ONE_WAY,
        wallet_balance=Money(wallet),
        free=Money(max(min(told.number("withdrawable"), wallet), ZERO)),
        positions=positions,
        stops=tuple(stop for each in stops for stop in _stops(each, listed, positions)),
        garbled=garbled,
    )


def _symbol(row: Row, listed: Listed) -> str:
    name = row.text("coin")
    return listed.symbols.get(name, name)


def _won_in_cross(json: Json) -> Decimal:
    """Unrealised profit of the cross positions that can be read."""
    won = ZERO
    for entry in _listed_positions(json):
        try:
            row = Row(_inner(entry), "position")
            if _margin_mode(row) is MarginMode.CROSS:
                won += row.number("unrealizedPnl")
        except Unreadable:
            continue  # it is told of as garbled
    return won


def _margin_mode(row: Row) -> MarginMode:
    match Row(row.raw("leverage"), f"{row.where}.leverage").raw("type"):
        case "cross":
            return MarginMode.CROSS
        case "isolated":
            return MarginMode.ISOLATED
        case _:
            raise row.wrong("leverage", "that of a cross or an isolated position")


def _position(entry: Row, listed: Listed) -> Position | NotOpen:
    """
    `rawUsd` and the value at the entry price are an isolated position's margin: `documented`
    (`marginUsed` is the same with the profit that is not realised).
    """
    row = Row(entry.raw("position"), f"{entry.where}.position")
    signed = row.number("szi")
    if signed == ZERO:
        return NOT_OPEN
    if entry.raw("type") != "oneWay":
        raise entry.wrong("type", "oneWay")
    margin_mode, entry_price = _margin_mode(row), row.above_zero("entryPx")
    row.number("unrealizedPnl")
    leverage = Row(row.raw("leverage"), f"{row.where}.leverage")
    margin = ZERO
    if margin_mode is MarginMode.ISOLATED:
        margin = leverage.number("rawUsd") + signed * entry_price
    return Position(
        symbol=_symbol(row, listed),
        side=Side.LONG if signed > ZERO else Side.SHORT,
        quantity=Quantity(abs(signed)),
        entry_price=Price(entry_price),
        margin_mode=margin_mode,
        isolated_margin=Money(margin),
        leverage=leverage.above_zero("value"),
        liquidation=_liquidation(row),
    )


def _liquidation(row: Row) -> LiquidationReport:
    """Nothing readable above zero is no report."""
    try:
        return Reported(Price(row.above_zero("liquidationPx")))
    except Unreadable:
        return NotReported()


def _stops(orders: Json, listed: Listed, positions: tuple[Position, ...]) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark to go against a position, and only those.

    One that belongs to an order which is not filled yet closes nothing before that is. One that
    cannot be read is left out: were it ours it would be missing, and placed again.
    """
    found = _orders(orders)
    asleep = {
        str(child.get("oid"))
        for order in found
        if isinstance(order, dict) and isinstance(order.get("children"), list)
        for child in order["children"]
        if isinstance(child, dict)
    }
    return readable(found, "frontendOpenOrders", lambda row: _stop(row, listed, positions, asleep))


def _stop(
    row: Row, listed: Listed, positions: tuple[Position, ...], asleep: set[str]
) -> list[StopOrder]:
    """The stop; none if it waits for something else. A position's own has its size."""
    if not row.flag("isTrigger") or row.text("orderType") != "Stop Market":
        return []
    number, side = row.identity("oid"), _side_closed(row)
    falls_to = row.text("triggerCondition").startswith("Price below")
    if number in asleep or falls_to is not (side is Side.LONG):
        return []
    symbol, closes_all = _symbol(row, listed), row.flag("isPositionTpsl")
    sizes = [each.quantity for each in positions if (each.symbol, each.side) == (symbol, side)]
    if closes_all and not sizes:
        return []
    return [
        StopOrder(
            symbol=symbol,
            side=side,
            client_id=_client_id(row, number),
            quantity=sizes[0] if closes_all else Quantity(row.above_zero("sz")),
            trigger_price=Price(row.above_zero("triggerPx")),
            reduce_only=closes_all or row.flag("reduceOnly"),
        )
    ]


def _side_closed(row: Row) -> Side:
    """A, an ask, sells: it closes a long. B, a bid, buys."""
    match row.raw("side"):
        case "A":
            return Side.LONG
        case "B":
            return Side.SHORT
        case _:
            raise row.wrong("side", "A or B")


def _client_id(row: Row, number: str) -> str:
    """Ours, or another's, or of an order that was placed without one the venue's number."""
    cloid = row.raw("cloid") if row.has("cloid") else None
    return client_id_of(cloid) if isinstance(cloid, str) and cloid else number


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """
    For a close at any price the mark as it is now: the last read may be of before the fall.

    All else needs nothing: stops are cancelled by our own ids, bounds are the guard's.
    """
    match action:
        case ClosePosition(bound=AtMarket()):
            return state_calls()
        case _:
            return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action. Every order can only reduce."""
    name = listed.id_of(action.symbol)
    number, places = listed.numbers[name], listed.price_places[name]
    match action:
        case AddMargin(side=side, amount=amount):
            if amount * _UNITS % ONE != ZERO:
                return Refused("NOT_SENT", f"expected millionths of a dollar, was {amount}")
            units = {"isBuy": side is Side.LONG, "ntli": int(amount * _UNITS)}
            return _done({"type": "updateIsolatedMargin", "asset": number} | units)
        case CancelStop(target_client_id=target):
            if not _CLOID.fullmatch(cloid := cloid_of(target)):
                return Refused("NOT_SENT", f"{target}: expected an order with an id of a client")
            cancels = [{"asset": number, "cloid": cloid}]
            return _done({"type": "cancelByCloid", "cancels": cancels})
        case PlaceStop(side=side, quantity=quantity, trigger_price=trigger):
            limit = _reached(trigger, side, _STOP_REACH)
            at = {
                "isMarket": True,
                "triggerPx": _told(trigger, places, _closer[side]),
                "tpsl": "sl",
            }
            px = _told(limit, places, _farther[side])
            return _order(number, side, quantity, px, {"trigger": at}, client_id)
        case ClosePosition(side=side, quantity=quantity, bound=bound):
            match bound:
                case NoWorseThan(price):
                    px = _told(price, places, _closer[side])
                case AtMarket():
                    mark = _mark_in(ground.answers, name)
                    if mark is None:
                        return Refused("NOT_SENT", f"there is no position in {name} to close")
                    px = _told(_reached(mark, side, _CLOSE_REACH), places, _farther[side])
                case _:
                    assert_never(bound)
            return _order(number, side, quantity, px, {"limit": {"tif": "Ioc"}}, client_id)
    assert_never(action)


_closer: Mapping[Side, str] = {Side.LONG: ROUND_CEILING, Side.SHORT: ROUND_FLOOR}
"""How prices below a long, or above a short, are rounded towards it."""

_farther: Mapping[Side, str] = {Side.LONG: ROUND_FLOOR, Side.SHORT: ROUND_CEILING}


def _reached(price: Decimal, side: Side, reach: Decimal) -> Decimal:
    return price * (ONE - side.sign * reach)


def _told(price: Decimal, places: int, rounding: str) -> str:
    """On the venue's grid, without zeros at its end: the venue signs what it makes of it."""
    step = tick(price, places)
    return _plain((price / step).quantize(ONE, rounding) * step)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _mark_in(state: Sequence[Json], name: str) -> Decimal | None:
    """At what price the venue values the position."""
    for entry in (entry for json in state for entry in _listed_positions(json)):
        try:
            row = Row(_inner(entry), "position")
            if row.text("coin") == name and row.number("szi") != ZERO:
                return row.above_zero("positionValue") / abs(row.number("szi"))
        except Unreadable:
            continue
    return None


def _order(
    number: int, side: Side, quantity: Quantity, px: str, kind: Json, client_id: str
) -> Call | Refused:
    """The order of the parts is the signature's."""
    if not _CLOID.fullmatch(cloid := cloid_of(client_id)):
        return Refused("NOT_SENT", f"{client_id}: expected an id of a guard")
    order = {
        "a": number,
        "b": side is Side.SHORT,
        "p": px,
        "s": _plain(quantity),
        "r": True,
        "t": kind,
        "c": cloid,
    }
    return _done({"type": "order", "orders": [order], "grouping": "na"})


def _done(action: dict[str, Json]) -> Call:
    return Call(PRIVATE, "POST", "exchange", action)


_ANSWERS = {AddMargin: "default", CancelStop: "cancel", PlaceStop: "order", ClosePosition: "order"}
_ASSET = re.compile(r" asset=\d+$")
_ADDRESS = re.compile("0x[0-9a-f]{40}")


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """What an answer to a write proves. Whatever does not prove itself is Unsure."""
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status}")
        if row.raw("status") == "err":
            return _refusal(row.text("response"), action)
        if row.raw("status") != "ok":
            return Unsure(f"expected a status that is known, was {row.raw('status')!r:.80}")
        answer = Row(row.raw("response"), "response")
        if answer.raw("type") != _ANSWERS[type(action)]:
            return Unsure(f"expected an answer to {type(action).__name__}, was another")
        if isinstance(action, AddMargin):
            return Accepted()  # nothing of it is echoed: the position's margin is the evidence
        return _proof(answer, action, client_id)
    except Unreadable as e:
        return Unsure(str(e))


def _refusal(text: str, action: Action) -> Reply:
    """
    What a text proves. An order that nobody met was taken, and is in the books as ended. That a
    stop to cancel is gone does not say what became of it: that text is on no list.
    """
    said = _ADDRESS.sub("ADDRESS", _ASSET.sub("", text))
    if said == UNFILLED and isinstance(action, ClosePosition):
        return Accepted()
    if said in REFUSED:
        return Refused(said, text)
    return Unsure(text[:160])


def _proof(answer: Row, action: CancelStop | PlaceStop | ClosePosition, client_id: str) -> Reply:
    """The one status of what was asked; an order's echoes its id."""
    statuses = Row(answer.raw("data"), "response.data").raw("statuses")
    match statuses:
        case [{"error": str(text)}]:
            return _refusal(text, action)
        case ["success"] if isinstance(action, CancelStop):
            return Accepted()
        case [{"resting": dict(told)}] if isinstance(action, PlaceStop):
            return _echo(Row(told, "resting"), client_id)
        case [{"filled": dict(told)}]:
            return _echo(Row(told, "filled"), client_id)
        case _:
            return Unsure(f"expected one status that is known, was {statuses!r:.120}")


def _echo(row: Row, client_id: str) -> Reply:
    row.identity("oid")
    if row.raw("cloid") != cloid_of(client_id):
        return Unsure(f"expected an echo of {cloid_of(client_id)}, was {row.raw('cloid')}")
    return Accepted()


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """
    An order by our id, and the account's newest 2,000 fills, in which its prices are.

    These count one more for every 20 that there are, of which nothing is known before.
    """
    return (
        info(PRIVATE, "orderStatus", weight=2, oid=cloid_of(client_id)),
        info(PRIVATE, "userFills"),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say: the order and its fills have to agree, as either may lag behind."""
    told, fills = (_answered(heard) for heard in answers)
    found = Row(told, "orderStatus")
    if found.raw("status") == "unknownOid":
        return OrderAbsent()
    if found.raw("status") != "order":
        raise found.wrong("status", "order or unknownOid")
    outer = Row(found.raw("order"), "orderStatus.order")
    row = Row(outer.raw("order"), "orderStatus.order.order")
    if row.raw("cloid") != cloid_of(client_id) or row.raw("coin") != name:
        raise row.wrong("cloid", f"{client_id} in {name}")
    status = outer.text("status")
    if status not in _OPEN | _OVER:
        raise outer.wrong("status", "a status that is known")
    filled = _filled(fills, row.identity("oid"))
    quantity = filled.quantity if isinstance(filled, Fill) else ZERO
    if quantity != row.number("origSz") - row.number("sz"):
        raise row.wrong("sz", f"what is left of {row.raw('origSz')} after fills of {quantity}")
    return OrderFound(client_id, resting=status in _OPEN, filled=filled)


def _answered(heard: Heard) -> Json:
    if heard.status != _HTTP_OK:
        raise Unreadable(f"order: expected HTTP 200, was {heard.status}")
    return parse_json(heard.text)


def _filled(fills: Json, number: str) -> Filled:
    quantity = value = ZERO
    for row in rows(fills, "userFills"):
        if row.identity("oid") == number:
            size = row.above_zero("sz")
            quantity, value = quantity + size, value + size * row.above_zero("px")
    return Fill(Quantity(quantity), Price(value / quantity)) if quantity else NO_FILL


def margin_call(name: str, since_ms: int) -> NoMarginHistory:
    """None: the account's ledger has no kind for margin that moves within it."""
    return NoMarginHistory()


def margin_changes_of(json: Json, listed: Listed) -> tuple[MarginChange, ...]:
    """Never asked for."""
    raise Unreadable("margin: expected no history of it")


# -- the account's stream ------------------------------------------------------------------

_ASKED = ("userFills", "userEvents", "orderUpdates", "userNonFundingLedgerUpdates")
_TOLD = frozenset({"user", "orderUpdates", "userNonFundingLedgerUpdates"})


def account_calls() -> Sequence[Call]:
    """Nothing: what happens to an address anybody may hear."""
    return ()


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """Where the account's events are pushed."""
    user = credentials.key.get_secret_value().lower()
    return Opening(STREAM, tuple(subscription(type=kind, user=user) for kind in _ASKED), ping=PING)


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: its pings keep it."""
    return ()


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """What a frame is an alarm for. A fill tells whether the venue itself was at work."""
    frame = Row(json, "frame")
    channel = frame.text("channel")
    if channel == "error":
        return StreamEnded(f"refused: {frame.raw('data')!r:.120}")
    if channel in _TOLD:
        return AccountChanged()
    if channel != "userFills":
        return Irrelevant()
    told = Row(frame.raw("data"), "frame.data")
    if told.has("isSnapshot") and told.flag("isSnapshot"):
        return Irrelevant()
    for row in rows(told.raw("fills"), "fills"):
        symbol, side, price = _symbol(row, listed), _side_closed(row), row.above_zero("px")
        if row.raw("dir") == "Auto-Deleveraging":
            quantity = Quantity(row.above_zero("sz"))
            return AutoDeleveraged(symbol, side, quantity, Price(price), received_at_ms)
        if _is_liquidation_of(row, told.text("user")):
            return Liquidated(symbol, side, Price(price), received_at_ms)
    return AccountChanged()


def _is_liquidation_of(row: Row, user: str) -> bool:
    """Whether `user` was liquidated, and not the one who traded with somebody that was."""
    if not row.has("liquidation") or row.raw("liquidation") is None:
        return False
    hit = Row(row.raw("liquidation"), f"{row.where}.liquidation").text("liquidatedUser")
    return hit.lower() == user.lower()


# -- before the start ----------------------------------------------------------------------


def check_calls() -> Sequence[Call]:
    """
    Whose API wallet the key is, whose the account is, and how its money is kept.

    The first counts 60, asked once a day: it does not hold up the reads behind it for that.
    """
    return (
        info(AGENT, "userRole"),
        info(PRIVATE, "activeAssetData", coin=_PROBE),
        info(PRIVATE, "userAbstraction"),
    )


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """
    Why this key or account cannot be guarded, a sentence each.

    An API wallet may trade and cannot withdraw (`documented`); the account's own key can.
    """
    role, asset, _ = jsons
    found = []
    told = Row(role, "userRole")
    if told.raw("role") != "agent":
        found.append(
            "API key: expected that of an API wallet, which cannot withdraw, was that of "
            f"a {told.text('role')}"
        )
    else:
        owner = Row(told.raw("data"), "userRole.data").text("user")
        account = Row(asset, "activeAssetData").text("user")
        if owner.lower() != account.lower():
            found.append(
                "API key: expected an API wallet of this account, was another's (sub-accounts "
                "and vaults are not supported)"
            )
    return tuple(found)


def unsupported(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What makes it an account whose liquidation is not known, a sentence each."""
    _, _, kept = jsons
    if not isinstance(kept, str):
        raise Unreadable(f"userAbstraction: expected a text, was {kept!r:.80}")
    if kept not in _STANDARD:
        return (
            f"account: expected one that keeps its perpetuals' money apart (disabled), was {kept}",
        )
    return ()


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: the venue tells whose API wallet it is, and what those may do."""
    return ()
