"""
True kills of real processes: `python tests/faults/kills.py --kills N [--script NAME] [--first n]`.

Every life of the guard, with the paper exchange in the same process, is a forked child that ends
itself by SIGKILL at a step drawn from the seed: before or after a row is durable, before a request
leaves, before its reply is believed, and between any two writes of the exchange's own file. Many
of them come while it recovers from the last one. A script goes on, life after life, over the same
folder until its kills are used up; the last life lives to the end of the prices.

The parent process has everything imported, and no threads: a life costs a fork, not a start.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import structlog

from bot.app import NOBODY, instrument_for, run_paper
from bot.core.actions import Action, AddMargin, ClosePosition
from bot.core.events import TERMINAL, IntentState
from bot.core.model import MarginMode, Reported, Side
from bot.core.policy import Policy
from bot.core.state import HOUR_MS
from bot.core.units import ZERO, Money
from bot.exchange.paper.books import Cause, Realised
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.store import FileStore
from bot.exchange.paper.venue import PaperAccount
from bot.journal.codec import from_json
from bot.journal.port import IntentMoved, Kind, Row
from bot.journal.sqlite import SqliteJournal
from bot.policy.loader import load_policy
from bot.rehearsal.bars import read_bars
from bot.rehearsal.setups import ByMargin, Opening, Setup
from bot.runtime.record import Recorded
from bot.runtime.verify import verify

MINUTE_MS = 60_000
STOPPED_MS = 20_000
"""A position that has been open for so long rests on a stop."""

EARLY_STEPS, LATE_STEPS = 6, 16
"""A life dies within so many steps: early ones while it recovers from the last one."""

ROUNDS_MAX = 40
"""How often a script may begin anew, in another folder, until its kills are used up."""


@dataclass(frozen=True, slots=True)
class Script:
    """One account, its policy, and the minutes of recorded prices that it lives through."""

    name: str
    preset: str
    scenarios: tuple[str, ...]
    from_ms: int
    minutes: int
    side: Side = Side.LONG
    leverage: int = 10
    margin_mode: MarginMode = MarginMode.ISOLATED

    def setup(self) -> Setup:
        """The positions as they are opened."""
        return Setup(tuple(map(self._opening, self.scenarios)), Money(Decimal(1000)), self.from_ms)

    def _opening(self, scenario: str) -> Opening:
        bars = read_bars(scenario)
        rows = [row for row in bars.rows if row.open_at_ms >= self.from_ms]
        count = max(self.minutes * MINUTE_MS // bars.interval_ms, 2)
        return Opening(
            bars=replace(bars, rows=tuple(rows[:count])),
            instrument=instrument_for("binanceusdm", bars.symbol),
            side=self.side,
            leverage=Decimal(self.leverage),
            size=ByMargin(Money(Decimal(1000))),
            margin_mode=self.margin_mode,
        )


_BTC, _ETH, _XRP = "2020-03-12-btc", "2020-03-12-eth", "2020-03-12-xrp"
_MAY, _SQUEEZE = "2021-05-19-eth", "2025-05-08-eth"
_BLEED, _SHOCK = "constructed-funding-bleed", "constructed-funding-shock"
_CRASH_MS = 1_584_009_600_000
"""2020-03-12T10:40Z, before the steepest part of the fall."""
_MAY_MS, _SQUEEZE_MS, _BLEED_MS = 1_621_425_600_000, 1_746_720_000_000, 1_767_571_200_000
_CROSS = MarginMode.CROSS
BILLS = "demo-funding"

SCRIPTS = (
    Script("long in a crash", "demo", (_BTC,), _CRASH_MS, 20, leverage=20),
    Script("ether in a crash", "demo", (_ETH,), _CRASH_MS, 20),
    Script("ripple in a crash", "demo", (_XRP,), _CRASH_MS, 20),
    Script("a high leverage", "demo", (_BTC,), _CRASH_MS, 15, leverage=25),
    Script("a May crash", "demo", (_MAY,), _MAY_MS, 60),
    Script("a squeeze", "demo", (_SQUEEZE,), _SQUEEZE_MS, 240, Side.SHORT, 25),
    Script("two on one wallet", "demo-cross", (_BTC, _ETH), _CRASH_MS, 12, margin_mode=_CROSS),
    Script(
        "three on one wallet", "demo-cross", (_BTC, _ETH, _XRP), _CRASH_MS, 8, margin_mode=_CROSS
    ),
    Script("a bleed", BILLS, (_BLEED,), _BLEED_MS, 24 * 60, leverage=50),
    Script("a shock", BILLS, (_SHOCK,), _BLEED_MS, 24 * 60, leverage=50),
    Script("balanced", "balanced", (_BTC,), _CRASH_MS, 15, leverage=20),
    Script("patient", "patient", (_MAY,), _MAY_MS, 30, leverage=20),
)


# -- one life ------------------------------------------------------------------------------------


class Fuse:
    """Counts the steps of this process, and kills it, as the system would, at the last one."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def step(self) -> None:
        """One more step is about to be taken."""
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def lay(self) -> None:
        """Put it between all steps that leave a trace outside of the process."""
        plain: list[tuple[Any, str]] = [(os, "fsync"), (os, "pwrite")]
        plain += [(Path, "replace"), (Path, "unlink")]
        for owner, name in plain:
            setattr(owner, name, self._before(getattr(owner, name)))
        waiting: list[tuple[Any, str]] = [(SqliteJournal, "append"), (SqliteJournal, "keep")]
        waiting += [(PaperAccount, "send")]
        for owner, name in waiting:
            setattr(owner, name, self._around(getattr(owner, name)))

    def _before(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*args: Any, **named: Any) -> Any:
            self.step()
            return act(*args, **named)

        return stepping

    def _around(self, act: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def stepping(*args: Any, **named: Any) -> Any:
            self.step()
            result = await act(*args, **named)
            self.step()
            return result

        return stepping


def live(script: Script, folder: Path, steps: int) -> int:
    """One life in a process of its own; how it ended, as `os.waitpid` tells it."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return status
    code = 70
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        with (folder / "last-words").open("w") as words:
            os.dup2(words.fileno(), 2)
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
        Fuse(steps).lay()
        run_paper(folder / "policy.yaml", script.setup(), folder / "state", float("inf"), NOBODY)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


# -- what must be true ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """What a script has come to, and what is wrong with it."""

    kills: int
    effects: Counter[str]
    wrongs: tuple[str, ...]


def run_script(
    script: Script, kills: int, first: int, once: Callable[[Script, int, Random], Found]
) -> Found:
    """Live through a script, again and again until its kills are used up."""
    done = Found(0, Counter(), ())
    for number in range(ROUNDS_MAX):
        if done.kills >= kills or done.wrongs:
            break
        found = once(script, kills - done.kills, Random(f"{script.name} {first} {number}"))
        done = Found(done.kills + found.kills, done.effects + found.effects, found.wrongs)
    return done


def _run_once(script: Script, kills: int, random: Random) -> Found:
    """Over one folder, until the prices end; what is left is looked at after each life."""
    wrongs: list[str] = []
    killed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        preset = files("bot.policy").joinpath(f"presets/{script.preset}.yaml").read_text("utf-8")
        if "account:" not in preset:
            preset += (
                "account: { name: killed, venue: binanceusdm, margin_mode: mixed,"
                " position_mode: one_way }\n"
            )
        (folder / "policy.yaml").write_text(preset, encoding="utf-8")
        policy = load_policy(folder / "policy.yaml")
        for number in range(kills + 1):
            is_last = number == kills
            most = random.choice((EARLY_STEPS, LATE_STEPS))
            steps = 10**9 if is_last else random.randrange(most)
            status = live(script, folder, steps)
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                killed += 1
            elif os.WEXITSTATUS(status):
                words = (folder / "last-words").read_text(encoding="utf-8").strip()
                wrongs.append(f"life {number} ended with {status}: {words[-300:]}")
            try:
                wrongs += [f"life {number}: {each}" for each in asyncio.run(_look(folder, policy))]
            except Exception as e:  # noqa: BLE001 - whatever it is, the folder is not sound
                wrongs.append(f"life {number}: {type(e).__name__}: {e}")
            if wrongs or not os.WIFSIGNALED(status):
                break  # the prices have ended
        effects, more = asyncio.run(_judge(folder, policy)) if not wrongs else (Counter(), [])
    return Found(killed, effects, (*wrongs, *more))


async def _look(folder: Path, policy: Policy) -> list[str]:
    """After any death: the files are sound, and what was sent is on record."""
    path = folder / "state" / f"{policy.account}.db"
    saved = FileStore(folder / "state" / f"{policy.account}.paper.json").load()
    if not isinstance(saved, PaperMachine) or not path.exists():
        return []
    journal = SqliteJournal.read(path, policy.account)
    rows = await journal.rows(0)
    await journal.close()
    return [
        f"{order} is on the exchange and on no row"
        for order in saved._books.accounts[policy.account].orders
        if order not in _prepared(rows)
    ]


async def _judge(folder: Path, policy: Policy) -> tuple[Counter[str], list[str]]:
    """At the end: no effect twice, none lost, none beyond a budget, and stops in place."""
    state, account = folder / "state", policy.account
    saved = FileStore(state / f"{account}.paper.json").load()
    assert isinstance(saved, PaperMachine)
    journal = SqliteJournal.open(state / f"{account}.db", account)
    rows = await journal.rows(0)
    verified = await verify(journal)
    await journal.close()
    wrongs: list[str] = []
    planned = {
        approved.intent.id: approved.intent.action
        for row in rows
        if row.entry.kind is Kind.DECISION
        for approved in from_json(row.entry.body, Recorded).decision.approved
    }
    ended = {
        row.entry.subject.intent_id: row.entry.subject.state
        for row in rows
        if isinstance(row.entry.subject, IntentMoved)
    }
    wrongs += [
        f"{intent} was never settled: {told}"
        for intent, told in ended.items()
        if told not in TERMINAL and saved.at_ms - _at_ms(rows, intent) > MINUTE_MS
    ]
    adds = Counter(
        (action.symbol, action.amount)
        for intent, action in planned.items()
        if isinstance(action, AddMargin) and ended.get(intent) is not IntentState.NOT_APPLIED
    )
    changes = [
        change for symbol in saved.listed for change in saved.margin_changes(account, symbol, 0)
    ]
    moved = Counter((change.symbol, change.amount) for change in changes)
    wrongs += [f"moved {each} more often than planned" for each in moved - adds]
    for change in changes:
        hour = [each for each in changes if 0 <= change.at_ms - each.at_ms < HOUR_MS]
        if sum(each.amount for each in hour) > policy.guardrails.top_up_1h_max:
            wrongs.append(f"beyond the budget of an hour at {change.at_ms}")
    realised = saved.realised(account)
    wrongs += [
        f"{each.quantity} {each.symbol} was liquidated"
        for each in realised
        if each.cause is Cause.LIQUIDATION
    ]
    wrongs += misclosed(realised, planned, ended)
    wrongs += _naked(saved, account)
    effects = Counter(type(action).__name__ for action in planned.values())
    return effects + Counter(rows=len(rows), decisions=verified.decisions), wrongs


def misclosed(
    realised: Iterable[Realised], planned: Mapping[str, Action], ended: Mapping[str, IntentState]
) -> list[str]:
    """Closes that filled more than was planned, on no plan, or other than is on record."""
    filled: dict[str, Decimal] = {}
    wrongs: list[str] = []
    for each in realised:
        if each.client_id not in planned and each.cause in (Cause.CLOSE, Cause.STOP):
            wrongs.append(f"{each.client_id!r} closed {each.quantity} and is on no plan")
        elif each.cause is Cause.CLOSE and each.client_id in filled:
            wrongs.append(f"{each.client_id} was filled twice")
        filled[each.client_id] = filled.get(each.client_id, ZERO) + each.quantity
    for intent, action in planned.items():
        state = ended.get(intent)
        if not isinstance(action, ClosePosition) or (state not in TERMINAL and state is not None):
            continue  # what is not settled yet may be either
        done = state in (IntentState.APPLIED, IntentState.PARTIAL)
        if done != (intent in filled):
            wrongs.append(f"{intent} is {state}, and filled {filled.get(intent, ZERO)}")
        elif done and filled[intent] > action.quantity:
            wrongs.append(f"{intent} asked for {action.quantity}, and filled {filled[intent]}")
    return wrongs


def _naked(saved: PaperMachine, account: str) -> list[str]:
    snapshot = saved.snapshot(account, saved.at_ms)
    return [
        f"{position.symbol} rests on no stop at the end"
        for position in snapshot.positions
        if not any(
            stop.reduce_only
            and stop.symbol == position.symbol
            and stop.quantity >= position.quantity
            and (
                not isinstance(position.liquidation, Reported)
                or position.side.sign * (stop.trigger_price - position.liquidation.price) > 0
            )
            for stop in snapshot.stops
        )
    ]


def _prepared(rows: "list[Row] | Any") -> set[str]:
    return {
        row.entry.subject.intent_id
        for row in rows
        if isinstance(row.entry.subject, IntentMoved)
        and row.entry.subject.state is IntentState.PREPARED
    }


def _at_ms(rows: "list[Row] | Any", intent: str) -> int:
    return max(
        row.entry.at_ms
        for row in rows
        if isinstance(row.entry.subject, IntentMoved) and row.entry.subject.intent_id == intent
    )


def main() -> int:
    """Kill it so often; 1 if anything was doubled, lost, overspent or left without a stop."""
    parser = argparse.ArgumentParser(description="True SIGKILLs between the steps of scripts.")
    parser.add_argument("--kills", type=int, default=504, help="over all scripts together")
    parser.add_argument("--script", help="only the one of this name")
    parser.add_argument("--first", type=int, default=0, help="draws other steps")
    parser.add_argument("--wire", action="store_true", help="live, against `paper serve`")
    asked = parser.parse_args()
    scripts = [each for each in SCRIPTS if asked.script in (None, each.name)]
    once = _run_once
    if asked.wire:
        # Only now: it brings ccxt along, which no life on paper needs.
        from tests.faults.wire_kills import run_once as once  # noqa: PLC0415

        scripts = [each for each in scripts if each.preset != BILLS]
    killed = bad = 0
    for number, script in enumerate(scripts):
        share = asked.kills // len(scripts) + (number < asked.kills % len(scripts))
        found = run_script(script, share, asked.first, once)
        killed += found.kills
        bad += bool(found.wrongs)
        _print(f"{script.name}: {found.kills} kills, {json.dumps(found.effects)}")
        for wrong in found.wrongs:
            _print(f"  WRONG: {wrong}")
        if found.wrongs:
            again = f"--script '{script.name}' --kills {share} --first {asked.first}"
            again += " --wire" if asked.wire else ""
            _print(f"  again: .venv/bin/python tests/faults/kills.py {again}")
    _print(f"{killed} true kills over {len(scripts)} scripts, {bad} scripts with something wrong")
    return 1 if bad else 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
