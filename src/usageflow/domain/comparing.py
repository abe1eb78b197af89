"""What differs between two states of a resource, field by field. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Plain = Mapping[str, Any]
"""A resource as files spell it: texts, numbers, flags, lists and mappings."""

_UNNAMED = "default"


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field that differs. ``path`` is such as ``limits[hourly].limit``: items that have names go by them, the others by
    their place. ``before`` and ``after`` are as files spell them, None where there is nothing.
    """

    path: str
    before: Any
    after: Any


def differences(before: Plain, after: Plain) -> tuple[FieldDifference, ...]:
    """Returns the fields that differ, in the order of ``before``, then what is new. O(size of both)."""
    return tuple(_of_mappings("", before, after))


def _of_mappings(path: str, before: Plain, after: Plain) -> Iterator[FieldDifference]:
    for key in dict.fromkeys((*before, *after)):
        below = f"{path}.{key}" if path else key
        yield from _of_values(below, before.get(key), after.get(key))


def _of_values(path: str, before: Any, after: Any) -> Iterator[FieldDifference]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _of_mappings(path, before, after)
    elif _holds_mappings(before) and _holds_mappings(after):
        known, wanted = _keyed(before), _keyed(after)
        if known is None or wanted is None:
            known, wanted = dict(enumerate(before)), dict(enumerate(after))
        for key in dict.fromkeys((*known, *wanted)):
            yield from _of_values(f"{path}[{key}]", known.get(key), wanted.get(key))
        if list(known) != list(wanted) and known == wanted:
            yield FieldDifference(path, list(known), list(wanted))  # the same items in another order
    else:
        yield FieldDifference(path, before, after)


def _holds_mappings(value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _keyed(items: Sequence[Plain]) -> dict[Any, Any] | None:
    """Returns items by what tells them apart, None where nothing does."""
    keys = [_key_of(item) for item in items]
    return dict(zip(keys, items, strict=True)) if len(set(keys)) == len(keys) and None not in keys else None


def _key_of(item: Plain) -> str | None:
    """Returns how an item is called: limits by name, overrides by policy, limit and identity; sources have no names."""
    if "policy" in item:
        parts = (item["policy"], item.get("limit_name", _UNNAMED), item.get("identity", ""))
        return " ".join(filter(None, parts))
    if "in" in item or "join" in item or "kty" in item:
        return None
    return str(item.get("name", _UNNAMED))
