"""
ccxt's class for Gate, with what it leaves out: orders that grow too old are not placed.

A signature is good for a minute. `x-gate-exptime` ends that sooner (`documented`, of orders): a
close that lingers in the network is not performed at a later price. Of stops, their cancels and
margin its papers name no such header, and they keep the minute.
"""

from typing import Any

import ccxt.async_support

_ORDER = ("POST", "{settle}/orders")


class Gate(ccxt.async_support.gate):  # type: ignore[misc]
    """Signs and addresses as ccxt does."""

    def sign(self, path: str, api: list[str], method: str, params: Any) -> Any:
        """The request, an order with the moment from which on it is not placed."""
        signed = super().sign(path, api, method, params)
        if (method, path) == _ORDER:
            signed["headers"]["x-gate-exptime"] = str(
                int(self.nonce()) + self.options["recvWindow"]
            )
        return signed
