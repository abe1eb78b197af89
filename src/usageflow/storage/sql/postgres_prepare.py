"""Makes a PostgreSQL database ready for this version of UsageFlow: the twin of migrate.prepare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from usageflow.domain.clock import Clock
from usageflow.domain.errors import FailedPrecondition, Unavailable
from usageflow.storage.sql.failures import sqlstate_of
from usageflow.storage.sql.migrate import HEAD, REVISIONS, MigrationKind, MigrationOutcome
from usageflow.storage.sql.partitions import lacks_room, make_room
from usageflow.storage.sql.postgres import postgres_engine
from usageflow.storage.sql.postgres_address import SETTING, PostgresAddress, parse_postgres_url

if TYPE_CHECKING:
    from usageflow.storage.sql.postgres_link import Patience

T = TypeVar("T")

OLDEST_SERVER = 150_000
_LOCK = int.from_bytes(b"usageflo")
_LONG_S = 3_600.0
"""A migration may rewrite large tables, and so may the one that another process is at."""

_NOT_ALLOWED = "42501"
_SERVER = text(
    "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), current_schema()"
)
_TABLES = text(
    "SELECT t.relname FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace"
    " WHERE n.nspname = current_schema() AND t.relkind IN ('r', 'p')"
)


def prepare_postgres(url: str, clock: Clock) -> MigrationOutcome:
    """Brings the database to HEAD, with partitions for today, and returns what that took. Any number of processes may do so at
    once: one does it.

    No copy is made: take one with pg_dump before an upgrade. Raises InvalidArgument for an address that is none,
    FailedPrecondition (reason DATABASE_NEWER; DATABASE_UNKNOWN where the schema holds other tables; DATABASE_UNSUITED for a server
    that is too old or not UTF-8) and Unavailable. Whatever goes wrong, the database is as it was.
    """
    address, now_us = parse_postgres_url(url), clock.now_us()
    if _run(address, None, lambda connection: _is_ready(connection, address, now_us)):
        return MigrationOutcome(MigrationKind.CURRENT, HEAD, HEAD)
    from usageflow.storage.sql.postgres_link import Patience

    long = Patience(statement_s=_LONG_S, lock_s=_LONG_S, idle_s=0)
    return _run(address, long, lambda connection: _upgrade(connection, address, now_us))


def _run(address: PostgresAddress, patience: Patience | None, work: Callable[[Connection], T]) -> T:
    engine = postgres_engine(address, threads=1, patience=patience)
    try:
        with _told(address), engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


@contextmanager
def _told(address: PostgresAddress) -> Iterator[None]:
    """Says what went wrong in the server's words, which hold no password; its first line holds no values either."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]
        fix = f"check that the server runs and {SETTING} is right"
        if sqlstate_of(error) == _NOT_ALLOWED:
            fix = "make the user of the address the owner of the database, or of its schema"
        raise Unavailable(
            f"cannot prepare the database {address} ({reason}): it is as it was; {fix}"
        ) from error


def _is_ready(connection: Connection, address: PostgresAddress, now_us: int) -> bool:
    return _checked_revision(connection, address) == HEAD and not lacks_room(connection, now_us)


def _checked_revision(connection: Connection, address: PostgresAddress) -> str:
    """Returns the revision that the database is at, empty for an empty one; a known one in any case."""
    version, encoding, schema = connection.execute(_SERVER).one()
    if version < OLDEST_SERVER:
        raise _unsuited(address, f"runs on PostgreSQL {version // 10_000}", "use PostgreSQL 15 or newer")
    if encoding != "UTF8":
        raise _unsuited(address, f"holds text in {encoding}", "make one with ENCODING 'UTF8'")
    if schema is None:
        raise _unsuited(address, "has no schema to hold tables", "create the first one of search_path")
    revision = _revision_of(connection, address)
    if revision and revision not in REVISIONS:
        raise FailedPrecondition(_newer(address, revision), reason="DATABASE_NEWER")
    return revision


def _revision_of(connection: Connection, address: PostgresAddress) -> str:
    tables = set(connection.scalars(_TABLES))
    if not tables:
        return ""
    revisions = []
    if "alembic_version" in tables:
        revisions = list(connection.scalars(text("SELECT version_num FROM alembic_version")))
    if not revisions and tables == {"alembic_version"}:
        return ""
    # Others use Alembic too: its table alone does not make a database ours.
    if len(revisions) != 1 or "installation" not in tables:
        raise _unknown(address)
    return str(revisions[0])


def _upgrade(connection: Connection, address: PostgresAddress, now_us: int) -> MigrationOutcome:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    revision = _checked_revision(connection, address)  # another process may have been quicker
    if revision != HEAD:
        from usageflow.storage.sql.alembic_runner import upgrade

        upgrade(connection, HEAD, now_us=now_us)
    make_room(connection, now_us)
    kind = MigrationKind.UPGRADED if revision else MigrationKind.CREATED
    kind = MigrationKind.CURRENT if revision == HEAD else kind
    return MigrationOutcome(kind, revision, HEAD)


def _unsuited(address: PostgresAddress, what: str, fix: str) -> FailedPrecondition:
    return FailedPrecondition(f"the database {address} {what}: {fix}", reason="DATABASE_UNSUITED")


def _newer(address: PostgresAddress, revision: str) -> str:
    return (
        f"the database {address} is at revision {revision[:64]!r}, which this UsageFlow does not know (it knows up to {HEAD}): "
        "run the newer UsageFlow that wrote it, or restore a dump from before that upgrade"
    )


def _unknown(address: PostgresAddress) -> FailedPrecondition:
    message = f"the database {address} holds tables that are not UsageFlow's: create an empty one, and name it in {SETTING}"
    return FailedPrecondition(message, reason="DATABASE_UNKNOWN")
