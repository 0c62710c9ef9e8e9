"""Measuring: every missing or old input is Unknown, and being past liquidation is not."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.margin import LiquidatesAt, NoLiquidation
from bot.core.metrics import (
    POSITION_AGE_MAX_MS,
    Known,
    NotSupported,
    Supported,
    Unknown,
    measure,
    settle_liquidation,
    support,
)
from bot.core.model import (
    CloseFee,
    Instrument,
    LiquidationReport,
    NotReported,
    Position,
    PositionMode,
    Reported,
    Side,
    TierMeasure,
)
from bot.core.state import AccountRead, AccountState, Instruments, NotRead
from bot.core.units import Price
from bot.testing import builders as build
from tests.core.life import LONG, T0

AGE_MAX_MS = 5_000
OURS = Decimal(45_000) / Decimal("0.995")
"""Liquidation price of `LONG` by our own arithmetic: 45,226.13."""


def account(position: Position = LONG, mark: build.Number = 50_000) -> AccountState:
    return build.account_state(build.snapshot([position]), {build.SYMBOL: mark}, now_ms=T0)


def known(state: AccountState, position: Position = LONG) -> Known:
    measured = measure(state, position, T0, build.policy())
    assert isinstance(measured, Known)
    return measured


def unknown(state: AccountState, position: Position, now_ms: int) -> Unknown:
    measured = measure(state, position, now_ms, build.policy())
    assert isinstance(measured, Unknown)
    return measured


# What cannot be measured


def test_no_mark_price() -> None:
    found = unknown(replace(account(), marks={}), LONG, T0 + 7)
    assert "no mark price" in found.reason
    assert found.since_ms == T0 + 7


def test_a_mark_price_of_another_symbol_is_none() -> None:
    state = build.account_state(build.snapshot([LONG]), {"ETHUSDT": 50_000}, now_ms=T0)
    assert "no mark price" in unknown(state, LONG, T0).reason


def test_no_rules_of_the_symbol() -> None:
    found = unknown(replace(account(), instruments=Instruments("")), LONG, T0 + 7)
    assert "rules" in found.reason
    assert found.since_ms == T0 + 7


def test_an_old_mark_price_is_none_and_has_been_since_it_grew_old() -> None:
    assert isinstance(measure(account(), LONG, T0 + AGE_MAX_MS, build.policy()), Known)
    found = unknown(account(), LONG, T0 + AGE_MAX_MS + 900)
    assert "mark price is older" in found.reason
    assert found.since_ms == T0 + AGE_MAX_MS


def test_no_read_of_the_account() -> None:
    found = unknown(replace(account(), account=NotRead()), LONG, T0 + 7)
    assert "not been read" in found.reason
    assert found.since_ms == T0 + 7


def test_an_old_read_of_the_account_is_none_and_has_been_since_it_grew_old() -> None:
    def at(now_ms: int) -> AccountState:
        fresh = build.account_state(build.snapshot(), {build.SYMBOL: 50_000}, now_ms=now_ms)
        return replace(fresh, account=AccountRead(build.snapshot([LONG]), T0, T0))

    edge_ms = T0 + POSITION_AGE_MAX_MS
    assert isinstance(measure(at(edge_ms), LONG, edge_ms, build.policy()), Known)
    found = unknown(at(edge_ms + 900), LONG, edge_ms + 900)
    assert "account read is older" in found.reason
    assert found.since_ms == edge_ms


# What this version cannot judge

JUMPING = replace(
    build.instrument(), tiers=build.tiers((0, "0.01"), (40_000, "0.005"))
)  # a falling rate


def test_tiers_by_quantity_may_jump_and_a_fee_at_bankruptcy_is_no_matter() -> None:
    """No price moves a position over a border of quantity, nor such a fee."""
    rules = replace(
        JUMPING.rules, tier_measure=TierMeasure.QUANTITY, close_fee=CloseFee.BANKRUPTCY
    )
    by_quantity = replace(JUMPING, rules=rules)
    assert isinstance(
        support(by_quantity, LONG, build.snapshot([LONG]), build.policy()), Supported
    )


@pytest.mark.parametrize(
    ("instrument", "position", "mode", "reason"),
    [
        (build.instrument(), LONG, PositionMode.HEDGE, "is in hedge mode"),
        (build.instrument(settle="BTC"), LONG, PositionMode.ONE_WAY, "it pays in BTC"),
        (JUMPING, LONG, PositionMode.ONE_WAY, "tiers have jumps"),
    ],
)
def test_what_is_not_supported_is_unknown_and_says_why(
    instrument: Instrument, position: Position, mode: PositionMode, reason: str
) -> None:
    read = build.snapshot([position], position_mode=mode)
    verdict = support(instrument, position, read, build.policy())
    assert isinstance(verdict, NotSupported)
    assert verdict.reason.startswith("BTCUSDT: ")
    assert reason in verdict.reason
    state = build.account_state(read, {build.SYMBOL: 50_000}, now_ms=T0, instruments=[instrument])
    assert unknown(state, position, T0) == Unknown(verdict.reason, T0)
    assert isinstance(
        support(build.instrument(), LONG, build.snapshot([LONG]), build.policy()), Supported
    )


# What is measured


def test_every_number_of_a_known_case() -> None:
    """10x long of 1 from 50,000 at mark 48,000; Binance's formulas by hand."""
    found = known(account(mark=48_000))
    assert found.mark_price == 48_000
    assert found.liquidation == LiquidatesAt(Price(OURS))
    assert found.liquidation_distance == (48_000 - OURS) / 48_000
    assert found.margin_balance == 3_000
    assert found.maintenance_margin == 240
    assert found.margin_ratio == Decimal("0.08")
    assert (found.breached, found.disputed) == (False, False)


def test_a_long_margined_beyond_its_value_is_a_whole_value_away() -> None:
    position = build.position(margin=60_000)
    found = known(account(position), position)
    assert isinstance(found.liquidation, NoLiquidation)
    assert found.liquidation_distance == 1
    assert not found.breached


@pytest.mark.parametrize(
    ("side", "mark", "breached"),
    [
        (Side.LONG, "45226.2", False),
        (Side.LONG, "45226.1", True),
        (Side.LONG, "20000", True),
        (Side.SHORT, "54726.3", False),
        (Side.SHORT, "54726.4", True),
        (Side.SHORT, "90000", True),
    ],
)
def test_at_and_past_liquidation_is_breached_and_signed(
    side: Side, mark: str, breached: bool
) -> None:
    position = build.position(side=side)
    found = known(account(position, mark), position)
    assert found.breached is breached
    assert (found.liquidation_distance <= 0) is breached


def test_the_distance_is_nothing_at_the_liquidation_price_itself() -> None:
    position = build.position(liquidation=Reported(Price(Decimal(48_000))))
    found = known(account(position, 48_000), position)
    assert found.liquidation_distance == 0
    assert found.breached


def test_with_nothing_left_of_the_balance_the_ratio_is_infinite() -> None:
    bankrupt = known(account(mark=45_000))
    assert bankrupt.margin_balance == 0
    assert bankrupt.breached
    assert bankrupt.margin_ratio == Decimal("Infinity")


# The venue's price and ours


@pytest.mark.parametrize(
    ("side", "report", "expected", "disputed"),
    [
        (Side.LONG, NotReported(), OURS, False),
        (Side.LONG, Reported(Price(Decimal(45_230))), Decimal(45_230), False),
        (Side.LONG, Reported(Price(Decimal(45_300))), Decimal(45_300), True),
        (Side.LONG, Reported(Price(Decimal(45_200))), OURS, False),
        (Side.LONG, Reported(Price(Decimal(45_100))), OURS, True),
        (Side.SHORT, Reported(Price(Decimal(54_700))), Decimal(54_700), False),
        (Side.SHORT, Reported(Price(Decimal(54_600))), Decimal(54_600), True),
    ],
)
def test_the_nearer_price_counts_and_a_difference_of_a_thousandth_is_disputed(
    side: Side, report: LiquidationReport, expected: Decimal, disputed: bool
) -> None:
    position = build.position(side=side, liquidation=report)
    found = known(account(position), position)
    assert found.liquidation == LiquidatesAt(Price(expected))
    assert found.disputed is disputed
    assert found.liquidation_distance == abs(50_000 - expected) / 50_000


def test_two_ticks_are_no_dispute_where_ticks_are_coarse() -> None:
    position = build.position(liquidation=Reported(Price(Decimal(45_400))))
    assert settle_liquidation(build.instrument(tick_size="100"), position)[1] is False
    assert settle_liquidation(build.instrument(tick_size="50"), position)[1] is True


def test_the_venues_price_counts_where_we_find_none() -> None:
    position = build.position(margin=60_000, liquidation=Reported(Price(Decimal(1_000))))
    found = known(account(position), position)
    assert found.liquidation == LiquidatesAt(Price(Decimal(1_000)))
    assert found.disputed
