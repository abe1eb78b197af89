"""From messages to fields, as the models of usageflow.domain take them. The models judge them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf import json_format

from usageflow.v1 import common_pb2, policies_pb2


def strategy_fields(message: policies_pb2.Strategy) -> dict[str, Any]:
    """Returns a strategy's fields; what is not set is left to the model's default."""
    fields: dict[str, Any] = {
        "name": message.name,
        "sources": [_source(source) for source in message.sources],
        **_set("on_missing", bare(policies_pb2.OnMissing.Name, message.on_missing, "ON_MISSING_")),
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


def _source(message: policies_pb2.Source, *, joined: bool = False) -> dict[str, Any]:
    location = bare(common_pb2.AttributeLocation.Name, message.location, "ATTRIBUTE_LOCATION_").lower()
    fields: dict[str, Any] = {"name": message.name, "sensitive": message.sensitive}
    if location or not message.join:  # only what joins others may be without one
        fields["in"] = _LOCATIONS.get(location, location)
    if joined and message.join:
        fields["join"] = [{"name": "nested"}]  # refused whatever it holds, so it is not read any deeper
    else:
        fields["join"] = [_source(part, joined=True) for part in message.join]
    return fields | (_token(message.token) if message.HasField("token") else {})


def _token(message: policies_pb2.TokenRules) -> dict[str, Any]:
    return {
        "issuer": message.issuer,
        "audience": message.audience,
        "jwks_url": message.jwks_url,
        "keys": [json_format.MessageToDict(key) for key in message.keys],
        "algorithms": list(message.algorithms),
        "from": message.place,
        "allow_unverified": message.allow_unverified,
    }


def policy_fields(message: policies_pb2.Policy) -> dict[str, Any]:
    """Returns a policy's fields; what is not set is left to the model's default."""
    fields: dict[str, Any] = {
        "name": message.name,
        "match": {"methods": list(message.match.methods) or ["*"], "path": message.match.path},
        "strategy": message.strategy,
        "limits": [_limit(limit) for limit in message.limits],
        **_set("mode", bare(common_pb2.PolicyMode.Name, message.mode, "POLICY_MODE_")),
        **_set("fail_mode", bare(common_pb2.FailMode.Name, message.fail_mode, "FAIL_MODE_")),
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
            **_set("late_usage", message.metering.late_usage),
        }
    return fields


def _limit(message: policies_pb2.Limit) -> dict[str, Any]:
    fields: dict[str, Any] = {
        **_set("name", message.name),
        **_set("algorithm", bare(common_pb2.Algorithm.Name, message.algorithm, "ALGORITHM_")),
        "limit": message.limit,
        "burst": message.burst,
        **_set("scope", bare(policies_pb2.LimitScope.Name, message.scope, "LIMIT_SCOPE_")),
        **_set("align", bare(policies_pb2.WindowAlignment.Name, message.align, "WINDOW_ALIGNMENT_").lower()),
        **_set("time_zone", message.time_zone),
        "charge_denied": message.charge_denied,
    }
    if message.HasField("window"):
        fields["window"] = message.window.seconds * 1_000_000 + message.window.nanos // 1000
    if message.HasField("anchor"):
        fields["anchor"] = message.anchor.seconds * 1_000_000 + message.anchor.nanos // 1000
    return fields


def block_fields(message: policies_pb2.Block) -> dict[str, Any]:
    """Returns a block's fields; what is not set is left to the model's default."""
    return {
        "methods": list(message.methods) or ["*"],
        "path": message.path,
        "identity": message.identity,
        "reason": message.reason,
    }


def plan_fields(message: policies_pb2.CustomerPlan) -> dict[str, Any]:
    """Returns a plan's fields; what is not set is left to the model's default."""
    return {"name": message.name, "overrides": [_override(each) for each in message.overrides]}


def customer_fields(message: policies_pb2.Customer) -> dict[str, Any]:
    """Returns a customer's fields; what is not set is left to the model's default."""
    return {
        "name": message.name,
        "identities": list(message.identities),
        "stripe_customer": message.stripe_customer,
        "plan": message.plan,
        "overrides": [_override(each) for each in message.overrides],
    }


def _override(message: policies_pb2.LimitOverride) -> dict[str, Any]:
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


def bare(name_of: Callable[[Any], str], value: int, prefix: str) -> str:
    """Returns an enum's bare name, "" for UNSPECIFIED; an unknown value stays a number, which the model refuses."""
    try:
        name = name_of(value).removeprefix(prefix)
    except ValueError:
        return str(value)
    return "" if name == "UNSPECIFIED" else name
