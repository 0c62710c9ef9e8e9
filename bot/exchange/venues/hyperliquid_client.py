"""
Hyperliquid on ccxt's own class, which signs, but not requests that its caller has made.

`documented` (the venue's pages on signing, on nonces and API wallets, and on the exchange
endpoint): reads name an account by its address, writes are an action with the date as its nonce
and a last moment, signed by an API wallet. The key is the account's address, the secret the API
wallet's private key. Reading, retries and limits are the transport's.
"""

import re
from typing import Any

import ccxt.async_support

from bot.exchange.live.credentials import CredentialsError

_HOST = "https://api.{hostname}"
_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
_PRIVATE_KEY = re.compile("(0x)?[0-9a-fA-F]{64}")


class Hyperliquid(ccxt.async_support.hyperliquid):  # type: ignore[misc]
    """
    Addresses and signs what is asked.

    Of `public` requests nothing is added to; to `private` ones the account's address is, to those
    of `agent` the API wallet's own; what goes to `exchange` is signed.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        """Raise `CredentialsError` unless the keys are of the kinds that the venue has."""
        if not _ADDRESS.fullmatch(config["apiKey"]):
            raise CredentialsError("key: expected the account's address, 0x and 40 hex digits")
        if not _PRIVATE_KEY.fullmatch(config["secret"]):
            raise CredentialsError(
                "secret: expected the private key of an API wallet, 64 hex digits"
            )
        super().__init__(config)
        self.privateKey = "0x" + config["secret"][-64:]
        self._last_nonce = 0
        self._signed({})  # what signs is loaded by its first use: not in the way of a stop

    def describe(self) -> Any:
        """Where it is."""
        own = {"urls": {"api": {"agent": _HOST}}, "options": {"timeDifference": 0}}
        return self.deep_extend(super().describe(), own)

    def sign(self, path: str, api: Any, method: str, params: Any) -> dict[str, Any]:
        """The request: its address, and for an action its signature."""
        (side,) = [api] if isinstance(api, str) else api
        body = self._signed(params) if path == "exchange" else self._named(side, params)
        return super().sign(path, [side], method, body)  # type: ignore[no-any-return]

    def _named(self, side: str, params: dict[str, Any]) -> dict[str, Any]:
        """
        With whose account it is about, and of a chart the times, where they count from now.

        A `startTime` below 0 is so long before the venue's time.
        """
        if side == "private":
            return params | {"user": self.apiKey.lower()}
        if side == "agent":
            return params | {"user": self.eth_get_address_from_private_key(self.privateKey)}
        if "req" in params:
            now_ms = self._now_ms()
            times = {"startTime": now_ms + params["req"]["startTime"], "endTime": now_ms}
            return params | {"req": params["req"] | times}
        return params

    def _signed(self, action: dict[str, Any]) -> dict[str, Any]:
        nonce = self._last_nonce = max(self._now_ms(), self._last_nonce + 1)
        until_ms = nonce + self.options["recvWindow"]
        signature = self.sign_l1_action(action, nonce, None, until_ms)
        return {
            "action": action,
            "nonce": nonce,
            "signature": signature,
            "expiresAfter": until_ms,
        }

    def _now_ms(self) -> int:
        return int(self.milliseconds() - self.options["timeDifference"])
