"""
ApeX Omni's side of a stage, which is read alone. Shapes of answers: `documented` (API v3), within
the envelope that was `recorded`. Figures are our own.
"""

import base64
import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from bot.clock import system_wall_ms
from bot.exchange.live.dialect import Dialect
from bot.exchange.venues.dialects import DIALECTS
from tests.exchange.venues.stage import KEYS, Asked, Book, D, Said

STEPS = {
    "positionSteps": ["0", "1000000"],
    "imrSteps": ["0.01", "0.02"],
    "mmrSteps": ["0.004", "0.005"],
}
CONTRACT = {
    "symbol": "BTC-USDT",
    "crossSymbolName": "BTCUSDT",
    "baseTokenId": "BTC",
    "settleAssetId": "USDT",
    "tickSize": "0.1",
    "stepSize": "0.0001",
    "minOrderSize": "0.0001",
    "maxOrderSize": "50",
    "initialMarginRate": "0.01",
    "maintenanceMarginRate": "0.005",
    "defaultInitialMarginRate": "0.05",
    "baselinePositionValue": "50000.0000",
    "incrementalPositionValue": "50000.0000",
    "incrementalInitialMarginRate": "0.00250",
    "incrementalMaintenanceMarginRate": "0.00100",
    "maxMaintenanceMarginRate": "0.5000",
    "maxPositionValue": "5000000.0000",
    "enableTrade": True,
    "riskLimitConfig": STEPS,
}
ETH = CONTRACT | {"symbol": "ETH-USDT", "crossSymbolName": "ETHUSDT", "baseTokenId": "ETH"}


def done(data: Any) -> Said:
    """The envelope of success."""
    return Said(200, {"data": data, "timeCost": "102626666"})


def failed(code: int, key: str = "SOMETHING") -> Said:
    """The envelope of failure, with HTTP 200."""
    return Said(200, {"code": code, "msg": "no", "key": key, "detail": {}})


class ApexDesk:
    """Implements `Desk`."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.not_known = failed(500, "INTERNAL")
        self.code_unheard_of = failed(59_999)
        self.tells_of_keys = self.keeps_margin = False
        self.proves = frozenset[str]()

    @property
    def dialect(self) -> Dialect:
        return DIALECTS["apex"]

    def is_write(self, asked: Asked) -> bool:
        return asked.method != "GET"

    def answer(self, asked: Asked) -> Said:
        path = asked.path.removeprefix("/api/v3/")
        match path:
            case "time":
                return done({"time": system_wall_ms()})
            case "symbols":
                return done({"contractConfig": {"perpetualContract": [CONTRACT, ETH]}})
            case "ticker":
                return done([self._ticker(asked.query["symbol"])])
            case _ if not is_signed(asked):
                return failed(20_006)
            case "account":
                return done(self._account())
            case "account-balance":
                return done(self._worth())
            case "open-orders":
                return done(list(self.book.stops.values()))
            case "order-by-client-order-id":
                return failed(20_016)
            case _:
                return failed(404)

    # -- by hand ---------------------------------------------------------------------------

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        number = str(next(self.book.numbers))
        self.book.stops[number] = {
            "id": number,
            "clientOrderId": client_id,
            "symbol": "BTC-USDT",
            "side": "SELL" if self.book.quantity > 0 else "BUY",
            "type": "STOP_MARKET",
            "triggerPrice": str(trigger),
            "triggerPriceType": "INDEX",
            "size": str(quantity),
            "reduceOnly": True,
            "status": "UNTRIGGERED",
        }

    def resting(self) -> list[Decimal]:
        return [D(each["triggerPrice"]) for each in self.book.stops.values()]

    def trigger(self, client_id: str, price: Decimal) -> None:
        raise NotImplementedError("nothing is written here")

    def greet(self, text: str) -> list[str]:
        asked = json.loads(text)
        if asked["op"] == "ping":
            return [json.dumps({"op": "pong", "args": asked["args"]})]
        if asked["op"] == "login" and not _is_login(json.loads(asked["args"][0])):
            return [self.ended()]
        return [json.dumps({"success": True, "ret_msg": "", "request": asked})]

    def changed(self) -> str:
        rows = [{"symbol": "BTC-USDT", "side": "LONG", "size": "0.09", "fundingFee": "-2.09"}]
        told = {"type": "delta", "topic": "ws_zk_accounts_v3", "contents": {"positions": rows}}
        return json.dumps(told)

    def liquidated(self, price: Decimal) -> None:
        return None

    def marked(self, price: Decimal) -> str:
        data = self._ticker("BTCUSDT") | {"indexPrice": str(price), "oraclePrice": "1.000002"}
        return json.dumps({"topic": "instrumentInfo.H.BTCUSDT", "type": "delta", "data": data})

    def ended(self) -> str:
        return json.dumps({"success": False, "ret_msg": "login authority err", "conn_id": "x"})

    # -- what the account has --------------------------------------------------------------

    def _ticker(self, name: str) -> dict[str, str]:
        return {
            "symbol": name,
            "lastPrice": "1",
            "markPrice": "2",
            "indexPrice": str(self.book.mark),
            "fundingRate": "0.0003",
            "predictedFundingRate": "0.0001",
            "nextFundingTime": "2030-03-17T18:00:00Z",
        }

    def _account(self) -> dict[str, Any]:
        book = self.book
        side = "LONG" if book.quantity > 0 else "SHORT"
        other = "SHORT" if side == "LONG" else "LONG"
        row = {
            "symbol": "BTC-USDT",
            "side": side,
            "size": str(abs(book.quantity)),
            "entryPrice": str(book.entry),
            "customInitialMarginRate": "0.1",
            "lightNumbers": "",
        }
        flat = row | {"side": other, "size": "0.000", "entryPrice": "0.00"}
        none = {"availableAmount": "0.000000", "token": "USDT"}
        return {
            "id": "3505225848",
            "contractAccount": {"takerFeeRate": "0.00050", "status": "NORMAL"},
            "contractWallets": [
                {"balance": str(book.free), "asset": "USDT"},
                {"balance": "0.000", "asset": "ETH"},
            ],
            "experienceMoney": [none],
            "positions": [flat, row],
        }

    def _worth(self) -> dict[str, Any]:
        book = self.book
        won = book.quantity * (book.mark - book.entry)
        return {
            "totalEquityValue": str(book.free + won),
            "availableBalance": str(book.free),
            "initialMargin": "0",
            "maintenanceMargin": "0",
            "symbolToOraclePrice": {"BTC-USDT": {"oraclePrice": str(book.mark)}},
        }


def is_signed(asked: Asked) -> bool:
    """Whether the signature is that of the venue's page, over what came."""
    headers = {name.lower(): text for name, text in asked.headers.items()}
    if headers.get("apex-passphrase") != KEYS.passphrase.get_secret_value():
        return False
    path = asked.path + (f"?{urlencode(asked.query)}" if asked.query else "")
    return headers["apex-signature"] == _hmac(headers["apex-timestamp"] + asked.method + path)


def _is_login(named: Any) -> bool:
    assert abs(int(named["timestamp"]) - system_wall_ms()) < 5_000
    plain = f"{named['timestamp']}{named['httpMethod']}{named['requestPath']}"
    return bool(named["signature"] == _hmac(plain))


def _hmac(plain: str) -> str:
    key = base64.b64encode(KEYS.secret.get_secret_value().encode())
    return base64.b64encode(hmac.new(key, plain.encode(), hashlib.sha256).digest()).decode()
