"""What is wrong with a policy file, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from usageflow.domain.errors import UsageFlowError

_LONGEST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct. ``line`` and ``column`` count from 1; ``path`` is such as ``policies[3].limits[0].window``
    (empty for the whole file); ``fix`` says what to write instead.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    fix: str

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}; {self.fix}"
        # A value may hold line breaks or terminal controls: one problem stays one harmless line.
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def cut(text: str) -> str:
    """Returns a text short enough to be shown in a message."""
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Returns the problems without repetitions, by line and column."""
    return tuple(sorted(set(problems), key=lambda each: (each.line, each.column, each.path, each.message)))


class PolicyFileError(UsageFlowError):
    """The file cannot be used; ``problems`` holds everything that was found, by line. Its text has a line for each."""

    reason = "POLICY_FILE_INVALID"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
