from __future__ import annotations

import io
import json
import time
import types
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from usageflow.cli import reporting
from usageflow.cli.progress import progress_of
from usageflow.domain.ids import day_of
from usageflow.v1 import common_pb2, usage_pb2

LINE = '{"method": "GET", "path": "/api/users", "status": 200}\n'
UP = ErrorInfo(reason="UNAVAILABLE", domain="usageflow")


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for, in seconds; nothing sleeps."""
    taken: list[float] = []
    monkeypatch.setattr("usageflow.cli.reporting.time.sleep", taken.append)
    return taken


def accept_all(request: Any) -> usage_pb2.ReportResponse:
    return usage_pb2.ReportResponse(accepted=len(request.events))


def test_a_line_becomes_an_event(run: Any, service: Any, tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text(
        json.dumps(
            {
                "event_id": "e-1",
                "time": "2026-01-31T12:00:00.25+01:00",
                "method": "post",
                "path": "/api/users/7?x=1",
                "route": "/api/users/{id}",
                "identity": "user-1",
                "status": 429,
                "latency_ms": 12.5,
                "quantity": 2.5,
                "metadata": {"a": {"b": [1, None, True, "x"]}},
                "decision": "DENY",
                "reason": "LIMIT_EXCEEDED",
            }
        )
    )
    service.will("Report", accept_all)
    result = run("report", "-f", "e.jsonl", "--output", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"accepted": 1, "duplicates": 0, "rejected": 0, "errors": []}
    [(_, request, metadata)] = service.calls
    assert metadata["authorization"] == "Bearer uf_key"
    [event] = request.events
    assert (event.event_id, event.path, event.status, event.quantity) == ("e-1", "/api/users/7", 429, 2.5)
    assert (event.time.seconds, event.time.nanos) == (1_769_857_200, 250_000_000)
    assert (event.endpoint.method, event.endpoint.template) == ("POST", "/api/users/{id}")
    assert event.identity.value == "user-1"
    assert event.latency.ToMicroseconds() == 12_500
    assert event.metadata["a"]["b"][3] == "x"
    assert (event.decision, event.reason) == (common_pb2.DECISION_DENY, common_pb2.REASON_LIMIT_EXCEEDED)


def test_defaults_are_filled_in_once(run: Any, service: Any) -> None:
    service.will("Report", accept_all)
    before = time.time()
    result = run("report", "-f", "-", stdin="\ufeff" + LINE + "\n  \n" + LINE)
    assert (result.exit_code, result.stdout) == (0, "accepted 2, duplicates 0, rejected 0\n")
    first, second = service.requests[0].events
    assert first.event_id != second.event_id
    assert day_of(first.event_id) == int(before // 86_400)
    assert abs(first.time.seconds - before) < 60
    assert (first.endpoint.method, first.endpoint.template) == ("GET", "")
    assert first.WhichOneof("endpoint_ref") == "endpoint"
    assert not first.HasField("quantity")
    assert not first.HasField("identity")
    assert not first.HasField("latency")
    assert service.requests[0].HasField("sent_at")


def test_long_files_go_in_batches(run: Any, service: Any) -> None:
    service.will("Report", accept_all, accept_all, accept_all)
    result = run("report", "-f", "-", stdin=LINE * 2500)
    assert result.stdout == "accepted 2,500, duplicates 0, rejected 0\n"
    assert [len(request.events) for request in service.requests] == [1000, 1000, 500]


def test_batches_are_bounded_in_bytes(run: Any, service: Any) -> None:
    line = json.dumps({**json.loads(LINE), "metadata": {"x": "y" * 16_000}}) + "\n"
    service.will("Report", *[accept_all] * 10)
    assert run("report", "-f", "-", stdin=line * 300).exit_code == 0
    assert len(service.calls) == 3
    assert max(request.ByteSize() for request in service.requests) <= reporting.MAX_BATCH_BYTES + 1000


def test_rejected_lines_are_told_with_their_number(run: Any, service: Any) -> None:
    error = usage_pb2.ItemError(
        kind=usage_pb2.REPORT_ITEM_KIND_EVENT,
        index=1,
        id="late",
        status=common_pb2.ItemStatus(
            code=common_pb2.ITEM_CODE_OUT_OF_RANGE,
            reason="EVENT_TOO_OLD",
            field="time",
            message="it is 40 days old",
            fix="report within 34 days",
        ),
    )
    service.will("Report", usage_pb2.ReportResponse(accepted=1, duplicates=1, errors=[error]))
    stdin = LINE + "{oops\n" + LINE + '{"statuss": 1}\n' + LINE
    result = run("report", "-f", "-", "--output", "json", stdin=stdin)
    assert result.exit_code == 1
    sums = json.loads(result.stdout)
    assert (sums["accepted"], sums["duplicates"], sums["rejected"]) == (1, 1, 3)
    assert [(each["line"], each["reason"], each["field"]) for each in sums["errors"]] == [
        (2, "INVALID_JSON", ""),
        (4, "UNKNOWN_KEY", "statuss"),
        (3, "EVENT_TOO_OLD", "time"),
    ]
    assert sums["errors"][2]["event_id"] == "late"
    assert result.stderr.splitlines()[1:] == [
        "line 4: UNKNOWN_KEY: unknown key 'statuss'; did you mean 'status'?",
        "line 3: EVENT_TOO_OLD: time it is 40 days old; report within 34 days",
    ]


def test_passing_failures_are_retried_with_the_same_ids(run: Any, service: Any, naps: list[float]) -> None:
    service.fails("Report", grpc.StatusCode.UNAVAILABLE, "later", UP)
    busy = RetryInfo(retry_delay=Duration(seconds=3))
    service.fails("Report", grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", busy)
    service.will("Report", lambda request: usage_pb2.ReportResponse(duplicates=len(request.events)))
    result = run("report", "-f", "-", stdin=LINE * 2)
    assert (result.exit_code, result.stdout) == (0, "accepted 0, duplicates 2, rejected 0\n")
    first, second, third = service.requests
    assert first.events == second.events == third.events
    assert 0.125 <= naps[0] <= 0.25
    assert naps[1] == 3


def test_retries_end_and_the_sums_so_far_are_printed(run: Any, service: Any, naps: list[float]) -> None:
    service.will("Report", accept_all)
    for _ in range(reporting.ATTEMPTS):
        service.fails("Report", grpc.StatusCode.UNAVAILABLE)
    result = run("report", "-f", "-", stdin=LINE * 1500)
    assert (result.exit_code, result.stdout) == (1, "accepted 1,000, duplicates 0, rejected 0\n")
    assert result.stderr == (
        f"cannot reach {service.address}: start it with `make run`\n"
        "lines from 1001 on may not be stored: send the file again, lines with an event_id count once\n"
    )
    assert len(naps) == reporting.ATTEMPTS - 1


def test_a_refusal_is_not_retried(run: Any, service: Any, naps: list[float]) -> None:
    service.fails("Report", grpc.StatusCode.UNAUTHENTICATED, "unknown key")
    result = run("report", "-f", "-", stdin=LINE)
    assert result.exit_code == 1
    assert "does not accept this credential" in result.stderr
    assert naps == []


def test_an_empty_file_is_fine(run: Any, service: Any) -> None:
    result = run("report", "-f", "-", stdin="")
    assert (result.exit_code, result.stdout) == (0, "accepted 0, duplicates 0, rejected 0\n")
    assert not service.calls


def test_a_missing_file(run: Any) -> None:
    result = run("report", "-f", "nope")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("cannot read nope: No such file or directory")


def test_lines_that_are_too_long_or_not_text(run: Any, service: Any) -> None:
    long_line = b'{"x": "' + b"y" * reporting.MAX_LINE_BYTES * 3 + b'"}\n'
    service.will("Report", accept_all)
    result = run("report", "-f", "-", stdin=long_line + b"\xff\n" + LINE.encode())
    assert result.stdout == "accepted 1, duplicates 0, rejected 2\n"
    assert result.stderr == (
        "line 1: LINE_TOO_LONG: the line is longer than 1 MiB; shorten its metadata\n"
        "line 2: INVALID_JSON: the line is not UTF-8; save the file as UTF-8\n"
    )


@pytest.mark.parametrize("size", [reporting.MAX_LINE_BYTES - 1, reporting.MAX_LINE_BYTES, 3_000_000])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_lines_keep_their_numbers_whatever_their_length(size: int, end: bytes) -> None:
    lines = list(reporting.lines_of(io.BytesIO(b"a\n" + b"x" * size + end + (b"b\n" if end else b""))))
    assert [line.number for line in lines] == ([1, 2, 3] if end else [1, 2])
    assert lines[1].size == size + len(end)
    assert len(lines[1].data) <= reporting.MAX_LINE_BYTES + 1


def test_a_terminal_sees_a_bar_and_the_rejected_lines_above_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    (tmp_path / "f").write_bytes(b"12345")
    with (tmp_path / "f").open("rb") as stream, progress_of(stream) as progress:
        progress.advance(5)
        progress.tell("line 1: [bold]\x1b")
    with progress_of(io.BytesIO()) as progress:
        progress.advance(1)
    assert "reporting" in terminal.getvalue()
    assert "line 1: [bold]\\x1b" in terminal.getvalue()


def test_a_closed_stdin(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usageflow.cli.files.sys", types.SimpleNamespace(stdin=None))
    result = run("report", "-f", "-")
    assert result.exit_code == 1
    assert result.stderr == "cannot read <stdin>: it is closed; name a file, or - for stdin\n"


def test_the_kept_errors_are_bounded(run: Any) -> None:
    count = reporting.MAX_KEPT + 5
    result = run("report", "-f", "-", "--output", "json", stdin="[]\n" * count)
    sums = json.loads(result.stdout)
    assert (sums["rejected"], len(sums["errors"])) == (count, reporting.MAX_KEPT)
    assert len(result.stderr.splitlines()) == count
