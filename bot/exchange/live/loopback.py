"""
A session that sends what is meant for a venue to a port of this machine instead.

The client keeps its real addresses, and with them its own table of the venue's errors; only the
bytes go elsewhere. It never leaves loopback, so that no key meant for tests reaches a venue.
"""

from typing import Any

import aiohttp
from yarl import URL

from bot.exchange.live.sessions import KEPT_OPEN_S, session

LOOPBACK = "127.0.0.1"


class LoopbackSession:
    """What ccxt needs of an `aiohttp.ClientSession`: the venue's methods and WebSockets."""

    def __init__(self, port: int, address: str = "") -> None:
        """
        Send everything to `port`, from `address` of this machine if there is one.

        Needs a running loop; close it when done.
        """
        self.headers: dict[str, str] = {}
        """Sent with every request: none besides the client's own."""
        self._port = port
        local = (address, 0) if address else None
        self._session = session(
            aiohttp.TCPConnector(local_addr=local, keepalive_timeout=KEPT_OPEN_S)
        )

    def get(self, url: URL, **options: Any) -> Any:
        """GET."""
        return self._session.get(self._there(url), **options)

    def post(self, url: URL, **options: Any) -> Any:
        """POST."""
        return self._session.post(self._there(url), **options)

    def put(self, url: URL, **options: Any) -> Any:
        """PUT."""
        return self._session.put(self._there(url), **options)

    def delete(self, url: URL, **options: Any) -> Any:
        """DELETE."""
        return self._session.delete(self._there(url), **options)

    def ws_connect(self, url: str, **options: Any) -> Any:
        """A WebSocket."""
        return self._session.ws_connect(self._there(URL(url)), **options)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def _there(self, url: URL) -> URL:
        scheme = "ws" if url.scheme.startswith("ws") else "http"
        path = url.raw_path_qs
        return URL(f"{scheme}://{LOOPBACK}:{self._port}{path}", encoded=True)
