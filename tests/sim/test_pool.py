"""The observer's quick arithmetic against exact fractions, on the accounts that seeds draw."""

from decimal import Decimal
from fractions import Fraction

import pytest

from bot.core.model import ContractKind, MarginMode, Side
from tests.exchange.paper.independent import Spare, first_spent
from tests.sim.accounts import Opening, pools_of
from tests.sim.case import Case, draw

COINED = (28, 44, 86, 92)
"""Seeds about an inverse contract, beside 4 and 14."""


def test_some_seeds_are_about_contracts_that_pay_in_the_coin() -> None:
    drawn = [draw(seed) for seed in (4, 14, *COINED)]
    kinds = {each.openings[0].instrument.kind for each in drawn}
    assert kinds == {ContractKind.INVERSE}
    assert {each.openings[0].side for each in drawn} == set(Side)
    assert {each.policy.settle for each in drawn} == {"COIN"}


def exact_distance(case: Case, legs: list[Opening], balance: Decimal) -> Fraction:
    """The common adverse shock that uses up what is spare, by bisection up to a shock of 4."""
    shares = all(each.margin_mode is MarginMode.CROSS for each in legs)

    def left(part: Fraction) -> Fraction:
        spent = Fraction(balance if shares else 0)
        for each in legs:
            margin = Decimal(0) if shares else balance
            spare = Spare(each.instrument, each.side, each.quantity, each.price, margin)
            beta = Fraction(each.beta) if shares else Fraction(1)
            inverse = each.instrument.kind is ContractKind.INVERSE
            least = (
                Fraction(1, 10**9) if inverse else Fraction(0)
            )  # a coin for nothing has no worth
            moved = max(1 - each.side.sign * beta * 4 * part, least)
            spent += spare.at(Fraction(each.price) * moved)
        return spent

    found = first_spent(left)
    assert found is not None
    return found * 4


@pytest.mark.parametrize("seed", [*range(24), *COINED])
def test_the_distance_of_every_pool_is_the_exact_one(seed: int) -> None:
    case = draw(seed)
    own = [each for each in case.openings if each.margin_mode is MarginMode.ISOLATED]
    shared = [each for each in case.openings if each.margin_mode is MarginMode.CROSS]
    wallet = case.deposit - sum((each.initial_margin for each in own), Decimal(0))
    pools = pools_of(case.openings, wallet)
    groups = [([each], each.initial_margin) for each in own]
    groups += [(shared, wallet)] if shared else []  # type: ignore[list-item]
    for legs, balance in groups:
        exact = exact_distance(case, legs, balance)
        pool = pools[legs[0].symbol]
        assert pool.distance() == pytest.approx(float(exact), rel=1e-9)
        assert pool.spare(float(exact)) == pytest.approx(0.0, abs=float(balance) * 1e-9)


def test_a_pool_that_is_used_up_has_no_distance_left() -> None:
    case = draw(1)
    wallet = case.deposit
    pool = pools_of(case.openings, wallet)[case.openings[0].symbol]
    assert pool.less(float(wallet) * 3).distance() == 0.0


def test_the_ratio_is_one_where_the_distance_is_used_up() -> None:
    pool = pools_of(draw(1).openings, draw(1).deposit)[draw(1).openings[0].symbol]
    gone = pool.less(pool.spare(0.0))
    assert gone.ratio() == pytest.approx(1.0)
