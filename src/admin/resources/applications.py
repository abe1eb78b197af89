"""Applications: their settings, and whether they are there at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from admin.aip.etags import ensure_same
from admin.aip.fields import TIMES, fields_of
from admin.aip.masks import merged
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
from admin.turns import Turns
from usageflow.domain.applications import ApplicationSettings
from usageflow.domain.changes import Action
from usageflow.domain.errors import AlreadyExists, FailedPrecondition
from usageflow.storage.notices import ChangeNotices
from usageflow.storage.ports import ControlStore
from usageflow.storage.resources import ApplicationRow, ResourceStore, Stamp

KIND = "application"

_FIELDS = fields_of(ApplicationSettings, TIMES)
_MASK = fields_of(ApplicationSettings, {})

Change = Callable[[Found], ApplicationSettings]
"""Returns an application's settings afterwards."""


class Applications:
    """The Resources of applications. The ``application`` that its methods take is not used: they have names."""

    def __init__(
        self, control: ControlStore, store: ResourceStore, notices: ChangeNotices, turns: Turns
    ) -> None:
        self._control = control
        self._store = store
        self._notices = notices
        self._turns = turns

    async def get(self, application: str, name: str) -> Found:
        """See Resources."""
        return _found(await self._row(name))

    async def list(self, application: str, listing: Listing) -> Page:
        """See Resources."""
        query, mark = listing.query(_FIELDS, "applications")
        found = [_found(row) for row in await self._store.list_applications(query)]
        places = [tuple(_place(each, order.field) for order in query.order) for each in found]
        return Page.of(found, places, query.limit, mark)

    async def create(self, application: str, fields: Mapping[str, Any], write: Write) -> Found:
        """See Resources. It has no keys yet."""
        settings = model_of(ApplicationSettings, fields, KIND)
        present = await self._store.application_row(settings.name)
        if present is not None and await replayed(self._store, write.cause):
            return _found(present)
        if present is not None:
            raise taken(_found(present)) if present.stamp.deleted_us is None else _undelete_it(settings.name)
        if write.validate_only:
            return Found(KIND, settings.name, settings, Stamp(0, 0, 0))
        await self._create(settings, write)
        return _found(await self._row(settings.name))

    async def update(self, application: str, name: str, patch: Patch, write: Write) -> Found:
        """See Resources."""

        def change(found: Found) -> ApplicationSettings:
            present = found.item.model_dump(mode="json")
            return model_of(ApplicationSettings, merged(present, patch.fields, patch.paths, _MASK), KIND)

        return await self._write(name, change, write, Action.UPDATED)

    async def delete(self, application: str, name: str, write: Write) -> Found:
        """See Resources. Its keys stop working."""
        return await self._write(name, _as_it_is, write, Action.DELETED)

    async def undelete(self, application: str, name: str, write: Write) -> Found:
        """See Resources. Everything is back as it was."""
        return await self._write(name, _as_it_is, write, Action.UNDELETED)

    async def _create(self, settings: ApplicationSettings, write: Write) -> None:
        cause = write.doing(Action.CREATED, KIND, settings.name)
        try:
            made = await self._control.create_application(settings.name, [], cause=cause)
        except FailedPrecondition as error:
            if error.reason != "ALREADY_EXISTS":
                raise
            raise AlreadyExists(str(error)) from None
        if settings != ApplicationSettings(name=settings.name):
            again = replace(write.doing(Action.UPDATED, KIND, settings.name), request_id="")
            await self._store.change_application(
                made.application_id, settings, deleted=False, version=1, cause=again
            )
        self._notices.publish()

    async def _write(self, name: str, change: Change, write: Write, action: Action) -> Found:
        async def attempt() -> Found:
            row = await self._row(name)
            found = _found(row)
            if await replayed(self._store, write.cause):
                return found
            if action is Action.UNDELETED and not found.deleted:
                raise not_deleted(found)
            if action is not Action.UNDELETED and found.deleted:
                raise missing(KIND, name)
            ensure_same(write.etag, found.etag, found.title)
            settings = change(found)
            if write.validate_only or (action is Action.UPDATED and settings == found.item):
                return replace(found, item=settings)
            changed = await self._store.change_application(
                row.application.application_id,
                settings,
                deleted=action is Action.DELETED,
                version=row.stamp.version,
                cause=write.doing(action, KIND, name),
            )
            self._notices.publish()
            return _found(changed)

        return await self._turns.take(f"applications/{name}", attempt)

    async def _row(self, name: str) -> ApplicationRow:
        row = await self._store.application_row(name)
        if row is None:
            raise missing(KIND, name)
        return row


def _as_it_is(found: Found) -> ApplicationSettings:
    settings: ApplicationSettings = found.item
    return settings


def _place(found: Found, field: str) -> Any:
    times = {
        "create_time": found.stamp.created_us,
        "update_time": found.stamp.updated_us,
        "delete_time": found.stamp.deleted_us,
    }
    if field in times:
        return times[field]
    value = getattr(found.item, field)
    return getattr(value, "value", value)


def _found(row: ApplicationRow) -> Found:
    return Found(KIND, row.application.name, row.settings, row.stamp, row.application.revision)


def _undelete_it(name: str) -> AlreadyExists:
    message = f"the application {name!r} was deleted: bring it back, or choose another name"
    return AlreadyExists(message, reason="DELETED")
