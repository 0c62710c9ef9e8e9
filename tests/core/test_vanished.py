"""A position that one read lacks is not gone: a second proof has to come, or a later read."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.actions import AddMargin, CancelStop, ClosePosition
from bot.core.events import IntentState, Liquidated
from bot.core.metrics import BookKnown, Known, Measured, Unknown
from bot.core.model import (
    MarginMode,
    Position,
    PositionMode,
    Side,
    StopOrder,
)
from bot.core.state import GONE_MS, NEVER_MS, NotRead
from bot.core.strategy import Close, Notify, Severity, TopUp
from bot.core.units import Money, Price
from bot.testing import builders as build
from tests.core.books import cross
from tests.core.life import GOOD_STOP, LONG, T0, Life, below

POLICY = build.policy()
OUT = build.step("out", below("0.06"), Severity.CLOSE, lambda view: Close())
WARN = build.step("warn", below("0.2"), Severity.ALERT, lambda view: Notify("near"), hold_ms=5_000)
ADD = build.step(
    "add",
    below("0.06"),
    Severity.SPEND,
    lambda view: TopUp(Money(Decimal(100))),
    cooldown_ms=600_000,
)
NEAR, PAST = 47_800, 46_600
"""Marks at which the steps fire, and beyond the stop of `LONG` but above the floor."""


def look(life: Life, *positions: Position, stops: tuple[StopOrder, ...] = (GOOD_STOP,)) -> None:
    """Half a second later: a read that shows `positions`, at an unchanged mark."""
    life.wait(500)
    life.read(*positions, stops=stops)
    life.mark(life.state.marks[build.SYMBOL].price)


def test_one_read_without_it_ends_no_episode_and_no_watch() -> None:
    life = Life(build.policy(build.rule(WARN, ADD)), stops=(), mark=NEAR)
    life.decide()
    before = life.state.memory_of(LONG.key)
    assert before.in_episode
    assert before.naked_since_ms == T0
    look(life, stops=())
    life.decide()
    assert [each.position.key for each in life.decision.positions] == [LONG.key]
    assert (life.decision.needs_read, life.decision.endangered) == (True, True)
    look(life, LONG, stops=())
    life.decide()
    after = life.state.memory_of(LONG.key)
    assert "reentered" not in life.alerts
    assert (after.flat_since_ms, after.naked_since_ms) == (NEVER_MS, T0)
    assert after.steps["ladder/warn"].since_ms == T0


def test_a_second_read_far_enough_from_the_first_proves_it() -> None:
    life = Life(POLICY, stops=[GOOD_STOP])
    life.decide()
    look(life)
    first_ms = life.now_ms
    for _ in range(GONE_MS // 500 - 1):
        look(life)
        life.decide()
        assert life.state.lacked.keys() == {LONG.key}
        assert life.decision.wake_at_ms <= first_ms + GONE_MS
    look(life)
    (cancel,) = life.decide()
    assert isinstance(cancel, CancelStop)  # and its stop is an orphan
    assert life.state.positions == ()
    assert life.state.memory_of(LONG.key).flat_since_ms == first_ms


def test_the_guard_stands_in_for_its_stop_though_every_second_read_lacks_the_position() -> None:
    life = Life(POLICY, stops=[GOOD_STOP], mark=PAST)
    for number in range(8):
        if closes := [each for each in life.decide() if isinstance(each, ClosePosition)]:
            assert life.now_ms - T0 <= 4_000
            assert closes[0].quantity == LONG.quantity
            return
        look(life, *(() if number % 2 else (LONG,)))
    raise AssertionError("it never stood in")


def test_nothing_that_is_chosen_rests_on_it() -> None:
    """No margin is added and no part closed; the next read that has it lets them."""
    life = Life(build.policy(build.rule(ADD)), stops=[GOOD_STOP])
    life.decide()
    look(life)
    life.mark(NEAR)
    assert life.decide() == []
    assert [denied.limit for denied in life.verdict.denied] == ["age"]
    look(life, LONG)
    (added,) = life.decide()
    assert isinstance(added, AddMargin)


def test_a_floor_close_goes_out_on_it_while_its_stop_rests() -> None:
    life = Life(POLICY, stops=[GOOD_STOP])
    life.decide()
    look(life)
    life.mark(45_300)
    (close,) = life.decide()
    assert isinstance(close, ClosePosition)
    assert close.quantity == LONG.quantity


def test_what_went_with_its_stop_is_sent_nothing_until_a_second_read_or_for_too_long() -> None:
    """The venue would only refuse it; where no more reads come, it goes out after all."""
    life = Life(POLICY, stops=[GOOD_STOP])
    life.decide()
    look(life, stops=())
    first_ms = life.now_ms
    life.mark(45_300)
    assert life.decide() == []
    assert life.decision.wake_at_ms <= first_ms + GONE_MS
    life.wait(GONE_MS)
    life.mark(45_300)
    (close,) = life.decide()
    assert isinstance(close, ClosePosition)


def measured(life: Life) -> Measured:
    life.decide()
    return life.verdict.measured


def test_its_facts_are_as_old_as_the_last_read_that_had_it() -> None:
    life = Life(POLICY, stops=[GOOD_STOP])
    life.wait(59_000)
    look(life)
    assert isinstance(measured(life), Known)
    life.wait(501)
    life.mark(50_000)
    assert isinstance(measured(life), Unknown)


def gone(life: Life) -> bool:
    return life.state.positions == () and life.state.memory_of(LONG.key).flat_surely


def test_a_close_of_all_of_it_that_has_filled_is_the_other_proof() -> None:
    life = Life(build.policy(build.rule(OUT)), stops=[GOOD_STOP], mark=NEAR)
    (close,) = life.decide()
    assert isinstance(close, ClosePosition)
    look(life)
    assert not gone(life)
    life.settle(IntentState.APPLIED)
    look(life)
    assert gone(life)


def test_it_is_not_closed_again_before_a_read_shows_what_has_filled() -> None:
    """The read that lacks it came before the proof: the next one brings both together."""
    life = Life(build.policy(build.rule(OUT)), stops=[GOOD_STOP], mark=NEAR)
    life.decide()
    look(life)
    life.settle(IntentState.APPLIED)
    life.wait(GONE_MS - 1)
    life.mark(NEAR)
    assert life.decide() == []
    life.wait(1)
    life.mark(NEAR)
    (again,) = life.decide()  # no read comes: the way out is not blocked
    assert isinstance(again, ClosePosition)


@pytest.mark.parametrize("state", [IntentState.PARTIAL, IntentState.NOT_APPLIED])
def test_a_close_of_less_is_none(state: IntentState) -> None:
    life = Life(build.policy(build.rule(OUT)), stops=[GOOD_STOP], mark=NEAR)
    life.decide()
    look(life)
    life.settle(state)
    look(life)
    assert not gone(life)


def test_our_stop_that_went_with_it_is_one_where_the_mark_was_past_it() -> None:
    for mark, proven in ((PAST, True), (50_000, False)):
        life = Life(POLICY, stops=[GOOD_STOP])
        life.decide()
        life.mark(mark)
        look(life, stops=())
        assert gone(life) is proven


def test_the_venues_word_that_it_took_the_position_is_one() -> None:
    life = Life(POLICY, stops=[GOOD_STOP])
    life.decide()
    life.happen(Liquidated(LONG.symbol, LONG.side, Price(Decimal(45_000)), life.now_ms))
    look(life)
    assert gone(life)


SHORT = build.position(side=Side.SHORT)


def test_the_other_side_is_one_where_a_symbol_holds_one_position_only() -> None:
    for mode, kept in ((PositionMode.ONE_WAY, [SHORT]), (PositionMode.HEDGE, [LONG, SHORT])):
        life = Life(POLICY, stops=[GOOD_STOP], position_mode=mode)
        life.decide()
        look(life, SHORT)
        assert list(life.state.positions) == kept


def test_a_restart_knows_no_more_than_a_read() -> None:
    """One read that lacks what was open before it is no re-entry once it is back."""
    life = Life(build.policy(build.rule(ADD)), stops=[GOOD_STOP], mark=NEAR)
    life.decide()
    assert life.state.memory_of(LONG.key).in_episode
    life.state = replace(life.state, account=NotRead())
    look(life)
    life.decide()
    look(life, LONG)
    life.decide()
    assert "reentered" not in life.alerts
    assert life.state.memory_of(LONG.key).flat_since_ms == NEVER_MS


BTC = cross("BTCUSDT", quantity=1, entry_price=50_000)
ETH = cross("ETHUSDT", quantity=20, entry_price=2_400)
RULES = (build.instrument("BTCUSDT"), build.instrument("ETHUSDT"))


def test_the_loss_of_a_cross_leg_that_was_closed_counts_once() -> None:
    """It is in the wallet that the read shows, and in the profit of what is not surely gone."""
    policy = build.policy(margin_modes=frozenset({MarginMode.CROSS}))
    life = Life(policy, BTC, ETH, free=0, wallet=15_000, instruments=RULES)
    life.mark(2_000, "ETHUSDT")  # 8,000 lost of 15,000
    life.decide()
    assert isinstance(life.decision.book.measured, BookKnown)  # type: ignore[union-attr]
    before = life.decision.book.measured.margin_balance  # type: ignore[union-attr]
    assert not [each for each in life.decide() if isinstance(each, ClosePosition)]
    life.wallet = 7_000
    for _ in range(GONE_MS // 500 + 1):
        look(life, BTC, stops=())
        life.mark(2_000, "ETHUSDT")
        assert not [each for each in life.decide() if isinstance(each, ClosePosition)]
        assert life.decision.book.measured.margin_balance == before  # type: ignore[union-attr]
    assert life.state.positions == (BTC,)
    assert life.state.wallet_balance == 7_000


def test_money_that_a_read_lends_to_a_position_it_lacks_is_not_spent() -> None:
    eth = build.position("ETHUSDT", entry_price=2_000, quantity=10, margin=2_000)
    life = Life(POLICY, LONG, eth, free=100, wallet=100, instruments=RULES)
    life.free = life.wallet = 5_100
    look(life, eth)
    assert life.state.free == life.state.wallet_balance == 100


def acts(lackings: list[bool], marks: list[int]) -> list[str]:
    """What is approved, by kind and reason, where the reads of these turns lack the position."""
    rule = build.rule(WARN, ADD, OUT)
    life = Life(build.policy(rule), stops=[GOOD_STOP])
    said: list[str] = []
    stops: tuple[StopOrder, ...] = (GOOD_STOP,)
    for lacks, mark in zip(lackings, marks, strict=True):
        life.wait(500)
        life.read(*(() if lacks else (LONG,)), stops=stops)
        life.mark(mark)
        life.decide()
        # A turn that lacked it is followed by one that has it, before anything else happens.
        intents = [approved.intent for approved in life.decision.approved]
        said += [f"{type(each.action).__name__} {each.reason}" for each in intents]
        said += [each for each in life.alerts if each == "reentered"]
        life.settle(IntentState.NOT_APPLIED)
    return said


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([50_000, NEAR, PAST, 45_300])), max_size=20)
)
def test_reads_that_lack_it_now_and_then_change_no_kind_of_decision(
    drawn: list[tuple[bool, int]],
) -> None:
    """Whatever they come between: never two of them in a row, and each mark is seen again."""
    lackings: list[bool] = []
    marks: list[int] = []
    for lacks, mark in drawn:
        lackings += [lacks, False]
        marks += [mark, mark]
    flapping = acts(lackings, marks)
    steady = acts([False] * len(marks), marks)
    assert {*flapping} == {*steady}
    assert flapping.count("reentered") == 0
