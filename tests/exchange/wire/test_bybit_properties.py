"""Whatever is traded in the second dialect: executions, streams and reads tell the same."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from bot.core.units import Money, Price
from bot.exchange.paper.prices import Prices
from bot.exchange.paper.wire.bybit.routes import PRIVATE, PUBLIC, answer
from bot.exchange.paper.wire.exchange import WireExchange
from bot.exchange.paper.wire.request import Request
from bot.exchange.paper.wire.sources import ByHand
from tests.exchange.wire.build import BTC, DEPOSIT, T0, exchange
from tests.exchange.wire.test_docs import PAGE

WINDOW = "5000"


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks the protocol by itself: signatures are worked out here, from the venue's manual."""

    exchange: WireExchange

    def ask(self, method: str, path: str, **fields: Any) -> dict[str, Any]:
        """A signed request; the body of the answer."""
        fields = {"category": "linear"} | fields
        query = urlencode(fields) if method == "GET" else ""
        body = json.dumps(fields) if method == "POST" else ""
        key, at = "paper-bob", str(T0)
        text = f"{at}{key}{WINDOW}{query}{body}"
        headers = {
            "X-BAPI-API-KEY": key,
            "X-BAPI-TIMESTAMP": at,
            "X-BAPI-RECV-WINDOW": WINDOW,
            "X-BAPI-SIGN": hmac.new(b"paper", text.encode(), hashlib.sha256).hexdigest(),
        }
        request = Request(method, path, query, body, "", "10.0.0.1", headers)
        answered = answer(self.exchange, request, T0)
        assert answered.status == 200
        said: dict[str, Any] = json.loads(answered.body)
        return said

    def rows(self, path: str, **fields: Any) -> list[Any]:
        """The rows of a read that has to succeed."""
        said = self.ask("GET", path, **fields)
        assert said["retCode"] == 0, said
        found: list[Any] = said["result"]["list"]
        return found


SIDES = st.sampled_from(["Buy", "Sell"])
QUANTITIES = st.sampled_from(["0.001", "0.05", "0.1", "0.5"])
PRICES = st.sampled_from(["52000", "56000", "59000", "60000", "61000", "65000", "68000"])
BY = st.sampled_from(["LastPrice", "MarkPrice", "IndexPrice"])
STEPS = st.one_of(
    st.tuples(st.just("order"), SIDES, QUANTITIES, st.booleans()),
    st.tuples(st.just("limit"), SIDES, QUANTITIES, PRICES),
    st.tuples(st.just("stop"), SIDES, QUANTITIES, PRICES, BY, st.sampled_from([1, 2])),
    st.tuples(st.just("margin"), st.sampled_from(["0.01", "50", "400"])),
    st.tuples(st.just("own stop"), PRICES, PRICES),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("move"), PRICES),
)


def _do(client: Client, step: tuple[Any, ...]) -> None:
    order = {"symbol": "BTCUSDT"}
    match step:
        case ("order", side, quantity, reduce_only):
            order |= {"side": side, "qty": quantity, "orderType": "Market"}
            client.ask("POST", "/v5/order/create", **order, reduceOnly=reduce_only)
        case ("limit", side, quantity, price):
            order |= {"side": side, "qty": quantity, "orderType": "Limit", "price": price}
            client.ask("POST", "/v5/order/create", **order)
        case ("stop", side, quantity, price, by, direction):
            order |= {"side": side, "qty": quantity, "orderType": "Market", "triggerBy": by}
            when = {"triggerPrice": price, "triggerDirection": direction}
            client.ask("POST", "/v5/order/create", **order, **when)
        case ("margin", amount):
            client.ask("POST", "/v5/position/add-margin", symbol="BTCUSDT", margin=amount)
        case ("own stop", stop, profit):
            levels = {"symbol": "BTCUSDT", "stopLoss": stop, "takeProfit": profit}
            client.ask("POST", "/v5/position/trading-stop", **levels)
        case ("cancel",):
            client.ask("POST", "/v5/order/cancel-all", symbol="BTCUSDT")
        case ("move", price):
            source = client.exchange.source
            assert isinstance(source, ByHand)
            source.move(BTC, Prices(Price(Decimal(price)), Price(Decimal(price))))
            client.exchange.advance(T0)
        case _:
            raise AssertionError(step)


@given(st.lists(STEPS, max_size=25), st.booleans())
def test_executions_explain_the_wallet_and_the_position(
    steps: list[tuple[Any, ...]], is_isolated: bool
) -> None:
    client = Client(exchange())
    mode = "ISOLATED_MARGIN" if is_isolated else "REGULAR_MARGIN"
    assert client.ask("POST", "/v5/account/set-margin-mode", setMarginMode=mode)["retCode"] == 0
    size, wallet = Decimal(0), DEPOSIT
    open_told: dict[str, str] = {}
    for step in steps:
        _do(client, step)
        (account,) = client.rows("/v5/account/wallet-balance")
        rows = client.rows("/v5/execution/list", symbol="BTCUSDT", limit=1000)
        booked = sum(Decimal(each["execPnl"]) - Decimal(each["execFee"]) for each in rows)
        assert Decimal(account["totalWalletBalance"]) == DEPOSIT + booked
        net = sum(Decimal(each["execQty"]) * (1 if each["side"] == "Buy" else -1) for each in rows)
        (held,) = client.rows("/v5/position/list", symbol="BTCUSDT")
        assert Decimal(held["size"]) == abs(net)
        assert held["side"] == ("Buy" if net > 0 else "Sell" if net else "")
        for _, event in client.exchange.take_outbox():
            for row in event["data"]:
                match event["topic"]:
                    case "wallet":
                        wallet = Money(Decimal(row["totalWalletBalance"]))
                    case "position":
                        size = Decimal(row["size"])
                    case "order":
                        open_told[row["orderId"]] = row["orderStatus"]
                    case _:
                        pass
        assert wallet == Decimal(account["totalWalletBalance"]), "the stream tells the same"
        assert size == abs(net)
        still = {"Untriggered", "New", "PartiallyFilled"}
        waiting = client.rows("/v5/order/realtime", symbol="BTCUSDT")
        assert {each["orderId"] for each in waiting} == {
            name for name, status in open_told.items() if status in still
        }


@given(
    st.sampled_from(["1e40", "1e-40", "-1", "0", "1e400", "9" * 35, "Infinity", "abc", ""]),
    SIDES,
    st.booleans(),
)
def test_no_number_breaks_the_venue(number: str, side: str, is_held: bool) -> None:
    """Whatever stands where a number should: it is refused, or taken, and the venue lives on."""
    client = Client(exchange())
    order = {"symbol": "BTCUSDT", "side": side, "orderType": "Market", "qty": "0.1"}
    if is_held:
        client.ask("POST", "/v5/order/create", **order)
    when = {"triggerPrice": number, "triggerDirection": 2}
    limit = {"orderType": "Limit", "price": number}
    leverage = {"buyLeverage": number, "sellLeverage": number}
    client.ask("POST", "/v5/order/create", **order | {"qty": number})
    client.ask("POST", "/v5/order/create", **order | limit)
    client.ask("POST", "/v5/order/create", **order | when)
    client.ask("POST", "/v5/position/set-leverage", symbol="BTCUSDT", **leverage)
    client.ask("POST", "/v5/position/add-margin", symbol="BTCUSDT", margin=number)
    client.ask("POST", "/v5/position/trading-stop", symbol="BTCUSDT", stopLoss=number)
    client.ask("GET", "/v5/execution/list", symbol="BTCUSDT", limit=number)
    assert client.rows("/v5/account/wallet-balance")


def test_every_endpoint_is_named_in_the_manual() -> None:
    for _, path in (*PUBLIC, *PRIVATE):
        if path != "/v5/asset/coin/query-info":
            assert path.rpartition("/")[2] in PAGE, path
