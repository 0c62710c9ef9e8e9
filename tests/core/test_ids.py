"""Client ids: the same when derived again, never shared, and recognisable as ours."""

from hypothesis import given
from hypothesis import strategies as st

from bot.core.ids import Birth, account_prefix, client_id
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
    assert made == "lg5qfo6fy7jrbyiwvaeb455jbh"
    assert account_prefix("main") != account_prefix("other")
