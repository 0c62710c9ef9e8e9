"""The JSON Schema: current, well-formed, and of one mind with the loader about shapes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bot.policy.loader import parse_policy
from bot.policy.problems import PolicyError
from bot.policy.schema import policy_schema
from tests.policy.json_schema import accepts, is_schema
from tests.policy.test_fuzz import reordered
from tests.policy.test_messages import CHANGES

CONFIG = Path(__file__).parents[2] / "config"
SCHEMA = json.loads((CONFIG / "policy.schema.json").read_text(encoding="utf-8"))

MEANING = {
    # Well-formed files that only the loader understands well enough to refuse.
    "ratio out of range",
    "another money",
    "part of a millisecond",
    "floor above the stop",
    "stop beyond the whole",
    "stop at the entry price",
    "never measured",
    "no data is that young",
    "no action allowed",
    "no stop allowed",
    "action above the hour",
    "action above the episode",
    "hour above the day",
    "slippage of everything",
    "shock of everything",
    "cross without stress",
    "mixed without stress",
    "hedge without stress",
    "distance of some cross positions",
    "ratio of one side of cross positions",
    "hysteresis of the whole ratio",
    "rule name twice",
    "step name twice",
    "ladder upside down",
    "two steps at one threshold",
    "margin ratio of liquidation",
    "spends after the stop",
    "top-up that cannot clear",
    "hands over to nobody",
    # What YAML would let a file hide: an editor sees the values.
    "anchor",
    "tag",
    "directive",
    "merge key",
    # A number to an editor, which it takes for 6.
    "octal",
}


def read(text: str) -> Any:
    """The values in `text`, as an editor sees them."""
    return YAML(typ="safe", pure=True).load(text)


def test_the_file_is_what_the_code_makes() -> None:
    assert policy_schema() == SCHEMA, "run: liqguard schema > config/policy.schema.json"


def test_it_is_a_schema() -> None:
    assert is_schema(SCHEMA)


@pytest.mark.parametrize(
    "file",
    [f for f in sorted((CONFIG / "policies").glob("*.yaml")) if not f.stem.endswith("_test")],
    ids=lambda f: f.name,
)
def test_whole_policies_fit(file: Path) -> None:
    assert accepts(SCHEMA, read(file.read_text(encoding="utf-8")))


def test_the_good_policy_fits(good: str) -> None:
    assert accepts(SCHEMA, read(good))


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_shape_does_not_fit(good: str, name: str) -> None:
    old, new, _ = CHANGES[name]
    try:
        value = read(good.replace(old, new, 1))
    except (YAMLError, OverflowError):
        return  # an editor says so without a schema
    assert accepts(SCHEMA, value) == (name in MEANING)


@given(st.data())
def test_what_loads_fits(good: str, data: st.DataObject) -> None:
    text = data.draw(reordered(good))
    try:
        parse_policy(text, "p.yaml")
    except PolicyError:
        return
    assert accepts(SCHEMA, read(text))
