"""A real gRPC server on a free port that answers what a test tells it, and a runner of the command."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from typer.testing import CliRunner, Result

from usageflow.cli.main import app
from usageflow.v1 import (
    admin_pb2,
    alert_methods_pb2,
    alerts_pb2,
    analytics_pb2,
    audit_pb2,
    billing_pb2,
    decision_log_pb2,
    decision_pb2,
    directory_methods_pb2,
    headroom_pb2,
    inventory_pb2,
    keys_pb2,
    meter_pb2,
    revisions_pb2,
    status_pb2,
    usage_pb2,
)

STREAMING = {"ExportSnapshot", "ListDecisions", "ListEvents", "TailEvents"}

METHODS: dict[str, dict[str, Any]] = {
    "DecisionService": {
        "Check": decision_pb2.CheckRequest,
        "Explain": decision_pb2.ExplainRequest,
        "ListHeadroom": headroom_pb2.ListHeadroomRequest,
        "Report": usage_pb2.ReportRequest,
    },
    "AdminService": {
        "Apply": admin_pb2.ApplyRequest,
        "QueryUsage": analytics_pb2.QueryUsageRequest,
        "ListEvents": analytics_pb2.ListEventsRequest,
        "TailEvents": analytics_pb2.TailEventsRequest,
        "GetCustomer": directory_methods_pb2.GetCustomerRequest,
        "ListBlocks": directory_methods_pb2.ListBlocksRequest,
        "ListEndpointInventory": inventory_pb2.ListEndpointInventoryRequest,
        "GetStatus": status_pb2.GetStatusRequest,
        "ExportSnapshot": admin_pb2.ExportSnapshotRequest,
        **{
            f"{verb}{thing}{'s' if verb == 'List' else ''}": getattr(
                keys_pb2, f"{verb}{thing}{'s' if verb == 'List' else ''}Request"
            )
            for verb in ("Create", "Get", "List", "Update", "Rotate", "Revoke")
            for thing in ("ApiKey", "AdminToken")
        },
        "ListAuditEntries": audit_pb2.ListAuditEntriesRequest,
        "GetRevision": revisions_pb2.GetRevisionRequest,
        "ListDecisions": decision_log_pb2.ListDecisionsRequest,
        "ListAlerts": alerts_pb2.ListAlertsRequest,
        "ListAlertEvents": alerts_pb2.ListAlertEventsRequest,
        "TestAlertDestination": alerts_pb2.TestAlertDestinationRequest,
        "RevealAlertDestinationSecret": alerts_pb2.RevealAlertDestinationSecretRequest,
        "CreateAlertRule": alert_methods_pb2.CreateAlertRuleRequest,
    },
    "MeterService": {
        "ListPending": meter_pb2.ListPendingRequest,
        **{
            name: getattr(billing_pb2, f"{name}Request")
            for name in (
                "GetBillingStatus",
                "ListBillingParts",
                "FlushUsage",
                "MoveBillingParts",
                "HoldBilling",
                "ResumeDestination",
                "ReconcileBilling",
                "GetBillPreview",
                "CorrectUsage",
            )
        },
    },
}


@dataclass
class Service:
    """Answers each method with what is queued for it: a message, a status, or a function of the request."""

    address: str = ""
    answers: dict[str, deque[Any]] = field(default_factory=lambda: defaultdict(deque))
    calls: list[tuple[str, Any, dict[str, str]]] = field(default_factory=list)

    def will(self, method: str, *answers: Any) -> None:
        self.answers[method].extend(answers)

    def fails(self, method: str, code: grpc.StatusCode, text: str = "", *details: Message) -> None:
        packed = []
        for detail in details:
            packed.append(AnyMessage())
            packed[-1].Pack(detail)
        self.will(method, Status(code=code.value[0], message=text, details=packed))

    @property
    def requests(self) -> list[Any]:
        return [request for _, request, _ in self.calls]

    def answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        self.calls.append((method, request, metadata))
        answer = self.answers[method].popleft()
        if isinstance(answer, Status):
            context.abort_with_status(rpc_status.to_status(answer))
        return answer(request) if callable(answer) else answer


def handlers(service: Service) -> list[grpc.GenericRpcHandler]:
    def handler(method: str, request: Any) -> Any:
        if method in STREAMING:
            return grpc.unary_stream_rpc_method_handler(
                lambda message, context: iter(service.answer(method, message, context)),
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
        return grpc.unary_unary_rpc_method_handler(
            lambda message, context: service.answer(method, message, context),
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    return [
        grpc.method_handlers_generic_handler(
            f"usageflow.v1.{name}", {method: handler(method, request) for method, request in methods.items()}
        )
        for name, methods in METHODS.items()
    ]


@pytest.fixture
def service() -> Iterator[Service]:
    script = Service()
    with ThreadPoolExecutor(max_workers=2) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers(handlers(script))
        script.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield script
        server.stop(None).wait()


class Run(Protocol):
    """Runs the command with these arguments in an empty folder."""

    def __call__(self, *args: str, stdin: str | bytes | None = None, **env: str) -> Result: ...


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command without any settings."""
    for name in (
        "ADDR",
        "API_KEY",
        "ADMIN_TOKEN",
        "CA_FILE",
        "CLIENT_CERT",
        "CLIENT_KEY",
        "INSECURE",
        "DATA",
    ):
        monkeypatch.delenv(f"USAGEFLOW_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*args: str, stdin: str | bytes | None = None, **env: str) -> Result:
        arguments: Sequence[str] = args
        return runner.invoke(app, arguments, input=stdin, env={"COLUMNS": "200", **env})

    return run


@pytest.fixture
def run(bare: Run, service: Service) -> Run:
    """The command, connected to the service with an API key and an admin token."""

    def connected(*args: str, stdin: str | bytes | None = None, **env: str) -> Result:
        settings = {
            "USAGEFLOW_ADDR": service.address,
            "USAGEFLOW_API_KEY": "uf_key",
            "USAGEFLOW_ADMIN_TOKEN": "uf_admin_token",
        }
        return bare(*args, stdin=stdin, **{**settings, **env})

    return connected
