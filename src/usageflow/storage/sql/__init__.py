"""The SQL back end: SQLite today, through statements that other dialects share.

Order at start-up: ``lock_folder``, ``prepare``, ``open_sqlite``, then the stores over that one Database.
"""

from __future__ import annotations

from usageflow.storage.sql.checkpoints import SqlCheckpointStore
from usageflow.storage.sql.control import SqlControlStore
from usageflow.storage.sql.database import Database, open_sqlite
from usageflow.storage.sql.decision_log import SqlDecisionLog
from usageflow.storage.sql.lock import FolderLock, lock_folder
from usageflow.storage.sql.migrate import MigrationKind, MigrationOutcome, prepare
from usageflow.storage.sql.resources import SqlResourceStore
from usageflow.storage.sql.usage import SqlUsageStore

__all__ = [
    "Database",
    "FolderLock",
    "MigrationKind",
    "MigrationOutcome",
    "SqlCheckpointStore",
    "SqlControlStore",
    "SqlDecisionLog",
    "SqlResourceStore",
    "SqlUsageStore",
    "lock_folder",
    "open_sqlite",
    "prepare",
]
