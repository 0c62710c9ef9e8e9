"""What each verb proposes for a 10x long and short at round numbers."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.model import (
    ContractKind,
    Instrument,
    MaintenanceAt,
    MarginMode,
    MarginOnReduce,
    NotReported,
    Position,
    RiskTier,
    Side,
    VenueRules,
)
from bot.core.strategy import Close, Nothing, Notify, PositionView, TightenStop, TopUp
from bot.core.units import Money, Price, Quantity, Ratio
from bot.policy.verbs import BoundVerb, find_verbs
from strategies import alert, close, place_stop, top_up

INSTRUMENT = Instrument(
    symbol="BTCUSDT",
    kind=ContractKind.LINEAR,
    settle="USDT",
    tick_size=Price(Decimal("0.10")),
    quantity_step=Quantity(Decimal("0.001")),
    quantity_min=Quantity(Decimal("0.001")),
    taker_fee=Ratio(Decimal("0.0005")),
    tiers=(
        RiskTier(
            Decimal(0), Decimal("Infinity"), Ratio(Decimal("0.01")), Money(Decimal(0)), Decimal(50)
        ),
    ),
    rules=VenueRules(MaintenanceAt.MARK, False, Decimal("0.01"), MarginOnReduce.PRO_RATA),
)

# 100 at 10,000 with margin 1,000 a coin: a long is liquidated at 9,000 / 0.99 = 9,090.909...,
# a short at 11,000 / 1.01 = 10,891.089...
LONG = PositionView(
    position=Position(
        symbol="BTCUSDT",
        side=Side.LONG,
        quantity=Quantity(Decimal(1)),
        entry_price=Price(Decimal(10_000)),
        margin_mode=MarginMode.ISOLATED,
        isolated_margin=Money(Decimal(1_000)),
        leverage=Decimal(10),
        liquidation=NotReported(),
    ),
    instrument=INSTRUMENT,
    mark_price=Price(Decimal("9600.0")),
    liquidation_price=Price(Decimal(9_000) / Decimal("0.99")),
    stop_price=Price(Decimal("9183.8")),
    close_price=Price(Decimal("9552.0")),
)
SHORT = replace(
    LONG,
    position=replace(LONG.position, side=Side.SHORT),
    mark_price=Price(Decimal("10400.0")),
    liquidation_price=Price(Decimal(11_000) / Decimal("1.01")),
    stop_price=Price(Decimal("10783.2")),
)


def ratio(text: str) -> Ratio:
    return Ratio(Decimal(text))


def stop(text: str) -> TightenStop:
    return TightenStop(Price(Decimal(text)))


def margin(text: str) -> TopUp:
    return TopUp(Money(Decimal(text)))


def test_alert_says_who_how_far_and_both_prices() -> None:
    assert alert.propose(LONG, alert.Params()) == Notify(
        "BTCUSDT long is 5.30% from liquidation (mark price 9600.0, liquidation price 9091.00)"
    )
    assert alert.propose(SHORT, alert.Params()) == Notify(
        "BTCUSDT short is 4.72% from liquidation (mark price 10400.0, liquidation price 10891.00)"
    )


def test_close_closes() -> None:
    assert close.propose(LONG, close.Params()) == Close()


@pytest.mark.parametrize(
    ("view", "room", "proposal"),
    [
        # 9,090.909 / 0.97 = 9,372.07 and 10,891.089 / 1.03 = 10,573.87, to the mark's side.
        (LONG, "0.03", stop("9372.1")),
        (SHORT, "0.03", stop("10573.8")),
        # 9,090.909 / 0.99 = 9,182.74 is looser than the standing stop.
        (LONG, "0.01", Nothing("the stop at 9183.8 is tight enough")),
        (SHORT, "0.01", Nothing("the stop at 10783.2 is tight enough")),
        # 9,090.909 / 0.94 = 9,671.19 would trigger at once.
        (LONG, "0.06", Nothing("a stop at 9671.20 is not between mark and liquidation price")),
        (SHORT, "0.06", Nothing("a stop at 10274.60 is not between mark and liquidation price")),
        (LONG, "1", Nothing("a long cannot be more than 100% from liquidation")),
    ],
)
def test_place_stop_tightens_or_says_why_not(
    view: PositionView, room: str, proposal: TightenStop | Nothing
) -> None:
    assert place_stop.propose(view, place_stop.Params(ratio(room))) == proposal


def test_place_stop_leaves_a_position_without_liquidation_alone() -> None:
    view = replace(LONG, liquidation_price=Price(Decimal(0)), stop_price=Price(Decimal(-1)))
    assert place_stop.propose(view, place_stop.Params(ratio("0.03"))) == Nothing(
        "a stop at 0 is not between mark and liquidation price"
    )


@pytest.mark.parametrize(
    ("view", "to", "proposal"),
    [
        # Liquidation shall be at 8,640: 0.01 * 8,640 = 1,000 + x - 1,360.
        (LONG, "0.1", margin("446.40")),
        # Liquidation shall be at 11,440: 0.01 * 11,440 = 1,000 + x - 1,440.
        (SHORT, "0.1", margin("554.40")),
        # At 8,639.99999 the step of 0.01 is not enough: rounded up.
        (LONG, "0.100001", margin("446.41")),
        (LONG, "0.05", Nothing("the distance is already 5% or more")),
    ],
)
def test_top_up_adds_what_is_missing_or_says_why_not(
    view: PositionView, to: str, proposal: TopUp | Nothing
) -> None:
    assert top_up.propose(view, top_up.Params(ratio(to))) == proposal


def test_a_bound_verb_proposes_with_its_parameters() -> None:
    bound = BoundVerb(find_verbs()["top_up"], top_up.Params(ratio("0.1")))
    assert bound(LONG) == margin("446.40")
    assert bound(SHORT) == margin("554.40")
