"""
The account on XT for USDT perpetuals: what it holds, what waits in it, its stream.

Shapes: `documented`. An account always has a long and a short side of a contract. The venue counts
in contracts. Conditional orders are "plans". Margin that moves into a position is in no history.
No account of the venue has been met yet. In the order of `AccountDialect`.
"""

from collections.abc import Mapping, Sequence

import structlog

from bot.core.model import (
    AccountSnapshot,
    LiquidationReport,
    MarginMode,
    NotReported,
    Position,
    PositionMode,
    Reported,
    Side,
    StopOrder,
)
from bot.core.units import ZERO, Money, Price, Quantity
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Irrelevant, Listed, Opening, StreamEnded, Told
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
from bot.exchange.ports import AccountChanged, NoMarginHistory
from bot.exchange.venues.xt_market import PING, PONG, PRIVATE, STREAMS, asking_for, result_of

log = structlog.get_logger()
TRADE, USER = "future/trade/v1", "future/user/v1"

_COIN = "usdt"
PAGE = 100
_TOLD = ("order", "position", "balance", "trade", "notify")
_SIDES = {"LONG": Side.LONG, "SHORT": Side.SHORT}
_MARGIN_MODES = {"CROSSED": MarginMode.CROSS, "ISOLATED": MarginMode.ISOLATED}


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """Nothing: a position tells its own mode and leverage."""
    return ()


def state_calls() -> Sequence[Call]:
    """
    Positions, their liquidation prices, and money.

    Margin that moves between the answers harms none: the wallet's balance has all margins in it.
    """
    return (
        Call(PRIVATE, "GET", f"{USER}/position/list", {}),
        Call(PRIVATE, "GET", f"{USER}/position/break-list", {}),
        Call(PRIVATE, "GET", f"{USER}/balance/list", {}),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(result_of(state[0], "positions"), "positions", "symbol", "positionSize")


def stops_call(name: str) -> Call:
    """What waits in one contract."""
    return Call(PRIVATE, "GET", f"{TRADE}/entrust/plan-list", _waiting() | {"symbol": name})


def all_stops_call() -> Call:
    """What waits in any contract."""
    return Call(PRIVATE, "GET", f"{TRADE}/entrust/plan-list", _waiting())


def _waiting() -> dict[str, str]:
    return {"state": "NOT_TRIGGERED", "page": "1", "size": str(PAGE)}


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return told_in(map(_listed_items, stops), "plan-list", lambda row: row.text("symbol"))


def _listed_items(json: Json) -> Json:
    return Row(result_of(json, "plan-list"), "plan-list").raw("items")


def items_of(json: Json, where: str) -> list[Row]:
    return list(rows(Row(result_of(json, where), where).raw("items"), where))


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """The account."""
    prices = _break_prices(state[1])
    positions, garbled = sort_out(
        result_of(state[0], "positions"),
        "positions",
        lambda row: _position(row, listed, prices),
        lambda row: listed.symbol_of(row.text("symbol")),
    )
    balances = rows(result_of(state[2], "balances"), "balances")
    coins = [row for row in balances if row.has("coin") and row.raw("coin") == _COIN]
    if len(coins) != 1:
        raise Unreadable(f"balances: expected one row of {_COIN}, was {len(coins)}")
    bound = sum((each.isolated_margin for each in positions), ZERO)
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=PositionMode.HEDGE,
        wallet_balance=Money(coins[0].number("walletBalance") - bound),
        free=Money(max(coins[0].number("availableBalance"), ZERO)),
        positions=positions,
        stops=tuple(stop for each in stops for stop in _stops(each, listed)),
        garbled=garbled,
    )


def _break_prices(json: Json) -> dict[tuple[str, Side], LiquidationReport]:
    """Liquidation prices by contract and side. A row that cannot be read reports none."""
    found: dict[tuple[str, Side], LiquidationReport] = {}
    for row in rows(result_of(json, "break-list"), "break-list"):
        try:
            price = Price(row.above_zero("breakPrice"))
            found[row.text("symbol"), _side_of(row)] = Reported(price)
        except Unreadable as e:
            log.info("liquidation_price.not_reported", reason=str(e))
    return found


def _position(
    row: Row, listed: Listed, prices: Mapping[tuple[str, Side], LiquidationReport]
) -> Position | NotOpen:
    if row.number("positionSize") == ZERO:
        return NOT_OPEN
    name, side = row.text("symbol"), _side_of(row)
    if name not in listed.sizes:
        raise row.wrong("symbol", "a contract that is listed")
    margin_mode = row.meaning("positionType", _MARGIN_MODES)
    is_cross = margin_mode is MarginMode.CROSS
    return Position(
        symbol=listed.symbols[name],
        side=side,
        quantity=Quantity(row.above_zero("positionSize") * listed.sizes[name]),
        entry_price=Price(row.above_zero("entryPrice")),
        margin_mode=margin_mode,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("isolatedMargin")),
        leverage=row.above_zero("leverage"),
        liquidation=prices.get((name, side), NotReported()),
    )


def _side_of(row: Row) -> Side:
    return row.meaning("positionSide", _SIDES)


def _stops(json: Json, listed: Listed) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark price to close a position, and only those.

    One that cannot be read is left out. Were it ours it would be missing, and placed again.
    """
    items = page(_listed_items(json), "plan-list", PAGE)
    return readable(items, "plan-list", lambda row: _stop(row, listed))


def _stop(row: Row, listed: Listed) -> list[StopOrder]:
    kind = (row.raw("entrustType"), row.raw("triggerPriceType"))
    name, side = row.text("symbol"), _side_of(row)
    if kind != ("STOP_MARKET", "MARK_PRICE") or row.raw("orderSide") != closing(side):
        return []
    if name not in listed.sizes:
        raise row.wrong("symbol", "a contract that is listed")
    return [
        StopOrder(
            symbol=listed.symbols[name],
            side=side,
            client_id=row.given("clientOrderId") or row.identity("entrustId"),
            quantity=Quantity(row.above_zero("origQty") * listed.sizes[name]),
            trigger_price=Price(row.above_zero("stopPrice")),
            reduce_only=True,
        )
    ]


def closing(side: Side) -> str:
    return "SELL" if side is Side.LONG else "BUY"


margin_history = NoMarginHistory()
"""None: the account's bills have only what comes into the account and leaves it."""


# -- the account's stream ------------------------------------------------------------------


def account_calls() -> Sequence[Call]:
    """A key to listen with."""
    return (Call(PRIVATE, "GET", f"{USER}/user/listen-key", {}),)


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """Where the account's events are pushed, each kind asked for with the key."""
    key = result_of(answers[0], "listen-key")
    if not isinstance(key, str) or not key:
        raise Unreadable("listen-key: expected a text")
    asked = [f"{each}@{key}" for each in _TOLD]
    return Opening(f"{STREAMS}/user", (asking_for(asked, at_ms),), ping=PING, pong=PONG)


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: when the key is over the venue says so, and the stream begins anew."""
    return ()


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """What a frame is an alarm for. That a position was liquidated is in no frame known."""
    frame = Row(json, "frame")
    if frame.has("code"):
        code = frame.integer("code")
        return Irrelevant() if code == 0 else StreamEnded(f"{code} {frame.raw('msg')}")
    if frame.has("topic") and frame.raw("topic") in _TOLD:
        return AccountChanged()
    return Irrelevant()


# -- before the start ----------------------------------------------------------------------


def check_calls() -> Sequence[Call]:
    """What has to be known before anything is guarded."""
    return (
        Call(PRIVATE, "GET", f"{USER}/account/info", {}),
        Call(PRIVATE, "GET", f"{USER}/position/list", {}),
    )


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Why this key or account cannot be guarded, a sentence each."""
    account = Row(result_of(jsons[0], "account"), "account")
    found = []
    if not account.flag("allowTrade"):
        found.append("account: expected one that can trade, was not (allowTrade)")
    found += [
        f"{row.text('symbol')}: expected the venue's auto-margin to be off, was on"
        for row in rows(result_of(jsons[1], "positions"), "positions")
        if row.number("positionSize") != ZERO and row.flag("autoMargin")
    ]
    return tuple(found)


def unsupported(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: there is one kind of account."""
    return ()


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What the venue does not tell about the key."""
    return ("API key: the venue does not tell whether it can withdraw",)
