"""Canonical JSON: exact both ways, the same text everywhere, and strict about what it reads."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, Generic, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.actions import Action, PlaceStop
from bot.core.decision import Decision
from bot.core.events import Event, Tick
from bot.core.model import AccountSnapshot, Instrument, PositionKey, Reported, Side
from bot.core.state import AccountState
from bot.core.units import Duration, Money, Price, Quantity
from bot.journal.codec import from_json, to_json
from bot.journal.port import JournalDamaged

ROOT = Path(__file__).parents[2]

Colour = NewType("Colour", str)
T = TypeVar("T")


class Level(IntEnum):
    LOW = 0
    HIGH = 3


class Plain(Enum):
    ONE = "one"


@dataclass(frozen=True, slots=True)
class Box(Generic[T]):
    content: T


@dataclass(frozen=True, slots=True)
class Empty:
    pass


@dataclass(frozen=True, slots=True)
class Everything:
    """One field of every kind of type that the journal carries."""

    decimal: Decimal
    whole: int
    yes: bool
    text: str
    colour: Colour
    wait_ms: Duration
    side: Side
    level: Level
    plain: Plain
    maybe: Box[Money] | Empty
    pair: tuple[Side, Money]
    many: tuple[Box[int] | Empty, ...]
    tags: frozenset[str]
    keys: frozenset[PositionKey]
    levels: frozenset[Level]
    by_name: Mapping[str, Money]
    by_side: Mapping[Side, Box[Decimal] | Empty]
    by_key: Mapping[PositionKey, tuple[int, ...]]
    by_price: Mapping[Price, str]
    by_colour: Mapping[Colour, int]
    episode: int = 7
    memo: Mapping[str, Any] = field(
        default_factory=dict, compare=False, metadata={"journal": False}
    )


def values(type_: Any) -> st.SearchStrategy[Any]:
    """Every value of a type that the journal carries."""
    type_ = getattr(type_, "__supertype__", type_)
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    if origin is frozenset:
        return st.frozensets(values(arguments[0]), max_size=2)
    if origin is Mapping:
        return st.dictionaries(*map(values, arguments), max_size=2)
    if origin in (Union, UnionType):
        return st.one_of(*map(values, arguments))
    if is_dataclass(origin or type_):
        return _dataclasses(origin or type_, arguments)
    if issubclass(type_, Enum):
        return st.sampled_from(list(type_))
    return {
        Decimal: st.decimals(allow_nan=False),
        int: st.integers(),
        bool: st.booleans(),
        str: st.text(max_size=20),
    }[type_]


def _dataclasses(cls: Any, arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    journalled = [each.name for each in fields(cls) if each.metadata.get("journal", True)]
    types = {name: arguments[0] if hints[name] is T else hints[name] for name in journalled}
    return st.builds(cls, **{name: values(type_) for name, type_ in types.items()})


CARRIED = {
    "everything": Everything,
    "event": Event,
    "action": Action,
    "account": AccountSnapshot,
    "instrument": Instrument,
    "state": AccountState,
    "decision": Decision,
}


@pytest.mark.parametrize("type_", CARRIED.values(), ids=CARRIED)
@settings(max_examples=40)
@given(data=st.data())
def test_a_value_comes_back_exactly(type_: Any, data: st.DataObject) -> None:
    value = data.draw(values(type_))
    text = to_json(value, type_)
    back = from_json(text, type_)
    assert back == value
    assert to_json(back, type_) == text
    assert text.isascii()


@settings(max_examples=40)
@given(value=values(Everything))
def test_a_text_is_sorted_and_tight(value: Everything) -> None:
    text = to_json(value, Everything)
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_what_comes_back_is_of_the_type_it_was() -> None:
    """Equality would not tell: a StrEnum equals its text, True equals 1."""
    value = Everything(
        decimal=Decimal("1E+2"),
        whole=-5,
        yes=True,
        text="é\n",
        colour=Colour("red"),
        wait_ms=Duration(30_000),
        side=Side.SHORT,
        level=Level.HIGH,
        plain=Plain.ONE,
        maybe=Box(Money(Decimal("-0.0"))),
        pair=(Side.LONG, Money(Decimal("Infinity"))),
        many=(Box(1), Empty()),
        tags=frozenset({"b", "a"}),
        keys=frozenset({PositionKey("B", Side.LONG), PositionKey("A", Side.SHORT)}),
        levels=frozenset({Level.HIGH}),
        by_name={"b": Money(Decimal("1.10")), "a": Money(Decimal("0E-8"))},
        by_side={Side.SHORT: Empty()},
        by_key={PositionKey("B", Side.LONG): (1,), PositionKey("A", Side.SHORT): ()},
        by_price={Price(Decimal(9)): "nine", Price(Decimal(10)): "ten"},
        by_colour={Colour("red"): 1},
        memo={"not": "written"},
    )
    text = to_json(value, Everything)
    assert text == (
        '{"by_colour":{"red":1},'
        '"by_key":[[{"side":"long","symbol":"B"},[1]],[{"side":"short","symbol":"A"},[]]],'
        '"by_name":{"a":"0E-8","b":"1.10"},'
        '"by_price":[["10","ten"],["9","nine"]],'
        '"by_side":{"short":{"type":"Empty"}},'
        '"colour":"red","decimal":"1E+2","episode":7,'
        '"keys":[{"side":"long","symbol":"B"},{"side":"short","symbol":"A"}],'
        '"level":3,"levels":[3],'
        '"many":[{"content":1,"type":"Box"},{"type":"Empty"}],'
        '"maybe":{"content":"-0.0","type":"Box"},'
        '"pair":["long","Infinity"],"plain":"one","side":"short","tags":["a","b"],'
        '"text":"\\u00e9\\n","wait_ms":30000,"whole":-5,"yes":true}'
    )
    back = from_json(text, Everything)
    assert back == value
    assert back.memo == {}
    assert back.side is Side.SHORT
    assert back.pair[0] is Side.LONG
    assert back.level is Level.HIGH
    assert back.plain is Plain.ONE
    assert back.yes is True
    assert [type(key) for key in back.by_side] == [Side]
    assert [type(level) for level in back.levels] == [Level]
    assert isinstance(back.decimal, Decimal)
    assert back.decimal.as_tuple() == value.decimal.as_tuple()


@pytest.mark.parametrize(
    "cls", [each for each in StrEnum.__subclasses__() if "core" in each.__module__]
)
def test_members_of_the_cores_enumerations_come_back_as_themselves(cls: type[StrEnum]) -> None:
    for member in cls:
        assert from_json(to_json(member, cls), cls) is member


def test_a_text_does_not_depend_on_the_order_of_making() -> None:
    forward = {PositionKey(symbol, Side.LONG): 1 for symbol in "abc"}
    backward = {PositionKey(symbol, Side.LONG): 1 for symbol in "cba"}
    by_key = Mapping[PositionKey, int]
    assert to_json(forward, by_key) == to_json(backward, by_key)


def test_a_text_does_not_depend_on_the_process() -> None:
    program = """
from bot.core.model import PositionKey, Side
from bot.journal.codec import to_json
keys = frozenset(PositionKey(symbol, side) for symbol in "abcdefgh" for side in Side)
print(to_json(keys, frozenset[PositionKey]), to_json(frozenset("hgfedcba"), frozenset[str]))
"""
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1


STOP = to_json(PlaceStop("X", Side.LONG, Quantity(Decimal(1)), Price(Decimal("2.5"))), Action)


@pytest.mark.parametrize(
    ("text", "type_", "error"),
    [
        ("{", Event, "double quotes"),
        ("[]", Event, "expected dict, was [] @ $"),
        ('"Tick"', Event, "expected dict, was 'Tick' @ $"),
        ("{}", Event, "was None @ $"),
        ('{"type":["Tick"]}', Event, "was ['Tick'] @ $"),
        ('{"type":"Tock"}', Event, "or Tick, was 'Tock' @ $"),
        ('{"type":"Tick"}', Event, "expected the keys ['received_at_ms'], was [] @ $"),
        ('{"received_at_ms":1,"type":"Tick"}', Tick, "was ['received_at_ms', 'type'] @ $"),
        ('{"received_at_ms":1,"x":1,"type":"Tick"}', Event, "was ['received_at_ms', 'x'] @ $"),
        ('{"received_at_ms":"1"}', Tick, "expected int, was '1' @ $.received_at_ms"),
        ('{"received_at_ms":true}', Tick, "expected int, was True @ $.received_at_ms"),
        ('{"received_at_ms":1.0}', Tick, "expected a whole number"),
        ('{"received_at_ms":NaN}', Tick, "expected a whole number"),
        ('{"received_at_ms":null}', Tick, "expected int, was None @ $.received_at_ms"),
        (STOP.replace('"2.5"', "2"), Action, "a decimal in quotes, was 2 @ $.trigger_price"),
        (STOP.replace('"2.5"', '" 2.5"'), Action, "was ' 2.5' @ $.trigger_price"),
        (STOP.replace('"2.5"', '"2,5"'), Action, "was '2,5' @ $.trigger_price"),
        (STOP.replace("long", "up"), Action, "'up' is not a valid Side @ $.side"),
        (STOP.replace('"long"', "true"), Action, "expected a Side, was True @ $.side"),
        ('["a"]', tuple[Side, ...], "'a' is not a valid Side @ $[0]"),
        ('"long"', tuple[str, ...], "expected list, was 'long' @ $"),
        ('["long"]', tuple[Side, Side], "@ $"),
        ('{"a":"1"}', frozenset[str], "expected list, was {'a': '1'} @ $"),
        ('{"a":{"price":1}}', Mapping[str, Reported], "was 1 @ $['a'].price"),
        ("[1]", Mapping[str, int], "expected dict, was [1] @ $"),
        ('[[{"side":"long","symbol":"X"},"1"]]', Mapping[PositionKey, int], "was '1' @ $[0][1]"),
    ],
)
def test_a_wrong_text_is_damage_with_its_path(text: str, type_: Any, error: str) -> None:
    with pytest.raises(JournalDamaged) as raised:
        from_json(text, type_)
    assert error in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_key_is_not_its_default() -> None:
    @dataclass(frozen=True)
    class Counter:
        count: int = 5

    with pytest.raises(JournalDamaged, match="expected the keys"):
        from_json("{}", Counter)


@dataclass(frozen=True)
class Inexact:
    price: float


@dataclass(frozen=True)
class Tagged:
    type: str


@pytest.mark.parametrize(
    "type_", [float, Inexact, Tagged | Empty, Empty | None, int | str, Box[int] | Box[str]]
)
def test_a_type_that_cannot_be_carried_exactly_is_refused(type_: Any) -> None:
    with pytest.raises(TypeError, match="journal: expected frozen dataclasses"):
        to_json(Empty(), type_)
