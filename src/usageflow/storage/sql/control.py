"""Applications, credentials, revisions, blocks, numbers and customers in SQL: what the port offers, over the functions that work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from usageflow.domain.changes import Cause
from usageflow.domain.clock import Clock
from usageflow.domain.credentials import Credential
from usageflow.domain.customers import Customer
from usageflow.domain.policies import PolicySet
from usageflow.domain.releases import Release
from usageflow.domain.usage import EndpointName
from usageflow.storage.directories import DirectoryChanges
from usageflow.storage.ports import Application, ApplicationState, ChangeSet, Versions
from usageflow.storage.sql import control_read, control_write, directory_read, endpoint_rows
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.tables import APPLICATIONS


class SqlControlStore:
    """The ControlStore over SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create_application(
        self, name: str, credentials: Sequence[Credential], *, cause: Cause
    ) -> Application:
        """See ControlStore. A credential that is stored already is ALREADY_EXISTS too."""
        now_us = self._clock.now_us()
        return await self._database.write(
            lambda connection: control_write.create_application(connection, name, credentials, cause, now_us)
        )

    async def find_application(self, name: str) -> Application | None:
        """See ControlStore."""
        return await self._database.read(
            lambda connection: control_read.find_application(connection, APPLICATIONS.c.name == name)
        )

    async def plan_versions(self) -> Mapping[str, int]:
        """See ControlStore."""
        return {application_id: version.plan for application_id, version in (await self.versions()).items()}

    async def versions(self) -> Mapping[str, Versions]:
        """See ControlStore."""
        return await self._database.read(control_read.versions)

    async def load(self, application_id: str) -> ApplicationState:
        """See ControlStore. Blocks, numbers and endpoints are in order of their keys."""
        return await self._database.read(lambda connection: control_read.load(connection, application_id))

    async def change(
        self, application_id: str, change: ChangeSet, *, cause: Cause, expected_plan_version: int | None
    ) -> Application:
        """See ControlStore. Deletions come before insertions: a block that is in both is there afterwards."""
        revision = control_write.NewRevision(cause, self._clock.now_us(), expected_plan_version)
        return await self._database.write(
            lambda connection: control_write.change(connection, application_id, change, revision)
        )

    async def register_endpoints(
        self,
        application_id: str,
        endpoints: Sequence[EndpointName],
        *,
        now_us: int,
        release: Release | None = None,
    ) -> Sequence[int]:
        """See ControlStore. Raises NotFound for an unknown application."""
        return await self._database.write(
            lambda connection: endpoint_rows.register_endpoints(
                connection, application_id, endpoints, now_us, release
            )
        )

    async def sight_endpoints(
        self, application_id: str, endpoints: Sequence[EndpointName], *, now_us: int, most: int
    ) -> Sequence[EndpointName]:
        """See ControlStore."""
        return await self._database.write(
            lambda connection: endpoint_rows.sight_endpoints(
                connection, application_id, endpoints, now_us, most
            )
        )

    async def find_credential(self, secret_hash: bytes) -> Credential | None:
        """See ControlStore."""
        return await self._database.read(
            lambda connection: control_read.find_credential(connection, secret_hash)
        )

    async def api_keys(self, application_id: str) -> Sequence[Credential]:
        """See ControlStore."""
        return await self._database.read(lambda connection: control_read.api_keys(connection, application_id))

    async def policies_at(self, application_id: str, revision: int) -> PolicySet | None:
        """See ControlStore. Revision 0 is the empty set that the application was made with."""
        return await self._database.read(
            lambda connection: control_read.policies_at(connection, application_id, revision)
        )

    async def directory_changes(self, known: Mapping[str, int]) -> Mapping[str, DirectoryChanges]:
        """See Directories."""
        return await self._database.read(lambda connection: directory_read.changes(connection, known))

    async def customers(self, application_id: str, names: Sequence[str]) -> Sequence[Customer]:
        """See Directories. They come in order of their names."""
        return await self._database.read(
            lambda connection: directory_read.customers(connection, application_id, names)
        )

    async def customer_plans(
        self, application_id: str, plans: Sequence[str] | None = None
    ) -> Mapping[str, str]:
        """See Directories."""
        return await self._database.read(
            lambda connection: directory_read.customer_plans(connection, application_id, plans)
        )

    async def identity_owners(self, application_id: str, identities: Sequence[str]) -> Mapping[str, str]:
        """See Directories."""
        return await self._database.read(
            lambda connection: directory_read.identity_owners(connection, application_id, identities)
        )
