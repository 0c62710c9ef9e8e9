"""Cross positions live and die together, on one wallet, with all marks moving."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import Action, AddMargin, ClosePosition, PlaceStop
from bot.core.events import Liquidated
from bot.core.model import (
    NO_FILL,
    CloseFee,
    Instrument,
    MarginMode,
    NotReported,
    Position,
    Reported,
    Side,
)
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.books import Cause
from bot.exchange.paper.ladders import WHOLE
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.ports import Accepted, AccountChanged, OrderFound, Refused
from tests.exchange.paper.build import (
    ALICE,
    BOB,
    BTC,
    ENTRY,
    ETH,
    MARK,
    MARK_WITH_FEE,
    T0,
    THREE_TIERS,
    D,
    contract,
    enter,
    machine_with,
    move,
    position_of,
    prices,
    reported,
    tiers,
    total,
)
from tests.exchange.paper.independent import Spare, first_spent

LONG, SHORT, CROSS = Side.LONG, Side.SHORT, MarginMode.CROSS
ONE_PERCENT = tiers(last=("0.01", "100"))
STEEP = tiers(("30000", "0.01", "100"), last=("0.09", "100"))
YEARS_MS = 10**15
"""So long a way tells the place on it to fifteen digits."""


def do(machine: PaperMachine, action: Action, client_id: str = "a") -> None:
    assert machine.handle(ALICE, action, client_id, machine.at_ms) == Accepted()


def close(quantity: str = "1", side: Side = LONG, symbol: str = BTC) -> ClosePosition:
    return ClosePosition(symbol, side, Quantity(D(quantity)))


def stop(trigger: str, symbol: str = BTC) -> PlaceStop:
    return PlaceStop(symbol, LONG, Quantity(D(1)), Price(D(trigger)))


def positions(machine: PaperMachine) -> dict[str, Position]:
    return {each.symbol: each for each in machine.snapshot(ALICE, machine.at_ms).positions}


def two_longs() -> PaperMachine:
    """One of each at 50,000, cross."""
    machine = machine_with(contract(BTC), contract(ETH))
    for symbol in (BTC, ETH):
        enter(machine, symbol=symbol, leverage="20", margin_mode=CROSS)
    machine.take_notices()
    return machine


# -- opening and reading ----------------------------------------------------------------------


def test_a_cross_position_leaves_its_margin_in_the_wallet() -> None:
    machine = machine_with(contract())
    enter(machine, margin_mode=CROSS)
    position, snapshot = position_of(machine), machine.snapshot(ALICE, T0)
    assert position.margin_mode is CROSS
    assert position.isolated_margin == 0
    assert snapshot.wallet_balance == 10_000
    assert snapshot.free == 5_000
    assert machine.ledger().margins == 0


@pytest.mark.parametrize(
    ("mark", "free"),
    # 5,000 of initial margin at 50,000. A loss binds money, a profit frees none.
    [("50000", 5_000), ("49000", 10_000 - 1_000 - 4_900), ("51000", 10_000 - 5_100)],
)
def test_what_is_free_is_less_the_loss_and_the_initial_margin_at_mark(
    mark: str, free: int
) -> None:
    machine = machine_with(contract())
    enter(machine, margin_mode=CROSS)
    move(machine, mark)
    assert machine.snapshot(ALICE, T0).free == free
    assert machine.snapshot(ALICE, T0).wallet_balance == 10_000


def test_a_cross_position_needs_its_initial_margin_free() -> None:
    machine = machine_with(contract(), contract(ETH))
    enter(machine, margin_mode=CROSS)
    with pytest.raises(ValueError, match=r"free money of 5000\.\d+ .*, was 5000"):
        enter(machine, quantity="1.001", symbol=ETH, leverage="10.009", margin_mode=CROSS)
    enter(machine, symbol=ETH, margin_mode=CROSS)
    assert machine.snapshot(ALICE, T0).free == 0


def test_a_cross_position_that_would_be_liquidated_at_once_does_not_open() -> None:
    machine = machine_with(contract(), deposit="500")
    move(machine, "49700", "50000")
    with pytest.raises(ValueError, match="expected a mark price clear of the liquidation price"):
        enter(machine, leverage="100", margin_mode=CROSS)
    assert machine.snapshot(ALICE, T0).wallet_balance == 500


def test_the_displayed_price_keeps_the_other_marks_where_they_are() -> None:
    """With ETH 1,000 down and 245 of it required, 8,755 back the long of BTC."""
    machine = two_longs()
    move(machine, "49000", symbol=ETH)
    backed = (D(50_000) - 8_755) / D("0.995")
    assert positions(machine)[BTC].liquidation == Reported(Price(round(backed + D("0.005"), 2)))
    move(machine, "57000", symbol=ETH, at_ms=T0 + 2_000)
    isolated = (D(50_000) - (10_000 + 7_000 - 285)) / D("0.995")
    assert positions(machine)[BTC].liquidation == Reported(Price(round(isolated + D("0.005"), 2)))


def test_a_cross_long_that_the_wallet_covers_has_no_displayed_price() -> None:
    machine = machine_with(contract(), deposit="60000")
    enter(machine, margin_mode=CROSS)
    assert position_of(machine).liquidation == NotReported()


def test_no_margin_can_be_added_to_a_cross_position() -> None:
    machine = two_longs()
    refused = machine.handle(ALICE, AddMargin(BTC, LONG, Money(D(1))), "a", T0)
    assert refused == Refused("-4049", "Add margin only support for isolated position.")


# -- liquidation ------------------------------------------------------------------------------


def test_ten_equal_longs_are_liquidated_by_a_joint_fall_that_no_displayed_price_tells_of() -> None:
    """
    Each is worth the wallet once. One falls alone until 1 - x = 0.01 (9 + 1 - x), at x = 90.9 %;
    together they are spent where 1 - 10 x = 0.01 x 10 (1 - x), at x = 0.9 / 9.9 = 9.09 %.
    """
    symbols = [f"{letter}USDT" for letter in "ABCDEFGHIJ"]
    machine = machine_with(
        *(contract(symbol, table=ONE_PERCENT) for symbol in symbols), price="10000"
    )
    for symbol in symbols:
        enter(machine, symbol=symbol, margin_mode=CROSS)
    for shown in positions(machine).values():
        assert shown.liquidation == Reported(Price(D("909.10")))
    fall = D("10000") * (1 - D("0.9") / D("9.9"))
    machine.take_notices()
    machine.move(T0 + 1_000, {symbol: prices(round(fall, 2) + D("0.01")) for symbol in symbols})
    assert machine.take_notices() == ()
    machine.move(T0 + 2_000, {symbol: prices(round(fall, 2) - D("0.01")) for symbol in symbols})
    notices = [notice for _, notice in machine.take_notices()]
    assert notices[-1] == AccountChanged()
    assert [each.symbol for each in notices if isinstance(each, Liquidated)] == symbols
    assert positions(machine) == {}
    assert machine.equity(ALICE) == 0


def test_a_cross_liquidation_takes_every_order_every_cross_position_and_the_wallet() -> None:
    """Bankrupt together 5,000 below, spent 4,755 or so below; an isolated long lives on."""
    other = contract("XRPUSDT")
    machine = machine_with(contract(BTC), contract(ETH), other, deposit="15000")
    enter(machine, symbol="XRPUSDT")
    for symbol in (ETH, BTC):
        enter(machine, symbol=symbol, leverage="20", margin_mode=CROSS)
    do(machine, stop("1000"), "below")
    do(machine, stop("49000", "XRPUSDT"), "isolated")
    machine.take_notices()
    machine.move(T0 + 10_000, {BTC: prices("40000"), ETH: prices("40000")})
    spent = (D(100_000) - 10_000) / 2 / D("0.995")
    shown = Price(round(spent + D("0.005"), 2))
    at_ms = T0 + 1 + int(50_000 - spent)
    assert machine.take_notices() == (
        (ALICE, Liquidated(BTC, LONG, shown, at_ms)),
        (ALICE, Liquidated(ETH, LONG, shown, at_ms)),
        (ALICE, AccountChanged()),
    )
    for client_id, symbol in (("below", BTC), ("isolated", "XRPUSDT")):
        assert machine.order(ALICE, symbol, client_id) == OrderFound(client_id, False, NO_FILL)
    snapshot = machine.snapshot(ALICE, T0)
    assert snapshot.wallet_balance == snapshot.free == 0
    assert snapshot.stops == ()
    assert [each.symbol for each in snapshot.positions] == ["XRPUSDT"]
    assert snapshot.positions[0].isolated_margin == 5_000
    realised = machine.realised(ALICE)
    assert [(each.symbol, each.cause) for each in realised] == [
        (BTC, Cause.LIQUIDATION),
        (ETH, Cause.LIQUIDATION),
    ]
    assert sum(each.profit for each in realised) == -10_000
    assert all(abs(each.price - 45_000) < D("0.0001") for each in realised)
    assert total(machine) == 15_000
    # Filled to the tick where they were spent: the fund keeps what was required of them.
    assert abs(machine.ledger().insurance_fund - 2 * spent * D("0.005")) < D("0.02")


def test_a_gap_beyond_the_wallet_is_paid_by_the_fund() -> None:
    machine = two_longs()
    machine.endow(Money(D(15_000)))
    move(machine, "49000", "30000")
    move(machine, "40000", "30000", at_ms=T0 + 1_000)
    assert machine.snapshot(ALICE, T0).wallet_balance == 0
    assert machine.ledger().insurance_fund == 5_000
    assert total(machine) == 25_000


def test_a_hedge_is_spent_where_its_legs_part() -> None:
    """Long BTC, short ETH: a common move changes nothing, the adverse one is found on the way."""
    machine = machine_with(contract(BTC), contract(ETH))
    enter(machine, margin_mode=CROSS, leverage="20")
    enter(machine, SHORT, symbol=ETH, margin_mode=CROSS, leverage="20")
    machine.move(T0 + 1_000, {BTC: prices("40000"), ETH: prices("40000")})
    assert len(positions(machine)) == 2
    machine.move(T0 + 2_000, {BTC: prices("41000"), ETH: prices("61000")})
    assert positions(machine) == {}


def test_the_tier_that_counts_is_that_of_the_moment() -> None:
    """
    A short of 1 at 25,000 backed by 6,850 needs 1 % up to 30,000, and then 9 % less 2,400.

    31,850 - p = 0.09 p - 2,400 at p = 34,250 / 1.09. By the first tier it were 112.63 later.
    """
    machine = machine_with(contract(table=STEEP), price="25000", deposit="6850", ladder=WHOLE)
    enter(machine, SHORT, margin_mode=CROSS)
    assert reported(machine) == D("31422.01")
    move(machine, "32000", at_ms=YEARS_MS)
    (realised,) = machine.realised(ALICE)
    place = (Fraction(34_250) / Fraction("1.09") - 25_000) / 7_000
    assert abs(realised.at_ms - (T0 + place * (YEARS_MS - T0))) <= 1


def test_two_borders_on_one_way_are_both_met() -> None:
    """Long A falls out of its upper tier, short B rises into it; the wallet lies in between."""
    machine = machine_with(
        contract("A", table=STEEP),
        contract("B", table=STEEP),
        price="30000",
        deposit="8000",
        ladder=WHOLE,
    )
    enter(machine, LONG, "1.1", "10", symbol="A", margin_mode=CROSS)
    enter(machine, SHORT, "0.95", "10", symbol="B", margin_mode=CROSS)
    machine.move(YEARS_MS, {"A": prices("26000"), "B": prices("34000")})
    long = Spare(machine.instruments["A"], LONG, D("1.1"), D(30_000), D(0))
    short = Spare(machine.instruments["B"], SHORT, D("0.95"), D(30_000), D(0))
    place = first_spent(
        lambda share: 8_000 + long.at(30_000 - 4_000 * share) + short.at(30_000 + 4_000 * share)
    )
    assert place is not None
    assert all(
        abs(each.at_ms - (T0 + place * (YEARS_MS - T0))) <= 1 for each in machine.realised(ALICE)
    )
    assert len(machine.realised(ALICE)) == 2


def test_a_stop_that_is_met_before_can_save_the_account() -> None:
    machine = two_longs()
    do(machine, stop("46000"), "btc")
    machine.move(T0 + 1_000, {BTC: prices("44600"), ETH: prices("44600")})
    assert [each.cause for each in machine.realised(ALICE)] == [Cause.STOP]
    assert [*positions(machine)] == [ETH]
    machine.move(T0 + 2_000, {ETH: prices("44300")})
    assert [each.cause for each in machine.realised(ALICE)] == [Cause.STOP]
    assert machine.snapshot(ALICE, T0).wallet_balance == 6_000


# -- closing and transfers --------------------------------------------------------------------


def test_a_close_settles_with_the_wallet() -> None:
    machine = machine_with(contract(taker_fee="0.001"))
    enter(machine, margin_mode=CROSS)
    move(machine, "48000")
    do(machine, close("0.25"))
    assert machine.snapshot(ALICE, T0).wallet_balance == 10_000 - 500 - 12
    assert position_of(machine).quantity == D("0.75")
    assert machine.ledger().market == 500


def test_what_the_last_close_owes_the_fund_pays() -> None:
    """The book is far below the mark: the loss of 12,000 is more than the wallet."""
    machine = machine_with(contract(), fund="2500")
    enter(machine, margin_mode=CROSS)
    move(machine, "46000", "38000")
    do(machine, close())
    (realised,) = machine.realised(ALICE)
    assert realised.profit == -12_000
    assert realised.shortfall == 2_000
    assert machine.snapshot(ALICE, T0).wallet_balance == 0
    assert machine.ledger().insurance_fund == 500


def test_a_wallet_may_owe_while_another_cross_position_backs_it() -> None:
    machine = two_longs()
    machine.move(T0 + 1_000, {BTC: prices("48000", "38000"), ETH: prices("60000")})
    do(machine, close())
    assert machine.snapshot(ALICE, T0).wallet_balance == -2_000
    assert machine.snapshot(ALICE, T0).free == 0
    assert machine.realised(ALICE)[0].shortfall == 0
    do(machine, close(symbol=ETH), "b")
    assert machine.snapshot(ALICE, T0).wallet_balance == 8_000


def test_a_transfer_is_limited_by_what_is_free() -> None:
    """15,000 less 5,000 bound to the isolated and 5,000 to the cross position."""
    machine = machine_with(contract(BTC), contract(ETH), deposit="15000")
    enter(machine)
    enter(machine, symbol=ETH, margin_mode=CROSS)
    more = machine.handle(ALICE, AddMargin(BTC, LONG, Money(D("5000.01"))), "a", T0)
    assert isinstance(more, Refused)
    assert more.code == "-2019"
    do(machine, AddMargin(BTC, LONG, Money(D(5_000))))
    assert positions(machine)[BTC].isolated_margin == 10_000


def test_a_transfer_that_leaves_the_cross_book_too_little_liquidates_it() -> None:
    """Rules that require more than the initial margin: what is free is not what is spare."""
    strict = contract(ETH, table=tiers(last=("0.5", "10")))
    machine = machine_with(contract(BTC), strict, deposit="35000")
    enter(machine)
    enter(machine, symbol=ETH, margin_mode=CROSS)
    do(machine, AddMargin(BTC, LONG, Money(D(4_999))))
    assert len(positions(machine)) == 2
    do(machine, AddMargin(BTC, LONG, Money(D(1))))
    assert [*positions(machine)] == [BTC]
    assert machine.snapshot(ALICE, T0).wallet_balance == 0


def test_one_accounts_cross_book_is_not_anothers() -> None:
    machine = two_longs()
    machine.deposit(BOB, Money(D(10_000)))
    enter(machine, symbol=BTC, account=BOB, margin_mode=CROSS)
    machine.move(T0 + 1_000, {BTC: prices("44000"), ETH: prices("44000")})
    assert positions(machine) == {}
    assert len(machine.snapshot(BOB, T0).positions) == 1
    assert reported(machine, BOB) == D("40201.01")


# -- against a bisection ----------------------------------------------------------------------

Leg = tuple[Instrument, Side, Decimal, Decimal, Decimal]
ENTRY_WITH_FEE = replace(ENTRY, close_fee=CloseFee.MARK)
rules = st.sampled_from([MARK, MARK_WITH_FEE, MARK, MARK_WITH_FEE, ENTRY, ENTRY_WITH_FEE])


@st.composite
def books_of_legs(draw: st.DrawFn) -> list[Leg]:
    """
    Contract, side, quantity, and the prices from which and to which it goes, of each position.

    Mostly so that the first goes against the account by more than a tenth, and over a border.
    """
    found = []
    for number in range(draw(st.integers(1, 4))):
        table = draw(st.sampled_from([THREE_TIERS, STEEP, STEEP]))
        listed = contract(f"S{number}", rules=draw(rules), table=table, taker_fee="0.006")
        side = draw(st.sampled_from(Side))
        start = draw(st.integers(100, 100_000))
        adverse = draw(st.integers(150, 500) if number == 0 else st.integers(-400, 400))
        end = start * (1 - side.sign * adverse / D(1_000))
        notional = table[0].cap * (1 + side.sign * D(draw(st.integers(-10, 200))) / 1_000)
        quantity = round(notional / start, 3)
        found.append((listed, side, quantity, D(start), end))
    return found


@given(books_of_legs(), st.integers(110, 300))
def test_cross_liquidation_is_where_equity_meets_the_requirements(
    legs: list[Leg], thousandths: int
) -> None:
    """A bisection over the way that all marks go together finds the same place, or none."""
    wallet = sum((leg[2] * leg[3] for leg in legs), D(0)) * thousandths / 1_000
    machine = PaperMachine([leg[0] for leg in legs], Ratio(D(0)), ladder=WHOLE)
    machine.deposit(ALICE, Money(wallet))
    machine.move(0, {listed.symbol: prices(start) for listed, _, _, start, _ in legs})
    for listed, side, quantity, _, _ in legs:
        enter(machine, side, str(quantity), "10", symbol=listed.symbol, margin_mode=CROSS)
    spares = [
        (Spare(listed, side, quantity, start, D(0)), Fraction(start), Fraction(end))
        for listed, side, quantity, start, end in legs
    ]

    def spare(share: Fraction) -> Fraction:
        there = (each.at(start + (end - start) * share) for each, start, end in spares)
        return Fraction(wallet) + sum(there, Fraction(0))

    machine.move(YEARS_MS, {listed.symbol: prices(end) for listed, _, _, _, end in legs})
    place = first_spent(spare)
    realised = machine.realised(ALICE)
    if place is None:
        assert realised == ()
        assert len(machine.snapshot(ALICE, YEARS_MS).positions) == len(legs)
    else:
        assert len(realised) == len(legs)
        assert all(abs(each.at_ms - place * YEARS_MS) <= 1 for each in realised)
        assert sum((each.profit for each in realised), D(0)) == -wallet
