"""The protective verbs: every module of `strategies`, bound to the parameters of a step."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, get_args

import strategies
from bot.core.model import MarginMode
from bot.core.strategy import Proposal, Severity, View


@dataclass(frozen=True, slots=True)
class Verb:
    """One module of `strategies`. `params`: the dataclasses of which its parameters are one."""

    name: str
    severity: Severity
    works_on: frozenset[MarginMode]
    params: tuple[type, ...]
    propose: Callable[[View, Any], Proposal]

    @property
    def may_repeat(self) -> bool:
        """Whether it may act again and again while its step fires, which needs a cooldown."""
        return self.severity in {Severity.SPEND, Severity.REDUCE}


@dataclass(frozen=True, slots=True)
class BoundVerb:
    """A verb with its parameters: the `propose` of a step. Equal where the policies agree."""

    verb: Verb
    params: Any

    def __call__(self, view: View) -> Proposal:
        """What the verb proposes for the position."""
        return self.verb.propose(view, self.params)


def find_verbs() -> dict[str, Verb]:
    """Every verb there is, by name, in alphabetical order."""
    names = sorted(module.name for module in iter_modules(strategies.__path__))
    return {name: _verb(name) for name in names}


def _verb(name: str) -> Verb:
    module = import_module(f"{strategies.__name__}.{name}")
    params = get_args(module.Params) or (module.Params,)
    return Verb(name, module.SEVERITY, module.WORKS_ON, params, module.propose)
