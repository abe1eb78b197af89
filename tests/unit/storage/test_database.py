from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import ProgrammingError

from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import InvalidArgument, Unavailable
from usageflow.storage.sql import Database, database, open_sqlite, prepare
from usageflow.storage.sql.tables import WINDOW_CHECKPOINTS

SECRET = "correct-horse"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "usageflow.db"
    prepare(path, ManualClock())
    return path


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Database]:
    opened = open_sqlite(path)
    yield opened
    await opened.close()


def add(connection: Connection, key: str) -> str:
    connection.execute(insert(WINDOW_CHECKPOINTS).values(key=key, start_us=0, end_us=1, used=0))
    return key


def count(connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(WINDOW_CHECKPOINTS)) or 0


async def test_a_write_returns_what_its_work_returned_and_is_read_afterwards(opened: Database) -> None:
    assert await opened.write(lambda connection: add(connection, "a")) == "a"
    assert await opened.read(count) == 1


async def test_an_exception_of_the_work_undoes_it_and_is_raised(opened: Database) -> None:
    def work(connection: Connection) -> None:
        add(connection, "a")
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await opened.write(work)
    assert await opened.read(count) == 0


async def test_all_writes_run_on_one_thread_and_none_on_the_event_loop(opened: Database) -> None:
    threads = await asyncio.gather(*(opened.write(lambda _: threading.get_ident()) for _ in range(20)))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_a_commit_is_durable_and_readers_cannot_write(opened: Database) -> None:
    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "query_only")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await opened.write(pragmas) == ["wal", 2, 1, 0]
    assert await opened.read(pragmas) == ["wal", 2, 1, 1]
    with pytest.raises(Unavailable):
        await opened.read(lambda connection: add(connection, "a"))


async def test_a_read_sees_one_instant_while_writes_go_on(opened: Database) -> None:
    read_once, written = threading.Event(), threading.Event()

    def read_twice(connection: Connection) -> tuple[int, int]:
        first = count(connection)
        read_once.set()
        assert written.wait(10)
        return first, count(connection)

    reading = asyncio.create_task(opened.read(read_twice))
    assert await asyncio.to_thread(read_once.wait, 10)
    await opened.write(lambda connection: add(connection, "a"))
    written.set()
    assert await reading == (0, 0)
    assert await opened.read(count) == 1


async def test_a_cancelled_caller_leaves_a_whole_transaction(opened: Database) -> None:
    began, go_on = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        add(connection, "a")
        began.set()
        assert go_on.wait(10)
        add(connection, "b")

    running = asyncio.create_task(opened.write(work))
    assert await asyncio.to_thread(began.wait, 10)
    waiting = asyncio.create_task(opened.write(lambda connection: add(connection, "never")))
    await asyncio.sleep(0)
    for task in (running, waiting):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    go_on.set()
    await opened.write(lambda connection: add(connection, "c"))
    keys = await opened.read(lambda connection: list(connection.scalars(select(WINDOW_CHECKPOINTS.c.key))))
    assert keys == ["a", "b", "c"]


async def test_a_database_that_others_lock_is_unavailable(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1)
    opened = open_sqlite(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            await opened.write(lambda connection: add(connection, SECRET))
        assert await opened.read(count) == 0
    assert await opened.write(lambda connection: add(connection, "a")) == "a"
    await opened.close()


@pytest.mark.parametrize("content", [None, b"not a database " * 500], ids=["missing", "damaged"])
async def test_a_file_that_cannot_be_used_is_unavailable_and_never_made(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "other.db"
    if content is not None:
        file.write_bytes(content)
    opened = open_sqlite(file)
    for run in (opened.read, opened.write):
        with pytest.raises(Unavailable):
            await run(count)
    await opened.close()
    assert file.exists() == (content is not None)


async def test_errors_name_neither_statements_nor_values(opened: Database) -> None:
    def no_such_table(connection: Connection) -> None:
        connection.execute(text("INSERT INTO missing VALUES (:value)"), {"value": SECRET})

    def twice(connection: Connection) -> None:
        add(connection, SECRET)
        add(connection, SECRET)

    with pytest.raises(Unavailable) as unavailable:
        await opened.write(no_such_table)
    with pytest.raises(InvalidArgument) as refused:
        await opened.write(twice)
    assert refused.value.faults[0].reason == "DATA_REFUSED"
    for raised in (unavailable, refused):
        assert SECRET not in str(raised.value)
        assert "INSERT" not in str(raised.value)


async def test_mistakes_in_the_work_pass_through(opened: Database) -> None:
    with pytest.raises(ProgrammingError):
        await opened.read(lambda connection: connection.exec_driver_sql("SELECT ?", ()).all())


async def test_after_closing_there_is_no_work_and_no_log_beside_the_file(path: Path) -> None:
    opened = open_sqlite(path)
    last = asyncio.create_task(opened.write(lambda connection: add(connection, "a")))
    await asyncio.sleep(0)
    await opened.close()
    await opened.close()
    assert await last == "a"
    for run in (opened.read, opened.write):
        with pytest.raises(Unavailable):
            await run(count)
    assert [child.name for child in path.parent.iterdir()] == [path.name]
