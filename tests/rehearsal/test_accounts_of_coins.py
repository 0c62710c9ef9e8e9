"""
A whole guard on accounts whose contracts pay in the coin, on the exchange that liquidates.

The same fall takes the account without a guard; with one every journal is verified.
"""

import pytest

from bot.core.actions import AddMargin, ClosePosition
from bot.core.model import ContractKind, MarginMode, Side
from bot.core.units import Money, Price, Quantity, Ratio
from bot.exchange.paper.machine import PaperMachine
from bot.exchange.paper.prices import Prices
from bot.runtime.assemble import StartRefused
from bot.testing.builders import ACCOUNT
from tests.exchange.paper.build import contract
from tests.rehearsal.living import guarded, unguarded
from tests.runtime.build import T0, TEXT, D, policy

BTC, ETH = "BTC/USD:BTC", "ETH/USD:BTC"
IN_COINS = (
    TEXT.replace("position_mode: one_way }", "position_mode: one_way, settle: BTC }")
    .replace("1000 USDT", "0.05 BTC")
    .replace("1500 USDT", "0.08 BTC")
    .replace("9000 USDT", "0.5 BTC")
    .replace("0 USDT", "0 BTC")
)
CROSS = (
    IN_COINS.replace("margin_mode: isolated,", "margin_mode: cross,")
    .replace("margin_mode: isolated }", "margin_mode: cross }")
    .replace("rules:\n", "stress: { shock: 25% }\nrules:\n")
    .replace(
        "{ step: top-up, below: 4%, for: 0s, do: top_up, with: { to: 7% }, cooldown: 10s }",
        "{ step: less, below: 4%, for: 0s, do: partial_close, with: { to: 6% }, cooldown: 10s }",
    )
)


def opened(*legs: tuple[str, Side, int, MarginMode], deposit: str) -> PaperMachine:
    """Positions in dollars at 50,000, at 10x."""
    coins = [
        contract(symbol, kind=ContractKind.INVERSE, taker_fee="0.0005") for symbol in (BTC, ETH)
    ]
    machine = PaperMachine(coins, Ratio(D("0.0005")))
    start = Prices(Price(D(50_000)), Price(D(50_000)))
    machine.move(T0, {BTC: start, ETH: start})
    machine.deposit(ACCOUNT, Money(D(deposit)))
    for symbol, side, dollars, mode in legs:
        machine.open_position(
            ACCOUNT,
            symbol,
            side,
            quantity=Quantity(D(dollars)),
            leverage=D(10),
            margin_mode=mode,
            at_ms=T0,
        )
    machine.take_notices()
    return machine


ISOLATED = MarginMode.ISOLATED


@pytest.mark.parametrize(
    ("side", "corners"),
    [
        (Side.LONG, ((0, 50_000), (20_000, 47_000), (40_000, 47_000), (90_000, 43_000))),
        (Side.SHORT, ((0, 50_000), (20_000, 53_300), (40_000, 53_300), (90_000, 58_000))),
    ],
)
def test_an_isolated_position_is_topped_up_in_coins_and_stopped_before_it_is_taken(
    side: Side, corners: tuple[tuple[int, int], ...]
) -> None:
    leg = (BTC, side, 100_000, ISOLATED)
    assert unguarded(opened(leg, deposit="0.5"), *corners)
    lived = guarded(opened(leg, deposit="0.5"), policy(IN_COINS), *corners)
    assert lived.machine.liquidation(ACCOUNT) == ()
    assert lived.machine.snapshot(ACCOUNT, T0 + 90_000).positions == ()
    spent = [each.amount for each in lived.intents if isinstance(each, AddMargin)]
    assert spent
    assert sum(spent) <= D("0.08")
    assert all(amount <= D("0.05") for amount in spent)
    assert lived.decisions > 3


def test_cross_positions_on_a_wallet_of_coins_are_made_smaller_together() -> None:
    legs = (
        (BTC, Side.LONG, 60_000, MarginMode.CROSS),
        (ETH, Side.LONG, 40_000, MarginMode.CROSS),
    )
    corners = ((0, 50_000), (20_000, 47_200), (60_000, 47_200), (120_000, 42_000))
    assert unguarded(opened(*legs, deposit="0.21"), *corners)
    lived = guarded(opened(*legs, deposit="0.21"), policy(CROSS), *corners)
    assert lived.machine.liquidation(ACCOUNT) == ()
    assert [each for each in lived.intents if isinstance(each, ClosePosition)]
    left = lived.machine.snapshot(ACCOUNT, T0 + 120_000).positions
    assert sum(each.quantity for each in left) < 80_000


def test_amounts_in_another_coin_than_the_contracts_pay_in_are_refused_in_one_sentence() -> None:
    machine = opened((BTC, Side.LONG, 100_000, ISOLATED), deposit="0.5")
    with pytest.raises(StartRefused) as refused:
        guarded(machine, policy(), (0, 50_000), (1_000, 50_000))
    assert str(refused.value) == (
        "BTC/USD:BTC: it pays in BTC, the amounts of the policy are in USDT (account.settle)"
    )
