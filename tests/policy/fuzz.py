"""
The loader's fuzz: `python tests/policy/fuzz.py --files N --first n`, or `--file n` to see one.

Every file is a policy that was cut, doubled, mixed up or grown, made from its number alone. It is
read to a policy or to problems with their places; a policy that is read is held to what policies
must be by rules of this file; and none takes more than twenty times as long as the median of the
files of its size.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple, assert_never

sys.path.insert(0, str(Path(__file__).parents[2]))

from bot.core.model import MarginMode
from bot.core.policy import (
    Above,
    AnyMarginMode,
    AnySide,
    AnySymbol,
    Below,
    Metric,
    Policy,
    Rule,
    Step,
    Threshold,
)
from bot.core.strategy import Severity
from bot.policy.loader import parse_policy
from bot.policy.problems import PolicyError
from bot.policy.verbs import find_verbs

ROOT = Path(__file__).parents[2]

SLOWER_MAX = 20
"""How many times the median time of files of its size a file may take."""

NEIGHBOURS = 200
"""So many files of about one size are compared with their median."""

BATCH = 20_000
"""So many files are reported at a time."""

BASE = 500
"""What reading any file costs, in characters."""

SNIPPETS = (
    "&a ", "*a", "!!int ", "<<: ", "---\n", "...\n", "%YAML 1.2\n", "? ", "- ", ": ", "|\n",
    ">-\n", "{", "}", "[", "]", ",", "'", '"', "#", "\t", "\n", "\r", "\ufeff", "\x00", "\\", "@",
    "\u2028", '"\\U00110000"', '"\\uD800"', "0%", "999999999999%", "1e9", ".inf", "-1 USDT", "0s",
    "next", "any", "alert", "top_up", "margin_ratio", "above", "cross", "mixed", "with: {}",
    "null", "{ to: 8%, fraction: 30% }", "funding_cost_episode", "partial_close", "[" * 20,
    "{a: " * 20, "a" * 500, "- " * 30, "\u0663%", "\U0001d4b3", "no", "on", "010", "1:30", "~",
)  # fmt: skip


KINDS_OF_WORDS = (
    ("isolated", "cross", "mixed", "any"),
    ("long", "short", "any"),
    tuple(find_verbs()),
    tuple(Metric),
    ("to", "fraction", "room"),
    ("warn", "tighten", "top-up", "trim", "lighten", "out"),
    ("isolated", "cross", "funding-isolated", "funding-cross"),
)
"""Words that may stand in each other's place."""


class Read(NamedTuple):
    """What came of one file: how long it took, and what was wrong with how it was read."""

    number: int
    size: int
    taken_ns: int
    is_valid: bool
    fault: str


def corpus() -> tuple[str, ...]:
    """Valid policies to begin with."""
    folders = (ROOT / "config/policies", ROOT / "bot/policy/presets")
    files = sorted(file for folder in folders for file in folder.glob("*.yaml"))
    policies = (file for file in files if not file.stem.endswith("_test"))
    return tuple(file.read_text(encoding="utf-8") for file in policies)


CORPUS = corpus()


def file_of(number: int) -> str:
    """The text of file `number`."""
    random = Random(number)
    text = random.choice(CORPUS)
    if random.random() < 0.1:
        text = _grown(random, text)
    for _ in range(random.choice((0, 1, 1, 2, 3, 5))):
        text = random.choice(CHANGES)(random, text)
    return text


def _grown(random: Random, text: str) -> str:
    """With the rules over and over, each under a name of its own."""
    head, _, rules = text.partition("rules:\n")
    again = (re.sub(r"rule: (\S+)", rf"rule: \1-{i}", rules) for i in range(random.randint(2, 30)))
    return f"{head}rules:\n{''.join(again)}"


def _spot(random: Random, text: str) -> tuple[int, int]:
    start = random.randint(0, len(text))
    return start, random.randint(start, min(len(text), start + 30))


def _cut(random: Random, text: str) -> str:
    start, end = _spot(random, text)
    return text[:start] + text[end:]


def _doubled(random: Random, text: str) -> str:
    start, end = _spot(random, text)
    return text[:end] + text[start:]


def _put_in(random: Random, text: str) -> str:
    start, end = _spot(random, text)
    return text[:start] + random.choice(SNIPPETS) + text[random.choice((start, end)) :]


def _words_mixed(random: Random, text: str) -> str:
    words = text.split(" ")
    for _ in range(random.randint(1, 4)):
        words[random.randrange(len(words))] = random.choice(words)
    return " ".join(words)


def _lines_mixed(random: Random, text: str) -> str:
    lines = text.split("\n")
    lines[random.randrange(len(lines))] = random.choice(
        (random.choice(lines), "", f"  {random.choice(lines)}", random.choice(lines).lstrip())
    )
    return "\n".join(lines)


def _digit_changed(random: Random, text: str) -> str:
    digits = [match.start() for match in re.finditer(r"\d", text)]
    if not digits:
        return text
    at = random.choice(digits)
    return text[:at] + random.choice("0123456789") + text[at + 1 :]


def _word_changed(random: Random, text: str) -> str:
    """Another word of its kind in the place of one: still a policy to look at, seldom one."""
    words = random.choice(KINDS_OF_WORDS)
    found = list(re.finditer(rf"\b(?:{'|'.join(words)})\b", text))
    if not found:
        return text
    match = random.choice(found)
    return text[: match.start()] + random.choice(words) + text[match.end() :]


def _ratio_moved(random: Random, text: str) -> str:
    """One ratio of the file in the place of another."""
    found = list(re.finditer(r"[\d.]+(?:%| bps)", text))
    if not found:
        return text
    match = random.choice(found)
    return text[: match.start()] + random.choice(found).group() + text[match.end() :]


def _noise(random: Random, text: str) -> str:
    start, end = _spot(random, text)
    letters = (
        chr(random.choice((random.randrange(32, 127), random.randrange(0x2FFF)))) for _ in "12"
    )
    return text[:start] + "".join(letters) + text[end:]


CHANGES = (
    _cut,
    _doubled,
    _put_in,
    _words_mixed,
    _lines_mixed,
    _digit_changed,
    _digit_changed,
    _word_changed,
    _word_changed,
    _ratio_moved,
    _ratio_moved,
    _noise,
)


def read(number: int) -> Read:
    """Read file `number` and judge how that went."""
    text = file_of(number)
    begin_ns = time.thread_time_ns()
    is_valid, fault = False, ""
    try:
        policy = parse_policy(text, "fuzz.yaml")
        is_valid = True
    except PolicyError as error:
        fault = fault_of_refusal(error, text)
    except Exception as error:  # noqa: BLE001 - whatever else is raised is the fault looked for
        fault = f"raised {type(error).__name__}: {error}"
    taken_ns = time.thread_time_ns() - begin_ns
    if is_valid:
        fault = "; ".join(faults_of(policy))
    return Read(number, len(text), taken_ns, is_valid, fault)


def fault_of_refusal(error: PolicyError, text: str) -> str:
    """What is wrong with how a file was refused; empty if nothing."""
    places = [(problem.line, problem.column) for problem in error.problems]
    if not places or places != sorted(places) or places[0] < (1, 1):
        return f"places {places}"
    for problem in error.problems:
        if len(str(problem).splitlines()) != 1 or problem.was == "unreadable":
            return f"told {problem}"
        if len(problem.shown().splitlines()) != (3 if problem.source.strip() else 1):
            return f"shown {problem.shown()!r}"
        if problem.source not in text:
            return f"source {problem.source!r}"
    return ""


def faults_of(policy: Policy) -> Iterator[str]:
    """What a policy may never be, whatever its file said."""
    protect, limits = policy.protect, policy.guardrails
    if not 0 < protect.floor < protect.room < 1:
        yield "floor and room"
    if protect.unknown_after_ms <= 0 or limits.data_age_max_ms <= 0 or limits.actions_1m_max <= 0:
        yield "a limit of nothing"
    if not limits.top_up_per_action_max <= limits.top_up_1h_max <= limits.top_up_24h_max:
        yield "budgets"
    if limits.top_up_per_action_max > limits.top_up_per_episode_max:
        yield "budget of an episode"
    if limits.loss_max <= 0 or limits.keep_free < 0 or not 0 < limits.slippage_max < 1:
        yield "loss, reserve or slippage"
    if not 0 < policy.stress.shock <= 1 or any(
        not 0 <= b <= 100 for b in policy.stress.betas.values()
    ):
        yield "stress"
    if len({rule.name for rule in policy.rules}) < len(policy.rules):
        yield "two rules of one name"
    for rule in policy.rules:
        yield from _faults_of_rule(policy, rule)


def _faults_of_rule(policy: Policy, rule: Rule) -> Iterator[str]:
    if not rule.steps or len({step.name for step in rule.steps}) < len(rule.steps):
        yield f"{rule.name}: steps"
    for milder, deeper in pairwise(rule.steps):
        if not _is_deeper(milder.threshold, deeper.threshold):
            yield f"{rule.name}: order of {deeper.name}"
    if any(step.then_next for step in rule.steps[-1:]):
        yield f"{rule.name}: hands over to nobody"
    if isinstance(rule.match.margin_mode, AnyMarginMode) or (
        rule.match.margin_mode is MarginMode.CROSS
    ):
        yield from _faults_of_cross_rule(rule)
    for step in rule.steps:
        if _is_wrong(step, rule, policy):
            yield f"{rule.name}: threshold of {step.name}"


def _is_deeper(before: Threshold, after: Threshold) -> bool:
    match before, after:
        case Below(high), Below(low):
            return low < high
        case Above(low), Above(high):
            return high > low
        case _:
            return False


def _faults_of_cross_rule(rule: Rule) -> Iterator[str]:
    is_whole = isinstance(rule.match.symbols, AnySymbol) and isinstance(rule.match.side, AnySide)
    if rule.metric.is_shared and not is_whole:
        yield f"{rule.name}: speaks of some cross positions"
    for step in rule.steps:
        if step.verb in {"top_up", "trim_and_refund"}:
            yield f"{rule.name}: {step.verb} of cross positions"


def _is_wrong(step: Step, rule: Rule, policy: Policy) -> bool:
    """Whether it spends or reduces only after the stop, or can never clear."""
    match step.threshold:
        case Below(value):
            acts = step.severity in {Severity.SPEND, Severity.REDUCE}
            return acts and value <= policy.protect.room
        case Above(value):
            return value <= rule.hysteresis
    assert_never(step.threshold)


def slow_ones(reads: Iterable[Read]) -> Iterator[tuple[Read, float]]:
    """
    Files that take too long for their size, and how many times the median, measured again.

    Few files are far apart in size, so time is taken per character, with `BASE` more for any file.
    """
    by_size = sorted(reads, key=lambda each: each.size)
    for start in range(0, len(by_size), NEIGHBOURS):
        near = by_size[max(0, min(start, len(by_size) - NEIGHBOURS)) : start + NEIGHBOURS]
        usual = median(map(_pace, near))
        for each in by_size[start : start + NEIGHBOURS]:
            if _pace(each) > SLOWER_MAX * usual:
                again = min(_pace(read(each.number)) for _ in range(5))
                if again > SLOWER_MAX * usual:
                    yield each, again / usual


def _pace(each: Read) -> float:
    return each.taken_ns / (each.size + BASE)


def main() -> int:
    """Read the files over two processes; 1 if any was not read as it must be."""
    parser = argparse.ArgumentParser(description="Changed policy files, each read or refused.")
    parser.add_argument("--files", type=int, default=2_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--file", type=int, help="print only this one and what comes of it")
    asked = parser.parse_args()
    if asked.file is not None:
        _print(file_of(asked.file))
        _print(str(read(asked.file)))
        return 0
    last = asked.first + asked.files
    failed = 0
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for first in range(asked.first, last, BATCH):
            numbers = range(first, min(first + BATCH, last))
            failed |= _report(list(pool.map(read, numbers, chunksize=100)))
    return failed


def _report(reads: list[Read]) -> int:
    faults = [f"file {each.number}: {each.fault}" for each in reads if each.fault]
    slow = [f"file {each.number}: {times:.0f}x the median" for each, times in slow_ones(reads)]
    for line in (*faults, *slow):
        _print(f"FAILED {line}")
    valid = sum(each.is_valid for each in reads)
    usual_us = median(each.taken_ns for each in reads) / 1_000
    _print(
        f"files {reads[0].number} to {reads[-1].number}, "
        f"up to {max(each.size for each in reads)} characters, "
        f"{usual_us:.0f} us the median: {valid} policies, {len(reads) - valid} refused, "
        f"{len(faults)} faults, {len(slow)} too slow"
    )
    return 1 if faults or slow else 0


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
