"""Bugs planted on purpose: each must be caught, or the simulation is blind to it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from bot.core import act, alone, engine, guardrails, ladder, protection, sizing, upkeep, vigil
from bot.core import state as core_state
from bot.core.guardrails import Approved
from bot.core.model import Side
from bot.core.protection import Audit, StopStatus
from bot.core.units import Ratio
from bot.exchange.ports import Unsure
from bot.runtime import reconcile, record
from bot.runtime.executor import Executor
from bot.runtime.guard import Guard

Plant = Callable[[pytest.MonkeyPatch], None]


def resend_on_unsure(patch: pytest.MonkeyPatch) -> None:
    send = Executor._send

    async def twice(self: Executor, approved: Approved) -> Any:
        reply = await send(self, approved)
        return await send(self, approved) if isinstance(reply, Unsure) else reply

    patch.setattr(Executor, "_send", twice)


def take_unknown_for_not_applied(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reconcile, "SPEND_FENCE_MS", 0)
    patch.setattr(reconcile, "SECOND_READ_MS", 0)


def close_the_wrong_side(patch: pytest.MonkeyPatch) -> None:
    review = guardrails.review_close

    def flipped(*arguments: Any, **named: Any) -> Any:
        found = review(*arguments, **named)
        if not isinstance(found, Approved):
            return found
        side = Side.SHORT if found.intent.action.side is Side.LONG else Side.LONG
        action = replace(found.intent.action, side=side)
        return replace(found, intent=replace(found.intent, action=action))

    patch.setattr(act, "review_close", flipped)


def close_too_early(patch: pytest.MonkeyPatch) -> None:
    crossed = ladder.is_crossed
    patch.setattr(
        ladder, "is_crossed", lambda limit, value: crossed(limit, Ratio(value * Decimal("0.6")))
    )


def act_on_neither_floor_nor_level(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(act, "review_close", _denied)
    patch.setattr(act, "stands_in", lambda *arguments, **named: False)


def forget_budgets_on_restart(patch: pytest.MonkeyPatch) -> None:
    resumed = core_state.resumed
    patch.setattr(record, "resumed", lambda *a: replace(resumed(*a), intents={}))


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
    def nothing(request: Any) -> Iterator[str]:
        return iter(())

    patch.setattr(guardrails, "_reasons_to_read", nothing)


def place_stops_beyond_liquidation(patch: pytest.MonkeyPatch) -> None:
    with_room = sizing.price_with_room
    patch.setattr(
        protection,
        "price_with_room",
        lambda instrument, side, settled, room: with_room(instrument, side, settled, Ratio(-room)),
    )


def never_place_a_stop(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upkeep, "_place", lambda *arguments: None)


def leave_the_stop_after_a_top_up(patch: pytest.MonkeyPatch) -> None:
    place = upkeep._place

    def only_missing(desk: Any, position: Any, target: Any, status: StopStatus) -> None:
        if status is not StopStatus.DRIFTED:
            place(desk, position, target, status)

    patch.setattr(upkeep, "_place", only_missing)


def cancel_before_placing(patch: pytest.MonkeyPatch) -> None:
    audit = protection.audit

    def eager(position: Any, ours: Any, target: Any, settled: Any) -> Audit:
        found = audit(position, ours, target, settled)
        return replace(found, superfluous=ours) if found.status is StopStatus.DRIFTED else found

    patch.setattr(upkeep, "audit", eager)


def leave_stops_of_closed_positions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "_cancel_orphans", lambda state, *rest: state)


def cancel_foreign_stops(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upkeep, "account_prefix", lambda account: "")


def send_without_a_row(patch: pytest.MonkeyPatch) -> None:
    async def skip(self: Guard, *arguments: Any) -> None:
        self._unwritten.clear()

    patch.setattr(Guard, "_make_durable", skip)


def spool_in_silence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Guard, "_announce", lambda self, alert: None)


def _denied(*arguments: Any, **named: Any) -> Any:
    return guardrails._exhausted("planted", "never closes")


PLANTED: tuple[Plant, ...] = (
    resend_on_unsure,
    take_unknown_for_not_applied,
    close_the_wrong_side,
    close_too_early,
    act_on_neither_floor_nor_level,
    forget_budgets_on_restart,
    make_every_firing_an_episode,
    spend_what_is_to_be_kept_free,
    place_stops_beyond_liquidation,
    never_place_a_stop,
    leave_the_stop_after_a_top_up,
    cancel_before_placing,
    leave_stops_of_closed_positions,
    cancel_foreign_stops,
    send_without_a_row,
    spool_in_silence,
)
