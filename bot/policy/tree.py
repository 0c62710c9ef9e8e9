"""
YAML 1.2 text as a tree of nodes that know their place.

Every scalar stays the text that the user wrote: `no`, `on`, `010` and `1:30` never become
something else. Whatever could make a file mean more than it shows (aliases, tags, merge keys,
directives, repeated keys) is a problem.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from bot.policy.problems import Place, Report, lines_of, shown

DEPTH_MAX = 12
"""Levels of nesting; a policy needs six."""

START = Place("", 1, 1)


@dataclass(frozen=True, slots=True)
class TextNode:
    """A scalar, as written."""

    at: Place
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What a key holds, and where the key stands."""

    key_at: Place
    node: "Node"


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping; its place is that of its first key, or of the opening brace."""

    at: Place
    entries: dict[str, Entry]


@dataclass(frozen=True, slots=True)
class ListNode:
    """A sequence."""

    at: Place
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class LostNode:
    """Nothing usable stands here, which is already reported."""

    at: Place


Node: TypeAlias = TextNode | MapNode | ListNode | LostNode


def describe(node: Node) -> str:
    """What stands at `node`, in words for the user."""
    match node:
        case TextNode(text=text) if "://" in text:
            return "a URL that is not shown"  # it may hold a password or a token
        case TextNode(text=text):
            return f"'{shown(text)}'" if text else "empty"
        case MapNode():
            return "a mapping"
        case ListNode(items=items):
            return "a list" if items else "an empty list"
        case LostNode():
            return "unreadable"


def read_tree(text: str, report: Report) -> Node:
    """The one document in `text`; what cannot be used is reported and lost."""
    reader = _Reader(text, report)
    try:
        return reader.document()
    except MarkedYAMLError as error:
        said = ", ".join(part for part in (error.problem, error.context) if part)
        if "'\\t'" in said:
            report.add(_place(error.problem_mark, ""), "spaces", "a tab")
        else:
            report.add(_place(error.problem_mark, ""), "YAML", f"broken: {shown(said, 200)}")
    except ReaderError as error:
        before = lines_of(text[: error.position])
        place = Place("", len(before), len(before[-1]) + 1)
        report.add(place, "printable characters", f"'{shown(text[error.position])}'")
    except _TooDeep as too_deep:
        report.add(too_deep.at, f"at most {DEPTH_MAX} levels of nesting", "deeper")
    except (ValueError, OverflowError):
        # The library passes an escape such as "\UFFFFFFFF" to chr() without a look.
        report.add(reader.here, "YAML", "broken: an escape beyond Unicode")
    return LostNode(START)


class _TooDeep(Exception):
    """Reading stops here: the library's time grows with the square of the depth."""

    def __init__(self, at: Place) -> None:
        self.at = at


class _Reader:
    """Builds the tree from the library's stream of events."""

    def __init__(self, text: str, report: Report) -> None:
        self._events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)
        self._report = report
        self.here = START

    def document(self) -> Node:
        self._next()  # the start of the stream
        first = self._next()
        if isinstance(first, StreamEndEvent):
            self._report.add(START, "a policy", "an empty file")
            return LostNode(START)
        if first.version or first.tags:
            self._report.add(_place(first.start_mark, ""), "no directives", "a line with %")
        root = self._node(self._next(), "", 0)
        self._next()  # the end of the document
        after = self._next()
        if isinstance(after, DocumentStartEvent):
            self._report.add(_place(after.start_mark, ""), "one document", "a second one")
        return root

    def _node(self, event: Any, path: str, depth: int) -> Node:
        at = _place(event.start_mark, path)
        if isinstance(event, AliasEvent):
            self._report.add(at, "a value", f"the alias '*{shown(event.anchor)}'")
            return LostNode(at)
        if event.anchor is not None:
            self._report.add(at, "no anchors", f"'&{shown(event.anchor)}'")
        if event.tag is not None:
            self._report.add(at, "no tags", f"'{shown(event.tag)}'")
        if isinstance(event, ScalarEvent):
            return TextNode(at, event.value)
        if depth == DEPTH_MAX:
            raise _TooDeep(at)
        if isinstance(event, SequenceStartEvent):
            return ListNode(at, tuple(self._items(at, depth + 1)))
        return MapNode(at, self._entries(at, depth + 1))

    def _items(self, at: Place, depth: int) -> Iterator[Node]:
        index = 0
        while not isinstance(event := self._next(), SequenceEndEvent):
            yield self._node(event, at.child(str(index)).path, depth)
            index += 1

    def _entries(self, at: Place, depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._node(event, at.path, depth)
            if not isinstance(key, TextNode):
                if not isinstance(key, LostNode):
                    self._report.add(key.at, "a plain word as key", describe(key))
                self._node(self._next(), at.path, depth)
                continue
            path = at.child(shown(key.text)).path
            key_at = Place(path, key.at.line, key.at.column)
            node = self._node(self._next(), path, depth)
            if node == TextNode(node.at, ""):
                node = TextNode(key_at, "")  # the library sees it where the next token starts
            if key.text == "<<":
                self._report.add(key_at, "no merge keys", "'<<'")
            elif key.text in entries:
                line = entries[key.text].key_at.line
                self._report.add(key_at, "each key once", f"a repetition of line {line}")
            else:
                entries[key.text] = Entry(key_at, node)
        return entries

    def _next(self) -> Any:
        event = next(self._events)
        self.here = _place(event.end_mark, "")
        return event


def _place(mark: Any, path: str) -> Place:
    return Place(path, mark.line + 1, mark.column + 1)
