"""From messages to what the use-cases take. Shape is checked by the models of usageflow.domain.policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf import json_format
from pydantic import BaseModel, ValidationError

from admin.applying import Wanted
from usageflow.domain.customers import Customer
from usageflow.domain.declared import faults_of
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.policies import Block, CustomerPlan, Policy, PolicySet, Strategy
from usageflow.domain.usage import UsageGroup
from usageflow.v1 import admin_pb2, common_pb2

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")

_GROUPS = {
    admin_pb2.USAGE_GROUP_UNSPECIFIED: UsageGroup.ENDPOINT,
    admin_pb2.USAGE_GROUP_ENDPOINT: UsageGroup.ENDPOINT,
    admin_pb2.USAGE_GROUP_STATUS: UsageGroup.STATUS,
    admin_pb2.USAGE_GROUP_MINUTE: UsageGroup.MINUTE,
}


def wanted(request: admin_pb2.ApplyRequest) -> Wanted:
    """Returns the set. Raises InvalidArgument with every fault of shape, under paths such as ``policies[3].name``."""
    faults: list[Fault] = []
    strategies = _models(Strategy, "strategies", request.strategies, _strategy, faults)
    policies = _models(Policy, "policies", request.policies, _policy, faults)
    blocks = _models(Block, "blocks", request.blocks, _block, faults)
    plans = _models(CustomerPlan, "plans", request.plans, _plan, faults)
    customers = _models(Customer, "customers", request.customers, _customer, faults)
    if faults:
        raise InvalidArgument(faults)
    return Wanted(
        application=request.application,
        policies=PolicySet(strategies=strategies, policies=policies, plans=plans),
        blocks=blocks,
        customers=customers,
        prune=request.prune,
        validate_only=request.validate_only,
    )


def usage_group(group: admin_pb2.UsageGroup.ValueType) -> UsageGroup:
    """Returns by what to group; UNSPECIFIED is by endpoint. Raises InvalidArgument for an unknown one."""
    if group not in _GROUPS:
        raise InvalidArgument.of("group_by", f"{group} is not a group", "send ENDPOINT, STATUS or MINUTE")
    return _GROUPS[group]


def _models(
    model: type[Model],
    kind: str,
    messages: Sequence[Item],
    fields: Callable[[Item], dict[str, Any]],
    faults: list[Fault],
) -> tuple[Model, ...]:
    made = []
    for index, message in enumerate(messages):
        try:
            made.append(model.model_validate(fields(message)))
        except ValidationError as error:
            faults += [
                fault.under(f"{kind}[{index}]") for fault in faults_of(error, "correct it and apply again")
            ]
    return tuple(made)


def _strategy(message: admin_pb2.Strategy) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": message.name,
        "sources": [_source(source) for source in message.sources],
        **_set("on_missing", _bare(admin_pb2.OnMissing.Name, message.on_missing, "ON_MISSING_")),
        "allow_unlimited": message.allow_unlimited,
    }
    if message.HasField("guard"):
        fields["guard"] = {
            "limit": message.guard.limit,
            "window": message.guard.window.seconds * 1_000_000 + message.guard.window.nanos // 1000,
            "new_identities": message.guard.new_identities,
        }
    return fields


_LOCATIONS = {"path_parameter": "path", "jwt_claim": "jwt", "app_context": "context"}


def _source(message: admin_pb2.Source, *, joined: bool = False) -> dict[str, Any]:
    location = _bare(common_pb2.AttributeLocation.Name, message.location, "ATTRIBUTE_LOCATION_").lower()
    fields: dict[str, Any] = {"name": message.name, "sensitive": message.sensitive}
    if location or not message.join:  # only what joins others may be without one
        fields["in"] = _LOCATIONS.get(location, location)
    if joined and message.join:
        fields["join"] = [{"name": "nested"}]  # refused whatever it holds, so it is not read any deeper
    else:
        fields["join"] = [_source(part, joined=True) for part in message.join]
    return fields | (_token(message.token) if message.HasField("token") else {})


def _token(message: admin_pb2.TokenRules) -> dict[str, Any]:
    return {
        "issuer": message.issuer,
        "audience": message.audience,
        "jwks_url": message.jwks_url,
        "keys": [json_format.MessageToDict(key) for key in message.keys],
        "algorithms": list(message.algorithms),
        "from": message.place,
        "allow_unverified": message.allow_unverified,
    }


def _policy(message: admin_pb2.Policy) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": message.name,
        "match": {"methods": list(message.match.methods) or ["*"], "path": message.match.path},
        "strategy": message.strategy,
        "limits": [_limit(limit) for limit in message.limits],
        **_set("mode", _bare(common_pb2.PolicyMode.Name, message.mode, "POLICY_MODE_")),
        **_set("fail_mode", _bare(common_pb2.FailMode.Name, message.fail_mode, "FAIL_MODE_")),
        "priority": message.priority,
        "cost": message.cost or 1,
        "cost_expression": message.cost_expression,
        "condition": message.condition,
        "stop": message.stop,
        "message": message.message,
    }
    if message.HasField("enforce_percent"):
        fields["enforce_percent"] = message.enforce_percent
    if message.HasField("metering"):
        fields["metering"] = {
            **_set("expression", message.metering.expression),
            **_set("trigger", message.metering.trigger),
            "price": message.metering.price,
            "event_name": message.metering.event_name,
        }
    return fields


def _limit(message: admin_pb2.Limit) -> dict[str, Any]:
    fields: dict[str, Any] = {
        **_set("name", message.name),
        **_set("algorithm", _bare(common_pb2.Algorithm.Name, message.algorithm, "ALGORITHM_")),
        "limit": message.limit,
        "burst": message.burst,
        **_set("scope", _bare(admin_pb2.LimitScope.Name, message.scope, "LIMIT_SCOPE_")),
        **_set("align", _bare(admin_pb2.WindowAlignment.Name, message.align, "WINDOW_ALIGNMENT_").lower()),
        **_set("time_zone", message.time_zone),
        "charge_denied": message.charge_denied,
    }
    if message.HasField("window"):
        fields["window"] = message.window.seconds * 1_000_000 + message.window.nanos // 1000
    if message.HasField("anchor"):
        fields["anchor"] = message.anchor.seconds * 1_000_000 + message.anchor.nanos // 1000
    return fields


def _block(message: admin_pb2.Block) -> dict[str, Any]:
    return {
        "methods": list(message.methods) or ["*"],
        "path": message.path,
        "identity": message.identity,
        "reason": message.reason,
    }


def _plan(message: admin_pb2.CustomerPlan) -> dict[str, Any]:
    return {"name": message.name, "overrides": [_override(each) for each in message.overrides]}


def _customer(message: admin_pb2.Customer) -> dict[str, Any]:
    return {
        "name": message.name,
        "identities": list(message.identities),
        "stripe_customer": message.stripe_customer,
        "plan": message.plan,
        "overrides": [_override(each) for each in message.overrides],
    }


def _override(message: admin_pb2.LimitOverride) -> dict[str, Any]:
    """Returns the fields that are set: a plan's override knows neither identity nor end."""
    fields: dict[str, Any] = {
        "policy": message.policy,
        **_set("limit_name", message.limit_name),
        "limit": message.limit,
        **_set("identity", message.identity),
    }
    if message.HasField("burst"):
        fields["burst"] = message.burst
    if message.HasField("expire_time"):
        fields["expires"] = message.expire_time.seconds * 1_000_000 + message.expire_time.nanos // 1000
    return fields


def _set(name: str, value: str) -> dict[str, str]:
    """Returns the field where it is set, so that the model's default holds where it is not."""
    return {name: value} if value else {}


def _bare(name_of: Callable[[Any], str], value: int, prefix: str) -> str:
    """Returns an enum's bare name, "" for UNSPECIFIED; an unknown value stays a number, which the model refuses."""
    try:
        name = name_of(value).removeprefix(prefix)
    except ValueError:
        return str(value)
    return "" if name == "UNSPECIFIED" else name
