"""What the revision in force holds, parsed once for everybody who looks."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from admin.resources.in_memory import Lists
from admin.resources.shared import Found
from usageflow.domain.policies import CustomerPlan, Policy, PolicySet, Strategy
from usageflow.storage.ports import Application, SnapshotSource
from usageflow.storage.resources import DeclaredKind, DeclaredRow, ResourceStore, Stamp

MODELS: dict[DeclaredKind, type[Strategy | Policy | CustomerPlan]] = {
    DeclaredKind.STRATEGY: Strategy,
    DeclaredKind.POLICY: Policy,
    DeclaredKind.PLAN: CustomerPlan,
}

_REMEMBERED = 64

Key = tuple[DeclaredKind, str]


@dataclass(frozen=True)
class Declaration:
    """A revision's strategies, policies and plans, with times; what is deleted is read where somebody asks for it."""

    application: Application
    policies: PolicySet
    present: Mapping[DeclaredKind, Mapping[str, Found]]
    gone: Mapping[Key, DeclaredRow]
    lists: Lists = field(default_factory=Lists, compare=False, repr=False)

    def deleted(self, kind: DeclaredKind, name: str) -> Found | None:
        """Returns a deleted resource as it was."""
        row = self.gone.get((kind, name))
        return None if row is None else _as_it_was(row)

    @cached_property
    def every(self) -> Mapping[DeclaredKind, list[Found]]:
        """Returns all resources by kind, deleted ones too, by name."""
        gone = [_as_it_was(row) for row in self.gone.values()]
        return {
            kind: sorted(
                [*found.values(), *(each for each in gone if each.kind == kind)], key=lambda each: each.name
            )
            for kind, found in self.present.items()
        }


class Declarations:
    """Declarations by application, each at the newest revision that was asked for: revisions never change."""

    def __init__(self, source: SnapshotSource, store: ResourceStore) -> None:
        self._source = source
        self._store = store
        self._known: OrderedDict[str, Declaration] = OrderedDict()

    async def of(self, application: Application, policies: PolicySet | None = None) -> Declaration:
        """Returns what is in force, at ``application``'s revision or a later one. ``policies`` are that revision's, where the caller has
        them. Raises NotFound.
        """
        known = self._known.get(application.application_id)
        if known is not None and known.application.revision == application.revision:
            return known
        rows = await self._store.declared(application.application_id)
        now = rows.application
        if policies is None or now.revision != application.revision:
            policies = await self._source.policies_at(now.application_id, now.revision) or PolicySet()
        made = await asyncio.to_thread(_declaration, now, policies, rows.rows)
        self._known[now.application_id] = made
        self._known.move_to_end(now.application_id)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return made


def _declaration(application: Application, policies: PolicySet, rows: Iterable[DeclaredRow]) -> Declaration:
    stamps: dict[Key, Stamp] = {}
    gone: dict[Key, DeclaredRow] = {}
    for row in rows:
        if row.stamp.deleted_us is None:
            stamps[row.kind, row.name] = row.stamp
        else:
            gone[row.kind, row.name] = row
    unknown = Stamp(0, 0, application.revision)
    items: dict[DeclaredKind, tuple[Strategy | Policy | CustomerPlan, ...]] = {
        DeclaredKind.STRATEGY: policies.strategies,
        DeclaredKind.POLICY: policies.policies,
        DeclaredKind.PLAN: policies.plans,
    }
    present = {
        kind: {
            item.name: Found(kind.value, item.name, item, stamps.get((kind, item.name), unknown))
            for item in sorted(declared, key=lambda item: item.name)
        }
        for kind, declared in items.items()
    }
    return Declaration(application, policies, present, gone)


def _as_it_was(row: DeclaredRow) -> Found:
    return Found(row.kind.value, row.name, MODELS[row.kind].model_validate_json(row.document), row.stamp)
