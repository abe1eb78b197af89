"""The SQL back end, SQLite and PostgreSQL: the same statements wherever the dialects allow it.

Order at start-up: ``lock_folder``, ``prepare``, ``open_sqlite``, then the stores over that one Database; with PostgreSQL
``prepare_postgres`` (in any number of processes at once), ``open_postgres``, then the same stores.
"""

from __future__ import annotations

from usageflow.storage.sql.alert_readings import SqlAlertReadings
from usageflow.storage.sql.alerts import SqlAlertStore
from usageflow.storage.sql.analytics import SqlAnalytics
from usageflow.storage.sql.audit import SqlAuditLog
from usageflow.storage.sql.billing import SqlBilling
from usageflow.storage.sql.checkpoints import SqlCheckpointStore
from usageflow.storage.sql.control import SqlControlStore
from usageflow.storage.sql.credentials import SqlCredentialStore
from usageflow.storage.sql.database import Database, open_sqlite
from usageflow.storage.sql.decision_log import SqlDecisionLog
from usageflow.storage.sql.erasing import SqlErasureStore
from usageflow.storage.sql.events import SqlEventStore
from usageflow.storage.sql.identities import SqlIdentityStore
from usageflow.storage.sql.inventory import SqlInventoryStore
from usageflow.storage.sql.lock import FolderLock, lock_folder
from usageflow.storage.sql.migrate import MigrationKind, MigrationOutcome, prepare
from usageflow.storage.sql.postgres import open_postgres
from usageflow.storage.sql.postgres_address import PostgresAddress, parse_postgres_url
from usageflow.storage.sql.postgres_notices import PostgresRelay
from usageflow.storage.sql.postgres_prepare import prepare_postgres
from usageflow.storage.sql.replicas import SqlReplicaStore
from usageflow.storage.sql.resources import SqlResourceStore
from usageflow.storage.sql.retention import SqlRetentionStore
from usageflow.storage.sql.upkeep import SqlUpkeepStore
from usageflow.storage.sql.usage import SqlUsageStore

__all__ = [
    "Database",
    "FolderLock",
    "MigrationKind",
    "MigrationOutcome",
    "PostgresAddress",
    "PostgresRelay",
    "SqlAlertReadings",
    "SqlAlertStore",
    "SqlAnalytics",
    "SqlAuditLog",
    "SqlBilling",
    "SqlCheckpointStore",
    "SqlControlStore",
    "SqlCredentialStore",
    "SqlDecisionLog",
    "SqlErasureStore",
    "SqlEventStore",
    "SqlIdentityStore",
    "SqlInventoryStore",
    "SqlReplicaStore",
    "SqlResourceStore",
    "SqlRetentionStore",
    "SqlUpkeepStore",
    "SqlUsageStore",
    "lock_folder",
    "open_postgres",
    "open_sqlite",
    "parse_postgres_url",
    "prepare",
    "prepare_postgres",
]
