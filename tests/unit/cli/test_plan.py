from __future__ import annotations

import json
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from usageflow.v1 import admin_pb2, revisions_pb2

TEXT = "version: 1\napplication: demo\npolicies: [{name: p, match: {path: /a}}]\n"


def field(path: str, **values: Any) -> revisions_pb2.FieldDifference:
    made = {name: ParseDict(value, Value()) for name, value in values.items()}
    return revisions_pb2.FieldDifference(path=path, **made)


ANSWER = admin_pb2.ApplyResponse(
    revision=7,
    changes=[
        revisions_pb2.Change(
            action=revisions_pb2.CHANGE_ACTION_DELETED,
            kind="policy",
            name="old",
            fields=[field("stop", before=True)],
        ),
        revisions_pb2.Change(
            action=revisions_pb2.CHANGE_ACTION_UPDATED,
            kind="policy",
            name="p",
            fields=[
                field("limits[hourly].limit", before=100, after=200),
                field("match", after={"path": "/ü", "methods": ["GET"]}),
            ],
        ),
    ],
)


def test_every_field_is_a_line(run: Any, service: Any) -> None:
    service.will("Apply", ANSWER)
    result = run("plan", "-f", "-", stdin=TEXT)
    assert result.exit_code == 0
    assert service.requests[0].validate_only
    assert result.stdout == (
        "- policy old\n"
        "    - stop: true\n"
        "~ policy p\n"
        "    ~ limits[hourly].limit: 100 -> 200\n"
        '    + match: {"methods": ["GET"], "path": "/ü"}\n'
        "demo: 1 to change, 1 to delete; the revision in force is 7\n"
    )


def test_programs_read_json_and_an_exit_code(run: Any, service: Any) -> None:
    service.will("Apply", ANSWER)
    result = run("plan", "-f", "-", "--output", "json", "--detailed-exitcode", stdin=TEXT)
    assert result.exit_code == 2
    shown = json.loads(result.stdout)
    assert shown["changes"][1]["fields"][0] == {
        "path": "limits[hourly].limit",
        "before": 100,
        "after": 200,
    }


def test_nothing_to_do_is_said(run: Any, service: Any) -> None:
    service.will("Apply", admin_pb2.ApplyResponse(revision=7))
    result = run("plan", "-f", "-", "--detailed-exitcode", stdin=TEXT)
    assert result.exit_code == 0
    assert result.stdout == "demo: no changes; the revision in force is 7\n"


def test_a_mistake_is_told_at_its_place(run: Any, service: Any) -> None:
    result = run("plan", "-f", "-", stdin=TEXT.replace("/a", "a"))
    assert result.exit_code == 1
    assert "<stdin>:3:" in result.stderr
    assert not service.requests
