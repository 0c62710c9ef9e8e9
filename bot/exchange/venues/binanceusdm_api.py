"""
Binance USD-M's protocol: recipes of requests, strict parsers, and which refusals are proof.

Recipes: `documented`, and compared with what ccxt 4.5.90 puts on the wire. Conditional orders
live in the algo service. A position's margin mode and leverage come from symbolConfig, since
positionRisk v3 has neither. Which error codes are proof is in `binanceusdm_refusals`.
In the order of `Dialect`, whole, as one protocol is one file.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
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
from bot.core.events import BarsReported, Liquidated
from bot.core.model import (
    BARS_MAX,
    NO_FILL,
    STOPS_MAX,
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
    readable,
    rows,
    sort_out,
    told_in,
)
from bot.exchange.ports import (
    NOT_TOLD,
    Accepted,
    AccountChanged,
    MarginChange,
    NotTold,
    OrderAbsent,
    OrderFound,
    Refused,
    Reply,
    Unsure,
)
from bot.exchange.venues.binanceusdm import RULES
from bot.exchange.venues.binanceusdm_refusals import REFUSED

log = structlog.get_logger()

ccxt_id = "binanceusdm"
read_weight_per_minute = 2_400
used_weight_header = "x-mbx-used-weight-1m"
request_life_ms = 5_000

NOT_THERE = frozenset({-2013, -2011})
_HTTP_OK = 200
_NO_DELIVERY_MS = 4_100_000_000_000
"""A perpetual contract's delivery lies beyond it (in 2100), until it is to be taken off."""
_EIGHT_HOURS_MS = 8 * 3_600_000
_HOUR_MS = 3_600_000
_PUBLIC, _PRIVATE, _PRIVATE_V3 = "fapiPublic", "fapiPrivate", "fapiPrivateV3"
_NONE: dict[str, str] = {}

_STOP_OVER = frozenset({"CANCELED", "EXPIRED", "REJECTED"})
_STOP_WAITS = frozenset({"NEW", "TRIGGERING", "TRIGGERED"})
_ORDER_OPEN = frozenset({"NEW", "PARTIALLY_FILLED"})
_ORDER_OVER = frozenset({"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"})


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """The venue's clock."""
    return Call(_PUBLIC, "GET", "time", _NONE)


def time_of(json: Json) -> int:
    """Its milliseconds."""
    return Row(json, "time").integer("serverTime")


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts."""
    return Call(_PUBLIC, "GET", "exchangeInfo", _NONE)


def listing_of(json: Json) -> Listed:
    """Perpetual contracts by the venue's id, also those of other margin assets than USDT."""
    found = [
        row
        for row in rows(Row(json, "exchangeInfo").raw("symbols"), "symbols")
        if row.raw("contractType") == "PERPETUAL"
    ]
    return Listed(
        {row.text("symbol"): _symbol(row) for row in found},
        endings={
            row.text("symbol"): row.integer("deliveryDate")
            for row in found
            if row.integer("deliveryDate") < _NO_DELIVERY_MS
        },
    )


def _symbol(row: Row) -> str:
    return f"{row.text('baseAsset')}/{row.text('quoteAsset')}:{row.text('marginAsset')}"


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules, tiers and fee of one contract."""
    of = {"symbol": name}
    return (
        listing_call(),
        Call(_PRIVATE, "GET", "leverageBracket", of),
        Call(_PRIVATE, "GET", "commissionRate", of, weight=20),
    )


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract; its tiers with the venue's own deductions."""
    info, brackets, fees = jsons
    row = _only(rows(Row(info, "exchangeInfo").raw("symbols"), "symbols"), "symbol", name)
    filters = {each.text("filterType"): each for each in rows(row.raw("filters"), name)}
    bracket = _only(rows(brackets, "leverageBracket"), "symbol", name)
    for needed in ("PRICE_FILTER", "MARKET_LOT_SIZE", "LOT_SIZE"):
        if needed not in filters:
            raise Unreadable(f"{name}: expected a filter {needed}, was {sorted(filters)}")
    steps = [filters[each].above_zero("stepSize") for each in ("LOT_SIZE", "MARKET_LOT_SIZE")]
    stops_max = (
        filters["MAX_NUM_ALGO_ORDERS"].integer("limit")
        if "MAX_NUM_ALGO_ORDERS" in filters
        else STOPS_MAX
    )
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=row.text("marginAsset"),
        tick_size=Price(filters["PRICE_FILTER"].above_zero("tickSize")),
        quantity_step=Quantity(max(steps)),
        quantity_min=Quantity(filters["MARKET_LOT_SIZE"].above_zero("minQty")),
        taker_fee=Ratio(Row(fees, "commissionRate").number("takerCommissionRate")),
        tiers=_tiers(bracket),
        rules=RULES,
        quantity_max=Quantity(filters["MARKET_LOT_SIZE"].above_zero("maxQty")),
        stops_max=stops_max,
    )


def _only(found: Iterable[Row], key: str, name: str) -> Row:
    """The one row that `key` gives this name."""
    named = [each for each in found if each.has(key) and each.raw(key) == name]
    if len(named) != 1:
        raise Unreadable(f"{key}: expected one row of {name}, was {len(named)}")
    return named[0]


def _tiers(bracket: Row) -> tuple[RiskTier, ...]:
    table = sorted(
        rows(bracket.raw("brackets"), f"{bracket.where}.brackets"),
        key=lambda row: row.number("notionalFloor"),
    )
    if not table:
        raise Unreadable(f"{bracket.where}.brackets: expected some, was none")
    return tuple(
        RiskTier(
            floor=row.number("notionalFloor"),
            cap=Decimal("Infinity") if row is table[-1] else row.above_zero("notionalCap"),
            rate=Ratio(row.above_zero("maintMarginRatio")),
            deduction=Money(row.number("cum")),
            leverage_max=row.above_zero("initialLeverage"),
        )
        for row in table
    )


def interval_call(name: str) -> Call:
    """Contracts with another funding interval than eight hours."""
    return Call(_PUBLIC, "GET", "fundingInfo", _NONE)


def interval_of(json: Json, name: str) -> int:
    """Eight hours, where the venue says nothing else."""
    told = [
        row.integer("fundingIntervalHours") * _HOUR_MS
        for row in rows(json, "fundingInfo")
        if row.raw("symbol") == name
    ]
    return told[0] if told else _EIGHT_HOURS_MS


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """Margin modes and leverages by symbol, and the account's mode: they seldom change."""
    return (
        Call(_PRIVATE, "GET", "symbolConfig", _NONE, weight=5),
        Call(_PRIVATE, "GET", "accountConfig", _NONE, weight=5),
    )


def state_calls() -> Sequence[Call]:
    """
    Positions and money. Either answer has the positions' margins: they must agree.

    Only positionRisk has entry and liquidation prices, only account has the wallet.
    """
    return (
        Call(_PRIVATE_V3, "GET", "positionRisk", _NONE, weight=5),
        Call(_PRIVATE_V3, "GET", "account", _NONE, weight=5),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return names_of(state[0], "positionRisk", "symbol", "positionAmt")


def stops_call(name: str) -> Call:
    """What waits in one contract."""
    return Call(_PRIVATE, "GET", "openAlgoOrders", {"symbol": name})


def all_stops_call() -> Call:
    """What waits in any contract: forty times as heavy."""
    return Call(_PRIVATE, "GET", "openAlgoOrders", _NONE, weight=40)


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return told_in(stops, "openAlgoOrders", lambda row: row.text("symbol"))


@dataclass(frozen=True, slots=True)
class _Terms:
    margin_mode: MarginMode
    leverage: Decimal


def snapshot_of(
    terms: Sequence[Json],
    state: Sequence[Json],
    stops: Sequence[Json],
    listed: Listed,
    taken_at_ms: int,
) -> AccountSnapshot:
    """The account; raises `Unreadable` where its parts are not of one moment."""
    configs, mode = terms
    risks, account = state
    wallets = _essences(Row(account, "account").raw("positions"), "account.positions")
    beside = {name for name, _, _ in wallets}
    positions, garbled = sort_out(
        risks,
        "positionRisk",
        lambda row: _position(row, listed, configs, beside),
        lambda row: listed.symbols.get(row.text("symbol"), row.text("symbol")),
    )
    unread = {each.symbol for each in garbled}
    seen = [
        [each for each in side if listed.symbols.get(each[0], each[0]) not in unread]
        for side in (wallets, _essences(risks, "positionRisk"))
    ]
    if "" not in unread and seen[0] != seen[1]:
        raise Unreadable("positionRisk: expected the positions of account, was changed between")
    assets = rows(Row(account, "account").raw("assets"), "account.assets")
    balance = _only(assets, "asset", "USDT")
    is_hedged = Row(mode, "accountConfig").flag("dualSidePosition")
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=PositionMode.HEDGE if is_hedged else PositionMode.ONE_WAY,
        wallet_balance=Money(balance.number("crossWalletBalance")),
        free=Money(balance.number("availableBalance")),
        positions=positions,
        stops=tuple(stop for each in stops for stop in _stops(each, listed, positions)),
        garbled=garbled,
    )


def _essences(json: Json, where: str) -> list[tuple[str, Decimal, Decimal]]:
    """What of every open position does not move with the mark price, where it can be read."""
    if not isinstance(json, list):
        raise Unreadable(f"{where}: expected a list, was {json!r}")
    found = []
    for each in json:
        try:
            row = Row(each, where)
            name, amount = row.text("symbol"), row.number("positionAmt")
            if amount != ZERO:
                found.append((name, amount, row.number("isolatedWallet")))
        except Unreadable:
            continue  # what `sort_out` has said of it, or says of the other answer's row
    return sorted(found)


def _terms(configs: Json, name: str) -> _Terms:
    """Of one contract: what the others' rows say is nothing to it."""
    modes = {"ISOLATED": MarginMode.ISOLATED, "CROSSED": MarginMode.CROSS}

    def own(row: Row) -> list[Row]:
        return [row] if row.text("symbol") == name else []

    row = _only(readable(configs, "symbolConfig", own), "symbol", name)
    told = row.text("marginType")
    if told not in modes:
        raise row.wrong("marginType", "ISOLATED or CROSSED")
    return _Terms(modes[told], row.above_zero("leverage"))


def _position(row: Row, listed: Listed, configs: Json, beside: Set[str]) -> Position | NotOpen:
    name, amount = row.text("symbol"), row.number("positionAmt")
    if amount == ZERO:
        return NOT_OPEN
    terms = _terms(configs, name)
    mode, wallet = terms.margin_mode, row.number("isolatedWallet")
    if mode is MarginMode.CROSS and wallet != ZERO:
        raise row.wrong("isolatedWallet", "0 for a cross position")
    found = Position(
        symbol=listed.symbols.get(name, name),
        side=Side.LONG if amount > ZERO else Side.SHORT,
        quantity=Quantity(abs(amount)),
        entry_price=Price(row.above_zero("entryPrice")),
        margin_mode=mode,
        isolated_margin=Money(wallet),
        leverage=terms.leverage,
        liquidation=_liquidation(row),
    )
    if name not in beside:
        raise row.wrong("symbol", "a position that account has too, in a row that can be read")
    return found


def _liquidation(row: Row) -> LiquidationReport:
    """Nothing readable above zero is no report: it says nothing about safety."""
    try:
        return Reported(Price(row.above_zero("liquidationPrice")))
    except Unreadable:
        return NotReported()


def _stops(orders: Json, listed: Listed, positions: tuple[Position, ...]) -> tuple[StopOrder, ...]:
    """
    Stop-market orders on the mark price that wait; nothing else protects as a stop does.

    One that cannot be read is left out. Were it ours it would be missing, and placed again.
    """

    def stop(row: Row) -> list[StopOrder]:
        kind = row.raw("orderType") if row.has("orderType") else row.raw("type")
        if kind != "STOP_MARKET" or row.raw("workingType") != "MARK_PRICE":
            return []
        symbol = listed.symbols.get(row.text("symbol"), row.text("symbol"))
        return _stop(row, symbol, [each for each in positions if each.symbol == symbol])

    return readable(orders, "openAlgoOrders", stop)


def _stop(row: Row, symbol: str, held: Sequence[Position]) -> list[StopOrder]:
    """The stop; none if it would close the whole of nothing. Else it has that size."""
    closes_all = row.flag("closePosition") if row.has("closePosition") else False
    side = _closes(row)
    sizes = [each.quantity for each in held if each.side == side]
    if closes_all and not sizes:
        return []
    return [
        StopOrder(
            symbol=symbol,
            side=side,
            client_id=row.text("clientAlgoId"),
            quantity=sizes[0] if closes_all else Quantity(row.above_zero("quantity")),
            trigger_price=Price(row.above_zero("triggerPrice")),
            reduce_only=closes_all or row.flag("reduceOnly"),
        )
    ]


def _closes(row: Row) -> Side:
    match row.raw("side"):
        case "SELL":
            return Side.LONG
        case "BUY":
            return Side.SHORT
        case _:
            pass
    raise row.wrong("side", "BUY or SELL")


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing: stops are cancelled by our own ids."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Call:
    """The recipe of an action. Every order can only reduce: one-way mode."""
    of = {"symbol": listed.id_of(action.symbol)}
    match action:
        case AddMargin(amount=amount):
            sent = of | {"amount": f"{amount:f}", "type": "1"}
            return Call(_PRIVATE, "POST", "positionMargin", sent)
        case PlaceStop(quantity=quantity, trigger_price=trigger):
            sent = of | {
                "algoType": "CONDITIONAL",
                "side": _direction(action.side),
                "type": "STOP_MARKET",
                "quantity": f"{quantity:f}",
                "triggerPrice": f"{trigger:f}",
                "workingType": "MARK_PRICE",
                "reduceOnly": "true",
                "clientAlgoId": client_id,
                "newOrderRespType": "RESULT",
            }
            return Call(_PRIVATE, "POST", "algoOrder", sent)
        case CancelStop(target_client_id=target):
            return Call(_PRIVATE, "DELETE", "algoOrder", {"clientAlgoId": target})
        case ClosePosition(quantity=quantity, bound=bound):
            sent = of | {
                "side": _direction(action.side),
                "quantity": f"{quantity:f}",
                "reduceOnly": "true",
                "newClientOrderId": client_id,
                "newOrderRespType": "RESULT",
            }
            match bound:
                case AtMarket():
                    sent |= {"type": "MARKET"}
                case NoWorseThan(price):
                    sent |= {"type": "LIMIT", "timeInForce": "IOC", "price": f"{price:f}"}
                case _:
                    assert_never(bound)
            return Call(_PRIVATE, "POST", "order", sent)
    assert_never(action)


def _direction(side: Side) -> str:
    return "SELL" if side is Side.LONG else "BUY"


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """
    What an answer to a write proves. Whatever does not prove itself is Unsure.

    An HTTP client sends a DELETE again when its connection breaks: that there is nothing to cancel
    may be the answer to the second one.
    """
    try:
        row = Row(parse_json(heard.text), f"HTTP {heard.status}")
        if row.has("code") and row.integer("code") < 0:
            code, text = row.integer("code"), str(row.raw("msg"))
            if code in REFUSED:
                return Refused(str(code), text)
            return Unsure(f"{code} {text}")
        if heard.status != _HTTP_OK:
            return Unsure(f"HTTP {heard.status} without a code")
        return _proof(row, action, client_id, listed.id_of(action.symbol))
    except Unreadable as e:
        return Unsure(str(e))


def _proof(row: Row, action: Action, client_id: str, name: str) -> Reply:
    expected: tuple[object, ...]
    echoed: tuple[object, ...]
    is_close = isinstance(action, ClosePosition)
    match action:
        case AddMargin(amount=amount):
            expected = (_HTTP_OK, 1, amount)
            echoed = (row.integer("code"), row.integer("type"), row.number("amount"))
        case PlaceStop():
            expected = (client_id, name, _direction(action.side))
            echoed = _echo(row, "algoId", "clientAlgoId")
        case CancelStop(target_client_id=target):
            expected = (_HTTP_OK, target)
            echoed = (row.integer("code"), row.text("clientAlgoId"))
        case ClosePosition():
            expected = (client_id, name, _direction(action.side))
            echoed = _echo(row, "orderId", "clientOrderId")
        case _:
            assert_never(action)
    if echoed != expected:
        return Unsure(f"expected an echo of {expected}, was {echoed}")
    return Accepted(order=_told(row, client_id, name)) if is_close else Accepted()


def _told(row: Row, client_id: str, name: str) -> OrderFound | NotTold:
    """
    What a proven answer to a close says of its fill.

    Source: Binance, "New Order": RESULT answers a market or an IOC order by its final state.
    """
    try:
        return _order_found(row, client_id, name)
    except Unreadable:
        return NOT_TOLD  # it is taken all the same, and will be asked for


def _echo(row: Row, number: str, client_id: str) -> tuple[str, str, str]:
    if row.integer(number) <= 0:
        raise row.wrong(number, "an order's number")
    return row.text(client_id), row.text("symbol"), row.text("side")


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order in the plain book, and in the conditional one."""
    return (
        Call(_PRIVATE, "GET", "order", {"symbol": name, "origClientOrderId": client_id}),
        Call(_PRIVATE, "GET", "algoOrder", {"clientAlgoId": client_id}),
    )


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """
    What the two books say. The conditional one counts where both know the id: once triggered, a
    stop leaves a plain order of its own name.
    """
    plain, conditional = (_found(each) for each in answers)
    if conditional is not None:
        return _stop_found(conditional, client_id, name)
    if plain is not None:
        return _order_found(plain, client_id, name)
    return OrderAbsent()


def _found(heard: Heard) -> Row | None:
    """The order of an answer, or None where the venue says that it knows none."""
    row = Row(parse_json(heard.text), f"HTTP {heard.status}")
    if row.has("code") and row.integer("code") < 0:
        if row.integer("code") in NOT_THERE:
            return None
        raise Unreadable(f"order: expected an order, was {row.raw('code')} {row.raw('msg')}")
    if heard.status != _HTTP_OK:
        raise Unreadable(f"order: expected HTTP 200, was {heard.status}")
    return row


def _stop_found(row: Row, client_id: str, name: str) -> OrderFound:
    _check_named(row, "clientAlgoId", client_id, name)
    status = row.text("algoStatus")
    if status in _STOP_WAITS:
        return OrderFound(client_id, resting=True, filled=NO_FILL)
    if status in _STOP_OVER:
        return OrderFound(client_id, resting=False, filled=NO_FILL)
    if status != "FINISHED":
        raise row.wrong("algoStatus", "a status that is known")
    return OrderFound(client_id, resting=False, filled=_filled(row, "actualQty", "actualPrice"))


def _order_found(row: Row, client_id: str, name: str) -> OrderFound:
    _check_named(row, "clientOrderId", client_id, name)
    status = row.text("status")
    if status not in _ORDER_OPEN | _ORDER_OVER:
        raise row.wrong("status", "a status that is known")
    filled = _filled(row, "executedQty", "avgPrice")
    return OrderFound(client_id, resting=status in _ORDER_OPEN, filled=filled)


def _check_named(row: Row, key: str, client_id: str, name: str) -> None:
    if (row.raw(key), row.raw("symbol")) != (client_id, name):
        raise row.wrong(key, f"the order {client_id} of {name}")


def _filled(row: Row, quantity: str, price: str) -> Filled:
    amount = row.number(quantity)
    if amount == ZERO:
        return NO_FILL
    return Fill(Quantity(amount), Price(row.above_zero(price)))


def margin_call(name: str, since_ms: int) -> Call:
    """The history of margin moved into positions of a contract."""
    asked = {"symbol": name, "type": "1", "startTime": str(since_ms), "limit": "500"}
    return Call(_PRIVATE, "GET", "positionMargin/history", asked)


def margin_changes_of(json: Json, listed: Listed) -> tuple[MarginChange, ...]:
    """Its rows that add, oldest first."""
    changes = (
        MarginChange(
            listed.symbols.get(row.text("symbol"), row.text("symbol")),
            Money(row.above_zero("amount")),
            row.integer("time"),
        )
        for row in rows(json, "positionMargin/history")
        if row.integer("type") == 1
    )
    return tuple(sorted(changes, key=lambda change: change.at_ms))


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """Mark prices and bills of all contracts."""
    return (Call(_PUBLIC, "GET", "premiumIndex", _NONE, weight=10),)


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """The readable ones; one bad row hides no other."""
    names = ("symbol", "markPrice", "lastFundingRate", "nextFundingTime")
    return _marked(rows(jsons[0], "premiumIndex"), listed, names)


def bars_call(name: str) -> Call:
    """The newest hours of a mark price, the one that is not over yet among them."""
    asked = {"symbol": name, "interval": "1h", "limit": str(BARS_MAX + 1)}
    return Call(_PUBLIC, "GET", "markPriceKlines", asked, weight=2)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them."""
    if not isinstance(json, list):
        raise Unreadable(f"markPriceKlines: expected a list, was {json!r:.80}")
    return closed_bars(map(_charted, json), symbol, received_at_ms)


def _charted(row: Json) -> tuple[int, Row]:
    match row:
        case [int(opens_at_ms), _, high, low, close, *_]:
            prices = {"high": high, "low": low, "close": close}
            return opens_at_ms, Row(prices, "markPriceKlines")
        case _:
            raise Unreadable(f"markPriceKlines: expected a row of a chart, was {row!r:.80}")


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the marks of these contracts are pushed every second."""
    streams = "/".join(f"{name.lower()}@markPrice@1s" for name in names)
    return Opening(f"wss://fstream.binance.com/market/stream?streams={streams}")


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked]:
    """The mark of a frame; none if it is about something else."""
    frame = Row(json, "frame")
    if not frame.has("data"):
        return ()
    row = Row(frame.raw("data"), "frame.data")
    if row.raw("e") != "markPriceUpdate":
        return ()
    return _marked([row], listed, ("s", "p", "r", "T"))


def _marked(
    found: Iterable[Row], listed: Listed, names: tuple[str, str, str, str]
) -> tuple[Marked, ...]:
    symbol, price, rate, next_at = names
    marks = []
    for row in found:
        try:
            name = row.text(symbol)
            if name in listed.symbols:
                marks.append(
                    Marked(
                        listed.symbols[name],
                        Price(row.above_zero(price)),
                        Ratio(row.number(rate)),
                        row.integer(next_at),
                    )
                )
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)


# -- the account's stream ------------------------------------------------------------------


def account_calls() -> Sequence[Call]:
    """A key to listen with."""
    return (Call(_PRIVATE, "POST", "listenKey", _NONE),)


def account_opening(answers: Sequence[Json], credentials: Credentials, at_ms: int) -> Opening:
    """Where the account's events are pushed."""
    return Opening(f"wss://fstream.binance.com/private/ws?listenKey={_listen_key(answers)}")


def keep_calls(answers: Sequence[Json]) -> Sequence[Call]:
    """Keep the key alive for another hour."""
    return (Call(_PRIVATE, "PUT", "listenKey", {"listenKey": _listen_key(answers)}),)


def _listen_key(answers: Sequence[Json]) -> str:
    return Row(answers[0], "listenKey").text("listenKey")


def account_frame(json: Json, listed: Listed, received_at_ms: int) -> Told:
    """What a frame is an alarm for. The venue's own orders tell of liquidations."""
    frame = Row(json, "frame")
    match frame.raw("e") if frame.has("e") else "":
        case "listenKeyExpired":
            return StreamEnded("the listen key has expired")
        case "ORDER_TRADE_UPDATE":
            order = Row(frame.raw("o"), "frame.o")
            if order.text("c").startswith("autoclose-") and order.raw("X") == "FILLED":
                return Liquidated(
                    listed.symbols.get(order.text("s"), order.text("s")),
                    Side.LONG if order.raw("S") == "SELL" else Side.SHORT,
                    Price(order.above_zero("ap")),
                    received_at_ms,
                )
            return AccountChanged()
        case "ACCOUNT_UPDATE" | "ALGO_UPDATE" | "ACCOUNT_CONFIG_UPDATE" | "MARGIN_CALL":
            return AccountChanged()
        case _:
            return Irrelevant()


# -- before the start ----------------------------------------------------------------------


def check_calls() -> Sequence[Call]:
    """What has to be known before anything is guarded."""
    return (
        Call("sapi", "GET", "account/apiRestrictions", _NONE),
        Call(_PRIVATE, "GET", "accountConfig", _NONE, weight=5),
        Call(_PRIVATE, "GET", "symbolConfig", _NONE, weight=5),
    )


def refusals(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Why this key or account cannot be guarded, a sentence each."""
    key, account, configs = jsons
    allowed, mode = Row(key, "apiRestrictions"), Row(account, "accountConfig")
    found = []
    for name, what in (
        ("enableWithdrawals", "withdraw"),
        ("enableInternalTransfer", "transfer to others"),
        ("permitsUniversalTransfer", "transfer between accounts"),
    ):
        if allowed.has(name) and allowed.flag(name):
            found.append(f"API key: expected one that cannot {what}, was allowed to ({name})")
    if not allowed.flag("enableFutures"):
        found.append("API key: expected one that may trade futures, was not (enableFutures)")
    portfolio = "enablePortfolioMarginTrading"
    if allowed.has(portfolio) and allowed.flag(portfolio):
        found.append("account: portfolio margin is not supported: more than futures back it")
    if not mode.flag("canTrade"):
        found.append("account: expected one that can trade, was not (canTrade)")
    if mode.flag("multiAssetsMargin"):
        found.append("account: multi-assets margin is not supported: other assets back it too")
    found += [
        f"{row.text('symbol')}: expected the venue's auto-margin to be off, was on"
        for row in rows(configs, "symbolConfig")
        if row.flag("isAutoAddMargin")
    ]
    return tuple(found)


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """Nothing: the venue tells what a key may do."""
    return ()
