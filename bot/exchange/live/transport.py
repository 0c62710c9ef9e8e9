"""
ccxt signs a request, addresses it and sends it; what comes back is handed on as it is.

ccxt's own reading is left out on purpose: it takes a page of HTML with status 200 for an order,
and a cut answer for a refusal. Its retries are off: a lost answer would be sent for twice.
"""

import logging
import socket
from decimal import localcontext
from importlib import import_module
from typing import Any, TypeAlias

import aiohttp
import ccxt.async_support

from bot.exchange.live.calls import Call, Heard, NotSent, Outcome, Silent
from bot.exchange.live.credentials import Credentials
from bot.exchange.live.loopback import LoopbackSession

RECV_WINDOW_MS = 3_000
"""Older requests are refused by the venue: shorter than what reconciliation waits for."""


Network: TypeAlias = aiohttp.ClientSession | LoopbackSession
"""Where requests and WebSockets go."""


# At DEBUG it would log whole requests, with the key in them.
logging.getLogger("ccxt").setLevel(logging.WARNING)


class _Heard(Exception):
    """Carries an answer out of ccxt before it is read there."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(heard.status)
        self.heard = heard


class Transport:
    """One ccxt instance, with its own connections."""

    def __init__(
        self, ccxt_id: str, credentials: Credentials, network: Network, timeout_ms: int
    ) -> None:
        """Speak for `credentials` over `network`, which stays the caller's to close."""
        self._ccxt = _raw(_class_of(ccxt_id))(
            {
                "apiKey": credentials.key.get_secret_value(),
                "secret": credentials.secret.get_secret_value(),
                "password": credentials.passphrase.get_secret_value(),
                "session": network,
                "timeout": timeout_ms,
                "enableRateLimit": False,
                "options": {"recvWindow": RECV_WINDOW_MS, "maxRetriesOnFailure": 0},
            }
        )
        if self._ccxt.options["maxRetriesOnFailure"] != 0:
            raise AssertionError("ccxt: expected no retries of writes")

    def set_clock_offset_ms(self, ahead_ms: int) -> None:
        """Date requests by the venue's clock, which this machine's is `ahead_ms` ahead of."""
        self._ccxt.options["timeDifference"] = ahead_ms

    async def ask(self, call: Call) -> Outcome:
        """Send once. Never raises for what the network or the venue did."""
        try:
            sent: Any = dict(call.parameters)
            if call.is_batch:
                sent = [sent]
            with localcontext():  # ccxt sets the rounding of whoever calls it, and leaves it so
                await self._ccxt.request(
                    call.path, call.api.split("."), call.method, sent, {"cost": 0}
                )
        except _Heard as e:
            return e.heard
        except ccxt.BaseError as e:
            # The message may carry the signed address: only kinds are told.
            cause = e.__cause__
            reason = f"{type(e).__name__} from {type(cause).__name__}"
            if isinstance(cause, aiohttp.ClientConnectorError | socket.gaierror):
                return NotSent(reason)
            return Silent(reason)
        except OSError as e:
            return Silent(type(e).__name__)
        return Silent("ccxt returned without an answer")

    async def close(self) -> None:
        """Let go of ccxt's own resources."""
        await self._ccxt.close()


def _class_of(ccxt_id: str) -> Any:
    """ccxt's own class, or by its full name one that we made where ccxt has none."""
    module, dot, name = ccxt_id.rpartition(".")
    return getattr(import_module(module) if dot else ccxt.async_support, name)


def _raw(base: Any) -> Any:
    """The venue's class of ccxt whose answers are not read by it."""

    class Raw(base):  # type: ignore[misc]
        def on_rest_response(self, code: int, *rest: Any) -> str:
            """Called by ccxt with reason, url, method, headers, body and the request's own."""
            _, _, _, headers, body, *_ = rest
            raise _Heard(Heard(code, dict(headers), body.strip()))

    return Raw
