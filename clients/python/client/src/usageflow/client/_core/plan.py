"""The plan that the service hands out: what to do for each endpoint. Plans are values; every change makes a new one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from usageflow.client._core.demand import MAX_LIFE_US
from usageflow.client._core.fallback import LocalRate
from usageflow.client._core.masking import plain_name
from usageflow.client._core.request import AttributeSpec
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import plan_pb2

UNMATCHED: Final = "{unmatched}"
EndpointName = tuple[str, str]
"""(method, template)"""

_CONVERTER: Final = re.compile(r"\{([^{}:]+):([^{}]+)\}")
_ABSENT: Final = AttributeSpec.of(common.ATTRIBUTE_LOCATION_UNSPECIFIED, "", sensitive=False)
_PPM: Final = 1_000_000
DEFAULT_SLOT_LIFE_US: Final = 60_000_000
"""Of policies that do not say."""


@dataclass(frozen=True, slots=True)
class EndpointRule:
    """What to do for one endpoint; number 0 stands for an endpoint that the plan does not know."""

    number: int
    name: EndpointName
    action: plan_pb2.PlanAction.ValueType
    attributes: tuple[AttributeSpec, ...] = ()
    fail_mode: common.FailMode.ValueType = common.FAIL_MODE_OPEN
    local: LocalRate | None = None
    store_group: int = 0
    lease_life_us: int = 0
    """How long tokens may live; 0: they may not be leased."""
    lease_epoch: int = 0
    """Names everything that decides here: leases of another epoch are void."""


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """A policy as answers refer to it."""

    name: str
    message: str
    limits: tuple[plan_pb2.PlanLimit, ...]
    windows_us: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan. Immutable, but for a cache: rules are compiled when an endpoint is first asked for, so that receiving
    ten thousand of them holds no event loop up.
    """

    version: int
    revision: int
    endpoints: Mapping[EndpointName, plan_pb2.EndpointPlan]
    names: Mapping[int, EndpointName]
    attributes: Mapping[int, AttributeSpec]
    policies: Mapping[int, PolicyInfo]
    hash_key: bytes
    capture: plan_pb2.CaptureLevel.ValueType
    slot_life_us: int = DEFAULT_SLOT_LIFE_US
    """The shortest life of a slot in any CONCURRENCY limit."""
    secrets: frozenset[str] = frozenset()
    """Plain names of what strategies call sensitive, wherever it stands."""
    _compiled: dict[EndpointName, EndpointRule] = field(default_factory=dict, repr=False, compare=False)

    def rule(self, name: EndpointName) -> EndpointRule:
        """Returns an endpoint's rule; an endpoint that the plan does not name is CHECK, by name."""
        rule = self._compiled.get(name)
        if rule is None:
            source = self.endpoints.get(name)
            if source is None:
                return EndpointRule(0, name, plan_pb2.PLAN_ACTION_CHECK)
            rule = self._compiled[name] = _rule(source, self.attributes)
        return rule


EMPTY = Plan(0, 0, {}, {}, {}, {}, b"", plan_pb2.CAPTURE_LEVEL_STANDARD)


def apply(plan: Plan | None, change: plan_pb2.WatchPlanResponse) -> Plan:
    """Returns the plan after a change. A full one replaces everything, else what it holds is added or replaced."""
    base = EMPTY if plan is None or change.full else plan
    endpoints, names = dict(base.endpoints), dict(base.names)
    for number in [*change.removed_endpoints, *(e.number for e in change.endpoints)]:
        endpoints.pop(names.pop(number, ("", "")), None)
    for endpoint in change.endpoints:
        name = (endpoint.endpoint.method, endpoint.endpoint.template)
        endpoints[name] = endpoint
        names[endpoint.number] = name
    policies = {**base.policies, **{p.number: _policy(p) for p in change.policies}}
    attributes = {**base.attributes, **{a.number: _attribute(a) for a in change.attributes}}
    return Plan(
        version=change.plan_version,
        revision=change.revision,
        endpoints=endpoints,
        names=names,
        attributes=attributes,
        policies=policies,
        hash_key=change.hash_key or base.hash_key,
        capture=change.capture or base.capture,
        slot_life_us=_slot_life_us(policies.values()),
        secrets=frozenset(_secret_names(attributes.values())),
    )


def _attribute(attribute: plan_pb2.PlanAttribute) -> AttributeSpec:
    return AttributeSpec.of(attribute.location, attribute.name, sensitive=attribute.sensitive)


def _secret_names(attributes: Iterable[AttributeSpec]) -> Iterable[str]:
    # Of a path into a body the last name counts.
    return (plain_name(each.name.rpartition(".")[2]) for each in attributes if each.sensitive and each.name)


def _rule(source: plan_pb2.EndpointPlan, attributes: Mapping[int, AttributeSpec]) -> EndpointRule:
    return EndpointRule(
        number=source.number,
        name=(source.endpoint.method, source.endpoint.template),
        action=source.action or plan_pb2.PLAN_ACTION_CHECK,
        # A number without an attribute keeps its position: values are positional, and that one is absent.
        attributes=tuple(attributes.get(number, _ABSENT) for number in source.attributes),
        fail_mode=source.fail_mode or common.FAIL_MODE_OPEN,
        local=_local(source.local),
        store_group=source.store_group,
        lease_life_us=min(source.lease_life_ms * 1_000, MAX_LIFE_US),
        lease_epoch=source.lease_epoch,
    )


def _local(fallback: plan_pb2.LocalFallback) -> LocalRate | None:
    units = fallback.limit * (fallback.share_ppm or _PPM) / _PPM
    window_s = duration_us(fallback.window.seconds, fallback.window.nanos) / 1e6
    return LocalRate(units, window_s) if units > 0 and window_s > 0 else None


def _policy(policy: plan_pb2.PlanPolicy) -> PolicyInfo:
    windows = tuple(duration_us(limit.window.seconds, limit.window.nanos) for limit in policy.limits)
    return PolicyInfo(policy.name, policy.message, tuple(policy.limits), windows)


def _slot_life_us(policies: Iterable[PolicyInfo]) -> int:
    lives = (
        window_us
        for policy in policies
        for limit, window_us in zip(policy.limits, policy.windows_us, strict=True)
        if limit.algorithm == common.ALGORITHM_CONCURRENCY and window_us
    )
    return min(lives, default=DEFAULT_SLOT_LIFE_US)


def duration_us(seconds: int, nanos: int) -> int:
    """Returns a duration in whole microseconds, rounded up."""
    return seconds * 1_000_000 - (-nanos // 1_000)


def canonical(template: str) -> str:
    """Returns a Starlette template in the service's spelling: `{x:int}` is `{x}`, `{x:path}` is `{x*}`."""
    if ":" not in template:
        return template
    return _CONVERTER.sub(lambda m: f"{{{m[1]}*}}" if m[2] == "path" else f"{{{m[1]}}}", template)


@dataclass(slots=True)
class PlanState:
    """The plan in force. It is held when the stream that brought it breaks."""

    plan: Plan | None = None
    _aliases: dict[EndpointName, EndpointName] = field(default_factory=dict)

    def received(self, change: plan_pb2.WatchPlanResponse) -> None:
        """Applies a change from the service."""
        self.plan = apply(self.plan, change)

    def registered(self, sent: list[EndpointName], answer: plan_pb2.RegisterEndpointsResponse) -> None:
        """Notes how the service spells the endpoints that were registered, by position."""
        for name, known in zip(sent, answer.endpoints, strict=False):
            if known.number:
                self._aliases[name] = (known.endpoint.method, known.endpoint.template)

    def rule(self, method: str, route: str) -> EndpointRule | None:
        """Returns what to do for a route in the framework's spelling; None before the first plan."""
        if self.plan is None:
            return None
        name = (method, route)
        return self.plan.rule(self._aliases.get(name) or (method, canonical(route or UNMATCHED)))
