"""
XT's protocol for USDT perpetuals: recipes of requests, strict parsers, proofs of refusal.

Recipes: `documented`, and compared with what ccxt 4.5.90 puts on the wire. An account always has
a long and a short side of a contract, and an order names the side that it works on: a sale of the
long side can only close. The venue counts in contracts. Conditional orders are "plans", cancelled
by the venue's number. Margin that moves into a position is in no history. No account of the venue
has been met yet. In the order of `Dialect`, whole, as one protocol is one file.
"""

import json as text_json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
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
from bot.core.events import BarsReported
from bot.core.model import (
    BARS_MAX,
    NO_FILL,
    AccountSnapshot,
    ContractKind,
    Fill,
    Filled,
    Instrument,
    LiquidationReport,
    MarginMode,
    NotReported,
    Position,
    PositionMode,
    Reported,
    RiskTier,
    Side,
    StopOrder,
)
from bot.core.units import ZERO, Money, Price, Quantity, Ratio
from bot.exchange.live.calls import Call, Heard, Json, Unreadable, parse_json
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import (
    Ground,
    Irrelevant,
    Listed,
    Marked,
    Opening,
    StreamEnded,
    Told,
)
from bot.exchange.live.reading import (
    NOT_OPEN,
    NotOpen,
    Row,
    closed_bars,
    names_of,
    page,
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
from bot.exchange.venues.tiers import Bracket, continuous
from bot.exchange.venues.xt import RULES
from bot.exchange.venues.xt_refusals import REFUSED

log = structlog.get_logger()

ccxt_id = "xt"
read_weight_per_minute = 600
used_weight_header = ""
request_life_ms = 60_000
"""`assumed`: futures requests carry a date and no window, and how old one may be is not told."""

_COIN = "usdt"
_PUBLIC, _PRIVATE = "public.linear", "private.linear"
_MARKET, _TRADE, _USER = "future/market/v1/public", "future/trade/v1", "future/user/v1"
_HTTP_OK = 200
_PAGE = 100
_HOUR_MS = 3_600_000
_HOURS_MAX = 24
_STREAMS = "wss://fstream.xt.com/ws"
_PING, _PONG = "ping", "pong"
_TOLD = ("order", "position", "balance", "trade", "notify")

_ORDER_OPEN = frozenset({"NEW", "PARTIALLY_FILLED"})
_ORDER_OVER = frozenset({"FILLED", "CANCELED", "PARTIALLY_CANCELED", "REJECTED", "EXPIRED"})
_PLAN_WAITS = frozenset({"NOT_TRIGGERED", "TRIGGERING"})
_PLAN_OVER = frozenset({"USER_REVOCATION", "PLATFORM_REVOCATION", "EXPIRED"})


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """The venue's clock, of its spot side: the futures side has none."""
    return Call("public.spot", "GET", "time", {})


def time_of(json: Json) -> int:
    """Its milliseconds."""
    return Row(Row(json, "time").raw("result"), "time.result").integer("serverTime")


def _result(json: Json, where: str) -> Json:
    """What an answer is about; raises `Unreadable` for one that says that it failed."""
    row = Row(json, where)
    if row.integer("returnCode") != 0 or _code(row):
        raise Unreadable(f"{where}: expected returnCode 0, was {_code(row)!r}")
    return row.raw("result")


def _code(row: Row) -> str:
    """The code of an error: "" where there is none, in any of the venue's ways to say so."""
    if row.has("mc"):
        return row.text("mc")
    error = row.raw("error")
    if error is None:
        return ""
    code = Row(error, f"{row.where}.error").raw("code")
    if not isinstance(code, str):
        raise row.wrong("error", "an object with a code")
    return code


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts."""
    return Call(_PUBLIC, "GET", f"{_MARKET}/symbol/list", {})


def listing_of(json: Json) -> Listed:
    """Linear perpetual contracts by the venue's id; one that cannot be read hides no other."""
    symbols, sizes = {}, {}
    for row in rows(_result(json, "symbols"), "symbols"):
        try:
            if (row.raw("contractType"), row.raw("underlyingType")) == ("PERPETUAL", "U_BASED"):
                name, size = row.text("symbol"), row.above_zero("contractSize")
                base, quote = row.text("baseCoin").upper(), row.text("quoteCoin").upper()
                symbols[name], sizes[name] = f"{base}/{quote}:{quote}", size
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))
    return Listed(symbols, sizes)


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules and tiers of one contract."""
    tiers = Call(_PUBLIC, "GET", f"{_MARKET}/leverage/bracket/detail", {"symbol": name})
    return (listing_call(), tiers)


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract, with the fee of an account without discounts."""
    named = [
        row
        for row in rows(_result(jsons[0], "symbols"), "symbols")
        if row.has("symbol") and row.raw("symbol") == name
    ]
    if len(named) != 1:
        raise Unreadable(f"symbols: expected one row of {name}, was {len(named)}")
    (row,) = named
    size = row.above_zero("contractSize")
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=row.text("quoteCoin").upper(),
        tick_size=Price(row.above_zero("minStepPrice")),
        quantity_step=Quantity(size.scaleb(-row.integer("quantityPrecision"))),
        quantity_min=Quantity(row.above_zero("minQty") * size),
        taker_fee=Ratio(row.number("takerFee")),
        tiers=_tiers(jsons[1], name),
        rules=RULES,
    )


def _tiers(json: Json, name: str) -> tuple[RiskTier, ...]:
    """
    Brackets of value. That they are progressive is `assumed`, as docs/margin.md says.

    Were they not, the venue would liquidate earlier: the price that it shows counts too.
    """
    where = f"leverageBrackets.{name}"
    found = rows(Row(_result(json, where), where).raw("leverageBrackets"), where)
    table = [
        Bracket(
            row.above_zero("maxNominalValue"),
            row.above_zero("maintMarginRate"),
            row.above_zero("maxLeverage"),
        )
        for row in sorted(found, key=lambda row: row.integer("bracket"))
    ]
    return continuous(table, where)


def interval_call(name: str) -> Call:
    """The contract's next bill."""
    return Call(_PUBLIC, "GET", f"{_MARKET}/q/funding-rate", {"symbol": name})


def interval_of(json: Json, name: str) -> int:
    """Its funding interval; the venue tells it in hours."""
    row = Row(_result(json, "funding-rate"), f"funding-rate.{name}")
    hours = row.integer("collectionInternal")
    if not 0 < hours <= _HOURS_MAX:
        raise row.wrong("collectionInternal", "hours of a day")
    return hours * _HOUR_MS


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
        Call(_PRIVATE, "GET", f"{_USER}/position/list", {}),
        Call(_PRIVATE, "GET", f"{_USER}/position/break-list", {}),
        Call(_PRIVATE, "GET", f"{_USER}/balance/list", {}),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(_result(state[0], "positions"), "positions", "symbol", "positionSize")


def stops_call(name: str) -> Call:
    """What waits in one contract."""
    return Call(_PRIVATE, "GET", f"{_TRADE}/entrust/plan-list", _waiting() | {"symbol": name})


def all_stops_call() -> Call:
    """What waits in any contract."""
    return Call(_PRIVATE, "GET", f"{_TRADE}/entrust/plan-list", _waiting())


def _waiting() -> dict[str, str]:
    return {"state": "NOT_TRIGGERED", "page": "1", "size": str(_PAGE)}


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return told_in(map(_listed_items, stops), "plan-list", lambda row: row.text("symbol"))


def _listed_items(json: Json) -> Json:
    return Row(_result(json, "plan-list"), "plan-list").raw("items")


def _items(json: Json, where: str) -> list[Row]:
    return list(rows(Row(_result(json, where), where).raw("items"), where))


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
        _result(state[0], "positions"),
        "positions",
        lambda row: _position(row, listed, prices),
        lambda row: listed.symbols.get(row.text("symbol"), row.text("symbol")),
    )
    balances = rows(_result(state[2], "balances"), "balances")
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
    for row in rows(_result(json, "break-list"), "break-list"):
        try:
            price = Price(row.above_zero("breakPrice"))
            found[row.text("symbol"), _side(row)] = Reported(price)
        except Unreadable as e:
            log.info("liquidation_price.not_reported", reason=str(e))
    return found


def _position(
    row: Row, listed: Listed, prices: Mapping[tuple[str, Side], LiquidationReport]
) -> Position | NotOpen:
    if row.number("positionSize") == ZERO:
        return NOT_OPEN
    name, side = row.text("symbol"), _side(row)
    if name not in listed.sizes:
        raise row.wrong("symbol", "a contract that is listed")
    is_cross = _is_cross(row)
    return Position(
        symbol=listed.symbols[name],
        side=side,
        quantity=Quantity(row.above_zero("positionSize") * listed.sizes[name]),
        entry_price=Price(row.above_zero("entryPrice")),
        margin_mode=MarginMode.CROSS if is_cross else MarginMode.ISOLATED,
        isolated_margin=Money(ZERO if is_cross else row.above_zero("isolatedMargin")),
        leverage=row.above_zero("leverage"),
        liquidation=prices.get((name, side), NotReported()),
    )


def _side(row: Row) -> Side:
    match row.raw("positionSide"):
        case "LONG":
            return Side.LONG
        case "SHORT":
            return Side.SHORT
        case _:
            pass
    raise row.wrong("positionSide", "LONG or SHORT")


def _is_cross(row: Row) -> bool:
    match row.raw("positionType"):
        case "CROSSED":
            return True
        case "ISOLATED":
            return False
        case _:
            pass
    raise row.wrong("positionType", "CROSSED or ISOLATED")


def _stops(json: Json, listed: Listed) -> tuple[StopOrder, ...]:
    """
    Market orders that wait for the mark price to close a position, and only those.

    One that cannot be read is left out. Were it ours it would be missing, and placed again.
    """
    items = page(_listed_items(json), "plan-list", _PAGE)
    return readable(items, "plan-list", lambda row: _stop(row, listed))


def _stop(row: Row, listed: Listed) -> list[StopOrder]:
    kind = (row.raw("entrustType"), row.raw("triggerPriceType"))
    name, side = row.text("symbol"), _side(row)
    if kind != ("STOP_MARKET", "MARK_PRICE") or row.raw("orderSide") != _closing(side):
        return []
    if name not in listed.sizes:
        raise row.wrong("symbol", "a contract that is listed")
    return [
        StopOrder(
            symbol=listed.symbols[name],
            side=side,
            client_id=_client_id(row),
            quantity=Quantity(row.above_zero("origQty") * listed.sizes[name]),
            trigger_price=Price(row.above_zero("stopPrice")),
            reduce_only=True,
        )
    ]


def _client_id(row: Row) -> str:
    """Ours, or for one placed without an id the venue's number."""
    given = row.raw("clientOrderId") if row.has("clientOrderId") else ""
    return given if isinstance(given, str) and given else row.identity("entrustId")


def _closing(side: Side) -> str:
    return "SELL" if side is Side.LONG else "BUY"


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """What waits in the contract, to find the venue's number of a stop."""
    match action:
        case CancelStop():
            return (stops_call(listed.id_of(action.symbol)),)
        case AddMargin() | PlaceStop() | ClosePosition():
            return ()
    assert_never(action)


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call | Refused:
    """The recipe of an action. Every order names the side of the position that it closes."""
    name = listed.id_of(action.symbol)
    of = {"symbol": name, "positionSide": action.side.upper()}
    match action:
        case AddMargin(amount=amount):
            sent = of | {"margin": f"{amount:f}", "type": "ADD"}
            return Call(_PRIVATE, "POST", f"{_USER}/position/margin", sent)
        case CancelStop(target_client_id=target):
            return _cancel(name, target, ground)
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            sent = of | {
                "orderSide": _closing(action.side),
                "entrustType": "STOP_MARKET",
                "origQty": _contracts(quantity, listed.sizes[name]),
                "stopPrice": f"{trigger:f}",
                "timeInForce": "IOC",
                "triggerPriceType": "MARK_PRICE",
                "clientOrderId": client_id,
            }
            return Call(_PRIVATE, "POST", f"{_TRADE}/entrust/create-plan", sent)
        case ClosePosition(quantity=quantity, bound=bound):
            sent = of | {
                "orderSide": _closing(action.side),
                "origQty": _contracts(quantity, listed.sizes[name]),
                "clientOrderId": client_id,
                **_bound(bound),
            }
            return Call(_PRIVATE, "POST", f"{_TRADE}/order/create", sent)
    assert_never(action)


def _bound(bound: AtMarket | NoWorseThan) -> dict[str, str]:
    match bound:
        case AtMarket():
            return {"orderType": "MARKET"}
        case NoWorseThan(price):
            return {"orderType": "LIMIT", "timeInForce": "IOC", "price": f"{price:f}"}
    assert_never(bound)


def _contracts(quantity: Decimal, size: Decimal) -> str:
    number = quantity / size
    whole = number.to_integral_value()
    return f"{whole if number == whole else number:f}"


def _cancel(name: str, target: str, ground: Ground) -> Call | Refused:
    numbers = [
        row.identity("entrustId")
        for row in _items(ground.answers[0], "plan-list")
        if row.has("clientOrderId") and row.raw("clientOrderId") == target
    ]
    if len(numbers) != 1:
        return Refused("NOT_SENT", f"expected one stop {target} in {name}, was {len(numbers)}")
    sent = {"entrustId": numbers[0]}
    return Call(_PRIVATE, "POST", f"{_TRADE}/entrust/cancel-plan", sent)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    The venue echoes nothing. A new order is proven by its number; margin and a cancel by the
    whole of the venue's envelope of success, after which their effect is looked for.
    """
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if code := _code(row):
            return Refused(code, heard.text[:120]) if code in REFUSED else Unsure(heard.text[:120])
        if heard.status != _HTTP_OK or row.integer("returnCode") != 0:
            return Unsure(f"HTTP {heard.status} without a code")
        match action:
            case PlaceStop() | ClosePosition():
                row.identity("result")
            case AddMargin() | CancelStop():
                row.raw("result")
                row.raw("msgInfo")
            case _:
                assert_never(action)
    except Unreadable as e:
        return Unsure(str(e))
    return Accepted()


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order by our id, the last hundred that ended, and plans that wait or ended."""
    of, last = {"symbol": name}, {"symbol": name, "limit": str(_PAGE)}
    named = of | {"clientOrderId": client_id, "page": "1", "size": str(_PAGE)}
    return (
        Call(_PRIVATE, "GET", f"{_TRADE}/order/list", named),
        Call(_PRIVATE, "GET", f"{_TRADE}/order/list-history", last),
        stops_call(name),
        Call(_PRIVATE, "GET", f"{_TRADE}/entrust/plan-list-history", last),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. A stop that triggered tells its fill by the order that it made."""
    wheres = ("order/list", "order/list-history", "plan-list", "plan-list-history")
    named, ended, waiting, over = (
        _heard_items(each, where) for each, where in zip(answers, wheres, strict=True)
    )
    size = listed.sizes[name]
    for row in named:
        row.raw("clientOrderId")  # else a filter that the venue ignored would look like absence
    for row in named + ended:
        if _is_ours(row, client_id):
            return _order_found(row, client_id, name, size)
    for row in waiting:
        if _is_ours(row, client_id):
            return OrderFound(client_id, resting=True, filled=NO_FILL)
    for row in over:
        if _is_ours(row, client_id):
            return _plan_found(row, named + ended, client_id, name, size)
    return OrderAbsent()


def _heard_items(heard: Heard, where: str) -> list[Row]:
    if heard.status != _HTTP_OK:
        raise Unreadable(f"{where}: expected HTTP 200, was {heard.status}")
    return _items(parse_json(heard.text), where)


def _is_ours(row: Row, client_id: str) -> bool:
    return row.has("clientOrderId") and row.raw("clientOrderId") == client_id


def _order_found(row: Row, client_id: str, name: str, size: Decimal) -> OrderFound:
    if row.raw("symbol") != name:
        raise row.wrong("symbol", name)
    state = row.text("state")
    if state not in _ORDER_OPEN | _ORDER_OVER:
        raise row.wrong("state", "a state that is known")
    return OrderFound(client_id, resting=state in _ORDER_OPEN, filled=_filled(row, size))


def _plan_found(
    row: Row, made: Sequence[Row], client_id: str, name: str, size: Decimal
) -> OrderFound:
    state = row.text("state")
    if state in _PLAN_WAITS:
        return OrderFound(client_id, resting=True, filled=NO_FILL)
    if state in _PLAN_OVER:
        return OrderFound(client_id, resting=False, filled=NO_FILL)
    if state != "TRIGGERED":
        raise row.wrong("state", "a state that is known")
    number = row.identity("entrustId")
    for order in made:
        if order.has("sourceId") and str(order.raw("sourceId")) == number:
            return _order_found(order, client_id, name, size)
    raise row.wrong("entrustId", "the source of an order among the last that ended")


def _filled(row: Row, size: Decimal) -> Filled:
    contracts = row.number("executedQty")
    if contracts <= ZERO:
        return NO_FILL
    return Fill(Quantity(contracts * size), Price(row.above_zero("avgPrice")))


def margin_call(name: str, since_ms: int) -> NoMarginHistory:
    """None: the account's bills have only what comes into the account and leaves it."""
    return NoMarginHistory()


def margin_changes_of(json: Json, listed: Listed) -> tuple[MarginChange, ...]:
    """Never asked for."""
    raise Unreadable("margin: expected no history of it")


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """Mark prices of all contracts, and the bills of these."""
    marks = Call(_PUBLIC, "GET", f"{_MARKET}/q/mark-price", {})
    return (marks, *(interval_call(name) for name in names))


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """The readable ones; one bad row hides no other."""
    bills: dict[str, tuple[Ratio, int]] = {}
    for json in jsons[1:]:
        try:
            row = Row(_result(json, "funding-rate"), "funding-rate")
            rate = Ratio(row.number("fundingRate"))
            bills[row.text("symbol")] = rate, row.integer("nextCollectionTime")
        except Unreadable as e:
            log.warning("bill.unreadable", reason=str(e))
    return _marked(rows(_result(jsons[0], "mark-price"), "mark-price"), listed, bills)


def bars_call(name: str) -> Call:
    """
    The newest hours of the last price, the one that is not over yet among them.

    The venue tells of no chart of its mark price.
    """
    asked = {"symbol": name, "interval": "1h", "limit": str(BARS_MAX + 1)}
    return Call(_PUBLIC, "GET", f"{_MARKET}/q/kline", asked)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them."""
    found = sorted(rows(_result(json, "kline"), "kline"), key=lambda row: row.integer("t"))
    charted = (
        (
            row.integer("t"),
            Row({"high": row.raw("h"), "low": row.raw("l"), "close": row.raw("c")}, row.where),
        )
        for row in found
    )
    return closed_bars(charted, symbol, received_at_ms)


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the marks of these contracts are pushed every second."""
    asked = [f"mark_price@{name}" for name in names]
    return Opening(f"{_STREAMS}/market", (_ask(asked, at_ms),), ping=_PING, pong=_PONG)


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked]:
    """The mark of a frame, without the next bill; none if it is about something else."""
    frame = Row(json, "frame")
    if not frame.has("topic") or frame.raw("topic") != "mark_price":
        return ()
    return _marked([Row(frame.raw("data"), "frame.data")], listed, {})


def _marked(
    found: Iterable[Row], listed: Listed, bills: Mapping[str, tuple[Ratio, int]]
) -> tuple[Marked, ...]:
    marks = []
    for row in found:
        try:
            name = row.text("s")
            if name in listed.symbols:
                rate, next_at_ms = bills.get(name, (Ratio(ZERO), 0))
                price = Price(row.above_zero("p"))
                marks.append(Marked(listed.symbols[name], price, rate, next_at_ms))
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)


# -- the account's stream ------------------------------------------------------------------


def account_calls() -> Sequence[Call]:
    """A key to listen with."""
    return (Call(_PRIVATE, "GET", f"{_USER}/user/listen-key", {}),)


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """Where the account's events are pushed, each kind asked for with the key."""
    key = _result(answers[0], "listen-key")
    if not isinstance(key, str) or not key:
        raise Unreadable("listen-key: expected a text")
    asked = [f"{each}@{key}" for each in _TOLD]
    return Opening(f"{_STREAMS}/user", (_ask(asked, at_ms),), ping=_PING, pong=_PONG)


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Nothing: when the key is over the venue says so, and the stream begins anew."""
    return ()


def _ask(asked: list[str], at_ms: int) -> str:
    return text_json.dumps({"method": "SUBSCRIBE", "id": str(at_ms), "params": asked})


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
        Call(_PRIVATE, "GET", f"{_USER}/account/info", {}),
        Call(_PRIVATE, "GET", f"{_USER}/position/list", {}),
    )


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Why this key or account cannot be guarded, a sentence each."""
    account = Row(_result(jsons[0], "account"), "account")
    found = []
    if not account.flag("allowTrade"):
        found.append("account: expected one that can trade, was not (allowTrade)")
    found += [
        f"{row.text('symbol')}: expected the venue's auto-margin to be off, was on"
        for row in rows(_result(jsons[1], "positions"), "positions")
        if row.number("positionSize") != ZERO and row.flag("autoMargin")
    ]
    return tuple(found)


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What the venue does not tell about the key."""
    return ("API key: the venue does not tell whether it can withdraw",)
