"""What decision processes enforce, in SQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, and_, delete, func, insert, select

from usageflow.storage.replicas import KEPT_US, Enforced, Newest, Replica, Report
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import APPLICATIONS, DIRECTORIES, REPLICA_STATES, REPLICAS, REVISIONS

_STATE_COLUMNS = (
    REPLICA_STATES.c.revision,
    REPLICA_STATES.c.plan_version,
    REPLICA_STATES.c.directory_version,
    REPLICA_STATES.c.since_us,
)
_REPLICA_COLUMNS = (
    REPLICAS.c.replica_id,
    REPLICAS.c.host,
    REPLICAS.c.pid,
    REPLICAS.c.address,
    REPLICAS.c.started_us,
    REPLICAS.c.from_cache,
)


class SqlReplicaStore:
    """The ReplicaStore over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, report: Report) -> None:
        """See ReplicaStore."""
        await self._database.write(lambda connection: _store(connection, report))

    async def leave(self, replica_id: str) -> None:
        """See ReplicaStore."""
        await self._database.write(lambda connection: _forget(connection, [replica_id]))

    async def reports(self) -> Sequence[Report]:
        """See ReplicaStore."""
        return await self._database.read(_reports)

    async def newest(self) -> Sequence[Newest]:
        """See ReplicaStore."""
        return await self._database.read(_newest)


def _store(connection: Connection, report: Report) -> None:
    replica = report.replica
    row = {
        "replica_id": replica.replica_id,
        "host": replica.host,
        "pid": replica.pid,
        "address": replica.address,
        "started_us": replica.started_us,
        "seen_us": report.seen_us,
        "from_cache": replica.from_cache,
    }
    statement = upsert(connection, REPLICAS).values(row)
    connection.execute(statement.on_conflict_do_update(index_elements=[REPLICAS.c.replica_id], set_=row))
    table = REPLICA_STATES
    connection.execute(delete(table).where(table.c.replica_id == replica.replica_id))
    if report.states:
        connection.execute(
            insert(table), [_state_row(replica.replica_id, *each) for each in report.states.items()]
        )
    silent = select(REPLICAS.c.replica_id).where(REPLICAS.c.seen_us < report.seen_us - KEPT_US)
    _forget(connection, connection.scalars(silent.order_by(REPLICAS.c.replica_id)).all())


def _state_row(replica_id: str, application_id: str, state: Enforced) -> dict[str, object]:
    return {
        "replica_id": replica_id,
        "application_id": application_id,
        "revision": state.revision,
        "plan_version": state.plan_version,
        "directory_version": state.directory_version,
        "since_us": state.since_us,
    }


def _forget(connection: Connection, replica_ids: Sequence[str]) -> None:
    if replica_ids:
        connection.execute(delete(REPLICAS).where(REPLICAS.c.replica_id.in_(replica_ids)))
        connection.execute(delete(REPLICA_STATES).where(REPLICA_STATES.c.replica_id.in_(replica_ids)))


def _reports(connection: Connection) -> list[Report]:
    states: defaultdict[str, dict[str, Enforced]] = defaultdict(dict)
    table = REPLICA_STATES
    for replica_id, application_id, *fields in connection.execute(
        select(table.c.replica_id, table.c.application_id, *_STATE_COLUMNS)
    ):
        states[replica_id][application_id] = Enforced(*fields)
    rows = connection.execute(
        select(REPLICAS.c.seen_us, *_REPLICA_COLUMNS).order_by(REPLICAS.c.started_us, REPLICAS.c.replica_id)
    )
    return [Report(Replica(*fields), seen_us, states[fields[0]]) for seen_us, *fields in rows]


def _newest(connection: Connection) -> list[Newest]:
    app, customers, revisions = APPLICATIONS, DIRECTORIES, REVISIONS
    in_force = and_(
        revisions.c.application_id == app.c.application_id, revisions.c.revision == app.c.revision
    )
    joined = app.outerjoin(customers, customers.c.application_id == app.c.application_id)
    rows = connection.execute(
        select(
            app.c.application_id,
            app.c.name,
            app.c.revision,
            app.c.plan_version,
            func.coalesce(customers.c.version, 0),
            app.c.updated_us,
            func.coalesce(revisions.c.created_us, app.c.created_us),
        )
        .select_from(joined.outerjoin(revisions, in_force))
        .where(app.c.deleted_us.is_(None))
        .order_by(app.c.name)
    )
    return [
        Newest(application_id, name, revision, plan_version, directory_version, max(updated_us, made_us))
        for application_id, name, revision, plan_version, directory_version, updated_us, made_us in rows
    ]
