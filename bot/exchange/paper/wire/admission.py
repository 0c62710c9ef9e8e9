"""
Who is let in, and how often: keys, signatures, the age of a request and the weight of requests.

Source: the venue's general information (`documented`): 2400 of weight a minute and address, 429
beyond it, 418 for whoever goes on all the same; 1200 orders a minute and 300 in 10 s an account.
"""

import hmac
import re
from dataclasses import dataclass, field
from hashlib import sha256

from bot.exchange.paper.wire.parameters import Parameters
from bot.exchange.paper.wire.refusal import Refusal

SECRET = "paper"  # noqa: S105 - no secret: everybody's, on an exchange of play money
WEIGHT_MAX = 2_400
ORDERS_10S_MAX = 300
ORDERS_1M_MAX = 1_200
PATIENCE = 20
"""How many requests over the limit are answered 429 before the address is banned."""
BAN_MS = 120_000
RECV_WINDOW_MS = 5_000
RECV_WINDOW_MAX_MS = 60_000
AHEAD_MAX_MS = 1_000

MINUTE_MS = 60_000
TEN_SECONDS_MS = 10_000

_KEY = re.compile(r"paper-([a-z0-9-]{1,32})")
_SIGNATURE = re.compile(r"(^|&)signature=([^&]*)")


def account_of(key: str) -> str:
    """The account that an API key speaks for: `paper-<name>` for `<name>`."""
    if not key:
        raise Refusal(-2014, status=401)
    named = _KEY.fullmatch(key)
    if named is None:
        raise Refusal(-2015, status=401)
    return named[1]


def check_signed(query: str, body: str, parameters: Parameters, now_ms: int) -> None:
    """Refuse a request that is too old, from the future, or not signed with the secret."""
    at_ms = parameters.integer("timestamp")
    window_ms = parameters.integer_or("recvWindow", RECV_WINDOW_MS)
    if window_ms > RECV_WINDOW_MAX_MS:
        raise Refusal(-1131, "recvWindow must be less than 60000")
    if at_ms >= now_ms + AHEAD_MAX_MS:
        raise Refusal(
            -1021,
            f"Timestamp for this request was {AHEAD_MAX_MS}ms ahead of the server's time.",
        )
    if now_ms - at_ms > window_ms:
        raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
    signature = parameters.text("signature").lower()
    signed = _SIGNATURE.sub("", query) + _SIGNATURE.sub("", body)
    expected = hmac.new(SECRET.encode(), signed.encode(), sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise Refusal(-1022)


@dataclass(slots=True)
class _Used:
    """What was used of a limit in the interval that began last."""

    interval_ms: int
    begins_ms: int = 0
    amount: int = 0

    def add(self, amount: int, now_ms: int) -> int:
        begins_ms = now_ms - now_ms % self.interval_ms
        if begins_ms != self.begins_ms:
            self.begins_ms, self.amount = begins_ms, 0
        self.amount += amount
        return self.amount

    def ends_in_s(self, now_ms: int) -> int:
        return max(1, -(-(self.begins_ms + self.interval_ms - now_ms) // 1000))


@dataclass(slots=True)
class _Address:
    weight: _Used = field(default_factory=lambda: _Used(MINUTE_MS))
    ignored: int = 0
    banned_until_ms: int = 0


@dataclass(slots=True)
class _Orders:
    short: _Used = field(default_factory=lambda: _Used(TEN_SECONDS_MS))
    long: _Used = field(default_factory=lambda: _Used(MINUTE_MS))


class Limits:
    """Weights by address and orders by account, in the venue's fixed intervals."""

    def __init__(self) -> None:
        self._addresses: dict[str, _Address] = {}
        self._orders: dict[str, _Orders] = {}

    def weigh(self, address: str, weight: int, now_ms: int) -> int:
        """Count a request; what the address has used of this minute. 429 and 418 are raised."""
        known = self._addresses.setdefault(address, _Address())
        if now_ms < known.banned_until_ms:
            raise _banned(known.banned_until_ms, now_ms)
        used = known.weight.add(weight, now_ms)
        if used <= WEIGHT_MAX:
            known.ignored = 0
            return used
        known.ignored += 1
        if known.ignored > PATIENCE:
            known.banned_until_ms = now_ms + BAN_MS
            raise _banned(known.banned_until_ms, now_ms)
        raise Refusal(
            -1003,
            f"Too many requests; current limit of IP({address}) is {WEIGHT_MAX} requests per "
            "minute. Please use the websocket for live updates to avoid polling the API.",
            status=429,
            retry_after_s=known.weight.ends_in_s(now_ms),
        )

    def count_order(self, account: str, now_ms: int) -> tuple[int, int]:
        """Count an order; what the account has used of these 10 s and of this minute."""
        orders = self._orders.setdefault(account, _Orders())
        short, long = orders.short.add(1, now_ms), orders.long.add(1, now_ms)
        for used, limit, interval in (
            (short, ORDERS_10S_MAX, orders.short),
            (long, ORDERS_1M_MAX, orders.long),
        ):
            if used > limit:
                text = f"Too many new orders; current limit is {limit} orders."
                raise Refusal(-1015, text, 429, interval.ends_in_s(now_ms))
        return short, long

    def ban(self, address: str, until_ms: int) -> None:
        """Refuse everything of an address until then, as the venue does after too many 429."""
        self._addresses.setdefault(address, _Address()).banned_until_ms = until_ms


def _banned(until_ms: int, now_ms: int) -> Refusal:
    return Refusal(
        -1003,
        f"Way too many requests; IP banned until {until_ms}. "
        "Please use the websocket for live updates to avoid bans.",
        status=418,
        retry_after_s=max(1, (until_ms - now_ms) // 1000),
    )
