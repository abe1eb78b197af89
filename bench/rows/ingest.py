"""Reports into a database, 1,000 events or counts a call with several calls in flight, next to bare inserts of the same rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

from sqlalchemy import Connection

from bench.figures import NotMeasured
from bench.helpers.ingester import PER_CALL, REQUESTS
from bench.helpers.lines import Helper
from bench.rows.batches import LIMITS, PATH
from bench.rows.inserts import Rows, inserted_per_s, size_bytes, stored
from bench.run import Run
from bench.service import Operator, cpu_s_of, policy
from tools.postgres_servers import PostgresServer
from tools.processes import ProcessFailed, Service
from tools.shared_form import Installation
from usageflow.runtime.clock import SystemClock
from usageflow.storage.sql import Database, open_postgres, open_sqlite, prepare

ROUNDS = 3
CALLS = 16
IN_FLIGHT = 4
_MIB = 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Served:
    """A running service: its process and how its database, and an empty one like it, are opened."""

    address: str
    credentials: dict[str, str]
    pid: int
    opened: Callable[[], Database]
    empty: Callable[[], Database]


def events_on_sqlite(run: Run) -> float:
    """Returns events per second."""
    with _sqlite(run.new_folder()) as served:
        return _events(run, "sqlite", served)


def events_on_postgres(run: Run) -> float:
    """Returns events per second."""
    with _postgres(run.new_folder()) as served:
        return _events(run, "postgres", served)


def counts(run: Run) -> float:
    """Returns the requests per second that counts account for, on SQLite."""
    with _sqlite(run.new_folder()) as served:
        batches, cpu_s = _rounds(run, served, "counts")
    requests = PER_CALL * REQUESTS
    run.beside("ingest_counts_cpu", "counts: the service's CPU", cpu_s / PER_CALL * 1e6, "us/count")
    return batches * requests


def _events(run: Run, name: str, served: _Served) -> float:
    before = _ask(served.opened, size_bytes)
    rate, cpu_s = _rounds(run, served, "events")
    rows = _ask(served.opened, stored)
    grown = _ask(served.opened, size_bytes) - before
    raw = asyncio.run(_inserted(served.empty(), rows))
    events = (ROUNDS + 1) * CALLS * PER_CALL
    run.beside(f"ingest_{name}_cpu", f"events, {name}: the service's CPU", cpu_s * 1e6, "us/event")
    run.beside(f"ingest_{name}_raw", f"events, {name}: bare inserts of their rows", raw, "events/s")
    run.beside(f"ingest_{name}_ratio", f"events, {name}: Report ÷ bare inserts", rate / raw, "ratio")
    run.beside(f"ingest_{name}_size", f"a million events, {name}", grown / events * 1e6 / _MIB, "MiB")
    return rate


def _rounds(run: Run, served: _Served, kind: str) -> tuple[float, float]:
    """Returns what was accepted per second (events, or batches) and the service's CPU seconds of one: medians of rounds."""
    each = PER_CALL if kind == "events" else 1
    with Operator(served.address, served.credentials) as operator:
        operator.apply([policy("orders", ["POST"], PATH, LIMITS)])
        (numbers,) = operator.register([("POST", PATH)])
    told = (served.address, served.credentials["api_key"], str(numbers.endpoint), str(numbers.plan))
    rates, spent = [], []
    with Helper("ingester", *told) as ingester:
        for number in range(ROUNDS + 1):
            ingester.ask({"make": kind, "calls": CALLS})
            before = cpu_s_of(served.pid)
            accepted, seconds = ingester.ask({"send": IN_FLIGHT})
            if accepted != CALLS * each:
                raise NotMeasured(f"of {CALLS * each} {kind} only {accepted} were accepted")
            if number:  # the first one meets nothing that is remembered
                rates.append(accepted / seconds)
                spent.append((cpu_s_of(served.pid) - before) / accepted)
                run.say(f"round {number}: {rates[-1]:,.0f}/s, {spent[-1] * 1e6:,.0f} us of CPU each")
    return median(rates), median(spent)


def _ask(opened: Callable[[], Database], read: Callable[[Connection], T]) -> T:
    async def ask() -> T:
        database = opened()
        try:
            return await database.read(read)
        finally:
            await database.close()

    return asyncio.run(ask())


async def _inserted(database: Database, rows: Rows) -> float:
    try:
        return await inserted_per_s(database, rows)
    finally:
        await database.close()


@contextmanager
def _sqlite(folder: Path) -> Iterator[_Served]:
    path, empty = folder / "usageflow.db", folder / "empty.db"
    prepare(empty, SystemClock())
    with Service(folder) as service:
        address = _ready(service.wait_ready)
        yield _Served(
            address, service.credentials, service.pid, partial(open_sqlite, path), partial(open_sqlite, empty)
        )


@contextmanager
def _postgres(folder: Path) -> Iterator[_Served]:
    with PostgresServer() as server:
        empty = Installation(server.url(server.new_database()), folder)
        empty.bootstrap()
        installation = Installation(server.url(server.new_database()), folder)
        installation.bootstrap()
        credentials = {"api_key": installation.api_key, "admin_token": installation.admin_token}
        with installation.role("all", "all") as service:
            address = _ready(service.wait_ready)
            opened = partial(open_postgres, installation.url)
            yield _Served(address, credentials, service.pid, opened, partial(open_postgres, empty.url))


def _ready(wait: Callable[[], str]) -> str:
    try:
        return wait()
    except ProcessFailed as error:
        raise NotMeasured(str(error).strip().splitlines()[-1]) from None
