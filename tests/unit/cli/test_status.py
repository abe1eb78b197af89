from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from usageflow.v1.status_pb2 import (
    ApplicationStatus,
    EnforcedStatus,
    GetStatusResponse,
    ReplicaStatus,
)

DEMO = ApplicationStatus(application="demo", revision=7, plan_version=9, directory_version=3)
CURRENT = EnforcedStatus(application="demo", revision=7, plan_version=9, directory_version=3, current=True)
BEHIND = EnforcedStatus(
    application="demo",
    revision=6,
    plan_version=8,
    directory_version=3,
    versions_behind=1,
    lag=Duration(seconds=2, nanos=500_000_000),
)


def replica(pid: int, state: EnforcedStatus, *, live: bool = True, from_cache: bool = False) -> ReplicaStatus:
    return ReplicaStatus(
        replica_id=f"r-{pid}",
        host="one",
        pid=pid,
        address="127.0.0.1:1",
        age=Duration(seconds=4),
        live=live,
        from_cache=from_cache,
        enforced=[state],
    )


def response(*replicas: ReplicaStatus) -> GetStatusResponse:
    return GetStatusResponse(applications=[DEMO], replicas=replicas)


def test_who_lags_is_shown(run: Any, service: Any) -> None:
    service.will(
        "GetStatus",
        response(replica(1, CURRENT), replica(2, BEHIND, from_cache=True), replica(3, BEHIND, live=False)),
    )
    result = run("status")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "demo: revision 7, plan version 9, directory version 3"
    assert ["current" in lines[3], "1 behind for 2.5 s, from its cache" in lines[4], "gone" in lines[5]] == [
        True
    ] * 3
    assert "4 s ago" in lines[3]


def test_json_names_every_process(run: Any, service: Any) -> None:
    service.will("GetStatus", response(replica(2, BEHIND)))
    document = json.loads(run("status", "--application", "demo", "--output", "json").stdout)
    assert service.requests[0].application == "demo"
    (told,) = document["replicas"]
    assert (told["pid"], told["live"], told["age_s"]) == (2, True, 4)
    assert told["enforced"][0]["lag_s"] == 2.5
    assert document["applications"][0]["revision"] == 7


def test_waiting_ends_once_every_live_process_is_current(run: Any, service: Any) -> None:
    gone = replica(3, BEHIND, live=False)
    service.will("GetStatus", response(replica(1, BEHIND), gone), response(replica(1, CURRENT), gone))
    result = run("status", "--wait")
    assert result.exit_code == 0, result.stderr
    assert len(service.requests) == 2


def test_a_change_that_comes_while_waiting_makes_nobody_wait(run: Any, service: Any) -> None:
    later = GetStatusResponse(
        applications=[
            ApplicationStatus(application="demo", revision=8, plan_version=10, directory_version=3)
        ],
        replicas=[
            replica(1, EnforcedStatus(application="demo", revision=7, plan_version=9, directory_version=3))
        ],
    )
    service.will("GetStatus", response(replica(1, BEHIND)), later)
    assert run("status", "--wait").exit_code == 0


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (response(replica(1, BEHIND)), "one/1 is at revision 6 of demo"),
        (response(replica(1, CURRENT, live=False)), "no decision process is running"),
    ],
)
def test_waiting_too_long_is_exit_code_1(run: Any, service: Any, told: GetStatusResponse, words: str) -> None:
    service.will("GetStatus", *[told] * 50)
    result = run("status", "--wait", "--timeout", "0.5")
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr


@pytest.mark.parametrize("more", [["--wait"], ["--output", "json"]])
def test_watching_goes_alone(run: Any, more: list[str]) -> None:
    assert run("status", "--watch", *more).exit_code == 2
