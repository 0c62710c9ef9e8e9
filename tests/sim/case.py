"""What one seed stands for: a position, a policy, prices, and everything that will go wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from bot.core.model import (
    ContractKind,
    Instrument,
    MaintenanceAt,
    MarginOnReduce,
    RiskTier,
    Side,
    VenueRules,
)
from bot.core.policy import Policy
from bot.core.units import Money, Price, Quantity, Ratio, floor_to
from bot.exchange.paper.arithmetic import liquidation_price, money_up
from bot.exchange.paper.faults import FaultPlan
from bot.exchange.paper.prices import PricePoint
from bot.exchange.venues.binanceusdm import instruments
from bot.policy.loader import parse_policy
from tests.sim.policies import policy_text
from tests.sim.prices import Weather, generated_path

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
QUIET_MS = 7 * MINUTE_MS
"""So long before the end everything has stopped going wrong."""

ACCOUNT = "sim"
D = Decimal

NETWORK = (
    "request_lost", "request_late", "reply_lost", "reply_late", "read_lost", "notice_lost",
    "stream_broken", "stops_refused",
)  # fmt: skip
OUTAGES = ("blackout", "market_stalled", "journal_down", "stops_down")
HUMAN = ("user_cancels", "user_closes_part", "user_closes", "user_places", "user_adds")
KILLS = ("kill_at_time", "kill_at_await", "kill_after_send")
OTHER = ("stops_down_for_good", "user_reenters", "gap")
KINDS = (*NETWORK, *OUTAGES, *HUMAN, *KILLS, *OTHER)


@dataclass(frozen=True, slots=True)
class Windows:
    """Stretches of time."""

    spans: tuple[tuple[int, int], ...] = ()

    def cover(self, at_ms: int) -> bool:
        """Whether `at_ms` lies in one of them."""
        return any(first <= at_ms < last for first, last in self.spans)


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
    """The faults of one seed. Nothing new goes wrong from `until_ms` on."""

    enabled: frozenset[str]
    until_ms: int
    plan: FaultPlan
    outages: dict[str, Windows]
    kills: tuple[Kill, ...]
    human: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a seed decides."""

    seed: int
    instrument: Instrument
    side: Side
    leverage: Decimal
    quantity: Quantity
    deposit: Money
    slippage: Ratio
    latency_ms: int
    start: PricePoint
    duration_ms: int
    weather: Weather
    policy_text: str
    policy: Policy
    swarm: Swarm

    @property
    def ends_at_ms(self) -> int:
        """When the prices end."""
        return self.start.at_ms + self.duration_ms

    def stream(self, name: str) -> Random:
        """A random stream of its own: what one thing draws shifts no other."""
        return Random(f"{self.seed}:{name}")

    def path(self) -> Iterator[PricePoint]:
        """The prices from the start on."""
        random = self.stream("prices")
        yield self.start
        yield from generated_path(
            random, self.instrument, self.start, self.duration_ms, self.weather
        )


def draw(seed: int) -> Case:
    """The case of `seed`: the same in every process."""
    random = Random(f"{seed}:case")
    instrument, price = _instrument(random)
    side = random.choice(list(Side))
    leverage = D(random.choice((3, 5, 8, 10, 15, 20, 25, 35, 50)))
    notional = D(round(10 ** random.uniform(3, 5.3)))
    quantity = _quantity(instrument, notional, price)
    margin = money_up(quantity * price / leverage)
    level = liquidation_price(instrument, side, quantity, price, margin)
    distance = side.sign * (price - level) / price
    reserve = Money(D(round(float(margin) * random.uniform(0.05, 2.5), 2)).quantize(D("0.01")))
    text = policy_text(random, distance, margin, reserve)
    duration_ms = random.randint(20, 90) * MINUTE_MS
    swarm = _swarm(random, START_MS, duration_ms)
    regimes = ["calm", "calm", "crash", "crash", "squeeze", "spike", "diverge", "recover"]
    if "gap" in swarm.enabled:
        regimes += ["gap", "gap"]
    return Case(
        seed=seed,
        instrument=instrument,
        side=side,
        leverage=leverage,
        quantity=quantity,
        deposit=Money(margin + reserve),
        slippage=Ratio(D(random.choice(("0", "0.0002", "0.001")))),
        latency_ms=random.choice((5, 20, 80, 250, 400)),
        start=PricePoint(START_MS, instrument.symbol, price, price),
        duration_ms=duration_ms,
        weather=Weather(
            side, float(distance), random.choice((500, 1500, 2500, 5000)), tuple(regimes)
        ),
        policy_text=text,
        policy=parse_policy(text, f"policy of seed {seed}"),
        swarm=swarm,
    )


def _instrument(random: Random) -> tuple[Instrument, Price]:
    listed = instruments()
    if random.random() < 0.4:
        return listed["BTC/USDT:USDT"], Price(D(random.randint(200_000, 900_000)) / 10)
    tick = D(10) ** -random.randint(1, 6)
    price = Price(tick * random.randint(20_000, 900_000))
    rules = VenueRules(
        maintenance_at=random.choice(list(MaintenanceAt)),
        close_fee_in_maintenance=random.random() < 0.5,
        position_margin_step=random.choice((D("0.01"), D("0.00000001"))),
        margin_on_reduce=MarginOnReduce.PRO_RATA,
    )
    unit = D(10) ** -(price.adjusted() - 1)
    drawn = Instrument(
        symbol="SIM/USDT:USDT",
        kind=ContractKind.LINEAR,
        settle="USDT",
        tick_size=Price(tick),
        quantity_step=Quantity(unit / 10),
        quantity_min=Quantity(unit / 10),
        taker_fee=Ratio(D(random.choice(("0", "0.0004", "0.0006")))),
        tiers=_tiers(random),
        rules=rules,
    )
    return drawn, price


def _tiers(random: Random) -> tuple[RiskTier, ...]:
    """One to four brackets with continuous deductions; the first takes the leverage drawn."""
    caps = sorted(D(random.randint(1, 400)) * 1_000 for _ in range(random.randint(0, 3)))
    table: list[RiskTier] = []
    floor, deduction, rate = D(0), D(0), D(random.randint(20, 60)) / 10_000
    for cap in (*dict.fromkeys(caps), D("Infinity")):
        table.append(RiskTier(floor, cap, Ratio(rate), Money(deduction), D(125)))
        higher = rate + D(random.randint(5, 60)) / 10_000
        deduction += cap * (higher - rate) if cap.is_finite() else D(0)
        floor, rate = cap, higher
    return tuple(table)


def _quantity(instrument: Instrument, notional: Decimal, price: Price) -> Quantity:
    step = instrument.quantity_step
    return Quantity(max(floor_to(notional / price, step), 10 * step))


def _swarm(random: Random, start_ms: int, duration_ms: int) -> Swarm:
    calm = random.random() < 0.12
    share = random.choice((0.12, 0.25, 0.5))
    enabled = frozenset(kind for kind in KINDS if random.random() < share and not calm)
    first_ms, until_ms = start_ms + 5_000, start_ms + duration_ms - QUIET_MS

    def moment() -> int:
        return random.randint(first_ms, until_ms - 1)

    def windows(kind: str, longest_ms: int) -> Windows:
        if kind not in enabled:
            return Windows()
        begins = sorted(moment() for _ in range(random.randint(1, 6)))
        return Windows(
            tuple((at, min(at + random.randint(500, longest_ms), until_ms)) for at in begins)
        )

    outages = {
        "blackout": windows("blackout", 90_000),
        "market_stalled": windows("market_stalled", 120_000),
        "journal_down": windows("journal_down", 180_000),
        "stops_down": windows("stops_down", 600_000),
    }
    if "stops_down_for_good" in enabled:
        outages["stops_down"] = Windows(((moment(), start_ms + duration_ms + 10**9),))
    kills = [
        Kill(moment(), 0 if kind == "kill_at_time" else random.randint(0, 40), "send" in kind)
        for kind in KILLS
        if kind in enabled
        for _ in range(random.randint(1, 5))
    ]
    human = [
        (moment(), kind)
        for kind in (*HUMAN, "user_reenters")
        if kind in enabled
        for _ in range(random.randint(1, 5))
    ]
    return Swarm(
        enabled=enabled,
        until_ms=until_ms,
        plan=_plan(random, enabled),
        outages=outages,
        kills=tuple(sorted(kills, key=lambda kill: kill.at_ms)),
        human=tuple(sorted(human)),
    )


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
