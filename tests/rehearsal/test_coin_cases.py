"""A user's tests of a policy whose contracts pay in the coin, through the command."""

from pathlib import Path

import pytest

from tests.e2e.test_process import liqguard
from tests.rehearsal.test_accounts_of_coins import IN_COINS
from tests.rehearsal.test_positions import COIN_BARS

CASES = """\
schema: liqguard/v1
policy: coins.yaml
contracts: { "BTC/USD:BTC": coins.csv }
tests:
  - name: a slide is topped up in coins, and closed when it goes on
    interval: 1s
    given:
      wallet: 0.2 BTC
      positions:
        - symbol: BTC/USD:BTC
          side: long
          quantity: 20000 USD
          entry_price: 50000 USD
          margin_mode: isolated
          margin: 0.04 BTC
    prices: { "BTC/USD:BTC": 50000-100x30 47000x30 47000-100x60 }
    expect:
      - { at: 50s, spent: 0.02 BTC, liquidated: false }
      - { at: end, quantity: { "BTC/USD:BTC": 0 USD }, liquidated: false }
"""


def run(folder: Path, cases: str = CASES) -> tuple[int, str]:
    (folder / "coins.yaml").write_text(IN_COINS, encoding="utf-8")
    (folder / "coins.csv").write_text(COIN_BARS, encoding="utf-8")
    (folder / "coins_test.yaml").write_text(cases, encoding="utf-8")
    done = liqguard(folder / "state", "test", str(folder / "coins_test.yaml"))
    return done.returncode, done.stdout + done.stderr


def test_a_coin_policy_is_tested_in_its_coin(tmp_path: Path) -> None:
    code, told = run(tmp_path)
    assert code == 0, told
    code, told = run(tmp_path, CASES.replace("spent: 0.02 BTC", "spent: 0.9 BTC"))
    assert code == 4
    assert "0.9 BTC" in told
    assert "0.02 BTC" in told


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "margin: 0.04 BTC",
            "margin: 0.04 USDT",
            "15:19: tests.0.given.positions.0.margin: expected",
        ),
        ("20000 USD", "0.4 BTC", "quantity: expected a quantity of USD, was 'BTC'"),
        ("coins.csv", "none.csv", "contracts.BTC/USD:BTC: "),
        ('contracts: { "BTC/USD:BTC": coins.csv }\n', "", "expected a contract that"),
    ],
)
def test_what_is_wrong_is_named_in_its_place(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    code, told = run(tmp_path, CASES.replace(old, new))
    assert code == 3
    assert expected in " ".join(told.split())
