"""
Client ids: derived from what an intent is for, so that no two intents share one.

26 lower-case letters and digits: inside the alphabet and the length of every venue known.
"""

import base64
import hashlib
from functools import cache

from bot.core.model import PositionKey
from bot.core.state import Birth

_PREFIX = "lg"


def client_id(birth: Birth, key: PositionKey, reason: str, episode: int, number: int) -> str:
    """
    The id of the account's intent number `number`: the same whenever it is derived again.

    `birth` carries when the journal began, so that a fresh journal does not repeat the ids of
    a lost one.
    """
    facts = (birth.account, birth.at_ms, key.symbol, key.side, reason, episode, number)
    return account_prefix(birth.account) + _letters("|".join(map(str, facts)), 20)


def part_id(intent_id: str, number: int) -> str:
    """The id of request `number` of those that go before the one that has the intent's own id."""
    return intent_id[:6] + _letters(f"{intent_id}|{number}", 20)


@cache
def account_prefix(account: str) -> str:
    """What the client id of every order of ours on this account begins with."""
    return _PREFIX + _letters(account, 4)


def _letters(text: str, length: int) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=20).digest()
    return base64.b32encode(digest).decode().lower()[:length]
