"""The port behind the standard methods of resources and behind revisions: what ControlStore holds, with times and versions,
deleted things too. Policies, customers and blocks are written through ControlStore.change.

Writes here take a ``cause`` as ControlStore's do. Those that compare a version raise FailedPrecondition (reason CHANGED_MEANWHILE)
where it is another, and NotFound where there is no such thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from usageflow.domain.applications import ApplicationSettings
from usageflow.domain.changes import Cause
from usageflow.domain.customers import Customer
from usageflow.domain.errors import AlreadyExists
from usageflow.domain.listing import Query
from usageflow.domain.policies import Block
from usageflow.domain.usage import EndpointName
from usageflow.storage.ports import Application


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a resource was made, changed and deleted (None: it is there), in Unix microseconds, and its version: for strategies,
    policies and plans the revision that last changed it.
    """

    created_us: int
    updated_us: int
    version: int
    deleted_us: int | None = None


class DeclaredKind(StrEnum):
    """What a revision holds."""

    STRATEGY = "strategy"
    POLICY = "policy"
    PLAN = "plan"


@dataclass(frozen=True, slots=True)
class DeclaredRow:
    """What revisions do not tell of a resource; ``document`` is its JSON where it is deleted."""

    kind: DeclaredKind
    name: str
    stamp: Stamp
    document: str = ""


@dataclass(frozen=True, slots=True)
class DeclaredRows:
    """All strategies, policies and plans of an application at one instant, deleted ones too."""

    application: Application
    rows: Sequence[DeclaredRow]


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer as it is stored; a deleted one as it was."""

    customer: Customer
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block as it is stored."""

    block_id: str
    block: Block
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """A route, its number, and when it was first and last registered."""

    endpoint: EndpointName
    number: int
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class ApplicationRow:
    """An application with its settings."""

    application: Application
    settings: ApplicationSettings
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """A revision without what it holds."""

    revision: int
    created_us: int
    author: str
    author_id: str
    message: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """A request that was carried out under an id: which one, and what it changed."""

    method: str
    payload_hash: bytes
    application_id: str
    resource_id: str
    revision: int

    def ensure_of(self, cause: Cause) -> None:
        """Raises AlreadyExists (REQUEST_ID_REUSED) where the request that was carried out is another one."""
        if (self.method, self.payload_hash) != (cause.method, cause.payload_hash):
            message = f"the request id {cause.request_id!r} belongs to another request: send a new one"
            raise AlreadyExists(message, reason="REQUEST_ID_REUSED")


class ResourceStore(Protocol):
    """Resources as people look at them."""

    async def declared(self, application_id: str) -> DeclaredRows:
        """Returns strategies, policies and plans, by kind and name. Raises NotFound."""

    async def list_customers(self, application_id: str, query: Query) -> Sequence[CustomerRow]:
        """Returns customers. Fields are name, plan, stripe_customer, identity (a hash, 64 hex digits; equal only), create_time, update_time and
        delete_time. Raises InvalidArgument for others.
        """

    async def customer_rows(self, application_id: str, names: Sequence[str]) -> Mapping[str, CustomerRow]:
        """Returns those of these customers that there are or were, by name."""

    async def blocks(self, application_id: str) -> Sequence[BlockRow]:
        """Returns all blocks by id, deleted ones too."""

    async def list_endpoints(self, application_id: str, query: Query) -> Sequence[EndpointRow]:
        """Returns endpoints. Fields are name, method, template, number, create_time, update_time and delete_time."""

    async def put_endpoint(self, application_id: str, endpoint: EndpointName, *, cause: Cause) -> EndpointRow:
        """Registers an endpoint, or brings a deleted one back, and raises plan_version where that changes anything."""

    async def drop_endpoint(
        self, application_id: str, endpoint: EndpointName, *, cause: Cause
    ) -> EndpointRow:
        """Deletes an endpoint and raises plan_version. Raises NotFound where it is not there."""

    async def list_applications(self, query: Query) -> Sequence[ApplicationRow]:
        """Returns applications. Fields are name, capture, retention_days, decision_log_percent, create_time, update_time, delete_time."""

    async def application_row(self, name: str) -> ApplicationRow | None:
        """Returns an application by name, deleted or not."""

    async def change_application(
        self, application_id: str, settings: ApplicationSettings, *, deleted: bool, version: int, cause: Cause
    ) -> ApplicationRow:
        """Makes an application's settings these, deletes it or brings it back; ``version`` is the one that its changer saw. A deleted
        application is in no plan_versions, is not found by name, and its API keys are unknown.
        """

    async def revisions(
        self, application_id: str, *, before: int | None, limit: int
    ) -> Sequence[RevisionRow]:
        """Returns revisions below ``before`` (None: all), newest first."""

    async def revision(self, application_id: str, name: str) -> RevisionRow | None:
        """Returns the revision of that number or tag."""

    async def tag(self, application_id: str, revision: int, tag: str, *, cause: Cause) -> RevisionRow:
        """Gives a revision a tag, which another one loses. Raises NotFound."""

    async def untag(self, application_id: str, tag: str, *, cause: Cause) -> RevisionRow:
        """Takes a tag away and returns the revision that it was on. Raises NotFound."""

    async def receipt(self, actor_id: str, request_id: str) -> Receipt | None:
        """Returns the receipt of a request that this actor sent under this id and that changed something."""

    async def purge(self, *, revisions_us: int, deleted_us: int, receipts_us: int) -> int:
        """Forgets what is older than these instants: revisions that are neither tagged nor in force, what was deleted (strategies,
        policies, plans, customers' last state, blocks) and receipts. Returns how many rows went.
        """
