"""
An account on Kraken's futures: what it holds, what waits in it, its stream.

Shapes: `documented` (v3). It is the multi-collateral wallet with dollars alone; its positions are
cross. The venue tells neither the margin of an isolated position nor any liquidation price over
REST. Stops and orders are in one list and carry our ids. No account of the venue has been met yet.
In the order of `AccountDialect`.
"""

import hmac
import json as text_json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from decimal import Decimal
from hashlib import sha256

from bot.core.events import AutoDeleveraged, Liquidated
from bot.core.ids import born_at_ms
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
from bot.exchange.live.calls import Call, Json
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Irrelevant, Listed, Opening, StreamEnded, Told
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
from bot.exchange.ports import AccountChanged, NoMarginHistory
from bot.exchange.venues.krakenfutures_market import (
    ACCOUNTS,
    COIN,
    POSITIONS,
    STREAMS,
    named,
    told,
)

ORDERS = Call("private", "GET", "openorders", {}, weight=2)
_STOPS = frozenset({"stp", "stop"})
_SIDES = {"long": Side.LONG, "short": Side.SHORT}
_CLOSES = {"sell": Side.LONG, "buy": Side.SHORT}
"""By its side the side of the position that an order closes."""


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
    return ORDERS


def all_stops_call() -> Call:
    """What waits in any contract."""
    return ORDERS


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return told_in(map(waiting_in, stops), "openOrders", named)


def waiting_in(json: Json) -> Json:
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
        lambda row: listed.symbol_of(named(row)),
    )
    for coin, row in _coins(wallet):
        if coin != COIN and row.number("quantity") < ZERO:
            raise row.wrong("quantity", "no debt in another coin")
    dollars = sum((row.number("quantity") for coin, row in _coins(wallet) if coin == COIN), ZERO)
    balance = dollars + wallet.number("unrealizedFunding")
    resting = {
        stop.client_id: stop
        for each in stops
        for stop in readable(waiting_in(each), "openOrders", lambda row: _stop(row, listed))
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
    if given(row, "maxFixedLeverage") is not None:
        raise row.wrong(
            "maxFixedLeverage", "none, as the margin of an isolated position is not told"
        )
    if given(row, "pnlCurrency") not in (None, COIN):
        raise row.wrong("pnlCurrency", f"{COIN}: profit in another coin is not counted in full")
    return Position(
        symbol=listed.symbols[name],
        side=row.meaning("side", _SIDES),
        quantity=Quantity(row.above_zero("size") * listed.sizes[name]),
        entry_price=Price(row.above_zero("price")),
        margin_mode=MarginMode.CROSS,
        isolated_margin=Money(ZERO),
        leverage=leverage,
        liquidation=NotReported(),
    )


def given(row: Row, name: str) -> Json:
    """What is there, or None: the venue leaves out what there is none of, or says null."""
    return row.raw(name) if row.has(name) else None


def _stop(row: Row, listed: Listed) -> list[StopOrder]:
    """A market order that waits for the mark price to go against a position, and only that."""
    if row.text("orderType") not in _STOPS or given(row, "triggerSignal") != "mark":
        return []
    if given(row, "limitPrice") not in (None, 0) and not born_at_ms(client_id_of(row)):
        return []  # a guard's are sent without: a limit there is the venue's own bound
    name = named(row)
    if name not in listed.sizes:
        raise row.wrong("symbol", "a contract that is listed")
    number = row.text("order_id")
    return [
        StopOrder(
            symbol=listed.symbols[name],
            side=row.meaning("side", _CLOSES),
            client_id=client_id_of(row) or number,
            quantity=Quantity(row.above_zero("unfilledSize") * listed.sizes[name]),
            trigger_price=Price(row.above_zero("stopPrice")),
            reduce_only=row.flag("reduceOnly"),
        )
    ]


def client_id_of(row: Row) -> str:
    """Ours, under one of the names that the venue has for it; "" for an order without."""
    for name in ("cliOrdId", "cli_ord_id", "clientId"):
        if row.has(name) and row.raw(name) not in (None, ""):
            return row.text(name)
    return ""


margin_history = NoMarginHistory()
"""None: no position has a margin of its own."""


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
        return StreamEnded(f"{event}: {given(frame, 'message')}") if event in _FAILED else _NOTHING
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
    symbol = listed.symbol_of(name)
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
    if given(wallet, "portfolioMarginBreakdown") is not None:
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
        if given(row, "maxFixedLeverage") is not None:
            yield f"{named(row)}: an isolated position is not supported: its margin is not told"
        if given(row, "pnlCurrency") not in (None, COIN):
            yield f"{named(row)}: expected profit in {COIN}, was {row.raw('pnlCurrency')}"


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: the venue tells what a key may do."""
    return ()
