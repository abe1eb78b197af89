"""One UsageEvent per request."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from usageflow.client._core.capturing import captured, masked_metadata
from usageflow.client._core.hooks import RequestData
from usageflow.client._core.masking import mask_text
from usageflow.client._core.plan import UNMATCHED
from usageflow.client._core.request import RequestView
from usageflow.client._core.verdict import Verdict
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import plan_pb2, usage_pb2

_MAX_LATENCY_NS: Final = 24 * 3_600 * 1_000_000_000
_MAX_USER_AGENT_BYTES: Final = 512
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended."""

    status: int
    """HTTP status, 100 to 599."""
    latency_ns: int
    request_bytes: int = 0
    response_bytes: int = 0


def build_event(
    event_id: str,
    started_ns: int,
    request: RequestView,
    verdict: Verdict,
    data: RequestData,
    outcome: Outcome,
    capture: plan_pb2.CaptureLevel.ValueType,
    secrets: Collection[str] = (),
) -> usage_pb2.UsageEvent:
    """Returns the event of one request. `started_ns` is nanoseconds since 1970.

    `secrets` are further names of secrets: those that the plan calls sensitive. The endpoint goes by name, so that the event stays valid whatever plan is in force when it is delivered.
    """
    event = usage_pb2.UsageEvent(
        event_id=event_id,
        endpoint=common.Endpoint(method=request.method, template=request.route or UNMATCHED),
        status=outcome.status if 100 <= outcome.status <= 599 else 500,
        request_bytes=outcome.request_bytes,
        response_bytes=outcome.response_bytes,
        quantity=data.quantity,
        decision=verdict.decision,
        reason=verdict.reason,
        degraded=verdict.degraded,
        policy_number=verdict.policy_number,
        revision=verdict.revision,
        identity=_identity(verdict, data),
        metadata=masked_metadata(data.metadata, secrets),
        captured=captured(request, capture, secrets),
    )
    _set_times(event, started_ns, outcome.latency_ns)
    if capture != plan_pb2.CAPTURE_LEVEL_MINIMAL:
        event.client_ip = request.client_ip
        event.user_agent = _cut(mask_text(request.header(b"user-agent")))
    return event


def _identity(verdict: Verdict, data: RequestData) -> common.Identity | None:
    # What the application says after its own authentication beats what the check found in the request.
    return common.Identity(value=data.consumer) if data.consumer else verdict.identity


def _set_times(event: usage_pb2.UsageEvent, started_ns: int, latency_ns: int) -> None:
    event.time.seconds, event.time.nanos = divmod(started_ns, _SECOND_NS)
    latency = min(max(latency_ns, 0), _MAX_LATENCY_NS)
    event.latency.seconds, event.latency.nanos = divmod(latency, _SECOND_NS)


def _cut(text: str) -> str:
    if len(text) * 2 <= _MAX_USER_AGENT_BYTES:  # Latin-1: at most two bytes a character
        return text
    return text.encode()[:_MAX_USER_AGENT_BYTES].decode(errors="ignore")
