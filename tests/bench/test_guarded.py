"""Guarded runs with the guard away in calm hours end as whole ones do."""

from collections.abc import Iterable

import pytest

from bench.benefit.guarded import run_guarded_fast
from bot.core.model import MarginMode, Side
from bot.core.policy import Policy
from bot.policy.loader import parse_policy
from bot.policy.preset import account_file
from bot.rehearsal.deeds import Deed
from bot.rehearsal.runs import run_guarded
from tests.bench.made import setup

LONG, SHORT, CROSS, ISOLATED = Side.LONG, Side.SHORT, MarginMode.CROSS, MarginMode.ISOLATED
BOOK = tuple((f"2020-03-12-{name}", LONG, CROSS) for name in ("btc", "eth", "xrp"))
Held = tuple[tuple[str, Side, MarginMode], ...]


def preset(name: str) -> Policy:
    return parse_policy(account_file(name, name, "bench", "binanceusdm", "mixed"), name)


@pytest.mark.parametrize(
    ("held", "leverage", "named", "near"),
    [
        ((("2020-03-12-btc", LONG, ISOLATED),), 10, "balanced", 2),
        ((("2021-05-19-eth", SHORT, ISOLATED),), 10, "patient", 2),
        ((("2021-05-19-eth", LONG, ISOLATED),), 10, "conservative", 2),
        ((("quiet-week-btc", LONG, ISOLATED),), 20, "balanced", 2),
        ((("constructed-funding-shock", LONG, ISOLATED),), 20, "balanced", 2),
        (BOOK, 10, "balanced", 10),  # a tenth of the gap to liquidation is where stops may rest
    ],
    ids=["stopped", "held", "early", "quiet", "billed", "book"],
)
def test_a_run_with_the_guard_away_ends_as_a_whole_one(
    held: Held, leverage: int, named: str, near: float
) -> None:
    given, policy = setup(*held, leverage=leverage), preset(named)
    fast, whole = run_guarded_fast(given, policy), run_guarded(given, policy)
    assert bool(fast.fate.taken) == bool(whole.fate.taken)
    assert float(fast.fate.equity_final) == pytest.approx(float(whole.fate.equity_final), abs=near)
    ways_out = [
        [_way(each) for each in deeds if each.verb not in ("place_stop", "cancel_stop")]
        for deeds in (_done(fast.deeds), _done(whole.deeds))
    ]
    assert ways_out[0] == ways_out[1]


def _done(deeds: Iterable[Deed]) -> list[Deed]:
    """Without a close that found the position closed by its stop a moment before."""
    return [each for each in deeds if each.proven != "rejected"]


def _way(deed: Deed) -> str:
    """The stop and the guard standing in for it are one: seconds decide which is first."""
    return "stop" if deed.reason == "protect/watchdog" else deed.verb.replace("_filled", "")
