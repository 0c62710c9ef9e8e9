"""
From a mark price to a signed order: what it takes, and with whom.

    make bench ONLY=wire

All contenders meet the same exchange over loopback, in turn: ours, which decides by a policy and
makes decision and intent durable first; blocking sockets with an fdatasync, the floor; ccxt with
its limiter off and an fdatasync; ccxt as it comes. The venue runs on one processor, the contender
on the other. Ratios are the figures to keep; times are this machine's. At the end stands which of
the aims are met, and which are not.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.reaction.terms import ACCOUNT, BREACH_AT, CALM_AT, KEY, SECRET, SYMBOLS, id_of
from bench.reaction.venue import Venue, venue

ROOT = Path(__file__).parents[1]
CLIENTS = ROOT / "bench" / "reaction" / "clients.py"
ROUNDS = 10
BURSTS = 10
BREATH_S = 0.05
"""Between two breaches."""

REST_S = 12
"""After a round: every close is proven, behind the budget of reads, and nothing fires any more. A
position has one close under way at a time, so the next breach of it would wait for that."""

CONTENDERS = ("blocking", "ccxt", "ours", "ccxt-default")
QUEUES = ("queue-ours", "queue-ccxt", "queue-ccxt-default")
POLICY = f"""
schema: liqguard/v1
account: {{ name: {ACCOUNT}, venue: binanceusdm, margin_mode: isolated, position_mode: one_way }}
protect: {{ stop: {{ room: 1% }}, floor: 0.5%, floor_in_hold: close, unknown_after: 60s }}
guardrails:
  keep_free: 100 USDT
  top_up: {{ per_action: 1 USDT, per_1h: 1 USDT, per_24h: 1 USDT, per_episode: 1 USDT }}
  top_ups_per_episode: 1
  actions_per_1m: 10000
  data_max_age: 5s
  loss_max: 1000000 USDT
  slippage_max: 100 bps
rules:
  - rule: ladder
    match: {{ symbols: any, side: any, margin_mode: isolated }}
    watch: liquidation_distance
    hysteresis: 0.5%
    ladder:
      - {{ step: warn, below: 8%, for: 0s, do: alert }}
      - step: part
        below: 6%
        for: 0s
        do: partial_close
        with: {{ fraction: 1% }}
        cooldown: 3s
"""


FLOOR_MAX = 3.0
"""Times the floor that ours may take, at the median: for a decision and a durable intent."""

CCXT_MAX = 1.1
"""Times ccxt with its limiter off and an fdatasync."""

BURST_MAX_MS = 15.0
"""For the last of twenty breaches at once, at the median."""

QUEUE_MAX_MS = 50.0
"""For an order of ours behind a hundred polls."""


@dataclass(slots=True)
class Times:
    """Milliseconds: of single breaches, and of the last order of twenty breaches at once."""

    single: list[float] = field(default_factory=list)
    burst: list[float] = field(default_factory=list)


async def _measure(kind: str) -> Times:
    times = Times()
    async with venue() as place, _contender(kind, place):
        for _ in range(ROUNDS):
            for symbol in SYMBOLS:
                await asyncio.sleep(BREATH_S)
                times.single += await _breach(place, [symbol])
            await _rest(place)
        for _ in range(BURSTS):
            times.burst.append(max(await _breach(place, SYMBOLS)))
            await _rest(place)
    return times


async def _breach(place: Venue, symbols: tuple[str, ...] | list[str]) -> list[float]:
    """Until an order has come for each: milliseconds since the first of these marks went out."""
    place.watch.reset(map(id_of, symbols))
    place.breach(symbols, BREACH_AT)
    await place.watch.orders({id_of(symbol) for symbol in symbols})
    place.breach(symbols, CALM_AT)  # before it fires again
    began = min(place.watch.marked_at[id_of(symbol)] for symbol in symbols)
    return [(place.watch.ordered_at[id_of(symbol)] - began) * 1000 for symbol in symbols]


async def _rest(place: Venue) -> None:
    await asyncio.sleep(REST_S)


@asynccontextmanager
async def _contender(kind: str, place: Venue) -> AsyncIterator[None]:
    """Its process, on the processor that the venue does not use, ready to be measured."""
    with TemporaryDirectory() as folder:
        command, environment = _command(kind, place.port, Path(folder))
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {max(_PROCESSORS)}),
        )
        try:
            async with asyncio.timeout(60):
                await (_protected(place) if kind == "ours" else _said(process))
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _command(kind: str, port: int, folder: Path) -> tuple[list[str], Mapping[str, str]]:
    if kind != "ours":
        return [sys.executable, str(CLIENTS), kind, str(port), str(folder / "rows")], {}
    policy = folder / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    keys = folder / "credentials" / f"{ACCOUNT}.json"
    keys.parent.mkdir()
    keys.write_text(json.dumps({"key": KEY, "secret": SECRET}), encoding="utf-8")
    keys.chmod(0o600)
    arguments = ["run", "--mode", "live", "--untested", "--no-alerts", "--policy", str(policy)]
    return [sys.executable, "-m", "bot", *arguments, "--wire", str(port)], {
        "LIQGUARD_STATE_DIR": str(folder)
    }


async def _said(process: asyncio.subprocess.Process) -> str:
    """Its next line."""
    if process.stdout is None or not (line := await process.stdout.readline()):
        raise SystemExit("bench: expected a contender that begins, was one that ended")
    return line.decode()


async def _protected(place: Venue) -> None:
    """The guard has begun when every position has its stop."""
    while await place.stops() < len(SYMBOLS):  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.1)
    await asyncio.sleep(REST_S)


async def _queue(kind: str) -> float:
    """Milliseconds that an order takes which is sent behind a hundred polls."""
    async with venue() as place:
        with TemporaryDirectory() as folder:
            command, _ = _command(kind, place.port, Path(folder))
            process = await asyncio.create_subprocess_exec(
                *command,
                stdout=asyncio.subprocess.PIPE,
                preexec_fn=lambda: os.sched_setaffinity(0, {max(_PROCESSORS)}),
            )
            try:
                began = float(await _said(process))
                await place.watch.orders({id_of(SYMBOLS[0])})
            finally:
                process.kill()
                await process.wait()
            (ordered,) = place.watch.ordered_at.values()
            return (ordered - began) * 1000


@dataclass(frozen=True, slots=True)
class Aim:
    """What is to be had, and what was measured of it."""

    text: str
    most: float
    was: float

    def __str__(self) -> str:
        """One line of the table."""
        met = "met" if self.was <= self.most else "MISSED"
        return f"{met:6}  {self.text}: {self.was:.2f}, of at most {self.most:g}"


def aims(times: Mapping[str, Times], queued_ms: Mapping[str, float]) -> list[Aim]:
    """Those of which everything was measured that they compare."""
    found = []
    if ours := times.get("ours"):
        for other, most in (("blocking", FLOOR_MAX), ("ccxt", CCXT_MAX)):
            if other in times:
                ratio = median(ours.single) / median(times[other].single)
                found.append(Aim(f"single, p50, times {other}", most, ratio))
        found.append(Aim("the last of 20 at once, ms", BURST_MAX_MS, median(ours.burst)))
    if "queue-ours" in queued_ms:
        found.append(Aim("behind 100 polls, ms", QUEUE_MAX_MS, queued_ms["queue-ours"]))
    return found


_PROCESSORS = os.sched_getaffinity(0)


def main() -> None:
    """Measure everyone; print the table, and the aims."""
    os.sched_setaffinity(0, {min(_PROCESSORS)})
    times, queued_ms = dict[str, Times](), dict[str, float]()
    for kind in sys.argv[1:] or CONTENDERS:
        times[kind] = asyncio.run(_measure(kind))
        single = quantiles(times[kind].single, n=100)
        sys.stdout.write(
            f"{kind:13} single p50 {single[49]:8.2f} ms  p99 {single[98]:8.2f} ms   "
            f"20 at once, the last: median {median(times[kind].burst):8.2f} ms\n"
        )
    for kind in QUEUES:
        queued_ms[kind] = asyncio.run(_queue(kind))
        sys.stdout.write(f"{kind:20} {queued_ms[kind]:10.1f} ms\n")
    for aim in aims(times, queued_ms):
        sys.stdout.write(f"{aim}\n")


if __name__ == "__main__":
    main()
