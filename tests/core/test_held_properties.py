"""Whatever is lost in whatever order: what is held gets tighter or is gone with its position."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from bot.core.held import NOTHING_SHARED, after_read
from bot.core.model import PositionKey, Side
from bot.core.units import Price, Quantity
from bot.testing import builders as build
from tests.core.books import cross

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
FULL = 10

READS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(SYMBOLS), st.integers(0, FULL)),  # at most so much is left
        st.dictionaries(st.sampled_from(SYMBOLS), st.integers(50, 99)),  # where stops rest
        st.integers(0, 300),  # what the wallet loses
        st.sets(st.sampled_from(SYMBOLS)),  # what an order of ours may have closed
    ),
    max_size=8,
)

LISTED = {symbol: build.instrument(symbol) for symbol in SYMBOLS}


@given(st.sampled_from(list(Side)), READS)
def test_without_a_release_nothing_that_is_held_is_loosened(
    side: Side, reads: list[tuple[dict[str, int], dict[str, int], int, set[str]]]
) -> None:
    legs = {symbol: cross(symbol, side, quantity=FULL) for symbol in SYMBOLS}
    wallet = 10_000
    opened = build.snapshot(legs.values(), wallet=wallet)
    shared = after_read(NOTHING_SHARED, opened, (), frozenset(), LISTED, is_newer=True)
    for sizes, rest, loss, closed in reads:
        left = {
            symbol: min(int(leg.quantity), sizes.get(symbol, FULL)) for symbol, leg in legs.items()
        }
        was_lost = {each for each in closed & legs.keys() if left[each] < legs[each].quantity}
        legs = {
            symbol: replace(leg, quantity=Quantity(Decimal(left[symbol])))
            for symbol, leg in legs.items()
            if left[symbol]
        }
        stops = [
            build.our_stop(cross(symbol, side, quantity=FULL), 100 - side.sign * (100 - price))
            for symbol, price in rest.items()
        ]
        wallet -= loss
        before = shared.held
        snapshot = build.snapshot(legs.values(), stops, wallet=wallet)
        keys = frozenset(PositionKey(symbol, side) for symbol in closed)
        shared = after_read(shared, snapshot, stops, keys, LISTED, is_newer=True)
        for key, price in before.items():
            if key.symbol in legs:
                assert side.sign * (shared.held[key] - price) >= 0
        if was_lost:
            resting = {stop.symbol: stop.trigger_price for stop in stops if stop.symbol in legs}
            for symbol, trigger in resting.items():
                held: Price = shared.held[PositionKey(symbol, side)]
                assert side.sign * (held - trigger) >= 0
