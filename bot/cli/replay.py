"""
Replays from the command line: one, with a page if asked, or many cases over several processes.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path
from threading import Thread
from typing import Any

import typer

from bot.app import RunError, contract_of
from bot.cli.show import amount_text, console, deed_json, deeds_table, progress_bar
from bot.core.model import MarginMode
from bot.core.policy import Policy
from bot.core.units import Money, Ratio
from bot.exchange.paper.depth import BTC_2025
from bot.exchange.paper.telling import tell
from bot.exchange.ports import Unreachable
from bot.logs import configure
from bot.policy.loader import load_policy, parse_policy
from bot.policy.preset import PRESETS, account_file
from bot.rehearsal.bars import Bars, DataError
from bot.rehearsal.cache import find_bars
from bot.rehearsal.cases import BPS, CaseError, read_case, setup_of
from bot.rehearsal.chronicle import Chronicle, live_through
from bot.rehearsal.fates import Fate, nobody
from bot.rehearsal.replay import Liquidation, NotLiquidated, Replay, replay
from bot.rehearsal.report.cards import deal
from bot.rehearsal.report.page import write_report
from bot.rehearsal.report.sentences import headline
from bot.rehearsal.setups import Opening, Setup, SetupError
from bot.runtime.assemble import StartRefused

_VENUE = "binanceusdm"
"""Of an account made of a preset."""


@dataclass(frozen=True, slots=True)
class PolicyText:
    """A policy as it is handed to a process."""

    text: str
    name: str


def policy_text(named: str) -> PolicyText:
    """The policy file of that name, or the preset. Raises `PolicyError`."""
    if named in PRESETS and not Path(named).exists():
        return PolicyText(account_file(named, named, "replay", _VENUE, "mixed"), named)
    return PolicyText(load_policy(Path(named)).text, named)


@dataclass(frozen=True, slots=True)
class Terms:
    """How positions are held and traded; None leaves what they have."""

    margin_mode: MarginMode | None
    depth: Decimal | None
    taker_fee_bps: Decimal | None


def on_terms(openings: tuple[Opening, ...], terms: Terms) -> tuple[Opening, ...]:
    """
    The same positions on those terms.

    An order book of `depth` is one that thins as that of 10 October 2025 did.
    """
    return tuple(_on_terms(opening, terms) for opening in openings)


def _on_terms(opening: Opening, terms: Terms) -> Opening:
    if terms.margin_mode is not None:
        opening = replace(opening, margin_mode=terms.margin_mode)
    if terms.depth is not None:
        opening = replace(opening, depth=replace(BTC_2025, notional_calm=Money(terms.depth)))
    if terms.taker_fee_bps is not None:
        fee = Ratio(terms.taker_fee_bps / BPS)
        opening = replace(opening, instrument=replace(opening.instrument, taker_fee=fee))
    return opening


def read_lines(cases: Path) -> list[str]:
    """The lines of a file of cases."""
    try:
        # Not splitlines(): a string of JSON may hold what Unicode calls the end of a line.
        lines = cases.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as e:
        expected = f"{cases}: expected a readable file of UTF-8 text, was '{e}'"
        raise typer.BadParameter(expected, param_hint="--cases") from e
    return lines if lines[-1] else lines[:-1]


def replay_one(setup: Setup, policy: Policy, report: Path | None, as_json: bool) -> None:
    """Replay `setup`, print what became of it, and write the page if asked."""
    begins_ms = max(opening.bars.rows[0].open_at_ms for opening in setup.openings)
    ends_ms = min(opening.bars.rows[-1].open_at_ms for opening in setup.openings)
    with _quiet(), progress_bar("replay", ends_ms - begins_ms) as advance:
        told = live_through(setup, policy, lambda at_ms: advance(at_ms - begins_ms))
    if report is not None:
        _write(report, told)
    if as_json:
        typer.echo(json.dumps(result_json(told.replayed)))
        return
    out = console()
    out.print(headline(told, deal(told.guarded, policy)))
    out.print()
    out.print(deeds_table(told.guarded.deeds))
    _tell_liquidations(told.replayed)
    if report is not None:
        typer.echo(f"report: {report}")


def _tell_liquidations(replayed: Replay) -> None:
    for whom, fate in (("Unguarded", replayed.unguarded), ("Guarded", replayed.guarded.fate)):
        if fate.liquidation:
            typer.echo(f"{whom}, the liquidation step by step:")
            for line in tell(fate.liquidation):
                typer.echo(f"  {line}")


def replay_cases(
    lines: Sequence[str], policy: PolicyText, cache: Path, jobs: int, as_json: bool
) -> bool:
    """Replay a case a line, print a result each in the same order; whether any succeeded."""
    succeeded = False
    coin = _compiled(policy).settle
    results = _results(lines, partial(run_case, policy=policy, cache=cache), jobs)
    with progress_bar("cases", len(lines)) as advance, closing(results):
        for done, result in enumerate(results, start=1):
            advance(done)
            succeeded = succeeded or "error" not in result
            typer.echo(json.dumps(result) if as_json else _sentence(done, result, coin))
    return succeeded


def result_json(replayed: Replay) -> dict[str, Any]:
    """A replay as other programs read it. Amounts keep their exact text."""
    guarded = replayed.guarded
    return {
        "unguarded": fate_json(replayed.unguarded, replayed.first_unguarded),
        "guarded": fate_json(guarded.fate, replayed.first_guarded),
        "actions": [deed_json(deed) for deed in guarded.deeds],
        "spent": f"{guarded.spent:f}",
        "closed_fraction": f"{replayed.closed_fraction:f}",
        "digest": guarded.digest,
    }


def fate_json(fate: Fate, first: Liquidation | NotLiquidated) -> dict[str, Any]:
    """One run of a replay; `first` is its first liquidation."""
    match first:
        case Liquidation(at_ms, price):
            taken: dict[str, Any] = {
                "liquidated": True,
                "liquidated_at_ms": at_ms,
                "liquidation_price": f"{price:f}",
            }
        case NotLiquidated():
            taken = {"liquidated": False, "liquidated_at_ms": None, "liquidation_price": None}
    return taken | {
        "final_equity": f"{fate.equity_final:f}",
        "min_distance": f"{fate.distance_min:f}",
    }


def _sentence(number: int, result: dict[str, Any], coin: str) -> str:
    if "error" in result:
        return f"{number}: {result['error']}"
    ends = (
        f"{whom} {'liquidated' if result[whom]['liquidated'] else 'not liquidated'}, "
        f"{amount_text(Decimal(result[whom]['final_equity']), coin)}"
        for whom in ("unguarded", "guarded")
    )
    return f"{number}: {'; '.join(ends)}; spent {result['spent']}"


# -- many of them --------------------------------------------------------------------------


def _results(
    lines: Sequence[str], run: Callable[[str], dict[str, Any]], jobs: int
) -> Generator[dict[str, Any], None, None]:
    if jobs == 1:
        with _quiet():
            yield from map(run, lines)
        return
    # A fork of a process with threads, such as that of the progress bar, may hang.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=fresh, initializer=_serve) as pool:
        # Not map(): what it cancels at its end trips the pool over in Python 3.11.
        results = [pool.submit(run, line) for line in lines]
        try:
            for result in results:
                yield result.result()
        except BaseException:  # Ctrl-C most of all: what has begun would be waited for
            for worker in multiprocessing.active_children():
                worker.kill()
            raise


def run_case(line: str, policy: PolicyText, cache: Path) -> dict[str, Any]:
    """The result of one case, or why there is none. `cache` is the folder of fetched prices."""
    compiled = _compiled(policy)
    try:
        case = read_case(line)
        setup = setup_of(case, _bars(case.data, cache), compiled.venue, contract_of)
        setup = replace(setup, position_mode=compiled.position_mode)
        return result_json(replay(setup, compiled, _unheard, nobody, nobody))
    except (CaseError, DataError, RunError, SetupError, StartRefused, Unreachable) as e:
        return {"error": "; ".join(str(e).splitlines())}


@lru_cache(maxsize=1)
def _compiled(policy: PolicyText) -> Policy:
    return parse_policy(policy.text, policy.name)


@lru_cache(maxsize=2)
def _bars(data: str, cache: Path) -> Bars:
    # Cases of one file mostly come one after the other.
    return find_bars(data, cache)


def _unheard(at_ms: int) -> None:
    """Progress within a case, which nobody watches."""


def _serve() -> None:
    """Let a worker say nothing, leave Ctrl-C to its parent, and end when that ends."""
    configure("json", "error", Path(os.devnull).open("w", encoding="utf-8"), is_terminal=False)  # noqa: SIM115 - for the life of the process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        raise AssertionError("a worker has a parent")
    parent.join()
    os._exit(1)  # the thread that works would go on


@contextmanager
def _quiet() -> Iterator[None]:
    """The same for this process, while it replays."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        configure("json", "error", nowhere, is_terminal=False)
        yield


def _write(report: Path, told: Chronicle) -> None:
    try:
        write_report(report, told)
    except OSError as e:
        expected = f"{report}: expected to write the report, was '{e.strerror}'"
        raise typer.BadParameter(expected, param_hint="--report") from e
