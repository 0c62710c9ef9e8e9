"""
A venue asked as anybody may: what it tells only to who has a key is told here, or not at all.
"""

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

from bot.exchange.live.calls import Call, Heard, Json, Outcome
from bot.exchange.live.lanes import Lane

HTTP_OK = 200

Documents: TypeAlias = Mapping[str, Callable[[Mapping[str, Json]], Json]]
"""By the paths of calls that want a key: what they answer, by their parameters. `NotTold`."""


class NotTold(Exception):
    """What only a key would bring to light is written down nowhere. One line for the user."""


class Keyless:
    """
    A lane without a key, and documents in place of the answers that would want one.

    A call that wants a key and has no document is never sent: ccxt has nothing to sign it with.
    """

    def __init__(self, lane: Lane, documents: Documents) -> None:
        """Ask over `lane` what is not in `documents`."""
        self._lane = lane
        self._documents = documents

    async def ask(self, call: Call) -> Outcome:
        """What is documented, or what the venue says."""
        if call.path in self._documents:
            told = self._documents[call.path](call.parameters)
            return Heard(HTTP_OK, {}, json.dumps(told))
        return await self._lane.ask(call)
