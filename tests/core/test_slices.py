"""What a part close has left to do must not outlive the reason for it."""

from decimal import Decimal

from bot.core.actions import ClosePosition
from bot.core.events import IntentState, OutcomeReported
from bot.core.model import NO_FILL, Fill, Filled, MarginMode, Position
from bot.core.policy import Rule
from bot.core.strategy import Severity
from bot.core.units import Price, Quantity
from bot.policy.verbs import BoundVerb, find_verbs
from bot.testing import builders as build
from strategies import close, partial_close
from tests.core.books import cross
from tests.core.life import Life, below, ratio

BTC = cross("BTCUSDT", entry_price=50_000)
ETH = cross("ETHUSDT", quantity=25, entry_price=2_000)
INSTRUMENTS = (build.instrument("BTCUSDT"), build.instrument("ETHUSDT"))
TO_9 = BoundVerb(find_verbs()["partial_close"], partial_close.ToDistance(ratio("0.09")))
TENTH = BoundVerb(find_verbs()["partial_close"], partial_close.Fraction(ratio("0.1")))
CLOSE = BoundVerb(find_verbs()["close"], close.Params())


def lighten(*, then_next: bool) -> Rule:
    return build.rule(
        build.step(
            "lighten",
            below("0.06"),
            Severity.REDUCE,
            TO_9,
            cooldown_ms=60_000,
            then_next=then_next,
        ),
        build.step("out", below("0.03"), Severity.CLOSE, CLOSE),
        margin_mode=MarginMode.CROSS,
        hysteresis="0.005",
    )


def book_at(rule: Rule, wallet: int, btc: int, eth: int, *positions: Position) -> Life:
    policy = build.policy(
        rule,
        margin_modes=frozenset({MarginMode.CROSS}),
        protection=build.protect(room="0.02", floor="0.01"),
        limits=build.guardrails(slippage_max="0.005"),
    )
    life = Life(policy, *positions, mark=btc, free=0, wallet=wallet, instruments=INSTRUMENTS)
    life.mark(eth, "ETHUSDT")
    return life


def end_closes(life: Life, outcome: IntentState, filled: Filled) -> None:
    for approved in life.decision.approved:
        if isinstance(approved.intent.action, ClosePosition):
            intent_id = approved.intent.id
            life.happen(OutcomeReported(intent_id, outcome, "", life.now_ms, filled))


def closes(life: Life) -> list[tuple[str, Decimal]]:
    return [
        (action.symbol, action.quantity)
        for action in life.decide()
        if isinstance(action, ClosePosition)
    ]


def leg_gone(*, then_next: bool) -> Life:
    """0.676 of 0.776 BTC has filled; then its stop, or its owner, closes the rest: 5.2 % away."""
    life = book_at(lighten(then_next=then_next), 6_000, 50_000, 2_000, BTC, ETH)
    assert closes(life) == [("BTCUSDT", Decimal("0.776"))]
    part = Fill(Quantity(Decimal("0.676")), Price(Decimal(50_000)))
    end_closes(life, IntentState.PARTIAL, part)
    life.wait(61_000)
    life.wallet = 4_000
    life.read_twice(ETH)
    life.mark(49_000)
    life.mark(1_950, "ETHUSDT")
    return life


def test_a_rest_of_a_leg_that_is_gone_does_not_keep_the_others_from_being_cut() -> None:
    assert [symbol for symbol, _ in closes(leg_gone(then_next=False))] == ["ETHUSDT"]


def test_a_rest_of_a_leg_that_is_gone_does_not_hand_over_to_the_close_of_everything() -> None:
    (found,) = closes(leg_gone(then_next=True))
    assert found[0] == "ETHUSDT"
    assert found[1] < ETH.quantity


def test_an_outcome_after_the_step_has_cleared_leaves_nothing_for_its_next_time() -> None:
    rule = lighten(then_next=False)
    life = book_at(rule, 6_000, 50_000, 2_000, BTC, ETH)
    assert closes(life) == [("BTCUSDT", Decimal("0.776"))]
    planned = life.decision
    life.wait(500)
    life.mark(52_000)
    life.mark(2_060, "ETHUSDT")
    assert closes(life) == []
    life.decision = planned
    end_closes(life, IntentState.EXPIRED, NO_FILL)
    life.wait(3 * 86_400_000)
    life.wallet = 6_500
    life.mark(49_980)
    life.mark(1_999, "ETHUSDT")
    life.read(BTC, ETH)
    assert closes(life) == closes(book_at(rule, 6_500, 49_980, 1_999, BTC, ETH))


def test_a_rest_is_no_more_than_the_step_would_ask_of_what_its_owner_left() -> None:
    rule = build.rule(build.step("cut", below("0.2"), Severity.REDUCE, TENTH, cooldown_ms=60_000))
    life = Life(build.policy(rule), build.position())
    assert closes(life) == [("BTCUSDT", Decimal("0.1"))]
    end_closes(life, IntentState.EXPIRED, NO_FILL)
    life.wait(1_000)
    life.mark(50_000)
    life.read(build.position(quantity="0.1", margin=500))
    assert closes(life) == [("BTCUSDT", Decimal("0.01"))]
