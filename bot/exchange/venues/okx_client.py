"""
ccxt's class for OKX, with what it leaves out: orders that grow too old are not placed.

A request is good for half a minute by its date. `expTime` ends that sooner (`documented`, of
orders alone): a close that lingers in the network is not performed at a later price. Stops, their
cancels and margin have no such header, and keep the half minute.
"""

from typing import Any

import ccxt.async_support

_ORDER = ("POST", "trade/order")


class Okx(ccxt.async_support.okx):  # type: ignore[misc]
    """Signs and addresses as ccxt does."""

    def sign(self, path: str, api: list[str], method: str, params: Any) -> Any:
        """The request, an order with the moment from which on it is not placed."""
        signed = super().sign(path, api, method, params)
        if (method, path) == _ORDER:
            signed["headers"]["expTime"] = str(int(self.nonce()) + self.options["recvWindow"])
        return signed
