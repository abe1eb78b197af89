from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest

from usageflow.v1 import admin_pb2, common_pb2, policies_pb2, revisions_pb2

EXAMPLE = Path(__file__).parents[3] / "examples" / "usageflow.yaml"

TEXT = """\
version: 1
application: shop
strategies:
  - {name: s, sources: [{in: query, name: u, sensitive: true}], on_missing: SKIP, allow_unlimited: true}
policies:
  - name: p
    match: {methods: [GET], path: /a/:id}
    strategy: s
    limits:
      - {algorithm: TOKEN_BUCKET, limit: 5, window: 1m30s, burst: 9, scope: SHARED}
    metering: {price: price_1, trigger: stripe_invoice}
    mode: DISABLED
    fail_mode: CLOSED
    priority: -3
    cost: 2
    stop: true
    message: wait
blocks:
  - {path: /b, identity: u1, reason: why}
"""

CHANGES = admin_pb2.ApplyResponse(
    revision=7,
    changes=[
        revisions_pb2.Change(action=revisions_pb2.CHANGE_ACTION_DELETED, kind="policy", name="old"),
        revisions_pb2.Change(action=revisions_pb2.CHANGE_ACTION_CREATED, kind="block", name="* /b for u1"),
    ],
)


def violation(field: str, description: str) -> BadRequest:
    return BadRequest(field_violations=[BadRequest.FieldViolation(field=field, description=description)])


def test_the_whole_file_is_sent(run: Any, service: Any) -> None:
    service.will("Apply", CHANGES)
    result = run("apply", "-f", "-", "--prune", "--dry-run", "--output", "json", stdin=TEXT)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "application": "shop",
        "revision": 7,
        "dry_run": True,
        "changes": [
            {"action": "DELETED", "kind": "policy", "name": "old"},
            {"action": "CREATED", "kind": "block", "name": "* /b for u1"},
        ],
    }
    [(_, request, metadata)] = service.calls
    assert metadata["authorization"] == "Bearer uf_admin_token"
    assert (request.application, request.prune, request.validate_only) == ("shop", True, True)
    [strategy], [policy], [block] = request.strategies, request.policies, request.blocks
    source = strategy.sources[0]
    assert (source.location, source.name, source.sensitive) == (
        common_pb2.ATTRIBUTE_LOCATION_QUERY,
        "u",
        True,
    )
    assert (strategy.on_missing, strategy.allow_unlimited) == (policies_pb2.ON_MISSING_SKIP, True)
    assert (policy.name, list(policy.match.methods), policy.match.path) == ("p", ["GET"], "/a/:id")
    [limit] = policy.limits
    assert (limit.name, limit.algorithm) == ("default", common_pb2.ALGORITHM_TOKEN_BUCKET)
    assert (limit.limit, limit.window.seconds, limit.burst) == (5, 90, 9)
    assert limit.scope == policies_pb2.LIMIT_SCOPE_SHARED
    assert (policy.metering.expression, policy.metering.trigger) == (
        "usage_record.quantity",
        "stripe_invoice",
    )
    assert (policy.mode, policy.fail_mode) == (
        common_pb2.POLICY_MODE_DISABLED,
        common_pb2.FAIL_MODE_CLOSED,
    )
    assert (policy.priority, policy.cost, policy.stop, policy.message) == (-3, 2, True, "wait")
    assert (list(block.methods), block.path, block.identity, block.reason) == (["*"], "/b", "u1", "why")


def test_changes_read_as_a_table_in_the_order_of_the_service(run: Any, service: Any) -> None:
    service.will("Apply", CHANGES)
    lines = run("apply", "-f", str(EXAMPLE)).stdout.splitlines()
    assert [line.split()[0] for line in lines if line[:1] in {"D", "C"}] == ["DELETED", "CREATED"]
    assert lines[-1] == "demo: 2 changes; revision 7"
    request = service.requests[0]
    assert not request.prune
    assert not request.validate_only
    assert not request.policies[-1].HasField("metering")


def test_no_changes_is_a_success(run: Any, service: Any) -> None:
    service.will("Apply", admin_pb2.ApplyResponse(revision=7))
    result = run("apply", "-f", str(EXAMPLE), "--dry-run")
    assert (result.exit_code, result.stdout) == (
        0,
        "demo: no changes; dry run, nothing was saved; revision 7\n",
    )


def test_a_bad_file_is_not_sent(run: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("version: 1\napplication: demo\npolicies:\n  - {name: p, mtch: x}\n")
    result = run("apply", "-f", "f.yaml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "f.yaml:4:5: 'match' is missing; add it, such as `match: {methods: [GET], path: /api/users}`\n"
        "f.yaml:4:15: unknown key 'mtch'; did you mean 'match'?\n"
        "nothing was applied\n"
    )
    assert not service.calls


def test_a_file_full_of_mistakes_is_cut_in_the_end(run: Any, service: Any) -> None:
    text = "version: 1\napplication: demo\nblocks:\n" + "  - {paht: /a, path: /b}\n" * 500
    lines = run("apply", "-f", "-", stdin=text).stderr.splitlines()
    assert len(lines) == 202
    assert lines[0] == "<stdin>:4:6: unknown key 'paht'; did you mean 'path'?"
    assert lines[-2:] == ["and 300 more", "nothing was applied"]


def test_what_the_service_refuses_has_line_and_column(run: Any, service: Any) -> None:
    refused = violation("policies[0].limits[0].window", "too odd; mend it")
    refused.field_violations.add(field="strategies[0].sources[0].in", description="not here")
    service.fails("Apply", grpc.StatusCode.INVALID_ARGUMENT, "bad", refused)
    result = run("apply", "-f", "-", stdin=TEXT)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "<stdin>:4:30: not here; correct it\n<stdin>:10:53: too odd; mend it\nnothing was applied\n"
    )


def test_another_applications_file_is_not_found(run: Any, service: Any) -> None:
    service.fails("Apply", grpc.StatusCode.NOT_FOUND, "no application 'shop'")
    result = run("apply", "-f", "-", stdin=TEXT)
    assert result.exit_code == 1
    assert re.fullmatch(
        r"<stdin>:2:\d+: there is no application '[a-z]+'; write the name of an application that exists, such as demo\n"
        r"nothing was applied\n",
        result.stderr,
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent.yaml", "cannot read absent.yaml: No such file or directory; name a file, or - for stdin"),
        (".", "cannot read .: Is a directory; name a file, or - for stdin"),
        ("", "cannot read : No such file or directory; name a file, or - for stdin"),
    ],
)
def test_a_file_that_cannot_be_read(run: Any, name: str, words: str) -> None:
    result = run("apply", "-f", name)
    assert (result.exit_code, result.stderr) == (1, words + "\n")


def test_a_file_that_is_not_utf_8(run: Any) -> None:
    result = run("apply", "-f", "-", stdin=b"version: 1\nx: \xff\n")
    assert (result.exit_code, result.stderr) == (
        1,
        "<stdin>:2:1: this is not UTF-8; save the file as UTF-8\n",
    )


def test_a_file_above_16_mib(run: Any) -> None:
    result = run("apply", "-f", "-", stdin=b"#" * (16 * 1024 * 1024 + 2))
    assert "the file is larger than 16 MiB" in result.stderr
