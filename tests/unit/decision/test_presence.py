from __future__ import annotations

from collections.abc import Sequence

import pytest

from decision.presence import Presence
from decision.snapshots import SnapshotRegistry
from tests.unit.fakes import KEY_OF, FakeControl, limit, policy
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import Unavailable
from usageflow.domain.policies import PolicySet
from usageflow.storage.notices import LocalNotices
from usageflow.storage.replicas import Enforced, Newest, Replica, Report

ONE = PolicySet(policies=(policy("one", limits=[limit(1)]),))
REPLICA = Replica("r-1", "one", 11, "", 100)


class FakeReplicas:
    def __init__(self) -> None:
        self.seen: list[Report] = []
        self.left: list[str] = []
        self.down = False

    async def report(self, report: Report) -> None:
        if self.down:
            raise Unavailable("the database is down")
        self.seen.append(report)

    async def leave(self, replica_id: str) -> None:
        self.left.append(replica_id)

    async def reports(self) -> Sequence[Report]:
        return self.seen

    async def newest(self) -> Sequence[Newest]:
        return []


class Desk:
    def __init__(self) -> None:
        self.control, self.clock, self.store = FakeControl(), ManualClock(), FakeReplicas()
        self.control.add(ONE)
        self.cached = False
        self.snapshots = SnapshotRegistry(self.control, LocalNotices(), KEY_OF)
        self.presence = Presence(REPLICA, self.snapshots, self.store, self.clock, lambda: self.cached)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_it_tells_what_is_in_force_and_since_when(desk: Desk) -> None:
    await desk.snapshots.refresh()
    since_us = desk.clock.now_us()
    desk.clock.advance(seconds=5)
    desk.presence.serve_at("127.0.0.1:9")
    desk.cached = True
    await desk.presence.report()
    (told,) = desk.store.seen
    assert told.seen_us == since_us + 5_000_000
    assert (told.replica.address, told.replica.from_cache) == ("127.0.0.1:9", True)
    assert told.states == {"app-1": Enforced(1, 2, 0, since_us)}
    desk.control.set("app-1", ONE)
    await desk.snapshots.refresh()
    await desk.presence.report()
    assert desk.store.seen[-1].states == {"app-1": Enforced(2, 3, 0, since_us + 5_000_000)}


async def test_a_silent_database_stops_nothing(desk: Desk) -> None:
    desk.store.down = True
    await desk.presence.report()
    await desk.presence.leave()
    assert desk.store.left == []
    desk.store.down = False
    await desk.presence.report()
    await desk.presence.leave()
    assert desk.store.left == ["r-1"]
