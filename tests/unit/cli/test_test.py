from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.unit.storage.test_snapshot_document import EXPORTED
from usageflow.storage.file import encode
from usageflow.v1 import admin_pb2

EXAMPLES = Path(__file__).parents[3] / "examples"
CASES = "version: 1\ncases:\n  - {name: one, request: {path: /a}, expect: {decision: ALLOW}}\n"
DENIED = CASES.replace("ALLOW", "DENY")
POLICIES = "version: 1\napplication: demo\n"


def test_the_example_holds(bare: Any) -> None:
    result = bare("test", "-f", str(EXAMPLES / "usageflow.cases.yaml"), "--output", "json")
    assert result.exit_code == 0, result.output
    assert [each["holds"] for each in json.loads(result.stdout)] == [True] * 8


def test_what_fails_is_told_and_reported(bare: Any, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICIES)
    result = bare("test", "-f", "-", "--policies", "p.yaml", "--junit", "out.xml", stdin=DENIED)
    assert result.exit_code == 1
    assert "one: decision: expected DENY, got ALLOW" in result.stdout
    assert "1 cases, 1 failed" in result.stdout
    suite = ET.fromstring((tmp_path / "out.xml").read_bytes())
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "decision: expected DENY, got ALLOW"


def test_a_live_revision_comes_from_the_service(run: Any, service: Any) -> None:
    service.will("ExportSnapshot", [admin_pb2.ExportSnapshotResponse(data=encode([EXPORTED]), revision=7)])
    result = run("test", "-f", "-", "--revision", "7", stdin=CASES)
    assert result.exit_code == 0, result.output
    assert service.requests[0].revision == 7


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--policies", "p.yaml", "--revision", "1"), 2, "a file or a revision, not both"),
        ((), 1, "names no policies"),
        (("--policies", "gone.yaml"), 1, "cannot read gone.yaml"),
    ],
)
def test_what_cannot_be_run_is_said(run: Any, arguments: tuple[str, ...], code: int, text: str) -> None:
    result = run("test", "-f", "-", *arguments, stdin=CASES)
    assert result.exit_code == code
    assert text in result.output


def test_a_bad_case_file_is_told_at_its_place(bare: Any) -> None:
    result = bare("test", "-f", "-", stdin=CASES.replace("path", "pth"))
    assert result.exit_code == 1
    assert "<stdin>:3:" in result.stderr
