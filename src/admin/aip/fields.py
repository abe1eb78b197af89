"""Which fields a kind of resource has for filters and orders, and what type each is of."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from enum import Enum, StrEnum
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from usageflow.domain.errors import InvalidArgument


class FieldType(StrEnum):
    """What a field's values are. INSTANT and WINDOW are microseconds; NODE has fields of its own."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    CHOICE = "choice"
    INSTANT = "instant"
    WINDOW = "window"
    NODE = "node"


TIMES = {
    "create_time": FieldType.INSTANT,
    "update_time": FieldType.INSTANT,
    "delete_time": FieldType.INSTANT,
}
"""What every resource has."""

_INSTANTS, _WINDOWS = {"anchor_us", "expires_us"}, {"window_us"}

Fields = Mapping[str, FieldType]


def fields_of(model: type[BaseModel], extra: Mapping[str, FieldType] = TIMES) -> Fields:
    """Returns the paths of a model's fields, as files spell them, with those in ``extra``."""
    found = dict(_walk(model, "", 0))
    return {**found, **extra}


def known(fields: Fields, path: str, where: str) -> FieldType:
    """Returns a field's type. Raises InvalidArgument under ``where``, naming the nearest field."""
    if path in fields:
        return fields[path]
    near = difflib.get_close_matches(path[:100], fields, n=1)
    fix = f"did you mean {near[0]!r}?" if near else f"fields are {', '.join(sorted(fields))}"
    raise InvalidArgument.of(where, f"there is no field {path[:100]!r}", fix, "UNKNOWN_FIELD")


def _walk(model: type[BaseModel], prefix: str, depth: int) -> Iterable[tuple[str, FieldType]]:
    for name, info in model.model_fields.items():
        path = prefix + (info.alias or name)
        inner = _inner(info.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield path, FieldType.NODE
            if depth < 2:  # a source may join sources: they are as deep as anybody looks
                yield from _walk(inner, f"{path}.", depth + 1)
        else:
            yield path, _type_of(name, inner)


def _inner(annotation: Any) -> Any:
    """Returns what a field holds, without the list, None or bounds around it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple or hasattr(annotation, "__metadata__"):
        return _inner(arguments[0])
    if origin in (Union, types.UnionType):
        return _inner(next(each for each in arguments if each is not type(None)))
    return annotation


def _type_of(name: str, inner: Any) -> FieldType:
    if name in _INSTANTS:
        return FieldType.INSTANT
    if name in _WINDOWS:
        return FieldType.WINDOW
    if inner is bool:
        return FieldType.FLAG
    if inner is int:
        return FieldType.NUMBER
    return FieldType.CHOICE if isinstance(inner, type) and issubclass(inner, Enum) else FieldType.TEXT
