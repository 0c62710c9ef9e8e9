"""
The account on Bitunix for USDT perpetuals: what it holds, what waits in it, its stream.

Shapes: `documented`; no released ccxt knows the venue, so `bitunix_client` signs on its base. It
counts in base. Stops are "tpsl" orders of a position, known by the venue's number alone, so that a
`NumberedAccount` keeps which are ours. Its papers contradict what others have met: such places are
marked, and read as either. No account of the venue has been met by us. In the order of
`AccountDialect`.
"""

import hashlib
import json as text_json
from collections.abc import Sequence

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
    rows,
    sort_out,
    told_in,
)
from bot.exchange.ports import AccountChanged, NoMarginHistory
from bot.exchange.venues.bitunix_market import (
    API,
    COIN,
    PRIVATE,
    SECOND_MS,
    STREAMS,
    data_of,
    one_of,
    ping_of,
    subscription_of,
)

PAGE = 100
_NONCE = 32

_TOLD = frozenset({"order", "position", "balance", "wallet", "tpsl", "tp_sl"})
"""Channels of the account; the venue's pages and others' clients name two of them differently."""
_SIDES = {"LONG": Side.LONG, "BUY": Side.LONG, "SHORT": Side.SHORT, "SELL": Side.SHORT}
"""Of a position: LONG and SHORT are `documented`, BUY and SELL were met by others."""

_MARGIN_MODES = {"CROSS": MarginMode.CROSS, "ISOLATION": MarginMode.ISOLATED}
_POSITION_MODES = {"ONE_WAY": PositionMode.ONE_WAY, "HEDGE": PositionMode.HEDGE}


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
    asked = {"symbol": name, "limit": str(PAGE)}
    return Call(PRIVATE, "GET", f"{API}/tpsl/get_pending_orders", asked)


def all_stops_call() -> Call:
    """What waits in any contract."""
    return Call(PRIVATE, "GET", f"{API}/tpsl/get_pending_orders", {"limit": str(PAGE)})


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return told_in(map(waiting_in, stops), "tpsl", lambda row: row.text("symbol"))


def waiting_in(json: Json) -> list[Json]:
    return page(data_of(json, "tpsl"), "tpsl", PAGE)


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
    mode = account.meaning("positionMode", _POSITION_MODES)
    held: dict[str, Position] = {}

    def position(row: Row) -> Position | NotOpen:
        if row.number("qty") == ZERO:
            return NOT_OPEN
        if row.meaning("positionMode", _POSITION_MODES) is not mode:
            raise row.wrong("positionMode", f"{mode}, as the account's")
        found = held[row.identity("positionId")] = _position(row, listed)
        return found

    positions, garbled = sort_out(
        data_of(state[1], "positions"),
        "positions",
        position,
        lambda row: listed.symbol_of(row.text("symbol")),
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


def _open(json: Json) -> list[Row]:
    found = rows(data_of(json, "positions"), "positions")
    return [row for row in found if row.number("qty") != ZERO]


def _position(row: Row, listed: Listed) -> Position:
    name = row.text("symbol")
    if name not in listed.symbols:
        raise row.wrong("symbol", "a contract that is listed")
    margin_mode = row.meaning("marginMode", _MARGIN_MODES)
    is_cross = margin_mode is MarginMode.CROSS
    return Position(
        symbol=listed.symbols[name],
        side=side_of(row),
        quantity=Quantity(row.above_zero("qty")),
        entry_price=Price(row.above_zero("avgOpenPrice")),
        margin_mode=margin_mode,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("margin")),
        leverage=row.above_zero("leverage"),
        liquidation=liquidation_in(row, "liqPrice"),
    )


def side_of(row: Row) -> Side:
    return row.meaning("side", _SIDES)


def _stops(json: Json, held: dict[str, Position]) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark price to close a position, and only those.

    One that is not readable is another's, of a kind not known here; one of ours would be seen as
    missing, and placed.
    """
    return readable(waiting_in(json), "tpsl", lambda row: _stop(row, held))


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


margin_history = NoMarginHistory()
"""None: the venue keeps no history of it."""


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
