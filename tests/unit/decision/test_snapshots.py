from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

import pytest

from decision.snapshots import SnapshotRegistry
from decision.watching import Sent, Watching
from tests.unit.fakes import APPLICATION_KEY, KEY_OF, FakeControl, limit, policy
from usageflow.domain.customers import Customer
from usageflow.domain.errors import Unavailable
from usageflow.domain.policies import FailMode, PolicySet
from usageflow.domain.usage import EndpointName
from usageflow.storage.directories import DirectoryChanges
from usageflow.storage.notices import LocalNotices

ONE = PolicySet(policies=(policy("one", limits=[limit(1)]),))
TWO = PolicySet(policies=(policy("two", limits=[limit(1)]),))
BROKEN = PolicySet(policies=(policy("broken", "no/slash"),))


@pytest.fixture
def control() -> FakeControl:
    made = FakeControl()
    made.add(ONE)
    return made


@pytest.fixture
def notices() -> LocalNotices:
    return LocalNotices()


@pytest.fixture
def registry(control: FakeControl, notices: LocalNotices) -> SnapshotRegistry:
    return SnapshotRegistry(control, notices, KEY_OF)


def names(registry: SnapshotRegistry, application_id: str = "app-1") -> list[str]:
    plan = registry.plan(application_id)
    return [] if plan is None else [item.name for item in plan.snapshot.policies]


async def test_what_changed_is_swapped_in(control: FakeControl, registry: SnapshotRegistry) -> None:
    assert registry.plan("app-1") is None
    await registry.refresh()
    first = registry.plan("app-1")
    assert first is not None
    assert (first.snapshot.revision, first.snapshot.hash_key) == (1, APPLICATION_KEY)
    await registry.refresh()
    assert registry.plan("app-1") is first
    control.set("app-1", TWO)
    await registry.refresh()
    assert names(registry) == ["two"]


async def test_a_state_that_does_not_compile_never_replaces_a_good_one(
    control: FakeControl, registry: SnapshotRegistry
) -> None:
    await registry.refresh()
    control.set("app-1", BROKEN)
    control.add(TWO, name="other")
    await registry.refresh()
    assert names(registry) == ["one"]
    assert names(registry, "app-2") == ["two"]
    control.set("app-1", TWO)
    await registry.refresh()
    assert names(registry) == ["two"]


async def test_even_an_unforeseen_error_keeps_the_good_one(
    control: FakeControl, registry: SnapshotRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.refresh()

    def fails(_: object) -> None:
        raise KeyError("nobody foresaw this")

    monkeypatch.setattr("decision.snapshots.build_plan", fails)
    control.set("app-1", TWO)
    await registry.refresh()
    assert names(registry) == ["one"]


async def test_who_waits_for_another_plan_gets_it(control: FakeControl, registry: SnapshotRegistry) -> None:
    waiting = asyncio.ensure_future(registry.wait_for_other("app-1", 0))
    await asyncio.sleep(0)
    assert not waiting.done()
    await registry.refresh()
    first = await waiting
    version = first.snapshot.plan_version
    assert await registry.wait_for_other("app-1", version - 1) is first
    waiting = asyncio.ensure_future(registry.wait_for_other("app-1", version))
    control.add(TWO, name="other")
    await registry.refresh()
    await asyncio.sleep(0)
    assert not waiting.done()
    control.set("app-1", TWO)
    await registry.refresh()
    assert (await waiting).snapshot.plan_version == version + 1


async def test_an_unreachable_database_leaves_the_snapshots_as_they_are(
    control: FakeControl, registry: SnapshotRegistry, notices: LocalNotices
) -> None:
    running = asyncio.ensure_future(registry.run())
    notices.publish()
    await registry.wait_for_other("app-1", 0)
    control.down = True
    notices.publish()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not running.done()
    assert names(registry) == ["one"]
    control.down = False
    control.set("app-1", TWO)
    notices.publish()
    async with asyncio.timeout(5):
        await registry.wait_for_other("app-1", 2)
    running.cancel()
    assert names(registry) == ["two"]


async def test_older_revisions_are_compiled_on_demand(
    control: FakeControl, registry: SnapshotRegistry
) -> None:
    control.set("app-1", TWO)
    await registry.refresh()
    plan = registry.plan("app-1")
    assert plan is not None
    now = plan.snapshot
    old = await registry.at(now, 1)
    assert ([item.name for item in old.policies], old.revision) == (["one"], 1)
    assert await registry.at(now, 1) is old
    for revision in (0, 2, 99):
        assert await registry.at(now, revision) is now
    control.down = True
    assert await registry.at(now, 1) is old
    with pytest.raises(Unavailable):
        await registry.at(now, 98)


async def test_only_some_older_revisions_are_kept(control: FakeControl, registry: SnapshotRegistry) -> None:
    for _ in range(30):
        control.set("app-1", TWO)
    await registry.refresh()
    plan = registry.plan("app-1")
    assert plan is not None
    for revision in range(1, 31):
        assert (await registry.at(plan.snapshot, revision)).revision == revision
    assert len(registry._old) == 16


async def test_a_watcher_gets_the_plan_now_and_on_every_change_until_it_is_drained(
    control: FakeControl, registry: SnapshotRegistry
) -> None:
    await registry.refresh()
    watching = Watching(registry)
    stream = watching.watch("app-1", 0)
    first = await anext(stream)
    assert first is not None
    assert first.plan is registry.plan("app-1")
    control.set("app-1", TWO)
    await registry.refresh()
    second = await anext(stream)
    assert second is not None
    assert second.plan.snapshot.revision == 2
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    assert not waiting.done()
    watching.drain()
    assert await waiting is None
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_watcher_that_holds_the_plan_is_not_sent_it_again(
    control: FakeControl, registry: SnapshotRegistry
) -> None:
    await registry.refresh()
    watching = Watching(registry)
    stream = watching.watch("app-1", 2)
    waiting = asyncio.ensure_future(anext(stream))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    control.set("app-1", TWO)
    await registry.refresh()
    sent = await waiting
    assert sent is not None
    assert sent.plan.snapshot.plan_version == 3
    await stream.aclose()


async def test_watchers_share_local_fallbacks_and_are_told_when_one_comes_or_goes(
    control: FakeControl, registry: SnapshotRegistry
) -> None:
    local = policy("local", limits=[limit(10)], fail_mode=FailMode.LOCAL)
    await control.register_endpoints("app-1", [EndpointName("GET", "/x")], now_us=0)
    control.set("app-1", PolicySet(policies=(local,)))
    await registry.refresh()
    watching = Watching(registry)
    first, second = watching.watch("app-1", 0), watching.watch("app-1", 0)

    async def share(stream: AsyncGenerator[Sent | None, None]) -> int:
        async with asyncio.timeout(5):
            sent = await anext(stream)
        assert sent is not None
        return sent.share_ppm

    assert await share(first) == 1_000_000
    assert await share(second) == 500_000
    assert await share(first) == 500_000
    await second.aclose()
    assert await share(first) == 1_000_000
    await first.aclose()


async def test_a_watcher_that_leaves_takes_nothing_along(registry: SnapshotRegistry) -> None:
    await registry.refresh()
    watching = Watching(registry)
    before = asyncio.all_tasks()
    waiting = asyncio.ensure_future(anext(watching.watch("app-1", 2)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_an_application_that_is_gone_is_forgotten_and_may_come_back(
    control: FakeControl, registry: SnapshotRegistry
) -> None:
    swaps: list[int] = []
    registry.on_swap(lambda: swaps.append(1))
    await registry.refresh()
    state = control.states.pop("app-1")
    await registry.refresh()
    assert registry.plan("app-1") is None
    assert registry.in_force() == {}
    assert len(swaps) == 2
    control.states["app-1"] = state
    await registry.refresh()
    assert names(registry) == ["one"]


async def test_customers_are_asked_for_only_where_the_poll_found_another_version(
    control: FakeControl, registry: SnapshotRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    changes = control.directory_changes

    async def counted(known: Mapping[str, int]) -> Mapping[str, DirectoryChanges]:
        asked.append(dict(known))
        return await changes(known)

    monkeypatch.setattr(control, "directory_changes", counted)
    await registry.refresh()
    control.enter("app-1", Customer(name="acme", plan=""))
    await registry.refresh()
    await registry.refresh()
    assert asked == [{}]
