"""Counter windows on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, and_, delete, or_, select

from usageflow.domain.clock import Clock
from usageflow.storage.ports import WindowState
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.statements import upsert
from usageflow.storage.sql.tables import WINDOW_CHECKPOINTS


class SqlCheckpointStore:
    """The CheckpointStore over SQL. Its callers pass the time; the clock is there so that all stores are made alike."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database

    async def save_windows(self, windows: Sequence[WindowState]) -> None:
        """See CheckpointStore. Of equals the one given last stays."""
        if windows:
            await self._database.write(lambda connection: _save(connection, windows))

    async def load_windows(self, *, now_us: int) -> Sequence[WindowState]:
        """See CheckpointStore. In order of the keys."""
        return await self._database.read(lambda connection: _load(connection, now_us))

    async def drop_ended(self, *, now_us: int) -> int:
        """See CheckpointStore."""
        return await self._database.write(lambda connection: _drop_ended(connection, now_us))


def _save(connection: Connection, windows: Sequence[WindowState]) -> None:
    insert = upsert(connection, WINDOW_CHECKPOINTS)
    known, excluded = WINDOW_CHECKPOINTS.c, insert.excluded
    later = or_(
        excluded.start_us > known.start_us,
        and_(excluded.start_us == known.start_us, excluded.at_us >= known.at_us),
    )
    statement = insert.on_conflict_do_update(
        index_elements=[known.key],
        set_={name: excluded[name] for name in ("start_us", "end_us", "used", "at_us")},
        where=later,
    )
    # In order of the keys (and for one key in the order given), so that writers of several processes never wait in a circle.
    rows = [asdict(window) for window in sorted(windows, key=lambda window: window.key)]
    connection.execute(statement, rows)


def _drop_ended(connection: Connection, now_us: int) -> int:
    key = WINDOW_CHECKPOINTS.c.key
    ended = WINDOW_CHECKPOINTS.c.end_us <= now_us
    locked = select(key).where(ended).order_by(key).with_for_update()
    # The condition stands again for a window that another process began anew while this one waited for its row.
    statement = delete(WINDOW_CHECKPOINTS).where(key.in_(locked), ended)
    return connection.execute(statement).rowcount


def _load(connection: Connection, now_us: int) -> list[WindowState]:
    table = WINDOW_CHECKPOINTS
    columns = (table.c.key, table.c.start_us, table.c.end_us, table.c.used, table.c.at_us)
    rows = connection.execute(select(*columns).where(table.c.end_us > now_us).order_by(table.c.key))
    return [WindowState(*row) for row in rows]
