"""What differs between two policy sets: by resource, and inside it by field. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from usageflow.domain import comparing
from usageflow.domain.changes import Action
from usageflow.domain.comparing import FieldDifference, Plain
from usageflow.domain.declared import Declared
from usageflow.domain.policies import PolicySet


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
    """Returns the fields that differ between two resources."""
    return comparing.differences(_document(before), _document(after))


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


def _document(item: Declared | None) -> Plain:
    return {} if item is None else item.model_dump(mode="json", by_alias=True, exclude_defaults=True)
