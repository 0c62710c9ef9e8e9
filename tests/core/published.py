"""The published liquidations of `liquidation_cases.txt`, read."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("liquidation_cases.txt")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source says, and how exactly."""

    value: Decimal
    tolerance: Decimal


@dataclass(frozen=True, slots=True)
class Published:
    """A position with what backs it, as a question on the command line has it."""

    name: str
    source: str
    question: dict[str, Any]
    answers: dict[str, Answer]


def published() -> tuple[Published, ...]:
    """Every case of the file."""
    text = "\n".join(
        line for line in _FILE.read_text(encoding="utf-8").splitlines() if line[:1] != "#"
    )
    blocks = text.strip().split("\n\n")
    return tuple(_case(number, block) for number, block in enumerate(blocks, start=1))


def _case(number: int, block: str) -> Published:
    source, head, at, facts, *others, answers = (part.strip() for part in block.split(";"))
    venue, kind, margin_mode, side = head.split()
    question: dict[str, Any] = {
        "id": source,
        "exchange": venue,
        "kind": kind,
        "margin_mode": margin_mode,
        "side": side,
    } | _numbers(facts.split())
    if at != "-":
        question["rules"] = {"maintenance_at": at}
    if others:
        question["other_positions"] = [
            {"side": other.split()[0]} | _numbers(other.split()[1:]) for other in others
        ]
    name = f"{number}-{venue}-{margin_mode}-{side}"
    return Published(name, source, question, dict(_answer(each) for each in answers.split()))


def _numbers(pairs: list[str]) -> dict[str, Decimal]:
    named = (pair.split("=") for pair in pairs)
    return {name: Decimal(number) for name, number in named}


def _answer(text: str) -> tuple[str, Answer]:
    name, number = text.split("=")
    value, tolerance = number.split("+-")
    return name, Answer(Decimal(value), Decimal(tolerance))
