"""
The part of JSON Schema (draft 07) that the policy's schema uses, written from the specification.

A keyword that is not here is an error of the schema, so nothing in it goes unheeded.
"""

import re
from collections.abc import Callable
from typing import Any

Check = Callable[[Any, Any, dict[str, Any]], bool]

TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
}


def accepts(schema: Any, value: Any) -> bool:
    """Whether `value` is valid against `schema`."""
    if isinstance(schema, bool):
        return schema
    return all(CHECKS[keyword](schema[keyword], value, schema) for keyword in schema)


def _is(name: str, value: Any) -> bool:
    return isinstance(value, TYPES[name]) and not isinstance(value, bool)


def _type(names: str | list[str], value: Any, _: dict[str, Any]) -> bool:
    return any(_is(name, value) for name in ([names] if isinstance(names, str) else names))


def _enum(choices: list[Any], value: Any, _: dict[str, Any]) -> bool:
    return value in choices


def _const(choice: Any, value: Any, _: dict[str, Any]) -> bool:
    return bool(value == choice)


def _pattern(pattern: str, value: Any, _: dict[str, Any]) -> bool:
    return not isinstance(value, str) or re.search(pattern, value) is not None


def _minimum(limit: int, value: Any, _: dict[str, Any]) -> bool:
    return not _is("integer", value) or value >= limit


def _maximum(limit: int, value: Any, _: dict[str, Any]) -> bool:
    return not _is("integer", value) or value <= limit


def _properties(parts: dict[str, Any], value: Any, _: dict[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    return all(accepts(parts[key], value[key]) for key in parts if key in value)


def _required(keys: list[str], value: Any, _: dict[str, Any]) -> bool:
    return not isinstance(value, dict) or all(key in value for key in keys)


def _additional(rest: Any, value: Any, schema: dict[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    known = schema.get("properties", {})
    return all(accepts(rest, value[key]) for key in value if key not in known)


def _names(names: Any, value: Any, _: dict[str, Any]) -> bool:
    return not isinstance(value, dict) or all(accepts(names, key) for key in value)


def _items(items: Any, value: Any, _: dict[str, Any]) -> bool:
    return not isinstance(value, list) or all(accepts(items, item) for item in value)


def _min_items(least: int, value: Any, _: dict[str, Any]) -> bool:
    return not isinstance(value, list) or len(value) >= least


def _any_of(parts: list[Any], value: Any, _: dict[str, Any]) -> bool:
    return any(accepts(part, value) for part in parts)


def _all_of(parts: list[Any], value: Any, _: dict[str, Any]) -> bool:
    return all(accepts(part, value) for part in parts)


def _not(part: Any, value: Any, _: dict[str, Any]) -> bool:
    return not accepts(part, value)


def _if(part: Any, value: Any, schema: dict[str, Any]) -> bool:
    return not accepts(part, value) or accepts(schema["then"], value)


def _says_nothing(_: Any, __: Any, ___: dict[str, Any]) -> bool:
    return True


CHECKS: dict[str, Check] = {
    "$schema": _says_nothing,
    "title": _says_nothing,
    "description": _says_nothing,
    "type": _type,
    "enum": _enum,
    "const": _const,
    "pattern": _pattern,
    "minimum": _minimum,
    "maximum": _maximum,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "items": _items,
    "minItems": _min_items,
    "anyOf": _any_of,
    "allOf": _all_of,
    "not": _not,
    "if": _if,
    "then": _says_nothing,  # `if` asks it
}


def is_schema(schema: Any) -> bool:
    """Whether `schema` is one, as the meta-schema of draft 07 has it for these keywords."""
    if isinstance(schema, bool):
        return True
    return isinstance(schema, dict) and all(SHAPES[keyword](schema[keyword]) for keyword in schema)


SHAPES: dict[str, Callable[[Any], bool]] = {
    "$schema": lambda value: value == "http://json-schema.org/draft-07/schema#",
    "title": lambda value: isinstance(value, str),
    "description": lambda value: isinstance(value, str) and bool(value),
    "type": lambda value: set([value] if isinstance(value, str) else value) <= TYPES.keys(),
    "enum": lambda value: isinstance(value, list) and len(value) > 0,
    "const": lambda value: isinstance(value, str),
    "pattern": lambda value: bool(re.compile(value)) and value[0] == "^" and value[-1] == "$",
    "minimum": lambda value: isinstance(value, int),
    "maximum": lambda value: isinstance(value, int),
    "properties": lambda value: all(is_schema(part) for part in value.values()),
    "required": lambda value: isinstance(value, list) and len(set(value)) == len(value),
    "additionalProperties": is_schema,
    "propertyNames": is_schema,
    "items": is_schema,
    "minItems": lambda value: isinstance(value, int),
    "anyOf": lambda value: len(value) > 0 and all(map(is_schema, value)),
    "allOf": lambda value: len(value) > 0 and all(map(is_schema, value)),
    "not": is_schema,
    "if": is_schema,
    "then": is_schema,
}
