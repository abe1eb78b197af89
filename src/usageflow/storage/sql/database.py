"""One database behind writer and reader threads, usable from an event loop; and SQLite, which has one writer."""

from __future__ import annotations

import asyncio
import functools
import random
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from usageflow.domain.errors import Unavailable
from usageflow.storage.sql.driver import JOIN_BLOBS, JoinedBlobs
from usageflow.storage.sql.failures import is_conflict, translated_errors

T = TypeVar("T")

READER_THREADS = 4
BUSY_TIMEOUT_MS = 5_000
_PRAGMAS = {
    "journal_mode": "WAL",
    "synchronous": "FULL",  # a commit is on the disk before it returns
    "cache_size": "-32768",  # KiB when negative
    "journal_size_limit": str(64 * 1024 * 1024),
}
_ADVICE = "check the disk and the database file"

ATTEMPTS = 5
"""How often work is done that stood in the way of other work and was undone for it."""

_PAUSE_S = 0.01
"""The longest pause before the second attempt; each further one may be twice as long."""


class Database:
    """Runs pieces of work, each in a transaction of its own, away from the event loop.

    Writes and reads have threads of their own; reads see the last commit. With one writer thread, writes stand in a queue and
    never meet; with several they meet as those of several processes do, and locks keep them apart. The engines must begin
    a transaction that suits their side (open_sqlite and open_postgres do so). ``advice`` says what to check when the database
    does not answer.
    """

    def __init__(
        self,
        *,
        writer: Engine,
        reader: Engine,
        writer_threads: int = 1,
        reader_threads: int = READER_THREADS,
        advice: str = _ADVICE,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._writer_threads = ThreadPoolExecutor(writer_threads, thread_name_prefix="sql-writer")
        self._reader_threads = ThreadPoolExecutor(reader_threads, thread_name_prefix="sql-reader")
        self._advice = advice
        self._closed = False

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Returns what ``work`` returned, after its transaction was committed durably.

        An exception of ``work`` rolls everything back and is raised here. Work that the database undid for a conflict is done
        again, a few times at most, so it keeps nothing from one attempt to the next. Raises Unavailable where the database does
        not answer (a commit that it did not answer may have happened) and InvalidArgument (reason DATA_REFUSED) where it
        refuses a value. A caller that is cancelled leaves a transaction that is whole: either it never began or it runs to
        its end.
        """
        return await self._run(self._writer_threads, self._writer, work)

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
        return await loop.run_in_executor(executor, functools.partial(self._transact, engine, work))

    def _transact(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        with translated_errors(self._advice):
            for attempt in range(1, ATTEMPTS):
                with suppress(_Undone):
                    return _attempt(engine, work)
                # At random, so that two who met do not meet again.
                time.sleep(random.uniform(0, _PAUSE_S * 2**attempt))  # noqa: S311 - no secret
            with engine.begin() as connection:
                return work(connection)

    def _shut_down(self) -> None:
        for executor in (self._writer_threads, self._reader_threads):
            executor.shutdown(wait=True)
        # The writer goes last: closing the last connection folds the write-ahead log into the file.
        self._reader.dispose()
        self._writer.dispose()


class _Undone(Exception):
    """The database undid work for the sake of other work."""


def _attempt(engine: Engine, work: Callable[[Connection], T]) -> T:
    try:
        with engine.begin() as connection:
            return work(connection)
    except DBAPIError as error:
        if is_conflict(error):
            raise _Undone from error
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
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_MS / 1000,
    )
    connection.create_aggregate(JOIN_BLOBS, 1, JoinedBlobs)  # type: ignore[arg-type] # its stub knows integers only
    return connection
