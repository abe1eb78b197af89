"""From YAML text to nodes with places, in one pass over the parser's events.

The parser is libyaml's where PyYAML was built with it. Composing ourselves (instead of ``yaml.load``) bounds depth and
aliases while reading, sees duplicate keys, and keeps the line and column of every key and value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from usageflow.policyfile.nodes import Items, Mapping, Node, Scalar, kind_of
from usageflow.policyfile.problems import PolicyFileError, Problem, cut
from usageflow.policyfile.syntax import problem_of_error, refuse_characters

MAX_NODES = 2_000_000
"""Nodes of a document with every alias expanded: five times what 10,000 rich policies need."""

MAX_DEPTH = 50
"""Levels of nesting; a policy file needs six."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_COLLECTION_TAGS = {"!", _CORE + "seq", _CORE + "map"}
_SCALAR_KINDS = {"int", "float", "bool", "null"}


class Composer:
    """Makes the nodes of one text. ``problems`` collects what does not stop the reading, such as duplicate keys."""

    def __init__(self, text: str, *, filename: str) -> None:
        self.problems: list[Problem] = []
        self._text = text
        self._file = filename
        self._events: Iterator[Any] = iter(())
        self._anchors: dict[str, Node | None] = {}
        self._count = 0

    def compose(self) -> Node | None:
        """Returns the document, or None where there is none. Raises PolicyFileError with what stops the reading."""
        refused = refuse_characters(self._text, self._file)
        if refused:
            raise PolicyFileError([refused])
        try:
            self._events = yaml.parse(self._text, Loader=_LOADER)
            return self._document()
        except yaml.YAMLError as error:
            problem = problem_of_error(error, self._text, self._file)
            raise PolicyFileError([*self.problems, problem]) from error

    def _document(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._stop(event, "", "a second document begins here", "keep one document in a file")
                root = self._node(next(self._events), "", 0)
        return root

    def _node(self, event: Any, path: str, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._stop(event, path, f"nested more than {MAX_DEPTH} levels deep", "remove levels of nesting")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path, depth)
        self._grow(1, event, path)
        if event.anchor:
            self._anchors[event.anchor] = None
        node = self._new_node(event, path, depth)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _new_node(self, event: Any, path: str, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if event.tag and event.tag not in _COLLECTION_TAGS:
            self._refuse_tag(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._items(event, path, depth)
        return self._mapping(event, path, depth)

    def _alias(self, event: Any, path: str, depth: int) -> Node:
        if event.anchor not in self._anchors:
            fix = f"put the value in quotes if it is text, or define '&{cut(event.anchor)}'"
            self._stop(event, path, f"'*{cut(event.anchor)}' names an anchor that is not defined above", fix)
        node = self._anchors[event.anchor]
        if node is None:
            self._stop(
                event, path, f"the anchor '&{cut(event.anchor)}' contains itself", "write the value out"
            )
        if depth + node.height > MAX_DEPTH:
            self._stop(event, path, f"nested more than {MAX_DEPTH} levels deep", "remove levels of nesting")
        self._grow(node.size, event, path)
        return node

    def _scalar(self, event: Any, path: str) -> Scalar:
        text = str(event.value)
        kind = kind_of(text) if event.implicit[0] else "str"
        if event.tag and not event.implicit[0] and event.tag not in {"!", _CORE + "str"}:
            kind = self._tagged_kind(event, text, path)
        return Scalar(*_place(event), text, kind)

    def _tagged_kind(self, event: Any, text: str, path: str) -> str:
        kind = str(event.tag).removeprefix(_CORE)
        if kind not in _SCALAR_KINDS or kind_of(text) != kind:
            self._refuse_tag(event, path)
        return kind

    def _items(self, event: Any, path: str, depth: int) -> Items:
        node, before = Items(*_place(event)), self._count
        for each in self._events:
            if isinstance(each, yaml.SequenceEndEvent):
                break
            node.items.append(self._node(each, f"{path}[{len(node.items)}]", depth + 1))
        node.size += self._count - before
        node.height += max((child.height for child in node.items), default=0)
        return node

    def _mapping(self, event: Any, path: str, depth: int) -> Mapping:
        node, before = Mapping(*_place(event)), self._count
        merges: list[Node] = []
        for each in self._events:
            if isinstance(each, yaml.MappingEndEvent):
                break
            self._entry(node, merges, each, path, depth)
        node.size += self._count - before
        node.height += max((child.height for _, child in node.entries.values()), default=0)
        for source in merges:
            self._merge(node, source, path)
        return node

    def _entry(self, node: Mapping, merges: list[Node], event: Any, path: str, depth: int) -> None:
        key = self._node(event, path, depth + 1)
        name = key.text if isinstance(key, Scalar) else "?"
        below = f"{path}.{name}" if path else name
        value = self._node(next(self._events), below, depth + 1)
        if not isinstance(key, Scalar):
            self._note(_place(event), path, "a key must be text", "write a name before the ':'")
        elif key.kind == "merge":
            merges.append(value)
        elif name in node.entries:
            first = node.entries[name][0].line
            self._note(
                _place(event),
                below,
                f"the key '{cut(name)}' stands twice in one mapping, first in line {first}",
                "remove one of them",
            )
        else:
            node.entries[name] = (key, value)

    def _merge(self, node: Mapping, source: Node, path: str) -> None:
        """Adds the keys of ``<<: *anchor`` that the mapping does not have itself."""
        for each in source.items if isinstance(source, Items) else [source]:
            if not isinstance(each, Mapping):
                place = (each.line, each.column)
                self._note(place, path, "'<<' takes mappings only", "name an anchor that stands at a mapping")
                continue
            node.height = max(node.height, each.height)
            for name, entry in each.entries.items():
                node.entries.setdefault(name, entry)

    def _grow(self, nodes: int, event: Any, path: str) -> None:
        self._count += nodes
        if self._count > MAX_NODES:
            message = f"the file holds more than {MAX_NODES:,} values when its aliases are expanded"
            self._stop(event, path, message, "use fewer aliases, or split the file by application")

    def _refuse_tag(self, event: Any, path: str) -> NoReturn:
        tag = str(event.tag).replace(_CORE, "!!")
        self._stop(event, path, f"the tag '{cut(tag)}' is not allowed here", "remove it")

    def _note(self, place: tuple[int, int], path: str, message: str, fix: str) -> None:
        self.problems.append(Problem(self._file, *place, path, message, fix))

    def _stop(self, event: Any, path: str, message: str, fix: str) -> NoReturn:
        self._note(_place(event), path, message, fix)
        raise PolicyFileError(self.problems)


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
