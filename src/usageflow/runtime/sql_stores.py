"""Every store of one database, for any process that works over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from usageflow.domain.clock import Clock
from usageflow.storage.sql import (
    Database,
    SqlAlertReadings,
    SqlAlertStore,
    SqlAnalytics,
    SqlAuditLog,
    SqlBilling,
    SqlCheckpointStore,
    SqlControlStore,
    SqlCredentialStore,
    SqlDecisionLog,
    SqlErasureStore,
    SqlEventStore,
    SqlIdentityStore,
    SqlInventoryStore,
    SqlReplicaStore,
    SqlResourceStore,
    SqlRetentionStore,
    SqlUpkeepStore,
    SqlUsageStore,
)


@dataclass(frozen=True, slots=True)
class SqlStores:
    """Every store of one database."""

    database: Database
    control: SqlControlStore
    usage: SqlUsageStore
    checkpoints: SqlCheckpointStore
    replicas: SqlReplicaStore
    credentials: SqlCredentialStore
    audit: SqlAuditLog
    resources: SqlResourceStore
    decision_log: SqlDecisionLog
    analytics: SqlAnalytics
    inventory: SqlInventoryStore
    events: SqlEventStore
    identities: SqlIdentityStore
    alerts: SqlAlertStore
    alert_readings: SqlAlertReadings
    erasures: SqlErasureStore
    retention: SqlRetentionStore
    upkeep: SqlUpkeepStore
    billing: SqlBilling

    @classmethod
    def over(cls, database: Database, clock: Clock) -> Self:
        """Returns the stores of a database."""
        return cls(
            database,
            SqlControlStore(database, clock),
            SqlUsageStore(database, clock),
            SqlCheckpointStore(database, clock),
            SqlReplicaStore(database),
            SqlCredentialStore(database, clock),
            SqlAuditLog(database),
            SqlResourceStore(database, clock),
            SqlDecisionLog(database, clock),
            SqlAnalytics(database),
            SqlInventoryStore(database),
            SqlEventStore(database),
            SqlIdentityStore(database),
            SqlAlertStore(database, clock),
            SqlAlertReadings(database, clock),
            SqlErasureStore(database, clock),
            SqlRetentionStore(database),
            SqlUpkeepStore(database),
            SqlBilling(database, clock),
        )
