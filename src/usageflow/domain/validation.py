"""What the shape of a single resource cannot tell: references, patterns, duplicates and rules between fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from usageflow.domain.billing_targets import target_faults
from usageflow.domain.calendars import Alignment
from usageflow.domain.customers import Customer
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.expressions import ExpressionCheck, refuse_expressions
from usageflow.domain.guards import guard_faults
from usageflow.domain.override_rules import directory_faults
from usageflow.domain.patterns import Methods, Pattern
from usageflow.domain.policies import Algorithm, Block, Limit, OnMissing, Policy, PolicySet, Scope, Strategy
from usageflow.domain.policy_terms import hashed_attributes, term_faults

T = TypeVar("T")

MAX_SLOT_LIFE_US = 86_400_000_000
"""The longest life of a slot of CONCURRENCY between two renewals."""


def validate(
    policies: PolicySet,
    blocks: Sequence[Block] = (),
    customers: Sequence[Customer] = (),
    check: ExpressionCheck = refuse_expressions,
) -> list[Fault]:
    """Returns every fault of a set; its fields are paths such as ``policies[3].limits[0].window``. ``check`` knows the
    language of expressions.
    """
    names = [strategy.name for strategy in policies.strategies]
    hashed = hashed_attributes(policies.strategies)
    return [
        *_duplicates("strategies", names),
        *_duplicates("policies", [policy.name for policy in policies.policies]),
        *_each("strategies", policies.strategies, _strategy),
        *_each("policies", policies.policies, lambda policy: _policy(policy, frozenset(names))),
        *_each("policies", policies.policies, lambda policy: term_faults(policy, check, hashed)),
        *target_faults(policies.policies),
        *_each("blocks", blocks, lambda block: _match(block.methods, block.path)),
        *_duplicates("blocks", [_block_name(block) for block in blocks], field=""),
        *_duplicates("plans", [plan.name for plan in policies.plans]),
        *_duplicates("customers", [customer.name for customer in customers]),
        *directory_faults(policies, customers),
    ]


def ensure_valid(
    policies: PolicySet,
    blocks: Sequence[Block] = (),
    customers: Sequence[Customer] = (),
    check: ExpressionCheck = refuse_expressions,
) -> None:
    """Raises InvalidArgument with every fault of a set."""
    faults = validate(policies, blocks, customers, check)
    if faults:
        raise InvalidArgument(faults)


def _block_name(block: Block) -> str:
    return block.model_copy(update={"methods": block.key[0]}).title


def _each(kind: str, items: Sequence[T], check: Callable[[T], Iterable[Fault]]) -> Iterator[Fault]:
    for index, item in enumerate(items):
        for fault in check(item):
            yield fault.under(f"{kind}[{index}]")


def _duplicates(kind: str, names: Sequence[str], field: str = ".name") -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            message = f"{name!r} stands at {kind}[{seen[name]}] already"
            yield Fault(f"{kind}[{index}]{field}", message, "give each its own name", "DUPLICATE")
        seen.setdefault(name, index)


def _strategy(strategy: Strategy) -> Iterator[Fault]:
    # Loaded here: it brings cryptography along, and most commands of the command line validate nothing.
    from usageflow.domain.source_rules import source_faults

    yield from _each("sources", strategy.sources, source_faults)
    yield from guard_faults(strategy.guard, strategy.sources)
    if strategy.on_missing is OnMissing.SKIP and not strategy.allow_unlimited:
        message = "SKIP lets callers without an identity pass without any limit"
        yield Fault(
            "on_missing", message, "add `allow_unlimited: true` if that is meant, or use ANONYMOUS_PER_IP"
        )


def _policy(policy: Policy, strategies: frozenset[str]) -> Iterator[Fault]:
    yield from (fault.under("match") for fault in _match(policy.match.methods, policy.match.path))
    if policy.strategy and policy.strategy not in strategies:
        fix = f"use one of {', '.join(sorted(strategies))}" if strategies else "declare it under strategies"
        yield Fault("strategy", f"there is no strategy {policy.strategy!r}", fix, "UNKNOWN_STRATEGY")
    yield from _duplicates("limits", [limit.name for limit in policy.limits])
    if not policy.strategy:
        yield from _each("limits", policy.limits, _shared_or_fault)
    yield from _each("limits", policy.limits, lambda limit: _limit(limit, policy.cost))


def _shared_or_fault(limit: Limit) -> Iterator[Fault]:
    if limit.scope is not Scope.SHARED:
        message = "counts all callers as one, since the policy names no strategy"
        yield Fault("scope", message, "name a strategy, or write `scope: SHARED` if that is meant")


def _limit(limit: Limit, cost: int) -> Iterator[Fault]:
    if limit.burst and limit.algorithm is not Algorithm.TOKEN_BUCKET:
        yield Fault("burst", "only a TOKEN_BUCKET has a burst", "add `algorithm: TOKEN_BUCKET` or drop burst")
    yield from _calendar(limit)
    if limit.algorithm is Algorithm.CONCURRENCY:
        yield from _concurrency(limit)
        return
    if cost > (limit.burst or limit.limit):
        message = f"a request costs {cost}, more than ever fits: every request would be denied"
        yield Fault("limit", message, "raise the limit or lower the policy's cost")


def _concurrency(limit: Limit) -> Iterator[Fault]:
    if limit.charge_denied:
        yield Fault("charge_denied", "a denied request is not in flight", "remove it from this limit")
    if limit.window_us > MAX_SLOT_LIFE_US:
        message = "a slot that is never released would stay taken for more than a day"
        yield Fault("window", message, "write how long a request may take at most, such as 1m")


def _calendar(limit: Limit) -> Iterator[Fault]:
    if limit.align is not None and limit.window_us:
        yield Fault("align", "a limit has a window or an alignment, not both", "remove `window` or `align`")
    if limit.align is not None and limit.algorithm is not Algorithm.FIXED_WINDOW:
        yield Fault(
            "align", f"a {limit.algorithm} has no aligned windows", "write a window, or leave out `algorithm`"
        )
    if limit.align is None and limit.time_zone != "UTC":
        message = "only aligned windows have a time zone"
        yield Fault("time_zone", message, "write `align: day` instead of a window, or remove it")
    billing = limit.align is Alignment.BILLING
    if billing and limit.anchor_us is None:
        message = "`align: billing` needs the instant that the first billing month began at"
        yield Fault("anchor", message, "add `anchor`, such as 2026-01-31T00:00:00Z")
    if not billing and limit.anchor_us is not None:
        yield Fault("anchor", "only `align: billing` has an anchor", "write `align: billing`, or remove it")


def _match(methods: Sequence[str], path: str) -> Iterator[Fault]:
    for parse in (lambda: Methods.parse(methods), lambda: Pattern.parse(path)):
        try:
            parse()
        except InvalidArgument as error:
            yield from error.faults
