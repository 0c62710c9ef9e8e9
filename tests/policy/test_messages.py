"""
The exact message of every way in which a policy file can be wrong.

Each case changes one spot of the good policy of `conftest.py` and shows all that is printed.
"""

import pytest

from bot.core.model import MarginMode
from bot.policy.loader import parse_policy
from bot.policy.problems import PolicyError, excerpt, listed
from bot.policy.values import KNOWN_VENUES
from bot.policy.verbs import find_verbs

RATIO = "expected a ratio like '12%' or '25 bps'"
DURATION = "expected a duration like '500ms', '30s', '10m' or '1h'"
AMOUNT = "expected an amount like '250 USDT'"
VERBS = f"expected {listed(list(find_verbs()))}"

MULTIPLE = "expected a multiple like '1.2x'"
RULES = "rules:\n  - rule: distance"
TOGETHER = "of cross positions is that of all of them together"
CROSS_VERBS = listed(
    [verb.name for verb in find_verbs().values() if MarginMode.CROSS in verb.works_on]
)

Change = tuple[str, str, str]


VENUES = f"{', '.join(KNOWN_VENUES[:-1])} or {KNOWN_VENUES[-1]}"


def change(old: str, new: str, message: str) -> Change:
    """`old` of the good policy replaced by `new`, and what is printed then."""
    return old, new, message


CHANGES: dict[str, Change] = {
    # the shape
    "missing key": change(
        "  floor: 150 bps\n",
        "",
        f"8:3: protect.floor: {RATIO}, was missing",
    ),
    "missing section": change(
        "  stop: { room: 3% }\n",
        "",
        "8:3: protect.stop: expected a mapping of room, share, canary, if_cancelled, was missing",
    ),
    "missing key in braces": change(
        "{ room: 3% }",
        "{ }",
        f"8:9: protect.stop.room: {RATIO}, was missing",
    ),
    "unknown key like a known one": change(
        "  floor: 150 bps",
        "  flor: 150 bps",
        f"8:3: protect.floor: {RATIO}, was missing\n"
        "9:3: protect.flor: expected a known key (did you mean 'floor'?), was 'flor'",
    ),
    "unknown key like none": change(
        "room: 3%",
        "room: 3%, zzz: 1",
        "8:21: protect.stop.zzz: expected a known key (one of room, share, canary or "
        "if_cancelled), was 'zzz'",
    ),
    "key of another section": change(
        "  venue: binanceusdm",
        "  venue: binanceusdm\n  mode: paper",
        "5:3: account.mode: expected a known key "
        "(one of name, venue, margin_mode, position_mode, credentials or settle), was 'mode'",
    ),
    "credentials instead of their name": change(
        "  position_mode: one_way",
        "  position_mode: one_way\n  credentials: Not/A+Real+Key",
        "7:16: account.credentials: expected the name of credentials, "
        "1 to 32 of a-z, 0-9 and -, never the credentials, was a text that is not shown",
    ),
    "a secret where none belongs": change(
        "  position_mode: one_way",
        "  position_mode: one_way\n  api_secret: Not/A+Real+Key",
        "7:3: account.api_secret: expected a known key "
        "(one of name, venue, margin_mode, position_mode, credentials or settle), "
        "was 'api_secret'",
    ),
    "repeated key": change(
        "  floor: 150 bps",
        "  floor: 150 bps\n  floor: 2%",
        "10:3: protect.floor: expected each key once, was a repetition of line 9",
    ),
    "key that is no word": change(
        "  floor: 150 bps",
        "  floor: 150 bps\n  [a]: 1",
        "10:3: protect: expected a plain word as key, was a list",
    ),
    "text for a mapping": change(
        "{ room: 3% }",
        "3%",
        "8:9: protect.stop: expected a mapping of room, share, canary, if_cancelled, was '3%'",
    ),
    "mapping for a number": change(
        "floor: 150 bps",
        "floor: { at: 150 bps }",
        f"9:10: protect.floor: {RATIO}, was a mapping",
    ),
    "list for a number": change(
        "floor: 150 bps",
        "floor: [150 bps]",
        f"9:10: protect.floor: {RATIO}, was a list",
    ),
    "nothing for a number": change(
        "floor: 150 bps",
        "floor:",
        f"9:3: protect.floor: {RATIO}, was empty",
    ),
    "empty list of symbols": change(
        "[BTCUSDT, ETHUSDT]",
        "[]",
        "22:23: rules.0.match.symbols: expected any or a list of symbols, was an empty list",
    ),
    "symbol outside a list": change(
        "[BTCUSDT, ETHUSDT]",
        "BTCUSDT",
        "22:23: rules.0.match.symbols: expected any or a list of symbols, was 'BTCUSDT'",
    ),
    "any among symbols": change(
        "[BTCUSDT, ETHUSDT]",
        "[BTCUSDT, any]",
        "22:33: rules.0.match.symbols.1: expected a symbol like 'BTC/USDT:USDT', was 'any'",
    ),
    # what YAML would let a file hide
    "anchor": change(
        "floor: 150 bps",
        "floor: &x 150 bps",
        "9:10: protect.floor: expected no anchors, was '&x'",
    ),
    "alias": change(
        "floor: 150 bps",
        "floor: *x",
        "9:10: protect.floor: expected a value, was the alias '*x'",
    ),
    "alias as key": change(
        "floor: 150 bps",
        "floor: 150 bps\n  *x : 1",
        "10:3: protect: expected a value, was the alias '*x'",
    ),
    "tag": change(
        "floor: 150 bps",
        "floor: !!str 150 bps",
        "9:10: protect.floor: expected no tags, was 'tag:yaml.org,2002:str'",
    ),
    "merge key": change(
        "  floor: 150 bps",
        "  floor: 150 bps\n  <<: { floor: 2% }",
        "10:3: protect.<<: expected no merge keys, was '<<'",
    ),
    "second document": change(
        "rules:",
        "---\nrules:",
        "1:1: rules: expected a list, was missing\n"
        "20:1: policy: expected one document, was a second one",
    ),
    "directive": change(
        "schema:",
        "%YAML 1.1\n---\nschema:",
        "2:1: policy: expected no directives, was a line with %",
    ),
    "tab": change(
        "  floor: 150 bps",
        "\tfloor: 150 bps",
        "9:1: policy: expected spaces, was a tab",
    ),
    "open bracket": change(
        "[BTCUSDT, ETHUSDT]",
        "[BTCUSDT, ETHUSDT",
        "22:76: policy: expected YAML, was broken: expected ',' or ']', but got '}', "
        "while parsing a flow sequence",
    ),
    "control character": change(
        "name: main",
        "name: ma\x07in",
        "3:11: policy: expected printable characters, was '\\x07'",
    ),
    "escape beyond Unicode": change(
        "name: main",
        'name: "\\UFFFFFFFF"',
        "3:7: policy: expected YAML, was broken: an escape beyond Unicode",
    ),
    "nested too deep": change(
        "name: main",
        "name: [[[[[[[[[[[[[]]]]]]]]]]]]]",
        "3:19: account.name.0.0.0.0.0.0.0.0.0.0: "
        "expected at most 12 levels of nesting, was deeper",
    ),
    # numbers and words
    "no unit": change(
        "floor: 150 bps",
        "floor: 0.015",
        f"9:10: protect.floor: {RATIO}, was '0.015'",
    ),
    "ratio out of range": change(
        "floor: 150 bps",
        "floor: 0%",
        f"9:10: protect.floor: {RATIO} (more than 0% and at most 1000%), was '0%'",
    ),
    "unknown unit": change(
        "floor: 150 bps",
        "floor: 150 bp",
        f"9:10: protect.floor: {RATIO} (unknown unit 'bp', did you mean 'bps'?), was '150 bp'",
    ),
    "another money": change(
        "loss_max: 900 USDT",
        "loss_max: 900 EUR",
        f"18:13: guardrails.loss_max: {AMOUNT} (unknown unit 'EUR'), was '900 EUR'",
    ),
    "not a number": change(
        "loss_max: 900 USDT",
        "loss_max: .nan",
        f"18:13: guardrails.loss_max: {AMOUNT}, was '.nan'",
    ),
    "negative": change(
        "loss_max: 900 USDT",
        "loss_max: -900 USDT",
        f"18:13: guardrails.loss_max: {AMOUNT}, was '-900 USDT'",
    ),
    "exponent": change(
        "loss_max: 900 USDT",
        "loss_max: 9e2 USDT",
        f"18:13: guardrails.loss_max: {AMOUNT}, was '9e2 USDT'",
    ),
    "comma": change(
        "loss_max: 900 USDT",
        "loss_max: 1,900 USDT",
        f"18:13: guardrails.loss_max: {AMOUNT}, was '1,900 USDT'",
    ),
    "sexagesimal": change(
        "unknown_after: 1m",
        "unknown_after: 1:30",
        f"11:18: protect.unknown_after: {DURATION}, was '1:30'",
    ),
    "part of a millisecond": change(
        "unknown_after: 1m",
        "unknown_after: 0.5ms",
        f"11:18: protect.unknown_after: {DURATION} (a part of a millisecond is too short), "
        "was '0.5ms'",
    ),
    "count with a unit": change(
        "top_ups_per_episode: 3",
        "top_ups_per_episode: 3x",
        "15:24: guardrails.top_ups_per_episode: "
        "expected a whole number without a unit like '3', was '3x'",
    ),
    "octal": change(
        "actions_per_1m: 6",
        "actions_per_1m: 06",
        "16:19: guardrails.actions_per_1m: "
        "expected a whole number without a unit like '3', was '06'",
    ),
    "boolean": change(
        "floor_in_hold: keep",
        "floor_in_hold: no",
        "10:18: protect.floor_in_hold: expected close or keep, was 'no'",
    ),
    "other schema": change(
        "liqguard/v1",
        "liqguard/v2",
        "1:9: schema: expected liqguard/v1, was 'liqguard/v2'",
    ),
    "account name": change(
        "name: main",
        "name: Main Account",
        "3:9: account.name: expected 1 to 32 of a-z, 0-9 and -, was 'Main Account'",
    ),
    "venue": change(
        "venue: binanceusdm",
        "venue: bitbank",
        f"4:10: account.venue: expected {listed([*KNOWN_VENUES])}, was 'bitbank'",
    ),
    "long text on one line": change(
        "venue: binanceusdm",
        'venue: "' + "a\\n" * 40 + '"',
        f"4:10: account.venue: expected {listed([*KNOWN_VENUES])}, was '" + "a\\n" * 30 + "...'",
    ),
    "other margin mode": change(
        "  margin_mode: isolated\n",
        "  margin_mode: any\n",
        "5:16: account.margin_mode: expected isolated, cross or mixed, was 'any'",
    ),
    "neither position mode": change(
        "one_way",
        "hedged",
        "6:18: account.position_mode: expected one_way or hedge (did you mean 'hedge'?), "
        "was 'hedged'",
    ),
    "mixed match": change(
        "side: long, margin_mode: isolated",
        "side: long, margin_mode: mixed",
        "22:68: rules.0.match.margin_mode: expected isolated, cross or any, was 'mixed'",
    ),
    "side": change(
        "side: long",
        "side: lang",
        "22:49: rules.0.match.side: expected any, long or short (did you mean 'long'?), "
        "was 'lang'",
    ),
    "metric": change(
        "watch: margin_ratio",
        "watch: margin_rate",
        "32:12: rules.1.watch: expected liquidation_distance, margin_ratio, "
        "liquidation_distance_atr, liquidation_distance_sigma, time_to_liquidation, "
        "effective_leverage, break_even_distance, funding_cost_interval, "
        "funding_cost_24h or funding_cost_episode "
        "(did you mean 'margin_ratio'?), was 'margin_rate'",
    ),
    "rule name": change(
        "rule: ratio",
        "rule: Ratio!",
        "30:11: rules.1.rule: expected a name of a-z, 0-9 and -, was 'Ratio!'",
    ),
    # verbs
    "unknown verb": change(
        "do: place_stop",
        "do: placestop",
        f"27:49: rules.0.ladder.1.do: {VERBS} (did you mean 'place_stop'?), was 'placestop'",
    ),
    "verb like none": change(
        "do: place_stop",
        "do: hedge_it",
        f"27:49: rules.0.ladder.1.do: {VERBS}, was 'hedge_it'",
    ),
    "parameter misspelt": change(
        "with: { room: 4% }",
        "with: { rom: 4% }",
        f"27:67: rules.0.ladder.1.with.room: {RATIO}, was missing\n"
        "27:69: rules.0.ladder.1.with.rom: expected a known key (did you mean 'room'?), "
        "was 'rom'",
    ),
    "parameters missing": change(
        ", with: { room: 4% }",
        "",
        f"27:9: rules.0.ladder.1.with.room: {RATIO}, was missing",
    ),
    "parameter of another kind": change(
        "with: { room: 4% }",
        "with: { room: 4s }",
        f"27:75: rules.0.ladder.1.with.room: {RATIO} (unknown unit 's'), was '4s'",
    ),
    "parameters of a verb without any": change(
        "do: alert, cooldown: 1h",
        "do: alert, with: { room: 4% }",
        "26:64: rules.0.ladder.0.with.room: expected no key, was 'room'",
    ),
    "parameters that are no mapping": change(
        "do: alert, cooldown: 1h",
        "do: alert, with: hope",
        "26:62: rules.0.ladder.0.with: expected an empty mapping, was 'hope'",
    ),
    # one value against another
    "floor above the stop": change(
        "floor: 150 bps",
        "floor: 3%",
        "9:10: protect.floor: expected less than protect.stop.room, '3%', was '3%'",
    ),
    "stop beyond the whole": change(
        "room: 3%",
        "room: 100%",
        "8:17: protect.stop.room: expected less than 100%, the most that a long can have, "
        "was '100%'\n"
        "28:29: rules.0.ladder.2.below: expected more than protect.stop.room, '100%', was '7%'",
    ),
    "stop at the entry price": change(
        "room: 3%",
        "room: 3%, share: 100%",
        "8:28: protect.stop.share: expected less than 100%, where it rests at the entry price, "
        "was '100%'",
    ),
    "never measured": change(
        "unknown_after: 1m",
        "unknown_after: 0s",
        "11:18: protect.unknown_after: expected more than 0, was '0s'",
    ),
    "no data is that young": change(
        "data_max_age: 1500ms",
        "data_max_age: 0ms",
        "17:17: guardrails.data_max_age: expected more than 0, was '0ms'",
    ),
    "no action allowed": change(
        "actions_per_1m: 6",
        "actions_per_1m: 0",
        "16:19: guardrails.actions_per_1m: expected more than 0, was '0'",
    ),
    "no stop allowed": change(
        "loss_max: 900 USDT",
        "loss_max: 0 USDT",
        "18:13: guardrails.loss_max: expected more than 0, was '0 USDT'",
    ),
    "action above the hour": change(
        "per_action: 250 USDT",
        "per_action: 501 USDT",
        "14:25: guardrails.top_up.per_action: expected at most per_1h, '500 USDT', was '501 USDT'",
    ),
    "action above the episode": change(
        "per_episode: 600 USDT",
        "per_episode: 249 USDT",
        "14:25: guardrails.top_up.per_action: expected at most per_episode, '249 USDT', "
        "was '250 USDT'",
    ),
    "hour above the day": change(
        "per_1h: 500 USDT",
        "per_1h: 801 USDT",
        "14:43: guardrails.top_up.per_1h: expected at most per_24h, '800.5 USDT', was '801 USDT'",
    ),
    "slippage of everything": change(
        "slippage_max: 50 bps",
        "slippage_max: 100%",
        "19:17: guardrails.slippage_max: expected less than 100%, was '100%'",
    ),
    "shock of everything": change(
        RULES,
        f"stress: {{ shock: 100% }}\n{RULES}",
        "20:18: stress.shock: expected less than 100%, was '100%'",
    ),
    "stress without a shock": change(
        RULES,
        f"stress: {{ }}\n{RULES}",
        f"20:9: stress.shock: {RATIO}, was missing",
    ),
    "stress that is no mapping": change(
        RULES,
        f"stress: 25%\n{RULES}",
        "20:9: stress: expected a mapping of shock, betas, was '25%'",
    ),
    "beta without its unit": change(
        RULES,
        f"stress: {{ shock: 25%, betas: {{ ETHUSDT: 1.2, any: 1x, BTCUSDT: 101x }} }}\n{RULES}",
        f"20:41: stress.betas.ETHUSDT: {MULTIPLE}, was '1.2'\n"
        "20:46: stress.betas.any: expected a symbol like 'BTC/USDT:USDT', was 'any'\n"
        f"20:64: stress.betas.BTCUSDT: {MULTIPLE} (at most 100x), was '101x'",
    ),
    "betas that are no mapping": change(
        RULES,
        f"stress: {{ shock: 25%, betas: [ETHUSDT] }}\n{RULES}",
        "20:30: stress.betas: expected a mapping from a symbol like 'BTC/USDT:USDT' "
        "to a multiple like '1.2x', was a list",
    ),
    "cross without stress": change(
        "  margin_mode: isolated\n",
        "  margin_mode: cross\n",
        "1:1: stress: expected a mapping of shock, betas, as the account is 'cross', was missing",
    ),
    "hedge without stress": change(
        "one_way",
        "hedge",
        "1:1: stress: expected a mapping of shock, betas, as the account is 'hedge', was missing",
    ),
    "mixed without stress": change(
        "  margin_mode: isolated\n",
        "  margin_mode: mixed\n",
        "1:1: stress: expected a mapping of shock, betas, as the account is 'mixed', was missing",
    ),
    "distance of some cross positions": change(
        "side: long, margin_mode: isolated",
        "side: long, margin_mode: cross",
        f"22:23: rules.0.match.symbols: expected any, as the liquidation_distance {TOGETHER}, "
        "was a list\n"
        f"22:49: rules.0.match.side: expected any, as the liquidation_distance {TOGETHER}, "
        "was 'long'\n"
        "28:46: rules.0.ladder.2.do: expected a verb that helps cross positions "
        f"({CROSS_VERBS}), was 'top_up'",
    ),
    "ratio of one side of cross positions": change(
        "symbols: any, side: any, margin_mode: isolated",
        "symbols: any, side: short, margin_mode: any",
        f"31:34: rules.1.match.side: expected any, as the margin_ratio {TOGETHER}, was 'short'",
    ),
    "hysteresis of the whole ratio": change(
        "hysteresis: 5%",
        "hysteresis: 50%",
        "35:30: rules.1.ladder.0.above: expected more than the hysteresis, '50%', "
        "below which the step clears, was '50%'",
    ),
    "rule name twice": change(
        "rule: ratio",
        "rule: distance",
        "30:11: rules.1.rule: expected a name of its own, as line 21 has this one, was 'distance'",
    ),
    "step name twice": change(
        "step: tight",
        "step: warn",
        "27:17: rules.0.ladder.1.step: expected a name of its own, as line 26 has this one, "
        "was 'warn'",
    ),
    "no threshold": change(
        "below: 9%, ",
        "",
        f"27:9: rules.0.ladder.1.below: {RATIO}, as the rule watches liquidation_distance, "
        "was missing",
    ),
    "distance above": change(
        "below: 9%",
        "above: 9%",
        f"27:9: rules.0.ladder.1.below: {RATIO}, as the rule watches liquidation_distance, "
        "was missing\n"
        "27:31: rules.0.ladder.1.above: expected only 'below', "
        "as the rule watches liquidation_distance, was '9%'",
    ),
    "margin ratio below": change(
        "above: 80%",
        "below: 80%",
        f"36:9: rules.1.ladder.1.above: {RATIO}, as the rule watches margin_ratio, was missing\n"
        "36:29: rules.1.ladder.1.below: expected only 'above', "
        "as the rule watches margin_ratio, was '80%'",
    ),
    "two thresholds": change(
        "below: 9%",
        "below: 9%, above: 9%",
        "27:42: rules.0.ladder.1.above: expected only 'below', "
        "as the rule watches liquidation_distance, was '9%'",
    ),
    "empty step": change(
        "      - { step: tight,",
        "      -\n      - { step: tight,",
        "27:8: rules.0.ladder.1: "
        "expected a mapping of step, below, above, for, do, with, cooldown, then, was empty",
    ),
    "ladder upside down": change(
        "below: 9%",
        "below: 12%",
        "27:31: rules.0.ladder.1.below: expected a more severe threshold than '12%' "
        "of the step before, was '12%'",
    ),
    "two steps at one threshold": change(
        "above: 80%",
        "above: 50%",
        "36:29: rules.1.ladder.1.above: expected a more severe threshold than '50%' "
        "of the step before, was '50%'",
    ),
    "margin ratio of liquidation": change(
        "above: 80%",
        "above: 100%",
        "36:29: rules.1.ladder.1.above: expected less than 100%, where liquidation is, was '100%'",
    ),
    "spends after the stop": change(
        "room: 3%",
        "room: 7%",
        "28:29: rules.0.ladder.2.below: expected more than protect.stop.room, '7%', was '7%'",
    ),
    "spends without cooldown": change(
        "cooldown: 1m, ",
        "",
        f"28:9: rules.0.ladder.2.cooldown: {DURATION}, "
        "as the verb may act more than once, was missing",
    ),
    "no hold": change(
        "for: 3s, ",
        "",
        f"28:9: rules.0.ladder.2.for: {DURATION}, was missing",
    ),
    "top-up that cannot clear": change(
        "with: { to: 10% }",
        "with: { to: 8% }",
        "28:66: rules.0.ladder.2.with.to: expected more than threshold + hysteresis, '8%', "
        "was '8%'",
    ),
    "hands over to nobody": change(
        "for: 0s, do: close }\n  - rule: ratio",
        "for: 0s, do: close, then: next }\n  - rule: ratio",
        "29:59: rules.0.ladder.3.then: expected no 'then' on the last step, was 'next'",
    ),
    "last step with something else": change(
        "for: 0s, do: close }\n  - rule: ratio",
        "for: 0s, do: close, then: out }\n  - rule: ratio",
        "29:59: rules.0.ladder.3.then: expected next, was 'out'",
    ),
    "then something else": change(
        "then: next",
        "then: out",
        "28:93: rules.0.ladder.2.then: expected next, was 'out'",
    ),
}


@pytest.mark.parametrize(("old", "new", "message"), CHANGES.values(), ids=CHANGES.keys())
def test_a_wrong_spot_is_named(good: str, old: str, new: str, message: str) -> None:
    assert good.count(old) >= 1
    assert problems(good.replace(old, new, 1)) == message


@pytest.mark.parametrize(
    ("ladder", "message"),
    [
        ("[]", "34:13: rules.1.ladder: expected at least one step, was an empty list"),
        ("close", "34:13: rules.1.ladder: expected a list, was 'close'"),
        ("{ step: out }", "34:13: rules.1.ladder: expected a list, was a mapping"),
    ],
    ids=["empty", "text", "mapping"],
)
def test_a_ladder_is_a_list_of_steps(good: str, ladder: str, message: str) -> None:
    assert problems(good[: good.rindex("    ladder:")] + f"    ladder: {ladder}\n") == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: policy: expected a policy, was an empty file"),
        ("# nothing yet\n", "1:1: policy: expected a policy, was an empty file"),
        (
            "- a\n",
            (
                "1:1: policy: expected a mapping of schema, account, protect, guardrails, stress, "
                "rules, was a list"
            ),
        ),
    ],
    ids=["empty", "comment", "list"],
)
def test_a_file_that_is_no_policy_is_refused(text: str, message: str) -> None:
    assert problems(text) == message


def test_all_problems_come_at_once_and_in_file_order(good: str) -> None:
    text = good
    for old, new in (
        ("do: close", "do: shut"),
        ("cooldown: 1m, ", ""),
        ("hysteresis: 1%", "hysteresis: 1"),
        ("above: 80%", "above: 40%"),
        ("per_action: 250 USDT", "per_action: 700 USDT"),
        ("floor: 150 bps", "floor: 5%"),
        ("name: main", "name: MAIN"),
    ):
        text = text.replace(old, new, 1)
    assert problems(text) == (
        "3:9: account.name: expected 1 to 32 of a-z, 0-9 and -, was 'MAIN'\n"
        "9:10: protect.floor: expected less than protect.stop.room, '3%', was '5%'\n"
        "14:25: guardrails.top_up.per_action: "
        "expected at most per_1h, '500 USDT', was '700 USDT'\n"
        "14:25: guardrails.top_up.per_action: "
        "expected at most per_episode, '600 USDT', was '700 USDT'\n"
        f"24:17: rules.0.hysteresis: {RATIO}, was '1'\n"
        f"28:9: rules.0.ladder.2.cooldown: {DURATION}, "
        "as the verb may act more than once, was missing\n"
        f"29:46: rules.0.ladder.3.do: {VERBS}, was 'shut'\n"
        "36:29: rules.1.ladder.1.above: "
        "expected a more severe threshold than '50%' of the step before, was '40%'"
    )


def test_a_problem_is_shown_in_its_line(good: str) -> None:
    text = good.replace("below: 9%", "below: 0.09").replace("floor: 150 bps", "flor: 150 bps")
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "p.yaml")
    assert (
        str(caught.value)
        == f"""\
p.yaml:8:3: protect.floor: {RATIO}, was missing
      stop: {{ room: 3% }}
      ^
p.yaml:9:3: protect.flor: expected a known key (did you mean 'floor'?), was 'flor'
      flor: 150 bps
      ^
p.yaml:27:31: rules.0.ladder.1.below: {RATIO}, was '0.09'
          - {{ step: tight, below: 0.09, for: 10s, do: place_stop, with: {{ room: 4% }} }}
                                  ^"""
    )


@pytest.mark.parametrize("key", ["credentials", "api_key", "apiSecret", "passphrase", "TOKEN"])
def test_a_secret_in_the_wrong_place_is_not_repeated(good: str, key: str) -> None:
    text = good.replace("one_way", f"one_way\n  {key}: Canary/512+")
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "p.yaml")
    assert f"7:{16 if key == 'credentials' else 3}: account.{key}: " in str(caught.value)
    assert "anary" not in str(caught.value) + repr(caught.value.problems)


@pytest.mark.parametrize(
    ("source", "column", "shown"),
    [
        ("", 1, ""),
        (" \t", 3, ""),
        ("a: b", 4, "    a: b\n       ^"),
        ("a: b", 5, "    a: b\n        ^"),
        ("a:\tb\x1b[31m", 4, "    a: b [31m\n       ^"),
        ("x" * 120, 120, f"    {'x' * 120}\n    {' ' * 119}^"),
        ("x" * 121, 1, f"    {'x' * 120}...\n    ^"),
        ("x" * 121, 121, f"    ...{'x' * 120}\n    {' ' * 122}^"),
        ("x" * 500, 250, f"    ...{'x' * 120}...\n    {' ' * 63}^"),
    ],
)
def test_an_excerpt_is_one_short_printable_line(source: str, column: int, shown: str) -> None:
    assert "\n".join(excerpt(source, column)) == shown


def test_a_line_without_an_end_is_not_shown(good: str) -> None:
    for length, is_shown in ((1_000, True), (1_001, False)):
        text = good.replace("floor: 150 bps", "floor: 150 bps" + " " * (length - 17) + "x")
        with pytest.raises(PolicyError) as caught:
            parse_policy(text, "p.yaml")
        (problem,) = caught.value.problems
        assert (problem.source != "") == is_shown


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_those_that_an_editor_counts(good: str, end: str) -> None:
    text = "\ufeff" + good.replace("floor: 150 bps", "floor: 3 percent").replace("\n", end)
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "p.yaml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.source) == (9, 10, "  floor: 3 percent")


def test_the_caret_of_every_problem_stands_where_its_line_and_column_say(good: str) -> None:
    for old, new, _ in CHANGES.values():
        text = good.replace(old, new, 1)
        with pytest.raises(PolicyError) as caught:
            parse_policy(text, "p.yaml")
        for problem in caught.value.problems:
            source = text.split("\n")[problem.line - 1]
            assert problem.source == ("" if "Real+Key" in source else source)
            if 0 < len(problem.source) <= 120:
                assert problem.shown().split("\n")[2] == " " * (3 + problem.column) + "^"


def problems(text: str) -> str:
    """What the user reads, without the file's name in front of each line."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "p.yaml")
    lines = [str(problem) for problem in caught.value.problems]
    assert all(line.startswith("p.yaml:") for line in lines)
    return "\n".join(line.removeprefix("p.yaml:") for line in lines)
