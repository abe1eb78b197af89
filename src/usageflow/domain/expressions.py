"""What an expression is to the domain: its text and type, what it reads, and a way to evaluate it. No library is named here:
usageflow.expressions brings CEL, and whoever composes the service hands it in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, Protocol

from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.identity import (
    BODY_JSON,
    PATH_PARAMETER,
    AttributeKey,
    Attributes,
    Identity,
    network_of,
)
from usageflow.domain.paths import normalise_path
from usageflow.domain.routes import path_of_route
from usageflow.domain.sources import Location
from usageflow.domain.usage import EndpointName

MAX_EXPRESSION = 2048
"""The longest expression, in characters."""


class ResultType(StrEnum):
    """What an expression must yield: true or false, a number, or (of what is reported) units of metered usage."""

    BOOL = "BOOL"
    NUMBER = "NUMBER"
    UNITS = "UNITS"


class Linear(NamedTuple):
    """Units that are ``slope * quantity + base``: of several requests ``slope * units + base * requests``."""

    slope: Decimal
    base: Decimal


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an expression's text; both count from 1, columns in characters."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True)
class Reads:
    """What an expression reads. ``places`` holds each attribute and where it is first read; ``path``, ``time`` and
    ``identity`` tell whether it reads these. Method and route cost nothing, so nobody needs to know. Of a metering
    expression ``fields`` are the dot paths that clients capture, and ``linear`` is set where the quantity tells everything.
    """

    places: Mapping[AttributeKey, Place] = field(default_factory=dict)
    path: bool = False
    time: bool = False
    identity: bool = False
    fields: tuple[str, ...] = ()
    linear: Linear | None = None

    @property
    def attributes(self) -> tuple[AttributeKey, ...]:
        """Returns the attributes that have to be sent, in the order of the text."""
        return tuple(self.places)

    @cached_property
    def body(self) -> bool:
        """Tells whether it reads fields of the body."""
        return any(location == BODY_JSON for location, _ in self.places)

    @cached_property
    def client_ip(self) -> bool:
        """Tells whether it reads the client's address."""
        return (str(Location.CLIENT_IP), "") in self.places

    @cached_property
    def route_only(self) -> bool:
        """Tells whether method, route and the route's values are all that it reads: what reports carry too."""
        others = any(location != PATH_PARAMETER for location, _ in self.places)
        return not (others or self.time or self.identity)

    @cached_property
    def values(self) -> bool:
        """Tells whether it reads values of the route's parameters."""
        return self.path or any(location == PATH_PARAMETER for location, _ in self.places)


@dataclass(frozen=True, slots=True)
class UsageFacts:
    """What a report says of one request that metering expressions read. ``metadata`` is JSON whose numbers are all floats."""

    quantity: float = 1.0
    status: int = 200
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What is known of a request when expressions are evaluated. ``raw_path`` is None where there is a route."""

    endpoint: EndpointName
    attributes: Attributes
    raw_path: str | None = None
    time_us: int = 0
    identity: Identity | None = None
    usage: UsageFacts = UsageFacts()

    @cached_property
    def path(self) -> str:
        """Returns the route with its values, or the normalised raw path; "" where neither is known."""
        if self.raw_path is not None:
            return normalise_path(self.raw_path)
        return path_of_route(self.endpoint.template, lambda name: self.text((PATH_PARAMETER, name)))

    @cached_property
    def client_ip(self) -> str:
        """Returns the address, an IPv6 one cut to its /64; "" where unknown."""
        return network_of(self.attributes.client_ip)

    def text(self, key: AttributeKey) -> str:
        """Returns an attribute; "" where it is missing, came twice, or came as a hash."""
        found = self.attributes.values.get(key, ())
        return found[0] if len(found) == 1 and isinstance(found[0], str) else ""


@dataclass(frozen=True, slots=True)
class EvaluationFailed:
    """Stands for the result that an expression does not have; ``message`` says why."""

    message: str


Value = bool | int | float | Decimal


class Term(Protocol):
    """A compiled expression. May be evaluated by any thread, any number of times."""

    @property
    def text(self) -> str:
        """The expression as it was written."""

    @property
    def reads(self) -> Reads:
        """What it reads."""

    def evaluate(self, facts: Facts) -> Value | EvaluationFailed:
        """Returns a value of the type that was asked for, or why there is none. Never raises."""


ExpressionCheck = Callable[[str, ResultType], Reads | Fault]
"""Tells what an expression reads, or what is wrong with it: a fault without field, its message ending in the place."""

CompileTerm = Callable[[str, ResultType], Term]
"""Compiles an expression. Raises InvalidArgument for one that the check refuses."""


def refuse_expressions(_text: str, _result: ResultType) -> Fault:
    """The check where nobody brought a language: every expression is refused."""
    return Fault("", "expressions cannot be checked here", "write a number, or leave it out")


def compile_nothing(text: str, result: ResultType) -> Term:
    """Compiles where nobody brought a language. Raises InvalidArgument."""
    raise InvalidArgument([refuse_expressions(text, result)])
