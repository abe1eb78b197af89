"""Bodies of requests: forms with nested names (``items[0][price]=...``) and JSON."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from usageflow.standin.errors import invalid

_DEEPEST = 8
_MOST_FIELDS = 1_000


def parse_form(text: str) -> dict[str, Any]:
    """Returns the fields of a form or a query; lists where all names of a level are numbers. Raises StripeError."""
    tree: dict[str, Any] = {}
    try:
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise invalid(f"Too many parameters: at most {_MOST_FIELDS:,}") from None
    for name, value in fields:
        _place(tree, _path(name), value)
    return {name: _listed(value) for name, value in tree.items()}


def parse_json(body: bytes) -> dict[str, Any]:
    """Returns the fields of a JSON object. Raises StripeError."""
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise invalid("The body is not JSON.") from None
    if not isinstance(found, dict):
        raise invalid("The body is not a JSON object.")
    return found


def _path(name: str) -> list[str]:
    first, *rest = name.split("[")
    path = [first, *(step.rstrip("]") for step in rest)]
    if len(path) > _DEEPEST:
        raise invalid(f"Parameter is nested too deeply: {name[:80]}", name[:80])
    return path


def _place(tree: dict[str, Any], path: list[str], value: str) -> None:
    for step in path[:-1]:
        below = tree.setdefault(step or str(len(tree)), {})
        if not isinstance(below, dict):
            raise invalid(f"Invalid parameter: {path[0][:80]}", path[0][:80])
        tree = below
    tree[path[-1] or str(len(tree))] = value


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found = {name: _listed(each) for name, each in value.items()}
    if found and all(name.isascii() and name.isdecimal() for name in found):
        return [found[name] for name in sorted(found, key=int)]
    return found
