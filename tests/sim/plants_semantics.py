"""
Planted bugs of semantics: what is measured, wanted, allowed and owed.

Each function sabotages our own code for as long as the patch lasts.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from bot.core import (
    act,
    alone,
    cost,
    cross,
    funding,
    guardrails,
    held,
    ladder,
    margin,
    metrics,
    pairs,
    protection,
    sizing,
    together,
    transitions,
    upkeep,
    vigil,
)
from bot.core import state as core_state
from bot.core.actions import AT_MARKET, ClosePosition
from bot.core.cross import Book, Leg, LiquidatesAfter
from bot.core.events import AccountMode
from bot.core.funding import FundingCost, FundingUnknown
from bot.core.guardrails import Approved, Denial, Denied
from bot.core.margin import LiquidatesTogether, NoLiquidation
from bot.core.metrics import Facts
from bot.core.model import MarginMode, NotReported, Side
from bot.core.policy import Stress
from bot.core.units import ONE, Money, Price, Quantity, Ratio

LIMITLESS = Money(Decimal(10) ** 12)


def close_the_wrong_side(patch: pytest.MonkeyPatch) -> None:
    review = guardrails.review_close

    def flipped(*arguments: Any, **named: Any) -> Any:
        found = review(*arguments, **named)
        if not isinstance(found, Approved):
            return found
        side = Side.SHORT if found.intent.action.side is Side.LONG else Side.LONG
        action = replace(found.intent.action, side=side)
        return replace(found, intent=replace(found.intent, action=action))

    for module in (act, together):
        patch.setattr(module, "review_close", flipped)


def close_too_early(patch: pytest.MonkeyPatch) -> None:
    crossed = ladder.is_crossed
    patch.setattr(
        ladder, "is_crossed", lambda limit, value: crossed(limit, Ratio(value * Decimal("0.6")))
    )


def act_on_neither_floor_nor_level(patch: pytest.MonkeyPatch) -> None:
    for module in (act, together):
        patch.setattr(module, "review_close", _denied)
    patch.setattr(act, "stands_in", lambda *arguments, **named: False)


def ignore_the_hourly_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guardrails, "spent_since", lambda *arguments: Decimal(0))


def make_every_firing_an_episode(patch: pytest.MonkeyPatch) -> None:
    episode = vigil.advance_episode

    def newest(evaluation: Any, now_ms: int) -> Any:
        memory = episode(evaluation, now_ms)
        return replace(memory, episode=now_ms) if memory.in_episode else memory

    patch.setattr(alone, "advance_episode", newest)


def spend_what_is_to_be_kept_free(patch: pytest.MonkeyPatch) -> None:
    free: Any = vars(core_state.AccountState)["free"]
    patch.setattr(core_state.AccountState, "free", property(lambda self: free.fget(self) * 2))


def spend_on_old_data(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guardrails, "_reasons_to_read", lambda *asked: iter(()))


def place_stops_beyond_liquidation(patch: pytest.MonkeyPatch) -> None:
    with_room = sizing.price_with_room
    patch.setattr(
        protection,
        "price_with_room",
        lambda instrument, side, settled, room: with_room(instrument, side, settled, Ratio(-room)),
    )


def judge_each_symbol_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(metrics, "joint_liquidation", _nearest_alone)


def place_leg_stops_from_the_displayed_price(patch: pytest.MonkeyPatch) -> None:
    def displayed(known: Any, leg: Leg) -> Any:
        match cross.joint_liquidation(_frozen_beside(known.book, leg)):
            case LiquidatesAfter(shock):
                return LiquidatesTogether(leg.price_after(shock), leg.mark_price * leg.beta)
            case NoLiquidation() as none:
                return none

    patch.setattr(metrics, "leg_liquidation", displayed)


def ignore_the_bill_ahead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(metrics, "bill_ahead", lambda *arguments: Decimal(0))


def act_on_a_bill_in_our_favour(patch: pytest.MonkeyPatch) -> None:
    costs = funding.funding_cost

    def unsigned(*arguments: Any) -> Any:
        found = costs(*arguments)
        if not isinstance(found, FundingCost):
            return found
        return replace(found, interval=Ratio(abs(found.interval)), day=Ratio(abs(found.day)))

    patch.setattr(metrics, "funding_cost", unsigned)


def refund_more_than_was_freed(patch: pytest.MonkeyPatch) -> None:
    freed = transitions._freed_margin
    patch.setattr(transitions, "_freed_margin", lambda *arguments: freed(*arguments) * 2)


def trim_again_while_a_refund_is_due(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(act, "_gives_back", lambda *arguments: False)
    patch.setattr(guardrails, "_reasons_not_to_trim", lambda *arguments: iter(()))


def close_past_bankruptcy(patch: pytest.MonkeyPatch) -> None:
    def far(instrument: Any, position: Any, known: Any, slippage_max: Ratio) -> Price:
        return Price(known.mark_price * (1 - position.side.sign * Decimal("0.6")))

    patch.setattr(cost, "_worst_price", far)


def close_at_market_above_the_floor(patch: pytest.MonkeyPatch) -> None:
    for module in (act, together):
        patch.setattr(module, "close_bound", lambda *arguments: AT_MARKET)


def starve_the_cross_book(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guardrails, "_spared_by_others", lambda request: Decimal("Infinity"))


def read_an_unknown_leg_as_safe(patch: pytest.MonkeyPatch) -> None:
    measure = metrics.measure_book

    def without_it(state: Any, now_ms: int, policy: Any) -> Any:
        known = tuple(
            each
            for each in state.positions
            if each.margin_mode is MarginMode.ISOLATED
            or isinstance(metrics.facts_of(state, each, now_ms, policy), Facts)
        )
        snapshot = replace(state.account.snapshot, positions=known)
        account = replace(state.account, snapshot=snapshot)
        return measure(replace(state, account=account), now_ms, policy)

    patch.setattr(together, "measure_book", without_it)
    patch.setattr(guardrails, "measure_book", without_it)


def close_twice_as_much(patch: pytest.MonkeyPatch) -> None:
    review = guardrails.review_close

    def doubled(*arguments: Any, **named: Any) -> Any:
        found = review(*arguments, **named)
        if not isinstance(found, Approved):
            return found
        action = found.intent.action
        assert isinstance(action, ClosePosition)
        twice = replace(action, quantity=Quantity(action.quantity * 2))
        return replace(found, intent=replace(found.intent, action=twice))

    for module in (act, together):
        patch.setattr(module, "review_close", doubled)


def close_on_old_marks(patch: pytest.MonkeyPatch) -> None:
    facts_of = metrics.facts_of

    def ageless(state: Any, position: Any, now_ms: int, policy: Any) -> Any:
        rails = replace(policy.guardrails, data_age_max_ms=10**9)
        return facts_of(state, position, now_ms, replace(policy, guardrails=rails))

    for module in (metrics, together):
        patch.setattr(module, "facts_of", ageless)


def spend_on_hold(patch: pytest.MonkeyPatch) -> None:
    reasons = guardrails._reasons_to_hold

    def fewer(*arguments: Any) -> Any:
        return (each for each in reasons(*arguments) if each.limit != "mode")

    patch.setattr(guardrails, "_reasons_to_hold", fewer)


def climb_on_hold(patch: pytest.MonkeyPatch) -> None:
    review = guardrails.review_close
    for module in (act, together):
        patch.setattr(
            module,
            "review_close",
            lambda request, position, holds, bound: review(request, position, False, bound),
        )


def keep_no_stops_on_hold(patch: pytest.MonkeyPatch) -> None:
    place = upkeep._place

    def idle(desk: Any, *arguments: Any) -> None:
        if desk.state.mode is not AccountMode.HOLD:
            place(desk, *arguments)

    patch.setattr(upkeep, "_place", idle)


def hold_every_close(patch: pytest.MonkeyPatch) -> None:
    review = guardrails.review_close

    def held(request: Any, *rest: Any, **named: Any) -> Any:
        if request.state.mode is AccountMode.HOLD:
            return guardrails._exhausted("planted", "nothing is closed on hold")
        return review(request, *rest, **named)

    for module in (act, together):
        patch.setattr(module, "review_close", held)


def never_clear_a_step(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ladder, "has_cleared", lambda *arguments: False)


def ignore_loss_max(patch: pytest.MonkeyPatch) -> None:
    _wanted_by(patch, lambda policy: _railed(policy, loss_max=LIMITLESS))


def tighten_at_once(patch: pytest.MonkeyPatch) -> None:
    _wanted_by(
        patch,
        lambda policy: replace(
            policy, protect=replace(policy.protect, room=Ratio(policy.protect.room * 3))
        ),
    )


def ignore_the_users_stop(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upkeep, "users_own", lambda *arguments: ())


def ignore_betas(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stress, "beta_of", lambda self, symbol: Ratio(ONE))


def know_only_the_first_tier(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(margin, "tier_of", lambda instrument, notional: instrument.tiers[0])


def exceed_the_amount_of_one_action(patch: pytest.MonkeyPatch) -> None:
    _top_up_by(patch, top_up_per_action_max=LIMITLESS)


def exceed_the_day(patch: pytest.MonkeyPatch) -> None:
    _top_up_by(patch, top_up_24h_max=LIMITLESS, top_up_1h_max=LIMITLESS)


def count_no_top_ups(patch: pytest.MonkeyPatch) -> None:
    _top_up_by(patch, top_ups_per_episode_max=10**9)


def never_act_on_a_bill(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(metrics, "funding_cost", lambda *arguments: FundingUnknown("planted"))


def _railed(policy: Any, **changes: Any) -> Any:
    return replace(policy, guardrails=replace(policy.guardrails, **changes))


def _wanted_by(patch: pytest.MonkeyPatch, other: Any) -> None:
    wanted = protection.wanted
    for module in (act, guardrails, upkeep):
        patch.setattr(module, "wanted", lambda policy, *rest: wanted(other(policy), *rest))


def _top_up_by(patch: pytest.MonkeyPatch, **changes: Any) -> None:
    review = guardrails.review_top_up

    def generous(request: Any, *rest: Any) -> Any:
        return review(replace(request, policy=_railed(request.policy, **changes)), *rest)

    patch.setattr(act, "review_top_up", generous)


def _denied(*arguments: Any, **named: Any) -> Any:
    return guardrails._exhausted("planted", "never closes")


def _frozen_beside(book: Book, leg: Leg) -> Book:
    """The book with only one mark that moves."""
    return replace(
        book,
        legs=tuple(
            each if each is leg else replace(each, beta=Ratio(Decimal(0))) for each in book.legs
        ),
    )


def _nearest_alone(book: Book) -> LiquidatesAfter | NoLiquidation:
    found = [cross.joint_liquidation(_frozen_beside(book, leg)) for leg in book.legs]
    shocks = [each.shock for each in found if isinstance(each, LiquidatesAfter)]
    return LiquidatesAfter(min(shocks)) if shocks else NoLiquidation("planted")


def loosen_stops_after_a_loss(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(held.Shared, "bounds", lambda self, key: ())


def forget_what_a_loss_holds_on_restart(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transitions, "_shared_under", lambda state, digest: held.released(state.shared))


def take_a_distance_without_its_sign(patch: pytest.MonkeyPatch) -> None:
    signed = margin.liquidation_distance
    patch.setattr(metrics, "liquidation_distance", lambda *asked: Ratio(abs(signed(*asked))))


def read_not_reported_as_safe(patch: pytest.MonkeyPatch) -> None:
    settle = metrics.settle_liquidation

    def trusting(instrument: Any, position: Any) -> Any:
        if isinstance(position.liquidation, NotReported):
            return NoLiquidation("planted"), False
        return settle(instrument, position)

    patch.setattr(metrics, "settle_liquidation", trusting)


def hand_over_on_a_wait(patch: pytest.MonkeyPatch) -> None:
    ask = act._ask

    def impatient(desk: Any, rule: Any, step: Any, answer: Any) -> None:
        def at_once(asked: Any) -> Any:
            found = answer(asked)
            return replace(found, kind=Denial.EXHAUSTED) if isinstance(found, Denied) else found

        ask(desk, rule, step, at_once)

    patch.setattr(act, "_ask", impatient)


def close_nothing_that_is_breached(patch: pytest.MonkeyPatch) -> None:
    acts: Any = vars(alone)["act"]

    def reluctant(desk: Any, known: Any, *rest: Any) -> None:
        if not known.breached:
            acts(desk, known, *rest)

    patch.setattr(alone, "act", reluctant)


def close_a_leg_without_its_hedge(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(act, "hedge_of", lambda *arguments: ())


def stop_a_leg_as_if_it_were_alone(patch: pytest.MonkeyPatch) -> None:
    for module in (pairs, together, upkeep):
        patch.setattr(module, "stopped_as", lambda instrument, position, positions: position)
