"""The ports between the services and the stores. The docstrings are the contract; tests/contract runs it on every
back end. All times are Unix time, in the unit that the name says. An ``application_id`` is the stored id, never the name.

A store that does not answer raises usageflow.domain.errors.Unavailable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from usageflow.domain.applications import Capture
from usageflow.domain.changes import Cause
from usageflow.domain.credentials import Credential
from usageflow.domain.customers import Customer
from usageflow.domain.policies import Block, PolicySet
from usageflow.domain.releases import Release
from usageflow.domain.usage import EndpointName, ListedFailure, Outcome, PendingRow, UsageRecord
from usageflow.storage.directories import Directories, DirectorySource


@dataclass(frozen=True, slots=True)
class Application:
    """An application. ``plan_version`` rises with every change that decisions or plans depend on. Of 100 callers
    ``decision_log_percent`` have their decisions logged. Minutes of its usage are kept for ``retention_days``.
    """

    application_id: str
    name: str
    revision: int
    plan_version: int
    decision_log_percent: int = 0
    capture: Capture = Capture.STANDARD
    retention_days: int = 36


class NumberKind(StrEnum):
    """What a number names."""

    ENDPOINT = "ENDPOINT"
    POLICY = "POLICY"
    ATTRIBUTE = "ATTRIBUTE"


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """All that decisions and plans of one application are made from, read in one transaction.

    ``numbers`` maps (kind, name) to the number; an endpoint's name is ``METHOD template``.
    """

    application: Application
    policies: PolicySet
    blocks: tuple[Block, ...]
    numbers: Mapping[tuple[NumberKind, str], int]
    endpoints: tuple[EndpointName, ...]


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What a change makes of an application. ``policies`` None leaves the revision as it is; ``names`` get numbers;
    customers come by hash and go by name. ``message`` says what the next revision is for. ``customer_versions`` are those that the
    changer saw, 0 for none.
    """

    policies: PolicySet | None
    blocks_upserted: tuple[Block, ...]
    blocks_deleted: tuple[Block, ...]
    names: tuple[tuple[NumberKind, str], ...]
    customers_upserted: tuple[Customer, ...] = ()
    customers_deleted: tuple[str, ...] = ()
    message: str = ""
    customer_versions: Mapping[str, int] = field(default_factory=dict)

    @property
    def moves_plan(self) -> bool:
        """Tells whether plans and decisions have to be made anew: customers alone only move the directory."""
        return self.policies is not None or bool(self.blocks_upserted or self.blocks_deleted or self.names)


@dataclass(frozen=True, slots=True)
class Versions:
    """How far an application has come: the versions of its plan and of its directory of customers."""

    plan: int
    directory: int = 0


class SnapshotSource(DirectorySource, Protocol):
    """What decisions are made from, to read. It is a part of ControlStore, and all that an edge replica has."""

    async def find_application(self, name: str) -> Application | None:
        """Returns the application of that name."""

    async def versions(self) -> Mapping[str, Versions]:
        """Returns the versions of every application by id: the poll of 250 ms, so it must stay one cheap query."""

    async def plan_versions(self) -> Mapping[str, int]:
        """Returns the plan half of ``versions``."""

    async def load(self, application_id: str) -> ApplicationState:
        """Returns the state at one instant. Raises NotFound."""

    async def policies_at(self, application_id: str, revision: int) -> PolicySet | None:
        """Returns the policy set of a revision, None where there is no such revision (any more)."""


class CredentialSource(Protocol):
    """Who may call: the part of ControlStore that authentication reads."""

    async def find_credential(self, secret_hash: bytes) -> Credential | None:
        """Returns the credential whose secret has this SHA-256, revoked and expired ones too; none of a deleted application."""


class ControlStore(SnapshotSource, CredentialSource, Directories, Protocol):
    """Applications, credentials, revisions, blocks, numbers and the directory of customers."""

    async def create_application(
        self, name: str, credentials: Sequence[Credential], *, cause: Cause
    ) -> Application:
        """Creates an application, at revision 0 with an empty policy set, and its credentials (their application_id
        is filled in for API keys), in one transaction with the audit entries of ``cause``.

        Raises FailedPrecondition (reason ALREADY_EXISTS) where the name is taken.
        """

    async def change(
        self, application_id: str, change: ChangeSet, *, cause: Cause, expected_plan_version: int | None
    ) -> Application:
        """Carries out a change in one transaction; ``policies`` set makes the next revision. What moves the plan raises
        plan_version; a change of customers raises the version of the directory. The audit log gets an entry per change that
        ``cause`` names.

        A block's key is (methods, path, identity). Names that have a number keep it; numbers rise from 1 per
        application and kind and are never reused. Raises FailedPrecondition (reason CHANGED_MEANWHILE) where the plan version
        or a customer's version is another (None: whatever it is, of a change that does not move the plan), where an identity would belong to a second customer and where a customer would be left on a plan that the
        next revision does not have; NotFound for an unknown application. A customer who is deleted or changed gives up
        identities before any other customer gets them. Where ``cause`` has a request_id its receipt is stored; one that is there already is
        CHANGED_MEANWHILE too.
        """

    async def register_endpoints(
        self,
        application_id: str,
        endpoints: Sequence[EndpointName],
        *,
        now_us: int,
        release: Release | None = None,
    ) -> Sequence[int]:
        """Returns a number per endpoint, in order; new ones are stored and raise plan_version, once for the call;
        known ones only get a new last-seen time, and deleted ones come back. Idempotent.

        ``release`` is said to have these endpoints, where there are any. Releases are as new as their first sight: one that registers
        again after a newer one stays the older.
        """

    async def sight_endpoints(
        self, application_id: str, endpoints: Sequence[EndpointName], *, now_us: int, most: int
    ) -> Sequence[EndpointName]:
        """Stores endpoints that reports named and nobody registered, and returns those that are new; they raise plan_version, once for
        the call. Deleted ones stay deleted; beyond ``most`` such endpoints of the application nothing is stored. Raises NotFound.
        """

    async def api_keys(self, application_id: str) -> Sequence[Credential]:
        """Returns the API keys of an application that are not revoked, in order of their ids; none for an unknown one."""


class UsageStore(Protocol):
    """Reported usage, exactly once."""

    async def ingest(
        self, groups: Sequence[tuple[str, Sequence[UsageRecord]]]
    ) -> Sequence[Sequence[Outcome]]:
        """Stores records of (application_id, records) groups in one transaction and returns an outcome per record.

        A new id: its event and deltas are appended, ACCEPTED. An id that was stored before, or stands earlier in the same
        call: DUPLICATE with an equal payload hash, CONFLICT with another; nothing is added. Returns only after the commit is
        durable; after an error nothing of the call is stored.
        """

    async def pending(
        self, application_id: str, pseudonyms: Collection[int] | None = None
    ) -> Sequence[PendingRow]:
        """Returns unclaimed metering deltas summed per (endpoint, policy, price), most units first: those of everybody, or of these
        pseudonyms (IdentityStore).
        """

    async def metering_failures(
        self, application_id: str, *, before: int, limit: int
    ) -> Sequence[ListedFailure]:
        """Returns at most ``limit`` failures of metering expressions, newest first: those with a row id below ``before``, all with
        0.
        """


@dataclass(frozen=True, slots=True)
class WindowState:
    """A live fixed window: units used of the window that began at ``start_us`` and ends at ``end_us``, as they were at
    ``at_us`` of the counters' clock.
    """

    key: str
    start_us: int
    end_us: int
    used: int
    at_us: int = 0


class CheckpointStore(Protocol):
    """Long windows on disk, so that a quota outlives a restart."""

    async def save_windows(self, windows: Sequence[WindowState]) -> None:
        """Stores states in one transaction; of each key the one with the latest ``start_us``, then ``at_us``, stays, whoever saved
        it: several processes see the same counters.
        """

    async def load_windows(self, *, now_us: int) -> Sequence[WindowState]:
        """Returns every window that has not ended."""

    async def drop_ended(self, *, now_us: int) -> int:
        """Deletes every window that has ended; returns how many there were."""
