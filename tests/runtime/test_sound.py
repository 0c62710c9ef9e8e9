"""When a decision is good enough to say that the guard works."""

from dataclasses import replace

from bot.core.engine import stands_on_fresh_data
from bot.core.events import AddressBanned
from bot.core.state import NotRead
from bot.testing import builders as build
from tests.core.life import GOOD_STOP, LONG, T0, Life


def is_sound(life: Life) -> bool:
    life.decide()
    return stands_on_fresh_data(life.state, life.decision)


def test_all_measured_on_a_fresh_read_is_sound() -> None:
    assert is_sound(Life(build.policy(), stops=(GOOD_STOP,)))


def test_an_old_price_is_not() -> None:
    life = Life(build.policy(), stops=(GOOD_STOP,))
    life.wait(6_000)
    assert not is_sound(life)
    life.mark(50_000)
    assert is_sound(life)


def test_an_old_read_is_not_even_of_a_flat_account() -> None:
    life = Life(build.policy())
    life.read_twice()
    life.wait(60_000)
    assert is_sound(life)
    life.wait(1)
    assert not is_sound(life)


def test_no_read_is_not() -> None:
    life = Life(build.policy(), LONG)
    life.state = replace(life.state, account=NotRead())
    assert not is_sound(life)


def test_in_a_ban_nothing_is_however_fresh() -> None:
    life = Life(build.policy(), stops=(GOOD_STOP,))
    life.happen(AddressBanned(T0 + 1_000, "418", T0))
    assert not is_sound(life)
