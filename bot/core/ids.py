"""
Client ids: derived from what an intent is for, so that no two intents share one.

26 lower-case letters and digits: inside the alphabet and the length of every venue known. They
name the account, and when the journal began that tells of them: of two guards on one account each
can tell the other's orders from its own, and which of the two is the elder.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import cache

from bot.core.model import PositionKey

_PREFIX = "lg"
_ACCOUNT = len(_PREFIX) + 4
_BORN_BYTES, _BORN = 6, 10
"""A moment in milliseconds, and the letters that it takes."""

_HASH = 10


@dataclass(frozen=True, slots=True)
class Birth:
    """Who the account is and when its journal began: client ids derive from it."""

    account: str
    at_ms: int


def client_id(birth: Birth, key: PositionKey, reason: str, episode: int, number: int) -> str:
    """
    The id of the account's intent number `number`: the same whenever it is derived again.

    `birth` carries when the journal began, so that a fresh journal does not repeat the ids of
    a lost one.
    """
    facts = (birth.account, birth.at_ms, key.symbol, key.side, reason, episode, number)
    return birth_prefix(birth) + _letters("|".join(map(str, facts)), _HASH)


def part_id(intent_id: str, number: int) -> str:
    """The id of request `number` of those that go before the one that has the intent's own id."""
    return intent_id[: _ACCOUNT + _BORN] + _letters(f"{intent_id}|{number}", _HASH)


@cache
def account_prefix(account: str) -> str:
    """What the client id of every order of a guard on this account begins with."""
    return _PREFIX + _letters(account, _ACCOUNT - len(_PREFIX))


@cache
def birth_prefix(birth: Birth) -> str:
    """What the client id of every order begins with that this journal tells of."""
    born = base64.b32encode(birth.at_ms.to_bytes(_BORN_BYTES, "big")).decode().lower()
    return account_prefix(birth.account) + born[:_BORN]


def born_at_ms(client_id: str) -> int:
    """When the journal began that tells of a guard's order; 0 where its id does not say."""
    born = client_id[_ACCOUNT : _ACCOUNT + _BORN].upper()
    try:
        return int.from_bytes(base64.b32decode(born.ljust(16, "="))[:_BORN_BYTES], "big")
    except binascii.Error:
        return 0


def _letters(text: str, length: int) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=20).digest()
    return base64.b32encode(digest).decode().lower()[:length]
