"""
Margin arithmetic of all cross positions of an account: one wallet backs them together.

With W the wallet balance and, for every leg, s its side, b its beta and m its mark price, a
common adverse shock x moves each mark price to m (1 - s b x), never below zero; so it does the
price of every coin that backs them as collateral. Then

    equity(x)      = W + sum of the legs' profits + sum of balance x weight x price of the coins
    requirement(x) = sum of the requirements at those prices; of the two legs of one symbol in
                     hedge mode what the venue's rule says

and the account is liquidated at the smallest x where equity <= requirement.

With linear contracts the difference is continuous and piecewise linear in x: it bends where a
leg enters another risk tier and where a mark price reaches zero. So the root is exact. The value
of an inverse leg is face / price, a hyperbola in x for every symbol, and a sum of such has no
root in closed form. Between two bends the part of each symbol is monotone; so the sum is bounded
by its parts at both ends, and intervals are halved until a root is enclosed, or shown to be
absent. What is returned is the end of the last interval that is reached first, no farther than
2**-80 of its first length from the root: never later than liquidation.

Source: the venues liquidate a cross account on the sum of maintenance margins (Binance, Gate,
KuCoin, Hyperliquid); collateral counts with its haircut (Binance multi-assets mode, Bybit UTA,
OKX); the common shock is ours.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import groupby, pairwise

from bot.core.margin import NoLiquidation, profit, requirement, value
from bot.core.model import (
    ContractKind,
    HedgeRequirement,
    Instrument,
    MaintenanceAt,
    Position,
    PositionKey,
    TierMeasure,
)
from bot.core.units import ONE, ZERO, Money, Price, Quantity, Ratio

NEVER = Decimal("Infinity")
ENDLESS_DEBT = Money(Decimal("-Infinity"))

_HALVINGS = 80
"""An interval is halved so often at most, and then its first end is taken."""

_DOUBLINGS = 60
"""So often the last interval is doubled in search of a root, to a shock of 2**60."""

_FAR = Decimal(1_000)
"""A shock of a thousand times the price: what liquidates after more than that never does."""

_NUDGE = Decimal("0.01")
"""By so much a mark price is moved, up and down, to see which way hurts."""


@dataclass(frozen=True, slots=True)
class Leg:
    """
    One cross position at its present mark price. `beta` weighs the common shock.

    A negative beta is that of a leg which gains by the shock, as its symbol moves against what
    else there is of it: the smaller one of two legs, a short whose coin backs the account.
    """

    instrument: Instrument
    position: Position
    mark_price: Price
    beta: Ratio

    def price_after(self, shock: Decimal) -> Price:
        """The mark price after the common adverse `shock`."""
        moved = ONE - self.position.side.sign * self.beta * shock
        return Price(self.mark_price * max(moved, ZERO))


@dataclass(frozen=True, slots=True)
class Pledge:
    """
    A coin beside the settle currency that backs the account, at its present price.

    `amount` is the balance x the weight with which it counts. `beta` is as that of a long leg.
    """

    symbol: str
    amount: Decimal
    mark_price: Price
    beta: Ratio

    def price_after(self, shock: Decimal) -> Price:
        """The price of the coin after the common adverse `shock`."""
        return Price(self.mark_price * max(ONE - self.beta * shock, ZERO))


@dataclass(frozen=True, slots=True)
class Book:
    """The wallet balance, the collateral beside it and every cross position that they back."""

    wallet_balance: Money
    legs: tuple[Leg, ...]
    pledges: tuple[Pledge, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether no symbol is there twice, as legs or as leg and collateral."""
        legs = self.legs
        return not self.pledges and (
            len(legs) == 1 or len({leg.position.symbol for leg in legs}) == len(legs)
        )

    def leg_of(self, key: PositionKey) -> Leg:
        """The leg of one position; raises `KeyError`."""
        for leg in self.legs:
            if leg.position.key == key:
                return leg
        raise KeyError(key)

    def after_close(self, key: PositionKey, quantity: Decimal, price: Price) -> "Book":
        """The book once `quantity` of a leg was closed at `price`, fee paid; whole, it is gone."""
        leg = self.leg_of(key)
        position = leg.position
        gain = profit(leg.instrument, position.side, quantity, position.entry_price, price)
        fee = value(leg.instrument, quantity, price) * leg.instrument.taker_fee
        left = replace(position, quantity=Quantity(position.quantity - quantity))
        legs = (replace(each, position=left) if each is leg else each for each in self.legs)
        return replace(
            self,
            wallet_balance=Money(self.wallet_balance + gain - fee),
            legs=tuple(each for each in legs if each.position.quantity > ZERO),
        )


@dataclass(frozen=True, slots=True)
class LiquidatesAfter:
    """The smallest common adverse shock that liquidates the account; signed."""

    shock: Ratio


def faced(book: Book) -> Book:
    """
    The same book with every symbol's shock in the direction that hurts the account.

    Betas are given without a sign. A symbol with one leg moves against it. Where there are two,
    or collateral in it, the direction is tried out: first that in which a small move hurts, then
    the other one where the account is liquidated sooner that way. What is spare the worse way of
    each is concave between two bends of a linear book, so looking at the bends misses nothing.
    """
    if book.is_plain:
        return book
    turned = _hurt_nearby(book)
    if spare(turned, ZERO) <= ZERO:
        return turned
    while (sooner := _liquidated_sooner(turned)) != turned:
        turned = sooner
    return turned


def turned_over(book: Book, symbols: Set[str]) -> Book:
    """The same book with the shock of these symbols the other way round."""
    return replace(
        book,
        legs=tuple(
            replace(leg, beta=Ratio(-leg.beta)) if leg.position.symbol in symbols else leg
            for leg in book.legs
        ),
        pledges=tuple(
            replace(each, beta=Ratio(-each.beta)) if each.symbol in symbols else each
            for each in book.pledges
        ),
    )


def equity(book: Book, shock: Decimal = ZERO) -> Money:
    """Wallet balance, collateral and unrealised profit after the common adverse `shock`."""
    gains = (_profit_after(leg, shock) for leg in book.legs)
    coins = (each.amount * each.price_after(shock) for each in book.pledges)
    return Money(book.wallet_balance + sum(gains, ZERO) + sum(coins, ZERO))


def total_requirement(book: Book, shock: Decimal = ZERO) -> Money:
    """Equity at or below which the venue liquidates the account, after `shock`."""
    if book.is_plain:
        each = (
            requirement(leg.instrument, leg.position, leg.price_after(shock)) for leg in book.legs
        )
        return Money(sum(each, ZERO))
    return Money(sum((_required(stake.legs, shock) for stake in _stakes(book)), ZERO))


def spare(book: Book, shock: Decimal) -> Money:
    """
    Equity beyond the requirement after the common adverse `shock`.

    Less than any number where it leaves an inverse contract no price: what that owes, or has to
    be margined with, is endless there.
    """
    if any(shock >= priced_until(leg) for leg in book.legs):
        return ENDLESS_DEBT
    return Money(equity(book, shock) - total_requirement(book, shock))


def joint_liquidation(book: Book) -> LiquidatesAfter | NoLiquidation:
    """
    The joint distance of the book: the signed shock where its spare money is gone.

    Negative where it is gone already: so far the marks would have to come back.
    """
    borders = _all_bends(book)
    is_linear = all(leg.instrument.kind is ContractKind.LINEAR for leg in book.legs)
    if spare(book, ZERO) > ZERO:
        ahead = [ZERO, *_in_order(border for border in borders if border > ZERO)]
        if is_linear:
            reached = first_root(lambda shock: -spare(book, shock), ahead)
        else:
            reached = _first_enclosed(book, 1, ahead)
        if reached == NEVER:
            return NoLiquidation("the wallet covers the whole loss of all positions together")
        return LiquidatesAfter(Ratio(reached))
    behind = [ZERO, *_in_order(-border for border in borders if border < ZERO)]
    if is_linear:
        back = first_root(lambda recovery: spare(book, -recovery), behind)
    else:
        back = _first_enclosed(book, -1, behind)
    return LiquidatesAfter(Ratio(max(-back, -ONE)))


def shocks_to_watch(book: Book, distance: Decimal) -> list[Decimal]:
    """The shocks up to `distance` among which the spare money of the book is least."""
    ahead = _in_order(bend for bend in _all_bends(book) if ZERO < bend < distance)
    return [ZERO, *ahead, distance]


def first_root(rising: Callable[[Decimal], Decimal], borders: list[Decimal]) -> Decimal:
    """
    The smallest x from the first of `borders` on where `rising` reaches zero, or `NEVER`.

    `rising` is linear between the ascending borders and beyond the last of them. It may jump up
    at a border, which then belongs to what follows it.
    """
    below = rising(borders[0])
    if below >= ZERO:
        return borders[0]
    for low, high in pairwise(borders):
        above = rising(high)
        if above >= ZERO:
            half = rising((low + high) / 2)
            slope = 2 * (half - below) / (high - low)
            # Where the line itself does not reach zero so far, the jump at its end does.
            return min(low - below / slope, high) if slope > ZERO else high
        below = above
    last = borders[-1]
    slope = rising(last + ONE) - below
    return last - below / slope if slope > ZERO else NEVER


def _hurt_nearby(book: Book) -> Book:
    """Every symbol's shock in the direction in which a small move hurts the account."""
    rises = {stake.symbol: _is_hurt_by_rise(stake) for stake in _stakes(book)}
    legs = tuple(
        replace(leg, beta=Ratio(abs(leg.beta) * (-1 if _gains(leg, rises) else 1)))
        for leg in book.legs
    )
    pledges = tuple(
        replace(each, beta=Ratio(abs(each.beta) * (-1 if rises[each.symbol] else 1)))
        for each in book.pledges
    )
    return replace(book, legs=legs, pledges=pledges)


def _liquidated_sooner(book: Book) -> Book:
    """The book with symbols turned over by which it is liquidated sooner; itself without such."""
    both_ways = frozenset(
        stake.symbol for stake in _stakes(book) if len(stake.legs) + len(stake.pledges) > 1
    )
    other = turned_over(book, both_ways)
    reached = _shock_reached(book)
    bends = [*_all_bends(book), *_all_bends(other)]
    ahead = _in_order(bend for bend in bends if ZERO < bend < reached)
    priced = min(map(priced_until, (*book.legs, *other.legs)), default=NEVER)
    for shock in [*ahead, min(reached, _FAR)]:
        if shock >= priced:
            return book
        parts = zip(_stakes(book), _stakes(other), strict=True)
        worse = frozenset(
            stake.symbol
            for stake, turned in parts
            if stake.symbol in both_ways and _part(turned, shock) < _part(stake, shock)
        )
        sooner = turned_over(book, worse)
        if worse and spare(sooner, shock) <= ZERO and _shock_reached(sooner) < reached:
            return sooner
    return book


def _shock_reached(book: Book) -> Decimal:
    match joint_liquidation(book):
        case NoLiquidation():
            return NEVER
        case LiquidatesAfter(shock):
            return shock


@dataclass(frozen=True, slots=True)
class _Stake:
    """All that there is of one symbol: one leg or two, and collateral."""

    symbol: str
    legs: tuple[Leg, ...]
    pledges: tuple[Pledge, ...]


def _stakes(book: Book) -> tuple[_Stake, ...]:
    symbols = dict.fromkeys(
        [*(leg.position.symbol for leg in book.legs), *(each.symbol for each in book.pledges)]
    )
    return tuple(
        _Stake(
            symbol,
            tuple(leg for leg in book.legs if leg.position.symbol == symbol),
            tuple(each for each in book.pledges if each.symbol == symbol),
        )
        for symbol in symbols
    )


def _profit_after(leg: Leg, shock: Decimal) -> Decimal:
    position = leg.position
    return profit(
        leg.instrument,
        position.side,
        position.quantity,
        position.entry_price,
        leg.price_after(shock),
    )


def _required(legs: tuple[Leg, ...], shock: Decimal) -> Decimal:
    """What the legs of one symbol require together."""
    required = [requirement(leg.instrument, leg.position, leg.price_after(shock)) for leg in legs]
    if len(legs) <= 1:
        return sum(required, ZERO)
    match legs[0].instrument.rules.hedge_requirement:
        case HedgeRequirement.BOTH_LEGS:
            return sum(required, ZERO)
        case HedgeRequirement.LARGER_LEG:
            sizes = [leg.position.quantity for leg in legs]
            return max(
                need for need, size in zip(required, sizes, strict=True) if size == max(sizes)
            )
        case HedgeRequirement.NET:
            net = _net(legs)
            return requirement(net.instrument, net.position, net.price_after(shock))


def _net(legs: tuple[Leg, ...]) -> Leg:
    """What the larger leg has beyond the smaller one, as a leg."""
    small, large = sorted(legs, key=lambda leg: leg.position.quantity)
    left = Quantity(large.position.quantity - small.position.quantity)
    return replace(large, position=replace(large.position, quantity=left))


def _is_hurt_by_rise(stake: _Stake) -> bool:
    """Whether less is spare after a small rise of the symbol's price than after a fall."""
    if len(stake.legs) == 1 and not stake.pledges:
        return stake.legs[0].position.side.sign < 0

    def spare_at(moved: Decimal) -> Decimal:
        legs = tuple(replace(leg, mark_price=Price(leg.mark_price * moved)) for leg in stake.legs)
        gains = (_profit_after(leg, ZERO) for leg in legs)
        coins = (each.amount * each.mark_price * moved for each in stake.pledges)
        return sum(gains, ZERO) + sum(coins, ZERO) - _required(legs, ZERO)

    return spare_at(ONE + _NUDGE) < spare_at(ONE - _NUDGE)


def _gains(leg: Leg, rises: dict[str, bool]) -> bool:
    return rises[leg.position.symbol] is (leg.position.side.sign > 0)


def _parts(book: Book, stakes: tuple[_Stake, ...], shock: Decimal) -> list[Decimal]:
    """What is spare after `shock`, by symbol; each part is monotone between two bends."""
    return [Decimal(book.wallet_balance), *(_part(stake, shock) for stake in stakes)]


def _part(stake: _Stake, shock: Decimal) -> Decimal:
    gains = (_profit_after(leg, shock) for leg in stake.legs)
    coins = (each.amount * each.price_after(shock) for each in stake.pledges)
    return sum(gains, ZERO) + sum(coins, ZERO) - _required(stake.legs, shock)


def _first_enclosed(book: Book, way: int, borders: list[Decimal]) -> Decimal:
    """
    As `first_root` for a book with inverse legs: where its spare money changes sign first.

    `way` is +1 to look ahead, for the shock where nothing is spare any more, and -1 to look back,
    for the recovery where something would be.
    """
    stakes = _stakes(book)
    end = min((_priced_until(leg, way) for leg in book.legs), default=NEVER)

    def parts(distance: Decimal) -> list[Decimal]:
        return [-way * part for part in _parts(book, stakes, way * distance)]

    inside = [border for border in borders if border < end]
    for low, high in pairwise([*inside, *_beyond(inside[-1], end)]):
        found = _enclosed(parts, low, high)
        if found != NEVER:
            return found
    return NEVER


def priced_until(leg: Leg) -> Decimal:
    """The shock that leaves nothing of an inverse contract's price: its value is endless there."""
    return _priced_until(leg, 1)


def _priced_until(leg: Leg, way: int) -> Decimal:
    if leg.instrument.kind is ContractKind.LINEAR:
        return NEVER
    falls = leg.position.side.sign * leg.beta * way
    return ONE / falls if falls > ZERO else NEVER


def _beyond(last: Decimal, end: Decimal) -> Iterator[Decimal]:
    """Ever farther from the last border, to an end that is never reached."""
    for doubling in range(_DOUBLINGS):
        if end.is_finite():
            yield end - (end - last) / 2 ** (doubling + 1)
        else:
            yield last + 2**doubling


def _enclosed(parts: Callable[[Decimal], list[Decimal]], low: Decimal, high: Decimal) -> Decimal:
    """
    The first place in an interval where the sum of monotone `parts` reaches zero from below.

    Rounded to the side that comes first; `NEVER` where the parts show that it does not.
    """
    waiting = [(low, parts(low), high, parts(high), 0)]
    while waiting:
        low, at_low, high, at_high, halvings = waiting.pop()
        if sum(map(max, at_low, at_high)) < ZERO:
            continue
        if sum(at_low) >= ZERO or halvings == _HALVINGS:
            return low
        middle = (low + high) / 2
        at_middle = parts(middle)
        waiting.append((middle, at_middle, high, at_high, halvings + 1))
        waiting.append((low, at_low, middle, at_middle, halvings + 1))
    return NEVER


def _all_bends(book: Book) -> list[Decimal]:
    """The shocks at which the spare money of the book bends, some of them more than once."""
    bends = [bend for leg in book.legs for bend in _bends(leg)]
    if not book.is_plain:
        pairs = (stake.legs for stake in _stakes(book) if len(stake.legs) > 1)
        bends += (bend for pair in pairs for bend in _bends(_net(pair)))
        bends += (_price_gone(each.beta) for each in book.pledges if each.beta != ZERO)
    return bends


def _in_order(places: Iterable[Decimal]) -> list[Decimal]:
    """Ascending, each once. To sort numbers takes less time than to hash them."""
    return [place for place, _ in groupby(sorted(places))]


def _price_gone(falls: Decimal) -> Decimal:
    """The shock at which nothing is left of a price, so that none is where it is applied."""
    gone = ONE / falls
    if gone * falls >= ONE:
        return gone
    return gone.next_plus() if gone > ZERO else gone.next_minus()


def _bends(leg: Leg) -> Iterable[Decimal]:
    """The shocks at which the spare money of a leg bends."""
    sign, mark, quantity = leg.position.side.sign, leg.mark_price, leg.position.quantity
    if ZERO in (leg.beta, quantity):
        return
    instrument, falls = leg.instrument, sign * leg.beta
    if instrument.kind is ContractKind.LINEAR:
        yield _price_gone(falls)
    rules = instrument.rules
    if rules.maintenance_at is MaintenanceAt.ENTRY or rules.tier_measure is TierMeasure.QUANTITY:
        return
    for tier in instrument.tiers:
        if tier.cap.is_finite():
            moved = tier.cap / value(instrument, quantity, mark)
            yield (
                ONE - (moved if instrument.kind is ContractKind.LINEAR else ONE / moved)
            ) / falls
