"""The worst stressed loss by hand, what a close takes of it, and which leg comes first."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.cross import Book, Leg
from bot.core.model import ContractKind, MarginMode, Position, PositionKey, Side
from bot.core.policy import Stress
from bot.core.stress import Held, by_relief, worst_stressed_loss
from bot.core.units import Money, Price, Quantity
from bot.testing import builders as build
from tests.core.books import cross, flat_rate, leg
from tests.core.draws import books, decimals, positions

LONG, SHORT = Side.LONG, Side.SHORT


def held(position: Position, mark: build.Number, inverse: bool = False) -> Held:
    kind = ContractKind.INVERSE if inverse else ContractKind.LINEAR
    return Held(build.instrument(position.symbol, kind=kind), position, Price(Decimal(mark)))


def lost(position: Position, mark: build.Number, stress: Stress) -> Money:
    return worst_stressed_loss([held(position, mark)], stress)


@pytest.mark.parametrize(
    ("position", "mark", "shock", "expected"),
    [
        # 1 from 50,000 with 5,000: a fall by 5 % of 48,000 costs 2,400 ...
        (build.position(), 48_000, "0.05", "2400"),
        # ... and one by 20 % all of the 3,000 that are left.
        (build.position(), 48_000, "0.2", "3000"),
        (build.position(side=SHORT), 48_000, "0.2", "7000"),
        (build.position(), 44_000, "0.2", "0"),  # nothing is left to lose
        (cross("A", quantity=2, entry_price=90), 100, "0.2", "40"),
        (cross("A", SHORT, quantity=2, entry_price=90), 100, "0.2", "40"),
    ],
)
def test_the_loss_under_a_shock(position: Position, mark: int, shock: str, expected: str) -> None:
    assert lost(position, mark, build.stress(shock)) == Decimal(expected)


def test_losses_add_up_and_betas_weigh_them() -> None:
    """Nothing nets between symbols: both move against their position."""
    both = [held(cross("A"), 100), held(cross("B", SHORT), 100)]
    assert worst_stressed_loss(both, build.stress("0.1")) == 20
    assert worst_stressed_loss(both, build.stress("0.1", A="0.5", B=2)) == 25
    assert worst_stressed_loss([], build.stress("0.1")) == 0


@pytest.mark.parametrize(
    ("position", "mark", "shock", "expected"),
    [
        # 60,000 dollars at 50,000 are 1.2 coins, at 40,000 1.5: a long owes 0.3 of its 0.5 ...
        (build.position(quantity=60_000, margin="0.5"), 50_000, "0.2", "0.3"),
        # ... at 25,000 2.4, more than it has, and a short at 75,000 0.8.
        (build.position(quantity=60_000, margin="0.5"), 50_000, "0.5", "0.5"),
        (build.position(side=SHORT, quantity=60_000, margin="0.5"), 50_000, "0.5", "0.4"),
        (cross("A", quantity=60_000, entry_price=10_000), 50_000, "0.5", "1.2"),
        # Of a price that fell by all of it a millionth is taken to be left.
        (cross("A", quantity=60_000, entry_price=10_000), 50_000, "1", "1199998.8"),
    ],
)
def test_the_loss_of_an_inverse_contract_is_in_coins(
    position: Position, mark: int, shock: str, expected: str
) -> None:
    loss = worst_stressed_loss([held(position, mark, inverse=True)], build.stress(shock))
    assert loss == Decimal(expected)


def test_legs_of_one_symbol_move_together_and_net() -> None:
    long, short = cross("A", quantity=3), cross("A", SHORT, quantity=2)
    assert worst_stressed_loss([held(long, 100), held(short, 100)], build.stress("0.1")) == 10
    # By a fall the long loses its 500 and the short gains 1,000, by a rise the other way about.
    isolated = [
        build.position(quantity="0.3", margin=500),
        build.position(side=SHORT, quantity="0.2", margin=500),
    ]
    legs = [held(each, 50_000) for each in isolated]
    assert worst_stressed_loss(legs, build.stress("0.1")) == 0
    # By 2 % nobody's margin is gone: 0.3 and 0.2 of 1,000 against each other.
    assert worst_stressed_loss(legs, build.stress("0.02")) == 100


@settings(max_examples=200)
@given(
    position=positions(),
    mode=st.sampled_from(MarginMode),
    moved=decimals("-0.3", "0.3", 3),
    shock=decimals("0.01", "1", 2),
    share=decimals("0", "1", 3),
)
def test_closing_never_raises_it(
    position: Position, mode: MarginMode, moved: Decimal, shock: Decimal, share: Decimal
) -> None:
    """Where the margin of the closed part leaves with it, and in cross: it falls with the size."""
    mark = position.entry_price * (1 + moved)
    held = replace(position, margin_mode=mode)
    rest = replace(
        held,
        quantity=Quantity(held.quantity * share),
        isolated_margin=Money(held.isolated_margin * share),
    )
    before, after = lost(held, mark, build.stress(shock)), lost(rest, mark, build.stress(shock))
    assert after <= before
    assert after == pytest.approx(before * share, abs=Decimal("1e-18"))


# The order of legs


def at(*legs: Leg, slips: dict[str, str]) -> dict[PositionKey, Price]:
    """Fill prices so much worse than the mark price."""
    return {
        each.position.key: Price(
            each.mark_price * (1 - each.position.side.sign * Decimal(slips[each.position.symbol]))
        )
        for each in legs
    }


def ranked(*legs: Leg, **slips: str) -> list[str]:
    order = by_relief(legs, at(*legs, slips=slips), build.stress("0.1"))
    return [each.position.symbol for each in order]


A, B = leg(cross("A"), 100), leg(cross("B", SHORT), 100)


def test_what_relieves_more_for_its_cost_comes_first() -> None:
    assert ranked(A, B, A="0.001", B="0.002") == ["A", "B"]
    assert ranked(A, B, A="0.002", B="0.001") == ["B", "A"]
    # Twice the move for twice the slippage, and a fee besides: the riskier one is the bargain.
    assert ranked(A, replace(B, beta=build.stress(B=2).beta_of("B")), A="0.001", B="0.002") == [
        "B",
        "A",
    ]


def test_the_fee_is_part_of_the_cost() -> None:
    dear = leg(cross("A"), 100, instrument=flat_rate("A", "0.005", taker_fee="0.002"))
    assert ranked(dear, B, A="0", B="0.001") == ["B", "A"]


def test_of_equals_the_larger_comes_first_then_the_name() -> None:
    larger = leg(cross("B", quantity=2), 100)
    assert ranked(A, larger, A="0.001", B="0.001") == ["B", "A"]
    assert ranked(B, A, A="0.001", B="0.001") == ["A", "B"]


def test_what_costs_nothing_comes_first_by_what_it_relieves() -> None:
    free = [
        leg(cross(name), 100, instrument=flat_rate(name, "0.005", taker_fee=0)) for name in "AB"
    ]
    riskier = replace(free[1], beta=build.stress(B=2).beta_of("B"))
    assert ranked(free[0], riskier, A="0", B="0") == ["B", "A"]
    assert ranked(free[0], B, A="0", B="0.0001") == ["A", "B"]


@settings(max_examples=100)
@given(of=books(), data=st.data())
def test_the_order_is_that_of_relief_per_cost_whatever_the_order_before(
    of: Book, data: st.DataObject
) -> None:
    """Per unit of cost, from the loss with and without a step closed; ties may go either way."""
    stress = build.stress("0.1", **{each.position.symbol: each.beta for each in of.legs})
    slips = {
        each.position.symbol: data.draw(st.sampled_from(["0.001", "0.01"])) for each in of.legs
    }
    fills = at(*of.legs, slips=slips)
    order = by_relief(of.legs, fills, stress)
    assert by_relief(tuple(data.draw(st.permutations(of.legs))), fills, stress) == order
    worths = [worth(each, fills[each.position.key], stress) for each in order]
    for first, second in pairwise(worths):
        assert first >= second * (1 - Decimal("1e-18"))


def worth(of: Leg, fill: Price, stress: Stress) -> Decimal:
    """Stressed loss that closing all of a leg takes away for a unit of what that costs."""
    position, mark = of.position, of.mark_price
    cost = position.quantity * (fill * of.instrument.taker_fee + abs(mark - fill))
    return lost(position, mark, stress) / cost
