"""Makes a database file ready for this version of UsageFlow.

The usual start finds the file at the newest revision with one SELECT and stops there: Alembic is imported only where
there is something to do.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from usageflow.domain.clock import Clock
from usageflow.domain.errors import FailedPrecondition, Unavailable
from usageflow.storage.sql.backup import copy_database, sync_path
from usageflow.storage.sql.database import sqlite_engine

REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
)
"""Every revision that this version knows, oldest first; a test holds it against migrations/versions."""

HEAD = REVISIONS[-1]


class MigrationKind(StrEnum):
    """What prepare found to do."""

    CREATED = "CREATED"
    CURRENT = "CURRENT"
    UPGRADED = "UPGRADED"


@dataclass(frozen=True, slots=True)
class MigrationOutcome:
    """What was done. ``before`` is the revision found, empty for a new database; ``backup`` the copy of the file made before,
    None for PostgreSQL.
    """

    kind: MigrationKind
    before: str
    after: str
    backup: Path | None = None

    def __str__(self) -> str:
        match self.kind:
            case MigrationKind.CREATED:
                return f"created the database at revision {self.after}"
            case MigrationKind.CURRENT:
                return f"the database is at revision {self.after}"
            case MigrationKind.UPGRADED:
                copy = "" if self.backup is None else f"; the copy from before is {self.backup}"
                return f"upgraded the database from revision {self.before} to {self.after}{copy}"


def prepare(path: Path, clock: Clock) -> MigrationOutcome:
    """Brings the file to HEAD and returns what that took. Only one process may do so at a time (lock_folder).

    A new file is made; an older one is copied to ``<path>.backup-<revision>-<UTC time>`` first. Raises
    FailedPrecondition (reason DATABASE_NEWER, or DATABASE_UNKNOWN for a file that is none of ours) and Unavailable.
    Whatever goes wrong, the file is as it was.
    """
    revision = _revision_of(path)
    if revision == HEAD:
        return MigrationOutcome(MigrationKind.CURRENT, HEAD, HEAD)
    now_us = clock.now_us()
    if not revision:
        _create(path, now_us)
        return MigrationOutcome(MigrationKind.CREATED, "", HEAD)
    if revision not in REVISIONS:
        raise FailedPrecondition(_newer(path, revision), reason="DATABASE_NEWER")
    backup = _back_up(path, revision, now_us)
    _upgrade(path, now_us)
    return MigrationOutcome(MigrationKind.UPGRADED, revision, HEAD, backup)


def _revision_of(path: Path) -> str:
    """Returns the revision that the file is at, empty for a missing or empty one."""
    if not path.exists():
        return ""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as connection:
            return _read_revision(connection, path)
    except sqlite3.OperationalError as error:
        raise Unavailable(f"cannot open the database {path}: check its permissions and the disk") from error
    except sqlite3.DatabaseError as error:
        raise _unknown(path) from error


def _read_revision(connection: sqlite3.Connection, path: Path) -> str:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return ""
    if "alembic_version" not in tables:
        raise _unknown(path)
    revisions = [number for (number,) in connection.execute("SELECT version_num FROM alembic_version")]
    if not revisions and len(tables) == 1:
        return ""
    if len(revisions) != 1:
        raise _unknown(path)
    return str(revisions[0])


def _create(path: Path, now_us: int) -> None:
    existed = path.exists()
    path.touch()
    try:
        _upgrade(path, now_us)
        sync_path(path.parent)
    except BaseException:
        if not existed:
            for suffix in ("", "-wal", "-shm", "-journal"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        raise


def _back_up(path: Path, revision: str, now_us: int) -> Path:
    stamp = datetime.fromtimestamp(now_us // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.name}.backup-{revision}-{stamp}")
    try:
        copy_database(path, target)
    except (sqlite3.Error, OSError) as error:
        message = (
            f"cannot write the copy {target} that must come before an upgrade: check the disk's free space"
        )
        raise Unavailable(message) from error
    return target


def _upgrade(path: Path, now_us: int) -> None:
    """Runs what is missing up to HEAD, in one transaction."""
    from usageflow.storage.sql.alembic_runner import upgrade

    # SQLite changes most of a table by making it anew, which foreign keys would forbid; they are checked at the end.
    engine = sqlite_engine(path, begin="BEGIN IMMEDIATE", threads=1, foreign_keys=False)
    try:
        with engine.begin() as connection:
            upgrade(connection, HEAD, now_us=now_us)
            _check_references(connection)
    except DBAPIError as error:
        message = f"cannot bring the database {path} to revision {HEAD} ({error.orig}): it is as it was; free the disk or repair the file"
        raise Unavailable(message) from error
    finally:
        engine.dispose()


def _check_references(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise RuntimeError(
            f"a migration left a row of {broken[0]} that refers to a missing row of {broken[2]}"
        )


def _newer(path: Path, revision: str) -> str:
    return (
        f"the database {path} is at revision {revision[:64]!r}, which this UsageFlow does not know (it knows up to {HEAD}): "
        f"run the newer UsageFlow that wrote it, or put the copy {path.name}.backup-* from before that upgrade in its place"
    )


def _unknown(path: Path) -> FailedPrecondition:
    message = f"{path} is not a database of UsageFlow: move it away, or set USAGEFLOW_DATA to another folder"
    return FailedPrecondition(message, reason="DATABASE_UNKNOWN")
