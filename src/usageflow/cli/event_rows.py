"""Stored events as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from usageflow.cli.usage_rows import latency_text, milliseconds

if TYPE_CHECKING:  # the contract's messages are heavy to import
    from usageflow.v1.analytics_pb2 import StoredEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

COLUMNS = (
    "time",
    "event_id",
    "method",
    "template",
    "path",
    "identity",
    "status",
    "latency_ms",
    "quantity",
    "denied",
    "reason",
    "degraded_reason",
    "policy",
    "request_bytes",
    "response_bytes",
    "detail",
)
"""The fields of an event in JSON, and the columns of an exported file, in this order. New ones come at the end."""


def event_document(event: StoredEvent) -> dict[str, Any]:
    """Returns an event as programs read it: time in RFC 3339 with microseconds, ``detail`` an object."""
    from google.protobuf.json_format import MessageToDict

    return {
        "time": _instant(event).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "event_id": event.event_id,
        "method": event.endpoint.method,
        "template": event.endpoint.template,
        "path": event.path,
        "identity": event.identity,
        "status": event.status,
        "latency_ms": milliseconds(event.latency),
        "quantity": event.quantity,
        "denied": event.denied,
        "reason": event.reason,
        "degraded_reason": event.degraded_reason,
        "policy": event.policy,
        "request_bytes": event.request_bytes,
        "response_bytes": event.response_bytes,
        "detail": MessageToDict(event.detail),
    }


def event_line(event: StoredEvent) -> str:
    """Returns an event in one line: time (UTC), method and path, status, latency, identity, decision."""
    return "  ".join(
        (
            _instant(event).strftime("%H:%M:%S.%f")[:-3],
            f"{event.endpoint.method:<6} {event.path or event.endpoint.template}",
            str(event.status),
            latency_text(milliseconds(event.latency)),
            event.identity or "-",
            _decision(event),
        )
    )


def _decision(event: StoredEvent) -> str:
    words = [f"denied {event.reason}".strip() if event.denied else "allowed"]
    if event.denied and event.policy:
        words.append(f"by {event.policy}")
    if event.degraded_reason:
        words.append(f"degraded {event.degraded_reason}")
    return " ".join(words)


def _instant(event: StoredEvent) -> datetime:
    return _EPOCH + timedelta(microseconds=event.time.ToMicroseconds())
