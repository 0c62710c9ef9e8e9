"""The parameters of one request, read once and strictly."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TypeVar
from urllib.parse import parse_qsl

from bot.exchange.paper.wire.refusal import Refusal

Choice = TypeVar("Choice", bound=StrEnum)

_FLAGS = {"true": True, "false": False}


class Parameters:
    """Names and texts, of the query and of a form body. A missing or malformed one is -1102."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def has(self, name: str) -> bool:
        """Whether it was sent, and not empty."""
        return bool(self._texts.get(name))

    def text(self, name: str) -> str:
        """A parameter that has to be there."""
        if not self.has(name):
            raise malformed(name)
        return self._texts[name]

    def decimal(self, name: str) -> Decimal:
        """A finite number."""
        try:
            value = Decimal(self.text(name))
        except InvalidOperation as e:
            raise malformed(name) from e
        if not value.is_finite():
            raise malformed(name)
        return value

    def integer(self, name: str) -> int:
        """A whole number."""
        text = self.text(name)
        if not text.removeprefix("-").isdecimal():
            raise malformed(name)
        return int(text)

    def integer_or(self, name: str, otherwise: int) -> int:
        """A whole number, or what counts when it was not sent."""
        return self.integer(name) if self.has(name) else otherwise

    def flag(self, name: str) -> bool:
        """`true` or `false`; false when it was not sent."""
        if not self.has(name):
            return False
        text = self.text(name).lower()
        if text not in _FLAGS:
            raise malformed(name)
        return _FLAGS[text]

    def choice(self, kind: type[Choice], name: str, refusal: Refusal) -> Choice:
        """One of the words of `kind`, else `refusal`."""
        try:
            return kind(self.text(name))
        except ValueError as e:
            raise refusal from e

    def choice_or(
        self, kind: type[Choice], name: str, refusal: Refusal, otherwise: Choice
    ) -> Choice:
        """The same, or what counts when it was not sent."""
        return self.choice(kind, name, refusal) if self.has(name) else otherwise


def malformed(name: str) -> Refusal:
    """The refusal of a parameter that is missing or is not what it has to be."""
    return Refusal(
        -1102,
        f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
    )


def read_parameters(query: str, body: str) -> Parameters:
    """Parameters of a request; those of the query count where both name one."""
    pairs = [*parse_qsl(body, keep_blank_values=True), *parse_qsl(query, keep_blank_values=True)]
    return Parameters(dict(pairs))
