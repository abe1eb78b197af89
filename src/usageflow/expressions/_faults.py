"""From what the compiler says to a fault with place and fix."""

from __future__ import annotations

import re

from usageflow.domain.errors import Fault
from usageflow.domain.expressions import Place
from usageflow.expressions._environment import Vocabulary

_ERROR = re.compile(r"ERROR: [^\n:]*:(-?\d+):(-?\d+): ([^\n]*)")
_UNDECLARED = re.compile(r"undeclared reference to '(.*)' \(in container ''\)")
_OVERLOAD = re.compile(r"found no matching overload for '(.*?)' applied to '(.*)'")
_LONGEST = 160
REASON = "INVALID_EXPRESSION"


class Refused(Exception):
    """An expression that cannot be saved; ``offset`` counts the text's characters from 0."""

    def __init__(self, offset: int, message: str, fix: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message
        self.fix = fix

    def fault(self, text: str) -> Fault:
        """Returns the fault, its field left to the caller."""
        return Fault("", f"{self.message} ({place_of(text, self.offset)})", self.fix, REASON)


def place_of(text: str, offset: int) -> Place:
    """Returns line and column of a character; lines end where CEL ends them, at a line feed."""
    before = text[: max(0, offset)]
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def start_of(text: str, offset: int, name: str) -> int:
    """Returns where a dotted name begins that the compiler places at its last dot, or at the bracket of a call."""
    first = name.lstrip(".").partition(".")[0]
    found = text.rfind(first, 0, max(0, offset) + len(first))
    return found if first and found >= 0 else max(0, offset)


def refusal_of(error: str, text: str, vocabulary: Vocabulary) -> Refused:
    """Returns the refusal that the compiler's message means."""
    if "recursion" in error:
        return Refused(0, "the expression is nested too deeply", "nest at most 30 levels")
    found = next((item for item in _ERROR.finditer(error) if int(item[1]) > 0), None)
    if found is None:
        return Refused(0, "the expression cannot be read", "write CEL, such as request.method == 'GET'")
    return _refusal(_offset(text, int(found[1]), int(found[2])), found[3], text, vocabulary.known)


def _offset(text: str, line: int, column: int) -> int:
    starts = [0, *(index + 1 for index, letter in enumerate(text) if letter == "\n")]
    return min(len(text), starts[min(line, len(starts)) - 1] + column - 1)


def _refusal(offset: int, message: str, text: str, known: str) -> Refused:
    undeclared = _UNDECLARED.fullmatch(message)
    if undeclared:
        return _unknown(offset, undeclared[1], text, known)
    overload = _OVERLOAD.fullmatch(message)
    if overload:
        name = overload[1].replace("_", "").replace("@", "") or overload[1]
        fix = "use values of one type: convert with string(), int() or double()"
        return Refused(offset, f"'{cut(name)}' does not take {cut(overload[2])}", fix)
    if message.startswith("Syntax error: "):
        detail = (
            message.removeprefix("Syntax error: ").partition(" expecting ")[0].replace("<EOF>", "the end")
        )
        fix = "write CEL: == to compare, && and || to join, quotes around text"
        return Refused(offset, f"there is a syntax error: {cut(detail)}", fix)
    return Refused(offset, cut(message), "correct the expression; it is CEL (https://cel.dev)")


def _unknown(offset: int, name: str, text: str, known: str) -> Refused:
    start = start_of(text, offset, name)
    if text[offset : offset + 1] == "(":
        fix = "use a function of standard CEL, such as startsWith, matches or size"
        return Refused(start, f"there is no function '{cut(name)}'", fix)
    return Refused(start, f"there is no '{cut(name)}'", f"an expression reads {known}")


def cut(text: str) -> str:
    """Returns a text short enough for a message."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
