"""
The promises that production asserts at every decision, re-derived from the intents alone.

A breach means a defect of ours: the guard latches NO_SPEND and says so.
"""

from bot.core.actions import AddMargin
from bot.core.guardrails import spent_since
from bot.core.policy import Policy
from bot.core.state import DAY_MS, HOUR_MS, AccountState


def broken(state: AccountState, policy: Policy, now_ms: int) -> tuple[str, ...]:
    """A sentence for every promise that `state` breaks; none in a guard without defects."""
    rails = policy.guardrails
    spending = [
        intent
        for intent in state.intents.values()
        if intent.is_open and isinstance(intent.action, AddMargin)
    ]
    claims = (
        (
            spent_since(state, now_ms - HOUR_MS) <= rails.top_up_1h_max,
            "promise 3: more margin was added in an hour than per_1h allows",
        ),
        (
            spent_since(state, now_ms - DAY_MS) <= rails.top_up_24h_max,
            "promise 3: more margin was added in a day than per_24h allows",
        ),
        (len(spending) <= 1, "promise 4: two top-ups are open at once"),
    )
    return tuple(sentence for holds, sentence in claims if not holds)
