"""What is tried before a position is lost, venue by venue; every figure by hand."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.actions import PlaceStop
from bot.core.events import Liquidated
from bot.core.model import (
    NO_FILL,
    HedgeRequirement,
    MarginMode,
    PositionMode,
    Reported,
    RiskTier,
    Side,
    TierMeasure,
)
from bot.core.units import Money, Price, Quantity, Ratio, ceil_to, floor_to
from bot.exchange.paper.books import Cause, OrdersCancelled, PositionStep, Rung
from bot.exchange.paper.depth import OrderBook
from bot.exchange.paper.ladders import BINANCE, GATE, HYPERLIQUID, OKX, WHOLE, Ladder
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import FundingTerm
from bot.exchange.ports import Accepted, AccountChanged, OrderFound
from tests.exchange.paper.build import (
    ALICE,
    BTC,
    ETH,
    MARK,
    T0,
    THREE_TIERS,
    D,
    contract,
    enter,
    machine_with,
    move,
    position_of,
    prices,
    tiers,
    total,
)

LONG, SHORT = Side.LONG, Side.SHORT
CROSS = MarginMode.CROSS
FIVE_PERCENT = tiers(last=("0.05", "20"))
LADDERS = [GATE, BINANCE, OKX, HYPERLIQUID, WHOLE]


def stop(machine: PaperMachine, client_id: str, trigger: str, symbol: str = BTC) -> None:
    order = PlaceStop(symbol, LONG, Quantity(D(1)), Price(D(trigger)))
    assert machine.handle(ALICE, order, client_id, machine.at_ms) == Accepted()


def steps(machine: PaperMachine) -> list[PositionStep]:
    """The steps of all liquidations of Alice but the cancelling of orders."""
    return [each for each in machine.liquidation(ALICE) if isinstance(each, PositionStep)]


def rungs(machine: PaperMachine) -> list[tuple[Rung, str, Decimal, Decimal]]:
    return [(each.rung, each.symbol, each.quantity, each.left) for each in steps(machine)]


# -- tier by tier -----------------------------------------------------------------------------


def test_a_position_falls_a_tier_at_its_bankruptcy_price_and_lives() -> None:
    """
    2 at 50,000 on 10,000, in the second tier: spent at 89,700 / 1.98 = 45,303.03.

    50,000 are 1.103 there. 0.897 go at 45,000 with their 4,485 of margin; the rest on 5,515 is
    spent at 49,635 / (1.103 x 0.996) = 45,180.72.
    """
    machine = machine_with(contract(table=THREE_TIERS))
    enter(machine, quantity="2")
    stop(machine, "far", "1000")
    machine.take_notices()
    move(machine, "45200")
    (step,) = steps(machine)
    assert rungs(machine) == [(Rung.REDUCED, BTC, D("0.897"), D("1.103"))]
    assert step.price == 45_000
    assert step.fee == step.deleveraged == 0
    assert abs(step.mark - D(89_700) / D("1.98")) < D("1e-20")
    assert abs(step.equity - (10_000 - 2 * (50_000 - step.mark))) < D("1e-7")
    assert 0 <= step.requirement - step.equity < D("1e-7")
    assert position_of(machine).isolated_margin == D("5515")
    # To the tick the engine gets 45,303.03 for what cost it 45,000.
    assert step.to_fund == machine.ledger().insurance_fund == D("303.03") * D("0.897")
    (realised,) = machine.realised(ALICE)
    assert realised.cause is Cause.LIQUIDATION
    assert (realised.profit, realised.price) == (Money(D(-4485)), Price(D(45_000)))
    assert [notice for _, notice in machine.take_notices()] == [
        Liquidated(BTC, LONG, Price(D("45303.04")), step.at_ms),
        AccountChanged(),
    ]
    assert [each.client_id for each in machine.snapshot(ALICE, T0).stops] == ["far"]
    move(machine, "45181", at_ms=T0 + 2_000)
    assert len(steps(machine)) == 1
    move(machine, "45180", at_ms=T0 + 3_000)
    assert rungs(machine)[1:] == [(Rung.TAKEN_OVER, BTC, D("1.103"), D(0))]
    assert machine.snapshot(ALICE, T0).positions == ()
    assert machine.order(ALICE, BTC, "far") == OrderFound("far", False, NO_FILL)
    assert machine.equity(ALICE) == 0
    assert total(machine) == 10_000


def test_a_deep_fall_takes_a_position_down_all_tiers() -> None:
    """6 at 50,000 start in the last tier; each slice goes at 45,000, the last one whole."""
    machine = machine_with(contract(table=THREE_TIERS), deposit="40000")
    enter(machine, quantity="6")
    move(machine, "43000")
    first, second, third = steps(machine)
    assert [each.rung for each in steps(machine)] == [Rung.REDUCED, Rung.REDUCED, Rung.TAKEN_OVER]
    for step, cap in ((first, 250_000), (second, 50_000), (third, 0)):
        assert step.left == round(cap / step.mark - D("0.0005"), 3)
    assert {each.price for each in steps(machine)} == {45_000}
    assert machine.equity(ALICE) == 10_000


def test_a_cross_book_falls_tier_by_tier_where_it_needs_most() -> None:
    """
    2 ETH need 1 % less 300, 1 BTC 0.4 %: at 46,000 both, 704 are required and 12,500 backed them.

    At 45,936.71 they are spent; ETH falls by a tier, at a price that leaves its share of the rest.
    """
    machine = machine_with(
        contract(BTC, table=THREE_TIERS), contract(ETH, table=THREE_TIERS), deposit="12900"
    )
    enter(machine, margin_mode=CROSS)
    enter(machine, quantity="2", leverage="20", symbol=ETH, margin_mode=CROSS)
    stop(machine, "btc", "1000")
    machine.move(T0 + 1_000, {BTC: prices("45925"), ETH: prices("45925")})
    cancelled, step = machine.liquidation(ALICE)
    assert isinstance(cancelled, OrdersCancelled)
    assert cancelled.client_ids == ("btc",)
    assert isinstance(step, PositionStep)
    # 3 p - 150,000 + 12,900 = 0.024 p - 300
    spent = D(136_800) / D("2.976")
    assert abs(step.mark - spent) < D("1e-20")
    assert (step.rung, step.symbol) == (Rung.REDUCED, ETH)
    assert step.left == D("1.087")  # 50,000 / 45,967.74 in steps of 0.001
    # Each keeps the same share of its mark: what is left over 3 of them.
    assert abs(step.price - (step.mark - step.equity / 3)) < D("1e-6")
    assert len(machine.snapshot(ALICE, T0).positions) == 2
    assert total(machine) == 12_900


def test_two_tiers_down_and_below_the_third_everything() -> None:
    """Tiers in contracts without deductions, as OKX has them."""
    zero = Money(D(0))
    table = tuple(
        RiskTier(D(floor), D(cap), Ratio(D(rate)), zero, D(100))
        for floor, cap, rate in (
            ("0", "1", "0.004"),
            ("1", "2", "0.005"),
            ("2", "4", "0.0075"),
            ("4", "Infinity", "0.0125"),
        )
    )
    rules = replace(MARK, tier_measure=TierMeasure.QUANTITY)
    machine = machine_with(contract(rules=rules, table=table), deposit="40000", ladder=OKX)
    enter(machine, quantity="5")
    # 225,000 / (5 x 0.9875), and after that 90,000 / (2 x 0.995): at 45,000 / 0.9875 to 0.995
    move(machine, "45569")
    assert rungs(machine) == [(Rung.REDUCED, BTC, D(3), D(2))]
    assert position_of(machine).isolated_margin == 10_000
    move(machine, "45226", at_ms=T0 + 2_000)
    assert rungs(machine)[1:] == [(Rung.TAKEN_OVER, BTC, D(2), D(0))]


# -- until compliant --------------------------------------------------------------------------


def test_one_order_makes_the_rest_compliant_and_pays_the_clearance_fee() -> None:
    """
    1 at 50,000 on 5,000 that needs 5 %: spent at 45,000 / 0.95 = 47,368.42 with 2,368.42 left.

    x sold costs 592.105 x, and 2,368.42 - 592.105 x >= 1.25 x 2,368.42 (1 - x) from x = 0.25 on:
    0.251, as the order fills at the tick below.
    """
    machine = machine_with(contract(table=FIVE_PERCENT), ladder=BINANCE)
    enter(machine)
    stop(machine, "cancelled", "1000")
    move(machine, "47368")
    (step,) = steps(machine)
    assert (step.rung, step.quantity, step.left) == (Rung.REDUCED, D("0.251"), D("0.749"))
    assert step.price == D("47368.42")
    assert step.fee == step.to_fund == D("148.61841775")
    assert machine.snapshot(ALICE, T0).stops == ()
    margin = 5_000 - D("0.251") * (50_000 - D("47368.42")) - step.fee
    assert position_of(machine).isolated_margin == margin
    assert machine.ledger().wallets == 5_000
    assert total(machine) == 10_000


def test_where_the_fee_is_more_than_what_is_required_nothing_helps() -> None:
    """0.5 % is required and 1.25 % is the fee: the whole goes, and what was left with it."""
    machine = machine_with(contract(), ladder=BINANCE)
    enter(machine)
    move(machine, "45226.13")
    (step,) = steps(machine)
    assert (step.rung, step.left) == (Rung.TAKEN_OVER, Quantity(D(0)))
    assert step.fee == machine.ledger().insurance_fund == D("226.13")
    assert machine.equity(ALICE) == 5_000


def test_what_the_order_leaves_is_given_back() -> None:
    """2 % are required and all is sold: what the fee leaves of them goes to the wallet."""
    table = tiers(last=("0.02", "50"))
    machine = machine_with(
        contract(table=table), ladder=replace(BINANCE, reduction=WHOLE.reduction)
    )
    enter(machine, leverage="10")
    move(machine, "45918.36")
    (step,) = steps(machine)
    # 45,000 / 0.98 = 45,918.367: 918.36 are left, of which 1.25 % of 45,918.36 is the fee.
    assert step.fee == D("573.9795")
    assert machine.equity(ALICE) == 5_000 + D("918.36") - D("573.9795")
    (realised,) = machine.realised(ALICE)
    assert (realised.price, realised.profit) == (D("45918.36"), D("-4081.64"))


# -- a share first ----------------------------------------------------------------------------


def large(ladder: Ladder = HYPERLIQUID) -> PaperMachine:
    """3 at 50,000 on 15,000 that need 1 %: spent at 45,454.55, with 1,363.64 left."""
    machine = machine_with(
        contract(table=tiers(last=("0.01", "50"))), deposit="20000", ladder=ladder
    )
    enter(machine, quantity="3")
    return machine


def test_a_fifth_of_a_large_position_goes_first_and_within_half_a_minute_all() -> None:
    machine = large()
    move(machine, "45450", at_ms=T0 + 1_000)
    assert rungs(machine) == [(Rung.REDUCED, BTC, D("0.6"), D("2.4"))]
    # Sold at market: the loss is 4,545.46 a piece, and all else of the margin stays.
    assert position_of(machine).isolated_margin == 15_000 - D("0.6") * D("4545.46")
    shown = machine.snapshot(ALICE, T0).positions[0].liquidation
    move(machine, "45000", at_ms=T0 + 20_000)
    assert rungs(machine)[1:] == [(Rung.TAKEN_OVER, BTC, D("2.4"), D(0))], shown
    assert machine.equity(ALICE) > 5_000
    assert total(machine) == 20_000


def test_after_half_a_minute_a_large_one_is_spared_again() -> None:
    machine = large()
    move(machine, "45450", at_ms=T0 + 1_000)
    move(machine, "45400", at_ms=T0 + 40_000)
    move(machine, "45320", at_ms=T0 + 80_000)
    assert rungs(machine)[1:] == [(Rung.REDUCED, BTC, D("0.48"), D("1.92"))]


def test_below_two_thirds_the_backstop_takes_position_and_margin() -> None:
    """A bill of 1,230 at 45,600: 570 are left of 1,800, and 1,368 are required."""
    machine = large()
    move(machine, "45600")
    machine.announce(FundingTerm(machine.at_ms, BTC, Ratio(D(1_230) / 136_800), T0 + 5_000, 1))
    move(machine, "45600", at_ms=T0 + 6_000)
    assert rungs(machine) == [(Rung.TAKEN_OVER, BTC, D(3), D(0))]
    assert abs(machine.ledger().insurance_fund - 570) < D("1e-7")
    assert machine.equity(ALICE) == 5_000


# -- long against short -----------------------------------------------------------------------


def hedged(requirement: HedgeRequirement, ladder: Ladder = GATE) -> PaperMachine:
    """2 long and 1.5 short of BTC at 50,000, on 6,000: 5 % is required."""
    rules = replace(MARK, hedge_requirement=requirement)
    machine = machine_with(
        contract(rules=rules, table=FIVE_PERCENT), deposit="9000", ladder=ladder
    )
    assert machine.set_position_mode(ALICE, PositionMode.HEDGE, T0) == Accepted()
    enter(machine, LONG, "2", "20", margin_mode=CROSS)
    enter(machine, SHORT, "1.5", "20", margin_mode=CROSS)
    return machine


@pytest.mark.parametrize(
    ("requirement", "spent"),
    [
        # 9,000 + 0.5 (p - 50,000) = 0.175 p, 0.1 p or 0.025 p
        (HedgeRequirement.BOTH_LEGS, D(16_000) / D("0.325")),
        (HedgeRequirement.LARGER_LEG, D(16_000) / D("0.4")),
        (HedgeRequirement.NET, D(16_000) / D("0.475")),
    ],
)
def test_what_a_hedge_requires_is_the_venues_rule(
    requirement: HedgeRequirement, spent: Decimal
) -> None:
    """And both legs show the one price at which they are spent."""
    machine = hedged(requirement)
    long, short = machine.snapshot(ALICE, T0).positions
    up, down = ceil_to(spent, D("0.01")), floor_to(spent, D("0.01"))
    assert long.liquidation == Reported(Price(up))
    assert short.liquidation == Reported(Price(down))
    move(machine, up + D("0.01"))
    assert machine.liquidation(ALICE) == ()
    move(machine, down, at_ms=T0 + 2_000)
    assert machine.liquidation(ALICE)


def test_a_hedge_is_netted_at_mark_before_anything_is_sold() -> None:
    """Both need 5 %: without 1.5 of each, 0.5 need 1,231, and 8,615 are left of 9,000."""
    machine = hedged(HedgeRequirement.BOTH_LEGS)
    move(machine, "49230")
    assert rungs(machine) == [
        (Rung.NETTED, BTC, D("1.5"), D("0.5")),
        (Rung.NETTED, BTC, D("1.5"), D(0)),
    ]
    assert {each.price for each in steps(machine)} == {steps(machine)[0].mark}
    left = position_of(machine)
    assert (left.side, left.quantity, left.entry_price) == (LONG, D("0.5"), D(50_000))
    assert abs(machine.equity(ALICE) - (9_000 - D("0.5") * 770)) < D("1e-7")
    assert machine.ledger().fees == machine.ledger().insurance_fund == 0


def test_who_does_not_net_sells_the_leg_that_needs_more() -> None:
    machine = hedged(HedgeRequirement.BOTH_LEGS, BINANCE)
    move(machine, "49230")
    (step,) = steps(machine)
    assert (step.rung, step.side) == (Rung.REDUCED, LONG)
    assert len(machine.snapshot(ALICE, T0).positions) == 2


# -- whatever the ladder ----------------------------------------------------------------------


@pytest.mark.parametrize("ladder", LADDERS)
def test_money_is_conserved_down_every_ladder(ladder: Ladder) -> None:
    """Isolated and cross positions in all tiers fall together, into a book that thins."""
    thin = OrderBook(Money(D(50_000)), Ratio(D("0.01")), 60_000, 10_000, Ratio(D("0.05")))
    machine = machine_with(
        contract(BTC, table=THREE_TIERS),
        contract(ETH, table=THREE_TIERS),
        contract("XRPUSDT", table=THREE_TIERS),
        deposit="60000",
        fund="500",
        depths={BTC: thin, ETH: thin},
        ladder=ladder,
    )
    for symbol, mode in ((BTC, MarginMode.ISOLATED), (ETH, CROSS), ("XRPUSDT", CROSS)):
        enter(machine, quantity="3", leverage="15", symbol=symbol, margin_mode=mode)
    for number in range(1, 60):
        fall = prices(D(50_000 - number * 150))
        at_ms = T0 + number * 7_000
        machine.move(at_ms, {BTC: fall, ETH: fall, "XRPUSDT": prices(D(50_000 - number * 40))})
        assert total(machine) == machine.ledger().deposited == 60_500
        assert machine.ledger().insurance_fund >= 0
        assert machine.ledger().wallets >= 0
    assert machine.liquidation(ALICE)
    twin = PaperMachine.from_json(machine.to_json())
    assert twin.liquidation(ALICE) == machine.liquidation(ALICE)
