"""
The private side of Binance's futures: the account, what waits in it, its stream, its checks.

USD-M (fapi) and COIN-M (dapi) speak one protocol; what differs between them are values, in
`binanceusdm_account` and `binancecoinm_account`. Recipes and shapes: `documented`, and compared
with what ccxt 4.5.90 puts on the wire. What is sent: `binance_orders`.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from bot.core.events import Liquidated
from bot.core.model import (
    AccountSnapshot,
    ContractKind,
    MarginMode,
    Position,
    PositionMode,
    Side,
    StopOrder,
)
from bot.core.units import ZERO, Money, Price, Quantity
from bot.exchange.live.calls import Call, Json, Unreadable
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.dialect import Irrelevant, Listed, MarginHistory, Opening, StreamEnded, Told
from bot.exchange.live.reading import (
    NOT_OPEN,
    NotOpen,
    Row,
    liquidation_in,
    names_of,
    readable,
    require_worth,
    rows,
    sort_out,
    told_in,
)
from bot.exchange.ports import AccountChanged, MarginChange
from bot.exchange.venues.binance_market import only

_NONE: dict[str, str] = {}
_SIZE_OFF_MAX = Decimal("0.01")
_CLOSES = {"SELL": Side.LONG, "BUY": Side.SHORT}
_LEGS = {"LONG": (Side.LONG,), "SHORT": (Side.SHORT,), "BOTH": tuple(Side)}


@dataclass(frozen=True, slots=True)
class Terms:
    """How a contract is held."""

    margin_mode: MarginMode
    leverage: Decimal


@dataclass(frozen=True, slots=True)
class BinanceAccount:
    """
    One of the two, by its values, and the wallet of `coin` in it: an `AccountDialect`.

    `api` is its private one as ccxt names it. `terms` ends with the answer that tells the
    position mode, and `terms_of` finds a position's own in its row or in those answers. `state`
    are the positions and the money; `agreed` is what of a position both must tell the same.
    `check` is asked besides what the key may do; `unfit` and `strange` judge the answers: what is
    not as it has to be, and what makes it an account whose liquidation is not known. A key to
    listen with is put behind the address `listening`.
    """

    coin: str
    kind: ContractKind
    api: str
    terms: tuple[Call, ...]
    terms_of: Callable[[Row, Sequence[Json]], Terms]
    state: tuple[Call, Call]
    agreed: tuple[str, ...]
    check: tuple[Call, ...]
    unfit: Callable[[Sequence[Json]], Iterable[str]]
    strange: Callable[[Sequence[Json]], Iterable[str]]
    listening: str

    # -- account ---------------------------------------------------------------------------

    def terms_calls(self) -> Sequence[Call]:
        """What seldom changes: the account's mode, and what positions do not tell themselves."""
        return self.terms

    def state_calls(self) -> Sequence[Call]:
        """
        Positions and money. What does not move with the mark has to agree in both.

        Only positionRisk has entry and liquidation prices, only account has the wallet.
        """
        return self.state

    def held_names(self, state: Sequence[Json]) -> frozenset[str]:
        """The contracts with an open position."""
        return names_of(state[0], "positionRisk", "symbol", "positionAmt")

    def stops_call(self, name: str) -> Call:
        """What waits in one contract."""
        return Call(self.api, "GET", "openAlgoOrders", {"symbol": name})

    def all_stops_call(self) -> Call:
        """What waits in any contract: forty times as heavy."""
        return Call(self.api, "GET", "openAlgoOrders", _NONE, weight=40)

    def stop_names(self, stops: Sequence[Json]) -> frozenset[str]:
        """The contracts in which something waits."""
        return told_in(stops, "openAlgoOrders", lambda row: row.text("symbol"))

    def snapshot_of(
        self,
        terms: Sequence[Json],
        state: Sequence[Json],
        stops: Sequence[Json],
        listed: Listed,
        taken_at_ms: int,
    ) -> AccountSnapshot:
        """The account; raises `Unreadable` where its parts are not of one moment."""
        risks, account = state
        wallets = self._essences(Row(account, "account").raw("positions"), "account.positions")
        beside = {name for name, *_ in wallets}
        positions, garbled = sort_out(
            risks,
            "positionRisk",
            lambda row: self._position(row, listed, terms, beside),
            lambda row: listed.symbol_of(row.text("symbol")),
        )
        unread = {each.symbol for each in garbled}
        seen = [
            [each for each in side if listed.symbol_of(each[0]) not in unread]
            for side in (wallets, self._essences(risks, "positionRisk"))
        ]
        if "" not in unread and seen[0] != seen[1]:
            raise Unreadable(
                "positionRisk: expected the positions of account, was changed between"
            )
        assets = rows(Row(account, "account").raw("assets"), "account.assets")
        balance = only(assets, "asset", self.coin)
        is_hedged = Row(terms[-1], "position mode").flag("dualSidePosition")
        return AccountSnapshot(
            taken_at_ms=taken_at_ms,
            position_mode=PositionMode.HEDGE if is_hedged else PositionMode.ONE_WAY,
            wallet_balance=Money(balance.number("crossWalletBalance")),
            free=Money(balance.number("availableBalance")),
            positions=positions,
            stops=tuple(stop for each in stops for stop in self._stops(each, listed, positions)),
            garbled=garbled,
        )

    def _essences(self, json: Json, where: str) -> list[tuple[str, Decimal, tuple[Decimal, ...]]]:
        """What of every open position has to agree, where it can be read."""
        if not isinstance(json, list):
            raise Unreadable(f"{where}: expected a list, was {json!r}")
        found = []
        for each in json:
            try:
                row = Row(each, where)
                name, amount = row.text("symbol"), row.number("positionAmt")
                if amount != ZERO:
                    agreed = tuple(row.number(key) for key in self.agreed)
                    found.append((name, amount, agreed))
            except Unreadable:
                continue  # what `sort_out` has said of it, or says of the other answer's row
        return sorted(found)

    def _position(
        self, row: Row, listed: Listed, answers: Sequence[Json], beside: Set[str]
    ) -> Position | NotOpen:
        name, amount = row.text("symbol"), row.number("positionAmt")
        if amount == ZERO:
            return NOT_OPEN
        terms = self.terms_of(row, answers)
        side, wallet = _side_of(row, amount), row.number("isolatedWallet")
        if terms.margin_mode is MarginMode.CROSS and wallet != ZERO:
            raise row.wrong("isolatedWallet", "0 for a cross position")
        found = Position(
            symbol=listed.symbol_of(name),
            side=side,
            quantity=Quantity(abs(amount) * self._sized(row, listed)),
            entry_price=Price(row.above_zero("entryPrice")),
            margin_mode=terms.margin_mode,
            isolated_margin=Money(wallet),
            leverage=terms.leverage,
            liquidation=liquidation_in(row, "liquidationPrice"),
        )
        if name not in beside:
            raise row.wrong("symbol", "a position that account has too, in a row that can be read")
        return found

    def _sized(self, row: Row, listed: Listed) -> Decimal:
        """What one contract of a position's row is; its worth tells whether that has changed."""
        size = self._size(row, listed)
        match self.kind:
            case ContractKind.LINEAR:
                return size
            case ContractKind.INVERSE:
                amount, price = abs(row.number("positionAmt")), row.above_zero("markPrice")
                told = abs(row.number("notionalValue"))
                require_worth(row, "notionalValue", told, amount * size / price, _SIZE_OFF_MAX)
                return size
        assert_never(self.kind)

    def _size(self, row: Row, listed: Listed) -> Decimal:
        match self.kind:
            case ContractKind.LINEAR:
                return Decimal(1)
            case ContractKind.INVERSE:
                name = row.text("symbol")
                if name not in listed.sizes:
                    raise row.wrong("symbol", "a contract that is listed")
                return listed.sizes[name]
        assert_never(self.kind)

    def _stops(
        self, orders: Json, listed: Listed, positions: tuple[Position, ...]
    ) -> tuple[StopOrder, ...]:
        """
        Stop-market orders on the mark price that wait; nothing else protects as a stop does.

        One that cannot be read is left out. Were it ours it would be missing, and placed again.
        """

        def stop(row: Row) -> list[StopOrder]:
            kind = row.raw("orderType") if row.has("orderType") else row.raw("type")
            if kind != "STOP_MARKET" or row.raw("workingType") != "MARK_PRICE":
                return []
            symbol = listed.symbol_of(row.text("symbol"))
            held = [each for each in positions if each.symbol == symbol]
            return _stop(row, symbol, held, self._size(row, listed))

        return readable(orders, "openAlgoOrders", stop)

    @property
    def margin_history(self) -> MarginHistory:
        """That of a contract's positions, by the row."""
        return MarginHistory(self.margin_call, self.margin_changes_of)

    def margin_call(self, name: str, since_ms: int) -> Call:
        """The history of margin moved into positions of a contract."""
        asked = {"symbol": name, "type": "1", "startTime": str(since_ms), "limit": "500"}
        return Call(self.api, "GET", "positionMargin/history", asked)

    def margin_changes_of(self, json: Json, listed: Listed) -> tuple[MarginChange, ...]:
        """Its rows that add, oldest first."""
        changes = (
            MarginChange(
                listed.symbol_of(row.text("symbol")),
                Money(row.above_zero("amount")),
                row.integer("time"),
                row.meaning("positionSide", _LEGS) if row.has("positionSide") else tuple(Side),
            )
            for row in rows(json, "positionMargin/history")
            if row.integer("type") == 1
        )
        return tuple(sorted(changes, key=lambda change: change.at_ms))

    # -- the account's stream --------------------------------------------------------------

    def account_calls(self) -> Sequence[Call]:
        """A key to listen with."""
        return (Call(self.api, "POST", "listenKey", _NONE),)

    def account_opening(
        self, answers: Sequence[Json], credentials: Credentials, at_ms: int
    ) -> Opening:
        """Where the account's events are pushed."""
        return Opening(self.listening + _listen_key(answers))

    def keep_calls(self, answers: Sequence[Json]) -> Sequence[Call]:
        """Keep the key alive for another hour."""
        return (Call(self.api, "PUT", "listenKey", {"listenKey": _listen_key(answers)}),)

    def account_frame(self, json: Json, listed: Listed, received_at_ms: int) -> Told:
        """What a frame is an alarm for. The venue's own orders tell of liquidations."""
        frame = Row(json, "frame")
        match frame.raw("e") if frame.has("e") else "":
            case "listenKeyExpired":
                return StreamEnded("the listen key has expired")
            case "ORDER_TRADE_UPDATE":
                order = Row(frame.raw("o"), "frame.o")
                if order.text("c").startswith("autoclose-") and order.raw("X") == "FILLED":
                    return Liquidated(
                        listed.symbol_of(order.text("s")),
                        Side.LONG if order.raw("S") == "SELL" else Side.SHORT,
                        Price(order.above_zero("ap")),
                        received_at_ms,
                    )
                return AccountChanged(order.text("c"))
            case "ACCOUNT_UPDATE" | "ALGO_UPDATE" | "ACCOUNT_CONFIG_UPDATE" | "MARGIN_CALL":
                return AccountChanged()
            case _:
                return Irrelevant()

    # -- before the start ------------------------------------------------------------------

    def check_calls(self) -> Sequence[Call]:
        """What has to be known before anything is guarded."""
        return (Call("sapi", "GET", "account/apiRestrictions", _NONE), *self.check)

    def refusals(self, jsons: Sequence[Json]) -> tuple[str, ...]:
        """Why this key or account cannot be guarded, a sentence each."""
        key, *answers = jsons
        return (*_of_key(Row(key, "apiRestrictions")), *self.unfit(answers))

    def unsupported(self, jsons: Sequence[Json]) -> tuple[str, ...]:
        """What makes it an account whose liquidation is not known, a sentence each."""
        key, *answers = jsons
        return (*_of_kind(Row(key, "apiRestrictions")), *self.strange(answers))

    def unproven(self, jsons: Sequence[Json]) -> tuple[str, ...]:
        """Nothing: the venue tells what a key may do."""
        return ()


def _side_of(row: Row, amount: Decimal) -> Side:
    """By the sign of the amount; in hedge mode a leg has a name, which has to fit."""
    side = Side.LONG if amount > ZERO else Side.SHORT
    if row.raw("positionSide") not in ("BOTH", side.name):
        raise row.wrong("positionSide", f"BOTH or {side.name}, for {amount:f}")
    return side


def _stop(row: Row, symbol: str, held: Sequence[Position], size: Decimal) -> list[StopOrder]:
    """
    The stop; none if it would close the whole of nothing, or grow a leg of hedge mode.

    One that closes all has the size of what it would close. One of a leg can only reduce it.
    """
    closes_all = row.flag("closePosition") if row.has("closePosition") else False
    side = row.meaning("side", _CLOSES)
    leg = row.raw("positionSide") if row.has("positionSide") else "BOTH"
    if leg not in ("BOTH", side.name):
        return []
    sizes = [each.quantity for each in held if each.side == side]
    if closes_all and not sizes:
        return []
    return [
        StopOrder(
            symbol=symbol,
            side=side,
            client_id=row.text("clientAlgoId"),
            quantity=sizes[0] if closes_all else Quantity(row.above_zero("quantity") * size),
            trigger_price=Price(row.above_zero("triggerPrice")),
            reduce_only=closes_all or leg == side.name or row.flag("reduceOnly"),
        )
    ]


def _listen_key(answers: Sequence[Json]) -> str:
    return Row(answers[0], "listenKey").text("listenKey")


def _of_key(allowed: Row) -> list[str]:
    """What of a key's rights is too much, or too little."""
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
    return found


def _of_kind(allowed: Row) -> list[str]:
    portfolio = "enablePortfolioMarginTrading"
    if allowed.has(portfolio) and allowed.flag(portfolio):
        return ["account: portfolio margin is not supported: more than futures back it"]
    return []
