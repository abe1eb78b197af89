"""One database behind one writer thread and a few reader threads, usable from an event loop."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from usageflow.domain.errors import InvalidArgument, Unavailable

T = TypeVar("T")

READER_THREADS = 4
BUSY_TIMEOUT_MS = 5_000
_PRAGMAS = {
    "journal_mode": "WAL",
    "synchronous": "FULL",  # a commit is on the disk before it returns
    "cache_size": "-32768",  # KiB when negative
    "journal_size_limit": str(64 * 1024 * 1024),
}
_UNAVAILABLE = "the database does not answer: try again; if it stays so, check the disk and the database file"
_REFUSED = "holds a value that is out of bounds or refers to what does not exist"


class Database:
    """Runs pieces of work, each in a transaction of its own, away from the event loop.

    Writes stand in one queue and never meet; reads run beside them and see the last commit. The engines must begin
    a transaction that suits their side (open_sqlite does so).
    """

    def __init__(self, *, writer: Engine, reader: Engine, reader_threads: int = READER_THREADS) -> None:
        self._writer = writer
        self._reader = reader
        self._writer_thread = ThreadPoolExecutor(1, thread_name_prefix="sql-writer")
        self._reader_threads = ThreadPoolExecutor(reader_threads, thread_name_prefix="sql-reader")
        self._closed = False

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Returns what ``work`` returned, after its transaction was committed durably.

        An exception of ``work`` rolls everything back and is raised here. Raises Unavailable where the database does
        not answer and InvalidArgument (reason DATA_REFUSED) where it refuses a value. A caller that is cancelled leaves a transaction that is whole: either it never began or it runs
        to its end.
        """
        return await self._run(self._writer_thread, self._writer, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Returns what ``work`` returned; all that it reads is of one instant. Raises Unavailable."""
        return await self._run(self._reader_threads, self._reader, work)

    async def close(self) -> None:
        """Waits for the work in hand, then closes every connection. Later work is Unavailable; closing twice is fine."""
        self._closed = True
        await asyncio.to_thread(self._shut_down)

    async def _run(self, executor: Executor, engine: Engine, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise Unavailable("the database is closed: this process is shutting down")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(executor, functools.partial(_transact, engine, work))

    def _shut_down(self) -> None:
        for executor in (self._writer_thread, self._reader_threads):
            executor.shutdown(wait=True)
        # The writer goes last: closing the last connection folds the write-ahead log into the file.
        self._reader.dispose()
        self._writer.dispose()


def _transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    with _translated_errors(), engine.begin() as connection:
        return work(connection)


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Makes domain errors of the database's own; their texts hold no SQL and no values.

    Unavailable: the database itself fails. InvalidArgument (reason DATA_REFUSED): it works and refuses a value.
    Anything else is a mistake in the work and passes through.
    """
    try:
        yield
    except (IntegrityError, DataError, OverflowError, UnicodeEncodeError) as error:
        # The driver has no types of its own for integers beyond 64 bits and for text that is not Unicode.
        raise InvalidArgument.of(
            "data", _REFUSED, "correct it; nothing was stored", "DATA_REFUSED"
        ) from error
    except (OperationalError, InterfaceError) as error:
        raise Unavailable(_UNAVAILABLE) from error
    except DatabaseError as error:
        # SQLite reports a damaged file with the base class itself; its subclasses are mistakes of ours.
        if type(error) is DatabaseError:
            raise Unavailable(_UNAVAILABLE) from error
        raise


def open_sqlite(path: Path) -> Database:
    """Returns the database of a file that migrate.prepare has made ready; connections open at the first work.

    A commit is on the disk before ``write`` returns (WAL with synchronous=FULL).
    """
    return Database(
        writer=sqlite_engine(path, begin="BEGIN IMMEDIATE", threads=1),
        reader=sqlite_engine(path, begin="BEGIN", threads=READER_THREADS, read_only=True),
    )


def sqlite_engine(
    path: Path, *, begin: str, threads: int, read_only: bool = False, foreign_keys: bool = True
) -> Engine:
    """Returns an engine over an existing file, with one lasting connection per thread that uses it."""
    engine = create_engine(
        "sqlite+pysqlite://",
        creator=functools.partial(_connect, path),
        poolclass=QueuePool,
        pool_size=threads,
        max_overflow=0,
    )
    pragmas = _PRAGMAS | {
        "foreign_keys": "ON" if foreign_keys else "OFF",
        "query_only": "ON" if read_only else "OFF",
    }

    def set_up(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for name, value in pragmas.items():
            cursor.execute(f"PRAGMA {name}={value}")
        cursor.close()

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _connect(path: Path) -> sqlite3.Connection:
    # mode=rw never makes a file: an empty database in a mistyped folder would look like lost data.
    # isolation_level None leaves BEGIN to the engine; the pool hands a connection to one thread at a time.
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_MS / 1000,
    )
