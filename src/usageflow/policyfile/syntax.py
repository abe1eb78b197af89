"""What the YAML parser complains about, in plain words."""

from __future__ import annotations

import re

from yaml import MarkedYAMLError, YAMLError

from usageflow.policyfile.problems import Problem

_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAB = ("a tab stands where YAML wants spaces", "indent with spaces")
_OPENED = ("a list in brackets", "a mapping in braces", "a quote is opened")

# The parser's own words (their beginning or part) -> message, fix.
_KNOWN = (
    ("found a tab character", *_TAB),
    (
        "did not find expected key",
        "the indentation does not fit the lines above",
        "align the key with the other keys of its mapping, and close quotes and brackets",
    ),
    (
        "did not find expected '-' indicator",
        "the indentation does not fit the list above",
        "begin the item with '- ' in the column of the other items",
    ),
    ("could not find expected ':'", "a ':' is missing after a key", "write 'key: value'"),
    (
        "mapping values are not allowed",
        "a ':' stands where no key can be",
        "check the indentation, or put the value in quotes",
    ),
    (
        "expected ',' or ']'",
        "a list in brackets goes on without ',' or ']'",
        "close it with ']', and put values with brackets in quotes",
    ),
    (
        "expected ',' or '}'",
        "a mapping in braces goes on without ',' or '}'",
        "close it with '}', and put values with braces in quotes",
    ),
    ("found unexpected end of stream", "a quote is opened and never closed", "close the quote"),
    (
        "did not find expected alphabetic or numeric character",
        "an unquoted '*' or '&' begins an alias or an anchor",
        "put the value in quotes",
    ),
    (
        "block sequence entries are not allowed",
        "a '- ' stands where no list can begin",
        "put the list on its own lines below the key",
    ),
    (
        "found unknown escape character",
        "there is no such escape in double quotes",
        "use single quotes, or write the backslash twice",
    ),
    (
        "did not find expected <document start>",
        "there is text after the end of the document",
        "keep one document in a file, and put values that begin with a quote in quotes as a whole",
    ),
)


def refuse_characters(text: str, filename: str) -> Problem | None:
    """Returns the problem of the first character that YAML does not take, or None."""
    found = _NOT_TEXT.search(text)
    if found is None:
        return None
    start = text.rfind("\n", 0, found.start()) + 1
    line = text.count("\n", 0, start) + 1
    message = f"the character U+{ord(found.group()):04X} cannot stand in a file"
    return Problem(
        filename, line, found.start() - start + 1, "", message, "remove it, and save the file as UTF-8"
    )


def problem_of_error(error: YAMLError, text: str, filename: str) -> Problem:
    """Returns the problem that the parser met, at the place where it stopped."""
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return Problem(filename, 1, 1, "", "the file is not YAML", "save it as UTF-8 text")
    mark, opened = error.problem_mark, error.context_mark
    message, fix = _in_words(error.problem or "", _character_at(text, mark.line, mark.column))
    if opened is not None and opened.line != mark.line and message.startswith(_OPENED):
        message += f", and begins in line {opened.line + 1}"
    return Problem(filename, mark.line + 1, mark.column + 1, "", message, fix)


def _in_words(problem: str, character: str) -> tuple[str, str]:
    if "cannot start any token" in problem:
        if character == "\t":
            return _TAB
        return f"a value cannot begin with '{character}'", "put the value in quotes"
    for part, message, fix in _KNOWN:
        if part in problem:
            return message, fix
    return f"the file is not valid YAML here ({problem})", "check the indentation, quotes and brackets"


def _character_at(text: str, line: int, column: int) -> str:
    lines = text.splitlines()
    return lines[line][column : column + 1] if line < len(lines) else ""
