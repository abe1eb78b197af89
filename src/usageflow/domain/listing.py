"""What a list is asked for: a condition, an order and a place to go on. Parsers make them, stores and use-cases carry them out.

Fields are paths such as ``match.path``. Values are text, int, bool or, for instants, int (Unix time in microseconds).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Value: TypeAlias = str | int | bool | None


class Operator(StrEnum):
    """How a field is compared. HAS: text holds it, of a list an item is it, anything else equals it; ``*`` alone: it is not empty."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    HAS = ":"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field beside a value. ``wild``: asterisks in the value stand for any text."""

    field: str
    operator: Operator
    value: Value
    wild: bool = False


@dataclass(frozen=True, slots=True)
class Every:
    """All of these hold; of none, it holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of these holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Negated:
    """This does not hold."""

    part: Condition


Condition: TypeAlias = Comparison | Every | Some | Negated

EVERYTHING = Every(())


@dataclass(frozen=True, slots=True)
class Order:
    """A field to sort by. What is missing comes first, last where ``descending``."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Which items, in which order, how many, and after which: ``after`` holds the last item's value for each order.

    The last order is the field that names an item, so that no two items are at one place.
    """

    order: tuple[Order, ...]
    limit: int
    condition: Condition = EVERYTHING
    after: tuple[Value, ...] = ()
    show_deleted: bool = False
