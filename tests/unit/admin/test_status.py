from __future__ import annotations

from collections.abc import Sequence

import pytest

from admin.status import LIVE_US, Statuses
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import NotFound
from usageflow.storage.replicas import Enforced, Newest, Replica, Report

NOW_US = 1_000_000_000
REPLICA = Replica("r-1", "one", 11, "127.0.0.1:1", 100)
DEMO = Newest("app-1", "demo", 7, 9, 3, NOW_US - 2_000_000)


class FakeReplicas:
    def __init__(self, *reports: Report) -> None:
        self._reports = reports

    async def report(self, report: Report) -> None:
        raise NotImplementedError

    async def leave(self, replica_id: str) -> None:
        raise NotImplementedError

    async def reports(self) -> Sequence[Report]:
        return self._reports

    async def newest(self) -> Sequence[Newest]:
        return [DEMO]


def statuses(*reports: Report) -> Statuses:
    return Statuses(FakeReplicas(*reports), ManualClock(NOW_US))


@pytest.mark.parametrize(
    ("plan_version", "directory_version", "behind", "lag_us"),
    [(9, 3, 0, None), (8, 3, 1, 2_000_000), (9, 2, 0, 2_000_000)],
)
async def test_who_lags_is_told_by_versions_and_time(
    plan_version: int, directory_version: int, behind: int, lag_us: int | None
) -> None:
    state = Enforced(6, plan_version, directory_version, 1)
    status = await statuses(Report(REPLICA, NOW_US, {"app-1": state})).status("")
    (here,) = status.replicas[0].enforced
    assert (here.versions_behind, here.lag_us) == (behind, lag_us)


async def test_who_loaded_nothing_lags() -> None:
    (replica,) = (await statuses(Report(REPLICA, NOW_US, {})).status("demo")).replicas
    assert (replica.enforced[0].state.plan_version, replica.enforced[0].versions_behind) == (0, 9)


@pytest.mark.parametrize(("age_us", "live"), [(0, True), (LIVE_US - 1, True), (LIVE_US, False)])
async def test_who_is_silent_counts_as_gone(age_us: int, live: bool) -> None:
    (replica,) = (await statuses(Report(REPLICA, NOW_US - age_us, {})).status("")).replicas
    assert (replica.age_us, replica.live) == (age_us, live)


async def test_an_unknown_application_is_not_found() -> None:
    with pytest.raises(NotFound):
        await statuses().status("nobody")
