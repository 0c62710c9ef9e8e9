"""
Whatever is traded on our exchange in Bybit's words, the adapter reads what the machine has.

The machine knows nothing of the adapter, and the parsers nothing of the machine.
"""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bot.core.model import AccountSnapshot, NotReported, Position, PositionMode, Reported
from bot.exchange.live.calls import Call
from bot.exchange.venues import bybit_account, bybit_market
from tests.exchange.wire.build import exchange
from tests.exchange.wire.test_bybit_properties import BY, PRICES, QUANTITIES, Client, _do

ACCOUNT = "bybit:bob"
NEVER = Decimal(999_999)
"""What the venue writes where a position is never liquidated."""

SIDES = {1: ("Buy", "Sell"), 2: ("Sell", "Buy")}


def asked(client: Client, call: Call) -> Any:
    """The answer to a read of the adapter's, as the server gives it."""
    return client.ask(call.method, f"/{call.path}", **{"category": ""} | dict(call.parameters))


def read(client: Client) -> AccountSnapshot:
    """The account, through the adapter's own calls and parsers."""
    listed = bybit_market.listing_of(asked(client, bybit_market.listing_call()))
    terms, state = (
        [asked(client, call) for call in calls]
        for calls in (bybit_account.terms_calls(), bybit_account.state_calls())
    )
    waiting = asked(client, bybit_account.all_stops_call())
    return bybit_account.snapshot_of(terms, state, (waiting,), listed, 1)


def essence(position: Position) -> tuple[Any, ...]:
    """What both have to agree on; a price that the venue prints is on its tick."""
    match position.liquidation:
        case Reported(price) if price < NEVER:
            liquidated_at: Decimal | None = price
        case Reported() | NotReported():
            liquidated_at = None
    return (
        position.key,
        position.quantity,
        position.entry_price,
        position.margin_mode,
        position.isolated_margin,
        position.leverage,
        liquidated_at,
    )


STEPS = st.one_of(
    st.tuples(st.just("trade"), st.sampled_from([1, 2]), QUANTITIES, st.booleans()),
    st.tuples(st.just("stop"), st.sampled_from([1, 2]), QUANTITIES, PRICES, BY),
    st.tuples(st.just("margin"), st.sampled_from([1, 2]), st.sampled_from(["0.01", "50.25"])),
    st.tuples(st.just("move"), PRICES),
)


@given(st.lists(STEPS, max_size=15), st.booleans(), st.booleans())
def test_the_adapter_reads_what_the_machine_has(
    steps: list[tuple[Any, ...]], is_isolated: bool, is_hedged: bool
) -> None:
    client = Client(exchange())
    mode = "ISOLATED_MARGIN" if is_isolated else "REGULAR_MARGIN"
    client.ask("POST", "/v5/account/set-margin-mode", setMarginMode=mode)
    if is_hedged:
        switched = client.ask("POST", "/v5/position/switch-mode", symbol="BTCUSDT", mode=3)
        assert switched["retCode"] == 0, switched
    for step in steps:
        _perform(client, step, is_hedged=is_hedged)
        machine = client.exchange.machine
        seen, true = read(client), machine.snapshot(ACCOUNT, machine.at_ms)
        assert seen.position_mode is (PositionMode.HEDGE if is_hedged else PositionMode.ONE_WAY)
        assert [essence(each) for each in seen.positions] == sorted(map(essence, true.positions))
        assert seen.wallet_balance == true.wallet_balance
        held = {each.key for each in true.positions}
        protecting = {(each.side, each.quantity, each.trigger_price) for each in true.stops}
        assert {
            (each.side, each.quantity, each.trigger_price)
            for each in seen.stops
            if each.reduce_only and any(key.side is each.side for key in held)
        } <= protecting
        if is_isolated:
            assert seen.free == max(true.free, Decimal(0))


def _perform(client: Client, step: tuple[Any, ...], *, is_hedged: bool) -> None:
    order: dict[str, Any] = {"symbol": "BTCUSDT", "orderType": "Market"}
    match step:
        case ("trade", leg, quantity, opens):
            side = SIDES[leg][0 if opens else 1]
            order |= {"side": side, "qty": quantity, "positionIdx": leg if is_hedged else 0}
            client.ask("POST", "/v5/order/create", **order, reduceOnly=not opens)
        case ("stop", leg, quantity, price, by):
            order |= {"side": SIDES[leg][1], "qty": quantity, "reduceOnly": True}
            order |= {"positionIdx": leg if is_hedged else 0, "triggerBy": by}
            order |= {"triggerPrice": price, "triggerDirection": 2 if leg == 1 else 1}
            client.ask("POST", "/v5/order/create", **order)
        case ("margin", leg, amount):
            of = {"symbol": "BTCUSDT", "positionIdx": leg if is_hedged else 0}
            client.ask("POST", "/v5/position/add-margin", **of, margin=amount)
        case _:
            _do(client, step)
