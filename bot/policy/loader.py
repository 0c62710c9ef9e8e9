"""
From a policy file to the compiled `Policy`, or to everything that is wrong with the file.

Text -> tree with places -> sections -> checks between values -> `Policy`. Nothing is guessed
and nothing about money has a default.
"""

from hashlib import sha256
from pathlib import Path

from bot.core.policy import (
    Guardrails,
    Match,
    Metric,
    Policy,
    Protect,
    Rule,
    Step,
    Stress,
)
from bot.core.units import ONE, ZERO, Duration, Ratio
from bot.policy.bind import bind_section
from bot.policy.checks import bound_of, check_policy, threshold_of
from bot.policy.document import (
    Absent,
    AccountSection,
    GuardrailsSection,
    PolicySection,
    ProtectSection,
    RuleSection,
    StepSection,
    StressSection,
    or_else,
)
from bot.policy.problems import PolicyError, Problem, Report, Source, lines_of
from bot.policy.tree import read_tree
from bot.policy.values import KINDS, SETTLE, ClosesUnknown, Coin, RespectsCancel


def load_policy(path: Path) -> Policy:
    """The policy in the file `path`; raises `PolicyError` with all that is wrong with it."""
    source = read_source(path)
    return compile_policy(read_policy(source), source)


def parse_policy(text: str, name: str) -> Policy:
    """
    The policy in `text`, called `name` in messages.

    Raises `PolicyError` with all that is wrong with it. The digest is that of the UTF-8 bytes.
    """
    source = Source(name, text)
    return compile_policy(read_policy(source), source)


def read_policy(source: Source) -> PolicySection:
    """The sections of a valid file; raises `PolicyError` with all that is wrong with it."""
    report = Report(source)
    policy = bind_section(PolicySection, read_tree(source.text, report), report, KINDS)
    check_policy(policy, report)
    report.raise_if_any()
    return policy


def read_source(path: Path) -> Source:
    """
    The text in a file, byte for byte, so that the digest is the file's: line ends stay.

    Raises `PolicyError` where there is no such file, or no text in it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        was = f"'{error.strerror}'"
        raise PolicyError((Problem(str(path), 1, 1, "", "a readable file", was, ""),)) from error
    try:
        return Source(str(path), content.decode())
    except UnicodeDecodeError as error:
        lines = lines_of(content[: error.start].decode())
        line, column = len(lines), len(lines[-1]) + 1
        was = f"the byte 0x{content[error.start]:02x}"
        raise PolicyError((Problem(str(path), line, column, "", "UTF-8", was, ""),)) from error


def compile_policy(policy: PolicySection, source: Source) -> Policy:
    """What the sections of a valid file mean."""
    account = policy.account
    return Policy(
        digest=sha256(source.text.encode()).hexdigest(),
        text=source.text,
        account=account.name.value,
        venue=account.venue.value,
        credentials=_credentials(account),
        settle=or_else(account.settle, Coin(SETTLE)),
        margin_modes=account.margin_mode.value,
        position_mode=account.position_mode.value,
        protect=_protect(policy.protect),
        guardrails=_guardrails(policy.guardrails),
        stress=_stress(policy.stress),
        rules=tuple(_rule(rule) for rule in policy.rules.value),
    )


def _credentials(account: AccountSection) -> str:
    named = account.credentials
    return account.name.value if isinstance(named, Absent) else named.value


def _protect(protect: ProtectSection) -> Protect:
    return Protect(
        room=protect.stop.room.value,
        share=or_else(protect.stop.share, Ratio(ZERO)),
        floor=protect.floor.value,
        floor_in_hold=protect.floor_in_hold.value,
        unknown_after_ms=protect.unknown_after.value,
        canary_ms=or_else(protect.stop.canary, Duration(0)),
        respects_cancel=or_else(protect.stop.if_cancelled, RespectsCancel(False)),
        closes_unknown=or_else(protect.unknown_then, ClosesUnknown(False)),
    )


def _guardrails(guardrails: GuardrailsSection) -> Guardrails:
    return Guardrails(
        keep_free=guardrails.keep_free.value,
        top_up_per_action_max=guardrails.top_up.per_action.value,
        top_up_1h_max=guardrails.top_up.per_1h.value,
        top_up_24h_max=guardrails.top_up.per_24h.value,
        top_up_per_episode_max=guardrails.top_up.per_episode.value,
        top_ups_per_episode_max=guardrails.top_ups_per_episode.value,
        actions_1m_max=guardrails.actions_per_1m.value,
        data_age_max_ms=guardrails.data_max_age.value,
        loss_max=guardrails.loss_max.value,
        slippage_max=guardrails.slippage_max.value,
    )


def _stress(stress: StressSection | Absent) -> Stress:
    if isinstance(stress, Absent):
        return Stress(Ratio(ONE), {})  # every isolated margin counts as lost
    betas = {} if isinstance(stress.betas, Absent) else stress.betas.value
    return Stress(stress.shock.value, {str(symbol): beta for symbol, beta in betas.items()})


def _rule(rule: RuleSection) -> Rule:
    match = rule.match
    return Rule(
        name=rule.rule.value,
        match=Match(match.symbols.value, match.side.value, match.margin_mode.value),
        metric=rule.watch.value,
        hysteresis=rule.hysteresis.value,
        unknown_after_ms=or_else(rule.unknown_after, Duration(0)),
        steps=tuple(_step(rule.watch.value, step) for step in rule.ladder.value),
    )


def _step(metric: Metric, step: StepSection) -> Step:
    return Step(
        name=step.step.value,
        threshold=bound_of(metric)(threshold_of(metric, step).value),
        hold_ms=step.for_.value,
        cooldown_ms=Duration(0) if isinstance(step.cooldown, Absent) else step.cooldown.value,
        then_next=not isinstance(step.then, Absent),
        verb=step.do.value.name,
        severity=step.do.value.severity,
        propose=step.with_.value,
        line=step.at.line,
    )
