"""Sensible policies: what a user would write for a position of this leverage and size."""

from collections.abc import Callable
from decimal import Decimal
from random import Random


def policy_text(random: Random, distance: Decimal, margin: Decimal, reserve: Decimal) -> str:
    """A policy in YAML. Thresholds are shares of the liquidation `distance` at the start."""

    def percent(low: float, high: float) -> str:
        return f"{float(distance) * random.uniform(low, high) * 100:.4f}%"

    def money(base: Decimal, low: float, high: float) -> Decimal:
        return Decimal(f"{float(base) * random.uniform(low, high):.2f}")

    per_action = max(money(margin, 0.1, 0.6), Decimal("0.01"))
    per_1h = per_action + money(margin, 0.0, 0.6)
    per_24h = per_1h + money(margin, 0.0, 0.8)
    per_episode = per_action + money(margin, 0.0, 0.8)
    loss_max = max(money(margin, 0.5, 3.0), Decimal("0.01"))
    return f"""\
schema: liqguard/v1
account: {{ name: sim, venue: binanceusdm, margin_mode: isolated, position_mode: one_way }}
protect:
  stop: {{ room: {percent(0.16, 0.24)} }}
  floor: {percent(0.06, 0.13)}
  floor_in_hold: close
  unknown_after: {random.choice((20, 60))}s
guardrails:
  keep_free: {money(reserve, 0.0, 0.3)} USDT
  top_up:
    per_action: {per_action} USDT
    per_1h: {per_1h} USDT
    per_24h: {per_24h} USDT
    per_episode: {per_episode} USDT
  top_ups_per_episode: {random.randint(1, 4)}
  actions_per_1m: {random.randint(1, 6)}
  data_max_age: {random.choice((3, 5, 15))}s
  loss_max: {loss_max} USDT
  slippage_max: 50 bps
rules:
{_rules(random, percent)}"""


def _rules(random: Random, percent: Callable[[float, float], str]) -> str:
    hand_over = random.choice(("", ", then: next"))
    steps = [
        f"{{ step: warn, below: {percent(0.8, 0.95)}, for: {random.randint(0, 30)}s, do: alert }}",
        (
            f"{{ step: tight, below: {percent(0.65, 0.75)}, for: {random.randint(0, 10)}s,"
            f" do: place_stop, with: {{ room: {percent(0.2, 0.32)} }} }}"
        ),
        (
            f"{{ step: add, below: {percent(0.5, 0.6)}, for: {random.randint(0, 5)}s, do: top_up,"
            f" with: {{ to: {percent(0.72, 1.1)} }}, cooldown: {random.choice((0, 5, 20, 60))}s"
            f"{hand_over} }}"
        ),
        f"{{ step: out, below: {percent(0.25, 0.4)}, for: {random.randint(0, 2)}s, do: close }}",
    ]
    dropped = random.choice((0, 1, 3, None, None, None))
    if dropped is not None and not (dropped == 3 and hand_over):
        del steps[dropped]
    ladder = "".join(f"      - {step}\n" for step in steps)
    text = (
        "  - rule: ladder\n"
        "    match: { symbols: any, side: any, margin_mode: isolated }\n"
        "    watch: liquidation_distance\n"
        f"    hysteresis: {percent(0.01, 0.1)}\n"
        f"    ladder:\n{ladder}"
    )
    if random.random() < 0.25:
        text += (
            "  - rule: ratio\n"
            "    match: { symbols: any, side: any, margin_mode: isolated }\n"
            "    watch: margin_ratio\n"
            "    hysteresis: 5%\n"
            "    ladder:\n"
            "      - { step: look, above: 50%, for: 5s, do: alert }\n"
            f"      - {{ step: leave, above: {random.randint(80, 95)}%, for: 1s, do: close }}\n"
        )
    return text
