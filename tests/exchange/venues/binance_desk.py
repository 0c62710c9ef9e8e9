"""
The side of a stage of either of Binance's futures. Shapes of answers: `documented` (the venue's
manuals), those of a COIN-M position `recorded` (a comment in ccxt's source); figures are our own,
COIN-M's among them: its contracts are of a face value that suits the contract of all venues. The
whole exchange, which liquidates, is in `bot.exchange.paper.wire`: this one only answers, so that
one contract can be asked of every venue.
"""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from bot.clock import system_wall_ms
from bot.core.model import MarginMode, PositionMode
from bot.exchange.live.dialect import Dialect
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.venues.stage import Asked, Book, D, Said

NEVER_MS = 4_133_404_800_000
NEXT_BILL_MS = 1_900_000_800_000


@dataclass(frozen=True, slots=True)
class Product:
    """What differs between the two."""

    venue: str
    quote: str
    ending: str
    """Of the venue's ids, behind base and quote."""

    size: Decimal
    """Of what it counts as one, in our quantities."""

    lot: str
    """The least that it takes, and its step, in what it counts."""

    cap: str
    """What leverageBracket calls the upper edge of a tier."""

    @property
    def coin(self) -> str:
        """What bitcoin's contract pays in."""
        return self.margin("BTC")

    @property
    def name(self) -> str:
        """The contract of bitcoin."""
        return f"BTC{self.quote}{self.ending}"

    @property
    def pays_in_coins(self) -> bool:
        """Whether margin and profit are in the base."""
        return self.quote == "USD"

    def margin(self, base: str) -> str:
        """What a contract pays in."""
        return base if self.pays_in_coins else self.quote

    def contract(self, base: str) -> dict[str, Any]:
        """A row of exchangeInfo: sizes and steps are of what the venue counts."""
        lot = {"minQty": self.lot, "maxQty": "1000", "stepSize": self.lot}
        row = {
            "symbol": f"{base}{self.quote}{self.ending}",
            "contractType": "PERPETUAL",
            "deliveryDate": NEVER_MS,
            "baseAsset": base,
            "quoteAsset": self.quote,
            "marginAsset": self.margin(base),
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.1"},
                {"filterType": "LOT_SIZE"} | lot,
                {"filterType": "MARKET_LOT_SIZE"} | lot,
            ],
        }
        if self.pays_in_coins:
            return row | {"contractStatus": "TRADING", "contractSize": float(self.size)}
        return row | {"status": "TRADING"}

    def tiers(self) -> list[dict[str, Any]]:
        """The brackets of leverageBracket."""
        first = {"bracket": 1, "initialLeverage": 125, self.cap: 1000000}
        second = first | {"bracket": 2, self.cap: 2000000}
        return [
            second | {"maintMarginRatio": 0.005, "cum": 1000},
            first | {"maintMarginRatio": 0.004, "cum": 0},
        ]


USD_M = Product("binanceusdm", "USDT", "", D(1), "0.0001", "notionalCap")
COIN_M = Product("binancecoinm", "USD", "_PERP", D("0.0001"), "1", "qtyCap")


def refused(code: int, msg: str = "no") -> Said:
    """An error of the venue."""
    return Said(400, {"code": code, "msg": msg})


def coinm_desk(book: Book) -> "BinanceDesk":
    """COIN-M's."""
    return BinanceDesk(book, COIN_M)


class BinanceDesk:
    """Implements `Desk`."""

    def __init__(self, book: Book | None = None, product: Product = USD_M) -> None:
        self.book = book or Book()
        self.product = product
        self._began_with = self.book.margin
        self.not_known = refused(-1006, "Execution status unknown.")
        self.code_unheard_of = refused(-9999)
        self.proves = frozenset({"too much margin", "would trigger at once", "wrong side"})
        self.tells_of_keys = True
        self.keeps_margin = True

    @property
    def dialect(self) -> Dialect:
        return DIALECTS[self.product.venue]

    def is_write(self, asked: Asked) -> bool:
        return asked.method != "GET" and not asked.path.endswith("/listenKey")

    def answer(self, asked: Asked) -> Said:
        given = dict(asked.query)
        if isinstance(asked.body, str):
            given |= dict(parse_qsl(asked.body))
        name = asked.path.partition("/v")[2].partition("/")[2]
        if asked.method == "GET":
            return self._read(name, given)
        return self._write(asked.method, name, given)

    def _read(self, name: str, given: dict[str, str]) -> Said:
        match name:
            case "time":
                return Said(200, {"serverTime": system_wall_ms()})
            case "exchangeInfo":
                return Said(
                    200, {"symbols": [self.product.contract(each) for each in ("BTC", "ETH")]}
                )
            case "leverageBracket":
                return Said(200, [{"symbol": given["symbol"], "brackets": self.product.tiers()}])
            case "commissionRate":
                fees = {"makerCommissionRate": "0.0002", "takerCommissionRate": "0.0005"}
                return Said(200, {"symbol": given["symbol"]} | fees)
            case "fundingInfo":
                return Said(200, [{"symbol": "OTHERUSDT", "fundingIntervalHours": 4}])
            case "premiumIndex":
                return Said(200, [self._premium()])
            case _:
                return self._private(name, given)

    def _private(self, name: str, given: dict[str, str]) -> Said:
        match name:
            case "account/apiRestrictions":
                return Said(200, {"enableFutures": True, "enableWithdrawals": False})
            case "accountConfig" | "positionSide/dual":
                return Said(200, self._config())
            case "symbolConfig":
                return Said(200, [self._terms()])
            case "positionRisk":
                return Said(200, [self._leg()])
            case "account":
                return Said(200, self._account())
            case "openAlgoOrders":
                return Said(200, self._waiting())
            case "algoOrder":
                return self._found(self.book.stops, "clientAlgoId", given["clientAlgoId"])
            case "order":
                wanted = given["origClientOrderId"]
                return self._found(self.book.orders, "clientOrderId", wanted)
            case "positionMargin/history":
                return Said(200, [each for each in self.history if each["type"] == 1])
            case _:
                return refused(-5000, name)

    def _write(self, method: str, name: str, given: dict[str, str]) -> Said:
        match method, name:
            case "POST", "listenKey":
                return Said(200, {"listenKey": "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61"})
            case "POST", _ if (no := self._refused_leg(given)) is not None:
                return no
            case "POST", "positionMargin":
                return self._margin(given)
            case "POST", "algoOrder":
                return self._stop(given)
            case "DELETE", "algoOrder":
                return self._cancel(given["clientAlgoId"])
            case "POST", "order":
                return self._close(given)
            case _:
                return refused(-5000, name)

    # -- by hand ---------------------------------------------------------------------------

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        self._rest(
            {
                "symbol": self.product.name,
                "side": "SELL" if self.book.quantity > 0 else "BUY",
                "type": "STOP_MARKET",
                "quantity": f"{quantity / self.product.size:f}",
                "triggerPrice": str(trigger),
                "workingType": "MARK_PRICE",
                "positionSide": self._leg_name,
                "reduceOnly": "true" if self._leg_name == "BOTH" else "false",
                "clientAlgoId": client_id,
            }
        )

    def resting(self) -> list[Decimal]:
        return [D(each["triggerPrice"]) for each in self._waiting()]

    def trigger(self, client_id: str, price: Decimal) -> None:
        (stop,) = [each for each in self.book.stops.values() if each["clientAlgoId"] == client_id]
        self._move(D(stop["quantity"]) * self.product.size)
        done = {"algoStatus": "FINISHED", "actualQty": stop["quantity"]}
        stop |= done | {"actualPrice": str(price)}

    def greet(self, text: str) -> list[str]:
        return []

    def changed(self) -> str:
        return json.dumps({"e": "ACCOUNT_UPDATE", "E": 1, "a": {"m": "ORDER", "P": []}})

    def liquidated(self, price: Decimal) -> str:
        order = {"s": self.product.name, "c": "autoclose-1", "S": "SELL", "X": "FILLED"}
        return json.dumps({"e": "ORDER_TRADE_UPDATE", "o": order | {"ap": str(price)}})

    def marked(self, price: Decimal) -> str:
        mark = {"e": "markPriceUpdate", "s": self.product.name, "p": str(price)}
        bill = {"r": "0.0001", "T": NEXT_BILL_MS}
        return json.dumps(
            {"stream": f"{self.product.name.lower()}@markPrice@1s", "data": mark | bill}
        )

    def ended(self) -> str:
        return json.dumps({"e": "listenKeyExpired", "E": 1})

    # -- what the account has --------------------------------------------------------------

    @property
    def history(self) -> list[dict[str, Any]]:
        """Margin that was added: as much as the position has beyond what it began with."""
        added = self.book.margin - self._began_with
        row = {
            "symbol": self.product.name,
            "type": 1,
            "amount": str(added),
            "asset": self.product.coin,
        }
        return [row | {"time": system_wall_ms()}] if added > 0 else []

    @property
    def _is_cross(self) -> bool:
        return self.book.margin_mode is MarginMode.CROSS

    @property
    def _leg_name(self) -> str:
        if self.book.position_mode is PositionMode.ONE_WAY:
            return "BOTH"
        return "LONG" if self.book.quantity > 0 else "SHORT"

    def _refused_leg(self, given: dict[str, str]) -> Said | None:
        """What an order or margin is refused for that does not fit the account's mode."""
        if given.get("positionSide", "BOTH") != self._leg_name:
            return refused(-4061, "Order's position side does not match user's setting.")
        if "reduceOnly" in given and self._leg_name != "BOTH":
            return refused(-1106, "Parameter 'reduceonly' sent when not required.")
        return None

    def _premium(self) -> dict[str, Any]:
        bill = {"lastFundingRate": "0.0001", "nextFundingTime": NEXT_BILL_MS}
        return {"symbol": self.product.name, "markPrice": str(self.book.mark)} | bill

    def _config(self) -> dict[str, Any]:
        is_hedged = self.book.position_mode is PositionMode.HEDGE
        return {"dualSidePosition": is_hedged, "multiAssetsMargin": False, "canTrade": True}

    def _terms(self) -> dict[str, Any]:
        mode = "CROSSED" if self._is_cross else "ISOLATED"
        terms = {"symbol": self.product.name, "marginType": mode, "leverage": 10}
        return terms | {"isAutoAddMargin": False}

    def _leg(self) -> dict[str, Any]:
        wallet = "0" if self._is_cross or not self.book.quantity else str(self.book.margin)
        value = self.book.quantity / self.book.mark
        in_coin = {
            "marginType": "cross" if self._is_cross else "isolated",
            "isAutoAddMargin": "false",
            "leverage": "10",
            "notionalValue": f"{value:.16f}",
        }
        return (in_coin if self.product.pays_in_coins else {}) | {
            "symbol": self.product.name,
            "positionSide": self._leg_name,
            "positionAmt": f"{self.book.quantity / self.product.size:f}",
            "entryPrice": str(self.book.entry),
            "markPrice": str(self.book.mark),
            "liquidationPrice": self.book.liquidation,
            "isolatedWallet": wallet,
        }

    def _account(self) -> dict[str, Any]:
        money = {"asset": self.product.coin, "crossWalletBalance": str(self.book.free)}
        asset = money | {"availableBalance": str(self.book.free)}
        return {"assets": [asset], "positions": [self._leg()], "canTrade": True}

    def _waiting(self) -> list[Any]:
        return [each for each in self.book.stops.values() if each["algoStatus"] == "NEW"]

    def _found(self, among: dict[str, Any], key: str, wanted: str) -> Said:
        for each in among.values():
            if each[key] == wanted:
                return Said(200, each)
        return refused(-2013, "Order does not exist.")

    # -- what changes it -------------------------------------------------------------------

    def _margin(self, given: dict[str, str]) -> Said:
        amount = D(given["amount"])
        if amount > self.book.free:
            return refused(-2019, "Margin is insufficient.")
        self.book.free -= amount
        self.book.margin += amount
        return Said(200, {"code": 200, "msg": "ok", "amount": float(amount), "type": 1})

    def _stop(self, given: dict[str, str]) -> Said:
        price, sells = D(given["triggerPrice"]), given["side"] == "SELL"
        if price >= self.book.mark if sells else price <= self.book.mark:
            return refused(-2021, "Order would immediately trigger.")
        return Said(200, self._rest(given))

    def _rest(self, given: dict[str, str]) -> dict[str, Any]:
        number = next(self.book.numbers) % 10**9
        names = ("symbol", "side", "quantity", "triggerPrice", "workingType", "clientAlgoId")
        row: dict[str, Any] = {name: given[name] for name in names}
        row |= {"algoId": number, "orderType": given["type"], "algoStatus": "NEW"}
        row |= {"reduceOnly": given.get("reduceOnly") == "true", "closePosition": False}
        row |= {"positionSide": given.get("positionSide", "BOTH")}
        self.book.stops[str(number)] = row
        return row

    def _cancel(self, client_id: str) -> Said:
        for stop in self._waiting():
            if stop["clientAlgoId"] == client_id:
                stop |= {"algoStatus": "CANCELED"}
                told = {"algoId": stop["algoId"], "clientAlgoId": client_id}
                return Said(200, told | {"code": "200", "msg": "success"})
        return refused(-2011, "Unknown order sent.")

    def _close(self, given: dict[str, str]) -> Said:
        sells = given["side"] == "SELL"
        if sells is not (self.book.quantity > 0):
            return refused(-2022, "ReduceOnly Order is rejected.")
        limit = D(given.get("price", "0"))
        fills = limit == 0 or (limit <= D(59_970) if sells else limit >= D(60_030))
        quantity = given["quantity"] if fills else "0"
        self._move(D(quantity) * self.product.size)
        number = next(self.book.numbers) % 10**9
        order = {
            "orderId": number,
            "clientOrderId": given["newClientOrderId"],
            "symbol": given["symbol"],
            "side": given["side"],
            "status": "FILLED" if fills else "EXPIRED",
            "executedQty": quantity,
            "avgPrice": "59970" if fills else "0.0",
        }
        self.book.orders[str(number)] = order
        return Said(200, order)

    def _move(self, closed: Decimal) -> None:
        self.book.quantity -= closed.copy_sign(self.book.quantity)
