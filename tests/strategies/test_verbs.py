"""What each verb proposes for a 10x long and short at round numbers."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.cross import Book, Leg
from bot.core.model import (
    CloseFee,
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
from bot.core.sizing import LegClose
from bot.core.strategy import (
    BookView,
    Close,
    Enough,
    Nothing,
    Notify,
    PositionView,
    Reduce,
    TightenStop,
    TightenStops,
    TopUp,
    TrimAndRefund,
)
from bot.core.units import Money, Price, Quantity, Ratio
from bot.policy.verbs import BoundVerb, find_verbs
from strategies import alert, close, partial_close, place_stop, top_up, trim_and_refund

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
    rules=VenueRules(MaintenanceAt.MARK, CloseFee.NONE, Decimal("0.01"), MarginOnReduce.PRO_RATA),
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
        (LONG, "0.05", Enough("the distance is already 5% or more")),
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


# Parts

KEEPS = replace(
    INSTRUMENT, rules=replace(INSTRUMENT.rules, margin_on_reduce=MarginOnReduce.RETAINED)
)


def part(text: str) -> Reduce:
    return Reduce((LegClose(LONG.position.key, Quantity(Decimal(text))),))


def test_partial_close_of_a_share() -> None:
    assert partial_close.propose(LONG, partial_close.Fraction(ratio("0.25"))) == part("0.25")
    assert partial_close.propose(LONG, partial_close.Fraction(ratio("0.0001"))) == part("0.001")


def test_partial_close_to_a_distance_needs_a_venue_that_retains_margin() -> None:
    """At 8,640 the rest loses 1,360 a coin and needs 86.40: 1,000 are enough for 0.69137."""
    to = partial_close.ToDistance(ratio("0.1"))
    released = partial_close.propose(LONG, to)
    assert isinstance(released, Nothing)
    assert "trim_and_refund puts it back" in released.reason
    assert partial_close.propose(replace(LONG, instrument=KEEPS), to) == part("0.309")
    near = partial_close.ToDistance(ratio("0.05"))
    assert partial_close.propose(replace(LONG, instrument=KEEPS), near) == Enough(
        "the target is reached already"
    )


def test_partial_close_of_one_cross_position_is_a_share_and_no_distance() -> None:
    shared = replace(LONG, position=replace(LONG.position, margin_mode=MarginMode.CROSS))
    assert partial_close.propose(shared, partial_close.Fraction(ratio("0.5"))) == part("0.5")
    found = partial_close.propose(shared, partial_close.ToDistance(ratio("0.1")))
    assert isinstance(found, Nothing)
    assert "cannot be reached by one cross position" in found.reason


def test_trim_and_refund_to_a_distance() -> None:
    """
    A coin closed at 9,552 costs 448 and a fee of 4.776; at 8,640 it would need 1,446.40.

    1,000 - 452.776 c >= 1,446.4 (1 - c) from c = 446.4 / 993.624 on.
    """
    to = trim_and_refund.ToDistance(ratio("0.1"))
    assert trim_and_refund.propose(LONG, to) == TrimAndRefund(Quantity(Decimal("0.450")))
    near = trim_and_refund.ToDistance(ratio("0.05"))
    assert trim_and_refund.propose(LONG, near) == Enough("the target is reached already")


def test_trim_and_refund_of_a_share() -> None:
    half = trim_and_refund.Fraction(ratio("0.5"))
    assert trim_and_refund.propose(SHORT, half) == TrimAndRefund(Quantity(Decimal("0.5")))


# All cross positions together

BOOK = BookView(
    book=Book(
        Money(Decimal(1_000)),
        (
            Leg(
                INSTRUMENT,
                replace(
                    LONG.position, margin_mode=MarginMode.CROSS, isolated_margin=Money(Decimal(0))
                ),
                Price(Decimal(10_000)),
                ratio("1"),
            ),
        ),
    ),
    liquidation_distance=ratio("0.0909"),
    ranked=(),
    close_prices={LONG.position.key: Price(Decimal(9_950))},
)
RANKED = replace(BOOK, ranked=BOOK.book.legs)


def test_the_verbs_on_a_book() -> None:
    """At 9,000 a coin has lost 1,000 and needs 90; closed at 9,950 it costs 50 and 4.975."""
    assert alert.propose(RANKED, alert.Params()) == Notify(
        "together 9.09% from liquidation: BTCUSDT"
    )
    assert close.propose(RANKED, close.Params()) == Close()
    assert place_stop.propose(RANKED, place_stop.Params(ratio("0.05"))) == TightenStops(
        ratio("0.05")
    )
    assert isinstance(place_stop.propose(RANKED, place_stop.Params(ratio("0.0909"))), Nothing)
    to = partial_close.propose(RANKED, partial_close.ToDistance(ratio("0.1")))
    assert to == part("0.087")  # 90 / 1,035.025
    assert partial_close.propose(RANKED, partial_close.Fraction(ratio("0.5"))) == part("0.5")
    assert isinstance(top_up.propose(RANKED, top_up.Params(ratio("0.5"))), Nothing)
    trim = trim_and_refund.propose(RANKED, trim_and_refund.Fraction(ratio("0.5")))
    assert isinstance(trim, Nothing)
