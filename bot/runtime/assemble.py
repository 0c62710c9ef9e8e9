"""
The only wiring: exchange, clock and journal in, a guard out.

Live, paper and rehearsal differ in these three arguments and in nothing else.
"""

from collections.abc import Mapping

import structlog

from bot.clock import Clock
from bot.core.decision import Alert, AlertSeverity
from bot.core.metrics import NotSupported, support
from bot.core.model import AccountSnapshot, Instrument
from bot.core.policy import Policy
from bot.exchange.ports import Account, Banned, MarketData, Throttled, Unreachable
from bot.journal.port import Journal
from bot.runtime.executor import Executor
from bot.runtime.feed import Feed
from bot.runtime.gate import Gate
from bot.runtime.guard import Guard
from bot.runtime.inbox import Inbox
from bot.runtime.reconcile import Reconciler
from bot.runtime.record import Started, is_guarded_by, recover, started_entry

log = structlog.get_logger()


class StartRefused(Exception):
    """The account holds something that this version cannot guard. One sentence a line."""


async def assemble(
    policy: Policy,
    market: MarketData,
    account: Account,
    clock: Clock,
    journal: Journal,
) -> Guard:
    """
    A guard that has recovered its state and read the account once, ready to `run`.

    Where the account has changed since it was guarded by the same policy, it is guarded on, as a
    process that had not died would, and that is alarmed.

    Raises `StartRefused`, `Unreachable` when the first read fails and has brought no rules either,
    `JournalUnavailable`.
    """
    inbox = Inbox(clock)
    await journal.keep(policy.text)
    now_ms = clock.now_ms()
    state = await recover(journal, policy.account, policy, now_ms)
    gate = Gate(account, clock, inbox.put, state.banned_until_ms)
    feed = Feed(market, gate, clock, inbox.put)
    reconciler = Reconciler(gate, feed.read, clock, inbox.put)
    executor = Executor(gate, reconciler, clock, inbox.put)
    if now_ms < state.banned_until_ms:
        await clock.sleep_until_ms(state.banned_until_ms)
    is_known = await is_guarded_by(policy, journal)
    odd = unexpected(policy, await _first_read(feed, clock), feed.listed)
    if odd and not is_known:
        raise StartRefused("\n".join(odd))
    await journal.append([started_entry(Started(state.birth, policy.digest), now_ms)])
    guard = Guard(
        state=state,
        policy=policy,
        inbox=inbox,
        market=market,
        feed=feed,
        executor=executor,
        reconciler=reconciler,
        journal=journal,
        clock=clock,
    )
    for sentence in odd:
        guard.announce(Alert("account", "unexpected", AlertSeverity.CRITICAL, sentence))
    return guard


async def _first_read(feed: Feed, clock: Clock) -> AccountSnapshot:
    """
    Begun again as long as the rules of one more contract have been learnt.

    Of those of many positions some get no answer on a bad line: the next process would have to
    ask for all of them anew. Nor would it know that the venue wants nothing asked for a while.
    """
    while True:
        known = len(feed.listed)
        try:
            snapshot = await feed.read()
        except (Banned, Throttled) as e:
            log.warning("start.held_back", until_ms=e.until_ms, reason=str(e))
            await clock.sleep_until_ms(e.until_ms)
            continue
        if not feed.unread:
            return snapshot
        if len(feed.listed) == known:
            raise Unreachable("; ".join(f"{each}: {why}" for each, why in feed.unread.items()))


def unexpected(
    policy: Policy, snapshot: AccountSnapshot, listed: Mapping[str, Instrument]
) -> tuple[str, ...]:
    """What of an account is not as its policy expects, or cannot be guarded. A sentence each."""
    if snapshot.position_mode is not policy.position_mode:
        sentence = (
            f"account: expected position mode {policy.position_mode}, as account.position_mode of "
            f"the policy says, was {snapshot.position_mode}"
        )
        return (sentence,)
    refusals = []
    for position in snapshot.positions:
        if position.symbol not in listed:
            refusals.append(f"{position.symbol}: the venue gives no rules for it")
            continue
        verdict = support(listed[position.symbol], position, snapshot, policy)
        if isinstance(verdict, NotSupported):
            refusals.append(verdict.reason)
        if position.margin_mode not in policy.margin_modes:
            expected = " or ".join(sorted(policy.margin_modes))
            refusals.append(
                f"{position.symbol}: expected {expected} margin, as account.margin_mode of the "
                f"policy says, was {position.margin_mode}"
            )
    return tuple(refusals)
