"""
An account on Hyperliquid: what it holds, what waits in it, its stream. One-way, in USDC.

`documented` (info endpoint, 2026). Orders are known by a number of 128 bits of ours, which holds
our whole id. Stops are triggered by the mark always. In the order of `AccountDialect`.
"""

import base64
import re
from collections.abc import Sequence
from decimal import Decimal

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
    readable,
    rows,
    sort_out,
    told_in,
)
from bot.exchange.ports import AccountChanged, NoMarginHistory
from bot.exchange.venues.hyperliquid_market import AGENT, PING, PRIVATE, STREAM, info, subscription

_STANDARD = frozenset({"disabled", "default"})
"""
How an account's money is kept: each dex its own. `disabled` is `documented`; that an account which
was never asked (`default`) is one is how two client libraries read it.
"""

_PROBE = "BTC"
_MARGIN_MODES = {"cross": MarginMode.CROSS, "isolated": MarginMode.ISOLATED}
_CLOSES = {"A": Side.LONG, "B": Side.SHORT}


# -- names of orders -----------------------------------------------------------------------


_OURS = re.compile("lg[a-z2-7]{24}")
CLOID = re.compile("0x[0-9a-f]{32}")
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
    if not CLOID.fullmatch(cloid) or not cloid.startswith(_TAG):
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
    inner = [inner_of(each) for each in positions_in(state[0])]
    return names_of(inner, "assetPositions", "coin", "szi")


def positions_in(json: Json) -> list[Json]:
    state = Row(json, "clearinghouseState")
    found = state.raw("assetPositions")
    if not isinstance(found, list):
        raise state.wrong("assetPositions", "a list")
    return found


def inner_of(entry: Json) -> Json:
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
        positions_in(json),
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
    return listed.symbol_of(name)


def _won_in_cross(json: Json) -> Decimal:
    """Unrealised profit of the cross positions that can be read."""
    won = ZERO
    for entry in positions_in(json):
        try:
            row = Row(inner_of(entry), "position")
            if _margin_mode_of(row) is MarginMode.CROSS:
                won += row.number("unrealizedPnl")
        except Unreadable:
            continue  # it is told of as garbled
    return won


def _margin_mode_of(row: Row) -> MarginMode:
    leverage = Row(row.raw("leverage"), f"{row.where}.leverage")
    return leverage.meaning("type", _MARGIN_MODES)


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
    margin_mode, entry_price = _margin_mode_of(row), row.above_zero("entryPx")
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
        liquidation=liquidation_in(row, "liquidationPx"),
    )


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
            client_id=_client_id_of(row, number),
            quantity=sizes[0] if closes_all else Quantity(row.above_zero("sz")),
            trigger_price=Price(row.above_zero("triggerPx")),
            reduce_only=closes_all or row.flag("reduceOnly"),
        )
    ]


def _side_closed(row: Row) -> Side:
    """A, an ask, sells: it closes a long. B, a bid, buys."""
    return row.meaning("side", _CLOSES)


def _client_id_of(row: Row, number: str) -> str:
    """Ours, or another's, or of an order that was placed without one the venue's number."""
    cloid = row.given("cloid")
    return client_id_of(cloid) if cloid else number


margin_history = NoMarginHistory()
"""None: the account's ledger has no kind for margin that moves within it."""


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
