"""What is wrong with a policy file, and where: all of it at once, in file order."""

from dataclasses import dataclass
from difflib import get_close_matches


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
    """One thing that is wrong. `str()` of it is one line for the user."""

    file: str
    line: int
    column: int
    path: str
    expected: str
    was: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: {self.path or 'policy'}"
        return f"{where}: expected {self.expected}, was {self.was}"


class PolicyError(Exception):
    """The file is no valid policy. `problems` holds everything found; `str()` a line each."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Report:
    """Collects the problems of one file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._problems: list[Problem] = []

    def add(self, at: Place, expected: str, was: str) -> None:
        """Note one problem."""
        self._problems.append(Problem(self._file, at.line, at.column, at.path, expected, was))

    def raise_if_any(self) -> None:
        """Raise `PolicyError` with what was noted, in file order; nothing noted is fine."""
        if self._problems:
            in_order = sorted(self._problems, key=lambda problem: (problem.line, problem.column))
            raise PolicyError(tuple(in_order))


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
