"""Exact arithmetic of metering expressions, by their checked syntax tree: CEL itself knows no decimals.

An expression that is linear in the quantity (``a * usage_record.quantity + b``, from literals, ``units()``, sums and products) is
worked out in decimals alone. Of any other, factors ``units('0.001')`` of the whole product are taken out and multiplied afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow

from cel.expr import checked_pb2
from cel.expr.syntax_pb2 import Expr

from usageflow.domain.expressions import Linear
from usageflow.domain.units import parse_units
from usageflow.expressions._environment import QUANTITY, UNITS
from usageflow.expressions._faults import Refused
from usageflow.expressions._reading import children

_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation, Overflow])
_NOTHING = Decimal(0)
_ONE = Decimal(1)
_MOST = Decimal(10) ** 15


class Factors:
    """Reads the exact part of a checked tree. Raises Refused."""

    def __init__(self, checked: checked_pb2.CheckedExpr, offset: Callable[[Expr], int]) -> None:
        self._checked = checked
        self._offset = offset

    def linear(self) -> Linear | None:
        """Returns the line that the expression is; None for none, for one that falls below zero, or is not exact."""
        try:
            found = self._line(self._checked.expr)
        except DecimalException:
            return None
        if found is None or not (0 <= found.slope <= _MOST and 0 <= found.base <= _MOST):
            return None
        return found

    def take(self) -> Decimal:
        """Takes the factors out of the product that the expression is; returns what they come to."""
        product = _ONE
        for factor in self._taken(self._checked.expr):
            product = Context(prec=60).multiply(product, factor)
        for node in _nodes(self._checked.expr):
            if _is_units(node):
                message = "units() is no factor of the whole result"
                fix = "write it in front, such as units('0.001') * (...), or write a plain number here"
                raise Refused(self._offset(node), message, fix)
        return product

    def _taken(self, node: Expr) -> Iterator[Decimal]:
        while node.call_expr.function == "_*_":
            own = next((index for index, each in enumerate(node.call_expr.args) if _is_units(each)), None)
            if own is None:
                for each in node.call_expr.args:
                    yield from self._taken(each)
                return
            yield self._amount(node.call_expr.args[own])
            rest = Expr()
            rest.CopyFrom(node.call_expr.args[1 - own])
            node.CopyFrom(rest)

    def _line(self, node: Expr) -> Linear | None:
        kind = node.WhichOneof("expr_kind")
        if kind == "const_expr":
            number = _number(node)
            return None if number is None else Linear(_NOTHING, number)
        if kind == "ident_expr":
            return Linear(_ONE, _NOTHING) if node.ident_expr.name == QUANTITY else None
        if kind != "call_expr":
            return None
        if _is_units(node):
            return Linear(_NOTHING, self._amount(node))
        if node.call_expr.HasField("target"):
            return None
        parts = [self._line(each) for each in node.call_expr.args]
        known = [part for part in parts if part is not None]
        return _combined(node.call_expr.function, known, self._whole(node)) if known == parts else None

    def _whole(self, node: Expr) -> bool:
        return bool(self._checked.type_map[node.id].primitive != checked_pb2.Type.DOUBLE)

    def _amount(self, node: Expr) -> Decimal:
        args = node.call_expr.args
        text = args[0].const_expr.string_value if args[0].HasField("const_expr") else ""
        try:
            return parse_units(text)
        except ValueError:
            fix = (
                "write it in quotes, such as units('0.001'): at most 15 digits before and 12 after the point"
            )
            raise Refused(self._offset(node), "units() is given no constant decimal", fix) from None


def _is_units(node: Expr) -> bool:
    return bool(node.HasField("call_expr") and node.call_expr.function == UNITS)


def _number(node: Expr) -> Decimal | None:
    kind = node.const_expr.WhichOneof("constant_kind")
    if kind not in {"double_value", "int64_value", "uint64_value"}:
        return None
    found = Decimal(repr(getattr(node.const_expr, kind)))
    return found if found.is_finite() else None


def _combined(function: str, parts: list[Linear], whole: bool) -> Linear | None:
    """Returns what a function makes of lines. Division of whole numbers drops the rest, so it is none of decimals."""
    first, last = parts[0], parts[-1]
    found: Linear | None = None
    if len(parts) == 1:
        found = {"-_": _product(first, Linear(_NOTHING, -_ONE)), "double": first}.get(function)
    elif function == "_+_":
        found = Linear(_EXACT.add(first.slope, last.slope), _EXACT.add(first.base, last.base))
    elif function == "_-_":
        found = Linear(_EXACT.subtract(first.slope, last.slope), _EXACT.subtract(first.base, last.base))
    elif function == "_*_" and not (first.slope and last.slope):
        found = _product(last, first) if last.slope else _product(first, last)
    elif function == "_/_" and not whole and not last.slope and last.base:
        found = _product(first, Linear(_NOTHING, _EXACT.divide(_ONE, last.base)))
    return found


def _product(line: Linear, constant: Linear) -> Linear:
    by = constant.base
    return Linear(_EXACT.multiply(line.slope, by), _EXACT.multiply(line.base, by))


def _nodes(node: Expr) -> Iterator[Expr]:
    yield node
    for child, _ in children(node):
        yield from _nodes(child)
