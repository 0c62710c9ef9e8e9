"""
Canonical JSON of the core's frozen values: one text a value, and exactly that value back.

A text depends on nothing but the value: keys and sets are sorted, a Decimal is its `str`, there
are no spaces and nothing but ASCII. A member of a union carries its class name under "type"; a
mapping whose keys are not text becomes sorted pairs. A field declared with
`metadata={"journal": False}` stays out and comes back as its default. Mappings and sets come
back equal, but in sorted order: whoever needs another order must not take it from them.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from json import JSONDecoder, JSONEncoder
from types import GenericAlias, UnionType
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, overload

from cattrs import BaseValidationError, Converter, transform_error
from cattrs.cols import homogenous_tuple_structure_factory, mapping_structure_factory
from cattrs.fns import identity
from cattrs.gen import (
    make_dict_structure_fn,
    make_dict_unstructure_fn,
    make_hetero_tuple_structure_fn,
    override,
)

from bot.journal.port import JournalDamaged

T = TypeVar("T")
_Encode = Callable[[Any], Any]
_Decode = Callable[[Any, Any], Any]

_TAG = "type"


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
    return _ENCODER.encode(_CONVERTER.unstructure(value, unstructure_as=type_))


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"expected a whole number or a decimal in quotes, was {text}")


def _not_carried(type_: Any) -> NoReturn:
    raise TypeError(f"journal: expected frozen dataclasses of exact types, was {type_}")


_ENCODER = JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_DECODER = JSONDecoder(parse_float=_no_float, parse_constant=_no_float)
_CONVERTER = Converter(unstructure_fallback_factory=_not_carried)


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


def _is_frozen(type_: Any) -> bool:
    return is_dataclass(get_origin(type_) or type_)


def _omitted(cls: Any) -> dict[str, Any]:
    return {
        field.name: override(omit=True)
        for field in fields(get_origin(cls) or cls)
        if not field.init or not field.metadata.get("journal", True)
    }


def _dataclass_encoder(cls: Any) -> _Encode:
    return make_dict_unstructure_fn(cls, _CONVERTER, **_omitted(cls))


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


def _is_union(type_: Any) -> bool:
    return get_origin(type_) in (UnionType, Union)


def _members(union: Any) -> dict[str, Any]:
    """The member types of a union by their tags."""
    classes = [(get_origin(member) or member, member) for member in get_args(union)]
    members = {cls.__name__: member for cls, member in classes}
    if len(members) < len(classes) or not all(
        is_dataclass(cls) and _TAG not in (field.name for field in fields(cls))
        for cls, _ in classes
    ):
        _not_carried(union)
    return members


def _union_encoder(union: Any) -> _Encode:
    encoders = {
        get_origin(member) or member: (tag, _CONVERTER.get_unstructure_hook(member))
        for tag, member in _members(union).items()
    }

    def encode(value: Any) -> Any:
        tag, encode_member = encoders[type(value)]
        encoded = encode_member(value)
        encoded[_TAG] = tag
        return encoded

    return encode


def _union_decoder(union: Any) -> _Decode:
    members = _members(union)
    decoders = {tag: _CONVERTER.get_structure_hook(member) for tag, member in members.items()}

    def decode(value: Any, _: Any) -> Any:
        tag = _plain(value, dict).get(_TAG)
        if type(tag) is not str or tag not in decoders:
            raise ValueError(f"expected the type {' or '.join(decoders)}, was {tag!r}")
        rest = {key: item for key, item in value.items() if key != _TAG}
        return decoders[tag](rest, members[tag])

    return decode


def _is_tuple(type_: Any) -> bool:
    return get_origin(type_) is tuple


def _tuple_decoder(type_: Any) -> _Decode:
    of_one_type = get_args(type_)[-1] is Ellipsis
    make = homogenous_tuple_structure_factory if of_one_type else make_hetero_tuple_structure_fn
    build = make(type_, _CONVERTER)

    def decode(value: Any, _: Any) -> Any:
        return build(_plain(value, list), type_)

    return decode


def _is_frozenset(type_: Any) -> bool:
    return get_origin(type_) is frozenset


def _frozenset_encoder(type_: Any) -> _Encode:
    encode_item = _CONVERTER.get_unstructure_hook(get_args(type_)[0])
    return lambda value: sorted(map(encode_item, value), key=_ENCODER.encode)


def _frozenset_decoder(type_: Any) -> _Decode:
    as_tuple = GenericAlias(tuple, (get_args(type_)[0], ...))
    decode_items = _CONVERTER.get_structure_hook(as_tuple)
    return lambda value, _: frozenset(decode_items(value, as_tuple))


def _is_mapping(type_: Any) -> bool:
    return get_origin(type_) in (Mapping, dict)


def _has_text_keys(key_type: Any) -> bool:
    plain = getattr(key_type, "__supertype__", key_type)
    return isinstance(plain, type) and issubclass(plain, str)


def _mapping_encoder(type_: Any) -> _Encode:
    key_type, value_type = get_args(type_)
    encode_key = _CONVERTER.get_unstructure_hook(key_type)
    encode_value = _CONVERTER.get_unstructure_hook(value_type)
    if _has_text_keys(key_type):
        return lambda value: {encode_key(key): encode_value(value[key]) for key in value}
    return lambda value: sorted(
        ([encode_key(key), encode_value(item)] for key, item in value.items()),
        key=lambda pair: _ENCODER.encode(pair[0]),
    )


def _mapping_decoder(type_: Any) -> _Decode:
    key_type, value_type = get_args(type_)
    if _has_text_keys(key_type):
        build = mapping_structure_factory(type_, _CONVERTER, dict)
        return lambda value, _: build(_plain(value, dict), type_)
    as_pairs = GenericAlias(tuple, (GenericAlias(tuple, (key_type, value_type)), ...))
    decode_pairs = _CONVERTER.get_structure_hook(as_pairs)
    return lambda value, _: dict(decode_pairs(value, as_pairs))


for _type in (str, int, bool, Enum):
    _CONVERTER.register_structure_hook(_type, _plain)
for _type in (int, bool):
    _CONVERTER.register_unstructure_hook(_type, identity)
_CONVERTER.register_unstructure_hook(Decimal, str)
_CONVERTER.register_structure_hook(Decimal, _decimal)
_CONVERTER.register_structure_hook_factory(_is_tuple, _tuple_decoder)
for _fits, _encoder, _decoder in (
    (_is_frozen, _dataclass_encoder, _dataclass_decoder),
    (_is_union, _union_encoder, _union_decoder),
    (_is_frozenset, _frozenset_encoder, _frozenset_decoder),
    (_is_mapping, _mapping_encoder, _mapping_decoder),
):
    _CONVERTER.register_unstructure_hook_factory(_fits, _encoder)
    _CONVERTER.register_structure_hook_factory(_fits, _decoder)
