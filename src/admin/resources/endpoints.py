"""Endpoints: clients register them; people may too, and may delete those that are no more."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from admin.aip.etags import ensure_same
from admin.aip.fields import TIMES, FieldType
from admin.applying import Applying
from admin.resources.shared import (
    Found,
    Listing,
    Page,
    Patch,
    Write,
    gone,
    missing,
    model_of,
    replayed,
    taken,
    there,
)
from admin.turns import Turns
from usageflow.domain.applications import Route
from usageflow.domain.changes import Action, Cause
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.listing import Comparison, Operator, Order, Query
from usageflow.domain.templates import canonical_template
from usageflow.domain.usage import EndpointName
from usageflow.storage.notices import ChangeNotices
from usageflow.storage.ports import Application
from usageflow.storage.resources import EndpointRow, ResourceStore, Stamp

KIND = "endpoint"

_FIELDS = {
    "name": FieldType.TEXT,
    "method": FieldType.TEXT,
    "template": FieldType.TEXT,
    "number": FieldType.NUMBER,
    **TIMES,
}
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")


class Endpoints:
    """The Resources of endpoints, named ``METHOD template``. There is nothing in them to update."""

    def __init__(
        self, applying: Applying, store: ResourceStore, notices: ChangeNotices, turns: Turns
    ) -> None:
        self._applying = applying
        self._store = store
        self._notices = notices
        self._turns = turns

    async def get(self, application: str, name: str) -> Found:
        """See Resources."""
        found = await self._before(await self._applying.find(application), _route(name))
        if found is None:
            raise missing(KIND, name)
        return found

    async def list(self, application: str, listing: Listing) -> Page:
        """See Resources."""
        owner = await self._applying.find(application)
        query, mark = listing.query(_FIELDS, f"{application}/endpoints")
        found = [_found(row) for row in await self._store.list_endpoints(owner.application_id, query)]
        places = [tuple(_PLACES[order.field](each) for order in query.order) for each in found]
        return Page.of(found, places, query.limit, mark)

    async def create(self, application: str, fields: Mapping[str, Any], write: Write) -> Found:
        """See Resources."""
        route = _route(model_of(Route, fields, KIND).name)

        def check(found: Found | None) -> None:
            if found is not None and not found.deleted:
                raise taken(found)

        return await self._write(application, route, check, self._store.put_endpoint, write, Action.CREATED)

    async def update(self, application: str, name: str, patch: Patch, write: Write) -> Found:
        """See Resources. An endpoint has nothing but its name."""
        return await self.get(application, name)

    async def delete(self, application: str, name: str, write: Write) -> Found:
        """See Resources. A client that still has the route brings it back when it registers next."""

        def check(found: Found | None) -> None:
            found = there(found, KIND, name)
            ensure_same(write.etag, found.etag, found.title)

        drop = self._store.drop_endpoint
        return await self._write(application, _route(name), check, drop, write, Action.DELETED)

    async def undelete(self, application: str, name: str, write: Write) -> Found:
        """See Resources."""

        def check(found: Found | None) -> None:
            found = gone(found, KIND, name)
            ensure_same(write.etag, found.etag, found.title)

        put = self._store.put_endpoint
        return await self._write(application, _route(name), check, put, write, Action.UNDELETED)

    async def _write(
        self,
        application: str,
        route: EndpointName,
        check: Callable[[Found | None], None],
        carry_out: Callable[..., Awaitable[EndpointRow]],
        write: Write,
        action: Action,
    ) -> Found:
        owner = await self._applying.find(application)

        async def attempt() -> Found:
            before = await self._before(owner, route)
            if before is not None and await replayed(self._store, write.cause):
                return before
            check(before)
            if write.validate_only:
                return before or Found(KIND, _title(route), route, Stamp(0, 0, 0))
            cause: Cause = write.doing(action, KIND, _title(route))
            found = _found(await carry_out(owner.application_id, route, cause=cause))
            self._notices.publish()
            return found

        return await self._turns.take(owner.application_id, attempt)

    async def _before(self, owner: Application, route: EndpointName) -> Found | None:
        one = Comparison("name", Operator.EQUAL, _title(route))
        query = Query((Order("name"),), 1, one, show_deleted=True)
        rows = await self._store.list_endpoints(owner.application_id, query)
        return _found(rows[0]) if rows else None


_PLACES: Mapping[str, Callable[[Found], Any]] = {
    "name": lambda found: found.name,
    "method": lambda found: found.item.method,
    "template": lambda found: found.item.template,
    "number": lambda found: found.number,
    "create_time": lambda found: found.stamp.created_us,
    "update_time": lambda found: found.stamp.updated_us,
    "delete_time": lambda found: found.stamp.deleted_us,
}


def _route(name: str) -> EndpointName:
    """Returns the route of a name. Raises InvalidArgument (field ``name``)."""
    method, _, template = name.partition(" ")
    if not _METHOD.fullmatch(method) or not template:
        message = f"{name[:100]!r} is no method and template"
        raise InvalidArgument.of("name", message, "write such as `GET /users/{id}`")
    try:
        return EndpointName(method.upper(), canonical_template(template))
    except InvalidArgument as error:
        first = error.faults[0]
        raise InvalidArgument.of("name", first.message, first.fix) from None


def _title(route: EndpointName) -> str:
    return f"{route.method} {route.template}"


def _found(row: EndpointRow) -> Found:
    return Found(KIND, _title(row.endpoint), row.endpoint, row.stamp, row.number)
