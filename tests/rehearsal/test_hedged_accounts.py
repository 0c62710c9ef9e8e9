"""A whole guard on a long and a short of one symbol, on the exchange in hedge mode."""

import re
from pathlib import Path

import pytest

from bot.core.actions import AddMargin, ClosePosition, PlaceStop
from bot.core.model import PositionMode, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.exchange.venues.binanceusdm import instruments
from bot.policy.casefile import parse_cases
from bot.rehearsal.casebook import try_policy
from bot.runtime.assemble import StartRefused
from bot.testing.builders import ACCOUNT, SYMBOL, instrument
from tests.rehearsal.living import guarded, unguarded
from tests.runtime.build import T0, TEXT, D, policy

HEDGED = TEXT.replace("position_mode: one_way", "position_mode: hedge").replace(
    "rules:\n", "stress: { shock: 25% }\nrules:\n"
)


def opened(long: str, short: str) -> PaperMachine:
    machine = PaperMachine([instrument()], Ratio(D("0.0005")))
    start = Prices(Price(D(50_000)), Price(D(50_000)))
    machine.move(T0, {SYMBOL: start})
    machine.deposit(ACCOUNT, Money(D(12_000)))
    machine.set_position_mode(ACCOUNT, PositionMode.HEDGE, T0)
    for side, size in ((Side.LONG, long), (Side.SHORT, short)):
        machine.open_position(
            ACCOUNT, SYMBOL, side, quantity=Quantity(D(size)), leverage=D(10), at_ms=T0
        )
    machine.take_notices()
    return machine


FALL = ((0, 50_000), (20_000, 47_100), (40_000, 47_100), (160_000, 43_000))


def test_legs_have_stops_of_their_own_and_leave_together() -> None:
    assert unguarded(opened("1", "0.9"), *FALL)
    lived = guarded(opened("1", "0.9"), policy(HEDGED), *FALL)
    assert lived.machine.liquidation(ACCOUNT) == ()
    assert lived.machine.snapshot(ACCOUNT, T0 + 160_000).positions == ()
    stops = {each.side for each in lived.intents if isinstance(each, PlaceStop)}
    closed = {
        each.side: each.quantity for each in lived.intents if isinstance(each, ClosePosition)
    }
    assert stops == set(Side)
    assert closed == {Side.LONG: 1, Side.SHORT: D("0.9")}
    added = {each.side for each in lived.intents if isinstance(each, AddMargin)}
    assert added == {Side.LONG}


def test_a_small_short_beside_it_is_left_where_the_long_leaves_less_at_risk_without_it() -> None:
    lived = guarded(opened("1", "0.05"), policy(HEDGED), *FALL)
    (left,) = lived.machine.snapshot(ACCOUNT, T0 + 160_000).positions
    assert (left.side, left.quantity) == (Side.SHORT, D("0.05"))
    (stop,) = lived.machine.snapshot(ACCOUNT, T0 + 160_000).stops
    assert stop.side is Side.SHORT


def test_an_account_in_another_mode_than_the_policy_is_refused_at_start() -> None:
    with pytest.raises(StartRefused) as refused:
        guarded(opened("1", "0.9"), policy(), *FALL[:2])
    assert "account: expected position mode one_way" in str(refused.value)


CASE = """\
schema: liqguard/v1
policy: hedge.yaml
tests:
  - name: both legs leave together
    interval: 1s
    given:
      wallet: 1000 USDT
      positions:
        - symbol: BTC/USDT:USDT
          side: long
          quantity: 0.2 BTC
          entry_price: 50000 USDT
          margin_mode: isolated
          margin: 1000 USDT
        - symbol: BTC/USDT:USDT
          side: short
          quantity: 0.18 BTC
          entry_price: 50000 USDT
          margin_mode: isolated
          margin: 900 USDT
    prices:
      BTC/USDT:USDT: 50000x20 50000-40x250 40000x10
    expect:
      - { at: end, liquidated: false, quantity: { "BTC/USDT:USDT": 0 BTC } }
"""


def test_a_users_policy_test_lives_in_the_mode_of_the_policy() -> None:
    trial = try_policy(
        parse_cases(CASE, Path("hedge_test.yaml")),
        policy(HEDGED),
        instruments(),
        re.compile(""),
    )
    (verdict,) = trial.verdicts
    assert verdict.failures == ()
