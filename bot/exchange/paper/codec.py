"""
Dataclasses to plain JSON values and back, exactly: decimals travel as strings.

Reading is strict. Whatever does not fit the type raises `ValueError` with where it is, what was
expected and what was found.
"""

from dataclasses import fields, is_dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from types import UnionType
from typing import Any, NewType, TypeAlias, get_args, get_origin, get_type_hints

Plain: TypeAlias = str | int | bool | list["Plain"] | dict[str, "Plain"]


def encode(value: Any) -> Plain:
    """`value` as what `json.dumps` understands. Order is kept, so equal values give equal text."""
    match value:
        case bool() | int() | str():
            return value
        case Decimal():
            return str(value)
        case list() | tuple():
            return [encode(each) for each in value]
        case dict():
            return {key: encode(each) for key, each in value.items()}
        case _:
            return {each.name: encode(getattr(value, each.name)) for each in fields(value)}


def decode(kind: Any, plain: Any, where: str) -> Any:
    """The value of type `kind` that `encode` made `plain` of. `where` names it in errors."""
    if isinstance(kind, NewType):
        return decode(kind.__supertype__, plain, where)
    origin = get_origin(kind)
    if origin in (list, tuple):
        rows = _typed(list, plain, where)
        element = get_args(kind)[0]
        return origin(decode(element, row, f"{where}[{at}]") for at, row in enumerate(rows))
    if origin is dict:
        element = get_args(kind)[1]
        members = _typed(dict, plain, where)
        return {key: decode(element, row, f"{where}.{key}") for key, row in members.items()}
    if origin is UnionType:
        return _decode_fields(_fitting(get_args(kind), plain, where), plain, where)
    if is_dataclass(kind):
        return _decode_fields(kind, _typed(dict, plain, where), where)
    if kind is Decimal:
        return _decimal(_typed(str, plain, where), where)
    if issubclass(kind, StrEnum):
        return _member(kind, _typed(str, plain, where), where)
    return _typed(kind, plain, where)


def _decode_fields(kind: Any, plain: dict[str, Any], where: str) -> Any:
    types = get_type_hints(kind)
    if plain.keys() != types.keys():
        raise ValueError(f"{where}: expected {', '.join(types)}, was {', '.join(plain)}")
    return kind(**{name: decode(types[name], plain[name], f"{where}.{name}") for name in types})


def _fitting(kinds: tuple[Any, ...], plain: Any, where: str) -> Any:
    """The member of a union of dataclasses that has just these fields; no two may share them."""
    names = _typed(dict, plain, where).keys()
    for kind in kinds:
        if get_type_hints(kind).keys() == names:
            return kind
    choices = ", ".join(kind.__name__ for kind in kinds)
    raise ValueError(f"{where}: expected the fields of one of {choices}, was {', '.join(names)}")


def _typed(kind: type, plain: Any, where: str) -> Any:
    if type(plain) is not kind:
        raise ValueError(f"{where}: expected {kind.__name__}, was {plain!r}")
    return plain


def _member(kind: type[StrEnum], plain: str, where: str) -> StrEnum:
    try:
        return kind(plain)
    except ValueError as e:
        raise ValueError(f"{where}: expected one of {', '.join(kind)}, was {plain!r}") from e


def _decimal(plain: str, where: str) -> Decimal:
    try:
        value = Decimal(plain)
    except InvalidOperation as e:
        raise ValueError(f"{where}: expected a number, was {plain!r}") from e
    if value.is_nan():
        raise ValueError(f"{where}: expected a number, was {plain!r}")
    return value
