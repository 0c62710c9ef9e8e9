"""
The account on Gate for USDT perpetuals: what it holds, what waits in it, its stream.

Shapes: `documented` (API v4). The venue counts in contracts; whole ones, but for those it marks as
decimal. Conditional orders are `price_orders`. Margin that moves into a position is in no history.
No account of the venue has been met yet. In the order of `AccountDialect`.
"""

import hashlib
import hmac
import json as text_json
from collections.abc import Sequence
from decimal import Decimal

from bot.core.events import Liquidated
from bot.core.model import (
    AccountSnapshot,
    MarginMode,
    Position,
    PositionKey,
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
    liquidation_in,
    names_of,
    page,
    readable,
    require_worth,
    rows,
    sort_out,
    told_in,
)
from bot.exchange.ports import AccountChanged, NoMarginHistory
from bot.exchange.venues.gate_market import COIN, OF_USDT, PRIVATE, SECOND_MS, STREAMS

MARK = 1
"""`price_type` of a trigger: 0 is the last price, 2 the index price."""

FALLS_TO, RISES_TO = 2, 1
"""`rule` of a trigger."""

PAGE = 100
"""Rows that a list has at most, unless more are asked for: `documented`."""

_NEVER_LIQUIDATED = Decimal(99_999_999)
_SIZE_OFF_MAX = Decimal("0.01")
OURS = "t-"
_LIQUIDATES = "futures.liquidates"
_MARGIN_MODES = {"cross": MarginMode.CROSS, "isolated": MarginMode.ISOLATED}


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
    return names_of(page(state[0], "positions", PAGE), "positions", "contract", "size")


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
        page(state[0], "positions", PAGE),
        "positions",
        lambda row: _position(row, listed),
        lambda row: listed.symbol_of(row.text("contract")),
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
    worth = quantity * row.above_zero("mark_price")
    require_worth(row, "value", row.number("value"), worth, _SIZE_OFF_MAX)
    margin_mode = _margin_mode_of(row)
    is_cross = margin_mode is MarginMode.CROSS
    return Position(
        symbol=listed.symbols[name],
        side=side,
        quantity=Quantity(quantity),
        entry_price=Price(row.above_zero("entry_price")),
        margin_mode=margin_mode,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("margin")),
        leverage=_cross_leverage(row) if is_cross else row.above_zero("leverage"),
        liquidation=liquidation_in(row, "liq_price", never=_NEVER_LIQUIDATED),
    )


def _margin_mode_of(row: Row) -> MarginMode:
    """
    Leverage 0 says cross, in `leverage` or, in older answers, in `lever`.

    Newer ones may put the real leverage of a cross position into `lever`, beside the mode.
    """
    if row.has("pos_margin_mode"):
        return row.meaning("pos_margin_mode", _MARGIN_MODES)
    if row.has("leverage"):
        return MarginMode.CROSS if row.number("leverage") == ZERO else MarginMode.ISOLATED
    if row.number("lever") != ZERO:
        raise row.wrong("lever", "0, or leverage beside it")
    return MarginMode.CROSS


def _cross_leverage(row: Row) -> Decimal:
    """Its limit, where one is set; the most that the tier allows where none is."""
    limit = row.number("cross_leverage_limit")
    return limit if limit > ZERO else row.above_zero("leverage_max")


def _stops(orders: Json, listed: Listed, positions: tuple[Position, ...]) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark price to go against a position, and only those.

    One that cannot be read is left out. Were it ours it would be missing, and placed again.
    """
    whole = page(orders, "price_orders", PAGE)
    return readable(whole, "price_orders", lambda row: _stop(row, listed, positions))


def _stop(row: Row, listed: Listed, positions: tuple[Position, ...]) -> list[StopOrder]:
    order = Row(row.raw("initial"), f"{row.where}.initial")
    trigger = Row(row.raw("trigger"), f"{row.where}.trigger")
    name, contracts = order.text("contract"), _contracts(order)
    if name not in listed.sizes:
        raise order.wrong("contract", "a contract that is listed")
    if trigger.integer("price_type") != MARK or order.number("price") != ZERO:
        return []
    side = Side.LONG if trigger.integer("rule") == FALLS_TO else Side.SHORT
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
            client_id=_client_id_of(order, row),
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


def _client_id_of(order: Row, row: Row) -> str:
    """Ours, or for one placed without an id the venue's number."""
    if (given := order.given("text")).startswith(OURS):
        return given.removeprefix(OURS)
    return row.identity("id")


margin_history = NoMarginHistory()
"""None: the account's book has only what comes into the account and leaves it."""


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
                listed.symbol_of(name),
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
