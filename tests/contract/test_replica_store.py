"""The contract of ReplicaStore."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.causes import NOBODY
from tests.contract.test_control_store import change_of
from tests.unit.fakes import limit, policy
from usageflow.domain.customers import Customer
from usageflow.domain.policies import PolicySet
from usageflow.storage.ports import ControlStore
from usageflow.storage.replicas import KEPT_US, Enforced, Replica, ReplicaStore, Report
from usageflow.storage.sql import Database, SqlReplicaStore

FIRST = Replica("r-1", "one", 11, "127.0.0.1:1", 100)
SECOND = Replica("r-2", "two", 22, "127.0.0.1:2", 50, from_cache=True)
STATE = Enforced(1, 2, 3, 4)


@pytest.fixture
def replicas(open_database: Callable[[], Database]) -> ReplicaStore:
    return SqlReplicaStore(open_database())


async def test_the_last_report_of_each_counts(replicas: ReplicaStore) -> None:
    assert await replicas.reports() == []
    await replicas.report(Report(FIRST, 1_000, {"a": STATE, "b": STATE}))
    await replicas.report(Report(SECOND, 1_001, {}))
    newer = Report(FIRST, 1_002, {"a": Enforced(9, 9, 9, 9)})
    await replicas.report(newer)
    assert await replicas.reports() == [Report(SECOND, 1_001, {}), newer]


async def test_who_leaves_is_forgotten(replicas: ReplicaStore) -> None:
    await replicas.report(Report(FIRST, 1_000, {"a": STATE}))
    await replicas.report(Report(SECOND, 1_000, {"a": STATE}))
    await replicas.leave("r-1")
    await replicas.leave("r-9")
    assert await replicas.reports() == [Report(SECOND, 1_000, {"a": STATE})]


async def test_who_was_silent_for_an_hour_is_forgotten(replicas: ReplicaStore) -> None:
    await replicas.report(Report(FIRST, 1_000, {"a": STATE}))
    await replicas.report(Report(SECOND, 1_000 + KEPT_US, {}))
    assert len(await replicas.reports()) == 2
    await replicas.report(Report(SECOND, 1_001 + KEPT_US, {}))
    assert await replicas.reports() == [Report(SECOND, 1_001 + KEPT_US, {})]


async def test_what_is_stored_is_told_by_name(
    control: ControlStore, open_database: Callable[[], Database]
) -> None:
    replicas = SqlReplicaStore(open_database())
    assert await replicas.newest() == []
    shop = await control.create_application("shop", [], cause=NOBODY)
    demo = await control.create_application("demo", [], cause=NOBODY)
    policies = PolicySet(policies=(policy("one", limits=[limit(1)]),))
    change = change_of(policies=policies, customers_upserted=(Customer(name="acme", plan=""),))
    after = await control.change(
        demo.application_id, change, cause=NOBODY, expected_plan_version=demo.plan_version
    )
    found = await replicas.newest()
    assert [(item.application_id, item.name) for item in found] == [
        (demo.application_id, "demo"),
        (shop.application_id, "shop"),
    ]
    versions = [(item.revision, item.plan_version, item.directory_version) for item in found]
    assert versions == [(1, after.plan_version, 1), (0, shop.plan_version, 0)]


async def test_versions_hold_the_directory_too(control: ControlStore) -> None:
    demo = await control.create_application("demo", [], cause=NOBODY)
    customers = (Customer(name="acme", plan=""),)
    await control.change(
        demo.application_id,
        change_of(customers_upserted=customers),
        cause=NOBODY,
        expected_plan_version=demo.plan_version,
    )
    (version,) = (await control.versions()).values()
    assert (version.plan, version.directory) == (demo.plan_version, 1)
