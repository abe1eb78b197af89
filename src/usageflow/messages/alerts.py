"""Alert rules and destinations as the contract's messages, both ways."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration

from usageflow.domain.alerts import AlertDestination, AlertRule
from usageflow.messages.reading import bare
from usageflow.messages.writing import duration_of
from usageflow.v1 import alerts_pb2

_TEXTS = ("endpoint", "policy", "limit_name", "customer")
_SPANS = ("window", "pending_for", "keep_firing_for")


def alert_rule_fields(message: alerts_pb2.AlertRule) -> dict[str, Any]:
    """Returns a rule's fields; what is not set is left to the model's default."""
    chosen = {
        "kind": bare(alerts_pb2.AlertKind.Name, message.kind, "ALERT_KIND_"),
        "measure": bare(alerts_pb2.AlertMeasure.Name, message.measure, "ALERT_MEASURE_"),
        "severity": bare(alerts_pb2.AlertSeverity.Name, message.severity, "ALERT_SEVERITY_"),
    }
    return {
        "name": message.name,
        **{name: value for name, value in chosen.items() if value},
        **{name: getattr(message, name) for name in _TEXTS},
        "threshold": message.threshold,
        "clear_threshold": message.clear_threshold,
        "levels": list(message.levels),
        **{name: _us(getattr(message, name)) for name in _SPANS if message.HasField(name)},  # type: ignore[arg-type]
        **({"min_requests": message.min_requests} if message.min_requests else {}),
        "destinations": list(message.destinations),
        "enabled": message.enabled if message.HasField("enabled") else True,
    }


def alert_rule_message(rule: AlertRule) -> alerts_pb2.AlertRule:
    """Returns the message of a rule."""
    return alerts_pb2.AlertRule(
        name=rule.name,
        kind=alerts_pb2.AlertKind.Value(f"ALERT_KIND_{rule.kind}"),
        endpoint=rule.endpoint,
        policy=rule.policy,
        limit_name=rule.limit_name,
        customer=rule.customer,
        measure=alerts_pb2.AlertMeasure.Value(f"ALERT_MEASURE_{rule.measure}"),
        threshold=rule.threshold,
        clear_threshold=rule.clear_threshold,
        levels=rule.levels,
        window=duration_of(rule.window_us),
        min_requests=rule.min_requests,
        pending_for=duration_of(rule.pending_for_us),
        keep_firing_for=duration_of(rule.keep_firing_for_us),
        severity=alerts_pb2.AlertSeverity.Value(f"ALERT_SEVERITY_{rule.severity}"),
        destinations=rule.destinations,
        enabled=rule.enabled,
    )


def alert_destination_fields(message: alerts_pb2.AlertDestination) -> dict[str, Any]:
    """Returns a destination's fields, those that people set."""
    kind = bare(alerts_pb2.AlertDestinationType.Name, message.type, "ALERT_DESTINATION_TYPE_")
    return {
        "name": message.name,
        **({"type": kind} if kind else {}),
        "url": message.url,
        "enabled": message.enabled if message.HasField("enabled") else True,
    }


def alert_destination_message(destination: AlertDestination) -> alerts_pb2.AlertDestination:
    """Returns the message of a destination as it was entered."""
    return alerts_pb2.AlertDestination(
        name=destination.name,
        type=alerts_pb2.AlertDestinationType.Value(f"ALERT_DESTINATION_TYPE_{destination.type}"),
        url=destination.url,
        enabled=destination.enabled,
        secret_version=destination.secret_version,
        disabled_reason=destination.disabled_reason,
    )


def _us(duration: Duration) -> int:
    return duration.seconds * 1_000_000 + duration.nanos // 1000
