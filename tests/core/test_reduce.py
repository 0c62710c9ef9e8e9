"""May a part be closed: what holds it, what does not, and what it may never do."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.core.actions import AT_MARKET, Action, CancelStop, ClosePosition
from bot.core.events import TERMINAL, AccountMode, IntentState
from bot.core.guardrails import (
    Approved,
    Denial,
    Denied,
    PartClose,
    Request,
    review_reduce,
)
from bot.core.model import MarginOnReduce, Position
from bot.core.policy import Policy
from bot.core.state import AccountRead, AccountState, Instruments, Plain, StepMemory, Trim
from bot.core.units import Price, Quantity
from bot.testing import builders as build
from tests.core.books import cross
from tests.core.life import LONG, T0
from tests.core.rails import CLOSE, MEMORY, OTHER, REASON, STOP, account, add, intent

PLAIN = Plain()
HALF = Quantity(Decimal("0.5"))


def part(
    position: Position = LONG, quantity: build.Number = HALF, purpose: Plain | Trim = PLAIN
) -> PartClose:
    return PartClose(position, Quantity(Decimal(quantity)), AT_MARKET, purpose)


def reduce(
    state: AccountState,
    *parts: PartClose,
    policy: Policy = build.policy(),  # noqa: B008 - frozen
    acted_ago_ms: int = 10**9,
    cooldown_ms: int = 0,
    is_slice: bool = False,
    now_ms: int = T0,
) -> tuple[Approved, ...] | Denied:
    memory = replace(MEMORY, steps={REASON: StepMemory(acted_at_ms=now_ms - acted_ago_ms)})
    closes = parts or (part(),)
    request = Request(state, policy, closes[0].position.key, memory, REASON, now_ms)
    return review_reduce(request, closes, cooldown_ms, is_slice)


def actions(review: tuple[Approved, ...] | Denied) -> list[Action]:
    assert isinstance(review, tuple), review
    return [approved.intent.action for approved in review]


def limit(review: tuple[Approved, ...] | Denied) -> tuple[Denial, str]:
    assert isinstance(review, Denied), review
    assert review.text
    return review.kind, review.limit


CLOSED = [ClosePosition(LONG.symbol, LONG.side, HALF)]


@pytest.mark.parametrize("mode", AccountMode)
def test_only_hold_forbids_it(mode: AccountMode) -> None:
    review = reduce(account(mode=mode))
    if mode is AccountMode.HOLD:
        assert limit(review) == (Denial.EXHAUSTED, "hold")
    else:
        assert actions(review) == CLOSED


@pytest.mark.parametrize("state", IntentState)
@pytest.mark.parametrize("action", [CLOSE, add()], ids=["close", "top-up"])
def test_it_waits_for_what_moves_the_position_unproven_or_under_way(
    state: IntentState, action: Action
) -> None:
    review = reduce(account(intent(action, state=state)))
    if state in TERMINAL:
        assert actions(review) == CLOSED
    else:
        assert limit(review) == (Denial.WAIT, "in_flight")


def test_it_waits_for_no_stop_and_for_no_other_isolated_position() -> None:
    cancel = CancelStop(LONG.symbol, LONG.side, "x")
    assert actions(reduce(account(intent(STOP, state=IntentState.PREPARED)))) == CLOSED
    assert actions(reduce(account(intent(cancel, state=IntentState.PREPARED)))) == CLOSED
    for action in (CLOSE, add()):
        elsewhere = intent(action, state=IntentState.PREPARED, closes=OTHER)
        assert actions(reduce(account(elsewhere))) == CLOSED


ONE, TWO = cross("BTCUSDT", entry_price=50_000), cross("ETHUSDT", entry_price=2_000)


def shared(
    *intents: tuple[Action, Position], state: IntentState = IntentState.PREPARED
) -> AccountState:
    """Two cross positions and an isolated one beside them, with intents under way."""
    begun = account(
        *(intent(action, closes=position, state=state) for action, position in intents)
    )
    read = build.snapshot([ONE, TWO, replace(LONG, symbol="SOLUSDT")], taken_at_ms=T0)
    listed = {name: build.instrument(name) for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
    return replace(
        begun,
        account=AccountRead(read, T0, T0),
        instruments=Instruments("all", listed),
        marks={
            name: replace(begun.marks[build.SYMBOL], symbol=name, price=price)
            for name, price in (
                ("BTCUSDT", ONE.entry_price),
                ("ETHUSDT", TWO.entry_price),
                ("SOLUSDT", LONG.entry_price),
            )
        },
    )


def test_cross_positions_wait_for_each_other_as_one_wallet_backs_them() -> None:
    close = ClosePosition(TWO.symbol, TWO.side, HALF)
    assert limit(reduce(shared((close, TWO)), part(ONE))) == (Denial.WAIT, "in_flight")
    beside = replace(LONG, symbol="SOLUSDT")
    aside = ClosePosition(beside.symbol, beside.side, HALF)
    assert len(actions(reduce(shared((aside, beside)), part(ONE)))) == 1
    assert len(actions(reduce(shared((close, TWO)), part(beside)))) == 1


def test_all_parts_are_approved_under_their_own_keys_and_ids() -> None:
    review = reduce(shared(), part(ONE, 1), part(TWO, "0.25"))
    assert actions(review) == [
        ClosePosition(ONE.symbol, ONE.side, Quantity(Decimal(1))),
        ClosePosition(TWO.symbol, TWO.side, Quantity(Decimal("0.25"))),
    ]
    assert isinstance(review, tuple)
    assert [each.intent.key for each in review] == [ONE.key, TWO.key]
    assert len({each.intent.id for each in review}) == 2


def test_never_more_than_the_position() -> None:
    assert actions(reduce(account(), part(LONG, 7))) == [replace(CLOSE, quantity=LONG.quantity)]


def test_a_cooldown_holds_the_next_close_but_no_slice_of_this_one() -> None:
    review = reduce(account(), acted_ago_ms=59_999, cooldown_ms=60_000)
    assert limit(review) == (Denial.WAIT, "cooldown")
    assert isinstance(review, Denied)
    assert review.until_ms == T0 + 1
    assert actions(reduce(account(), acted_ago_ms=60_000, cooldown_ms=60_000)) == CLOSED
    sliced = reduce(account(), acted_ago_ms=1, cooldown_ms=60_000, is_slice=True)
    assert actions(sliced) == CLOSED


def test_slices_count_among_the_actions_of_a_minute() -> None:
    few = build.policy(limits=build.guardrails(actions_per_1m=2))
    state = account(intent(CLOSE, ago_ms=50_000), intent(add(), ago_ms=10_000))
    review = reduce(state, policy=few, is_slice=True)
    assert limit(review) == (Denial.WAIT, "actions_per_1m")
    assert isinstance(review, Denied)
    assert review.until_ms == T0 + 10_000


def test_it_rests_on_a_fresh_read_after_the_last_change() -> None:
    late = reduce(account(), now_ms=T0 + 5_001)
    assert limit(late) == (Denial.WAIT, "age")
    closed = intent(CLOSE, changed_ago_ms=-1)
    assert limit(reduce(account(closed))) == (Denial.WAIT, "age")
    lost = replace(account(), lost_at_ms=T0)
    review = reduce(lost)
    assert limit(review) == (Denial.WAIT, "age")
    assert isinstance(review, Denied)
    assert review.needs_read


def test_what_has_changed_in_another_isolated_position_needs_no_new_read() -> None:
    for action in (CLOSE, add()):
        elsewhere = intent(action, changed_ago_ms=-1, closes=OTHER)
        assert actions(reduce(account(elsewhere))) == CLOSED


def test_cross_positions_need_a_read_after_whatever_moved_money() -> None:
    beside = replace(LONG, symbol="SOLUSDT")
    for action, moved in ((CLOSE, TWO), (CLOSE, beside), (add(), beside)):
        state = shared((action, moved), state=IntentState.APPLIED)
        later = {name: replace(i, changed_at_ms=T0 + 1) for name, i in state.intents.items()}
        review = reduce(replace(state, intents=later), part(ONE))
        assert limit(review) == (Denial.WAIT, "age")


def test_it_remembers_what_it_is_for() -> None:
    (approved,) = reduce(account(), part(purpose=Trim(LONG)))  # type: ignore[misc]
    assert approved.intent.purpose == Trim(LONG)
    assert approved.shrinks == ()


# Promise 1: no reduction raises the worst stressed loss

KEEPS = build.instrument(margin_on_reduce=MarginOnReduce.RETAINED)


def keeping(mark: int) -> AccountState:
    """An account on a venue that leaves all margin with the rest and settles in the wallet."""
    state = account()
    quote = replace(state.marks[build.SYMBOL], price=Price(Decimal(mark)))
    return replace(
        state, marks={build.SYMBOL: quote}, instruments=Instruments("keeps", {build.SYMBOL: KEEPS})
    )


@pytest.mark.parametrize(
    ("mark", "shock", "allowed"),
    [
        # Of 5,000 2,000 are left at 47,000. Half closed, the wallet has paid half of the loss,
        # and 3,500 are left to half of the position.
        (47_000, 1, False),
        (47_000, "0.1", False),  # 2,000 were at risk, a fall by 10 % of 23,500 costs 2,350
        (47_000, "0.05", True),  # 1,175
        (53_000, 1, True),
    ],
)
def test_where_margin_is_retained_a_close_at_a_loss_may_put_more_at_risk(
    mark: int, shock: build.Number, allowed: bool
) -> None:
    policy = build.policy(stress=build.stress(shock))
    for purpose in (PLAIN, Trim(LONG)):
        review = reduce(keeping(mark), part(purpose=purpose), policy=policy)
        if allowed:
            assert actions(review) == CLOSED
        else:
            assert limit(review) == (Denial.EXHAUSTED, "stressed_loss")


def test_closing_all_of_it_is_no_matter_of_stress() -> None:
    assert actions(reduce(keeping(47_000), part(LONG, 1))) == [
        ClosePosition(LONG.symbol, LONG.side, LONG.quantity)
    ]


def test_where_the_margin_goes_with_the_part_no_shock_forbids_it() -> None:
    assert actions(reduce(account())) == CLOSED
    assert len(actions(reduce(shared(), part(ONE)))) == 1
