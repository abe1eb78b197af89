"""Checks on the wire: items for a BatchCheck, and verdicts from its answers."""

from __future__ import annotations

from collections.abc import Iterable

from usageflow.client._core.plan import EndpointRule, Plan
from usageflow.client._core.request import AttributeSpec, RequestView, extract, keyed_hash
from usageflow.client._core.slots import Slot
from usageflow.client._core.verdict import INVALID_REQUEST, LimitView, Verdict
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire

MAX_ITEMS = 100
_MAX_PATH_CHARS = (
    8_193  # one more than the service accepts: it must refuse a longer path, never judge its beginning
)
_OUR_FIELDS = frozenset({"endpoint_number", "values"})
"""What only a client can get wrong: there the fail mode decides."""


def build_item(
    plan: Plan, rule: EndpointRule, request: RequestView, deadline_ms: int, *, by_name: bool
) -> wire.CheckItem:
    """Returns the item that asks for one request.

    By number where the plan knows the endpoint, else by name. Either way it holds only attributes that the plan names;
    sensitive ones only as keyed hashes.
    """
    if by_name or not rule.number or not request.route:
        # Without a route the raw path is what policies match, and only an item by name carries it.
        return wire.CheckItem(request=_by_name(plan, request), deadline_ms=deadline_ms)
    return wire.CheckItem(
        endpoint_number=rule.number,
        values=[_value(spec, request, plan.hash_key) for spec in rule.attributes],
        client_ip=request.client_ip,
        deadline_ms=deadline_ms,
    )


def _value(spec: AttributeSpec, request: RequestView, hash_key: bytes) -> wire.AttributeValue:
    value = extract(spec, request)
    if value is None:
        return wire.AttributeValue()
    if not spec.sensitive:
        return wire.AttributeValue(text=value)
    return wire.AttributeValue(hash=keyed_hash(hash_key, value)) if hash_key else wire.AttributeValue()


def _by_name(plan: Plan, request: RequestView) -> wire.HttpRequest:
    parameters = {name: _clean(str(value)) for name, value in request.path_parameters.items()}
    return wire.HttpRequest(
        method=request.method,
        path=_clean(request.path)[:_MAX_PATH_CHARS],
        route=request.route,
        path_parameters=parameters,
        attributes=_named_attributes(plan, request),
        client_ip=request.client_ip,
    )


def _named_attributes(plan: Plan, request: RequestView) -> list[common.Attribute]:
    found: list[common.Attribute] = []
    for spec in plan.attributes.values():
        value = extract(spec, request)
        if value is None or (spec.sensitive and not plan.hash_key):
            continue  # a secret never leaves in the clear: without a key it counts as missing
        attribute = common.Attribute(
            location=common.AttributeLocation.ValueType(spec.location), name=spec.name
        )
        if spec.sensitive:
            attribute.hash = keyed_hash(plan.hash_key, value)
        else:
            attribute.value = value
        found.append(attribute)
    return found


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def read_result(plan: Plan, result: wire.CheckResult, revision: int) -> Verdict | None:
    """Returns the verdict of one answer; None where nothing was decided, so that the fail mode must."""
    code = result.status.code
    if code == common.ITEM_CODE_INVALID_ARGUMENT and result.status.field not in _OUR_FIELDS:
        return INVALID_REQUEST  # what the caller sent: it must never pass for being malformed
    if code or result.decision not in (common.DECISION_ALLOW, common.DECISION_DENY):
        return None
    policy = plan.policies.get(result.policy_number)
    limits = _limits(plan, result)
    return Verdict(
        decision=result.decision,
        reason=result.reason,
        limits=limits,
        retry_after_us=result.retry_after_us,
        identity=result.identity if result.HasField("identity") else None,
        policy_number=result.policy_number,
        revision=revision,
        degraded=result.degraded if result.degraded.reason else None,
        message=result.message or (policy.message if policy else ""),
        slot=Slot(result.slot_id, _slot_life_us(plan, limits)) if result.slot_id else None,
    )


def _slot_life_us(plan: Plan, limits: Iterable[LimitView]) -> int:
    """Returns the shortest life that a slot has in one of these limits; in any, where it is known of none of them."""
    lives = [limit.window_us for limit in limits if limit.algorithm == common.ALGORITHM_CONCURRENCY]
    return min((life for life in lives if life), default=plan.slot_life_us)


def _limits(plan: Plan, result: wire.CheckResult) -> tuple[LimitView, ...]:
    return tuple(view for state in result.limits if (view := _limit(plan, state)) is not None)


def _limit(plan: Plan, state: wire.LimitState) -> LimitView | None:
    policy = plan.policies.get(state.policy_number)
    if policy is None or state.limit_index >= len(policy.limits):
        return None  # newer than the plan: nothing is known to render
    limit = policy.limits[state.limit_index]
    return LimitView(
        policy=policy.name,
        limit_name=limit.name,
        algorithm=limit.algorithm,
        limit=state.limit or limit.limit,
        window_us=state.window_us or policy.windows_us[state.limit_index],
        remaining=state.remaining,
        reset_us=state.reset_us,
        exceeded=state.exceeded,
    )
