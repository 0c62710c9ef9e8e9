"""A price written with other zeros is another number to the journal, which compares bytes."""

from dataclasses import replace

from bot.core.decision import Decision
from bot.core.engine import decide
from bot.journal.codec import to_json
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, Life


def test_a_spared_verdict_is_the_one_that_would_be_made_anew() -> None:
    life = Life(build.policy(), stops=[GOOD_STOP])
    life.decide()
    life.wait(1_000)
    life.mark("50000.00")
    assert life.state.memos
    _, anew = decide(replace(life.state, memos={}), life.policy, life.now_ms)
    life.decide()
    assert to_json(life.decision, Decision) == to_json(anew, Decision)
