"""
Canonical JSON of the core's frozen values: one text a value, and exactly that value back.

A text depends on nothing but the value: keys and sets are sorted, a Decimal is its `str`, there
are no spaces and nothing but ASCII. A member of a union carries its class name under "type"; a
mapping whose keys are not text becomes sorted pairs. A field declared with
`metadata={"journal": False}` stays out and comes back as its default. Mappings and sets come
back equal, but in sorted order: whoever needs another order must not take it from them.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from decimal import Decimal, InvalidOperation
from enum import Enum
from json import JSONDecoder
from types import GenericAlias, UnionType
from typing import Any, NoReturn, TypeVar, get_args, get_origin, overload

from cattrs import BaseValidationError, Converter, transform_error
from cattrs.cols import homogenous_tuple_structure_factory, mapping_structure_factory
from cattrs.gen import make_dict_structure_fn, make_hetero_tuple_structure_fn, override

from bot.journal.canon import (
    TAG,
    has_text_keys,
    is_frozen,
    is_frozenset,
    is_journalled,
    is_mapping,
    is_tuple,
    is_union,
    members_of,
    writer_of,
)
from bot.journal.port import JournalDamaged

T = TypeVar("T")
_Decode = Callable[[Any, Any], Any]


@overload
def from_json(text: str, type_: type[T]) -> T: ...
@overload
def from_json(text: str, type_: UnionType) -> Any: ...
def from_json(text: str, type_: Any) -> Any:
    """The value of `type_` that `text` was made of; raises `JournalDamaged`, with the path."""
    try:
        return _CONVERTER.structure(_DECODER.decode(text), type_)
    except (BaseValidationError, ValueError) as error:
        why = transform_error(error, format_exception=lambda cause, _: str(cause))
        raise JournalDamaged(f"journal: {why[0]}") from error


def to_json(value: object, type_: Any) -> str:
    """The canonical text of `value` as a `type_`; TypeError if the type cannot be carried."""
    return writer_of(type_)(value)


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"expected a whole number or a decimal in quotes, was {text}")


_DECODER = JSONDecoder(parse_float=_no_float, parse_constant=_no_float)
_CONVERTER = Converter()


def _plain(value: Any, type_: Any) -> Any:
    """`value` as it is, or the member of an enumeration: cattrs takes a StrEnum for a str."""
    if issubclass(type_, Enum):
        if type(value) not in (str, int):
            raise ValueError(f"expected a {type_.__name__}, was {value!r}")
        return type_(value)
    if type(value) is not type_:
        raise ValueError(f"expected {type_.__name__}, was {value!r}")
    return value


def _decimal(value: Any, _: Any) -> Decimal:
    with suppress(InvalidOperation):
        if type(value) is str and str(number := Decimal(value)) == value:
            return number
    raise ValueError(f"expected a decimal in quotes, was {value!r}")


def _omitted(cls: Any) -> dict[str, Any]:
    return {
        field.name: override(omit=True)
        for field in fields(get_origin(cls) or cls)
        if not is_journalled(field)
    }


def _dataclass_decoder(cls: Any) -> _Decode:
    omitted = _omitted(cls)
    names = {field.name for field in fields(get_origin(cls) or cls)} - omitted.keys()
    build = make_dict_structure_fn(cls, _CONVERTER, **omitted)

    def decode(value: Any, _: Any) -> Any:
        # cattrs would take a missing key's default, which is not what was written.
        if type(value) is not dict or value.keys() != names:
            was = sorted(value) if type(value) is dict else value
            raise ValueError(f"expected the keys {sorted(names)}, was {was!r}")
        return build(value, cls)

    return decode


def _union_decoder(union: Any) -> _Decode:
    members = members_of(union)
    decoders = {tag: _CONVERTER.get_structure_hook(member) for tag, member in members.items()}

    def decode(value: Any, _: Any) -> Any:
        tag = _plain(value, dict).get(TAG)
        if type(tag) is not str or tag not in decoders:
            raise ValueError(f"expected the type {' or '.join(decoders)}, was {tag!r}")
        rest = {key: item for key, item in value.items() if key != TAG}
        return decoders[tag](rest, members[tag])

    return decode


def _tuple_decoder(type_: Any) -> _Decode:
    of_one_type = get_args(type_)[-1] is Ellipsis
    make = homogenous_tuple_structure_factory if of_one_type else make_hetero_tuple_structure_fn
    build = make(type_, _CONVERTER)

    def decode(value: Any, _: Any) -> Any:
        return build(_plain(value, list), type_)

    return decode


def _frozenset_decoder(type_: Any) -> _Decode:
    as_tuple = GenericAlias(tuple, (get_args(type_)[0], ...))
    decode_items = _CONVERTER.get_structure_hook(as_tuple)
    return lambda value, _: frozenset(decode_items(value, as_tuple))


def _mapping_decoder(type_: Any) -> _Decode:
    key_type, value_type = get_args(type_)
    if has_text_keys(key_type):
        build = mapping_structure_factory(type_, _CONVERTER, dict)
        return lambda value, _: build(_plain(value, dict), type_)
    as_pairs = GenericAlias(tuple, (GenericAlias(tuple, (key_type, value_type)), ...))
    decode_pairs = _CONVERTER.get_structure_hook(as_pairs)
    return lambda value, _: dict(decode_pairs(value, as_pairs))


for _type in (str, int, bool, Enum):
    _CONVERTER.register_structure_hook(_type, _plain)
_CONVERTER.register_structure_hook(Decimal, _decimal)
for _fits, _decoder in (
    (is_tuple, _tuple_decoder),
    (is_frozen, _dataclass_decoder),
    (is_union, _union_decoder),
    (is_frozenset, _frozenset_decoder),
    (is_mapping, _mapping_decoder),
):
    _CONVERTER.register_structure_hook_factory(_fits, _decoder)
