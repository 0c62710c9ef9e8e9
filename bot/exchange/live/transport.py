"""
ccxt signs a request and addresses it; it is sent once, and what comes back is handed on as it is.

ccxt's own sending and reading are left out on purpose: it takes a page of HTML with status 200
for an order, and a cut answer for a refusal, and what it does around a request takes as long as
to sign it.
"""

import logging
import socket
from decimal import localcontext
from importlib import import_module
from typing import Any, TypeAlias

import aiohttp
import ccxt.async_support
from yarl import URL

from bot.exchange.live.calls import Call, Heard, NotSent, Outcome, Silent
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.loopback import LoopbackSession

RECV_WINDOW_MS = 3_000
"""Older requests are refused by the venue: shorter than what reconciliation waits for."""


Network: TypeAlias = aiohttp.ClientSession | LoopbackSession
"""Where requests and WebSockets go."""


# At DEBUG it would log whole requests, with the key in them.
logging.getLogger("ccxt").setLevel(logging.WARNING)


class Transport:
    """One ccxt instance, with its own connections."""

    def __init__(
        self, ccxt_id: str, credentials: Credentials, network: Network, timeout_ms: int
    ) -> None:
        """Speak for `credentials` over `network`, which stays the caller's to close."""
        self._network = network
        self._timeout = aiohttp.ClientTimeout(
            total=timeout_ms / 1000, sock_connect=timeout_ms / 1000, sock_read=timeout_ms / 1000
        )
        self._ccxt = _class_of(ccxt_id)(
            {
                "apiKey": credentials.key.get_secret_value(),
                "secret": credentials.secret.get_secret_value(),
                "password": credentials.passphrase.get_secret_value(),
                "session": network,
                "enableRateLimit": False,
                "timeout_on_exit": 0,  # for connections of its own, of which it has none
                "options": {"recvWindow": RECV_WINDOW_MS},
            }
        )

    def set_clock_offset_ms(self, ahead_ms: int) -> None:
        """Date requests by the venue's clock, which this machine's is `ahead_ms` ahead of."""
        self._ccxt.options["timeDifference"] = ahead_ms

    async def ask(self, call: Call) -> Outcome:
        """Send once. Never raises for what the network or the venue did."""
        sent: Any = dict(call.parameters)
        if call.is_batch:
            sent = [sent]
        try:
            with localcontext():  # ccxt sets the rounding of whoever calls it, and leaves it so
                signed = self._ccxt.sign(call.path, call.api.split("."), call.method, sent)
            headers = self._ccxt.prepare_request_headers(signed["headers"])
        except ccxt.BaseError as e:
            return NotSent(f"{type(e).__name__}: not signed")
        send = getattr(self._network, signed["method"].lower())
        body = signed["body"].encode() if signed["body"] else None
        url = URL(signed["url"], encoded=True)
        try:
            async with send(url, data=body, headers=headers, timeout=self._timeout) as answer:
                text = await answer.text(errors="replace")
                return Heard(answer.status, dict(answer.headers), text.strip())
        # The message may carry the signed address: only kinds are told.
        except (aiohttp.ClientConnectorError, socket.gaierror) as e:
            return NotSent(type(e).__name__)
        except TimeoutError as e:
            return Silent(f"RequestTimeout from {type(e).__name__}")
        except (aiohttp.ClientError, OSError) as e:
            return Silent(type(e).__name__)

    async def close(self) -> None:
        """Let go of ccxt's own resources."""
        await self._ccxt.close()


def _class_of(ccxt_id: str) -> Any:
    """ccxt's own class, or by its full name one that we made where ccxt has none."""
    module, dot, name = ccxt_id.rpartition(".")
    return getattr(import_module(module) if dot else ccxt.async_support, name)
