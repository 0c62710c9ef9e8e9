"""
Planted bugs of mechanism: how requests are made durable, sent, followed and taken back.

Each function sabotages our own code for as long as the patch lasts.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest

from bot.core import clearing, engine, guardrails, protection, reads, transitions, upkeep
from bot.core.actions import PlaceStop
from bot.core.events import AccountMode
from bot.core.guardrails import Approved
from bot.core.model import Fill
from bot.core.protection import Audit, StopStatus
from bot.core.state import AccountRead, Intent
from bot.core.units import Quantity, floor_to
from bot.exchange.live.calls import Call
from bot.exchange.ports import OrderFound, Unreachable, Unsure
from bot.exchange.venues import (
    binance_orders,
    bitget_orders,
    bitunix_orders,
    bybit_orders,
    gate_orders,
    hyperliquid_orders,
    krakenfutures_orders,
    kucoin_orders,
    okx_orders,
)
from bot.journal import chain as hashes
from bot.journal import sqlite_connect
from bot.journal.chain import EMPTY
from bot.journal.head_note import HeadNote
from bot.journal.port import JournalUnavailable
from bot.runtime import guard, reconcile, record
from bot.runtime.executor import Executor
from bot.runtime.guard import Guard
from bot.runtime.reconcile import Reconciler


def resend_on_unsure(patch: pytest.MonkeyPatch) -> None:
    send = Executor._send

    async def twice(self: Executor, intent: Intent) -> Any:
        reply = await send(self, intent)
        return await send(self, intent) if isinstance(reply, Unsure) else reply

    patch.setattr(Executor, "_send", twice)


def take_unknown_for_not_applied(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reconcile, "SPEND_FENCE_MS", 0)
    patch.setattr(reconcile, "FENCE_MARGIN_MS", -60_000)
    patch.setattr(reconcile, "SECOND_READ_MS", 0)


def forget_budgets_on_restart(patch: pytest.MonkeyPatch) -> None:
    resumed = transitions.resumed
    patch.setattr(record, "resumed", lambda *a: replace(resumed(*a), intents={}))


def never_place_a_stop(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upkeep, "_place", lambda *arguments: None)


def leave_the_stop_after_a_top_up(patch: pytest.MonkeyPatch) -> None:
    place = upkeep._place

    def only_missing(desk: Any, ground: Any, target: Any, found: Audit) -> None:
        if found.status is not StopStatus.DRIFTED:
            place(desk, ground, target, found)

    patch.setattr(upkeep, "_place", only_missing)


def cancel_before_placing(patch: pytest.MonkeyPatch) -> None:
    audit = protection.audit

    def eager(instrument: Any, position: Any, ours: Any, target: Any, settled: Any) -> Audit:
        found = audit(instrument, position, ours, target, settled)
        return replace(found, superfluous=ours) if found.status is StopStatus.DRIFTED else found

    patch.setattr(upkeep, "audit", eager)


def leave_stops_of_closed_positions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "_cancel_orphans", lambda state, *rest: state)


def cancel_foreign_stops(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upkeep, "birth_prefix", lambda birth: "")


def send_without_a_row(patch: pytest.MonkeyPatch) -> None:
    async def skip(self: Guard, *arguments: Any) -> None:
        self._unwritten.clear()

    patch.setattr(Guard, "_make_durable", skip)


def spool_in_silence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Guard, "_announce", lambda self, alert: None)


def take_a_part_for_the_whole(patch: pytest.MonkeyPatch) -> None:
    evidence = reconcile._close_evidence

    def generous(intent: Any, ordered: Any, order: Any, snapshot: Any) -> Any:
        match order:
            case OrderFound(resting=False, filled=Fill() as fill):
                whole = replace(order, filled=replace(fill, quantity=ordered))
                return evidence(intent, ordered, whole, snapshot)
            case _:
                return evidence(intent, ordered, order, snapshot)

    patch.setattr(reconcile, "_close_evidence", generous)


def lean_on_a_stop_that_is_being_cancelled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(upkeep, "_cancelled", lambda intents, account: frozenset())


def give_two_lives_the_same_numbers(patch: pytest.MonkeyPatch) -> None:
    resumed = transitions.resumed

    def again(state: Any, *arguments: Any) -> Any:
        return replace(resumed(state, *arguments), intents_planned=state.intents_planned)

    patch.setattr(record, "resumed", again)


def put_a_refund_back_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transitions, "_put_back", lambda refunds, *arguments: refunds)


def believe_absence_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reconcile, "ORDER_FENCE_MS", 0)
    patch.setattr(reconcile, "FENCE_MARGIN_MS", -60_000)
    patch.setattr(reconcile, "SECOND_READ_MS", 0)


class _GivenUp(Exception):
    pass


def settle_until_the_first_failed_read(patch: pytest.MonkeyPatch) -> None:
    look, settle = Reconciler._look, Reconciler.settle

    async def once(self: Reconciler, *asked: Any) -> Any:
        try:
            return await look(self, *asked)
        except Unreachable as e:
            raise _GivenUp from e

    async def until(self: Reconciler, intent: Any, **answered: Any) -> None:
        with suppress(_GivenUp):
            await settle(self, intent, **answered)

    patch.setattr(Reconciler, "_look", once)
    patch.setattr(Reconciler, "settle", until)


def forget_open_intents_on_restart(patch: pytest.MonkeyPatch) -> None:
    settle = Reconciler.settle

    async def fresh(self: Reconciler, intent: Any, **answered: Any) -> None:
        if intent.detail != "the guard restarted":
            await settle(self, intent, **answered)

    patch.setattr(Reconciler, "settle", fresh)


def forget_the_hold_on_restart(patch: pytest.MonkeyPatch) -> None:
    resumed = transitions.resumed
    patch.setattr(record, "resumed", lambda *a: replace(resumed(*a), mode=AccountMode.ACTIVE))


def give_up_after_a_refused_stop(patch: pytest.MonkeyPatch) -> None:
    place = upkeep._place

    def sulking(desk: Any, *arguments: Any) -> None:
        if not desk.memory.stop_refusals:
            place(desk, *arguments)

    patch.setattr(upkeep, "_place", sulking)


def trust_an_older_read(patch: pytest.MonkeyPatch) -> None:
    read = reads.reported

    def trusting(state: Any, event: Any) -> Any:
        match state.account:
            case AccountRead(snapshot=known) if known.taken_at_ms > event.snapshot.taken_at_ms:
                newer = replace(event.snapshot, taken_at_ms=known.taken_at_ms)
                return read(state, replace(event, snapshot=newer))
            case _:
                return read(state, event)

    patch.setattr(transitions, "reported", trusting)


def leave_memories_out_of_the_journal(patch: pytest.MonkeyPatch) -> None:
    entry = record.decision_entry

    def without(state: Any, *arguments: Any) -> Any:
        return entry(replace(state, memories={}), *arguments)

    patch.setattr(guard, "decision_entry", without)


def decide_by_a_time_that_no_row_has(patch: pytest.MonkeyPatch) -> None:
    decide = engine.decide
    patch.setattr(guard, "decide", lambda state, policy, now_ms: decide(state, policy, now_ms + 1))


def go_on_without_the_journal(patch: pytest.MonkeyPatch) -> None:
    durable = Guard._make_durable

    async def careless(self: Guard, *arguments: Any) -> None:
        try:
            await durable(self, *arguments)
        except JournalUnavailable:
            self._unwritten.extend(self._rows(*arguments))

    patch.setattr(Guard, "_make_durable", careless)


def reduce_while_the_last_is_unknown(patch: pytest.MonkeyPatch) -> None:
    _without_reason(patch, "_reasons_not_to_reduce", "in_flight")


def top_up_while_the_last_is_unknown(patch: pytest.MonkeyPatch) -> None:
    _without_reason(patch, "_reasons_to_hold", "in_flight")


def let_an_unknown_close_block_the_exit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guardrails, "RETRY_CLOSE_MS", 10**9)


def cancel_the_last_stop(patch: pytest.MonkeyPatch) -> None:
    audit = protection.audit

    def eager(instrument: Any, position: Any, ours: Any, target: Any, settled: Any) -> Audit:
        found = audit(instrument, position, ours, target, settled)
        return replace(found, superfluous=ours) if found.status is StopStatus.RESTS else found

    patch.setattr(upkeep, "audit", eager)


def stop_for_a_part(patch: pytest.MonkeyPatch) -> None:
    approve = guardrails.approve_stop

    def smaller(request: Any, action: Any) -> Approved:
        if isinstance(action, PlaceStop):
            step = request.state.instruments.by_symbol[action.symbol].quantity_step
            part = floor_to(action.quantity * Decimal("0.9"), step)
            action = replace(action, quantity=Quantity(part))
        return approve(request, action)

    patch.setattr(upkeep, "approve_stop", smaller)


def stop_with_more_than_a_venue_takes(patch: pytest.MonkeyPatch) -> None:
    for module in (protection, upkeep):
        patch.setattr(module, "slices", lambda instrument, quantity: (quantity,))


def rest_only_the_first_order_of_a_stop(patch: pytest.MonkeyPatch) -> None:
    rest = upkeep._rest

    def first(desk: Any, ground: Any, target: Any, found: Audit, lacking: Any) -> None:
        rest(desk, ground, target, found, lacking[:1] if len(lacking) > 1 else ())

    patch.setattr(upkeep, "_rest", first)


def let_a_slice_wait_for_the_last(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guardrails, "_is_slice", lambda state, close: False)


def take_any_stop_for_a_whole_one(patch: pytest.MonkeyPatch) -> None:
    standing = protection.standing

    def lax(instrument: Any, position: Any, stops: Any) -> Any:
        size = {stop.client_id: stop for stop in stops}
        whole = [replace(stop, quantity=position.quantity) for stop in stops]
        return tuple(size[stop.client_id] for stop in standing(instrument, position, whole))

    patch.setattr(protection, "standing", lax)


def ignore_the_cooldown(patch: pytest.MonkeyPatch) -> None:
    _without_reason(patch, "_reasons_to_wait", "cooldown")


def ignore_the_rate_of_actions(patch: pytest.MonkeyPatch) -> None:
    _without_reason(patch, "_reasons_to_wait", "actions_per_1m")


def leave_its_own_stop_in_its_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guardrails, "in_the_way", lambda state, key: ())


def clear_the_users_stops_too(patch: pytest.MonkeyPatch) -> None:
    stops_of = clearing._stops_of
    patch.setattr(clearing, "_stops_of", lambda *asked: ([*chain(*stops_of(*asked))], []))


def rest_no_stop_after_a_close_that_took_it(patch: pytest.MonkeyPatch) -> None:
    def never(desk: Any, position: Any) -> int:
        closes = (each for each in desk.state.intents.values() if each.clears)
        return max((each.planned_at_ms + 10**9 for each in closes), default=-(10**15))

    patch.setattr(upkeep, "_closing_until_ms", never)


def clear_the_way_where_nothing_is_in_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(clearing, "_stops_reserve", lambda state, key: True)


def _without_reason(patch: pytest.MonkeyPatch, name: str, limit: str) -> None:
    reasons = getattr(guardrails, name)

    def fewer(*arguments: Any, **named: Any) -> Any:
        return (each for each in reasons(*arguments, **named) if each.limit != limit)

    patch.setattr(guardrails, name, fewer)


def drop_reduce_only(patch: pytest.MonkeyPatch) -> None:
    """In every venue's recipes, whatever it calls it and however deep it is."""

    def call(api: str, method: str, path: str, parameters: Any, *rest: Any, **named: Any) -> Call:
        return Call(api, method, path, _opening_too(parameters), *rest, **named)

    for module in (
        binance_orders,
        bitget_orders,
        bitunix_orders,
        bybit_orders,
        gate_orders,
        hyperliquid_orders,
        krakenfutures_orders,
        kucoin_orders,
        okx_orders,
    ):
        patch.setattr(module, "Call", call)


def skip_the_fsync(patch: pytest.MonkeyPatch) -> None:
    connect = sqlite_connect._sqlite

    def careless(database: str) -> Any:
        raw = connect(database)
        raw.execute("PRAGMA synchronous = OFF")
        return raw

    patch.setattr(sqlite_connect, "_sqlite", careless)


def note_no_row_beside_the_journal(patch: pytest.MonkeyPatch) -> None:
    write = HeadNote.write
    patch.setattr(HeadNote, "write", lambda self, head: write(self, EMPTY))


def believe_a_damaged_row(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(hashes, "checked", lambda account, row: row)


def _opening_too(sent: Any) -> Any:
    """What is sent, at any depth, without what holds an order to reduce."""
    match sent:
        case Mapping():
            kept = sent.keys() - {"reduceOnly", "reduce_only", "r"}
            return {name: _opening_too(sent[name]) for name in sent if name in kept}
        case list() | tuple():
            return [_opening_too(each) for each in sent]
        case _:
            return sent
