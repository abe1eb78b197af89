"""What the standard methods of all kinds share: what they take and return, and requests that carry an id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from admin.aip.etags import etag_of
from admin.aip.fields import Fields, FieldType
from admin.aip.filtering import parse_filter
from admin.aip.ordering import parse_order
from admin.aip.paging import fingerprint, make_token, page_size, read_token
from usageflow.domain.changes import Action, Cause, Change
from usageflow.domain.declared import Declared, faults_of
from usageflow.domain.errors import AlreadyExists, InvalidArgument, NotFound
from usageflow.domain.listing import Query, Value
from usageflow.storage.resources import ResourceStore, Stamp

Model = TypeVar("Model", bound=Declared)

_TYPES: dict[FieldType, type] = {
    FieldType.FLAG: bool,
    FieldType.NUMBER: int,
    FieldType.INSTANT: int,
    FieldType.WINDOW: int,
}


@dataclass(frozen=True, slots=True)
class Found:
    """A resource as it is, or was before it was deleted. ``number`` is an endpoint's, or the revision of an application."""

    kind: str
    name: str
    item: Any
    stamp: Stamp
    number: int = 0

    @property
    def etag(self) -> str:
        """Returns another text for each change."""
        stamp = self.stamp
        return etag_of(self.kind, self.name, stamp.created_us, stamp.version, stamp.deleted_us)

    @property
    def deleted(self) -> bool:
        """Tells whether it is gone."""
        return self.stamp.deleted_us is not None

    @property
    def title(self) -> str:
        """Names it in messages."""
        return f"the {self.kind} {self.name!r}"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list is asked for, as it was sent."""

    page_size: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: str = ""
    show_deleted: bool = False

    def query(self, fields: Fields, scope: str, last: str = "name") -> tuple[Query, str]:
        """Returns the query, for one item more than a page holds, and its fingerprint. Raises InvalidArgument."""
        size = page_size(self.page_size)
        order = parse_order(self.order_by, fields, last=last)
        condition = parse_filter(self.filter, fields)
        mark = fingerprint(scope, self.filter, self.order_by, self.show_deleted)
        after = read_token(self.page_token, mark, [_TYPES.get(fields[each.field], str) for each in order])
        return Query(order, size + 1, condition, after, self.show_deleted), mark


@dataclass(frozen=True, slots=True)
class Page:
    """Some resources, and the token of the next page, empty where this is the last."""

    items: tuple[Found, ...]
    next_page_token: str = ""

    @classmethod
    def of(cls, items: Sequence[Found], places: Sequence[tuple[Value, ...]], limit: int, mark: str) -> Page:
        """Returns the page of what a query with that limit yielded, one item more than it holds."""
        if len(items) < limit:
            return cls(tuple(items))
        return cls(tuple(items[: limit - 1]), make_token(mark, places[limit - 2]))


@dataclass(frozen=True, slots=True)
class Write:
    """How something is to be written. ``message`` says what a revision is for."""

    cause: Cause
    etag: str = ""
    validate_only: bool = False
    allow_missing: bool = False
    message: str = ""

    def doing(self, action: Action, kind: str, name: str, resource_id: str = "") -> Cause:
        """Returns the cause of one change."""
        return replace(self.cause, changes=(Change(action, kind, name, resource_id),))


@dataclass(frozen=True, slots=True)
class Patch:
    """New fields, and which of them count: paths such as ``match.path``, or ``*`` for all."""

    fields: Mapping[str, Any]
    paths: tuple[str, ...]


class Resources(Protocol):
    """The standard methods of one kind. ``name`` is a block's id. All raise NotFound, InvalidArgument and Unavailable; those that write
    raise Aborted where the etag is another, and AlreadyExists where a name or a request's id is taken.
    """

    async def get(self, application: str, name: str) -> Found:
        """Returns a resource, deleted or not."""

    async def list(self, application: str, listing: Listing) -> Page:
        """Returns a page."""

    async def create(self, application: str, fields: Mapping[str, Any], write: Write) -> Found:
        """Makes a resource of these fields."""

    async def update(self, application: str, name: str, patch: Patch, write: Write) -> Found:
        """Changes some fields."""

    async def delete(self, application: str, name: str, write: Write) -> Found:
        """Deletes a resource that is there."""

    async def undelete(self, application: str, name: str, write: Write) -> Found:
        """Brings a deleted resource back."""


def model_of(model: type[Model], fields: Mapping[str, Any], prefix: str) -> Model:
    """Returns the model of these fields. Raises InvalidArgument with every fault, under ``prefix``."""
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        faults = faults_of(error, "correct it and send it again")
        raise InvalidArgument([fault.under(prefix) for fault in faults]) from None


async def replayed(store: ResourceStore, cause: Cause) -> bool:
    """Tells whether a request was carried out before. Raises AlreadyExists where its id belongs to another request."""
    if not cause.request_id:
        return False
    receipt = await store.receipt(cause.actor.credential_id, cause.request_id)
    if receipt is None:
        return False
    receipt.ensure_of(cause)
    return True


def missing(kind: str, name: str) -> NotFound:
    """Returns the error of a name that nothing has."""
    message = f"there is no {kind} {name[:64]!r}: see `usageflow {_plural(kind)} list`"
    return NotFound(message, reason=f"{kind.upper()}_NOT_FOUND")


def there(found: Found | None, kind: str, name: str) -> Found:
    """Returns a resource that is there and not deleted. Raises NotFound."""
    if found is None or found.deleted:
        raise missing(kind, name)
    return found


def gone(found: Found | None, kind: str, name: str) -> Found:
    """Returns a resource that is deleted and can be brought back. Raises NotFound and AlreadyExists."""
    if found is None:
        raise missing(kind, name)
    if not found.deleted:
        raise not_deleted(found)
    return found


def taken(found: Found) -> AlreadyExists:
    """Returns the error of a name that is taken."""
    return AlreadyExists(f"{found.title} exists already: update it, or choose another name")


def not_deleted(found: Found) -> AlreadyExists:
    """Returns the error of bringing back what is there."""
    return AlreadyExists(
        f"{found.title} is not deleted: there is nothing to bring back", reason="NOT_DELETED"
    )


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
