"""Lists of what is in memory anyway: conditions and orders over models."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any, get_origin

from pydantic import BaseModel

from admin.aip.fields import Fields
from admin.resources.shared import Found, Listing, Page
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

Reader = Callable[[Found], Sequence[Any]]
"""Returns the values of a field: several where it stands in a list, none where what holds it is not there."""

_REMEMBERED = 8

One = Callable[[Found], Any]
"""Returns the value of a field that every item has once."""

_STAMPS = {
    "create_time": "stamp.created_us",
    "update_time": "stamp.updated_us",
    "delete_time": "stamp.deleted_us",
    "revision": "stamp.version",
    "id": "name",
}


class Lists:
    """Whole lists of things that never change, in their order: the pages of one question are cut from one list."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, list[Found]] = OrderedDict()

    def of(self, question: Hashable, make: Callable[[], list[Found]]) -> list[Found]:
        """Returns what a question yields, made at most once while it is remembered."""
        if question not in self._known:
            self._known[question] = make()
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(question)
        return self._known[question]


def page_of(
    items: Iterable[Found],
    listing: Listing,
    fields: Fields,
    model: type[BaseModel],
    scope: str,
    last: str = "name",
    lists: Lists | None = None,
) -> Page:
    """Returns a page of items, which are in the order of what names them. ``lists`` are those of items that never change. Raises
    InvalidArgument.
    """
    query, mark = listing.query(fields, scope, last)
    place = _place(query.order, model)
    question = (scope, query.condition, query.order, query.show_deleted)
    found = (lists or Lists()).of(question, lambda: _matching(items, query, model, last))
    first = 0
    if query.after:
        behind = _sort_key(query.order, query.after)
        first = bisect_right(found, behind, key=lambda each: _sort_key(query.order, place(each)))
    chosen = found[first : first + query.limit]
    return Page.of(chosen, [place(each) for each in chosen], query.limit, mark)


def _matching(items: Iterable[Found], query: Query, model: type[BaseModel], last: str) -> list[Found]:
    """Returns all that a query yields, sorted by one field after the other, the least important first: sorting is stable, and they come
    in the order of ``last``.
    """
    holds = _predicate(query.condition, model)
    if query.show_deleted:
        found = [each for each in items if holds(each)]
    else:
        found = [each for each in items if each.stamp.deleted_us is None and holds(each)]
    for order in reversed(query.order):
        if order != Order(last):
            found.sort(key=_key(order.field, model), reverse=order.descending)
    return found


def _key(field: str, model: type[BaseModel]) -> Callable[[Found], Any]:
    one = _one(model, field)
    if one is not None and field != "delete_time":
        return one
    read = _reader(model, field)

    def key(found: Found) -> tuple[bool, Any]:
        value = _first(read(found))
        return value is not None, value if value is not None else 0

    return key


def _place(order: Sequence[Order], model: type[BaseModel]) -> Callable[[Found], tuple[Value, ...]]:
    readers = [_reader(model, each.field) for each in order]
    return lambda found: tuple(_first(read(found)) for read in readers)


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


def _first(values: Sequence[Any]) -> Value:
    value = values[0] if values else None
    return value.value if isinstance(value, Enum) else value


def _predicate(condition: Condition, model: type[BaseModel]) -> Callable[[Found], bool]:
    if isinstance(condition, Every):
        return _every([_predicate(part, model) for part in condition.parts])
    if isinstance(condition, Some):
        return _some([_predicate(part, model) for part in condition.parts])
    if isinstance(condition, Negated):
        part = _predicate(condition.part, model)
        return lambda found: not part(found)
    return _comparison(condition, model)


# Loops, not all() and any(): each question is asked 10,000 times, and a generator costs more than the question.
def _every(parts: Sequence[Callable[[Found], bool]]) -> Callable[[Found], bool]:
    def holds(found: Found) -> bool:
        for part in parts:  # noqa: SIM110
            if not part(found):
                return False
        return True

    return holds


def _some(parts: Sequence[Callable[[Found], bool]]) -> Callable[[Found], bool]:
    def holds(found: Found) -> bool:
        for part in parts:  # noqa: SIM110
            if part(found):
                return True
        return False

    return holds


def _comparison(comparison: Comparison, model: type[BaseModel]) -> Callable[[Found], bool]:
    unequal = comparison.operator is Operator.UNEQUAL
    operator = Operator.EQUAL if unequal else comparison.operator
    judge = _judge(operator, comparison.value, wild=comparison.wild)
    one = _one(model, comparison.field)
    if one is not None:
        return (lambda found: not judge(one(found))) if unequal else (lambda found: judge(one(found)))
    read = _reader(model, comparison.field)

    def holds(found: Found) -> bool:
        for value in read(found):
            if judge(value):
                return not unequal
        return unequal

    return holds


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
        if len(pieces) == 2 and not pieces[1]:
            return lambda value: isinstance(value, str) and value.startswith(pieces[0])
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


_SPELLED = {
    "in": "location",
    "window": "window_us",
    "anchor": "anchor_us",
    "expires": "expires_us",
    "from": "token",
}
"""Aliases, which are the same wherever they occur."""


def _reader(model: type[BaseModel], path: str) -> Reader:
    one = _one(model, path)
    if one is not None:
        return lambda found: (one(found),)
    steps = [_SPELLED.get(step, step) for step in path.split(".")]
    if len(steps) == 2:  # nearly all are of this form, and this is asked of every item
        return _two_steps(*map(attrgetter, steps))
    return lambda found: _walked(found.item, steps)


def _two_steps(outer: Callable[[Any], Any], inner: Callable[[Any], Any]) -> Reader:
    def read(found: Found) -> Sequence[Any]:
        held = outer(found.item)
        if isinstance(held, tuple):
            values = [inner(each) for each in held]
        else:
            values = [] if held is None else [inner(held)]
        if values and isinstance(values[0], tuple):
            return [value for part in values for value in part]
        return values

    return read


def _one(model: type[BaseModel], path: str) -> One | None:
    """Returns the getter of a field that stands in no list and in nothing that may be missing, None for others."""
    if path in _STAMPS and path not in model.model_fields:
        return attrgetter(_STAMPS[path])
    steps, holder = [], model
    for step in path.split("."):
        name = _SPELLED.get(step, step)
        annotation: Any = holder.model_fields[name].annotation
        steps.append(name)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            holder = annotation
        elif get_origin(annotation) is not None:
            return None
    return attrgetter(".".join(["item", *steps]))


def _walked(item: Any, steps: Sequence[str]) -> list[Any]:
    values = [item]
    for step in steps:
        found: list[Any] = []
        for value in values:
            inner = getattr(value, step) if value is not None else ()
            found += inner if isinstance(inner, tuple) else [inner]
        values = found
    return values
