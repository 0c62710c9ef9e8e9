"""
How near positions that share a balance are to liquidation: the observer's own arithmetic.

An isolated position stands alone on its margin, all cross positions stand together on the
wallet. In floats, so that it can be asked at every price; `test_pool` holds it against the exact
fractions that the paper exchange is tested with.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from bot.core.model import CloseFee, ContractKind, Instrument, MaintenanceAt, Side

SHOCK_MAX = 1e6
"""No distance is larger: beyond this no common shock liquidates."""

NO_LEVEL = 0.0
"""The level of a position that no price liquidates."""


@dataclass(frozen=True, slots=True)
class Stake:
    """One position at a mark price. A common shock moves that by `beta` times as much."""

    listing: "Listing"
    sign: int
    quantity: float
    entry: float
    mark: float
    beta: float


class Listing:
    """What an instrument requires, in floats."""

    def __init__(self, instrument: Instrument) -> None:
        rules = instrument.rules
        self.is_inverse = instrument.kind is ContractKind.INVERSE
        self.by_mark = rules.maintenance_at is MaintenanceAt.MARK
        self.fee = float(instrument.taker_fee) if rules.close_fee is CloseFee.MARK else 0.0
        at_bankruptcy = rules.close_fee is CloseFee.BANKRUPTCY
        self.bankruptcy_fee = float(instrument.taker_fee) if at_bankruptcy else 0.0
        self._caps = [float(tier.cap) for tier in instrument.tiers]
        self._floors = [float(tier.floor) for tier in instrument.tiers]
        self._rates = [float(tier.rate) for tier in instrument.tiers]
        self._below = [0.0]
        for floor, cap, rate in zip(self._floors, self._caps, self._rates, strict=True):
            self._below.append(self._below[-1] + (cap - floor) * rate)

    def worth(self, quantity: float, price: float) -> float:
        """In what the contract pays in: an inverse one is worth the more coins the cheaper."""
        if not self.is_inverse:
            return quantity * price
        return quantity / price if price > 0 else math.inf

    def gain(self, each: Stake, worth: float, paid: float) -> float:
        """What a position gains from its entry, where it was worth `paid`."""
        return (-each.sign if self.is_inverse else each.sign) * (worth - paid)

    def maintenance(self, notional: float) -> tuple[float, float]:
        """Each slice of the notional pays the rate of its tier: the sum, and the last rate."""
        tier = bisect_left(self._caps, notional)
        rate = self._rates[tier]
        return self._below[tier] + (notional - self._floors[tier]) * rate, rate


@dataclass(frozen=True, slots=True)
class Pool:
    """A balance and the positions that stand on it."""

    balance: float
    stakes: Mapping[str, Stake]

    def less(self, bill: float) -> "Pool":
        """The same once so much has been paid."""
        return Pool(self.balance - bill, self.stakes)

    def equity(self, shock: float = 0.0) -> float:
        """The balance with what the positions gain and lose after a common adverse shock."""
        gains = 0.0
        for each in self.stakes.values():
            listing, quantity = each.listing, each.quantity
            worth = listing.worth(quantity, _after(each, shock))
            gains += listing.gain(each, worth, listing.worth(quantity, each.entry))
        return self.balance + gains

    def ratio(self) -> float:
        """Requirement as a share of equity."""
        equity = self.equity()
        return (equity - self._spare(0.0)[0]) / equity if equity > 0 else math.inf

    def spare(self, shock: float) -> float:
        """What equity leaves above the requirement after a common adverse shock."""
        return self._spare(shock)[0]

    def distance(self) -> float:
        """
        The common adverse shock at which nothing is spare any more; 0 where it is so already.

        What is spare is concave in the shock until a price reaches zero, so tangents come down
        to the root from above; where they do not, halving finds it.
        """
        shock = 0.0
        spare, slope = self._spare(shock)
        if spare <= 0:
            return 0.0
        for _ in range(12):
            if slope >= 0:
                break
            shock -= spare / slope
            if not 0.0 < shock < SHOCK_MAX:
                break
            spare, slope = self._spare(shock)
            if abs(spare) <= 1e-12 * (1.0 + abs(self.balance)):
                return shock
        return self._halved()

    def level(self, symbol: str, distance: float) -> float:
        """Where the mark price of one of them is at that shock."""
        stake = self.stakes[symbol]
        return max(stake.mark * (1.0 - stake.sign * stake.beta * distance), NO_LEVEL)

    def bankruptcy(self, symbol: str) -> float:
        """Where the mark price of one of them is when a common shock has used up the equity."""
        low, high = 0.0, SHOCK_MAX
        if self.equity(high) > 0:
            return NO_LEVEL
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if self.equity(middle) > 0 else (low, middle)
        return self.level(symbol, high)

    def _halved(self) -> float:
        low, high = 0.0, SHOCK_MAX
        if self._spare(high)[0] > 0:
            return SHOCK_MAX
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if self._spare(middle)[0] > 0 else (low, middle)
        return high

    def _fee_at_bankruptcy(self, stake: Stake) -> float:
        """Of a linear position that stands alone: on its worth where nothing is left."""
        fee, entry = stake.listing.bankruptcy_fee, stake.quantity * stake.entry
        worth = (stake.sign * entry - self.balance) / (stake.sign - fee)
        return max(worth, 0.0) * fee

    def _spare(self, shock: float) -> tuple[float, float]:
        """What is spare, and how it changes with the shock."""
        spare, slope = self.balance, 0.0
        for each in self.stakes.values():
            mark, quantity, listing = _after(each, shock), each.quantity, each.listing
            worth = listing.worth(quantity, mark)
            paid = listing.worth(quantity, each.entry)
            needed, rate = listing.maintenance(worth if listing.by_mark else paid)
            spare += listing.gain(each, worth, paid)
            spare -= needed + worth * listing.fee
            if listing.bankruptcy_fee:
                spare -= self._fee_at_bankruptcy(each)
            if mark > 0:
                falls = each.sign * each.beta * each.mark * quantity
                sign = each.sign
                if listing.is_inverse:
                    falls, sign = -falls / mark**2, -sign
                slope -= falls * (sign - (rate if listing.by_mark else 0.0) - listing.fee)
        return spare, slope


def stake(
    listing: Listing,
    side: Side,
    quantity: Decimal,
    entry: Decimal,
    mark: Decimal,
    beta: Decimal,
) -> Stake:
    """A position as the exchange reports it."""
    return Stake(listing, side.sign, float(quantity), float(entry), float(mark), float(beta))


def _after(each: Stake, shock: float) -> float:
    return max(each.mark * (1.0 - each.sign * each.beta * shock), 0.0)
