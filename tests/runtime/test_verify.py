"""Verify: a true journal passes, and no decision and no budget can be changed unseen."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from bot.core.actions import AddMargin
from bot.core.events import IntentState, OutcomeReported
from bot.core.model import Instrument
from bot.journal.chain import EMPTY, extend
from bot.journal.codec import from_json, to_json
from bot.journal.port import Entry, Found, Head, JournalDamaged, Kind, Row
from bot.rehearsal.loop import run_virtual
from bot.runtime.record import Recorded, outcome_entry
from bot.runtime.verify import Verified, verify
from bot.testing.builders import ACCOUNT
from tests.runtime.build import policy
from tests.runtime.paper import world

CRASH = (
    *((0, 50_000), (5_000, 50_000)),
    *((10_000, 47_000), (40_000, 47_000)),
    (60_000, 43_500),
)
Path = tuple[str | int, ...]


class ForgedJournal:
    """Entries under a chain of hashes that fits: what a forger with the code would make."""

    def __init__(self, entries: Sequence[Entry], texts: Sequence[str]) -> None:
        self._rows = list(extend(ACCOUNT, EMPTY, entries))
        self._texts = {sha256(text.encode()).hexdigest(): text for text in texts}

    async def rows(self, after: int) -> Sequence[Row]:
        return self._rows[after:]

    async def kept(self, digest: str) -> str:
        if digest not in self._texts:
            raise JournalDamaged(f"expected the text of {digest}, was absent")
        return self._texts[digest]

    async def append(self, entries: Sequence[Entry]) -> Head:
        raise AssertionError("verify only reads")

    async def keep(self, text: str) -> str:
        raise AssertionError("verify only reads")

    async def last(self, kind: Kind) -> Found:
        raise AssertionError("verify reads every row")

    async def close(self) -> None:
        raise AssertionError("whoever opened it closes it")


Lived = tuple[list[Entry], list[str]]


@pytest.fixture(scope="module")
def lived() -> Lived:
    """The entries of a guard that lived through a crash and a restart, and the texts they name."""

    async def main() -> Lived:
        async with world(*CRASH) as here:
            await here.guard_until(lambda: bool(here.margins))
            async with here.guarding() as guard:
                await here.clock.sleep_ms(90_000)
            entries = [row.entry for row in await here.journal.rows(0)]
            listed = tuple(guard.state.instruments.by_symbol.values())
            return entries, [policy().text, to_json(listed, tuple[Instrument, ...])]

    return run_virtual(main())


def verified(entries: Sequence[Entry], texts: Sequence[str]) -> Verified:
    async def main() -> Verified:
        return await verify(ForgedJournal(entries, texts))

    return run_virtual(main())


def is_found(entries: Sequence[Entry], texts: Sequence[str]) -> bool:
    try:
        verified(entries, texts)
    except JournalDamaged:
        return True
    return False


def decided(entry: Entry) -> Recorded:
    assert entry.kind is Kind.DECISION
    return from_json(entry.body, Recorded)


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    match value:
        case dict():
            for key, inner in value.items():
                yield from leaves(inner, (*path, key))
        case list():
            for index, inner in enumerate(value):
                yield from leaves(inner, (*path, index))
        case _:
            yield path


def changed(leaf: Any) -> Any:
    match leaf:
        case bool():
            return not leaf
        case int():
            return leaf + 1
        case str() if leaf.replace(".", "").isdigit():
            return str(int(leaf[0]) % 9 + 1) + leaf[1:]
        case str():
            return leaf + "x"
        case _:
            raise AssertionError(leaf)


def mutated(body: str, path: Path) -> str:
    tree = json.loads(body)
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = changed(node[path[-1]])
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))


def test_a_true_journal_passes_and_says_what_it_holds(lived: Lived) -> None:
    entries, texts = lived
    result = verified(entries, texts)
    kinds = [entry.kind for entry in entries]
    assert (result.rows, result.decisions) == (len(entries), kinds.count(Kind.DECISION))
    assert kinds.count(Kind.STARTED) == 2
    assert result.intents == sum(
        len(decided(entry).decision.approved) for entry in entries if entry.kind is Kind.DECISION
    )
    assert result.digest == list(extend(ACCOUNT, EMPTY, entries))[-1].hash


def test_a_journal_without_rows_is_damaged() -> None:
    with pytest.raises(JournalDamaged, match="no rows"):
        verified([], [])


def second_stop(entries: list[Entry]) -> int:
    """The row that re-prices the stop after a top-up: it decides, and it holds intents."""
    stops = [
        index
        for index, entry in enumerate(entries)
        if entry.kind is Kind.DECISION
        for each in decided(entry).decision.approved
        if each.intent.reason == "protect/stop"
    ]
    return stops[1]


def test_no_field_of_a_decision_or_of_an_intent_before_it_can_be_changed(lived: Lived) -> None:
    entries, texts = lived
    index = second_stop(entries)
    row = entries[index]
    assert not is_found(entries[: index + 1], texts)
    # The facts in a state (prices, reads, memories) are what a decision rests on, and no other
    # row repeats them: a changed one is seen where it changes the decision.
    paths = [
        path
        for path in leaves(json.loads(row.body))
        if path[0] != "state" or path[1] in ("birth", "instruments", "intents", "policy_digest")
    ]
    assert len(paths) > 80
    unseen = [
        path
        for path in paths
        if not is_found([*entries[:index], replace(row, body=mutated(row.body, path))], texts)
    ]
    assert unseen == []


def test_a_price_that_changes_the_verdict_is_seen(lived: Lived) -> None:
    entries, texts = lived
    index = second_stop(entries)
    row = entries[index]
    path = ("state", "marks", "BTCUSDT", "price")
    assert is_found([*entries[:index], replace(row, body=mutated(row.body, path))], texts)


def test_a_decision_row_at_another_time_is_seen(lived: Lived) -> None:
    entries, texts = lived
    index = second_stop(entries)
    moved = replace(entries[index], at_ms=entries[index].at_ms + 1)
    assert is_found([*entries[:index], moved], texts)


def test_a_forgotten_top_up_is_seen(lived: Lived) -> None:
    """Without it in the state the next decision could spend its money again."""
    entries, texts = lived
    for index, entry in enumerate(entries):
        if entry.kind is not Kind.DECISION:
            continue
        body = json.loads(entry.body)
        spent = [
            intent_id
            for intent_id, intent in body["state"]["intents"].items()
            if intent["action"]["type"] == AddMargin.__name__
        ]
        for intent_id in spent:
            del body["state"]["intents"][intent_id]
            text = json.dumps(body, sort_keys=True, separators=(",", ":"))
            assert is_found([*entries[:index], replace(entry, body=text)], texts)
            return
    raise AssertionError("the guard has not added any margin")


def test_an_outcome_that_is_missing_or_made_up_is_seen(lived: Lived) -> None:
    entries, texts = lived
    outcomes = [i for i, entry in enumerate(entries) if entry.kind is Kind.INTENT]
    last_decision = max(i for i, entry in enumerate(entries) if entry.kind is Kind.DECISION)
    settled = 0
    for index in outcomes:
        moved = from_json(entries[index].body, OutcomeReported)
        if moved.state is not IntentState.APPLIED or index > last_decision:
            continue
        settled += 1
        rejected = outcome_entry(replace(moved, state=IntentState.REJECTED))
        assert is_found([*entries[:index], rejected, *entries[index + 1 :]], texts)
        assert is_found([*entries[:index], *entries[index + 1 :]], texts)
    assert settled >= 2


def test_an_outcome_of_an_intent_that_nobody_planned_is_seen(lived: Lived) -> None:
    entries, texts = lived
    moved = OutcomeReported("lgmadeup", IntentState.APPLIED, "", entries[-1].at_ms)
    with pytest.raises(JournalDamaged, match="no row planned lgmadeup"):
        verified([*entries, outcome_entry(moved)], texts)


def test_a_decision_that_was_cut_out_is_seen_by_its_intents(lived: Lived) -> None:
    entries, texts = lived
    index = second_stop(entries)
    assert is_found([*entries[:index], *entries[index + 1 :]], texts)


def test_a_policy_or_a_rule_book_that_is_gone_is_said(lived: Lived) -> None:
    entries, texts = lived
    for text in texts:
        assert is_found(entries, [each for each in texts if each != text])
