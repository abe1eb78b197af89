"""The contract of InventoryStore, and of what ControlStore registers for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, insert, select, update

from tests.causes import NOBODY
from tests.contract.test_usage_store import delta, record
from usageflow.domain.errors import NotFound
from usageflow.domain.releases import release_of
from usageflow.domain.usage import EndpointName
from usageflow.storage.inventory import Calls, HadBy, InventoryRows, InventoryStore
from usageflow.storage.ports import ControlStore, UsageStore
from usageflow.storage.resources import ResourceStore
from usageflow.storage.sql import Database
from usageflow.storage.sql.tables import ENDPOINT_NAMES, USAGE_DAYS, USAGE_HOURS, USAGE_SERIES

A, B, C = EndpointName("GET", "/a"), EndpointName("GET", "/b"), EndpointName("POST", "/c/{id}")
HOUR = 3600


class Desk:
    """Registers as clients do, each time a second later."""

    def __init__(self, control: ControlStore, inventory: InventoryStore, application_id: str) -> None:
        self.control, self.inventory, self.application_id = control, inventory, application_id
        self.now_us = 0

    async def register(self, release: str, *routes: EndpointName, service: str = "") -> None:
        self.now_us += 1_000_000
        of = release_of(service, release, routes)
        await self.control.register_endpoints(self.application_id, routes, now_us=self.now_us, release=of)

    async def look(self, since: int = 0, *, daily: bool = False) -> InventoryRows:
        return await self.inventory.inventory(self.application_id, since=since, daily=daily)

    async def gone(self) -> set[EndpointName]:
        rows = await self.look()
        newest = {each.service: each.number for each in rows.newest}
        return {
            name
            for name, row in rows.registered.items()
            if row.services and all(each.number < newest[each.service] for each in row.services)
        }


@pytest.fixture
def desk(control: ControlStore, inventory: InventoryStore, application_id: str) -> Desk:
    return Desk(control, inventory, application_id)


async def test_a_release_that_drops_a_route_is_told(desk: Desk) -> None:
    await desk.register("v1", A, B)
    assert await desk.gone() == set()
    await desk.register("v2", A, C)
    assert await desk.gone() == {B}
    rows = await desk.look()
    assert rows.registered[B].services == (HadBy("", "v1", 1),)
    assert rows.registered[A].services == (HadBy("", "v2", 2),)
    assert [(each.release, each.first_seen_us, each.last_seen_us) for each in rows.newest] == [
        ("v2", 2_000_000, 2_000_000)
    ]


async def test_old_processes_that_register_again_change_nothing(desk: Desk) -> None:
    """A rolling deploy: the old release is there, and registers, for as long as it takes."""
    await desk.register("v1", A, B)
    await desk.register("v2", A, C)
    version = (await desk.control.plan_versions())[desk.application_id]
    for release, routes in (("v1", (A, B)), ("v2", (A, C)), ("v1", (B, A)), ("v1", (A,)), ("v1", (A, B))):
        await desk.register(release, *routes)
        assert await desk.gone() == {B}
    assert (await desk.look()).newest[0].release == "v2"
    assert (await desk.control.plan_versions())[desk.application_id] == version


async def test_routes_that_come_late_belong_to_the_same_release(desk: Desk) -> None:
    await desk.register("v1", A)
    await desk.register("v1", B)
    assert await desk.gone() == set()


async def test_without_a_name_each_set_of_routes_is_a_release(desk: Desk) -> None:
    await desk.register("", A, B)
    await desk.register("", B, A)
    assert (await desk.look()).newest[0].number == 1
    await desk.register("", A)
    assert await desk.gone() == {B}


async def test_services_have_releases_of_their_own(desk: Desk) -> None:
    await desk.register("v1", A, B, service="web")
    await desk.register("2026-11", B, C, service="worker")
    assert await desk.gone() == set()
    await desk.register("v2", A, service="web")
    assert await desk.gone() == set()  # the worker has it still
    await desk.register("2026-12", C, service="worker")
    assert await desk.gone() == {B}
    assert [(each.service, each.release) for each in (await desk.look()).newest] == [
        ("web", "v2"),
        ("worker", "2026-12"),
    ]


async def test_old_releases_are_forgotten_and_numbers_go_on(desk: Desk) -> None:
    for number in range(105):
        await desk.register(f"v{number}", A)
    (newest,) = (await desk.look()).newest
    assert (newest.release, newest.number) == ("v104", 105)


async def test_releases_that_are_registered_at_once_get_numbers_of_their_own(desk: Desk) -> None:
    await asyncio.gather(*(desk.register(f"v{number}", A, B) for number in range(5)))
    (newest,) = (await desk.look()).newest
    assert newest.number == 5


async def test_sighted_endpoints_are_known_to_plans_and_not_registered(desk: Desk) -> None:
    await desk.register("v1", A)
    version = (await desk.control.plan_versions())[desk.application_id]
    sight = desk.control.sight_endpoints
    assert await sight(desk.application_id, [A, B, B, C], now_us=5, most=10) == [B, C]
    assert (await desk.control.plan_versions())[desk.application_id] == version + 1
    assert await sight(desk.application_id, [B, A], now_us=6, most=10) == []
    assert (await desk.control.plan_versions())[desk.application_id] == version + 1
    state = await desk.control.load(desk.application_id)
    assert set(state.endpoints) == {A, B, C}
    rows = (await desk.look()).registered
    assert [(rows[each].sighted, bool(rows[each].number)) for each in (A, B)] == [(False, True), (True, True)]
    await desk.register("v1", B)
    row = (await desk.look()).registered[B]
    assert (row.sighted, row.first_us) == (False, desk.now_us)


async def test_sighted_endpoints_are_bounded_and_deleted_ones_stay_deleted(
    desk: Desk, resources: ResourceStore
) -> None:
    await desk.register("v1", A)
    await resources.drop_endpoint(desk.application_id, A, cause=NOBODY)
    sight = desk.control.sight_endpoints
    assert await sight(desk.application_id, [A, B, C], now_us=5, most=1) == [B]
    assert await sight(desk.application_id, [C], now_us=5, most=1) == []
    assert set((await desk.look()).registered) == {B}
    with pytest.raises(NotFound):
        await sight("nobody", [A], now_us=5, most=1)


async def test_calls_are_what_was_reported(desk: Desk, usage: UsageStore) -> None:
    deltas = [
        delta(A, second=HOUR - 1, requests=5),
        delta(A, second=HOUR, requests=2, status=503),
        delta(A, second=2 * HOUR, requests=3, status=429, denied=True),
        delta(B, second=7, requests=4),
    ]
    await usage.ingest([(desk.application_id, [record(str(n), each) for n, each in enumerate(deltas)])])
    calls = (await desk.look(HOUR)).calls
    assert calls == {A: Calls(HOUR - 1, 2 * HOUR, 5, 2, 3), B: Calls(7, 7, 0, 0, 0)}


@pytest.mark.parametrize("daily", [False, True])
async def test_folded_sums_count_beside_what_is_not_folded_yet(
    desk: Desk, usage: UsageStore, open_database: Callable[[], Database], daily: bool
) -> None:
    await usage.ingest([(desk.application_id, [record("a", delta(A, second=10 * HOUR, requests=2))])])
    start = 0 if daily else 9 * HOUR

    def fold(connection: Connection) -> None:
        sums = {"whole": 0, "pico": 0, "request_bytes": 0, "response_bytes": 0, "latency": b""}
        of_a = ENDPOINT_NAMES.c.template == A.template
        endpoint = connection.scalar(select(ENDPOINT_NAMES.c.endpoint_id).where(of_a))
        series = connection.scalar(
            select(USAGE_SERIES.c.series_id).where(USAGE_SERIES.c.endpoint_id == endpoint)
        )
        table = USAGE_DAYS if daily else USAGE_HOURS
        for at, requests in ((start, 40), (start - 86_400, 1_000)):
            connection.execute(insert(table).values(series_id=series, start=at, requests=requests, **sums))
        connection.execute(update(ENDPOINT_NAMES).where(of_a).values(first_used=3, last_used=9 * HOUR))

    await open_database().write(fold)
    assert (await desk.look(start, daily=daily)).calls == {A: Calls(3, 10 * HOUR, 42, 0, 0)}


async def test_of_one_application_only(desk: Desk, usage: UsageStore) -> None:
    other = await desk.control.create_application("other", [], cause=NOBODY)
    await usage.ingest([(other.application_id, [record("a")])])
    assert await desk.look() == InventoryRows({}, {}, [])
