"""Everything that goes wrong in a seed, drawn in advance."""

from collections.abc import Set
from dataclasses import dataclass, replace
from random import Random

from bot.exchange.paper.faults import FaultPlan
from tests.sim.ingredients import Stream, draw_ingredients, own_stream

MINUTE_MS = 60_000
LONG_MS = 8 * MINUTE_MS
"""Where so long a time is for things to go wrong, they do so more often."""

NETWORK = (
    "request_lost", "request_late", "reply_lost", "reply_late", "read_lost", "notice_lost",
    "stream_broken", "stops_refused",
)  # fmt: skip
OUTAGES = ("blackout", "market_stalled", "symbol_stalled", "journal_down", "stops_down")
HUMAN = (
    "user_cancels",
    "user_closes_part",
    "user_closes",
    "user_places",
    "user_adds",
    "user_holds",
)
KILLS = ("kill_at_time", "kill_at_await", "kill_after_send")
OTHER = ("margin_lost", "stops_down_for_good", "user_reenters", "gap", "thin")
KINDS = (*NETWORK, *OUTAGES, *HUMAN, *KILLS, *OTHER)
MEDDLING = ("user_grows", "user_flips", "user_withdraws", "user_levers")
RARER = ("banned", "read_late", "margin_queued", "said_twice", "skewed", *MEDDLING)
"""Drawn by a stream of their own."""

NEWER = ("throttled",)
"""Drawn by another one, so that nothing before them is drawn differently."""

SURPRISES = frozenset({"delisted", "deleveraged", "margin_mode", "position_mode"})
"""What changes the account itself, done with the same hand as what users do."""

SKEW_MAX_MS = 4_000
"""Of two clocks; what the guard does in time for a settlement allows for as much."""

JUMPS_MAX_MS = (SKEW_MAX_MS, SKEW_MAX_MS, 90_000)
"""By so much a venue's clock may be off after a jump: one of its servers is another's replica."""

MARGIN_QUEUED = 0.7
QUEUED_MAX_MS = 24_000
"""A venue that has taken a request in time may perform it so much later."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Stretches of time."""

    spans: tuple[tuple[int, int], ...] = ()

    def cover(self, at_ms: int) -> bool:
        """Whether `at_ms` lies in one of them."""
        return bool(self.spans) and any(first <= at_ms < last for first, last in self.spans)

    def end(self, at_ms: int) -> int:
        """When those that `at_ms` lies in are over, 0 where it lies in none."""
        return max((last for first, last in self.spans if first <= at_ms < last), default=0)


@dataclass(frozen=True, slots=True)
class Kill:
    """
    The guard's process dies at `at_ms`, or after so many more resumptions of its tasks.

    With `after_send` these are counted from the next request that it sends.
    """

    at_ms: int
    resumptions: int
    after_send: bool


@dataclass(frozen=True, slots=True)
class Swarm:
    """
    The faults of one seed. Nothing new goes wrong from `until_ms` on.

    `enabled` names its ingredients too. `margin_lost`, `margin_reply_lost` and `margin_queued` are
    chances of a request that moves margin, besides those that every request runs; `read_late` is
    one of every read, `said_twice` of every notice and price. The venue's clock is `skew_ms`
    ahead, until it `jumps`: when, and how far it is ahead from then on.
    """

    enabled: frozenset[str]
    until_ms: int
    plan: FaultPlan
    margin_lost: float
    margin_reply_lost: float
    margin_queued: float
    read_late: float
    said_twice: float
    skew_ms: int
    outages: dict[str, Windows]
    kills: tuple[Kill, ...]
    human: tuple[tuple[int, str], ...]
    jumps: tuple[tuple[int, int], ...] = ()

    def skewed_ms(self, at_ms: int) -> int:
        """How far the venue's clock is ahead at that moment."""
        return next((by for since, by in reversed(self.jumps) if since <= at_ms), self.skew_ms)


def draw_swarm(  # noqa: PLR0917 - streams that must not be taken for one another
    random: Random,
    rarer: Random,
    newer: Random,
    stream: Stream,
    forced: Set[str],
    start_ms: int,
    duration_ms: int,
    quiet_ms: int,
) -> Swarm:
    """What goes wrong, from the start until so long before the end; the `forced` does so."""
    calm = random.random() < 0.12
    share = random.choice((0.12, 0.25, 0.5))
    shares = dict.fromkeys(KINDS, share) | {"margin_lost": 0.5}
    enabled = frozenset(kind for kind in KINDS if random.random() < shares[kind] and not calm)
    enabled |= {kind for kind in RARER if rarer.random() < share / 2 and not calm}
    enabled |= {kind for kind in NEWER if newer.random() < share / 2 and not calm}
    enabled |= draw_ingredients(stream, calm=calm) | forced
    if enabled & {"skewed", "venue_jumps", "rival"}:
        # Of two clocks one is enough: together they go by too much. Which guard is the elder one
        # they say by their own.
        enabled -= {"wall_jumps"}
    first_ms, until_ms = start_ms + 5_000, start_ms + duration_ms - quiet_ms

    def moment(chance: Random = random) -> int:
        return chance.randint(first_ms, until_ms - 1)

    # A short crisis has not so much of anything, or nothing would be left in between.
    span_ms = until_ms - first_ms
    is_long = span_ms >= LONG_MS

    def times(most: int, chance: Random = random) -> range:
        return range(chance.randint(1, most if is_long else (most + 1) // 2))

    def windows(kind: str, longest_ms: int, chance: Random = random) -> Windows:
        if kind not in enabled:
            return Windows()
        most_ms = min(longest_ms, span_ms // 2)
        begins = sorted(moment(chance) for _ in times(6, chance))
        return Windows(
            tuple((at, min(at + chance.randint(500, most_ms), until_ms)) for at in begins)
        )

    outages = {
        "blackout": windows("blackout", 90_000),
        "market_stalled": windows("market_stalled", 120_000),
        "symbol_stalled": windows("symbol_stalled", 240_000),
        "journal_down": windows("journal_down", 180_000),
        "stops_down": windows("stops_down", 600_000),
        "banned": windows("banned", 120_000, rarer),
        "throttled": windows("throttled", 60_000, newer),
        "maintenance": windows("maintenance", 90_000, own_stream(stream, "maintenance", "when")),
        "bot_reenters": windows(
            "bot_reenters", 90_000, own_stream(stream, "bot_reenters", "when")
        ),
    }
    if "stops_down_for_good" in enabled:
        outages["stops_down"] = Windows(((moment(), start_ms + duration_ms + 10**9),))
    kills = [
        Kill(moment(), 0 if kind == "kill_at_time" else random.randint(0, 40), "send" in kind)
        for kind in KILLS
        if kind in enabled
        for _ in times(5)
    ]
    human = [
        (moment(), kind) for kind in (*HUMAN, "user_reenters") if kind in enabled for _ in times(5)
    ]
    human += [
        (moment(rarer), kind) for kind in MEDDLING if kind in enabled for _ in times(4, rarer)
    ]
    for kind in sorted(SURPRISES & enabled):
        when = own_stream(stream, kind, "when")
        human += [(moment(when), kind) for _ in times(2, when)]
    lost, reply_lost = random.choice(((0.5, 0.0), (0.0, 0.5), (0.3, 0.4)))
    hits_margin = "margin_lost" in enabled
    jump = own_stream(stream, "venue_jumps", "when")
    jumps = [
        (moment(jump), jump.randint(-jump_ms, jump_ms))
        for jump_ms in (jump.choice(JUMPS_MAX_MS) for _ in times(5, jump))
    ]
    return Swarm(
        enabled=enabled,
        until_ms=until_ms,
        plan=_plan(random, enabled),
        margin_lost=lost if hits_margin else 0.0,
        margin_reply_lost=reply_lost if hits_margin else 0.0,
        margin_queued=MARGIN_QUEUED if "margin_queued" in enabled else 0.0,
        read_late=rarer.choice((0.1, 0.5)) if "read_late" in enabled else 0.0,
        said_twice=0.3 if "said_twice" in enabled else 0.0,
        skew_ms=rarer.randint(-SKEW_MAX_MS, SKEW_MAX_MS) if "skewed" in enabled else 0,
        jumps=tuple(sorted(jumps)) if "venue_jumps" in enabled else (),
        outages=outages,
        kills=tuple(sorted(kills, key=lambda kill: kill.at_ms)),
        human=tuple(sorted(human)),
    )


def with_late_top_ups(swarm: Swarm) -> Swarm:
    """The same, with a venue that keeps most requests waiting that move margin."""
    return replace(swarm, enabled=swarm.enabled | {"margin_queued"}, margin_queued=MARGIN_QUEUED)


def _plan(random: Random, enabled: frozenset[str]) -> FaultPlan:
    chances = {
        kind: random.choice((0.03, 0.1, 0.24)) if kind in enabled else 0.0 for kind in NETWORK
    }
    return FaultPlan(
        **chances,
        stops_refused_ms=random.choice((5_000, 30_000, 120_000)),
        delay_ms_max=random.choice((2_000, 8_000)),
        timeout_ms=random.choice((1_000, 3_000, 5_000)),
    )
