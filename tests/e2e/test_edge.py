"""Edge replicas as real processes: a file from a running service, several replicas, signals and kills."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from tools.processes import (
    COMMAND,
    READY,
    ROOT,
    EdgeReplica,
    Process,
    Service,
    clean_environment,
    edge_replicas,
    free_port,
)
from tools.snapshots import SnapshotWriter
from usageflow.v1 import decision_pb2, plan_pb2, usage_pb2
from usageflow.v1.common_pb2 import DECISION_ALLOW, DECISION_DENY, Endpoint
from usageflow.v1.decision_pb2_grpc import DecisionServiceStub

TRANSACTIONS = Endpoint(method="POST", template="/api/transactions")
EXAMPLE = (ROOT / "examples" / "usageflow.yaml").read_text()


class Caller:
    """Asks one process with an API key."""

    def __init__(self, address: str, api_key: str) -> None:
        self._stub = DecisionServiceStub(grpc.insecure_channel(address))
        self._metadata = (("authorization", f"Bearer {api_key}"),)

    def plan(self) -> plan_pb2.WatchPlanResponse:
        stream = self._stub.WatchPlan(plan_pb2.WatchPlanRequest(), metadata=self._metadata, timeout=20)
        first = next(iter(stream))
        stream.cancel()
        return first

    def register(self, *endpoints: Endpoint) -> list[int]:
        request = plan_pb2.RegisterEndpointsRequest(endpoints=endpoints)
        answer = self._stub.RegisterEndpoints(request, metadata=self._metadata, timeout=20)
        return [item.number for item in answer.endpoints]

    def by_number(self, plan: plan_pb2.WatchPlanResponse, number: int, user: str) -> Any:
        item = decision_pb2.CheckItem(
            endpoint_number=number,
            values=[decision_pb2.AttributeValue(text=user)],
            client_ip="192.0.2.1",
        )
        request = decision_pb2.BatchCheckRequest(plan_version=plan.plan_version, items=[item])
        return self._stub.BatchCheck(request, metadata=self._metadata, timeout=20).results[0]

    def by_name(self, times: int) -> list[Any]:
        request = decision_pb2.HttpRequest(method="POST", path="/api/transactions", client_ip="192.0.2.1")
        items = [decision_pb2.CheckItem(request=request)] * times
        batch = decision_pb2.BatchCheckRequest(items=items)
        results = self._stub.BatchCheck(batch, metadata=self._metadata, timeout=20).results
        return [result.decision for result in results]

    def report(self) -> None:
        event = usage_pb2.UsageEvent(event_id="e-1", endpoint=TRANSACTIONS, status=200)
        request = usage_pb2.ReportRequest(events=[event])
        self._stub.Report(request, metadata=self._metadata, timeout=20)


def command(address: str, api_key: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *arguments],
        env=clean_environment(
            USAGEFLOW_ADDR=address, USAGEFLOW_API_KEY=api_key, USAGEFLOW_ADMIN_TOKEN="uf_admin_x"
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def check(address: str, api_key: str, user: str) -> dict[str, Any]:
    arguments = ("check", "--method", "POST", "--path", "/api/transactions", "--header", f"X-User-Id: {user}")
    result = command(address, api_key, *arguments, "--output", "json")
    assert result.returncode in (0, 3), result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_replicas_of_a_running_service(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    with Service(data) as service:
        central = Caller(service.wait_ready(), service.credentials["api_key"])
        (number,) = central.register(TRANSACTIONS)
        exported = service.command("snapshot", "-o", str(path), "--output", "json")
        assert exported.returncode == 0, exported.stderr
        assert json.loads(exported.stdout)["revision"] == 1
        secrets = service.credentials
        plan = central.plan()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("api_key", "admin_token", "hash_key"):
        assert secrets[name] not in path.read_text(), name
    key = secrets["api_key"]
    with edge_replicas(path, 2) as replicas:
        for replica in replicas:
            address = replica.wait_ready()
            assert check(address, key, "alice")["decision"] == "ALLOW"
            caller = Caller(address, key)
            assert caller.plan().plan_version == plan.plan_version
            assert caller.register(TRANSACTIONS, Endpoint(method="GET", template="/new")) == [number, 0]
            result = caller.by_number(plan, number, "alice")
            assert (result.decision, result.limits[0].remaining) == (DECISION_ALLOW, 98)
            with pytest.raises(grpc.RpcError, match="a service with a database"):
                caller.report()
            explained = command(address, key, "explain", "--method", "GET", "--path", "/")
            assert explained.returncode == 1
            assert "a service with a database" in explained.stderr
            code, _ = replica.stop(signal.SIGTERM)
            assert code == 0, replica.output


def test_a_replaced_file_changes_policies_and_keys(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    writer = SnapshotWriter(tmp_path / "data")
    writer.write(EXAMPLE, path)
    key = writer.api_key
    with EdgeReplica(path) as replica:
        address = replica.wait_ready()
        assert check(address, key, "alice")["decision"] == "ALLOW"
        path.write_text("{")
        eventually(lambda: "snapshot file refused" in replica.output)
        assert check(address, key, "alice")["decision"] == "ALLOW"
        writer.write(EXAMPLE + "  - {path: '*', identity: alice}\n", path)
        eventually(lambda: check(address, key, "alice")["decision"] == "DENY")
        document = json.loads(path.read_text())
        document["applications"][0]["api_keys"] = []
        revoked = tmp_path / "revoked"
        revoked.write_text(json.dumps(document))
        revoked.replace(path)
        arguments = ("check", "--method", "GET", "--path", "/")
        eventually(lambda: "unknown here" in command(address, key, *arguments).stderr)


def test_a_killed_replica_leaves_the_others_and_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    writer = SnapshotWriter(tmp_path / "data")
    writer.write(EXAMPLE, path)
    with edge_replicas(path, 2) as (first, second):
        address = second.wait_ready()
        first.stop(signal.SIGKILL)
        caller = Caller(address, writer.api_key)
        assert caller.plan().revision == 1
        listen = first.wait_ready()
        with EdgeReplica(path, listen) as again:
            assert again.wait_ready() == listen
            assert check(listen, writer.api_key, "alice")["decision"] == "ALLOW"


def test_it_leaves_nothing_behind_and_serves_http(tmp_path: Path) -> None:
    path, work = tmp_path / "demo.json", tmp_path / "work"
    work.mkdir()
    SnapshotWriter(tmp_path / "data").write(EXAMPLE, path)
    port = free_port()
    arguments = [sys.executable, "-m", "decision", "--snapshot", str(path)]
    environment = clean_environment(USAGEFLOW_LISTEN="127.0.0.1:0", USAGEFLOW_HTTP_LISTEN=f"127.0.0.1:{port}")
    with Process(arguments, environment, work) as process:
        process.wait_for(READY)
        for name in ("/healthz", "/readyz", "/metrics"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{name}", timeout=5) as response:
                assert response.status == 200
        assert "replicas do not share them" in process.output
        code, _ = process.stop(signal.SIGTERM)
    assert code == 0, process.output
    assert os.listdir(work) == []  # noqa: PTH208 - names are what counts


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such file"), ("{", "line 1"), ('{"format": 9}', "format")]
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "demo.json"
    if content is not None:
        path.write_text(content)
    result = subprocess.run(
        [str(COMMAND), "serve", "decision", "--snapshot", str(path)],
        env=clean_environment(USAGEFLOW_LISTEN="127.0.0.1:0"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert words in result.stderr
    assert "usageflow snapshot -o FILE" in result.stderr


def test_a_replica_alone_admits_exactly_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    writer = SnapshotWriter(tmp_path / "data")
    writer.write(EXAMPLE, path)
    with EdgeReplica(path) as replica:
        caller = Caller(replica.wait_ready(), writer.api_key)
        decisions = [*caller.by_name(60), *caller.by_name(60)]
    assert decisions == [DECISION_ALLOW] * 100 + [DECISION_DENY] * 20
