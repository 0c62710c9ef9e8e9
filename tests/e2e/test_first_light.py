"""What the first light promises of a recorded crash, run through every room of the house."""

import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from bot.app import instrument_for
from bot.core.model import Side
from bot.core.units import Money
from bot.policy.loader import load_policy
from bot.rehearsal.bars import read_bars
from bot.rehearsal.runs import Guarded, run_guarded, run_unguarded
from bot.rehearsal.setups import ByMargin, Opening, Setup

ROOT = Path(__file__).parents[2]
POLICY = load_policy(ROOT / "config" / "policies" / "demo.yaml")

DIGEST = """
from tests.e2e.test_first_light import POLICY, setup
from bot.rehearsal.runs import run_guarded
print(run_guarded(setup("2020-03-12-btc"), POLICY).digest)
"""


def setup(scenario: str, side: Side = Side.LONG) -> Setup:
    bars = read_bars(scenario)
    opening = Opening(
        bars=bars,
        instrument=instrument_for(POLICY.venue, bars.symbol),
        side=side,
        leverage=Decimal(10),
        size=ByMargin(Money(Decimal(1000))),
    )
    return Setup((opening,), reserve=Money(Decimal(1000)), entry_at_ms=0)


@pytest.fixture(scope="module")
def crash() -> Guarded:
    return run_guarded(setup("2020-03-12-btc"), POLICY)


def test_unguarded_the_crash_liquidates() -> None:
    assert run_unguarded(setup("2020-03-12-btc")).taken


def test_guarded_it_does_not_and_keeps_to_its_budget(crash: Guarded) -> None:
    assert not crash.fate.taken
    assert crash.fate.equity_final > 1000
    assert 0 < crash.spent <= POLICY.guardrails.top_up_24h_max


def test_a_confirmed_top_up_is_followed_by_its_re_priced_stop(crash: Guarded) -> None:
    proven = [deed for deed in crash.deeds if deed.proven == "applied"]
    (index,) = [index for index, deed in enumerate(proven) if deed.verb == "top_up"]
    before = [deed for deed in proven[:index] if deed.verb == "place_stop"][-1]
    after = next(deed for deed in proven[index:] if deed.verb == "place_stop")
    assert before.price is not None
    assert after.price is not None
    assert after.price < before.price
    assert after.at_ms - proven[index].at_ms < 10_000


@pytest.mark.timeout(300)
def test_where_the_venue_refuses_every_stop_it_is_not_liquidated_either() -> None:
    refused = run_guarded(replace(setup("2020-03-12-btc"), stops_refused=True), POLICY)
    assert not refused.fate.taken
    stops = {deed.proven for deed in refused.deeds if deed.verb == "place_stop"}
    assert stops == {"rejected"}
    assert any(deed.verb == "close" and deed.proven == "applied" for deed in refused.deeds)


def test_a_quiet_week_needs_no_action() -> None:
    quiet = run_guarded(setup("quiet-week-btc"), POLICY)
    # Bills move liquidation a little, so the stop follows once in the week.
    assert [deed.verb for deed in quiet.deeds] == ["place_stop", "place_stop", "cancel_stop"]
    assert quiet.spent == 0


def test_two_processes_with_other_hash_seeds_write_the_same_journal(crash: Guarded) -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout.splitlines()[-1]
        for seed in ("1", "2")
    }
    assert digests == {crash.digest}
