"""The main job through the command: decided, reported, counted, and still so after restarts and kills."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import grpc

from tools.processes import COMMAND, Process, Service, clean_environment, free_port
from usageflow.v1 import common_pb2, decision_pb2, decision_pb2_grpc


def take(service: Service, user: str, times: int) -> list[decision_pb2.CheckResponse]:
    """Checks over one channel, for numbers at which a command per check would take minutes."""
    attribute = common_pb2.Attribute(
        location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="X-User-Id", value=user
    )
    request = decision_pb2.CheckRequest(
        request=decision_pb2.HttpRequest(method="POST", path="/api/transactions", attributes=[attribute])
    )
    metadata = (("authorization", f"Bearer {service.credentials['api_key']}"),)
    with grpc.insecure_channel(service.credentials["address"]) as channel:
        stub = decision_pb2_grpc.DecisionServiceStub(channel)
        return [stub.Check(request, metadata=metadata, timeout=10) for _ in range(times)]


def check(service: Service, user: str) -> tuple[int, dict[str, Any]]:
    result = service.command(
        *("check", "--method", "POST", "--path", "/api/transactions"),
        *("--header", f"X-User-Id: {user}", "--output", "json"),
    )
    return result.returncode, json.loads(result.stdout)


def usage(service: Service) -> list[dict[str, Any]]:
    result = service.command("usage", "--output", "json")
    assert result.returncode == 0, result.stderr
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


def lines(first: int, last: int) -> str:
    """Returns event lines with ids of their own, so that sending them again changes nothing."""
    now = time.time()
    return "".join(
        json.dumps(
            {
                "event_id": f"e{index}",
                "time": now,
                "method": "POST",
                "path": "/api/transactions",
                "status": 200,
                "identity": "alice",
            }
        )
        + "\n"
        for index in range(first, last)
    )


def test_one_hundred_an_hour_also_over_a_restart(data: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        allowed = [answer.decision == common_pb2.DECISION_ALLOW for answer in take(service, "alice", 60)]
        assert all(allowed)
        service.stop()
    with Service(data) as service:
        service.wait_ready()
        answers = take(service, "alice", 45)
        assert sum(answer.decision == common_pb2.DECISION_ALLOW for answer in answers) == 40
        code, denied = check(service, "alice")
        assert (code, denied["decision"], denied["reason"]) == (3, "DENY", "LIMIT_EXCEEDED")
        hourly = next(limit for limit in denied["limits"] if limit["name"] == "hourly")
        assert (hourly["limit"], hourly["remaining"]) == (100, 0)
        assert 3400 < denied["retry_after_s"] <= 3600
        assert denied["retry_after_s"] == hourly["reset_s"]
        code, other = check(service, "bob")
        assert (code, other["decision"], other["identity"]) == (0, "ALLOW", "bob")
        assert other["limits"][0]["remaining"] == 99
        service.stop()


def test_a_kill_loses_at_most_a_second_of_a_long_quota(data: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        take(service, "alice", 100)
        time.sleep(1.5)  # the published bound: one second of takes
        service.stop(signal.SIGKILL)
    with Service(data) as service:
        service.wait_ready()
        (answer,) = take(service, "alice", 1)
        assert answer.decision == common_pb2.DECISION_DENY
        service.stop()


def test_reported_events_outlive_a_kill_and_count_once(data: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        first = service.command("report", "-f", "-", "--output", "json", stdin=lines(0, 300))
        assert first.returncode == 0, first.stderr
        assert json.loads(first.stdout)["accepted"] == 300
        service.stop(signal.SIGKILL)
    with Service(data) as service:
        service.wait_ready()
        text = lines(200, 400)
        again = service.command("report", "-f", "-", "--output", "json", stdin=text)
        summary = json.loads(again.stdout)
        # Another time is another payload: what came before is refused, never counted twice.
        assert (summary["accepted"], summary["rejected"]) == (100, 100)
        repeated = json.loads(service.command("report", "-f", "-", "--output", "json", stdin=text).stdout)
        assert (repeated["duplicates"], repeated["accepted"]) == (100, 0)
        (row,) = usage(service)
        assert (row["endpoint"], row["requests"], row["units"]) == ("POST /api/transactions", 400, 400)
        service.stop()


def test_rejected_lines_are_named(data: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        text = '{"method":"GET","path":"/x","status":200}\n{"method":"GET","path":"/x"}\nnot json\n{"method":"GET","path":"/x","status":999}\n'
        result = service.command("report", "-f", "-", "--output", "json", stdin=text)
        summary = json.loads(result.stdout)
        assert (summary["accepted"], summary["duplicates"], summary["rejected"]) == (1, 0, 3)
        assert [error["line"] for error in summary["errors"]] == [2, 3, 4]
        service.stop()


def test_a_broken_file_is_told_by_line_and_changes_nothing(data: Path, tmp_path: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        broken = tmp_path / "broken.yaml"
        broken.write_text(
            "version: 1\napplication: demo\npolicies:\n  - name: x\n    match: {path: /x}\n    limts: []\n"
        )
        result = service.command("apply", "-f", str(broken))
        assert result.returncode == 1
        assert f"{broken}:6:5" in result.stderr
        assert "did you mean 'limits'?" in result.stderr
        assert check(service, "alice")[1]["revision"] == 1
        service.stop()


def test_an_apply_is_enforced(data: Path, tmp_path: Path) -> None:
    with Service(data) as service:
        service.wait_ready()
        file = tmp_path / "policies.yaml"
        file.write_text(
            "version: 1\napplication: demo\nstrategies:\n  - {name: by-user, sources: [{in: header, name: X-User-Id}]}\n"
            "policies:\n  - {name: one, match: {path: /api/*}, strategy: by-user, limits: [{limit: 1, window: 1d}]}\n"
        )
        result = service.command("apply", "-f", str(file), "--output", "json")
        assert result.returncode == 0, result.stderr
        assert check(service, "alice")[0] == 0
        code, denied = check(service, "alice")
        assert (code, denied["revision"]) == (3, 2)
        service.stop()


def test_unreachable_and_unknown_key_are_one_sentence(data: Path) -> None:
    environment = clean_environment(
        USAGEFLOW_DATA=str(data), USAGEFLOW_ADDR=f"127.0.0.1:{free_port()}", USAGEFLOW_API_KEY="x"
    )
    arguments = [str(COMMAND), "check", "--method", "GET", "--path", "/"]
    with Process(arguments, environment) as process:
        code, _ = process.stop(0)
    assert code == 1
    assert "make run" in process.output
    assert "Traceback" not in process.output
    with Service(data) as service:
        environment["USAGEFLOW_ADDR"] = service.wait_ready()
        with Process(arguments, environment) as process:
            code, _ = process.stop(0)
        service.stop()
    assert code == 1
    assert "USAGEFLOW_API_KEY" in process.output
