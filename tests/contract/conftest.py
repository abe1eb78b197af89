"""The stores under contract: every test that asks for one runs once per back end, named by its id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import delete

from tests.causes import NOBODY
from tests.contract.counter_stores import BACK_ENDS, Maker
from usageflow.domain.clock import ManualClock
from usageflow.storage.counters import CounterStore
from usageflow.storage.decision_log import DecisionLog
from usageflow.storage.ports import CheckpointStore, ControlStore, UsageStore
from usageflow.storage.resources import ResourceStore
from usageflow.storage.sql import (
    SqlCheckpointStore,
    SqlControlStore,
    SqlDecisionLog,
    SqlResourceStore,
    SqlUsageStore,
    open_sqlite,
    prepare,
)
from usageflow.storage.sql.tables import NUMBERS


@dataclass(frozen=True)
class Stores:
    """What one process has open."""

    control: ControlStore
    usage: UsageStore
    checkpoints: CheckpointStore
    decision_log: DecisionLog
    resources: ResourceStore
    forget_numbers: Callable[[], Awaitable[None]]


Opener = Callable[[], Awaitable[Stores]]
"""Opens the same data once more, as another process or a restart would."""


@asynccontextmanager
async def _sqlite(folder: Path, clock: ManualClock) -> AsyncIterator[Opener]:
    path = folder / "usageflow.db"
    prepare(path, clock)
    async with AsyncExitStack() as closing:

        async def open_stores() -> Stores:
            database = open_sqlite(path)
            closing.push_async_callback(database.close)

            async def forget_numbers() -> None:
                await database.write(lambda connection: connection.execute(delete(NUMBERS)).close())

            return Stores(
                control=SqlControlStore(database, clock),
                usage=SqlUsageStore(database, clock),
                checkpoints=SqlCheckpointStore(database, clock),
                decision_log=SqlDecisionLog(database, clock),
                resources=SqlResourceStore(database, clock),
                forget_numbers=forget_numbers,
            )

        yield open_stores


_BACK_ENDS = {"sqlite": _sqlite}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=list(_BACK_ENDS))
async def open_stores(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Opener]:
    async with _BACK_ENDS[request.param](tmp_path, clock) as opener:
        yield opener


@pytest.fixture
async def stores(open_stores: Opener) -> Stores:
    return await open_stores()


@pytest.fixture
async def other_stores(stores: Stores, open_stores: Opener) -> Stores:
    """The same data through connections of its own."""
    return await open_stores()


@pytest.fixture
def control(stores: Stores) -> ControlStore:
    return stores.control


@pytest.fixture
def resources(stores: Stores) -> ResourceStore:
    return stores.resources


@pytest.fixture
def other_control(other_stores: Stores) -> ControlStore:
    return other_stores.control


@pytest.fixture
def usage(stores: Stores) -> UsageStore:
    return stores.usage


@pytest.fixture
def other_usage(other_stores: Stores) -> UsageStore:
    return other_stores.usage


@pytest.fixture
def checkpoints(stores: Stores) -> CheckpointStore:
    return stores.checkpoints


@pytest.fixture
def other_checkpoints(other_stores: Stores) -> CheckpointStore:
    return other_stores.checkpoints


@pytest.fixture
def decision_log(stores: Stores) -> DecisionLog:
    return stores.decision_log


@pytest.fixture
def other_decision_log(other_stores: Stores) -> DecisionLog:
    return other_stores.decision_log


@pytest.fixture
def forget_numbers(stores: Stores) -> Callable[[], Awaitable[None]]:
    """Deletes all rows that hold numbers, as a later clean-up may."""
    return stores.forget_numbers


@pytest.fixture
async def application_id(control: ControlStore) -> str:
    return (await control.create_application("demo", [], cause=NOBODY)).application_id


@pytest.fixture(params=list(BACK_ENDS))
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Maker]:
    """Makes counters of one back end, each with nothing in it."""
    async with BACK_ENDS[request.param](request) as maker:
        yield maker


@pytest.fixture
async def store(make: Maker, clock: ManualClock) -> CounterStore:
    return await make(clock)
