"""What an expression reads, by its checked syntax tree (cel/expr/checked.proto), and what it may not do.

Attributes are sent by clients one by one, so each must be named by a constant. ``has`` and ``in`` of a map are rewritten to a
comparison with "": a missing attribute reads as "", which must not make it present.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cel.expr import checked_pb2
from cel.expr.syntax_pb2 import Expr

from usageflow.domain.expressions import Place, Reads
from usageflow.domain.identity import (
    BODY_JSON,
    PATH_PARAMETER,
    AttributeKey,
    attribute_key,
    is_sensitive,
    size_of,
)
from usageflow.domain.sources import Location, Source
from usageflow.expressions._environment import METADATA, RESPONSE_BODY, RESPONSE_HEADERS, Vocabulary
from usageflow.expressions._faults import Refused, place_of, start_of

MAX_LOOPS = 4
_ARITHMETIC = frozenset({"_+_", "_-_", "_*_", "_/_", "_%_"})
_WHOLE = frozenset({checked_pb2.Type.INT64, checked_pb2.Type.UINT64})
_NUMERIC_SUMS = frozenset({"add_int64", "add_uint64", "add_double"})
_TOKEN_COUNT = re.compile("tokens", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """A constant name that is read: the variable, the names below it as they are written, and the attribute's key."""

    variable: str
    names: tuple[str, ...]
    key: AttributeKey


@dataclass
class Reading:
    """Walks a tree once, and rewrites presence tests in it. Raises Refused."""

    checked: checked_pb2.CheckedExpr
    text: str
    vocabulary: Vocabulary
    entries: dict[tuple[str, tuple[str, ...]], Entry] = field(default_factory=dict)
    scalars: set[str] = field(default_factory=set)
    places: dict[AttributeKey, Place] = field(default_factory=dict)
    _loops: int = 0

    def read(self) -> Reads:
        """Returns what is read."""
        self._walk(self.checked.expr, in_loop=False)
        self._drop_covered()
        if "request.client_ip" in self.scalars:
            self.places[str(Location.CLIENT_IP), ""] = Place(1, 1)
        return Reads(
            places=self.places,
            path="request.path" in self.scalars,
            time="request.time" in self.scalars,
            identity=any(name.startswith("identity.") for name in self.scalars),
            fields=() if self.vocabulary.blank else self._fields(),
        )

    def offset(self, node: Expr) -> int:
        """Returns where a node stands in the text."""
        return self._offset(node)

    def _fields(self) -> tuple[str, ...]:
        """Returns what clients capture; the route's values are known by the path."""
        captured = (entry for entry in self.entries.values() if entry.key[0] != PATH_PARAMETER)
        return tuple(dict.fromkeys(map(field_of, captured)))

    def _walk(self, node: Expr, *, in_loop: bool) -> None:
        if self._presence(node):
            return
        found = _chain(node, self.vocabulary)
        if found is not None:
            self._enter(node, *found)
            return
        kind = node.WhichOneof("expr_kind")
        if kind == "ident_expr" and node.ident_expr.name in self.vocabulary.scalars:
            self.scalars.add(node.ident_expr.name)
        elif kind == "struct_expr" and node.struct_expr.message_name:
            raise Refused(self._offset(node), "an expression makes no messages", "use maps and lists")
        elif kind == "call_expr":
            self._check_sum(node, in_loop=in_loop)
            self._check_pattern(node)
        elif kind == "comprehension_expr":
            self._check_loop(node, in_loop=in_loop)
        for child, looped in children(node):
            self._walk(child, in_loop=in_loop or looped)

    def _presence(self, node: Expr) -> bool:
        """Rewrites ``has(map.name)`` and ``"name" in map``; tells whether the node was one of these."""
        found = _tested(node, self.vocabulary)
        if found is None:
            return False
        root, name = found
        variable = root.ident_expr.name
        self._enter(root, variable, (name,))
        operand = Expr()
        operand.CopyFrom(root)
        if variable in self.vocabulary.trees or not self.vocabulary.blank:
            node.select_expr.operand.CopyFrom(operand)
            node.select_expr.field, node.select_expr.test_only = name, True
            if node.id in self.checked.reference_map:  # `in` had one, `has` had none
                del self.checked.reference_map[node.id]
        else:
            self._compare_with_nothing(node, operand, name)
        return True

    def _compare_with_nothing(self, node: Expr, operand: Expr, name: str) -> None:
        types = self.checked.type_map
        fresh = max(types, default=0) + 1
        node.call_expr.Clear()
        node.call_expr.function = "_!=_"
        value, nothing = node.call_expr.args.add(id=fresh), node.call_expr.args.add(id=fresh + 1)
        value.select_expr.operand.CopyFrom(operand)
        value.select_expr.field = name
        nothing.const_expr.string_value = ""
        for number in (fresh, fresh + 1):
            types[number].primitive = checked_pb2.Type.STRING
        reference = self.checked.reference_map[node.id]  # `in` had one, `has` had none
        reference.Clear()
        reference.overload_id.append("not_equals")

    def _enter(self, node: Expr, variable: str, names: tuple[str, ...]) -> None:
        offset = self._offset(node, variable)
        if not names:
            raise Refused(
                offset,
                f"what it reads of {variable} is not named by a constant",
                f"name it, such as {_example(variable, self.vocabulary)}",
            )
        name = ".".join(names)
        if variable in self.vocabulary.trees and any("." in part or not part for part in names):
            raise Refused(offset, "a body's field with a dot in its name cannot be read", "rename the field")
        if not 1 <= size_of(name) <= 256:
            raise Refused(offset, "the name has no or over 256 bytes", "name what is read by 1 to 256 bytes")
        key = _key(self.vocabulary.locations[variable], name)
        if _sensitive(key):
            raise Refused(
                offset, f"{variable} {name!r} is a credential, which arrives as a hash only", _SENSITIVE_FIX
            )
        self.entries.setdefault((variable, names), Entry(variable, names, key))
        self.places.setdefault(key, place_of(self.text, offset))

    def _drop_covered(self) -> None:
        """Leaves out fields of an object that is read as a whole."""
        whole = set(self.entries)
        for variable, names in list(self.entries):
            shorter = ((variable, names[:length]) for length in range(1, len(names)))
            if variable in self.vocabulary.trees and any(each in whole for each in shorter):
                del self.places[self.entries.pop((variable, names)).key]

    def _check_sum(self, node: Expr, *, in_loop: bool) -> None:
        call = node.call_expr
        if call.function not in _ARITHMETIC or len(call.args) != 2:
            return
        kinds = [self.checked.type_map[arg.id] for arg in call.args]
        dynamic = any(kind.HasField("dyn") for kind in kinds)
        if dynamic and any(
            kind.WhichOneof("type_kind") == "primitive" and kind.primitive in _WHOLE for kind in kinds
        ):
            message = "a body's numbers are doubles, which do not mix with whole numbers"
            raise Refused(
                self._offset(node),
                message,
                "write the number with a point, such as 2.0, or convert with int()",
            )
        own = call.args[0].ident_expr.name.startswith("@")
        overloads = set(self.checked.reference_map[node.id].overload_id)
        if in_loop and call.function == "_+_" and not own and not overloads <= _NUMERIC_SUMS:
            message = "texts and lists are not joined inside a loop, where they may grow without bounds"
            raise Refused(
                self._offset(node), message, "join outside of it; for numbers of a body use double()"
            )

    def _check_pattern(self, node: Expr) -> None:
        """Refuses patterns that callers could send: RE2 takes time and memory to compile a large one."""
        call = node.call_expr
        if call.function == "matches" and call.args and _text(call.args[-1]) is None:
            message = "the pattern of matches is not a constant"
            raise Refused(self._offset(node), message, "write it in quotes, or use startsWith or contains")

    def _check_loop(self, node: Expr, *, in_loop: bool) -> None:
        self._loops += 1
        if in_loop:
            raise Refused(
                self._offset(node), "a loop stands inside another", "use one loop, such as exists or all"
            )
        if self._loops > MAX_LOOPS:
            raise Refused(self._offset(node), f"there are more than {MAX_LOOPS} loops", "use fewer")

    def _offset(self, node: Expr, name: str = "") -> int:
        offset = self.checked.source_info.positions.get(_root(node, self.vocabulary).id, 0)
        return start_of(self.text, offset, name) if name else offset


_SENSITIVE_FIX = (
    "recognise callers by a strategy and compare identity.value, or let the application set an app_context"
)


def _root(node: Expr, vocabulary: Vocabulary) -> Expr:
    """Returns the variable at the bottom of a chain of names, or the node itself."""
    return node if _chain(node, vocabulary) is None else next(_descend(node))


def _descend(node: Expr) -> Iterator[Expr]:
    while node.WhichOneof("expr_kind") != "ident_expr":
        node = node.select_expr.operand if node.HasField("select_expr") else node.call_expr.args[0]
    yield node


def _chain(node: Expr, vocabulary: Vocabulary) -> tuple[str, tuple[str, ...]] | None:
    """Returns variable and constant names of ``request.body.user["tier"]``; None for anything else."""
    names: list[str] = []
    while True:
        kind = node.WhichOneof("expr_kind")
        if kind == "ident_expr":
            name = node.ident_expr.name
            return (name, tuple(reversed(names))) if name in vocabulary.locations else None
        if kind == "select_expr":
            names.append(node.select_expr.field)
            node = node.select_expr.operand
        elif (
            kind == "call_expr"
            and node.call_expr.function == "_[_]"
            and _text(node.call_expr.args[1]) is not None
        ):
            names.append(_text(node.call_expr.args[1]) or "")
            node = node.call_expr.args[0]
        else:
            return None


def _tested(node: Expr, vocabulary: Vocabulary) -> tuple[Expr, str] | None:
    """Returns variable and name of ``has(map.name)`` and ``"name" in map``; of a body of the second form only."""
    kind = node.WhichOneof("expr_kind")
    if (
        kind == "select_expr"
        and node.select_expr.test_only
        and _is_variable(node.select_expr.operand, vocabulary.maps)
    ):
        return node.select_expr.operand, node.select_expr.field
    if kind == "call_expr" and node.call_expr.function == "@in" and len(node.call_expr.args) == 2:
        name = _text(node.call_expr.args[0])
        if name is not None and _is_variable(node.call_expr.args[1], vocabulary.locations):
            return node.call_expr.args[1], name
    return None


def _is_variable(node: Expr, among: Mapping[str, str]) -> bool:
    return node.WhichOneof("expr_kind") == "ident_expr" and node.ident_expr.name in among


def _text(node: Expr) -> str | None:
    constant = node.WhichOneof("expr_kind") == "const_expr"
    is_text = constant and node.const_expr.WhichOneof("constant_kind") == "string_value"
    return str(node.const_expr.string_value) if is_text else None


def children(node: Expr) -> Iterator[tuple[Expr, bool]]:
    """Yields what stands below a node, and whether it is evaluated over and over."""
    kind = node.WhichOneof("expr_kind")
    if kind == "select_expr":
        yield node.select_expr.operand, False
    elif kind == "call_expr":
        if node.call_expr.HasField("target"):
            yield node.call_expr.target, False
        yield from ((arg, False) for arg in node.call_expr.args)
    elif kind == "list_expr":
        yield from ((item, False) for item in node.list_expr.elements)
    elif kind == "struct_expr":
        for entry in node.struct_expr.entries:
            yield from ((entry.map_key, False), (entry.value, False))
    elif kind == "comprehension_expr":
        loop = node.comprehension_expr
        yield from ((loop.iter_range, False), (loop.accu_init, False), (loop.result, False))
        yield from ((loop.loop_condition, True), (loop.loop_step, True))


def _key(location: str, name: str) -> AttributeKey:
    if location == RESPONSE_HEADERS:
        return (location, name.lower())
    if location in _RAW_NAMES:
        return (location, name)
    return attribute_key(Location(location), name)


_RAW_NAMES = {BODY_JSON, PATH_PARAMETER, RESPONSE_BODY, METADATA}

_LIKE = {
    BODY_JSON: Location.BODY,
    PATH_PARAMETER: Location.PATH,
    RESPONSE_HEADERS: Location.HEADER,
    RESPONSE_BODY: Location.BODY,
    METADATA: Location.BODY,
}
"""Where names mean the same."""


def _sensitive(key: AttributeKey) -> bool:
    """Tells whether clients send a hash. A number of tokens, such as ``max_tokens``, is no token."""
    location = _LIKE[key[0]] if key[0] in _LIKE else Location(key[0])
    return is_sensitive(Source(location=location, name=_TOKEN_COUNT.sub("", key[1])))


def field_of(entry: Entry) -> str:
    """Returns the dot path under which clients send what is captured: ``response.body.usage.total_tokens``."""
    return f"{entry.variable}.{entry.key[1]}"


def _example(variable: str, vocabulary: Vocabulary) -> str:
    return f"{variable}.model" if variable in vocabulary.trees else f'{variable}["x-tier"]'
