"""Reads the tree of a file into the sections of `document`, guided by their type hints."""

from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from bot.core.policy import Metric
from bot.core.units import Money
from bot.policy.document import Absent, Cell, Unread, fields_of, key_of
from bot.policy.problems import Report, did_you_mean, listed, shown
from bot.policy.tree import ListNode, LostNode, MapNode, Node, TextNode, describe
from bot.policy.values import (
    ANY_AMOUNT,
    ANY_LEVEL,
    Coin,
    Kind,
    Level,
    Symbol,
    Symbols,
    Unfit,
    amount_in,
    level_of,
)
from bot.policy.verbs import BoundVerb, Verb

T = TypeVar("T")

Keyed: TypeAlias = MapNode | LostNode


def bind_section(
    section: type[T], root: Node, report: Report, kinds: Mapping[object, Kind[Any]]
) -> T:
    """The file as a `section` whose values are of `kinds`; what does not fit is reported."""
    bound: T = _Binder(report, kinds).section(section, root)
    return bound


class _Binder:
    def __init__(self, report: Report, kinds: Mapping[object, Kind[Any]]) -> None:
        self._report = report
        self._kinds = dict(kinds)

    def section(self, kind: type, node: Node) -> Any:
        """One section, always complete: what could not be read is `Unread` in its cell."""
        hints = fields_of(kind)
        mapping = self._mapping(node, [key_of(name) for name in hints])
        bound: dict[str, Any] = {}
        for name, hint in hints.items():
            if hint == Cell[BoundVerb]:
                bound[name] = self._bound_verb(bound["do"], mapping, key_of(name))
            else:
                bound[name] = self._field(hint, mapping, key_of(name))
            if hint == Cell[Metric]:
                watched = bound[name].content
                known = isinstance(watched, Metric)
                self._kinds[Level] = level_of(watched) if known else ANY_LEVEL
            if hint == Cell[Coin] | Absent and isinstance(bound[name], Cell):
                coin = bound[name].content
                self._kinds[Money] = ANY_AMOUNT if isinstance(coin, Unread) else amount_in(coin)
        return kind(at=node.at, **bound)

    def _mapping(self, node: Node, *ways: list[str]) -> Keyed:
        """A mapping with no keys but those of `ways`, the sets of keys that may stand in it."""
        keys = [key for way in ways for key in way]
        match node:
            case MapNode(entries=entries):
                for key in [key for key in entries if key not in keys]:
                    known = did_you_mean(key, keys) or f"one of {listed(keys)}"
                    expected = f"a known key ({known})" if keys else "no key"
                    self._report.add(entries[key].key_at, expected, f"'{shown(key)}'")
                return node
            case LostNode():
                return node
            case TextNode() | ListNode():
                self._report.add(node.at, _mapping_of(*ways), describe(node))
                return LostNode(node.at)

    def _field(self, hint: Any, mapping: Keyed, key: str) -> Any:
        if Absent not in get_args(hint):
            return self._read(hint, self._child(mapping, key, self._expected(hint)))
        if isinstance(mapping, MapNode) and key not in mapping.entries:
            return Absent()
        return self._read(get_args(hint)[0], self._child(mapping, key, ""))

    def _child(self, mapping: Keyed, key: str, expected: str) -> Node:
        lost = LostNode(mapping.at.child(key))
        if isinstance(mapping, LostNode):
            return lost
        if key in mapping.entries:
            return mapping.entries[key].node
        self._report.add(lost.at, expected, "missing")
        return lost

    def _read(self, hint: Any, node: Node) -> Any:
        if get_origin(hint) is not Cell:
            return self.section(hint, node)
        (inner,) = get_args(hint)
        if get_origin(inner) is tuple:
            return Cell(node, self._items(get_args(inner)[0], node))
        if get_origin(inner) is Mapping:
            return Cell(node, self._table(inner, node))
        if inner == Symbols and isinstance(node, ListNode):
            return Cell(node, self._symbols(node))
        return Cell(node, self._value(inner, node))

    def _items(self, kind: type, node: Node) -> tuple[Any, ...] | Unread:
        """A list of sections, or of values."""
        match node:
            case ListNode(items=items) if kind in self._kinds:
                values = tuple(self._value(kind, item) for item in items)
                return Unread() if any(isinstance(each, Unread) for each in values) else values
            case ListNode(items=items):
                return tuple(self.section(kind, item) for item in items)
            case LostNode():
                return Unread()
            case TextNode() | MapNode():
                self._report.add(node.at, "a list", describe(node))
                return Unread()

    def _table(self, hint: Any, node: Node) -> Mapping[Any, Any] | Unread:
        """A mapping whose keys are values too."""
        key_kind, kind = get_args(hint)
        match node:
            case MapNode(entries=entries):
                pairs = [
                    (
                        self._value(key_kind, TextNode(entry.key_at, key)),
                        self._value(kind, entry.node),
                    )
                    for key, entry in entries.items()
                ]
                lost = any(isinstance(side, Unread) for pair in pairs for side in pair)
                return Unread() if lost else dict(pairs)
            case LostNode():
                pass
            case TextNode() | ListNode():
                self._report.add(node.at, self._table_of(hint), describe(node))
        return Unread()

    def _symbols(self, node: ListNode) -> frozenset[str] | Unread:
        if not node.items:
            self._report.add(node.at, self._kinds[Symbols].expected, describe(node))
            return Unread()
        symbols = [self._value(Symbol, item) for item in node.items]
        return Unread() if any(isinstance(s, Unread) for s in symbols) else frozenset(symbols)

    def _value(self, hint: Any, node: Node) -> Any:
        kind = self._kinds[hint]
        match node:
            case TextNode(text=text):
                try:
                    return kind.parse(text)
                except Unfit as unfit:
                    expected = f"{kind.expected} ({unfit})" if str(unfit) else kind.expected
                    was = "a text that is not shown" if kind.is_confidential else describe(node)
                    self._report.add(node.at, expected, was)
            case MapNode() | ListNode():
                self._report.add(node.at, kind.expected, describe(node))
            case LostNode():
                pass
        return Unread()

    def _bound_verb(self, do: Cell[Verb], mapping: Keyed, key: str) -> Cell[BoundVerb]:
        """Exactly the parameters of the verb; a verb without any needs no `with`."""
        given = isinstance(mapping, MapNode) and key in mapping.entries
        no_keys = MapNode(mapping.at.child(key), {})
        node = self._child(mapping, key, "") if given else no_keys
        try:
            verb = do.value
            with_ = self._mapping(node, *(list(get_type_hints(way)) for way in verb.params))
            way = self._way(verb, with_)
            hints = get_type_hints(way)
            cells = {name: self._parameter(hint, with_, name) for name, hint in hints.items()}
            params = way(**{name: cell.value for name, cell in cells.items()})
            return Cell(node, BoundVerb(verb, params))
        except Unread:
            return Cell(node, Unread())

    def _way(self, verb: Verb, with_: Keyed) -> type:
        """The parameters that the keys given belong to; `Unread` if to none or to several."""
        if len(verb.params) == 1:
            return verb.params[0]
        if isinstance(with_, LostNode):
            raise Unread
        known = {
            way: [key for key in get_type_hints(way) if key in with_.entries]
            for way in verb.params
        }
        meant = [way for way, keys in known.items() if keys]
        if len(meant) == 1:
            return meant[0]
        if meant or not with_.entries:  # else every key is unknown, which is reported
            expected = _mapping_of(*(list(get_type_hints(way)) for way in verb.params))
            given = [key for keys in known.values() for key in keys]
            self._report.add(with_.at, expected, _mapping_of(given) if given else "missing")
        raise Unread

    def _parameter(self, hint: Any, with_: Keyed, name: str) -> Cell[Any]:
        node = self._child(with_, name, self._kinds[hint].expected)
        return Cell(node, self._value(hint, node))

    def _expected(self, hint: Any) -> str:
        """What a required key should hold, for the message that it is missing."""
        if get_origin(hint) is not Cell:
            return _mapping_of([key_of(name) for name in fields_of(hint)])
        (inner,) = get_args(hint)
        if get_origin(inner) is tuple:
            return "a list"
        return (
            self._table_of(inner) if get_origin(inner) is Mapping else self._kinds[inner].expected
        )

    def _table_of(self, hint: Any) -> str:
        key_kind, kind = get_args(hint)
        keys, values = self._kinds[key_kind].expected, self._kinds[kind].expected
        return f"a mapping from {keys} to {values}"


def _mapping_of(*ways: list[str]) -> str:
    return " or ".join(
        f"a mapping of {', '.join(keys)}" if keys else "an empty mapping" for keys in ways
    )
