"""What a process sent and could not write down is not known to the next one."""

from dataclasses import replace

from bot.core.actions import PlaceStop
from bot.core.state import newborn
from bot.core.transitions import resumed
from bot.testing import builders as build
from tests.core.life import Life

POLICY = build.policy()


def test_two_lives_that_began_from_the_same_row_share_no_client_id() -> None:
    """The first spooled its intents while the store was down, and was killed."""
    row = newborn(build.BIRTH, "policy")
    ids: list[str] = []
    for began_at_ms in (1_000, 61_000):
        life = Life(POLICY)
        life.state = replace(
            life.state, intents_planned=resumed(row, "policy", began_at_ms).intents_planned
        )
        assert [type(action) for action in life.decide()] == [PlaceStop]
        ids += [approved.intent.id for approved in life.decision.approved]
    assert len(set(ids)) == 2
