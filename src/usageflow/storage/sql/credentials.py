"""API keys and admin tokens in SQL: what the port offers, over the functions that work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from usageflow.domain.changes import Cause
from usageflow.domain.clock import Clock
from usageflow.domain.credentials import Credential, CredentialKind
from usageflow.domain.errors import NotFound
from usageflow.domain.listing import Query
from usageflow.storage.credentials import CredentialChange, CredentialSet
from usageflow.storage.sql import credential_rows, receipts
from usageflow.storage.sql.audit import append_entries
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.tables import APPLICATIONS, CREDENTIALS


class SqlCredentialStore:
    """The CredentialStore over SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get_credential(self, where: CredentialSet, name: str) -> Credential | None:
        """See CredentialStore."""
        condition = credential_rows.inside(where) & (CREDENTIALS.c.name == name)
        return await self._database.read(lambda connection: credential_rows.find(connection, condition))

    async def list_credentials(self, where: CredentialSet, query: Query) -> Sequence[Credential]:
        """See CredentialStore."""
        return await self._database.read(lambda connection: credential_rows.listed(connection, where, query))

    async def names_of_credentials(self, where: CredentialSet) -> frozenset[str]:
        """See CredentialStore."""
        names = select(CREDENTIALS.c.name).where(credential_rows.inside(where))
        return await self._database.read(lambda connection: frozenset(connection.scalars(names)))

    async def credential_of_request(self, cause: Cause) -> Credential | None:
        """See CredentialStore."""
        if not cause.request_id:
            return None
        return await self._database.read(lambda connection: _earlier(connection, cause))

    async def write_credentials(
        self, change: CredentialChange, *, cause: Cause, validate_only: bool = False
    ) -> tuple[Credential, bool]:
        """See CredentialStore."""
        now_us = self._clock.now_us()

        def write(connection: Connection) -> tuple[Credential, bool]:
            written = _write(connection, change, cause, now_us)
            if validate_only:
                raise _NotMeantError(written[0])
            return written

        try:
            return await self._database.write(write)
        except _NotMeantError as checked:
            return checked.credential, False

    async def record_uses(self, uses: Mapping[str, int]) -> None:
        """See CredentialUses."""
        await self._database.write(lambda connection: credential_rows.record_uses(connection, uses))


class _NotMeantError(Exception):
    """Takes back what was only to be checked."""

    def __init__(self, credential: Credential) -> None:
        super().__init__()
        self.credential = credential


def _write(
    connection: Connection, change: CredentialChange, cause: Cause, now_us: int
) -> tuple[Credential, bool]:
    about = change.about
    earlier = receipts.claim(connection, cause, about.application_id, about.credential_id, now_us)
    if earlier is not None:
        return _present(connection, earlier.resource_id), False
    if change.changed is not None:
        credential_rows.lock_owners(connection)
        credential_rows.replace(connection, change.changed)
    if change.new is not None:
        _ensure_application(connection, change.new)
        credential_rows.insert(connection, replace(change.new, created_us=now_us))
    if change.changed is not None and change.changed.kind is CredentialKind.ADMIN_TOKEN:
        credential_rows.ensure_owner_left(connection)
    append_entries(connection, cause, about.application_id, revision=0, now_us=now_us)
    return _present(connection, about.credential_id), True


def _earlier(connection: Connection, cause: Cause) -> Credential | None:
    receipt = receipts.find_same(connection, cause)
    return None if receipt is None else _present(connection, receipt.resource_id)


def _present(connection: Connection, credential_id: str) -> Credential:
    found = credential_rows.find(connection, CREDENTIALS.c.credential_id == credential_id)
    if found is None:  # rows of credentials are never deleted
        raise NotFound("the credential is gone: list them for what there is")
    return found


def _ensure_application(connection: Connection, credential: Credential) -> None:
    """Raises NotFound where the application of a new credential is not there (any more)."""
    if not credential.application_id:
        return
    there = select(APPLICATIONS.c.application_id).where(
        APPLICATIONS.c.application_id == credential.application_id, APPLICATIONS.c.deleted_us.is_(None)
    )
    if connection.execute(there).one_or_none() is None:
        raise NotFound("there is no such application any more", reason="APPLICATION_NOT_FOUND")
