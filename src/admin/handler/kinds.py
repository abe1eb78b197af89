"""The kinds of resources: how each is read from and written to its message."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from admin.resources import Found
from usageflow.domain.customers import Customer
from usageflow.messages import (
    alert_destination_fields,
    alert_destination_message,
    alert_rule_fields,
    alert_rule_message,
    bare,
    block_fields,
    block_message,
    customer_fields,
    customer_message,
    plan_fields,
    plan_message,
    policy_fields,
    policy_message,
    strategy_fields,
    strategy_message,
    timestamp_of,
)
from usageflow.v1 import (
    alert_methods_pb2,
    application_methods_pb2,
    directory_methods_pb2,
    plan_pb2,
    policy_methods_pb2,
)

OUTPUT_ONLY = frozenset(
    {
        "etag",
        "create_time",
        "update_time",
        "delete_time",
        "revision",
        "id",
        "number",
        "secret_version",
        "disabled_reason",
        "signing_secret",
    }
)
_OWN = "usageflow.v1."


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind: its name in methods, alone and of many, its fields in requests and lists, its list's message, and both ways through its
    message. ``key`` is the field that names one.
    """

    title: str
    many: str
    field: str
    items: str
    page: Callable[..., Any]
    read: Callable[[Any], Mapping[str, Any]]
    write: Callable[[Found], Any]
    key: str = "name"
    has_update: bool = True


def _application_fields(message: application_methods_pb2.Application) -> dict[str, Any]:
    capture = bare(plan_pb2.CaptureLevel.Name, message.capture, "CAPTURE_LEVEL_")
    return {
        "name": message.name,
        **({"capture": capture} if capture else {}),
        **({"retention_days": message.retention_days} if message.retention_days else {}),
        "decision_log_percent": message.decision_log_percent,
    }


def _application_message(found: Found) -> application_methods_pb2.Application:
    settings = found.item
    return application_methods_pb2.Application(
        name=settings.name,
        capture=plan_pb2.CaptureLevel.Value(f"CAPTURE_LEVEL_{settings.capture}"),
        retention_days=settings.retention_days,
        decision_log_percent=settings.decision_log_percent,
        revision=found.number,
    )


def _endpoint_message(found: Found) -> application_methods_pb2.ApplicationEndpoint:
    return application_methods_pb2.ApplicationEndpoint(name=found.name, number=found.number)


def _shown(identity: str) -> str:
    """Returns how people read a stored identity."""
    return f"hash:{identity[:12]}" if identity else ""


def _customer_message(found: Found) -> Any:
    stored: Customer = found.item
    overrides = tuple(
        each.model_copy(update={"identity": _shown(each.identity)}) for each in stored.overrides
    )
    identities = tuple(_shown(each) for each in stored.identities)
    return customer_message(stored.model_copy(update={"identities": identities, "overrides": overrides}))


def _block_message(found: Found) -> Any:
    message = block_message(found.item.model_copy(update={"identity": _shown(found.item.identity)}))
    message.id = found.name
    return message


def _revised(write: Callable[[Any], Any]) -> Callable[[Found], Any]:
    """Returns the writer of what revisions hold."""

    def written(found: Found) -> Any:
        message = write(found.item)
        message.revision = found.stamp.version
        return message

    return written


KINDS = (
    Kind(
        "Strategy",
        "Strategies",
        "strategy",
        "strategies",
        policy_methods_pb2.ListStrategiesResponse,
        strategy_fields,
        _revised(strategy_message),
    ),
    Kind(
        "Policy",
        "Policies",
        "policy",
        "policies",
        policy_methods_pb2.ListPoliciesResponse,
        policy_fields,
        _revised(policy_message),
    ),
    Kind(
        "CustomerPlan",
        "CustomerPlans",
        "plan",
        "plans",
        policy_methods_pb2.ListCustomerPlansResponse,
        plan_fields,
        _revised(plan_message),
    ),
    Kind(
        "Customer",
        "Customers",
        "customer",
        "customers",
        directory_methods_pb2.ListCustomersResponse,
        customer_fields,
        _customer_message,
    ),
    Kind(
        "Block",
        "Blocks",
        "block",
        "blocks",
        directory_methods_pb2.ListBlocksResponse,
        block_fields,
        _block_message,
        key="id",
    ),
    Kind(
        "Endpoint",
        "Endpoints",
        "endpoint",
        "endpoints",
        application_methods_pb2.ListEndpointsResponse,
        lambda message: {"name": message.name},
        _endpoint_message,
        has_update=False,
    ),
    Kind(
        "Application",
        "Applications",
        "application",
        "applications",
        application_methods_pb2.ListApplicationsResponse,
        _application_fields,
        _application_message,
    ),
    Kind(
        "AlertRule",
        "AlertRules",
        "alert_rule",
        "rules",
        alert_methods_pb2.ListAlertRulesResponse,
        alert_rule_fields,
        lambda found: alert_rule_message(found.item),
    ),
    Kind(
        "AlertDestination",
        "AlertDestinations",
        "alert_destination",
        "destinations",
        alert_methods_pb2.ListAlertDestinationsResponse,
        alert_destination_fields,
        lambda found: alert_destination_message(found.item.model_copy(update={"url": found.item.shown_url})),
    ),
)


def packed(kind: Kind, found: Found) -> Any:
    """Returns the message of a resource, with etag and times."""
    message = kind.write(found)
    message.etag = found.etag
    stamp = found.stamp
    times = {
        "create_time": stamp.created_us,
        "update_time": stamp.updated_us,
        "delete_time": stamp.deleted_us,
    }
    for field, at_us in times.items():
        if at_us:
            getattr(message, field).CopyFrom(timestamp_of(at_us))
    return message


def set_paths(message: Message, prefix: str = "") -> Iterator[str]:
    """Yields the paths of the fields that are set: what an update without a mask changes."""
    for field, value in message.ListFields():
        own = field.message_type is not None and field.message_type.full_name.startswith(_OWN)
        if own and isinstance(value, Message):
            yield from set_paths(value, f"{prefix}{field.name}.")
        elif prefix or field.name not in OUTPUT_ONLY:
            yield prefix + field.name
