"""What differs between two policy sets: by resource, and inside it by field. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from usageflow.domain.changes import Action
from usageflow.domain.declared import Declared
from usageflow.domain.policies import PolicySet


class Absent:
    """Stands for a field that is not there."""


ABSENT = Absent()


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field that differs: its path in the words of files, and its values as JSON has them, ABSENT where there is none."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of one resource; ``fields`` are those of one that is UPDATED."""

    action: Action
    kind: str
    name: str
    fields: tuple[FieldDifference, ...] = ()


def differences(before: PolicySet, after: PolicySet) -> Iterator[Difference]:
    """Yields what differs: strategies, then policies, then plans, each by name."""
    yield from _of_kind("strategy", before.strategies, after.strategies)
    yield from _of_kind("policy", before.policies, after.policies)
    yield from _of_kind("plan", before.plans, after.plans)


def field_differences(before: Declared | None, after: Declared | None) -> tuple[FieldDifference, ...]:
    """Returns the fields that differ between two resources; lists are compared item by item."""
    return tuple(_between("", _document(before), _document(after)))


def _of_kind(kind: str, before: Iterable[Any], after: Iterable[Any]) -> Iterator[Difference]:
    old = {item.name: item for item in before}
    new = {item.name: item for item in after}
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield Difference(Action.DELETED, kind, name)
        elif name not in old:
            yield Difference(Action.CREATED, kind, name)
        elif old[name] != new[name]:
            yield Difference(Action.UPDATED, kind, name, field_differences(old[name], new[name]))


def _document(item: Declared | None) -> Any:
    return {} if item is None else item.model_dump(mode="json", by_alias=True)


def _between(path: str, before: Any, after: Any) -> Iterator[FieldDifference]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            inner = f"{path}.{key}" if path else key
            yield from _between(inner, before.get(key, ABSENT), after.get(key, ABSENT))
    elif _is_list(before) and _is_list(after):
        for index in range(max(len(before), len(after))):
            yield from _between(f"{path}[{index}]", _item(before, index), _item(after, index))
    else:
        yield FieldDifference(path, before, after)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _item(values: Sequence[Any], index: int) -> Any:
    return values[index] if index < len(values) else ABSENT
