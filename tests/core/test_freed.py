"""What the guard thinks a trim has freed is never more than what an exchange gave back."""

from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from bot.core.actions import ClosePosition
from bot.core.model import Fill, Side
from bot.core.transitions import _freed_margin
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.exchange.ports import OrderFound
from bot.testing import builders as build

D = Decimal
PRICES = st.decimals(40_000, 60_000, places=1)


@given(
    side=st.sampled_from(Side),
    entry=PRICES,
    move=st.decimals("-0.02", "0.02", places=4),
    quantity=st.integers(11, 5_000),
    share=st.decimals("0.01", "0.99", places=3),
    leverage=st.integers(3, 30),
    fee=st.sampled_from(["0", "0.0004", "0.00055"]),
    step=st.sampled_from(["0.01", "0.00000001"]),
)
@example(
    side=Side.SHORT,
    entry=D("58914.7"),
    move=D("-0.0083"),
    quantity=4853,
    share=D("0.977"),
    leverage=3,
    fee="0.00055",
    step="0.00000001",
)
def test_no_more_than_the_exchange_frees(
    *,
    side: Side,
    entry: Decimal,
    move: Decimal,
    quantity: int,
    share: Decimal,
    leverage: int,
    fee: str,
    step: str,
) -> None:
    traded = build.instrument(taker_fee=fee, margin_step=step)
    machine = PaperMachine([traded], Ratio(D("0.0003")))
    held = Quantity(D(quantity) / 1000)
    machine.move(0, {traded.symbol: Prices(Price(entry), Price(entry))})
    machine.deposit("main", Money(D(10_000_000)))
    machine.open_position(
        "main", traded.symbol, side, quantity=held, leverage=D(leverage), at_ms=0
    )
    now = Price((entry * (1 + move)).quantize(D("0.1")))
    machine.move(1_000, {traded.symbol: Prices(now, now)})
    (before,) = machine.snapshot("main", 1_000).positions
    wallet = machine.snapshot("main", 1_000).wallet_balance
    part = Quantity(max((held * share).quantize(D("0.001")), D("0.001")))
    machine.handle("main", ClosePosition(traded.symbol, side, part), "c", 1_000)
    order = machine.order("main", traded.symbol, "c")
    assert isinstance(order, OrderFound)
    assert isinstance(order.filled, Fill)
    state = build.account_state(build.snapshot((before,)), {}, instruments=[traded])
    freed = machine.snapshot("main", 1_000).wallet_balance - wallet
    counted = _freed_margin(state, before, order.filled)
    assert counted <= freed
    assert freed - counted < 4 * D(step) or counted == 0
