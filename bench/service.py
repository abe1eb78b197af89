"""A real service process to measure, what its own counters say, and a client that sets it up."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration

from bench.figures import NotMeasured
from tools.processes import Process, ProcessFailed, Service, clean_environment, free_port
from usageflow.v1 import admin_pb2, common_pb2, decision_pb2, plan_pb2, policies_pb2
from usageflow.v1.admin_pb2_grpc import AdminServiceStub
from usageflow.v1.decision_pb2_grpc import DecisionServiceStub

APPLICATION = "demo"
CHECK = "/usageflow.v1.DecisionService/Check"
BATCH_CHECK = "/usageflow.v1.DecisionService/BatchCheck"
_TICKS_PER_S = 100
_KIB_OF_MIB = 1024
_LARGEST_MESSAGE = 64 * 1024 * 1024


class MeasuredService(Service):
    """A service on free ports, in its own data folder, with what it says of itself."""

    def __init__(self, data: Path, **environment: str) -> None:
        super().__init__(data)
        self.http_port = free_port()
        self.environment |= {"USAGEFLOW_HTTP_LISTEN": f"127.0.0.1:{self.http_port}", **environment}

    def start(self) -> str:
        """Waits until it is ready; returns its address. Raises NotMeasured with its own last words."""
        try:
            return self.wait_ready()
        except ProcessFailed as error:
            raise NotMeasured(f"the service did not start: {str(error).strip().splitlines()[-1]}") from None

    def decisions(self) -> int:
        """Returns how many decisions it counted that were made normally; raises NotMeasured for any other."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics", timeout=10) as answer:
            return normal_decisions(answer.read().decode())

    def cpu_s(self) -> float:
        """Returns the seconds of processor time that it has used."""
        return cpu_s_of(self.pid)

    def rss_mib(self) -> float:
        """Returns its resident memory."""
        return self._memory_mib("VmRSS")

    def peak_mib(self) -> float:
        """Returns the most that its resident memory has been."""
        return self._memory_mib("VmHWM")

    def _memory_mib(self, field: str) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
        if found is None:
            raise NotMeasured(f"/proc tells no {field}: this figure needs Linux")
        return int(found[1]) / _KIB_OF_MIB


def cpu_s_of(pid: int) -> float:
    """Returns the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def normal_decisions(metrics: str) -> int:
    """Returns the sum of the service's decision counter. Raises NotMeasured where any was a denial or made by a fail mode:
    such a run measures something else.
    """
    total = 0
    pattern = r"^usageflow_decision_decisions_total\{(.*)\} ([\d.e+]+)$"
    for labels, value in re.findall(pattern, metrics, re.MULTILINE):
        if 'reason="WITHIN_LIMITS"' not in labels:
            raise NotMeasured(f"{float(value):.0f} decisions were not normal: {labels}")
        total += int(float(value))
    return total


class Redis(Process):
    """A Redis on a free loopback port that keeps nothing."""

    def __init__(self, folder: Path, program: str) -> None:
        self.port = free_port()
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
        arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        super().__init__([program, *arguments], clean_environment())

    @property
    def url(self) -> str:
        """Returns where it is."""
        return f"redis://127.0.0.1:{self.port}/0"


@dataclass(frozen=True, slots=True)
class Numbers:
    """What slim messages say for an endpoint: its number, under this plan."""

    endpoint: int
    plan: int


class Operator:
    """Sets a service up, over its own API. Use it in a ``with`` block."""

    def __init__(self, address: str, credentials: dict[str, str]) -> None:
        largest = [(f"grpc.max_{way}_message_length", _LARGEST_MESSAGE) for way in ("send", "receive")]
        options = [("grpc.enable_http_proxy", 0), *largest]
        self._channel = grpc.insecure_channel(address, options=options)
        self._decision = DecisionServiceStub(self._channel)
        self._admin = AdminServiceStub(self._channel)
        self._as_app = (("authorization", f"Bearer {credentials['api_key']}"),)
        self._as_admin = (("authorization", f"Bearer {credentials['admin_token']}"),)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def apply(self, policies: Sequence[policies_pb2.Policy], timeout_s: float = 30) -> int:
        """Makes these the application's policies; returns the revision."""
        answer = self._admin.Apply(apply_request(policies), metadata=self._as_admin, timeout=timeout_s)
        return int(answer.revision)

    def register(self, endpoints: Iterable[tuple[str, str]], timeout_s: float = 30) -> list[Numbers]:
        """Registers endpoints; returns their numbers once the plan has them all."""
        request = plan_pb2.RegisterEndpointsRequest(
            endpoints=[common_pb2.Endpoint(method=method, template=path) for method, path in endpoints]
        )
        answer = self._decision.RegisterEndpoints(request, metadata=self._as_app, timeout=timeout_s)
        wanted = [item.number for item in answer.endpoints]
        watch = plan_pb2.WatchPlanRequest(instance_id="bench")
        plans: Any = self._decision.WatchPlan(watch, metadata=self._as_app, timeout=timeout_s)
        for plan in plans:
            if {item.number for item in plan.endpoints} >= set(wanted):
                plans.cancel()
                return [Numbers(number, plan.plan_version) for number in wanted]
        raise NotMeasured("the plan ended before it had the endpoints")

    def check(self, request: decision_pb2.CheckRequest) -> decision_pb2.CheckResponse:
        """Asks once."""
        return self._decision.Check(request, metadata=self._as_app, timeout=60)


def apply_request(policies: Sequence[policies_pb2.Policy]) -> admin_pb2.ApplyRequest:
    """Returns these policies with the strategy that they name: ``by-user``, the header X-User-Id."""
    source = policies_pb2.Source(location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="X-User-Id")
    return admin_pb2.ApplyRequest(
        application=APPLICATION,
        strategies=[policies_pb2.Strategy(name="by-user", sources=[source])],
        policies=policies,
        prune=True,
    )


def policy(
    name: str, methods: Sequence[str], path: str, limits: Sequence[policies_pb2.Limit]
) -> policies_pb2.Policy:
    """Returns a policy per user."""
    match = policies_pb2.Match(methods=methods, path=path)
    return policies_pb2.Policy(name=name, match=match, strategy="by-user", limits=limits)


def bucket(limit: int, window_s: int) -> policies_pb2.Limit:
    """Returns a TOKEN_BUCKET."""
    window = Duration(seconds=window_s)
    return policies_pb2.Limit(
        name="rate", algorithm=common_pb2.ALGORITHM_TOKEN_BUCKET, limit=limit, window=window
    )


def fixed(limit: int, window_s: int) -> policies_pb2.Limit:
    """Returns a FIXED_WINDOW."""
    window = Duration(seconds=window_s)
    return policies_pb2.Limit(
        name="quota", algorithm=common_pb2.ALGORITHM_FIXED_WINDOW, limit=limit, window=window
    )


def batch(numbers: Numbers, users: Iterable[str]) -> bytes:
    """Returns a serialised BatchCheckRequest: one slim item per user."""
    items = [
        decision_pb2.CheckItem(
            endpoint_number=numbers.endpoint, values=[decision_pb2.AttributeValue(text=user)]
        )
        for user in users
    ]
    return decision_pb2.BatchCheckRequest(plan_version=numbers.plan, items=items).SerializeToString()


def unary(path: str, user: str) -> decision_pb2.CheckRequest:
    """Returns a Check by name, as a caller of any language sends it."""
    header = common_pb2.Attribute(location=common_pb2.ATTRIBUTE_LOCATION_HEADER, name="x-user-id", value=user)
    request = decision_pb2.HttpRequest(method="POST", path=path, route=path, attributes=[header])
    return decision_pb2.CheckRequest(request=request)
