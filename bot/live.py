"""
The process that guards a real account, and what is looked at before it begins.

As `bot.app`, for what needs a venue: commands import it when they run, as it brings ccxt along.
"""

import asyncio
import gc
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import structlog

from bot.alerts.heard import HeardJournal
from bot.app import (
    Audience,
    LiveMode,
    RunError,
    journal_path,
    outbox_of,
    reload_on_hangup,
    resume_at_ms,
    stop_on_signals,
)
from bot.clock import Clock, system_wall_ms
from bot.core.policy import Policy
from bot.exchange.live.account import LiveAccount
from bot.exchange.live.connection import USUAL, Egress, Route, connect, follow, reach
from bot.exchange.live.credentials import Credentials, KeyPlaces, find_credentials
from bot.exchange.live.dialect import Dialect
from bot.exchange.live.findings import CheckFailed, Finding, Standing, require_sound
from bot.exchange.live.numbered import Ledger, NumberedAccount
from bot.exchange.live.observe import ObservedAccount
from bot.exchange.ports import Account
from bot.exchange.venues.capabilities import MATRIX, Effect, StopName
from bot.exchange.venues.dialects import DIALECTS, WALLETS
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import load_policy
from bot.runtime.assemble import assemble, unexpected
from bot.runtime.control import listening, socket_path
from bot.runtime.guard import PolicyRefused
from bot.runtime.heartbeat import beat
from bot.runtime.recheck import only_watched, recheck, to_know, watch_endings

log = structlog.get_logger()

YOUNG_MAX = 10_000
"""So many objects more than before are looked through for refuse; Python's own 700 come in every
second breach."""

_ADD_MARGIN = frozenset({"top_up", "trim_and_refund"})


@dataclass(frozen=True, slots=True)
class LiveKeys:
    """
    The keys of an account.

    `accept_unverified`: the user answers for what the venue does not tell of them.
    """

    credentials: Credentials
    accept_unverified: bool


def keys_of(policy_file: Path, places: KeyPlaces, answered_for: Set[str]) -> LiveKeys:
    """
    The keys of the policy's account, under the name that it gives them.

    `answered_for` are the names of keys that the user answers for. Raises `CredentialsError`,
    `PolicyError`.
    """
    name = load_policy(policy_file).credentials
    return LiveKeys(find_credentials(places, name), name in answered_for)


def doctor(
    policy_file: Path, keys: LiveKeys, route: Route, egress: Egress = USUAL
) -> tuple[Finding, ...]:
    """
    Everything that is looked at before an account is guarded, and what was found.

    Raises `PolicyError`, `RunError`, `Unreachable`.
    """
    return asyncio.run(_doctor(load_policy(policy_file), keys, route, egress))


async def _doctor(
    policy: Policy, keys: LiveKeys, route: Route, egress: Egress = USUAL
) -> tuple[Finding, ...]:
    dialect = _dialect_of(policy)
    found = list(_lacks(policy, LiveMode.LIVE))
    clock = Clock(system_wall_ms())
    async with reach(dialect, keys.credentials, route, clock, egress) as venue:
        found += await venue.examine()
        snapshot = await venue.account.snapshot()
        held = sorted({position.symbol for position in snapshot.positions})
        listed = {}
        for symbol in held:
            with suppress(KeyError):  # `unexpected` says so of a contract that is not listed
                (listed[symbol],) = await venue.market.instruments((symbol,))
        wrong = unexpected(policy, snapshot, listed)
        found += [Finding("account", Standing.REFUSED, each) for each in wrong]
        if not wrong:
            text = f"{snapshot.position_mode}, {len(held)} contracts held, as the policy expects"
            found.append(Finding("account", Standing.FINE, text))
        for symbol, each in listed.items():
            text = f"{symbol}: {len(each.tiers)} tiers, taker fee {each.taker_fee:f}"
            found.append(Finding("rules", Standing.FINE, text))
        found += await venue.endings(held)
    return tuple(found)


def _lacks(policy: Policy, mode: LiveMode) -> Iterator[Finding]:
    """What the policy needs to have done, by the mode of the run, and its adapter cannot do."""
    can = MATRIX[policy.venue]
    needed = needed_effects(policy) if mode is LiveMode.LIVE else frozenset[Effect]()
    lacking = [
        *sorted(needed - can.effects),
        *sorted(policy.margin_modes - can.margin_modes),
        *sorted({policy.position_mode} - can.position_modes),
    ]
    for each in lacking:
        because = f": {can.why_not}" if can.why_not else ""
        text = f"{policy.venue}: the policy needs {each}, which its adapter cannot{because}"
        yield Finding("capabilities", Standing.REFUSED, text)
    if not lacking:
        text = f"{policy.venue} can do all that the policy needs; tried: {can.tried}"
        yield Finding("capabilities", Standing.FINE, text)


def require_possible(policy: Policy, mode: LiveMode) -> None:
    """Raise `PolicyRefused` where a policy needs what its adapter cannot do."""
    try:
        require_sound(_lacks(policy, mode), accept_unverified=False)
    except CheckFailed as e:
        raise PolicyRefused(str(e)) from e


def needed_effects(policy: Policy) -> frozenset[Effect]:
    """What its standing stop and its steps may have to have done."""
    always = frozenset(Effect) - {Effect.ADD_MARGIN}  # the stop, the floor and bounded closes
    verbs = {step.verb for rule in policy.rules for step in rule.steps}
    return always | ({Effect.ADD_MARGIN} if verbs & _ADD_MARGIN else frozenset())


def _dialect_of(policy: Policy) -> Dialect:
    if policy.venue not in DIALECTS:
        raise RunError(f"account.venue: expected {', '.join(DIALECTS)}, was {policy.venue}")
    if policy.venue in WALLETS:
        return WALLETS[policy.venue](policy.settle)
    return DIALECTS[policy.venue]


def account_of(policy: Policy, account: LiveAccount, state_dir: Path) -> Account:
    """The account, in whose answers the guard's own stops have its ids. `LedgerDamaged`."""
    match MATRIX[policy.venue].stop_name:
        case StopName.CLIENT_ID:
            return account
        case StopName.NUMBER:
            path = journal_path(state_dir, policy.account).with_suffix(".stops.jsonl")
            return NumberedAccount(account, Ledger.opened(path))
    assert_never(MATRIX[policy.venue].stop_name)


def _observed(account: Account, mode: LiveMode, unsupported: Sequence[str]) -> ObservedAccount:
    match mode:
        case LiveMode.OBSERVE:
            return ObservedAccount(account, "observe: nothing is sent")
        case LiveMode.LIVE:
            return ObservedAccount(account, "; ".join(unsupported))
    assert_never(mode)


def _run_of(mode: LiveMode, account: ObservedAccount) -> str:
    """Where what is decided goes, in a word: live, observe or alert-only."""
    return "alert-only" if mode is LiveMode.LIVE and account.why else str(mode)


def run_live(
    policy_file: Path,
    keys: LiveKeys,
    state_dir: Path,
    mode: LiveMode,
    route: Route,
    hearers: Audience,
    *,
    egress: Egress = USUAL,
) -> None:
    """
    Guard the policy's account on its venue until SIGTERM; SIGHUP reads the policy file again.

    Raises what `connect` and `assemble` raise, `RunError`, `JournalUnavailable`,
    `JournalDamaged`, `LedgerDamaged`, `ControlError`.
    """
    asyncio.run(_run_live(policy_file, keys, state_dir, mode, route, hearers, egress=egress))


def _collect_once() -> None:
    """
    Have nothing that is there at the start looked through for refuse again.

    To look through all of it takes a tenth of a second, at any moment that Python picks.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, *gc.get_threshold()[1:])


async def _run_live(
    policy_file: Path,
    keys: LiveKeys,
    state_dir: Path,
    mode: LiveMode,
    route: Route,
    hearers: Audience,
    *,
    egress: Egress = USUAL,
) -> None:
    policy = load_policy(policy_file)
    dialect = _dialect_of(policy)
    require_sound(_lacks(policy, mode), accept_unverified=False)
    written = asyncio.Event()
    journal = HeardJournal(
        SqliteJournal.open(journal_path(state_dir, policy.account), policy.account), written
    )
    clock = Clock(await resume_at_ms(journal, system_wall_ms()))
    accept = keys.accept_unverified
    async with connect(
        dialect, keys.credentials, route, clock, egress=egress, accept_unproven_key=accept
    ) as venue:
        known = account_of(policy, venue.account, state_dir)
        account = _observed(known, mode, venue.unsupported)
        guard = await assemble(policy, venue.market, account, clock, journal)
        _collect_once()
        socket = socket_path(state_dir, policy.account)
        outbox = outbox_of(journal, written, guard, state_dir, hearers, clock)
        async with (
            listening(socket, guard, outbox, clock.now_ms, lambda: _run_of(mode, account)),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(outbox.run())
            guarding = tasks.create_task(guard.run())
            daily = recheck(venue.examine, guard, account.observe, clock, accept_unverified=accept)
            looking = (
                tasks.create_task(daily),
                tasks.create_task(watch_endings(venue.endings, guard, clock)),
                tasks.create_task(follow(venue.neighbours, clock)),
            )
            beating = tasks.create_task(beat(hearers.pulses, lambda: guard.sound_at_ms, clock))
            stop_on_signals(guard)
            reload_on_hangup(guard, policy_file, tasks, lambda each: require_possible(each, mode))
            for text in venue.unsupported:
                guard.announce(only_watched(text))
            for text in venue.noted:
                guard.announce(to_know(text))
            log.info("guard.started", account=policy.account, mode=_run_of(mode, account))
            await guarding
            beating.cancel()
            for each in looking:
                each.cancel()
            outbox.finish()
    log.info("guard.stopped", account=policy.account)
    await journal.close()
