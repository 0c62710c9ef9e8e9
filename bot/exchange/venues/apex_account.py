"""
The account on ApeX Omni for USDT perpetuals: what it holds, what waits in it, its stream.

`documented` (API v3), asked through ccxt 4.5.90. No answer tells a liquidation price, and nothing
can be written (`apex_orders`): an account can be looked at and its decisions observed, and no
more. No account of the venue has been met yet. In the order of `AccountDialect`.
"""

import base64
import hashlib
import hmac
import json as text_json
from collections.abc import Sequence
from decimal import Decimal

from bot.core.model import (
    AccountSnapshot,
    MarginMode,
    NotReported,
    Position,
    PositionMode,
    Side,
    StopOrder,
)
from bot.core.units import ZERO, Money, Price, Quantity
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Irrelevant, Listed, Opening, StreamEnded, Told
from bot.exchange.live.reading import Row, readable, rows, told_in
from bot.exchange.ports import AccountChanged, NoMarginHistory
from bot.exchange.venues.apex_market import (
    COIN,
    PRIVATE,
    STREAMS,
    contract_of,
    data_of,
    listing_call,
    text_of,
)

_ACCOUNT = "ws_zk_accounts_v3"
_LOGIN_PATH = "/ws/accounts"
_SIDES = {"LONG": Side.LONG, "SHORT": Side.SHORT}


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """The contracts: what one has as its leverage where the account has set none."""
    return (listing_call(),)


def state_calls() -> Sequence[Call]:
    """Wallets and positions, and what they are worth."""
    return (
        Call(PRIVATE, "GET", "v3/account", {}),
        Call(PRIVATE, "GET", "v3/account-balance", {}),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return frozenset(row.text("symbol") for row in _open(state[0]))


def stops_call(name: str) -> Call:
    """What waits: the venue lists all of it."""
    return all_stops_call()


def all_stops_call() -> Call:
    """What waits in any contract."""
    return Call(PRIVATE, "GET", "v3/open-orders", {})


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return told_in(map(_listed_orders, stops), "orders", lambda row: row.text("symbol"))


def _listed_orders(json: Json) -> Json:
    data = data_of(json, "orders")
    return data if isinstance(data, list) else Row(data, "orders").raw("orders")


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """
    The account. What its wallet holds is what it is worth less what the positions have won.

    A wallet's own `balance` is not used: whether what a position cost is taken off it is not told.
    """
    positions = tuple(
        sorted((_position(row, listed, terms[0]) for row in _open(state[0])), key=lambda p: p.key)
    )
    if len({each.symbol for each in positions}) != len(positions):
        raise Unreadable("positions: expected one of a contract, was a long and a short")
    worth = Row(data_of(state[1], "account-balance"), "account-balance")
    won = sum((_won(position, listed, worth) for position in positions), ZERO)
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=PositionMode.ONE_WAY,
        wallet_balance=Money(worth.number("totalEquityValue") - won),
        free=Money(max(worth.number("availableBalance"), ZERO)),
        positions=positions,
        stops=tuple(stop for each in stops for stop in _stops(each, listed)),
    )


def _won(position: Position, listed: Listed, worth: Row) -> Decimal:
    """Unrealised profit at the price by which the account was valued."""
    prices = Row(worth.raw("symbolToOraclePrice"), f"{worth.where}.symbolToOraclePrice")
    name = listed.id_of(position.symbol)
    price = Row(prices.raw(name), f"{prices.where}.{name}").above_zero("oraclePrice")
    return position.side.sign * position.quantity * (price - position.entry_price)


def _open(json: Json) -> list[Row]:
    account = Row(data_of(json, "account"), "account")
    found = rows(account.raw("positions"), "positions")
    return [row for row in found if row.number("size") != ZERO]


def _position(row: Row, listed: Listed, symbols: Json) -> Position:
    name = row.text("symbol")
    if name not in listed.symbols:
        raise row.wrong("symbol", "a contract that is listed")
    return Position(
        symbol=listed.symbols[name],
        side=row.meaning("side", _SIDES),
        quantity=Quantity(row.above_zero("size")),
        entry_price=Price(row.above_zero("entryPrice")),
        margin_mode=MarginMode.CROSS,
        isolated_margin=Money(ZERO),
        leverage=_leverage(row, symbols, name),
        liquidation=NotReported(),
    )


def _leverage(row: Row, symbols: Json, name: str) -> Decimal:
    """1 over the initial margin rate that the account has set, or else the contract's own."""
    rate = row.number("customInitialMarginRate")
    if rate <= ZERO:
        rate = contract_of(symbols, name).above_zero("defaultInitialMarginRate")
    return 1 / rate


def _stops(json: Json, listed: Listed) -> tuple[StopOrder, ...]:
    """Reduce-only market orders that wait for the index price, and only those."""
    return readable(_listed_orders(json), "orders", lambda row: _stop(row, listed))


def _stop(row: Row, listed: Listed) -> list[StopOrder]:
    kind = (row.raw("type"), row.raw("triggerPriceType"), row.raw("status"))
    if kind != ("STOP_MARKET", "INDEX", "UNTRIGGERED") or not row.flag("reduceOnly"):
        return []
    name = row.text("symbol")
    if name not in listed.symbols or row.raw("side") not in ("BUY", "SELL"):
        raise row.wrong("symbol", "a contract that is listed, bought or sold")
    return [
        StopOrder(
            symbol=listed.symbols[name],
            side=Side.LONG if row.raw("side") == "SELL" else Side.SHORT,
            client_id=client_id_of(row),
            quantity=Quantity(row.above_zero("size")),
            trigger_price=Price(row.above_zero("triggerPrice")),
            reduce_only=True,
        )
    ]


def client_id_of(row: Row) -> str:
    """The placer's, in either of its two names, or the venue's number."""
    return row.given("clientOrderId") or row.given("clientId") or row.identity("id")


margin_history = NoMarginHistory()
"""None: no position has a margin of its own."""


# -- the account's stream ------------------------------------------------------------------


def account_calls() -> Sequence[Call]:
    """Nothing: the stream is signed for itself."""
    return ()


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """Where the account's events are pushed, after a signed login that asks for them."""
    secret = base64.b64encode(credentials.secret.get_secret_value().encode())
    plain = f"{at_ms}GET{_LOGIN_PATH}".encode()
    sign = base64.b64encode(hmac.new(secret, plain, hashlib.sha256).digest()).decode()
    login = {
        "type": "login",
        "topics": [_ACCOUNT],
        "httpMethod": "GET",
        "requestPath": _LOGIN_PATH,
        "apiKey": credentials.key.get_secret_value(),
        "passphrase": credentials.passphrase.get_secret_value(),
        "timestamp": str(at_ms),
        "signature": sign,
    }
    url = f"{STREAMS}/realtime_private?v=2&timestamp={at_ms}"
    asks = (text_of("login", [text_json.dumps(login)]), text_of("subscribe", [_ACCOUNT]))
    return Opening(url, asks, ping=text_of("ping", [str(at_ms)]))


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: its pings keep it."""
    return ()


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """What a frame is an alarm for; liquidations are in the order's flags, read anew."""
    frame = Row(json, "frame")
    if frame.has("topic") and frame.raw("topic") == _ACCOUNT:
        return AccountChanged()
    if frame.has("contents"):
        return AccountChanged()
    if frame.has("success") and frame.raw("success") is not True:
        return StreamEnded(str(json)[:120])
    return Irrelevant()


# -- before the start ----------------------------------------------------------------------


def check_calls() -> Sequence[Call]:
    """What has to be known before anything is guarded."""
    return state_calls()


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Why this key or account cannot be guarded, a sentence each."""
    account = Row(data_of(jsons[0], "account"), "account")
    own = Row(account.raw("contractAccount"), "account.contractAccount")
    if own.raw("status") != "NORMAL":
        return (f"account: expected NORMAL, was {own.raw('status')}",)
    return ()


def unsupported(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What makes it an account whose liquidation is not known, a sentence each."""
    account = Row(data_of(jsons[0], "account"), "account")
    found = []
    for row in rows(account.raw("contractWallets"), "contractWallets"):
        coin = row.raw("asset") if row.has("asset") else row.raw("token")
        if coin != COIN and row.number("balance") != ZERO:
            found.append(f"account: expected no collateral but USDT, was {coin}")
    trial = list(rows(account.raw("experienceMoney"), "experienceMoney"))
    if any(row.number("availableAmount") != ZERO for row in trial):
        found.append("account: expected no trial money, as what it backs is not told")
    return tuple(found)


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What the venue does not tell about the key."""
    return ("API key: the venue does not tell whether it can withdraw; that needs its zk key too",)
