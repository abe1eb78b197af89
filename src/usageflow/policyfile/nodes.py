"""A YAML document with the place of every part: what the composer makes and all messages are derived from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from yaml import SafeLoader

_TOKEN = re.compile(r"\[(\d{1,9})\]|([^.\[\]]+)")
_DECIMAL_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_MOST_DIGITS = 30
_TRUE = frozenset({"yes", "true", "on"})

RAW_KEYS = frozenset({"window", "anchor", "expires"})
"""Keys whose value is text even where YAML reads a number (``90``), base 60 (``1:30``) or a date."""


FREE_KEYS = frozenset({"body", "claims", "headers", "query", "cookies", "context", "params"})
"""Keys of case files below which a key is a caller's own name, whatever else it may mean here."""


@dataclass(slots=True, eq=False)
class Scalar:
    """A single value. ``kind`` is what YAML 1.1 reads it as: str, int, float, bool, null, timestamp, merge, value."""

    line: int
    column: int
    text: str
    kind: str
    size: int = 1
    height: int = 0


@dataclass(slots=True, eq=False)
class Items:
    """A list. ``size`` counts its nodes with aliases expanded, ``height`` the levels below it."""

    line: int
    column: int
    items: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 1


@dataclass(slots=True, eq=False)
class Mapping:
    """Keys and values in their order; each key keeps its own place."""

    line: int
    column: int
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    size: int = 1
    height: int = 1


Node = Scalar | Items | Mapping
Step = str | int


class Unreadable:
    """Stands for a scalar that no field takes (dates, base 60, octal), so that the model refuses it at its place."""


UNREADABLE = Unreadable()


@lru_cache(maxsize=4096)  # keys repeat in every resource
def kind_of(text: str) -> str:
    """Returns what YAML 1.1 reads an unquoted text as, such as ``bool`` for ``on``."""
    for tag, pattern in SafeLoader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            return str(tag).rpartition(":")[2]
    return "str"


def value_of(node: Node, key: str = "", raw_keys: frozenset[str] = RAW_KEYS) -> object:
    """Returns plain Python values; ``key`` is the key that the node is the value of."""
    if isinstance(node, Mapping):
        below = frozenset() if key in FREE_KEYS else raw_keys
        return {name: value_of(child, name, below) for name, (_, child) in node.entries.items()}
    if isinstance(node, Items):
        return [value_of(child, "", raw_keys) for child in node.items]
    if node.kind == "str" or (key in raw_keys and node.kind != "null"):
        return node.text
    return _scalar_value(node)


def _scalar_value(node: Scalar) -> object:
    if node.kind == "null":
        return None
    if node.kind == "bool":
        return node.text.lower() in _TRUE
    if is_whole_number(node) and len(node.text) <= _MOST_DIGITS:
        return int(node.text.replace("_", ""))
    if node.kind == "float":
        try:
            return float(node.text.replace("_", ""))
        except ValueError:
            return UNREADABLE
    return UNREADABLE


def is_whole_number(node: Scalar) -> bool:
    """Tells whether the scalar is an unquoted decimal; octal, hexadecimal and base 60 are not."""
    return node.kind == "int" and _DECIMAL_INT.fullmatch(node.text) is not None


def steps_of(path: str) -> tuple[Step, ...]:
    """Returns the steps of a field path: ``a[3].b`` gives ``('a', 3, 'b')``. Never raises."""
    return tuple(int(index) if index else name for index, name in _TOKEN.findall(path))


def path_of(steps: tuple[Step, ...]) -> str:
    """Returns the field path of steps; the inverse of steps_of."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def child_of(node: Node, step: Step) -> Node | None:
    """Returns the part of a node that a step leads to, or None."""
    if isinstance(node, Mapping) and isinstance(step, str):
        entry = node.entries.get(step)
        return entry[1] if entry else None
    if isinstance(node, Items) and isinstance(step, int):
        return node.items[step] if 0 <= step < len(node.items) else None
    return None


def nearest(node: Node, steps: tuple[Step, ...]) -> Node:
    """Returns the node at the end of the steps, or the last one on the way that exists."""
    for step in steps:
        child = child_of(node, step)
        if child is None:
            return node
        node = child
    return node
