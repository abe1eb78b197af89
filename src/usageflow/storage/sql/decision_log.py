"""The decision log in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select, tuple_

from usageflow.domain.clock import Clock
from usageflow.domain.decision_log import LogEntry
from usageflow.storage.decision_log import Position
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.statements import append_rows
from usageflow.storage.sql.tables import APPLICATIONS, DECISION_LOG

_DAY_US = 86_400_000_000


class SqlDecisionLog:
    """The DecisionLog over SQL. Its callers pass the time; the clock is there so that all stores are made alike."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database

    async def append(self, entries: Sequence[LogEntry]) -> None:
        """See DecisionLog."""
        rows = [(each.application_id, each.at_us, each.revision, each.document) for each in entries]
        await self._database.write(lambda connection: append_rows(connection, DECISION_LOG, rows))

    async def read(
        self, application_id: str, *, since_us: int, until_us: int, after: Position, limit: int
    ) -> Sequence[tuple[Position, LogEntry]]:
        """See DecisionLog."""
        return await self._database.read(
            lambda connection: _read(connection, application_id, since_us, until_us, after, limit)
        )

    async def purge(self, *, now_us: int) -> int:
        """See DecisionLog."""
        return await self._database.write(lambda connection: _purge(connection, now_us))


def _read(
    connection: Connection, application_id: str, since_us: int, until_us: int, after: Position, limit: int
) -> list[tuple[Position, LogEntry]]:
    table = DECISION_LOG.c
    statement = (
        select(table.at_us, table.row_id, table.revision, table.document)
        .where(
            table.application_id == application_id,
            table.at_us >= max(since_us, after[0]),
            table.at_us < until_us,
            tuple_(table.at_us, table.row_id) > tuple_(*after),
        )
        .order_by(table.at_us, table.row_id)
        .limit(limit)
    )
    return [
        ((at_us, row_id), LogEntry(application_id, at_us, revision, document))
        for at_us, row_id, revision, document in connection.execute(statement)
    ]


def _purge(connection: Connection, now_us: int) -> int:
    kept = connection.execute(select(APPLICATIONS.c.application_id, APPLICATIONS.c.retention_days)).all()
    table = DECISION_LOG.c
    return sum(
        connection.execute(
            delete(DECISION_LOG).where(
                table.application_id == application_id, table.at_us < now_us - days * _DAY_US
            )
        ).rowcount
        for application_id, days in kept
    )
