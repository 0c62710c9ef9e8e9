"""
Bitunix on ccxt's base, as no released ccxt has a class for it: addresses and signatures.

`documented` (the venue's page on signatures): both hashes are SHA-256 in hex, the first over
nonce, time, key, the sorted query and the body just as it is sent, the second over that and the
secret. Reading, retries and limits are the transport's.
"""

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

from ccxt.async_support.base.exchange import Exchange

_HOST = "https://fapi.bitunix.com"


class Bitunix(Exchange):  # type: ignore[misc]
    """What ccxt's base needs of a venue to ask it."""

    def describe(self) -> Any:
        """Where it is."""
        own = {
            "id": "bitunix",
            "name": "Bitunix",
            "urls": {"api": {"public": _HOST, "private": _HOST}},
            "options": {"timeDifference": 0},
        }
        return self.deep_extend(super().describe(), own)

    def sign(
        self,
        path: str,
        api: Any = "public",
        method: str = "GET",
        params: Any = None,
        headers: Any = None,
        body: Any = None,
    ) -> dict[str, Any]:
        """The request: its address, and for the account's side its signature."""
        (side,) = [api] if isinstance(api, str) else api
        query = sorted(params.items()) if method == "GET" else []
        url = f"{self.urls['api'][side]}/{path}" + (f"?{urlencode(query)}" if query else "")
        body = None if method == "GET" else json.dumps(params, separators=(",", ":"))
        headers = {"Content-Type": "application/json", "language": "en-US"}
        if side == "private":
            headers |= self._signature("".join(f"{key}{value}" for key, value in query), body)
        return {"url": url, "method": method, "body": body, "headers": headers}

    def _signature(self, query: str, body: str | None) -> dict[str, str]:
        self.check_required_credentials()
        at_ms = str(self.milliseconds() - self.options["timeDifference"])
        nonce = self.uuid().replace("-", "")
        digest = _sha256(nonce + at_ms + self.apiKey + query + (body or ""))
        sign = _sha256(digest + self.secret)
        return {"api-key": self.apiKey, "nonce": nonce, "timestamp": at_ms, "sign": sign}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
