"""
The guard of inverse contracts: what pays in the coin, and is judged, stopped and spent in it.

Checked by exact fractions of this file: a long of q dollars from E with B coins has at p a balance
of B + q / E - q / p, and at a maintenance rate of 0.5 % it is liquidated at 1.005 q / (B + q / E).
"""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.actions import AddMargin, ClosePosition, PlaceStop
from bot.core.decision import Audited
from bot.core.margin import liquidation
from bot.core.metrics import Known
from bot.core.model import ContractKind, MarginMode, Position, Side
from bot.core.policy import Above, Metric
from bot.core.protection import StopNotNeeded, StopWanted, wanted
from bot.core.sizing import price_at_loss
from bot.core.strategy import Severity
from bot.core.units import Money
from bot.testing import builders as build
from strategies import close, partial_close, top_up, trim_and_refund
from tests.core.life import Life, below, ratio

D = Decimal
COIN = build.instrument(kind=ContractKind.INVERSE, settle="BTC", margin_step="0.00000001")
LIMITS = build.guardrails(per_action="0.05", per_1h="0.08", loss_max="0.3", slippage_max="0.005")


def held(side: Side = Side.LONG, quantity: int = 100_000, margin: str = "0.2") -> Position:
    """100,000 dollars at 50,000, which are 2 coins, on 0.2 of them."""
    return build.position(side=side, quantity=quantity, margin=margin)


def liquidated_at(position: Position) -> Fraction:
    s, q = position.side.sign, Fraction(position.quantity)
    owned = Fraction(position.isolated_margin) + s * q / Fraction(position.entry_price)
    return q * (s + Fraction(1, 200)) / owned


def life(*steps: object, position: Position | None = None, **more: object) -> Life:
    policy = build.policy(
        build.rule(*steps),  # type: ignore[arg-type]
        limits=LIMITS,
        settle="BTC",
        stress=build.stress("0.25"),
    )
    return Life(policy, position or held(), instruments=[COIN], free=D("0.5"), **more)  # type: ignore[arg-type]


def rung(name: str, level: str, severity: Severity, module: object, params: object) -> object:
    def propose(view: object) -> object:
        return module.propose(view, params)  # type: ignore[attr-defined]

    return build.step(name, below(level), severity, propose, cooldown_ms=60_000)  # type: ignore[arg-type]


ADD = rung("add", "0.06", Severity.SPEND, top_up, top_up.Params(ratio("0.075")))
TRIM = rung(
    "trim",
    "0.06",
    Severity.REDUCE,
    trim_and_refund,
    trim_and_refund.ToDistance(ratio("0.08")),
)
PART = rung("part", "0.06", Severity.REDUCE, partial_close, partial_close.Fraction(ratio("0.25")))
OUT = rung("out", "0.05", Severity.CLOSE, close, close.Params())


@pytest.mark.parametrize("side", Side)
def test_the_stop_rests_room_before_liquidation_on_the_early_tick(side: Side) -> None:
    position = held(side)
    (stop,) = life(position=position).decide()
    s = side.sign
    exact = liquidated_at(position) / (1 - s * Fraction(3, 100))
    assert isinstance(stop, PlaceStop)
    assert stop.quantity == 100_000
    assert stop.side is side
    gap = s * (Fraction(stop.trigger_price) - exact)
    assert 0 <= gap < Fraction(1, 10)


@pytest.mark.parametrize("side", Side)
def test_loss_max_is_in_coins(side: Side) -> None:
    """0.1 of 2 coins are lost at 100,000 / 2.1 by a long, at 100,000 / 1.9 by a short."""
    policy = build.policy(limits=build.guardrails(loss_max="0.1"), settle="BTC")
    lives = Life(policy, held(side), instruments=[COIN])
    (stop,) = lives.decide()
    assert isinstance(stop, PlaceStop)
    expected = {Side.LONG: D("47619.1"), Side.SHORT: D("52631.5")}
    assert stop.trigger_price == expected[side]


def test_a_short_cannot_lose_more_than_its_worth_so_a_larger_loss_max_binds_nothing() -> None:
    rich = held(Side.SHORT, margin="2.5")
    assert price_at_loss(COIN, rich, Money(D(2))) == D("Infinity")
    policy = build.policy(limits=build.guardrails(loss_max=3), settle="BTC")
    target = wanted(policy, COIN, rich, liquidation(COIN, rich), ())
    assert isinstance(target, StopNotNeeded)
    thin = held(Side.SHORT)
    target = wanted(policy, COIN, thin, liquidation(COIN, thin), ())
    assert isinstance(target, StopWanted)
    assert target.trigger_price.is_finite()


@given(
    side=st.sampled_from(Side),
    quantity=st.integers(10, 10**6),
    entry=st.integers(1_000, 90_000),
    share=st.fractions(Fraction(1, 1_000), Fraction(9, 10)),
)
def test_at_the_price_of_a_loss_that_much_is_lost(
    side: Side, quantity: int, entry: int, share: Fraction
) -> None:
    worth = Fraction(quantity, entry)
    lost = D((worth * share).numerator) / D((worth * share).denominator)
    position = build.position(side=side, quantity=quantity, entry_price=entry)
    price = Fraction(price_at_loss(COIN, position, Money(lost)))
    found = -side.sign * (worth - Fraction(quantity) / price)
    assert abs(found - Fraction(lost)) < worth / 10**20


def test_a_top_up_is_in_coins_and_reaches_its_target_within_its_budget() -> None:
    lives = life(ADD)
    lives.mark(48_500)
    (stop, added) = sorted(lives.decide(), key=lambda each: isinstance(each, AddMargin))
    assert isinstance(added, AddMargin)
    assert isinstance(stop, PlaceStop)
    # Liquidated at 7.5 % below 48,500: 100,500 / p - 2 coins of margin in all, which is less than
    # what one action may add; a hundred-millionth of a coin is the step.
    needed = Fraction(100_500) / (Fraction(48_500) * Fraction(925, 1000)) - 2 - Fraction(2, 10)
    assert needed <= Fraction(added.amount) < needed + Fraction(1, 10**8)
    assert "adding" in lives.decision.alerts[0].text


def test_a_budget_in_coins_binds() -> None:
    lives = life(rung("add", "0.06", Severity.SPEND, top_up, top_up.Params(ratio("0.3"))))
    lives.mark(48_500)
    added = next(each for each in lives.decide() if isinstance(each, AddMargin))
    assert added.amount == D("0.05")


def test_parts_are_closed_in_contracts_no_worse_than_the_slippage_allows() -> None:
    lives = life(PART)
    lives.mark(48_500)
    cut = next(each for each in lives.decide() if isinstance(each, ClosePosition))
    assert cut.quantity == 25_000


@settings(max_examples=60, deadline=None)
@given(side=st.sampled_from(Side), thousandths=st.integers(25, 35))
def test_after_a_trim_and_its_refund_the_target_is_reached(side: Side, thousandths: int) -> None:
    """With what the fill at the worst price frees put back, by fractions of this file."""
    position = held(side)
    lives = life(TRIM, position=position)
    mark = Fraction(50_000) * (1 - side.sign * Fraction(thousandths, 1_000))
    price = D(mark.numerator) / D(mark.denominator)
    lives.mark(price)
    cuts = [each for each in lives.decide() if isinstance(each, ClosePosition)]
    measured = lives.verdict.measured
    assert isinstance(measured, Known)
    if not cuts:
        assert measured.liquidation_distance >= D("0.06")
        return
    (cut,) = cuts
    fill = Fraction(cut.bound.price)  # type: ignore[union-attr]
    q, x, s = Fraction(100_000), Fraction(cut.quantity), side.sign
    fee = x / fill * Fraction(COIN.taker_fee)
    freed = Fraction(2, 10) * x / q + s * (x / 50_000 - x / fill) - fee
    assert freed > 0
    left = q - x
    margin = Fraction(2, 10) * left / q + freed
    price_then = left * (s + Fraction(1, 200)) / (margin + s * left / 50_000)
    assert s * (mark - price_then) / mark >= Fraction(8, 100) - Fraction(1, 10**6)


def test_the_floor_closes_the_whole_of_it() -> None:
    lives = life(OUT)
    lives.mark(46_300)
    (closed,) = [each for each in lives.decide() if isinstance(each, ClosePosition)]
    assert closed.quantity == 100_000


def test_what_pays_in_another_coin_than_the_policy_says_is_unknown() -> None:
    lives = Life(build.policy(settle="ETH"), held(), instruments=[COIN])
    assert lives.decide() == []
    assert not isinstance(lives.verdict.stop, Audited)


def test_effective_leverage_is_that_of_coins() -> None:
    lives = life(
        build.step(
            "warn",
            Above(D(1_000)),
            Severity.ALERT,
            lambda view: close.propose(view, close.Params()),
        )
    )
    lives.decide()
    measured = lives.verdict.measured
    assert isinstance(measured, Known)
    assert measured.effective_leverage == 10
    assert Metric.EFFECTIVE_LEVERAGE.is_shared


# -- a coin-margined wallet ----------------------------------------------------------------


def shared(symbol: str, side: Side, quantity: int, entry: int) -> Position:
    return build.position(
        symbol,
        side,
        quantity=quantity,
        entry_price=entry,
        margin=0,
        margin_mode=MarginMode.CROSS,
    )


def test_cross_positions_on_a_wallet_of_coins_share_one_shock_and_their_stops_its_room() -> None:
    """Long 100,000 dollars of BTC and short 20,000 of another, on 0.3 coins, by bisection."""
    other = build.instrument("ADAUSD", kind=ContractKind.INVERSE, settle="BTC", tick_size="0.0001")
    long, short = (
        shared(build.SYMBOL, Side.LONG, 100_000, 50_000),
        shared("ADAUSD", Side.SHORT, 20_000, 40_000),
    )
    policy = build.policy(
        settle="BTC", margin_modes=frozenset({MarginMode.CROSS}), stress=build.stress("0.2")
    )
    lives = Life(policy, long, short, instruments=[COIN, other], wallet=D("0.3"), free=D("0.1"))
    lives.mark(40_000, "ADAUSD")
    stops = [each for each in lives.decide() if isinstance(each, PlaceStop)]

    def spare(shock: float) -> float:
        fallen, risen = 50_000 * (1 - shock), 40_000 * (1 + shock)
        equity = 0.3 + (2 - 100_000 / fallen) - (0.5 - 20_000 / risen)
        return equity - 0.005 * (100_000 / fallen + 20_000 / risen)

    low, high = 0.0, 0.9
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if spare(middle) > 0 else (low, middle)
    for verdict in lives.decision.positions:
        assert isinstance(verdict.measured, Known)
        assert float(verdict.measured.liquidation_distance) == pytest.approx(low, abs=1e-9)
    assert {stop.symbol for stop in stops} == {build.SYMBOL, "ADAUSD"}


def test_parts_of_a_coin_margined_book_are_closed_until_the_target_is_reached() -> None:
    """Checked in floats, with what the closes cost at the worst prices that they may fill at."""
    other = build.instrument("ADAUSD", kind=ContractKind.INVERSE, settle="BTC", tick_size="0.0001")
    step = rung(
        "less", "0.09", Severity.REDUCE, partial_close, partial_close.ToDistance(ratio("0.11"))
    )
    policy = build.policy(
        build.rule(step, margin_mode=MarginMode.CROSS),  # type: ignore[arg-type]
        limits=LIMITS,
        settle="BTC",
        margin_modes=frozenset({MarginMode.CROSS}),
        stress=build.stress("0.2"),
    )
    legs = {
        build.SYMBOL: shared(build.SYMBOL, Side.LONG, 100_000, 50_000),
        "ADAUSD": shared("ADAUSD", Side.LONG, 20_000, 40_000),
    }
    lives = Life(policy, *legs.values(), instruments=[COIN, other], wallet=D("0.25"), free=0)
    lives.mark(50_000)
    lives.mark(40_000, "ADAUSD")
    closes = [each for each in lives.decide() if isinstance(each, ClosePosition)]
    assert closes

    def spare(shock: float, closed: list[ClosePosition]) -> float:
        total = 0.25
        for symbol, leg in legs.items():
            entry, quantity = float(leg.entry_price), float(leg.quantity)
            for each in closed:
                if each.symbol == symbol:
                    x, fill = float(each.quantity), float(each.bound.price)  # type: ignore[union-attr]
                    total += x / entry - x / fill - x / fill * float(COIN.taker_fee)
                    quantity -= x
            price = entry * (1 - shock)
            total += quantity / entry - quantity / price - 0.005 * quantity / price
        return total

    assert spare(0.09, []) < 0
    assert spare(0.11, closes) >= -1e-12
    assert spare(0.113, closes) < 0  # not much more than that
