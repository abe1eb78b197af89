"""What is exported is read back to the same, and what differs is shown line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given

from tests.unit.fakes import steady
from tests.unit.policyfile.generated import Generated, documents
from usageflow.cli.live import policies_of
from usageflow.domain.policies import PolicySet
from usageflow.expressions import check
from usageflow.messages import plan_message, policy_message, strategy_message
from usageflow.policyfile import load
from usageflow.policyfile.writing import write
from usageflow.v1.revisions_pb2 import GetRevisionResponse

EXAMPLE = (Path(__file__).parents[3] / "examples" / "usageflow.yaml").read_text(encoding="utf-8")


def answer(policies: PolicySet) -> GetRevisionResponse:
    return GetRevisionResponse(
        strategies=[strategy_message(each) for each in policies.strategies],
        policies=[policy_message(each) for each in policies.policies],
        plans=[plan_message(each) for each in policies.plans],
    )


def declared(text: str = EXAMPLE) -> PolicySet:
    return load(text, filename="f.yaml", check=check).policy_set


@steady
@given(documents())
def test_what_is_exported_is_read_back(made: Generated) -> None:
    text = write(made.application, policies_of(answer(made.policies)))
    assert load(text, filename="f.yaml", check=check).policy_set == made.policies


def test_export_writes_a_policy_file(run: Any, service: Any, tmp_path: Path) -> None:
    service.will("GetRevision", answer(declared()), answer(declared()))
    result = run("export")
    assert result.exit_code == 0, result.output
    assert declared(result.stdout) == declared()
    result = run("export", "--revision", "live", "-o", "out.yaml")
    assert (result.exit_code, result.stdout) == (0, "")
    assert declared((tmp_path / "out.yaml").read_text()) == declared()
    assert [each.revision for each in service.requests] == ["", "live"]


def test_a_file_that_cannot_be_written_is_said(run: Any, service: Any) -> None:
    service.will("GetRevision", answer(declared()))
    result = run("export", "-o", "nowhere/out.yaml")
    assert result.exit_code == 1
    assert "cannot write nowhere/out.yaml" in result.stderr


def test_diff_shows_what_differs(run: Any, service: Any) -> None:
    service.will("GetRevision", answer(declared()), answer(declared()))
    changed = EXAMPLE.replace("limit: 100,", "limit: 200,")
    result = run("diff", "-f", "-", "--detailed-exitcode", stdin=changed)
    assert result.exit_code == 2
    assert "-  - {name: hourly, limit: 100, window: 1h}\n" in result.stdout
    assert "+  - {name: hourly, limit: 200, window: 1h}\n" in result.stdout
    assert result.stdout.startswith("--- in force\n+++ <stdin>\n")
    result = run("diff", "-f", "-", "--detailed-exitcode", stdin=EXAMPLE)
    assert (result.exit_code, result.stdout) == (0, "")
