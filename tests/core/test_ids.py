"""Client ids: the same when derived again, never shared, and recognisable as ours."""

from hypothesis import given
from hypothesis import strategies as st

from bot.core.ids import (
    Birth,
    account_prefix,
    birth_prefix,
    born_at_ms,
    client_id,
    part_id,
)
from bot.core.model import PositionKey, Side

FACTS = st.tuples(
    st.builds(Birth, st.sampled_from(["main", "other"]), st.integers(0, 3)),
    st.builds(PositionKey, st.sampled_from(["BTCUSDT", "ETHUSDT"]), st.sampled_from(Side)),
    st.sampled_from(["protect/stop", "protect/floor", "ladder/add"]),
    st.integers(0, 3),
    st.integers(0, 3),
)


@given(FACTS, FACTS)
def test_ids_are_equal_exactly_where_the_facts_are(
    first: tuple[Birth, PositionKey, str, int, int],
    second: tuple[Birth, PositionKey, str, int, int],
) -> None:
    assert (client_id(*first) == client_id(*second)) is (first == second)


@given(FACTS)
def test_an_id_fits_every_venue_and_names_its_account(
    facts: tuple[Birth, PositionKey, str, int, int],
) -> None:
    made = client_id(*facts)
    assert len(made) == 26
    assert made.isascii()
    assert made.isalnum()
    assert made == made.lower()
    assert made.startswith(account_prefix(facts[0].account))


def test_an_id_never_changes_between_versions() -> None:
    """Ids already rest on exchanges: another derivation would make our stops foreign."""
    assert account_prefix("main") == "lg5qfo"
    made = client_id(Birth("main", 0), PositionKey("BTCUSDT", Side.LONG), "protect/stop", 0, 0)
    assert made == "lg5qfoaaaaaaaaaa6fy7jrbyiw"
    assert account_prefix("main") != account_prefix("other")


@given(st.integers(0, 2**45), st.integers(0, 2**45))
def test_an_id_tells_when_its_journal_began(one_ms: int, other_ms: int) -> None:
    one, other = Birth("main", one_ms), Birth("main", other_ms)
    made = client_id(one, PositionKey("BTCUSDT", Side.LONG), "protect/stop", 0, 0)
    assert born_at_ms(made) == one_ms
    assert born_at_ms(part_id(made, 0)) == one_ms
    assert made.startswith(birth_prefix(one))
    assert made.startswith(birth_prefix(other)) is (one_ms == other_ms)


def test_an_id_that_only_looks_like_ours_tells_of_no_moment() -> None:
    assert born_at_ms(account_prefix("main") + "1!") == 0
    assert born_at_ms(account_prefix("main")) == 0


def test_the_parts_of_an_intent_have_ids_of_their_own() -> None:
    made = client_id(Birth("main", 1), PositionKey("BTCUSDT", Side.LONG), "protect/floor", 0, 0)
    parts = {part_id(made, number) for number in range(9)} | {made}
    assert len(parts) == 10
    assert {len(each) for each in parts} == {26}
