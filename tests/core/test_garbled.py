"""A position whose row cannot be read: it is Unknown, and costs no other its protection."""

from dataclasses import replace
from decimal import Decimal

from bot.core.actions import CancelStop, PlaceStop
from bot.core.decision import Audited, NotAudited, PositionVerdict
from bot.core.events import AccountReported
from bot.core.metrics import Known, Unknown
from bot.core.model import Garbled, MarginMode, Position, StopOrder
from bot.core.policy import Rule
from bot.core.protection import StopStatus
from bot.core.state import BLANK, NotRead
from bot.core.strategy import Severity, TopUp
from bot.core.units import Money
from bot.testing import builders as build
from tests.core.books import cross
from tests.core.life import GOOD_STOP, LONG, Life, below

ETH = build.position("ETHUSDT", entry_price=2_000, quantity=10, margin=2_000)
ETH_STOP = build.our_stop(ETH, "1865.0", name="e" * 20)
LISTED = (build.instrument(), build.instrument("ETHUSDT"))
REASON = "positionRisk[1].positionAmt: expected a number, was 'many'"
POLICY = build.policy()


def two(*stops: StopOrder, policy: object = POLICY) -> Life:
    life = Life(POLICY, LONG, ETH, stops=stops, instruments=LISTED)
    life.mark(2_000, "ETHUSDT")
    return life


def garble(life: Life, *positions: Position, symbol: str, stops: tuple[StopOrder, ...]) -> None:
    """A read that shows `positions`, and of one in `symbol` that it cannot be read."""
    read = build.snapshot(positions, stops, free=life.free, taken_at_ms=life.now_ms)
    read = replace(read, garbled=(Garbled(symbol, REASON),))
    life.happen(AccountReported(read, life.now_ms, life.now_ms))


def verdict(life: Life, position: Position) -> PositionVerdict:
    return next(each for each in life.decision.positions if each.position.key == position.key)


def test_it_is_unknown_its_stops_are_left_alone_and_the_other_is_guarded() -> None:
    for symbol in ("ETHUSDT", ""):
        life = two(GOOD_STOP, ETH_STOP)
        life.decide()
        life.wait(2_000)
        garble(life, LONG, symbol=symbol, stops=(ETH_STOP,))  # and BTC's stop is gone
        (place,) = life.decide()
        assert isinstance(place, PlaceStop)
        assert place.symbol == build.SYMBOL
        unread = verdict(life, ETH)
        assert isinstance(unread.measured, Unknown)
        assert REASON in unread.measured.reason
        assert isinstance(unread.stop, NotAudited)
        assert isinstance(verdict(life, LONG).measured, Known)
        assert "garbled" in life.alerts
        assert life.decision.endangered


def test_a_calm_verdict_is_not_kept_for_it() -> None:
    life = two(GOOD_STOP, ETH_STOP)
    life.decide()
    life.decide()
    garble(life, LONG, symbol="ETHUSDT", stops=(GOOD_STOP, ETH_STOP))
    assert life.decide() == []
    assert isinstance(verdict(life, ETH).measured, Unknown)


def test_it_is_alarmed_at_once_again_after_half_an_hour_and_as_unknown_in_between() -> None:
    life = two(GOOD_STOP, ETH_STOP)
    life.decide()
    said = []
    for _ in range(31):
        garble(life, LONG, symbol="ETHUSDT", stops=(GOOD_STOP, ETH_STOP))
        life.mark(50_000)
        life.mark(2_000, "ETHUSDT")
        life.decide()
        said.append(life.alerts)
        life.wait(60_000)
    assert said[0] == ["garbled"]
    assert "unknown" in said[1]
    assert not any("garbled" in each for each in said[1:30])
    assert "garbled" in said[30]


def test_nothing_is_flat_and_no_stop_is_an_orphan_that_nobody_could_read() -> None:
    """After a restart too, when there is no earlier read to go by."""
    for symbol in ("ETHUSDT", ""):
        life = two(GOOD_STOP, ETH_STOP)
        life.state = replace(life.state, account=NotRead())
        for _ in range(10):
            garble(life, LONG, symbol=symbol, stops=(GOOD_STOP, ETH_STOP))
            life.mark(50_000)
            assert life.decide() == []
            life.wait(120_000)
        assert life.state.memory_of(ETH.key).flat_since_ms < 0
        life.read(LONG, stops=(GOOD_STOP, ETH_STOP))
        life.wait(3_000)
        life.read(LONG, stops=(GOOD_STOP, ETH_STOP))
        life.mark(50_000)
        (cancel,) = life.decide()  # now it is surely gone
        assert isinstance(cancel, CancelStop)


def test_what_is_readable_again_is_guarded_again() -> None:
    life = two(GOOD_STOP, ETH_STOP)
    garble(life, LONG, symbol="ETHUSDT", stops=(GOOD_STOP, ETH_STOP))
    life.decide()
    life.wait(1_000)
    life.read(LONG, ETH, stops=(GOOD_STOP, ETH_STOP))
    assert life.decide() == []
    assert isinstance(verdict(life, ETH).measured, Known)
    stop = verdict(life, ETH).stop
    assert isinstance(stop, Audited)
    assert stop.status is StopStatus.RESTS
    assert life.state.memory_of(ETH.key) is not BLANK


def adds(amount: int = 100) -> Rule:
    step = build.step("add", below("0.2"), Severity.SPEND, lambda _: TopUp(Money(Decimal(amount))))
    return build.rule(step)


def test_margin_is_added_beside_an_isolated_one_and_not_where_it_may_be_a_cross_one() -> None:
    for known, added in ((True, 1), (False, 0)):
        life = Life(build.policy(adds()), LONG, ETH, stops=(GOOD_STOP,), instruments=LISTED)
        if not known:
            life.state = replace(life.state, account=NotRead())
        garble(life, LONG, symbol="ETHUSDT", stops=(GOOD_STOP,))
        life.mark(2_000, "ETHUSDT")
        actions = life.decide()
        assert len(actions) == added
        limits = [denied.limit for denied in verdict(life, LONG).denied]
        assert limits == ([] if added else ["garbled"])


def test_one_leg_of_a_wallet_leaves_the_distance_of_all_unknown_and_their_stops_kept() -> None:
    btc, eth = (
        cross("BTCUSDT", entry_price=50_000),
        cross("ETHUSDT", quantity=10, entry_price=2_000),
    )
    policy = build.policy(margin_modes=frozenset({MarginMode.CROSS}))
    life = Life(policy, btc, eth, wallet=10_000, instruments=LISTED)
    life.mark(2_000, "ETHUSDT")
    placed = {each.symbol: each for each in life.decide() if isinstance(each, PlaceStop)}
    assert len(placed) == 2
    life.wait(10_000)
    life.mark(50_000)
    life.mark(2_000, "ETHUSDT")
    garble(life, btc, symbol="ETHUSDT", stops=())
    (place,) = life.decide()
    assert place == placed["BTCUSDT"]  # where both of them belong, by what was last read
    assert isinstance(verdict(life, btc).measured, Unknown)
