"""A PostgreSQL database that many threads and many processes use at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, QueuePool, create_engine

from usageflow.storage.sql.database import READER_THREADS, Database
from usageflow.storage.sql.postgres_address import SETTING, PostgresAddress, parse_postgres_url

if TYPE_CHECKING:
    from usageflow.storage.sql.postgres_link import Patience

WRITER_THREADS = 8
_ADVICE = f"check {SETTING} and the server's log"


def open_postgres(
    url: str,
    *,
    writer_threads: int = WRITER_THREADS,
    reader_threads: int = READER_THREADS,
    patience: Patience | None = None,
) -> Database:
    """Returns the database of an address that prepare_postgres has made ready; connections open at the first work, at most
    one per thread.

    Writes are READ COMMITTED, so each of their statements sees what was committed before it; what must not meet takes row locks, always
    in this order: application, directory, rows in order of their keys, the audit log's head. Reads are REPEATABLE READ READ
    ONLY. Raises InvalidArgument where the address is none.
    """
    address = parse_postgres_url(url)
    return Database(
        writer=postgres_engine(address, threads=writer_threads, patience=patience),
        reader=postgres_engine(address, threads=reader_threads, patience=patience, read_only=True),
        writer_threads=writer_threads,
        reader_threads=reader_threads,
        advice=_ADVICE,
    )


def postgres_engine(
    address: PostgresAddress, *, threads: int, patience: Patience | None = None, read_only: bool = False
) -> Engine:
    """Returns an engine with at most one lasting connection per thread that uses it. A connection that died meanwhile is
    noticed, and replaced, before work begins on it.
    """
    from usageflow.storage.sql.postgres_link import Patience, connect  # needs the driver

    limits = patience or Patience()

    def make() -> Any:
        return connect(address, limits, read_only=read_only)

    return create_engine(
        "postgresql+psycopg://",  # says which driver; the address stays out of SQLAlchemy's texts
        creator=make,
        poolclass=QueuePool,
        pool_size=threads,
        max_overflow=0,
        pool_pre_ping=True,
        use_native_hstore=False,
        hide_parameters=True,
    )
