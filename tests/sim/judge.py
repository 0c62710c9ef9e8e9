"""What every single request must keep: when it leaves the guard, and when it arrives."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, assert_never

from bot.core.actions import (
    AddMargin,
    AtMarket,
    CancelStop,
    ClosePosition,
    NoWorseThan,
    PlaceStop,
)
from bot.core.model import AccountSnapshot, MarginMode, MarginOnReduce, Position, Side
from bot.core.policy import Metric
from bot.core.units import Money
from bot.exchange.paper.books import Resting
from bot.exchange.ports import Accepted, Refused, Reply
from tests.exchange.paper.independent import Spare
from tests.sim.case import ACCOUNT
from tests.sim.coverage import kind_of
from tests.sim.requests import NEVER_MS, Request
from tests.sim.truth import CROSS, Scene, Truth, View

if TYPE_CHECKING:
    from tests.sim.observer import Observer

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
EPISODE_MS = 10 * MINUTE_MS
"""Two top-ups less than this apart can only be of one episode."""

SPEND_FENCE_MS = 30_000
"""A top-up that nobody can prove absent keeps the next one waiting for so long,"""
ORDER_FENCE_MS = 6_000
"""and a close of a part the next one."""

READ_AGE_MAX_MS = 60_000
REFUND_MS = 300_000
HEARD_MS = 1_000
"""By then what a human says has been heard."""

USER_SPENT_MS = 25_000
"""What the user spends in between, the guard cannot keep free."""

SENDING_MS = 100
"""From the decision until a request is on its way."""

RESERVED = "-4118"
FINDS_OUT = 2
"""Once where rules are wrong, once where a stop was on its way at the same time."""

SAME = 1e-9
"""Floats this near to each other are the same."""


class Judge:
    """Holds requests against the promises."""

    def __init__(self, observer: "Observer") -> None:
        self._observer = observer
        self._in_its_own_way: Counter[str] = Counter()
        """How often in a row the guard's own stops have had its closes refused, by symbol."""
        self._stopped: set[tuple[str, Side]] = set()
        """The positions that have had a stop of the guard."""

    def sent(self, request: Request) -> None:
        """The guard hands a request to the network."""
        action = request.action
        self._check_durable(request)
        self._check_mode(request)
        self._check_age(request)
        self._check_position_mode(request)
        match action:
            case AddMargin():
                self._check_alone(request)
                self._check_pace(request)
                self._check_spares_the_book(request)
            case PlaceStop():
                self._check_size(request, action)
                request.levels = tuple(self._believed_levels(action.symbol))
            case ClosePosition():
                self._check_size(request, action)
                self._check_close(request, action)
            case CancelStop(target_client_id=target):
                # An order that a killed life wrote down and never sent may rest for all it knows.
                # That may also be true of one that another guard of the account has placed.
                observer = self._observer
                known = observer.requests.keys() | observer.durable | observer.strangers
                if target not in known:
                    self._broke("8", f"cancels a foreign order: {action}")
            case _:
                assert_never(action)

    def arrived(
        self, request: Request, before: Mapping[str, Truth], wallet: Money, reply: Reply
    ) -> None:
        """The exchange has dealt with a request."""
        if request.arrived_at_ms != NEVER_MS:
            self._broke("4", f"{request.client_id} reached the exchange twice")
        request.arrived_at_ms = self._now_ms
        request.accepted = isinstance(reply, Accepted)
        if isinstance(request.action, ClosePosition):
            self._check_way_out(request.action, before, reply)
        if not request.accepted:
            return
        self._observer.deeds[_deed(request)] += 1
        self._count(request, before)
        self._check_reduces(before)
        match request.action:
            case AddMargin():
                self._check_spent(request)
            case PlaceStop():
                self._check_placed(request, request.action)
            case CancelStop() if request.part_of:
                self._check_clears(request)
            case CancelStop() as cancel:
                self._check_still_protected(cancel, before)
            case ClosePosition(symbol=symbol):
                rules = self._observer.case.listed[symbol].rules
                if rules.margin_on_reduce is MarginOnReduce.PRO_RATA:
                    request.freed = self._observer.wallet - wallet
            case _:
                assert_never(request.action)

    def _count(self, request: Request, before: Mapping[str, Truth]) -> None:
        """Which step wanted it, and what it was: the coverage of the simulation."""
        observer, action = self._observer, request.action
        observer.rules_acted[kind_of(request.reason)] += 1
        match action:
            case PlaceStop(symbol=symbol, side=side):
                rested = [stop for stop in observer.stops()[0] if stop.symbol == symbol]
                earlier = (symbol, side) in self._stopped
                word = "moved" if len(rested) > 1 else "restored" if earlier else "placed"
                observer.deeds[f"stop {word}"] += 1
                self._stopped.add((symbol, side))
            case ClosePosition(symbol=symbol) if symbol in before:
                whole = action.quantity >= before[symbol].quantity
                observer.deeds["whole closed" if whole else "part closed"] += 1
            case CancelStop() if request.part_of:
                observer.deeds["way cleared"] += 1
            case AddMargin() | ClosePosition() | CancelStop():
                pass
            case _:
                assert_never(action)

    # -- when it leaves ----------------------------------------------------------------------

    def _check_durable(self, request: Request) -> None:
        observer = self._observer
        if request.intent_id in observer.durable:
            return
        if isinstance(request.action, AddMargin) or observer.failing_since_ms == NEVER_MS:
            self._broke("5", f"{request.client_id} was sent before its row was durable")
        elif observer.loud_at_ms < observer.failing_since_ms:
            self._broke("5", f"{request.client_id} was sent from the spool, and nobody was told")
        observer.spooled[request.client_id] = request.life

    def _check_mode(self, request: Request) -> None:
        """A latch and a hold stop spending; a hold also what the ladder would close."""
        observer = self._observer
        life, since_ms = observer.held
        held = life == request.life and self._now_ms - since_ms > HEARD_MS
        latched = observer.latched_life == request.life
        match request.action:
            case AddMargin() if held or latched:
                self._broke("7", f"spends {'on hold' if held else 'although it said not to'}")
            case ClosePosition() if held and not request.reason.startswith("protect/"):
                self._broke("7", f"closes on hold: {request.reason}")
            case _:
                pass

    def _check_position_mode(self, request: Request) -> None:
        """Of an account that keeps positions in another way than the policy says it lets be."""
        observer = self._observer
        seen = [read.position_mode for read in observer.recent_reads(request.begun_at_ms)]
        is_strange = observer.case.policy.position_mode not in seen
        if seen and is_strange and not isinstance(request.action, CancelStop):
            self._broke("mode", f"acts in an account that is in {seen[-1]} mode: {request.action}")

    def _check_age(self, request: Request) -> None:
        observer, action, begun_ms = self._observer, request.action, request.begun_at_ms
        read_age_ms = begun_ms - (observer.reads[-1][1] if observer.reads else NEVER_MS)
        age_max_ms = observer.case.policy.guardrails.data_age_max_ms
        spends = isinstance(action, AddMargin)
        if read_age_ms > (age_max_ms if spends else READ_AGE_MAX_MS):
            self._broke("2", f"acts on a read from {read_age_ms} ms ago: {action}")
        # A stop may rest on no mark at all: the venue itself says if it would trigger.
        if not isinstance(action, AddMargin | ClosePosition):
            return
        for symbol in sorted(self._symbols_weighed(action)):
            mark_age_ms = begun_ms - observer.marks_at_ms.get(symbol, NEVER_MS)
            if mark_age_ms > age_max_ms:
                self._broke("2", f"acts on a {symbol} mark from {mark_age_ms} ms ago: {action}")

    def _symbols_weighed(self, action: AddMargin | ClosePosition) -> set[str]:
        """Whose marks an action rests on: with cross positions, those of all of them."""
        shared = {each.symbol for each in self._known() if each.margin_mode is MarginMode.CROSS}
        if isinstance(action, AddMargin) or action.symbol in shared:
            return shared | {action.symbol}
        return {action.symbol}

    def _check_size(self, request: Request, action: PlaceStop | ClosePosition) -> None:
        # A close whose way has to be cleared first goes on although a read has come in between:
        # it is not to be doubted for one read without the position, and can only reduce.
        known = [
            each
            for read in self._observer.recent_reads(request.begun_at_ms)
            for each in read.positions
            if each.symbol == action.symbol
        ]
        if action.quantity > self._observer.case.listed[action.symbol].quantity_max:
            text = f"is for more than the venue takes: {action}"
            self._broke("6" if isinstance(action, PlaceStop) else "4", text)
        fits = any(each.side is action.side and action.quantity <= each.quantity for each in known)
        if not fits:
            self._broke("1", f"wrong side, or more than there is: {action}, known {known}")

    def _check_alone(self, request: Request) -> None:
        for earlier in self._moves_of_margin():
            if not self._is_settled(earlier, request, SPEND_FENCE_MS):
                self._broke("4", f"a top-up while {earlier.client_id} is under way")

    def _check_pace(self, request: Request) -> None:
        """No more actions in a minute than the policy allows, and a step's cooldown between."""
        observer, now_ms = self._observer, request.by_its_clock_ms
        recent = [
            each
            for each in observer.requests.values()
            if isinstance(each.action, AddMargin | ClosePosition)
            and each.begun_at_ms
            < request.begun_at_ms  # one step may close parts of several positions at once
            # What was sent from the spool of a process that died is on no record.
            and observer.spooled.get(each.client_id) not in observer.killed
        ]
        in_a_minute = sum(
            now_ms - each.by_its_clock_ms < MINUTE_MS - SENDING_MS for each in recent
        )
        if in_a_minute >= observer.case.policy.guardrails.actions_1m_max:
            self._broke("rate", f"{in_a_minute} actions in the minute before {request.client_id}")
        cooldown_ms = observer.rules.cooldown_ms(request.reason) - SENDING_MS
        for each in recent:
            same = each.reason == request.reason and _position_of(each) == _position_of(request)
            if (
                same
                and isinstance(each.action, AddMargin)
                and now_ms - each.by_its_clock_ms < cooldown_ms
            ):
                self._broke("rate", f"{request.reason} acts again within its cooldown")

    def _is_settled(self, earlier: Request, request: Request, fence_ms: int) -> bool:
        """Whether the guard can know what became of an earlier request."""
        if earlier.told_refused:
            return True
        if earlier.accepted:
            reads = self._observer.reads
            return bool(reads) and reads[-1][0].taken_at_ms >= earlier.arrived_at_ms
        return request.sent_at_ms - earlier.sent_at_ms >= fence_ms

    def _check_close(self, request: Request, action: ClosePosition) -> None:
        observer = self._observer
        if request.reason in observer.rules.reductions:
            self._check_pace(request)
            self._check_reduction(request, action)
        scenes = self._scenes(action.symbol, action.side, request.begun_at_ms)
        if action.symbol in observer.flat_since_ms or not scenes:
            return  # too late, and harmless
        truth = scenes[-1].truths[action.symbol]
        step = observer.case.listed[action.symbol].quantity_step
        quantities = [scene.truths[action.symbol].quantity for scene in scenes]
        quantities += [each.quantity for each in self._known() if each.symbol == action.symbol]
        share = float((action.quantity - step) / max(quantities))
        users = self._bounds(action.symbol)
        seen = [view.distance for view in _views(scenes, action.symbol)]
        least = min(observer.past.least[truth.group], *seen)
        if not observer.rules.asks_for_close(action.symbol, share, scenes, least, users):
            self._broke(
                "wrongful close",
                f"closes {action.quantity} of {max(quantities)} for {request.reason} at a "
                f"distance of {min(seen):.3%}",
            )
        self._check_bound(request, action, scenes, users)

    def _check_reduction(self, request: Request, action: ClosePosition) -> None:
        """A part may be closed once what went before it on that position is settled."""
        observer = self._observer
        for earlier in observer.requests.values():
            same = earlier.action.symbol == action.symbol
            if not same or not isinstance(earlier.action, AddMargin | ClosePosition):
                continue
            adds = isinstance(earlier.action, AddMargin)
            if not self._is_settled(earlier, request, SPEND_FENCE_MS if adds else ORDER_FENCE_MS):
                self._broke("4", f"closes a part while {earlier.client_id} is under way")
            if self._is_owed(earlier, request):
                self._broke("refund", f"trims again while what {earlier.client_id} freed is owed")

    def _is_owed(self, trim: Request, request: Request) -> bool:
        """Whether an earlier trim of the position still waits for a refund that could go."""
        observer, trims = self._observer, self._observer.rules.trims
        if not trim.accepted or trim.reason not in trims or request.reason not in trims:
            return False
        read, read_at_ms = observer.reads[-1]
        knows = read.taken_at_ms >= trim.arrived_at_ms and read_at_ms < self._now_ms - 1_000
        owed = trim.freed - sum(each.amount for each in self._refunds(trim) if each.accepted)
        can = not observer.latched_life and not observer.held[0] and read.free >= owed
        shared = any(each.margin_mode is MarginMode.CROSS for each in read.positions)
        step = observer.case.listed[trim.action.symbol].rules.position_margin_step
        in_time = self._now_ms - trim.arrived_at_ms < REFUND_MS
        # The guard rounds margin, profit and fee one by one, each by up to a step.
        return knows and can and not shared and in_time and owed > 3 * step

    def _check_bound(
        self,
        request: Request,
        action: ClosePosition,
        scenes: list[Scene],
        users: tuple[float, ...],
    ) -> None:
        observer, symbol, sign = self._observer, action.symbol, action.side.sign
        truth = scenes[-1].truths[symbol]
        tick = observer.rules.tick(symbol)
        match action.bound:
            case AtMarket():
                if not observer.rules.lets_at_market(symbol, scenes, users):
                    self._broke("bound", f"at market above the floor: {action}")
            case NoWorseThan(price):
                at = float(price)
                known = self._bankruptcies(truth, scenes, request.begun_at_ms)
                worst = min((sign * each for each in known), default=sign * at)
                if sign * at < worst - 2 * tick:
                    self._broke("bound", f"past bankruptcy at {sign * worst}: {action}")
                room = 2 * float(observer.case.policy.protect.room)
                if all(view.distance > room * 1.01 for view in _views(scenes, symbol)):
                    slip = 1 - sign * float(observer.case.policy.guardrails.slippage_max)
                    marks = [float(scene.truths[symbol].mark) for scene in scenes]
                    if sign * at < min(sign * mark * slip for mark in marks) - 2 * tick:
                        self._broke("bound", f"beyond slippage_max while there is time: {action}")

    def _bankruptcies(
        self, truth: Truth, scenes: list[Scene], decided_at_ms: int
    ) -> Iterator[float]:
        """Where nothing is left of what backs the position, by all that may be believed."""
        observer = self._observer
        seen = [scene.truths[truth.symbol] for scene in scenes]
        for read in observer.recent_reads(decided_at_ms):
            sides = {each.symbol: each.side for each in read.positions}
            if sides.get(truth.symbol) is not truth.side:
                continue  # a user has flipped it while the way of the close was being cleared
            pools = observer.eyes.believed(read, observer.marks)
            if truth.group in pools and truth.symbol in pools[truth.group].stakes:
                yield pools[truth.group].bankruptcy(truth.symbol)
        if truth.mode is MarginMode.ISOLATED:
            for each in seen:
                backing = float(each.margin / each.quantity)
                yield float(each.entry) - each.side.sign * backing

    def _check_spares_the_book(self, request: Request) -> None:
        """Margin leaves the wallet only if every cross threshold is clear of it afterwards."""
        observer = self._observer
        if not any(each.margin_mode is MarginMode.CROSS for each in self._known()):
            return
        if not any(self._spares(read, request) for read in observer.recent_reads(self._now_ms)):
            self._broke("10", f"{request.amount} would bring the cross positions too near")

    def _spares(self, read: AccountSnapshot, request: Request) -> bool:
        """In exact fractions, by what the guard was shown."""
        observer = self._observer
        legs = [each for each in read.positions if each.margin_mode is MarginMode.CROSS]
        wallet = Fraction(read.wallet_balance) - Fraction(request.amount)
        betas = {symbol: Fraction(beta) for symbol, beta in observer.case.betas.items()}
        marks = {each.symbol: Fraction(observer.marks[each.symbol]) for each in legs}
        spares = {
            each.symbol: Spare(
                observer.case.listed[each.symbol],
                each.side,
                each.quantity,
                each.entry_price,
                Decimal(0),
            )
            for each in legs
        }

        def left(shock: Fraction) -> Fraction:
            each_left = (
                spares[each.symbol].at(
                    marks[each.symbol] * (1 - each.side.sign * betas[each.symbol] * shock)
                )
                for each in legs
            )
            return wallet + sum(each_left, Fraction(0))

        balance = wallet + sum(
            each.side.sign
            * Fraction(each.quantity)
            * (marks[each.symbol] - Fraction(each.entry_price))
            for each in legs
        )
        for metric, limit in observer.rules.cross_limits():
            if metric is Metric.LIQUIDATION_DISTANCE and left(Fraction(limit)) < -SAME * wallet:
                return False
            if metric is Metric.MARGIN_RATIO and balance - left(Fraction(0)) > balance * Fraction(
                limit + SAME
            ):
                return False
        return True

    # -- when it arrives ---------------------------------------------------------------------

    def _check_reduces(self, before: Mapping[str, Truth]) -> None:
        for symbol, now in self._observer.eyes.truths().items():
            was = before.get(symbol)
            if was is None or was.side is not now.side or now.quantity > was.quantity:
                self._broke("1", f"the position grew from {was} to {now}")

    def _check_spent(self, request: Request) -> None:
        if request.is_refund:
            self._check_refunded(request)
        else:
            self._check_budgets(request)
        for later in self._moves_of_margin():
            if later.sent_at_ms > request.sent_at_ms:
                self._broke("4", f"{request.client_id} applied after {later.client_id} was sent")

    def _check_refunded(self, request: Request) -> None:
        """What goes back is at most what the trim has freed, by the exchange's books."""
        suffix = request.reason.removeprefix("refund/")
        trims = [
            each
            for each in self._observer.requests.values()
            if each.client_id.endswith(suffix)
            and each.reason in self._observer.rules.trims
            and each.action.symbol == request.action.symbol
        ]
        if len(trims) != 1:
            self._broke("3", f"a refund of no trim: {request.reason}")
            return
        moved = sum(each.amount for each in self._refunds(trims[0]) if each.accepted)
        if moved > trims[0].freed:
            self._broke("3", f"{moved} went back of {trims[0].freed} that a trim has freed")

    def _refunds(self, trim: Request) -> list[Request]:
        return [
            each
            for each in self._observer.requests.values()
            if each.is_refund and trim.client_id.endswith(each.reason.removeprefix("refund/"))
        ]

    def _check_budgets(self, request: Request) -> None:
        observer = self._observer
        rails = observer.case.policy.guardrails
        spends = sorted(
            (each for each in self._moves_of_margin() if each.accepted and not each.is_refund),
            key=lambda each: each.by_its_clock_ms,
        )
        amounts = [(each.by_its_clock_ms, each.amount) for each in spends]
        last_ms = amounts[-1][0]
        hour = sum((amount for at_ms, amount in amounts if at_ms > last_ms - HOUR_MS), Decimal(0))
        everything = sum((amount for _, amount in amounts), Decimal(0))
        episode = self._episode(
            [each for each in spends if _position_of(each) == _position_of(request)]
        )
        in_episode = sum((each.amount for each in episode), Decimal(0))
        claims = (
            ("per_action", request.amount <= rails.top_up_per_action_max),
            ("per_1h", hour <= rails.top_up_1h_max),
            ("per_24h", everything <= rails.top_up_24h_max),
            ("per_episode", in_episode <= rails.top_up_per_episode_max),
            ("top_ups_per_episode", len(episode) <= rails.top_ups_per_episode_max),
            ("keep_free", self._keeps_free(request)),
        )
        for limit, holds in claims:
            if not holds:
                self._broke("3", f"{limit} is exceeded: {amounts}")

    def _keeps_free(self, request: Request) -> bool:
        """
        Whether enough is left free, now or by what the guard was shown.

        With cross positions what is free changes with every price.
        """
        observer = self._observer
        keep = observer.case.policy.guardrails.keep_free
        if self._now_ms - observer.user_spent_at_ms < USER_SPENT_MS:
            return True
        if observer.machine.snapshot(ACCOUNT, self._now_ms).free >= keep:
            return True
        shared = any(each.margin_mode is MarginMode.CROSS for each in self._known())
        shown = [
            read.free - request.amount
            for read, _ in observer.reads
            if read.taken_at_ms <= request.sent_at_ms
        ]
        return shared and any(left >= keep for left in shown)

    def _episode(self, spends: list[Request]) -> list[Request]:
        """The newest ones that can only be of one episode."""
        newest = spends[-1:]
        for earlier in reversed(spends[:-1]):
            if newest[0].by_its_clock_ms - earlier.by_its_clock_ms >= EPISODE_MS:
                break
            newest.insert(0, earlier)
        return newest

    def _check_placed(self, request: Request, stop: PlaceStop) -> None:
        observer = self._observer
        scene = observer.scene()
        truth = scene.truths.get(stop.symbol)
        if truth is None or truth.side is not stop.side:
            return
        sign, at = truth.side.sign, float(stop.trigger_price)
        scenes = [*self._scenes(stop.symbol, stop.side, self._now_ms), scene]
        real = [scene.real[truth.group].levels[stop.symbol]]
        if any(each.truths[stop.symbol].group == CROSS for each in scenes):
            # The other marks may have moved while it was under way, or its own mode have changed.
            real += request.levels
            real += _shared_levels(scenes, stop.symbol)
        if all(sign * (at - level) <= 0 for level in real) or truth.is_past(at):
            self._broke("6", f"the stop at {at} is not between {truth.mark}, {real[0]}")
        known = [each.truths[stop.symbol] for each in scenes]
        losing = [
            observer.rules.breaks_loss_cap(each, float(quantity), at)
            for each in known
            # One of several orders loses what all of them do.
            for quantity in [each.quantity if observer.orders_for(each) > 1 else stop.quantity]
        ]
        if all(losing):
            self._broke("6", f"the stop at {at} is looser than loss_max allows")
        users = self._bounds(stop.symbol)
        wanted = [
            price
            for each in scenes
            for level in (*each.levels(stop.symbol), *request.levels)
            for price in observer.rules.stops_wanted(each.truths[stop.symbol], level, users)
        ]
        # A canary may rest where another one does already, as tight as that was allowed to be.
        wanted += [
            float(each.trigger_price)
            for rested in (observer.stops()[0], *(read.stops for read, _ in observer.reads[-1:]))
            for each in rested
            if (each.symbol, each.side) == (stop.symbol, stop.side)
            and each.client_id in observer.requests
            and each.client_id != request.client_id
        ]
        tightest = max(sign * price for price in wanted)
        if sign * at - tightest > observer.rules.rounding(truth):
            self._broke("wrongful close", f"the stop at {at} is tighter than {sign * tightest}")

    def _check_way_out(
        self, close: ClosePosition, before: Mapping[str, Truth], reply: Reply
    ) -> None:
        """The guard's own stops keep it from closing no more often than it takes to find out."""
        observer, symbol = self._observer, close.symbol
        if not isinstance(reply, Refused):
            del self._in_its_own_way[symbol]
            return
        ours, theirs = observer.stops()
        others = [
            stop
            for stop in observer.machine.stops(ACCOUNT)
            if stop.client_id in observer.strangers
        ]
        reserved = sum(stop.quantity for stop in (*theirs, *others) if stop.symbol == symbol)
        truth = before.get(symbol)
        fits = truth is not None and close.quantity + reserved <= truth.quantity
        is_troubled = self._now_ms - observer.hampered_at_ms < SPEND_FENCE_MS
        if reply.code != RESERVED or not fits or is_troubled:
            return
        self._in_its_own_way[symbol] += 1
        if self._in_its_own_way[symbol] > FINDS_OUT:
            ours = tuple(stop for stop in ours if stop.symbol == symbol)
            self._broke("4", f"its own stops have its closes refused again and again: {ours}")

    def _check_clears(self, request: Request) -> None:
        """A stop goes before its position only where it would have the close refused."""
        observer, symbol = self._observer, request.action.symbol
        close = observer.requests.get(request.part_of)
        if close is not None and not isinstance(close.action, ClosePosition):
            self._broke("6", f"{request.client_id} clears the way of what is no close")
        refused_lately = any(
            isinstance(each.action, ClosePosition)
            and each.action.symbol == symbol
            and each.told_refused
            and request.sent_at_ms - each.sent_at_ms < 2 * MINUTE_MS
            for each in observer.requests.values()
        )
        if observer.case.resting is not Resting.RESERVE and not refused_lately:
            self._broke("6", "the guard took a stop out of the way that was not in it")
        observer.watch.cleared(symbol)

    def _check_still_protected(self, cancel: CancelStop, before: Mapping[str, Truth]) -> None:
        observer, symbol = self._observer, cancel.symbol
        scene = observer.scene()
        truth = scene.truths.get(symbol)
        if truth is None or symbol not in before or truth.side is not cancel.side:
            return
        if any(
            each.part_of
            and each.action.symbol == symbol
            and self._now_ms - each.sent_at_ms < ORDER_FENCE_MS
            for each in observer.requests.values()
        ):
            return  # the way of a close is being cleared, and what follows from that is watched
        # What was the last one, or covered the whole position, when the cancel left.
        user_at_ms = max(observer.last_ms[kind] for kind in ("user_cancels", "user_grows"))
        user_was_here = self._now_ms - user_at_ms < SPEND_FENCE_MS
        levels = [scene.real[truth.group].levels[symbol]]
        if truth.group == CROSS:
            levels += _shared_levels(self._scenes(symbol, truth.side, self._now_ms), symbol)
        if not any(observer.proper_stops(truth, level) for level in levels) and not user_was_here:
            self._broke("6", "the guard cancelled the last proper stop")

    # -- what is known -----------------------------------------------------------------------

    @property
    def _now_ms(self) -> int:
        return self._observer.clock.now_ms()

    def _broke(self, promise: str, text: str) -> None:
        self._observer.broke(promise, text)

    def _known(self) -> tuple[Position, ...]:
        reads = self._observer.reads
        return reads[-1][0].positions if reads else ()

    def _scenes(self, symbol: str, side: Side, decided_at_ms: int) -> list[Scene]:
        """What the guard may have decided on then about a position on that side."""
        observer = self._observer
        window_ms = max(10_000, observer.case.policy.guardrails.data_age_max_ms) + 2_000
        beliefs = [
            observer.eyes.belief(read, observer.marks, self._now_ms)
            for read in observer.recent_reads(decided_at_ms)
        ]
        found = [
            *(belief for belief in beliefs if symbol in belief.truths),
            *observer.past.since(self._now_ms - window_ms, symbol),
        ]
        return [each for each in found if each.truths[symbol].side is side]

    def _bounds(self, symbol: str) -> tuple[float, ...]:
        """What a stop may be tightened to besides the policy: by the user, or by a loss."""
        observer = self._observer
        return (*observer.user_stops(symbol), *observer.losses.levels(symbol))

    def _believed_levels(self, symbol: str) -> Iterator[float]:
        observer = self._observer
        for read in observer.recent_reads(self._now_ms):
            belief = observer.eyes.belief(read, observer.marks, self._now_ms)
            if symbol in belief.truths:
                yield from belief.levels(symbol)

    def _moves_of_margin(self) -> list[Request]:
        return [
            each for each in self._observer.requests.values() if isinstance(each.action, AddMargin)
        ]


def _views(scenes: Iterable[Scene], symbol: str) -> Iterator[View]:
    """How what the position stands with may have looked."""
    return (view for scene in scenes for view in scene.views[scene.truths[symbol].group])


def _shared_levels(scenes: Iterable[Scene], symbol: str) -> list[float]:
    """Where it was liquidated in those in which it shared the wallet."""
    return [
        scene.real[CROSS].levels[symbol] for scene in scenes if scene.truths[symbol].group == CROSS
    ]


def _deed(request: Request) -> str:
    return "Refund" if request.is_refund else type(request.action).__name__


def _position_of(request: Request) -> tuple[str, str]:
    return request.action.symbol, request.action.side
