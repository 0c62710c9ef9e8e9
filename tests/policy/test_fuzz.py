"""Whatever a file holds, it is a policy or a `PolicyError`, each of whose lines is one line."""

import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.policy import AnyMarginMode
from bot.core.units import Ratio
from bot.policy.loader import load_policy, parse_policy
from bot.policy.problems import PolicyError
from tests.policy import fuzz

SNIPPETS = st.sampled_from(
    [
        *("&a ", "*a", "!!int ", "<<: ", "---\n", "...\n", "%YAML 1.2\n", "? ", "- ", ": ", "|\n"),
        *("{", "}", "[", "]", ",", "'", '"', "#", "\t", "\n", "\r", "\ufeff", "\x00", "\\", "@"),
        *('"\\U00110000"', '"\\uD800"', "0%", "999999999999%", "1e9", ".inf", "-1 USDT", "0s"),
        *("next", "any", "alert", "top_up", "margin_ratio", "above", "cross", "with: {}", "null"),
    ]
)
INSERTS = st.one_of(SNIPPETS, st.text(max_size=5))


@st.composite
def changed(draw: st.DrawFn, text: str) -> str:
    """`text` with a few spots cut out, doubled or overwritten."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 30)))
        middle = draw(st.one_of(INSERTS, st.just(text[start:end] * 2)))
        text = text[:start] + middle + text[end:]
    return text


@st.composite
def reordered(draw: st.DrawFn, text: str) -> str:
    """`text` with whole words in each other's place: still YAML, mostly."""
    words = text.split(" ")
    for _ in range(draw(st.integers(1, 4))):
        source = draw(st.integers(0, len(words) - 1))
        target = draw(st.integers(0, len(words) - 1))
        words[target] = words[source]
    return " ".join(words)


@given(st.data())
def test_a_changed_policy_parses_or_is_refused(good: str, data: st.DataObject) -> None:
    text = data.draw(st.one_of(changed(good), reordered(good)))
    parse_or_refuse(text)


@given(st.one_of(st.text(), st.lists(INSERTS, max_size=30).map("".join)))
def test_any_text_parses_or_is_refused(text: str) -> None:
    parse_or_refuse(text)


@given(st.binary(max_size=40))
def test_any_bytes_parse_or_are_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "policy.yaml")
        file.write_bytes(content)
        try:
            load_policy(file)
        except PolicyError as error:
            look_at(error)


def test_brackets_without_end_are_refused_without_recursion() -> None:
    for text in ("[" * 3_000, "{a: " * 3_000, "- " * 3_000, "? " * 3_000):
        parse_or_refuse(text)


def test_a_slice_of_the_long_fuzz_finds_nothing() -> None:
    reads = [fuzz.read(number) for number in range(150)]
    assert [each for each in reads if each.fault] == []
    assert list(fuzz.slow_ones(reads)) == []
    assert 0 < sum(each.is_valid for each in reads) < len(reads)


def test_the_long_fuzz_sees_what_it_looks_for(good: str) -> None:
    policy = parse_policy(good, "p.yaml")
    assert list(fuzz.faults_of(policy)) == []
    distance, ratio = policy.rules
    assert list(fuzz.faults_of(replace(policy, rules=(distance, distance)))) == [
        "two rules of one name"
    ]
    upside_down = replace(ratio, steps=ratio.steps[::-1])
    assert list(fuzz.faults_of(replace(policy, rules=(upside_down,)))) == ["ratio: order of warn"]
    cross = replace(distance.match, margin_mode=AnyMarginMode())
    assert list(fuzz.faults_of(replace(policy, rules=(replace(distance, match=cross),)))) == [
        "distance: speaks of some cross positions",
        "distance: top_up of cross positions",
    ]
    near = replace(policy.protect, room=Ratio(Decimal("0.07")))
    assert list(fuzz.faults_of(replace(policy, protect=near))) == ["distance: threshold of add"]


def test_the_long_fuzz_measures_a_slow_file_again() -> None:
    file = fuzz.read(0)
    slow = file._replace(taken_ns=10**12)
    others = [file._replace(number=number) for number in range(1, 50)]
    assert list(fuzz.slow_ones([*others, slow])) == []  # measured again, it is not
    quick = [each._replace(taken_ns=file.taken_ns // 1_000) for each in others]
    ((found, times),) = fuzz.slow_ones([*quick, slow])
    assert (found, times > 20) == (slow, True)


SLOW = {
    "many keys on one line": "{" + ",".join(f"a{i}: b" for i in range(3_000)) + "}",
    "many unknown keys": "account:\n" + "".join(f"  venu{i}e: 1\n" for i in range(1_000)),
    "one key again and again": "a: b\n" * 3_000,
    "one step again and again": "rules:\n  - ladder:\n" + "      - { step: a, do: b }\n" * 700,
    "keys without values": "? a\n" * 3_000,
    "deep and long": "[" * 11 + "a," * 8_000,
    "a long word": "schema: " + "m" * 40_000,
    "a long text": 'schema: "' + "m \\n" * 10_000 + '"',
    "a long block": "schema: |\n" + "  x\n" * 10_000,
    "nothing but lines": "\n" * 40_000,
    "nothing but comments": "# x\n" * 10_000,
}


@pytest.mark.parametrize("text", SLOW.values(), ids=SLOW.keys())
def test_no_file_is_made_to_be_slow(good: str, text: str) -> None:
    assert pace_of(text) < 20 * pace_of(good)


def pace_of(text: str) -> float:
    """Nanoseconds a character, the better of two, with what reading any file costs."""
    taken_ns = []
    for _ in range(2):
        begin_ns = time.thread_time_ns()
        parse_or_refuse(text)
        taken_ns.append(time.thread_time_ns() - begin_ns)
    return min(taken_ns) / (len(text) + fuzz.BASE)


def parse_or_refuse(text: str) -> None:
    try:
        parse_policy(text, "fuzz.yaml")
    except PolicyError as error:
        look_at(error)


def look_at(error: PolicyError) -> None:
    places = [(problem.line, problem.column) for problem in error.problems]
    assert places == sorted(places)
    assert places[0] >= (1, 1)
    for problem in error.problems:
        assert len(str(problem).splitlines()) == 1
        assert problem.was != "unreadable"
        assert len(problem.shown().splitlines()) == (3 if problem.source.strip() else 1)
