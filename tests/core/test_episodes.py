"""An episode: from the first step beyond alert to ten quiet minutes, and what it counts."""

from decimal import Decimal

from bot.core.actions import Action, AddMargin, ClosePosition
from bot.core.events import IntentState
from bot.core.policy import Step
from bot.core.state import EPISODE_QUIET_MS, GONE_MS, PositionMemory
from bot.core.strategy import Notify, Severity, TightenStop, TopUp
from bot.core.units import Money, Price
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, Life, below

WARN = build.step("warn", below("0.12"), Severity.ALERT, lambda view: Notify("near"))
TIGHT = build.step(
    "tight", below("0.08"), Severity.STOP, lambda view: TightenStop(Price(Decimal(46_700)))
)
ADD = build.step("add", below("0.06"), Severity.SPEND, lambda view: TopUp(Money(Decimal(100))))
CALM, NEAR = 52_000, 47_800


def living(*steps: Step, mark: int = CALM, top_ups: int = 1_000) -> Life:
    limits = build.guardrails(top_ups_per_episode=top_ups)
    life = Life(build.policy(build.rule(*steps), limits=limits), stops=[GOOD_STOP], mark=mark)
    life.decide()
    return life


def memory(life: Life) -> PositionMemory:
    return life.state.memories[LONG.key]


def pass_time(life: Life, duration_ms: int, mark: int) -> None:
    """Wait, then a fresh read and mark, and a decision."""
    life.wait(duration_ms)
    life.read(LONG, stops=[GOOD_STOP])
    life.mark(mark)
    life.decide()


def test_an_alert_opens_none() -> None:
    life = living(WARN, mark=49_000)
    assert life.verdict.steps[0].phase == "firing"
    assert not memory(life).in_episode


def test_a_tightened_stop_opens_one() -> None:
    life = living(WARN, TIGHT, mark=48_900)
    assert memory(life).in_episode
    assert memory(life).episode == life.now_ms


def test_it_ends_ten_minutes_after_the_last_step_became_inactive() -> None:
    life = living(WARN, ADD, mark=NEAR)
    began_ms = memory(life).episode
    pass_time(life, 60_000, 50_000)  # `add` clears, `warn` still fires
    last_ms = life.now_ms
    pass_time(life, 60_000, CALM)
    assert life.decision.wake_at_ms <= last_ms + EPISODE_QUIET_MS
    pass_time(life, EPISODE_QUIET_MS - 60_001, CALM)
    assert (memory(life).in_episode, life.decision.endangered) == (True, True)
    pass_time(life, 1, CALM)
    assert (memory(life).in_episode, life.decision.endangered) == (False, False)
    assert memory(life).episode == began_ms


def test_a_step_that_fires_again_is_of_the_same_episode_until_it_ended() -> None:
    life = living(ADD, mark=NEAR)
    first = memory(life).episode
    pass_time(life, 60_000, CALM)
    pass_time(life, 60_000, NEAR)
    assert memory(life).episode == first
    pass_time(life, 60_000, CALM)
    pass_time(life, EPISODE_QUIET_MS, CALM)
    assert not memory(life).in_episode
    pass_time(life, 60_000, NEAR)
    assert memory(life).episode == life.now_ms


def test_top_ups_are_counted_by_episode() -> None:
    life = living(ADD, mark=NEAR, top_ups=1)
    life.settle(IntentState.APPLIED)
    pass_time(life, 60_000, NEAR)
    assert [denied.limit for denied in life.verdict.denied] == ["top_ups_per_episode"]
    pass_time(life, 60_000, CALM)
    pass_time(life, EPISODE_QUIET_MS, CALM)
    pass_time(life, 60_000, NEAR)
    assert [type(each.intent.action) for each in life.decision.approved] == [AddMargin]


def test_a_position_flat_for_ten_minutes_is_a_new_one() -> None:
    """The episodes of the old one are not the new one's: its top-ups do not count there."""
    life = living(ADD, mark=NEAR, top_ups=1)
    life.settle(IntentState.APPLIED)
    life.wait(1_000)
    life.read_twice()
    life.decide()
    life.wait(EPISODE_QUIET_MS)
    life.decide()
    assert life.state.memories == {}
    pass_time(life, 1_000, NEAR)
    assert [type(each.intent.action) for each in life.decision.approved] == [AddMargin]


def test_a_position_flat_for_less_goes_on() -> None:
    life = living(ADD, mark=NEAR, top_ups=1)
    life.settle(IntentState.APPLIED)
    life.wait(1_000)
    life.read_twice()
    life.decide()
    life.wait(EPISODE_QUIET_MS - GONE_MS - 1)
    life.decide()
    pass_time(life, 0, NEAR)
    assert [denied.limit for denied in life.verdict.denied] == ["top_ups_per_episode"]


def reopen(life: Life, mark: int = NEAR) -> list[Action]:
    """It is closed, surely, and a minute later opened again; what is done then."""
    life.wait(5_000)
    life.read_twice()
    life.decide()
    life.wait(60_000)
    life.read(LONG, stops=[GOOD_STOP])
    life.mark(mark)
    return life.decide()


def test_from_the_third_time_on_it_gets_no_margin_and_is_alarmed_every_time() -> None:
    """Stops and closes go on; another episode begins with a clean slate."""
    life = living(ADD)
    said = []
    for again in range(5):
        pass_time(life, 60_000, NEAR)
        added = [
            each for each in life.decision.approved if isinstance(each.intent.action, AddMargin)
        ]
        assert bool(added) is (again < 3)
        if again >= 3:
            assert [denied.limit for denied in life.verdict.denied] == ["reentered"]
        life.settle(IntentState.APPLIED)
        reopen(life, CALM)
        said += [each.text for each in life.decision.alerts if each.kind == "reentered"]
    assert [" times now" in each for each in said] == [True] * 4  # not the second, in half an hour
    assert ["5 times" in each for each in said] == [False, False, False, True]
    assert ["No margin is added" in each for each in said] == [False, True, True, True]
    life.mark(45_300)
    assert [type(each) for each in life.decide()] == [ClosePosition]
    life.settle(IntentState.NOT_APPLIED)
    pass_time(life, 60_000, CALM)
    pass_time(life, EPISODE_QUIET_MS, CALM)
    assert not memory(life).in_episode
    pass_time(life, 60_000, NEAR)
    assert [type(each.intent.action) for each in life.decision.approved] == [AddMargin]


def test_a_bot_that_opens_again_what_was_closed_meets_the_old_budgets_and_an_alarm() -> None:
    """Closed in an episode, opened again within ten minutes: told once, and no new top-ups."""
    life = living(ADD, mark=NEAR, top_ups=1)
    assert memory(life).in_episode
    life.settle(IntentState.APPLIED)
    for again in range(2):
        actions = reopen(life)
        assert [each for each in actions if isinstance(each, AddMargin)] == []
        assert life.alerts.count("reentered") == (again == 0)
    (denied,) = life.verdict.denied
    assert denied.limit == "top_ups_per_episode"


def test_opening_again_in_calm_is_nobodys_business() -> None:
    life = living(ADD)
    life.read_twice()
    life.decide()
    life.wait(60_000)
    life.read(LONG, stops=[GOOD_STOP])
    life.mark(CALM)
    life.decide()
    assert life.alerts == []
