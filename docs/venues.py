"""
Writes docs/venues.md from the matrix of capabilities: `python docs/venues.py`.

A test holds the page to the code.
"""

import inspect
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bot.cli.venues import answers, questions
from bot.exchange.venues import capabilities
from bot.exchange.venues.capabilities import (
    MATRIX,
    Effect,
    Evidence,
    KeyReport,
    Replacement,
    StopName,
    StopsTold,
    Tried,
)
from docs.reference import said_of_fields

PAGE = Path(__file__).with_name("venues.md")

HEAD = """\
# Live venues

Made from the code by `python docs/venues.py`; `liqguard venues` prints the same, with `--json` for
programs.
"""

WORDS: tuple[type[StrEnum], ...] = (
    Effect,
    Replacement,
    Evidence,
    StopName,
    StopsTold,
    KeyReport,
    Tried,
)


def venues() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_intro(), *_matrix(), *_words()])


def _intro() -> Iterator[str]:
    _, _, rest = inspect.cleandoc(capabilities.__doc__ or "").partition("\n\n")
    yield f"{rest}\n"


def _matrix() -> Iterator[str]:
    columns = [answers(row) for row in MATRIX.values()]
    yield f"| | {' | '.join(MATRIX)} |"
    yield f"|---|{'---|' * len(MATRIX)}"
    for question, said in zip(questions(), zip(*columns, strict=True), strict=True):
        yield f"| {question} | {' | '.join(said)} |"
    yield ""


def _words() -> Iterator[str]:
    for kind in WORDS:
        said = said_of_fields(capabilities, kind.__name__)
        yield f"**{inspect.cleandoc(kind.__doc__ or '')}**\n"
        for each in kind:
            about = said.get(each.name, "")
            yield f"- `{each}`" + (f": {about}" if about else "")
        yield ""


if __name__ == "__main__":
    PAGE.write_text(venues(), encoding="utf-8")
