"""The stores under contract: every test that asks for one runs once per back end, named by its id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import delete

from tests.causes import NOBODY
from tests.contract.billing_world import World
from tests.contract.counter_stores import BACK_ENDS, Maker
from usageflow.domain.clock import ManualClock
from usageflow.storage.analytics import RollupStore, UsageAnalytics
from usageflow.storage.audit import AuditLog
from usageflow.storage.counters import CounterStore
from usageflow.storage.credentials import CredentialStore
from usageflow.storage.decision_log import DecisionLog
from usageflow.storage.erasing import ErasureStore
from usageflow.storage.events import EventStore
from usageflow.storage.identities import IdentityStore
from usageflow.storage.inventory import InventoryStore
from usageflow.storage.ports import CheckpointStore, ControlStore, UsageStore
from usageflow.storage.resources import ResourceStore
from usageflow.storage.retention import RetentionStore
from usageflow.storage.sql import (
    Database,
    SqlAnalytics,
    SqlAuditLog,
    SqlBilling,
    SqlCheckpointStore,
    SqlControlStore,
    SqlCredentialStore,
    SqlDecisionLog,
    SqlErasureStore,
    SqlEventStore,
    SqlIdentityStore,
    SqlInventoryStore,
    SqlResourceStore,
    SqlRetentionStore,
    SqlUpkeepStore,
    SqlUsageStore,
    open_postgres,
    open_sqlite,
    prepare,
)
from usageflow.storage.sql.tables import IDENTITIES, NUMBERS
from usageflow.storage.upkeep import UpkeepStore


@dataclass(frozen=True)
class Stores:
    """What one process has open."""

    control: ControlStore
    usage: UsageStore
    checkpoints: CheckpointStore
    credentials: CredentialStore
    audit: AuditLog
    decision_log: DecisionLog
    events: EventStore
    identities: IdentityStore
    erasures: ErasureStore
    retention: RetentionStore
    upkeep: UpkeepStore
    database: Database
    resources: ResourceStore
    inventory: InventoryStore
    forget_numbers: Callable[[], Awaitable[None]]
    analytics: UsageAnalytics
    rollups: RollupStore
    forget_identities: Callable[[], Awaitable[None]]


Opener = Callable[[], Awaitable[Stores]]
"""Opens the same data once more, as another process or a restart would."""


@asynccontextmanager
async def _sqlite(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Database]]:
    path = request.getfixturevalue("tmp_path") / "usageflow.db"
    prepare(path, ManualClock())
    yield lambda: open_sqlite(path)


@asynccontextmanager
async def _postgresql(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Database]]:
    url: str = request.getfixturevalue("postgres_url")
    yield lambda: open_postgres(url)


def _stores(database: Database, clock: ManualClock) -> Stores:
    async def forget_numbers() -> None:
        await database.write(lambda connection: connection.execute(delete(NUMBERS)).close())

    async def forget_identities() -> None:
        await database.write(lambda connection: connection.execute(delete(IDENTITIES)).close())

    return Stores(
        control=SqlControlStore(database, clock),
        usage=SqlUsageStore(database, clock),
        checkpoints=SqlCheckpointStore(database, clock),
        credentials=SqlCredentialStore(database, clock),
        audit=SqlAuditLog(database),
        decision_log=SqlDecisionLog(database, clock),
        events=SqlEventStore(database),
        identities=SqlIdentityStore(database),
        erasures=SqlErasureStore(database, clock),
        retention=SqlRetentionStore(database),
        upkeep=SqlUpkeepStore(database),
        database=database,
        resources=SqlResourceStore(database, clock),
        inventory=SqlInventoryStore(database),
        forget_numbers=forget_numbers,
        analytics=SqlAnalytics(database),
        rollups=SqlAnalytics(database),
        forget_identities=forget_identities,
    )


_BACK_ENDS = {"sqlite": _sqlite, "postgresql": _postgresql}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=list(_BACK_ENDS))
async def open_database(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Database]]:
    """Opens the same database once more, as another process or a restart would; it is closed after the test."""
    async with _BACK_ENDS[request.param](request) as opener, AsyncExitStack() as closing:

        def open_one() -> Database:
            database = opener()
            closing.push_async_callback(database.close)
            return database

        yield open_one


@pytest.fixture
def open_stores(open_database: Callable[[], Database], clock: ManualClock) -> Opener:
    async def open_all() -> Stores:
        return _stores(open_database(), clock)

    return open_all


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
def other_control(other_stores: Stores) -> ControlStore:
    return other_stores.control


@pytest.fixture
def inventory(stores: Stores) -> InventoryStore:
    return stores.inventory


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
def credentials(stores: Stores) -> CredentialStore:
    return stores.credentials


@pytest.fixture
def other_credentials(other_stores: Stores) -> CredentialStore:
    return other_stores.credentials


@pytest.fixture
def resources(stores: Stores) -> ResourceStore:
    return stores.resources


@pytest.fixture
def other_resources(other_stores: Stores) -> ResourceStore:
    return other_stores.resources


@pytest.fixture
def audit(stores: Stores) -> AuditLog:
    return stores.audit


@pytest.fixture
def decision_log(stores: Stores) -> DecisionLog:
    return stores.decision_log


@pytest.fixture
def erasures(stores: Stores) -> ErasureStore:
    return stores.erasures


@pytest.fixture
def retention(stores: Stores) -> RetentionStore:
    return stores.retention


@pytest.fixture
def upkeep(stores: Stores) -> UpkeepStore:
    return stores.upkeep


@pytest.fixture
def other_upkeep(other_stores: Stores) -> UpkeepStore:
    return other_stores.upkeep


@pytest.fixture
def database(stores: Stores) -> Database:
    return stores.database


@pytest.fixture
def other_decision_log(other_stores: Stores) -> DecisionLog:
    return other_stores.decision_log


@pytest.fixture
def events(stores: Stores) -> EventStore:
    return stores.events


@pytest.fixture
def identities(stores: Stores) -> IdentityStore:
    return stores.identities


@pytest.fixture
def forget_numbers(stores: Stores) -> Callable[[], Awaitable[None]]:
    """Deletes all rows that hold numbers, as a later clean-up may."""
    return stores.forget_numbers


@pytest.fixture
async def application_id(control: ControlStore) -> str:
    return (await control.create_application("demo", [], cause=NOBODY)).application_id


@pytest.fixture
def billing(stores: Stores, other_stores: Stores, clock: ManualClock, application_id: str) -> World:
    return World(
        SqlBilling(stores.database, clock),
        SqlBilling(other_stores.database, clock),
        stores.usage,
        stores.database,
        application_id,
    )


@pytest.fixture(params=list(BACK_ENDS))
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Maker]:
    """Makes counters of one back end, each with nothing in it."""
    async with BACK_ENDS[request.param](request) as maker:
        yield maker


@pytest.fixture
async def store(make: Maker, clock: ManualClock) -> CounterStore:
    return await make(clock)
