"""
ApeX Omni's protocol for USDT perpetuals, as far as it can be read: nothing is ever written.

`documented` (API v3), asked through ccxt 4.5.90. Every order needs a zk signature of a library
that ccxt does not bring, margin cannot be moved into a position, and no answer tells a liquidation
price: so that an account can be looked at and its decisions observed, and no more. No account of
the venue has been met yet. In the order of `Dialect`, whole, as one protocol is one file.
"""

import base64
import hashlib
import hmac
import json as text_json
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

import structlog

from bot.core.actions import Action
from bot.core.events import BarsReported
from bot.core.model import (
    BARS_MAX,
    NO_FILL,
    AccountSnapshot,
    ContractKind,
    Fill,
    Filled,
    Instrument,
    MarginMode,
    NotReported,
    Position,
    PositionMode,
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
from bot.exchange.live.reading import Row, closed_bars, rows
from bot.exchange.ports import (
    AccountChanged,
    MarginChange,
    NoMarginHistory,
    OrderAbsent,
    OrderFound,
    Refused,
    Reply,
    Unsure,
)
from bot.exchange.venues.apex import RULES

log = structlog.get_logger()

ccxt_id = "apex"
read_weight_per_minute = 600
used_weight_header = ""
request_life_ms = 60_000
"""`assumed`: nothing is written."""

WHY_NOT = (
    "an order needs a zk signature of a library that ccxt does not bring, and margin cannot be "
    "moved into a position"
)

_COIN = "USDT"
_PUBLIC, _PRIVATE = "public", "private"
_HTTP_OK = 200
_SECOND_MS, _HOUR_MS = 1_000, 3_600_000
_SECONDS_MAX = 10**11
_STEPS_MAX = 1_000
_STREAMS = "wss://quote.omni.apex.exchange"
_LOGIN_PATH = "/ws/accounts"
_TOPIC, _ACCOUNT = "instrumentInfo.H.", "ws_zk_accounts_v3"
_ORDER_OPEN = frozenset({"PENDING", "OPEN", "UNTRIGGERED"})
_ORDER_OVER = frozenset({"FILLED", "CANCELED", "EXPIRED"})


# -- clock ---------------------------------------------------------------------------------


def time_call() -> Call:
    """The venue's clock."""
    return Call(_PUBLIC, "GET", "v3/time", {})


def time_of(json: Json) -> int:
    """Its milliseconds: documented in seconds, met in milliseconds."""
    told = Row(_data(json, "time"), "time").integer("time")
    return told * _SECOND_MS if told < _SECONDS_MAX else told


def _data(json: Json, where: str) -> Json:
    """
    What an answer is about; raises `Unreadable` for one that says that it failed.

    Private answers are documented without an envelope and met within one.
    """
    row = Row(json, where)
    if row.has("code") and str(row.raw("code")) != "0":
        raise Unreadable(f"{where}: expected no code, was {row.raw('code')!r}")
    return row.raw("data") if row.has("data") else json


# -- contracts -----------------------------------------------------------------------------


def listing_call() -> Call:
    """All contracts."""
    return Call(_PUBLIC, "GET", "v3/symbols", {})


def listing_of(json: Json) -> Listed:
    """Perpetual contracts that settle in USDT; one that cannot be read hides no other."""
    symbols = {}
    for row in _contracts(json):
        try:
            if row.raw("settleAssetId") == _COIN:
                symbols[row.text("symbol")] = f"{row.text('baseTokenId')}/{_COIN}:{_COIN}"
        except Unreadable as e:
            log.warning("contract.unreadable", reason=str(e))
    return Listed(symbols)


def _contracts(json: Json) -> Iterator[Row]:
    config = Row(Row(_data(json, "symbols"), "symbols").raw("contractConfig"), "symbols.contract")
    return rows(config.raw("perpetualContract"), "symbols")


def instrument_calls(name: str) -> Sequence[Call]:
    """Rules and steps of all contracts, and the account's own fee."""
    return (listing_call(), Call(_PRIVATE, "GET", "v3/account", {}))


def instrument_of(jsons: Sequence[Json], listed: Listed, name: str) -> Instrument:
    """The contract, with the account's own fee."""
    row = _contract(jsons[0], name)
    account = Row(_data(jsons[1], "account"), "account")
    fees = Row(account.raw("contractAccount"), "account.contractAccount")
    return Instrument(
        symbol=listed.symbols[name],
        kind=ContractKind.LINEAR,
        settle=_COIN,
        tick_size=Price(row.above_zero("tickSize")),
        quantity_step=Quantity(row.above_zero("stepSize")),
        quantity_min=Quantity(row.above_zero("minOrderSize")),
        taker_fee=Ratio(fees.number("takerFeeRate")),
        tiers=_tiers(row),
        rules=RULES,
        quantity_max=Quantity(row.above_zero("maxOrderSize")),
    )


def _contract(json: Json, name: str) -> Row:
    named = [row for row in _contracts(json) if row.has("symbol") and row.raw("symbol") == name]
    if len(named) != 1:
        raise Unreadable(f"symbols: expected one row of {name}, was {len(named)}")
    return named[0]


def _tiers(row: Row) -> tuple[RiskTier, ...]:
    """
    The steps of value, the whole of it at its step's rate (`documented`): nothing is deducted.

    Listed one by one; where that list is empty, by the rule of a first step and equal ones after.
    """
    table = _listed_steps(row) or _ruled_steps(row)
    floors, rates = [floor for floor, _, _ in table], [rate for _, rate, _ in table]
    if floors != sorted(set(floors)) or floors[0] != ZERO or rates != sorted(rates):
        raise Unreadable(f"{row.where}: expected rising steps, was {table[:3]}")
    caps = [*floors[1:], Decimal("Infinity")]
    return tuple(
        RiskTier(floor, cap, Ratio(rate), Money(ZERO), 1 / initial)
        for (floor, rate, initial), cap in zip(table, caps, strict=True)
    )


def _listed_steps(row: Row) -> list[tuple[Decimal, Decimal, Decimal]]:
    limits = Row(row.raw("riskLimitConfig"), f"{row.where}.riskLimitConfig")
    if not limits.has("positionSteps") or not limits.raw("positionSteps"):
        return []
    floors, rates, initials = (
        [_number(each, limits.where) for each in _list(limits, name)]
        for name in ("positionSteps", "mmrSteps", "imrSteps")
    )
    if not len(floors) == len(rates) == len(initials) or min(rates + initials) <= ZERO:
        raise Unreadable(f"{limits.where}: expected a rate above 0 for each step, was otherwise")
    return list(zip(floors, rates, initials, strict=True))


def _list(row: Row, name: str) -> list[Json]:
    value = row.raw(name)
    if not isinstance(value, list):
        raise row.wrong(name, "a list")
    return value


def _number(json: Json, where: str) -> Decimal:
    return Row({"step": json}, where).number("step")


def _ruled_steps(row: Row) -> list[tuple[Decimal, Decimal, Decimal]]:
    first, each = (
        row.above_zero("baselinePositionValue"),
        row.above_zero("incrementalPositionValue"),
    )
    rate, more = (
        row.above_zero("maintenanceMarginRate"),
        row.number("incrementalMaintenanceMarginRate"),
    )
    initial, initial_more = (
        row.above_zero("initialMarginRate"),
        row.number("incrementalInitialMarginRate"),
    )
    most = row.above_zero("maxMaintenanceMarginRate")
    count = int((row.above_zero("maxPositionValue") - first) / each) + 1
    if not 0 <= count <= _STEPS_MAX:
        raise row.wrong("maxPositionValue", f"at most {_STEPS_MAX} steps")
    found = [(ZERO, rate, initial)]
    found += [
        (
            first + (number - 1) * each,
            min(rate + number * more, most),
            min(initial + number * initial_more, Decimal(1)),
        )
        for number in range(1, count + 1)
    ]
    return found


def interval_call(name: str) -> Call:
    """The contract's next bill."""
    return Call(_PUBLIC, "GET", "v3/ticker", {"symbol": _cross_name(name)})


def interval_of(json: Json, name: str) -> int:
    """An hour, of every contract: `documented`. What was answered has to be its ticker."""
    _ticker(json, name)
    return _HOUR_MS


def _cross_name(name: str) -> str:
    """What the public side calls a contract."""
    return name.replace("-", "")


def _ticker(json: Json, name: str) -> Row:
    found = list(rows(_data(json, "ticker"), "ticker"))
    if len(found) != 1 or found[0].raw("symbol") != _cross_name(name):
        raise Unreadable(f"ticker: expected one row of {name}, was {len(found)}")
    return found[0]


# -- account -------------------------------------------------------------------------------


def terms_calls() -> Sequence[Call]:
    """The contracts: what one has as its leverage where the account has set none."""
    return (listing_call(),)


def state_calls() -> Sequence[Call]:
    """Wallets and positions, and what they are worth."""
    return (
        Call(_PRIVATE, "GET", "v3/account", {}),
        Call(_PRIVATE, "GET", "v3/account-balance", {}),
    )


def held_names(state: Sequence[Json]) -> frozenset[str]:
    """The contracts with an open position."""
    return frozenset(row.text("symbol") for row in _open(state[0]))


def stops_call(name: str) -> Call:
    """What waits: the venue lists all of it."""
    return all_stops_call()


def all_stops_call() -> Call:
    """What waits in any contract."""
    return Call(_PRIVATE, "GET", "v3/open-orders", {})


def stop_names(stops: Sequence[Json]) -> frozenset[str]:
    """The contracts in which something waits."""
    return frozenset(row.text("symbol") for each in stops for row in _orders(each))


def _orders(json: Json) -> list[Row]:
    data = _data(json, "orders")
    return list(
        rows(data if isinstance(data, list) else Row(data, "orders").raw("orders"), "orders")
    )


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
    worth = Row(_data(state[1], "account-balance"), "account-balance")
    won = sum((_won(position, listed, worth) for position in positions), ZERO)
    unique = {text_json.dumps(each, default=str): each for each in stops}
    return AccountSnapshot(
        taken_at_ms=taken_at_ms,
        position_mode=PositionMode.ONE_WAY,
        wallet_balance=Money(worth.number("totalEquityValue") - won),
        free=Money(max(worth.number("availableBalance"), ZERO)),
        positions=positions,
        stops=tuple(stop for each in unique.values() for stop in _stops(each, listed)),
    )


def _won(position: Position, listed: Listed, worth: Row) -> Decimal:
    """Unrealised profit at the price by which the account was valued."""
    prices = Row(worth.raw("symbolToOraclePrice"), f"{worth.where}.symbolToOraclePrice")
    name = listed.id_of(position.symbol)
    price = Row(prices.raw(name), f"{prices.where}.{name}").above_zero("oraclePrice")
    return position.side.sign * position.quantity * (price - position.entry_price)


def _open(json: Json) -> list[Row]:
    account = Row(_data(json, "account"), "account")
    found = rows(account.raw("positions"), "positions")
    return [row for row in found if row.number("size") != ZERO]


def _position(row: Row, listed: Listed, symbols: Json) -> Position:
    name = row.text("symbol")
    if name not in listed.symbols:
        raise row.wrong("symbol", "a contract that is listed")
    return Position(
        symbol=listed.symbols[name],
        side=_side(row),
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
        rate = _contract(symbols, name).above_zero("defaultInitialMarginRate")
    return 1 / rate


def _side(row: Row) -> Side:
    match row.raw("side"):
        case "LONG":
            return Side.LONG
        case "SHORT":
            return Side.SHORT
        case _:
            pass
    raise row.wrong("side", "LONG or SHORT")


def _stops(json: Json, listed: Listed) -> Iterator[StopOrder]:
    """Reduce-only market orders that wait for the index price, and only those."""
    for row in _orders(json):
        try:
            yield from _stop(row, listed)
        except Unreadable as e:
            log.warning("stop.unreadable", reason=str(e))


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
            client_id=_client_id(row),
            quantity=Quantity(row.above_zero("size")),
            trigger_price=Price(row.above_zero("triggerPrice")),
            reduce_only=True,
        )
    ]


def _client_id(row: Row) -> str:
    """The placer's, in either of its two names, or the venue's number."""
    for name in ("clientOrderId", "clientId"):
        if row.has(name) and isinstance(row.raw(name), str) and row.raw(name):
            return row.text(name)
    return row.identity("id")


# -- writes --------------------------------------------------------------------------------


def ground_calls(action: Action, listed: Listed) -> Sequence[Call]:
    """Nothing."""
    return ()


def write_call(action: Action, client_id: str, listed: Listed, ground: Ground) -> Refused:
    """No recipe: nothing is sent, which is proof."""
    return Refused("NOT_SENT", WHY_NOT)


def reply_of(heard: Heard, action: Action, client_id: str, listed: Listed) -> Reply:
    """Never heard, as nothing is sent: it would prove nothing."""
    return Unsure(heard.text[:120])


# -- evidence ------------------------------------------------------------------------------


def order_calls(name: str, client_id: str) -> Sequence[Call]:
    """An order by its client's id."""
    return (Call(_PRIVATE, "GET", "v3/order-by-client-order-id", {"id": client_id}),)


def order_of(
    answers: Sequence[Heard], client_id: str, name: str, listed: Listed
) -> OrderFound | OrderAbsent:
    """What the books say. By which code the venue tells that there is none is not known."""
    (heard,) = answers
    if heard.status != _HTTP_OK:
        raise Unreadable(f"order: expected HTTP 200, was {heard.status}")
    row = Row(_data(parse_json(heard.text), "order"), "order")
    if row.raw("symbol") != name or _client_id(row) != client_id:
        raise row.wrong("symbol", f"order {client_id} in {name}")
    status = row.text("status")
    if status not in _ORDER_OPEN | _ORDER_OVER:
        raise row.wrong("status", "a status that is known")
    return OrderFound(client_id, resting=status in _ORDER_OPEN, filled=_filled(row))


def _filled(row: Row) -> Filled:
    quantity = row.number("cumMatchFillSize")
    if quantity <= ZERO:
        return NO_FILL
    return Fill(Quantity(quantity), Price(row.above_zero("cumMatchFillValue") / quantity))


def margin_call(name: str, since_ms: int) -> NoMarginHistory:
    """None: no position has a margin of its own."""
    return NoMarginHistory()


def margin_changes_of(json: Json, listed: Listed) -> tuple[MarginChange, ...]:
    """Never asked for."""
    raise Unreadable("margin: expected no history of it")


# -- prices --------------------------------------------------------------------------------


def marks_calls(names: Sequence[str]) -> Sequence[Call]:
    """A ticker of each."""
    return tuple(interval_call(name) for name in names)


def marks_of(jsons: Sequence[Json], listed: Listed) -> Sequence[Marked]:
    """The readable ones; one bad answer hides no other."""
    marks = []
    for json in jsons:
        try:
            for row in rows(_data(json, "ticker"), "ticker"):
                marks += _marked(row, listed)
        except Unreadable as e:
            log.warning("mark.unreadable", reason=str(e))
    return tuple(marks)


def _marked(row: Row, listed: Listed) -> list[Marked]:
    """
    The index price, by which the venue values and liquidates (`documented`), and the next bill.

    A frame of what has changed may be without either.
    """
    named = {_cross_name(name): symbol for name, symbol in listed.symbols.items()}
    name = row.text("symbol")
    if name not in named or not row.has("indexPrice"):
        return []
    price = Price(row.above_zero("indexPrice"))
    return [Marked(named[name], price, *_bill(row))]


def _bill(row: Row) -> tuple[Ratio, int]:
    """What will be billed, and when: a time of day without its day tells no moment."""
    none = Ratio(ZERO), 0
    if not row.has("nextFundingTime") or not row.has("predictedFundingRate"):
        return none
    try:
        at = datetime.fromisoformat(row.text("nextFundingTime"))
        if at.tzinfo is None:
            return none
        return Ratio(row.number("predictedFundingRate")), int(at.timestamp()) * _SECOND_MS
    except (Unreadable, ValueError, OverflowError) as e:
        log.info("bill.not_told", reason=str(e))
        return none


def bars_call(name: str) -> Call:
    """The newest hours of the last price: the venue tells of no chart of its index price."""
    asked = {"symbol": _cross_name(name), "interval": "60", "limit": str(BARS_MAX + 1)}
    return Call(_PUBLIC, "GET", "v3/klines", asked)


def bars_of(json: Json, symbol: str, received_at_ms: int) -> BarsReported:
    """Those of them that are over, and have no gap behind them."""
    data = _data(json, "klines")
    if isinstance(data, dict):
        if len(data) != 1:
            raise Unreadable(f"klines: expected one contract, was {len(data)}")
        (data,) = data.values()
    found = sorted(rows(data, "klines"), key=lambda row: row.integer("t"))
    charted = (
        (
            row.integer("t"),
            Row({"high": row.raw("h"), "low": row.raw("l"), "close": row.raw("c")}, row.where),
        )
        for row in found
    )
    return closed_bars(charted, symbol, received_at_ms)


def marks_opening(names: Sequence[str], at_ms: int) -> Opening:
    """Where the tickers of these contracts are pushed."""
    asked = [f"{_TOPIC}{_cross_name(name)}" for name in names]
    url = f"{_STREAMS}/realtime_public?v=2&timestamp={at_ms}"
    return Opening(url, (_said("subscribe", asked),), ping=_said("ping", [str(at_ms)]))


def mark_frame(json: Json, listed: Listed) -> Sequence[Marked]:
    """The mark of a frame and the next bill; none if it is about something else."""
    frame = Row(json, "frame")
    if not frame.has("topic") or not str(frame.raw("topic")).startswith(_TOPIC):
        return ()
    return _marked(Row(frame.raw("data"), "frame.data"), listed)


def _said(word: str, parts: Sequence[str]) -> str:
    return text_json.dumps({"op": word, "args": list(parts)})


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
    url = f"{_STREAMS}/realtime_private?v=2&timestamp={at_ms}"
    asks = (_said("login", [text_json.dumps(login)]), _said("subscribe", [_ACCOUNT]))
    return Opening(url, asks, ping=_said("ping", [str(at_ms)]))


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
    account = Row(_data(jsons[0], "account"), "account")
    own = Row(account.raw("contractAccount"), "account.contractAccount")
    found = []
    if own.raw("status") != "NORMAL":
        found.append(f"account: expected NORMAL, was {own.raw('status')}")
    for row in rows(account.raw("contractWallets"), "contractWallets"):
        coin = row.raw("asset") if row.has("asset") else row.raw("token")
        if coin != _COIN and row.number("balance") != ZERO:
            found.append(f"account: expected no collateral but USDT, was {coin}")
    trial = list(rows(account.raw("experienceMoney"), "experienceMoney"))
    if any(row.number("availableAmount") != ZERO for row in trial):
        found.append("account: expected no trial money, as what it backs is not told")
    return tuple(found)


def unproven(jsons: Sequence[Json]) -> tuple[str, ...]:
    """What the venue does not tell about the key."""
    return ("API key: the venue does not tell whether it can withdraw; that needs its zk key too",)
