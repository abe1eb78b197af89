"""Percentiles of what was reported, as counts and as events, are those of the exact latencies within 2 %."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from tools.processes import Service
from tools.prove.showing import ensure
from tools.synthetic_usage import buckets_of
from usageflow.v1 import analytics_pb2, common_pb2, usage_pb2
from usageflow.v1.admin_pb2_grpc import AdminServiceStub
from usageflow.v1.decision_pb2_grpc import DecisionServiceStub

VALUES = 100_000
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_TOLERANCE = 0.02
_AT_ONCE = 1_000
_FOLDED_WITHIN_S = 60


def percentiles(folder: Path) -> str:
    """p50, p95 and p99 of 100,000 lognormal and 100,000 Pareto latencies, reported as events and as counts, are within 2 % of
    exact, before and after they are folded.
    """
    return show(folder, VALUES)


def show(folder: Path, values: int) -> str:
    """Returns the figure. Raises NotShown."""
    chance = np.random.default_rng(11)
    drawn = {
        "lognormal": chance.lognormal(np.log(20_000), 1.5, values),
        "pareto": 3_000 * (1 + chance.pareto(1.2, values)),
    }
    exact = {name: np.minimum(np.floor(latencies), 80_000_000_000) for name, latencies in drawn.items()}
    with Service(folder) as service:
        address = service.wait_ready()
        with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            for name, latencies in exact.items():
                _report_events(channel, service.credentials["api_key"], f"/{name}/events", latencies)
                _report_counts(channel, service.credentials["api_key"], f"/{name}/counts", latencies)
            worst = _worst(channel, service.credentials["admin_token"], exact)
            _wait_until_folded(folder)
            folded = _worst(channel, service.credentials["admin_token"], exact)
    return f"{values:,} values a shape: at worst {max(worst, folded):.2%} from exact"


def _report_events(channel: grpc.Channel, api_key: str, path: str, latencies: NDArray[np.float64]) -> None:
    now, ids = int(time.time()), iter(range(len(latencies)))
    events = [_event(f"{path}-{next(ids)}", path, now, int(us)) for us in latencies]
    for start in range(0, len(events), _AT_ONCE):
        _report(channel, api_key, usage_pb2.ReportRequest(events=events[start : start + _AT_ONCE]))


def _event(event_id: str, path: str, now: int, us: int) -> usage_pb2.UsageEvent:
    event = usage_pb2.UsageEvent(
        event_id=event_id,
        endpoint=common_pb2.Endpoint(method="GET", template=path),
        status=200,
        latency=Duration(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1_000),
    )
    event.time.seconds = now
    return event


def _report_counts(channel: grpc.Channel, api_key: str, path: str, latencies: NDArray[np.float64]) -> None:
    now = int(time.time())
    for number, part in enumerate(np.array_split(latencies, 50)):
        buckets, requests = np.unique(buckets_of(part), return_counts=True)
        count = usage_pb2.Count(
            endpoint=common_pb2.Endpoint(method="GET", template=path),
            status=200,
            second=now,
            requests=len(part),
            latency_buckets=buckets.tolist(),
            latency_counts=requests.tolist(),
        )
        batch = usage_pb2.CountBatch(batch_id=f"{path}-{number}", counts=[count])
        _report(channel, api_key, usage_pb2.ReportRequest(batches=[batch]))


def _report(channel: grpc.Channel, api_key: str, request: usage_pb2.ReportRequest) -> None:
    answer = DecisionServiceStub(channel).Report(
        request, metadata=(("authorization", f"Bearer {api_key}"),), timeout=60
    )
    ensure(not answer.errors, f"the service refused {answer.errors[:1]}")


def _worst(channel: grpc.Channel, admin_token: str, exact: dict[str, NDArray[np.float64]]) -> float:
    """Returns the largest relative error of all percentiles. Raises NotShown beyond 2 %."""
    request = analytics_pb2.QueryUsageRequest(
        application="demo", group_by=[analytics_pb2.USAGE_GROUP_ENDPOINT]
    )
    answer = AdminServiceStub(channel).QueryUsage(
        request, metadata=(("authorization", f"Bearer {admin_token}"),), timeout=60
    )
    rows = {row.endpoint.template: row for row in answer.rows}
    errors = {
        f"{path} {share}": _error(rows[path], share, latencies)
        for name, latencies in exact.items()
        for path in (f"/{name}/events", f"/{name}/counts")
        for share in _SHARES
    }
    far = {name: f"{error:.2%}" for name, error in errors.items() if error > _TOLERANCE}
    ensure(not far, f"further than 2 % from exact: {json.dumps(far)}")
    return max(errors.values())


def _error(row: Any, share: str, latencies: NDArray[np.float64]) -> float:
    ensure(row.requests == len(latencies), f"{row.requests} of {len(latencies)} requests")
    exact = float(np.quantile(latencies, _SHARES[share], method="inverted_cdf"))
    told: float = getattr(row, share).ToNanoseconds() / 1_000
    return abs(told / exact - 1)


def _wait_until_folded(folder: Path) -> None:
    import sqlite3

    deadline = time.monotonic() + _FOLDED_WITHIN_S
    with sqlite3.connect(f"{(folder / 'usageflow.db').resolve().as_uri()}?mode=ro", uri=True) as link:
        while link.execute("SELECT COUNT(*) FROM usage_deltas").fetchone()[0]:
            ensure(time.monotonic() < deadline, f"not folded within {_FOLDED_WITHIN_S} s")
            time.sleep(0.2)
