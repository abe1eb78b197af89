"""From a request's facts to the values that an expression's variables have. Only what it reads is looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from usageflow.domain.expressions import Facts
from usageflow.domain.identity import BODY_JSON, PATH_PARAMETER, Identity
from usageflow.domain.sources import Location
from usageflow.expressions._environment import CONDITIONS, METADATA, QUANTITY, STATUS, Vocabulary
from usageflow.expressions._reading import Entry, field_of

MAX_VALUES = 256
"""Members of all lists and objects of the body that one expression reads: its loops run that often at most."""

MAX_DEPTH = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MISSING = object()


class TooLarge(ValueError):
    """A field of the body holds more than an expression may look at."""


def _identity_value(identity: Identity | None) -> str:
    """Returns the plain value, or ``h:`` and 64 hex digits; "" for nobody in particular."""
    if identity is None or identity.anonymous:
        return ""
    return identity.key.removeprefix("v:")


SCALAR_VALUES: Mapping[str, Callable[[Facts], object]] = {
    "request.method": lambda facts: facts.endpoint.method,
    "request.path": lambda facts: facts.path,
    "request.route": lambda facts: facts.endpoint.template,
    "request.client_ip": lambda facts: facts.client_ip,
    "request.time": lambda facts: _EPOCH + timedelta(microseconds=facts.time_us),
    "identity.value": lambda facts: _identity_value(facts.identity),
    "identity.anonymous": lambda facts: facts.identity is None or facts.identity.anonymous,
    QUANTITY: lambda facts: facts.usage.quantity,
    STATUS: lambda facts: facts.usage.status,
    "identity.verified": lambda facts: facts.identity is not None and facts.identity.verified,
}


def bindings(
    scalars: Iterable[str], entries: Iterable[Entry], facts: Facts, vocabulary: Vocabulary = CONDITIONS
) -> dict[str, object]:
    """Returns a value per variable. Raises TooLarge; InvalidArgument for a raw path that cannot be normalised."""
    maps: dict[str, dict[str, object]] = {}
    room = MAX_VALUES
    for entry in entries:
        values = maps.setdefault(entry.variable, {})
        if entry.variable in vocabulary.trees:
            value = _field(entry.key[1], facts) if vocabulary.blank else reported(entry, facts)
            room -= _place(values, entry, value, room)
        elif vocabulary.blank:
            values[entry.names[0]] = facts.text(entry.key)
        elif isinstance(text := reported(entry, facts), str):
            values[entry.names[0]] = text
    return {name: SCALAR_VALUES[name](facts) for name in scalars} | maps


def reported(entry: Entry, facts: Facts) -> object:
    """Returns what a report says of an entry, MISSING for nothing: captured fields stand under their path, of the application's own
    metadata the path leads there.
    """
    if entry.key[0] == PATH_PARAMETER:
        return facts.text(entry.key) or MISSING
    if entry.variable != METADATA:
        return facts.usage.metadata.get(field_of(entry), MISSING)
    found: object = facts.usage.metadata
    for name in entry.names:
        found = found.get(name, MISSING) if isinstance(found, dict) else MISSING
    return found


def _place(tree: dict[str, Any], entry: Entry, value: object, room: int) -> int:
    """Puts a field where it belongs, below empty objects, so that ``has`` finds these; returns how many values it holds."""
    for name in entry.names[:-1]:
        tree = tree.setdefault(name, {})
    if value is MISSING:
        return 0
    tree[entry.names[-1]] = value
    return _count(value, room)


def _field(path: str, facts: Facts) -> object:
    """Returns a field's value by its JSON text, or as the text that callers by name may send instead."""
    text = facts.text((BODY_JSON, path))
    if not text:
        return facts.text((str(Location.BODY), path)) or MISSING
    try:
        # JSON does not tell 3 from 3.0, so every number is a double, as CEL says.
        return json.loads(text, parse_int=float, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return MISSING


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _count(value: object, room: int) -> int:
    """Returns the members of lists and objects, at any depth. Raises TooLarge beyond ``room``."""
    count = 0
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [each for item in level for each in _members(item)]
        count += len(level)
        if count > room:
            break
        if not level:
            return count
    message = f"what it reads of the body holds over {MAX_VALUES} values or {MAX_DEPTH} levels"
    raise TooLarge(message)


def _members(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
