"""Alert rules and the destinations of their messages: one class for both, which differ in what they check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from admin.aip.etags import ensure_same
from admin.aip.fields import TIMES, FieldType
from admin.aip.fields import fields_of as paths_of
from admin.aip.masks import merged
from admin.applying import Applying
from admin.resources.in_memory import page_of
from admin.resources.shared import Found, Listing, Page, Patch, Write, gone, model_of, replayed, taken
from admin.turns import Turns
from usageflow.domain.alerts import (
    AlertDestination,
    AlertKind,
    AlertRule,
    destination_faults,
    rule_faults,
)
from usageflow.domain.changes import Action
from usageflow.domain.errors import FailedPrecondition, Fault, InvalidArgument, NotFound
from usageflow.domain.quotas import watched_limits
from usageflow.storage.alerts import AlertBook, AlertResource, AlertRow
from usageflow.storage.ports import Application, ControlStore
from usageflow.storage.resources import ResourceStore, Stamp

_FIXED = ("name", "secret_version", "rotated_us", "disabled_reason")
_COMPARED = ("name", "kind", "type", "endpoint", "policy", "customer", "severity", "enabled")

Item = AlertRule | AlertDestination
Change = Callable[[Found | None], Item | None]
"""Returns what is stored afterwards, None where it goes."""


class AlertResources:
    """The Resources of rules, or of destinations."""

    def __init__(
        self,
        kind: AlertResource,
        applying: Applying,
        control: ControlStore,
        book: AlertBook,
        store: ResourceStore,
        turns: Turns,
        new_id: Callable[[], str],
        *,
        allow_http: bool,
    ) -> None:
        self._kind = kind
        self._model: type[Item] = AlertRule if kind is AlertResource.RULE else AlertDestination
        self._field = f"alert_{kind}"
        self._title = f"alert {kind}"
        self._fields = {
            name: type_
            for name, type_ in paths_of(self._model, {}).items()
            if name in _COMPARED and type_ is not FieldType.NODE
        } | TIMES
        self._applying = applying
        self._control = control
        self._book = book
        self._store = store
        self._turns = turns
        self._new_id = new_id
        self._allow_http = allow_http

    async def get(self, application: str, name: str) -> Found:
        """See Resources."""
        owner = await self._applying.find(application)
        return self._found(await self._present(owner, name))

    async def row(self, application: str, name: str) -> tuple[str, AlertRow]:
        """Returns one that is not deleted, with its application's id. Raises NotFound."""
        owner = await self._applying.find(application)
        row = await self._present(owner, name)
        if row.stamp.deleted_us is not None:
            raise self._missing(name)
        return owner.application_id, row

    async def list(self, application: str, listing: Listing) -> Page:
        """See Resources."""
        owner = await self._applying.find(application)
        rows = await self._book.alert_rows(self._kind, owner.application_id)
        scope = f"{application}/{self._field}"
        return page_of([self._found(row) for row in rows], listing, self._fields, self._model, scope)

    async def create(self, application: str, fields: Mapping[str, Any], write: Write) -> Found:
        """See Resources."""
        item = model_of(self._model, fields, self._field)

        def change(found: Found | None) -> Item:
            if found is not None and not found.deleted:
                raise taken(found)
            return item

        return await self._write(application, item.name, change, write, Action.CREATED)

    async def update(self, application: str, name: str, patch: Patch, write: Write) -> Found:
        """See Resources. An address that is sent as answers show it stays as it is."""

        def change(found: Found | None) -> Item:
            if (found is None or found.deleted) and write.allow_missing and not write.etag:
                return model_of(self._model, {**patch.fields, "name": name}, self._field)
            found = self._there(found, name)
            ensure_same(write.etag, found.etag, found.title)
            return self._patched(found.item, patch)

        return await self._write(application, name, change, write, Action.UPDATED)

    async def change(self, application: str, name: str, make: Callable[[Item], Item], write: Write) -> Found:
        """Changes one in a way that no field mask can say. Raises as ``update`` does."""

        def change(found: Found | None) -> Item:
            found = self._there(found, name)
            ensure_same(write.etag, found.etag, found.title)
            return make(found.item)

        return await self._write(application, name, change, write, Action.UPDATED)

    async def delete(self, application: str, name: str, write: Write) -> Found:
        """See Resources. A destination that rules name stays."""

        def change(found: Found | None) -> None:
            found = self._there(found, name)
            ensure_same(write.etag, found.etag, found.title)

        return await self._write(application, name, change, write, Action.DELETED)

    async def undelete(self, application: str, name: str, write: Write) -> Found:
        """See Resources."""

        def change(found: Found | None) -> Item:
            if found is None:
                raise self._missing(name)
            found = gone(found, self._title, name)
            ensure_same(write.etag, found.etag, found.title)
            item: Item = found.item
            return item

        return await self._write(application, name, change, write, Action.UNDELETED)

    def _patched(self, item: Item, patch: Patch) -> Item:
        present = item.model_dump(mode="json", by_alias=True)
        fields = dict(patch.fields)
        if isinstance(item, AlertDestination) and fields.get("url") == item.shown_url:
            fields["url"] = item.url
        mask = paths_of(self._model, {})
        after = merged(present, fields, patch.paths, mask, fixed=_FIXED)
        if after.get("enabled", True):
            after.pop("disabled_reason", None)
        return model_of(self._model, after, self._field)

    async def _write(
        self, application: str, name: str, change: Change, write: Write, action: Action
    ) -> Found:
        owner = await self._applying.find(application)

        async def attempt() -> Found:
            if await replayed(self._store, write.cause):
                return self._found(await self._present(owner, name))
            row = await self._row(owner, name)
            before = self._found(row) if row is not None else None
            wanted = change(before)
            if before is not None and not before.deleted and wanted == before.item:
                return before
            await self._ensure_fits(owner, name, wanted)
            if write.validate_only:
                stamp = before.stamp if before is not None else Stamp(0, 0, 0)
                return Found(self._title, name, wanted or (before and before.item), stamp)
            await self._save(owner, wanted, row, write, action)
            return self._found(await self._present(owner, name))

        return await self._turns.take(f"{owner.application_id}/{self._field}", attempt)

    async def _save(
        self, owner: Application, wanted: Item | None, row: AlertRow | None, write: Write, action: Action
    ) -> None:
        item = wanted if wanted is not None else row.item if row is not None else None
        if item is None:
            return
        anew = row is None or (action is not Action.UNDELETED and row.stamp.deleted_us is not None)
        done = Action.CREATED if anew else action
        await self._book.put_alert_row(
            self._kind,
            owner.application_id,
            self._new_id() if anew or row is None else row.row_id,
            item,
            deleted=wanted is None,
            version=0 if row is None else row.stamp.version,
            cause=write.doing(done, self._field, item.name),
        )

    async def _ensure_fits(self, owner: Application, name: str, wanted: Item | None) -> None:
        """Raises InvalidArgument for what does not fit, FailedPrecondition for a destination that rules need."""
        faults: list[Fault] = []
        if isinstance(wanted, AlertRule):
            faults += rule_faults(wanted)
            faults += await self._rule_faults(owner, wanted)
        elif isinstance(wanted, AlertDestination):
            faults += destination_faults(wanted, allow_http=self._allow_http)
        elif self._kind is AlertResource.DESTINATION:
            await self._ensure_unused(owner, name)
        if faults:
            raise InvalidArgument([fault.under(self._field) for fault in faults])

    async def _rule_faults(self, owner: Application, rule: AlertRule) -> Sequence[Fault]:
        faults: list[Fault] = []
        rows = await self._book.alert_rows(AlertResource.DESTINATION, owner.application_id)
        there = {row.item.name for row in rows if row.stamp.deleted_us is None}
        for index, each in enumerate(rule.destinations):
            if each not in there:
                fix = "create it first: `usageflow alerts destinations create`"
                faults.append(Fault(f"destinations[{index}]", f"there is no {each!r}", fix))
        if rule.kind is AlertKind.QUOTA and rule.policy:
            policies = (await self._control.load(owner.application_id)).policies.policies
            if not any(watched_limits(owner.application_id, policies, rule)):
                message = "has no limit that can be watched under these names"
                fix = "name an enforced policy with a FIXED_WINDOW limit of an hour or more"
                faults.append(Fault("policy", message, fix, "NOT_WATCHED"))
        return faults

    async def _ensure_unused(self, owner: Application, name: str) -> None:
        rows = await self._book.alert_rows(AlertResource.RULE, owner.application_id)
        users = [
            row.item.name
            for row in rows
            if isinstance(row.item, AlertRule)
            and row.stamp.deleted_us is None
            and name in row.item.destinations
        ]
        if users:
            message = f"the alert destination {name!r} is named by the rules {', '.join(users[:5])}: change these first"
            raise FailedPrecondition(message, reason="IN_USE")

    async def _row(self, owner: Application, name: str) -> AlertRow | None:
        rows = await self._book.alert_rows(self._kind, owner.application_id)
        return next((row for row in rows if row.item.name == name), None)

    async def _present(self, owner: Application, name: str) -> AlertRow:
        row = await self._row(owner, name)
        if row is None:
            raise self._missing(name)
        return row

    def _there(self, found: Found | None, name: str) -> Found:
        if found is None or found.deleted:
            raise self._missing(name)
        return found

    def _missing(self, name: str) -> NotFound:
        message = f"there is no {self._title} {name[:64]!r}: see `usageflow alerts {self._kind}s list`"
        return NotFound(message, reason=f"{self._field.upper()}_NOT_FOUND")

    def _found(self, row: AlertRow) -> Found:
        return Found(self._title, row.item.name, row.item, row.stamp)
