"""Lists of what is in memory anyway: conditions and orders over models."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel

from admin.aip.fields import Fields
from admin.resources.shared import Found, Listing, Page
from usageflow.domain.listing import Comparison, Condition, Every, Negated, Operator, Order, Some, Value

Reader = Callable[[Found], list[Any]]
"""Returns the values of a field: several where it stands in a list."""

_STAMPS: dict[str, Reader] = {
    "create_time": lambda found: [found.stamp.created_us],
    "update_time": lambda found: [found.stamp.updated_us],
    "delete_time": lambda found: [found.stamp.deleted_us],
    "revision": lambda found: [found.stamp.version],
    "id": lambda found: [found.name],
}


def page_of(
    items: Iterable[Found],
    listing: Listing,
    fields: Fields,
    model: type[BaseModel],
    scope: str,
    last: str = "name",
) -> Page:
    """Returns a page of items, which are in the order of what names them. Raises InvalidArgument."""
    query, mark = listing.query(fields, scope, last)
    keys = [_reader(model, each.field) for each in query.order]
    holds = _predicate(query.condition, model)

    def place(found: Found) -> tuple[Value, ...]:
        return tuple(_first(read(found)) for read in keys)

    matching = (each for each in items if (query.show_deleted or not each.deleted) and holds(each))
    chosen = _chosen(matching, place, query.order, query.after, query.limit, named=last)
    return Page.of(chosen, [place(each) for each in chosen], query.limit, mark)


def _chosen(
    matching: Iterator[Found],
    place: Callable[[Found], tuple[Value, ...]],
    order: Sequence[Order],
    after: tuple[Value, ...],
    limit: int,
    *,
    named: str,
) -> list[Found]:
    start = _sort_key(order, after) if after else None
    keyed = ((_sort_key(order, place(each)), each) for each in matching)
    behind = ((key, each) for key, each in keyed if start is None or start < key)
    if [(each.field, each.descending) for each in order] == [(named, False)]:
        return [each for _, (_, each) in zip(range(limit), behind, strict=False)]
    return [each for _, each in heapq.nsmallest(limit, behind, key=lambda pair: pair[0])]


class _Down:
    """A value that sorts the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Down) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Down) and bool(other.value == self.value)

    def __hash__(self) -> int:
        return hash(self.value)


def _sort_key(order: Sequence[Order], place: Sequence[Value]) -> tuple[Any, ...]:
    """Returns what sorts a place: what is missing comes first, last where descending."""
    values = ((value is not None, value if value is not None else 0) for value in place)
    return tuple(
        _Down(value) if each.descending else value for each, value in zip(order, values, strict=True)
    )


def _first(values: list[Any]) -> Value:
    value = values[0] if values else None
    return value.value if isinstance(value, Enum) else value


def _predicate(condition: Condition, model: type[BaseModel]) -> Callable[[Found], bool]:
    if isinstance(condition, Every):
        parts = [_predicate(part, model) for part in condition.parts]
        return lambda found: all(part(found) for part in parts)
    if isinstance(condition, Some):
        parts = [_predicate(part, model) for part in condition.parts]
        return lambda found: any(part(found) for part in parts)
    if isinstance(condition, Negated):
        part = _predicate(condition.part, model)
        return lambda found: not part(found)
    return _comparison(condition, model)


def _comparison(comparison: Comparison, model: type[BaseModel]) -> Callable[[Found], bool]:
    read = _reader(model, comparison.field)
    if comparison.operator is Operator.UNEQUAL:
        equal = _judge(Operator.EQUAL, comparison.value, wild=comparison.wild)
        return lambda found: not any(equal(value) for value in read(found))
    judge = _judge(comparison.operator, comparison.value, wild=comparison.wild)
    return lambda found: any(judge(value) for value in read(found))


_ORDERED: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.LESS: lambda value, wanted: value < wanted,
    Operator.LESS_OR_EQUAL: lambda value, wanted: value <= wanted,
    Operator.GREATER: lambda value, wanted: value > wanted,
    Operator.GREATER_OR_EQUAL: lambda value, wanted: value >= wanted,
}


def _judge(operator: Operator, wanted: Any, *, wild: bool) -> Callable[[Any], bool]:
    if operator in _ORDERED:
        compare = _ORDERED[operator]
        return lambda value: value is not None and compare(value, wanted)
    if wild and operator is Operator.HAS and wanted == "*":
        return lambda value: value is not None and value not in ("", ())
    if wild:
        pieces = str(wanted).split("*")
        return lambda value: isinstance(value, str) and _fits(value, pieces)
    if operator is Operator.HAS and isinstance(wanted, str):
        return lambda value: value == wanted or (type(value) is str and wanted in value)
    return lambda value: value == wanted


def _fits(text: str, pieces: Sequence[str]) -> bool:
    """Tells whether a text is these pieces with anything in between, in linear time."""
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        position = text.find(piece, position, end)
        if position < 0:
            return False
        position += len(piece)
    return True


def _reader(model: type[BaseModel], path: str) -> Reader:
    if path in _STAMPS and path not in model.model_fields:
        return _STAMPS[path]
    steps = _attributes(path)
    if len(steps) == 1:
        (name,) = steps
        return lambda found: _spread(getattr(found.item, name))
    return lambda found: _walked(found.item, steps)


def _attributes(path: str) -> list[str]:
    """Returns the attributes that a path in the words of files stands for; aliases are the same wherever they occur."""
    return [_SPELLED.get(step, step) for step in path.split(".")]


_SPELLED = {
    "in": "location",
    "window": "window_us",
    "anchor": "anchor_us",
    "expires": "expires_us",
    "from": "token",
}


def _walked(item: Any, steps: Sequence[str]) -> list[Any]:
    values = [item]
    for step in steps:
        values = [inner for value in values if value is not None for inner in _spread(getattr(value, step))]
    return values


def _spread(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]
