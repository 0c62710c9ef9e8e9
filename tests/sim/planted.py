"""
Bugs planted on purpose: each must be caught, or the simulation is blind to it.

By a promise that it breaks, not by any: a bug that is only seen by what it does to another
promise is not understood. What the simulation has no eyes for (a disk, the wire, what no seed
brings about) is killed by named tests of the suite, run under the bug in a process of their own.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sim import plants_mechanism as mechanism
from tests.sim import plants_semantics as semantics
from tests.sim.world import run_seed

UNSEEN = -1
"""
Instead of a seed: none is known yet that sees the bug, of the few that were tried since crises are
short. `make mutants SEEDS=500` hunts it over more.
"""

ROOT = Path(__file__).parents[2]
SOME_FAILED = 1
"""How pytest exits then; any other code than this and 0 means that it has tested nothing."""

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Planted:
    """
    A bug, the promises that it breaks, and the seed that is known to see it.

    `nodes` are tests, as pytest names them, each of which fails with it, where the simulation
    hardly ever sees it. Where it never can, there are no promises that a seed would break.
    """

    plant: Plant
    promises: frozenset[str]
    seed: int
    nodes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it does wrong."""
        return self.plant.__name__


@dataclass(frozen=True, slots=True)
class Caught:
    """The seed that broke a promise under a bug, and what it said."""

    seed: int
    said: str


@dataclass(frozen=True, slots=True)
class Failed:
    """No seed saw the bug, and each of its tests did, which has nothing to do with chance."""

    said: str


@dataclass(frozen=True, slots=True)
class Survived:
    """Nothing saw the bug by a promise that it breaks; `seen` is what was said instead."""

    seen: tuple[str, ...]


def hunt(planted: Planted, seeds: Iterable[int]) -> Caught | Failed | Survived:
    """
    Live through the seeds under the bug, until one breaks a promise that it should break.

    Where none does, run its tests under it: all of them must fail.
    """
    seen: dict[str, None] = {}
    with pytest.MonkeyPatch.context() as patch:
        planted.plant(patch)
        for seed in seeds if planted.promises else ():
            for said in run_seed(seed, replays="11" in planted.promises).violations:
                if any(said.startswith(f"promise {each} at ") for each in planted.promises):
                    return Caught(seed, said)
                seen[f"{seed}: {said}"] = None
    failed = _failed_under(planted) if planted.nodes else ()
    passed = [node for node in planted.nodes if not any(each.startswith(node) for each in failed)]
    if planted.nodes and not passed:
        return Failed(failed[0])
    return Survived((*seen, *(f"passes: {node}" for node in passed)))


def _failed_under(planted: Planted) -> tuple[str, ...]:
    """The tests of a bug that fail with it, and what they say. Raises where none could run."""
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider"]
    command += ["-p", "tests.sim.planting", "--plant", planted.name, *planted.nodes]
    whole_lines = {**os.environ, "COLUMNS": "400"}  # else what they say is cut to a terminal
    done = subprocess.run(
        command, cwd=ROOT, env=whole_lines, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, SOME_FAILED):
        raise AssertionError(f"{planted.name}: {done.stdout[-500:]}{done.stderr[-500:]}")
    lines = done.stdout.splitlines()
    return tuple(each.removeprefix("FAILED ") for each in lines if each.startswith("FAILED "))


def _planted(plant: Plant, seed: int, *promises: str, nodes: tuple[str, ...] = ()) -> Planted:
    return Planted(plant, frozenset(promises), seed, nodes)


def _in(file: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"{file}::{test}" for test in tests)


def _unseeable(plant: Plant, *nodes: str) -> Planted:
    """A bug that no seed brings to light, whatever it does."""
    return Planted(plant, frozenset(), UNSEEN, nodes)


REDUCE_ONLY_VENUES = (
    "binancecoinm",
    "bitget",
    "bitunix",
    "bybit",
    "gate",
    "hyperliquid",
    "krakenfutures",
    "kucoin",
    "okx",
)
"""Beside Binance USD-M: those whose orders are held to reduce by a word in them."""

MECHANISM: tuple[Planted, ...] = (
    _planted(mechanism.resend_on_unsure, 2, "4"),
    _planted(mechanism.take_unknown_for_not_applied, 230, "4"),
    _planted(mechanism.forget_budgets_on_restart, 52, "3", "11"),
    _planted(mechanism.never_place_a_stop, 0, "6"),
    _planted(mechanism.leave_the_stop_after_a_top_up, 4, "6"),
    _planted(mechanism.cancel_before_placing, 4, "6"),
    _planted(mechanism.leave_stops_of_closed_positions, 16, "6"),
    _planted(mechanism.cancel_foreign_stops, 12, "8"),
    _planted(mechanism.send_without_a_row, 0, "5"),
    _planted(mechanism.spool_in_silence, 19, "5"),
    _planted(mechanism.take_a_part_for_the_whole, 15, "9"),
    # A promise sees it only where a read between the cancel's two ends shows the old stop, the
    # position has changed to what that one would do for, and the cancel then arrives all the same.
    _planted(
        mechanism.lean_on_a_stop_that_is_being_cancelled,
        UNSEEN,
        "6",
        nodes=(
            *_in(
                "tests/core/test_cancels.py",
                "test_the_new_stop_is_not_given_up_for_the_one_that_is_being_cancelled",
            ),
        ),
    ),
    _planted(mechanism.give_two_lives_the_same_numbers, 46, "4"),
    _planted(mechanism.put_a_refund_back_twice, 18, "3"),
    _planted(mechanism.believe_absence_at_once, 25, "9"),
    _planted(mechanism.settle_until_the_first_failed_read, 8, "5"),
    _planted(mechanism.forget_open_intents_on_restart, 3, "5"),
    _planted(mechanism.forget_the_hold_on_restart, 5, "7"),
    _planted(mechanism.give_up_after_a_refused_stop, 5, "6"),
    _planted(
        mechanism.trust_an_older_read,
        UNSEEN,
        "1",
        "2",
        "4",
        "6",
        nodes=_in(
            "tests/core/test_state.py",
            "test_a_read_that_the_venue_took_earlier_is_ignored",
        ),
    ),
    _planted(mechanism.leave_memories_out_of_the_journal, 0, "11"),
    _planted(mechanism.decide_by_a_time_that_no_row_has, 0, "11"),
    _planted(mechanism.go_on_without_the_journal, 15, "5"),
    _planted(mechanism.reduce_while_the_last_is_unknown, 47, "4"),
    # Few top-ups of a short crisis are followed by another one while the first is unknown.
    _planted(
        mechanism.top_up_while_the_last_is_unknown,
        UNSEEN,
        "4",
        "assertion",
        nodes=_in("tests/core/test_guardrails.py", "test_one_spend_at_a_time_per_account"),
    ),
    # A promise sees it only where a close below the floor came to nothing and nothing else closes.
    _planted(
        mechanism.let_an_unknown_close_block_the_exit,
        UNSEEN,
        "4",
        "0",
        nodes=_in(
            "tests/core/test_sendable.py",
            "test_after_a_slice_that_came_to_nothing_the_next_waits_a_second",
        ),
    ),
    _planted(mechanism.cancel_the_last_stop, 0, "6"),
    _planted(mechanism.stop_for_a_part, 0, "6"),
    _planted(mechanism.stop_with_more_than_a_venue_takes, 56, "6"),
    _planted(mechanism.rest_only_the_first_order_of_a_stop, 56, "6"),
    _planted(
        mechanism.let_a_slice_wait_for_the_last,
        UNSEEN,
        "4",
        "6",
        nodes=(
            *_in(
                "tests/core/test_sendable.py",
                "test_a_slice_does_not_wait_until_it_is_known_what_the_one_before_has_filled",
            ),
        ),
    ),
    _planted(mechanism.take_any_stop_for_a_whole_one, 40, "6"),
    _planted(mechanism.ignore_the_cooldown, 122, "rate"),
    _planted(mechanism.ignore_the_rate_of_actions, 18, "rate"),
    _planted(mechanism.leave_its_own_stop_in_its_way, 18, "4"),
    _planted(mechanism.clear_the_users_stops_too, 140, "8"),
    _planted(mechanism.rest_no_stop_after_a_close_that_took_it, 18, "6"),
    _planted(mechanism.clear_the_way_where_nothing_is_in_it, 2, "6"),
    _unseeable(
        mechanism.drop_reduce_only,
        "tests/exchange/live/test_recipes.py::test_every_recipe_is_as_it_was_kept",
        *(
            f"tests/exchange/venues/test_recipes.py::test_every_recipe_is_as_it_was_kept[{venue}]"
            for venue in REDUCE_ONLY_VENUES
        ),
    ),
    _unseeable(
        mechanism.skip_the_fsync,
        "tests/journal/test_sqlite.py::test_a_file_syncs_every_commit_to_its_log",
    ),
    _unseeable(
        mechanism.note_no_row_beside_the_journal,
        *_in(
            "tests/journal/test_mutations.py",
            "test_without_its_note_a_journal_whose_log_is_gone_forgets_in_silence",
        ),
        *_in(
            "tests/journal/test_sick_disk.py",
            "test_a_whole_old_copy_is_told_by_the_note_of_the_newer_one",
        ),
    ),
    _unseeable(
        mechanism.believe_a_damaged_row,
        "tests/journal/test_chain.py::test_a_flipped_bit_is_found",
    ),
)
SEMANTICS: tuple[Planted, ...] = (
    _planted(semantics.close_the_wrong_side, 4, "1"),
    _planted(semantics.close_too_early, 7, "wrongful close"),
    _planted(semantics.act_on_neither_floor_nor_level, 6, "4", "0"),
    _planted(semantics.ignore_the_hourly_budget, 100, "3", "assertion"),
    _planted(semantics.make_every_firing_an_episode, 102, "3"),
    _planted(semantics.spend_what_is_to_be_kept_free, 168, "3"),
    _planted(semantics.spend_on_old_data, 8, "2"),
    _planted(semantics.place_stops_beyond_liquidation, 1, "6"),
    _planted(semantics.judge_each_symbol_alone, 1, "6", "4", "0"),
    _planted(semantics.place_leg_stops_from_the_displayed_price, 1, "6"),
    _planted(semantics.ignore_the_bill_ahead, 6, "4", "0", "6"),
    _planted(semantics.act_on_a_bill_in_our_favour, 7, "wrongful close"),
    _planted(semantics.refund_more_than_was_freed, 18, "3"),
    _planted(semantics.trim_again_while_a_refund_is_due, 18, "refund"),
    _planted(semantics.close_past_bankruptcy, 10, "bound"),
    _planted(semantics.close_at_market_above_the_floor, 2, "bound"),
    _planted(semantics.starve_the_cross_book, 11, "10"),
    _planted(semantics.read_an_unknown_leg_as_safe, 467, "2"),
    _planted(semantics.close_twice_as_much, 4, "1"),
    _planted(semantics.close_on_old_marks, 7, "2"),
    _planted(
        semantics.spend_on_hold,
        UNSEEN,
        "7",
        nodes=_in(
            "tests/core/test_guardrails.py",
            "test_only_an_active_account_spends",
        ),
    ),
    _planted(semantics.climb_on_hold, 175, "7"),
    _planted(semantics.keep_no_stops_on_hold, 9, "6"),
    _planted(
        semantics.hold_every_close,
        UNSEEN,
        "4",
        "0",
        nodes=_in(
            "tests/core/test_act.py",
            "test_hold_refuses_what_the_ladder_asks_and_says_so",
            "test_the_floor",
        ),
    ),
    _planted(semantics.never_clear_a_step, 13, "wrongful close"),
    _planted(semantics.ignore_loss_max, 1, "6"),
    _planted(semantics.tighten_at_once, 0, "wrongful close"),
    _planted(semantics.ignore_the_users_stop, 25, "6"),
    _planted(
        semantics.ignore_betas,
        UNSEEN,
        "6",
        nodes=_in(
            "tests/core/test_together.py",
            "test_a_beta_moves_the_stop_of_its_leg_so_many_times_as_far",
        ),
    ),
    _planted(semantics.know_only_the_first_tier, 67, "6", "0"),
    _planted(
        semantics.exceed_the_amount_of_one_action,
        UNSEEN,
        "3",
        nodes=_in(
            "tests/core/test_act.py",
            "test_a_top_up_is_cut_to_what_one_action_may_add",
        ),
    ),
    _planted(semantics.exceed_the_day, 100, "3", "assertion"),
    _planted(semantics.count_no_top_ups, 102, "3"),
    # A promise sees it only where a bill passes its step for two minutes with nothing amiss, and
    # neither the distance net of that bill nor the ratio has had anything closed before.
    _planted(
        semantics.never_act_on_a_bill,
        2094,
        "bill",
        nodes=("tests/core/test_funding.py::test_nothing_is_done_about_a_bill_in_our_favour",),
    ),
    _planted(semantics.loosen_stops_after_a_loss, 7, "loosened"),
    _planted(semantics.forget_what_a_loss_holds_on_restart, 11, "loosened"),
    # Nothing in a seed is open beyond its liquidation.
    _unseeable(
        semantics.take_a_distance_without_its_sign,
        "tests/core/test_metrics.py::test_at_and_past_liquidation_is_breached_and_signed",
    ),
    # Paper leaves a price out only where there is none.
    _unseeable(
        semantics.read_not_reported_as_safe,
        *_in(
            "tests/core/test_metrics.py",
            "test_the_nearer_price_counts_and_a_difference_of_a_thousandth_is_disputed",
        ),
    ),
    # The judge allows what the next step may do wherever a policy says `then: next`.
    _unseeable(
        semantics.hand_over_on_a_wait,
        "tests/core/test_act.py::test_a_wait_hands_over_to_nobody",
    ),
    _unseeable(
        semantics.close_nothing_that_is_breached,
        "tests/core/test_engine.py::test_below_the_floor_everything_is_closed_and_nothing_added",
    ),
    # No seed has two legs of one symbol.
    _unseeable(
        semantics.close_a_leg_without_its_hedge,
        *_in(
            "tests/core/test_hedge_mode.py",
            "test_a_step_that_closes_a_hedged_leg_takes_the_hedge_along",
        ),
        "tests/core/test_hedge_mode.py::test_the_floor_takes_both_legs_in_every_mode",
    ),
    _unseeable(
        semantics.stop_a_leg_as_if_it_were_alone,
        *_in(
            "tests/core/test_pairs.py",
            "test_a_pair_has_one_distance_and_one_stop_of_what_the_larger_leg_has_beyond_the_smaller",
        ),
        *_in(
            "tests/core/test_pairs.py",
            "test_legs_of_one_size_have_no_stop_as_one_alone_would_leave_the_other_naked",
        ),
    ),
)
PLANTED = (*MECHANISM, *SEMANTICS)
