"""
The promises that production asserts before anything is sent, re-derived from the intents alone.

A breach means a defect of ours: the guard sends nothing of that decision and latches NO_SPEND.
"""

from bot.core.actions import AddMargin
from bot.core.decision import Decision
from bot.core.guardrails import refund_under_way, spent_since
from bot.core.policy import Policy
from bot.core.state import DAY_MS, HOUR_MS, AccountState


def broken(state: AccountState, decision: Decision, policy: Policy) -> tuple[str, ...]:
    """
    A sentence for every promise that sending `decision` would break; none without a defect.

    `state` already counts what the decision approved. What was spent under an older, more
    generous policy breaks nothing as long as nothing is added.
    """
    adds = [each.intent for each in decision.approved if isinstance(each.intent.action, AddMargin)]
    if not adds:
        return ()
    rails, now_ms = policy.guardrails, decision.at_ms
    under_way = [
        intent
        for intent in state.intents.values()
        if intent.is_open and isinstance(intent.action, AddMargin)
    ]
    only_refunds = not any(intent.counts_as_spent for intent in adds)
    claims = (
        (
            only_refunds or spent_since(state, now_ms - HOUR_MS) <= rails.top_up_1h_max,
            "promise 3: more margin would be added in an hour than per_1h allows",
        ),
        (
            only_refunds or spent_since(state, now_ms - DAY_MS) <= rails.top_up_24h_max,
            "promise 3: more margin would be added in a day than per_24h allows",
        ),
        (
            all(
                refund_under_way(state, trim_id) <= due.amount
                for trim_id, due in state.refunds.items()
            ),
            "promise 3: more margin would go back than a trim has freed",
        ),
        (len(under_way) <= 1, "promise 4: two top-ups would be under way at once"),
    )
    return tuple(sentence for holds, sentence in claims if not holds)
