"""
The public history of a venue through ccxt: bars, mark bars, funding, and what a contract is.

Nothing here needs a key. A request is repeated while the venue may yet answer: after a lost
connection, a late or unreadable answer, or when it asks to come back later. What ccxt returns is
checked before it is believed: it makes rows of what is no JSON at all.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, NoReturn, TypeVar

import aiohttp
import ccxt.async_support as ccxt
from asyncio_throttle.throttler import Throttler

from bot.clock import Clock
from bot.exchange.ports import Unreachable
from bot.exchange.venues.public import PUBLIC

T = TypeVar("T")

ATTEMPTS = 6
WAIT_FIRST_MS = 1_000
WAIT_LONGEST_MS = 60_000
REQUESTS_PER_S = 5
TIMEOUT_MS = 15_000
SETTLEMENTS_MAX = 200
"""Of funding, in an answer: what every venue gives."""

_OK, _TOO_MANY, _BANNED, _SERVER_ERROR = 300, 429, 418, 500
_SHOWN_MAX = 120


class HistoryRefused(Exception):
    """The venue answered that it has not what was asked for. One line for the user."""


@dataclass(frozen=True, slots=True)
class Kline:
    """A bar as the venue gives it, opened at `open_at_ms`."""

    open_at_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Settlement:
    """Funding of `rate` was settled at `at_ms`."""

    at_ms: int
    rate: Decimal


@dataclass(frozen=True, slots=True)
class TierRow:
    """A risk tier: up to `cap` of notional."""

    cap: Decimal
    maintenance_margin_rate: Decimal
    leverage_max: Decimal


@dataclass(frozen=True, slots=True)
class Contract:
    """
    A linear perpetual contract, `symbol` as unified and `name` as the venue writes it.

    `tiers` is empty where the venue does not publish them.
    """

    symbol: str
    name: str
    tick_size: Decimal
    quantity_step: Decimal
    quantity_min: Decimal
    taker_fee: Decimal
    tiers: tuple[TierRow, ...]


@dataclass(slots=True)
class _Answer:
    """The newest answer of the venue."""

    status: int = 0
    retry_after: str = ""
    body: Any = None


@asynccontextmanager
async def open_history(
    venue: str, clock: Clock, options: Mapping[str, Any], say: Callable[[str], None]
) -> AsyncIterator["VenueHistory"]:
    """
    The public history of `venue`, closed afterwards.

    `options` go to ccxt's class; `say` hears why something takes longer. Raises `HistoryRefused`
    for a venue that is not known.
    """
    if venue not in PUBLIC:
        raise HistoryRefused(f"venue: expected one of {', '.join(PUBLIC)}, was {venue!r}")
    plain = {
        "enableRateLimit": True,
        "timeout": TIMEOUT_MS,
        "aiohttp_trust_env": True,
        "options": {"fetchCurrencies": False, "fetchMarkets": {"types": ["linear"]}},
    }
    client = getattr(ccxt, venue)({**plain, **options})
    try:
        yield VenueHistory(venue, client, clock, say)
    finally:
        await client.close()


class VenueHistory:
    """Asks one venue, a request at a time."""

    def __init__(self, venue: str, client: Any, clock: Clock, say: Callable[[str], None]) -> None:
        """Take over ccxt's `client`: its numbers become exact, its answers are looked at."""
        self.venue = venue
        self.bars_max = PUBLIC[venue].bars_max
        self._client, self._clock, self._say = client, clock, say
        self._throttle = Throttler(rate_limit=REQUESTS_PER_S, period=1.0)
        self._answer = _Answer()
        client.number = Decimal
        client.on_rest_response = self._look_at

    async def now_ms(self) -> int:
        """The venue's time."""
        return await self._ask(
            "its time", self._client.fetch_time, lambda at_ms: _whole("time", at_ms)
        )

    async def contract(self, named: str) -> Contract:
        """The linear perpetual contract called `named`, in the venue's words or unified."""
        listed = await self._ask(
            "its contracts",
            self._client.load_markets,
            lambda markets: _listed(_market(markets, named, self.venue)),
        )
        if not PUBLIC[self.venue].tiers:
            return listed
        return replace(listed, tiers=await self._tiers(listed.symbol))

    async def klines(
        self, symbol: str, interval: str, span: tuple[int, int], *, mark: bool
    ) -> tuple[Kline, ...]:
        """
        Bars that open within `span`, of the last price or the mark price; maybe not all of them.

        `span` is from its first millisecond up to, not including, its second, of at most
        `bars_max` bars.
        """
        begins_ms, ends_ms = span
        more = {"until": ends_ms - 1} | ({"price": "mark"} if mark else {})
        bars = await self._ask(
            f"{symbol} bars",
            lambda: self._client.fetch_ohlcv(symbol, interval, begins_ms, self.bars_max, more),
            lambda rows: [_kline(row, mark=mark) for row in self._rows(rows)],
        )
        return tuple(bar for bar in bars if begins_ms <= bar.open_at_ms < ends_ms)

    async def settlements(self, symbol: str, span: tuple[int, int]) -> tuple[Settlement, ...]:
        """All settlements of funding within `span`, in the order of time."""
        begins_ms, ends_ms = span
        found: dict[int, Settlement] = {}
        while True:
            since_ms = max(found, default=begins_ms - 1) + 1
            read = await self._ask(
                f"{symbol} funding",
                partial(
                    self._client.fetch_funding_rate_history,
                    symbol,
                    since_ms,
                    SETTLEMENTS_MAX,
                    {"until": ends_ms - 1},
                ),
                lambda rows: [_settlement(row) for row in self._rows(rows)],
            )
            new = {each.at_ms: each for each in read if since_ms <= each.at_ms < ends_ms}
            if not new:
                return tuple(found[at_ms] for at_ms in sorted(found))
            found |= new

    async def _tiers(self, symbol: str) -> tuple[TierRow, ...]:
        tiers = await self._ask(
            f"{symbol} tiers",
            lambda: self._client.fetch_market_leverage_tiers(symbol),
            lambda rows: [_tier(row) for row in rows],
        )
        if not tiers:
            raise HistoryRefused(f"{self.venue}: {symbol} tiers: expected some, was none")
        return tuple(tiers)

    def _rows(self, rows: list[Any]) -> list[Any]:
        """The rows that ccxt made; none of them only where the venue said that there are none."""
        if not rows and not _says_none(self._answer.body):
            raise _BadRow(f"nothing of {self._answer.body!r}"[:_SHOWN_MAX])
        return rows

    async def _ask(
        self, what: str, request: Callable[[], Awaitable[Any]], read: Callable[[Any], T]
    ) -> T:
        """What `read` makes of the answer to `request`, which is repeated while that may help."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._throttle:
                    return read(await request())
            except (
                ccxt.BaseError,
                _BadRow,
                ValueError,
                TypeError,
                LookupError,
                ArithmeticError,
            ) as e:
                why = self._reason(what, e)
            if attempt < ATTEMPTS:
                wait_ms = self._wait_ms(attempt, why)
                self._say(f"{why}; again in {wait_ms / 1000:g} s")
                await self._clock.sleep_ms(wait_ms)
        raise Unreachable(f"{why}, {ATTEMPTS} times")

    def _reason(self, what: str, error: Exception) -> str:
        """Why there is no answer yet; raises where asking again is no use."""
        place = f"{self.venue}: {what}"
        if self._answer.status == _BANNED:
            again = self._answer.retry_after
            until = f" for {again} s" if again else ""
            raise Unreachable(f"{place}: this address is banned{until} (418)") from error
        if _is_lost(error):
            return f"{place}: {_line(error)}"
        if isinstance(error, ccxt.BaseError):
            raise HistoryRefused(f"{place}: {_line(error)}") from error
        # Rows that ccxt could not make sense of: what the venue sent is not what it promises.
        return f"{place}: expected rows of numbers, was {_line(error)}"

    def _wait_ms(self, attempt: int, why: str) -> int:
        asked, self._answer.retry_after = self._answer.retry_after, ""
        if not asked.isdecimal():
            return min(WAIT_FIRST_MS << (attempt - 1), WAIT_LONGEST_MS)
        wait_ms = int(asked) * 1000
        if wait_ms > WAIT_LONGEST_MS:
            raise Unreachable(f"{why}; asks to come back in {asked} s")
        return wait_ms

    def _look_at(
        self,
        code: int,
        reason: str,
        url: str,
        method: str,
        response_headers: Mapping[str, str],
        response_body: str,
        *of_the_request: object,
    ) -> str:
        """ccxt's hook: see the status, and refuse a good one without JSON."""
        headers = {name.lower(): value for name, value in response_headers.items()}
        self._answer = _Answer(code, headers.get("retry-after", ""))
        body = response_body.strip()
        if code >= _SERVER_ERROR:
            raise ccxt.ExchangeNotAvailable(f"{code} {reason}")
        if code < _OK:
            try:
                self._answer.body = json.loads(body, parse_constant=_no_number)
            except ValueError as e:
                shown = " ".join(body[:40].split())
                raise ccxt.BadResponse(f"expected JSON, was {shown!r}") from e
        return body


class _BadRow(Exception):
    """What ccxt returned is no row."""


def _is_lost(error: Exception) -> bool:
    """Whether a request got no answer, and may get one."""
    if isinstance(error, ccxt.OperationFailed):
        return True
    # An answer that was cut off is an ExchangeError, and says so only in its cause.
    return isinstance(error, ccxt.BaseError) and isinstance(error.__cause__, aiohttp.ClientError)


def _says_none(body: Any) -> bool:
    """Whether an empty list stands somewhere in what the venue answered."""
    if isinstance(body, dict):
        return any(_says_none(part) for part in body.values())
    return isinstance(body, list) and not body


def _market(markets: Any, named: str, venue: str) -> Any:
    if not isinstance(markets, dict) or not markets:
        raise _BadRow("no contract")
    for market in markets.values():
        names = (market["symbol"], market["id"], f"{market['base']}/{market['quote']}")
        if market["swap"] and market["linear"] and named in names:
            return market
    expected = f"expected a linear perpetual contract of {venue}, like BTCUSDT"
    raise HistoryRefused(f"symbol: {expected}, was {named!r}")


def _listed(market: Any) -> Contract:
    return Contract(
        symbol=market["symbol"],
        name=market["id"],
        tick_size=_number("tick size", market["precision"]["price"]),
        quantity_step=_number("quantity step", market["precision"]["amount"]),
        quantity_min=_number("smallest quantity", market["limits"]["amount"]["min"]),
        taker_fee=_number("taker fee", Decimal(str(market["taker"]))),  # ccxt's own, a float
        tiers=(),
    )


def _tier(row: Any) -> TierRow:
    return TierRow(
        _number("cap", row["maxNotional"]),
        _number("maintenance margin rate", row["maintenanceMarginRate"]),
        _number("leverage", row["maxLeverage"]),
    )


def _kline(row: Any, *, mark: bool) -> Kline:
    at_ms, *numbers = row
    # A mark price is not traded: there is no volume, and some venues send none.
    prices = [_number("bar", number) for number in numbers[:4]]
    volume = Decimal(0) if mark else _number("volume", numbers[4], least=Decimal(0))
    open_, high, low, close = prices
    return Kline(_whole("bar", at_ms), open_, high, low, close, volume)


def _settlement(row: Any) -> Settlement:
    rate = _number("funding rate", row["fundingRate"], least=Decimal(-1))
    return Settlement(_whole("settlement", row["timestamp"]), rate)


def _number(what: str, value: Any, least: Decimal | None = None) -> Decimal:
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        number = Decimal(value)
        if number.is_finite() and (number > 0 if least is None else number >= least):
            return number
    raise _BadRow(f"{what} {value!r}")


def _whole(what: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise _BadRow(f"{what} at {value!r}")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _line(error: Exception) -> str:
    """What went wrong in a line, without what may be a whole page."""
    text = " ".join(str(error).split())
    shown = text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
    return f"{type(error).__name__.removeprefix('_')}: {shown}" if shown else type(error).__name__
