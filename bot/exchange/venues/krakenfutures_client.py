"""
ccxt's class for Kraken's futures, with what it lacks: orders that grow too old, and the key check.

A request carries no date of its own: one that lingers in the network would be performed whenever
it arrives. `processBefore` ends that (`documented`, of orders and their cancellation).
"""

from binascii import Error as NotBase64
from datetime import UTC, datetime
from typing import Any

import ccxt.async_support

_DATED = frozenset({"sendorder", "cancelorder"})
_SECOND_MS = 1_000
_CHECK = "api-keys/v3/check"


class KrakenFutures(ccxt.async_support.krakenfutures):  # type: ignore[misc]
    """Signs and addresses as ccxt does."""

    def describe(self) -> Any:
        """Where the check of a key is, and that a clock may be followed."""
        own = {
            "urls": {"api": {"auth": "https://futures.kraken.com/api/auth/"}},
            "options": {
                "timeDifference": 0,
                "versions": {"auth": {"GET": {_CHECK: "v1"}}},
                "access": {"auth": {"GET": {_CHECK: "private"}}},
            },
        }
        return self.deep_extend(super().describe(), own)

    def sign(
        self, path: str, api: Any = ("public",), method: str = "GET", params: Any = None
    ) -> Any:
        """The request. A secret that is none is ccxt's error, like any other of a key."""
        sent = dict(params or {})
        if path in _DATED:
            sent["processBefore"] = self._until()
        try:
            return super().sign(path, list(api), method, sent)
        except NotBase64 as e:
            raise ccxt.AuthenticationError("the secret is not base64") from e

    def _until(self) -> str:
        now_ms = self.milliseconds() - self.options["timeDifference"]
        until = (now_ms + self.options["recvWindow"]) / _SECOND_MS
        text = datetime.fromtimestamp(until, UTC).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z")
