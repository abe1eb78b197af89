"""Between the contract's messages and what files and JSON show. Imported by the verbs only: it is heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from usageflow.cli.resources.kinds import Kind
from usageflow.cli.times import format_instant
from usageflow.domain.alerts import AlertDestination, AlertRule
from usageflow.domain.applications import ApplicationSettings, Route
from usageflow.domain.customers import Customer
from usageflow.domain.policies import Block, CustomerPlan, Policy, Strategy
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
)
from usageflow.v1 import (
    alert_methods_pb2,
    application_methods_pb2,
    directory_methods_pb2,
    plan_pb2,
    policy_methods_pb2,
)

_OUTPUT = ("id", "number", "revision", "etag", "secret_version", "disabled_reason", "signing_secret")
_TIMES = ("create_time", "update_time", "delete_time")


def _application_fields(message: application_methods_pb2.Application) -> dict[str, Any]:
    return {
        "name": message.name,
        "capture": bare(plan_pb2.CaptureLevel.Name, message.capture, "CAPTURE_LEVEL_"),
        "retention_days": message.retention_days,
        "decision_log_percent": message.decision_log_percent,
    }


def _application_message(settings: Any) -> application_methods_pb2.Application:
    return application_methods_pb2.Application(
        name=settings.name,
        capture=plan_pb2.CaptureLevel.Value(f"CAPTURE_LEVEL_{settings.capture}"),
        retention_days=settings.retention_days,
        decision_log_percent=settings.decision_log_percent,
    )


_Form = tuple[type[BaseModel], Callable[[Any], dict[str, Any]], Callable[[Any], Any]]

_FORMS: Mapping[str, _Form] = {
    "policies": (Policy, policy_fields, policy_message),
    "strategies": (Strategy, strategy_fields, strategy_message),
    "plans": (CustomerPlan, plan_fields, plan_message),
    "customers": (Customer, customer_fields, customer_message),
    "blocks": (Block, block_fields, block_message),
    "applications": (ApplicationSettings, _application_fields, _application_message),
    "rules": (AlertRule, alert_rule_fields, alert_rule_message),
    "destinations": (AlertDestination, alert_destination_fields, alert_destination_message),
    "endpoints": (
        Route,
        lambda message: {"name": message.name},
        lambda route: application_methods_pb2.ApplicationEndpoint(name=route.name),
    ),
}


def model_of(kind: Kind, fields: Mapping[str, Any]) -> BaseModel:
    """Returns the model of fields. Raises pydantic's ValidationError."""
    return _FORMS[kind.command][0].model_validate(dict(fields), by_alias=True, by_name=False)


def message_of(kind: Kind, model: BaseModel) -> Any:
    """Returns the message of a model."""
    return _FORMS[kind.command][2](model)


def declared(kind: Kind, message: Any, *, full: bool = True) -> dict[str, Any]:
    """Returns the fields of a message in the words of policy files; ``full``: defaults too."""
    model, read, _ = _FORMS[kind.command]
    # The service judged it; a newer one may send what this version would refuse.
    made = model.model_validate(read(message))
    fields = made.model_dump(mode="json", by_alias=True, exclude_defaults=not full)
    fields.pop("rotated_us", None)  # the service's own
    expression = fields.pop("cost_expression", "")
    return {**fields, "cost": expression} if expression else fields


def shown(kind: Kind, message: Any) -> dict[str, Any]:
    """Returns all that a message tells, as JSON shows it."""
    fields = declared(kind, message)
    for name in _OUTPUT:
        if name in message.DESCRIPTOR.fields_by_name:
            fields[name] = getattr(message, name)
    for name in _TIMES:
        if message.HasField(name):
            fields[name] = format_instant(getattr(message, name).seconds)
    return fields


def request_of(kind: Kind, verb: str, **fields: Any) -> Any:
    """Returns the request of a verb: fields that it does not have are left out."""
    name = f"{verb.title()}{kind.many if verb == 'list' else kind.title}Request"
    module = next(
        each
        for each in (policy_methods_pb2, directory_methods_pb2, application_methods_pb2, alert_methods_pb2)
        if hasattr(each, name)
    )
    message = getattr(module, name)
    known = message.DESCRIPTOR.fields_by_name
    return message(
        **{field: value for field, value in fields.items() if field in known and value is not None}
    )
