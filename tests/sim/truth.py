"""
What is true on the exchange, and what the guard may believe of it.

Everything is derived from the exchange's books and from the reads that the guard was given, by
the observer's own arithmetic.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from operator import is_not

from bot.core.model import AccountSnapshot, MarginMode, Position, Side
from bot.core.policy import Metric
from bot.core.units import Money, Price, Quantity
from bot.exchange.paper.books import Holding
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import FundingTerm
from tests.sim.case import ACCOUNT, Case
from tests.sim.pool import Listing, Pool, stake

MEMORY_MS = 75_000
"""The guard may stop and close on reads up to a minute old."""

BILL_MS = 305_000
"""So long before a settlement, by whichever clock, the guard may count its bill, and"""
SURELY_BILLED_MS = 240_000
"""so long before it must."""

BILL_SEEN_MS = 65_000
"""So long after a settlement the guard may not have seen yet what it took."""

STILL_AHEAD_MS = 5_000
"""By a clock that is so late, and without a newer word, what is settled is still ahead."""

FAR = 1_000
"""A mark does not get so many times as high."""

BILLS = (Metric.FUNDING_COST_INTERVAL, Metric.FUNDING_COST_24H)
"""What a rule may watch of the next bill, in the order of `Scene.costs`."""

ALONE = Decimal(1)
CROSS = "cross positions"
"""The group of all positions that share the wallet; an isolated one is a group by itself."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A position at one moment."""

    at_ms: int
    symbol: str
    side: Side
    mode: MarginMode
    mark: Price
    quantity: Quantity
    entry: Price
    margin: Money
    leverage: Decimal

    @property
    def group(self) -> str:
        """What it is liquidated with."""
        return CROSS if self.mode is MarginMode.CROSS else self.symbol

    def is_past(self, price: float) -> bool:
        """Whether the mark has gone against the position as far as `price`."""
        return self.side.sign * (float(self.mark) - price) <= 0

    def can_reach(self, price: float) -> bool:
        """Whether it is a price; a short that none liquidates has its level at a huge one."""
        return 0 < price < float(self.mark) * FAR


@dataclass(frozen=True, slots=True)
class View:
    """How a group looks: its distance, its ratio, and where each mark is when it is liquidated."""

    distance: float
    levels: Mapping[str, float]
    pool: Pool

    @property
    def ratio(self) -> float:
        """Requirement as a share of equity."""
        return self.pool.ratio()


@dataclass(frozen=True, slots=True)
class Scene:
    """
    One moment of the whole account.

    `real` is how each group is, `billed` how it will be once the bills ahead are paid. `views`
    are all that the guard may believe of it, the real one first. `costs` are the next bill, and
    the one before where that is just over, and a day of bills as shares of each position's margin,
    with the time of the settlement; none where the policy has no rule on bills.
    """

    at_ms: int
    truths: Mapping[str, Truth]
    real: Mapping[str, View]
    billed: Mapping[str, View]
    views: Mapping[str, tuple[View, ...]]
    costs: Mapping[str, tuple[tuple[float, float, int], ...]]

    def levels(self, symbol: str) -> Iterator[float]:
        """Every liquidation price of the position that the guard may believe in."""
        for view in self.views[self.truths[symbol].group]:
            yield view.levels[symbol]


class Eyes:
    """Looks at the exchange's books, and at them through the guard's newest read."""

    def __init__(self, case: Case, machine: PaperMachine) -> None:
        self._case, self._machine = case, machine
        self._listings = {each.symbol: Listing(each.instrument) for each in case.openings}
        self._betas = case.betas
        self._heeds_bills = any(rule.metric in BILLS for rule in case.policy.rules)
        self._compared: tuple[object, ...] = ()
        self._is_same = False
        self._settled: dict[str, tuple[int, float]] = {}
        self._terms: dict[str, FundingTerm] = {}

    def settled(self, symbol: str, at_ms: int) -> None:
        """A settlement has just charged the position."""
        self._settled[symbol] = (at_ms, float(self._machine._books.terms[symbol].rate))

    def truths(self) -> dict[str, Truth]:
        """The open positions by symbol."""
        books = self._machine._books
        holdings = books.accounts[ACCOUNT].holdings
        return {
            held.symbol: _truth(
                self._machine.at_ms, held.symbol, held, books.quotes[held.symbol].mark
            )
            for held in holdings.values()
        }

    def scene(self, reads: Iterable[AccountSnapshot]) -> Scene:
        """Everything as it is now, and by the guard's newest reads."""
        at_ms, truths = self._machine.at_ms, self.truths()
        self._see_settlements(at_ms)
        wallet = float(self._machine._books.accounts[ACCOUNT].wallet)
        pools = self._pools(truths.values(), wallet)
        bills = {symbol: self._bill(truth, at_ms) for symbol, truth in truths.items()}
        real = {group: view_of(pool) for group, pool in pools.items()}
        billed, views = dict(real), {group: [view] for group, view in real.items()}
        for group, pool in pools.items():
            if (bill := sum(bills[symbol][0] for symbol in pool.stakes)) > 0:
                views[group].append(view_of(pool.less(bill)))
            if (bill := sum(bills[symbol][1] for symbol in pool.stakes)) > 0:
                billed[group] = view_of(pool.less(bill))
        for read in reads:
            if self._still_shows(read):
                continue
            marks = {symbol: truth.mark for symbol, truth in truths.items()}
            for group, pool in self.believed(read, marks).items():
                if (
                    group in pools
                    and pool != pools[group]
                    and pool.stakes.keys() >= (pools[group].stakes.keys())
                ):
                    views[group].append(view_of(pool))
                    owed = sum(sum(bills[each][0::2]) for each in pool.stakes if each in bills)
                    if owed > 0:
                        views[group].append(view_of(pool.less(owed)))
        return Scene(
            at_ms,
            truths,
            real,
            billed,
            {group: tuple(seen) for group, seen in views.items()},
            {symbol: tuple(self._costs(truth)) for symbol, truth in truths.items()},
        )

    def _still_shows(self, read: AccountSnapshot) -> bool:
        """Whether the account is as a read tells it: then there is nothing else to believe."""
        book = self._machine._books.accounts[ACCOUNT]
        compared = (read, book.wallet, *book.holdings.values())
        before = self._compared
        if len(before) != len(compared) or any(map(is_not, before, compared)):
            told = {
                (p.symbol, p.side, p.margin_mode, p.quantity, p.entry_price, p.isolated_margin)
                for p in read.positions
            }
            real = {
                (h.symbol, h.side, h.margin_mode, h.quantity, h.entry_price, h.margin)
                for h in book.holdings.values()
            }
            self._compared = compared
            self._is_same = read.wallet_balance == book.wallet and told == real
        return self._is_same

    def _see_settlements(self, at_ms: int) -> None:
        """One that charged nothing, as the position was gone by then, may be counted as well."""
        for symbol, term in self._machine._books.terms.items():
            before = self._terms.get(symbol, term)
            if self._settled.get(symbol, (0, 0.0))[0] < before.next_at_ms <= at_ms:
                self._settled[symbol] = (before.next_at_ms, float(before.rate))
            self._terms[symbol] = term

    def believed(self, read: AccountSnapshot, marks: Mapping[str, Price]) -> dict[str, Pool]:
        """The groups as a guard with that read and those marks must see them."""
        return self._pools(self._seen(read, marks), float(read.wallet_balance))

    def belief(self, read: AccountSnapshot, marks: Mapping[str, Price], now_ms: int) -> Scene:
        """The whole account as such a guard must see it now."""
        truths = {truth.symbol: truth for truth in self._seen(read, marks)}
        real: dict[str, View] = {}
        views: dict[str, tuple[View, ...]] = {}
        for group, pool in self.believed(read, marks).items():
            bills = [self._bill(truths[symbol], now_ms) for symbol in pool.stakes]
            owed = sum(ahead + unseen for ahead, _, unseen in bills)
            real[group] = view_of(pool)
            views[group] = (real[group], view_of(pool.less(owed)))
        costs = {symbol: tuple(self._costs(truth)) for symbol, truth in truths.items()}
        return Scene(now_ms, truths, real, real, views, costs)

    def bill_of(self, truth: Truth) -> float:
        """What the next settlement takes from the position at its mark; negative if it gives."""
        term = self._machine._books.terms.get(truth.symbol)
        if term is None or term.next_at_ms <= self._machine.at_ms:
            return 0.0
        return truth.side.sign * self._worth(truth) * float(term.rate)

    def _worth(self, truth: Truth) -> float:
        listing = self._listings[truth.symbol]
        return listing.worth(float(truth.quantity), float(truth.mark))

    def _seen(self, read: AccountSnapshot, marks: Mapping[str, Price]) -> list[Truth]:
        return [
            _known(self._machine.at_ms, each, marks[each.symbol])
            for each in read.positions
            if each.symbol in marks
        ]

    def _pools(self, truths: Iterable[Truth], wallet: float) -> dict[str, Pool]:
        pools: dict[str, Pool] = {}
        together = {}
        for truth in truths:
            shares = truth.mode is MarginMode.CROSS
            one = stake(
                self._listings[truth.symbol],
                truth.side,
                truth.quantity,
                truth.entry,
                truth.mark,
                self._betas[truth.symbol] if shares else ALONE,
            )
            if shares:
                together[truth.symbol] = one
            else:
                pools[truth.symbol] = Pool(float(truth.margin), {truth.symbol: one})
        if together:
            pools[CROSS] = Pool(wallet, together)
        return pools

    def _bill(self, truth: Truth, at_ms: int) -> tuple[float, float, float]:
        """The bill that may be counted, that must be, and that may not have been seen yet."""
        term = self._machine._books.terms.get(truth.symbol)
        ahead_ms = 0 if term is None else term.next_at_ms - at_ms
        bill = unseen = 0.0
        if ahead_ms <= BILL_MS:
            bill = max(self.bill_of(truth), 0.0)
        settled_ms, rate = self._settled.get(truth.symbol, (0, 0.0))
        if at_ms - settled_ms < BILL_SEEN_MS:
            unseen = max(truth.side.sign * self._worth(truth) * rate, 0.0)
        return bill, bill if ahead_ms <= SURELY_BILLED_MS else 0.0, unseen

    def _costs(self, truth: Truth) -> Iterator[tuple[float, float, int]]:
        if not self._heeds_bills:
            return
        term, at_ms = self._machine._books.terms.get(truth.symbol), self._machine.at_ms
        margin = float(truth.margin)
        if truth.mode is MarginMode.CROSS:
            margin = self._worth(truth) / float(truth.leverage)
        if term is None or margin <= 0:
            return
        if term.next_at_ms > at_ms:
            share = self.bill_of(truth) / margin
            yield share, share * 86_400_000 / term.interval_ms, term.next_at_ms
        settled_ms, rate = self._settled.get(truth.symbol, (0, 0.0))
        if at_ms - settled_ms <= STILL_AHEAD_MS:
            share = truth.side.sign * self._worth(truth) * rate / margin
            yield share, share * 86_400_000 / term.interval_ms, settled_ms


class Past:
    """The last minute of scenes."""

    def __init__(self) -> None:
        self._scenes: deque[Scene] = deque()
        self.least: dict[str, float] = {}
        """The least distance of each group that the guard may have seen since it was opened."""

    def add(self, scene: Scene) -> None:
        """One more moment."""
        self._scenes.append(scene)
        for group, views in scene.views.items():
            least = min(view.distance for view in views)
            self.least[group] = min(self.least.get(group, least), least)
        while self._scenes[0].at_ms < scene.at_ms - MEMORY_MS:
            self._scenes.popleft()

    def since(self, at_ms: int, symbol: str) -> list[Scene]:
        """The scenes with an open position in `symbol` from a moment on; at least the last one."""
        with_it = [scene for scene in self._scenes if symbol in scene.truths]
        return [scene for scene in with_it if scene.at_ms >= at_ms] or with_it[-1:]


def _truth(at_ms: int, symbol: str, held: Holding, mark: Price) -> Truth:
    return Truth(
        at_ms,
        symbol,
        held.side,
        held.margin_mode,
        mark,
        held.quantity,
        held.entry_price,
        held.margin,
        held.leverage,
    )


def _known(at_ms: int, position: Position, mark: Price) -> Truth:
    return Truth(
        at_ms,
        position.symbol,
        position.side,
        position.margin_mode,
        mark,
        position.quantity,
        position.entry_price,
        position.isolated_margin,
        position.leverage,
    )


def view_of(pool: Pool) -> View:
    """How a group looks."""
    distance = pool.distance()
    levels = {symbol: pool.level(symbol, distance) for symbol in pool.stakes}
    return View(distance, levels, pool)
