"""From models to the contract's messages."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from usageflow.domain.calendars import Alignment
from usageflow.domain.customers import Customer, CustomerOverride
from usageflow.domain.guards import Guard
from usageflow.domain.policies import Block, CustomerPlan, Limit, Metering, Override, Policy, Strategy
from usageflow.domain.sources import Location, Source
from usageflow.v1 import common_pb2, policies_pb2

_US = 1_000_000


def strategy_message(strategy: Strategy) -> policies_pb2.Strategy:
    """Returns the message of a strategy."""
    return policies_pb2.Strategy(
        name=strategy.name,
        sources=[_source(each) for each in strategy.sources],
        on_missing=policies_pb2.OnMissing.Value(f"ON_MISSING_{strategy.on_missing}"),
        allow_unlimited=strategy.allow_unlimited,
        guard=_guard(strategy.guard) if strategy.guard else None,
    )


def _guard(guard: Guard) -> policies_pb2.Guard:
    return policies_pb2.Guard(
        limit=guard.limit, window=duration_of(guard.window_us), new_identities=guard.new_identities
    )


_LOCATIONS = {
    None: common_pb2.ATTRIBUTE_LOCATION_UNSPECIFIED,
    Location.HEADER: common_pb2.ATTRIBUTE_LOCATION_HEADER,
    Location.QUERY: common_pb2.ATTRIBUTE_LOCATION_QUERY,
    Location.PATH: common_pb2.ATTRIBUTE_LOCATION_PATH_PARAMETER,
    Location.BODY: common_pb2.ATTRIBUTE_LOCATION_BODY,
    Location.COOKIE: common_pb2.ATTRIBUTE_LOCATION_COOKIE,
    Location.JWT: common_pb2.ATTRIBUTE_LOCATION_JWT_CLAIM,
    Location.CLIENT_IP: common_pb2.ATTRIBUTE_LOCATION_CLIENT_IP,
    Location.CONTEXT: common_pb2.ATTRIBUTE_LOCATION_APP_CONTEXT,
}


def _source(source: Source) -> policies_pb2.Source:
    return policies_pb2.Source(
        location=_LOCATIONS[source.location],
        name=source.name,
        sensitive=source.sensitive,
        join=[_source(part) for part in source.join],
        token=_token(source) if source.location is Location.JWT else None,
    )


def _token(source: Source) -> policies_pb2.TokenRules:
    rules = policies_pb2.TokenRules(
        issuer=source.issuer,
        audience=source.audience,
        jwks_url=source.jwks_url,
        algorithms=source.algorithms,
        place=source.token,
        allow_unverified=source.allow_unverified,
    )
    for key in source.keys:
        rules.keys.add().update(key.model_dump(mode="json", exclude_defaults=True))
    return rules


def policy_message(policy: Policy) -> policies_pb2.Policy:
    """Returns the message of a policy."""
    return policies_pb2.Policy(
        name=policy.name,
        match=policies_pb2.Match(methods=policy.match.methods, path=policy.match.path),
        strategy=policy.strategy,
        limits=[_limit(each) for each in policy.limits],
        metering=_metering(policy.metering) if policy.metering else None,
        mode=common_pb2.PolicyMode.Value(f"POLICY_MODE_{policy.mode}"),
        fail_mode=common_pb2.FailMode.Value(f"FAIL_MODE_{policy.fail_mode}"),
        priority=policy.priority,
        cost=policy.cost,
        cost_expression=policy.cost_expression,
        condition=policy.condition,
        stop=policy.stop,
        message=policy.message,
        enforce_percent=policy.enforce_percent,
    )


def _limit(limit: Limit) -> policies_pb2.Limit:
    return policies_pb2.Limit(
        name=limit.name,
        algorithm=common_pb2.Algorithm.Value(f"ALGORITHM_{limit.algorithm}"),
        limit=limit.limit,
        window=duration_of(limit.window_us) if limit.window_us else None,
        burst=limit.burst,
        scope=policies_pb2.LimitScope.Value(f"LIMIT_SCOPE_{limit.scope}"),
        align=_alignment(limit.align),
        time_zone=limit.time_zone if limit.align else "",
        anchor=timestamp_of(limit.anchor_us) if limit.anchor_us is not None else None,
        charge_denied=limit.charge_denied,
    )


def _alignment(align: Alignment | None) -> policies_pb2.WindowAlignment.ValueType:
    name = align.name if align else "UNSPECIFIED"
    return policies_pb2.WindowAlignment.Value(f"WINDOW_ALIGNMENT_{name}")


def _metering(metering: Metering) -> policies_pb2.Metering:
    return policies_pb2.Metering(
        expression=metering.expression,
        trigger=metering.trigger.value,
        price=metering.price,
        event_name=metering.event_name,
        late_usage=metering.late_usage.value,
    )


def block_message(block: Block) -> policies_pb2.Block:
    """Returns the message of a block."""
    return policies_pb2.Block(
        methods=block.methods, path=block.path, identity=block.identity, reason=block.reason
    )


def plan_message(plan: CustomerPlan) -> policies_pb2.CustomerPlan:
    """Returns the message of a plan."""
    return policies_pb2.CustomerPlan(name=plan.name, overrides=[_override(each) for each in plan.overrides])


def customer_message(customer: Customer) -> policies_pb2.Customer:
    """Returns the message of a customer."""
    return policies_pb2.Customer(
        name=customer.name,
        identities=customer.identities,
        stripe_customer=customer.stripe_customer,
        plan=customer.plan,
        overrides=[_override(each) for each in customer.overrides],
    )


def _override(override: Override) -> policies_pb2.LimitOverride:
    message = policies_pb2.LimitOverride(
        policy=override.policy, limit_name=override.limit_name, limit=override.limit, burst=override.burst
    )
    if isinstance(override, CustomerOverride):
        message.identity = override.identity
        if override.expires_us is not None:
            message.expire_time.CopyFrom(timestamp_of(override.expires_us))
    return message


def duration_of(microseconds: int) -> Duration:
    """Returns a span of microseconds, 0 or more."""
    return Duration(seconds=microseconds // _US, nanos=microseconds % _US * 1000)


def timestamp_of(microseconds: int) -> Timestamp:
    """Returns an instant of Unix time in microseconds."""
    return Timestamp(seconds=microseconds // _US, nanos=microseconds % _US * 1000)


def microseconds_of(instant: Timestamp) -> int:
    """Returns Unix time in microseconds, the inverse of timestamp_of; what is finer is cut off."""
    return instant.seconds * _US + instant.nanos // 1000
