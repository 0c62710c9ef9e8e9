"""
What policy tests look like: a line a case, and under a failed one what was expected and why not.
"""

import json
from difflib import ndiff
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import typer

from bot.rehearsal.casebook import Trial, Verdict
from bot.rehearsal.claims import Failure

SECOND_MS = 1_000


def show_trials(
    trials: tuple[Trial, ...], *, as_json: bool, diff: bool, coverage: bool, junit: Path | None
) -> bool:
    """Print what came of the cases, and write it as JUnit XML if asked; whether any failed."""
    if junit is not None:
        _write_junit(trials, junit)
    for trial in trials:
        if as_json:
            typer.echo(json.dumps(_as_json(trial)))
        else:
            _print(trial, diff=diff, coverage=coverage)
    verdicts = [verdict for trial in trials for verdict in trial.verdicts]
    failed = sum(bool(verdict.failures) for verdict in verdicts)
    if not as_json:
        typer.echo(f"{len(verdicts) - failed} passed, {failed} failed")
    return failed > 0


def _print(trial: Trial, *, diff: bool, coverage: bool) -> None:
    for verdict in trial.verdicts:
        mark = "FAILED" if verdict.failures else "ok"
        typer.echo(f"{trial.cases.file}:{verdict.case.line}: {verdict.case.name}: {mark}")
        for failure in verdict.failures:
            typer.echo(f"  {_sentence(trial, failure)}")
            typer.echo(f"    why: {failure.why}")
            if diff:
                lines = ndiff(failure.expected.split(", "), failure.seen.split(", "))
                for line in lines:
                    typer.echo(f"    {line.rstrip()}")
    if coverage:
        untried = ", ".join(trial.untried) or "none"
        typer.echo(f"{trial.cases.policy}: steps that fired in no case: {untried}")


def _sentence(trial: Trial, failure: Failure) -> str:
    at = f"{failure.at_ms / SECOND_MS:g}s"
    return (
        f"{trial.cases.file}:{failure.line}: at {at}: {failure.claim}: expected "
        f"{failure.expected}, was {failure.seen}"
    )


def _as_json(trial: Trial) -> dict[str, Any]:
    return {
        "file": trial.cases.file,
        "policy": str(trial.cases.policy),
        "cases": [
            {
                "name": verdict.case.name,
                "line": verdict.case.line,
                "passed": not verdict.failures,
                "failures": [
                    {
                        "line": each.line,
                        "at_ms": each.at_ms,
                        "claim": each.claim,
                        "expected": each.expected,
                        "was": each.seen,
                        "why": each.why,
                    }
                    for each in verdict.failures
                ],
            }
            for verdict in trial.verdicts
        ],
        "untried": list(trial.untried),
    }


def _write_junit(trials: tuple[Trial, ...], file: Path) -> None:
    root = Element("testsuites")
    for trial in trials:
        failed = sum(bool(verdict.failures) for verdict in trial.verdicts)
        counts = {"tests": str(len(trial.verdicts)), "failures": str(failed)}
        suite = SubElement(root, "testsuite", {"name": trial.cases.file, **counts})
        for verdict in trial.verdicts:
            _junit_case(suite, trial, verdict)
    indent(root)
    ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _junit_case(suite: Element, trial: Trial, verdict: Verdict) -> None:
    name = {"name": verdict.case.name, "classname": trial.cases.file}
    case = SubElement(suite, "testcase", name)
    for failure in verdict.failures:
        element = SubElement(case, "failure", {"message": _sentence(trial, failure)})
        element.text = failure.why
