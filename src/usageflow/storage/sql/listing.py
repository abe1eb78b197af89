"""Lists in SQL: a Query over the columns that fields stand for. Pages are found by key, never by offset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, func, not_, or_, true

from usageflow.domain.errors import InvalidArgument
from usageflow.domain.listing import (
    Comparison,
    Condition,
    Every,
    Negated,
    Operator,
    Order,
    Query,
    Some,
    Value,
)

Columns = Mapping[str, ColumnElement[Any]]
Special = Callable[[Comparison], ColumnElement[bool] | None]
"""Returns the clause of a comparison that a plain column cannot carry out, None for the others."""

_COMPARE: dict[Operator, Callable[[ColumnElement[Any], Value], ColumnElement[bool]]] = {
    Operator.EQUAL: lambda column, value: column == value,
    Operator.HAS: lambda column, value: column == value,  # of numbers
    Operator.UNEQUAL: lambda column, value: or_(column != value, column.is_(None)),
    Operator.LESS: lambda column, value: column < value,
    Operator.LESS_OR_EQUAL: lambda column, value: column <= value,
    Operator.GREATER: lambda column, value: column > value,
    Operator.GREATER_OR_EQUAL: lambda column, value: column >= value,
}


def paged(
    statement: Select[Any], query: Query, columns: Columns, special: Special = lambda _: None
) -> Select[Any]:
    """Returns the statement with condition, order, place and limit of a query."""
    statement = statement.where(_clause(query.condition, columns, special))
    if query.after:
        statement = statement.where(_after(query.order, query.after, columns))
    return statement.order_by(*_orders(query.order, columns)).limit(query.limit)


def _clause(condition: Condition, columns: Columns, special: Special) -> ColumnElement[bool]:
    if isinstance(condition, Every):
        return and_(true(), *(_clause(part, columns, special) for part in condition.parts))
    if isinstance(condition, Some):
        return or_(false(), *(_clause(part, columns, special) for part in condition.parts))
    if isinstance(condition, Negated):
        # Without the coalesce a comparison with NULL would hold neither this way nor the other.
        return not_(func.coalesce(_clause(condition.part, columns, special), false()))
    clause = special(condition)
    return _comparison(condition, _column(condition.field, columns)) if clause is None else clause


def _comparison(comparison: Comparison, column: ColumnElement[Any]) -> ColumnElement[bool]:
    if comparison.operator is Operator.HAS and isinstance(comparison.value, str) and not comparison.wild:
        return _holds(column, comparison.value)
    if not comparison.wild:
        return _COMPARE[comparison.operator](column, comparison.value)
    matching = _matching(column, str(comparison.value))
    return not_(matching) if comparison.operator is Operator.UNEQUAL else matching


def _matching(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    """Returns the clause of a pattern with asterisks at its ends. LIKE would be blind to case in SQLite and not in PostgreSQL."""
    text = pattern.strip("*")
    if not text:
        return and_(column.is_not(None), column != "")
    if "*" in text:
        message = f"{pattern[:100]!r} has an asterisk in the middle"
        raise InvalidArgument.of(
            "filter", message, "write asterisks at the beginning and the end only", "FILTER"
        )
    if pattern.startswith("*") and pattern.endswith("*"):
        return _holds(column, text)
    if pattern.startswith("*"):
        ending = func.substr(column, func.length(column) - len(text) + 1)
        return and_(func.length(column) >= len(text), ending == text)
    return func.substr(column, 1, len(text)) == text


def _holds(column: ColumnElement[Any], part: str) -> ColumnElement[bool]:
    return func.replace(column, part, "") != column if part else column.is_not(None)


def _after(order: tuple[Order, ...], after: tuple[Value, ...], columns: Columns) -> ColumnElement[bool]:
    """Returns the clause of all that stands behind a place: beyond it in one field, level with it in those before."""
    clauses: list[ColumnElement[bool]] = []
    level: list[ColumnElement[bool]] = []
    for each, value in zip(order, after, strict=True):
        column = _column(each.field, columns)
        clauses.append(and_(*level, _beyond(column, value, descending=each.descending)))
        level.append(column.is_(None) if value is None else column == value)
    return or_(*clauses)


def _beyond(column: ColumnElement[Any], value: Value, *, descending: bool) -> ColumnElement[bool]:
    if value is None:
        return false() if descending else column.is_not(None)
    return or_(column < value, column.is_(None)) if descending else column > value


def _orders(order: tuple[Order, ...], columns: Columns) -> list[ColumnElement[Any]]:
    sorted_by: list[ColumnElement[Any]] = []
    for each in order:
        column = _column(each.field, columns)
        ordered = column.desc() if each.descending else column.asc()
        if getattr(column, "nullable", False):  # said of no other: it would keep an index from being used
            ordered = ordered.nulls_last() if each.descending else ordered.nulls_first()
        sorted_by.append(ordered)
    return sorted_by


def _column(field: str, columns: Columns) -> ColumnElement[Any]:
    if field not in columns:
        fix = f"use one of {', '.join(sorted(columns))}"
        raise InvalidArgument.of("filter", f"{field[:100]!r} cannot be asked for here", fix, "UNKNOWN_FIELD")
    return columns[field]
