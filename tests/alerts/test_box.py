"""One warning is enough, what is graver passes at once, and nothing is lost before it is told."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.alerts.box import (
    WAITING_MAX,
    Box,
    Nothing,
    Passed,
    Silenced,
    delivered,
    empty,
    next_for,
    routed,
    take,
)
from bot.alerts.notice import AtOnce, Notice, Warned
from bot.journal.codec import from_json, to_json
from tests.alerts.build import ALL, BTC, CRITICAL, ETH, HALF_HOUR_MS, INFO, failure, notice

MINUTE_MS = 60_000


def passed(*notices: Notice) -> list[str]:
    """The texts of those that pass, one after the other."""
    box, through = empty(0), []
    for each in notices:
        box, verdict = take(box, each, ALL)
        if isinstance(verdict, Passed):
            through.append(each.text)
    return through


def filled(notices: Iterable[Notice]) -> Box:
    box = empty(0)
    for each in notices:
        box, _ = take(box, each, ALL)
    return box


def test_one_warning_about_a_position_is_enough_for_half_an_hour() -> None:
    told = [notice(f"{minute}", minute * MINUTE_MS) for minute in (0, 1, 29, 30, 59, 60)]
    assert passed(*told) == ["0", "30", "60"]


def test_the_reason_of_a_silence_is_said() -> None:
    box = filled([notice("first")])
    _, verdict = take(box, notice("second", MINUTE_MS), ALL)
    assert verdict == Silenced(
        f"{BTC} was warned of 60 s before, and one warning within 1800 s is enough"
    )


def test_a_graver_step_passes_at_once_and_a_milder_one_after_it_does_not() -> None:
    steps = [
        notice("mild", 0, weight=Warned(1)),
        notice("graver", 1, weight=Warned(2)),
        notice("mild again", 2, weight=Warned(1)),
        notice("as grave", 3, weight=Warned(2)),
        notice("gravest", 4, weight=Warned(3)),
    ]
    assert passed(*steps) == ["mild", "graver", "gravest"]


def test_actions_and_failures_pass_at_once_every_time() -> None:
    acts = [notice("topped up", minute, weight=AtOnce()) for minute in range(3)]
    assert passed(notice("warned"), *acts, failure("refused", 4), failure("refused", 5)) == [
        "warned", *["topped up"] * 3, *["refused"] * 2,
    ]  # fmt: skip


def test_positions_do_not_silence_each_other() -> None:
    assert passed(notice("long"), notice("short", subject=ETH)) == ["long", "short"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3 * HALF_HOUR_MS), st.integers(0, 3), st.sampled_from([BTC, ETH])
        ),
        max_size=30,
    )
)
def test_two_warnings_close_together_grow_graver(drawn: list[tuple[int, int, str]]) -> None:
    box, through = empty(0), []
    for at_ms, depth, subject in sorted(drawn):
        box, verdict = take(box, notice("w", at_ms, subject=subject, weight=Warned(depth)), ALL)
        if isinstance(verdict, Passed):
            through.append((at_ms, depth, subject))
    for subject in (BTC, ETH):
        mine = [each for each in through if each[2] == subject]
        assert all(
            later - sooner >= HALF_HOUR_MS or graver > mild
            for (sooner, mild, _), (later, graver, _) in pairwise(mine)
        )
        # And silence has its cause: the first of all about a position always passes.
        assert bool(mine) == any(each[2] == subject for each in drawn)


def test_a_notice_waits_for_every_channel_of_its_severity() -> None:
    box = filled([failure("refused"), notice("started", severity=INFO, weight=AtOnce())])
    assert [each.text for each in box.waiting["phone"]] == ["refused"]
    assert [each.text for each in box.waiting["mail"]] == ["refused", "started"]


def test_the_gravest_and_of_those_the_oldest_is_told_next() -> None:
    box = filled([notice("warned"), failure("first", 1), failure("second", 2)])
    told = []
    while not isinstance(each := next_for(box, "phone"), Nothing):
        told.append(each.text)
        box = delivered(box, "phone", each)
    assert told == ["first", "second", "warned"]
    assert len(box.waiting["mail"]) == 2  # the other channel is not told by that


def test_what_waits_is_bounded_and_the_least_gives_way() -> None:
    acts = [notice(f"{number}", number, weight=AtOnce()) for number in range(WAITING_MAX)]
    box = filled([failure("grave"), *acts])
    assert box.dropped == 1
    waiting = box.waiting["phone"]
    assert len(waiting) == WAITING_MAX
    assert [each.text for each in waiting[:2]] == ["grave", "1"]
    assert waiting[0].severity is CRITICAL


def test_what_waits_for_a_channel_that_is_gone_is_let_go() -> None:
    assert routed(filled([failure("refused")]), frozenset({"mail"})).waiting.keys() == {"mail"}


@pytest.mark.parametrize("weight", [AtOnce(), Warned(2)])
def test_a_box_is_saved_as_it_is(weight: AtOnce | Warned) -> None:
    box = filled([notice("warned", weight=weight), failure("refused")])
    assert from_json(to_json(box, Box), Box) == box
