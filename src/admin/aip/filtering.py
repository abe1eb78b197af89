"""Filters: a subset of AIP-160 becomes a condition.

    filter      = sequence { "AND" sequence }          sequence: several terms side by side, which is AND too
    sequence    = { factor }
    factor      = term { "OR" term }                   OR binds tighter than AND, as AIP-160 has it
    term        = [ "NOT" | "-" ] simple
    simple      = "(" filter ")" | field operator value
    field       = word { "." word }
    operator    = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
    value       = word | '"' text '"'

``*`` in a text after ``=``, ``!=`` or ``:`` stands for any characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from admin.aip.fields import Fields, FieldType, known
from usageflow.domain.durations import parse_window
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.listing import (
    EVERYTHING,
    Comparison,
    Condition,
    Every,
    Negated,
    Operator,
    Some,
    Value,
)

MAX_LENGTH = 4_096
MAX_DEPTH = 30
MAX_TERMS = 200

_TOKENS = re.compile(
    r"""\s*(?: (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*') | (?P<operator><=|>=|!=|=|<|>|:)
    | (?P<paren>[()]) | (?P<minus>-(?=[\w(])) | (?P<word>[^\s()=!<>:"']+(?::[^\s()=!<>"']*)*?(?=[\s()=!<>:"']|$)) )""",
    re.VERBOSE,
)
_INSTANT_AHEAD = re.compile(r"\d{4}-\d\d-\d\d[Tt][^\s()]*")
_FIX = 'write such as `name = "a*" AND update_time > "2026-01-01T00:00:00Z"`'
_EXAMPLES = {
    FieldType.NUMBER: "write a whole number, such as 100",
    FieldType.FLAG: "write true or false",
    FieldType.INSTANT: "write an instant, such as 2026-01-31T00:00:00Z",
    FieldType.WINDOW: "write a window, such as 1h",
}
_MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


def parse_filter(text: str, fields: Fields) -> Condition:
    """Returns the condition of a filter. Raises InvalidArgument (field ``filter``) with the column and the fix."""
    if len(text) > MAX_LENGTH:
        raise InvalidArgument.of("filter", f"has more than {MAX_LENGTH} characters", "write a shorter one")
    return _Parser(text, fields).whole() if text.strip() else EVERYTHING


class _Parser:
    """Reads one filter by recursive descent."""

    def __init__(self, text: str, fields: Fields) -> None:
        self._fields = fields
        self._tokens = list(_tokens(text))
        self._next = 0
        self._terms = 0

    def whole(self) -> Condition:
        condition = self._filter(0)
        token = self._peek()
        if token.kind != "end":
            _refuse(token.column, f"{token.text!r} stands where nothing can", "remove it, or add a `(`")
        return condition

    def _filter(self, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            _refuse(self._peek().column, f"is nested more than {MAX_DEPTH} levels deep", "nest it less")
        parts = [self._factor(depth)]
        while not self._ends():
            if self._keyword("AND"):
                self._next += 1
            parts.append(self._factor(depth))
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _factor(self, depth: int) -> Condition:
        parts = [self._term(depth)]
        while self._keyword("OR"):
            self._next += 1
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _term(self, depth: int) -> Condition:
        token = self._peek()
        if self._keyword("NOT") or token.kind == "minus":
            self._next += 1
            return Negated(self._simple(depth))
        return self._simple(depth)

    def _simple(self, depth: int) -> Condition:
        token = self._take()
        if token.kind == "paren" and token.text == "(":
            condition = self._filter(depth + 1)
            closing = self._take()
            if closing.text != ")" or closing.kind != "paren":
                _refuse(closing.column, "a `(` is never closed", "add a `)`")
            return condition
        if token.kind != "word":
            shown = f"{token.text!r} stands where a field belongs" if token.text else "ends too early"
            _refuse(token.column, shown, _FIX)
        return self._comparison(token)

    def _comparison(self, field: _Token) -> Comparison:
        self._terms += 1
        if self._terms > MAX_TERMS:
            _refuse(field.column, f"holds more than {MAX_TERMS} comparisons", "write fewer")
        kind = known(self._fields, field.text, "filter")
        operator = self._take()
        if operator.kind != "operator":
            _refuse(operator.column, f"an operator belongs after {field.text!r}", "use = != < <= > >= or :")
        value = self._take()
        if value.kind == "minus":  # a negative number
            digits = self._take()
            value = _Token("word", f"-{digits.text}", value.column)
        if value.kind not in ("word", "quoted"):
            _refuse(value.column, f"a value belongs after {operator.text!r}", _FIX)
        return _compared(field.text, kind, Operator(operator.text), value)

    def _keyword(self, word: str) -> bool:
        token = self._peek()
        return token.kind == "word" and token.text == word

    def _ends(self) -> bool:
        token = self._peek()
        return token.kind == "end" or (token.kind == "paren" and token.text == ")")

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        start = position + len(text[position:]) - len(text[position:].lstrip())
        found = _INSTANT_AHEAD.match(text, start)
        kind = "word"
        if found is None:
            found = _TOKENS.match(text, position)
            kind = (found.lastgroup or "") if found else ""
        if found is None:
            _refuse(start + 1, f"{text[start : start + 1]!r} cannot stand here", "put texts in double quotes")
        position = found.end()
        tokens.append(_Token(kind, found.group(kind) if found.lastgroup else found.group(), start + 1))
    tokens.append(_Token("end", "", end + 1))
    return tokens


def _compared(field: str, kind: FieldType, operator: Operator, token: _Token) -> Comparison:
    text = re.sub(r"\\(.)", r"\1", token.text[1:-1]) if token.kind == "quoted" else token.text
    if operator is Operator.HAS and text == "*":
        return Comparison(field, operator, "*", wild=True)
    if kind is FieldType.NODE:
        _refuse(token.column, f"{field!r} holds fields of its own", f"name one of them, or write `{field}:*`")
    ordered = operator not in (Operator.EQUAL, Operator.UNEQUAL, Operator.HAS)
    if ordered and kind in (FieldType.FLAG, FieldType.CHOICE):
        _refuse(token.column, f"{field!r} has no order", "use = != or :")
    if kind in (FieldType.TEXT, FieldType.CHOICE):
        return Comparison(field, operator, text, wild="*" in text and not ordered)
    return Comparison(field, operator, _typed(field, kind, text, token.column))


def _typed(field: str, kind: FieldType, text: str, column: int) -> Value:
    try:
        if kind is FieldType.FLAG:
            return {"true": True, "false": False}[text.lower()]
        if kind is FieldType.INSTANT:
            return _instant(text)
        number = parse_window(text) if kind is FieldType.WINDOW else int(text)
    except (ValueError, KeyError, OverflowError):
        _refuse(column, f"{field!r} cannot be {text[:40]!r}", _EXAMPLES[kind])
    if abs(number) > _MAX_NUMBER:
        _refuse(column, f"{text[:40]!r} is no number of 64 bits", _EXAMPLES[kind])
    return number


def _instant(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("an instant needs an offset")
    return round(moment.timestamp() * 1_000_000)


def _refuse(column: int, message: str, fix: str) -> NoReturn:
    raise InvalidArgument.of("filter", f"column {column}: {message}", fix, "FILTER")
