"""Strategies, policies and plans: every write is a revision, made and judged by the same code that applies whole sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from admin.aip.etags import ensure_same
from admin.aip.fields import TIMES, FieldType, fields_of
from admin.aip.masks import merged
from admin.applying import Applied, Applying
from admin.resources.declarations import MODELS, Declaration, Declarations
from admin.resources.in_memory import page_of
from admin.resources.shared import (
    Found,
    Listing,
    Page,
    Patch,
    Write,
    missing,
    model_of,
    not_deleted,
    replayed,
    taken,
)
from usageflow.domain.changes import Action
from usageflow.domain.declared import Declared
from usageflow.domain.errors import FailedPrecondition, Fault, InvalidArgument
from usageflow.domain.policies import PolicySet
from usageflow.storage.ports import Application, ApplicationState
from usageflow.storage.resources import DeclaredKind, ResourceStore, Stamp

_LISTS = {
    DeclaredKind.STRATEGY: "strategies",
    DeclaredKind.POLICY: "policies",
    DeclaredKind.PLAN: "plans",
}
_PLACE = re.compile(r"(strategies|policies|plans)\[(\d+)\]\.?")

Change = Callable[[Declaration], Declared | None]
"""Returns what becomes of the one resource, None where it goes."""


class DeclaredResources:
    """The Resources of one kind that revisions hold."""

    def __init__(
        self, kind: DeclaredKind, applying: Applying, declarations: Declarations, store: ResourceStore
    ) -> None:
        self._kind = kind
        self._model = MODELS[kind]
        self._list = _LISTS[kind]
        self._fields = fields_of(self._model, {**TIMES, "revision": FieldType.NUMBER})
        self._mask = fields_of(self._model, {})
        self._applying = applying
        self._declarations = declarations
        self._store = store

    async def get(self, application: str, name: str) -> Found:
        """See Resources."""
        return self._found(await self._now(application), name, deleted=True)

    async def list(self, application: str, listing: Listing) -> Page:
        """See Resources."""
        declaration = await self._now(application)
        items: Iterable[Found] = declaration.present[self._kind].values()
        if listing.show_deleted:
            items = declaration.every[self._kind]
        scope = f"{application}/{self._list}"
        return page_of(items, listing, self._fields, self._model, scope, lists=declaration.lists)

    async def create(self, application: str, fields: Mapping[str, Any], write: Write) -> Found:
        """See Resources."""
        item = model_of(self._model, fields, self._kind.value)

        def change(declaration: Declaration) -> Declared:
            found = declaration.present[self._kind].get(item.name)
            if found is not None:
                raise taken(found)
            return item

        return await self._write(application, item.name, change, write, Action.CREATED)

    async def update(self, application: str, name: str, patch: Patch, write: Write) -> Found:
        """See Resources."""

        def change(declaration: Declaration) -> Declared:
            found = declaration.present[self._kind].get(name)
            if found is None and write.allow_missing and not write.etag:
                return model_of(self._model, patch.fields, self._kind.value)
            found = found or self._found(declaration, name, deleted=False)
            ensure_same(write.etag, found.etag, found.title)
            present = found.item.model_dump(mode="json", by_alias=True)
            fields = merged(present, patch.fields, patch.paths, self._mask)
            return model_of(self._model, fields, self._kind.value)

        return await self._write(application, name, change, write, Action.UPDATED)

    async def delete(self, application: str, name: str, write: Write) -> Found:
        """See Resources."""

        def change(declaration: Declaration) -> None:
            found = self._found(declaration, name, deleted=False)
            ensure_same(write.etag, found.etag, found.title)

        return await self._write(application, name, change, write, Action.DELETED)

    async def undelete(self, application: str, name: str, write: Write) -> Found:
        """See Resources."""

        def change(declaration: Declaration) -> Declared:
            found = self._found(declaration, name, deleted=True)
            if not found.deleted:
                raise not_deleted(found)
            ensure_same(write.etag, found.etag, found.title)
            item: Declared = found.item
            return item

        return await self._write(application, name, change, write, Action.UNDELETED)

    async def _write(
        self, application: str, name: str, change: Change, write: Write, action: Action
    ) -> Found:
        owner = await self._applying.find(application)
        done = _Done()

        async def edit(state: ApplicationState) -> PolicySet:
            done.repeated = await replayed(self._store, write.cause)
            if done.repeated:
                return state.policies
            declaration = await self._declared(state)
            done.before, done.item = declaration, change(declaration)
            done.policies = self._edited(state.policies, name, done.item)
            return done.policies

        cause = write.doing(action, self._kind.value, name)
        try:
            applied = await self._applying.edit(
                owner, edit, cause, validate_only=write.validate_only, message=write.message
            )
        except InvalidArgument as error:
            raise InvalidArgument(
                [self._told(fault, name, done.policies) for fault in error.faults]
            ) from None
        if write.validate_only and not done.repeated:
            return self._foreseen(done, name, action)
        return await self._result(owner, applied, name, done)

    async def _result(self, owner: Application, applied: Applied, name: str, done: _Done) -> Found:
        at = replace(owner, revision=applied.revision)
        declaration = await self._declarations.of(at, None if done.repeated else done.policies)
        return self._found(declaration, name, deleted=True)

    async def _declared(self, state: ApplicationState) -> Declaration:
        declaration = await self._declarations.of(state.application, state.policies)
        if declaration.application.revision != state.application.revision:
            raise FailedPrecondition("a revision was made meanwhile", reason="CHANGED_MEANWHILE")
        return declaration

    async def _now(self, application: str) -> Declaration:
        return await self._declarations.of(await self._applying.find(application))

    def _found(self, declaration: Declaration, name: str, *, deleted: bool) -> Found:
        found = declaration.present[self._kind].get(name)
        if found is None and deleted:
            found = declaration.deleted(self._kind, name)
        if found is None:
            raise missing(self._kind.value, name)
        return found

    def _edited(self, policies: PolicySet, name: str, item: Declared | None) -> PolicySet:
        """Returns the set with the one resource put in its place, at the end where it is new, or left out."""
        items = getattr(policies, self._list)
        edited = [
            item if each.name == name else each for each in items if item is not None or each.name != name
        ]
        if item is not None and all(each.name != name for each in items):
            edited.append(item)
        return policies.model_copy(update={self._list: tuple(edited)})

    def _foreseen(self, done: _Done, name: str, action: Action) -> Found:
        """Returns what a write that was only checked would yield; its etag is the present one."""
        before = done.before
        present = None if before is None else before.present[self._kind].get(name)
        stamp = present.stamp if present is not None else Stamp(0, 0, 0)
        item = present.item if action is Action.DELETED and present is not None else done.item
        return Found(self._kind.value, name, item, stamp)

    def _told(self, fault: Fault, name: str, policies: PolicySet) -> Fault:
        """Returns a fault of the whole set in the words of the one resource: its own field, or whom it would leave wrong."""
        place = _PLACE.match(fault.field)
        if place is None:
            return fault
        items = getattr(policies, place[1])
        rest, index = fault.field[place.end() :], int(place[2])
        other = items[index].name if index < len(items) else ""
        if (place[1], other) == (self._list, name):
            return replace(fault, field=f"{self._kind.value}.{rest}" if rest else self._kind.value)
        kind = next(kind for kind, plural in _LISTS.items() if plural == place[1])
        message = f"the {kind.value} {other!r} would be wrong ({rest}: {fault.message})"
        return Fault("name", message, f"change {other!r} first, or in one `apply`", fault.reason)


class _Done:
    """What the last attempt of a write saw and made."""

    def __init__(self) -> None:
        self.before: Declaration | None = None
        self.item: Declared | None = None
        self.policies = PolicySet()
        self.repeated = False
