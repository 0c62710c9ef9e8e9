"""Prices move, and stops, closes and liquidations happen at the price and moment they should."""

from decimal import Decimal

import pytest

from bot.core.actions import Action, AddMargin, CancelStop, ClosePosition, PlaceStop
from bot.core.events import Liquidated
from bot.core.model import NO_FILL, Fill, NotReported, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.books import NOTHING, Cause, Quote
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.ports import Accepted, AccountChanged, MarginChange, OrderAbsent, OrderFound
from tests.exchange.paper.build import (
    ALICE,
    BTC,
    ENTRY,
    ETH,
    RETAINED,
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
    total,
)


def do(machine: PaperMachine, action: Action, client_id: str = "a") -> None:
    assert machine.handle(ALICE, action, client_id, machine.at_ms) == Accepted()


def stop(trigger: str, quantity: str = "1", side: Side = Side.LONG) -> PlaceStop:
    return PlaceStop(BTC, side, Quantity(D(quantity)), Price(D(trigger)))


def close(quantity: str, side: Side = Side.LONG) -> ClosePosition:
    return ClosePosition(BTC, side, Quantity(D(quantity)))


def add(amount: str, side: Side = Side.LONG) -> AddMargin:
    return AddMargin(BTC, side, Money(D(amount)))


# -- opening ----------------------------------------------------------------------------------


def test_a_position_opens_at_the_last_price_with_its_initial_margin() -> None:
    machine = machine_with(contract())
    move(machine, "50010", "50000")
    machine.open_position(
        ALICE,
        BTC,
        Side.LONG,
        quantity=Quantity(D("1.5")),
        leverage=D(10),
        at_ms=machine.at_ms,
        entry_fee=Ratio(D("0.0005")),
    )
    position = position_of(machine)
    assert position.entry_price == 50_000
    assert position.isolated_margin == 7_500
    assert machine.ledger().wallets == D("10000") - 7_500 - D("37.5")
    assert machine.ledger().fees == D("37.5")
    assert machine.equity(ALICE) == D("10000") - D("37.5") + 15


def test_quantity_for_margin_and_leverage_is_the_most_it_pays_for() -> None:
    machine = machine_with(contract(), price="7913.37")
    quantity = machine.quantity_for(BTC, Money(D(1000)), D(10))
    assert quantity == D("1.263")
    assert (quantity + D("0.001")) * D("7913.37") / 10 > 1000


@pytest.mark.parametrize(
    ("quantity", "leverage", "words"),
    [
        ("1", "126", "expected leverage up to 125 for a notional of 50000, was 126"),
        ("6", "11", "expected leverage up to 10 for a notional of 300000, was 11"),
        ("1", "0", "expected leverage up to 125 for a notional of 50000, was 0"),
        ("2", "2", "expected free money of 50000.*, was 10000"),
        ("0.0015", "10", "expected a quantity from 0.001 in steps of 0.001, was 0.0015"),
        ("0", "10", "expected a quantity from 0.001 in steps of 0.001, was 0"),
    ],
)
def test_what_cannot_be_opened_says_why(quantity: str, leverage: str, words: str) -> None:
    machine = machine_with(contract(table=THREE_TIERS))
    with pytest.raises(ValueError, match=f"open BTCUSDT long for alice: {words}"):
        enter(machine, quantity=quantity, leverage=leverage)
    assert machine.snapshot(ALICE, T0).positions == ()
    assert machine.ledger().wallets == 10_000


def test_an_initial_margin_is_rounded_up_so_that_leverage_is_never_exceeded() -> None:
    machine = machine_with(contract(), deposit="20000")
    enter(machine, leverage="3")
    assert position_of(machine).isolated_margin == D("16666.66666667")


def test_the_wallet_must_pay_the_entry_fee_too() -> None:
    machine = machine_with(contract(), deposit="5000")
    with pytest.raises(ValueError, match=r"expected free money of 5050\.0* for margin and fee"):
        machine.open_position(
            ALICE,
            BTC,
            Side.LONG,
            quantity=Quantity(D(1)),
            leverage=D(10),
            at_ms=machine.at_ms,
            entry_fee=Ratio(D("0.001")),
        )


def test_one_way_means_one_position_a_symbol() -> None:
    machine = machine_with(contract())
    enter(machine, quantity="0.1")
    with pytest.raises(ValueError, match="expected no position, was long"):
        enter(machine, Side.SHORT, quantity="0.1")


def test_a_position_that_would_be_liquidated_at_once_does_not_open() -> None:
    machine = machine_with(contract())
    move(machine, "49700", "50000")
    with pytest.raises(ValueError, match="expected a mark price clear of the liquidation price"):
        enter(machine, leverage="100")


@pytest.mark.parametrize("amount", ["-1", "0.000000001"])
def test_a_deposit_is_an_amount_of_money(amount: str) -> None:
    with pytest.raises(ValueError, match="deposit: expected a multiple of"):
        machine_with(contract()).deposit(ALICE, Money(D(amount)))


# -- reported liquidation prices --------------------------------------------------------------


@pytest.mark.parametrize(("side", "expected"), [(Side.LONG, "45226.14"), (Side.SHORT, "54726.36")])
def test_liquidation_prices_are_rounded_against_the_holder(side: Side, expected: str) -> None:
    """45,226.130653 and 54,726.368159 unrounded."""
    machine = machine_with(contract())
    enter(machine, side)
    assert reported(machine) == D(expected)


def test_a_fully_margined_long_has_no_liquidation_price() -> None:
    machine = machine_with(contract(), deposit="60000")
    enter(machine, leverage="1")
    assert position_of(machine).liquidation == NotReported()
    move(machine, "0.01")
    assert position_of(machine).quantity == 1


# -- liquidation ------------------------------------------------------------------------------


def test_a_long_is_liquidated_at_its_liquidation_price_and_loses_its_margin_whole() -> None:
    machine = machine_with(contract(), slippage="0.01")
    enter(machine)
    do(machine, add("10"))
    do(machine, close("0.2"), "close")
    price, margin = reported(machine), position_of(machine).isolated_margin
    free = machine.ledger().wallets
    machine.take_notices()
    move(machine, price + D("0.01"))
    assert machine.take_notices() == ()
    move(machine, "40000", at_ms=T0 + 2_000)
    liquidated, changed = machine.take_notices()
    assert liquidated[1] == Liquidated(BTC, Side.LONG, Price(price), T0 + 1_001)
    assert changed == (ALICE, AccountChanged())
    assert machine.snapshot(ALICE, T0).positions == ()
    assert machine.ledger().wallets == free == machine.equity(ALICE)
    last = machine.realised(ALICE)[-1]
    assert last.cause is Cause.LIQUIDATION
    assert (last.profit, last.fee, last.shortfall) == (Money(-margin), NOTHING, NOTHING)
    assert last.price == 50_000 - margin / D("0.8")


@pytest.mark.parametrize(
    ("side", "crash", "last_first", "last_then", "fund"),
    [
        # Bankrupt at 45,000 and filled at 45,250: better than bankruptcy, the fund gains.
        (Side.LONG, "45250", "50000", "45250", "250"),
        (Side.LONG, "45250", "50000", "44900", "-100"),
        (Side.SHORT, "54750", "50000", "54750", "250"),
        (Side.SHORT, "54750", "50000", "55100", "-100"),
    ],
)
def test_the_insurance_fund_gets_the_difference_to_the_bankruptcy_price(
    side: Side, crash: str, last_first: str, last_then: str, fund: str
) -> None:
    """Liquidated exactly at the end of the move, where the last price is given."""
    machine = machine_with(contract(rules=ENTRY), fund="1000")
    move(machine, "50000", last_first)
    enter(machine, side)
    move(machine, crash, last_then)
    assert machine.snapshot(ALICE, T0).positions == ()
    assert machine.ledger().insurance_fund == 1_000 + D(fund)
    assert machine.ledger().wallets == 5_000


def test_slippage_of_the_liquidation_engine_is_paid_by_the_fund() -> None:
    machine = machine_with(contract(rules=ENTRY), slippage="0.01", fund="1000")
    enter(machine)
    move(machine, "45250")
    assert machine.ledger().insurance_fund == 1_000 + D("45250") * D("0.99") - 45_000


def test_liquidation_cancels_the_stops_of_its_symbol_only() -> None:
    machine = machine_with(contract(), contract(ETH), deposit="20000")
    enter(machine)
    enter(machine, symbol=ETH)
    do(machine, stop("45000"), "below-liquidation")
    do(machine, PlaceStop(ETH, Side.LONG, Quantity(D(1)), Price(D(45_500))), "other")
    move(machine, "45100")
    assert [each.client_id for each in machine.snapshot(ALICE, T0).stops] == ["other"]
    assert machine.order(ALICE, BTC, "below-liquidation") == OrderFound(
        "below-liquidation", resting=False, filled=NO_FILL
    )


def test_added_margin_saves_a_position() -> None:
    machine = machine_with(contract())
    enter(machine)
    assert reported(machine) == D("45226.14")
    do(machine, add("3000"))
    assert reported(machine) == D("42211.06")
    move(machine, "44000")
    assert position_of(machine).isolated_margin == 8_000
    change = MarginChange(BTC, Money(D(3_000)), T0, (Side.LONG,))
    assert machine.margin_changes(ALICE, BTC, T0) == (change,)
    assert machine.margin_changes(ALICE, BTC, T0 + 1) == ()
    assert machine.margin_changes(ALICE, ETH, T0) == ()


# -- stops ------------------------------------------------------------------------------------


def test_a_stop_fills_at_the_last_price_of_its_moment_worsened_by_slippage() -> None:
    """Mark 50,000 to 46,000 meets 48,000 half way: the last price is half way to 47,000 too."""
    machine = machine_with(contract(taker_fee="0.001"), slippage="0.01")
    enter(machine)
    do(machine, stop("48000"))
    machine.take_notices()
    move(machine, "46000", "47000", at_ms=T0 + 2_000)
    (realised,) = machine.realised(ALICE)
    assert realised.at_ms == T0 + 1_000
    assert realised.cause is Cause.STOP
    assert realised.price == D("48500") * D("0.99") == D("48015")
    assert realised.profit == D("-1985")
    assert realised.fee == D("48.015")
    assert machine.ledger().wallets == 10_000 - 1_985 - D("48.015")
    assert machine.take_notices() == ((ALICE, AccountChanged()),)
    assert machine.order(ALICE, BTC, "a") == OrderFound(
        "a", resting=False, filled=Fill(Quantity(D(1)), Price(D("48015")))
    )


def test_a_shorts_stop_buys_when_the_mark_rises() -> None:
    machine = machine_with(contract(), slippage="0.01")
    enter(machine, Side.SHORT)
    do(machine, stop("52000", side=Side.SHORT))
    move(machine, "49000")
    assert machine.realised(ALICE) == ()
    move(machine, "52000", at_ms=T0 + 2_000)
    assert machine.realised(ALICE)[0].price == D("52520")


def test_the_mark_price_triggers_and_not_the_last() -> None:
    machine = machine_with(contract())
    enter(machine)
    do(machine, stop("48000"))
    move(machine, "48000.01", "40000")
    assert position_of(machine).quantity == 1


def test_a_stop_above_liquidation_saves_the_rest_in_one_big_move() -> None:
    machine = machine_with(contract())
    enter(machine)
    do(machine, stop("45300"))
    move(machine, "30000")
    assert [each.cause for each in machine.realised(ALICE)] == [Cause.STOP]
    assert machine.ledger().wallets == 10_000 - 4_700


def test_a_stop_beyond_liquidation_is_too_late() -> None:
    machine = machine_with(contract())
    enter(machine)
    do(machine, stop("45200"))
    move(machine, "30000")
    assert [each.cause for each in machine.realised(ALICE)] == [Cause.LIQUIDATION]
    assert machine.ledger().wallets == 5_000


def test_at_the_same_price_the_liquidation_is_first() -> None:
    machine = machine_with(contract(rules=ENTRY))
    enter(machine)
    do(machine, stop("45250"))
    move(machine, "45250")
    assert [each.cause for each in machine.realised(ALICE)] == [Cause.LIQUIDATION]


def test_stops_are_met_in_price_order_then_the_rest_is_liquidated() -> None:
    machine = machine_with(contract())
    enter(machine)
    do(machine, stop("46000", "0.3"), "lower")
    do(machine, stop("48000", "0.5"), "upper")
    move(machine, "40000")
    assert [each.cause for each in machine.realised(ALICE)] == [
        Cause.STOP,
        Cause.STOP,
        Cause.LIQUIDATION,
    ]
    assert [each.quantity for each in machine.realised(ALICE)] == [D("0.5"), D("0.3"), D("0.2")]
    assert [each.price for each in machine.realised(ALICE)][:2] == [48_000, 46_000]


def test_symbols_that_move_together_meet_their_stops_in_the_order_of_the_way() -> None:
    """BTC meets 48,000 half way of its 4,000, ETH 45,000 a quarter of its 20,000 before that."""
    machine = machine_with(contract(), contract(ETH), deposit="20000")
    enter(machine, leverage="5")
    enter(machine, leverage="5", symbol=ETH)
    do(machine, stop("48000"), "btc")
    do(machine, PlaceStop(ETH, Side.LONG, Quantity(D(1)), Price(D(45_000))), "eth")
    machine.move(T0 + 4_000, {BTC: prices("46000"), ETH: prices("30000")})
    assert [(each.symbol, each.at_ms) for each in machine.realised(ALICE)] == [
        (ETH, T0 + 1_000),
        (BTC, T0 + 2_000),
    ]


def test_a_symbol_that_is_not_named_stands_still() -> None:
    machine = machine_with(contract(), contract(ETH))
    move(machine, "40000", symbol=ETH, at_ms=T0 + 5_000)
    assert machine.quotes[BTC] == Quote(T0, Price(D(50_000)), Price(D(50_000)), Price(D(50_000)))
    with pytest.raises(KeyError, match="XRP"):
        move(machine, "1", symbol="XRP", at_ms=T0 + 6_000)


def test_a_stop_larger_than_the_position_fills_what_is_there_and_the_next_expires() -> None:
    machine = machine_with(contract())
    enter(machine)
    do(machine, stop("48000", "5"), "large")
    do(machine, stop("47000", "1"), "late")
    move(machine, "46000")
    assert machine.order(ALICE, BTC, "large") == OrderFound(
        "large", False, Fill(Quantity(D(1)), Price(D(48_000)))
    )
    assert machine.order(ALICE, BTC, "late") == OrderFound("late", False, NO_FILL)
    snapshot = machine.snapshot(ALICE, T0)
    assert (snapshot.positions, snapshot.stops) == ((), ())


def test_a_stop_left_by_a_closed_long_never_touches_a_short() -> None:
    machine = machine_with(contract())
    enter(machine)
    do(machine, stop("48000"), "orphan")
    do(machine, close("1"), "close")
    enter(machine, Side.SHORT)
    move(machine, "47000")
    assert position_of(machine).side is Side.SHORT
    assert machine.order(ALICE, BTC, "orphan") == OrderFound("orphan", False, NO_FILL)


def test_a_humans_stop_is_like_any_other_and_can_vanish() -> None:
    machine = machine_with(contract())
    enter(machine)
    do(machine, stop("48000"), "web_1")
    assert machine.snapshot(ALICE, T0).stops[0].client_id == "web_1"
    do(machine, CancelStop(BTC, Side.LONG, "web_1"), "")
    move(machine, "47000")
    assert machine.realised(ALICE) == ()
    assert machine.order(ALICE, BTC, "web_1") == OrderFound("web_1", False, NO_FILL)
    assert machine.order(ALICE, ETH, "web_1") == OrderAbsent()
    assert machine.order(ALICE, BTC, "web_2") == OrderAbsent()


# -- closing ----------------------------------------------------------------------------------


def test_a_partial_close_releases_margin_pro_rata_and_keeps_the_liquidation_price() -> None:
    machine = machine_with(contract(taker_fee="0.001"))
    enter(machine)
    price = reported(machine)
    move(machine, "49000")
    do(machine, close("0.25"))
    position = position_of(machine)
    assert position.quantity == D("0.75")
    assert position.isolated_margin == 3_750
    assert reported(machine) == price
    assert machine.ledger().wallets == 5_000 + 1_250 - 250 - D("12.25")
    assert machine.ledger().fees == D("12.25")
    assert machine.ledger().market == 250


def test_a_released_margin_is_rounded_down() -> None:
    """Seven ninths of 5,000; the rest stays in the position, to the last digit."""
    machine = machine_with(contract())
    enter(machine, quantity="0.9", leverage="9")
    do(machine, close("0.7"))
    assert position_of(machine).isolated_margin == D("1111.11111112")
    assert machine.ledger().wallets == D("8888.88888888")


def test_where_margin_is_retained_a_partial_close_moves_the_liquidation_price_away() -> None:
    """A loss of 250 and a fee of 12.25 are the wallet's; 5,000 now back three quarters."""
    machine = machine_with(contract(rules=RETAINED, taker_fee="0.001"))
    enter(machine)
    move(machine, "49000")
    do(machine, close("0.25"))
    assert position_of(machine).isolated_margin == 5_000
    assert machine.ledger().wallets == 5_000 - 250 - D("12.25")
    assert reported(machine) == D("43551.09")  # (50,000 - 5,000 / 0.75) / 0.995, upwards
    do(machine, close("0.75"), "rest")
    assert machine.ledger().margins == 0
    assert machine.ledger().wallets == 10_000 - 1_000 - 49


def test_where_margin_is_retained_a_stop_fill_retains_it_too() -> None:
    machine = machine_with(contract(rules=RETAINED))
    enter(machine)
    do(machine, stop("48000", "0.5"))
    move(machine, "48000")
    assert position_of(machine).isolated_margin == 5_000
    assert machine.ledger().wallets == 4_000


def test_what_an_empty_wallet_cannot_pay_the_retained_margin_does_and_then_the_fund() -> None:
    """Half closed 10,000 lower: 100 in the wallet, 4,900 of the margin. The rest is liquidated."""
    machine = machine_with(contract(rules=RETAINED), deposit="5100")
    enter(machine)
    move(machine, "49000", "40000")
    do(machine, close("0.5"))
    first, second = machine.realised(ALICE)
    assert (first.cause, second.cause) == (Cause.CLOSE, Cause.LIQUIDATION)
    assert first.shortfall == 0
    assert second.profit == -100
    assert machine.ledger().wallets == 0
    machine = machine_with(contract(rules=RETAINED), deposit="5100")
    enter(machine)
    move(machine, "49000", "30000")
    do(machine, close("0.5"))
    assert machine.realised(ALICE)[0].shortfall == 4_900
    assert total(machine) == machine.ledger().deposited


def test_a_close_is_cut_to_the_position_and_never_flips_it() -> None:
    machine = machine_with(contract())
    enter(machine, Side.SHORT)
    do(machine, close("7", Side.SHORT))
    assert machine.snapshot(ALICE, T0).positions == ()
    assert machine.order(ALICE, BTC, "a") == OrderFound(
        "a", False, Fill(Quantity(D(1)), Price(D(50_000)))
    )


def test_a_close_below_bankruptcy_is_covered_by_the_fund() -> None:
    """The book is far below the mark: the loss stops at the margin, the fund pays the rest."""
    machine = machine_with(contract(), fund="8000")
    enter(machine)
    move(machine, "46000", "40000")
    do(machine, close("1"))
    assert machine.ledger().wallets == 5_000
    assert machine.ledger().insurance_fund == 3_000
    assert machine.realised(ALICE)[0].shortfall == 5_000


def test_what_the_fund_cannot_cover_of_a_close_others_lose_of_their_profit() -> None:
    """The same with 2,000 in the fund: the rest of the market made 10,000 and keeps 7,000."""
    machine = machine_with(contract(), fund="2000")
    enter(machine)
    move(machine, "46000", "40000")
    do(machine, close("1"))
    assert machine.ledger().wallets == 5_000
    assert machine.ledger().insurance_fund == 0
    assert machine.ledger().market == 7_000 - 2_000 + 2_000
    assert machine.realised(ALICE)[0].shortfall == 5_000


def test_a_partial_close_far_below_takes_from_the_staying_margin_and_may_liquidate() -> None:
    """0.5 released 2,500 and lost 5,000; the 2,500 that stayed pay it; nothing covers the rest."""
    machine = machine_with(contract(), fund="5000")
    enter(machine)
    move(machine, "46000", "40000")
    do(machine, close("0.5"))
    assert [each.cause for each in machine.realised(ALICE)] == [Cause.CLOSE, Cause.LIQUIDATION]
    assert machine.realised(ALICE)[0].shortfall == 0
    assert machine.ledger().wallets == 5_000
    assert machine.ledger().insurance_fund == 0
    assert total(machine) == machine.ledger().deposited


# -- time and prices --------------------------------------------------------------------------


def test_time_never_goes_back() -> None:
    machine = machine_with(contract())
    with pytest.raises(ValueError, match=f"time: expected {T0} or later, was {T0 - 1}"):
        move(machine, "50000", at_ms=T0 - 1)


@pytest.mark.parametrize("mark", ["0", "-1", "NaN", "Infinity"])
def test_a_price_is_a_number_above_zero(mark: str) -> None:
    machine = machine_with(contract())
    with pytest.raises(ValueError, match=f"expected prices above 0, was {mark}"):
        move(machine, mark)


def test_first_prices_appear_in_no_order() -> None:
    both = {BTC: prices("50000"), ETH: prices("3000")}
    machines = [PaperMachine([contract(), contract(ETH)], Ratio(D(0))) for _ in range(2)]
    machines[0].move(T0, both)
    machines[1].move(T0, dict(reversed(both.items())))
    assert machines[0].to_json() == machines[1].to_json()


def test_one_accounts_fate_is_not_anothers() -> None:
    machine = machine_with(contract())
    machine.deposit("bob", Money(D(10_000)))
    enter(machine)
    enter(machine, leverage="5", account="bob")
    machine.take_notices()
    move(machine, "45000")
    assert {account for account, _ in machine.take_notices()} == {ALICE}
    assert position_of(machine, "bob").quantity == 1
    assert machine.equity("bob") == Decimal(5_000)
