"""What only PostgreSQL promises of a Database: many writers, and servers that go away."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import threading
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import ProgrammingError

from tests.causes import NOBODY
from tests.contract.test_usage_store import delta, record, sums
from tools.postgres_servers import PostgresServer, paused
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import InvalidArgument, Unavailable
from usageflow.domain.usage import EndpointName, Outcome
from usageflow.storage.ports import WindowState
from usageflow.storage.sql import (
    Database,
    SqlAnalytics,
    SqlCheckpointStore,
    SqlControlStore,
    SqlUsageStore,
    open_postgres,
    postgres_link,
    prepare_postgres,
)
from usageflow.storage.sql.postgres_link import Patience
from usageflow.storage.sql.tables import WINDOW_CHECKPOINTS

SECRET = "correct-horse"
USED, KEY = WINDOW_CHECKPOINTS.c.used, WINDOW_CHECKPOINTS.c.key


@pytest.fixture
async def opened(postgres_url: str) -> AsyncIterator[Database]:
    opened = open_postgres(postgres_url)
    yield opened
    await opened.close()


def add(connection: Connection, key: str) -> str:
    connection.execute(insert(WINDOW_CHECKPOINTS).values(key=key, start_us=0, end_us=1, used=0))
    return key


def count_one(connection: Connection, key: str) -> None:
    connection.execute(
        update(WINDOW_CHECKPOINTS).where(WINDOW_CHECKPOINTS.c.key == key).values(used=USED + 1)
    )


def keys(connection: Connection) -> list[str]:
    return list(connection.scalars(select(KEY).order_by(KEY)))


async def test_a_write_is_committed_and_an_exception_undoes_it(opened: Database) -> None:
    def work(connection: Connection) -> None:
        add(connection, "b")
        raise LookupError("mine")

    assert await opened.write(lambda connection: add(connection, "a")) == "a"
    with pytest.raises(LookupError, match="mine"):
        await opened.write(work)
    assert await opened.read(keys) == ["a"]


async def test_writes_run_beside_one_another(opened: Database) -> None:
    together = threading.Barrier(3)
    await asyncio.gather(*(opened.write(lambda _: together.wait(10)) for _ in range(3)))


async def test_transactions_are_what_their_side_needs(opened: Database) -> None:
    def settings(connection: Connection) -> list[object]:
        names = ("transaction_isolation", "transaction_read_only", "synchronous_commit", "statement_timeout")
        return [connection.scalar(text(f"SHOW {name}")) for name in names]

    assert await opened.write(settings) == ["read committed", "off", "on", "10s"]
    assert await opened.read(settings) == ["repeatable read", "on", "on", "10s"]
    with pytest.raises(Unavailable):
        await opened.read(lambda connection: add(connection, "a"))


async def test_a_read_sees_one_instant_while_writes_go_on(opened: Database) -> None:
    read_once, written = threading.Event(), threading.Event()

    def read_twice(connection: Connection) -> tuple[list[str], list[str]]:
        first = keys(connection)
        read_once.set()
        assert written.wait(10)
        return first, keys(connection)

    reading = asyncio.create_task(opened.read(read_twice))
    assert await asyncio.to_thread(read_once.wait, 10)
    await opened.write(lambda connection: add(connection, "a"))
    written.set()
    assert await reading == ([], [])
    assert await opened.read(keys) == ["a"]


async def test_a_cancelled_caller_leaves_a_whole_transaction(opened: Database) -> None:
    began, go_on = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        add(connection, "a")
        began.set()
        assert go_on.wait(10)
        add(connection, "b")

    running = asyncio.create_task(opened.write(work))
    assert await asyncio.to_thread(began.wait, 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    go_on.set()
    await opened.close()
    with pytest.raises(Unavailable, match="closed"):
        await opened.read(keys)


async def test_work_that_was_undone_for_other_work_is_done_again(opened: Database) -> None:
    for key in ("a", "b"):
        await opened.write(lambda connection, key=key: add(connection, key))  # type: ignore[misc]
    together = threading.Barrier(2)
    attempts: list[str] = []

    def both(connection: Connection, first: str, second: str) -> None:
        attempts.append(first)
        count_one(connection, first)
        if len(attempts) <= 2:
            together.wait(10)
        count_one(connection, second)

    await asyncio.gather(
        opened.write(lambda connection: both(connection, "a", "b")),
        opened.write(lambda connection: both(connection, "b", "a")),
    )
    used = await opened.read(lambda connection: list(connection.scalars(select(USED))))
    assert used == [2, 2]
    assert len(attempts) == 3


async def test_a_lock_that_is_held_too_long_is_unavailable(opened: Database, postgres_url: str) -> None:
    await opened.write(lambda connection: add(connection, "a"))
    hasty = open_postgres(postgres_url, patience=Patience(lock_s=0.05))
    held, release = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        count_one(connection, "a")
        held.set()
        assert release.wait(10)

    holding = asyncio.create_task(opened.write(hold))
    assert await asyncio.to_thread(held.wait, 10)
    with pytest.raises(Unavailable):
        await hasty.write(lambda connection: count_one(connection, "a"))
    release.set()
    await holding
    await hasty.close()


async def test_a_process_that_stands_still_in_a_transaction_holds_its_locks_for_a_while_only(
    postgres_url: str,
) -> None:
    opened = open_postgres(postgres_url, patience=Patience(idle_s=0.05))
    stopped = threading.Event()

    def stand_still(connection: Connection) -> None:
        add(connection, "a")
        stopped.wait(0.5)
        add(connection, "b")

    with pytest.raises(Unavailable):
        await opened.write(stand_still)
    assert await opened.write(lambda connection: add(connection, "a")) == "a"
    await opened.close()


@pytest.mark.parametrize(
    "value",
    [{"key": "a\0b"}, {"key": "\ud800"}, {"used": 2**63}, {"used": None}, {"key": secrets.token_hex(4_000)}],
    ids=["NUL", "not Unicode", "past 64 bits", "nothing", "too large for an index"],
)
async def test_values_that_the_database_cannot_hold_are_refused(
    opened: Database, value: dict[str, object]
) -> None:
    row = {"key": SECRET, "start_us": 0, "end_us": 1, "used": 0} | value
    with pytest.raises(InvalidArgument) as raised:
        await opened.write(lambda connection: connection.execute(insert(WINDOW_CHECKPOINTS), [row]).close())
    assert raised.value.faults[0].reason == "DATA_REFUSED"
    assert SECRET not in str(raised.value)
    assert await opened.read(keys) == []


async def test_text_with_nul_is_refused_wherever_it_goes(opened: Database) -> None:
    control = SqlControlStore(opened, ManualClock())
    application = await control.create_application("demo", [], cause=NOBODY)
    endpoint = EndpointName("GET", "/\0")
    nameless = record("a", delta(reason="\0"))
    for attempt in (
        SqlUsageStore(opened, ManualClock()).ingest([(application.application_id, [nameless])]),
        control.find_application("\0"),
        control.register_endpoints(application.application_id, [endpoint], now_us=1),
        SqlCheckpointStore(opened, ManualClock()).save_windows([WindowState("\0", 0, 1, 1)]),
    ):
        with pytest.raises(InvalidArgument):
            await attempt


async def test_mistakes_in_the_work_pass_through(opened: Database) -> None:
    with pytest.raises(ProgrammingError):
        await opened.write(lambda connection: connection.execute(text("SELECT nonsense")).close())
    assert await opened.write(lambda connection: add(connection, "a")) == "a"


async def test_a_server_that_was_killed_is_used_again_once_it_is_back(own_postgres: PostgresServer) -> None:
    url = own_postgres.url(own_postgres.new_database())
    prepare_postgres(url, ManualClock())
    opened = open_postgres(url)
    for number in range(3):
        key = f"k-{number}"
        assert await opened.write(lambda connection, key=key: add(connection, key)) == key  # type: ignore[misc]
        assert key in await opened.read(keys)
        own_postgres.kill()
        for run in (opened.read, opened.write):
            with pytest.raises(Unavailable):
                await run(keys)
        own_postgres.start()
        own_postgres.wait_ready()
    # The first work after the outage succeeds: dead connections are found before it begins.
    assert await opened.write(keys) == ["k-0", "k-1", "k-2"]
    assert await opened.read(keys) == ["k-0", "k-1", "k-2"]
    await opened.close()


async def test_a_server_that_dies_in_mid_transaction_keeps_nothing_of_it(
    own_postgres: PostgresServer,
) -> None:
    url = own_postgres.url(own_postgres.new_database())
    prepare_postgres(url, ManualClock())
    opened = open_postgres(url)

    def die(connection: Connection) -> None:
        add(connection, SECRET)
        own_postgres.restart()
        add(connection, "b")

    with pytest.raises(Unavailable) as raised:
        await opened.write(die)
    assert SECRET not in str(raised.value)
    assert await opened.write(keys) == []
    await opened.close()


async def test_what_was_acknowledged_outlives_a_killed_server(own_postgres: PostgresServer) -> None:
    url = own_postgres.url(own_postgres.new_database())
    prepare_postgres(url, ManualClock())
    opened = open_postgres(url)
    usage = SqlUsageStore(opened, ManualClock())
    control = SqlControlStore(opened, ManualClock())
    application_id = (await control.create_application("demo", [], cause=NOBODY)).application_id
    acknowledged: list[int] = []

    async def report(lane: int) -> None:
        for number in itertools.count(lane, 4):
            await usage.ingest([(application_id, [record(f"id-{number}", delta())])])
            acknowledged.append(number)
            if len(acknowledged) == 60:
                own_postgres.kill()

    ends = await asyncio.gather(*(report(lane) for lane in range(4)), return_exceptions=True)
    assert all(isinstance(end, Unavailable) for end in ends)
    own_postgres.start()
    own_postgres.wait_ready()
    everything = [record(f"id-{number}", delta()) for number in range(max(acknowledged) + 20)]
    (outcomes,) = await usage.ingest([(application_id, everything)])
    assert {outcomes[number] for number in acknowledged} == {Outcome.DUPLICATE}
    assert (await sums(SqlAnalytics(opened), application_id))[0] == len(everything)
    await opened.close()


async def test_a_server_that_stands_still_is_unavailable_and_keeps_nobody_from_ending(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_link, "_MARGIN_S", 0.1)
    url = own_postgres.url(own_postgres.new_database())
    prepare_postgres(url, ManualClock())
    opened = open_postgres(url, patience=Patience(connect_s=2, statement_s=0.2))
    assert await opened.read(keys) == []
    with paused(own_postgres):
        for run in (opened.read, opened.write):
            with pytest.raises(Unavailable):
                await run(keys)
        began = time.monotonic()
        await opened.close()
        assert time.monotonic() - began < 30  # it would be for ever
    again = open_postgres(url)
    assert await again.write(lambda connection: add(connection, "a")) == "a"
    await again.close()


async def test_many_rows_on_their_way_stop_with_the_server_too(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_link, "_MARGIN_S", 0.1)
    url = own_postgres.url(own_postgres.new_database())
    prepare_postgres(url, ManualClock())
    opened = open_postgres(url, patience=Patience(connect_s=2, statement_s=0.5))
    checkpoints = SqlCheckpointStore(opened, ManualClock())
    windows = [WindowState(f"k-{number}", 0, 9, 1) for number in range(2_000)]
    await checkpoints.save_windows(windows)
    with paused(own_postgres), pytest.raises(Unavailable):
        await checkpoints.save_windows(windows)
    await checkpoints.save_windows(windows)
    assert len(await checkpoints.load_windows(now_us=0)) == 2_000
    await opened.close()


async def test_a_unix_socket_will_do(postgres_server: PostgresServer, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    opened = open_postgres(postgres_server.socket_url(name))
    assert await opened.write(lambda connection: add(connection, "a")) == "a"
    await opened.close()
