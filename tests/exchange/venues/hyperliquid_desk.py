"""
Hyperliquid's side of a stage. Shapes of answers: `documented` (info and exchange endpoints, 2026)
and `recorded` by the venue's own client library; figures are our own. Every action is held to its
signature by the venue's formula, written here anew.
"""

import json
from decimal import Decimal
from typing import Any

import coincurve
from ccxt.base.exchange import Exchange
from ccxt.static_dependencies import keccak

from bot.clock import system_wall_ms
from bot.core.model import MarginMode
from bot.exchange.live.dialect import Dialect
from bot.exchange.venues.dialects import DIALECTS
from bot.exchange.venues.hyperliquid_account import cloid_of
from tests.exchange.venues.nicknames import own
from tests.exchange.venues.stage import HEX_KEYS, Asked, Book, D, Said


def _keccak(data: bytes) -> bytes:
    return bytes(keccak.SHA3(data))


def _address(key: coincurve.PublicKey) -> str:
    return "0x" + _keccak(key.format(compressed=False)[1:])[-20:].hex()


ACCOUNT = HEX_KEYS.key.get_secret_value().lower()
AGENT = _address(
    coincurve.PrivateKey(bytes.fromhex(HEX_KEYS.secret.get_secret_value()[2:])).public_key
)

OLD = {"szDecimals": 2, "name": "OLD", "maxLeverage": 3, "marginTableId": 3, "isDelisted": True}
COIN = {"szDecimals": 4, "name": "BTC", "maxLeverage": 125, "marginTableId": 56}
ETH = COIN | {"name": "ETH", "maxLeverage": 25, "marginTableId": 25}
META: dict[str, Any] = {
    "universe": [OLD, COIN, ETH],
    "marginTables": [
        [
            56,
            {
                "description": "tiered 125x",
                "marginTiers": [
                    {"lowerBound": "0.0", "maxLeverage": 125},
                    {"lowerBound": "1000000.0", "maxLeverage": 100},
                ],
            },
        ]
    ],
    "collateralToken": 0,
}
BTC_NUMBER = 1
BILL = {"fundingRate": "0.00012", "nextFundingTime": 1_900_000_800_000}
BILLS = [
    ["BTC", [["BinPerp", BILL | {"fundingIntervalHours": 8}], ["HlPerp", BILL]]],
    ["ETH", [["BinPerp", None], ["HlPerp", BILL | {"fundingIntervalHours": 1}]]],
]


def done(kind: str, *statuses: Any) -> Said:
    """The envelope of what was taken, which may hold a refusal."""
    response = {"type": kind} | ({"data": {"statuses": [*statuses]}} if statuses else {})
    return Said(200, {"status": "ok", "response": response})


def failed(text: str) -> Said:
    """The envelope of failure of a whole request, with HTTP 200."""
    return Said(200, {"status": "err", "response": text})


def action_hash(action: Any, nonce: int, vault: bytes | None, expires: int | None) -> bytes:
    """Of what is signed: `documented`, and held to others' vectors by a test."""
    packed = bytes(Exchange.packb(action)) + nonce.to_bytes(8, "big")
    packed += b"\x00" if vault is None else b"\x01" + vault
    packed += b"" if expires is None else b"\x00" + expires.to_bytes(8, "big")
    return _keccak(packed)


def signer_of(body: Any) -> str:
    """By whom an action is signed: `documented` (EIP-712 of a phantom that has its hash)."""
    domain = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    parts = (domain, b"Exchange", b"1")
    told = [_keccak(part) for part in parts] + [(1337).to_bytes(32, "big"), bytes(32)]
    agent = _keccak(b"Agent(string source,bytes32 connectionId)") + _keccak(b"a")
    hashed = action_hash(body["action"], body["nonce"], None, body["expiresAfter"])
    digest = _keccak(b"\x19\x01" + _keccak(b"".join(told)) + _keccak(agent + hashed))
    sign = body["signature"]
    raw = int(sign["r"], 16).to_bytes(32, "big") + int(sign["s"], 16).to_bytes(32, "big")
    key = coincurve.PublicKey.from_signature_and_message(
        raw + bytes([sign["v"] - 27]), digest, hasher=None
    )
    return _address(key)


class HyperliquidDesk:
    """Implements `Desk`."""

    def __init__(self, book: Book | None = None) -> None:
        self.book = book or Book()
        self.not_known = failed("the request may have been handled")
        self.code_unheard_of = done("order", {"error": "Order is unheard of. asset=1"})
        self.tells_of_keys, self.keeps_margin = True, False
        self.proves = frozenset({"would trigger at once", "wrong side"})
        self.fills: list[Any] = []

    @property
    def dialect(self) -> Dialect:
        return DIALECTS["hyperliquid"]

    def is_write(self, asked: Asked) -> bool:
        return asked.path == "/exchange"

    def answer(self, asked: Asked) -> Said:
        if self.is_write(asked):
            if (signer := signer_of(asked.body)) != AGENT:
                return failed(f"User or API Wallet {signer} does not exist.")
            assert asked.body["expiresAfter"] - asked.body["nonce"] == 3_000
            return self._write(asked.body["action"])
        return self._read(asked.body)

    def _read(self, asked: Any) -> Said:
        public = self._public(asked["type"])
        if public is not None:
            return Said(200, public)
        if asked["type"] == "userRole":
            assert asked["user"] == AGENT
            return Said(200, {"role": "agent", "data": {"user": ACCOUNT}})
        assert asked["user"] == ACCOUNT
        match asked["type"]:
            case "clearinghouseState":
                return Said(200, self._state())
            case "frontendOpenOrders":
                waiting = [each for each in self.book.stops.values() if each["status"] == "open"]
                return Said(200, [each["order"] for each in waiting])
            case "orderStatus":
                return Said(200, self._status(asked["oid"]))
            case "userFills":
                return Said(200, self.fills)
            case "userFees":
                return Said(200, {"userCrossRate": "0.0005", "userAddRate": "0.0002"})
            case "activeAssetData":
                leverage = {"type": "cross", "value": 20}
                return Said(200, {"user": ACCOUNT, "coin": asked["coin"], "leverage": leverage})
            case "userAbstraction":
                return Said(200, "disabled")
            case _:
                return Said(422, "Failed to deserialize the JSON body into the target type")

    def _public(self, kind: str) -> Any:
        match kind:
            case "exchangeStatus":
                return {"specialStatuses": None, "time": system_wall_ms()}
            case "meta":
                return META
            case "metaAndAssetCtxs":
                one = {"funding": "0.0001", "oraclePx": "59990.0", "midPx": None}
                return [META, [one | {"markPx": str(self.book.mark)}] * len(META["universe"])]
            case "predictedFundings":
                return BILLS
            case _:
                return None

    def _write(self, action: Any) -> Said:
        match action["type"]:
            case "updateIsolatedMargin":
                return self._margin(action)
            case "cancelByCloid":
                ((cancel,),) = [action["cancels"]]
                assert cancel["asset"] == BTC_NUMBER
                return self._cancel(cancel["cloid"])
            case "order":
                ((order,),) = [action["orders"]]
                assert (action["grouping"], order["a"]) == ("na", BTC_NUMBER)
                return self._order(order)
            case _:
                return Said(422, "Failed to deserialize the JSON body into the target type")

    # -- by hand ---------------------------------------------------------------------------

    def hand_stop(self, client_id: str, trigger: Decimal, quantity: Decimal) -> None:
        is_long = self.book.quantity > 0
        self._rest(
            {
                "b": not is_long,
                "p": str(trigger * (D("0.9") if is_long else D("1.1"))),
                "s": str(quantity),
                "r": True,
                "t": {"trigger": {"isMarket": True, "triggerPx": str(trigger), "tpsl": "sl"}},
                "c": cloid_of(own(client_id)),
            }
        )

    def resting(self) -> list[Decimal]:
        stops = self.book.stops.values()
        return [D(each["order"]["triggerPx"]) for each in stops if each["status"] == "open"]

    def trigger(self, client_id: str, price: Decimal) -> None:
        self._fill(self.book.stops[cloid_of(own(client_id))], price)

    def greet(self, text: str) -> list[str]:
        asked = json.loads(text)
        if asked["method"] == "ping":
            return [json.dumps({"channel": "pong"})]
        return [json.dumps({"channel": "subscriptionResponse", "data": asked})]

    def changed(self) -> str:
        order = {"coin": "BTC", "side": "A", "limitPx": "59970.0", "sz": "0.0", "oid": 1}
        row = {"order": order, "status": "filled", "statusTimestamp": system_wall_ms()}
        return json.dumps({"channel": "orderUpdates", "data": [row]})

    def liquidated(self, price: Decimal) -> str:
        hit = {"liquidatedUser": ACCOUNT, "markPx": str(price), "method": "market"}
        fill = {"coin": "BTC", "px": str(price), "sz": "0.1", "side": "A", "dir": "Close Long"}
        data = {"user": ACCOUNT, "fills": [fill | {"oid": 7, "liquidation": hit}]}
        return json.dumps({"channel": "userFills", "data": data})

    def marked(self, price: Decimal) -> str:
        context = {"funding": "0.0001", "markPx": str(price), "oraclePx": "1", "midPx": None}
        return json.dumps({"channel": "activeAssetCtx", "data": {"coin": "BTC", "ctx": context}})

    def ended(self) -> str:
        return json.dumps({"channel": "error", "data": "Invalid subscription"})

    # -- what the account has --------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        book = self.book
        won = book.quantity * (book.mark - book.entry)
        is_cross = book.margin_mode is MarginMode.CROSS
        leverage: dict[str, Any] = {"type": "cross" if is_cross else "isolated", "value": 10}
        if not is_cross:
            leverage["rawUsd"] = str(book.margin - book.quantity * book.entry)
        position = {
            "coin": "BTC",
            "szi": str(book.quantity),
            "leverage": leverage,
            "entryPx": str(book.entry),
            "positionValue": str(abs(book.quantity) * book.mark),
            "unrealizedPnl": str(won),
            "returnOnEquity": "0.0",
            "liquidationPx": book.liquidation,
            "marginUsed": str(book.margin + won),
            "maxLeverage": 125,
            "cumFunding": {"allTime": "0.0", "sinceOpen": "0.0", "sinceChange": "0.0"},
        }
        worth = {"accountValue": str(book.free + (won if is_cross else D(0)))}
        return {
            "marginSummary": {"accountValue": str(book.free + book.margin + won)},
            "crossMarginSummary": worth | {"totalNtlPos": "0.0", "totalMarginUsed": "0.0"},
            "crossMaintenanceMarginUsed": "0.0",
            "withdrawable": str(book.free),
            "assetPositions": [{"type": "oneWay", "position": position}] if book.quantity else [],
            "time": system_wall_ms(),
        }

    def _status(self, cloid: str) -> dict[str, Any]:
        found = (self.book.stops | self.book.orders).get(cloid)
        if found is None:
            return {"status": "unknownOid"}
        return {"status": "order", "order": found | {"statusTimestamp": system_wall_ms()}}

    # -- what changes it -------------------------------------------------------------------

    def _margin(self, action: Any) -> Said:
        assert action["asset"] == BTC_NUMBER
        amount = D(action["ntli"]) / 1_000_000
        if self.book.margin_mode is MarginMode.CROSS or amount > self.book.free:
            return failed("Insufficient margin for isolated position")
        assert action["isBuy"] is (self.book.quantity > 0)
        self.book.free -= amount
        self.book.margin += amount
        return done("default")

    def _order(self, order: Any) -> Said:
        sells = not order["b"]
        if not order["r"] or sells is not (self.book.quantity > 0):
            return done("order", {"error": "Reduce only order would increase position. asset=1"})
        if "trigger" in order["t"]:
            trigger = order["t"]["trigger"]
            assert (trigger["isMarket"], trigger["tpsl"]) == (True, "sl")
            at = D(trigger["triggerPx"])
            if at >= self.book.mark if sells else at <= self.book.mark:
                return done("order", {"error": "Invalid TP/SL price. asset=1"})
            row = self._rest(order)
            return done("order", {"resting": {"oid": row["oid"], "cloid": row["cloid"]}})
        assert order["t"] == {"limit": {"tif": "Ioc"}}
        row = self._row(order)
        found = self.book.orders[row["cloid"]] = {"order": row, "status": "iocCancelRejected"}
        price, met = D(order["p"]), D(59_970)
        if price > met if sells else price < D(60_030):
            text = "Order could not immediately match against any resting orders. asset=1"
            return done("order", {"error": text})
        self._fill(found, met)
        filled = {"totalSz": order["s"], "avgPx": str(met), "oid": row["oid"]}
        return done("order", {"filled": filled | {"cloid": row["cloid"]}})

    def _rest(self, order: Any) -> dict[str, Any]:
        row = self._row(order)
        self.book.stops[row["cloid"]] = {"order": row, "status": "open"}
        return row

    def _cancel(self, cloid: str) -> Said:
        stop = self.book.stops.get(cloid)
        if stop is None or stop["status"] != "open":
            text = "Order was never placed, already canceled, or filled. asset=1"
            return done("cancel", {"error": text})
        stop["status"] = "canceled"
        return done("cancel", "success")

    def _fill(self, found: Any, price: Decimal) -> None:
        row = found["order"]
        quantity = D(row["sz"])
        self.book.quantity -= quantity.copy_sign(self.book.quantity)
        found["status"] = "filled"
        half = quantity / 2
        for each in (half, quantity - half):
            fill = {"coin": "BTC", "px": str(price), "sz": str(each), "side": row["side"]}
            self.fills.insert(0, fill | {"oid": row["oid"], "time": system_wall_ms()})
        row["sz"] = "0.0"

    def _row(self, order: Any) -> dict[str, Any]:
        trigger = order["t"].get("trigger")
        way = "above" if order["b"] else "below"
        return {
            "coin": "BTC",
            "side": "B" if order["b"] else "A",
            "limitPx": order["p"],
            "sz": order["s"],
            "oid": next(self.book.numbers),
            "timestamp": system_wall_ms(),
            "triggerCondition": f"Price {way} {trigger['triggerPx']}" if trigger else "N/A",
            "isTrigger": trigger is not None,
            "triggerPx": trigger["triggerPx"] if trigger else "0.0",
            "children": [],
            "isPositionTpsl": False,
            "reduceOnly": order["r"],
            "orderType": "Stop Market" if trigger else "Limit",
            "origSz": order["s"],
            "tif": None if trigger else "Ioc",
            "cloid": order["c"],
        }
