"""What plans and customers must keep to: overrides name limits that exist and fit them, identities belong to one customer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from usageflow.domain.customers import Customer, CustomerOverride
from usageflow.domain.errors import Fault
from usageflow.domain.policies import Algorithm, Limit, Override, Policy, PolicySet, Scope


def directory_faults(policies: PolicySet, customers: Sequence[Customer]) -> Iterator[Fault]:
    """Yields every fault of a set's plans, and of customers that shall live with it."""
    known = {policy.name: policy for policy in policies.policies}
    for index, plan in enumerate(policies.plans):
        yield from (fault.under(f"plans[{index}]") for fault in _overrides(plan.overrides, known))
    yield from customer_faults(policies, customers)


def customer_faults(policies: PolicySet, customers: Sequence[Customer]) -> Iterator[Fault]:
    """Yields every fault of customers that shall live with a set; their identities may be raw or hashed."""
    known = {policy.name: policy for policy in policies.policies}
    plans = {plan.name for plan in policies.plans}
    for index, customer in enumerate(customers):
        place = f"customers[{index}]"
        if customer.plan and customer.plan not in plans:
            yield _unknown(
                "plan", f"plan {customer.plan!r}", customer.plan, plans, "declare it under plans"
            ).under(place)
        yield from (fault.under(place) for fault in _overrides(customer.overrides, known))
        yield from (fault.under(place) for fault in _foreign(customer))
    yield from _owned_twice(customers)


def _overrides(overrides: Sequence[Override], policies: dict[str, Policy]) -> Iterator[Fault]:
    seen: dict[tuple[str, ...], int] = {}
    for index, item in enumerate(overrides):
        place = f"overrides[{index}]"
        identity = item.identity if isinstance(item, CustomerOverride) else ""
        first = seen.setdefault((item.policy, item.limit_name, identity), index)
        if first != index:
            message = f"overrides[{first}] is for the same limit already"
            yield Fault(place, message, "keep one of them", "DUPLICATE")
        yield from (fault.under(place) for fault in _override(item, policies))


def _override(override: Override, policies: dict[str, Policy]) -> Iterator[Fault]:
    policy = policies.get(override.policy)
    if policy is None:
        yield _unknown(
            "policy", f"policy {override.policy!r}", override.policy, policies, "declare it under policies"
        )
        return
    limits = {limit.name: limit for limit in policy.limits}
    limit = limits.get(override.limit_name)
    if limit is None:
        what = f"limit {override.limit_name!r} in the policy {policy.name!r}"
        fix = f"give the policy {policy.name!r} a limit first"
        yield _unknown("limit_name", what, override.limit_name, limits, fix)
        return
    yield from _numbers(override, policy, limit)


def _numbers(override: Override, policy: Policy, limit: Limit) -> Iterator[Fault]:
    bucket = limit.algorithm is Algorithm.TOKEN_BUCKET
    if override.burst is not None and not bucket:
        yield Fault("burst", f"{limit.name!r} is no TOKEN_BUCKET, so it has no burst", "remove `burst`")
    if limit.scope is Scope.SHARED or not policy.strategy:
        message = f"{limit.name!r} counts all callers as one, so it cannot differ for some of them"
        yield Fault("limit_name", message, "change the policy, or count per identity there")
    burst = limit.burst if override.burst is None else override.burst
    if policy.cost > ((bucket and burst) or override.limit):
        message = f"a request costs {policy.cost}, more than ever fits: every request would be denied"
        yield Fault("limit", message, "raise the limit, or use a block to refuse a caller")


def _foreign(customer: Customer) -> Iterator[Fault]:
    own = set(customer.identities)
    for index, override in enumerate(customer.overrides):
        if override.identity and override.identity not in own:
            message = "is no identity of this customer"
            yield Fault(f"overrides[{index}].identity", message, "add it to `identities`, or remove it here")


def _owned_twice(customers: Iterable[Customer]) -> Iterator[Fault]:
    # Raw values are not told: some of them are keys.
    seen: dict[str, str] = {}
    for index, customer in enumerate(customers):
        for place, identity in enumerate(customer.identities):
            path = f"customers[{index}].identities[{place}]"
            first = seen.setdefault(identity, path)
            if first != path:
                message = f"stands at {first} already"
                yield Fault(path, message, "let each identity belong to one customer", "DUPLICATE")


def _unknown(field: str, what: str, name: str, known: Iterable[str], none_yet: str) -> Fault:
    """Returns the fault of a name that nothing has: a reference to a policy, limit or plan."""
    names = sorted(known)
    near = difflib.get_close_matches(name[:63], names, n=1)
    fix = (
        f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(names[:10])}" if names else none_yet
    )
    reason = f"UNKNOWN_{field.removesuffix('_name').upper()}"
    return Fault(field, f"there is no {what}", fix, reason)
