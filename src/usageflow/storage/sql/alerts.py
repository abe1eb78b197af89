"""Alerting in SQL: what the ports offer, over the functions that work."""

from __future__ import annotations

from collections.abc import Sequence

from usageflow.domain.alerts import AlertDestination, AlertRule
from usageflow.domain.changes import Cause
from usageflow.domain.clock import Clock
from usageflow.storage.alerts import (
    AlertResource,
    AlertRow,
    Delivery,
    DeliveryResult,
    HistoryRow,
    StoredAlert,
    Told,
    WatchedApplication,
)
from usageflow.storage.sql import alert_book, alert_work
from usageflow.storage.sql.database import Database


class SqlAlertStore:
    """AlertBook and AlertStore over SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def alert_rows(self, kind: AlertResource, application_id: str) -> Sequence[AlertRow]:
        """See AlertBook."""
        return await self._database.read(lambda connection: alert_book.rows(connection, kind, application_id))

    async def put_alert_row(
        self,
        kind: AlertResource,
        application_id: str,
        row_id: str,
        item: AlertRule | AlertDestination,
        *,
        deleted: bool,
        version: int,
        cause: Cause,
    ) -> None:
        """See AlertBook."""
        now_us = self._clock.now_us()
        await self._database.write(
            lambda connection: alert_book.put(
                connection,
                kind,
                application_id,
                row_id,
                item,
                deleted=deleted,
                version=version,
                cause=cause,
                now_us=now_us,
            )
        )

    async def open_alerts(self, application_id: str) -> Sequence[tuple[str, StoredAlert]]:
        """See AlertBook."""
        return await self._database.read(
            lambda connection: alert_book.open_alerts(connection, application_id)
        )

    async def alert_history(self, application_id: str, *, before: str, limit: int) -> Sequence[HistoryRow]:
        """See AlertBook."""
        return await self._database.read(
            lambda connection: alert_book.history(connection, application_id, before, limit)
        )

    async def take_lease(self, holder: str, *, now_us: int, until_us: int) -> bool:
        """See AlertStore."""
        return await self._database.write(
            lambda connection: alert_work.take_lease(connection, holder, now_us, until_us)
        )

    async def leave_lease(self, holder: str) -> None:
        """See AlertStore."""
        await self._database.write(lambda connection: alert_work.leave_lease(connection, holder))

    async def watched(self) -> Sequence[WatchedApplication]:
        """See AlertStore."""
        return await self._database.read(alert_work.watched)

    async def record(
        self,
        holder: str,
        application_id: str,
        alerts: Sequence[StoredAlert],
        told: Sequence[Told],
        *,
        now_us: int,
    ) -> bool:
        """See AlertStore."""
        return await self._database.write(
            lambda connection: alert_work.record(connection, holder, application_id, alerts, told, now_us)
        )

    async def claim_deliveries(self, *, now_us: int, until_us: int, limit: int) -> Sequence[Delivery]:
        """See AlertStore."""
        return await self._database.write(
            lambda connection: alert_work.claim(connection, now_us, until_us, limit)
        )

    async def settle_deliveries(self, results: Sequence[DeliveryResult], *, now_us: int) -> None:
        """See AlertStore."""
        await self._database.write(lambda connection: alert_work.settle(connection, results, now_us))

    async def forget_alerts(self, *, before_us: int) -> int:
        """See AlertStore."""
        return await self._database.write(lambda connection: alert_work.forget(connection, before_us))
