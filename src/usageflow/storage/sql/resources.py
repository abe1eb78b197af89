"""Resources and revisions in SQL: what the port offers, over the functions that work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select

from usageflow.domain.applications import ApplicationSettings
from usageflow.domain.changes import Cause
from usageflow.domain.clock import Clock
from usageflow.domain.listing import Query
from usageflow.domain.policies import Block
from usageflow.domain.usage import EndpointName
from usageflow.storage.resources import (
    ApplicationRow,
    BlockRow,
    CustomerRow,
    DeclaredRows,
    EndpointRow,
    Receipt,
    RevisionRow,
    Stamp,
)
from usageflow.storage.sql import application_rows, customer_rows, declared, receipts, revision_rows
from usageflow.storage.sql.control_read import find_application, unknown_application
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.tables import APPLICATIONS, BLOCKS


class SqlResourceStore:
    """The ResourceStore over SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def declared(self, application_id: str) -> DeclaredRows:
        """See ResourceStore."""
        return await self._database.read(lambda connection: _declared(connection, application_id))

    async def list_customers(self, application_id: str, query: Query) -> Sequence[CustomerRow]:
        """See ResourceStore."""
        return await self._database.read(
            lambda connection: customer_rows.listed(connection, application_id, query)
        )

    async def customer_rows(self, application_id: str, names: Sequence[str]) -> Mapping[str, CustomerRow]:
        """See ResourceStore."""
        return await self._database.read(
            lambda connection: customer_rows.named(connection, application_id, names)
        )

    async def blocks(self, application_id: str) -> Sequence[BlockRow]:
        """See ResourceStore."""
        return await self._database.read(lambda connection: _blocks(connection, application_id))

    async def list_endpoints(self, application_id: str, query: Query) -> Sequence[EndpointRow]:
        """See ResourceStore."""
        return await self._database.read(
            lambda connection: application_rows.listed_endpoints(connection, application_id, query)
        )

    async def put_endpoint(self, application_id: str, endpoint: EndpointName, *, cause: Cause) -> EndpointRow:
        """See ResourceStore."""
        now_us = self._clock.now_us()
        return await self._database.write(
            lambda connection: application_rows.put_endpoint(
                connection, application_id, endpoint, cause, now_us
            )
        )

    async def drop_endpoint(
        self, application_id: str, endpoint: EndpointName, *, cause: Cause
    ) -> EndpointRow:
        """See ResourceStore."""
        now_us = self._clock.now_us()
        return await self._database.write(
            lambda connection: application_rows.drop_endpoint(
                connection, application_id, endpoint, cause, now_us
            )
        )

    async def list_applications(self, query: Query) -> Sequence[ApplicationRow]:
        """See ResourceStore."""
        return await self._database.read(lambda connection: application_rows.listed(connection, query))

    async def application_row(self, name: str) -> ApplicationRow | None:
        """See ResourceStore."""
        return await self._database.read(lambda connection: application_rows.named(connection, name))

    async def change_application(
        self, application_id: str, settings: ApplicationSettings, *, deleted: bool, version: int, cause: Cause
    ) -> ApplicationRow:
        """See ResourceStore."""
        now_us = self._clock.now_us()
        return await self._database.write(
            lambda connection: application_rows.change(
                connection,
                application_id,
                settings,
                deleted=deleted,
                version=version,
                cause=cause,
                now_us=now_us,
            )
        )

    async def revisions(
        self, application_id: str, *, before: int | None, limit: int
    ) -> Sequence[RevisionRow]:
        """See ResourceStore."""
        return await self._database.read(
            lambda connection: revision_rows.listed(connection, application_id, before=before, limit=limit)
        )

    async def revision(self, application_id: str, name: str) -> RevisionRow | None:
        """See ResourceStore."""
        return await self._database.read(
            lambda connection: revision_rows.named(connection, application_id, name)
        )

    async def tag(self, application_id: str, revision: int, tag: str, *, cause: Cause) -> RevisionRow:
        """See ResourceStore."""
        now_us = self._clock.now_us()
        return await self._database.write(
            lambda connection: revision_rows.tag(connection, application_id, revision, tag, cause, now_us)
        )

    async def untag(self, application_id: str, tag: str, *, cause: Cause) -> RevisionRow:
        """See ResourceStore."""
        now_us = self._clock.now_us()
        return await self._database.write(
            lambda connection: revision_rows.untag(connection, application_id, tag, cause, now_us)
        )

    async def receipt(self, actor_id: str, request_id: str) -> Receipt | None:
        """See ResourceStore."""
        return await self._database.read(lambda connection: receipts.find(connection, actor_id, request_id))

    async def purge(self, *, revisions_us: int, deleted_us: int, receipts_us: int) -> int:
        """See ResourceStore."""
        return await self._database.write(
            lambda connection: revision_rows.purge(
                connection, revisions_us=revisions_us, deleted_us=deleted_us, receipts_us=receipts_us
            )
        )


def _declared(connection: Connection, application_id: str) -> DeclaredRows:
    application = find_application(connection, APPLICATIONS.c.application_id == application_id)
    if application is None:
        raise unknown_application(application_id)
    return DeclaredRows(application, declared.rows(connection, application_id))


def _blocks(connection: Connection, application_id: str) -> list[BlockRow]:
    table = BLOCKS.c
    columns = (
        table.block_id,
        table.document,
        table.created_us,
        table.updated_us,
        table.version,
        table.deleted_us,
    )
    rows = connection.execute(
        select(*columns).where(table.application_id == application_id).order_by(table.block_id)
    )
    return [
        BlockRow(block_id, Block.model_validate_json(document), Stamp(*stamp))
        for block_id, document, *stamp in rows
    ]
