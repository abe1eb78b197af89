"""What the command makes of a log and a revision; the deciding itself is tested beside the engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.unit.fakes import APPLICATION_KEY, limit, policy, strategy
from usageflow.domain.policies import PolicySet
from usageflow.storage.file import Exported, encode
from usageflow.storage.ports import Application, ApplicationState
from usageflow.v1 import admin_pb2, common_pb2, decision_log_pb2

LIVE = Exported(
    ApplicationState(
        Application("app-1", "demo", 7, 11),
        PolicySet(
            strategies=(strategy(),), policies=(policy("p", "/a", limits=[limit(1)], strategy="by-user"),)
        ),
        (),
        {},
        (),
    ),
    APPLICATION_KEY,
    (),
)


def logged(
    user: str, second: int, *, asked: str = "x-user", **fields: Any
) -> decision_log_pb2.LoggedDecision:
    attribute = decision_log_pb2.LoggedAttribute(location="header", name=asked)
    usual: dict[str, Any] = {
        "time": Timestamp(seconds=1_700_000_000 + second),
        "endpoint": common_pb2.Endpoint(method="GET", template="/a"),
        "path": "/a",
        "asked": [attribute],
        "values": [decision_log_pb2.LoggedValue(attribute=attribute, plain=user)],
        "decision": common_pb2.DECISION_ALLOW,
        "reason": common_pb2.REASON_WITHIN_LIMITS,
        "identity": user,
        "percent": 100,
    }
    return decision_log_pb2.LoggedDecision(**{**usual, **fields})


DENIED: dict[str, Any] = {
    "decision": common_pb2.DECISION_DENY,
    "reason": common_pb2.REASON_LIMIT_EXCEEDED,
    "decided_by": "old",
}
LOG = [
    logged("bob", 0),
    logged("bob", 1),
    logged("amy", 2, **DENIED),
    logged("amy", 3, **DENIED),
    logged("bob", 4, asked="x-other"),
    logged("bob", 3_700, percent=20),
]


@pytest.fixture
def replaying(run: Any, service: Any) -> Any:
    service.will("ExportSnapshot", [admin_pb2.ExportSnapshotResponse(data=encode([LIVE]), revision=7)])
    service.will("ListDecisions", [decision_log_pb2.ListDecisionsResponse(decisions=LOG)])
    return run


def test_what_changes_is_told_in_groups(replaying: Any, service: Any) -> None:
    result = replaying("replay", "--revision", "7", "--since", "7d", "--each", "--output", "json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    group = {"policy": "p", "endpoint": "GET /a", "identity": "bob", "reason": "LIMIT_EXCEEDED"}
    assert shown["newly_denied"] == {
        "requests": 1,
        "groups": [{"requests": 1, **group}],
        "each": [{"time_us": 1_700_000_001_000_000, **group}],
    }
    assert shown["newly_allowed"]["groups"] == [
        {"requests": 1, "policy": "old", "endpoint": "GET /a", "identity": "amy", "reason": "LIMIT_EXCEEDED"}
    ]
    assert shown["undecidable"] == [
        {"requests": 1, "because": "header x-user was not kept: no policy read it"}
    ]
    assert (shown["requests"], shown["decided"], shown["logged_percent"]) == (6, 5, 20)
    assert [type(each).__name__ for each in service.requests] == [
        "ExportSnapshotRequest",
        "ListDecisionsRequest",
    ]


def test_people_read_lines_and_ci_an_exit_code(replaying: Any) -> None:
    result = replaying("replay", "--revision", "0", "--each", "--fail-on-new-denials")
    assert result.exit_code == 1
    assert "newly denied: 1" in result.stdout
    assert "2023-11-14T22:13:21Z GET /a bob (p)" in result.stdout
    assert "not decidable: 1" in result.stdout
    assert "20 of 100 callers were logged" in result.stdout


def test_a_file_is_tried_before_it_is_applied(replaying: Any) -> None:
    looser = "version: 1\napplication: demo\npolicies: []\n"
    result = replaying("replay", "--policies", "-", "--output", "json", stdin=looser)
    shown = json.loads(result.stdout)
    assert (shown["newly_denied"]["requests"], shown["newly_allowed"]["requests"]) == (0, 2)
    assert shown["undecidable"] == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "--revision N or --policies FILE"),
        (("--revision", "1", "--policies", "x"), "--revision N or --policies FILE"),
        (("--revision", "1", "--since", "soon"), "or how long ago"),
        (("--revision", "1", "--since", "1h", "--until", "2h"), "ends before it begins"),
    ],
)
def test_what_cannot_be_asked_is_said(bare: Any, arguments: tuple[str, ...], text: str) -> None:
    result = bare("replay", *arguments)
    assert result.exit_code == 2
    assert text in result.stderr
