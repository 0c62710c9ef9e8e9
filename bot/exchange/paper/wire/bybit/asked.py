"""A request of this venue: its fields, read strictly, and who sent it."""

import hmac
import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import TypeVar
from urllib.parse import parse_qsl

from bot.core.model import Instrument
from bot.exchange.paper.wire.admission import SECRET
from bot.exchange.paper.wire.bybit.refusal import BybitRefusal, not_here
from bot.exchange.paper.wire.listing import Listing
from bot.exchange.paper.wire.refusal import Refusal

AHEAD_MAX_MS = 1_000
RECV_WINDOW_MS = 5_000

_KEY = re.compile(r"paper-([a-z0-9-]{1,32})")
Choice = TypeVar("Choice")


class Fields:
    """Names and texts of a query or of a JSON body. A missing or malformed one is 10001."""

    def __init__(self, texts: Mapping[str, str], listing: Listing) -> None:
        self._texts = texts
        self._listing = listing

    def optional(self, name: str) -> str:
        """A field, empty where it was not sent."""
        return self._texts.get(name, "")

    def text(self, name: str) -> str:
        """A field that has to be there."""
        if not self.optional(name):
            raise BybitRefusal(10001, f"params error: {name} is required")
        return self._texts[name]

    def decimal(self, name: str) -> Decimal:
        """A finite number."""
        try:
            value = Decimal(self.text(name))
        except InvalidOperation as e:
            raise _malformed(name) from e
        if not value.is_finite():
            raise _malformed(name)
        return value

    def integer_or(self, name: str, otherwise: int) -> int:
        """A whole number, or what counts when it was not sent."""
        if not self.optional(name):
            return otherwise
        if not self.optional(name).isdecimal():
            raise _malformed(name)
        return int(self.optional(name))

    def flag(self, name: str) -> bool:
        """`true` or `false`; false when it was not sent."""
        return self.choice(name, {"true": True, "false": False, "": False})

    def choice(self, name: str, words: Mapping[str, Choice]) -> Choice:
        """What one of the words stands for."""
        if self.optional(name) not in words:
            raise _malformed(name)
        return words[self.optional(name)]

    def instrument(self) -> Instrument:
        """The contract that `symbol` names. Other categories than linear are not here."""
        if self.optional("category") not in ("", "linear"):
            raise not_here(f"category {self.optional('category')}")
        try:
            return self._listing.named(self.text("symbol"))
        except Refusal as e:
            raise BybitRefusal(10001, "params error: symbol invalid") from e

    def instruments(self) -> list[Instrument]:
        """The one that `symbol` names, or all."""
        return [self.instrument()] if self.optional("symbol") else [*self._listing.by_id.values()]


def read_fields(method: str, query: str, body: str, listing: Listing) -> Fields:
    """The fields of a request: of the query, or of the JSON body of a POST."""
    if method == "GET":
        return Fields(dict(parse_qsl(query, keep_blank_values=True)), listing)
    try:
        sent = json.loads(body or "{}", parse_float=str, parse_int=str)
    except ValueError as e:
        raise BybitRefusal(10001, "params error: the body is no JSON") from e
    if not isinstance(sent, dict):
        raise BybitRefusal(10001, "params error: the body is no object")
    return Fields({name: _text(value) for name, value in sent.items()}, listing)


def account_of(key: str) -> str:
    """The account that an API key speaks for. It is not the one of the other dialect."""
    named = _KEY.fullmatch(key)
    if named is None:
        raise BybitRefusal(10003)
    return f"bybit:{named[1]}"


def check_signed(headers: Mapping[str, str], payload: str, now_ms: int) -> None:
    """Refuse a request that is too old, from the future, or not signed with the secret."""
    key = headers.get("X-BAPI-API-KEY", "")
    at, window = headers.get("X-BAPI-TIMESTAMP", ""), headers.get("X-BAPI-RECV-WINDOW", "")
    if not at.isdecimal() or not (window or str(RECV_WINDOW_MS)).isdecimal():
        raise BybitRefusal(10002)
    window_ms = int(window or RECV_WINDOW_MS)
    if not now_ms - window_ms <= int(at) < now_ms + AHEAD_MAX_MS:
        raise BybitRefusal(10002)
    if not is_signed(f"{at}{key}{window}{payload}", headers.get("X-BAPI-SIGN", "")):
        raise BybitRefusal(10004)


def is_signed(text: str, signature: str) -> bool:
    """Whether a text is signed with everybody's secret."""
    expected = hmac.new(SECRET.encode(), text.encode(), sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.lower().encode())


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case _:
            return str(value)


def _malformed(name: str) -> BybitRefusal:
    return BybitRefusal(10001, f"params error: {name} invalid")
