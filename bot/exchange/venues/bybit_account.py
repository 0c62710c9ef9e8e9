"""
Bybit's unified account (v5) for USDT perpetuals: what it holds, what waits in it, its stream.

Shapes: `documented`. Stops are conditional orders with an id of ours, and not the position's own
stop, of which there is one, without an id. The margin mode is the account's; margin that moves
into a position is in no history. No account has been met yet. In the order of `AccountDialect`.
"""

import hmac
import json as text_json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from hashlib import sha256

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
    page,
    readable,
    rows,
    sort_out,
    told_in,
)
from bot.exchange.ports import AccountChanged, NoMarginHistory
from bot.exchange.venues.bybit_market import (
    COIN,
    LINEAR,
    PING,
    PRIVATE,
    STREAMS,
    result_of,
    rows_of,
)

_OF_COIN = LINEAR | {"settleCoin": COIN}
_POSITIONS_MAX = 200
_ORDERS_MAX = 50
_UNIFIED = frozenset({5, 6})
"""`unifiedMarginStatus` of a unified account 2.0; 1 is a classic one, 3 and 4 are 1.0."""

_MODES = {"ISOLATED_MARGIN": MarginMode.ISOLATED, "REGULAR_MARGIN": MarginMode.CROSS}
SIDES = {"Buy": Side.LONG, "Sell": Side.SHORT}
_FALLS_TO, _RISES_TO = 2, 1
"""`triggerDirection`."""

_PROBE = "BTCUSDT"
"""A contract that is always listed: its rows tell the position mode where nothing is held."""

_NEVER_LIQUIDATED = Decimal(999_999)
_AUTH_LIFE_MS = 90_000
"""A sign-in of a stream has to end in the future of the venue's clock, which may be ahead."""


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """The account's margin mode, and a contract's rows, which tell whether it has legs."""
    probe = LINEAR | {"symbol": _PROBE}
    return (
        Call(PRIVATE, "GET", "v5/account/info", {}),
        Call(PRIVATE, "GET", "v5/position/list", probe),
    )


def state_calls() -> Sequence[Call]:
    """
    Positions and money.

    Margin that moves between the two answers harms neither: a wallet's balance has all margins
    in it.
    """
    return (
        Call(PRIVATE, "GET", "v5/position/list", _OF_COIN | {"limit": str(_POSITIONS_MAX)}),
        _wallet_call(),
    )


def _wallet_call() -> Call:
    return Call(PRIVATE, "GET", "v5/account/wallet-balance", {"accountType": "UNIFIED"})


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(_not_empty(state[0]), "position/list", "symbol", "size")


def stops_call(name: str) -> Call:
    """What waits in one contract."""
    return _waiting(LINEAR | {"symbol": name})


def all_stops_call() -> Call:
    """What waits in any contract."""
    return _waiting(_OF_COIN)


def _waiting(of: dict[str, str]) -> Call:
    asked = of | {"orderFilter": "StopOrder", "limit": str(_ORDERS_MAX)}
    return Call(PRIVATE, "GET", "v5/order/realtime", asked)


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    lists = (result_of(each, "realtime").raw("list") for each in stops)
    return told_in(lists, "realtime", lambda row: row.text("symbol"))


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """The account. A coin's balance has the margins of isolated positions in it."""
    info, probe = terms
    margin_mode, position_mode = _margin_mode_of(info), _position_mode(probe, state[0])
    positions, garbled = sort_out(
        _not_empty(state[0]),
        "position/list",
        lambda row: _position(row, listed, margin_mode),
        lambda row: listed.symbol_of(row.text("symbol")),
    )
    wallet, free = _money(state[1], margin_mode)
    bound = sum((each.isolated_margin for each in positions), ZERO)
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=position_mode,
        wallet_balance=Money(wallet - bound),
        free=free,
        positions=positions,
        stops=tuple(stop for each in stops for stop in _stops(each, listed, positions)),
        garbled=garbled,
    )


def _margin_mode_of(json: Json) -> MarginMode:
    """Of the whole account."""
    return result_of(json, "account/info").meaning("marginMode", _MODES)


def _position_mode(probe: Json, positions: Json) -> PositionMode:
    """
    Of the positions that are held, else of the contract that is asked about.

    The venue has a mode for each contract; an account whose positions differ is no read, as
    there is no one mode to send by.
    """
    told = set(_modes_told(positions))
    told = told or {row.integer("positionIdx") for row in rows_of(probe, "position/list")}
    if told == {0}:
        return PositionMode.ONE_WAY
    if told and told <= {1, 2}:
        return PositionMode.HEDGE
    raise Unreadable(f"position/list: expected positionIdx of one mode, was {sorted(told)}")


def _modes_told(json: Json) -> Iterator[int]:
    """The mode of every position whose row tells it; one that does not is garbled."""
    for each in _not_empty(json):
        try:
            row = Row(each, "position/list")
            if row.number("size") != ZERO:
                yield row.integer("positionIdx")
        except Unreadable:
            continue


def _not_empty(json: Json) -> list[Json]:
    """Every row but those of a contract that is asked about and not held."""
    found = page(result_of(json, "position/list").raw("list"), "position/list", _POSITIONS_MAX)
    return [each for each in found if not (isinstance(each, dict) and each.get("size") == "")]


def _held(json: Json) -> list[Row]:
    found = rows(_not_empty(json), "position/list")
    return [row for row in found if row.number("size") != ZERO]


def _position(row: Row, listed: Listed, margin_mode: MarginMode) -> Position | NotOpen:
    """`positionIM` of an isolated position is its margin, with what was added: `documented`."""
    if row.number("size") == ZERO:
        return NOT_OPEN
    name, side = row.text("symbol"), row.meaning("side", SIDES)
    if row.integer("positionIdx") not in (0, idx_of(side, PositionMode.HEDGE)):
        raise row.wrong("positionIdx", f"that of {side}")
    is_cross = margin_mode is MarginMode.CROSS
    return Position(
        symbol=listed.symbol_of(name),
        side=side,
        quantity=Quantity(row.above_zero("size")),
        entry_price=Price(row.above_zero("avgPrice")),
        margin_mode=margin_mode,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("positionIM")),
        leverage=row.above_zero("leverage"),
        liquidation=liquidation_in(row, "liqPrice", never=_NEVER_LIQUIDATED),
    )


def idx_of(side: Side, mode: PositionMode) -> int:
    if mode is PositionMode.ONE_WAY:
        return 0
    return 1 if side is Side.LONG else 2


def _money(json: Json, margin_mode: MarginMode) -> tuple[Decimal, Money]:
    """
    The balance of the settle coin, and what of it is free: `documented` for isolated margin.

    In cross margin a loss that is not realised is not free either; a profit that is not is left
    out. Another coin that backs the account, or is owed, makes its margin unknown: no read.
    """
    coins = {row.text("coin"): row for row in _coins(json)}
    if margin_mode is MarginMode.CROSS and (problems := list(_foreign(coins.values()))):
        raise Unreadable(f"wallet-balance: {'; '.join(problems)}")
    if COIN not in coins:
        return ZERO, Money(ZERO)
    row = coins[COIN]
    wallet = row.number("walletBalance")
    bound = sum(
        (row.number(name) for name in ("totalPositionIM", "totalOrderIM", "locked", "bonus")),
        ZERO,
    )
    is_cross = margin_mode is MarginMode.CROSS
    lost = min(row.number("unrealisedPnl"), ZERO) if is_cross else ZERO
    return wallet, Money(max(wallet + lost - bound, ZERO))


def _coins(json: Json) -> list[Row]:
    """The coins of the unified account, of which there is one."""
    found = list(rows_of(json, "wallet-balance"))
    if len(found) != 1:
        raise Unreadable(f"wallet-balance: expected one account, was {len(found)}")
    return list(rows(found[0].raw("coin"), "wallet-balance.coin"))


def _foreign(coins: Iterable[Row]) -> Iterator[str]:
    """What besides the settle coin backs the account or is owed by it, a sentence each."""
    for row in coins:
        coin = row.text("coin")
        if row.number("borrowAmount") != ZERO:
            yield f"expected no debts, was one of {coin}"
        backs = row.flag("marginCollateral") and row.flag("collateralSwitch")
        if coin != COIN and backs and row.number("equity") != ZERO:
            yield f"expected {COIN} alone to back the account, was {coin} too"
        if coin != COIN and row.number("totalPositionIM") != ZERO:
            yield f"expected positions in {COIN} alone, was one in {coin}"


def _stops(orders: Json, listed: Listed, positions: tuple[Position, ...]) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark price to go against a position, and only those.

    One that cannot be read is left out. Were it ours it would be missing, and placed again.
    """
    found = page(result_of(orders, "realtime").raw("list"), "realtime", _ORDERS_MAX)
    return readable(found, "realtime", lambda row: _stop(row, listed, positions))


def _stop(row: Row, listed: Listed, positions: tuple[Position, ...]) -> list[StopOrder]:
    """The stop; none if it waits for another price or event. A position's own has its size."""
    if row.raw("triggerBy") != "MarkPrice" or row.raw("orderType") != "Market":
        return []
    if row.raw("orderStatus") != "Untriggered":
        return []
    name, sells = row.text("symbol"), row.raw("side") == "Sell"
    side = Side.LONG if sells else Side.SHORT
    if row.integer("triggerDirection") != direction_of(side):
        return []  # it takes profit, or opens
    symbol = listed.symbol_of(name)
    closes_all = row.raw("stopOrderType") == "StopLoss"
    sizes = [each.quantity for each in positions if (each.symbol, each.side) == (symbol, side)]
    if closes_all and not sizes:
        return []
    return [
        StopOrder(
            symbol=symbol,
            side=side,
            client_id=_client_id_of(row),
            quantity=sizes[0] if closes_all else Quantity(row.above_zero("qty")),
            trigger_price=Price(row.above_zero("triggerPrice")),
            reduce_only=closes_all or row.flag("reduceOnly"),
        )
    ]


def direction_of(side: Side) -> int:
    """The way a price goes against a position."""
    return _FALLS_TO if side is Side.LONG else _RISES_TO


def _client_id_of(row: Row) -> str:
    """Ours, or for one placed without an id the venue's."""
    return str(row.raw("orderLinkId")) or row.text("orderId")


margin_history = NoMarginHistory()
"""None: the account's log has no kind for margin that moves within it."""


# -- the account's stream ------------------------------------------------------------------


_TOLD = ("position", "execution", "order", "wallet")


def account_calls() -> Sequence[Call]:
    """Nothing: a stream is signed in to with the key itself."""
    return ()


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """Where the account's events are pushed, after a sign-in."""
    expires = str(at_ms + _AUTH_LIFE_MS)
    secret = credentials.secret.get_secret_value().encode()
    signature = hmac.new(secret, f"GET/realtime{expires}".encode(), sha256).hexdigest()
    key = credentials.key.get_secret_value()
    return Opening(
        f"{STREAMS}/private",
        (text_json.dumps({"op": "subscribe", "args": list(_TOLD)}),),
        sign_in=text_json.dumps({"op": "auth", "args": [key, int(expires), signature]}),
        ping=PING,
    )


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: it lasts as long as its socket."""
    return ()


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """What a frame is an alarm for. An execution tells whether the venue itself was at work."""
    frame = Row(json, "frame")
    if frame.has("success") and not frame.flag("success"):
        return StreamEnded(f"{frame.raw('op')}: refused")
    if frame.has("retCode") and frame.integer("retCode") != 0:
        return StreamEnded(f"{frame.raw('op')}: refused: {frame.raw('retCode')}")
    topic = frame.raw("topic") if frame.has("topic") else ""
    if topic not in _TOLD:
        return Irrelevant()
    if topic == "execution":
        for row in rows(frame.raw("data"), "execution"):
            match row.raw("execType"):
                case "BustTrade":
                    symbol, side, price = _taken(row, listed)
                    return Liquidated(symbol, side, price, received_at_ms)
                case "AdlTrade":
                    symbol, side, price = _taken(row, listed)
                    quantity = Quantity(row.above_zero("execQty"))
                    return AutoDeleveraged(symbol, side, quantity, price, received_at_ms)
                case _:
                    pass
    return AccountChanged()


def _taken(row: Row, listed: Listed) -> tuple[str, Side, Price]:
    """Of which position the venue took, and at what price: who sells had a long."""
    name = row.text("symbol")
    side = Side.LONG if row.text("side") == "Sell" else Side.SHORT
    return listed.symbol_of(name), side, Price(row.above_zero("execPrice"))


# -- before the start ----------------------------------------------------------------------


def check_calls() -> Sequence[Call]:
    """What has to be known before anything is guarded."""
    return (
        Call(PRIVATE, "GET", "v5/user/query-api", {}),
        Call(PRIVATE, "GET", "v5/account/info", {}),
        *state_calls(),
    )


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Why this key or account cannot be guarded, a sentence each."""
    key, info, positions, _ = jsons
    found = [*_key_problems(result_of(key, "query-api"))]
    mode = result_of(info, "account/info").text("marginMode")
    found += [
        f"{row.text('symbol')}: expected the venue's auto-margin to be off, was on"
        for row in _held(positions)
        if row.integer("autoAddMargin") != 0 and _MODES.get(mode) is MarginMode.ISOLATED
    ]
    return tuple(found)


def unsupported(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What makes it an account whose liquidation is not known, a sentence each."""
    _, info, _, wallet = jsons
    account = result_of(info, "account/info")
    found = []
    if (status := account.integer("unifiedMarginStatus")) not in _UNIFIED:
        kind = "a classic one" if status == 1 else f"of the kind {status}"
        found.append(f"account: expected a unified account 2.0, was {kind}")
    mode = account.text("marginMode")
    if mode not in _MODES:
        found.append(f"account: {mode} is not supported: its requirement is not known")
    elif _MODES[mode] is MarginMode.CROSS:
        found += [f"account: {problem}" for problem in _foreign(_coins(wallet))]
    return tuple(found)


_PAYS_OUT = ("FiatP2P", "FiatBitPay", "FiatConvertBroker", "FiatGlobalPay", "BitCard")


def _key_problems(row: Row) -> Iterator[str]:
    if row.integer("readOnly") != 0:
        yield "API key: expected one that may trade, was one that only reads (readOnly)"
    allowed = Row(row.raw("permissions"), "query-api.permissions")
    for wanted in ("Order", "Position"):
        if wanted not in _words(allowed, "ContractTrade"):
            yield f"API key: expected one with ContractTrade {wanted}, was without"
    for group in ("Wallet", *_PAYS_OUT):
        for word in _words(allowed, group):
            yield f"API key: expected one that moves no money out, was allowed to ({word})"


def _words(row: Row, group: str) -> Sequence[str]:
    """The permissions of a group; one that is not told is not given."""
    told = row.raw(group) if row.has(group) else []
    if not isinstance(told, list) or not all(isinstance(word, str) for word in told):
        raise row.wrong(group, "a list of permissions")
    return told


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: the venue tells what a key may do."""
    return ()
