"""
What is asked of a venue, and what may come back: an answer, proof of nothing sent, or silence.

Nothing is judged here. Text is kept as it came until it is parsed strictly: numbers are exact,
and what is no JSON, or has NaN in it, is no answer.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A parsed answer; whoever reads it checks every part that it uses."""


@dataclass(frozen=True, slots=True)
class Call:
    """
    One request: `api` and `path` as ccxt names them, so that it signs and addresses them.

    An `api` within another has a dot: "private.futures". `parameters` are what the venue's
    recipe says, in JSON's own kinds where the venue reads JSON. `weight` is what it counts as.
    A request `is_batch` where the venue wants a list, though it be of one.
    """

    api: str
    method: str
    path: str
    parameters: Mapping[str, Json]
    weight: int = 1
    is_batch: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer arrived, whoever it may be from."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """Proven: not a byte of the request has left, so that it cannot have an effect."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hushed:
    """
    Nothing was taken: the venue wants quiet until `until_ms`, by its answer or an earlier one.

    Of reads, or of `everything` where it has banned this address.
    """

    reason: str
    until_ms: int
    everything: bool


@dataclass(frozen=True, slots=True)
class Silent:
    """No whole answer; the request may have arrived."""

    reason: str


Outcome: TypeAlias = Heard | NotSent | Hushed | Silent


class Unreadable(ValueError):
    """An answer that is not what it has to be: where, expected, was."""


def parse_json(text: str) -> Json:
    """The parsed text; raises `Unreadable` for anything that is no strict JSON."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError) as e:
        raise Unreadable(f"expected JSON, was {text[:80]!r}") from e


def _refuse(word: str) -> None:
    raise ValueError(word)
