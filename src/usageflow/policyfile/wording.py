"""From the model's errors to sentences: what is wrong at which place, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from usageflow.policyfile.nodes import Mapping, Node, Scalar, Step, is_whole_number, nearest, path_of
from usageflow.policyfile.problems import Problem, cut
from usageflow.policyfile.schema import POLICY_FILE, Shape

Words = tuple[str, str]

_EXAMPLES = {
    "version": "version: 1",
    "application": "application: demo",
    "name": "name: by-user",
    "sources": "sources: [{in: header, name: X-User-Id}]",
    "in": "in: header",
    "match": "match: {methods: [GET], path: /api/users}",
    "path": "path: /api/users",
    "limit": "limit: 100",
    "window": "window: 1h` or `align: day",
    "price": "price: price_123",
    "policy": "policy: transactions",
    "request": "request: {method: GET, path: /api/users}",
    "expect": "expect: {decision: ALLOW}",
    "decision": "decision: ALLOW",
    "cases": "cases: [{name: ..., request: {path: /api/users}, expect: {decision: ALLOW}}]",
}
_READ_AS = {
    "bool": "true or false",
    "int": "a number",
    "float": "a number",
    "timestamp": "a date",
    "merge": "a merge of mappings",
    "value": "a default value",
}
_LONGEST_SENTENCE = 100


def problems_of(
    error: ValidationError, root: Node, filename: str, shape: Shape = POLICY_FILE
) -> Iterator[Problem]:
    """Yields a problem for each error of the model of a file of this shape."""
    for details in error.errors(include_url=False, include_context=True):
        # A list whose items were refused is reported as too short as well: that would be one problem told twice.
        if details["type"] != "too_short" or not details["input"]:
            yield _problem(details, root, filename, shape)


def _problem(details: ErrorDetails, root: Node, filename: str, shape: Shape) -> Problem:
    steps: tuple[Step, ...] = details["loc"]
    node: Node = nearest(root, steps)
    if details["type"] == "extra_forbidden":
        node = _key_at(root, steps) or node
        message, fix = unknown_key(steps, shape)
    elif details["type"] == "missing":
        message, fix = _missing(steps)
    else:
        message, fix = _words(details, steps, node, shape)
    return Problem(filename, node.line, node.column, path_of(steps), message, fix)


def _key_at(root: Node, steps: tuple[Step, ...]) -> Scalar | None:
    parent = nearest(root, steps[:-1])
    entry = parent.entries.get(str(steps[-1])) if isinstance(parent, Mapping) else None
    return entry[0] if entry else None


def unknown_key(steps: tuple[Step, ...], shape: Shape = POLICY_FILE) -> Words:
    """Returns what is wrong with a key that the mapping may not hold, and the fix."""
    key = str(steps[-1])
    known = shape.known_keys(steps[:-1])
    near = difflib.get_close_matches(cut(key), known, n=1)
    fix = f"did you mean '{near[0]}'?" if near else f"known keys are {', '.join(known)}"
    return f"unknown key '{cut(key)}'", fix


def _missing(steps: tuple[Step, ...]) -> Words:
    key = str(steps[-1])
    return f"'{key}' is missing", f"add it, such as `{_EXAMPLES.get(key, key + ': ...')}`"


def _words(details: ErrorDetails, steps: tuple[Step, ...], node: Node, shape: Shape) -> Words:
    wrong = _Wrong(details["type"], details.get("ctx", {}), details["msg"], steps, node, shape)
    if isinstance(node, Scalar) and node.kind == "null":
        holder = "item" if steps and isinstance(steps[-1], int) else "key"
        return f"{wrong.label} has no value", f"write one, or remove the {holder}"
    return _WORDS.get(wrong.kind, _other)(wrong)


@dataclass(frozen=True, slots=True)
class _Wrong:
    """A value that the model refused: the model's kind of error, its context and sentence, and where."""

    kind: str
    context: dict[str, Any]
    sentence: str
    steps: tuple[Step, ...]
    node: Node
    shape: Shape

    @property
    def label(self) -> str:
        """How people name the field: its key, or an item of the list that it stands in."""
        last = self.steps[-1]
        return f"an item of '{self.steps[-2]}'" if isinstance(last, int) else f"'{last}'"

    @property
    def shown(self) -> str:
        """The value as it stands in the file."""
        if isinstance(self.node, Scalar):
            text = cut(self.node.text)
            return f'"{text}"' if self.node.kind == "str" else text
        return "a mapping" if isinstance(self.node, Mapping) else "a list"


def _text(wrong: _Wrong) -> Words:
    if not isinstance(wrong.node, Scalar):
        return f"{wrong.label} must be text, not {wrong.shown}", "write a single value"
    base_60 = wrong.node.kind == "int" and ":" in wrong.node.text
    meaning = "a number in base 60" if base_60 else _READ_AS.get(wrong.node.kind, "something else")
    message = f"{wrong.label} is {wrong.shown}, which YAML reads as {meaning}, not as text"
    return message, f'put it in quotes: "{wrong.shown}"'


def _whole_number(wrong: _Wrong) -> Words:
    if wrong.steps[-1] in {"window", "after", "retry_after"}:
        return f"{wrong.label} must be a window, not {wrong.shown}", "write one such as 30s, 1h or 7d"
    if wrong.steps[-1] in {"anchor", "expires", "at"}:
        return (
            f"{wrong.label} must be an instant, not {wrong.shown}",
            "write one such as 2026-01-31T00:00:00Z",
        )
    low, high = wrong.shape.bounds(wrong.steps)
    if low == high:
        return f"{wrong.label} must be {low}, not {wrong.shown}", f"write {low}"
    if isinstance(wrong.node, Scalar) and is_whole_number(wrong.node):
        return f"{wrong.label} is out of bounds: {wrong.shown}", f"write a whole number from {low} to {high}"
    return f"{wrong.label} must be a whole number, not {wrong.shown}", (
        f"write digits only, without quotes or leading zeros, from {low} to {high}"
    )


def _choice(wrong: _Wrong) -> Words:
    choices = str(wrong.context["expected"]).replace("'", "")
    return f"{wrong.label} cannot be {wrong.shown}", f"write {choices}"


def _list(wrong: _Wrong) -> Words:
    fix = f"write [{cut(wrong.node.text)}]" if isinstance(wrong.node, Scalar) else "begin each item with '- '"
    return f"{wrong.label} must be a list, not {wrong.shown}", fix


def _mapping(wrong: _Wrong) -> Words:
    keys = ", ".join(wrong.shape.known_keys(wrong.steps))
    return f"{wrong.label} must be a mapping, not {wrong.shown}", f"write keys and values: {keys}"


def _names(wrong: _Wrong) -> Words:
    return f"{wrong.label} must be a mapping, not {wrong.shown}", "write names and values: {a: b}"


def _json_value(wrong: _Wrong) -> Words:
    return f"{wrong.label} cannot be {wrong.shown}", f'put it in quotes: "{wrong.shown}"'


def _flag(wrong: _Wrong) -> Words:
    return f"{wrong.label} cannot be {wrong.shown}", "write true or false"


def _pattern(wrong: _Wrong) -> Words:
    fix = "write lower-case letters, digits and hyphens, at most 63, without a hyphen at either end"
    if wrong.steps[-1] == "price":
        fix = "write the id of a Stripe Price, such as price_123"
    elif wrong.steps[-1] == "stripe_customer":
        fix = "write the id of a Stripe customer, such as cus_123"
    return f"{wrong.label} cannot be {wrong.shown}", fix


def _size(wrong: _Wrong) -> Words:
    what = "character" if wrong.kind.startswith("string") else "item"
    if "max_length" in wrong.context:
        return f"{wrong.label} is too long", f"write at most {wrong.context['max_length']} {what}s"
    return f"{wrong.label} is empty", f"write at least one {what}"


def _from_model(wrong: _Wrong) -> Words:
    """The models' own sentences: ``what is wrong: what to do`` or, for windows out of bounds, ``must be ...``."""
    text = str(wrong.context["error"])
    message, separator, fix = text.partition(": ")
    if separator:
        return message if len(message) <= _LONGEST_SENTENCE else f"{wrong.label} cannot be {wrong.shown}", fix
    return f"{wrong.label} is out of bounds: {wrong.shown}", f"it {text}"


def _other(wrong: _Wrong) -> Words:
    return f"{wrong.label} cannot be {wrong.shown}", f"correct it: {wrong.sentence}"


_WORDS: dict[str, Callable[[_Wrong], Words]] = {
    "string_type": _text,
    "int_type": _whole_number,
    "greater_than_equal": _whole_number,
    "less_than_equal": _whole_number,
    "enum": _choice,
    "tuple_type": _list,
    "model_type": _mapping,
    "model_attributes_type": _mapping,
    "dict_type": _names,
    "invalid-json-value": _json_value,
    "bool_type": _flag,
    "bool_parsing": _flag,
    "string_pattern_mismatch": _pattern,
    "string_too_short": _size,
    "string_too_long": _size,
    "too_short": _size,
    "too_long": _size,
    "value_error": _from_model,
}
