"""A valid policy to break: two rules, one on each metric."""

import pytest

GOOD = """\
schema: liqguard/v1
account:
  name: main
  venue: binanceusdm
  margin_mode: isolated
  position_mode: one_way
protect:
  stop: { room: 3% }
  floor: 150 bps
  floor_in_hold: keep
  unknown_after: 1m
guardrails:
  keep_free: 0 USDT
  top_up: { per_action: 250 USDT, per_1h: 500 USDT, per_24h: 800.5 USDT, per_episode: 600 USDT }
  top_ups_per_episode: 3
  actions_per_1m: 6
  data_max_age: 1500ms
  loss_max: 900 USDT
  slippage_max: 50 bps
rules:
  - rule: distance
    match: { symbols: [BTCUSDT, ETHUSDT], side: long, margin_mode: isolated }
    watch: liquidation_distance
    hysteresis: 1%
    ladder:
      - { step: warn, below: 12%, for: 30s, do: alert, cooldown: 1h }
      - { step: tight, below: 9%, for: 10s, do: place_stop, with: { room: 4% } }
      - { step: add, below: 7%, for: 3s, do: top_up, with: { to: 10% }, cooldown: 1m, then: next }
      - { step: out, below: 4%, for: 0s, do: close }
  - rule: ratio
    match: { symbols: any, side: any, margin_mode: isolated }
    watch: margin_ratio
    hysteresis: 5%
    ladder:
      - { step: warn, above: 50%, for: 30s, do: alert }
      - { step: out, above: 80%, for: 0s, do: close }
"""


@pytest.fixture(scope="session")
def good() -> str:
    """The text of a valid policy."""
    return GOOD
