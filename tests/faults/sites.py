"""
Every place at which the write path waits, found in its source, and a way to get in between.

A site is an `await`, an `async with`, or the start of a task. What it waits for is read off its
text, so that a new one of a known kind is covered at once and one of an unknown kind is an error.
"""

import ast
import asyncio
import importlib
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

Thunk = Callable[[], Awaitable[Any]]
"""Does what a site waits for, from its beginning."""

Between = Callable[["Site", Thunk], Awaitable[Any]]
"""Stands between a site and what it waits for."""


class Waits(StrEnum):
    """What a site waits for."""

    WRITE = "write"
    READ = "read"
    STREAM = "stream"
    STORE = "store"
    TIME = "time"
    OURS = "ours"
    """Another coroutine of the write path, whose own sites are listed too."""


@dataclass(frozen=True, slots=True)
class Site:
    """One place: `number` counts those of a function in the order of its text."""

    module: str
    function: str
    number: int
    text: str
    waits: Waits

    @property
    def place(self) -> str:
        """Where it is."""
        return f"{self.module.removeprefix('bot.')}.{self.function}#{self.number}"

    def __str__(self) -> str:
        """As a report names it."""
        return f"{self.place} {self.text}"


class UnknownSite(Exception):
    """It waits for something that nobody has said how it fails."""


_ENDINGS = {
    Waits.WRITE: ("_account.send", "_writes.ask"),
    Waits.READ: (
        "_account.snapshot",
        "_account.order",
        "_account.margin_changes",
        "_account.server_time_ms",
        "_market.instruments",
        "_market.bars",
        "_reads.ask",
        "lane.ask",
    ),
    Waits.STREAM: ("_account.stream", "_market.stream"),
    Waits.STORE: tuple(
        f"{owner}.{method}"
        for owner in ("journal", "_inner")
        for method in ("append", "keep", "kept", "last", "rows", "close")
    ),
    Waits.TIME: (
        "clock.sleep_ms",
        "clock.sleep_until_ms",
        "_chart_wanted.wait",
        "_wanted.wait",
        "_arrived.wait",
        "_turns",
        "asyncio.wait",
        "asyncio.timeout",
        "asyncio.gather",
        "asyncio.TaskGroup",
        "patience",
    ),
}


@cache
def find_sites(modules: tuple[str, ...]) -> tuple[Site, ...]:
    """All sites of the modules; raises `UnknownSite` for one that is of no kind."""
    ours = {name for module in modules for name in _coroutines(_tree(module))}
    return tuple(
        _site(module, function, number, node, ours)
        for module in modules
        for function, number, node in _waiting(_tree(module))
    )


@contextmanager
def standing_between(modules: tuple[str, ...], between: Between) -> Iterator[None]:
    """While the block runs, every site of the modules asks `between` to wait for it."""
    sites = {(each.module, each.function, each.number): each for each in find_sites(modules)}
    before: list[tuple[FunctionType, CodeType]] = []
    try:
        for name in modules:
            module, found = importlib.import_module(name), _marked(name)

            def at(function: str, number: int, thunk: Thunk, name: str = name) -> Awaitable[Any]:
                return between(sites[name, function, number], thunk)

            module.__dict__["__at__"] = at
            module.__dict__["__block__"] = _blocks(at)
            module.__dict__["__start__"] = _starts(at)
            for function in _functions(module):
                before.append((function, function.__code__))
                function.__code__ = found[function.__qualname__]
        yield
    finally:
        for function, own in before:
            function.__code__ = own


# -- the text ------------------------------------------------------------------------------------


def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def _coroutines(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            yield node.name


def _waiting(tree: ast.AST, outer: str = "") -> Iterator[tuple[str, int, ast.expr]]:
    """Function, number and what is waited for, of each site."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ClassDef(name=name):
                yield from _waiting(node, f"{outer}{name}.")
            case ast.AsyncFunctionDef(name=name):
                for number, found in enumerate(_in_order(node)):
                    yield f"{outer}{name}", number, found
            case _:
                pass


def _in_order(node: ast.AST) -> Iterator[ast.expr]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.AsyncFor() | ast.comprehension(is_async=1):
                raise UnknownSite(f"line {ast.unparse(child)}: nobody stands in an async for yet")
            case ast.AsyncWith(items=items):
                yield from (item.context_expr for item in items)
            case ast.Await(value=value):
                yield value
            case ast.Call(func=ast.Name("to_its_end"), args=[work, *rest], keywords=named):
                yield ast.copy_location(ast.Call(work, rest, named), work)
            case ast.Call(func=ast.Attribute(attr="create_task"), args=[started]):
                if "to_its_end(" not in ast.unparse(started) and not isinstance(started, ast.Name):
                    raise UnknownSite(f"start {ast.unparse(started)} by to_its_end")
            case _:
                pass
        yield from _in_order(child)


def _site(module: str, function: str, number: int, node: ast.expr, ours: set[str]) -> Site:
    text = ast.unparse(node)
    callee = ast.unparse(node.func) if isinstance(node, ast.Call) else text
    for waits, endings in _ENDINGS.items():
        if callee.endswith(endings):
            return Site(module, function, number, text, waits)
    if callee.rpartition(".")[2] in ours or callee.rpartition(".")[2].lstrip("_") in ours:
        return Site(module, function, number, text, Waits.OURS)
    raise UnknownSite(f"{module}.{function}: say in {__name__} what `await {text}` waits for")


# -- the code ------------------------------------------------------------------------------------


class _Mark(ast.NodeTransformer):
    """Writes `await f(x)` as `await __at__(function, number, lambda: f(x))`."""

    def __init__(self, module: str) -> None:
        self._module, self._outer = module, ""
        self._numbers: dict[tuple[int, int], tuple[str, int]] = {
            (node.lineno, node.col_offset): (function, number)
            for function, number, node in _waiting(_tree(module))
        }

    def visit_Await(self, node: ast.Await) -> ast.AST:
        place = self._numbers.get((node.value.lineno, node.value.col_offset))
        self.generic_visit(node)
        if place is None:
            return node
        nothing = ast.arguments(
            posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]
        )
        node.value = _call("__at__", place, ast.Lambda(args=nothing, body=node.value))
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node:
            case ast.Call(func=ast.Name("to_its_end"), args=[work, *rest]):
                place = self._numbers[work.lineno, work.col_offset]
                node.args = [_call("__start__", place, work), *rest]
            case _:
                pass
        self.generic_visit(node)
        return node

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        for item in node.items:
            at = item.context_expr
            place = self._numbers[at.lineno, at.col_offset]
            item.context_expr = _call("__block__", place, at)
        self.generic_visit(node)
        return node


def _call(name: str, place: tuple[str, int], argument: ast.expr) -> ast.Call:
    function, number = place
    arguments = [ast.Constant(function), ast.Constant(number), argument]
    return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), arguments, []), argument)


@cache
def _marked(name: str) -> dict[str, CodeType]:
    """The code of each function of the module, with its sites marked."""
    marked = ast.fix_missing_locations(_Mark(name).visit(_tree(name)))
    file = inspect.getfile(importlib.import_module(name))
    return dict(_codes(compile(marked, file, "exec")))


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant.co_qualname, constant
            yield from _codes(constant)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    owners = [each for each in vars(module).values() if inspect.isclass(each)]
    for owner in (module, *(each for each in owners if each.__module__ == module.__name__)):
        for each in vars(owner).values():
            if inspect.iscoroutinefunction(each) and each.__module__ == module.__name__:
                yield each


class _Block:
    """A context manager as a site: a lock waits at its beginning, everything else at its end."""

    def __init__(self, inner: Any, at: Callable[[Thunk], Awaitable[Any]]) -> None:
        self._inner, self._at = inner, at

    async def __aenter__(self) -> Any:
        if isinstance(self._inner, asyncio.Lock):
            return await self._at(self._inner.__aenter__)
        return await self._inner.__aenter__()

    async def __aexit__(self, *error: Any) -> Any:
        if error[0] is not None or isinstance(self._inner, asyncio.Lock):
            return await self._inner.__aexit__(*error)
        return await self._at(lambda: self._inner.__aexit__(None, None, None))


def _starts(at: Callable[[str, int, Thunk], Awaitable[Any]]) -> Callable[..., Any]:
    def marked(function: str, number: int, work: Callable[..., Awaitable[Any]]) -> Any:
        return lambda *args, **named: at(function, number, lambda: work(*args, **named))

    return marked


def _blocks(at: Callable[[str, int, Thunk], Awaitable[Any]]) -> Callable[..., _Block]:
    return lambda function, number, inner: _Block(inner, lambda thunk: at(function, number, thunk))
