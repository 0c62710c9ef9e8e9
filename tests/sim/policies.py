"""Sensible policies: what a user would write for an account of this leverage and size."""

from collections.abc import Callable
from decimal import Decimal
from random import Random

from bot.core.model import MarginMode, MarginOnReduce
from tests.sim.accounts import Kind, Opening

Percent = Callable[[float, float], str]


def policy_text(
    random: Random,
    kind: Kind,
    openings: tuple[Opening, ...],
    distances: dict[str, float],
    reserve: Decimal,
    share: str,
) -> str:
    """
    A policy in YAML. Thresholds are shares of the liquidation `distances` at the start.

    What holds for every position goes by the smallest of them. `reserve` is the free money.
    """
    nearest = min(distances.values())
    margin = float(sum(each.initial_margin for each in openings) / len(openings))
    dearest = max(float(each.notional) * distances[each.symbol] for each in openings)
    percent = _percent(random, nearest)
    text = f"""\
schema: liqguard/v1
account: {{ name: sim, venue: binanceusdm, margin_mode: {_MODES[kind]}, position_mode: one_way }}
protect:
  stop: {{ room: {percent(0.16, 0.24)}{share} }}
  floor: {percent(0.06, 0.13)}
  floor_in_hold: close
  unknown_after: {random.choice((20, 60))}s
guardrails:
  keep_free: {_money(random, float(reserve), 0.0, 0.3)} USDT
{_budgets(random, margin)}
  actions_per_1m: {random.randint(1, 6)}
  data_max_age: {random.choice((3, 5, 15))}s
  loss_max: {max(_money(random, dearest, 0.5, 3.0), Decimal("0.01"))} USDT
  slippage_max: {random.choice((20, 50, 100))} bps
"""
    if kind is not Kind.ALONE:
        betas = ", ".join(f'"{each.symbol}": {each.beta}x' for each in openings)
        text += f"stress: {{ shock: {random.randint(5, 40)}%, betas: {{ {betas} }} }}\n"
    text += "rules:\n"
    isolated = next((each for each in openings if each.margin_mode is MarginMode.ISOLATED), None)
    if isolated is not None:
        text += _isolated_rules(random, isolated, distances[isolated.symbol])
    shared = [each for each in openings if each.margin_mode is MarginMode.CROSS]
    if shared:
        text += _cross_rules(random, distances[shared[0].symbol])
    return text


def draw_share(venue: Random) -> str:
    """In a third of the seeds the stop leaves a share of the way from the entry price too."""
    return f", share: {venue.randint(5, 45)}%" if venue.random() < 0.33 else ""


def draw_canary(venue: Random, longest_s: int) -> str:
    """In some seeds the stop path is tried every now and then."""
    return f", canary: {venue.randint(20, longest_s)}s" if venue.random() < 0.25 else ""


_MODES = {Kind.ALONE: "isolated", Kind.BOOK: "cross", Kind.MIXED: "mixed"}


def _percent(random: Random, distance: float) -> Percent:
    return lambda low, high: f"{distance * random.uniform(low, high) * 100:.4f}%"


def _money(random: Random, base: float, low: float, high: float) -> Decimal:
    return Decimal(f"{base * random.uniform(low, high):.2f}")


def _budgets(random: Random, margin: float) -> str:
    """Now and then so tight that the second top-up meets one of them."""
    wide = random.choice((0.0, 0.3, 1.0))
    per_action = max(_money(random, margin, 0.1, 0.6), Decimal("0.01"))
    per_1h = per_action + _money(random, margin, 0.0, 0.6 * wide)
    per_24h = per_1h + _money(random, margin, 0.0, 0.8 * random.choice((wide, 1.0)))
    per_episode = per_action + _money(random, margin, 0.0, 0.8 * random.choice((wide, 1.0)))
    return f"""\
  top_up:
    per_action: {per_action} USDT
    per_1h: {per_1h} USDT
    per_24h: {per_24h} USDT
    per_episode: {per_episode} USDT
  top_ups_per_episode: {random.randint(1, 4)}"""


def _isolated_rules(random: Random, opening: Opening, distance: float) -> str:
    percent = _percent(random, distance)
    hand_over = random.choice(("", ", then: next"))
    steps = [
        f"{{ step: warn, below: {percent(0.8, 0.95)}, for: {random.randint(0, 30)}s, do: alert }}",
        (
            f"{{ step: tight, below: {percent(0.65, 0.75)}, for: {random.randint(0, 10)}s,"
            f" do: place_stop, with: {{ room: {percent(0.2, 0.32)} }} }}"
        ),
        (
            f"{{ step: add, below: {percent(0.5, 0.6)}, for: {random.randint(0, 5)}s, do: top_up,"
            f" with: {{ to: {percent(0.72, 1.1)} }}, cooldown: {random.choice((0, 5, 5, 20))}s"
            f"{hand_over} }}"
        ),
        (
            f"{{ step: trim, below: {percent(0.42, 0.48)}, for: {random.randint(0, 3)}s,"
            f" do: {_isolated_reduction(random, opening, percent)},"
            f" cooldown: {random.choice((0, 5, 20, 60))}s }}"
        ),
        f"{{ step: out, below: {percent(0.27, 0.4)}, for: {random.randint(0, 2)}s, do: close }}",
    ]
    keeps = [random.random() < share for share in (0.8, 0.8, 0.85, 0.5, 0.8)]
    if hand_over:
        keeps[4] = True
    steps = [step for step, kept in zip(steps, keeps, strict=True) if kept] or steps[:1]
    text = _rule("ladder", "isolated", "liquidation_distance", percent(0.01, 0.1), steps)
    if random.random() < 0.25:
        text += _ratio_rule(random, "isolated", "close")
    if random.random() < 0.6:
        text += _bills_rule(
            random,
            "isolated",
            distance * float(opening.leverage),
            random.choice(
                (
                    "trim_and_refund, with: { fraction: %s }",
                    "partial_close, with: { fraction: %s }",
                )
            ),
        )
    return text


def _isolated_reduction(random: Random, opening: Opening, percent: Percent) -> str:
    fraction = f"with: {{ fraction: {random.choice((10, 25, 50, 80))}% }}"
    target = f"with: {{ to: {percent(0.62, 0.9)} }}"
    if opening.instrument.rules.margin_on_reduce is MarginOnReduce.RETAINED:
        return f"partial_close, {random.choice((fraction, target))}"
    return f"trim_and_refund, {random.choice((fraction, target, target))}"


def _cross_rules(random: Random, distance: float) -> str:
    percent = _percent(random, distance)
    size = random.choice(
        (f"to: {percent(0.65, 1.0)}", f"fraction: {random.choice((10, 25, 50, 80))}%")
    )
    steps = [
        f"{{ step: warn, below: {percent(0.8, 0.95)}, for: {random.randint(0, 30)}s, do: alert }}",
        (
            f"{{ step: tight, below: {percent(0.65, 0.75)}, for: {random.randint(0, 10)}s,"
            f" do: place_stop, with: {{ room: {percent(0.25, 0.32)} }} }}"
        ),
        (
            f"{{ step: cut, below: {percent(0.45, 0.55)}, for: {random.randint(0, 5)}s,"
            f" do: partial_close, with: {{ {size} }},"
            f" cooldown: {random.choice((0, 5, 20, 60))}s }}"
        ),
        f"{{ step: out, below: {percent(0.27, 0.4)}, for: {random.randint(0, 2)}s, do: close }}",
    ]
    keeps = [random.random() < share for share in (0.8, 0.8, 0.8, 0.75)]
    steps = [step for step, kept in zip(steps, keeps, strict=True) if kept] or steps[:1]
    text = _rule("book", "cross", "liquidation_distance", percent(0.01, 0.08), steps)
    if random.random() < 0.3:
        text += _ratio_rule(
            random,
            "cross",
            random.choice(("close", "partial_close, with: { fraction: 25% }, cooldown: 20s")),
        )
    if random.random() < 0.5:
        # A bill is compared with the initial margin, of which a book has more than its distance.
        text += _bills_rule(random, "cross", 1.0, "partial_close, with: { fraction: %s }")
    return text


def _ratio_rule(random: Random, mode: str, verb: str) -> str:
    steps = [
        "{ step: look, above: 50%, for: 5s, do: alert }",
        f"{{ step: leave, above: {random.randint(80, 95)}%, for: 1s, do: {verb} }}",
    ]
    return _rule(f"ratio-{mode}", mode, "margin_ratio", "5%", steps)


def _bills_rule(random: Random, mode: str, brutal: float, cut: str) -> str:
    """`brutal` is the share of the margin whose loss liquidates."""
    metric, times = random.choice((("interval", 1.0), ("24h", 3.0)))
    percent = _percent(random, brutal * times)
    steps = [
        f"{{ step: dear, above: {percent(0.02, 0.05)}, for: 5s, do: alert }}",
        (
            f"{{ step: less, above: {percent(0.08, 0.3)}, for: {random.randint(0, 5)}s,"
            f" do: {cut % random.choice(('20%', '50%'))}, cooldown: {random.choice((5, 60))}s }}"
        ),
        f"{{ step: leave, above: {percent(0.4, 0.9)}, for: 1s, do: close }}",
    ]
    if random.random() < 0.4:
        del steps[2]
    return _rule(f"bills-{mode}", mode, f"funding_cost_{metric}", percent(0.005, 0.01), steps)


def _rule(name: str, mode: str, metric: str, hysteresis: str, steps: list[str]) -> str:
    ladder = "".join(f"      - {step}\n" for step in steps)
    return (
        f"  - rule: {name}\n"
        f"    match: {{ symbols: any, side: any, margin_mode: {mode} }}\n"
        f"    watch: {metric}\n"
        f"    hysteresis: {hysteresis}\n"
        f"    ladder:\n{ladder}"
    )
