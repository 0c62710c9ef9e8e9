"""Whatever is traded: the wire's own accounts agree with each other and with the machine."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.exchange.wire.build import BTC, DEPOSIT, Client, exchange

SIDES = st.sampled_from(["BUY", "SELL"])
QUANTITIES = st.sampled_from(["0.001", "0.05", "0.1", "0.5"])
PRICES = st.sampled_from(["52000", "56000", "59000", "60000", "61000", "65000", "68000"])

STEPS = st.one_of(
    st.tuples(st.just("order"), SIDES, QUANTITIES, st.booleans()),
    st.tuples(st.just("limit"), SIDES, QUANTITIES, PRICES),
    st.tuples(st.just("stop"), SIDES, QUANTITIES, PRICES),
    st.tuples(st.just("plain stop"), SIDES, QUANTITIES, PRICES),
    st.tuples(st.just("stop limit"), SIDES, QUANTITIES, PRICES, PRICES),
    st.tuples(st.just("profit"), SIDES, PRICES),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("margin"), st.sampled_from(["0.01", "50", "400"])),
    st.tuples(st.just("move"), PRICES),
)


def _do(client: Client, step: tuple[object, ...]) -> None:
    match step:
        case ("order", str(side), str(quantity), reduce_only):
            client.order(side, quantity, reduceOnly=reduce_only)
        case ("limit", str(side), str(quantity), str(price)):
            client.order(side, quantity, "LIMIT", price=price, timeInForce="GTC")
        case ("stop", str(side), str(quantity), str(price)):
            client.stop(side, price, quantity)
        case ("plain stop", str(side), str(quantity), str(price)):
            more = {"reduceOnly": False, "workingType": "CONTRACT_PRICE"}
            client.stop(side, price, quantity, **more)
        case ("stop limit", str(side), str(quantity), str(price), str(limit)):
            more = {"type": "STOP", "price": limit, "timeInForce": "GTC"}
            client.stop(side, price, quantity, **more)
        case ("profit", str(side), str(price)):
            asked = {"symbol": "BTCUSDT", "side": side, "algoType": "CONDITIONAL"}
            more = {"type": "TAKE_PROFIT_MARKET", "closePosition": True, "triggerPrice": price}
            client.ask("POST", "/fapi/v1/algoOrder", **asked, **more)
        case ("cancel",):
            client.ask("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
        case ("margin", str(amount)):
            client.ask("POST", "/fapi/v1/positionMargin", symbol="BTCUSDT", amount=amount, type=1)
        case ("move", str(price)):
            client.move(BTC, price)
        case _:
            raise AssertionError(step)


NUMBERS = st.sampled_from(
    ["1e40", "1e-40", "-1", "0", "1e400", "1E+5", "9" * 35, "Infinity", "-Infinity", "abc", ""]
)


@given(NUMBERS, SIDES, st.booleans())
def test_no_number_breaks_the_venue(number: str, side: str, is_held: bool) -> None:
    """Whatever stands where a number should: it is refused, or taken, and the venue lives on."""
    client = Client(exchange())
    if is_held:
        client.isolated()
        client.order("BUY", "0.1")
    limit = {"timeInForce": "GTC", "price": number}
    transfer = {"asset": "USDT", "amount": number}
    client.order(side, number)
    client.order(side, "0.1", "LIMIT", **limit)
    client.stop(side, number)
    client.stop(side, "57000", number)
    client.stop(side, "57000", "0.1", type="STOP", price=number)
    move = {"symbol": "BTCUSDT", "type": 1, "amount": number}
    client.ask("POST", "/fapi/v1/positionMargin", **move)
    client.ask("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=number)
    client.ask("POST", "/sapi/v1/asset/transfer", type="MAIN_UMFUTURE", **transfer)
    client.ask("POST", "/sapi/v1/asset/transfer", type="UMFUTURE_MAIN", **transfer)
    client.ask("GET", "/fapi/v1/income", limit=number, startTime=number)
    assert {each.status for each in client.answers} <= {200, 400}


@given(st.lists(STEPS, max_size=25), st.booleans())
def test_every_cent_of_the_wallet_has_a_row(
    steps: list[tuple[object, ...]], is_isolated: bool
) -> None:
    client = Client(exchange())
    if is_isolated:
        client.isolated()
    told = client.account()["assets"][0]
    wallet, positions = Decimal(told["walletBalance"]), dict[str, str]()
    for step in steps:
        _do(client, step)
        assert client.answers[-1].status in (200, 400), client.answers[-1].body
        seen = client.account()
        income = client.ask("GET", "/fapi/v1/income", limit=1000)
        booked = sum(Decimal(row["income"]) for row in income)
        assert Decimal(seen["totalWalletBalance"]) == DEPOSIT + booked
        trades = client.ask("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", limit=1000)
        net = sum(Decimal(row["qty"]) * (1 if row["side"] == "BUY" else -1) for row in trades)
        held = [Decimal(row["positionAmt"]) for row in client.positions()]
        assert held == [net] if net else not held
        for _, event in client.exchange.take_outbox():
            if event["e"] == "ACCOUNT_UPDATE":
                wallet = Decimal(event["a"]["B"][0]["wb"])
                positions |= {row["s"]: row["pa"] for row in event["a"]["P"]}
        assert wallet == Decimal(seen["totalWalletBalance"]), "the stream tells the same"
        assert Decimal(positions.get("BTCUSDT", "0")) == net
