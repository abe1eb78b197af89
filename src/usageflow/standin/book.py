"""All that the stand-in knows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from usageflow.standin.clock import Clock
from usageflow.standin.errors import invalid, missing
from usageflow.standin.idempotency import IdempotencyKeys

Object = dict[str, Any]
"""An object of the API, as it is answered."""

_MOST = 100


@dataclass
class Book:
    """Objects by kind and id, in the order that they were made, and meter events beside them."""

    clock: Clock = field(default_factory=Clock)
    account: str = "acct_standin"
    keys: IdempotencyKeys = field(default_factory=IdempotencyKeys)
    lag_s: float = 0.0
    """How long meter events take to show up in summaries."""

    due_s: int = 0
    """When the next period ends or the next draft becomes final: nothing has to be looked at before."""

    denied: set[str] = field(default_factory=set)
    """API keys that are refused, by their last characters."""

    forbidden: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Paths that a restricted key may not use, by key."""

    rate: int = 0
    """Requests per second and key before they are refused; 0 for any number."""

    sessions: dict[str, int] = field(default_factory=dict)
    """When sessions for streams of meter events end, by token."""

    kinds: dict[str, dict[str, Object]] = field(default_factory=dict)
    events: list[Object] = field(default_factory=list)
    identifiers: dict[str, Object] = field(default_factory=dict)
    notices: list[Object] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def all(self, kind: str) -> dict[str, Object]:
        """Returns the objects of a kind by id."""
        return self.kinds.setdefault(kind, {})

    def new_id(self, prefix: str) -> str:
        """Returns an id that nothing has."""
        return f"{prefix}_{next(self._numbers):014d}"

    def put(self, kind: str, prefix: str, fields: Object) -> Object:
        """Stores a new object; ``fields`` may bring its id. Raises StripeError where there is one."""
        made: Object = {
            "id": self.new_id(prefix),
            "object": kind,
            "created": self.clock.now_s(),
            "livemode": False,
        }
        made |= fields
        name = str(made["id"])
        if name in self.all(kind):
            raise invalid(f"{kind.capitalize()} already exists.", "id", "resource_already_exists")
        self.all(kind)[name] = made
        return made

    def get(self, kind: str, name: str) -> Object:
        """Returns an object. Raises StripeError."""
        found = self.all(kind).get(name)
        if found is None:
            raise missing(kind, name)
        return found

    def page(self, kind: str, params: Mapping[str, Any], url: str, fits: Iterable[Object]) -> Object:
        """Returns a page of objects that come in the order they were made: newest first, as ``limit`` and ``starting_after`` say."""
        found = list(fits)[::-1]
        after = params.get("starting_after")
        if after is not None:
            ids = [each["id"] for each in found]
            if after not in ids:
                raise missing(kind, after)
            found = found[ids.index(after) + 1 :]
        limit = whole(params, "limit", 10, most=_MOST)
        return {"object": "list", "url": url, "has_more": len(found) > limit, "data": found[:limit]}


def whole(params: Mapping[str, Any], name: str, default: int | None = None, *, most: int = 2**53) -> int:
    """Returns a parameter that is a whole number from 0. Raises StripeError."""
    text = params.get(name)
    if text is None or text == "":
        if default is None:
            raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
        return default
    if not (str(text).isascii() and str(text).isdecimal()) or int(text) > most:
        raise invalid(f"Invalid integer: {str(text)[:40]}", name, "parameter_invalid_integer")
    return int(text)


def required(params: Mapping[str, Any], name: str) -> Any:
    """Returns a parameter that must be there. Raises StripeError."""
    found = params.get(name)
    if found in (None, ""):
        raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
    return found


def table(params: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Returns a parameter that is an object; empty where it is not there. Raises StripeError."""
    found = params.get(name, {})
    if not isinstance(found, dict):
        raise invalid(f"Invalid object: {name}", name)
    return found
