"""
Vigil: when to look again and how closely, the same for one position and for all cross ones.

An episode begins with the first firing step beyond alert and ends after ten quiet minutes.
"""

from dataclasses import replace

from bot.core.decision import AlertSeverity, Audited, StopVerdict
from bot.core.desk import REPEAT_MS, Desk
from bot.core.funding import settlement_wakes_ms, unseen_settlement
from bot.core.guardrails import REENTRIES_MAX
from bot.core.ladder import IDLE, Covering, Evaluation, reason_of
from bot.core.metrics import Unknown
from bot.core.model import MarginMode, Position
from bot.core.protection import StopStatus
from bot.core.state import EPISODE_QUIET_MS, Phase, PositionMemory
from bot.core.strategy import Severity
from bot.core.units import ZERO, Money


def advance_episode(evaluation: Evaluation, now_ms: int) -> PositionMemory:
    """Open an episode with the first step beyond alert, end it after ten quiet minutes."""
    memory = evaluation.memory
    if any(step.severity > Severity.ALERT for _, step in evaluation.firing):
        if memory.in_episode:
            return replace(memory, active_at_ms=now_ms)
        return replace(
            memory,
            episode=now_ms,
            in_episode=True,
            active_at_ms=now_ms,
        )
    if not memory.in_episode:
        return memory
    if any(step.phase is not Phase.INACTIVE for step in memory.steps.values()):
        return replace(memory, active_at_ms=now_ms)
    if now_ms - memory.active_at_ms >= EPISODE_QUIET_MS:
        return replace(memory, in_episode=False, funding_paid=Money(ZERO), reentries=0)
    return memory


def is_in_danger(memory: PositionMemory, covering: Covering) -> bool:
    """
    Whether more than an alert may be near, so that the account is worth looking at often.

    What a settlement costs is known hours ahead: only an episode makes that a danger.
    """
    return memory.in_episode or any(
        memory.steps.get(reason_of(rule, step), IDLE).phase is not Phase.INACTIVE
        for rule, step in covering
        if rule.metric.is_nearness and step.severity is not Severity.ALERT
    )


def is_endangered(memory: PositionMemory, stop: StopVerdict) -> bool:
    """Whether an episode goes on, or no proper stop rests."""
    rests = isinstance(stop, Audited) and stop.status in (
        StopStatus.RESTS,
        StopStatus.NOT_NEEDED,
    )
    return memory.in_episode or not rests


def warn_unknown(desk: Desk, unknown: Unknown) -> None:
    """Alarm what could not be measured for too long."""
    alarm_at_ms = desk.memory.unknown_since_ms + desk.policy.protect.unknown_after_ms
    desk.wake(alarm_at_ms)
    if desk.now_ms >= alarm_at_ms:
        text = f"cannot be measured: {unknown.reason}"
        desk.say("unknown", AlertSeverity.CRITICAL, text, REPEAT_MS)


def warn_blind(desk: Desk, evaluation: Evaluation) -> None:
    """Alarm a rule that has had nothing to judge by for too long though the position is known."""
    for blind in evaluation.blind:
        if not blind.rule.metric.needs_bars:
            continue  # what a settlement will cost may be unknown for hours, and costs nothing
        alarm_at_ms = blind.since_ms + blind.rule.unknown_after_ms
        desk.wake(alarm_at_ms)
        if desk.now_ms >= alarm_at_ms:
            text = f"{blind.rule.name} is not judged: {blind.reason}"
            desk.say(f"blind:{blind.rule.name}", AlertSeverity.CRITICAL, text, REPEAT_MS)


def warn_of_reentry(desk: Desk) -> None:
    """Say it where somebody opens again what has just been closed in danger: in the end always."""
    if not desk.memory.reentered:
        return
    desk.memory = replace(desk.memory, reentered=False)
    times = desk.memory.reentries
    text = (
        f"opened again within ten minutes of having been closed in an episode, {times} times now, "
        "as a bot does that knows of no guard: budgets and cooldowns go on, it gets no new ones"
    )
    if times < REENTRIES_MAX:
        desk.say("reentered", AlertSeverity.CRITICAL, text, REPEAT_MS)
        return
    text += (
        ". No margin is added to it any more in this episode; stops and closes go on. Stop the bot"
    )
    desk.shout("reentered", AlertSeverity.CRITICAL, text)


def warn_of_mode(desk: Desk, mode: MarginMode) -> None:
    """Say it where positions are of a margin mode that the policy does not expect."""
    if mode not in desk.policy.margin_modes:
        text = f"{mode} margin is not what the policy expects: only `protect` covers it"
        desk.say("margin_mode", AlertSeverity.WARNING, text, REPEAT_MS)


def wake_for_settlement(desk: Desk, position: Position) -> None:
    """Decide again when a settlement comes near, and read the account once it is over."""
    for at_ms in settlement_wakes_ms(desk.state, position):
        desk.wake(at_ms)
    if unseen_settlement(desk.state, position, desk.now_ms):
        desk.needs_read = True
