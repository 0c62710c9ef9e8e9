"""
The canonical text of a frozen value, written from its type: see `bot.journal.codec`.

For every type a writer is made once. A decision row carries the whole state before it, and most of
that is the same as in the row before: of a tuple, of a mapping and of what stands in them the text
is kept for as long as it is the same object.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from json.encoder import encode_basestring_ascii
from operator import attrgetter, itemgetter
from types import UnionType
from typing import Any, NoReturn, TypeAlias, Union, get_args, get_origin, get_type_hints

from bot.core.kept import kept

TAG = "type"
"""The key under which a member of a union carries its class name."""

ITEMS_KEPT, WHOLES_KEPT = 1_024, 128
"""Of each type of item, and of tuple and mapping; then all of their texts are forgotten."""

Writer: TypeAlias = Callable[[Any], str]


@cache
def writer_of(type_: Any) -> Writer:
    """What writes a value of `type_`; TypeError if the type cannot be carried."""
    plain = getattr(type_, "__supertype__", type_)
    if plain is not type_:
        return writer_of(plain)
    if is_frozen(type_):
        return _of_fields(type_, "")
    if is_union(type_):
        return _of_union(type_)
    if is_tuple(type_):
        return _of_tuple(type_)
    if is_frozenset(type_):
        write = writer_of(get_args(type_)[0])
        return lambda value: f"[{','.join(sorted(map(write, value)))}]"
    if is_mapping(type_):
        return _of_mapping(type_)
    if isinstance(type_, type) and issubclass(type_, Enum):
        return {each: _of_value(each.value) for each in type_}.__getitem__
    return _PLAIN.get(type_) or not_carried(type_)


def is_frozen(type_: Any) -> bool:
    """Whether it is a dataclass, with or without arguments."""
    return is_dataclass(get_origin(type_) or type_)


def is_union(type_: Any) -> bool:
    """Whether it is a union."""
    return get_origin(type_) in (UnionType, Union)


def is_tuple(type_: Any) -> bool:
    """Whether it is a tuple with its types."""
    return get_origin(type_) is tuple


def is_frozenset(type_: Any) -> bool:
    """Whether it is a frozenset with its type."""
    return get_origin(type_) is frozenset


def is_mapping(type_: Any) -> bool:
    """Whether it is a mapping with its types."""
    return get_origin(type_) in (Mapping, dict)


def has_text_keys(key_type: Any) -> bool:
    """Whether a mapping with such keys is an object in JSON."""
    plain = getattr(key_type, "__supertype__", key_type)
    return isinstance(plain, type) and issubclass(plain, str)


def is_journalled(field: Field[Any]) -> bool:
    """Whether a field is written, and read back."""
    return field.init and field.metadata.get("journal", True)


def members_of(union: Any) -> dict[str, Any]:
    """The member types of a union by their tags."""
    classes = [(get_origin(member) or member, member) for member in get_args(union)]
    members = {cls.__name__: member for cls, member in classes}
    if len(members) < len(classes) or not all(
        is_dataclass(cls) and TAG not in (field.name for field in fields(cls))
        for cls, _ in classes
    ):
        not_carried(union)
    return members


def not_carried(type_: Any) -> NoReturn:
    """Raise for a type that the journal cannot carry."""
    raise TypeError(f"journal: expected frozen dataclasses of exact types, was {type_}")


def _of_value(value: Any) -> str:
    """Of a member of an enumeration: text or a whole number."""
    return encode_basestring_ascii(value) if isinstance(value, str) else int.__repr__(value)


_PLAIN: dict[Any, Writer] = {
    Decimal: lambda value: f'"{value}"',
    str: encode_basestring_ascii,
    int: int.__repr__,
    bool: lambda value: "true" if value else "false",
}


def _of_fields(type_: Any, tag: str) -> Writer:
    """Of a dataclass, by the names of its fields; with `tag`, as the member of a union."""
    cls = get_origin(type_) or type_
    hints = get_type_hints(cls)
    arguments = dict(zip(getattr(cls, "__parameters__", ()), get_args(type_), strict=True))
    types = {
        each.name: arguments.get(hints[each.name], hints[each.name])
        for each in fields(cls)
        if is_journalled(each)
    }
    names = sorted([*types, TAG] if tag else types)
    parts: list[tuple[str, Callable[[Any], Any], Writer]] = []
    text = "{"
    for name in names:
        text += f'"{name}":'
        if name == TAG and tag:
            text += f'"{tag}",'
        else:
            parts.append((text, attrgetter(name), writer_of(types[name])))
            text = ","
    end = f"{text.removesuffix(',')}}}"

    def write(value: Any) -> str:
        written = [before + write_part(get(value)) for before, get, write_part in parts]
        written.append(end)
        return "".join(written)

    return write


def _of_union(union: Any) -> Writer:
    writers = {
        get_origin(member) or member: _of_fields(member, tag)
        for tag, member in members_of(union).items()
    }
    return lambda value: writers[type(value)](value)


def _of_tuple(type_: Any) -> Writer:
    types = get_args(type_)
    if types[-1] is Ellipsis:
        write = _of_item(types[0])
        return _of_whole(lambda value: f"[{','.join(map(write, value))}]", "[]")
    writers = [writer_of(each) for each in types]
    return lambda value: f"[{','.join(w(item) for w, item in zip(writers, value, strict=True))}]"


def _of_mapping(type_: Any) -> Writer:
    key_type, value_type = get_args(type_)
    write_key, write_value = writer_of(key_type), _of_item(value_type)
    if has_text_keys(key_type):

        def write(value: Any) -> str:
            items = sorted(value.items(), key=itemgetter(0))
            return (
                f"{{{','.join(f'{write_key(key)}:{write_value(item)}' for key, item in items)}}}"
            )

        return _of_whole(write, "{}")

    def write_pairs(value: Any) -> str:
        pairs = [(write_key(key), item) for key, item in value.items()]
        pairs.sort(key=itemgetter(0))
        return f"[{','.join(f'[{key},{write_value(item)}]' for key, item in pairs)}]"

    return _of_whole(write_pairs, "[]")


def _of_whole(write: Writer, empty: str) -> Writer:
    """Of a tuple or a mapping, of which most are in the next row as well."""
    write_kept = kept(most=WHOLES_KEPT)(write)
    return lambda value: write_kept(value) if value else empty


def _of_item(type_: Any) -> Writer:
    """Of what stands in a tuple or a mapping, and stays there from row to row."""
    write = writer_of(type_)
    return kept(most=ITEMS_KEPT)(write) if is_frozen(type_) or is_union(type_) else write
