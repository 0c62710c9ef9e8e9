"""
A classic account on Bitget for USDT perpetuals: what it holds, what waits in it, its stream.

Shapes: `documented` (API v2). The venue counts in base. Stops are "loss plans" of a position, with
a quantity and an id of ours. No account of the venue has been met yet. In the order of
`AccountDialect`.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from decimal import Decimal

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
from bot.exchange.venues.bitget_market import (
    COIN,
    OF_USDT,
    PING,
    PONG,
    PRIVATE,
    STREAMS,
    channel,
    data_of,
    number_or_none,
    text_of,
)

ACCOUNT, ORDER = "v2/mix/account", "v2/mix/order"
WITH_COIN = OF_USDT | {"marginCoin": COIN}
_PAGE = 100
_SECOND_MS = 1_000
_TOLD = ("orders", "orders-algo", "positions")

_SIDES = {"long": Side.LONG, "short": Side.SHORT}
_MARGIN_MODES = {"crossed": MarginMode.CROSS, "isolated": MarginMode.ISOLATED}
_POSITION_MODES = {"one_way_mode": PositionMode.ONE_WAY, "hedge_mode": PositionMode.HEDGE}
_LOSS = frozenset({"loss_plan", "pos_loss"})
_LEGS = {"long": (Side.LONG,), "short": (Side.SHORT,), "net": tuple(Side)}
_CLOSES = {"sell": Side.LONG, "buy": Side.SHORT}
"""`assumed`: of a plan of one-way mode whose position is gone only its own side tells."""


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """The account's position mode, which it has for all contracts."""
    return (Call(PRIVATE, "GET", f"{ACCOUNT}/account", WITH_COIN | {"symbol": "BTCUSDT"}),)


def state_calls() -> Sequence[Call]:
    """Money and positions."""
    return (
        Call(PRIVATE, "GET", f"{ACCOUNT}/accounts", OF_USDT),
        Call(PRIVATE, "GET", "v2/mix/position/all-position", WITH_COIN),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(held_in(state[1]), "positions", "symbol", "total")


def stops_call(name: str) -> Call:
    """What waits in one contract."""
    return plans_call("pending", {"symbol": name})


def all_stops_call() -> Call:
    """What waits in any contract."""
    return plans_call("pending", {})


def plans_call(which: str, of: dict[str, str]) -> Call:
    asked = OF_USDT | {"planType": "profit_loss", "limit": str(_PAGE)} | of
    return Call(PRIVATE, "GET", f"{ORDER}/orders-plan-{which}", asked)


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits; the venue's answers may be in small letters."""
    return told_in(map(waiting_in, stops), "plans", lambda row: row.text("symbol").upper())


def waiting_in(json: Json) -> list[Json]:
    return page(entrusted_in(json), "plans", _PAGE)


def entrusted_in(json: Json) -> Json:
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
    mode = Row(data_of(terms[0], "account"), "account").meaning("posMode", _POSITION_MODES)
    held = held_in(state[1])
    positions, garbled = sort_out(
        held,
        "positions",
        lambda row: _position(row, listed, mode),
        lambda row: listed.symbol_of(row.text("symbol")),
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


def held_in(json: Json) -> list[Json]:
    """The list of positions; null where there are none."""
    data = data_of(json, "positions")
    if data is not None and not isinstance(data, list):
        raise Unreadable(f"positions: expected a list, was {data!r}")
    return data or []


def _position(row: Row, listed: Listed, mode: PositionMode) -> Position | NotOpen:
    if row.number("total") == ZERO:
        return NOT_OPEN
    if row.meaning("posMode", _POSITION_MODES) is not mode:
        raise row.wrong("posMode", f"{mode}, as the account's")
    name = row.text("symbol")
    if name not in listed.symbols:
        raise row.wrong("symbol", "a contract that is listed")
    margin_mode = row.meaning("marginMode", _MARGIN_MODES)
    is_cross = margin_mode is MarginMode.CROSS
    return Position(
        symbol=listed.symbols[name],
        side=side_of(row),
        quantity=Quantity(row.above_zero("total")),
        entry_price=Price(row.above_zero("openPriceAvg")),
        margin_mode=margin_mode,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("marginSize")),
        leverage=row.above_zero("leverage"),
        liquidation=liquidation_in(row, "liquidationPrice"),
    )


def side_of(row: Row) -> Side:
    return row.meaning("holdSide", _SIDES)


def _stops(json: Json, listed: Listed, positions: Sequence[Position]) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark price to close a position, and only those.

    What cannot be read is another's. One of ours would be seen as missing, and placed.
    """
    return readable(waiting_in(json), "plans", lambda row: _stop(row, listed, positions))


def _stop(row: Row, listed: Listed, positions: Sequence[Position]) -> list[StopOrder]:
    """
    A plan is of one position: of the side that it names, or in one-way mode the only one.

    It may rest where none is held: then only one with a size of its own stops anything.
    """
    if row.text("planType") not in _LOSS or row.raw("triggerType") != "mark_price":
        return []
    if number_or_none(row, "executePrice") is not None:
        return []  # a limit order
    if (symbol := listed.symbols.get(row.text("symbol").upper())) is None:
        return []
    legs = row.meaning("posSide", _LEGS)
    held = [each for each in positions if each.symbol == symbol and each.side in legs]
    size = number_or_none(row, "size") or next((each.quantity for each in held), None)
    match held, legs:
        case [position], _:
            side = position.side
        case [], [side]:
            pass
        case [], _:
            side = row.meaning("side", _CLOSES)
        case _:
            return []
    if size is None:
        return []
    return [
        StopOrder(
            symbol=symbol,
            side=side,
            client_id=row.given("clientOid") or row.identity("orderId"),
            quantity=Quantity(size),
            trigger_price=Price(row.above_zero("triggerPrice")),
            reduce_only=True,
        )
    ]


margin_history = NoMarginHistory()
"""None: of bills with an amount of margin the sign and the field are not told."""


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
    return tuple(readable(held_in(jsons[1]), "positions", _refused))


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
