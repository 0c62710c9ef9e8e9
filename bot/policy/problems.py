"""What is wrong with a policy file, and where: all of it at once, in file order."""

import re
from dataclasses import dataclass
from difflib import get_close_matches

EXCERPT_MAX = 120
"""Characters of a source line that are shown."""

SOURCE_MAX = 1_000
"""Characters of a line above which nobody wants to see it again with every problem in it."""

_MAY_BE_SECRET = re.compile("key|secret|pass|token|credential|://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a policy file: dotted path of keys, line and column counted from 1."""

    path: str
    line: int
    column: int

    def child(self, key: str) -> "Place":
        """The place of what `key` should hold, as long as nothing nearer is known."""
        return Place(f"{self.path}.{key}" if self.path else key, self.line, self.column)


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that is wrong. `str()` of it is one line for the user.

    `source` is the line of the file that it stands in, empty where there is none to show.
    """

    file: str
    line: int
    column: int
    path: str
    expected: str
    was: str
    source: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: {self.path or 'policy'}"
        return f"{where}: expected {self.expected}, was {self.was}"

    def shown(self) -> str:
        """The problem, its source line and a caret under the spot."""
        return "\n".join([str(self), *excerpt(self.source, self.column)])


class PolicyError(Exception):
    """The file is no valid policy. `str()` of it shows every problem with its source line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(problem.shown() for problem in problems))
        self.problems = problems


class Source:
    """A file that is judged: its name in messages, and its text."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self._lines = lines_of(text)

    def line(self, at: Place) -> str:
        """
        The line at a place; empty where it is no line to show.

        That is one that may hold a secret that does not belong there, or one without an end.
        """
        line = self._lines[at.line - 1]
        return "" if len(line) > SOURCE_MAX or _MAY_BE_SECRET.search(line) else line


class Report:
    """Collects the problems of one file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._problems: list[Problem] = []

    def add(self, at: Place, expected: str, was: str) -> None:
        """Note one problem."""
        file, source = self._source.file, self._source.line(at)
        self._problems.append(Problem(file, at.line, at.column, at.path, expected, was, source))

    def raise_if_any(self) -> None:
        """Raise `PolicyError` with what was noted, in file order; nothing noted is fine."""
        if self._problems:
            in_order = sorted(self._problems, key=lambda problem: (problem.line, problem.column))
            raise PolicyError(tuple(in_order))


def excerpt(source: str, column: int) -> tuple[str, ...]:
    """A source line with a caret below its column; nothing where there is no line to show."""
    if not source.strip():
        return ()
    spot = column - 1
    start = max(0, min(spot - EXCERPT_MAX // 2, len(source) - EXCERPT_MAX))
    part = source[start : start + EXCERPT_MAX]
    # One column a character: a tab or an escape code would move the caret, or the terminal.
    line = "".join(char if char.isprintable() else " " for char in part).rstrip()
    before = "..." if start else ""
    after = "..." if start + EXCERPT_MAX < len(source) else ""
    caret = " " * (len(before) + spot - start)
    return f"    {before}{line}{after}", f"    {caret}^"


def lines_of(text: str) -> list[str]:
    """The lines as YAML 1.2 counts them; at least one. A byte order mark takes no column."""
    return re.split("\r\n|\r|\n", text.removeprefix("\ufeff"))


def shown(text: str, longest: int = 60) -> str:
    """`text` on one line, cut after `longest` characters, whatever it holds."""
    short = text if len(text) <= longest else text[:longest] + "..."
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in short)


def listed(names: list[str]) -> str:
    """`a, b or c`."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def did_you_mean(word: str, known: list[str]) -> str:
    """`did you mean 'x'?` for the known word that looks most like `word`; else empty."""
    by_lower = {name.lower(): name for name in known}
    nearest = get_close_matches(word.lower(), by_lower, n=1)
    return f"did you mean '{by_lower[nearest[0]]}'?" if nearest else ""
