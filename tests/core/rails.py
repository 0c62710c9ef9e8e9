"""What the tests of the guardrails share: an account with intents, and who asks."""

from dataclasses import replace
from decimal import Decimal

from bot.core.actions import Action, AddMargin, ClosePosition, PlaceStop
from bot.core.events import AccountMode, IntentState
from bot.core.guardrails import (
    Approved,
    Denial,
    Denied,
    Request,
    Review,
    review_top_up,
)
from bot.core.model import Position
from bot.core.policy import Guardrails
from bot.core.state import (
    AccountState,
    Intent,
    Plain,
    PositionMemory,
    StepMemory,
)
from bot.core.units import Money, Price
from bot.testing import builders as build
from tests.core.life import LONG, T0

REASON = "ladder/add"
EPISODE = T0 - 60_000
MEMORY = PositionMemory(steps={REASON: StepMemory()}, episode=EPISODE, in_episode=True)
OTHER = build.position("ETHUSDT")


def intent(
    action: Action,
    *,
    ago_ms: int = 120_000,
    state: IntentState = IntentState.APPLIED,
    changed_ago_ms: int | None = None,
    episode: int = 0,
    number: int = 0,
    closes: Position = LONG,
) -> Intent:
    return Intent(
        id=f"intent-{number}",
        key=closes.key,
        action=action,
        purpose=Plain(),
        reason=REASON,
        episode=episode,
        known_at_ms=0,
        margin_before=Money(Decimal(5_000)),
        quantity_before=closes.quantity,
        planned_at_ms=T0 - ago_ms,
        state=state,
        changed_at_ms=T0 - (ago_ms if changed_ago_ms is None else changed_ago_ms),
        detail="",
    )


def add(amount: build.Number = 100) -> AddMargin:
    return AddMargin(LONG.symbol, LONG.side, Money(Decimal(amount)))


CLOSE = ClosePosition(LONG.symbol, LONG.side, LONG.quantity)
STOP = PlaceStop(LONG.symbol, LONG.side, LONG.quantity, Price(Decimal(46_624)))


def account(
    *intents: Intent,
    free: build.Number = 10_000,
    mode: AccountMode = AccountMode.ACTIVE,
) -> AccountState:
    state = build.account_state(
        build.snapshot([LONG], free=free, taken_at_ms=T0 - 5),
        {build.SYMBOL: 47_000},
        now_ms=T0,
        mode=mode,
    )
    numbered = {f"{number}": replace(each, id=f"{number}") for number, each in enumerate(intents)}
    return replace(state, intents=numbered, intents_planned=len(intents))


def request(
    state: AccountState,
    limits: Guardrails | None = None,
    memory: PositionMemory = MEMORY,
    now_ms: int = T0,
) -> Request:
    policy = build.policy(limits=limits or build.guardrails())
    return Request(state, policy, LONG.key, memory, REASON, now_ms)


def top_up(
    state: AccountState,
    limits: Guardrails | None = None,
    *,
    asked: build.Number = 1_000,
    memory: PositionMemory = MEMORY,
    cooldown_ms: int = 0,
    now_ms: int = T0,
    users: tuple[Price, ...] = (),
    position: Position = LONG,
) -> Review:
    asks = request(state, limits, memory, now_ms)
    return review_top_up(asks, position, Money(Decimal(asked)), cooldown_ms, users)


def approved(review: Review) -> Decimal:
    assert isinstance(review, Approved), review
    assert isinstance(review.intent.action, AddMargin)
    return review.intent.action.amount


def denied(review: Review, kind: Denial, limit: str) -> Denied:
    assert isinstance(review, Denied), review
    assert (review.kind, review.limit) == (kind, limit)
    assert review.text
    return review
