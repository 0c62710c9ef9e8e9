"""
The JSON Schema of policy files, for editors that complete and check while one writes.

It is made from the same type hints as the reader's sections, so that it cannot fall behind. It
knows shapes, words and units; what values must mean to each other only `check` knows. To an
editor `123` and `true` are no text: a name that looks like that needs quotes there.
"""

from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from bot.core.policy import Below, Metric
from bot.core.units import Money
from bot.policy.checks import bound_of
from bot.policy.document import (
    Absent,
    Cell,
    PolicySection,
    RuleSection,
    StepSection,
    fields_of,
    key_of,
)
from bot.policy.values import (
    ANY_AMOUNT,
    ANY_LEVEL,
    KINDS,
    Kind,
    Level,
    Symbol,
    Symbols,
    level_of,
)
from bot.policy.verbs import BoundVerb, Verb, find_verbs

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The newest one that the YAML plugins of editors know."""

Schema = dict[str, Any]


def policy_schema() -> Schema:
    """The schema of a whole policy file."""
    return {
        "$schema": DIALECT,
        "title": "liqguard policy",
        **_section(PolicySection),
    }


def _section(kind: type) -> Schema:
    fields = fields_of(kind)
    schema: Schema = {
        "description": (kind.__doc__ or "").strip().split("\n", maxsplit=1)[0],
        **_mapping(
            {key_of(name): _field(hint) for name, hint in fields.items()},
            [
                key_of(name)
                for name, hint in fields.items()
                if Absent not in get_args(hint) and hint != Cell[BoundVerb]
            ],
        ),
    }
    if kind is StepSection:
        schema["allOf"] = [_parameters(verb) for verb in find_verbs().values()]
    if kind is RuleSection:
        schema["allOf"] = [_thresholds(metric) for metric in Metric]
    return schema


def _mapping(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": required,
        "additionalProperties": False,
    }


def _field(hint: Any) -> Schema:
    if Absent in get_args(hint):
        return _field(get_args(hint)[0])
    if get_origin(hint) is not Cell:
        return _section(hint)
    (inner,) = get_args(hint)
    if get_origin(inner) is tuple:
        return {"type": "array", "items": _section(get_args(inner)[0])}
    if get_origin(inner) is Mapping:
        key, value = get_args(inner)
        return {
            "type": "object",
            "propertyNames": _value(key),
            "additionalProperties": _value(value),
        }
    if inner == BoundVerb:
        return {"description": "The parameters of the verb.", "type": "object"}
    if inner == Symbols:
        several = {"type": "array", "items": _value(Symbol), "minItems": 1}
        return {"description": KINDS[Symbols].expected, "anyOf": [KINDS[Symbols].schema, several]}
    return _value(inner)


def _value(hint: Any) -> Schema:
    kinds: Mapping[object, Kind[Any]] = {**KINDS, Level: ANY_LEVEL, Money: ANY_AMOUNT}
    kind = kinds[hint]
    return {"description": kind.expected, **kind.schema}


def _parameters(verb: Verb) -> Schema:
    """What `with` must hold where `do` names the verb."""
    ways = [
        _mapping({name: _value(hint) for name, hint in hints.items()}, list(hints))
        for hints in map(get_type_hints, verb.params)
    ]
    with_ = ways[0] if len(ways) == 1 else {"anyOf": ways}
    needs_with = any(way["required"] for way in ways)
    required = ["with"] * needs_with + ["cooldown"] * verb.may_repeat
    return _where("do", verb.name, {"properties": {"with": with_}, "required": required})


def _thresholds(metric: Metric) -> Schema:
    """Which threshold the steps must have where `watch` names the metric."""
    wanted, other = ("below", "above") if bound_of(metric) is Below else ("above", "below")
    level = level_of(metric).schema
    step = {"properties": {wanted: level, other: False}, "required": [wanted]}
    rule: Schema = {"properties": {"hysteresis": level, "ladder": {"items": step}}}
    if metric.needs_bars:
        rule["required"] = ["unknown_after"]
    else:
        rule["properties"]["unknown_after"] = False
    return _where("watch", metric.value, rule)


def _where(key: str, word: str, then: Schema) -> Schema:
    return {"if": {"properties": {key: {"const": word}}, "required": [key]}, "then": then}
