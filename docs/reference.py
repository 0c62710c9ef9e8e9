"""
Writes docs/reference.md from the code: `python docs/reference.py`.

Metrics, verbs and keys say what they are where they are defined; this only lays it out. A test
holds the page to the code.
"""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin

sys.path.insert(0, str(Path(__file__).parents[1]))

from bot.core import policy
from bot.core.policy import Below, Metric
from bot.core.strategy import Severity
from bot.policy import document
from bot.policy.checks import bound_of
from bot.policy.document import Absent, Cell, PolicySection, fields_of, key_of
from bot.policy.values import KINDS, Level, level_of
from bot.policy.verbs import Verb, find_verbs

PAGE = Path(__file__).with_name("reference.md")

HEAD = """\
# Reference

Made from the code by `python docs/reference.py`. How to use it all: [write a policy](policy.md).
"""

CUTS = {
    Severity.ALERT: "does nothing to the position",
    Severity.STOP: "moves the stop, beside whatever else fires",
    Severity.SPEND: "spends margin",
    Severity.REDUCE: "closes a part",
    Severity.CLOSE: "closes everything",
}


def reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_metrics(), *_verbs(), *_keys()])


def _metrics() -> Iterator[str]:
    said = said_of_fields(policy, "Metric")
    yield "## Metrics\n"
    yield "What a rule can `watch`, and how its thresholds and its hysteresis are written.\n"
    yield "| metric | threshold | written | of cross positions | what it is |"
    yield "|---|---|---|---|---|"
    for metric in Metric:
        side = "below" if bound_of(metric) is Below else "above"
        whose = "one for all of them" if metric.is_shared else "one for each"
        whose = "none" if metric.needs_bars else whose
        written = level_of(metric).expected
        yield f"| `{metric}` | `{side}:` | {written} | {whose} | {said[metric.name]} |"
    yield ""


def _verbs() -> Iterator[str]:
    yield "## Verbs\n"
    yield "What a step can `do`. Of all steps that fire for a position the one that cuts deepest"
    yield "acts: deepest is what closes, then what reduces, then what spends.\n"
    for verb in find_verbs().values():
        yield from _verb(verb)


def _verb(verb: Verb) -> Iterator[str]:
    module = import_module(f"strategies.{verb.name}")
    yield f"### {verb.name}\n"
    yield f"{inspect.cleandoc(module.__doc__ or '')}\n"
    yield f"It {CUTS[verb.severity]}. For {' and '.join(sorted(verb.works_on))} positions.\n"
    rows = [row for way in verb.params for row in _parameters(module, way)]
    if rows:
        several = len(verb.params) > 1
        yield "One of these:\n" if several else "Under `with:`\n"
        yield "| parameter | written | what it is |"
        yield "|---|---|---|"
        yield from rows
        yield ""
    if verb.may_repeat:
        yield "It may act again while its step fires, so the step needs a `cooldown`.\n"


def _parameters(module: ModuleType, way: type) -> Iterator[str]:
    said = said_of_fields(module, way.__name__)
    for name, hint in fields_of(way).items():
        yield f"| `{name}` | {KINDS[hint].expected} | {said[name]} |"


def _keys() -> Iterator[str]:
    yield "## Keys\n"
    yield "Every key of a policy file. A key in brackets may be left out.\n"
    yield from _section("", "the file", PolicySection)


def _section(path: str, title: str, section: type) -> Iterator[str]:
    """A table of the values of a section, then the sections in it."""
    said = said_of_fields(document, section.__name__)
    rows: list[str] = []
    inner: list[tuple[str, type, bool]] = []
    for name, hint in fields_of(section).items():
        is_optional = Absent in get_args(hint)
        held = get_args(hint)[0] if is_optional else hint
        key = key_of(name)
        shown = f"[`{key}`]" if is_optional or name == "with_" else f"`{key}`"
        if get_origin(held) is not Cell:
            inner.append((f"{path}{key}", held, is_optional))
            continue
        (value,) = get_args(held)
        if get_origin(value) is tuple:
            inner.append((f"{path}{key}[]", get_args(value)[0], is_optional))
        rows.append(f"| {shown} | {_written(value)} | {said[name]} |")
    yield f"### {title}\n"
    yield f"{(section.__doc__ or '').strip().split(chr(10), maxsplit=1)[0]}\n"
    if rows:
        yield "| key | written | what it is |"
        yield "|---|---|---|"
        yield from rows
        yield ""
    for child, kind, is_optional in inner:
        named = f"[`{child}`]" if is_optional else f"`{child}`"
        yield from _section(f"{child}.", named, kind)


def _written(value: Any) -> str:
    if get_origin(value) is tuple:
        return "a list"
    if get_origin(value) is Mapping:
        key, number = get_args(value)
        return f"from {KINDS[key].expected} to {KINDS[number].expected}"
    if value is Level:
        return "a level in the unit of the metric"
    return KINDS[value].expected if value in KINDS else "a mapping of the verb's parameters"


def said_of_fields(module: ModuleType, name: str) -> dict[str, str]:
    """The docstring below each field of a class, by the field's name."""
    (found,) = (
        node
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    said: dict[str, str] = {}
    for field, after in zip(found.body, found.body[1:], strict=False):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(id=key)) | ast.Assign(targets=[ast.Name(id=key)]),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                said[key] = " ".join(text.split())
            case _:
                pass
    return said


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
